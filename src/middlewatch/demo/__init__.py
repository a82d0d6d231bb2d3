"""One night of production on a year of real flights, played through the public commands and HTTP."""

from .night import play

__all__ = ["play"]

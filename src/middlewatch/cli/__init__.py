"""The command line: parses, calls one function of the library, prints. Nothing is computed here."""

from .run import main

__all__ = ["main"]

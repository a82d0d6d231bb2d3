"""Two sides beside each other: why does it work in staging and break in production?

A side is a channel or version of the project, of another store, or a running server. The same logged requests are
answered by both; what else differs is told by whether it does anything to the answers.
"""

from __future__ import annotations

from .compare import compare
from .told import Comparison, Told

__all__ = ["Comparison", "Told", "compare"]

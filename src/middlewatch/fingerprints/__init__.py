"""Fingerprints: what kind of change this is, judged by own history alone.

`search(Case(...))` takes the rows of a suspicious window and the same hours of past days, and names causes in
order of certainty. One file an idea; every limit, with its reason, in `thresholds`.
"""

from __future__ import annotations

from .case import Case, History, Score
from .cause import Cause
from .effect import Effect
from .search import Search, search

__all__ = ["Case", "Cause", "Effect", "History", "Score", "Search", "search"]

"""A table beside one that was right: what is wrong with its new rows, by name, before anything is learnt from them.

The same fingerprints as for live traffic, with blocks of the reference as own history. `why --file` and `train` ask.
"""

from __future__ import annotations

from .run import Compared, Scorer, compare

__all__ = ["Compared", "Scorer", "compare"]

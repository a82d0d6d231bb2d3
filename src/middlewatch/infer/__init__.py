"""A first schema from a table: every row is read, twice; what is not sure is said as a doubt.

    cells --kinds--> how each column reads --facts--> what its values are --decide--> Schema and Doubts

Limits are marked `guessed` and have room for a clean next month (`limits`); `target` looks at the outcome.
"""

from __future__ import annotations

from .decide import MOST_CATEGORIES, Doubt, Inferred, Settled, describe, infer, logged
from .kinds import HEADER_AGAIN

__all__ = ["HEADER_AGAIN", "MOST_CATEGORIES", "Doubt", "Inferred", "Settled", "describe", "infer", "logged"]

"""What a channel saw, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

_WORDS: Final[Mapping[str, str]] = {
    "null": "missing",
    "scattered": "missing in the middle hour",
    "tie": "goes with its best partner",
    "volume": "of the usual number",
    "novelty": "values outside all seen",
    "far": "numbers far outside all seen",
    "lattice": "numbers never seen",
    "alike": "pairs of rows with one value",
    "repeated": "the same as another row",
    "whole": "whole numbers",
    "repeat": "repeats of the row before",
    "refused": "refused",
    "constant": "one and the same",
    "lost": "of one category",
    "decisions": "decisions",
    "replay": "not what its version answers",
    "release": "answers unlike the version before, decisions changed",
}
# What is no share: a place or a width, in the column's own unit.
_PLACES: Final[Mapping[str, str]] = {"level": "mean", "middle": "median", "collapsed": "spread"}


def moved_by(channel: str, now: float | None, usual: float | None, height: float) -> str:
    """What one channel saw: `whole numbers 100 % -> 38 %`. `height` is the logarithm of "times its worst"."""
    if channel == "shape" or now is None or usual is None:
        return f"distribution {np.exp(height):.1f} x its worst"
    if channel in _PLACES:
        return f"{_PLACES[channel]} {usual:.4g} -> {now:.4g}"
    return f"{_WORDS[channel]} {_percent(usual)} -> {_percent(now)}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"

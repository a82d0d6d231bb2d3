"""An incident in words and plain facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from middlewatch import shift
from middlewatch.shift import Reading

from .beside import REFUSED, RELEASE


def about(top: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns, channels and severity of these channels: predictions and availability may wake somebody."""
    columns = list(dict.fromkeys(str(one["column"]) for one in top))
    wakes = bool({*shift.PREDICTION, REFUSED, RELEASE} & set(columns))
    return {
        "columns": columns,
        "channels": list(dict.fromkeys(str(one["channel"]) for one in top)),
        "severity": "page" if wakes else "ticket",
    }


_WORDS = {
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
    "decisions": "decisions",
    "release": "answers unlike the version before, decisions changed",
}
# What is no share: a place or a width, in the column's own unit.
_PLACES = {"level": "mean", "middle": "median", "collapsed": "spread"}


def title(moved: Sequence[Reading], before: float | None, after: float | None) -> str:
    """The incident in one line: the most unusual channels, and what became of the mean prediction."""
    parts: list[str] = []
    for one in sorted(moved, key=lambda one: (one.column in shift.PREDICTION, -one.height)):
        name = "prediction" if one.column in shift.PREDICTION else one.column.strip("()")
        if one.channel == "shape" or one.now is None or one.usual is None:
            said = f"{name} distribution {np.exp(one.height):.1f} x its worst"
        elif one.channel in _PLACES:
            said = f"{name} {_PLACES[one.channel]} {one.usual:.4g} -> {one.now:.4g}"
        else:
            said = f"{name} {_WORDS[one.channel]} {percent(one.usual)} -> {percent(one.now)}"
        if not any(part.startswith(name + " ") for part in parts):
            parts.append(said)
    more = f" and {len(parts) - 2} more columns" if len(parts) > 2 else ""
    mean = f"; mean prediction {before:.3g} -> {after:.3g}" if before is not None and after is not None else ""
    return ", ".join(parts[:2]) + more + mean


def percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

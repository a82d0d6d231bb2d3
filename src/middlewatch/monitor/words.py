"""An incident in words and plain facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


def title(moved: Sequence[Reading], before: float | None, after: float | None) -> str:
    """The incident in one line: the most unusual channels, and what became of the mean prediction."""
    parts: list[str] = []
    for one in sorted(moved, key=lambda one: (one.column in shift.PREDICTION, -one.height)):
        name = "prediction" if one.column in shift.PREDICTION else one.column.strip("()")
        said = f"{name} {shift.moved_by(one.channel, one.now, one.usual, one.height)}"
        if not any(part.startswith(name + " ") for part in parts):
            parts.append(said)
    more = f" and {len(parts) - 2} more columns" if len(parts) > 2 else ""
    mean = f"; mean prediction {before:.3g} -> {after:.3g}" if before is not None and after is not None else ""
    return ", ".join(parts[:2]) + more + mean


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

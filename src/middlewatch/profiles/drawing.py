"""What is drawn of a column, now over then: plain numbers, the bins shared by both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from middlewatch.times import iso

from .column import ColumnProfile

BINS: Final = 24
TOP: Final = 8
OUTER: Final = (0.005, 0.995)
"""Values beyond these shares would squeeze the rest into one bin; how many lie outside is said."""


def drawn(new: ColumnProfile, old: ColumnProfile | None) -> dict[str, Any]:
    """A histogram (`edges`, `now`, `then`, `outside`), or the `top` categories and `others`; empty where neither."""
    if new.kind in ("category", "boolean"):
        return _top(new, old)
    if new.bins is None or new.n == 0 or new.kind == "text":
        return {}
    if old is not None and (old.n == 0 or old.bins is None or old.kind != new.kind or old.centre != new.centre):
        old = None
    edges = _edges(new, old)
    drawn_now, outside_now = _shares(new, edges)
    drawn_then, outside_then = _shares(old, edges) if old is not None else ([0.0] * (len(edges) - 1), 0.0)
    return {
        "edges": edges,
        "now": drawn_now,
        "then": drawn_then,
        "outside": {"now": round(outside_now, 4), "then": round(outside_then, 4)},
    }


def described(new: ColumnProfile, old: ColumnProfile | None, *, hidden: bool = False) -> dict[str, Any]:
    """A column in plain numbers and, unless `hidden` (a private one), its drawing. Times are ISO texts."""
    numbers = new.kind in ("number", "whole")
    facts: dict[str, Any] = {
        "kind": new.kind,
        "rows": new.rows,
        "missing": _share(new.nulls + new.nans, new.rows),
        "distinct": new.distinct(),
        "mean": _finite(new.mean) if numbers and not hidden else None,
        "median": _finite(new.quantile(0.5)) if numbers and new.n and not hidden else None,
        "min": None if hidden else _plain(new.lowest),
        "max": None if hidden else _plain(new.highest),
        "then": None,
    }
    if old is not None and old.rows:
        facts["then"] = {
            "missing": _share(old.nulls + old.nans, old.rows),
            "distinct": old.distinct(),
            "mean": _finite(old.mean) if numbers and old.kind == new.kind and not hidden else None,
        }
    if hidden:
        return facts
    picture = drawn(new, old)
    if "then" in picture:
        picture["then_shares"] = picture.pop("then")
    return facts | picture


def _edges(new: ColumnProfile, old: ColumnProfile | None) -> list[float]:
    """Bins that both times share: one a value where there are few whole ones, else of equal width."""
    known = [one for one in (new, old) if one is not None and one.n]
    whole = new.kind != "time" and all(one.wholes == one.n for one in known)
    low = min(float(one.quantile(OUTER[0])) for one in known)
    high = max(float(one.quantile(OUTER[1])) for one in known)
    if whole and high - low <= BINS + 6:
        return [value - 0.5 for value in range(math.floor(low), math.ceil(high) + 2)]
    if high <= low:
        low, high = low - 0.5, high + 0.5
    # One bin more than the range: many values may equal its end, and bins begin at their own value.
    return [low + (high - low) * at / (BINS - 1) for at in range(BINS + 1)]


def _shares(column: ColumnProfile, edges: Sequence[float]) -> tuple[list[float], float]:
    counts = [int(one) for one in column.regroup(list(edges))]
    outside = counts[0] + counts[-1]
    return [round(one / column.n, 5) for one in counts[1:-1]], outside / column.n


def _top(new: ColumnProfile, old: ColumnProfile | None) -> dict[str, Any]:
    """The largest categories of either time, and the rest together."""
    now, then = new.counts(), old.counts() if old is not None else {}
    total_now, total_then = max(new.n, 1), max(old.n if old is not None else 0, 1)
    shares = {one: (now.get(one, 0) / total_now, then.get(one, 0) / total_then) for one in {*now, *then}}
    ranked = sorted(shares, key=lambda one: (-max(shares[one]), one))
    shown, rest = ranked[:TOP], ranked[TOP:]
    return {
        "top": [
            {
                "value": one,
                "now": round(shares[one][0], 5),
                "then": round(shares[one][1], 5),
                "new": bool(then) and one not in then,
            }
            for one in shown
        ],
        "others": {
            "count": len(rest),
            "now": round(sum(shares[one][0] for one in rest), 5),
            "then": round(sum(shares[one][1] for one in rest), 5),
        },
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    return value if not isinstance(value, float) or math.isfinite(value) else None

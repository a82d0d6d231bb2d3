"""A column's profile as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from middlewatch.profiles import ColumnProfile
from middlewatch.times import iso

QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def facts(one: ColumnProfile) -> dict[str, Any]:
    """One column for `check --json`; numbers that do not exist are null."""
    ordered = one.bins is not None and one.kind != "time"
    return {
        "kind": one.kind,
        "rows": one.rows,
        "nulls": one.nulls,
        "nans": one.nans,
        "infinities": one.infinities,
        "distinct": one.distinct(),
        "min": plain(one.lowest),
        "max": plain(one.highest),
        "mean": plain(one.mean) if ordered else None,
        "std": plain(one.std) if ordered else None,
        "quantiles": {f"{q:g}": plain(one.quantile(q)) for q in QUANTILES} if ordered and one.n else {},
        "top": [{"value": plain(value), "rows": rows} for value, rows in one.top(10)],
    }


def shown(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example row as plain JSON; NaN and infinities by their names."""
    answer = {key: shown(value) if isinstance(value, Mapping) else plain(value) for key, value in example.items()}
    for key, value in example.items():
        if isinstance(value, float) and not math.isfinite(value):
            answer[key] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return answer


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value

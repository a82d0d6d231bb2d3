"""Where the loss is highest: sums by the most frequent categories of each category column. Pure, no numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .sums import Z95, Sum, pooled

COLUMNS = 20
VALUES = 8
# Below this many rows a mean loss has a standard error of a tenth of its scatter: too loose to rank by.
ENOUGH = 100
SHOWN = 5

Slices = Mapping[str, Mapping[str, Sequence[float]]]


def worst(days: Iterable[Slices], whole: Sum) -> list[dict[str, Any]]:
    """The slices with the highest loss over several days: column, value, rows, share, loss with its 95 % interval.

    Of at least 100 rows and above the loss of all rows (`whole`), ranked by the interval's lower end, so that a
    few unlucky rows lead nowhere. At most five.
    """
    held: dict[tuple[str, str], list[Sum]] = {}
    for day in days:
        for column, values in day.items():
            for value, plain in values.items():
                held.setdefault((column, value), []).append(Sum.read(plain))
    found = []
    for (column, value), parts in held.items():
        one = pooled(parts)
        if one.n < ENOUGH or one.mean <= whole.mean:
            continue
        found.append(
            {
                "column": column,
                "value": value,
                "rows": one.n,
                "share": round(one.n / whole.n, 6),
                "loss": round(one.mean, 6),
                "low": round(one.mean - Z95 * one.error, 6),
                "high": round(one.mean + Z95 * one.error, 6),
                "usual": round(whole.mean, 6),
            }
        )
    return sorted(found, key=lambda one: (-float(str(one["low"])), str(one["column"]), str(one["value"])))[:SHOWN]

"""Limits with room: next month's clean data passes, a broken feed does not.

The margins were set on a year of flights (limits from three months, checked on each of the nine that follow).
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

import polars as pl

from .facts import Facts

MANY: Final = 1000
"""Rows from which on "never missing" is taken at its word."""
_SKEWED: Final = 3.0
_ROOM_OF_SKEWED: Final = 10.0
_LONG: Final = 10.0
_FEW_ROWS: Final = 10.0
_UNSEEN: Final = 0.01
_NULLS: Final = 0.05


def nulls(rows: int, missing: int) -> float:
    """The allowed share of missing cells: observed, doubled or 5 points more; never stays never in a long table."""
    if not rows:
        return 1.0
    share = missing / rows
    if not missing:
        return 0.0 if rows >= MANY else _up(min(1.0, 3 / rows))
    return _up(min(1.0, max(2 * share, share + _NULLS) + 3 * math.sqrt(share * (1 - share) / rows)))


def unseen(facts: Facts) -> float:
    """The allowed share of rows outside the known categories.

    Values seen once tell how likely the next row is a new one (Good and Turing); three times that, 1 % at least.
    """
    if not facts.present:
        return 0.0
    return _up(min(0.5, max(_UNSEEN, 3 * facts.once() / facts.present, 3 / facts.present)))


def span(low: float, high: float, sample: pl.Series, *, rows: int) -> tuple[float, float]:
    """Hard limits of numbers: the observed range, wider by its own width on both sides, and by more where few `rows`
    were seen (a month of daily rows knows one season).

    What was never negative stays so; shares (up to exactly 1) stay shares; long tails get ten times their end.
    """
    width = (high - low) * (1.0 + _FEW_ROWS / math.sqrt(max(rows, 1)))
    if not math.isfinite(width):
        return low, high
    below, above = low - width, high + width
    if low >= 0:
        below = max(0.0, below)
    if high <= 0:
        above = min(0.0, above)
    if low >= 0 and high == 1.0:
        return below, 1.0
    tail = sample.quantile(0.95) if sample.len() else None
    if low >= 0 and tail is not None and high > _SKEWED * tail:
        above = max(above, _ROOM_OF_SKEWED * high)
    return _outward(below, -1), _outward(above, 1)


def wholes(low: float, high: float, seen_low: int, seen_high: int) -> tuple[int, int]:
    """The same as whole numbers that never cut what was seen."""
    return max(-(2**63), min(math.floor(low), seen_low)), min(2**63 - 1, max(math.ceil(high), seen_high))


def centre(sample: pl.Series) -> float:
    """Where the histogram is finest: the median, to three digits.

    Of what is never negative and has a long tail (99 % beyond ten times the median) zero: bins then grow with the
    values, as fine for the many small ones as for the few large.
    """
    middle = sample.median() if sample.len() else None
    if not isinstance(middle, int | float) or not math.isfinite(middle):
        return 0.0
    low, far = sample.min(), sample.quantile(0.99)
    if isinstance(low, int | float) and low >= 0 and far is not None and far > _LONG * middle:
        return 0.0
    return float(f"{middle:.3g}")


def spike(facts: Facts) -> tuple[float | int | datetime, int, bool] | None:
    """A repeated lowest or highest value that sits apart from all others: (value, cells, well known as a mark).

    A lone outlier is none, and neither is the end of a range that others come near.
    """
    low, high = facts.low, facts.high
    for end, rest, far in ((low, low.second, high.first), (high, high.second, low.first)):
        value = end.first
        if rest is None or rest == far or end.times < max(3, facts.present // 100_000):
            continue
        if isinstance(value, datetime):
            if (value.month, value.day) == (1, 1) and abs(rest - value) > 5 * abs(far - rest):
                return value, end.times, True
            continue
        known = str(abs(int(value))) in _MARKS and value == int(value) if math.isfinite(value) else False
        gap, width = abs(rest - value), abs(far - rest)
        minus_one = value == -1 and rest >= 0
        # One negative value alone in a column that has no other, and it is a mark people use: however wide the rest is.
        lone_mark = known and value < 0 <= rest
        if gap > width / 2 or minus_one or lone_mark:
            return value, end.times, known and (gap > width / 2 or lone_mark)
    return None


_MARKS: Final = {"99", "999", "9999", "99999", "999999", "9999999", "99999999", "999999999"}


def _up(share: float) -> float:
    """Rounded up to a tenth of a percent, so that a person can read it."""
    return min(1.0, math.ceil(share * 1000 - 1e-9) / 1000)


def _outward(limit: float, direction: int) -> float:
    """Rounded away from the data to two digits of what was added, for reading."""
    if limit == 0 or not math.isfinite(limit):
        return limit
    digits = 2 - math.floor(math.log10(abs(limit)))
    scaled = limit * 10.0**digits if abs(digits) < 300 else math.inf
    if not math.isfinite(scaled):
        return limit
    rounded = (math.ceil(scaled) if direction > 0 else math.floor(scaled)) / 10.0**digits
    return float(rounded)

"""What is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from middlewatch.shift import Verdict

SHARES = [(pl.col("day") <= day).fill_null(False).mean().round(2).alias(f"day {day}") for day in (1, 2, 3)]


def why(verdicts: Sequence[Verdict]) -> str:
    """Which channel stood highest on alarmed days, the most frequent first."""
    first = [one.readings[0] for one in verdicts if one.alarm]
    counts = Counter(f"{one.column}/{one.channel}" for one in first)
    return ", ".join(f"{name} {times}" for name, times in counts.most_common())


def caught(found: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Shares seen by day 1, 2 and 3, for each of `by`; all of them together where there is none."""
    size = pl.struct("fault", "column").n_unique().alias("faults")
    return found.group_by(by or [pl.lit("all").alias("group")], maintain_order=True).agg(size, *SHARES)

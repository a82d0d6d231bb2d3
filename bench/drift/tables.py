"""What is printed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from middlewatch.shift import Verdict

SHARES = [(pl.col("day") <= day).fill_null(False).mean().round(2).alias(f"day {day}") for day in (1, 2, 3)]
STYLE = {"tbl_rows": 500, "tbl_hide_dataframe_shape": True, "tbl_hide_column_data_types": True, "fmt_str_lengths": 60}


def why(verdicts: Sequence[Verdict]) -> str:
    """Which channel stood highest on alarmed days, the most frequent first."""
    first = [one.readings[0] for one in verdicts if one.alarm]
    counts = Counter(f"{one.column}/{one.channel}" for one in first)
    return ", ".join(f"{name} {times}" for name, times in counts.most_common())


def a_month(alarms: int, days: int) -> str:
    """Alarms in 30 days with their exact 95 % Poisson interval."""
    low, high = interval(alarms)
    return f"{alarms / days * 30:.2f} ({low / days * 30:.2f} to {high / days * 30:.2f})"


def interval(count: int) -> tuple[float, float]:
    """The exact 95 % interval of the mean of a Poisson count (Garwood 1936)."""

    def at_most(mean: float) -> float:
        return sum(math.exp(one * math.log(mean) - mean - math.lgamma(one + 1)) for one in range(count + 1))

    def below(mean: float) -> float:
        return sum(math.exp(one * math.log(mean) - mean - math.lgamma(one + 1)) for one in range(count))

    low = _where(lambda mean: below(mean) - 0.975, count) if count else 0.0
    return low, _where(lambda mean: at_most(mean) - 0.025, count)


def _where(falling: Callable[[float], float], count: int) -> float:
    low, high = 1e-9, 4.0 * count + 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def caught(found: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Shares seen by day 1, 2 and 3, for each of `by`; all of them together where there is none."""
    size = pl.struct("stream", "fault", "column").n_unique().alias("faults")
    return found.group_by(by or [pl.lit("all").alias("group")], maintain_order=True).agg(size, *SHARES)


def beside(said: Mapping[str, Mapping[str, float | None] | str]) -> None:
    """One line a tool."""
    print(f"{'tool':28}{'days that alarm':>16}{'day 1, matched':>16}{'day 3, matched':>16}")
    for name, one in said.items():
        if isinstance(one, str):
            print(f"{name:28}{one}")
            continue
        cells = [f"{value:.2f}" if value is not None else "none" for value in (one["days"], one["day 1"], one["day 3"])]
        print(f"{name:28}" + "".join(f"{cell:>16}" for cell in cells))

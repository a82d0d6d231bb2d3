"""Second pass: what the typed values are, from every row: nulls, ranges, distinct values, uniqueness, a sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from middlewatch.schema import Schema

MOST_VALUES: Final = 10_000
"""Distinct values that a column may have and still be counted one by one."""

SAMPLE: Final = 50_000
"""Rows held at least (where there are as many) for medians, tails and the look for leaks."""


@dataclass(slots=True)
class Ends:
    """The lowest (or highest) two distinct values of a column and how often the first occurs."""

    first: Any = None
    second: Any = None
    times: int = 0


@dataclass(slots=True)
class Facts:
    """One column. `counts` has the columns `value` and `n`, or is None beyond MOST_VALUES distinct values."""

    name: str
    rows: int = 0
    nulls: int = 0
    unparsed: int = 0
    infinite: int = 0
    fractions: bool = False
    low: Ends = field(default_factory=Ends)
    high: Ends = field(default_factory=Ends)
    counts: pl.DataFrame | None = field(default_factory=lambda: None)
    overflowed: bool = False
    _hashes: list[pl.Series] | None = field(default_factory=list)

    @property
    def present(self) -> int:
        return self.rows - self.nulls

    @property
    def distinct(self) -> int:
        """Distinct values; MOST_VALUES + 1 stands for more."""
        if self.overflowed:
            return MOST_VALUES + 1
        return 0 if self.counts is None else self.counts.height

    @property
    def unique(self) -> bool:
        """True where no value of at least two occurs twice, nulls apart."""
        if self.present < 2 or self._hashes is None:
            return False
        return pl.concat(self._hashes).n_unique() == self.present

    def values(self) -> list[Any]:
        """The distinct values in order. Only where they did not overflow."""
        return [] if self.counts is None else self.counts["value"].sort().to_list()

    def once(self) -> int:
        """How many values occurred a single time."""
        return 0 if self.counts is None else int((self.counts["n"] == 1).sum())

    def top(self) -> tuple[Any, int]:
        """The most frequent value and its count; (None, 0) where values overflowed."""
        if self.counts is None or not self.counts.height:
            return None, 0
        value, n = self.counts.sort("n", descending=True).row(0)
        return value, n

    def add(self, series: pl.Series, unparsed: pl.Series) -> None:
        """Count one typed batch."""
        self.rows += series.len()
        self.unparsed += int(unparsed.sum())
        self.nulls += series.null_count()
        present = series.drop_nulls()
        if series.dtype.is_float():
            finite = present.filter(present.is_finite())
            self.infinite += int(present.is_infinite().sum())
            self.fractions = self.fractions or not bool((finite == finite.floor()).all())
            present = finite
        if not present.len():
            return
        if series.dtype != pl.Boolean and series.dtype != pl.String:
            self.low = _end(self.low, present, lowest=True)
            self.high = _end(self.high, present, lowest=False)
        batch_distinct = self._count(present)
        if self._hashes is not None:
            distinct = batch_distinct if batch_distinct is not None else present.n_unique()
            # Hashes are held only as long as no batch repeats itself: 8 bytes a row, and only for ids.
            self._hashes = [*self._hashes, present.hash()] if distinct == present.len() else None

    def _count(self, present: pl.Series) -> int | None:
        if self.overflowed:
            return None
        fresh = pl.DataFrame({"value": present}).group_by("value").agg(n=pl.len())
        both = fresh if self.counts is None else pl.concat([self.counts, fresh])
        merged = both.group_by("value").agg(pl.col("n").sum())
        self.overflowed = merged.height > MOST_VALUES
        self.counts = None if self.overflowed else merged
        return fresh.height


@dataclass(slots=True)
class _Thinned:
    """Every k-th row, k doubling as the table grows: the same rows on every run."""

    stride: int = 1
    held: list[pl.DataFrame] = field(default_factory=list)
    rows: int = 0

    def add(self, batch: pl.DataFrame) -> None:
        offset = -self.rows % self.stride
        self.held.append(batch.gather_every(self.stride, offset))
        self.rows += batch.height
        while sum(one.height for one in self.held) >= 2 * SAMPLE:
            self.held = [pl.concat(self.held).gather_every(2)]
            self.stride *= 2


def gather(batches: Iterable[pl.DataFrame], schema: Schema, zone: str) -> tuple[dict[str, Facts], pl.DataFrame]:
    """The facts of each column and a sample of typed rows, spread evenly over the table."""
    facts = {name: Facts(name) for name in schema.names}
    sample = _Thinned()
    for raw in batches:
        frame, unparsed = schema.typed(raw, zone=zone)
        for name, one in facts.items():
            one.add(frame[name], unparsed[name])
        sample.add(frame)
    return facts, pl.concat(sample.held) if sample.held else pl.DataFrame()


def _end(known: Ends, present: pl.Series, *, lowest: bool) -> Ends:
    pick = pl.Series.min if lowest else pl.Series.max
    candidates: list[tuple[Any, int]] = [(known.first, known.times), (known.second, 0)]
    first = pick(present)
    rest = present.filter(present != first)
    candidates += [(first, present.len() - rest.len()), (pick(rest), 0)]
    counted: dict[Any, int] = {}
    for value, times in candidates:
        if value is not None:
            counted[value] = counted.get(value, 0) + times
    ordered = sorted(counted, reverse=not lowest)
    return Ends(ordered[0], ordered[1] if len(ordered) > 1 else None, counted[ordered[0]])

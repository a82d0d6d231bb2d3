"""Rows that a person marked bad: what a mark is, which rows it means, and how much of a time it covers.

A window of which at least half is marked, slice or no, is no window of the past at all; that is the monitor's to say
(`half`). What is less is left out of the day's profile (`of_day`), which is made anew from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from .errors import UsageError
from .times import day_bounds, iso

if TYPE_CHECKING:
    from datetime import date

    import polars as pl


@dataclass(frozen=True, slots=True)
class Mark:
    """Rows that must not be learnt from: event times in [since, until), of the slice `where` (polars SQL, "" = all)."""

    since: datetime
    until: datetime
    where: str = ""
    incident: int = 0

    @property
    def plain(self) -> list[str]:
        """Since and until (ISO, UTC) and the slice: what is written down."""
        return [iso(self.since), iso(self.until), self.where]

    def covered(self, start: datetime, end: datetime) -> timedelta:
        """How much of [start, end) the mark's time covers."""
        return max(min(self.until, end) - max(self.since, start), timedelta())

    def rows(self, frame: pl.LazyFrame, *, time: pl.Expr) -> pl.Expr:
        """Whether each row is meant, never null. Raises UsageError where the frame has not what the slice asks for."""

        hit = time.is_between(self.since, self.until, closed="left")
        if self.where:
            hit &= self._slice(frame)
        return hit.fill_null(value=False)

    def _slice(self, frame: pl.LazyFrame) -> pl.Expr:
        import polars as pl

        try:
            found = pl.sql_expr(self.where)
            # Asked with no rows: types that cannot be compared are only found when it is run.
            kind = frame.head(0).select(found.alias("mw.hit")).collect().schema["mw.hit"]
            why = "it says neither yes nor no of a row"
        except pl.exceptions.PolarsError as error:
            kind, why = None, str(error).partition("\n")[0]
        if kind == pl.Boolean:
            return found
        number = self.incident or "N"
        raise UsageError(
            f"rows marked bad cannot be found: {self.where}",
            where=f"incident {self.incident}" if self.incident else "",
            why=why,
            fix="polars SQL over the table's own columns, such as: temp < 0 AND carrier = 'UA'; "
            f"middlewatch incidents {number} unmark-bad takes the marks of an incident back",
        )


def half(marks: Iterable[Mark], start: datetime, end: datetime) -> bool:
    """True where all rows of at least half of that time are marked."""
    covered = max((one.covered(start, end) for one in marks if not one.where), default=timedelta())
    return covered * 2 >= end - start


def of_day(marks: Iterable[Mark], day: date, zone: tzinfo) -> list[Mark]:
    """By what a day's window loses rows, cut to the day: slices, and parts of it that are less than half."""
    start, end = day_bounds(day, zone)
    touching = [one for one in marks if one.covered(start, end) > timedelta()]
    if half(touching, start, end):
        return []
    return [replace(one, since=max(one.since, start), until=min(one.until, end)) for one in touching]


def without(frame: pl.LazyFrame, marks: Sequence[Mark], *, time: pl.Expr) -> pl.LazyFrame:
    """Rows but for the marked ones. Raises UsageError where a slice cannot be told of these rows."""
    for one in marks:
        frame = frame.filter(~one.rows(frame, time=time))
    return frame

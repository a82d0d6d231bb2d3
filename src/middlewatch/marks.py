"""Rows that a person marked bad, as windows leave them out: a slice of the rows, or part of a day.

A window of which at least half is marked, slice or no, is no window of the past at all; that is the monitor's to say
(`half`). What is less is left out of the day's profile, which is made anew from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from .errors import MiddlewatchError
from .times import day_bounds, iso

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from .incidents import BadSpan

__all__ = ["half", "of_day", "without"]


def half(spans: Iterable[BadSpan], start: datetime, end: datetime) -> bool:
    """True where all rows of at least half of that time are marked."""
    covered = max((_covered(one, start, end) for one in spans if not one.where), default=timedelta())
    return covered * 2 >= end - start


def of_day(spans: Iterable[BadSpan], day: date, zone: tzinfo) -> list[BadSpan]:
    """By what a day's window loses rows, cut to the day: slices, and parts of it that are less than half."""
    start, end = day_bounds(day, zone)
    touching = [one for one in spans if _covered(one, start, end) > timedelta()]
    if half(touching, start, end):
        return []
    return [
        replace(
            one,
            since=iso(max(datetime.fromisoformat(one.since), start)),
            until=iso(min(datetime.fromisoformat(one.until), end)),
        )
        for one in touching
    ]


def without(frame: pl.LazyFrame, spans: Sequence[BadSpan], *, time: pl.Expr) -> pl.LazyFrame:
    """Observations but for the marked ones. Raises MiddlewatchError where a slice cannot be told of these rows."""
    import polars as pl

    for one in spans:
        since, until = datetime.fromisoformat(one.since), datetime.fromisoformat(one.until)
        hit = time.is_between(since, until, closed="left")
        if one.where:
            try:
                hit &= pl.sql_expr(one.where)
                frame.select(hit).collect_schema()
            except pl.exceptions.PolarsError as error:
                raise MiddlewatchError(
                    f"rows marked bad cannot be found in the log: {one.where}",
                    where=f"incident {one.incident}",
                    why=str(error).partition("\n")[0],
                    fix=f"middlewatch incidents {one.incident} unmark-bad",
                ) from error
        frame = frame.filter(~hit.fill_null(value=False))
    return frame


def _covered(one: BadSpan, start: datetime, end: datetime) -> timedelta:
    since, until = datetime.fromisoformat(one.since), datetime.fromisoformat(one.until)
    return max(min(until, end) - max(since, start), timedelta())

"""The hours before an incident: what was too little for an alarm on its first day began there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from ..fingerprints import Case, Cause, History, search, thresholds
from .rows import MOST_ROWS, Span, rows_of

if TYPE_CHECKING:
    from ..project import Project

REACH = timedelta(days=1)
"""How far before the alarm a change is followed: a fault that begins at noon alarms with the next day."""


def dated(project: Project, name: str, span: Span, causes: Sequence[Cause]) -> list[Cause]:
    """The causes with the onset they had before the incident, where they touch its very first rows.

    Other causes, and those of which nothing is found in the day before, come back as they are, and then begin with
    the incident.
    """
    if span.incident is None or not any(_open(one) for one in causes):
        return list(causes)
    since = span.since - REACH
    rows = rows_of(project, name, since, span.until, MOST_ROWS).rows
    # The last past day may be one of those hours: it cannot say what is usual there.
    past = [one for one in span.past if one.height and (one["mw.time"] < since).all()]
    return [_dated(one, rows, past, span) if _open(one) else one for one in causes]


def _open(cause: Cause) -> bool:
    """Whether it may be older than the incident. A release and outcomes have dates of their own."""
    return cause.from_start and cause.since is not None and bool(cause.columns) and "mw.row" in _named(cause)


def _named(cause: Cause) -> list[str]:
    return cause.corrected.columns if cause.corrected is not None else []


def _dated(cause: Cause, rows: pl.DataFrame, past: Sequence[pl.DataFrame], span: Span) -> Cause:
    sliced = {cause.slice[0]} if cause.slice is not None else set()
    wanted = {name: kind for name, kind in span.kinds.items() if name in {*cause.columns, *sliced}}
    if not set(cause.columns) <= set(rows.columns):
        return cause
    for one in search(Case(rows, History(past, wanted), None, whole=False)).causes:
        if (one.kind, one.columns) == (cause.kind, cause.columns) and one.since is not None:
            if cause.since is None or one.since >= min(cause.since, span.since):
                break
            if not _speaks(one, rows.filter(pl.col("mw.time") < span.since), past, wanted):
                return cause
            return replace(cause, since=one.since, from_start=one.from_start)
    return replace(cause, from_start=False)


def _speaks(cause: Cause, rows: pl.DataFrame, past: Sequence[pl.DataFrame], kinds: dict[str, str]) -> bool:
    """Whether the rows from the onset up to the incident are unusual by themselves: a factor shows in no single row,
    and a few usual ones before many changed ones are easily taken along."""
    rows = rows.filter(pl.col("mw.time") >= cause.since)
    if cause.kind != "scale":
        return True
    if rows.height < thresholds.MIN_ROWS:
        return False
    alone = Case(rows, History(past, kinds), None)
    return max(alone.unusual(one) for one in cause.columns) > thresholds.BEYOND

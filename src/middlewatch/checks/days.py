"""Tests of the table as a whole: how old its newest event is, and how many rows each day has.

Days are counted from the profile's bins of the time column: no second look at the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Final

from middlewatch.findings import Finding
from middlewatch.profiles import ColumnProfile, Profile
from middlewatch.schema import Schema
from middlewatch.times import iso, zone_of

from .words import percent

_SHOWN: Final = 3
_WEEKS: Final = 3
"""Same weekdays in the other table from which on a day is held against them alone."""


def findings(
    profile: Profile, schema: Schema, *, zone: str, now: datetime | None, reference: Profile | None
) -> list[Finding]:
    """What is wrong with the newest event, the rows of each day, and their number against the reference's."""
    wanted, time = schema.table, schema.time
    held = profile.columns.get(time) if time else None
    if held is None or not held.n or time is None:
        return []
    found = []
    newest = held.highest
    if wanted.oldest is not None and now is not None and isinstance(newest, datetime) and now - newest > wanted.oldest:
        found.append(_stale(schema, time, newest, now))
    if wanted.rows_per_day is None and (wanted.volume is None or reference is None):
        return found
    counted = rows_per_day(held, zone)
    then = reference.columns.get(time) if reference is not None else None
    past = rows_per_day(then, zone) if then is not None and then.n and wanted.volume is not None else []
    if counted is None or past is None:
        # A test that cannot be made guards nothing: that must not pass in silence.
        check = "rows_per_day" if counted is None else "volume"
        said = f"rows per day cannot be counted: {time} spans more than {SPAN_DAYS:,} days"
        said += "" if counted is None else " in the reference"
        return [*found, Finding(check=check, column=time, message=said, severity=wanted.severity, status="unknown")]
    whole = counted[1:-1]
    if wanted.rows_per_day is not None:
        low, high = wanted.rows_per_day
        odd = [(day, rows) for day, rows in whole if not low <= rows <= high]
        if odd:
            said = f"{_days(odd, whole)} outside {low:,} to {high:,} rows: {_named(odd)}"
            found.append(_finding(schema, time, "rows_per_day", said))
    usual = past[1:-1]
    if wanted.volume is not None and usual:
        beside = [(day, rows, _usual(day, usual)) for day, rows in whole]
        far = [(day, rows) for day, rows, one in beside if abs(rows - one) > wanted.volume * one]
        if far:
            said = f"{_days(far, whole)} more than {percent(wanted.volume)} off the usual: {_named(far)}"
            said += f"; usual are {median(rows for _, rows in usual):,.0f} a day"
            found.append(_finding(schema, time, "volume", said))
    return found


SPAN_DAYS: Final = 416
"""Longest span of times whose bins are hours (10,000 of them); wider bins do not tell days apart."""


def rows_per_day(column: ColumnProfile, zone: str) -> list[tuple[date, int]] | None:
    """Rows of each local day from the first to the last one, 0 for days without; None where bins are too wide."""
    if column.bins is None or column.bins.width != 1:
        return None
    local = zone_of(zone)
    start = datetime(1970, 1, 1, tzinfo=UTC)
    counted: dict[date, int] = {}
    for hour, rows in zip(column.bins.keys.tolist(), column.bins.counts.tolist(), strict=True):
        day = (start + timedelta(hours=hour)).astimezone(local).date()
        counted[day] = counted.get(day, 0) + rows
    first, last = min(counted), max(counted)
    every = (first + timedelta(days=at) for at in range((last - first).days + 1))
    return [(day, counted.get(day, 0)) for day in every]


def _usual(day: date, days: Sequence[tuple[date, int]]) -> float:
    """Rows that a day has in the other table: its weekday's median, or that of all days where there are few."""
    same = [rows for other, rows in days if other.weekday() == day.weekday()]
    return float(median(same if len(same) >= _WEEKS else [rows for _, rows in days]))


def _stale(schema: Schema, time: str, newest: datetime, now: datetime) -> Finding:
    age = now - newest
    old = f"{age.days} days" if age >= timedelta(days=2) else f"{age.total_seconds() / 3600:.1f} hours"
    said = f"the newest {time} is {iso(newest)}, {old} old; {schema.table.freshness} may be"
    return _finding(schema, time, "freshness", said)


def _finding(schema: Schema, time: str, check: str, said: str) -> Finding:
    fix = f"look whether its source has stopped, or {check} under [table] of {schema.name}.schema.toml"
    return Finding(check=check, column=time, message=said, severity=schema.table.severity, fix=fix)


def _days(odd: Sequence[tuple[date, int]], of: Sequence[tuple[date, int]]) -> str:
    return f"{len(odd)} of {len(of)} whole days {'is' if len(odd) == 1 else 'are'}"


def _named(odd: Sequence[tuple[date, int]]) -> str:
    more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
    return ", ".join(f"{day} with {rows:,}" for day, rows in odd[:_SHOWN]) + more

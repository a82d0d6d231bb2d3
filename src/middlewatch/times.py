"""Times as people type them and as days are cut: pure, the clock and the zone come in as arguments."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .errors import UsageError

_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d|w)(?![a-z])")
_HELP = 'write "2h", "3d", "yesterday 18:00", "2026-11-22" or "2026-11-22T02:00:00+01:00"'


def zone_of(name: str) -> tzinfo:
    """The time zone with an IANA name. Raises UsageError for one that does not exist."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UsageError(f'there is no time zone "{name}"', fix='use an IANA name such as "Europe/Vienna"') from error


def parse_duration(text: str) -> timedelta:
    """`90s`, `5min`, `2h`, `1d 12h`, `2w` as a timedelta. Raises UsageError for anything else."""
    folded = text.strip().lower()
    parts = _DURATION.findall(folded)
    if not parts or _DURATION.sub("", folded).strip():
        raise UsageError(f'"{text}" is not a length of time', fix='write "30s", "5min", "2h", "3d" or "2w"')
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def parse_time(text: str, *, now: datetime, zone: tzinfo = UTC) -> datetime:
    """A moment in UTC: ISO 8601, a date (its first moment in `zone`), `2h` (ago), `yesterday 18:00`, `now`.

    Times without a zone are read in `zone`. Raises UsageError for anything else.
    """
    folded = text.strip().lower()
    if folded == "now":
        return now.astimezone(UTC)
    day_words = {"today": 0, "yesterday": 1}
    first, _, rest = folded.partition(" ")
    if first in day_words:
        day = now.astimezone(zone).date() - timedelta(days=day_words[first])
        try:
            clock = time.fromisoformat(rest) if rest else time()
        except ValueError as error:
            raise UsageError(f'"{text}" is not a time', fix=_HELP) from error
        return datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            return now.astimezone(UTC) - parse_duration(text)
        except UsageError as error:
            raise UsageError(f'"{text}" is not a time', fix=_HELP) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with zone, microseconds only where there are some."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def day_of(moment: datetime, zone: tzinfo) -> date:
    """The calendar day of a moment in `zone`."""
    return moment.astimezone(zone).date()


def hour_bounds(day: date, hour: int, zone: tzinfo) -> tuple[datetime, datetime]:
    """First moment of a clock hour of a day and of the next, in UTC: two hours apart where the clock is put back."""
    start = datetime.combine(day, time(hour), tzinfo=zone)
    end = datetime.combine(day + timedelta(days=hour // 23), time((hour + 1) % 24), tzinfo=zone)
    return start.astimezone(UTC), end.astimezone(UTC)


def day_bounds(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """First moment of the day and of the next, in UTC: 23 or 25 hours apart where the clock changes."""
    start = datetime.combine(day, time(), tzinfo=zone)
    end = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)
    return start.astimezone(UTC), end.astimezone(UTC)

"""What the same hours of the last 28 days reached: read from stored windows once an hour, never from rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from middlewatch import model
from middlewatch.times import day_bounds

from .usual import Usual

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["ENOUGH", "TRAINING", "Day", "Past"]

REFERENCE = 28
# How far back those days may lie where traffic paused.
REACH = timedelta(days=90)
# Fewer days than this say little of what is usual: the fast channel learns.
ENOUGH = 7
TRAINING = ""
WEEKS = 8
FEW_WEEKS = 4


@dataclass(frozen=True, slots=True)
class Day:
    """One stored day by local hour: rows answered and refused, and what their blocks reached."""

    rows: Mapping[int, int]
    refused: Mapping[int, int]
    blocks: Mapping[int, Sequence[Mapping[str, Any]]]


class Past:
    """The days before one: `days` are those that say what is usual, `logged` the rows by hour of all served ones."""

    def __init__(self, days: Mapping[date, Day], logged: Mapping[date, Mapping[int, int]], zone: tzinfo) -> None:
        self.days = days
        self._logged = logged
        self._zone = zone

    @staticmethod
    def read(project: Project, name: str, today: date) -> Past:
        """The days before `today`, as they were stored; hours of faults are left out."""
        windows = project.windows(name)
        summaries = windows.summaries(since=today - REACH, until=today - timedelta(days=1))
        incidents = project.incidents(name).all()
        # A fault must not make itself usual; what closed by itself may have been no fault.
        spans = [(one.since, one.until) for one in incidents if one.since and (one.active or one.confirmed)]
        bad = [(datetime.fromisoformat(since), _end(until)) for since, until in spans]
        bad += [(mark.since, mark.until) for one in incidents for mark in one.bad if not mark.where]
        zone = project.zone
        calm = {day: one for one in summaries if not _covered(day := date.fromisoformat(one["day"]), bad, zone)}
        days = {
            day: Day(
                rows=_by_hour(calm[day].get("hours", {})),
                refused=_by_hour(calm[day].get("refused_hours", {})),
                blocks={hour: held for hour, held in kept.items() if not _touched(day, hour, bad, zone)},
            )
            for day, kept in windows.blocks(sorted(calm)[-REFERENCE:]).items()
        }
        logged = {
            date.fromisoformat(one["day"]): _by_hour(one.get("hours", {}))
            for one in summaries
            if one["source"] == "log"
        }
        return Past(days, logged, zone)

    def inputs(self, hour: int) -> Usual:
        """What inputs reached at this hour and its neighbours, whatever version answered."""
        return self._usual(hour, None)

    def scores(self, hour: int, version: str) -> tuple[str, Usual]:
        """What scores reached, and of which version: `version` itself where enough is known, else the one known best.

        TRAINING stands for rows that were learnt from, scored by models that had not seen them.
        """
        known = Counter[str]()
        for day in self.days.values():
            known.update({held["version"] for hour in day.blocks.values() for held in hour})
        if known[version] >= ENOUGH or not known:
            return version, self._usual(hour, version)
        # Scores of another service's version cannot be had again.
        able = [one for one in known if one == TRAINING or (model.ours(one) and model.ours(version))]
        best = max(able, key=lambda one: (known[one], one), default=version)
        return best, self._usual(hour, best)

    def _usual(self, hour: int, version: str | None) -> Usual:
        found = []
        for day in self.days.values():
            held = tuple(
                one
                for near in (hour - 1, hour, hour + 1)
                for one in day.blocks.get(near % 24, ())
                if version is None or one["version"] == version
            )
            if held:
                found.append(held)
        return Usual(tuple(found))

    def spans(self) -> dict[str, tuple[float, float]]:
        """Least and largest number of each column in all these days."""
        found: dict[str, tuple[float, float]] = {}
        for day in self.days.values():
            for held in day.blocks.values():
                for one in held:
                    for name, (low, high) in one["span"].items():
                        known = found.get(name, (low, high))
                        found[name] = (min(low, known[0]), max(high, known[1]))
        return found

    def refused(self, hour: int) -> tuple[int, float]:
        """Days known at this hour, and the largest share of requests that were refused in it or a neighbour."""
        shares = []
        for day in self.days.values():
            for near in ((hour - 1) % 24, hour, (hour + 1) % 24):
                refused, rows = day.refused.get(near, 0), day.rows.get(near, 0)
                if refused + rows:
                    shares.append(refused / (refused + rows))
        return len(self.days), max(shares, default=0.0)

    def least_rows(self, since: datetime, until: datetime) -> float | None:
        """The fewest requests that the span had at this time of other days: the same weekday of 8 weeks, else all of
        28 days. None where under 7 days of served traffic are known.
        """
        if len(self._logged) < ENOUGH:
            return None
        first = min(self._logged)
        today = until.astimezone(self._zone).date()
        weekly = [today - timedelta(weeks=back) for back in range(1, WEEKS + 1)]
        weekly = [day for day in weekly if day >= first]
        daily = [today - timedelta(days=back) for back in range(1, REFERENCE + 1)]
        days = weekly if len(weekly) >= FEW_WEEKS else [day for day in daily if day >= first]
        counted = [self._rows(since, until, today - day) for day in days]
        return min(counted, default=None)

    def _rows(self, since: datetime, until: datetime, back: timedelta) -> float:
        """Requests in a span moved `back` whole days on the local clock; of an hour that it cuts, in proportion."""
        at, end = (one.astimezone(self._zone).replace(tzinfo=None) - back for one in (since, until))
        total = 0.0
        while at < end:
            upto = min(at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1), end)
            total += self._logged.get(at.date(), {}).get(at.hour, 0) * ((upto - at) / timedelta(hours=1))
            at = upto
        return total


Spans = Sequence[tuple[datetime, datetime | None]]


def _end(until: str) -> datetime | None:
    return datetime.fromisoformat(until) if until else None


def _by_hour(counted: Mapping[str, Any]) -> dict[int, int]:
    return {int(hour): int(rows) for hour, rows in counted.items()}


def _covered(day: date, bad: Spans, zone: tzinfo) -> bool:
    start, end = day_bounds(day, zone)
    return any(since <= start and (until is None or until >= end) for since, until in bad)


def _touched(day: date, hour: int, bad: Spans, zone: tzinfo) -> bool:
    start = day_bounds(day, zone)[0] + timedelta(hours=hour)
    return any(since < start + timedelta(hours=1) and (until is None or start < until) for since, until in bad)

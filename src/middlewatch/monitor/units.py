"""Windows to judge: a day, or the days of a week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from middlewatch import shift
from middlewatch.times import day_bounds, hour_bounds
from middlewatch.windows import KEEP_HOURS_DAYS

if TYPE_CHECKING:
    import polars as pl

    from middlewatch.project import Project
    from middlewatch.windows import WindowDay, Windows

FEW_ROWS = 100


@dataclass(frozen=True, slots=True)
class Unit:
    """One window: a day, the days of a week that have rows, or one clock `hour` of a day."""

    start: date
    days: tuple[WindowDay, ...]
    bounds: tuple[datetime, datetime]
    hour: int | None = None

    @property
    def starts(self) -> date:
        """What its judgement is found by: its first day that has rows, or its hour."""
        return self.days[0].day if self.hour is None else self.start

    @property
    def logged(self) -> bool:
        return any(one.source == "log" for one in self.days)

    @property
    def rows(self) -> int:
        return sum(self._of_hour(one, "hours", one.rows) for one in self.days)

    @property
    def refused(self) -> int:
        return sum(self._of_hour(one, "refused_hours", int(one.summary.get("refused", 0))) for one in self.days)

    @property
    def refused_share(self) -> float:
        return self.refused / max(self.refused + self.rows, 1)

    @property
    def versions(self) -> dict[str, int]:
        """Rows answered by each version."""
        counted: dict[str, int] = {}
        for one in self.days:
            held = one.versions if self.hour is None else self._by_hour(one)
            for version, rows in held.items():
                counted[version] = counted.get(version, 0) + rows
        return counted

    @property
    def version(self) -> str | None:
        """The version that answered most of it."""
        counted = self.versions
        return max(counted, key=lambda version: (counted[version], version)) if counted else None

    @property
    def sample(self) -> pl.DataFrame:
        """Rows kept of its last day; of an hour those in it."""
        kept = self.days[-1].sample
        if self.hour is None or not kept.height:
            return kept
        start, end = self.bounds
        return kept.filter((kept["mw.time"] >= start) & (kept["mw.time"] < end))

    def _of_hour(self, one: WindowDay, name: str, whole: int) -> int:
        return whole if self.hour is None else int(one.summary.get(name, {}).get(str(self.hour), 0))

    def _by_hour(self, one: WindowDay) -> dict[str, int]:
        known = one.summary.get("versions_by_hour")
        if known is not None:
            return dict(known.get(str(self.hour), {}))
        # A day that was made before hours were judged: one version, most likely.
        return dict.fromkeys(one.versions, self.rows)

    @property
    def beside(self) -> dict[str, dict[str, Any]]:
        """By column what stands beside the profiles (see `beside`): of several days the mean, by rows."""
        if self.hour is not None:
            return {}  # an hour has no middle hour, and too small a part of its day's sample
        parts = [(one.beside, one.rows) for one in self.days if one.rows]
        if len(parts) < 2:
            return parts[0][0] if parts else {}
        found: dict[str, dict[str, Any]] = {}
        for name in {name for part, _ in parts for name in part}:
            held = [(part[name], rows) for part, rows in parts if name in part]
            found[name] = {
                "scattered": _mean([(one["scattered"], rows) for one, rows in held if "scattered" in one]),
                "sampled": sum(one.get("sampled", 0) for one, _ in held),
                **_repeats(held),
                "ties": {
                    other: _mean([(one["ties"][other], rows) for one, rows in held if other in one.get("ties", {})])
                    for other in {other for one, _ in held for other in one.get("ties", {})}
                },
            }
        return found

    @property
    def revisions(self) -> dict[str, int]:
        """What a judgement of it was made of: the days' revisions; of an hour, whose day grows, its rows."""
        if self.hour is not None:
            return {self.start.isoformat(): self.rows}
        return {one.day.isoformat(): one.revision for one in self.days}


def _repeats(held: Sequence[tuple[Mapping[str, Any], int]]) -> dict[str, Any]:
    """Rows that came before on the same day, and the shares of a day's pairs and triples that are equal."""
    if not all("same" in one for one, _ in held):
        return {}
    return {
        "repeated": sum(one["repeated"] for one, _ in held),
        "same": tuple(
            sum(one["same"][of] * float(rows) ** (of + 2) for one, rows in held)
            / sum(float(rows) ** (of + 2) for _, rows in held)
            for of in (0, 1)
        ),
    }


def _mean(weighed: Sequence[tuple[float, int]]) -> float | None:
    rows = sum(one for _, one in weighed)
    return sum(value * one for value, one in weighed) / rows if rows else None


def units_of(project: Project, windows: Windows, until: datetime) -> list[Unit]:
    """Windows that had ended at `until`, in order. Of hours those that are kept."""
    days = windows.read()
    if project.config.monitor.window == "hour":
        return _hours_of(project, days, until)
    weekly = project.config.monitor.window == "week"
    grouped: dict[date, list[WindowDay]] = {}
    for one in days:
        grouped.setdefault(one.day - timedelta(days=one.day.weekday() if weekly else 0), []).append(one)
    found = []
    for start, held in sorted(grouped.items()):
        end = day_bounds(start + timedelta(days=6 if weekly else 0), project.zone)[1]
        if end <= until:
            found.append(Unit(start, tuple(held), (day_bounds(start, project.zone)[0], end)))
    return found


def _hours_of(project: Project, days: Sequence[WindowDay], until: datetime) -> list[Unit]:
    kept = days[-1].day - timedelta(days=KEEP_HOURS_DAYS) if days else date.min
    found = []
    for one in days:
        for hour in sorted({int(hour) for name in ("hours", "refused_hours") for hour in one.summary.get(name, {})}):
            bounds = hour_bounds(one.day, hour, project.zone)
            if one.day >= kept and bounds[1] <= until:
                found.append(Unit(datetime.combine(one.day, time(hour)), (one,), bounds, hour))
    return found


def notes_of(project: Project, units: Sequence[Unit]) -> list[str]:
    window = project.config.monitor.window
    length = shift.LENGTHS[window]
    rows = [one.rows for one in units if one.logged][-length.reference * length.cycle :]
    if window == "day" and rows and median(rows) < FEW_ROWS:
        return [f'under {FEW_ROWS} rows a day: set window = "week" in [monitor] for steadier judgements']
    thin = sum(1 for one in rows if one < shift.MIN_ROWS)
    if window == "hour" and 2 * thin > len(rows):
        return [
            f"{thin:,} of the last {len(rows):,} hours have under {shift.MIN_ROWS} rows and are too thin to be judged: "
            'set window = "day" in [monitor]'
        ]
    return []

"""Windows to judge: a day, or the days of a week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from middlewatch import shift
from middlewatch.times import day_bounds

if TYPE_CHECKING:
    from middlewatch.project import Project
    from middlewatch.windows import WindowDay, Windows

FEW_ROWS = 100


@dataclass(frozen=True, slots=True)
class Unit:
    """One window: a day, or the days of a week that have rows."""

    start: date
    days: tuple[WindowDay, ...]
    bounds: tuple[datetime, datetime]

    @property
    def logged(self) -> bool:
        return any(one.source == "log" for one in self.days)

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.days)

    @property
    def refused(self) -> int:
        return sum(int(one.summary.get("refused", 0)) for one in self.days)

    @property
    def refused_share(self) -> float:
        return self.refused / max(self.refused + self.rows, 1)

    @property
    def version(self) -> str | None:
        """The version that answered most of it."""
        counted: dict[str, int] = {}
        for one in self.days:
            for version, rows in one.versions.items():
                counted[version] = counted.get(version, 0) + rows
        return max(counted, key=lambda version: (counted[version], version)) if counted else None

    @property
    def revisions(self) -> dict[str, int]:
        return {one.day.isoformat(): one.revision for one in self.days}


def units_of(project: Project, windows: Windows, until: datetime) -> list[Unit]:
    """Windows that had ended at `until`, in order."""
    weekly = project.config.monitor.window == "week"
    grouped: dict[date, list[WindowDay]] = {}
    for one in windows.read():
        grouped.setdefault(one.day - timedelta(days=one.day.weekday() if weekly else 0), []).append(one)
    found = []
    for start, days in sorted(grouped.items()):
        end = day_bounds(start + timedelta(days=6 if weekly else 0), project.zone)[1]
        if end <= until:
            found.append(Unit(start, tuple(days), (day_bounds(start, project.zone)[0], end)))
    return found


def notes_of(project: Project, units: Sequence[Unit]) -> list[str]:
    rows = [one.rows for one in units if one.logged][-shift.REFERENCE :]
    if project.config.monitor.window == "day" and rows and median(rows) < FEW_ROWS:
        return [f'under {FEW_ROWS} rows a day: set window = "week" in [monitor] for steadier judgements']
    return []

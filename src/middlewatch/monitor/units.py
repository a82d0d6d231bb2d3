"""Windows to judge: a day, or the days of a week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

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
    def beside(self) -> dict[str, dict[str, Any]]:
        """By column what stands beside the profiles (see `windows.beside`): of several days the mean, by rows."""
        parts = [(one.beside, one.rows) for one in self.days if one.rows]
        if len(parts) < 2:
            return parts[0][0] if parts else {}
        found: dict[str, dict[str, Any]] = {}
        for name in {name for part, _ in parts for name in part}:
            held = [(part[name], rows) for part, rows in parts if name in part]
            found[name] = {
                "scattered": _mean([(one["scattered"], rows) for one, rows in held if "scattered" in one]),
                "sampled": sum(one.get("sampled", 0) for one, _ in held),
                "repeated": sum(one["repeated"] for one, _ in held)
                if all("repeated" in one for one, _ in held)
                else None,
                "ties": {
                    other: _mean([(one["ties"][other], rows) for one, rows in held if other in one.get("ties", {})])
                    for other in {other for one, _ in held for other in one.get("ties", {})}
                },
            }
        return found

    @property
    def revisions(self) -> dict[str, int]:
        return {one.day.isoformat(): one.revision for one in self.days}


def _mean(weighed: Sequence[tuple[float, int]]) -> float | None:
    rows = sum(one for _, one in weighed)
    return sum(value * one for value, one in weighed) / rows if rows else None


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

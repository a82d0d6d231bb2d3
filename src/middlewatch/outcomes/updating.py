"""What the monitor does with outcomes: days measured anew, windows judged, one incident kept.

A window is judged when enough of its outcomes have arrived (`quality.watch.ripe`), and again when more of them, or
other ones, came. The incident is derived from the windows as they now stand, so a correction can close it as well as
a recovery; it is opened under a key, so a run that dies before its facts are written opens it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import middlewatch.quality.watch as watching
from middlewatch.quality.sums import Sum, merged
from middlewatch.quality.watch import Verdict, Watch, Window
from middlewatch.times import day_bounds, iso

from .days import Stored, measure, written
from .keeping import Keeper, Seen

if TYPE_CHECKING:
    from middlewatch.project import Project

# Of the alarms that a model may raise in a month so many may be about outcomes.
BUDGET_SHARE = 0.25
# Windows before the first changed one that can still matter to it: its reference, 90 values and 90 highest scores.
REACH = watching.REFERENCE + 2 * watching.HISTORY + watching.RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """`days` measured anew, windows judged (plain JSON, oldest first), numbers of the incidents touched."""

    days: list[date] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)
    incidents: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Unit:
    """A day, or a week's days, as a Window with its bounds in time."""

    window: Window
    days: tuple[date, ...]
    logged: bool
    bounds: tuple[datetime, datetime]


def update(
    project: Project, name: str, *, until: datetime, now: datetime, budget: float, rebuild: bool = False
) -> Updated:
    """Join new outcomes, judge the windows that they complete, open or close the incident about them.

    `budget` is the alarms a month that this model may raise in all. Running it again changes nothing.
    """
    if not project.schema(name).target:
        return Updated()
    stored = Stored.read(project, name)
    found = measure(project, name, stored, rebuild=rebuild)
    quality: dict[date, Mapping[str, Any]] = {**stored.quality, **found.facts}
    units = _units(project, quality, until)
    changed = set(found.facts)
    keeper = Keeper(project, name, now=now)
    verdicts = _judge(project, units, changed, keeper, budget=budget * BUDGET_SHARE)
    windows = project.windows(name)
    fresh = set(found.files)
    for day, facts in found.facts.items():
        # Named once; what the revision before named stays named, while it is there.
        names = sorted(fresh | (set(stored.quality.get(day, {}).get("files", ())) & found.kept))
        windows.put_quality(day, written(facts, now=iso(now), files=names, judged=verdicts.get(day)))
        fresh = set()
    judged = [one for day, one in sorted(verdicts.items()) if one is not None]
    return Updated(days=list(found.facts), windows=judged, incidents=sorted(keeper.touched))


def _units(project: Project, quality: Mapping[date, Mapping[str, Any]], until: datetime) -> list[_Unit]:
    """Windows that had ended at `until` and have outcomes at all, in order."""
    weekly = project.config.monitor.window == "week"
    grouped: dict[date, list[date]] = {}
    for day in sorted(quality):
        grouped.setdefault(day - timedelta(days=day.weekday() if weekly else 0), []).append(day)
    units = []
    for start, days in grouped.items():
        last = start + timedelta(days=6 if weekly else 0)
        bounds = (day_bounds(start, project.zone)[0], day_bounds(last, project.zone)[1])
        held = [quality[day] for day in days]
        window = Window(
            start=start,
            rows=sum(int(one["rows"]) for one in held),
            labelled=sum(int(one["measured"]) for one in held),
            sums=merged({name: Sum.read(plain) for name, plain in one["sums"].items()} for one in held),
        )
        if bounds[1] <= until:
            units.append(_Unit(window, tuple(days), any(one["source"] == "log" for one in held), bounds))
    return units


def _judge(
    project: Project, units: Sequence[_Unit], changed: set[date], keeper: Keeper, *, budget: float
) -> dict[date, dict[str, Any] | None]:
    """Fold over the windows; the judgement of each changed one, under each of its changed days."""
    first = next((at for at, one in enumerate(units) if changed & set(one.days)), None)
    if first is None:
        return {}
    since = keeper.since()
    if since is not None:
        first = min(first, next((at for at, one in enumerate(units) if iso(one.bounds[0]) >= since), first))
    weekly = project.config.monitor.window == "week"
    watch = Watch(budget=budget, days=7 if weekly else 1)
    before: list[Window] = []
    found: dict[date, dict[str, Any] | None] = {}
    for unit in units[max(first - REACH, 0) :]:
        fresh = sorted(changed & set(unit.days))
        enough = watching.ripe(unit.window, before)
        before = [*before, unit.window][-2 * watching.REFERENCE :]
        marked = keeper.marked(*unit.bounds)
        if not enough or marked:
            found |= dict.fromkeys(fresh)
            continue
        verdict = watch.look(unit.window)
        if unit.logged:
            keeper.see(Seen(unit.window, unit.bounds, verdict), watch, judged=bool(fresh))
        watch.step(unit.window)
        for day in fresh:
            found[day] = _judgement(unit, verdict, keeper)
    return found


def _judgement(unit: _Unit, verdict: Verdict, keeper: Keeper) -> dict[str, Any]:
    return {
        "start": iso(unit.bounds[0]),
        "end": iso(unit.bounds[1]),
        "rows": unit.window.rows,
        "labelled": unit.window.labelled,
        "share": round(unit.window.share, 6),
        **verdict.to_dict(),
        "incident": keeper.active,
    }

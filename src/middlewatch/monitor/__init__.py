"""Is today beyond what this model has ever lived through? Judges finished windows, keeps incidents.

    log --building--> windows --shift.Watch--> verdicts --> judgements, incidents
    labels --outcomes--> a day's losses --quality.Watch--> verdicts --> the incident about outcomes

Everything is a fold over stored profiles: rows of the past are not read again. A window is judged against
history under the version that answered it, so a promotion is no alarm: past predictions of that version come
from the kept samples, scored once and kept (`Windows.put_scores`), or out of fold from training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from middlewatch.building import build
from middlewatch.errors import NothingToDo
from middlewatch.incidents import Incident
from middlewatch.outcomes import update
from middlewatch.retention import expire_log
from middlewatch.windows import KEEP_HOURS_DAYS

from .beside import REFUSED
from .budget import budget_of, live_models
from .run import Run
from .units import notes_of, units_of

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["REFUSED", "Judged", "budget_of", "judge", "live_models"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one run of the monitor did: windows judged (plain JSON, oldest first), incidents it touched; `quality`
    are the windows judged by their outcomes.
    """

    windows: list[dict[str, Any]]
    incidents: list[Incident]
    built: int
    notes: list[str] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "windows": self.windows,
            "incidents": [one.to_dict() for one in self.incidents],
            "built": self.built,
            "notes": self.notes,
            "quality": self.quality,
        }


def judge(
    project: Project, name: str, *, until: datetime | None = None, rebuild: bool = False, now: datetime
) -> Judged:
    """Make windows of newly logged rows, then judge every finished one that is not judged as it now stands.

    `until` (default: `now`) is the moment to judge at; `rebuild` makes and judges all windows anew. Running it
    again changes nothing; two at once agree. Raises NothingToDo where nothing was ever logged.
    """
    windows, incidents = project.windows(name), project.incidents(name)
    moment = until if until is not None else now
    built = build(project, name, until=moment, now=now, rebuild=rebuild)
    units = units_of(project, windows, moment)
    ahead = _ahead(project, moment, now)
    if not any(one.logged for one in units):
        raise NothingToDo(
            f"no finished {project.config.monitor.window} of {name} has logged requests yet",
            why="; ".join(ahead),
            fix="middlewatch status shows what is there",
        )
    judged = {} if rebuild else windows.judgements()
    pending = [one for one in units if one.logged and judged.get(one.starts, {}).get("revisions") != one.revisions]
    budget = budget_of(project)
    if not pending:
        known = update(project, name, until=moment, now=now, budget=budget)
        touched = [incidents.get(n) for n in known.incidents]
        notes = [*ahead, *built.notes, *notes_of(project, units)]
        return Judged(windows=[], incidents=touched, built=len(built.days), notes=notes, quality=known.windows)
    run = Run(project, name, units, pending, now=now, anew=rebuild)
    run.judge()
    # After the windows' own judgement: outcomes come days later, and what they say stands beside it.
    known = update(project, name, until=moment, now=now, budget=budget, rebuild=rebuild)
    expire_log(project.store, name, now.date() - timedelta(days=project.config.store.keep_log_days))
    # By event time: replayed history is as young as its own newest day.
    windows.expire(units[-1].days[-1].day - timedelta(days=KEEP_HOURS_DAYS))
    return Judged(
        windows=run.done,
        incidents=[incidents.get(n) for n in sorted(run.touched | set(known.incidents))],
        built=len(built.days),
        notes=[*ahead, *built.notes, *notes_of(project, units), *run.past.replayers.notes],
        quality=known.windows,
    )


def _ahead(project: Project, until: datetime, now: datetime) -> list[str]:
    """A moment that is still to come judges nothing more than now does: said, as who types it waits for something."""
    if until <= now:
        return []
    window, zone = project.config.monitor.window, project.zone
    late, clock = (f"{one.astimezone(zone):%Y-%m-%d %H:%M}" for one in (until, now))
    return [
        f"{late} is later than the clock, {clock} {project.config.monitor.zone}: what has not ended, with its grace "
        f"for late rows, is not judged; middlewatch monitor judges every {window} that is over"
    ]

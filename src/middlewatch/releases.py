"""What is live: promote through a gate, roll back in one entry, and say beforehand what a rollback would change."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import gate, model, replay
from .errors import NothingToDo, Refused, UsageError, nearest
from .journal import Entry, until_uncontested

if TYPE_CHECKING:
    from .project import Project

CHANNELS = ("live", "staging", "shadow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """One journal entry, or with `dry_run` what it would be. `replay` is what the last logged requests would get."""

    n: int
    live: str
    previous: str | None
    dry_run: bool = False
    gate: Sequence[dict[str, Any]] = ()
    replay: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "live": self.live,
            "previous": self.previous,
            "dry_run": self.dry_run,
            "gate": list(self.gate),
            "replay": self.replay,
            "notes": self.notes,
        }


def promote(
    project: Project,
    name: str,
    version: str,
    *,
    channel: str = "live",
    reason: str = "",
    force: str | None = None,
    now: datetime,
    actor: str,
) -> Released:
    """Make a version live (or staging, shadow) through the gate. Servers see it within a second.

    Raises Refused where the gate says no and `force` gives no reason, NothingToDo where it is live already.
    """

    if channel not in CHANNELS:
        raise UsageError(f'"{channel}" is no channel', fix=nearest(channel, CHANNELS))

    def decide() -> Released:
        journal = project.journal(name)
        head, live = journal.head(), journal.live(channel)
        candidate = model.load(project.store, name, version)
        if live == candidate.version:
            raise NothingToDo(f"{live} is {channel} already")
        model.predictor(project.store, candidate)
        verdicts = gate_of(project, candidate, live) if channel == "live" else []
        if not gate.passed(verdicts) and not force:
            raise _refused(candidate.version, verdicts)
        entry = journal.append(
            action="promote",
            version=candidate.version,
            channel=channel,
            actor=actor,
            host=socket.gethostname(),
            at=now,
            reason=force or reason,
            gate=verdicts,
            manifest=model.shelf(project.store, name).sha256(candidate.version),
            data=candidate.data,
            git=str(candidate.manifest["code"].get("commit", "")),
            facts={"forced": True} if force else None,
            expect=head.n if head else 0,
        )
        return _released(entry, verdicts)

    return until_uncontested(decide)


def gate_of(project: Project, candidate: model.ModelVersion, live: str | None) -> list[gate.Verdict]:
    """The candidate's gate against what is live now.

    The one recorded at training where it was made against the same version; else the two are compared anew on the
    rows that came after both were trained. Where there are no such rows, that is said as a failed check: a
    comparison on rows that one of the two has learnt by heart would favour it.
    """
    recorded = list(candidate.manifest["gate"])
    if live is None or not model.ours(live) or candidate.manifest["compared_with"] == live:
        return recorded
    own = [one for one in recorded if one["check"] in gate.ALONE]
    champion = model.load(project.store, candidate.model, live)
    return own + replay.compare_on_holdout(project, champion, candidate)


def rollback(
    project: Project,
    name: str,
    *,
    to: str | None = None,
    reason: str = "",
    dry_run: bool = False,
    now: datetime,
    actor: str,
) -> Released:
    """Back to the last different version that was live, or to `to`. No gate but: it loads, answers its golden rows
    as recorded, and knows what callers send today. Freezes automatic promotion until `unfreeze`.

    With `dry_run` nothing is written; the last 500 logged requests are replayed on the target instead.
    Raises NothingToDo where there is nothing to go back to, Refused where the target cannot serve.
    """

    def decide() -> Released:
        journal = project.journal(name)
        head, live = journal.head(), journal.live()
        target = to or journal.previous()
        if head is None or live is None or target is None:
            raise NothingToDo(
                "there is no version to go back to",
                why="only one version has ever been live" if live else "nothing has been live yet",
                fix=f"middlewatch versions --model {name}",
            )
        if not model.ours(target):
            raise Refused(
                f"{target} is not our model: it answers elsewhere, and is rolled back there",
                fix="middlewatch import  its log afterwards shows whether that helped",
            )
        wanted = model.load(project.store, name, target)
        if wanted.version == live:
            raise NothingToDo(f"{live} is live already")
        model.predictor(project.store, wanted)
        notes = replay.missing_inputs(project, name, wanted)
        if notes and not dry_run:
            raise Refused(
                f"{target} cannot answer today's requests",
                why="; ".join(notes),
                fix=f"roll back further with --to, or  middlewatch promote {target} --force 'the reason'",
            )
        if dry_run:
            effect = replay.would_help(project, name, wanted.version)
            return Released(n=head.n + 1, live=wanted.version, previous=live, dry_run=True, replay=effect, notes=notes)
        entry = journal.append(
            action="rollback",
            version=wanted.version,
            actor=actor,
            host=socket.gethostname(),
            at=now,
            reason=reason,
            manifest=model.shelf(project.store, name).sha256(wanted.version),
            data=wanted.data,
            git=str(wanted.manifest["code"].get("commit", "")),
            expect=head.n,
        )
        return _released(entry, [])

    return until_uncontested(decide)


def unfreeze(project: Project, name: str, *, reason: str = "", now: datetime, actor: str) -> Released:
    """Allow automatic promotion again. Raises NothingToDo where it is allowed."""

    def decide() -> Released:
        journal = project.journal(name)
        head, live = journal.head(), journal.live()
        if head is None or live is None or not journal.state().frozen:
            raise NothingToDo("automatic promotion is not frozen")
        entry = journal.append(
            action="unfreeze",
            version=live,
            actor=actor,
            host=socket.gethostname(),
            at=now,
            reason=reason,
            expect=head.n,
        )
        return _released(entry, [])

    return until_uncontested(decide)


def _released(entry: Entry, verdicts: Sequence[dict[str, Any]]) -> Released:
    return Released(n=entry.n, live=entry.version, previous=entry.previous or None, gate=verdicts)


def _refused(version: str, verdicts: Sequence[dict[str, Any]]) -> Refused:
    failed = [one for one in verdicts if not one["ok"]]
    return Refused(
        f"the gate refuses {version}: {len(failed)} of {len(verdicts)} checks fail",
        why="; ".join(f"{one['check']}: {one['detail']}" for one in failed),
        fix=f"middlewatch promote {version} --force 'the reason'  if you know better; it is recorded",
    )

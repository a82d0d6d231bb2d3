"""Retraining as one act: train, gate, and release as the project's settings say. Same slot twice is one run."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from . import model, releases, train
from .errors import NothingToDo, Refused
from .times import iso

if TYPE_CHECKING:
    from .project import Project

Decision = Literal["promoted", "kept", "refused", "nothing_new", "held_elsewhere"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrained:
    """`decision` and why; `trained` is None where nothing was trained."""

    decision: Decision
    why: str
    trained: train.Trained | None = None
    released: releases.Released | None = None

    def to_dict(self) -> dict[str, Any]:
        facts = self.trained.to_dict() if self.trained else {}
        return {**facts, "decision": self.decision, "why": self.why, "n": self.released.n if self.released else None}


def retrain(
    project: Project,
    name: str,
    *,
    source: str | None = None,
    slot: str | None = None,
    seed: int = 0,
    now: datetime,
    actor: str,
    progress: Callable[[str], None] = lambda line: None,
) -> Retrained:
    """Snapshot, tests, train, compare, gate; then promote (`promote = "auto"`), keep as challenger, or refuse.

    The same content as the live version's data is `nothing_new`. A `slot` names a scheduled run: whoever creates
    its first attempt runs it, anybody else is told `held_elsewhere`, also where that run failed.
    """
    if slot is not None and not _take(project, name, slot, now, actor):
        return Retrained(decision="held_elsewhere", why=f"slot {slot} was started already")
    settings = project.settings(name)
    journal = project.journal(name)
    live = journal.live()
    try:
        snapshot = train.take_snapshot(project, name, source, now=now, actor=actor, progress=progress)
        if live and _trained_on(project, name, live) == snapshot.version:
            return Retrained(decision="nothing_new", why=f"{live} was trained on {snapshot.version} already")
        trained = train.train(
            project, name, source=snapshot.version, seed=seed, now=now, actor=actor, progress=progress
        )
    except NothingToDo as error:
        return Retrained(decision="nothing_new", why=error.what)
    except Refused as error:
        return Retrained(decision="refused", why=f"{error.what}: {error.why}")
    if not trained.ok:
        failed = ", ".join(one["check"] for one in trained.gate if not one["ok"])
        return Retrained(decision="refused", why=f"the gate refuses {trained.version}: {failed}", trained=trained)
    if settings.retrain.promote != "auto":
        return Retrained(decision="kept", why="promotion is asked for in this project", trained=trained)
    if journal.state().frozen:
        return Retrained(
            decision="kept", why="a rollback froze automatic promotion: middlewatch unfreeze", trained=trained
        )
    try:
        released = releases.promote(project, name, trained.version, reason="retrain", now=now, actor=actor)
    except Refused as error:
        return Retrained(decision="refused", why=error.what, trained=trained)
    return Retrained(decision="promoted", why=f"{trained.version} passed its gate", trained=trained, released=released)


def _trained_on(project: Project, name: str, version: str) -> str:
    return model.load(project.store, name, version).data if model.ours(version) else ""


def _take(project: Project, name: str, slot: str, now: datetime, actor: str) -> bool:
    safe = "".join(letter if letter.isalnum() or letter in "-_:." else "-" for letter in slot)[:64]
    body = json.dumps({"at": iso(now), "actor": actor, "host": socket.gethostname()}).encode()
    return project.store.put_new(f"{name}/slots/{safe}/attempt-0001.json", body)

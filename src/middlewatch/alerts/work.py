"""From changes to messages in the queue, then out: what runs after the monitor, and in the server's child.

Order, so that a kill at any point loses nothing: the message goes into this machine's queue, its changes are claimed
in the store, it is marked as ours, it is sent, the try is recorded, the changes are done. Whatever was cut off is
taken up by the next run.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import middlewatch.alerts.words as words
import middlewatch.groups as grouping
import middlewatch.outbox as queueing
from middlewatch import runs
from middlewatch.errors import MiddlewatchError
from middlewatch.incidents import Incident
from middlewatch.outbox import Message, Outbox, Queued
from middlewatch.times import iso

from .changes import Change, changes
from .claims import Began, Claims
from .delivery import Delivered, deliver, exclusive
from .digest import digest, due
from .heartbeat import beat
from .routes import resolve
from .sharing import together

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["Alerted", "after_monitor", "is_set", "tick"]

Clock = Callable[[], datetime]
STORM = 5
STORM_SPAN = timedelta(minutes=10)
# Closed incidents that may still say that a new one is the same trouble again.
LAST_CLOSED = 20
# Days looked at for the last judgement.
NEWEST = 30
# Diagnoses before a message: seconds each, and in a storm the message only lists.
DIAGNOSED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerted:
    """What one run told: titles of messages queued, changes held back by the storm guard, what was delivered."""

    queued: Sequence[str] = ()
    held: int = 0
    delivered: Delivered = field(default_factory=Delivered)

    def notes(self) -> list[str]:
        """What happened, for whoever typed `monitor`."""
        done = self.delivered
        said = [f"told: {one}" for one in self.queued[-3:]]
        if self.held:
            said.append(f"{self.held} more changes are told within 10 minutes, as one message")
        if done.waiting:
            why = f" ({done.problem})" if done.problem else ""
            said.append(f"{done.waiting} messages wait{why}; the server, or the next run, tries again")
        return said


def is_set(project: Project) -> bool:
    """Whether any route is set here: without one nothing is queued, claimed or sent."""
    alerts = project.config.alerts
    return any(one.address for one in resolve([*alerts.to, *alerts.page_to]))


def after_monitor(project: Project, judged: Mapping[str, int], *, started: datetime, clock: Clock) -> Alerted:
    """The monitor has run, from `started` on, for the models of `judged` (windows judged by model): mark it, tell what
    is new, call the dead man's switch.
    """
    for name, count in judged.items():
        runs.mark(project.store, name, now=clock(), judged=count)
    alerted = Alerted()
    if is_set(project):
        for name in judged:
            _diagnose(project, name, started, clock)
        alerted = tick(project, clock=clock, started=started, learning=list(judged), patient=True)
    if project.config.alerts.heartbeat and resolve([project.config.alerts.heartbeat])[0].address:
        beat(project, Outbox(project.root), clock=clock)
    return alerted


def _diagnose(project: Project, name: str, started: datetime, clock: Clock) -> None:
    """Look for the cause of what this run has opened, so that the first message has it."""
    from middlewatch import why  # polars, which a child that only delivers must not cost

    fresh = [
        one
        for one in project.incidents(name).active()
        if one.why is None and datetime.fromisoformat(one.opened) >= started
    ]
    for one in fresh[:DIAGNOSED]:
        try:
            why.diagnose(project, name, incident=one.n, now=clock())
        except MiddlewatchError as error:
            print(f"middlewatch: the cause of incident {one.n} of {name} is not known: {error.what}", file=sys.stderr)
        except Exception:  # noqa: BLE001 - an alarm without its cause goes out; one that does not is worse
            traceback.print_exc()


def tick(
    project: Project,
    *,
    clock: Clock,
    started: datetime | None = None,
    learning: Sequence[str] = (),
    patient: bool = False,
) -> Alerted:
    """Tell what nobody was told, then deliver what is due. Run twice, or killed and run again, it tells once more
    nothing that was told. `learning` are models whose first judgements are new; `patient` waits for second tries.
    """
    outbox = Outbox(project.root)
    with exclusive(outbox, "tell") as alone:  # two that count the same storm at once would tell it twice
        assert alone, "waited for"
        waiting = outbox.waiting()
        claims = Claims(project.store, outbox.host, [name for one in waiting for name in one.message.covers])
        _resume(outbox, claims, waiting, now=clock())
        queued: list[str] = []
        kept_back = 0
        if len(waiting) < queueing.MOST:  # else they stay what they are in the store: untold
            began, known = _standing(project, claims, started or clock())
            repeat = project.config.alerts.repeat
            found = [
                one
                for name in project.config.models
                for one in changes(name, known[name], claims, began, repeat=repeat, now=clock())
            ]
            groups = grouping.groups(project.store) if found else {}
            found = together(found, known, groups, claims, now=clock())
            queued, kept_back = _tell(project, outbox, claims, began, found, clock())
            for name in learning:
                queued += _learning(project, outbox, claims, began, name, clock())
            queued += _digest(project, outbox, claims, began, clock())
    done = deliver(project, outbox, claims, clock=clock, patient=patient)
    return Alerted(queued=queued, held=kept_back, delivered=done)


def _resume(outbox: Outbox, claims: Claims, waiting: Sequence[Queued], *, now: datetime) -> None:
    """Messages that a kill left between the queue and their claims."""
    for one in waiting:
        if not one.ours:
            _own(outbox, claims, one.message, now)


def _own(outbox: Outbox, claims: Claims, message: Message, now: datetime) -> bool:
    """Claim what a queued message tells; where others tell all of it already, it is dropped."""
    taken = [claims.take(name, now=now) for name in message.covers]
    if message.covers and not any(taken):
        outbox.drop(message.id)
        return False
    outbox.own(message.id)
    return True


def _standing(project: Project, claims: Claims, now: datetime) -> tuple[Began, Mapping[str, Sequence[Incident]]]:
    """When telling began, and the incidents by model that may have something to tell."""
    numbers: dict[str, list[int]] = {}
    for name in project.config.models:
        prefix = f"{name}/incidents/"
        keys = project.store.list(prefix)
        numbers[name] = sorted({int(key.removeprefix(prefix).split("/", 1)[0]) for key in keys})
    began = claims.begun()
    if began is None:
        standing = {}
        for name in project.config.models:
            every = project.incidents(name).all()
            # One that changed in the very run that began is not of the past.
            standing[name] = [(one.n, one.active or datetime.fromisoformat(one.changed) >= now) for one in every]
        began = claims.begin(now, standing)
    known: dict[str, Sequence[Incident]] = {}
    for name, all_of in numbers.items():
        resolved = {int(rest[:4]) for rest, told in claims.below(f"{name}/").items()
                    if rest.endswith("-resolved") and told.done}  # fmt: skip
        wanted = [n for n in all_of if n in all_of[-LAST_CLOSED:] or not (n in resolved or began.is_settled(name, n))]
        known[name] = [project.incidents(name).get(n) for n in wanted]
    return began, known


# ---------------------------------------------------------------------- incidents


def _tell(
    project: Project, outbox: Outbox, claims: Claims, began: Began, found: Sequence[Change], now: datetime
) -> tuple[list[str], int]:
    """Queue what is to be told: one message a change, or one for all of them in a storm."""
    for one in found:
        if one.quiet and claims.take(one.name, now=now):
            claims.done(one.name, now=now, why=one.quiet)
    loud = [one for one in found if not one.quiet]
    # A ticket that nobody is set to hear of is left: a route may come.
    loud = [one for one in loud if _routes(project, one)]
    if not loud:
        return [], 0
    recent = [
        one
        for one in outbox.all()
        if one.message.facts.get("incident") or one.message.kind == "storm"
        if now - datetime.fromisoformat(one.message.at) < STORM_SPAN
    ]
    stormy = any(one.message.kind == "storm" for one in recent)
    before = {(one.message.facts["model"], one.message.facts["incident"]["n"]) for one in recent
              if one.message.kind != "storm"}  # fmt: skip
    fresh = {(one.model, one.incident.n) for one in loud}
    if stormy:
        return [], len(loud)
    if len(before | fresh) > STORM:
        message = _storm(project, loud, began, len(before - fresh), now)
        return _queue(outbox, claims, message, now), 0
    titles: list[str] = []
    for one in loud:
        titles += _queue(outbox, claims, _single(project, one, began, now), now)
    return titles, 0


def _routes(project: Project, change: Change | None = None) -> list[str]:
    """Pages go to everybody, and that one is over is news for whom it woke; all else to `to`. A route whose variable
    is not set here is left out.
    """
    alerts = project.config.alerts
    pages = change is not None and change.incident.severity == "page" and change.kind != "cause"
    return [one.name for one in resolve([*alerts.to, *(alerts.page_to if pages else ())]) if one.address]


def _single(project: Project, change: Change, began: Began, now: datetime) -> Message:
    said = words.incident(project, change, now=now)
    return Message(
        id=change.name.replace("/", "-"),
        kind=change.kind,
        severity=change.incident.severity,
        at=iso(now),
        dedup_key="/".join([began.store, *map(str, _speaks(change))]),
        routes=_routes(project, change),
        text=said.text,
        facts=said.facts,
        covers=list(change.covers or [change.name]),
        after="" if change.incident.severity == "page" else _after_quiet(project, now),
    )


def _speaks(change: Change) -> tuple[str, int]:
    """The incident whose key a message has: of a group the first that was opened, which never changes."""
    return change.group[0].name if change.group else (change.model, change.incident.n)


def _storm(project: Project, found: Sequence[Change], began: Began, recent: int, now: datetime) -> Message:
    said = words.storm(project, found, recent=recent)
    names = [name for one in found for name in one.covers or [one.name]]
    pages = any(one.incident.severity == "page" for one in found)
    routes = [route for one in found for route in _routes(project, one)]
    return Message(
        id=f"storm-{words.short_hash(*names)}",
        kind="storm",
        severity="page" if pages else "ticket",
        at=iso(now),
        dedup_key=f"{began.store}/storm/{words.short_hash(*names)}",
        routes=[*dict.fromkeys(routes)],
        text=said.text,
        facts=said.facts,
        covers=names,
        after="" if pages else _after_quiet(project, now),
    )


def _queue(outbox: Outbox, claims: Claims, message: Message, now: datetime) -> list[str]:
    outbox.put(message)
    return [message.title] if _own(outbox, claims, message, now) else []


def _after_quiet(project: Project, now: datetime) -> str:
    """The end of the quiet hours where `now` lies in them (ISO), else ""."""
    word = project.config.alerts.quiet
    if word == "never":
        return ""
    first, last = (time.fromisoformat(one) for one in word.split("-"))
    local = now.astimezone(project.zone)
    for day in (local.date() - timedelta(days=1), local.date()):
        start = datetime.combine(day, first, tzinfo=project.zone)
        end = datetime.combine(day if last > first else day + timedelta(days=1), last, tzinfo=project.zone)
        if start <= local < end:
            return iso(end)
    return ""


# ---------------------------------------------------------------------- what comes without an incident


def _learning(project: Project, outbox: Outbox, claims: Claims, began: Began, name: str, now: datetime) -> list[str]:
    """Once that a new model learns, once that it has learnt."""
    if claims.covered(f"{name}/learnt", now=now) or not _routes(project):
        return []
    windows = project.windows(name)
    known = windows.judgements(since=windows.since(NEWEST))
    judged = next((one for _, one in reversed(list(known.items()))), None)
    if judged is None or judged.get("state") == "excluded":
        return []
    learnt = judged.get("state") != "learning"
    word = f"{name}/{'learnt' if learnt else 'learning'}"
    if claims.covered(word, now=now):
        return []
    if learnt and not claims.covered(f"{name}/learning", now=now):
        if claims.take(word, now=now):
            claims.done(word, now=now, why="it had learnt before alerts were set up")
        return []
    said = words.learning(
        project,
        name,
        learnt=learnt,
        history=int(judged.get("history") or 0) + 1,
        provisional=bool(judged.get("provisional")),
    )
    return _queue(outbox, claims, _plain(project, word, "learnt" if learnt else "learning", said, began, now), now)


def _digest(project: Project, outbox: Outbox, claims: Claims, began: Began, now: datetime) -> list[str]:
    """The day's summary, once its hour has passed."""
    at = due(project, now=now)
    if at is None or at < datetime.fromisoformat(began.at) or not _routes(project):
        return []
    word = f"_digest/{words.short_hash(*project.config.models)}/{at:%Y-%m-%d}"
    if claims.covered(word, now=now):
        return []
    said = digest(project, until=at, queue=queueing.counts(project.root), now=now)
    queued = _queue(outbox, claims, _plain(project, word, "digest", said, began, now), now)
    claims.forget_digests()
    return queued


def _plain(project: Project, word: str, kind: str, said: words.Said, began: Began, now: datetime) -> Message:
    facts: Mapping[str, Any] = said.facts
    return Message(
        id=word.replace("/", "-").lstrip("_"),
        kind=kind,
        severity="info",
        at=iso(now),
        dedup_key=f"{began.store}/{word}",
        routes=_routes(project),
        text=said.text,
        facts=facts,
        covers=[word],
        after=_after_quiet(project, now),
    )

"""What is queued goes out: each route in order, each try recorded, nothing given up in silence."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from middlewatch.config import secret
from middlewatch.outbox import BACKOFF, PATIENCE, Outbox, Queued, Try
from middlewatch.times import iso

from .claims import Claims
from .routes import Route, resolve, send

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["Delivered", "deliver", "exclusive"]

Clock = Callable[[], datetime]
FIRST_TRIES = 3
"""What a command such as `monitor` waits for: three tries within 12 seconds mend a broken connection. The rest is for
the server's loop or the next run."""


@dataclass(slots=True)
class Delivered:
    """What one delivery did: messages finished, tries that failed, messages that still wait, the newest failure."""

    finished: int = 0
    failed: int = 0
    waiting: int = 0
    problem: str = ""


def deliver(project: Project, outbox: Outbox, claims: Claims, *, clock: Clock, patient: bool = False) -> Delivered:
    """Send what is due. One process of a machine at a time: where another is at it, nothing is done here.

    `patient` waits for the second and third try of what fails.
    """
    done = Delivered()
    with exclusive(outbox, "send", wait=False) as alone:
        if not alone:
            done.waiting = len(outbox.waiting())
            return done
        for again in range(FIRST_TRIES if patient else 1):
            if again:
                soonest = _soonest(outbox, clock())
                if soonest is None:
                    break
                time.sleep(soonest)
            _round(project, outbox, claims, clock, done)
        done.waiting = len(outbox.waiting())
        outbox.sweep(now=clock())
    return done


@contextmanager
def exclusive(outbox: Outbox, name: str, *, wait: bool = True) -> Iterator[bool]:
    """One process of this machine at a time; False where another is at it and we do not `wait`."""
    outbox.folder.mkdir(exist_ok=True)
    file = os.open(outbox.folder / f".{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(file)


def _soonest(outbox: Outbox, now: datetime) -> float | None:
    """Seconds until the next of the first tries, None where none is near."""
    pauses = [
        (one.due(place) - now).total_seconds()
        for one in outbox.waiting()
        for place in range(len(one.message.routes))
        if one.ours and not one.done(place) and 0 < len(one.tries.get(place, ())) < FIRST_TRIES
    ]
    near = [one for one in pauses if one <= BACKOFF[FIRST_TRIES - 2]]
    return max(min(near), 0.0) if near else None


def _round(project: Project, outbox: Outbox, claims: Claims, clock: Clock, done: Delivered) -> None:
    """One try of everything that is due. A route that fails is left alone for the rest of the round: what comes
    later would fail as well, and must not overtake.
    """
    alerts = project.config.alerts
    configured = {*alerts.to, *alerts.page_to}
    signing = secret(alerts.secret) or ""
    down: set[str] = set()
    for one in outbox.waiting():
        if not one.ours:
            continue
        for place, name in enumerate(one.message.routes):
            if one.done(place):
                continue
            now = clock()
            tried = None if name in configured else _lost(name, now, "it is no longer in [alerts]")
            if tried is None:
                # A trial is made although others wait: somebody is mending the route.
                if name in down and one.message.kind != "test":
                    continue
                if now < one.due(place):
                    if one.tries.get(place):
                        down.add(name)
                    continue
                route = resolve([name])[0]
                if route.address:
                    tried = _try(route, one, place, signing, now, project)
                elif now - datetime.fromisoformat(one.message.at) > PATIENCE:
                    tried = _lost(name, now, "its variable was not set for 7 days")
                else:
                    down.add(name)  # for a process that has the variable
                    continue
            outbox.record(one.message.id, place, tried)
            if not tried.ok:
                down.add(name)
                done.failed += 1
                done.problem = f"{name}: {tried.error}"
        _finish(outbox, claims, one.message.id, clock, done)


def _try(route: Route, one: Queued, place: int, signing: str, now: datetime, project: Project) -> Try:
    sent = send(route, one.message, signing=signing, now=now, root=project.root)
    return Try(
        route=route.name,
        at=iso(now),
        ok=sent.ok,
        status=sent.status,
        error=f"{sent.error}; {sent.fix}" if sent.fix else sent.error,
        seconds=sent.seconds,
        final=sent.ok or one.message.kind == "test" or len(one.tries.get(place, ())) >= len(BACKOFF),
    )


def _lost(name: str, now: datetime, why: str) -> Try:
    """The last record of a route that is not tried any more."""
    return Try(route=name, at=iso(now), ok=False, error=why, final=True)


def _finish(outbox: Outbox, claims: Claims, ident: str, clock: Clock, done: Delivered) -> None:
    """Where every route has a message, or was given up: say so in the store, then here."""
    one = outbox.get(ident)
    if one is None or not one.complete:
        return
    taken = sum(1 for tries in one.tries.values() if tries[-1].ok)
    for name in one.message.covers:
        claims.done(name, now=clock(), why="" if taken else "every route was given up")
    outbox.end(ident, at=clock())
    done.finished += 1

"""Each route tried for real: a marked message goes the way that an alarm would go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import middlewatch.alerts.words as words
from middlewatch.doctor import Check
from middlewatch.outbox import Message, Outbox
from middlewatch.times import iso

from .claims import Claims
from .delivery import deliver
from .routes import resolve

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["trial"]


def trial(project: Project, *, clock: Callable[[], datetime]) -> list[Check]:
    """Send a test message through the queue to every route, and say of each what became of it and how to mend it.

    The dead man's switch is not called: that would say that the monitor has run.
    """
    alerts = project.config.alerts
    outbox = Outbox(project.root)
    sent: dict[str, str] = {}
    routes = resolve([*alerts.to, *alerts.page_to])
    for place, route in enumerate(routes):
        if not route.address:
            continue
        now = clock()
        said = words.test(route.name, now=now)
        message = Message(
            id=f"test-{now:%Y%m%dT%H%M%S%f}-{place:02d}",
            kind="test",
            severity="info",
            at=iso(now),
            dedup_key=f"test/{now:%Y%m%dT%H%M%S%f}/{place}",
            routes=[route.name],
            text=said.text,
            facts=said.facts,
        )
        outbox.put(message)
        outbox.own(message.id)
        sent[route.name] = message.id
    if sent:
        deliver(project, outbox, Claims(project.store, outbox.host), clock=clock)
    if not routes:
        return [Check(name="alert routes", outcome="warn", detail="[alerts] to is empty", fix="docs/alerts.md")]
    return [_check(outbox, one.name, sent.get(one.name)) for one in routes]


def _check(outbox: Outbox, name: str, ident: str | None) -> Check:
    label = f"alerts to {name}"
    if ident is None:
        variable = name.removeprefix("env:")
        return Check(name=label, outcome="warn", detail=f"{variable} is not set here", fix=f"export {variable}=ADDRESS")
    kept = outbox.get(ident)
    tries = list(kept.tries.get(0, ())) if kept is not None else []
    if not tries:
        return Check(
            name=label,
            outcome="warn",
            detail="not tried: another process is delivering, or older messages to it wait",
            fix="run it again in a minute; middlewatch doctor says what waits",
        )
    last = tries[-1]
    if last.ok:
        answer = f", answered {last.status}" if last.status else ""
        return Check(name=label, outcome="ok", detail=f"a test message was taken in {last.seconds:.1f} s{answer}")
    what, _, fix = last.error.partition("; ")
    return Check(name=label, outcome="fail", detail=what, fix=fix or "docs/alerts.md says how to set it up")

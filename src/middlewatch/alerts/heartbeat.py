"""The dead man's switch: somebody outside is called after each good run of the monitor, and alarms when no call comes.

That somebody may be a service that expects a call a day, or a program. It is the only way to notice that this machine
is gone, for a machine that is gone sends nothing.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from middlewatch import runs
from middlewatch.outbox import Message, Outbox, Try
from middlewatch.times import iso

from .calling import call
from .routes import answered, resolve, send, unreachable

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["beat"]

TRIES = 3
PAUSE = 2.0


def beat(project: Project, outbox: Outbox, *, clock: Callable[[], datetime]) -> Try | None:
    """Call it where every model was judged since the last good call; None where it is not set or not yet time.

    One failing model is as good as none: whoever watches is to hear of it.
    """
    route = resolve([project.config.alerts.heartbeat])[0] if project.config.alerts.heartbeat else None
    if route is None or not route.address:
        return None
    before = outbox.last_beat()
    since = datetime.fromisoformat(before.at) if before is not None and before.ok else None
    for name in project.config.models:
        ran = runs.last(project.store, name)
        if ran is None or (since is not None and ran <= since):
            return None
    tried = _call(route.name, route.address, project, clock())
    for _ in range(TRIES - 1):
        if tried.ok:
            break
        time.sleep(PAUSE)
        tried = _call(route.name, route.address, project, clock())
    outbox.beat(tried)
    return tried


def _call(name: str, address: str, project: Project, now: datetime) -> Try:
    if address.startswith("command:"):
        models = list(project.config.models)
        message = Message(
            id="heartbeat", kind="heartbeat", severity="", at=iso(now), dedup_key="", routes=[name],
            text="the monitor has run", facts={"models": models},
        )  # fmt: skip
        sent = send(resolve([name])[0], message, signing="", now=now, root=project.root)
    else:
        try:
            sent = answered(call(address, method="GET", headers={"User-Agent": "middlewatch"}))
        except (OSError, http.client.HTTPException, ValueError) as error:
            sent = unreachable(error, [address])
    said = f"{sent.error}; {sent.fix}" if sent.fix else sent.error
    return Try(route=name, at=iso(now), ok=sent.ok, status=sent.status, error=said, seconds=sent.seconds)

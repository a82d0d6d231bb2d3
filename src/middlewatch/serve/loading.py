"""A version that does not load, as an incident: whoever released it may have gone to bed.

Each machine tells it once, whichever of its workers is first, and closes it when what is live answers there. `status`,
the pages, alerts and `why` read it like any other; neither windows nor rows join or close it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..errors import MiddlewatchError
from ..incidents import SERVER
from ..project import Project
from ..times import iso

__all__ = ["Loading"]

ACTOR = "server"
CHANNEL = "loading"
# Older incidents of a model are no server's that still runs.
NEWEST = 30


class Loading:
    """The incidents about loading that the servers of machine `host` keep. Methods raise OutOfReach."""

    def __init__(self, project: Project, *, host: str) -> None:
        self._project = project
        self._host = host

    def failed(
        self, name: str, wanted: str, live_since: str, *, serving: str | None, error: MiddlewatchError, now: datetime
    ) -> int:
        """Open the incident about `wanted`, live since an ISO time, which did not load; returns its number.

        A page where nothing answers (`serving` is None), else a ticket.
        """
        still = f"{serving} still answers" if serving else "nothing answers"
        said = f"{wanted} is live and does not load on {self._host}: {still}"
        reason = error.what + (f" ({error.where})" if error.where else "")
        incidents = self._project.incidents(name)
        about = {"column": SERVER, "channel": CHANNEL, "score": 0.0, "version": wanted}
        found = incidents.open(
            key=f"loading {self._host} {wanted} {live_since}",
            at=now,
            actor=ACTOR,
            facts={
                "columns": [SERVER],
                "channels": [CHANNEL],
                "severity": "ticket" if serving else "page",
                "title": f"{said}; {reason}",
                "since": iso(now),
                "top": [{**about, "host": self._host, "live_since": live_since}],
                "why": _why(name, said, serving=serving, reason=reason, error=error, now=now, project=self._project),
            },
        )
        if serving is None and found.active and found.severity != "page":
            incidents.add(found.n, "update", at=now, actor=ACTOR, severity="page")  # started anew: now nothing answers
        return found.n

    def mended(self, name: str, live_since: str, *, now: datetime) -> None:
        """Close what is told of this machine, and of any about releases before the one that answers now."""
        incidents = self._project.incidents(name)
        numbers = self._project.store.folders(incidents.prefix)
        for number in sorted(numbers, key=int)[-NEWEST:]:
            one = incidents.get(int(number))
            if not one.active or SERVER not in one.columns:
                continue
            about = one.top[0]
            if about.get("host") == self._host or str(about.get("live_since")) < live_since:
                incidents.add(one.n, "update", at=now, actor=ACTOR, until=iso(now))
                incidents.add(one.n, "resolve", at=now, actor=ACTOR, reason="what is live answers")


def _why(
    name: str, said: str, *, serving: str | None, reason: str, error: MiddlewatchError, now: datetime, project: Project
) -> dict[str, Any]:
    """The diagnosis, in the keys of `why --json`: nothing need be looked for."""
    option = f" --model {name}" if len(project.config.models) > 1 else ""
    back = serving or project.journal(name).previous()
    rollback = f"would help: {serving} still answers" if serving else ""
    cause = {
        "kind": "release",
        "form": "not_loaded",
        "columns": [],
        "confidence": "certain",
        "detail": said,
        "since": iso(now),
        "fix": error.fix,
        "proof": reason + (f": {error.why}" if error.why else ""),
        "facts": {"before": serving} if serving else {},
    }
    following = f"middlewatch rollback --to {back}{option}" if back else f"middlewatch doctor{option}"
    return {"found": True, "headline": said, "causes": [cause], "rollback": rollback, "next": following}

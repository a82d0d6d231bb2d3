"""What people do with an incident: acknowledge, silence, resolve, open again, mark its rows bad.

Incidents of several models that are one to people (`groups`) are answered together: who acknowledges one is at them
all. Rows are marked of the named model alone, as each model has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import groups
from .errors import UsageError

if TYPE_CHECKING:
    from .incidents import Incident
    from .project import Project

__all__ = ["respond"]

_DONE: Mapping[str, str] = {
    "ack": "acknowledged",
    "silence": "silenced",
    "reopen": "opened again",
}
_SHARED = ("ack", "silence", "resolve")


def respond(
    project: Project, name: str, number: int, act: str, *, at: datetime, actor: str, **facts: Any
) -> tuple[Incident, list[Incident]]:
    """Append what a person did to an incident; returns it and the other models' incidents that this answered as well.

    Acts are kinds of `Incidents.add`. Raises NotFound, and UsageError where the incident's state has no room for it.
    """
    kept = project.incidents(name)
    one = kept.get(number)
    if act in _DONE and one.active == (act == "reopen"):
        raise UsageError(
            f"incident {number} is {one.state}: it cannot be {_DONE[act]}",
            where=one.title,
            fix=f"middlewatch incidents {number}" + ("" if one.active else " reopen  opens it again"),
        )
    _check(project, name, act, facts)
    others = groups.members(project.store, one) if act in _SHARED else []
    done = kept.add(number, act, at=at, actor=actor, **facts)
    also = []
    for other in others:
        if other.active:
            # Whether the diagnosis was right is known of the one that was looked at.
            said = {key: value for key, value in facts.items() if key != "confirmed"}
            theirs = type(kept)(project.store, other.model)
            also.append(theirs.add(other.n, act, at=at, actor=actor, through=f"{name} {number}", **said))
    return done, also


def _check(project: Project, name: str, act: str, facts: Mapping[str, Any]) -> None:
    if act != "mark_bad":
        return
    since, until = facts.get("since"), facts.get("until")
    if since and until and datetime.fromisoformat(since) >= datetime.fromisoformat(until):
        raise UsageError(f"the rows to mark end before they begin: {since} to {until}", fix="--since T --until T")
    if facts.get("where"):
        from . import data

        data.check_slice(project.schema(name), facts["where"])  # training must find these rows

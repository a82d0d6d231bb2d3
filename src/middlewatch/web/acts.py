"""What the buttons do: first a page that says what will happen and how to undo it (GET), then the act (POST).

No GET changes anything: chat programs and browsers follow links by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import middlewatch.web.guard as guard

from ..errors import MiddlewatchError, NotFound, UsageError, nearest
from ..incidents import Incident
from ..journal import Journal
from ..library import Handle
from ..project import Project
from ..times import iso, parse_duration
from .guard import Forbidden
from .http import Request, Response, see
from .rendering import render

LABELS = {
    "acknowledge": "Acknowledge",
    "silence": "Silence",
    "resolve": "Resolve",
    "roll-back": "Roll back",
}
SILENCES = {"4h": "4 hours", "24h": "24 hours", "3d": "3 days", "7d": "7 days"}
LONGEST_CAUSE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an act would do. `stands` is what the person was shown; if it is another when they press, nothing is done.

    `command` does the same from a shell, `undo` says how it is taken back, `warning` what speaks against it.
    """

    act: str
    model: str
    incident: int | None
    title: str
    says: tuple[str, ...]
    undo: str
    command: str
    stands: str
    back: str
    warning: str = ""
    effect: Mapping[str, Any] = field(default_factory=dict)

    def token(self, secret: bytes) -> str:
        return guard.token(secret, self.model, self.incident, self.act, self.stands)


def offered(project: Project, one: Incident) -> list[str]:
    """The acts that an incident's page offers now."""
    if not one.active:
        return [] if one.cause else ["resolve"]  # it closed by itself: the true cause can still be told
    found = ["acknowledge"] if one.state != "acknowledged" else []
    found += ["silence"] if one.state != "silenced" else []
    if project.journal(one.model).previous():
        found.append("roll-back")
    return [*found, "resolve"]


def confirm(project: Project, request: Request, secret: bytes, act: str, number: int | None) -> Response:
    """The page before the act; it also says where the buttons do not work, instead of letting one press them."""
    plan = _plan(project, request, act, number)
    barred = None
    try:
        guard.check_sender(_as_if_posted(request))
    except Forbidden as error:
        barred = error
    return render(
        "confirm.html",
        request,
        title=plan.title,
        zone=project.zone,
        plan=plan,
        barred=barred,
        silences=SILENCES,
        token=plan.token(secret),
        label=LABELS[act],
        replay=_replay(project, plan) if act == "roll-back" else None,
    )


def perform(project: Project, request: Request, secret: bytes, act: str, number: int | None, now: datetime) -> Response:
    """Do it, then lead to the page that shows it done. Raises Forbidden, and what the act itself raises."""
    guard.check_sender(request)
    plan = _plan(project, request, act, number)
    guard.check_token(request, plan.token(secret))
    handle = Handle(project, plan.model)
    form = request.form
    if act == "roll-back":
        target = plan.stands.rpartition(" ")[2]
        handle.rollback(to=target, reason=form.get("reason", "")[:LONGEST_CAUSE] or _reason(number))
    elif number is None:
        raise UsageError(f"{act} needs an incident")
    elif act == "acknowledge":
        handle.answer_incident(number, "ack")
    elif act == "silence":
        length = form.get("for", "24h")
        if length not in SILENCES:
            raise UsageError(f'"{length}" is not offered', fix=nearest(length, SILENCES))
        handle.answer_incident(number, "silence", until=iso(now + parse_duration(length)))
    else:
        facts: dict[str, Any] = {"cause": form.get("cause", "")[:LONGEST_CAUSE]}
        if form.get("confirmed") in ("yes", "no"):
            facts["confirmed"] = form["confirmed"] == "yes"
        handle.answer_incident(number, "resolve", **facts)
    return see(plan.back)


def _plan(project: Project, request: Request, act: str, number: int | None) -> Plan:
    name = project.model(request.query.get("model"))
    if act not in LABELS or (number is None and act != "roll-back"):
        raise NotFound(f'"{act}" is no button of this page', where=request.path, fix=nearest(act, LABELS))
    back = request.link(f"/i/{number}" if number else "/versions")
    if act == "roll-back":
        return _roll_back(project, name, number, back)
    if number is None:
        raise NotFound(f"{act} needs an incident", where=request.path)
    one = project.incidents(name).get(number)
    if not one.active and act != "resolve":
        raise UsageError(f"incident {number} is resolved: there is nothing to {act}", where=one.title)
    return Plan(
        act=act,
        model=name,
        incident=number,
        title=f"{LABELS[act]} incident {number}?",
        says=_SAYS[act],
        undo=_UNDO[act].replace(" N ", f" {number} "),
        command=f"middlewatch incidents {number} {_VERBS[act]}{_of(project, name)}",
        stands=one.state,
        back=back,
    )


_VERBS = {"acknowledge": "ack", "silence": "silence", "resolve": "resolve --cause '...'"}
_SAYS = {
    "acknowledge": (
        "The others see that you are at it, and it stops paging.",
        "It stays open, is judged on, and closes by itself after two clean windows.",
    ),
    "silence": (
        "It sends nothing for the time you choose, even if it grows.",
        "It stays open and is judged on; other incidents are not affected.",
    ),
    "resolve": (
        "It is closed. If the same goes on, the next judgement opens a new one.",
        "What you write as the cause is kept: it is how we learn whether the diagnosis was right.",
    ),
}
_UNDO = {
    "acknowledge": "Nothing in production changes, so there is nothing to undo; the entry stays in the time line.",
    "silence": "Acknowledge it to hear from it again.",
    "resolve": "middlewatch incidents N reopen  opens it again.",
}


def _roll_back(project: Project, name: str, number: int | None, back: str) -> Plan:
    journal = project.journal(name)
    live, target = journal.live(), journal.previous()
    if live is None or target is None:
        raise UsageError(
            "there is no version to go back to",
            why="only one version has ever been live" if live else "nothing is live",
            fix="middlewatch versions",
        )
    return Plan(
        act="roll-back",
        model=name,
        incident=number,
        title=f"Roll back from {live} to {target}?",
        says=(
            f"All servers answer with {target} within a second. No request fails meanwhile.",
            "Automatic promotion is frozen, so that a schedule does not bring the newer version back.",
            f"One journal entry is written. {live} stays stored{', and the incident stays open' if number else ''}.",
        ),
        undo=f"middlewatch promote {live}{_of(project, name)}  and  middlewatch unfreeze{_of(project, name)}",
        command=f"middlewatch rollback --to {target}{_of(project, name)}",
        stands=_standing(journal, live, target),
        back=back,
    )


def _standing(journal: Journal, live: str, target: str) -> str:
    return f"{journal.state().n} {live} {target}"


def _replay(project: Project, plan: Plan) -> Mapping[str, Any]:
    """What the last logged requests would get from the target: the answer to "does rolling back help?".

    The one place where a confirm page computes; a version that cannot be replayed is said and stops nothing.
    """
    try:
        done = Handle(project, plan.model).rollback(to=plan.stands.rpartition(" ")[2], dry_run=True)
    except MiddlewatchError as error:
        return {"error": error.what, "rows": 0, "verdict": "", "notes": []}
    return {"error": "", "rows": 0, "verdict": "", **(done.replay or {}), "notes": list(done.notes)}


def _as_if_posted(request: Request) -> Request:
    """The confirm page is opened by a link, often from elsewhere; what counts is where its form would be sent from."""
    headers = {name: value for name, value in request.headers.items() if name not in ("sec-fetch-site", "origin")}
    return Request(
        method="POST",
        path=request.path,
        headers={**headers, "sec-fetch-site": "same-origin"},
        client=request.client,
        scopes=request.scopes,
    )


def _reason(number: int | None) -> str:
    return f"incident {number}" if number else "from the versions page"


def _of(project: Project, name: str) -> str:
    return f" --model {name}" if len(project.config.models) > 1 else ""

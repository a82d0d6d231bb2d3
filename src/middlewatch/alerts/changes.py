"""What has happened to incidents that nobody was told yet.

One message a change: opened, worse (it doubled, or began to move predictions), cause (why it is, found later), repeat
(an open page that nobody answers), acknowledged, silenced, resolved. Changes that come together are one message, the
weightiest; one that was opened and closed before anybody could be told is none, and stands in the digest.

A page is repeated after `repeat`, then after twice that, and so on up to a day: at most every 4 hours by default. The
same trouble that returns within `repeat` of its last message is not told again until that has passed, so that
flapping sends no more than an incident that lasts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from middlewatch.groups import Group
from middlewatch.incidents import Event, Incident

from .claims import Began, Claims

__all__ = ["DOUBLED", "WEIGHT", "Change", "changes", "is_silent", "told_of"]

LONGEST_REPEAT = timedelta(days=1)
SHORTEST_REPEAT = timedelta(minutes=10)
MONITOR = "monitor"
DOUBLED = 0.6931
"""ln 2: `peak` is the natural logarithm of times its worst."""
_NAME = re.compile(r"(\d{4,})-([a-z]+)(?:-(\d+))?")
# Of changes that come together, the one that the message is about.
WEIGHT = ("cause", "acknowledged", "silenced", "worse", "reopened", "opened", "resolved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing to tell. `name` is for ever the same for the same change; `quiet` says why nobody is to be told.

    `group` are the incidents that are one with it, itself among them, `covers` the names of all changes that the
    message is about; both empty where it stands alone.
    """

    model: str
    kind: str
    incident: Incident
    name: str
    at: str
    quiet: str = ""
    group: Group = ()
    covers: Sequence[str] = ()


def changes(
    model: str, incidents: Sequence[Incident], claims: Claims, began: Began, *, repeat: timedelta, now: datetime
) -> list[Change]:
    """What is to be told of a model's incidents at `now`, oldest first; `incidents` are all of it, oldest first."""
    repeat = max(repeat, SHORTEST_REPEAT)
    found = []
    for one in incidents:
        told = told_of(claims, model, one.n)
        change = _change(model, one, told, claims, began, repeat, now)
        if change is None or claims.covered(change.name, now=now):
            continue
        if change.kind == "opened" and _returns(one, incidents, model, claims, repeat, now):
            continue
        found.append(change)
    return found


def told_of(claims: Claims, model: str, n: int) -> list[tuple[int, str, int]]:
    """What was told of an incident: (number of the event, kind, which repeat), in order."""
    found = []
    for rest, told in claims.below(f"{model}/{n:04d}/").items():
        match = _NAME.fullmatch(rest)
        if match is not None and (told.claims or told.done):
            found.append((int(match[1]), match[2], int(match[3] or 0)))
    return sorted(found)


def _change(
    model: str,
    one: Incident,
    told: Sequence[tuple[int, str, int]],
    claims: Claims,
    began: Began,
    repeat: timedelta,
    now: datetime,
) -> Change | None:
    begun = datetime.fromisoformat(began.at)
    notable = [(event, kind) for event, kind in _notable(one) if datetime.fromisoformat(event.at) >= begun]
    young = [(event, kind) for event, kind in notable if not _done(event.n, told, claims, model, one.n, now)]
    known = bool(told) or datetime.fromisoformat(one.opened) < begun
    if young:
        kinds = {kind for _, kind in young}
        kind = max(kinds, key=WEIGHT.index)
        last = young[-1][0]
        if kind != "resolved" and is_silent(one, now):
            if "silenced" not in kinds:
                return None
            kind = "silenced"  # whoever silenced it knows the rest
        name = f"{model}/{one.n:04d}/{last.n:04d}-{kind}"
        quiet = "it was closed before anybody was told" if kind == "resolved" and not known else ""
        return Change(model=model, kind=kind, incident=one, name=name, at=last.at, quiet=quiet)
    return _repeat(model, one, told, claims, repeat, now)


def _done(number: int, told: Sequence[tuple[int, str, int]], claims: Claims, model: str, n: int, now: datetime) -> bool:
    """Whether an event is covered by a message about itself or about a later one."""
    return any(
        event >= number and claims.covered(_name(model, n, event, kind, again), now=now) for event, kind, again in told
    )


def _name(model: str, n: int, event: int, kind: str, again: int) -> str:
    return f"{model}/{n:04d}/{event:04d}-{kind}" + (f"-{again:02d}" if again else "")


def _notable(one: Incident) -> list[tuple[Event, str]]:
    """The events of an incident that are worth a message, each with what it is."""
    found: list[tuple[Event, str]] = []
    paged, severity, cause, active = 0.0, "", "", True
    for event in one.events:
        facts = event.facts
        if event.kind == "open":
            paged, severity = float(facts.get("paged") or 0.0), str(facts.get("severity") or "")
            found.append((event, "opened"))
        elif event.kind == "update" and active:
            new = first_cause(facts.get("why"))
            if float(facts.get("paged") or 0.0) > paged or (facts.get("severity") == "page" and severity != "page"):
                found.append((event, "worse"))
            elif new and new != cause:
                found.append((event, "cause"))
            paged, severity = max(paged, float(facts.get("paged") or 0.0)), str(facts.get("severity") or severity)
            cause = new or cause
        elif event.kind in ("ack", "silence") and active:
            found.append((event, {"ack": "acknowledged", "silence": "silenced"}[event.kind]))
        elif event.kind == "resolve" and active:
            active = False
            found.append((event, "resolved"))
        elif event.kind == "reopen" and not active:
            active = True
            found.append((event, "reopened"))
    return found


def first_cause(why: Any) -> str:
    """What the first cause of a diagnosis says, "" where it found none that is at least likely."""
    causes = why.get("causes") or () if isinstance(why, Mapping) else ()
    first = causes[0] if causes else {}
    return str(first.get("detail") or "") if first.get("confidence") in ("certain", "likely") else ""


def is_silent(one: Incident, now: datetime) -> bool:
    """Whether somebody silenced an incident and the time for that has not passed; without an end, until it closes."""
    return one.state == "silenced" and (not one.silent_until or datetime.fromisoformat(one.silent_until) > now)


def _repeat(
    model: str,
    one: Incident,
    told: Sequence[tuple[int, str, int]],
    claims: Claims,
    repeat: timedelta,
    now: datetime,
) -> Change | None:
    """An open page that nobody has answered, once more."""
    if not told or not one.active or one.severity != "page" or one.state == "acknowledged" or is_silent(one, now):
        return None
    event, kind, again = told[-1]
    count = sum(1 for each in told if each[1] == "repeat")
    pause = min(repeat * 2**count, max(LONGEST_REPEAT, repeat))
    if now - claims.at(_name(model, one.n, event, kind, again)) < pause:
        return None
    name = _name(model, one.n, event, "repeat", count + 1)
    return Change(model=model, kind="repeat", incident=one, name=name, at=one.changed)


def _returns(
    one: Incident, incidents: Sequence[Incident], model: str, claims: Claims, repeat: timedelta, now: datetime
) -> bool:
    """Whether the same trouble was told of less than `repeat` ago, under an earlier incident that has closed.

    The same is: a shared column, no more than twice as strong, and no page where that was a ticket.
    """
    for other in incidents:
        if other.n >= one.n or other.active or not set(other.columns) & set(one.columns):
            continue
        if one.severity == "page" and other.severity != "page":
            continue
        if one.peak >= other.peak + DOUBLED:
            continue
        if not any(event.kind == "resolve" and event.actor == MONITOR for event in other.events):
            continue  # a person thought it was over: that it is back is news
        told = told_of(claims, model, other.n)
        if told and now - claims.at(_name(model, other.n, *told[-1])) < repeat:
            return True
    return False

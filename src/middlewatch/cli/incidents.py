"""The verb for what went wrong: incidents, and what people do with one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, nearest
from ..times import iso, parse_duration
from .live import Since
from .output import Answer, table
from .run import LIVE, Call, verb

if TYPE_CHECKING:
    from ..incidents import Incident
    from ..library import Handle

ACTS = ("ack", "silence", "resolve", "reopen", "mark-bad", "unmark-bad")


@verb(LIVE)
def incidents(
    call: Call,
    number: Annotated[int | None, typer.Argument(metavar="[N]")] = None,
    act: Annotated[str | None, typer.Argument(metavar=f"[{'|'.join(ACTS)}]")] = None,
    cause: Annotated[str, typer.Option("--cause", help="With resolve: what it really was.")] = "",
    confirmed: Annotated[bool | None, typer.Option("--confirmed/--refuted", help="Was `why` right?")] = None,
    since: Since = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="With silence, 24h is from now on.")] = None,
    where: Annotated[str, typer.Option("--where", metavar="SQL", help="With mark-bad: only these rows.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
) -> Answer:
    """Open incidents; acknowledge, silence, resolve one, or mark its rows as bad (kept out of history and training).

    middlewatch incidents 3 mark-bad --since 2013-07-08 --until 2013-07-11
    """
    handle = call.handle()
    if number is None:
        return _list(handle, call.model, every=every)
    if act is None:
        one = handle.project.incidents(handle.model).get(number)
        return Answer({"incidents": [_plain(handle, one)]}, _lines(handle, one))
    given = {"cause": cause, "confirmed": confirmed, "since": since, "until": until, "where": where}
    before = handle.project.incidents(handle.model).get(number)
    changed, also = handle.respond(number, *_act(handle, before, act, given))
    lines = _lines(handle, changed)
    lines += [f"  {one.model} {one.n} is {one.state} as well: it is one with this" for one in also]
    return Answer({"incidents": [_plain(handle, changed)]}, lines)


def _list(handle: Handle, model: str | None, *, every: bool) -> Answer:
    names = [model] if model else list(handle.project.config.models)
    found = [one for name in names for one in type(handle)(handle.project, name).incidents(every=every)]
    plain = [_plain(type(handle)(handle.project, one.model), one) for one in found]
    lines = [f"{len(found)} {'' if every else 'open '}incident{'' if len(found) == 1 else 's'}"]
    several = len(names) > 1
    rows = [
        [
            *([one.model] if several else []),
            one.n,
            _state(handle, one),
            one.severity,
            one.since,
            _with(known),
            one.title,
        ]
        for one, known in zip(found, plain, strict=True)
    ]
    head = [*(["model"] if several else []), "n", "state", "severity", "since", "one with", "what"]
    if not any(known["with"] for known in plain):
        at = head.index("one with")
        head, rows = [*head[:at], *head[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in rows]
    return Answer({"incidents": plain}, lines + table(rows, head=head), 1 if found and not every else 0)


def _plain(handle: Handle, one: Incident) -> dict[str, Any]:
    return {**one.to_dict(), "with": handle.beside(one)}


def _with(known: Mapping[str, Any]) -> str:
    return ", ".join(f"{other['model']} {other['n']}" for other in known["with"])


def _state(handle: Handle, one: Incident) -> str:
    if one.state != "silenced" or not one.silent_until:
        return one.state
    until = datetime.fromisoformat(one.silent_until)
    return f"silenced until {one.silent_until}" if until > handle.clock() else "open (its silence is over)"


def _lines(handle: Handle, one: Incident) -> list[str]:
    """One incident as it stands."""
    lines = [f"incident {one.n} is {_state(handle, one)}: {one.title}"]
    if one.since:
        lines.append(f"  since {one.since}, {one.rows:,} rows in {one.windows} window{'' if one.windows == 1 else 's'}")
    lines += [f"  {top['column']} {top['channel']}, {math.exp(top['score']):.1f} x its worst" for top in one.top[:6]]
    others = handle.beside(one)
    lines += [f"  one with {other['model']} {other['n']} ({other['state']}): {other['title']}" for other in others]
    lines += [f"  cause: {one.cause}" + (_right(one.confirmed))] if one.cause or one.confirmed is not None else []
    lines += ["  marked bad: {} to {} {}".format(*mark.plain).rstrip() for mark in one.bad]
    flag = f" --model {one.model}" if len(handle.project.config.models) > 1 else ""
    lines.append(
        f"Next:   middlewatch {'why' if one.active else 'incidents'} {one.n}{'' if one.active else ' reopen'}{flag}"
    )
    return lines


def _right(confirmed: bool | None) -> str:
    return "" if confirmed is None else "; `why` was right" if confirmed else "; `why` was wrong"


# What an act may be given besides its name.
_TAKES: Mapping[str, Sequence[str]] = {
    "silence": ("until",),
    "resolve": ("cause", "confirmed"),
    "mark-bad": ("since", "until", "where"),
}


def _act(handle: Handle, one: Incident, act: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of event and its facts."""
    if act not in ACTS:
        raise UsageError(f'"{act}" is nothing one can do', fix=nearest(act, ACTS))
    idle = [name for name, value in given.items() if value not in (None, "") and name not in _TAKES.get(act, ())]
    if idle:
        raise UsageError(f"{act} takes no --{idle[0]}", fix=f"middlewatch incidents {one.n} {act}")
    if act == "silence":
        return "silence", {"until": _later(handle, given["until"])}
    if act == "resolve":
        return "resolve", {"cause": given["cause"], "confirmed": given["confirmed"]}
    if act == "mark-bad":
        since, until = (handle.moment(given[name]) for name in ("since", "until"))
        return "mark_bad", {
            "since": iso(since) if since else one.since,
            "until": iso(until) if until else one.until,
            "where": given["where"],
        }
    return act.replace("-", "_"), {}


def _later(handle: Handle, text: str | None) -> str:
    """The end of a silence (ISO): a length of time is from now on; "" for as long as the incident lasts."""
    if not text:
        return ""
    now = handle.clock()
    try:
        end = now + parse_duration(text)
    except UsageError:
        end = handle.moment(text) or now
    if end <= now:
        raise UsageError(f"silence until {iso(end)} is over already", fix="--until 24h  is a day from now on")
    return iso(end)

"""The day in one message: requests, alarms, what moved without crossing the line, what is open, how old the model is.

Read from stored summaries; nothing is computed that the monitor has not computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from middlewatch import model as models
from middlewatch import runs
from middlewatch.errors import MiddlewatchError
from middlewatch.incidents import Incident
from middlewatch.outbox import Counts
from middlewatch.status import over

from .words import FIRST_LINE, Said, clock, count, line, link, option

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["digest", "due"]

USUAL_DAYS = 28
MOVED = 5
LISTED = 5


def due(project: Project, *, now: datetime) -> datetime | None:
    """The last moment before `now` at which a digest was to be sent, None where none ever is."""
    word = project.config.alerts.digest
    if word == "never":
        return None
    local = now.astimezone(project.zone)
    at = datetime.combine(local.date(), time.fromisoformat(word), tzinfo=project.zone)
    return (
        at
        if at <= local
        else datetime.combine(local.date() - timedelta(days=1), time.fromisoformat(word), tzinfo=project.zone)
    )


def digest(project: Project, *, until: datetime, queue: Counts, now: datetime) -> Said:
    """The day before `until`, every model of the project in a few lines."""
    since = until - timedelta(days=1)
    found = [_model(project, name, since, until, now) for name in project.config.models]
    rows = sum(int(one["requests"] or 0) for one in found)
    alarms = sum(int(one["alarms"]) for one in found)
    opened = sum(len(one["open"]) for one in found)
    late = sum(1 for one in found if one["monitor_late"])
    said = [f"{rows:,} requests", count(alarms, "alarm"), f"{count(opened, 'incident')} open"]
    said += [f"the monitor is late for {count(late, 'model')}"] if late else []
    lines = [line(f"DIGEST {until.astimezone(project.zone):%a %d %b}: {', '.join(said)}", FIRST_LINE)]
    for one in found:
        lines += _lines(project, one)
    if queue.given_up or queue.waiting:
        lines.append(line(f"ALERTS   {queue.waiting} wait, {queue.given_up} given up in 30 days; {queue.problem}"))
    address = link(project, next(iter(project.config.models), ""), "/") if project.config.models else ""
    lines += [f"LINK     {address}"] if address else []
    lines.append("Next:    middlewatch status")
    return Said("\n".join(lines), {"models": found, "link": address, "next": "middlewatch status"})


def _model(project: Project, name: str, since: datetime, until: datetime, now: datetime) -> dict[str, Any]:
    days = project.windows(name).summaries(
        since=(until - timedelta(days=USUAL_DAYS + 40)).astimezone(project.zone).date()
    )
    logged: Sequence[Mapping[str, Any]] = [one for one in days if one["source"] == "log"]
    judged = [
        one for day in logged if (held := day.get("judged")) for one in (held.get("hours") or {"": held}).values()
    ]
    fresh = [one for one in judged if since <= datetime.fromisoformat(one["at"]) < until]
    known = project.incidents(name).all()
    ran = runs.last(project.store, name)
    logged = over(logged, until, project.zone)
    usual = [int(one["rows"]) for one in logged[:-1]][-USUAL_DAYS:]
    recent = logged[-1:] if logged and logged[-1]["day"] >= (since - timedelta(days=1)).date().isoformat() else []
    return {
        "model": name,
        "state": (judged[-1].get("state") or "") if judged else "",
        "provisional": bool(judged and judged[-1].get("provisional")),
        "day": recent[0]["day"] if recent else None,
        "requests": recent[0]["rows"] if recent else None,
        "usual_requests": median(usual) if usual else None,
        "refused": recent[0].get("refused", 0) if recent else None,
        "alarms": sum(1 for one in fresh if one["alarm"]),
        "moved": _moved(fresh[-1] if fresh else None),
        "open": [_open(one) for one in known if one.active],
        "closed": [_open(one) for one in known if not one.active and since <= _closed(one) < until],
        "trained": _trained(project, name),
        "guessed": _guessed(project, name),
        "monitor_ran": ran.isoformat() if ran else None,
        "monitor_late": ran is not None and now - ran > runs.stale(project.config.monitor.window),
    }


def _moved(judged: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Channels beyond their own worst of 90 windows in a window that raised no alarm."""
    if judged is None or judged["alarm"]:
        return []
    return [
        {
            "column": one["column"],
            "channel": one["channel"],
            "times_worst": round(math.exp(float(one["score"])), 2),
        }
        for one in judged["top"]
        if float(one["score"]) > 0
    ][:MOVED]


def _open(one: Incident) -> dict[str, Any]:
    return {"n": one.n, "state": one.state, "severity": one.severity, "title": one.title, "since": one.since}


def _closed(one: Incident) -> datetime:
    return datetime.fromisoformat(next((event.at for event in one.events if event.kind == "resolve"), one.changed))


def _trained(project: Project, name: str) -> dict[str, Any] | None:
    """The live version, and when it was made; None where another service's model answers, or none."""
    live = project.journal(name).live()
    if live is None or not models.ours(live):
        return None
    manifest = models.shelf(project.store, name).manifest(live)
    return {"version": live, "data": manifest["data"], "created": manifest["created"]}


def _guessed(project: Project, name: str) -> dict[str, int] | None:
    """Limits of the schema that nobody has confirmed, of how many columns; None where it cannot be read."""
    try:
        columns = project.schema(name).columns
    except MiddlewatchError:
        return None
    unsure = [one for one in columns if one.guessed]
    return {"limits": sum(len(one.guessed) for one in unsure), "columns": len(unsure), "of": len(columns)}


def _lines(project: Project, one: Mapping[str, Any]) -> list[str]:
    name = str(one["model"])
    if one["requests"] is None:
        asked = "no requests judged for yesterday"
    else:
        usual = f", usually {one['usual_requests']:,.0f}" if one["usual_requests"] is not None else ""
        refused = f", {one['refused']:,} refused" if one["refused"] else ""
        asked = f"{one['requests']:,} requests on {one['day']}{usual}{refused}"
    state = " (learning)" if one["state"] == "learning" else " (provisional)" if one["provisional"] else ""
    moved = ", ".join(
        f"{each['column'].strip('()')} {each['channel']} {each['times_worst']:g} x its worst" for each in one["moved"]
    )
    lines = [
        line(f"{name}{state}: {asked}; {count(one['alarms'], 'alarm')}"),
        line(f"  moved, below the line: {moved}") if moved else "",
    ]
    lines += _incidents("open", one["open"])
    lines += _incidents("closed", one["closed"])
    parts = []
    if one["trained"]:
        parts.append(f"{one['trained']['version']} of {clock(project, one['trained']['created'])[:10]} answers")
    if one["guessed"] and one["guessed"]["limits"]:
        parts.append(f"limits of {one['guessed']['columns']} of {one['guessed']['of']} columns are unconfirmed guesses")
    if one["monitor_late"]:
        parts.append(
            f"the monitor last ran {clock(project, one['monitor_ran'])}: middlewatch monitor{option(project, name)}"
        )
    return [each for each in [*lines, f"  {'; '.join(parts)}" if parts else ""] if each]


def _incidents(word: str, found: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        line(f"  {word} {one['severity']} {one['n']} ({one['state']}): {one['title']}", 160) for one in found[-LISTED:]
    ]
    return [*lines, f"  and {len(found) - LISTED} more {word}"] if len(found) > LISTED else lines

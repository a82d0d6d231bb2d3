"""A message in words and as JSON: what, how much, why, whether rolling back helps, what to type.

What may stand in one: names of models, columns, callers and versions; shares, means, counts; a category, a unit or a
fill value where a diagnosis names it, since many rows share that. What never does: the inputs or the id of any row,
an outcome, an API key. Of a column that the schema marks `private` nothing but its name is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from middlewatch.errors import MiddlewatchError
from middlewatch.groups import Onset
from middlewatch.incidents import Incident
from middlewatch.sparks import spark
from middlewatch.times import day_of

from .changes import Change

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["Said", "clock", "count", "incident", "learning", "line", "link", "option", "short_hash", "storm", "test"]

FIRST_LINE = 110
LINE = 240
SPARK_DAYS = 28
LISTED = 12
_WORDS = {
    "opened": "",
    "worse": " got worse",
    "cause": ": cause found",
    "repeat": " is still open",
    "acknowledged": " acknowledged",
    "silenced": " silenced",
    "resolved": " resolved",
    "reopened": " was opened again",
}


@dataclass(frozen=True, slots=True)
class Said:
    """A message's text, its first line at most 110 characters, and the same as JSON facts."""

    text: str
    facts: Mapping[str, Any]


def line(text: str, most: int = LINE) -> str:
    """One line of at most so many characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 3].rstrip() + "..."


def headline(one: Incident) -> str:
    """The incident's title with what became of predictions in front: a phone may cut off the rest."""
    moved, _, mean = one.title.rpartition("; mean prediction ")
    return f"mean prediction {mean}, {moved}" if moved else one.title


def state_word(one: Incident, kind: str) -> str:
    """The word a message begins with: PAGE and TICKET ask for something, the others only tell."""
    return {"resolved": "OK", "acknowledged": "ACK", "silenced": "SILENCED"}.get(kind) or one.severity.upper()


def incident(project: Project, change: Change, *, now: datetime) -> Said:
    """The message about one change of one incident."""
    one, model = change.incident, change.model
    days = _days(project, model, one)
    why = _told_cause(project, model, one)
    flag = option(project, model)
    actor, reason = _by(one, change.kind)
    address = link(project, model, f"/i/{one.n}")
    runbook = project.config.models[model].runbook or ""
    following = _next(one, change.kind, why, flag)
    means = [float(day["score"]["mean"]) for day in days if day.get("score")]
    words = _WORDS[change.kind]
    about = why["detail"] if change.kind == "cause" else headline(one)
    others = [each for each in change.group if each.name != (model, one.n)]
    more = f" and {count(len(others), 'more model')}" if others else ""
    first = f"{state_word(one, change.kind)} {model} incident {one.n}{more}{words}: {about}"
    lines = [
        line(first, FIRST_LINE),
        f"WHAT     {line(one.title)}" if len(first) > FIRST_LINE or change.kind == "cause" else "",
        f"MODELS   {line(_group(one, others))}" if others else "",
        f"BY       {line(actor + (': ' + reason if reason else ''))}" if actor else "",
        f"SINCE    {clock(project, one.since)}{_size(one)}",
        f"EFFECT   {line(_effect(one, why))}",
        f"CAUSE    {line(_cause(one, why, flag))}",
        f"SCORE    {spark(means)}  mean prediction of {count(len(means), 'day')}, {min(means):.3g} to {max(means):.3g}"
        if len(means) > 1
        else "",
        f"ROLLBACK {line(why['rollback'] or _untried(project, model, flag))}" if one.active else "",
        _provisional(days),
        f"RUNBOOK  {runbook}" if runbook else "",
        f"LINK     {address}" if address else "",
        f"Next:    {following}",
    ]
    facts = {
        "model": model,
        "incident": _plain(one),
        "by": actor,
        "reason": reason,
        "cause": {name: why[name] for name in ("detail", "confidence", "kind", "column", "where", "effect")}
        if why["kind"]
        else None,
        "rollback": why["rollback"],
        "spark": {"mean_prediction": means, "days": [day["day"] for day in days if day.get("score")]},
        "models": [{"model": each.model, "n": each.n} for each in change.group],
        "runbook": runbook,
        "link": address,
        "next": following,
    }
    return Said("\n".join(one for one in lines if one), facts)


def storm(project: Project, changes: Sequence[Change], *, recent: int) -> Said:
    """One message about many changes; `recent` incidents were told of in the last ten minutes before."""
    severe = sorted(changes, key=lambda one: (one.incident.severity != "page", one.at, one.name))
    pages = any(one.incident.severity == "page" and one.incident.active for one in severe)
    many = len({(one.model, one.incident.n) for one in changes})
    names = ", ".join(f"{one.model} {one.incident.n}" for one in severe)
    before = f", {recent} told before" if recent else ""
    lines = [
        line(f"{'PAGE' if pages else 'TICKET'} {many} incidents changed within 10 minutes{before}: {names}", FIRST_LINE)
    ]
    for one in severe[:LISTED]:
        said = f"{state_word(one.incident, one.kind)} {one.model} incident {one.incident.n}{_WORDS[one.kind]}: "
        lines.append("  " + line(said + headline(one.incident), 160))
    if len(severe) > LISTED:
        lines.append(f"  and {len(severe) - LISTED} more")
    lines.append(
        "NOTE     so many at once mostly have one cause; what follows in the next 10 minutes is one message again"
    )
    address = link(project, severe[0].model, "/")
    lines += [f"LINK     {address}"] if address else []
    lines.append("Next:    middlewatch incidents" + option(project, severe[0].model))
    facts = {
        "incidents": [{"model": one.model, "change": one.kind, **_plain(one.incident)} for one in severe[:50]],
        "link": address,
        "next": lines[-1].removeprefix("Next:    "),
    }
    return Said("\n".join(lines), facts)


def learning(project: Project, model: str, *, learnt: bool, history: int, provisional: bool) -> Said:
    """A new model learns first and says so; and says when it has."""
    flag = option(project, model)
    if learnt:
        how = f"from {count(history, 'window')}"
        more = " The line is provisional until 60 windows are known." if provisional else ""
        lines = [f"OK {model} is watched: its alarm line is learnt {how}", f"NOTE     It alarms from now on.{more}"]
    else:
        lines = [
            f"LEARNING {model} is new here: {count(history, 'window')} seen, no alarm line yet",
            "NOTE     Until it knows what is usual, only refused requests and bad releases open incidents.",
        ]
    lines.append(f"Next:    middlewatch status{flag}")
    return Said("\n".join(lines), {"model": model, "history": history, "provisional": provisional})


def test(route: str, *, now: datetime) -> Said:
    """What `doctor --alerts` sends: marked, so that nobody gets up for it."""
    lines = [
        line(f"TEST from Middlewatch: alerts reach {route}; nothing is wrong", FIRST_LINE),
        f"NOTE     Sent by middlewatch doctor --alerts at {now:%Y-%m-%d %H:%M:%S %Z}.",
        "Next:    nothing to do",
    ]
    return Said("\n".join(lines), {"test": True})


# ---------------------------------------------------------------------- parts


def _days(project: Project, model: str, one: Incident) -> list[dict[str, Any]]:
    """Summaries of the 28 days up to the incident's last one, oldest first."""
    if not one.until:
        return []
    last = day_of(datetime.fromisoformat(one.until) - timedelta(microseconds=1), project.zone)
    return project.windows(model).summaries(since=last - timedelta(days=SPARK_DAYS - 1), until=last)


def _told_cause(project: Project, model: str, one: Incident) -> dict[str, Any]:
    """The first cause of the incident's diagnosis, as far as it may be told; empty texts where there is none."""
    why = one.why or {}
    found = (why.get("causes") or [{}])[0]
    columns = [str(each) for each in found.get("columns") or ()]
    hidden = _private(project, model)
    told = {
        "detail": str(found.get("detail") or ""),
        "confidence": str(found.get("confidence") or ""),
        "kind": ".".join(str(found[each]) for each in ("kind", "form") if found.get(each)),
        "column": found.get("column"),
        "where": ", ".join(f"{name} {value}" for name, value in (found.get("slice") or {}).items()),
        "effect": found.get("effect"),
        "fix": str(found.get("fix") or ""),
        "rollback": str(why.get("rollback") or ""),
    }
    if hidden is None or hidden & {*columns, *(found.get("slice") or {})}:
        told |= {
            "detail": f"{', '.join(columns) or 'a column'}: {told['kind']}" if found else "",
            "where": "",
            "fix": "",
        }
    return told


def _private(project: Project, model: str) -> set[str] | None:
    """Columns whose contents may not leave; None where the schema cannot be read: then none may."""
    try:
        return {one.name for one in project.schema(model).columns if one.private is not None}
    except MiddlewatchError:
        return None


def _effect(one: Incident, why: Mapping[str, Any]) -> str:
    parts = []
    if one.before is not None and one.after is not None:
        parts.append(f"mean prediction {one.before:.3g} -> {one.after:.3g}")
    effect = why["effect"] or {}
    if effect.get("decisions_changed") is not None:
        parts.append(f"{effect['decisions_changed']:,} decisions changed in {effect.get('rows', 0):,} rows")
    if effect.get("share_of_shift") is not None:
        parts.append(f"undoing the cause takes back {effect['share_of_shift']:.0%} of the shift")
    return "; ".join(parts) or "on predictions none is known yet"


def _cause(one: Incident, why: Mapping[str, Any], flag: str) -> str:
    if why["detail"]:
        where = f", only {why['where']}" if why["where"] else ""
        return f"{why['detail']}{where}  ({why['confidence']})"
    if one.why:
        return "none of the known kinds; what moved stands above"
    return f"not looked for yet: middlewatch why {one.n}{flag}"


def _untried(project: Project, model: str, flag: str) -> str:
    if project.journal(model).previous() is None:
        return "there is nothing to go back to: no other version was live"
    return f"not tried yet: middlewatch rollback --dry-run{flag} tells"


def _group(one: Incident, others: Sequence[Onset]) -> str:
    """All models whose incidents are one with this, and what they share."""
    shared = sorted({name for each in others for name in each.columns} & set(one.columns))
    named = ", ".join(f"{each.model} {each.n}" for each in others)
    return f"one with {named}; they began together" + (f" and share {', '.join(shared)}" if shared else "")


def _size(one: Incident) -> str:
    """How much there is of it; the fast channel counts no windows, and what is about a server no rows."""
    if not one.rows and not one.windows:
        return ""
    return f", {one.rows:,} rows" + (f" in {count(one.windows, 'window')}" if one.windows else " so far")


def _by(one: Incident, kind: str) -> tuple[str, str]:
    """Who did what a message tells, and what they said; ("", "") for what the monitor saw."""
    event = {"acknowledged": "ack", "silenced": "silence", "resolved": "resolve"}.get(kind)
    done = next((each for each in reversed(one.events) if each.kind == event), None)
    if done is None:
        return "", ""
    said = str(done.facts.get("cause") or done.facts.get("reason") or "")
    if kind == "silenced":
        said = f"until {done.facts['until']}" if done.facts.get("until") else "until it is resolved"
    return done.actor, said


def _next(one: Incident, kind: str, why: Mapping[str, Any], flag: str) -> str:
    if kind in ("acknowledged", "silenced", "resolved"):
        return f"middlewatch incidents {one.n}{flag}"
    return f"middlewatch why {one.n}{flag}"


def _provisional(days: Sequence[Mapping[str, Any]]) -> str:
    judged = next((day["judged"] for day in reversed(days) if day.get("judged")), None) or {}
    if judged.get("state") == "learning":
        seen = count(int(judged.get("history") or 0), "window")
        return f"NOTE     The model is learning: {seen} of history, no alarm line yet."
    if judged.get("provisional"):
        return f"NOTE     The alarm line is provisional: it is learnt from {count(int(judged['history']), 'window')}."
    return ""


def _plain(one: Incident) -> dict[str, Any]:
    names = (
        *("n", "state", "severity", "title", "since", "until", "opened", "changed", "columns", "channels"),
        *("rows", "windows", "peak", "before", "after", "cause"),
    )
    return {name: getattr(one, name) for name in names}


def link(project: Project, model: str, path: str) -> str:
    """The public address of a page, "" where none is set."""
    base = project.config.alerts.url
    if not base:
        return ""
    return f"{base}{path}" + (f"?model={model}" if len(project.config.models) > 1 else "")


def option(project: Project, model: str) -> str:
    """What a command needs where the project has several models."""
    return f" --model {model}" if len(project.config.models) > 1 else ""


def clock(project: Project, moment: str) -> str:
    """An ISO time in the project's zone."""
    return (
        f"{datetime.fromisoformat(moment).astimezone(project.zone):%Y-%m-%d %H:%M %Z}" if moment else "an unknown time"
    )


def count(number: int, word: str) -> str:
    """`1 window`, `2 windows`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def short_hash(*names: str) -> str:
    """A short name for a set of names: the same for the same set."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]

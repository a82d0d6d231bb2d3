"""One incident: what happened and likely why, before and after, what one can do about it. From stored JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import middlewatch.web.acts as acts
import middlewatch.web.timeline as timeline
import middlewatch.web.words as words

from .. import groups, notes
from ..errors import NotFound, nearest
from ..incidents import SERVER, Incident
from ..project import Project
from ..status import released_since
from .home import bars_of, released
from .http import Request, Response
from .rendering import drawn, render

BEFORE_DAYS, AFTER_DAYS = 28, 7
AROUND = timedelta(days=2)
# How much of a cause or a list of the diagnosis goes on one page.
CAUSES, LINES = 3, 12


def facts(project: Project, request: Request, number: int, now: datetime) -> dict[str, Any]:
    """The incident's own facts, its diagnosis in readable parts, the days around it, and what else happened then."""
    name = _model(project, request, number)
    one = project.incidents(name).get(number)
    since, until = _bounds(one, project, now)
    days = project.windows(name).summaries(
        since=(since - timedelta(days=BEFORE_DAYS)).date(), until=(until + timedelta(days=AFTER_DAYS)).date()
    )
    entries = project.journal(name).entries()
    around = notes.all(project.store, since=since - AROUND, until=until)
    return {
        **one.to_dict(),
        "with": groups.beside(groups.members(project.store, one)),
        "answer": diagnosis(one),
        "released": released(released_since(one, entries)) if one.active else None,
        "before": one.before,
        "after": one.after,
        "plot": timeline.facts(days, entries, [one], around, project.zone),
        "around": _around(entries, around, since, until),
        "acts": [
            {"act": word, "label": acts.LABELS[word] if one.active else "Say what it was"}
            for word in acts.offered(project, one)
        ],
    }


def page(project: Project, request: Request, number: int, now: datetime) -> Response:
    found = facts(project, request, number, now)
    return render(
        "incident.html",
        Request(**{**_fields(request), "query": {**request.query, **_named(project, found)}}),
        title=f"Incident {number}: {found['model']}",
        zone=project.zone,
        found=found,
        plot=drawn(timeline.draw(found["plot"], project.zone, name="around", height=220.0)),
        rows=bars_of([one for one in found["top"] if one["column"] != SERVER]),
        story=_story(found),
    )


def diagnosis(one: Incident) -> dict[str, Any] | None:
    """The stored diagnosis in parts that a page can show, whatever else it holds; None where none is stored."""
    if not one.why:
        return None
    causes = [_cause(cause) for cause in (one.why.get("causes") or ())[:CAUSES]]
    return {
        "causes": causes,
        "harmless": [str(cause.get("detail") or "") for cause in (one.why.get("harmless") or ())[:CAUSES]],
        "told": _lines(one.why.get("told")),
        "rollback": str(one.why.get("rollback") or ""),
        "ruled_out": _lines(one.why.get("ruled_out")),
        "not_seen": _lines(one.why.get("not_seen")),
        # The first cause's fix has its own line.
        "next": _after(str(one.why.get("next") or ""), causes[0]["fix"] if causes else ""),
    }


def _after(text: str, fix: str) -> str:
    """What to do next without the fix, which stands above it already, and without the word that joined the two."""
    rest = text.removeprefix(fix).lstrip("; ").removeprefix("or ").removeprefix("then ").strip()
    return "" if rest.startswith("(") else rest  # a remark on the fix, which its own line makes


def _cause(cause: Mapping[str, Any]) -> dict[str, Any]:
    effect: Mapping[str, Any] = cause.get("effect") or {}
    return {
        "said": str(cause.get("detail") or cause.get("form") or cause.get("kind") or ""),
        "confidence": str(cause.get("confidence") or "possible"),
        "where": _where(cause.get("slice")),
        "since": cause.get("since"),
        "from_start": bool(cause.get("from_start")),
        "event": str(cause.get("event") or ""),
        "fix": str(cause.get("fix") or ""),
        "proof": str(cause.get("proof") or ("undoing it proved it" if cause.get("undo_proved") else "")),
        "rivals": _lines(cause.get("rivals")),
        "share": effect.get("share_of_shift"),
        "rows": effect.get("rows"),
        "decisions": effect.get("decisions_changed"),
        "score": effect.get("score_before"),
        "undone": effect.get("score_after"),
        "reproduce": str(cause.get("reproduce") or ""),
        "examples": [_example(row) for row in (cause.get("examples") or ())[:5] if isinstance(row, Mapping)],
    }


def _where(part: Any) -> str:
    """A slice of the rows in words, "only caller billing-api/4.2"; empty for all of them."""
    if not part:
        return ""
    said = part if isinstance(part, str) else " ".join(str(one) for one in part)
    return f"only {said.removeprefix('mw.')}"


def _example(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row: its id, and per column what came and, where it can be undone, what it should have been."""
    came, undone = row.get("came"), row.get("undone")
    if not isinstance(came, Mapping):
        came, undone = {name: value for name, value in row.items() if name != "id"}, None
    right = undone if isinstance(undone, Mapping) else {}
    return {
        "id": str(row.get("id") or ""),
        "values": [{"column": str(name), "came": value, "undone": right.get(name)} for name, value in came.items()],
    }


def _lines(said: Any) -> list[str]:
    """Ruled out and not seen as lines, whether they come as texts or as `{what, why}`."""
    found = []
    for one in list(said or ())[:LINES]:
        if isinstance(one, Mapping):
            found.append(
                ": ".join(str(one[key]) for key in ("what", "why", "detail") if one.get(key)) or str(dict(one))
            )
        else:
            found.append(str(one))
    return found


def _bounds(one: Incident, project: Project, now: datetime) -> tuple[datetime, datetime]:
    since = words.moment(one.since, project.zone) or words.moment(one.opened, project.zone) or now
    return since, words.moment(one.until, project.zone) or now


def _around(entries: Sequence[Any], kept: Sequence[Any], since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Releases and notes shortly before the incident or in it, by their own clock: what may have caused it."""
    listed = [
        {"at": one.at, "what": f"{words.ACTIONS.get(one.action, one.action)} {one.version}", "by": one.actor}
        for one in entries
        if since - AROUND <= datetime.fromisoformat(one.at) <= until
    ]
    listed += [{"at": one.at, "what": one.text, "by": one.source or one.actor} for one in kept]
    return sorted(listed, key=lambda one: str(one["at"]))


def _story(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Events with what each says, runs of plain updates told as one line."""
    told: list[dict[str, Any]] = []
    for one in found["events"]:
        kind, given = one["kind"], one["facts"]
        line = {
            "at": one["at"],
            "what": "diagnosed" if set(given) == {"why"} else words.EVENTS.get(kind, kind),
            "by": one["actor"],
            "kind": kind,
            "count": 1,
            "said": _said(kind, given),
            "until": given.get("until") if kind in ("silence", "mark_bad") else None,
        }
        if kind == "update" and told and (told[-1]["kind"], told[-1]["by"]) == (kind, one["actor"]):
            line["count"] = told[-1]["count"] + 1
            told[-1] = line
        else:
            told.append(line)
    return told


def _said(kind: str, given: Mapping[str, Any]) -> str:
    parts = []
    if kind in ("open", "update"):
        if given.get("windows"):
            parts.append(f"{words.plural(given['windows'], 'window')}, {words.plural(given.get('rows'), 'row')}")
        if given.get("peak") is not None:
            parts.append(f"peak {words.times(given['peak'])}")
        if given.get("clean"):
            parts.append(f"{words.plural(given['clean'], 'clean window')}")
        if given.get("why"):
            parts += [str(cause.get("detail") or "") for cause in (given["why"].get("causes") or ())[:1]]
    else:
        parts += [str(given[key]) for key in ("cause", "reason", "where") if given.get(key)]
        parts += [f"through {given['through']}"] if given.get("through") else []
        if given.get("confirmed") is not None:
            parts.append("why was right" if given["confirmed"] else "why was wrong")
    return ", ".join(parts)


def _model(project: Project, request: Request, number: int) -> str:
    """The model named, the only one, or the only one that has an incident of this number."""
    named = request.query.get("model")
    known = list(project.config.models)
    if named is not None or len(known) == 1:
        return project.model(named)
    having = [name for name in known if any(one.n == number for one in project.incidents(name).all())]
    if len(having) == 1:
        return having[0]
    if not having:
        raise NotFound(f"no model has an incident {number}", fix="/ lists what is open")
    raise NotFound(
        f"several models have an incident {number}",
        fix=f"add ?model=NAME to the address; {nearest('', having)}",
    )


def _fields(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in Request.__slots__}


def _named(project: Project, found: Mapping[str, Any]) -> dict[str, str]:
    """Links of the page name the model where there are several, even if the address did not."""
    return {"model": str(found["model"])} if len(project.config.models) > 1 else {}

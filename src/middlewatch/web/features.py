"""Features: each input now over then, the most moved first. Reads stored profiles of days, never rows.

Imports numpy and polars, inside: only this page pays for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import middlewatch.web.words as words

from .. import charts
from ..errors import NotFound
from ..project import Project
from .http import Request, Response
from .rendering import drawn, render

if TYPE_CHECKING:
    from ..profiles import ColumnProfile, Profile

THEN_DAYS = 28
# Older days are no longer offered: the page lists each by its date.
SHOWN_DAYS = 400


def facts(project: Project, request: Request) -> dict[str, Any]:
    """The newest logged day (or `?day=`) against up to 28 days before it that no open incident touches."""
    name = project.model(request.query.get("model"))
    windows = project.windows(name)
    summaries = windows.summaries(since=windows.since(SHOWN_DAYS))
    logged = [one for one in summaries if one["source"] == "log"] or summaries
    wanted = request.query.get("day")
    chosen = next((one for one in reversed(logged) if wanted in (None, "", one["day"])), None)
    if wanted and chosen is None:
        raise NotFound(
            f"there is no window for {wanted[:20]}", fix=f"the newest is {logged[-1]['day']}" if logged else ""
        )
    if chosen is None:
        return {"model": name, "day": None, "then": [], "features": [], "find": ""}
    troubled = [(one.since[:10], one.until[:10] or "9999") for one in project.incidents(name).active()]
    before = [
        one["day"]
        for one in summaries
        if one["day"] < chosen["day"] and not any(since <= one["day"] < until for since, until in troubled)
    ][-THEN_DAYS:]
    now = windows.day(date.fromisoformat(chosen["day"])).profile
    then = _merged([one.profile for one in windows.read([date.fromisoformat(one) for one in before])])
    scores = _scores(chosen.get("judged"))
    find = request.query.get("find", "").strip()
    listed = [_feature(column, now, then, scores.get(column, [])) for column in now.columns]
    ranked = sorted(
        (one for one in listed if find.lower() in one["column"].lower() or find.lower() in one["name"].lower()),
        key=lambda one: -one["score"] if one["score"] is not None else math.inf,
    )
    return {
        "model": name,
        "day": chosen["day"],
        "rows": chosen["rows"],
        "then": [before[0], before[-1]] if before else [],
        "then_days": len(before),
        "features": ranked,
        "find": find,
        "days": [one["day"] for one in logged][-60:],
    }


def page(project: Project, request: Request) -> Response:
    found = facts(project, request)
    return render(
        "features.html",
        request,
        title=f"Features: {found['model']}",
        zone=project.zone,
        found=found,
        rows=[{**one, "chart": drawn(_chart(one, at))} for at, one in enumerate(found["features"])],
    )


def _merged(profiles: Sequence[Profile]) -> Profile | None:
    from ..profiles import merge

    return merge(profiles) if profiles else None


def _scores(judged: Mapping[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in (judged or {}).get("top") or ():
        found.setdefault(str(one["column"]), []).append(dict(one))
    return found


def _feature(name: str, now: Profile, then: Profile | None, moved: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One column in plain numbers: shares missing, means, a histogram or the top values of both times."""
    from ..profiles.drawing import drawn as drawn_of

    new = now.columns[name]
    old = then.columns.get(name) if then is not None else None
    beyond = [one for one in moved if float(one["score"]) > 0]
    return {
        "column": name,
        "name": words.column(name),
        "kind": new.kind,
        "prediction": name.startswith("mw."),
        "score": max((float(one["score"]) for one in beyond), default=None),
        "moved": beyond,
        "missing": {"now": _share(new.nulls + new.nans, new.rows), "then": _share_of(old)},
        "mean": {"now": _finite(new.mean), "then": _finite(old.mean) if old is not None else None},
        "distinct": {"now": new.distinct(), "then": old.distinct() if old is not None else None},
        **(drawn_of(new, old) if new.kind not in ("text", "time") else {}),
    }


def _chart(one: Mapping[str, Any], at: int) -> str:
    told = f"{one['name']}, now over then"
    if one.get("edges"):
        return charts.histogram(
            one["edges"], one["now"], one["then"], name=f"feature-{at}", title=told, description=_described(one)
        )
    if one.get("top"):
        return charts.bars(
            [(row["value"] or "(empty)") + (" (new)" if row["new"] else "") for row in one["top"]],
            [row["now"] for row in one["top"]],
            [row["then"] for row in one["top"]],
            name=f"feature-{at}",
            title=told,
            description=_described(one),
        )
    return ""


def _described(one: Mapping[str, Any]) -> str:
    parts = []
    if one["mean"]["now"] is not None:
        parts.append(f"Mean {words.number(one['mean']['now'])}, was {words.number(one['mean']['then'])}.")
    parts.append(f"Missing {words.percent(one['missing']['now'])}, was {words.percent(one['missing']['then'])}.")
    return " ".join(parts)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _share_of(old: ColumnProfile | None) -> float | None:
    return _share(old.nulls + old.nans, old.rows) if old is not None else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

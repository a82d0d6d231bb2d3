"""Home: is it still good, since when, likely why; four numbers, one plot, what moved. From stored JSON alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

import middlewatch.web.timeline as timeline
import middlewatch.web.words as words

from .. import charts, groups, notes
from ..incidents import Incident
from ..model import shelf
from ..project import Project
from ..status import USUAL_WINDOWS, WORDS, Status, over, released_words, status, usual
from .http import Request, Response
from .rendering import drawn, render

SPANS = {"30": 30, "90": 90, "365": 365}
DEFAULT_SPAN = "90"
MOVED = 8
TABLE_DAYS = 14
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def facts(project: Project, request: Request, now: datetime) -> dict[str, Any]:
    """One model in full, or where there are several and none is named, a row of each."""
    named = list(project.config.models)
    if "model" not in request.query and len(named) != 1:
        return {"models": [_row(project, name, now) for name in named]}
    name = project.model(request.query.get("model"))
    span = request.query.get("days", DEFAULT_SPAN)
    spanned = SPANS.get(span, SPANS[DEFAULT_SPAN])
    found = status(project, name, clock=now, spanned=spanned)
    shown = _newest(found.days, spanned)
    everything = project.incidents(name).all()
    return {
        **found.to_dict(),
        "word": WORDS[found.state],
        "answer": answer(found, project),
        "numbers": numbers(found, everything, _training(project, name), project.zone),
        "moved": moved(found.days, project.zone),
        "errs": errs(found.quality),
        "training": _training(project, name),
        "closed": [
            {"n": one.n, "title": one.title, "since": one.since, "cause": one.cause}
            for one in reversed(everything)
            if not one.active
        ][:5],
        "span": span if span in SPANS else DEFAULT_SPAN,
        "plot": timeline.facts(
            shown, project.journal(name).entries(), everything, notes.all(project.store), project.zone
        ),
    }


def _newest(days: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The windows of the last `count` calendar days before the newest."""
    if not days:
        return []
    first = (date.fromisoformat(days[-1]["day"]) - timedelta(days=count - 1)).isoformat()
    return [one for one in days if one["day"] >= first]


def page(project: Project, request: Request, now: datetime) -> Response:
    found = facts(project, request, now)
    if "models" in found:
        rows = [{**one, "spark": drawn(_model_spark(one))} for one in found["models"]]
        return render("models.html", request, title="All models", zone=project.zone, rows=rows)
    return render(
        "home.html",
        request,
        title=f"{found['word']}: {found['model']}",
        zone=project.zone,
        spans=SPANS,
        plot=drawn(timeline.draw(found["plot"], project.zone, name="predictions")),
        tiles=[{**one, "spark": drawn(_spark(one))} for one in found["numbers"]],
        moved_rows=bars_of(found["moved"]["top"]),
        table=found["plot"]["days"][: -TABLE_DAYS - 1 : -1],
        found=found,
    )


def answer(found: Status, project: Project) -> dict[str, Any]:
    """The one sentence in its parts: what, since when, how much the predictions moved, likely why."""
    if not found.incidents:
        said = _DAY.sub(lambda day: words.day(day[0]), found.sentence.partition(": ")[2])
        return {"what": said, "incident": None, "cause": None, "with": [], "released": None}
    worst = _worst(found.incidents)
    return {
        "what": words.headline(worst.title) or f"incident {worst.n}",
        "incident": worst.n,
        "since": worst.since,
        "lasting": words.lasting(worst.since, found.now, project.zone),
        "before": worst.before,
        "after": worst.after,
        "rows": worst.rows,
        "more": len(found.incidents) - 1,
        "with": groups.beside(found.shared.get(worst.n, ())),
        "cause": likely(worst),
        "released": released(found.released.get(worst.n)),
    }


def released(since: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What was made live since an incident opened, in words, and when; None where nothing was."""
    return {"said": released_words(since), "at": since["at"]} if since is not None else None


def likely(incident: Incident) -> dict[str, Any] | None:
    """The first cause that the stored diagnosis names, with how sure it is; None where none is stored."""
    causes = (incident.why or {}).get("causes") or []
    if not causes:
        return None
    first = causes[0]
    said = first.get("detail") or " ".join(str(first.get(key) or "") for key in ("form", "column")).strip()
    return {
        "said": str(said),
        "confidence": str(first.get("confidence") or "possible"),
        "rollback": str((incident.why or {}).get("rollback") or ""),
    }


def numbers(
    found: Status, incidents: Sequence[Incident], training: Mapping[str, Any] | None, zone: tzinfo
) -> list[dict[str, Any]]:
    """Requests, refused, score, quality: the newest value, its usual range, the last windows.

    Usual is what the last 28 windows outside any incident had (`status.usual`).
    """
    logged = [one for one in found.days if one["source"] == "log"]
    # The day that goes on has few rows yet.
    logged = over(logged, datetime.fromisoformat(found.now), zone)
    scored = [one for one in found.days if one.get("score")]
    quality = found.quality
    return [
        {
            "name": "Requests",
            "unit": f"on {words.day(logged[-1]['day'])}" if logged else "",
            **_series(logged, incidents, lambda one: one["rows"], zone),
        },
        {
            "name": "Refused",
            "unit": "broke the schema",
            **_series(logged, incidents, lambda one: one.get("refused", 0), zone),
        },
        {
            "name": "Score",
            "unit": "mean prediction" + (", training" if scored and not logged else ""),
            **_series(scored, incidents, lambda one: one["score"]["mean"], zone),
        },
        {
            "name": "Quality",
            "unit": _quality(quality, training),
            "value": (quality.get("value") if quality.get("metric") else None),
            **_usual_quality(quality),
        },
    ]


def _quality(quality: Mapping[str, Any], training: Mapping[str, Any] | None) -> str:
    expects = ""
    if quality.get("estimate") is not None:
        value, of = words.number(quality["estimate"]), words.metric(quality["estimate_of"])
        expects = f"; its scores expect {of} {value}, if only the inputs changed"
    if quality.get("metric"):
        around = ""
        if quality.get("low") is not None:
            around = f", {words.number(quality['low'])} to {words.number(quality['high'])}"
        came = f"{words.percent(quality.get('labelled_share'))} of outcomes arrived"
        return f"{words.metric(quality['metric'])}{around}, on {words.day(quality['day'])}: {came}{expects}"
    share = quality.get("labelled_share")
    came = f"{words.percent(share)} of outcomes, too few to judge" if share else "no outcomes yet"
    if training is not None and training["metric"]:
        name = words.metric(training["metric"])
        return f"{came}; {name} {words.number(training['value'])} when it was trained{expects}"
    return f"{came}{expects}"


def _usual_quality(quality: Mapping[str, Any]) -> dict[str, Any]:
    value, low, high = quality.get("value"), quality.get("usual_low"), quality.get("usual_high")
    if value is None or low is None or high is None:
        return {"usual": None, "word": "", "series": []}
    word = "above usual" if value > high else "below usual" if value < low else "as usual"
    return {"usual": [low, high], "word": word, "series": list(quality.get("series") or ())}


def errs(quality: Mapping[str, Any]) -> dict[str, Any]:
    """Slices whose outcomes were worst over the last judged windows, with their loss beside that of all rows."""
    return {
        "by": words.metric(quality["slices_by"]) if quality.get("slices_by") else None,
        "slices": list(quality.get("slices") or ()),
    }


def _series(days: Sequence[Mapping[str, Any]], incidents: Sequence[Incident], of: Any, zone: tzinfo) -> dict[str, Any]:
    if not days:
        return {"value": None, "usual": None, "word": "", "series": []}
    newest = of(days[-1])
    span = usual(days, incidents, of, zone)
    word = ""
    if span is not None:
        word = "above usual" if newest > span[1] else "below usual" if newest < span[0] else "as usual"
    return {
        "value": newest,
        "usual": list(span) if span else None,
        "word": word,
        "series": [of(one) for one in days[-USUAL_WINDOWS - 1 :]],
    }


def moved(days: Sequence[Mapping[str, Any]], zone: tzinfo) -> dict[str, Any]:
    """What the last judgement found most unusual: `top` beyond its own worst, most unusual first."""
    last = next((one["judged"] for one in reversed(days) if one.get("judged")), None)
    if last is None:
        return {"window": None, "alarm": None, "state": None, "top": []}
    top = [dict(one) for one in last.get("top") or () if float(one["score"]) > 0]
    return {
        "window": start.date().isoformat() if (start := words.moment(last["start"], zone)) else None,
        "alarm": bool(last.get("alarm")),
        "state": last.get("state") or ("provisional" if last.get("provisional") else "judged"),
        "top": top[:MOVED],
    }


def bars_of(top: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table of what moved, each with its bar; they share one scale, with a tick at "its own worst"."""
    most = max((_times(one["score"]) for one in top), default=1.0)
    return [{**one, "bar": drawn(charts.lollipop(_times(one["score"]), max(most, 1.0), limit=1.0))} for one in top]


def _times(score: Any) -> float:
    # A bar is for comparing; beyond a hundred times one could not see the others beside it.
    return min(100.0, math.exp(min(float(score), 10.0)))


def _training(project: Project, name: str) -> dict[str, Any] | None:
    place = shelf(project.store, name)
    known = place.names()
    if not known:
        return None
    manifest = place.manifest(known[-1])
    metrics: Mapping[str, Mapping[str, float]] = manifest.get("metrics") or {}
    metric = next(iter(metrics), "")
    measured = metrics.get(metric, {})
    verdicts = manifest.get("gate") or []
    return {
        "version": manifest["version"],
        "created": manifest.get("created"),
        "actor": manifest.get("actor", ""),
        "data": manifest.get("data"),
        "rows": manifest.get("rows"),
        "metric": metric,
        "value": measured.get("value"),
        "low": measured.get("low"),
        "high": measured.get("high"),
        "gate_ok": all(one["ok"] for one in verdicts),
        "failed": [str(one["check"]) for one in verdicts if not one["ok"]],
    }


def _row(project: Project, name: str, now: datetime) -> dict[str, Any]:
    found = status(project, name, clock=now)
    return {
        **found.to_dict(),
        "word": WORDS[found.state],
        "answer": answer(found, project),
        "series": [one["score"]["mean"] for one in found.days if one.get("score")][-USUAL_WINDOWS - 1 :],
    }


def _worst(incidents: Sequence[Incident]) -> Incident:
    pages = [one for one in incidents if one.severity == "page"]
    return (pages or list(incidents))[-1]


def _spark(tile: Mapping[str, Any]) -> str:
    usual = tile["usual"]
    return charts.sparkline(
        tile["series"],
        name=f"spark-{tile['name'].lower()}",
        title=f"{tile['name']} over the last {len(tile['series'])} windows",
        usual=(usual[0], usual[1]) if usual else None,
    )


def _model_spark(row: Mapping[str, Any]) -> str:
    return charts.sparkline(
        row["series"], name=f"spark-{row['model']}", title=f"Mean prediction over {len(row['series'])} windows"
    )

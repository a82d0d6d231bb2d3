"""The order of work: facts, replay, fingerprints against own history, then whether rolling back helps."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

import middlewatch.why.alarmed as alarmed
import middlewatch.why.before as before
import middlewatch.why.outcomes as outcomes
import middlewatch.why.traffic as traffic

from .. import model, notes
from ..errors import MiddlewatchError
from ..fingerprints import Case, Cause, History, Search, refusals, search, thresholds
from ..fingerprints.cause import ORDER
from ..fingerprints.history import wasserstein
from ..replay import load
from .loading import told_by_server
from .release import Releases, releases
from .report import Diagnosis
from .rows import Span, everything_of, incident_of, span_of
from .touched import of_span

if TYPE_CHECKING:
    from ..project import Project
    from ..schema import Schema

ACTOR = "why"
EVENT_REACH = timedelta(hours=24)
"""An event up to this long before the onset is named beside it."""
LITTLE = 0.1
"""Share of a shift of predictions that a cause must take back: below, other things moved too, and more."""


def diagnose(
    project: Project,
    name: str,
    *,
    incident: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime,
    touched: bool = False,
) -> Diagnosis:
    """What broke in an incident, in a span, or lately; with what was ruled out and what would have been missed.

    `touched` adds every affected row with its corrected score, as a frame. A diagnosis of an incident is kept with
    it. Raises NothingToDo where nothing is logged, NotFound.
    """
    begun = time.perf_counter()
    said = told_by_server(project, incident_of(project, name, incident, since, until))
    if said is not None:
        return said
    span = span_of(project, name, incident=incident, since=since, until=until, now=now)
    found = list(refusals.causes(span.refused, span.rows, span.past_refused))
    released = releases(project, name, span)
    found += released.causes
    looked = _fingerprints(span, blamed=bool(released.causes))
    found += looked.causes
    known = outcomes.look(project, name, span, _schema(project, name, span), blamed=bool(found))
    found += known.causes
    rows = traffic.look(project, span, found, moved=looked.moved)
    found += [rows.cause] if rows.cause is not None else []
    if not found:
        found = alarmed.unnamed(span, looked)
        looked = alarmed.without_harmless(looked, found)
    own = set(span.incident.columns) if span.incident is not None else set()
    found = [_weighed(one, looked.moved) for one in found]
    # Of equally sure causes those with an effect come first, and of them that of what alarmed.
    found.sort(key=lambda one: (ORDER[one.confidence], not one.effect.matters, not own & set(one.columns)))
    told = [*released.told, *known.told, *rows.lines, *_events(project, span)]
    found = before.dated(project, name, span, found[:3])
    causes = tuple(_told(_joined(project, span, one), span) for one in found)
    rollback, helps = _rollback(project, name, span, causes)
    answer = Diagnosis(
        found=bool(causes),
        headline=_headline(span, causes, project),
        causes=causes,
        harmless=looked.harmless,
        ruled_out=tuple(_ruled_out(span, released, looked, causes)),
        not_seen=tuple(_not_seen(span, looked)),
        told=tuple(one for one in told if not any(_says(cause, one) for cause in causes)),
        checked={**_checked(span, looked), **known.facts},
        rollback=rollback,
        next=_next(span, causes, rollback, helps),
        reproduce=_reproduce(span, incident),
        zone=project.zone,
        seconds=time.perf_counter() - begun,
        touched=_touched(project, name, span, causes) if touched else None,
    )
    _keep(project, name, span, answer, now)
    return answer


def _schema(project: Project, name: str, span: Span) -> Schema:
    return span.replayer.version.schema if span.replayer is not None else project.schema(name)


def _touched(project: Project, name: str, span: Span, causes: tuple[Cause, ...]) -> pl.DataFrame:
    everything = span.rows if span.total == span.rows.height else everything_of(project, name, span)
    before = next((str(one.facts["before"]) for one in causes if one.kind == "release"), "")
    return of_span(span, everything, causes, load(project, name, before) if before else None)


def _weighed(cause: Cause, moved: float) -> Cause:
    """A change of inputs that explains next to nothing of a real shift of predictions is not what broke the model.

    `moved` is that shift in units of the worst past day: up to 1 it is one of those that days bring.
    """
    share = cause.effect.share_of_shift
    if cause.kind == "release" or moved <= 1.0 or share is None or share >= LITTLE:
        return cause
    return replace(cause, confidence="possible")


def _fingerprints(span: Span, *, blamed: bool) -> Search:
    """What kind of change the inputs show. Under a wrong version only the inputs are asked, not the predictions."""
    if len(span.past) < thresholds.MIN_PAST or span.rows.height < thresholds.MIN_ROWS:
        return Search((), (), {}, 0.0, ())
    kinds = {c: k for c, k in span.kinds.items() if c in span.rows.columns}
    score = span.replayer.scores if span.replayer is not None else None
    threshold = (
        span.replayer.version.threshold
        if span.replayer is not None and span.replayer.version.task == "binary"
        else None
    )
    rows = span.rows
    if span.replayer is not None and rows["mw.version"].n_unique() > 1:
        rows = rows.with_columns(pl.Series("mw.score", span.replayer.shown(rows)))
    whole = span.total == rows.height and all(one.height < 2_000 for one in span.past)
    looked = search(Case(rows, History(span.past, kinds), score, threshold, whole=whole))
    if blamed:
        return replace(looked, causes=tuple(one for one in looked.causes if one.kind != "drift"))
    return looked


def _joined(project: Project, span: Span, cause: Cause) -> Cause:
    """The cause with the nearest event at or before its onset: it coincides, it is not blamed."""
    if cause.event or cause.since is None:
        return cause
    callers = _callers(span, cause)
    if len(callers) == 1 and span.past_callers and not callers & span.past_callers:
        return replace(cause, event=f"first seen from caller {next(iter(callers))}")
    near = notes.all(project.store, since=cause.since - EVENT_REACH, until=cause.since + timedelta(minutes=5))
    return (
        replace(cause, event=f'coincides with the note "{near[-1].text[:80]}" ({near[-1].at[:16]}Z)') if near else cause
    )


def _says(cause: Cause, line: str) -> bool:
    """Whether a cause names the new caller of a line already."""
    return cause.slice is not None and line.startswith(f"caller {cause.slice[1]}, never seen before")


def _told(cause: Cause, span: Span) -> Cause:
    """The onset as far as it is known, and whom to tell: a day before that is among what is usual was clean."""
    newest = span.past[-1]["mw.time"].max() if span.past else None
    clean = isinstance(newest, datetime) and newest >= span.since - timedelta(hours=1)
    fix = cause.fix
    if cause.slice is not None and cause.slice[0] == "mw.caller" and fix and not _named_in(cause):
        fix = f"tell {cause.slice[1]}: {fix}"
    return replace(cause, from_start=cause.from_start and not clean, fix=fix)


def _named_in(cause: Cause) -> bool:
    """Whether the fix itself says whom to ask."""
    return cause.kind == "release" or cause.form == "volume"


def _callers(span: Span, cause: Cause) -> set[str]:
    """Who sent the affected rows."""
    if cause.slice is not None and cause.slice[0] == "mw.caller":
        return {cause.slice[1]}
    if len(cause.affected) != span.rows.height or "mw.caller" not in span.rows.columns:
        return set()
    return {str(one) for one in span.rows["mw.caller"].filter(pl.Series(cause.affected)).unique()}


def _events(project: Project, span: Span) -> list[str]:
    """Callers that were never seen before, and notes of the span and the day before."""
    said = []
    if span.past_callers and span.rows.height:
        first = span.rows.group_by("mw.caller", maintain_order=True).agg(pl.col("mw.time").min(), pl.len()).drop_nulls()
        new = [one for one in first.iter_rows() if one[0] not in span.past_callers and one[2] >= thresholds.RATE_ROWS]
        said += [f"caller {who}, never seen before, since {at:%Y-%m-%d %H:%M}Z" for who, at, _ in new[:2]]
    found = notes.all(project.store, since=span.since - EVENT_REACH, until=span.until)
    return [*said, *(f'note {one.at[:16]}Z: "{one.text[:80]}"' for one in found[-3:])]


def _headline(span: Span, causes: tuple[Cause, ...], project: Project) -> str:
    who = (
        f"Incident {span.incident.n}"
        if span.incident
        else f"{span.since:%Y-%m-%d %H:%M} to {span.until:%Y-%m-%d %H:%M} UTC"
    )
    past = [frame["mw.score"].drop_nulls() for frame in span.past_answered]
    usual = float(pl.concat(past).mean() or 0.0) if past else None  # type: ignore[arg-type]
    mean = span.rows["mw.score"].mean() if span.rows.height else None
    scores = ""
    if isinstance(mean, float):
        scores = f": mean score {usual:.3g} -> {mean:.3g}" if usual is not None else f": mean score {mean:.3g}"
    onset = [one.since for one in causes if one.since is not None]
    if causes and onset:
        return f"{who}{scores} since {min(onset).astimezone(project.zone).strftime('%Y-%m-%d %H:%M %Z')}"
    if causes:
        return f"{who}{scores}"
    if len(span.past) < thresholds.MIN_PAST:
        few = f"{len(span.past)} past days are too few to say what is usual ({thresholds.MIN_PAST} needed)"
        return f"{who}{scores}: facts only, {few}"
    if span.incident is not None:
        return f"{who}{scores}: no cause with a name was found; it alarmed because: {span.incident.title}"
    return f"{who}{scores}: nothing unusual found in {span.rows.height:,} rows and {len(span.kinds)} columns"


def _ruled_out(span: Span, released: Releases, looked: Search, causes: tuple[Cause, ...]) -> list[str]:
    said = list(released.ruled_out)
    blamed = {column for one in causes for column in one.columns}
    quiet = [c for c, shape in looked.rest.items() if shape <= thresholds.BEYOND and c not in blamed]
    if quiet and looked.rest:
        word = "the other " if blamed else ""
        said.append(f"{word}{len(quiet)} column{'s' if len(quiet) != 1 else ''} (within {len(span.past)} past days)")
    if span.rows.height and not span.refused.height:
        said.append("refused requests (none)")
    return said


def _not_seen(span: Span, looked: Search) -> list[str]:
    said = [*span.notes, *looked.not_seen]
    if len(span.past) < thresholds.MIN_PAST:
        said.insert(
            0, f"changes of inputs: {len(span.past)} past days at these hours, {thresholds.MIN_PAST} are needed"
        )
    elif span.left_out:
        said.append(f"{span.left_out} past days were left out: marked bad or part of an incident")
    return said


def _checked(span: Span, looked: Search) -> dict[str, Any]:
    return {
        "since": span.since,
        "until": span.until,
        "rows": span.rows.height,
        "of_rows": span.total,
        "refused": span.refused.height,
        "past_days": len(span.past),
        "columns": list(span.kinds),
        "version": span.version,
        "moved": round(looked.moved, 3),
        "shapes": {c: round(float(v), 3) for c, v in sorted(looked.shapes.items(), key=lambda one: -one[1])},
    }


def _rollback(project: Project, name: str, span: Span, causes: tuple[Cause, ...]) -> tuple[str, bool]:
    """Whether the version before would have answered this span as usual, in words."""
    previous = project.journal(name).previous()
    if previous is None or not causes or span.replayer is None or not span.rows.height or len(span.past_answered) < 2:
        return "", False
    if causes[0].kind == "rows" and causes[0].form in ("volume", "late"):
        return "", False
    if any(one.facts.get("refused") for one in causes[:1]):
        return f"would not help: {previous} reads the same fields", False
    release = next((one for one in causes if one.kind == "release"), None)
    if release is not None:
        before = str(release.facts["before"])
        share = release.effect.share_of_shift
        if release.facts.get("undone"):
            return f"was done: {before} is live again" + (
                f", it takes back {share:.0%} of the shift" if share else ""
            ), False
        return (
            f"would help: {before} takes back {share:.0%} of the shift"
            if share
            else f"would help: {before} answered before",
            True,
        )
    if not model.ours(previous):
        return "", False
    try:
        then = load(project, name, previous).shown(span.rows)
    except MiddlewatchError as error:
        return f"not known: {error.what}", False
    pooled = np.concatenate([one["mw.score"].drop_nulls().to_numpy() for one in span.past_answered])
    gone, left = wasserstein(span.rows["mw.score"].to_numpy(), pooled), wasserstein(then, pooled)
    share = 1 - left / gone if gone else 0.0
    if share >= thresholds.RELEASE_REMOVES:
        return f"would help: {previous} takes back {share:.0%} of the shift", True
    named = causes[0].columns[:1]
    return f"would not help: {previous} " + (f"reads the same {named[0]}" if named else "answers much the same"), False


def _next(span: Span, causes: tuple[Cause, ...], rollback: str, helps: bool) -> str:
    if not causes:
        return f"middlewatch incidents {span.incident.n}" if span.incident is not None else "middlewatch status"
    first = causes[0]
    if helps:
        return f"middlewatch rollback --dry-run   ({rollback})"
    if first.facts.get("undone"):
        keep_out = (
            f"middlewatch incidents {span.incident.n} mark-bad" if span.incident is not None else "middlewatch status"
        )
        return f"{keep_out}   ({first.fix})"
    share = first.effect.share_of_shift
    if first.confidence != "certain" and share is not None and share < LITTLE:
        # Undoing it would change the data and cure nothing.
        return "look for what moved several columns at once; then, if this is how things are now,  middlewatch retrain"
    said = first.fix
    if rollback:
        said += f"; or  middlewatch rollback --dry-run   ({rollback})"
    elif span.incident is not None:
        said += f"; then  middlewatch incidents {span.incident.n} mark-bad"
    return said


def _reproduce(span: Span, incident: int | None) -> str:
    if span.incident is not None or incident is not None:
        return f"middlewatch why {span.incident.n if span.incident else incident}"
    return f"middlewatch why --since {span.since.isoformat()} --until {span.until.isoformat()}"


def _keep(project: Project, name: str, span: Span, answer: Diagnosis, now: datetime) -> None:
    """Keep the diagnosis with its incident, once for each different answer: pages and messages show it."""
    if span.incident is None:
        return
    kept = answer.to_dict()
    known = dict(span.incident.why or {})
    if [one.get("detail") for one in known.get("causes") or ()] == [one["detail"] for one in kept["causes"]] and known:
        return
    project.incidents(name).add(span.incident.n, "update", at=now, actor=ACTOR, why=kept)

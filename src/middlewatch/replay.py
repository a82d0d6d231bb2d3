"""Logged rows on another version: what it would have answered, and whether that would be better.

Trees answer the same row the same way for ever, so a replay is proof where a statistic is a hint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import data, gate, metrics, model, own, predictions
from .errors import MiddlewatchError
from .targets import target_of
from .times import day_bounds

if TYPE_CHECKING:
    from .predictors import Predictor
    from .project import Project
    from .schema import Task

Floats = NDArray[np.float64]

REPLAYED_ROWS = 500
# Relative difference under which a replayed score is the logged one; trees agree to the bit. Of features: whatever
# order they were summed up in.
SAME = 1e-9
# Days of own history that say what is usual.
USUAL_DAYS = 14
# A rollback helps where it takes back at least this share of the shift.
HELPS = 0.5
# Fewer rows than this after both were trained say too little of which is better.
LEAST_HOLDOUT = 200


@dataclass(frozen=True, slots=True)
class Replayer:
    """A loaded version: `scores` of a frame of observations or typed rows, (n,) or (n, classes)."""

    version: model.ModelVersion
    predictor: Predictor

    @property
    def threshold(self) -> float | None:
        """From where on a binary model decides for the second class; None of others."""
        return self.version.threshold if self.version.task == "binary" else None

    def scores(self, rows: pl.DataFrame) -> Floats:
        """Score rows; an input that they do not have is missing in all of them."""
        absent = [pl.lit(None).alias(name) for name in self.version.encoding.names if name not in rows.columns]
        matrix = self.version.encoding.encode(rows.with_columns(absent) if absent else rows)
        return self.predictor.batch(matrix, threads=os.cpu_count() or 1)

    def shown(self, rows: pl.DataFrame) -> Floats:
        """The number a caller is shown (`mw.score`): the score, or the likeliest class' probability; (n,)."""
        scores = self.scores(rows)
        return scores if scores.ndim == 1 else scores.max(axis=1)

    def answers_otherwise(self, rows: pl.DataFrame) -> NDArray[np.bool_] | None:
        """Which of these logged rows (all of this version) bear another score than it gives to their inputs; None where
        the log does not hold those inputs as they were sent.
        """
        schema = self.version.schema
        if any(one.private for one in schema.features) or not set(self.version.encoding.names) <= set(rows.columns):
            return None
        logged = rows["mw.score"].fill_null(float("nan")).to_numpy()
        # A score that is missing, too, is not what a version gives.
        same: NDArray[np.bool_] = np.abs(self.shown(rows) - logged) <= SAME * np.maximum(np.abs(logged), 1e-6)
        return ~same

    def decisions(self, rows: pl.DataFrame) -> NDArray[Any]:
        """What follows from the score: over the threshold, the class, or the value itself; (n,)."""
        task: Task = self.version.schema.task
        found = metrics.decisions(task, self.scores(rows), self.version.threshold)
        # By name: two versions may know other classes, or in another order.
        return np.array(self.version.classes)[found] if task == "multiclass" else found

    def features_apart(self, rows: pl.DataFrame) -> list[dict[str, tuple[Any, Any]]] | None:
        """For each row, by feature, what the project's `features` gave when it was served and gives now, where they
        differ. None where there is nothing to compare; raises what that code raises.
        """
        prepared = getattr(self.predictor, "prepared", None)
        if prepared is None or predictions.FEATURES not in rows.columns or not rows.height:
            return None
        again = prepared(self.version.encoding.encode(rows))
        pairs = enumerate(rows[predictions.FEATURES])
        return [_apart(served, own.shown(again, at)) if served is not None else {} for at, served in pairs]


def _apart(served: str, again: bytes | None) -> dict[str, tuple[Any, Any]]:
    then = json.loads(served)
    now = json.loads(again) if again is not None else {}
    # Of a row that was too long to be kept whole the first features are there.
    return {name: (value, now.get(name)) for name, value in then.items() if not _same(value, now.get(name))}


def _same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return bool(abs(one - other) <= SAME * max(1.0, abs(other)) if numbers else one == other)


def load(project: Project, name: str, version: str) -> Replayer:
    """A version ready to answer again. Raises NotFound, Refused where it no longer answers its golden rows."""
    found = model.load(project.store, name, version)
    return Replayer(found, model.predictor(project.store, found))


class Replayers:
    """The versions of one model, each loaded once, when it is asked for.

    `get` gives None for one of another service, and, with a line in `notes`, for one that does not load: whoever
    watches sees less then, and goes on.
    """

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self._name = name
        self._loaded: dict[str, Replayer | None] = {}
        self.notes: list[str] = []

    def get(self, version: str) -> Replayer | None:
        if version not in self._loaded:
            self._loaded[version] = None
            try:
                if model.ours(version):
                    self._loaded[version] = load(self._project, self._name, version)
            except MiddlewatchError as error:
                self.notes.append(f"past predictions of {version} are left out: {error.what}")
        return self._loaded[version]


def missing_inputs(project: Project, name: str, wanted: model.ModelVersion) -> list[str]:
    """Inputs of a version that callers do not send today, in words: the live version does not ask for them."""
    live = project.journal(name).live()
    if live is None or not model.ours(live):
        return []
    asked = set(model.load(project.store, name, live).encoding.names)
    return [
        f"{wanted.version} needs {column}, which callers do not send"
        for column in wanted.encoding.names
        if column not in asked
    ]


def compare_on_holdout(
    project: Project, champion: model.ModelVersion, candidate: model.ModelVersion
) -> list[gate.Verdict]:
    """Both on the newer one's rows that came after both were trained: the gate's lines against a champion.

    Where there are too few such rows, that is a failed line: on rows that one of the two has learnt, it would win.
    """
    ends = [str(one.manifest["trained_until"] or "") for one in (champion, candidate)]
    newer = candidate if ends[1] >= ends[0] else champion
    rows = data.frame(project.store, newer.model, newer.data)
    if newer.schema.time is None:
        unknown = "without a time column no rows are known that neither has learnt; retrain, then promote what it makes"
        return [gate.verdict("not_worse", False, unknown)]
    if max(ends):
        rows = rows.filter(pl.col(newer.schema.time) > datetime.fromisoformat(max(ends)))
    truth = target_of(rows, newer.schema)
    rows, truth = rows.filter(pl.Series(np.isfinite(truth))), truth[np.isfinite(truth)]
    if truth.size < LEAST_HOLDOUT:
        few = f"{truth.size} rows came after both were trained, {LEAST_HOLDOUT} are needed to compare them"
        return [gate.verdict("not_worse", False, few)]
    replayers = [Replayer(one, model.predictor(project.store, one)) for one in (champion, candidate)]
    old, new = (metrics.aligned(one.scores(rows), one.version.classes, newer.schema.classes) for one in replayers)
    return gate.against_scores(
        newer.schema.task,
        truth,
        old,
        new,
        wanted=project.settings(newer.model).gate,
        champion_inputs=champion.encoding.names,
        challenger_inputs=candidate.encoding.names,
    )


def would_help(project: Project, name: str, version: str, *, rows: int = REPLAYED_ROWS) -> dict[str, Any]:
    """The last logged requests on another version: mean scores, decisions that differ, and a verdict in words.

    Where the newest open incident has a diagnosis, that decides: a wrong release is cured by what answered before
    it, a changed input only by a version that does not read it. Else the replay decides: it helps where predictions
    have left what was usual and the other version's lie at least half way back (distances are Wasserstein's, in
    score units). `helps` is None where there is nothing to cure or to compare with.
    """
    recent = latest(project, name, rows)
    if not recent.height:
        return {"rows": 0, "helps": None, "verdict": "nothing is logged that could be replayed"}
    other = load(project, name, version)
    then = other.shown(recent)
    now = recent["mw.score"].to_numpy()
    facts: dict[str, Any] = {
        "rows": recent.height,
        "version": version,
        "score_now": float(now.mean()),
        "score_then": float(then.mean()),
        "decisions_changed": _changed(project, name, project.journal(name).live(), other, recent),
    }
    diagnosed = _by_diagnosis(project, name, other.version)
    if diagnosed is not None:
        return {**facts, **diagnosed}
    return {**facts, **_by_distance(project, name, version, now, then, before=recent["mw.time"].min())}


def _by_diagnosis(project: Project, name: str, target: model.ModelVersion) -> dict[str, Any] | None:
    """What the kept diagnosis of the newest open incident says about going back to a version; None without one."""
    active = [one for one in project.incidents(name).active() if one.why and one.why.get("causes")]
    if not active:
        return None
    incident = max(active, key=lambda one: one.n)
    cause = (incident.why or {})["causes"][0]
    said = f"(incident {incident.n}: {cause['detail']})"
    if cause["kind"] == "release":
        before = cause.get("facts", {}).get("before")
        helps = before == target.version
        words = f"{before} answered before" if before else f"{target.version} is not what answered before"
    else:
        read = [one for one in cause.get("columns") or () if one in target.encoding.names]
        helps = not read
        words = f"{target.version} reads the same {', '.join(read)}" if read else f"{target.version} does not read it"
    verdict = f"rolling back to {target.version} would {'' if helps else 'not '}help: {words} {said}"
    return {"helps": helps, "verdict": verdict}


def _by_distance(
    project: Project, name: str, version: str, now: Floats, then: Floats, *, before: Any
) -> dict[str, Any]:
    usual = _usual_days(project, name, before=before)
    if len(usual) < 2:
        return {"helps": None, "verdict": "too little history to say whether that is better"}
    pooled = np.concatenate(usual)
    worst = max(distance(day, pooled) for day in usual)
    gone, left = distance(now, pooled), distance(then, pooled)
    facts = {"score_usual": float(pooled.mean()), "distance_now": gone, "distance_then": left, "distance_usual": worst}
    if gone <= worst:
        return {**facts, "helps": None, "verdict": "predictions are as usual: there is nothing to cure"}
    share = 1 - left / gone
    helps = bool(share >= HELPS)
    word = f"it takes back {share:.0%} of the shift" if share > 0 else "it takes back nothing of the shift"
    verdict = f"rolling back to {version} would {'' if helps else 'not '}help: {word}"
    return {**facts, "helps": helps, "verdict": verdict}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How two versions answer the same rows: `decisions` is the share that differ, `order` the rank correlation."""

    decisions: float
    order: float


def disagreement(a: Replayer, b: Replayer, rows: pl.DataFrame) -> Disagreement:
    """Compare two versions on some rows. Decisions of a regression are values, so their share stays 0."""
    ranks = pl.DataFrame({"a": a.shown(rows), "b": b.shown(rows)}).select(pl.corr("a", "b", method="spearman"))
    order = float(ranks.item())
    values = a.version.task == "regression"
    share = 0.0 if values else float((a.decisions(rows) != b.decisions(rows)).mean())
    # Scores that are all the same have no order to disagree in.
    return Disagreement(share, order if np.isfinite(order) else 1.0)


def latest(project: Project, name: str, rows: int) -> pl.DataFrame:
    """The newest logged predictions by received time, oldest first; reads back no further than it must."""
    store, spool = project.store, project.spool(name)
    days = sorted({one.day for one in predictions.files(store, name, by="received")}, reverse=True)
    # Back by one day, two, four: a thin log is read twice in all, a dense one no further than it must be.
    starts = [datetime.combine(days[2**power - 1], time.min, UTC) for power in range(len(days).bit_length())]
    for since in (*starts, None):
        seen = predictions.read(store, spool, name, since=since, by="received", columns=["mw.id", "mw.received"])
        if seen.height >= rows:
            break
    if not seen.height:
        return seen
    first = seen.sort("mw.received", "mw.id").tail(rows)["mw.received"][0]
    whole = predictions.read(store, spool, name, since=first, until=None, by="received")
    return whole.sort("mw.received", "mw.id").tail(rows)


def distance(a: Floats, b: Floats) -> float:
    """Wasserstein's distance of two samples: the mean gap between their quantiles, in their own unit."""
    at = np.linspace(0.005, 0.995, 100)
    return float(np.abs(np.quantile(a, at) - np.quantile(b, at)).mean())


def _changed(project: Project, name: str, live: str | None, other: Replayer, rows: pl.DataFrame) -> int | None:
    """Rows on which the two versions decide differently; None where decisions are values (regression)."""
    if live is None or not model.ours(live) or other.version.task == "regression":
        return None
    return int((load(project, name, live).decisions(rows) != other.decisions(rows)).sum())


def _usual_days(project: Project, name: str, *, before: Any) -> Sequence[Floats]:
    """Scores as served (or out of fold) on the newest whole days before a moment, days with marked rows left out."""
    marks = project.incidents(name).marks()
    incidents = [one.since for one in project.incidents(name).active() if one.since]
    windows = project.windows(name)
    # Rows of a running incident are no yardstick for it.
    limit = min([before, *(datetime.fromisoformat(one) for one in incidents)])
    found: list[Floats] = []
    for day in reversed(windows.days()):
        start, end = day_bounds(day, project.zone)
        if end > limit or any(one.covered(start, end) for one in marks):
            continue
        sample = windows.day(day).sample
        if sample.height:
            found.append(sample["mw.score"].drop_nulls().to_numpy())
        if len(found) == USUAL_DAYS:
            break
    return found

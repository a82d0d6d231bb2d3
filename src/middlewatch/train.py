"""Training: snapshot, tests, a model on the earlier rows, its worth on the later ones, a record of all of it.

Nothing is released here. Rows are split by event time: the last fifth (or what came after the live version's own
training rows) is the holdout, so a model is judged as it will be used, on what comes after what it knows. The
version that is stored is the one that was measured; it is not grown again on all rows.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import admission, data, gate, history, learners, metrics, model, own, retention, tables
from .encoding import Encoding, Plain
from .environment import software
from .errors import ConfigError, NothingToDo, Refused, UsageError
from .predictors import OWN
from .targets import target_of
from .times import iso
from .usercode import UserCode, call_at

if TYPE_CHECKING:
    from .project import Project
    from .schema import Schema

Floats = NDArray[np.float64]
Progress = Callable[[str], None]

HOLDOUT_SHARE = 0.2
# Fewer rows than this after the champion's own say too little; the last fifth is taken instead.
HOLDOUT_MINIMUM = 500
GOLDEN_ROWS = 20
# The slowest row of the default model that passes where nothing is set: ten times what it takes.
LATENCY_US = 1000.0
# A row alone and among others: BLAS may add in another order, a mean over the batch moves far more than this.
SAME = 1e-6
SMALLEST_TABLE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What `train` made: `metrics` with intervals on the holdout, `champion` the live version it was held against."""

    version: str
    data: str
    metrics: Mapping[str, Mapping[str, float]]
    champion: str | None
    gate: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    rows: int = 0
    holdout_rows: int = 0
    left_out: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return gate.passed(self.gate)

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "data": self.data,
            "rows": self.rows,
            "holdout_rows": self.holdout_rows,
            "left_out": self.left_out,
            "metrics": self.metrics,
            "champion": self.champion,
            "gate": self.gate,
            "notes": self.notes,
            "seconds": round(self.seconds, 2),
        }


@dataclass(frozen=True, slots=True)
class _Split:
    """Encoded rows in training order: those before `cut` are learnt from, the rest is the holdout.

    `matrix` is what the encoding makes of `frame`: numbers, or a frame of plain values for code of the user's own.
    """

    frame: pl.DataFrame
    matrix: Any
    target: Floats
    cut: int

    @property
    def truth(self) -> Floats:
        return self.target[self.cut :]


@dataclass(frozen=True, slots=True)
class _Grown:
    """A model and what was measured of it: `scores` of the holdout, `latency` in microseconds a row."""

    fitted: learners.Fitted
    learner: learners.Learner
    encoding: Encoding
    scores: Floats
    worth: Mapping[str, Mapping[str, float]]
    golden: Mapping[str, Any]
    stable: bool
    latency: float


def train(
    project: Project,
    name: str,
    *,
    source: str | None = None,
    seed: int = 0,
    force: str | None = None,
    now: datetime,
    actor: str,
    progress: Progress = lambda line: None,
) -> Trained:
    """Make the next model version from the configured source, another table, or a data version (`d7`).

    Raises Refused where the data fail their tests or hold a certain fault that the data of the last model had not
    (unless `force` gives a reason, which is recorded), NothingToDo where too few rows are left to learn from,
    TableError and NotFound for a source that is not there.
    """
    started = time.perf_counter()
    schema = project.schema(name)
    code = _own_code(project, name, schema)
    snapshot = take_snapshot(project, name, source, now=now, actor=actor, progress=progress)
    live = project.journal(name).live()
    champion = model.load(project.store, name, live) if live and model.ours(live) else None
    rows = data.frame(project.store, name, snapshot.version)
    progress("looking for faults that the data before had not")
    faults = admission.faults(project, name, schema, snapshot, rows, champion)
    if not force:
        admission.refuse(snapshot, faults)
    usable, notes = _usable(rows, schema)
    notes += faults.notes()
    encoding, learner = _learner(project, name, schema, usable, code)
    split = _split(usable, schema, encoding, champion)
    progress(f"learning from {split.cut:,} rows, {len(encoding.names)} columns")
    grown = _grow(schema, split, encoding, learner, seed)
    notes += _own_score(code, schema, split, grown)
    gate_lines = _gate(project, name, split, grown, champion, _latency_limit(project, name, code))
    gate_lines += faults.verdicts()
    manifest = {
        "data": snapshot.version,
        "data_sha256": snapshot.sha256,
        "data_ok": snapshot.ok,
        "data_faults": faults.facts(),
        "forced": force,
        "threshold": project.settings(name).threshold,
        "compared_with": live if champion else None,
        "gate": gate_lines,
        "code": _commit(project),
        "notes": notes,
        "seed": seed,
        **_record(schema, split, grown),
    }
    version = model.publish(project.store, name, files=_files(schema, grown), manifest=manifest, now=now, actor=actor)
    if schema.time:
        progress("scoring the training days by models that have not seen them, as history for the monitor")
        _keep_history(project, name, schema, split, grown, version, now, seed)
    _expire(project, name)
    return Trained(
        version=version,
        data=snapshot.version,
        metrics=grown.worth,
        champion=live,
        gate=gate_lines,
        seconds=time.perf_counter() - started,
        rows=split.cut,
        holdout_rows=int(split.truth.size),
        left_out=list(snapshot.manifest["left_out"]),
        notes=notes,
    )


def _expire(project: Project, name: str) -> None:
    """Trainings pile up: let go of what the newest ones, what is live and where a rollback goes do not need."""
    state = project.journal(name).state()
    held = {*state.live.values(), *(one for channel in state.live if (one := state.previous(channel)))}
    ours = [one for one in held if model.ours(one)]
    needed = {model.load(project.store, name, one).data for one in ours}
    # The data that the next snapshot is held against: after a run of faulty ones it may be an old one.
    sound = [one["data"] for one in model.versions(project.store, name) if not one.get("data_faults")]
    needed |= set(sound[-1:])
    retention.expire_data(project.store, name, kept=project.config.store.keep_data, needed=needed)
    retention.expire_scores(project.store, name, needed=ours)


def _own_code(project: Project, name: str, schema: Schema) -> UserCode | None:
    """The model's own code as it stands in the project, None where it has none. Raises ConfigError."""
    settings = project.settings(name)
    where = f"[models.{name}] in {project.config.path.name}"
    known = [one.name for one in metrics.METRICS[schema.task]]
    if settings.gate.metric not in (None, *known):
        raise ConfigError(
            f'"{settings.gate.metric}" is no metric of a {schema.task} model',
            where=f"gate of {where}",
            fix=f"one of {', '.join(known)}",
        )
    if settings.train is None:
        if settings.files:
            raise ConfigError("files are pinned for code of your own", where=where, fix='train = "train.py"')
        return None
    return UserCode.of(project.root, settings.train, settings.files, where=where)


def _learner(
    project: Project, name: str, schema: Schema, rows: pl.DataFrame, code: UserCode | None
) -> tuple[Encoding, learners.Learner]:
    """Who learns, and from what: the default model on numbers, or the project's own code on plain values."""
    if code is None or (code.function("features") is None and code.function("train") is None):
        encoding = Encoding.of(schema, rows)
        return encoding, learners.Trees(
            task=schema.task,
            classes=len(schema.classes),
            names=encoding.names,
            categorical=encoding.categorical,
        )
    plain = Plain.of(schema, rows)
    settings = project.settings(name)
    return plain, own.OwnLearner(
        code=code, schema=schema, encoding=plain, frame=settings.frame, serializer=settings.serializer
    )


def _latency_limit(project: Project, name: str, code: UserCode | None) -> float:
    """The gate's limit in microseconds: as it is set; else 1000 for the default model, none for one's own code."""
    wanted = project.settings(name).gate.latency_us
    return wanted if wanted is not None else LATENCY_US if code is None else float("inf")


def _own_score(code: UserCode | None, schema: Schema, split: _Split, grown: _Grown) -> list[str]:
    """What the project's `score(model, table, target)` says of the holdout, as notes.

    It gets what `train` gets: the model that it made (the default one has `predict`), and rows as `features` gives.
    """
    judge = code.function("score") if code else None
    if judge is None or code is None:
        return []
    predictor, rows = grown.fitted.predictor, split.matrix[split.cut :]
    table: Any = split.frame[split.cut :].select(grown.encoding.names)
    judged: Any = _Asked(lambda given: predictor.batch(grown.encoding.encode(given)))
    target: Any = split.truth
    if isinstance(predictor, own.OwnPredictor) and isinstance(grown.learner, own.OwnLearner):
        table, target = predictor.prepared(rows), grown.learner.target(target)
        judged = _Asked(predictor.score) if predictor.model is None else predictor.model
    try:
        facts = judge(judged, table, target)
        return [f"{code.entry} score(): {key} {float(value):.6g}" for key, value in dict(facts).items()]
    except Exception as error:
        raise UsageError(
            f"score() of {code.entry} fails",
            why=f"{type(error).__name__}: {error}",
            fix="score(model, table, target) gives a dict of numbers",
        ) from error


@dataclass(frozen=True, slots=True)
class _Asked:
    """The default model as code of the user's own sees it."""

    predict: Callable[[Any], Floats]


def take_snapshot(
    project: Project,
    name: str,
    source: str | None = None,
    *,
    now: datetime,
    actor: str,
    progress: Progress = lambda line: None,
) -> data.DataVersion:
    """The data version that a source is now: the one named `d7`, or a table kept (rows marked bad left out).

    Without `source` the project's own; raises ConfigError where it has none.
    """
    source = source or project.settings(name).source
    if source is None:
        raise ConfigError(
            f"model {name} has no source to train on",
            where=f"[models.{name}] in {project.config.path.name}",
            fix='source = "data.parquet", or middlewatch train --data TABLE',
        )
    if source[:1] == "d" and source[1:].isdigit():
        return data.load(project.store, name, source)
    progress(f"reading {source}")
    if ".py:" in source:
        raw = tables.from_frame(call_at(project.root, source), source=source)
    else:
        raw = tables.scan(source, base=project.root)
    return data.snapshot(
        project.store,
        name,
        raw,
        project.schema(name),
        zone=project.zone,
        now=now,
        actor=actor,
        leave_out=project.incidents(name).marks(),
        rules=project.rules(name),
        base=project.root,
    )


def _usable(rows: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, list[str]]:
    notes: list[str] = []
    usable = rows.filter(pl.col(schema.target).is_not_null())
    if usable.height < rows.height:
        notes.append(f"{rows.height - usable.height:,} rows without {schema.target} were left out")
    if schema.time and usable[schema.time].null_count():
        before = usable.height
        usable = usable.filter(pl.col(schema.time).is_not_null())
        notes.append(f"{before - usable.height:,} rows without {schema.time} were left out")
    if usable.height < SMALLEST_TABLE:
        raise NothingToDo(
            f"{usable.height} rows with a target are too few to learn from",
            why=f"at least {SMALLEST_TABLE} are needed",
            fix="give more data: middlewatch train --data TABLE",
        )
    return usable, notes


def _split(rows: pl.DataFrame, schema: Schema, encoding: Encoding, champion: model.ModelVersion | None) -> _Split:
    target = target_of(rows, schema)
    known = np.isfinite(target)
    if not known.all():
        rows, target = rows.filter(pl.Series(known)), target[known]
    if schema.time is None:
        # Without a time there is no later: a seeded shuffle stands in for it.
        order = np.random.default_rng(0).permutation(rows.height)
        rows, target = rows[order], target[order]
    cut = int(rows.height * (1 - HOLDOUT_SHARE))
    seen = champion.manifest["trained_until"] if champion else None
    if schema.time and seen:
        after = int((rows[schema.time] <= datetime.fromisoformat(seen)).sum())
        if rows.height - after >= HOLDOUT_MINIMUM:
            cut = max(cut, after)
    if schema.task != "regression" and len(np.unique(target[:cut])) < 2:
        raise Refused(
            f"{schema.target} has one value only in the {cut:,} rows before the holdout",
            why="a model of one class cannot be told from a constant",
            fix="train on a longer or a mixed period",
        )
    return _Split(rows, encoding.encode(rows), target, cut)


def _grow(schema: Schema, split: _Split, encoding: Encoding, learner: learners.Learner, seed: int) -> _Grown:
    fitted = learner.fit(split.matrix[: split.cut], split.target[: split.cut], seed=seed)
    scores = fitted.predictor.batch(split.matrix[split.cut :], threads=learners.THREADS)
    if fitted.kind == OWN and not np.isfinite(scores).all():
        raise Refused("the model gives scores that are not numbers", fix="let it answer every row, missing values too")
    golden, stable = _golden(split, encoding, fitted)
    return _Grown(
        fitted=fitted,
        learner=learner,
        encoding=encoding,
        scores=scores,
        worth=metrics.evaluate(schema.task, split.truth, scores, seed=seed),
        golden=golden,
        stable=stable,
        latency=_latency(encoding, fitted, golden["rows"]),
    )


def _golden(split: _Split, encoding: Encoding, fitted: learners.Fitted) -> tuple[dict[str, Any], bool]:
    """Rows spread over the holdout with their scores, and whether scoring them twice gives the same.

    Raises Refused where a row alone is scored otherwise than among the others.
    """
    spread = np.linspace(split.cut, split.frame.height - 1, GOLDEN_ROWS).astype(int)
    frame = split.frame[spread].select(encoding.names)
    rows = frame.to_dicts()
    first = [fitted.predictor.row(encoding.encode_row(row)) for row in rows]
    second = [fitted.predictor.row(encoding.encode_row(row)) for row in rows]
    together = fitted.predictor.batch(encoding.encode(frame))
    stable = model.agree(first, second, fitted.tolerance)
    if stable and not model.agree(first, together.tolist(), max(fitted.tolerance, SAME)):
        raise Refused(
            "a row alone gets another score than the same row among others",
            why="features() or the model looks at more than one row at a time",
            fix="compute means, ranks and the like in train(), and keep them in the model",
        )
    return {"rows": rows, "scores": first}, stable


def _latency(encoding: Encoding, fitted: learners.Fitted, golden: Sequence[Mapping[str, Any]]) -> float:
    """Median microseconds a row, asked one by one, for some tenths of a second."""
    rows = [encoding.encode_row(row) for row in golden]
    spent: list[float] = []
    started = time.perf_counter()
    while len(spent) < 3 or (len(spent) < 100 and time.perf_counter() - started < 0.5):
        before = time.perf_counter_ns()
        for row in rows:
            fitted.predictor.row(row)
        spent.append((time.perf_counter_ns() - before) / 1000 / len(rows))
    return float(np.median(spent))


def _gate(
    project: Project, name: str, split: _Split, grown: _Grown, champion: model.ModelVersion | None, limit: float
) -> list[gate.Verdict]:
    schema = project.schema(name)
    lines = _gate_alone(schema, split, grown, limit)
    if champion is None:
        return lines
    old = model.predictor(project.store, champion).batch(champion.encoding.encode(split.frame[split.cut :]))
    return lines + gate.against_scores(
        schema.task,
        split.truth,
        metrics.aligned(old, champion.classes, schema.classes),
        grown.scores,
        wanted=project.settings(name).gate,
        champion_inputs=champion.encoding.names,
        challenger_inputs=grown.encoding.names,
    )


def _gate_alone(schema: Schema, split: _Split, grown: _Grown, latency_limit: float) -> list[gate.Verdict]:
    first = metrics.METRICS[schema.task][0]
    mean = metrics.baseline(schema.task, split.target[: split.cut], split.truth.size)
    return gate.alone(
        schema.task,
        grown.worth,
        first.of(split.truth, mean),
        finite=bool(np.isfinite(grown.scores).all()),
        stable=grown.stable,
        latency_us=grown.latency,
        latency_limit_us=latency_limit,
    )


def _files(schema: Schema, grown: _Grown) -> dict[str, bytes]:
    return {
        **grown.fitted.files,
        "schema.toml": schema.to_toml().encode(),
        "encoding.json": json.dumps(grown.encoding.to_dict()).encode(),
        "golden.json": json.dumps(grown.golden).encode(),
        "env.txt": "\n".join(_packages()).encode(),
    }


def _record(schema: Schema, split: _Split, grown: _Grown) -> dict[str, Any]:
    """What the manifest says of the model itself."""

    def moment(row: int) -> str | None:
        return iso(split.frame[schema.time][row]) if schema.time else None

    return {
        "task": schema.task,
        "kind": grown.fitted.kind,
        "tolerance": grown.fitted.tolerance,
        "target": schema.target,
        "classes": list(schema.classes),
        "inputs": list(grown.encoding.names),
        "rows": split.cut,
        "holdout_rows": int(split.truth.size),
        "trained_until": moment(split.cut - 1),
        "holdout_from": moment(split.cut),
        "settings": dict(grown.fitted.settings),
        "metrics": grown.worth,
        "score_mean": float(grown.scores.mean()),
        "latency_us": round(grown.latency, 2),
        "size_bytes": grown.fitted.size,
        **grown.fitted.facts,
        "environment": software(),
    }


def _keep_history(
    project: Project, name: str, schema: Schema, split: _Split, grown: _Grown, version: str, now: datetime, seed: int
) -> None:
    """Training days become windows of the monitor, with scores of models that had not seen the rows."""
    unseen = learners.out_of_fold(
        grown.learner,
        split.matrix[: split.cut],
        split.target[: split.cut],
        outputs=grown.scores.shape[1] if grown.scores.ndim == 2 else 1,
        seed=seed,
    )
    scores = np.concatenate([unseen, grown.scores])
    history.backfill(project, name, schema, split.frame, scores, version=version, now=now)


def _packages() -> list[str]:
    found = {f"{one.metadata['Name']}=={one.version}" for one in importlib.metadata.distributions()}
    return sorted(found, key=str.lower)


def _commit(project: Project) -> dict[str, Any]:
    """The user's own commit, and whether their tree had changes; empty where the project is in no repository."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=project.root, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=project.root, capture_output=True, text=True, timeout=5, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": head, "dirty": bool(status.strip())}

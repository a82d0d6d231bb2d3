"""Days whose outcomes are new, each measured from the log: the facts that are stored as `quality-0001.json`.

A day is measured when its window is new or changed, or when a label came that belongs to one of its predictions.
What a stored object says of: `of` the window's revision, `files` the label objects that were looked at (each named by
one day only, as log files are in a window). Labels in a server's spool are looked at every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import middlewatch.quality.day as measuring
import middlewatch.quality.estimate as estimates
from middlewatch import labels, metrics, model, predictions
from middlewatch.errors import MiddlewatchError
from middlewatch.profiles import Profile
from middlewatch.targets import target_of
from middlewatch.times import day_bounds
from middlewatch.windows import SCORE

if TYPE_CHECKING:
    from middlewatch.project import Project
    from middlewatch.schema import Schema

Floats = NDArray[np.float64]
Facts = dict[str, Any]

# Predictions read at once while many days are measured.
CHUNK = 400_000
# Days of outcomes that calibrate the scores, as many as the monitor looks back.
CALIBRATING = 90
_OF_RUN = ("written", "files", "judged", "schema", "estimate")


@dataclass(slots=True)
class Stored:
    """The newest facts of every day as they are stored, and the windows' summaries they belong to."""

    summaries: dict[date, Mapping[str, Any]] = field(default_factory=dict)
    quality: dict[date, Mapping[str, Any]] = field(default_factory=dict)

    @staticmethod
    def read(project: Project, name: str) -> Stored:
        stored = Stored()
        for one in project.windows(name).summaries():
            day = date.fromisoformat(one["day"])
            stored.summaries[day] = one
            if one["quality"] is not None:
                stored.quality[day] = one["quality"]
        return stored

    @property
    def files(self) -> frozenset[str]:
        """Names of the label objects that were looked at."""
        return frozenset(one for facts in self.quality.values() for one in facts.get("files", ()))


@dataclass(frozen=True, slots=True)
class Measured:
    """Days measured anew (`facts` by day, oldest first), names of the label objects that were looked at for them, and
    of all that there are.
    """

    facts: dict[date, Facts] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    kept: frozenset[str] = frozenset()


def measure(project: Project, name: str, stored: Stored, *, rebuild: bool = False) -> Measured:
    """Facts of every day whose outcomes or window are new; days that say what is stored are left out."""
    store, spool = project.store, project.spool(name)
    schema = project.schema(name)
    kept = frozenset(labels.name_of(key) for key in labels.files(store, name))
    fresh = kept - stored.files
    logged = {day: one for day, one in stored.summaries.items() if one["source"] == "log"}
    stale = {
        day
        for day, one in logged.items()
        if rebuild or stored.quality.get(day, {}).get("of") != one["revision"] or _was_training(stored, day)
    }
    any_labels = bool(kept or labels.segments(spool))
    hit = _hit(project, name, schema, stored.files) if fresh or labels.segments(spool) else set()
    wanted = sorted(stale | (hit & logged.keys()))
    curve = _curve(schema, stored)
    if not any_labels and curve is None:
        return Measured()  # nothing is known, and nothing can be expected
    found: dict[date, Facts] = {}
    for chunk in _chunks(wanted, logged):
        rows = _joined(project, name, schema, chunk) if any_labels else {}
        for day in chunk:
            part = rows.get(day)
            if any_labels and (part.height if part is not None else 0) < logged[day]["rows"] and day in stored.quality:
                continue  # its rows are past their retention: what was measured of them stays
            facts = _facts(project, name, schema, day, logged[day], part, curve)
            if rebuild or _plain(facts) != _plain(stored.quality.get(day, {})):
                found[day] = facts
    return Measured(found, sorted(fresh), kept)


def _was_training(stored: Stored, day: date) -> bool:
    return stored.quality.get(day, {}).get("source") == "training"


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the day's own rows and outcomes say, without what belongs to the run that wrote it."""
    return {name: one for name, one in facts.items() if name not in _OF_RUN}


def _hit(project: Project, name: str, schema: Schema, known: frozenset[str]) -> set[date]:
    """Local days with a prediction that a label names which was not looked at yet."""
    store, spool = project.store, project.spool(name)
    new = labels.read(store, spool, name, numeric=schema.task == "regression", without=known)
    if not new.height:
        return set()
    log = predictions.scan(store, spool, name, columns=["mw.id", "mw.key", "mw.time"])
    ids = new.lazy().select(pl.col("id").alias("mw.id")).drop_nulls().unique()
    keys = new.lazy().select(pl.col("key").alias("mw.key")).drop_nulls().unique()
    local = pl.col("mw.time").dt.convert_time_zone(str(project.zone)).dt.date()
    named = [
        log.join(one, on=on, how="semi").select(local.alias("day")) for one, on in ((ids, "mw.id"), (keys, "mw.key"))
    ]
    return set(pl.concat(named).unique().collect()["day"].drop_nulls().to_list())


def _chunks(days: Sequence[date], logged: Mapping[date, Mapping[str, Any]]) -> Iterator[list[date]]:
    """Neighbouring days that are read at once, a limited number of rows."""
    chunk: list[date] = []
    for day in days:
        rows = sum(int(logged[one]["rows"]) for one in [*chunk, day])
        if chunk and (day - chunk[-1] != timedelta(days=1) or rows > CHUNK):
            yield chunk
            chunk = []
        chunk.append(day)
    if chunk:
        yield chunk


def _joined(project: Project, name: str, schema: Schema, days: Sequence[date]) -> dict[date, pl.DataFrame]:
    """Predictions of consecutive days with `mw.outcome`, by local day."""
    store, spool = project.store, project.spool(name)
    since, until = day_bounds(days[0], project.zone)[0], day_bounds(days[-1], project.zone)[1]
    columns = ["mw.id", "mw.key", "mw.time", "mw.version", SCORE, "mw.scores", *measuring.categories(schema)]
    frame = predictions.read(store, spool, name, since=since, until=until, by="time", columns=columns)
    held = labels.read(store, spool, name, numeric=schema.task == "regression", about=frame)
    local = pl.col("mw.time").dt.convert_time_zone(str(project.zone)).dt.date().alias("mw.day")
    parts = labels.join(frame, held).frame.with_columns(local).partition_by("mw.day", as_dict=True)
    return {day: rows for (day,), rows in parts.items()}


# ------------------------------------------------------------------ one day


def _facts(
    project: Project,
    name: str,
    schema: Schema,
    day: date,
    summary: Mapping[str, Any],
    rows: pl.DataFrame | None,
    curve: estimates.Curve | None,
) -> Facts:
    threshold = project.settings(name).threshold
    known = rows.drop_nulls("mw.outcome") if rows is not None else pl.DataFrame({"mw.outcome": []})
    facts: Facts = {
        "day": day.isoformat(),
        "of": summary["revision"],
        "source": "log",
        "rows": int(summary["rows"]),
        "labelled": known.height,
        "threshold": threshold,
    }
    if known.height:
        outcome = known.select(pl.col("mw.outcome").alias(schema.target))
        target, score = target_of(outcome, schema), _scores(project, name, schema, known)
        facts |= measuring.facts(schema.task, known, target, score, threshold, measuring.categories(schema))
    else:
        facts |= {"measured": 0, "sums": {}, "metrics": {}, "bins": {}, "slices": {}}
    facts["estimate"] = _estimate(project, name, schema, day, curve, threshold)
    return facts


def _scores(project: Project, name: str, schema: Schema, rows: pl.DataFrame) -> Floats:
    """What was answered: (n,), or (n, classes) in the order of the schema's; NaN where it was not logged."""
    if schema.task != "multiclass":
        single: Floats = rows[SCORE].cast(pl.Float64).to_numpy().astype(np.float64)
        return single
    found = np.full((rows.height, len(schema.classes)), np.nan)
    if "mw.scores" not in rows.columns:
        return found
    for version in rows["mw.version"].unique().to_list():
        own = _classes(project, name, version) or schema.classes
        here = ((rows["mw.version"] == version) & (rows["mw.scores"].list.len() == len(own))).fill_null(False)
        if here.any():
            matrix = np.array(rows["mw.scores"].filter(here).to_list(), dtype=np.float64)
            found[here.to_numpy()] = metrics.aligned(matrix, own, schema.classes)
    return found


def _classes(project: Project, name: str, version: str) -> tuple[str, ...]:
    """The classes of a version in the order of its scores; none where it is not ours or is gone."""
    try:
        if not model.ours(version):
            return ()
        return tuple(model.shelf(project.store, name).manifest(version).get("classes") or ())
    except MiddlewatchError:
        return ()


# ------------------------------------------------------------------ without outcomes


def _curve(schema: Schema, stored: Stored) -> estimates.Curve | None:
    """How scores and outcomes of the last days with outcomes went together; None where too few are known."""
    if schema.task == "regression":
        return None
    held = [one["bins"] for _, one in sorted(stored.quality.items()) if one.get("bins")]
    return estimates.fitted(estimates.added(held[-CALIBRATING:]))


def _estimate(
    project: Project, name: str, schema: Schema, day: date, curve: estimates.Curve | None, threshold: float
) -> dict[str, float] | None:
    """The metrics that a day's scores expect, from its stored profile; None where the scores are not calibrated."""
    if curve is None:
        return None
    found = _points(project.windows(name).day(day).profile)
    if found is None:
        return None
    values, counts = found
    made = estimates.expected(schema.task, curve, values, counts, threshold)
    return {one: float(f"{value:.6g}") for one, value in made.items()}


def _points(profile: Profile) -> tuple[Floats, Floats] | None:
    """Scores of a day, sorted, and how many rows had each: exact while few, else the middle of 16-bit bins."""
    column = profile.columns.get(SCORE)
    if column is None or not column.n:
        return None
    if column.values is not None:
        return column.values.values.astype(np.float64), column.values.counts.astype(np.float64)
    if column.bins is None:
        return None
    return column.points(), column.bins.counts.astype(np.float64)


def written(facts: Facts, *, now: str, files: Sequence[str], judged: Mapping[str, Any] | None) -> Facts:
    """The facts as they are stored."""
    return {**facts, "written": now, "files": list(files), "judged": judged}

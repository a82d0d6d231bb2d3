"""Training days as history for the monitor: it need not wait two months to know what is usual.

Each row is scored by a model that has not seen it, as its own training rows would look too sharp.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

import middlewatch.quality.day as outcomes

from .lenses import training_lens
from .observations import observe
from .profiles import merge, spec_of
from .targets import target_of
from .times import iso
from .windows import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .project import Project
    from .schema import Schema

# The monitor looks back 90 windows, each against the 28 before it, with room for weekly windows of sparse traffic.
DAYS = 365
# The fast channel looks at blocks of the newest 28 days that were calm.
BLOCK_DAYS = 56
SCORED = ("mw.score", "mw.label")


def backfill(
    project: Project,
    name: str,
    schema: Schema,
    rows: pl.DataFrame,
    predicted: NDArray[np.float64],
    *,
    version: str,
    now: datetime,
) -> int:
    """Make windows of training rows and keep their out-of-fold scores under `version`. Returns the days written.

    `rows` are typed and in order of time, `predicted` (n,) or (n, classes). A day that has logged traffic keeps its
    window; days that an earlier training made keep theirs and get the new version's scores beside them. What the
    out-of-fold scores were worth on each day is kept too: the past that the outcomes of served days are held against.
    """
    windows = project.windows(name)
    seen = observe(
        rows,
        schema,
        predicted,
        version=None,  # nobody was answered
        caller="training",
        received=now,
    ).with_columns(pl.format("training-{}", pl.int_range(pl.len())).alias("mw.id"))
    newest = seen["mw.time"].max()
    recent = seen.filter(pl.col("mw.time") > pl.lit(newest) - pl.duration(days=DAYS))
    spec = spec_of(schema, roles=("feature",), score=True, label=schema.task == "multiclass")
    known = set(windows.days())
    lens = training_lens(schema, project.settings(name).threshold)
    last = recent["mw.time"].dt.convert_time_zone(str(project.zone)).dt.date().max()
    since = last - timedelta(days=BLOCK_DAYS) if isinstance(last, date) else date.min
    made = cut(recent, spec, zone=project.zone, lenses=lambda _: lens, blocks_since=since)
    for day, one in made.items():
        if day not in known:
            # Derived from the data version and made again by training: not worth waiting for the disk a day.
            windows.put(
                day,
                hours=one.hours,
                sample=one.sample,
                blocks=one.blocks,
                source="training",
                now=now,
                durable=False,
            )
        profile = merge(one.hours.values())
        kept = {column: profile.columns[column] for column in SCORED if column in profile.columns}
        windows.put_scores(day, version, replace(profile, columns=kept), basis="out_of_fold", durable=False)
    _keep_worth(project, name, schema, rows, predicted, seen["mw.time"], set(made), version=version, now=now)
    return len(made)


def _keep_worth(
    project: Project,
    name: str,
    schema: Schema,
    rows: pl.DataFrame,
    predicted: NDArray[np.float64],
    times: pl.Series,
    days: set[date],
    *,
    version: str,
    now: datetime,
) -> None:
    """Outcomes of training days against their out-of-fold scores, beside the days' windows."""
    windows = project.windows(name)
    threshold = project.settings(name).threshold
    logged = {date.fromisoformat(one["day"]) for one in windows.summaries() if one["source"] == "log"}
    target = target_of(rows, schema)
    local = times.dt.convert_time_zone(str(project.zone)).dt.date()
    columns = outcomes.categories(schema)
    # The days first: of a model with numbers alone no column is picked, and the frame would have no rows.
    picked = rows.select(local.alias("mw.day"), *columns).with_row_index("mw.row")
    for (day,), part in picked.partition_by("mw.day", as_dict=True).items():
        if day not in days or day in logged:
            continue
        at = part["mw.row"].to_numpy()
        facts: dict[str, Any] = {
            "day": day.isoformat(),
            "of": None,
            "source": "training",
            "version": version,
            "rows": part.height,
            "labelled": int(np.isfinite(target[at]).sum()),
            "threshold": threshold,
            **outcomes.facts(schema.task, part, target[at], predicted[at], threshold, columns),
            "estimate": None,
            "judged": None,
            "written": iso(now),
        }
        windows.put_quality(day, facts, durable=False)

"""Training days as history for the monitor: it need not wait two months to know what is usual.

Each row is scored by a model that has not seen it, as its own training rows would look too sharp.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from .observations import observe
from .profiles import merge, spec_of
from .windows import cut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .project import Project
    from .schema import Schema

# The monitor looks back 90 windows, each against the 28 before it, with room for weekly windows of sparse traffic.
DAYS = 365
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
    window; days that an earlier training made keep theirs and get the new version's scores beside them.
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
    made = cut(recent, spec, zone=project.zone)
    for day, one in made.items():
        if day not in known:
            # Derived from the data version and made again by training: not worth waiting for the disk a day.
            windows.put(day, hours=one.hours, sample=one.sample, source="training", now=now, durable=False)
        profile = merge(one.hours.values())
        kept = {column: profile.columns[column] for column in SCORED if column in profile.columns}
        windows.put_scores(day, version, replace(profile, columns=kept), basis="out_of_fold", durable=False)
    return len(made)

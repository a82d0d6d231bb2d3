"""A frame that a nightly job has scored, as a log: what `mw.log` does with tables."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from middlewatch import tables
from middlewatch.errors import NothingToDo, UsageError

from .work import Columns, import_log

if TYPE_CHECKING:
    from middlewatch.project import Project

_SCORE = "mw score"
_TIME = "mw time"
_CALLER = "mw caller"


def log_batch(
    project: Project,
    name: str,
    table: Any,
    scores: Any,
    *,
    time: str | datetime | None,
    id: str | None,
    version: str,
    caller: str,
    now: datetime,
) -> int:
    """File scored rows of a model whose schema is there; returns how many are new: the same batch again adds nothing.

    `scores` is a column of numbers or classes, or (rows, classes) in the order of the schema's. `time` is a column, or
    the moment of all of them (default: the schema's column where it is there, else now). Raises as `import_log`.
    """
    if re.fullmatch(r"v\d+", version):
        raise UsageError(f"{version} is a model of ours", fix="middlewatch score TABLE --log scores and logs in one")
    schema = project.schema(name)
    frame = tables.from_frame(table).collect()
    if not frame.height:
        raise NothingToDo("the table has no rows")
    values = np.asarray(scores)
    if len(values) != frame.height:
        raise UsageError(f"{frame.height:,} rows and {len(values):,} scores", fix="one score a row, in the same order")
    named: list[tuple[str, str]] = [("", _SCORE)]
    if values.ndim == 2:
        if values.shape[1] != len(schema.classes):
            raise UsageError(
                f"{values.shape[1]} scores a row, and {name} has {len(schema.classes)} classes",
                fix=f"one column a class, in this order: {', '.join(schema.classes)}",
            )
        named = [(one, f"{_SCORE} {one}") for one in schema.classes]
        frame = frame.with_columns(pl.Series(column, values[:, at]) for at, (_, column) in enumerate(named))
    else:
        frame = frame.with_columns(pl.Series(_SCORE, values.tolist()))
    if time is None and schema.time in frame.columns:
        time = schema.time
    if not isinstance(time, str):
        frame = frame.with_columns(pl.lit(time or now).alias(_TIME))
        time = _TIME
    frame = frame.with_columns(pl.lit(caller or "batch").alias(_CALLER))
    columns = Columns(time=time, score=named, id=id, version=version, caller=_CALLER)
    raw = tables.from_frame(frame)
    return import_log(project, project.root, name, raw, columns, now=now, actor="log").new

"""Batch scoring: a table in, the same table with scores out, each row logged with its event time where wanted."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from . import model, predictions, tables
from .errors import NothingToDo, Refused, UsageError
from .observations import observe, predicted_columns

if TYPE_CHECKING:
    from .project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """`frame` has the rows as read (typed) and `mw.score` (and `mw.label` for classes), in the order read."""

    frame: pl.DataFrame
    version: str
    logged: int
    seconds: float
    out: str | None

    @property
    def rows(self) -> int:
        return self.frame.height

    def to_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "version": self.version,
            "logged": self.logged,
            "out": self.out,
            "seconds": round(self.seconds, 3),
        }


def score(
    project: Project,
    name: str,
    raw: tables.Raw,
    *,
    out: Path | None = None,
    log: bool = False,
    version: str | None = None,
    time_column: str | None = None,
    caller: str = "batch",
    now: datetime,
) -> Scored:
    """Score a table with the live version, or another.

    Cells of the wrong type are missing to the model and counted by the monitor, as rows of a file cannot be sent
    back; a file that lacks an input column is refused. Raises Refused, NothingToDo (nothing live, no rows).
    """
    started = time.perf_counter()
    if out is not None:
        tables.check_writable(out)
    wanted = version or project.journal(name).live()
    if wanted is None:
        raise NothingToDo(f"no version of {name} is live", fix="middlewatch promote v1")
    current = model.load(project.store, name, wanted)
    table = raw.collect()
    if not table.height:
        raise NothingToDo("the table has no rows", where=raw.source)
    missing = [one for one in current.encoding.names if one not in table.columns]
    if missing:
        raise Refused(
            f"the table lacks {len(missing)} of {current.version}'s inputs: {', '.join(missing)}",
            where=raw.source,
            fix=f"middlewatch check {raw.source}  says what else differs",
        )
    typed = current.schema.typed(table, zone=str(project.zone)).frame
    if time_column is not None and not isinstance(typed.schema.get(time_column), pl.Datetime):
        raise UsageError(
            f'"{time_column}" is no time column of {name}',
            where=raw.source,
            fix=f'kind = "time" and role = "ignored" under [columns.{time_column}] of {name}.schema.toml, then train',
        )
    predicted = model.predictor(project.store, current).batch(
        current.encoding.encode(typed), threads=os.cpu_count() or 1
    )
    scored = typed.with_columns(predicted_columns(predicted, current.classes))
    logged = 0
    if log:
        seen = observe(
            typed,
            current.schema,
            predicted,
            version=current.version,
            caller=caller,
            received=now,
            time=time_column,
        )
        logged = predictions.write_batch(project.store, name, seen, now=now)
    if out is not None:
        tables.write(scored.drop("mw.scores", strict=False), out)
    return Scored(
        frame=scored,
        version=current.version,
        logged=logged,
        seconds=time.perf_counter() - started,
        out=str(out) if out else None,
    )

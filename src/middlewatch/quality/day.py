"""One day's outcomes as plain JSON: what is stored beside its window, some kilobytes whatever the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from middlewatch.schema import Task

from .estimate import counted
from .losses import LEADING, Floats, channels, measured, of_rows
from .slices import COLUMNS, VALUES

if TYPE_CHECKING:
    from middlewatch.schema import Schema


def categories(schema: Schema) -> list[str]:
    """The columns that outcomes are sliced by: the model's categories, none of them private."""
    return [one.name for one in schema.features if one.kind == "category" and one.private is None]


def facts(
    task: Task, rows: pl.DataFrame, target: Floats, score: Floats, threshold: float, categories: Sequence[str]
) -> dict[str, Any]:
    """Sums by channel, metrics with intervals, calibration bins and slices of rows whose outcomes are known.

    `rows` (in the order of `target` and `score`) need hold only the category columns to slice by. A target that is
    NaN, or a score that is not finite, leaves its row out; `measured` counts those that stayed.
    """
    known = np.isfinite(target) & (np.isfinite(score) if score.ndim == 1 else np.isfinite(score).all(axis=1))
    if not known.all():
        rows, target, score = rows.filter(pl.Series(known)), target[known], score[known]
    if not target.size:
        return {"measured": 0, "sums": {}, "metrics": {}, "bins": {}, "slices": {}}
    bins: dict[str, Any] = {}
    if task == "binary":
        bins = counted(score, target)
    elif task == "multiclass":
        bins = counted(score.max(axis=1), (score.argmax(axis=1) == target).astype(np.float64))
    loss = of_rows(task, target, score, threshold)[LEADING[task]]
    return {
        "measured": int(target.size),
        "sums": {name: _plain(one.plain()) for name, one in channels(task, target, score, threshold).items()},
        "metrics": {
            name: {key: None if one is None else _short(one) for key, one in interval.items()}
            for name, interval in measured(task, target, score, threshold).items()
        },
        "bins": bins,
        "slices": _sliced(rows, loss, categories),
    }


def _sliced(rows: pl.DataFrame, loss: Floats, categories: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """The leading loss by the eight most frequent values of each category column, of at most twenty columns."""
    found = {}
    values = pl.Series("mw.loss", loss)
    for name in [one for one in categories if one in rows.columns][:COLUMNS]:
        # By position: a column may have any name, also one that polars would read as a pattern.
        both = pl.DataFrame([rows[name].alias("value"), values]).drop_nulls("value")
        grouped = (
            both.group_by("value")
            .agg(n=pl.len(), total=pl.col("mw.loss").sum(), squares=pl.col("mw.loss").pow(2).sum())
            .sort("n", "value", descending=[True, False])
            .head(VALUES)
        )
        held = {
            str(one["value"]): _plain([one["n"], one["total"], one["squares"]]) for one in grouped.iter_rows(named=True)
        }
        if held:
            found[name] = held
    return found


def _plain(numbers: Sequence[float]) -> list[float]:
    return [int(numbers[0]), *(_short(one) for one in numbers[1:])]


def _short(value: float) -> float:
    # Twelve digits: sums of millions of rows keep what matters, and the same rows in another order the same text.
    return float(f"{value:.12g}")

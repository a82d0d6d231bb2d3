"""The target: is it there, is it fit, which task is it, and does a column know it in advance?"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from middlewatch.errors import TableError, UsageError
from middlewatch.schema import Column, Kind, Task

from .facts import Facts

FEW: Final = 20
"""Distinct whole numbers up to which a target is taken for classes."""
MOST_CLASSES: Final = 100
_POSITIVE: Final = ("1", "1.0", "true", "yes", "y", "t", "positive", "pos", "+")
_ROWS_TO_TELL: Final = 50
_ROWS_OF_CLASS: Final = 5
_AFFINE: Final = 0.999999

Question = tuple[int, str, str, str]


def settle(column: Column, facts: Facts, task: Task | None) -> tuple[Kind, Task, tuple[str, ...], list[Question]]:
    """Kind, task and classes of the target, and what is doubtful about them.

    Raises TableError where it is all null or constant, UsageError where it does not fit the task asked for.
    """
    name = column.name
    if facts.present == 0:
        raise TableError(
            f"the target {name} is missing in every row", fix="name the column that holds the outcomes: --target"
        )
    if facts.distinct == 1 and not facts.infinite:
        only = facts.values()[0]
        raise TableError(
            f"the target {name} is {only!r} in every row",
            why="there is nothing to tell apart",
            fix="use a table with both outcomes, or another --target",
        )
    kind = column.kind
    if kind == "time":
        raise UsageError(f"the target {name} is a time", fix="predict a number or a class, such as hours until then")
    if kind == "number" and not facts.fractions and not facts.infinite and facts.distinct <= FEW:
        kind = "whole"  # classes that came as floats
    doubts: list[Question] = []
    chosen = task or _task(name, kind, facts, doubts)
    classes = _classes(name, kind, facts, chosen)
    if facts.nulls:
        share = f"{facts.nulls:,} of {facts.rows:,} rows have none"
        doubts.append((95, "rows without an outcome?", "left out of training", share))
    return kind, chosen, classes, doubts


def _task(name: str, kind: Kind, facts: Facts, doubts: list[Question]) -> Task:
    if facts.distinct == 2:
        return "binary"
    if kind in ("category", "text"):
        if facts.distinct > MOST_CLASSES or facts.unique:
            raise UsageError(
                f"the target {name} has {_many(facts)} different texts",
                why="that is no class to learn",
                fix=f"a target has at most {MOST_CLASSES} classes, or is a number",
            )
        return "multiclass"
    if kind == "whole" and facts.distinct <= FEW:
        why = f"it has {facts.distinct} different whole numbers"
        doubts.append((90, "classes or amounts?", "classes (multiclass); --task regression for amounts", why))
        return "multiclass"
    return "regression"


def _classes(name: str, kind: Kind, facts: Facts, task: Task) -> tuple[str, ...]:
    """The classes as text in code order; of two, the second is the positive one."""
    if task == "regression":
        if kind not in ("number", "whole"):
            raise UsageError(f"the target {name} is no number", fix="--task binary or multiclass")
        return ()
    if task == "binary" and facts.distinct != 2:
        raise UsageError(
            f"the target {name} has {_many(facts)} different values, not two", fix="--task multiclass or regression"
        )
    if facts.distinct > MOST_CLASSES:
        raise UsageError(f"the target {name} has {_many(facts)} different values", fix="--task regression")
    texts = [class_text(one, kind) for one in facts.values()]
    if len(texts) == 2 and texts[0].strip().lower() in _POSITIVE and texts[1].strip().lower() not in _POSITIVE:
        texts.reverse()
    return tuple(texts)


def class_text(value: Any, kind: Kind) -> str:
    """A target value as the text that names its class, as a cast of the typed column to String gives it."""
    dtype = {"whole": pl.Int64, "boolean": pl.Boolean, "number": pl.Float64}.get(kind, pl.String)
    if dtype is pl.Int64:
        value = int(value)
    return str(pl.Series([value], dtype=dtype).cast(pl.String)[0])


def _many(facts: Facts) -> str:
    return f"over {facts.distinct - 1:,}" if facts.overflowed else f"{facts.distinct:,}"


def knows(name: str, target: str, facts: Facts, sample: pl.DataFrame, task: Task) -> str | None:
    """How a column alone determines the target in the sampled rows, in words; None where it does not.

    A perfect predictor is nearly always the outcome itself, or something written down after it.
    """
    both = sample.select(value=pl.col(name), target=pl.col(target)).drop_nulls()
    if both.height < _ROWS_TO_TELL or both["target"].n_unique() < 2:
        return None
    rows = f"in all {both.height:,} rows looked at"
    if both["value"].dtype == both["target"].dtype and bool((both["value"] == both["target"]).all()):
        return f"it equals {target} {rows}"
    numeric = both["value"].dtype.is_numeric()
    if numeric and task == "regression":
        together = both.select(pl.corr("value", pl.col("target").cast(pl.Float64))).item()
        if together is not None and abs(together) > _AFFINE:
            return f"it is {target} on another scale {rows}"
    elif numeric:
        ends = (
            both.group_by("target").agg(low=pl.col("value").min(), high=pl.col("value").max(), n=pl.len()).sort("low")
        )
        if bool((ends["low"][1:] > ends["high"][:-1]).all()) and min(ends["n"].to_list()) >= _ROWS_OF_CLASS:
            return f"a threshold on it gives {target} {rows}"
    values = both["value"].n_unique()
    if 1 < values <= both.height / 10 and both.group_by("value").agg(pl.col("target").n_unique())["target"].max() == 1:
        return f"each of its {values:,} values goes with a single value of {target} {rows}"
    return None

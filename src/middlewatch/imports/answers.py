"""What a service answered, from its score columns: a probability, a number, a class, or a probability a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from middlewatch.cells import booleans, column, is_text, numbers
from middlewatch.errors import UsageError
from middlewatch.tables import refuse_rows

if TYPE_CHECKING:
    from middlewatch.schema import Task

FEW = 20
"""Different whole numbers up to which they may be classes or amounts: `infer` asks in the same place."""
MOST_CLASSES = 100
# Scores of all classes are written with few digits by many services.
SUM_TOLERANCE = 0.02
_POSITIVE = ("1", "true", "yes", "y", "t", "positive", "pos", "+")


@dataclass(frozen=True, slots=True)
class Answers:
    """`predicted` is (n,), or (n, classes) of a multiclass model; `classes` are empty where the answers name none.

    `sure` is False where only a class was answered, and 1 stands for its probability.
    """

    task: Task
    classes: tuple[str, ...]
    predicted: NDArray[np.float64]
    sure: bool = True


def answers(
    table: pl.DataFrame, scores: Sequence[tuple[str, str]], *, task: Task | None, classes: tuple[str, ...] = ()
) -> Answers:
    """Read the score columns, (class or "", column) each. `task` and `classes` are those of a model that is there.

    Raises UsageError where they fit no task or more than one, Refused with the rows that are no scores.
    """
    if len(scores) > 1:
        return _of_each_class(table, scores, task, classes)
    name = scores[0][1]
    cells = table[name]
    values = _numbers(cells)
    if values is None:
        return _of_texts(cells, name, task, classes)
    refuse_rows(values.is_null() | ~values.is_finite(), cells, name, "holds no score")
    inside = bool(((values >= 0) & (values <= 1)).all())
    if task is None:
        whole = bool((values == values.floor()).all())
        if not inside and whole and values.n_unique() <= FEW:
            raise UsageError(
                f'are the {values.n_unique()} different whole numbers of "{name}" classes or amounts?',
                fix="--task multiclass, or --task regression",
            )
        task = "binary" if inside else "regression"
    if task == "multiclass":
        return _of_texts(values.cast(pl.Int64).cast(pl.String), name, task, classes)
    if task == "binary":
        wrong = (values < 0) | (values > 1)
        refuse_rows(wrong, cells, name, "is no probability", fix="--task regression, if it is a number")
    return Answers(task, classes if task == "binary" else (), values.to_numpy().astype(np.float64))


def _numbers(cells: pl.Series) -> pl.Series | None:
    """The cells as numbers; None where they are texts that are none."""
    if cells.dtype.is_numeric():
        return cells.cast(pl.Float64)
    if not is_text(cells.dtype):
        return None
    texts = cells.cast(pl.String)
    read = texts.to_frame().select(numbers(column(texts.name))).to_series()
    blank = texts.is_null() | (texts.str.strip_chars() == "")
    return read if not (read.is_null() & ~blank).any() and read.null_count() < read.len() else None


def _of_texts(cells: pl.Series, name: str, task: Task | None, known: tuple[str, ...]) -> Answers:
    """A class alone: of two the second is the positive one, of more its share is 1 and that of the others 0."""
    texts = cells.cast(pl.String).str.strip_chars()
    refuse_rows(texts.is_null() | (texts == ""), cells, name, "holds no class")
    seen = texts.unique().sort().to_list()
    if task == "regression":
        raise UsageError(f'"{name}" holds {seen[0]!r}, which is no number', fix="--task multiclass, or another --score")
    if len(seen) > MOST_CLASSES:
        raise UsageError(f'"{name}" holds {len(seen):,} different texts', why="that is no class, and no number either")
    if known:
        refuse_rows(
            ~texts.is_in(list(known)),
            cells,
            name,
            f"is no class of the model ({', '.join(known[:12])})",
            fix="classes = [...] in its schema names them all",
        )
    if not known and len(seen) == 1:
        raise UsageError(
            f'"{name}" is {seen[0]!r} in every row: which class is the other?',
            fix="import a longer table first, one with both",
        )
    classes = known or tuple(seen)
    if len(classes) == 2:
        if not known and classes[0].lower() in _POSITIVE and classes[1].lower() not in _POSITIVE:
            classes = classes[::-1]
        if task != "multiclass":
            chosen = (texts == classes[1]).to_numpy().astype(np.float64)
            return Answers("binary", classes, chosen, sure=False)
    if task == "binary":
        raise UsageError(f'"{name}" holds {len(classes)} classes, not two', fix="--task multiclass")
    codes = texts.replace_strict({text: at for at, text in enumerate(classes)}, return_dtype=pl.Int64).to_numpy()
    return Answers("multiclass", classes, np.eye(len(classes))[codes], sure=False)


def _of_each_class(
    table: pl.DataFrame, scores: Sequence[tuple[str, str]], task: Task | None, known: tuple[str, ...]
) -> Answers:
    named = {klass or name: name for klass, name in scores}
    if len(named) < len(scores):
        raise UsageError("a class has two score columns", fix="--score CLASS=COL, each class once")
    if task not in (None, "multiclass"):
        raise UsageError(f"a {task} model has one score", fix="--score COL once: the probability, or the number")
    if len(named) == 2:
        raise UsageError("of two classes one probability says all", fix=f"--score {scores[-1][1]}")
    if known and set(known) != set(named):
        raise UsageError(
            f"the score columns are of {', '.join(named)}",
            why=f"the model's classes are {', '.join(known)}",
            fix="--score CLASS=COL, each class once",
        )
    order = known or tuple(named)
    columns = []
    for klass in order:
        cells = table[named[klass]]
        values = _numbers(cells)
        if values is None:
            raise UsageError(
                f'"{named[klass]}" is no column of probabilities', fix="--score CLASS=COL, each class once"
            )
        wrong = values.is_null() | ~values.is_finite() | (values < 0) | (values > 1)
        refuse_rows(wrong, cells, named[klass], "is no probability")
        columns.append(values.to_numpy().astype(np.float64))
    matrix = np.stack(columns, axis=1)
    off = pl.Series(np.abs(matrix.sum(axis=1) - 1) > SUM_TOLERANCE)
    refuse_rows(off, table[scores[0][1]], scores[0][1], "and the scores of the other classes do not add up to 1")
    return Answers("multiclass", order, matrix)


def follows(table: pl.DataFrame, name: str, found: Answers) -> str:
    """How a column is nothing but the answer in other words; "" where it is not."""
    cells = table[name]
    if found.task == "regression":
        values = _numbers(cells)
        if values is None or values.null_count():
            return ""
        return "it equals the score" if bool((values.to_numpy() == found.predicted).all()) else ""
    texts = cells.cast(pl.String) if not isinstance(cells.dtype, pl.Boolean) else cells.cast(pl.Int8).cast(pl.String)
    if found.task == "multiclass":
        if cells.null_count() or not texts.is_in(list(found.classes)).all():
            return ""
        codes = texts.replace_strict(
            {one: at for at, one in enumerate(found.classes)}, return_dtype=pl.Int64
        ).to_numpy()
        behind = found.predicted.max(axis=1) - found.predicted[np.arange(len(codes)), codes]
        # Scores that were rounded for the log may tie, or change places.
        return "it is the likeliest class" if behind.max() <= SUM_TOLERANCE else ""
    values = _numbers(cells)
    if values is not None and bool((values == pl.Series(found.predicted)).all()) and not values.null_count():
        return "it equals the score"
    if cells.null_count() or texts.n_unique() != 2:
        return ""
    words = texts.to_frame().select(booleans(column(name))).to_series()
    group = words if not words.null_count() else texts == texts[0]
    high, low = found.predicted[group.to_numpy()], found.predicted[~group.to_numpy()]
    if found.predicted.min() == found.predicted.max():
        return ""
    if low.max() <= high.min() or high.max() <= low.min():
        return "a threshold on the score gives it"
    return ""

"""The rows that a cause touched, with the values and scores they should have had: what is to be scored again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from ..fingerprints import Case, Cause, History, search
from ..replay import Replayer
from ..schema import Schema
from .rows import Span

KEPT = ("mw.id", "mw.key", "mw.time", "mw.caller", "mw.version")


def of_span(span: Span, everything: pl.DataFrame, causes: Sequence[Cause], other: Replayer | None) -> pl.DataFrame:
    """Touched rows among all rows of a span (more than were looked at), in order of time.

    `everything` are the rows of the span; `other` is the version that should have answered, where a release is the
    cause. Columns: id, key, time, caller, version, `cause`, each touched input as it came and `<input>.corrected`,
    score and `score.corrected`; null where the true value cannot be known (then other values only stood in).
    """
    parts = []
    for cause in causes:
        if cause.facts.get("refused"):
            continue
        if cause.kind == "release":
            rows = everything.filter(pl.col("mw.version") == cause.facts["version"])
            score = other.shown(rows) if other is not None else None
            parts.append(_shaped(rows, cause, None, score))
            continue
        found = _again(span, everything, cause)
        if found is None:
            found = cause if everything.height == span.rows.height else None
        if found is None or len(found.affected) != everything.height:
            continue
        rows = everything.filter(pl.Series(found.affected))
        corrected, score = _corrected(rows, found, everything, span.replayer)
        parts.append(_shaped(rows, cause, corrected, score))
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()


def _again(span: Span, everything: pl.DataFrame, cause: Cause) -> Cause | None:
    """The same cause, found among all rows: only its own columns are looked at, and those that may name a slice.

    None where they are too few to show it among all, as what one burst in a day is.
    """
    if everything.height == span.rows.height:
        return cause
    sliced = {cause.slice[0]} if cause.slice is not None else set()
    wanted = {name: kind for name, kind in span.kinds.items() if name in {*cause.columns, *sliced}}
    for one in search(Case(everything, History(span.past, wanted), None, whole=False)).causes:
        if (one.kind, one.columns) == (cause.kind, cause.columns):
            return one
    return None


def _corrected(
    rows: pl.DataFrame, cause: Cause, everything: pl.DataFrame, replayer: Replayer | None
) -> tuple[pl.DataFrame | None, np.typing.NDArray[np.float64] | None]:
    if cause.corrected is None or not set(cause.columns) <= set(cause.corrected.columns):
        return None, None
    at = np.flatnonzero(cause.affected)
    placed = pl.DataFrame({"mw.row": at}, schema={"mw.row": pl.Int64})
    right = placed.join(cause.corrected, on="mw.row", how="left", maintain_order="left").drop("mw.row")
    score = replayer.shown(rows.with_columns(right.get_columns())) if replayer is not None and rows.height else None
    return right, score


def _shaped(
    rows: pl.DataFrame,
    cause: Cause,
    corrected: pl.DataFrame | None,
    score: np.typing.NDArray[np.float64] | None,
) -> pl.DataFrame:
    kept = [pl.col(name).alias(name.removeprefix("mw.")) for name in KEPT if name in rows.columns]
    shaped = rows.select(*kept, pl.lit(cause.detail).alias("cause"))
    for name in cause.columns:
        if name in rows.columns:
            right = corrected[name] if corrected is not None else pl.Series([None], dtype=rows.schema[name])
            shaped = shaped.with_columns(
                rows[name].alias(name),
                (right if corrected is not None else right.new_from_index(0, rows.height)).alias(f"{name}.corrected"),
            )
    if "mw.score" in rows.columns:
        shaped = shaped.with_columns(rows["mw.score"].alias("score"))
        blank = pl.Series([None], dtype=pl.Float64).new_from_index(0, rows.height)
        shaped = shaped.with_columns((pl.Series(score) if score is not None else blank).alias("score.corrected"))
    return shaped


def of_table(typed: pl.DataFrame, schema: Schema, causes: Sequence[Cause], scorer: Replayer | None) -> pl.DataFrame:
    """Touched rows of a typed table: `row` (from 0), the key, values as they came and corrected, and the live
    version's scores of both; null where the true value cannot be known."""
    parts = []
    for cause in causes:
        if cause.corrected is None or "mw.at" not in cause.corrected.columns:
            continue
        at = cause.corrected["mw.at"]
        rows = typed[at]
        known = set(cause.columns) <= set(cause.corrected.columns)
        right = cause.corrected.select(cause.columns) if known else None
        kept = [pl.col(schema.key).cast(pl.String).alias("key")] if schema.key in rows.columns else []
        shaped = rows.select(at.alias("row"), *kept, pl.lit(cause.detail).alias("cause"))
        for name in cause.columns:
            true = right[name] if right is not None else pl.Series([None]).new_from_index(0, rows.height)
            shaped = shaped.with_columns(rows[name].alias(name), true.alias(f"{name}.corrected"))
        if scorer is not None:
            shaped = shaped.with_columns(pl.Series("score", scorer.shown(rows)))
            if right is not None:
                mended = scorer.shown(rows.with_columns(right.get_columns()))
                shaped = shaped.with_columns(pl.Series("score.corrected", mended))
        parts.append(shaped)
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()

"""What can happen to rows: pure functions of the rows, the affected part and a source of randomness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[Any]
Play = Callable[[pl.DataFrame, Array, np.random.Generator], pl.DataFrame]


def where(column: str, change: pl.Expr, *, share: float = 1.0, caller: str | None = None) -> Play:
    """Replace the affected rows' value by `change`: a random `share` of them, or those of one caller."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        hit = mask & (rng.random(rows.height) < share)
        if caller is not None:
            hit &= (rows["mw.caller"] == caller).to_numpy()
        return rows.with_columns(pl.when(pl.lit(pl.Series(hit))).then(change).otherwise(pl.col(column)).alias(column))

    return play


def linear(
    column: str,
    slope: float,
    offset: float = 0.0,
    digits: int | None = None,
    *,
    share: float = 1.0,
    caller: str | None = None,
) -> Play:
    """slope * x + offset, rounded to `digits` where given."""
    change = pl.col(column).cast(pl.Float64) * slope + offset
    return where(column, change if digits is None else change.round(digits), share=share, caller=caller)


def mapped(column: str, mapping: dict[str, str], *, share: float = 1.0, caller: str | None = None) -> Play:
    """Words replaced by other words."""
    return where(column, pl.col(column).replace(mapping), share=share, caller=caller)


def grown(others: pl.DataFrame, share: float) -> Play:
    """A share of the rows gives way to other rows (of one segment), at the same times."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        hit = mask & (rng.random(rows.height) < share)
        drawn = others[rng.choice(others.height, rows.height, replace=False).tolist()]
        kept = {"mw.time", "at", "departs"}
        return rows.with_columns(
            pl.select(pl.when(pl.Series(hit)).then(drawn[c]).otherwise(rows[c])).to_series().alias(c)
            for c in rows.columns
            if c not in kept
        )

    return play


def swapped(a: str, b: str, *, caller: str | None = None) -> Play:
    """Two columns change places."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        hit_rows = mask if caller is None else mask & (rows["mw.caller"] == caller).to_numpy()
        hit, x, y = pl.lit(pl.Series(hit_rows)), pl.col(a), pl.col(b)
        if rows.schema[a].is_numeric():
            x, y = x.cast(pl.Float64), y.cast(pl.Float64)
        return rows.with_columns(pl.when(hit).then(y).otherwise(x).alias(a), pl.when(hit).then(x).otherwise(y).alias(b))

    return play


def lost(column: str, value: str) -> Play:
    """No rows with this value arrive."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        return rows.filter(~pl.Series(mask) | (pl.col(column) != value).fill_null(True))

    return play


def doubled(share: float) -> Play:
    """A share of the rows arrives twice."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        again = np.flatnonzero(mask & (rng.random(rows.height) < share))
        twice: pl.DataFrame = rows[np.sort(np.concatenate([np.arange(rows.height), again])).tolist()]
        return twice

    return play


def thinned(share: float) -> Play:
    """Only a share of the rows arrives."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        return rows.filter(pl.Series(~mask | (rng.random(rows.height) < share)))

    return play


def frozen(columns: tuple[str, ...], by: str) -> Play:
    """A feed that stands still: each affected row gets the value of the last good row of its like (`by`)."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        first = int(np.flatnonzero(mask)[0])
        last = rows[: max(first, 40)].group_by(by, maintain_order=True).agg(pl.col(columns).last().name.prefix("last."))
        joined = rows.join(last, on=by, how="left", maintain_order="left")
        hit = pl.lit(pl.Series(mask))
        return joined.with_columns(
            pl.when(hit).then(pl.col(f"last.{c}")).otherwise(pl.col(c)).alias(c) for c in columns
        ).select(rows.columns)

    return play


def shuffled(column: str, share: float = 1.0) -> Play:
    """Values joined to the wrong rows."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        at = np.arange(rows.height)
        hit = mask & (rng.random(rows.height) < share)
        at[hit] = rng.permutation(at[hit])
        return rows.with_columns(rows[column].gather(at))

    return play


def lagged(column: str, by: int) -> Play:
    """Each row gets the value of the row `by` places before."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        at = np.arange(rows.height)
        late = np.where(mask, np.maximum(at - by, 0), at)
        return rows.with_columns(rows[column].gather(late))

    return play


def renamed_caller(caller: str, name: str) -> Play:
    """A caller goes by another name: it was deployed anew."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        hit = pl.lit(pl.Series(mask)) & (pl.col("mw.caller") == caller)
        return rows.with_columns(pl.when(hit).then(pl.lit(name)).otherwise("mw.caller").alias("mw.caller"))

    return play


def noisy(column: str, by: float, digits: int) -> Play:
    """Values wander: a normal error of this size, and as much upwards."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        moved = pl.Series(np.where(mask, by * (1 + rng.normal(size=rows.height)), 0.0))
        return rows.with_columns((pl.col(column).cast(pl.Float64) + moved).round(digits).alias(column))

    return play


def both(*played: Play) -> Play:
    """Several at once."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        for one in played:
            rows = one(rows, mask, rng)
        return rows

    return play

"""How strongly columns go together, from 0 to 1, comparable over numbers and categories. Pure.

Two numbers: the absolute rank correlation (Spearman 1904). A number and a category: the correlation ratio of the
number's ranks (Fisher's eta, 1925), the share of their variance that lies between categories, as a root. Two
categories: Cramer's V. The last two grow with the number of categories by chance alone; what chance would give is
taken off (Bergsma 2013, A bias-correction for Cramer's V; Kelley's epsilon squared, 1935, for eta).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

MOST_LEVELS: Final = 200
"""Categories told apart: the most frequent ones, all others together."""

Floats = NDArray[np.float64]


class Associations(NamedTuple):
    """`strength[i, j]` of `names[i]` and `names[j]` (1 on the diagonal, NaN where it cannot be told); `rows` used."""

    names: tuple[str, ...]
    strength: Floats
    rows: int


def associations(frame: pl.DataFrame, kinds: Mapping[str, str]) -> Associations:
    """All pairs of the columns in `kinds` (number, whole, boolean, category; others are left out) of a small frame.

    Each pair uses the rows where both have a value; NaN under three of them, or where one is constant. The cost
    grows with rows x pairs: give a sample of some thousand rows.
    """
    numbers = [name for name, kind in kinds.items() if kind in ("number", "whole", "boolean")]
    categories = [name for name, kind in kinds.items() if kind == "category"]
    names = (*numbers, *categories)
    strength = np.full((len(names), len(names)), math.nan)
    ranks, there = _ranks(frame, numbers)
    strength[: len(numbers), : len(numbers)] = _correlations(ranks, there)
    coded = [_codes(frame[name]) for name in categories]
    for i, one in enumerate(coded, len(numbers)):
        strength[i, : len(numbers)] = strength[: len(numbers), i] = _ratios(ranks, there, one)
        for j, other in enumerate(coded[: i - len(numbers)], len(numbers)):
            strength[i, j] = strength[j, i] = _cramer(one, other)
    np.fill_diagonal(strength, 1.0)
    return Associations(names, strength, frame.height)


def _ranks(frame: pl.DataFrame, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Centred ranks, 0 where missing, and 1 where there is a value: (rows, columns) each."""
    if not names or not frame.height:
        return np.zeros((frame.height, len(names))), np.zeros((frame.height, len(names)))
    finite = [pl.when(pl.col(name).cast(pl.Float64).is_finite()).then(pl.col(name).cast(pl.Float64)) for name in names]
    ranked = frame.select(
        one.rank("average").cast(pl.Float64).alias(name) for one, name in zip(finite, names, strict=True)
    )
    centred = ranked.select(pl.all() - pl.all().mean())
    there = centred.select(pl.all().is_not_null().cast(pl.Float64)).to_numpy()
    return centred.fill_null(0.0).to_numpy(), there


def _correlations(ranks: Floats, there: Floats) -> Floats:
    """Pairwise complete: the sums of each pair are over the rows where both have a value."""
    n = there.T @ there
    sums, squares = ranks.T @ there, (ranks**2).T @ there
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = ranks.T @ ranks - sums * sums.T / n
        variance = squares - sums**2 / n
        found = np.abs(covariance) / np.sqrt(variance * variance.T)
    spread = variance > 1e-9 * np.maximum(squares, 1.0)
    return np.where((n >= 3) & spread & spread.T, np.minimum(found, 1.0), math.nan)


class _Codes(NamedTuple):
    """Categories as numbers from 0, -1 where missing; `levels` of them at most."""

    codes: NDArray[np.int64]
    levels: int


def _codes(values: pl.Series) -> _Codes:
    top = values.drop_nulls().value_counts(sort=True, name="mw.n")[values.name].head(MOST_LEVELS)
    codes = values.replace_strict(top, pl.Series(range(top.len()), dtype=pl.Int64), default=top.len())
    return _Codes(codes.set(values.is_null(), -1).cast(pl.Int64).to_numpy(), top.len() + 1)


def _ratios(ranks: Floats, there: Floats, category: _Codes) -> Floats:
    """The correlation ratio of every number with one category."""
    order = np.argsort(category.codes, kind="stable")
    order = order[category.codes[order] >= 0]
    if not order.size or not ranks.shape[1]:
        return np.full(ranks.shape[1], math.nan)
    starts = np.flatnonzero(np.diff(category.codes[order], prepend=-1))
    ranks, there = ranks[order], there[order]
    counts, sums = np.add.reduceat(there, starts), np.add.reduceat(ranks, starts)
    n, groups = counts.sum(axis=0), (counts > 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(axis=0) / n
        total = (ranks**2).sum(axis=0) - n * mean**2
        between = np.where(counts > 0, sums**2 / counts, 0.0).sum(axis=0) - n * mean**2
        found = np.sqrt(np.maximum(0.0, 1.0 - (1.0 - between / total) * (n - 1) / (n - groups)))
    known = (groups > 1) & (n > groups) & (n >= 3) & (total > 0)
    return np.where(known, np.minimum(found, 1.0), math.nan)


def _cramer(a: _Codes, b: _Codes) -> float:
    both = (a.codes >= 0) & (b.codes >= 0)
    n = int(np.count_nonzero(both))
    if n < 3:
        return math.nan
    counted = np.bincount(a.codes[both] * b.levels + b.codes[both], minlength=a.levels * b.levels)
    table: Floats = counted.reshape(a.levels, b.levels).astype(np.float64)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    rows, columns = table.shape
    if min(rows, columns) < 2:
        return math.nan
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = float((table**2 / expected).sum()) / n - 1.0
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (n - 1))
    room = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return min(1.0, math.sqrt(phi / room)) if room > 0 else math.nan

"""Two columns that changed places.

The idea: each looks like the other's past and not like its own, and changing them back cures both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, percent
from .case import NUMBERS, WORDS, Case, History
from .history import Floats, Mask, edges_of
from .places import locate, span


def fingerprints(case: Case) -> Iterator[Candidate]:
    numbers, words = case.columns(NUMBERS), case.columns(frozenset({"category"}))
    for a, b in [*combinations(numbers, 2), *combinations(words, 2)]:
        if {a, b} & case.stand_ins:
            continue  # drawn from the past: each alone looks right, and says nothing of the other
        found = _pair(case, a, b)
        if found is not None:
            yield found


def _pair(case: Case, a: str, b: str) -> Candidate | None:
    history = case.history
    as_a = history.kept(("mass", a, b), lambda: _log_mass(history, a, b))
    as_b = history.kept(("mass", b, a), lambda: _log_mass(history, b, a))

    def ratio(x: Any, y: Any, past: bool = False) -> Floats:
        ratios: Floats = as_a(y) + as_b(x) - as_a(x, past) - as_b(y, past)
        return ratios

    # Where one of the two is null, its row says nothing about an exchange.
    known = ~(case.missing(a) | case.missing(b))
    evidence = np.where(known, ratio(_values(case, a), _values(case, b)), 0.0)
    place = locate(case, evidence, exclude={a, b, *case.columns(WORDS)})  # callers swap; categories are alike
    if place is None or place.rows < span(case):
        return None
    cut = np.clip(evidence, -limits.CLIP, limits.CLIP)
    gain = float(cut[place.mask].mean())
    if gain < limits.GAIN:
        return None

    def worst() -> float:
        return max(
            float(np.clip(ratio(x, y, True), -limits.CLIP, limits.CLIP).mean()) if len(x) else 0.0
            for x, y in zip(history.raw(a), history.raw(b), strict=True)
        )

    usual = history.kept(("exchange", a, b), worst)
    if gain < max(usual, 0.0) * limits.BEYOND + limits.GAIN:
        return None
    affected = place.mask & known
    if not affected.any():
        return None
    if float((evidence[affected] < -1).mean()) > 0.1:
        affected = affected & (evidence > 0)
    if affected.sum() < 0.75 * (place.mask & known).sum() or affected.sum() < limits.MIN_ROWS:
        return None
    x, y = _values(case, a), _values(case, b)
    if min(float((as_a(y) - as_b(y))[affected].mean()), float((as_b(x) - as_a(x))[affected].mean())) <= 0:
        return None  # each must look like the other, not only one of them
    undo = _exchange(a, b, affected)
    after = undo(case)
    if max(after.shape(a), after.shape(b)) > limits.INSIDE:
        return None

    def holds(part: Mask) -> bool:
        return bool((part & affected).any()) and float(cut[part & affected].mean()) > 0

    return Candidate(
        kind="columns",
        form="swapped",
        columns=(a, b),
        words=f"and {b} have changed places in {percent(float(affected.mean()))} of rows",
        affected=affected,
        place=place,
        strength=float(np.exp(gain - max(usual, 0.0))),
        undo=undo,
        holds=holds,
        exact=True,
        crisp=True,
        fix=f"exchange {a} and {b}",
        proof="exchanged, both are back inside their history",
    )


def _values(case: Case, column: str) -> Any:
    return case.numbers(column) if case.kinds[column] in NUMBERS else np.array(case.words(column), object)


def _log_mass(history: History, column: str, other: str) -> Callable[..., Floats]:
    """A function: how likely any values are as past values of `column`, row by row."""
    if history.kinds[column] in NUMBERS:
        number = history.number(column)
        if not len(number.pooled):
            return lambda values, elsewhere=False: np.zeros(len(values))
        edges = np.unique(np.concatenate([edges_of(number.pooled, 16), edges_of(history.number(other).pooled, 16)]))
        counts = np.bincount(np.searchsorted(edges, number.pooled, side="right"), minlength=len(edges) + 1) + 0.5
        logs = np.log(counts / counts.sum())

        lattice = number.lattice
        usual = float(np.clip(lattice.usual, 0.02, 0.98)) if lattice is not None else 0.5

        def of_numbers(values: Floats, elsewhere: bool = False) -> Floats:
            mass = logs[np.searchsorted(edges, values, side="right")]
            if lattice is not None:
                old = elsewhere and not lattice.step
                known = number.seen_elsewhere(values) if old else lattice.holds(values)
                mass = mass + np.where(known, np.log(usual), np.log(1 - usual))
            return np.where(np.isfinite(values), mass, 0.0)

        return of_numbers
    words = history.words(column)
    totals = words.counts.sum(axis=0)
    share = {name: np.log((totals[k] + 0.5) / (totals.sum() + 1)) for k, name in enumerate(words.names)}
    unseen = np.log(0.5 / (totals.sum() + 1))

    def of_words(values: Any, elsewhere: bool = False) -> Floats:
        return np.array([0.0 if v is None else share.get(v, unseen) for v in values])

    return of_words


def _exchange(a: str, b: str, affected: Mask) -> Callable[[Case], Case]:
    def undo(case: Case) -> Case:
        rows = pl.lit(pl.Series(affected))
        super_type = pl.Float64 if case.kinds[a] in NUMBERS else pl.String
        x, y = pl.col(a).cast(super_type), pl.col(b).cast(super_type)
        return case.with_now(
            case.now.with_columns(
                pl.when(rows).then(y).otherwise(x).alias(a), pl.when(rows).then(x).otherwise(y).alias(b)
            )
        )

    return undo

"""Two columns that changed places.

The idea: each looks like the other's past and not like its own, and changing them back cures both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import polars as pl

from . import thresholds as limits
from .candidate import Candidate, percent
from .case import NUMBERS, Case
from .history import Floats, Mask, edges_of
from .places import locate, span


_UNSEEN = float(np.log(0.1))
"""Log likelihood of a value that was never seen, in a column where values return."""


def fingerprints(case: Case) -> Iterator[Candidate]:
    numbers = [c for c in case.columns(NUMBERS) if case.unusual(c) > limits.BEYOND]
    words = [c for c in case.columns(frozenset({"category"})) if case.shape(c) > limits.BEYOND]
    for a, b in [*combinations(numbers, 2), *combinations(words, 2)]:
        found = _pair(case, a, b)
        if found is not None:
            yield found


def _pair(case: Case, a: str, b: str) -> Candidate | None:
    as_a = _log_mass(case, a, b)
    as_b = _log_mass(case, b, a)
    evidence = as_a(b) + as_b(a) - as_a(a) - as_b(b)
    place = locate(case, evidence, exclude={a, b})
    if place is None or place.rows < span(case):
        return None
    cut = np.clip(evidence, -limits.CLIP, limits.CLIP)
    if float(cut[place.mask].mean()) < limits.GAIN:
        return None
    affected = place.mask
    if float((evidence[affected] < -1).mean()) > 0.1:
        affected = affected & (evidence > 0)
    undo = _exchange(a, b, affected)
    after = undo(case)
    if max(after.shape(a), after.shape(b)) > limits.INSIDE:
        return None

    def holds(part: Mask) -> bool:
        return bool((part & affected).any()) and float(cut[part & affected].mean()) > 0

    return Candidate(
        kind="columns", form="swapped", columns=(a, b),
        words=f"and {b} have changed places in {percent(float(affected.mean()))} of rows", affected=affected, place=place,
        strength=min(_beyond(case, a), _beyond(case, b)), undo=undo, holds=holds, exact=True, crisp=True,
        fix=f"exchange {a} and {b}", proof="exchanged, both are back inside their history",
    )  # fmt: skip


def _log_mass(case: Case, column: str, other: str) -> Callable[[str], Floats]:
    """A function: how likely the values of any column are as past values of `column`, row by row."""
    if case.kinds[column] in NUMBERS:
        number = case.history.number(column)
        past = number.pooled
        edges = np.unique(np.concatenate([edges_of(past, 16), edges_of(case.history.number(other).pooled, 16)]))
        counts = np.bincount(np.searchsorted(edges, past, side="right"), minlength=len(edges) + 1) + 0.5
        logs = np.log(counts / counts.sum())

        def of_numbers(name: str) -> Floats:
            values = case.numbers(name)
            mass = logs[np.searchsorted(edges, values, side="right")]
            if number.has_lattice:
                mass = mass + np.where(number.seen(values), 0.0, _UNSEEN)
            return np.where(np.isfinite(values), mass, 0.0)

        return of_numbers
    words = case.history.words(column)
    totals = words.counts.sum(axis=0)
    share = {name: np.log((totals[k] + 0.5) / (totals.sum() + 1)) for k, name in enumerate(words.names)}
    unseen = np.log(0.5 / (totals.sum() + 1))

    def of_words(name: str) -> Floats:
        return np.array([0.0 if v is None else share.get(v, unseen) for v in case.words(name)])

    return of_words


def _beyond(case: Case, column: str) -> float:
    return case.unusual(column) if case.kinds[column] in NUMBERS else case.shape(column)


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

"""Is a value that many rows have how the world was, and nothing that was written into them?

The ideas: weather, prices and batches come in runs, a fill strikes rows wherever they stand; and rows of a segment
that grew bring their company along, where a fill takes rows of every company.
"""

from __future__ import annotations

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .case import NUMBERS, Case, History
from .history import Floats, Mask, hellinger
from .places import Place

_WIDTH = 32


def in_runs(case: Case, column: str, hits: Mask, place: Place) -> bool:
    """Do these rows stand together as rows of one value of this column always did, where they always did?"""
    usual = runs(case.history, column)
    there = hits[place.mask]
    share = float(there.mean())
    if usual < limits.RUNS or not 0 < share < 1:
        return False
    again = float(there[1:][there[:-1]].mean()) if there[:-1].any() else 0.0
    return (again - share) / (1 - share) > 0.5 * usual


def runs(history: History, column: str) -> float:
    """How much more often than by chance a past row had the value of the row before it: 0 by chance, 1 always."""
    usual: float = history.kept(("runs", column), lambda: _usual_runs(history, column))
    return usual


def _usual_runs(history: History, column: str) -> float:
    found = []
    for one in history.raw(column):
        known: Floats = one[np.isfinite(one)]
        if len(known) < limits.MIN_ROWS:
            continue
        shares = np.unique(known, return_counts=True)[1] / len(known)
        chance = float((shares**2).sum())
        if chance < 1:
            found.append((float((known[1:] == known[:-1]).mean()) - chance) / (1 - chance))
    return float(np.median(found)) if found else 0.0


def in_company(case: Case, column: str, value: float, hits: Mask) -> bool:
    """Does what stands beside the value go with it as always, where other rows' company would be seen?"""
    had = np.concatenate(case.history.raw(column)) == value
    if had.sum() < limits.MIN_ROWS or hits.sum() < limits.RATE_ROWS:
        return False
    best: tuple[float, bool] = (limits.COMPANY, False)
    for other in case.kinds:
        if other == column or other not in case.now.columns or case.kinds[other] in ("text", "time"):
            continue
        if case.kinds[other] in NUMBERS and case.unusual(other) > limits.BEYOND:
            continue
        codes = case.history.codes(other)
        beside, everywhere = np.bincount(codes[had], minlength=_WIDTH), np.bincount(codes, minlength=_WIDTH)
        telling = hellinger(beside, everywhere)
        if telling > best[0]:
            now = np.bincount(case.coded(other)[hits], minlength=_WIDTH)
            best = telling, hellinger(now, beside) < 0.25 * hellinger(now, everywhere)
    return best[1]

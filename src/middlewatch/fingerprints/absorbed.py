"""A value that is gone while its rows still come: they have another value now, merged with it or put everywhere.

The idea: where a segment is lost, every other share grows by the same factor and the company of each value stays.
Where it was merged, one share grows by what was lost, and what stands beside that value is a mixture of both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, put_draws
from .case import NUMBERS, WORDS, Case
from .company import mixed
from .history import CategoryPast, Mask
from .places import Place


def absorbed(
    case: Case, column: str, gone: str, place: Place, holds: Callable[[Mask], bool], strength: float
) -> Candidate | str:
    """The merger as a candidate; else in words where it cannot be told from a loss, and "" where it is none."""
    if lost(case, column, gone):
        return ""
    past = case.history.words(column)
    values = np.array(case.words(column), object)
    there = list(values[place.mask])
    counted = past.counted(there)[:-1]
    grown = counted / max(counted.sum(), 1) - past.shares.mean(axis=0)
    into = past.names[int(np.argmax(grown))]
    if into == gone or grown.max() <= 0:
        return ""
    raw = case.history.raw(column)
    merged = CategoryPast.of([[into if one == gone else one for one in window] for window in raw])
    without = CategoryPast.of([[one for one in window if one != gone] for window in raw])
    if merged.shape(there) > limits.INSIDE * merged.worst_shape:
        return ""
    rows = place.mask & (values == into)
    now, usual, telling = mixed(case, column, into, gone, rows)
    if telling and now <= usual:
        return ""
    shares = without.shape(there) > limits.BEYOND * without.worst_shape
    if now <= usual and not shares:
        return f'rows of "{gone}" come as "{into}"'
    everywhere = counted.sum() == counted.max()
    return Candidate(
        kind="fill" if everywhere else "categories",
        form="constant" if everywhere else "merged",
        columns=(column,),
        words=f'is always "{into}"' if everywhere else f'has "{gone}" merged into "{into}"',
        affected=rows,
        place=place,
        strength=strength,
        undo=put_draws((column,), rows, (into, gone)),
        holds=holds,
        crisp=now > usual,
        fix=f'find out who writes "{into}" for "{gone}" into {column}',
        proof=f'what stands beside "{into}" goes with "{gone}" as well'
        if now > usual
        else f'"{into}" grew by what "{gone}" had',
        facts={"value": into, "merged": [gone, into]},
    )


def lost(case: Case, column: str, gone: str) -> bool:
    """Have other columns moved that are as always beside past rows without this value? Then its rows do not come."""
    moved = [one for one in case.columns(NUMBERS | WORDS) if one != column and case.shape(one) > limits.BEYOND]
    if not moved:
        return False
    keep = (pl.col(column).cast(pl.String) != gone).fill_null(True)
    beside = case.with_now(case.now.filter(keep)).without_past(keep)
    return all(beside.shape(one) <= limits.INSIDE for one in moved)


def still_there(case: Case, column: str, gone: str) -> str:
    """In words, where another column is as always although it would not be without the rows of this value; else ""."""
    keep = (pl.col(column).cast(pl.String) != gone).fill_null(True)
    beside = case.with_now(case.now.filter(keep)).without_past(keep)
    if beside.rows < limits.MIN_ROWS or len(beside.history.windows) < limits.MIN_PAST:
        return ""
    for one in case.columns(NUMBERS | WORDS):
        if one != column and case.shape(one) <= limits.INSIDE and beside.shape(one) > limits.BEYOND:
            return f'rows of "{gone}" come under other names, as {one} is as always'
    return ""

"""Values on a coarser grid than before, or cut off at a limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, percent, plain, put_draws, put_numbers, rate_holds
from .case import NUMBERS, WORDS, Case
from .history import Floats, Mask, NumberPast, wasserstein
from .lattice import STEPS
from .places import locate_hits


def rounded(case: Case) -> Iterator[Candidate]:
    for column in case.columns(NUMBERS):
        past = case.history.number(column)
        if len(past.pooled) >= limits.MIN_ROWS and past.low < past.high:
            yield from _rounded(case, column)


def clipped(case: Case) -> Iterator[Candidate]:
    for column in case.columns(NUMBERS):
        past = case.history.number(column)
        if len(past.pooled) >= limits.MIN_ROWS and past.low < past.high:
            yield from _clipped(case, column)


def _on(values: Floats, grid: float) -> Mask:
    steps = values / grid
    return np.isfinite(values) & (np.abs(steps - np.round(steps)) < 1e-6)


def _rounded(case: Case, column: str) -> Iterator[Candidate]:
    past = case.history.number(column)
    values = case.numbers(column)
    known = np.isfinite(values)
    tail = values[case.rows // 2 :]
    tail = tail[np.isfinite(tail)]
    spread = float(past.pooled.std())
    for grid in STEPS:
        if not 1e-6 * spread < grid < 2 * spread or len(np.unique(tail)) < 2:
            continue
        if not len(tail) or float(_on(tail, grid).mean()) < limits.GRID:
            continue
        usual = [_on(one[np.isfinite(one)], grid) for one in case.history.raw(column)]
        if max((float(one.mean()) for one in usual if len(one)), default=1.0) > 0.9:
            return  # history stands on this grid, so on every finer one
        hits = _on(values, grid) | ~known
        found = locate_hits(case, hits, usual, exclude={column})
        if found is None or found[1] < limits.GRID:
            continue
        place, share, base = found
        shift = wasserstein(values[known], past.pooled)
        worst = max(wasserstein(one, past.pooled) for one in past.windows if len(one))
        if shift > limits.BEYOND * worst + grid:
            return  # the values themselves went elsewhere: not only rounded
        affected = place.mask & known
        if not _all_steps(values[affected], past, grid):
            return  # steps that the past would fill stand empty: values are missing, not only their digits
        cut = _cut_off(values[affected], past, grid)
        how = "is cut off to" if cut else "comes in"
        yield Candidate(
            kind="precision",
            form="truncated" if cut else "rounded",
            columns=(column,),
            words=f"{how} steps of {plain(grid)}, before in at most {percent(base)} of rows",
            affected=affected,
            place=place,
            strength=share / (base + limits.RATE_FLOOR),
            undo=put_draws((column,), affected),
            holds=rate_holds(hits, share, base),
            crisp=base < 0.6,
            fix=f"send {column} with its digits",
            proof=f"all values are multiples of {plain(grid)} since then",
            facts={"step": grid},
        )
        return


def _all_steps(values: Floats, past: NumberPast, step: float) -> bool:
    """Does every step on which past values would lie in some number hold values, but for a quarter of them?"""
    near, counts = np.unique(np.round(past.pooled / step), return_counts=True)
    expected = near[counts * (len(values) / max(len(past.pooled), 1)) >= limits.RATE_ROWS]
    come = np.unique(np.round(values / step))
    beside = np.isin(expected, come) | np.isin(expected - 1, come)  # where values are cut off, the next step below
    return bool(beside.sum() >= 0.75 * len(expected))


def _cut_off(values: Floats, past: NumberPast, step: float) -> bool:
    """Rounded down rather than to the nearest: the mean lies half a step lower, by more than days differ."""
    usual = float(past.pooled.mean())
    wander = max(abs(float(one.mean()) - usual) for one in past.windows if len(one) >= limits.MIN_ROWS)
    lower = usual - float(values.mean())
    return wander < 0.25 * step and 0.25 * step < lower < 0.75 * step


def _clipped(case: Case, column: str) -> Iterator[Candidate]:
    past = case.history.number(column)
    values = case.numbers(column)
    for sign, word in ((1.0, "above"), (-1.0, "below")):
        side = sign * values
        tail = side[case.rows // 2 :]
        tail = tail[np.isfinite(tail)]
        if len(tail) < limits.MIN_ROWS:
            continue
        limit = float(tail.max())
        if not limits.RATE_ROWS / 2 <= (tail == limit).sum() <= 0.6 * len(tail) or len(np.unique(tail)) < 5:
            continue
        beyond = np.array([float((sign * one > limit).mean()) for one in past.windows if len(one) >= limits.MIN_ROWS])
        least = float(np.quantile(beyond, 0.25)) if len(beyond) else 0.0  # a quiet season may bring a few low days
        if least * len(tail) < limits.RATE_ROWS or beyond.max() > 0.8:
            continue
        hits = side == limit
        # Callers set limits; categories go with the values, and those of one may all be the ones cut.
        everyone = {column, *case.columns(WORDS)}
        found = locate_hits(case, hits, [sign * one == limit for one in case.history.raw(column)], exclude=everyone)
        if found is None or float((side[found[0].mask] > limit).mean()) > 0:
            continue
        place, share, base = found
        left = (1 - share) * least * place.rows
        if share > limits.BEYOND * (beyond.max() + base) + limits.RATE_FLOOR and left < limits.LOST_EXPECTED:
            continue  # more rows at the limit than ever lay beyond it, and the others tell nothing: a fill
        affected = hits & place.mask
        shown = plain(sign * limit)
        yield Candidate(
            kind="precision",
            form="clipped",
            columns=(column,),
            words=f"is cut off at {shown}: nothing {word} it, on most days {percent(least)} or more before",
            affected=affected,
            place=place,
            strength=share / (base + limits.RATE_FLOOR),
            undo=put_numbers(column, affected, sign * _drawn(case, sign * past.pooled, limit)),
            holds=rate_holds(hits, share, base),
            crisp=base < 0.2 * share,
            fix=f"find out who limits {column} to {shown}",
            proof=f"{percent(share)} of rows sit exactly at {shown}",
            facts={"limit": sign * limit},
        )
        return


def _drawn(case: Case, pooled: Floats, limit: float) -> Floats:
    """Past values at or beyond the limit, drawn for every row."""
    beyond = pooled[pooled >= limit]
    return np.random.default_rng(case.seed).choice(beyond, case.rows)

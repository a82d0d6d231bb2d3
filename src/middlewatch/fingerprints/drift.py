"""No kind fits, but one column is far from all that it ever was and predictions follow it: that much is said, as drift.

Either predictions left every past window and usual values of one column take much of it back; or a column is much
farther out than it ever was, and with its usual distribution (each row keeps its rank) the model answers otherwise.
"""

from __future__ import annotations

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, plain, put_draws, put_numbers
from .case import NUMBERS, Case
from .effect import effect_of, removed
from .history import Floats, Mask, NumberPast, hellinger
from .places import Place, in_parts, locate, span

_CALENDAR = ("year", "quarter", "month", "week", "ordinal_day", "day", "weekday", "hour")


def unnamed(case: Case, moved: float) -> Candidate | None:
    """The column that is to be looked at; None where nothing speaks for one. `moved` is the shift of predictions in
    units of its worst past window."""
    if case.score is None:
        return None
    return (_carried(case) if moved > limits.DRIFT_BEYOND else None) or _far(case)


def _carried(case: Case) -> Candidate | None:
    everyone = np.ones(case.rows, bool)
    best: tuple[float, str] | None = None
    for column in case.kinds:
        known = column in case.now.columns and case.kinds[column] not in ("text", "time")
        if not known or case.shape(column) <= limits.BEYOND:
            continue
        share = removed(case, case.with_now(case.drawn((column,), everyone)))
        if share is not None and (best is None or share > best[0]):
            best = (share, column)
    if best is None or best[0] < limits.DRIFT_REMOVES:
        return None
    share, column = best
    return Candidate(
        kind="drift",
        form="drift",
        columns=(column,),
        words="is unlike every past window, in no way with a name",
        affected=everyone,
        place=Place(everyone, 0, None, 0.0),
        strength=case.shape(column),
        undo=put_draws((column,), everyone),
        holds=lambda part: bool(part.any()),
        fix=f"look at {column} over time",
        proof=f"usual values of {column} take back {100 * share:.0f} % of the shift",
    )


def _far(case: Case) -> Candidate | None:
    for column in sorted(case.columns(NUMBERS), key=lambda one: -case.shape(one)):
        past, values = case.history.number(column), case.numbers(column)
        known = np.isfinite(values)
        least = limits.DRIFT_FAR + _luck(past, int(known.sum()))
        if case.shape(column) <= least or _lately(case, past, values[known]) <= least:
            continue
        place = locate(case, _evidence(past, values), exclude={column})
        if place is None or place.rows < span(case) or _calendar(case, column):
            continue
        candidate = _candidate(case, column, past, values, place)
        if in_parts(place, candidate.holds) and effect_of(case, candidate.undo(case), candidate.affected).matters:
            return candidate
    return None


def _lately(case: Case, past: NumberPast, values: Floats) -> float:
    """Distance to the newest quarter of the past, in the same units: a season is on its way and goes on."""
    windows = case.history.windows
    timed = all("mw.time" in one.columns and one.height for one in windows)
    order = sorted(range(len(windows)), key=lambda at: windows[at]["mw.time"][0]) if timed else range(len(windows))
    newest = past.counts[list(order)[-max(len(windows) // 4, 1) :]].sum(axis=0)
    return hellinger(past.binned(values), newest) / past.worst_shape


def _luck(past: NumberPast, rows: int) -> float:
    """Three standard deviations of what chance alone gives in so few rows, in units of the worst past window."""
    bins = len(past.edges)
    return 3.0 * float(np.sqrt(2.0 * bins)) / (8.0 * max(rows, 1)) / past.worst_shape


def _evidence(past: NumberPast, values: Floats) -> Floats:
    """By the bins of the past: how much more often than usual does the second half hold such a value?"""
    known = np.isfinite(values)
    late = values[len(values) // 2 :]
    usual, now = past.counts.sum(axis=0) + 0.5, past.binned(late[np.isfinite(late)]) + 0.5
    ratio = np.log((now / now.sum()) / (usual / usual.sum()))
    at = np.searchsorted(past.edges, np.where(known, values, 0.0), side="right")
    return np.where(known, ratio[at], 0.0)


def _candidate(case: Case, column: str, past: NumberPast, values: Floats, place: Place) -> Candidate:
    affected = place.mask & np.isfinite(values)
    cut = np.clip(_evidence(past, values), -limits.CLIP, limits.CLIP)
    middle, usual = float(np.median(values[affected])), float(np.median(past.pooled))
    moved = f": median {plain(usual)} -> {plain(middle)}" if plain(usual) != plain(middle) else ""

    def holds(part: Mask) -> bool:
        return bool(part.any()) and float(cut[part].mean()) > 0

    return Candidate(
        kind="drift",
        form="drift",
        columns=(column,),
        words=f"is unlike every past window, in no way with a name{moved}",
        affected=affected,
        place=place,
        strength=case.shape(column),
        undo=put_numbers(column, affected, _ranked(values, affected, past)),
        holds=holds,
        fix=f"look at {column} over time",
        proof=f"{case.shape(column):.1f} times as far out as the farthest of {len(past.windows)} past windows",
    )


def _ranked(values: Floats, affected: Mask, past: NumberPast) -> Floats:
    """The past values of the same ranks."""
    mine = np.sort(values[affected])
    rank = (np.searchsorted(mine, values, side="left") + np.searchsorted(mine, values, side="right")) / (2 * len(mine))
    at = np.clip((np.nan_to_num(rank) * len(past.pooled)).astype(np.int64), 0, len(past.pooled) - 1)
    return past.pooled[at]


def _calendar(case: Case, column: str) -> bool:
    """Does the column say what day it is? Then it goes on as time does."""
    past = case.history.pooled
    if "mw.time" not in past.columns or "mw.time" not in case.now.columns:
        return False

    def most(frame: pl.DataFrame, part: str) -> tuple[float, float]:
        off = frame.select((pl.col(column).cast(pl.Float64) - getattr(pl.col("mw.time").dt, part)()).alias("off"))
        counted = off["off"].drop_nulls().value_counts(sort=True)
        return (float(counted["off"][0]), counted["count"][0] / frame.height) if counted.height else (0.0, 0.0)

    return any(
        (usual := most(past, part))[1] > limits.CALENDAR
        and (now := most(case.now, part))[1] > limits.CALENDAR
        and usual[0] == now[0]
        for part in _CALENDAR
    )

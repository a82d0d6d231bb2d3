"""Other rows than usual: a segment lost, one that grew, the same rows again.

The idea: leave the segment out of history too (or out of the window), and everything else is as always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .absorbed import absorbed, still_there
from .candidate import Candidate, percent, rate_holds
from .case import WORDS, Case
from .fill import written_in
from .history import Mask
from .places import locate, locate_hits, span


def fingerprints(case: Case) -> Iterator[Candidate]:
    if case.whole:
        yield from _duplicates(case)
    for column in case.columns(WORDS):
        yield from _lost(case, column)
        yield from _grown(case, column)


def _lost(case: Case, column: str) -> Iterator[Candidate]:
    past = case.history.words(column)
    values = np.array(case.words(column), object)
    if len(past.names) < 2 or past.novelty.max() > limits.LATTICE_NOVELTY:
        return
    for k in np.argsort(-past.shares.min(axis=0), kind="stable")[:6]:
        name, least = past.names[k], float(past.shares[:, k].min())
        if least * case.rows < limits.LOST_EXPECTED:
            return
        present = values == name
        absent = float(np.log((1 - 0.02 * least) / (1 - least)))
        evidence = np.where(present, float(np.log(0.02)), absent).astype(np.float64)
        place = locate(case, evidence, exclude={column})
        if (
            place is None
            or place.slice is not None
            or place.rows * least < limits.LOST_EXPECTED
            or place.rows < span(case)
        ):
            continue
        left = float(present[place.mask].mean())
        if left * 10 > least:
            continue
        keep = (pl.col(column).cast(pl.String) != name).fill_null(True)

        def holds(part: Mask, present: Mask = present, least: float = least) -> bool:
            return float(present[part].mean()) < 0.5 * least

        strength = least / (left + limits.RATE_FLOOR)
        other = absorbed(case, column, name, place, holds, strength)
        if isinstance(other, Candidate):
            yield other
            continue
        other = other or still_there(case, column, name)
        yield Candidate(
            kind="rows",
            form="segment_lost",
            columns=(column,),
            words=f'has lost "{name}": {percent(left)} of rows, never under {percent(least)} before',
            affected=place.mask,
            place=place,
            strength=strength,
            undo=_seen_without(keep),
            holds=holds,
            exact=False,
            rivals=(other,) if other else (),
            crisp=left * 10 < least,
            fix=f'find out why no rows with {column} = "{name}" arrive',
            proof=f'beside past rows without "{name}", everything else is as always',
            facts={"value": name},
        )


def _seen_without(keep: pl.Expr) -> Callable[[Case], Case]:
    def undo(case: Case) -> Case:
        return case.with_now(case.now.filter(keep)).without_past(keep)

    return undo


def _grown(case: Case, column: str) -> Iterator[Candidate]:
    past = case.history.words(column)
    values = np.array(case.words(column), object)
    if len(past.names) < 2:
        return
    now = past.counted(list(values))[:-1] / max(case.rows, 1)
    gained = now - past.shares.max(axis=0)
    k = int(np.argmax(gained))
    name = past.names[k]
    if gained[k] < limits.BEYOND * past.worst_excess + limits.SPIKE_SHARE:
        return
    hits = values == name
    found = locate_hits(case, hits, [one == name for one in case.history.raw(column)], exclude={column})
    if found is None or found[1] >= limits.PRESENT:
        return
    place, share, base = found
    if past.shape(list(values[place.mask])) <= limits.BEYOND * past.worst_shape:
        return
    if written_in(case, column, name, hits & place.mask):
        return
    keep = (pl.col(column).cast(pl.String) != name).fill_null(True)
    rest = _seen_without(keep)(case)
    if rest.rows < limits.MIN_ROWS or rest.shape(column) > limits.INSIDE:
        return
    yield Candidate(
        kind="rows",
        form="segment_new",
        columns=(column,),
        words=f'= "{name}" has grown to {percent(float(hits.mean()))} of rows, at most {percent(base)} before',
        affected=hits & place.mask,
        place=place,
        strength=share / (base + limits.RATE_FLOOR),
        undo=_seen_without(keep),
        holds=rate_holds(hits, share, base),
        crisp=False,
        fix=f'find out where the additional rows with {column} = "{name}" come from',
        proof=f'without "{name}", everything else is as always',
        facts={"value": name},
    )


def _repeated(frame: pl.DataFrame, columns: list[str]) -> Mask:
    """Rows equal to an earlier row of the frame in every given column."""
    return (~frame.select(pl.struct(columns).is_first_distinct()).to_series()).to_numpy()


def _as_long(days: Sequence[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Stretches of days with so many rows, one from each day on that has as many after it: the more rows there are,
    the more of them have something to repeat."""
    for first in range(len(days)):
        last, held = first, days[first].height
        while held < rows and last + 1 < len(days):
            last += 1
            held += days[last].height
        if held >= rows:
            yield days[first] if last == first else pl.concat(days[first : last + 1]).head(rows)


def _duplicates(case: Case) -> Iterator[Candidate]:
    columns = [c for c in case.kinds if c in case.now.columns]
    if "mw.key" in case.now.columns and not case.now["mw.key"].has_nulls():
        columns.append("mw.key")
    if len(columns) < 2:
        return
    hits = _repeated(case.now, columns)
    days = [one.select(columns) for one in case.history.windows if set(columns) <= set(one.columns)]
    before = [_repeated(one, columns) for one in _as_long(days, case.rows)]
    found = locate_hits(case, hits, before) if 2 * len(before) >= limits.MIN_PAST else None
    if found is None or float(hits.mean()) < 0.05:
        return
    place, share, base = found
    affected = hits & place.mask

    def undo(case: Case) -> Case:
        return case.with_now(case.now.filter(pl.Series(~affected)))

    yield Candidate(
        kind="rows",
        form="duplicates",
        columns=(),
        words=f"{percent(float(affected.mean()))} of rows repeat an earlier one, at most {percent(base)} before",
        affected=affected,
        place=place,
        strength=share / (base + limits.RATE_FLOOR),
        undo=undo,
        holds=rate_holds(hits, share, base),
        exact=True,
        crisp=base < 0.2 * share,
        fix="find out who sends rows twice; count each once",
        proof="each of these rows stands earlier in the window",
    )

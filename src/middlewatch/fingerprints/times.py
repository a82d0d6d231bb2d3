"""Time went wrong: a feed that stands still, an hour column that is off by a zone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, percent, plain, put_draws, put_numbers
from .case import NUMBERS, WORDS, Case, hours
from .history import Floats, Ints, Mask
from .places import Place, locate, span

# One zone for each rule of summer time that is followed widely: the hour of the day does not matter here, the day does.
SUMMER_TIMES = (
    "America/New_York",
    "Europe/Berlin",
    "Australia/Sydney",
    "Pacific/Auckland",
    "America/Santiago",
    "Asia/Jerusalem",
    "Africa/Cairo",
)


def fingerprints(case: Case) -> Iterator[Candidate]:
    for column in case.columns(NUMBERS | WORDS):
        yield from _stale(case, column)
    if "mw.time" in case.now.columns:
        for column in case.columns(NUMBERS):
            yield from _shifted(case, column)


def _known(values: np.ndarray) -> Mask:
    known: Mask = np.isfinite(values) if values.dtype == np.float64 else values != np.array(None)
    return known


def _distinct(values: np.ndarray) -> int:
    known = values[_known(values)]
    return len(np.unique(known if known.dtype == np.float64 else known.astype(str)))


def _each_distinct(windows: Sequence[np.ndarray], start: float, rows: int) -> list[int]:
    """Of as many rows as the window has there: fewer rows have fewer values."""
    return [_distinct(one[int(start * len(one)) :][:rows]) for one in windows]


def _stale(case: Case, column: str) -> Iterator[Candidate]:
    values = case.numbers(column) if case.kinds[column] in NUMBERS else np.array(case.words(column), object)
    for start in (0.0, 0.25, 0.5, 0.75):
        rows = values[int(start * case.rows) :]
        if len(rows) < max(2 * span(case), limits.MIN_ROWS):
            continue
        now = _distinct(rows)
        whole = [one for one in case.history.raw(column) if len(one) >= 0.8 * case.rows]
        before = case.history.kept(
            ("distinct", column, start, len(rows)), partial(_each_distinct, whole, start, len(rows))
        )
        if len(before) < limits.MIN_PAST or min(before) < 6 or not 1 < now <= min(before) / limits.STALE:
            continue
        if not _familiar(case, column, rows):
            return  # values never seen before: not an old value that stays
        last = values[-max(span(case), case.rows // 4) :]
        allowed = np.unique(last[_known(last)] if last.dtype == np.float64 else last[_known(last)].astype(str))
        fits = np.isin(values if values.dtype == np.float64 else values.astype(str), allowed) | ~_known(values)
        wrong = np.flatnonzero(~fits)
        onset = int(wrong[-1]) + 1 if len(wrong) else 0
        mask = np.arange(case.rows) >= onset
        affected = mask & _known(values)

        def holds(part: Mask, values: np.ndarray = values, now: int = now) -> bool:
            return _distinct(values[part]) <= now

        yield Candidate(
            kind="time",
            form="stale",
            columns=(column,),
            words=f"stands still: {now} different values, {min(before)} or more before",
            affected=affected,
            place=Place(mask, onset, None, 0.0),
            strength=min(before) / now,
            undo=put_draws((column,), affected),
            holds=holds,
            crisp=True,
            fix=f"restart the feed of {column}",
            proof=f"no new value of {column} since then",
        )
        return


def _familiar(case: Case, column: str, values: np.ndarray) -> bool:
    known = values[_known(values)]
    if case.kinds[column] in NUMBERS:
        past = case.history.number(column)
        return past.lattice is None or float(past.lattice.holds(known).mean()) > 0.5
    return float(np.isin(known.astype(str), case.history.words(column).names).mean()) > 0.9


def _difference(frame: pl.DataFrame, values: Floats) -> Floats:
    """Column less hour of the event, modulo 24; NaN where unknown."""
    return np.where(np.isfinite(values), np.mod(values - hours(frame), 24), np.nan)


def _clocks_changed(case: Case, affected: Mask, known: Mask, off: int) -> bool:
    """True where a country's clocks went on or back by that hour for the affected rows and for no others.

    A column in local time moves against the time of the request twice a year, as it should.
    """
    for zone in SUMMER_TIMES:
        usual = np.concatenate([_summer(one, zone) for one in case.history.windows])
        moved = _summer(case.now, zone) - round(float(np.median(usual))) == off
        others = moved[known & ~affected]
        if moved[affected].mean() >= limits.SLICE and others.sum() <= (1 - limits.SLICE) * len(others):
            return True
    return False


def _summer(frame: pl.DataFrame, zone: str) -> Ints:
    """Hours by which the clocks of a zone are set forward at each row's event time."""
    put_forward = pl.col("mw.time").dt.convert_time_zone(zone).dt.dst_offset().dt.total_hours()
    return frame.select(put_forward.fill_null(0)).to_series().to_numpy().astype(np.int64)


def _shifted(case: Case, column: str) -> Iterator[Candidate]:
    past = case.history.number(column)
    if (
        not len(past.pooled)
        or past.low < 0
        or past.high > 24
        or not np.all(past.pooled == np.round(past.pooled))
        or past.high < 12
    ):
        return
    windows = [
        np.bincount(d[np.isfinite(d)].astype(np.int64), minlength=24)[:24]
        for d in (
            _difference(one, raw) for one, raw in zip(case.history.windows, case.history.raw(column), strict=True)
        )
    ]
    total = np.sum(windows, axis=0)
    best = int(np.argmax(total))
    if total[best] < 0.5 * total.sum():
        return
    values = case.numbers(column)
    now = _difference(case.now, values)
    known = np.isfinite(now)
    usual = (total + 0.5) / (total.sum() + 12)
    tops = {int(np.argmax(one)) for one in windows if one.sum()}
    for turn in sorted(range(1, 24), key=lambda k: min(k, 24 - k)):
        turned = np.roll(usual, turn)
        evidence = np.where(known, np.log(turned / usual)[np.where(known, now, 0).astype(np.int64) % 24], 0.0)
        place = locate(case, evidence, exclude={column})
        if place is None or place.rows < span(case) or (best + turn) % 24 in tops:
            continue
        cut = np.clip(evidence, -limits.CLIP, limits.CLIP)
        if float(cut[place.mask].mean()) < 1.0:
            continue
        affected = place.mask & known & (evidence > 0)
        off = turn if turn <= 12 else turn - 24
        if abs(off) == 1 and _clocks_changed(case, affected, known, off):
            return
        word = "further ahead of" if off > 0 else "further behind"

        def holds(part: Mask, cut: Floats = cut) -> bool:
            return bool(part.any()) and float(cut[part].mean()) > 0.5

        yield Candidate(
            kind="time",
            form="zone",
            columns=(column,),
            words=f"is {plain(abs(off))} h {word} the time of the request in {percent(float(affected.mean()))} of rows",
            affected=affected,
            place=place,
            strength=2.0,
            undo=put_numbers(column, affected, np.mod(values - off, 24)),
            holds=holds,
            exact=True,
            crisp=True,
            fix=f"{column} = ({column} - {off}) mod 24  (undoes it)",
            proof=f"turned back by {off} h, hours and request times fit as always",
            facts={"hours": off},
        )
        return

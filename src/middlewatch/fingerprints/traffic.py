"""How many rows came, beside the same hours and weekdays of own history: far more, far fewer, or none for a while.

The idea: traffic has a rhythm of its own, so a window is held against what each of its hours usually brings, and how
far past days themselves were off says what is far. A scan finds the stretch of hours that is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .history import Floats, Ints

HOURS = 24


@dataclass(frozen=True)
class Traffic:
    """Rows by hour. Of each hour of the window: `clock` (0 to 23), `weekday`, `covered` (the share of it that lies in
    the window), `rows`. `past` has a row a past day and a column a clock hour, `weekdays` the weekday of each day.
    """

    clock: Ints
    weekday: Ints
    covered: Floats
    rows: Ints
    past: Ints
    weekdays: Ints

    @cached_property
    def expected(self) -> Floats:
        """Rows that each hour of the window usually brings."""
        usual = {day: self.usual(day, np.ones(len(self.past), bool)) for day in np.unique(self.weekday).tolist()}
        by_hour = [usual[day][hour] for day, hour in zip(self.weekday.tolist(), self.clock.tolist(), strict=True)]
        return np.array(by_hour) * self.covered

    def usual(self, weekday: int, days: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
        """Rows by clock hour on some weekday: the median day among `days`, spread as all of those spread."""
        same = days & (self.weekdays == weekday)
        chosen = self.past[same if same.sum() >= limits.SAME_WEEKDAY else days]
        total = chosen.sum()
        level = float(np.median(chosen.sum(axis=1))) if len(chosen) else 0.0
        return chosen.sum(axis=0) * (level / total) if total else np.zeros(HOURS)

    @cached_property
    def _left_out(self) -> Floats:
        """Past days as their own hours would have been expected from the others: (days, 24)."""
        every = np.arange(len(self.past))
        return np.array([self.usual(int(self.weekdays[day]), every != day) for day in every]).reshape(-1, HOURS)

    def worst(self, hours: int, *, more: bool) -> float:
        """The farthest (as a logarithm) that a stretch of so many hours of a past day was off to one side."""
        size = min(hours, HOURS)
        came, expected = _stretches(self.past, size), _stretches(self._left_out, size)
        enough = expected >= limits.LOST_EXPECTED
        off = _off(came[enough], expected[enough]) * (1 if more else -1)
        return float(max(off.max(initial=0.0), 0.0))


@dataclass(frozen=True)
class Volume:
    """Hours [`first`, `last`) of the window brought `rows` where `usual` are usual; past days were at most `worst`
    (a logarithm) off to that side in as many hours."""

    first: int
    last: int
    rows: int
    usual: float
    worst: float

    @property
    def factor(self) -> float:
        return self.rows / self.usual

    @property
    def more(self) -> bool:
        return self.rows > self.usual


def volume(traffic: Traffic) -> Volume | None:
    """The stretch of hours in which far more or far fewer rows came than ever, None where all is as always."""
    if len(traffic.past) < limits.MIN_PAST:
        return None
    whole = (0, len(traffic.rows))
    found = [whole]
    for factor in (0.02, 0.5, 2.0):
        evidence = traffic.rows * np.log(factor) - (factor - 1.0) * traffic.expected
        found.append(_best(evidence))
    tested = [one for first, last in dict.fromkeys(found) if (one := _tested(traffic, first, last)) is not None]
    # Some hours are named where they say clearly more than all of them.
    return max(
        tested, key=lambda one: _evidence(one) + limits.SLICE_GAIN * ((one.first, one.last) == whole), default=None
    )


def _tested(traffic: Traffic, first: int, last: int) -> Volume | None:
    rows, usual = int(traffic.rows[first:last].sum()), float(traffic.expected[first:last].sum())
    if usual < limits.LOST_EXPECTED:
        return None
    off = float(_off(np.array([rows]), np.array([usual]))[0])
    worst = traffic.worst(last - first, more=off > 0)
    found = Volume(first, last, rows, usual, worst)
    # As telling as no row at all where so many are expected.
    lucky = _evidence(found) < limits.LOST_EXPECTED
    return None if lucky or abs(off) <= max(np.log(limits.VOLUME), limits.BEYOND * worst) else found


def _evidence(one: Volume) -> float:
    """Log likelihood ratio of a Poisson count against what is usual."""
    return one.rows * float(np.log(max(one.rows, 1) / one.usual)) - (one.rows - one.usual)


def _off(came: Floats | Ints, expected: Floats) -> Floats:
    off: Floats = np.log((came + 0.5) / (expected + 0.5))
    return off


def _stretches(hours: Floats | Ints, size: int) -> Floats:
    """Sums of `size` neighbouring hours of each day, (days, 25 - size)."""
    sums = np.concatenate([np.zeros((len(hours), 1)), np.cumsum(hours, axis=1)], axis=1)
    stretches: Floats = sums[:, size:] - sums[:, : sums.shape[1] - size]
    return stretches


def _best(evidence: Floats) -> tuple[int, int]:
    """The stretch with the largest sum."""
    best, first, start, total = (0.0, 0, 0), 0, 0, 0.0
    for at, one in enumerate(evidence.tolist()):
        if total <= 0:
            start, total = at, 0.0
        total += one
        if total > best[0]:
            best = (total, start, at + 1)
            first = start
    return first, max(best[2], first)


def whose(
    now: pl.DataFrame, change: Volume, past: Sequence[pl.DataFrame], columns: Sequence[str]
) -> tuple[str, str] | None:
    """The caller or value that the change is of: its rows make nearly all of it, and the others came as usual.

    `now` and `past` are the rows (or evenly drawn ones) of those hours. None where it is everybody's.
    """
    if not now.height or not past:
        return None
    off = change.rows - change.usual
    for column in columns:
        if column not in now.columns or not all(column in one.columns for one in past):
            continue
        came = _shares([now], column)
        usual = _shares(past, column)
        for value in sorted(came.keys() | usual.keys(), key=lambda one: -abs(came.get(one, 0) - usual.get(one, 0)))[:3]:
            mine, expected = came.get(value, 0.0) * change.rows, usual.get(value, 0.0) * change.usual
            others = float(_off(np.array([change.rows - mine]), np.array([change.usual - expected]))[0])
            if (mine - expected) / off >= limits.SLICE and abs(others) < np.log(limits.VOLUME):
                return column, value
    return None


def _shares(frames: Sequence[pl.DataFrame], column: str) -> dict[str, float]:
    """Mean share of each value of a column."""
    shares: dict[str, float] = {}
    for frame in frames:
        counted = frame[column].cast(pl.String).drop_nulls().value_counts()
        for value, count in counted.iter_rows():
            shares[value] = shares.get(value, 0.0) + count / max(frame.height, 1) / len(frames)
    return shares

"""Where the values of a number column lie: on old acquaintances, or on a grid of decimals.

After a change of unit next to nothing lies there, after the right inverse everything does again. Columns whose
values come back from day to day have the first kind of lattice; money and measures, new every day but to the
cent, the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

import middlewatch.fingerprints.thresholds as limits

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_DIGITS = range(-3, 7)
STEPS = tuple(float(f"{digit}e{power}") for power in range(5, -7, -1) for digit in (5, 2, 1))
"""Steps that people round to, the coarsest first."""


@dataclass(frozen=True)
class Lattice:
    """`values`: every value ever seen, sorted; or `step`: of the grid (0 where values repeat). `usual`, `least`:
    share of a past window's values that lie on it, the median and the least; `some`: past values to try with."""

    values: Floats
    step: float
    usual: float
    least: float
    some: Floats

    def holds(self, values: Floats, tolerance: float = 0.0) -> Mask:
        """Which values lie within `tolerance` of it."""
        slack = tolerance + 1e-9 * np.maximum(np.abs(values), 1.0)
        near: Mask = np.abs(values - self.nearest(values)) <= slack
        return near

    @property
    def grid(self) -> float:
        """The coarsest decimal step on which nearly all its places lie; 0 where there is none."""
        return self.step or decimal_step(self.values)

    def nearest(self, values: Floats) -> Floats:
        """The next place on it."""
        if self.step:
            return np.round(np.round(values / self.step) * self.step, 9)
        at = np.clip(np.searchsorted(self.values, values), 1, max(len(self.values) - 1, 1))
        left, right = self.values[at - 1], self.values[np.minimum(at, len(self.values) - 1)]
        return np.where(np.abs(values - left) <= np.abs(values - right), left, right)

    def chance(self, tolerance: float = 0.0) -> float:
        """Share of values slightly off that lie on it all the same."""
        return max(self._chance, min(2 * tolerance / self.step, 1.0)) if self.step else self._chance

    @cached_property
    def _chance(self) -> float:
        off = self.some[self.some != 0]
        return float(self.holds(off * 1.0113).mean()) if len(off) else 1.0


def lattice_of(windows: Sequence[Floats], pooled: Floats, distinct: Floats, novelty: Floats) -> Lattice | None:
    """The lattice of past windows (finite values each; all of them sorted; the distinct ones; per window the share
    that occurs in no other), None where there is none that a slightly wrong value would miss."""
    if len(pooled) < limits.MIN_ROWS:
        return None
    some = pooled[:: max(len(pooled) // 2000, 1)]
    if float(np.median(novelty)) <= limits.LATTICE_NOVELTY:
        found = Lattice(distinct, 0.0, 1.0 - float(np.median(novelty)), 1.0 - float(novelty.max()), some)
        if found.chance() <= limits.LATTICE_CONTROL:
            return found
    step = decimal_step(some)
    if not step:
        return None
    grid = Lattice(distinct, step, 1.0, 1.0, some)
    on = np.array([float(grid.holds(one).mean()) for one in windows if len(one)])
    grid = Lattice(distinct, step, float(np.median(on)), float(on.min()), some)
    return grid if grid.least >= limits.LATTICE_MATCH and grid.chance() <= limits.LATTICE_CONTROL else None


def decimal_step(values: Floats) -> float:
    """The coarsest power of ten of which nearly all values are multiples; 0 where there is none."""
    for digits in _DIGITS:
        step = 10.0**-digits
        off = np.abs(values - np.round(values / step) * step)
        if len(values) and float((off <= 1e-9 * np.maximum(np.abs(values), 1.0)).mean()) >= limits.GRID:
            return step
    return 0.0


def coarsest_step(values: Floats, below: float) -> float:
    """The coarsest step (1, 2 or 5 times a power of ten, under `below`) of which nearly all values are multiples."""
    for step in STEPS:
        if step < below and len(values):
            turns = values / step
            if float((np.abs(turns - np.round(turns)) < 1e-6).mean()) >= limits.GRID:
                return step
    return 0.0


def spacing(came: Floats, step: float, low: float, high: float) -> float:
    """The factor from `low` to `high` that puts the distances of `came` values on whole `step`s; 0 where none does.

    The peak of their periodogram: distances d are multiples of step / factor where cos(2 pi factor d / step) is 1.
    """
    values = np.unique(came)
    values = values[np.linspace(0, len(values) - 1, min(len(values), 80)).astype(np.int64)]
    apart = values - values[len(values) // 2]
    widest = float(np.abs(apart).max()) if len(values) else 0.0
    if len(values) < limits.LATTICE_DISTINCT or widest == 0 or not 0 < low < high:
        return 0.0
    count = min(int(12 * (high - low) * widest / step) + 1, 40_000)  # twelve a turn of the farthest distance
    factors = np.linspace(low, high, count)
    fits = np.concatenate(
        [
            np.cos(2 * np.pi / step * np.outer(part, apart)).mean(axis=1)
            for part in np.array_split(factors, count // 2000 + 1)
        ]
    )
    # Twice the factor puts them on whole steps too: the least one is meant.
    best = float(factors[int(np.argmax(fits > 0.95 * fits.max()))])
    turn = step / (2 * widest)
    near = np.linspace(max(best - turn, low / 2), best + turn, 400)
    fits = np.cos(2 * np.pi / step * np.outer(near, apart)).mean(axis=1)
    # Over 0.9: the distances are within a twelfth of a step of whole ones.
    return float(near[int(np.argmax(fits))]) if float(fits.max()) > limits.LATTICE_MATCH else 0.0

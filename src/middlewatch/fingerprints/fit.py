"""One map tried on one column: the rows it speaks for, and what is left of the change once it is undone there.

A map that the data suggested was fitted on every other row. What it leaves, and how many values it brings back, is
counted on the rows between them: a map cannot be proved by the rows it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .case import Case
from .history import Floats, Mask, NumberPast, edges_of
from .places import Place, locate, span
from .units import Map


def fitted(case: Case) -> Mask:
    """The rows that maps are fitted on; the others test them."""
    odd: Mask = np.arange(case.rows) % 2 == 1
    return odd


class Fit:
    """`left`: distance of the tested rows to history after undoing the map, in units of the worst past window;
    `matched`: share of their values that are back on the lattice, None where that proves nothing; `affected`: rows
    that are undone; `place`: where and since when."""

    def __init__(self, case: Case, column: str, past: NumberPast, tried: Map) -> None:
        self.map = tried
        self.column = column
        self.past = past
        self.values = case.numbers(column)
        self.tolerance = _tolerance(self.values, tried, past)
        self.back = _snapped((self.values - tried.offset) / tried.slope, past, self.tolerance)
        self.evidence = _evidence(self.values, self.back, past, tried, self.tolerance)
        self.left = np.inf
        self.matched: float | None = None
        self.affected = np.zeros(case.rows, bool)
        self.tested = np.ones(case.rows, bool) if tried.named else ~fitted(case)
        self.place: Place | None = None
        smooth = self._smooth()
        for place, affected in self._parts(case):
            undone = np.where(affected, smooth, self.values)[self.tested]
            left = past.shape(undone[np.isfinite(undone)]) / past.worst_shape
            # All rows rather than a part of them, unless undoing only that part leaves far less behind.
            if affected.sum() >= limits.RATE_ROWS and (left < 0.5 * self.left and self.left > 0.5):
                self.left, self.affected, self.place = left, affected, place
        if self.affected.any():
            self.matched = matched(self.values[self.affected & self.tested], tried, past, self.tolerance)

    def _parts(self, case: Case) -> Iterator[tuple[Place, Mask]]:
        """Places and the affected rows there: all rows of the place, or those that speak for the map."""
        place = self._located(case, slices=True)
        if place is None:
            return
        places = [place]
        # Categories go with the column by nature: small values of one look like those of another unit.
        if place.slice is not None and not place.slice[0].startswith("mw."):
            whole = self._located(case, slices=False)
            places = [place] if whole is None else [whole, place]
        known = np.isfinite(self.values)
        places = [one for one in places if one.rows >= span(case)]
        spoken = np.clip(self.evidence, -limits.CLIP, limits.CLIP)
        # Where the rows of a place together speak against the map, it can only have been at work on some of them.
        for one in places:
            if spoken[one.mask & known].sum() > 0:
                yield one, one.mask & known
        for one in places:
            yield one, one.mask & known & (self.evidence > 0)

    def _located(self, case: Case, *, slices: bool) -> Place | None:
        """Where the map was at work, on all rows there or on a share of them: a mixture, its share refined inside."""
        place: Place | None = None
        ratio = np.exp(np.clip(self.evidence, -limits.CLIP, limits.CLIP))
        known = np.isfinite(self.values)
        rows = known
        for _ in range(2):
            share = 0.5
            for _ in range(8):
                share = float(np.mean(share * ratio[rows] / (share * ratio[rows] + 1 - share)))
            share = float(np.clip(share, 0.02, 0.98))
            mixed = np.where(known, np.log(1 - share + share * ratio), 0.0)
            place = locate(case, mixed, exclude={self.column}, slices=slices)
            if place is None:
                return None
            rows = place.mask & known
            if not rows.any():
                return None
        return place

    def _smooth(self) -> Floats:
        """Mapped back as they may have been before they were rounded on the way: else a distribution of steps is
        compared with one of other steps. The same draws for every call."""
        spread = np.random.default_rng(0).uniform(-self.tolerance, self.tolerance, len(self.values))
        return _snapped((self.values - self.map.offset) / self.map.slope + spread, self.past, self.tolerance)

    @property
    def proved(self) -> bool:
        """Do the values themselves say so: back where they belong, which other maps would not manage?"""
        lattice = self.past.lattice
        return lattice is not None and (self.matched or 0.0) >= limits.LATTICE_MATCH * lattice.usual

    @property
    def outside(self) -> float:
        """Share of the affected values far outside everything seen."""
        return float(self.past.outside(self.values[self.affected], limits.OUT).mean())

    @property
    def moved(self) -> float:
        """How far the map moved the middle of the affected values, in standard deviations of the past."""
        rows = self.affected
        middle = float(np.median(self.values[rows])) - float(np.median(self.back[rows]))
        return abs(middle) / max(float(self.past.pooled.std()), 1e-12)

    @property
    def apart(self) -> float:
        """Distance of the affected values to the past, in units of the worst stretch of as many past values."""
        values = self.values[self.affected]
        return self.past.shape(values) / self.past.worst_part(len(values))

    @property
    def partial(self) -> bool:
        """Only some rows of the place: chosen one by one, so that their own values must prove them."""
        return self.place is None or self.affected.sum() < 0.75 * (self.place.mask & np.isfinite(self.values)).sum()

    def holds(self, part: Mask) -> bool:
        """In a part of the rows: they speak for the map, or undoing it brings them nearer to history."""
        rows = part & self.affected
        if not rows.any():
            return False
        if float(np.clip(self.evidence[rows], -limits.CLIP, limits.CLIP).mean()) > 0:
            return True
        return self.past.shape(self.back[rows]) < 0.5 * self.past.shape(self.values[rows])


def _evidence(values: Floats, back: Floats, past: NumberPast, tried: Map, tolerance: float) -> Floats:
    """Log likelihood ratio a row: drawn from the mapped past against drawn from the past."""
    pooled = past.pooled
    if len(pooled) > 4000:
        pooled = pooled[np.linspace(0, len(pooled) - 1, 4000).astype(np.int64)]
    mapped = np.sort(pooled * tried.slope + tried.offset)
    edges = np.unique(np.concatenate([edges_of(pooled, 20), edges_of(mapped, 20)]))
    size = len(edges) + 1

    def log_mass(sample: Floats) -> Floats:
        counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=size) + 0.5
        logs: Floats = np.log(counts / counts.sum())
        return logs

    ratio = (log_mass(mapped) - log_mass(pooled))[np.searchsorted(edges, values, side="right")]
    if past.lattice is not None:
        usual, chance = past.lattice.usual, min(past.lattice.chance(tolerance), past.lattice.usual)
        seen, unseen = np.log((usual + 0.02) / (chance + 0.02)), np.log((1.02 - usual) / (1.02 - chance))
        ratio = ratio + np.where(past.lattice.holds(back, tolerance), seen, unseen)
        ratio = ratio - np.where(past.lattice.holds(values), seen, unseen)
    return np.where(np.isfinite(values), ratio, 0.0)


def _snapped(back: Floats, past: NumberPast, tolerance: float) -> Floats:
    """Values within reach of an old one become it: 2.4000000000000004 is 2.4, to a tree and to a histogram."""
    if past.lattice is None:
        digits = 9 - int(np.floor(np.log10(max(abs(past.low), abs(past.high), 1e-9))))
        return np.round(back, max(digits, 0))
    near = past.lattice.nearest(back)
    return np.where(np.abs(back - near) <= tolerance + 1e-9 * np.maximum(np.abs(back), 1.0), near, back)


def _tolerance(values: Floats, tried: Map, past: NumberPast) -> float:
    """Half a step of the decimals that the values came with, carried back through the map; next to nothing where
    the values that belong nowhere are mapped back to the digit: then nothing was rounded on the way."""
    finite = values[np.isfinite(values)]
    least = 1e-6 / abs(tried.slope)
    if past.lattice is not None:
        off = finite[~past.lattice.holds(finite)]
        if len(off) >= limits.RATE_ROWS:
            held = past.lattice.holds((off - tried.offset) / tried.slope, least)
            if float(held.mean()) >= limits.LATTICE_MATCH * past.lattice.usual:
                return least
    for digits in range(7):
        if np.mean(np.abs(finite - np.round(finite, digits)) < 1e-9) > 0.95:
            return float(0.5 * 10.0**-digits / abs(tried.slope))
    return least


def matched(values: Floats, tried: Map, past: NumberPast, tolerance: float) -> float | None:
    """Share of mapped-back values that are old acquaintances; None where slightly wrong maps match as well."""
    lattice = past.lattice
    if lattice is None:
        return None
    zero = (values == 0) & (tried.offset == 0)
    values = values[~zero]
    if len(values) < limits.RATE_ROWS or len(np.unique(values)) < limits.LATTICE_DISTINCT:
        return None
    back = (values - tried.offset) / tried.slope
    if float(lattice.holds(values).mean()) > limits.LATTICE_CONTROL:
        return None  # as they came they are old acquaintances as well
    control = max(float(lattice.holds(back * (1 + wrong), tolerance).mean()) for wrong in (0.011, -0.017, 0.037))
    return None if control > limits.LATTICE_CONTROL else float(lattice.holds(back, tolerance).mean())

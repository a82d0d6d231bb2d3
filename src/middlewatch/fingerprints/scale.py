"""A number column whose values went through a straight line: another unit, a free factor, scaled twice, a sign.

The idea: under the right inverse everything returns at once: the distribution, and where values repeat from
day to day, the values themselves (the lattice). Wrong inverses must not manage the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, plain, put_numbers
from .case import NUMBERS, Case
from .history import Floats, Mask, NumberPast, edges_of, wasserstein
from .lattice import Lattice, coarsest_step, spacing
from .places import Place, locate, span
from .units import Map, named_maps

_NAMED = named_maps()


def fingerprints(case: Case) -> Iterator[Candidate]:
    """At most one candidate a column: the best map that brings the column back inside its history."""
    for column in case.columns(NUMBERS):
        past = case.history.number(column)
        values = case.numbers(column)
        known = np.isfinite(values)
        if len(past.pooled) < limits.MIN_ROWS or known.sum() < limits.MIN_ROWS or past.low == past.high:
            continue
        if case.unusual(column) <= limits.BEYOND:
            continue
        found = _best(case, column, past)
        if found is not None:
            yield found


class _Fit:
    """One map tried on one column: the rows it speaks for and what is left after undoing it there."""

    def __init__(self, case: Case, column: str, past: NumberPast, tried: Map) -> None:
        self.map = tried
        self.column = column
        self.past = past
        self.values = case.numbers(column)
        self.back = _snapped((self.values - tried.offset) / tried.slope, past, _tolerance(self.values, tried))
        self.evidence = _evidence(self.values, self.back, past, tried)
        self.left = np.inf
        self.matched: float | None = None
        self.affected = np.zeros(case.rows, bool)
        self.place = self._located(case)
        if self.place is None or self.place.rows < span(case):
            return
        inside = self.place.mask & np.isfinite(self.values)
        smooth = _smooth(self.values, tried, past)
        for affected in (inside, inside & (self.evidence > 0)):
            undone = np.where(affected, smooth, self.values)
            left = past.shape(undone[np.isfinite(undone)]) / past.worst_shape
            # All rows of the place, unless undoing only those that speak for the map leaves far less behind.
            if affected.sum() >= limits.RATE_ROWS and (left < 0.5 * self.left and self.left > 0.5):
                self.left, self.affected = left, affected
        if not self.affected.any():
            return
        self.matched = _matched(self.values[self.affected], tried, past)

    def _located(self, case: Case) -> Place | None:
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
            place = locate(case, np.where(known, np.log(1 - share + share * ratio), 0.0), exclude={self.column})
            if place is None:
                return None
            rows = place.mask & known
            if not rows.any():
                return None
        return place

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


def _evidence(values: Floats, back: Floats, past: NumberPast, tried: Map) -> Floats:
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
        tolerance = _tolerance(values, tried)
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


def _smooth(values: Floats, tried: Map, past: NumberPast) -> Floats:
    """Mapped back as they may have been before they were rounded on the way: else a distribution of steps is
    compared with one of other steps. The same draws for every call."""
    tolerance = _tolerance(values, tried)
    spread = np.random.default_rng(0).uniform(-tolerance, tolerance, len(values))
    return _snapped((values - tried.offset) / tried.slope + spread, past, tolerance)


def _tolerance(values: Floats, tried: Map) -> float:
    """Half a step of the decimals that the values came with, carried back through the map."""
    finite = values[np.isfinite(values)]
    for digits in range(7):
        if np.mean(np.abs(finite - np.round(finite, digits)) < 1e-9) > 0.95:
            return float(0.5 * 10.0**-digits / abs(tried.slope))
    return 1e-6 / abs(tried.slope)


def _matched(values: Floats, tried: Map, past: NumberPast) -> float | None:
    """Share of mapped-back values that are old acquaintances; None where slightly wrong maps match as well."""
    lattice = past.lattice
    if lattice is None:
        return None
    tolerance = _tolerance(values, tried)
    zero = (values == 0) & (tried.offset == 0)
    values = values[~zero]
    if len(values) < limits.RATE_ROWS or len(np.unique(values)) < limits.LATTICE_DISTINCT:
        return None
    back = (values - tried.offset) / tried.slope
    if float(lattice.holds(values).mean()) > limits.LATTICE_CONTROL:
        return None  # as they came they are old acquaintances as well
    control = max(float(lattice.holds(back * (1 + wrong), tolerance).mean()) for wrong in (0.011, -0.017, 0.037))
    return None if control > limits.LATTICE_CONTROL else float(lattice.holds(back, tolerance).mean())


def _good(fit: _Fit, past: NumberPast, reach: float) -> bool:
    """Back inside history; by its values where they can tell, else by a factor that history never came near."""
    lattice = past.lattice
    known = lattice is not None and (fit.matched or 0.0) >= limits.LATTICE_MATCH * lattice.least
    # Values that are back where they belong may have had an unusual day besides.
    if fit.left > max(limits.INSIDE, 0.1 * fit.apart if known and not fit.partial else 0.0):
        return False
    if fit.partial:
        came = np.unique(fit.values[fit.affected])
        matched = _matched(came, fit.map, past)
        agree = lattice is not None and (matched or 0.0) >= limits.LATTICE_MATCH * lattice.usual
        return (known and agree and _explains_the_new(fit, lattice)) or _explains_the_far(fit, past)
    if fit.map.form == "already_scaled":
        came = fit.values[fit.affected]
        came = came[(came != 0) & (came != 1)]  # the ends of a scale from 0 to 1 are values that many columns have
        return len(came) > 0 and float((~past.seen(came)).mean()) > limits.SLICE
    if fit.map.named and fit.matched is not None:
        return known
    if known:
        return True
    beyond = fit.outside >= limits.SLICE or fit.apart > limits.BEYOND
    if fit.map.offset != 0 or fit.map.slope < 0:
        return fit.moved > limits.BEYOND and beyond
    size = abs(float(np.log(fit.map.slope)))
    return size > reach and (beyond or size > limits.STANDS * reach) and _multiplied(fit, past)


def _explains_the_far(fit: _Fit, past: NumberPast) -> bool:
    """Some rows lie outside everything seen, those of the map are nearly all of them, and mapped back they are a
    sample of the past like any other."""
    if fit.place is None:
        return False
    far = past.outside(fit.values, 0.0) & np.isfinite(fit.values) & fit.place.mask
    both = far & fit.affected
    return bool(
        both.sum() >= max(limits.SLICE * far.sum(), limits.SLICE * fit.affected.sum(), limits.MIN_ROWS)
        and len(np.unique(fit.values[both])) >= limits.LATTICE_DISTINCT
        and far.sum() > (limits.BEYOND * past.worst_outside(0.0) + limits.RATE_FLOOR) * fit.place.rows
        and past.shape(fit.back[both]) <= limits.BEYOND * past.worst_part(int(both.sum()))
    )


def _multiplied(fit: _Fit, past: NumberPast) -> bool:
    """Is the factor about the same for small and large values? Where what was added is as much the same, the world
    may have moved as well. Nearly all values out of range speak for themselves."""
    if fit.outside >= limits.SLICE:
        return True
    at = np.linspace(0.1, 0.9, 17)
    came, usual = np.quantile(fit.values[fit.affected], at), np.quantile(past.pooled, at)
    both = (np.sign(came) == np.sign(usual)) & (np.abs(usual) > 1e-12)
    if both.sum() < 9:
        return False
    factors, added = np.log(came[both] / usual[both]), came[both] - usual[both]
    size = abs(float(np.median(factors)))
    more_even = float(factors.std()) * abs(float(np.median(added))) < 0.5 * float(added.std()) * size
    return more_even and float(factors.std()) < limits.EVEN * size


def _only_rounded(values: Floats, past: NumberPast) -> bool:
    """Are values that came in coarser steps inside history, but for those steps? Then no map is needed."""
    known = values[np.isfinite(values)]
    step = coarsest_step(known[len(known) // 2 :], float(past.pooled.std()) * 2)
    if not step or (past.lattice is not None and step <= past.lattice.grid):
        return False
    draws = np.random.default_rng(0).uniform(0, step, len(known))
    worst = limits.BEYOND * max(wasserstein(one, past.pooled) for one in past.windows if len(one))
    return any(wasserstein(known + draws - back, past.pooled) <= worst for back in (step / 2, 0.0, step))


def _explains_the_new(fit: _Fit, lattice: Lattice | None) -> bool:
    """Rows picked because they fit prove nothing: of all values that are off the lattice, more than every past
    window had, nearly all must be among them, and few would have been by chance."""
    if lattice is None or fit.place is None or lattice.chance(_tolerance(fit.values, fit.map)) >= 0.25:
        return False
    there = fit.place.mask & np.isfinite(fit.values)
    off = there & ~lattice.holds(fit.values)
    by_nature = (1.0 - lattice.usual) * there.sum()
    explained = off & fit.affected
    return (
        len(np.unique(fit.values[explained])) >= limits.LATTICE_DISTINCT
        and explained.sum() >= limits.SLICE * max(off.sum() - by_nature, 0.5 * fit.affected.sum())
        and off[there].mean() > limits.BEYOND * (1.0 - lattice.least)
    )


def _best(case: Case, column: str, past: NumberPast) -> Candidate | None:
    reach = limits.BEYOND * past.worst_ratio
    tried = list(_NAMED)
    if past.shape(-past.pooled) < 0.1:  # symmetric: the sign leaves no trace
        tried = [one for one in tried if one.form != "sign"]
    fits = [_Fit(case, column, past, one) for one in tried]
    # Back inside history, but not value by value: perhaps by the factor as it was typed.
    near = [fit for fit in fits if fit.left <= limits.INSIDE and fit.matched is not None and not fit.proved]
    fits += [_Fit(case, column, past, one) for fit in near for one in fit.map.typed()]
    good = [fit for fit in fits if _good(fit, past, reach) and _likely(fit)]
    if not good:
        free = [_Fit(case, column, past, one) for one in _free(case, column, past, reach)]
        good = [fit for fit in free if _good(fit, past, reach)]
    if not good:
        return None
    if _only_rounded(case.numbers(column), past) and not any(fit.proved for fit in good):
        return None
    good.sort(
        key=lambda fit: (
            fit.map.form != "already_scaled",
            -round(fit.matched or 0.0, 1),
            -_gain(fit),
        )
    )
    best = good[0]
    if best.place is None:
        return None
    rivals = tuple(fit.map.name for fit in good[1:] if _apart(fit.map, best.map, past) and _rival(fit, best))
    return _candidate(case, column, best, best.place, rivals)


def _likely(fit: _Fit) -> bool:
    """A rare unit that the values do not prove must be one for a column of this name."""
    return fit.proved or fit.map.fits(fit.column)


def _gain(fit: _Fit) -> float:
    return fit.place.gain if fit.place is not None else 0.0


def _rival(fit: _Fit, best: _Fit) -> bool:
    return best.matched is None or (fit.matched or 0.0) >= limits.LATTICE_MATCH * best.matched


def _apart(a: Map, b: Map, past: NumberPast) -> bool:
    """Do two maps give different values at the middle and near the ends of the past?"""
    at = np.quantile(past.pooled, [0.1, 0.5, 0.9])
    back = ((at * b.slope + b.offset) - a.offset) / a.slope
    return bool(np.abs(back - at).max() > (limits.RATIO_APART - 1) * max(float(np.ptp(at)), 1e-12))


def _free(case: Case, column: str, past: NumberPast, reach: float) -> Iterator[Map]:
    """Maps that the data suggest: fitted on every other row, on all rows, the last half, each caller, and the values
    that lie where none did before, as a change may begin anywhere in the window."""
    values = case.numbers(column)
    odd = np.arange(case.rows) % 2 == 1
    groups = [np.ones(case.rows, bool), np.arange(case.rows) >= case.rows // 2]
    groups += [rows for (name, _), rows in case.slices.items() if name == "mw.caller"]
    if past.lattice is not None:
        groups.append(~past.lattice.holds(values))
    at = np.linspace(0.1, 0.9, 17)
    target = np.quantile(past.pooled, at)
    for rows in groups:
        fitted = values[rows & odd]
        fitted = fitted[np.isfinite(fitted)]
        if len(fitted) < limits.MIN_ROWS:
            continue
        came = np.quantile(fitted, at)
        yield from _already_scaled(past, came, target, fitted)
        both = (np.abs(came) > 1e-12) & (np.abs(target) > 1e-12) & (np.sign(came) == np.sign(target))
        if both.sum() >= 9:
            logs = np.log(came[both] / target[both])
            ratio = float(np.median(logs))
            off = past.lattice is not None and float(past.lattice.holds(fitted).mean()) < limits.LATTICE_CONTROL
            even = abs(ratio) > max(reach, 0.04) and float(logs.std()) < 0.15 * abs(ratio) + 0.03
            if off or even:  # values that are off their lattice prove a factor by the way back alone
                back = _refined(past, fitted, float(np.exp(-ratio)), 0.0)[0]
                if not 0.5 < back * np.exp(ratio) < 2:  # drawn to another place of the lattice: no factor at all
                    continue
                slope = 1 / back
                yield Map(slope, 0.0, f"is x{slope:.3g} of what it was", form="free ratio", named=False)


def _already_scaled(past: NumberPast, came: Floats, target: Floats, fitted: Floats) -> Iterator[Map]:
    """(x - mean) / sd of the past, or (x - min) / (max - min): the caller scaled what the model scales itself."""
    mean, sd = float(past.pooled.mean()), float(past.pooled.std())
    if sd == 0 or float(np.ptp(came)) == 0 or (abs(mean) < 0.5 and 0.5 < sd < 2) or abs(float(np.median(fitted))) > 3:
        return
    yield from _standard(past, fitted, target)
    slope, offset = (float(c) for c in np.polyfit(came, target, 1))
    for a, b in ((slope, offset), (sd, mean), (past.high - past.low, past.low)):
        a, b = _refined(past, fitted, a, b)
        if a <= 0:
            continue
        standard = abs(np.log(a / sd)) < np.log(1.6) and abs(b - mean) < sd
        unit = (
            float(fitted.min()) >= 0
            and float(fitted.max()) <= 1
            and abs(np.log(a / (past.high - past.low))) < np.log(1.6)
        )
        if standard or unit:
            words = "is already scaled: (x - mean) / sd" if standard else "is already scaled: 0 to 1"
            yield Map(1 / a, -b / a, words, form="already_scaled", named=False)


def _standard(past: NumberPast, fitted: Floats, target: Floats) -> Iterator[Map]:
    """Standardised by a mean and a deviation that may be those of another season: the spacing of the values says
    which deviation, the lattice which mean."""
    lattice, spread = past.lattice, float(fitted.std())
    if lattice is None or not lattice.grid or not 0.1 < spread < 3:
        return
    ratio = float(past.pooled.std()) / spread
    slope = spacing(fitted, lattice.grid, ratio / 2.5, ratio * 2.5)
    if not slope:
        return
    values, step = np.unique(fitted), lattice.grid
    whole = np.round(slope * (values - values[0]) / step) * step
    slope, _ = (float(c) for c in np.polyfit(values, whole, 1))
    middle = float(np.median(target)) - slope * float(np.median(fitted))
    # Steps of the lattice up to two deviations off: a mean of another season.
    reach = int(np.clip(2 * past.pooled.std() / step, 1, 200))
    first = np.round((middle + slope * values[0]) / step) * step - slope * values[0]
    offsets = first + np.arange(-reach, reach + 1) * step
    held = np.array([float(lattice.holds(slope * fitted + b, 0.1 * step).mean()) for b in offsets])
    best = offsets[held >= held.max() - 1e-9]
    offset = float(best[int(np.argmin(np.abs(best - middle)))])
    yield Map(1 / slope, -offset / slope, "is already scaled: (x - mean) / sd", form="already_scaled", named=False)


def _refined(past: NumberPast, came: Floats, slope: float, offset: float) -> tuple[float, float]:
    """A map back, `slope * x + offset`, drawn onto the lattice: fit to the nearest old values, and again; onto a
    grid, which is near everywhere, by the round factors around it."""
    lattice = past.lattice
    if lattice is None:
        return slope, offset
    if lattice.step:
        return (_round_factor(lattice, came, slope), 0.0) if offset == 0 else (slope, offset)
    values, counts = np.unique(came, return_counts=True)
    keep = np.argsort(-counts, kind="stable")[:200]
    values, weights = values[keep], np.sqrt(counts[keep].astype(float))
    if len(values) < 5 or slope == 0:
        return slope, offset
    a, b = slope, offset
    for _ in range(25):
        near = lattice.nearest(values * a + b)
        if offset == 0:
            a = float((weights * near * values).sum() / max((weights * values * values).sum(), 1e-12))
        else:
            a, b = (float(c) for c in np.polyfit(values, near, 1, w=weights))
    return a, b


def _round_factor(lattice: Lattice, came: Floats, slope: float) -> float:
    """The factor of at most four digits (or its inverse) near `1 / slope` under which values lie on the grid again."""
    values = np.unique(came[came != 0])
    values = values[np.linspace(0, len(values) - 1, min(len(values), 60)).astype(np.int64)] if len(values) else values
    if len(values) < limits.LATTICE_DISTINCT or float(lattice.holds(values).mean()) > limits.LATTICE_CONTROL:
        return slope
    # A factor guessed from so many values of such a spread is this far off at most, by three standard errors.
    spread = float(np.std(came)) / max(abs(float(np.mean(came))), 1e-12)
    off = float(np.clip(3 * spread / np.sqrt(len(came)), 0.07, 0.25))
    best, most = slope, limits.LATTICE_MATCH
    for middle, back in ((1 / slope, False), (slope, True)):
        unit = 10.0 ** (np.floor(np.log10(middle)) - 3)
        for step in (100, 10, 1):  # the roundest first
            low, high = np.floor((1 - off) * middle / unit / step), np.ceil((1 + off) * middle / unit / step)
            for factor in np.round(np.arange(low, high + 1) * step) * unit:
                a = factor if back else 1 / factor
                held = float(lattice.holds(values * a, 1e-6 * abs(a)).mean())
                if held > most + 0.02:
                    best, most = float(a), held
    return best


def _candidate(case: Case, column: str, fit: _Fit, place: Place, rivals: tuple[str, ...]) -> Candidate:
    slope, offset = fit.map.slope, fit.map.offset
    affected = fit.affected

    moved = f" {'-' if offset > 0 else '+'} {plain(abs(offset / slope))}" if offset else ""
    inverse = f"{column} = {column} * {plain(1 / slope)}{moved}"
    share = float(affected.mean())
    proof = f"the inverse brings {column} back inside its history"
    if fit.matched is not None and fit.matched > limits.LATTICE_CONTROL:
        proof = f"the inverse maps {100 * fit.matched:.0f} % of the values back to known ones"
    facts: dict[str, object] = {
        "slope": slope,
        "offset": offset,
        "units": list(fit.map.units) if fit.map.units else None,
    }
    return Candidate(
        kind="scale",
        form=fit.map.form,
        columns=(column,),
        words=f"{fit.map.name}, in {100 * share:.0f} % of rows",
        affected=affected,
        place=place,
        strength=case.unusual(column),
        undo=put_numbers(column, affected, fit.back),
        holds=fit.holds,
        exact=fit.map.form != "already_scaled" or (fit.matched or 0.0) > limits.LATTICE_MATCH,
        crisp=fit.proved or (fit.map.named and fit.outside >= limits.SLICE and not rivals),
        fix=f"{inverse}  (undoes it)",
        proof=proof,
        rivals=rivals[:3],
        facts=facts,
    )

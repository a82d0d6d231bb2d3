"""Maps that the data suggest: a factor, something added, the other way round, a scale of 0 to 1 or of deviations.

Each is fitted on every other row; `fit` tests it on the rows between them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .candidate import plain
from .case import Case
from .fit import fitted
from .history import Floats, Mask, NumberPast
from .lattice import Lattice, spacing
from .units import Map


def suggested(case: Case, column: str, past: NumberPast, reach: float) -> Iterator[Map]:
    """All maps that some group of rows suggests. `reach`: |log| of a factor that history came near itself."""
    at = np.linspace(0.1, 0.9, 17)
    target = np.quantile(past.pooled, at)
    for rows in _groups(case, column, past):
        some = case.numbers(column)[rows & fitted(case)]
        some = some[np.isfinite(some)]
        if len(some) < limits.MIN_ROWS:
            continue
        came = np.quantile(some, at)
        yield from _already_scaled(past, came, target, some)
        yield from _factor(past, some, came, target, reach)
        yield from _added(past, some, came, target)
        yield from _turned(past, came, target)
    if past.lattice is not None:
        values = case.numbers(column)[fitted(case)]
        yield from _round_factors(past.lattice, values[np.isfinite(values) & ~past.lattice.holds(values)])


def _groups(case: Case, column: str, past: NumberPast) -> Iterator[Mask]:
    """All rows, the last half, each caller, the values that lie where none did: a change may begin anywhere."""
    yield np.ones(case.rows, bool)
    yield np.arange(case.rows) >= case.rows // 2
    yield from (rows for (name, _), rows in case.slices.items() if name == "mw.caller")
    if past.lattice is not None:
        yield ~past.lattice.holds(case.numbers(column))


def _factor(past: NumberPast, some: Floats, came: Floats, target: Floats, reach: float) -> Iterator[Map]:
    both = (np.abs(came) > 1e-12) & (np.abs(target) > 1e-12) & (np.sign(came) == np.sign(target))
    if both.sum() < 9:
        return
    logs = np.log(came[both] / target[both])
    ratio = float(np.median(logs))
    off = past.lattice is not None and float(past.lattice.holds(some).mean()) < limits.LATTICE_CONTROL
    even = abs(ratio) > max(reach, 0.04) and float(logs.std()) < 0.15 * abs(ratio) + 0.03
    if not off and not even:  # values that are off their lattice prove a factor by the way back alone
        return
    if past.lattice is None:
        ratio = _nearest_shape(past, some, ratio)
    back = _refined(past, some, float(np.exp(-ratio)), 0.0)[0]
    if 0.5 < back * np.exp(ratio) < 2:  # else drawn to another place of the lattice: no factor at all
        slope = 1 / back
        yield Map(slope, 0.0, f"is x{slope:.3g} of what it was", form="free ratio", named=False)


def _nearest_shape(past: NumberPast, some: Floats, ratio: float) -> float:
    """The log of the factor, near a first guess, whose undoing leaves the least."""
    near = ratio + np.linspace(-0.1, 0.1, 41)
    return float(near[int(np.argmin([past.shape(some / np.exp(one)) for one in near]))])


def _added(past: NumberPast, some: Floats, came: Floats, target: Floats) -> Iterator[Map]:
    """The same amount more, for small and large values alike, and far more than the middle of any past window moved."""
    apart = came - target
    by = float(np.median(apart))
    if abs(by) <= limits.STANDS * _worst_move(past) or float(apart.std()) > limits.EVEN * abs(by):
        return
    if past.lattice is not None and past.lattice.grid:
        step, lattice = past.lattice.grid, past.lattice
        reach = int(min(3 * float(some.std()) / np.sqrt(len(some)) / step, 20))  # three standard errors of the guess
        near = (np.round(by / step) + np.arange(-reach, reach + 1)) * step
        held = np.array([float(lattice.holds(some - one).mean()) for one in near])
        best = near[held >= held.max() - 1e-9]
        by = float(np.round(best[int(np.argmin(np.abs(best - by)))], 9))
    word = "more" if by > 0 else "less"
    yield Map(1.0, by, f"is {plain(abs(by))} {word} than it was", form="offset", named=False)


def _round_factors(lattice: Lattice, off: Floats) -> Iterator[Map]:
    """Factors of two digits, from a thousandth to a thousand, that put values which belong nowhere on the lattice:
    where only some rows were multiplied their own quantiles say nothing, as only the strangest of them stand out."""
    values = np.unique(off)
    if len(values) < limits.LATTICE_DISTINCT or len(off) < limits.RATE_ROWS:
        return
    values = values[np.linspace(0, len(values) - 1, min(len(values), 60)).astype(np.int64)]
    factors = np.concatenate([np.arange(10, 100) * 10.0**power for power in range(-4, 3)])
    factors = np.unique(np.round(np.concatenate([factors, 1 / factors]), 9))
    factors = factors[np.abs(np.log(factors)) > limits.EVEN]
    held = np.array([float(lattice.holds(values / one, 1e-6 / one).mean()) for one in factors])
    best = np.argsort(-held, kind="stable")[:3]
    for factor in factors[best[held[best] >= limits.LATTICE_MATCH]].tolist():
        yield Map(factor, 0.0, f"is x{factor:.3g} of what it was", form="free ratio", named=False)


def _worst_move(past: NumberPast) -> float:
    """The farthest that the middle of a past window was from that of all."""
    middle = float(np.median(past.pooled))
    return max(
        (abs(float(np.median(one)) - middle) for one in past.windows if len(one) >= limits.MIN_ROWS), default=0.0
    )


def _turned(past: NumberPast, came: Floats, target: Floats) -> Iterator[Map]:
    """Small for large: a constant less the value, as where a share is given of those that do not."""
    sums = came + target[::-1]
    total = float(np.median(sums))
    spread = float(past.pooled.std())
    if float(sums.std()) > limits.EVEN * spread or past.shape(total - past.pooled) <= limits.STANDS * past.worst_shape:
        return  # no mirror, or one that shows nothing: a symmetric column looks the same in it
    step = past.lattice.grid if past.lattice is not None else 0.0
    for end in (past.low + past.high, 1.0, 100.0, 0.0):
        if abs(end - total) < 0.1 * spread:
            total = end
            break
    total = round(total / step) * step if step else total
    name = "has its sign turned" if total == 0 else f"is turned round: {plain(total)} - what it was"
    yield Map(-1.0, total, name, form="sign", named=False)


def _already_scaled(past: NumberPast, came: Floats, target: Floats, some: Floats) -> Iterator[Map]:
    """(x - mean) / sd of the past, or (x - min) / (max - min): the caller scaled what the model scales itself."""
    mean, sd = float(past.pooled.mean()), float(past.pooled.std())
    if sd == 0 or float(np.ptp(came)) == 0 or (abs(mean) < 0.5 and 0.5 < sd < 2) or abs(float(np.median(some))) > 3:
        return
    yield from _standard(past, some, target)
    slope, offset = (float(c) for c in np.polyfit(came, target, 1))
    for a, b in ((slope, offset), (sd, mean), (past.high - past.low, past.low)):
        a, b = _refined(past, some, a, b)
        if a <= 0:
            continue
        standard = abs(np.log(a / sd)) < np.log(1.6) and abs(b - mean) < sd
        unit = (
            float(some.min()) >= 0 and float(some.max()) <= 1 and abs(np.log(a / (past.high - past.low))) < np.log(1.6)
        )
        if standard or unit:
            words = "is already scaled: (x - mean) / sd" if standard else "is already scaled: 0 to 1"
            yield Map(1 / a, -b / a, words, form="already_scaled", named=False)


def _standard(past: NumberPast, some: Floats, target: Floats) -> Iterator[Map]:
    """Standardised by a mean and a deviation that may be those of another season: the spacing of the values says
    which deviation, the lattice which mean."""
    lattice, spread = past.lattice, float(some.std())
    if lattice is None or not lattice.grid or not 0.1 < spread < 3:
        return
    ratio = float(past.pooled.std()) / spread
    slope = spacing(some, lattice.grid, ratio / 2.5, ratio * 2.5)
    if not slope:
        return
    values, step = np.unique(some), lattice.grid
    whole = np.round(slope * (values - values[0]) / step) * step
    slope, _ = (float(c) for c in np.polyfit(values, whole, 1))
    if slope <= 0:  # all of them nearest to one and the same step
        return
    middle = float(np.median(target)) - slope * float(np.median(some))
    # Steps of the lattice up to two deviations off: a mean of another season.
    reach = int(np.clip(2 * past.pooled.std() / step, 1, 200))
    first = np.round((middle + slope * values[0]) / step) * step - slope * values[0]
    offsets = first + np.arange(-reach, reach + 1) * step
    held = np.array([float(lattice.holds(slope * some + b, 0.1 * step).mean()) for b in offsets])
    best = offsets[held >= held.max() - 1e-9]
    offset = float(best[int(np.argmin(np.abs(best - middle)))])
    yield Map(1 / slope, -offset / slope, "is already scaled: (x - mean) / sd", form="already_scaled", named=False)


def _refined(past: NumberPast, came: Floats, slope: float, offset: float) -> tuple[float, float]:
    """A map back, `slope * x + offset`, drawn onto the lattice: fit to the nearest old values, and again; onto a
    grid, which is near everywhere, by the round factors around it."""
    lattice = past.lattice
    if lattice is None or slope <= 0:  # a column that is nearly always one value gives no line
        return slope, offset
    if offset == 0:
        near = _round_factor(lattice, came, slope)
        if lattice.step or near != slope:
            return near, 0.0
    elif lattice.step:
        return slope, offset
    values, counts = np.unique(came, return_counts=True)
    keep = np.argsort(-counts, kind="stable")[:200]
    values, weights = values[keep], np.sqrt(counts[keep].astype(float))
    if len(values) < 5:
        return slope, offset
    a, b = slope, offset
    for _ in range(25):
        places = lattice.nearest(values * a + b)
        if offset == 0:
            a = float((weights * places * values).sum() / max((weights * values * values).sum(), 1e-12))
        else:
            a, b = (float(c) for c in np.polyfit(values, places, 1, w=weights))
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

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
from .fit import Fit, matched
from .history import Floats, NumberPast, wasserstein
from .lattice import Lattice, coarsest_step
from .places import Place
from .suggest import suggested
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


def _good(fit: Fit, past: NumberPast, reach: float) -> bool:
    """Back inside history; by its values where they can tell, else by a factor that history never came near."""
    lattice = past.lattice
    # Where days were full of values never seen, few that are back where they belong prove nothing.
    enough = max(limits.LATTICE_MATCH * lattice.least, limits.LATTICE_CONTROL) if lattice is not None else np.inf
    known = (fit.matched or 0.0) >= enough
    # Values that are back where they belong may have had an unusual day besides.
    most = max(limits.INSIDE, 0.1 * fit.apart if known and not fit.partial else 0.0)
    if fit.proved and not fit.partial and fit.outside >= limits.SLICE:
        most = limits.STANDS  # nowhere near history before, and value by value back where they belong
    if fit.left > most:
        return False
    if fit.partial and not fit.map.named and abs(fit.map.slope) == 1:
        return False  # whole numbers are whole with anything added: some of them prove nothing
    if fit.partial:
        came = np.unique(fit.values[fit.affected])
        agreeing = matched(came, fit.map, past, fit.tolerance) or 0.0
        agree = lattice is not None and agreeing >= limits.LATTICE_MATCH * lattice.usual
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
    if fit.map.form == "offset":
        # One value out there is a stand-in; values that are not out there are those of a warm week.
        several = len(np.unique(fit.values[fit.affected])) >= limits.LATTICE_DISTINCT
        return several and fit.matched is None and fit.outside >= limits.SLICE and _added(fit, past)
    if not fit.map.named and fit.map.slope < 0:
        return fit.apart > limits.STANDS and not _only_moved(fit, past)
    if fit.map.offset != 0 or fit.map.slope < 0:
        return fit.moved > limits.BEYOND and beyond
    size = abs(float(np.log(fit.map.slope)))
    return size > reach and (beyond or size > limits.STANDS * reach) and _multiplied(fit, past)


def _explains_the_far(fit: Fit, past: NumberPast) -> bool:
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


def _multiplied(fit: Fit, past: NumberPast) -> bool:
    """Is the factor about the same for small and large values? Where what was added is as much the same, the world
    may have moved as well. Nearly all values out of range speak for themselves."""
    if fit.outside >= limits.SLICE:
        return True
    uneven_factors, uneven_sums = _unevenness(fit, past)
    return uneven_factors < 0.5 * uneven_sums and uneven_factors < limits.EVEN


def _added(fit: Fit, past: NumberPast) -> bool:
    """The same for what was added."""
    uneven_factors, uneven_sums = _unevenness(fit, past)
    return uneven_sums < 0.5 * uneven_factors and uneven_sums < limits.EVEN


def _only_moved(fit: Fit, past: NumberPast) -> bool:
    """Are the values inside history once their middle is? A mirror changes the shape as well."""
    values = fit.values[fit.affected]
    moved = values - np.median(values) + np.median(past.pooled)
    return past.shape(moved) <= limits.BEYOND * past.worst_part(len(values))


def _unevenness(fit: Fit, past: NumberPast) -> tuple[float, float]:
    """How much the factor, and what was added, differ over the quantiles of the affected values, each as a share of
    its size; infinite for a factor where too many values have changed their sign."""
    at = np.linspace(0.1, 0.9, 17)
    came, usual = np.quantile(fit.values[fit.affected], at), np.quantile(past.pooled, at)
    added = came - usual
    sums = float(added.std()) / max(abs(float(np.median(added))), 1e-12)
    both = (np.sign(came) == np.sign(usual)) & (np.abs(usual) > 1e-12)
    if both.sum() < 9:
        return float("inf"), sums
    factors = np.log(came[both] / usual[both])
    return float(factors.std()) / max(abs(float(np.median(factors))), 1e-12), sums


def _only_rounded(values: Floats, past: NumberPast) -> bool:
    """Are values that came in coarser steps inside history, but for those steps? Then no map is needed."""
    known = values[np.isfinite(values)]
    step = coarsest_step(known[len(known) // 2 :], float(past.pooled.std()) * 2)
    if not step or (past.lattice is not None and step <= past.lattice.grid):
        return False
    draws = np.random.default_rng(0).uniform(0, step, len(known))
    worst = limits.BEYOND * max(wasserstein(one, past.pooled) for one in past.windows if len(one))
    return any(wasserstein(known + draws - back, past.pooled) <= worst for back in (step / 2, 0.0, step))


def _explains_the_new(fit: Fit, lattice: Lattice | None) -> bool:
    """Rows picked because they fit prove nothing: of all values that are off the lattice, more than every past
    window had, nearly all must be among them, and few would have been by chance."""
    if lattice is None or fit.place is None or lattice.chance(fit.tolerance) >= 0.25:
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
    fits = [Fit(case, column, past, one) for one in tried]
    # Back inside history, but not value by value: perhaps by the factor as it was typed.
    near = [fit for fit in fits if fit.left <= limits.INSIDE and fit.matched is not None and not fit.proved]
    fits += [Fit(case, column, past, one) for fit in near for one in fit.map.typed()]
    good = [fit for fit in fits if _good(fit, past, reach) and _likely(fit)]
    if not good:
        free = [Fit(case, column, past, one) for one in suggested(case, column, past, reach)]
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


def _likely(fit: Fit) -> bool:
    """A rare unit that the values do not prove must be one for a column of this name."""
    return fit.proved or fit.map.fits(fit.column)


def _gain(fit: Fit) -> float:
    return fit.place.gain if fit.place is not None else 0.0


def _rival(fit: Fit, best: Fit) -> bool:
    return best.matched is None or (fit.matched or 0.0) >= limits.LATTICE_MATCH * best.matched


def _apart(a: Map, b: Map, past: NumberPast) -> bool:
    """Do two maps give different values at the middle and near the ends of the past?"""
    at = np.quantile(past.pooled, [0.1, 0.5, 0.9])
    back = ((at * b.slope + b.offset) - a.offset) / a.slope
    return bool(np.abs(back - at).max() > (limits.RATIO_APART - 1) * max(float(np.ptp(at)), 1e-12))


def _candidate(case: Case, column: str, fit: Fit, place: Place, rivals: tuple[str, ...]) -> Candidate:
    slope, offset = fit.map.slope, fit.map.offset
    affected = fit.affected

    inverse = f"{column} = {_inverse(column, fit.map)}"
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


def _inverse(column: str, map_: Map) -> str:
    if map_.slope == -1:
        return f"{plain(map_.offset)} - {column}" if map_.offset else f"-{column}"
    scaled = column if map_.slope == 1 else f"{column} * {plain(1 / map_.slope)}"
    moved = -map_.offset / map_.slope
    return f"{scaled} {'+' if moved > 0 else '-'} {plain(abs(moved))}" if moved else scaled

"""One value takes many rows: a constant, a default, a sentinel, or nulls that were filled.

The idea: no value ever gains so much over its share in every other window, and a fill is spread over the time
since onset where weather or a batch come in bursts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .absorbed import lost
from .candidate import Candidate, percent, plain, put_draws, rate_holds
from .case import NUMBERS, WORDS, Case
from .company import company, mixed
from .history import CategoryPast, Floats, Mask, NumberPast, sustained
from .natural import in_company, in_runs, runs
from .places import Place, locate_hits

SENTINELS = frozenset(
    {-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0, -32768.0, -200.0}
)


def fingerprints(case: Case) -> Iterator[Candidate]:
    for column in case.columns(NUMBERS):
        yield from _number(case, column)
    for column in case.columns(WORDS):
        yield from _words(case, column)


def _number(case: Case, column: str) -> Iterator[Candidate]:
    past = case.history.number(column)
    values = case.numbers(column)
    known = values[np.isfinite(values)]
    if len(past.pooled) < limits.MIN_ROWS or len(known) < limits.RATE_ROWS:
        return
    distinct, counts = np.unique(known, return_counts=True)
    gains = counts / case.rows - past.top_shares(distinct)
    far = (
        np.array([_far(past, value) for value in distinct])
        if distinct[-1] > past.high or distinct[0] < past.low
        else np.zeros(len(distinct), bool)
    )
    ranked = np.argsort(-(counts * (far + 0.0) * case.rows + gains), kind="stable")[:4]
    for at in ranked:
        value, gained = float(distinct[at]), float(gains[at])
        if counts[at] < limits.RATE_ROWS:
            continue
        filled = _filled(case, column, past, gained)
        always = float((values[case.rows // 2 :] == value).mean()) >= limits.PRESENT
        # Alone out there: a column on its way to a record brings many values, and none so far.
        reach = limits.VERY_FAR if past.outside(distinct[at : at + 1], limits.VERY_FAR)[0] else limits.FAR
        sentinel = bool(far[at]) and float((past.outside(known, reach) & (known != value)).sum()) <= 0.1 * counts[at]
        if not (filled or sentinel or always or gained > limits.SPIKE_SHARE):
            continue
        hits = values == value
        before = [window == value for window in case.history.raw(column)]
        found = locate_hits(case, hits, before, exclude={column})
        if found is None:
            continue
        place, present, base = found
        if present >= limits.PRESENT and place.rows <= limits.STANDS * past.longest_run:
            continue  # it has stood still as long before
        signs = (("constant", present >= limits.PRESENT), ("nulls_filled", filled), ("sentinel", sentinel))
        form = next((name for name, holds in signs if holds), "default")
        crisp = base < 0.2 * present
        if form == "default":
            beyond = _beyond_bursts(case, column, value, hits, place)
            if beyond <= 1:
                continue
            # Other values can stand in as well, so undoing proves nothing: it must be as far again from any burst.
            crisp = crisp and beyond > limits.STANDS
        yield _of_number(case, column, value, found, form, crisp=crisp)
        return


def _beyond_bursts(case: Case, column: str, value: float, hits: Mask, place: Place) -> float:
    """How far the value is kept up, in units of what would be too far for a burst of it; 0 where it is natural."""
    if in_runs(case, column, hits, place) or in_company(case, column, value, hits & place.mask):
        return 0.0
    past = case.history.number(column)
    kept_up = sustained(hits[place.mask]) - past.usual_share(value)
    burst = past.worst_sustained(place.rows)
    if runs(case.history, column) >= limits.RUNS:
        # Its values come an hour long; had the rows been joined wrongly, one would be spread like a fill.
        burst = max(burst, past.worst_excess)
    return float(kept_up / (limits.STANDS * burst + limits.RATE_FLOOR))


def _of_number(
    case: Case, column: str, value: float, found: tuple[Place, float, float], form: str, *, crisp: bool
) -> Candidate:
    past, values = case.history.number(column), case.numbers(column)
    place, present, base = found
    hits = values == value
    affected = hits & place.mask
    shown, share = plain(value), percent(float(affected.mean()))
    fill, cut = _spread(past, values[place.mask], value) if form == "default" else (0.0, np.inf)
    if fill > cut + limits.SLICE_GAIN:
        form = "clipped"
    words = {
        "constant": f"is always {shown}",
        "nulls_filled": f"has {shown} where nulls used to be ({percent(float(past.nulls.mean()))} of rows)",
        "sentinel": f"is {shown} (a stand-in for missing?) in {share} of rows",
        "default": f"is {shown} in {percent(present)} of rows, at most {percent(base)} before",
        "clipped": f"is cut off at {shown} in part of the rows",
    }[form]
    unsure = form == "default" and cut <= fill + limits.SLICE_GAIN
    return Candidate(
        kind="precision" if form == "clipped" else "fill",
        form=form,
        columns=(column,),
        words=words,
        affected=affected,
        place=place,
        strength=present / (base + limits.RATE_FLOOR),
        undo=put_draws((column,), affected),
        holds=rate_holds(hits, present, base),
        crisp=crisp,
        rivals=(f"cut off at {shown} in part of the rows",) if unsure else (),
        fix=_fix(column, shown, form),
        proof=f"{shown} took at most {percent(base)} of as many rows before",
        facts={"value": value},
    )


def _fix(column: str, shown: str, form: str) -> str:
    if form == "clipped":
        return f"find out who limits {column} to {shown}"
    missing = "; send null" if form in ("sentinel", "nulls_filled") else ""
    return f"find out who writes {shown} into {column}{missing}"


def _filled(case: Case, column: str, past: NumberPast, gained: float) -> bool:
    """Did nulls vanish, and does one value hold about as many rows more?"""
    usual = float(past.nulls.min())
    missing = float(case.missing(column).mean())
    if usual * case.rows < limits.LOST_EXPECTED:
        return False
    lost = float(past.nulls.mean()) - missing
    return lost > 0.3 * usual and 0.5 * lost <= gained <= 2.5 * lost + limits.RATE_FLOOR and missing < usual


def _spread(past: NumberPast, values: Floats, value: float) -> tuple[float, float]:
    """How badly (half squared standard errors) the values beside a frequent one fit a fill, which takes its rows from
    both sides alike, and a cut, which takes them from one side alone."""
    values = values[np.isfinite(values)]
    windows = [one for one in past.windows if len(one) >= limits.MIN_ROWS]
    sides = np.array([[float((one < value).mean()), float((one > value).mean())] for one in windows])
    usual, wander = sides.mean(axis=0), sides.std(axis=0)
    now = np.array([float((values < value).mean()), float((values > value).mean())])
    gained = float((values == value).mean()) - (1 - float(usual.sum()))
    error = np.sqrt(np.maximum(usual * (1 - usual), 0.01) / max(len(values), 1) + wander**2)

    def misfit(expected: Floats) -> float:
        return float(0.5 * (((now - expected) / error) ** 2).sum())

    cuts = [usual - np.array(taken) for taken in ((gained, 0.0), (0.0, gained))]
    fits = [misfit(one) for one in cuts if (one >= -limits.RATE_FLOOR).all()]
    return misfit(usual * (1 - gained)), min(fits, default=np.inf)


def _far(past: NumberPast, value: float) -> bool:
    """Outside everything seen, by more than a little; or a well-known stand-in that was never seen."""
    reach = (limits.FAR if value in SENTINELS else limits.VERY_FAR) * max(past.high - past.low, 1e-12)
    outside = not past.low - reach <= value <= past.high + reach
    known = value in SENTINELS and not bool(past.seen(np.array([value]))[0])
    return outside or (known and not past.low <= value <= past.high)


def _words(case: Case, column: str) -> Iterator[Candidate]:
    past = case.history.words(column)
    values = np.array(case.words(column), object)
    names, counts = np.unique(values[values != np.array(None)].astype(str), return_counts=True)
    if not len(names) or len(past.names) < 2:
        return
    usual = dict(zip(past.names, past.shares.max(axis=0), strict=True))
    gained = counts / case.rows - np.array([usual.get(name, 0.0) for name in names.tolist()])
    value = str(names[int(np.argmax(gained))])
    hits: Mask = values == value
    before = [window == value for window in case.history.raw(column)]
    found = locate_hits(case, hits, before, exclude={column})
    if found is None or found[2] > 0.9:
        return
    place, present, base = found
    if present < limits.PRESENT and not (value in past.names and written_in(case, column, value, hits & place.mask)):
        return
    form = "constant" if present >= limits.PRESENT else "default"
    gone = _gone(past, list(values[place.mask]))
    if form == "default" and gone:
        return  # its rows come under this one: merged, which says more
    if form == "constant" and len(gone) == 1:
        now, least, telling = mixed(case, column, value, gone[0], hits & place.mask)
        if (telling and now <= least) or lost(case, column, gone[0]):
            return  # the rows of the other do not come at all
    share = percent(float((hits & place.mask).mean()))
    words = {"constant": f'is always "{value}"', "default": f'is "{value}" in {share} of rows that look like others'}
    yield Candidate(
        kind="fill",
        form=form,
        columns=(column,),
        words=words[form],
        affected=hits & place.mask,
        place=place,
        strength=present / (base + limits.RATE_FLOOR),
        undo=put_draws((column,), hits & place.mask),
        holds=rate_holds(hits, present, base),
        crisp=form == "constant" and base < 0.6 * present,
        fix=f'find out who writes "{value}" into {column}',
        proof=f'"{value}" took at most {percent(base)} before',
        facts={"value": value},
    )


def _gone(past: CategoryPast, values: list[str | None]) -> list[str]:
    """Values that have vanished although even their rarest past window leads to expect them."""
    expected = past.shares.min(axis=0) * len(values)
    vanished = (10 * past.counted(values)[:-1] < expected) & (expected >= limits.LOST_EXPECTED)
    return [past.names[k] for k in np.flatnonzero(vanished)]


def written_in(case: Case, column: str, value: str, rows: Mask) -> bool:
    """Were these rows given a value that is not theirs? What stands beside it no longer goes with it."""
    now, usual = company(case, column, value, rows)
    return usual > limits.COMPANY and now < 0.5 * usual

"""Words that exchanged their meanings: no new name comes, yet shares and company say that names stand for others.

The most likely meaning of every name is found on one half of the rows. It is believed as far as the other half,
circle by circle, speaks for it, and more than any past window would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .assign import assign
from .candidate import Candidate, put_words
from .case import Case
from .company import DAMPED, likelihood_of, partners_of, past_codes
from .fit import fitted
from .history import CategoryPast, Floats, Ints, Mask, hellinger
from .places import Place, locate

_MOST = 120
_NEARLY = 3.0
"""Log likelihood by which a meaning must lead the next one to be told as known: twenty to one."""
_FAR = 20.0
"""Log likelihood of one share is cut here: a value that is nearly gone must not outvote all others."""


def exchanged(case: Case, column: str, past: CategoryPast, values: np.ndarray) -> Iterator[Candidate]:
    """At most one candidate, the one with the most evidence: found among all rows or those of one caller, or in the
    second half of either."""
    if not 2 <= len(past.names) <= _MOST:
        return
    index = {name: k for k, name in enumerate(past.names)}
    codes = np.array([index.get(value, -1) for value in values], np.int64)
    everyone = [
        codes >= 0,
        *((codes >= 0) & mask for (source, _), mask in case.slices.items() if source == "mw.caller"),
    ]
    late = np.arange(case.rows) >= case.rows // 2
    groups = [*everyone, *(rows & late for rows in everyone)]
    found = []
    for rows in groups:
        if _as_always(case, column, past, codes, rows):
            continue
        meant = _meant(case, column, past, codes, rows)
        one = _candidate(case, column, past, codes, meant) if meant is not None else None
        if one is not None:
            found.append(one)
    if found:
        yield max(found, key=lambda one: one.place.gain)


def _as_always(case: Case, column: str, past: CategoryPast, codes: Ints, rows: Mask) -> bool:
    """Have these names the shares and the company they always had? Then nobody exchanged them."""
    counted = np.bincount(codes[rows], minlength=len(past.names))
    if hellinger(counted, past.counts.sum(axis=0)) > limits.BEYOND * past.worst_shape:
        return False
    partners = tuple(name for name, _ in partners_of(case, column, past))
    usual = case.history.kept(("own company", column, partners), lambda: _own_company(case, column, past))
    own = likelihood_of(case, column, past)[rows, codes[rows]]
    return not len(own) or float(own.mean()) >= usual


def _own_company(case: Case, column: str, past: CategoryPast) -> float:
    """The least that the company of names ever spoke for them in a past window, a row."""
    here = past_codes(case.history, column, past)
    known = np.flatnonzero(here >= 0)
    told = np.zeros(len(known))
    for other, logs in partners_of(case, column, past):
        told += logs[here[known], case.history.codes(other)[known]]
    window = case.history.pooled["mw.window"].to_numpy()[known]
    sums, counts = np.bincount(window, weights=told), np.bincount(window)
    return float((sums[counts > 0] / counts[counts > 0]).min()) if len(known) else 0.0


@dataclass(frozen=True)
class _Meant:
    """`true[k]`: what name k stands for; `unsure[k]`: another value fits it nearly as well."""

    true: Ints
    unsure: Mask


def _worth(case: Case, column: str, past: CategoryPast, codes: Ints, rows: Mask) -> Floats:
    """(names, values): log likelihood that the rows of a name are those of a value, by share and by company."""
    size = len(past.names)
    named = (codes[rows][:, None] == np.arange(size)).astype(np.float64)
    company = named.T @ likelihood_of(case, column, past)[rows]
    total = int(rows.sum())
    counts = np.bincount(codes[rows], minlength=size)[:, None].astype(float)
    mean, spread = past.shares.mean(axis=0) * total, past.shares.std(axis=0) * total
    off = (counts - mean) / (spread + np.sqrt(np.maximum(counts, mean) + 1.0))
    worth: Floats = DAMPED * company - np.minimum(0.5 * off**2, _FAR)
    return worth


def _meant(case: Case, column: str, past: CategoryPast, codes: Ints, rows: Mask) -> _Meant | None:
    """Fitted on one half; of its circles those that the other half speaks for. None where there is none."""
    half = fitted(case)
    names = np.arange(len(past.names))
    if (rows & half).sum() < limits.MIN_ROWS or (rows & ~half).sum() < limits.MIN_ROWS:
        return None
    # A name means what it always did unless something speaks against it.
    fit = _worth(case, column, past, codes, rows & half) + np.eye(len(names))
    true = assign(fit)
    tested = _worth(case, column, past, codes, rows & ~half)
    gain = tested[names, true] - tested[names, names]
    for circle in _circles(true):
        if gain[circle].sum() < limits.SLICE_GAIN:
            true[circle] = circle
    if (true == names).all():
        return None
    both = fit + tested
    behind = both[names, true][:, None] - both
    behind[names, true] = np.inf
    return _Meant(true, behind.min(axis=1) < _NEARLY)


def _circles(true: Ints) -> Iterator[list[int]]:
    """The circles of a permutation, those of one name left out."""
    seen: set[int] = set()
    for start in range(len(true)):
        circle, at = [], start
        while at not in seen:
            seen.add(at)
            circle.append(at)
            at = int(true[at])
        if len(circle) > 1:
            yield circle


def _candidate(case: Case, column: str, past: CategoryPast, codes: Ints, meant: _Meant) -> Candidate | None:
    moved_codes = np.flatnonzero(meant.true != np.arange(len(past.names)))
    moved = {past.names[k]: past.names[meant.true[k]] for k in moved_codes}
    rows = np.isin(codes, moved_codes)
    here = np.maximum(codes, 0)
    there = np.where(codes >= 0, meant.true[here], here)
    at, likelihood = np.arange(case.rows), likelihood_of(case, column, past)
    gained = likelihood[at, there] - likelihood[at, here]
    shares = np.log(past.shares.mean(axis=0) + 1e-4)
    evidence = np.where(rows, gained + shares[there] - shares[here], 0.0)
    place = locate(case, evidence, exclude={column}) or Place(rows, int(np.argmax(rows)), None, 0.0)
    affected = rows & place.mask
    counts = np.bincount(codes[affected], minlength=len(past.names))
    expected = past.shares.mean(axis=0)[meant.true] * place.rows
    if (expected[moved_codes][counts[moved_codes] == 0] >= limits.RATE_ROWS).any():
        return None  # a value is gone: lost, not exchanged
    tested = affected & ~fitted(case)
    company = _by_company(case, column, past, meant, gained, codes, tested)
    by_shares = _by_shares(past, codes[place.mask], moved_codes)
    if company is None and by_shares is None:
        return None
    unsure = [past.names[k] for k in moved_codes if meant.unsure[k]]

    def holds(part: Mask) -> bool:
        cut = np.clip(evidence[part & affected], -limits.CLIP, limits.CLIP)
        return bool(len(cut)) and float(cut.mean()) > 0

    shown = ", ".join(f'"{came}" means "{was}"' for came, was in list(moved.items())[:3])
    guesses = f"; {len(unsure)} of {len(moved)} are guesses" if unsure else ""
    return Candidate(
        kind="categories",
        form="permuted",
        columns=(column,),
        words=f"has its values exchanged ({shown}{', ...' if len(moved) > 3 else ''}{guesses})",
        affected=affected,
        place=place,
        strength=max(company or 0.0, by_shares or 0.0),
        undo=put_words(column, affected, moved),
        holds=holds,
        exact=True,
        crisp=company is not None,
        fix=f"map back: {shown}",
        proof=f"mapped back, shares and company of {column} are as always",
        facts={"mapping": moved, "unsure": unsure},
    )


def _by_company(
    case: Case, column: str, past: CategoryPast, meant: _Meant, gained: Floats, codes: Ints, tested: Mask
) -> float | None:
    """How many times farther than in any past window what stands beside the names speaks for the exchange, on rows
    that it was not found on; None where it does not."""
    if tested.sum() < limits.RATE_ROWS:
        return None
    now = float(gained[tested].mean())
    usual, worst = _past_company(case, column, past, meant.true)
    enough = now >= max(worst, 0.0) + limits.GAIN or (worst < 0 and now > -0.5 * usual)
    if not enough or now * DAMPED * tested.sum() < limits.SLICE_GAIN:
        return None
    # The rows of each name must speak for it: a value written over others' rows leaves those others as they were,
    # and of many pairs a few rows always fit one better.
    counts = np.bincount(codes[tested], minlength=len(past.names))
    sums = np.bincount(codes[tested], weights=gained[tested], minlength=len(past.names))
    telling = counts >= limits.RATE_ROWS
    if telling.sum() < 2 or counts[telling & (sums > 0)].sum() < limits.SLICE * counts[telling].sum():
        return None
    return (now - usual) / max(worst - usual, 0.05)


def _past_company(case: Case, column: str, past: CategoryPast, true: Ints) -> tuple[float, float]:
    """How much the company of past rows spoke for this exchange, by window: the mean and the most."""
    here = past_codes(case.history, column, past)
    rows = np.flatnonzero((here >= 0) & (true[np.maximum(here, 0)] != here))
    gain = np.zeros(len(rows))
    for other, logs in partners_of(case, column, past):
        seen = case.history.codes(other)[rows]
        gain += logs[true[here[rows]], seen] - logs[here[rows], seen]
    window = case.history.pooled["mw.window"].to_numpy()[rows]
    sums, counts = np.bincount(window, weights=gain), np.bincount(window)
    means = sums[counts > 0] / counts[counts > 0]
    return (float(means.mean()), float(means.max())) if len(means) else (0.0, 0.0)


def _by_shares(past: CategoryPast, codes: Ints, moved: Ints) -> float | None:
    """How many times farther than in any past window the shares are from the usual, where each is another's: chance
    does not bring that about. None where they are not, or where one value took rows and the others kept theirs."""
    counted = np.bincount(codes[codes >= 0], minlength=len(past.names))
    total = past.counts.sum(axis=0)
    far = hellinger(counted, total) / past.worst_shape
    if far <= limits.STANDS or len(moved) < 2:
        return None
    if len(past.names) >= 3:
        grown = int(np.argmax(counted / max(counted.sum(), 1) - past.shares.mean(axis=0)))
        if hellinger(np.delete(counted, grown), np.delete(total, grown)) <= limits.INSIDE * past.worst_shape:
            return None
    return far

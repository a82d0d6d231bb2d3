"""Words in a column that changed: other spelling, new names, exchanged meanings, values merged or never seen.

The idea: a renamed value keeps its rows. What stands in the other columns of those rows says which old value
they belong to, and its share says it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .assign import assign
from .candidate import Candidate, percent, put_draws, put_words, rate_holds
from .case import WORDS, Case
from .company import resemblance
from .exchange import exchanged
from .history import CategoryPast, Floats, Mask
from .places import Place, locate_hits, span

_MOST = 400
_NONE = -100.0
"""What it is worth to give a name no old value: less than any that its share allows."""


def fingerprints(case: Case) -> Iterator[Candidate]:
    """Candidates for every column of words with few enough values to know them."""
    for column in case.columns(WORDS):
        past = case.history.words(column)
        if not 1 <= len(past.names) <= _MOST:
            continue
        values = np.array(case.words(column), object)
        known = set(past.names)
        new = np.array([value is not None and value not in known for value in values])
        if new.sum() >= limits.RATE_ROWS:
            yield from _unseen(case, column, past, values, new)
        else:
            yield from (_cut_off(case, column, past, values) or exchanged(case, column, past, values))


def folded(value: str) -> str:
    """A value without case, white space and separators."""
    return re.sub(r"[\s_\-.]+", "", value).casefold()


def _unseen(case: Case, column: str, past: CategoryPast, values: np.ndarray, new: Mask) -> Iterator[Candidate]:
    rates = [np.isin(window, list(_alone(past, w))) for w, window in enumerate(case.history.raw(column))]
    found = locate_hits(case, new, rates, exclude={column})
    if found is None:
        return
    place, share, base = found
    affected = new & place.mask
    form, mapping, lost = _mapping(case, column, past, values, affected, place)
    if form == "new" and float(affected.mean()) < limits.NEW_SHARE:
        return
    mapped = np.isin(values, list(mapping)) & affected
    strength = share / (base + limits.RATE_FLOOR)
    shown = ", ".join(f'"{came}" was "{was}"' for came, was in list(mapping.items())[:3])
    if mapping:
        words = (
            f"has other names ({shown}{', ...' if len(mapping) > 3 else ''}) in {percent(float(mapped.mean()))} of rows"
        )
        yield Candidate(
            kind="categories",
            form=form,
            columns=(column,),
            words=words,
            affected=mapped,
            place=place,
            strength=strength,
            undo=put_words(column, mapped, mapping),
            holds=rate_holds(affected, share, base),
            exact=True,
            crisp=base < 0.05,
            fix="map " + ", ".join(f'"{came}" to "{was}"' for came, was in list(mapping.items())[:3]),
            proof=f"named back, {column} is inside its history",
            facts={"mapping": mapping},
        )
        return
    shown = ", ".join(f'"{value}"' for value in _frequent(values[affected])[:3])
    words = f"has values never seen before ({shown}) in {percent(float(affected.mean()))} of rows"
    yield Candidate(
        kind="categories",
        form=form,
        columns=(column,),
        words=words,
        affected=affected,
        place=place,
        strength=strength,
        undo=put_draws((column,), affected, lost),
        holds=rate_holds(affected, share, base),
        crisp=base < 0.05,
        fix=f"find out what {shown} mean; train again with them if they are meant",
        proof="these values occur in no past window",
    )


def _cut_off(case: Case, column: str, past: CategoryPast, values: np.ndarray) -> list[Candidate]:
    """All values longer than those that come are gone, and their beginnings, known values too, have their rows."""
    start = next((at for at in (0, case.rows // 2) if _longest(values[at:]) < _longest(np.array(past.names))), None)
    if start is None:
        return []
    length = _longest(values[start:])
    gone = [name for name in past.names if len(name) > length]
    index = [past.names.index(name) for name in gone]
    if past.shares[:, index].sum(axis=1).min() * (case.rows - start) < limits.LOST_EXPECTED:
        return []
    shortened = CategoryPast.of(
        [[None if one is None else str(one)[:length] for one in window] for window in case.history.raw(column)]
    )
    long = np.array([value is not None and len(value) > length for value in values])
    onset = int(np.flatnonzero(long)[-1]) + 1 if long.any() else 0
    place = Place(np.arange(case.rows) >= onset, onset, None, 0.0)
    there = list(values[place.mask])
    if place.rows < span(case) or shortened.shape(there) > limits.INSIDE * shortened.worst_shape:
        return []
    without = CategoryPast.of([[one for one in window if one not in gone] for window in case.history.raw(column)])
    apart = without.shape(there) / without.worst_shape
    # The long ones may as well not come at all; but several at once, and no short one, is no chance.
    several = (past.shares[:, index].mean(axis=0) * place.rows >= limits.RATE_ROWS / 2).sum() >= 3
    if apart <= limits.INSIDE and not several:
        return []
    stubs = sorted({name[:length] for name in gone})
    affected = place.mask & np.isin(values, stubs)
    return [
        Candidate(
            kind="categories",
            form="merged",
            columns=(column,),
            words=f"is cut off after {length} letter{'s' if length > 1 else ''}"
            f" ({', '.join(gone[:3])}{', ...' if len(gone) > 3 else ''})",
            affected=affected,
            place=place,
            strength=max(apart, limits.STANDS),
            undo=put_draws((column,), affected, [*gone, *stubs]),
            holds=lambda part: bool((part & affected).any()) and not (part & long).any(),
            crisp=True,
            fix=f"find out who cuts {column} off after {length}",
            proof=f"cut off, the past of {column} looks like this",
            facts={"length": length},
        )
    ]


def _longest(values: np.ndarray) -> int:
    return max((len(value) for value in values if value is not None), default=0)


def _alone(past: CategoryPast, window: int) -> frozenset[str]:
    only = ((past.counts > 0).sum(axis=0) == 1) & (past.counts[window] > 0)
    return frozenset(past.names[k] for k in np.flatnonzero(only))


def _frequent(values: np.ndarray) -> list[str]:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return [str(names[k]) for k in np.argsort(-counts, kind="stable")]


def _mapping(
    case: Case, column: str, past: CategoryPast, values: np.ndarray, affected: Mask, place: Place
) -> tuple[str, dict[str, str], list[str]]:
    """The contract's form, which old value each new one stands for (empty: none), and the old values that are gone."""
    fresh = _frequent(values[affected])
    by_fold = {folded(name): name for name in past.names}
    same = {name: by_fold[folded(name)] for name in fresh if folded(name) in by_fold}
    covered = float(np.isin(values[affected], list(same)).mean()) if same else 0.0
    if covered >= limits.SLICE:
        return "case_or_space", same, []
    written = _written(past, fresh)
    if written and float(np.isin(values[affected], list(written)).mean()) >= limits.SLICE:
        if all(len(names) == 1 for names in written.values()):
            return "renamed", {name: names[0] for name, names in written.items()}, []
        return "merged", {}, [one for names in written.values() for one in names]
    part = values[place.mask]
    counted = past.counted(list(part))
    total = max(int(counted.sum()), 1)
    lost = [
        k
        for k in range(len(past.names))
        if (
            past.shares[:, k].mean() * total >= limits.RATE_ROWS and counted[k] < 0.25 * past.shares[:, k].min() * total
        )
        or (past.shares[:, k].mean() * total >= limits.RATE_ROWS / 2 and counted[k] == 0)
    ]
    if not lost:
        return "new", {}, []
    fit = resemblance(case, column, past, values, affected, fresh)
    mapping = _assigned(past, fresh, lost, fit, values[place.mask], total)
    covered = float(np.isin(values[affected], list(mapping)).mean()) if mapping else 0.0
    if covered < 0.75:
        joined = _shares_add_up(past, lost, float(affected.sum()) / total) and len(fresh) < len(lost)
        gone = [name for name, count in zip(past.names, counted, strict=False) if count == 0]
        return ("merged", {}, gone) if joined else ("new", {}, [])
    return ("renamed" if len(fresh) <= 2 and len(past.names) > len(fresh) else "recoded"), mapping, []


def _written(past: CategoryPast, fresh: list[str]) -> dict[str, list[str]]:
    """The old values that each new one may be, written another way: the same number (7 as 7.0, 07), or cut off after
    so many letters. Such a change is seen in a single row, however few of them changed."""
    by_number: dict[float, list[str]] = {}
    for name in past.names:
        if (number := _number(name)) is not None:
            by_number.setdefault(number, []).append(name)
    as_numbers = {name: by_number.get(number, []) for name in fresh if (number := _number(name)) is not None}
    if any(as_numbers.values()):
        return {name: old for name, old in as_numbers.items() if old}
    length = max(len(name) for name in fresh)
    cut = {name: [old for old in past.names if old[:length] == name != old] for name in fresh}
    return {name: old for name, old in cut.items() if old}


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _shares_add_up(past: CategoryPast, lost: list[int], share: float) -> bool:
    together = past.shares[:, lost].sum(axis=1)
    return bool(0.7 * together.min() <= share <= 1.4 * together.max())


def _assigned(
    past: CategoryPast, fresh: list[str], lost: list[int], fit: dict[str, Floats], values: np.ndarray, total: int
) -> dict[str, str]:
    """One new name to one lost value each, the most likely of all ways to do so, by share and by what the other
    columns say; names whose share fits none stay without."""
    fresh = fresh[: 2 * len(lost) + 5]
    worth = np.full((len(fresh), len(lost) + len(fresh)), _NONE)
    worth[:, : len(lost)] = 2 * _NONE
    for row, name in enumerate(fresh):
        count = int((values == name).sum())
        for at, k in enumerate(lost):
            usual = past.shares[:, k]
            low, high = usual.min() * total, usual.max() * total
            slack = 3.0 * np.sqrt(max(high, 4.0))
            if low / limits.BEYOND - slack <= count <= high * limits.BEYOND + slack:
                off = (count - usual.mean() * total) / (usual.std() * total + np.sqrt(count + 1.0))
                worth[row, at] = float(-0.5 * off**2 + fit[name][k])
    chosen = assign(worth).tolist()
    return {name: past.names[lost[at]] for name, at in zip(fresh, chosen, strict=True) if at < len(lost)}

"""Words in a column that changed: other spelling, new names, exchanged meanings, values merged or never seen.

The idea: a renamed value keeps its rows. What stands in the other columns of those rows says which old value
they belong to, and its share says it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import combinations

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, percent, put_draws, put_words, rate_holds
from .case import NUMBERS, WORDS, Case, History
from .history import CategoryPast, Floats, Ints, Mask, hellinger
from .places import Place, locate, locate_hits

_MOST = 400


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
            yield from _permuted(case, column, past, values)


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
    fit = _resemblance(case, column, past, values, affected, fresh)
    mapping = _assign(past, fresh, lost, fit, values[place.mask], total)
    covered = float(np.isin(values[affected], list(mapping)).mean()) if mapping else 0.0
    if covered < 0.75:
        joined = _shares_add_up(past, lost, float(affected.sum()) / total) and len(fresh) < len(lost)
        gone = [name for name, count in zip(past.names, counted, strict=False) if count == 0]
        return ("merged", {}, gone) if joined else ("new", {}, [])
    return ("renamed" if len(fresh) <= 2 and len(past.names) > len(fresh) else "recoded"), mapping, []


def _shares_add_up(past: CategoryPast, lost: list[int], share: float) -> bool:
    together = past.shares[:, lost].sum(axis=1)
    return bool(0.7 * together.min() <= share <= 1.4 * together.max())


def _assign(
    past: CategoryPast, fresh: list[str], lost: list[int], fit: dict[str, Floats], values: np.ndarray, total: int
) -> dict[str, str]:
    """One new name to one lost value each, greedily by share and by what the other columns say."""
    pairs = []
    for name in fresh[: 2 * len(lost) + 5]:
        count = int((values == name).sum())
        for k in lost:
            usual = past.shares[:, k]
            low, high = usual.min() * total, usual.max() * total
            slack = 3.0 * np.sqrt(max(high, 4.0))
            if not low / limits.BEYOND - slack <= count <= high * limits.BEYOND + slack:
                continue
            frequency = -0.5 * ((count - usual.mean() * total) / (usual.std() * total + np.sqrt(count + 1.0))) ** 2
            pairs.append((float(frequency + fit[name][k]), name, k))
    mapping: dict[str, str] = {}
    taken: set[int] = set()
    for _, name, k in sorted(pairs, reverse=True):
        if name not in mapping and k not in taken:
            mapping[name] = past.names[k]
            taken.add(k)
    return mapping


def _resemblance(
    case: Case, column: str, past: CategoryPast, values: np.ndarray, rows: Mask, names: list[str]
) -> dict[str, Floats]:
    """For each name: how well its rows fit each past value, by the other columns (capped log likelihood)."""
    likelihood = _likelihood(case, column, past)[rows]
    at = values[rows]
    fits = {}
    for name in names:
        mine = likelihood[at == name]
        summed = mine.sum(axis=0) if len(mine) else np.zeros(len(past.names))
        fits[name] = np.maximum((summed - summed.max()) * 0.3, -40.0)
    return fits


def _likelihood(case: Case, column: str, past: CategoryPast) -> Floats:
    """(rows, past values): log P(what stands in the other columns | value), the partners that know most."""
    likelihood: Floats = case.kept(("likelihood", column), lambda: _company(case, column, past))
    return likelihood


def _company(case: Case, column: str, past: CategoryPast) -> Floats:
    total = np.zeros((case.rows, len(past.names)))
    for other, logs in _partners(case, column, past):
        total += logs[:, case.coded(other)].T
    return total


def _partners(case: Case, column: str, past: CategoryPast) -> list[tuple[str, Floats]]:
    """The (at most four) columns that tell most about this one, with log P(code | value) / P(code)."""
    found: list[tuple[str, Floats]] = case.kept(("partners", column), lambda: _find_partners(case, column, past))
    return found


def _find_partners(case: Case, column: str, past: CategoryPast) -> list[tuple[str, Floats]]:
    scored = []
    for other in case.kinds:
        if other == column or other not in case.now.columns or case.kinds[other] in ("text", "time"):
            continue
        if (
            other in case.stand_ins
            or case.shape(other) > limits.BEYOND
            or (case.kinds[other] in NUMBERS and case.unusual(other) > limits.BEYOND)
        ):
            continue  # it changed itself: its word on what belongs together is worth nothing
        information, logs = case.history.kept(
            ("company", column, other), partial(_told_by, case.history, column, past, other)
        )
        if information > 0.02:
            scored.append((information, other, logs))
    scored.sort(key=lambda one: -one[0])
    return [(other, logs) for _, other, logs in scored[:4]]


def _told_by(history: History, column: str, past: CategoryPast, other: str) -> tuple[float, Floats]:
    """What another column's codes tell about this one's values: information (nats), log P(code | value) / P(code)."""
    codes, width = _past_codes(history, column, past), 32
    usable = codes >= 0
    cells = codes[usable] * width + history.codes(other)[usable]
    table = np.bincount(cells, minlength=len(past.names) * width).reshape(-1, width)
    marginal = (table.sum(axis=0) + 0.5) / (table.sum() + 0.5 * width)
    given = (table + 8 * marginal) / (table.sum(axis=1, keepdims=True) + 8)
    logs: Floats = np.log(given / marginal)
    return float((table / max(table.sum(), 1) * logs).sum()), logs


def _past_codes(history: History, column: str, past: CategoryPast) -> Ints:
    """Index of each past row's value among the names, -1 for null."""

    def made() -> Ints:
        index = {name: k for k, name in enumerate(past.names)}
        return np.array([index.get(v, -1) for v in np.concatenate(history.raw(column))], np.int64)

    codes: Ints = history.kept(("names", column), made)
    return codes


def _one_grew(past: CategoryPast, values: np.ndarray) -> bool:
    """Did one value take rows and leave the others' proportions as they were? Then nothing was exchanged."""
    if len(past.names) < 3:
        return False
    counted = past.counted(list(values))[:-1]
    grown = int(np.argmax(counted / max(counted.sum(), 1) - past.shares.mean(axis=0)))
    total = past.counts.sum(axis=0)
    return hellinger(np.delete(counted, grown), np.delete(total, grown)) <= limits.INSIDE * past.worst_shape


def company(case: Case, column: str, value: str, rows: Mask) -> tuple[float, float]:
    """How well some rows go with a value by what stands beside it, and how well its rows usually do (nats a row)."""
    past = case.history.words(column)
    at = past.names.index(value)
    codes = _past_codes(case.history, column, past) == at
    usual = sum(
        float(logs[at, case.history.codes(other)[codes]].mean()) for other, logs in _partners(case, column, past)
    )
    return float(_likelihood(case, column, past)[rows, at].mean()) if rows.any() else 0.0, usual


def mixed(case: Case, column: str, value: str, gone: str, rows: Mask) -> tuple[float, float, bool]:
    """How much better some rows of a value go with a mixture of it and one that is gone than with it alone (nats a
    row), and the least that says so: more than every past window, and nearer to a mixture than to the value. And
    whether a mixture would be seen: without company both look alike."""
    past = case.history.words(column)
    a, b = past.names.index(value), past.names.index(gone)
    shares = past.shares.mean(axis=0)
    weight = float(shares[b] / (shares[a] + shares[b]))

    def gain(own: Floats, other: Floats) -> Floats:
        better: Floats = np.logaddexp(np.log(1 - weight), np.log(weight) + other - own)
        return better

    codes = _past_codes(case.history, column, past)
    before = np.isin(codes, (a, b))
    own, other = np.zeros(before.sum()), np.zeros(before.sum())
    for partner, logs in _partners(case, column, past):
        seen = case.history.codes(partner)[before]
        own, other = own + logs[a, seen], other + logs[b, seen]
    gains, alone = gain(own, other), codes[before] == a
    window = case.history.pooled["mw.window"].to_numpy()[before][alone]
    sums, counts = np.bincount(window, weights=gains[alone]), np.bincount(window)
    worst = float((sums[counts > 0] / counts[counts > 0]).max())
    likelihood = _likelihood(case, column, past)[rows]
    now = float(gain(likelihood[:, a], likelihood[:, b]).mean()) if rows.any() else 0.0
    middle = 0.5 * float(gains[alone].mean() + gains.mean())
    return now, max(worst, middle), middle > worst


def _worst_company(case: Case, column: str, past: CategoryPast, moved: dict[str, str]) -> float:
    """The most that the company of past rows ever spoke for this exchange, by window."""
    index = {name: k for k, name in enumerate(past.names)}
    here = _past_codes(case.history, column, past)
    there = np.arange(len(past.names))
    for came, was in moved.items():
        there[index[came]] = index[was]
    rows = np.flatnonzero(np.isin(here, [index[came] for came in moved]))
    gain = np.zeros(len(rows))
    for other, logs in _partners(case, column, past):
        seen = case.history.codes(other)[rows]
        gain += logs[there[here[rows]], seen] - logs[here[rows], seen]
    window = case.history.pooled["mw.window"].to_numpy()[rows]
    sums, counts = np.bincount(window, weights=gain), np.bincount(window)
    return float((sums[counts > 0] / counts[counts > 0]).max()) if len(rows) else 0.0


def _permuted(case: Case, column: str, past: CategoryPast, values: np.ndarray) -> Iterator[Candidate]:
    """No new name, yet shares and company say that names were exchanged, or that one took over another's rows."""
    if len(past.names) < 2 or len(past.names) > 60:
        return
    known = np.array([v is not None for v in values])
    groups = [known, known & (np.arange(len(values)) >= len(values) // 2)]
    groups += [known & mask for (source, _), mask in case.slices.items() if source == "mw.caller"]
    for rows in groups:
        frequent = [name for name in _frequent(values[rows]) if (values[rows] == name).sum() >= limits.RATE_ROWS]
        fit = _resemblance(case, column, past, values, rows, frequent)
        everything = list(range(len(past.names)))
        mapping = _assign(past, frequent, everything, fit, values[rows], int(rows.sum()))
        moved = {came: was for came, was in mapping.items() if came != was}
        if len(moved) >= 2 and _closed(moved) and len(mapping) >= 0.7 * len(frequent):
            found = _permutation(case, column, values, _best_told(case, column, past, values, rows, moved))
            moved = dict(found.facts["mapping"])  # type: ignore[call-overload]
            if set(moved) <= set(values[found.affected]):  # else a value is gone: lost, not exchanged
                yield found
            return


def _best_told(
    case: Case, column: str, past: CategoryPast, values: np.ndarray, rows: Mask, moved: dict[str, str]
) -> dict[str, str]:
    """The whole exchange, or that pair of it for which the rows speak more: names are matched one after the other."""
    names = list(moved)[:6]
    pairs = [{a: b, b: a} for a, b in combinations(names, 2)] if len(moved) > 2 else []
    likelihood = _likelihood(case, column, past) + np.log(past.shares.mean(axis=0) + 1e-4)
    index = {name: k for k, name in enumerate(past.names)}

    def gain(option: dict[str, str]) -> float:
        told = np.zeros(len(values))
        for came, was in option.items():
            mine = rows & (values == came)
            told[mine] = likelihood[mine, index[was]] - likelihood[mine, index[came]]
        return float(np.cumsum(np.clip(told, -limits.CLIP, limits.CLIP)[::-1]).max())  # from its best onset on

    return max([moved, *pairs], key=gain)


def _closed(moved: dict[str, str]) -> bool:
    """A permutation among the frequent values: what is taken is also given, but for a rare one."""
    return len(set(moved) & set(moved.values())) >= 0.8 * len(moved)


def _permutation(case: Case, column: str, values: np.ndarray, moved: dict[str, str]) -> Candidate:
    past = case.history.words(column)
    index = {name: k for k, name in enumerate(past.names)}
    rows = np.isin(values, list(moved))
    likelihood = _likelihood(case, column, past)
    shares = np.log(past.shares.mean(axis=0) + 1e-4)
    here = np.array([index.get(v, 0) for v in values])
    there = np.array([index[moved[v]] if v in moved else k for v, k in zip(values, here, strict=True)])
    at = np.arange(len(values))
    evidence = np.where(rows, likelihood[at, there] - likelihood[at, here] + shares[there] - shares[here], 0.0)
    place = locate(case, evidence, exclude={column}) or Place(rows, int(np.argmax(rows)), None, 0.0)
    affected = rows & place.mask
    shown = ", ".join(f'"{came}" means "{was}"' for came, was in list(moved.items())[:3])
    # Shares alone wander; what stands beside the values in their rows does not.
    gained = likelihood[at, there] - likelihood[at, here]
    company = float(gained[affected].mean()) if affected.any() else 0.0
    each = [affected & (values == came) for came in set(values[affected])]
    said = [float(gained[rows].mean()) for rows in each if rows.sum() >= limits.RATE_ROWS]
    least = min(said, default=0.0)
    # The rows of each name that has enough of them must speak for the exchange: a value written over others' rows
    # leaves those others as they were, and of many pairs a few rows always fit one better.
    told = len(said) >= 2 and least > 0 and company >= max(_worst_company(case, column, past, moved), 0.0) + limits.GAIN
    gain = float(evidence[affected].mean()) if told else 0.0
    there = values[place.mask]
    alone = past.shape(list(there)) > limits.STANDS * past.worst_shape and not _one_grew(past, there)
    if not told and least > -limits.GAIN and alone:
        # Each share is another's, far beyond what shares ever did: chance does not bring that about.
        gain = float(evidence[affected].mean())

    def holds(part: Mask) -> bool:
        return (
            bool((part & affected).any())
            and float(np.clip(evidence[part & affected], -limits.CLIP, limits.CLIP).mean()) > 0
        )

    return Candidate(
        kind="categories",
        form="permuted",
        columns=(column,),
        words=f"has its values exchanged ({shown}{', ...' if len(moved) > 3 else ''})",
        affected=affected,
        place=place,
        strength=float(np.exp(min(gain, 5.0))),
        undo=put_words(column, affected, moved),
        holds=holds,
        exact=True,
        crisp=told,
        fix=f"map back: {shown}",
        proof=f"mapped back, shares and company of {column} are as always",
        facts={"mapping": moved},
    )

"""What one channel of one column says of one window: pure numbers, about 1 where nothing changed.

Counts over bins are compared by the Hellinger distance, shares on the arcsine scale, both in units of what
sampling alone would give.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..profiles import bin_keys
from ..profiles.column import add_moments

if TYPE_CHECKING:
    from ..profiles import ColumnProfile, Profile

Ints = NDArray[np.int64]
Seen = frozenset[str] | tuple[float, float]

SCORE = "mw.score"
LABEL = "mw.label"
# Facts of whole rows, no column.
WHOLE_ROWS = "mw.rows"
PREDICTION = frozenset({SCORE, LABEL})

BINS = 12
TOP = 30
# Below this many rows a channel would say more about luck than about the data.
MIN_ROWS = 30
# What a channel reaches by sampling alone; its own worst counts only above this.
FLOOR_SHAPE = 1.65 * 1.33
FLOOR_RATE = 1.65 * 1.3
WIDEN = 0.05
# So far out, one width of all that was ever seen, no season goes: a sentinel, a unit.
FAR = 1.0
# Exact numbers seen so far are kept up to this many; a column with more of them is not on a lattice.
LATTICE = 10_000
# Past predictions of a version that was not live yet come from kept samples of at most this many rows.
# Natural change grows with n in `shape`, so predictions count as at most this many rows, then and now.
SAMPLE = 2000
# An association above this is as good as a rule, and Fisher's z has no end.
STRONGEST = 0.995
# A tie is watched where it is at least so strong, and in every usual window at least this share of its mean:
# columns that go together on some days only (weather) break up by themselves.
TIE = 0.3
STEADY = 0.8


# --------------------------------------------------------------------------- what is read of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One column of one window: `rows` in all, `n` with a value; counts by 16-bit key or by category.

    `keys` (sorted, uint16, of value - `centre`) and `counts` are the histogram of a column of numbers,
    `low` and
    `high` its least and largest value, `values` its exact values (sorted) and their counts while they are few
    enough to keep; `texts` the counts of a column of categories. Neither for free text,
    times, and categories too many to count each: those have shares, no shape. `wholes` is None where the
    column holds whole numbers by its kind. Of rows as a whole `same` are the shares of their pairs and triples that
    are equal in every column.
    """

    rows: int
    n: int
    centre: float = 0.0
    keys: NDArray[np.uint16] | None = None
    counts: Ints | None = None
    low: float = math.nan
    high: float = math.nan
    values: tuple[NDArray[Any], Ints] | None = None
    texts: Mapping[str, int] | None = None
    wholes: int | None = None
    pairs: int = 0
    repeats: int = 0
    mean: float = math.nan
    m2: float = 0.0
    scattered: float | None = None
    ties: Mapping[str, float] = field(default_factory=dict)
    sampled: int = 0
    repeated: int | None = None
    same: tuple[float, float] | None = None


def facts_of(
    profile: Profile, *, without: Iterable[str] = (), beside: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Facts]:
    """What the channels read, for every column of a profile but those named in `without`.

    `beside` holds by column what no profile can: `scattered`, `ties` and `sampled` of Facts, and of the rows as a
    whole (`WHOLE_ROWS`) how many are `repeated`, and `same`.
    """
    left_out, known = set(without), dict(beside or {})
    rows = {WHOLE_ROWS: Facts(rows=profile.rows, n=profile.rows, **known[WHOLE_ROWS])} if WHOLE_ROWS in known else {}
    return rows | {
        name: replace(facts_of_column(column), **known.get(name, {}))
        for name, column in profile.columns.items()
        if name not in left_out
    }


def facts_of_column(column: ColumnProfile) -> Facts:
    """What the channels read of one column."""
    binned = column.bins is not None and column.kind in ("number", "whole", "boolean")
    return Facts(
        rows=column.rows,
        n=column.n,
        centre=column.centre,
        keys=column.bins.keys if binned and column.bins is not None else None,
        counts=column.bins.counts if binned and column.bins is not None else None,
        low=float(column.min) if binned and column.min is not None else math.nan,
        high=float(column.max) if binned and column.max is not None else math.nan,
        values=column.values if binned and column.kind != "boolean" else None,
        texts=column.categories if column.kind == "category" else None,
        wholes=column.wholes if column.kind == "number" else None,
        pairs=column.pairs,
        repeats=column.repeats,
        mean=float(column.mean) if binned and column.kind != "boolean" else math.nan,
        m2=column.m2 if binned else 0.0,
    )


# --------------------------------------------------------------------------- bins


@dataclass(frozen=True, slots=True)
class NumberCut:
    """Bins of a column of numbers: bin i holds the keys in (bounds[i-1], bounds[i]]; the first is below
    all seen when it was cut, the last above.
    """

    bounds: NDArray[np.uint16]
    centre: float

    def count(self, facts: Facts) -> Ints | None:
        """How many values fall into each bin, or None where the column holds no such numbers now."""
        if facts.keys is None or facts.counts is None or facts.centre != self.centre:
            return None
        places = np.searchsorted(self.bounds, facts.keys, side="left")
        return np.bincount(places, weights=facts.counts, minlength=self.bounds.size + 1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class CategoryCut:
    """Bins of a column of categories: the most frequent 30, other known ones, never seen ones."""

    top: Mapping[str, int]
    known: frozenset[str]

    def count(self, facts: Facts) -> Ints | None:
        """How many values fall into each bin, or None where the column holds no categories now."""
        if facts.texts is None:
            return None
        # Set operations, no loop: a column may have thousands of texts, in hundreds of windows.
        top = [facts.texts.get(text, 0) for text in self.top]
        new = sum(facts.texts[text] for text in facts.texts.keys() - self.known)
        return np.array([*top, sum(facts.texts.values()) - sum(top) - new, new], dtype=np.int64)


Cut = NumberCut | CategoryCut


def cut(past: Sequence[Facts]) -> Cut | None:
    """The bins for a column, from its windows so far; None where they hold no values.

    Where the column's kind or centre was changed on the way, the newest one counts.
    """
    held = [one for one in past if one.texts or (one.keys is not None and one.keys.size)]
    if not held:
        return None
    if held[-1].texts is not None:
        total: dict[str, int] = {}
        for one in held:
            for text, number in (one.texts or {}).items():
                total[text] = total.get(text, 0) + number
        ranked = heapq.nsmallest(TOP, total, key=lambda text: (-total[text], text))
        return CategoryCut({text: place for place, text in enumerate(ranked)}, frozenset(total))
    centre = held[-1].centre
    alike = [(one.keys, one.counts) for one in held if one.keys is not None and one.centre == centre]
    mass = np.bincount(
        np.concatenate([keys for keys, _ in alike]), weights=np.concatenate([counts for _, counts in alike])
    )
    occupied = np.flatnonzero(mass)
    return NumberCut(_bounds(occupied, mass[occupied].astype(np.float64)), centre)


def _bounds(keys: NDArray[np.intp], mass: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Upper keys of the bins: one below everything, quantile bins with every heavy key alone, the last
    key.
    """
    share = mass.sum() / BINS
    heavy = mass > share
    upper: list[int] = [max(int(keys[0]) - 1, 0)]
    held = 0.0
    for place, key in enumerate(keys.tolist()):
        if heavy[place]:
            if held:
                upper.append(int(keys[place - 1]))
            upper.append(key)
            held = 0.0
            continue
        held += mass[place]
        if held >= share:
            upper.append(key)
            held = 0.0
    if held:
        upper.append(int(keys[-1]))
    return np.unique(np.asarray(upper, dtype=np.uint16))


# --------------------------------------------------------------------------- channels


def shape(now: Ints, reference: Ints, *, most: int | None = None) -> float | None:
    """Squared Hellinger distance of two counts over the same bins, in units of what sampling alone would
    give.

    8 H^2 / (1/n + 1/m) / (B - 1), about 1 under no change at any n. `most` caps n. None under 30 values on
    either side, 0 where one bin holds everything.
    """
    n, m = int(now.sum()), int(reference.sum())
    if n < MIN_ROWS or m < MIN_ROWS:
        return None
    bins = int(np.count_nonzero(now + reference))
    if bins < 2:
        return 0.0
    affinity = float(np.sqrt((now / n) * (reference / m)).sum())
    if most is not None:
        n = min(n, most)
    return 8.0 * max(1.0 - affinity, 0.0) / (1.0 / n + 1.0 / m) / (bins - 1)


def level(now: tuple[int, float, float], past: Sequence[tuple[int, float, float]]) -> float | None:
    """How far the mean is from the reference's, in standard errors; (n, mean, M2) of each window.

    Unlike `shape` it does not saturate: distributions that no longer overlap still tell how far apart they are.
    None under 30 values on either side or where the reference has no spread.
    """
    n, mean, _ = now
    m, usual, m2 = add_moments(past)
    if n < MIN_ROWS or m < MIN_ROWS or not m2 > 0 or not math.isfinite(mean - usual):
        return None
    return abs(mean - usual) / math.sqrt(m2 / (m - 1) * (1.0 / n + 1.0 / m))


def loosened(now: float, usual: float, n: int) -> float:
    """How far an association (0 to 1) of `n` rows lies below the usual one, in standard errors (Fisher's z)."""
    return max(0.0, _fisher(usual) - _fisher(now)) * math.sqrt(max(n - 3, 1))


def _fisher(strength: float) -> float:
    return math.atanh(min(strength, STRONGEST))


def rate(now: float, reference: float, n: int) -> float:
    """How far a share is from its reference share, in standard errors of `n` rows (arcsine scale)."""
    return 2.0 * math.sqrt(n) * abs(_angle(now) - _angle(reference))


def fallen(now: Ints, reference: Ints) -> tuple[float, float, float] | None:
    """The category whose share fell most: by how many standard errors (arcsine scale), its share now and the usual one.

    The counts are over the bins of a `CategoryCut`; the last, of texts never seen, is left out. A segment that is lost
    moves one share of many, which a distance over all of them dilutes. None under 30 values on either side.
    """
    n, m = int(now.sum()), int(reference.sum())
    if n < MIN_ROWS or m < MIN_ROWS or now.size < 2:
        return None
    share, usual = now[:-1] / n, reference[:-1] / m
    falls = np.arcsin(np.sqrt(usual)) - np.arcsin(np.sqrt(share))
    at = int(np.argmax(falls))
    return max(2.0 * math.sqrt(n) * float(falls[at]), 0.0), float(share[at]), float(usual[at])


def _angle(share: float) -> float:
    return math.asin(math.sqrt(min(max(share, 0.0), 1.0)))


@dataclass(frozen=True, slots=True)
class Sharing:
    """How often rows of a window share a value: of its `n` values the share of all pairs, and of all triples, that are
    alike. By exact value where those are kept (`exact`), else by bin.
    """

    n: int
    pairs: float
    triples: float
    exact: bool


def sharing(one: Facts) -> Sharing | None:
    """None under 30 values, and where neither values nor categories are counted."""
    if one.same is not None:
        return Sharing(one.rows, *one.same, exact=True) if one.rows >= MIN_ROWS else None
    exact = one.values is not None or one.texts is not None
    if one.values is not None:
        counts = one.values[1].astype(np.float64)
    elif one.counts is not None:
        counts = one.counts.astype(np.float64)
    elif one.texts is not None:
        counts = np.fromiter(one.texts.values(), dtype=np.float64, count=len(one.texts))
    else:
        return None
    n = int(counts.sum())
    if n < MIN_ROWS:
        return None
    twos = counts * (counts - 1)
    pairs, triples = twos.sum() / (n * (n - 1.0)), (twos * (counts - 2)).sum() / (n * (n - 1.0) * (n - 2.0))
    return Sharing(n, float(pairs), float(triples), exact)


@dataclass(frozen=True, slots=True)
class Alike:
    """How far more pairs of rows share a value than usual, in standard errors; the usual share, and one `error`."""

    apart: float
    usual: float
    error: float
    n: int

    def of(self, pairs: float) -> float:
        """What so many pairs more would be, in standard errors."""
        return 2.0 * pairs / (self.n * (self.n - 1.0)) / self.error


def alike(now: Sharing, past: Sequence[Sharing]) -> Alike | None:
    """How far more pairs of rows share a value than usual.

    The share of pairs does not depend on how many rows there are; its variance is that of Simpson (1949, Measurement of
    diversity, Nature 163), with the usual shares. Rounding, a value that stands still and rows that come twice raise
    it. None without a past of the same make.
    """
    known = [one for one in past if one.exact == now.exact]
    if not known:
        return None
    weights = [one.n * (one.n - 1.0) for one in known]
    pairs = sum(w * one.pairs for w, one in zip(weights, known, strict=True)) / sum(weights)
    triples = sum(w * one.triples for w, one in zip(weights, known, strict=True)) / sum(weights)
    n, m = now.n, sum(one.n for one in known)
    least = 2.0 / (n * (n - 1.0))  # one pair
    variance = 4.0 * max(triples - pairs * pairs, 0.0) * (1.0 / n + 1.0 / m) + max(pairs * (1.0 - pairs), least) * least
    error = math.sqrt(variance)
    return Alike(max(0.0, now.pairs - pairs) / error, pairs, error, n)


def alarm_line(past: Sequence[float], k: float) -> float:
    """The level that the highest scores have passed `k` times in `past` (at least two values, oldest first).

    Between whole ranks it is interpolated. For k < 1, fewer passes than the past can show, the tail above the
    highest is taken as exponential with the mean excess of the upper quarter.
    """
    ranked = sorted(past, reverse=True)
    if k >= 1:
        below = min(int(k), len(ranked))
        above = min(below + 1, len(ranked))
        part = k - int(k)
        return ranked[below - 1] * (1 - part) + ranked[above - 1] * part
    return ranked[0] + mean_excess(ranked) * math.log(1.0 / max(k, 1e-3))


def mean_excess(past: Sequence[float]) -> float:
    """By how much the upper quarter lies above the highest value that is not of it, on average."""
    ranked = sorted(past, reverse=True)
    tail = max(2, len(ranked) // 4)
    at = ranked[min(tail, len(ranked) - 1)]
    return sum(one - at for one in ranked[:tail]) / tail


def peaks(values: Sequence[float], apart: int) -> list[float]:
    """The heights of separate episodes: the highest, then the highest more than `apart` places from all those.

    An episode of several windows is one alarm, so it is one height (declustering by runs, as in extreme value
    statistics: Coles 2001, An Introduction to Statistical Modeling of Extreme Values, section 5.3).
    """
    found: list[int] = []
    near = bytearray(len(values))
    for place in sorted(range(len(values)), key=lambda at: -values[at]):
        if not near[place]:
            found.append(place)
            for one in range(max(place - apart, 0), min(place + apart + 1, len(values))):
                near[one] = 1
    return [values[place] for place in found]


def widen(seen: Seen | None, one: Facts) -> Seen | None:
    """Everything seen so far, this window included: a set of categories, or the least and largest number."""
    if one.texts is not None:
        before = seen if isinstance(seen, frozenset) else frozenset()
        return before if before.issuperset(one.texts) else before.union(one.texts)
    if one.keys is None or math.isnan(one.low):
        return seen
    return (min(one.low, seen[0]), max(one.high, seen[1])) if isinstance(seen, tuple) else (one.low, one.high)


def join(seen: NDArray[Any] | None, values: NDArray[Any]) -> NDArray[Any] | None:
    """Exact numbers seen so far, sorted; None for good once they are too many."""
    if seen is None:
        return None
    joined = np.union1d(seen, values)
    return joined if joined.size <= LATTICE else None


def off(seen: NDArray[Any] | None, one: Facts) -> int | None:
    """Rows with an exact number never seen before, or None where that cannot be told."""
    if seen is None or one.values is None:
        return None
    values, counts = one.values
    return int(counts[~np.isin(values, seen, assume_unique=True)].sum())


def beyond(seen: Seen | None, one: Facts, room: float = WIDEN) -> int | None:
    """Rows with a value outside everything seen so far, or None where that cannot be told.

    The range of numbers is widened by `room` of its width on both sides.
    """
    if isinstance(seen, frozenset) and one.texts is not None:
        return sum(one.texts[text] for text in one.texts.keys() - seen)
    if isinstance(seen, tuple) and one.keys is not None and one.counts is not None:
        wider = room * (seen[1] - seen[0])
        low, high = bin_keys(np.array([seen[0] - wider, seen[1] + wider]) - one.centre)
        return int(one.counts[(one.keys < low) | (one.keys > high)].sum())
    return None

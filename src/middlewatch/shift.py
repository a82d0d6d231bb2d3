"""Has something moved, more than it ever moves by itself? Profiles in, numbers out.

Days differ from one another far more than sampling says (32 times, on flights), so no p-value and no fixed
threshold is right. Each signal of each column (a *channel*) is held against its own worst of the last 90
windows, and one line over all channels is learnt from how high the highest used to come.

    Facts      what the channels read of one column of one window, cut from a stored ColumnProfile
    Cut        the bins of a column: quantiles, heavy atoms, top categories; made anew every 28 windows
    channels   shape, null, novelty, whole, repeat: one number each, about 1 where nothing changed
    score      log(value / its worst of the last 90 windows)
    M, P       the highest score now; the highest that holds for two windows
    Watch      the fold over windows in order: `look` judges one, `step` learns it

Pure: no disk, no clock, no chance. The same windows in the same order give the same verdicts.
"""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .profiles.sketches import bin_keys

if TYPE_CHECKING:
    from .profiles import ColumnProfile, Profile

Ints = NDArray[np.int64]
Key = tuple[str, str]
Seen = frozenset[str] | tuple[float, float]
State = Literal["learning", "provisional", "judged"]

SCORE = "mw.score"
LABEL = "mw.label"
PREDICTION = frozenset({SCORE, LABEL})

REFERENCE = 28
REFERENCE_WEEKS = 8
HISTORY = 90
RECUT = 28
BINS = 12
TOP = 30
# Below these a channel, a score or an alarm would say more about luck than about the data.
MIN_ROWS = 30
MIN_REFERENCE = 7
MIN_VALUES = 7
LEARN = 14
FIRM = 60
# What a channel reaches by sampling alone; its own worst counts only above this.
FLOOR_SHAPE = 1.65 * 1.33
FLOOR_RATE = 1.65 * 1.3
NOVEL = 0.001
WIDEN = 0.05
# Past predictions of a version that was not live yet come from kept samples of at most this many rows.
# Natural change grows with n in `shape`, so predictions count as at most this many rows, then and now.
SAMPLE = 2000
UNUSUAL_VOLUME = 2.0


# --------------------------------------------------------------------------- what is read of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One column of one window: `rows` in all, `n` with a value; counts by 16-bit key or by category.

    `keys` (sorted, uint16, of value - `centre`) and `counts` are the histogram of a column of numbers,
    `low` and
    `high` its least and largest value; `texts` the counts of a column of categories. Neither for free text,
    times, and categories too many to count each: those have shares, no shape. `wholes` is None where the
    column holds whole numbers by its kind.
    """

    rows: int
    n: int
    centre: float = 0.0
    keys: NDArray[np.uint16] | None = None
    counts: Ints | None = None
    low: float = math.nan
    high: float = math.nan
    texts: Mapping[str, int] | None = None
    wholes: int | None = None
    pairs: int = 0
    repeats: int = 0


def facts_of(profile: Profile, *, without: Iterable[str] = ()) -> dict[str, Facts]:
    """What the channels read, for every column of a profile but those named in `without`."""
    left_out = set(without)
    return {name: facts_of_column(column) for name, column in profile.columns.items() if name not in left_out}


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
        texts=column.categories if column.kind == "category" else None,
        wholes=column.wholes if column.kind == "number" else None,
        pairs=column.pairs,
        repeats=column.repeats,
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
        counts = np.zeros(len(self.top) + 2, dtype=np.int64)
        for text, number in facts.texts.items():
            place = self.top.get(text)
            if place is None:
                place = len(self.top) + (text not in self.known)
            counts[place] += number
        return counts


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
        ranked = sorted(total, key=lambda text: (-total[text], text))[:TOP]
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


def rate(now: float, reference: float, n: int) -> float:
    """How far a share is from its reference share, in standard errors of `n` rows (arcsine scale)."""
    return 2.0 * math.sqrt(n) * abs(_angle(now) - _angle(reference))


def _angle(share: float) -> float:
    return math.asin(math.sqrt(min(max(share, 0.0), 1.0)))


def score(value: float, worst: float, floor: float) -> float:
    """log(value / worst so far), the worst being at least `floor`: above 0 is beyond everything seen."""
    return math.log(max(value, 1e-6) / max(worst, floor))


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
    tail = max(2, len(ranked) // 4)
    at = ranked[min(tail, len(ranked) - 1)]
    excess = sum(one - at for one in ranked[:tail]) / tail
    return ranked[0] + excess * math.log(1.0 / max(k, 1e-3))


# --------------------------------------------------------------------------- the fold over windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One channel of one window.

    `value` now, the `worst` of the last 90 windows, `score` = log(value / worst), `lasting` the lower
    score of this window and the last, both against the windows before the two. `now` and `usual` are plain
    shares where the channel is about one (nulls, novel values, ...), else None.
    """

    column: str
    channel: str
    value: float
    worst: float
    score: float
    lasting: float
    now: float | None = None
    usual: float | None = None

    @property
    def height(self) -> float:
        """The higher of the two scores: what the alarm lines compare."""
        return max(self.score, self.lasting)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, rounded to what can be read."""
        plain: dict[str, Any] = {
            "column": self.column,
            "channel": self.channel,
            "score": round(self.height, 4),
            "value": round(self.value, 4),
            "worst": round(self.worst, 4),
        }
        if self.now is not None and self.usual is not None:
            plain |= {"now": round(self.now, 6), "usual": round(self.usual, 6)}
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one window looks like against its past; `readings` with the highest first.

    `m` and `p` are the highest score and the highest lasting score, `m_line` and `p_line` what they must
    pass; None where there is too little history for one. `history` counts the windows before.
    """

    start: date
    rows: int
    state: State
    alarm: bool
    history: int
    m: float | None
    p: float | None
    m_line: float | None
    p_line: float | None
    readings: tuple[Reading, ...]
    values: Mapping[Key, float]
    usual_rows: float | None

    @property
    def provisional(self) -> bool:
        """True where there are under 60 windows of history, so that the line is a guess."""
        return self.state != "judged"

    @property
    def moved(self) -> tuple[Reading, ...]:
        """Channels beyond everything seen in the last 90 windows, highest first."""
        return tuple(one for one in self.readings if one.height > 0)

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts that must not page: they were not in the measurement of the alarm line."""
        if not self.usual_rows or 1 / UNUSUAL_VOLUME <= self.rows / self.usual_rows <= UNUSUAL_VOLUME:
            return ()
        return (f"{self.rows} rows, usually {self.usual_rows:.0f} on this weekday",)


class Watch:
    """The past windows of one model, as much as judging the next one needs.

    `budget` is the number of alarms a month this model may spend, `days` the length of a window. Windows
    come in order of time; marked-bad ones are not given at all.
    """

    def __init__(self, *, budget: float, days: int = 1) -> None:
        self.budget = budget
        self.days = days
        self.reference = REFERENCE if days == 1 else REFERENCE_WEEKS
        self._windows: list[Mapping[str, Facts]] = []
        self._values: list[Mapping[Key, float]] = []
        self._highest: list[tuple[float, float]] = []
        self._rows: list[tuple[date, int]] = []
        self._seen: dict[str, Seen] = {}
        self._cuts: dict[str, Cut] = {}
        self._period = -1
        self._cut_at = 0
        self._counts: list[dict[str, Ints | None]] = []
        self._novel: list[Mapping[str, float]] = []

    def copy(self) -> Watch:
        """A second Watch with the same past; what one learns later the other does not know."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list):
                setattr(twin, name, list(value))
            elif isinstance(value, dict):
                setattr(twin, name, dict(value))
        return twin

    def __len__(self) -> int:
        return len(self._rows)

    def look(self, start: date, facts: Mapping[str, Facts]) -> Verdict:
        """Judge a window against the past without learning it."""
        self._recut(start)
        values, shares, _ = self._channels(facts)
        readings = self._readings(values, shares)
        m = max((one.score for one in readings), default=None)
        p = max((one.lasting for one in readings), default=None)
        k = self.budget / 2 * min(len(self._highest), HISTORY) * self.days / 30
        m_line = p_line = None
        if len(self._highest) >= LEARN:
            m_line = alarm_line([one for one, _ in self._highest[-HISTORY:]], k)
            p_line = alarm_line([one for _, one in self._highest[-HISTORY:]], k)
        rows = max((one.rows for one in facts.values()), default=0)
        state: State = "learning" if m_line is None else "provisional" if len(self) < FIRM else "judged"
        return Verdict(
            start=start,
            rows=rows,
            state=state,
            alarm=_above(m, m_line) or _above(p, p_line),
            history=len(self),
            m=m,
            p=p,
            m_line=m_line,
            p_line=p_line,
            readings=readings,
            values=values,
            usual_rows=self._usual_rows(start),
        )

    def step(self, start: date, facts: Mapping[str, Facts]) -> Verdict:
        """Judge a window, then learn it."""
        verdict = self.look(start, facts)
        if len(self._windows) >= MIN_REFERENCE:
            _append(self._values, verdict.values, HISTORY + 1)
            if verdict.m is not None and verdict.p is not None:
                _append(self._highest, (verdict.m, verdict.p), HISTORY)
        _, _, novel = self._channels(facts)
        _append(self._novel, novel, self.reference)
        _append(self._windows, facts, HISTORY)
        self._rows.append((start, verdict.rows))
        self._counts.append(self._count(facts))
        del self._counts[: -self.reference]
        for name, one in facts.items():
            if (wider := _widen(self._seen.get(name), one)) is not None:
                self._seen[name] = wider
        return verdict

    # ------------------------------------------------------------------ inside

    def _recut(self, start: date) -> None:
        """New bins every 28 windows by the calendar, so that they do not depend on when judging began; in a
        short history, which is still taking shape, every week. A new column gets bins with its first windows.
        """
        if len(self._windows) < MIN_REFERENCE:
            return
        period = start.toordinal() // (RECUT * self.days)
        names = {name for window in self._windows for name in window}
        if period == self._period and (len(self) >= FIRM or len(self) - self._cut_at < MIN_REFERENCE):
            names -= set(self._cuts)
        else:
            self._period, self._cut_at = period, len(self)
        made = {
            name: bins
            for name in sorted(names)
            if (bins := cut([window[name] for window in self._windows if name in window])) is not None
        }
        if made:
            self._cuts |= made
            self._counts = [self._count(window) for window in self._windows[-self.reference :]]

    def _count(self, facts: Mapping[str, Facts]) -> dict[str, Ints | None]:
        return {name: self._cuts[name].count(one) for name, one in facts.items() if name in self._cuts}

    def _channels(
        self, facts: Mapping[str, Facts]
    ) -> tuple[dict[Key, float], dict[Key, tuple[float, float]], dict[str, float]]:
        """Values of all channels, the plain shares (now, usual) behind those that have one, and novel
        shares.
        """
        values: dict[Key, float] = {}
        shares: dict[Key, tuple[float, float]] = {}
        novel: dict[str, float] = {}
        past = self._windows[-self.reference :]
        if len(past) < MIN_REFERENCE:
            return values, shares, novel
        for name, one in facts.items():
            known = [window[name] for window in past if name in window]
            if len(known) < MIN_REFERENCE:
                continue
            distance = self._shape(name, one)
            if distance is not None:
                values[name, "shape"] = distance
            for channel, n, now, usual in self._shares(name, one, known, novel):
                shares[name, channel] = (now, usual)
                values[name, channel] = rate(now, usual, n)
        return values, shares, novel

    def _shape(self, name: str, one: Facts) -> float | None:
        made = self._cuts.get(name)
        now = made.count(one) if made is not None else None
        pooled = [held for window in self._counts if (held := window.get(name)) is not None]
        if now is None or not pooled:
            return None
        return shape(now, np.sum(pooled, axis=0), most=SAMPLE if name in PREDICTION else None)

    def _shares(
        self, name: str, one: Facts, known: Sequence[Facts], novel: dict[str, float]
    ) -> Iterable[tuple[str, int, float, float]]:
        """(channel, rows it is about, share now, share in the reference) of the channels that are about a
        share.
        """
        if one.rows >= MIN_ROWS:
            yield "null", one.rows, 1 - one.n / one.rows, _ratio(known, lambda it: (it.rows - it.n, it.rows))
        if one.n < MIN_ROWS:
            return
        unseen = _unseen(self._seen.get(name), one)
        if unseen is not None:
            now = unseen / one.n
            novel[name] = now
            before = [held[name] for held in self._novel if name in held]
            usual = min(sum(before) / len(before) if before else 0.0, NOVEL)
            # Fewer new values than usual is no news.
            yield "novelty", one.n, max(now, usual), usual
        if name in PREDICTION:
            return
        if one.wholes is not None:
            yield "whole", one.n, one.wholes / one.n, _ratio(known, lambda it: (it.wholes or 0, it.n))
        if one.pairs >= MIN_ROWS:
            usual = _ratio(known, lambda it: (it.repeats, it.pairs))
            yield "repeat", one.pairs, one.repeats / one.pairs, usual

    def _readings(
        self, values: Mapping[Key, float], shares: Mapping[Key, tuple[float, float]]
    ) -> tuple[Reading, ...]:
        held = self._values[-HISTORY:]
        if len(held) < MIN_VALUES:
            return ()
        last = held[-1]
        base: dict[Key, float] = {}
        for window in held[:-1]:
            for key, value in window.items():
                if value > base.get(key, -1.0):
                    base[key] = value
        readings = []
        for key, value in values.items():
            if key not in base:
                continue
            floor = FLOOR_SHAPE if key[1] == "shape" else FLOOR_RATE
            worst = max(base[key], last.get(key, 0.0))
            lasting = min(score(value, base[key], floor), score(last.get(key, 0.0), base[key], floor))
            now, usual = shares.get(key, (None, None))
            readings.append(
                Reading(
                    column=key[0],
                    channel=key[1],
                    value=value,
                    worst=max(worst, floor),
                    score=score(value, worst, floor),
                    lasting=lasting,
                    now=now,
                    usual=usual,
                )
            )
        return tuple(sorted(readings, key=lambda one: (-one.height, one.column, one.channel)))

    def _usual_rows(self, start: date) -> float | None:
        """Median rows of the same weekday in the last 8 weeks; None with under four of them."""
        at = bisect_right(self._rows, (start, 0))
        same = [rows for day, rows in self._rows[max(at - 56, 0) : at] if day.weekday() == start.weekday()]
        return float(median(same)) if len(same) >= 4 else None


def _above(height: float | None, line: float | None) -> bool:
    return height is not None and line is not None and height > line


def _append(held: list[Any], item: Any, most: int) -> None:
    held.append(item)
    del held[:-most]


def _ratio(known: Sequence[Facts], parts: Any) -> float:
    counted = [parts(one) for one in known]
    whole = sum(of for _, of in counted)
    return sum(part for part, _ in counted) / whole if whole else 0.0


def _widen(seen: Seen | None, one: Facts) -> Seen | None:
    """Everything seen so far, this window included: a set of categories, or the least and largest number."""
    if one.texts is not None:
        before = seen if isinstance(seen, frozenset) else frozenset()
        return before if before.issuperset(one.texts) else before.union(one.texts)
    if one.keys is None or math.isnan(one.low):
        return seen
    return (min(one.low, seen[0]), max(one.high, seen[1])) if isinstance(seen, tuple) else (one.low, one.high)


def _unseen(seen: Seen | None, one: Facts) -> int | None:
    """Rows with a value outside everything seen so far, or None where that cannot be told."""
    if isinstance(seen, frozenset) and one.texts is not None:
        return sum(number for text, number in one.texts.items() if text not in seen)
    if isinstance(seen, tuple) and one.keys is not None and one.counts is not None:
        room = WIDEN * (seen[1] - seen[0])
        low, high = bin_keys(np.array([seen[0] - room, seen[1] + room]) - one.centre)
        return int(one.counts[(one.keys < low) | (one.keys > high)].sum())
    return None

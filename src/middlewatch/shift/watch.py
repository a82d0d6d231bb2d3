"""The fold over windows: what has been, and what the next window looks like against it."""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .channels import (
    FAR,
    FLOOR_RATE,
    FLOOR_SHAPE,
    MIN_ROWS,
    PREDICTION,
    SAMPLE,
    STEADY,
    TIE,
    WHOLE_ROWS,
    Cut,
    Facts,
    Ints,
    Seen,
    Sharing,
    alarm_line,
    alike,
    beyond,
    cut,
    fallen,
    join,
    level,
    loosened,
    mean_excess,
    off,
    peaks,
    rate,
    shape,
    sharing,
    widen,
)
from .length import DAY, Length
from .reading import LEAST, Heights, Key, Reading, Signal, State, Verdict, above

REFERENCE = DAY.reference
HISTORY = DAY.history
RECUT = DAY.recut
# Below these a channel, a score or an alarm would say more about luck than about the data.
MIN_REFERENCE = 7
MIN_VALUES = 7
LEARN = DAY.learn
FIRM = DAY.firm
# Values never seen are expected at most this often.
NOVEL = 0.001
# With this share of new numbers on usual days a column is not on a lattice. Fewer than the floor are no news, in
# whatever season they come.
OFF_LATTICE = 0.2
FLOOR_LATTICE = 0.1
# The deepest of some thirty falls goes so far by sampling alone: the largest of 30 normal numbers, once in 20.
FLOOR_LOST = 2.9
ROWS = "(rows)"
# Fewer rows than this share that came before are no news: clients try again.
REPEATED = 0.01
# Traffic within this factor of the usual is no news, however even it was.
VOLUME = 1.25
# One episode teaches at most this many mean excesses above the line: by chance it would go further once in e^2 = 7
# alarms. Else one incident that nobody marks bad is the worst of the next 90 windows, and hides whatever is smaller.
MOST = 2.0
# Windows, cycles of them, whose numbers of rows are kept.
MOST_ROWS = 150
# How many rows came is not known: those of the window were learnt from.
UNTOLD = -1


@dataclass(frozen=True, slots=True)
class _Line:
    """What the highest score must pass, and the most that one window may teach."""

    line: float
    most: float

    @classmethod
    def of(cls, past: Sequence[float], k: float, apart: int) -> _Line:
        heights = peaks(past, apart)
        line = alarm_line(heights, k)
        return cls(line, line + MOST * mean_excess(heights))


@dataclass(slots=True)
class _Held:
    """A window of the past: its place in the cycle, how many values fell into each bin, shares of new values, how
    often rows shared one.
    """

    place: int
    facts: Mapping[str, Facts]
    counts: Mapping[str, Ints | None]
    fresh: Mapping[Key, float]
    sharings: Mapping[str, Sharing]


class Watch:
    """The past windows of one model, as much as judging the next one needs.

    `budget` is the number of alarms a month this model may spend, `length` that of its windows. They come in order
    of time; marked-bad ones are not given at all.
    """

    def __init__(self, *, budget: float, length: Length = DAY) -> None:
        self.budget = budget
        self.length = length
        self._windows: list[_Held] = []
        # Values of the last windows, a row each, a column for every channel ever met; -1 where it said nothing.
        self._places: dict[Key, int] = {}
        self._values: NDArray[np.float64] = np.zeros((0, 0))
        self._sides: dict[Key, int] = {}
        self._highest: list[tuple[float, float]] = []
        # Channels that are above what a window may teach, and how much that was when they first were; for how many
        # windows on end their columns have been.
        self._capped: dict[Key, float] = {}
        self._waiting: dict[str, int] = {}
        self._rows: list[tuple[date, int]] = []
        self._steps = 0
        self._seen: dict[str, Seen] = {}
        self._lattice: dict[str, NDArray[Any] | None] = {}
        self._cuts: dict[str, Cut] = {}
        self._period = -1
        self._cut_at = 0
        self._partners: dict[str, tuple[int, int, tuple[float, float, str] | None]] = {}

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
        return self._steps

    def look(self, start: date, facts: Mapping[str, Facts]) -> Verdict:
        """Judge a window against the past without learning it."""
        self._recut(start)
        signals = self._signals(start, facts) | self._volume(start, facts)
        readings = self._readings(signals)
        m = max((one.score for one in readings), default=None)
        p = max((one.lasting for one in readings), default=None)
        lines = self._lines()
        m_line, p_line = (lines[0].line, lines[1].line) if lines else (None, None)
        state: State = "learning" if m_line is None else "provisional" if len(self) < self.length.firm else "judged"
        return Verdict(
            start=start,
            rows=_rows(facts),
            state=state,
            alarm=above(m, m_line) or above(p, p_line),
            history=len(self),
            m=m,
            p=p,
            m_line=m_line,
            p_line=p_line,
            readings=readings,
            values={key: signal.value for key, signal in signals.items()},
            usual_rows=self._usual_rows(start),
        )

    def step(self, start: date, facts: Mapping[str, Facts], *, logged: bool = True) -> None:
        """Learn a window. Of one that is not `logged`, rows to learn from, nobody knows how they were drawn: how many
        they are, how many of them are alike and which follows which says nothing of traffic.
        """
        self._recut(start)
        rows = _rows(facts)
        if not logged:
            facts = {name: replace(one, pairs=0, repeats=0) for name, one in facts.items() if name != WHOLE_ROWS}
        if len(self._windows) >= MIN_REFERENCE:
            signals = self._signals(start, facts) | self._volume(start, facts)
            self._learn({key: signal.value for key, signal in signals.items()}, self._heights(signals))
            self._sides = {key: signal.side for key, signal in signals.items()}
            facts = self._usual_of(facts)
        held = _Held(self.length.place(start), facts, self._count(facts), self._fresh(facts), _shared(facts))
        self._windows = [*self._windows, held][-self._kept :]
        self._rows = [*self._rows, (start, rows if logged else UNTOLD)][-MOST_ROWS * self.length.cycle :]
        self._steps += 1
        for name, one in facts.items():
            if (wider := widen(self._seen.get(name), one)) is not None:
                self._seen[name] = wider
            if one.values is not None:
                self._lattice[name] = join(self._lattice.get(name, one.values[0][:0]), one.values[0])

    # ------------------------------------------------------------------ inside

    @property
    def _lived(self) -> int:
        """How many windows' time the highest scores stand for: of hours without traffic there are none."""
        days = {start.toordinal() for start, _ in self._rows[-len(self._highest) :]}
        return len(days) * self.length.cycle if self.length.cycle > 1 else len(self._highest)

    @property
    def _kept(self) -> int:
        """Windows whose facts are kept: what bins are cut from, and every reference."""
        return max(HISTORY, self.length.reference * self.length.cycle)

    def _reference(self, start: date) -> list[_Held]:
        """What a window is held against, oldest first."""
        place = self.length.place(start)
        return [one for one in self._windows if one.place == place][-self.length.reference :]

    def _lines(self) -> tuple[_Line, _Line] | None:
        """What M and P must pass; None where there is too little history."""
        if len(self._highest) < self.length.learn:
            return None
        k = self.length.alarms(self.budget / 2, self._lived)
        m, p = zip(*self._highest, strict=True)
        return _Line.of(m, k, self.length.apart), _Line.of(p, k, self.length.apart)

    def _recut(self, start: date) -> None:
        """New bins every 28 windows by the calendar, so that they do not depend on when judging began; in a
        short history, which is still taking shape, every week. A new column gets bins with its first windows.
        """
        if len(self._windows) < MIN_REFERENCE:
            return
        period = self.length.period(start)
        names = {name for window in self._windows for name in window.facts}
        young = len(self) < self.length.firm
        if period == self._period and (not young or len(self) - self._cut_at < MIN_REFERENCE * self.length.cycle):
            names -= set(self._cuts)
        else:
            self._period, self._cut_at = period, len(self)
        made = {
            name: bins
            for name in sorted(names)
            if (bins := cut([window.facts[name] for window in self._windows if name in window.facts])) is not None
        }
        if made:
            self._cuts |= made
            self._windows = [replace(one, counts=self._count(one.facts)) for one in self._windows]

    def _count(self, facts: Mapping[str, Facts]) -> dict[str, Ints | None]:
        return {name: self._cuts[name].count(one) for name, one in facts.items() if name in self._cuts}

    def _signals(self, start: date, facts: Mapping[str, Facts]) -> dict[Key, Signal]:
        """What every channel of every column, and of whole rows, says of a window."""
        found: dict[Key, Signal] = {}
        past, sharings = self._reference(start), _shared(facts)
        for name, one in facts.items():
            known = [window.facts[name] for window in past if name in window.facts]
            if len(known) < MIN_REFERENCE:
                continue
            before = [window.sharings[name] for window in past if name in window.sharings] if name in sharings else []
            more = alike(sharings[name], before) if len(before) >= MIN_REFERENCE else None
            if name == WHOLE_ROWS:
                if more is not None:
                    usual = _ratio((it.repeated or 0, it.rows) for it in known)
                    floor = max(FLOOR_RATE, more.of(one.rows * REPEATED))
                    found[ROWS, "repeated"] = Signal(more.apart, floor, (one.repeated or 0) / one.rows, usual)
                continue
            found |= {(name, channel): signal for channel, signal in self._of_column(name, one, known, past).items()}
            if more is not None:
                found[name, "alike"] = Signal(more.apart, FLOOR_RATE, sharings[name].pairs, more.usual)
        return found | self._of_fresh(facts, past)

    def _of_column(self, name: str, one: Facts, known: Sequence[Facts], past: Sequence[_Held]) -> dict[str, Signal]:
        found: dict[str, Signal] = {}
        now, usually = self._binned(name, one, past)
        if now is not None and usually is not None:
            if (distance := shape(now, usually, most=SAMPLE if name in PREDICTION else None)) is not None:
                found["shape"] = Signal(distance, FLOOR_SHAPE)
            if one.texts is not None and (fall := fallen(now, usually)) is not None:
                found["lost"] = Signal(fall[0], FLOOR_LOST, *fall[1:])
        if one.mean == one.mean:
            moments = [(it.n, it.mean, it.m2) for it in known if it.mean == it.mean]
            if (apart := level((one.n, one.mean, one.m2), moments)) is not None:
                usual = sum(n * mean for n, mean, _ in moments) / max(sum(n for n, _, _ in moments), 1)
                found["level"] = Signal(apart, FLOOR_RATE, one.mean, usual)
        if one.rows >= MIN_ROWS:
            usual = _ratio((it.rows - it.n, it.rows) for it in known)
            found["null"] = Signal.of(1 - one.n / one.rows, usual, one.rows)
            # Nulls come in bursts where a source is out for hours; those spread over all hours are another matter.
            spread = [it.scattered for it in known if it.scattered is not None]
            if one.scattered is not None and len(spread) >= MIN_REFERENCE:
                calm = sum(spread) / len(spread)
                found["scattered"] = Signal.of(one.scattered, calm, one.rows, rising=True)
        if one.n < MIN_ROWS or name in PREDICTION:
            return found
        if (tie := _tie(one, self._partner(name, past[-1].place, known))) is not None:
            found["tie"] = tie
        if one.wholes is not None:
            usual = _ratio((it.wholes or 0, it.n) for it in known)
            found["whole"] = Signal.of(one.wholes / one.n, usual, one.n)
        told = [(it.repeats, it.pairs) for it in known if it.pairs]
        if one.pairs >= MIN_ROWS and len(told) >= MIN_REFERENCE:
            usual = _ratio(told)
            found["repeat"] = Signal.of(one.repeats / one.pairs, usual, one.pairs)
        return found

    def _of_fresh(self, facts: Mapping[str, Facts], past: Sequence[_Held]) -> dict[Key, Signal]:
        """Values never seen; fewer of them than usual is no news."""
        found: dict[Key, Signal] = {}
        for (name, channel), now in self._fresh(facts).items():
            before = [held.fresh[name, channel] for held in past if (name, channel) in held.fresh]
            n = facts[name].n
            if n < MIN_ROWS or not before:
                continue
            usual = sum(before) / len(before)
            if channel == "novelty":
                found[name, channel] = Signal.of(now, min(usual, NOVEL), n, rising=True)
            elif channel == "far":
                found[name, channel] = Signal.of(now, 0.0, n, rising=True)
            elif usual < OFF_LATTICE:
                floor = max(rate(FLOOR_LATTICE, 0.0, n), FLOOR_RATE)
                found[name, channel] = Signal.of(now, usual, n, rising=True, floor=floor)
        return found

    def _partner(self, name: str, place: int, known: Sequence[Facts]) -> tuple[float, float, str] | None:
        """The same for every look before the next step."""
        held = self._partners.get(name)
        if held is None or held[:2] != (self._steps, place):
            held = self._partners[name] = (self._steps, place, _partner(known))
        return held[2]

    def _binned(self, name: str, one: Facts, past: Sequence[_Held]) -> tuple[Ints | None, Ints | None]:
        """How many values fall into each bin now, and in the windows it is held against; None where that is unknown."""
        made = self._cuts.get(name)
        pooled = [held for window in past if (held := window.counts.get(name)) is not None]
        return made.count(one) if made is not None else None, np.sum(pooled, axis=0) if pooled else None

    def _fresh(self, facts: Mapping[str, Facts]) -> dict[Key, float]:
        """Shares of values outside everything seen so far (`novelty`), of numbers further outside than all that was
        seen is wide (`far`: no season goes there), and of exact numbers never seen (`lattice`).
        """
        found = {}
        for name, one in facts.items():
            seen = self._seen.get(name)
            if one.n and (outside := beyond(seen, one)) is not None:
                found[name, "novelty"] = outside / one.n
            if one.n and isinstance(seen, tuple) and (outside := beyond(seen, one, FAR)) is not None:
                found[name, "far"] = outside / one.n
            if one.n and name not in PREDICTION and (strange := off(self._lattice.get(name), one)) is not None:
                found[name, "lattice"] = strange / one.n
        return found

    def _learn(self, values: dict[Key, float], heights: Heights) -> None:
        """Take in how high a window went: an episode teaches once, however long it lasts, and not without end."""
        if heights.keys:
            lines = self._lines()
            capped = {key: most for key, most in self._capped.items() if values.get(key, 0.0) > most}
            highest = heights.highest(without=capped)
            if lines:
                highest = (min(highest[0], lines[0].most), min(highest[1], lines[1].most))
                capped = heights.over(lines[0].most) | capped
            self._highest = [*self._highest, highest][-self.length.history :]
            self._capped = capped
            values |= capped
        fresh = [key for key in values if key not in self._places]
        if fresh:
            self._places |= {key: len(self._places) + at for at, key in enumerate(fresh)}
        kept = self.length.history - 1
        grown = np.full((min(len(self._values), kept) + 1, len(self._places)), -1.0)
        grown[:-1, : self._values.shape[1]] = self._values[-kept:]
        for key, value in values.items():
            grown[-1, self._places[key]] = value
        self._values = grown

    def _usual_of(self, facts: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The columns that may join the reference: one far above all it was waits, for a quarter of the reference.

        Else the days of an incident are what the days after it are held against. What stays is the new usual.
        """
        patience = min(self.length.reference // 4, self.length.reference - MIN_REFERENCE) * self.length.cycle
        far_off = {WHOLE_ROWS if column == ROWS else column for column, _ in self._capped}
        self._waiting = {name: self._waiting.get(name, 0) + 1 for name in far_off}
        return {name: one for name, one in facts.items() if not 0 < self._waiting.get(name, 0) <= patience}

    def _heights(self, signals: Mapping[Key, Signal]) -> Heights:
        """Every channel that has a past, against it."""
        if len(self._values) < MIN_VALUES:
            return Heights()
        before = self._values[:-1].max(axis=0)
        enough = (self._values[:-1] >= 0).sum(axis=0) >= min(LEARN, len(self._values) - 1)
        keys = [key for key in signals if key in self._places and enough[self._places[key]]]
        places = [self._places[key] for key in keys]
        value = np.array([signals[key].value for key in keys])
        floor = np.array([signals[key].floor for key in keys])
        last = np.maximum(self._values[-1, places], 0.0)
        # A share that goes back to normal looks low beside a reference that holds yesterday's burst: no second alarm.
        turned = np.array([signals[key].side * self._sides.get(key, 0) < 0 for key in keys], dtype=bool)
        base = np.maximum(before[places], floor)
        worst = np.maximum(base, last)
        return Heights(
            keys,
            worst,
            np.log(np.maximum(value, LEAST) / worst),
            # Both windows against what came before the two: yesterday's fault must not excuse today's.
            np.log(np.where(turned, LEAST, np.maximum(np.minimum(value, last), LEAST)) / base),
        )

    def _readings(self, signals: Mapping[Key, Signal]) -> tuple[Reading, ...]:
        heights = self._heights(signals)
        readings = [
            Reading(
                column=key[0],
                channel=key[1],
                value=signals[key].value,
                worst=float(heights.worst[at]),
                score=float(heights.score[at]),
                lasting=float(heights.lasting[at]),
                now=signals[key].now,
                usual=signals[key].usual,
            )
            for at, key in enumerate(heights.keys)
        ]
        return tuple(sorted(readings, key=lambda one: (-one.height, one.column, one.channel)))

    def _volume(self, start: date, facts: Mapping[str, Facts]) -> dict[Key, Signal]:
        """Rows against the same weekday's, as a ratio: half and double are as far."""
        usual, rows = self._usual_rows(start), _rows(facts)
        if not usual or rows < MIN_ROWS:
            return {}
        floor = max(math.log(VOLUME), 3.0 / math.sqrt(usual))
        return {(ROWS, "volume"): Signal(abs(math.log(rows / usual)), floor, rows / usual, 1.0)}

    def _usual_rows(self, start: date) -> float | None:
        """Median rows of the same weekday (and hour) in the last 8 weeks; None with under four of them."""
        at = bisect_right(self._rows, (start, 0))
        place, weekday = self.length.place(start), start.weekday()
        same = [
            rows
            for one, rows in self._rows[max(at - 56 * self.length.cycle, 0) : at]
            if rows != UNTOLD and one.weekday() == weekday and self.length.place(one) == place
        ]
        return float(median(same)) if len(same) >= 4 else None


def _partner(known: Sequence[Facts]) -> tuple[float, float, str] | None:
    """The best partner, the one whose weakest association of the usual windows is strongest: weakest, mean, name."""
    steady: dict[str, list[float]] = {}
    for past in known:
        for partner, strength in past.ties.items():
            steady.setdefault(partner, []).append(strength)
    best: tuple[float, float, str] | None = None
    for partner, strengths in steady.items():
        usual = sum(strengths) / len(strengths)
        if len(strengths) >= max(MIN_REFERENCE, len(known) // 2) and usual >= TIE and min(strengths) >= STEADY * usual:
            best = max(best or (0.0, 0.0, ""), (min(strengths), usual, partner))
    return best


def _tie(one: Facts, best: tuple[float, float, str] | None) -> Signal | None:
    """The association with the best partner."""
    if best is None or best[2] not in one.ties or one.sampled < MIN_ROWS:
        return None
    now = one.ties[best[2]]
    return Signal(loosened(now, best[1], one.sampled), FLOOR_RATE, now, best[1])


def _shared(facts: Mapping[str, Facts]) -> dict[str, Sharing]:
    return {name: held for name, one in facts.items() if (held := sharing(one)) is not None}


def _rows(facts: Mapping[str, Facts]) -> int:
    return max((one.rows for one in facts.values()), default=0)


def _ratio(counted: Iterable[tuple[int, int]]) -> float:
    """Share of all rows together, from (rows that have it, rows) of each window; 0 where there are none."""
    part = whole = 0
    for one, of in counted:
        part, whole = part + one, whole + of
    return part / whole if whole else 0.0

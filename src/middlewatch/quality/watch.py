"""Is the loss beyond what it ever was, or has it crept up? A fold over windows in order, pure.

Two looks at each window, since a broken model is seen at once and a slowly ageing one never is.

**Against its own worst.** A channel's mean loss is held against the pooled 28 windows before it, in standard errors;
only rising counts. Days differ far more than their rows say, so that number is held against its own largest of the
last 90 windows, and the highest over the channels against a line learnt from how high it used to come: the recipe of
`shift`.

**Slow decay.** Every 7 windows a sequence begins and runs for 28. It sums how far each window lies above the mean of
the 90 windows before the sequence began, less a tolerance (a tenth of s), and alarms when that sum S, after t
windows and with v = t s^2, passes

    u(v) = sqrt(2 (v + rho) log(sqrt((v + rho) / rho) / (2 a) + 1))

with s the standard deviation of those 90 windows: the one-sided normal mixture boundary of Howard, Ramdas, McAuliffe
and Sekhon (2021, Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49). Where the
windows scatter with s around a mean within the tolerance, S ever passes u with a chance of at most a, however often
one looks. What breaks at once is left to the first look: a window that is loud by it adds nothing, and none adds more
than 2.5 s. And the last 7 windows must lie above the tolerance as well. Only channels without the base rate take part:
those with it wander for months by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import fmean, median, stdev
from typing import Any

from middlewatch.shift import alarm_line

from .sums import Sum, pooled

REFERENCE = 28
HISTORY = 90
# As in `shift`: below these a score or an alarm would say more about luck than about the model.
MIN_REFERENCE = 7
MIN_VALUES = 7
LEARN = 14
MIN_ROWS = 30
# What the highest of 90 values reaches by sampling alone, give or take.
FLOOR = 1.65 * 1.3
LEAST = 1e-6

# Half of the outcomes are more than those that are missing. A model that never gets half is judged where a window
# has nearly as many as others ended up with: what arrives first is seldom a fair sample of what will.
RIPE = 0.5
NEARLY = 0.8

SLOW = ("ranking", "loss_over_guess", "error_over_guess")
STEP = 7
RUN = 28
# Sequences that run at once, each of every slow channel, share this chance of a false alarm in 28 windows; on a year
# of flights, where the two below were chosen too, it was 0.12 a month (bench/quality.py).
CHANCE = 0.1
# Of the scatter of windows: what lies nearer than that to the reference is no decay anybody would act on.
TOLERANCE = 0.1
# Of the scatter: more than that a window does not count, or one bad day would look like a month of decay.
MOST = 2.5
FIRM = 28


@dataclass(frozen=True, slots=True)
class Window:
    """`rows` predictions, `labelled` of them with their outcome, `sums` of these by channel (see `losses.channels`)."""

    start: date
    rows: int
    labelled: int
    sums: Mapping[str, Sum] = field(default_factory=dict)

    @property
    def share(self) -> float:
        return self.labelled / self.rows if self.rows else 0.0


def ripe(window: Window, before: Iterable[Window]) -> bool:
    """Whether enough outcomes have arrived to judge a window; `before` are those before it, oldest first.

    At least 30, and half of its rows or 0.8 x the median share of the 28 windows before it that have any.
    """
    if window.labelled < MIN_ROWS:
        return False
    if window.share >= RIPE:
        return True
    shares = [one.share for one in before if one.labelled][-REFERENCE:]
    return len(shares) >= MIN_REFERENCE and window.share >= NEARLY * median(shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One channel of one window: mean loss `now` and `usual` (the 28 windows before), `value` = their distance in
    standard errors, `score` = log(value / its worst of the last 90), `lasting` that of this and the last window
    together.
    """

    channel: str
    now: float
    usual: float
    value: float
    score: float
    lasting: float

    @property
    def height(self) -> float:
        return max(self.score, self.lasting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """A channel whose mean since window `since` (of `windows`) lies above `limit`; `now` is that mean, `usual` the
    reference.
    """

    channel: str
    since: date
    windows: int
    now: float
    usual: float
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a window's outcomes look like against the past; `readings` with the highest first."""

    start: date
    history: int
    alarm: bool
    loud: tuple[Reading, ...] = ()
    decays: tuple[Decay, ...] = ()
    readings: tuple[Reading, ...] = ()
    line: float | None = None
    lasting_line: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "alarm": self.alarm,
            "history": self.history,
            "line": None if self.line is None else round(self.line, 4),
            "channels": [
                {
                    "channel": one.channel,
                    "score": round(one.height, 4),
                    "now": round(one.now, 6),
                    "usual": round(one.usual, 6),
                }
                for one in self.readings
            ],
            "decays": [
                {
                    "channel": one.channel,
                    "since": one.since.isoformat(),
                    "windows": one.windows,
                    "now": round(one.now, 6),
                    "usual": round(one.usual, 6),
                }
                for one in self.decays
            ],
        }


@dataclass(slots=True)
class _Sequence:
    """One running confidence sequence of one channel."""

    since: date
    usual: float
    spread: float
    seen: int = 0
    total: float = 0.0

    def after(self, value: float) -> tuple[int, float]:
        """Windows and sum with one more value."""
        above = min(value - self.usual, MOST * self.spread)
        return self.seen + 1, self.total + above - TOLERANCE * self.spread

    def passes(self, value: float, chance: float) -> bool:
        seen, total = self.after(value)
        return total > boundary(seen * self.spread**2, STEP * self.spread**2, chance)


def _loud(readings: Sequence[Reading], line: float | None, lasting: float | None) -> list[Reading]:
    """The channels beyond a line, and beyond their own worst: below that nothing has happened, whatever the line."""
    if line is None or lasting is None:
        return []
    return [one for one in readings if one.score > max(line, 0) or one.lasting > max(lasting, 0)]


def boundary(v: float, at: float, chance: float) -> float:
    """u(v) of the module's text, with rho such that it is tightest near v = `at`: at / (2 log(1 / 2a) + 1)."""
    rho = at / (2 * math.log(1 / (2 * chance)) + 1)
    return math.sqrt(2 * (v + rho) * math.log(math.sqrt((v + rho) / rho) / (2 * chance) + 1))


def distance(now: Sum, usual: Sum) -> float:
    """How far a mean loss lies above another, in standard errors; 0 below it.

    By the larger of the two variances: rare large losses are known from neither side alone.
    """
    spread = max(now.variance, usual.variance)
    above = now.mean - usual.mean
    if not above > 0 or not spread > 0:
        return 0.0
    return above / math.sqrt(spread * (1 / now.n + 1 / usual.n))


class Watch:
    """The outcomes of one model's windows so far, as much as judging the next one needs.

    `budget` is the number of alarms a month that outcomes may spend, `days` the length of a window. Windows come in
    order of time, ripe ones only.
    """

    def __init__(self, *, budget: float, days: int = 1) -> None:
        self.budget = budget
        self.days = days
        self._windows: list[Window] = []
        self._values: list[Mapping[str, float]] = []
        self._highest: list[tuple[float, float]] = []
        self._running: list[tuple[str, _Sequence]] = []
        self._period = -1
        self._steps = 0

    def __len__(self) -> int:
        return self._steps

    def copy(self) -> Watch:
        """A second Watch with the same past."""
        twin = Watch(budget=self.budget, days=self.days)
        twin._windows, twin._values, twin._highest = list(self._windows), list(self._values), list(self._highest)
        twin._running = [
            (name, _Sequence(one.since, one.usual, one.spread, one.seen, one.total)) for name, one in self._running
        ]
        twin._period, twin._steps = self._period, self._steps
        return twin

    def look(self, window: Window) -> Verdict:
        """Judge a window without learning it."""
        readings = self.readings(window)
        line, lasting = self._lines()
        loud = _loud(readings, line, lasting)
        decays = self._decays(window)
        return Verdict(
            start=window.start,
            history=len(self),
            alarm=bool(loud or decays),
            loud=tuple(loud),
            decays=tuple(decays),
            readings=tuple(readings),
            line=line,
            lasting_line=lasting,
        )

    def step(self, window: Window) -> None:
        """Learn a window."""
        readings = self.readings(window)
        # What is loud by itself is no slow decay: a bad week that was mended must not be told again for a month.
        if not _loud(readings, *self._lines()):
            self._follow(window)
        if readings:
            self._highest = [
                *self._highest,
                (max(one.score for one in readings), max(one.lasting for one in readings)),
            ][-HISTORY:]
        if len(self._windows) >= MIN_REFERENCE:
            self._values = [*self._values, self._distances(window)][-HISTORY:]
        self._windows = [*self._windows, window][-HISTORY:]
        self._steps += 1

    def readings(self, window: Window) -> list[Reading]:
        """Every channel of a window against its past, highest first; none while there is too little of that."""
        if len(self._values) < MIN_VALUES:
            return []
        usual = self._usual(window)
        found = []
        for channel, value in self._distances(window).items():
            past = [one.get(channel, 0.0) for one in self._values]
            base = max(FLOOR, *past[:-1])
            found.append(
                Reading(
                    channel=channel,
                    now=window.sums[channel].mean,
                    usual=usual[channel].mean,
                    value=value,
                    score=math.log(max(value, LEAST) / max(base, past[-1])),
                    lasting=math.log(max(min(value, past[-1]), LEAST) / base),
                )
            )
        return sorted(found, key=lambda one: (-one.height, one.channel))

    # ------------------------------------------------------------------ inside

    def _lines(self) -> tuple[float | None, float | None]:
        """What a score and a lasting one must pass; None while there is too little history."""
        if len(self._highest) < LEARN:
            return None, None
        k = self.budget / 2 * len(self._highest) * self.days / 30
        return alarm_line([one for one, _ in self._highest], k), alarm_line([one for _, one in self._highest], k)

    def _usual(self, window: Window) -> dict[str, Sum]:
        """The pooled reference of each channel that this window has."""
        past = self._windows[-REFERENCE:]
        usual = {channel: pooled(one.sums[channel] for one in past if channel in one.sums) for channel in window.sums}
        return {channel: one for channel, one in usual.items() if one.n >= MIN_ROWS}

    def _distances(self, window: Window) -> dict[str, float]:
        return {channel: distance(window.sums[channel], usual) for channel, usual in self._usual(window).items()}

    def _chance(self) -> float:
        """Of one sequence; the budget holds where it allows less than CHANCE in 28 windows."""
        allowed = self.budget / 2 * RUN * self.days / 30
        return min(CHANCE, allowed) / (len(SLOW) * RUN / STEP)

    def _decays(self, window: Window) -> list[Decay]:
        found: dict[str, Decay] = {}
        for channel, one in self._running:
            if channel not in window.sums or not one.passes(window.sums[channel].mean, self._chance()):
                continue
            seen, total = one.after(window.sums[channel].mean)
            above = total / seen + TOLERANCE * one.spread
            limit = one.usual + TOLERANCE * one.spread
            if self._lately(channel, window, seen) <= limit:
                continue  # it was so, and is not any more
            known = found.get(channel)
            # Of several sequences that say so, the longest one tells since when.
            if known is None or seen > known.windows:
                found[channel] = Decay(
                    channel=channel,
                    since=one.since if seen > 1 else window.start,
                    windows=seen,
                    now=one.usual + above,
                    usual=one.usual,
                    limit=limit,
                )
        return sorted(found.values(), key=lambda one: one.channel)

    def _lately(self, channel: str, window: Window, seen: int) -> float:
        """The channel's mean over the last 7 windows, or as many as a sequence has seen."""
        held = [one.sums[channel].mean for one in self._windows if channel in one.sums]
        return fmean([*held, window.sums[channel].mean][-min(STEP, seen) :])

    def _follow(self, window: Window) -> None:
        """Every running sequence takes the window in; old ones end, new ones begin with the next."""
        running = []
        for channel, one in self._running:
            if channel in window.sums:
                if not one.seen:
                    one.since = window.start
                one.seen, one.total = one.after(window.sums[channel].mean)
            if one.seen < RUN:
                running.append((channel, one))
        # By the calendar, so that it does not depend on where the fold began.
        period = window.start.toordinal() // (STEP * self.days)
        if period != self._period:
            self._period = period
            for channel in SLOW:
                values = [past.sums[channel].mean for past in self._past(window) if channel in past.sums]
                if len(values) >= FIRM and (spread := stdev(values)) > 0:
                    running.append((channel, _Sequence(window.start, fmean(values), spread)))
        self._running = running

    def _past(self, window: Window) -> Sequence[Window]:
        return [*self._windows, window][-HISTORY:]

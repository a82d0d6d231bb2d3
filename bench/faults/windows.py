"""Windows of a stream with their past, a fault played on them, and what the fingerprints say."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from faults import innocent
from faults.catalogue import FAULTS, Fault
from faults.plays import Play
from faults.streams import Stream
from middlewatch import fingerprints
from middlewatch.fingerprints import thresholds

DAYS = 28
LOOKED_AT = 2_000
"""Rows of a window and of a past day that `why` looks at, evenly drawn."""
SPOTS = 18
"""Windows that the faults of a data set share (half of them in a quick run): what is known of their past is then
made once for several faults, and nothing else is shared."""
ONSETS = {"start": 0.0, "third": 0.5, "half": 1.0}
"""Good rows before the onset, for each row since."""


@dataclass
class Outcome:
    """One window judged. `kind`: right, form (its family is right), drift, wrong, none. `fixed`: share of the
    touched cells that the printed inverse brings back to what they were. `innocent`: what changed at the same
    moment and had nothing to do with it, `framed`: whether a cause points there."""

    data: str
    idea: str
    strength: int
    rows: int
    onset: str
    name: str
    matters: bool = True
    column: bool = False
    kind: str = "none"
    expected: str = ""
    got: str = "nothing"
    confidence: str = ""
    slice: bool | None = None
    error: int | None = None
    every: bool = True
    proved: bool = False
    fixed: float | None = None
    all_found: bool | None = None
    more: int = 0
    blamed: bool = False
    innocent: str = ""
    framed: bool = False
    seconds: float = 0.0
    firsts: dict[str, bool] = field(default_factory=dict)
    said: str = ""

    @property
    def family(self) -> str:
        """Of what was played."""
        return self.expected.split("/")[0]


@dataclass(frozen=True)
class Played:
    """A fault in its window. `truth` is the window without it."""

    outcome: Outcome
    fault: Fault
    case: fingerprints.Case
    truth: pl.DataFrame
    onset: datetime | None
    innocent: innocent.Innocent | None


def past_of(stream: Stream, start: int, size: int) -> fingerprints.History:
    """Up to `size` rows from the same time of each of the 28 days before row `start`, no day longer than a day."""
    times = stream.rows["mw.time"]
    begun = times[start]
    past = []
    for day in range(1, DAYS + 1):
        first = int(times.search_sorted(begun - timedelta(days=day)))
        last = min(first + size, int(times.search_sorted(begun - timedelta(days=day - 1))))
        past.append(thinned(stream.rows[first:last]))
    return fingerprints.History(past, stream.kinds)


def thinned(rows: pl.DataFrame) -> pl.DataFrame:
    """As many rows as `why` looks at, evenly drawn."""
    if rows.height <= LOOKED_AT:
        return rows
    step = rows.height / LOOKED_AT
    return rows[[int(k * step) for k in range(LOOKED_AT)]]


def earliest(stream: Stream) -> int:
    """The first row with enough days before it."""
    times = stream.rows["mw.time"]
    return int(times.search_sorted(times[0] + timedelta(days=DAYS + 1)))


def begins(stream: Stream, size: int, rng: np.random.Generator) -> int:
    """A random row with enough before and after it."""
    return int(rng.integers(earliest(stream), stream.rows.height - size - 1))


def scored(stream: Stream, play: Play, now: pl.DataFrame, start: int, rng: np.random.Generator) -> pl.DataFrame:
    """The window with a change from row `start` on, scored again."""
    broken = play(now, np.arange(now.height) >= start, rng)
    return broken.with_columns(pl.Series("mw.score", stream.score(broken)))


def matters(stream: Stream, now: pl.DataFrame, broken: pl.DataFrame, rows: int) -> bool:
    """Does the fault change predictions at all? (Other rows always matter.)"""
    return moved(now, broken, rows, stream.threshold, float(stream.rows["mw.score"].to_numpy().std()))


def moved(now: pl.DataFrame, broken: pl.DataFrame, rows: int, line: float | None, spread: float) -> bool:
    """Whether scores changed by more than is nothing (or rows did), over the `rows` since onset."""
    if broken.height != now.height:
        return True
    was, came = now["mw.score"].to_numpy(), broken["mw.score"].to_numpy()
    flips = float(np.mean((was >= line) != (came >= line))) if line is not None else 0.0
    return bool(np.abs(was - came).sum() / rows > thresholds.EFFECT_SD * spread) or flips > thresholds.FLIPS


def case_of(stream: Stream, rows: pl.DataFrame, history: fingerprints.History) -> fingerprints.Case:
    whole = rows.height <= LOOKED_AT and all(one.height < LOOKED_AT for one in history.windows)
    return fingerprints.Case(thinned(rows), history, stream.score, stream.threshold, whole=whole)


def cases(
    stream: Stream, ideas: Sequence[str], rows: int, seed: int, *, quick: bool = False, alone: bool = False
) -> Iterator[Played]:
    """Every idea in three strengths (`quick`: in one, by turns), `rows` since onset, which is the window's start or
    comes after good rows. Each has an innocent change at its onset, unless `alone`."""
    spots: dict[int, list[tuple[str, int]]] = {}
    for idea in ideas:
        at = list(FAULTS).index(idea)
        for strength in [(at + seed) % 3] if quick else range(3):
            spot = int(np.random.default_rng([seed, rows, at, strength, 99]).integers(SPOTS // 2 if quick else SPOTS))
            spots.setdefault(spot, []).append((idea, strength))
    for number, jobs in sorted(spots.items()):
        onset = list(ONSETS)[number % len(ONSETS)]
        good = int(ONSETS[onset] * rows)
        if earliest(stream) + rows + good + 1 >= stream.rows.height:  # a short stream has no room for good rows
            onset, good = "start", 0
        start = begins(stream, rows + good, np.random.default_rng([seed, rows, number]))
        now, history = stream.rows[start : start + rows + good], past_of(stream, start, rows + good)
        for idea, strength in jobs:
            rng = np.random.default_rng([seed, rows, list(FAULTS).index(idea), strength])
            fault = FAULTS[idea](stream, rng, strength)
            if fault is None:
                continue
            broken = scored(stream, fault.play, now, good, rng)
            outcome = Outcome(stream.name, idea, strength, rows, onset, fault.name, expected=fault.kinds[0])
            outcome.matters, outcome.every = matters(stream, now, broken, rows), fault.every
            other = None if alone else _innocent(stream, fault, rng)
            since = now["mw.time"][good] if good else None
            if other is not None:
                outcome.innocent = other.name
                first = int(broken["mw.time"].search_sorted(since)) if since is not None else 0
                broken = scored(stream, other.play, broken, first, rng)
            yield Played(outcome, fault, case_of(stream, broken, history), now, since, other)


def _innocent(stream: Stream, fault: Fault, rng: np.random.Generator) -> innocent.Innocent:
    return innocent.beside(str(rng.choice(innocent.NAMES)), stream, fault, rng)


def judge(played: Played) -> fingerprints.Search:
    """Search the case, and fill in what was right."""
    outcome, fault = played.outcome, played.fault
    begun = time.process_time()
    found = fingerprints.search(played.case)
    outcome.seconds = time.process_time() - begun
    said = [str(told_of(one)) for one in found.causes]
    said += [f"(harmless {c.kind}/{c.form} {c.columns})" for c in found.harmless]
    outcome.said = "; ".join(said) or "nothing"
    outcome.blamed = any(not set(one.columns) & set(fault.columns) for one in found.causes)
    outcome.framed = played.innocent is not None and played.innocent.blamed(found.causes)
    if found.causes:
        told = [told_of(one) for one in found.causes]
        grade(outcome, fault, told, played.case.now["mw.time"], played.onset)
        outcome.fixed = _fixed(found.causes[0], played.truth) if outcome.kind == "right" else None
    return found


@dataclass(frozen=True)
class Told:
    """A cause as it was told, by the fingerprints or the command."""

    kind: str
    form: str
    columns: tuple[str, ...]
    confidence: str
    slice: tuple[str, str] | None
    since: datetime | None
    proved: bool
    detail: str

    def __str__(self) -> str:
        where = f" where {self.slice[0]}={self.slice[1]}" if self.slice else ""
        return f"{self.confidence} {self.kind}/{self.form} {','.join(self.columns)}{where} ({self.detail})"


def told_of(one: fingerprints.Cause) -> Told:
    return Told(one.kind, one.form, one.columns, one.confidence, one.slice, one.since, one.undo_proved, one.detail)


def grade(outcome: Outcome, fault: Fault, causes: Sequence[Told], times: pl.Series, onset: datetime | None) -> None:
    """What the first cause got right; `times` are those of the window's rows."""
    first = causes[0]
    outcome.column = bool(set(first.columns[:2]) & set(fault.columns)) if fault.columns else not first.columns
    full = f"{first.kind}/{first.form}"
    outcome.got, outcome.confidence, outcome.proved = full, first.confidence, first.proved
    families = {kind.split("/")[0] for kind in fault.kinds}
    outcome.kind = (
        "right" if full.startswith(fault.kinds) and outcome.column
        else "form" if first.kind in families and outcome.column
        else "drift" if first.kind == "drift"
        else "wrong"
    )  # fmt: skip
    if fault.also:
        outcome.all_found = set(fault.also) <= {c for one in causes for c in one.columns}
    outcome.more = len({one.columns for one in causes if not set(one.columns) & set(fault.columns)})
    if not fault.columns:
        outcome.more = len({one.columns for one in causes if one.columns})
    if outcome.kind in ("right", "form"):
        if fault.slice is not None:
            outcome.slice = first.slice == fault.slice
        if onset is not None and first.since is not None:
            outcome.error = abs(int(times.search_sorted(first.since)) - int(times.search_sorted(onset)))


def _fixed(cause: fingerprints.Cause, truth: pl.DataFrame) -> float | None:
    """Share of the touched cells that come back to within 1 % of a standard deviation of what they were; None where
    the true values cannot be known, or rows are fewer or more than they were."""
    back = cause.corrected
    if back is None or not back.height or truth.height > LOOKED_AT or int(back["mw.row"].max()) >= truth.height:  # type: ignore[arg-type]
        return None
    right = []
    for column in (c for c in cause.columns if c in back.columns):
        was, came = truth[column].gather(back["mw.row"]), back[column]
        if was.dtype.is_numeric() and came.dtype.is_numeric():
            near = 0.01 * float(truth[column].cast(pl.Float64).std() or 0.0)  # type: ignore[arg-type]
            same = (was.cast(pl.Float64) - came.cast(pl.Float64)).abs() <= near
        else:
            same = was.cast(pl.String) == came.cast(pl.String)
        right.append(float((same | (was.is_null() & came.is_null())).fill_null(False).mean()))  # type: ignore[arg-type]
    return min(right) if right else None


def clean(stream: Stream, rows: int, count: int, seed: int) -> Iterator[Outcome]:
    """Windows in which nothing was planted: every named cause is a false one."""
    for k in range(count):
        start = begins(stream, rows, np.random.default_rng([seed, rows, 777, k]))
        yield _untouched(stream, start, rows)


def year(stream: Stream, rows: int, count: int, holidays: Sequence[date]) -> Iterator[Outcome]:
    """`count` windows evenly over the whole stream, as near as may be end to end; those with a holiday say which."""
    starts = np.linspace(earliest(stream), stream.rows.height - rows - 1, count).astype(int)
    # Not in order of time: a run that is cut short has seen all seasons.
    for start in np.random.default_rng(count).permutation(starts).tolist():
        outcome = _untouched(stream, start, rows)
        days = set(stream.rows["mw.time"][start : start + rows].dt.date().unique())
        outcome.onset = "holiday" if days & set(holidays) else "workday"
        yield outcome


def _untouched(stream: Stream, start: int, rows: int) -> Outcome:
    now = stream.rows[start : start + rows]
    return _quiet(
        stream, now, past_of(stream, start, rows), Outcome(stream.name, "clean", 0, rows, "", str(now["mw.time"][0]))
    )


def unharmed(stream: Stream, rows: int, rounds: int, seed: int) -> Iterator[Outcome]:
    """Changes that do not matter: every named cause is a false one."""
    for k in range(rounds):
        rng = np.random.default_rng([seed, rows, 888, k])
        start = begins(stream, rows, rng)
        now, history = stream.rows[start : start + rows], past_of(stream, start, rows)
        for name, play in innocent.harmless(stream, rng):
            broken = scored(stream, play, now, rows // 2 if k % 2 else 0, rng)
            yield _quiet(stream, broken, history, Outcome(stream.name, "harmless", 0, rows, "", name))


def _quiet(stream: Stream, rows: pl.DataFrame, history: fingerprints.History, outcome: Outcome) -> Outcome:
    begun = time.process_time()
    found = fingerprints.search(case_of(stream, rows, history))
    outcome.seconds = time.process_time() - begun
    named = [one for one in found.causes if one.kind != "drift"]
    outcome.blamed, outcome.more = bool(named), len(found.causes) - len(named)
    if found.causes:
        outcome.got, outcome.confidence = f"{found.causes[0].kind}/{found.causes[0].form}", found.causes[0].confidence
    outcome.said = "; ".join(str(told_of(one)) for one in found.causes)
    return outcome

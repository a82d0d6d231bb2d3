"""Windows of a stream with their past, a fault played on them, and what the fingerprints say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from faults.catalogue import FAULTS, Fault, harmless
from faults.plays import Play
from faults.streams import Stream
from middlewatch import fingerprints
from middlewatch.fingerprints import thresholds

DAYS = 28


@dataclass
class Outcome:
    """One window judged. `kind`: right, form (its family is right), drift, wrong, none."""

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
    all_found: bool | None = None
    more: int = 0
    blamed: bool = False
    seconds: float = 0.0
    firsts: dict[str, bool] = field(default_factory=dict)
    said: str = ""


def cut(stream: Stream, size: int, rng: np.random.Generator) -> tuple[pl.DataFrame, fingerprints.History]:
    """A contiguous window at a random time, and the same hours of the 28 days before it."""
    times = stream.rows["mw.time"]
    first = int(times.search_sorted(times[0] + timedelta(days=DAYS + 1)))
    start = int(rng.integers(first, stream.rows.height - size - 1))
    now = stream.rows[start : start + size]
    past = []
    for day in range(1, DAYS + 1):
        at = int(times.search_sorted(now["mw.time"][0] - timedelta(days=day)))
        past.append(stream.rows[at : at + size])
    return now, fingerprints.History(past, stream.kinds)


def played(stream: Stream, play: Play, now: pl.DataFrame, start: int, rng: np.random.Generator) -> pl.DataFrame:
    """The window with a fault from row `start` on, scored again."""
    broken = play(now, np.arange(now.height) >= start, rng)
    return broken.with_columns(pl.Series("mw.score", stream.score(broken)))


def matters(stream: Stream, now: pl.DataFrame, broken: pl.DataFrame, rows: int) -> bool:
    """Does the fault change predictions at all? (Other rows always matter.)"""
    if broken.height != now.height:
        return True
    was, came = now["mw.score"].to_numpy(), broken["mw.score"].to_numpy()
    line = stream.threshold
    flips = float(np.mean((was >= line) != (came >= line))) if line is not None else 0.0
    spread = float(stream.rows["mw.score"].to_numpy().std())
    return bool(np.abs(was - came).sum() / rows > thresholds.EFFECT_SD * spread) or flips > thresholds.FLIPS


def case_of(stream: Stream, rows: pl.DataFrame, history: fingerprints.History) -> fingerprints.Case:
    return fingerprints.Case(rows, history, stream.score, stream.threshold)


Played = tuple[Outcome, Fault, fingerprints.Case, datetime | None]


def cases(stream: Stream, ideas: list[str], rows: int, seed: int, *, quick: bool = False) -> Iterator[Played]:
    """Every idea in three strengths (`quick`: in one, by turns), each on a window of its own: `rows` since onset,
    from its start or after as many good rows, by turns."""
    for at, idea in enumerate(ideas):
        for strength in [(at + seed) % 3] if quick else range(3):
            rng = np.random.default_rng([seed, rows, list(FAULTS).index(idea), strength])
            fault = FAULTS[idea](stream, rng, strength)
            if fault is None:
                continue
            good = rows if (at + strength + seed) % 2 else 0
            now, history = cut(stream, rows + good, rng)
            broken = played(stream, fault.play, now, good, rng)
            onset = "middle" if good else "start"
            outcome = Outcome(stream.name, idea, strength, rows, onset, fault.name, expected=fault.kinds[0])
            outcome.matters = matters(stream, now, broken, rows)
            outcome.every = fault.every
            yield outcome, fault, case_of(stream, broken, history), now["mw.time"][good] if good else None


def judge(outcome: Outcome, fault: Fault, case: fingerprints.Case, onset: datetime | None) -> fingerprints.Search:
    """Search the case, and fill in what was right."""
    begun = time.process_time()
    found = fingerprints.search(case)
    outcome.seconds = time.process_time() - begun
    said = [f"{c.confidence} {c.kind}/{c.form} {c.columns} x{c.strength:.1f}" for c in found.causes]
    said += [f"(harmless {c.kind}/{c.form} {c.columns})" for c in found.harmless]
    outcome.said = "; ".join(said) or "nothing"
    outcome.blamed = any(not set(one.columns) & set(fault.columns) for one in found.causes)
    if not found.causes:
        return found
    grade(outcome, fault, found.causes, case, onset)
    return found


def grade(
    outcome: Outcome,
    fault: Fault,
    causes: tuple[fingerprints.Cause, ...],
    case: fingerprints.Case,
    onset: datetime | None,
) -> None:
    first = causes[0]
    outcome.column = bool(set(first.columns[:2]) & set(fault.columns)) if fault.columns else not first.columns
    full = f"{first.kind}/{first.form}"
    outcome.got, outcome.confidence, outcome.proved = full, first.confidence, first.undo_proved
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
    if outcome.kind in ("right", "form"):
        if fault.slice is not None:
            outcome.slice = first.slice == fault.slice
        if onset is not None and first.since is not None:
            times = case.now["mw.time"]
            outcome.error = abs(int(times.search_sorted(first.since)) - int(times.search_sorted(onset)))


def clean(stream: Stream, rows: int, count: int, seed: int) -> Iterator[Outcome]:
    """Windows in which nothing was planted: every named cause is a false one."""
    for k in range(count):
        rng = np.random.default_rng([seed, rows, 777, k])
        now, history = cut(stream, rows, rng)
        yield _quiet(stream, now, history, Outcome(stream.name, "clean", 0, rows, "", str(now["mw.time"][0])))


def unharmed(stream: Stream, rows: int, rounds: int, seed: int) -> Iterator[Outcome]:
    """Changes that do not matter: every named cause is a false one."""
    for k in range(rounds):
        rng = np.random.default_rng([seed, rows, 888, k])
        for name, play in harmless(stream, rng):
            now, history = cut(stream, rows, rng)
            broken = played(stream, play, now, rows // 2 if k % 2 else 0, rng)
            yield _quiet(stream, broken, history, Outcome(stream.name, "harmless", 0, rows, "", name))


def _quiet(stream: Stream, rows: pl.DataFrame, history: fingerprints.History, outcome: Outcome) -> Outcome:
    found = fingerprints.search(case_of(stream, rows, history))
    named = [one for one in found.causes if one.kind != "drift"]
    outcome.blamed, outcome.more = bool(named), len(found.causes) - len(named)
    outcome.said = "; ".join(
        f"{c.confidence} {c.kind}/{c.form} {c.columns} x{c.strength:.1f} {c.detail}" for c in found.causes
    )
    return outcome

"""What a block says that cannot wait for the day's end: each sign against its own worst at this hour, or a plain line.

The lines come from the idea alone. Half of a column's values are gone; 20 % of rows hold what training never saw; 20
points of the decisions are others. None of them is passed by a day's ups and downs, and where a column or model has
known worse by itself, that counts (1.3 times it, or half way from it to all rows).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from middlewatch import blocks
from middlewatch.blocks import BLOCK, Blocks, Flags, Floats, Lens
from middlewatch.monitor.beside import answered
from middlewatch.shift import LABEL, SCORE, Reading

from .past import ENOUGH
from .usual import Usual, limit

if TYPE_CHECKING:
    import polars as pl

    from middlewatch.replay import Replayer

__all__ = ["Looked", "Sign", "looked", "otherwise", "share_of_budget", "signs", "widened"]

NULL = 0.5
UNSEEN = 0.2
DECISIONS = 0.2
# A normal distribution that moves by so many of its quartile distances has 20 % of its rows cross the usual median.
MIDDLE = 0.39
# Scores within a tenth of the narrowest they ever were answer everybody alike.
NARROWER = 10.0
# Not every row needs the same score: a fault upstream leaves some rows whole.
ALIKE = 0.9
# A column that stands still: nine of ten rows repeat the one before, where at most four of five ever did. One that
# hardly varies cannot be told from one that is stuck: 250 rows with one value come by themselves.
STUCK = 0.9
VARIES = 0.8
# Of requests that are all the same, scores that are all the same say nothing.
VARIED = 10
# The fast channel may spend a tenth of the alarms on false ones. Days are 8 times 3 hours, each with its own past of 28
# days, and what is continuous (decisions, the median) is the half of its signs that the world itself moves.
PART = 0.1
GROUPS = 8


@dataclass(frozen=True, slots=True)
class Sign:
    """One channel of one block beyond its line. Event times: its first strange row, just after its last row."""

    reading: Reading
    since: datetime
    until: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class Looked:
    """Rows of one version and day in order of time, their blocks, and the scores and decisions that are judged."""

    frame: pl.DataFrame
    blocks: Blocks
    scores: Floats
    decided: Mapping[str, Flags]


def looked(frame: pl.DataFrame, lens: Lens, at: blocks.Ints, replayed: Floats | None = None,
           decided: Mapping[str, Flags] | None = None) -> Looked:  # fmt: skip
    """Measure blocks; `replayed` and `decided` are what another version answers to the same rows."""
    scores = frame[SCORE].to_numpy() if replayed is None else replayed
    flags = blocks.decisions(frame, lens) if decided is None else decided
    return Looked(frame, blocks.measure(frame, lens, at, blocks.score_blocks(scores, flags, at)), scores, flags)


def share_of_budget(alarms_per_month: float) -> float:
    """How often in 28 days one hour's line may be passed by the world itself."""
    return alarms_per_month * PART / GROUPS


def widened(lens: Lens, spans: Mapping[str, tuple[float, float]]) -> Lens:
    """The lens with the numbers that the stored days held: what was seen since training is no news."""
    ranges = dict(lens.ranges)
    for name, (low, high) in spans.items():
        known = ranges.get(name, (low, high))
        ranges[name] = (min(low, known[0]), max(high, known[1]))
    return replace(lens, ranges=ranges)


def signs(
    seen: Looked,
    place: int,
    inputs: Usual,
    scores: Usual,
    lens: Lens,
    allowed: Mapping[str, float],
    *,
    k: float,
) -> list[Sign]:
    """What block `place` shows, worst first. `allowed` are shares of nulls that the schema allows, `k` how often in 28
    days the world may pass a line.

    With little history only what needs none: all values gone, all scores the same.
    """
    start, end = int(seen.blocks.starts[place]), int(seen.blocks.ends[place])
    found = [
        *_inputs(seen, place, inputs, lens, allowed),
        *_stuck(seen, place, inputs),
        *(_scores(seen, place, scores, k) if scores.days >= ENOUGH else _broken(seen, place)),
    ]
    times = seen.frame["mw.time"]
    made = []
    for reading, flags, usual in found:
        first = start + blocks.began(flags, usual)
        made.append(Sign(reading, times[first], times[end - 1], end - first))
    return sorted(made, key=lambda one: -one.reading.height)


def otherwise(rows: pl.DataFrame, replayer: Replayer | None) -> Sign | None:
    """Whether rows of one version, in order of time, bear other scores than it gives to their inputs. That needs no
    history, and chance has no part in it.
    """
    reading = answered(replayer, rows)
    wrong = replayer.answers_otherwise(rows) if reading is not None and replayer is not None else None
    if reading is None or wrong is None:
        return None
    first = int(wrong.argmax())
    return Sign(reading, rows["mw.time"][first], rows["mw.time"][-1], rows.height - first)


_STORED = {"null": "null", "novelty": "unseen"}
Found = tuple[Reading, Flags, float]


def _inputs(seen: Looked, place: int, usual: Usual, lens: Lens, allowed: Mapping[str, float]) -> Iterator[Found]:
    part = slice(int(seen.blocks.starts[place]), int(seen.blocks.ends[place]))
    learning = usual.days < ENOUGH
    full = part.stop - part.start >= BLOCK
    for of, floor, shares in (("null", NULL, seen.blocks.null), ("novelty", UNSEEN, seen.blocks.unseen)):
        for name, values in shares.items():
            now = float(values[place])
            if now < floor:
                continue
            # Numbers of the stored days lie within the lens, which is widened by them; other shares have a past.
            worst = 0.0 if name in lens.ranges and of == "novelty" else usual.worst(_STORED[of], name)
            if learning:
                if of != "null" or now < 1 or not full or allowed.get(name, 0.0) >= NULL or not _varied(seen, part):
                    continue
            elif now < limit(floor, worst) or now <= worst:
                continue
            line = limit(floor, worst)
            column = seen.frame[name][part]
            strange = blocks.nulls_of(column) if of == "null" else blocks.strange_of(column, lens)
            if strange is not None:
                yield Reading.over(name, of, now, line, now, worst), strange, worst


def _stuck(seen: Looked, place: int, usual: Usual) -> Iterator[Found]:
    """Columns that stand still though requests differ."""
    part = slice(int(seen.blocks.starts[place]), int(seen.blocks.ends[place]))
    found = [name for name, shares in seen.blocks.same.items() if shares[place] >= STUCK]
    if not found or part.stop - part.start < BLOCK or not _varied(seen, part):
        return
    for name in found:
        worst = usual.most_same(name, ENOUGH)
        if worst is not None and worst <= VARIES:
            now = float(seen.blocks.same[name][place])
            yield (
                Reading.over(name, "constant", now, STUCK, now, worst),
                blocks.repeats_of(seen.frame[name][part]),
                worst,
            )


def _broken(seen: Looked, place: int) -> Iterator[Found]:
    """All scores the same though requests differ: that needs no history."""
    part = slice(int(seen.blocks.starts[place]), int(seen.blocks.ends[place]))
    if part.stop - part.start < BLOCK or seen.blocks.scored.mode[place] < 1:
        return
    if _varied(seen, part):
        yield Reading.over(SCORE, "constant", 1.0, ALIKE, 1.0, 0.0), np.ones(part.stop - part.start, dtype=bool), 0.0


def _varied(seen: Looked, part: slice) -> bool:
    """Whether requests differ: a probe that asks the same for ever tells nothing of a model."""
    names = list(seen.blocks.null)
    return bool(names) and seen.frame[part].select(names).n_unique() >= VARIED


def _scores(seen: Looked, place: int, usual: Usual, k: float) -> Iterator[Found]:
    part = slice(int(seen.blocks.starts[place]), int(seen.blocks.ends[place]))
    scored, values = seen.blocks.scored, seen.scores[part]
    if not np.isfinite(scored.middle[place]):
        return
    alike, worst = float(scored.mode[place]), usual.most_alike()
    line = limit(ALIKE, worst)
    if alike >= line and alike > worst:
        distinct, counts = np.unique(values, return_counts=True)
        yield Reading.over(SCORE, "constant", alike, line, alike, worst), values == distinct[counts.argmax()], worst
    # What moves by itself is judged in full blocks: a day's first hundred rows are of few places and few hours.
    if part.stop - part.start < BLOCK:
        return
    least, spread = usual.least_spread(), float(scored.spread[place])
    if least > 0 and spread * NARROWER <= least:
        narrow = max(least / max(spread, least * 1e-6), NARROWER)
        near = np.abs(values - scored.middle[place]) <= max(spread, 1e-12)
        yield Reading.over(SCORE, "collapsed", narrow, NARROWER, spread, least), near, 0.0
    moved = _decisions(seen, place, usual, k)
    if moved is not None:
        yield moved
    centre, far, width = usual.middle(k)
    # Where scores are decided on, what matters is what is decided.
    if width > 0 and not seen.decided:
        shift = abs(float(scored.middle[place]) - centre) / width
        line = max(MIDDLE, far / width)
        if shift >= line:
            above = values > centre
            now = float(scored.middle[place])
            yield Reading.over(SCORE, "middle", shift, line, now, centre), above, 0.5


def _decisions(seen: Looked, place: int, usual: Usual, k: float) -> Found | None:
    """The decision whose share is furthest beyond its line."""
    part = slice(int(seen.blocks.starts[place]), int(seen.blocks.ends[place]))
    best: Found | None = None
    for name, shares in seen.blocks.scored.decided.items():
        centre, far = usual.decided(name, k)
        now = float(shares[place])
        line = max(DECISIONS, far)
        if math.isnan(centre) or abs(now - centre) < line:
            continue
        column = SCORE if name == blocks.YES else LABEL
        reading = Reading.over(column, "decisions", abs(now - centre), line, now, centre)
        if best is None or reading.height > best[0].height:
            best = reading, seen.decided[name][part], centre
    return best

"""The newest few hundred rows as a block: shares and places that can be held against the same hour's past.

A day is the right window for what creeps; what breaks at once shows in a few hundred rows. A block is the 250 rows up
to some row, of one model version and one local day: half of the 500 within which an alarm is wanted, so that wherever
a fault begins, a block is full of it in time. A day's first blocks are shorter, from 100 rows on.

    Lens      what one version takes for known: categories, ranges, the threshold of its decisions
    measure   blocks of a frame -> shares of nulls, of values never seen, of repeats, of decisions; where the scores lie
    extremes  the blocks of each hour -> a few numbers, which are stored; nothing of the past is read again

Pure: no disk, no clock, no chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

BLOCK = 250
# Under so many rows a share of 20 % is known to within 8 points only.
LEAST = 100
# A block ends every so many rows: a fault is seen this late at most.
STEP = 50
# Of a day with very many rows so many blocks are measured: its extremes need no more.
MOST = 2000
# A number lies far outside where it is beyond all that was seen by half of that range: a warmer summer is not.
FAR = 0.5
YES = "yes"
_PLACES = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
SCORE = "mw.score"
LABEL = "mw.label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """How rows of one version are looked at.

    `columns` are its inputs, `texts` the categories and `ranges` the least and largest numbers that its training saw,
    where that is known; `threshold` decides a binary model, `classes` name those of a multiclass one.
    """

    columns: tuple[str, ...]
    texts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    threshold: float | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Where the scores of each block lie: mean, median, distance of the quartiles, of the outer tenths, and the share
    of the most frequent score; `decided` has the share of each decision (binary: `yes`).
    """

    mean: Floats
    middle: Floats
    width: Floats
    spread: Floats
    mode: Floats
    decided: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Blocks of one frame: block i holds the rows [starts[i], ends[i]); one number a block in each array."""

    starts: Ints
    ends: Ints
    null: Mapping[str, Floats]
    unseen: Mapping[str, Floats]
    same: Mapping[str, Floats]
    scored: Scored

    @property
    def rows(self) -> Ints:
        return self.ends - self.starts


def ends(rows: int, *, after: int = 0, step: int = STEP) -> Ints:
    """Where blocks of a frame end: every `step` rows and at its last row, those beyond row `after`; the least
    block has LEAST rows.
    """
    first = max(LEAST, after + 1)
    if rows < first:
        return np.zeros(0, dtype=np.int64)
    regular = np.arange(-(-first // step) * step, rows + 1, step, dtype=np.int64)
    return regular if regular.size and regular[-1] == rows else np.append(regular, rows)


def measure(frame: pl.DataFrame, lens: Lens, at: Ints, scored: Scored | None = None) -> Blocks:
    """Blocks of observations in order of time (of one version and day) that end at the rows `at`.

    `scored` is what the scores say where another version's are meant.
    """
    starts = np.maximum(at - BLOCK, 0)
    null, unseen, same = {}, {}, {}
    for name in lens.columns:
        if name not in frame.columns:
            continue
        column = frame[name]
        missing = nulls_of(column)
        null[name] = _shares(missing, starts, at)
        same[name] = _shares(repeats_of(column), starts, at)
        strange = strange_of(column, lens)
        if strange is not None:
            unseen[name] = _shares(strange, starts, at)
    return Blocks(
        starts=starts,
        ends=at,
        null=null,
        unseen=unseen,
        same=same,
        scored=scored if scored is not None else score_blocks(frame[SCORE].to_numpy(), decisions(frame, lens), at),
    )


def score_blocks(scores: Floats, decided: Mapping[str, Flags], at: Ints) -> Scored:
    """Where the scores lie in the blocks that end at `at`, and what share of their rows each decision has."""
    starts = np.maximum(at - BLOCK, 0)
    found = np.full((5, at.size), np.nan)
    for place, (start, end) in enumerate(zip(starts.tolist(), at.tolist(), strict=True)):
        values = np.sort(scores[start:end])
        if not values.size or not np.isfinite(values[-1]):
            continue
        low, quarter, middle, upper, high = values[((values.size - 1) * _PLACES).astype(np.int64)]
        runs = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        mode = np.diff(np.append(runs, values.size)).max() / values.size
        found[:, place] = values.mean(), middle, upper - quarter, high - low, mode
    return Scored(
        mean=found[0],
        middle=found[1],
        width=found[2],
        spread=found[3],
        mode=found[4],
        decided={name: _shares(flags, starts, at) for name, flags in decided.items()},
    )


def decisions(frame: pl.DataFrame, lens: Lens) -> dict[str, Flags]:
    """By decision which rows have it; none of a regression."""
    if lens.classes and LABEL in frame.columns:
        labels = frame[LABEL]
        return {name: (labels == name).fill_null(False).to_numpy() for name in lens.classes}
    if lens.threshold is not None:
        return {YES: frame[SCORE].to_numpy() >= lens.threshold}
    return {}


def nulls_of(column: pl.Series) -> Flags:
    """Which rows have no value."""
    missing = column.is_null()
    if column.dtype.is_float():
        missing = missing | column.is_nan().fill_null(False)
    return missing.to_numpy()


def repeats_of(column: pl.Series) -> Flags:
    """Which rows hold the value of the row before."""
    return (column == column.shift(1)).fill_null(False).to_numpy()


def strange_of(column: pl.Series, lens: Lens) -> Flags | None:
    """Which rows hold a category that training never saw, or a number far outside its range; None where that cannot
    be told.
    """
    import polars as pl

    if column.name in lens.texts:
        known = lens.texts[column.name]
        if not known or column.dtype != pl.String:
            return None
        return (~column.is_in(sorted(known))).fill_null(False).to_numpy()
    if column.name in lens.ranges and column.dtype.is_numeric():
        low, high = lens.ranges[column.name]
        room = FAR * (high - low)
        return (~column.is_between(low - room, high + room)).fill_null(False).to_numpy()
    return None


def _shares(flags: Flags, starts: Ints, at: Ints) -> Floats:
    total = np.concatenate([[0], np.cumsum(flags)]).astype(np.float64)
    shares: Floats = (total[at] - total[starts]) / np.maximum(at - starts, 1)
    return shares


def began(flags: Flags, usual: float) -> int:
    """From which row of a block its flags are no longer what was usual: the split after which the sum of what lies
    above the middle of usual and now is largest (a cusum's change point: Page 1954).
    """
    now = float(flags.mean()) if flags.size else 0.0
    sign = 1.0 if now >= usual else -1.0
    excess = sign * (flags.astype(np.float64) - (now + usual) / 2)
    tail = np.cumsum(excess[::-1])[::-1]
    return int(np.argmax(tail)) if tail.size else 0


# ---------------------------------------------------------------------- what is stored of an hour


def extremes(
    frame: pl.DataFrame, lens: Lens, blocks: Blocks, hours: Sequence[int], *, version: str | None
) -> dict[int, dict[str, Any]]:
    """By hour of the blocks' last rows what is kept of them, plain: the largest shares, [least, middle, largest] of
    what may go either way, least and largest numbers. `hours` is one a block; `version` "" stands for training rows.
    """
    found: dict[int, dict[str, Any]] = {}
    of = np.asarray(hours)
    for hour in sorted(set(hours)):
        here = of == hour
        scored = blocks.scored
        facts: dict[str, Any] = {
            "version": version or "",
            "blocks": int(here.sum()),
            "null": _largest(blocks.null, here),
            "unseen": _largest(blocks.unseen, here),
            "same": {name: _short(values[here].max()) for name, values in blocks.same.items()},
            "decided": {name: _three(values[here]) for name, values in scored.decided.items()},
            "span": _spans(frame[int(blocks.starts[here].min()) : int(blocks.ends[here].max())], lens),
        }
        if np.isfinite(scored.middle[here]).any():
            facts["mean"] = _short(np.nanmedian(scored.mean[here]))
            facts["middle"] = _three(scored.middle[here])
            facts["width"] = _short(np.nanmedian(scored.width[here]))
            facts["spread"] = _short(np.nanmin(scored.spread[here]))
            facts["mode"] = _short(np.nanmax(scored.mode[here]))
        found[hour] = facts
    return found


def _largest(shares: Mapping[str, Floats], here: Flags) -> dict[str, float]:
    """Columns whose largest share is 0 are left out."""
    return {name: _short(most) for name, values in shares.items() if (most := values[here].max()) > 0}


def _spans(rows: pl.DataFrame, lens: Lens) -> dict[str, list[float]]:
    """Least and largest of each column of numbers."""
    found = {}
    for name in lens.columns:
        if name in rows.columns and rows.schema[name].is_numeric():
            low, high = rows[name].min(), rows[name].max()
            if isinstance(low, int | float) and isinstance(high, int | float) and np.isfinite([low, high]).all():
                found[name] = [float(low), float(high)]
    return found


def _three(values: Floats) -> list[float]:
    return [_short(np.nanmin(values)), _short(np.nanmedian(values)), _short(np.nanmax(values))]


def _short(value: Any) -> float:
    return float(f"{float(value):.5g}")

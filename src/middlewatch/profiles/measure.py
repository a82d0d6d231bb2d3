"""From one column of a batch to its ColumnProfile, for the whole batch or for each of many groups of rows at once.

Two ways, with the same counters. A column with few distinct values is sorted once and everything is computed from
its distinct values; so are all groups of a batch together, which is what makes thousands of small hourly profiles
cheap. A column with more than 10,000 distinct values in one group is swept value by value instead, without sorting.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

import middlewatch.profiles.sketches as sketches

from .column import (
    EXACT,
    HOUR_US,
    LONGEST,
    Bins,
    ColumnProfile,
    Kind,
    Values,
    add_moments,
    binned,
    bucketed,
    bucketed_text,
    clocked,
)
from .sketches import REGISTERS, Floats, Ints, Numbers

_PROBE: Final = 16_384
"""Rows looked at first: more than 10,000 distinct among them settles that the column keeps no exact values."""
_BLOCK: Final = 16_384
"""Values swept at a time: their few arrays stay in the processor's cache, which halves the time."""
_SMALL: Final = 512

Mask = npt.NDArray[np.bool_]
DTYPES: Final[dict[Kind, pl.DataType]] = {
    "number": pl.Float64(),
    "whole": pl.Int64(),
    "boolean": pl.Boolean(),
    "category": pl.String(),
    "text": pl.String(),
    "time": pl.Datetime("us", "UTC"),
}


def measure(
    series: pl.Series,
    kind: Kind,
    starts: Ints,
    *,
    centre: float = 0.0,
    known: tuple[str, ...] = (),
    exact: bool = True,
) -> list[ColumnProfile]:
    """One ColumnProfile for each group of rows; group i begins at row `starts[i]` and ends where the next begins.

    `exact` False gives up exact values from the start (private columns; columns already known to have too many).
    Raises polars' InvalidOperationError where a value does not fit the kind.
    """
    wanted = DTYPES[kind]
    if series.dtype != wanted:
        series = series.cast(wanted)
    if kind in ("category", "text"):
        return _texts(series, kind, starts, known, exact)
    return _numbers(series, kind, starts, float(centre), exact)


def _sizes(starts: Ints, total: int) -> Ints:
    return np.diff(starts, append=total)


def _per_group(flags: Mask, starts: Ints) -> Ints:
    """How many flags are set in each group; groups may be empty."""
    if starts.size == 1:
        return np.array([np.count_nonzero(flags)], dtype=np.int64)
    below = np.zeros(flags.size + 1, dtype=np.int64)
    np.cumsum(flags, out=below[1:])
    return np.diff(below[starts], append=below[-1])


def _neighbours(present: Mask | None, same: Mask, starts: Ints) -> tuple[Ints, Ints]:
    """Pairs of neighbouring present values in each group, and those that are `same` (row i as row i - 1)."""
    if starts.size == 1 and present is None:
        return np.array([same.size]), np.array([np.count_nonzero(same)], dtype=np.int64)
    # Row i stands for the pair (i - 1, i); the first row of a group has none.
    pair = np.ones(same.size + 1, dtype=np.bool_)
    pair[starts[starts < pair.size]] = False
    if present is not None:
        pair[1:] &= present[1:] & present[:-1]
    repeat = pair.copy()
    repeat[1:] &= same
    return _per_group(pair, starts), _per_group(repeat, starts)


# --- numbers, whole numbers, booleans, times -------------------------------------------------------------


def _numbers(series: pl.Series, kind: Kind, starts: Ints, centre: float, exact: bool) -> list[ColumnProfile]:
    rows = series.len()
    if rows == 0:
        return [_empty(kind, centre, exact) for _ in starts]
    values, present = _array(series, kind)
    finite, nans, infinities = present, np.zeros(starts.size, np.int64), np.zeros(starts.size, np.int64)
    if kind == "number" and not _all_finite(values):
        finite = np.isfinite(values) if present is None else np.isfinite(values) & present
        nan = np.isnan(values) if present is None else np.isnan(values) & present
        nans = _per_group(nan, starts)
    nulls = np.zeros(starts.size, np.int64) if present is None else _sizes(starts, rows) - _per_group(present, starts)
    pairs, repeats = _neighbours(finite, values[1:] == values[:-1], starts)
    if finite is not None:
        held = _per_group(finite, starts)
        infinities = _sizes(starts, rows) - held - nulls - nans
        values = values[finite]
        starts = np.cumsum(held) - held
    if starts.size == 1:
        facts = [_one_group(values, kind, centre, exact)]
    else:
        facts = _many_groups(values, kind, starts, centre, exact)
    return [
        ColumnProfile(
            kind=kind,
            centre=centre,
            nulls=null,
            nans=nan,
            infinities=infinity,
            pairs=pair,
            repeats=repeat,
            **fact,
        )
        for fact, null, nan, infinity, pair, repeat in zip(
            facts,
            nulls.tolist(),
            nans.tolist(),
            infinities.tolist(),
            pairs.tolist(),
            repeats.tolist(),
            strict=True,
        )
    ]


def _all_finite(values: Numbers) -> bool:
    """True where no value is NaN or infinite; a sum that overflows may say False, which costs only time."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))


def _array(series: pl.Series, kind: Kind) -> tuple[Numbers, Mask | None]:
    """The values as float64 or int64 (times: microseconds), anything where absent, and a mask of the present."""
    present = None
    if series.null_count():
        present = series.is_not_null().to_numpy()
        filled = series.to_physical() if kind == "time" else series
        series = filled.fill_null(False if kind == "boolean" else 0)
    if kind == "time":
        series = series.to_physical()
    array = series.to_numpy()
    return (array.astype(np.int64) if kind == "boolean" else array), present


def _empty(kind: Kind, centre: float, exact: bool) -> ColumnProfile:
    return ColumnProfile(kind=kind, centre=centre, **_facts_of_none(kind, exact))


def _facts_of_none(kind: Kind, exact: bool) -> dict[str, Any]:
    none = np.zeros(0, dtype=np.int64)
    nothing: Numbers = np.zeros(0, dtype=np.float64) if kind == "number" else none
    facts: dict[str, Any] = (
        {"values": Values(nothing, none)} if exact else {"registers": np.zeros(REGISTERS, dtype=np.uint8)}
    )
    return facts | binned(kind, 0.0, nothing, none)


def _one_group(values: Numbers, kind: Kind, centre: float, exact: bool) -> dict[str, Any]:
    """Everything about one group's finite values."""
    if values.size == 0:
        return _facts_of_none(kind, exact)
    if exact and not _too_many(values):
        ordered = np.sort(values)
        found, counts = sketches.count_sorted(ordered)
        if found.size <= EXACT:
            return _from_distinct(found, counts, kind, centre)
    return _sweep(values, kind, centre)


def _too_many(values: Numbers) -> bool:
    """True where the first rows alone have more than 10,000 distinct values."""
    if values.size <= _PROBE:
        return False
    return bool(sketches.change_points(np.sort(values[:_PROBE])).size > EXACT)


def _offsets(values: Numbers, centre: float) -> Floats:
    offsets: Floats = np.subtract(values, centre, dtype=np.float64) if centre else values.astype(np.float64, copy=False)
    return offsets


def _from_distinct(values: Numbers, counts: Ints, kind: Kind, centre: float) -> dict[str, Any]:
    """The facts of one group from its distinct values (sorted, not empty) and their counts."""
    if values.dtype == np.float64:
        values = np.add(values, 0.0, dtype=np.float64)  # -0.0 is 0.0
    offsets = _offsets(values, centre)
    n = int(counts.sum())
    with np.errstate(over="ignore", invalid="ignore"):
        first = offsets[0]
        mean = float(first + ((offsets - first) * counts).sum() / n)
        m2 = float((np.square(offsets - mean) * counts).sum())
    facts: dict[str, Any] = {
        "n": n,
        "offset": mean,
        "m2": m2,
        "min": values[0].item(),
        "max": values[-1].item(),
        "values": Values(values, counts),
    }
    facts |= binned(kind, centre, values, counts)
    if kind == "time":
        return facts
    facts["zeros"] = int(counts[values == 0].sum())
    facts["wholes"] = int(counts[np.rint(values) == values].sum()) if kind == "number" else n
    return facts


def _sweep(values: Numbers, kind: Kind, centre: float) -> dict[str, Any]:
    """The facts of one group's values (not empty), exact values given up."""
    registers = np.zeros(REGISTERS, dtype=np.uint8)
    if values.size <= _BLOCK:
        distinct, counts = sketches.count_sorted(np.sort(values))
        sketches.hll_add(registers, sketches.hash_numbers(distinct))
        return {**_from_distinct(distinct, counts, kind, centre), "values": None, "registers": registers}
    bins, hours = sketches.BinCounter(), []
    moments: list[tuple[int, float, float]] = []
    zeros = wholes = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, values.size, _BLOCK):
            block = values[start : start + _BLOCK]
            sketches.hll_add(registers, sketches.hash_numbers(block))
            offsets = _offsets(block, centre)
            mean = float(offsets[0] + (offsets - offsets[0]).mean())
            distances = offsets - mean
            moments.append((block.size, mean, float(np.square(distances, out=distances).sum())))
            if kind == "time":
                hours.append(sketches.count_sorted(np.sort(np.floor_divide(block, HOUR_US))))
                continue
            bins.add(offsets)
            zeros += block.size - int(np.count_nonzero(block))
            if kind == "number":
                wholes += int(np.count_nonzero(np.rint(block) == block))
    n, offset, m2 = add_moments(moments)
    low, high = values.min().item(), values.max().item()
    facts = {"n": n, "offset": offset, "m2": m2, "registers": registers}
    if kind == "time":
        return {**facts, "min": low, "max": high, **clocked(*sketches.add_counts(hours))}
    if kind == "number":
        low, high = low + 0.0, high + 0.0  # -0.0 is 0.0
    facts |= {"min": low, "max": high, "zeros": zeros, "wholes": wholes if kind == "number" else n}
    return {**facts, "bins": Bins(*bins.total())}


def _many_groups(values: Numbers, kind: Kind, starts: Ints, centre: float, exact: bool) -> list[dict[str, Any]]:
    """The facts of each group, from one sort of all of them by (group, value)."""
    ends = np.append(starts[1:], values.size)
    sizes = ends - starts
    group = np.repeat(np.arange(starts.size), sizes)
    order = np.lexsort((values, group))
    ordered = values[order]
    if kind == "number":
        ordered = np.add(ordered, 0.0, dtype=np.float64)  # -0.0 is 0.0
    fresh = np.empty(ordered.size, dtype=np.bool_)
    fresh[:1] = True
    fresh[1:] = (ordered[1:] != ordered[:-1]) | (group[1:] != group[:-1])
    at = np.flatnonzero(fresh)
    counts = np.diff(at, append=ordered.size)
    distinct = ordered[at]
    bounds = np.searchsorted(at, np.append(starts, values.size))
    facts: list[dict[str, Any]] = []
    many = None if kind == "time" else _columns_of_groups(distinct, counts, group[at], kind, centre, bounds)
    for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        entries = slice(int(bounds[index]), int(bounds[index + 1]))
        if start == end:
            facts.append(_facts_of_none(kind, exact))
        elif entries.stop - entries.start > EXACT or not exact:
            facts.append(_sweep(values[start:end], kind, centre))
        elif many is None:
            facts.append(_from_distinct(distinct[entries], counts[entries], kind, centre))
        else:
            held = Values(distinct[entries], counts[entries])
            facts.append({**many[index], "values": held})
    return facts


def _columns_of_groups(
    distinct: Numbers, counts: Ints, group: Ints, kind: Kind, centre: float, bounds: Ints
) -> list[dict[str, Any]]:
    """`_from_distinct` for all groups at once (an empty group gets an empty dict).

    `distinct`, `counts` and `group` hold one entry for each distinct value of each group; `bounds` where each
    group's entries begin, and the end.
    """
    filled = np.flatnonzero(np.diff(bounds))
    if not filled.size:
        return [{} for _ in bounds[1:]]
    begin, last = bounds[:-1][filled], bounds[1:][filled] - 1
    sizes = np.diff(bounds)[filled]
    offsets = _offsets(distinct, centre)
    with np.errstate(over="ignore", invalid="ignore"):
        n = np.add.reduceat(counts, begin)
        first = offsets[begin]
        mean = first + np.add.reduceat((offsets - np.repeat(first, sizes)) * counts, begin) / n
        m2 = np.add.reduceat((offsets - np.repeat(mean, sizes)) ** 2 * counts, begin)
    zeros = np.add.reduceat(np.where(distinct == 0, counts, 0), begin)
    wholes = np.add.reduceat(np.where(np.rint(distinct) == distinct, counts, 0), begin) if kind == "number" else n
    bin_group, keys, held, within = sketches.bin_groups(offsets, counts, group)
    bin_bounds = np.searchsorted(bin_group, np.arange(bounds.size)).tolist()
    columns = zip(
        filled.tolist(),
        n.tolist(),
        mean.tolist(),
        m2.tolist(),
        distinct[begin].tolist(),
        distinct[last].tolist(),
        zeros.tolist(),
        wholes.tolist(),
        strict=True,
    )
    facts: list[dict[str, Any]] = [{} for _ in bounds[1:]]
    for index, rows, offset, spread, low, high, zero, whole in columns:
        part = slice(bin_bounds[index], bin_bounds[index + 1])
        facts[index] = {
            "n": rows,
            "offset": offset,
            "m2": spread,
            "min": low,
            "max": high,
            "zeros": zero,
            "wholes": whole,
            "bins": Bins(keys[part], held[part], within[part]),
        }
    return facts


# --- categories and text ---------------------------------------------------------------------------------


def _texts(series: pl.Series, kind: Kind, starts: Ints, known: tuple[str, ...], exact: bool) -> list[ColumnProfile]:
    rows = series.len()
    present = series.is_not_null().to_numpy() if series.null_count() else None
    if starts.size == 1 and rows <= _SMALL:
        facts, pairs, repeats = _few_texts(series.to_list(), known, exact)
    else:
        same = (series == series.shift(1)).fill_null(False).to_numpy()[1:]
        pairs, repeats = (one.tolist() for one in _neighbours(present, same, starts))
        facts = _text_groups(series, starts, known, exact)
    nulls = np.zeros(starts.size, np.int64)
    if present is not None:
        nulls = _sizes(starts, rows) - _per_group(present, starts)
    sizes = _sizes(starts, rows).tolist()
    return [
        ColumnProfile(kind=kind, known=known, n=size - null, nulls=null, pairs=pair, repeats=repeat, **fact)
        for fact, size, null, pair, repeat in zip(facts, sizes, nulls.tolist(), pairs, repeats, strict=True)
    ]


def _few_texts(
    texts: list[str | None], known: tuple[str, ...], exact: bool
) -> tuple[list[dict[str, Any]], list[int], list[int]]:
    """One group of a few rows, in plain Python: cheaper than starting polars' engine."""
    pairs = repeats = 0
    before: str | None = None
    for text in texts:
        if text is not None and before is not None:
            pairs += 1
            repeats += text == before
        before = text
    counts = Counter(text for text in texts if text is not None)
    if exact and all(len(text) <= LONGEST // 4 or len(text.encode()) <= LONGEST for text in counts):
        return [{"categories": dict(counts)}], [pairs], [repeats]
    return [bucketed(counts, known)], [pairs], [repeats]


def _text_groups(series: pl.Series, starts: Ints, known: tuple[str, ...], exact: bool) -> list[dict[str, Any]]:
    """Category counts of each group, or buckets where they are too many or too long."""
    texts = series.rename("text")
    if starts.size == 1:
        present = texts.drop_nulls()
        if not exact or (present.len() > _PROBE and present.head(_PROBE).n_unique() > EXACT):
            return [bucketed_text(present, None, known)]
        table = present.value_counts(name="rows")
        return [_kept(table["text"], table["rows"], known, exact)]
    group = np.repeat(np.arange(starts.size), _sizes(starts, series.len()))
    table = (
        pl.DataFrame({"group": group, "text": texts})
        .drop_nulls("text")
        .group_by("group", "text")
        .agg(pl.len().alias("rows"))
        .sort("group")
    )
    bounds = np.searchsorted(table["group"].to_numpy(), np.arange(starts.size + 1))
    if exact and table.height and table["text"].str.len_bytes().max() <= LONGEST:  # type: ignore[operator]
        names, rows = table["text"].to_list(), table["rows"].to_list()
        facts: list[dict[str, Any]] = []
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            held = dict(zip(names[start:end], rows[start:end], strict=True))
            facts.append({"categories": held} if end - start <= EXACT else bucketed(held, known))
        return facts
    return [
        _kept(table["text"][start:end], table["rows"][start:end], known, exact)
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]


def _kept(texts: pl.Series, rows: pl.Series, known: tuple[str, ...], exact: bool) -> dict[str, Any]:
    """Distinct texts with their rows: exact where they are few and short enough, else bucketed."""
    if texts.len() == 0:
        return {"categories": {}} if exact else bucketed({}, known)
    longest = texts.str.len_bytes().max()
    if exact and texts.len() <= EXACT and isinstance(longest, int) and longest <= LONGEST:
        return {"categories": dict(zip(texts.to_list(), rows.to_list(), strict=True))}
    return bucketed_text(texts, rows.to_numpy().astype(np.int64), known)

"""The summary of one column: counters that add up, so that profile(a) + profile(b) = profile(a and b)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from operator import add
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

import middlewatch.profiles.sketches as sketches
from middlewatch.errors import UsageError

from .sketches import BUCKETS, REGISTERS, Floats, Ints, Numbers, Registers

Kind = Literal["number", "whole", "boolean", "category", "text", "time"]

EXACT: Final = 10_000
"""Distinct values (and hourly bins of a time) kept exactly; one more, and they are given up for good."""
LONGEST: Final = 256
"""A column with a text of more bytes than this keeps none exactly: a profile is not where documents live."""
HOUR_US: Final = 3_600_000_000
WIDTHS: Final = (1, 24, 32 * 24, 1024 * 24)
"""Hours in a linear bin of a time: the narrowest width that leaves at most `EXACT` bins occupied."""
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday; Monday is 0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Bins(NamedTuple):
    """Occupied bins, sorted: `keys` uint16 of `sketches` (times: int64, linear) and `counts` int64.

    `within`: the sum over a bin's values of their places in it, 0 to 255 (see `sketches`). `width`: hours in a
    linear bin of a time column, 0 elsewhere; times have no `within`.
    """

    keys: npt.NDArray[Any]
    counts: Ints
    within: Ints | None = None
    width: int = 0


class Values(NamedTuple):
    """Exact distinct values, sorted (float64; int64 for whole, boolean and time), and `counts` int64."""

    values: Numbers
    counts: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnProfile:
    """What is known of one column; every counter of rows, of one part or of any merge of parts.

    `n` values that are present and finite; `nulls`, `nans`, `infinities` beside them. `min` and `max` are numbers
    (times: microseconds since 1970 in UTC; see `lowest`, `highest`), None for categories or where `n` is 0.
    `offset` is mean - centre and `m2` the sum of squared distances from the mean. `pairs` neighbouring rows with
    both values present, `repeats` of them equal: inside one batch, so they depend on how the table was split.
    Exact distinct values are in `values` (numbers) or `categories`, until they pass 10,000; from then on `registers`
    (HyperLogLog) count them and categories fall into 1,024 `buckets`, with `known_counts` for `known` values.
    Times also have `hours` (24, of the day in UTC) and `weekdays` (7, Monday first).
    """

    kind: Kind
    centre: float = 0.0
    known: tuple[str, ...] = ()
    n: int = 0
    nulls: int = 0
    nans: int = 0
    infinities: int = 0
    zeros: int = 0
    wholes: int = 0
    pairs: int = 0
    repeats: int = 0
    min: float | int | None = None
    max: float | int | None = None
    offset: float = 0.0
    m2: float = 0.0
    bins: Bins | None = None
    values: Values | None = None
    categories: Mapping[str, int] | None = None
    registers: Registers | None = None
    buckets: Ints | None = None
    known_counts: Ints | None = None
    hours: Ints | None = None
    weekdays: Ints | None = None

    # --- what is asked of it ---

    @property
    def rows(self) -> int:
        """Rows in which the column was there, whatever it held."""
        return self.n + self.nulls + self.nans + self.infinities

    @property
    def exact(self) -> bool:
        """True while every distinct value is kept."""
        return self.values is not None or self.categories is not None

    @property
    def mean(self) -> float:
        """Mean of the finite values (times: microseconds since 1970); NaN where there are none."""
        return self.centre + self.offset if self.n and self.bins is not None else float("nan")

    @property
    def std(self) -> float:
        """Standard deviation with n - 1; NaN under two values."""
        return float(np.sqrt(self.m2 / (self.n - 1))) if self.n > 1 and self.bins is not None else float("nan")

    @property
    def lowest(self) -> float | int | datetime | None:
        """`min`, as a UTC datetime for times."""
        return self._shown(self.min)

    @property
    def highest(self) -> float | int | datetime | None:
        """`max`, as a UTC datetime for times."""
        return self._shown(self.max)

    def distinct(self) -> int:
        """How many distinct values: exact up to 10,000, beyond within a few percent (1.6 % standard error)."""
        if self.values is not None:
            return int(self.values.values.size)
        if self.categories is not None:
            return len(self.categories)
        if self.registers is None:
            return 0
        return min(self.n, sketches.hll_count(self.registers))

    def counts(self) -> dict[str, int]:
        """Rows of each category (booleans: "true", "false"); past 10,000 distinct only of the known values."""
        if self.categories is not None:
            return dict(self.categories)
        if self.known_counts is not None:
            return {name: int(count) for name, count in zip(self.known, self.known_counts, strict=True)}
        if self.kind == "boolean" and self.values is not None:
            names = ["true" if value else "false" for value in self.values.values]
            return dict(zip(names, self.values.counts.tolist(), strict=True))
        return {}

    def top(self, k: int = 10) -> list[tuple[str | float | int | datetime, int]]:
        """The `k` most frequent values with their counts; numbers past 10,000 distinct have none to name."""
        pairs: list[tuple[Any, int]]
        if self.kind in ("category", "text", "boolean"):
            pairs = [(name, count) for name, count in self.counts().items() if count]
            return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]
        if self.values is None:
            return []
        order = np.argsort(-self.values.counts, kind="stable")[:k]
        pairs = list(zip(self.values.values[order].tolist(), self.values.counts[order].tolist(), strict=True))
        return [(self._shown(value), count) for value, count in pairs]  # type: ignore[misc]

    def quantile(self, q: npt.ArrayLike) -> Any:
        """The smallest value with at least a share `q` of the finite values at or below it.

        Exact up to 10,000 distinct values, beyond within a bin (1/128 of the distance from the centre). A float for
        one `q`, an array for several; times give microseconds; NaN where there are no values.
        """
        wanted = np.asarray(q, dtype=np.float64)
        if self.bins is None or self.n == 0:
            answer = np.full(wanted.shape, np.nan)
        else:
            target = np.clip(wanted, 0.0, 1.0) * self.n
            if self.values is not None:
                cumulated = np.cumsum(self.values.counts)
                # A hair below the target, so that 0.1 * 10 rows asks for the first row and not the second.
                at = np.searchsorted(cumulated, target * (1.0 - 1e-12), side="left")
                answer = self.values.values[np.minimum(at, cumulated.size - 1)].astype(np.float64)
            else:
                knots, below = self._knots()
                answer = np.interp(target, below, knots)
        return float(answer) if wanted.ndim == 0 else answer

    def cdf(self, x: npt.ArrayLike) -> Any:
        """Share of the finite values at or below `x` (times: microseconds): exact as `quantile` is.

        Past 10,000 distinct values a tie inside a bin is spread over the bin.
        """
        points = np.asarray(x, dtype=np.float64)
        if self.bins is None or self.n == 0:
            answer = np.full(points.shape, np.nan)
        elif self.values is not None:
            cumulated = np.concatenate([[0], np.cumsum(self.values.counts)])
            answer = cumulated[np.searchsorted(self.values.values, points, side="right")] / self.n
        else:
            knots, below = self._knots()
            answer = np.interp(points, knots, below / self.n, left=0.0, right=1.0)
        return float(answer) if points.ndim == 0 else answer

    def regroup(self, edges: npt.ArrayLike) -> Ints:
        """Rows between rising `edges`: `len(edges) + 1` counts, the first below `edges[0]`.

        Group i holds edges[i-1] <= value < edges[i]. An edge is moved to the lower bound of its bin, always, so that
        two profiles of a column are cut alike; a value that equals an edge is in the group that starts there.
        """
        cuts = np.asarray(edges)
        if self.bins is None:
            raise UsageError(f"a {self.kind} column has no bins to regroup", fix="use counts()")
        groups = np.searchsorted(self.keys_of(cuts), self.bins.keys, side="right")
        return _weighted(groups, self.bins.counts, cuts.size + 1)

    def keys_of(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """The bins that `values` (times: microseconds) fall into, whether occupied or not."""
        points = np.asarray(values)
        if self.bins is not None and self.bins.width:
            return np.floor_divide(points.astype(np.int64), HOUR_US * self.bins.width)
        return sketches.bin_keys(points.astype(np.float64) - self.centre)

    def edges(self) -> tuple[Floats, Floats]:
        """Lower and upper bound of each occupied bin, in the column's own unit (times: microseconds)."""
        if self.bins is None:
            raise UsageError(f"a {self.kind} column has no bins", fix="use counts()")
        keys: Ints = self.bins.keys.astype(np.int64)
        if self.bins.width:
            hours: Floats = keys.astype(np.float64) * self.bins.width
            return hours * HOUR_US, (hours + self.bins.width) * HOUR_US
        return self.centre + sketches.bin_lower(keys), self.centre + sketches.bin_lower(keys + 1)

    def points(self) -> Floats:
        """The mean of each occupied bin's values (times: its middle), held inside [min, max]."""
        if self.bins is None or self.min is None or self.max is None:
            return np.zeros(0)
        lower, upper = self.edges()
        share = 0.5 if self.bins.within is None else self.bins.within / (256.0 * self.bins.counts)
        points: Floats = np.clip(lower + share * (upper - lower), float(self.min), float(self.max))
        return points

    def _knots(self) -> tuple[Floats, Floats]:
        """Values and the rows below each: straight lines between them are the distribution.

        A bin's rows lie evenly around their mean, as wide as the bin allows: a tie on a bin's bound stays a step.
        """
        bins = self.bins
        if bins is None or self.min is None or self.max is None:
            return np.zeros(0), np.zeros(0)
        low, high = float(self.min), float(self.max)
        lower, upper = (np.clip(side, low, high) for side in self.edges())
        middle = self.points()
        half = np.minimum(middle - lower, upper - middle)
        below = np.cumsum(bins.counts) - bins.counts
        knots: Floats = np.column_stack([middle - half, middle + half]).ravel()
        rows: Floats = np.column_stack([below, below + bins.counts]).ravel().astype(np.float64)
        return knots, rows

    def _shown(self, value: float | int | None) -> float | int | datetime | None:
        if self.kind != "time" or value is None:
            return value
        return _EPOCH + timedelta(microseconds=int(value))

    def __add__(self, other: ColumnProfile) -> ColumnProfile:
        return merge_columns([self, other])


# --- adding up -------------------------------------------------------------------------------------------


def merge_columns(parts: Sequence[ColumnProfile], *, name: str = "") -> ColumnProfile:
    """The profile of all parts' rows together. Raises UsageError where kind or centre differ."""
    first = parts[0]
    if len(parts) == 1:
        return first
    for part in parts:
        if part.kind != first.kind or part.centre != first.centre:
            raise UsageError(
                f'profiles of "{name}" cannot be added: {first.kind} around {first.centre:g} '
                f"and {part.kind} around {part.centre:g}",
                why="the kind or the centre of the column changed in the schema between them",
                fix="middlewatch monitor --rebuild",
            )
    known = first.known
    if any(part.known is not known and part.known != known for part in parts):
        known = tuple(sorted({value for part in parts for value in part.known}))
    numeric = first.kind not in ("category", "text")
    rows = [
        (part.n, part.nulls, part.nans, part.infinities, part.zeros, part.wholes, part.pairs, part.repeats)
        for part in parts
    ]
    n, nulls, nans, infinities, zeros, wholes, pairs, repeats = map(sum, zip(*rows, strict=True))
    lows = [part.min for part in parts if part.min is not None]
    highs = [part.max for part in parts if part.max is not None]
    _, offset, m2 = add_moments([(part.n, part.offset, part.m2) for part in parts]) if numeric else (n, 0.0, 0.0)
    return ColumnProfile(
        kind=first.kind,
        centre=first.centre,
        known=known,
        n=n,
        nulls=nulls,
        nans=nans,
        infinities=infinities,
        zeros=zeros,
        wholes=wholes,
        pairs=pairs,
        repeats=repeats,
        min=min(lows, default=None),
        max=max(highs, default=None),
        offset=offset,
        m2=m2,
        **(_merge_numeric(parts) if numeric else _merge_categories(parts, known)),
    )


def _merge_numeric(parts: Sequence[ColumnProfile]) -> dict[str, Any]:
    facts = {"bins": _merge_bins(parts), **_merge_values(parts)}
    if parts[0].kind == "time":
        facts |= {"hours": _sum(part.hours for part in parts), "weekdays": _sum(part.weekdays for part in parts)}
    return facts


def add_moments(parts: Iterable[tuple[int, float, float]]) -> tuple[int, float, float]:
    """n, mean and M2 of all parts (Chan, Golub and LeVeque 1979, written for any number of parts)."""
    table = [part for part in parts if part[0]]
    if not table:
        return 0, 0.0, 0.0
    if len(table) == 1:
        return table[0]
    total = sum(part[0] for part in table)
    # Around the first part's mean, so that a mean far from zero loses no digits.
    first = table[0][1]
    if len(table) < 8:
        mean = sum(n * (offset - first) for n, offset, _ in table) / total
        spread = sum(n * (offset - first - mean) * (offset - first - mean) for n, offset, _ in table)
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # near the largest float there is no finite M2
            n = np.array([part[0] for part in table], dtype=np.float64)
            delta = np.array([part[1] for part in table]) - first
            mean = float((n * delta).sum()) / total
            spread = float((n * np.square(delta - mean)).sum())
    return total, first + mean, sum(part[2] for part in table) + spread


def _merge_bins(parts: Sequence[ColumnProfile]) -> Bins:
    held = [part.bins for part in parts if part.bins is not None]
    width = max(bins.width for bins in held)
    if not width:
        sums = sketches.add_counts([(bins.keys, bins.counts, bins.within) for bins in held if bins.within is not None])
        return Bins(sums[0], sums[1], sums[2])
    keys, counts = sketches.add_counts([_widened(bins.keys, bins.counts, width // bins.width) for bins in held])
    return coarsen(keys, counts, width)


def _widened(keys: Ints, counts: Ints, times: int) -> tuple[Ints, Ints]:
    """Linear bins `times` as wide."""
    if times == 1:
        return keys, counts
    wider = np.floor_divide(keys, times)
    starts = sketches.change_points(wider)
    return wider[starts], np.add.reduceat(counts, starts) if starts.size else counts


def coarsen(keys: Ints, counts: Ints, width: int) -> Bins:
    """Linear bins of `width` hours or wider: as wide as it takes to occupy at most 10,000."""
    for wider in WIDTHS[WIDTHS.index(width) + 1 :]:
        if keys.size <= EXACT:
            break
        keys, counts = _widened(keys, counts, wider // width)
        width = wider
    return Bins(keys, counts, width=width)


def binned(kind: Kind, centre: float, values: Numbers, counts: Ints) -> dict[str, Any]:
    """`bins` of distinct sorted values with their counts; of times `hours` and `weekdays` too."""
    if kind != "time":
        offsets = np.subtract(values, centre, dtype=np.float64) if centre else values.astype(np.float64, copy=False)
        return {"bins": Bins(*sketches.bin_sorted(offsets, counts))}
    return clocked(*_widened(values.astype(np.int64, copy=False), counts, HOUR_US))


def clocked(hours: Ints, counts: Ints) -> dict[str, Any]:
    """`bins`, `hours` and `weekdays` from the distinct sorted hours since 1970."""
    weekdays = (np.floor_divide(hours, 24) + _EPOCH_WEEKDAY) % 7
    return {
        "bins": coarsen(hours, counts, 1),
        "hours": _weighted(hours % 24, counts, 24),
        "weekdays": _weighted(weekdays, counts, 7),
    }


def _merge_values(parts: Sequence[ColumnProfile]) -> dict[str, Any]:
    held = [part for part in parts if part.bins is not None]
    if all(part.values is not None for part in held):
        values, counts = sketches.add_counts([part.values for part in held if part.values is not None])
        if values.size <= EXACT:
            return {"values": Values(values, counts)}
        registers = np.zeros(REGISTERS, dtype=np.uint8)
        sketches.hll_add(registers, sketches.hash_numbers(values))
        return {"registers": registers}
    registers = _union(held)
    for part in held:
        if part.values is not None:
            sketches.hll_add(registers, sketches.hash_numbers(part.values.values))
    return {"registers": registers}


def _merge_categories(parts: Sequence[ColumnProfile], known: tuple[str, ...]) -> dict[str, Any]:
    first, *others = sorted((part.categories for part in parts if part.categories), key=len, reverse=True) or ({},)
    totals = dict(first)  # a copy of the largest is cheaper than filling it anew
    for counts in others:
        totals.update(zip(counts, map(add, map(totals.get, counts, repeat(0)), counts.values()), strict=True))
    overflowed = [part for part in parts if part.buckets is not None]
    if not overflowed and len(totals) <= EXACT:
        return {"categories": totals}
    answer = bucketed(totals, known)
    answer["registers"] = np.maximum(answer["registers"], _union(overflowed))
    for part in overflowed:
        answer["buckets"] = answer["buckets"] + part.buckets
        if part.known == known:
            answer["known_counts"] = answer["known_counts"] + part.known_counts
        else:
            there = part.counts()
            answer["known_counts"] = answer["known_counts"] + np.array([there.get(one, 0) for one in known])
    return answer


def bucketed(totals: Mapping[str, int], known: tuple[str, ...]) -> dict[str, Any]:
    """Buckets, registers and counts of known values, from exact counts that are given up."""
    counts = np.fromiter(totals.values(), dtype=np.int64, count=len(totals))
    return bucketed_text(pl.Series(list(totals), dtype=pl.String), counts, known)


def bucketed_text(texts: pl.Series, counts: Ints | None, known: tuple[str, ...]) -> dict[str, Any]:
    """The same from a column of texts without nulls; `counts` None: each stands for one row."""
    hashes = sketches.hash_text(texts)
    registers = np.zeros(REGISTERS, dtype=np.uint8)
    sketches.hll_add(registers, hashes)
    buckets = _weighted(sketches.buckets_of(hashes), counts, BUCKETS)
    known_counts = np.zeros(len(known), dtype=np.int64)
    if known:
        named = pl.Series(list(known), dtype=pl.String)
        rows = pl.DataFrame({"text": texts, "rows": np.ones(texts.len(), np.int64) if counts is None else counts})
        found = rows.filter(pl.col("text").is_in(named.implode())).group_by("text").agg(pl.col("rows").sum())
        there = dict(found.iter_rows())
        known_counts = np.array([there.get(one, 0) for one in known], dtype=np.int64)
    return {"registers": registers, "buckets": buckets, "known_counts": known_counts}


def _weighted(groups: npt.NDArray[np.intp], counts: Ints | None, size: int) -> Ints:
    if counts is None:
        return np.bincount(groups, minlength=size).astype(np.int64)
    return np.bincount(groups, weights=counts, minlength=size).astype(np.int64)


def _union(parts: Sequence[ColumnProfile]) -> Registers:
    registers = np.zeros(REGISTERS, dtype=np.uint8)
    for part in parts:
        if part.registers is not None:
            np.maximum(registers, part.registers, out=registers)
    return registers


def _sum(counts: Iterable[Ints | None]) -> Ints | None:
    total: Ints | None = None
    for one in counts:
        if one is not None:
            total = one if total is None else total + one
    return total


# --- to bytes and back -----------------------------------------------------------------------------------


class PackedColumn(msgspec.Struct, omit_defaults=True):
    """A ColumnProfile as plain values, for msgpack. Names are short: there is one of these per column and hour."""

    k: str
    c: float = 0.0
    known: tuple[str, ...] = ()
    n: int = 0
    nulls: int = 0
    nans: int = 0
    inf: int = 0
    zeros: int = 0
    whole: int = 0
    pairs: int = 0
    rep: int = 0
    min: float | int | None = None
    max: float | int | None = None
    off: float = 0.0
    m2: float = 0.0
    bins: list[Any] | None = None
    val: list[Any] | None = None
    cat: tuple[tuple[str, ...], list[Any]] | None = None
    hll: list[Any] | None = None
    buck: list[Any] | None = None
    kc: list[Any] | None = None
    h24: list[Any] = []
    wd: list[Any] = []


def pack_column(column: ColumnProfile) -> PackedColumn:
    """The column as plain values, the same bytes for the same content."""
    packed = PackedColumn(
        k=column.kind,
        c=column.centre,
        known=column.known,
        n=column.n,
        nulls=column.nulls,
        nans=column.nans,
        inf=column.infinities,
        zeros=column.zeros,
        whole=column.wholes,
        pairs=column.pairs,
        rep=column.repeats,
        min=column.min,
        max=column.max,
        off=column.offset,
        m2=column.m2,
    )
    if column.values is not None:  # bins, hours and weekdays follow from them
        packed.val = _pack_pairs(*column.values)
    elif column.bins is not None:
        bins = column.bins
        within = None if bins.within is None else sketches.pack_counts(bins.within)
        packed.bins = [bins.width, within, *_pack_pairs(bins.keys.astype(np.int64), bins.counts)]
    if column.categories is not None:
        names = sorted(column.categories)
        counts = np.array([column.categories[name] for name in names], dtype=np.int64)
        packed.cat = (tuple(names), sketches.pack_counts(counts))
    if column.values is None and column.hours is not None and column.weekdays is not None:
        packed.h24, packed.wd = sketches.pack_counts(column.hours), sketches.pack_counts(column.weekdays)
    packed.hll, packed.buck, packed.kc = (
        None if array is None else sketches.pack_counts(array)
        for array in (column.registers, column.buckets, column.known_counts)
    )
    return packed


def unpack_column(packed: PackedColumn) -> ColumnProfile:
    """The column that `pack_column` packed, bit for bit."""
    kind: Kind = packed.k  # type: ignore[assignment]  # written by pack_column from a Kind
    facts: dict[str, Any] = {}
    categories = None
    if packed.val is not None:
        values = Values(*_unpack_pairs(packed.val, np.float64 if kind == "number" else np.int64))
        facts = {"values": values, **binned(kind, packed.c, *values)}
    elif packed.bins is not None:
        width, within, *pairs = packed.bins
        keys, counts = _unpack_pairs(pairs, np.int64)
        if width:
            facts["bins"] = Bins(keys, counts, width=width)
            facts |= {
                name: sketches.unpack_counts(one) for name, one in (("hours", packed.h24), ("weekdays", packed.wd))
            }
        else:
            facts["bins"] = Bins(keys.astype(np.uint16), counts, sketches.unpack_counts(within))
    if packed.cat is not None:
        names, counts_packed = packed.cat
        categories = dict(zip(names, sketches.unpack_counts(counts_packed).tolist(), strict=True))
    buckets, known_counts = (None if one is None else sketches.unpack_counts(one) for one in (packed.buck, packed.kc))
    return ColumnProfile(
        kind=kind,
        centre=packed.c,
        known=packed.known,
        n=packed.n,
        nulls=packed.nulls,
        nans=packed.nans,
        infinities=packed.inf,
        zeros=packed.zeros,
        wholes=packed.whole,
        pairs=packed.pairs,
        repeats=packed.rep,
        min=packed.min,
        max=packed.max,
        offset=packed.off,
        m2=packed.m2,
        categories=categories,
        registers=None if packed.hll is None else sketches.unpack_counts(packed.hll).astype(np.uint8),
        buckets=buckets,
        known_counts=known_counts,
        **facts,
    )


def _pack_pairs(places: npt.NDArray[Any], counts: Ints) -> list[Any]:
    return [sketches.pack_sorted(places), sketches.pack_counts(counts)]


def _unpack_pairs(packed: list[Any], dtype: type[np.int64] | type[np.float64]) -> tuple[npt.NDArray[Any], Ints]:
    return sketches.unpack_sorted(packed[0], dtype), sketches.unpack_counts(packed[1])

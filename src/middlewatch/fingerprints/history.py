"""What a column usually looks like: its own past windows, summarised once.

`NumberPast` and `CategoryPast` hold the past values of one column with everything that is compared across
windows: distances of each past window to all the others (leave one out), the value lattice, null shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

import middlewatch.fingerprints.thresholds as limits

from .lattice import Lattice, lattice_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def hellinger(now: npt.NDArray[np.float64 | np.int64], reference: npt.NDArray[np.float64 | np.int64]) -> float:
    """Squared Hellinger distance of two rows of counts, less what chance alone gives; 0 for empty ones."""
    n, m = float(now.sum()), float(reference.sum())
    if n == 0 or m == 0:
        return 0.0
    used = int(np.count_nonzero((now > 0) | (reference > 0)))
    distance = 1.0 - float(np.sqrt((now / n) * (reference / m)).sum())
    return max(distance - (used - 1) / 8.0 * (1.0 / n + 1.0 / m), 0.0)


def left_out(counts: npt.NDArray[np.int64]) -> Floats:
    """Distance of each window (row of `counts`) to the sum of the others."""
    total = counts.sum(axis=0)
    return np.array([hellinger(row, total - row) for row in counts])


def wasserstein(a: Floats, b: Floats) -> float:
    """Mean distance of the quantiles of two samples, in their unit."""
    return float(np.abs(quantiles(a) - quantiles(b)).mean()) if len(a) and len(b) else 0.0


def typical(values: Floats) -> float:
    """The median size of the values that are not zero; 0 where there are none."""
    sizes = np.abs(values[values != 0])
    return float(np.median(sizes)) if len(sizes) else 0.0


def quantiles(values: Floats) -> Floats:
    """200 evenly spaced quantiles."""
    return np.quantile(values, (np.arange(200) + 0.5) / 200)


@dataclass(frozen=True)
class NumberPast:
    """Past values of a number column: `windows[w]` holds the finite values, `nulls[w]` the null share."""

    windows: tuple[Floats, ...]
    nulls: Floats

    @staticmethod
    def of(raw: Sequence[Floats]) -> NumberPast:
        """From windows with NaN for null."""
        finite = tuple(one[np.isfinite(one)] for one in raw)
        nulls = np.array([1.0 - len(kept) / max(len(one), 1) for kept, one in zip(finite, raw, strict=True)])
        return NumberPast(finite, nulls)

    @cached_property
    def pooled(self) -> Floats:
        """All past values, sorted."""
        return np.sort(np.concatenate(self.windows)) if self.windows else np.empty(0)

    @cached_property
    def _values(self) -> tuple[Floats, Ints, Floats, Floats]:
        """Distinct values; in how many windows each occurs; its largest and second largest share of a window."""
        parts = [np.unique(one, return_counts=True) for one in self.windows]
        if not parts or not len(self.pooled):
            empty = np.empty(0)
            return empty, np.empty(0, np.int64), empty, empty
        values = np.concatenate([found for found, _ in parts])
        shares = np.concatenate([counts / max(counts.sum(), 1) for _, counts in parts])
        order = np.lexsort((-shares, values))
        values, shares = values[order], shares[order]
        distinct, first, windows = np.unique(values, return_index=True, return_counts=True)
        second = np.where(windows > 1, shares[np.minimum(first + 1, len(shares) - 1)], 0.0)
        return distinct, windows.astype(np.int64), shares[first], second

    @property
    def distinct(self) -> Floats:
        """Every value ever seen, sorted."""
        return self._values[0]

    def top_shares(self, values: Floats) -> Floats:
        """The largest share of a past window that each value had."""
        distinct, _, top, _ = self._values
        if not len(distinct):
            return np.zeros(len(values))
        at = np.minimum(np.searchsorted(distinct, values), len(distinct) - 1)
        return np.where(distinct[at] == values, top[at], 0.0)

    def worst_sustained(self, length: int) -> float:
        """The most that one not always frequent value ever kept up over its usual share, in `length` rows."""
        length = max(length // 25, 1) * 25  # near enough, and seldom asked twice for nearly the same
        if length not in self._bursts:
            worst = 0.0
            distinct, usual = self.distinct, self.usual_shares
            rare = usual <= limits.FREQUENT
            for one in self.windows:
                if len(one) < limits.MIN_ROWS:
                    continue
                values, counts = np.unique(one, return_counts=True)
                at_all = np.searchsorted(distinct, values)
                gained = (counts / len(one) - usual[at_all]) * rare[at_all]
                starts = np.unique(np.linspace(0, max(len(one) - length, 0), 5).astype(np.int64))
                for at in np.argsort(-gained, kind="stable")[:4]:
                    hits = one == values[at]
                    parts = [sustained(hits[start : start + length]) - usual[at_all[at]] for start in starts]
                    worst = max(worst, *parts) if gained[at] > 0 else worst
            self._bursts[length] = worst
        return self._bursts[length]

    @cached_property
    def worst_excess(self) -> float:
        """The most that one not always frequent value ever gained in a window over its usual share."""
        usual = self.usual_shares
        gained = (self._values[2] - usual)[usual <= limits.FREQUENT]
        return float(gained.max()) if len(gained) else 0.0

    def usual_share(self, value: float) -> float:
        """Share of all past values that one value holds."""
        at = int(np.searchsorted(self.distinct, value))
        return float(self.usual_shares[at]) if at < len(self.distinct) and self.distinct[at] == value else 0.0

    @cached_property
    def longest_run(self) -> int:
        """The most rows in a row that ever had one and the same value."""
        longest = 0
        for one in self.windows:
            changes = np.flatnonzero(np.diff(one) != 0)
            ends = np.concatenate([[-1], changes, [len(one) - 1]])
            longest = max(longest, int(np.diff(ends).max()) if len(one) else 0)
        return longest

    def worst_part(self, length: int) -> float:
        """The largest distance of any stretch of `length` values inside a past window to the whole past."""
        if length not in self._parts:
            total = self.counts.sum(axis=0)
            worst = self.worst_shape
            for one in self.windows:
                for at in np.linspace(0, max(len(one) - length, 0), 5).astype(np.int64):
                    part = one[at : at + length]
                    if len(part) >= limits.MIN_ROWS:
                        worst = max(worst, hellinger(self.binned(part), total))
            self._parts[length] = worst
        return self._parts[length]

    @cached_property
    def _parts(self) -> dict[int, float]:
        return {}

    @cached_property
    def _bursts(self) -> dict[int, float]:
        return {}

    @cached_property
    def usual_shares(self) -> Floats:
        """Share of all past values that each distinct value holds."""
        return np.unique(self.pooled, return_counts=True)[1] / max(len(self.pooled), 1)

    @cached_property
    def novelty(self) -> Floats:
        """Per window: share of values that occur in no other window."""
        distinct, windows, _, _ = self._values
        return np.array(
            [float((windows[np.searchsorted(distinct, one)] == 1).mean()) if len(one) else 0.0 for one in self.windows]
        )

    @cached_property
    def lattice(self) -> Lattice | None:
        """Where its values lie, None where they lie anywhere."""
        return lattice_of(self.windows, self.pooled, self.distinct, self.novelty)

    @cached_property
    def _ends(self) -> Floats:
        """(windows, 2): least and largest value of each; NaN for an empty one."""
        return np.array([[one.min(), one.max()] if len(one) else [np.nan, np.nan] for one in self.windows])

    def worst_outside(self, reach: float) -> float:
        """The largest share of a past window outside everything seen in the others, widened by `reach` ranges."""
        worst = 0.0
        for w, one in enumerate(self.windows):
            others = np.delete(self._ends, w, axis=0)
            if len(one) and not np.isnan(others).all():
                low, high = float(np.nanmin(others[:, 0])), float(np.nanmax(others[:, 1]))
                by = reach * (high - low)
                worst = max(worst, float(((one < low - by) | (one > high + by)).mean()))
        return worst

    def outside(self, values: Floats, reach: float = limits.FAR) -> Mask:
        """Which values lie outside everything seen, widened by `reach` ranges."""
        by = reach * max(self.high - self.low, 1e-12)
        return (values < self.low - by) | (values > self.high + by)

    @cached_property
    def tail(self) -> NumberPast:
        """The second halves of the windows, a history for changes that began in the middle."""
        return NumberPast(tuple(one[len(one) // 2 :] for one in self.windows), self.nulls)

    def seen(self, values: Floats) -> Mask:
        """Which values were seen before, to the last digit."""
        if not len(self.distinct):
            return np.zeros(len(values), bool)
        at = np.minimum(np.searchsorted(self.distinct, values), len(self.distinct) - 1)
        found: Mask = self.distinct[at] == values
        return found

    def seen_elsewhere(self, values: Floats) -> Mask:
        """Which values of a past window occur in another one too."""
        distinct, windows, _, _ = self._values
        if not len(distinct):
            return np.zeros(len(values), bool)
        at = np.minimum(np.searchsorted(distinct, values), len(distinct) - 1)
        found: Mask = (distinct[at] == values) & (windows[at] > 1)
        return found

    @cached_property
    def edges(self) -> Floats:
        """Bin edges: 16 quantiles, each heavy value a bin of its own; below and above are the outer bins."""
        return edges_of(self.pooled, 16)

    def binned(self, values: Floats) -> Ints:
        return np.bincount(np.searchsorted(self.edges, values, side="right"), minlength=len(self.edges) + 1)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        return np.array([self.binned(one) for one in self.windows])

    @cached_property
    def worst_shape(self) -> float:
        """The largest distance of a past window to the others, at least the floor."""
        usable = [d for d, one in zip(left_out(self.counts), self.windows, strict=True) if len(one) >= limits.MIN_ROWS]
        return float(max([limits.SHAPE_FLOOR, *usable]))

    def shape(self, values: Floats) -> float:
        """Distance of `values` to all past windows together."""
        return hellinger(self.binned(values), self.counts.sum(axis=0))

    def ratio(self, values: Floats) -> float:
        """|log| of the factor between the typical size of some values and of all past ones; 0 where there is none."""
        usual, now = self._typical, typical(values)
        return abs(float(np.log(now / usual))) if usual > 0 and now > 0 else 0.0

    @cached_property
    def _typical(self) -> float:
        return typical(self.pooled)

    @cached_property
    def worst_ratio(self) -> float:
        """The largest such factor of a past window, infinite where values have no size."""
        logs = [self.ratio(one) for one in self.windows if len(one) >= limits.MIN_ROWS]
        return max([limits.RATIO_FLOOR, *logs]) if self._typical > 0 else float("inf")

    @cached_property
    def low(self) -> float:
        return float(self.pooled[0]) if len(self.pooled) else 0.0

    @cached_property
    def high(self) -> float:
        return float(self.pooled[-1]) if len(self.pooled) else 0.0


def worst_stretch(past_hits: Sequence[Mask], length: int, rows: int = 0) -> float:
    """The largest share of hits in any run of `length` rows inside one past window (all of it where shorter).

    `rows` are those of the window that the run is a part of: where it has more rows than a past one, as long a time
    was fewer rows then.
    """
    worst = 0.0
    for hits in past_hits:
        if not len(hits):
            continue
        size = min(length, len(hits))
        if rows > len(hits):
            size = min(size, max(length * len(hits) // rows, limits.RATE_ROWS))
        sums = np.concatenate([[0], np.cumsum(hits)])
        worst = max(worst, float((sums[size:] - sums[:-size]).max()) / size)
    return worst


def sustained(hits: Mask) -> float:
    """The share of hits that most of 8 blocks keep up: a burst has a high share in few blocks, a fill in all."""
    if len(hits) < 8:
        return float(hits.mean()) if len(hits) else 0.0
    sums = np.concatenate([[0], np.cumsum(hits)])
    ends = np.linspace(0, len(hits), 9).astype(np.int64)
    shares = np.sort(np.diff(sums[ends]) / np.diff(ends))
    return float(0.25 * shares[1] + 0.75 * shares[2])  # their first quartile


def edges_of(pooled: Floats, bins: int) -> Floats:
    """Edges at the quantiles of sorted values; values that hold over 1/bins of the mass are fenced on both sides."""
    if not len(pooled):
        return np.empty(0)
    at = np.linspace(0, len(pooled) - 1, bins + 1).astype(np.int64)
    cuts = pooled[at]
    values, times = np.unique(cuts, return_counts=True)
    heavy = values[times > 1]
    last = np.nextafter(pooled[-1], np.inf)
    return np.unique(np.concatenate([cuts, heavy, np.nextafter(heavy, np.inf), [last]]))


@dataclass(frozen=True)
class CategoryPast:
    """Past values of a column of words: `names` sorted, `counts[w, k]`, `nulls[w]`."""

    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    nulls: Floats

    @staticmethod
    def of(raw: Sequence[Sequence[str | None]]) -> CategoryPast:
        names = tuple(sorted({value for one in raw for value in one if value is not None}))
        index = {name: k for k, name in enumerate(names)}
        counts = np.zeros((len(raw), len(names)), np.int64)
        nulls = np.zeros(len(raw))
        for w, one in enumerate(raw):
            codes = np.array([index[value] for value in one if value is not None], np.int64)
            counts[w] = np.bincount(codes, minlength=len(names))
            nulls[w] = 1.0 - len(codes) / max(len(one), 1)
        return CategoryPast(names, counts, nulls)

    @cached_property
    def shares(self) -> Floats:
        """Share of each value in each window, of its non-null rows."""
        shares: Floats = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return shares

    @cached_property
    def novelty(self) -> Floats:
        """Per window: share of rows whose value occurs in no other window."""
        alone = (self.counts > 0).sum(axis=0) == 1
        rates: Floats = self.shares[:, alone].sum(axis=1)
        return rates

    @cached_property
    def worst_excess(self) -> float:
        """The most that one value ever gained in a window over its share in every other window."""
        if len(self.shares) < 2 or not len(self.names):
            return 0.0
        ranked = np.sort(self.shares, axis=0)
        return float((ranked[-1] - ranked[-2]).max())

    @cached_property
    def worst_shape(self) -> float:
        usable = [d for d, row in zip(left_out(self.counts), self.counts, strict=True) if row.sum() >= limits.MIN_ROWS]
        return float(max([limits.SHAPE_FLOOR, *usable]))

    def counted(self, values: Sequence[str | None]) -> npt.NDArray[np.int64]:
        """Counts by known value, with the never seen ones last."""
        index = {name: k for k, name in enumerate(self.names)}
        codes = np.array([index.get(value, len(self.names)) for value in values if value is not None], np.int64)
        return np.bincount(codes, minlength=len(self.names) + 1)

    def shape(self, values: Sequence[str | None]) -> float:
        return hellinger(self.counted(values), np.append(self.counts.sum(axis=0), 0))

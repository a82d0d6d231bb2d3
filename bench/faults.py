"""Does `why` name the right cause? Faults played over data sets, and clean windows that must stay silent.

    python bench/faults.py [--rows 500,1000] [--clean 12] [--data flights,orders,seattle] [--json FILE] [--only WORD]

Fast path: windows go straight into `middlewatch.fingerprints`, without a server. Every fault is a function of
the rows alone; which columns it hits is written per data set, the fingerprints know neither. The baseline is
what is done by hand: rank columns by Jensen-Shannon distance to history, in units of the worst past window.
Windows are contiguous rows; the past is the same hours of the 28 days before. Onsets: start and middle.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from middlewatch import fingerprints
from middlewatch.fingerprints import thresholds
from middlewatch.fingerprints.history import NumberPast

Array = NDArray[Any]
Play = Callable[[pl.DataFrame, Array, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class Fault:
    """`columns`: any of them first is right; `kinds`: accepted "kind/form" beginnings."""

    name: str
    play: Play
    columns: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Stream:
    """One data set as a stream of scored rows with `mw.*` columns, and the faults played over it."""

    name: str
    rows: pl.DataFrame
    kinds: dict[str, str]
    score: Callable[[pl.DataFrame], Array]
    threshold: float | None
    faults: tuple[Fault, ...]


# -- faults: pure functions of the rows ------------------------------------------------------------------


def where(column: str, change: pl.Expr, *, share: float = 1.0, caller: str | None = None) -> Play:
    """Replace the affected rows' value by `change`; a random `share` of them, or of one caller."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        hit = mask & (rng.random(rows.height) < share)
        if caller is not None:
            hit &= (rows["mw.caller"] == caller).to_numpy()
        return rows.with_columns(pl.when(pl.lit(pl.Series(hit))).then(change).otherwise(pl.col(column)).alias(column))

    return play


def linear(
    column: str,
    slope: float,
    offset: float = 0.0,
    digits: int | None = None,
    *,
    share: float = 1.0,
    caller: str | None = None,
) -> Play:
    change = pl.col(column).cast(pl.Float64) * slope + offset
    return where(column, change if digits is None else change.round(digits), share=share, caller=caller)


def renamed(column: str, mapping: dict[str, str]) -> Play:
    return where(column, pl.col(column).replace(mapping))


def recoded(column: str) -> Play:
    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        names = rows[column].drop_nulls().unique().sort().to_list()
        codes = rng.permutation(len(names))
        return where(column, pl.col(column).replace(dict(zip(names, (str(c) for c in codes), strict=True))))(
            rows, mask, rng
        )

    return play


def permuted(column: str, top: int) -> Play:
    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        names = rows[column].drop_nulls().value_counts(sort=True)[column].head(top).to_list()
        return where(column, pl.col(column).replace(dict(zip(names, [*names[1:], names[0]], strict=True))))(
            rows, mask, rng
        )

    return play


def swapped(a: str, b: str) -> Play:
    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        hit, x, y = pl.lit(pl.Series(mask)), pl.col(a), pl.col(b)
        if rows.schema[a].is_numeric():
            x, y = x.cast(pl.Float64), y.cast(pl.Float64)
        return rows.with_columns(pl.when(hit).then(y).otherwise(x).alias(a), pl.when(hit).then(x).otherwise(y).alias(b))

    return play


def lost(column: str, value: str) -> Play:
    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        return rows.filter(~pl.Series(mask) | (pl.col(column) != value).fill_null(True))

    return play


def doubled(share: float) -> Play:
    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        again = np.flatnonzero(mask & (rng.random(rows.height) < share))
        doubled: pl.DataFrame = rows[np.sort(np.concatenate([np.arange(rows.height), again])).tolist()]
        return doubled

    return play


def frozen(*columns: str) -> Play:
    """A feed that stands still: each affected row gets the value of the last good row of its like (`by`)."""

    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        by = "origin" if "origin" in rows.columns else "mw.caller"
        first = int(np.flatnonzero(mask)[0])
        last = rows[: max(first, 40)].group_by(by, maintain_order=True).agg(pl.col(columns).last().name.prefix("last."))
        joined = rows.join(last, on=by, how="left", maintain_order="left")
        hit = pl.lit(pl.Series(mask))
        return joined.with_columns(
            pl.when(hit).then(pl.col(f"last.{c}")).otherwise(pl.col(c)).alias(c) for c in columns
        ).select(rows.columns)

    return play


def shuffled(column: str) -> Play:
    def play(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
        at = np.arange(rows.height)
        at[mask] = rng.permutation(at[mask])
        return rows.with_columns(rows[column].gather(at))

    return play


def standardised(column: str, mean: float, sd: float) -> Play:
    return linear(column, 1 / sd, -mean / sd)


# -- data sets -------------------------------------------------------------------------------------------


def fit(
    rows: pl.DataFrame, kinds: dict[str, str], target: str, *, regression: bool = False
) -> Callable[[pl.DataFrame], Array]:
    """A small LightGBM model with its own plain encoding: the bench is about causes, not about models."""
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
    return lambda frame: np.asarray(booster.predict(encode(frame), num_threads=2))


def meta(rows: pl.DataFrame, times: str, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    caller = rng.choice(["app", "billing-api/4.2", "batch"], rows.height, p=[0.6, 0.3, 0.1])
    return rows.sort(times, maintain_order=True).with_columns(
        pl.col(times).alias("mw.time"), pl.Series("mw.caller", caller), pl.lit("v1").alias("mw.version")
    )


def flights() -> Stream:
    from middlewatch.flights import load

    table = load()
    kinds = dict.fromkeys(("carrier", "origin", "dest"), "category")
    kinds |= dict.fromkeys(("sched_hour", "distance", "plane_year", "seats"), "whole")
    kinds |= dict.fromkeys(("temp", "humid", "wind_speed", "precip", "visib"), "number")
    until = datetime(2013, 6, 1, tzinfo=UTC)
    model = fit(table.filter(pl.col("departs") < until).sample(60_000, seed=0), kinds, "late")
    rows = meta(table.filter(pl.col("departs") >= until - timedelta(days=30)), "departs", 1)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    f = Fault
    faults = (
        f("temp in °C", linear("temp", 1 / 1.8, -32 / 1.8), ("temp",), ("scale/unit",)),
        f("temp in °C, 1 digit", linear("temp", 1 / 1.8, -32 / 1.8, 1), ("temp",), ("scale/unit",)),
        f(
            "temp in °C, one caller",
            linear("temp", 1 / 1.8, -32 / 1.8, caller="billing-api/4.2"),
            ("temp",),
            ("scale/unit",),
        ),
        f("temp in K", linear("temp", 1 / 1.8, 273.15 - 32 / 1.8), ("temp",), ("scale/unit",)),
        f("distance in km", linear("distance", 1.609344), ("distance",), ("scale/unit",)),
        f("distance in km, whole", linear("distance", 1.609344, 0, 0), ("distance",), ("scale/unit",)),
        f("distance in km, 30 % of rows", linear("distance", 1.609344, share=0.3), ("distance",), ("scale/unit",)),
        f("wind mph to m/s", linear("wind_speed", 1 / 2.236936), ("wind_speed",), ("scale/unit",)),
        f("wind mph to knots", linear("wind_speed", 1 / 1.150779), ("wind_speed",), ("scale/unit",)),
        f("humid percent to share", linear("humid", 0.01), ("humid",), ("scale/unit",)),
        f("seats x1000", linear("seats", 1000), ("seats",), ("scale/unit",)),
        f("distance x0.7", linear("distance", 0.7), ("distance",), ("scale/",)),
        f("distance scaled twice", standardised("distance", 1048, 735), ("distance",), ("scale/already_scaled",)),
        f("humid scaled twice", standardised("humid", 60, 19), ("humid",), ("scale/already_scaled",)),
        f("sign of temp", linear("temp", -1), ("temp",), ("scale/sign",)),
        f(
            "carrier lower case",
            where("carrier", pl.col("carrier").str.to_lowercase()),
            ("carrier",),
            ("categories/case_or_space",),
        ),
        f("origin with blanks", where("origin", pl.col("origin") + "  "), ("origin",), ("categories/case_or_space",)),
        f("EWR renamed", renamed("origin", {"EWR": "NWK"}), ("origin",), ("categories/renamed", "categories/recoded")),
        f(
            "DL renamed",
            renamed("carrier", {"DL": "Delta"}),
            ("carrier",),
            ("categories/renamed", "categories/recoded"),
        ),
        f("carrier recoded", recoded("carrier"), ("carrier",), ("categories/recoded",)),
        f("origin permuted", permuted("origin", 3), ("origin",), ("categories/permuted",)),
        f("carrier permuted", permuted("carrier", 5), ("carrier",), ("categories/permuted",)),
        f(
            "dest: small ones merged",
            where(
                "dest",
                pl.when(pl.col("dest").is_in(["ATL", "ORD", "LAX", "BOS", "MCO", "CLT", "SFO", "FLL"]))
                .then(pl.col("dest"))
                .otherwise(pl.lit("OTHER")),
            ),
            ("dest",),
            ("categories/merged", "categories/new"),
        ),
        f("new carrier in 8 %", where("carrier", pl.lit("ZZ"), share=0.08), ("carrier",), ("categories/new",)),
        f("temp and humid swapped", swapped("temp", "humid"), ("temp", "humid"), ("columns/swapped",)),
        f("origin and dest swapped", swapped("origin", "dest"), ("origin", "dest"), ("columns/swapped",)),
        f("distance and seats swapped", swapped("distance", "seats"), ("distance", "seats"), ("columns/swapped",)),
        f(
            "temp constant 60.08",
            where("temp", pl.lit(60.08)),
            ("temp",),
            (
                "fill/constant",
                "time/stale",
            ),
        ),
        f("plane_year constant 0", where("plane_year", pl.lit(0)), ("plane_year",), ("fill/constant",)),
        f("temp 0 in 30 %", where("temp", pl.lit(0.0), share=0.3), ("temp",), ("fill/",)),
        f("humid -999 in 5 %", where("humid", pl.lit(-999.0), share=0.05), ("humid",), ("fill/sentinel",)),
        f(
            "plane_year nulls are -1",
            where("plane_year", pl.col("plane_year").fill_null(-1)),
            ("plane_year",),
            (
                "fill/nulls_filled",
                "fill/sentinel",
            ),
        ),
        f(
            "plane_year nulls are 2001",
            where("plane_year", pl.col("plane_year").fill_null(2001)),
            ("plane_year",),
            ("fill/nulls_filled",),
        ),
        f("temp null in 5 %", where("temp", pl.lit(None), share=0.05), ("temp",), ("nulls",)),
        f("temp null in 20 %", where("temp", pl.lit(None), share=0.2), ("temp",), ("nulls",)),
        f("carrier null in 50 %", where("carrier", pl.lit(None), share=0.5), ("carrier",), ("nulls",)),
        f("seats null for one caller", where("seats", pl.lit(None), caller="billing-api/4.2"), ("seats",), ("nulls",)),
        f("temp in steps of 10", where("temp", (pl.col("temp") / 10).round() * 10), ("temp",), ("precision/rounded",)),
        f(
            "distance cut at 1000",
            where("distance", pl.col("distance").clip(upper_bound=1000)),
            ("distance",),
            ("precision/clipped",),
        ),
        f("JFK lost", lost("origin", "JFK"), ("origin",), ("rows/segment_lost",)),
        f("30 % of rows twice", doubled(0.3), (), ("rows/duplicates",)),
        f(
            "weather stands still",
            frozen("temp", "humid", "wind_speed", "precip", "visib"),
            ("temp", "humid", "wind_speed"),
            ("time/stale", "fill/constant"),
        ),
        f("hour in UTC (+4)", where("sched_hour", (pl.col("sched_hour") + 4) % 24), ("sched_hour",), ("time/zone",)),
        f("hour +1", where("sched_hour", (pl.col("sched_hour") + 1) % 24), ("sched_hour",), ("time/zone",)),
        f("distance shuffled", shuffled("distance"), ("distance",), ("relation",)),
    )
    return Stream("flights", rows, kinds, model, 0.4, faults)


def orders() -> Stream:
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
    risk = (
        0.8 * np.log(amount / 40)
        - 0.02 * (age - 40)
        - 0.0006 * tenure
        - 0.8 * (rating - 4)
        + 0.7 * (country == "PL")
        - 0.5 * (plan == "gold")
        - 0.6 * np.log(np.nan_to_num(income, nan=1500) / 2000)
        - 0.3 * np.log(weight / 5)
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
    words = {"noise": noise, "country": country, "plan": plan, "bad": bad}
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
    }
    model = fit(table.head(60_000), kinds, "bad")
    rows = meta(table.tail(75_000), "at", 2)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    f = Fault
    faults = (
        f("amount in cents", linear("amount", 100, 0, 0), ("amount",), ("scale/unit",)),
        f(
            "amount in cents, one caller",
            linear("amount", 100, 0, 0, caller="billing-api/4.2"),
            ("amount",),
            ("scale/unit",),
        ),
        f("amount x1.6 (currency)", linear("amount", 1.63, 0, 2), ("amount",), ("scale/",)),
        f("income per month, not year", linear("income", 1 / 12, 0, 2), ("income",), ("scale/unit",)),
        f("weight in pounds", linear("weight_kg", 2.20462, 0, 3), ("weight_kg",), ("scale/unit",)),
        f("tenure in weeks", linear("tenure_days", 1 / 7, 0, 2), ("tenure_days",), ("scale/unit",)),
        f("amount scaled twice", standardised("amount", 52, 45), ("amount",), ("scale/already_scaled",)),
        f("sign of amount", linear("amount", -1), ("amount",), ("scale/sign",)),
        f("age constant 0", where("age", pl.lit(0)), ("age",), ("fill/constant",)),
        f("rating 5 in 40 %", where("rating", pl.lit(5.0), share=0.4), ("rating",), ("fill/default",)),
        f(
            "income nulls are 0",
            where("income", pl.col("income").fill_null(0.0)),
            ("income",),
            ("fill/nulls_filled", "fill/sentinel"),
        ),
        f("age -1 in 6 %", where("age", pl.lit(-1), share=0.06), ("age",), ("fill/sentinel",)),
        f("income null in 40 %", where("income", pl.lit(None), share=0.4), ("income",), ("nulls",)),
        f("amount null in 10 %", where("amount", pl.lit(None), share=0.1), ("amount",), ("nulls",)),
        f("amount without cents", where("amount", pl.col("amount").round(0)), ("amount",), ("precision/rounded",)),
        f(
            "amount cut at 80",
            where("amount", pl.col("amount").clip(upper_bound=80)),
            ("amount",),
            ("precision/clipped",),
        ),
        f("amount and income swapped", swapped("amount", "income"), ("amount", "income"), ("columns/swapped",)),
        f(
            "plan renamed",
            renamed("plan", {"gold": "premium"}),
            ("plan",),
            ("categories/renamed", "categories/recoded"),
        ),
        f(
            "country in lower case",
            where("country", pl.col("country").str.to_lowercase()),
            ("country",),
            ("categories/case_or_space",),
        ),
        f("plan permuted", permuted("plan", 3), ("plan",), ("categories/permuted",)),
        f("country recoded", recoded("country"), ("country",), ("categories/recoded",)),
        f("DE lost", lost("country", "DE"), ("country",), ("rows/segment_lost",)),
        f("weight shuffled", shuffled("weight_kg"), ("weight_kg", "amount"), ("relation",)),
    )
    return Stream("orders", rows, kinds, model, 0.5, faults)


def seattle() -> Stream:
    """Four years of Seattle's weather, drawn to 400 rows a day from the same season: repeated values, seasons."""
    from vega_datasets import local_data

    table = pl.from_pandas(local_data.seattle_weather()).with_columns(
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
    model = fit(rows.head(40_000), kinds, "rain")
    rows = meta(rows.tail(45_000), "at", 3)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    f = Fault
    faults = (
        f("temp_max in °F", linear("temp_max", 1.8, 32, 1), ("temp_max",), ("scale/unit",)),
        f("rain in inches", linear("precipitation", 1 / 25.4, 0, 2), ("precipitation",), ("scale/unit",)),
        f("wind in km/h", linear("wind", 3.6, 0, 1), ("wind",), ("scale/unit",)),
        f("min and max swapped", swapped("temp_max", "temp_min"), ("temp_max", "temp_min"), ("columns/swapped",)),
        f("rain constant 0", where("precipitation", pl.lit(0.0)), ("precipitation",), ("fill/constant",)),
        f("temp_min 99 in 8 %", where("temp_min", pl.lit(99.0), share=0.08), ("temp_min",), ("fill/sentinel",)),
        f("temp_min null in 15 %", where("temp_min", pl.lit(None), share=0.15), ("temp_min",), ("nulls",)),
        f("temp_min whole", where("temp_min", pl.col("temp_min").round(0)), ("temp_min",), ("precision/rounded",)),
    )
    return Stream("seattle", rows, kinds, model, 0.5, faults)


STREAMS: dict[str, Callable[[], Stream]] = {"flights": flights, "orders": orders, "seattle": seattle}


# -- play ------------------------------------------------------------------------------------------------


def windows(stream: Stream, size: int, count: int, seed: int) -> Iterator[tuple[pl.DataFrame, list[pl.DataFrame]]]:
    """Contiguous windows at random times, each with the same hours of the 28 days before."""
    times = stream.rows["mw.time"]
    rng = np.random.default_rng(seed)
    first = int(times.search_sorted(times[0] + timedelta(days=29)))
    for start in rng.integers(first, stream.rows.height - size - 1, count):
        now = stream.rows[int(start) : int(start) + size]
        past = []
        for day in range(1, 29):
            at = int(times.search_sorted(now["mw.time"][0] - timedelta(days=day)))
            past.append(stream.rows[at : at + size])
        yield now, past


def matters(stream: Stream, now: pl.DataFrame, broken: pl.DataFrame, rows: int) -> bool:
    """Does the fault change predictions at all? (Other rows always matter.)"""
    if broken.height != now.height:
        return True
    was, came = now["mw.score"].to_numpy(), stream.score(broken)
    changed = np.abs(was - came)
    line = stream.threshold
    flips = float(np.mean((was >= line) != (came >= line))) if line is not None else 0.0
    spread = float(stream.rows["mw.score"].to_numpy().std())
    return bool(changed.sum() / rows > thresholds.EFFECT_SD * spread) or flips > thresholds.FLIPS


def baseline(case: fingerprints.Case) -> str:
    """The column with the largest Jensen-Shannon distance, in units of its worst past window."""

    def js(a: Array, b: Array) -> float:
        p, q = a / max(a.sum(), 1), b / max(b.sum(), 1)
        m = (p + q) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.where(p > 0, p * np.log(p / m), 0) + np.where(q > 0, q * np.log(q / m), 0)
        return float(np.sqrt(max(parts.sum() / 2, 0)))

    best = ("", -1.0)
    for column in case.kinds:
        past = case.past(column)
        if isinstance(past, NumberPast):
            values = case.numbers(column)
            now, counts = past.binned(values[np.isfinite(values)]), past.counts
        else:
            now, counts = past.counted(case.words(column)), np.pad(past.counts, ((0, 0), (0, 1)))
        missing = case.missing(column).sum()
        totals = np.array([w.height for w in case.history.windows])
        counts = np.column_stack([counts, np.round(past.nulls * totals)])
        now = np.append(now, missing)
        total = counts.sum(axis=0)
        worst = max(js(row, total - row) for row in counts)
        score = js(now, total) / max(worst, 0.02)
        if score > best[1]:
            best = (column, score)
    return best[0]


Say = Callable[[str], None]
Tally = dict[str, list[float]]
COLUMNS = (
    "data",
    "rows",
    "faults",
    "found",
    "column",
    "kind",
    "JS col",
    "more",
    "onset",
    "clean",
    "false",
    "drift",
    "cpu s",
)


def play_clean(case: fingerprints.Case, tally: Tally, say: Say) -> None:
    """A window in which nothing was planted: every named cause is a false one."""
    found = fingerprints.search(case)
    named = [one for one in found.causes if one.kind != "drift"]
    tally["false"].append(len(named))
    tally["drift"].append(len(found.causes) - len(named))
    for one in found.causes:
        at = case.now["mw.time"][0].strftime("%m-%d %H:%M")
        say(f"  FALSE {case.rows} {at} {one.confidence} {one.kind}/{one.form} x{one.strength:.1f} {one.detail}")


def play_fault(fault: Fault, case: fingerprints.Case, onset: datetime | None, tally: Tally, say: Say) -> None:
    """A planted fault: is anything found, is the right column first, is its kind right, is the onset dated?"""
    begun = time.process_time()
    found = fingerprints.search(case)
    tally["cpu s"].append(time.process_time() - begun)
    first = found.causes[0] if found.causes else None
    column = first is not None and (first.column in fault.columns if fault.columns else not first.columns)
    kind = column and first is not None and f"{first.kind}/{first.form}".startswith(fault.kinds)
    tally["found"].append(first is not None)
    tally["column"].append(column)
    tally["kind"].append(kind)
    tally["more"].append(max(len(found.causes) - 1, 0))
    if fault.columns:
        tally["JS col"].append(baseline(case) in fault.columns)
    if first is not None:
        tally[first.confidence].append(kind)
        if kind and first.since is not None and onset is not None:
            times = case.now["mw.time"]
            tally["onset"].append(abs(int(times.search_sorted(first.since)) - int(times.search_sorted(onset))))
    if not kind:
        seen = "; ".join(f"{one.confidence} {one.kind}/{one.form} {one.columns}" for one in found.causes) or "nothing"
        quiet = "; ".join(f"{one.kind}/{one.form} {one.columns}" for one in found.harmless)
        when = "from the start" if onset is None else "from the middle"
        say(f"  MISS {case.rows} {when}: {fault.name}: {seen}" + (f" | harmless: {quiet}" if quiet else ""))


def play_harmless(fault: Fault, case: fingerprints.Case, tally: Tally, say: Say) -> None:
    """A fault that changes no prediction in this window: another column must not be blamed for it."""
    named = [one for one in fingerprints.search(case).causes if one.column not in fault.columns]
    tally["quiet"].append(not named)
    for one in named:
        say(f"  NO EFFECT {case.rows} {fault.name}: {one.confidence} {one.kind}/{one.form} {one.columns}")


def play(stream: Stream, size: int, clean: int, only: str, seed: int, say: Say) -> Tally:
    """All faults of a stream, each on its own window, from the start and from the middle; and clean windows."""
    tally: Tally = defaultdict(list)
    drawn = list(windows(stream, size, max(len(stream.faults), clean), seed=size + seed))
    histories = [fingerprints.History(past, stream.kinds) for _, past in drawn]
    for k in range(0 if only else clean):
        play_clean(fingerprints.Case(drawn[k][0], histories[k], stream.score, stream.threshold), tally, say)
    for k, fault in enumerate(stream.faults):
        for onset in (0.0, 0.5) if only in fault.name else ():
            now = drawn[k][0]
            start = int(onset * size)
            broken = fault.play(now, np.arange(size) >= start, np.random.default_rng(k))
            scored = broken.with_columns(pl.Series("mw.score", stream.score(broken)))
            case = fingerprints.Case(scored, histories[k], stream.score, stream.threshold)
            if matters(stream, now, broken, size - start):
                play_fault(fault, case, now["mw.time"][start] if onset else None, tally, say)
            else:
                play_harmless(fault, case, tally, say)
    return tally


def shown(name: str, size: int, tally: Tally) -> str:
    """One line of the table."""
    mean = {key: float(np.mean(values)) for key, values in tally.items() if values}
    cells = [f"{name:9}", f"{size:6}", f"{len(tally['found']):7}"]
    cells += [f"{mean.get(key, 0.0):7.0%}" for key in ("found", "column", "kind", "JS col")]
    cells += [f"{mean.get('more', 0.0):7.2f}", f"{float(np.median(tally['onset'] or [0.0])):7.0f}"]
    cells += [f"{len(tally['false']):7}", *(f"{mean.get(key, 0.0):7.2f}" for key in ("false", "drift", "cpu s"))]
    return "".join(cells)


def words(tally: Tally) -> str:
    """How often each word of confidence was right, and faults without effect quiet."""
    parts = [
        f"{word}: right {float(np.mean(tally[word])):.0%} of {len(tally[word])}"
        for word in ("certain", "likely", "possible")
        if tally[word]
    ]
    if tally["quiet"]:
        parts.append(f"no effect: nobody else blamed in {float(np.mean(tally['quiet'])):.0%} of {len(tally['quiet'])}")
    return f"{'':15}" + "; ".join(parts)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--rows", default="500,1000")
    options.add_argument("--clean", type=int, default=12, help="clean windows per data set and size")
    options.add_argument("--data", default="flights,orders,seattle")
    options.add_argument("--only", default="", help="faults whose name holds this")
    options.add_argument("--seed", type=int, default=0, help="other windows")
    options.add_argument("--json", default="")
    options.add_argument("--quiet", action="store_true", help="the table alone")
    given = options.parse_args()
    results = []
    everything: Tally = defaultdict(list)
    print(f"{COLUMNS[0]:9}{COLUMNS[1]:>6}" + "".join(f"{one:>7}" for one in COLUMNS[2:]))
    for name in given.data.split(","):
        stream = STREAMS[name]()
        for size in (int(one) for one in given.rows.split(",")):
            lines: list[str] = []
            tally = play(stream, size, given.clean, given.only, given.seed, lines.append)
            print(shown(name, size, tally), words(tally), *([] if given.quiet else lines), sep="\n", flush=True)
            for key, values in tally.items():
                everything[key] += values
            results.append({"data": name, "rows": size, **{k: float(np.mean(v)) for k, v in tally.items() if v}})
    print(shown("all", 0, everything), words(everything), sep="\n")
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()

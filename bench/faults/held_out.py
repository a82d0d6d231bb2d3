"""Data sets kept apart: nobody looked at their faults while fingerprints were written or changed."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from faults.streams import Stream, fit, meta, spread, wheel


def bikes(folder: Path) -> Stream:
    """Hourly bike rental with weather, drawn to 900 rows a day from days of the same season."""
    table = pl.read_csv(io.BytesIO(wheel(folder, "islp", "ISLP/data/Bikeshare.csv")), infer_schema_length=None)
    kinds = {"hr": "whole", "temp": "number", "atemp": "number", "hum": "number", "windspeed": "number"}
    kinds |= {"weathersit": "category", "workingday": "boolean"}
    table = table.with_columns(pl.col("workingday") == 1, (pl.col("bikers") > 120).cast(pl.Int64).alias("busy"))
    rng = np.random.default_rng(11)
    ordinal, hours = table["day"].to_numpy(), table["hr"].to_numpy()
    start = datetime(2026, 3, 1, tzinfo=UTC)
    parts = []
    for d in range(75):
        season = (start + timedelta(days=d)).timetuple().tm_yday
        near = np.flatnonzero(np.abs((ordinal - season + 182) % 365 - 182) <= 10)
        chosen = rng.choice(near, 900)
        second = hours[chosen] * 3600 + rng.integers(0, 3600, 900)
        at = pl.Series("at", [start + timedelta(days=d, seconds=int(s)) for s in second])
        parts.append(table[chosen].with_columns(at.cast(pl.Datetime("us", "UTC"))).sort("at"))
    rows = pl.concat(parts)
    model, add = fit(rows.head(30_000), kinds, "busy")
    rows = meta(rows.tail(45_000), "at", 6)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    return Stream("bikes", rows, kinds, model, add, 0.5, hours=("hr",), target="busy")


def diamonds(folder: Path) -> Stream:
    """Stones with sizes and grades in a chance order; the price is predicted."""
    table = pl.read_csv(io.BytesIO(wheel(folder, "plotnine", "plotnine/data/diamonds.csv")), infer_schema_length=None)
    kinds = dict.fromkeys(("carat", "depth", "table", "x", "y", "z"), "number")
    kinds |= dict.fromkeys(("cut", "color", "clarity"), "category")
    table = table.sample(fraction=1.0, shuffle=True, seed=8).with_columns(pl.col("price").cast(pl.Float64))
    rows = spread(table, 1100, datetime(2026, 4, 1, tzinfo=UTC))
    model, add = fit(rows.head(12_000), kinds, "price", regression=True)
    rows = meta(rows.tail(41_000), "at", 7)
    return Stream(
        "diamonds", rows.with_columns(pl.Series("mw.score", model(rows))), kinds, model, add, None, target="price"
    )


def delays(folder: Path) -> Stream:
    """Half a year of flights over the whole country, 270 a day in their own order: how late they left."""
    data = gzip.decompress(wheel(folder, "popmon", "popmon/test_data/flight_delays.csv.gz"))
    table = pl.read_csv(io.BytesIO(data), try_parse_dates=True).drop_nulls(("DEPARTURE_DELAY", "AIR_TIME"))
    kinds = dict.fromkeys(("TAXI_OUT", "AIR_TIME"), "number") | {"DISTANCE": "whole", "AIRLINE": "category"}
    rng = np.random.default_rng(12)
    late = (pl.col("DEPARTURE_DELAY") > 15).cast(pl.Int64)
    minute = pl.Series("minute", rng.integers(300, 1380, table.height))
    at = pl.col("DATE").cast(pl.Datetime("us", "UTC")) + pl.duration(minutes=pl.col("minute"))
    rows = table.with_columns(minute).with_columns(at.alias("at"), late.alias("late")).sort("at")
    model, add = fit(rows.head(16_000), kinds, "late")
    rows = meta(rows.tail(34_000), "at", 9)
    rows = rows.with_columns(pl.Series("mw.score", model(rows)))
    return Stream("delays", rows, kinds, model, add, 0.2, target="late")


HOLD_OUT: dict[str, Callable[[Path], Stream]] = {
    "bikes": bikes,
    "diamonds": diamonds,
    "delays": delays,
}

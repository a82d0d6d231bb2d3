"""What a profile costs: CPU of all threads, against reading alone and against peers where they are installed.

    python bench/data.py [--rows 1000000] [--runs 3] [--peers]

The table is written once to a temporary folder: 12 columns, Parquet, zstd, row groups of 131,072 rows; four floats
of which two have more than 10,000 distinct values, three whole numbers, a boolean, categories of 5, 50 and 5,000, and
a time. Figures are medians of several runs, all in this one process; only figures of one run compare.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from middlewatch import tables
from middlewatch.profiles import (
    ColumnSpec,
    Kind,
    Profile,
    ProfileSpec,
    merge,
    profile,
    profile_groups,
    profile_stream,
)

KINDS: dict[str, Kind] = {
    "fare": "number",
    "temp": "number",
    "rain": "number",
    "score": "number",
    "seats": "whole",
    "distance": "whole",
    "customer": "whole",
    "late": "boolean",
    "carrier": "category",
    "origin": "category",
    "route": "category",
    "departs": "time",
}
SPEC = ProfileSpec(tuple(ColumnSpec(name, kind) for name, kind in KINDS.items()))


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    """The benchmark's table: every kind of column, nulls in two, in the order of its times."""
    rng = np.random.default_rng(seed)
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**6
    span = 180 * 86_400 * 10**6
    temp = pl.Series("temp", np.round(rng.normal(15, 8, rows), 1))
    frame = pl.DataFrame(
        {
            "fare": rng.lognormal(3, 1, rows),
            "rain": np.where(rng.random(rows) < 0.9, 0.0, np.round(rng.exponential(2, rows), 2)),
            "score": rng.random(rows),
            "seats": rng.integers(20, 400, rows),
            "distance": rng.integers(80, 5000, rows),
            "customer": rng.integers(0, 200_000, rows),
            "late": rng.random(rows) < 0.2,
            "departs": pl.Series(np.sort(rng.integers(start, start + span, rows) // 60_000_000 * 60_000_000)).cast(
                pl.Datetime("us", "UTC")
            ),
        }
    ).with_columns(temp)
    for name, size in (("carrier", 5), ("origin", 50), ("route", 5000)):
        names = pl.Series([f"{name[:2].upper()}{i:04d}" for i in range(size)])
        at = np.minimum(rng.zipf(1.3, rows) - 1, size - 1) if size > 5 else rng.integers(0, size, rows)
        frame = frame.with_columns(names.gather(at).alias(name))
    empty = pl.Series(rng.random(rows) < 0.03)
    frame = frame.with_columns(pl.when(~empty).then(pl.col(name)).alias(name) for name in ("temp", "origin"))
    return frame.select(list(KINDS))


def cpu(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU of all threads and wall time of one call, in seconds."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, ended - started


def median(work: Callable[[], Any], runs: int) -> tuple[float, float]:
    """Medians of `runs` calls, after one that is not counted."""
    work()
    figures = [cpu(work) for _ in range(runs)]
    return statistics.median(one[0] for one in figures), statistics.median(one[1] for one in figures)


def ours(path: Path, frame: pl.DataFrame, runs: int) -> list[tuple[str, float, float]]:
    """Rows of the result table: name, CPU and wall seconds."""
    lazy = tables.scan(path, base=path.parent).frame
    whole = profile_stream(tables.batches(lazy), SPEC)
    half = frame.height // 2
    parts = [profile(frame[:half], SPEC), profile(frame[half:], SPEC)]
    small = frame[:50]
    hourly = profile_groups(frame.head(200_000), pl.col("departs").dt.truncate("1h"), SPEC)
    day = list(hourly.values())[:24]
    data = whole.to_bytes()
    print(f"stored profile: {len(data):,} bytes; of an hour: {len(day[0].to_bytes()):,}; hours: {len(hourly)}")
    jobs: list[tuple[str, Callable[[], Any], float]] = [
        ("decode only", lambda: [batch.height for batch in tables.batches(lazy)], 1),
        ("profile, with reading", lambda: profile_stream(tables.batches(lazy), SPEC), 1),
        ("profile of 50 rows", lambda: [profile(small, SPEC) for _ in range(20)], 20),
        ("one of the hourly profiles", lambda: profile_groups(frame.head(200_000), HOUR, SPEC), len(hourly)),
        ("merge of two halves", lambda: [parts[0] + parts[1] for _ in range(20)], 20),
        ("merge of 24 hours", lambda: [merge(day) for _ in range(5)], 5),
        (f"merge of {len(hourly)} hours", lambda: merge(hourly.values()), 1),
        ("to bytes", lambda: [whole.to_bytes() for _ in range(5)], 5),
        ("from bytes", lambda: [Profile.from_bytes(data) for _ in range(5)], 5),
    ]
    found: list[tuple[str, float, float]] = []
    for name, work, times in jobs:
        used, wall = median(work, runs)
        found.append((name, used / times, wall / times))
    return found


HOUR = pl.col("departs").dt.truncate("1h")


def peers(path: Path, runs: int) -> list[tuple[str, float, float]]:
    """The same with other tools, where they are installed."""

    def describe() -> None:
        pl.read_parquet(path).describe()

    def summarize() -> None:
        duckdb.sql(f"SUMMARIZE SELECT * FROM '{path}'").fetchall()

    def evidently() -> None:
        pandas = pl.read_parquet(path).to_pandas()
        core.Report([presets.DataSummaryPreset()]).run(core.Dataset.from_pandas(pandas), None)

    def whylogs() -> None:
        why.log(pl.read_parquet(path).to_pandas()).view()

    found = [("polars describe", *median(describe, runs))]
    duckdb = _installed("duckdb")
    if duckdb is not None:
        found.append(("DuckDB SUMMARIZE", *median(summarize, runs)))
    core, presets = _installed("evidently"), _installed("evidently.presets")
    if core is not None and presets is not None:
        found.append(("evidently DataSummaryPreset", *cpu(evidently)))
    why = _installed("whylogs")
    if why is not None:
        found.append(("whylogs", *cpu(whylogs)))
    return found


def _installed(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        print(f"{name}: skipped, it cannot be imported here ({error})")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="compare with the peers that are installed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        frame = table(asked.rows)
        frame.write_parquet(path, compression="zstd", row_group_size=tables.BATCH)
        print(f"{asked.rows:,} rows x {frame.width} columns, {path.stat().st_size / 1e6:.1f} MB of Parquet")
        found = ours(path, frame, asked.runs) + (peers(path, asked.runs) if asked.peers else [])
    decode = found[0][1]
    print(f"{'job':32}{'CPU ms':>10}{'wall ms':>10}{'x decoding':>12}")
    for name, used, wall in found:
        print(f"{name:32}{used * 1e3:10.2f}{wall * 1e3:10.2f}{used / decode:12.2f}")


if __name__ == "__main__":
    main()

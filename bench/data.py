"""What data tests and a profile cost: CPU of all threads, against reading alone and against peers.

    python bench/data.py [--rows 1000000] [--runs 3] [--peers FOLDER]

`--peers` makes an environment for each peer in FOLDER (it needs a package index) and runs the same job in a process
of its own; what cannot be installed or imported is skipped with a word. `--long` adds ten times the rows, in
processes of their own whose peak memory is read.

The table is written once to a temporary folder: 12 columns, Parquet, zstd, row groups of 131,072 rows; four floats
of which two have more than 10,000 distinct values, three whole numbers, a boolean, categories of 5, 50 and 5,000, and
a time. Figures are medians of several runs, all in this one process; only figures of one run compare.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import peers
from middlewatch import checks, pictures, tables
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
from middlewatch.schema import Column, Schema

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


def contract(frame: pl.DataFrame) -> Schema:
    """Columns, types, nulls, ranges and sets of 5, 50 and 5,000 values: what every peer can test."""
    columns = []
    for name, kind in KINDS.items():
        limits: dict[str, Any] = {}
        if kind in ("number", "whole"):
            limits = {"min": frame[name].min(), "max": frame[name].max()}
        elif kind == "category":
            limits = {"categories": tuple(frame[name].drop_nulls().unique().sort())}
        columns.append(Column(name=name, kind=kind, nulls=0.05, role="time" if kind == "time" else "feature", **limits))
    return Schema(name="bench", time="departs", columns=tuple(columns))


def tests(path: Path, frame: pl.DataFrame, runs: int) -> list[tuple[str, float, float]]:
    """Data tests, file to verdict; and what a report with everything costs."""
    schema = contract(frame)
    unique = frame.with_columns(pl.int_range(frame.height).alias("id"))
    other = path.with_name("unique.parquet")
    unique.write_parquet(other, compression="zstd", row_group_size=tables.BATCH)
    key = Column(name="id", kind="whole", unique=True)
    with_id = replace(schema, columns=(*schema.columns, key))
    raw, raw_id = (tables.scan(one, base=path.parent) for one in (path, other))
    assert checks.check(raw, schema).ok
    jobs: list[tuple[str, Callable[[], Any]]] = [
        ("tests alone", lambda: checks.check(raw, schema, profile=False)),
        ("tests alone, with a unique id", lambda: checks.check(raw_id, with_id, profile=False)),
        ("tests + profile", lambda: checks.check(raw, schema)),
        ("tests + profile + pictures", lambda: checks.check(raw, schema, sample=pictures.SAMPLE).facts()),
    ]
    found = [(name, *median(work, runs)) for name, work in jobs]
    stored = checks.check(raw, schema).profile
    for rows in (100_000, 1_000_000):
        part = path.with_name(f"part-{rows}.parquet")
        frame.head(rows).write_parquet(part, compression="zstd", row_group_size=tables.BATCH)
        held = tables.scan(part, base=path.parent)
        found.append(
            (
                f"drift of {rows:,} rows from a stored profile",
                *median(lambda held=held: checks.check(held, schema, reference=stored), runs),  # type: ignore[misc]
            )
        )
    return found


def long(path: Path, frame: pl.DataFrame) -> None:
    """Ten times the rows, each job in a process of its own: CPU, wall and the most memory it held."""
    ten = path.with_name("long.parquet")
    pl.concat([frame.lazy()] * 10).sink_parquet(ten, compression="zstd", row_group_size=tables.BATCH)
    schema = path.with_name("bench.schema.toml")
    schema.write_text(contract(frame).to_toml(), encoding="utf-8")
    print(f"{10 * frame.height:,} rows, {ten.stat().st_size / 1e6:.0f} MB of Parquet")
    print(f"{'job, in a process of its own':44}{'CPU s':>8}{'wall s':>8}{'MB':>8}")
    for rows, source in ((frame.height, path), (10 * frame.height, ten)):
        for name, words in (("decode only", "decode"), ("tests alone", "tests"), ("tests + profile", "profile")):
            command = [sys.executable, __file__, "--job", words, "--table", str(source), "--schema", str(schema)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            print(f"{name + f', {rows:,} rows':44}{float(said[0]):8.2f}{float(said[1]):8.2f}{float(said[2]):8.0f}")


def job(words: str, table: Path, schema_path: Path) -> None:
    """One job; prints CPU and wall seconds of the work alone and the process's peak memory in MB."""
    schema = Schema.parse(schema_path.read_text(encoding="utf-8"), where=str(schema_path))
    raw = tables.scan(table, base=table.parent)
    work = {
        "decode": lambda: [batch.height for batch in tables.batches(raw.frame)],
        "tests": lambda: checks.check(raw, schema, profile=False),
        "profile": lambda: checks.check(raw, schema),
    }[words]
    used, wall = cpu(work)
    print(used, wall, peers.peak_mb())


def accuracy() -> None:
    """Distances from the histogram of a profile against exact ones, two samples of 200,000 rows each."""
    rng = np.random.default_rng(3)
    n = 200_000
    grids: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "normal, shifted 0.1 sd": (rng.normal(0, 1, n), rng.normal(0.1, 1, n)),
        "lognormal, x 1.1": (rng.lognormal(3, 1, n), rng.lognormal(3, 1, n) * 1.1),
        "whole numbers": (rng.poisson(40, n).astype(float), rng.poisson(41, n).astype(float)),
        "1000 +- 1": (rng.normal(1000, 1, n), rng.normal(1000.1, 1, n)),
        "heavy ties": (np.round(rng.normal(0, 1, n), 1), np.round(rng.normal(0.1, 1, n), 1)),
        "mixture": (
            np.where(rng.random(n) < 0.7, rng.normal(0, 1, n), rng.normal(50, 5, n)),
            np.where(rng.random(n) < 0.6, rng.normal(0, 1, n), rng.normal(50, 5, n)),
        ),
    }
    print(f"{'distance, exact and from profiles':36}{'KS':>18}{'Wasserstein':>20}{'PSI':>18}")
    for name, (one, other) in grids.items():
        spec = ProfileSpec((ColumnSpec("x", "number", centre=float(f"{np.median(one):.3g}")),))
        # Sub-samples so that more than 10,000 distinct values give up exact ones, as in a long table.
        ours = [profile(pl.DataFrame({"x": values}), spec).columns["x"] for values in (one, other)]
        grid = np.sort(np.concatenate([one, other]))
        exact = [np.searchsorted(np.sort(values), grid, side="right") / n for values in (one, other)]
        held = [column.cdf(grid) for column in ours]
        widths = np.diff(grid)
        edges = np.unique(np.quantile(one, np.linspace(0.1, 0.9, 9)))
        below = [np.searchsorted(np.sort(values), edges, side="right") / n for values in (one, other)]
        shares = [np.diff(np.concatenate([[0.0], part, [1.0]])) for part in below]
        ours_shares = [np.diff(np.concatenate([[0.0], column.cdf(edges), [1.0]])) for column in ours]
        gaps = [np.abs(part[0] - part[1]) for part in (exact, held)]
        print(
            f"{name:36}{gaps[0].max():9.4f}{gaps[1].max():9.4f}"
            f"{float(gaps[0][:-1] @ widths):10.4f}{float(gaps[1][:-1] @ widths):10.4f}"
            f"{_psi(*shares):9.5f}{_psi(*ours_shares):9.5f}"
        )


def _psi(one: np.ndarray, other: np.ndarray) -> float:
    safe = [np.maximum(part, 1e-6) for part in (one, other)]
    return float(((safe[0] - safe[1]) * np.log(safe[0] / safe[1])).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="environments of the peers, made where missing")
    parser.add_argument("--long", action="store_true", help="ten times the rows as well, with peak memory")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--schema", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        job(asked.job, asked.table, asked.schema)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        frame = table(asked.rows)
        frame.write_parquet(path, compression="zstd", row_group_size=tables.BATCH)
        print(f"{asked.rows:,} rows x {frame.width} columns, {path.stat().st_size / 1e6:.1f} MB of Parquet")
        found = ours(path, frame, asked.runs) + tests(path, frame, asked.runs)
        decode = found[0][1]
        print(f"{'job':48}{'CPU ms':>10}{'wall ms':>10}{'x decoding':>12}")
        for name, used, wall in found:
            print(f"{name:48}{used * 1e3:10.2f}{wall * 1e3:10.2f}{used / decode:12.2f}")
        accuracy()
        if asked.long:
            long(path, frame)
        if asked.peers:
            peers.run(path, asked.peers, decode)


if __name__ == "__main__":
    main()

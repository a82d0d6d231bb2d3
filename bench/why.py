"""How long `why` takes over a million logged rows: warm in one process, and as a command from nothing.

A shop with 40 days of training history logs a million orders in one day; from noon on one client of two sends cents.
`why` is asked five times. Wall and CPU seconds, and the largest process, are printed as rows of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

import middlewatch as mw
from middlewatch import library, predictions
from middlewatch.replay import load

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, ROWS = 40, 400
NIGHT = FIRST + timedelta(days=DAYS)
NOW = NIGHT + timedelta(days=1, hours=2)


def orders(start: datetime, rows: int, seed: int, *, days: int = 1) -> pl.DataFrame:
    """Orders of some days: amount in euros with cents, country, items, hour, weight, and whether they come back."""
    random = np.random.default_rng(seed)
    amount = np.round(random.lognormal(3.3, 0.5, rows), 2)
    country = random.choice(["AT", "DE", "CH", "IT"], rows, p=[0.4, 0.3, 0.2, 0.1])
    items = random.integers(1, 8, rows)
    risk = 1 / (1 + np.exp(-(0.06 * (amount - 30) + 0.9 * (country == "IT") - 0.3 * (items - 4))))
    seconds = np.sort(random.integers(0, 86_400 * days, rows))
    return pl.DataFrame(
        {
            "order": [f"o-{seed}-{row}" for row in range(rows)],
            "at": pl.Series(seconds).cast(pl.Int64) * 1_000_000 + int(start.timestamp() * 1e6),
            "amount": amount,
            "country": country,
            "items": items,
            "weight": np.round(random.gamma(2, 1.5, rows), 1),
            "new": random.random(rows) < 0.3,
            "bad": (random.random(rows) < risk).astype(int),
        }
    ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


def build(folder: Path, rows: int) -> mw.Handle:
    """The shop with its model live and the day logged."""
    orders(FIRST, DAYS * ROWS, 1, days=DAYS).write_parquet(folder / "orders.parquet")
    library.init(str(folder / "orders.parquet"), target="bad", time="at", key="order", name="returns", folder=folder)
    shop = mw.open(folder)
    shop.train()
    shop.promote("v1", force="first")
    night = orders(NIGHT, rows, 2)
    cents = (pl.col("at") >= NIGHT + timedelta(hours=12)) & (pl.col("items") % 2 == 0)
    night = night.with_columns(pl.when(cents).then(pl.col("amount") * 100).otherwise("amount").round(2).alias("amount"))
    scores = load(shop.project, shop.model, "v1").shown(night)
    logged = night.drop("bad", "order").select(
        pl.exclude("at"),
        pl.col("at").alias("mw.time"),
        night["order"].alias("mw.key"),
        pl.Series("mw.score", scores),
        pl.lit("v1").alias("mw.version"),
        pl.when(night["items"] % 2 == 0).then(pl.lit("app/2")).otherwise(pl.lit("web/1")).alias("mw.caller"),
        pl.Series("mw.raw", [b'{"amount": 31.20, "country": "AT", "items": 3}'] * rows, dtype=pl.Binary),
    )
    predictions.write_batch(shop.project.store, shop.model, logged, now=NOW)
    return shop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--profile", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shop = build(folder, wanted.rows)
        found = shop.why(since=NIGHT, until=NIGHT + timedelta(days=1))
        print(found.lines()[1])
        if wanted.profile:
            import cProfile
            import pstats

            with cProfile.Profile() as profiler:
                shop.why(since=NIGHT, until=NIGHT + timedelta(days=1))
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(40)
        wall, cpu = [], []
        for _ in range(5):
            before, started = time.process_time(), time.perf_counter()
            shop.why(since=NIGHT, until=NIGHT + timedelta(days=1))
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - before)
        command = [
            sys.executable,
            "-m",
            "middlewatch",
            "why",
            "--since",
            NIGHT.isoformat(),
            "--json",
            "--project",
            name,
        ]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        cold = time.perf_counter() - begun
        facts = json.loads(done.stdout)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print("| rows | `why`, warm (median of 5) | its CPU | as a command | largest process | named |")
        print("|---|---|---|---|---|---|")
        print(
            f"| {wanted.rows:,} | {statistics.median(wall):.2f} s | {statistics.median(cpu):.2f} s | {cold:.2f} s "
            f"| {memory:.0f} MB | {facts['causes'][0]['kind']} of {facts['causes'][0]['column']} |"
        )


if __name__ == "__main__":
    main()

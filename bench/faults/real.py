"""A sample of faults through the real path: init, train, promote, score --log, monitor, why --json.

The same rows go straight into the fingerprints, with the same model: both must name the same cause.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from faults.catalogue import FAULTS, Fault
from faults.streams import Stream
from middlewatch import fingerprints, replay
from middlewatch.project import Project

LEARN_DAYS, LOG_DAYS = 30, 3


@dataclass(frozen=True)
class Base:
    """A project that has trained on the first days of a stream and logged some good ones; `day` is the next."""

    folder: Path
    rows: pl.DataFrame
    day: datetime
    columns: tuple[str, ...]


def run(folder: Path, *words: str) -> Any:
    """A command's JSON answer; its exit code may say that something is bad."""
    done = subprocess.run(
        [sys.executable, "-m", "middlewatch", *words, "--json"], cwd=folder, capture_output=True, text=True
    )
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise SystemExit(f"{' '.join(words)} failed: {done.stdout}{done.stderr}") from None


def base(stream: Stream, folder: Path) -> Base:
    columns = (*stream.kinds, "at", stream.target)
    rows = stream.rows.with_columns(pl.col("mw.time").alias("at")).select(*columns, "mw.time", "mw.caller", "mw.score")
    first = rows["at"].dt.truncate("1d")[0]
    learnt, day = first + timedelta(days=LEARN_DAYS), first + timedelta(days=LEARN_DAYS + LOG_DAYS)
    rows.filter(pl.col("at") < learnt).select(columns).write_parquet(folder / "train.parquet")
    run(folder, "init", "train.parquet", "--target", stream.target, "--time", "at", "--name", "m", "--yes")
    run(folder, "train", "--force", "bench")
    run(folder, "promote", "v1", "--force", "bench")
    log(folder, rows.filter(pl.col("at").is_between(learnt, day, closed="left")), columns)
    run(folder, "monitor", "--until", day.isoformat())
    return Base(folder, rows, day, columns)


def log(folder: Path, rows: pl.DataFrame, columns: tuple[str, ...]) -> None:
    """Score and log rows, each caller's by its name."""
    for caller in rows["mw.caller"].unique(maintain_order=True):
        rows.filter(pl.col("mw.caller") == caller).select(columns).write_parquet(folder / "day.parquet")
        run(folder, "score", "day.parquet", "--log", "--out", "scored.parquet", "--caller", caller)


def both(made: Base, fault: Fault, seed: int) -> tuple[list[Any], tuple[fingerprints.Cause, ...], str]:
    """What `why --json` says of a day with a fault since noon, and what the fingerprints say of the same rows."""
    day = made.rows.filter(pl.col("at").is_between(made.day, made.day + timedelta(days=1), closed="left"))
    start = int(day["at"].search_sorted(made.day + timedelta(hours=12)))
    broken = fault.play(day, np.arange(day.height) >= start, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(made.folder, Path(place) / "project"))
        log(folder, broken, made.columns)
        until = (made.day + timedelta(days=1)).isoformat()
        run(folder, "monitor", "--until", until)
        said = run(folder, "why", "--since", made.day.isoformat(), "--until", until)
        replayer = replay.load(Project.open(folder), "m", "v1")
        kinds = {c.name: c.kind for c in replayer.version.schema.features}
        before = [made.day - timedelta(days=k) for k in range(1, 29)]
        past = [
            made.rows.filter(pl.col("at").is_between(one, one + timedelta(days=1), closed="left")) for one in before
        ]
        scored = [one.with_columns(pl.Series("mw.score", replayer.shown(one))) for one in [broken, *past]]
        case = fingerprints.Case(
            scored[0], fingerprints.History(scored[1:], kinds), replayer.scores, replayer.version.threshold
        )
        found = fingerprints.search(case)
    return said["causes"], found.causes, said["headline"]


def main(streams: dict[str, Stream], ideas: list[str], seed: int) -> None:
    """One fault an idea and data set, in one strength by turns; prints right answers and agreement."""
    right, agree, total = 0, 0, 0
    for name, stream in streams.items():
        with tempfile.TemporaryDirectory() as place:
            made = base(stream, Path(place))
            for at, idea in enumerate(ideas):
                rng = np.random.default_rng([seed, at])
                fault = FAULTS[idea](stream, rng, 1 + (at + seed) % 2)
                if fault is None:
                    continue
                told, found, _ = both(made, fault, seed)
                one = f"{told[0]['kind']}/{told[0]['form']} {told[0]['column']}" if told else "nothing"
                other = f"{found[0].kind}/{found[0].form} {found[0].column}" if found else "nothing"
                good = bool(told) and f"{told[0]['kind']}/{told[0]['form']}".startswith(fault.kinds)
                good = good and (told[0]["column"] in fault.columns if fault.columns else not told[0]["columns"])
                right, agree, total = right + good, agree + (one == other), total + 1
                mark = "ok  " if good else "MISS"
                print(
                    f"  {mark} {name} {fault.name}: {one}" + ("" if one == other else f" | straight: {other}"),
                    flush=True,
                )
    print(f"\nreal path: right kind and column in {right} of {total}, the same answer straight in {agree} of {total}")

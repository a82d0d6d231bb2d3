"""What watching costs: a day judged by `middlewatch monitor` in a fresh process, and what a year of windows takes.

    python bench/cost.py [--rows 1000000] [--days 30 365] [--hours 60] [--wide 100] [--folder FOLDER]

The log is written by the real ways: spool segments of a server, a segment every 15 minutes, as they lie before they
are converted, and the Parquet files that they become; and the files of a batch. The past is made of seven different
days of the same size, their windows put under as many dates as are asked for and judged once. CPU is of the process
and its threads, memory its peak. Goals: a day of 1 M rows x 12 columns under 3 s and 1 GB however long the past is,
a year of stored windows under 20 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from middlewatch import ids, predictions, records, spool
from middlewatch.profiles import Kind, spec_of
from middlewatch.project import Project
from middlewatch.schema import Column, Schema
from middlewatch.web import pages
from middlewatch.windows import cut

MODEL = "delay"
VERSION = "ext-1"
# Finished days by the real clock, as the command takes no other.
LAST = datetime.now(UTC).date() - timedelta(days=3)
SEGMENTS = 96
KINDS: dict[str, Kind] = {
    "fare": "number", "temp": "number", "rain": "number", "share": "number", "seats": "whole", "distance": "whole",
    "customer": "whole", "stay": "whole", "late": "boolean", "carrier": "category", "origin": "category",
    "route": "category",
}  # fmt: skip


def day_of(rows: int, day: date, seed: int, wide: int = 0) -> pl.DataFrame:
    """One day's predictions in order of time: inputs of every kind and the score; `wide` more columns of numbers."""
    rng = np.random.default_rng([seed, rows])
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**6
    values: dict[str, object] = {
        "fare": rng.lognormal(3, 1, rows),
        "temp": np.round(rng.normal(15 + rng.normal(0, 2), 8, rows), 1),
        "rain": np.where(rng.random(rows) < 0.9, 0.0, np.round(rng.exponential(2, rows), 2)),
        "share": rng.random(rows),
        "seats": rng.integers(20, 400, rows),
        "distance": rng.integers(80, 5000, rows),
        "customer": rng.integers(0, 200_000, rows),
        "stay": rng.poisson(4, rows),
        "late": rng.random(rows) < 0.2,
    }
    for name, size in (("carrier", 5), ("origin", 50), ("route", 5000)):
        names = pl.Series([f"{name[:2].upper()}{i:04d}" for i in range(size)])
        at = np.minimum(rng.zipf(1.3, rows) - 1, size - 1) if size > 5 else rng.integers(0, size, rows)
        values[name] = names.gather(at)
    for number in range(wide):
        values[f"more_{number:03d}"] = np.round(rng.normal(number, 1 + number % 7, rows), number % 4)
    when = pl.Series(np.sort(rng.integers(start, start + 86_400 * 10**6, rows))).cast(pl.Datetime("us", "UTC"))
    empty = pl.Series(rng.random(rows) < 0.03)
    return pl.DataFrame(values).with_columns(
        *(pl.when(~empty).then(pl.col(name)).alias(name) for name in ("temp", "origin")),
        when.alias("mw.time"),
        when.alias("mw.received"),
        pl.Series("mw.score", rng.beta(1, 3, rows)),
        pl.lit(VERSION).alias("mw.version"),
    )


def site(folder: Path, wide: int = 0, *, window: str = "day") -> Project:
    """A new project whose model is served elsewhere: nothing of it but its log."""
    kinds: dict[str, Kind] = {**KINDS, **{f"more_{number:03d}": "number" for number in range(wide)}}
    centres = {"fare": 20.0, "temp": 15.0, "seats": 210.0, "distance": 2500.0, "customer": 100_000.0}
    columns = [Column(name=name, kind=kind, centre=centres.get(name, 0.0), nulls=0.1) for name, kind in kinds.items()]
    folder.mkdir(parents=True)
    (folder / "middlewatch.toml").write_text(
        f'[models.{MODEL}]\ntask = "regression"\n\n[monitor]\nwindow = "{window}"\n', encoding="utf-8"
    )
    schema = Schema(name=MODEL, task="regression", columns=tuple(columns))
    (folder / f"{MODEL}.schema.toml").write_text(schema.to_toml(), encoding="utf-8")
    project = Project.open(folder)
    project.journal(MODEL).append(
        action="promote", version=VERSION, actor="bench", host="here", at=datetime.now(UTC), expect=0
    )
    return project


def past(project: Project, days: int, rows: int, wide: int = 0) -> None:
    """Windows of the days before LAST, each of the size and content that a day of `rows` rows has."""
    spec = spec_of(project.schema(MODEL), roles=("feature",), score=True)
    windows = project.windows(MODEL)
    for seed in range(7):
        made = next(iter(cut(_with_ids(day_of(rows, LAST, seed + 1, wide)), spec, zone=UTC).values()))
        for back in range(days - seed, 0, -7):
            day = LAST - timedelta(days=back)
            received = [f"{day.isoformat()}T00:00:00Z", f"{day.isoformat()}T23:59:59Z"]
            windows.put(
                day, hours=made.hours, sample=made.sample, versions=made.versions, source="log",
                now=datetime.now(UTC), facts={"digest": "", "received": received, "files": []}, durable=False,
            )  # fmt: skip


def _with_ids(frame: pl.DataFrame) -> pl.DataFrame:
    token = ids.new_token()
    micros = frame["mw.received"].cast(pl.Int64)
    return frame.with_columns(
        pl.Series("mw.id", [ids.new_id(one, token, at) for at, one in enumerate(micros)], dtype=pl.String)
    )


def segments(project: Project, frame: pl.DataFrame) -> None:
    """The rows as a server's spool holds them, a segment every 15 minutes."""
    columns = tuple((name, kind, "") for name, kind in KINDS.items())
    head = spool.Head(model=MODEL, version=VERSION, server="bench", zone="UTC", columns=columns)
    out = spool.Spool(project.spool(MODEL), server="bench-1", max_bytes=1 << 40, max_age=1e12)
    size = frame.height // SEGMENTS + 1
    for start in range(0, frame.height, size):
        part = frame.slice(start, size)
        bodies = part.select(pl.struct(list(KINDS)).struct.json_encode()).to_series()
        micros = part["mw.time"].cast(pl.Int64)
        frames = bytearray()
        for at, (ident, when, score, body) in enumerate(
            zip(part["mw.id"], micros, part["mw.score"], bodies, strict=True)
        ):
            record = records.Record(ident, when, when, "web", None, score, None, None, 30.0 + at % 7, body.encode())
            frames += records.frame_of(record)
        out.append(head, frames, received=int(micros[0]), records=part.height)
        out.close()


def monitor(project: Project, *words: str) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak MB of one `middlewatch monitor` as a process of its own."""
    return command(project, "monitor", "--until", (LAST + timedelta(days=1)).isoformat(), *words)


def command(project: Project, *words: str) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak MB of a command; it may end with 0 or 1."""
    started = time.perf_counter()
    done = subprocess.Popen(
        [sys.executable, "-m", "middlewatch", *words, "--project", str(project.root), "--json"],
        stdout=subprocess.DEVNULL,
    )
    peak, code = 0.0, 0
    while True:
        # Of the process itself: what wait4 reports begins with the size of who started it.
        peak = max(peak, _peak(done.pid))
        ended, code, used = os.wait4(done.pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.02)
    done.returncode = os.waitstatus_to_exitcode(code)
    if done.returncode not in (0, 1):
        raise SystemExit(f"middlewatch {' '.join(words)} ended with {done.returncode}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - started, peak


def _peak(pid: int) -> float:
    """MB that a process has held at most so far; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(one.split()[1]) / 1024 for one in lines if one.startswith("VmHWM")), 0.0)


def folder_mb(project: Project, *ends: str) -> float:
    """MB of the stored windows' objects whose names end so."""
    root = project.root / ".middlewatch" / MODEL / "windows"
    return sum(one.stat().st_size for one in root.rglob("*") if one.is_file() and one.name.endswith(ends)) / 1e6


def say(name: str, *figures: object) -> None:
    print(f"| {name} | {' | '.join(str(one) for one in figures)} |", flush=True)


def again(project: Project, work: Callable[[Project], None], base: Path) -> list[tuple[float, float, float]]:
    """The day judged, in a copy of the project to which `work` brings the day's log; and the run after it."""
    shutil.copytree(project.root, base)
    copied = Project.open(base)
    work(copied)
    figures = [monitor(copied), monitor(copied)]
    shutil.rmtree(base)
    return figures


def logs(frame: pl.DataFrame) -> Iterator[tuple[str, Callable[[Project], None]]]:
    """The ways in which a day lies in the log."""

    def batch(project: Project) -> None:
        predictions.write_batch(project.store, MODEL, frame.drop("mw.id"))

    def spooled(project: Project) -> None:
        segments(project, frame)

    def converted(project: Project) -> None:
        segments(project, frame)
        predictions.convert(project.store, project.spool(MODEL), MODEL)

    yield "4 files of a batch", batch
    yield f"{SEGMENTS} files of a server", converted
    yield f"{SEGMENTS} segments not yet converted", spooled


def judged(base: Path, rows: int, lengths: Sequence[int], ways: Sequence[int]) -> None:
    frame = _with_ids(day_of(rows, LAST, 0))
    print(f"\n{rows:,} rows x {len(KINDS)} columns, a day judged\n")
    print("| past | log | CPU s | wall s | peak MB |\n|---|---|---|---|---|")
    for days in lengths:
        project = site(base / f"past-{days}")
        past(project, days, rows)
        first = monitor(project)
        say(f"{days} days", "all of the past, once", *(f"{one:.2f}" for one in first[:2]), f"{first[2]:.0f}")
        for place, (name, way) in enumerate(logs(frame)):
            if place in ways:
                for what, used in zip((name, "nothing new"), again(project, way, base / "copy"), strict=True):
                    say(f"{days} days", what, *(f"{one:.2f}" for one in used[:2]), f"{used[2]:.0f}")
        used = command(project, "status")
        say(f"{days} days", "`status`", *(f"{one:.2f}" for one in used[:2]), f"{used[2]:.0f}")
        kept = folder_mb(project, ".day", ".json", ".bin")
        print(
            f"\n{days} days of windows take {kept:.1f} MB ({folder_mb(project, '.day'):.1f} profiles, "
            f"{folder_mb(project, '.json'):.1f} summaries and judgements), "
            f"hours and samples of {min(days, 121)} days {folder_mb(project, '.hours'):.1f} MB\n",
            flush=True,
        )
        shutil.rmtree(project.root)


def hourly(base: Path, rows: int, days: int) -> None:
    """Windows of an hour: the past judged once, then hour after hour of a day of so many rows."""
    project = site(base / "hours", window="hour")
    past(project, days, rows)
    frame = _with_ids(day_of(rows, LAST, 0))
    begin = datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC)
    print(f"\nwindows of an hour, {days} days of past\n\n| | CPU s | wall s | peak MB |\n|---|---|---|---|")
    for hour in range(4):
        until = begin + timedelta(hours=hour)
        part = frame.filter(pl.col("mw.time").is_between(until - timedelta(hours=1), until, closed="left"))
        predictions.write_batch(project.store, MODEL, part.drop("mw.id"))
        what = f"the next hour, {part.height:,} rows" if part.height else "all of the past, once"
        for name in (what, "nothing new"):
            used = command(project, "monitor", "--until", until.isoformat())
            say(name, *(f"{one:.2f}" for one in used[:2]), f"{used[2]:.0f}")
    shutil.rmtree(project.root)


def wide(base: Path, columns: int) -> None:
    """Many columns: 100,000 rows a day, 30 days of past."""
    more, rows = columns - len(KINDS), 100_000
    project = site(base / "wide", more)
    past(project, 30, rows, more)
    monitor(project)
    predictions.write_batch(project.store, MODEL, day_of(rows, LAST, 0, more))
    print(f"\n{rows:,} rows x {columns} columns\n\n| | CPU s | wall s | peak MB |\n|---|---|---|---|")
    for name, used in (
        ("a day judged, 30 days of past", monitor(project)),
        ("nothing new", monitor(project)),
        ("status", command(project, "status")),
    ):
        say(name, *(f"{one:.2f}" for one in used[:2]), f"{used[2]:.0f}")
    kept = folder_mb(project, ".day", ".json", ".bin")
    print(f"\n30 days of windows take {kept:.1f} MB; the home page has {page(project):.0f} kB")
    shutil.rmtree(project.root)


def page(project: Project) -> float:
    """kB of the home page, as a browser gets it."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": b"", "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1:8000")], "scheme": "http", "server": ("127.0.0.1", 8000),
    }  # fmt: skip

    async def asked() -> None:
        await pages(project)(scope, receive, send)

    asyncio.run(asked())
    if sent[0]["status"] != 200:
        raise SystemExit(f"the home page answers {sent[0]['status']}")
    return sum(len(one.get("body", b"")) for one in sent[1:]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, nargs="*", default=[30, 365], help="lengths of the past")
    parser.add_argument("--ways", type=int, nargs="*", default=[0, 1, 2], help="of the log: 0 batch, 1 server, 2 spool")
    parser.add_argument("--wide", type=int, default=100, help="columns of the wide table; 0 leaves it out")
    parser.add_argument("--hours", type=int, default=0, help="days of past where windows are hours; 0 leaves it out")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        if chosen.days:
            judged(Path(folder), chosen.rows, chosen.days, chosen.ways)
        if chosen.hours:
            hourly(Path(folder), chosen.rows, chosen.hours)
        if chosen.wide:
            wide(Path(folder), chosen.wide)


if __name__ == "__main__":
    main()

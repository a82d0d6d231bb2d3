"""Do the limits that `init` guesses pass clean data of later months, and do they still catch faults?

    python bench/limits.py [--loans FOLDER]

For each data set the schema is inferred from the first one, two and three months; each later month is checked against
it: the share of clean months that fail (at most 1 in 20 is the goal), and of planted faults that are caught. The car
loans of nannyml (a folder with its CSV files) and the demo's flights are used where they are there.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import polars as pl

from middlewatch import accepting, checks, flights, infer, tables
from middlewatch.schema import Schema
from middlewatch.schema.editing import edited

Change = Callable[[pl.DataFrame, str], pl.DataFrame]
ROW = pl.int_range(pl.len())


def sets(loans: Path | None) -> dict[str, tuple[pl.DataFrame, str, str]]:
    """Name -> (table, target, time)."""
    found: dict[str, tuple[pl.DataFrame, str, str]] = {}
    try:
        found["flights"] = (flights.load().drop("flight_id"), "late", "departs")
    except Exception as error:  # noqa: BLE001  # the data set is optional, whatever is wrong with it
        print(f"flights: skipped ({error})")
    try:
        weather = distribution("vega_datasets").locate_file("vega_datasets/_data/seattle-weather.csv")
        frame = pl.read_csv(str(weather), try_parse_dates=True)
        found["Seattle's weather"] = (
            frame.with_columns(pl.col("date").cast(pl.Datetime("us", "UTC"))),
            "weather",
            "date",
        )
    except (PackageNotFoundError, OSError) as error:
        print(f"Seattle's weather: skipped ({error})")
    if loans is not None:
        parts = [pl.read_csv(loans / f"synthetic_car_loan_{one}.csv") for one in ("reference", "analysis")]
        frame = pl.concat(parts, how="diagonal_relaxed").drop("id", "repaid", "y_pred", "y_pred_proba", strict=False)
        times = pl.col("timestamp").str.to_datetime(strict=False, time_unit="us", time_zone="UTC")
        frame = frame.with_columns(times).drop_nulls("timestamp")
        found["car loans"] = (
            frame,
            "loan_length" if "loan_length" in frame.columns else frame.columns[-1],
            "timestamp",
        )
    return found


def faults(frame: pl.DataFrame, schema: Schema) -> dict[str, list[tuple[str, Change]]]:
    """Faults by family: (column, change), every feature that they fit."""
    numbers = [one.name for one in schema.features if one.kind in ("number", "whole")]
    texts = [one.name for one in schema.features if one.kind == "category"]

    def scaled(factor: float) -> Change:
        return lambda table, name: table.with_columns((pl.col(name) * factor).cast(table.schema[name], strict=False))

    found: dict[str, list[tuple[str, Change]]] = {
        "x 1000": [(one, scaled(1000)) for one in numbers],
        "x 0.001": [(one, scaled(0.001)) for one in numbers],
        "x -1": [(one, scaled(-1)) for one in numbers],
        "-999 in 2 %": [
            (one, lambda t, n: t.with_columns(pl.when(ROW % 50 == 0).then(-999).otherwise(n).alias(n)))
            for one in numbers
        ],
        "constant": [(one, lambda t, n: t.with_columns(pl.lit(t[n].drop_nulls()[0]).alias(n))) for one in numbers],
        "text": [(one, lambda t, n: t.with_columns(pl.format("{} units", n).alias(n))) for one in numbers],
        "new value in 20 %": [
            (one, lambda t, n: t.with_columns(pl.when(ROW % 5 == 0).then(pl.lit("NEW")).otherwise(n).alias(n)))
            for one in texts
        ],
        "lower case": [(one, lambda t, n: t.with_columns(pl.col(n).str.to_lowercase())) for one in texts],
        "missing everywhere": [
            (one, lambda t, n: t.with_columns(pl.lit(None, t.schema[n]).alias(n))) for one in numbers + texts
        ],
        "missing in 30 %": [
            (one, lambda t, n: t.with_columns(pl.when(ROW % 10 >= 3).then(n).alias(n))) for one in numbers + texts
        ],
        "renamed": [(one, lambda t, n: t.rename({n: f"{n}_new"})) for one in numbers + texts],
    }
    return found


def passes(frame: pl.DataFrame, schema: Schema, *, warnings: bool = False) -> bool:
    """Whether a table passes; with `warnings`, without one."""
    report = checks.check(tables.from_frame(frame), schema)
    return report.ok and not (warnings and any(one.severity == "warn" for one in report.findings))


def accepted(later: list[pl.DataFrame], schema: Schema) -> int:
    """How many months fail when somebody accepts what is new in each: a new category fails once, not for ever."""
    text, failed = schema.to_toml(), 0
    for part in later:
        known = Schema.parse(text, where="m.schema.toml")
        raw = tables.from_frame(part)
        report = checks.check(raw, known)
        if not report.ok:
            failed += 1
            edits = accepting.edits_for(["all"], report, known, raw, zone="UTC")
            text = edited(text, edits, where="m.schema.toml")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loans", type=Path, help="folder with nannyml's synthetic_car_loan_*.csv")
    asked = parser.parse_args()
    for name, (frame, target, time) in sets(asked.loans).items():
        months = frame.sort(time).group_by_dynamic(time, every="1mo").agg(pl.len())
        parts = [
            frame.filter(pl.col(time).dt.truncate("1mo") == start)
            for start, rows in months.iter_rows()
            if 4 * rows >= float(months["len"].median() or 0)  # type: ignore[arg-type]  # not a month's first day
        ]
        print(f"\n{name}: {frame.height:,} rows, {len(parts)} months")
        for first in (1, 2, 3):
            schema = infer.infer(tables.from_frame(pl.concat(parts[:first])), name="m", target=target, time=time).schema
            later = parts[first:]
            failed = [at for at, part in enumerate(later) if not passes(part, schema)]
            why: dict[str, int] = defaultdict(int)
            for at in failed:
                for one in checks.check(tables.from_frame(later[at]), schema).findings:
                    if one.severity == "fail":
                        why[f"{one.check}:{one.column}"] += 1
            said = ", ".join(f"{one} {times}" for one, times in sorted(why.items(), key=lambda it: -it[1])[:6])
            news = accepted(later, schema)
            print(
                f"  limits of {first} month(s): {len(failed)} of {len(later)} clean months fail, "
                f"{news} where each change is accepted when it comes  {said}"
            )
        schema = infer.infer(tables.from_frame(pl.concat(parts[:3])), name="m", target=target, time=time).schema
        later = [part for part in parts[3:] if passes(part, schema)][:6]
        print(f"  {'fault':24}{'caught':>8}{'warned':>8}{'of':>6}")
        for family, planted in faults(frame, schema).items():
            caught = warned = of = 0
            for part in later:
                for column, change in planted:
                    table = change(part, column)
                    of += 1
                    caught += not passes(table, schema)
                    warned += not passes(table, schema, warnings=True)
            print(f"  {family:24}{caught:8}{warned:8}{of:6}")


if __name__ == "__main__":
    main()

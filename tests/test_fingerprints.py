"""Fingerprints on made data that nothing was tuned on: each kind is named, harmless changes and clean days are not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from middlewatch.fingerprints import Case, Cause, History, Search, refusals, search
from middlewatch.fingerprints.rows import fingerprints
from middlewatch.fingerprints.units import named_maps

ROWS = 400
START = datetime(2026, 3, 1, 6, tzinfo=UTC)
KINDS = {
    "pressure": "number",
    "depth": "number",
    "count": "whole",
    "site": "category",
    "mode": "category",
    "idle": "number",
}


def day(number: int, *, rows: int = ROWS) -> pl.DataFrame:
    """Readings of one day: pressure wanders from day to day, depth is in steps of 0.5, idle has no weight."""
    random = np.random.default_rng([7, number])
    site = random.choice(["north", "south", "east"], rows, p=[0.5, 0.3, 0.2])
    depth = np.round(2 * random.gamma(9, 4 + (site == "south"), rows)) / 2
    frame = pl.DataFrame(
        {
            "mw.time": [START + timedelta(days=number, minutes=2 * k) for k in range(rows)],
            "mw.caller": random.choice(["probe/1", "probe/2"], rows, p=[0.7, 0.3]),
            "mw.version": ["v1"] * rows,
            "pressure": np.round(random.normal(1013 + 3 * np.sin(number / 3), 8, rows), 1),
            "depth": depth,
            "count": random.poisson(20 + 5 * (site == "north")),
            "site": site,
            "mode": np.where(
                depth > 40, random.choice(["deep", "drift"], rows, p=[0.9, 0.1]), random.choice(["flat", "drift"], rows)
            ),
            "idle": np.round(random.normal(0, 1, rows), 3),
        },
        schema_overrides={"mw.time": pl.Datetime("us", "UTC")},
    )
    return frame.with_columns(pl.Series("mw.score", score(frame)))


def score(rows: pl.DataFrame) -> NDArray[np.float64]:
    """A model that uses every column but idle; null and unknown values count as a middle one."""
    pressure = rows["pressure"].cast(pl.Float64).fill_null(1013.0).to_numpy()
    depth = rows["depth"].cast(pl.Float64).fill_null(38.0).to_numpy()
    count = rows["count"].cast(pl.Float64).fill_null(22.0).to_numpy()
    site = rows["site"].replace_strict({"north": 0.8, "south": -0.6, "east": 0.1}, default=0.0).to_numpy()
    mode = rows["mode"].replace_strict({"deep": 0.7, "flat": -0.5, "drift": 0.2}, default=0.0).to_numpy()
    raw = np.clip((pressure - 1013) / 10, -9, 9) + np.clip((depth - 38) / 15, -9, 9) + (count - 22) / 8 + site + mode
    scores: NDArray[np.float64] = 1 / (1 + np.exp(-raw))
    return scores


HISTORY = History([day(number) for number in range(28)], KINDS)


def look(
    change: Callable[[pl.DataFrame], pl.DataFrame] | None = None, *, number: int = 28, onset: float = 0.0
) -> Search:
    rows = day(number)
    if change is not None:
        start = int(onset * ROWS)
        rows = pl.concat([rows[:start], change(rows[start:])], how="vertical_relaxed")
    return search(Case(rows.with_columns(pl.Series("mw.score", score(rows))), HISTORY, score, 0.5))


def first(found: Search) -> Cause:
    assert found.causes, f"nothing named; unusual: {found.shapes}"
    return found.causes[0]


def replaced(column: str, value: object, share: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(rows: pl.DataFrame) -> pl.DataFrame:
        hit = pl.Series(np.random.default_rng(3).random(rows.height) < share)
        return rows.with_columns(pl.when(hit).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))

    return change


def mapped(column: str, change: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(change.alias(column))


def swapped(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.col("count").cast(pl.Float64).alias("depth"), pl.col("depth").cast(pl.Float64).alias("count")
    )


CODES = {"north": "7", "south": "3", "east": "5"}
EXCHANGED = {"deep": "flat", "flat": "deep"}
FAULTS: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str, str, str]] = {
    "hPa to inHg": (mapped("pressure", (pl.col("pressure") / 33.8639).round(2)), "pressure", "scale", "unit"),
    "metres to feet": (mapped("depth", pl.col("depth") * 3.28084), "depth", "scale", "unit"),
    "feet as typed": (mapped("depth", pl.col("depth") * 3.281), "depth", "scale", "unit"),
    "cents": (mapped("count", pl.col("count") * 100), "count", "scale", "unit"),
    "sign": (mapped("depth", -pl.col("depth")), "depth", "scale", "sign"),
    "scaled twice": (mapped("pressure", (pl.col("pressure") - 1013) / 8.2), "pressure", "scale", "already_scaled"),
    "constant": (mapped("depth", pl.lit(40.0)), "depth", "fill", "constant"),
    "default": (replaced("depth", 40.0, 0.4), "depth", "fill", "default"),
    "sentinel": (replaced("count", -1, 0.08), "count", "fill", "sentinel"),
    "nulls": (replaced("pressure", None, 0.3), "pressure", "nulls", "nulls"),
    "rounded": (mapped("depth", (pl.col("depth") / 5).round() * 5), "depth", "precision", "rounded"),
    "clipped": (mapped("pressure", pl.col("pressure").clip(upper_bound=1015)), "pressure", "precision", "clipped"),
    "capital letters": (mapped("site", pl.col("site").str.to_uppercase()), "site", "categories", "case_or_space"),
    "renamed": (mapped("site", pl.col("site").replace({"north": "N1"})), "site", "categories", "renamed"),
    "recoded": (mapped("site", pl.col("site").replace(CODES)), "site", "categories", "recoded"),
    "exchanged": (mapped("mode", pl.col("mode").replace(EXCHANGED)), "mode", "categories", "permuted"),
    "new": (replaced("mode", "sonar", 0.15), "mode", "categories", "new"),
    "swapped": (swapped, "depth", "columns", "swapped"),
    "merged": (mapped("mode", pl.col("mode").replace({"flat": "deep"})), "mode", "categories", "merged"),
    "lost": (lambda rows: rows.filter(pl.col("site") != "north"), "site", "rows", "segment_lost"),
}  # fmt: skip


LATE = ("metres to feet", "constant", "sentinel", "nulls", "rounded", "capital letters", "exchanged", "merged", "lost")


@pytest.mark.parametrize(("name", "onset"), [*((name, 0.0) for name in FAULTS), *((name, 0.5) for name in LATE)])
def test_a_fault_is_named_by_column_and_kind(name: str, onset: float) -> None:
    change, column, kind, form = FAULTS[name]
    cause = first(look(change, onset=onset))
    assert column in cause.columns
    assert (cause.kind, cause.form) == (kind, form)
    if onset and kind != "rows":
        true = START + timedelta(days=28, minutes=2 * ROWS * onset)
        assert cause.since is not None
        assert abs(cause.since - true) <= timedelta(minutes=2 * 25), "the onset is dated by the fingerprint's own rows"
        assert not cause.from_start


def test_a_rare_unit_needs_a_column_of_such_a_name() -> None:
    knots = next(one for one in named_maps() if one.units == ("knots", "mph"))
    assert knots.fits("wind_speed")
    assert not knots.fits("price_new")


def flagged(number: int, *, fault: str = "") -> pl.DataFrame:
    """A day with a flag of two values that goes with the depth; one of them is lost, or written as the other."""
    rows = day(number).with_columns(flag=pl.when(pl.col("depth") > 38).then(pl.lit("2")).otherwise(pl.lit("1")))
    if fault == "lost":
        return rows.filter(pl.col("flag") == "2")
    return rows.with_columns(flag=pl.lit("2")) if fault else rows


@pytest.mark.parametrize(("fault", "form"), [("lost", "segment_lost"), ("written", "constant")])
def test_of_two_values_one_that_is_lost_is_told_from_one_written_over(fault: str, form: str) -> None:
    past = History([flagged(number) for number in range(28)], {**KINDS, "flag": "category"})
    causes = search(Case(flagged(28, fault=fault), past, None)).causes
    (about,) = (one for one in causes if one.columns == ("flag",))
    assert about.form == form


def test_an_undone_unit_is_certain_and_says_how_to_mend_it() -> None:
    cause = first(look(FAULTS["metres to feet"][0]))
    assert cause.confidence == "certain"
    assert cause.undo_proved
    assert "0.3048" in cause.fix
    assert cause.effect.decisions_changed
    shown = cause.examples[0]
    assert shown["came"]["depth"] == pytest.approx(shown["undone"]["depth"] * 3.28084)


def test_a_fault_of_one_caller_names_the_caller() -> None:
    def change(rows: pl.DataFrame) -> pl.DataFrame:
        mine = pl.col("mw.caller") == "probe/2"
        return rows.with_columns(
            pl.when(mine).then(pl.col("depth") * 3.28084).otherwise(pl.col("depth")).alias("depth")
        )

    cause = first(look(change))
    assert (cause.kind, cause.column) == ("scale", "depth")
    assert cause.slice == ("mw.caller", "probe/2")


def test_two_faults_at_once_are_both_found() -> None:
    def change(rows: pl.DataFrame) -> pl.DataFrame:
        return FAULTS["capital letters"][0](FAULTS["metres to feet"][0](rows))

    found = {(one.kind, one.column) for one in look(change).causes}
    assert {("scale", "depth"), ("categories", "site")} <= found


def test_duplicates_are_found_where_rows_are_all_there() -> None:
    rows = day(28)
    again = rows[np.sort(np.concatenate([np.arange(ROWS), np.random.default_rng(1).choice(ROWS, 150)])).tolist()]
    assert first(search(Case(again, HISTORY, score, 0.5))).form == "duplicates"
    assert not search(Case(again, HISTORY, score, 0.5, whole=False)).causes, "a sample cannot tell"


def test_a_longer_window_of_rows_that_repeat_by_nature_holds_no_more_duplicates_than_it_must() -> None:
    def ride(number: int, rows: int) -> pl.DataFrame:
        rng = np.random.default_rng([8, number])
        start = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)
        frame = pl.DataFrame({"mw.time": [start + timedelta(seconds=60 * k) for k in range(rows)]}).with_columns(
            pl.Series("stop", rng.choice(list("abcdefgh"), rows)), pl.Series("zone", rng.integers(0, 150, rows) * 1.0)
        )
        return frame.with_columns((pl.col("zone") / 150).alias("mw.score"))

    history = History([ride(number, 200) for number in range(28)], {"stop": "category", "zone": "whole"})

    def found(rows: pl.DataFrame) -> list[str]:
        case = Case(rows, history, lambda rows: (rows["zone"] / 150).to_numpy(), 0.5)
        return [one.form for one in fingerprints(case) if one.form == "duplicates"]

    assert found(ride(40, 600)) == []
    again = pl.concat([rows := ride(40, 600), rows.sample(500, seed=1)]).sort("mw.time")
    assert found(again) == ["duplicates"]


@pytest.mark.parametrize("number", range(28, 40))
def test_clean_days_are_silent(number: int) -> None:
    assert look(number=number).causes == ()


HARMLESS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "whole numbers as decimals": mapped("count", pl.col("count").cast(pl.Float64)),
    "a rare new category": replaced("site", "west", 0.01),
    "a column without weight in other units": mapped("idle", pl.col("idle") * 1000),
    "a column without weight is null": mapped("idle", pl.lit(None, dtype=pl.Float64)),
    "a little more pressure": mapped("pressure", pl.col("pressure") + 2),
    "columns in another order": lambda rows: rows.select(reversed(rows.columns)).select(rows.columns),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_changes_are_silent(name: str) -> None:
    found = look(HARMLESS[name])
    assert found.causes == (), [one.detail for one in found.causes]


def test_a_change_without_weight_is_told_as_harmless() -> None:
    found = look(HARMLESS["a column without weight is null"])
    assert [(one.kind, one.column) for one in found.harmless] == [("nulls", "idle")]


def test_twice_the_traffic_is_silent() -> None:
    assert search(Case(day(30, rows=2 * ROWS), HISTORY, score, 0.5)).causes == ()


def test_under_sixteen_past_days_nothing_is_said() -> None:
    few = History([day(number) for number in range(15)], KINDS)
    rows = FAULTS["metres to feet"][0](day(28))
    assert search(Case(rows, few, score, 0.5)).causes == ()


def test_without_a_model_causes_are_named_and_effects_unknown() -> None:
    rows = FAULTS["metres to feet"][0](day(28))
    cause = first(search(Case(rows, HISTORY, None, None)))
    assert cause.form == "unit"
    assert cause.effect.decisions_changed is None


def test_the_same_case_gets_the_same_answer() -> None:
    change = FAULTS["nulls"][0]
    assert [one.to_dict() for one in look(change).causes] == [one.to_dict() for one in look(change).causes]


def refused(rows: int, field: str, came: str, expected: str, error: str, caller: str = "probe/2") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "mw.id": [f"r{k}" for k in range(rows)],
            "mw.time": [START + timedelta(minutes=k) for k in range(rows)],
            "mw.received": [START + timedelta(minutes=k) for k in range(rows)],
            "mw.caller": [caller] * rows,
            "field": [field] * rows,
            "came": [came] * rows,
            "expected": [expected] * rows,
            "error": [error] * rows,
        }
    )


def answered(rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"mw.received": [START + timedelta(minutes=k) for k in range(rows)], "mw.caller": ["probe/1"] * rows}
    )


@pytest.mark.parametrize(
    ("came", "expected", "error", "kind", "form"),
    [
        ("a string that holds a number", "a number or null", "", "type", "number_as_text"),
        ("a string", "true or false", "", "type", "bool_as_text"),
        ("nothing", "a number", 'the field "depth" is missing', "columns", "missing"),
        ("nothing", "a number", 'the field "depth" is missing; it has "deep", which', "columns", "renamed"),
        ("a field the model does not know", "6 fields", "", "columns", "unknown"),
        ("null", "a number", "", "nulls", "nulls"),
    ],
)
def test_refused_requests_say_what_came(came: str, expected: str, error: str, kind: str, form: str) -> None:
    found = refusals.causes(refused(40, "depth", came, expected, error), answered(100), [0.0] * 20)
    assert [(one.kind, one.form, one.column, one.confidence) for one in found] == [(kind, form, "depth", "certain")]
    assert found[0].slice == ("mw.caller", "probe/2")
    assert found[0].since == START


def test_requests_that_the_model_fails_on_are_its_codes_fault() -> None:
    rows = refused(40, "", "KeyError in features() (train.py, line 3)", "", "").with_columns(status=pl.lit(500))
    [found] = refusals.causes(rows, answered(100), [0.0] * 20)
    assert (found.kind, found.form, found.columns) == ("preprocessing", "fails", ())
    assert "40 requests failed" in found.detail
    [found] = refusals.causes(rows.with_columns(came=pl.lit("it gave nan")), answered(100), [0.0] * 20)
    assert (found.kind, found.form) == ("environment", "fails")


def test_refusals_as_usual_are_silent() -> None:
    assert refusals.causes(refused(5, "depth", "a string", "a number", ""), answered(100), []) == []
    assert refusals.causes(refused(10, "depth", "a string", "a number", ""), answered(90), [0.09, 0.1]) == []

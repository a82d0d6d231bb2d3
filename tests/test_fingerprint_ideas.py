"""Ideas behind the fingerprints, each on a made stream of house sales that no bench knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from middlewatch.fingerprints import Case, Cause, History, Search, search
from middlewatch.fingerprints.case import as_numbers
from middlewatch.fingerprints.lattice import coarsest_step, decimal_step, lattice_of, spacing

ROWS = 500
START = datetime(2026, 5, 1, 6, tzinfo=UTC)
KINDS = {
    "price": "number",
    "area": "number",
    "rent": "number",
    "heat": "number",
    "garden": "boolean",
    "town": "category",
    "style": "category",
}
Change = Callable[[pl.DataFrame], pl.DataFrame]


def day(number: int) -> pl.DataFrame:
    """Sales of a day: prices to the unit and new every day, rents to the cent with nulls, heat in tenths and warmer
    from day to day; a style goes with the area, towns with nothing."""
    rng = np.random.default_rng([19, number])
    area = np.round(rng.gamma(8, 12, ROWS), 1)
    style = np.where(area > 110, rng.choice(["villa", "row"], ROWS, p=[0.8, 0.2]), rng.choice(["flat", "row"], ROWS))
    rent = np.round(np.exp(6.4 + 0.5 * rng.normal(size=ROWS)), 2)
    frame = pl.DataFrame(
        {
            "mw.time": [START + timedelta(days=number, minutes=k) for k in range(ROWS)],
            "mw.caller": rng.choice(["desk/2", "app/7"], ROWS, p=[0.8, 0.2]),
            "price": np.round(np.exp(11.8 + 0.6 * rng.normal(size=ROWS))),
            "area": area,
            "rent": np.where(rng.random(ROWS) < 0.1, np.nan, rent),
            "heat": np.round(rng.normal(9 + 0.1 * number, 2, ROWS), 1),
            "garden": rng.random(ROWS) < 0.3,
            "town": rng.choice(["Ulm", "Jena", "Bonn", "Kiel"], ROWS, p=[0.45, 0.27, 0.18, 0.1]),
            "style": style,
        },
        schema_overrides={"mw.time": pl.Datetime("us", "UTC")},
    ).with_columns(pl.col("rent").fill_nan(None))
    return frame.with_columns(pl.Series("mw.score", score(frame)))


def score(rows: pl.DataFrame) -> NDArray[np.float64]:
    def number(column: str, usual: float) -> NDArray[np.float64]:
        return rows[column].cast(pl.Float64).fill_null(usual).to_numpy()

    raw = np.log(np.clip(number("price", 133e3), 1, None) / 133e3) + number("area", 96) / 40
    raw = raw + number("heat", 10) / 6 + np.log(np.clip(number("rent", 600), 1, None) / 600)
    raw = raw + rows["garden"].cast(pl.Float64).fill_null(0.3).to_numpy()
    raw = raw + rows["town"].replace_strict({"Ulm": 0.9, "Jena": -0.9, "Bonn": 0.4}, default=0.0).to_numpy()
    raw = raw + rows["style"].replace_strict({"villa": 0.7, "flat": -0.8}, default=0.0).to_numpy()
    scores: NDArray[np.float64] = 1 / (1 + np.exp(4 - raw))
    return scores


HISTORY = History([day(number) for number in range(28)], KINDS)


def look(change: Change | None = None, *, number: int = 28) -> Search:
    rows = day(number)
    if change is not None:
        rows = change(rows)
    return search(Case(rows.with_columns(pl.Series("mw.score", score(rows))), HISTORY, score, 0.5))


def first(change: Change) -> Cause:
    found = look(change)
    assert found.causes, f"nothing named; unusual: {found.shapes}"
    return found.causes[0]


def mapped(column: str, change: pl.Expr, share: float = 1.0, caller: str | None = None) -> Change:
    def play(rows: pl.DataFrame) -> pl.DataFrame:
        hit = np.random.default_rng(2).random(rows.height) < share
        if caller is not None:
            hit &= (rows["mw.caller"] == caller).to_numpy()
        return rows.with_columns(pl.when(pl.Series(hit)).then(change).otherwise(pl.col(column)).alias(column))

    return play


price, area, rent, heat = (pl.col(name) for name in ("price", "area", "rent", "heat"))
FAULTS: dict[str, tuple[Change, str, str, str]] = {
    "a small factor on money, seen by its digits": (mapped("price", price * 1.05), "price", "scale", "free ratio"),
    "a unit on money": (mapped("rent", rent * 1.609344), "rent", "scale", "unit"),
    "a unit, rounded on the way": (mapped("area", (area * 3.28084).round(0)), "area", "scale", "unit"),
    "a sign in some rows": (mapped("price", -price, 0.3), "price", "scale", "sign"),
    "scaled by another season": (mapped("heat", (heat - 6.3) / 2.6), "heat", "scale", "already_scaled"),
    "scaled from 0 to 1": (mapped("area", (area - 14.2) / 260.3), "area", "scale", "already_scaled"),
    "cut off": (mapped("area", (area / 20).floor() * 20), "area", "precision", "truncated"),
    "rounded": (mapped("area", (area / 20).round() * 20), "area", "precision", "rounded"),
    "turned truths": (mapped("garden", ~pl.col("garden")), "garden", "categories", "permuted"),
    "turned truths of a caller": (
        mapped("garden", ~pl.col("garden"), caller="desk/2"), "garden", "categories", "permuted"),
    "exchanged towns, without company": (
        mapped("town", pl.col("town").replace({"Ulm": "Kiel", "Kiel": "Ulm"})), "town", "categories", "permuted"),
    "a default style, not in its company": (mapped("style", pl.lit("villa"), 0.4), "style", "fill", "default"),
    "a frequent default": (mapped("heat", pl.lit(11.0), 0.2), "heat", "fill", "default"),
    "nulls of a caller over usual ones": (mapped("rent", pl.lit(None), caller="app/7"), "rent", "nulls", "nulls"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_an_idea_names_its_kind(name: str) -> None:
    change, column, kind, form = FAULTS[name]
    cause = first(change)
    assert (cause.column, cause.kind, cause.form) == (column, kind, form), cause.detail


def test_a_feed_that_stands_still_is_not_called_rounded() -> None:
    values = pl.Series(np.random.default_rng(5).choice([60.0, 80.0, 100.0], ROWS))
    cause = first(lambda rows: rows.with_columns(values.alias("area")))
    assert (cause.column, cause.form) == ("area", "stale")


def test_a_value_written_over_others_is_not_called_an_exchange() -> None:
    named = look(mapped("style", pl.lit("villa"), 0.6)).causes
    assert named[0].column == "style"
    assert "permuted" not in {one.form for one in named}


def test_a_grid_proves_a_factor_and_prints_its_inverse() -> None:
    cause = first(FAULTS["a small factor on money, seen by its digits"][0])
    assert cause.confidence == "certain"
    assert cause.facts["slope"] == pytest.approx(1.05)
    shown = cause.examples[0]
    assert shown["undone"]["price"] == round(shown["undone"]["price"])


@pytest.mark.parametrize("onset", [60, 200, 350])
@pytest.mark.parametrize("factor", [0.86, 1.37])
def test_a_factor_on_money_is_found_wherever_it_began(onset: int, factor: float) -> None:
    late = pl.int_range(pl.len()) >= onset
    changed = pl.when(late).then(price * factor).otherwise(price)
    cause = first(lambda rows: rows.with_columns(changed.alias("price")))
    assert (cause.column, cause.kind, cause.form) == ("price", "scale", "free ratio"), cause.detail
    assert abs(cause.facts["slope"] - factor) < 1e-9
    assert np.flatnonzero(cause.affected)[0] == onset


def coded(number: int, turn: int = 0, seed: int = 0) -> pl.DataFrame:
    """A day with twenty codes, some of them rare, that go with the area; `turn` moves each to a later name."""
    rng = np.random.default_rng([23, number, seed])
    shares = 1 / np.arange(2, 22) ** 1.3
    code = rng.choice(20, ROWS, p=shares / shares.sum())
    names = pl.Series("code", [f"c{(one + turn) % 20:02d}" for one in code])
    rows = day(number).with_columns(names, pl.Series("area", np.round(40 + 9.0 * code + rng.normal(0, 12, ROWS), 1)))
    return rows.with_columns(pl.Series("mw.score", score(rows)))


def told_of_codes(now: pl.DataFrame) -> list[tuple[str | None, str, str]]:
    """Named or not, as the score does not ask for the code."""
    history = History([coded(back) for back in range(28)], {**KINDS, "code": "category"})
    found = search(Case(now, history, score, 0.5))
    return [(one.column, one.kind, one.form) for one in (*found.causes, *found.harmless)]


def test_codes_that_all_moved_by_one_are_exchanged_although_some_are_rare() -> None:
    assert told_of_codes(coded(28, turn=1))[:1] == [("code", "categories", "permuted")]


@pytest.mark.parametrize("seed", range(1, 13))
def test_of_many_rare_codes_no_pair_is_called_exchanged(seed: int) -> None:
    assert told_of_codes(coded(28, seed=seed)) == []


def test_a_caller_is_named_where_some_nulls_are_usual() -> None:
    assert first(FAULTS["nulls of a caller over usual ones"][0]).slice == ("mw.caller", "app/7")


HARMLESS: dict[str, Change] = {
    "through 32 bits": mapped("heat", heat.cast(pl.Float32).cast(pl.Float64)),
    "money through 32 bits": mapped("rent", rent.cast(pl.Float32).cast(pl.Float64)),
    "half the rows through 32 bits": mapped("heat", heat.cast(pl.Float32).cast(pl.Float64), 0.5),
    "a little more of everything": mapped("price", (price * 1.01).round(0)),
    "a rare style": mapped("style", pl.lit("tower"), 0.006),
    "a caller stays away": lambda rows: rows.filter(pl.col("mw.caller") != "app/7"),
    "half the rows": lambda rows: rows[::2],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_matter_is_silent(name: str) -> None:
    found = look(HARMLESS[name])
    assert found.causes == (), [one.detail for one in found.causes]


def test_decimals_come_back_where_only_some_values_passed_through_32_bits() -> None:
    some = pl.DataFrame({"heat": [9.4, float(np.float32(9.4)), 0.0625, 7.0, None]})
    np.testing.assert_array_equal(as_numbers(some, "heat"), [9.4, 9.4, 0.0625, 7.0, np.nan])


@pytest.mark.parametrize("number", range(28, 38))
def test_good_days_are_silent(number: int) -> None:
    assert look(number=number).causes == ()


def test_a_world_that_moved_is_given_no_unit() -> None:
    noise = pl.Series(np.random.default_rng(4).normal(2.0, 0.5, ROWS))
    named = look(lambda rows: rows.with_columns((pl.col("heat") + noise).round(1).alias("heat"))).causes
    assert {one.kind for one in named} <= {"drift"}


# -- where values lie ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    mean=st.floats(-200, 200),
    deviation=st.floats(0.5, 300),
    step=st.sampled_from([0.1, 1.0, 0.01]),
    seed=st.integers(0, 999),
)
def test_spacing_finds_the_deviation_that_scaled_a_column(
    mean: float, deviation: float, step: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    true = np.round(rng.normal(mean, 30 * step, 400) / step) * step
    found = spacing((true - mean) / deviation, step, deviation / 2, deviation * 2.4)
    assert found == pytest.approx(deviation, rel=0.01)


def test_spacing_of_values_without_steps_is_none() -> None:
    assert spacing(np.random.default_rng(1).normal(0, 1, 300), 0.1, 1.0, 6.0) == 0.0


@pytest.mark.parametrize(
    ("step", "values"), [(100.0, [300, 1200, 700]), (1.0, [3, 12, 705]), (0.01, [1.25, 7.1, 9.99])]
)
def test_the_decimal_step_is_the_coarsest_that_holds(step: float, values: list[float]) -> None:
    assert decimal_step(np.array(values, float)) == step


def test_the_coarsest_step_knows_fives_and_twos() -> None:
    assert coarsest_step(np.array([15.0, 40.0, 85.0]), 100) == 5.0
    assert coarsest_step(np.array([0.4, 0.2, 1.6]), 100) == 0.2
    assert coarsest_step(np.array([np.pi, np.e]), 100) == 0.0


def test_a_column_that_lies_anywhere_has_no_lattice() -> None:
    windows = [np.random.default_rng(k).normal(size=200) for k in range(20)]
    pooled = np.sort(np.concatenate(windows))
    assert lattice_of(windows, pooled, pooled, np.ones(20)) is None


def test_money_lies_on_cents() -> None:
    windows = [np.round(np.random.default_rng(k).lognormal(6, 1, 200), 2) for k in range(20)]
    pooled = np.sort(np.concatenate(windows))
    found = lattice_of(windows, pooled, np.unique(pooled), np.ones(20))
    assert found is not None
    assert found.step == 0.01
    assert found.holds(np.array([12.34, 12.345])).tolist() == [True, False]


def departures(zone: str, first: datetime, *, behind: int, later: int) -> list[pl.DataFrame]:
    """29 days of requests through the day with the hour of the clock on a wall of a zone; on the last day it may be
    some hours wrong for half of the callers, or days later."""
    days = []
    for number in range(29):
        rng = np.random.default_rng([31, number])
        at = pl.datetime_range(first, first + timedelta(minutes=1429), "150s", time_zone="UTC", eager=True)
        rows = pl.DataFrame(
            {"mw.time": at.dt.offset_by(f"{number + later * (number == 28)}d").cast(pl.Datetime("us", "UTC"))}
        ).with_columns(
            pl.Series("mw.caller", rng.choice(["gate/1", "desk/2"], len(at))),
            pl.col("mw.time").dt.convert_time_zone(zone).dt.hour().cast(pl.Float64).alias("hour"),
            pl.Series("load", rng.normal(50, 9, len(at)).round(1)),
        )
        wrong = pl.when(pl.col("mw.caller") == "desk/2").then(behind if number == 28 else 0).otherwise(0)
        rows = rows.with_columns((pl.col("hour") - wrong) % 24)
        days.append(rows.with_columns(((pl.col("hour") + pl.col("load") / 9) / 40).alias("mw.score")))
    return days


@pytest.mark.parametrize(
    ("zone", "last"), [("America/New_York", (2026, 3, 8)), ("Europe/Paris", (2026, 10, 25)), ("UTC", (2026, 3, 9))]
)
def test_hours_on_the_wall_may_move_with_the_clocks_and_no_further(zone: str, last: tuple[int, int, int]) -> None:
    def found(behind: int, later: int = 0) -> Search:
        *past, now = departures(zone, datetime(*last, tzinfo=UTC) - timedelta(days=28), behind=behind, later=later)
        history = History(past, {"hour": "whole", "load": "number"})
        return search(Case(now, history, lambda rows: ((rows["hour"] + rows["load"] / 9) / 40).to_numpy(), 0.5))

    for later in (0, 1):  # the day of the change, and the one after it, wholly in summer or winter time
        assert not [one for one in found(0, later).causes if one.kind == "time"]
    cause = found(2).causes[0]
    assert (cause.kind, cause.form, cause.columns) == ("time", "zone", ("hour",))


def rainfall(number: int, share: float, step: float) -> pl.DataFrame:
    """A column that is nearly always zero, and a score of it."""
    rng = np.random.default_rng([23, number])
    rain = np.where(rng.random(ROWS) < share, np.round(rng.exponential(2.0, ROWS) / step) * step, 0.0)
    times = [START + timedelta(days=number, minutes=k) for k in range(ROWS)]
    return pl.DataFrame({"mw.time": times, "rain": rain, "mw.score": rain})


@pytest.mark.parametrize("step", [0.1, 0.013])
def test_a_wet_day_in_a_dry_column_is_looked_at_though_the_usual_is_one_value(step: float) -> None:
    history = History([rainfall(number, 0.02, 0.1) for number in range(28)], {"rain": "number"})
    found = search(Case(rainfall(28, 0.3, step), history, lambda rows: rows["rain"].to_numpy()))
    assert "scale" not in {one.kind for one in found.causes}


def sight(number: int, miles: list[float], shares: list[float]) -> pl.DataFrame:
    """How far one sees, in miles, and a score of it."""
    far = np.random.default_rng([29, number]).choice(miles, ROWS, p=shares)
    times = [START + timedelta(days=number, minutes=k) for k in range(ROWS)]
    return pl.DataFrame({"mw.time": times, "miles": far, "mw.score": far})


def test_fog_after_clear_weeks_is_looked_at_though_all_of_it_is_nearest_to_one_step() -> None:
    history = History(
        [sight(k, [7.0, 8.0, 9.0, 10.0], [0.003, 0.01, 0.03, 0.957]) for k in range(28)], {"miles": "number"}
    )
    fog = sight(28, [0.25, 0.75, 1.0, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0], [1 / 11] * 11)
    found = search(Case(fog, history, lambda rows: rows["miles"].to_numpy()))
    assert "already_scaled" not in {one.form for one in found.causes}

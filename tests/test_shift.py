"""The alarm line: what the channels read, what the line means, and that the past is not changed by looking."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch import shift
from middlewatch.beside import by_column, repeats_of
from middlewatch.profiles import ColumnSpec, ProfileSpec, profile
from middlewatch.shift import Facts, Watch, alarm_line, cut, facts_of, rate, shape
from middlewatch.shift.channels import WHOLE_ROWS, Sharing, alike, sharing

START = date(2013, 1, 1)
SPEC = ProfileSpec(
    (
        ColumnSpec("distance", "number", centre=900.0),
        ColumnSpec("seats", "whole", centre=150.0),
        ColumnSpec("carrier", "category"),
        ColumnSpec(shift.SCORE, "number"),
    )
)


def frame(n: int, chance: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "distance": np.round(chance.normal(900, 300, n), 1),
            "seats": chance.choice([50, 100, 150, 200], n),
            "carrier": chance.choice(["AA", "B6", "UA"], n, p=[0.6, 0.3, 0.1]),
            shift.SCORE: chance.beta(2, 5, n),
        }
    )


def window(changed: pl.DataFrame) -> dict[str, Facts]:
    return facts_of(profile(changed, SPEC))


def quiet(days: int, *, n: int = 300, seed: int = 0, budget: float = 1.0) -> tuple[Watch, list[shift.Verdict]]:
    """Days of the same distribution: nothing but sampling moves."""
    watch, chance = Watch(budget=budget), np.random.default_rng(seed)
    days_of = [(START + timedelta(days=day), window(frame(n, chance))) for day in range(days)]
    return watch, [judged(watch, day, facts) for day, facts in days_of]


def judged(watch: Watch, day: date, facts: Mapping[str, Facts]) -> shift.Verdict:
    """The verdict on a window that is then learnt."""
    verdict = watch.look(day, facts)
    watch.step(day, facts)
    return verdict


@pytest.fixture(scope="module")
def settled() -> tuple[Watch, pl.DataFrame, date]:
    """120 quiet days, a clean frame for the next, and its date."""
    watch, _ = quiet(120)
    return watch, frame(300, np.random.default_rng(99)), START + timedelta(days=120)


# --------------------------------------------------------------------------- channels


@pytest.mark.parametrize("n", [100, 1000, 5000])
def test_shape_is_about_one_where_nothing_changed(n: int) -> None:
    chance = np.random.default_rng(n)
    reference = chance.multinomial(28 * n, np.full(14, 1 / 14))
    found = [shape(chance.multinomial(n, np.full(14, 1 / 14)), reference) for _ in range(400)]
    assert np.mean([one for one in found if one is not None]) == pytest.approx(1.05, abs=0.12)


def test_shape_wants_thirty_values_on_either_side() -> None:
    many, few = np.array([50, 50]), np.array([10, 19])
    assert shape(few, many) is None
    assert shape(many, few) is None
    assert shape(np.array([30]), np.array([99])) == 0.0


def test_shape_of_two_different_worlds_grows_with_n_up_to_the_cap() -> None:
    here, there = np.array([1000, 0]), np.array([0, 28000])
    grown = shape(here, there)
    assert grown is not None
    assert grown == pytest.approx(8 / (1 / 1000 + 1 / 28000), rel=1e-9)
    assert shape(here * 100, there, most=1000) == pytest.approx(grown)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10**7))
def test_rate_is_a_distance(a: float, b: float, n: int) -> None:
    assert rate(a, b, n) == rate(b, a, n) >= 0
    assert rate(a, a, n) == 0
    assert rate(a, b, 4 * n) == pytest.approx(2 * rate(a, b, n))


def test_bins_are_quantiles_with_heavy_values_alone() -> None:
    chance = np.random.default_rng(3)
    values = np.concatenate([np.zeros(600), chance.normal(100, 20, 1200)])
    spec = ProfileSpec((ColumnSpec("x", "number"),))
    facts = facts_of(profile(pl.DataFrame({"x": values}), spec))["x"]
    made = cut([facts])
    assert made is not None
    counts = made.count(facts)
    assert counts is not None
    assert counts.sum() == 1800
    assert (counts[0], counts[-1]) == (0, 0)  # below and above all seen
    assert 600 in counts.tolist()
    assert 9 <= np.count_nonzero(counts) <= 14
    assert max(one for one in counts.tolist() if one != 600) < 600
    beyond = facts_of(profile(pl.DataFrame({"x": [-500.0] * 3 + [900.0] * 5}), spec))["x"]
    outside = made.count(beyond)
    assert outside is not None
    assert (outside[0], outside[-1]) == (3, 5)


def test_category_bins_tell_rare_from_never_seen() -> None:
    texts = {f"c{one:02d}": 1000 - one for one in range(40)}
    made = cut([Facts(rows=40000, n=40000, texts=texts)])
    assert made is not None
    counts = made.count(Facts(rows=6, n=6, texts={"c00": 3, "c39": 2, "new": 1}))
    assert counts is not None
    assert (counts.size, counts[0], counts[-2], counts[-1]) == (32, 3, 2, 1)


def test_other_kinds_are_not_counted_by_old_bins() -> None:
    numbers = facts_of(profile(pl.DataFrame({"x": [1.0, 2.0]}), ProfileSpec((ColumnSpec("x", "number"),))))["x"]
    texts = Facts(rows=2, n=2, texts={"a": 2})
    for one, other in ((numbers, texts), (texts, numbers)):
        made = cut([one])
        assert made is not None
        assert made.count(other) is None
    assert cut([Facts(rows=5, n=0)]) is None


# --------------------------------------------------------------------------- the line


def test_the_line_is_the_kth_largest_between_ranks_too() -> None:
    past = [0.1, 0.9, 0.5, 0.3, 0.7]
    assert alarm_line(past, 1) == 0.9
    assert alarm_line(past, 1.5) == pytest.approx(0.8)
    assert alarm_line(past, 3) == 0.5
    assert alarm_line(past, 99) == 0.1


@given(
    st.lists(st.floats(-5, 5), min_size=14, max_size=90),
    st.floats(0.01, 20),
    st.floats(0.01, 20),
)
def test_a_larger_budget_never_raises_the_line(past: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert alarm_line(past, high) <= alarm_line(past, low) + 1e-9
    assert alarm_line(past, low) == alarm_line(list(reversed(past)), low)
    if high < 1:
        assert alarm_line(past, high) >= max(past)


# --------------------------------------------------------------------------- the fold


def test_it_learns_then_guesses_then_judges() -> None:
    _, verdicts = quiet(65)
    states = [one.state for one in verdicts]
    assert states[: shift.MIN_REFERENCE + 7 + shift.LEARN] == ["learning"] * 28
    assert states[28:60] == ["provisional"] * 32
    assert states[60:] == ["judged"] * 5
    assert not any(one.alarm for one in verdicts[:28])


def test_alarms_on_independent_days_keep_to_the_budget() -> None:
    _, verdicts = quiet(300, n=200, seed=11)
    late = verdicts[118:]
    assert sum(one.alarm for one in late) / len(late) <= 0.06


Planted = dict[str, tuple[Any, set[str], str]]
FAULTS: Planted = {
    "unit": (pl.col("distance") * 1.609344, {"distance"}, "shape"),
    "nulls": (
        pl.when(pl.int_range(pl.len()) % 5 == 0).then(None).otherwise(pl.col("distance")).alias("distance"),
        {"distance"},
        "null",
    ),
    "sentinel": (
        pl.when(pl.int_range(pl.len()) % 20 == 0).then(-999).otherwise(pl.col("seats")).alias("seats"),
        {"seats"},
        "novelty",
    ),
    "renamed": (pl.col("carrier").replace("UA", "United"), {"carrier"}, "novelty"),
    "rounded": (pl.col("distance").round(), {"distance"}, "whole"),
    "constant": (pl.lit(150, dtype=pl.Int64).alias("seats"), {"seats"}, "repeat"),
    "off the lattice": ((pl.col("seats") + 7).alias("seats"), {"seats"}, "lattice"),
    "scores collapse": (pl.lit(0.28).alias(shift.SCORE), {shift.SCORE}, "shape"),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_alarms_on_its_first_day_and_names_its_column(
    name: str, settled: tuple[Watch, pl.DataFrame, date]
) -> None:
    watch, clean, day = settled
    change, columns, channel = FAULTS[name]
    assert not watch.look(day, window(clean)).alarm
    verdict = watch.look(day, window(clean.with_columns(change)))
    assert verdict.alarm
    assert {one.column for one in verdict.moved} == columns
    moved = {one.channel: one for one in verdict.moved}
    assert channel in moved
    assert verdict.passes(verdict.readings[0])


def test_shares_say_what_happened(settled: tuple[Watch, pl.DataFrame, date]) -> None:
    watch, clean, day = settled
    change, _, _ = FAULTS["nulls"]
    reading = next(one for one in watch.look(day, window(clean.with_columns(change))).readings if one.channel == "null")
    assert reading.now == pytest.approx(0.2)
    assert reading.usual == 0.0
    assert reading.to_dict()["score"] == round(reading.height, 4)


def test_looking_changes_nothing_and_a_copy_goes_its_own_way(settled: tuple[Watch, pl.DataFrame, date]) -> None:
    watch, clean, day = settled
    faulty = window(clean.with_columns(FAULTS["unit"][0]))
    before = watch.look(day, window(clean))
    twin = watch.copy()
    for later in range(3):
        twin.step(day + timedelta(days=later), faulty)
    assert watch.look(day, window(clean)) == before
    assert (len(watch), len(twin)) == (120, 123)
    # To the twin the fault is part of what has been.
    assert twin.look(day + timedelta(days=3), faulty).readings[0].score < watch.look(day, faulty).readings[0].score


def test_the_same_windows_give_the_same_verdicts() -> None:
    _, once = quiet(50, seed=4)
    _, again = quiet(50, seed=4)
    assert once == again


def test_a_small_shift_that_stays_is_seen_by_the_second_day(settled: tuple[Watch, pl.DataFrame, date]) -> None:
    watch, _, day = settled
    twin, chance = watch.copy(), np.random.default_rng(5)
    alarms = []
    for later in range(3):
        moved = frame(300, chance).with_columns(pl.col("distance") + 90)
        alarms.append(judged(twin, day + timedelta(days=later), window(moved)).alarm)
    assert any(alarms)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 40), st.sampled_from(["distance", "seats", "carrier", shift.SCORE]))
def test_thin_empty_and_missing_columns_have_a_defined_answer(n: int, gone: str) -> None:
    watch, _ = quiet(30, n=60)
    thin = frame(n, np.random.default_rng(n)).with_columns(pl.lit(None).cast(pl.Float64).alias("distance"))
    facts: Mapping[str, Facts] = {name: one for name, one in window(thin).items() if name != gone}
    verdict = judged(watch, START + timedelta(days=30), facts)
    assert all(np.isfinite(one.value) and np.isfinite(one.height) for one in verdict.readings)
    if n < shift.MIN_ROWS:
        assert verdict.values == {}
    back = watch.look(START + timedelta(days=31), window(frame(60, np.random.default_rng(1))))
    assert back.readings


def test_half_the_rows_alarm_and_a_little_fewer_do_not() -> None:
    watch, _ = quiet(120, n=300, seed=8)
    chance = np.random.default_rng(77)
    verdict = watch.look(START + timedelta(days=120), window(frame(120, chance)))
    assert verdict.usual_rows == 300
    assert verdict.notes == ("120 rows, usually 300 on this weekday",)
    assert verdict.alarm
    assert (verdict.readings[0].column, verdict.readings[0].channel) == ("(rows)", "volume")
    assert (verdict.readings[0].now, verdict.readings[0].usual) == (0.4, 1.0)
    fewer = watch.look(START + timedelta(days=120), window(frame(260, chance)))
    assert not fewer.alarm


def test_nulls_in_every_hour_are_told_from_a_burst() -> None:
    """A source that is out for a while leaves nulls in bursts; a few in every hour are another matter."""
    chance = np.random.default_rng(3)
    watch = Watch(budget=2)

    def day(nulls: int, scattered: float) -> Mapping[str, Facts]:
        rows = frame(900, chance)
        rows = rows.with_columns(pl.when(pl.int_range(900) >= nulls).then("distance").alias("distance"))
        return {
            name: replace(one, scattered=scattered if name == "distance" else 0.0) for name, one in window(rows).items()
        }

    for at in range(120):
        watch.step(START + timedelta(days=at), day(300 if at % 9 == 0 else 0, 0.0))
    later = START + timedelta(days=120)
    assert not watch.look(later, day(300, 0.0)).alarm
    spread = watch.look(later, day(45, 0.05))
    assert spread.alarm
    assert (spread.readings[0].column, spread.readings[0].channel) == ("distance", "scattered")


def test_a_shuffled_column_is_told_by_what_it_goes_with() -> None:
    watch = Watch(budget=2)

    def day(tie: float, weather: float) -> Mapping[str, Facts]:
        ties = {"distance": {"seats": tie, "carrier": weather}}
        made = window(frame(300, np.random.default_rng(int(tie * 1e4 + weather * 1e3))))
        return {name: replace(one, ties=ties.get(name, {}), sampled=300) for name, one in made.items()}

    chance = np.random.default_rng(1)
    for at in range(120):
        # One partner it always goes with, and one on some days only: that one tells nothing.
        watch.step(START + timedelta(days=at), day(chance.uniform(0.68, 0.72), chance.uniform(0.0, 0.95)))
    later = START + timedelta(days=120)
    assert not watch.look(later, day(0.7, 0.0)).alarm
    broken = watch.look(later, day(0.03, 0.5))
    assert broken.alarm
    assert (broken.readings[0].column, broken.readings[0].channel) == ("distance", "tie")


def test_a_burst_that_ends_is_no_second_alarm() -> None:
    """Yesterday's nulls stay in the reference for 28 days: a day without any is low beside them, and is normal."""
    chance = np.random.default_rng(11)
    watch = Watch(budget=2)

    def day(nulls: int) -> Mapping[str, Facts]:
        rows = frame(900, chance)
        return window(rows.with_columns(pl.when(pl.int_range(900) >= nulls).then("distance").alias("distance")))

    def null(verdict: shift.Verdict) -> shift.Reading:
        return next(one for one in verdict.readings if (one.column, one.channel) == ("distance", "null"))

    for at in range(80):
        watch.step(START + timedelta(days=at), day(0))
    watch.step(START + timedelta(days=80), day(45))
    tomorrow = START + timedelta(days=81)
    assert null(watch.look(tomorrow, day(0))).height < 0
    assert null(watch.look(tomorrow, day(45))).lasting > 0


# --------------------------------------------------------------------------- lengths of windows


def test_a_month_of_alarms_is_the_same_whatever_the_windows_are() -> None:
    assert shift.DAY.alarms(2, 90) == pytest.approx(6)
    assert shift.WEEK.alarms(2, 30) == pytest.approx(shift.DAY.alarms(2, 210))


def test_bins_are_made_anew_by_the_calendar() -> None:
    for length, days in ((shift.DAY, 28), (shift.WEEK, 196)):
        periods = [length.period(START + timedelta(at)) for at in range(3 * days)]
        changes = [at for at in range(1, len(periods)) if periods[at] != periods[at - 1]]
        assert changes[1] - changes[0] == days


def twice(pairs: int, rows: int) -> dict[str, Any]:
    """So many rows have a twin, by the way of stored windows."""
    made = pl.DataFrame({"seats": [*range(rows - pairs), *range(pairs)]})
    stored = by_column({"scattered": {}, "repeats": repeats_of(made, ["seats"])})
    return stored[WHOLE_ROWS]


def test_what_training_rows_cannot_tell_is_not_held_against_traffic() -> None:
    """A training sample holds a tenth of the rows, each once and in an order of its own: no news on day 1."""
    chance = np.random.default_rng(33)
    watch = Watch(budget=2)
    for at in range(100):
        sampled = window(frame(100, chance).sort("seats")) | {WHOLE_ROWS: Facts(rows=100, n=100, **twice(0, 100))}
        watch.step(START + timedelta(days=at), sampled, logged=False)
    alarms, told = 0, set[tuple[str, str]]()
    for at in range(100, 150):
        live = window(frame(1000, chance)) | {WHOLE_ROWS: Facts(rows=1000, n=1000, **twice(120, 1000))}
        verdict = watch.look(START + timedelta(days=at), live)
        alarms += verdict.alarm
        assert verdict.usual_rows in (None, 1000)
        told |= {(one.column, one.channel) for one in verdict.readings}
        if at < 114:
            assert not told & {("(rows)", "volume"), ("(rows)", "repeated"), ("seats", "repeat")}
        watch.step(START + timedelta(days=at), live)
    assert alarms <= 2
    assert {("(rows)", "volume"), ("(rows)", "repeated"), ("seats", "repeat")} <= told
    half = window(frame(400, chance)) | {WHOLE_ROWS: Facts(rows=400, n=400, **twice(48, 400))}
    assert judged(watch, START + timedelta(days=150), half).readings[0].channel == "volume"


def test_duplicates_are_seen_at_any_number_of_rows() -> None:
    """3 of 10 rows come twice: far beyond what a few clients that try again do, in 200 rows and in 200,000."""
    for rows in (200, 20_000, 200_000):
        watch, chance = Watch(budget=2), np.random.default_rng(rows)
        usual = [int(chance.poisson(rows * 0.002)) for _ in range(60)]
        for at, pairs in enumerate(usual):
            watch.step(START + timedelta(days=at), {WHOLE_ROWS: Facts(rows=rows, n=rows, **twice(pairs, rows))})
        fault = {WHOLE_ROWS: Facts(rows=rows, n=rows, **twice(rows * 3 // 10, rows))}
        clean = {WHOLE_ROWS: Facts(rows=rows, n=rows, **twice(rows // 500, rows))}
        verdict = watch.look(START + timedelta(days=60), fault)
        assert verdict.readings[0].channel == "repeated"
        assert verdict.readings[0].height > 2
        assert verdict.readings[0].now == pytest.approx(0.3)
        assert not watch.look(START + timedelta(days=60), clean).moved


def test_rows_that_come_twice_are_told() -> None:
    chance = np.random.default_rng(21)
    watch = Watch(budget=2)

    def day(repeated: int) -> Mapping[str, Facts]:
        return window(frame(300, chance)) | {
            WHOLE_ROWS: Facts(rows=300, n=300, **twice(int(chance.poisson(5)) + repeated, 300))
        }

    for at in range(100):
        watch.step(START + timedelta(days=at), day(0))
    later = START + timedelta(days=100)
    assert not watch.look(later, day(0)).alarm
    sent_again = watch.look(later, day(60))
    assert sent_again.alarm
    assert (sent_again.readings[0].column, sent_again.readings[0].channel) == ("(rows)", "repeated")


@pytest.mark.parametrize("n", [100, 1_000, 5_000])
def test_sharing_a_value_means_the_same_at_any_number_of_rows(n: int) -> None:
    """Nothing changes: the distance to the usual share of pairs is a standard normal's upper half, whatever n."""
    chance = np.random.default_rng(n)

    def drawn() -> Sharing:
        values, counts = np.unique(chance.poisson(4.0, n), return_counts=True)
        texts = dict(zip(values.astype(str).tolist(), counts.tolist(), strict=True))
        made = sharing(Facts(rows=n, n=n, texts=texts))
        assert made is not None
        return made

    heights = []
    for _ in range(10):
        past = [drawn() for _ in range(28)]
        heights += [made.apart if (made := alike(drawn(), past)) else math.nan for _ in range(100)]
    assert np.mean(np.array(heights) > 1.645) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(heights) > 0) == pytest.approx(0.5, abs=0.1)


def test_a_rounded_column_shares_its_values() -> None:
    chance = np.random.default_rng(5)
    watch = Watch(budget=2)

    def day(step: float) -> Mapping[str, Facts]:
        rows = frame(300, chance).with_columns(pl.col("distance") + pl.Series(chance.random(300)))
        return window(rows.with_columns((pl.col("distance") / step).round() * step))

    for at in range(100):
        watch.step(START + timedelta(days=at), day(1e-6))
    rounded = watch.look(START + timedelta(days=100), day(10.0))
    assert rounded.alarm
    assert ("distance", "alike") in {(one.column, one.channel) for one in rounded.readings[:3]}


def test_a_sentinel_is_told_from_a_record_heat() -> None:
    """Days that go beyond everything seen so far are usual in spring; -999 is no spring."""
    chance = np.random.default_rng(8)
    watch = Watch(budget=2)

    def day(at: int, strange: int) -> Mapping[str, Facts]:
        rows = frame(900, chance).with_columns(pl.Series("distance", chance.normal(40 + at, 8, 900)))
        strange_ones = pl.when(pl.int_range(900) < strange).then(-999.0).otherwise(pl.col("distance"))
        return window(rows.with_columns(strange_ones.alias("distance")))

    for at in range(100):
        watch.step(START + timedelta(days=at), day(at % 30, 0))
    later = START + timedelta(days=100)
    assert not watch.look(later, day(10, 0)).alarm
    broken = watch.look(later, day(10, 45))
    assert broken.alarm
    assert broken.m_line is not None
    (far,) = (one for one in broken.readings if one.channel == "far" and one.column == "distance")
    assert far.score > broken.m_line


@pytest.mark.parametrize("missing", [0.5, 0.9])
def test_an_incident_that_nobody_marked_bad_hides_no_smaller_one(missing: float) -> None:
    """However much of a column was missing for three days, it teaches no more than chance would bring."""
    chance = np.random.default_rng(13)
    watch = Watch(budget=1)

    def day(share: float) -> Mapping[str, Facts]:
        hit = pl.Series(chance.random(300) < share + 0.01)
        rows = frame(300, chance)
        return window(rows.with_columns(pl.when(~hit).then("distance").alias("distance")))

    alarmed = []
    for at in range(120):
        incident = 90 <= at < 93
        verdict = judged(watch, START + timedelta(days=at), day(missing if incident else 0.0))
        if at >= 90:
            alarmed.append(verdict.alarm)
    assert alarmed[:3] == [True] * 3
    # The days after it are as they always were, also beside the days of the incident.
    assert not any(alarmed[3:])
    later = START + timedelta(days=120)
    assert watch.look(later, day(0.35)).alarm
    watch.step(later, day(0.2))
    assert watch.look(later + timedelta(days=1), day(0.2)).alarm


def test_a_change_that_stays_becomes_the_usual() -> None:
    """A column mostly missing from now on is an incident; days of a week wait, then they join what is usual."""
    chance = np.random.default_rng(14)
    watch = Watch(budget=1)

    def day(share: float) -> Mapping[str, Facts]:
        hit = pl.Series(chance.random(300) < share + 0.01)
        rows = frame(300, chance)
        return window(rows.with_columns(pl.when(~hit).then("distance").alias("distance")))

    verdicts = [judged(watch, START + timedelta(days=at), day(0.0 if at < 90 else 0.6)) for at in range(140)]
    assert verdicts[90].alarm
    assert verdicts[91].alarm
    assert not any(one.alarm for one in verdicts[90 + 7 + shift.REFERENCE :])

    def usual(verdict: shift.Verdict) -> float:
        (null,) = (one for one in verdict.readings if (one.column, one.channel) == ("distance", "null"))
        return null.usual or 0.0

    assert usual(verdicts[97]) < 0.02
    assert usual(verdicts[-1]) > 0.6

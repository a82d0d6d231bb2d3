"""Rows by hour beside own history: far more, far fewer, none for a while, and whose they are; calm is silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import middlewatch as mw
from middlewatch.fingerprints import traffic
from middlewatch.fingerprints.traffic import Traffic, Volume
from middlewatch.why import Diagnosis

FIRST = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
DAYS = 45
NIGHT = FIRST + timedelta(days=DAYS)


def day_of_hours(seed: int, weekday: int, rows: float = 1.0) -> np.ndarray:
    """Rows by hour: busy by day, a third of it at weekends."""
    usual = np.array([2] * 6 + [10] * 3 + [40] * 9 + [15] * 6) * (0.33 if weekday > 4 else 1.0) * rows
    return np.random.default_rng(seed).poisson(usual)


def beside(rows: np.ndarray, weekday: int = 2) -> Traffic:
    """A day of these rows, a Wednesday, after 28 days of their own."""
    past = np.array([day_of_hours(number, number % 7) for number in range(28)])
    every = np.arange(24)
    return Traffic(every, np.full(24, weekday), np.ones(24), rows, past, np.arange(28) % 7)


@pytest.mark.parametrize("weekday", range(7))
def test_a_day_like_its_weekday_is_silent(weekday: int) -> None:
    for seed in range(100, 120):
        assert traffic.volume(beside(day_of_hours(seed, weekday), weekday)) is None


@pytest.mark.parametrize("factor", [0.3, 0.6, 1.7, 5.0])
def test_a_day_with_other_traffic_is_found_by_its_factor(factor: float) -> None:
    found = traffic.volume(beside(day_of_hours(100, 2, factor)))
    assert found is not None
    assert found.more == (factor > 1)
    assert found.last - found.first >= 15, "nearly all of the day's busy hours"
    assert found.factor == pytest.approx(factor, rel=0.15)


def test_a_weekday_with_the_rows_of_a_sunday_is_found_although_sundays_have_them() -> None:
    found = traffic.volume(beside(day_of_hours(100, 6), weekday=2))
    assert found is not None
    assert not found.more


def test_hours_without_rows_are_found_to_the_hour() -> None:
    rows = day_of_hours(100, 2)
    rows[11:14] = 0
    found = traffic.volume(beside(rows))
    assert found is not None
    assert (found.first, found.last, found.rows) == (11, 14, 0)


def test_hours_of_the_night_that_are_always_thin_say_nothing() -> None:
    rows = day_of_hours(100, 2)
    rows[1:3] = 0
    assert traffic.volume(beside(rows)) is None


def test_a_short_past_says_nothing() -> None:
    held = beside(day_of_hours(100, 2, 5.0))
    few = Traffic(held.clock, held.weekday, held.covered, held.rows, held.past[:15], held.weekdays[:15])
    assert traffic.volume(few) is None


def rows_of(callers: dict[str, int]) -> pl.DataFrame:
    return pl.DataFrame({"mw.caller": [name for name, count in callers.items() for _ in range(count)]})


@pytest.mark.parametrize(
    ("now", "usual", "whose"),
    [
        ({"a": 60, "b": 340}, 100, ("mw.caller", "b")),
        ({"a": 60}, 100, ("mw.caller", "b")),
        ({"a": 60, "b": 40, "c": 200}, 100, ("mw.caller", "c")),
        ({"a": 240, "b": 160}, 100, None),
    ],
)
def test_a_change_of_one_caller_names_it(now: dict[str, int], usual: float, whose: tuple[str, str] | None) -> None:
    change = Volume(0, 24, sum(now.values()), usual, 0.1)
    past = [rows_of({"a": 60, "b": 40})] * 20
    assert traffic.whose(rows_of(now), change, past, ["mw.caller"]) == whose


def log(days: int) -> pl.DataFrame:
    """Requests of some days by two clients, busier by day."""
    random = np.random.default_rng(5)
    parts = []
    for number in range(days):
        hours = np.repeat(np.arange(24), 3 + 6 * (np.arange(24) % 24 > 7))
        amount = np.round(random.lognormal(8, 0.4, hours.size))
        at = [
            FIRST + timedelta(days=number, hours=int(h), seconds=int(s))
            for h, s in zip(hours, random.integers(0, 3600, hours.size), strict=True)
        ]
        parts.append(
            pl.DataFrame(
                {
                    "at": at,
                    "id": [f"r{number}-{k}" for k in range(hours.size)],
                    "caller": random.choice(["app", "shop/4"], hours.size, p=[0.7, 0.3]),
                    "amount": amount,
                    "share": random.beta(2, 5, hours.size),
                    "p": np.round(1 / (1 + np.exp(4 - amount / 1500)), 4),
                }
            )
        )
    return pl.concat(parts).sort("at")


def watched(folder: Path, rows: pl.DataFrame) -> mw.Handle:
    mw.import_(rows, project=folder, time="at", score="p", id="id", caller="caller", name="loans")
    return mw.open(folder)


def test_an_incident_of_the_number_of_rows_says_since_when_and_who_sends_them(tmp_path: Path) -> None:
    rows = log(DAYS + 1)
    more = rows.filter(pl.col("at") < FIRST + timedelta(days=6), pl.col("at").dt.hour() >= 14)
    more = more.with_columns(
        pl.lit("shop/4").alias("caller"),
        pl.format("again-{}", "id").alias("id"),
        pl.lit(NIGHT) + (pl.col("at") - pl.col("at").dt.truncate("1d")),
    ).rename({"literal": "when"})
    more = more.with_columns(pl.col("when").alias("at")).select(rows.columns)
    project = watched(tmp_path, pl.concat([rows, more]).sort("at"))
    (incident,) = project.incidents()

    answer = project.why(incident.n)

    assert isinstance(answer, Diagnosis)
    (cause,) = answer.causes
    assert (cause.kind, cause.form, cause.confidence) == ("rows", "volume", "certain")
    assert cause.slice == ("mw.caller", "shop/4")
    assert cause.since == NIGHT + timedelta(hours=14)
    assert answer.next.startswith("ask shop/4 why it sends more")


def test_twice_the_rows_are_told_and_blamed_for_nothing_where_no_incident_is_about_them(tmp_path: Path) -> None:
    rows = log(DAYS + 1)
    more = rows.filter(pl.col("at").is_between(NIGHT - timedelta(days=7), NIGHT - timedelta(days=6), closed="left"))
    more = more.with_columns(pl.col("at") + timedelta(days=7), pl.format("again-{}", "id").alias("id"))
    project = watched(tmp_path, pl.concat([rows, more]).sort("at"))

    answer = project.why(since=NIGHT, until=NIGHT + timedelta(days=1))

    assert isinstance(answer, Diagnosis)
    assert not answer.causes
    assert any("as many rows as usual" in one for one in answer.told)


def test_a_calm_day_tells_nothing_of_its_rows(tmp_path: Path) -> None:
    project = watched(tmp_path, log(DAYS + 1))
    answer = project.why(since=NIGHT, until=NIGHT + timedelta(days=1))
    assert isinstance(answer, Diagnosis)
    assert not answer.causes
    assert not [one for one in answer.told if "rows" in one]

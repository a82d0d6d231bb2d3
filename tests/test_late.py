"""Late rows: received long after they happened, beyond own history; what was filed together is never late."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import middlewatch as mw
from middlewatch import predictions
from middlewatch.fingerprints import Case, History
from middlewatch.fingerprints.late import Late, late
from middlewatch.why import Diagnosis
from test_why import NIGHT, TRAINED_DAYS, orders, trained  # noqa: F401

FIRST = datetime(2026, 3, 2, tzinfo=UTC)
ROWS = 400
SERVED_DAYS = 40
Minutes = np.ndarray[tuple[int], np.dtype[np.float64]]


def readings(number: int, delays: Minutes | float = 0.0, *, slow: float = 0.02) -> pl.DataFrame:
    """Readings of a day, 400 by two callers; each received after `slow` minutes or so, and `delays` more."""
    rng = np.random.default_rng([7, number])
    at = np.sort(rng.uniform(0, 1440, ROWS))
    came = at + rng.exponential(slow, ROWS) + delays
    start = FIRST + timedelta(days=number)
    moments = [[start + timedelta(minutes=float(one)) for one in minutes] for minutes in (at, came)]
    return pl.DataFrame(
        {
            "mw.time": moments[0],
            "mw.received": moments[1],
            "mw.caller": rng.choice(["meter/2", "app"], ROWS, p=[0.3, 0.7]),
            "kind": rng.choice(["a", "b"], ROWS),
        }
    )


def looked(now: pl.DataFrame, past: Sequence[pl.DataFrame] | None = None) -> Late | None:
    return late(Case(now, History(past or [readings(n) for n in range(28)], {"kind": "category"})))


def clock(minutes: float, *, hour: int = 0, caller: str | None = None) -> pl.DataFrame:
    """A day in which the rows from an hour on, of one caller, say that they happened earlier than they did."""
    rows = readings(28)
    hit = pl.col("mw.time").dt.hour() >= hour
    hit = hit & (pl.col("mw.caller") == caller) if caller is not None else hit
    moved = pl.col("mw.received") + timedelta(minutes=minutes)
    return rows.with_columns(pl.when(hit).then(moved).otherwise("mw.received").alias("mw.received"))


def queue(first: int, last: int) -> pl.DataFrame:
    """A day in which what happened between two hours was received when the second one struck."""
    end = pl.lit(FIRST + timedelta(days=28, hours=last))
    stood = pl.col("mw.time").dt.hour().is_between(first, last - 1)
    rows = readings(28)
    return rows.with_columns(pl.when(stood).then(end).otherwise("mw.received").alias("mw.received"))


@pytest.mark.parametrize("slow", [0.0, 0.02, 5.0, 90.0])
def test_days_like_their_past_are_silent(slow: float) -> None:
    past = [readings(number, slow=slow) for number in range(28)]
    assert [looked(readings(number, slow=slow), past) for number in range(28, 58)] == [None] * 30


def test_a_clock_in_another_zone_is_told_with_its_caller_and_its_onset() -> None:
    rows = clock(120, hour=9, caller="meter/2")
    found = looked(rows)
    assert found is not None
    assert found.place.slice == ("mw.caller", "meter/2")
    assert (found.off, found.zone) == (7200.0, True)
    theirs = (rows["mw.caller"] == "meter/2") & (rows["mw.time"].dt.hour() >= 9)
    assert (found.affected == theirs.to_numpy()).all()


def test_a_clock_that_is_off_by_no_quarter_of_an_hour_is_no_zone() -> None:
    found = looked(clock(37))
    assert found is not None
    assert found.off == pytest.approx(37 * 60, abs=2)
    assert not found.zone
    days = looked(clock(48 * 60))
    assert days is not None
    assert (days.off, days.zone) == (48 * 3600.0, False), "zones are at most 26 hours apart"


def test_a_queue_that_stood_is_no_clock_and_all_of_its_older_rows_are_late() -> None:
    rows = queue(9, 13)
    found = looked(rows)
    assert found is not None
    assert found.off is None
    assert found.place.slice is None
    assert found.longest == pytest.approx(4 * 3600, rel=0.05)
    waited = (rows["mw.received"] - rows["mw.time"]).dt.total_seconds().to_numpy()
    assert (found.affected == (waited > 901)).all()


def test_a_batch_that_came_a_day_later_is_late_by_as_much() -> None:
    rows = readings(28)
    found = looked(rows.with_columns(pl.lit(FIRST + timedelta(days=29, hours=6)).alias("mw.received")))
    assert found is not None
    assert found.off is None
    assert 6 * 3600 < found.typical < 30 * 3600
    assert found.share == 1.0


@pytest.mark.parametrize("minutes", [1, 10])
def test_minutes_move_no_row_out_of_its_hour_and_say_nothing(minutes: float) -> None:
    assert looked(clock(minutes)) is None


def test_what_has_happened_before_says_nothing() -> None:
    usual = [readings(number, 24 * 60.0 * (1 + number % 3)) for number in range(28)]
    assert looked(readings(28, 3 * 24 * 60.0), usual) is None, "rows that always came days later"
    assert looked(clock(120), [readings(number, 120.0 * (number % 4 == 0)) for number in range(28)]) is None


def test_a_short_past_says_nothing() -> None:
    assert looked(clock(120), [readings(number) for number in range(15)]) is None


# ------------------------------------------------------------------ from the log


@pytest.fixture(scope="module")
def watched(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The shop of the other tests, whose requests were sent to a server for some weeks."""
    folder = tmp_path_factory.mktemp("watched") / "shop"
    shutil.copytree(trained, folder)
    settings = folder / "middlewatch.toml"  # the log of these days is older than the clock of the test allows
    settings.write_text(settings.read_text().replace("[store]\n", "[store]\nkeep_log_days = 36500\n"))
    project = mw.open(folder)
    served(project, orders(TRAINED_DAYS + 4, SERVED_DAYS))
    project.monitor(until=MORNING + timedelta(hours=2))
    return folder


@pytest.fixture
def shop(watched: Path, tmp_path: Path) -> mw.Handle:
    shutil.copytree(watched, tmp_path / "shop")
    return mw.open(tmp_path / "shop")


MORNING = NIGHT + timedelta(days=SERVED_DAYS)


def served(
    project: mw.Handle, rows: pl.DataFrame, delay: timedelta = timedelta(seconds=1), *, at: datetime | None = None
) -> None:
    """File rows as a server does that received each so long after it happened, or all at some moment."""
    rows = rows.drop("bad")
    answered = project.score(rows, log=False).frame
    random = np.random.default_rng(1)
    predictions.write_batch(
        project.project.store,
        project.model,
        answered.rename({"at": "mw.time", "order": "mw.key"}).with_columns(
            (pl.lit(at) if at is not None else pl.col("mw.time") + delay).alias("mw.received"),
            pl.lit("host-1").alias("mw.server"),
            pl.lit("v2").alias("mw.version"),
            pl.Series("mw.caller", random.choice(["shop/1", "app"], rows.height, p=[0.6, 0.4])),
        ),
    )


def asked(project: mw.Handle) -> Diagnosis:
    answer = project.why(since=MORNING, until=MORNING + timedelta(days=1))
    assert isinstance(answer, Diagnosis)
    return answer


def test_late_rows_are_the_cause_of_an_incident_about_the_number_of_rows(shop: mw.Handle) -> None:
    rows = orders(TRAINED_DAYS + 4 + SERVED_DAYS, 1)
    held = pl.col("at").dt.hour().is_between(4, 20)
    served(shop, rows.filter(~held))
    shop.monitor(until=MORNING + timedelta(days=1, hours=2))
    (incident,) = shop.incidents()
    assert incident.top[0]["channel"] == "volume"
    served(shop, rows.filter(held), at=MORNING + timedelta(hours=30))

    answer = shop.why(incident.n)

    assert isinstance(answer, Diagnosis)
    (cause,) = answer.causes
    assert (cause.kind, cause.form, cause.confidence) == ("rows", "late", "certain")
    assert cause.effect.rows == rows.filter(held).height
    assert cause.since == rows.filter(held)["at"].min()
    assert cause.facts["clock_off_seconds"] is None
    assert cause.facts["seconds_most"] == pytest.approx(26 * 3600, rel=0.02)
    assert cause.detail.startswith(f"{100 * rows.filter(held).height / rows.height:.0f} % of rows came ")
    assert "after they happened" in cause.detail
    assert "rollback" not in answer.next


def test_late_rows_are_told_where_no_incident_is_about_them(shop: mw.Handle) -> None:
    served(shop, orders(TRAINED_DAYS + 4 + SERVED_DAYS, 1), timedelta(hours=2))
    answer = asked(shop)
    assert not answer.causes
    (line,) = [one for one in answer.told if "late" in one]
    assert line.startswith("100 % of rows came 2 h late, all by the same, as from a clock or zone that is behind")


def test_rows_in_time_and_batches_of_old_rows_tell_nothing(shop: mw.Handle) -> None:
    rows = orders(TRAINED_DAYS + 4 + SERVED_DAYS, 1)
    served(shop, rows.gather_every(2))
    assert not [one for one in asked(shop).told if "of rows came" in one]
    shop.score(rows.gather_every(2, 1).drop("bad"), log=True)
    assert not [one for one in asked(shop).told if "of rows came" in one], "scored together years later"


def test_late_rows_go_with_the_nulls_that_they_came_with(shop: mw.Handle) -> None:
    rows = orders(TRAINED_DAYS + 4 + SERVED_DAYS, 1)
    held = pl.col("at").dt.hour() >= 8
    served(shop, rows.filter(~held))
    served(shop, rows.filter(held).with_columns(pl.lit(None, pl.Float64).alias("amount")), timedelta(hours=3))
    causes = [(one.kind, one.form) for one in asked(shop).causes]
    assert causes[0][0] == "nulls"
    assert ("rows", "late") in causes

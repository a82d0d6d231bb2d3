"""Windows of an hour: judged an hour after another, late rows amend theirs, storage stays bounded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from middlewatch import monitor, predictions, shift
from middlewatch.building import build
from middlewatch.monitor import Judged
from middlewatch.project import Project
from middlewatch.schema import Column, Schema
from middlewatch.status import status
from middlewatch.times import hour_bounds, zone_of
from middlewatch.windows import Windows

FIRST = datetime(2013, 1, 1, tzinfo=UTC)
ROWS = 60
DAY_HOURS = range(6, 22)
SCHEMA = Schema(
    name="delay",
    task="regression",
    columns=(
        Column(name="distance", kind="number", centre=900.0),
        Column(name="carrier", kind="category", categories=("AA", "B6", "UA")),
    ),
)


def rows(day: int, hours: range = DAY_HOURS, *, scale: float = 1.0, count: int = ROWS, tag: str = "") -> pl.DataFrame:
    """Requests of some hours of a day: long ways fly in the morning, as nobody's hours are alike."""
    parts = []
    for hour in hours:
        chance = np.random.default_rng([day, hour, len(tag)])
        start = FIRST + timedelta(days=day, hours=hour)
        seconds = np.sort(chance.integers(0, 3600, count))
        distance = scale * np.round(chance.normal(1500 - 50 * hour, 200, count), 1)
        parts.append(
            pl.DataFrame(
                {
                    "distance": distance,
                    "carrier": chance.choice(["AA", "B6", "UA"], count, p=[0.5, 0.3, 0.2]),
                    "mw.time": [start + timedelta(seconds=int(one)) for one in seconds],
                    "mw.score": distance / 1000,
                    "mw.version": ["ext-1"] * count,
                },
                schema_overrides={"mw.time": pl.Datetime("us", "UTC")},
            )
        )
    return pl.concat(parts)


class Site:
    """A project that judges hours; what is logged comes when its last hour is over."""

    def __init__(self, root: Path) -> None:
        (root / "middlewatch.toml").write_text(
            '[models.delay]\ntask = "regression"\n\n[monitor]\nwindow = "hour"\ngrace = "10min"\nalarms_per_month = 1\n'
        )
        (root / "delay.schema.toml").write_text(SCHEMA.to_toml())
        self.project = Project.open(root)
        self.project.journal("delay").append(
            action="promote", version="ext-1", actor="ann", host="here", at=FIRST, expect=0
        )
        self.batches = 0

    @property
    def windows(self) -> Windows:
        return self.project.windows("delay")

    def log(self, frame: pl.DataFrame, at: datetime) -> None:
        self.batches += 1
        predictions.write_batch(self.project.store, "delay", frame, now=at, token=f"{self.batches:05d}")

    def judge(self, at: datetime) -> Judged:
        return monitor.judge(self.project, "delay", now=at)


def moment(day: int, hour: int = 0, minute: int = 15) -> datetime:
    return FIRST + timedelta(days=day, hours=hour, minutes=minute)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Forty quiet days."""
    site = Site(tmp_path_factory.mktemp("hours"))
    site.log(pl.concat([rows(day) for day in range(40)]), moment(40, 0))
    return site


def test_an_hour_is_held_against_its_own_hour_and_a_fault_is_seen_within_it(lived: Site) -> None:
    quiet = lived.judge(moment(40, 0))
    assert len(quiet.windows) == 40 * len(DAY_HOURS)
    assert quiet.windows[0]["start"] == "2013-01-01T06:00:00Z"
    assert quiet.windows[0]["end"] == "2013-01-01T07:00:00Z"
    assert {one["rows"] for one in quiet.windows} == {ROWS}
    assert sum(one["alarm"] for one in quiet.windows) <= 3
    assert lived.judge(moment(40, 0)).windows == []
    # The morning's ways in the evening: no distance that was not seen, but not at this hour.
    evening = rows(40, range(6, 7)).with_columns(pl.col("mw.time").dt.offset_by("15h"))
    usual = rows(40, range(6, 21))
    lived.log(usual, moment(40, 21))
    assert not any(one["alarm"] for one in lived.judge(moment(40, 21)).windows)
    lived.log(evening, moment(40, 22))
    [judged] = lived.judge(moment(40, 22)).windows
    assert (judged["start"], judged["alarm"]) == ("2013-02-10T21:00:00Z", True)
    [incident] = lived.project.incidents("delay").active()
    assert (incident.since, incident.until, incident.rows) == ("2013-02-10T21:00:00Z", "2013-02-10T22:00:00Z", ROWS)
    # Six clean hours close it, not two: hours swing.
    for hour in range(6, 12):
        assert lived.project.incidents("delay").active()
        lived.log(rows(41, range(hour, hour + 1)), moment(41, hour + 1))
        lived.judge(moment(41, hour + 1))
    assert lived.project.incidents("delay").active() == []
    assert len(lived.windows.judgements(since=date(2013, 2, 10))) == len(DAY_HOURS) + 6


def test_hours_grow_a_day_late_rows_amend_theirs_and_no_more_than_two_revisions_stay(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for hour in range(6, 12):
        site.log(rows(0, range(hour, hour + 1)), moment(0, hour + 1))
        assert [one["start"] for one in site.judge(moment(0, hour + 1)).windows] == [f"2013-01-01T{hour:02d}:00:00Z"]
    # An hour waits for its grace.
    site.log(rows(0, range(12, 13)), moment(0, 13, 0))
    assert site.judge(moment(0, 13, 5)).windows == []
    assert len(site.judge(moment(0, 13, 10)).windows) == 1
    day = site.windows.day(date(2013, 1, 1))
    assert (day.rows, sorted(day.hours)) == (7 * ROWS, list(range(6, 13)))
    assert day.profile.rows == 7 * ROWS
    assert day.sample.height == 7 * ROWS
    late = rows(0, range(8, 9), count=5, tag="late")
    site.log(late, moment(0, 13, 20))
    again = site.judge(moment(0, 13, 20))
    assert [(one["start"], one["rows"]) for one in again.windows] == [("2013-01-01T08:00:00Z", ROWS + 5)]
    names = [key.rsplit("/", 1)[1] for key in site.project.store.list("delay/windows/2013-01-01/")]
    assert sum(name.endswith(".hours") for name in names) == 2
    assert sum(name.startswith("judged-") for name in names) == 2
    judged = site.windows.judgements()
    assert len(judged) == 7
    assert judged[datetime(2013, 1, 1, 8)]["rows"] == ROWS + 5
    # What grew hour by hour is what is made at once.
    grown = site.windows.day(date(2013, 1, 1))
    build(site.project, "delay", until=moment(0, 14), now=moment(0, 14), rebuild=True)
    made = site.windows.day(date(2013, 1, 1))
    assert made.revision > grown.revision
    assert {hour: one.to_bytes() for hour, one in made.hours.items()} == {
        hour: one.to_bytes() for hour, one in grown.hours.items()
    }
    assert made.versions == grown.versions
    assert made.sample.sort("mw.id").equals(grown.sample.sort("mw.id").select(made.sample.columns))
    # Requests of the day are told once it is over.
    site.log(rows(1), moment(2))
    site.log(rows(2, range(6, 7)), moment(2, 7))
    site.judge(moment(2, 7))
    found = status(site.project, "delay", now=moment(2, 8), clock=moment(2, 8))
    assert (found.requests["day"], found.requests["rows"]) == ("2013-01-02", len(DAY_HOURS) * ROWS)


def test_a_night_without_requests_is_no_silence(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.log(pl.concat([rows(day) for day in range(5)]), moment(4, 22))
    site.judge(moment(4, 23))

    def state(at: datetime) -> str:
        return status(site.project, "delay", now=at, clock=at).state

    assert state(moment(5, 6)) == "learning"  # from 22:00 on nobody asks
    assert state(moment(5, 12)) == "no_data"


def test_thin_hours_say_what_to_set(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.log(pl.concat([rows(day, count=9) for day in range(3)]), moment(3))
    judged = site.judge(moment(3))
    assert any('set window = "day"' in one for one in judged.notes)


def test_hours_that_are_past_keeping_go(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.log(pl.concat([rows(day, range(9, 11)) for day in range(3)]), moment(3))
    site.judge(moment(3))
    assert site.windows.expire(date(2013, 1, 3)) == 2
    old = site.windows.judgement(date(2013, 1, 1))
    assert old is not None
    assert "hours" not in old
    kept = [date(2013, 1, 1), date(2013, 1, 2), datetime(2013, 1, 3, 9), datetime(2013, 1, 3, 10)]
    assert list(site.windows.judgements()) == kept


@pytest.mark.parametrize(("day", "hour", "long"), [("2013-11-03", 1, 2), ("2013-11-03", 2, 1), ("2013-03-10", 1, 1)])
def test_clock_hours_where_the_clock_changes(day: str, hour: int, long: int) -> None:
    zone = zone_of("America/New_York")
    start, end = hour_bounds(date.fromisoformat(day), hour, zone)
    assert (end - start) == timedelta(hours=long)
    assert shift.HOUR.place(datetime(2013, 11, 3, hour)) == hour


def marked(site: Site, **span: Any) -> int:
    kept = site.project.incidents("delay")
    one = kept.open(key="m", at=moment(3), actor="monitor", facts={"since": "2013-01-02T00:00:00Z"})
    kept.add(one.n, "mark_bad", at=moment(3), actor="ann", **span)
    return one.n


@pytest.mark.parametrize("window", ["day", "hour"])
def test_a_slice_marked_bad_leaves_the_window_and_comes_back(tmp_path: Path, window: str) -> None:
    site = Site(tmp_path)
    toml = tmp_path / "middlewatch.toml"
    toml.write_text(toml.read_text().replace('"hour"', f'"{window}"'))
    site.project = Project.open(tmp_path)
    site.log(pl.concat([rows(day) for day in range(3)]), moment(3))
    site.judge(moment(3))
    before = {one.day: one for one in site.windows.read()}
    second = date(2013, 1, 2)
    whole = before[second].profile
    of_b6 = rows(1).filter(pl.col("carrier") == "B6").height
    n = marked(site, since="2013-01-02T00:00:00Z", until="2013-01-03T00:00:00Z", where="carrier = 'B6'")
    site.judge(moment(3, 1))
    after = {one.day: one for one in site.windows.read()}
    assert {day for day, one in after.items() if one.revision != before[day].revision} == {second}
    assert (after[second].rows, after[second].summary["left_out"]) == (whole.rows - of_b6, of_b6)
    assert after[second].summary["marks"] == [["2013-01-02T00:00:00Z", "2013-01-03T00:00:00Z", "carrier = 'B6'"]]
    assert set(after[second].profile.columns["carrier"].categories or ()) == {"AA", "UA"}
    revision = after[second].revision
    site.judge(moment(3, 2))
    assert site.windows.day(second).revision == revision
    site.project.incidents("delay").add(n, "unmark_bad", at=moment(3), actor="ann")
    site.judge(moment(3, 3))
    assert site.windows.day(second).profile.to_bytes() == whole.to_bytes()
    assert "marks" not in site.windows.day(second).summary


def test_part_of_a_day_marked_bad_leaves_it_and_most_of_a_day_leaves_the_history(tmp_path: Path) -> None:
    site = Site(tmp_path)
    toml = tmp_path / "middlewatch.toml"
    toml.write_text(toml.read_text().replace('"hour"', '"day"'))
    site.project = Project.open(tmp_path)
    site.log(pl.concat([rows(day) for day in range(3)]), moment(3))
    site.judge(moment(3))
    n = marked(site, since="2013-01-02T08:00:00Z", until="2013-01-02T10:00:00Z", where="")
    site.judge(moment(3, 1))
    assert sorted(set(DAY_HOURS) - set(site.windows.day(date(2013, 1, 2)).hours)) == [8, 9]
    more = {"since": "2013-01-02T00:00:00Z", "until": "2013-01-02T20:00:00Z", "where": ""}
    site.project.incidents("delay").add(n, "mark_bad", at=moment(3), actor="ann", **more)
    judged = site.judge(moment(3, 2))
    assert site.windows.day(date(2013, 1, 2)).rows == len(DAY_HOURS) * ROWS
    assert [one["state"] for one in judged.windows] == ["excluded"]


def test_marks_of_rows_that_the_log_no_longer_has_say_so(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.log(pl.concat([rows(day) for day in range(3)]), moment(3))
    site.judge(moment(3))
    before = site.windows.day(date(2013, 1, 2))
    for key in site.project.store.list("delay/log/"):
        site.project.store.delete(key)
    site.log(rows(3), moment(4))
    marked(site, since="2013-01-02T00:00:00Z", until="2013-01-03T00:00:00Z", where="carrier = 'B6'")
    judged = site.judge(moment(4))
    assert any("marks of 2013-01-02" in one and "keep_log_days" in one for one in judged.notes)
    assert site.windows.day(date(2013, 1, 2)).revision == before.revision

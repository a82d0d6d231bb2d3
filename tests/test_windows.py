"""Windows as records: revisions, what a summary says, judgements and scores beside them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from middlewatch.errors import NotFound, StoreError
from middlewatch.profiles import ColumnSpec, Profile, ProfileSpec, merge, profile
from middlewatch.store import Store
from middlewatch.windows import Windows, cut

DAY = date(2013, 7, 8)
NOW = datetime(2013, 7, 9, 1, tzinfo=UTC)
SPEC = ProfileSpec((ColumnSpec("distance", "number", centre=900.0), ColumnSpec("mw.score", "number")))


def rows(start: datetime, hours: int, *, each: int = 10, seed: int = 0) -> pl.DataFrame:
    chance, count = np.random.default_rng(seed), hours * each
    return pl.DataFrame(
        {
            "distance": pl.Series(chance.normal(900, 100, count)).set(pl.Series(chance.random(count) < 0.1), None),
            "mw.id": [f"{seed}-{one:06d}" for one in range(count)],
            "mw.time": [start + timedelta(hours=one // each, minutes=one % each) for one in range(count)],
            "mw.score": chance.random(count),
            "mw.version": ["v1"] * (count - 5) + ["v2"] * 5,
            "mw.raw": [b"{}"] * count,
        },
        schema_overrides={"mw.time": pl.Datetime("us", "UTC")},
    )


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    store = Store.open("store", base=tmp_path)
    store.probe()
    return Windows(store, "delay")


def put(windows: Windows, frame: pl.DataFrame, *, source: str = "log", day: date = DAY) -> int:
    made = cut(frame, SPEC, zone=UTC)[DAY]
    assert source in ("log", "training")
    return windows.put(
        day,
        hours=made.hours,
        sample=made.sample,
        versions=made.versions,
        source="log" if source == "log" else "training",
        now=NOW,
        facts={"refused": 3},
        durable=False,
    )


MIDNIGHT = datetime(2013, 7, 8, tzinfo=UTC)


def test_what_is_put_is_read_back(windows: Windows) -> None:
    frame = rows(MIDNIGHT, 24)
    assert put(windows, frame) == 1
    held = windows.day(DAY)
    assert (held.rows, held.source, held.revision, held.versions) == (240, "log", 1, {"v1": 235, "v2": 5})
    assert sorted(held.hours) == list(range(24))
    assert held.profile.to_bytes() == merge(held.hours.values()).to_bytes()
    assert held.profile.columns["distance"].nulls == frame["distance"].null_count()
    assert held.sample.height == 240
    assert "mw.raw" not in held.sample.columns
    assert set(held.sample["mw.id"]) == set(frame["mw.id"])


def test_rows_that_are_alike_are_counted_over_all_hours_and_rows(windows: Windows) -> None:
    frame = rows(MIDNIGHT, 24, each=60)
    again = frame[:600].with_columns(
        pl.col("mw.time") + pl.duration(hours=6), pl.format("again-{}", "mw.id").alias("mw.id")
    )
    made = cut(pl.concat([frame, again]), SPEC, zone=UTC)[DAY]
    windows.put(DAY, hours=made.hours, sample=made.sample, repeats=made.repeats, source="log", now=NOW, durable=False)
    counts = pl.concat([frame["distance"], frame["distance"][:600]]).value_counts()["count"]
    beside = windows.day(DAY).beside["mw.rows"]
    assert beside["repeated"] == (counts - 1).sum()
    assert beside["same"][0] == pytest.approx((counts * (counts - 1)).sum() / (2040 * 2039))


def test_what_is_asked_of_the_newest_days_does_not_list_the_others(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [DAY + timedelta(days=at) for at in range(6)]
    for day in days:
        put(windows, rows(MIDNIGHT, 2), day=day)
        windows.put_judgement(day, {"alarm": False})
    seen: set[str] = set()
    listed = windows.store.list

    def spied(prefix: str, *, after: str | None = None) -> list[str]:
        found = list(listed(prefix, after=after))
        seen.update(found)
        return found

    monkeypatch.setattr(windows.store, "list", spied)
    assert windows.since(2) == days[-2]
    assert windows.since(100) == days[0]
    assert [one["day"] for one in windows.summaries(since=windows.since(2))] == [str(day) for day in days[-2:]]
    assert list(windows.judgements(since=days[-2])) == days[-2:]
    assert [one.day for one in windows.read(days[-1:])] == days[-1:]
    assert list(windows.blocks(days[-2:])) == days[-2:]
    assert {key.split("/")[2] for key in seen} == {str(day) for day in days[-2:]}
    assert Windows(windows.store, "another").since(5) is None


def test_a_summary_tells_without_profiles(windows: Windows) -> None:
    frame = rows(MIDNIGHT, 24)
    put(windows, frame)
    [summary] = windows.summaries()
    scores = frame["mw.score"]
    assert (summary["day"], summary["rows"], summary["refused"], summary["judged"]) == ("2013-07-08", 240, 3, None)
    assert summary["score"]["mean"] == pytest.approx(scores.mean())
    assert summary["score"]["deciles"][4] == pytest.approx(scores.median(), abs=0.02)
    assert summary["nulls"] == {"distance": pytest.approx(frame["distance"].null_count() / 240, abs=1e-6)}
    assert summary["hours"]["3"] == 10
    assert windows.summaries(since=DAY + timedelta(days=1)) == []


def test_the_newest_revision_counts(windows: Windows) -> None:
    put(windows, rows(MIDNIGHT, 24))
    assert put(windows, pl.concat([rows(MIDNIGHT, 24), rows(MIDNIGHT, 2, seed=1)])) == 2
    assert windows.day(DAY).rows == 260
    assert [one["rows"] for one in windows.summaries()] == [260]
    assert [one.rows for one in windows.read()] == [260]


def test_a_revision_that_was_cut_short_does_not_exist(windows: Windows) -> None:
    put(windows, rows(MIDNIGHT, 24))
    windows.store.put_new("delay/windows/2013-07-08/r0002.day", b"torn")
    assert windows.day(DAY).revision == 1
    assert put(windows, rows(MIDNIGHT, 3)) == 3
    assert windows.day(DAY).rows == 30


def test_training_never_hides_what_was_logged(windows: Windows) -> None:
    assert put(windows, rows(MIDNIGHT, 24), source="training") == 1
    assert put(windows, rows(MIDNIGHT, 12)) == 2
    assert put(windows, rows(MIDNIGHT, 24), source="training") == 2
    assert (windows.day(DAY).source, windows.day(DAY).rows) == ("log", 120)


def test_judgements_are_appended(windows: Windows) -> None:
    put(windows, rows(MIDNIGHT, 24))
    assert windows.judgement(DAY) is None
    assert windows.put_judgement(DAY, {"alarm": True}) == 1
    assert windows.put_judgement(DAY, {"alarm": False}) == 2
    assert windows.judgement(DAY) == {"schema": 1, "alarm": False}
    assert windows.judgements() == {DAY: {"schema": 1, "alarm": False}}
    assert windows.summaries()[0]["judged"]["alarm"] is False


def test_scores_of_another_version(windows: Windows) -> None:
    put(windows, rows(MIDNIGHT, 24))
    assert windows.scores(DAY, "v12") is None
    spec = ProfileSpec((ColumnSpec("mw.score", "number"),))
    for value in (0.25, 0.75):
        made = profile(pl.DataFrame({"mw.score": [value] * 40}), spec)
        windows.put_scores(DAY, "v12", made, basis="replayed")
    found = windows.scores(DAY, "v12")
    assert found is not None
    assert (found.basis, found.profile.columns["mw.score"].mean) == ("replayed", 0.75)
    assert windows.scores(DAY, "v1") is None
    assert windows.days_scored("v12") == {DAY}


def test_a_window_of_no_rows(windows: Windows) -> None:
    windows.put(DAY, hours={}, source="log", now=NOW, facts={"refused": 40})
    held = windows.day(DAY)
    assert (held.rows, held.hours, held.sample.height, held.profile.columns) == (0, {}, 0, {})
    assert windows.summaries()[0]["score"] is None


def test_hours_and_samples_expire_and_days_stay(windows: Windows) -> None:
    put(windows, rows(MIDNIGHT, 24))
    put(windows, rows(MIDNIGHT, 24), day=DAY + timedelta(days=10))
    assert windows.expire(DAY + timedelta(days=5)) == 1
    old, new = windows.read()
    assert (old.hours, old.sample.height, old.profile.rows) == ({}, 0, 240)
    assert new.sample.height == 240


def test_days_are_local_and_a_day_of_25_hours_keeps_all_rows() -> None:
    # 2013-10-27: clocks in Vienna go back at 03:00, so the local day is 22:00 UTC to 23:00 UTC.
    frame = rows(datetime(2013, 10, 26, 22, tzinfo=UTC), 25)
    found = cut(frame, SPEC, zone=ZoneInfo("Europe/Vienna"))
    assert list(found) == [date(2013, 10, 27)]
    hours = found[date(2013, 10, 27)].hours
    assert sum(one.rows for one in hours.values()) == 250
    assert hours[2].rows == 20
    assert cut(frame.clear(), SPEC, zone=UTC) == {}


def test_samples_are_the_same_rows_however_they_came() -> None:
    frame = rows(MIDNIGHT, 24, each=200)
    sample = cut(frame, SPEC, zone=UTC)[DAY].sample
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    assert sample.height == 2000
    assert cut(shuffled, SPEC, zone=UTC)[DAY].sample.equals(sample)


def test_what_is_not_there_and_what_is_torn(windows: Windows) -> None:
    with pytest.raises(NotFound, match="2013-07-08"):
        windows.day(DAY)
    windows.store.put_new("delay/windows/2013-07-08/r0001.json", b"{")
    with pytest.raises(StoreError, match="cannot be read"):
        windows.summaries()
    assert isinstance(merge([]), Profile)

"""A store that the first usable version wrote: today's opens it, goes on with it, and writes nothing of it again."""

from __future__ import annotations

import hashlib
import tarfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from middlewatch import flights, library
from middlewatch.store import LAYOUT

FIXTURE = Path(__file__).parent / "fixtures" / "store-layout-1.tar.xz"
LAST = date(2013, 1, 11)


def midnight(days: int) -> datetime:
    """So many days after the last day of the fixture."""
    return datetime.combine(LAST, datetime.min.time(), tzinfo=UTC) + timedelta(days=days)


class Site:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = midnight(1)
        monkeypatch.setattr(library.Handle, "clock", staticmethod(lambda: self.now))
        self.handle = library.open(folder)
        self.table = flights.load().filter(pl.col("departs") < midnight(20)).filter(pl.int_range(pl.len()) % 22 == 0)

    def rows(self, first: datetime, until: datetime) -> pl.DataFrame:
        return self.table.filter(pl.col("departs").is_between(first, until, closed="left"))

    def log(self, days: int) -> int:
        """Score and log the day that is so many after the fixture's last, just after it has ended."""
        self.now = midnight(days + 1) + timedelta(minutes=30)
        day = self.rows(midnight(days), midnight(days + 1)).select("flight_id", "departs", *flights.FEATURES)
        return self.handle.score(day, log=True, time="departs").logged


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    with tarfile.open(FIXTURE) as packed:
        packed.extractall(tmp_path, filter="data")
    return Site(tmp_path, monkeypatch)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in sorted((folder / ".middlewatch").rglob("*"))
        if one.is_file()
    }


def test_who_only_looks_changes_nothing(site: Site) -> None:
    root = site.handle.project.root
    before = contents(root)
    windows = site.handle.project.windows("delay")
    held = windows.read()
    assert [one.day for one in held] == [LAST - timedelta(days=back) for back in range(10, -1, -1)]
    assert [one.source for one in held] == ["training"] * 8 + ["log"] * 3
    assert all(one.profile.rows == one.rows == one.sample.height for one in held)
    assert held[0].beside == {}
    assert site.handle.status().to_dict()["live"]["version"] == "v2"
    assert site.handle.doctor().ok
    assert contents(root) == before


def test_it_is_watched_trained_and_rolled_back_and_nothing_of_it_is_written_again(site: Site) -> None:
    root, project = site.handle.project.root, site.handle.project
    before = contents(root)
    for day in range(1, 5):
        assert site.log(day) > 30
    site.now = midnight(5) + timedelta(hours=3)
    judged = site.handle.monitor(until=midnight(5))
    assert [one["start"][:10] for one in judged.windows] == [f"2013-01-{day}" for day in (12, 13, 14, 15)]
    assert judged.windows[-1]["history"] == 14  # the old days are its past
    held = project.windows("delay").day(LAST + timedelta(days=1))
    assert set(held.beside) >= {"temp", "carrier"}
    site.rows(midnight(-10), midnight(4)).drop("arr_delay", strict=False).write_parquet(root / "flights.parquet")
    trained = site.handle.train(force="the limits are from eight days of January")
    assert (trained.version, trained.champion) == ("v3", "v2")
    site.handle.promote("v3", force="the test goes on")
    assert site.handle.rollback(reason="back to what the old code trained").live == "v2"
    assert site.handle.rollback(to="v1", reason="and further").live == "v1"
    assert site.log(5) > 30
    site.now = midnight(6) + timedelta(hours=3)
    last = site.handle.monitor(until=midnight(6)).windows[-1]
    assert (last["version"], last["history"]) == ("v1", 15)
    after = contents(root)
    assert {name: after.get(name) for name in before} == before
    store = project.store
    assert store.list("_layouts") == [f"_layouts/{one:04d}.json" for one in range(2, LAYOUT + 1)]
    assert store.get("_store.json").startswith(b'{"layout": 1')

"""The fast channel: what breaks at once is told at once, once, and nothing else is."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from middlewatch import monitor, predictions, runs, why
from middlewatch.blocks import Lens, began, ends, extremes, measure
from middlewatch.fast import Watcher, look_back
from middlewatch.fast.signs import otherwise
from middlewatch.fast.telling import MONITOR, TRAFFIC
from middlewatch.fast.usual import Usual, limit
from middlewatch.ids import new_id
from middlewatch.incidents import Incident, Incidents
from middlewatch.lenses import lenses
from middlewatch.library import Handle
from middlewatch.monitor.beside import REFUSED, RELEASE
from middlewatch.profiles import spec_of
from middlewatch.project import Project
from middlewatch.records import Refusal, frame_of
from middlewatch.replay import load
from middlewatch.spool import Head, Spool
from middlewatch.status import status
from middlewatch.store import Store
from middlewatch.windows import cut
from serving import bodies, make_project, promote, publish, serving, table, wait_until

TODAY = datetime(2026, 11, 20, tzinfo=UTC)
LOOK = timedelta(seconds=40)


def answered(
    at: datetime, count: int, *, seed: int = 0, every: timedelta = timedelta(seconds=1), version: str = "v1"
) -> pl.DataFrame:
    """Requests from `at` on, as the log holds them, but for their scores."""
    return table(seed=seed, rows=count).with_columns(
        pl.Series("mw.time", [at + every * place for place in range(count)], dtype=pl.Datetime("us", "UTC")),
        pl.lit(version).alias("mw.version"),
    )


@dataclass
class Site:
    """A project with a live model, 28 stored days of traffic from 6 to 20 o'clock, and a watcher of its own clock."""

    project: Project
    now: datetime = TODAY + timedelta(hours=12)
    today: datetime = TODAY
    sent: int = 0
    watcher: Watcher = field(init=False)

    def __post_init__(self) -> None:
        self.watcher = Watcher(self.project, "delay", started=self.now)

    def scored(self, rows: pl.DataFrame, version: str = "v1") -> pl.DataFrame:
        return rows.with_columns(pl.Series("mw.score", load(self.project, "delay", version).shown(rows)))

    def history(self, days: int = 28, *, source: Any = "log", hours: Sequence[int] = range(6, 20)) -> None:
        windows = self.project.windows("delay")
        lens = lenses(self.project, "delay")
        schema = self.project.schema("delay")
        for back in range(1, days + 1):
            start = self.today - timedelta(days=back)
            rows = [
                answered(start + timedelta(hours=h), 120, seed=back * 24 + h, every=timedelta(seconds=30))
                for h in hours
            ]
            frame = self.scored(pl.concat(rows)).with_columns(
                pl.format("{}-{}", pl.lit(back), pl.int_range(pl.len())).alias("mw.id"),
                pl.lit(None, dtype=pl.String).alias("mw.key"),
            )
            for day, made in cut(frame, spec_of(schema, roles=("feature",), score=True), zone=UTC, lenses=lens).items():
                windows.put(day, hours=made.hours, sample=made.sample, blocks=made.blocks, versions=made.versions,
                            source=source, now=start, durable=False)  # fmt: skip

    def send(self, rows: pl.DataFrame, *, look: bool = True) -> list[int]:
        """Log rows and look at them; the clock goes on to the last of them."""
        self.sent += 1
        self.now = max(self.now, rows["mw.time"].max())  # type: ignore[type-var, assignment]
        rows = rows if "mw.score" in rows.columns else self.scored(rows)
        predictions.write_batch(self.project.store, "delay", rows, now=self.now, token=f"{self.sent:05d}")
        return self.look() if look else []

    def look(self, watcher: Watcher | None = None) -> list[int]:
        self.now += LOOK
        return (watcher or self.watcher).look(self.now)

    def incidents(self) -> list[Incident]:
        return self.project.incidents("delay").all()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project with its 28 days; tests take copies."""
    root = tmp_path_factory.mktemp("lived") / "project"
    project = make_project(root, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    Site(project).history()
    return root


@pytest.fixture
def site(lived: Path, tmp_path: Path) -> Site:
    return Site(Project.open(shutil.copytree(lived, tmp_path / "project"), search=False))


def start(site: Site, count: int = 300) -> None:
    """Some good minutes first."""
    site.send(answered(site.now, count))
    assert site.incidents() == []


def missing(rows: pl.DataFrame, name: str = "carrier", share: float = 1.0) -> pl.DataFrame:
    gone = pl.Series(np.random.default_rng(3).random(rows.height) < share)
    return rows.with_columns(pl.when(gone).then(None).otherwise(pl.col(name)).alias(name))


# ---------------------------------------------------------------------- blocks


def test_blocks_end_every_fifty_rows_and_at_the_last() -> None:
    assert ends(99).tolist() == []
    assert ends(120).tolist() == [100, 120]
    assert ends(300, after=210).tolist() == [250, 300]
    assert ends(301, after=300).tolist() == [301]


def test_a_block_says_what_its_rows_hold() -> None:
    frame = pl.DataFrame(
        {"a": [None, 1.0] * 150, "c": ["x"] * 200 + ["new"] * 100, "mw.score": [0.1] * 150 + [0.9] * 150}
    )
    lens = Lens(columns=("a", "c"), texts={"c": frozenset({"x"})}, ranges={"a": (0.0, 0.5)}, threshold=0.5)
    made = measure(frame, lens, ends(300))
    assert made.rows.tolist() == [100, 150, 200, 250, 250]
    assert made.null["a"].tolist() == [0.5] * 5
    assert made.unseen["c"].tolist() == [0.0, 0.0, 0.0, 50 / 250, 100 / 250]
    assert made.unseen["a"].tolist() == [0.5] * 5, "1.0 lies beyond 0.5 by more than half of the range"
    assert made.scored.decided["yes"].tolist() == [0.0, 0.0, 50 / 200, 100 / 250, 150 / 250]
    assert made.scored.mode.tolist() == [1.0, 1.0, 0.75, 0.6, 0.6]
    kept = extremes(frame, lens, made, [3, 3, 3, 4, 4], version="v1")
    assert kept[3]["null"] == {"a": 0.5}
    assert kept[4]["unseen"] == {"a": 0.5, "c": 0.4}
    assert kept[4]["decided"] == {"yes": [0.4, 0.5, 0.6]}
    assert kept[3]["span"] == {"a": [1.0, 1.0]}


def test_the_onset_is_where_the_share_changed() -> None:
    chance = np.random.default_rng(1)
    flags = np.concatenate([chance.random(150) < 0.1, chance.random(100) < 0.8])
    assert abs(began(flags, 0.1) - 150) <= 5
    assert abs(began(~flags, 0.9) - 150) <= 5


def test_a_share_must_pass_its_floor_and_its_own_worst() -> None:
    assert limit(0.5, 0.1) == 0.5
    assert limit(0.5, 0.5) == 0.65
    assert limit(0.5, 0.9) == 0.95
    assert limit(0.5, 1.0) == 1.0


# ---------------------------------------------------------------------- what is told


def test_clean_traffic_says_nothing_and_costs_one_pass(site: Site) -> None:
    for part in range(8):
        site.send(answered(site.now, 200, seed=part))
    assert site.incidents() == []
    assert site.watcher.looks.state == "judging"
    assert site.watcher.looks.rows == 1600


def test_a_column_that_goes_missing_is_one_page_within_500_rows_and_closes_when_it_is_back(site: Site) -> None:
    start(site)
    onset = site.now
    sent = 0
    while not site.incidents():
        site.send(missing(answered(site.now, 50, seed=90 + sent)))
        sent += 50
        assert sent <= 500
    [found] = site.incidents()
    assert (found.state, found.severity, found.windows) == ("open", "page", 0)
    assert "carrier" in found.columns
    assert "carrier missing" in found.title
    assert abs(datetime.fromisoformat(found.since) - onset) < timedelta(minutes=2)
    for part in range(6):
        site.send(missing(answered(site.now, 200, seed=200 + part)))
    assert len(site.incidents()) == 1
    for part in range(4):
        site.send(answered(site.now, 200, seed=300 + part))
    [closed] = site.incidents()
    assert closed.state == "resolved"
    assert closed.rows >= 600
    assert "clean rows" in closed.events[-1].facts["reason"]


def test_it_takes_longer_to_close_what_came_back(site: Site) -> None:
    start(site)
    site.send(missing(answered(site.now, 300, seed=5)))
    site.send(answered(site.now, 900, seed=6))
    assert [one.state for one in site.incidents()] == ["resolved"]
    site.send(missing(answered(site.now, 300, seed=7)))
    site.send(answered(site.now, 900, seed=8))
    assert [one.state for one in site.incidents()] == ["resolved", "open"]
    site.send(answered(site.now, 500, seed=9))
    assert [one.state for one in site.incidents()] == ["resolved", "resolved"]


@pytest.mark.parametrize(
    ("change", "channel"),
    [
        (pl.lit(0.25).alias("mw.score"), "constant"),
        ((pl.col("mw.score") * 0.001 + 0.25).alias("mw.score"), "collapsed"),
        ((pl.col("mw.score") * 0.4).alias("mw.score"), "decisions"),
        (pl.lit("ZZ").alias("carrier"), "novelty"),
        ((pl.col("seats") * 100).alias("seats"), None),
    ],
)
def test_what_breaks_at_once(site: Site, change: pl.Expr, channel: str | None) -> None:
    """Numbers far outside need the range of training: this version's data is gone, so the stored days say it."""
    start(site)
    site.send(site.scored(answered(site.now, 400, seed=4)).with_columns(change))
    [found] = site.incidents()
    assert (channel or "novelty") in found.channels


def test_what_a_column_has_lived_through_is_no_alarm(tmp_path: Path) -> None:
    """Nulls of 60 % at this hour on many days are usual, by their own worst."""
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    site = Site(project)
    whole = site.scored
    site.scored = lambda rows, version="v1": whole(missing(rows, share=0.6), version)  # type: ignore[method-assign]
    site.history(14)
    site.send(answered(site.now, 400))
    assert site.incidents() == []


def test_with_little_history_only_what_needs_none_is_told(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    site = Site(project)
    site.history(3)
    site.send(missing(answered(site.now, 400), share=0.7))
    site.send(answered(site.now, 400).with_columns(temp=pl.lit(40.0)))
    assert site.incidents() == []
    assert site.watcher.looks.state == "learning"
    site.send(missing(answered(site.now, 400)))
    [found] = site.incidents()
    assert found.channels == ("null",)


def test_one_request_over_and_over_is_no_broken_model(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    site = Site(project)
    rows = answered(site.now, 400)
    site.send(
        rows.with_columns(
            pl.lit(9.0).alias("temp"),
            pl.lit(90).alias("seats"),
            night=pl.lit(True),
            carrier=pl.lit(None, dtype=pl.String),
        )
    )
    assert site.incidents() == []
    site.send(site.scored(answered(site.now, 400)).with_columns(pl.lit(0.5).alias("mw.score")))
    [found] = site.incidents()
    assert found.channels == ("constant", "replay")


def test_a_column_that_stands_still_is_told(site: Site) -> None:
    start(site)
    site.send(answered(site.now, 300).with_columns(temp=pl.lit(20.0)))
    [found] = site.incidents()
    assert ("temp", "constant") in {(one["column"], one["channel"]) for one in found.top}
    assert {one["column"] for one in found.top} <= {"temp", "mw.score"}
    site.send(answered(site.now, 600))
    assert not site.incidents()[0].active


def test_days_that_were_stored_before_say_nothing_of_what_stands_still() -> None:
    day = ({"same": {"temp": 0.3}},)
    assert Usual((day,) * 7).most_same("temp", 7) == 0.3
    assert Usual(((({"null": {}}),),) * 7).most_same("temp", 7) is None
    assert Usual((day,) * 6).most_same("temp", 7) is None


@pytest.mark.parametrize("days", [0, 28])
def test_answers_that_their_version_does_not_give_need_no_history(tmp_path: Path, days: int) -> None:
    """Scores a fifth too high move no decision and no line; the inputs say what the version would have answered."""
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    site = Site(project)
    site.history(days)
    site.send(answered(site.now, 300))
    assert site.incidents() == []
    few = site.scored(answered(site.now, 300))
    few[298, "mw.score"] = few[298, "mw.score"] + 0.01
    site.send(few)
    assert site.incidents() == []
    began = site.now
    site.send(site.scored(answered(site.now, 120)).with_columns(pl.col("mw.score") + 1e-4))
    [found] = site.incidents()
    assert (found.columns, found.channels, found.severity) == (("mw.score",), ("replay",), "page")
    assert found.title.startswith("prediction not what its version answers 0.0% -> 100%")
    assert datetime.fromisoformat(found.since) >= began
    cause = why.diagnose(project, "delay", incident=found.n, now=site.now).causes[0]
    assert (cause.kind, cause.form, cause.confidence) == ("environment", "answers_differ", "certain")
    site.send(answered(site.now, 600))
    assert [one.active for one in site.incidents()] == [False]


def test_of_inputs_that_the_log_does_not_hold_no_answer_is_asked_again(site: Site) -> None:
    mine = load(site.project, "delay", "v1")
    rows = site.scored(answered(site.now, 50)).with_columns(pl.col("mw.score") * 0.5)
    assert mine.answers_otherwise(rows).all()  # type: ignore[union-attr]
    assert mine.answers_otherwise(rows.drop("temp")) is None
    hidden = tuple(
        replace(one, private="hash" if one.name == "carrier" else None) for one in mine.version.schema.columns
    )
    secret = replace(mine, version=replace(mine.version, schema=replace(mine.version.schema, columns=hidden)))
    assert secret.answers_otherwise(rows) is None
    assert otherwise(rows, None) is None


def test_training_days_are_history_too(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    site = Site(project)
    site.history(28, source="training")
    site.send(missing(answered(site.now, 400), share=0.7))
    assert len(site.incidents()) == 1


def test_late_rows_are_for_the_day_not_for_the_fast_channel(site: Site) -> None:
    start(site)
    site.send(missing(answered(site.now - timedelta(hours=30), 400)))
    site.send(missing(answered(site.now - timedelta(hours=3), 400)))
    assert site.incidents() == []


def test_a_clock_that_is_ahead_blinds_nobody(site: Site) -> None:
    start(site)
    ahead = answered(datetime(2031, 1, 1, tzinfo=UTC), 3)
    predictions.write_batch(site.project.store, "delay", site.scored(ahead), now=site.now, token="ahead")
    site.look()
    site.send(missing(answered(site.now, 400)))
    assert len(site.incidents()) == 1


def test_history_played_again_is_judged_by_its_own_time(site: Site) -> None:
    """Events of last year, sent now: no silence by the clock, and no stop where it begins anew."""
    site.send(answered(TODAY - timedelta(hours=6), 400))
    site.now += timedelta(hours=3)
    site.look()
    assert site.incidents() == []


# ---------------------------------------------------------------------- releases


def release(site: Site, version: str, **facts: Any) -> None:
    journal = site.project.journal("delay")
    journal.append(action="promote", version=version, actor="ann", host="here", at=site.now,
                   expect=journal.state().n, facts=facts)  # fmt: skip


def test_a_bad_release_is_told_as_such_and_closes_with_the_rollback(site: Site) -> None:
    start(site)
    worse = publish(site.project, "delay", seed=5)
    release(site, worse, forced="a slip of the hand")
    rows = answered(site.now, 300, seed=44, version=worse)
    site.send(site.scored(rows, worse))
    [found] = site.incidents()
    assert found.columns == (RELEASE,)
    assert found.top[0]["version"] == worse
    assert {"order", "score_before", "score_after"} <= set(found.top[0])
    assert f"{worse} answers unlike v1" in found.title
    release(site, "v1")
    site.send(answered(site.now, 200, seed=45))
    assert site.incidents()[0].state == "resolved"
    assert len(site.incidents()) == 1


def test_a_planned_release_through_its_gate_stays_silent(site: Site) -> None:
    start(site)
    better = publish(site.project, "delay", seed=1)
    release(site, better)
    for part in range(4):
        site.send(site.scored(answered(site.now, 300, seed=60 + part, version=better), better))
    assert site.incidents() == []


# ---------------------------------------------------------------------- requests that fail, or do not come


def turned_away(site: Site, count: int) -> None:
    """Refused requests, as a server notes them."""
    spool = Spool(site.project.spool("delay"), server=f"web-{site.sent:05d}", stream="refused")
    head = Head(model="delay", version="v1", server="web", zone="UTC", columns=(), stream="refused")
    for place in range(count):
        at = int((site.now + timedelta(seconds=place)).timestamp() * 1_000_000)
        one = Refusal(id=new_id(at, "aaaaa", place), time=None, received=at, caller="app", field="seats",
                      came="text", expected="a number", error="seats is text", raw=b"")  # fmt: skip
        spool.append(head, frame_of(one), received=at)
    spool.close()
    site.sent += 1
    site.now += timedelta(seconds=count)


def test_a_client_that_is_refused_is_a_page_until_it_is_answered(site: Site) -> None:
    start(site)
    turned_away(site, 30)
    site.look()
    assert site.incidents() == [], "30 of 250 are not 20 %"
    turned_away(site, 40)
    site.look()
    [found] = site.incidents()
    assert (found.columns, found.channels, found.severity) == ((REFUSED,), ("refused",), "page")
    assert "requests refused 0.0% -> 28%" in found.title
    site.send(answered(site.now, 300, seed=8))
    assert [one.state for one in site.incidents()] == ["resolved"]


def test_traffic_that_stops_is_told_against_the_same_hours(site: Site) -> None:
    start(site)
    stopped = site.now
    while not site.incidents() and site.now < stopped + timedelta(hours=1):
        site.look()
    [found] = site.incidents()
    # 120 requests an hour are usual: 20 of them take 10 minutes.
    assert timedelta(minutes=9) < site.now - stopped < timedelta(minutes=13)
    assert (found.columns, found.severity) == ((TRAFFIC,), "page")
    assert "no request for 1" in found.title
    for _ in range(5):
        site.look()
    assert len(site.incidents()) == 1
    site.send(answered(site.now, 20))
    assert site.incidents()[0].state == "resolved"


def test_a_quiet_night_is_no_silence(site: Site) -> None:
    site.now = TODAY + timedelta(hours=19, minutes=50)
    start(site, 500)
    while site.now < TODAY + timedelta(hours=30, minutes=5):
        site.now += timedelta(minutes=4)
        site.look()
    assert site.incidents() == []
    site.now = TODAY + timedelta(hours=30, minutes=30)
    site.look()
    assert [one.columns for one in site.incidents()] == [(TRAFFIC,)], "by half past six they always came"


def test_a_monitor_that_no_longer_runs_is_told(site: Site) -> None:
    site.look()
    assert site.incidents() == [], "one that was never set up is no news"
    runs.mark(site.project.store, "delay", now=site.now - timedelta(hours=37))
    site.watcher = Watcher(site.project, "delay", started=site.now)
    site.look()
    site.look()
    [found] = site.incidents()
    assert found.columns == (MONITOR,)
    runs.mark(site.project.store, "delay", now=site.now)
    site.look()
    assert site.incidents()[0].state == "resolved"


def test_where_windows_are_hours_a_monitor_that_missed_three_is_told(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"}, more='\n[monitor]\nwindow = "hour"\n')
    promote(project, "delay", publish(project, "delay"))
    site = Site(project)
    runs.mark(project.store, "delay", now=site.now - timedelta(hours=2))
    site.look()
    assert site.incidents() == []
    site.now += timedelta(hours=2)
    site.look()
    [found] = site.incidents()
    assert found.columns == (MONITOR,)


def test_looks_at_usual_traffic_do_not_ask_the_store_of_incidents_each_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(site)
    kind: Any = type(site.project.store)
    listing, asked = kind.list, list[str]()

    def counted(self: Store, prefix: str, *, after: str | None = None) -> list[str]:
        asked.append(prefix)
        found: list[str] = listing(self, prefix, after=after)
        return found

    monkeypatch.setattr(kind, "list", counted)
    for seed in range(6):  # every 5 seconds, as the child looks
        site.send(answered(site.now, 100, seed=seed, every=timedelta(milliseconds=40)), look=False)
        site.now += timedelta(seconds=1)
        assert site.watcher.look(site.now) == []
    assert sum("/incidents/" in one for one in asked) <= 2
    assert sum("/monitor/" in one for one in asked) <= 1
    monkeypatch.undo()
    site.send(missing(answered(site.now, 500, seed=9)))
    assert [one.columns for one in site.incidents()] == [("carrier",)]


# ---------------------------------------------------------------------- once, whoever looks


class Killed(BaseException):
    """As kill -9 does: nothing runs after it."""


def test_killed_between_any_two_writes_it_is_still_told_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    start(site)
    kind: Any = type(site.project.store)
    put = kind.put_new
    left = 0

    def dying(self: Store, key: str, data: bytes, *, durable: bool = True) -> bool:
        nonlocal left
        if "/incidents/" in key:
            if left == 0:
                raise Killed
            left -= 1
        done: bool = put(self, key, data, durable=durable)
        return done

    monkeypatch.setattr(kind, "put_new", dying)
    rounds = 0
    for life in range(12):
        left = life % 4
        try:
            for _ in range(3):
                site.send(missing(answered(site.now, 120, seed=life)), look=False)
                rounds += 1
                site.look()
        except Killed:
            site.watcher = Watcher(site.project, "delay", started=site.now)
    monkeypatch.setattr(kind, "put_new", put)
    site.look()
    assert rounds > 12
    assert len(site.incidents()) == 1
    for part in range(5):
        site.send(answered(site.now, 200, seed=400 + part))
    assert [one.state for one in site.incidents()] == ["resolved"]


def test_two_watchers_at_once_tell_it_once(site: Site) -> None:
    start(site)
    others = [Watcher(site.project, "delay", started=site.now) for _ in range(3)]
    for one in others:
        site.look(one)
    site.send(missing(answered(site.now, 300)), look=False)
    site.now += LOOK
    threads = [threading.Thread(target=one.look, args=(site.now,)) for one in (*others, site.watcher)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.incidents()) == 1


def test_what_a_person_closed_is_not_opened_again_while_it_lasts(site: Site) -> None:
    start(site)
    site.send(missing(answered(site.now, 300)))
    site.project.incidents("delay").add(1, "resolve", at=site.now, actor="ann", cause="known")
    for part in range(3):
        site.send(missing(answered(site.now, 200, seed=part)))
    assert len(site.incidents()) == 1


# ---------------------------------------------------------------------- beside the day's monitor


def test_the_day_joins_the_incident_of_the_same_onset(site: Site) -> None:
    start(site, 700)
    site.send(missing(answered(site.now, 600, every=timedelta(seconds=20)), name="temp"))
    assert len(site.incidents()) == 1
    done = monitor.judge(site.project, "delay", until=TODAY + timedelta(days=1), now=TODAY + timedelta(days=1, hours=2))
    assert done.windows[-1]["alarm"], "the day alarms as well"
    [found] = site.incidents()
    assert found.windows == 1
    assert "shape" in found.channels or "scattered" in found.channels or "tie" in found.channels
    assert found.severity == "page"
    assert done.windows[-1]["incidents"] == [1]


def test_a_release_that_watcher_and_monitor_see_at_once_is_one_incident(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(site)
    worse = publish(site.project, "delay", seed=5)
    release(site, worse, forced="a slip of the hand")
    rows = answered(site.now, 900, seed=44, version=worse)
    site.send(site.scored(rows, worse), look=False)
    opened = Incidents.open

    def a_moment_later(self: Incidents, **facts: Any) -> Incident:
        monkeypatch.setattr(Incidents, "open", opened)
        site.look()
        return opened(self, **facts)

    monkeypatch.setattr(Incidents, "open", a_moment_later)
    monitor.judge(site.project, "delay", until=TODAY + timedelta(days=1), now=TODAY + timedelta(days=1, hours=2))
    [found] = site.incidents()
    assert RELEASE in found.columns
    assert found.windows == 1
    assert f"{worse} answers unlike v1" in found.title


def test_the_day_joins_what_was_over_before_its_end(site: Site) -> None:
    start(site)
    site.send(missing(answered(site.now, 500), name="temp"))
    site.send(answered(site.now, 700, seed=2))
    assert [one.state for one in site.incidents()] == ["resolved"]
    done = monitor.judge(site.project, "delay", until=TODAY + timedelta(days=1), now=TODAY + timedelta(days=1, hours=2))
    assert done.windows[-1]["alarm"]
    [found] = site.incidents()
    assert (found.state, found.windows) == ("resolved", 1)


def test_monitor_looks_at_the_day_that_is_not_finished(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever scores in batches and has no server."""
    site.send(missing(answered(site.now, 400), name="temp"), look=False)
    monkeypatch.setattr(Handle, "clock", staticmethod(lambda: site.now + LOOK))
    handle = Handle(site.project, "delay")
    judged = handle.monitor()
    assert [one.n for one in judged.incidents] == [1]
    assert handle.monitor().incidents == [], "what was told is not told again"
    found = handle.why("1")
    assert found.to_dict()["found"]
    assert found.to_dict()["causes"][0]["column"] == "temp"
    site.send(answered(site.now, 700, seed=3), look=False)
    handle.monitor()
    assert site.incidents()[0].state == "resolved"


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"}, more="\n[monitor]\nfast = false\n")
    promote(project, "delay", publish(project, "delay"))
    with serving(tmp_path) as (server, client):
        client.predict(bodies(1)[0])
        server.stop()
    assert not (tmp_path / ".middlewatch" / "spool" / "watch.lock").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_tells_within_minutes(tmp_path: Path, workers: int) -> None:
    """Through the real server, its log and its child; which is killed once, and starts again."""
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    site = Site(project)
    # Usual at any hour, whenever this runs.
    site.today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    site.history(10, hours=range(24))
    good = bodies(600)
    with serving(tmp_path, workers=workers) as (server, client):
        client.predict(good[:300])
        wait_until(lambda: (tmp_path / ".middlewatch" / "spool" / "watch.lock").exists(), 30)
        for pid in children(tmp_path):
            os.kill(pid, signal.SIGKILL)
        client.predict([{**one, "carrier": None} for one in good[300:600]])
        wait_until(lambda: project.incidents("delay").all(), 60)
        [found] = project.incidents("delay").all()
        assert "carrier missing" in found.title
        wait_until(lambda: project.incidents("delay").get(1).why, 60)
        facts = status(project, "delay", clock=datetime.now(UTC))
        assert (facts.state, facts.incidents[0].n) == ("failing", 1)
        assert server.stop() == 0
    assert children(tmp_path) == [], "the child ends with its server"


def test_a_server_that_is_killed_takes_its_watcher_along(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    with serving(tmp_path) as (server, client):
        client.predict(bodies(1)[0])
        wait_until(lambda: children(tmp_path), 30)
        server.kill()
        wait_until(lambda: not children(tmp_path), 30)


def children(root: Path) -> list[int]:
    """Watching processes of a project."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"middlewatch.fast.child" in words and str(root).encode() in words:
                found.append(int(folder.name))
    return found


def test_looking_back_reads_nothing_where_nothing_has_come(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    over = Watcher.over

    def counting(self: Watcher, *args: Any) -> list[int]:
        nonlocal read
        read += 1
        return over(self, *args)

    monkeypatch.setattr(Watcher, "over", counting)

    def back() -> list[int]:
        return look_back(site.project, "delay", until=site.now + LOOK, now=site.now + LOOK)

    site.send(answered(site.now, 400), look=False)
    assert (back(), read) == ([], 1)
    site.now += timedelta(hours=1)
    assert (back(), back(), read) == ([], [], 2)  # of the file's last hour rows might have been behind the moment
    site.send(missing(answered(site.now, 400), name="temp"), look=False)
    assert (back(), read) == ([1], 3)
    assert (back(), read) == ([], 3)
    # Another version answers: there may be something to say of it.
    release(site, publish(site.project, "delay", seed=5))
    back()
    assert read == 4
    # A look that dies is had again.
    site.send(missing(answered(site.now, 300, seed=3), name="temp"), look=False)
    monkeypatch.setattr(Watcher, "over", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        back()
    monkeypatch.setattr(Watcher, "over", counting)
    back()
    assert read == 5

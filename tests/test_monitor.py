"""The monitor on a small store: a season of quiet days, then what a night may bring."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from middlewatch import model, monitor, predictions
from middlewatch.encoding import Encoding
from middlewatch.errors import NothingToDo
from middlewatch.incidents import Incident
from middlewatch.journal import Journal
from middlewatch.monitor import Judged
from middlewatch.predictors import Predictor, load
from middlewatch.profiles import spec_of
from middlewatch.project import Project
from middlewatch.schema import Column, Schema
from middlewatch.windows import Windows, cut

FIRST = date(2013, 1, 1)
ROWS = 150
SCHEMA = Schema(
    name="delay",
    task="regression",
    columns=(
        Column(name="distance", kind="number", centre=900.0, nulls=0.1),
        Column(name="carrier", kind="category", categories=("AA", "B6", "UA")),
    ),
)


def moment(day: int) -> datetime:
    return datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), tzinfo=UTC)


def rows(day: int, *, seed: int = 0, count: int = ROWS, scale: float = 1.0, nulls: float = 0.02) -> pl.DataFrame:
    """One day's answered requests: the mean wanders a little from day to day, as the world does."""
    chance = np.random.default_rng([seed, day])
    distance = scale * np.round(chance.normal(900 + 30 * np.sin(day / 5), 300, count), 1)
    missing = chance.random(count) < nulls
    seconds = np.sort(chance.integers(6 * 3600, 22 * 3600, count))
    return pl.DataFrame(
        {
            "distance": pl.Series(distance).set(pl.Series(missing), None),
            "carrier": chance.choice(["AA", "B6", "UA"], count, p=[0.5, 0.3, 0.2]),
            "mw.time": [moment(day) + timedelta(seconds=int(one)) for one in seconds],
            "mw.score": np.where(missing, 0.0, distance / 1000),
            "mw.version": ["ext-1"] * count,
        },
        schema_overrides={"mw.time": pl.Datetime("us", "UTC")},
    )


@dataclass
class Site:
    """A project and its log; every batch arrives at its own moment."""

    project: Project
    arrived: int = 0

    def log(self, *frames: pl.DataFrame) -> None:
        self.arrived += 1
        received = datetime(2014, 1, 1, tzinfo=UTC) + timedelta(minutes=self.arrived)
        token = f"{self.arrived:05d}"
        predictions.write_batch(self.project.store, "delay", pl.concat(frames), now=received, token=token)

    def judge(self, until: int | None = None, **more: Any) -> Judged:
        now = datetime(2014, 2, 1, tzinfo=UTC) + timedelta(minutes=self.arrived)
        return monitor.judge(self.project, "delay", until=None if until is None else moment(until), now=now, **more)

    def incidents(self) -> list[Incident]:
        return self.project.incidents("delay").all()

    def history(self, days: range, *, count: int = ROWS) -> None:
        """Training windows, as `train` writes them."""
        frame = pl.concat([rows(day, count=count) for day in days]).with_columns(
            pl.format("h{}", pl.int_range(pl.len())).alias("mw.id")
        )
        windows = self.project.windows("delay")
        for day, made in cut(frame, spec_of(SCHEMA, score=True), zone=UTC).items():
            windows.put(day, hours=made.hours, sample=made.sample, source="training", now=moment(400), durable=False)
            windows.put_scores(day, "v1", windows.day(day).profile, basis="out_of_fold", durable=False)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "middlewatch.toml").write_text(
        '[models.delay]\ntask = "regression"\n\n[monitor]\nalarms_per_month = 0.5\n', encoding="utf-8"
    )
    (tmp_path / "delay.schema.toml").write_text(SCHEMA.to_toml(), encoding="utf-8")
    project = Project.open(tmp_path)
    project.journal("delay").append(action="promote", version="ext-1", actor="ann", host="here", at=moment(0), expect=0)
    return Site(project)


def test_nothing_logged_is_nothing_to_do(site: Site) -> None:
    with pytest.raises(NothingToDo):
        site.judge()


def test_quiet_days_are_judged_once_and_raise_nothing(site: Site) -> None:
    site.log(*(rows(day) for day in range(80)))
    judged = site.judge(until=80)
    assert [one["rows"] for one in judged.windows] == [ROWS] * 80
    states = [one["state"] for one in judged.windows]
    assert states == sorted(states, key=["learning", "provisional", "judged"].index)
    assert (states[0], states[40], states[79]) == ("learning", "provisional", "judged")
    assert sum(one["alarm"] for one in judged.windows) <= 2
    again = site.judge(until=80)
    assert (again.windows, again.incidents, again.built) == ([], [], 0)


def test_a_unit_change_opens_one_incident_that_closes_when_it_is_mended(site: Site) -> None:
    site.log(*(rows(day) for day in range(70)))
    site.judge(until=70)
    before = len(site.incidents())
    site.log(*(rows(day, scale=1.609344) for day in range(70, 73)))
    judged = site.judge(until=73)
    assert judged.windows[0]["alarm"]
    [incident] = site.incidents()[before:]
    assert (incident.state, incident.severity, incident.windows) == ("open", "page", 3)
    assert {"distance", "mw.score"} <= set(incident.columns)
    assert incident.since == "2013-03-12T00:00:00Z"
    assert incident.until == "2013-03-15T00:00:00Z"
    assert incident.rows == 3 * ROWS
    assert incident.before == pytest.approx(0.9, abs=0.1)
    assert incident.after == pytest.approx(0.9 * 1.609344, abs=0.15)
    assert "distance" in incident.title
    assert [one["incidents"] for one in judged.windows] == [[incident.n]] * 3
    # While it lasts the history has taken it in, and it is still the same incident; then two clean days close it.
    site.log(*(rows(day) for day in range(73, 76)))
    judged = site.judge(until=76)
    closed = site.incidents()[-1]
    assert (closed.n, closed.state, closed.clean) == (incident.n, "resolved", 2)
    assert [one.kind for one in closed.events][-1] == "resolve"


def test_days_marked_bad_leave_the_history(site: Site) -> None:
    site.log(*(rows(day) for day in range(70)))
    site.judge(until=70)
    site.log(*(rows(day, scale=1.609344) for day in range(70, 73)))
    site.judge(until=73)
    n = site.incidents()[-1].n
    span = {"since": "2013-03-12T00:00:00Z", "until": "2013-03-15T00:00:00Z"}
    site.project.incidents("delay").add(n, "mark_bad", at=moment(73), actor="ann", **span)
    site.log(*(rows(day) for day in range(73, 76)), *(rows(day, scale=1.609344) for day in range(76, 77)))
    judged = site.judge(until=77)
    assert [one["history"] for one in judged.windows] == [70, 71, 72, 73]
    # The same fault again is news again: its first days are not part of what is usual.
    assert judged.windows[-1]["alarm"]
    assert judged.windows[-1]["top"][0]["column"] in ("distance", "mw.score")
    rebuilt = site.judge(until=77, rebuild=True)
    assert [one["state"] for one in rebuilt.windows[70:73]] == ["excluded"] * 3
    assert len(rebuilt.windows) == 77


def test_late_rows_make_a_new_revision_and_a_new_judgement(site: Site) -> None:
    site.log(*(rows(day) for day in range(40)))
    site.judge(until=40)
    site.log(rows(12, seed=5, count=20), rows(40))
    judged = site.judge(until=41)
    assert [(one["start"][:10], one["rows"]) for one in judged.windows] == [("2013-01-13", 170), ("2013-02-10", 150)]
    held = site.project.windows("delay").day(FIRST + timedelta(days=12))
    assert (held.revision, held.rows, sum(held.versions.values())) == (2, 170, 170)
    assert sum(one.rows for one in held.hours.values()) == 170
    assert site.judge(until=41).windows == []


def test_a_day_is_not_judged_before_its_grace_is_over(site: Site) -> None:
    site.log(rows(0), rows(1))
    early = monitor.judge(site.project, "delay", now=moment(2) + timedelta(minutes=30))
    assert [one["start"][:10] for one in early.windows] == ["2013-01-01"]
    later = monitor.judge(site.project, "delay", now=moment(2) + timedelta(hours=2))
    assert [one["start"][:10] for one in later.windows] == ["2013-01-02"]


def test_a_moment_that_is_still_to_come_is_told(site: Site) -> None:
    site.log(*(rows(day) for day in range(3)))
    with pytest.raises(NothingToDo, match="no finished day") as caught:
        monitor.judge(site.project, "delay", until=moment(3), now=moment(1))
    assert "2013-01-04 00:00 is later than the clock, 2013-01-02 00:00 UTC: " in caught.value.why
    late = monitor.judge(site.project, "delay", until=moment(3), now=moment(2) + timedelta(minutes=5))
    assert len(late.windows) == 1  # the grace of the second day is not over
    assert late.notes[0].startswith("2013-01-04 00:00 is later than the clock, 2013-01-03 00:05 UTC: ")
    assert late.notes[0].endswith("middlewatch monitor judges every day that is over")
    again = monitor.judge(site.project, "delay", until=moment(3), now=moment(2) + timedelta(minutes=5))
    assert (again.windows, again.notes[0]) == ([], late.notes[0])
    assert not [note for note in site.judge(until=3).notes if "clock" in note]


def test_training_days_are_history_from_the_first_day_on(site: Site) -> None:
    site.history(range(90))
    site.log(*(rows(day).with_columns(pl.lit("v1").alias("mw.version")) for day in range(90, 92)))
    site.log(rows(92, nulls=0.5).with_columns(pl.lit("v1").alias("mw.version")))
    judged = site.judge(until=93)
    assert [(one["state"], one["history"]) for one in judged.windows] == [
        ("judged", 90),
        ("judged", 91),
        ("judged", 92),
    ]
    assert [one["alarm"] for one in judged.windows] == [False, False, True]
    assert judged.windows[-1]["top"][0]["column"] in ("distance", "mw.score")
    top = {(one["column"], one["channel"]) for one in site.incidents()[0].top}
    assert ("distance", "null") in top


def test_a_training_sample_of_another_size_is_no_alarm_on_the_first_day(site: Site) -> None:
    site.history(range(90), count=ROWS // 5)
    site.log(*(rows(day).with_columns(pl.lit("v1").alias("mw.version")) for day in range(90, 96)))
    judged = site.judge(until=96)
    assert [one["alarm"] for one in judged.windows] == [False] * 6
    assert not [note for one in judged.windows for note in one["notes"]]
    assert site.incidents() == []


def test_rows_sent_twice_are_counted_in_the_whole_window(site: Site) -> None:
    count, twice = 3000, 900
    chance = np.random.default_rng(5)
    clean = (rows(day, count=count) for day in range(70))
    site.log(*(one.with_columns(distance=pl.Series(chance.normal(900, 300, count))) for one in clean))
    whole = rows(70, count=count).with_columns(distance=pl.Series(chance.normal(900, 300, count)))
    site.log(pl.concat([whole[: count - twice], whole[:twice]]))
    judged = site.judge(until=71)
    [incident] = site.incidents()
    assert judged.windows[-1]["alarm"]
    [top] = [one for one in incident.top if (one["column"], one["channel"]) == ("(rows)", "repeated")]
    assert top["now"] == pytest.approx(twice / count)


def release(site: Site, shift: float) -> tuple[str, Predictor, Encoding]:
    """A version of our own that answers distance / 1000 + `shift`, as `train` would store it."""
    import lightgbm

    frame = pl.concat([rows(day) for day in range(20)])
    encoding = Encoding.of(SCHEMA, frame)
    matrix = encoding.encode(frame)
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(matrix, frame["mw.score"].to_numpy() + shift)
    text = lightgbm.train(settings, data, num_boost_round=30).model_to_string()
    predictor = load("lightgbm", text.encode(), features=2, outputs=1)
    rows_of = [list(one) for one in frame.select("distance", "carrier").head(3).iter_rows()]
    golden = {"rows": rows_of, "scores": [predictor.row(encoding.encode_row(one)) for one in rows_of]}
    version = model.publish(
        site.project.store,
        "delay",
        files={
            "model.txt": text.encode(),
            "schema.toml": SCHEMA.to_toml().encode(),
            "encoding.json": json.dumps(encoding.to_dict()).encode(),
            "golden.json": json.dumps(golden).encode(),
        },
        manifest={"task": "regression", "kind": "lightgbm", "data": "d1", "threshold": 0.5, "classes": []},
        now=moment(0),
        actor="ann",
    )
    return version, predictor, encoding


def answered(day: int, by: tuple[str, Predictor, Encoding]) -> pl.DataFrame:
    version, predictor, encoding = by
    frame = rows(day)
    scores = pl.Series("mw.score", predictor.batch(encoding.encode(frame)))
    return frame.with_columns(scores, pl.lit(version).alias("mw.version"))


def test_a_promotion_is_no_alarm_and_a_wrong_release_is_one(site: Site) -> None:
    old, new = release(site, 0.0), release(site, 1.0)
    site.log(*(answered(day, old) for day in range(70)))
    site.judge(until=70)
    known = len(site.incidents())
    # Predictions of the new version are twice as high; its own past was so too.
    site.log(*(answered(day, new) for day in range(70, 73)))
    judged = site.judge(until=73)
    assert [one["version"] for one in judged.windows] == [new[0]] * 3
    assert [one["alarm"] for one in judged.windows] == [False] * 3
    assert len(site.incidents()) == known
    windows = site.project.windows("delay")
    assert len(windows.days_scored(new[0])) == 70
    kept = windows.scores(FIRST, new[0])
    assert kept is not None
    assert kept.basis == "replayed"
    assert kept.profile.columns["mw.score"].mean == pytest.approx(1.9, abs=0.1)
    # What is logged under the new version but answered by other trees does not look like its past.
    wrong = answered(73, old).with_columns(pl.lit(new[0]).alias("mw.version"))
    site.log(wrong)
    last = site.judge(until=74).windows[-1]
    assert last["alarm"]
    assert last["top"][0]["column"] == "mw.score"
    assert site.incidents()[-1].severity == "page"


def test_answers_of_another_model_under_its_name_are_an_alarm_from_the_first_day_on(site: Site) -> None:
    mine = release(site, 0.0)
    site.project.journal("delay").append(
        action="promote", version=mine[0], actor="ann", host="here", at=moment(0), expect=1
    )
    site.log(*(answered(day, mine) for day in range(3)))
    assert not any(one["alarm"] for one in site.judge(until=3).windows)
    site.log(answered(3, mine).with_columns(pl.col("mw.score") + 1e-3))
    [window] = site.judge(until=4).windows
    assert window["alarm"]
    assert (window["top"][0]["column"], window["top"][0]["channel"]) == ("mw.score", "replay")
    [incident] = site.incidents()
    assert (incident.severity, incident.channels) == ("page", ("replay",))
    site.log(answered(4, mine), answered(5, mine))
    site.judge(until=6)
    assert not site.incidents()[0].active


def test_a_version_that_cannot_be_loaded_leaves_the_inputs_to_be_judged(site: Site) -> None:
    gone = ("v7", *release(site, 0.0)[1:])
    site.log(*(rows(day) for day in range(70)), *(answered(day, gone) for day in range(70, 72)))
    judged = site.judge(until=72)
    assert len(judged.windows) == 72
    assert any("past predictions of v7 are left out" in one for one in judged.notes)
    site.log(answered(72, gone).with_columns(pl.col("distance") * 1.609344))
    assert site.judge(until=73).windows[-1]["top"][0]["column"] == "distance"


def test_weeks_are_windows_where_the_project_says_so(site: Site) -> None:
    path = site.project.root / "middlewatch.toml"
    path.write_text(path.read_text(encoding="utf-8") + 'window = "week"\n', encoding="utf-8")
    weekly = Site(Project.open(site.project.root))
    weekly.log(*(rows(day, count=20) for day in range(30)))
    judged = weekly.judge(until=30)
    # 2013-01-01 is a Tuesday: its week has six days with rows. The week of 28 January is not over.
    assert [(one["start"][:10], one["rows"]) for one in judged.windows] == [
        ("2012-12-31", 120),
        ("2013-01-07", 140),
        ("2013-01-14", 140),
        ("2013-01-21", 140),
    ]
    assert weekly.judge(until=30).windows == []


def refuse(site: Site, day: int, count: int) -> None:
    frame = pl.DataFrame(
        {
            "mw.id": [f"refused-{day}-{one}" for one in range(count)],
            "mw.time": [moment(day) + timedelta(hours=3, seconds=one) for one in range(count)],
            "mw.received": [moment(day) + timedelta(hours=3, seconds=one) for one in range(count)],
            "field": ["distance"] * count,
            "error": ["distance must be a number"] * count,
        },
        schema_overrides={one: pl.Datetime("us", "UTC") for one in ("mw.time", "mw.received")},
    )
    blank = predictions.empty("refused")
    whole = pl.concat([blank, frame], how="diagonal_relaxed").select(blank.columns)
    # Written as the converter writes a segment's rows.
    predictions.put(site.project.store, "delay", "refused", whole, version="ext-1", ident=f"s-{day}")


def test_refused_requests_are_not_invisible(site: Site) -> None:
    site.log(*(rows(day) for day in range(5)))
    site.judge(until=5)
    assert site.incidents() == []
    site.log(rows(5, count=100))
    refuse(site, 5, 50)
    refuse(site, 6, 150)  # a day on which nothing was answered at all
    judged = site.judge(until=7)
    assert [(one["rows"], one["refused"], one["alarm"]) for one in judged.windows] == [(100, 50, True), (0, 150, True)]
    [incident] = site.incidents()
    assert (incident.severity, incident.columns, incident.windows) == ("page", (monitor.REFUSED,), 2)
    assert "refused 0.0% -> 33%" in incident.title
    summary = site.project.windows("delay").summaries()[-1]
    assert summary["refused_why"] == {"distance: distance must be a number": 150}


def test_the_budget_is_shared_by_the_live_models_of_the_store(site: Site) -> None:
    store = site.project.store
    assert monitor.live_models(store) == 0
    site.history(range(60))
    assert monitor.live_models(store) == 1
    # Another shares once it has traffic, and until it has had none for a month, whoever forgot to take it down.
    for day, shared in ((None, 1), (59, 2), (29, 3), (28, 3)):
        name = f"m{day}"
        Journal(store, name).append(action="promote", version="v1", actor="ann", host="here", at=moment(0), expect=0)
        if day is not None:
            when = FIRST + timedelta(days=day)
            Windows(store, name).put(when, hours={}, source="log", now=moment(day))
        assert monitor.live_models(store) == shared


def test_a_run_that_died_between_incident_and_judgement_opens_it_once(site: Site) -> None:
    site.log(*(rows(day) for day in range(70)), rows(70, scale=1.609344))
    site.judge(until=71)
    known = [one.n for one in site.incidents()]
    windows = site.project.windows("delay")
    day = FIRST + timedelta(days=70)
    for key in site.project.store.list(f"delay/windows/{day.isoformat()}/"):
        if "judged" in key:
            site.project.store.delete(key)
    judged = site.judge(until=71)
    assert [one["start"][:10] for one in judged.windows] == [day.isoformat()]
    assert [one.n for one in site.incidents()] == known
    assert site.incidents()[-1].windows == 1
    assert windows.judgement(day) is not None

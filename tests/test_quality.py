"""Is it still good, answered with outcomes: measures, the look at the past, and the story of labels a week late."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

import middlewatch.quality.day as measuring
import middlewatch.quality.estimate as estimates
from middlewatch import history, labels, metrics, monitor, outcomes, predictions, tables
from middlewatch.incidents import OUTCOMES, Incident
from middlewatch.monitor import Judged
from middlewatch.project import Project
from middlewatch.quality import losses, watch
from middlewatch.quality.slices import worst
from middlewatch.quality.sums import Sum, pooled
from middlewatch.quality.watch import Watch, Window, ripe
from middlewatch.retention import expire_log
from middlewatch.schema import Column, Schema
from middlewatch.status import status
from middlewatch.store import Store
from middlewatch.web import home
from middlewatch.web.http import Request

FIRST = date(2013, 1, 1)
ROWS = 150

# --------------------------------------------------------------------------- measures

FLOATS = stn.arrays(np.float64, st.integers(2, 60), elements=st.floats(-50, 50, width=32))


@given(values=FLOATS, cut=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_sums_of_parts_are_the_sum_of_all(values: losses.Floats, cut: int) -> None:
    whole, parts = losses.summed(values), losses.summed(values[:cut]) + losses.summed(values[cut:])
    assert parts.n == whole.n
    assert parts.mean == pytest.approx(values.mean(), abs=1e-9)
    assert parts.variance == pytest.approx(values.var(ddof=1), abs=1e-6)
    assert Sum.read(whole.plain()) == whole
    assert pooled([]).error == 0.0


def binary(rows: int, seed: int = 0) -> tuple[losses.Floats, losses.Floats]:
    chance = np.random.default_rng(seed)
    score = chance.beta(1.5, 3, rows)
    return (chance.random(rows) < score).astype(float), score


def test_intervals_are_those_of_a_bootstrap() -> None:
    target, score = binary(3000)
    found = losses.measured("binary", target, score, 0.5)
    resampled = metrics.evaluate("binary", target, score)
    for name in ("auc", "log_loss", "brier"):
        ours, theirs = found[name], resampled[name]
        assert ours["value"] == pytest.approx(theirs["value"], abs=1e-12)
        assert ours["low"] == pytest.approx(theirs["low"], abs=0.006)
        assert ours["high"] == pytest.approx(theirs["high"], abs=0.006)
    values = np.random.default_rng(1).normal(size=3000)
    regression = losses.measured("regression", values, values + np.random.default_rng(2).normal(size=3000), 0.5)
    theirs = metrics.evaluate("regression", values, values + np.random.default_rng(2).normal(size=3000))["rmse"]
    assert regression["rmse"]["low"] == pytest.approx(theirs["low"], abs=0.01)
    assert regression["rmse"]["high"] == pytest.approx(theirs["high"], abs=0.01)


def test_wilson_and_the_ends_of_the_scale() -> None:
    # 0 of 10: Wilson's upper end is z^2 / (n + z^2).
    none_right = losses.measured("binary", np.ones(10), np.zeros(10), 0.5)
    assert none_right["accuracy"]["value"] == 0.0
    assert none_right["accuracy"]["high"] == pytest.approx(3.8415 / 13.8415, abs=1e-4)
    assert none_right["auc"]["value"] is None, "one class cannot be ranked"
    perfect = losses.measured("multiclass", np.array([0.0, 1.0]), np.eye(2), 0.5)
    assert perfect["accuracy"]["value"] == 1.0
    assert perfect["log_loss"]["value"] == pytest.approx(0.0, abs=1e-9)


def test_a_hard_day_raises_the_loss_and_not_what_no_guess_could_have_saved() -> None:
    chance = np.random.default_rng(3)
    easy = (chance.random(4000) < 0.1).astype(float)
    hard = (chance.random(4000) < 0.5).astype(float)
    constant = {one: losses.channels("binary", one_target, np.full(4000, share), 0.6)
                for one, one_target, share in (("easy", easy, 0.1), ("hard", hard, 0.5))}  # fmt: skip
    assert constant["hard"]["log_loss"].mean > constant["easy"]["log_loss"].mean + 0.3
    for name in ("loss_over_guess", "error_over_guess"):
        assert constant["hard"][name].mean == pytest.approx(constant["easy"][name].mean, abs=0.02)
    assert constant["easy"]["ranking"].mean == pytest.approx(0.5)


# --------------------------------------------------------------------------- the look at the past


def test_the_boundary_is_crossed_no_more_often_than_it_says() -> None:
    chance = np.random.default_rng(0)
    steps, paths, level = 200, 4000, 0.05
    sums = np.cumsum(chance.normal(size=(paths, steps)), axis=1)
    limits = np.array([watch.boundary(float(t), 7.0, level) for t in range(1, steps + 1)])
    crossed = float((sums > limits).any(axis=1).mean())
    assert 0.005 < crossed <= level
    assert (np.diff(limits) > 0).all()


def stream(place: int, *, rows: int = 300, flipped: float = 0.0, seed: int = 0) -> Window:
    """A window whose days differ by more than their rows say, as days do."""
    chance = np.random.default_rng([seed, place])
    score = 1 / (1 + np.exp(-(chance.normal(-1 + 0.3 * np.sin(place / 3), 1.2, rows))))
    target = (chance.random(rows) < score).astype(float)
    target = np.where(chance.random(rows) < flipped, 1 - target, target)
    day = FIRST + timedelta(days=place)
    return Window(day, rows, rows, losses.channels("binary", target, score, 0.5))


def test_calm_streams_are_calm_and_a_broken_model_is_not() -> None:
    alarms, seen = 0, []
    for seed in range(6):
        past = Watch(budget=0.5)
        for place in range(150):
            alarms += place >= 90 and past.look(stream(place, seed=seed)).alarm
            past.step(stream(place, seed=seed))
        before = len(past)
        broken = past.copy()
        for after in range(14):
            window = stream(150 + after, flipped=0.25, seed=seed)
            verdict = broken.look(window)
            broken.step(window)
            if verdict.alarm:
                seen.append(after)
                break
        better = replace(stream(150, seed=seed), sums={"log_loss": Sum(300, 3.0, 1.0), "error": Sum(300, 1.0, 1.0)})
        assert not past.look(better).alarm, "better than ever is no alarm"
        assert len(past) == before, "a copy's windows stay its own"
    assert alarms <= 3, "360 windows at a fourth of two alarms a month: three are expected at most"
    assert len(seen) == 6
    assert max(seen) <= 7


def test_a_slow_decay_is_seen_though_no_window_is_beyond_its_worst() -> None:
    past = Watch(budget=0.5)
    for place in range(150):
        past.step(stream(place))
    found = None
    for after in range(28):
        window = stream(150 + after, flipped=0.06)
        verdict = past.look(window)
        past.step(window)
        if verdict.decays:
            found = verdict
            break
    assert found is not None
    assert found.loud == ()
    one = found.decays[0]
    assert one.now > one.limit > one.usual
    assert one.since >= FIRST + timedelta(days=135)


def test_windows_are_ripe_with_half_of_their_outcomes_or_nearly_as_many_as_others_have() -> None:
    def one(rows: int, labelled: int) -> Window:
        return Window(FIRST, rows, labelled)

    tenth = [one(1000, 100)] * 28
    assert ripe(one(100, 50), [])
    assert not ripe(one(100, 49), [])
    assert not ripe(one(40, 29), []), "under 30 outcomes say nothing"
    assert not ripe(one(1000, 79), tenth)
    assert ripe(one(1000, 81), tenth)
    assert not ripe(one(1000, 81), tenth[:6]), "six windows are no usual share"


# --------------------------------------------------------------------------- without outcomes


def test_true_scores_expect_what_comes_and_untrue_ones_are_calibrated_first() -> None:
    target, score = binary(40_000, seed=5)
    squashed = 1 / (1 + np.exp(-(0.5 * np.log(score / (1 - score)) + 0.7)))
    for shown in (score, squashed):
        half = target.size // 2
        curve = estimates.fitted(estimates.counted(shown[:half], target[:half]))
        assert curve is not None
        values, counts = np.unique(shown[half:], return_counts=True)
        made = estimates.expected("binary", curve, values, counts.astype(float), 0.5)
        real = losses.measured("binary", target[half:], shown[half:], 0.5)
        for name, close in (("accuracy", 0.012), ("log_loss", 0.012), ("auc", 0.012), ("brier", 0.006)):
            assert made[name] == pytest.approx(real[name]["value"], abs=close), name
    assert estimates.fitted(estimates.counted(score[:100], target[:100])) is None
    assert estimates.fitted(estimates.counted(score, np.zeros(score.size))) is None


@given(seed=st.integers(0, 20), cut=st.integers(1, 399))
@settings(max_examples=20, deadline=None)
def test_bins_of_days_add_up(seed: int, cut: int) -> None:
    target, score = binary(400, seed=seed)
    parts = [estimates.counted(score[:cut], target[:cut]), estimates.counted(score[cut:], target[cut:])]
    together, whole = estimates.added(parts), estimates.counted(score, target)
    assert together.keys() == whole.keys()
    for name, held in whole.items():
        assert together[name] == pytest.approx(held, abs=1e-6)


def test_the_worst_slices_have_enough_rows_and_lie_above_the_rest() -> None:
    noise, bad, few = Sum(500, 250.0, 140.0), Sum(400, 320.0, 290.0), Sum(20, 40.0, 80.0)
    days = [{"carrier": {"AA": bad.plain(), "UA": noise.plain(), "ZZ": few.plain()}}] * 2
    found = worst(days, pooled([bad, noise, few]))
    assert [(one["column"], one["value"], one["rows"]) for one in found] == [("carrier", "AA", 800)]
    assert found[0]["low"] < found[0]["loss"] < found[0]["high"]


# --------------------------------------------------------------------------- a project


SCHEMA = Schema(
    name="delay",
    target="late",
    task="binary",
    key="flight",
    classes=("no", "yes"),
    columns=(
        Column(name="flight", kind="category", role="key"),
        Column(name="distance", kind="number", centre=900.0),
        Column(name="carrier", kind="category", categories=("AA", "B6", "UA")),
        Column(name="late", kind="category", role="target"),
    ),
)


def moment(day: int) -> datetime:
    return datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), tzinfo=UTC)


def rows(day: int, count: int = ROWS) -> pl.DataFrame:
    """A day's answers with what each should have been, in `late`; AA's are harder to know."""
    chance = np.random.default_rng([7, day])
    carrier = chance.choice(["AA", "B6", "UA"], count, p=[0.5, 0.3, 0.2])
    score = 1 / (1 + np.exp(-chance.normal(-0.5, 2.0, count)))
    real = np.where(carrier == "AA", 0.5 * score + 0.25, score)
    seconds = np.sort(chance.integers(6 * 3600, 22 * 3600, count))
    return pl.DataFrame(
        {
            "distance": np.round(chance.normal(900, 300, count), 1),
            "carrier": carrier,
            "late": np.where(chance.random(count) < real, "yes", "no"),
            "mw.key": [f"f{day}-{one}" for one in range(count)],
            "mw.time": [moment(day) + timedelta(seconds=int(one)) for one in seconds],
            "mw.score": score,
            "mw.version": ["ext-1"] * count,
        },
        schema_overrides={"mw.time": pl.Datetime("us", "UTC")},
    )


@dataclass
class Site:
    project: Project
    arrived: int = 0

    def log(self, *frames: pl.DataFrame) -> None:
        self.arrived += 1
        received = datetime(2014, 1, 1, tzinfo=UTC) + timedelta(minutes=self.arrived)
        frame = pl.concat(frames).drop("late")
        predictions.write_batch(self.project.store, "delay", frame, now=received, token=f"{self.arrived:05d}")

    def label(self, *frames: pl.DataFrame) -> outcomes.Imported:
        self.arrived += 1
        frame = pl.concat([one.select(pl.col("mw.key").alias("flight"), "late") for one in frames])
        now = datetime(2014, 1, 10, tzinfo=UTC) + timedelta(minutes=self.arrived)
        raw = tables.from_frame(frame)
        return outcomes.import_labels(self.project, "delay", raw, value="late", key="flight", now=now)

    def judge(self, until: int, **more: Any) -> Judged:
        now = datetime(2014, 2, 1, tzinfo=UTC) + timedelta(minutes=self.arrived)
        return monitor.judge(self.project, "delay", until=moment(until), now=now, **more)

    def facts(self, day: int) -> dict[str, Any]:
        when = FIRST + timedelta(days=day)
        [one] = self.project.windows("delay").summaries(since=when, until=when)
        quality: dict[str, Any] = one["quality"]
        return quality

    def incidents(self) -> list[Incident]:
        return [one for one in self.project.incidents("delay").all() if OUTCOMES in one.columns]

    def status(self, day: int) -> dict[str, Any]:
        return dict(status(self.project, "delay", now=moment(day), clock=moment(day)).quality)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "middlewatch.toml").write_text('[models.delay]\ntarget = "late"\n', encoding="utf-8")
    (tmp_path / "delay.schema.toml").write_text(SCHEMA.to_toml(), encoding="utf-8")
    project = Project.open(tmp_path)
    project.journal("delay").append(action="promote", version="ext-1", actor="ann", host="here", at=moment(0), expect=0)
    return Site(project)


def flipped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("late").replace({"yes": "no", "no": "yes"}))


def test_labels_a_week_late_open_an_incident_that_names_the_effect(site: Site) -> None:
    # Ten weeks of predictions; the outcomes of each day are known a week later.
    site.log(*(rows(day) for day in range(77)))
    assert site.judge(77).quality == [], "no outcome is known yet"
    told = site.status(77)
    assert (told["metric"], told["value"], told["estimate"]) == (None, None, None)
    assert told["note"].startswith("no outcomes yet")
    done = site.label(*(rows(day) for day in range(70)))
    assert (done.joined, done.unmatched, done.share_labelled) == (70 * ROWS, 0, 1.0)
    judged = site.judge(77)
    assert (len(judged.windows), len(judged.quality)) == (0, 70)
    assert site.incidents() == []
    told = site.status(77)
    assert (told["metric"], told["day"], told["labelled_share"]) == ("auc", "2013-03-11", 1.0)
    assert told["low"] < told["value"] < told["high"]
    assert told["usual_low"] <= told["value"] <= told["usual_high"]
    assert [(one["column"], one["value"]) for one in told["slices"]] == [("carrier", "AA")]

    # The world turned: the last week's answers were wrong. The inputs look as ever, so nothing else says so.
    site.log(*(rows(day) for day in range(77, 84)))
    site.label(*(flipped(rows(day)) for day in range(70, 77)))
    judged = site.judge(84)
    assert judged.quality[0]["alarm"]
    [incident] = site.incidents()
    assert incident.n in [one.n for one in judged.incidents]
    assert (incident.severity, incident.state, incident.since) == ("page", "open", "2013-03-12T00:00:00Z")
    assert (incident.windows, incident.rows) == (7, 7 * ROWS)
    assert "more wrong decisions than usual" in incident.title
    assert f"on {ROWS} outcomes" in incident.title
    now = status(site.project, "delay", now=moment(84), clock=moment(84))
    assert now.state == "failing"
    assert now.quality["value"] < now.quality["usual_low"]
    # Without outcomes the scores expect what they always did: drawn with its caveat, and no page.
    assert now.quality["estimate"] > now.quality["value"] + 0.2
    assert "if only the inputs changed" in now.quality["note"]

    shown = home.facts(site.project, Request(method="GET", path="/"), moment(84))
    tile = shown["numbers"][3]
    assert (tile["name"], tile["value"], tile["word"]) == ("Quality", now.quality["value"], "below usual")
    assert "100\u00a0% of outcomes arrived" in tile["unit"]
    assert "if only the inputs changed" in tile["unit"]
    assert [one["value"] for one in shown["errs"]["slices"]] == ["AA"]
    page = home.page(site.project, Request(method="GET", path="/"), moment(84)).body.decode()
    assert "Where it errs most" in page
    assert incident.title.replace("->", "→") in page

    # Nothing new: nothing is written. Then the labels prove to have been wrong, and the incident is taken back.
    held = site.project.store.list("")
    assert site.judge(84).quality == []
    assert site.project.store.list("") == held
    site.label(*(rows(day) for day in range(70, 77)))
    judged = site.judge(84)
    assert len(judged.quality) == 7
    [incident] = site.incidents()
    assert incident.state == "resolved"
    assert incident.events[-1].facts["reason"] == "the outcomes that came since take it back"


def test_an_incident_closes_after_two_clean_windows_and_the_next_one_is_another(site: Site) -> None:
    site.log(*(rows(day) for day in range(80)))
    site.label(*(rows(day) for day in range(60)), *(flipped(rows(day)) for day in range(60, 63)))
    site.judge(80)
    [incident] = site.incidents()
    assert (incident.state, incident.windows) == ("open", 3)
    site.label(rows(63))
    site.judge(80)
    [incident] = site.incidents()
    assert (incident.state, incident.clean, incident.until) == ("open", 1, "2013-03-05T00:00:00Z")
    site.label(rows(64), rows(65))
    site.judge(80)
    [incident] = site.incidents()
    assert (incident.state, incident.events[-1].facts["reason"]) == ("resolved", "2 clean windows")
    # Marked bad its days are no part of what is usual: the same fault is news again.
    span = {"since": incident.since, "until": incident.until, "where": ""}
    site.project.incidents("delay").add(incident.n, "mark_bad", at=moment(80), actor="ann", **span)
    site.label(*(flipped(rows(day)) for day in range(66, 70)))
    site.judge(80)
    assert [(one.state, one.since[:10]) for one in site.incidents()] == [
        ("resolved", "2013-03-02"),
        ("open", "2013-03-08"),
    ]


def test_late_outcomes_amend_a_window_and_few_are_not_judged(site: Site) -> None:
    site.log(*(rows(day) for day in range(40)))
    site.label(*(rows(day) for day in range(39)), rows(39).head(60))
    judged = site.judge(40)
    assert len(judged.quality) == 39, "40 % of the last day's outcomes are too few to judge it by"
    facts = site.facts(39)
    assert (facts["rows"], facts["labelled"], facts["judged"]) == (ROWS, 60, None)
    assert facts["sums"]["log_loss"][0] == 60, "what is known of it is kept"
    site.label(rows(39).head(100))
    judged = site.judge(40)
    assert [(one["start"][:10], one["labelled"]) for one in judged.quality] == [("2013-02-09", 100)]
    site.label(rows(39))
    assert [one["labelled"] for one in site.judge(40).quality] == [150]
    assert site.facts(39)["labelled"] == ROWS
    names = [one for one in site.project.store.list("delay/windows/2013-02-09") if "quality" in one]
    assert len(names) == 2, "the newest and the one before it"
    assert names[-1].endswith("quality-0003.json")
    held = site.project.store.list("")
    assert site.judge(40).quality == []
    assert site.project.store.list("") == held, "labels that were looked at stay known"
    # Late predictions whose outcomes came before them belong to a new revision of their window.
    more = rows(39, count=180).tail(30)
    assert site.label(more).unmatched > 0
    site.judge(40)
    site.log(more)
    site.judge(40)
    assert (site.facts(39)["rows"], site.facts(39)["of"]) == (180, 2)


def test_a_run_that_died_before_its_facts_were_written_says_the_same_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.log(*(rows(day) for day in range(66)))
    site.label(*(rows(day) for day in range(60)), *(flipped(rows(day)) for day in range(60, 64)))
    kind = type(site.project.store)
    real = kind.put_new
    left = 0

    def puts(store: Store, key: str, data: bytes, **more: Any) -> bool:
        nonlocal left
        if "/quality-" in key:
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return bool(real(store, key, data, **more))

    monkeypatch.setattr(kind, "put_new", puts)
    for dies_at in (1, 30, 20):
        left = dies_at
        with pytest.raises(KeyboardInterrupt):
            site.judge(66)
    site.judge(66)
    [incident] = site.incidents()
    assert (incident.windows, incident.rows, incident.state) == (4, 4 * ROWS, "open")
    assert [site.facts(day)["labelled"] for day in range(58, 66)] == [ROWS] * 6 + [0, 0]
    assert site.judge(66).quality == []


def test_what_was_measured_outlives_the_log(site: Site) -> None:
    site.log(*(rows(day) for day in range(20)))
    site.label(*(rows(day) for day in range(10)))
    site.judge(20)
    before = site.facts(5)
    for key in labels.files(site.project.store, "delay"):
        assert "dt=2014-01-10" in key
    assert expire_log(site.project.store, "delay", date(2014, 1, 2)) > 0
    site.label(flipped(rows(5)))
    site.judge(20)
    assert site.facts(5) == before, "a day whose rows are gone is not measured as if it had none"


def test_marked_days_are_neither_judged_nor_learnt(site: Site) -> None:
    site.log(*(rows(day) for day in range(66)))
    site.label(*(rows(day) for day in range(60)), flipped(rows(60)), flipped(rows(61)))
    site.judge(66)
    [incident] = site.incidents()
    span = {"since": incident.since, "until": incident.until, "where": ""}
    site.project.incidents("delay").add(incident.n, "mark_bad", at=moment(66), actor="ann", **span)
    site.project.incidents("delay").add(incident.n, "resolve", at=moment(66), actor="ann")
    site.judge(66, rebuild=True)
    assert site.facts(60)["judged"] is None
    assert [one.state for one in site.incidents()] == ["resolved"]


def test_weeks_are_judged_whole(site: Site) -> None:
    path = site.project.root / "middlewatch.toml"
    path.write_text(path.read_text(encoding="utf-8") + '\n[monitor]\nwindow = "week"\n', encoding="utf-8")
    weekly = Site(Project.open(site.project.root))
    weekly.log(*(rows(day, count=20) for day in range(34)))
    weekly.label(*(rows(day, count=20) for day in range(30)))
    judged = weekly.judge(34)
    ends = {one["end"][:10]: (one["rows"], one["labelled"]) for one in judged.quality}
    assert ends == {
        "2013-01-07": (120, 120),
        "2013-01-14": (140, 140),
        "2013-01-21": (140, 140),
        "2013-01-28": (140, 140),
    }


def test_training_days_are_the_past_of_the_first_served_ones(site: Site) -> None:
    columns = (*SCHEMA.columns, Column(name="at", kind="time", role="time"))
    schema = replace(SCHEMA, time="at", columns=columns)
    frames = [rows(day) for day in range(90)]
    frame = pl.concat(frames).with_columns(pl.col("mw.time").alias("at"), pl.col("mw.key").alias("flight"))
    typed = schema.typed(frame).frame
    scores = frame["mw.score"].to_numpy()
    history.backfill(site.project, "delay", schema, typed, scores, version="v1", now=moment(90))
    facts = site.facts(3)
    assert (facts["source"], facts["labelled"], facts["version"]) == ("training", ROWS, "v1")
    target = (frames[3]["late"] == "yes").to_numpy().astype(float)
    shown = frames[3]["mw.score"].to_numpy()
    assert facts["sums"] == measuring.facts("binary", frames[3], target, shown, 0.5, [])["sums"]
    site.log(*(rows(day).with_columns(pl.lit("v1").alias("mw.version")) for day in range(90, 93)))
    site.judge(93)
    told = site.status(93)
    # No outcome has come, and the scores are known to be true: an estimate at once.
    assert told["value"] is None
    last = rows(92)
    real = metrics.auc((last["late"] == "yes").to_numpy().astype(float), last["mw.score"].to_numpy())
    assert told["estimate"] == pytest.approx(real, abs=0.08)
    site.label(flipped(rows(90)), flipped(rows(91)))
    judged = site.judge(93)
    assert [one["history"] for one in judged.quality] == [90, 91]
    assert site.incidents()[0].since == "2013-04-01T00:00:00Z"


def test_classes_are_read_in_the_order_of_the_version_that_answered(tmp_path: Path) -> None:
    schema = Schema(
        name="delay",
        target="kind",
        task="multiclass",
        key="flight",
        classes=("high", "low", "mid"),
        columns=(
            Column(name="flight", kind="category", role="key"),
            Column(name="distance", kind="number"),
            Column(name="kind", kind="category", role="target"),
        ),
    )
    (tmp_path / "middlewatch.toml").write_text('[models.delay]\ntarget = "kind"\n', encoding="utf-8")
    (tmp_path / "delay.schema.toml").write_text(schema.to_toml(), encoding="utf-8")
    project = Project.open(tmp_path)
    from middlewatch import model

    plain = {"task": "multiclass", "kind": "lightgbm", "data": "d1", "threshold": 0.5}
    other = model.publish(
        project.store,
        "delay",
        files={"model.txt": b"none"},
        manifest={**plain, "classes": ["low", "mid", "high"]},
        now=moment(0),
        actor="ann",
    )
    assert other == "v1"
    own, theirs = [0.7, 0.2, 0.1], [0.2, 0.1, 0.7]  # the same answer in either order
    times = pl.Series([moment(0) + timedelta(minutes=one) for one in range(60)], dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(
        {
            "distance": [1.0] * 60,
            "mw.key": [f"k{one}" for one in range(60)],
            "mw.time": times,
            "mw.score": [0.7] * 60,
            "mw.label": ["high"] * 60,
            "mw.scores": [theirs if one % 2 else own for one in range(60)],
            "mw.version": ["v1" if one % 2 else "ext-1" for one in range(60)],
        }
    )
    predictions.write_batch(project.store, "delay", frame, now=moment(1))
    known = pl.DataFrame({"flight": [f"k{one}" for one in range(60)], "kind": ["high"] * 45 + ["low"] * 15})
    raw = tables.from_frame(known)
    outcomes.import_labels(project, "delay", raw, value="kind", key="flight", now=moment(2))
    monitor.judge(project, "delay", until=moment(1), now=moment(3))
    [summary] = project.windows("delay").summaries()
    facts = summary["quality"]
    assert facts["metrics"]["accuracy"]["value"] == pytest.approx(0.75)
    expected = -(45 * math.log(0.7) + 15 * math.log(0.2)) / 60
    assert facts["metrics"]["log_loss"]["value"] == pytest.approx(expected)
    assert json.dumps(facts), "plain JSON"

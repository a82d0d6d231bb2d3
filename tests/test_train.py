"""Training for each task, through the library, on small tables; what is refused; two models in one project."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import middlewatch as mw
from middlewatch import library, model
from middlewatch.errors import ConfigError, NothingToDo, Refused, UsageError

START = datetime(2026, 1, 1, tzinfo=UTC)


def measured(rows: int, *, seed: int = 0) -> pl.DataFrame:
    """Flowers by the hour: two lengths and a colour decide the kind, the weight, and whether it is rare."""
    random = np.random.default_rng(seed)
    length, width = random.normal(5, 1, rows), random.normal(3, 0.5, rows)
    colour = random.choice(["blue", "red"], rows)
    kinds = np.where(length > 5.5, "virginica", np.where(width > 3, "setosa", "versicolor"))
    return pl.DataFrame(
        {
            "seen": [START + timedelta(minutes=30 * row) for row in range(rows)],
            "length": np.round(length, 2),
            "width": np.round(width, 2),
            "colour": colour,
            "kind": kinds,
            "weight": np.round(length * width + (colour == "red"), 3),
            "rare": np.where((length > 6) & (colour == "red") | (random.random(rows) < 0.02), "yes", "no"),
        }
    )


def start(folder: Path, target: str, frame: pl.DataFrame, name: str | None = None) -> mw.Handle:
    others = [one for one in ("kind", "weight", "rare") if one != target]
    path = folder / f"{target}.parquet"
    frame.drop(others).write_parquet(path)
    library.init(str(path), target=target, time="seen", folder=folder, name=name)
    return mw.open(folder, model=name)


@pytest.mark.parametrize(
    ("target", "task", "metric"),
    [("rare", "binary", "auc"), ("kind", "multiclass", "log_loss"), ("weight", "regression", "rmse")],
)
def test_each_task_goes_the_whole_way(tmp_path: Path, target: str, task: str, metric: str) -> None:
    frame = measured(2_000)
    project = start(tmp_path, target, frame)
    trained = project.train()
    assert next(iter(trained.metrics)) == metric
    assert trained.ok, trained.gate
    project.promote("v1")
    scored = project.score(frame.drop(target), out=tmp_path / "out.parquet", log=True)
    assert scored.rows == scored.logged == 2_000
    version = model.load(project.project.store, project.model, "v1")
    assert version.task == task
    row = version.encoding.encode_row(frame.row(7, named=True))
    answer = model.predictor(project.project.store, version).row(row)
    if task == "multiclass":
        assert isinstance(answer, list)
        assert scored.frame["mw.label"][7] == version.classes[int(np.argmax(answer))]
        assert int((scored.frame["mw.label"] == frame["kind"]).sum()) > 1_800
    else:
        assert scored.frame["mw.score"][7] == answer
    logged = project.predictions()
    assert logged.height == 2_000
    assert logged.sort("mw.time")["mw.time"].to_list() == frame["seen"].to_list()


def test_a_model_of_numbers_alone_has_a_past_and_outcomes(tmp_path: Path) -> None:
    frame = measured(2_000).drop("colour").with_columns(order=pl.int_range(2_000))
    frame.drop("kind", "weight").write_parquet(tmp_path / "rare.parquet")
    library.init(str(tmp_path / "rare.parquet"), target="rare", time="seen", key="order", folder=tmp_path)
    project = mw.open(tmp_path)
    project.train()
    project.promote("v1", force="a test")
    days = project.project.windows("rare").summaries()
    assert len(days) > 30
    later = frame.with_columns(pl.col("seen") + pl.duration(days=42), pl.col("order") + 2_000).head(480)
    project.score(later.drop("kind", "weight", "rare"), log=True)
    project.import_labels(later.select("order", "rare"), value="rare", key="order")
    project.monitor(until=START + timedelta(days=60))
    assert project.status(now=START + timedelta(days=53)).quality["labelled_share"] == 1.0


def test_the_same_seed_and_data_give_the_same_trees(tmp_path: Path) -> None:
    project = start(tmp_path, "weight", measured(800))
    first, second, other = project.train(), project.train(), project.train(seed=7)
    assert (first.data, second.data) == ("d1", "d1")
    hashes = {one["version"]: one["trees_sha256"] for one in model.versions(project.project.store, project.model)}
    assert hashes[first.version] == hashes[second.version] != hashes[other.version]


def test_two_models_share_a_project_and_do_not_meet(tmp_path: Path) -> None:
    frame = measured(600)
    start(tmp_path, "weight", frame, "weight")
    start(tmp_path, "rare", frame, "rare")
    both = mw.open(tmp_path)
    with pytest.raises(UsageError, match="several models"):
        both.train()
    for name in ("weight", "rare"):
        handle = mw.open(tmp_path, model=name)
        handle.train()
        handle.promote("v1")
    assert mw.open(tmp_path, model="rare").versions()["live"] == "v1"
    assert len(mw.open(tmp_path, model="weight").versions()["models"]) == 1


def test_data_that_fail_their_tests_are_not_learnt_from(tmp_path: Path) -> None:
    frame = measured(600)
    project = start(tmp_path, "weight", frame)
    project.train()
    frame.drop("kind", "rare").with_columns(pl.col("length") * 1000).write_parquet(tmp_path / "weight.parquet")
    with pytest.raises(Refused, match="length is x1000") as refused:
        project.train()
    assert "kept as d2, against d1" in refused.value.where
    assert "length is outside" in refused.value.why
    forced = project.train(data="d2", force="known, and wanted")
    manifest = model.load(project.project.store, project.model, forced.version).manifest
    assert (manifest["data_ok"], manifest["forced"]) == (False, "known, and wanted")


def test_too_few_rows_are_said(tmp_path: Path) -> None:
    project = start(tmp_path, "weight", measured(600))
    measured(20).drop("kind", "rare").write_parquet(tmp_path / "weight.parquet")
    with pytest.raises(NothingToDo, match="too few"):
        project.train()
    assert project.versions()["models"] == []


def test_a_changed_model_file_is_not_served(tmp_path: Path) -> None:
    project = start(tmp_path, "weight", measured(600))
    project.train()
    store = project.project.store
    version = model.load(store, project.model, "v1")
    golden = json.loads(model.shelf(store, project.model).file("v1", "golden.json"))
    model.verify(version, model.predictor(store, version), golden)
    golden["scores"][3] += 1e-9
    with pytest.raises(Refused, match="golden row 3"):
        model.verify(version, model.predictor(store, version), golden)


def test_a_rollback_of_a_regression_is_planned_in_words(tmp_path: Path) -> None:
    from middlewatch.cli.live import _planned

    frame = measured(1_500)
    project = start(tmp_path, "weight", frame)
    project.train()
    project.promote("v1")
    project.train(seed=3)
    project.promote("v2", force="to have two")
    project.score(frame.drop("weight"), log=True)
    lines = _planned(project.rollback(dry_run=True))
    assert "mean score" in lines[1]
    assert "decisions" not in lines[1]


def test_a_gate_metric_of_another_task_is_said_before_any_work(tmp_path: Path) -> None:
    project = start(tmp_path, "weight", measured(600))
    path = tmp_path / "middlewatch.toml"
    text = path.read_text()
    path.write_text(text.replace("[models.weight]\n", '[models.weight]\ngate = { metric = "auc" }\n'))
    with pytest.raises(ConfigError, match="no metric of a regression"):
        mw.open(tmp_path).train()
    assert project.versions()["data"] == []


def test_a_class_that_is_new_does_not_mix_up_the_old_ones(tmp_path: Path) -> None:
    frame = measured(2_000)
    project = start(tmp_path, "kind", frame)
    project.train()
    project.promote("v1")
    path = tmp_path / "kind.schema.toml"
    path.write_text(path.read_text().replace('classes = ["setosa"', 'classes = ["alba", "setosa"'))
    renewed = mw.open(tmp_path).train()
    compared = next(one for one in renewed.gate if one["check"] == "not_worse")
    assert compared["ok"], compared
    assert compared["champion"] < 0.5, "the champion is measured on its own classes"


def test_without_a_time_no_rows_are_called_unseen(tmp_path: Path) -> None:
    measured(900).drop("seen", "kind", "rare").write_parquet(tmp_path / "weight.parquet")
    library.init(str(tmp_path / "weight.parquet"), target="weight", folder=tmp_path, name="weight")
    project = mw.open(tmp_path)
    project.train()
    project.train(seed=5)
    project.promote("v1")
    with pytest.raises(Refused, match="the gate refuses v2"):
        project.promote("v2")


def test_a_time_column_that_is_none_is_refused_when_rows_are_logged(tmp_path: Path) -> None:
    frame = measured(600)
    project = start(tmp_path, "weight", frame)
    project.train()
    project.promote("v1")
    with pytest.raises(UsageError, match="no time column"):
        project.score(frame.drop("weight"), log=True, time="colour")


def test_a_channel_that_is_none_is_refused(tmp_path: Path) -> None:
    project = start(tmp_path, "weight", measured(600))
    project.train()
    with pytest.raises(UsageError, match="staging"):
        project.promote("v1", channel="stagin")
    assert project.versions()["journal"] == []


def test_naive_times_are_in_the_projects_zone(tmp_path: Path) -> None:
    project = start(tmp_path, "weight", measured(600))
    path = tmp_path / "middlewatch.toml"
    path.write_text(path.read_text().replace('# zone = "UTC"', 'zone = "Asia/Tokyo"'))
    tokyo = mw.open(tmp_path)
    assert str(tokyo.project.zone) == "Asia/Tokyo"
    assert tokyo.moment(datetime(2026, 1, 1, 9)) == datetime(2026, 1, 1, tzinfo=UTC)
    assert project.moment(datetime(2026, 1, 1, 9)) == datetime(2026, 1, 1, 9, tzinfo=UTC)

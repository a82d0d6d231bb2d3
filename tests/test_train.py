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
from middlewatch.errors import NothingToDo, Refused, UsageError

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
    with pytest.raises(Refused, match="d2 fails") as refused:
        project.train()
    assert "length" in refused.value.why
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

"""Replay: the same rows on the same version give the same answers, and a rollback is weighed before it is done."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest

from middlewatch import model, predictions, replay
from middlewatch.encoding import Encoding
from middlewatch.errors import NotFound
from middlewatch.predictors import load
from middlewatch.profiles import spec_of
from middlewatch.project import Project
from middlewatch.schema import Column, Schema
from middlewatch.windows import cut

FIRST = datetime(2026, 5, 1, tzinfo=UTC)
ROWS = 80
SCHEMA = Schema(
    name="price",
    task="regression",
    columns=(
        Column(name="size", kind="number", centre=100.0, nulls=0.1),
        Column(name="place", kind="category", categories=("town", "village")),
    ),
)


def rows(day: int) -> pl.DataFrame:
    random = np.random.default_rng([5, day])
    seconds = np.sort(random.integers(0, 86400, ROWS))
    return pl.DataFrame(
        {
            "size": np.round(random.normal(100, 20, ROWS), 1),
            "place": random.choice(["town", "village"], ROWS),
            "mw.time": [FIRST + timedelta(days=day, seconds=int(one)) for one in seconds],
        },
        schema_overrides={"mw.time": pl.Datetime("us", "UTC")},
    )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "middlewatch.toml").write_text(
        '[models.price]\nsource = "x.parquet"\ntarget = "price"\ntask = "regression"\n', encoding="utf-8"
    )
    (tmp_path / "price.schema.toml").write_text(SCHEMA.to_toml(), encoding="utf-8")
    return Project.open(tmp_path)


def publish(project: Project, shift: float) -> str:
    """A version that answers size / 10 + `shift`."""
    frame = pl.concat([rows(day) for day in range(10)])
    encoding = Encoding.of(SCHEMA, frame)
    data = lightgbm.Dataset(encoding.encode(frame), frame["size"].to_numpy() / 10 + shift)
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    text = lightgbm.train(settings, data, num_boost_round=30).model_to_string()
    loaded = load("lightgbm", text.encode(), features=2, outputs=1)
    golden = [list(one) for one in frame.select("size", "place").head(3).iter_rows()]
    scores = [loaded.row(encoding.encode_row(one)) for one in golden]
    version = model.publish(
        project.store,
        "price",
        files={
            "model.txt": text.encode(),
            "schema.toml": SCHEMA.to_toml().encode(),
            "encoding.json": json.dumps(encoding.to_dict()).encode(),
            "golden.json": json.dumps({"rows": golden, "scores": scores}).encode(),
        },
        manifest={"task": "regression", "kind": "lightgbm", "data": "d1", "threshold": 0.5, "classes": []},
        now=FIRST,
        actor="ann",
    )
    journal = project.journal("price")
    head = journal.head()
    expect = head.n if head is not None else 0
    journal.append(action="promote", version=version, actor="ann", host="h", at=FIRST, expect=expect)
    return version


def serve(project: Project, version: str, days: range) -> None:
    """Log the days as answered by a version, and make their windows."""
    replayer = replay.load(project, "price", version)
    for day in days:
        frame = rows(day)
        frame = frame.with_columns(pl.Series("mw.score", replayer.shown(frame)), pl.lit(version).alias("mw.version"))
        predictions.write_batch(project.store, "price", frame, now=FIRST + timedelta(days=day, hours=23))
    kept = predictions.read(project.store, None, "price", since=None, until=None)
    spec = spec_of(SCHEMA, roles=("feature",), score=True)
    for when, made in cut(kept, spec, zone=UTC).items():
        project.windows("price").put(when, hours=made.hours, sample=made.sample, source="log", now=FIRST)


def test_logged_rows_are_answered_the_same_again(project: Project) -> None:
    version = publish(project, 0.0)
    serve(project, version, range(2))
    kept = replay.latest(project, "price", 100)
    assert kept.height == 100
    assert kept["mw.received"].is_sorted()
    again = replay.load(project, "price", version).shown(kept)
    assert np.array_equal(again, kept["mw.score"].to_numpy()), "to the bit"


@pytest.mark.parametrize("count", [1, 250, 10_000])
def test_the_newest_rows_are_read_from_as_many_days_as_they_need(project: Project, count: int) -> None:
    serve(project, publish(project, 0.0), range(5))
    every = predictions.read(project.store, None, "price", by="received").sort("mw.received", "mw.id")
    assert replay.latest(project, "price", count)["mw.id"].to_list() == every.tail(count)["mw.id"].to_list()


def test_an_input_that_is_not_there_is_missing_in_every_row(project: Project) -> None:
    replayer = replay.load(project, "price", publish(project, 0.0))
    absent = replayer.scores(rows(0).drop("place"))
    null = replayer.scores(rows(0).with_columns(pl.lit(None, dtype=pl.String).alias("place")))
    assert np.array_equal(absent, null)
    with pytest.raises(NotFound):
        replay.load(project, "price", "v9")


def test_with_nothing_logged_nothing_is_said(project: Project) -> None:
    version = publish(project, 0.0)
    assert replay.would_help(project, "price", version) == {
        "rows": 0,
        "helps": None,
        "verdict": "nothing is logged that could be replayed",
    }


def test_rolling_back_helps_where_the_model_is_at_fault(project: Project) -> None:
    good = publish(project, 0.0)
    serve(project, good, range(20))
    quiet = replay.would_help(project, "price", good, rows=ROWS)
    assert quiet["helps"] is None
    assert "nothing to cure" in quiet["verdict"]
    bad = publish(project, 5.0)
    serve(project, bad, range(20, 21))
    found = replay.would_help(project, "price", good, rows=ROWS)
    assert found["helps"] is True
    assert found["score_now"] - found["score_then"] == pytest.approx(5, abs=0.2)
    assert found["decisions_changed"] is None, "a value is no decision"
    assert "would help" in found["verdict"]


def test_rolling_back_does_not_help_where_the_inputs_are(project: Project) -> None:
    old, live = publish(project, 0.0), publish(project, 0.01)
    serve(project, live, range(20))
    replayer = replay.load(project, "price", live)
    frame = rows(20).with_columns(pl.col("size") * 2)
    frame = frame.with_columns(pl.Series("mw.score", replayer.shown(frame)), pl.lit(live).alias("mw.version"))
    predictions.write_batch(project.store, "price", frame, now=FIRST + timedelta(days=20, hours=23))
    found = replay.would_help(project, "price", old, rows=ROWS)
    assert found["helps"] is False
    assert "would not help" in found["verdict"]

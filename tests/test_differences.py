"""What differs between two tables, in words: what was planted is found and ranked, what is the same is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import middlewatch as mw
from middlewatch import checks, library, tables
from middlewatch.differences import Difference, between, of_schemas
from middlewatch.errors import NotFound, UsageError
from middlewatch.profiles import Profile
from middlewatch.schema import Column, Schema

ROWS = 4_000
ROW = pl.int_range(pl.len())
START = datetime(2026, 1, 1, tzinfo=UTC)


def table(seed: int = 0) -> pl.DataFrame:
    chance = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "at": [START + timedelta(minutes=row) for row in range(ROWS)],
            "temp": np.round(chance.normal(20, 5, ROWS), 1),
            "seats": chance.integers(20, 200, ROWS),
            "place": [["VIE", "GRZ", "LNZ", "SZG"][one] for one in chance.integers(0, 4, ROWS)],
            "late": chance.random(ROWS) < 0.2,
        }
    )


KINDS: dict[str, Any] = {"at": "time", "temp": "number", "seats": "whole", "place": "category", "late": "boolean"}


def profiled(frame: pl.DataFrame, **more: Any) -> Profile:
    kinds = {**KINDS, **more}
    columns = tuple(Column(name=name, kind=kinds[name], role="ignored") for name in frame.columns)
    return checks.check(tables.from_frame(frame), Schema(name="m", columns=columns)).profile


def said(then: pl.DataFrame, now: pl.DataFrame, **more: Any) -> list[tuple[str, str | None]]:
    return [(one.what, one.column) for one in between(profiled(then), profiled(now, **more))]


def test_the_same_rows_differ_in_nothing_and_another_draw_in_little() -> None:
    assert between(profiled(table()), profiled(table())) == ()
    assert between(profiled(table()), profiled(table().sample(fraction=1.0, shuffle=True, seed=2))) == ()
    # Other rows of the same kind: at most what lies at the ends of ranges.
    assert {what for what, _ in said(table(0), table(1))} <= {"range"}


PLANTED: dict[str, tuple[pl.Expr, tuple[str, str], str]] = {
    "unit": (pl.col("temp") * 1.8 + 32, ("range", "temp"), "temp reaches from"),
    "nulls": (
        pl.when(ROW % 10 > 0).then("temp").alias("temp"),
        ("missing", "temp"),
        "missing in 10 % of rows, was in none",
    ),
    "new": (pl.when(ROW % 4 == 0).then(pl.lit("XXX")).otherwise("place").alias("place"), ("new", "place"), '"XXX"'),
    "gone": (pl.col("place").replace("VIE", "GRZ"), ("gone", "place"), 'lacks "VIE"'),
    "case": (pl.col("place").str.to_lowercase(), ("new", "place"), "differ from known ones in case or spaces only"),
    "shift": ((pl.col("seats") // 2 + 10).alias("seats"), ("shift", "seats"), "the median went from"),
}


@pytest.mark.parametrize("name", list(PLANTED))
def test_what_was_planted_comes_first(name: str) -> None:
    change, first, words = PLANTED[name]
    found = between(profiled(table()), profiled(table().with_columns(change)))
    assert (found[0].what, found[0].column) == first
    assert words in found[0].words
    assert 0 < found[0].size <= 1
    assert {one.column for one in found} == {first[1]}


def test_columns_that_come_go_and_change_their_name_or_kind() -> None:
    then = table()
    assert said(then, then.drop("temp")) == [("removed", "temp")]
    assert said(then.drop("temp"), then) == [("added", "temp")]
    # By what is in it, not by how it is written.
    assert said(then, then.rename({"temp": "celsius"}), celsius="number") == [("renamed", "celsius")]
    swapped = then.drop("temp").with_columns(other=pl.col("seats") * 3.0)
    assert said(then, swapped, other="number") == [("added", "other"), ("removed", "temp")]
    assert ("kind", "seats") in said(then, then.with_columns(pl.col("seats").cast(pl.String)), seats="category")


def test_growth_is_said_last_and_a_lost_half_first() -> None:
    then = table()
    more = pl.concat([then, table(3).with_columns(pl.col("at") + timedelta(days=9))])
    assert said(then, more)[-1] == ("range", "at")
    assert ("rows", None) in said(then, more)
    assert said(then, then.head(1_000))[0] == ("rows", None)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.none() | st.floats(allow_nan=True), max_size=30),
    st.lists(st.none() | st.floats(allow_nan=True), max_size=30),
)
def test_any_two_tables_have_an_answer_that_is_a_share(one: list[float | None], other: list[float | None]) -> None:
    then, now = (profiled(pl.DataFrame({"temp": pl.Series(part, dtype=pl.Float64)})) for part in (one, other))
    assert between(then, then) == ()
    for found in (*between(then, now), *between(now, then)):
        assert 0 <= found.size <= 1
        assert found.words
        assert found.to_dict()["what"] == found.what


def test_schemas_differ_key_by_key() -> None:
    then = Schema(name="m", columns=(Column(name="a", kind="number", max=10.0), Column(name="b", kind="boolean")))
    now = Schema(name="m", columns=(Column(name="a", kind="number", max=20.0), Column(name="c", kind="boolean")))
    assert [one.words for one in of_schemas(then, now)] == [
        "the schema has c, had not",
        "the schema had b, has not",
        "schema of a: max 10 -> 20",
    ]
    assert of_schemas(then, then) == []


def test_versions_of_a_project_are_compared(tmp_path: Path) -> None:
    first = table()
    second = first.with_columns(pl.when(ROW % 3 == 0).then(None).otherwise("temp").alias("temp"))
    first.write_parquet(tmp_path / "t.parquet")
    library.init(str(tmp_path / "t.parquet"), target="late", time="at", folder=tmp_path)
    project = mw.open(tmp_path)
    assert project.train().version == "v1"
    second.write_parquet(tmp_path / "t.parquet")
    # Data that fails its tests is kept aside, and nothing is trained on it without a reason.
    with pytest.raises(Exception, match=r"nothing was trained: temp is null .* \(1,334 of 4,000 rows\)"):
        project.train()
    assert [(one["version"], one["ok"]) for one in project.versions()["data"]] == [("d1", True), ("d2", False)]
    assert project.train(force="a sensor is gone, agreed with Ada").version == "v2"
    assert project.versions()["models"][-1]["forced"] == "a sensor is gone, agreed with Ada"
    data = project.differences("d1", "d2")
    assert (data[0].what, data[0].column) == ("missing", "temp")
    models = project.differences("v1", "v2")
    assert {one.what for one in models} >= {"model", "missing"}
    assert any("forced none -> a sensor is gone" in one.words for one in models)
    assert project.differences("d1", "d1") == ()
    with pytest.raises(UsageError, match="not of a kind"):
        project.differences("d1", "v2")
    with pytest.raises(NotFound):
        project.differences("d1", "d7")


def test_a_difference_is_plain_json() -> None:
    one = Difference(what="new", column="a", words="a is new", size=0.25, evidence={"values": ["x"]})
    assert one.to_dict() == {"what": "new", "column": "a", "words": "a is new", "size": 0.25, "values": ["x"]}

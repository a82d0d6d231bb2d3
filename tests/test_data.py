from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch import data, tables
from middlewatch.errors import NothingToDo, UsageError
from middlewatch.marks import Mark
from middlewatch.schema import Column, Schema
from middlewatch.store import Store

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SCHEMA = Schema(
    name="m",
    target="y",
    task="regression",
    time="at",
    key="id",
    columns=(
        Column(name="id", kind="text", role="key"),
        Column(name="at", kind="time", role="time"),
        Column(name="x", kind="number", nulls=1.0),
        Column(name="c", kind="category", nulls=1.0),
        Column(name="y", kind="number", role="target", min=0, max=100),
    ),
)


def table(rows: int = 20) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": [f"r{row}" for row in range(rows)],
            "at": [NOW + timedelta(minutes=row) for row in range(rows)],
            "x": [None if row % 5 == 0 else row / 7 for row in range(rows)],
            "c": [None if row % 7 == 0 else "ab"[row % 2] for row in range(rows)],
            "y": [float(row) for row in range(rows)],
        }
    )


def keep(folder: Path, raw: tables.Raw, leave_out: list[Mark] | None = None) -> data.DataVersion:
    store = Store.open("store", base=folder)
    return data.snapshot(store, "m", raw, SCHEMA, zone=UTC, now=NOW, actor="me", leave_out=leave_out or [])


def test_the_same_rows_are_the_same_version_whatever_the_file(tmp_path: Path) -> None:
    frame = table()
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_parquet(tmp_path / "b.parquet", row_group_size=3, compression="snappy")
    frame.write_csv(tmp_path / "c.csv")
    first = keep(tmp_path, tables.scan("a.parquet", base=tmp_path))
    assert (first.version, first.new, first.rows, first.ok) == ("d1", True, 20, True)
    for name in ("b.parquet", "c.csv"):
        again = keep(tmp_path, tables.scan(name, base=tmp_path))
        assert (again.version, again.new) == ("d1", False), name


def test_rows_come_back_in_time_order_and_typed(tmp_path: Path) -> None:
    keep(tmp_path, tables.from_frame(table().reverse()))
    frame = data.frame(Store.open("store", base=tmp_path), "m", "d1")
    assert frame.equals(table())


@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, 19), column=st.sampled_from(["x", "c", "y", "id"]))
def test_any_changed_cell_is_another_version(tmp_path_factory: pytest.TempPathFactory, row: int, column: str) -> None:
    folder = tmp_path_factory.mktemp("cells")
    first = keep(folder, tables.from_frame(table()))
    other: object = "zz" if column in ("c", "id") else 50.5
    changed = table().with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(other)).otherwise(pl.col(column)).alias(column)
    )
    second = keep(folder, tables.from_frame(changed))
    assert second.version == "d2"
    assert second.sha256 != first.sha256
    assert second.manifest["parent"] == "d1"


def test_null_and_empty_text_differ(tmp_path: Path) -> None:
    frame = table()
    blank = frame.with_columns(pl.col("c").fill_null("."))
    assert keep(tmp_path, tables.from_frame(frame)).sha256 != keep(tmp_path, tables.from_frame(blank)).sha256


def test_a_table_that_fails_its_tests_is_kept_as_failed(tmp_path: Path) -> None:
    wrong = table().with_columns(pl.col("y") * 1000)
    kept = keep(tmp_path, tables.from_frame(wrong))
    assert not kept.ok
    failed = kept.manifest["findings"][0]
    assert (failed["column"], failed["check"]) == ("y", "range")
    assert data.frame(Store.open("store", base=tmp_path), "m", kept.version).height == 20


def test_marked_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    span = Mark(NOW + timedelta(minutes=5), NOW + timedelta(minutes=15), "c = 'a'")
    kept = keep(tmp_path, tables.from_frame(table()), [span])
    expected = table().filter(
        pl.col("at").is_between(span.since, span.until, closed="left") & (pl.col("c") == "a").fill_null(value=False)
    )
    assert expected.height > 0
    assert kept.rows == 20 - expected.height
    assert kept.manifest["left_out"][0]["rows"] == expected.height


@pytest.mark.parametrize("where", ["\"mw.caller\" = 'mobile'", "c = 'a' AND (", "y + 1", "c > 5"])
def test_a_mark_that_the_table_cannot_answer_is_refused_when_made_and_named_in_training(
    tmp_path: Path, where: str
) -> None:
    with pytest.raises(UsageError):
        data.check_slice(SCHEMA, where)
    span = Mark(NOW - timedelta(days=1), NOW + timedelta(days=1), where)
    with pytest.raises(UsageError, match="marked bad") as caught:
        keep(tmp_path, tables.from_frame(table()), [span])
    assert "unmark-bad" in str(caught.value.fix)
    data.check_slice(SCHEMA, "c = 'a' AND y > 3")


def test_nothing_left_is_said(tmp_path: Path) -> None:
    everything = Mark(NOW - timedelta(days=1), NOW + timedelta(days=1))
    with pytest.raises(NothingToDo):
        keep(tmp_path, tables.from_frame(table()), [everything])
    assert data.shelf(Store.open("store", base=tmp_path), "m").names() == []

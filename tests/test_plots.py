"""Pictures of a table: drawn from its numbers, small, safe from what is in it, readable on a phone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import middlewatch as mw
from middlewatch import checks, pictures, plots, tables
from middlewatch.profiles import ColumnSpec, ProfileSpec, profile
from middlewatch.profiles.drawing import drawn
from middlewatch.schema import Column, Schema

START = datetime(2026, 1, 1, tzinfo=UTC)


def wide(columns: int, rows: int) -> tuple[pl.DataFrame, Schema]:
    """Numbers, whole numbers and categories, with nulls, a time and a binary target."""
    chance = np.random.default_rng(0)
    data: dict[str, Any] = {
        "at": [START + timedelta(minutes=row) for row in range(rows)],
        "late": chance.integers(0, 2, rows),
    }
    kinds: list[Column] = [
        Column(name="at", kind="time", role="time"),
        Column(name="late", kind="whole", role="target", min=0, max=1),
    ]
    for at in range(columns):
        name = f"column_{at:03d}"
        if at % 3 == 2:
            data[name] = [f"value {one}" for one in chance.integers(0, 40, rows)]
            kinds.append(Column(name=name, kind="category"))
        else:
            data[name] = np.round(chance.lognormal(0, 1, rows) * 50, 2) if at % 3 else chance.integers(0, 500, rows)
            kinds.append(Column(name=name, kind="number" if at % 3 else "whole"))
    frame = pl.DataFrame(data).with_columns(pl.when(pl.int_range(rows) % 11 > 0).then("column_001").alias("column_001"))
    schema = Schema(name="m", target="late", task="binary", time="at", classes=("0", "1"), columns=tuple(kinds))
    return frame, schema


def facts(frame: pl.DataFrame, schema: Schema, reference: pl.DataFrame | None = None) -> dict[str, Any]:
    then = None if reference is None else checks.check(tables.from_frame(reference), schema).profile
    raw = tables.from_frame(frame)
    return checks.check(raw, schema, sample=pictures.SAMPLE, reference=then).facts()


class Tags(HTMLParser):
    """Every tag and every attribute of a page; complains of what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_hundred_columns_are_under_300_kb_with_every_picture() -> None:
    frame, schema = wide(100, 5_000)
    page = plots.page(facts(frame, schema, frame.head(2_000)), title="wide")
    assert len(page.encode()) < 300_000
    tags = Tags(page)
    assert "script" not in tags.tags
    assert not {name for name in tags.names if name.startswith("on") or name in ("src", "style")}
    # Three pictures of each column: its values, over time, by the target.
    assert page.count('role="img"') >= 300
    for name in frame.columns:
        assert f">{name}" in page


def test_what_is_drawn_is_what_was_measured() -> None:
    frame, schema = wide(3, 4_000)
    frame = frame.with_columns(
        (pl.int_range(4_000) // 400).alias("column_000"),
        pl.when(pl.col("at") < START + timedelta(minutes=2_000)).then("column_001").alias("column_001"),
    )
    by_name = {one["name"]: one for one in facts(frame, schema)["columns"]}
    first = by_name["column_000"]
    assert sum(first["now"]) + first["outside"]["now"] == pytest.approx(1.0, abs=0.01)
    assert [first["time"]["middle"][at] for at in (0, 20, -1)] == [0, 5, 9]
    # All rows are in the sample, so the shares are exact.
    rows = frame.sort("column_000").head(400)
    assert first["target"]["mean"][0] == pytest.approx(rows["late"].mean(), abs=1e-3)
    assert sum(first["target"]["rows"]) == 4_000
    second = by_name["column_001"]["time"]["missing"]
    assert second[:19] == pytest.approx([1 / 11] * 19, abs=0.03) or max(second[:19]) < 0.2
    assert second[21:] == [1.0] * 19
    assert by_name["column_001"]["time"]["middle"][-1] is None


def test_a_sample_of_a_long_table_is_said() -> None:
    frame, schema = wide(3, 30_000)
    found = facts(frame, schema)
    assert found["sampled"] == pictures.SAMPLE
    assert f"a sample of {pictures.SAMPLE:,} rows" in plots.page(found, title="long")
    small, _ = wide(3, 500)
    assert "from all rows" in plots.page(facts(small, schema), title="short")


def test_what_goes_together_is_ranked() -> None:
    frame, schema = wide(6, 3_000)
    frame = frame.with_columns((pl.col("column_001").fill_null(0) * 2).alias("column_004"))
    pairs = facts(frame, schema)["associations"]
    assert {pairs[0]["a"], pairs[0]["b"]} == {"column_001", "column_004"}
    assert pairs == sorted(pairs, key=lambda one: -one["strength"])


def test_private_columns_show_no_value() -> None:
    frame, schema = wide(3, 300)
    frame = frame.with_columns(pl.lit("secret@example.com").alias("column_002"))
    columns = [
        Column(name=one.name, kind=one.kind, role=one.role, private="hash") if one.name == "column_002" else one
        for one in schema.columns
    ]
    hidden = Schema(name="m", target="late", task="binary", time="at", classes=("0", "1"), columns=tuple(columns))
    page = plots.page(facts(frame, hidden), title="private")
    assert "secret" not in page
    assert "column_002" in page


HOSTILE = "<script>alert(1)</script>\"'&"


def test_nothing_in_the_table_is_trusted() -> None:
    frame = pl.DataFrame({HOSTILE: [HOSTILE, "b"] * 20, "x": [1.0, float("inf")] * 20})
    report = mw.check(frame)
    page = plots.page(report.facts(), title=HOSTILE)
    assert "script" not in Tags(page).tags
    assert "&lt;script&gt;" in page


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.none() | st.floats(), max_size=40),
    st.lists(st.none() | st.text(max_size=5), max_size=40),
    st.booleans(),
)
def test_any_table_gives_a_page(numbers: list[float | None], texts: list[str | None], compared: bool) -> None:
    rows = max(len(numbers), len(texts))
    frame = pl.DataFrame(
        {
            "x": pl.Series([*numbers, *[None] * (rows - len(numbers))], dtype=pl.Float64),
            "c": pl.Series([*texts, *[None] * (rows - len(texts))], dtype=pl.String),
            "t": pl.Series([START + timedelta(hours=row) for row in range(rows)], dtype=pl.Datetime("us", "UTC")),
        }
    )
    columns = (
        Column(name="x", kind="number", nulls=1.0),
        Column(name="c", kind="category", nulls=1.0),
        Column(name="t", kind="time", role="time"),
    )
    schema = Schema(name="m", time="t", columns=columns)
    page = plots.page(facts(frame, schema, frame.head(rows // 2) if compared else None), title="any")
    Tags(page)
    assert not re.search(r'"[^"<>]*\bnan\b[^"<>]*"', page)  # no coordinate is one


def test_reports_and_profiles_show_themselves(tmp_path: Path) -> None:
    frame, schema = wide(30, 2_000)
    report = mw.check(frame, schema)
    assert repr(report) == "<ok: 2,000 rows, 0 data tests failed, 0 warned>" or repr(report).startswith("<FAIL")
    assert repr(report.profile) == "<Profile of 2,000 rows and 32 columns>"
    for html in (report._repr_html_(), mw.profile(frame)._repr_html_()):
        assert len(html.encode()) < 300_000
        Tags(html)
        # A notebook's own page stays as it is.
        assert not re.search(r"(^|[},])\s*(body|html|:root)", html.partition("</style>")[0])
    report.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_both_times_share_their_bins() -> None:
    spec = ProfileSpec((ColumnSpec("x", "number"),))
    now, then = (profile(pl.DataFrame({"x": np.linspace(low, low + 10, 500)}), spec).columns["x"] for low in (0.0, 5.0))
    picture = drawn(now, then)
    assert len(picture["edges"]) == len(picture["now"]) + 1 == len(picture["then"]) + 1
    assert picture["edges"][0] < 1
    assert picture["edges"][-1] > 14
    assert picture["then"][0] == 0

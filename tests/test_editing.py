"""Accepting a change: the schema file says what is right now, and keeps what people wrote in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch import accepting, checks, tables
from middlewatch.errors import ConfigError, UsageError
from middlewatch.inspection import Inspection
from middlewatch.schema import Schema
from middlewatch.schema.editing import Edit, edited

TEXT = """\
# the contract of our shop
[model]
name = "m"     # a short name
task = "regression"

# ask Ada before you touch this
[columns.price]
kind = "number"
min = 0.0      # nobody pays us to buy
max = 100.0
guessed = ["max", "nulls"]

[columns.shop]   # where it was sold
kind = "category"
categories = [
    "north",   # the old one
    "south",
]
guessed = ["categories"]

[columns.id]
kind = "text"
role = "ignored"

[columns.seats]
kind = "whole"
min = 0
max = 10
"""
ROWS = 200
CLEAN = pl.DataFrame(
    {
        "price": [float(row % 90) for row in range(ROWS)],
        "shop": [["north", "south"][row % 2] for row in range(ROWS)],
        "id": [str(row) for row in range(ROWS)],
        "seats": [row % 9 for row in range(ROWS)],
    }
)
ROW = pl.int_range(pl.len())
COMMENTS = ("# the contract of our shop", "# a short name", "# ask Ada before you touch this", "# where it was sold")


def accepted(frame: pl.DataFrame, *wanted: str, text: str = TEXT) -> tuple[str, list[str]]:
    """The text after accepting what `check` found in the frame, and the edits in words."""
    schema = Schema.parse(text, where="m.schema.toml")
    raw = tables.from_frame(frame)
    report = checks.check(raw, schema)
    edits = accepting.edits_for(wanted, report, schema, raw, zone="UTC")
    return edited(text, edits, where="m.schema.toml"), [one.words for one in edits]


def ok(frame: pl.DataFrame, text: str) -> bool:
    return checks.check(tables.from_frame(frame), Schema.parse(text, where="m.schema.toml")).ok


FAULTS: dict[str, tuple[pl.Expr | list[pl.Expr], str]] = {
    "range": (pl.when(ROW == 3).then(900.0).otherwise("price").alias("price"), "range:price"),
    "below": (pl.when(ROW == 3).then(-5.0).otherwise("price").alias("price"), "range:price"),
    "nulls": (pl.when(ROW % 10 > 0).then("price").alias("price"), "nulls:price"),
    "category": (pl.when(ROW < 20).then(pl.lit("west")).otherwise("shop").alias("shop"), "categories:shop"),
    "type": (pl.when(ROW >= 0).then(pl.format("{} EUR", "price")).alias("price"), "type:price"),
    "whole": (pl.when(ROW == 4).then(70).otherwise("seats").cast(pl.Int64).alias("seats"), "range:seats"),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_what_is_accepted_passes_and_comments_stay(name: str) -> None:
    change, finding = FAULTS[name]
    frame = CLEAN.with_columns(change)
    assert not ok(frame, TEXT)
    text, words = accepted(frame, finding)
    assert words
    assert ok(frame, text)
    assert ok(CLEAN, text) or name == "type"
    for comment in COMMENTS:
        assert comment in text


def test_an_accepted_limit_is_no_guess_any_more() -> None:
    text, _ = accepted(CLEAN.with_columns(FAULTS["range"][0]), "range:price")
    assert Schema.parse(text, where="m").column("price").guessed == {"nulls"}
    assert "# the old one" in accepted(CLEAN.with_columns(FAULTS["category"][0]), "shop")[0]


def test_columns_come_go_and_are_renamed() -> None:
    more = CLEAN.with_columns(colour=pl.Series(["red", "blue"] * (ROWS // 2)))
    text, words = accepted(more, "extra:colour")
    assert words == ['[columns.colour] added, role = "ignored"']
    assert Schema.parse(text, where="m").column("colour").kind == "category"
    text, words = accepted(CLEAN.drop("shop"), "missing:shop")
    assert words == ["[columns.shop] taken out"]
    assert "shop" not in Schema.parse(text, where="m").names
    text, words = accepted(CLEAN.rename({"price": "prices"}), "renamed:price")
    assert words == ["[columns.price] is [columns.prices] now"]
    assert ok(CLEAN.rename({"price": "prices"}), text)
    assert "# nobody pays us to buy" in text


def test_a_guess_is_confirmed_as_it_is() -> None:
    text, words = accepted(CLEAN, "confirm:price")
    assert words == ["[columns.price] max confirmed", "[columns.price] nulls confirmed"]
    assert 'guessed = ["max"' not in text
    assert Schema.parse(text, where="m").column("price").max == 100.0
    everything, _ = accepted(CLEAN, "confirm:all")
    assert not any(one.guessed for one in Schema.parse(everything, where="m").columns)


def test_what_nobody_found_cannot_be_accepted() -> None:
    with pytest.raises(UsageError, match='no data test found "range:prise"') as error:
        accepted(CLEAN.with_columns(FAULTS["range"][0]), "range:prise")
    assert "range:price" in str(error.value)
    with pytest.raises(UsageError, match="nothing to accept"):
        accepted(CLEAN, "all")
    with pytest.raises(UsageError, match="accepted by hand only"):
        accepted(
            CLEAN.with_columns(pl.when(ROW == 1).then(float("nan")).otherwise("price").alias("price")), "finite:price"
        )
    with pytest.raises(ConfigError, match="is not valid TOML"):
        edited("[", [Edit("a", "remove")], where="m.schema.toml")


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.schema.toml"
    path.write_text(TEXT)
    raw = tables.from_frame(CLEAN.with_columns(FAULTS["range"][0]))
    inspection = Inspection(raw=raw, schema=Schema.parse(TEXT, where=path.name), schema_path=path)
    (edit,) = inspection.accept(["range:price"], inspection.report())
    assert edit.key == "max"
    assert path.read_text() != TEXT
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


CELLS: dict[str, Any] = {
    "price": st.none() | st.floats(-1e9, 1e9),
    "shop": st.none() | st.sampled_from(["north", "south", "west", "East ", "x" * 30]),
    "seats": st.none() | st.integers(-(10**9), 10**9),
}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=60))
def test_after_accepting_everything_any_table_passes(rows: list[dict[str, Any]]) -> None:
    dtypes = {"price": pl.Float64, "shop": pl.String, "seats": pl.Int64}
    frame = pl.DataFrame(rows, schema=dtypes).with_columns(id=ROW.cast(pl.String))
    if ok(frame, TEXT):
        return
    text, _ = accepted(frame, "all")
    assert ok(frame, text)
    assert all(comment in text for comment in COMMENTS)


def test_each_comment_stays_with_the_block_it_stands_above() -> None:
    text = TEXT.replace("[columns.shop]", "# doubt: is it personal?\n[columns.shop]")
    gone = edited(text, [Edit("price", "remove")], where="m")
    assert "# ask Ada" not in gone
    assert "# doubt: is it personal?\n[columns.shop]   # where it was sold" in gone
    renamed = edited(text, [Edit("price", "rename", value="prices")], where="m")
    assert renamed == text.replace("[columns.price]", "[columns.prices]")
    last = edited(text, [Edit("seats", "remove")], where="m")
    assert Schema.parse(last, where="m").names == ("price", "shop", "id")

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch.errors import ConfigError, NotFound
from middlewatch.schema import Column, Rule, Schema

MINIMAL = """\
[model]
name = "delay"
target = "late"
task = "binary"
classes = ["0", "1"]

[columns.temp]
kind = "number"
nulls = 0.05

[columns.late]
kind = "whole"
"""


def of(kind: str, **facts: Any) -> Schema:
    return Schema(name="m", columns=(Column(name="x", kind=kind, **facts),))  # type: ignore[arg-type]


def read(schema: Schema, values: list[Any], dtype: Any = None, zone: str = "UTC") -> tuple[list[Any], list[bool]]:
    frame, unparsed = schema.typed(pl.DataFrame({"x": pl.Series(values, dtype=dtype, strict=False)}), zone=zone)
    return frame["x"].to_list(), unparsed["x"].to_list()


# --- the file --------------------------------------------------------------------------------------------


def test_a_small_file_reads_with_its_defaults() -> None:
    schema = Schema.parse(MINIMAL, where="delay.schema.toml")
    assert schema.column("late").role == "target"
    assert [one.name for one in schema.features] == ["temp"]
    assert schema.column("temp").nulls == 0.05
    assert schema.column("temp").max is None


@pytest.mark.parametrize(
    ("was", "becomes", "line", "says"),
    [
        ("nulls = 0.05", "nuls = 0.05", 9, 'did you mean "nulls"?'),
        ("nulls = 0.05", "nulls = 5", 9, "0 to 1"),
        ("nulls = 0.05", 'min = "cold"', 9, "without quotes"),
        ("nulls = 0.05", "min = 3\nmax = 2", 9, "swap"),
        ("nulls = 0.05", 'role = "key"', 9, "[model]"),
        ("nulls = 0.05", 'categories = ["a"]', 9, "category"),
        ("nulls = 0.05", "guessed = ['nulls', 'maxx']", 9, 'did you mean "max"?'),
        ("nulls = 0.05", "nulls = nan", 9, "0 to 1"),
        ('kind = "number"', 'kind = "float"', 8, "there are: number"),
        ('target = "late"', 'target = "lat"', 3, 'did you mean "late"?'),
        ('classes = ["0", "1"]', 'classes = ["0"]', 5, "classes"),
        ("[columns.temp]", "[colums.temp]", 7, 'did you mean "columns"?'),
        ('kind = "number"', 'kind = "text"', 8, "category"),
        ('kind = "number"', 'kind = "time"', 8, "hour"),
        ('task = "binary"', 'task = "binary', 0, "mend"),
    ],
)
def test_a_wrong_file_names_the_line_and_the_nearest(was: str, becomes: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Schema.parse(MINIMAL.replace(was, becomes), where="delay.schema.toml")
    assert caught.value.where == (f"delay.schema.toml:{line}" if line else "delay.schema.toml")
    assert says in caught.value.fix


def test_a_column_that_is_not_there_offers_the_nearest() -> None:
    with pytest.raises(NotFound, match="tmp") as caught:
        Schema.parse(MINIMAL, where="x").column("tmp")
    assert "temp" in caught.value.fix


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
SHARES = st.floats(0, 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@st.composite
def columns(draw: st.DrawFn, name: str) -> Column:
    kind = draw(st.sampled_from(["number", "whole", "boolean", "category", "text", "time"]))
    limits: list[Any] = [None, None]
    if kind in ("number", "whole", "time"):
        limits = sorted(draw(st.lists(TIMES if kind == "time" else NUMBERS, min_size=2, max_size=2)))
    texts = st.lists(NAMES, max_size=40, unique=True).map(tuple)
    return Column(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        role="ignored" if kind in ("text", "time") else draw(st.sampled_from(["feature", "ignored"])),
        nulls=draw(SHARES),
        min=limits[0],
        max=draw(st.sampled_from([None, limits[1]])),
        categories=draw(st.none() | texts) if kind == "category" else None,
        unseen=draw(SHARES),
        unique=draw(st.booleans()),
        unit=draw(NAMES | st.just("")),
        source=draw(NAMES | st.just("")),
        private=draw(st.sampled_from([None, "drop", "hash"])),
        severity=draw(st.sampled_from(["fail", "warn", "note"])),
        centre=draw(st.floats(-1e9, 1e9)),
        missing=draw(texts),
        guessed=frozenset(draw(st.lists(st.sampled_from(["min", "max", "nulls", "unseen"])))),
    )


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    rules = [
        Rule(name=name, sql=draw(NAMES), share=draw(SHARES), severity=draw(st.sampled_from(["fail", "warn"])))
        for name in draw(st.lists(NAMES, max_size=2, unique=True))
    ]
    own = (Column(name="mw target", kind="category", role="target"), Column(name="t", kind="time", role="time"))
    return Schema(
        name=draw(NAMES),
        target="mw target",
        task="binary",
        time="t",
        columns=(*(draw(columns(name)) for name in names if name not in ("mw target", "t")), *own),
        rules=tuple(rules),
        classes=tuple(draw(st.lists(NAMES, min_size=2, max_size=2, unique=True))),
    )


@given(schemas())
def test_a_written_schema_reads_back_as_itself(schema: Schema) -> None:
    assert Schema.parse(schema.to_toml(), where="x") == schema


def test_reading_a_schema_imports_no_table_library() -> None:
    program = (
        "import sys; from middlewatch.schema import Schema;"
        f"Schema.parse({MINIMAL!r}, where='x').to_toml();"
        "sys.exit(any(name in sys.modules for name in ('polars', 'numpy', 'tomlkit')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- cells -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "texts", "values", "unparsed"),
    [
        (of("number"), ["1", " 2.5 ", "-0", "1e3", ".5"], [1.0, 2.5, 0.0, 1000.0, 0.5], []),
        (of("number"), ["1,5", "1,234", "0x10", "x", "1_000"], [None] * 5, [0, 1, 2, 3, 4]),
        (of("number", decimal=","), ["1,5", "1.5", "1.234,5", "3"], [1.5, None, None, 3.0], [1, 2]),
        (of("number", missing=("NA", "-200")), ["NA", "", "  ", "-200", "-200.0", "7"], [None] * 5 + [7.0], []),
        (of("whole"), ["9007199254740993", "12.0", "01", "0.5"], [9007199254740993, 12, 1, None], [3]),
        (of("boolean"), ["TRUE", "no", "1", "0", "2"], [True, False, True, False, None], [4]),
        (of("category"), ["01", " 1", "NA", ""], ["01", " 1", "NA", None], []),
        (of("category", missing=("NA",)), ["NA", "na"], [None, "na"], []),
    ],
)
def test_text_is_read_by_the_schema_alone(
    schema: Schema, texts: list[str], values: list[Any], unparsed: list[int]
) -> None:
    assert read(schema, texts) == (values, [index in unparsed for index in range(len(texts))])


def test_times_keep_their_moment_whatever_their_dress() -> None:
    noon = datetime(2013, 7, 1, 10, tzinfo=UTC)
    texts = ["2013-07-01T12:00:00+02:00", "2013-07-01 10:00Z", "2013/07/01 12:00:00", "2013-07-01T05:00:00-0500"]
    assert read(of("time"), texts, zone="Europe/Vienna") == ([noon] * 4, [False] * 4)
    for dtype in (pl.Datetime("ms"), pl.Datetime("ns"), pl.Datetime("us", "Asia/Tokyo")):
        naive = datetime(2013, 7, 1, 12) if dtype.time_zone is None else noon
        assert read(of("time"), [naive], dtype, zone="Europe/Vienna") == ([noon], [False])
    day = read(of("time"), [date(2013, 7, 1)], zone="Europe/Vienna")[0][0]
    assert day == datetime(2013, 6, 30, 22, tzinfo=UTC)


def test_an_hour_that_does_not_exist_is_unparsed_and_a_repeated_one_is_the_earlier() -> None:
    texts = ["2013-03-31T02:30:00", "2013-10-27T02:30:00"]
    values, unparsed = read(of("time"), texts, zone="Europe/Vienna")
    assert unparsed == [True, False]
    assert values[1] == datetime(2013, 10, 27, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["31/12/2013", "12/31/2013", "20131231", "2013-13-01", "2013-02-30", "2013"])
def test_dates_that_need_a_guess_are_not_guessed(text: str) -> None:
    assert read(of("time"), [text]) == ([None], [True])


@pytest.mark.parametrize(
    ("kind", "values", "dtype", "expected", "unparsed"),
    [
        ("whole", [1.0, None, float("nan"), 2.5, float("inf")], pl.Float64, [1, None, None, None, None], [3, 4]),
        ("whole", [1, 2**63], pl.UInt64, [1, None], [1]),
        ("whole", [True, None], pl.Boolean, [1, None], []),
        ("number", [Decimal("1.50"), None], pl.Decimal(10, 2), [1.5, None], []),
        ("number", [1, None], pl.Int8, [1.0, None], []),
        ("number", ["1.5", "x"], pl.Categorical, [1.5, None], [1]),
        ("boolean", [1, 0, 7, None], pl.Int64, [True, False, None, None], [2]),
        ("boolean", [1.0, 0.0], pl.Float64, [True, False], []),
        ("category", ["a", None], pl.Categorical, ["a", None], []),
        ("category", ["a", None], pl.Enum(["a", "never"]), ["a", None], []),
        ("category", [1.0, 2.5, float("nan")], pl.Float64, ["1", "2.5", None], []),
        ("category", [True], pl.Boolean, ["true"], []),
        ("time", [1357000000], pl.Int64, [None], [0]),
        ("text", [[1]], pl.List(pl.Int64), [None], [0]),
        ("number", [None, None], pl.Null, [None, None], []),
    ],
)
def test_typed_columns_come_to_one_dtype(
    kind: str, values: list[Any], dtype: Any, expected: list[Any], unparsed: list[int]
) -> None:
    assert read(of(kind), values, dtype) == (expected, [index in unparsed for index in range(len(values))])


def test_nan_and_infinity_stay_what_they_are_in_a_number_column() -> None:
    values, unparsed = read(of("number"), [float("nan"), float("inf"), None])
    assert str(values) == "[nan, inf, None]"
    assert unparsed == [False] * 3


def test_odd_names_and_empty_tables_have_an_answer() -> None:
    names = ["*", "^a$", 'q"uote', "count", "mw.unparsed"]
    schema = Schema(name="m", columns=tuple(Column(name=name, kind="whole") for name in names))
    frame, unparsed = schema.typed(pl.DataFrame({name: ["1", "x"] for name in reversed(names)} | {"a": ["9", "9"]}))
    assert frame.columns == names
    assert all(frame[name].to_list() == [1, None] for name in names)
    assert all(mask.to_list() == [False, True] for mask in unparsed.values())
    empty = schema.typed(pl.DataFrame(schema=dict.fromkeys(names, pl.String)))
    assert empty.frame.height == 0
    assert set(empty.frame.dtypes) == {pl.Int64()}
    assert schema.typed(pl.DataFrame({"other": [1]})).frame.columns == []


@settings(max_examples=50)
@given(st.lists(st.none() | st.text(max_size=12) | st.floats().map(str) | st.dates().map(str), max_size=20))
def test_no_cell_is_lost_in_silence(texts: list[str | None]) -> None:
    """Every cell is a value, blank before, or marked unparsed."""
    for kind in ("number", "whole", "boolean", "category", "time"):
        values, unparsed = read(of(kind), texts, pl.String)
        for text, value, bad in zip(texts, values, unparsed, strict=True):
            blank = text is None or not pl.Series([text]).str.strip_chars()[0]
            assert (value is not None) + blank + bad == 1

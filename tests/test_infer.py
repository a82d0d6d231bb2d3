from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from middlewatch import checks, tables
from middlewatch.errors import MiddlewatchError, NotFound, TableError, UsageError
from middlewatch.infer import Inferred, describe, infer
from middlewatch.infer.limits import nulls
from middlewatch.schema import Column, Schema


def csv(folder: Path, columns: dict[str, list[Any]]) -> tables.Raw:
    """A CSV file with exactly these texts."""
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join("" if cell is None else f'"{cell}"' for cell in row) for row in rows)]
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return tables.scan(path, base=folder)


def seen(raw: tables.Raw, **more: Any) -> Inferred:
    return infer(raw, **({"name": "m", "target": "y"} | more))


def outcomes(rows: int) -> list[str]:
    return [str(row * 7919 % 101 % 2) for row in range(rows)]


def doubted(inferred: Inferred, column: str) -> str:
    return " | ".join(f"{one.question} {one.guess} {one.why}" for one in inferred.doubts if one.column == column)


def column_of(folder: Path, texts: list[Any]) -> tuple[Column, str]:
    """What is inferred of one CSV column beside a plain one and a target."""
    rows = len(texts)
    other = [str(row % 13) for row in range(rows)]
    inferred = seen(csv(folder, {"x": texts, "other": other, "y": outcomes(rows)}))
    return inferred.schema.column("x"), doubted(inferred, "x")


# --- kinds, from all rows --------------------------------------------------------------------------------


def test_whole_numbers_that_turn_to_decimals_late_are_numbers(tmp_path: Path) -> None:
    column, doubts = column_of(tmp_path, [str(row % 17) for row in range(1500)] + ["0.1"])
    assert (column.kind, doubts) == ("number", "")


def test_a_word_for_missing_deep_in_the_file_is_found_and_written_down(tmp_path: Path) -> None:
    texts = [str(row % 17) for row in range(6000)]
    texts[5500], texts[5900] = "n/a", "N/A"
    column, _ = column_of(tmp_path, texts)
    assert (column.kind, column.missing) == ("whole", ("N/A", "n/a"))
    assert column.nulls > 0


@pytest.mark.parametrize(
    ("cycle", "kind"),
    [
        (["1", "2", " 30 "], "whole"),
        (["0", "1"], "whole"),
        (["1", "2.5", "-3e2"], "number"),
        (["true", "FALSE"], "boolean"),
        (["Yes", "no"], "boolean"),
        (["01", "10", "99"], "category"),
        (["12345678901234567890", "22345678901234567890"], "category"),
        (["red", "green"], "category"),
        (["2013-07-01", "2013-07-02T10:00:00+02:00", "2013-08-02 11:00"], "time"),
        (["01/02/2013", "02/02/2013"], "category"),
        (["1,5", "2,25"], "number"),
    ],
)
def test_the_kind_is_what_the_cells_are(tmp_path: Path, cycle: list[str], kind: str) -> None:
    column, _ = column_of(tmp_path, [cycle[row % len(cycle)] for row in range(300)])
    assert column.kind == kind
    assert column.decimal == ("," if "1,5" in cycle else ".")


def test_a_mixed_column_is_read_by_its_majority_and_says_the_rest(tmp_path: Path) -> None:
    texts = [str(row % 17) for row in range(300)]
    texts[250] = "broken"
    column, doubts = column_of(tmp_path, texts)
    assert column.kind == "whole"
    assert "1 of 300" in doubts
    assert '"broken"' in doubts
    half, doubts = column_of(tmp_path, ["red" if row % 3 == 0 else str(row % 5) for row in range(300)])
    assert half.kind == "category"
    assert "mixed: numbers or text?" in doubts


def test_three_digits_after_a_comma_may_be_thousands(tmp_path: Path) -> None:
    assert "thousands" in column_of(tmp_path, ["1,234", "2,345", "7,001"] * 50)[1]
    assert "thousands" not in column_of(tmp_path, ["1,234", "2,34", "7,001"] * 50)[1]


def test_na_among_country_codes_is_a_value(tmp_path: Path) -> None:
    codes, doubts = column_of(tmp_path, ["NA", "AT", "DE"] * 50)
    assert codes.missing == ()
    assert codes.categories == ("AT", "DE", "NA")
    assert "a value" in doubts
    words, _ = column_of(tmp_path, ["NA", "Austria", "Germany"] * 50)
    assert words.missing == ("NA",)


def test_files_with_types_keep_them() -> None:
    rows = 300
    frame = pl.DataFrame(
        {
            "zip": [str(1000 + row % 9) for row in range(rows)],
            "gap": [float(row % 5) if row % 7 else math.nan for row in range(rows)],
            "level": pl.Series([str(row % 3) for row in range(rows)], dtype=pl.Categorical),
            "at": pl.Series(
                [datetime(2013, 1, 1) + timedelta(hours=row) for row in range(rows)], dtype=pl.Datetime("ms")
            ),
            "many": [[row] for row in range(rows)],
            "y": [row * 7919 % 101 % 2 == 0 for row in range(rows)],
        }
    )
    inferred = seen(tables.from_frame(frame), time="at")
    kinds = {one.name: (one.kind, one.role) for one in inferred.schema.columns}
    assert kinds == {
        "zip": ("category", "feature"),
        "gap": ("number", "feature"),
        "level": ("category", "feature"),
        "at": ("time", "time"),
        "many": ("text", "ignored"),
        "y": ("boolean", "target"),
    }
    assert inferred.schema.column("gap").missing == ("nan",)
    assert "codes" in doubted(inferred, "zip")
    assert "NaN" in doubted(inferred, "gap")
    assert checks.check(tables.from_frame(frame), inferred.schema).ok


# --- roles -----------------------------------------------------------------------------------------------


def test_what_is_no_use_is_ignored_and_said(tmp_path: Path) -> None:
    rows = 400
    raw = csv(
        tmp_path,
        {
            "order_id": [f"o-{row}" for row in range(rows)],
            "row": [str(row) for row in range(rows)],
            "same": ["7"] * rows,
            "empty": [None] * rows,
            "story": [f"text {row // 2}" for row in range(rows)],
            "age": [str(20 + row * 13 % 50) for row in range(rows)],
            "when": ["2013-07-01", "2013-07-02"] * (rows // 2),
            "y": outcomes(rows),
        },
    )
    inferred = seen(raw)
    roles = {one.name: one.role for one in inferred.schema.columns}
    assert roles == {
        "order_id": "key",
        "row": "ignored",
        "same": "ignored",
        "empty": "ignored",
        "story": "ignored",
        "age": "feature",
        "when": "ignored",
        "y": "target",
    }
    for name in ("order_id", "row", "same", "empty", "when"):
        assert doubted(inferred, name), name
    assert inferred.schema.key == "order_id"
    assert inferred.schema.column("order_id").unique
    assert "--time when" in doubted(inferred, "when")


def test_a_column_that_gives_the_answer_away_comes_first_and_is_ignored() -> None:
    rows = 600
    delay = [row * 37 % 200 - 100 for row in range(rows)]
    frame = pl.DataFrame(
        {
            "delay": delay,
            "word": ["late" if one > 15 else "fine" for one in delay],
            "copy": [int(one > 15) for one in delay],
            "wind": [row * 31 % 47 for row in range(rows)],
            "y": [int(one > 15) for one in delay],
        }
    )
    inferred = seen(tables.from_frame(frame))
    assert [one.name for one in inferred.schema.features] == ["wind"]
    assert {one.column for one in inferred.doubts[:3]} == {"delay", "word", "copy"}
    amounts = frame.select("wind", y=pl.col("delay") * 3, minutes=pl.col("delay"), noise=pl.Series(range(rows)) % 7)
    scaled = seen(tables.from_frame(amounts))
    assert "another scale" in doubted(scaled, "minutes")
    assert scaled.schema.task == "regression"


def test_a_mark_for_missing_is_found_by_its_place(tmp_path: Path) -> None:
    plain = [str(10 + row % 20) for row in range(500)]
    marked = ["-999" if row % 50 == 0 else text for row, text in enumerate(plain)]
    column, doubts = column_of(tmp_path, marked)
    assert column.missing == ("-999",)
    assert "10 of 500" in doubts
    assert column.min is not None
    assert column.min > -100  # type: ignore[operator]
    assert column.nulls > 0.02
    wide = ["-999" if row % 50 == 0 else str(100 + 90 * row) for row in range(500)]
    assert column_of(tmp_path, wide)[0].missing == ("-999",), "however wide the rest is: it is the only negative one"
    for other in ("-1", "-200", "0"):
        asked = [other if row % 50 == 0 else str(1000 + row % 20) for row in range(500)]
        column, doubts = column_of(tmp_path, asked)
        assert f"is {other} a value or a mark" in doubts
        assert column.missing == ()
    assert column_of(tmp_path, plain)[1] == ""
    times = ["1970-01-01" if row % 50 == 0 else f"2013-07-{row % 9 + 1:02}" for row in range(500)]
    assert "is 1970-01-01 a time or a mark" in column_of(tmp_path, times)[1]


def test_the_three_most_doubtful_come_first(tmp_path: Path) -> None:
    rows = 300
    y = outcomes(rows)
    raw = csv(
        tmp_path,
        {
            "same": ["1"] * rows,
            "x": ["oops" if row == 9 else str(row % 7) for row in range(rows)],
            "answer": y,
            "y": [None if row == 3 else one for row, one in enumerate(y)],
        },
    )
    assert [one.column for one in seen(raw).doubts] == ["answer", "y", "x", "same"]


# --- the target ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cycle", "task", "classes"),
    [
        (["0", "1", "1"], "binary", ("0", "1")),
        (["yes", "no", "no"], "binary", ("false", "true")),
        (["churned", "stayed", "stayed"], "binary", ("churned", "stayed")),
        (["positive", "sick", "sick"], "binary", ("sick", "positive")),
        (["2", "1", "1"], "binary", ("2", "1")),
        (["0.0", "1.0", "1.0"], "binary", ("0", "1")),
        (["a", "b", "c"], "multiclass", ("a", "b", "c")),
        (["10", "9", "2"], "multiclass", ("2", "9", "10")),
        (["1.5", "2.5", "9.25"], "regression", ()),
        ([str(number) for number in range(31)], "regression", ()),
    ],
)
def test_the_task_follows_from_the_target(
    tmp_path: Path, cycle: list[str], task: str, classes: tuple[str, ...]
) -> None:
    rows = 310
    raw = csv(
        tmp_path,
        {"x": [str(row * 7 % 23) for row in range(rows)], "y": [cycle[r * 5 % len(cycle)] for r in range(rows)]},
    )
    inferred = seen(raw)
    assert (inferred.schema.task, inferred.schema.classes) == (task, classes)
    typed = inferred.schema.typed(raw.collect()).frame["y"]
    if classes:
        assert set(typed.cast(pl.String)) == set(classes)
    assert Schema.parse(inferred.schema.to_toml(), where="x") == inferred.schema


@pytest.mark.parametrize(
    ("y", "asked", "error", "says"),
    [
        (["1"] * 40, {}, TableError, "'?1'? in every row"),
        ([None] * 40, {}, TableError, "missing in every row"),
        (["0", "1"] * 20, {"target": "yy"}, NotFound, "yy"),
        (["0", "1"] * 20, {"time": "when"}, NotFound, "when"),
        (["0", "1"] * 20, {"time": "x"}, UsageError, "no times"),
        (["0", "1"] * 20, {"key": "y"}, UsageError, "cannot be two"),
        (["0", "1"] * 20, {"task": "clustering"}, UsageError, "clustering"),
        (["a", "b"] * 20, {"task": "regression"}, UsageError, "no number"),
        (["1", "2", "3", "4"] * 10, {"task": "binary"}, UsageError, "not two"),
        ([f"name {row}" for row in range(40)], {}, UsageError, "40 different texts"),
        (["2013-01-01", "2013-01-02"] * 20, {}, UsageError, "is a time"),
    ],
)
def test_a_target_that_cannot_be_learnt_is_refused(
    tmp_path: Path, y: list[Any], asked: dict[str, Any], error: type[MiddlewatchError], says: str
) -> None:
    raw = csv(tmp_path, {"x": [str(row % 7) for row in range(40)], "y": y})
    with pytest.raises(error, match=says) as caught:
        seen(raw, **asked)
    assert caught.value.fix


def test_tables_that_cannot_be_looked_at_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no rows"):
        seen(tables.from_frame(pl.DataFrame(schema={"x": pl.Int64, "y": pl.Int64})))
    with pytest.raises(TableError, match=r'"mw\.id"'):
        seen(csv(tmp_path, {"mw.id": ["1"], "y": ["1"]}))
    with pytest.raises(TableError, match="no column is left"):
        seen(csv(tmp_path, {"x": ["1"] * 20, "y": outcomes(20)}))


def test_a_whole_target_can_be_taken_as_amounts(tmp_path: Path) -> None:
    raw = csv(tmp_path, {"x": [str(row % 7) for row in range(90)], "y": [str(row * 5 % 9) for row in range(90)]})
    assert "--task regression" in doubted(seen(raw), "y")
    assert seen(raw, task="regression").schema.classes == ()


# --- limits ----------------------------------------------------------------------------------------------

CELLS = {
    "number": st.floats(-1e12, 1e12).map(str),
    "whole": st.integers(-(2**62), 2**62).map(str),
    "boolean": st.sampled_from(["true", "false"]),
    "category": st.sampled_from(["red", "Red", " blue", "01", "true", 'q"x']),
    "time": st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)).map(datetime.isoformat),
    "anything": st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_a_schema_accepts_the_data_it_came_from(data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 30))
    frame: dict[str, list[Any]] = {"y": ["0", "1"] + [str(row % 2) for row in range(rows - 2)]}
    for number, kind in enumerate(data.draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=3))):
        cell: st.SearchStrategy[str | None] = CELLS[kind] | st.sampled_from([None, "", "NA"])
        frame[f"c{number}"] = data.draw(st.lists(cell, min_size=rows, max_size=rows))
    raw = tables.from_frame(pl.DataFrame(frame, schema_overrides=dict.fromkeys(frame, pl.String)), textual=True)
    try:
        schema = seen(raw).schema
    except TableError as error:
        assert "no column is left" in error.what  # noqa: PT017
        return
    assert Schema.parse(schema.to_toml(), where="x") == schema
    failed = [one for one in checks.check(raw, schema).findings if one.severity == "fail"]
    # Cells that do not parse are a fault in the data itself, and doubted.
    assert {one.check for one in failed} <= {"type"}
    assert all(doubted(seen(raw), str(one.column)) for one in failed)


def test_limits_have_room_for_the_next_month_and_none_for_faults() -> None:
    """Two years of weather in one city, from winter limits to every later month."""
    hours = pl.DataFrame({"hour": range(24 * 720)}).with_columns(
        temp=55 - 25 * (pl.col("hour") / (24 * 365) * 2 * math.pi).cos() + 9 * (pl.col("hour") / 11).sin(),
        rain=((pl.col("hour") * 7919 % 1000) / 1000).pow(30) * (1 + pl.col("hour") / 8000),
        cover=(pl.col("hour") * 31 % 101) / 100,
        town=pl.format("t{}", pl.col("hour") * 17 % 23),
        y=pl.col("hour") * 7919 % 101 % 2,
    )
    months = [hours[start : start + 720].drop("hour") for start in range(0, hours.height, 720)]
    schema = seen(tables.from_frame(pl.concat(months[:3]))).schema
    assert [checks.check(tables.from_frame(one), schema).ok for one in months] == [True] * len(months)
    assert schema.column("cover").max == 1.0
    assert schema.column("rain").min == 0.0
    faults = {
        "cents": pl.col("temp") * 100,
        "sentinel": pl.when(pl.col("cover") < 0.05).then(-999.0).otherwise(pl.col("temp")),
        "lost": pl.when(pl.col("cover") < 0.2).then(None).otherwise(pl.col("temp")),
        "divided": pl.col("temp") / (pl.col("temp") - pl.col("temp")),
    }
    for name, fault in faults.items():
        assert not checks.check(tables.from_frame(months[4].with_columns(temp=fault)), schema).ok, name
    renamed = months[4].with_columns(town=pl.col("town").str.to_uppercase())
    assert not checks.check(tables.from_frame(renamed), schema).ok


def test_a_null_allowance_grows_with_what_was_seen() -> None:
    assert nulls(100_000, 0) == 0.0
    assert nulls(30, 0) == 0.1
    assert nulls(100_000, 200) == pytest.approx(0.053, abs=0.001)
    assert nulls(100_000, 30_000) == pytest.approx(0.605, abs=0.002)
    assert nulls(10, 10) == 1.0


def test_a_lone_table_is_described_without_a_target(tmp_path: Path) -> None:
    raw = csv(tmp_path, {"x": [str(row) for row in range(30)], "word": ["a", "b", "c"] * 10})
    schema = describe(raw).schema
    assert {one.name: one.kind for one in schema.columns} == {"x": "whole", "word": "category"}
    assert checks.check(raw, schema).ok


def test_naive_times_are_read_in_the_zone(tmp_path: Path) -> None:
    times = [f"2013-07-01T{row % 24:02}:00:00" for row in range(48)]
    raw = csv(tmp_path, {"at": times, "x": [str(row % 7) for row in range(48)], "y": outcomes(48)})
    schema = seen(raw, time="at", zone="Europe/Vienna").schema
    first = schema.typed(raw.collect(), zone="Europe/Vienna").frame["at"][0]
    assert first == datetime(2013, 6, 30, 22, tzinfo=UTC)

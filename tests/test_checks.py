from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch import checks, tables
from middlewatch.checks import Report
from middlewatch.errors import ConfigError
from middlewatch.findings import Finding
from middlewatch.schema import Column, Rule, Schema

START = datetime(2013, 7, 1, tzinfo=UTC)
SCHEMA = Schema(
    name="delay",
    target="late",
    task="binary",
    time="departs",
    key="id",
    classes=("0", "1"),
    columns=(
        Column(name="id", kind="text", role="key", unique=True),
        Column(name="departs", kind="time", role="time"),
        Column(name="temp", kind="number", nulls=0.05, min=-30.0, max=120.0),
        Column(name="seats", kind="whole", min=1, max=500, severity="warn"),
        Column(name="carrier", kind="category", categories=("AA", "UA"), unseen=0.02),
        Column(name="wet", kind="boolean"),
        Column(name="note", kind="text", role="ignored"),
        Column(name="late", kind="whole", role="target", min=0, max=1),
    ),
    rules=(Rule(name="room", sql="seats > 10 OR temp < 100", share=0.01),),
)
ROWS = 200
CLEAN = pl.DataFrame(
    {
        "id": [f"f{row}" for row in range(ROWS)],
        "departs": [START + timedelta(minutes=row) for row in range(ROWS)],
        "temp": [20.0 + row % 40 for row in range(ROWS)],
        "seats": [100 + row % 50 for row in range(ROWS)],
        "carrier": ["AA" if row % 3 else "UA" for row in range(ROWS)],
        "wet": [row % 5 == 0 for row in range(ROWS)],
        "note": ["x"] * ROWS,
        "late": [row % 2 for row in range(ROWS)],
    }
)
ROW = pl.int_range(pl.len())


def check(frame: pl.DataFrame, schema: Schema = SCHEMA, **more: Any) -> Report:
    return checks.check(tables.from_frame(frame), schema, **more)


def only(report: Report) -> Finding:
    assert len(report.findings) == 1, [one.message for one in report.findings]
    return report.findings[0]


def text(folder: Path, frame: pl.DataFrame) -> tables.Raw:
    frame.write_csv(folder / "t.csv")
    return tables.scan("t.csv", base=folder)


def test_clean_data_passes_from_any_source(tmp_path: Path) -> None:
    for raw in (
        tables.from_frame(CLEAN),
        tables.from_frame(CLEAN.to_pandas()),
        tables.from_frame(CLEAN.to_arrow()),
        tables.from_frame(CLEAN[:, ::-1]),
        text(tmp_path, CLEAN),
    ):
        report = checks.check(raw, SCHEMA)
        assert report.ok
        assert report.findings == ()
        assert report.rows == ROWS


@pytest.mark.parametrize(
    ("fault", "test", "column", "rows", "says"),
    [
        ({"temp": pl.when(ROW % 5 == 1).then(None).otherwise("temp")}, "nulls", "temp", 40, "nulls = 0.2"),
        ({"temp": pl.lit(None, pl.Float64)}, "nulls", "temp", 200, "mend the source"),
        ({"wet": pl.when(ROW == 7).then(None).otherwise("wet")}, "nulls", "wet", 1, "wet"),
        ({"temp": pl.when(ROW == 7).then(math.nan).otherwise("temp")}, "finite", "temp", 1, '["nan"]'),
        ({"temp": pl.when(ROW == 7).then(-math.inf).otherwise("temp")}, "finite", "temp", 1, '["nan"]'),
        ({"temp": pl.when(ROW > 189).then(-999.0).otherwise("temp")}, "range", "temp", 10, "unit"),
        (
            {"carrier": pl.when(ROW < 9).then(pl.lit("aa")).otherwise("carrier")},
            "categories",
            "carrier",
            9,
            "categories",
        ),
        ({"id": pl.when(ROW == 7).then(pl.lit("f3")).otherwise("id")}, "unique", "id", 1, "repeats"),
        ({"late": pl.when(ROW == 7).then(2).otherwise("late")}, "range", "late", 1, "min and max"),
        ({"departs": pl.lit("soon")}, "type", "departs", 200, "soon"),
        ({"seats": pl.lit(5), "temp": pl.lit(110.0)}, "rule", None, 200, "room"),
    ],
)
def test_a_planted_fault_is_found_with_its_rows(
    fault: dict[str, pl.Expr], test: str, column: str | None, rows: int, says: str
) -> None:
    report = check(CLEAN.with_columns(**fault))
    assert not report.ok
    found = next(one for one in report.findings if one.severity == "fail")
    assert (found.check, found.column, found.rows_failed) == (test, column, rows)
    assert found.share_failed == rows / ROWS
    assert says in found.fix
    assert found.examples
    assert len([one for one in report.findings if one.severity == "fail"]) == 1


def test_examples_name_the_row_and_what_stood_there() -> None:
    broken = CLEAN.with_columns(temp=pl.when(ROW.is_in([3, 150])).then(-999.0).otherwise("temp"))
    assert only(check(broken)).examples == ({"row": 3, "value": -999.0}, {"row": 150, "value": -999.0})
    repeated = CLEAN.with_columns(id=pl.when(ROW == 150).then(pl.lit("f3")).otherwise("id"))
    assert only(check(repeated)).examples == ({"row": 150, "value": "f3"},)


def test_rows_are_numbered_over_the_whole_table_and_keys_repeat_across_batches() -> None:
    many = pl.concat([CLEAN.with_columns(id=pl.col("id") + f"-{part}") for part in range(700)])
    last = many.height - 1
    broken = many.with_columns(
        temp=pl.when(last == ROW).then(-999.0).otherwise("temp"),
        id=pl.when(last == ROW).then(pl.lit("f0-0")).otherwise("id"),
    )
    found = {one.check: one for one in check(broken).findings}
    assert found["range"].examples == ({"row": last, "value": -999.0},)
    assert found["unique"].examples == ({"row": last, "value": "f0-0"},)


def test_a_key_may_not_be_missing_but_missing_keys_are_no_repeats() -> None:
    report = check(CLEAN.with_columns(id=pl.when(ROW < 2).then(None).otherwise("id")))
    assert only(report).check == "nulls"


def test_nan_is_not_above_the_limit_and_not_missing() -> None:
    found = only(check(CLEAN.with_columns(temp=pl.when(ROW == 7).then(math.nan).otherwise("temp"))))
    assert found.check == "finite"


def test_an_allowed_share_allows_one_row_of_a_small_table_at_least() -> None:
    broken = CLEAN.head(5).with_columns(temp=pl.when(ROW == 0).then(None).otherwise("temp"))
    assert check(broken).ok
    broken = CLEAN.head(5).with_columns(temp=pl.when(ROW < 2).then(None).otherwise("temp"))
    assert not check(broken).ok


def test_a_rare_new_category_is_a_note() -> None:
    found = only(check(CLEAN.with_columns(carrier=pl.when(ROW < 3).then(pl.lit("B6")).otherwise("carrier"))))
    assert (found.severity, found.rows_failed) == ("note", 3)
    assert '"B6"' in found.message


def test_case_and_spaces_are_named_as_the_difference() -> None:
    report = check(CLEAN.with_columns(carrier=pl.col("carrier").str.to_lowercase() + " "))
    assert "case or spaces" in only(report).message


def test_a_columns_severity_is_its_findings_severity() -> None:
    report = check(CLEAN.with_columns(seats=9000 + ROW % 7))
    assert report.ok
    assert only(report).severity == "warn"


def test_missing_extra_and_renamed_columns() -> None:
    found = {one.check: one for one in check(CLEAN.rename({"temp": "Temp"})).findings}
    assert found["missing"].column == "temp"
    assert found["missing"].severity == "fail"
    assert 'is it "Temp" now?' in found["missing"].message
    assert found["extra"].severity == "note"
    assert check(CLEAN.drop("note")).ok
    report = check(CLEAN.drop("seats"))
    assert {(one.check, one.status) for one in report.findings} == {("missing", "failed"), ("rule", "unknown")}


def test_cells_that_do_not_parse_leave_the_other_tests_unknown(tmp_path: Path) -> None:
    texts = CLEAN.with_columns(pl.all().cast(pl.String))
    many = texts.with_columns(temp=pl.when(ROW % 2 == 0).then(pl.lit("12 C")).otherwise(pl.lit("9999")))
    report = checks.check(text(tmp_path, many), SCHEMA)
    assert [(one.check, one.status) for one in report.findings] == [("type", "failed"), ("unknown", "unknown")]
    assert report.findings[0].examples[0] == {"row": 0, "value": "12 C"}
    few = texts.with_columns(
        temp=pl.when(ROW == 9).then(pl.lit("12 C")).when(ROW == 10).then(pl.lit("9999")).otherwise("temp")
    )
    found = checks.check(text(tmp_path, few), SCHEMA).findings
    assert [(one.check, one.rows_failed) for one in found] == [("type", 1), ("range", 1)]
    assert 'missing = ["12 C"]' in found[0].fix


def test_numbers_as_text_are_read_but_said_in_a_file_that_has_types() -> None:
    found = only(check(CLEAN.with_columns(pl.col("temp").cast(pl.String))))
    assert (found.check, found.severity) == ("type", "warn")


def test_innocent_changes_of_type_pass() -> None:
    innocent = CLEAN.with_columns(
        pl.col("seats").cast(pl.Float64),
        pl.col("wet").cast(pl.Int8),
        pl.col("carrier").cast(pl.Categorical),
        pl.col("departs").dt.cast_time_unit("ns").dt.convert_time_zone("Asia/Tokyo"),
        pl.col("temp").cast(pl.Decimal(10, 2)),
    )
    assert check(innocent).findings == ()


@pytest.mark.parametrize("frame", [CLEAN.head(0), CLEAN.clear().select("id"), pl.DataFrame(schema={"a": pl.Int8})])
def test_an_empty_table_fails_and_says_so(frame: pl.DataFrame) -> None:
    report = check(frame)
    assert not report.ok
    assert report.findings[0].check in ("rows", "missing")
    assert any(one.check == "rows" for one in report.findings)
    json.dumps(report.to_dict(), allow_nan=False)


def test_private_values_are_not_shown() -> None:
    columns = tuple(
        Column(name=one.name, kind=one.kind, role=one.role, private="hash", unique=one.unique, min=one.min, max=one.max)
        for one in SCHEMA.columns
    )
    schema = Schema(name="m", target="late", time="departs", key="id", columns=columns, rules=SCHEMA.rules)
    broken = CLEAN.with_columns(temp=pl.lit(-123456.5), id=pl.lit("secret"), seats=pl.lit("seventy"))
    told = json.dumps(check(broken, schema).to_dict()["findings"])
    assert len(json.loads(told)) >= 3
    assert not any(word in told for word in ("123456", "secret", "seventy"))


def test_times_to_come_are_noted_where_now_is_known() -> None:
    found = only(check(CLEAN, now=START + timedelta(minutes=100)))
    assert (found.check, found.severity, found.rows_failed) == ("future", "note", 99)


@pytest.mark.parametrize(
    ("sql", "says"),
    [("seats >", "SQL"), ("seatz > 3", "seatz"), ("seats + 1", "neither true nor false"), ("temp > 'a'", "SQL")],
)
def test_a_rule_that_is_none_is_a_config_error(sql: str, says: str) -> None:
    schema = Schema(name="m", columns=SCHEMA.columns, rules=(Rule(name="r", sql=sql),))
    with pytest.raises(ConfigError) as caught:
        check(CLEAN, schema)
    assert says in caught.value.what
    assert '"r"' in caught.value.where


def test_null_meets_a_rule_as_in_sql() -> None:
    schema = Schema(
        name="m", columns=(Column(name="a", kind="number", nulls=1.0),), rules=(Rule(name="r", sql="a > 0"),)
    )
    report = checks.check(tables.from_frame(pl.DataFrame({"a": [None, 1.0, -1.0]})), schema)
    assert only(report).rows_failed == 1


def test_odd_names_are_checked_like_others() -> None:
    names = ["*", "^a.*$", 'q"uote', "count", "len", "two words"]
    schema = Schema(name="m", columns=tuple(Column(name=name, kind="whole", max=5) for name in names))
    report = check(pl.DataFrame({name: [1, 9] for name in names} | {"a1": [7, 7]}), schema)
    failed = [one for one in report.findings if one.severity == "fail"]
    assert [(one.check, one.column, one.rows_failed) for one in failed] == [("range", name, 1) for name in names]


def test_a_shift_from_the_reference_is_a_warning_and_its_own_rows_are_none() -> None:
    reference = check(CLEAN).profile
    assert check(CLEAN.sample(fraction=0.5, seed=1), reference=reference).findings == ()
    moved = CLEAN.with_columns(temp=pl.col("temp") + 30, carrier=pl.lit("UA"))
    found = check(moved, reference=reference).findings
    assert {(one.check, one.column, one.severity) for one in found} == {
        ("shift", "temp", "warn"),
        ("shift", "carrier", "warn"),
        ("constant", "carrier", "warn"),
    }


def test_many_categories_in_a_small_window_are_no_shift() -> None:
    names = tuple(f"c{number}" for number in range(5000))
    schema = Schema(name="m", columns=(Column(name="c", kind="category", categories=names),))
    frame = pl.DataFrame({"c": names * 20})
    window = frame.sample(2000, seed=3)
    reference = checks.check(tables.from_frame(frame), schema).profile
    assert checks.check(tables.from_frame(window), schema, reference=reference).findings == ()


def test_the_json_form_is_plain_and_complete() -> None:
    told = check(CLEAN.with_columns(temp=pl.lit(math.inf))).to_dict()
    again = json.loads(json.dumps(told, allow_nan=False))
    assert {"ok", "rows", "seconds", "findings", "columns"} <= again.keys()
    assert {"check", "column", "severity", "rows_failed", "share_failed", "examples", "message", "fix"} <= again[
        "findings"
    ][0].keys()
    seats = again["columns"]["seats"]
    assert (seats["kind"], seats["nulls"], seats["distinct"], seats["min"], seats["max"]) == ("whole", 0, 50, 100, 149)
    assert seats["quantiles"]["0.5"] == pytest.approx(124, abs=1)
    assert again["columns"]["carrier"]["top"][0] == {"value": "AA", "rows": 133}


# --- quarantine ------------------------------------------------------------------------------------------


def apart(frame: pl.DataFrame, schema: Schema, **more: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good and bad rows, the way `check --quarantine` finds them."""
    raw = tables.from_frame(frame)
    report = checks.check(raw, schema, **more)
    parts = list(checks.split(raw, checks.plan(schema, raw.columns, **more), report.repeated))
    if not parts:
        return frame, frame.clear()
    return pl.concat([one.good for one in parts]), pl.concat([one.bad for one in parts])


def test_bad_rows_come_back_as_they_were_with_their_reasons() -> None:
    raw = CLEAN.with_columns(
        pl.when(ROW == 3)
        .then(pl.lit("hot"))
        .when(ROW == 5)
        .then(pl.lit("999"))
        .otherwise(pl.col("temp").cast(pl.String))
        .alias("temp"),
        wet=pl.when(ROW == 5).then(None).otherwise("wet"),
    )
    good, bad = apart(raw, SCHEMA)
    assert bad["mw.row"].to_list() == [3, 5]
    assert bad["mw.reasons"].to_list() == [["type: temp"], ["range: temp", "nulls: wet"]]
    assert bad["temp"].to_list() == ["hot", "999"]
    assert good.equals(raw.filter(~ROW.is_in([3, 5])))
    assert apart(CLEAN, SCHEMA)[1].height == 0
    assert apart(CLEAN.head(0), SCHEMA)[1].height == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(),
            st.none() | st.sampled_from(["AA", "UA", "ua", "B6"]),
            st.none() | st.integers(-5, 700),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_quarantine_and_counters_agree(rows: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame(rows, schema={"temp": pl.Float64, "carrier": pl.String, "seats": pl.Int64}, orient="row")
    strict = Schema(
        name="m",
        columns=(
            Column(name="temp", kind="number", min=-30.0, max=120.0),
            Column(name="carrier", kind="category", categories=("AA", "UA")),
            Column(name="seats", kind="whole", min=1, max=500),
        ),
    )
    counted = {f"{one.check}: {one.column}": one.rows_failed for one in check(frame, strict).findings}
    reasons = apart(frame, strict)[1]["mw.reasons"].explode(empty_as_null=False).to_list()
    assert {reason: reasons.count(reason) for reason in set(reasons)} == counted


def test_without_a_schema_what_is_odd_in_any_table_is_said() -> None:
    import middlewatch as mw

    frame = pl.DataFrame(
        {"x": [1.0, 2.0, 3.0], "empty": [None, None, None], "inf": [1.0, float("inf"), 2.0], "same": ["a"] * 3}
    )
    report = mw.check(frame)
    assert report.ok
    assert {(one.column, one.check) for one in report.findings} == {
        ("empty", "nulls"),
        ("inf", "finite"),
        ("same", "constant"),
    }


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(),
            st.none() | st.sampled_from(["AA", "UA", "ua", " ", "\u3000", "é"]),
            st.none() | st.integers(-5, 700),
        ),
        max_size=30,
    )
)
def test_tests_alone_find_what_tests_beside_a_profile_do(rows: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame(rows, schema={"temp": pl.Float64, "carrier": pl.String, "seats": pl.Int64}, orient="row")
    contract = Schema(
        name="m",
        columns=(
            Column(name="temp", kind="number", min=-30.0, max=120.0, nulls=0.3),
            Column(name="carrier", kind="category", categories=("AA", "UA")),
            Column(name="seats", kind="whole", max=500),
        ),
    )
    with_profile, alone = (check(frame, contract, profile=one) for one in (True, False))
    counted = [(one.check, one.column, one.rows_failed, one.examples) for one in with_profile.findings]
    assert [(one.check, one.column, one.rows_failed, one.examples) for one in alone.findings] == counted
    assert not rows or alone.profile.columns == {}
    # Blank cells are missing, whatever kind of space they hold.
    blank = sum(1 for _, text, _ in rows if text is None or not text.strip())
    assert sum(one.rows_failed for one in alone.findings if (one.check, one.column) == ("nulls", "carrier")) == blank

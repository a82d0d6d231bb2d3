"""Rules beyond one column's limits: own functions, other tables, keys, patterns, days, order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import middlewatch as mw
from middlewatch import checks, tables
from middlewatch.checks import Report
from middlewatch.errors import ConfigError, UsageError
from middlewatch.schema import Column, Key, Rule, Schema, Table

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
ROWS = 24 * 28
FRAME = pl.DataFrame(
    {
        "at": [START + timedelta(hours=hour) for hour in range(ROWS)],
        "code": [f"AB{hour % 10}" for hour in range(ROWS)],
        "place": [["VIE", "GRZ", "LNZ"][hour % 3] for hour in range(ROWS)],
        "temp": [15.0 + hour % 20 for hour in range(ROWS)],
        "unit": ["C"] * ROWS,
    }
)


def schema(*, table: Table | None = None, keys: tuple[Key, ...] = (), **more: dict[str, Any]) -> Schema:
    """The frame's schema; `more` are keys of columns by name."""
    columns = (
        Column(name="at", kind="time", role="time"),
        Column(name="code", kind="text", role="key", **more.get("code", {})),
        Column(name="place", kind="category", **more.get("place", {})),
        Column(name="temp", kind="number", **more.get("temp", {})),
        Column(name="unit", kind="category", **more.get("unit", {"constant": True})),
    )
    return Schema(name="m", time="at", key="code", columns=columns, table=table or Table(), keys=keys)


def check(frame: pl.DataFrame, contract: Schema, **more: Any) -> Report:
    return checks.check(tables.from_frame(frame), contract, **more)


def found(report: Report) -> list[tuple[str, str | None, str, int]]:
    return [(one.check, one.column, one.severity, one.rows_failed) for one in report.findings]


ROW = pl.int_range(pl.len())


def test_clean_rows_pass_everything_at_once(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("iata,name\nVIE,Vienna\nGRZ,Graz\nLNZ,Linz\n")
    contract = schema(
        code={"pattern": "[A-Z]{2}[0-9]"},
        place={"references": "places.csv#iata"},
        temp={"expected": (10.0, 40.0)},
        table=Table(freshness="2d", rows_per_day=(20, 30), ordered=True, volume=0.2),
        keys=(Key(columns=("at", "code")),),
    )
    again = Schema.parse(contract.to_toml(), where="m.schema.toml")
    assert again == contract
    now = START + timedelta(hours=ROWS + 10)
    report = check(FRAME, contract, base=tmp_path, now=now, reference=check(FRAME, schema()).profile)
    assert report.findings == ()


def test_a_pattern_is_of_the_whole_value() -> None:
    frame = FRAME.with_columns(pl.when(ROW < 3).then(pl.lit("AB12")).otherwise("code").alias("code"))
    report = check(frame, schema(code={"pattern": "[A-Z]{2}[0-9]"}))
    assert found(report) == [("pattern", "code", "fail", 3)]
    assert report.findings[0].examples[0] == {"row": 0, "value": "AB12"}
    with pytest.raises(ConfigError, match="cannot be used"):
        check(FRAME, schema(code={"pattern": "(?=A)A.*"}))  # Python has look-ahead, polars does not


def test_outside_the_usual_range_is_a_warning_and_no_bad_row() -> None:
    frame = FRAME.with_columns(pl.when(ROW == 7).then(99.0).otherwise("temp").alias("temp"))
    contract = schema(temp={"expected": (10.0, 40.0), "max": 200.0})
    report = check(frame, contract)
    assert report.ok
    assert found(report) == [("expected", "temp", "warn", 1)]


def test_values_are_looked_up_in_another_table(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("iata\nVIE\nGRZ\n")
    report = check(FRAME, schema(place={"references": "places.csv#iata"}), base=tmp_path)
    assert found(report) == [("references", "place", "fail", ROWS // 3)]
    assert "places.csv#iata" in report.findings[0].message
    some = schema(place={"references": "places.csv#iata", "unseen": 0.5})
    assert check(FRAME, some, base=tmp_path).findings == ()
    with pytest.raises(ConfigError, match='no column "iat"'):
        check(FRAME, schema(place={"references": "places.csv#iat"}), base=tmp_path)
    with pytest.raises(ConfigError, match="cannot be looked up"):
        check(FRAME, schema(place={"references": "gone.csv#iata"}), base=tmp_path)


def test_a_constant_that_varies_and_a_feature_that_does_not() -> None:
    frame = FRAME.with_columns(
        pl.when(ROW == 0).then(pl.lit("F")).otherwise(pl.lit("C")).alias("unit"), pl.lit(3.5).alias("temp")
    )
    assert found(check(frame, schema())) == [("constant", "unit", "fail", ROWS), ("constant", "temp", "warn", ROWS)]
    # Few rows of one value are no news.
    assert check(frame.tail(50), schema()).findings == ()


def test_several_columns_are_a_key_together() -> None:
    frame = pl.concat([FRAME, FRAME.tail(2)])
    contract = schema(keys=(Key(columns=("at", "code")),))
    report = check(frame, contract)
    assert found(report) == [("key", None, "fail", 2)]
    assert [one["row"] for one in report.findings[0].examples] == [ROWS, ROWS + 1]
    assert "at and code together repeat" in report.findings[0].message
    missing = frame.with_columns(pl.when(ROW < ROWS).then("code").alias("code"))
    nullable = schema(keys=(Key(columns=("at", "code")),), code={"nulls": 1.0})
    assert check(missing, nullable).findings == ()


def test_an_old_newest_event_and_days_with_too_few_rows() -> None:
    table = Table(freshness="36h", rows_per_day=(20, 30), severity="warn")
    thin = FRAME.filter((pl.col("at").dt.date() != (START + timedelta(days=9)).date()) | (pl.col("at").dt.hour() < 5))
    report = check(thin, schema(table=table), now=START + timedelta(days=40))
    assert found(report) == [("freshness", "at", "warn", 0), ("rows_per_day", "at", "warn", 0)]
    assert "12 days old" in report.findings[0].message
    assert "1 of 26 whole days is outside 20 to 30 rows: 2026-03-11 with 5" in report.findings[1].message
    # A day without any row is a day too, and so is one in another zone.
    gone = FRAME.filter(pl.col("at").dt.date() != (START + timedelta(days=9)).date())
    assert "2026-03-11 with 0" in check(gone, schema(table=table)).findings[0].message
    assert [one.check for one in check(gone, schema(table=table), zone="Asia/Tokyo").findings] == ["rows_per_day"]


def test_rows_per_day_against_the_same_weekday_of_another_table() -> None:
    weekend = FRAME.filter((pl.col("at").dt.weekday() < 6) | (pl.col("at").dt.hour() < 4))
    contract = schema(table=Table(volume=0.3))
    reference = check(weekend, contract).profile
    assert check(weekend, contract, reference=reference).findings == ()
    half = weekend.filter(
        (pl.col("at").dt.date() != (START + timedelta(days=16)).date()) | (pl.col("at").dt.hour() < 12)
    )
    report = check(half, contract, reference=reference)
    assert found(report) == [("volume", "at", "fail", 0)]
    assert "2026-03-18 with 12" in report.findings[0].message


def test_times_that_go_backwards_are_counted_across_batches() -> None:
    long = pl.concat([FRAME] * 200).with_columns(at=START + pl.duration(seconds=ROW))
    assert long.height > tables.BATCH
    contract = schema(table=Table(ordered=True))
    assert check(long, contract).findings == ()
    # One row too early, at the very start of the second batch.
    late = long.with_columns(pl.when(ROW == tables.BATCH).then(pl.lit(START)).otherwise("at").alias("at"))
    report = check(late, contract)
    assert found(report) == [("order", "at", "fail", 1)]
    assert report.findings[0].examples[0]["row"] == tables.BATCH


def test_whom_to_call_is_said() -> None:
    frame = FRAME.with_columns(pl.when(ROW == 7).then(None).otherwise("temp").alias("temp"))
    report = check(frame, schema(temp={"owner": "weather@example.com", "source": "feed 7"}))
    assert report.findings[0].fix.endswith("; ask weather@example.com, it comes from feed 7")


# --- rules ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    ["temp > AVG(temp)", "COUNT(*) > 3", "temp = MAX(temp)", "ABS(temp - AVG(temp)) < 5000", "temp < 100 + SUM(temp)"],
)
def test_a_rule_in_sql_is_about_one_row(sql: str) -> None:
    contract = schema()
    wrong = Schema(name="m", time="at", key="code", columns=contract.columns, rules=(Rule(name="r", sql=sql),))
    with pytest.raises(ConfigError, match="about one row"):
        check(FRAME, wrong)


@mw.rule(columns=["temp", "place"], share=0.001)
def warm_in_vienna(table: pl.DataFrame) -> pl.Series:
    return (table["temp"] > 10) | (table["place"] != "VIE")


def test_own_functions_are_rules() -> None:
    assert check(FRAME, schema(), rules=[warm_in_vienna]).findings == ()
    cold = FRAME.with_columns(pl.when(ROW < 9).then(-5.0).otherwise("temp").alias("temp"))
    report = check(cold, schema(), rules=[warm_in_vienna])
    assert found(report) == [("rule", None, "fail", 3)]
    assert report.findings[0].examples[0] == {"row": 0, "value": -5.0, "shows": {"place": "VIE"}}
    assert "test_rules.py:" in report.findings[0].message
    missing = cold.with_columns(pl.lit(None, dtype=pl.Float64).alias("temp"))
    nullable = schema(temp={"nulls": 1.0})
    assert check(missing, nullable, rules=[warm_in_vienna]).findings == ()  # null counts as met


def test_an_expression_is_an_answer_too() -> None:
    as_expression = mw.rule(columns=["temp"], severity="warn")(lambda table: pl.col("temp") < 30)
    assert found(check(FRAME, schema(), rules=[as_expression])) == [
        ("rule", None, "warn", FRAME.filter(pl.col("temp") >= 30).height)
    ]


def test_a_rule_that_cannot_be_judged_says_where_and_does_not_pass() -> None:
    def raises(table: pl.DataFrame) -> pl.Series:
        return table["temp"] / table["gone"] > 1

    def short(table: pl.DataFrame) -> bool:
        return True

    for function, said in ((raises, "ColumnNotFoundError"), (short, "gives bool, not a Boolean for each of 672 rows")):
        report = check(FRAME, schema(), rules=[mw.rule(columns=["temp"])(function)])
        assert not report.ok
        assert [one.status for one in report.findings] == ["unknown"]
        assert said in report.findings[0].message
        assert "test_rules.py:" in report.findings[0].message
    report = check(FRAME.drop("temp"), schema(), rules=[warm_in_vienna])
    assert "a column it reads is not there: temp" in report.findings[-1].message


def test_wrong_rules_are_refused_when_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no severity"):
        mw.rule(columns=["a"], severity="bad")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="names the columns"):
        mw.rule(columns="temp")
    with pytest.raises(UsageError, match="no share"):
        mw.rule(columns=["a"], share=2)
    with pytest.raises(ConfigError, match="there is no file"):
        checks.load(tmp_path / "rules.py")
    (tmp_path / "rules.py").write_text("import middlewatch as mw\n\nx = 1 / 0\n")
    with pytest.raises(ConfigError) as error:
        checks.load(tmp_path / "rules.py")
    assert "rules.py:3" in str(error.value)
    (tmp_path / "rules.py").write_text(
        "import middlewatch as mw\n\n\n@mw.rule(columns=['temp'])\ndef hot(table):\n    return table['temp'] > 0\n"
    )
    (rule,) = checks.load(tmp_path / "rules.py")
    assert (rule.name, rule.where) == ("hot", "rules.py:4")


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('[table]\nfreshness = "soon"', "no length of time"),
        ("[table]\nrows_per_day = [5]", "no pair"),
        ("[table]\nrows_per_day = [9, 5]", "does not rise"),
        ("[table]\nrow_per_day = [5, 9]", 'did you mean "rows_per_day"'),
        ("[table]\nordered = 1", "neither true nor false"),
        ('[[keys]]\ncolumns = ["at", "cod"]', 'did you mean "code"'),
        ("[[keys]]\ncolumns = []", "a key needs columns"),
        ("[columns.temp]\nkind = 'number'\nexpected = 3", "no pair"),
        ("[columns.temp]\nkind = 'number'\npattern = 'a'", "no pattern"),
        ("[columns.x]\nkind = 'text'\nrole = 'ignored'\npattern = '('", "no regular expression"),
        ("[columns.x]\nkind = 'text'\nrole = 'ignored'\nreferences = 'a.csv'", "names no column"),
    ],
)
def test_wrong_keys_name_the_line(line: str, said: str) -> None:
    text = (
        '[model]\nname = "m"\ntask = "regression"\ntime = "at"\n'
        '[columns.at]\nkind = "time"\n[columns.code]\nkind = "text"\nrole = "ignored"\n'
    )
    with pytest.raises(ConfigError) as error:
        Schema.parse(text + line, where="m.schema.toml")
    assert said in str(error.value)
    assert "m.schema.toml:" in str(error.value)


LIMITS = st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=50, deadline=None)
@given(
    expected=st.none() | LIMITS,
    pattern=st.sampled_from(["", "[A-Z]{2}[0-9]", r"\d+", 'a"b\\\\']),
    references=st.sampled_from(["", "a.csv#b", "s3://x/y.parquet#c d"]),
    table=st.builds(
        Table,
        freshness=st.sampled_from(["", "36h", "1d 12h"]),
        rows_per_day=st.none() | st.tuples(st.integers(0, 5), st.integers(5, 10**9)),
        volume=st.none() | st.floats(0, 1),
        ordered=st.booleans(),
        severity=st.sampled_from(["fail", "warn", "note"]),
    ),
    keys=st.lists(
        st.builds(Key, columns=st.just(("at", "code")), severity=st.sampled_from(["fail", "warn"])), max_size=1
    ),
)
def test_a_schema_is_read_as_it_was_written(
    expected: Any, pattern: str, references: str, table: Table, keys: list[Key]
) -> None:
    code = {"pattern": pattern, "references": references}
    made = schema(code=code, temp={"expected": expected}, table=table, keys=tuple(keys))
    assert Schema.parse(made.to_toml(), where="m.schema.toml") == made


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(0, 99), max_size=20),
    st.sampled_from(["null", "range", "pattern", "references", "repeat", "order", "rule"]),
)
def test_what_is_planted_is_found_in_its_rows(rows: set[int], fault: str) -> None:
    """Each kind of fault, in any rows: the right test counts them, and no other fails."""
    frame = FRAME.head(100)
    hit = ROW.is_in(sorted(rows))
    unlike = {
        "null": pl.when(~hit).then("temp").alias("temp"),
        "range": pl.when(hit).then(900.0).otherwise("temp").alias("temp"),
        "pattern": pl.when(hit).then(pl.lit("ab0")).otherwise("code").alias("code"),
        "references": pl.when(hit).then(pl.lit("XXX")).otherwise("place").alias("place"),
        "repeat": pl.col("at"),
        "order": pl.when(hit & (ROW > 0))
        .then(START - timedelta(days=1) + pl.duration(minutes=ROW))
        .otherwise("at")
        .alias("at"),
        "rule": pl.when(hit).then(-1.0).otherwise("temp").alias("temp"),
    }
    planted = frame.with_columns(unlike[fault])
    if fault == "repeat":
        planted = pl.concat([planted, planted.filter(hit)])
    contract = schema(
        code={"pattern": "[A-Z]{2}[0-9]"},
        place={"categories": ("VIE", "GRZ", "LNZ")},
        temp={"min": -10.0, "max": 100.0},
        table=Table(ordered=fault == "order"),
        keys=(Key(columns=("at", "code")),),
    )
    positive = mw.rule(columns=["temp"])(lambda table: table["temp"] > 0)
    report = check(planted, contract, rules=[positive])
    names = {"null": "nulls", "references": "categories", "repeat": "key"}
    said = {one.check: one.rows_failed for one in report.findings if one.check != "constant"}
    expected = {names.get(fault, fault): len(rows)} if rows else {}
    if fault == "order":
        later = [row for row in rows if row > 0]
        # A run of early rows goes backwards once: at its first.
        falls = sum(1 for row in later if row - 1 not in later)
        expected = {"order": falls} if falls else {}
    assert said == expected


def test_a_test_that_cannot_be_made_does_not_pass_in_silence() -> None:
    hours = pl.DataFrame({"at": pl.datetime_range(START, START + timedelta(hours=11_999), "1h", eager=True)})
    long = hours.with_columns(pl.lit(20.0).alias("temp") + pl.int_range(pl.len()) % 3)
    contract = Schema(
        name="m",
        time="at",
        columns=(Column(name="at", kind="time", role="time"), Column(name="temp", kind="number")),
        table=Table(rows_per_day=(1, 2)),
    )
    report = check(long, contract)
    assert [(one.check, one.severity, one.status) for one in report.findings] == [("rows_per_day", "fail", "unknown")]
    # Days and constants need a profile, so that tests alone make one.
    old = schema(table=Table(freshness="1h"))
    for profile in (True, False):
        stale = check(FRAME, old, now=START + timedelta(days=99), profile=profile)
        assert [one.check for one in stale.findings] == ["freshness"]


def test_what_is_declared_of_an_ignored_column_is_tested() -> None:
    columns = (
        Column(name="code", kind="text", role="ignored", pattern="[A-Z]{2}"),
        Column(name="unit", kind="category", role="ignored", constant=True),
    )
    frame = FRAME.select("code", unit=pl.col("place"))
    report = check(frame, Schema(name="m", columns=columns))
    assert found(report) == [("pattern", "code", "fail", ROWS), ("constant", "unit", "fail", ROWS)]


def test_what_is_no_rule_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no rule"):
        check(FRAME, schema(), rules=[lambda table: table["temp"] > 0])
    (tmp_path / "rules.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(ConfigError, match="cannot be run"):
        checks.load(tmp_path / "rules.py")


def test_order_and_nulls_of_the_same_rows_are_told_together() -> None:
    """The second look at the rows begins anew: what the first ended with is no row before."""
    hit = (ROW % 50 == 9) & (ROW > 0)
    frame = FRAME.with_columns(
        pl.when(hit).then(pl.lit(START - timedelta(days=1))).otherwise("at").alias("at"),
        pl.when(~hit).then("temp").alias("temp"),
    )
    report = check(frame, schema(table=Table(ordered=True)))
    assert set(report.together[0][0]) == {"order:at", "nulls:temp"}

"""`middlewatch check` as people and scripts use it: exit codes, good and bad rows apart, pages, annotations, edits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import middlewatch as mw
from middlewatch import checks, library, tables
from middlewatch.errors import TableError, UsageError
from middlewatch.inspection import Inspection
from middlewatch.schema import Column, Key, Schema
from test_cli import Run, run  # noqa: F401  # the fixture

ROWS = 1_000
ROW = pl.int_range(pl.len())
CLEAN = pl.DataFrame(
    {
        "id": [f"k{row}" for row in range(ROWS)],
        "temp": [15.0 + row % 20 for row in range(ROWS)],
        "humid": [40.0 + row % 31 for row in range(ROWS)],
        "place": [["VIE", "GRZ"][row % 2] for row in range(ROWS)],
        "late": [row % 3 == 0 for row in range(ROWS)],
    }
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    CLEAN.write_parquet(tmp_path / "clean.parquet")
    library.init(str(tmp_path / "clean.parquet"), target="late", key="id", folder=tmp_path)
    return tmp_path


def broken(folder: Path) -> Path:
    """A CSV with a new place, nulls in two columns of the same rows, and one value out of range."""
    hit = ROW % 100 == 7
    CLEAN.with_columns(
        pl.when(ROW < 30).then(pl.lit("LNZ")).otherwise("place").alias("place"),
        pl.when(~hit).then("temp").alias("temp"),
        pl.when(ROW == 50).then(4000.0).when(~hit).then("humid").alias("humid"),
    ).write_csv(folder / "new.csv")
    return folder / "new.csv"


def test_a_bad_table_is_exit_1_with_the_answer_first(run: Run, project: Path) -> None:  # noqa: F811
    said = run("check", str(broken(project)), "--project", str(project))
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0].startswith("FAIL ")
    assert "1,000 rows, 4 failed" in lines[0]
    # Two columns that miss the same rows are one line.
    assert any(line.startswith("FAIL temp, humid are missing together in 10 of 1,000 rows") for line in lines)
    assert sum("is missing in" in line for line in lines) == 0
    # A line number, as an editor counts.
    assert any("line 52: 4000.0" in line for line in lines)
    assert lines[-1].startswith("Next:   middlewatch check ")
    facts = json.loads(run("check", str(project / "new.csv"), "--project", str(project), "--json").out)
    assert {"ok", "rows", "seconds", "findings", "columns", "together"} <= set(facts)
    assert facts["together"] == [{"tests": ["nulls:temp", "nulls:humid"], "rows": 10}]
    wrong = next(one for one in facts["findings"] if one["check"] == "range")
    assert wrong["examples"] == [{"row": 50, "value": 4000.0}]


def test_without_a_table_the_models_own_source_is_checked(run: Run, project: Path) -> None:  # noqa: F811
    said = run("check", "--project", str(project))
    assert said.code == 0
    assert said.out.startswith("ok   clean.parquet: 1,000 rows, 0 failed")


def test_accepting_edits_the_file_and_judges_again(run: Run, project: Path) -> None:  # noqa: F811
    path = project / "late.schema.toml"
    path.write_text("# ours\n" + path.read_text())
    new = str(broken(project))
    said = run("check", new, "--project", str(project), "--accept", "categories:place")
    assert said.code == 1
    assert "edited late.schema.toml:" in said.out
    assert '[columns.place] categories = ["GRZ", "VIE", "LNZ"]' in said.out
    everything = run("check", new, "--project", str(project), "--accept", "all", "--json")
    assert everything.code == 0
    assert json.loads(everything.out)["accepted"]
    assert path.read_text().startswith("# ours\n")
    nothing = run("check", new, "--project", str(project), "--accept", "all")
    assert nothing.code == 2
    assert "nothing to accept" in nothing.err


def test_good_and_bad_rows_are_written_apart(run: Run, project: Path) -> None:  # noqa: F811
    new, out = broken(project), project / "apart"
    said = run("check", str(new), "--project", str(project), "--quarantine", str(out), "--json")
    facts = json.loads(said.out)["quarantine"]
    bad = pl.read_parquet(out / "bad-0001.parquet")
    good = pl.read_parquet(out / "good-0001.parquet")
    assert (facts["good"], facts["bad"]) == (good.height, bad.height)
    assert good.height + bad.height == ROWS
    assert bad.filter(pl.col("mw.row") == 50)["mw.reasons"].to_list() == [["range: humid"]]
    again = run("check", str(new), "--project", str(project), "--quarantine", str(out))
    assert again.code == 2
    assert "is not empty" in again.err
    assert [one.name for one in project.iterdir() if one.name.startswith(".apart")] == []


def test_a_workflow_gets_annotations(run: Run, project: Path) -> None:  # noqa: F811
    said = run("check", str(broken(project)), "--project", str(project), "--format", "github")
    assert said.code == 1
    first = said.out.splitlines()[0]
    assert first.startswith("::error file=")
    assert ",title=" in first
    assert "%25)" in first  # a per cent sign is escaped
    assert all(line.startswith("::") for line in said.out.splitlines())
    wrong = run("check", str(broken(project)), "--project", str(project), "--format", "gitlab")
    assert wrong.code == 2


def test_a_page_and_a_schema_without_a_project(
    run: Run,  # noqa: F811
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (project / "late.schema.toml").rename(elsewhere / "late.schema.toml")
    (project / "middlewatch.toml").unlink()
    monkeypatch.chdir(elsewhere)
    said = run("check", str(project / "clean.parquet"), "--schema", "late.schema.toml", "--html", "out.html")
    assert said.code == 0
    assert (elsewhere / "out.html").read_text().startswith("<!doctype html>")
    for words, text in (
        (("check",), "no middlewatch.toml"),
        (("check", "gone.csv"), "there is no file gone.csv"),
        (("check", str(project / "clean.parquet"), "--schema", "gone.toml"), "no schema file"),
        (("check", str(project / "clean.parquet"), "--against", "d1"), "no middlewatch.toml"),
    ):
        wrong = run(*words)
        assert wrong.code == 2
        assert text in wrong.err


def test_a_table_without_rows_is_nothing_to_look_at(run: Run, project: Path) -> None:  # noqa: F811
    CLEAN.head(0).write_csv(project / "empty.csv")
    assert run("check", str(project / "empty.csv"), "--project", str(project)).code == 5


def test_against_another_table_says_what_has_shifted(run: Run, project: Path) -> None:  # noqa: F811
    CLEAN.with_columns(pl.col("temp") + 9).write_parquet(project / "warm.parquet")
    said = run(
        "check", str(project / "warm.parquet"), "--project", str(project), "--against", str(project / "clean.parquet")
    )
    assert "temp has shifted from the reference" in said.out


# --- frames in, the same kind out -------------------------------------------------------------------------

CONTRACT = Schema(
    name="m",
    columns=(
        Column(name="id", kind="text", unique=True, role="ignored"),
        Column(name="x", kind="whole", min=0, max=100),
        Column(name="c", kind="category", categories=("a", "b")),
    ),
    keys=(Key(columns=("x", "c")),),
)


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.LazyFrame, pd.DataFrame, pa.table])
def test_rows_come_back_in_the_kind_of_frame_they_came_in(kind: Any) -> None:
    frame = kind({"id": ["1", "2", "3"], "x": [5, 500, 7], "c": ["a", "b", "z"]})
    good, bad = mw.split(frame, CONTRACT)
    assert type(good) is type(frame) is type(bad)
    rows = good.collect() if isinstance(good, pl.LazyFrame) else good
    assert len(rows) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from("abcdef"),
            st.none() | st.integers(-50, 150),
            st.none() | st.sampled_from(["a", "b", "q"]),
        ),
        max_size=50,
    ),
    st.sampled_from([1, 3, 7, 1_000]),
)
def test_every_row_is_in_one_part_whatever_the_batches(rows: list[tuple[Any, ...]], size: int) -> None:
    frame = pl.DataFrame(rows, schema={"id": pl.String, "x": pl.Int64, "c": pl.String}, orient="row")
    raw = tables.from_frame(frame)
    inspection = Inspection(raw=raw, schema=CONTRACT)
    report = inspection.report()
    with pytest.MonkeyPatch.context() as patch:
        # Small batches stand for a table that does not fit into one.
        starts = range(0, len(rows), size)
        patch.setattr(tables, "batches", lambda lazy: (lazy.collect()[at : at + size] for at in starts))
        parts = list(checks.split(raw, inspection.plan(), report.repeated))
    good = pl.concat([one.good for one in parts]) if parts else frame
    bad = pl.concat([one.bad for one in parts]) if parts else frame.clear().with_columns(pl.lit(0).alias("mw.row"))
    at = set(bad["mw.row"].to_list())
    assert good.equals(frame.filter(~ROW.is_in(list(at))))
    assert bad.select(frame.columns).equals(frame.filter(ROW.is_in(list(at))))
    # A row is bad exactly where its own cells, or an earlier row, say so.
    seen: set[Any] = set()
    keys: set[Any] = set()
    expected = set()
    for number, (id, x, c) in enumerate(rows):
        wrong = x is None or c is None or not 0 <= x <= 100 or c not in ("a", "b")
        wrong |= id is not None and id in seen
        wrong |= x is not None and c is not None and (x, c) in keys
        seen.add(id)
        keys.add((x, c))
        if wrong:
            expected.add(number)
    assert at == expected


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    inspection = Inspection(raw=tables.from_frame(CLEAN.select(x="temp")), schema=Schema(name="m"))
    with pytest.raises(UsageError, match="not empty"):
        inspection.quarantine(inspection.report(), tmp_path / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_a_strangers_messy_file_gets_useful_answers(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Decimal commas, -200 and NA as missing, mixed types, a name twice, the header again, spellings, other dates."""
    lines = ["Date;CO (GT) ;NOx;Temp;Station;Station;Count"]
    for row in range(600):
        co = "-200" if row % 13 == 0 else f"{0.5 + row % 40 / 10:.1f}".replace(".", ",")
        nox = "NA" if row % 9 == 0 else str(50 + row % 350)
        temp = "warm" if row % 50 == 7 else f"{5 + row % 19},5"
        place = ["Paris", "paris ", "Lyon"][row % 3]
        lines.append(f"{row % 28 + 1:02d}/03/2004;{co};{nox};{temp};{place};{place[:1]};{row % 9}")
        lines += [lines[0]] if row == 300 else []
    (tmp_path / "messy.csv").write_text("\r\n".join([*lines, "", ""]))
    monkeypatch.chdir(tmp_path)
    said = run("check", "messy.csv", "--json")
    assert said.code == 0
    facts = json.loads(said.out)
    kinds = {name: one["kind"] for name, one in facts["columns"].items()}
    assert kinds["CO (GT)"] == kinds["Temp"] == "number"
    assert (kinds["NOx"], kinds["Count"]) == ("whole", "whole")
    assert facts["columns"]["NOx"]["nulls"] >= 67
    told = " ".join(one["message"] for one in facts["findings"])
    for words in (
        "the header line stands in the data again",
        "the header names Station twice",
        "is -200 a value or a mark for missing?",
        '"warm"',
        "'Paris', 'paris ' differ in case or spaces only",
        "the order of day and month is not guessed",
    ):
        assert words in told, words
    started = run("init", "messy.csv", "--target", "CO (GT)", "--missing", "CO (GT)=-200", "--dir", "p", "--json")
    assert started.code == 0
    doubts = {one["column"] for one in json.loads(started.out)["doubts"]}
    assert {"Temp", "Station", "Date"} <= doubts


def test_a_column_with_a_name_of_ours_is_not_lost() -> None:
    frame = pl.DataFrame({"mw.row": [7, 8], "x": [1, 2]})
    with pytest.raises(TableError, match="reserved name"):
        mw.split(frame, Schema(name="m", columns=(Column(name="x", kind="whole"),)))

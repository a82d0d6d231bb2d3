"""Tables: what comes in, exactly as written, and what is refused in words."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewatch import tables
from middlewatch.errors import MiddlewatchError, OutOfReach, TableError


def write(folder: Path, name: str, text: str | bytes) -> str:
    """A file of `folder`, named as a user would name it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return name


def read(folder: Path, table: str) -> dict[str, list[object]]:
    return tables.scan(table, base=folder).collect().to_dict(as_series=False)


# --- text is kept as written -----------------------------------------------------------------------------


def test_nothing_is_typed_from_a_prefix(tmp_path: Path) -> None:
    lines = "".join(f"{i:05d},{i}\n" for i in range(3000))
    raw = tables.scan(write(tmp_path, "a.csv", f"code,x\n{lines}99999,0.1\n1e5,NA\n"), base=tmp_path)
    frame = raw.collect()
    assert raw.textual
    assert frame.dtypes == [pl.String, pl.String]
    assert frame["code"][7] == "00007"
    assert frame["x"].tail(2).to_list() == ["0.1", "NA"]


def test_an_empty_text_and_a_missing_one_differ(tmp_path: Path) -> None:
    assert read(tmp_path, write(tmp_path, "a.csv", 'a,b\n"",1\n,2\n')) == {"a": ["", None], "b": ["1", "2"]}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separator_and_line_ends_are_sniffed(tmp_path: Path, separator: str, end: str) -> None:
    rows = [["when", "price, net", "note"], ["1", "2,5", 'say "hi"'], ["2", "3,5", "a;b|c"]]
    cells = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows]
    name = write(tmp_path, "a.csv", end.join(separator.join(row) for row in cells) + end)
    assert read(tmp_path, name) == {"when": ["1", "2"], "price, net": ["2,5", "3,5"], "note": ['say "hi"', "a;b|c"]}


def test_decimal_commas_do_not_hide_the_semicolon(tmp_path: Path) -> None:
    assert read(tmp_path, write(tmp_path, "a.csv", "a;b\n1,5;2,5\n3,5;4,5\n")) == {
        "a": ["1,5", "3,5"],
        "b": ["2,5", "4,5"],
    }


def test_one_column_has_no_separator(tmp_path: Path) -> None:
    assert read(tmp_path, write(tmp_path, "a.csv", "name\nUlm\nGraz\n")) == {"name": ["Ulm", "Graz"]}


def test_headers_are_stripped_and_nameless_ones_named_by_place(tmp_path: Path) -> None:
    name = write(tmp_path, "a.csv", "\ufeff, age ,fare\n0,31,7.5\n")
    assert list(read(tmp_path, name)) == ["column_1", "age", "fare"]


def test_quoted_line_ends_and_blank_lines_at_the_end(tmp_path: Path) -> None:
    name = write(tmp_path, "a.csv", 'a,b\n1,"two\nlines"\n\n,\n2,3\n\n\n')
    assert read(tmp_path, name) == {"a": ["1", "2"], "b": ["two\nlines", "3"]}


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=6),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_quoted_text_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [["a", "b", "c"], *rows]]
    found = tables.scan(write(folder, "a.csv", "\n".join(lines) + "\n"), base=folder).collect()
    assert [list(row) for row in found.rows()] == rows


def test_compressed_text(tmp_path: Path) -> None:
    text = "a;b\n01;x\n"
    assert read(tmp_path, write(tmp_path, "a.csv.gz", gzip.compress(text.encode()))) == {"a": ["01"], "b": ["x"]}
    pl.DataFrame({"a": ["01"]}).lazy().sink_csv(tmp_path / "z.csv.zst", compression="zstd")
    assert read(tmp_path, "z.csv.zst") == {"a": ["01"]}


# --- other formats ---------------------------------------------------------------------------------------

FRAME = pl.DataFrame(
    {
        "id": [2**53 + 1, 2, None],
        "x": [1.5, float("nan"), None],
        "at": [datetime(2026, 1, 1, tzinfo=UTC)] * 3,
        "kind": pl.Series(["a", "b", None], dtype=pl.Categorical),
    }
)


def _write_jsonl(frame: pl.DataFrame, path: Path) -> None:
    frame.select("id").write_ndjson(path)


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        ("t.parquet", pl.DataFrame.write_parquet),
        ("t.feather", pl.DataFrame.write_ipc),
        ("t.jsonl", _write_jsonl),
        ("parquet_inside.csv", pl.DataFrame.write_parquet),
    ],
)
def test_typed_formats_are_told_by_their_bytes(
    tmp_path: Path, name: str, writer: Callable[[pl.DataFrame, Path], None]
) -> None:
    writer(FRAME, tmp_path / name)
    raw = tables.scan(name, base=tmp_path)
    frame = raw.collect()
    assert not raw.textual
    assert raw.files == [str(tmp_path / name)]
    assert frame["id"].to_list() == FRAME["id"].to_list()
    if "kind" in frame.columns:
        assert frame["kind"].dtype == pl.String
        assert frame["at"].dtype == pl.Datetime("us", "UTC")


def test_json_lines_take_their_types_from_all_rows(tmp_path: Path) -> None:
    lines = '{"a": 1}\n' * 500 + '{"a": 0.5, "b": "late"}\n'
    frame = tables.scan(write(tmp_path, "a.jsonl", lines), base=tmp_path).collect()
    assert frame["a"][-1] == 0.5
    assert frame["b"].null_count() == 500


# --- folders and globs -----------------------------------------------------------------------------------


def test_a_folder_or_glob_is_one_table(tmp_path: Path) -> None:
    write(tmp_path, "d/2.csv", "a,b\n3,4\n")
    write(tmp_path, "d/1.csv", "a;b\n1;2\n")
    write(tmp_path, "d/deeper/3.csv", "b,a\n6,5\n")
    for name in ("d/.hidden.csv", "d/_SUCCESS", "d/README.md"):
        write(tmp_path, name, "not,a\ntable")
    assert read(tmp_path, "d") == {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}
    assert read(tmp_path, "d/*.csv") == {"a": ["1", "3"], "b": ["2", "4"]}
    assert len(tables.scan("d/**/*.csv", base=tmp_path).files) == 3


def test_parquet_parts_with_other_types_widen_and_hive_folders_are_columns(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "p/1.parquet")
    pl.DataFrame({"b": ["y"], "a": [0.5]}).write_parquet(tmp_path / "p/2.parquet")
    assert read(tmp_path, "p") == {"a": [1.0, 0.5], "b": ["x", "y"]}
    (tmp_path / "h/day=2026-01-01").mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "h/day=2026-01-01/x.parquet")
    assert read(tmp_path, "h") == {"a": [1], "day": ["2026-01-01"]}


def test_what_is_written_in_parts_comes_back(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": range(250)})
    parts = tables.write_parts(frame.lazy(), tmp_path / "out", rows=100)
    assert [pl.read_parquet(part).height for part in parts] == [100, 100, 50]
    assert tables.scan("out", base=tmp_path).collect()["a"].to_list() == list(range(250))
    empty = tables.write_parts(frame.head(0), tmp_path / "none")
    assert [part.name for part in empty] == ["part-0001.parquet"]
    assert pl.read_parquet(empty[0]).schema == frame.schema


def test_batches_are_in_order_and_may_be_left_early(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": range(1000)})
    assert [batch["a"].to_list()[0] for batch in tables.batches(frame.lazy(), 400)] == [0, 400, 800]
    assert next(iter(tables.batches(frame.lazy(), 10))).height == 10


# --- what is refused, and how ----------------------------------------------------------------------------


def refusal(folder: Path, table: str) -> MiddlewatchError:
    with pytest.raises(TableError) as caught:
        tables.scan(table, base=folder).collect()
    return caught.value


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "flights.csv", "a\n1\n")
    assert refusal(tmp_path, "fligths.csv").fix == 'did you mean "flights.csv"?'
    assert "no folder" in refusal(tmp_path, "nowhere/flights.csv").fix
    assert "no file matches" in refusal(tmp_path, "*.tsv").what


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n \n", "is empty"),
        ("a.csv", b"1,2\n3,4\n", "no header line"),
        ("a.csv", "name\nM\u00fcnchen\n".encode("latin-1"), "not UTF-8"),
        ("a.csv", "name\n1\n".encode("utf-16"), "UTF-16"),
        ("a.xlsx", b"PK\x03\x04 and so on", "Excel"),
        ("a.csv", b"<!DOCTYPE html><html>", "web page"),
        ("a.csv", b"a\0b\1c", "binary"),
        ("a.pkl", b"\x80\x05\x95 and so on", "pickle"),
        ("a.json", b'[{"a": 1}]', "one JSON array"),
        ("a.parquet", b"PAR1 torn in the middle", "cannot be read"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "more fields than the header"),
        ("a.csv", b'a,b\n1,"open\n2,3\n', "a quote is opened"),
    ],
)
def test_what_is_not_a_table_is_refused_in_words(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    assert said in str(refusal(tmp_path, write(tmp_path, name, data)))


def test_bad_text_far_down_is_refused_too(tmp_path: Path) -> None:
    data = b"name\n" + b"Ulm\n" * 200_000 + "M\u00fcnchen\n".encode("latin-1")
    assert "iconv" in refusal(tmp_path, write(tmp_path, "a.csv", data)).fix
    raw = tables.scan("a.csv", base=tmp_path)
    with pytest.raises(TableError, match="cannot be read"):
        list(tables.batches(raw.frame))


def test_a_database_is_no_table(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("create table t (a)")
    connection.close()
    assert "SQLite" in str(refusal(tmp_path, "a.db"))


def test_a_folder_that_mixes_formats_or_columns_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "d/1.csv", "a,b\n1,2\n")
    write(tmp_path, "d/2.csv", "a,c\n1,2\n")
    told = refusal(tmp_path, "d")
    assert "different columns" in told.what
    assert "2.csv lacks b and has c" in told.where
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "d/3.parquet")
    assert "3.parquet is Parquet" in refusal(tmp_path, "d").where
    (tmp_path / "empty").mkdir()
    assert "holds no table" in refusal(tmp_path, "empty").what


def test_a_bucket_out_of_reach_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "x",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "POLARS_CLOUD_MAX_RETRIES": "0",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OutOfReach, match="cannot be read"):
        tables.scan("s3://nowhere/t.parquet", base=Path())


# --- frames of other libraries ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pandas", "pyarrow", "polars", "lazy", "dict", "rows"])
def test_frames_come_in_from_anywhere(kind: str) -> None:
    plain = {"a": [1, 2], "b": ["x", None]}
    makers: dict[str, Callable[[], object]] = {
        "pandas": lambda: pd.DataFrame(plain),
        "pyarrow": lambda: pa.table(plain),
        "polars": lambda: pl.DataFrame(plain),
        "lazy": lambda: pl.DataFrame(plain).lazy(),
        "dict": lambda: plain,
        "rows": lambda: [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
    }
    raw = tables.from_frame(makers[kind]())
    assert not raw.textual
    assert raw.columns == ["a", "b"]
    assert raw.collect().to_dict(as_series=False) == plain


def test_a_named_pandas_index_is_a_column_and_categories_are_text() -> None:
    frame = pd.DataFrame({"kind": pd.Categorical(["a", "b"])}, index=pd.Index([7, 8], name="id"))
    found = tables.from_frame(frame).collect()
    assert found.to_dict(as_series=False) == {"id": [7, 8], "kind": ["a", "b"]}
    assert found["kind"].dtype == pl.String


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(TableError, match="not a table"):
        tables.from_frame(object())
    with pytest.raises(TableError, match='two columns named "a"'):
        tables.from_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(TableError, match="no columns"):
        tables.from_frame(pl.DataFrame())


def test_a_name_that_the_header_has_twice_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b, a ,a__2\n1,2,3,4\n")
    raw = tables.scan("a.csv", base=tmp_path)
    assert raw.columns == ["a", "b", "a__2", "a__2__2"]
    assert raw.collect().row(0) == ("1", "2", "3", "4")


def test_a_model_of_mlflow_is_told_what_to_type_instead(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is a model of MLflow, and no table") as caught:
        tables.scan("mlflow:models:/delay@champion", base=tmp_path)
    assert "mlflow.lightgbm.load_model" in caught.value.fix

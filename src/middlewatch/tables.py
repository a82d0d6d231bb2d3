"""Tables come in here: a file, a folder or glob of them, a bucket, or a frame of another library.

What is read is never guessed from a prefix. Text files (CSV and its kin) come in as text, every column, and get
their types from the schema: "01" stays "01", and `0.1` after a million whole numbers is a value and not an error.
The format is told by a file's first bytes and not by its name.
"""

from __future__ import annotations

import csv
import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import polars.exceptions as plx
import polars.selectors as cs

from .errors import OutOfReach, Refused, TableError, UsageError, nearest

Format = Literal["csv", "parquet", "ipc", "jsonl"]

BATCH: Final = 131_072
"""Rows of a batch, and of a row group that we write: polars' streaming memory depends on the latter."""

SHOWN: Final = 5
"""Rows at fault that an error names."""

_HEAD: Final = 262_144
_SNIFFED_LINES: Final = 60
_SEPARATORS: Final = ",;\t|"
_SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".psv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "ipc",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_COMPRESSIONS: Final = {".gz", ".zst", ".zstd"}
_NOT_TABLES: Final = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "save it as CSV or Parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as CSV or Parquet"),
    (b"SQLite format 3", "a SQLite database", "export the table to CSV or Parquet"),
    (b"\x89HDF", "an HDF5 file", "save it as Parquet"),
    (b"\x80\x04", "a pickle, which can run code when it is read", "save it as Parquet"),
    (b"\x80\x05", "a pickle, which can run code when it is read", "save it as Parquet"),
    (b"%PDF", "a PDF", "save it as CSV or Parquet"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8: iconv -f utf-16 -t utf-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8: iconv -f utf-16 -t utf-8"),
)
_UTF8: Final = "save it as UTF-8, for example: iconv -f windows-1252 -t utf-8 OLD > NEW"


@dataclass(frozen=True, slots=True)
class Raw:
    """A table as it came: nothing is parsed yet where `textual` (every column is text, exactly as written).

    `frame` is lazy and reads `files` when asked; `source` is what the user called it.
    """

    frame: pl.LazyFrame
    textual: bool
    files: list[str]
    source: str

    @property
    def columns(self) -> list[str]:
        """The column names, in the file's order."""
        with reading(self.source):
            return self.frame.collect_schema().names()

    def collect(self) -> pl.DataFrame:
        """All rows at once. Raises TableError where the file cannot be read to its end."""
        with reading(self.source):
            return self.frame.collect()


@dataclass(frozen=True, slots=True)
class _Text:
    """How a text file is cut into columns."""

    names: tuple[str, ...]
    separator: str
    end_of_line: str
    blank_end: bool


def scan(table: str | Path, *, base: Path) -> Raw:
    """Open a table: a file, folder, glob or URL (`s3://...`); paths are relative to `base`.

    Only headers and footers are read. Raises TableError for what is missing, empty, not a table, mixed or
    ambiguous, OutOfReach for a bucket that does not answer.
    """
    source = str(table)
    if source.startswith("mlflow:"):
        raise TableError(
            f"{source} is a model of MLflow, and no table",
            fix='name a table here; train = "train.py" beside it, whose train(table, target, seed) returns'
            " mlflow.lightgbm.load_model(URI) (or sklearn, xgboost), makes it a version; docs/import.md",
        )
    if "://" in source and not source.startswith("file://"):
        return _scan_remote(source)
    path = base / Path(source.removeprefix("file://")).expanduser()
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = _files_of_folder(path, source)
    elif glob.has_magic(str(path)):
        files = sorted(Path(one) for one in glob.glob(str(path), recursive=True) if Path(one).is_file())
        if not files:
            raise TableError(f"no file matches {source}", where=str(path))
    else:
        raise TableError(f"there is no file {source}", where=str(path), fix=_near(path))
    formats = {file: _format(file) for file in files}
    if len(set(formats.values())) > 1:
        kinds = {kind: file.name for file, kind in reversed(formats.items())}
        raise TableError(
            f"{source} mixes formats",
            where=", ".join(f"{name} is {_called(kind)}" for kind, name in sorted(kinds.items())),
            fix='name one kind of them, for example "data/*.parquet"',
        )
    format = formats[files[0]]
    with reading(source):
        frame = _scan_text(files, source) if format == "csv" else _scan_typed(files, format, source, folder=path)
    return Raw(_plain(frame, source), format == "csv", [str(file) for file in files], source)


def from_frame(table: Any, *, textual: bool = False, source: str = "table in memory") -> Raw:
    """A frame of another library (pandas, pyarrow, polars, anything narwhals or Arrow know) as a table.

    `textual` says that its text columns are still to be parsed. A named pandas index becomes a column. Raises
    TableError for what is not a table and for duplicate column names.
    """
    if isinstance(table, pl.LazyFrame):
        return Raw(_plain(table, source), textual, [], source)
    frame = table if isinstance(table, pl.DataFrame) else _to_polars(table)
    return Raw(_plain(frame.lazy(), source), textual, [], source)


def like(frame: pl.DataFrame, template: Any) -> Any:
    """A frame of the kind that `template` is: pandas, pyarrow, or polars (also for paths and all other kinds).

    Raises TableError where the library that makes it is not installed.
    """
    kind = type(template).__module__.split(".")[0]
    try:
        if kind == "pandas":
            return frame.to_pandas()
        if kind == "pyarrow":
            return frame.to_arrow()
    except ImportError as error:
        raise TableError(f"a {kind} frame cannot be made", why=str(error), fix="pip install pyarrow") from error
    return frame.lazy() if isinstance(template, pl.LazyFrame) else frame


def batches(frame: pl.LazyFrame, size: int = BATCH) -> Iterator[pl.DataFrame]:
    """The rows in order, `size` at a time (the last: what is left), without holding the table.

    Raises TableError where the file cannot be read to its end.
    """
    with reading("the table"):
        yield from frame.collect_batches(chunk_size=size, maintain_order=True)


def write_parts(
    frame: pl.LazyFrame | pl.DataFrame, folder: Path, *, rows: int = 1_000_000, stem: str = "part"
) -> list[Path]:
    """Write a table as `part-0001.parquet`, ... of at most `rows` rows each, and name the files.

    zstd, row groups of 131,072 rows. A table without rows is one file that has its columns.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def write(held: Sequence[pl.DataFrame]) -> None:
        path = folder / f"{stem}-{len(written) + 1:04d}.parquet"
        pl.concat(held).write_parquet(path, compression="zstd", row_group_size=BATCH)
        written.append(path)

    lazy = frame.lazy()
    held: list[pl.DataFrame] = []
    count = 0
    for batch in batches(lazy, min(BATCH, rows)):
        for start in range(0, batch.height, rows):
            piece = batch[start : start + rows]
            if count + piece.height > rows:
                write(held)
                held, count = [], 0
            held.append(piece)
            count += piece.height
    if held or not written:
        write(held or [pl.DataFrame(schema=lazy.collect_schema())])
    return written


def refuse_rows(wrong: pl.Series, cells: pl.Series, column: str, why: str, *, fix: str = "") -> None:
    """Raise Refused where some cells are wrong (nulls of `wrong` are not), naming the first rows, counted from 1."""
    wrong = wrong.fill_null(False)
    count = int(wrong.sum())
    if not count:
        return
    shown = ", ".join(f"row {at + 1}: {str(cells[at])[:40]!r}" for at in wrong.arg_true().head(SHOWN).to_list())
    raise Refused(
        f'"{column}" {why} in {count:,} of {wrong.len():,} rows; nothing was kept',
        where=shown,
        fix=fix or "mend these rows, or leave them out, and import the table again",
    )


WRITERS: Final = {".parquet": "write_parquet", ".csv": "write_csv", ".feather": "write_ipc", ".jsonl": "write_ndjson"}


def check_writable(path: Path) -> None:
    """Raise UsageError where the end of a file's name tells no format that we write."""
    if path.suffix not in WRITERS:
        raise UsageError(
            f'cannot write "{path.suffix}" files', where=str(path), fix=f"end the name in {', '.join(WRITERS)}"
        )


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write a table in the format that the end of its name tells. Raises UsageError."""
    check_writable(path)
    getattr(frame, WRITERS[path.suffix])(path)


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn what polars says of a file that it cannot read into a TableError."""
    try:
        yield
    except (plx.PolarsError, OSError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split("\n\n")[0].split())[:300]
        if "://" in source:
            raise OutOfReach(
                f"{source} cannot be read", why=why, fix="check the address and the credentials"
            ) from error
        fix = ""
        if "utf-8" in why.lower():
            fix = _UTF8
        elif "more fields" in why:
            fix = "a line has more fields than the header; quote values that hold the separator"
        elif "could not parse" in why or "malformed" in why:
            fix = 'a quote is opened and not closed, or text stands outside it; write quotes inside values as ""'
        raise TableError(f"{source} cannot be read as a table", why=why, fix=fix) from error


# --- finding files ---------------------------------------------------------------------------------------


def _files_of_folder(folder: Path, source: str) -> list[Path]:
    """Files with a table's suffix at any depth; hidden ones and Spark's `_SUCCESS` are not data."""
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and _suffix(file.name)
        and not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)
    )
    if not files:
        raise TableError(
            f"the folder {source} holds no table", where=str(folder), fix=f"known are {', '.join(sorted(_SUFFIXES))}"
        )
    return files


def _suffix(name: str) -> Format | None:
    parts = [part.lower() for part in Path(name).suffixes]
    if parts and parts[-1] in _COMPRESSIONS:
        parts.pop()
    return _SUFFIXES.get(parts[-1]) if parts else None


def _near(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    return nearest(path.name, sorted(one.name for one in folder.iterdir() if not one.name.startswith(".")))


def _format(file: Path) -> Format:
    """What a file is, by its first bytes."""
    with reading(str(file)), file.open("rb") as opened:
        head = opened.read(4096)
    if not head:
        raise TableError(f"{file.name} is empty", where=str(file), why="it has no bytes")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "ipc"
    for magic, what, fix in _NOT_TABLES:
        if head.startswith(magic):
            raise TableError(f"{file.name} is not a table", where=str(file), why=f"it is {what}", fix=fix)
    if head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        return "jsonl" if _suffix(file.name) == "jsonl" else "csv"
    if b"\0" in head:
        raise TableError(f"{file.name} is not a table", where=str(file), why="it holds binary data of no known kind")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text and file.stat().st_size <= len(head):
        raise TableError(f"{file.name} is empty", where=str(file), why="it holds only blank lines")
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"[") and _suffix(file.name) in ("jsonl", None):
        raise TableError(f"{file.name} is one JSON array", where=str(file), fix="write one object a line: jq -c '.[]'")
    if text[:9].lower() in (b"<!doctype", b"<html>") or text[:5].lower() in (b"<?xml", b"<html"):
        raise TableError(
            f"{file.name} is not a table", where=str(file), why="it is a web page or XML", fix="download it again"
        )
    return "csv"


def _called(format: Format) -> str:
    return {"csv": "text", "parquet": "Parquet", "ipc": "Arrow", "jsonl": "JSON lines"}[format]


# --- text ------------------------------------------------------------------------------------------------


def _scan_text(files: Sequence[Path], source: str) -> pl.LazyFrame:
    """CSV and its kin, every column as text; each file's own separator and end of line."""
    cuts = {file: _cut(file.name, str(file), *_head(file)) for file in files}
    _same_columns({file.name: cut.names for file, cut in cuts.items()}, source)
    if len(set(cuts.values())) == 1:
        return _text_frame(files, cuts[files[0]])
    order = cuts[files[0]].names
    return pl.concat([_text_frame([file], cut).select(order) for file, cut in cuts.items()])


def _text_frame(files: Sequence[Path] | Sequence[str], cut: _Text) -> pl.LazyFrame:
    frame = pl.scan_csv(
        [str(file) for file in files],
        separator=cut.separator,
        eol_char=cut.end_of_line,
        infer_schema=False,
        new_columns=list(cut.names),
        glob=False,
    )
    if cut.blank_end and len(cut.names) > 1:
        # Blank lines at the end of a file are no rows; polars reads them as rows that miss everything.
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return frame


def _head(file: Path) -> tuple[str, str, bool]:
    """The first lines of a text file, what ends a line, and whether the file ends in blank lines."""
    with reading(str(file)), file.open("rb") as opened:
        data = opened.read(_HEAD)
        if data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            return _first_lines(str(file)), "\n", False
        opened.seek(max(0, file.stat().st_size - 64))
        tail = opened.read()
    end = "\r" if b"\r" in data and b"\n" not in data else "\n"
    blank_end = re.search(rb"(\r\n\r\n|\n\n|\r\r)\s*\Z", tail) is not None
    if len(data) == _HEAD:
        data = data[: data.rfind(end.encode()) + 1] or data
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # one line longer than the head
            text = data[: error.start].decode("utf-8-sig")
        else:
            raise TableError(
                f"{file.name} is not UTF-8", where=f"{file}, byte {error.start}", why=error.reason, fix=_UTF8
            ) from error
    return text, end, blank_end


def _first_lines(source: str) -> str:
    lines = pl.scan_lines(source).head(_SNIFFED_LINES * 4).collect().to_series()
    return "\n".join(line for line in lines.to_list() if line is not None).removeprefix("\ufeff")


def _cut(name: str, where: str, text: str, end: str, blank_end: bool) -> _Text:
    """Separator and column names from the first lines."""
    separator = _separator(name, text.replace("\r", "\n") if end == "\r" else text)
    reader = csv.reader(StringIO(text.replace("\r", "\n") if end == "\r" else text, newline=""), delimiter=separator)
    try:
        header = next(row for row in reader if row)
    except (StopIteration, csv.Error) as error:
        raise TableError(f"{name} has no header line", where=where, why=str(error)) from error
    names = [one.strip() or f"column_{place}" for place, one in enumerate(header, 1)]
    if all(_NUMBER.fullmatch(one) for one in names):
        raise TableError(
            f"{name} has no header line",
            where=where,
            why=f"its first line holds only numbers: {', '.join(names[:5])}",
            fix="add a first line with the names of the columns",
        )
    return _Text(tuple(_apart(names)), separator, end, blank_end)


_NUMBER: Final = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def _separator(name: str, text: str) -> str:
    """The separator that cuts the header and the lines below it into the same number of fields, at least two."""
    best, best_score = ("\t" if name.lower().endswith((".tsv", ".tsv.gz")) else ","), (0.0, 0)
    for separator in _SEPARATORS:
        widths: list[int] = []
        try:
            for row in csv.reader(StringIO(text, newline=""), delimiter=separator):
                if row:
                    widths.append(len(row))
                if len(widths) == _SNIFFED_LINES:
                    break
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        agree = sum(width == widths[0] for width in widths) / len(widths)
        score = (round(agree, 1), widths[0])
        if score > best_score:
            best, best_score = separator, score
    return best


def _apart(names: Sequence[str]) -> list[str]:
    """Names of which none is there twice: the second `temp` is `temp__2`, loud enough to be met everywhere."""
    found: list[str] = []
    for name in names:
        number, called = 1, name
        while called in found:
            number += 1
            called = f"{name}__{number}"
        found.append(called)
    return found


def _no_duplicates(names: Sequence[str], name: str, where: str) -> None:
    seen: dict[str, int] = {}
    for place, one in enumerate(names, 1):
        if one in seen:
            raise TableError(
                f'{name} has two columns named "{one}"',
                where=f"{where}, columns {seen[one]} and {place}" if where else f"columns {seen[one]} and {place}",
                fix="rename one of them",
            )
        seen[one] = place


def _same_columns(names: dict[str, tuple[str, ...]], source: str) -> None:
    """Refuse files of one table whose columns differ, and say how."""
    (first, wanted), *others = names.items()
    differing: list[str] = []
    for name, columns in others:
        lacks = [one for one in wanted if one not in columns]
        adds = [one for one in columns if one not in wanted]
        words = [f"lacks {', '.join(lacks[:5])}"] if lacks else []
        words += [f"has {', '.join(adds[:5])}"] if adds else []
        if words:
            differing.append(f"{name} {' and '.join(words)}")
    if differing:
        raise TableError(
            f"the files of {source} have different columns",
            where="; ".join(differing[:3]) + f" (compared with {first})",
            why=f"{len(differing)} of {len(names)} files differ from the first",
            fix="name the files that belong together, or add the missing columns",
        )


# --- typed formats and buckets ---------------------------------------------------------------------------


def _scan_typed(files: Sequence[Path], format: Format, source: str, *, folder: Path) -> pl.LazyFrame:
    """Parquet, Arrow and JSON lines: types are the file's own."""
    hive = any("=" in part for file in files for part in file.parts[len(folder.parts) : -1])
    if len(files) == 1 or hive:
        return _typed_frame(files, format, hive=hive)
    frames = {file: _typed_frame([file], format) for file in files}
    schemas = {file: frame.collect_schema() for file, frame in frames.items()}
    _same_columns({file.name: tuple(schema.names()) for file, schema in schemas.items()}, source)
    first = schemas[files[0]]
    if all(list(schema.items()) == list(first.items()) for schema in schemas.values()):
        return _typed_frame(files, format)
    frame = pl.concat([one.select(first.names()) for one in frames.values()], how="vertical_relaxed")
    try:
        frame.collect_schema()
    except plx.PolarsError as error:
        raise TableError(
            f"the files of {source} have different types in a column", why=str(error).split("\n", 1)[0]
        ) from error
    return frame


def _typed_frame(files: Sequence[Path] | Sequence[str], format: Format, *, hive: bool = False) -> pl.LazyFrame:
    names = [str(file) for file in files]
    if format == "parquet":
        return pl.scan_parquet(names, glob=False, hive_partitioning=hive, try_parse_hive_dates=False)
    if format == "ipc":
        return pl.scan_ipc(names, glob=False, hive_partitioning=hive, try_parse_hive_dates=False)
    return pl.scan_ndjson(names, infer_schema_length=None)


def _scan_remote(url: str) -> Raw:
    """A file, folder or glob in a bucket; the format is told by the name, a bare folder holds Parquet."""
    name = url.rstrip("/").rpartition("/")[2]
    format = _suffix(name)
    with reading(url):
        if format == "csv":
            cut = _cut(name, url, _first_lines(url), "\n", False)
            frame = pl.scan_csv(url, separator=cut.separator, infer_schema=False, new_columns=list(cut.names))
        elif format == "ipc":
            frame = pl.scan_ipc(url)
        elif format == "jsonl":
            frame = pl.scan_ndjson(url, infer_schema_length=None)
        else:
            frame = pl.scan_parquet(url)
        return Raw(_plain(frame, url), format == "csv", [url], url)


def _plain(frame: pl.LazyFrame, source: str) -> pl.LazyFrame:
    """Dictionaries become the texts that they stand for; a table without columns is none."""
    with reading(source):
        schema = frame.collect_schema()
    if not schema:
        raise TableError(f"{source} has no columns")
    if any(dtype.base_type() in (pl.Categorical, pl.Enum) for dtype in schema.dtypes()):
        frame = frame.with_columns((cs.categorical() | cs.enum()).cast(pl.String))
    return frame


# --- other libraries -------------------------------------------------------------------------------------


def _to_polars(table: Any) -> pl.DataFrame:
    import narwhals as nw  # only here: most tables are files

    kind = f"{type(table).__module__.split('.')[0]}.{type(table).__name__}"
    columns = getattr(table, "columns", None)
    if kind == "pandas.DataFrame":
        if any(name is not None for name in table.index.names):
            table = table.reset_index()
        columns = [str(name) for name in table.columns]
        _no_duplicates(columns, "the table", "")
        table = table.set_axis(columns, axis=1)
    elif isinstance(columns, Iterable) and all(isinstance(name, str) for name in columns):
        _no_duplicates(list(columns), "the table", "")
    try:
        if isinstance(table, dict | list):
            return pl.DataFrame(table, infer_schema_length=None)
        native = nw.from_native(table, pass_through=True)
        if isinstance(native, nw.LazyFrame):
            native = native.collect("polars")
        if isinstance(native, nw.DataFrame):
            return native.to_polars()
        if hasattr(table, "__arrow_c_stream__"):
            return pl.DataFrame(table)
    except ImportError as error:
        raise TableError(f"a {kind} cannot be read", why=str(error), fix="pip install pyarrow") from error
    except (plx.PolarsError, TypeError, ValueError) as error:
        raise TableError(f"a {kind} cannot be read as a table", why=str(error)[:300]) from error
    raise TableError(f"a {kind} is not a table", fix="pass a polars, pandas or pyarrow table, or a path")

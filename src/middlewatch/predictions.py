"""Predictions as they were served: records into the spool, segments into Parquet, one reader over both.

    <store>/<model>/log/dt=2026-11-22/v7@web1-k3f9ab-000012@2026112201-2026112202.parquet

Filed by received date (UTC); the name says version, segment, and the first and last hour (UTC) of event times
in it, so that a reader opens only what it needs. A file is made from one closed segment and always the same
way: made twice, it is there once, and while both segment and file exist only the file counts. Refused requests
are kept likewise under `refused/`, and what a version in shadow made of the same rows under `shadow/`.

Columns: the user's own under their names, typed, and `mw.*` (see `META`). Files of different versions may hold
different columns.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from . import spool
from .errors import OutOfReach, StoreError, UsageError
from .ids import new_id, new_token
from .records import Record, Refusal
from .requests import Field, decode_values, moment
from .times import zone_of

if TYPE_CHECKING:
    import polars as pl

    from .store import Store

__all__ = [
    "Converted",
    "LogFile",
    "convert",
    "file_rows",
    "files",
    "live",
    "put",
    "read",
    "read_refused",
    "rows_of",
    "scan",
    "write_batch",
]

Stream = Literal["log", "refused", "shadow"]
Beside = Callable[["pl.DataFrame"], "tuple[str, pl.DataFrame] | None"]
"""What a second version makes of logged rows: its name and its rows of the shape of the log; None: nothing."""
By = Literal["time", "received"]

META = (
    "mw.id", "mw.time", "mw.received", "mw.server", "mw.version", "mw.caller", "mw.key",
    "mw.score", "mw.label", "mw.scores", "mw.latency_us", "mw.raw",
)  # fmt: skip
"""Columns of a prediction that are ours: times in UTC, `mw.time` the event's; `mw.raw` the request as received."""

FEATURES = "mw.features"
"""Beside META where the project's own code has `features`: what it made of the row, a JSON object as text."""

REFUSED = (
    "mw.id", "mw.time", "mw.received", "mw.server", "mw.version", "mw.caller",
    "field", "came", "expected", "error", "status", "mw.raw",
)  # fmt: skip
"""Columns of a refused request; `status` is what it was answered: 500 and more where the model failed on it."""

COMPARE = "middlewatch-compare"
"""The caller of requests that `middlewatch compare` sent again: kept like any other, and no traffic."""

FILED = ("batch-", "import-")
"""How `mw.server` begins in rows that no server received: they were filed together, whenever they happened."""
_BATCH_ROWS = 250_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"(?P<version>[^@/]+)@(?P<ident>[^@/]+)@(?P<first>\d{10})-(?P<last>\d{10})\.parquet")


# ------------------------------------------------------------------ files


@dataclass(frozen=True, slots=True)
class LogFile:
    """A Parquet file of the log. Its event times lie in [`first`, `last`), whole hours in UTC."""

    key: str
    day: date
    version: str
    ident: str
    first: datetime
    last: datetime


def files(
    store: Store,
    model: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    by: By = "time",
    stream: Stream = "log",
) -> list[LogFile]:
    """Files that may hold rows of [since, until), sorted by key; each segment once."""
    found: dict[str, LogFile] = {}
    for folder in store.folders(f"{model}/{stream}"):
        try:
            day = date.fromisoformat(folder.removeprefix("dt="))
        except ValueError:
            continue
        if by == "received" and not _overlaps(_midnight(day), _midnight(day) + timedelta(days=1), since, until):
            continue
        for key in store.list(f"{model}/{stream}/{folder}"):
            match = _NAME.fullmatch(key.rpartition("/")[2])
            if match is None:
                continue
            one = LogFile(
                key, day, match["version"], match["ident"], _hour(match["first"]), _hour(match["last"], after=True)
            )
            if by == "received" or _overlaps(one.first, one.last, since, until):
                found.setdefault(one.ident, one)
    return sorted(found.values(), key=lambda one: one.key)


def _overlaps(first: datetime, last: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or last > since or last == _LAST) and (until is None or first < until)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


_LAST = datetime.max.replace(tzinfo=UTC)


def _hour(text: str, *, after: bool = False) -> datetime:
    moment = datetime(int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:]), tzinfo=UTC)
    if not after:
        return moment
    return moment + timedelta(hours=1) if moment < _LAST - timedelta(hours=1) else _LAST


def _stamp(micros: int) -> str:
    moment = _EPOCH + timedelta(microseconds=micros)
    return f"{moment.year:04d}{moment.month:02d}{moment.day:02d}{moment.hour:02d}"


# ------------------------------------------------------------------ segments into Parquet


@dataclass(frozen=True, slots=True)
class Converted:
    """What one run of `convert` did: files written, rows in them, `torn` bytes and `damaged` records left out."""

    files: int = 0
    rows: int = 0
    torn: int = 0
    damaged: int = 0
    problems: tuple[str, ...] = ()


def waiting(folder: Path) -> bool:
    """True where a closed segment, or one of a dead writer, waits to be converted. Cheap: loads no polars."""
    return any(spool.adopt(name) for stream in _STREAMS for name in spool.segments(folder, stream))


def convert(store: Store, folder: Path, model: str, *, beside: Beside | None = None) -> Converted:
    """Bring every closed segment of a spool folder, and those of dead writers, into the store; then remove it.

    What `beside` makes of a segment's predictions is filed under `shadow/`; where it fails that is a problem, and the
    log is filed all the same. Killed anywhere, it is simply run again. Raises OutOfReach where the store does not
    answer: segments stay.
    """
    done, rows, torn, damaged = 0, 0, 0, 0
    problems: list[str] = []
    for stream in _STREAMS:
        for name in spool.segments(folder, stream):
            closed = spool.adopt(name)
            if closed is None:
                continue
            try:
                segment = spool.read_segment(closed)
            except spool.NewerSegment as error:
                problems.append(str(error))
                continue
            except StoreError as error:
                problems.append(f"{error}; the file is kept as .bad")
                _set_aside(closed)
                continue
            if segment is not None and segment.payloads:
                frame = rows_of(segment, closed, stream)
                rows += frame.height
                put(store, model, stream, frame, version=segment.head.version, ident=closed.ident)
                done += 1
                if beside is not None and stream == "log":
                    problems += _put_beside(store, model, frame, beside, closed.ident)
            if segment is not None and segment.torn:
                torn += segment.torn
                problems.append(
                    f"{closed.path.name}: {segment.torn} bytes after the last whole record: nobody was told"
                )
            if segment is not None and segment.damaged:
                damaged += segment.damaged
                problems.append(f"{closed.path.name}: {segment.damaged} records are damaged; the file is kept as .bad")
                _set_aside(closed)
            else:
                closed.path.unlink(missing_ok=True)
    return Converted(done, rows, torn, damaged, tuple(problems))


_STREAMS: tuple[Stream, ...] = ("log", "refused")  # that servers write


def _put_beside(store: Store, model: str, frame: pl.DataFrame, beside: Beside, ident: str) -> list[str]:
    try:
        made = beside(frame)
        if made is not None:
            put(store, model, "shadow", made[1], version=made[0], ident=ident)
    except OutOfReach:
        raise
    except Exception as error:  # noqa: BLE001 - a second version must not keep the log from being filed
        return [f"the shadow does not score {ident}: {error}"]
    return []


def _set_aside(name: spool.Name) -> None:
    """Keep a damaged segment for a person to look at."""
    with suppress(FileNotFoundError):
        name.path.rename(name.path.with_suffix(".bad"))


def put(store: Store, model: str, stream: Stream, frame: pl.DataFrame, *, version: str, ident: str) -> None:
    """Write one file of rows of one received date and version; where it is there already it is the same one."""
    received = frame["mw.received"].min()
    times = frame["mw.time"].drop_nulls()
    assumed = frame["mw.received"] if times.is_empty() else times
    first, last = (_EPOCH + timedelta(microseconds=one) for one in _span(assumed))
    if not isinstance(received, datetime):
        raise StoreError("a log file without rows", where=ident)
    key = f"{model}/{stream}/dt={received.astimezone(UTC).date().isoformat()}/{version}@{ident}"
    name = f"{key}@{_stamp(_micros(first))}-{_stamp(_micros(last))}.parquet"
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=True, row_group_size=_BATCH_ROWS)
    store.put_new(name, buffer.getvalue())


def _span(times: pl.Series) -> tuple[int, int]:
    import polars as pl

    counts = times.cast(pl.Int64)
    low, high = counts.min(), counts.max()
    if not isinstance(low, int) or not isinstance(high, int):
        raise StoreError("a log file without times")
    return low, high


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def rows_of(segment: spool.Segment, name: spool.Name, stream: Stream = "log") -> pl.DataFrame:
    """The rows of a segment, or of a part of one, in the order they were written."""
    return _predictions(segment, name) if stream == "log" else _refusals(segment, name)


_records = msgspec.msgpack.Decoder(Record)
_refused = msgspec.msgpack.Decoder(Refusal)


def _predictions(segment: spool.Segment, name: spool.Name) -> pl.DataFrame:
    import polars as pl

    records = [_records.decode(payload) for payload in segment.payloads]
    fields = [
        Field(name=column, kind="category" if private == "hash" else kind, needed=False, nulls=True)
        for column, kind, private in segment.head.columns
        if private != "drop"
    ]
    values = decode_values(fields, [one.raw for one in records])
    zone = zone_of(segment.head.zone)
    seen = [one.features and one.features.decode() for one in records]
    own = {FEATURES: pl.Series(seen, dtype=pl.String)} if any(seen) else {}
    columns = {field.name: _series(field, column, zone) for field, column in zip(fields, values, strict=True)}
    return pl.DataFrame(
        {
            **columns,
            **_common(segment, name, records),
            "mw.key": pl.Series([one.key for one in records], dtype=pl.String),
            "mw.score": pl.Series([one.score for one in records], dtype=pl.Float64),
            "mw.label": pl.Series([one.label for one in records], dtype=pl.String),
            "mw.scores": pl.Series([one.scores for one in records], dtype=pl.List(pl.Float64)),
            "mw.latency_us": pl.Series([one.latency_us for one in records], dtype=pl.Float64),
            "mw.raw": pl.Series([one.raw for one in records], dtype=pl.Binary),
            **own,
        }
    ).select(*columns, *META, *own)


def _refusals(segment: spool.Segment, name: spool.Name) -> pl.DataFrame:
    import polars as pl

    records = [_refused.decode(payload) for payload in segment.payloads]
    words = {
        word: pl.Series([getattr(one, word) for one in records], dtype=pl.String)
        for word in ("field", "came", "expected", "error")
    }
    raw = pl.Series([one.raw for one in records], dtype=pl.Binary)
    status = pl.Series([one.status for one in records], dtype=pl.Int64)
    return pl.DataFrame({**_common(segment, name, records), **words, "status": status, "mw.raw": raw}).select(REFUSED)


def _common(segment: spool.Segment, name: spool.Name, records: Sequence[Record | Refusal]) -> dict[str, pl.Series]:
    import polars as pl

    moments = pl.Datetime("us", "UTC")
    count = len(records)
    return {
        "mw.id": pl.Series([one.id for one in records], dtype=pl.String),
        "mw.time": pl.Series([one.time for one in records], dtype=pl.Int64).cast(moments),
        "mw.received": pl.Series([one.received for one in records], dtype=pl.Int64).cast(moments),
        "mw.server": pl.Series([name.server] * count, dtype=pl.String),
        "mw.version": pl.Series([segment.head.version] * count, dtype=pl.String),
        "mw.caller": pl.Series([one.caller for one in records], dtype=pl.String),
    }


def _series(field: Field, values: list[Any], zone: Any) -> pl.Series:
    """Values of one column, as JSON gave them, in the kind's own type."""
    import polars as pl

    if field.kind == "time":
        micros = [None if text is None else _moment(text, zone) for text in values]
        return pl.Series(field.name, micros, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    if field.kind == "number":
        return pl.Series(field.name, values, dtype=pl.Float64)
    if field.kind == "whole":
        return pl.Series(field.name, [None if one is None else int(one) for one in values], dtype=pl.Int64)
    if field.kind == "boolean":
        return pl.Series(field.name, [None if one is None else bool(one) for one in values], dtype=pl.Boolean)
    return pl.Series(field.name, values, dtype=pl.String)


def _moment(text: str, zone: Any) -> int | None:
    try:
        return moment(text, zone)
    except ValueError:
        return None


# ------------------------------------------------------------------ the reader


Live = tuple[str, "pl.DataFrame"]
"""Rows of a segment that is not in the store yet, under its ident."""


def live(folder: Path | None, stream: Stream = "log") -> list[Live]:
    """Every segment of a spool folder, decoded: for who scans several times in one run."""
    return list(_live(folder, stream)) if folder is not None else []


def scan(
    store: Store,
    folder: Path | Sequence[Live] | None,
    model: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    by: By = "time",
    columns: Sequence[str] | None = None,
    where: str | None = None,
    stream: Stream = "log",
    compared: bool = False,
) -> pl.LazyFrame:
    """Logged rows with event time (`by="time"`) or received time in [since, until), in no order.

    Requests that `middlewatch compare` sent again are no traffic: only with `compared` are they among them.

    `folder` is the spool of this machine: rows not yet in the store, or what `live` gave of it. `columns` picks some
    (unknown ones are left out), `where` filters: `"mw.score" > 0.5 AND temp < 0`. UsageError where that is faulty.
    """
    import polars as pl

    # Segments first: one that is converted meanwhile is found among the files, and counts there.
    waiting = live(folder, stream) if folder is None or isinstance(folder, Path) else folder
    filed = files(store, model, since=since, until=until, by=by, stream=stream)
    # A live segment of which a file exists was converted a moment ago, or its removal was cut short.
    oldest = _oldest(waiting)
    lately = files(store, model, since=oldest, by="received", stream=stream) if waiting else []
    known = {one.ident for one in lately}
    bound = pl.col(f"mw.{by}")
    parts = [file_rows(store, one) for one in filed]
    parts += [frame.lazy() for ident, frame in waiting if ident not in known]
    if not parts:
        parts = [empty(stream).lazy()]
    frame = pl.concat(parts, how="diagonal_relaxed")
    if since is not None:
        frame = frame.filter(bound >= since)
    if until is not None:
        frame = frame.filter(bound < until)
    if not compared:
        frame = frame.filter(pl.col("mw.caller").ne_missing(COMPARE))
    if where:
        frame = _filtered(frame, where)
    if columns is not None:
        present = set(frame.collect_schema().names())
        frame = frame.select([name for name in columns if name in present])
    return frame


def _oldest(waiting: Sequence[Live]) -> datetime | None:
    """When the oldest of these rows was received: its file lies under that day."""
    found = [oldest for _, frame in waiting if isinstance(oldest := frame["mw.received"].min(), datetime)]
    return min(found, default=None)


def read(
    store: Store,
    folder: Path | None,
    model: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    by: By = "time",
    columns: Sequence[str] | None = None,
    where: str | None = None,
    compared: bool = False,
) -> pl.DataFrame:
    """As `scan`, as a frame sorted by that time and id."""
    wanted = None if columns is None else [*dict.fromkeys([*columns, f"mw.{by}", "mw.id"])]
    found = scan(store, folder, model, since=since, until=until, by=by, columns=wanted, where=where, compared=compared)
    frame = _collected(found.sort(f"mw.{by}", "mw.id"), where)
    return frame if columns is None else frame.select([name for name in columns if name in frame.columns])


def read_refused(
    store: Store, folder: Path | None, model: str, *, since: datetime | None = None, until: datetime | None = None
) -> pl.DataFrame:
    """Refused requests received in [since, until), oldest first; columns `REFUSED`."""
    found = scan(store, folder, model, since=since, until=until, by="received", stream="refused")
    return _collected(found.sort("mw.received", "mw.id"), None)


def empty(stream: Stream = "log") -> pl.DataFrame:
    """A log without rows."""
    import polars as pl

    moments = pl.Datetime("us", "UTC")
    types: dict[str, Any] = {
        "mw.time": moments,
        "mw.received": moments,
        "mw.score": pl.Float64,
        "mw.scores": pl.List(pl.Float64),
        "mw.latency_us": pl.Float64,
        "mw.raw": pl.Binary,
        "status": pl.Int64,
    }
    names = REFUSED if stream == "refused" else META
    return pl.DataFrame(schema={name: types.get(name, pl.String) for name in names})


def _live(folder: Path, stream: Stream) -> Iterator[tuple[str, pl.DataFrame]]:
    for name in spool.segments(folder, stream):
        segment = spool.read_segment(name)
        if segment is not None and segment.payloads:
            yield name.ident, rows_of(segment, name, stream)


def file_rows(store: Store, file: LogFile) -> pl.LazyFrame:
    """The rows of one file, in the order they were written."""
    import polars as pl

    if store.root is not None:
        return pl.scan_parquet(store.root / file.key, glob=False, hive_partitioning=False)
    return pl.read_parquet(io.BytesIO(store.get(file.key)), hive_partitioning=False).lazy()


def _filtered(frame: pl.LazyFrame, where: str) -> pl.LazyFrame:
    import polars as pl

    try:
        filtered = frame.filter(pl.sql_expr(where))
        filtered.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise _faulty(where, error, frame.collect_schema().names()) from error
    return filtered


def _collected(frame: pl.LazyFrame, where: str | None) -> pl.DataFrame:
    import polars as pl

    try:
        return frame.collect()
    except (pl.exceptions.InvalidOperationError, pl.exceptions.SchemaError, pl.exceptions.ComputeError) as error:
        if not where:
            raise StoreError("the log cannot be read", why=str(error).partition("\n")[0]) from error
        raise _faulty(where, error, []) from error
    except OSError as error:
        raise OutOfReach("the log cannot be read", why=str(error)) from error


def _faulty(where: str, error: Exception, names: Sequence[str]) -> UsageError:
    return UsageError(
        f"the filter is not understood: {where}",
        why=str(error).partition("\n")[0],
        fix='polars SQL, such as: temp < 0 AND "mw.score" > 0.5'
        + (f"; columns: {', '.join(list(names)[:30])}" if names else ""),
    )


# ------------------------------------------------------------------ batches


def write_batch(
    store: Store, model: str, frame: pl.DataFrame, *, now: datetime | None = None, token: str | None = None
) -> int:
    """Log rows that were scored together: typed user columns, `mw.score`, `mw.version`, and any other of `META`.

    What is not given: `mw.received` is `now`, `mw.time` received, `mw.caller` "batch", ids are new ones. Returns
    the number of rows. Raises UsageError where score, version or received time are missing or null.
    """
    import polars as pl

    if not frame.height:
        return 0
    if now is not None:
        frame = _with(frame, "mw.received", pl.lit(now, dtype=pl.Datetime("us", "UTC")))
    for name in ("mw.score", "mw.version", "mw.received"):
        if name not in frame.columns or frame[name].null_count():
            raise UsageError(f"rows to log need {name}", fix="score the table first")
    token = token or new_token()
    frame = _with(frame, "mw.time", pl.col("mw.received"))
    frame = _with(frame, "mw.caller", pl.lit("batch"))
    frame = _with(frame, "mw.server", pl.lit(f"batch-{token}"))
    if "mw.id" not in frame.columns:
        moments = frame["mw.received"].cast(pl.Datetime("us", "UTC")).cast(pl.Int64)
        # The counter of an id has 20 bits: rows beyond that take the next microsecond.
        ids = [new_id(micros + (at >> 20), token, at) for at, micros in enumerate(moments)]
        frame = frame.with_columns(pl.Series("mw.id", ids, dtype=pl.String))
    for name, dtype in empty().schema.items():
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=dtype).alias(name))
    user = [name for name in frame.columns if name not in META]
    frame = frame.select(*user, *META).with_columns(pl.col(name).cast(dtype) for name, dtype in empty().schema.items())
    number = 0
    day = pl.col("mw.received").dt.date().alias("mw.day")
    for part in frame.with_columns(day).partition_by("mw.version", "mw.day", maintain_order=True):
        rows = part.drop("mw.day").sort("mw.time")
        for start in range(0, rows.height, _BATCH_ROWS):
            number += 1
            chunk = rows.slice(start, _BATCH_ROWS)
            ident = f"batch-{token}-{number:06d}"
            put(store, model, "log", chunk, version=chunk["mw.version"][0], ident=ident)
    return frame.height


def _with(frame: pl.DataFrame, name: str, value: pl.Expr) -> pl.DataFrame:
    """The frame with nulls of a column, or the whole column, filled."""
    import polars as pl

    return frame.with_columns(
        pl.coalesce(pl.col(name), value).alias(name) if name in frame.columns else value.alias(name)
    )

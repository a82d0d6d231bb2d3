"""Outcomes that came later: what each prediction should have said, joined to it by id or key.

    <store>/<model>/labels/dt=2026-11-22/<name>.parquet      by received date (UTC); create-only, never changed

Columns: `id` (one prediction) or `key` (every prediction of that thing), `value` (the class as text, or a number),
`time` of the outcome where it was given, `received`. A table's object is named by its content, so that importing it
again adds nothing; labels sent to a server go through its spool, as predictions do.

The newest label wins: the latest `time`, or `received` where there is none; then the one received later; then, so
that no order of reading matters, the larger value.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from . import spool
from .errors import OutOfReach, StoreError

if TYPE_CHECKING:
    import polars as pl

    from .store import Store

__all__ = [
    "LONGEST",
    "Joined",
    "Label",
    "convert",
    "empty",
    "files",
    "frame_of",
    "head",
    "join",
    "name_of",
    "newest",
    "put",
    "read",
    "segments",
    "waiting",
]

STREAM = "labels"
LONGEST = 200
"""Characters of an id, a key or a class: more is refused."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Label(msgspec.Struct, array_like=True, gc=False):
    """One outcome in a segment; either `id` or `key`. Times are microseconds since 1970 in UTC."""

    id: str | None
    key: str | None
    value: str | float
    time: int | None
    received: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Label).decode


def frame_of(label: Label) -> bytes:
    """The frame that `Spool.append` takes."""
    return spool.framed(_encode(label))


def head(model: str, server: str, zone: str) -> spool.Head:
    """Of a segment of labels, which belong to no version."""
    return spool.Head(model=model, version="labels", server=server, zone=zone, columns=(), stream=STREAM)


# ------------------------------------------------------------------ files


def files(store: Store, model: str) -> list[str]:
    """Keys of all label objects, sorted."""
    return [key for key in store.list(f"{model}/{STREAM}") if key.endswith(".parquet")]


def name_of(key: str) -> str:
    """An object's own name, wherever it is filed."""
    return key.rpartition("/")[2].removesuffix(".parquet")


def put(store: Store, model: str, name: str, frame: pl.DataFrame, *, day: date) -> bool:
    """Write labels (columns of `empty`) as one object; False where that name is there on that day already."""
    buffer = io.BytesIO()
    frame.select(_NAMES).write_parquet(buffer, compression="zstd", statistics=True)
    return store.put_new(f"{model}/{STREAM}/dt={day.isoformat()}/{name}.parquet", buffer.getvalue())


def segments(folder: Path) -> list[spool.Name]:
    """Label segments of this machine's servers that are not in the store yet."""
    return spool.segments(folder, STREAM)


def waiting(folder: Path) -> bool:
    """True where a closed segment, or one of a dead server, waits to be converted."""
    return any(spool.adopt(name) for name in segments(folder))


def convert(store: Store, folder: Path, model: str) -> list[str]:
    """Bring every closed segment into the store, then remove it; what was wrong with some, in words.

    Killed anywhere, it is simply run again. Raises OutOfReach where the store does not answer: segments stay.
    """
    problems: list[str] = []
    for name in segments(folder):
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
            made = [_decode(payload) for payload in segment.payloads]
            day = (_EPOCH + timedelta(microseconds=made[0].received)).date()
            put(store, model, closed.ident, _frame(made), day=day)
        if segment is not None and segment.damaged:
            problems.append(f"{closed.path.name}: {segment.damaged} labels are damaged; the file is kept as .bad")
            _set_aside(closed)
        else:
            closed.path.unlink(missing_ok=True)
    return problems


def _set_aside(name: spool.Name) -> None:
    with suppress(FileNotFoundError):
        name.path.rename(name.path.with_suffix(".bad"))


# ------------------------------------------------------------------ reading

_NAMES = ("id", "key", "value", "time", "received")


def empty(*, numeric: bool) -> pl.DataFrame:
    """Labels without a row; `value` is a number where `numeric` (regression), else a class as text."""
    import polars as pl

    moments = pl.Datetime("us", "UTC")
    value = pl.Float64 if numeric else pl.String
    types = {"id": pl.String, "key": pl.String, "value": value, "time": moments, "received": moments}
    return pl.DataFrame(schema=types)


def _frame(made: Sequence[Label]) -> pl.DataFrame:
    """Labels of one segment; its values are all of one type, or texts where they are not."""
    import polars as pl

    numeric = all(isinstance(one.value, float | int) for one in made)
    values: list[Any] = [float(one.value) if numeric else str(one.value) for one in made]
    plain = {
        "id": [one.id for one in made],
        "key": [one.key for one in made],
        "value": values,
        "time": pl.Series([one.time for one in made], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
        "received": pl.Series([one.received for one in made], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
    }
    return pl.DataFrame(plain, schema=empty(numeric=numeric).schema)


def read(
    store: Store,
    folder: Path | None,
    model: str,
    *,
    numeric: bool,
    about: pl.DataFrame | None = None,
    without: frozenset[str] = frozenset(),
) -> pl.DataFrame:
    """Labels as they came, in no order: all, or those `about` predictions (columns `mw.id`, `mw.key`).

    `folder` is the spool of this machine: labels not yet in the store. Objects named in `without` are left out. A
    value of the other type (the target's kind was changed) is null where it cannot be turned.
    """
    import polars as pl

    # Segments first: one that is converted meanwhile is then found among the files, and counts there.
    live = [(name.ident, spool.read_segment(name)) for name in segments(folder)] if folder is not None else []
    known = files(store, model)
    stored = {name_of(key) for key in known}
    parts = [_parquet(store, key) for key in known if name_of(key) not in without]
    for ident, segment in live:
        if segment is not None and segment.payloads and ident not in stored:
            parts.append(_frame([_decode(payload) for payload in segment.payloads]).lazy())
    blank = empty(numeric=numeric)
    casts = [pl.col(name).cast(dtype, strict=False) for name, dtype in blank.schema.items()]
    if not parts:
        return blank
    frame = pl.concat([part.select(casts) for part in parts])
    if about is not None:
        ids = about.lazy().select(pl.col("mw.id").alias("id")).drop_nulls().unique()
        keys = about.lazy().select(pl.col("mw.key").alias("key")).drop_nulls().unique()
        frame = pl.concat([frame.join(ids, on="id", how="semi"), frame.join(keys, on="key", how="semi")])
    try:
        return frame.collect()
    except (pl.exceptions.ComputeError, pl.exceptions.SchemaError) as error:
        raise StoreError("the labels cannot be read", why=str(error).partition("\n")[0]) from error
    except OSError as error:
        raise OutOfReach("the labels cannot be read", why=str(error)) from error


def _parquet(store: Store, key: str) -> pl.LazyFrame:
    import polars as pl

    if store.root is not None:
        return pl.scan_parquet(store.root / key, glob=False, hive_partitioning=False)
    return pl.read_parquet(io.BytesIO(store.get(key)), hive_partitioning=False).lazy()


def newest(labels: pl.DataFrame) -> pl.DataFrame:
    """The label that counts of each id and each key; see the module's text for which."""
    import polars as pl

    at = pl.coalesce("time", "received").alias("mw.at")
    ordered = labels.drop_nulls("value").with_columns(at).sort("mw.at", "received", "value")
    return ordered.unique(["id", "key"], keep="last", maintain_order=True).drop("mw.at")


@dataclass(frozen=True, slots=True)
class Joined:
    """`frame` is the predictions in their order with `mw.outcome`, null where none is known.

    Of the labels given: `matched` ids and keys that belong to one of the predictions, `superseded` labels that a
    newer one of the same id or key stands above, `unmatched` ids and keys of no prediction here.
    """

    frame: pl.DataFrame
    matched: int
    superseded: int
    unmatched: int


def join(predictions: pl.DataFrame, labels: pl.DataFrame) -> Joined:
    """Each prediction (`mw.id`, `mw.key`) with its outcome; of one by its id and one by its key, the newer."""
    import polars as pl

    standing = newest(labels)
    at = pl.coalesce("time", "received")
    picked = [pl.col("value"), at.alias("at"), pl.col("received")]
    by_id = standing.filter(pl.col("id").is_not_null()).select(pl.col("id").alias("mw.id"), *picked)
    by_key = standing.filter(pl.col("id").is_null()).select(pl.col("key").alias("mw.key"), *picked)
    refs = predictions.select(pl.col("mw.id").cast(pl.String), pl.col("mw.key").cast(pl.String))
    both = refs.join(by_id, on="mw.id", how="left", maintain_order="left").join(
        by_key, on="mw.key", how="left", suffix="_key", maintain_order="left"
    )
    mine = [pl.col(name) for name in ("at", "received", "value")]
    other = [pl.col(f"{name}_key") for name in ("at", "received", "value")]
    first = mine[0].is_not_null() & (
        other[0].is_null()
        | (mine[0] > other[0])
        | ((mine[0] == other[0]) & ((mine[1] > other[1]) | ((mine[1] == other[1]) & (mine[2] >= other[2]))))
    )
    outcome = both.select(pl.when(first).then(mine[2]).otherwise(other[2]).alias("mw.outcome")).to_series()
    matched = by_id.join(refs, on="mw.id", how="semi").height + by_key.join(refs, on="mw.key", how="semi").height
    return Joined(
        frame=predictions.with_columns(outcome),
        matched=matched,
        superseded=labels.drop_nulls("value").height - standing.height,
        unmatched=standing.height - matched,
    )

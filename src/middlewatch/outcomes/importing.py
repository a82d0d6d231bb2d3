"""A table of outcomes into the store: everything is checked before anything is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from middlewatch import labels, predictions
from middlewatch.cells import booleans, cast, column, is_text
from middlewatch.errors import NothingToDo, TableError, UsageError, nearest
from middlewatch.tables import refuse_rows

if TYPE_CHECKING:
    from middlewatch.project import Project
    from middlewatch.schema import Schema
    from middlewatch.tables import Raw

CHUNK = 250_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a table of outcomes.

    `rows` of the table; `empty` ones have no outcome yet, `duplicates` name an id or key that a later row of the
    table names again. Of the ids or keys that are left `joined` belong to logged predictions, `unmatched` to none.
    `written` labels are new in the store. `share_labelled` is the share of the logged predictions between the first
    and the last one joined that have an outcome now; None where none was joined.
    """

    rows: int
    empty: int
    duplicates: int
    joined: int
    unmatched: int
    written: int
    predictions: int
    share_labelled: float | None

    def to_dict(self) -> dict[str, Any]:
        share = self.share_labelled
        return {
            "rows": self.rows,
            "empty": self.empty,
            "duplicates": self.duplicates,
            "joined": self.joined,
            "unmatched": self.unmatched,
            "written": self.written,
            "predictions": self.predictions,
            "share_labelled": None if share is None else round(share, 6),
        }


def import_labels(
    project: Project,
    name: str,
    raw: Raw,
    *,
    value: str,
    id: str | None = None,
    key: str | None = None,
    time: str | None = None,
    now: datetime,
) -> Imported:
    """Keep a table's outcomes: column `value` for the prediction `id` or every prediction of `key`.

    The same table again changes nothing. Raises UsageError for columns that are not there, Refused for values that
    cannot be outcomes of this model (with rows; nothing is written then), NothingToDo for a table without rows.
    """
    if (id is None) == (key is None):
        raise UsageError(
            "outcomes are joined by id or by key", fix="--key COL (your id of a thing), or --id COL (ours)"
        )
    schema = project.schema(name)
    if not schema.target:
        raise UsageError(f"the schema of {name} has no target", fix=f'target = "COLUMN" in {name}.schema.toml')
    table = raw.collect()
    for one in (value, id, key, time):
        if one is not None and one not in table.columns:
            raise TableError(f'there is no column "{one}"', where=raw.source, fix=nearest(one, table.columns))
    if not table.height:
        raise NothingToDo("the table has no rows", where=raw.source)
    _check_private(schema, key)
    given = _typed(table, schema, value=value, ref=id or key or "", by_key=key is not None, time=time, zone=project)
    known = given.drop_nulls("value")
    single = known.unique(["ref", "time"], keep="last", maintain_order=True)
    made = _write(project, name, single, by_key=key is not None, numeric=schema.task == "regression", now=now)
    joined, logged, labelled = _matched(project, name, single["ref"].unique(), by_key=key is not None, schema=schema)
    return Imported(
        rows=table.height,
        empty=given.height - known.height,
        duplicates=known.height - single["ref"].n_unique(),
        joined=joined,
        unmatched=single["ref"].n_unique() - joined,
        written=made,
        predictions=logged,
        share_labelled=labelled / logged if logged else None,
    )


def _check_private(schema: Schema, key: str | None) -> None:
    known = {one.name: one for one in schema.columns}
    if key is None:
        return
    if schema.key is None:
        raise UsageError(
            f"{schema.name} has no key, so its predictions were logged without one",
            where=f"{schema.name}.schema.toml",
            fix='key = "COLUMN" there, for predictions from now on; --id COL joins by the ids that answers carried',
        )
    held = known.get(schema.key)
    if held is not None and held.private is not None:
        raise UsageError(
            f'the key "{schema.key}" is private ({held.private}) and is not in the log as it was sent',
            fix="--id COL joins by the ids that answers carried",
        )


# ------------------------------------------------------------------ reading the table


def _typed(
    table: pl.DataFrame, schema: Schema, *, value: str, ref: str, by_key: bool, time: str | None, zone: Project
) -> pl.DataFrame:
    """Columns `ref` (text), `value`, `time`, in the table's order. Raises Refused with the rows at fault."""
    kinds = {one.name: one for one in schema.columns}
    target = kinds.get(schema.target)
    kind = target.kind if target is not None else "number" if schema.task == "regression" else "category"
    if kind == "number" and schema.task != "regression":
        kind = "whole"  # classes that are numbers are written without decimals
    missing = target.missing if target is not None else ()
    key_kind = kinds[schema.key].kind if by_key and schema.key in kinds else "category"
    columns = []
    plan = [("value", value, kind, missing), ("ref", ref, key_kind, ()), ("time", time, "time", ())]
    for out, source, wanted, blanks in plan:
        if source is None:
            columns.append(pl.Series(out, [None] * table.height, dtype=pl.Datetime("us", "UTC")))
            continue
        cells = table[source].alias(out)
        if out == "value" and schema.classes == ("0", "1"):
            cells = _zero_or_one(cells)
        decimal = target.decimal if out == "value" and target is not None else "."
        good, bad = cast(out, cells.dtype, wanted, missing=blanks, decimal=decimal, zone=str(zone.zone))
        read = cells.to_frame().select(good, bad.alias("bad"))
        refuse_rows(read["bad"], cells, source, f"is no {_KINDS.get(wanted, wanted)}")
        columns.append(read[out])
    frame = pl.DataFrame(columns)
    texts = frame["ref"].cast(pl.String)
    refuse_rows(texts.is_null() | (texts.str.len_chars() > labels.LONGEST), table[ref], ref, "names no prediction")
    if schema.task == "regression":
        values = frame["value"].cast(pl.Float64)
        refuse_rows(values.is_not_null() & ~values.is_finite(), table[value], value, "is no number")
    else:
        values = _classes(frame["value"].cast(pl.String), table[value], schema.classes)
        wrong = values.is_not_null() & ~values.is_in(list(schema.classes))
        refuse_rows(wrong, table[value], value, f"is no class of {schema.target} ({', '.join(schema.classes[:12])})")
    return frame.select(texts.alias("ref"), values.alias("value"), "time")


def _zero_or_one(cells: pl.Series) -> pl.Series:
    """Yes and no as 1 and 0, for classes of these names; anything else as it is."""
    if not is_text(cells.dtype):
        return cells
    words = cells.to_frame().select(booleans(column(cells.name)).alias(cells.name)).to_series()
    return words.cast(pl.Int64) if words.null_count() == cells.null_count() else cells


def _classes(texts: pl.Series, cells: pl.Series, classes: tuple[str, ...]) -> pl.Series:
    """Classes as text; 1.0 is the class 1 where the target's own kind writes it otherwise."""
    code, _ = cast("code", cells.dtype, "category")
    both = pl.DataFrame([texts.alias("text"), cells.alias("code")]).with_columns(code)
    known = pl.col("text").is_in(list(classes)) | pl.col("text").is_null()
    return both.select(pl.when(known).then("text").otherwise("code")).to_series()


_KINDS = {"number": "number", "whole": "whole number", "boolean": "yes or no", "time": "time"}


# ------------------------------------------------------------------ writing


def _write(project: Project, name: str, rows: pl.DataFrame, *, by_key: bool, numeric: bool, now: datetime) -> int:
    """Write what is new of the rows (`ref`, `value`, `time`); labels written.

    Named by the rows' content, so that the same table is there once however often it comes, in pieces of which a
    kill leaves whole ones: importing again completes them.
    """
    refs = "key" if by_key else "id"
    seen = {labels.name_of(key) for key in labels.files(project.store, name)}
    digest = hashlib.sha256(f"{refs}\n".encode() + rows.write_csv().encode()).hexdigest()[:20]
    written = 0
    for number, start in enumerate(range(0, rows.height, CHUNK), start=1):
        stem = f"table-{digest}-{number:04d}"
        chunk = rows.slice(start, CHUNK)
        if stem in seen:
            continue
        fresh = _fresh(project, name, chunk, refs, numeric)
        if not fresh.height:
            continue
        frame = labels.empty(numeric=numeric)
        made = fresh.select(
            (pl.lit(None, dtype=pl.String) if by_key else pl.col("ref")).alias("id"),
            (pl.col("ref") if by_key else pl.lit(None, dtype=pl.String)).alias("key"),
            "value",
            "time",
            pl.lit(now).cast(frame.schema["received"]).alias("received"),
        )
        labels.put(project.store, name, stem, made, day=now.astimezone(UTC).date())
        written += made.height
    return written


def _fresh(project: Project, name: str, rows: pl.DataFrame, refs: str, numeric: bool) -> pl.DataFrame:
    """Rows that the store does not hold word for word: a full export every day must not be kept every day.

    With a time a label says the same wherever it stands; without one it must be the newest, or it would be
    overruled by what it was meant to correct.
    """
    about = {"mw.id": pl.Series([], dtype=pl.String), "mw.key": pl.Series([], dtype=pl.String)}
    about[f"mw.{refs}"] = rows["ref"]
    blank = pl.Series([None] * rows.height, dtype=pl.String)
    whole = pl.DataFrame({one: series if series.len() else blank for one, series in about.items()})
    held = labels.read(project.store, project.spool(name), name, numeric=numeric, about=whole)
    standing = labels.newest(held).filter(pl.col("time").is_null())
    same = pl.concat([held.filter(pl.col("time").is_not_null()), standing])
    same = same.select(pl.col(refs).alias("ref"), "value", "time").unique()
    return rows.join(same, on=["ref", "value", "time"], how="anti", nulls_equal=True, maintain_order="left")


# ------------------------------------------------------------------ what they belong to


def _matched(project: Project, name: str, refs: pl.Series, *, by_key: bool, schema: Schema) -> tuple[int, int, int]:
    """Of ids or keys those that belong to logged predictions; predictions between the first and last; labelled ones."""
    column = "mw.key" if by_key else "mw.id"
    store, spool = project.store, project.spool(name)
    log = predictions.scan(store, spool, name, columns=["mw.id", "mw.key", "mw.time"])
    wanted = refs.alias(column).to_frame().lazy()
    found = log.join(wanted, on=column, how="semi").collect()
    if not found.height:
        return 0, 0, 0
    first, last = found["mw.time"].min(), found["mw.time"].max()
    whole = log.filter(pl.col("mw.time").is_between(pl.lit(first), pl.lit(last))).collect()
    held = labels.read(store, spool, name, numeric=schema.task == "regression", about=whole)
    outcomes = labels.join(whole, held).frame["mw.outcome"]
    return found[column].n_unique(), whole.height, outcomes.len() - outcomes.null_count()

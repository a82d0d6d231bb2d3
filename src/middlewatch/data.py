"""Data versions: what a model was trained on, kept whole, with its tests, its profile and a hash of its content.

The hash is of canonical values, column by column (type, nulls, values), never of file bytes: the same rows give the
same hash whatever the file format, the row-group size or the number of files. Rows are ordered by event time and
key first, because the order of rows changes the trees that are grown on them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import NotFound, NothingToDo
from .marks import Mark
from .store import Store
from .times import iso
from .versions import Shelf

if TYPE_CHECKING:
    import polars as pl

    from .checks import RowRule
    from .profiles import Profile
    from .schema import Schema
    from .tables import Raw

PART_ROWS = 250_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DataVersion:
    """`version` d7; `ok` where no data test failed; `new` where this call made it."""

    version: str
    manifest: Mapping[str, Any]
    new: bool = False

    @property
    def rows(self) -> int:
        return int(self.manifest["rows"])

    @property
    def ok(self) -> bool:
        return bool(self.manifest["ok"])

    @property
    def sha256(self) -> str:
        return str(self.manifest["sha256"])


def shelf(store: Store, model: str) -> Shelf:
    """Where the data versions of a model stand."""
    return Shelf(store, f"{model}/data", "d")


def snapshot(
    store: Store,
    model: str,
    raw: Raw,
    schema: Schema,
    *,
    zone: tzinfo,
    now: datetime,
    actor: str,
    leave_out: Sequence[Mark] = (),
    rules: Sequence[RowRule] = (),
    base: Path | None = None,
) -> DataVersion:
    """Keep a table as the next data version: type it, drop what is marked bad, test it, store it.

    A table whose content is already the newest version is that version (`new` is False). A table that fails its
    tests is kept all the same, marked as failed: nothing is lost, and training refuses it.
    `rules` are own data tests, `base` is the folder that the schema's other tables are relative to.
    Raises NothingToDo where no row is left.
    """
    from . import checks, tables

    kept, left_out = without(raw.collect(), schema, zone, leave_out)
    if not kept.height:
        raise NothingToDo("no row is left to keep", why="the table is empty, or every row of it is marked bad")
    typed = schema.typed(kept, zone=str(zone)).frame
    order = [name for name in (schema.time, schema.key) if name and name in typed.columns]
    sorting = typed.select(pl_row_order(order)).to_series() if order else None
    if sorting is not None:
        typed, kept = typed[sorting], kept[sorting]
    columns = [_column(typed[name]) for name in typed.columns]
    total = hashlib.sha256("".join(f"{c['name']}:{c['type']}:{c['sha256']}\n" for c in columns).encode()).hexdigest()
    place = shelf(store, model)
    existing = place.names()
    if existing:
        newest = place.manifest(existing[-1])
        if newest["sha256"] == total and newest["schema_sha256"] == _schema_hash(schema):
            return DataVersion(version=existing[-1], manifest=newest)
    tested = tables.from_frame(kept, textual=raw.textual, source=raw.source)
    report = checks.check(tested, schema, zone=str(zone), now=now, rules=rules, base=base)
    version = place.claim({"at": iso(now), "actor": actor})
    files = [
        place.put(version, f"part-{number:04d}.parquet", _parquet(typed[start : start + PART_ROWS]))
        for number, start in enumerate(range(0, typed.height, PART_ROWS))
    ]
    files.append(place.put(version, "profile.bin", report.profile.to_bytes()))
    time = typed[schema.time].drop_nulls() if schema.time in typed.columns else None
    manifest = {
        "model": model,
        "created": iso(now),
        "actor": actor,
        "rows": typed.height,
        "sha256": total,
        "schema_sha256": _schema_hash(schema),
        "columns": columns,
        "sorted_by": order,
        "window": [iso(time.min()), iso(time.max())] if time is not None and len(time) else None,  # type: ignore[arg-type]
        "source": raw.source,
        "parent": existing[-1] if existing else None,
        "left_out": left_out,
        "ok": report.ok,
        "findings": [one.to_dict() for one in report.findings],
        "files": files,
    }
    place.seal(version, manifest)
    return DataVersion(version=version, manifest=place.manifest(version), new=True)


def trusted(store: Store, model: str, learnt_from: Sequence[str], *, but: str = "") -> str | None:
    """The data version that others are held against: the newest that a model learnt from, else that passed its tests.

    `but` is the one that is looked at now. None where there is none whose rows are still kept.
    """
    place = shelf(store, model)
    there = [one for one in place.names() if one != but]
    known = [one for one in there if one in learnt_from]
    passed = [one for one in there if place.manifest(one)["ok"]] if not known else []
    return next((one for one in reversed(known or passed) if has_rows(store, model, one)), None)


def has_rows(store: Store, model: str, version: str) -> bool:
    """Whether the rows of a data version are still kept."""
    place = shelf(store, model)
    first = next((one["name"] for one in place.manifest(version)["files"] if one["name"].startswith("part-")), None)
    return first is not None and store.exists(f"{place.path(version)}/{first}")


def load(store: Store, model: str, version: str) -> DataVersion:
    """A data version by name. Raises NotFound."""
    return DataVersion(version=version, manifest=shelf(store, model).manifest(version))


def frame(store: Store, model: str, version: str) -> pl.DataFrame:
    """All rows of a data version, typed, in their stored order; the bytes are checked against the manifest.

    Raises NotFound where its rows are past their retention.
    """
    import polars as pl

    place = shelf(store, model)
    names = [one["name"] for one in place.manifest(version)["files"] if one["name"].startswith("part-")]
    if names and not store.exists(f"{place.path(version)}/{names[0]}"):
        raise NotFound(
            f"the rows of {version} are not kept any more",
            where=place.path(version),
            why="[store] keep_data newer snapshots were taken since; its manifest and its profile are still there",
            fix="train on a newer version or on a table, and raise [store] keep_data to keep more",
        )
    return pl.concat([pl.read_parquet(io.BytesIO(place.file(version, name))) for name in names])


def check_slice(schema: Schema, where: str) -> None:
    """Raise UsageError where `where` is no filter (polars SQL) over the columns of the model's own table."""
    import polars as pl

    nothing = schema.typed(pl.DataFrame(schema=dict.fromkeys(schema.names, pl.String))).frame.lazy()
    Mark(datetime.min, datetime.max, where).rows(nothing, time=pl.lit(None, pl.Datetime))


def profile(store: Store, model: str, version: str) -> Profile:
    """The stored profile of a data version."""
    from .profiles import Profile

    return Profile.from_bytes(shelf(store, model).file(version, "profile.bin"))


def pl_row_order(columns: Sequence[str]) -> pl.Expr:
    """Row numbers in the order of `columns`; rows that are equal there keep their order."""
    import polars as pl

    return pl.arg_sort_by(columns, nulls_last=True, maintain_order=True)


def without(
    table: pl.DataFrame, schema: Schema, zone: tzinfo, leave_out: Iterable[Mark]
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    """A table, raw or typed, without the rows that are marked bad; and how many each mark took."""
    import polars as pl

    marks = list(leave_out)
    if not marks or schema.time is None:
        return table, []
    typed = schema.typed(table, zone=str(zone)).frame.lazy()
    facts: list[dict[str, Any]] = []
    keep = pl.Series([True]).new_from_index(0, table.height)
    for one in marks:
        hit = typed.select(one.rows(typed, time=pl.col(schema.time))).collect().to_series() & keep
        since, until, where = one.plain
        facts.append({"since": since, "until": until, "where": where or None, "rows": int(hit.sum())})
        keep &= ~hit
    return table.filter(keep), facts


def _column(values: pl.Series) -> dict[str, Any]:
    import polars as pl

    digest = hashlib.sha256(values.is_null().cast(pl.UInt8).to_numpy().tobytes())
    if values.dtype == pl.String:
        filled = values.fill_null("")
        digest.update(filled.str.len_bytes().cast(pl.Int64).to_numpy().tobytes())
        for start in range(0, len(filled), PART_ROWS):
            digest.update("".join(filled[start : start + PART_ROWS].to_list()).encode())
    elif values.dtype == pl.Float64:
        # One key for each value: adding zero turns -0.0 into 0.0, and every NaN becomes the same one.
        canonical = values.fill_null(0.0).fill_nan(float("nan")) + 0.0
        digest.update(canonical.to_numpy().tobytes())
    else:
        digest.update(values.to_physical().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
    low, high = values.min(), values.max()
    return {
        "name": values.name,
        "type": str(values.dtype),
        "sha256": digest.hexdigest(),
        "nulls": values.null_count(),
        "min": _plain(low),
        "max": _plain(high),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return str(value)
    return value[:200] if isinstance(value, str) else value


def _schema_hash(schema: Schema) -> str:
    return hashlib.sha256(schema.to_toml().encode()).hexdigest()


def _parquet(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="zstd", row_group_size=PART_ROWS)
    return buffer.getvalue()

"""What is wrong in a data file, before anything is trained on it: the words and causes of a live incident."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from .. import comparing, data, infer, model, tables
from ..errors import MiddlewatchError, NothingToDo
from ..fingerprints import Cause, thresholds
from ..replay import Replayer, load
from ..schema import Schema
from ..times import iso
from .report import Diagnosis
from .touched import of_table

if TYPE_CHECKING:
    from ..project import Project


def diagnose_table(
    project: Project, name: str, raw: tables.Raw, *, against: str | None = None, touched: bool = False
) -> Diagnosis:
    """A table against a data version (`d7`) or another table; else against the newest data version that a model was
    made from (or that passed its tests), else the model's own source, else the schema alone. Rows that were marked
    bad are no part of what is right.

    `touched` adds the affected rows, with corrected values and scores of the live version, as a frame.
    Raises NotFound, TableError, NothingToDo for a table without rows.
    """
    begun = time.perf_counter()
    schema = project.schema(name)
    what, reference = _reference(project, name, raw, schema, against)
    scorer = scorer_of(project, name)
    return _diagnosis(
        raw,
        reference,
        schema,
        what=what,
        against=against,
        zone=project.zone,
        scorer=scorer,
        touched=touched,
        begun=begun,
    )


def diagnose_alone(raw: tables.Raw, reference: tables.Raw, *, zone: tzinfo, touched: bool = False) -> Diagnosis:
    """A table against another without any project: the reference's own schema is inferred."""
    begun = time.perf_counter()
    schema = _all_of(infer.describe(reference, zone=str(zone)).schema)
    return _diagnosis(
        raw,
        reference.collect(),
        schema,
        what=_called(reference),
        against=reference.source,
        zone=zone,
        scorer=None,
        touched=touched,
        begun=begun,
    )


def _all_of(schema: Schema) -> Schema:
    """A described table as one whose every column counts; the first column of times gives the order."""
    time = next((one.name for one in schema.columns if one.kind == "time"), None)
    columns = tuple(replace(one, role="time" if one.name == time else "feature") for one in schema.columns)
    return replace(schema, time=time, columns=columns)


def scorer_of(project: Project, name: str) -> Replayer | None:
    """The live version, to say what a fault does to its answers; None where there is none that can answer."""
    live = project.journal(name).live()
    if not live or not model.ours(live):
        return None
    try:
        return load(project, name, live)
    except MiddlewatchError:
        return None  # its effect stays unknown; what is wrong in the table does not depend on it


def _reference(
    project: Project, name: str, raw: tables.Raw, schema: Schema, against: str | None
) -> tuple[str, pl.DataFrame | None]:
    """What the table is held against, and its name."""
    marked = project.incidents(name).marks()

    def clean(frame: pl.DataFrame) -> pl.DataFrame:
        return data.without(frame, schema, project.zone, marked)[0]

    if against and against[:1] == "d" and against[1:].isdigit():
        return against, clean(data.frame(project.store, name, against))
    if against:
        other = tables.scan(against, base=Path.cwd())
        return _called(other), clean(other.collect())
    trusted = data.trusted(project.store, name, model.learnt_from(project.store, name))
    if trusted is not None:
        return trusted, clean(data.frame(project.store, name, trusted))
    source = project.settings(name).source
    try:
        own = tables.scan(source, base=project.root) if source else None
    except MiddlewatchError:
        own = None  # a source that is gone: the schema is left
    if own is None or own.files == raw.files:
        return "its schema", None
    return _called(own), clean(own.collect())


def _called(raw: tables.Raw) -> str:
    return Path(raw.source).name or raw.source


def _diagnosis(
    raw: tables.Raw,
    reference: pl.DataFrame | None,
    schema: Schema,
    *,
    what: str,
    against: str | None,
    zone: tzinfo,
    scorer: Replayer | None,
    touched: bool,
    begun: float,
) -> Diagnosis:
    table = raw.collect()
    if not table.height:
        raise NothingToDo("the table has no rows", where=raw.source)
    found = comparing.compare(table, reference, schema, zone=str(zone), scorer=scorer)
    causes = found.causes[:3]
    return Diagnosis(
        found=bool(causes),
        headline=_headline(raw, found, what),
        causes=tuple(_told(one, found) for one in causes),
        harmless=found.harmless,
        ruled_out=tuple(_ruled_out(found, causes, what)),
        not_seen=tuple(_not_seen(found, schema, what)),
        checked={
            "rows": found.rows,
            "same_rows": found.same,
            "fresh_rows": found.fresh,
            "past_days": found.windows,
            "blocks": found.windows,
            "columns": list(found.columns),
            "against": what,
            "version": scorer.version.version if scorer else None,
            "since": found.since,
            "until": found.until,
        },
        next=causes[0].fix if causes else f"middlewatch check {raw.source}",
        reproduce=f"middlewatch why --file {raw.source}" + (f" --against {against}" if against else ""),
        zone=zone,
        seconds=time.perf_counter() - begun,
        touched=_touched(table, reference, schema, causes, scorer, str(zone)) if touched else None,
    )


def _touched(
    table: pl.DataFrame,
    reference: pl.DataFrame | None,
    schema: Schema,
    causes: Sequence[Cause],
    scorer: Replayer | None,
    zone: str,
) -> pl.DataFrame:
    """Every touched row: what was found in a sample is looked for in all rows."""
    wanted = {(one.kind, one.columns) for one in causes}
    sliced = {one.slice[0] for one in causes if one.slice is not None}
    columns = {name for one in causes for name in one.columns} | sliced
    found = comparing.compare(table, reference, schema, zone=zone, only=columns)
    again = [one for one in found.causes if (one.kind, one.columns) in wanted]
    return of_table(found.typed, schema, again, scorer)


def _told(cause: Cause, found: comparing.Compared) -> Cause:
    """A cause with what a table adds: whether it was mended, and whether known rows were changed."""
    said = cause.detail
    last = cause.facts.get("until")
    if isinstance(last, datetime) and found.until is not None and last < found.until:
        said += f", last before {iso(last)[:16]}Z"
    if cause.facts.get("restated"):
        said += ", in rows that the reference has in another form"
    return replace(cause, detail=said)


def _headline(raw: tables.Raw, found: comparing.Compared, what: str) -> str:
    who = f"{_called(raw)} against {what}"
    if found.same == found.rows and not found.causes:
        return f"{who}: all {found.rows:,} rows are the same"
    rows = f"{found.fresh:,} new rows" if found.same else f"{found.rows:,} rows"
    if found.since and found.until:
        rows += f" from {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC"
    if found.causes:
        count = len(found.causes)
        return f"{who}: {count} fault{'s' if count > 1 else ''} in {rows}"
    if not found.enough:
        return f"{who}: facts only, the reference is too short to say what is usual"
    return f"{who}: nothing unusual in {rows} and {len(found.columns)} columns"


def _ruled_out(found: comparing.Compared, causes: Sequence[Cause], what: str) -> list[str]:
    said = []
    if found.same:
        said.append(f"{found.same:,} rows that {what} has too")
    if found.enough and found.fresh:
        blamed = {column for one in causes for column in one.columns}
        rest = [one for one in found.columns if one not in blamed]
        word = "the other " if blamed else ""
        said.append(f"{word}{len(rest)} columns (no fault with a name, against {found.windows} blocks)")
    return said


def _not_seen(found: comparing.Compared, schema: Schema, what: str) -> list[str]:
    said: list[str] = list(found.not_seen)
    if not found.enough:
        needed = thresholds.MIN_PAST * thresholds.MIN_ROWS
        said.insert(0, f"changes of values: {what} has fewer than {needed} rows to learn from")
    if schema.time is None:
        said.append("without a time column rows are taken in the order of the file")
    return said

"""One import from table to log: everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict

import polars as pl

import middlewatch.imports.filing as filing
import middlewatch.imports.reading as reading
import middlewatch.imports.starting as starting
import middlewatch.imports.turned as turned
from middlewatch import config, outcomes, tables
from middlewatch.cells import is_text
from middlewatch.elsewhere import external
from middlewatch.errors import NotFound, NothingToDo, TableError, UsageError, nearest
from middlewatch.initialise import merged, name_from
from middlewatch.model import ours
from middlewatch.project import Project
from middlewatch.times import iso, zone_of

from .answers import Answers, answers

if TYPE_CHECKING:
    from middlewatch.infer import Doubt, Inferred, Settled
    from middlewatch.schema import Schema, Task, Typed

DEFAULT_VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column of a log is what. `score` are (class or "", column); `version` is a column, or the version."""

    time: str
    score: Sequence[tuple[str, str]]
    id: str | None = None
    key: str | None = None
    caller: str | None = None
    version: str | None = None
    label: str | None = None

    def named(self, table: Sequence[str]) -> dict[str, str]:
        """Option to column, of all that are columns. Raises UsageError, TableError for what is not there."""
        found = {f"--score {name}": name for _, name in self.score} | {"--time": self.time}
        found |= {f"--{one}": name for one in ("id", "key", "caller", "label") if (name := getattr(self, one))}
        if not self.score:
            raise UsageError("which column holds the answers?", fix=f"--score COL; {nearest('score', table)}")
        for option, name in found.items():
            if name not in table:
                raise TableError(f'there is no column "{name}" for {option.split()[0]}', fix=nearest(name, table))
        if self.version in table:
            found["--version"] = str(self.version)
        twice = {name for name in found.values() if list(found.values()).count(name) > 1}
        if twice - ({self.id} if self.id == self.key else set()):
            raise UsageError(f"{sorted(twice)[0]} cannot be two things", fix="name a column for one of them only")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLog:
    """What became of a log. Of `rows` in the table `new` were filed, `known` were there, `repeated` are in it twice.

    `first` and `last` are event times; `inputs` the columns watched; `labels` what became of the outcomes in the same
    table, None without; `files` what was written to start the project. `windows` were judged at its end,
    `alarms` of them alarmed, and `incidents` are open then.
    """

    model: str
    folder: Path
    rows: int
    new: int
    known: int
    repeated: int
    first: datetime
    last: datetime
    task: str
    inputs: Mapping[str, str]
    live: str | None
    versions: Sequence[str]
    files: Sequence[str] = ()
    doubts: Sequence[Doubt] = ()
    notes: Sequence[str] = ()
    labels: outcomes.Imported | None = None
    windows: int = 0
    alarms: int = 0
    incidents: Sequence[int] = ()

    def to_dict(self) -> dict[str, Any]:
        share = self.labels.share_labelled if self.labels else None
        return {
            "model": self.model,
            "rows": self.rows,
            "new": self.new,
            "known": self.known,
            "repeated": self.repeated,
            "from": iso(self.first),
            "to": iso(self.last),
            "task": self.task,
            "columns": dict(self.inputs),
            "joined": self.labels.joined if self.labels else 0,
            "unmatched": self.labels.unmatched if self.labels else 0,
            "share_labelled": None if share is None else round(share, 6),
            "live": self.live,
            "versions": list(self.versions),
            "files": list(self.files),
            "doubts": [
                {"column": one.column, "guess": one.guess, "why": one.why, "other": one.other} for one in self.doubts
            ],
            "notes": list(self.notes),
            "windows": self.windows,
            "alarms": self.alarms,
            "incidents": list(self.incidents),
        }


class Asked(TypedDict, total=False):
    """What `import_` takes, by the names of the command's options."""

    time: Required[str]
    score: Required[str | Sequence[str]]
    id: str | None
    key: str | None
    name: str | None
    caller: str | None
    version: str | None
    label: str | None
    target: str | None
    task: str | None
    zone: str | None
    answers: Sequence[str]


def bring(raw: tables.Raw, folder: str | Path | None, asked: Asked, *, now: datetime, actor: str) -> ImportedLog:
    """`import_log` from what a person asked for, into the project in `folder` (default: the nearest upward) or a new
    one there. Raises as `import_log` does.
    """
    for unknown in set(asked) - set(Asked.__annotations__):
        raise UsageError(f'import takes no "{unknown}"', fix=nearest(unknown, Asked.__annotations__))
    for needed in {"time", "score"} - set(asked):
        raise UsageError(f"import needs {needed}=: a column of the table")
    task = asked.get("task")
    if task not in (None, "binary", "multiclass", "regression"):
        raise UsageError(f'there is no task "{task}"', fix="binary, multiclass or regression")
    try:
        held: Project | None = Project.open(folder, search=folder is None)
    except NotFound:
        held = None
    scores = asked["score"]
    columns = Columns(
        time=asked["time"],
        score=[_score(one, raw.columns) for one in ([scores] if isinstance(scores, str) else scores)],
        id=asked.get("id"),
        key=asked.get("key"),
        caller=asked.get("caller"),
        version=asked.get("version"),
        label=asked.get("label"),
    )
    return import_log(
        held,
        held.root if held is not None else Path(folder or ".").resolve(),
        model_of(held, raw.source, asked.get("name")),
        raw,
        columns,
        target=asked.get("target"),
        task=task,  # type: ignore[arg-type]  # checked above
        zone=asked.get("zone"),
        settled=merged({}, asked.get("answers", ())),
        now=now,
        actor=actor,
    )


def _score(given: str, columns: Sequence[str]) -> tuple[str, str]:
    """A score column, with the class before `=`; a column's own name may hold one."""
    klass, equals, name = given.partition("=")
    return ("", given) if given in columns or not equals else (klass, name)


def model_of(project: Project | None, source: str, wanted: str | None) -> str:
    """The model that a log belongs to: the one named, else the only one that is not ours, else one named after it.

    Raises UsageError where several could be meant.
    """
    if wanted is not None:
        config.check_name(wanted)
        return wanted
    known = list(project.config.models) if project is not None else []
    if not known or project is None:
        return name_from(Path(source).stem)
    foreign = [one for one in known if not ours(project.journal(one).live() or "v0")]
    if len(foreign) == 1:
        return foreign[0]
    raise UsageError(
        "whose log is it?",
        why=f"this project has {', '.join(known)}",
        fix=f"--name {known[0]}, or --name NEW for a model that is not here yet",
    )


def import_log(
    project: Project | None,
    folder: Path,
    name: str,
    raw: tables.Raw,
    columns: Columns,
    *,
    target: str | None = None,
    task: Task | None = None,
    zone: str | None = None,
    settled: Settled | None = None,
    now: datetime,
    actor: str,
) -> ImportedLog:
    """File the rows of a table as predictions of `name`; makes the model, and the project in `folder`, where needed.

    The same table again adds nothing, a longer one its new rows. Raises UsageError, TableError for columns that are
    not there or not clear, Refused with rows for cells that cannot be; no row is filed then.
    """
    table = raw.collect()
    named = columns.named(table.columns)
    if not table.height:
        raise NothingToDo("the table has no rows", where=raw.source)
    known = project.schema(name) if project is not None and name in project.config.models else None
    if project is not None and known is not None:
        filing.check_live(project, name)
        _check_known(known, columns, target, task, settled)
    read_in = _zone(project, zone)
    local = zone is None and project is None and reading.names_no_zone(table[columns.time])
    times = reading.moments(table[columns.time], columns.time, zone=read_in, now=now)
    table = table.with_columns(times.alias(columns.time))
    found = answers(table, columns.score, task=known.task if known else task, classes=_classes(known) if known else ())
    versions = _versions(table, columns, named)
    callers = reading.callers(table[columns.caller]) if columns.caller else None
    told = {"name": name, "target": target, "zone": read_in, "settled": settled or {}}
    made = None if known else _described(table, found, raw, columns, named, **told)
    schema = known or made.schema  # type: ignore[union-attr]  # one of the two
    ids = _ids(table, columns, schema, times)
    other = _others(table, schema, named)
    turned.check(project, schema, table.columns, other, raw.source, ids=ids, times=times, callers=callers, now=now)
    typed = schema.typed(table, zone=read_in)
    # All that can be refused without a store has been: from here on files are written.
    files: list[str] = []
    if made is not None:
        files = starting.begin(folder, made, times, zone=read_in, fresh=project is None)
        project = Project.open(folder, search=False)
    assert project is not None, "made above where it was not there"
    rows = filing.observations(typed.frame, schema, found, ids=ids, times=times, versions=versions, callers=callers)
    new, live = _filed(project, name, rows, given=columns.id is not None, now=now, actor=actor)
    return ImportedLog(
        model=name,
        folder=project.root,
        rows=table.height,
        new=new,
        known=rows.height - new,
        repeated=table.height - rows.height,
        first=times.min(),  # type: ignore[arg-type]
        last=times.max(),  # type: ignore[arg-type]
        task=schema.task,
        inputs={one.name: one.kind for one in schema.features},
        live=live,
        versions=sorted(versions.unique().to_list()),
        files=files,
        doubts=made.doubts if made is not None else (),
        notes=[
            *_read_as(columns.time, read_in, local),
            *_notes(table, schema, named, found, known),
            *_unread(table, typed, schema, textual=raw.textual or known is None),
        ],
        labels=_outcomes(project, name, table, columns, ids, raw, now),
    )


def _filed(
    project: Project, name: str, rows: pl.DataFrame, *, given: bool, now: datetime, actor: str
) -> tuple[int, str | None]:
    """Put the rows that are new into the log: how many they were, and the version that is live then."""
    with filing.alone(project):
        fresh = filing.fresh(project, name, rows, given=given)
        live = filing.enter(project, name, fresh, now=now, actor=actor)
        filing.file(project, name, fresh, now=now)
    turned.forget(project, name, rows["mw.time"])
    return fresh.height, live


def _described(
    table: pl.DataFrame, found: Answers, raw: tables.Raw, columns: Columns, named: Mapping[str, str], **told: Any
) -> Inferred:
    """The schema of a model that is not there yet."""
    return starting.describe(
        table,
        found,
        source=raw.source,
        textual=raw.textual,
        own=[one for option, one in named.items() if option not in ("--time", "--key", "--label")],
        time=columns.time,
        key=columns.key,
        label=columns.label,
        **told,
    )


def _outcomes(
    project: Project, name: str, table: pl.DataFrame, columns: Columns, ids: pl.Series, raw: tables.Raw, now: datetime
) -> outcomes.Imported | None:
    """Outcomes that rows have already."""
    if columns.label is None:
        return None
    pairs = pl.DataFrame({"id": ids, columns.label: table[columns.label]})
    labelled = tables.from_frame(pairs, textual=raw.textual, source=raw.source)
    return outcomes.import_labels(project, name, labelled, value=columns.label, id="id", now=now)


def _zone(project: Project | None, wanted: str | None) -> str:
    """The zone of times that name none: the project's, or for a new one what was said, else UTC."""
    if wanted is not None:
        zone_of(wanted)
    if project is None:
        return wanted or "UTC"
    held = project.config.monitor.zone
    if wanted not in (None, held):
        raise UsageError(
            f"this project reads times in {held}", where="[monitor] zone", fix="leave --zone out, or change it there"
        )
    return held


def _read_as(time: str, zone: str, local: bool) -> list[str]:
    """What was assumed of times that name no zone."""
    return [f'times in "{time}" name no zone: read as {zone}; else into a new folder with --zone'] if local else []


def _classes(schema: Schema) -> tuple[str, ...]:
    return schema.classes if schema.task != "regression" else ()


def _check_known(
    schema: Schema, columns: Columns, target: str | None, task: Task | None, settled: Settled | None
) -> None:
    """A model that is there is described by its schema, not by options."""
    file = f"{schema.name}.schema.toml"
    said: dict[str, tuple[str | None, str | None]] = {
        "--target": (target, schema.target),
        "--task": (task, schema.task),
        "--label": (columns.label, schema.target),
    }
    said |= {"--time": (columns.time, schema.time or columns.time), "--key": (columns.key, schema.key)}
    for option, (wanted, held) in said.items():
        if wanted is not None and wanted != held:
            raise UsageError(
                f"{option} {wanted}: {schema.name} has {held or 'none'}",
                where=file,
                fix="change it there, or --name NEW",
            )
    for column, facts in (settled or {}).items():
        held_column = schema.column(column)
        for fact, values in facts.items():
            stands = getattr(held_column, fact)
            if stands != values[-1]:
                raise UsageError(
                    f"--{fact} {column}={values[-1]}: it is {stands or 'not'} there", where=file, fix="change it there"
                )


def _versions(table: pl.DataFrame, columns: Columns, named: Mapping[str, str]) -> pl.Series:
    if "--version" in named:
        return reading.versions(table[named["--version"]], named["--version"])
    one = external(columns.version or DEFAULT_VERSION)
    return pl.Series("version", [one]).new_from_index(0, table.height)


def _ids(table: pl.DataFrame, columns: Columns, schema: Schema, times: pl.Series) -> pl.Series:
    private = {one.name for one in schema.columns if one.private is not None}
    later = (columns.label, schema.target, columns.id)  # outcomes are filled in as time goes on
    told = [one for one in table.columns if one not in private and one not in later]
    content = reading.contents(table, told)
    if columns.id is not None:
        return reading.given_ids(table[columns.id], columns.id, content)
    return reading.own_ids(times, content)


def _others(table: pl.DataFrame, schema: Schema, named: Mapping[str, str]) -> list[str]:
    """Columns that the schema does not know and no option names."""
    return [one for one in table.columns if one not in schema.names and one not in named.values()]


def _unread(table: pl.DataFrame, typed: Typed, schema: Schema, *, textual: bool) -> list[str]:
    """Inputs of which cells are of another kind than the schema's: those that could not be read are missing now."""
    said = []
    for one in schema.features:
        cells, lost = table[one.name], typed.unparsed[one.name]
        count = int(lost.sum())
        if count:
            shown = "" if one.private is not None else f', as "{cells.filter(lost)[0]}"'
            said.append(f"{one.name}: {count:,} of {len(cells):,} cells are no {one.kind}{shown}: filed as missing")
        elif is_text(cells.dtype) and one.kind in ("number", "whole", "boolean") and not textual:
            said.append(f"{one.name} came as text, was {one.kind}: read as such; does the service read it so as well?")
    return said


def _notes(
    table: pl.DataFrame, schema: Schema, named: Mapping[str, str], found: Answers, known: Schema | None
) -> list[str]:
    notes = []
    if not schema.features:
        notes.append("no column is an input: predictions are watched alone, and why has little to look at")
    if not found.sure:
        notes.append("only classes were answered, no probabilities: log loss and calibration say nothing")
    left = _others(table, schema, named)
    if known is not None and left:
        notes.append(f"not in {schema.name}.schema.toml, left out: {', '.join(left[:8])}")
    return notes

"""Starting a project: look at all rows of a table, write what was seen as a schema a person can review."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from . import checks, config, infer, tables
from .errors import UsageError
from .infer import Doubt, Settled
from .pictures import SAMPLE
from .schema import Kind, Private, Schema
from .schema.writing import toml_key

PROJECT_FILE = "middlewatch.toml"
IGNORED = ".middlewatch/\n"
ASKED = 3
"""Questions that a person answers with care; the others stand in the file."""
ANSWERS: dict[str, tuple[str, ...]] = {
    "missing": (),
    "value": (),
    "kind": get_args(Kind),
    "role": ("feature", "ignored"),
    "private": get_args(Private),
}
Ask = Callable[[Doubt], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """`files` written (relative to `folder`), the schema, what it is unsure about, the data's first report."""

    folder: Path
    name: str
    files: Sequence[str]
    schema: Schema
    doubts: Sequence[Doubt]
    report: checks.Report

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "folder": str(self.folder),
            "files": list(self.files),
            "columns": {column.name: {"kind": column.kind, "role": column.role} for column in self.schema.columns},
            "doubts": [
                {
                    "column": one.column,
                    "question": one.question,
                    "guess": one.guess,
                    "why": one.why,
                    "other": one.other,
                }
                for one in self.doubts
            ],
        }


def init(
    table: str,
    *,
    target: str,
    time: str | None,
    key: str | None,
    name: str | None,
    folder: Path,
    task: str | None,
    settled: Settled | None = None,
    ask: Ask | None = None,
) -> Started:
    """Write middlewatch.toml (or add a model to it), `<name>.schema.toml`, plots and .gitignore. Overwrites nothing.

    `settled` are answers given beforehand (see `infer.infer`); `ask` is asked about the three most doubtful guesses
    and says whether each is right. Doubts that nobody settled stand as comments in the schema file.
    """
    settings_path = folder / PROJECT_FILE
    model = name or name_from(target)
    config.check_name(model)
    schema_path = folder / f"{model}.schema.toml"
    known = config.load(folder) if settings_path.exists() else None
    if schema_path.exists() or (known is not None and model in known.models):
        raise UsageError(
            f'a model "{model}" is here already',
            where=str(schema_path if schema_path.exists() else settings_path),
            why="init never overwrites",
            fix="--name ANOTHER adds a second model; edit the schema file to change this one",
        )
    raw = tables.scan(table, base=Path.cwd())
    zone = known.monitor.zone if known else "UTC"

    def inferred_with(settled: Settled) -> infer.Inferred:
        return infer.infer(raw, name=model, target=target, time=time, key=key, task=task, zone=zone, settled=settled)

    inferred = inferred_with(settled or {})
    right: list[Doubt] = []
    if ask is not None:
        answers = [(one, ask(one)) for one in [one for one in inferred.doubts if one.other][:ASKED]]
        right = [one for one, yes in answers if yes]
        wrong = [one.other for one, yes in answers if not yes]
        if wrong:
            inferred = inferred_with(merged(settled or {}, wrong))
    doubts = [one for one in inferred.doubts if one not in right]
    schema = inferred.schema
    report = checks.check(raw, schema, zone=zone, sample=SAMPLE)
    source = _source(table, folder)
    block: dict[str, Any] = {"source": source, "target": schema.target, "task": schema.task}
    block |= {"time": schema.time} if schema.time else {}
    block |= {"key": schema.key} if schema.key else {}
    files = lay_down(folder, schema, doubts, block)
    plots = folder / f"{model}.html"
    if not plots.exists():
        report.save(plots, title=f"{model}: {source}")
        files.append(plots.name)
    return Started(folder=folder, name=model, files=files, schema=schema, doubts=doubts, report=report)


def lay_down(
    folder: Path, schema: Schema, doubts: Sequence[Doubt], block: Mapping[str, Any], **monitor: str | None
) -> list[str]:
    """Write a model's schema and its `[models.NAME]` block, in a new middlewatch.toml or the one that is there.

    Returns the files written. `monitor` are settings of `[monitor]` in a new file: its zone, its window. Raises
    FileExistsError for a schema that is there: nothing is overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings_path, schema_path = folder / PROJECT_FILE, folder / f"{schema.name}.schema.toml"
    # The schema first: a settings file that names a model without one would be a project that cannot be opened.
    _create(schema_path, _with_doubts(schema.to_toml(), doubts))
    if not settings_path.exists():
        _create(settings_path, config.template(schema.name, **block, **monitor))
    else:
        settings_path.write_text(
            config.add_model(settings_path.read_text(encoding="utf-8"), schema.name, **block), encoding="utf-8"
        )
    files = [PROJECT_FILE, schema_path.name]
    if not (folder / ".gitignore").exists():
        _create(folder / ".gitignore", IGNORED)
        files.append(".gitignore")
    return files


def name_from(words: str) -> str:
    """The name of a model after a column or a file."""
    folded = re.sub(r"[^a-z0-9_-]+", "-", words.lower()).strip("-_")[:64]
    return folded if folded[:1].isalpha() else "model"


def merged(settled: Settled, options: Sequence[str]) -> Settled:
    """Answers, and further ones written as options: `--role code=ignored`. Raises UsageError for a wrong one."""
    found: dict[str, dict[str, list[str]]] = {
        column: {key: list(values) for key, values in facts.items()} for column, facts in settled.items()
    }
    for option in options:
        key, _, said = option.removeprefix("--").partition(" ")
        column, equals, value = said.rpartition("=")
        allowed = ANSWERS[key]
        if not equals or not column or (allowed and value not in allowed):
            known = f"one of {', '.join(allowed)}" if allowed else "VALUE"
            raise UsageError(f"--{key} {said} says nothing", fix=f"--{key} COLUMN={known}")
        found.setdefault(column, {}).setdefault(key, []).append(value)
    return found


def _with_doubts(text: str, doubts: Sequence[Doubt]) -> str:
    """Each doubt as a comment above its column, where who reviews the file meets it."""
    lines = text.split("\n")
    for one in doubts:
        header = f"[columns.{toml_key(one.column)}]"
        said = " ".join(f"# doubt: {one.question} taken as {one.guess} ({one.why})".split())
        if header in lines:
            lines.insert(lines.index(header), "".join(letter if letter.isprintable() else "?" for letter in said))
    return "\n".join(lines)


def _source(table: str, folder: Path) -> str:
    if "://" in table:
        return table
    path = Path(table).resolve()
    home = folder.resolve()
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)


def _create(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)

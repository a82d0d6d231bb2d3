"""Starting a project: look at all rows of a table, write what was seen as a schema a person can review."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import checks, config, infer, tables
from .errors import UsageError
from .infer import Doubt
from .schema import Schema

PROJECT_FILE = "middlewatch.toml"
IGNORED = ".middlewatch/\n"


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
                {"column": one.column, "question": one.question, "guess": one.guess, "why": one.why}
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
) -> Started:
    """Write middlewatch.toml (or add a model to it), `<name>.schema.toml` and .gitignore. Overwrites nothing."""
    settings_path = folder / PROJECT_FILE
    model = name or _name_from(target)
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
    inferred = infer.infer(raw, name=model, target=target, time=time, key=key, task=task, zone=zone)
    schema = inferred.schema
    report = checks.check(raw, schema, zone=zone)
    folder.mkdir(parents=True, exist_ok=True)
    source = _source(table, folder)
    block: dict[str, Any] = {"source": source, "target": schema.target, "task": schema.task}
    block |= {"time": schema.time} if schema.time else {}
    block |= {"key": schema.key} if schema.key else {}
    # The schema first: a settings file that names a model without one would be a project that cannot be opened.
    _create(schema_path, schema.to_toml())
    files = [schema_path.name]
    if known is None:
        _create(settings_path, config.template(model, **block))
    else:
        settings_path.write_text(
            config.add_model(settings_path.read_text(encoding="utf-8"), model, **block), encoding="utf-8"
        )
    files.insert(0, PROJECT_FILE)
    if not (folder / ".gitignore").exists():
        _create(folder / ".gitignore", IGNORED)
        files.append(".gitignore")
    return Started(folder=folder, name=model, files=files, schema=schema, doubts=inferred.doubts, report=report)


def _name_from(target: str) -> str:
    folded = re.sub(r"[^a-z0-9_-]+", "-", target.lower()).strip("-_")
    return folded if folded[:1].isalpha() else "model"


def _source(table: str, folder: Path) -> str:
    if "://" in table:
        return table
    path = Path(table).resolve()
    home = folder.resolve()
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)


def _create(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)

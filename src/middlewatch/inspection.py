"""One table before one contract: its report, its good and bad rows in files, the schema edited to accept it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from . import accepting, checks, data, infer, tables
from .errors import NotFound, UsageError
from .findings import Finding
from .infer import Doubt
from .pictures import SAMPLE
from .schema import Schema
from .schema.editing import Edit, edited

if TYPE_CHECKING:
    import polars as pl

    from .checks import Report, RowRule
    from .profiles import Profile
    from .project import Project

PART_ROWS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Where the rows went: `good` and `bad` of them, in `files` of `folder`."""

    folder: Path
    files: tuple[str, ...]
    good: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A table, the contract it is held to, and what own rules and other tables are read from."""

    raw: tables.Raw
    schema: Schema
    zone: str = "UTC"
    rules: tuple[RowRule, ...] = ()
    base: Path | None = None
    now: datetime | None = None
    schema_path: Path | None = None
    # What is doubtful about a table that has no schema: said as warnings.
    odd: tuple[Doubt, ...] = ()

    def report(self, reference: Profile | None = None, *, pictures: bool = False) -> Report:
        """Data tests and profile, in one pass; with `reference`, what has shifted from it.

        `pictures` keeps a sample of rows, so that its page draws time and target too.
        """
        report = checks.check(
            self.raw,
            self.schema,
            zone=self.zone,
            reference=reference,
            now=self.now,
            rules=self.rules,
            base=self.base,
            sample=SAMPLE if pictures else 0,
        )
        known = {one.column for one in report.findings}
        doubts = _doubtful([one for one in self.odd if one.column not in known])
        return replace(report, findings=(*report.findings, *doubts)) if doubts else report

    def plan(self) -> checks.Plan:
        """The tests, for a second pass."""
        return checks.plan(self.schema, self.raw.columns, zone=self.zone, rules=self.rules, base=self.base)

    def quarantine(self, report: Report, folder: Path) -> Quarantined:
        """Write good-0001.parquet, ... and bad-0001.parquet, ... (with `mw.row` and `mw.reasons`) to a new folder.

        Every row is in one of them, as it came. The folder appears when all is written. Raises UsageError where it
        holds something already.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not empty", why="quarantine never overwrites", fix="name another folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        half = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        half.mkdir()
        try:
            good, bad = _Parts(half, "good"), _Parts(half, "bad")
            for part in checks.split(self.raw, self.plan(), report.repeated):
                good.add(part.good)
                bad.add(part.bad)
            files = (*good.close(), *bad.close())
            if folder.exists():
                folder.rmdir()
            half.rename(folder)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise
        return Quarantined(folder=folder, files=files, good=good.rows, bad=bad.rows)

    def accept(self, wanted: Sequence[str], report: Report) -> list[Edit]:
        """Edit the schema file so that it accepts `wanted` (see `accepting.edits_for`); comments stay."""
        if self.schema_path is None:
            raise UsageError("there is no schema to edit", fix="middlewatch init TABLE --target COLUMN writes one")
        edits = accepting.edits_for(wanted, report, self.schema, self.raw, zone=self.zone)
        text = edited(self.schema_path.read_text(encoding="utf-8"), edits, where=self.schema_path.name)
        Schema.parse(text, where=self.schema_path.name)  # a file that cannot be read again is not written
        half = self.schema_path.with_name(f".{self.schema_path.name}.{os.getpid()}.part")
        half.write_text(text, encoding="utf-8")
        half.replace(self.schema_path)
        return edits


def _doubtful(doubts: Sequence[Doubt]) -> list[Finding]:
    """Each doubt as a warning; a header line among the data, which every column meets, once."""
    again = [one for one in doubts if one.why.endswith(infer.HEADER_AGAIN)]
    found = []
    if again:
        where = ", ".join(one.column for one in again[:3])
        said = f"{infer.HEADER_AGAIN.lstrip('; ')}: {where} and others hold their own name"
        found.append(Finding(check="header", message=said, severity="warn", fix="take those lines out"))
    for one in doubts:
        if one in again and one.why.count('"') == 2:
            continue  # the name was the only odd cell
        said = f"{one.column}: {one.question} read as {one.guess} ({one.why.removesuffix(infer.HEADER_AGAIN)})"
        fix = "mend the source, or say so in a schema: middlewatch init TABLE --target COLUMN"
        found.append(Finding(check="doubt", column=one.column, message=said, severity="warn", fix=fix))
    return found


class _Parts:
    """Rows written as numbered files of at most a million."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder = folder
        self.stem = stem
        self.rows = 0
        self.files: list[str] = []
        self.held: list[pl.DataFrame] = []
        self.empty: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame) -> None:
        self.empty = rows.clear()
        if not rows.height:
            return
        self.rows += rows.height
        self.held.append(rows)
        if sum(one.height for one in self.held) >= PART_ROWS:
            self._write()

    def close(self) -> list[str]:
        """The files; one without rows, for its columns, where there was none."""
        if not self.held and not self.files and self.empty is not None:
            self.held = [self.empty]
        if self.held:
            self._write()
        return self.files

    def _write(self) -> None:
        import polars as pl

        name = f"{self.stem}-{len(self.files) + 1:04d}.parquet"
        whole = pl.concat(self.held)
        whole.write_parquet(self.folder / name, compression="zstd", row_group_size=tables.BATCH)
        self.files.append(name)
        self.held = []


def of_project(project: Project, model: str, raw: tables.Raw | None, *, now: datetime) -> Inspection:
    """A table (default: the model's own source) before the model's schema. Raises UsageError where there is none."""
    if raw is None:
        source = project.settings(model).source
        if source is None:
            raise UsageError(f"model {model} has no source of its own", fix="middlewatch check TABLE")
        raw = tables.scan(source, base=project.root)
    return Inspection(
        raw=raw,
        schema=project.schema(model),
        zone=project.config.monitor.zone,
        rules=project.rules(model),
        base=project.root,
        now=now,
        schema_path=project.schema_path(model),
    )


def reference(project: Project | None, model: str, ref: str, like: Inspection) -> Profile:
    """The profile to compare with: of a data version (`d7`), or of another table, read now.

    Raises NotFound for a version that is not there, TableError for a table that is none.
    """
    if ref[:1] == "d" and ref[1:].isdigit():
        if project is None:
            raise NotFound(f"there is no data version {ref} without a project", fix="name a file, or --project DIR")
        return data.profile(project.store, model, ref)
    other = Inspection(raw=tables.scan(ref, base=Path.cwd()), schema=like.schema, zone=like.zone, base=like.base)
    return other.report().profile

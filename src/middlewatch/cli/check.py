"""The verb check: data tests and a profile of a table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import Answer, spark, table
from .run import START, Call, verb

if TYPE_CHECKING:
    from ..checks import Report
    from ..findings import Finding
    from ..inspection import Inspection

MOST = 4
NOTES = 4
COLUMNS = 30
# What one edit of the schema always accepts (see `accepting`); stray cells of another type it may not.
ACCEPTED = ("range", "nulls", "categories", "constant")
GITHUB = {"fail": "error", "warn": "warning", "note": "notice"}


@verb(START)
def check(
    call: Call,
    source: Annotated[
        str | None,
        typer.Argument(metavar="TABLE", help="CSV, Parquet, Feather, JSON lines; default: the model's source."),
    ] = None,
    against: Annotated[str | None, typer.Option("--against", metavar="REF", help="A data version or a file.")] = None,
    schema: Annotated[
        str | None, typer.Option("--schema", metavar="FILE", help="A schema file, without a project.")
    ] = None,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write a page with plots; an old one is replaced.")
    ] = None,
    quarantine: Annotated[
        str | None, typer.Option("--quarantine", metavar="DIR", help="Write good and bad rows apart, with reasons.")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="CHANGE", help="Edit the schema: COLUMN, CHECK:COLUMN, confirm:COLUMN, all."),
    ] = None,
    format: Annotated[
        str | None, typer.Option("--format", metavar="github", help="Annotations for a workflow.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="What is now, for freshness.")] = None,
) -> Answer:
    """Data tests and a profile of a table, in one pass; outside a project, what is wrong in any table.

    middlewatch check new.csv --against d3
    """
    from pathlib import Path

    from ..errors import UsageError

    if html is not None and not html.lower().endswith((".html", ".htm")):
        raise UsageError(f"{html} is no page", why="an old file of that name is replaced", fix="--html report.html")
    if format not in (None, "github"):
        raise UsageError(f'there is no format "{format}"', fix="--format github, --json or --html FILE")
    inspection, reference = _inspection(call, source, schema, against, until)
    report = inspection.report(reference, pictures=bool(html))
    facts: dict[str, Any] = {}
    said: list[str] = []
    if accept:
        edits = inspection.accept(accept, report)
        inspection, reference = _inspection(call, source, schema, against, until)
        report = inspection.report(reference, pictures=bool(html))
        facts["accepted"] = [one.words for one in edits]
        said = [f"edited {inspection.schema_path.name}:" if inspection.schema_path else "edited:"]
        said += [f"  {one.words}" for one in edits]
    facts = {**report.to_dict(), **facts}
    name = source or inspection.raw.source
    if quarantine:
        kept = inspection.quarantine(report, Path(quarantine))
        facts["quarantine"] = {
            "folder": str(kept.folder),
            "good": kept.good,
            "bad": kept.bad,
            "files": list(kept.files),
        }
        said.append(f"{kept.good:,} good rows and {kept.bad:,} bad ones, with reasons, in {kept.folder}")
    if html:
        report.save(html, title=name)
        facts["html"] = html
        said.append(f"plots in {html}")
    code = 5 if not report.rows else 0 if report.ok else 1
    lines = _annotations(report, name) if format == "github" else [*_lines(report, name, inspection), *said]
    if format != "github":
        lines.append(_next(report, inspection, name))
    return Answer(facts, lines, code)


def _inspection(
    call: Call, source: str | None, schema: str | None, against: str | None, until: str | None
) -> tuple[Inspection, Any]:
    """The table before its contract, and the profile it is compared with."""
    from .. import frames
    from ..errors import NotFound, UsageError

    if schema is None:
        try:
            handle = call.handle()
        except NotFound:
            if call.project or source is None or (against and against[:1] == "d" and against[1:].isdigit()):
                raise
        else:
            return handle.inspection(source, against=against, until=until)
    if source is None:
        raise UsageError("say which table to check", fix="middlewatch check data.csv")
    return frames.inspection(source, schema, against=against, until=until)


def _lines(report: Report, name: str, inspection: Inspection) -> list[str]:
    failed = [one for one in report.findings if one.severity == "fail"]
    others = [one for one in report.findings if one.severity != "fail"]
    word = "ok  " if report.ok else "FAIL"
    warned = sum(1 for one in others if one.severity == "warn")
    lines = [
        f"{word} {name}: {report.rows:,} rows, {len(failed)} failed"
        + (f", {warned} warning{'s' if warned != 1 else ''}" if warned else "")
        + f", {report.seconds:.2f} s"
    ]
    told, together = _together(failed, report)
    lines += together[:NOTES]
    lines += [line for one in told[:MOST] for line in _finding(one, inspection)]
    if len(told) > MOST:
        lines.append(f"and {len(told) - MOST} more failures: --json lists them")
    order = ("warn", "note")
    shown = sorted(others, key=lambda one: order.index(one.severity))
    most = NOTES if failed else 2 * NOTES
    lines += [f"{one.severity.upper() if one.status == 'failed' else 'unknown'} {one.message}" for one in shown[:most]]
    if len(shown) > most:
        lines.append(f"and {len(shown) - most} more warnings and notes: --json lists them")
    return [*lines, *_columns(report)]


def _together(failed: Sequence[Finding], report: Report) -> tuple[list[Finding], list[str]]:
    """Columns that miss the very same rows are one line; the findings that are left, and the lines."""
    lines, covered = [], set()
    for group, rows in report.together:
        if len(group) > 1 and all(test.startswith("nulls:") for test in group):
            columns = [test.partition(":")[2] for test in group]
            mine = [one for one in failed if one.check == "nulls" and one.column in columns and one.rows_failed == rows]
            if len(mine) == len(columns):
                covered |= {id(one) for one in mine}
                listed = f"{', '.join(columns[:5])}{' and more' if len(columns) > 5 else ''}"
                share = f"{rows:,} of {report.rows:,} rows"
                lines.append(f"FAIL {listed} are missing together in {share}, every time")
    return [one for one in failed if id(one) not in covered], lines


def _finding(one: Finding, inspection: Inspection) -> list[str]:
    word = "FAIL" if one.status == "failed" else "FAIL unknown:"
    examples = ", ".join(_example(e, inspection) for e in one.examples[:3] if "row" in e)
    lines = [f"{word} {one.message}" + (f"  ({examples})" if examples else "")]
    return [*lines, f"     {one.fix}"] if one.fix else lines


def _example(example: Mapping[str, Any], inspection: Inspection) -> str:
    # The header is line 1 of a text file, and blank lines or quoted line breaks are rare: "about" is said by "line".
    one_text = inspection.raw.textual and len(inspection.raw.files) == 1
    place = f"line {example['row'] + 2}" if one_text else f"row {example['row']}"
    return place if example.get("value") is None else f"{place}: {example['value']!r}"


def _columns(report: Report) -> list[str]:
    rows = []
    for name, facts in list(report.columns.items())[:COLUMNS]:
        shape = report.profile.columns[name]
        rows.append(
            [name, facts["kind"], facts["nulls"], facts["distinct"], facts["min"], facts["max"], _bars(shape, facts)]
        )
    more = len(report.columns) - COLUMNS
    lines = table(rows, head=["column", "kind", "missing", "distinct", "min", "max", ""], indent="  ")
    return [*lines, f"  and {more} more columns: --html FILE draws them all"] if more > 0 else lines


def _bars(shape: Any, facts: Any) -> str:
    if facts["kind"] in ("number", "whole") and shape.n:
        low, high = shape.quantile(0.01), shape.quantile(0.99)
        if low < high:
            step = (high - low) / 12
            counts = shape.regroup([low + step * at for at in range(1, 12)])
            return spark([float(one) for one in counts], low=0.0)  # even counts are even bars
        return ""
    top = facts.get("top") or []
    return ", ".join(str(one["value"] if isinstance(one, dict) else one[0]) for one in top[:4])


def _next(report: Report, inspection: Inspection, name: str) -> str:
    if report.ok:
        return (
            "Next:   middlewatch train" if inspection.schema_path else "Next:   middlewatch init TABLE --target COLUMN"
        )
    first = next(one for one in report.findings if one.severity == "fail")
    if inspection.schema_path and first.column and first.check in ACCEPTED:
        change = shlex.quote(f"{first.check}:{first.column}")
        return f"Next:   middlewatch check {shlex.quote(name)} --accept {change}   (where that is right now)"
    return f"Next:   middlewatch check {shlex.quote(name)} --html report.html"


def _annotations(report: Report, name: str) -> list[str]:
    """GitHub's workflow commands, one a finding; https://docs.github.com/actions has their form and escapes."""
    return [
        f"::{GITHUB[one.severity]} file={_escaped(name, property=True)},"
        f"title={_escaped(one.check + (' ' + one.column if one.column else ''), property=True)}::"
        + _escaped(one.message + (f"; {one.fix}" if one.fix else ""))
        for one in report.findings
    ]


def _escaped(text: str, *, property: bool = False) -> str:
    escapes = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), *([(":", "%3A"), (",", "%2C")] if property else [])]
    for one, other in escapes:
        text = text.replace(one, other)
    return text

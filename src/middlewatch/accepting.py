"""Accepting what a data test found: the edits to the schema file that let the table pass, with the same room that
`init` gives. Nothing is accepted that a person did not name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl

from . import infer
from .cells import column
from .checks import Report
from .errors import UsageError, nearest
from .findings import Finding
from .infer import limits
from .profiles import ColumnProfile
from .schema import Column, Schema
from .schema.editing import Edit
from .tables import Raw

BY_HAND = ("rule", "pattern", "references", "finite", "future", "freshness", "rows_per_day", "volume", "order", "key")


def edits_for(wanted: Sequence[str], report: Report, schema: Schema, raw: Raw, *, zone: str) -> list[Edit]:
    """The edits that accept each of `wanted`: COLUMN, CHECK:COLUMN, `renamed:COLUMN`, `confirm:COLUMN`, or `all`.

    `all` is every failure and warning that an edit can accept; `confirm:all` takes every guessed limit as it is.
    Raises UsageError where nothing was found under that name, or where only a person can edit.
    """
    found: dict[tuple[str, str, str], Edit] = {}
    for one in wanted:
        check, _, name = one.rpartition(":")
        if check == "confirm":
            made = _confirmed(name, schema)
        elif check == "renamed":
            made = _renamed(name, report)
        else:
            meant = _named(one, check, name, report)
            made = [edit for finding in meant for edit in _edits(finding, report, schema, raw, zone)]
        found |= {(edit.column, edit.act, edit.key): edit for edit in made}
    if not found:
        raise UsageError(
            "there is nothing to accept", why="no data test failed that an edit of the schema could accept"
        )
    return list(found.values())


def _named(one: str, check: str, name: str, report: Report) -> list[Finding]:
    """The findings that a name means."""
    here = [it for it in report.findings if it.column and it.status == "failed" and it.check != "shift"]
    if one == "all":
        return [it for it in here if it.severity != "note" and it.check not in BY_HAND]
    found = [it for it in here if it.column == name and check in ("", it.check)]
    if not found:
        names = [f"{it.check}:{it.column}" for it in here]
        fix = nearest(one, names) if names else "middlewatch check TABLE says what failed"
        raise UsageError(f'no data test found "{one}"', why=f"found: {', '.join(names[:8]) or 'nothing'}", fix=fix)
    for it in found:
        if it.check in BY_HAND:
            raise UsageError(f"{it.check}:{it.column} is accepted by hand only", why=it.message, fix=it.fix)
    return found


def _edits(finding: Finding, report: Report, schema: Schema, raw: Raw, zone: str) -> list[Edit]:
    name = finding.column or ""
    if finding.check == "extra":
        return [Edit(name, "add", value=_seen(name, raw, zone))]
    known = schema.column(name)
    if finding.check == "missing":
        if known.role in ("target", "time", "key"):
            said = f"{name} is the {known.role}: the schema cannot do without it"
            raise UsageError(said, fix=f"renamed:{name} where it has another name now, or edit [model]")
        return [Edit(name, "remove")]
    if finding.check == "type":
        return _as_seen(known, _seen(name, raw, zone))
    held = report.profile.columns[name]
    if finding.check == "nulls":
        return [Edit(name, "set", "nulls", max(known.nulls, limits.nulls(report.profile.rows, held.nulls + held.nans)))]
    if finding.check == "range":
        return _wider(known, held)
    if finding.check == "categories":
        return _more_categories(known, held)
    if finding.check == "unique":
        return [Edit(name, "set", "unique", False)]
    if finding.check == "constant":
        return [Edit(name, "set", "constant", not known.constant)]
    if finding.check == "expected" and known.expected is not None:
        low, high = held.lowest, held.highest
        return [Edit(name, "set", "expected", (min(known.expected[0], low), max(known.expected[1], high)))]  # type: ignore[type-var]
    return []


def _as_seen(known: Column, seen: Column) -> list[Edit]:
    """Kind and limits as they are now; role, owner and all else as a person left them."""
    edits = [Edit(known.name, "set", "kind", seen.kind)] if seen.kind != known.kind else []
    for key in ("missing", "decimal", "nulls", "unseen", "categories", "min", "max", "expected", "pattern"):
        value = getattr(seen, key)
        if value == getattr(known, key) or (key in ("expected", "pattern") and seen.kind == known.kind):
            continue  # what a person set stays, unless it means nothing for the new kind
        edits.append(Edit(known.name, "set", key, value if value not in (None, "") else None))
    if seen.kind in ("text", "time") and known.role == "feature":
        edits.append(Edit(known.name, "set", "role", "ignored"))
    return edits


def _wider(known: Column, held: ColumnProfile) -> list[Edit]:
    low, high = held.lowest, held.highest
    if isinstance(low, datetime) or isinstance(high, datetime):
        ends: tuple[Any, Any] = (low, high)
    else:
        ends = limits.span(float(low or 0), float(high or 0), pl.Series([held.quantile(0.95)]), rows=held.n)
        if known.kind == "whole":
            ends = limits.wholes(*ends, int(low or 0), int(high or 0))
    edits = []
    if known.min is not None and low is not None and low < known.min:  # type: ignore[operator]
        edits.append(Edit(known.name, "set", "min", min(ends[0], known.min)))
    if known.max is not None and high is not None and high > known.max:  # type: ignore[operator]
        edits.append(Edit(known.name, "set", "max", max(ends[1], known.max)))
    return edits


def _more_categories(known: Column, held: ColumnProfile) -> list[Edit]:
    listed = known.categories or ()
    if held.categories is None:
        said = f"{known.name} holds too many distinct values to be listed"
        raise UsageError(said, fix=f'kind = "text" under [columns.{known.name}], or unseen = 1.0')
    new = sorted(value for value in held.categories if value not in listed)
    if len(listed) + len(new) > infer.MOST_CATEGORIES:
        said = f"{known.name} would have {len(listed) + len(new):,} categories"
        raise UsageError(
            said, why=f"{infer.MOST_CATEGORIES:,} are the most", fix=f"unseen = ... under [columns.{known.name}]"
        )
    return [Edit(known.name, "set", "categories", (*listed, *new))]


def _renamed(name: str, report: Report) -> list[Edit]:
    for one in report.findings:
        if one.check == "missing" and one.column == name and one.evidence.get("renamed"):
            return [Edit(name, "rename", value=str(one.evidence["renamed"]))]
    raise UsageError(f"{name} has no other name that is plain to see", fix=f"edit [columns.{name}] by hand")


def _confirmed(name: str, schema: Schema) -> list[Edit]:
    columns = schema.columns if name == "all" else (schema.column(name),)
    names = {"source": "from"}
    return [Edit(one.name, "confirm", names.get(key, key)) for one in columns for key in sorted(one.guessed)]


def _seen(name: str, raw: Raw, zone: str) -> Column:
    """The column as `init` would describe it now."""
    alone = Raw(raw.frame.select(column(name)), raw.textual, raw.files, raw.source)
    return infer.describe(alone, zone=zone).schema.columns[0]

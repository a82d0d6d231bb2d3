"""Requests that were refused: what the caller sent instead of what the model's schema asks for; or that it failed on.

No statistics are needed: the record says which field came as what. These causes are certain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .candidate import percent
from .cause import Cause
from .effect import Effect

FAILED = 500
_OTHER_NAME = re.compile(r'it has "([^"]+)"')


@dataclass(frozen=True)
class _Form:
    kind: str
    form: str
    words: str
    fix: str


def causes(refused: pl.DataFrame, answered: pl.DataFrame, past_shares: Sequence[float]) -> list[Cause]:
    """One cause for each field that is refused more often than ever before.

    `refused` has field, came, expected, error, status, mw.time, mw.received, mw.caller; `answered` the accepted
    requests of the same span (mw.received, mw.caller); `past_shares` the refused share of each past day.
    """
    if refused.height < limits.RATE_ROWS:
        return []
    total = refused.height + answered.height
    worst = max(past_shares, default=0.0)
    found = []
    grouped = refused.with_columns(pl.col("field", "came", "expected", "error").fill_null(""))
    for (field, came, expected), rows in grouped.group_by("field", "came", "expected", maintain_order=True):
        share = rows.height / total
        if rows.height < limits.RATE_ROWS or share <= limits.BEYOND * worst + limits.RATE_FLOOR:
            continue
        failed = "status" in rows.columns and (rows["status"][0] or 0) >= FAILED
        word = "failed" if failed else "refused"
        form = _form(str(field), str(came), str(expected), str(rows["error"][0]), failed=failed)
        caller = _caller(rows, answered)
        found.append(
            Cause(
                kind=form.kind,
                form=form.form,
                columns=(str(field),) if field else (),
                detail=f"{form.words}: {rows.height:,} requests {word}, {percent(share)} of all",
                confidence="certain",
                affected=np.ones(0, bool),
                since=_first(rows),
                slice=("mw.caller", caller) if caller else None,
                effect=Effect(rows.height),
                fix=form.fix,
                strength=share / (worst + limits.RATE_FLOOR),
                proof=str(rows["error"][0]),
                facts={"came": came, "expected": expected, word: rows.height},
                examples=tuple({"id": one} for one in rows["mw.id"].head(5)) if "mw.id" in rows.columns else (),
            )
        )
    return sorted(found, key=lambda one: -one.effect.rows)


def _form(field: str, came: str, expected: str, error: str, *, failed: bool) -> _Form:
    name = field or "the request"
    if failed:
        kind = "preprocessing" if "features()" in came else "environment"
        return _Form(kind, "fails", f"the model fails: {came}", "mend its code, or go back to a version that answers")
    if came == "nothing":
        other = _OTHER_NAME.search(error)
        if other:
            return _Form("columns", "renamed", f'{name} is now called "{other[1]}"', f'send "{other[1]}" as "{name}"')
        return _Form("columns", "missing", f"{name} is no longer sent", f"send {name}, null where it is unknown")
    if came.startswith("a field"):
        return _Form(
            "columns", "unknown", f'a field "{name}" is sent that the model does not know', f'leave "{name}" out'
        )
    if came == "null":
        return _Form(
            "nulls", "nulls", f"{name} comes as null, which its schema does not allow", f"ask who supplies {name}"
        )
    if "string" in came and "number" in expected:
        return _Form("type", "number_as_text", f"{name} comes as text, was a number", f"send {name} without quotes")
    if "string" in came and "true or false" in expected:
        return _Form("type", "bool_as_text", f"{name} comes as text, was true or false", f"send {name} without quotes")
    return _Form(
        "type", "other", f"{name} comes as {came or 'something else'}, must be {expected}", f"send {name} as {expected}"
    )


def _caller(rows: pl.DataFrame, answered: pl.DataFrame) -> str:
    """The caller with nearly all of the refusals, and whose requests are nearly all refused."""
    if "mw.caller" not in rows.columns:
        return ""
    top = rows["mw.caller"].drop_nulls().value_counts(sort=True)
    if not top.height:
        return ""
    name, count = top.row(0)
    first = _first(rows, "mw.received")
    accepted = 0
    if {"mw.caller", "mw.received"} <= set(answered.columns):
        later = answered if first is None else answered.filter(pl.col("mw.received") >= first)
        accepted = later.filter(pl.col("mw.caller") == name).height
        others = later.height - accepted
        if not others:
            return ""  # everybody: not worth a name
    return str(name) if count >= limits.SLICE * rows.height and count >= limits.SLICE * (count + accepted) else ""


def _first(rows: pl.DataFrame, column: str = "mw.time") -> datetime | None:
    for name in (column, "mw.received"):
        least = rows[name].min() if name in rows.columns else None
        if isinstance(least, datetime):
            return least
    return None

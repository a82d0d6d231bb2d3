"""Requests written for MLflow's scoring server: `POST /invocations`, answered with `{"predictions": [...]}`.

    {"dataframe_split": {"columns": [...], "data": [[...], ...]}}     {"dataframe_records": [{...}, ...]}
    {"instances": [...]}    {"inputs": {"column": [...], ...}}        text/csv with a header line

One of them, exactly. Rows become objects of named values and go the way of every other request: the same
checks, the same log record. A list without names has the model's inputs in their order. Predictions are what
MLflow's LightGBM flavour gives: the probability of a binary model, the list of probabilities of a multiclass one
in the order of its classes, the value of a regression.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import UsageError, nearest
from .scorer import Answer, Scorer

if TYPE_CHECKING:
    from ..requests import Field

__all__ = ["answer", "error"]

ROUTE = "/invocations"
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_HELP = 'send {"dataframe_split": {"columns": [...], "data": [[...]]}}'
_LARGEST_CELL = 1 << 20

_Raw = msgspec.Raw


class _Split(msgspec.Struct):
    columns: list[str]
    data: list[list[_Raw]]


_cells = msgspec.json.Decoder(dict[str, _Raw]).decode
_split = msgspec.json.Decoder(_Split).decode
_list = msgspec.json.Decoder(list[_Raw]).decode
_lists = msgspec.json.Decoder(list[list[_Raw]]).decode
_columns = msgspec.json.Decoder(dict[str, list[_Raw]]).decode
_encode = msgspec.json.encode


def answer(scorer: Scorer, body: bytes, kind: str, *, caller: str, received: int) -> Answer:
    """Predict for every row of a body of this content type; all of them or none.

    Raises UsageError for a body in none of the forms, and as `Scorer.score`.
    """
    try:
        rows = _rows(body, kind, scorer.body_type.fields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, csv.Error) as wrong:
        raise UsageError("the body cannot be read", why=str(wrong)[:300], fix=_HELP) from None
    records = scorer.score(rows, caller=caller, received=received)
    found = [one.score if one.scores is None else one.scores for one in records]
    return Answer(_encode({"predictions": found}), records[0].id if records else "", len(records))


def error(code: int, facts: dict[str, Any]) -> dict[str, Any]:
    """An error as MLflow's clients read it, ours beside it."""
    kind = "BAD_REQUEST" if code < 500 else "TEMPORARILY_UNAVAILABLE" if code == 503 else "INTERNAL_ERROR"
    return {"error_code": kind, "message": f"{facts['error']}. {facts.get('fix', '')}".rstrip(". "), **facts}


def _rows(body: bytes, kind: str, fields: Sequence[Field]) -> list[bytes]:
    media = kind.partition(";")[0].strip().lower()
    if media == "text/csv":
        return _from_csv(body, fields)
    if media not in ("", "application/json"):
        raise UsageError(f'"{media[:60]}" cannot be read', fix="send application/json or text/csv")
    given = _cells(_without_nan(body) if b"NaN" in body else body)
    forms = [name for name in given if name in _FORMS]
    if len(forms) != 1:
        raise UsageError(
            f"exactly one of {', '.join(_FORMS)} must be there", why=f"there are {len(forms)} of them", fix=_HELP
        )
    if bytes(given.get("params", b"null")).strip() not in (b"null", b"{}"):
        raise UsageError("this model takes no params", fix='leave "params" out')
    cells = given[forms[0]]
    if forms[0] == "dataframe_split":
        split = _split(cells)
        return _named(split.columns, split.data)
    if forms[0] == "dataframe_records":
        return [bytes(one) for one in _list(cells)]
    start = bytes(cells).lstrip()[:1]
    if start == b"{" and forms[0] == "inputs":
        columns = _columns(cells)
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise UsageError("the columns are not of one length", why=f"lengths are {sorted(lengths)}", fix=_HELP)
        return _named(list(columns), list(zip(*columns.values(), strict=True)))
    rows = _list(cells)
    if rows and bytes(rows[0]).lstrip()[:1] == b"{":
        return [bytes(one) for one in rows]
    return _named([one.name for one in fields if one.needed], _lists(cells))


def _without_nan(body: bytes) -> bytes:
    """MLflow's own client writes missing numbers as NaN, which is no JSON: they are null. Infinity is refused."""

    def constant(text: str) -> None:
        if text != "NaN":
            raise UsageError(f"{text} is not JSON", fix="send null where a number is missing")

    try:
        return _encode(json.loads(body, parse_constant=constant))
    except ValueError:
        return body  # the strict reading says what is wrong with it


def _named(names: Sequence[str], rows: Sequence[Sequence[_Raw]]) -> list[bytes]:
    if len(set(names)) < len(names):
        raise UsageError("a column's name comes twice", fix=_HELP)
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise UsageError(
                f"row {number} has {len(row)} values, and there are {len(names)} columns",
                fix=f"send them in this order: {', '.join(names[:20])}",
            )
    return [_encode(dict(zip(names, row, strict=True))) for row in rows]


def _from_csv(body: bytes, fields: Sequence[Field]) -> list[bytes]:
    kinds = {one.name: one.kind for one in fields}
    csv.field_size_limit(_LARGEST_CELL)
    lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    if not lines:
        raise UsageError("the body is empty", fix="send a header line with the columns' names, then the rows")
    names = lines[0]
    unknown = [name for name in names if name not in kinds]
    if unknown:
        raise UsageError(f'unknown column "{unknown[0][:64]}"', why=nearest(unknown[0][:64], kinds), fix="leave it out")
    rows = [
        [_cell(text, kinds.get(name, "text")) for name, text in zip(names, line, strict=False)]
        + [_Raw(b"null")] * (len(line) - len(names))  # too many: `_named` says so
        for line in lines[1:]
        if line
    ]
    return _named(names, rows)


def _cell(text: str, kind: str) -> _Raw:
    """A cell as the JSON of its column's kind; what is no such value stays a string and is refused as one."""
    if text == "":
        return _Raw(b"null")
    if kind in ("number", "whole"):
        try:
            number = float(text)
            if kind == "whole" and text.lstrip("+-").isdecimal():
                return _Raw(_encode(int(text)))
            return _Raw(_encode(None if number != number else number))
        except ValueError:
            pass
    if kind == "boolean" and text.lower() in ("true", "false", "1", "0"):
        return _Raw(b"true" if text.lower() in ("true", "1") else b"false")
    return _Raw(_encode(text))

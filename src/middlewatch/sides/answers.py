"""The same requests on a version, by the way a request takes in a server: read, encoded, predicted, one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

import polars as pl

from ..errors import RequestRefused, UsageError
from ..replay import Replayer
from ..requests import BodyType
from ..schema import Schema


@dataclass(frozen=True, slots=True)
class Answered:
    """A score, with its label where there are classes; or None, and the `field` that was refused and what `came`."""

    score: float | None
    label: str | None
    field: str
    came: str


def answers(loaded: Replayer, bodies: Sequence[bytes], *, zone: tzinfo) -> list[Answered]:
    """What a version answers to some bodies, refusals as a caller would get them."""
    version = loaded.version
    body_type = BodyType(version.schema, version.encoding.names, zone=zone, secret=None)
    classes = version.classes if version.outputs > 1 else ()
    return [_answer(loaded, body_type, classes, one) for one in bodies]


def _answer(loaded: Replayer, body_type: BodyType, classes: Sequence[str], body: bytes) -> Answered:
    try:
        request = body_type.read(body)
    except RequestRefused as error:
        return Answered(None, None, error.field, error.came)
    except UsageError as error:
        return Answered(None, None, "", error.what)
    score = loaded.predictor.row(loaded.version.encoding.encode_row(request.inputs))
    if isinstance(score, list):
        top = max(score)
        return Answered(float(top), classes[score.index(top)], "", "")
    return Answered(float(score), None, "", "")


def hidden(schema: Schema, inputs: Sequence[str]) -> list[str]:
    """Private columns that a version reads: what is kept of them is no input any more."""
    return [one.name for one in schema.columns if one.private is not None and one.name in inputs]


def bodies_of(rows: pl.DataFrame, schema: Schema) -> list[bytes]:
    """Logged rows as request bodies: as they came where that was kept, else made from their columns.

    Private columns are left out of every one.
    """
    private = {one.name for one in schema.columns if one.private is not None}
    known = [name for name in schema.names if name in rows.columns and name not in private and name != schema.target]
    raw = rows["mw.raw"].to_list() if "mw.raw" in rows.columns else [None] * rows.height
    made = rows.select(known).to_dicts()
    return [_without(one, private) if one else _made(row) for one, row in zip(raw, made, strict=True)]


def _without(body: bytes, private: set[str]) -> bytes:
    # Byte for byte as it came where nothing is hidden: how a number was written is part of what is replayed.
    if not private:
        return bytes(body)
    try:
        cells = json.loads(body)
    except ValueError:
        return b"{}"
    return json.dumps({name: one for name, one in cells.items() if name not in private}).encode()


def _made(row: Mapping[str, Any]) -> bytes:
    plain = {name: one.isoformat() if isinstance(one, datetime) else one for name, one in row.items()}
    return json.dumps(plain).encode()

"""A row and its answer, as the schema understands them: ready for the log, private columns hidden."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import msgspec

from ..requests import BodyType, Request
from .shape import Unread, called, is_number

if TYPE_CHECKING:
    from ..schema import Schema

__all__ = ["Reader", "encoded"]


class Reader:
    """Reads rows of one model. What a service answered was answered: a value that is missing is null, never refused."""

    def __init__(self, schema: Schema, *, zone: tzinfo, secret: bytes | None) -> None:
        self.schema = schema
        self.inputs = tuple(one.name for one in schema.features)
        lenient = replace(schema, columns=tuple(replace(one, nulls=1.0) for one in schema.columns))
        self.body = BodyType(lenient, self.inputs, zone=zone, secret=secret)
        self._known = {one.name for one in self.body.fields}
        self._blank = dict.fromkeys(self.inputs)

    def row(self, inputs: Mapping[str, Any]) -> Request:
        """The row by the schema's columns; others are left out. Raises RequestRefused for a value of another kind."""
        known = {name: value for name, value in inputs.items() if name in self._known}
        return self.body.read(encoded({**self._blank, **known}))

    def redacted(self, inputs: Mapping[str, Any]) -> bytes:
        """The row as evidence of what was wrong with it, without private columns."""
        return self.body.redacted(encoded({name: value for name, value in inputs.items() if name in self._known}))

    def answer(self, value: Any) -> tuple[float, str | None, list[float] | None]:
        """Score, label and scores of an answer: a number, a class, or a probability a class. Raises Unread."""
        value = plain(value)
        classes = self.schema.classes
        if self.schema.task == "multiclass":
            scores = self._shares(value, classes)
            best = max(range(len(scores)), key=scores.__getitem__)
            return scores[best], classes[best], scores
        if isinstance(value, bool) and classes == ("0", "1"):
            return float(value), None, None
        if isinstance(value, bool | str):
            text = str(value).lower() if isinstance(value, bool) else value
            if self.schema.task != "binary" or text not in classes:
                raise Unread(f"the answer is {called(value)}, not the score of a {self.schema.task} model")
            return float(text == classes[1]), None, None
        if not is_number(value) or not math.isfinite(value):
            raise Unread(f"the answer is {called(value)}, not a finite number")
        if self.schema.task == "binary" and not 0 <= value <= 1:
            raise Unread("the answer is no probability: it lies outside 0 to 1")
        return float(value), None, None

    @staticmethod
    def _shares(value: Any, classes: tuple[str, ...]) -> list[float]:
        if isinstance(value, str) or is_number(value) or isinstance(value, bool):
            if str(value) not in classes:
                raise Unread(f"the answer is no class of the model ({', '.join(classes[:8])})")
            return [float(one == str(value)) for one in classes]
        if isinstance(value, Mapping):
            value = [value.get(one) for one in classes]
        if not isinstance(value, list | tuple) or len(value) != len(classes):
            raise Unread(f"the answer is {called(value)}, not {len(classes)} probabilities")
        shares = [plain(one) for one in value]
        if not all(is_number(one) and math.isfinite(one) for one in shares):
            raise Unread("a class has no probability")
        return [float(one) for one in shares]


def plain(value: Any) -> Any:
    """A scalar or array of numpy and its kin as Python has it."""
    return value.tolist() if hasattr(value, "tolist") else value


def encoded(row: Mapping[str, Any]) -> bytes:
    """JSON of a row of Python values; NaN is null."""
    return msgspec.json.encode(row, enc_hook=_other)


def _other(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)

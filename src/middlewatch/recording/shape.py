"""Where inputs, answer and id stand in what a service says: dotted paths through objects, over lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class Unread(Exception):
    """What was asked or answered is not as it was described; the message says what is there instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Dotted paths: `inputs` into the request ("" is all of it), `score` and `id` into the answer.

    A path goes through lists item by item: `predictions.score` of {"predictions": [{"score": 0.1}]} is [0.1].
    """

    inputs: str = ""
    score: str = "score"
    id: str = ""

    def pairs(self, asked: Any, answered: Any) -> list[tuple[Mapping[str, Any], Any, str | None]]:
        """(inputs, score, id or None) of each prediction. Raises Unread."""
        rows = dig(asked, self.inputs, "the request")
        scores = answered if is_number(answered) else dig(answered, self.score, "the answer")
        ids = dig(answered, self.id, "the answer") if self.id else None
        if isinstance(rows, Mapping):
            if isinstance(scores, list) and len(scores) == 1:
                scores, ids = scores[0], ids[0] if isinstance(ids, list) and ids else ids
            return [(rows, scores, None if ids is None else str(ids))]
        if not isinstance(rows, Sequence) or isinstance(rows, str) or not all(isinstance(one, Mapping) for one in rows):
            raise Unread(f"the inputs are {called(rows)}, not an object or a list of objects")
        if not isinstance(scores, Sequence) or isinstance(scores, str) or len(scores) != len(rows):
            raise Unread(f"{len(rows)} rows were asked, and the answer holds {called(scores)}")
        known = ids if isinstance(ids, list) and len(ids) == len(rows) else [None] * len(rows)
        return [
            (row, score, None if ident is None else str(ident))
            for row, score, ident in zip(rows, scores, known, strict=True)
        ]


def dig(value: Any, path: str, where: str) -> Any:
    """What a path leads to. Raises Unread, naming what is there."""
    if not path:
        return value
    name, _, rest = path.partition(".")
    if isinstance(value, list):
        return [dig(one, path, where) for one in value]
    if not isinstance(value, Mapping):
        raise Unread(f'{where} has no "{name}": it is {called(value)}')
    if name not in value:
        there = ", ".join(str(one)[:40] for one in list(value)[:8]) or "nothing"
        raise Unread(f'{where} has no "{name}"; it has {there}')
    return dig(value[name], rest, where)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def called(value: Any) -> str:
    """What kind of thing a value is, never the value."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return "a number" if is_number(value) else f"a {type(value).__name__}"

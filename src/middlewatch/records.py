"""One request as a server writes it into a segment: answered, or refused. `predictions` reads them back."""

from __future__ import annotations

import msgspec

from . import spool

__all__ = ["Record", "Refusal", "frame_of"]


class Record(msgspec.Struct, array_like=True, gc=False):
    """One prediction in a segment. Times are microseconds since 1970 in UTC. Fields are only ever added, at the end.

    `features` is what a project's own `features` made of the row, as a JSON object (see `own.shown`).
    """

    id: str
    time: int
    received: int
    caller: str
    key: str | None
    score: float
    label: str | None
    scores: list[float] | None
    latency_us: float
    raw: bytes
    features: bytes | None = None


class Refusal(msgspec.Struct, array_like=True, gc=False):
    """One refused or failed request in a segment: `raw` without private columns, at most 4 KB."""

    id: str
    time: int | None
    received: int
    caller: str
    field: str
    came: str
    expected: str
    error: str
    raw: bytes
    status: int = 422


_encode = msgspec.msgpack.Encoder().encode


def frame_of(record: Record | Refusal) -> bytes:
    """The frame that `Spool.append` takes."""
    return spool.framed(_encode(record))

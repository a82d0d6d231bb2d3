"""Events outside us, on the time line: a deploy upstream, a new client, a holiday.

One object a note, `_notes/2026-11-22/T020000.000000Z-<id>.json`, named by the time it speaks of, so that a
stretch of time is read without reading the rest.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from .errors import StoreError, UsageError
from .store import Store
from .times import iso

__all__ = ["Note", "add", "all"]

_FOLDER = "_notes"
_LONGEST = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What happened, when (`at`), who says so, and when it was written down (`noted`). ISO 8601, UTC."""

    id: str
    at: str
    noted: str
    text: str
    source: str = ""
    actor: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def add(store: Store, text: str, *, source: str = "", at: datetime, now: datetime, actor: str = "") -> Note:
    """Write a note down. Raises UsageError for an empty text or one of more than 4,000 characters."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise UsageError(f"a note has 1 to {_LONGEST} characters, this one {len(text)}", fix="say what happened")
    while True:
        note = Note(id=os.urandom(6).hex(), at=iso(at), noted=iso(now), text=text, source=source, actor=actor)
        data = json.dumps({"schema": 1, **note.to_dict()}, ensure_ascii=False).encode() + b"\n"
        if store.put_new(f"{_key(at)}-{note.id}.json", data):
            return note


def all(store: Store, *, since: datetime | None = None, until: datetime | None = None) -> list[Note]:
    """Notes whose time is from `since` (included) to `until` (not), oldest first."""
    keys = store.list(_FOLDER, after=_key(since) if since else None)
    end = _key(until) if until else None
    wanted = [key for key in keys if end is None or key < end]
    return [_read(data, f"{store.url}/{key}") for key, data in zip(wanted, store.get_many(wanted), strict=True)]


def _key(at: datetime) -> str:
    moment = at.astimezone(UTC)
    return f"{_FOLDER}/{moment:%Y-%m-%d}/T{moment:%H%M%S.%f}Z"


def _read(data: bytes, where: str) -> Note:
    try:
        raw = json.loads(data)
        return Note(**{name: raw[name] for name in ("id", "at", "noted", "text", "source", "actor")})
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("a note cannot be read", where=where, why="it was edited", fix="delete that file") from error

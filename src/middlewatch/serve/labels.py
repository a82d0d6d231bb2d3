"""Outcomes sent to a server: checked entry by entry, kept in the spool before the answer, joined later by the monitor.

    {"id": "...", "value": 1}    {"key": "UA17", "value": "late", "time": "2026-11-22T08:00:00Z"}    or a list of them

All of a list are kept or none. An `id` is the one that an answer carried; a `key` is your own id of a thing and
belongs to every prediction that was sent with it. The value is the target's class, or a number for regression.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import RequestRefused, UsageError, nearest
from ..labels import LONGEST, STREAM, Label, frame_of, head
from ..requests import moment
from ..spool import Spool

if TYPE_CHECKING:
    from ..project import Project
    from ..schema import Schema

__all__ = ["Inbox", "LabelsRefused"]

FIELDS = ("id", "key", "value", "time")
SHOWN = 20
_HELP = 'send {"key": "...", "value": ...} or {"id": "...", "value": ...}, or a list of them'
_decode = msgspec.json.Decoder().decode


class LabelsRefused(RequestRefused):
    """Some entries are wrong, and none was kept; `entries` says of the first twenty where and why."""

    def __init__(self, wrong: list[dict[str, str]], count: int) -> None:
        first = wrong[0]
        of = f"{len(wrong):,} of {count:,} labels are" if count > 1 else "the label is"
        super().__init__(
            f"{of} wrong, nothing was kept: {first['path']} {first['reason']}", field=first["path"], fix=_HELP
        )
        self.entries = wrong[:SHOWN]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "entries": self.entries}


class _Wrong(Exception):
    """One entry: the field and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Reader:
    """What one entry may hold, from the reviewed schema."""

    schema: Schema
    key_kind: str
    zone: tzinfo

    def read(self, entry: Any, received: int) -> Label:
        """Raises _Wrong."""
        if not isinstance(entry, Mapping):
            raise _Wrong("", "is not an object")
        for name in entry:
            if name not in FIELDS:
                raise _Wrong(str(name)[:64], f"is unknown: {nearest(str(name)[:64], FIELDS)}")
        ident, key = entry.get("id"), entry.get("key")
        if (ident is None) == (key is None):
            raise _Wrong("id", "or key must be there, and not both")
        time = None
        if entry.get("time") is not None:
            try:
                time = moment(entry["time"], self.zone)
            except (ValueError, TypeError):
                raise _Wrong("time", "must be a string with a time in ISO 8601") from None
        return Label(
            id=None if ident is None else _text("id", ident),
            key=None if key is None else self._key(key),
            value=self._value(entry.get("value")),
            time=time,
            received=received,
        )

    def _key(self, key: Any) -> str:
        """As the log writes it."""
        if self.schema.key is None:
            raise _Wrong("key", f"joins nothing: {self.schema.name} has no key, so send the id of the answer")
        number = isinstance(key, int | float) and not isinstance(key, bool)
        if self.key_kind == "number" and number:
            return str(float(key))
        if self.key_kind == "whole" and number and float(key).is_integer():
            return str(int(key))
        return _text("key", str(key) if isinstance(key, int) and not isinstance(key, bool) else key)

    def _value(self, value: Any) -> str | float:
        if value is None:
            raise _Wrong("value", "is missing: send the label once its outcome is known")
        if self.schema.task == "regression":
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise _Wrong("value", "must be a number")
            return float(value)
        for text in _texts(value):
            if text in self.schema.classes:
                return text
        raise _Wrong("value", f"must be a class of {self.schema.target}: {', '.join(self.schema.classes[:12])}")


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        raise _Wrong(field, f"must be a string of 1 to {LONGEST} characters")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    """How a class may be written: 1, "1", 1.0 and true are the same one where the classes are 0 and 1."""
    if isinstance(value, bool):
        return ("true", "1") if value else ("false", "0")
    if isinstance(value, int | float):
        whole = isinstance(value, int) or value.is_integer()
        texts = (str(int(value)),) if whole else (str(value),)
        return (*texts, {"1": "true", "0": "false"}.get(texts[0], texts[0]), str(float(value)) if whole else texts[0])
    return (value,) if isinstance(value, str) else ()


class Inbox:
    """Where labels of this process go: one spool a model. Safe to share between threads."""

    def __init__(self, project: Project, *, server: str, durable: bool) -> None:
        self._project = project
        self._spools = {
            name: Spool(project.spool(name), server=server, stream=STREAM, durable=durable)
            for name in project.config.models
        }
        self._heads = {name: head(name, server, project.config.monitor.zone) for name in project.config.models}
        self._readers: dict[str, tuple[tuple[int, int], _Reader]] = {}

    def spool(self, model: str) -> Spool:
        return self._spools[model]

    def take(self, model: str, body: bytes, *, received: int) -> int:
        """Keep the label or labels of a body; how many. `received` is microseconds since 1970.

        Raises UsageError for what is not JSON, LabelsRefused for wrong entries, OutOfReach where they cannot be
        written: then none is kept. Once this returns they survive a kill of the process.
        """
        try:
            plain = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError("the body is not JSON", why=str(error), fix=_HELP) from None
        several = isinstance(plain, list)
        entries = plain if isinstance(plain, list) else [plain]
        reader = self._reader(model)
        frames, wrong = bytearray(), []
        for at, entry in enumerate(entries):
            try:
                # A later one of the same list is the newer one.
                frames += frame_of(reader.read(entry, received + at))
            except _Wrong as error:
                place = f"[{at}]" if several else ""
                path = f"{place}.{error.field}".strip(".") if error.field else place or "the body"
                wrong.append({"path": path, "reason": error.reason})
        if wrong:
            raise LabelsRefused(wrong, len(entries))
        if entries:
            self._spools[model].append(self._heads[model], frames, received=received, records=len(entries))
        return len(entries)

    def tick(self, now: int) -> None:
        for one in self._spools.values():
            one.tick(now)

    def close(self) -> None:
        for one in self._spools.values():
            one.close()

    def _reader(self, model: str) -> _Reader:
        """The reviewed schema as it now stands: a class that was added counts without a restart."""
        path = self._project.schema_path(model)
        found = path.stat() if path.is_file() else None
        stamp = (found.st_mtime_ns, found.st_size) if found else (0, 0)
        held = self._readers.get(model)
        if held is None or held[0] != stamp:
            schema = self._project.schema(model)
            kinds = {one.name: one for one in schema.columns}
            column = kinds.get(schema.key or "")
            if column is not None and column.private is not None:
                schema = replace(schema, key=None)  # the log does not hold it as it was sent
            held = (stamp, _Reader(schema, column.kind if column else "category", self._project.zone))
            self._readers[model] = held
        return held[1]

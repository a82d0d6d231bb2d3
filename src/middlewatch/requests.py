"""What one request may hold, made from the schema of the version that answers it.

A body is an object of named values. Every input of the model must be there; the configured time and key and
private columns may be there, are logged and never reach the model; anything else is refused. By kind:

    number     a JSON number; an integer is one too. NaN and Infinity are not JSON
    whole      a number without decimals (3 or 3.0) of at most 64 bits
    boolean    true, false, 0 or 1
    category   a string       text   a string       time   a string, ISO 8601

null is taken where the schema allows the column missing values at all. Ranges and known categories do not
refuse a request: they are watched, not enforced, at serving time.

Bodies are read by a msgspec decoder made for the schema; what it does not take goes through a second, slower
reading that decides, and finds the words for a refusal. The log is read back by the same types.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from .errors import ConfigError, RequestRefused, UsageError, nearest

if TYPE_CHECKING:
    from .schema import Schema

__all__ = ["Body", "BodyType", "Field", "Request", "decode_values", "fields_of", "moment", "reader"]

Body = bytes | msgspec.Raw

_INT64 = 2**63
_Whole = Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64 - 1)] | float
_TYPES: dict[str, Any] = {
    "number": float,
    "whole": _Whole,
    "boolean": bool | Literal[0, 1],
    "category": str,
    "text": str,
    "time": str,
}
_EXPECTED = {
    "number": "a number",
    "whole": "a whole number of at most 64 bits",
    "boolean": "true or false",
    "category": "a string",
    "text": "a string",
    "time": "a string with a time in ISO 8601",
}
EXAMPLE = 'send {"column": value, ...}: GET /docs shows one to copy'
NAMED = 12
"""So many missing fields are named in a refusal: what somebody forgot, without the page of a wide model."""
_TIME_HELP = 'write "2026-11-22T02:00:00Z"'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value a body may hold: `needed` where the model reads it, `nulls` where it may be null."""

    name: str
    kind: str
    needed: bool
    nulls: bool
    private: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A body that was accepted: `inputs` in the model's order, event time in microseconds or None, key, raw bytes.

    `raw` is as received, private values dropped or hashed.
    """

    inputs: tuple[Any, ...]
    time: int | None
    key: str | None
    raw: Body


def fields_of(schema: Schema, inputs: Sequence[str]) -> tuple[Field, ...]:
    """What a body may hold: the model's inputs in their order, then time, key and private columns."""
    by_name = {column.name: column for column in schema.columns}
    extra = [
        column.name
        for column in schema.columns
        if column.name not in inputs
        and column.name != schema.target
        and (column.name in (schema.time, schema.key) or column.private)
    ]
    found = []
    for name in (*inputs, *extra):
        column = by_name[name]
        needed = name in inputs
        found.append(
            Field(
                name=name,
                kind=column.kind,
                needed=needed,
                nulls=column.nulls > 0 or not needed,
                private=column.private,
            )
        )
    return tuple(found)


def moment(text: str, zone: tzinfo) -> int:
    """An ISO 8601 time as microseconds since 1970 in UTC; without a zone of its own it is in `zone`.

    Raises ValueError for anything else.
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=zone)
    try:
        return (parsed - _EPOCH) // _MICROSECOND
    except OverflowError as error:
        raise ValueError(text) from error


def reader(fields: Sequence[Field], *, strict: bool) -> Callable[[Body], tuple[Any, ...]] | None:
    """A fast decoder of bodies to a tuple of values in the fields' order; it raises msgspec errors.

    `strict` is for requests; without it everything may be null or absent, as in a log. None where a name cannot
    be that of a member of a Struct (quotes, backslashes, control characters): then only the slow reading works.
    """
    members: list[Any] = []
    for number, field in enumerate(fields):
        wanted = _TYPES[field.kind]
        if not strict:
            members.append((f"f{number}", wanted | None, None))
        elif field.needed:
            members.append((f"f{number}", wanted | None if field.nulls else wanted))
        else:
            members.append((f"f{number}", wanted | None, None))
    try:
        struct = msgspec.defstruct(
            "Body",
            members,
            rename={f"f{number}": field.name for number, field in enumerate(fields)},
            forbid_unknown_fields=strict,
            gc=False,
            kw_only=True,
        )
    except ValueError:
        return None
    decode = msgspec.json.Decoder(struct).decode
    astuple = msgspec.structs.astuple
    return lambda body: astuple(decode(body))


def decode_values(fields: Sequence[Field], bodies: Sequence[bytes]) -> list[list[Any]]:
    """Logged bodies as columns of values, one list per field; a value that cannot be read is None."""
    fast = reader(fields, strict=False)
    slow = [msgspec.json.Decoder(_TYPES[field.kind] | None) for field in fields]
    rows: list[tuple[Any, ...]] = []
    for body in bodies:
        try:
            if fast is None:
                raise msgspec.ValidationError
            rows.append(fast(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            rows.append(_salvaged(fields, slow, body))
    return [list(values) for values in zip(*rows, strict=True)] if rows else [[] for _ in fields]


def _salvaged(fields: Sequence[Field], decoders: Sequence[msgspec.json.Decoder[Any]], body: bytes) -> tuple[Any, ...]:
    try:
        cells = _CELLS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return (None,) * len(fields)
    row = []
    for field, decoder in zip(fields, decoders, strict=True):
        try:
            row.append(decoder.decode(cells[field.name]) if field.name in cells else None)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            row.append(None)
    return tuple(row)


_CELLS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BodyType:
    """Reads the bodies of requests to one model version.

    `zone` is that of times without one; `secret` keys the hashes of private columns and must be there where the
    schema has `private = "hash"` (ConfigError).
    """

    def __init__(self, schema: Schema, inputs: Sequence[str], *, zone: tzinfo, secret: bytes | None = None) -> None:
        self.fields = fields_of(schema, inputs)
        self._schema = schema
        self._zone = zone
        self._width = len(inputs)
        self._names = {field.name: number for number, field in enumerate(self.fields)}
        self._fast = reader(self.fields, strict=True)
        self._decoders = [msgspec.json.Decoder(_TYPES[field.kind]) for field in self.fields]
        self._wholes = [number for number, field in enumerate(self.fields) if field.kind == "whole"]
        self._times = [number for number, field in enumerate(self.fields) if field.kind == "time"]
        self._time = self._names.get(schema.time) if schema.time else None
        self._key = self._names.get(schema.key) if schema.key else None
        self._private = {field.name: field.private for field in self.fields if field.private}
        self._secret = secret or b""
        if "hash" in self._private.values() and not secret:
            hashed = ", ".join(name for name, how in self._private.items() if how == "hash")
            raise ConfigError(
                f"no key to hash private columns with: {hashed}",
                where=f"{schema.name}.schema.toml",
                fix="set MIDDLEWATCH_PRIVATE_KEY to a long random text, and keep it: other keys give other hashes",
            )

    @property
    def is_private(self) -> bool:
        """Whether bodies hold private columns."""
        return bool(self._private)

    def read(self, body: Body) -> Request:
        """Check and read one body. Raises RequestRefused naming the field, UsageError for what is not JSON."""
        try:
            if self._fast is None:
                raise msgspec.ValidationError
            values = self._fast(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            values = self._slow(body)
        for number in self._wholes:
            if type(values[number]) is float:
                self._check_whole(number, values[number])
        time = None
        for number in self._times:
            if values[number] is not None:
                micros = self._moment(number, values[number])
                if number == self._time:
                    time = micros
        key = None
        if self._key is not None and values[self._key] is not None:
            key = str(values[self._key])
        if self._private:
            return self._without_private(values, time, key, body)
        return Request(values[: self._width], time, key, body)

    def redacted(self, body: Body) -> bytes:
        """A refused body for the record: without private columns; empty where they could not be told apart."""
        if not self._private:
            return bytes(body)
        try:
            cells = _CELLS.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""
        # A private value may have been sent under another name: only what the schema knows is kept.
        return msgspec.json.encode(
            {name: cell for name, cell in cells.items() if name in self._names and name not in self._private}
        )

    def event_time(self, body: Body) -> int | None:
        """The event time of a body that was refused, where it can be told."""
        if self._time is None:
            return None
        try:
            text = self._decoders[self._time].decode(_CELLS.decode(body)[self.fields[self._time].name])
            return moment(text, self._zone)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, ValueError):
            return None

    # ------------------------------------------------------------- the slow reading

    def _slow(self, body: Body) -> tuple[Any, ...]:
        """The reading that decides: the same values as the fast one, or a refusal in words."""
        cells = _cells(body)
        self._check_names(cells)
        values: list[Any] = []
        for field, decoder in zip(self.fields, self._decoders, strict=True):
            cell = cells.get(field.name)
            if cell is None or bytes(cell) == b"null":
                if cell is not None and not field.nulls:
                    raise _refusal(
                        field, "null", f"send {_EXPECTED[field.kind]}; or allow it missing values (nulls) and retrain"
                    )
                values.append(None)
                continue
            try:
                values.append(decoder.decode(cell))
            except msgspec.ValidationError:
                came = _described(cell)
                raise _refusal(field, came, _advice(field, came)) from None
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise _broken(error) from None
        return tuple(values)

    def _check_names(self, cells: Mapping[str, msgspec.Raw]) -> None:
        missing = [field.name for field in self.fields if field.needed and field.name not in cells]
        unknown = [name for name in cells if name not in self._names]
        if missing:
            hint = f'; it has "{unknown[0][:64]}", which the model does not know' if unknown else ""
            field = self.fields[self._names[missing[0]]]
            raise RequestRefused(
                f"{_listed(missing)} missing{hint}",
                field=missing[0],
                came="nothing",
                expected=_EXPECTED[field.kind] + (" or null" if field.nulls else ""),
                fix="send every input of the model by its name" + (", null where it is unknown" if field.nulls else ""),
            )
        if unknown:
            name = unknown[0][:64]
            known = {column.name: column for column in self._schema.columns}.get(unknown[0])
            if known is not None and known.name == self._schema.target:
                why = f'"{name}" is what the model predicts'
            elif known is not None:
                why = f'"{name}" is no input of this version'
            else:
                why = nearest(name, self._names)
            raise RequestRefused(
                f'unknown field "{name}": {why}',
                field=name,
                came="a field the model does not know",
                expected=f"{len(self.fields)} fields: {', '.join(list(self._names)[:20])}",
                fix=f'leave "{name}" out, or send it under its right name',
            )

    def _check_whole(self, number: int, value: float) -> None:
        if not value.is_integer() or not -_INT64 <= value < _INT64:
            field = self.fields[number]
            came = "a number with decimals" if not value.is_integer() else "a number of more than 64 bits"
            raise _refusal(field, came, "send it without decimals, or make the column's kind number and retrain")

    def _moment(self, number: int, text: str) -> int:
        try:
            return moment(text, self._zone)
        except ValueError:
            raise _refusal(self.fields[number], "a string that is no such time", _TIME_HELP) from None

    def _without_private(self, values: tuple[Any, ...], time: int | None, key: str | None, body: Body) -> Request:
        kept: dict[str, Any] = {}
        for name, cell in _CELLS.decode(body).items():
            how = self._private.get(name)
            if how is None or bytes(cell) == b"null":
                kept[name] = cell
            elif how == "hash":
                kept[name] = self._hashed(values[self._names[name]])
        if self._key is not None and key is not None:
            how = self._private.get(self.fields[self._key].name)
            if how is not None:
                key = self._hashed(values[self._key]) if how == "hash" else None
        return Request(values[: self._width], time, key, msgspec.json.encode(kept))

    def _hashed(self, value: Any) -> str:
        """The same value gives the same hash, whether it came as 1 or 1.0."""
        if type(value) is float and value.is_integer():
            value = int(value)
        return "hmac-" + hmac.digest(self._secret, str(value).encode(), "sha256").hex()[:32]


def _listed(names: Sequence[str]) -> str:
    """`the field "a" is`, `the fields "a" and "b" are`: up to NAMED of them, the rest counted."""
    shown = [f'"{name}"' for name in names[:NAMED]]
    if len(names) > NAMED:
        shown.append(f"{len(names) - NAMED} more")
    if len(shown) == 1:
        return f"the field {shown[0]} is"
    return f"the fields {', '.join(shown[:-1])} and {shown[-1]} are"


def _cells(body: Body) -> dict[str, msgspec.Raw]:
    try:
        return _CELLS.decode(body)
    except msgspec.ValidationError:
        try:
            msgspec.json.decode(body)
        except msgspec.ValidationError:
            pass  # JSON, with a number out of range somewhere
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _broken(error) from None
        raise RequestRefused(
            "the body is not an object",
            came=_described(body),
            expected="an object with the model's inputs by name",
            fix=EXAMPLE,
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(error, empty=not bytes(body).strip()) from None


def _broken(error: Exception, *, empty: bool = False) -> UsageError:
    if empty:
        return UsageError("the body is empty", fix=EXAMPLE)
    if isinstance(error, RecursionError):
        why = "it is nested too deeply"
    elif isinstance(error, UnicodeDecodeError):
        why = "it is not UTF-8"
    else:
        why = str(error).removeprefix("JSON is malformed: ")
    return UsageError("the body is not JSON", why=why, fix=f"{EXAMPLE}; null, not NaN, for what is missing")


def _refusal(field: Field, came: str, fix: str) -> RequestRefused:
    expected = _EXPECTED[field.kind] + (" or null" if field.nulls else "")
    return RequestRefused(
        f'"{field.name}" must be {expected}, and {came} came', field=field.name, came=came, expected=expected, fix=fix
    )


def _described(cell: Body) -> str:
    """What a JSON value is, in words, never its content."""
    text = bytes(cell).strip()
    match text[:1]:
        case b'"':
            try:
                float(text.strip(b'"'))
            except ValueError:
                return "a string"
            return "a string that holds a number"
        case b"{":
            return "an object"
        case b"[":
            return "a list"
        case b"t" | b"f":
            return "true or false"
        case b"n":
            return "null"
    return "a number too large for 64 bits" if len(text) > 18 or b"e" in text.lower() else "a number"


def _advice(field: Field, came: str) -> str:
    if field.kind in ("number", "whole") and came == "a string that holds a number":
        return f'send "{field.name}" without quotes'
    if field.kind in ("category", "text") and came == "a number":
        return f'send "{field.name}" in quotes'
    return f'send "{field.name}" as {_EXPECTED[field.kind]}'

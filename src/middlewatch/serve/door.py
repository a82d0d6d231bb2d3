"""Who comes in: what the headers of a request say, held against sizes and keys."""

from __future__ import annotations

from typing import NamedTuple

from ..predictions import COMPARE
from .asgi import LARGEST_BODY, LARGEST_HEADERS, Headers, HttpError, too_large, unauthorised
from .keys import Key, Keys, presented

__all__ = ["Admitted", "Door"]

_COMPARE = COMPARE.encode()
_DISCARDED = 64 << 20  # a larger body than this is not read to its end: the connection is closed instead


class Admitted(NamedTuple):
    """What the headers say: the body's length (-1: not said), who asks, what the key shown opens."""

    length: int
    caller: str
    scopes: frozenset[str]


class Door:
    """The keys of a server; they are asked for unless `is_open`."""

    def __init__(self, keys: Keys, *, is_open: bool) -> None:
        self._keys = keys
        self._is_open = is_open
        self._callers: dict[bytes, str] = {}

    def admit(self, headers: Headers, needed: str) -> Admitted:
        """Look at the headers once. Raises HttpError for what they do not allow; `needed` is a key's scope."""
        length, size = -1, 0
        api_key = authorization = said = agent = encoding = b""
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"content-length":
                length = int(value)
            elif name == b"x-middlewatch-caller":
                said = value
            elif name == b"user-agent":
                agent = value
            elif name == b"authorization":
                authorization = value
            elif name == b"x-api-key":
                api_key = value
            elif name == b"content-encoding":
                encoding = value
        if size > LARGEST_HEADERS:
            raise HttpError(
                431, "the request's headers are too large", fix=f"send at most {LARGEST_HEADERS >> 10} KB of them"
            )
        if encoding not in (b"", b"identity"):
            raise HttpError(415, "the body is compressed", fix="send it as it is, without content-encoding")
        key = None
        if self._keys and (api_key or authorization):
            key = self._opened(api_key, authorization, needed)
        elif not self._is_open:
            raise unauthorised("this server asks for an API key")
        if length > LARGEST_BODY:
            closing = {b"connection": b"close"} if length > _DISCARDED else {}
            raise too_large(closing)
        # What is sent again for a comparison says so under any key: nobody may take it for traffic.
        named = "" if said == _COMPARE or key is None else key.name
        caller = named or self._caller(said or agent.partition(b" ")[0])
        return Admitted(length, caller, key.scopes if key else frozenset())

    def _opened(self, api_key: bytes, authorization: bytes, needed: str) -> Key | None:
        key = self._keys.find(presented(authorization, api_key))
        if key is None:
            if self._is_open:
                return None
            raise unauthorised("this API key is not known here")
        if needed not in key.scopes and not self._is_open:
            raise HttpError(403, f'this API key has no scope "{needed}"', fix="use a key that has it")
        return key

    def _caller(self, header: bytes) -> str:
        """A caller's name as it is logged: 64 printable characters."""
        known = self._callers.get(header)
        if known is None:
            text = header[:256].decode("utf-8", "replace")
            known = "".join(one if one.isprintable() else "?" for one in text)[:64]
            if len(self._callers) < 1000:
                self._callers[header] = known
        return known

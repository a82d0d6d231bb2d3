"""A request as a page sees it, and its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

# Nothing may be loaded or run but our own style sheet and pictures; forms go to this server alone.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# "same-origin" and not "no-referrer": with the latter a browser posts forms with the origin "null".
COMMON: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`query` and `form` hold the last value of each name; header names are lower case; `client` is an address.

    `root` is the prefix under which a proxy shows the pages, "" for none; `path` is without it.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    client: str = ""
    scopes: frozenset[str] = frozenset()
    root: str = ""

    def link(self, path: str, **query: Any) -> str:
        """An address inside, with the model that this request is about carried along; None leaves a key out."""
        kept = {"model": self.query.get("model"), **query}
        words = urlencode({name: value for name, value in kept.items() if value not in (None, "")})
        return f"{self.root}{path}?{words}" if words else f"{self.root}{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """`headers` come beside COMMON."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[tuple[bytes, bytes]]:
        """All headers as ASGI wants them."""
        named = {
            **COMMON,
            "content-type": self.kind,
            "content-length": str(len(self.body)),
            "cache-control": "no-store",
            **self.headers,
        }
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]


def as_json(facts: Mapping[str, Any], *, status: int = 200) -> Response:
    """The facts of a page, with `"schema": 1`."""
    body = json.dumps({"schema": 1, **facts}, default=str, allow_nan=False, ensure_ascii=False)
    return Response(status=status, body=body.encode() + b"\n", kind="application/json")


def see(address: str) -> Response:
    """After an act: look there (a page that can be loaded again without doing it twice)."""
    return Response(status=303, headers={"location": address})

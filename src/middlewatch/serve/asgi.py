"""HTTP in small pieces, as ASGI has it: bodies in, answers and errors out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from ..errors import MiddlewatchError

__all__ = ["Gone", "HttpError"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
Page = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 1 << 20
LARGEST_HEADERS = 32 << 10
JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
PLAIN = (b"content-type", b"text/plain; charset=utf-8")
HTML = (b"content-type", b"text/html; charset=utf-8")


class HttpError(MiddlewatchError):
    """An error that is of HTTP itself: `code` is the status, `headers` go with it."""

    def __init__(self, code: int, what: str, *, fix: str = "", headers: Mapping[bytes, bytes] | None = None) -> None:
        super().__init__(what, fix=fix)
        self.code = code
        self.headers = headers or {}


class Gone(Exception):
    """The client went away before its request was whole."""


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def body_of(receive: Receive, length: int) -> bytes:
    """The whole body. Raises HttpError for a large one, Gone where the client went away or was given up."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return bytes(message["body"])
    return await _parts(message, receive, length)


async def _parts(message: Message, receive: Receive, length: int) -> bytes:
    """A body that comes in several messages, of which `message` is the first."""
    parts, size = [], 0
    while True:
        if message["type"] != "http.request":
            raise Gone
        parts.append(message["body"])
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise too_large({b"connection": b"close"} if length < 0 else {})
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def too_large(headers: Mapping[bytes, bytes]) -> HttpError:
    return HttpError(
        413,
        f"the body is larger than {LARGEST_BODY >> 20} MB",
        fix="send shorter lists, or score the table with: middlewatch score TABLE --out FILE --log",
        headers=headers,
    )


def unauthorised(what: str) -> HttpError:
    return HttpError(
        401,
        what,
        fix="send it as: Authorization: Bearer KEY",
        headers={b"www-authenticate": b'Bearer, Basic realm="middlewatch"'},
    )


def status_of(error: Exception) -> int:
    if isinstance(error, HttpError):
        return error.code
    return error.status if isinstance(error, MiddlewatchError) else 500


async def send_answer(send: Send, status: int, body: bytes, kind: tuple[bytes, bytes], ident: str = "") -> None:
    headers = [kind, (b"content-length", b"%d" % len(body))]
    if ident:
        headers.append((b"x-request-id", ident.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(
    send: Send,
    error: Exception,
    ident: str,
    shaped: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None,
) -> None:
    """An error as JSON: what a caller needs, never another caller's data or our insides.

    `shaped` turns our facts into those that the route's clients know.
    """
    code = status_of(error)
    if isinstance(error, MiddlewatchError):
        facts: dict[str, Any] = error.to_dict()
    else:
        facts = {"error": "this is a fault of the server", "fix": "its log says what went wrong"}
    headers = [JSON, (b"content-length", b"")]
    if isinstance(error, HttpError):
        headers += list(error.headers.items())
    if code == 503:
        headers.append((b"retry-after", b"1"))
    if ident:
        headers.append((b"x-request-id", ident.encode()))
        facts["id"] = ident
    if shaped is not None:
        facts = shaped(code, facts)
    body = json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace")
    headers[1] = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})

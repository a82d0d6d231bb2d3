"""Paths, headers and errors: the ASGI callable. What an answer is, `scorer` knows; here is HTTP alone."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .. import notes
from ..errors import MiddlewatchError, NotFound, OutOfReach, RequestRefused, UsageError, nearest
from ..times import parse_time
from . import openapi
from .keys import Key, Keys, presented
from .live import Live
from .scorer import Answer, Scorer
from .sync import GroupCommit

__all__ = ["App", "HttpError"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
Page = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 1 << 20
LARGEST_HEADERS = 32 << 10
_DISCARDED = 64 << 20  # a larger body than this is not read to its end: the connection is closed instead
_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_HTML = (b"content-type", b"text/html; charset=utf-8")
_GET = ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs")
_OPEN = ("/livez", "/readyz")  # probes carry no keys


class HttpError(MiddlewatchError):
    """An error that is of HTTP itself: `code` is the status, `headers` go with it."""

    def __init__(self, code: int, what: str, *, fix: str = "", headers: Mapping[bytes, bytes] | None = None) -> None:
        super().__init__(what, fix=fix)
        self.code = code
        self.headers = headers or {}


class Gone(Exception):
    """The client went away before its request was whole."""


class _Admitted(NamedTuple):
    """What the headers say: the body's length (-1: not said), who asks, what the key shown opens."""

    length: int
    caller: str
    scopes: frozenset[str]


class App:
    """The server's ASGI callable.

    `live` answers; `pages`, where given, is an ASGI callable for every path that is not the API's. `keys` are
    asked for unless `is_open`. `hooks` are called once when the server has started and when it stops.
    """

    def __init__(self, live: Live, *, keys: Keys, is_open: bool, pages: Page | None = None) -> None:
        self._live = live
        self._metrics = live.metrics
        self._keys = keys
        self._is_open = is_open
        self._pages = pages
        names = list(live.standings)
        self._predict = {f"/models/{name}/predict": name for name in names}
        if len(names) == 1:
            self._predict["/predict"] = names[0]
        self._labels = {f"{path.removesuffix('predict')}labels": name for path, name in self._predict.items()}
        self._callers: dict[bytes, str] = {}
        durable = live.project.config.serve.durability == "power"
        self._commit = GroupCommit() if durable else None
        # An answer that waits for the disk cannot be given at once.
        self.quick_routes = {} if durable else {path.encode(): name for path, name in self._predict.items()}

    def close(self) -> None:
        if self._commit is not None:
            self._commit.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope["path"]
        model = self._predict.get(path)
        if model is not None and scope["method"] == "POST":
            await self._predicted(model, path, scope, receive, send)
        else:
            await self._other(path, scope, receive, send)

    # ------------------------------------------------------------------ predictions

    def quick(self, path: bytes, headers: Headers, body: bytes) -> Answer | None:
        """The short way of a prediction (see `protocol`): its answer, or None for all that is not a plain 200."""
        received, started = time.time_ns() // 1000, time.perf_counter()
        model = self.quick_routes[path]
        scorer = self._live.scorers.get(model)
        if scorer is None:
            return None
        try:
            caller = self._admitted(headers, "predict").caller
            answer = scorer.answer(body, caller=caller, received=received)
        except Exception:  # noqa: BLE001 - nothing was logged or answered: the long way finds the words
            return None
        self._metrics.predicted(model, scorer.version, answer.rows)
        self._metrics.request("/models/{name}/predict", model, scorer.version, 200, time.perf_counter() - started)
        return answer

    def closed(self, code: int) -> None:
        """Count a connection that was closed with an answer before there was a whole request."""
        self._metrics.request("", "", "", code, 0.0)

    async def _predicted(self, model: str, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        received = time.time_ns() // 1000
        started, caller, version, body = time.perf_counter(), "", "", b""
        scorer: Scorer | None = None
        try:
            length, caller, _ = self._admitted(scope["headers"], "predict")
            body = await _body(receive, length)
            started = time.perf_counter()
            scorer = self._live.scorers.get(model)
            if scorer is None:
                raise self._live.unanswered(model)
            version = scorer.version
            answer = scorer.answer(body, caller=caller, received=received)
            if self._commit is not None:
                await self._commit.durable(scorer.journalist.log)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001 - every request is answered; what is no error of ours is our bug
            code, ident = self._note(error, model, scorer, body, caller, received)
            await _send_error(send, error, ident)
        else:
            code = 200
            await _send(send, 200, answer.body, _JSON, answer.id)
            self._metrics.predicted(model, version, answer.rows)
        self._metrics.request("/models/{name}/predict", model, version, code, time.perf_counter() - started)

    def _note(
        self, error: Exception, model: str, scorer: Scorer | None, body: bytes, caller: str, received: int
    ) -> tuple[int, str]:
        """Count and keep a failed request; its status, and its id where it is kept."""
        ident = ""
        if scorer is not None and isinstance(error, RequestRefused | UsageError):
            self._metrics.add("middlewatch_refused_total", model=model)
            ident = scorer.refused(error, body, caller=caller, received=received)
        elif scorer is not None and isinstance(error, OutOfReach):
            self._metrics.add("middlewatch_log_failures_total", model=model)
        elif not isinstance(error, MiddlewatchError):
            traceback.print_exception(error)
        return _status(error), ident

    def _admitted(self, headers: Headers, needed: str) -> _Admitted:
        """Look at the headers once. Raises HttpError for what they do not allow."""
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
            raise _unauthorised("this server asks for an API key")
        if length > LARGEST_BODY:
            closing = {b"connection": b"close"} if length > _DISCARDED else {}
            raise _too_large(closing)
        caller = (key.name if key else "") or self._caller(said or agent.partition(b" ")[0])
        return _Admitted(length, caller, key.scopes if key else frozenset())

    def _opened(self, api_key: bytes, authorization: bytes, needed: str) -> Key | None:
        key = self._keys.find(presented(authorization, api_key))
        if key is None:
            if self._is_open:
                return None
            raise _unauthorised("this API key is not known here")
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

    # ------------------------------------------------------------------ everything else

    async def _other(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        method = scope["method"]
        route, code = "pages", 200
        try:
            if path in _OPEN and method in ("GET", "HEAD"):
                length = 0
            else:
                # A page's POST is checked by the page: it alone knows what the button does.
                needed = "admin" if path == "/events" else "predict" if path in self._labels else "read"
                length, _, scope["middlewatch.scopes"] = self._admitted(scope["headers"], needed)
            if path in _GET or path in self._predict or path in self._labels or path == "/events":
                shown = "/models/{name}/predict" if path in self._predict else "/models/{name}/labels"
                route = shown if path in self._predict or path in self._labels else path
                code = await self._own(path, method, receive, send, length)
            elif self._pages is not None and _is_for_people(scope):
                await self._pages(scope, receive, send)
            else:
                raise self._unknown(path)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001 - every request is answered; what is no error of ours is our bug
            if not isinstance(error, MiddlewatchError):
                traceback.print_exception(error)
            code = _status(error)
            await _send_error(send, error, "")
        self._metrics.request(route, "", "", code, time.perf_counter() - started)

    async def _own(self, path: str, method: str, receive: Receive, send: Send, length: int) -> int:
        """Answer one of our own paths other than a prediction; its status."""
        posted = path in self._predict or path in self._labels or path == "/events"
        allowed = ("POST",) if posted else ("GET", "HEAD")
        if method not in allowed:
            raise HttpError(
                405, f"{path} is asked by {allowed[0]}, not {method}", headers={b"allow": ", ".join(allowed).encode()}
            )
        if path == "/events":
            noted = await self._event(await _body(receive, length))
            await _send(send, 201, json.dumps({"schema": 1, **noted}).encode(), _JSON)
            return 201
        if path in self._labels:
            facts = await self._labelled(self._labels[path], await _body(receive, length))
            await _send(send, 200, json.dumps(facts).encode(), _JSON)
            return 200
        if path == "/livez":
            await _send(send, 200, b'{"alive":true}', _JSON)
        elif path == "/readyz":
            facts = self._live.readiness()
            code = 200 if facts["ready"] else 503
            await _send(send, code, json.dumps({"schema": 1, **facts}).encode(), _JSON)
            return code
        elif path == "/metrics":
            await _send(send, 200, self._metrics.text().encode(), _TEXT)
        elif path == "/openapi.json":
            await _send(
                send, 200, json.dumps(openapi.document(self._live.scorers, list(self._predict))).encode(), _JSON
            )
        else:
            await _send(send, 200, openapi.page(self._live.scorers, list(self._predict)).encode(), _HTML)
        return 200

    async def _labelled(self, model: str, body: bytes) -> dict[str, Any]:
        """Outcomes that came later, kept before the answer as predictions are."""
        inbox = self._live.inbox
        # In a thread: a long list must not keep predictions waiting.
        count = await asyncio.to_thread(inbox.take, model, body, received=time.time_ns() // 1000)
        if self._commit is not None:
            await self._commit.durable(inbox.spool(model))
        self._metrics.add("middlewatch_labels_total", count, model=model)
        return {"schema": 1, "model": model, "labels": count}

    async def _event(self, body: bytes) -> dict[str, str]:
        """`{"text": ..., "source": ..., "at": ...}` as a note on the time line."""
        try:
            facts = json.loads(body)
            text, source, at = facts["text"], facts.get("source", ""), facts.get("at")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                "this is not an event", fix='send {"text": "what happened", "source": "who says so"}'
            ) from error
        if not (isinstance(text, str) and isinstance(source, str) and isinstance(at, str | None)):
            raise UsageError("text, source and at are strings", fix='send {"text": "what happened"}')
        now = datetime.now(UTC)
        project = self._live.project
        moment = parse_time(at, now=now, zone=project.zone) if at else now
        note = await asyncio.to_thread(notes.add, project.store, text, source=source, at=moment, now=now, actor=source)
        return note.to_dict()

    def _unknown(self, path: str) -> MiddlewatchError:
        routes = [*self._predict, *self._labels, *_GET, "/events"]
        parts = path.split("/")
        if len(parts) == 4 and parts[1] == "models" and parts[3] in ("predict", "labels"):
            return NotFound(f'there is no model "{parts[2][:64]}" here', fix=nearest(parts[2], self._live.standings))
        if path in ("/predict", "/labels"):
            known = self._predict if path == "/predict" else self._labels
            return NotFound("this server has several models", fix=f"ask one of: {', '.join(known)}")
        return NotFound(f'there is nothing at "{path[:100]}"', fix=nearest(path, routes))


# ---------------------------------------------------------------------- HTTP in small pieces


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _body(receive: Receive, length: int) -> bytes:
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
            raise _too_large({b"connection": b"close"} if length < 0 else {})
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def _too_large(headers: Mapping[bytes, bytes]) -> HttpError:
    return HttpError(
        413,
        f"the body is larger than {LARGEST_BODY >> 20} MB",
        fix="send shorter lists, or score the table with: middlewatch score TABLE --out FILE --log",
        headers=headers,
    )


def _unauthorised(what: str) -> HttpError:
    return HttpError(
        401,
        what,
        fix="send it as: Authorization: Bearer KEY",
        headers={b"www-authenticate": b'Bearer, Basic realm="middlewatch"'},
    )


def _is_for_people(scope: Scope) -> bool:
    """True for what a browser asks of the pages: a look, or a form sent back. The rest is a client gone astray."""
    if scope["path"] in ("/predict", "/labels") or scope["path"].startswith("/models/"):
        return False
    if scope["method"] in ("GET", "HEAD"):
        return True
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    return bool(kinds) and kinds[0].startswith(b"application/x-www-form-urlencoded")


def _status(error: Exception) -> int:
    if isinstance(error, HttpError):
        return error.code
    return error.status if isinstance(error, MiddlewatchError) else 500


async def _send(send: Send, status: int, body: bytes, kind: tuple[bytes, bytes], ident: str = "") -> None:
    headers = [kind, (b"content-length", b"%d" % len(body))]
    if ident:
        headers.append((b"x-request-id", ident.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_error(send: Send, error: Exception, ident: str) -> None:
    """An error as JSON: what a caller needs, never another caller's data or our insides."""
    code = _status(error)
    if isinstance(error, MiddlewatchError):
        facts = error.to_dict()
    else:
        facts = {"error": "this is a fault of the server", "fix": "its log says what went wrong"}
    headers = [_JSON, (b"content-length", b"")]
    if isinstance(error, HttpError):
        headers += list(error.headers.items())
    if code == 503:
        headers.append((b"retry-after", b"1"))
    if ident:
        headers.append((b"x-request-id", ident.encode()))
        facts["id"] = ident
    body = json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace")
    headers[1] = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Paths and answers: the ASGI callable. What an answer is, `scorer` knows; here is HTTP alone."""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from .. import notes
from ..errors import MiddlewatchError, NotFound, OutOfReach, RequestRefused, UsageError, nearest
from ..times import parse_time
from . import inference, mlflow, openapi
from .access import AccessLog
from .asgi import (
    HTML,
    JSON,
    PLAIN,
    TEXT,
    Gone,
    Headers,
    HttpError,
    Page,
    Receive,
    Scope,
    Send,
    body_of,
    lifespan,
    send_answer,
    send_error,
    status_of,
)
from .door import Door
from .keys import Keys
from .live import Live
from .scorer import Answer, ModelFailed, Scorer
from .sync import GroupCommit

__all__ = ["App"]

_GET = (
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/environment",
    "/ping",
    "/health",
    "/version",
    "/v2",
)
_OPEN = ("/livez", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready")  # probes carry no keys
_V2 = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<what>/infer|/ready)?")


class Shape(NamedTuple):
    """How a predict route is asked and answers: `route` names it in metrics, `error` turns our facts into its own."""

    route: str
    answer: Callable[..., Answer]
    error: Callable[[int, dict[str, Any]], dict[str, Any]]


def _own(scorer: Scorer, body: bytes, kind: str, *, caller: str, received: int) -> Answer:
    return scorer.answer(body, caller=caller, received=received)


OWN = Shape("/models/{name}/predict", _own, lambda code, facts: facts)
MLFLOW = Shape(mlflow.ROUTE, mlflow.answer, mlflow.error)
INFERENCE = Shape(inference.ROUTE, inference.answer, inference.error)


class App:
    """The server's ASGI callable.

    `live` answers; `pages`, where given, is an ASGI callable for every path that is not the API's. `keys` are
    asked for unless `is_open`.
    """

    def __init__(self, live: Live, *, keys: Keys, is_open: bool, pages: Page | None = None) -> None:
        self._live = live
        self._metrics = live.metrics
        self._door = Door(keys, is_open=is_open)
        self._pages = pages
        settings = live.project.config.serve
        self._access = AccessLog(is_on=settings.access_log == "json")
        live.chores.append(self._access.flush)
        self._root = settings.root_path.rstrip("/")
        self._predict: dict[str, tuple[str, Shape]] = {}
        self._labels: dict[str, str] = {}
        names = list(live.standings)
        for name in names:
            for prefix in (f"/models/{name}", *([""] if len(names) == 1 else [])):
                self._predict[f"{prefix}/predict"] = name, OWN
                self._predict[f"{prefix}{mlflow.ROUTE}"] = name, MLFLOW
                self._labels[f"{prefix}/labels"] = name
        self._shown: dict[str, Any] = {"single": len(names) == 1, "root": self._root, "keys": not is_open}
        durable = settings.durability == "power"
        self._commit = GroupCommit() if durable else None
        # An answer that waits for the disk cannot be given at once.
        self.quick_routes = {} if durable else {
            f"{root}{path}".encode(): name
            for path, (name, shape) in self._predict.items() if shape is OWN for root in {"", self._root}
        }  # fmt: skip

    def close(self) -> None:
        self._access.flush()
        if self._commit is not None:
            self._commit.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope["path"]
        if self._root:
            if path == self._root or path.startswith(f"{self._root}/"):
                path = path[len(self._root) :] or "/"
            scope = {**scope, "path": path, "root_path": self._root}
        found = self._predict.get(path) or self._infers(path)
        if found is not None and scope["method"] == "POST":
            await self._predicted(*found, scope, receive, send)
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
            caller = self._door.admit(headers, "predict").caller
            answer = scorer.answer(body, caller=caller, received=received)
        except Exception:  # noqa: BLE001 - nothing was logged or answered: the long way finds the words
            return None
        self._metrics.predicted(model, scorer.version, answer.rows)
        seconds = time.perf_counter() - started
        self._metrics.request(OWN.route, model, scorer.version, 200, seconds)
        if self._access.is_on:
            self._access.add(
                "POST", path.decode(), 200, seconds,
                ident=answer.id, caller=caller, model=model, version=scorer.version,
            )  # fmt: skip
        return answer

    def closed(self, code: int) -> None:
        """Count a connection that was closed with an answer before there was a whole request."""
        self._metrics.request("", "", "", code, 0.0)

    def _infers(self, path: str) -> tuple[str, Shape] | None:
        match = _V2.fullmatch(path) if path.startswith("/v2/") else None
        if match is None or match["what"] != "/infer" or match["model"] not in self._live.standings:
            return None
        return match["model"], INFERENCE._replace(answer=partial(inference.answer, version=match["version"]))

    async def _predicted(self, model: str, shape: Shape, scope: Scope, receive: Receive, send: Send) -> None:
        received = time.time_ns() // 1000
        started, caller, version, body = time.perf_counter(), "", "", b""
        scorer: Scorer | None = None
        try:
            length, caller, _ = self._door.admit(scope["headers"], "predict")
            body = await body_of(receive, length)
            started = time.perf_counter()
            scorer = self._live.scorers.get(model)
            if scorer is None:
                raise self._live.unanswered(model)
            version = scorer.version
            answer = shape.answer(scorer, body, _kind(scope), caller=caller, received=received)
            if self._commit is not None:
                await self._commit.durable(scorer.journalist.log)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001 - every request is answered; what is no error of ours is our bug
            code, ident = self._note(error, model, scorer, body, caller, received)
            await send_error(send, error, ident, shape.error)
        else:
            code, ident = 200, answer.id
            await send_answer(send, 200, answer.body, JSON, ident)
            self._metrics.predicted(model, version, answer.rows)
        seconds = time.perf_counter() - started
        self._metrics.request(shape.route, model, version, code, seconds)
        self._access.add("POST", scope["path"], code, seconds, ident=ident, caller=caller, model=model, version=version)

    def _note(
        self, error: Exception, model: str, scorer: Scorer | None, body: bytes, caller: str, received: int
    ) -> tuple[int, str]:
        """Count and keep a failed request; its status, and its id."""
        if scorer is not None and isinstance(error, ModelFailed):
            traceback.print_exception(error.__cause__ or error)
            return status_of(error), scorer.refused(error, body, caller=caller, received=received)
        if scorer is not None and isinstance(error, RequestRefused | UsageError):
            self._metrics.add("middlewatch_refused_total", model=model)
            return status_of(error), scorer.refused(error, body, caller=caller, received=received)
        if scorer is not None and isinstance(error, OutOfReach):
            self._metrics.add("middlewatch_log_failures_total", model=model)
        elif not isinstance(error, MiddlewatchError):
            traceback.print_exception(error)
        return status_of(error), self._live.ids.next(received)

    # ------------------------------------------------------------------ everything else

    async def _other(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        ident = self._live.ids.next(time.time_ns() // 1000)
        method, caller = scope["method"], ""
        route, code = "pages", 200
        try:
            if path in _OPEN and method in ("GET", "HEAD"):
                length = 0
            else:
                # A page's POST is checked by the page: it alone knows what the button does.
                needed = "admin" if path == "/events" else "predict" if path in self._labels else "read"
                length, caller, scope["middlewatch.scopes"] = self._door.admit(scope["headers"], needed)
            named = self._route(path)
            if named:
                route = named
                code = await self._ours(path, method, receive, send, length, ident)
            elif self._pages is not None and _is_for_people(scope):
                await self._pages(scope, receive, send)
            else:
                raise self._unknown(path)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001 - every request is answered; what is no error of ours is our bug
            if not isinstance(error, MiddlewatchError):
                traceback.print_exception(error)
            code = status_of(error)
            await send_error(send, error, ident, inference.error if path.startswith("/v2") else None)
        seconds = time.perf_counter() - started
        self._metrics.request(route, "", "", code, seconds)
        self._access.add(method, path, code, seconds, ident=ident, caller=caller)

    def _route(self, path: str) -> str:
        """How a path of ours is named in metrics; "" for all others."""
        if path in self._predict:
            return self._predict[path][1].route
        if path in self._labels:
            return "/models/{name}/labels"
        if path in _GET or path in _OPEN or path == "/events":
            return path
        return "/v2/models/{name}" if _V2.fullmatch(path) else ""

    async def _ours(self, path: str, method: str, receive: Receive, send: Send, length: int, ident: str) -> int:
        """Answer one of our own paths other than a prediction; its status."""
        posted = path in self._predict or path in self._labels or path == "/events" or path.endswith("/infer")
        allowed = ("POST",) if posted else ("GET", "HEAD")
        if method not in allowed:
            raise HttpError(
                405,
                f"{path} is asked by {allowed[0]}, not {method}",
                fix=f"curl URL{self._root}{path} -d '{{...}}': GET {self._root}/docs shows one to copy"
                if posted
                else "",
                headers={b"allow": ", ".join(allowed).encode()},
            )
        code, kind = 200, JSON
        if path == "/events":
            facts = {"schema": 1, **await self._event(await body_of(receive, length))}
            code, text = 201, json.dumps(facts)
        elif path in self._labels:
            text = json.dumps(await self._labelled(self._labels[path], await body_of(receive, length)))
        elif path == "/livez":
            text = '{"alive":true}'
        elif path == "/readyz":
            facts = {"schema": 1, **self._live.readiness()}
            code, text = (200 if facts["ready"] else 503), json.dumps(facts)
        elif path == "/environment":
            text = json.dumps({"schema": 1, **await asyncio.to_thread(self._live.environment)})
        elif path == "/metrics":
            text, kind = self._metrics.text(), TEXT
        elif path == "/openapi.json":
            text = json.dumps(openapi.document(self._live.scorers, **self._shown, version=_version()))
        elif path == "/docs":
            text, kind = openapi.page(self._live.scorers, **self._shown), HTML
        elif path in ("/ping", "/health", "/version"):
            ready = path == "/version" or bool(self._live.readiness()["ready"])
            code, text, kind = (200 if ready else 503), _version() if path == "/version" else "\n", PLAIN
        else:
            code, text = self._v2(path)
        await send_answer(send, code, text.encode(), kind, ident)
        return code

    def _v2(self, path: str) -> tuple[int, str]:
        """The looks of the Open Inference Protocol; status and JSON."""
        if path == "/v2":
            return 200, json.dumps(inference.server(_version()))
        if path == "/v2/health/live":
            return 200, '{"live":true}'
        if path == "/v2/health/ready":
            ready = bool(self._live.readiness()["ready"])
            return (200 if ready else 503), json.dumps({"ready": ready})
        match = _V2.fullmatch(path)
        if match is None or match["model"] not in self._live.standings:
            raise self._unknown(path)
        scorer = self._live.scorers.get(match["model"])
        if scorer is None:
            raise self._live.unanswered(match["model"])
        facts = inference.metadata(scorer, match["version"])
        return 200, json.dumps({"name": scorer.model, "ready": True} if match["what"] else facts)

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
        moment = parse_time(at, now=now, zone=project.zone) if at is not None else now
        note = await asyncio.to_thread(notes.add, project.store, text, source=source, at=moment, now=now, actor=source)
        return note.to_dict()

    def _unknown(self, path: str) -> MiddlewatchError:
        routes = [*self._predict, *self._labels, *_GET, "/events"]
        parts = path.split("/")
        if len(parts) >= 4 and parts[-3:-2] == ["models"] and f"/{parts[-1]}" in ("/predict", "/labels", mlflow.ROUTE):
            return NotFound(f'there is no model "{parts[2][:64]}" here', fix=nearest(parts[2], self._live.standings))
        if path.startswith("/v2/models/"):
            return NotFound(f'there is no model "{parts[3][:64]}" here', fix=nearest(parts[3], self._live.standings))
        if path in ("/predict", "/labels", mlflow.ROUTE):
            known = [one for one in (*self._predict, *self._labels) if one.endswith(path)]
            return NotFound("this server has several models", fix=f"ask one of: {', '.join(known)}")
        if f"{path}/predict" in self._predict:
            return NotFound(f'there is nothing at "{path[:100]}"', fix=f'did you mean "{path}/predict"?')
        return NotFound(f'there is nothing at "{path[:100]}"', fix=nearest(path, routes))


def _kind(scope: Scope) -> str:
    """The content type that a request names; "" for none."""
    return _header(scope, b"content-type")


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _version() -> str:
    from importlib.metadata import version  # late: it takes 10 ms

    return version("middlewatch")


def _is_for_people(scope: Scope) -> bool:
    """True for what a browser asks of the pages: a look, or a form sent back. The rest is a client gone astray."""
    if scope["path"] in ("/predict", "/labels", mlflow.ROUTE) or scope["path"].startswith(("/models/", "/v2")):
        return False
    # curl -d calls its body a form as well, but does not ask for a page in return.
    form = _kind(scope).startswith("application/x-www-form-urlencoded") and "text/html" in _header(scope, b"accept")
    return scope["method"] in ("GET", "HEAD") or form

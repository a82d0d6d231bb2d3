"""ASGI middleware: what a service is asked and answers goes into the log, and nothing about the service changes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

from .bodies import Pair, Taker
from .recorder import Recorder

__all__ = ["Middleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Middleware:
    """Around any ASGI app (FastAPI, Starlette, Django, Litestar): `app.add_middleware(mw.Middleware, model="loans")`.

    Requests to `path` (one, or several) that were answered 2xx are recorded. `inputs`, `score` and `id` are dotted
    paths into the bodies: "data.features", "result.probability". `project` is the folder of middlewatch.toml (default:
    the nearest upward), `version` the service's word for its model. Never raises, never waits; `middlewatch doctor`
    shows what arrived.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        model: str | None = None,
        project: str | Path | None = None,
        path: str | Iterable[str] = "/predict",
        inputs: str = "",
        score: str = "score",
        id: str = "",
        version: str = "1",
    ) -> None:
        self.app = app
        self._taker = Taker(model=model, project=project, path=path, inputs=inputs, score=score, id=id, version=version)
        self._paths = self._taker.paths

    @property
    def recorder(self) -> Recorder:
        """Where events go: `recorder.counts`, `recorder.flush()`."""
        return self._taker.recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self._paths or scope["method"] == "GET":
            await self.app(scope, receive, send)
            return
        pair = Pair(time.time_ns())

        async def hear() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                pair.ask(message.get("body", b""))
            return message

        async def say(message: Message) -> None:
            if message["type"] == "http.response.body":
                pair.answer(message.get("body", b""))
            elif message["type"] == "http.response.start":
                pair.begin(message["status"], message.get("headers", ()))
            await send(message)

        await self.app(scope, hear, say)
        self._taker.take(pair, scope["headers"])

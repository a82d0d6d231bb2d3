"""WSGI middleware, the twin of the ASGI one: the body is heard while the app reads it, the answer while it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .bodies import Pair, Taker
from .recorder import Recorder

__all__ = ["WSGIMiddleware"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class WSGIMiddleware:
    """Around any WSGI app: `app.wsgi_app = mw.WSGIMiddleware(app.wsgi_app, model="loans")` of Flask, or Django's.

    Options as `Middleware`; `path` is compared with SCRIPT_NAME + PATH_INFO.
    """

    def __init__(
        self,
        app: Callable[[Environ, StartResponse], Iterable[bytes]],
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

    @property
    def recorder(self) -> Recorder:
        """Where events go: `recorder.counts`, `recorder.flush()`."""
        return self._taker.recorder

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if path not in self._taker.paths or environ.get("REQUEST_METHOD") == "GET":
            return self.app(environ, start_response)
        pair = Pair(time.time_ns())
        environ["wsgi.input"] = _Heard(environ["wsgi.input"], pair)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            code = status[:3]
            pair.begin(
                int(code) if code.isdecimal() else 0,
                [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            )
            return start_response(status, headers, *more)

        return _Said(self.app(environ, start), pair, self._taker, environ)


class _Heard:
    """wsgi.input that remembers what was read of it."""

    def __init__(self, stream: Any, pair: Pair) -> None:
        self._stream = stream
        self._pair = pair

    def read(self, *size: int) -> bytes:
        part: bytes = self._stream.read(*size)
        self._pair.ask(part)
        return part

    def readline(self, *size: int) -> bytes:
        part: bytes = self._stream.readline(*size)
        self._pair.ask(part)
        return part

    def readlines(self, *hint: int) -> list[bytes]:
        return list(iter(self.readline, b""))

    def readinto(self, into: Any) -> int:
        part = self.read(len(into))
        into[: len(part)] = part
        return len(part)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Said:
    """The answer, remembered as it leaves; recorded when the server closes it, as it must."""

    def __init__(self, parts: Iterable[bytes], pair: Pair, taker: Taker, environ: Environ) -> None:
        self._parts = parts
        self._iterator = iter(parts)
        self._pair = pair
        self._taker = taker
        agent, said = environ.get("HTTP_USER_AGENT", ""), environ.get("HTTP_X_MIDDLEWATCH_CALLER", "")
        self._headers = ((b"user-agent", agent.encode("latin-1")), (b"x-middlewatch-caller", said.encode("latin-1")))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part = next(self._iterator)
        self._pair.answer(part)
        return part

    def close(self) -> None:
        try:
            if hasattr(self._parts, "close"):
                self._parts.close()
        finally:
            self._taker.take(self._pair, self._headers)

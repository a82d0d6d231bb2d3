"""The two bodies of a request, as they go by: what ASGI and WSGI middleware share."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from .recorder import LARGEST, Event, Recorder
from .shape import Shape

__all__ = ["Pair", "Taker"]

Headers = Iterable[tuple[bytes, bytes]]
LONGEST_CALLER = 64


class Pair:
    """One request under way. `started` in nanoseconds since 1970."""

    __slots__ = ("answered", "asked", "encoded", "size", "started", "status")

    def __init__(self, started: int) -> None:
        self.started = started
        self.asked: list[bytes] = []
        self.answered: list[bytes] = []
        self.size = 0
        self.status = 0
        self.encoded = False

    def ask(self, part: bytes) -> None:
        self.size += len(part)
        if self.size <= LARGEST:
            self.asked.append(part)

    def answer(self, part: bytes) -> None:
        self.size += len(part)
        if self.size <= LARGEST:
            self.answered.append(part)

    def begin(self, status: int, headers: Headers) -> None:
        self.status = status
        self.encoded = any(name.lower() == b"content-encoding" and value != b"identity" for name, value in headers)


class Taker:
    """Hands pairs to a recorder; never raises."""

    def __init__(
        self,
        *,
        model: str | None,
        project: str | Path | None,
        path: str | Iterable[str],
        inputs: str,
        score: str,
        id: str,
        version: str,
    ) -> None:
        self.paths = frozenset([path] if isinstance(path, str) else path)
        self.recorder = Recorder(
            project=project, model=model, version=version, shape=Shape(inputs=inputs, score=score, id=id)
        )

    def take(self, pair: Pair, headers: Headers) -> None:
        """Queue what was asked and answered, where it was answered well."""
        if not 200 <= pair.status < 300:
            return
        if pair.size > LARGEST:
            self.recorder.unread(f"a request and its answer have over {LARGEST >> 20} MB")
        elif pair.encoded:
            self.recorder.unread("the answer is compressed: put Middlewatch inside what compresses it")
        else:
            said = agent = b""
            for name, value in headers:
                if name == b"user-agent":
                    agent = value
                elif name == b"x-middlewatch-caller":
                    said = value
            caller = (said or agent.partition(b" ")[0]).decode("latin-1")[:LONGEST_CALLER]
            spent = (time.time_ns() - pair.started) / 1000
            asked, answered = b"".join(pair.asked), b"".join(pair.answered)
            self.recorder.put(Event(pair.started // 1000, caller, asked, answered, spent, pair.size))

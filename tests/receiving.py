"""Real receivers on this machine for what Middlewatch sends: HTTP and SMTP; and a project with incidents to tell."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

from middlewatch.incidents import Incident
from middlewatch.project import Project
from middlewatch.schema import Column, Schema

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
SCHEMA = Schema(
    name="delay",
    target="late",
    task="binary",
    classes=("0", "1"),
    columns=(
        Column(name="distance", kind="number"),
        Column(name="carrier", kind="category", categories=("AA", "B6")),
        Column(name="badge", kind="category", private="hash"),
        Column(name="late", kind="whole", role="target"),
    ),
)


@dataclass
class Clock:
    """Time as the tests turn it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Got:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """What an HTTP receiver got; `answers` are the next statuses (then 200), `before` runs before it answers."""

    url: str
    got: list[Got] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    before: Callable[[Got], None] | None = None
    location: str = ""

    def titles(self) -> list[str]:
        return [str(one.facts["title"]) for one in self.got]

    def kinds(self) -> list[str]:
        return [str(one.facts["kind"]) for one in self.got]

    def wait(self, count: int, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while len(self.got) < count and time.monotonic() < end:
            time.sleep(0.02)


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    """An HTTP server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            got = Got(self.command, self.path, dict(self.headers), self.rfile.read(length))
            receiver.got.append(got)
            if receiver.before is not None:
                receiver.before(got)
            status = receiver.answers.pop(0) if receiver.answers else 200
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _take

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the sender was killed

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mailbox:
    """What an SMTP server was handed; `refusals` are the next answers to a mail (then it is taken)."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        self.mails.append(message_from_bytes(envelope.content))
        return "250 taken"


@contextmanager
def smtp_receiver() -> Iterator[Mailbox]:
    """An SMTP server on a free port of this machine."""
    box = Mailbox()
    loop = asyncio.new_event_loop()
    served = loop.run_until_complete(loop.create_server(lambda: SMTP(box), "127.0.0.1", 0))
    box.port = served.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(served.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(served.wait_closed())
        loop.close()


def make_site(root: Path, *, alerts: str = 'to = ["env:HOOK"]', more: str = "", store: str = "") -> Project:
    """A project of one model, its routes as given, telling from `NOW` on."""
    root.mkdir(parents=True, exist_ok=True)
    at = f'[store]\nurl = "{store}"\n' if store else ""
    (root / "middlewatch.toml").write_text(
        f'[models.delay]\ntarget = "late"\ntask = "binary"\n{more}\n[alerts]\ndigest = "never"\n{alerts}\n{at}'
    )
    (root / "delay.schema.toml").write_text(SCHEMA.to_toml())
    return Project.open(root)


def open_incident(project: Project, at: datetime, key: str = "one", **facts: Any) -> Incident:
    """An incident as the monitor opens one."""
    told: dict[str, Any] = {
        "title": "distance distribution 3.1 x its worst; mean prediction 0.21 -> 0.34",
        "since": "2026-11-21T00:00:00Z",
        "until": "2026-11-22T00:00:00Z",
        "severity": "page",
        "columns": ["distance", "mw.score"],
        "channels": ["shape"],
        "top": [{"column": "distance", "channel": "shape", "score": 1.13}],
        "peak": 1.13,
        "paged": 1.13,
        "before": 0.21,
        "after": 0.34,
        "rows": 930,
        "windows": 1,
        **facts,
    }
    return project.incidents("delay").open(key=key, at=at, actor="monitor", facts=told)

"""Alerts on their way out: to a real web server, a real mail server and a real program; told once, and never lost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from middlewatch import alerts, config
from middlewatch.alerts.signing import HEADER, sign, verify
from middlewatch.alerts.work import tick
from middlewatch.outbox import Outbox, counts
from middlewatch.project import Project
from middlewatch.schema import Column, Schema

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
SECRET = "a-long-and-random-secret"


class Receiver:
    """A web server that keeps what it gets; `answers` are the statuses to come, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = owner.answers.pop(0) if owner.answers else 200
                owner.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(status)
                if status in (301, 302):
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                """Nobody reads it."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=very-secret"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(timeout=10)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    made = Receiver()
    monkeypatch.setenv("HOOK", "webhook+" + made.url)
    monkeypatch.setenv("MIDDLEWATCH_WEBHOOK_SECRET", SECRET)
    yield made
    made.close()


def project(folder: Path, *lines: str) -> Project:
    """A project with one model and these lines under [alerts]."""
    text = config.template("delay", source="t.parquet", target="late", task="binary")
    text = text.partition("[alerts]")[0] + "\n".join(["[alerts]", *lines, ""])
    (folder / "middlewatch.toml").write_text(text)
    schema = Schema(
        name="delay",
        target="late",
        task="binary",
        classes=("0", "1"),
        columns=(Column(name="temp", kind="number"), Column(name="late", kind="whole", role="target")),
    )
    (folder / "delay.schema.toml").write_text(schema.to_toml())
    pl.DataFrame({"temp": [1.0], "late": [0]}).write_parquet(folder / "t.parquet")
    return Project.open(folder)


def opened(made: Project, *, key: str = "2026-11-19 temp", at: datetime = NOW, severity: str = "page") -> int:
    facts = {
        "title": "temp distribution 3.2 x its worst; mean prediction 0.31 -> 0.41",
        "since": "2026-11-19T00:00:00Z",
        "until": "2026-11-20T00:00:00Z",
        "seen": "2026-11-20T00:00:00Z",
        "severity": severity,
        "columns": ["temp"],
        "channels": ["shape"],
        "top": [{"column": "temp", "channel": "shape", "score": 1.2, "value": 9.0, "worst": 2.8}],
        "peak": 1.2,
        "paged": 1.2,
        "before": 0.31,
        "after": 0.41,
        "rows": 900,
        "windows": 1,
    }
    return made.incidents("delay").open(key=key, at=at, actor="monitor", facts=facts).n


def told(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in receiver.got]


def test_an_incident_is_told_once_signed_and_short(tmp_path: Path, receiver: Receiver) -> None:
    made = project(tmp_path, 'to = ["env:HOOK"]', 'digest = "never"')
    tick(made, clock=lambda: NOW)  # what was before the first run is no news
    opened(made, at=NOW + timedelta(minutes=1))
    later = NOW + timedelta(minutes=2)
    tick(made, clock=lambda: later)
    (message,) = [one for one in told(receiver) if one["kind"] == "opened"]
    assert message["severity"] == "page"
    assert len(message["title"]) <= 110
    assert "0.31" in message["text"]
    _, headers, body = receiver.got[-1]
    assert verify(body, headers[HEADER.lower()], SECRET, now=later)
    assert not verify(body + b" ", headers[HEADER.lower()], SECRET, now=later)
    assert not verify(body, headers[HEADER.lower()], "another", now=later)
    assert headers["middlewatch-dedup-key"] == message["dedup_key"]
    count = len(receiver.got)
    tick(made, clock=lambda: later + timedelta(minutes=5))
    assert len(receiver.got) == count
    made.incidents("delay").add(1, "resolve", at=later + timedelta(hours=1), actor="ann", cause="came in km")
    tick(made, clock=lambda: later + timedelta(hours=1, minutes=1))
    last = told(receiver)[-1]
    assert last["kind"] == "resolved"
    assert last["dedup_key"] == message["dedup_key"]


def test_a_receiver_that_is_down_gets_it_later_and_redirects_are_not_followed(
    tmp_path: Path, receiver: Receiver
) -> None:
    made = project(tmp_path, 'to = ["env:HOOK"]', 'digest = "never"')
    tick(made, clock=lambda: NOW)
    opened(made, at=NOW + timedelta(minutes=1))
    receiver.answers = [500, 302]
    later = NOW + timedelta(minutes=2)
    tick(made, clock=lambda: later)
    assert counts(made.root).waiting == 1
    for hours in (1, 2, 3):
        tick(made, clock=lambda hours=hours: later + timedelta(hours=hours))  # type: ignore[misc]
    kinds = [one["kind"] for one in told(receiver)]
    assert kinds.count("opened") == 3  # refused twice, taken once
    assert {one["id"] for one in told(receiver)} == {told(receiver)[0]["id"]}
    assert all(path.startswith("/hook") for path, _, _ in receiver.got)
    assert counts(made.root).waiting == 0


def test_many_at_once_are_one_message(tmp_path: Path, receiver: Receiver) -> None:
    made = project(tmp_path, 'to = ["env:HOOK"]', 'digest = "never"')
    tick(made, clock=lambda: NOW)
    for number in range(9):
        opened(made, key=f"storm {number}", at=NOW + timedelta(minutes=1))
    tick(made, clock=lambda: NOW + timedelta(minutes=2))
    assert 1 <= len([one for one in told(receiver) if one["kind"] in ("opened", "storm")]) <= 6
    assert len(receiver.got) < 9


def test_a_program_and_a_trial_of_every_route(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tell.sh"
    program.write_text("#!/bin/sh\ncat > told.json\n")
    program.chmod(0o755)
    monkeypatch.setenv("BROKEN", "webhook+http://127.0.0.1:9/very-secret-path")
    made = project(tmp_path, f'to = ["env:HOOK", "command:{program}", "env:BROKEN", "env:NOT_SET"]')
    found = {one.name: one for one in alerts.trial(made, clock=lambda: NOW)}
    assert found["alerts to env:HOOK"].outcome == "ok"
    assert found[f"alerts to command:{program}"].outcome == "ok"
    assert found["alerts to env:BROKEN"].outcome == "fail"
    assert "nobody listens there" in found["alerts to env:BROKEN"].detail
    assert found["alerts to env:NOT_SET"].outcome != "ok"
    assert json.loads((tmp_path / "told.json").read_text())["kind"] == "test"
    # What is secret is in no message and in no file.
    kept = b"".join(one.read_bytes() for one in (tmp_path / ".middlewatch").rglob("*") if one.is_file())
    said = " ".join(f"{one.detail} {one.fix}" for one in found.values()).encode()
    for text in (b"very-secret", SECRET.encode()):
        assert text not in kept + said


@contextmanager
def mail_server(kept: list[Any]) -> Iterator[int]:
    """A real SMTP server on a free port."""
    from aiosmtpd.smtp import SMTP

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            kept.append(envelope)
            return "250 kept"

    loop = asyncio.new_event_loop()
    served = loop.run_until_complete(loop.create_server(lambda: SMTP(Handler()), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield served.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(served.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_mail_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    with mail_server(kept) as port:
        monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{port}?to=ops@example.com&from=watch@example.com&mode=insecure")
        made = project(tmp_path, 'to = ["env:MAIL"]')
        (found,) = alerts.trial(made, clock=lambda: NOW)
    assert found.outcome == "ok", found.detail
    assert kept[0].rcpt_tos == ["ops@example.com"]
    assert b"test" in kept[0].content.lower()


def test_the_dead_mans_switch_is_called_after_a_run(tmp_path: Path) -> None:
    kept: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kept.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        site = project(tmp_path, f'heartbeat = "http://127.0.0.1:{server.server_port}/alive"', "to = []")
        alerts.after_monitor(site, "delay", judged=1, started=NOW, clock=lambda: NOW)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
    assert kept == ["/alive"]


def test_signatures_hold_for_minutes_and_for_two_secrets() -> None:
    header = sign(b"body", "old,new", now=NOW)
    assert verify(b"body", header, "new", now=NOW + timedelta(minutes=4))
    assert not verify(b"body", header, "new", now=NOW + timedelta(minutes=6))
    for wrong in ("", "t=1", "v1=ab", "t=x,v1=ab", "t=" + "9" * 99 + ",v1=ab"):
        assert not verify(b"body", wrong, "new", now=NOW)
    with pytest.raises(ValueError, match="no secret"):
        sign(b"body", " , ", now=NOW)


def test_nothing_is_queued_where_no_route_is_set(tmp_path: Path) -> None:
    made = project(tmp_path, "to = []")
    opened(made)
    alerts.after_monitor(made, "delay", judged=1, started=NOW, clock=lambda: NOW)
    assert Outbox(made.root).waiting() == []

"""The short way of a prediction gives what the long way gives, for every way a request can come over a connection."""

from __future__ import annotations

import inspect
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from middlewatch import predictions
from serving import Server, bodies, expected, make_project, promote, publish, serving, wait_until

ROWS = bodies(8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("protocol")
    project = make_project(root, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    before = "from middlewatch.serve import protocol; protocol.MOST_CONNECTIONS = 40"
    with serving(root, before=before) as (server, _):
        yield server


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.settimeout(10)
        yield raw


def request(row: Any, *headers: str, version: str = "1.1") -> bytes:
    body = json.dumps(row).encode()
    lines = [f"POST /predict HTTP/{version}", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answers(raw: socket.socket, count: int) -> list[tuple[int, dict[str, Any], bytes]]:
    """Status, JSON and head of `count` answers."""
    found: list[tuple[int, dict[str, Any], bytes]] = []
    data = b""
    while len(found) < count:
        head, whole, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if whole and length and len(rest) >= int(length[1]):
            body, data = rest[: int(length[1])], rest[int(length[1]) :]
            found.append((int(head[9:12]), json.loads(body), head))
            continue
        part = raw.recv(65536)
        if not part:
            raise ConnectionError(data)
        data += part
    assert data == b""
    return found


def scores(found: list[tuple[int, dict[str, Any], bytes]]) -> list[float]:
    assert {status for status, _, _ in found} == {200}, found
    return [facts["score"] for _, facts, _ in found]


RIGHT = expected("binary", 0, ROWS)


def test_requests_in_any_packets(server: Server) -> None:
    """One after the other, several at once, cut anywhere, body after headers."""
    with connected(server) as raw:
        for row, wanted in zip(ROWS, RIGHT, strict=True):
            raw.sendall(request(row))
            assert scores(answers(raw, 1)) == [wanted]
        raw.sendall(b"".join(request(row) for row in ROWS))
        assert scores(answers(raw, 8)) == RIGHT
        whole = b"".join(request(row) for row in ROWS[:2])
        for size in (1, 7, 50, 150):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(whole), size):
                raw.sendall(whole[at : at + size])
            assert scores(answers(raw, 2)) == RIGHT[:2]


def test_the_short_and_the_long_way_take_turns(server: Server) -> None:
    """Errors, chunks, 100-continue, other routes and good requests on one connection, also all at once."""
    body = json.dumps(ROWS[0]).encode()
    chunked = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(body),
        body,
    )
    broken = request({**ROWS[0], "seats": "12"})
    look = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    query = request(ROWS[0]).replace(b"/predict", b"/predict?debug=1")
    several = [request(ROWS[0]), broken, request(ROWS[1]), chunked, request(ROWS[2]), look, query, request(ROWS[3])]
    with connected(server) as raw:
        for at_once in (False, True):
            if at_once:
                raw.sendall(b"".join(several))
            found: list[Any] = []
            for one in several:
                if not at_once:
                    raw.sendall(one)
                    found += answers(raw, 1)
            found = found or answers(raw, len(several))
            assert [status for status, _, _ in found] == [200, 422, 200, 200, 200, 200, 200, 200]
            assert [facts.get("score") for _, facts, _ in found] == [
                RIGHT[0], None, RIGHT[1], RIGHT[0], RIGHT[2], None, RIGHT[0], RIGHT[3]
            ]  # fmt: skip
        head, _, body = request(ROWS[4], "expect: 100-continue").partition(b"\r\n\r\n")
        raw.sendall(head + b"\r\n\r\n")
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(body)
        assert scores(answers(raw, 1)) == [RIGHT[4]]


def test_connections_end_as_http_says(server: Server) -> None:
    for headers, number in ((("connection: close",), "1.1"), ((), "1.0")):
        with connected(server) as raw:
            raw.sendall(request(ROWS[0], *headers, version=number))
            ((status, facts, _),) = answers(raw, 1)
            assert (status, facts["score"]) == (200, RIGHT[0])
            assert raw.recv(10) == b""


def test_both_ways_say_the_same(server: Server) -> None:
    """The same head and the same members, whichever way an answer went."""
    with connected(server) as raw:
        raw.sendall(request(ROWS[0]))
        raw.sendall(request(ROWS[0]).replace(b"/predict", b"/predict?x"))
        (_, short, short_head), (_, long, long_head) = answers(raw, 2)
    unlike = re.compile(rb"(date|x-request-id): [^\r]*")
    assert unlike.sub(rb"\1", short_head) == unlike.sub(rb"\1", long_head)
    assert short | {"id": ""} == long | {"id": ""}
    assert f"x-request-id: {short['id']}".encode() in short_head


def test_headers_without_end_are_cut_off(server: Server) -> None:
    with connected(server) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):  # noqa: PT012 - the server closes at some point
            for number in range(5000):
                raw.sendall(b"x-%d: %b\r\n" % (number, b"y" * 1000))
            answers(raw, 1)
    text = metrics(server)
    assert 'code="431"}' in text


def test_a_flood_of_connections_is_bounded(server: Server) -> None:
    held: list[socket.socket] = []
    host, _, port = server.url.removeprefix("http://").partition(":")
    try:
        held.extend(socket.create_connection((host, int(port))) for _ in range(60))
        wait_until(lambda: _is_full(server))
        held[0].settimeout(10)
        held[0].sendall(request(ROWS[0]))
        assert scores(answers(held[0], 1)) == RIGHT[:1], "who came first is answered"
    finally:
        for one in held:
            one.close()
    wait_until(lambda: not _is_full(server))


def _is_full(server: Server) -> bool:
    with connected(server) as raw:
        raw.sendall(request(ROWS[0]))
        try:
            ((status, _, _),) = answers(raw, 1)
        except ConnectionError:
            return True
    return status == 503


def metrics(server: Server) -> str:
    with connected(server) as raw:
        raw.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: raw.recv(65536), b"")).decode()


def test_idle_connections_are_closed_and_a_stop_waits_for_what_has_begun(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    before = "from middlewatch.serve import run; run.KEEP_ALIVE = 1"
    with serving(tmp_path, before=before) as (server, _):
        with connected(server) as raw:
            raw.sendall(request(ROWS[0]))
            assert scores(answers(raw, 1)) == RIGHT[:1]
            assert raw.recv(10) == b"", "the server closes an idle connection"
        with connected(server) as raw:
            whole = request(ROWS[1])
            raw.sendall(whole[:-9])
            wait_until(lambda: _listens(server))
            server.process.terminate()
            wait_until(lambda: not _listens(server))
            raw.sendall(whole[-9:])
            assert scores(answers(raw, 1)) == [RIGHT[1]]
        assert server.stop() == 0
    logged = predictions.read(project.store, project.spool("delay"), "delay")
    assert logged["mw.score"].to_list() == RIGHT[:2]


def _listens(server: Server) -> bool:
    try:
        with connected(server):
            return True
    except OSError:
        return False


def test_uvicorn_is_the_one_we_know() -> None:
    """What `serve.protocol` builds upon. Where this fails: read uvicorn's httptools protocol again, then widen it."""
    major, minor = (int(part) for part in version("uvicorn").split(".")[:2])
    assert (0, 40) <= (major, minor) <= (0, 54)
    made = inspect.getsource(HttpToolsProtocol)
    for member in (
        "self.url",
        "self.headers",
        "self.expect_100_continue",
        "self.cycle",
        "self.flow",
        "self.connections",
        "self.limit_concurrency",
        "self.timeout_keep_alive",
        "self.server_state.total_requests",
    ):
        assert member in made
    for method in ("connection_made", "data_received", "on_message_begin", "on_headers_complete", "on_body",
                   "on_message_complete", "shutdown"):  # fmt: skip
        assert method in vars(HttpToolsProtocol)
    assert {"response_started", "response_complete"} <= set(RequestResponseCycle.__init__.__code__.co_names)

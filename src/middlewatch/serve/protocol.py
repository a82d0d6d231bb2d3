"""The short way of a prediction: answered inside uvicorn's own HTTP protocol, without a task or an ASGI message.

What fits is a POST to a predict route that is plain HTTP/1.1 with a known, small length and nothing else under way
on its connection. Framing, keep-alive, flow control and drain stay uvicorn's. Everything else, and every answer
that is not a 200, goes the long way through ASGI, so that there is one place where errors are made.

Here is also what uvicorn leaves to a proxy: a request that does not come whole in time is given up, and headers and
connections have an upper bound.
"""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .app import App

__all__ = ["REQUEST_SECONDS", "Protocol", "give_up_late", "protocol_of"]

REQUEST_SECONDS = 30.0
"""From the first byte of a request, or from a connection made, to the last byte of its body."""
LARGEST_HEAD = 64 << 10
LARGEST_QUICK = 64 << 10
MOST_CONNECTIONS = 4096
SPARE_FILES = 128


class Protocol(HttpToolsProtocol):
    """One connection; `door` is the application behind it."""

    door: App
    most = MOST_CONNECTIONS
    _body: bytearray | None = None  # of a request that goes the short way
    _since: float | None = None  # when the request under way began to arrive; None between requests
    _idle: float | None = None  # when the last short answer was given; None while a request is under way
    _head = 0  # bytes of headers so far; -1 once they are whole
    _defaults: tuple[Any, bytes] = (None, b"")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > self.most:
            self._close(b"503 Service Unavailable", 503, "this server has as many connections as it takes")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head >= 0 and self._since is not None:
            # The packet that began the request may hold the end of another one: it is not counted.
            self._head = self._head + len(data) if self._head else 1
            if self._head > LARGEST_HEAD:
                self._close(b"431 Request Header Fields Too Large", 431, "the request's headers are too large")

    def on_message_begin(self) -> None:
        # What uvicorn does here for ASGI is put off until a request turns out to need it.
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._since, self._idle, self._head, self._body = self.loop.time(), None, 0, None

    def on_headers_complete(self) -> None:
        self._head = -1
        if self._fits():
            self._body = bytearray()
        else:
            self._begin()

    def on_body(self, body: bytes) -> None:
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        self._since = None
        if self._body is None:
            super().on_message_complete()
            return
        body = bytes(self._body)
        answer = self.door.quick(self.url, self.headers, body)
        if answer is None:
            self._go_the_long_way()
            super().on_message_complete()
            return
        self._body = None
        headers = self.server_state.default_headers
        if headers is not self._defaults[0]:  # they change once a second: the date
            self._defaults = headers, b"".join(b"%b: %b\r\n" % pair for pair in headers)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n\r\n%b"
            % (self._defaults[1], len(answer.body), answer.id.encode(), answer.body)
        )
        self.server_state.total_requests += 1
        self._idle = self.loop.time()

    def shutdown(self) -> None:
        if self._body is not None:
            self._go_the_long_way()
        super().shutdown()

    def give_up(self, now: float) -> None:
        """Close a connection that waits for its next request, or for the rest of one, for too long."""
        if self.transport.is_closing():
            return
        if self._since is not None and self._since < now - REQUEST_SECONDS:
            if self._head == 0:
                self.transport.close()  # nothing was asked
            else:
                self._close(b"408 Request Timeout", 408, "the request did not come whole")
        elif self._idle is not None and self._idle < now - self.timeout_keep_alive:
            self.transport.close()

    # ------------------------------------------------------------------ pieces

    def _fits(self) -> bool:
        if self.url not in self.door.quick_routes or self.expect_100_continue or self.flow.write_paused:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return False
        if parser.should_upgrade() or self.limit_concurrency is not None:
            return False
        for name, value in self.headers:
            if name == b"content-length":
                return len(value) <= 6 and int(value) <= LARGEST_QUICK
        return False

    def _go_the_long_way(self) -> None:
        """Hand the request under way to ASGI as if it had just come."""
        body, self._body = bytes(self._body or b""), None
        self._begin()
        if body:
            super().on_body(body)

    def _begin(self) -> None:
        """uvicorn's own beginning of a request, with the headers that have come."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def _close(self, status: bytes, code: int, words: str) -> None:
        """Answer in one line and close. An application that waits for the body is told that the client has gone."""
        own = self._head < 0 and self._body is None  # the last cycle is this request's, not the one's before
        self._since, self._body = None, None
        if self.cycle is None or not (self.cycle.response_started if own else not self.cycle.response_complete):
            self.door.closed(code)
            said = b'{"error": "%b"}' % words.encode()
            self.transport.write(
                b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, len(said), said)
            )
        self.transport.close()


def protocol_of(app: App) -> type[Protocol]:
    """The protocol class of one application, as uvicorn takes it."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + SPARE_FILES
    if files < wanted and (most == resource.RLIM_INFINITY or files < most):
        files = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    # The log must always find a file to open.
    return type("Protocol", (Protocol,), {"door": app, "most": max(1, min(MOST_CONNECTIONS, files - SPARE_FILES))})


def give_up_late(connections: Iterable[Any], now: float) -> None:
    """Close connections that are idle or slow for too long; called about once a second."""
    for one in list(connections):
        if isinstance(one, Protocol):
            one.give_up(now)

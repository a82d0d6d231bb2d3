"""One HTTP call with an end: no redirect is followed, little is read, and a slow answer is cut off."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["LIMIT", "call"]

LIMIT = 15.0
"""Seconds for one call, all in all: a receiver takes a message or is down."""
_READ = 2_000


def call(url: str, *, method: str, headers: Mapping[str, str], body: bytes = b"", limit: float = LIMIT) -> int:
    """The status that `url` answers with. A 3xx is one of them: it is not followed, since the next place was not
    named by whoever set this up, and the body with its signature is not for it.

    Raises OSError, ssl.SSLError, http.client.HTTPException, ValueError for what is no address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no http or https address")
    if parts.username or parts.password:
        raise ValueError("an address with a password in it is not called; put a token into its path")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=limit, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=limit)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    late = threading.Event()
    try:
        connection.connect()
        # The socket's own timeout begins anew with every byte that trickles in.
        watch = threading.Timer(limit, _cut, (connection.sock, late))
        watch.daemon = True
        watch.start()
        try:
            connection.request(method, path, body=body or None, headers=dict(headers))
            answer = connection.getresponse()
            answer.read(_READ)
            if late.is_set():  # an end in the middle of the headers reads like the end of them
                raise TimeoutError
            return answer.status
        except (OSError, http.client.HTTPException) as error:
            if late.is_set():
                raise TimeoutError(f"no whole answer within {limit:g} s") from error
            raise
        finally:
            watch.cancel()
    finally:
        connection.close()


def _cut(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed meanwhile

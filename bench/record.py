"""What watching a service from inside costs it: bench/record.py [--requests 5000] [--rounds 7]

The same requests through an ASGI app, a WSGI app and a function, bare and watched, in one process; rounds of the two
alternate. Printed is the median over rounds of the CPU time a request of the thread that answers (what the caller waits
for) and of the whole process (with the thread that writes the log). Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import middlewatch as mw

SCHEMA = """
[model]
name = "bench"
target = "y"
task = "binary"
classes = ["0", "1"]

[columns.y]
kind = "whole"
role = "target"
"""
COLUMNS = 12
ROW = {f"column_{at}": 1.5 * at for at in range(COLUMNS)}
BODY = json.dumps(ROW).encode()
ANSWER = b'{"score": 0.25}'


def project(folder: Path) -> Path:
    columns = "".join(f'\n[columns.{name}]\nkind = "number"\n' for name in ROW)
    (folder / "bench.schema.toml").write_text(SCHEMA + columns)
    (folder / "middlewatch.toml").write_text('[models.bench]\ntarget = "y"\n')
    return folder


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": ANSWER})


def wsgi(environ: dict[str, Any], start: Any) -> list[bytes]:
    environ["wsgi.input"].read(len(BODY))
    start("200 OK", [("content-type", "application/json")])
    return [ANSWER]


def function(row: dict[str, float]) -> float:
    return 0.25


def asgi_requests(one: Any, count: int) -> None:
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"user-agent", b"bench/1")]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def run() -> None:
        for _ in range(count):
            await one(scope, receive, send)

    asyncio.run(run())


def wsgi_requests(one: Any, count: int) -> None:
    for _ in range(count):
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "SCRIPT_NAME": "", "wsgi.input": io.BytesIO(BODY)}
        answer = one(environ, lambda *_: None)
        list(answer)
        if hasattr(answer, "close"):
            answer.close()


def calls(one: Any, count: int) -> None:
    for _ in range(count):
        one(ROW)


def cost(run: Callable[[Any, int], None], one: Any, count: int, settle: Callable[[], Any]) -> tuple[float, float]:
    """CPU microseconds a request: of this thread, of the process."""
    settle()
    thread, whole = time.thread_time(), time.process_time()
    run(one, count)
    thread = time.thread_time() - thread
    settle()
    return thread / count * 1e6, (time.process_time() - whole) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = project(Path(folder))
        watched = mw.watch("bench", project=root)(function)
        cases: list[tuple[str, Callable[[Any, int], None], Any, Any]] = [
            ("ASGI middleware", asgi_requests, app, mw.Middleware(app, project=root)),
            ("WSGI middleware", wsgi_requests, wsgi, mw.WSGIMiddleware(wsgi, project=root)),
            ("decorator", calls, function, watched),
        ]
        print("| | bare | watched | added, answering thread | added, process | kept | dropped |")
        print("|---|---|---|---|---|---|---|")
        for name, run, bare, with_us in cases:
            run(with_us, 50)
            with_us.recorder.flush(30)
            before, after = [], []
            for _ in range(asked.rounds):
                before.append(cost(run, bare, asked.requests, lambda: None))
                after.append(cost(run, with_us, asked.requests, partial(with_us.recorder.flush, 60.0)))
            (alone, whole), (thread, both) = (
                tuple(statistics.median(one[at] for one in found) for at in (0, 1)) for found in (before, after)
            )
            counts = with_us.recorder.counts
            print(
                f"| {name} | {alone:.1f} us | {thread:.1f} us | {thread - alone:.1f} us | {both - whole:.1f} us "
                f"| {counts.kept:,} | {counts.dropped:,} |"
            )
            with_us.recorder.close()


if __name__ == "__main__":
    main()

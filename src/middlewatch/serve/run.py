"""The processes of a server.

With one worker, this process answers. With more, it holds the listening socket, starts workers that share it,
starts again any that ends, and tells them to end. Either way one child at a time turns closed log segments into
Parquet. On SIGTERM or SIGINT nothing new is accepted, what is under way is answered, the log is closed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from ..config import secret
from ..errors import ConfigError, OutOfReach, UsageError
from ..ids import new_token
from ..project import Project
from .app import App
from .asgi import Page
from .convert import Converter
from .courier import Courier
from .facts import Facts
from .keys import MAKE_ONE, Keys, is_loopback
from .live import Live
from .metrics import Metrics
from .protocol import give_up_late, protocol_of
from .watcher import Watcher

__all__ = ["Stop", "answer_on", "live_of", "make_app", "serve", "stop_signals", "who_may"]

Pages = Callable[..., Page]
Announce = Callable[[dict[str, Any]], None]

_DRAIN = 15
_BACKLOG = 2048
KEEP_ALIVE = 75  # longer than the 60 s that proxies keep an idle connection, so that they close first


def serve(
    project: Project,
    *,
    host: str,
    port: int,
    workers: int = 1,
    pages: Pages | None = None,
    announce: Announce = lambda facts: None,
    no_auth: bool = False,
) -> None:
    """Answer for all live models of a project until SIGTERM or SIGINT.

    `pages(project, secret=...)` makes the ASGI callable for all other paths; with several workers it must be a
    function that can be imported by its name. `announce` is told `url`, `models` and `pid` once requests are
    answered. Raises UsageError for an address that cannot be had, ConfigError where API keys are needed.
    """
    keys, is_open = who_may(project, host, no_auth=no_auth)
    listening = _listen(host, port)
    try:
        with stop_signals() as stop:
            if workers == 1:
                _serve_here(project, listening, keys, is_open, pages, announce, stop)
            else:
                _Supervisor(project, listening, workers, is_open, pages).run(announce, stop)
    finally:
        listening.close()


def make_app(project: Project, *, pages: Pages | None = None, is_open: bool = True) -> tuple[App, Live]:
    """The ASGI callable for an application that exists already, and its `Live`: `start` that, `stop` it at the end."""
    live = live_of(project, Metrics())
    keys, _ = who_may(project, "127.0.0.1", no_auth=is_open)
    return App(live, keys=keys, is_open=is_open, pages=_made(pages, project, secrets.token_bytes(32))), live


def who_may(project: Project, host: str, *, no_auth: bool) -> tuple[Keys, bool]:
    """The keys, and whether one may do without. Raises ConfigError where keys are needed and there are none."""
    reference = project.config.serve.keys
    where = f"{reference} ([serve] keys)"
    keys = Keys.parse(secret(reference) or "", where=where)
    if no_auth or is_loopback(host):
        return keys, True
    if not keys:
        raise ConfigError(
            f"{host} can be reached from other machines, and there is no API key",
            where=where,
            why="anybody could ask the model and read what others sent",
            fix=f"make one: {MAKE_ONE}\n         then set {reference.removeprefix('env:')}=NAME:HASH,"
            " or start with --no-auth",
        )
    return keys, False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(
            f"cannot listen on {host}:{port}", why=getattr(error, "strerror", None) or str(error), fix="try --port 8001"
        ) from error
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _made(pages: Pages | None, project: Project, forms: bytes) -> Page | None:
    return None if pages is None else pages(project, secret=forms)


def live_of(project: Project, metrics: Metrics) -> Live:
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")[:32] or "host"
    return Live(project, metrics=metrics, token=new_token(), host=host)


class Stop:
    """Set by SIGTERM and SIGINT; `act` is what they do once there is something to stop."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.act: Callable[[], None] = lambda: None

    def __call__(self, *_: object) -> None:
        self.asked.set()
        self.act()


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Our handlers for the stop signals, the former ones afterwards; in another thread than the main one, none."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    kept = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for one, handler in kept.items():
            signal.signal(one, handler)


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it answers and leaves signals to us."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # uvicorn ticks ten times a second
            give_up_late(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # what was loaded stays: a collection while answering need not look at it
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def answer_on(app: App, listening: socket.socket, ready: Callable[[], None], stop: Stop) -> None:
    """Answer on a socket until told to stop; returns when all that was under way is answered."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol_of(app),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=_DRAIN,
        backlog=_BACKLOG,
    )
    server = _Server(config, ready)

    def end() -> None:
        server.should_exit = True

    stop.act = end
    if stop.asked.is_set():
        end()
    server.run(sockets=[listening])


def _serve_here(
    project: Project,
    listening: socket.socket,
    keys: Keys,
    is_open: bool,
    pages: Pages | None,
    announce: Announce,
    stop: Stop,
) -> None:
    live = live_of(project, Metrics())
    converter = Converter(project, live.metrics)
    courier = Courier(project)
    watcher = Watcher(project, live.metrics)
    facts_of_monitor = Facts(project, live.metrics)
    live.chores += [converter.tick, courier.tick, facts_of_monitor.tick, watcher.tick]
    app = App(live, keys=keys, is_open=is_open, pages=_made(pages, project, secrets.token_bytes(32)))
    live.start()
    try:
        facts = {"url": _url(listening), "models": live.versions(), "pid": os.getpid()}
        answer_on(app, listening, lambda: announce(facts), stop)
    finally:
        app.close()
        live.stop()
        watcher.finish(timeout=2)
        converter.finish(timeout=20)
        courier.finish(timeout=5)
        facts_of_monitor.finish(timeout=5)


# ---------------------------------------------------------------------- several workers


class _Supervisor:
    """Holds the socket, keeps `workers` processes answering on it, and ends them."""

    def __init__(
        self, project: Project, listening: socket.socket, workers: int, is_open: bool, pages: Pages | None
    ) -> None:
        self._project = project
        self._listening = listening
        self._count = workers
        self._metrics = Metrics(self._shared())
        self._workers: list[subprocess.Popen[str]] = []
        self._converter = Converter(project, self._metrics)
        self._courier = Courier(project)
        self._facts = Facts(project, self._metrics)
        self._watcher = Watcher(project, self._metrics)
        self._orders = json.dumps(
            {
                "project": str(project.root),
                "fd": listening.fileno(),
                "is_open": is_open,
                "pages": f"{pages.__module__}:{pages.__qualname__}" if pages else "",
                "forms": secrets.token_hex(32),
                "metrics": str(self._shared()),
            }
        )

    def _shared(self) -> Path:
        """Where the workers leave their counts: anew for each run of the server."""
        return self._project.root / ".middlewatch" / "spool" / "_metrics" / str(os.getpid())

    def run(self, announce: Announce, stop: Stop) -> None:
        try:
            self._workers = [self._start() for _ in range(self._count)]
            models: dict[str, str] = {}
            for one in self._workers:
                line = one.stdout.readline() if one.stdout else ""
                if not line and not stop.asked.is_set():
                    raise OutOfReach("a worker did not start", fix="its message stands above")
                models = json.loads(line) if line else models
            announce({"url": _url(self._listening), "models": models, "pid": os.getpid()})
            while not stop.asked.wait(0.5):
                self._watch()
        finally:
            self._end()

    def _watch(self) -> None:
        self._converter.tick()
        self._courier.tick()
        self._facts.tick()
        self._watcher.tick()
        self._metrics.keep()
        for place, one in enumerate(self._workers):
            if one.poll() is not None:
                print(f"middlewatch: worker {one.pid} ended with {one.returncode}, another starts", file=sys.stderr)
                if one.stdout:
                    one.stdout.close()
                if one.stdin:
                    one.stdin.close()
                time.sleep(0.2)  # one that cannot start must not spin
                self._workers[place] = self._start()

    def _start(self) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, "-m", "middlewatch.serve.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._listening.fileno()],
            start_new_session=True,  # Ctrl-C comes to the supervisor alone, which tells them
            text=True,
        )
        if worker.stdin is not None:
            worker.stdin.write(self._orders + "\n")
            worker.stdin.flush()
        return worker

    def _end(self) -> None:
        for one in self._workers:
            if one.poll() is None:
                one.terminate()
        deadline = time.monotonic() + _DRAIN + 5
        for one in self._workers:
            try:
                one.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
            for pipe in (one.stdin, one.stdout):
                if pipe is not None:
                    pipe.close()
        self._watcher.finish(timeout=2)
        self._converter.finish(timeout=20)
        self._courier.finish(timeout=5)
        self._facts.finish(timeout=5)
        for path in self._shared().glob("*"):
            path.unlink(missing_ok=True)
        if self._shared().is_dir():
            self._shared().rmdir()

"""Keeps the child that watches the newest predictions (`middlewatch.fast.child`) running beside the server."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress

from ..project import Project
from .metrics import Metrics

__all__ = ["Watcher"]

# The first answer comes first: loading what the child needs takes most of a second of a core.
_AFTER = 3.0
_SLOWEST = 300.0


class Watcher:
    """`tick` is called now and then, by one thread. The child reads no orders: it ends when its stdin does."""

    def __init__(self, project: Project, metrics: Metrics) -> None:
        self._project = project
        self._metrics = metrics
        self._child: subprocess.Popen[bytes] | None = None
        self._next = time.monotonic() + _AFTER
        self._pause = _AFTER

    def tick(self) -> None:
        """Start the child, again where it ended: after each time that it did, ever more seldom."""
        if not self._project.config.monitor.fast or time.monotonic() < self._next:
            return
        if self._child is not None:
            if self._child.poll() is None:
                self._pause = _AFTER
                return
            self._metrics.add("middlewatch_watch_failures_total")
            self._pause = min(self._pause * 2, _SLOWEST)
            self._next = time.monotonic() + self._pause
            self._close()
            return
        command = [sys.executable, "-m", "middlewatch.fast.child", str(self._project.root)]
        # A session of its own: Ctrl-C on the terminal is for the server.
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def finish(self, *, timeout: float) -> None:
        """End the child: it loses nothing, wherever it is."""
        if self._child is None:
            return
        if self._child.stdin is not None:
            with suppress(OSError):
                self._child.stdin.close()
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self._child.terminate()
            self._child.wait()
        self._close()

    def _close(self) -> None:
        if self._child is not None and self._child.stdin is not None:
            with suppress(OSError):
                self._child.stdin.close()
        self._child = None

"""Starts the child that tells people what changed, where something has changed or a message is due."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime

from ..config import secret
from ..errors import MiddlewatchError
from ..outbox import Outbox, folder_of
from ..project import Project

__all__ = ["Courier"]

# A page may wait so long for somebody to look; a child takes 0.2 s of a core, and a look next to nothing.
LOOK = 5.0
# Repeats, the daily digest, and what the storm guard holds back come due by the clock alone.
ANYWAY = 120.0


class Courier:
    """`tick` is called now and then, by one thread; it never waits for a receiver."""

    def __init__(self, project: Project) -> None:
        self._project = project
        alerts = project.config.alerts
        self._is_set = any(secret(one) for one in (*alerts.to, *alerts.page_to))
        self._child: subprocess.Popen[bytes] | None = None
        self._next = 0.0
        self._anyway = 0.0
        self._seen = -1

    def tick(self) -> None:
        """Look every few seconds; start the child where there is something to do."""
        if not self._is_set or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK
        if self._child is not None:
            if self._child.poll() is None:
                return
            self._child = None
        if self._due():
            self._anyway = time.monotonic() + ANYWAY
            command = [sys.executable, "-m", "middlewatch.alerts.child", str(self._project.root)]
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
            )

    def finish(self, *, timeout: float) -> None:
        """Let the child that runs end. Killed in the middle, it loses nothing: the queue is on the disk."""
        if self._child is not None:
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                self._child.terminate()
                self._child.wait()
            self._child = None

    def _due(self) -> bool:
        if time.monotonic() >= self._anyway:
            return True
        try:
            prefixes = [f"{name}/incidents/" for name in self._project.config.models]
            seen = sum(len(self._project.store.list(prefix)) for prefix in prefixes)
            if seen != self._seen:
                self._seen = seen
                return True
            return folder_of(self._project.root).is_dir() and self._message_due()
        except MiddlewatchError:
            return False  # the store is out of reach: /readyz says so

    def _message_due(self) -> bool:
        now = datetime.now(UTC)
        return any(
            not one.done(place) and one.due(place) <= now and secret(one.message.routes[place])
            for one in Outbox(self._project.root).waiting()
            for place in range(len(one.message.routes))
        )

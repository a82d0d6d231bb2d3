"""Brings what the monitor knows into /metrics: asks a child for it now and then, never on the path of a request."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO

from ..errors import MiddlewatchError
from ..project import Project
from .metrics import FACTS, Metrics

__all__ = ["Facts"]

LOOK = 10.0
"""Seconds between looks at whether the monitor ran or an incident changed: some listings."""
NEWEST = 20
"""Incidents whose events are looked for at each look; all of them once, at the first."""
ANYWAY = 120.0
"""A child takes 0.3 s of a core; what changes by the clock alone can wait so long."""


class Facts:
    """`tick` is called now and then, by one thread of one process of a server; it never waits for the child."""

    def __init__(self, project: Project, metrics: Metrics) -> None:
        self._project = project
        self._metrics = metrics
        self._child: subprocess.Popen[bytes] | None = None
        self._answer: IO[bytes] | None = None
        self._next = 0.0
        self._anyway = 0.0
        self._seen: list[str] = []
        self._since: dict[str, str | None] = {}

    def tick(self) -> None:
        """Take what the last child said; start the next where there is something to say."""
        if self._child is not None:
            if self._child.poll() is None:
                return
            self._take()
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK
        if self._due():
            self._anyway = time.monotonic() + ANYWAY
            command = [sys.executable, "-m", "middlewatch.gauges", str(self._project.root)]
            # A file and not a pipe: a child that says more than a pipe holds would wait for us.
            self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the child has ended
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._answer, start_new_session=True
            )

    def finish(self, *, timeout: float) -> None:
        """End the child that runs; nobody asks for its answer any more."""
        if self._child is not None:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
            self._child = None
        if self._answer is not None:
            self._answer.close()

    def _take(self) -> None:
        child, answer = self._child, self._answer
        self._child = self._answer = None
        if child is None or answer is None:
            return
        with answer:
            if child.returncode:
                return  # what was known stays, and its time says how old it is
            answer.seek(0)
            with suppress(ValueError):
                self._metrics.replace(FACTS, json.loads(answer.read()))

    def _incidents(self, name: str) -> list[str]:
        """The events of a model's newest incidents: what becomes of older ones can wait for `ANYWAY`."""
        prefix = f"{name}/incidents/"
        found = list(self._project.store.list(prefix, after=self._since.get(name)))
        numbers = sorted({key.removeprefix(prefix).partition("/")[0] for key in found}, key=int)
        self._since[name] = f"{prefix}{numbers[-NEWEST:][0]}" if numbers else None
        return found

    def _due(self) -> bool:
        if time.monotonic() >= self._anyway:
            return True
        try:
            store, models = self._project.store, self._project.config.models
            seen = [key for name in models for key in store.list(f"{name}/monitor/")]
            seen += [key for name in models for key in self._incidents(name)]
        except MiddlewatchError:
            return False  # the store is out of reach: middlewatch_store_reachable says so
        fresh = seen != self._seen
        self._seen = seen
        return fresh

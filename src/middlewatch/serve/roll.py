"""Leaves with the log what this server runs on: as it starts, and once a day while it goes on (`servers`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from .. import servers
from ..environment import here
from ..errors import MiddlewatchError
from ..project import Project
from ..times import iso

__all__ = ["Roll", "configured"]

_AGAIN = timedelta(seconds=30)


class Roll:
    """`tick` is called now and then by one thread of the server; a store that does not answer is asked again later."""

    def __init__(self, project: Project, *, server: str) -> None:
        self._project = project
        self.server = server
        self._left: set[tuple[str, str]] = set()
        self._started = ""
        self._next: datetime | None = None
        self._here: dict[str, Any] = {}
        self._file = b""  # as it was when the settings were read
        with suppress(OSError):
            self._file = (project.root / "middlewatch.toml").read_bytes()

    def facts(self, name: str) -> dict[str, Any]:
        """The environment of this process, with the settings of a model that decide how it answers."""
        self._here = self._here or here()
        return {**self._here, "settings": configured(self._project, name, self._file)}

    def tick(self, versions: Mapping[str, str], now: datetime) -> None:
        """Leave a record for each model that answers and has none of today."""
        self._started = self._started or iso(now)
        day = now.date().isoformat()
        due = [name for name in versions if (name, day) not in self._left]
        if not due or (self._next is not None and now < self._next):
            return
        with suppress(MiddlewatchError):
            self._next = now + _AGAIN
            for name in due:
                record = servers.ServerRecord(
                    server=self.server,
                    at=iso(now),
                    started=self._started,
                    version=versions[name],
                    environment=self.facts(name),
                )
                servers.leave(self._project.store, name, record, now=now)
                self._left = {one for one in self._left if one[1] == day} | {(name, day)}
            self._next = None


def configured(project: Project, name: str, file: bytes) -> dict[str, Any]:
    """Settings that decide an answer or what it leads to, and a hash of the whole file: it changed, or it did not."""
    return {
        "threshold in middlewatch.toml": project.settings(name).threshold,
        "[monitor] zone": project.config.monitor.zone,
        "[serve] durability": project.config.serve.durability,
        "middlewatch.toml": hashlib.sha256(file).hexdigest()[:12],
    }

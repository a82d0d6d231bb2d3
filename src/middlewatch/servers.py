"""Which servers answered for a model, and what they run on: one small record a server and day, beside the log.

    <model>/servers/dt=2026-11-22/web1-k3f9a.json     create-only; named as `mw.server` of the rows it answered

A server leaves a record as it starts and on each day that it goes on, so that records expire with the log by their day
and the rows of any kept day find theirs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .environment import between
from .times import iso

if TYPE_CHECKING:
    from .store import Store

__all__ = ["ServerRecord", "leave", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """One answering process: `server` is its host and random boot token, `started` when it began (ISO 8601, UTC),
    `version` what it answered when the record was written, `environment` as `environment.here` with its settings."""

    server: str
    at: str
    started: str
    version: str
    environment: Mapping[str, Any] = field(default_factory=dict)

    def differs(self, other: ServerRecord) -> list[tuple[str, Any, Any]]:
        """What this environment differs in from another's, as (name, there, here)."""
        return between(other.environment, self.environment)


def leave(store: Store, model: str, record: ServerRecord, *, now: datetime) -> None:
    """Write a server's record of today; a second one of the same day changes nothing. Raises OutOfReach."""
    body = {
        "schema": 1,
        "server": record.server,
        "at": record.at or iso(now),
        "started": record.started,
        "version": record.version,
        "environment": dict(record.environment),
    }
    store.put_new(f"{_folder(model, now.astimezone(UTC).date())}{record.server}.json", json.dumps(body).encode())


def read(
    store: Store,
    model: str,
    *,
    since: date | None = None,
    until: date | None = None,
    names: Collection[str] | None = None,
) -> list[ServerRecord]:
    """The newest record of each server of the days [since, until], oldest start first; `names` picks some."""
    found: dict[str, str] = {}
    for folder in sorted(store.folders(f"{model}/servers")):
        day = folder.removeprefix("dt=")
        if (since is not None and day < since.isoformat()) or (until is not None and day > until.isoformat()):
            continue
        for key in store.list(f"{model}/servers/{folder}/"):
            server = key.rpartition("/")[2].removesuffix(".json")
            if names is None or server in names:
                found[server] = key
    records = [one for data in store.get_many(list(found.values())) if (one := _parsed(data)) is not None]
    return sorted(records, key=lambda one: (one.started, one.server))


def _parsed(data: bytes) -> ServerRecord | None:
    # A record that cannot be read is no reason to keep a diagnosis back.
    try:
        raw = json.loads(data)
        return ServerRecord(**{name: raw[name] for name in ("server", "at", "started", "version", "environment")})
    except (ValueError, KeyError, TypeError):
        return None


def _folder(model: str, day: date) -> str:
    return f"{model}/servers/dt={day.isoformat()}/"


RECENT = timedelta(days=7)
"""How far back the environment that answered before is looked for."""

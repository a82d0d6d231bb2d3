"""When the monitor last ran to its end: a mark in the store, so that its silence can be seen from anywhere.

`<model>/monitor/ran-<time>.json`, and the same under `fast/` for the watcher beside a server; an older mark is removed
once a newer one lies there. A run that judged nothing leaves a mark too: there was nothing to judge, and somebody
looked.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from .store import Store
from .times import iso

__all__ = ["STALE", "last", "mark", "stale"]

STALE = timedelta(hours=36)
"""A job that runs daily and missed one run is half a day late after this: above it somebody should look."""


STALE_HOURS = timedelta(hours=3)
"""The same where windows are hours."""


def stale(window: str) -> timedelta:
    """How long the monitor may be silent where windows are an hour, a day, a week."""
    return STALE_HOURS if window == "hour" else STALE


def mark(store: Store, model: str, *, now: datetime, by: str = "monitor", **facts: Any) -> None:
    """Say that the monitor has looked at a model at `now`; `facts` are plain JSON (how many windows it judged)."""
    folder = f"{model}/{by}/"
    earlier = store.list(folder)
    moment = now.astimezone(UTC)
    name = f"{folder}ran-{moment:%Y%m%dT%H%M%S.%f}Z.json"
    store.put_new(name, json.dumps({"schema": 1, "at": iso(moment), **facts}).encode())
    for one in earlier:
        if one < name:
            store.delete(one)


def last(store: Store, model: str, *, by: str = "monitor") -> datetime | None:
    """When the monitor last looked at a model; None where it never did, or before marks were kept."""
    names = store.list(f"{model}/{by}/")
    if not names:
        return None
    word = names[-1].rsplit("/ran-", 1)[1].removesuffix("Z.json")
    return datetime.strptime(word, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)


def facts(store: Store, model: str, *, by: str) -> dict[str, Any]:
    """What the newest mark says beside its time; empty where there is none."""
    names = store.list(f"{model}/{by}/")
    data = store.find(names[-1]) if names else None
    found: dict[str, Any] = json.loads(data) if data is not None else {}
    return found

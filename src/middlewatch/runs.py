"""When the monitor last ran to its end: a mark in the store, so that its silence can be seen from anywhere.

`<model>/monitor/ran-<time>.json`; an older mark is removed once a newer one lies there. A run that judged nothing
leaves a mark too: there was nothing to judge, and somebody looked.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from .store import Store
from .times import iso

__all__ = ["STALE", "last", "mark"]

STALE = timedelta(hours=36)
"""A job that runs daily and missed one run is half a day late after this: above it somebody should look."""


def mark(store: Store, model: str, *, now: datetime, judged: int = 0) -> None:
    """Say that the monitor has looked at a model at `now` and judged so many windows."""
    folder = f"{model}/monitor/"
    earlier = store.list(folder)
    moment = now.astimezone(UTC)
    name = f"{folder}ran-{moment:%Y%m%dT%H%M%S.%f}Z.json"
    store.put_new(name, json.dumps({"schema": 1, "at": iso(moment), "judged": judged}).encode())
    for one in earlier:
        if one < name:
            store.delete(one)


def last(store: Store, model: str) -> datetime | None:
    """When the monitor last looked at a model; None where it never did, or before marks were kept."""
    names = store.list(f"{model}/monitor/")
    if not names:
        return None
    word = names[-1].rsplit("/ran-", 1)[1].removesuffix("Z.json")
    return datetime.strptime(word, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)

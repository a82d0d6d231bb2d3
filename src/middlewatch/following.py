"""The newest rows of a log as they come: each is given once, and what was given is not read again.

A segment in the spool is read on from the byte where the last look ended; a file in the store (another machine's
segment, a scored batch, a segment that was converted before its end was read) is opened once. A flood is not decoded
whole: of what came since the last look only the newest rows are given.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from . import predictions, spool
from .errors import StoreError

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Follower", "newest"]

# Files of other machines come every 15 minutes, and a listing of a bucket costs a request.
LIST_EVERY = timedelta(seconds=30)
REACH = timedelta(days=1)


@dataclass(slots=True)
class _Place:
    """How far a segment is read: `at` bytes, `records` of it."""

    head: spool.Head | None = None
    at: int = 0
    records: int = 0


class Follower:
    """Follows one stream of one model's log. Not for several threads."""

    def __init__(self, store: Store, folder: Path, model: str, *, stream: predictions.Stream = "log") -> None:
        self._store = store
        self._folder = folder
        self._model = model
        self._stream: predictions.Stream = stream
        self._places: dict[str, _Place] = {}
        self._done: set[str] = set()
        self._list_at: datetime | None = None

    def new(self, *, now: datetime, most: int) -> pl.DataFrame:
        """Rows that came since the last call, at most the newest `most` of each segment and file, in no order.

        The first call gives the newest rows of the last day. Raises OutOfReach.
        """
        parts = []
        names = spool.segments(self._folder, self._stream)
        for name in names:
            with suppress(StoreError):  # damaged or of a newer Middlewatch: the converting child says so
                parts += self._segment(name, most)
        if self._list_at is None or now >= self._list_at or {one.ident for one in names} < set(self._places):
            self._list_at = now + LIST_EVERY
            parts += self._files(now, most, {one.ident for one in names})
        return pl.concat(parts, how="diagonal_relaxed") if parts else predictions.empty(self._stream)

    def _segment(self, name: spool.Name, most: int) -> list[pl.DataFrame]:
        place = self._places.setdefault(name.ident, _Place())
        with suppress(FileNotFoundError):
            if name.path.stat().st_size <= place.at:
                return []
        place.head, payloads, place.at = spool.read_new(name, place.at, place.head)
        place.records += len(payloads)
        if place.head is None or not payloads:
            return []
        return [predictions.rows_of(spool.Segment(place.head, payloads[-most:], 0, 0), name, self._stream)]

    def _files(self, now: datetime, most: int, waiting: set[str]) -> list[pl.DataFrame]:
        """Rows of files not seen yet, newest first until there are `most`; the others count as seen."""
        files = predictions.files(
            self._store, self._model, since=now - REACH, until=None, by="received", stream=self._stream
        )
        parts, got = [], 0
        for one in sorted(files, key=lambda one: (one.day, one.last, one.ident), reverse=True):
            if one.ident in self._done or one.ident in waiting:
                continue
            self._done.add(one.ident)
            place = self._places.pop(one.ident, _Place())
            if got < most:
                rows = predictions.file_rows(self._store, one).slice(place.records).tail(most).collect()
                parts.append(rows)
                got += rows.height
        # What is too far back to be listed again, and segments that are gone without a file: nothing comes of them.
        self._done &= {one.ident for one in files}
        self._places = {ident: place for ident, place in self._places.items() if ident in waiting}
        return [one for one in parts if one.height]


def newest(store: Store, folder: Path | None, model: str) -> tuple[datetime, str] | None:
    """Event time of the prediction that happened last, and the server that answered it; None where there is none.

    Opens the files that may hold it, not the log.
    """
    filed = [one.last for one in predictions.files(store, model)]
    # A file ends with the hour of its last event.
    since = max(filed) - timedelta(hours=1) if filed else None
    log = predictions.scan(store, folder, model, since=since, columns=["mw.time", "mw.server"])
    found = log.select(pl.col("mw.time"), pl.col("mw.server")).top_k(1, by="mw.time").collect()
    return (found["mw.time"][0], str(found["mw.server"][0] or "")) if found.height else None

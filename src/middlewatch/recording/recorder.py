"""The bounded queue and the one thread that writes: the host's threads only ever append to a list."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..config import secret
from ..elsewhere import declare, external
from ..errors import MiddlewatchError, OutOfReach, Refused, RequestRefused
from ..ids import new_token
from ..model import ours
from ..project import Project
from ..records import Record, Refusal, frame_of
from ..serve.live import PRIVATE_KEY
from ..serve.scorer import Ids, Journalist
from ..spool import Head, Spool
from ..times import iso
from .reading import Reader
from .shape import Shape, Unread

__all__ = ["CAPACITY", "Event", "Recorder"]

CAPACITY = 10_000
"""Predictions that may wait; more are dropped and counted."""
MOST_BYTES = 64 << 20
LARGEST = 1 << 20
"""Bytes of one request or answer that are kept; a larger one is counted as unread."""
PAUSE = 0.1
RETRY = 30.0
LEAVING = 5.0
"""Seconds that a process which ends waits for what is still in the queue."""
_OLD_NOTES = 7 * 86_400
_log = logging.getLogger("middlewatch")


@dataclass(frozen=True, slots=True)
class Event:
    """One request that was answered. `asked` and `answered` are JSON bytes, or Python values as they were.

    `received` is in microseconds since 1970, `time` likewise where the caller of `log` gave one.
    """

    received: int
    caller: str
    asked: Any
    answered: Any
    latency_us: float = 0.0
    size: int = 0
    time: int | None = None


@dataclass(slots=True)
class _Open:
    """What is needed to write, made by the thread."""

    project: Project
    model: str
    reader: Reader
    journalist: Journalist
    head: Head
    refused: Head


@dataclass(slots=True)
class _Counts:
    kept: int = 0
    refused: int = 0
    dropped: int = 0
    unread: int = 0
    problem: str = ""
    last: dict[str, Any] = field(default_factory=dict)


class Recorder:
    """One per wrapped service and process. `put` never waits, never raises; all else happens in a thread of its own.

    `project` is a folder (default: the nearest upward), `version` the service's own word for its model, or `v7` where
    it runs one of ours. The thread is started by the first event, so that servers which fork lose nothing.
    """

    def __init__(
        self,
        *,
        project: str | Path | None,
        model: str | None,
        version: str,
        shape: Shape,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.counts = _Counts()
        self._project, self._model, self._version, self._shape = project, model, version, shape
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: list[Event] = []
        self._held = 0
        self._pid = 0
        self._stop = threading.Event()
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        self._ready: _Open | None = None
        self._retry_at = 0.0
        self._told: set[str] = set()
        self._noted = 0.0
        self._dirty = False
        _LIVING.add(self)

    # ------------------------------------------------------------------ the host's side

    def put(self, event: Event) -> None:
        """Queue one event, or count it as dropped."""
        if not self._pid:
            self._begin()
        with self._lock:
            if len(self._queue) >= self._capacity or self._held + event.size > MOST_BYTES:
                self.counts.dropped += 1
                self._dirty = True
                return
            self._queue.append(event)
            self._held += event.size
            self._idle.clear()

    def unread(self, why: str) -> None:
        """Count an event that could not be taken as it came."""
        self.counts.unread += 1
        self.counts.problem = why
        self._dirty = True

    def flush(self, timeout: float = LEAVING) -> bool:
        """Wait until what is queued is written; False where that took too long."""
        return self._thread is None or self._idle.wait(timeout)

    def close(self, timeout: float = LEAVING) -> None:
        """Write what is queued, close the segments, end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join(timeout)
        self._pid = 0

    def after_fork(self) -> None:
        """In the child of a fork: the parent writes what was queued, and its thread, lock and segments are its own."""
        self._lock = threading.Lock()
        self._queue, self._held = [], 0
        self._thread, self._ready, self._pid = None, None, 0

    def _begin(self) -> None:
        """Start the thread of this process: with the first event, and with the next one after `close`."""
        with self._lock:
            if self._pid:
                return
            self._pid = os.getpid()
            self._stop, self._idle = threading.Event(), threading.Event()
            self._ready, self._retry_at, self.counts = None, 0.0, _Counts()
            self._thread = threading.Thread(target=self._run, name="middlewatch-record", daemon=True)
            self._thread.start()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        stop = self._stop
        while True:
            ending = stop.wait(PAUSE)
            try:
                self._round(last=ending)
            except Exception as error:  # noqa: BLE001 - the host goes on whatever is wrong here
                self._say(f"{type(error).__name__}: {error}")
            if ending:
                return

    def _round(self, *, last: bool) -> None:
        with self._lock:
            batch, self._queue, self._held = self._queue, [], 0
        ready = self._open() if batch else self._ready
        if batch and ready is None:
            self._put_back(batch)
        elif ready is not None:
            for at, event in enumerate(batch):
                try:
                    self._take(ready, event)
                except OutOfReach as error:
                    self._say(error.what + (f": {error.why}" if error.why else ""))
                    self._put_back(batch[at:])
                    break
            ready.journalist.tick(self._now())
            if last:
                ready.journalist.close()
            self._note(ready, force=last)
        with self._lock:
            if not self._queue:
                self._idle.set()

    def _put_back(self, batch: list[Event]) -> None:
        """Keep events for the next round, the oldest first, as far as there is room."""
        with self._lock:
            room = max(self._capacity - len(self._queue), 0)
            self._queue = batch[:room] + self._queue
            self._held = sum(one.size for one in self._queue)
            self.counts.dropped += len(batch) - min(room, len(batch))
            self._dirty = True

    def _open(self) -> _Open | None:
        """The project, its schema and the log's segments; None where they cannot be had now."""
        if self._ready is not None or time.monotonic() < self._retry_at:
            return self._ready
        self._retry_at = time.monotonic() + RETRY
        try:
            project = Project.open(self._project, search=self._project is None)
            name = project.model(self._model)
            version = self._declared(project, name)
            key = (secret(PRIVATE_KEY) or "").encode() or None
            reader = Reader(project.schema(name), zone=project.zone, secret=key)
        except MiddlewatchError as error:
            self._say(error.what + (f"; {error.fix}" if error.fix else ""))
            return None
        token = new_token()
        host = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:24] or "host"
        server = f"{host}-{token}"
        head: dict[str, Any] = {
            "model": name,
            "version": version,
            "server": server,
            "zone": project.config.monitor.zone,
            "columns": tuple((one.name, one.kind, one.private or "") for one in reader.body.fields),
        }
        folder = project.spool(name)
        journalist = Journalist(
            Spool(folder, server=server), Spool(folder, server=server, stream="refused"), Ids(token)
        )
        self._ready = _Open(
            project, name, reader, journalist, Head(**head, stream="log"), Head(**head, stream="refused")
        )
        return self._ready

    def _declared(self, project: Project, name: str) -> str:
        """The version's name in the log; a foreign one is entered in the journal, so that it is what is live."""
        if re.fullmatch(r"v\d+", self._version):
            return self._version
        version = external(self._version)
        live = project.journal(name).live()
        if live is not None and ours(live):
            raise Refused(
                f"{name} answers with {live}, which is ours",
                fix=f'version="{live}", or model="ANOTHER" of this project',
            )
        now = datetime.fromtimestamp(self._clock(), UTC)
        declare(project.journal(name), version, at=now, now=now, actor="record", reason="seen by the recorder")
        return version

    def _take(self, ready: _Open, event: Event) -> None:
        """Write the predictions of one event; what cannot be read is counted, or kept as evidence."""
        try:
            asked, answered = _value(event.asked), _value(event.answered)
            pairs = self._shape.pairs(asked, answered)
        except Unread as error:
            self.unread(str(error))
            return
        frames = []
        for inputs, score, ident in pairs:
            try:
                shown, label, scores = ready.reader.answer(score)
                request = ready.reader.row(inputs)
            except Unread as error:
                self.unread(str(error))
                continue
            except MiddlewatchError as error:
                self._refuse(ready, event, inputs, error)
                continue
            when = event.time if event.time is not None else request.time
            record = Record(
                id=ident or ready.journalist.ids.next(event.received),
                time=event.received if when is None else when,
                received=event.received,
                caller=event.caller,
                key=request.key,
                score=shown,
                label=label,
                scores=scores,
                latency_us=event.latency_us,
                raw=bytes(request.raw),
            )
            frames.append(frame_of(record))
            left = [str(one)[:40] for one in inputs if one not in ready.reader.schema.names]
            self.counts.last = {"record": record, "left_out": left[:12]}
        if frames:
            ready.journalist.log.append(ready.head, b"".join(frames), received=event.received, records=len(frames))
            self.counts.kept += len(frames)
            self._dirty = True

    def _refuse(self, ready: _Open, event: Event, inputs: Mapping[str, Any], error: MiddlewatchError) -> None:
        facts = error.to_dict()

        def make(ident: str) -> Refusal:
            return Refusal(
                id=ident,
                time=event.time,
                received=event.received,
                caller=event.caller,
                field=facts.get("field", ""),
                came=facts.get("came", ""),
                expected=facts.get("expected", ""),
                error=facts["error"],
                raw=ready.reader.redacted(inputs)[:4096] if isinstance(error, RequestRefused) else b"",
            )

        ready.journalist.refuse(ready.refused, make, event.received)
        self.counts.refused += 1
        self._dirty = True

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    # ------------------------------------------------------------------ what doctor shows

    def _say(self, problem: str) -> None:
        """Once for each different problem: a log that is flooded hides what it says."""
        self.counts.problem = problem
        self._dirty = True
        if problem not in self._told and len(self._told) < 20:
            self._told.add(problem)
            _log.warning("middlewatch does not record: %s", problem)

    def _note(self, ready: _Open, *, force: bool) -> None:
        """Leave counts and the last row, as it was understood, where `doctor` finds them; once a second at most."""
        if not self._dirty or (not force and time.monotonic() - self._noted < 1.0):
            return
        self._dirty, self._noted = False, time.monotonic()
        counts = self.counts
        record: Record | None = counts.last.get("record")
        facts = {
            "schema": 1,
            "model": ready.model,
            "version": ready.head.version,
            "server": ready.head.server,
            "pid": os.getpid(),
            "at": iso(datetime.fromtimestamp(self._clock(), UTC)),
            "kept": counts.kept,
            "refused": counts.refused,
            "dropped": counts.dropped,
            "unread": counts.unread,
            "problem": counts.problem,
            "last": None
            if record is None
            else {
                "id": record.id,
                "time": iso(datetime.fromtimestamp(record.time / 1e6, UTC)),
                "score": record.score,
                "label": record.label,
                "caller": record.caller,
                "inputs": json.loads(record.raw),
                "left_out": counts.last["left_out"],
            },
        }
        folder = ready.project.spool(ready.model)
        path = folder / f"watched@{ready.head.server}.json"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(facts))
            os.replace(fresh, path)
            for old in folder.glob("watched@*.json"):
                if old.stat().st_mtime < self._clock() - _OLD_NOTES:
                    old.unlink(missing_ok=True)


def _value(given: Any) -> Any:
    """JSON as values; Python values as they are. Raises Unread."""
    if not isinstance(given, bytes):
        return given
    try:
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unread("a body is not JSON") from None


_LIVING: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _in_child() -> None:
    for one in list(_LIVING):
        one.after_fork()


os.register_at_fork(after_in_child=_in_child)


@atexit.register
def _leave() -> None:
    """What is queued when the process ends is written, for some seconds."""
    for one in list(_LIVING):
        one.close()

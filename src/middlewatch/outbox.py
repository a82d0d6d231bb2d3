"""Messages on their way out: a queue on this machine's disk that a kill at any point leaves whole.

`<project>/.middlewatch/outbox`, everything written once:

    _id                              this machine's own random name
    <message>/message.json           what to say, and the routes it goes to (by name: addresses are never kept)
    <message>/ours                   nobody else tells it: it may go out
    <message>/<route>-0001.json      one try: when, whether it was taken, what was answered
    <message>/end.json               every route has it, or was given up
    _beat/<time>.json                the last call of the dead man's switch

A message without `end.json` is not finished. A try is recorded after it was made: a kill between the two sends the
message again under the same id and key, so it comes at least once. What was given up stays here for 30 days, and
`status` and `doctor` count it. Imports nothing heavy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from .errors import StoreError
from .store import Store
from .times import iso

__all__ = ["BACKOFF", "Counts", "Message", "Outbox", "Queued", "Try", "counts", "folder_of"]

# Seconds to wait after each failed try: soon where a connection broke, and for more than a day in all, so that a
# receiver that is down over a night, or a token that somebody must first renew, still gets it.
BACKOFF = (2, 10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 14_400, 21_600, 43_200)
# Where the variable of a route is gone, a message waits so long for a process that has it.
PATIENCE = timedelta(days=7)
KEEP = timedelta(days=30)
# Far above what a store's alarm budget can bring; it bounds a folder that a broken receiver would fill.
MOST = 500
LARGEST = 64_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,150}")
_TRY = re.compile(r"\d{2}-\d{4,}\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `id` names it for ever, `dedup_key` is what it is about (one incident: all its messages share it).

    `covers` are the names of the changes that it tells, `routes` the settings' own words for where it goes, `after`
    ("" or ISO) the moment before which it waits. `text` begins with the line that a phone shows; `facts` is the same
    as JSON.
    """

    id: str
    kind: str
    severity: str
    at: str
    dedup_key: str
    routes: Sequence[str]
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    covers: Sequence[str] = ()
    after: str = ""

    @property
    def title(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def body(self) -> str:
        """What stands behind the first line."""
        return self.text.partition("\n")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try: `status` is what was answered (an HTTP status, an exit code), `error` why not, without any secret;
    `final` that none will follow.
    """

    route: str
    at: str
    ok: bool
    status: str = ""
    error: str = ""
    seconds: float = 0.0
    final: bool = False


@dataclass(frozen=True, slots=True)
class Queued:
    """A message as it stands: `tries` by the route's place in `message.routes`, oldest first."""

    message: Message
    tries: Mapping[int, Sequence[Try]]
    ours: bool
    ended: bool

    def done(self, place: int) -> bool:
        """Whether a route needs no further try."""
        tries = self.tries.get(place, ())
        return bool(tries) and (tries[-1].ok or tries[-1].final)

    def due(self, place: int) -> datetime:
        """When the next try of a route may be made."""
        tries = self.tries.get(place, ())
        if tries:
            return datetime.fromisoformat(tries[-1].at) + timedelta(seconds=BACKOFF[min(len(tries), len(BACKOFF)) - 1])
        return datetime.fromisoformat(self.message.after or self.message.at)

    @property
    def complete(self) -> bool:
        return all(self.done(place) for place in range(len(self.message.routes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What `status` says of the queue: messages that wait, that had a route given up in the last 30 days, the newest
    failure in words, and since when the oldest one waits (ISO, "" for none).
    """

    waiting: int = 0
    given_up: int = 0
    waiting_since: str = ""
    problem: str = ""
    beat: Try | None = None


def folder_of(root: Path) -> Path:
    """Where a project's queue lies."""
    return root / ".middlewatch" / "outbox"


class Outbox:
    """The queue of a project on this machine."""

    def __init__(self, root: Path) -> None:
        self.folder = folder_of(root)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._store = Store.open(str(self.folder), base=root)

    @property
    def host(self) -> str:
        """This machine's own name in the store: random, since host names repeat."""
        self._store.put_new("_id", os.urandom(8).hex().encode())
        return self._store.get("_id").decode()

    def put(self, message: Message) -> bool:
        """Queue a message; False where one of its id is queued already."""
        data = msgspec.json.encode({"schema": 1, **msgspec.to_builtins(message)})
        if _ID.fullmatch(message.id) is None or len(data) > LARGEST:
            raise StoreError(f"a message of {len(data):,} bytes cannot be queued", where=message.id[:80])
        return self._store.put_new(f"{message.id}/message.json", data)

    def own(self, ident: str) -> None:
        """Nobody else tells this message: it may go out."""
        self._store.put_new(f"{ident}/ours", b"")

    def record(self, ident: str, place: int, tried: Try) -> None:
        """Keep one try of the route at this place of the message's routes."""
        data = msgspec.json.encode(tried)
        number = 1
        while not self._store.put_new(f"{ident}/{place:02d}-{number:04d}.json", data):
            number += 1

    def end(self, ident: str, *, at: datetime) -> None:
        """Nothing more is to be done for a message."""
        self._store.put_new(f"{ident}/end.json", msgspec.json.encode({"at": iso(at)}))

    def drop(self, ident: str) -> None:
        """Forget a message. Its text goes first: what a kill leaves behind is no message."""
        names = self._store.list(f"{ident}/")
        for name in sorted(names, key=lambda one: not one.endswith("/message.json")):
            self._store.delete(name)

    def get(self, ident: str) -> Queued | None:
        """One message with its tries."""
        return self._read(ident, self._store.list(f"{ident}/"))

    def all(self) -> list[Queued]:
        """Every message that is kept, oldest first."""
        return self._read_all(self._folders())

    def waiting(self) -> list[Queued]:
        """Messages that are not finished, oldest first. Those that are finished are not read."""
        folders = self._folders()
        return self._read_all({ident: names for ident, names in folders.items() if f"{ident}/end.json" not in names})

    def _folders(self) -> dict[str, list[str]]:
        folders: dict[str, list[str]] = {}
        for name in self._store.list(""):
            ident, _, inside = name.partition("/")
            if inside and not ident.startswith("_"):
                folders.setdefault(ident, []).append(name)
        return folders

    def _read_all(self, folders: Mapping[str, Sequence[str]]) -> list[Queued]:
        found = [self._read(ident, names) for ident, names in folders.items()]
        return sorted((one for one in found if one is not None), key=lambda one: (one.message.at, one.message.id))

    def beat(self, tried: Try) -> None:
        """Keep the answer of the dead man's switch; the one before goes."""
        earlier = self._store.list("_beat")
        name = f"_beat/{datetime.fromisoformat(tried.at).astimezone(UTC):%Y%m%dT%H%M%S.%f}Z.json"
        self._store.put_new(name, msgspec.json.encode(tried), durable=False)
        for one in earlier:
            if one < name:
                self._store.delete(one)

    def last_beat(self) -> Try | None:
        names = self._store.list("_beat")
        return msgspec.json.decode(self._store.get(names[-1]), type=Try) if names else None

    def sweep(self, *, now: datetime) -> None:
        """Forget what was finished 30 days ago, and the oldest finished ones where there are more than 500."""
        ended = [one for one in self.all() if one.ended]
        old = [one for one in ended if datetime.fromisoformat(one.message.at) < now - KEEP]
        for one in [*old, *ended[len(old) : max(len(ended) - MOST, 0)]]:
            self.drop(one.message.id)
        for name in self._store.list(""):  # what a kill has left of a message that was being dropped
            ident, _, inside = name.partition("/")
            if inside and not ident.startswith("_") and not self._store.exists(f"{ident}/message.json"):
                self._store.delete(name)

    def _read(self, ident: str, names: Sequence[str]) -> Queued | None:
        inside = {name.partition("/")[2] for name in names}
        if "message.json" not in inside:
            return None
        data = self._store.find(f"{ident}/message.json")
        if data is None:
            return None  # dropped meanwhile
        message = msgspec.json.decode(data, type=Message)
        tries: dict[int, list[Try]] = {}
        for name in sorted(inside):
            if _TRY.fullmatch(name) and (held := self._store.find(f"{ident}/{name}")) is not None:
                tries.setdefault(int(name[:2]), []).append(msgspec.json.decode(held, type=Try))
        return Queued(message, tries, ours="ours" in inside, ended="end.json" in inside)


def counts(root: Path) -> Counts:
    """How a project's queue stands; nothing is made where there is none."""
    if not folder_of(root).is_dir():
        return Counts()
    outbox = Outbox(root)
    kept = outbox.all()
    waiting = [one for one in kept if not one.ended and one.message.kind != "test"]
    lost = [one for one in kept if one.message.kind != "test" and _given_up(one)]
    failed = [tried for one in kept for each in one.tries.values() for tried in each[-1:] if not tried.ok]
    newest = max(failed, key=lambda one: one.at, default=None)
    return Counts(
        waiting=len(waiting),
        given_up=len(lost),
        waiting_since=waiting[0].message.at if waiting else "",
        problem=f"{newest.route}: {newest.error}" if newest and (waiting or lost) else "",
        beat=outbox.last_beat(),
    )


def _given_up(one: Queued) -> bool:
    return any(tries and tries[-1].final and not tries[-1].ok for tries in one.tries.values())

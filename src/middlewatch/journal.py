"""The journal of one model: numbered entries that nobody edits, and what they say is live.

Entry n is the object `<model>/journal/<n, 20 digits>.json`. Numbers are contiguous from 1, the create-only
put of n + 1 decides every race, and each entry carries the sha256 of the bytes of the one before.

What is live is the fold of the entries (`State.after`). Each channel (`live`, `staging`, `shadow`) has a
trail: the versions that led to the one it holds, newest last.

    promote, external, shadow V   V goes on the trail and is live; nothing changes where V is live already
    rollback V                    the trail is cut back to V; where V is not on it, V replaces the newest
    retire V                      V leaves the trail; where V was live, the channel holds nothing
    freeze / unfreeze             automatic promotion stops / may go on; a rollback of `live` freezes too
    note                          changes nothing

`previous` is the newest version on the trail that is not the live one: what a rollback goes to. Since a
rollback cuts the trail, a second one walks further back instead of returning to what the first one left, and
a version that was rolled back from is not "previous" again until somebody promotes it. With v1, v2 and v3
promoted in turn:

    rollback -> v2, rollback -> v1, rollback -> nothing left
    rollback -> v2, promote v4, rollback -> v2, rollback -> v1

A freeze binds schedules, not people: promoting by hand while frozen is allowed, and the freeze stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

from .errors import OutOfReach, Refused, StoreError, UsageError, nearest
from .findings import Finding
from .store import Store
from .times import iso

__all__ = ["ACTIONS", "Contested", "Entry", "Journal", "State", "until_uncontested"]

Answer = TypeVar("Answer")
ATTEMPTS = 5

SCHEMA = 1
"""Raised when the meaning of an entry changes; keys that an older reader may ignore do not raise it."""

ACTIONS = ("promote", "rollback", "external", "shadow", "freeze", "unfreeze", "retire", "note")
_DEPLOYS = ("promote", "rollback", "external", "shadow", "retire")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")


class Contested(Refused):
    """Somebody else wrote entry `n` first: read again, decide again. `entry` is theirs."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(
            f"entry {entry.n} was written by somebody else meanwhile",
            why=f"{entry.action} {entry.version} by {entry.actor or 'unknown'} at {entry.at}",
            fix="look at what is live now (mw versions) and decide again",
        )
        self.n = entry.n
        self.entry = entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that was done to a model. Times are ISO 8601 in UTC, hashes sha256 in hex, "" is "none".

    `id` is random and tells our own write from somebody else's. `previous` is what the channel held before.
    `manifest` is the hash of the version's manifest, `gate` one dict per check (check, ok, champion,
    challenger), `data` and `git` the data version and commit, `tool` the Middlewatch that wrote it, `facts`
    whatever else the action wants to keep.
    """

    n: int
    id: str
    at: str
    actor: str
    host: str
    action: str
    channel: str
    version: str
    previous: str
    manifest: str = ""
    reason: str = ""
    gate: tuple[Mapping[str, Any], ...] = ()
    data: str = ""
    git: str = ""
    tool: str = ""
    prev_sha256: str = ""
    schema: int = SCHEMA
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Every field as JSON has it."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def to_bytes(self) -> bytes:
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @staticmethod
    def from_bytes(data: bytes, *, where: str) -> Entry:
        """Read an entry; keys of a newer Middlewatch are left out. Raises StoreError for one that is none."""
        try:
            raw = json.loads(data)
            if raw["schema"] > SCHEMA:
                raise StoreError(
                    f"a newer Middlewatch wrote this entry (schema {raw['schema']}, this one knows {SCHEMA})",
                    where=where,
                    fix="pip install --upgrade middlewatch",
                )
            known = {one.name: raw[one.name] for one in fields(Entry) if one.name in raw}
            known["gate"] = tuple(known.get("gate", ()))
            return Entry(**known)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                "a journal entry cannot be read",
                where=where,
                why="it is torn or was edited",
                fix="restore it from a backup of the store; mw doctor checks the whole journal",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the entries up to `n` say. All mappings are by channel; a channel that holds nothing is absent."""

    n: int = 0
    live: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, str] = field(default_factory=dict)
    trails: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frozen: bool = False
    last: Entry | None = None

    def previous(self, channel: str = "live") -> str | None:
        """The last different version that was live on the channel: where a rollback goes; None: nowhere."""
        holds = self.live.get(channel)
        return next((one for one in reversed(self.trails.get(channel, ())) if one != holds), None)

    def after(self, entry: Entry) -> State:
        """The state once `entry` is added: the whole state machine, described at the top of this module."""
        channel, version = entry.channel, entry.version
        holds = self.live.get(channel)
        trail = self.trails.get(channel, ())
        now = holds
        match entry.action:
            case "promote" | "external" | "shadow":
                now, trail = version, _pushed(trail, version)
            case "rollback":
                now, trail = version, _cut_back(trail, version, holds)
            case "retire":
                now, trail = (
                    None if version == holds else holds,
                    tuple(one for one in trail if one != version),
                )
        live, since = dict(self.live), dict(self.since)
        if now != holds:
            live[channel], since[channel] = now or "", entry.at
        if now is None:
            live.pop(channel, None)
            since.pop(channel, None)
        stops = entry.action == "freeze" or (entry.action == "rollback" and channel == "live")
        return State(
            n=entry.n,
            live=live,
            since=since,
            trails={**self.trails, channel: trail},
            frozen=stops or (self.frozen and entry.action != "unfreeze"),
            last=entry,
        )


def _pushed(trail: tuple[str, ...], version: str) -> tuple[str, ...]:
    return trail if trail[-1:] == (version,) else (*trail, version)


def _cut_back(trail: tuple[str, ...], version: str, holds: str | None) -> tuple[str, ...]:
    """The trail after a rollback to `version`: what came after it, up to what was live, is forgotten."""
    if version == holds:
        return trail
    below = trail if holds is None else trail[:-1]
    for place in range(len(below), 0, -1):
        if below[place - 1] == version:
            return below[:place]
    return (*below, version)


class Journal:
    """The journal of `model` in `store`. Entries never change, so what was read once is kept.

    Every question costs one read (the next entry, which is mostly not there) plus one per new entry; nothing
    is listed on a local store. Safe to share between threads.
    """

    def __init__(self, store: Store, model: str, *, new_id: Callable[[], str] = lambda: os.urandom(12).hex()) -> None:
        self._store = store
        self._folder = f"{model}/journal"
        self._new_id = new_id
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._digest = ""  # of the newest entry known
        self._state = State()

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        with self._lock:
            self._catch_up()
            return list(self._entries)

    def head(self) -> Entry | None:
        """The newest entry; None where there are none."""
        return self.state().last

    def state(self) -> State:
        """What is live, since when, and whether automatic promotion is frozen."""
        with self._lock:
            self._catch_up()
            return self._state

    def live(self, channel: str = "live") -> str | None:
        """The version that a channel holds."""
        return self.state().live.get(channel)

    def previous(self, channel: str = "live") -> str | None:
        """Where a rollback of the channel goes: the last different version that was live (see `State`)."""
        return self.state().previous(channel)

    def next_exists(self, n: int) -> Entry | None:
        """The entry after number `n`, or None: one read, for servers that poll."""
        with self._lock:
            if n < len(self._entries):
                return self._entries[n]
            data = self._store.find(self._key(n + 1))
            if data is None:
                return None
            if n == len(self._entries):
                return self._take(data)
        return Entry.from_bytes(data, where=self._key(n + 1))

    def append(
        self,
        *,
        action: str,
        version: str,
        actor: str,
        host: str,
        at: datetime,
        expect: int,
        channel: str = "live",
        reason: str = "",
        gate: Sequence[Mapping[str, Any]] = (),
        manifest: str = "",
        data: str = "",
        git: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Write entry `expect` + 1; `expect` is the number of the head that the caller decided on (0: none).

        Raises Contested where somebody else has written that number, UsageError for a word that is none,
        and OutOfReach where the store fails. Our own write is recognised by its id if its answer was lost.
        """
        _check_words(action, version, channel)
        with self._lock:
            if len(self._entries) <= expect:
                self._catch_up()
            if len(self._entries) > expect:
                raise Contested(self._entries[expect])
            if len(self._entries) < expect:
                raise StoreError(
                    f"the journal ends at entry {len(self._entries)}, and entry {expect} was seen before",
                    where=f"{self._store.url}/{self._folder}",
                    why="entries are missing from the store",
                    fix="restore the store from a backup; mw doctor checks the whole journal",
                )
            entry = Entry(
                n=expect + 1,
                id=self._new_id(),
                at=iso(at),
                actor=actor,
                host=host,
                action=action,
                channel=channel,
                version=version,
                previous=self._state.live.get(channel, ""),
                manifest=manifest,
                reason=reason,
                gate=tuple(gate),
                data=data,
                git=git,
                tool=_tool(),
                prev_sha256=self._digest,
                facts=dict(facts or {}),
            )
            return self._write(entry)

    def verify(self) -> list[Finding]:
        """Read every entry again and check numbers and hash chain; nothing found is an intact journal.

        An edit, a gap and an entry of another journal are found. That the newest entries were cut off cannot
        be seen from what is left.
        """
        found: list[Finding] = []
        digest, expected = "", 1
        for key in self._store.list(self._folder):
            name = key.rpartition("/")[2]
            if re.fullmatch(r"\d{20}\.json", name) is None:
                found.append(_finding("journal_entry", f"{name} is no entry", severity="warn"))
                continue
            n = int(name[:20])
            data = self._store.get(key)
            if n != expected:
                found.append(_finding("journal_gap", f"entry {expected} is missing: the next one is {n}", n=n))
            try:
                entry = Entry.from_bytes(data, where=key)
            except StoreError as error:
                found.append(_finding("journal_entry", f"entry {n}: {error.what}", n=n))
            else:
                if entry.n != n:
                    found.append(_finding("journal_entry", f"entry {n} says that it is number {entry.n}", n=n))
                elif n == expected and entry.prev_sha256 != digest:
                    message = (
                        f"entry {n - 1} is not what it was when entry {n} was written"
                        if n > 1
                        else ("entry 1 follows an entry that is not there")
                    )
                    found.append(_finding("journal_chain", message, n=n))
            digest, expected = hashlib.sha256(data).hexdigest(), n + 1
        return found

    def _key(self, n: int) -> str:
        return f"{self._folder}/{n:020d}.json"

    def _take(self, data: bytes) -> Entry:
        n = len(self._entries) + 1
        entry = Entry.from_bytes(data, where=f"{self._store.url}/{self._key(n)}")
        if entry.n != n:
            raise StoreError(f"entry {n} says that it is number {entry.n}", where=self._key(n), why="it was edited")
        self._entries.append(entry)
        self._digest = hashlib.sha256(data).hexdigest()
        self._state = self._state.after(entry)
        return entry

    def _catch_up(self) -> None:
        """Take every entry that is not known yet, by trying the next number until one is missing."""
        first = len(self._entries)
        while (data := self._store.find(self._key(len(self._entries) + 1))) is not None:
            self._take(data)
            known = len(self._entries)
            if self._store.root is None and known == first + 2:
                # Far behind, and each read of a bucket is a journey: ask which there are, fetch them together.
                keys = self._store.list(self._folder, after=self._key(known))
                run = [key for n, key in enumerate(keys, start=known + 1) if key == self._key(n)]
                for one in self._store.get_many(run):
                    self._take(one)

    def _write(self, entry: Entry) -> Entry:
        key, data = self._key(entry.n), entry.to_bytes()
        try:
            won = self._store.put_new(key, data)
        except OutOfReach:
            # The write may have arrived and only its answer be lost: that it is there with our id decides.
            theirs = self._store.find(key)
            if theirs is None:
                raise
            won = False
        if won:
            return self._take(data)
        self._catch_up()
        winner = self._entries[entry.n - 1]
        if winner.id != entry.id:
            raise Contested(winner)
        return winner


def _check_words(action: str, version: str, channel: str) -> None:
    if action not in ACTIONS:
        raise UsageError(f'"{action}" is no action of a journal', fix=nearest(action, ACTIONS))
    if _WORD.fullmatch(channel) is None:
        raise UsageError(f'"{channel}" cannot be the name of a channel', fix='use a word such as "staging"')
    if (version or action in _DEPLOYS) and _VERSION.fullmatch(version) is None:
        raise UsageError(f'"{version}" cannot be a version', fix='versions are written "v42"')


def _finding(check: str, message: str, *, n: int = 0, severity: Any = "fail") -> Finding:
    return Finding(
        check=check,
        message=message,
        severity=severity,
        fix="restore the journal from a backup of the store",
        evidence={"n": n},
    )


def _tool() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("middlewatch")
    except PackageNotFoundError:
        return ""  # run from a source tree that is not installed


def until_uncontested(decide: Callable[[], Answer]) -> Answer:
    """Decide again from what stands now where somebody else wrote the next entry first."""
    for _ in range(ATTEMPTS - 1):
        try:
            return decide()
        except Contested:
            continue
    return decide()

"""Incidents: opened once, updated while they last, answered by people, closed; events, nothing edited.

    open ──ack──▶ acknowledged ──silence──▶ silenced        any of the three ──resolve──▶ resolved ──reopen──▶ open

Each of `ack` and `silence` follows on the other as well. What does not fit the state it meets (an `ack` that lost the
race against a `resolve`) changes nothing, so that writers need not agree on an order: the numbers of the events are it.

Objects: `<model>/incidents/0017/0001.json`, one event each, numbered and create-only. What an incident is
now is the fold of its events. Imports nothing heavy: `status` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .errors import NotFound, UsageError, nearest
from .marks import Mark
from .times import iso

if TYPE_CHECKING:
    from .store import Store

OUTCOMES = "(outcomes)"
SERVER = "(server)"
"""Columns that incidents about outcomes, and about servers, name: they are about none of the table's."""
_APART = frozenset((OUTCOMES, SERVER))

State = Literal["open", "acknowledged", "silenced", "resolved"]
Severity = Literal["page", "ticket"]
KINDS = ("open", "update", "ack", "silence", "resolve", "reopen", "mark_bad", "unmark_bad")
_AFTER: dict[str, State] = {"ack": "acknowledged", "silence": "silenced", "resolve": "resolved"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to an incident. `facts` depend on the kind."""

    n: int
    kind: str
    at: str
    actor: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident as it stands.

    `since` and `until` are event times (ISO, UTC): start of the first and end of the last window that is
    part of it. `top` lists `{column, channel, score}`, most unusual first; `peak` is the highest score so
    far (natural logarithm of "times its worst of the last 90 windows"). `severity` "page" is about
    predictions, quality or availability, "ticket" about inputs alone. `before` and `after` are mean
    predictions. `cause` is what a person said when closing it, `why` what the diagnosis said.
    """

    n: int
    model: str
    state: State = "open"
    title: str = ""
    since: str = ""
    until: str = ""
    opened: str = ""
    changed: str = ""
    severity: Severity = "ticket"
    columns: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    top: tuple[Mapping[str, Any], ...] = ()
    peak: float = 0.0
    before: float | None = None
    after: float | None = None
    rows: int = 0
    windows: int = 0
    clean: int = 0
    seen: str = ""
    paged: float = 0.0
    cause: str = ""
    why: Mapping[str, Any] | None = None
    confirmed: bool | None = None
    silent_until: str = ""
    key: str = ""
    bad: tuple[Mark, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def active(self) -> bool:
        """True until it is resolved: acknowledged and silenced ones still last."""
        return self.state != "resolved"

    @property
    def apart(self) -> bool:
        """True where whoever opened it keeps it: what windows and rows show neither joins nor closes it."""
        return not _APART.isdisjoint(self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, the shape of `incidents --json`."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


class Incidents:
    """The incidents of one model in a store. Events never change, so what was read once is kept."""

    def __init__(self, store: Store, model: str) -> None:
        self.store = store
        self.model = model
        self.prefix = f"{model}/incidents/"
        self._events: dict[str, Event] = {}

    def open(self, *, key: str, at: datetime, actor: str, facts: Mapping[str, Any]) -> Incident:
        """Open an incident, or return the one that was opened under the same `key`, however many try at once.

        `key` says what it is about (a window and a group of channels). `facts` are fields of Incident: title,
        since, until, severity, columns, channels, top, peak, before, after, rows, windows.
        """
        event = {"schema": 1, "kind": "open", "at": iso(at), "actor": actor, "facts": {**facts, "key": key}}
        data = msgspec.json.encode(event)
        while True:
            known = self.all()
            for one in known:
                if one.key == key:
                    return one
            n = 1 + max((one.n for one in known), default=0)
            # Whoever gets number n has seen every lower one, so a key is opened once.
            if self.store.put_new(f"{self.prefix}{n:04d}/0001.json", data):
                return self.get(n)

    def add(self, n: int, kind: str, *, at: datetime, actor: str, **facts: Any) -> Incident:
        """Append an event to incident `n` and return the incident as it then stands.

        Kinds: `update` (fields of Incident), `ack`, `silence` (until=ISO), `resolve` (cause, confirmed), `reopen`,
        `mark_bad` (since, until, where), `unmark_bad` (takes all marks back). Raises NotFound, UsageError.
        """
        if kind not in KINDS[1:]:
            raise UsageError(f'"{kind}" is nothing one can do with an incident', fix=nearest(kind, KINDS[1:]))
        if kind == "mark_bad" and not (facts.get("since") and facts.get("until")):
            raise UsageError("marking rows as bad needs since and until", where=f"incident {n}")
        number = len(self.get(n).events)
        data = msgspec.json.encode({"schema": 1, "kind": kind, "at": iso(at), "actor": actor, "facts": facts})
        while True:
            number += 1
            if self.store.put_new(f"{self.prefix}{n:04d}/{number:04d}.json", data):
                return self.get(n)

    def get(self, n: int) -> Incident:
        """Incident `n` as it stands. Raises NotFound."""
        keys = self.store.list(f"{self.prefix}{n:04d}/")
        if not keys:
            known = [str(one.n) for one in self.all()]
            raise NotFound(f"there is no incident {n}", where=self.model, fix=nearest(str(n), known))
        return self._fold(n, keys)

    def all(self) -> list[Incident]:
        """Every incident, oldest first."""
        found: dict[int, list[str]] = {}
        for key in self.store.list(self.prefix):
            found.setdefault(int(key.removeprefix(self.prefix).split("/", 1)[0]), []).append(key)
        fresh = [key for keys in found.values() for key in keys if key not in self._events]
        read = dict(zip(fresh, self.store.get_many(fresh), strict=True))
        for keys in found.values():
            for number, key in enumerate(keys, start=1):
                if key in read:
                    self._events[key] = _event(number, read[key])
        return [self._fold(n, keys) for n, keys in sorted(found.items())]

    def active(self) -> list[Incident]:
        """Incidents that are not resolved, oldest first."""
        return [one for one in self.all() if one.active]

    def marks(self) -> list[Mark]:
        """Everything that a person marked bad, oldest incident first."""
        return [mark for one in self.all() for mark in one.bad]

    def _fold(self, n: int, keys: Sequence[str]) -> Incident:
        return fold(n, self.model, [self._event(number, key) for number, key in enumerate(sorted(keys), start=1)])

    def _event(self, number: int, key: str) -> Event:
        event = self._events.get(key)
        if event is None:
            event = self._events[key] = _event(number, self.store.get(key))
        return event


def _event(number: int, data: bytes) -> Event:
    plain = msgspec.json.decode(data, type=dict[str, Any])
    return Event(n=number, kind=plain["kind"], at=plain["at"], actor=plain["actor"], facts=plain["facts"])


# What an `open` or an `update` may say; the rest of Incident follows from the kinds of its events.
_FIELDS = frozenset(
    (
        *("key", "title", "since", "until", "severity", "columns", "channels", "top", "peak"),
        *("before", "after", "rows", "windows", "clean", "seen", "paged", "why"),
    )
)


def fold(n: int, model: str, events: Sequence[Event]) -> Incident:
    """What an incident is after these events. An update after it was resolved opens nothing again."""
    incident = Incident(n=n, model=model)
    for event in events:
        facts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in event.facts.items()
            if name in _FIELDS
        }
        if event.kind == "open":
            incident = replace(incident, opened=event.at, **facts)
        elif event.kind == "update":
            incident = replace(incident, **facts)
        elif event.kind == "mark_bad":
            since, until = (datetime.fromisoformat(event.facts[end]) for end in ("since", "until"))
            mark = Mark(since, until, str(event.facts.get("where") or ""), n)
            incident = replace(incident, bad=(*incident.bad, mark))
        elif event.kind == "unmark_bad":
            incident = replace(incident, bad=())
        elif event.kind == "reopen":
            if not incident.active:  # what was said to be the cause was said too soon
                incident = replace(incident, state="open", clean=0, cause="", confirmed=None, silent_until="")
        elif incident.active:  # ack, silence, resolve
            incident = replace(incident, state=_AFTER[event.kind])
            if event.kind == "silence":
                incident = replace(incident, silent_until=str(event.facts.get("until") or ""))
        if event.kind == "resolve":  # the true cause may be told after it closed by itself
            incident = replace(
                incident,
                cause=str(event.facts.get("cause") or incident.cause),
                confirmed=event.facts.get("confirmed", incident.confirmed),
            )
        incident = replace(incident, changed=event.at)
    return replace(incident, events=tuple(events))

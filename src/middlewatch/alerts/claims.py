"""Who tells what: each change is told by one machine, also where many share a store.

    _alerts/began.json                          when alerts were first set up here, and the store's own name
    _alerts/told/<change>/claim-0001.json       a machine has taken it into its queue
    _alerts/told/<change>/done.json             it went out, was given up, or is not to be told, and why

A machine that claimed a change and then went away for an hour loses it to the next that looks: the message may come
twice, under the same key, and is never lost with a disk. What happened before alerts were set up is not told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from middlewatch.store import Store
from middlewatch.times import iso

__all__ = ["LEASE", "Began", "Claims", "Told"]

LEASE = timedelta(hours=1)
KEEP_DIGESTS = 7
_FOLDER = "_alerts/told/"
_BEGAN = "_alerts/began.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """`at` (ISO) is the moment from which changes are told, `store` the store's name in deduplication keys, `settled`
    by model the number up to which incidents were resolved by then, but for `open`.
    """

    at: str
    store: str
    settled: Mapping[str, int]
    open: Mapping[str, Sequence[int]]

    def is_settled(self, model: str, n: int) -> bool:
        return n <= self.settled.get(model, 0) and n not in self.open.get(model, ())


@dataclass(frozen=True, slots=True)
class Told:
    """How one change stands: the number of its last claim, and whether it is done."""

    claims: int
    done: bool


class Claims:
    """The changes of a store that are told or being told, as seen at one moment; `take` and `done` write."""

    def __init__(self, store: Store, host: str, held: Iterable[str] = ()) -> None:
        """`host` is this machine's name, `held` are changes that wait in its queue."""
        self.store = store
        self.host = host
        self.held = frozenset(held)
        self._known: dict[str, Told] = {}
        for key in store.list(_FOLDER):
            name, _, inside = key.removeprefix(_FOLDER).rpartition("/")
            known = self._known.get(name, Told(0, False))
            if inside == "done.json":
                self._known[name] = Told(known.claims, True)
            else:
                self._known[name] = Told(max(known.claims, int(inside[6:-5])), known.done)

    def begun(self) -> Began | None:
        """The beginning, None where nobody has told anything here yet."""
        kept = self.store.find(_BEGAN)
        if kept is None:
            return None
        held: dict[str, Any] = json.loads(kept)
        return Began(at=held["at"], store=held["store"], settled=held["settled"], open=held["open"])

    def begin(self, now: datetime, standing: Mapping[str, Sequence[tuple[int, bool]]]) -> Began:
        """Begin at `now`, or as somebody else did just before; `standing` are incidents by model, (n, active)."""
        plain = {
            "schema": 1,
            "at": iso(now),
            "store": os.urandom(4).hex(),
            "settled": {model: max((n for n, _ in known), default=0) for model, known in standing.items()},
            "open": {model: [n for n, active in known if active] for model, known in standing.items()},
        }
        self.store.put_new(_BEGAN, json.dumps(plain).encode())
        begun = self.begun()
        assert begun is not None, "what was just put is there"
        return begun

    def below(self, prefix: str) -> dict[str, Told]:
        """Known changes whose name begins so, by the rest of the name."""
        return {name.removeprefix(prefix): told for name, told in self._known.items() if name.startswith(prefix)}

    def covered(self, name: str, *, now: datetime) -> bool:
        """Whether a change needs nobody: it is done, waits in our own queue, or somebody's claim on it is young."""
        known = self._known.get(name)
        if known is None:
            return False
        return known.done or name in self.held or now - self.at(name) <= LEASE

    def at(self, name: str) -> datetime:
        """When a change was last claimed, or done where nobody ever claimed it."""
        return datetime.fromisoformat(self._read(name)["at"])

    def take(self, name: str, *, now: datetime) -> bool:
        """Claim a change for this machine; False where another holds it or it is done."""
        data = json.dumps({"schema": 1, "host": self.host, "at": iso(now)}).encode()
        while True:
            known = self._known.get(name, Told(0, False))
            if known.done:
                return False
            if known.claims:
                held = self._read(name)
                if held["host"] == self.host:
                    return True
                if now - datetime.fromisoformat(held["at"]) <= LEASE:
                    return False
            number = known.claims + 1
            won = self.store.put_new(f"{_FOLDER}{name}/claim-{number:04d}.json", data)
            self._known[name] = Told(number, False)
            if won:
                return True

    def done(self, name: str, *, now: datetime, why: str = "") -> None:
        """A change is told, or is not to be told for the reason `why`."""
        known = self._known.get(name, Told(0, False))
        if not known.done:
            self.store.put_new(
                f"{_FOLDER}{name}/done.json", json.dumps({"schema": 1, "at": iso(now), "why": why}).encode()
            )
            self._known[name] = Told(known.claims, True)

    def forget_digests(self) -> None:
        """Remove all but the newest claims of daily digests: they are the only ones that come every day."""
        days: dict[str, list[str]] = {}
        for name in self._known:
            if name.startswith("_digest/"):
                days.setdefault(name.split("/")[1], []).append(name)
        for names in days.values():
            for name in sorted(names)[:-KEEP_DIGESTS]:
                for key in self.store.list(f"{_FOLDER}{name}/"):
                    self.store.delete(key)

    def _read(self, name: str) -> dict[str, Any]:
        known = self._known[name]
        inside = f"claim-{known.claims:04d}.json" if known.claims else "done.json"
        held: dict[str, Any] = json.loads(self.store.get(f"{_FOLDER}{name}/{inside}"))
        return held

"""Where the fold over past windows stood, kept so that a run goes on from there and does not begin anew.

    <model>/folds/<start of the next window>@<version>@<key>.bin

Derived, and named by all that it follows from: the windows before it with what they are made of and which of them are
marked bad, the model version, the schema's columns, the length of windows, the budget and the code of the fold.
Anything else is another name, so a state is found only where it would be the same; where none is found, or what is
found cannot be read, the fold begins anew.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

import middlewatch.shift.channels as channels
import middlewatch.shift.watch as watch
from middlewatch import model as models
from middlewatch import profiles, shift
from middlewatch.errors import MiddlewatchError
from middlewatch.shift.state import state_of
from middlewatch.times import iso
from middlewatch.windows import KEEP_HOURS_DAYS

if TYPE_CHECKING:
    from middlewatch.project import Project
    from middlewatch.shift import Length, Watch

    from .units import Unit

# States of the last days or weeks: late rows change a window, a person marks one.
KEPT = 40
# Of hours those of the last ones, and of the beginnings of the last days.
KEPT_HOURS = 3
KEPT_DAYS = 7
FORMAT = 1
# Hours go when they are old: what is gone by the next run must not be in a name.
COVERED = timedelta(days=KEEP_HOURS_DAYS - 21)
# Bins and the like: values that the package of the fold itself defines.
_CLASSES: dict[str, Any] = {
    name: one for part in (channels, watch) for name, one in vars(part).items() if is_dataclass(one)
}


class Folds:
    """States of the fold over `units` (all windows, oldest first), by the place of the window that comes next."""

    def __init__(
        self,
        project: Project,
        model: str,
        units: Sequence[Unit],
        *,
        length: Length,
        budget: float,
        marked: Callable[[Unit], bool],
    ) -> None:
        self.store = project.store
        self.folder = f"{model}/folds"
        self.units = units
        self.hourly = length.cycle > 1
        self._marked = marked
        self._places = {iso(unit.bounds[0]): place for place, unit in enumerate(units)}
        columns = [(one.name, one.kind, one.centre) for one in project.schema(model).columns]
        self._begin = _code() + msgspec.json.encode([FORMAT, columns, length.name, budget])
        self._made: dict[str, list[bytes]] = {}
        self._there = set(self.store.list(self.folder))

    def newest(self, versions: Sequence[str], fits: Callable[[int], bool]) -> tuple[int, dict[str, Any]] | None:
        """The last place that `fits` at which the fold of every version is kept, with the states by version."""
        places = {self._places[start] for start in map(_start, self._there) if start in self._places}
        for place in sorted(places, reverse=True):
            if all(self._name(place, one) in self._there for one in versions) and fits(place):
                states = {one: self._load(self._name(place, one)) for one in versions}
                if all(state is not None for state in states.values()):
                    return place, states
        return None

    def keep(self, place: int, watches: Mapping[str, Watch]) -> None:
        """Keep the fold of every version as it stood before the window at `place`."""
        for version, one in watches.items():
            name = self._name(place, version)
            if name not in self._there:
                data = zlib.compress(msgspec.msgpack.encode(_plain(state_of(one))), 1)
                self.store.put_new(name, data, durable=False)
                self._there.add(name)

    def expire(self, since: str) -> None:
        """Let go of states of another past and of old ones, but for the last before `since` (ISO): an incident that
        lasts is held against it.
        """
        old = self._old()
        stale = {name for name in self._there if _start(name) not in self._places or name != self._now(name)}
        spare: dict[str, str] = {}
        for name in sorted(self._there - stale):
            if _start(name) <= since:
                spare[_version(name)] = name
        for name in sorted(self._there):
            if name in stale or (old(name) and name not in spare.values()):
                self._delete(name)

    def forget(self) -> None:
        """Let go of all states."""
        for name in sorted(self._there):
            self._delete(name)

    # ------------------------------------------------------------------ inside

    def _old(self) -> Callable[[str], bool]:
        """Whether a state, by its name, is of a window too long ago."""
        if not self.hourly:
            least = iso(self.units[max(len(self.units) - KEPT, 0)].bounds[0])
            return lambda name: _start(name) < least
        hours = {iso(one.bounds[0]) for one in self.units[-KEPT_HOURS:]}
        days = {one.days[0].day: iso(one.bounds[0]) for one in reversed(self.units)}
        hours |= {start for _, start in sorted(days.items())[-KEPT_DAYS:]}
        return lambda name: _start(name) not in hours

    def _now(self, name: str) -> str:
        return self._name(self._places[_start(name)], _version(name))

    def _name(self, place: int, version: str) -> str:
        if version not in self._made:
            self._made[version] = [self._made_of(one, version) for one in self.units]
        first = 0
        if self.hourly:
            since = self.units[place].bounds[0] - COVERED
            first = next(at for at, one in enumerate(self.units) if one.bounds[0] >= since)
        said = [self._begin, version.encode(), *self._made[version][first:place]]
        start = iso(self.units[place].bounds[0])
        return f"{self.folder}/{start}@{version}@{hashlib.sha256(b'|'.join(said)).hexdigest()[:24]}.bin"

    def _made_of(self, unit: Unit, version: str) -> bytes:
        """All that a window's part in the fold follows from, in a few bytes."""
        said: list[Any] = [iso(unit.bounds[0]), iso(unit.bounds[1]), sorted(unit.revisions.items())]
        said.append(self._marked(unit))
        if unit.hour is not None:
            # Its day grows with every hour: the hour is another one where its rows are, or what is left out of it.
            # What another version makes of it comes from the day's sample.
            [day] = unit.days
            replayed = models.ours(version) and unit.logged and set(unit.versions) != {version}
            said += [sorted(unit.versions.items()), day.summary.get("marks", []), day.revision if replayed else 0]
        return hashlib.sha256(msgspec.json.encode(said)).digest()

    def _load(self, name: str) -> dict[str, Any] | None:
        """A kept state; None, and gone, where it cannot be read: it was not forced to disk."""
        try:
            found = _whole(msgspec.msgpack.decode(zlib.decompress(self.store.get(name))))
        except (MiddlewatchError, zlib.error, msgspec.MsgspecError, ValueError, TypeError, LookupError):
            found = None
        if not isinstance(found, dict):
            self._delete(name)
            return None
        return found

    def _delete(self, name: str) -> None:
        self.store.delete(name)
        self._there.discard(name)


def _start(name: str) -> str:
    return name.rpartition("/")[2].partition("@")[0]


def _version(name: str) -> str:
    return name.rpartition("/")[2].split("@")[1]


@cache
def _code() -> bytes:
    """What the fold is made by: where a channel is mended, what was folded before is no longer its past."""
    folders = [Path(one.__file__).parent for one in (shift, profiles) if one.__file__]
    sources = [one for folder in folders for one in sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"".join(one.read_bytes() for one in sources)).digest()


def _plain(value: Any) -> Any:
    """A state as what msgpack knows: every compound thing is a list that begins with its kind."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, date):
        return [type(value).__name__, value.isoformat()]
    if isinstance(value, np.ndarray):
        return ["array", value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]
    if isinstance(value, Mapping):
        return ["dict", *([_plain(key), _plain(one)] for key, one in value.items())]
    if isinstance(value, frozenset):
        return ["set", *sorted(value)]
    if isinstance(value, tuple | list):
        return [type(value).__name__, *map(_plain, value)]
    if type(value).__name__ in _CLASSES:
        return [type(value).__name__, *(_plain(getattr(value, one.name)) for one in fields(value))]
    raise TypeError(f"a fold's state cannot hold {type(value).__name__}")


def _whole(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, *rest = value
    if kind in ("date", "datetime"):
        return (date if kind == "date" else datetime).fromisoformat(rest[0])
    if kind == "array":
        return np.frombuffer(rest[2], dtype=rest[0]).reshape(rest[1]).copy()
    if kind == "dict":
        return {_whole(key): _whole(one) for key, one in rest}
    if kind == "set":
        return frozenset(rest)
    if kind in _CLASSES:
        made = _CLASSES[kind]
        return made(**{one.name: _whole(held) for one, held in zip(fields(made), rest, strict=True)})
    return tuple(map(_whole, rest)) if kind == "tuple" else list(map(_whole, rest))

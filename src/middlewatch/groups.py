"""Incidents of several models that are one to people: they share an input column, and began together.

Models of a store read the same feeds: a broken one moves them all, and wakes somebody once. Which incidents belong
together follows from what their first events say, the columns and the window of the onset. Those never change, so
whoever reads the store finds the same groups, in whatever order the models were judged, and nothing is written.

Imports nothing heavy: `status` asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from .incidents import Incident, Incidents

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Group", "Onset", "beside", "grouped", "groups", "members"]

# A feed that breaks is seen by all who read it within a few windows; older incidents of a model join no new group.
NEWEST = 20

Group = Sequence["Onset"]
Name = tuple[str, int]


@dataclass(frozen=True, slots=True, order=True)
class Onset:
    """How an incident began: `since` and `until` (ISO, UTC) bound its first window, `columns` are inputs alone."""

    opened: str
    model: str
    n: int
    since: str
    until: str
    columns: frozenset[str]

    @property
    def name(self) -> Name:
        return self.model, self.n

    def joins(self, other: Onset) -> bool:
        """Whether two models' incidents share an input and began in windows that overlap."""
        together = self.since < other.until and other.since < self.until
        return self.model != other.model and together and bool(self.columns & other.columns)


def groups(store: Store) -> dict[Name, Group]:
    """By model and number, the incidents that are one with it, the first opened first; lone ones are left out."""
    return grouped(one for model in store.folders("") if not model.startswith("_") for one in _onsets(store, model))


def grouped(onsets: Iterable[Onset]) -> dict[Name, Group]:
    """The same of known onsets: what joins, directly or by way of others, is one group."""
    known = sorted(onsets)
    first = {one.name: one.name for one in known}

    def root(name: Name) -> Name:
        while first[name] != name:
            name = first[name]
        return name

    for at, one in enumerate(known):
        for other in known[at + 1 :]:
            if one.joins(other):
                a, b = root(one.name), root(other.name)
                first[max(a, b)] = min(a, b)
    found: dict[Name, list[Onset]] = {}
    for one in known:
        found.setdefault(root(one.name), []).append(one)
    return {one.name: group for group in found.values() if len(group) > 1 for one in group}


def members(store: Store, incident: Incident, known: Mapping[Name, Group] | None = None) -> list[Incident]:
    """The other incidents that are one with this one, as they stand."""
    group = (known if known is not None else groups(store)).get((incident.model, incident.n), ())
    return [Incidents(store, one.model).get(one.n) for one in group if one.name != (incident.model, incident.n)]


def beside(others: Iterable[Incident]) -> list[dict[str, Any]]:
    """The other incidents of a group in plain JSON, the `with` of an incident."""
    return [
        {"model": one.model, "n": one.n, "state": one.state, "severity": one.severity, "title": one.title}
        for one in others
    ]


def _onsets(store: Store, model: str) -> list[Onset]:
    numbers = store.folders(f"{model}/incidents/")  # not their events: those of a lasting one are many
    return [_onset(store, model, number) for number in sorted(numbers, key=int)[-NEWEST:]]


def _onset(store: Store, model: str, number: str) -> Onset:
    event = msgspec.json.decode(store.get(f"{model}/incidents/{number}/0001.json"), type=dict[str, Any])
    facts = event["facts"]
    # What is ours (a prediction, rows, requests) has the same name in every model and says nothing of a shared feed.
    inputs = (name for name in facts.get("columns") or () if not name.startswith(("mw.", "(")))
    since, until = str(facts.get("since") or ""), str(facts.get("until") or "")
    return Onset(str(event["at"]), model, int(number), since, until, frozenset(inputs))

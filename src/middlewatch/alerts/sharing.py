"""One message about models that share an incident (`groups`): who was told of one of them was told of all.

Changes that come together are one message that names every model. A model that joins what was told already is no
news, unless it is heavier: a page where there was a ticket, or twice as strong. That it is over is told when the last
of them has closed; an open page is repeated once for all, and not while somebody is at any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from middlewatch.groups import Group, Name
from middlewatch.incidents import Incident

from .changes import DOUBLED, WEIGHT, Change, is_silent, told_of
from .claims import Claims

__all__ = ["together"]


def together(
    found: Iterable[Change],
    known: Mapping[str, Sequence[Incident]],
    groups: Mapping[Name, Group],
    claims: Claims,
    *,
    now: datetime,
) -> list[Change]:
    """The changes with those of one group made one; `known` are the project's incidents that may have to be told."""
    standing = {(model, one.n): one for model, every in known.items() for one in every}
    alone: list[Change] = []
    by_group: dict[Name, list[Change]] = {}
    for change in found:
        group = groups.get((change.model, change.incident.n))
        if group is None:
            alone.append(change)
        else:
            by_group.setdefault(group[0].name, []).append(change)
    for changes in by_group.values():
        group = groups[changes[0].model, changes[0].incident.n]
        # Other projects of the store tell their own people; what they have is named all the same.
        ours = {one.name: standing[one.name] for one in group if one.name in standing}
        alone += _merged([replace(one, group=group) for one in changes], ours, claims, now)
    return alone


def _merged(changes: Sequence[Change], ours: Mapping[Name, Incident], claims: Claims, now: datetime) -> list[Change]:
    told = {name: _kinds(claims, name) for name in ours}
    out: list[Change] = []
    loud: list[Change] = []
    for change in changes:
        if change.quiet or not (why := _no_news(change, ours, told, now)):
            (out if change.quiet else loud).append(change)
        elif change.kind != "repeat":  # a repeat that is not due stays untold: it may be later
            out.append(replace(change, quiet=why))
    if loud:
        lead = max(loud, key=_weight)
        out.append(replace(lead, covers=tuple(one.name for one in loud)))
    return out


def _no_news(change: Change, ours: Mapping[Name, Incident], told: Mapping[Name, frozenset[str]], now: datetime) -> str:
    """Why nobody need hear of a change, "" where somebody should."""
    me = (change.model, change.incident.n)
    others = {name: one for name, one in ours.items() if name != me}
    lasting = [name for name, one in others.items() if one.active]
    heard = [one for name, one in others.items() if told[name]]
    if change.kind == "resolved" and lasting:
        return f"it goes on as {_named(lasting[0])}"
    if change.kind == "opened" and heard and not _heavier(change.incident, heard):
        return f"it is one with {_named((heard[0].model, heard[0].n))}, which was told"
    if change.kind == "cause" and any("cause" in told[name] for name in others):
        return "its cause was told under another model"
    if change.kind == "repeat":
        answered = any(one.state == "acknowledged" or is_silent(one, now) for one in others.values() if one.active)
        pages = [(one.opened, *name) for name, one in others.items() if one.active and one.severity == "page"]
        if answered or min([*pages, (change.incident.opened, *me)]) != (change.incident.opened, *me):
            return "another model's incident speaks for all"
    return ""


def _heavier(one: Incident, heard: Sequence[Incident]) -> bool:
    """Whether it is a page where none was told, or twice as strong as all that were."""
    paged = any(other.severity == "page" for other in heard)
    return (one.severity == "page" and not paged) or one.peak >= max(other.peak for other in heard) + DOUBLED


def _weight(change: Change) -> tuple[int, bool, float, str]:
    one = change.incident
    return WEIGHT.index(change.kind) if change.kind in WEIGHT else -1, one.severity == "page", one.peak, change.name


def _kinds(claims: Claims, name: Name) -> frozenset[str]:
    return frozenset(kind for _, kind, _ in told_of(claims, *name))


def _named(name: Name) -> str:
    return f"{name[0]} {name[1]}"

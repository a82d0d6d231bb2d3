"""Which servers answered a span, on what they run, and whether that had anything to do with it.

An environment that differs is a fact. It is a cause only where a replay shows that a server's logged answers are not
what their version gives; where they are, it coincides and is told as that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .. import servers
from ..fingerprints import thresholds

if TYPE_CHECKING:
    from ..project import Project
    from .rows import Span

Mask = NDArray[np.bool_]
COLUMN: Final = "mw.server"
AHEAD: Final = 6.0
"""Times as often as elsewhere that a server's rows must be affected: six to one is no matter of who asked it."""
SAID: Final = 3
"""Differences that a line names; the others are counted."""


@dataclass(frozen=True)
class Servers:
    """`records` of the servers whose rows are in the span; `before`: the newest one that had begun before them."""

    records: Mapping[str, servers.ServerRecord] = field(default_factory=dict)
    before: servers.ServerRecord | None = None

    def slice(self, rows: pl.DataFrame, affected: Mask) -> tuple[str, str] | None:
        """The one server that affected rows come from, where others answered enough to have had some; else None.

        Not each of its rows need be affected: an answer may come out right by chance.
        """
        if COLUMN not in rows.columns or not affected.any():
            return None
        counted = rows.filter(pl.Series(affected))[COLUMN].drop_nulls().value_counts(sort=True)
        if not counted.height:
            return None
        name, hits = str(counted[COLUMN][0]), int(counted["count"][0])
        mine = int((rows[COLUMN] == name).sum())
        rate, elsewhere = hits / mine, (int(affected.sum()) - hits) / max(rows.height - mine, 1)
        expected = rate * (rows.height - mine)
        apart = rate >= AHEAD * elsewhere and expected >= thresholds.RATE_ROWS
        return (COLUMN, name) if apart and hits >= thresholds.SLICE * int(affected.sum()) else None

    def differs(self, name: str) -> list[tuple[str, Any, Any]]:
        """What a server's environment differs in from the others of the span, else from what answered before."""
        mine = self.records.get(name)
        if mine is None:
            return []
        others = [one for one in self.records.values() if one.server != name]
        beside = others[-1] if others else self.before
        return mine.differs(beside) if beside is not None else []

    def told(self, blamed: Sequence[str], *, replayed: bool) -> list[str]:
        """Environments that differ and are not blamed, in words for the time line; at most two lines."""
        proof = "its answers are the same to the bit" if replayed else "its answers could not be replayed"
        said: list[str] = []
        by_difference: dict[str, list[str]] = {}
        ordered = list(self.records.values())
        for at, one in enumerate(ordered):
            beside = ordered[at - 1] if at else self.before
            if one.server in blamed or beside is None:
                continue
            found = one.differs(beside)
            if found:
                by_difference.setdefault(apart(found), []).append(one.server)
        for what, names in by_difference.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            said.append(f"server {names[0]}{more} runs with {what}: {proof}")
        return said[:2]


def servers_of(project: Project, name: str, span: Span) -> Servers:
    """The records of a span's servers, by the days on which its rows were received, and of the week before."""
    rows = span.rows
    if COLUMN not in rows.columns or "mw.received" not in rows.columns:
        return Servers()
    first, last = rows["mw.received"].min(), rows["mw.received"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return Servers()
    found = servers.read(project.store, name, since=(first - servers.RECENT).date(), until=last.date())
    here = {str(one) for one in rows[COLUMN].drop_nulls().unique()}
    records = {one.server: one for one in found if one.server in here}
    begun = min((one.started for one in records.values()), default="")
    earlier = [one for one in found if one.server not in here and one.started < begun]
    return Servers(records, earlier[-1] if earlier else None)


def apart(found: Sequence[tuple[str, Any, Any]]) -> str:
    """`zone Asia/Tokyo (else UTC), python 3.11.9 (else 3.11.8)`."""
    parts = [f"{name} {_short(here)} (else {_short(there)})" for name, there, here in found[:SAID]]
    more = f" and {len(found) - SAID} more" if len(found) > SAID else ""
    return ", ".join(parts) + more


def _short(value: Any) -> str:
    text = "none" if value in (None, "") else str(value)
    return text if len(text) <= 40 else text[:37] + "..."

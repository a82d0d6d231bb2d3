"""From signs to incidents: opened once, joined while they last, closed when rows are clean again.

The incident of the fast channel is one until the day's monitor takes it over: it counts no window until then
(`windows` is 0). Whoever watches, here or on another machine, meets the same incidents in the store, so that two
watchers, or one that was killed and started again, say a thing once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from middlewatch.incidents import Incident
from middlewatch.monitor.beside import REFUSED, RELEASE
from middlewatch.monitor.run import ACTOR, MOST_CHANNELS
from middlewatch.monitor.words import title
from middlewatch.times import day_of, iso

from .signs import Sign

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["MONITOR", "TRAFFIC", "Teller"]

TRAFFIC = "(traffic)"
MONITOR = "(monitor)"
# Each of these is an incident of its own; columns and predictions that break together are one.
ALONE = (REFUSED, RELEASE, TRAFFIC, MONITOR)
# So many clean rows close an incident; twice as many for each time that it came back within a day.
CLEAN = 500
BACK = timedelta(days=1)
MICRO = timedelta(microseconds=1)
# A lasting incident says so at least this often.
SAID = timedelta(hours=6)
# What others said of incidents is read again this often while nothing is strange: a listing of a bucket costs a
# request. Before anything is told it is read in any case.
READ_EVERY = timedelta(seconds=30)


@dataclass(slots=True)
class _Kept:
    """An open incident of ours: its rows so far, up to when it was last seen, and `clean` rows since."""

    rows: int
    until: str
    clean: int = 0


class Teller:
    """The incidents of one model that the fast channel keeps."""

    def __init__(self, project: Project, name: str) -> None:
        self._incidents = project.incidents(name)
        self._zone = project.zone
        self._known: list[Incident] | None = None
        self._read_at: datetime | None = None
        self._is_current = False
        self._kept: dict[int, _Kept] = {}
        self._hot: set[tuple[str, str]] = set()
        self.touched: set[int] = set()

    def begin(self, now: datetime) -> None:
        """A new look: what stands in the store is read again where that is due, or something is to be told."""
        self.touched.clear()
        self._is_current = False
        if self._read_at is None or now - self._read_at >= READ_EVERY:
            self._read_at, self._known = now, None

    @property
    def known(self) -> list[Incident]:
        if self._known is None:
            self._known, self._is_current = self._incidents.all(), True
        return self._known

    def _refresh(self) -> None:
        if not self._is_current:
            self._known = None

    def ours(self) -> list[Incident]:
        """Open incidents that the day's monitor has not taken over."""
        return [one for one in self.known if one.active and one.windows == 0 and one.key.startswith("fast ")]

    def told(self, key: str) -> bool:
        return any(one.key == key for one in self.known)

    def signs(self, found: Sequence[Sign], *, now: datetime, before: float | None, after: float | None) -> None:
        """Signs of one look, of one group (see ALONE): open an incident, or go on with the one they belong to."""
        self._refresh()
        hot = {(one.reading.column, one.reading.channel) for one in found}
        fresh = [one for one in found if not self._said(one, now)]
        self._hot |= hot
        if not fresh:
            return
        open_ = self._belongs(fresh)
        if open_ is None:
            self.open(fresh, now=now, before=before, after=after)
        else:
            self._go_on(open_, fresh, now)

    def clean(
        self,
        rows: int,
        clean: int,
        still: Iterable[tuple[str, str]],
        *,
        afresh: bool,
        until: datetime,
        now: datetime,
    ) -> None:
        """Of `rows` new rows the last `clean` are so, but for what is `still` strange: close what has been clean long
        enough. `afresh` where rows of the same look before them were not.
        """
        hot = set(still)
        self._hot &= hot
        if not self._kept and not any(one.active for one in self.known):
            return
        for one in self.ours():
            if set(one.columns) & set(ALONE):
                continue
            own = {(str(top["column"]), str(top["channel"])) for top in one.top}
            kept = self._keep(one)
            if afresh or own & hot:
                kept.rows += rows - clean
            kept.clean = 0 if own & hot else clean if afresh else kept.clean + clean
            needed = CLEAN * 2 ** self._times(one)
            if kept.clean >= needed:
                self.close(one, f"{kept.clean} clean rows", until=until, now=now)

    def close(self, one: Incident, reason: str, *, until: datetime, now: datetime) -> None:
        """Close an incident of ours; `until` is the event time up to which all is well."""
        seen = max(iso(until + MICRO), one.seen)
        kept = self._keep(one)
        self._incidents.add(
            one.n, "update", at=now, actor=ACTOR, seen=seen, clean=1, rows=kept.rows, until=max(kept.until, one.until)
        )
        self._incidents.add(one.n, "resolve", at=now, actor=ACTOR, reason=reason)
        self._kept.pop(one.n, None)
        self._known = None
        self.touched.add(one.n)

    def open(
        self,
        found: Sequence[Sign],
        *,
        now: datetime,
        before: float | None = None,
        after: float | None = None,
        said: str = "",
        key: str = "",
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Open an incident about these signs. `said` is its title where the signs' own words are not enough."""
        self._refresh()
        first, last = min(one.since for one in found), max(one.until for one in found)
        group = _group(found[0])
        stem = f"fast {day_of(first, self._zone).isoformat()} {group}"
        again = sum(1 for one in self.known if one.key.startswith(stem) and not one.active)
        top = [one.reading.to_dict() | dict(more or {}) for one in found][:MOST_CHANNELS]
        peak = round(max(one.reading.height for one in found), 4)
        incident = self._incidents.open(
            # Another watcher that sees the same at the same time comes to the same key.
            key=key or f"{stem} {again}",
            at=now,
            actor=ACTOR,
            facts={
                "columns": list(dict.fromkeys(one.reading.column for one in found)),
                "channels": list(dict.fromkeys(one.reading.channel for one in found)),
                "severity": "page",
                "title": said or title([one.reading for one in found], before, after),
                "since": iso(first),
                "until": iso(last + MICRO),
                "seen": iso(last + MICRO),
                "top": top,
                "peak": peak,
                "paged": peak,
                "before": _rounded(before),
                "after": _rounded(after),
                "rows": max(one.rows for one in found),
                "windows": 0,
            },
        )
        self._keep(incident)
        self._known = None
        self.touched.add(incident.n)

    # ------------------------------------------------------------------ inside

    def _said(self, sign: Sign, now: datetime) -> bool:
        """Whether this sign was told: its rows lie in what an incident has seen, or a person has closed one of it and
        it has not been clean since.
        """
        pair = (sign.reading.column, sign.reading.channel)
        for one in self.known:
            if sign.reading.column not in one.columns:
                continue
            if one.seen and iso(sign.until) < one.seen:
                return True
            if one.active or now - datetime.fromisoformat(one.changed) > BACK:
                continue
            own = {(str(top["column"]), str(top["channel"])) for top in one.top}
            by = next((event.actor for event in reversed(one.events) if event.kind == "resolve"), ACTOR)
            if pair in own and by != ACTOR and (pair in self._hot or not self._hot):
                return True
        return False

    def _belongs(self, fresh: Sequence[Sign]) -> Incident | None:
        """The open incident that shares a column, or of rows that broke at the same time."""
        group = _group(fresh[0])
        columns = {one.reading.column for one in fresh}
        since = iso(min(one.since for one in fresh))
        for one in reversed([one for one in self.known if one.active and not one.apart]):
            if columns & set(one.columns):
                return one
            rows = not set(one.columns) & set(ALONE)
            if group == "rows" and rows and (one.windows == 0 or one.since <= since < one.until):
                return one
        return None

    def _go_on(self, one: Incident, fresh: Sequence[Sign], now: datetime) -> None:
        """An incident lasts: said when a channel joins, when it has doubled, when its rows have, or after a while."""
        known = {(str(top["column"]), str(top["channel"])) for top in one.top}
        joined = [sign for sign in fresh if (sign.reading.column, sign.reading.channel) not in known]
        until = iso(max(sign.until for sign in fresh) + MICRO)
        peak = round(max(one.peak, *(sign.reading.height for sign in fresh)), 4)
        worse = peak >= one.paged + np.log(2)
        if one.windows and not joined:
            return  # the day's monitor keeps it
        kept = self._keep(one)
        kept.until = max(kept.until, until)
        doubled = kept.rows >= 2 * one.rows
        late = one.until and datetime.fromisoformat(until) - datetime.fromisoformat(one.until) > SAID
        if not (joined or worse or doubled or late):
            return
        facts: dict[str, Any] = {"peak": peak, "clean": 0, "rows": max(one.rows, kept.rows)}
        if until > one.until:
            facts |= {"until": until, "seen": max(until, one.seen)}
        if worse:
            facts["paged"] = peak
        if joined:
            top = [*one.top, *(sign.reading.to_dict() for sign in joined)][:MOST_CHANNELS]
            facts |= {
                "top": top,
                "columns": list(dict.fromkeys(str(each["column"]) for each in top)),
                "channels": list(dict.fromkeys(str(each["channel"]) for each in top)),
                "severity": "page",
            }
        self._incidents.add(one.n, "update", at=now, actor=ACTOR, **facts)
        self._known = None
        self.touched.add(one.n)

    def _keep(self, one: Incident) -> _Kept:
        return self._kept.setdefault(one.n, _Kept(rows=one.rows, until=one.until))

    def _times(self, one: Incident) -> int:
        """How often the same came and went within the day before."""
        return sum(
            1
            for other in self.known
            if other.n < one.n
            and other.key.startswith("fast ")
            and set(other.columns) & set(one.columns)
            and datetime.fromisoformat(one.opened) - datetime.fromisoformat(other.changed) < BACK
        )


def _group(sign: Sign) -> str:
    return sign.reading.column if sign.reading.column in ALONE else "rows"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")

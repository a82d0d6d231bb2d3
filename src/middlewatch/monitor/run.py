"""One pass over the windows in order: each pending one is judged, then every one is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from middlewatch import marks, shift
from middlewatch.incidents import Incident, Incidents
from middlewatch.shift import Facts, Reading, Verdict, Watch
from middlewatch.shift.state import resume
from middlewatch.times import iso

from .beside import REFUSED, RELEASE, answered, refused, release_key, released, released_against_gate
from .budget import budget_of
from .folds import Folds
from .past import Past
from .units import Unit
from .words import about, rounded, short, title

if TYPE_CHECKING:
    from middlewatch.project import Project
    from middlewatch.windows import Windows

ACTOR = "monitor"
TOP = 5
MOST_CHANNELS = 12
# Rows come late: a long run keeps where the fold stood so many windows before the last as well, of hours at the
# beginning of so many days.
SPOTS = (4, 8, 16, 32)
MORNINGS = 2


@dataclass(frozen=True, slots=True)
class _Before:
    """The past as it stood before an incident began."""

    watches: Mapping[str, Watch]
    shares: Sequence[float]


class Run:
    """One pass over the windows in order: each pending one is judged, then every one is learnt."""

    def __init__(
        self,
        project: Project,
        name: str,
        units: Sequence[Unit],
        pending: Sequence[Unit],
        *,
        now: datetime,
        anew: bool = False,
    ) -> None:
        self.name = name
        self.now = now
        self.windows: Windows = project.windows(name)
        self.incidents: Incidents = project.incidents(name)
        self.past = Past(project, name)
        self.pending = {one.start for one in pending}
        first = next(place for place, one in enumerate(units) if one.start in self.pending)
        self.length = length = shift.LENGTHS[project.config.monitor.window]
        self.bad = self.incidents.marks()
        # Those about outcomes and servers are kept by these: their channels are none of the windows'.
        known = self.incidents.all()
        self.active = {one.n: one for one in known if one.active and not one.apart}
        # Told within the day and over before its end: what the day still shows of them is no news.
        self.brief = {one.n: one for one in known if not one.active and not one.windows and one.since and not one.apart}
        self.touched: set[int] = set()
        self.done: list[dict[str, Any]] = []
        self.hours: dict[date, dict[int, dict[str, Any]]] = {}
        budget = budget_of(project)
        entries = project.journal(name).entries()
        self.forced = released_against_gate(entries)
        self.latest = next((one.version for one in reversed(units) if one.version), "")
        versions = {one.version or self.latest for one in pending}
        self.watches = {one: Watch(budget=budget, length=length) for one in sorted(versions)}
        # The past as it stood before each open incident: what "it lasts" is held against.
        self.frozen: dict[int, _Before] = {}
        self.previous: Mapping[str, Watch] = {}
        self.folds = Folds(project, name, units, length=length, budget=budget, marked=self._marked)
        if anew:
            self.folds.forget()
        self.begin = self._resume(units, first)
        self.spots = _spots(units) if length.cycle > 1 else {len(units) - back for back in SPOTS}
        self.units = units[self.begin :]
        before = units[max(first - length.reach, 0) : self.begin]
        self.learnt = [one for one in before if one.rows and not self._marked(one)]
        self.shares = [one.refused_share for one in before if one.logged][-shift.HISTORY :]

    def _resume(self, units: Sequence[Unit], first: int) -> int:
        """Take up the fold where it stood before the first window to judge; the place from which to go on."""
        since = self._since()

        def fits(place: int) -> bool:
            # What an open incident is held against comes before it; an alarm may be about the window before, too.
            between = any(one.rows and not self._marked(one) for one in units[place:first])
            return place < first and between and iso(units[place].bounds[0]) <= since

        found = self.folds.newest(sorted(self.watches), fits)
        if found is None:
            return max(first - self.length.reach, 0)
        place, states = found
        known = [one for one in units[:place] if one.rows and not self._marked(one)]
        for version, watch in self.watches.items():
            resume(watch, states[version], [partial(self.past.under, one, version) for one in known])
        return place

    def _since(self) -> str:
        """Where the oldest open incident began."""
        return min((one.since for one in self.active.values()), default="9999")

    def judge(self) -> None:
        """Go through the windows; fills `done` and `touched`."""
        last = -1
        kept: dict[int, Mapping[str, Watch]] = {}
        for place, unit in enumerate(self.units, self.begin):
            fresh = [n for n, one in self.active.items() if n not in self.frozen and iso(unit.bounds[0]) >= one.since]
            for n in fresh:
                self._freeze(n, self.watches)
            if fresh or place in self.spots:
                kept[place] = {version: watch.copy() for version, watch in self.watches.items()}
            if unit.start in self.pending:
                self._judge(unit)
            if unit.logged:
                self.shares = [*self.shares, unit.refused_share][-shift.HISTORY :]
            if unit.rows and not self._marked(unit):
                self.previous = {version: watch.copy() for version, watch in self.watches.items()}
                for version, watch in self.watches.items():
                    watch.step(unit.start, self.past.under(unit, version), logged=unit.logged)
                self.learnt.append(unit)
                last = place
            self._keep(before=unit.days[0].day)
        self._keep()
        self._remember({**kept, last: self.previous})

    def _remember(self, folds: Mapping[int, Mapping[str, Watch]]) -> None:
        """Keep where the fold stood before these windows, by their places, for the next run."""
        for place, watches in folds.items():
            if watches:
                self.folds.keep(place, watches)
        self.folds.expire(self._since())

    def _keep(self, *, before: date | None = None) -> None:
        """Write the judgements of hours, a day at a time, once it is over or the run ends."""
        for day in [one for one in self.hours if before is None or one < before]:
            self.windows.put_judgement(day, {}, hours=self.hours.pop(day))

    def _freeze(self, n: int, watches: Mapping[str, Watch]) -> None:
        self.frozen[n] = _Before({version: watch.copy() for version, watch in watches.items()}, self.shares)

    def _marked(self, unit: Unit) -> bool:
        """True where a person marked at least half of the window's time as bad."""
        return marks.half(self.bad, *unit.bounds)

    def _judge(self, unit: Unit) -> None:
        version = unit.version or self.latest
        facts = self.past.logged(unit)
        verdict = self.watches[version].look(unit.start, facts)
        beside = self._beside(unit, self.shares)
        marked = self._marked(unit)
        loud = [] if marked or not unit.rows else [one for one in verdict.readings if verdict.passes(one)]
        if not marked:
            loud += beside
        numbers: list[int] = []
        if not marked:
            numbers = self._continue(unit, facts, version)
            if loud:
                numbers = self._answer(unit, verdict, loud, version, numbers)
        shown = [*beside, *verdict.readings]
        judged = {
            "start": iso(unit.bounds[0]),
            "end": iso(unit.bounds[1]),
            "rows": unit.rows,
            "alarm": bool(loud),
            "provisional": verdict.provisional,
            "state": "excluded" if marked else verdict.state,
            "top": [one.to_dict() for one in shown[:TOP]],
            **{line: short(getattr(verdict, line)) for line in ("m", "m_line", "p", "p_line")},
            "history": verdict.history,
            "notes": list(verdict.notes),
            "refused": unit.refused,
            "version": unit.version,
            "incidents": numbers,
            "revisions": unit.revisions,
            "at": iso(self.now),
        }
        # After the incidents: a run that dies between the two judges this window again, under the same key.
        if unit.hour is None:
            self.windows.put_judgement(unit.days[0].day, judged)
        else:
            self.hours.setdefault(unit.days[0].day, {})[unit.hour] = judged
        self.done.append(judged)

    def _beside(self, unit: Unit, shares: Sequence[float]) -> list[Reading]:
        """What is beyond its line beside the channels of columns."""
        seen = (
            refused(unit, shares),
            released(unit, self.forced, self.past),
            answered(self.past.replayers.get(unit.version), unit.sample) if unit.version else None,
        )
        return [one for one in seen if one is not None]

    # ------------------------------------------------------------------ incidents

    def _continue(self, unit: Unit, facts: Mapping[str, Facts], version: str) -> list[int]:
        """Hold the window against each open incident's own past: it lasts, or this is a clean window.

        Returns the incidents that last.
        """
        lasting = []
        end = iso(unit.bounds[1])
        for n, incident in list(self.active.items()):
            before = self.frozen.get(n)
            if (
                before is None
                or end <= incident.seen
                or (not incident.windows and iso(unit.bounds[0]) < incident.until)
            ):
                continue
            readings = list(before.watches[version].look(unit.start, facts).readings) if unit.rows else []
            readings += self._beside(unit, before.shares)
            own = {(one["column"], one["channel"]) for one in incident.top}
            still = [one.score for one in readings if (one.column, one.channel) in own and one.score > 0]
            if still:
                lasting.append(n)
                self._update(n, unit, max(still))
            else:
                self._clean(n, end)
        return lasting

    def _update(self, n: int, unit: Unit, score: float, joined: Sequence[Reading] = ()) -> None:
        """One more window of an incident, or more channels of one; it pages again only when it has doubled."""
        incident = self.active[n]
        facts: dict[str, Any] = {"clean": 0, "peak": max(incident.peak, round(score, 4))}
        if iso(unit.bounds[1]) > incident.seen:
            facts |= {
                "until": iso(unit.bounds[1]),
                "seen": iso(unit.bounds[1]),
                "rows": incident.rows + unit.rows,
                "windows": incident.windows + 1,
                "after": rounded(self.past.answered(unit)),
            }
        if facts["peak"] >= incident.paged + np.log(2):
            facts["paged"] = facts["peak"]
        if joined:
            known = {(one["column"], one["channel"]) for one in incident.top}
            top = [*incident.top, *(one.to_dict() for one in joined if (one.column, one.channel) not in known)]
            facts |= {**about(top), "top": top[:MOST_CHANNELS]}
            if incident.severity == "page":
                facts["severity"] = "page"
        self.active[n] = self.incidents.add(n, "update", at=self.now, actor=ACTOR, **facts)
        self.touched.add(n)
        if self.active[n].windows > self.length.reference * self.length.cycle:
            self._resolve(n, "it has lasted as long as the reference: this is usual now")

    def _clean(self, n: int, end: str) -> None:
        clean = self.active[n].clean + 1
        self.active[n] = self.incidents.add(n, "update", at=self.now, actor=ACTOR, clean=clean, seen=end)
        self.touched.add(n)
        if clean >= self.length.apart:
            self._resolve(n, f"{clean} clean windows")

    def _resolve(self, n: int, reason: str) -> None:
        self.incidents.add(n, "resolve", at=self.now, actor=ACTOR, reason=reason)
        del self.active[n]

    def _answer(
        self, unit: Unit, verdict: Verdict, loud: Sequence[Reading], version: str, lasting: list[int]
    ) -> list[int]:
        """An alarm joins the incident it belongs to, or opens one. Returns the window's incidents."""
        # A line below 0, where many alarms a month are allowed, is passed by channels that stayed within their worst.
        moved = [*verdict.moved, *(one for one in loud if one not in verdict.moved)]
        held = {(top["column"], top["channel"]) for n in lasting for top in self.active[n].top if n in self.active}
        fresh = [one for one in loud if (one.column, one.channel) not in held]
        if not fresh:
            return lasting
        columns = {one.column for one in fresh}
        for n, incident in self.active.items():
            # The same columns, what follows from them (predictions), or the second look at the same onset.
            same = columns & set(incident.columns) or (n in lasting and columns <= shift.PREDICTION)
            young = n in lasting and incident.windows <= self.length.apart and REFUSED not in columns
            # The fast channel has told of the same onset.
            told = not incident.windows and _began_in(incident, unit) and _about_rows(incident, columns)
            if same or young or told:
                new = [one for one in moved if (one.column, one.channel) not in held]
                self._update(n, unit, max(one.height for one in fresh), joined=new)
                return sorted({*lasting, n})
        for n, incident in self.brief.items():
            about_it = columns - {shift.ROWS}  # the number of rows moves with what makes them fewer, or the same
            if _began_in(incident, unit) and about_it and about_it <= {*incident.columns, *shift.PREDICTION}:
                self.active[n] = incident
                self._update(n, unit, max(one.height for one in fresh), joined=moved)
                self.brief[n] = self.active.pop(n)
                return sorted({*lasting, n})
        # An alarm for two windows together began with the first of the two.
        paired = all(one.column != REFUSED and one.score <= (verdict.m_line or 0.0) for one in fresh)
        spent = [*self.learnt[-1:], unit] if paired else [unit]
        incident = self._open(spent, moved, fresh, version)
        if incident.active:
            self.active[incident.n] = incident
            if not incident.windows:  # the watcher opened it a moment ago
                self._update(incident.n, unit, max(one.height for one in fresh), joined=moved)
            self._freeze(incident.n, self.previous if paired else self.watches)
        return [*lasting, incident.n]

    def _key(self, unit: Unit, column: str, fresh: Sequence[Reading], version: str) -> str:
        if (entry := self.forced.get(version)) and any(one.column == RELEASE for one in fresh):
            return release_key(entry)
        return f"{unit.start.isoformat()} {column}"

    def _open(
        self, units: Sequence[Unit], moved: Sequence[Reading], fresh: Sequence[Reading], version: str
    ) -> Incident:
        top = [one.to_dict() for one in sorted(moved, key=lambda one: -one.height)[:MOST_CHANNELS]]
        place = self.length.place(units[0].start)
        past = [one for one in self.learnt if one.start < units[0].start and self.length.place(one.start) == place][
            -self.length.reference :
        ]
        means = [(mean, one.rows) for one in past if (mean := self.past.mean(one, version)) is not None]
        before = sum(mean * rows for mean, rows in means) / sum(rows for _, rows in means) if means else None
        after = self.past.answered(units[-1])
        peak = round(max(one.height for one in fresh), 4)
        incident = self.incidents.open(
            key=self._key(units[-1], top[0]["column"], fresh, version),
            at=self.now,
            actor=ACTOR,
            facts={
                **about(top),
                "title": title(moved, before, after),
                "since": iso(units[0].bounds[0]),
                "until": iso(units[-1].bounds[1]),
                "seen": iso(units[-1].bounds[1]),
                "top": top,
                "peak": peak,
                "paged": peak,
                "before": rounded(before),
                "after": rounded(after),
                "rows": sum(one.rows for one in units),
                "windows": len(units),
            },
        )
        self.touched.add(incident.n)
        return incident


def _spots(hours: Sequence[Unit]) -> set[int]:
    """Places of the first hours of the last days."""
    first = {unit.days[0].day: place for place, unit in reversed(list(enumerate(hours)))}
    return set(sorted(first.values())[-MORNINGS:])


def _began_in(incident: Incident, unit: Unit) -> bool:
    return iso(unit.bounds[0]) <= incident.since < iso(unit.bounds[1])


def _about_rows(incident: Incident, columns: Set[str]) -> bool:
    """Whether both are about columns and predictions: requests and traffic are incidents of their own."""
    return not any(one.startswith("(") and one != shift.ROWS for one in (*incident.columns, *columns))

"""The incident about outcomes: opened by an alarm, kept while its channels stay beyond their past, closed after it.

At most one is open. While it is, every window since it began is held against the past as it stood before, and the
incident is what follows from them all: windows that last, the last of them, clean ones after it. So it does not
matter in which order outcomes came, nor how often this runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from middlewatch import marks
from middlewatch.incidents import OUTCOMES
from middlewatch.quality.watch import REFERENCE, Verdict, Watch, Window
from middlewatch.times import iso

from .words import title

if TYPE_CHECKING:
    from middlewatch.incidents import Incident
    from middlewatch.project import Project

ACTOR = "monitor"
CLEAN = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """A ripe window with its judgement."""

    window: Window
    bounds: tuple[datetime, datetime]
    verdict: Verdict


class Keeper:
    """The incident about outcomes of one model, over one run of the monitor."""

    def __init__(self, project: Project, name: str, *, now: datetime) -> None:
        self._incidents = project.incidents(name)
        self._now = now
        everything = self._incidents.all()
        self._bad = [span for one in everything for span in one.bad]
        mine = [one for one in everything if OUTCOMES in one.columns and one.active]
        self._open: Incident | None = mine[-1] if mine else None
        self._before: Watch | None = None
        self._seen: list[Seen] = []
        self.touched: set[int] = set()

    @property
    def active(self) -> int | None:
        """The number of the open incident."""
        return self._open.n if self._open is not None else None

    def since(self) -> str | None:
        """Where the open incident begins (ISO): windows from there on are looked at again."""
        return self._open.since if self._open is not None else None

    def marked(self, start: datetime, end: datetime) -> bool:
        """True where a person marked at least half of that time as bad."""
        return marks.half(self._bad, start, end)

    def see(self, seen: Seen, watch: Watch, *, judged: bool) -> None:
        """Take a window in, in order of time; `watch` holds the past before it. `judged`: its outcomes are new."""
        if self._open is not None and iso(seen.bounds[0]) >= self._open.since:
            if self._before is None:
                self._before = watch.copy()
            self._seen.append(seen)
            self._follow()
        elif self._open is None and judged and seen.verdict.alarm:
            self._begin(seen, watch)

    # ------------------------------------------------------------------ inside

    def _begin(self, seen: Seen, watch: Watch) -> None:
        opened = self._incidents.open(
            key=f"{seen.window.start.isoformat()} {OUTCOMES}",
            at=self._now,
            actor=ACTOR,
            facts={
                "columns": [OUTCOMES],
                "severity": "page",
                "since": iso(seen.bounds[0]),
                "until": iso(seen.bounds[1]),
                "seen": iso(seen.bounds[1]),
                "rows": seen.window.labelled,
                "windows": 1,
                "title": title(seen.verdict, seen.window.labelled),
                **self._about(seen),
            },
        )
        if not opened.active:
            return  # opened and closed for this very window before; it is told no second time
        self.touched.add(opened.n)
        self._open, self._before, self._seen = opened, watch.copy(), [seen]

    def _about(self, seen: Seen) -> dict[str, Any]:
        top = [
            {"column": OUTCOMES, "channel": one.channel, "score": round(one.height, 4)}
            for one in seen.verdict.readings
            if one.height > 0
        ]
        known = {one["channel"] for one in top}
        # A slow decay is no height: it counts as just beyond.
        top += [
            {"column": OUTCOMES, "channel": one.channel, "score": 0.0}
            for one in seen.verdict.decays
            if one.channel not in known
        ]
        peak = max((float(str(one["score"])) for one in top), default=0.0)
        return {"channels": [one["channel"] for one in top], "top": top, "peak": peak, "paged": peak}

    def _follow(self) -> None:
        """The open incident after the windows seen so far."""
        incident, before = self._open, self._before
        if incident is None or before is None:
            return
        channels = set(incident.channels)
        lasting = [one for one in self._seen if _lasts(one, before, channels)]
        last = lasting[-1] if lasting else None
        clean = len(self._seen) if last is None else len(self._seen) - 1 - self._seen.index(last)
        end = iso(self._seen[-1].bounds[1])
        if last is not None:
            facts: dict[str, Any] = {
                "until": iso(last.bounds[1]),
                "rows": sum(one.window.labelled for one in lasting),
                "windows": len(lasting),
                "clean": clean,
                "seen": max(end, incident.seen),
            }
            old = {name: getattr(incident, name) for name in facts}
            if facts != old and (end >= incident.seen or facts["windows"] > incident.windows):
                incident = self._incidents.add(incident.n, "update", at=self._now, actor=ACTOR, **facts)
                self.touched.add(incident.n)
        self._open = incident
        if last is None:
            if end >= incident.seen:  # every window of it was looked at again
                self._resolve("the outcomes that came since take it back")
        elif clean >= CLEAN:
            self._resolve(f"{CLEAN} clean windows")
        elif len(lasting) > REFERENCE:
            self._resolve("it has lasted as long as the reference: this is usual now")

    def _resolve(self, reason: str) -> None:
        if self._open is not None:
            self._incidents.add(self._open.n, "resolve", at=self._now, actor=ACTOR, reason=reason)
            self.touched.add(self._open.n)
        self._open, self._before, self._seen = None, None, []


def _lasts(seen: Seen, before: Watch, channels: set[str]) -> bool:
    """Whether a channel of the incident is beyond its worst before it began, or a sequence still finds it too high."""
    beyond = any(one.score > 0 for one in before.readings(seen.window) if one.channel in channels)
    return beyond or any(one.channel in channels for one in seen.verdict.decays)

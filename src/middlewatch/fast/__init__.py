"""Minutes, not midnight: what breaks at once is told at once, within the same alarm budget as the day's judgement.

    log --following--> the newest rows --blocks--> signs, each against the same hour of 28 stored days --> incidents

    past      what the same hours reached, from stored windows
    signs     what a block of 250 rows says that cannot wait
    watch     one model: rows, releases, refused requests, silence
    telling   incidents: opened once, joined, closed when clean
    child     the process beside a server

The day's monitor takes an incident of the same onset over (`monitor.run`); `middlewatch monitor` looks as well, over
the rows of the day that is not finished.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from middlewatch import predictions, runs, spool, why
from middlewatch.errors import MiddlewatchError
from middlewatch.times import day_bounds, day_of, iso

from .watch import Watcher

if TYPE_CHECKING:
    from middlewatch.project import Project

__all__ = ["BY", "Watch", "Watcher", "look_back"]

BY = "fast"
# What a look back has seen is marked by itself: it is no watcher that still runs.
BACK = "back"
# That it looks is marked this often.
MARK = timedelta(minutes=5)
RECENT = timedelta(minutes=15)
# Of the log no channel reads these.
UNREAD = ("mw.raw", "mw.features", "mw.scores", "mw.key", "mw.caller", "mw.latency_us")


class Watch:
    """All models of a project, looked at together."""

    def __init__(self, project: Project, *, started: datetime) -> None:
        self._project = project
        self._watchers = [Watcher(project, name, started=started) for name in project.config.models]
        self._mark_at = started

    def look(self, now: datetime) -> list[tuple[str, int]]:
        """One look at every model; returns (model, incident) for what was opened or changed. Raises OutOfReach."""
        touched = [(one.name, n) for one in self._watchers for n in one.look(now)]
        for name, n in touched:
            self._explain(name, n, now)
        if now >= self._mark_at:
            self._mark_at = now + MARK
            for one in self._watchers:
                if one.looks.rows or one.looks.days:
                    runs.mark(self._project.store, one.name, now=now, by=BY, state=one.looks.state, days=one.looks.days)
        return touched

    def _explain(self, name: str, n: int, now: datetime) -> None:
        """Look for the cause of what was just opened, so that who is woken need not begin with it."""
        one = self._project.incidents(name).get(n)
        if one.active and one.why is None and one.rows:
            try:
                why.diagnose(self._project, name, incident=n, now=now)
            except MiddlewatchError as error:
                print(f"middlewatch: the cause of incident {n} of {name} is not known: {error.what}", file=sys.stderr)


def look_back(project: Project, name: str, *, until: datetime, now: datetime) -> list[int]:
    """Judge the rows of the day that is not finished yet at `until`, as a watcher would have; returns the incidents.

    What was told before is not told again. Where a watcher has looked within a quarter of an hour, or nothing has come
    since the last look back, there is nothing to do.
    """
    looked = runs.last(project.store, name, by=BY)
    if looked is not None and abs(now - looked) < RECENT:
        return []
    today = day_of(until, project.zone)
    since = day_bounds(today, project.zone)[0]
    if since + project.config.monitor.grace > now:  # yesterday waits for late rows before it is judged
        since = day_bounds(today - timedelta(days=1), project.zone)[0]
    came = _came(project, name, since, until)
    if runs.facts(project.store, name, by=BACK).get("came") == came:
        return []
    rows = predictions.scan(project.store, project.spool(name), name, since=since, until=until, by="time")
    found = rows.drop(UNREAD, strict=False).collect()
    touched = Watcher(project, name, started=now).over(found, now) if found.height else []
    # Last: a look that died is had again, and tells nothing twice.
    runs.mark(project.store, name, now=now, by=BACK, came=came)
    return touched


def _came(project: Project, name: str, since: datetime, until: datetime) -> str:
    """What rows there are of [since, until), and which versions answered them, as a name."""
    filed = predictions.files(project.store, name, since=since, until=until)
    waiting = []
    for one in spool.segments(project.spool(name)):
        with suppress(FileNotFoundError):  # converted meanwhile
            waiting.append((one.ident, one.path.stat().st_size))
    # Files say in which hours their rows lie: of the last of them there may be more behind `until`.
    ends = iso(min([until, *([max(one.last for one in filed)] if filed and not waiting else [])]))
    entries = project.journal(name).entries()
    said = [iso(since), ends, [one.key for one in filed], waiting, entries[-1].n if entries else 0]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:24]

"""Is it still good? Answered from stored summaries alone, so that the question costs nothing.

Imports neither polars nor numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from . import groups, outbox, runs
from .incidents import Incident
from .quality.told import told
from .times import day_bounds, day_of, hour_bounds, iso

if TYPE_CHECKING:
    from .journal import Entry
    from .project import Project

State = Literal["healthy", "look", "failing", "no_data", "learning"]
WORDS: Mapping[State, str] = {
    "healthy": "Healthy",
    "look": "Look",
    "failing": "Failing",
    "no_data": "No data",
    "learning": "Learning",
}
# Silence longer than this many windows is "no data".
SILENT_WINDOWS = 3
# Windows that say what is usual.
USUAL_WINDOWS = 28
# The newest days that are read: 28 weeks, the reference of outcomes that come late, or of weekly windows.
TOLD_DAYS = 7 * USUAL_WINDOWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One model's state in facts. Times are ISO; `days` are the newest windows' summaries, oldest first.

    `shared` are, by number, the incidents of other models that are one with an incident of this; `released` what was
    made live since an incident opened (`released_since`).
    """

    model: str
    state: State
    sentence: str
    now: str
    live: Mapping[str, Any] | None
    requests: Mapping[str, Any]
    score: Mapping[str, Any]
    quality: Mapping[str, Any]
    incidents: Sequence[Incident]
    shared: Mapping[int, Sequence[Incident]]
    released: Mapping[int, Mapping[str, Any]]
    why_confirmed: Mapping[str, int]
    guessed_limits: int
    frozen: bool
    monitor: Mapping[str, Any] = field(default_factory=dict)
    alerts: Mapping[str, Any] = field(default_factory=dict)
    days: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        return self.state not in ("look", "failing")

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "state": self.state,
            "sentence": self.sentence,
            "now": self.now,
            "live": self.live,
            "requests": dict(self.requests),
            "score": dict(self.score),
            "quality": dict(self.quality),
            "incidents": [
                {
                    **one.to_dict(),
                    "with": groups.beside(self.shared.get(one.n, ())),
                    "released_since": self.released.get(one.n),
                }
                for one in self.incidents
            ],
            "why_confirmed": dict(self.why_confirmed),
            "guessed_limits": self.guessed_limits,
            "frozen": self.frozen,
            "monitor": dict(self.monitor),
            "alerts": dict(self.alerts),
        }


def status(project: Project, name: str, *, now: datetime | None = None, clock: datetime, spanned: int = 0) -> Status:
    """The state of a model at `now`: the moment given, else the newest event for replayed history, else the clock.

    failing: a page-worthy incident is open. look: any other is open, or the monitor is late. no_data: nothing logged,
    or silent for three windows. learning: too little history for an alarm line. healthy: none of these. `days` are
    the newest `spanned` of the store, and at least those that say what is usual.
    """
    zone = project.zone
    journal = project.journal(name)
    released = journal.state()
    live = released.live.get("live")
    windows = project.windows(name)
    days = windows.summaries(since=windows.since(max(spanned, TOLD_DAYS)))
    moment = now or _newest(days, clock, zone)
    known = project.incidents(name).all()
    incidents = [one for one in known if one.active]
    closed = [one for one in known if one.confirmed is not None]
    logged = [one for one in days if one["source"] == "log"]
    entries = journal.entries()
    live_entry = next((one for one in reversed(entries) if one.version == live and one.channel == "live"), None)
    hourly = project.config.monitor.window == "hour"
    silent = _silent_hours(logged, moment, zone) if hourly else _silent_days(logged, day_of(moment, zone))
    state = _state(live, logged, days, incidents, silent)
    grouped = groups.groups(project.store) if incidents else {}
    shared = {one.n: groups.members(project.store, one, grouped) for one in incidents}
    released_then = {one.n: since for one in incidents if (since := released_since(one, entries)) is not None}
    watched = _monitor(project, name, clock, live=moment == clock)
    if watched["late"] and state in ("healthy", "learning"):
        state = "look"  # nobody looks: what came since may be anything
    return Status(
        model=name,
        state=state,
        sentence=_broken(state, incidents[-1], len(incidents) - 1, shared, released_then)
        if incidents
        else _sentence(state, name, live, logged, known, zone, runs.stale(project.config.monitor.window)),
        now=iso(moment),
        live={"version": live, "since": live_entry.at, "by": live_entry.actor} if live_entry else None,
        # The day that goes on has fewer rows than usual until it is over.
        requests=_requests(over(logged, moment, zone), known, zone),
        score=_score([one for one in days if one.get("score")], known, zone),
        quality=told(
            days,
            wanted=project.settings(name).gate.metric,
            usual=lambda over, of: usual(over, known, of, zone),
        ),
        incidents=incidents,
        shared=shared,
        released=released_then,
        why_confirmed={"confirmed": sum(1 for one in closed if one.confirmed), "of": len(closed)},
        guessed_limits=sum(len(column.guessed) for column in project.schema(name).columns),
        frozen=released.frozen,
        monitor=watched,
        alerts=_alerts(project),
        days=days,
    )


def _monitor(project: Project, name: str, clock: datetime, *, live: bool) -> dict[str, Any]:
    """When the monitor last ran, and whether that is too long ago: its silence is no good news.

    Replayed history (not `live`) is judged once, and nobody expects it to be judged again.
    """
    ran = runs.last(project.store, name)
    looked = runs.facts(project.store, name, by="fast")
    hours = None if ran is None else round((clock - ran) / timedelta(hours=1), 1)
    return {
        "ran": iso(ran) if ran else None,
        "hours": hours,
        "late": live and ran is not None and clock - ran > runs.stale(project.config.monitor.window),
        "fast": {"looked": looked.get("at"), "state": looked.get("state"), "days": looked.get("days")},
    }


def _alerts(project: Project) -> dict[str, Any]:
    """Messages that wait on this machine, and those that no route took."""
    queue = outbox.counts(project.root)
    return {
        "waiting": queue.waiting,
        "waiting_since": queue.waiting_since,
        "given_up": queue.given_up,
        "problem": queue.problem,
        "heartbeat": queue.beat.error if queue.beat is not None and not queue.beat.ok else "",
    }


def _newest(days: Sequence[Mapping[str, Any]], clock: datetime, zone: tzinfo) -> datetime:
    """Replayed or imported history is judged at its own newest event, not at today's date."""
    logged = [one for one in days if one["source"] == "log"]
    if not logged:
        return clock
    end = day_bounds(date.fromisoformat(logged[-1]["day"]), zone)[1]
    written = datetime.fromisoformat(logged[-1]["written"])
    return end if written - end > timedelta(days=SILENT_WINDOWS) or end > clock else clock


def _state(
    live: str | None,
    logged: Sequence[Mapping[str, Any]],
    days: Sequence[Mapping[str, Any]],
    incidents: Sequence[Incident],
    silent: int,
) -> State:
    if any(one.severity == "page" for one in incidents):
        return "failing"
    if incidents:
        return "look"
    if live is None or not logged or silent > SILENT_WINDOWS:
        return "no_data"
    last = next((one["judged"] for one in reversed(days) if one.get("judged")), None)
    if last is None or last.get("state") == "learning":
        return "learning"
    return "healthy"


def over(days: Sequence[Mapping[str, Any]], at: datetime, zone: tzinfo) -> list[Mapping[str, Any]]:
    """Those of the days that are over, all where none is: where hours are judged the last one may still go on."""
    return [one for one in days if day_bounds(date.fromisoformat(one["day"]), zone)[1] <= at] or list(days)


def _silent_days(logged: Sequence[Mapping[str, Any]], today: date) -> int:
    return (today - date.fromisoformat(logged[-1]["day"])).days - 1 if logged else 0


def _silent_hours(logged: Sequence[Mapping[str, Any]], moment: datetime, zone: tzinfo) -> int:
    """Whole hours without a row beyond the longest such pause of the last 28 days: at night there may be none."""
    ends = [
        hour_bounds(date.fromisoformat(one["day"]), int(hour), zone)[1]
        for one in logged[-USUAL_WINDOWS:]
        for hour, rows in one["hours"].items()
        if rows
    ]
    if not ends:
        return 0
    ends.sort()
    usual = max((after - before - timedelta(hours=1) for before, after in pairwise(ends)), default=timedelta())
    return int((moment - ends[-1] - max(usual, timedelta())) / timedelta(hours=1)) - 1


def released_since(incident: Incident, entries: Sequence[Entry]) -> dict[str, Any] | None:
    """What was last made live after an incident opened: action, version, previous, at; None where nothing was.

    `told` is true once rows seen after it belong to the incident: then it did not end with the release.
    """
    for one in reversed(entries):
        if one.channel == "live" and one.action in ("promote", "rollback", "external"):
            if one.at <= incident.opened:
                return None
            told = any(
                event.kind == "update" and "rows" in event.facts and event.at > one.at for event in incident.events
            )
            return {"action": one.action, "version": one.version, "previous": one.previous, "at": one.at, "told": told}
    return None


def released_words(since: Mapping[str, Any]) -> str:
    """ "v2 was rolled back to v1 since; the next window will tell", without its time."""
    version, previous = since["version"], since["previous"]
    if since["action"] == "rollback":
        said = f"{previous} was rolled back to {version} since"
    else:
        said = f"{version} was released since" + (f" in place of {previous}" if previous else "")
    return said + ("" if since["told"] else "; the next window will tell")


def _broken(
    state: State,
    newest: Incident,
    others: int,
    shared: Mapping[int, Sequence[Incident]],
    released: Mapping[int, Mapping[str, Any]],
) -> str:
    more = f" (and {others} more)" if others else ""
    named = ", ".join(f"{one.model} {one.n}" for one in shared.get(newest.n, ()))
    one_with = f" (one with {named})" if named else ""
    since = f"; {released_words(released[newest.n])}" if newest.n in released else ""
    return f"{WORDS[state]}: incident {newest.n}{one_with} since {newest.since}: {newest.title}{more}{since}"


def _sentence(
    state: State,
    name: str,
    live: str | None,
    logged: Sequence[Mapping[str, Any]],
    known: Sequence[Incident],
    zone: tzinfo,
    stale: timedelta,
) -> str:
    """The state in words where no incident is open."""
    if state == "look":
        return f"Look: the monitor of {name} has not run for over {stale / timedelta(hours=1):.0f} hours"
    if live is None:
        return f"No data: no version of {name} is live yet"
    if not logged:
        return f"No data: {live} is live, nothing has been judged yet"
    last = logged[-1]["day"]
    if state == "no_data":
        return f"No data: {live} is live, the last logged day is {last}"
    if state == "learning":
        return f"Learning: {live} is live, {len(logged)} days of its traffic seen so far"
    if troubled := [f"{one.n}" for one in known if _troubled(last, [one], zone)]:
        which = f"incident{'s' if len(troubled) > 1 else ''} {' and '.join(troubled)}"
        return f"Healthy: no incident is open; {last}, the last window, had {which}, resolved since"
    return f"Healthy: {live} answers as it did; the last window, {last}, raised no alarm"


def usual(
    days: Sequence[Mapping[str, Any]],
    incidents: Sequence[Incident],
    of: Callable[[Mapping[str, Any]], float],
    zone: tzinfo,
) -> tuple[float, float] | None:
    """Least and most of a figure over the 28 windows before the last, days of any incident left out.

    An incident must not make itself usual. None where no such window is known.
    """
    calm = [of(one) for one in days[:-1] if not _troubled(one["day"], incidents, zone)][-USUAL_WINDOWS:]
    return (min(calm), max(calm)) if calm else None


def _troubled(day: str, incidents: Sequence[Incident], zone: tzinfo) -> bool:
    start, end = day_bounds(date.fromisoformat(day), zone)
    return any(
        datetime.fromisoformat(one.since) < end and (not one.until or start < datetime.fromisoformat(one.until))
        for one in incidents
        if one.since
    )


def _requests(logged: Sequence[Mapping[str, Any]], incidents: Sequence[Incident], zone: tzinfo) -> dict[str, Any]:
    if not logged:
        return {"day": None, "rows": 0, "refused": 0, "usual_low": None, "usual_high": None}
    low, high = usual(logged, incidents, lambda one: int(one["rows"]), zone) or (None, None)
    return {
        "day": logged[-1]["day"],
        "rows": logged[-1]["rows"],
        "refused": logged[-1].get("refused", 0),
        "usual_low": low,
        "usual_high": high,
    }


def _score(scored: Sequence[Mapping[str, Any]], incidents: Sequence[Incident], zone: tzinfo) -> dict[str, Any]:
    if not scored:
        return {"mean": None, "usual_low": None, "usual_high": None}
    low, high = usual(scored, incidents, lambda one: float(one["score"]["mean"]), zone) or (None, None)
    return {"mean": scored[-1]["score"]["mean"], "usual_low": low, "usual_high": high}

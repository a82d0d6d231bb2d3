"""Is today beyond what this model has ever lived through? Judges finished windows, keeps incidents.

    log --building--> windows --shift.Watch--> verdicts --> judgements, incidents

Everything is a fold over stored profiles: rows of the past are not read again. A window is judged against
history under the version that answered it, so a promotion is no alarm: past predictions of that version come
from the kept samples, scored once and kept (`Windows.put_scores`), or out of fold from training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from . import model as models
from . import shift
from .building import build
from .errors import MiddlewatchError, NothingToDo
from .incidents import Incident, Incidents
from .journal import Journal
from .observations import predicted_columns
from .profiles import ColumnSpec, Profile, ProfileSpec, merge, profile
from .replay import Replayer, disagreement, load
from .retention import expire_log
from .shift import LABEL, SCORE, Facts, Reading, Verdict, Watch
from .times import day_bounds, iso
from .windows import KEEP_HOURS_DAYS

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from .project import Project
    from .store import Store
    from .windows import WindowDay, Windows

ACTOR = "monitor"
# Windows before the first one judged that can still matter to it: its reference, 90 values, each of which was held
# against 90 before, and the bins cut from the 90 before those.
REACH = shift.REFERENCE + 2 * shift.HISTORY + shift.RECUT + shift.HISTORY
CLEAN = 2
TOP = 5
MOST_CHANNELS = 12
RELEASE = "(release)"
# A release against its gate that changes this share of decisions, or puts rows in an order that agrees no more than
# this with the one before, is another model: two trainings on neighbouring months of flights correlated to 0.96.
RELEASE_DECISIONS = 0.1
RELEASE_ORDER = 0.9
REFUSED = "(requests)"
REFUSED_SHARE = 0.01
REFUSED_ROWS = 5
BEYOND = 1.3
FEW_ROWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one run of the monitor did: windows judged (plain JSON, oldest first), incidents it touched."""

    windows: list[dict[str, Any]]
    incidents: list[Incident]
    built: int
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "windows": self.windows,
            "incidents": [one.to_dict() for one in self.incidents],
            "built": self.built,
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class _Unit:
    """One window: a day, or the days of a week that have rows."""

    start: date
    days: tuple[WindowDay, ...]
    bounds: tuple[datetime, datetime]

    @property
    def logged(self) -> bool:
        return any(one.source == "log" for one in self.days)

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.days)

    @property
    def refused(self) -> int:
        return sum(int(one.summary.get("refused", 0)) for one in self.days)

    @property
    def refused_share(self) -> float:
        return self.refused / max(self.refused + self.rows, 1)

    @property
    def version(self) -> str | None:
        """The version that answered most of it."""
        counted: dict[str, int] = {}
        for one in self.days:
            for version, rows in one.versions.items():
                counted[version] = counted.get(version, 0) + rows
        return max(counted, key=lambda version: (counted[version], version)) if counted else None

    @property
    def revisions(self) -> dict[str, int]:
        return {one.day.isoformat(): one.revision for one in self.days}


def judge(
    project: Project, name: str, *, until: datetime | None = None, rebuild: bool = False, now: datetime
) -> Judged:
    """Make windows of newly logged rows, then judge every finished one that is not judged as it now stands.

    `until` (default: `now`) is the moment to judge at; `rebuild` makes and judges all windows anew. Running it
    again changes nothing; two at once agree. Raises NothingToDo where nothing was ever logged.
    """
    windows, incidents = project.windows(name), project.incidents(name)
    moment = until if until is not None else now
    built = build(project, name, until=moment, now=now, rebuild=rebuild)
    units = _units(project, windows, moment)
    if not any(one.logged for one in units):
        raise NothingToDo(
            f"no finished {project.config.monitor.window} of {name} has logged requests yet",
            fix="middlewatch status shows what is there",
        )
    judged = {} if rebuild else windows.judgements()
    pending = [one for one in units if one.logged and judged.get(one.days[0].day, {}).get("revisions") != one.revisions]
    if not pending:
        return Judged(windows=[], incidents=[], built=len(built), notes=_notes(project, units))
    run = _Run(project, name, units, pending, now=now)
    run.judge()
    expire_log(project.store, name, now.date() - timedelta(days=project.config.store.keep_log_days))
    # By event time: replayed history is as young as its own newest day.
    windows.expire(units[-1].days[-1].day - timedelta(days=KEEP_HOURS_DAYS))
    return Judged(
        windows=run.done,
        incidents=[incidents.get(n) for n in sorted(run.touched)],
        built=len(built),
        notes=[*_notes(project, units), *run.past.notes],
    )


def live_models(store: Store) -> int:
    """How many models of a store have a live version: they share its alarm budget."""
    return sum(
        1
        for name in store.folders("")
        if not name.startswith("_") and store.list(f"{name}/journal/") and Journal(store, name).live() is not None
    )


def _units(project: Project, windows: Windows, until: datetime) -> list[_Unit]:
    """Windows that had ended at `until`, in order."""
    weekly = project.config.monitor.window == "week"
    grouped: dict[date, list[WindowDay]] = {}
    for one in windows.read():
        grouped.setdefault(one.day - timedelta(days=one.day.weekday() if weekly else 0), []).append(one)
    found = []
    for start, days in sorted(grouped.items()):
        end = day_bounds(start + timedelta(days=6 if weekly else 0), project.zone)[1]
        if end <= until:
            found.append(_Unit(start, tuple(days), (day_bounds(start, project.zone)[0], end)))
    return found


def _notes(project: Project, units: Sequence[_Unit]) -> list[str]:
    rows = [one.rows for one in units if one.logged][-shift.REFERENCE :]
    if project.config.monitor.window == "day" and rows and median(rows) < FEW_ROWS:
        return [f'under {FEW_ROWS} rows a day: set window = "week" in [monitor] for steadier judgements']
    return []


# --------------------------------------------------------------------------- the past, under a version


class _Past:
    """What windows looked like, with the predictions of any one version."""

    def __init__(self, project: Project, name: str) -> None:
        self.project = project
        self.name = name
        self.windows = project.windows(name)
        self.notes: list[str] = []
        self._inputs: dict[date, tuple[dict[str, Facts], Profile]] = {}
        self._scored: dict[str, AbstractSet[date]] = {}
        self._replayers: dict[str, Replayer | None] = {}

    def logged(self, unit: _Unit) -> dict[str, Facts]:
        """The window as it was answered."""
        inputs, whole = self._read(unit)
        return inputs | _predicted(whole)

    def under(self, unit: _Unit, version: str) -> dict[str, Facts]:
        """The window with the predictions that `version` gave, or would have given."""
        inputs, whole = self._read(unit)
        if unit.logged and all(set(one.versions) == {version} for one in unit.days):
            return inputs | _predicted(whole)
        found = [self._scores(one, version) for one in unit.days]
        return inputs | _predicted(merge([one for one in found if one is not None]))

    def mean(self, unit: _Unit, version: str) -> float | None:
        """Mean prediction of `version`."""
        if all(set(one.versions) == {version} for one in unit.days):
            column = self._read(unit)[1].columns.get(SCORE)
        else:
            found = [one for day in unit.days if (one := self._scores(day, version)) is not None]
            column = merge(found).columns.get(SCORE)
        return float(column.mean) if column is not None and column.n else None

    def answered(self, unit: _Unit) -> float | None:
        """Mean prediction as it was answered."""
        column = self._read(unit)[1].columns.get(SCORE)
        return float(column.mean) if column is not None and column.n else None

    def _read(self, unit: _Unit) -> tuple[dict[str, Facts], Profile]:
        held = self._inputs.get(unit.start)
        if held is None:
            whole = merge([one.profile for one in unit.days])
            held = (shift.facts_of(whole, without=shift.PREDICTION), whole)
            self._inputs[unit.start] = held
        return held

    def _scores(self, day: WindowDay, version: str) -> Profile | None:
        """One day's predictions of `version`: kept ones, else its sample scored again and kept."""
        if set(day.versions) == {version}:
            return day.profile
        if version not in self._scored:
            self._scored[version] = self.windows.days_scored(version)
        if day.day in self._scored[version]:
            kept = self.windows.scores(day.day, version)
            return kept.profile if kept is not None else None
        replayer = self.replayer(version)
        made = _replayed(replayer, day.sample) if replayer is not None else None
        if made is not None:
            self.windows.put_scores(day.day, version, made, basis="replayed", durable=False)
        return made

    def replayer(self, version: str) -> Replayer | None:
        """A version ready to score kept samples; None, with a note, where it cannot be loaded."""
        if version not in self._replayers:
            self._replayers[version] = None
            try:
                if models.ours(version):
                    self._replayers[version] = load(self.project, self.name, version)
            except MiddlewatchError as error:
                # Inputs can be judged without it, and a monitor that stops is worse than one that sees less.
                self.notes.append(f"past predictions of {version} are left out: {error.what}")
        return self._replayers[version]


def _replayed(replayer: Replayer, sample: pl.DataFrame) -> Profile | None:
    """Predictions of the sampled rows; None where they lack an input of the version."""
    version = replayer.version
    if not sample.height or not set(version.encoding.names) <= set(sample.columns):
        return None
    scores = replayer.scores(sample)
    columns = predicted_columns(scores, version.classes)[: scores.ndim]
    specs = [ColumnSpec(SCORE, "number"), ColumnSpec(LABEL, "category", known=version.classes)]
    return profile(pl.DataFrame(columns), ProfileSpec(tuple(specs[: scores.ndim])))


def _predicted(whole: Profile) -> dict[str, Facts]:
    return {name: shift.facts_of_column(column) for name, column in whole.columns.items() if name in shift.PREDICTION}


# --------------------------------------------------------------------------- judging


class _Run:
    """One pass over the windows in order: each pending one is judged, then every one is learnt."""

    def __init__(
        self, project: Project, name: str, units: Sequence[_Unit], pending: Sequence[_Unit], *, now: datetime
    ) -> None:
        self.name = name
        self.now = now
        self.windows: Windows = project.windows(name)
        self.incidents: Incidents = project.incidents(name)
        self.past = _Past(project, name)
        self.pending = {one.start for one in pending}
        first = next(place for place, one in enumerate(units) if one.start in self.pending)
        self.units = units[max(first - REACH, 0) :]
        self.bad = [one for one in self.incidents.bad_spans() if not one.where]
        self.active = {one.n: one for one in self.incidents.active()}
        self.touched: set[int] = set()
        self.done: list[dict[str, Any]] = []
        weekly = project.config.monitor.window == "week"
        budget = project.config.monitor.alarms_per_month / max(live_models(project.store), 1)
        entries = project.journal(name).entries()
        last = {one.version: one for one in entries if one.channel == "live" and one.action in ("promote", "rollback")}
        self.forced = {version: one for version, one in last.items() if one.facts.get("forced") and one.previous}
        self.latest = next((one.version for one in reversed(units) if one.version), "")
        versions = {one.version or self.latest for one in pending}
        self.watches = {one: Watch(budget=budget, days=7 if weekly else 1) for one in sorted(versions)}
        # The past as it stood before each open incident: what "it lasts" is held against.
        self.frozen: dict[int, _Before] = {}
        self.previous: Mapping[str, Watch] = {}
        self.learnt: list[_Unit] = []
        self.shares: list[float] = []

    def judge(self) -> None:
        """Go through the windows; fills `done` and `touched`."""
        for unit in self.units:
            for n, incident in self.active.items():
                if n not in self.frozen and iso(unit.bounds[0]) >= incident.since:
                    self._freeze(n, self.watches)
            if unit.start in self.pending:
                self._judge(unit)
            if unit.logged:
                self.shares = [*self.shares, unit.refused_share][-shift.HISTORY :]
            if unit.rows and not self._marked(unit):
                self.previous = {version: watch.copy() for version, watch in self.watches.items()}
                for version, watch in self.watches.items():
                    watch.step(unit.start, self.past.under(unit, version))
                self.learnt.append(unit)

    def _freeze(self, n: int, watches: Mapping[str, Watch]) -> None:
        self.frozen[n] = _Before({version: watch.copy() for version, watch in watches.items()}, self.shares)

    def _marked(self, unit: _Unit) -> bool:
        """True where a person marked at least half of the window's time as bad."""
        start, end = unit.bounds
        covered = timedelta()
        for span in self.bad:
            since, until = datetime.fromisoformat(span.since), datetime.fromisoformat(span.until)
            covered = max(covered, min(until, end) - max(since, start))
        return covered * 2 >= end - start

    def _judge(self, unit: _Unit) -> None:
        version = unit.version or self.latest
        facts = self.past.logged(unit)
        verdict = self.watches[version].look(unit.start, facts)
        beside = [one for one in (_refused(unit, self.shares), self._released(unit)) if one is not None]
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
            **{line: _short(getattr(verdict, line)) for line in ("m", "m_line", "p", "p_line")},
            "history": verdict.history,
            "notes": list(verdict.notes),
            "refused": unit.refused,
            "version": unit.version,
            "incidents": numbers,
            "revisions": unit.revisions,
            "at": iso(self.now),
        }
        # After the incidents: a run that dies between the two judges this window again, under the same key.
        self.windows.put_judgement(unit.days[0].day, judged)
        self.done.append(judged)

    def _released(self, unit: _Unit) -> Reading | None:
        """A version that was released against its gate and answers unlike the one before it, else None.

        What passed its gate was compared there; what was rolled back to has been live already.
        """
        entry = self.forced.get(unit.version or "")
        if entry is None or not unit.rows:
            return None
        now, before = (self.past.replayer(one) for one in (entry.version, entry.previous))
        sample = unit.days[-1].sample
        if now is None or before is None or sample.height < shift.MIN_ROWS:
            return None
        seen = disagreement(now, before, sample)
        value = max(seen.decisions / RELEASE_DECISIONS, (1 - seen.order) / (1 - RELEASE_ORDER))
        if value <= 1:
            return None
        height = float(np.log(value))
        return Reading(
            column=RELEASE,
            channel="release",
            value=value,
            worst=1.0,
            score=height,
            lasting=height,
            now=seen.decisions,
            usual=0.0,
        )

    # ------------------------------------------------------------------ incidents

    def _continue(self, unit: _Unit, facts: Mapping[str, Facts], version: str) -> list[int]:
        """Hold the window against each open incident's own past: it lasts, or this is a clean window.

        Returns the incidents that last.
        """
        lasting = []
        end = iso(unit.bounds[1])
        for n, incident in list(self.active.items()):
            before = self.frozen.get(n)
            if before is None or end <= incident.seen:
                continue
            readings = list(before.watches[version].look(unit.start, facts).readings) if unit.rows else []
            readings += [one for one in (_refused(unit, before.shares), self._released(unit)) if one is not None]
            own = {(one["column"], one["channel"]) for one in incident.top}
            still = [one.score for one in readings if (one.column, one.channel) in own and one.score > 0]
            if still:
                lasting.append(n)
                self._update(n, unit, max(still))
            else:
                self._clean(n, end)
        return lasting

    def _update(self, n: int, unit: _Unit, score: float, joined: Sequence[Reading] = ()) -> None:
        """One more window of an incident, or more channels of one; it pages again only when it has doubled."""
        incident = self.active[n]
        facts: dict[str, Any] = {"clean": 0, "peak": max(incident.peak, round(score, 4))}
        if iso(unit.bounds[1]) > incident.seen:
            facts |= {
                "until": iso(unit.bounds[1]),
                "seen": iso(unit.bounds[1]),
                "rows": incident.rows + unit.rows,
                "windows": incident.windows + 1,
                "after": _rounded(self.past.answered(unit)),
            }
        if facts["peak"] >= incident.paged + np.log(2):
            facts["paged"] = facts["peak"]
        if joined:
            known = {(one["column"], one["channel"]) for one in incident.top}
            top = [*incident.top, *(one.to_dict() for one in joined if (one.column, one.channel) not in known)]
            facts |= {**_about(top), "top": top[:MOST_CHANNELS]}
        self.active[n] = self.incidents.add(n, "update", at=self.now, actor=ACTOR, **facts)
        self.touched.add(n)
        if self.active[n].windows > shift.REFERENCE:
            self._resolve(n, "it has lasted as long as the reference: this is usual now")

    def _clean(self, n: int, end: str) -> None:
        clean = self.active[n].clean + 1
        self.active[n] = self.incidents.add(n, "update", at=self.now, actor=ACTOR, clean=clean, seen=end)
        self.touched.add(n)
        if clean >= CLEAN:
            self._resolve(n, f"{CLEAN} clean windows")

    def _resolve(self, n: int, reason: str) -> None:
        self.incidents.add(n, "resolve", at=self.now, actor=ACTOR, reason=reason)
        del self.active[n]

    def _answer(
        self, unit: _Unit, verdict: Verdict, loud: Sequence[Reading], version: str, lasting: list[int]
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
            young = n in lasting and incident.windows <= CLEAN and REFUSED not in columns
            if same or young:
                new = [one for one in moved if (one.column, one.channel) not in held]
                self._update(n, unit, max(one.height for one in fresh), joined=new)
                return sorted({*lasting, n})
        # An alarm for two windows together began with the first of the two.
        paired = all(one.column != REFUSED and one.score <= (verdict.m_line or 0.0) for one in fresh)
        spent = [*self.learnt[-1:], unit] if paired else [unit]
        incident = self._open(spent, moved, fresh, version)
        if incident.active:
            self.active[incident.n] = incident
            self._freeze(incident.n, self.previous if paired else self.watches)
        return [*lasting, incident.n]

    def _open(
        self, units: Sequence[_Unit], moved: Sequence[Reading], fresh: Sequence[Reading], version: str
    ) -> Incident:
        top = [one.to_dict() for one in sorted(moved, key=lambda one: -one.height)[:MOST_CHANNELS]]
        past = [one for one in self.learnt if one.start < units[0].start][-shift.REFERENCE :]
        means = [(mean, one.rows) for one in past if (mean := self.past.mean(one, version)) is not None]
        before = sum(mean * rows for mean, rows in means) / sum(rows for _, rows in means) if means else None
        after = self.past.answered(units[-1])
        peak = round(max(one.height for one in fresh), 4)
        incident = self.incidents.open(
            key=f"{units[-1].start.isoformat()} {top[0]['column']}",
            at=self.now,
            actor=ACTOR,
            facts={
                **_about(top),
                "title": _title(moved, before, after),
                "since": iso(units[0].bounds[0]),
                "until": iso(units[-1].bounds[1]),
                "seen": iso(units[-1].bounds[1]),
                "top": top,
                "peak": peak,
                "paged": peak,
                "before": _rounded(before),
                "after": _rounded(after),
                "rows": sum(one.rows for one in units),
                "windows": len(units),
            },
        )
        self.touched.add(incident.n)
        return incident


@dataclass(frozen=True, slots=True)
class _Before:
    """The past as it stood before an incident began."""

    watches: Mapping[str, Watch]
    shares: Sequence[float]


def _refused(unit: _Unit, shares: Sequence[float]) -> Reading | None:
    """Requests that were refused, where they are 1 % or more and beyond their own past, else None."""
    share, worst = unit.refused_share, max(shares, default=0.0)
    limit = max(BEYOND * worst, REFUSED_SHARE)
    if unit.refused < REFUSED_ROWS or share < limit:
        return None
    height = float(np.log(share / limit))
    usual = median(shares) if shares else 0.0
    return Reading(
        column=REFUSED,
        channel="refused",
        value=share,
        worst=limit,
        score=max(height, 1e-9),
        lasting=height,
        now=share,
        usual=usual,
    )


def _about(top: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns, channels and severity of these channels: predictions and availability may wake somebody."""
    columns = list(dict.fromkeys(str(one["column"]) for one in top))
    wakes = bool({*shift.PREDICTION, REFUSED, RELEASE} & set(columns))
    return {
        "columns": columns,
        "channels": list(dict.fromkeys(str(one["channel"]) for one in top)),
        "severity": "page" if wakes else "ticket",
    }


_WORDS = {
    "null": "missing",
    "novelty": "values outside all seen",
    "lattice": "numbers never seen",
    "whole": "whole numbers",
    "repeat": "repeats of the row before",
    "refused": "refused",
    "release": "answers unlike the version before, decisions changed",
}


def _title(moved: Sequence[Reading], before: float | None, after: float | None) -> str:
    """The incident in one line: the most unusual channels, and what became of the mean prediction."""
    parts: list[str] = []
    for one in sorted(moved, key=lambda one: (one.column in shift.PREDICTION, -one.height)):
        name = "prediction" if one.column in shift.PREDICTION else one.column.strip("()")
        if one.channel == "shape" or one.now is None or one.usual is None:
            said = f"{name} distribution {np.exp(one.height):.1f} x its worst"
        else:
            said = f"{name} {_WORDS[one.channel]} {_percent(one.usual)} -> {_percent(one.now)}"
        if not any(part.startswith(name + " ") for part in parts):
            parts.append(said)
    more = f" and {len(parts) - 2} more columns" if len(parts) > 2 else ""
    mean = f"; mean prediction {before:.3g} -> {after:.3g}" if before is not None and after is not None else ""
    return ", ".join(parts[:2]) + more + mean


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

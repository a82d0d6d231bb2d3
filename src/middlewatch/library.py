"""The library: `mw.open(project)` gives a Handle whose methods are the verbs of the command line, by the same names.

The command line and the pages call nothing else. The clock and the user's name enter here.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from . import groups
from .errors import NothingToDo
from .frames import moment_of, raw_of
from .project import Project

if TYPE_CHECKING:
    import polars as pl

    from .checks import Report
    from .differences import Difference
    from .doctor import Checked
    from .imports import Asked, ImportedLog
    from .incidents import Incident
    from .infer import Doubt
    from .initialise import Started
    from .inspection import Inspection, Quarantined
    from .monitor import Judged
    from .outcomes import Imported
    from .profiles import Profile
    from .releases import Released
    from .retrain import Retrained
    from .score import Scored
    from .sides import Comparison
    from .status import Status
    from .train import Trained
    from .why import Diagnosis, Explained

Progress = Callable[[str], None]


def _quiet(line: str) -> None:
    """Progress nobody listens to."""


def who() -> str:
    """The person or job behind an act: MIDDLEWATCH_ACTOR, else the login name."""
    try:
        return os.environ.get("MIDDLEWATCH_ACTOR") or getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def open(project: str | Path | None = None, *, model: str | None = None) -> Handle:
    """The project in a folder, or in the nearest one upward. Raises NotFound, ConfigError, OutOfReach."""
    return Handle(Project.open(project), model)


def init(
    table: str,
    *,
    target: str,
    time: str | None = None,
    key: str | None = None,
    name: str | None = None,
    folder: str | Path = ".",
    task: str | None = None,
    answers: Sequence[str] = (),
    ask: Callable[[Doubt], bool] | None = None,
) -> Started:
    """Start a project from a table, or add a model to one: middlewatch.toml, `<name>.schema.toml`, `<name>.html`.

    `answers` settle what is doubtful beforehand, as in ("--role code=ignored",); `ask` is asked about the three most
    doubtful guesses and says whether each is right. Raises TableError, UsageError; nothing is ever overwritten.
    """
    from .initialise import init as job
    from .initialise import merged

    return job(
        table,
        target=target,
        time=time,
        key=key,
        name=name,
        folder=Path(folder),
        task=task,
        settled=merged({}, answers),
        ask=ask,
    )


def import_(table: Any, *, project: str | Path | None = None, **asked: Unpack[Asked]) -> ImportedLog:
    """The log of a service that is not ours, a frame or a file, as predictions of `ext-<version>`; judges its windows.

    `time` and `score` are columns; several scores are the classes', `"cat=p_cat"` where their names differ. `version`
    is a column or the version. In `project` (default: the nearest folder upward) or, where there is none, in a new
    one here. The same table again adds nothing. Raises UsageError, TableError, Refused; nothing is written then.
    """
    from . import imports

    raw = raw_of(table)
    done = imports.bring(raw, project, asked, now=Handle.clock(), actor=who())
    handle = Handle(Project.open(done.folder, search=False), done.model)
    try:
        judged = handle.monitor()
    except NothingToDo as nothing:  # the first day is not over yet
        return replace(done, notes=[*done.notes, nothing.what])
    return replace(
        done,
        windows=len(judged.windows),
        alarms=sum(1 for one in judged.windows if one["alarm"]),
        incidents=[one.n for one in handle.incidents()],
    )


@dataclass(frozen=True, slots=True)
class Monitored:
    """One run of the monitor for several models: what it did for each, models with nothing to do, what was told."""

    judged: Sequence[Judged]
    quiet: Sequence[NothingToDo]
    told: Sequence[str]


class Handle:
    """One project, one model (where the project has one, or the one named); each verb is a method."""

    def __init__(self, project: Project, model: str | None = None) -> None:
        self.project = project
        self._model = model

    @property
    def model(self) -> str:
        """The model the verbs are about. Raises UsageError where several could be meant."""
        return self.project.model(self._model)

    def __repr__(self) -> str:
        return (
            f"<Middlewatch project {self.project.root.name}: {', '.join(self.project.config.models) or 'no model yet'}>"
        )

    def moment(self, text: str | datetime | None) -> datetime | None:
        """A time as people write it (`2h`, ISO, `yesterday 18:00`), in UTC; without a zone it is in the project's."""
        return None if text is None else moment_of(text, self.project.zone, now=self.clock())

    @staticmethod
    def clock() -> datetime:
        return datetime.now(UTC)

    # ------------------------------------------------------------------ start

    def inspection(
        self, table: Any = None, *, against: str | None = None, until: datetime | str | None = None
    ) -> tuple[Inspection, Profile | None]:
        """A table (default: the model's source) before the model's schema, and the profile it is compared with."""
        from . import inspection

        raw = None if table is None else raw_of(table)
        now = self.moment(until) or self.clock()
        held = inspection.of_project(self.project, self.model, raw, now=now)
        if against is None:
            return held, None
        return held, inspection.reference(self.project, self.model, against, held)

    def check(self, table: Any = None, *, against: str | None = None, until: datetime | str | None = None) -> Report:
        """Data tests of a table against the model's schema, and its shift against a data version or another table."""
        held, reference = self.inspection(table, against=against, until=until)
        return held.report(reference, pictures=True)

    def accept(self, table: Any, changes: Sequence[str]) -> list[str]:
        """Edit the schema so that it accepts what `check` found, by name (`range:temp`); returns the edits in words."""
        held, _ = self.inspection(table)
        return [one.words for one in held.accept(changes, held.report())]

    def quarantine(self, table: Any, folder: str | Path) -> Quarantined:
        """Write the good rows of a table and the bad ones, with reasons, apart into a new folder."""
        held, _ = self.inspection(table)
        return held.quarantine(held.report(), Path(folder))

    def train(
        self, *, data: str | None = None, seed: int = 0, force: str | None = None, progress: Progress = _quiet
    ) -> Trained:
        """Snapshot, data tests, train, compare with the live version, record. Releases nothing."""
        from .train import train

        return train(
            self.project,
            self.model,
            source=_from_here(data, self.project),
            seed=seed,
            force=force,
            now=self.clock(),
            actor=who(),
            progress=progress,
        )

    # ------------------------------------------------------------------ live

    def status(self, *, now: datetime | str | None = None) -> Status:
        """Is it still good? From stored summaries alone."""
        from .status import status

        return status(self.project, self.model, now=self.moment(now), clock=self.clock())

    def why(
        self,
        about: str | int | None = None,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        on: str | None = None,
        file: Any = None,
        against: str | None = None,
        touched: bool = False,
    ) -> Diagnosis | Explained:
        """The cause of an incident (number), of a span, or of the newest incident; for a prediction id, its story.
        `file` asks about a table instead, a frame or a file, `against` a data version or another file (default: the
        newest data version). `touched` gives the affected rows with corrected scores too, as a frame.
        """
        from . import why

        if file is not None:
            raw = raw_of(file)
            return why.diagnose_table(self.project, self.model, raw, against=against, touched=touched)
        one = "" if about is None else str(about)
        if one and (not one.isdigit() or self._is_foreign(one)):
            return why.explain_row(self.project, self.model, one, on=on)
        return why.diagnose(
            self.project,
            self.model,
            incident=int(one) if one else None,
            since=self.moment(since),
            until=self.moment(until),
            now=self.clock(),
            touched=touched,
        )

    def _is_foreign(self, about: str) -> bool:
        """True for a number that is no incident's, where another service gives the ids: it may be one of those."""
        from . import model

        live = self.project.journal(self.model).live()
        known = {one.n for one in self.project.incidents(self.model).all()}
        return live is not None and not model.ours(live) and int(about) not in known

    def promote(self, version: str, *, channel: str = "live", reason: str = "", force: str | None = None) -> Released:
        """Make a version live through the gate; `force` gives the reason to do it against the gate."""
        from .releases import promote

        return promote(
            self.project,
            self.model,
            version,
            channel=channel,
            reason=reason,
            force=force,
            now=self.clock(),
            actor=who(),
        )

    def rollback(self, *, to: str | None = None, reason: str = "", dry_run: bool = False) -> Released:
        """Back to the version that was live before; `dry_run` says what it would change and whether it helps."""
        from .releases import rollback

        return rollback(self.project, self.model, to=to, reason=reason, dry_run=dry_run, now=self.clock(), actor=who())

    def unfreeze(self, *, reason: str = "") -> Released:
        """Allow automatic promotion again after a rollback."""
        from .releases import unfreeze

        return unfreeze(self.project, self.model, reason=reason, now=self.clock(), actor=who())

    def retrain(
        self, *, data: str | None = None, slot: str | None = None, seed: int = 0, progress: Progress = _quiet
    ) -> Retrained:
        """Train, gate, and promote as configured."""
        from .retrain import retrain

        return retrain(
            self.project,
            self.model,
            source=_from_here(data, self.project),
            slot=slot,
            seed=seed,
            now=self.clock(),
            actor=who(),
            progress=progress,
        )

    def incidents(self, *, every: bool = False) -> list[Incident]:
        """Open incidents, or every one there was."""
        kept = self.project.incidents(self.model)
        return kept.all() if every else kept.active()

    def answer_incident(self, number: int, act: str, **facts: Any) -> Incident:
        """Acknowledge (`ack`), `silence`, `resolve`, `reopen`, `mark_bad` or `unmark_bad` an incident; the first three
        hold for the incidents of other models that are one with it. Raises UsageError where its state has no room.
        """
        return self.respond(number, act, facts)[0]

    def respond(self, number: int, act: str, facts: Mapping[str, Any]) -> tuple[Incident, list[Incident]]:
        """`answer_incident`, with the incidents of other models that were answered as well."""
        from .responses import respond

        return respond(self.project, self.model, number, act, at=self.clock(), actor=who(), **facts)

    def beside(self, incident: Incident) -> list[dict[str, Any]]:
        """Incidents of other models of the store that are one with this: they share an input and began together."""
        return groups.beside(groups.members(self.project.store, incident))

    def predictions(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        where: str | None = None,
        by: str = "received",
    ) -> pl.DataFrame:
        """Logged predictions as a frame: the inputs by their names and `mw.*` columns."""
        from . import predictions

        return predictions.read(
            self.project.store,
            self.project.spool(self.model),
            self.model,
            since=self.moment(since),
            until=self.moment(until),
            where=where,
            by="time" if by == "time" else "received",
            compared=True,
        )

    def shadow(self, *, since: datetime | str | None = None, until: datetime | str | None = None) -> pl.DataFrame:
        """Rows that the version in shadow has scored beside the live one, with both scores (`serve.shadow`)."""
        from .serve.shadow import compared

        return compared(self.project, self.model, since=self.moment(since), until=self.moment(until))

    def refused(self, *, since: datetime | str | None = None, until: datetime | str | None = None) -> pl.DataFrame:
        """Requests that were refused, with the field, what came and what was expected."""
        from . import predictions

        return predictions.read_refused(
            self.project.store,
            self.project.spool(self.model),
            self.model,
            since=self.moment(since),
            until=self.moment(until),
        )

    # ------------------------------------------------------------------ operate

    def versions(self) -> dict[str, Any]:
        """Models, data, journal and what is live, as plain facts."""
        from . import data, model

        store, name = self.project.store, self.model
        journal = self.project.journal(name)
        return {
            "live": journal.live(),
            "previous": journal.previous(),
            "models": model.versions(store, name),
            "data": [data.shelf(store, name).manifest(one) for one in data.shelf(store, name).names()],
            "journal": journal.entries(),
        }

    def differences(self, then: str, now: str) -> tuple[Difference, ...]:
        """What two data versions (`d6`, `d7`) or two model versions (`v6`, `v7`) differ in, the weightiest first."""
        from .sides.versions import of_versions

        return of_versions(self.project.store, self.model, then, now)

    def compare(self, a: str, b: str) -> Comparison:
        """What differs between two sides, and what it does to the answers: the same logged requests go to both.

        A side is a channel (`live`, `staging`, `shadow`), a version, a store (`"URL#staging"`, `"path#live"`), or the
        URL of a server. Raises NotFound, UsageError, OutOfReach; NothingToDo for one side twice.
        """
        from .sides import compare

        return compare(self.project, self.model, a, b)

    def score(
        self,
        table: Any,
        *,
        out: str | Path | None = None,
        log: bool = False,
        version: str | None = None,
        time: str | None = None,
        caller: str = "batch",
    ) -> Scored:
        """Score a frame or a file; `log` keeps each row with its event time for the monitor."""
        from .score import score

        return score(
            self.project,
            self.model,
            raw_of(table),
            out=Path(out) if out is not None else None,
            log=log,
            version=version,
            time_column=time,
            caller=caller,
            now=self.clock(),
        )

    def import_labels(
        self, table: Any, *, value: str, key: str | None = None, id: str | None = None, time: str | None = None
    ) -> Imported:
        """Outcomes that came later, a frame or a file: column `value` by `key` (yours) or `id` (an answer's).

        The same table again changes nothing; wrong values are refused with their rows and nothing is kept.
        """
        from . import outcomes

        raw = raw_of(table)
        return outcomes.import_labels(
            self.project, self.model, raw, value=value, key=key, id=id, time=time, now=self.clock()
        )

    def monitor(self, *, until: datetime | str | None = None, rebuild: bool = False) -> Judged:
        """Judge every finished window that is not judged yet; opens, updates and closes incidents, and tells of it.

        `until` is now, or for an imported log its own newest event.
        """
        found = self.monitor_all([self.model], until=until, rebuild=rebuild)
        if found.quiet:
            raise found.quiet[0]
        return replace(found.judged[0], notes=[*found.judged[0].notes, *found.told])

    def monitor_all(
        self, models: Sequence[str], *, until: datetime | str | None = None, rebuild: bool = False
    ) -> Monitored:
        """`monitor` for several models of the project, then one telling: what they share is one message."""
        from . import alerts, monitor

        started = self.clock()
        self._bring_in()
        judged: dict[str, Judged] = {}
        quiet: list[NothingToDo] = []
        for name in models:
            try:
                reached = self.moment(until) or self._horizon(name)
                judged[name] = monitor.judge(self.project, name, until=reached, rebuild=rebuild, now=self.clock())
            except NothingToDo as error:  # one quiet model must not keep the others from being judged
                quiet.append(error)
            seen = self._today(name, until)
            if seen and name not in judged:
                judged[name] = monitor.Judged(windows=[], incidents=seen, built=0, notes=[quiet.pop().what])
            elif seen:
                known = {one.n: one for one in (*judged[name].incidents, *seen)}
                judged[name] = replace(judged[name], incidents=[known[n] for n in sorted(known)])
        counts = {name: len(judged[name].windows) if name in judged else 0 for name in models}
        told = alerts.after_monitor(self.project, counts, started=started, clock=self.clock)
        return Monitored(list(judged.values()), quiet, told.notes())

    def _today(self, name: str, until: datetime | str | None) -> list[Incident]:
        """Incidents of the day that is not finished, looked at as a server's watcher would have."""
        if not self.project.config.monitor.fast:
            return []
        from . import fast

        now = self.clock()
        reached = self.moment(until) or self._horizon(name) or now
        incidents = self.project.incidents(name)
        return [incidents.get(n) for n in fast.look_back(self.project, name, until=reached, now=now)]

    def _bring_in(self) -> None:
        """Closed segments of this machine's log into the store: where no server runs, nobody else does."""
        from . import labels, predictions
        from .serve.convert import main as convert

        folders = [self.project.spool(name) for name in self.project.config.models]
        if any(predictions.waiting(one) or labels.waiting(one) for one in folders):
            convert([str(self.project.root)])

    def _horizon(self, name: str) -> datetime | None:
        """Where an imported log ends, if that is before now."""
        from . import imports

        reached = imports.horizon(self.project, name)
        return None if reached is None else min(reached, self.clock())

    def note(self, text: str, *, source: str = "", at: datetime | str | None = None) -> datetime:
        """Put an event from outside on the time line: a deploy, a feed change."""
        from . import notes

        moment = self.moment(at) or self.clock()
        notes.add(self.project.store, text, source=source, at=moment, now=self.clock(), actor=who())
        return moment

    def doctor(self, *, alerts: bool = False) -> Checked:
        """Is the ground sound: environment, store, disk, newest event, where each setting comes from; with `alerts`, a
        marked message to every route.
        """
        from .doctor import doctor

        found = doctor(self.project, now=self.clock())
        if not alerts:
            return found
        from .alerts import trial

        return replace(found, checks=[*found.checks, *trial(self.project, clock=self.clock)])


def _from_here(table: str | None, project: Project) -> str | None:
    # A path typed on the command line is relative to where it is typed, a configured one to the project.
    if table is None or "://" in table or (table[:1] == "d" and table[1:].isdigit()):
        return table
    return str(Path(table).resolve())

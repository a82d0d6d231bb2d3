"""Is the ground sound? Each check is tried for real and comes with its fix."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from . import outbox, runs
from .config import secret
from .elsewhere import watchers
from .errors import MiddlewatchError
from .incidents import SERVER
from .times import iso

if TYPE_CHECKING:
    from .project import Project

Outcome = Literal["ok", "warn", "fail"]
LEAST_FREE = 1 << 30
RECENT = timedelta(days=1)
# Days looked at for the newest that was logged: a window may be in the middle of being written.
NEWEST = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing tried: `outcome`, what was seen, and what to do about it."""

    name: str
    outcome: Outcome
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "outcome": self.outcome, "detail": self.detail, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Checked:
    checks: Sequence[Check]
    settings: Sequence[tuple[str, str]]

    @property
    def ok(self) -> bool:
        return not any(one.outcome == "fail" for one in self.checks)

    def to_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "checks": [one.to_dict() for one in self.checks],
            "settings": [{"name": name, "from": origin} for name, origin in self.settings],
        }


def doctor(project: Project, *, now: datetime) -> Checked:
    """Try the environment, the store, the disk, each model's live version, journal and newest event."""
    found = [_environment(), *_store(project, now), _disk(project, now)]
    for name in project.config.models:
        found += _model(project, name, now)
        found += _watched(project, name, now)
    found += _alerts(project)
    for setting in project.config.idle():
        found.append(Check(name=setting, outcome="warn", detail="set, and nothing acts on it yet", fix="take it out"))
    return Checked(found, list(project.config.origins.items()))


def _environment() -> Check:
    decisive = ("middlewatch", "polars", "numpy", "lightgbm", "uvicorn", "obstore")
    versions = ", ".join(f"{one} {importlib.metadata.version(one)}" for one in decisive)
    return Check(name="environment", outcome="ok", detail=f"Python {platform.python_version()}; {versions}")


def _store(project: Project, now: datetime) -> list[Check]:
    try:
        project.store.probe()
        tried = f"_probe/{now:%Y%m%dT%H%M%S%f}"
        project.store.put_new(tried, b"")
        project.store.delete(tried)
        size = project.store.size("")
    except MiddlewatchError as error:
        return [Check(name="store", outcome="fail", detail=error.what, fix=error.fix)]
    return [Check(name="store", outcome="ok", detail=f"{project.store.url}: create-only holds, {size / 1e6:.1f} MB")]


def _disk(project: Project, now: datetime) -> Check:
    usage = shutil.disk_usage(project.root)
    writable = os.access(project.root, os.W_OK)
    if not writable:
        return Check(
            name="disk", outcome="fail", detail=f"{project.root} cannot be written", fix="chmod or chown the folder"
        )
    detail = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f}"
    said, soon = _filling(project, usage.free, now)
    detail += said
    if usage.free < LEAST_FREE or soon:
        return Check(
            name="disk", outcome="warn", detail=detail, fix="free some space, or shorten [store] keep_log_days"
        )
    return Check(name="disk", outcome="ok", detail=detail)


def _filling(project: Project, free: int, now: datetime) -> tuple[str, bool]:
    """In words, how far the log will grow and on which day the disk would be full; whether that is within 14 days.

    At the mean of the days that are kept; `keep_log_days` bounds it, as each run of the monitor deletes older ones.
    Says nothing of a store that is not on this disk, or without a log.
    """
    if project.store.root is None:
        return "", False
    size, days = 0, 0
    for name in project.config.models:
        partitions = project.store.folders(f"{name}/log")
        days = max(days, len(partitions))
        size += project.store.size(f"{name}/log/") if partitions else 0
    if not days or not size:
        return "", False
    a_day, keep = size / days, project.config.store.keep_log_days
    to_come = a_day * max(0, keep - days)
    if to_come < free:
        return f"; the log grows by {_bytes(a_day)} a day to at most {_bytes(size + to_come)} in {keep} days", False
    left = int(free / a_day)
    return f"; at {_bytes(a_day)} of log a day full on {now.date() + timedelta(days=left)}", left < 14


def _bytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _watched(project: Project, name: str, now: datetime) -> list[Check]:
    """What recorders in services of this machine have kept in a day, and the last row as it was understood."""
    told = watchers(project.spool(name))
    if not told:
        return []
    newest = told[0]
    recent = [one for one in told if now - datetime.fromisoformat(one["at"]) < RECENT] or [newest]
    sums = {word: sum(int(one[word]) for one in recent) for word in ("kept", "refused", "unread", "dropped")}
    several = f" and {len(recent) - 1} more processes" if len(recent) > 1 else ""
    detail = f"{newest['server']}{several}, the last at {newest['at']}: {sums['kept']:,} kept"
    lost = {"refused": "of another kind", "unread": "not understood", "dropped": "dropped, the queue was full"}
    detail += "".join(f", {sums[one]:,} {words}" for one, words in lost.items() if sums[one])
    problem = next((str(one["problem"]) for one in recent if one["problem"]), "")
    if problem:
        detail += f" ({problem})"
    last = next((one["last"] for one in recent if one["last"] is not None), None)
    if last is not None:
        inputs = " ".join(f"{column}={value}" for column, value in last["inputs"].items())
        detail += f"; last: {inputs} -> {last['score']:.6g}{' ' + last['label'] if last['label'] else ''}"
        detail += f" from {last['caller'] or 'unknown'}"
        detail += f"; {', '.join(last['left_out'])} left out" if last["left_out"] else ""
    bad = bool(problem or sums["dropped"] or sums["unread"])
    fix = "docs/import.md: inputs, score and id say where they stand" if sums["unread"] else ""
    return [Check(name=f"{name}: watched service", outcome="warn" if bad else "ok", detail=detail, fix=fix)]


def _alerts(project: Project) -> list[Check]:
    """Who is told, what waits, what was given up, and the dead man's switch. Nothing is sent."""
    alerts = project.config.alerts
    named = [*dict.fromkeys([*alerts.to, *alerts.page_to])]
    unset = [one.removeprefix("env:") for one in named if secret(one) is None]
    checks = []
    if len(unset) == len(named):
        detail = "nobody is told of incidents" + (f": {', '.join(unset)} is not set here" if unset else "")
        checks.append(Check(name="alerts", outcome="warn", detail=detail, fix="docs/alerts.md"))
        return checks
    queue = outbox.counts(project.root)
    detail = f"{len(named) - len(unset)} of {len(named)} routes are set; {queue.waiting} messages wait"
    if queue.given_up or queue.problem:
        detail += f", {queue.given_up} were given up in 30 days; {queue.problem}"
    bad = bool(queue.given_up or queue.problem)
    fix = "middlewatch doctor --alerts tries every route" if bad else ""
    checks.append(Check(name="alerts", outcome="warn" if bad else "ok", detail=detail, fix=fix))
    if alerts.heartbeat and secret(alerts.heartbeat) is not None:
        last = queue.beat
        said = "not called yet" if last is None else f"called {last.at}" + ("" if last.ok else f": {last.error}")
        good = last is not None and last.ok
        checks.append(
            Check(name="dead man's switch", outcome="ok" if good else "warn", detail=said,
                  fix="" if good else "middlewatch monitor calls it")
        )  # fmt: skip
    return checks


def _model(project: Project, name: str, now: datetime) -> list[Check]:
    from . import model

    journal = project.journal(name)
    broken = journal.verify()
    checks = [Check(name=f"{name}: journal", outcome="fail", detail=one.message, fix=one.fix) for one in broken] or [
        Check(name=f"{name}: journal", outcome="ok", detail=f"{len(journal.entries())} entries, chain unbroken")
    ]
    if broken:
        return checks  # what is live cannot be told from a journal that is torn
    live = journal.live()
    if live is None:
        checks.append(
            Check(name=f"{name}: live", outcome="warn", detail="nothing is live", fix="middlewatch promote v1")
        )
    elif model.ours(live):
        try:
            model.predictor(project.store, model.load(project.store, name, live))
            checks.append(Check(name=f"{name}: live", outcome="ok", detail=f"{live} loads and answers its golden rows"))
        except MiddlewatchError as error:
            checks.append(
                Check(
                    name=f"{name}: live", outcome="fail", detail=f"{live}: {error.what}", fix=error.fix or "roll back"
                )
            )
    for one in project.incidents(name).active():
        if SERVER in one.columns:
            fix = f"middlewatch why {one.n}"
            checks.append(Check(name=f"{name}: servers", outcome="fail", detail=one.title, fix=fix))
    windows = project.windows(name)
    days = windows.summaries(since=windows.since(NEWEST))
    newest = next((one for one in reversed(days) if one["source"] == "log"), None)
    detail = f"newest judged day {newest['day']}, written {newest['written']}" if newest else "nothing judged yet"
    checks.append(
        Check(name=f"{name}: monitor", outcome="ok" if newest else "warn", detail=f"{detail} (now {iso(now)})",
              fix="" if newest else "middlewatch monitor")
    )  # fmt: skip
    checks.append(_fast(project, name))
    return checks


def _fast(project: Project, name: str) -> Check:
    """Whether what breaks at once would be told at once."""
    looked = runs.facts(project.store, name, by="fast")
    if not project.config.monitor.fast:
        detail, good = "off ([monitor] fast): what breaks is told when its day has ended", False
    elif not looked:
        detail, good = "no server has watched yet: it runs beside middlewatch serve", True
    elif looked["state"] == "learning":
        detail, good = f"learning from {looked['days']} days, 7 are needed; looked {looked['at']}", True
    else:
        detail, good = f"judges against {looked['days']} days; looked {looked['at']}", True
    return Check(
        name=f"{name}: fast channel",
        outcome="ok" if good else "warn",
        detail=detail,
        fix="" if good else "fast = true under [monitor]",
    )

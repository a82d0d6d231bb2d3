"""The night, step by step. Every step is a public command in a process of its own, or an HTTP request."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

import middlewatch.demo.faults as faults

from .. import flights
from ..errors import MiddlewatchError, UsageError
from .client import Replayed, replay

MODEL = "delay"
FIRST_DATA = date(2013, 3, 1)  # v1 learns what flew before
SPRING = date(2013, 4, 1)  # v2 learns what flew since this day: 98 days, more than the monitor needs to be firm,
SECOND_DATA = date(2013, 7, 8)  # and before this one
CLEAN_DAYS = 3
FAULTY_DAYS = 2

Say = Callable[[str], None]


@dataclass(slots=True)
class Night:
    """One night in a project folder: what was done, how long it took, what was answered."""

    folder: Path
    say: Say
    table: pl.DataFrame
    steps: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def step(self, name: str, said: str, seconds: float, **facts: Any) -> None:
        """Note one step and say it in one line."""
        self.steps.append({"name": name, "said": said, "seconds": round(seconds, 2), **facts})
        self.say(f"{seconds:5.1f} s  {name:<10} {said}")

    def run(self, *words: str, expect: tuple[int, ...] = (0,)) -> tuple[dict[str, Any], float]:
        """A public command with --json. Raises MiddlewatchError where it exits otherwise than expected."""
        command = [sys.executable, "-m", "middlewatch", *words, "--project", str(self.folder), "--json"]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, timeout=300, check=False)
        seconds = time.perf_counter() - started
        if done.returncode not in expect:
            raise MiddlewatchError(
                f"the demo's step failed: middlewatch {' '.join(words)}",
                where=f"exit code {done.returncode}, in {self.folder}",
                why=(done.stderr or done.stdout).strip()[-800:],
            )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer, seconds

    def source(self, first: date, until: date) -> int:
        """What the warehouse holds of some days: the source table that training reads."""
        kept = self.between(first, until)
        part = self.folder / "flights.parquet.part"
        kept.write_parquet(part)
        part.replace(self.folder / "flights.parquet")
        return kept.height

    def between(self, first: date, until: date) -> pl.DataFrame:
        """Flights of the days from `first` up to `until`."""
        start, end = (datetime.combine(day, datetime.min.time(), tzinfo=UTC) for day in (first, until))
        return self.table.filter(pl.col("departs").is_between(start, end, closed="left"))

    def requests(self, first: date, days: int) -> Iterator[dict[str, Any]]:
        """What a client sends for each flight of some days: the features, its key and its event time."""
        rows = self.between(first, first + timedelta(days=days))
        columns = ["flight_id", "departs", *flights.FEATURES]
        for row in rows.select(columns).iter_rows(named=True):
            yield {**row, "departs": row["departs"].isoformat()}

    def replay(self, first: date, days: int, change: faults.Change | None = None) -> tuple[Replayed, float]:
        """Send some days of traffic, changed by a fault where one is given."""
        started = time.perf_counter()
        requests = self.requests(first, days)
        done = replay(self.url, MODEL, map(change, requests) if change else requests)
        return done, time.perf_counter() - started


def play(
    *,
    fault: str = "celsius",
    column: str | None = None,
    factor: float | None = None,
    offset: float | None = None,
    fast: bool = False,
    keep: Path | None = None,
    say: Say = lambda line: None,
    stay: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Play the night and return its facts: steps, what was planted, what `why` answered, seconds, memory.

    `fast` leaves out the second story (a wrong release). `keep` names the project folder, which stays;
    else it is a temporary one. `stay` is called with the page's address before the server is stopped.
    """
    started = time.perf_counter()
    numbers = [one for one in flights.FEATURES if one not in ("carrier", "origin", "dest")]
    planted = faults.build(
        fault, numbers=numbers, texts=["carrier", "origin", "dest"], column=column, factor=factor, offset=offset
    )
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", fix="--keep a new folder")
    folder = keep or Path(tempfile.mkdtemp(prefix="middlewatch-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        night = Night(folder, say, flights.load())
        _before(night)
        with _serving(night):
            answers = _story(night, planted)
            if not fast and planted.change is not None:
                answers["release"] = _wrong_release(night, day=_after(night))
            page = _page(night)
            if stay is not None:
                stay(night.url)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - started
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    memory = max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024
    say(f"{seconds:5.1f} s  the night is over; largest process {memory:,.0f} MB")
    return {
        "planted": {"fault": planted.name, "says": planted.says, "column": planted.column, **planted.settings},
        "why": answers,
        "steps": night.steps,
        "page_bytes": page,
        "seconds": round(seconds, 1),
        "memory_mb": round(memory),
        "folder": str(keep) if keep else None,
    }


def _before(night: Night) -> None:
    """Two trainings and a release: what stood before the night began."""
    rows = night.source(date(2013, 1, 1), FIRST_DATA)
    words = ("init", "flights.parquet", "--target", "late", "--time", "departs", "--key", "flight_id")
    started, seconds = _init(night, words)
    night.step("init", f"{rows:,} flights until {FIRST_DATA}: schema of {len(started['columns'])} columns", seconds)
    trained, seconds = night.run("train")
    night.step("train", _worth(trained), seconds)
    _, seconds = night.run("promote", trained["version"])
    night.step("promote", f"{trained['version']} is live", seconds)
    rows = night.source(SPRING, SECOND_DATA)
    retrained, seconds = night.run("retrain")
    night.step(
        "retrain",
        f"{rows:,} flights from {SPRING} to {SECOND_DATA}: {_worth(retrained)}, {retrained['decision']}",
        seconds,
    )
    _, seconds = night.run("promote", retrained["version"])
    night.step("promote", f"{retrained['version']} is live", seconds)


def _init(night: Night, words: tuple[str, ...]) -> tuple[dict[str, Any], float]:
    answer, seconds = night.run(*words, "--name", MODEL, "--dir", str(night.folder))
    # A person would drop the target's own source here: minutes late are known only after the flight.
    path = night.folder / f"{MODEL}.schema.toml"
    text = path.read_text(encoding="utf-8")
    block = "[columns.arr_delay]\n"
    if block in text and 'role = "ignored"' not in text.split(block)[1].split("[columns.")[0]:
        path.write_text(text.replace(block, block + 'role = "ignored"\n'), encoding="utf-8")
    return answer, seconds


def _worth(trained: dict[str, Any]) -> str:
    auc = trained["metrics"]["auc"]
    return (
        f"{trained['version']} from {trained['data']}: AUC {auc['value']:.3f} on {trained['holdout_rows']:,} later rows"
    )


@contextmanager
def _serving(night: Night) -> Iterator[None]:
    """`middlewatch serve` as a process of its own, stopped by a signal at the end."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "middlewatch", "serve", "--port", "0", "--project", str(night.folder), "--json"]
    log = (night.folder / "serve.log").open("w", encoding="utf-8")
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=night.folder)
    try:
        line = server.stdout.readline() if server.stdout else ""
        if not line:
            raise MiddlewatchError("the server did not start", why=(night.folder / "serve.log").read_text()[-800:])
        facts = json.loads(line)
        night.url = facts["url"]
        night.step("serve", f"{facts['models'][MODEL]} answers on {night.url}", time.perf_counter() - started)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def _story(night: Night, planted: faults.Fault) -> dict[str, Any]:
    """Clean days, the change upstream, the alarm, the cause, whether rolling back helps, and the mending."""
    sent, seconds = night.replay(SECOND_DATA, CLEAN_DAYS)
    night.step("traffic", f"{sent.answered:,} flights of {CLEAN_DAYS} days, one request each", seconds)
    first = SECOND_DATA + timedelta(days=CLEAN_DAYS)
    judged, seconds = night.run("monitor", "--until", str(first), expect=(0, 1))
    night.step("monitor", _judged(judged), seconds)
    if planted.change is None:
        return {"release": _wrong_release(night, day=first)}
    night.step("PLANTED", f"from {first}: {planted.says}", 0.0)
    sent, seconds = night.replay(first, FAULTY_DAYS, planted.change)
    refused = f", {sent.refused:,} refused" if sent.refused else ""
    night.step("traffic", f"{sent.answered:,} flights of {FAULTY_DAYS} days{refused}", seconds)
    mended = first + timedelta(days=FAULTY_DAYS)
    judged, seconds = night.run("monitor", "--until", str(mended), expect=(0, 1))
    night.step("ALARM" if judged["incidents"] else "no alarm", _judged(judged), seconds)
    answer, seconds = night.run("why", expect=(0, 1))
    night.step("WHY", _cause(answer), seconds)
    plan, seconds = night.run("rollback", "--dry-run")
    night.step("rollback?", (plan["replay"] or {}).get("verdict", "no word on whether it helps"), seconds)
    answers = {"upstream": answer, "rollback_dry_run": plan}
    if judged["incidents"]:
        _mend(night, judged["incidents"][0], answer, first, mended)
    return answers


def _mend(night: Night, incident: dict[str, Any], answer: dict[str, Any], first: date, mended: date) -> None:
    """The bad rows are marked, the feed is corrected, a retrain leaves them out and goes through its gate."""
    number = str(incident["n"])
    _, seconds = night.run("incidents", number, "mark-bad", "--since", str(first), "--until", str(mended))
    night.step("mark bad", f"rows from {first} up to {mended} are kept out of history and training", seconds)
    sent, seconds = night.replay(mended, 1)
    night.step("traffic", f"the feed is corrected: {sent.answered:,} flights of the next day", seconds)
    end = mended + timedelta(days=1)
    judged, seconds = night.run("monitor", "--until", str(end), expect=(0, 1))
    night.step("monitor", _judged(judged), seconds)
    cause = answer["causes"][0]["kind"] if answer["causes"] else "unknown"
    _, seconds = night.run("incidents", number, "resolve", "--cause", cause, "--confirmed")
    night.step("resolve", f"incident {number} closed, cause {cause} confirmed", seconds)
    night.source(SPRING, end)
    retrained, seconds = night.run("retrain", expect=(0, 1))
    left_out = sum(one["rows"] for one in retrained.get("left_out", []))
    passed = sum(1 for one in retrained["gate"] if one["ok"])
    night.step(
        "retrain",
        f"{_worth(retrained)}, {left_out:,} marked rows left out, gate {passed} of {len(retrained['gate'])}, "
        f"{retrained['decision']}",
        seconds,
    )
    version = retrained["version"]
    # A gate that refuses is part of the story too: a person may overrule it, with a reason.
    forced = () if retrained["decision"] != "refused" else ("--force", "the demo shows a release")
    for words, said in (
        (("promote", version, *forced), f"{version} is live" + (", against its gate" if forced else "")),
        (("rollback", "--reason", "to show that it takes a second", "--yes"), "back on what was live before"),
        (("promote", version, *forced), f"{version} is live again"),
    ):
        _, seconds = night.run(*words)
        night.step(words[0], said, seconds)


def _after(night: Night) -> date:
    return SECOND_DATA + timedelta(days=CLEAN_DAYS + FAULTY_DAYS + 1)


def _wrong_release(night: Night, day: date) -> dict[str, Any]:
    """An old version goes live by mistake; the model is at fault, and rolling back is the right advice."""
    _, seconds = night.run("promote", "v1", "--force", "a slip of the hand")
    night.step("PLANTED", "v1, trained on the winter alone, is released by mistake", seconds)
    time.sleep(1.0)  # servers follow within a second
    sent, seconds = night.replay(day, 1)
    night.step(
        "traffic", f"{sent.answered:,} flights of a day, answered by {', '.join(sorted(sent.versions))}", seconds
    )
    judged, seconds = night.run("monitor", "--until", str(day + timedelta(days=1)), expect=(0, 1))
    night.step("ALARM" if judged["incidents"] else "no alarm", _judged(judged), seconds)
    answer, seconds = night.run("why", expect=(0, 1))
    night.step("WHY", _cause(answer), seconds)
    plan, seconds = night.run("rollback", "--dry-run")
    night.step("rollback?", (plan["replay"] or {}).get("verdict", "no word on whether it helps"), seconds)
    back, seconds = night.run("rollback", "--reason", "wrong release", "--yes")
    night.step("rollback", f"{back['live']} is live", seconds)
    return {"why": answer, "rollback_dry_run": plan}


def _page(night: Night) -> int:
    """Size of the home page, fetched as a browser would."""
    started = time.perf_counter()
    with urllib.request.urlopen(night.url + "/", timeout=20) as response:
        body = response.read()
    night.step("page", f"{night.url}/ shows it, {len(body) / 1000:.0f} kB", time.perf_counter() - started)
    return len(body)


def _judged(answer: dict[str, Any]) -> str:
    alarms = [one for one in answer["windows"] if one["alarm"]]
    if not alarms:
        return f"{len(answer['windows'])} windows judged, no alarm"
    top = alarms[-1]["top"][0]
    opened = ", ".join(f"incident {one['n']}" for one in answer["incidents"]) or "no incident"
    return f"{len(answer['windows'])} windows judged, {len(alarms)} alarm: {top['column']} {top['channel']} ({opened})"


def _cause(answer: dict[str, Any]) -> str:
    if not answer["causes"]:
        return "nothing unusual found"
    first = answer["causes"][0]
    where = first["column"] or ", ".join(first.get("columns") or ()) or "the model"
    since = str(first["since"])[:16]
    return f"{first['confidence']}: {where}: {first['kind']} ({first['form']}), {first['detail']}, since {since}"


def leave_open(url: str) -> None:
    """Keep the page up until a key or Ctrl-C, for people at a terminal."""
    print(f"the pages stay open at {url}/   press Enter to end", file=sys.stderr)
    try:
        input()
    except (EOFError, KeyboardInterrupt):
        return


def watched() -> bool:
    """True where a person sits at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")

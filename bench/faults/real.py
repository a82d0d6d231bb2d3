"""Faults through the real path: files, training, a server, its log, outcomes, the monitor, `why --json`.

Faults in rows go straight into the fingerprints as well, with the same model: both should name the same cause.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from faults import windows
from faults.nights import LIVE, PLANNED, STRICT, Night, nights
from faults.plays import renamed_caller
from faults.streams import Stream
from faults.windows import Outcome, Told
from middlewatch import fingerprints, replay
from middlewatch.project import Project

LEARN_DAYS, FIRST_DAYS, LOG_DAYS = 14, 4, 20
KNOWN_AFTER = timedelta(hours=6)
"""How long after its row an outcome is known."""
WITH_OUTCOMES = ("loans",)
"""Data sets whose outcomes are brought, late as they are."""
NOTHING = 5
"""The exit code where there is nothing to look at."""
NOTE = "booking deployed 3.2 of its pages"


@dataclass(frozen=True)
class Base:
    """A project that has trained on the first days of a stream and logged the next ones; `day` follows them."""

    folder: Path
    rows: pl.DataFrame
    day: datetime
    columns: tuple[str, ...]
    target: str
    labels: bool

    def of_day(self, after: int) -> pl.DataFrame:
        """The rows of a day after the logged ones (or before: below 0)."""
        start = self.day + timedelta(days=after)
        return self.rows.filter(pl.col("at").is_between(start, start + timedelta(days=1), closed="left"))


def run(folder: Path, *words: str) -> Any:
    """A command's JSON answer; its exit code may say that something is bad, or that there is nothing to look at."""
    done = subprocess.run(
        [sys.executable, "-m", "middlewatch", *words, "--json"], cwd=folder, capture_output=True, text=True
    )
    lines = done.stdout.strip().splitlines()
    answer = json.loads(lines[-1]) if lines and lines[-1].startswith(("{", "[")) else {"error": "no answer"}
    if "error" in answer and done.returncode != NOTHING:
        raise SystemExit(f"{' '.join(words)} failed: {done.stdout}{done.stderr}")
    return answer


def base(stream: Stream, folder: Path) -> Base:
    """Five versions (see `nights`), the second live, and twenty good days in the log."""
    columns = ("row", *stream.kinds, "at")
    rows = stream.rows.with_columns(
        pl.col("mw.time").alias("at"), pl.format("r{}", pl.int_range(pl.len())).alias("row")
    ).select(*columns, stream.target, "mw.time", "mw.caller", "mw.score")
    first = rows["at"].dt.truncate("1d")[0] + timedelta(days=1)
    rows = rows.filter(pl.col("at") >= first)
    learnt, day = first + timedelta(days=LEARN_DAYS), first + timedelta(days=LEARN_DAYS + LOG_DAYS)
    table = rows.filter(pl.col("at") < learnt).select(*columns, stream.target)
    table.write_parquet(folder / "train.parquet")
    table.filter(pl.col("at") < first + timedelta(days=FIRST_DAYS)).write_parquet(folder / "first.parquet")
    run(
        folder,
        "init",
        "train.parquet",
        "--target",
        stream.target,
        "--time",
        "at",
        "--key",
        "row",
        "--name",
        "m",
        "--yes",
    )
    run(folder, "train", "--data", "first.parquet", "--force", "bench")
    run(folder, "train", "--force", "bench")
    run(folder, "train", "--seed", "1", "--force", "bench")
    settings = folder / "middlewatch.toml"
    kept = settings.read_text(encoding="utf-8")
    line = f'target = "{stream.target}"'
    settings.write_text(kept.replace(line, f"{line}\nthreshold = 0.3", 1), encoding="utf-8")
    run(folder, "train", "--force", "bench")
    settings.write_text(kept, encoding="utf-8")
    run(folder, "train", "--data", "first.parquet", "--seed", "1", "--force", "bench")
    run(folder, "promote", LIVE, "--force", "bench")
    made = Base(folder, rows, day, columns, stream.target, stream.name in WITH_OUTCOMES)
    log(made, folder, rows.filter(pl.col("at").is_between(learnt, day, closed="left")))
    run(folder, "monitor", "--until", (day + timedelta(hours=2)).isoformat())
    for one in run(folder, "incidents").get("incidents", []):
        # An alarm by chance would take its days out of what is usual.
        run(folder, "incidents", str(one["n"]), "resolve", "--cause", "chance")
    return made


def log(made: Base, folder: Path, rows: pl.DataFrame) -> None:
    """Score and log rows in batches, each caller's by its name, and bring their outcomes."""
    for caller in rows["mw.caller"].unique(maintain_order=True):
        rows.filter(pl.col("mw.caller") == caller).select(made.columns).write_parquet(folder / "day.parquet")
        run(folder, "score", "day.parquet", "--log", "--out", "scored.parquet", "--caller", caller)
    if made.labels:
        tell(made, folder, rows)


def tell(made: Base, folder: Path, rows: pl.DataFrame) -> None:
    """Bring the outcomes of rows."""
    told = rows.select("row", made.target, (pl.col("at") + KNOWN_AFTER).alias("known"))
    if told.height:
        told.write_parquet(folder / "outcomes.parquet")
        run(folder, "import", "outcomes.parquet", "--labels", "--value", made.target, "--key", "row", "--time", "known")


@contextmanager
def serving(folder: Path, before: str = "") -> Iterator[http.client.HTTPConnection]:
    """A connection to a server of the project; `before` is run in its process first."""
    code = (
        f"import json\n{before}\nfrom middlewatch.project import Project\nfrom middlewatch.serve.run import serve\n"
        f"serve(Project.open({str(folder)!r}), host='127.0.0.1', port=0,"
        " announce=lambda facts: print(json.dumps(facts), flush=True))"
    )
    with (folder / "serve.log").open("ab") as errors:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise SystemExit((folder / "serve.log").read_text(encoding="utf-8"))
        address = urlsplit(json.loads(line)["url"])
        yield http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def send(servers: Sequence[http.client.HTTPConnection], made: Base, rows: pl.DataFrame, night: Night | None) -> None:
    """Each row as a request, to the servers by turns; refused ones are as good as answered."""
    for number, row in enumerate(rows.to_dicts()):
        caller = str(row["mw.caller"])
        body = {c: row[c] for c in made.columns}
        body["at"] = body["at"].isoformat()
        if night is not None and night.send is not None:
            body = night.send(body, caller)
        server = servers[number % len(servers)]
        server.request("POST", "/predict", json.dumps(body), {"x-middlewatch-caller": caller})
        answer = server.getresponse()
        said = answer.read()
        if answer.status >= 500:
            raise SystemExit(f"{answer.status}: {said.decode()}")


def follow(server: http.client.HTTPConnection, version: str) -> None:
    """Wait until the server has seen a release."""
    for _ in range(200):
        server.request("GET", "/readyz")
        if json.loads(server.getresponse().read())["models"]["m"]["version"] == version:
            return
        time.sleep(0.05)
    raise SystemExit(f"the server did not follow to {version}")


def play(made: Base, night: Night, folder: Path, *, noon: bool, innocent: str, seed: int) -> pl.DataFrame:
    """The night's day through one or two servers, with its outcomes; the rows as they were sent."""
    rng = np.random.default_rng(seed)
    day = made.of_day(0)
    start = int(day["at"].search_sorted(made.day + timedelta(hours=12))) if noon else 0
    broken = night.fault.play(day, np.arange(day.height) >= start, rng)
    onset = made.day + timedelta(hours=12 if noon else 0)
    if innocent == "a caller's deploy":
        broken = renamed_caller("app", "app/7.1")(broken, (broken["at"] >= onset).to_numpy(), rng)
    run(folder, "note", NOTE, "--at", onset.isoformat())
    good = broken.filter(pl.col("at") < onset)
    release = night.release or (PLANNED if innocent == "a release" else "")
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(folder))]
        if night.second:
            servers.append(stack.enter_context(serving(folder, night.second)))
        send(servers[:1], made, good, None)
        if release:
            if release == STRICT:
                settings = folder / "middlewatch.toml"
                line = f'target = "{made.target}"'
                settings.write_text(settings.read_text(encoding="utf-8").replace(line, f"{line}\nthreshold = 0.3", 1))
            run(folder, "promote", release, "--force", "bench", "--reason", "spring clean")
            follow(servers[0], release)
        send(servers, made, broken.filter(pl.col("at") >= onset), night)
    if made.labels:
        told = night.outcomes(broken, rng) if night.outcomes is not None else broken
        if night.outcomes is not None:
            log(made, folder, made.of_day(1))
        else:
            told = told.filter(pl.col("at") + KNOWN_AFTER <= made.day + timedelta(days=1))
        tell(made, folder, told)
    return broken


def straight(made: Base, folder: Path, broken: pl.DataFrame, truth: pl.DataFrame) -> tuple[str, bool]:
    """What the fingerprints say of the same rows without any project, and whether predictions moved."""
    replayer = replay.load(Project.open(folder), "m", LIVE)
    kinds = {c.name: c.kind for c in replayer.version.schema.features}
    scored = [one.with_columns(pl.Series("mw.score", replayer.shown(one))) for one in [broken, truth]]
    past = [made.of_day(-k) for k in range(1, 29)]
    history = [one.with_columns(pl.Series("mw.score", replayer.shown(one))) for one in past]
    binary = replayer.version.task == "binary"
    threshold = replayer.version.threshold if binary else None
    case = fingerprints.Case(scored[0], fingerprints.History(history, kinds), replayer.scores, threshold)
    spread = float(pl.concat(history)["mw.score"].std() or 0.0)  # type: ignore[arg-type]
    moved = windows.moved(scored[1], scored[0], truth.height, threshold, spread)
    found = fingerprints.search(case).causes
    return (f"{found[0].kind}/{found[0].form} {found[0].column}" if found else "nothing"), moved


def told_of(cause: dict[str, Any]) -> Told:
    """A cause of the JSON answer."""
    named = next(iter((cause["slice"] or {}).items()), None)
    if named is not None and named[0] in ("caller", "version", "server"):
        named = (f"mw.{named[0]}", named[1])
    since = datetime.fromisoformat(cause["since"]) if cause["since"] else None
    columns = tuple(cause["columns"])
    return Told(
        cause["kind"], cause["form"], columns, cause["confidence"], named, since, cause["undo_proved"], cause["detail"]
    )


def judge(made: Base, data: str, night: Night, number: int, seed: int) -> tuple[Outcome, bool | None]:
    """One night played and judged; and whether the fingerprints alone say the same (None: not asked)."""
    noon = bool(number % 2) and night.outcomes is None
    innocent = ("a caller's deploy", "a release", "a note")[number % 3]
    if (night.release or night.second or night.fault.slice) and innocent != "a note":
        innocent = "a note" if night.release or night.second else "a release"
    fault = night.fault
    size = made.of_day(0).height // (2 if noon else 1)
    outcome = Outcome(data, night.idea, night.strength, size, "noon" if noon else "start", fault.name)
    outcome.expected, outcome.innocent, outcome.every = fault.kinds[0], innocent, fault.every
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(made.folder, Path(place) / "project"))
        broken = play(made, night, folder, noon=noon, innocent=innocent, seed=seed)
        until = (made.day + timedelta(days=1)).isoformat()
        later = made.day + timedelta(days=1, hours=2)  # when no rows of the day are waited for any more
        alarmed = run(folder, "monitor", "--until", later.isoformat()).get("incidents")
        begun = os.times().children_user
        # As whoever is paged asks: about the incident, or where none was opened about the day.
        answer = run(folder, "why", *(() if alarmed else ("--since", made.day.isoformat(), "--until", until)))
        outcome.seconds = os.times().children_user - begun
        told = [told_of(one) for one in answer.get("causes", [])]
        rows_alone = not (night.send or night.release or night.second or night.outcomes)
        same = None
        if rows_alone and not night.quiet and fault.kinds[0] != "rows/volume" and broken.height:
            truth = made.of_day(0)
            other, moved = straight(made, folder, broken, truth)
            outcome.matters = moved if broken.height == truth.height else True
            same = other == (
                f"{told[0].kind}/{told[0].form} {next(iter(told[0].columns), None)}" if told else "nothing"
            )
    outcome.said = "; ".join(str(one) for one in told) or "nothing"
    if night.quiet:
        named = [one for one in told if one.kind != "drift"]
        outcome.blamed, outcome.more = bool(named), len(told) - len(named)
        if told:
            outcome.got, outcome.confidence = f"{told[0].kind}/{told[0].form}", told[0].confidence
        return outcome, same
    outcome.blamed = any(not set(one.columns) & set(fault.columns) for one in told)
    outcome.framed = any(
        (one.kind in ("release", "environment") and not fault.kinds[0].startswith(("release", "environment")))
        or one.slice in (("mw.caller", "app/7.1"), ("mw.version", PLANNED))
        for one in told
    )
    if told:
        times = broken["at"].sort()
        windows.grade(outcome, fault, told, times, made.day + timedelta(hours=12) if noon else None)
    return outcome, same


def main(streams: dict[str, Stream], only: list[str], seed: int) -> Iterator[Outcome]:
    """Every night of `nights` on each data set."""
    for name, stream in streams.items():
        agree = total = 0
        with tempfile.TemporaryDirectory() as place:
            made = base(stream, Path(place))
            for number, night in enumerate(nights(stream, seed, only, labels=made.labels)):
                outcome, same = judge(made, name, night, number, seed)
                agree, total = agree + bool(same), total + (same is not None)
                yield outcome
        print(f"{name}: the fingerprints alone say the same in {agree} of {total}", flush=True)

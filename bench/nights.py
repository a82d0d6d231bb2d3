"""The three nights and the two comparisons of docs/why.md, on the flights of the demo, as the terminal shows them.

A client of two sends another unit; a wrong release; a lost region with outcomes that stay away; then two copies of a
project, one of which runs elsewhere and is sent another unit. All through public commands and a server.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from middlewatch import flights

MODEL = "delay"
WINTER, SPRING, SUMMER = (datetime(2013, month, day, tzinfo=UTC) for month, day in [(1, 1), (3, 18), (7, 8)])
NIGHT = datetime(2013, 8, 6, tzinfo=UTC)
KNOWN_AFTER = timedelta(hours=6)
"""How long after its departure an airline reports whether a flight was late."""
SETTLED = timedelta(hours=2)
"""After the end of a day: when no rows of it are waited for any more."""
BILLING, BOOKING = "billing-api/4.1", "booking/3.1"
Body = dict[str, Any]
Change = Callable[[Body], Body]
CALLER = pl.when(pl.col("departs").dt.minute() % 3 > 0).then(pl.lit(BILLING)).otherwise(pl.lit(BOOKING))
"""Two clients, one with two of three flights."""


def days(table: pl.DataFrame, first: datetime, count: int = 1) -> pl.DataFrame:
    """Flights of some days."""
    return table.filter(pl.col("departs").is_between(first, first + timedelta(days=count), closed="left"))


def command(folder: Path, *words: str) -> str:
    """What a command prints; that something was found (1) is no failure."""
    done = subprocess.run([sys.executable, "-m", "middlewatch", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode > 1:
        raise SystemExit(f"{' '.join(words)} failed: {done.stdout}{done.stderr}")
    return done.stdout


def show(folder: Path, *words: str) -> None:
    """A command and its text, as in the docs."""
    print(f"$ middlewatch {' '.join(words)}\n{command(folder, *words)}", flush=True)


def learn(folder: Path, table: pl.DataFrame, version: str, *more: str) -> None:
    """Train a version on a table."""
    table.write_parquet(folder / "flights.parquet")
    command(folder, "train", "--force", "of this bench", *more)
    print(f"trained {version} on {table.height:,} flights", file=sys.stderr, flush=True)


def log(folder: Path, table: pl.DataFrame, outcomes: pl.DataFrame | None = None) -> None:
    """Score and log flights under the names of their callers; bring the outcomes (default: of all of them)."""
    for caller in (BILLING, BOOKING):
        rows = table.filter(caller == CALLER)
        rows.select("flight_id", "departs", *flights.FEATURES).write_parquet(folder / "day.parquet")
        command(folder, "score", "day.parquet", "--log", "--out", "scored.parquet", "--caller", caller)
    tell(folder, table if outcomes is None else outcomes)


def tell(folder: Path, outcomes: pl.DataFrame) -> None:
    """Bring the outcomes of flights."""
    told = outcomes.select("flight_id", "late", known=pl.col("departs") + KNOWN_AFTER)
    told.write_parquet(folder / "known.parquet")
    keys = ("--value", "late", "--key", "flight_id", "--time", "known")
    command(folder, "import", "known.parquet", "--labels", *keys)


def judge(folder: Path, until: datetime) -> None:
    """Let the monitor judge all that is over by then."""
    command(folder, "monitor", "--until", (until + SETTLED).isoformat())


@contextmanager
def serving(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a server of the project, in an environment of its own."""
    with (folder / "serve.log").open("w", encoding="utf-8") as errors:
        server = subprocess.Popen(
            [sys.executable, "-m", "middlewatch", "serve", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env={**os.environ, **(environment or {})},
        )
    try:
        line = server.stdout.readline() if server.stdout else ""
        if not line:
            raise SystemExit((folder / "serve.log").read_text(encoding="utf-8"))
        yield json.loads(line)["url"]
    finally:
        server.terminate()
        server.wait(30)


def send(url: str, table: pl.DataFrame, change: Mapping[str, tuple[str, Change]] | None = None) -> None:
    """Each flight as a request; `change`: by caller, the name that it has now and what it makes of a request."""
    address = urlsplit(url)
    server = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    sent = table.select("flight_id", "departs", *flights.FEATURES, CALLER.alias("caller"))
    for row in sent.iter_rows(named=True):
        caller = row.pop("caller")
        caller, changed = (change or {}).get(caller, (caller, dict))
        body = changed({**row, "departs": row["departs"].isoformat()})
        server.request("POST", f"/models/{MODEL}/predict", json.dumps(body), {"x-middlewatch-caller": caller})
        answer = server.getresponse()
        if answer.read() and answer.status >= 500:
            raise SystemExit(f"{body}: {answer.status}")
    server.close()


def celsius(body: Body) -> Body:
    """`temp` as a client without the British units sends it."""
    return {**body, "temp": body["temp"] and round((body["temp"] - 32) / 1.8, 1)}


def build(folder: Path, table: pl.DataFrame) -> None:
    """v1 of the winter, never live; v2 of the spring, live for four weeks; v3, which has learnt those as well."""
    table.filter(pl.col("departs") < SPRING).write_parquet(folder / "flights.parquet")
    keys = ("--target", "late", "--time", "departs", "--key", "flight_id", "--role", "arr_delay=ignored")
    command(folder, "init", "flights.parquet", *keys, "--name", MODEL, "--yes")
    learn(folder, table.filter(pl.col("departs") < SPRING), "v1")
    spring = table.filter(pl.col("departs") >= SPRING)
    learn(folder, spring.filter(pl.col("departs") < SUMMER), "v2")
    command(folder, "promote", "v2", "--force", "of this bench")
    log(folder, days(spring, SUMMER, (NIGHT - SUMMER).days))
    judge(folder, NIGHT)
    for one in json.loads(command(folder, "incidents", "--json")).get("incidents", []):
        # July is hotter and stormier than the spring that v2 learnt: somebody looked, and closed it.
        print(f"closed before the nights: {one['title']}", file=sys.stderr, flush=True)
        command(folder, "incidents", str(one["n"]), "resolve", "--cause", "summer weather")
    learn(folder, spring.filter(pl.col("departs") < NIGHT), "v3")


def other_unit(folder: Path, table: pl.DataFrame) -> None:
    """One client of two sends °C from the hour on at which a release and another client's deploy are told."""
    command(folder, "promote", "v3", "--reason", "a planned release", "--force", "of this bench")
    command(folder, "note", "booking deployed 3.2 of its pages", "--at", (NIGHT - SETTLED).isoformat())
    with serving(folder) as url:
        send(url, days(table, NIGHT, 2), {BILLING: ("billing-api/4.2", celsius), BOOKING: ("booking/3.2", dict)})
    tell(folder, days(table, NIGHT, 2).filter(pl.col("departs") + KNOWN_AFTER <= NIGHT + timedelta(days=2)))
    judge(folder, NIGHT + timedelta(days=2))
    show(folder, "why")


def wrong_release(folder: Path, table: pl.DataFrame) -> None:
    """v3 answers for a day, then v1 is made live."""
    command(folder, "promote", "v3", "--reason", "a planned release", "--force", "of this bench")
    for day, slip in ((NIGHT, False), (NIGHT + timedelta(days=1), True)):
        if slip:
            command(folder, "promote", "v1", "--force", "a slip of the hand")
        with serving(folder) as url:
            send(url, days(table, day))
        tell(folder, days(table, day).filter(pl.col("departs") + KNOWN_AFTER <= day + timedelta(days=1)))
        judge(folder, day + timedelta(days=1))
    show(folder, "why")


def lost_region(folder: Path, table: pl.DataFrame) -> None:
    """No flights from EWR for two days, and no outcomes of JFK."""
    command(folder, "promote", "v3", "--reason", "a planned release", "--force", "of this bench")
    left = days(table, NIGHT, 2).filter(pl.col("origin") != "EWR")
    now = NIGHT + timedelta(days=2)
    known = left.filter((pl.col("origin") != "JFK") & (pl.col("departs") + KNOWN_AFTER <= now))
    log(folder, left, known)
    judge(folder, now)
    show(folder, "why")


def comparisons(folder: Path, table: pl.DataFrame) -> None:
    """Two copies: the other one's server has another zone and locale; then it is sent °C."""
    prod = Path(shutil.copytree(folder, folder / "prod"))
    with serving(folder) as url:
        send(url, days(table, NIGHT))
    with serving(prod, {"TZ": "Asia/Tokyo", "LC_ALL": "C"}) as url:
        show(folder, "compare", "live", url)
        send(url, days(table, NIGHT), {BILLING: (BILLING, celsius), BOOKING: (BOOKING, celsius)})
    show(folder, "compare", "live", "prod#live")


def main() -> None:
    """Each night in a copy of the same project."""
    table = flights.load()
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place:
        (base := Path(place) / "base").mkdir()
        build(base, table)
        for night in (other_unit, wrong_release, lost_region, comparisons):
            if not wanted or night.__name__ in wanted:
                print(f"# {(night.__doc__ or '').strip()}", flush=True)
                night(Path(shutil.copytree(base, Path(place) / night.__name__)), table)


if __name__ == "__main__":
    main()

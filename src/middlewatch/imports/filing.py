"""Rows of a log into the store, those that are not there yet; and in the journal, which version answers elsewhere."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from middlewatch import predictions
from middlewatch.elsewhere import declare
from middlewatch.errors import Refused
from middlewatch.following import newest
from middlewatch.model import ours
from middlewatch.observations import observe

from .answers import Answers
from .reading import MOMENT, no_future_score

if TYPE_CHECKING:
    from middlewatch.project import Project
    from middlewatch.schema import Schema

CALLER = "import"
SERVER = "import-"
COVERED = 0.5
"""Share of rows that have time and score of filed ones, and other content, from which they are taken for the same."""


def observations(
    typed: pl.DataFrame,
    schema: Schema,
    found: Answers,
    *,
    ids: pl.Series,
    times: pl.Series,
    versions: pl.Series,
    callers: pl.Series | None,
) -> pl.DataFrame:
    """The rows as predictions, by event time, each id once."""
    seen = observe(typed, schema, found.predicted, version=None, caller=CALLER, received=None)
    seen = seen.with_columns(ids.alias("mw.id"), times.alias("mw.time"), versions.alias("mw.version"))
    if callers is not None:
        seen = seen.with_columns(callers.fill_null(CALLER).alias("mw.caller"))
    return seen.unique("mw.id", keep="first", maintain_order=True).sort("mw.time", maintain_order=True)


@contextmanager
def alone(project: Project) -> Iterator[None]:
    """One import at a time on this machine: the next one sees what the one before has filed."""
    folder = project.root / ".middlewatch" / "spool"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "import.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fresh(project: Project, name: str, rows: pl.DataFrame, *, given: bool) -> pl.DataFrame:
    """Those of the rows that are not in the log yet. `given` says that the ids are the service's own.

    Ids of our own hold the time, so only what is filed of the rows' dates is read; a given id may be filed with another
    time, which is refused: it is looked for in the whole log. Raises Refused where rows are in the log in other words:
    filed again, they would count twice.
    """
    if not rows.height:
        return rows
    since, until = (None, None) if given else (rows["mw.time"][0], rows["mw.time"][-1] + timedelta(microseconds=1))
    wanted = ["mw.id", "mw.time", "mw.score"]
    log = predictions.scan(project.store, project.spool(name), name, since=since, until=until, columns=wanted)
    if given:
        log = log.join(rows.lazy().select("mw.id"), on="mw.id", how="semi")
    known = log.collect()
    new = rows.join(known, on="mw.id", how="anti", maintain_order="left")
    if given:
        no_future_score(known, rows.select("mw.id", "mw.time", "mw.score"))
        return new
    if new.height < rows.height:
        return new  # rows are known again, so they are written as they were
    twice = new.join(known.select("mw.time", "mw.score").unique(), on=["mw.time", "mw.score"], how="semi")
    if twice.height > COVERED * new.height:
        raise Refused(
            f"{twice.height:,} of {new.height:,} new rows have the time and score of rows that are filed, "
            "and other cells; nothing was kept",
            why="columns were added, taken out or written in another way since, or times are too coarse",
            fix="--id COL tells rows apart by the service's own id",
        )
    return new


def file(project: Project, name: str, rows: pl.DataFrame, *, now: datetime) -> int:
    """Log the rows. They are received now, in the order they happened, so that what is newest is found last.

    Files are named by the rows' ids: two machines that bring the same rows at once write the same files, once.
    """
    if not rows.height:
        return 0
    start = now - timedelta(microseconds=rows.height)
    received = (pl.lit(start, dtype=MOMENT) + pl.duration(microseconds=pl.int_range(pl.len()))).alias("mw.received")
    token = hashlib.sha256("\n".join(rows["mw.id"]).encode()).hexdigest()[:16]
    filed = rows.with_columns(received.cast(MOMENT), pl.lit(SERVER + token).alias("mw.server"))
    return predictions.write_batch(project.store, name, filed, token=token)


def horizon(project: Project, name: str) -> datetime | None:
    """Up to when an imported log may be judged: its newest event, and the grace that late rows have.

    A day that the log breaks off in is half a day of traffic, and no fault. None where the newest row was not imported.
    """
    live = project.journal(name).live()
    if live is None or ours(live):
        return None
    found = newest(project.store, project.spool(name), name)
    return found[0] + project.config.monitor.grace if found is not None and found[1].startswith(SERVER) else None


def enter(project: Project, name: str, rows: pl.DataFrame, *, now: datetime, actor: str) -> str | None:
    """Journal versions that are new, from their first row on; the one of the newest row of all is live."""
    if not rows.height:
        return project.journal(name).live()
    first = rows.group_by("mw.version").agg(pl.col("mw.time").min()).sort("mw.time", "mw.version")
    answers = rows["mw.version"][-1]
    last = rows["mw.time"][-1]

    def append(version: str, at: datetime) -> None:
        declare(project.journal(name), version, at=at, now=now, actor=actor, reason="seen in an imported log")

    entered = {one.version: one for one in project.journal(name).entries()}
    for version, at in first.iter_rows():
        if version not in entered:
            append(version, at)
    latest = newest(project.store, project.spool(name), name)
    if latest is None or last >= latest[0]:
        append(answers, rows.filter(pl.col("mw.version") == answers)["mw.time"].min())  # type: ignore[arg-type]
    return project.journal(name).live()


def check_live(project: Project, name: str) -> None:
    """Raise Refused for a model that is served from here: its own log is kept already."""
    live = project.journal(name).live()
    if live is not None and ours(live):
        raise Refused(
            f"{name} answers with {live}, which is ours: its log is kept by middlewatch serve",
            fix="--name ANOTHER watches another service beside it",
        )

"""From logged rows to windows: every finished day whose rows are not yet in a window, or that has more of them now.

A day is made anew, as a further revision, when rows of it came late: then only that day is read again. The log only
grows until it expires, so how many rows a day has tells whether its window holds them all; a day of which the log
has fewer than its window is past its retention, and its window stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import polars as pl

from . import predictions
from .lenses import lenses
from .profiles import spec_of
from .times import day_bounds, iso
from .windows import Cut, Windows, cut

if TYPE_CHECKING:
    from .predictions import Live
    from .profiles import ProfileSpec
    from .project import Project

# Rows read at once while many days are made.
CHUNK = 400_000
# Rows of a day that was not finished at the last run may have been received before the newest row of one that was.
SLACK = timedelta(days=1)
# What no window keeps: the requests as they came would be half of all that is read.
UNREAD = ("mw.raw", "mw.latency_us")


@dataclass(slots=True)
class _Known:
    """What the stored summaries of logged days say."""

    days: dict[date, Mapping[str, Any]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    newest: datetime | None = None


def build(project: Project, name: str, *, until: datetime, now: datetime, rebuild: bool = False) -> list[date]:
    """Put windows for finished days whose logged rows are new or changed; returns the days, in order.

    A day is finished when it ends at or before `until` and its grace for late rows has passed at `now`.
    `rebuild` makes every day anew whose rows are still in the log.
    """
    windows = project.windows(name)
    known = _known(windows)
    files = {key for stream in ("log", "refused") for key in project.store.list(f"{name}/{stream}/")}
    since = None if rebuild else _since(files - known.files, known)
    schema = project.schema(name)
    spec = spec_of(schema, roles=("feature",), score=True, label=schema.task == "multiclass")
    spool = project.spool(name)
    # Segments are decoded once; one that is converted meanwhile counts as the file that it became.
    log = _Log(project, name, predictions.live(spool))
    seen = log.by_day(since=since, by="received")
    turned_away = predictions.read_refused(project.store, spool, name, since=since)
    days = _finished(project, [*seen, *_by_day(turned_away, project)], until=until, now=now)
    changed = [day for day in days if _differs(log, seen, day, known.days.get(day), since, rebuild=rebuild)]
    for chunk in _chunks(changed, seen):
        _put(log, windows, spec, chunk, now=now, files=sorted(files - known.files))
        known.files |= files
    return changed


@dataclass(frozen=True, slots=True)
class _Log:
    """The log of one model, with the segments that were not in the store when the run began."""

    project: Project
    name: str
    live: Sequence[Live]

    def scan(self, *, since: datetime | None, until: datetime | None = None, by: predictions.By) -> pl.LazyFrame:
        return predictions.scan(self.project.store, self.live, self.name, since=since, until=until, by=by)

    def by_day(self, *, since: datetime | None, until: datetime | None = None, by: predictions.By) -> dict[date, int]:
        """Rows by local day."""
        return _counted(self.scan(since=since, until=until, by=by).select("mw.time", "mw.received"), self.project)


def _known(windows: Windows) -> _Known:
    known = _Known()
    for summary in windows.summaries():
        if summary["source"] != "log":
            continue
        known.days[date.fromisoformat(summary["day"])] = summary
        known.files.update(summary.get("files", ()))
        if received := summary.get("received"):
            newest = datetime.fromisoformat(received[1])
            known.newest = newest if known.newest is None else max(known.newest, newest)
    return known


def _since(fresh: Iterable[str], known: _Known) -> datetime | None:
    """From which received time on a row may be new: the oldest file not yet held, or the newest row held."""
    if known.newest is None:
        return None
    partitions = [part.removeprefix("dt=") for key in fresh for part in key.split("/") if part.startswith("dt=")]
    oldest = [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in partitions]
    return min([*oldest, known.newest - SLACK])


def _local_day(project: Project) -> pl.Expr:
    return pl.coalesce("mw.time", "mw.received").dt.convert_time_zone(str(project.zone)).dt.date()


def _counted(frame: pl.LazyFrame, project: Project) -> dict[date, int]:
    counted = frame.group_by(_local_day(project).alias("day")).len().drop_nulls("day").collect()
    return dict(zip(counted["day"].to_list(), counted["len"].to_list(), strict=True))


def _by_day(frame: pl.DataFrame, project: Project) -> dict[date, pl.DataFrame]:
    """Rows by local day."""
    parts = frame.with_columns(_local_day(project).alias("_day")).partition_by("_day", as_dict=True)
    return {day: rows for (day,), rows in parts.items() if day is not None}


def _finished(project: Project, days: Iterable[date], *, until: datetime, now: datetime) -> list[date]:
    grace = project.config.monitor.grace
    ends = {day: day_bounds(day, project.zone)[1] for day in set(days)}
    return sorted(day for day, end in ends.items() if end <= until and end + grace <= now)


def _differs(
    log: _Log,
    seen: Mapping[date, int],
    day: date,
    held: Mapping[str, Any] | None,
    since: datetime | None,
    *,
    rebuild: bool,
) -> bool:
    """Whether the log has rows of the day that its newest window lacks."""
    if held is None:
        return True
    received = held.get("received")
    if since is None or (received and datetime.fromisoformat(received[0]) >= since):
        rows = seen.get(day, 0)
    else:
        start, end = day_bounds(day, log.project.zone)
        rows = log.by_day(since=start, until=end, by="time").get(day, 0)
    return rows > held["rows"] or (rebuild and rows == held["rows"])


def _chunks(days: Sequence[date], sizes: Mapping[date, int]) -> Iterator[list[date]]:
    """Days with no others between them that are read at once, a limited number of rows."""
    chunk: list[date] = []
    rows = 0
    for day in days:
        size = sizes.get(day, 0)
        if chunk and (day - chunk[-1] != timedelta(days=1) or rows + size > CHUNK):
            yield chunk
            chunk, rows = [], 0
        chunk.append(day)
        rows += size
    if chunk:
        yield chunk


def _put(
    log: _Log, windows: Windows, spec: ProfileSpec, days: Sequence[date], *, now: datetime, files: list[str]
) -> None:
    """Write the windows of consecutive days. The new files are named by the first one."""
    zone = log.project.zone
    since, until = day_bounds(days[0], zone)[0], day_bounds(days[-1], zone)[1]
    rows = log.scan(since=since, until=until, by="time").drop(UNREAD, strict=False)
    cuts = cut(rows.collect(), spec, zone=zone, lenses=lenses(log.project, log.name))
    # A refused request is received at or after the time it is about.
    turned_away = predictions.read_refused(log.project.store, log.project.spool(log.name), log.name, since=since)
    refused = _by_day(turned_away, log.project)
    for day in days:
        made = cuts.get(day, Cut(hours={}, sample=pl.DataFrame(), versions={}))
        facts: dict[str, Any] = _refused(refused[day], zone) if day in refused else {"refused": 0, "refused_why": {}}
        if made.received is not None:
            facts["received"] = [iso(one) for one in made.received]
        windows.put(
            day,
            hours=made.hours,
            sample=made.sample,
            blocks=made.blocks,
            versions=made.versions,
            source="log",
            now=now,
            facts={**facts, "files": files},
        )
        files = []


def _refused(rows: pl.DataFrame, zone: tzinfo) -> dict[str, Any]:
    """How many requests were refused, in all and by local hour, and the five most frequent reasons."""
    why = pl.format("{}: {}", pl.col("field").fill_null("request"), pl.col("error").fill_null("refused"))
    counted = rows.select(why.str.slice(0, 200).alias("why"))["why"].value_counts(sort=True, name="rows").head(5)
    hours = rows.select(
        pl.coalesce("mw.time", "mw.received").dt.convert_time_zone(str(zone)).dt.hour().cast(pl.String).alias("hour")
    )
    by_hour = dict(hours["hour"].value_counts(name="rows").sort("hour").iter_rows())
    return {"refused": rows.height, "refused_hours": by_hour, "refused_why": dict(counted.iter_rows())}

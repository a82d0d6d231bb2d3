"""From logged rows to windows: every finished day whose rows are not yet in a window, or that has more of them now.

A day is made anew, as a further revision, when rows of it came late: then only that day is read again. The log only
grows until it expires, so how many rows a day has tells whether its window holds them all; a day of which the log
has fewer than its window is past its retention, and its window stays.

Where windows are hours, the day that goes on is made with each hour that ends: the hours that it has stay as they
are, and only rows of hours that are new, or of which more came, are read.

Rows that a person marked bad are left out (`marks`): marked, or unmarked, their day is made anew from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import polars as pl

from . import marks, predictions
from .lenses import lenses
from .profiles import lowest, spec_of
from .times import day_bounds, day_of, hour_bounds, iso
from .windows import SAMPLE_ROWS, Cut, Windows, cut

if TYPE_CHECKING:
    from .marks import Mark
    from .predictions import Live
    from .profiles import ProfileSpec
    from .project import Project

# Rows read at once while many days are made.
CHUNK = 400_000
# Rows of a day that was not finished at the last run may have been received before the newest row of one that was.
SLACK = timedelta(days=1)
# What no window keeps: the requests as they came would be half of all that is read.
UNREAD = ("mw.raw", "mw.features", "mw.latency_us")


@dataclass(slots=True)
class _Known:
    """What the stored summaries of logged days say."""

    days: dict[date, Mapping[str, Any]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """Days put, in order, and what a reader should know."""

    days: list[date]
    notes: list[str]


def build(project: Project, name: str, *, until: datetime, now: datetime, rebuild: bool = False) -> Built:
    """Put windows for finished days whose logged rows are new or changed.

    A day, or an hour where windows are hours, is finished when it ends at or before `until` and its grace for late
    rows has passed at `now`. `rebuild` makes every day anew whose rows are still in the log.
    """
    windows = project.windows(name)
    known = _known(windows)
    files = {key for stream in ("log", "refused") for key in project.store.list(f"{name}/{stream}/")}
    since = None if rebuild else _since(files - known.files, known)
    schema = project.schema(name)
    spec = spec_of(schema, roles=("feature",), score=True, label=schema.task == "multiclass")
    spool = project.spool(name)
    # Segments are decoded once; one that is converted meanwhile counts as the file that it became.
    marked = project.incidents(name).marks()
    log = _Log(project, name, predictions.live(spool), marked, _cutoff(project, until=until, now=now))
    seen = log.by_day(since=since, by="received")
    turned_away = predictions.read_refused(project.store, spool, name, since=since)
    days = _finished(project, [*seen, *_by_day(turned_away, project)], until=until, now=now)
    changed = {day for day in days if _differs(log, seen, day, known.days.get(day), since, rebuild=rebuild)}
    remarked = [day for day, held in known.days.items() if log.marks(day) != held.get("marks", [])]
    gone = [day for day in remarked if not _whole(log, day, known.days[day])]
    changed |= set(remarked) - set(gone)
    # A day that is over is read once more as a whole: blocks of rows reach over hours.
    grown = {day for day, held in known.days.items() if held.get("growing") and not log.goes_on(day)}
    changed |= {day for day in grown if _whole(log, day, known.days[day])}
    for chunk in _chunks(sorted(changed), seen):
        _put(log, windows, spec, chunk, known.days, now=now, files=sorted(files - known.files))
        known.files |= files
    return Built(sorted(changed), [_too_late(gone)] if gone else [])


def _too_late(gone: Sequence[date]) -> str:
    """Marks that the windows cannot follow."""
    first, last = min(gone), max(gone)
    days = first.isoformat() if first == last else f"{len(gone)} days from {first} to {last}"
    return f"marks of {days} leave the windows as they are: the log no longer has these rows (keep_log_days)"


def _cutoff(project: Project, *, until: datetime, now: datetime) -> datetime | None:
    """The end of the last finished hour where windows are hours; None where days are waited for."""
    if project.config.monitor.window != "hour":
        return None
    end = min(until, now - project.config.monitor.grace).astimezone(project.zone)
    return hour_bounds(end.date(), end.hour, project.zone)[0]


@dataclass(frozen=True, slots=True)
class _Log:
    """The log of one model, with the segments that were not in the store when the run began."""

    project: Project
    name: str
    live: Sequence[Live]
    marked: Sequence[Mark]
    cutoff: datetime | None

    @property
    def hourly(self) -> bool:
        return self.cutoff is not None

    def scan(self, *, since: datetime | None, until: datetime | None = None, by: predictions.By) -> pl.LazyFrame:
        """Rows but for marked ones and those of an hour that is not finished."""
        found = self.all(since=since, until=until, by=by)
        days = sorted(_touched(self.marked, self.project))
        own = [one for day in days for one in marks.of_day(self.marked, day, self.project.zone)]
        found = marks.without(found, own, time=_TIME)
        return found if self.cutoff is None else found.filter(self.cutoff > _TIME)

    def all(self, *, since: datetime | None, until: datetime | None = None, by: predictions.By) -> pl.LazyFrame:
        return predictions.scan(self.project.store, self.live, self.name, since=since, until=until, by=by)

    def cut(
        self, spec: ProfileSpec, *, since: datetime, until: datetime, only: pl.Expr | None = None
    ) -> dict[date, Cut]:
        """Rows of [since, until), of those the ones where `only` holds, by local day."""
        rows = self.scan(since=since, until=until, by="time").drop(UNREAD, strict=False)
        rows = rows if only is None else rows.filter(only)
        return cut(rows.collect(), spec, zone=self.project.zone, lenses=lenses(self.project, self.name))

    def goes_on(self, day: date) -> bool:
        """Whether more hours of the day will come."""
        return self.cutoff is not None and day_bounds(day, self.project.zone)[1] > self.cutoff

    def marks(self, day: date) -> list[list[str]]:
        """The marks that a day's window is made by, in plain words."""
        return [one.plain for one in marks.of_day(self.marked, day, self.project.zone)]

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


_TIME = pl.coalesce("mw.time", "mw.received")


def _touched(marked: Sequence[Mark], project: Project) -> set[date]:
    """Local days that any mark touches."""
    found: set[date] = set()
    for one in marked:
        at, last = day_of(one.since, project.zone), day_of(one.until, project.zone)
        found |= {at + timedelta(days=step) for step in range((last - at).days + 1)}
    return found


def _local_day(project: Project) -> pl.Expr:
    return _TIME.dt.convert_time_zone(str(project.zone)).dt.date()


def _counted(frame: pl.LazyFrame, project: Project) -> dict[date, int]:
    counted = frame.group_by(_local_day(project).alias("day")).len().drop_nulls("day").collect()
    return dict(zip(counted["day"].to_list(), counted["len"].to_list(), strict=True))


def _by_day(frame: pl.DataFrame, project: Project) -> dict[date, pl.DataFrame]:
    """Rows by local day."""
    parts = frame.with_columns(_local_day(project).alias("_day")).partition_by("_day", as_dict=True)
    return {day: rows for (day,), rows in parts.items() if day is not None}


def _finished(project: Project, days: Iterable[date], *, until: datetime, now: datetime) -> list[date]:
    cutoff = _cutoff(project, until=until, now=now)
    if cutoff is not None:
        return sorted(day for day in set(days) if hour_bounds(day, 0, project.zone)[1] <= cutoff)
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


def _whole(log: _Log, day: date, held: Mapping[str, Any]) -> bool:
    """Whether the log still has all rows that a day's window was made of, marked ones and all."""
    start, end = day_bounds(day, log.project.zone)
    rows = log.all(since=start, until=end, by="time").select(pl.len()).collect().item()
    return int(rows) >= int(held["rows"]) + int(held.get("left_out", 0))


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
    log: _Log,
    windows: Windows,
    spec: ProfileSpec,
    days: Sequence[date],
    known: Mapping[date, Mapping[str, Any]],
    *,
    now: datetime,
    files: list[str],
) -> None:
    """Write the windows of consecutive days. The new files are named by the first one."""
    zone = log.project.zone
    since, until = day_bounds(days[0], zone)[0], day_bounds(days[-1], zone)[1]
    held = known.get(days[0], {})
    if len(days) == 1 and held and log.goes_on(days[0]) and log.marks(days[0]) == held.get("marks", []):
        cuts = {days[0]: _grown(log, windows, spec, days[0], held)}
    else:
        cuts = log.cut(spec, since=since, until=until)
    # A refused request is received at or after the time it is about.
    turned_away = predictions.read_refused(log.project.store, log.project.spool(log.name), log.name, since=since)
    if log.cutoff is not None:
        turned_away = turned_away.filter(log.cutoff > _TIME)
    refused = _by_day(turned_away, log.project)
    for day in days:
        made = cuts.get(day, Cut(hours={}, sample=pl.DataFrame(), versions={}))
        facts: dict[str, Any] = _refused(refused[day], zone) if day in refused else {"refused": 0, "refused_why": {}}
        if made.received is not None:
            facts["received"] = [iso(one) for one in made.received]
        if log.hourly:
            facts |= {"versions_by_hour": made.by_hour, "growing": log.goes_on(day)}
        if spans := log.marks(day):
            start, end = day_bounds(day, zone)
            every = log.all(since=start, until=end, by="time").select(pl.len()).collect().item()
            facts |= {"marks": spans, "left_out": int(every) - sum(one.rows for one in made.hours.values())}
        windows.put(
            day,
            hours=made.hours,
            sample=made.sample,
            blocks=made.blocks,
            repeats=made.repeats,
            versions=made.versions,
            source="log",
            now=now,
            facts={**facts, "files": files},
            growing=log.hourly,
        )
        files = []


def _grown(log: _Log, windows: Windows, spec: ProfileSpec, day: date, held: Mapping[str, Any]) -> Cut:
    """A day with the hours that ended since, and those of which more rows came; the others as they were."""
    zone = log.project.zone
    since, until = day_bounds(day, zone)
    stands = windows.day(day)
    before, sample = dict(stands.hours), stands.sample
    local = _TIME.dt.convert_time_zone(str(zone))
    counted = log.scan(since=since, until=until, by="time").group_by(local.dt.hour().alias("hour")).len().collect()
    rows = {int(hour): int(number) for hour, number in counted.iter_rows()}
    had = {int(hour): int(number) for hour, number in held["hours"].items()}
    fresh = sorted(hour for hour, number in rows.items() if number > had.get(hour, 0) or hour not in before)
    old_by_hour = dict(held.get("versions_by_hour", {}))
    past = tuple(datetime.fromisoformat(one) for one in held.get("received", ()))
    if not fresh:
        received = (past[0], past[1]) if past else None
        return Cut(hours=before, sample=sample, versions=stands.versions, received=received, by_hour=old_by_hour)
    bounds = hour_bounds(day, fresh[0], zone)[0], hour_bounds(day, fresh[-1], zone)[1]
    new = log.cut(spec, since=bounds[0], until=bounds[1], only=local.dt.hour().is_in(fresh))[day]
    if sample.height:
        old = sample.filter(~local.dt.hour().is_in(fresh))
        sample = lowest(pl.concat([old, new.sample], how="diagonal_relaxed"), "mw.id", SAMPLE_ROWS)
    by_hour = {**old_by_hour, **new.by_hour}
    versions: dict[str, int] = {}
    for counts in by_hour.values():
        for version, number in counts.items():
            versions[version] = versions.get(version, 0) + number
    times = [*past, *(new.received or ())]
    return Cut(
        hours={**before, **new.hours},
        sample=sample if sample.height else new.sample,
        versions=dict(sorted(versions.items())),
        received=(min(times), max(times)) if times else None,
        by_hour=dict(sorted(by_hour.items(), key=lambda item: int(item[0]))),
    )


def _refused(rows: pl.DataFrame, zone: tzinfo) -> dict[str, Any]:
    """How many requests were refused, in all and by local hour, and the five most frequent reasons."""
    why = pl.format("{}: {}", pl.col("field").fill_null("request"), pl.col("error").fill_null("refused"))
    counted = rows.select(why.str.slice(0, 200).alias("why"))["why"].value_counts(sort=True, name="rows").head(5)
    hours = rows.select(
        pl.coalesce("mw.time", "mw.received").dt.convert_time_zone(str(zone)).dt.hour().cast(pl.String).alias("hour")
    )
    by_hour = dict(hours["hour"].value_counts(name="rows").sort("hour").iter_rows())
    return {"refused": rows.height, "refused_hours": by_hour, "refused_why": dict(counted.iter_rows())}

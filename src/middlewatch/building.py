"""From logged rows to windows: every finished day whose rows are not yet in a window, or changed since.

A day is made anew, as a further revision, when rows of it came late. What a window holds is told by a digest of
its rows' ids, so that the same rows, read from a segment or from the store, never make two revisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from . import predictions
from .profiles import hash_ids, spec_of
from .times import day_bounds, iso
from .windows import Cut, Windows, cut

if TYPE_CHECKING:
    from .profiles import ProfileSpec
    from .project import Project

# Rows read at once while many days are made.
CHUNK = 400_000
# Rows of a day that was not finished at the last run may have been received before the newest row of one that was.
SLACK = timedelta(days=1)


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
    seen = predictions.read(
        project.store, spool, name, since=since, until=None, by="received", columns=["mw.id", "mw.time", "mw.received"]
    )
    turned_away = predictions.read_refused(project.store, spool, name, since=since)
    days = _finished(project, [*_days(seen, project), *_days(turned_away, project)], until=until, now=now)
    digests = _digests(seen, project)
    changed = [day for day in days if rebuild or _differs(project, name, digests, day, known.days.get(day), since)]
    for chunk in _chunks(changed, seen, project):
        _put(project, name, windows, spec, chunk, now=now, files=sorted(files - known.files))
        known.files |= files
    return changed


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


def _times(frame: pl.DataFrame) -> list[str]:
    return [name for name in ("mw.time", "mw.received") if name in frame.columns]


def _event_time(frame: pl.DataFrame) -> pl.Expr:
    return pl.coalesce(_times(frame))


def _local_day(frame: pl.DataFrame, project: Project) -> pl.Expr:
    return _event_time(frame).dt.convert_time_zone(str(project.zone)).dt.date()


def _days(frame: pl.DataFrame, project: Project) -> list[date]:
    if not frame.height:
        return []
    return [day for day in frame.select(_local_day(frame, project)).to_series().unique().to_list() if day is not None]


def _finished(project: Project, days: Iterable[date], *, until: datetime, now: datetime) -> list[date]:
    grace = project.config.monitor.grace
    ends = {day: day_bounds(day, project.zone)[1] for day in set(days)}
    return sorted(day for day, end in ends.items() if end <= until and end + grace <= now)


def _digest(ids: pl.Series) -> str:
    """The same for the same set of ids, in any order."""
    hashes = hash_ids(ids.unique())
    return f"{hashes.size}-{int(hashes.sum(dtype='uint64')):016x}"


def _digests(seen: pl.DataFrame, project: Project) -> dict[date, str]:
    """The digest of each local day's ids, all days in one pass."""
    if not seen.height:
        return {}
    return {day: _digest(rows["mw.id"]) for day, rows in _by_day(seen.select("mw.id", *_times(seen)), project).items()}


def _by_day(frame: pl.DataFrame, project: Project) -> dict[date, pl.DataFrame]:
    """Rows by local day."""
    if not frame.height:
        return {}
    parts = frame.with_columns(_local_day(frame, project).alias("_day")).partition_by("_day", as_dict=True)
    return {day: rows for (day,), rows in parts.items()}


def _differs(
    project: Project,
    name: str,
    digests: Mapping[date, str],
    day: date,
    held: Mapping[str, Any] | None,
    since: datetime | None,
) -> bool:
    """Whether the day's rows in the log are other than those of its newest window."""
    if held is None:
        return True
    received = held.get("received")
    if since is None or (received and datetime.fromisoformat(received[0]) >= since):
        digest = digests.get(day, _digest(pl.Series([], dtype=pl.String)))
    else:
        start, end = day_bounds(day, project.zone)
        digest = _digest(
            predictions.read(
                project.store, project.spool(name), name, since=start, until=end, by="time", columns=["mw.id"]
            )["mw.id"]
        )
    return digest != held.get("digest")


def _chunks(days: list[date], seen: pl.DataFrame, project: Project) -> Iterator[list[date]]:
    """Days with no others between them that are read at once, a limited number of rows."""
    sizes = Counter(seen.select(_local_day(seen, project)).to_series().to_list()) if seen.height else Counter()
    chunk: list[date] = []
    for day in days:
        if chunk and (day - chunk[-1] != timedelta(days=1) or sum(sizes[one] for one in [*chunk, day]) > CHUNK):
            yield chunk
            chunk = []
        chunk.append(day)
    if chunk:
        yield chunk


def _put(
    project: Project,
    name: str,
    windows: Windows,
    spec: ProfileSpec,
    days: list[date],
    *,
    now: datetime,
    files: list[str],
) -> None:
    """Write the windows of consecutive days. The new files are named by the first one."""
    since, until = day_bounds(days[0], project.zone)[0], day_bounds(days[-1], project.zone)[1]
    spool = project.spool(name)
    frame = predictions.read(project.store, spool, name, since=since, until=until, by="time")
    # A refused request is received at or after the time it is about.
    turned_away = predictions.read_refused(project.store, spool, name, since=since)
    refused = _refused(project, turned_away, set(days))
    cuts = cut(frame, spec, zone=project.zone)
    times = _by_day(frame.select("mw.id", *_times(frame)), project)
    for day in days:
        made = cuts.get(day, Cut(hours={}, sample=frame.clear(), versions={}))
        facts: dict[str, Any] = {"refused": 0, "refused_why": {}, **refused.get(day, {})}
        rows = times.get(day, frame.clear())
        if rows.height:
            facts["received"] = [iso(rows["mw.received"].min()), iso(rows["mw.received"].max())]  # type: ignore[arg-type]
        windows.put(
            day,
            hours=made.hours,
            sample=made.sample,
            versions=made.versions,
            source="log",
            now=now,
            facts={**facts, "digest": _digest(rows["mw.id"]), "files": files},
        )
        files = []


def _refused(project: Project, frame: pl.DataFrame, days: set[date]) -> dict[date, dict[str, Any]]:
    """Refused requests of each day, and the five most frequent reasons."""
    if not frame.height:
        return {}
    found: dict[date, dict[str, Any]] = {}
    for row in frame.with_columns(_local_day(frame, project).alias("_day")).iter_rows(named=True):
        if row["_day"] not in days:
            continue
        one = found.setdefault(row["_day"], {"refused": 0, "refused_why": Counter()})
        one["refused"] += 1
        one["refused_why"][f"{row.get('field') or 'request'}: {row.get('error') or 'refused'}"[:200]] += 1
    return {day: {**one, "refused_why": dict(one["refused_why"].most_common(5))} for day, one in found.items()}

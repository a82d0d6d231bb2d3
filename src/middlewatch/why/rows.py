"""The rows a diagnosis looks at: a span of the log, and the same hours of the model's own past days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from .. import marks, model, predictions
from ..errors import MiddlewatchError, NothingToDo
from ..fingerprints import thresholds
from ..replay import Replayer, load
from ..times import day_bounds, day_of

if TYPE_CHECKING:
    from ..incidents import Incident
    from ..project import Project
    from ..windows import WindowDay

MOST_ROWS = 2_000
"""Rows of a span that are looked at, evenly drawn: as many as a day of the past has."""
PAST_DAYS = 28
REACH_DAYS = 90
"""How far back the past days may lie where traffic paused."""
LEAST_ROWS = 30
QUARTER = timedelta(minutes=15)
"""Rows are counted by quarters of an hour: no zone's hours begin within one."""


@dataclass(frozen=True)
class Drawn:
    """`rows` in order of event time, evenly drawn of `total`; `quarters`: how many of all began in each quarter of an
    hour (its first moment in UTC)."""

    rows: pl.DataFrame
    total: int
    quarters: dict[datetime, int]


@dataclass(frozen=True)
class Span:
    """What to diagnose. `rows` are in order of event time, at most MOST_ROWS of `total`; `past` one frame a day.

    `past_answered` are the same days with the scores that were given then; in `past` they are those of `version`.
    `quarters` counts all rows of the span up to `counted`, behind which the log ends; `past_hours` are those of past
    days that were logged, by clock hour.
    """

    since: datetime
    until: datetime
    incident: Incident | None
    rows: pl.DataFrame
    total: int
    refused: pl.DataFrame
    version: str
    kinds: dict[str, str]
    quarters: dict[datetime, int] = field(default_factory=dict)
    counted: datetime | None = None
    past: tuple[pl.DataFrame, ...] = ()
    past_hours: dict[date, dict[int, int]] = field(default_factory=dict)
    past_answered: tuple[pl.DataFrame, ...] = ()
    past_refused: tuple[float, ...] = ()
    past_callers: frozenset[str] = frozenset()
    past_version: str = ""
    left_out: int = 0
    replayer: Replayer | None = None
    notes: list[str] = field(default_factory=list)


def span_of(
    project: Project, name: str, *, incident: int | None, since: datetime | None, until: datetime | None, now: datetime
) -> Span:
    """The span of an incident, of [since, until), or where nothing is said of the newest open incident, else the
    last day of the log. Raises NothingToDo where nothing is logged there, NotFound for an incident that is none."""
    about = incident_of(project, name, incident, since, until)
    newest = newest_event(project, name, now)
    if about is not None and about.since:
        since, until = since or _moment(about.since), until or _moment(about.until or "") or newest
    elif since is not None:
        until = until or newest
    else:
        until = until or newest
        since = until - timedelta(days=1) if until else None
    if since is None or until is None:
        raise NothingToDo("nothing is logged yet", fix="send requests to middlewatch serve, or middlewatch score --log")
    drawn = rows_of(project, name, since, until, MOST_ROWS)
    rows = drawn.rows
    refused = predictions.read_refused(
        project.store, project.spool(name), name, since=since - timedelta(days=1), until=None
    ).filter(pl.coalesce("mw.time", "mw.received").is_between(since, until, closed="left"))
    if not rows.height and not refused.height:
        raise NothingToDo(
            "nothing is logged in that time", where=f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
        )
    version = _version(project, name, rows)
    schema = _schema(project, name, version)
    kinds = {c.name: c.kind for c in schema.features if c.name in rows.columns or not rows.height}
    span = Span(since, until, about, rows, drawn.total, refused, version, kinds, drawn.quarters)
    span = replace(span, counted=min(until, newest) if newest is not None else until)
    return _with_past(project, name, span)


def incident_of(
    project: Project, name: str, wanted: int | None, since: datetime | None, until: datetime | None
) -> Incident | None:
    """The incident that is asked about: the one named, the newest open one where nothing is; None for a span."""
    if wanted is not None:
        return project.incidents(name).get(wanted)
    if since is not None or until is not None:
        return None
    return max(project.incidents(name).active(), key=lambda one: one.n, default=None)


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def newest_event(project: Project, name: str, now: datetime) -> datetime | None:
    """Just after the newest event, refused ones counted, or now where the newest lies ahead of the clock: what is
    replayed or imported history lives in its own time."""
    store, spool = project.store, project.spool(name)
    # A file's name says the hour of its newest event: only the newest ones are opened.
    last = max((one.last for one in predictions.files(store, name)), default=None)
    since = None if last is None or last.year > 9000 else last - timedelta(hours=1)
    seen = predictions.scan(store, spool, name, since=since, by="time", columns=["mw.time"]).collect()
    newest = seen["mw.time"].max() if seen.height else None
    if not isinstance(newest, datetime):
        return now
    # Where everything is refused, nothing is answered any more: the newest event is what was turned away.
    turned = predictions.scan(
        store, spool, name, since=newest, by="received", stream="refused", columns=["mw.time", "mw.received"]
    )
    later = turned.select(pl.coalesce("mw.time", "mw.received").alias("at")).filter(pl.col("at") > newest).collect()
    final = later["at"].max()
    if later.height >= thresholds.RATE_ROWS and isinstance(final, datetime):
        newest = final
    return newest + timedelta(microseconds=1)


def rows_of(project: Project, name: str, since: datetime, until: datetime, most: int | None) -> Drawn:
    """Rows of [since, until) in order of event time, evenly drawn where there are over `most`, and how many there are.

    Of a million rows only times and ids are read; then the rows that were drawn, without the raw requests.
    """
    store, spool = project.store, project.spool(name)
    logged = predictions.scan(store, spool, name, since=since, until=until, by="time")
    wanted = logged.drop("mw.raw", strict=False)
    seen = logged.select("mw.time", "mw.id").collect()
    total = seen.height
    if most is not None and total > most:
        step = total / most
        order = seen["mw.time"].arg_sort()
        drawn = seen["mw.id"].gather(order.gather([int(k * step) for k in range(most)]))
        wanted = wanted.filter(pl.col("mw.id").is_in(drawn.implode()))
    return Drawn(wanted.collect().sort("mw.time", "mw.id"), total, _quarters(seen["mw.time"]))


def _quarters(times: pl.Series) -> dict[datetime, int]:
    step = QUARTER // timedelta(microseconds=1)
    counted = (times.drop_nulls().dt.epoch("us") // step).value_counts(sort=False)
    return {datetime.fromtimestamp(at * step // 1_000_000, UTC): rows for at, rows in counted.iter_rows()}


def everything_of(project: Project, name: str, span: Span) -> pl.DataFrame:
    """All rows of a span, not only those that are looked at, in order of event time."""
    return rows_of(project, name, span.since, span.until, None).rows


def _version(project: Project, name: str, rows: pl.DataFrame) -> str:
    counted = Counter(rows["mw.version"].drop_nulls().to_list()) if rows.height else Counter[str]()
    if counted:
        return max(counted, key=lambda one: (counted[one], one))
    return project.journal(name).live() or ""


def _schema(project: Project, name: str, version: str) -> Any:
    if version and model.ours(version):
        return model.load(project.store, name, version).schema
    return project.schema(name)


def _with_past(project: Project, name: str, span: Span) -> Span:
    """Add the past days, and the version that answered, loaded."""
    notes: list[str] = []
    replayer = None
    if span.version and model.ours(span.version):
        try:
            replayer = load(project, name, span.version)
        except MiddlewatchError as error:
            notes.append(f"{span.version} cannot be replayed: {error.what}")
    else:
        notes.append("not our model: its answers are not replayed, effects are unknown")
    days, left_out = _days(project, name, span)
    every = project.incidents(name).marks()
    marked = {day.day: marks.of_day(every, day.day, project.zone) for day in days}
    samples = [_sample(day, marked[day.day]) for day in days]
    samples = [one for one in samples if one.height and set(span.kinds) <= set(one.columns)]
    answered, said = _same_hours(samples, _hours(span, project), project)
    notes += said
    logged = [day for day in days if day.source == "log"]
    versions: Counter[str] = Counter()
    for day in logged:
        versions.update(day.versions)
    shares = [int(d.summary.get("refused", 0)) / max(d.rows + int(d.summary.get("refused", 0)), 1) for d in logged]
    callers = frozenset(
        str(one)
        for frame in answered
        if "mw.caller" in frame.columns
        for one in frame["mw.caller"].drop_nulls().unique()
    )
    return replace(
        span,
        past=tuple(_as_answered_by(frame, span.version, replayer) for frame in answered),
        past_hours={
            day.day: {int(hour): int(rows) for hour, rows in day.summary.get("hours", {}).items()}
            for day in logged
            if not marked[day.day]
        },
        past_answered=tuple(answered),
        past_refused=tuple(shares),
        past_callers=callers - {"training"},
        past_version=max(versions, key=lambda one: versions[one]) if versions else "",
        left_out=left_out,
        replayer=replayer,
        notes=notes,
    )


def _same_hours(
    samples: Sequence[pl.DataFrame], hours: list[int], project: Project
) -> tuple[list[pl.DataFrame], list[str]]:
    """Rows of past days at some clock hours, days with too few left out; neighbouring hours join in where else
    history would be too thin to say what is usual. And that in words."""
    local = pl.col("mw.time").dt.convert_time_zone(str(project.zone)).dt.hour()
    clock = [one.select(local.alias("hour")).to_series() for one in samples]
    wanted = set(hours)

    def enough() -> list[int]:
        return [k for k, one in enumerate(clock) if int(one.is_in(list(wanted)).sum()) >= LEAST_ROWS]

    kept = enough()
    while len(kept) < thresholds.MIN_PAST and len(wanted) < 24 and len(samples) >= thresholds.MIN_PAST:
        wanted |= {(hour + step) % 24 for hour in wanted for step in (-1, 1)}
        kept = enough()
    said = []
    if len(wanted) > len(set(hours)):
        said.append(
            f"past days are thin at these hours: {len(wanted)} hours of the clock stand in for {len(set(hours))}"
        )
    rows = [samples[k].filter(clock[k].is_in(list(wanted))).sort("mw.time", "mw.id") for k in kept]
    return rows, said


def _days(project: Project, name: str, span: Span) -> tuple[list[WindowDay], int]:
    """The newest past days with a window, at most PAST_DAYS; days of other incidents, and those of which at least half
    was marked bad, left out."""
    windows = project.windows(name)
    first = day_of(span.since, project.zone)
    marked = project.incidents(name).marks()
    bad = [(one.since, one.until or "9999") for one in project.incidents(name).active() if one.since]
    kept: list[date] = []
    left_out = 0
    # A fault that begins at noon alarms with the next day: the day before an incident cannot say what is usual.
    unsure = first - timedelta(days=1) if span.incident is not None else None
    for day in sorted((one for one in windows.days() if one < first and one != unsure), reverse=True):
        if first - day > timedelta(days=REACH_DAYS) or len(kept) == PAST_DAYS:
            break
        bounds = day_bounds(day, project.zone)
        start, end = (moment.isoformat() for moment in bounds)
        open_ = any(since[:19] < end[:19] and start[:19] < until[:19] for since, until in bad)
        if open_ or marks.half(marked, *bounds):
            left_out += 1
            continue
        kept.append(day)
    return windows.read(kept), left_out


def _sample(day: WindowDay, marked: Sequence[marks.Mark]) -> pl.DataFrame:
    """Kept rows of a day without those marked bad: its window may be older than the mark."""
    sample = day.sample
    if not marked or not sample.height:
        return sample
    try:
        return marks.without(sample.lazy(), marked, time=pl.col("mw.time")).collect()
    except MiddlewatchError:
        return sample.clear()  # a slice that cannot be told of these rows: none of them says what is usual


def _hours(span: Span, project: Project) -> list[int]:
    """Clock hours of the zone in which the span has rows: what was refused or never came since noon leaves a morning,
    which no whole day is like. All that the span touches where it has none."""
    local = pl.col("mw.time").dt.convert_time_zone(str(project.zone)).dt.hour()
    there = span.rows.select(local.unique()).to_series().drop_nulls().sort().to_list() if span.rows.height else []
    if there:
        return [int(hour) for hour in there]
    if span.until - span.since >= timedelta(hours=23):
        return list(range(24))
    at = span.since.astimezone(project.zone)
    found: list[int] = []
    while at < span.until and len(found) < 24:
        found.append(at.hour)
        at += timedelta(hours=1)
    return sorted({*found, (span.until - timedelta(microseconds=1)).astimezone(project.zone).hour})


def _as_answered_by(frame: pl.DataFrame, version: str, replayer: Replayer | None) -> pl.DataFrame:
    """A past day with the scores this version would have given; training days keep their out-of-fold ones."""
    if replayer is None or "mw.version" not in frame.columns:
        return frame
    other = (frame["mw.version"] != version).fill_null(False)
    if not other.any():
        return frame
    shown = pl.Series(replayer.shown(frame))
    return frame.with_columns(
        pl.when(pl.lit(other)).then(pl.lit(shown)).otherwise(pl.col("mw.score")).alias("mw.score")
    )

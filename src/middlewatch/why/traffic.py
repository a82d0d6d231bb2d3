"""How many rows came in a span, beside the same hours and weekdays of past days: a cause where traffic itself alarmed,
else a fact of the time line. Twice the requests with the same mix explain no prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ..fingerprints import Cause, thresholds, traffic
from ..fingerprints.case import WORDS
from ..fingerprints.effect import Effect
from ..fingerprints.traffic import Traffic, Volume
from ..shift import ROWS
from .late import look as late_rows
from .rows import QUARTER, Span

if TYPE_CHECKING:
    from ..project import Project

WHOLE = timedelta(hours=1)


@dataclass(frozen=True)
class Told:
    """`cause` where the number of rows is what alarmed and no cause explains it, or where late rows go with one;
    `lines`: what else was counted."""

    cause: Cause | None = None
    lines: tuple[str, ...] = ()


def look(project: Project, span: Span, found: Sequence[Cause], *, moved: float) -> Told:
    """The number of rows of a span, and how late they came. `found` are the causes so far: rows sent twice, a lost
    segment and refused requests explain it. `moved` is the shift of predictions in units of the worst past day."""
    if not span.rows.height:
        return Told()
    at, held = _held(project, span)
    change = traffic.volume(held) if held is not None else None
    alarmed = _alarmed(span)
    explained = any(one.kind == "rows" or one.facts.get("refused") for one in found)
    counted = _cause(project, span, at, change, moved) if change is not None else None
    late = late_rows(span)
    if late is not None:
        many = late.effect.rows >= thresholds.RELEASE_REMOVES * _missing(span, change, alarmed)
        if (alarmed and not explained and many) or _goes_with(late, found):
            return Told(late, _lines(None if explained else counted))
    if alarmed and not explained:
        return Told(counted or _counted(span, alarmed), _lines(late))
    return Told(lines=_lines(None if explained else counted, late))


def _lines(*causes: Cause | None) -> tuple[str, ...]:
    where = [
        (one, f", only {one.slice[0].removeprefix('mw.')} {one.slice[1]}" if one.slice else "")
        for one in causes
        if one is not None
    ]
    return tuple(f"{one.detail}{whose}" for one, whose in where)


def _missing(span: Span, change: Volume | None, alarmed: Mapping[str, Any] | None) -> float:
    """How many rows too few or too many: by now, or when the monitor judged, where what was missing has come since."""
    if change is not None:
        return abs(change.rows - change.usual)
    factor = float(alarmed.get("now") or 0.0) if alarmed else 1.0
    return abs(1.0 - factor) * span.total


def _goes_with(late: Cause, found: Sequence[Cause]) -> bool:
    """Whether the late rows are those without values, or with old ones: what was looked up for them came apart."""
    for one in found:
        same_kind = one.kind == "nulls" or one.form == "stale"
        if same_kind and len(one.affected) == len(late.affected):
            both, either = (one.affected & late.affected).sum(), (one.affected | late.affected).sum()
            if both >= thresholds.JOINED * either:
                return True
    return False


def _alarmed(span: Span) -> Mapping[str, Any] | None:
    """What the monitor said of the number of rows, where that is among what alarmed."""
    if span.incident is None:
        return None
    tops = [one for one in span.incident.top if one.get("column") == ROWS and one.get("channel") == "volume"]
    return tops[0] if tops else None


def _held(project: Project, span: Span) -> tuple[list[datetime], Traffic | None]:
    """The hours of the span, and their rows beside those of past days; None where nothing was logged before."""
    end = span.counted or span.until
    if not span.past_hours or end <= span.since:
        return [], None
    hours: dict[tuple[int, int], list[float]] = {}
    starts: list[datetime] = []
    at = _floor(span.since)
    while at < end:
        local = at.astimezone(project.zone)
        covered = (min(at + QUARTER, end) - max(at, span.since)) / WHOLE
        held = hours.setdefault((local.toordinal(), local.hour), [])
        if not held:
            starts.append(max(at, span.since))
            held += [local.hour, local.weekday(), 0.0, 0]
        held[2] += covered
        held[3] += span.quarters.get(at, 0)
        at += QUARTER
    columns = list(zip(*hours.values(), strict=True))
    past = np.array([[day.get(hour, 0) for hour in range(traffic.HOURS)] for day in span.past_hours.values()])
    weekdays = np.array([day.weekday() for day in span.past_hours])
    clock, weekday, covered_, rows = (np.array(one) for one in columns)
    return starts, Traffic(clock.astype(int), weekday.astype(int), covered_, rows.astype(int), past, weekdays)


def _floor(moment: datetime) -> datetime:
    return moment - timedelta(seconds=moment.timestamp() % QUARTER.total_seconds())


def _cause(project: Project, span: Span, at: Sequence[datetime], change: Volume, moved: float) -> Cause:
    end = at[change.last] if change.last < len(at) else span.until
    since = at[change.first]
    mask = span.rows.select(pl.col("mw.time").is_between(since, end, closed="left")).to_series().to_numpy()
    hours = {one.astimezone(project.zone).hour for one in at[change.first : change.last]}
    whose = _whose(project, span, change, mask, hours=hours)
    if whose is not None:
        mask = mask & (span.rows[whose[0]].cast(pl.String) == whose[1]).fill_null(value=False).to_numpy()
    until = f" until {end.astimezone(project.zone):%Y-%m-%d %H:%M}" if change.last < len(at) else ""
    came = (
        f": {change.rows:,}, where {change.usual:,.0f} are usual"
        if change.rows
        else f", where {change.usual:,.0f} are usual"
    )
    days = len(span.past_hours)
    away = np.exp(change.worst) - 1 if change.more else 1 - np.exp(-change.worst)
    return Cause(
        kind="rows",
        form="volume",
        columns=(),
        detail=f"{_factor(change)}{until}{came}",
        confidence="certain",
        affected=mask,
        since=since,
        from_start=change.first == 0,
        slice=whose,
        effect=Effect(change.rows, matters=moved > 1.0 or span.replayer is None),
        strength=abs(float(np.log((change.rows + 0.5) / change.usual))) / max(change.worst, 0.01),
        fix=_fix(change, whose),
        proof=f"counted; {days} past days were at most {100 * away:.0f} % off in as many hours",
        facts={"rows": change.rows, "usual": round(change.usual, 1), "factor": round(change.factor, 4)},
    )


def _counted(span: Span, alarmed: Mapping[str, Any]) -> Cause:
    """What the monitor counted, where own days are too few, or too uneven by the hour, to say more."""
    factor = float(alarmed.get("now") or 0.0)
    words = f"{factor:.1f} x as many rows as usual" if factor >= 1 else f"only {100 * factor:.0f} % of the usual rows"
    return Cause(
        kind="rows",
        form="volume",
        columns=(),
        detail=f"{words} on such a weekday: {span.total:,}",
        confidence="likely",
        affected=np.ones(span.rows.height, bool),
        since=span.since,
        from_start=True,
        effect=Effect(span.total, matters=False),
        strength=float(np.exp(alarmed.get("score") or 0.0)),
        fix="find out who sends more rows" if factor >= 1 else "find out who no longer sends rows",
        proof="it is what alarmed",
        facts={"rows": span.total, "factor": factor},
    )


def _factor(change: Volume) -> str:
    if not change.rows:
        return "no rows came"
    if change.more:
        return f"{change.factor:.1f} x as many rows as usual"
    return f"only {100 * change.factor:.0f} % of the usual rows"


def _fix(change: Volume, whose: tuple[str, str] | None) -> str:
    if whose is not None and whose[0] == "mw.caller":
        return f"ask {whose[1]} why it {'sends more' if change.more else 'sends less'}"
    rows = "rows" if whose is None else f"rows with {whose[0]} = {whose[1]}"
    return f"find out who sends more {rows}" if change.more else f"find out who no longer sends {rows}"


def _whose(
    project: Project, span: Span, change: Volume, mask: np.ndarray[tuple[int], np.dtype[np.bool_]], *, hours: set[int]
) -> tuple[str, str] | None:
    local = pl.col("mw.time").dt.convert_time_zone(str(project.zone))
    at = local.dt.hour().is_in(list(hours))
    logged = list(span.past_hours)
    past = [
        part
        for one in span.past_answered
        if one.height
        and one.select(local.dt.date()).to_series()[0] in logged
        and (part := one.filter(at)).height >= thresholds.MIN_ROWS
    ]
    words = [name for name, kind in span.kinds.items() if kind in WORDS]
    return traffic.whose(span.rows.filter(pl.Series(mask)), change, past, ["mw.caller", *words])

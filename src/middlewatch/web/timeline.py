"""The plot of predictions over time: its days, releases, incidents and notes as plain facts, and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

import middlewatch.web.words as words

from .. import charts
from ..incidents import Incident
from ..journal import Entry
from ..notes import Note

# With more days than this the words that a pointer reads would outweigh the page.
TOLD_DAYS = 100
_DEPLOYS = ("promote", "rollback", "external")


def facts(
    days: Sequence[Mapping[str, Any]],
    entries: Sequence[Entry],
    incidents: Sequence[Incident],
    notes: Sequence[Note],
    zone: tzinfo,
) -> dict[str, Any]:
    """What is drawn: `days` with deciles, and the releases, incidents and notes within them."""
    scored = [one for one in days if one.get("score")]
    drawn = [
        {
            "day": one["day"],
            "source": one["source"],
            "rows": one["rows"],
            "mean": one["score"]["mean"],
            "deciles": one["score"]["deciles"],
        }
        for one in scored
    ]
    if not drawn:
        return {"days": [], "releases": [], "incidents": [], "notes": []}
    first, last = date.fromisoformat(drawn[0]["day"]), date.fromisoformat(drawn[-1]["day"]) + timedelta(days=1)
    return {
        "days": drawn,
        "releases": _releases(entries, scored, first, last, zone),
        "incidents": [
            {"n": one.n, "since": one.since, "until": one.until, "state": one.state, "title": one.title}
            for one in incidents
            if _within(one.since, first, last, zone) or _within(one.until, first, last, zone)
        ],
        "notes": [
            {"at": one.at, "text": one.text, "source": one.source}
            for one in notes
            if _within(one.at, first, last, zone)
        ],
    }


def _releases(
    entries: Sequence[Entry], days: Sequence[Mapping[str, Any]], first: date, last: date, zone: tzinfo
) -> list[dict[str, Any]]:
    """Releases by the clock of the journal; where that is not the clock of the rows (replayed or imported
    history), by the first day on which another version gave most answers.
    """
    listed = [
        {"at": one.at, "version": one.version, "action": one.action, "by": one.actor}
        for one in entries
        if one.action in _DEPLOYS and one.channel == "live" and _within(one.at, first, last, zone)
    ]
    if listed:
        return listed
    seen, found = "", []
    for one in days:
        counts: Mapping[str, int] = one.get("versions") or {}
        if counts:
            most = max(counts, key=lambda version: counts[version])
            if most != seen:
                found.append({"at": one["day"], "version": most, "action": "served", "by": ""})
            seen = most
    return found


def _within(text: str, first: date, last: date, zone: tzinfo) -> bool:
    at = words.moment(text, zone)
    return at is not None and first <= at.date() <= last


def ordinal(text: str, zone: tzinfo) -> float:
    """A moment or a day as days since the year 1, in the zone in which days are cut."""
    read = words.moment(text, zone) or datetime.min
    return read.toordinal() + (read.hour * 3600 + read.minute * 60 + read.second) / 86_400


def draw(shown: Mapping[str, Any], zone: tzinfo, *, name: str, height: float = 260.0) -> str:
    """The facts as SVG; empty where no day has predictions."""
    days = shown["days"]
    told = len(days) <= TOLD_DAYS
    return charts.band(
        [
            charts.Day(
                x=date.fromisoformat(one["day"]).toordinal(),
                low=one["deciles"][0],
                inner_low=one["deciles"][2],
                middle=one["deciles"][4],
                inner_high=one["deciles"][6],
                high=one["deciles"][8],
                past=one["source"] == "training",
                note=_told(one) if told else "",
            )
            for one in days
        ],
        marks=[
            *(charts.Mark(x=ordinal(one["at"], zone), label=one["version"]) for one in shown["releases"]),
            *(charts.Mark(x=ordinal(one["at"], zone), label=one["text"], kind="note") for one in shown["notes"]),
        ],
        spans=[
            charts.Span(
                since=ordinal(one["since"], zone),
                until=ordinal(one["until"], zone),
                label=f"incident {one['n']}",
                over=one["state"] == "resolved",
            )
            for one in shown["incidents"]
        ],
        name=name,
        title="Distribution of the predictions, day by day",
        description=_described(shown, zone),
        height=height,
    )


def _told(one: Mapping[str, Any]) -> str:
    deciles = [words.number(value) for value in one["deciles"]]
    return (
        f"{words.day(one['day'])}: median {deciles[4]}, 80 % between {deciles[0]} and {deciles[8]}, "
        f"{words.plural(one['rows'], 'row')}{', training' if one['source'] == 'training' else ''}"
    )


def _described(shown: Mapping[str, Any], zone: tzinfo) -> str:
    days = shown["days"]
    if not days:
        return ""
    newest = days[-1]
    parts = [
        f"{words.day(days[0]['day'])} to {words.day(newest['day'])}.",
        f"On the last day the median is {words.number(newest['deciles'][4])} and 80 percent lie between "
        f"{words.number(newest['deciles'][0])} and {words.number(newest['deciles'][8])}.",
    ]
    parts += [f"Release {one['version']} on {words.when(one['at'], zone)}." for one in shown["releases"]]
    parts += [f"Incident {one['n']} since {words.when(one['since'], zone)}." for one in shown["incidents"]]
    return " ".join(parts)

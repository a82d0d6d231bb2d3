"""Verbs to operate: versions, score, monitor, note, doctor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .live import Until
from .output import Answer, table
from .run import OPERATE, Call, verb
from .start import Table

if TYPE_CHECKING:
    from ..differences import Difference

SHOWN = 10


@verb(OPERATE)
def versions(
    call: Call,
    version: Annotated[str | None, typer.Argument(metavar="[V]")] = None,
    other: Annotated[str | None, typer.Argument(metavar="[W]")] = None,
) -> Answer:
    """Models, data versions, and what was live when; of two, what differs.

    middlewatch versions d6 d7
    """
    if version is not None and other is not None:
        return _differences(call.handle().differences(version, other), version, other)
    found = call.handle().versions()
    journal = [
        {
            "n": one.n,
            "at": one.at,
            "action": one.action,
            "channel": one.channel,
            "version": one.version,
            "previous": one.previous,
            "actor": one.actor,
            "reason": one.reason,
            "gate": list(one.gate),
        }
        for one in found["journal"]
    ]
    facts = {"live": found["live"], "models": found["models"], "data": found["data"], "journal": journal}
    if version is not None:
        return _one(facts, version)
    lines = [f"live: {found['live'] or 'nothing'}   before it: {found['previous'] or '-'}"]
    lines += table(
        [
            [one["version"], one["data"], _worth(one), one["rows"], one["created"], "ok" if _gate(one) else "refused"]
            for one in found["models"][-10:]
        ],
        head=["model", "data", "worth", "rows", "made", "gate"],
        indent="  ",
    )
    lines += table(
        [
            [one["version"], one["rows"], "ok" if one["ok"] else "FAILED", _window(one), one["source"]]
            for one in found["data"][-10:]
        ],
        head=["data", "rows", "tests", "event time", "source"],
        indent="  ",
    )
    lines += table(
        [
            [one["n"], one["at"], one["action"], one["channel"], one["version"], one["actor"], one["reason"]]
            for one in journal[-10:]
        ],
        head=["entry", "at", "action", "channel", "version", "by", "reason"],
        indent="  ",
    )
    return Answer(facts, lines)


def _differences(found: Sequence[Difference], then: str, now: str) -> Answer:
    facts = {"then": then, "now": now, "differences": [one.to_dict() for one in found]}
    if not found:
        return Answer(facts, [f"{now} and {then} are the same"])
    lines = [f"{now} differs from {then} in {len(found)} thing{'s' if len(found) != 1 else ''}"]
    lines += [f"  {one.words}" for one in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more: --json lists them")
    return Answer(facts, lines)


def _one(facts: dict[str, Any], version: str) -> Answer:
    from ..errors import NotFound, nearest

    known = {one["version"]: one for one in [*facts["models"], *facts["data"]]}
    if version not in known:
        raise NotFound(f"there is no {version}", fix=nearest(version, known))
    chosen = known[version]
    plain = {name: value for name, value in chosen.items() if not isinstance(value, list | dict)}
    lines = [f"{name:<14} {value}" for name, value in plain.items() if value not in (None, "")]
    lines += [f"  {'ok  ' if one['ok'] else 'FAIL'} {one['check']}: {one['detail']}" for one in chosen.get("gate", ())]
    lines += [f"  {one['severity']} {one['message']}" for one in chosen.get("findings", ())]
    made = [one["version"] for one in facts["models"] if one["data"] == version]
    lines += [f"trained        {', '.join(made)}"] if made else []
    return Answer(chosen, lines)


def _worth(manifest: dict[str, Any]) -> str:
    name, first = next(iter(manifest["metrics"].items()))
    return f"{name} {first['value']:.4f}"


def _gate(manifest: dict[str, Any]) -> bool:
    return all(one["ok"] for one in manifest["gate"])


def _window(manifest: dict[str, Any]) -> str:
    window = manifest["window"]
    return f"{window[0][:10]} to {window[1][:10]}" if window else "-"


@verb(OPERATE)
def score(
    call: Call,
    source: Table,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help=".parquet, .csv, .feather or .jsonl")] = None,
    log: Annotated[bool, typer.Option("--log", help="Keep each row for the monitor, with its event time.")] = False,
    time: Annotated[
        str | None, typer.Option("--time", metavar="COL", help="Event time; default: as configured.")
    ] = None,
    caller: Annotated[str, typer.Option("--caller", metavar="NAME")] = "batch",
    on: Annotated[str | None, typer.Option("--on", metavar="V", help="Another version than the live one.")] = None,
) -> Answer:
    """Score a table in one go.

    middlewatch score march.parquet --out scored.parquet --log
    """
    from ..errors import UsageError

    if out is None and not log:
        raise UsageError("the scores would go nowhere", fix="--out scored.parquet, or --log, or both")
    done = call.handle().score(source, out=out, log=log, time=time, caller=caller, version=on)
    where = f" to {done.out}" if done.out else ""
    kept = f", {done.logged:,} logged" if log else ""
    lines = [f"scored {done.rows:,} rows with {done.version}{where}{kept} in {done.seconds:.2f} s"]
    lines.append("Next:   middlewatch monitor" if log else "Next:   middlewatch score --log keeps them for the monitor")
    return Answer(done.to_dict(), lines)


@verb(OPERATE)
def monitor(
    call: Call,
    until: Until = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make and judge every window anew.")] = False,
) -> Answer:
    """Judge every finished window not yet judged; open, update or close incidents.

    middlewatch monitor
    """
    handle = call.handle()
    names = [call.model] if call.model else list(handle.project.config.models)
    found = handle.monitor_all(names, until=until, rebuild=rebuild)
    judged, quiet = found.judged, found.quiet
    if not judged and quiet:
        raise quiet[0]
    windows = [window for one in judged for window in one.windows]
    opened = [incident for one in judged for incident in one.incidents if incident.active]
    alarms = [window for window in windows if window["alarm"]]
    word = "provisional " if any(window["provisional"] for window in windows) else ""
    lines = [f"judged {len(windows)} windows, {len(alarms)} {word}alarm{'s' if len(alarms) != 1 else ''}"]
    if len(alarms) > 5:
        lines.append(f"  the newest 5; {len(alarms) - 5} more: --json lists them")
    for window in alarms[-5:]:
        top = ", ".join(f"{one['column']} {one['channel']}" for one in window["top"][:3])
        start = datetime.fromisoformat(window["start"]).astimezone(handle.project.zone)
        hour = f" {start:%H:%M}" if handle.project.config.monitor.window == "hour" else ""
        lines.append(f"WARN {start.date()}{hour} ({window['rows']:,} rows): {top}")
    quality = [window for one in judged for window in one.quality]
    if quality:
        beyond = sum(1 for one in quality if one["alarm"])
        lines.append(f"  {len(quality)} judged by their outcomes, {beyond} beyond what they ever were")
    lines += [f"  {one.what}" for one in quiet] + [f"  {one}" for each in judged for one in each.notes]
    lines += [f"  {one}" for one in found.told]
    lines += [f"  incident {one.n} is {one.state}: {one.title}" for one in opened[-3:]]
    lines.append("Next:   middlewatch why" if opened else "Next:   middlewatch status")
    facts = {"windows": windows, "quality": quality, "incidents": [one.to_dict() for one in opened]}
    return Answer(facts, lines, 1 if opened else 0)


@verb(OPERATE)
def compare(
    call: Call,
    a: Annotated[str, typer.Argument(metavar="A")],
    b: Annotated[str, typer.Argument(metavar="B")],
) -> Answer:
    """Why does it work in staging and break in prod: the same requests on both, and what else differs.

    A side is a channel (live, staging, shadow), a version, a store (PATH#staging), or a server (http://host:8000).

    middlewatch compare staging live
    """
    found = call.handle().compare(a, b)
    return Answer(found.to_dict(), found.lines(), 1 if found.matters else 0 if found.requests else 5)


@verb(OPERATE)
def note(
    call: Call,
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    source: Annotated[str, typer.Option("--source", help="Who or what says so.")] = "",
    at: Annotated[str | None, typer.Option("--at", metavar="T")] = None,
) -> Answer:
    """Put something that happened elsewhere on the time line: a deploy, a feed change.

    middlewatch note "weather feed moved to the new provider" --at "yesterday 18:00"
    """
    from ..times import iso

    moment = call.handle().note(text, source=source, at=at)
    return Answer({"at": iso(moment)}, [f"noted at {iso(moment)}: {text}"])


@verb(OPERATE)
def doctor(
    call: Call,
    alerts: Annotated[bool, typer.Option("--alerts", help="Send a marked message to every alert route.")] = False,
) -> Answer:
    """Try the ground for real: environment, store, disk, journal, live version; each with its fix.

    middlewatch doctor --alerts
    """
    found = call.handle().doctor(alerts=alerts)
    words = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}
    failed = sum(1 for one in found.checks if one.outcome == "fail")
    lines = [f"{len(found.checks)} checks, {failed} failed"]
    for one in found.checks:
        lines.append(f"{words[one.outcome]} {one.name}: {one.detail}")
        if one.fix and one.outcome != "ok":
            lines.append(f"       fix: {one.fix}")
    lines += [f"  {name} comes from {origin}" for name, origin in found.settings if origin != "default"]
    return Answer(found.to_dict(), lines, 0 if found.ok else 1)

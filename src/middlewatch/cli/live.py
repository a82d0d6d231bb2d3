"""Verbs for what is live: status, why, promote, rollback, retrain, tail."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from ..model import shelf
from .output import Answer, as_line, progress, spark
from .run import LIVE, Call, spare_imports, verb
from .start import trained_lines

if TYPE_CHECKING:
    from ..releases import Released
    from ..status import Status

Since = Annotated[str | None, typer.Option("--since", metavar="T", help="2h, yesterday 18:00, or ISO.")]
Until = Annotated[str | None, typer.Option("--until", metavar="T")]


@verb(LIVE)
def status(call: Call, until: Until = None) -> Answer:
    """Is it still good? One sentence and four numbers, from stored summaries.

    middlewatch status
    """
    handle = call.handle()
    names = (
        [handle.model] if call.model or len(handle.project.config.models) == 1 else list(handle.project.config.models)
    )
    found = [type(handle)(handle.project, name).status(now=until) for name in names]
    lines: list[str] = []
    for one in found:
        scores = [day["score"]["mean"] for day in one.days[-28:] if day.get("score")]
        live = f"{one.live['version']} since {one.live['since']} by {one.live['by']}" if one.live else "nothing"
        lines += [
            one.sentence,
            f"  live      {live}" + ("  (automatic promotion frozen)" if one.frozen else ""),
            f"  requests  {one.requests['rows']:,} on {one.requests['day'] or '-'}"
            + _usual(one.requests["usual_low"], one.requests["usual_high"], "{:,.0f}"),
            f"  score     {one.score['mean']:.4g}" + _usual(one.score["usual_low"], one.score["usual_high"], "{:.4g}")
            + f"  {spark(scores)}"
            if one.score["mean"] is not None
            else "  score     no data",
            f"  quality   {one.quality['note']}",
        ]  # fmt: skip
        if one.monitor.get("late"):
            lines.append(f"WARN monitor   last ran {one.monitor['hours']:.0f} hours ago: run it every day")
        if one.guessed_limits:
            lines.append(f"  schema    {one.guessed_limits} limits are guesses nobody has confirmed")
    if trouble := _undelivered(found[0].alerts):
        lines.append(f"WARN alerts    {trouble}")
    worst = next((one for one in found if not one.ok), found[0])
    lines.append(f"Next:   {_after(call, worst, several=len(found) > 1)}")
    facts = found[0].to_dict() if len(found) == 1 else {"models": {one.model: one.to_dict() for one in found}}
    silent = all(one.state == "no_data" for one in found)
    return Answer(facts, lines, 5 if silent else 0 if all(one.ok for one in found) else 1)


def _after(call: Call, one: Status, *, several: bool) -> str:
    """The command that comes next for a model: why, or what brings a first version into service, or the monitor."""
    which = f" --model {one.model}" if several else ""
    if not one.ok:
        # A late monitor is no incident: there is nothing yet to ask why of.
        return f"middlewatch why{which}" if one.incidents else "middlewatch monitor"
    if one.live is None:
        made = shelf(call.handle().project.store, one.model).names()
        return f"middlewatch promote {made[-1]}{which}" if made else f"middlewatch train{which}"
    return "middlewatch monitor"


def _undelivered(alerts: Mapping[str, Any]) -> str:
    parts = [f"{alerts['waiting']} messages wait"] if alerts.get("waiting") else []
    parts += [f"{alerts['given_up']} were given up in 30 days"] if alerts.get("given_up") else []
    parts += [alerts["problem"]] if parts and alerts.get("problem") else []
    parts += [f"dead man's switch: {alerts['heartbeat']}"] if alerts.get("heartbeat") else []
    return "; ".join(parts)


def _usual(low: Any, high: Any, form: str) -> str:
    return f"  (usual {form.format(low)} to {form.format(high)})" if low is not None else ""


@verb(LIVE)
def why(
    call: Call,
    about: Annotated[
        str | None, typer.Argument(metavar="[INCIDENT | ID]", help="An incident, or one prediction.")
    ] = None,
    since: Since = None,
    until: Until = None,
    on: Annotated[str | None, typer.Option("--on", metavar="V", help="Another version's answer (for an id).")] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="TABLE", help="A data file, before anything learns from it.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="REF", help="With --file: a data version or a file that was right."),
    ] = None,
    affected: Annotated[
        str | None, typer.Option("--affected", metavar="FILE", help="Write the touched rows, corrected: .csv, .parquet")
    ] = None,
) -> Answer:
    """What broke, since when, what it changed, and whether rolling back helps.

    middlewatch why --file march.csv
    """
    _check_why(about, since, until, on, file, against, affected)
    found = _why(call, about, since=since, until=until, on=on, file=file, against=against, touched=bool(affected))
    facts, lines = found.to_dict(), found.lines()
    if affected:
        from pathlib import Path

        from ..tables import write

        write(found.touched, Path(affected))
        facts["affected"] = {"file": affected, "rows": found.touched.height}
        lines.insert(
            -1, f"wrote   {found.touched.height:,} touched rows, corrected where that can be known, to {affected}"
        )
    return Answer(facts, lines, 1 if found.found else 0)


def _check_why(about: str | None, since: str | None, until: str | None, on: str | None, file: str | None,
               against: str | None, affected: str | None) -> None:  # fmt: skip
    """Raise UsageError for options that do not go together."""
    if file and (about or since or until or on):
        raise UsageError("--file is about a table, the others about what was served", fix="leave one of them out")
    if against and not file:
        raise UsageError("--against says what a file is compared with", fix="--file march.csv --against february.csv")
    if affected:
        from pathlib import Path

        from ..tables import check_writable

        if about and not about.isdigit():
            raise UsageError("--affected needs a cause, not one prediction", fix="leave the id out")
        check_writable(Path(affected))


def _why(call: Call, about: str | None, *, file: str | None, against: str | None, touched: bool, **rest: Any) -> Any:
    """The project's answer; a file and its reference need no project."""
    from ..errors import NotFound

    try:
        handle = call.handle()
    except NotFound as error:
        if call.project or not file:
            raise
        if not against or (against[:1] == "d" and against[1:].isdigit()):
            raise UsageError(
                "without a project a file needs one that was right", why=error.what, fix="--against february.csv"
            ) from error
        from pathlib import Path

        from .. import tables
        from ..times import zone_of
        from ..why import diagnose_alone

        raw, reference = (tables.scan(one, base=Path.cwd()) for one in (file, against))
        return diagnose_alone(raw, reference, zone=zone_of("UTC"), touched=touched)
    return handle.why(about, file=file, against=against, touched=touched, **rest)


@verb(LIVE)
def promote(
    call: Call,
    version: Annotated[str, typer.Argument(metavar="V")],
    reason: Annotated[str, typer.Option("--reason")] = "",
    channel: Annotated[str, typer.Option("--channel", help="live, staging or shadow.")] = "live",
    force: Annotated[str | None, typer.Option("--force", metavar="REASON", help="Against the gate; recorded.")] = None,
) -> Answer:
    """Make a version live through its gate; servers follow within a second.

    middlewatch promote v2
    """
    done = call.handle().promote(version, reason=reason, channel=channel, force=force)
    return Answer(done.to_dict(), _released(done, "promoted"))


@verb(LIVE)
def rollback(
    call: Call,
    to: Annotated[str | None, typer.Option("--to", metavar="V", help="Default: what was live before.")] = None,
    reason: Annotated[str, typer.Option("--reason")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Answer:
    """Back to what was live before, in one entry. --dry-run replays the last 500 requests first.

    middlewatch rollback --dry-run
    """
    handle = call.handle()
    if not dry_run and not yes and _asks():
        plan = handle.rollback(to=to, dry_run=True)
        for line in _planned(plan):
            typer.echo(line, err=True)
        typer.confirm(f"roll back from {plan.previous} to {plan.live}?", abort=True, err=True)
    done = handle.rollback(to=to, reason=reason, dry_run=dry_run)
    return Answer(done.to_dict(), _planned(done) if dry_run else _released(done, "rolled back to"))


def _asks() -> bool:
    import sys

    return sys.stdin.isatty() and sys.stderr.isatty()


def _planned(plan: Released) -> list[str]:
    lines = [f"rolling back would put {plan.live} in the place of {plan.previous} (nothing was changed)"]
    replay = plan.replay or {}
    if replay.get("rows"):
        changed = replay["decisions_changed"]
        differ = f", {changed:,} decisions differ" if changed is not None else ""
        lines.append(
            f"  on the last {replay['rows']:,} logged requests: mean score {replay['score_now']:.4g} -> "
            f"{replay['score_then']:.4g}{differ}"
        )
    if replay.get("verdict"):
        lines.append(f"  {replay['verdict']}")
    lines += [f"WARN {note}" for note in plan.notes]
    lines.append(f"Next:   middlewatch rollback --to {plan.live} --reason '...'")
    return lines


def _released(done: Released, verb_done: str) -> list[str]:
    was = f", was {done.previous}" if done.previous else ""
    lines = [f"{verb_done} {done.live}{was} (journal entry {done.n}); servers follow within a second"]
    lines += [f"{'ok  ' if one['ok'] else 'FAIL'} {one['check']}: {one['detail']}" for one in done.gate]
    lines.append("Next:   middlewatch rollback  takes it back" if done.previous else "Next:   middlewatch serve")
    return lines


@verb(LIVE)
def unfreeze(call: Call, reason: Annotated[str, typer.Option("--reason")] = "") -> Answer:
    """Allow automatic promotion again after a rollback."""
    done = call.handle().unfreeze(reason=reason)
    return Answer(done.to_dict(), [f"automatic promotion is allowed again; {done.live} is live"])


@verb(LIVE)
def retrain(
    call: Call,
    data: Annotated[str | None, typer.Option("--data", metavar="TABLE")] = None,
    slot: Annotated[
        str | None, typer.Option("--slot", metavar="NAME", help="A scheduled run's name: runs once.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> Answer:
    """Train on what the source holds now, gate, and promote as configured.

    middlewatch retrain
    """
    handle = call.handle()
    spare_imports(handle)
    done = handle.retrain(data=data, slot=slot, seed=seed, progress=progress)
    code = {"refused": 1, "nothing_new": 5}.get(done.decision, 0)
    lines = [f"{done.decision.replace('_', ' ')}: {done.why}"]
    lines += trained_lines(done.trained) if done.trained else []
    if done.decision != "kept" and lines[-1].startswith("Next:"):
        lines.pop()
    return Answer(done.to_dict(), lines, code)


@verb(LIVE)
def tail(
    call: Call,
    since: Since = None,
    where: Annotated[str | None, typer.Option("--where", metavar="SQL")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as new ones come.")] = False,
    refused: Annotated[
        bool, typer.Option("--refused", help="Requests that were refused, or that the model failed on.")
    ] = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="Rows that the version in shadow scored, too.")] = False,
    count: Annotated[int, typer.Option("-n", min=1, help="How many of the newest.")] = 10,
) -> Answer:
    """The newest logged predictions, or refusals.

    middlewatch tail --where "temp < 0" -n 5
    """
    handle = call.handle()
    if (refused or shadow) and where:
        raise UsageError("--where reads the inputs of predictions alone", fix="leave --where out")

    def frame_since(after: Any) -> Any:
        if shadow:
            return handle.shadow(since=after)
        frame = handle.refused(since=after) if refused else handle.predictions(since=after, where=where)
        return frame.sort("mw.received", "mw.id")

    ident = "id" if shadow else "mw.id"
    shown = dict if shadow else _row
    frame = frame_since(since)
    rows = [shown(row) for row in frame.tail(count).to_dicts()]
    if not follow:
        return Answer({"rows": rows}, [_line(row) for row in rows] or ["no data"], 0 if rows else 5, stream=rows)
    seen: set[str] = set(frame[ident].tail(_REMEMBERED))
    while True:
        for row in rows:
            typer.echo(as_line(row) if call.as_json else _line(row))
        time.sleep(1)
        # Workers and machines write side by side: a row may turn up a little later than a newer one.
        frame = frame_since("1min")
        rows = [shown(row) for row in frame.to_dicts() if row[ident] not in seen]
        seen = set(frame[ident])


_REMEMBERED = 1_000_000  # rows of the last minute before one follows


def _row(row: dict[str, Any]) -> dict[str, Any]:
    facts = {name[3:]: value for name, value in row.items() if name.startswith("mw.") and name != "mw.raw"}
    if facts.get("features") is not None:
        facts["features"] = json.loads(facts["features"])
    inputs = {name: value for name, value in row.items() if not name.startswith("mw.")}
    told = ("field", "came", "expected", "error", "status") if "field" in row else ()
    known: dict[str, Any] = {one: inputs.pop(one, None) for one in told}
    return {**facts, **known, "inputs": inputs}


def _line(row: dict[str, Any]) -> str:
    if "shadow_score" in row:
        return (
            f"{row['received']:%Y-%m-%d %H:%M:%S}Z  {row['id']}  {row['version']} {row['score']:.4f}"
            f"  {row['shadow_version']} {row['shadow_score']:.4f}"
        )
    if "field" in row:
        word = "failed" if (row["status"] or 0) >= 500 else "refused"
        return f"{row['received']}  {row['caller'] or '-'}  {word}: {row['error']}"
    inputs = " ".join(f"{name}={value}" for name, value in row["inputs"].items() if value is not None)
    from ..model import ours

    # What was imported was received all at once; when it happened is what one looks for.
    when = row["received"] if ours(str(row["version"])) else row["time"]
    return f"{when:%Y-%m-%d %H:%M:%S}Z  {row['id']}  {row['version']}  {row['score']:.4f}  {inputs}"

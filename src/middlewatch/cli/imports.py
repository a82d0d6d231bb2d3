"""The verb that brings in what others have: logs of their services, and outcomes that came later."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .output import Answer, progress
from .run import OPERATE, Call, verb
from .start import Table

if TYPE_CHECKING:
    from ..imports import ImportedLog


@verb(OPERATE, name="import")
def import_(
    call: Call,
    source: Table,
    time: Annotated[str | None, typer.Option("--time", metavar="COL", help="When each row happened.")] = None,
    score: Annotated[
        list[str] | None,
        typer.Option("--score", metavar="COL", help="What was answered; once a class: --score cat=p_cat."),
    ] = None,
    id: Annotated[str | None, typer.Option("--id", metavar="COL", help="The id that an answer carried.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="COL", help="Your own id of the thing.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The model; default: after the file.")] = None,
    caller: Annotated[str | None, typer.Option("--caller", metavar="COL", help="Who asked.")] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="V|COL", help="Which model answered: a word, or a column.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COL", help="The outcome, where rows have it already.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="NAME", help="What outcomes are called.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="binary, multiclass or regression.")] = None,
    zone: Annotated[str | None, typer.Option("--zone", help="Of times that name none, in a new project.")] = None,
    role: Annotated[list[str] | None, typer.Option("--role", metavar="COL=ROLE", help="feature or ignored.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", metavar="COL=KIND", help="What it holds.")] = None,
    private: Annotated[
        list[str] | None, typer.Option("--private", metavar="COL=drop", help="Keep it out of the log.")
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="The table holds outcomes of logged predictions.")] = False,
    value: Annotated[str | None, typer.Option("--value", metavar="COL", help="With --labels: the outcome.")] = None,
) -> Answer:
    """Logs of a service that is not ours; with --labels, outcomes that came later.

    middlewatch import predictions.parquet --time ts --score p
    middlewatch import returned.parquet --labels --value returned --key order
    """
    if labels:
        return _outcomes(call, source, value=value, key=key, id=id, time=time)
    if time is None or not score:
        raise UsageError(
            f"which column holds the {'answers' if time else 'times'}?",
            fix="middlewatch import TABLE --time COL --score COL; outcomes: --labels --value COL --key COL",
        )
    from .. import library

    progress("reading the log, judging its days")
    said = {"role": role, "kind": kind, "private": private}
    done = library.import_(
        source,
        time=time,
        score=score,
        id=id,
        key=key,
        name=name or call.model,
        caller=caller,
        version=version,
        label=label,
        target=target,
        task=task,
        zone=zone,
        answers=[f"--{option} {one}" for option, given in said.items() for one in given or ()],
        project=call.project or os.environ.get("MIDDLEWATCH_PROJECT"),
    )
    return Answer(done.to_dict(), log_lines(done))


def log_lines(done: ImportedLog) -> list[str]:
    """What was filed, what was guessed, what it was judged to be."""
    known = f", {done.known:,} were there" if done.known else ""
    twice = f", {done.repeated:,} stand in the table twice" if done.repeated else ""
    lines = [
        f"{done.model}: {done.new:,} of {done.rows:,} rows are new{known}{twice}; "
        f"{done.first:%Y-%m-%d} to {done.last:%Y-%m-%d}, {len(done.inputs)} inputs, live {done.live}"
    ]
    if done.files:
        lines.append(f"wrote {', '.join(done.files)} in {done.folder}  (review the schema)")
    shown = done.doubts[:4]
    lines += [
        f"  {one.column}: {one.question} taken as {one.guess}  ({one.why})"
        + (f"; else import it into a new folder with {one.other}" if one.other.startswith("--role") else "")
        for one in shown
    ]
    if len(done.doubts) > len(shown):
        lines.append(f"  and {len(done.doubts) - len(shown)} more, as comments in {done.model}.schema.toml")
    if done.labels is not None and done.labels.share_labelled is not None:
        lines.append(f"  {done.labels.share_labelled:.0%} of the predictions of that time have an outcome")
    lines += [f"  {note}" for note in done.notes]
    if done.windows:
        open_now = f", open now: incident {', '.join(str(n) for n in done.incidents)}" if done.incidents else ""
        lines.append(f"  {done.windows:,} windows judged, {done.alarms} alarmed{open_now}")
    lines.append(f"Next:   middlewatch {'why' if done.incidents else 'status'}")
    return lines


def _outcomes(
    call: Call, source: str, *, value: str | None, key: str | None, id: str | None, time: str | None
) -> Answer:
    if value is None:
        raise UsageError("which column holds the outcomes?", fix="--value COL")
    done = call.handle().import_labels(source, value=value, key=key, id=id, time=time)
    lines = [
        f"{done.rows:,} rows: {done.joined:,} belong to logged predictions, {done.unmatched:,} to none, "
        f"{done.written:,} labels are new"
    ]
    if done.empty:
        lines.append(f"  {done.empty:,} rows have no outcome yet")
    if done.duplicates:
        lines.append(f"  {done.duplicates:,} rows are overruled by a later one of the same {'key' if key else 'id'}")
    if done.share_labelled is not None:
        lines.append(
            f"  {done.share_labelled:.0%} of {done.predictions:,} predictions of that time have an outcome now"
        )
    if done.unmatched and not done.joined:
        lines.append("WARN none of them is known: is it the column that predictions were sent with?")
    lines.append("Next:   middlewatch monitor" if done.joined else "Next:   middlewatch tail")
    return Answer(done.to_dict(), lines)

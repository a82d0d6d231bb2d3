"""Verbs to start with: init, check, train, serve, demo."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import Answer, progress
from .run import START, Call, spare_imports, verb

if TYPE_CHECKING:
    from ..infer import Doubt
    from ..train import Trained

Table = Annotated[str, typer.Argument(metavar="TABLE", help="CSV, Parquet, Feather, JSON lines; a folder or glob.")]


@verb(START)
def init(
    call: Call,
    source: Table,
    target: Annotated[str, typer.Option("--target", metavar="COL", help="What the model predicts.")],
    time: Annotated[str | None, typer.Option("--time", metavar="COL", help="When each row happened.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="COL", help="Your own id of a row.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name; default: the target.")] = None,
    folder: Annotated[str, typer.Option("--dir", metavar="DIR", help="Where the project goes.")] = ".",
    task: Annotated[str | None, typer.Option("--task", help="binary, multiclass or regression.")] = None,
    missing: Annotated[
        list[str] | None, typer.Option("--missing", metavar="COL=TEXT", help="TEXT means missing.")
    ] = None,
    value: Annotated[list[str] | None, typer.Option("--value", metavar="COL=TEXT", help="TEXT is a value.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", metavar="COL=KIND", help="What it holds.")] = None,
    role: Annotated[list[str] | None, typer.Option("--role", metavar="COL=ROLE", help="feature or ignored.")] = None,
    private: Annotated[
        list[str] | None, typer.Option("--private", metavar="COL=drop", help="Keep it out of logs: drop or hash.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take every guess, ask nothing.")] = False,
) -> Answer:
    """Start a project: look at all rows of a table, write middlewatch.toml, a schema to review, and plots.

    middlewatch init flights.parquet --target late --time departs
    """
    from .. import library

    said = {"missing": missing, "value": value, "kind": kind, "role": role, "private": private}
    answers = [f"--{option} {one}" for option, given in said.items() for one in given or ()]
    people = sys.stdin.isatty() and sys.stdout.isatty() and not call.as_json and not yes
    started = library.init(
        source,
        target=target,
        time=time,
        key=key,
        name=name or call.model,
        folder=folder,
        task=task,
        answers=answers,
        ask=_right if people else None,
    )
    kinds: dict[str, int] = {}
    for column in started.schema.features:
        kinds[column.kind] = kinds.get(column.kind, 0) + 1
    inputs = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    lines = [
        f"{started.name}: a {started.schema.task} model of {target} from {len(started.schema.features)} inputs "
        f"({inputs}), {started.report.rows:,} rows",
        f"wrote {', '.join(started.files)}  (limits marked guessed are for you to confirm)",
    ]
    lines += [
        f"  {one.column}: {one.question} taken as {one.guess}  ({one.why})"
        + (f"; else {one.other}" if one.other else "")
        for one in started.doubts[:3]
    ]
    if len(started.doubts) > 3:
        lines.append(f"  and {len(started.doubts) - 3} more, as comments in {started.name}.schema.toml")
    lines.append("Next:   middlewatch train")
    return Answer(started.to_dict(), lines)


def _right(doubt: Doubt) -> bool:
    """One question on the terminal; Enter takes the guess."""
    print(f"{doubt.column}: {doubt.question} taken as {doubt.guess}  ({doubt.why})", file=sys.stderr)
    return typer.confirm("  right?", default=True, err=True)


@verb(START)
def train(
    call: Call,
    data: Annotated[
        str | None, typer.Option("--data", metavar="TABLE", help="Another table, or a version: d3.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    force: Annotated[
        str | None, typer.Option("--force", metavar="REASON", help="Train although data tests fail; recorded.")
    ] = None,
) -> Answer:
    """Snapshot the data, test it, train, compare with the live version, record. Releases nothing.

    middlewatch train
    """
    handle = call.handle()
    spare_imports(handle)
    trained = handle.train(data=data, seed=seed, force=force, progress=progress)
    return Answer(trained.to_dict(), trained_lines(trained), 0 if trained.ok else 1)


def trained_lines(trained: Trained) -> list[str]:
    """What was made, its worth, the gate; shared with retrain."""
    name, first = next(iter(trained.metrics.items()))
    lines = [
        f"{trained.version} from {trained.data}: {name} {first['value']:.4f} "
        f"({first['low']:.4f} to {first['high']:.4f}) on {trained.holdout_rows:,} later rows, "
        f"grown on {trained.rows:,}, {trained.seconds:.1f} s"
    ]
    lines += [
        f"  left out {one['rows']:,} rows marked bad, {one['since']} to {one['until']}" for one in trained.left_out
    ]
    lines += [f"  {note}" for note in trained.notes]
    lines += [f"{'ok  ' if one['ok'] else 'FAIL'} {one['check']}: {one['detail']}" for one in trained.gate]
    lines.append(f"Next:   middlewatch {'promote' if trained.ok else 'versions'} {trained.version}")
    return lines


@verb(START)
def serve(
    call: Call,
    host: Annotated[str | None, typer.Option("--host", help="Default: [serve] host.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Default: [serve] port; 0: any free one.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Default: [serve] workers.")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Serve beyond this machine without API keys.")] = False,
) -> Answer:
    """Answer predictions and show the pages of all live models, until stopped.

    middlewatch serve --port 8000
    """
    from ..serve.run import serve as answer
    from ..web import pages

    def announce(facts: dict[str, Any]) -> None:
        if call.as_json:
            print(json.dumps({"schema": 1, **facts}), flush=True)
        else:
            models = ", ".join(f"{name} {version}" for name, version in facts["models"].items()) or "nothing live yet"
            print(f"serving {models} on {facts['url']}   (pages: {facts['url']}/, stop with Ctrl-C)", file=sys.stderr)

    project = call.handle().project
    wanted = project.config.serve
    answer(
        project,
        host=host or wanted.host,
        port=wanted.port if port is None else port,
        workers=workers or wanted.workers,
        pages=pages,
        announce=announce,
        no_auth=no_auth,
    )
    return Answer({"stopped": True}, [])


@verb(START)
def demo(
    call: Call,
    fault: Annotated[
        str, typer.Option("--fault", metavar="NAME", help="What goes wrong; --faults lists them.")
    ] = "celsius",
    column: Annotated[
        str | None, typer.Option("--column", metavar="COL", help="Another column than the fault's own.")
    ] = None,
    factor: Annotated[float | None, typer.Option("--factor", help="With --fault scale.")] = None,
    offset: Annotated[float | None, typer.Option("--offset", help="With --fault scale.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Without the second story, the wrong release.")] = False,
    keep: Annotated[str | None, typer.Option("--keep", metavar="DIR", help="Keep the project there.")] = None,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults.")] = False,
) -> Answer:
    """One night of production on a year of real flights, under a minute.

    middlewatch demo --fault scale --column distance --factor 1.6
    """
    from pathlib import Path

    from ..demo import night
    from ..demo.faults import NAMES

    if faults:
        return Answer({"faults": list(NAMES)}, list(NAMES))
    people = night.watched() and not call.as_json
    facts = night.play(
        fault=fault,
        column=column,
        factor=factor,
        offset=offset,
        fast=fast,
        keep=Path(keep).resolve() if keep else None,
        say=lambda line: print(line, file=sys.stderr if call.as_json else sys.stdout, flush=True),
        stay=night.leave_open if people else None,
    )
    return Answer(facts, [f"Next:   middlewatch why --project {keep}"] if keep else [])

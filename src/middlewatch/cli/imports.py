"""The verb that brings in what others have: outcomes that came later."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import UsageError
from .output import Answer
from .run import OPERATE, Call, verb
from .start import Table


@verb(OPERATE, name="import")
def import_(
    call: Call,
    source: Table,
    labels: Annotated[bool, typer.Option("--labels", help="The table holds outcomes of logged predictions.")] = False,
    value: Annotated[str | None, typer.Option("--value", metavar="COL", help="The outcome.")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="COL", help="Your own id of the thing.")] = None,
    id: Annotated[str | None, typer.Option("--id", metavar="COL", help="The id that an answer carried.")] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="COL", help="When the outcome was; the newest one counts.")
    ] = None,
) -> Answer:
    """Outcomes that came later, joined with the predictions they belong to.

    middlewatch import returned.parquet --labels --value returned --key order
    """
    if not labels:
        raise UsageError(
            "import takes outcomes only, for now",
            why="logs of another service and models of MLflow cannot be imported yet",
            fix="middlewatch import TABLE --labels --value COL --key COL",
        )
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

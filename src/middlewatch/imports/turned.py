"""Tables that were turned away because inputs are missing: on record as refused, so that `why` tells it afterwards."""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from hashlib import blake2b
from typing import TYPE_CHECKING

import polars as pl

from middlewatch import predictions
from middlewatch.errors import Refused

from .filing import CALLER, SERVER
from .reading import MOMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from middlewatch.project import Project
    from middlewatch.schema import Schema

IDENT = "import-refused-"


def check(
    project: Project | None,
    schema: Schema,
    columns: Sequence[str],
    new: Sequence[str],
    source: str,
    *,
    ids: pl.Series,
    times: pl.Series,
    callers: pl.Series | None,
    now: datetime,
) -> None:
    """Raise Refused where a table lacks inputs of a schema, and put its rows on record as refused.

    `new` are columns that the schema does not know. Of rows with the time of one that is filed nothing is kept; the
    same table again adds nothing.
    """
    missing = [one for one in schema.features if one.name not in columns]
    if not missing:
        return
    names, file = [one.name for one in missing], f"{schema.name}.schema.toml"
    if project is not None:
        like = _other(names[0], new, alone=len(names) == 1)
        words = f"{', '.join(names[:4])} {'is' if len(names) == 1 else 'are'} missing"
        words += f'; it has "{like}"' if like else ""
        who = callers.fill_null(CALLER) if callers is not None else pl.Series([CALLER]).new_from_index(0, ids.len())
        rows = pl.DataFrame({"mw.id": ids, "mw.time": times.cast(MOMENT), "mw.caller": who}).with_columns(
            field=pl.lit(names[0]), came=pl.lit("nothing"), expected=pl.lit(missing[0].kind), error=pl.lit(words)
        )
        _keep(project, schema.name, rows, now)
    raise Refused(
        f"the table lacks {len(names)} of {schema.name}'s inputs: {', '.join(names[:12])}",
        where=source,
        why=f"it has {', '.join(new[:8])}, which {file} does not know" if new else "",
        fix=f'is it there under another name? give it the old one; or role = "ignored" in {file} for what is no '
        "longer sent",
    )


def _other(name: str, new: Sequence[str], *, alone: bool) -> str:
    """The column that stands for a missing one: the only one that could, or one of nearly its name; "" for none."""
    if alone and len(new) == 1:
        return new[0]
    folded = {one.lower(): one for one in new}
    close = get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def _keep(project: Project, name: str, rows: pl.DataFrame, now: datetime) -> None:
    filed = predictions.scan(project.store, project.spool(name), name, columns=["mw.time"]).unique().collect()
    rows = rows.join(filed, on="mw.time", how="anti").unique("mw.id").sort("mw.time", "mw.id")
    if not rows.height:
        return
    forget(project, name, rows["mw.time"])  # turned away for another reason before
    mark = blake2b("|".join([*rows["error"].unique(), *rows["mw.id"]]).encode(), digest_size=8).hexdigest()
    version = project.journal(name).live() or "none"
    said = rows.with_columns(
        pl.lit(now, dtype=MOMENT).alias("mw.received"),
        pl.lit(SERVER + mark).alias("mw.server"),
        pl.lit(version).alias("mw.version"),
        pl.lit(422, dtype=pl.Int64).alias("status"),
        pl.lit(None, dtype=pl.Binary).alias("mw.raw"),
    ).select(predictions.REFUSED)
    predictions.put(project.store, name, "refused", said, version=version, ident=IDENT + mark)


def forget(project: Project, name: str, times: pl.Series) -> None:
    """Take back what was kept of rows with these event times, which are filed now, or turned away anew."""
    for file in predictions.files(project.store, name, stream="refused"):
        if file.ident.startswith(IDENT):
            held = predictions.file_rows(project.store, file).select("mw.time").collect()["mw.time"]
            if held.is_in(times.implode()).all():
                project.store.delete(file.key)

"""A second version beside the live one: the rows that are filed are scored by it, too, and filed apart.

It runs in the child that turns segments into Parquet: no request waits for it, and each row is scored once.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import MiddlewatchError
from ..predictions import Beside

if TYPE_CHECKING:
    import polars as pl

    from ..project import Project

__all__ = ["CHANNEL", "compared", "shadow_of"]

CHANNEL = "shadow"


def shadow_of(project: Project, name: str) -> Beside | None:
    """How the version in shadow scores logged rows; None where there is none. Raises as loading a version does."""
    from .. import predictions, replay
    from ..observations import predicted_columns

    version = project.journal(name).live(CHANNEL)
    if version is None:
        return None
    loaded = replay.load(project, name, version)
    schema, names = loaded.version.schema, loaded.version.encoding.names
    hidden = [one.name for one in schema.columns if one.private is not None and one.name in names]
    if hidden:
        raise MiddlewatchError(
            f"{version} cannot score the log: it reads {', '.join(hidden)}, which is not kept as it came",
            fix=f"middlewatch rollback --channel {CHANNEL}, or take private away",
        )
    inputs = loaded.version.encoding.names

    def score(frame: pl.DataFrame) -> tuple[str, pl.DataFrame]:
        scored = frame.with_columns(predicted_columns(loaded.scores(frame), loaded.version.classes))
        scored = scored.with_columns(_said(version, loaded.version.outputs > 1))
        kept = [one for one in inputs if one in scored.columns]
        return version, scored.select(*kept, *predictions.META)

    return score


def _said(version: str, several: bool) -> list[pl.Expr]:
    import polars as pl

    words: list[pl.Expr] = [pl.lit(version).alias("mw.version"), pl.lit(None, dtype=pl.Float64).alias("mw.latency_us")]
    if not several:
        words.append(pl.lit(None, dtype=pl.String).alias("mw.label"))
        words.append(pl.lit(None, dtype=pl.List(pl.Float64)).alias("mw.scores"))
    return words


def compared(
    project: Project, name: str, *, since: datetime | None = None, until: datetime | None = None
) -> pl.DataFrame:
    """Rows received in [since, until) that a version in shadow scored, oldest first, with both scores.

    Columns: `id`, `received`, `version`, `score`, `shadow_version`, `shadow_score`, and for several classes `label`
    and `shadow_label`.
    """
    import polars as pl

    from .. import predictions

    store, spool = project.store, project.spool(name)
    wanted = ["mw.id", "mw.received", "mw.version", "mw.score", "mw.label"]
    made = predictions.scan(store, None, name, since=since, until=until, by="received", columns=wanted, stream="shadow")
    told = predictions.scan(store, spool, name, since=since, until=until, by="received", columns=wanted)
    plain = {one: one[3:] for one in wanted}
    beside = made.rename(plain).rename({"version": "shadow_version", "score": "shadow_score", "label": "shadow_label"})
    return (
        told.rename(plain)
        .join(beside.drop("received"), on="id", how="inner")
        .select(
            pl.col("id", "received", "version", "score", "shadow_version", "shadow_score", "label", "shadow_label"),
        )
        .sort("received", "id")
        .collect()
    )

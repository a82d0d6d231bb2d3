"""The one shape that log, windows, replay and history share: a row a prediction, the inputs and ours as `mw.*`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .schema import Schema

MOMENT = pl.Datetime("us", "UTC")


def predicted_columns(predicted: NDArray[np.float64], classes: tuple[str, ...]) -> list[pl.Series]:
    """A batch of predictions as `mw.score`, and where there is a column a class as `mw.label` and `mw.scores` too.

    `predicted` is (n,) or (n, classes); `mw.score` of a multiclass row is the probability of its likeliest class.
    """
    if predicted.ndim == 1:
        return [pl.Series("mw.score", predicted, dtype=pl.Float64)]
    best = predicted.argmax(axis=1)
    return [
        pl.Series("mw.score", predicted.max(axis=1), dtype=pl.Float64),
        pl.Series("mw.label", [classes[code] for code in best], dtype=pl.String),
        pl.Series("mw.scores", predicted.tolist(), dtype=pl.List(pl.Float64)),
    ]


def observe(
    rows: pl.DataFrame,
    schema: Schema,
    predicted: NDArray[np.float64],
    *,
    version: str | None,
    caller: str,
    received: datetime | None,
    time: str | None = None,
) -> pl.DataFrame:
    """Typed rows and their predictions as observations, without `mw.id`: the log gives ids of its own.

    Event time is the column `time`, else the schema's, else `received`, for rows without one too. Private columns
    are left out, a private key too: hashing one takes the server's secret.
    """
    when = time or schema.time
    now = pl.lit(received, dtype=MOMENT)
    event = pl.coalesce(pl.col(when).cast(MOMENT), now) if when and when in rows.columns else now
    open_ = schema.key is not None and schema.key in rows.columns and schema.column(schema.key).private is None
    key = pl.col(str(schema.key)).cast(pl.String) if open_ else pl.lit(None, dtype=pl.String)
    inputs = [one.name for one in schema.features if one.name in rows.columns and one.private is None]
    return rows.select(
        *inputs,
        event.alias("mw.time"),
        now.alias("mw.received"),
        key.alias("mw.key"),
        pl.lit(version, dtype=pl.String).alias("mw.version"),
        pl.lit(caller).alias("mw.caller"),
    ).with_columns(predicted_columns(predicted, schema.classes))

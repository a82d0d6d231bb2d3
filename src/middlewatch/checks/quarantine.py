"""Bad rows, each with its reasons."""

from __future__ import annotations

import polars as pl

from middlewatch.schema import Schema

from .marked import marked
from .tests import predicates, tolerated


def bad_rows(raw: pl.DataFrame, schema: Schema, *, zone: str = "UTC", first_row: int = 0) -> pl.DataFrame:
    """The rows of a raw batch that break a test that fails (not warnings), for quarantine.

    The raw columns as they came, `mw.row` (the 0-based row in the table, the batch beginning at `first_row`) and
    `mw.reasons`, a list of test and column such as "range: temp".
    """
    typed = marked(raw, schema, zone)
    allowed = {one.name: one.severity for one in schema.columns}
    rules = {f"rule:{one.name}": one.severity for one in schema.rules}
    reasons = []
    for test in predicates(schema):
        severity = rules.get(test.name) or allowed[test.name.partition(":")[2]]
        if (
            severity == "fail"
            and set(test.expr.meta.root_names()) <= set(typed.columns)
            and not tolerated(test, schema)
        ):
            kind, _, name = test.name.partition(":")
            reasons.append(pl.when(test.expr.fill_null(False)).then(pl.lit(f"{kind}: {name}")))
    listed = pl.concat_list(reasons).list.drop_nulls() if reasons else pl.lit([], dtype=pl.List(pl.String))
    why = typed.select(listed.alias("mw.reasons")).to_series()
    if why.len() != raw.height:
        why = pl.Series("mw.reasons", [[]] * raw.height, dtype=pl.List(pl.String))
    return raw.with_row_index("mw.row", offset=first_row).with_columns(why).filter(pl.col("mw.reasons").list.len() > 0)

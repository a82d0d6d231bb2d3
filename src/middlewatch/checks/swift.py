"""Tests alone, of a table whose columns have their types already: one query of sums, fused with decoding.

It answers only "nothing is broken" and "few enough to count"; which rows, and examples, are asked of the slower pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from middlewatch import tables
from middlewatch.cells import DTYPES, column, perhaps_blank
from middlewatch.profiles import Failed, Profile

from .plan import Plan
from .tests import MASK


def clean(raw: tables.Raw, tested: Plan, dtypes: Mapping[str, pl.DataType]) -> Profile | None:
    """The counters of a table that breaks no test but those of nulls; None where that takes a look at its rows."""
    columns = [one for one in tested.schema.columns if one.name in dtypes and one.role != "ignored"]
    typed = all(dtypes[one.name] == DTYPES[one.kind] and not one.missing for one in columns)
    if not typed or tested.rules or tested.schema.table.ordered or raw.textual:
        return None
    there = {*dtypes, *(MASK + one.name for one in columns)}
    asked = [one for one in tested.predicates if there.issuperset(one.expr.meta.root_names())]
    sums = [one.expr.fill_null(False).sum().alias(one.name) for one in asked]
    texts = [column(one.name) for one in columns if one.kind in ("category", "text")]
    blank = pl.any_horizontal(perhaps_blank(one).any() for one in texts) if texts else pl.lit(False)
    marked = raw.frame.with_columns(pl.lit(False).alias(MASK + one.name) for one in columns)
    with tables.reading(raw.source):
        counted = marked.select(pl.len().alias("mw.rows"), blank.alias("mw.blank"), *sums).collect(engine="streaming")
    found = counted.row(0, named=True)
    rows = int(found["mw.rows"])
    if not rows or found["mw.blank"] or any(found[one.name] for one in asked if not one.name.startswith("nulls:")):
        return None
    for one in columns:
        if found.get(f"nulls:{one.name}", 0) > max(one.nulls * rows, 1 if one.nulls else 0):
            return None
    return Profile(rows=rows, failed={one.name: Failed(int(found[one.name] or 0)) for one in asked})

"""Bad rows and good ones, apart: each bad row with its reasons, none lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import polars as pl

from middlewatch import tables
from middlewatch.cells import column
from middlewatch.errors import TableError

from .plan import Plan

REASONS = "mw.reasons"
ROW = "mw.row"


class Parts(NamedTuple):
    """Some rows of a table as they came: those that no test finds bad, and the others with `mw.row`, `mw.reasons`."""

    good: pl.DataFrame
    bad: pl.DataFrame


def split(raw: tables.Raw, tested: Plan, repeated: Mapping[str, pl.Series]) -> Iterator[Parts]:
    """A table in order, some rows at a time, every row in one of the two parts; reads it once more.

    Bad is a row that breaks a test that fails, unless a share of rows may; `repeated` are the rows that repeat an
    earlier one (`Report.repeated`). `mw.row` is the 0-based row in the table, `mw.reasons` a list such as
    `["range: temp", "unique: id"]`. Raises TableError where the table has a column of one of these names.
    """
    taken = next((one for one in (ROW, REASONS) if one in raw.columns), None)
    if taken is not None:
        why = "rows that are set aside get a column of that name"
        raise TableError(f'the column "{taken}" has a reserved name', where=raw.source, why=why, fix="rename it")
    row = 0
    for batch in tables.batches(raw.frame):
        ready = tested.ready(batch)
        numbered = batch.with_columns(
            pl.int_range(row, row + batch.height, dtype=pl.Int64).alias(ROW), reasons(ready, tested)
        )
        for test, rows in repeated.items():
            if tested.bad(test):
                again = pl.when(pl.col(ROW).is_in(rows.implode())).then(pl.concat_list(REASONS, pl.lit(_said(test))))
                numbered = numbered.with_columns(again.otherwise(REASONS).alias(REASONS))
        is_bad = pl.col(REASONS).list.len() > 0
        yield Parts(numbered.filter(~is_bad).drop(ROW, REASONS), numbered.filter(is_bad))
        row += batch.height


def no_rows(raw: tables.Raw) -> Parts:
    """The two parts of a table without rows: their columns."""
    empty = raw.frame.head(0).collect()
    why = pl.Series(REASONS, [], dtype=pl.List(pl.String))
    return Parts(empty, empty.with_columns(pl.lit(0, dtype=pl.Int64).alias(ROW), why))


def reasons(ready: pl.DataFrame, tested: Plan) -> pl.Series:
    """For each row of a ready batch the tests that make it bad."""
    there = set(ready.columns)
    listed = [
        pl.when(test.expr.fill_null(False)).then(pl.lit(_said(test.name)))
        for test in tested.predicates
        if tested.bad(test.name) and there.issuperset(test.expr.meta.root_names())
    ]
    if not listed:
        return pl.Series(REASONS, [[]] * ready.height, dtype=pl.List(pl.String))
    everything = ready.with_row_index("mw.at").select(
        pl.concat_list(listed).list.drop_nulls().alias(REASONS), column("mw.at")
    )
    return everything.to_series(0)


def _said(test: str) -> str:
    return test.replace(":", ": ", 1)

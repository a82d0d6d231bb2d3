"""Values that must not repeat."""

from __future__ import annotations

import polars as pl

from middlewatch.cells import column
from middlewatch.profiles import Failed
from middlewatch.profiles.table import EXAMPLES
from middlewatch.schema import Schema


class Repeats:
    """Whether a key repeats: 8 bytes a row, and a second look only at rows whose hashes meet."""

    def __init__(self) -> None:
        self.hashes: list[pl.Series] = []

    def add(self, values: pl.Series) -> None:
        self.hashes.append(pl.select(pl.when(values.is_not_null()).then(values.hash())).to_series())

    def found(self, frame: pl.LazyFrame, schema: Schema, name: str, zone: str) -> Failed:
        """Rows whose value an earlier row has, and the first of them."""
        if not self.hashes:
            return Failed(0)
        hashes = pl.concat(self.hashes)
        met = hashes.is_duplicated() & hashes.is_not_null()
        if not met.any():
            return Failed(0)
        rows = met.arg_true().alias("row")
        held = frame.select(column(name)).with_row_index("mw.row").filter(pl.col("mw.row").is_in(rows.implode()))
        raw = held.collect()
        values = schema.typed(raw.select(column(name)), zone=zone).frame.to_series()
        later = ~values.is_first_distinct()
        shown = raw["mw.row"].filter(later).head(EXAMPLES).to_list()
        hidden = schema.column(name).private is not None
        examples = [
            {"row": row} if hidden else {"row": row, "value": value}
            for row, value in zip(shown, values.filter(later).head(len(shown)).to_list(), strict=True)
        ]
        return Failed(int(later.sum()), tuple(examples))

"""Values that must not repeat."""

from __future__ import annotations

import numpy as np
import polars as pl

from middlewatch.cells import column
from middlewatch.profiles import Failed
from middlewatch.profiles.table import EXAMPLES
from middlewatch.schema import Schema


class Repeats:
    """Whether the values of some columns together repeat: 8 bytes a row, and a second look where hashes meet."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.hashes: list[pl.Series] = []

    def add(self, typed: pl.DataFrame) -> None:
        """The next rows, in order. Rows that miss a value are not compared."""
        values = typed[self.columns[0]] if len(self.columns) == 1 else typed.select(self.columns).to_struct("mw.key")
        hashes = values.hash()
        if any(typed[name].null_count() for name in self.columns):
            whole = typed.select(pl.all_horizontal(column(name).is_not_null() for name in self.columns)).to_series()
            hashes = pl.select(pl.when(whole).then(hashes)).to_series()
        self.hashes.append(hashes)

    def found(self, frame: pl.LazyFrame, schema: Schema, zone: str) -> tuple[Failed, pl.Series]:
        """Rows whose values an earlier row has, the first of them as examples; and the numbers of all of them."""
        none = pl.Series("row", [], dtype=pl.UInt32)
        if not self.hashes:
            return Failed(0), none
        hashes = pl.concat(self.hashes)
        ordered = np.sort(hashes.drop_nulls().to_numpy())
        if not (ordered[1:] == ordered[:-1]).any():
            return Failed(0), none
        met = hashes.is_duplicated() & hashes.is_not_null()
        rows = met.arg_true().alias("row")
        names = list(self.columns)
        picked = frame.select(column(name) for name in names).with_row_index("mw.row")
        raw = picked.filter(pl.col("mw.row").is_in(rows.implode())).collect()
        typed = schema.typed(raw.select(column(name) for name in names), zone=zone).frame.select(names)
        later = ~(typed.to_series() if len(names) == 1 else typed.to_struct("mw.key")).is_first_distinct()
        at = raw["mw.row"].filter(later)
        shown = typed.filter(later).head(EXAMPLES)
        hidden = any(schema.column(name).private for name in names)
        examples = [
            {"row": row}
            if hidden
            else {"row": row, "value": value[0] if len(names) == 1 else ", ".join(map(str, value))}
            for row, value in zip(at.head(EXAMPLES).to_list(), shown.rows(), strict=True)
        ]
        return Failed(len(at), tuple(examples)), at

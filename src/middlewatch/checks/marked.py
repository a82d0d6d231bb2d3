"""A typed batch beside the marks of its cells that did not parse."""

from __future__ import annotations

import polars as pl

from middlewatch.cells import is_text
from middlewatch.schema import Schema

from .tests import MASK, RAW


def marked(raw: pl.DataFrame, schema: Schema, zone: str) -> pl.DataFrame:
    """A typed batch with the mask of each column's unparsed cells, and those cells' raw values where there are any."""
    frame, unparsed = schema.typed(raw, zone=zone)
    masks = [mask.alias(MASK + name) for name, mask in unparsed.items()]
    shown = [
        raw[name].alias(RAW + name) if is_text(raw[name].dtype) or raw[name].dtype.is_numeric() else _texts(raw[name])
        for name, mask in unparsed.items()
        if mask.any()
    ]
    return frame.with_columns(*masks, *shown)


def _texts(values: pl.Series) -> pl.Series:
    return pl.Series(RAW + values.name, [None if one is None else str(one)[:80] for one in values], dtype=pl.String)

"""The target column as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .schema import Schema


def target_of(rows: pl.DataFrame, schema: Schema) -> NDArray[np.float64]:
    """Typed rows' targets: 0/1, class codes in the order of `schema.classes`, or values. NaN where unknown."""
    values = rows[schema.target]
    if schema.task == "regression":
        return values.cast(pl.Float64).to_numpy().astype(np.float64)
    codes = {text: float(code) for code, text in enumerate(schema.classes)}
    texts = values.cast(pl.String)
    return texts.replace_strict(codes, default=None, return_dtype=pl.Float64).to_numpy().astype(np.float64)

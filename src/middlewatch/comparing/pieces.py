"""Which rows of a table are new, cut into pieces in order, and the reference cut into windows of history. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

import polars as pl

from ..fingerprints import thresholds
from ..schema import Schema

WINDOWS: Final = 28
"""Blocks that a reference is cut into: as many as the past days that live traffic is held against."""
PIECES: Final = 4
"""Pieces of the new rows that are looked at one after the other: a fault in the last tenth of a table is nearly half
of its own piece, and no drop in a bucket."""
PIECE_ROWS: Final = 1_000
"""Rows that make a piece; fewer are one piece."""
MOST_ROWS: Final = 2_000
"""Rows of a piece or window that are looked at, evenly drawn."""


@dataclass(frozen=True)
class Piece:
    """Rows in order, at most MOST_ROWS of `total`, with `mw.at` (row number in the table). `restated`: they lie in
    the time that the reference covers, so what it holds of that time was changed."""

    rows: pl.DataFrame
    total: int
    restated: bool = False

    @property
    def since(self) -> datetime | None:
        """The time of its first row, where rows have times."""
        first = self.rows["mw.time"][0] if "mw.time" in self.rows.columns else None
        return first if isinstance(first, datetime) else None

    @property
    def whole(self) -> bool:
        return self.rows.height == self.total

    @property
    def weight(self) -> float:
        """Rows of the table that one row of the piece stands for."""
        return self.total / max(self.rows.height, 1)


@dataclass(frozen=True)
class Parts:
    """`windows` of the reference and `pieces` of the new rows; `same` rows of the table are in the reference too."""

    windows: tuple[pl.DataFrame, ...]
    pieces: tuple[Piece, ...]
    same: int
    fresh: int


def parts(now: pl.DataFrame, then: pl.DataFrame, schema: Schema, *, most: int = MOST_ROWS) -> Parts:
    """Cut a typed table beside a typed reference; rows that are equal in every column they share are known.

    A piece holds at most `most` rows; where that is all of them, there is one.
    """
    now = now.with_row_index("mw.at").with_columns(pl.col("mw.at").cast(pl.Int64))
    shared = [one for one in then.columns if one in now.columns]
    known = then.select(shared).hash_rows()
    fresh = now.filter(~now.select(shared).hash_rows().is_in(known.implode()))
    time = schema.time if schema.time in shared else None
    if time is not None:
        then, fresh = (one.with_columns(pl.col(time).alias("mw.time")).sort("mw.time") for one in (then, fresh))
    count = min(WINDOWS, then.height // thresholds.MIN_ROWS)
    windows = tuple(evenly(one) for one in blocks(then, count)) if count else ()
    end = then["mw.time"].max() if time is not None and then.height else None
    pieces: list[Piece] = []
    if isinstance(end, datetime):
        old = fresh.filter(pl.col("mw.time") <= end)
        fresh_rows = fresh.filter(~(pl.col("mw.time") <= end).fill_null(False))
        pieces += _pieces(old, most, restated=True)
        pieces += _pieces(fresh_rows, most)
    else:
        pieces += _pieces(fresh, most)
    return Parts(windows, tuple(pieces), now.height - fresh.height, fresh.height)


def _pieces(rows: pl.DataFrame, most: int, *, restated: bool = False) -> list[Piece]:
    if rows.height < thresholds.MIN_ROWS:
        return []
    count = min(PIECES, max(rows.height // PIECE_ROWS, 1)) if most < rows.height else 1
    return [Piece(evenly(one, most), one.height, restated) for one in blocks(rows, count)]


def blocks(rows: pl.DataFrame, count: int) -> Sequence[pl.DataFrame]:
    """Consecutive parts of nearly equal size."""
    ends = [rows.height * k // count for k in range(count + 1)]
    return [rows[start:end] for start, end in pairwise(ends)]


def evenly(rows: pl.DataFrame, most: int = MOST_ROWS) -> pl.DataFrame:
    """At most `most` rows, evenly drawn, in order."""
    if rows.height <= most:
        return rows
    step = rows.height / most
    return rows[[int(k * step) for k in range(most)]]

"""A table as a log: when each row happened and what tells it apart. What cannot be is refused, and nothing is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from middlewatch.cells import cast, is_text
from middlewatch.elsewhere import external
from middlewatch.errors import Refused, UsageError
from middlewatch.ids import ALPHABET
from middlewatch.labels import LONGEST
from middlewatch.profiles import hash_ids
from middlewatch.tables import refuse_rows

MOMENT = pl.Datetime("us", "UTC")
AHEAD = timedelta(minutes=5)
"""How far a clock may be ahead of ours."""
LONGEST_CALLER = 64
_ZONED = r"[T ][0-9]{2}:[0-9]{2}.*(?:Z|z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)\s*$"
# Of numbers that count from 1970 the size tells the unit: these are 2001 to 2065.
_EPOCHS = ((1e9, 3e9, 1_000_000.0), (1e12, 3e12, 1_000.0), (1e15, 3e15, 1.0), (1e18, 3e18, 0.001))
_LETTERS = np.array(list(ALPHABET))


def moments(cells: pl.Series, name: str, *, zone: str, now: datetime) -> pl.Series:
    """Event times in UTC; `zone` is that of times which name none.

    Raises Refused with the rows that hold no time, or one that is yet to come.
    """
    times = _epoch(cells)
    if times is None:
        good, bad = cast(name, cells.dtype, "time", zone=zone)
        read = cells.to_frame().select(good, bad.alias("mw.bad"))
        refuse_rows(
            read["mw.bad"],
            cells,
            name,
            "is no time",
            fix="times are ISO 8601 (2026-11-22T02:00:00Z), or count from 1970; day and month are not guessed",
        )
        times = read[name]
    refuse_rows(times.is_null(), cells, name, "holds no time")
    late = times > now + AHEAD
    refuse_rows(late, cells, name, "is yet to come", fix="is it another zone? name it with --zone, or mend these rows")
    return times.cast(MOMENT)


def names_no_zone(cells: pl.Series) -> bool:
    """Whether times stand there as a clock on some wall showed them."""
    if isinstance(cells.dtype, pl.Datetime):
        return cells.dtype.time_zone is None
    if is_text(cells.dtype):
        texts = cells.cast(pl.String).str.strip_chars()
        dated = texts.str.contains(r"^[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}").fill_null(False)
        return not bool(texts.filter(dated).str.contains(_ZONED).all())
    return isinstance(cells.dtype, pl.Date)


def _epoch(cells: pl.Series) -> pl.Series | None:
    """Numbers that count from 1970 as times; None where they are none."""
    if is_text(cells.dtype):
        texts = cells.cast(pl.String).str.strip_chars()
        if not texts.drop_nulls().str.contains(r"^[0-9]{10,19}(\.[0-9]+)?$").all():
            return None
        cells = texts.cast(pl.Float64, strict=False)
    if not cells.dtype.is_numeric():
        return None
    known = cells.drop_nulls()
    low, high = (float(one) if one is not None else 0.0 for one in (known.min(), known.max()))  # type: ignore[arg-type]
    for first, last, micros in _EPOCHS:
        if first <= low and high <= last:
            return (cells.cast(pl.Float64) * micros).round().cast(pl.Int64).cast(MOMENT)
    return None


def versions(cells: pl.Series, name: str) -> pl.Series:
    """Each row's version as `ext-...`, in the letters that a version may have. Raises Refused for rows without one."""
    texts = cells.cast(pl.String).str.strip_chars()
    refuse_rows(texts.is_null() | (texts == ""), cells, name, "names no version")
    called: dict[str, str] = {}
    for text in texts.unique().sort().to_list():
        word = external(text)
        if word in called.values():
            other = next(one for one, held in called.items() if held == word)
            raise UsageError(f'versions "{other}" and "{text}" would both be {word}', fix="rename one of them")
        called[text] = word
    return texts.replace_strict(called, return_dtype=pl.String)


def callers(cells: pl.Series) -> pl.Series:
    """Who asked, at most 64 characters."""
    return cells.cast(pl.String).str.strip_chars().str.head(LONGEST_CALLER)


def given_ids(cells: pl.Series, name: str, content: pl.Series) -> pl.Series:
    """The service's own ids. Raises Refused for rows without one, and for two rows of one id that are not the same."""
    texts = cells.cast(pl.String).str.strip_chars()
    wrong = texts.is_null() | (texts == "") | (texts.str.len_chars() > LONGEST)
    refuse_rows(wrong, cells, name, f"is no id of 1 to {LONGEST} characters")
    both = pl.DataFrame({"id": texts, "content": content})
    twice = both.select(pl.col("content").n_unique().over("id") > 1).to_series()
    refuse_rows(
        twice,
        cells,
        name,
        "is the id of another row, too,",
        fix="leave one of them out; or leave --id out, and rows are told apart by what they hold",
    )
    return texts


def contents(table: pl.DataFrame, columns: list[str]) -> pl.Series:
    """What stands in some columns of each row, as a number that is the same for the same row wherever it comes."""
    parts = []
    for name in sorted(columns):
        text = table[name].cast(pl.String) if not table[name].dtype.is_nested() else table[name].map_elements(str)
        # A cell that is null is not one that says so, and no cell can reach into the next.
        parts.append(pl.concat_str(pl.lit(f"{name}="), pl.lit(text.fill_null("\x00")), pl.lit("\x1f")))
    whole = table.select(pl.concat_str(parts).alias("content")).to_series()
    return pl.Series("content", hash_ids(whole), dtype=pl.UInt64)


def own_ids(times: pl.Series, content: pl.Series) -> pl.Series:
    """Ids of rows that have none, from their time and content; of rows that are all the same, each its own.

    They sort by event time, as ours sort by when a request was received.
    """
    again = pl.DataFrame({"time": times, "content": content}).select(
        pl.int_range(pl.len(), dtype=pl.UInt64).over("time", "content")
    )
    marks = hash_ids(content.cast(pl.String) + "#" + again.to_series().cast(pl.String)).astype(np.uint64)
    micros = times.cast(pl.Int64).to_numpy().astype(np.uint64)
    digits = [(micros >> np.uint64(5 * at)) & np.uint64(31) for at in range(10, -1, -1)]
    digits += [(marks >> np.uint64(5 * at)) & np.uint64(31) for at in range(8, -1, -1)]
    letters = _LETTERS[np.stack(digits, axis=1).astype(np.int64)]
    texts = np.ascontiguousarray(letters).view(f"<U{letters.shape[1]}").ravel()
    return pl.Series("id", texts.tolist(), dtype=pl.String)


def no_future_score(known: pl.DataFrame, fresh: pl.DataFrame) -> None:
    """Raise Refused where rows of an id that is filed say something else now: a log is not rewritten."""
    both = fresh.join(known, on="mw.id", how="inner", suffix=".filed")
    other = both.filter(
        (pl.col("mw.time") != pl.col("mw.time.filed")) | ((pl.col("mw.score") - pl.col("mw.score.filed")).abs() > 1e-12)
    )
    if other.height:
        first = other.row(0, named=True)
        raise Refused(
            f"{other.height:,} rows have an id that is filed with another time or score; nothing was kept",
            where=f"id {first['mw.id']}: score {first['mw.score']:.6g}, filed as {first['mw.score.filed']:.6g}",
            why="what was answered once stays as it was answered",
            fix="give answers of another version ids of their own",
        )

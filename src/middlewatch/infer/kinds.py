"""First pass: which kind each column is, from every cell of it.

Text is sorted into classes (whole, decimal, code with leading zeros, ...) and counted; the class that at least
19 of 20 cells belong to decides. The rest does not vanish: those cells are unparsed, counted and doubted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from middlewatch import cells
from middlewatch.schema import Kind

DOMINANT: Final = 0.95
"""Share of a column's cells that one kind must have to be the column's kind."""

MISSING_WORDS: Final = ("na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?")
_CLEAR_WORDS: Final = ("n/a", "#n/a", "nan", "null", "?", "--")
"""Those that mean missing in a column of texts too, where "none" or "-" may be a value."""

_BOOLEAN_WORDS: Final = ("true", "false", "yes", "no", "t", "f", "y", "n")
_SPELLINGS: Final = 10
HEADER_AGAIN: Final = "; the header line stands in the data again"


@dataclass(slots=True)
class Cells:
    """What was counted in one column. `classes` counts cells, `words` the spellings of missing, `odd` unclear texts."""

    name: str
    dtype: pl.DataType
    rows: int = 0
    nans: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    odd: dict[str, list[str]] = field(default_factory=dict)
    capitals: bool = True

    def add(self, series: pl.Series) -> None:
        """Count one batch of the raw column."""
        self.rows += series.len()
        if series.dtype.is_float():
            self.nans += int(series.is_nan().sum())
        if cells.is_text(series.dtype):
            self._add_text(series.cast(pl.String))

    def _add_text(self, texts: pl.Series) -> None:
        counted = pl.DataFrame({"text": texts}).group_by("text").agg(n=pl.len())
        counted = counted.with_columns(_classes(counted["text"]))
        for klass, n in counted.group_by("klass").agg(pl.col("n").sum()).iter_rows():
            self.classes[klass] += n
        for text, n in counted.filter(pl.col("klass") == "word").select("text", "n").iter_rows():
            self.words[text.strip()] += n
        for klass in ("code", "comma", "text", "time", "boolean", "number", "whole"):
            held = self.odd.setdefault(klass, [])
            if len(held) < _SPELLINGS and klass in self.classes:
                held += sorted(counted.filter(pl.col("klass") == klass)["text"].head(_SPELLINGS - len(held)))
        others = counted.filter(~pl.col("klass").is_in(["word", "blank"]))["text"]
        self.capitals = self.capitals and bool(others.str.contains("^[A-Z]{2}$").all())


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column is to be read. `unparsed` are cells of another kind than `kind`, `odd` some of them.

    `doubts` are (weight, question, guess, why, other answer as an option) where the reading is not sure.
    """

    kind: Kind
    decimal: str = "."
    missing: tuple[str, ...] = ()
    unparsed: int = 0
    odd: tuple[str, ...] = ()
    unfit: bool = False
    doubts: tuple[tuple[int, str, str, str] | tuple[int, str, str, str, str], ...] = ()


def count(batches: Iterable[pl.DataFrame], schema: pl.Schema) -> dict[str, Cells]:
    """Count every cell of every column, one batch at a time."""
    columns = {name: Cells(name, dtype) for name, dtype in schema.items()}
    for batch in batches:
        for name, one in columns.items():
            one.add(batch[name])
    return columns


def read(column: Cells, *, textual: bool) -> Reading:
    """The kind of a column. Where the file has types of its own (`textual` False) texts stay texts."""
    dtype = column.dtype
    if isinstance(dtype, pl.Boolean):
        return Reading("boolean")
    if dtype.is_integer():
        return Reading("whole")
    if dtype.is_float():
        if not column.nans:
            return Reading("number")
        share = f"{column.nans:,} of {column.rows:,} cells are NaN"
        return Reading("number", missing=("nan",), doubts=((50, "is NaN missing or an error?", "missing", share),))
    if dtype.is_decimal():
        return Reading("number")
    if isinstance(dtype, pl.Date | pl.Datetime):
        return Reading("time")
    if cells.is_text(dtype):
        plain = isinstance(dtype, pl.String)
        return _read_text(column, numbers=textual, times=plain)
    if isinstance(dtype, pl.Null):
        return Reading("text")
    return Reading("text", unfit=True, doubts=((40, "of use to a model?", "ignored", f"it holds {dtype}"),))


def _classes(texts: pl.Series) -> pl.Series:
    """The class of each distinct text; each is tried only on those that none before it fits."""
    bare = texts.str.strip_chars().fill_null("")
    classes = pl.Series("klass", ["text"], dtype=pl.String).new_from_index(0, texts.len())
    left = pl.int_range(texts.len(), eager=True)
    for klass, fits in _CLASSES:
        held = bare.gather(left)
        fitting = pl.select(fits(pl.lit(held))).to_series()
        if fitting.any():
            classes = classes.scatter(left.filter(fitting), klass)
            left = left.filter(~fitting)
        if not left.len():
            break
    return classes


_CLASSES: Final[tuple[tuple[str, Callable[[pl.Expr], pl.Expr]], ...]] = (
    ("blank", lambda text: text == ""),
    ("word", lambda text: text.str.to_lowercase().is_in(list(MISSING_WORDS))),
    ("whole", lambda text: text.str.contains(r"^[+-]?(?:0|[1-9][0-9]{0,17})$")),
    ("code", lambda text: text.str.contains(r"^(?:0[0-9]+|[0-9]{19,})$")),
    ("number", lambda text: cells.numbers(text).is_not_null()),
    ("boolean", lambda text: text.str.to_lowercase().is_in(list(_BOOLEAN_WORDS))),
    ("comma", lambda text: text.str.contains(r"^[+-]?[0-9]+,[0-9]+$")),
    ("time", lambda text: cells.times(text, "UTC").is_not_null()),
)


def _read_text(column: Cells, *, numbers: bool, times: bool) -> Reading:
    n = sum(column.classes.values()) - column.classes["blank"] - column.classes["word"]
    if n == 0:
        return Reading("text", missing=tuple(sorted(column.words)))
    of = column.classes
    numeric = of["whole"] + of["number"]
    enough = DOMINANT * n
    if numbers and of["comma"] and not of["number"] and of["whole"] + of["comma"] >= enough and not of["code"]:
        return _decimal_comma(column, n)
    if numbers and numeric >= enough and not of["code"]:
        return _parsed(column, "number" if of["number"] else "whole", n - numeric)
    if numbers and of["boolean"] >= enough:
        return _parsed(column, "boolean", n - of["boolean"])
    if times and of["time"] >= enough:
        return _parsed(column, "time", n - of["time"])
    return _as_text(column, n, numeric + of["comma"], numbers)


def _parsed(column: Cells, kind: Kind, unparsed: int, *, decimal: str = ".") -> Reading:
    """A kind that texts are parsed to: every word for missing is one here."""
    fits = {"number": ("whole", "number"), "whole": ("whole",), "boolean": ("boolean",), "time": ("time",)}[kind]
    fits = ("whole", "comma") if decimal == "," else fits
    odd = tuple(one for klass, held in sorted(column.odd.items()) if klass not in fits for one in held)[:_SPELLINGS]
    doubts = []
    if unparsed:
        why = f"{unparsed:,} of {column.rows:,} cells are none: {_quoted(odd)}"
        if any(one.strip() == column.name.strip() for one in odd):
            why += HEADER_AGAIN
        guess = f"{kind}; those cells fail the check until they are mended or listed in `missing`"
        doubts.append((85, f"mixed: is it a {kind} column?", guess, why))
    return Reading(kind, decimal, tuple(sorted(column.words)), unparsed, odd, doubts=tuple(doubts))


def _decimal_comma(column: Cells, n: int) -> Reading:
    unparsed = n - column.classes["whole"] - column.classes["comma"]
    reading = _parsed(column, "number", unparsed, decimal=",")
    seen = column.odd.get("comma", [])
    if all(len(one.strip().partition(",")[2]) == 3 for one in seen):
        ask = (75, "is the comma a decimal comma or between thousands?", "a decimal comma", f"it has {_quoted(seen)}")
        return Reading("number", ",", reading.missing, unparsed, reading.odd, doubts=(*reading.doubts, ask))
    return reading


def _as_text(column: Cells, n: int, numeric: int, numbers: bool) -> Reading:
    """Texts, codes and mixtures. Only clear words mean missing among texts; "NA" does unless it fits the others."""
    doubts: list[tuple[int, str, str, str] | tuple[int, str, str, str, str]] = []
    missing = []
    for word, seen in sorted(column.words.items()):
        clear = word.lower() in _CLEAR_WORDS
        if clear or (word == "NA" and not column.capitals):
            missing.append(word)
        if not clear:
            guess = "missing" if word in missing else "a value"
            other = f"--{'value' if word in missing else 'missing'} {column.name}={word}"
            doubts.append((55, f'is "{word}" missing or a value?', guess, f"{seen:,} cells are it", other))
    mixed = numeric and (not numbers or not column.classes["code"])
    if mixed and numeric >= DOMINANT * n and not numbers:
        doubts.append(
            (60, "numbers stored as text: are they codes?", "codes", "the file says text; no cell is another")
        )
    elif mixed and numeric >= n / 2:
        others = [one for klass in ("text", "time", "boolean") for one in column.odd.get(klass, [])]
        why = f"{numeric:,} of {n:,} cells are numbers, {n - numeric:,} are not: {_quoted(others)}"
        doubts.append((85, "mixed: numbers or text?", "text", why))
    return Reading("category", missing=tuple(missing), doubts=tuple(doubts))


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f'"{one[:30]}"' for one in list(texts)[:3])

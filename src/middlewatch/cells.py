"""How one raw cell becomes a value of its kind: the only reading of text, floats and times there is.

Types come from the schema, never from inference, so a file reads the same in every month. A cell is missing
(null, blank, or a text the schema calls missing), a value, or *unparsed*; what does not parse is counted by
the caller and never silently turned into a missing value.
"""

from __future__ import annotations

from typing import TypeVar

import polars as pl

Texts = TypeVar("Texts", pl.Series, pl.Expr)
DTYPES: dict[str, pl.DataType] = {
    "number": pl.Float64(),
    "whole": pl.Int64(),
    "boolean": pl.Boolean(),
    "category": pl.String(),
    "text": pl.String(),
    "time": pl.Datetime("us", "UTC"),
}
TRUE_WORDS = ("true", "yes", "t", "y", "1", "1.0")
FALSE_WORDS = ("false", "no", "f", "n", "0", "0.0")

# A date, then perhaps a clock, then perhaps a zone. Day-first and month-first dates are not guessed.
_TIME = (
    r"^[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
    r"(?:\s?(?:Z|z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?))?)?$"
)
_USUAL_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f")
_OTHER_FORMATS = (*_USUAL_FORMATS[:2], "%Y-%m-%dT%H:%M%#z", "%Y-%m-%dT%H:%M", "%Y-%m-%dT")
_WIDEST = 2.0**63


def cast(
    name: str, dtype: pl.DataType, kind: str, *, decimal: str = ".", missing: tuple[str, ...] = (), zone: str = "UTC"
) -> tuple[pl.Expr, pl.Expr]:
    """The values of a raw column in the canonical dtype of `kind`, and a mask of the cells that do not parse.

    `dtype` is the raw column's. `missing` holds texts that mean missing besides blank; those that are numbers
    (`-999`) also blank out that number in numeric columns, and `nan` blanks out NaN. Times without a zone are read
    in `zone`; of the two readings of the hour that a clock change repeats, the earlier.
    """
    raw = column(name)
    gone = raw.is_null()
    if is_text(dtype):
        raw = raw.cast(pl.String)
        gone = blank(raw, missing)
        value = _from_text(raw, kind, decimal, zone)
    else:
        if dtype.is_float() and (kind != "number" or "nan" in (text.lower() for text in missing)):
            gone = gone | raw.is_nan()  # only a number column knows NaN as a value of its own
        value = _from_typed(raw, dtype, kind, zone)
    value = pl.when(gone).then(None).otherwise(value)
    unparsed = value.is_null() & ~gone
    numbers = sentinels(missing, decimal)
    if numbers and kind in ("number", "whole"):
        value = pl.when(value.cast(pl.Float64).is_in(numbers)).then(None).otherwise(value)
    return value.cast(DTYPES[kind]).alias(name), unparsed.alias(name)


def canonical(values: pl.Series, kind: str, missing: tuple[str, ...]) -> bool:
    """True where `cast` would change no cell and mark none: the dtype is right, and nothing in it means missing.

    A look at the least and largest value is enough where texts are not in question.
    """
    if values.dtype != DTYPES[kind] or missing:
        return False
    if kind not in ("category", "text") or values.null_count() == values.len():
        return True
    return not perhaps_blank(values).any()


def perhaps_blank(texts: Texts) -> Texts:
    """Marks every cell of white space alone, which is missing, and some others: a look that costs next to nothing.

    White space sorts below "!", or lies beyond ASCII.
    """
    return (texts < "!") | (texts >= "\x80")


def column(name: str) -> pl.Expr:
    """The column of exactly this name: polars reads `*` and `^...$` in `pl.col` as patterns."""
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        import polars.selectors as cs

        return cs.by_name(name).as_expr()
    return pl.col(name)


def is_text(dtype: pl.DataType) -> bool:
    """True for text in any of its dresses: String, Categorical, Enum."""
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def blank(text: pl.Expr, missing: tuple[str, ...]) -> pl.Expr:
    """Mask of a text column's missing cells: null, white space only, or one of `missing`."""
    bare = text.str.strip_chars()
    gone = text.is_null() | (bare == "")
    return gone | bare.is_in(list(missing)) if missing else gone


def sentinels(missing: tuple[str, ...], decimal: str = ".") -> list[float]:
    """Those of the missing texts that are plain numbers, as numbers."""
    found = []
    for text in missing:
        try:
            number = float(text.replace(",", ".") if decimal == "," else text)
        except ValueError:
            continue
        if number - number == 0:  # finite
            found.append(number)
    return found


def numbers(text: pl.Expr, decimal: str = ".") -> pl.Expr:
    """Text as Float64, null where it is no number. Thousands separators are not guessed: `1,234` is none."""
    bare = text.str.strip_chars()
    if decimal == ",":
        bare = pl.when(bare.str.contains(".", literal=True)).then(None).otherwise(bare)
        bare = bare.str.replace(",", ".", literal=True)
    return bare.cast(pl.Float64, strict=False)


def wholes(text: pl.Expr, decimal: str = ".") -> pl.Expr:
    """Text as Int64, exact to all digits; `12.0` and `1e3` count as whole, `0.5` is null."""

    def parse(texts: pl.Series) -> pl.Series:
        bare = texts.alias("").str.strip_chars()
        exact = bare.cast(pl.Int64, strict=False)
        if exact.null_count() == bare.null_count():
            return exact
        other = pl.select(_whole_floats(numbers(pl.lit(bare), decimal))).to_series()
        return exact.zip_with(exact.is_not_null(), other)

    return text.map_batches(parse, return_dtype=pl.Int64, is_elementwise=True)


def booleans(text: pl.Expr) -> pl.Expr:
    """Text as Boolean by its word (`yes`, `TRUE`, `0`), null for any other."""
    folded = text.str.strip_chars().str.to_lowercase()
    return (
        pl.when(folded.is_in(list(TRUE_WORDS)))
        .then(True)
        .when(folded.is_in(list(FALSE_WORDS)))
        .then(False)
        .otherwise(None)
    )


def times(text: pl.Expr, zone: str) -> pl.Expr:
    """ISO 8601 text as Datetime[us, UTC], each cell with its own offset or none; null for anything else."""
    return text.map_batches(lambda texts: _times(texts, zone), return_dtype=DTYPES["time"], is_elementwise=True)


def _times(texts: pl.Series, zone: str) -> pl.Series:
    """Each format in turn, on the cells that those before it left over; the usual ones on the text as it is."""
    bare = texts.alias("").str.strip_chars()
    moments = pl.Series(texts.name, [None], dtype=DTYPES["time"]).new_from_index(0, texts.len())
    left = (bare.str.contains(_TIME) & bare.is_not_null()).fill_null(False).arg_true()
    for formats in (_USUAL_FORMATS, _OTHER_FORMATS):
        if formats is _OTHER_FORMATS and left.len():
            cells = pl.select(pl.lit(bare.gather(left)).pipe(_tidied)).to_series()
            bare = bare.scatter(left, cells)
        for format in formats:
            if not left.len():
                return moments
            aware = format.endswith("z")
            parsed = bare.gather(left).str.to_datetime(
                format, time_unit="us", time_zone="UTC" if aware else None, strict=False
            )
            if not aware:
                parsed = pl.select(_in_zone(pl.lit(parsed), zone)).to_series()
            done = parsed.is_not_null()
            moments = moments.scatter(left.filter(done), parsed.filter(done))
            left = left.filter(~done)
    return moments


def _tidied(text: pl.Expr) -> pl.Expr:
    """A text of the shape of a time in one spelling: dashes, `T`, a point before the fraction, no space, `Z`."""
    clock = text.str.slice(11).str.replace(",", ".", literal=True)
    clock = clock.str.replace(r"\s?(?:z|UTC)$", "Z").str.replace(r"\s([+-])", "$1")
    return text.str.head(10).str.replace_all("/", "-", literal=True) + "T" + clock


def _in_zone(naive: pl.Expr, zone: str) -> pl.Expr:
    # An hour that the clock skips does not exist: the cell stays unparsed rather than moved.
    return naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _whole_floats(value: pl.Expr) -> pl.Expr:
    fits = value.is_finite() & (value == value.floor()) & (value >= -_WIDEST) & (value < _WIDEST)
    return pl.when(fits).then(value).otherwise(None).cast(pl.Int64, strict=False)


def _from_text(raw: pl.Expr, kind: str, decimal: str, zone: str) -> pl.Expr:
    match kind:
        case "number":
            return numbers(raw, decimal)
        case "whole":
            return wholes(raw, decimal)
        case "boolean":
            return booleans(raw)
        case "time":
            return times(raw, zone)
        case _:
            return raw


def _from_typed(raw: pl.Expr, dtype: pl.DataType, kind: str, zone: str) -> pl.Expr:
    nothing = pl.lit(None, dtype=DTYPES[kind])
    numeric = dtype.is_numeric()
    if isinstance(dtype, pl.Null):
        return nothing
    match kind:
        case "number" if numeric or isinstance(dtype, pl.Boolean):
            return raw.cast(pl.Float64)
        case "whole" if dtype.is_integer() or isinstance(dtype, pl.Boolean):
            return raw.cast(pl.Int64, strict=False)
        case "whole" if numeric:
            return _whole_floats(raw.cast(pl.Float64))
        case "boolean" if isinstance(dtype, pl.Boolean):
            return raw
        case "boolean" if numeric:
            return pl.when(raw == 1).then(True).when(raw == 0).then(False).otherwise(None)
        case "category" | "text" if dtype.is_float():
            # Codes that went through pandas come back as 1.0: the same code as 1.
            whole = _whole_floats(raw.cast(pl.Float64))
            return pl.coalesce(whole.cast(pl.String), raw.cast(pl.String))
        case "category" | "text" if numeric or isinstance(dtype, pl.Boolean | pl.Date | pl.Datetime):
            return raw.cast(pl.String)
        case "time" if isinstance(dtype, pl.Date):
            return _in_zone(raw.cast(pl.Datetime("us")), zone)
        case "time" if isinstance(dtype, pl.Datetime):
            moment = raw.dt.cast_time_unit("us")
            return _in_zone(moment, zone) if dtype.time_zone is None else moment.dt.convert_time_zone("UTC")
        case _:
            return nothing

"""Rows as the numbers a model sees: one rule per column for training, batches and single requests.

    number, whole   the value            boolean   0.0 or 1.0
    category        its place in the list of training values      null or never seen in training   NaN

The lists come from the training data and are stored with the model version, so training and serving cannot
disagree. Values are those of the canonical dtypes (`Schema.typed`, or a checked request).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .errors import ConfigError, StoreError, TableError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from .schema import Schema

FORMAT: Final = 1
"""Of `Encoding.to_dict`. A reader refuses a newer one."""
PLAIN_FORMAT: Final = 2
NAN: Final = math.nan


@dataclass(frozen=True, slots=True)
class EncodedColumn:
    """One input: `values` are a category's known texts in code order; `missing` are numbers that mean missing."""

    name: str
    kind: str
    values: tuple[str, ...] = ()
    missing: tuple[float, ...] = ()


def coder(column: EncodedColumn) -> Callable[[Any], float]:
    """The rule of one column: a function from a value (or None) to the number the model sees."""
    if column.kind == "category":
        codes = {value: float(index) for index, value in enumerate(column.values)}
        return lambda value: codes.get(value, NAN)
    missing = frozenset(column.missing)
    if missing:

        def without(value: Any) -> float:
            number = NAN if value is None else float(value)
            return NAN if number in missing else number

        return without
    return lambda value: NAN if value is None else float(value)


def code(column: EncodedColumn, value: Any) -> float:
    """The number the model sees for one value of one column."""
    return coder(column)(value)


class Encoding:
    """The encoding of one model version: its inputs in order, each with its rule."""

    __slots__ = ("_coders", "_codes", "columns", "names")

    def __init__(self, columns: Sequence[EncodedColumn]) -> None:
        self.columns = tuple(columns)
        self.names = tuple(one.name for one in self.columns)
        self._coders = tuple((one.name, coder(one)) for one in self.columns)
        # Where no number means missing a value stands for itself, or has its place in a list: no call is needed.
        self._codes: tuple[dict[str, float] | None, ...] | None = None
        if not any(one.missing for one in self.columns):
            self._codes = tuple(
                {value: float(at) for at, value in enumerate(one.values)} if one.kind == "category" else None
                for one in self.columns
            )

    @staticmethod
    def of(schema: Schema, frame: pl.DataFrame) -> Encoding:
        """The encoding for the schema's features, category values from `frame` (typed training rows).

        Values get their codes in sorted order, so that the order of rows does not matter. Raises TableError
        where a feature is not in the frame, ConfigError where there is none or one has no encoding.
        """
        from .cells import sentinels

        columns = []
        for one in schema.features:
            if one.kind in ("text", "time"):
                raise ConfigError(
                    f'a {one.kind} column ("{one.name}") cannot be a feature', fix='set its role to "ignored"'
                )
            if one.name not in frame.columns:
                raise TableError(f'the table has no column "{one.name}"', fix="a feature of the schema is needed")
            values: tuple[str, ...] = ()
            missing: tuple[float, ...] = ()
            if one.kind == "category":
                values = tuple(sorted(frame[one.name].drop_nulls().unique().to_list()))
            elif one.kind != "boolean":
                missing = tuple(sentinels(one.missing, one.decimal))
            columns.append(EncodedColumn(one.name, one.kind, values, missing))
        if not columns:
            raise ConfigError(f"the schema of {schema.name} has no features", fix='give columns the role "feature"')
        return Encoding(columns)

    @property
    def categorical(self) -> tuple[int, ...]:
        """Places of the categories among the inputs."""
        return tuple(index for index, one in enumerate(self.columns) if one.kind == "category")

    def encode_row(self, values: Mapping[str, Any] | Sequence[Any]) -> list[float]:
        """One row: by name, or in the order of `names`. Every input must be there (None where missing).

        Whole numbers and booleans may stay what they are: as floats they are the same to the bit.
        """
        if isinstance(values, Mapping):
            return [rule(values[name]) for name, rule in self._coders]
        if self._codes is not None:
            return [
                (NAN if value is None else value) if codes is None else codes.get(value, NAN)
                for codes, value in zip(self._codes, values, strict=True)
            ]
        return [rule(value) for (_, rule), value in zip(self._coders, values, strict=True)]

    def encode(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """All rows of a typed frame, shape (rows, inputs): what `encode_row` gives for each of them, bit for bit."""
        import numpy as np

        matrix = np.empty((frame.height, len(self.columns)), dtype=np.float64)
        for index, (one, (_, rule)) in enumerate(zip(self.columns, self._coders, strict=True)):
            matrix[:, index] = _encoded(one, rule, frame[one.name])
        return matrix

    def to_dict(self) -> dict[str, Any]:
        """The stored form, plain JSON values."""
        return {
            "format": FORMAT,
            "columns": [
                {"name": one.name, "kind": one.kind, "values": list(one.values), "missing": list(one.missing)}
                for one in self.columns
            ],
        }

    @staticmethod
    def from_dict(facts: Mapping[str, Any]) -> Encoding:
        """Read `to_dict`. Raises StoreError for a newer format."""
        if facts["format"] > PLAIN_FORMAT:
            raise StoreError(
                f"this encoding was written by a newer Middlewatch (format {facts['format']})",
                fix="pip install -U middlewatch",
            )
        kind = Plain if facts["format"] == PLAIN_FORMAT else Encoding
        return kind(
            [
                EncodedColumn(one["name"], one["kind"], tuple(one["values"]), tuple(one["missing"]))
                for one in facts["columns"]
            ]
        )

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Encoding) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(self.columns)

    def __repr__(self) -> str:
        return f"Encoding({len(self.columns)} inputs, {len(self.categorical)} of them categories)"


class Plain(Encoding):
    """No encoding: the values themselves, for models with code of their own; numbers that mean missing are null.

    `encode` gives a frame of the inputs in their canonical dtypes, `encode_row` a list of values.
    """

    __slots__ = ()

    @staticmethod
    def of(schema: Schema, frame: pl.DataFrame) -> Plain:
        """The inputs of a schema; texts may be among them. Raises as `Encoding.of`."""
        from .cells import sentinels

        columns = []
        for one in schema.features:
            if one.kind == "time":
                raise ConfigError(f'a time column ("{one.name}") cannot be a feature', fix='set its role to "ignored"')
            if one.name not in frame.columns:
                raise TableError(f'the table has no column "{one.name}"', fix="a feature of the schema is needed")
            missing = tuple(sentinels(one.missing, one.decimal)) if one.kind in ("number", "whole") else ()
            columns.append(EncodedColumn(one.name, one.kind, (), missing))
        if not columns:
            raise ConfigError(f"the schema of {schema.name} has no features", fix='give columns the role "feature"')
        return Plain(columns)

    def encode_row(self, values: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
        given = [values[name] for name in self.names] if isinstance(values, Mapping) else values
        return [_plain(one, value) for one, value in zip(self.columns, given, strict=True)]

    def encode(self, frame: pl.DataFrame) -> Any:
        import polars as pl

        wanted = []
        for one in self.columns:
            value = pl.col(one.name).cast(plain_dtype(one.kind))
            if one.missing:
                value = pl.when(~value.is_in(list(one.missing))).then(value)
            wanted.append(value.alias(one.name))
        return frame.select(wanted)

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "format": PLAIN_FORMAT}


def plain_dtype(kind: str) -> Any:
    """The dtype of a kind in the frames that a project's own code sees."""
    import polars as pl

    return {"number": pl.Float64, "whole": pl.Int64, "boolean": pl.Boolean}.get(kind, pl.String)


def _plain(column: EncodedColumn, value: Any) -> Any:
    if value is None or (column.missing and float(value) in column.missing):
        return None
    if column.kind == "number":
        return float(value)
    if column.kind == "whole":
        return int(value)
    return bool(value) if column.kind == "boolean" else value


def _encoded(column: EncodedColumn, rule: Callable[[Any], float], values: pl.Series) -> NDArray[np.float64]:
    import polars as pl

    if column.kind == "category":
        # The rule once for each distinct text, then a join by value.
        texts = values.unique().drop_nulls()
        codes = [rule(text) for text in texts]
        coded = values.replace_strict(texts, codes, default=NAN, return_dtype=pl.Float64)
    else:
        coded = values.cast(pl.Float64)  # exactly what float() does
        if column.missing:
            coded = coded.set(coded.is_in(list(column.missing)), NAN)
    return coded.fill_null(NAN).to_numpy()

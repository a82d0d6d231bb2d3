"""A table's contract, and the one door from raw columns to typed ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from middlewatch.errors import NotFound, nearest

from .columns import Column, Key, Rule, Table, Task
from .reading import MODEL_KEYS, read
from .writing import written

if TYPE_CHECKING:
    import polars as pl


class Typed(NamedTuple):
    """A batch in canonical dtypes, and for each column a Boolean mask of the cells that did not parse (null there)."""

    frame: pl.DataFrame
    unparsed: dict[str, pl.Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The contract of one model's table.

    `target` is "" where outcomes are not known. `classes` are the target's values as text: (negative, positive) of
    a binary task, in code order of a multiclass one, empty for regression.
    """

    name: str
    target: str = ""
    task: Task = "regression"
    time: str | None = None
    key: str | None = None
    columns: tuple[Column, ...] = ()
    rules: tuple[Rule, ...] = ()
    table: Table = field(default_factory=Table)
    keys: tuple[Key, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that the model sees, in order."""
        return tuple(one for one in self.columns if one.role == "feature")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.columns)

    def column(self, name: str) -> Column:
        """The column of this name. Raises NotFound with the nearest."""
        for one in self.columns:
            if one.name == name:
                return one
        raise NotFound(f'no column "{name}" in the schema of {self.name}', fix=nearest(name, self.names))

    def typed(self, raw: pl.DataFrame, *, zone: str = "UTC") -> Typed:
        """The schema's columns that `raw` has, in the schema's order and canonical dtypes; others are left out.

        Rows keep their number and order. Blank cells and the column's `missing` texts are null; a cell that is no
        value of its kind is null and marked in `unparsed`. Times without a zone are read in `zone`.
        """
        import polars as pl

        from middlewatch.cells import canonical, cast

        there = [one for one in self.columns if one.name in raw.columns]
        held = {one.name: raw[one.name] for one in there if canonical(raw[one.name], one.kind, one.missing)}
        values: list[pl.Expr] = []
        masks: list[pl.Expr] = []
        for one in there:
            if one.name not in held:
                dtype = raw.schema[one.name]
                how = {"decimal": one.decimal, "zone": zone}
                value, unparsed = cast(one.name, dtype, one.kind, missing=one.missing, **how)
                values.append(value)
                masks.append(unparsed)
        names = [one.meta.output_name() for one in values]
        marked = [one.alias(f"mw.unparsed.{index}") for index, one in enumerate(masks)]
        read = raw.lazy().select(*values, *marked).collect().get_columns() if values else []
        held |= dict(zip(names, read, strict=False))
        nowhere = pl.Series([False], dtype=pl.Boolean).new_from_index(0, raw.height)
        failed = dict(zip(names, read[len(names) :], strict=True))
        frame = pl.DataFrame([held[one.name] for one in there])
        return Typed(frame, {one.name: failed.get(one.name, nowhere) for one in there})

    @staticmethod
    def parse(text: str, *, where: str) -> Schema:
        """Read a schema file. Raises ConfigError that names the line, the wrong key or value, and the nearest."""
        return Schema(**read(text, where))

    def to_toml(self) -> str:
        """The file a person reviews; `parse` gives back an equal Schema."""
        model = {key: getattr(self, key) for key in MODEL_KEYS}
        return "\n".join(written(model, self.columns, self.rules, table=self.table, keys=self.keys)) + "\n"

"""The tests of rows: what no row of a typed batch may do."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import polars as pl
import polars.exceptions as plx

from middlewatch.cells import DTYPES, column
from middlewatch.errors import ConfigError
from middlewatch.profiles import Predicate
from middlewatch.schema import Column, Rule, Schema

MASK: Final = "mw.unparsed."
RAW: Final = "mw.raw."


def predicates(schema: Schema, *, now: datetime | None = None) -> tuple[Predicate, ...]:
    """What a row of a typed batch must not do, as `test:column`. Ignored columns have no tests.

    Raises ConfigError where a rule is no SQL, uses a column that is not there, or is no yes or no.
    """
    found: list[Predicate] = []
    for one in schema.columns:
        if one.role == "ignored":
            continue
        value, mask = column(one.name), pl.col(MASK + one.name)
        shown = "" if one.private else one.name
        found.append(Predicate(f"type:{one.name}", "" if one.private else RAW + one.name, mask))
        found.append(Predicate(f"nulls:{one.name}", shown, value.is_null() & ~mask))
        if one.kind == "number":
            found.append(Predicate(f"finite:{one.name}", shown, ~value.is_finite()))
        outside = _outside(one, value)
        if outside is not None:
            found.append(Predicate(f"range:{one.name}", shown, outside))
        if one.categories is not None:
            found.append(Predicate(f"categories:{one.name}", shown, ~value.is_in(list(one.categories))))
        if one.role == "time" and now is not None:
            found.append(Predicate(f"future:{one.name}", shown, value > now))
    return (*found, *(_rule(one, schema) for one in schema.rules))


def _outside(one: Column, value: pl.Expr) -> pl.Expr | None:
    """Below min or above max. NaN is neither (in polars it is above all numbers), infinity has a test of its own."""
    sides = []
    if one.min is not None:
        sides.append(value < one.min)
    if one.max is not None:
        sides.append(value > one.max)
    if not sides:
        return None
    broken = pl.any_horizontal(sides)
    return broken & value.is_finite() if one.kind == "number" else broken


def _rule(rule: Rule, schema: Schema) -> Predicate:
    where = f'rule "{rule.name}" of {schema.name}'
    fix = 'sql states what must hold for a row, such as  arrives > departs  or  "two words" < 5'
    try:
        holds = pl.sql_expr(rule.sql)
        empty = pl.DataFrame(schema={one.name: DTYPES[one.kind] for one in schema.columns})
        answer = empty.select(holds.alias("answer")).to_series().dtype
    except plx.ColumnNotFoundError as error:
        name = str(error).split("\n")[0].split('"')[1] if '"' in str(error) else str(error).split("\n")[0]
        raise ConfigError(f"a rule uses a column that is not there: {name}", where=where, fix=fix) from error
    except plx.PolarsError as error:
        why = str(error).split("\n")[0][:200]
        raise ConfigError("a rule cannot be read as SQL", where=where, why=why, fix=fix) from error
    if answer != pl.Boolean:
        raise ConfigError("a rule is neither true nor false", where=where, why=f"it gives {answer}", fix=fix)
    roots = tuple(dict.fromkeys(holds.meta.root_names()))
    open_ = tuple(name for name in roots if not schema.column(name).private)
    return Predicate(f"rule:{rule.name}", open_[0] if open_ else "", ~holds, open_[1:])


def tolerated(test: Predicate, schema: Schema) -> bool:
    """True where the schema lets a share of rows break the test: such a row alone is not bad."""
    kind, _, name = test.name.partition(":")
    if kind == "rule":
        return any(one.name == name and one.share > 0 for one in schema.rules)
    facts = schema.column(name)
    return (kind == "nulls" and facts.nulls > 0) or (kind == "categories" and facts.unseen > 0)

"""The tests of rows: what no row of a typed batch may do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl
import polars.exceptions as plx

from middlewatch.cells import DTYPES, column
from middlewatch.errors import ConfigError
from middlewatch.profiles import Look, Predicate
from middlewatch.schema import Column, Limit, Rule, Schema

MASK: Final = "mw.unparsed."
RAW: Final = "mw.raw."


def predicates(
    schema: Schema, *, now: datetime | None = None, known: Mapping[str, pl.Series] | None = None
) -> tuple[Predicate, ...]:
    """What a row of a typed batch must not do, as `test:column`. Ignored columns: patterns, references.

    `known` holds by column the values that it `references`. Raises ConfigError where a rule is no SQL, uses a
    column that is not there, is no yes or no, or looks at more than its own row.
    """
    found: list[Predicate] = []
    for one in schema.columns:
        value, mask = column(one.name), pl.col(MASK + one.name)
        shown = "" if one.private else one.name
        if one.pattern:
            found.append(Predicate(f"pattern:{one.name}", shown, ~value.str.contains(whole(one, schema))))
        if one.name in (known or {}):
            found.append(Predicate(f"references:{one.name}", shown, ~value.is_in((known or {})[one.name].implode())))
        if one.role == "ignored":
            continue
        found.append(
            Predicate(f"type:{one.name}", "" if one.private else RAW + one.name, mask, of=one.name, clear=_no_nulls)
        )
        full = Predicate(f"nulls:{one.name}", shown, value.is_null() & ~mask, of=one.name, clear=_no_nulls)
        found.append(full)
        if one.kind == "number":
            infinite = ~value.is_finite()
            found.append(Predicate(f"finite:{one.name}", shown, infinite, of=one.name, clear=_all_finite))
        outside = _outside(one, value)
        if outside is not None:
            found.append(Predicate(f"range:{one.name}", shown, outside, of=one.name, clear=_within(one.min, one.max)))
        if one.expected is not None:
            unusual = _outside(replace(one, min=one.expected[0], max=one.expected[1]), value)
            if unusual is not None:
                found.append(Predicate(f"expected:{one.name}", shown, unusual))
        if one.categories is not None:
            strange = ~value.is_in(list(one.categories))
            among = _among(frozenset(one.categories))
            found.append(Predicate(f"categories:{one.name}", shown, strange, of=one.name, clear=among))
        if one.role == "time" and now is not None:
            found.append(Predicate(f"future:{one.name}", shown, value > now))
    return (*found, *(_rule(one, schema) for one in schema.rules))


def _no_nulls(held: Look) -> bool:
    return held.nulls == 0


def _all_finite(held: Look) -> bool:
    return held.nans == 0 and held.infinities == 0


def _within(low: Limit | None, high: Limit | None) -> Callable[[Look], bool]:
    """Whether the least and largest value of some rows are inside, so that all are."""

    def inside(held: Look) -> bool:
        least, most = held.lowest, held.highest
        if least is None or most is None:
            return held.n == 0
        return (low is None or least >= low) and (high is None or most <= high)

    return inside


def _among(known: frozenset[str]) -> Callable[[Look], bool]:
    """Whether the distinct values of some rows are all known; False where they were too many to keep."""
    return lambda held: held.categories is not None and known.issuperset(held.categories)


def whole(one: Column, schema: Schema) -> str:
    """The pattern as it must match all of a value. Raises ConfigError where polars' regular expressions differ."""
    pattern = f"^(?:{one.pattern})$"
    try:
        pl.Series([""]).str.contains(pattern)
    except plx.PolarsError as error:
        raise ConfigError(
            f'the pattern of "{one.name}" cannot be used',
            where=f"[columns.{one.name}] of {schema.name}.schema.toml",
            why=" ".join(str(error).split())[:200],
            fix="patterns are Rust regular expressions: no look-around, no back references",
        ) from error
    return pattern


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
    if not _of_one_row(holds, schema):
        why = "its answer for a row changes with the rows beside it, as with AVG, COUNT or a window"
        raise ConfigError("a rule must be about one row", where=where, why=why, fix=fix)
    roots = tuple(dict.fromkeys(holds.meta.root_names()))
    open_ = tuple(name for name in roots if not schema.column(name).private)
    return Predicate(f"rule:{rule.name}", open_[0] if open_ else "", ~holds, open_[1:])


def _of_one_row(holds: pl.Expr, schema: Schema) -> bool:
    """Whether a rule answers for a row alone as it does among others: it holds no aggregate and no window, and its
    answers for made-up rows are the same one by one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the form may change; the rows below are the second guard
        tree = holds.meta.serialize(format="json")
    if any(f'"{one}"' in tree for one in ("Agg", "Len", "Over", "Window")):
        return False
    rows = _made(schema)
    try:
        together = rows.select(holds.alias("answer")).to_series()
        alone = [rows[at : at + 1].select(holds.alias("answer")).to_series() for at in range(rows.height)]
    except plx.PolarsError:
        return True
    return together.equals(pl.concat(alone), null_equal=True)


def _made(schema: Schema) -> pl.DataFrame:
    """A few rows of values of each kind, to see what a rule does with them."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    values: dict[str, list[Any]] = {
        "number": [0.5, 3.0, -2.0, 40.0, 1000.0],
        "whole": [1, 3, -2, 40, 1000],
        "boolean": [True, False, True, True, False],
        "category": ["a", "b", "a", "", "c"],
        "text": ["a", "b", "a", "", "c"],
        "time": [start + timedelta(hours=hours) for hours in (5, 1, 30, 2, 900)],
    }
    return pl.DataFrame(
        [pl.Series(one.name, values[one.kind], dtype=DTYPES[one.kind]) for one in schema.columns] or [pl.Series("", [])]
    )


def tolerated(test: str, schema: Schema) -> bool:
    """True where the schema lets a share of a column's rows break the test: such a row alone is not bad."""
    kind, _, name = test.partition(":")
    if kind not in ("nulls", "categories", "references"):
        return False
    facts = schema.column(name)
    return (kind == "nulls" and facts.nulls > 0) or (kind in ("categories", "references") and facts.unseen > 0)

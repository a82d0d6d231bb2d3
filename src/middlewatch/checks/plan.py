"""What is tested of a table: the rows' tests, what must not repeat, and the batches made ready for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from middlewatch import tables
from middlewatch.cells import column
from middlewatch.errors import ConfigError, TableError, UsageError, nearest
from middlewatch.findings import Severity
from middlewatch.profiles import Predicate
from middlewatch.schema import Column, Rule, Schema

from .marked import marked
from .rules import BROKEN, RowRule, broken
from .tests import predicates, tolerated

ORDER: Final = "mw.order"
MOST_KNOWN: Final = 5_000_000
"""Values that a column may reference: more do not belong in memory."""


@dataclass(frozen=True, slots=True)
class Once:
    """Columns whose values together occur once: `test` is `unique:COLUMN` or `key:A + B`."""

    test: str
    columns: tuple[str, ...]
    severity: Severity


@dataclass(slots=True)
class Plan:
    """All tests of a schema on a table that has `columns`; made by `plan`, used for one pass in order."""

    schema: Schema
    zone: str
    predicates: tuple[Predicate, ...]
    once: tuple[Once, ...]
    rules: tuple[RowRule, ...]
    # Own rules that cannot be judged, and why.
    unjudged: dict[str, str] = field(default_factory=dict)
    _last: datetime | None = None

    def again(self) -> Plan:
        """The same plan for another pass, from the first row."""
        return replace(self, _last=None)

    def ready(self, raw: pl.DataFrame) -> pl.DataFrame:
        """The typed batch with all that its tests read: marks of unparsed cells, broken own rules, the order."""
        frame = marked(raw, self.schema, self.zone)
        for rule in self.rules:
            flags = broken(rule, frame) if rule.name not in self.unjudged else self.unjudged[rule.name]
            if isinstance(flags, str):
                self.unjudged[rule.name] = flags
            else:
                frame = frame.with_columns(flags.alias(BROKEN + rule.name))
        time = self.schema.time
        if self.schema.table.ordered and time in frame.columns:
            before = frame[time].forward_fill().shift(1)
            if self._last is not None:
                before = before.fill_null(self._last)
            late = (frame[time] < before).fill_null(False)
            self._last = frame[time].drop_nulls().tail(1).to_list()[0] if frame[time].count() else self._last
            frame = frame.with_columns(late.alias(ORDER))
        return frame

    @property
    def every_rule(self) -> list[Rule | RowRule]:
        """The schema's rules, then own ones."""
        return [*self.schema.rules, *self.rules]

    def severity(self, test: str) -> Severity:
        """How bad it is that a row breaks a test."""
        kind, _, name = test.partition(":")
        if kind == "rule":
            return next(one.severity for one in self.every_rule if one.name == name)
        if kind in ("unique", "key"):
            return next(one.severity for one in self.once if one.test == test)
        if kind == "order":
            return self.schema.table.severity
        return "note" if kind == "future" else "warn" if kind == "expected" else self.schema.column(name).severity

    def bad(self, test: str) -> bool:
        """True where a row that breaks the test is bad for that alone: it fails, and no share of rows may."""
        kind, _, name = test.partition(":")
        if kind == "rule":
            shares = {one.name: one.share for one in self.every_rule}
            return self.severity(test) == "fail" and not shares[name]
        return self.severity(test) == "fail" and not tolerated(test, self.schema)


def plan(
    schema: Schema,
    columns: Sequence[str],
    *,
    zone: str = "UTC",
    now: datetime | None = None,
    rules: Sequence[RowRule] = (),
    base: Path | None = None,
) -> Plan:
    """The tests of a table with these raw columns; tables that columns reference are read now, relative to `base`.

    Raises ConfigError for a wrong rule, pattern or reference.
    """
    strange = next((one for one in rules if not isinstance(one, RowRule)), None)
    if strange is not None:
        said = f"{getattr(strange, '__name__', strange)} is no rule"
        raise UsageError(said, fix='put @mw.rule(columns=["start", "end"]) above the function')
    names = [one.name for one in schema.rules] + [one.name for one in rules]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise ConfigError(f'two rules are called "{twice}"', fix="rename one")
    there = set(columns)
    known = {
        one.name: _known(one, schema, base or Path.cwd())
        for one in schema.columns
        if one.references and one.name in there
    }
    tests = list(predicates(schema, now=now, known=known))
    for rule in rules:
        open_ = tuple(one for one in rule.columns if one not in schema.names or not schema.column(one).private)
        shown = open_[0] if open_ else ""
        tests.append(Predicate(f"rule:{rule.name}", shown, pl.col(BROKEN + rule.name), open_[1:]))
    if schema.table.ordered and schema.time:
        tests.append(Predicate(f"order:{schema.time}", schema.time, column(ORDER)))
    once = [Once(f"unique:{one.name}", (one.name,), one.severity) for one in schema.columns if one.unique]
    once += [Once(f"key:{one.name}", one.columns, one.severity) for one in schema.keys]
    once = [one for one in once if there.issuperset(one.columns)]
    return Plan(schema, zone, tuple(tests), tuple(once), tuple(rules))


def _known(one: Column, schema: Schema, base: Path) -> pl.Series:
    """The values of the column that `references` names, in the kind of the column that must be among them."""
    table, _, name = one.references.rpartition("#")
    where = f"references of [columns.{one.name}] of {schema.name}.schema.toml"
    try:
        raw = tables.scan(table, base=base)
    except TableError as error:
        raise ConfigError(f"{one.name} cannot be looked up: {error.what}", where=where, fix=error.fix) from error
    if name not in raw.columns:
        raise ConfigError(f'{table} has no column "{name}"', where=where, fix=nearest(name, raw.columns))
    there = Schema(name=schema.name, columns=(Column(name=name, kind=one.kind, role="ignored"),))
    values: pl.Series = pl.Series(one.name, [], dtype=pl.String)
    parts: list[pl.Series] = []
    for batch in tables.batches(raw.frame.select(column(name))):
        parts.append(there.typed(batch).frame.to_series().drop_nulls().unique())
        if sum(len(part) for part in parts) > MOST_KNOWN:
            parts = [pl.concat(parts).unique()]
        if len(parts[0]) > MOST_KNOWN:
            why = f"it has more than {MOST_KNOWN:,} distinct values"
            raise ConfigError(f"{table}#{name} is too large to look up in", where=where, why=why)
    return pl.concat(parts).unique() if parts else values

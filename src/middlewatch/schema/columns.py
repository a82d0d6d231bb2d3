"""The values of a contract: columns and rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from middlewatch.findings import Severity
from middlewatch.times import parse_duration

Kind = Literal["number", "whole", "boolean", "category", "text", "time"]
Role = Literal["feature", "target", "time", "key", "ignored"]
Task = Literal["binary", "multiclass", "regression"]
Private = Literal["drop", "hash"]
Limit = float | int | datetime
"""A hard limit: of numbers a number, of times a moment in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column's contract.

    `nulls` and `unseen` are the shares (0 to 1) of rows that may be missing, or outside `categories`; `min` and
    `max` are hard limits, themselves allowed; None is no limit. `missing` are texts that mean missing besides blank.
    `expected` is the usual range: values outside it are a warning. A value must match all of `pattern` (a regular
    expression) and be among those of a column of another table, `references = "airports.csv#faa"` (but for the share
    `unseen`). A `constant` column holds one value. `guessed` names the limits that nobody has reviewed yet.
    """

    name: str
    kind: Kind
    role: Role = "feature"
    nulls: float = 0.0
    min: Limit | None = None
    max: Limit | None = None
    expected: tuple[Limit, Limit] | None = None
    categories: tuple[str, ...] | None = None
    unseen: float = 0.0
    pattern: str = ""
    references: str = ""
    unique: bool = False
    constant: bool = False
    unit: str = ""
    owner: str = ""
    source: str = ""
    private: Private | None = None
    severity: Severity = "fail"
    centre: float = 0.0
    decimal: str = "."
    missing: tuple[str, ...] = ()
    guessed: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition between columns, in polars SQL, that every row must meet; null counts as met, as in SQL CHECK.

    `share` of the rows (0 to 1) may break it.
    """

    name: str
    sql: str
    severity: Severity = "fail"
    share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What must hold for the table as a whole; each only where it is set.

    The newest event is at most `freshness` old ("36h"); each whole day, in the project's zone, has rows within
    `rows_per_day`, and differs by at most the share `volume` from the same weekday of the table it is compared with;
    event times do not go backwards where `ordered`.
    """

    freshness: str = ""
    rows_per_day: tuple[int, int] | None = None
    volume: float | None = None
    ordered: bool = False
    severity: Severity = "fail"

    @property
    def oldest(self) -> timedelta | None:
        """`freshness` as a length of time."""
        return parse_duration(self.freshness) if self.freshness else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Columns whose values together occur once; rows that miss one of them are not compared."""

    columns: tuple[str, ...]
    severity: Severity = "fail"

    @property
    def name(self) -> str:
        return " + ".join(self.columns)

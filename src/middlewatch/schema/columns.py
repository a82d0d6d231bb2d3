"""The values of a contract: columns and rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from middlewatch.findings import Severity

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
    `guessed` names the limits that nobody has reviewed yet.
    """

    name: str
    kind: Kind
    role: Role = "feature"
    nulls: float = 0.0
    min: Limit | None = None
    max: Limit | None = None
    categories: tuple[str, ...] | None = None
    unseen: float = 0.0
    unique: bool = False
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

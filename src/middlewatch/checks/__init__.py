"""Data tests: a table against its schema, in the one pass that also makes its profile.

    raw batches --Schema.typed--> values and masks --profile--> counters of broken rows --findings--> Findings

A test is a row predicate counted in the profile, or a question to the profile itself. A failed test is a value.
Where too many cells of a column do not parse, its other tests are "unknown": their answer would mean nothing.
"""

from __future__ import annotations

from .days import rows_per_day
from .facts import QUANTILES
from .judge import SHIFTED, UNKNOWN_FROM, findings
from .passes import Report, check
from .plan import Plan, plan
from .quarantine import Parts, no_rows, split
from .rules import RowRule, load, rule
from .tests import predicates

__all__ = [
    "QUANTILES",
    "SHIFTED",
    "UNKNOWN_FROM",
    "Parts",
    "Plan",
    "Report",
    "RowRule",
    "check",
    "findings",
    "load",
    "no_rows",
    "plan",
    "predicates",
    "rows_per_day",
    "rule",
    "split",
]

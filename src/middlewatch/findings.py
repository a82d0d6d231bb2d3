"""What a data test, a gate, a monitor or a diagnosis noticed: a value with its evidence, never an exception."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["fail", "warn", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing noticed.

    `check` names the rule (`nulls`, `range`, `type`, ...), `message` says it in one sentence with the numbers,
    `fix` what to do. `rows_failed` of `rows_seen` rows break it; `examples` are a few of them, each with its
    0-based `row` and `value`. `status` is "unknown" where an earlier failure makes the answer meaningless
    (a column of the wrong type has no range).
    """

    check: str
    message: str
    severity: Severity = "fail"
    column: str | None = None
    rows_failed: int = 0
    share_failed: float = 0.0
    examples: tuple[Mapping[str, Any], ...] = ()
    fix: str = ""
    status: Literal["failed", "unknown"] = "failed"
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The public JSON form, as in `check --json`."""
        return {
            "check": self.check,
            "column": self.column,
            "severity": self.severity,
            "status": self.status,
            "rows_failed": self.rows_failed,
            "share_failed": self.share_failed,
            "examples": [dict(one) for one in self.examples],
            "message": self.message,
            "fix": self.fix,
        }


def passed(findings: Iterable[Finding]) -> bool:
    """True where nothing failed: warnings and notes do not fail a check."""
    return not any(one.severity == "fail" for one in findings)

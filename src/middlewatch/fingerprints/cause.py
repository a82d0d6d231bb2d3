"""A cause: a tested candidate with its confidence, effect, onset and slice, as `why` reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import polars as pl

from .effect import Effect
from .history import Mask

Confidence = Literal["certain", "likely", "possible"]
ORDER: Mapping[str, int] = {"certain": 0, "likely": 1, "possible": 2}


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What changed. `affected` marks rows of the window as it came; `since` is the event time of the first of
    them; `from_start` says that the window begins inside the change, so it may be older. `corrected` names
    the affected rows by `mw.row` (place in the window) and holds, where undoing gives the true values back, the
    columns as they should be."""

    kind: str
    form: str
    columns: tuple[str, ...]
    detail: str
    confidence: Confidence
    affected: Mask
    since: datetime | None = None
    from_start: bool = False
    slice: tuple[str, str] | None = None
    effect: Effect
    fix: str = ""
    undo_proved: bool = False
    strength: float = 1.0
    examples: tuple[Mapping[str, Any], ...] = ()
    proof: str = ""
    rivals: tuple[str, ...] = ()
    event: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    corrected: pl.DataFrame | None = None

    @property
    def column(self) -> str | None:
        return self.columns[0] if self.columns else None

    def to_dict(self) -> dict[str, Any]:
        """The public JSON form, without `reproduce`, which only the caller knows."""
        return {
            "kind": self.kind,
            "form": self.form,
            "column": self.column,
            "columns": list(self.columns),
            "slice": {self.slice[0].removeprefix("mw."): self.slice[1]} if self.slice else None,
            "confidence": self.confidence,
            "detail": self.detail,
            "since": self.since.isoformat().replace("+00:00", "Z") if self.since else None,
            "from_start": self.from_start,
            "event": self.event or None,
            "effect": self.effect.to_dict(),
            "fix": self.fix,
            "undo_proved": self.undo_proved,
            "examples": [dict(one) for one in self.examples],
            "proof": self.proof,
            "rivals": list(self.rivals),
            "facts": dict(self.facts),
        }

"""The answer as people and scripts read it: one sentence first, then the evidence, then what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

import polars as pl

from ..fingerprints import Cause

MOST_LINES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What broke, in the keys of `why --json`. `causes` are in order of certainty; `told` are events of the time
    line that coincide and are not blamed; `checked` says what was looked at; `next` is the command to type.
    `touched` are the affected rows with corrected scores, where they were asked for."""

    found: bool
    headline: str
    causes: tuple[Cause, ...] = ()
    harmless: tuple[Cause, ...] = ()
    ruled_out: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    checked: Mapping[str, Any] = field(default_factory=dict)
    rollback: str = ""
    next: str = ""
    seconds: float = 0.0
    reproduce: str = "middlewatch why"
    zone: tzinfo | None = None
    touched: pl.DataFrame | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        return {
            "found": self.found,
            "headline": self.headline,
            "causes": [plain({**one.to_dict(), "reproduce": self.reproduce}) for one in self.causes],
            "harmless": [plain(one.to_dict()) for one in self.harmless],
            "ruled_out": list(self.ruled_out),
            "not_seen": list(self.not_seen),
            "told": list(self.told),
            "checked": plain(dict(self.checked)),
            "rollback": self.rollback,
            "next": self.next,
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> list[str]:
        """The report for a terminal: at most 24 lines, the answer first, the next command last."""
        said = [self.headline]
        for cause in self.causes:
            said += self._cause(cause)
        said += [f"TOLD    {one}" for one in self.told[:3]]
        said += [f"NOTE    {one.detail}: no effect on predictions" for one in self.harmless[:2]]
        if self.ruled_out:
            said.append(f"NOT     {', '.join(self.ruled_out)}")
        said += [f"UNSEEN  {one}" for one in self.not_seen[: 2 if self.found else 3]]
        said = said[: MOST_LINES - 1]
        return [*said, f"Next:   {self.next}"] if self.next else said

    def _cause(self, cause: Cause) -> list[str]:
        lines = [f"CAUSE   {cause.detail}     {cause.confidence}{': ' + cause.proof if cause.proof else ''}"]
        if cause.rivals:
            lines.append(f"        fits as well: {'; '.join(cause.rivals)}")
        if cause.slice:
            lines.append(f"WHERE   only {cause.slice[0].removeprefix('mw.')} {cause.slice[1]}")
        if cause.since is not None:
            before = "or before " if cause.from_start else ""
            lines.append(f"SINCE   {before}{_clock(cause.since, self.zone)}{'; ' + cause.event if cause.event else ''}")
        if cause.effect.rows or not cause.effect.matters:
            lines.append(f"EFFECT  {effect_words(cause)}")
        return lines


def effect_words(cause: Cause) -> str:
    """`removing it takes back 88 % of the shift; 312 decisions changed in 1,200 rows`."""
    effect = cause.effect
    if cause.facts.get("refused") or cause.facts.get("failed"):
        return f"{effect.rows:,} requests got no prediction"
    if cause.form == "volume":
        return f"{effect.rows:,} rows" + ("" if effect.matters else "; predictions are as on other days")
    if not effect.matters:
        return f"{effect.rows:,} rows; no effect on today's predictions"
    parts = []
    if effect.share_of_shift is not None:
        parts.append(f"undoing it takes back {100 * effect.share_of_shift:.0f} % of the shift")
    if effect.decisions_changed is not None:
        parts.append(f"{effect.decisions_changed:,} decisions changed in {effect.rows:,} rows")
    else:
        parts.append(f"{effect.rows:,} rows")
    if effect.score_before is not None and effect.score_after is not None:
        now, undone = f"{effect.score_before:.3g}", f"{effect.score_after:.3g}"
        # Of rows that stayed away nothing can be undone in those that came.
        parts += [f"their mean score {now}, undone {undone}"] if now != undone else []
    return "; ".join(parts)


def _clock(moment: datetime, zone: tzinfo | None) -> str:
    local = moment.astimezone(zone) if zone is not None else moment
    return local.strftime("%Y-%m-%d %H:%M %Z")


def plain(value: Any) -> Any:
    """Only what JSON has: numpy numbers become Python's, times ISO texts, masks and sets lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str | bool | int | type(None)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset):
        return [plain(one) for one in value]
    return str(value)

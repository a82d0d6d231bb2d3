"""How much of the change of predictions a cause explains: undo it, score again, compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .case import Case, decisions, flat
from .history import Mask


@dataclass(frozen=True)
class Effect:
    """`rows` affected; `share_of_shift` removed by undoing (None where predictions did not move, or no model);
    `decisions_changed` (None for regression); mean score of the affected rows as it came and undone."""

    rows: int
    share_of_shift: float | None = None
    decisions_changed: int | None = None
    score_before: float | None = None
    score_after: float | None = None
    matters: bool = True
    back: bool = True

    def to_dict(self) -> dict[str, Any]:
        return {
            "share_of_shift": self.share_of_shift,
            "rows": self.rows,
            "decisions_changed": self.decisions_changed,
            "score_before": self.score_before,
            "score_after": self.score_after,
        }


def shift(case: Case) -> float:
    """Distance of the scores of the window to those of its past, in units of the score."""
    if case.before is None or not case.history.scores:
        return 0.0
    return case.history.score_shift(case.before)


def removed(case: Case, after: Case) -> float | None:
    """Share of the shift of predictions beyond the usual that `after` no longer has, 0 to 1."""
    was, usual = shift(case), case.history.usual_score_shift
    if was <= usual or case.before is None:
        return None
    return float(np.clip((was - shift(after)) / (was - usual), 0.0, 1.0))


def effect_of(case: Case, after: Case, affected: Mask, *, other_rows: bool = False) -> Effect:
    """Effect of a change whose undoing gives `after`; the rows are the same, fewer, or seen by another history."""
    rows = int(affected.sum())
    if case.score is None or case.before is None or after.before is None:
        return Effect(rows)
    worst = limits.BEYOND * case.history.worst_score_shift
    back = shift(after) <= max(limits.BEYOND * after.history.worst_score_shift, worst)
    share = removed(case, after)
    if other_rows or after.rows != case.rows:
        kept = float(case.before[affected].mean()) if rows else None
        mean = float(after.before.mean()) if after.rows else None
        return Effect(rows, share, None, kept, mean, True, back)
    came, undone = case.score(case.now), after.score(after.now) if after.score else case.score(case.now)
    was, now = decisions(came, case.threshold), decisions(undone, case.threshold)
    flips = int((was != now).sum()) if was is not None and now is not None else None
    moved = float(np.abs(flat(came) - flat(undone))[affected].mean()) if rows else 0.0
    sd = case.history.score_sd or float(flat(came).std())
    matters = moved > limits.EFFECT_SD * sd or (flips or 0) > max(limits.FLIPS * case.rows, 2)
    before, after_mean = float(flat(came)[affected].mean()), float(flat(undone)[affected].mean())
    return Effect(rows, share, flips, before, after_mean, matters, back)

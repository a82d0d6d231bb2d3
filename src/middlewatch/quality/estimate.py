"""What the scores themselves expect of their outcomes: confidence-based performance estimation, drawn, never a page.

A calibrated probability p is right with probability p, so the expected loss of a window follows from its scores
alone: of deciding by a threshold, max-like sums of p and 1 - p; of log loss, the entropy; of AUC, p-weighted pairs.
The idea is NannyML's CBPE (2022). It holds while only the inputs change: where the world answers the same inputs
otherwise, nothing in the scores tells.

Scores are calibrated on rows whose outcomes came, by a logistic curve of their log odds (Cox 1958, Platt 1999): two
numbers, so that few rows suffice and the order of scores stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from middlewatch.schema import Task

Floats = NDArray[np.float64]
Bins = dict[str, list[float]]

_SMALL = 1e-7
# Log odds in steps of a half, from -8 to 8 (0.03 % to 99.97 %).
_STEP, _MOST = 0.5, 16
# A curve of two numbers from fewer rows, or fewer of one outcome, would say more about luck.
LEAST_ROWS, LEAST_OF_EACH = 200, 10


@dataclass(frozen=True, slots=True)
class Curve:
    """Log odds of the outcome = `a` + `b` x log odds of the score."""

    a: float
    b: float

    def __call__(self, score: Floats) -> Floats:
        """Calibrated probabilities."""
        p: Floats = 1 / (1 + np.exp(-(self.a + self.b * _log_odds(score))))
        return p


def counted(score: Floats, hit: Floats) -> Bins:
    """Rows by the log odds of their score: {bin: [rows, sum of scores, hits]}; `hit` is 0 or 1."""
    places = np.clip(np.floor(_log_odds(score) / _STEP), -_MOST, _MOST).astype(np.int64) + _MOST
    size = 2 * _MOST + 1
    rows = np.bincount(places, minlength=size)
    scores = np.bincount(places, weights=score, minlength=size)
    hits = np.bincount(places, weights=hit, minlength=size)
    return {str(at - _MOST): [int(rows[at]), round(float(scores[at]), 9), int(hits[at])] for at in np.flatnonzero(rows)}


def added(parts: Iterable[Mapping[str, Sequence[float]]]) -> Bins:
    """Bins of several days together."""
    found: Bins = {}
    for part in parts:
        for name, counts in part.items():
            held = found.setdefault(name, [0, 0.0, 0])
            for at in range(3):
                held[at] += counts[at]
    return found


def fitted(bins: Mapping[str, Sequence[float]]) -> Curve | None:
    """The curve through binned rows, by Newton's steps; None where they are too few or all alike.

    Held towards (0, 1), the scores as they are, with the weight of about one row.
    """
    table = np.array([list(one) for one in bins.values()], dtype=np.float64).reshape(-1, 3)
    rows, hits = table[:, 0], table[:, 2]
    if rows.sum() < LEAST_ROWS or min(hits.sum(), rows.sum() - hits.sum()) < LEAST_OF_EACH:
        return None
    x = _log_odds(table[:, 1] / rows)
    curve = np.array([0.0, 1.0])
    design = np.column_stack([np.ones_like(x), x])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(design @ curve)))
        slope = design.T @ (hits - rows * p) - (curve - [0.0, 1.0])
        bend = (design * (rows * p * (1 - p))[:, None]).T @ design + np.eye(2)
        step = np.linalg.solve(bend, slope)
        # A full step can overshoot where nearly all scores are 0 or 1.
        curve = curve + np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max()) < 1e-9:
            break
    return Curve(float(curve[0]), float(curve[1])) if np.isfinite(curve).all() else None


def expected(task: Task, curve: Curve, score: Floats, counts: Floats, threshold: float) -> dict[str, float]:
    """Expected metrics of `counts` rows at each `score` (sorted): accuracy, log_loss, brier, auc of a binary task.

    A multiclass task has the accuracy alone (`score` is the likeliest class's); regression nothing.
    """
    if task == "regression" or not score.size:
        return {}
    p = curve(score)
    rows = counts.sum()
    if task == "multiclass":
        return {"accuracy": float((counts * p).sum() / rows)}
    s = np.clip(score, _SMALL, 1 - _SMALL)
    right = np.where(score >= threshold, p, 1 - p)
    nats = -(p * np.log(s) + (1 - p) * np.log1p(-s))
    square = p * (1 - s) ** 2 + (1 - p) * s**2
    positives, negatives = counts * p, counts * (1 - p)
    below = np.cumsum(negatives) - negatives
    pairs = float(positives.sum() * negatives.sum())
    found = {
        "accuracy": float((counts * right).sum() / rows),
        "log_loss": float((counts * nats).sum() / rows),
        "brier": float((counts * square).sum() / rows),
    }
    if pairs > 0:
        found["auc"] = float((positives * (below + negatives / 2)).sum()) / pairs
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _log_odds(score: Floats) -> Floats:
    sure = np.clip(score, _SMALL, 1 - _SMALL)
    odds: Floats = np.log(sure) - np.log1p(-sure)
    return odds

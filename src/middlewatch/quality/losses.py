"""What each prediction cost once its outcome was known, and the task's metrics with 95 % intervals.

Scores are P(positive) for `binary`, an (n, classes) matrix for `multiclass`, values for `regression`; targets are
0/1, class codes from 0, or values. Intervals are closed formulas, not resampling: a day is measured again whenever
one of its outcomes comes late.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from middlewatch.schema import Task

from .sums import Z95, Sum

Floats = NDArray[np.float64]
Interval = dict[str, float | None]

_SMALL = 1e-15
LEADING: dict[Task, str] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "absolute_error"}
"""The loss that slices are ranked by."""


def of_rows(task: Task, target: Floats, score: Floats, threshold: float) -> dict[str, Floats]:
    """Each row's losses by channel: nats and 0/1 for classes, target units and their squares for regression.

    `error` of a binary row is 1 where deciding by `threshold` was wrong.
    """
    if task == "regression":
        off = np.abs(score - target)
        return {"absolute_error": off, "squared_error": off * off}
    if task == "multiclass":
        chosen = score[np.arange(target.size), target.astype(np.int64)]
        wrong = (score.argmax(axis=1) != target).astype(np.float64)
        return {"log_loss": -np.log(np.clip(chosen, _SMALL, 1.0)), "error": wrong}
    sure = np.clip(score, _SMALL, 1 - _SMALL)
    nats = -(target * np.log(sure) + (1 - target) * np.log1p(-sure))
    wrong = ((score >= threshold) != (target > 0)).astype(np.float64)
    return {"log_loss": nats, "error": wrong}


def channels(task: Task, target: Floats, score: Floats, threshold: float) -> dict[str, Sum]:
    """What is watched of these rows, as sums over them; more is worse in each.

    log_loss, error (absolute_error, squared_error of regression)   the losses themselves
    loss_over_guess, error_over_guess   less what the best constant guess of these very rows would have lost: a day
                                        that is hard for everybody is no worse model
    ranking                             binary: 1 - AUC, which no base rate moves
    """
    losses = of_rows(task, target, score, threshold)
    found = {name: summed(one) for name, one in losses.items()}
    if not target.size:
        return found
    if task == "regression":
        found["loss_over_guess"] = summed(losses["absolute_error"] - np.abs(target - np.median(target)))
        return found
    classes = 2 if task == "binary" else score.shape[1]
    shares = np.bincount(target.astype(np.int64), minlength=classes) / target.size
    guess = -np.log(np.clip(shares, _SMALL, 1.0))[target.astype(np.int64)]
    found["loss_over_guess"] = summed(losses["log_loss"] - guess)
    found["error_over_guess"] = summed(losses["error"] - (target != shares.argmax()))
    if task == "binary" and (ranking := _ranking(target, score)) is not None:
        found["ranking"] = ranking
    return found


def _ranking(target: Floats, score: Floats) -> Sum | None:
    """1 - AUC as if it were a mean over the rows, with the variance that DeLong's standard error stands for.

    Days then pool by their rows, which is close to the AUC within days: scores of two days are never compared.
    """
    value, error = _delong(target, score)
    if not math.isfinite(error):
        return None
    n, mean = target.size, 1.0 - value
    return Sum(n, n * mean, (n - 1) * n * error * error + n * mean * mean)


def summed(values: Floats) -> Sum:
    """A loss of many rows as a Sum."""
    return Sum(values.size, float(values.sum()), float((values * values).sum()))


def measured(task: Task, target: Floats, score: Floats, threshold: float) -> dict[str, Interval]:
    """The task's metrics as {"value", "low", "high"}, None where the rows cannot tell (one class only).

    binary: auc, log_loss, brier, accuracy at the threshold. multiclass: log_loss, accuracy. regression: rmse, mae.
    """
    losses = of_rows(task, target, score, threshold)
    if task == "regression":
        return {"rmse": _root(summed(losses["squared_error"])), "mae": _mean(summed(losses["absolute_error"]))}
    right = _share(int(target.size - losses["error"].sum()), target.size)
    log_loss = _mean(summed(losses["log_loss"]))
    if task == "multiclass":
        return {"log_loss": log_loss, "accuracy": right}
    brier = _mean(summed((score - target) ** 2))
    return {"auc": _auc(target, score), "log_loss": log_loss, "brier": brier, "accuracy": right}


def _interval(value: float, low: float, high: float) -> Interval:
    return {name: one if math.isfinite(one) else None for name, one in (("value", value), ("low", low), ("high", high))}


def _mean(one: Sum) -> Interval:
    """A mean loss, normal interval; never below 0, where no loss lies."""
    return _interval(one.mean, max(one.mean - Z95 * one.error, 0.0), one.mean + Z95 * one.error)


def _root(one: Sum) -> Interval:
    """The root of a mean square: the ends of that mean's interval, rooted."""
    low, high = max(one.mean - Z95 * one.error, 0.0), one.mean + Z95 * one.error
    return _interval(math.sqrt(one.mean) if one.n else math.nan, math.sqrt(low), math.sqrt(max(high, 0.0)))


def _share(hits: int, n: int) -> Interval:
    """A share with the score interval of Wilson (1927), which stays inside [0, 1] and holds for few rows."""
    if not n:
        return _interval(math.nan, math.nan, math.nan)
    share, z2 = hits / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return _interval(share, middle - half, middle + half)


def _auc(target: Floats, score: Floats) -> Interval:
    value, error = _delong(target, score)
    return _interval(value, max(value - Z95 * error, 0.0), min(value + Z95 * error, 1.0))


def _delong(target: Floats, score: Floats) -> tuple[float, float]:
    """Area under the ROC curve and its standard error: DeLong, DeLong and Clarke-Pearson (1988).

    From the placements of each row among those of the other class, by midranks (Sun and Xu 2014): three sorts. NaN
    where a class has no row; the error also where one has a single row.
    """
    positive = target > 0
    m, n = int(positive.sum()), int(target.size - positive.sum())
    if m < 1 or n < 1:
        return math.nan, math.nan
    ranks = _midranks(score)
    above = (ranks[positive] - _midranks(score[positive])) / n
    below = 1 - (ranks[~positive] - _midranks(score[~positive])) / m
    value = float(above.mean())
    if m < 2 or n < 2:
        return value, math.nan
    return value, math.sqrt(float(above.var(ddof=1)) / m + float(below.var(ddof=1)) / n)


def _midranks(values: Floats) -> Floats:
    """Ranks from 1, ties share their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2.0)[inverse]
    return ranks

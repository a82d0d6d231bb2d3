"""How good a set of scores is, with intervals: pure numpy, no clock, randomness by seed.

Scores are P(positive) for `binary`, an (n, classes) matrix of probabilities for `multiclass`, values in target
units for `regression`. Targets are 0/1, class codes from 0, or values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .schema import Task

Floats = NDArray[np.float64]
_SMALL = 1e-15
_RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Metric:
    """`better` is +1 where more is better, -1 where less is."""

    name: str
    better: int
    of: Callable[[Floats, Floats], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A paired difference, challenger minus champion, turned so that positive is better; 95 % interval."""

    metric: str
    champion: float
    challenger: float
    gain: float
    low: float
    high: float
    rows: int


def auc(target: Floats, score: Floats) -> float:
    """Area under the ROC curve by rank sums with ties averaged (Mann and Whitney 1947); NaN for one class only."""
    positives = float(target.sum())
    negatives = target.size - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle_rank = (last - (counts - 1) / 2.0)[inverse]
    return float((middle_rank[target > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(target: Floats, score: Floats) -> float:
    """Mean negative log likelihood in nats; `score` is (n,) for binary, (n, classes) for multiclass."""
    if score.ndim == 2:
        chosen = score[np.arange(target.size), target.astype(np.int64)]
        return float(-np.log(np.clip(chosen, _SMALL, 1.0)).mean())
    sure = np.clip(score, _SMALL, 1 - _SMALL)
    return float(-(target * np.log(sure) + (1 - target) * np.log1p(-sure)).mean())


def brier(target: Floats, score: Floats) -> float:
    """Mean squared difference between probability and outcome (Brier 1950)."""
    return float(((score - target) ** 2).mean())


def accuracy(target: Floats, score: Floats) -> float:
    """Share of rows whose most probable class is the true one."""
    return float((score.argmax(axis=1) == target).mean())


def rmse(target: Floats, score: Floats) -> float:
    """Root mean squared error, in target units."""
    return float(np.sqrt(((score - target) ** 2).mean()))


def mae(target: Floats, score: Floats) -> float:
    """Mean absolute error, in target units."""
    return float(np.abs(score - target).mean())


def r2(target: Floats, score: Floats) -> float:
    """Share of the target's variance explained; 0 is as good as the mean, NaN for a constant target."""
    spread = float(((target - target.mean()) ** 2).sum())
    return 1 - float(((target - score) ** 2).sum()) / spread if spread else float("nan")


METRICS: dict[str, tuple[Metric, ...]] = {
    "binary": (Metric("auc", 1, auc), Metric("log_loss", -1, log_loss), Metric("brier", -1, brier)),
    "multiclass": (Metric("log_loss", -1, log_loss), Metric("accuracy", 1, accuracy)),
    "regression": (Metric("rmse", -1, rmse), Metric("mae", -1, mae), Metric("r2", 1, r2)),
}


def primary(task: Task, name: str | None = None) -> Metric:
    """The metric a task is judged by: the named one, else the first. Raises KeyError for an unknown name."""
    if name is None:
        return METRICS[task][0]
    return {metric.name: metric for metric in METRICS[task]}[name]


def evaluate(task: Task, target: Floats, score: Floats, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Each metric of the task as `{"value", "low", "high"}`, 95 % bootstrap interval over rows (Efron 1979)."""
    draws = _draws(target.size, seed)
    result: dict[str, dict[str, float]] = {}
    for metric in METRICS[task]:
        resampled = [metric.of(target[rows], score[rows]) for rows in draws]
        low, high = np.nanquantile(resampled, (0.025, 0.975)) if len(resampled) else (np.nan, np.nan)
        result[metric.name] = {"value": metric.of(target, score), "low": float(low), "high": float(high)}
    return result


def compare(
    task: Task, target: Floats, champion: Floats, challenger: Floats, *, metric: str | None = None, seed: int = 0
) -> Comparison:
    """Champion against challenger on the same rows, by a paired bootstrap."""
    one = primary(task, metric)

    def gain(rows: NDArray[np.int64]) -> float:
        return one.better * (one.of(target[rows], challenger[rows]) - one.of(target[rows], champion[rows]))

    gains = [gain(rows) for rows in _draws(target.size, seed)]
    low, high = np.nanquantile(gains, (0.025, 0.975))
    old, new = one.of(target, champion), one.of(target, challenger)
    return Comparison(
        metric=one.name,
        champion=old,
        challenger=new,
        gain=one.better * (new - old),
        low=float(low),
        high=float(high),
        rows=target.size,
    )


def baseline(task: Task, target: Floats, rows: int) -> Floats:
    """What a model must beat: the training target's mean, or its class shares, for each of `rows` rows."""
    if task == "multiclass":
        shares = np.bincount(target.astype(np.int64)) / target.size
        return np.tile(shares, (rows, 1))
    return np.full(rows, float(target.mean()))


def aligned(score: Floats, own: Sequence[str], wanted: Sequence[str]) -> Floats:
    """Class probabilities with the columns in the order of `wanted`; 0 for a class that the model does not know."""
    if score.ndim == 1 or tuple(own) == tuple(wanted):
        return score
    found = np.zeros((score.shape[0], len(wanted)))
    for at, name in enumerate(wanted):
        if name in own:
            found[:, at] = score[:, list(own).index(name)]
    return found


def decisions(task: Task, score: Floats, threshold: float) -> NDArray[Any]:
    """What a score leads to: over the threshold, the class, or the value itself."""
    if task == "binary":
        return score >= threshold
    return score.argmax(axis=1) if task == "multiclass" else score


def _draws(rows: int, seed: int) -> list[NDArray[np.int64]]:
    # Above some 20,000 rows the interval's own error is far below its width: a subset of draws saves seconds.
    random = np.random.default_rng(seed)
    count = _RESAMPLES if rows <= 20_000 else 60
    return [random.integers(0, rows, rows) for _ in range(count)]

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from middlewatch import gate, metrics


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    target = (random.random(500) < 0.3).astype(float)
    return target, np.round(np.clip(0.3 * target + 0.5 * random.random(500), 0, 1), 2)


def test_binary_metrics_agree_with_scikit_learn(scored: tuple[np.ndarray, np.ndarray]) -> None:
    target, score = scored
    assert metrics.auc(target, score) == pytest.approx(reference.roc_auc_score(target, score), abs=1e-12)
    assert metrics.brier(target, score) == pytest.approx(reference.brier_score_loss(target, score))
    inside = np.clip(score, 0.01, 0.99)
    assert metrics.log_loss(target, inside) == pytest.approx(reference.log_loss(target, inside))


def test_regression_metrics_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(4)
    target, score = random.normal(size=300), random.normal(size=300)
    assert metrics.rmse(target, score) == pytest.approx(reference.root_mean_squared_error(target, score))
    assert metrics.r2(target, score) == pytest.approx(reference.r2_score(target, score))


def test_one_class_only_has_no_auc() -> None:
    assert np.isnan(metrics.auc(np.ones(5), np.arange(5.0)))


def test_interval_holds_the_value_and_is_repeatable(scored: tuple[np.ndarray, np.ndarray]) -> None:
    target, score = scored
    first = metrics.evaluate("binary", target, score, seed=1)
    assert first == metrics.evaluate("binary", target, score, seed=1)
    assert first["auc"]["low"] < first["auc"]["value"] < first["auc"]["high"]


def test_a_worse_challenger_is_seen_as_worse_with_its_interval(scored: tuple[np.ndarray, np.ndarray]) -> None:
    target, score = scored
    noise = np.random.default_rng(5).random(target.size)
    seen = metrics.compare("binary", target, score, noise)
    assert seen.high < 0 < seen.champion - seen.challenger
    assert metrics.compare("binary", target, score, score).gain == 0


def test_lower_is_better_metrics_turn_the_sign() -> None:
    target = np.arange(50.0)
    seen = metrics.compare("regression", target, target + 2, target + 1)
    assert seen.metric == "rmse"
    assert seen.gain == pytest.approx(1.0)


def test_baseline_of_classes_is_their_shares() -> None:
    shares = metrics.baseline("multiclass", np.array([0.0, 0, 1, 2]), 2)
    assert shares.tolist() == [[0.5, 0.25, 0.25]] * 2


@pytest.mark.parametrize(("metric", "passes"), [("rmse", True), ("mae", True), ("log_loss", False)])
def test_a_loss_in_the_targets_unit_is_allowed_a_share(metric: str, passes: bool) -> None:
    """A version of a price model is not refused for another seed: 1.7 of an rmse of 1041 is 0.16 %."""
    compared = metrics.Comparison(
        metric=metric, champion=1041.45, challenger=1043.15, gain=-1.7, low=-4.96, high=1.93, rows=12_000
    )
    said = gate.against(compared, drop_at_most=0.002, champion_inputs=[], challenger_inputs=[], shift_sd=0.0)
    assert (said[0]["check"], said[0]["ok"]) == ("not_worse", passes)

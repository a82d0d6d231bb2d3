"""A column far from its past that no kind fits is said to be that, since when, and no more than possible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from middlewatch.fingerprints import Case, Cause, History, drift
from test_fingerprint_ideas import HISTORY, ROWS, day, look, score


def bent(rows: pl.DataFrame, start: int = 0) -> pl.DataFrame:
    """Areas of another make since some row: most of them within two narrow bands."""
    rng = np.random.default_rng(3)
    other = np.where(rng.random(rows.height) < 0.5, rng.normal(60, 3, rows.height), rng.normal(150, 5, rows.height))
    late = np.arange(rows.height) >= start
    return rows.with_columns(pl.Series("area", np.where(late, np.round(other, 1), rows["area"].to_numpy())))


@pytest.mark.parametrize("start", [0, ROWS // 2])
def test_a_column_of_another_make_is_named_as_possible_drift_with_its_onset(start: int) -> None:
    (cause, *_) = [one for one in look(lambda rows: bent(rows, start)).causes if "area" in one.columns]
    assert isinstance(cause, Cause)
    assert (cause.kind, cause.confidence) == ("drift", "possible")
    assert "in no way with a name" in cause.detail
    onset = day(28)["mw.time"][start]
    assert cause.since is not None
    assert abs(cause.since - onset) <= timedelta(minutes=20)


@pytest.mark.parametrize("number", range(28, 36))
def test_a_day_as_always_has_no_drift(number: int) -> None:
    rows = day(number)
    assert drift.unnamed(Case(rows, HISTORY, score, 0.5), 1.0) is None


def test_a_model_that_cannot_be_asked_is_given_no_drift() -> None:
    assert drift.unnamed(Case(bent(day(28)), HISTORY, None, None), 9.0) is None


def test_a_column_that_says_the_month_goes_on_as_time_does() -> None:
    first = datetime(2026, 3, 4, tzinfo=UTC)

    def rows(number: int, *, wrong: bool = False) -> pl.DataFrame:
        rng = np.random.default_rng(number)
        at = first + timedelta(days=number)
        month = at.month + 5 if wrong else at.month
        load = rng.normal(50, 5, 300)
        made = {"mw.time": [at + timedelta(minutes=4 * k) for k in range(300)], "month": [month] * 300, "load": load}
        return pl.DataFrame(made, schema_overrides={"mw.time": pl.Datetime("us", "UTC")}).with_columns(
            (pl.col("month") / 20 + pl.col("load") / 200).alias("mw.score")
        )

    def answer(frame: pl.DataFrame) -> np.ndarray:
        scores: np.ndarray = (frame["month"].cast(pl.Float64) / 20 + frame["load"] / 200).to_numpy()
        return scores

    past = History([rows(number) for number in range(28)], {"month": "whole", "load": "number"})
    assert first + timedelta(days=28) == datetime(2026, 4, 1, tzinfo=UTC)
    assert drift.unnamed(Case(rows(28), past, answer, 0.5), 1.0) is None
    assert drift.unnamed(Case(rows(28, wrong=True), past, answer, 0.5), 1.0) is not None

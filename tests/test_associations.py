"""How strongly columns go together: against exact answers, over all kinds, with what is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewatch.associations import associations


def between(frame: pl.DataFrame, kinds: dict[str, str]) -> float:
    found = associations(frame, kinds)
    assert found.names == tuple(sorted(kinds, key=lambda name: (kinds[name] == "category", list(kinds).index(name))))
    assert np.array_equal(found.strength, found.strength.T, equal_nan=True)
    return float(found.strength[0, 1])


NUMBERS = {"a": "number", "b": "number"}
MIXED = {"a": "number", "b": "category"}
TEXTS = {"a": "category", "b": "category"}


def test_two_numbers_are_compared_by_rank() -> None:
    chance = np.random.default_rng(0)
    a = chance.normal(size=500)
    noisy = a + chance.normal(size=500)
    assert between(pl.DataFrame({"a": a, "b": np.exp(a)}), NUMBERS) == pytest.approx(1.0)
    assert between(pl.DataFrame({"a": a, "b": -a}), NUMBERS) == pytest.approx(1.0)
    ranks = [pl.Series(one).rank().to_numpy() for one in (a, noisy)]
    assert between(pl.DataFrame({"a": a, "b": noisy}), NUMBERS) == pytest.approx(np.corrcoef(ranks[0], ranks[1])[0, 1])
    assert between(pl.DataFrame({"a": a, "b": chance.permutation(a)}), NUMBERS) < 0.15


def test_missing_values_leave_the_other_rows() -> None:
    a = np.arange(100.0)
    frame = pl.DataFrame({"a": a, "b": a[::-1]}).with_columns(
        pl.when(pl.int_range(100) % 3 != 0).then("a").alias("a"),
        pl.when(pl.int_range(100) % 5 != 0).then("b").alias("b"),
    )
    # Ranks are of all values of a column, so that one sort serves all its pairs: a hair under 1.
    assert between(frame, NUMBERS) > 0.999


def test_a_number_that_follows_from_a_category() -> None:
    chance = np.random.default_rng(1)
    codes = chance.integers(0, 40, 2000)
    frame = pl.DataFrame({"a": codes * 7 % 41 + 0.0, "b": codes.astype(str)})
    assert between(frame, MIXED) == pytest.approx(1.0)
    assert between(frame.with_columns(pl.Series("a", chance.permutation(frame["a"]))), MIXED) < 0.15
    gone = frame.with_columns(pl.when(pl.int_range(2000) % 4 != 0).then("b").alias("b"))
    assert between(gone, MIXED) == pytest.approx(1.0)


def test_two_categories() -> None:
    chance = np.random.default_rng(2)
    codes = chance.integers(0, 12, 2000)
    frame = pl.DataFrame({"a": codes.astype(str), "b": np.char.add("x", codes.astype(str))})
    assert between(frame, TEXTS) == pytest.approx(1.0, abs=0.01)
    assert between(frame.with_columns(pl.Series("b", chance.permutation(frame["b"]))), TEXTS) < 0.1


def test_what_cannot_be_told_is_not_a_number() -> None:
    empty = pl.DataFrame({"a": [], "b": []}, schema={"a": pl.Float64, "b": pl.String})
    two = pl.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    same = pl.DataFrame({"a": [1.0] * 50, "b": ["x"] * 50})
    each = pl.DataFrame({"a": np.arange(50.0), "b": [str(one) for one in range(50)]})
    nothing = pl.DataFrame({"a": [None] * 50, "b": [None] * 50}, schema={"a": pl.Float64, "b": pl.String})
    for frame in (empty, two, same, each, nothing):
        assert np.isnan(between(frame, MIXED))
        assert np.isnan(between(frame.with_columns(pl.col("a").alias("b")), NUMBERS)) or frame is each
    assert associations(same, {"a": "text", "b": "time"}).names == ()


@given(st.integers(0, 2**32 - 1), st.integers(3, 200))
def test_it_is_a_share_whatever_comes(seed: int, rows: int) -> None:
    chance = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "a": np.where(chance.random(rows) < 0.1, np.nan, np.round(chance.normal(size=rows), 1)),
            "b": chance.integers(-2, 3, rows),
            "c": chance.integers(0, chance.integers(1, 9), rows).astype(str),
            "d": chance.random(rows) < 0.5,
            "e": [[None, "x", "y"][code] for code in chance.integers(0, 3, rows)],
        }
    )
    kinds = {"a": "number", "b": "whole", "c": "category", "d": "boolean", "e": "category"}
    strength = associations(frame, kinds).strength
    known = strength[~np.isnan(strength)]
    assert ((known >= 0) & (known <= 1)).all()

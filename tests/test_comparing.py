"""A table beside one that was right: which rows are new, and what is wrong with them, by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from middlewatch import comparing
from middlewatch.comparing import Compared
from middlewatch.comparing.pieces import parts
from middlewatch.schema import Column, Schema

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 6_000
SCHEMA = Schema(
    name="loans",
    target="bad",
    task="binary",
    time="at",
    key="loan",
    classes=("0", "1"),
    columns=(
        Column(name="at", kind="time", role="time"),
        Column(name="loan", kind="category", role="key"),
        Column(name="income", kind="number", nulls=0.2),
        Column(name="age", kind="whole"),
        Column(name="grade", kind="category", nulls=0.1, categories=("A", "B", "C")),
        Column(name="bad", kind="whole", role="target"),
    ),
)


def loans(rows: int = ROWS, first: int = 0) -> pl.DataFrame:
    """A loan each half hour: income in euros (a tenth unknown), age, grade, and whether it went bad."""
    random = np.random.default_rng([5, first])
    income = np.round(random.lognormal(7.5, 0.4, rows), 0)
    grade = random.choice(["A", "B", "C"], rows, p=[0.5, 0.3, 0.2])
    risk = 1 / (1 + np.exp(1.5 + (income - 1800) / 900 - 0.8 * (grade == "C")))
    known = random.random(rows) > 0.1
    return pl.DataFrame(
        {
            "at": [START + timedelta(minutes=30 * (first + row)) for row in range(rows)],
            "loan": [f"l-{first + row}" for row in range(rows)],
            "income": [float(one) if there else None for one, there in zip(income, known, strict=True)],
            "age": random.integers(19, 75, rows),
            "grade": grade,
            "bad": (random.random(rows) < risk).astype(int),
        }
    )


THEN = loans()
NEXT = loans(4_000, ROWS)
LATE = pl.col("at") >= START + timedelta(minutes=30 * (ROWS + 2_500))


def found(now: pl.DataFrame, then: pl.DataFrame | None = THEN) -> Compared:
    return comparing.compare(now, then, SCHEMA)


def test_new_rows_that_are_as_always_are_silent() -> None:
    looked = found(pl.concat([THEN, NEXT]))
    assert looked.causes == ()
    assert (looked.same, looked.fresh) == (ROWS, 4_000)
    assert looked.enough
    assert looked.since == NEXT["at"][0]


def test_the_same_rows_in_another_order_are_nothing_new() -> None:
    looked = found(THEN.sample(fraction=1.0, shuffle=True, seed=1))
    assert (looked.causes, looked.fresh) == ((), 0)


FAULTS: list[tuple[str, Callable[[], pl.Expr], tuple[str, str, str]]] = [
    ("cents", lambda: pl.when(LATE).then(pl.col("income") * 100).otherwise("income"), ("scale", "unit", "income")),
    ("sentinel", lambda: pl.when(LATE & (pl.col("age") % 5 == 0)).then(-999.0).otherwise("income"),
     ("fill", "sentinel", "income")),
    ("filled", lambda: pl.when(LATE).then(pl.col("income").fill_null(0)).otherwise("income"),
     ("fill", "nulls_filled", "income")),
    ("leak", lambda: pl.when(LATE).then(pl.col("bad").cast(pl.Float64)).otherwise("income"),
     ("relation", "leakage", "income")),
    ("exchanged", lambda: pl.when(LATE).then(1 - pl.col("bad")).otherwise("bad").alias("bad"),
     ("labels", "changed", "bad")),
    ("no outcome", lambda: pl.when(LATE).then(None).otherwise("bad").alias("bad"), ("labels", "late", "bad")),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), [one[1:] for one in FAULTS], ids=[one[0] for one in FAULTS])
def test_a_fault_in_a_part_of_the_new_rows_is_named(
    change: Callable[[], pl.Expr], expected: tuple[str, str, str]
) -> None:
    expression = change()
    named = expression if expected[2] == "bad" else expression.alias(expected[2])
    looked = found(pl.concat([THEN, NEXT.with_columns(named)]))
    assert looked.causes, "nothing was found"
    first = looked.causes[0]
    assert (first.kind, first.form, first.column) == expected
    assert first.since is not None
    assert first.since >= START + timedelta(minutes=30 * (ROWS + 1_990))


def test_all_touched_rows_are_given_back_corrected() -> None:
    faulty = NEXT.with_columns(pl.when(LATE).then(pl.col("income") * 100).otherwise("income").alias("income"))
    looked = comparing.compare(faulty, THEN, SCHEMA, only={"income"})
    corrected = looked.causes[0].corrected
    assert corrected is not None
    touched = faulty.with_row_index("at_row").filter(LATE & pl.col("income").is_not_null())
    assert set(touched["at_row"]) <= set(corrected["mw.at"])
    right = NEXT["income"].gather(corrected["mw.at"])
    assert (corrected["income"] - right).abs().max() == pytest.approx(0.0, abs=1e-6)


def test_history_that_was_rewritten_is_a_fault_too() -> None:
    looked = found(THEN.with_columns(pl.col("income") * 100))
    assert [one.columns for one in looked.causes][:1] == [("income",)]
    assert looked.causes[0].facts["restated"]


def test_a_renamed_column_is_known_by_its_values_and_then_read() -> None:
    looked = found(NEXT.rename({"income": "net_monthly"}).with_columns(pl.col("age").alias("net2")))
    first = looked.causes[0]
    assert (first.kind, first.form, first.column, first.facts["now"]) == ("columns", "renamed", "income", "net_monthly")
    assert len(looked.causes) == 1


def test_a_column_that_is_gone_is_missing() -> None:
    first = found(NEXT.drop("grade")).causes[0]
    assert (first.kind, first.form, first.column, first.confidence) == ("columns", "missing", "grade", "certain")


def test_cells_that_are_no_numbers_are_told_once() -> None:
    texts = NEXT.with_columns((pl.col("income") + 0.5).cast(pl.String).str.replace(".", ",", literal=True))
    looked = found(texts)
    assert [(one.kind, one.form, one.column) for one in looked.causes] == [("type", "other", "income")]
    assert "decimal comma" in looked.causes[0].detail
    assert looked.causes[0].fix.startswith('decimal = ","')


def test_a_whole_number_with_fractions_is_another_scale_and_no_type() -> None:
    looked = found(NEXT.with_columns(pl.col("age") / 100))
    assert (looked.causes[0].kind, looked.causes[0].column) == ("scale", "age")
    assert all(one.kind != "type" for one in looked.causes)


def test_a_change_without_a_name_is_drift_and_no_more_than_possible() -> None:
    looked = found(NEXT.with_columns(pl.Series("income", np.random.default_rng(3).uniform(2.5, 9_000, 4_000))))
    assert [(one.kind, one.column, one.confidence) for one in looked.causes] == [("drift", "income", "possible")]


def test_the_schema_alone_tells_facts_only() -> None:
    looked = found(NEXT.drop("age"), None)
    assert [(one.form, one.column) for one in looked.causes] == [("missing", "age")]
    assert not looked.enough


def test_a_short_reference_is_too_little() -> None:
    looked = found(NEXT.with_columns(pl.col("income") * 100), THEN.head(300))
    assert looked.causes == ()
    assert not looked.enough


def test_pieces_go_in_order_of_time_and_hold_every_new_row() -> None:
    cut = parts(pl.concat([NEXT, THEN]), THEN, SCHEMA)
    assert sum(one.total for one in cut.pieces) == 4_000
    ends = [one.rows["mw.time"][0] for one in cut.pieces]
    assert ends == sorted(ends)
    assert not any(one.restated for one in cut.pieces)
    assert len(cut.windows) == 28

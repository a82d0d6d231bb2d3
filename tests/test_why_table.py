"""`why --file`, `--affected`, and training that refuses what `why` calls certain."""

from __future__ import annotations

import shutil
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import middlewatch as mw
from middlewatch import model, tables
from middlewatch.errors import Refused, UsageError
from middlewatch.why import Diagnosis, diagnose_alone
from test_cli import Run, run  # noqa: F401  # the fixture
from test_why import (
    CALM_DAYS,
    NIGHT,
    ROWS,
    TRAINED_DAYS,
    night,
    orders,
    trained,  # noqa: F401  # the fixture
)

CENTS = (pl.col("amount") * 100).round(2)
GROWN_DAYS = TRAINED_DAYS + 16


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> mw.Handle:  # noqa: F811
    shutil.copytree(trained, tmp_path / "shop")
    return mw.open(tmp_path / "shop")


def grown(change: pl.Expr | None = None) -> pl.DataFrame:
    """All orders so far and 16 days more, of which the last 8 are changed."""
    rows = orders(0, GROWN_DAYS)
    late = pl.col("at") >= NIGHT + timedelta(days=4)
    return rows if change is None else rows.with_columns(pl.when(late).then(change).otherwise("amount").alias("amount"))


def looked(shop: mw.Handle, **about: Any) -> Diagnosis:
    found = shop.why(**about)
    assert isinstance(found, Diagnosis)
    return found


def touched(shop: mw.Handle) -> pl.DataFrame:
    frame = looked(shop, since=NIGHT, touched=True).touched
    assert frame is not None
    return frame


def gap(frame: pl.DataFrame, one: str, other: str) -> float:
    """The largest difference of two columns."""
    return float((frame[one] - frame[other]).abs().to_numpy().max())


def test_a_file_is_held_against_what_the_model_learnt_from(run: Run, shop: mw.Handle, tmp_path: Path) -> None:  # noqa: F811
    grown().write_csv(tmp_path / "clean.csv")
    clean = looked(shop, file=tmp_path / "clean.csv")
    assert not clean.found
    assert clean.checked["against"] == "d2"
    assert "nothing unusual in 1,920 new rows" in clean.lines()[0]
    grown(CENTS).write_csv(tmp_path / "cents.csv")
    said = run("why", "--file", str(tmp_path / "cents.csv"), "--project", str(shop.project.root), "--json")
    facts = said.facts
    assert said.code == 1
    cause = facts["causes"][0]
    assert (cause["kind"], cause["form"], cause["column"], cause["confidence"]) == (
        "scale",
        "unit",
        "amount",
        "certain",
    )
    assert cause["reproduce"] == f"middlewatch why --file {tmp_path / 'cents.csv'}"
    assert "100" in facts["next"] or "0.01" in facts["next"]


def test_a_file_and_one_that_was_right_need_no_project(
    run: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    orders(0, TRAINED_DAYS).write_csv("right.csv")
    orders(TRAINED_DAYS, 10).with_columns(CENTS.alias("amount")).write_csv("wrong.csv")
    said = run("why", "--file", "wrong.csv", "--against", "right.csv", "--affected", "touched.csv")
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0].startswith("wrong.csv against right.csv: 1 fault in 1,200 rows")
    assert lines[1].startswith("CAUSE   amount is x100")
    mended = pl.read_csv("touched.csv").with_columns(pl.col("amount") / 100)
    assert mended.height == 1_200
    assert gap(mended, "amount", "amount.corrected") < 1e-6
    assert run("why", "--file", "wrong.csv").code == 2
    frames = (tables.from_frame(one) for one in (orders(TRAINED_DAYS, 10), orders(0, TRAINED_DAYS)))
    assert not diagnose_alone(*frames, zone=UTC).found


def test_options_that_do_not_go_together_are_told(run: Run, tmp_path: Path) -> None:  # noqa: F811
    for words in (["--file", "x.csv", "--since", "2h"], ["--against", "x.csv"], ["--affected", "x.docx"]):
        assert run("why", *words, "--project", str(tmp_path)).code == 2


def test_touched_rows_are_written_with_old_and_corrected_scores(run: Run, shop: mw.Handle, tmp_path: Path) -> None:  # noqa: F811
    night(shop, CENTS.alias("amount"))
    out = tmp_path / "touched.parquet"
    words = ("--since", NIGHT.isoformat(), "--affected", str(out), "--project", str(shop.project.root))
    assert run("why", *words).code == 1
    mended = pl.read_parquet(out)
    assert mended.height >= 0.95 * ROWS
    right = orders(TRAINED_DAYS + CALM_DAYS, 1)
    scored = shop.score(right.drop("bad")).frame.select(pl.col("order").alias("key"), pl.col("mw.score"))
    both = mended.join(scored, on="key")
    assert both.height == mended.height
    assert gap(both, "score.corrected", "mw.score") < 1e-9
    assert gap(both, "score", "mw.score") > 0.01


def test_a_wrong_release_gives_the_scores_of_what_should_have_answered(shop: mw.Handle) -> None:
    shop.promote("v1", force="a slip of the hand")
    night(shop)
    right = shop.score(orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad"), version="v2").frame
    both = touched(shop).join(right.select(pl.col("order").alias("key"), "mw.score"), on="key")
    assert both.height == ROWS
    assert gap(both, "score.corrected", "mw.score") < 1e-12


def test_training_refuses_what_is_certain_and_keeps_the_reason_where_it_is_overruled(shop: mw.Handle) -> None:
    source = shop.project.root / "orders.parquet"
    grown(CENTS).write_parquet(source)
    with pytest.raises(Refused) as refused:
        shop.train()
    assert "amount is x100" in refused.value.what
    assert "against d2" in refused.value.where
    assert "--data d3 --force" in refused.value.fix
    assert looked(shop, file=source).checked["against"] == "d2", "what was refused is no yardstick"
    done = shop.train(data="d3", force="the amounts are meant")
    line = next(one for one in done.gate if one["check"] == "data_as_before")
    assert not line["ok"]
    manifest = model.load(shop.project.store, shop.model, done.version).manifest
    assert manifest["forced"] == "the amounts are meant"
    assert manifest["data_faults"][0]["columns"] == ["amount"]
    grown().write_parquet(source)
    clean = shop.train()
    line = next(one for one in clean.gate if one["check"] == "data_as_before")
    assert line["ok"]
    assert "d2" in line["detail"], "a version made by force is no yardstick either"


def test_what_is_certain_in_a_few_rows_is_told_and_learnt(shop: mw.Handle) -> None:
    few = pl.when(pl.int_range(pl.len()) % 5 == 4).then(pl.col("amount") / 100).otherwise(pl.col("amount"))
    last = orders(TRAINED_DAYS + 8, 2).with_columns(few.alias("amount"))
    pl.concat([orders(0, TRAINED_DAYS + 8), last]).write_parquet(shop.project.root / "orders.parquet")
    assert looked(shop, file=shop.project.root / "orders.parquet").causes[0].confidence == "certain"
    done = shop.train()
    assert next(one for one in done.gate if one["check"] == "data_as_before")["ok"]
    assert any("amount" in note and "certain" in note for note in done.notes), done.notes


def test_a_file_without_rows_and_an_unknown_reference_are_told(run: Run, shop: mw.Handle, tmp_path: Path) -> None:  # noqa: F811
    empty = tmp_path / "empty.csv"
    orders(0, 1).head(0).write_csv(empty)
    assert run("why", "--file", str(empty), "--project", str(shop.project.root)).code == 5
    orders(0, 1).write_csv(tmp_path / "one.csv")
    with pytest.raises(UsageError):
        shop.why(file=tmp_path / "one.csv", against="d9")

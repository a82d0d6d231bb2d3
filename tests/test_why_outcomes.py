"""What outcomes say of a window: late ones, changed ones, and what a loss of quality is made of."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import middlewatch as mw
from middlewatch.why import Diagnosis
from test_why import (
    TRAINED_DAYS,
    orders,
    trained,  # noqa: F401  # the fixture
)

SERVED = 20
FIRST_SERVED = TRAINED_DAYS + 4


@pytest.fixture(scope="module")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The shop after 20 more days, whose outcomes came two hours after each order."""
    folder = tmp_path_factory.mktemp("served") / "shop"
    shutil.copytree(trained, folder)
    project = mw.open(folder)
    days = orders(FIRST_SERVED, SERVED)
    project.score(days.drop("bad"), log=True, caller="shop/1")
    tell(project, days)
    project.monitor(until=day(0) + timedelta(hours=2))
    for one in project.incidents():  # an alarm by chance would take its days out of what is usual
        project.answer_incident(one.n, "resolve", cause="chance")
    return folder


@pytest.fixture
def shop(served: Path, tmp_path: Path) -> mw.Handle:
    shutil.copytree(served, tmp_path / "shop")
    return mw.open(tmp_path / "shop")


def day(after: int) -> datetime:
    """The first moment of a day after the served ones, in UTC."""
    first = orders(FIRST_SERVED + SERVED + after, 1)["at"].min()
    assert isinstance(first, datetime)
    return first.replace(hour=0, minute=0, second=0)


def tell(project: mw.Handle, rows: pl.DataFrame) -> None:
    """Bring the outcomes of some orders, known two hours after each."""
    told = rows.select("order", "bad", (pl.col("at") + pl.duration(hours=2)).alias("known"))
    project.import_labels(told, value="bad", key="order", time="known")


def ask(project: mw.Handle, outcomes: pl.DataFrame) -> Diagnosis:
    """One more day with these outcomes, and a later one that has all of them."""
    today, later = orders(FIRST_SERVED + SERVED, 1), orders(FIRST_SERVED + SERVED + 1, 1)
    project.score(pl.concat([today, later]).drop("bad"), log=True, caller="shop/1")
    tell(project, pl.concat([outcomes, later]))
    found = project.why(since=day(0), until=day(1))
    assert isinstance(found, Diagnosis)
    assert len(found.lines()) <= 24
    return found


def facts(found: Diagnosis) -> dict[str, Any]:
    return dict(found.checked)


def test_all_outcomes_there_are_a_fact_and_no_cause(shop: mw.Handle) -> None:
    found = ask(shop, orders(FIRST_SERVED + SERVED, 1))
    assert not found.found
    assert facts(found)["labelled_share"] == 1.0
    assert any("outcomes of 100 % of the rows have come" in one for one in found.told)
    split = facts(found)
    assert split["loss"] - split["loss_usual"] == pytest.approx(split["loss_from_inputs"] + split["loss_from_concept"])


def test_outcomes_that_stay_away_are_late(shop: mw.Handle) -> None:
    found = ask(shop, orders(FIRST_SERVED + SERVED, 1).head(12))
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.column, cause.slice) == ("labels", "late", "bad", None)
    assert cause.effect.rows == facts(found)["labels_missing"]


def test_outcomes_of_one_country_that_stay_away_name_it(shop: mw.Handle) -> None:
    found = ask(shop, orders(FIRST_SERVED + SERVED, 1).filter(pl.col("country") != "AT"))
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.slice) == ("labels", "late", ("country", "AT"))
    assert any(line.startswith("WHERE   only country AT") for line in found.lines())


def test_outcomes_that_no_longer_mean_the_same_are_possible(shop: mw.Handle) -> None:
    found = ask(shop, orders(FIRST_SERVED + SERVED, 1).with_columns(pl.lit(1, dtype=pl.Int64).alias("bad")))
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.confidence) == ("labels", "changed", "possible")
    assert facts(found)["loss_from_concept"] > 3 * abs(facts(found)["loss_from_inputs"])
    assert any("less closely" in one for one in found.told)


def test_as_many_outcomes_as_ever_on_the_wrong_rows_are_possible(shop: mw.Handle) -> None:
    today = orders(FIRST_SERVED + SERVED, 1)
    safest_first = today["amount"].rank("ordinal").cast(pl.Int64) - 1
    worst_first = today["bad"].sort(descending=True).gather(safest_first)
    found = ask(shop, today.with_columns(worst_first.alias("bad")))
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.confidence) == ("labels", "changed", "possible")
    assert cause.detail.startswith("bad does not follow the scores: log loss ")

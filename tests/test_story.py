"""One night, from training to rollback, through the library's verbs. The first file to read.

A shop scores orders. For four months all is well; then a client starts to send the amount in cents.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import middlewatch as mw
from middlewatch import library
from middlewatch.errors import NothingToDo

FIRST = date(2026, 1, 1)
TRAINED_DAYS = 100
ROWS_A_DAY = 60


def orders(first: date, days: int, *, seed: int) -> pl.DataFrame:
    """Orders as they come: some 60 a day, over the day, with a weekly rhythm and a slow drift of their own."""
    random = np.random.default_rng(seed)
    tables = []
    for number in range(days):
        day = datetime.combine(first + timedelta(days=number), datetime.min.time(), tzinfo=UTC)
        rows = int(ROWS_A_DAY + 10 * np.sin(2 * np.pi * day.weekday() / 7) + random.integers(-5, 6))
        minutes = np.sort(random.integers(6 * 60, 23 * 60, rows))
        amount = np.round(random.lognormal(3.2 + 0.1 * np.sin(number / 9), 0.6, rows), 2)
        country = random.choice(["AT", "DE", "CH", "IT"], rows, p=[0.5, 0.3, 0.15, 0.05])
        items = random.integers(1, 8, rows)
        returning = random.random(rows) < 0.4
        risk = 1 / (1 + np.exp(-(0.05 * (amount - 30) + 0.4 * (country == "IT") - 0.8 * returning)))
        tables.append(
            pl.DataFrame(
                {
                    "order": [f"o-{day:%Y%m%d}-{row}" for row in range(rows)],
                    "at": [day + timedelta(minutes=int(minute)) for minute in minutes],
                    "amount": amount,
                    "country": country,
                    "items": items,
                    "returning": returning,
                    "returned": (random.random(rows) < risk).astype(int),
                }
            )
        )
    return pl.concat(tables)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    orders(FIRST, TRAINED_DAYS, seed=1).write_parquet(tmp_path / "orders.parquet")
    started = library.init(
        str(tmp_path / "orders.parquet"), target="returned", time="at", key="order", name="returns", folder=folder
    )
    assert started.report.ok, "a schema accepts the data it was inferred from"
    assert {column.name for column in started.schema.features} == {"amount", "country", "items", "returning"}
    return folder


def test_a_night(shop: Path, tmp_path: Path) -> None:
    project = mw.open(shop)

    # Evening: a model is trained on data that passed its tests, and goes live through its gate.
    trained = project.train()
    assert trained.version == "v1"
    assert trained.data == "d1"
    assert trained.ok
    assert trained.metrics["auc"]["value"] > 0.6
    assert project.promote("v1").live == "v1"
    with pytest.raises(NothingToDo):
        project.promote("v1")

    # A week of traffic is scored and kept; nothing cries.
    week = FIRST + timedelta(days=TRAINED_DAYS)
    traffic = orders(week, 7, seed=2).drop("returned")
    assert project.score(traffic, log=True).logged == traffic.height
    quiet = project.monitor(until=f"{week + timedelta(days=7)}T02:00Z")
    assert len(quiet.windows) >= 7
    assert not quiet.incidents
    assert project.status().state == "healthy"

    # Night: amounts arrive in cents.
    night = week + timedelta(days=7)
    faulty = orders(night, 2, seed=3).drop("returned").with_columns((pl.col("amount") * 100).round(2))
    project.score(faulty, log=True, caller="checkout/7")
    alarmed = project.monitor(until=f"{night + timedelta(days=2)}T02:00Z")
    assert [incident.n for incident in alarmed.incidents] == [1]
    assert project.status().state in ("look", "failing")

    # Why: the column, the kind, since when, and what it did.
    answer = project.why().to_dict()
    assert answer["found"]
    cause = answer["causes"][0]
    assert (cause["column"], cause["kind"]) == ("amount", "scale")
    assert cause["since"][:10] == night.isoformat()
    assert cause["effect"]["share_of_shift"] > 0.5

    # The rows are marked, the feed is mended, a retrain leaves them out.
    project.answer_incident(
        1, "mark_bad", since=f"{night}T00:00:00Z", until=f"{night + timedelta(days=2)}T00:00:00Z", where=""
    )
    after = night + timedelta(days=2)
    known = orders(FIRST, TRAINED_DAYS, seed=1), orders(week, 7, seed=2), orders(night, 2, seed=3)
    cents = known[2].with_columns((pl.col("amount") * 100).round(2))
    pl.concat([known[0], known[1], cents, orders(after, 5, seed=4)]).write_parquet(tmp_path / "orders.parquet")
    again = project.retrain()
    assert again.trained is not None
    assert again.trained.left_out[0]["rows"] == cents.height
    assert again.decision in ("kept", "refused")
    project.answer_incident(1, "resolve", cause="scale", confirmed=True)
    assert project.status().why_confirmed == {"confirmed": 1, "of": 1}

    # Promote, and take it back in one entry.
    version = again.trained.version
    project.promote(version, force="the story goes on")
    plan = project.rollback(dry_run=True)
    assert (plan.live, plan.dry_run) == ("v1", True)
    assert project.rollback(reason="to sleep better").live == "v1"
    assert project.versions()["live"] == "v1"
    assert [entry.action for entry in project.versions()["journal"]] == ["promote", "promote", "rollback"]

"""`why` on a small shop: each cause is named from the log alone, releases are proved by replay, calm is silent."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import middlewatch as mw
from middlewatch import ids, library, predictions
from middlewatch.errors import NotFound, NothingToDo, UsageError
from middlewatch.why import Diagnosis, diagnose
from middlewatch.why.rows import span_of

FIRST = date(2026, 1, 1)
TRAINED_DAYS = 40
CALM_DAYS = 4
ROWS = 120
NOW = datetime(2027, 1, 1, tzinfo=UTC)
NIGHT = datetime.combine(FIRST + timedelta(days=TRAINED_DAYS + CALM_DAYS), datetime.min.time(), tzinfo=UTC)


def orders(first: int, days: int) -> pl.DataFrame:
    """Orders of some days: amounts in euros with cents, four countries, a returning customer or not."""
    tables = []
    for number in range(first, first + days):
        random = np.random.default_rng([11, number])
        start = datetime.combine(FIRST, datetime.min.time(), tzinfo=UTC) + timedelta(days=number)
        amount = np.round(random.lognormal(3.3, 0.5, ROWS), 2)
        country = random.choice(["AT", "DE", "CH", "IT"], ROWS, p=[0.4, 0.3, 0.2, 0.1])
        items = random.integers(1, 8, ROWS)
        risk = 1 / (1 + np.exp(-(0.06 * (amount - 30) + 0.9 * (country == "IT") - 0.3 * (items - 4))))
        minutes = np.sort(random.integers(0, 1440, ROWS))
        tables.append(
            pl.DataFrame(
                {
                    "order": [f"o-{number}-{row}" for row in range(ROWS)],
                    "at": [start + timedelta(minutes=int(minute)) for minute in minutes],
                    "amount": amount,
                    "country": country,
                    "items": items,
                    "bad": (random.random(ROWS) < risk).astype(int),
                }
            )
        )
    return pl.concat(tables)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a model, live, that scored some calm days: v1 of the first half, v2 of all training days."""
    folder = tmp_path_factory.mktemp("shop")
    table = folder / "orders.parquet"
    orders(0, TRAINED_DAYS // 2).write_parquet(table)
    library.init(str(table), target="bad", time="at", key="order", name="returns", folder=folder)
    project = mw.open(folder)
    project.train()
    project.promote("v1", force="first")
    orders(0, TRAINED_DAYS).write_parquet(table)
    project.train()
    project.promote("v2", force="more data")
    project.score(orders(TRAINED_DAYS, CALM_DAYS).drop("bad"), log=True, caller="shop/1")
    project.monitor(until=NIGHT + timedelta(hours=2))
    return folder


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> mw.Handle:
    """A copy of it that a test may break."""
    shutil.copytree(trained, tmp_path / "shop")
    return mw.open(tmp_path / "shop")


def night(
    project: mw.Handle, change: pl.Expr | None = None, *, caller: str = "shop/1", version: str | None = None
) -> None:
    rows = orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad")
    project.score(rows if change is None else rows.with_columns(change), log=True, caller=caller, version=version)


def ask(project: mw.Handle, since: datetime = NIGHT) -> Diagnosis:
    found = diagnose(project.project, project.model, since=since, until=NIGHT + timedelta(days=1), now=NOW)
    json.dumps(found.to_dict(), allow_nan=False)
    lines = found.lines()
    assert len(lines) <= 24
    assert lines[0] == found.headline
    assert lines[-1].startswith("Next:")
    return found


def test_a_calm_day_is_silent_and_says_what_was_checked(shop: mw.Handle) -> None:
    night(shop)
    found = ask(shop)
    assert not found.found
    assert "nothing unusual" in found.headline
    assert found.checked["past_days"] == 28
    assert found.checked["rows"] == ROWS
    assert any("v2 answers the logged rows the same" in one for one in found.ruled_out)
    assert found.next == "middlewatch status"


def test_a_day_that_ends_at_noon_is_held_against_mornings(shop: mw.Handle) -> None:
    rows = orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad")
    shop.score(rows.filter(pl.col("at").dt.hour() < 12), log=True, caller="shop/1")
    span = span_of(shop.project, shop.model, incident=None, since=NIGHT, until=NIGHT + timedelta(days=1), now=NOW)
    assert len(span.past) == 28
    assert {hour for one in span.past for hour in one["mw.time"].dt.hour().unique()} == set(range(12))


def test_another_unit_is_named_with_its_effect_and_rolling_back_would_not_help(shop: mw.Handle) -> None:
    night(shop, (pl.col("amount") * 100).round(2), caller="checkout/7")
    found = ask(shop)
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.column) == ("scale", "unit", "amount")
    assert cause.facts["slope"] == 100
    assert cause.effect.rows >= 0.95 * ROWS
    assert cause.effect.share_of_shift is not None
    assert cause.effect.share_of_shift > 0.5
    assert cause.event == "first seen from caller checkout/7"
    assert "would not help" in found.rollback
    assert "v1 reads the same amount" in found.next
    assert found.to_dict()["causes"][0]["reproduce"].startswith("middlewatch why --since")


def test_a_note_before_the_onset_is_told_as_coinciding(shop: mw.Handle) -> None:
    shop.note("the warehouse moved", at=NIGHT - timedelta(hours=3))
    night(shop, pl.lit(None, dtype=pl.Float64).alias("amount"))
    cause = ask(shop).causes[0]
    assert cause.kind == "nulls"
    assert "coincides" in cause.event
    assert "warehouse" in cause.event


def test_a_wrong_release_is_proved_by_replay_and_rolling_back_helps(shop: mw.Handle) -> None:
    shop.promote("v1", force="a slip of the hand")
    night(shop)
    found = ask(shop)
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.confidence) == ("release", "wrong_version", "certain")
    assert cause.effect.decisions_changed
    assert "a slip of the hand" in cause.event
    assert found.next.startswith("middlewatch rollback --dry-run   (would help")
    assert [one.kind for one in found.causes] == ["release"], "the inputs are as always and are not blamed"


def test_a_version_that_answered_until_its_successor_came_is_not_blamed_with_a_later_wrong_one(shop: mw.Handle) -> None:
    shop.train(force="the next one")
    shop.promote("v3", force="as planned")
    shop.promote("v1", force="a slip of the hand")
    rows = orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad").sort("at")
    for at, version in enumerate(("v2", "v3", "v1")):
        shop.score(rows[at * (ROWS // 3) : (at + 1) * (ROWS // 3)], log=True, version=version)
    found = ask(shop)
    assert [one.facts["version"] for one in found.causes if one.kind == "release"] == ["v1"]
    assert "a slip of the hand" in found.causes[0].event


def test_a_release_that_was_rolled_back_in_between_is_named_and_needs_no_second_rollback(shop: mw.Handle) -> None:
    shop.promote("v1", force="a slip of the hand")
    shop.rollback()
    rows = orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad").sort("at")
    shop.score(rows.head(ROWS // 2), log=True, version="v1")
    shop.score(rows.tail(ROWS - ROWS // 2), log=True, version="v2")
    found = ask(shop)
    assert found.causes, (found.told, found.ruled_out, found.checked)
    cause = found.causes[0]
    assert (cause.kind, cause.effect.rows) == ("release", ROWS // 2)
    assert "a slip of the hand" in cause.event
    assert "v2 is live again" in cause.fix
    assert "was done" in found.rollback
    assert "rollback" not in found.next
    assert not any("planned release" in one for one in found.told)


def test_servers_that_disagree_are_named(shop: mw.Handle) -> None:
    shop.promote("v1", force="a slip of the hand")
    rows = orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad")
    shop.score(rows.gather_every(2), log=True, version="v1")
    shop.score(rows.gather_every(2, 1), log=True, version="v2")
    cause = ask(shop).causes[0]
    assert (cause.kind, cause.form, cause.confidence) == ("release", "mixed_versions", "certain")


def test_a_planned_release_is_told_and_not_blamed(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "shop")
    project = mw.open(tmp_path / "shop")
    project.promote("v1", force="back to the beginning")
    project.promote("v2", force="as planned")
    night(project)
    assert not ask(project).found


def test_answers_that_their_version_does_not_give_are_an_environment_matter(shop: mw.Handle) -> None:
    rows = orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad")
    shop.score(rows, log=True)
    kept = shop.predictions(since=NIGHT, by="time")
    elsewhere = kept.with_columns(pl.col("mw.score") * 0.9, pl.col("mw.time") + timedelta(minutes=1))
    predictions.write_batch(shop.project.store, shop.model, elsewhere.drop("mw.id", "mw.raw"), now=NOW)
    cause = ask(shop).causes[0]
    assert (cause.kind, cause.form, cause.confidence) == ("environment", "answers_differ", "certain")
    assert cause.effect.rows == ROWS


def test_refused_requests_are_a_cause_even_where_nothing_was_answered(shop: mw.Handle) -> None:
    times = [NIGHT + timedelta(minutes=one) for one in range(60)]
    frame = pl.DataFrame(
        {
            "mw.id": [f"refused-{one}" for one in range(60)],
            "mw.time": times,
            "mw.received": times,
            "mw.caller": ["checkout/7"] * 60,
            "field": ["amount"] * 60,
            "came": ["a string that holds a number"] * 60,
            "expected": ["a number"] * 60,
            "error": ['"amount" must be a number'] * 60,
        },
        schema_overrides={one: pl.Datetime("us", "UTC") for one in ("mw.time", "mw.received")},
    )
    blank = predictions.empty("refused")
    whole = pl.concat([blank, frame], how="diagonal_relaxed").select(blank.columns)
    predictions.put(shop.project.store, shop.model, "refused", whole, version="v2", ident="s-1")
    found = ask(shop)
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.column, cause.confidence) == ("type", "number_as_text", "amount", "certain")
    assert "60 requests got no prediction" in "\n".join(found.lines())


def test_an_incident_keeps_its_diagnosis_once(shop: mw.Handle) -> None:
    night(shop, (pl.col("amount") * 100).round(2))
    incidents = shop.project.incidents(shop.model)
    opened = incidents.open(
        key="k",
        at=NOW,
        actor="monitor",
        facts={"since": NIGHT.isoformat(), "until": (NIGHT + timedelta(days=1)).isoformat()},
    )
    found = diagnose(shop.project, shop.model, now=NOW)
    assert found.headline.startswith(f"Incident {opened.n}")
    kept = incidents.get(opened.n)
    assert kept.why is not None
    assert kept.why["causes"][0]["column"] == "amount"
    diagnose(shop.project, shop.model, incident=opened.n, now=NOW)
    assert len(incidents.get(opened.n).events) == len(kept.events), "the same answer is not written twice"


def test_with_little_history_there_are_only_facts(tmp_path: Path) -> None:
    table = tmp_path / "orders.parquet"
    orders(0, 10).write_parquet(table)
    library.init(str(table), target="bad", time="at", key="order", name="returns", folder=tmp_path)
    project = mw.open(tmp_path)
    with pytest.raises(NothingToDo):
        diagnose(project.project, project.model, now=NOW)
    project.train()
    project.promote("v1", force="first")
    project.score(orders(10, 1).drop("bad").with_columns(pl.col("amount") * 100), log=True)
    found = diagnose(project.project, project.model, now=NOW)
    assert not found.found
    assert "facts only" in found.headline
    assert any("16 are needed" in one for one in found.not_seen)


def test_a_window_of_two_hours_is_held_against_the_same_hours_and_their_neighbours(shop: mw.Handle) -> None:
    night(shop, (pl.col("amount") * 100).round(2))
    found = diagnose(
        shop.project, shop.model, since=NIGHT + timedelta(hours=9), until=NIGHT + timedelta(hours=17), now=NOW
    )
    assert found.checked["past_days"] >= 16
    assert found.causes[0].column == "amount"
    narrow = diagnose(
        shop.project, shop.model, since=NIGHT + timedelta(hours=9), until=NIGHT + timedelta(hours=11), now=NOW
    )
    assert narrow.checked["past_days"] >= 16
    assert any("stand in for 2" in one for one in narrow.not_seen)


def test_one_prediction_tells_its_story(shop: mw.Handle) -> None:
    night(
        shop,
        pl.when(pl.col("order") == f"o-{TRAINED_DAYS + CALM_DAYS}-3")
        .then(90_000.0)
        .otherwise("amount")
        .alias("amount"),
    )
    rows = shop.predictions(since=NIGHT, by="time")
    odd = rows.filter(pl.col("amount") == 90_000.0)["mw.id"][0]
    story = shop.why(odd)
    facts = story.to_dict()
    assert json.dumps(facts, allow_nan=False)
    assert facts["inputs"][0]["column"] == "amount"
    assert facts["inputs"][0]["unusual"]
    assert facts["replayed"] == facts["score"]
    assert facts["on"] == "v1"
    assert any("UNUSUAL" in line for line in story.lines())
    assert facts["inputs"][0]["contribution"] is not None
    with pytest.raises(UsageError, match="predictions begin with"):
        shop.why(odd[:12])
    shop.score(orders(0, 1).drop("bad").head(1), log=True)
    alone = shop.predictions()["mw.id"][-1]
    assert shop.why(alone[:16]).to_dict()["id"] == alone
    with pytest.raises(UsageError, match="too short"):
        shop.why(odd[:3])
    assert shop.why(odd, on="v2").to_dict()["on"] is None, "its own version is no other one"
    with pytest.raises(UsageError):
        shop.why("not-an-id")
    with pytest.raises(NotFound):
        shop.why(ids.new_id(int(NOW.timestamp() * 1_000_000), "abcde", 0))

"""A season of a model's life through the library, with the clock set to it: nothing piles up, nobody is needed.

`bench/years.py` plays two years of real data; this is some weeks of made ones, with short retentions.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from middlewatch import library, retention, windows

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
HISTORY, WEEKS, EVERY, KEPT = 28, 6, 14, 14
SETTINGS = f"""
[models.sale]
source = "rows.parquet"
target = "bought"
task = "binary"
time = "at"
key = "id"

[models.sale.retrain]
promote = "auto"

[store]
keep_log_days = {KEPT}
keep_data = 2
"""


def rows(day: int) -> pl.DataFrame:
    """A day's visits: more with the weeks, the mean wandering a little."""
    chance = np.random.default_rng(day)
    count = 60 + day // 2
    price = np.round(chance.normal(50 + 3 * np.sin(day / 6), 10, count), 2)
    shop = chance.choice(["north", "south", "west"], count)
    return pl.DataFrame(
        {
            "id": [f"{day}-{one}" for one in range(count)],
            "at": [FIRST + timedelta(days=day, seconds=int(one)) for one in np.sort(chance.integers(0, 86_400, count))],
            "price": price,
            "shop": shop,
            "bought": (chance.random(count) < 1 / (1 + np.exp((price - 50) / 8 - (shop == "west")))).astype(int),
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )


def table(first: int, until: int) -> pl.DataFrame:
    return pl.concat([rows(day) for day in range(first, until)])


def test_a_season_of_retraining_leaves_a_bounded_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "KEEP_HOURS_DAYS", 2 * KEPT)
    monkeypatch.setattr("middlewatch.monitor.KEEP_HOURS_DAYS", 2 * KEPT)
    monkeypatch.setattr(retention, "SCORED", 2)
    now = FIRST
    monkeypatch.setattr(library.Handle, "clock", staticmethod(lambda: now))
    source = tmp_path / "rows.parquet"
    table(0, HISTORY).write_parquet(source)
    library.init(str(source), target="bought", time="at", key="id", name="sale", folder=tmp_path)
    (tmp_path / "middlewatch.toml").write_text(SETTINGS, encoding="utf-8")
    handle = library.open(tmp_path)
    store = handle.project.store
    now = FIRST + timedelta(days=HISTORY)
    handle.promote(handle.train().version, force="the first one")
    decisions: Counter[str] = Counter()
    logged = []
    for day in range(HISTORY, HISTORY + 7 * WEEKS):
        now = FIRST + timedelta(days=day + 1, minutes=30)
        handle.score(rows(day).drop("bought"), log=True, time="at")
        if day % 7 == 6:
            now += timedelta(hours=2)
            told = table(day - 13, day - 6).select("id", "bought")
            handle.import_labels(told, key="id", value="bought")
            handle.monitor(until=now)
            logged.append(len(store.list("sale/log")))
        if day % EVERY == EVERY - 1:
            table(max(day - 41, 0), day - 6).write_parquet(source)
            decisions[handle.retrain(slot=f"day {day}").decision] += 1
    assert sum(decisions.values()) == 7 * WEEKS // EVERY
    assert set(decisions) <= {"promoted", "refused"}  # refused by its gate, of two models as good as each other
    assert decisions["promoted"] >= 1
    # The log, its outcomes, hours and samples, rows of snapshots, scores of other versions: none of them grows on.
    assert max(logged) <= KEPT + 8
    assert len(store.list("sale/labels")) <= KEPT // 7 + 1
    kept = [key for key in store.list("sale/windows") if key.endswith(".hours")]
    assert len(kept) == 2 * KEPT + 1
    live = handle.status().to_dict()["live"]["version"]
    parts = {key.split("/")[2] for key in store.list("sale/data") if "part-" in key}
    assert 2 <= len(parts) <= 4
    scored = {int(match[1]) for key in store.list("sale/windows") if (match := re.search(r"scores-v(\d+)-", key))}
    assert int(live[1:]) in scored
    assert len(scored) <= 4
    # Days themselves stay, every one.
    assert len(handle.project.windows("sale").days()) == HISTORY + 7 * WEEKS
    # Two alarms a month are promised: seven in six weeks would be a chance of 1 in 40 (Poisson).
    assert len(handle.incidents(every=True)) < 7
    assert handle.rollback(reason="a try").live != live

"""What trainings pile up is let go of, but what is live and where a rollback goes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from middlewatch import data, retention, tables
from middlewatch.errors import NotFound
from middlewatch.profiles import ColumnSpec, Profile, ProfileSpec, profile
from middlewatch.schema import Column, Schema
from middlewatch.store import Store
from middlewatch.windows import Windows

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SCHEMA = Schema(name="m", target="y", task="regression", columns=(Column(name="y", kind="number", role="target"),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open("store", base=tmp_path)


def snapshot(store: Store, number: int) -> data.DataVersion:
    raw = tables.from_frame(pl.DataFrame({"y": [float(number), 1.0, 2.0]}))
    return data.snapshot(store, "m", raw, SCHEMA, zone=UTC, now=NOW, actor="me")


def test_rows_of_old_snapshots_go_and_what_they_were_stays_known(store: Store) -> None:
    for number in range(1, 7):
        assert snapshot(store, number).version == f"d{number}"
    assert retention.expire_data(store, "m", kept=2, needed={"d2"}) == ["d1", "d3", "d4"]
    assert retention.expire_data(store, "m", kept=2, needed={"d2"}) == []
    for kept in ("d2", "d5", "d6"):
        assert data.frame(store, "m", kept).height == 3
    with pytest.raises(NotFound, match="the rows of d3 are not kept any more") as caught:
        data.frame(store, "m", "d3")
    assert "keep_data" in caught.value.fix
    assert data.load(store, "m", "d3").manifest["rows"] == 3
    assert data.profile(store, "m", "d3").columns["y"].max == 3.0
    assert snapshot(store, 6).version == "d6"  # the same rows are still the newest version
    assert snapshot(store, 3).version == "d7"


def test_past_predictions_of_old_versions_go(store: Store) -> None:
    windows = Windows(store, "m")
    made: Profile = profile(pl.DataFrame({"mw.score": [0.5]}), ProfileSpec((ColumnSpec("mw.score", "number"),)))
    days = [date(2026, 1, 1) + timedelta(days=one) for one in range(3)]
    for version in range(1, 21):
        for day in days:
            windows.put_scores(day, f"v{version}", made, basis="replayed")
    assert retention.expire_scores(store, "m", needed=["v3", "v20"]) == 3 * 7
    held = [version for version in range(1, 21) if windows.days_scored(f"v{version}")]
    assert held == [3, *range(9, 21)]
    assert windows.days_scored("v3") == set(days)
    assert retention.expire_scores(store, "m", needed=["v3", "v20"]) == 0

"""From log to windows: late rows cost their own day, and what the log has lost stays as it was measured."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from middlewatch import predictions, retention, windows
from middlewatch.building import build
from middlewatch.profiles import ProfileSpec
from middlewatch.project import Project
from middlewatch.schema import Column, Schema

FIRST = date(2026, 3, 1)
SCHEMA = Schema(name="delay", task="regression", columns=(Column(name="distance", kind="number", centre=900.0),))


def moment(day: int, hour: float = 0.0) -> datetime:
    return datetime.combine(FIRST, datetime.min.time(), tzinfo=UTC) + timedelta(days=day, hours=hour)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "middlewatch.toml").write_text('[models.delay]\ntask = "regression"\n', encoding="utf-8")
    (tmp_path / "delay.schema.toml").write_text(SCHEMA.to_toml(), encoding="utf-8")
    return Project.open(tmp_path)


def log(project: Project, day: int, count: int, *, received: datetime | None = None) -> None:
    """Rows of a day, received through the day or all at one later moment."""
    times = [moment(day, 24 * at / count) for at in range(count)]
    frame = pl.DataFrame(
        {
            "distance": np.random.default_rng([day, count]).normal(900, 100, count),
            "mw.time": times,
            "mw.received": times if received is None else [received] * count,
            "mw.score": [0.5] * count,
            "mw.version": ["ext-1"] * count,
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("mw.time", "mw.received")},
    )
    predictions.write_batch(project.store, "delay", frame)


def made(project: Project, day: int, *, rebuild: bool = False) -> list[date]:
    return build(project, "delay", until=moment(day), now=moment(day, 2), rebuild=rebuild).days


def revisions(project: Project) -> dict[date, tuple[int, int]]:
    return {one.day: (one.revision, one.rows) for one in project.windows("delay").read()}


def test_late_rows_are_read_with_their_own_day_and_no_other(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(6):
        log(project, day, 50)
    assert made(project, 6) == [FIRST + timedelta(days=day) for day in range(6)]
    log(project, 1, 7, received=moment(6, 3))
    log(project, 6, 50)
    read: list[tuple[date, int]] = []
    cut = windows.cut

    def noted(frame: pl.DataFrame, spec: ProfileSpec, *, zone: object, lenses: object) -> dict[date, windows.Cut]:
        found = cut(frame, spec, zone=UTC)
        read.extend((day, sum(one.rows for one in part.hours.values())) for day, part in found.items())
        return found

    monkeypatch.setattr("middlewatch.building.cut", noted)
    late, fresh = FIRST + timedelta(days=1), FIRST + timedelta(days=6)
    assert made(project, 7) == [late, fresh]
    assert read == [(late, 57), (fresh, 50)]
    assert revisions(project)[late] == (2, 57)
    assert [revision for day, (revision, _) in revisions(project).items() if day != late] == [1] * 6
    assert made(project, 7) == []


def test_a_day_past_the_logs_retention_keeps_its_window(project: Project) -> None:
    for day in range(4):
        log(project, day, 50)
    made(project, 4)
    assert retention.expire_log(project.store, "delay", FIRST + timedelta(days=2)) == 2
    log(project, 0, 7, received=moment(4, 3))  # too late: the rows that it belongs to are gone
    assert made(project, 5) == []
    assert made(project, 5, rebuild=True) == [FIRST + timedelta(days=2), FIRST + timedelta(days=3)]
    assert revisions(project) == {FIRST + timedelta(days=day): (2 if day > 1 else 1, 50) for day in range(4)}


def test_what_came_in_two_batches_is_one_window(project: Project) -> None:
    log(project, 0, 50)
    made(project, 1)
    log(project, 1, 20)
    log(project, 1, 30)
    assert made(project, 2) == [FIRST + timedelta(days=1)]
    [summary] = project.windows("delay").summaries(since=FIRST + timedelta(days=1))
    assert (summary["rows"], summary["versions"], len(summary["files"])) == (50, {"ext-1": 50}, 2)
    assert summary["received"] == ["2026-03-02T00:00:00Z", "2026-03-02T23:12:00Z"]

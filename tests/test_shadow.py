"""A version in shadow scores what was served, apart and once; `tail` follows; the disk's last day is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import middlewatch as mw
from middlewatch import doctor, predictions
from middlewatch.project import Project
from middlewatch.serve import convert
from serving import NOW, SRC, Client, bodies, expected, make_project, promote, publish, serving, wait_until

ROWS = bodies(30)


def shadowed(project: Project, name: str, version: str) -> None:
    journal = project.journal(name)
    journal.append(
        action="promote", version=version, channel="shadow", actor="test", host="t", at=NOW, expect=journal.state().n
    )


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_version_in_shadow_scores_the_same_rows_apart(tmp_path: Path, task: str) -> None:
    project = make_project(tmp_path, {"delay": task})
    promote(project, "delay", publish(project, "delay"))
    second = publish(project, "delay", seed=1)
    with serving(tmp_path) as (server, client):
        before = [client.predict(row) for row in ROWS[:10]]
        assert server.stop() == 0
    shadowed(project, "delay", second)
    with serving(tmp_path) as (server, client):
        answers = [client.predict(row) for row in ROWS[10:]]
        assert server.stop() == 0
    handle = mw.open(tmp_path)
    assert handle.predictions().height == 30
    frame = handle.shadow()
    assert frame["id"].to_list() == [one["id"] for one in answers], "rows since it is in shadow, each once"
    assert set(frame["version"]) == {"v1"}
    assert set(frame["shadow_version"]) == {second}
    assert frame["score"].to_list() == [one["score"] for one in answers]
    right = expected(task, 1, ROWS[10:])
    assert frame["shadow_score"].to_list() == ([max(one) for one in right] if task == "multiclass" else right)
    assert {one["version"] for one in before + answers} == {"v1"}
    printed = run(tmp_path, "tail", "--shadow", "-n", "3", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in printed] == [one["id"] for one in answers[-3:]]


def test_what_goes_wrong_in_the_shadow_never_holds_up_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    shadowed(project, "delay", publish(project, "delay", spoil=True))
    with serving(tmp_path) as (server, client):
        client.predict(ROWS[0])
        server.kill()
    assert convert.main([str(tmp_path)]) == 1
    assert "the shadow does not load" in capsys.readouterr().err

    def fails(frame: pl.DataFrame) -> Any:
        raise ValueError("boom")

    with serving(tmp_path) as (server, client):
        client.predict(ROWS[1])
        server.kill()
    found = predictions.convert(project.store, project.spool("delay"), "delay", beside=fails)
    assert (found.rows, "boom" in found.problems[0]) == (1, True)
    assert mw.open(tmp_path).predictions().height == 2
    assert mw.open(tmp_path).shadow().height == 0


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "middlewatch", *words, "--project", str(folder)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": SRC}, check=False,
    )  # fmt: skip


def test_tail_follows_every_row(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    with serving(tmp_path) as (server, client):
        client.predict(ROWS)
        with (tmp_path / "tail.out").open("wb") as out:
            tail = subprocess.Popen(
                [sys.executable, "-m", "middlewatch", "tail", "-f", "-n", "2", "--json", "--project", str(tmp_path)],
                stdout=out, env={**os.environ, "PYTHONPATH": SRC, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        try:
            wait_until(lambda: len(told(tmp_path)) == 2, 20)
            other = Client(server.url)
            listed = [one["id"] for one in other.predict(ROWS * 20)["predictions"]]
            other.close()
            wait_until(lambda: len(told(tmp_path)) >= 602, 20)
        finally:
            tail.kill()
            tail.wait()
        ids = [one["id"] for one in told(tmp_path)]
    assert ids[2:] == listed, "all of them, once, in order"


def told(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "tail.out").read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def test_the_disk_says_its_last_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path, {"delay": "binary"}, more="\n[store]\nkeep_log_days = 30\n")
    start = datetime(2026, 11, 1, tzinfo=UTC)
    for day in range(4):
        rows = pl.DataFrame({"mw.score": [0.5] * 50, "mw.version": ["v1"] * 50})
        predictions.write_batch(project.store, "delay", rows, now=start + timedelta(days=day))
    a_day = project.store.size("delay/log/") / 4

    def disk(free: float) -> doctor.Check:
        usage = type("Usage", (), {"free": free, "total": 2e12})
        monkeypatch.setattr("middlewatch.doctor.shutil.disk_usage", lambda root: usage)
        return next(one for one in doctor.doctor(project, now=start).checks if one.name == "disk")

    assert "to at most" in disk(1e12).detail
    assert disk(1e12).outcome == "ok"
    nearly = disk(a_day * 10.5)
    assert f"full on {date(2026, 11, 11)}" in nearly.detail
    assert nearly.outcome == "warn"

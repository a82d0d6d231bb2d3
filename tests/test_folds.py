"""A run of the monitor goes on from where the last one ended, and says what it would have said from the beginning."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import test_hours as hourly
from middlewatch.building import build
from middlewatch.monitor.folds import _plain
from middlewatch.monitor.run import Run
from middlewatch.monitor.units import units_of
from middlewatch.project import Project
from middlewatch.shift import LENGTHS, Watch
from middlewatch.shift.state import state_of
from middlewatch.store import Store
from test_monitor import FIRST, SCHEMA, Site, answered, moment, release, rows

DAYS = 66
HOURS = range(9, 15)
HOUR_DAYS = 58


class Killed(BaseException):
    """The process is gone."""


def site(folder: Path) -> Site:
    folder.mkdir()
    (folder / "middlewatch.toml").write_text('[models.delay]\ntask = "regression"\n', encoding="utf-8")
    (folder / "delay.schema.toml").write_text(SCHEMA.to_toml(), encoding="utf-8")
    project = Project.open(folder)
    project.journal("delay").append(action="promote", version="ext-1", actor="ann", host="here", at=moment(0), expect=0)
    return Site(project)


def forget(project: Project) -> None:
    for key in project.store.list("delay/folds"):
        project.store.delete(key)


def said(project: Project) -> tuple[list[Any], list[Any]]:
    # A window that was cut off on its way takes the next number.
    judged = [{**value, "at": None, "revisions": None} for value in project.windows("delay").judgements().values()]
    known = project.incidents("delay").all()
    return judged, [
        (it.state, it.since, it.until, it.columns, it.channels, it.peak, it.windows, it.clean, it.rows) for it in known
    ]


def alike(one: Project, other: Project) -> None:
    for here, there in zip(*map(said, (one, other)), strict=True):
        assert len(here) == len(there)
        for mine, yours in zip(here, there, strict=True):
            assert mine == yours


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the windows that are learnt, in its one place."""
    counted = [0]
    step = Watch.step

    def counting(self: Watch, *args: Any, **more: Any) -> None:
        counted[0] += 1
        step(self, *args, **more)

    monkeypatch.setattr(Watch, "step", counting)
    return counted


def bad(project: Project, n: int, since: datetime, until: datetime, where: str = "") -> None:
    span = {"since": since.isoformat(), "until": until.isoformat(), "where": where}
    project.incidents("delay").add(n, "mark_bad", at=until, actor="ann", **span)


def lives(folder: Path, make: Callable[[Path], Any], live: Callable[[Any, bool], None]) -> tuple[Project, Project]:
    """The same life twice from one beginning: going on, and beginning anew with every run."""
    make(folder / "first")
    found = []
    for name in ("going", "anew"):
        shutil.copytree(folder / "first", folder / name)
        found.append(Project.open(folder / name))
        live(found[-1], name == "anew")
    return found[0], found[1]


def test_days_gone_on_with_are_the_same_as_begun_anew(tmp_path: Path, steps: list[int]) -> None:
    by: dict[str, Any] = {}
    taken: dict[bool, list[int]] = {False: [], True: []}

    def make(folder: Path) -> None:
        one = site(folder)
        by["old"], by["new"] = release(one, 0.0), release(one, 1.0)
        one.log(*(answered(day, by["old"]) for day in range(DAYS)))
        one.judge(until=DAYS)

    def live(project: Project, anew: bool) -> None:
        one = Site(project, arrived=1)
        for day in range(DAYS, DAYS + 12):
            # A fault of three days, a promotion after it, late rows of both versions' days, marks of two kinds.
            frame = answered(day, by["old" if day < DAYS + 6 else "new"])
            wrong = DAYS + 1 <= day < DAYS + 4 or day == DAYS + 11
            late = {5: DAYS + 2, 8: DAYS + 4, 9: DAYS + 7}.get(day - DAYS)
            more = [answered(late, by["old" if late < DAYS + 6 else "new"]).head(20)] if late is not None else []
            one.log(frame.with_columns(pl.col("distance") * 1.6) if wrong else frame, *more)
            if day == DAYS + 9:
                bad(project, one.incidents()[-1].n, moment(DAYS + 1), moment(DAYS + 4))
                bad(project, one.incidents()[-1].n, moment(DAYS - 3), moment(DAYS - 2), where="carrier = 'B6'")
            if anew:
                forget(project)
            steps[0] = 0
            one.judge(until=day + 1)
            taken[anew].append(steps[0])

    going, anew = lives(tmp_path, make, live)
    alike(going, anew)
    states = [state for state, *_ in said(going)[1]]
    assert "resolved" in states
    assert "open" in states
    assert {one["version"] for one in said(going)[0][-12:]} == {by["old"][0], by["new"][0]}
    # A day is two steps; an incident begins before its first one; a late day is gone back to, once for a new version.
    assert taken[False][:2] == [2, 2]
    assert sorted(taken[False])[:10][-1] <= 40
    assert min(taken[True]) > DAYS
    assert len(going.store.list("delay/folds")) <= 2 * 20


def test_hours_gone_on_with_are_the_same_as_begun_anew(tmp_path: Path, steps: list[int]) -> None:
    taken: dict[bool, list[int]] = {False: [], True: []}
    first: dict[int, hourly.Site] = {}
    day = HOUR_DAYS

    def make(folder: Path) -> None:
        folder.mkdir()
        one = first[0] = hourly.Site(folder)
        one.log(pl.concat([hourly.rows(each, HOURS) for each in range(day)]), hourly.moment(day))
        one.judge(hourly.moment(day))

    def live(project: Project, anew: bool) -> None:
        one = copy.copy(first[0])
        one.project = project

        def run(each: int, hour: int, *frames: pl.DataFrame, version: str = "ext-1", scale: float = 1.0) -> None:
            frame = hourly.rows(each, range(hour, hour + 1), scale=scale)
            frame = pl.concat([frame, *frames]).with_columns(pl.lit(version).alias("mw.version"))
            one.log(frame, hourly.moment(each, hour + 1))
            if anew:
                forget(project)
            steps[0] = 0
            one.judge(hourly.moment(each, hour + 1))
            taken[anew].append(steps[0])

        run(day, 9)
        run(day, 10)
        run(day, 11, scale=1.6)
        run(day, 12, scale=1.6)
        run(day, 13, hourly.rows(day, range(9, 10), count=7, tag="late"))
        run(day, 14, hourly.rows(day - 1, range(13, 14), count=7, tag="late"))
        n = project.incidents("delay").all()[-1].n
        bad(project, n, hourly.moment(day, 11, 0), hourly.moment(day, 13, 0))
        run(day + 1, 9)
        bad(project, n, hourly.moment(day - 2, 9, 0), hourly.moment(day - 2, 15, 0), where="carrier = 'B6'")
        run(day + 1, 10, version="ext-2")
        run(day + 1, 11, version="ext-2")
        run(day + 1, 12, version="ext-2")

    going, anew = lives(tmp_path, make, live)
    alike(going, anew)
    assert said(going)[1]
    assert taken[False][:2] == [2, 2]
    assert sorted(taken[False])[:5][-1] <= 8
    assert min(taken[True]) > 300
    assert len(going.store.list("delay/folds")) <= 12


def test_a_run_that_dies_or_a_state_that_is_broken_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: Path) -> None:
        one = site(folder)
        one.log(*(rows(day) for day in range(40)))
        one.judge(until=40)

    kind: Any = type(site(tmp_path / "kind").project.store)
    put, delete = kind.put_new, kind.delete

    def live(project: Project, anew: bool) -> None:
        one = Site(project, arrived=1)
        for day in range(40, 46):
            left = [(day - 40) % 4]

            def dying(self: Store, key: str, *args: Any, left: list[int] = left, **more: Any) -> Any:
                if "/folds/" in key or "/windows/" in key or "/incidents/" in key:
                    if not left[0]:
                        raise Killed
                    left[0] -= 1
                return (put if args else delete)(self, key, *args, **more)

            one.log(rows(day, scale=1.6 if day in (42, 43) else 1.0))
            if not anew:
                for key in project.store.list("delay/folds")[-1:] if day == 44 else []:
                    (project.root / ".middlewatch" / key).write_bytes(b"\0" * 100)
                monkeypatch.setattr(kind, "put_new", dying)
                monkeypatch.setattr(kind, "delete", dying)
                with pytest.raises(Killed):
                    one.judge(until=day + 1)
                monkeypatch.setattr(kind, "put_new", put)
                monkeypatch.setattr(kind, "delete", delete)
            else:
                forget(project)
            one.judge(until=day + 1)

    going, anew = lives(tmp_path, make, live)
    alike(going, anew)


@pytest.mark.parametrize("change", ["window", "budget", "schema", "rebuild"])
def test_a_state_of_other_settings_is_no_state(tmp_path: Path, steps: list[int], change: str) -> None:
    one = site(tmp_path / "one")
    one.log(*(rows(day) for day in range(42)))
    one.judge(until=42)
    held = one.project.store.list("delay/folds")
    toml, schema = one.project.root / "middlewatch.toml", one.project.root / "delay.schema.toml"
    more = {"window": 'window = "week"', "budget": "alarms_per_month = 3"}.get(change, "")
    toml.write_text(toml.read_text() + f"\n[monitor]\n{more}\n")
    if change == "schema":
        schema.write_text(schema.read_text().replace("centre = 900", "centre = 901"))
    one.project = Project.open(one.project.root)
    one.log(*(rows(day) for day in range(42, 50)))
    steps[0] = 0
    one.judge(until=50, rebuild=change == "rebuild")
    assert steps[0] >= (7 if change == "window" else 49)
    # Nothing of the other past stays.
    assert not set(held) & set(one.project.store.list("delay/folds"))


def test_days_marked_bad_are_another_past(tmp_path: Path) -> None:
    one = site(tmp_path / "one")
    one.log(*(rows(day) for day in range(DAYS)), rows(DAYS, scale=1.6))
    one.judge(until=DAYS + 1)
    [incident] = [it for it in one.incidents() if it.active]
    bad(one.project, incident.n, moment(DAYS), moment(DAYS + 1))
    one.log(rows(DAYS + 1))
    [judged] = one.judge(until=DAYS + 2).windows
    assert judged["history"] == DAYS


def test_what_is_kept_is_read_back_as_it_was(tmp_path: Path) -> None:
    one = site(tmp_path / "one")
    one.log(*(rows(day) for day in range(40)))
    one.judge(until=40)
    one.log(rows(40))
    build(one.project, "delay", until=moment(41), now=datetime(2014, 2, 2, tzinfo=UTC))
    units = units_of(one.project, one.project.windows("delay"), moment(41))
    run = Run(one.project, "delay", units, units[-1:], now=datetime(2014, 2, 2, tzinfo=UTC))
    assert [unit.start for unit in run.units] == [FIRST + timedelta(days=39), FIRST + timedelta(days=40)]
    whole = Watch(budget=2.0, length=LENGTHS["day"])
    for unit in units[:39]:
        whole.step(unit.start, run.past.under(unit, "ext-1"))
    restored = run.watches["ext-1"]
    assert _plain(state_of(restored)) == _plain(state_of(whole))
    facts = run.past.logged(units[-1])
    assert restored.look(units[-1].start, facts) == whole.look(units[-1].start, facts)
    with pytest.raises(TypeError, match="cannot hold object"):
        _plain({"a": object()})

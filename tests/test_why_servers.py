"""Servers on the time line: what they run on is kept, told where it coincides, blamed only where a replay proves it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import middlewatch as mw
from middlewatch import environment, retention, servers
from middlewatch.store import Store
from middlewatch.why import Diagnosis
from serving import Client, Server, serving, wait_until
from test_why import (
    CALM_DAYS,
    TRAINED_DAYS,
    ask,
    orders,
    trained,  # noqa: F401  # the fixture
)

# A server that loads what is live as it starts and never looks again.
STUCK = """
from middlewatch.serve.live import Live
follow = Live.follow
Live.follow = lambda self: None if self.scorers else follow(self)
"""
# Answers as a library of another build would give them: with 32 bits where others have 64.
COARSE = """
import struct
from middlewatch.serve import scorer
made = scorer.Scorer.__init__
def init(self, *given, **named):
    made(self, *given, **named)
    row = self._row
    self._row = lambda inputs: struct.unpack("f", struct.pack("f", row(inputs)))[0]
scorer.Scorer.__init__ = init
"""


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> mw.Handle:  # noqa: F811
    shutil.copytree(trained, tmp_path / "shop")
    return mw.open(tmp_path / "shop")


def night() -> list[dict[str, Any]]:
    rows = orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad")
    return [{**one, "at": one["at"].isoformat()} for one in rows.to_dicts()]


def send(clients: Sequence[Client], rows: list[dict[str, Any]]) -> None:
    """Each row to the next server in turn."""
    for number, row in enumerate(rows):
        clients[number % len(clients)].predict(row, x_middlewatch_caller="shop/1")


def recorded(shop: mw.Handle, count: int) -> list[servers.ServerRecord]:
    store = shop.project.store
    wait_until(lambda: len(servers.read(store, "returns")) == count, 20)
    return servers.read(store, "returns")


def served(shop: mw.Handle, rows: list[dict[str, Any]], second: dict[str, Any]) -> tuple[Diagnosis, Sequence[str]]:
    """The night, answered by a plain server and a second one by turns; and their names."""
    root = shop.project.root
    with serving(root, env={"TZ": "UTC"}) as (_, one), serving(root, **second) as (_, other):
        recorded(shop, 2)
        names = [client.ask("GET", "/environment")[1]["server"] for client in (one, other)]
        send([one, other], rows)
        return ask(shop), names


def test_a_server_leaves_what_it_runs_on_and_says_so(shop: mw.Handle) -> None:
    with serving(shop.project.root, env={"TZ": "Asia/Tokyo", "LC_ALL": "C"}) as (_, client):
        (found,) = recorded(shop, 1)
        facts = client.ask("GET", "/environment")[1]
    assert found.version == "v2"
    assert found.server == facts["server"]
    assert found.environment["zone"] == "Asia/Tokyo"
    assert found.environment["locale"] == "C"
    assert {"polars", "numpy", "lightgbm", "uvicorn", "middlewatch"} <= set(found.environment["packages"])
    assert facts["environment"]["cpu_flags"] == found.environment["cpu_flags"]
    assert facts["models"]["returns"]["version"] == "v2"
    assert found.environment["settings"] == facts["models"]["returns"]["settings"]
    # Nothing of the environment's variables but those that are named.
    assert "PYTHONPATH" not in json.dumps(facts)


def test_another_environment_with_the_same_answers_is_told_and_not_blamed(shop: mw.Handle) -> None:
    found, names = served(shop, night(), {"env": {"TZ": "Asia/Tokyo"}})
    assert not found.found
    (line,) = [one for one in found.told if "Asia/Tokyo" in one]
    assert names[1] in line
    assert line.endswith("its answers are the same to the bit")


def test_a_server_whose_answers_are_not_its_versions_is_named_with_what_it_runs_on(shop: mw.Handle) -> None:
    found, names = served(shop, night(), {"env": {"TZ": "Asia/Tokyo"}, "before": COARSE})
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.confidence) == ("environment", "answers_differ", "certain")
    assert cause.slice == ("mw.server", names[1])
    assert "zone Asia/Tokyo (else UTC)" in cause.event
    assert cause.facts["environment"]["zone"] == {"here": "Asia/Tokyo", "else": "UTC"}


def test_a_server_that_did_not_follow_a_release_is_named(shop: mw.Handle) -> None:
    shop.rollback(to="v1")
    root, rows = shop.project.root, night()
    with serving(root) as (plain, one), serving(root, before=STUCK) as (_, other):
        name = other.ask("GET", "/environment")[1]["server"]
        send([one, other], rows[:20])
        shop.promote("v2", force="again")
        wait_until(lambda: one.ask("GET", "/readyz")[1]["models"]["returns"]["version"] == "v2")
        send([one, other], rows[20:])
        assert plain.process.poll() is None
        found = ask(shop)
    cause = found.causes[0]
    assert (cause.kind, cause.form) == ("release", "mixed_versions")
    assert cause.facts["server"] == name
    assert f"all of them by server {name}" in cause.detail


def test_a_threshold_that_moved_is_the_cause_of_other_decisions(shop: mw.Handle) -> None:
    root = shop.project.root
    toml = root / "middlewatch.toml"
    toml.write_text(toml.read_text().replace('target = "bad"', 'target = "bad"\nthreshold = 0.7', 1))
    changed = mw.open(root)
    changed.train(force="another threshold")
    changed.promote("v3", force="a stricter rule")
    changed.score(orders(TRAINED_DAYS + CALM_DAYS, 1).drop("bad"), log=True, caller="shop/1")
    found = ask(changed)
    cause = found.causes[0]
    assert (cause.kind, cause.form, cause.confidence) == ("release", "threshold", "certain")
    assert cause.detail == "v3 says yes from a score of 0.7, v2 from 0.5"
    assert cause.effect.decisions_changed
    assert "by the threshold alone" in cause.proof


def test_the_newest_record_of_a_server_counts_and_records_expire_with_the_log(tmp_path: Path) -> None:
    store = Store.open("store", base=tmp_path)
    one = servers.ServerRecord(server="web1-aaaaa", at="", started="2026-11-01T00:00:00Z", version="v1")
    for day, version in ((1, "v1"), (2, "v2"), (2, "v9")):
        record = servers.ServerRecord(server=one.server, at="", started=one.started, version=version)
        servers.leave(store, "m", record, now=datetime(2026, 11, day, tzinfo=UTC))
    assert [found.version for found in servers.read(store, "m")] == ["v2"]
    assert [found.version for found in servers.read(store, "m", until=date(2026, 11, 1))] == ["v1"]
    assert servers.read(store, "m", names=["web2-bbbbb"]) == []
    assert retention.expire_log(store, "m", date(2026, 11, 3)) == 2
    assert servers.read(store, "m") == []
    store.put_new("m/servers/dt=2026-11-04/web1-aaaaa.json", b"torn")
    assert servers.read(store, "m") == []


def test_what_differs_is_named_by_its_package_and_silence_is_no_difference() -> None:
    here = environment.here()
    assert environment.between(here, here) == []
    other = {**here, "zone": "Mars", "packages": {**here["packages"], "numpy": "0.1"}}
    del other["cpu"]
    assert environment.between(other, here) == [
        ("numpy", "0.1", here["packages"]["numpy"]),
        ("zone", "Mars", here["zone"]),
    ]


def test_a_restarted_server_on_another_environment_is_held_against_the_one_before(shop: mw.Handle) -> None:
    root = shop.project.root
    first = Server(root, env={"TZ": "UTC"})
    recorded(shop, 1)
    first.stop()
    with serving(root, env={"TZ": "Asia/Tokyo"}) as (_, client):
        recorded(shop, 2)
        send([client], night())
        found = ask(shop)
    assert not found.found
    assert any("zone Asia/Tokyo (else UTC)" in one for one in found.told)
    assert isinstance(shop.predictions(), pl.DataFrame)

"""A version that does not load: the old one serves on, and people hear of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from middlewatch import monitor, predictions
from middlewatch.doctor import doctor
from middlewatch.errors import Refused
from middlewatch.incidents import SERVER
from middlewatch.serve.loading import Loading
from middlewatch.status import status as status_of
from middlewatch.web.app import Site
from middlewatch.web.http import Request
from middlewatch.why import diagnose
from serving import bodies, promote, publish, serving, table, wait_until
from test_serve import ready


def test_a_version_that_does_not_load_leaves_the_old_one_serving(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    spoilt = publish(project, "delay", seed=1, spoil=True)
    fine = publish(project, "delay", seed=1)
    row = bodies(1)[0]
    with serving(tmp_path) as (server, client):
        promote(project, "delay", spoilt)
        wait_until(lambda: "problem" in client.ask("GET", "/readyz")[1]["models"]["delay"])
        status, facts, _ = client.ask("GET", "/readyz")
        assert status == 200
        assert facts["models"]["delay"]["version"] == "v1"
        assert facts["models"]["delay"]["wanted"] == spoilt
        assert "golden row" in facts["models"]["delay"]["problem"]
        assert client.predict(row)["version"] == "v1"
        assert 'middlewatch_load_failures_total{model="delay"} 1' in client.ask("GET", "/metrics")[1]["text"]
        assert "does not load" in server.log()
        wait_until(lambda: "incident" in client.ask("GET", "/readyz")[1]["models"]["delay"])
        [one] = project.incidents("delay").all()
        assert client.ask("GET", "/readyz")[1]["models"]["delay"]["incident"] == one.n
        assert (one.severity, one.columns, one.state) == ("ticket", (SERVER,), "open")
        assert re.match(rf"{spoilt} is live and does not load on \S+: v1 still answers; {spoilt} does not", one.title)
        assert status_of(project, "delay", clock=datetime.now(UTC)).state == "look"
        found = [check for check in doctor(project, now=datetime.now(UTC)).checks if check.name == "delay: servers"]
        assert [(check.outcome, check.detail, check.fix) for check in found] == [
            ("fail", one.title, "middlewatch why 1")
        ]
        said = diagnose(project, "delay", now=datetime.now(UTC))
        assert said.causes[0].form == "not_loaded"
        assert "golden row" in said.causes[0].proof
        assert said.lines()[-1] == "Next:   middlewatch rollback --to v1"
        promote(project, "delay", fine)
        wait_until(lambda: client.predict(row)["version"] == fine)
        assert "problem" not in client.ask("GET", "/readyz")[1]["models"]["delay"]
        wait_until(lambda: project.incidents("delay").get(one.n).state == "resolved")


def test_where_no_version_loads_that_is_a_page_told_once_by_all_workers(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    spoilt = publish(project, "delay", seed=1, spoil=True)
    with serving(tmp_path, workers=2) as (_, client):
        promote(project, "delay", spoilt)
        wait_until(lambda: project.incidents("delay").all())
    with serving(tmp_path, workers=2) as (_, client):
        wait_until(lambda: project.incidents("delay").get(1).severity == "page")
        status, facts, _ = client.ask("POST", "/predict", bodies(1)[0])
        assert (status, facts["error"]) == (503, f"{spoilt} of delay does not load")
        assert "does not answer as it did" in facts["why"]
        assert status_of(project, "delay", clock=datetime.now(UTC)).state == "failing"
        [one] = project.incidents("delay").all()
        # A person who goes back to what loads closes it, too.
        promote(project, "delay", "v1")
        wait_until(lambda: project.incidents("delay").get(one.n).state == "resolved")


def test_neither_windows_nor_rows_close_an_incident_about_a_server(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    day = datetime(2026, 11, 1, tzinfo=UTC)
    loading = Loading(project, host="web1")
    n = loading.failed("delay", "v2", "2026-11-01T00:00:00Z", serving="v1", error=Refused("no"), now=day)
    assert loading.failed("delay", "v2", "2026-11-01T00:00:00Z", serving="v1", error=Refused("no"), now=day) == n
    rows = table(rows=200).with_columns(
        pl.Series("mw.time", [day + timedelta(hours=one) for one in range(200)], dtype=pl.Datetime("us", "UTC")),
        **{"mw.score": pl.lit(0.5), "mw.version": pl.lit("v1")},
    )
    predictions.write_batch(project.store, "delay", rows, now=day + timedelta(days=9))
    monitor.judge(project, "delay", until=day + timedelta(days=9), now=day + timedelta(days=9))
    assert project.incidents("delay").get(n).state == "open"
    shown = Site(project, lambda: day, b"x" * 32).answer(Request(method="GET", path=f"/i/{n}", client="127.0.0.1"))
    assert b"v2 is live and does not load on web1: v1 still answers" in shown.body
    assert b"0 rows" not in shown.body
    assert b"No column stands out." in shown.body
    # Another machine's success closes it no more than time does; a later release that answers does.
    Loading(project, host="web2").mended("delay", "2026-11-01T00:00:00Z", now=day)
    assert project.incidents("delay").get(n).state == "open"
    Loading(project, host="web2").mended("delay", "2026-11-02T00:00:00Z", now=day)
    assert project.incidents("delay").get(n).state == "resolved"

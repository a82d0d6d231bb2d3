"""Watching a service from inside: nothing about it changes, nothing is lost in silence, private columns are hidden."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import middlewatch as mw
from middlewatch import library, predictions
from middlewatch.doctor import doctor
from middlewatch.project import Project
from middlewatch.recording import calls, recorder
from middlewatch.recording.recorder import Event, Recorder
from middlewatch.recording.shape import Shape, Unread, dig
from middlewatch.schema import Schema

SCHEMA = """
[model]
name = "loans"
target = "paid"
task = "binary"
key = "order"
classes = ["0", "1"]

[columns.order]
kind = "category"
role = "key"

[columns.mail]
kind = "text"
role = "ignored"
private = "drop"

[columns.amount]
kind = "number"

[columns.shop]
kind = "category"

[columns.paid]
kind = "whole"
role = "target"
"""
ROW = {"amount": 12.5, "shop": "north", "order": "o-1", "mail": "ann@example.org", "extra": 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "middlewatch.toml").write_text('[models.loans]\ntarget = "paid"\nkey = "order"\n')
    (tmp_path / "loans.schema.toml").write_text(SCHEMA)
    return tmp_path


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No thread outlives its test."""
    yield
    for one in list(recorder._LIVING):
        one.close()
    calls._recorders.clear()


def logged(root: Path) -> pl.DataFrame:
    project = Project.open(root)
    return predictions.read(project.store, project.spool("loans"), "loans", by="received").sort("mw.received", "mw.id")


def made(root: Path, **options: Any) -> Recorder:
    plain = {"project": root, "model": None, "version": "1", "shape": Shape()}
    return Recorder(**{**plain, **options})


def recorder_of(function: Any) -> Recorder:
    found: Recorder = function.recorder
    return found


def event(asked: Any = ROW, answered: Any = 0.25) -> Event:
    return Event(time.time_ns() // 1000, "test", asked, answered, 1.0, 100)


# --------------------------------------------------------------------------- real frameworks


def test_fastapi(root: Path) -> None:
    fastapi = pytest.importorskip("fastapi")
    import httpx

    app = fastapi.FastAPI()

    @app.post("/v1/score")  # type: ignore[untyped-decorator]
    async def score(body: dict[str, Any]) -> dict[str, Any]:
        if body["data"]["shop"] == "none":
            raise fastapi.HTTPException(404)
        return {"result": {"probability": body["data"]["amount"] / 100}, "request": "r-9"}

    @app.get("/v1/score")  # type: ignore[untyped-decorator]
    async def other() -> str:
        return "hello"

    app.add_middleware(
        mw.Middleware, project=root, path="/v1/score", inputs="data", score="result.probability", id="request",
        version="2026.1",
    )  # fmt: skip

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            named = {"x-middlewatch-caller": "billing-api/4.2"}
            answer = await client.post("/v1/score", json={"data": ROW}, headers=named)
            assert answer.json() == {"result": {"probability": 0.125}, "request": "r-9"}
            assert (await client.get("/v1/score")).json() == "hello"
            assert (await client.post("/v1/score", json={"data": {**ROW, "shop": "none"}})).status_code == 404
            assert (await client.post("/v1/score", json=[1])).status_code == 422

    asyncio.run(ask())
    middleware = app.middleware_stack
    while not isinstance(middleware, mw.Middleware):
        middleware = middleware.app
    assert middleware.recorder.flush()
    middleware.recorder.close()
    (row,) = logged(root).to_dicts()
    assert (row["mw.id"], row["mw.version"], row["mw.caller"]) == ("r-9", "ext-2026.1", "billing-api/4.2")
    assert (row["mw.score"], row["amount"], row["shop"], row["mw.key"]) == (0.125, 12.5, "north", "o-1")
    assert row["mw.latency_us"] > 0
    assert "mail" not in row
    assert b"ann@" not in row["mw.raw"]
    assert Project.open(root).journal("loans").live() == "ext-2026.1"


def test_flask(root: Path) -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask("host")

    @app.post("/predict")  # type: ignore[untyped-decorator]
    def predict() -> Any:
        rows = flask.request.get_json()
        return {"predictions": [{"score": one["amount"] / 100} for one in rows]}

    app.wsgi_app = mw.WSGIMiddleware(app.wsgi_app, project=root, score="predictions.score")
    client = app.test_client()
    answer = client.post("/predict", json=[ROW, {**ROW, "amount": 50}])
    assert answer.get_json() == {"predictions": [{"score": 0.125}, {"score": 0.5}]}
    assert client.get("/nothing").status_code == 404
    answer.close()
    app.wsgi_app.recorder.close()
    assert logged(root)["mw.score"].to_list() == [0.125, 0.5]
    assert logged(root)["mw.id"].n_unique() == 2


# --------------------------------------------------------------------------- the host is left alone


def test_without_a_project_the_service_answers_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @mw.watch("loans", project=tmp_path / "nowhere")
    def predict(row: dict[str, Any]) -> float:
        return float(row["amount"]) / 100

    with caplog.at_level(logging.WARNING, "middlewatch"):
        assert [predict(ROW) for _ in range(3)] == [0.125] * 3
        for _ in range(50):
            time.sleep(0.02)
            if caplog.records:
                break
    assert len(caplog.records) == 1
    assert "middlewatch.toml" in caplog.text


def test_a_full_queue_drops_counts_and_does_not_wait(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PAUSE", 60.0)  # the thread sleeps
    one = made(root, capacity=3)
    for _ in range(5):
        one.put(event())
    assert one.counts.dropped == 2
    one.close()
    assert logged(root).height == 3
    (note,) = [json.loads(path.read_text()) for path in (root / ".middlewatch/spool/loans").glob("watched@*.json")]
    assert (note["kept"], note["dropped"]) == (3, 2)


def test_bodies_are_bounded_in_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "PAUSE", 60.0)
    monkeypatch.setattr(recorder, "MOST_BYTES", 250)
    one = made(root)
    for _ in range(5):
        one.put(event())
    assert one.counts.dropped == 3


def test_a_disk_that_takes_nothing_loses_nothing_that_fits_the_queue(root: Path) -> None:
    spool = root / ".middlewatch" / "spool"
    spool.mkdir(parents=True)
    (spool / "loans").write_text("a file where a folder should be")
    one = made(root, capacity=4)
    for _ in range(4):
        one.put(event())
    deadline = time.monotonic() + 10
    while not one.counts.problem and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "log cannot be written" in one.counts.problem
    (spool / "loans").unlink()
    one.close()
    assert logged(root).height == 4


async def _asgi(app: Any, body: bytes, parts: list[bytes], status: int = 200, headers: Any = ()) -> list[Any]:
    """One request through middleware around a plain ASGI app."""
    del app
    sent: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for at, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": at + 1 < len(parts)})

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    return [inner, receive, send, sent]


@settings(max_examples=60, deadline=None)
@given(
    body=st.one_of(st.binary(max_size=200), st.just(b"{}"), st.just(json.dumps(ROW).encode())),
    answer=st.binary(max_size=200),
)
def test_whatever_goes_by_comes_out_as_it_was(body: bytes, answer: bytes) -> None:
    async def run() -> None:
        inner, receive, send, sent = await _asgi(None, body, [answer[:50], answer[50:]])
        middleware = mw.Middleware(inner, project="/nowhere/at/all")
        scope = {"type": "http", "path": "/predict", "method": "POST", "headers": [(b"user-agent", b"\xff\xfe/1")]}
        await middleware(scope, receive, send)
        assert b"".join(one.get("body", b"") for one in sent) == answer
        middleware.recorder.close(0.01)

    asyncio.run(run())


def test_what_cannot_be_read_is_counted_and_said(root: Path) -> None:
    cases: list[tuple[Any, Any, str]] = [
        (b"{", b"0.5", "a body is not JSON"),
        (b'{"amount": 1}', b'{"p": 0.5}', 'the answer has no "score"; it has p'),
        (ROW, 1.5, "outside 0 to 1"),
        (ROW, float("nan"), "not a finite number"),
        ([ROW, ROW], [0.1], "2 rows were asked"),
        (3, 0.5, "the inputs are a number"),
        (ROW, "maybe", "the score of a binary model"),
    ]
    for asked, answered, said in cases:
        one = made(root, shape=Shape() if isinstance(asked, bytes) else Shape(score=""))
        one.put(event(asked, answered))
        assert one.flush()
        assert one.counts.unread == 1, said
        assert said in one.counts.problem
        one.close()
    assert logged(root).height == 0


def test_a_value_of_another_kind_is_evidence_without_private_columns(root: Path) -> None:
    one = made(root, shape=Shape(score=""))
    one.put(event({**ROW, "amount": "12,50"}, 0.5))
    one.put(event({"shop": "north"}, True))
    one.put(event({**ROW, "amount": float("nan")}, 1))
    one.close()
    assert logged(root)["amount"].to_list() == [None, None]
    assert logged(root)["mw.score"].to_list() == [1.0, 1.0]
    project = Project.open(root)
    (kept,) = predictions.read_refused(project.store, project.spool("loans"), "loans").to_dicts()
    assert (kept["field"], kept["came"]) == ("amount", "a string")
    assert b"ann@" not in kept["mw.raw"]


def test_doctor_shows_that_an_event_arrived_and_how_it_was_understood(root: Path) -> None:
    one = made(root)
    one.put(event(json.dumps(ROW).encode(), b'{"score": 0.25}'))
    one.put(event(b"{}", b"{}"))
    one.close()
    other = made(root)
    other.put(event(json.dumps(ROW).encode(), b'{"score": 0.25}'))
    other.close()
    found = {one.name: one for one in doctor(Project.open(root), now=datetime.now(UTC)).checks}
    check = found["loans: watched service"]
    assert check.outcome == "warn"
    assert "and 1 more processes" in check.detail
    assert "2 kept" in check.detail
    assert "1 not understood" in check.detail
    assert 'the answer has no "score"' in check.detail
    assert "amount=12.5 shop=north" in check.detail
    assert "0.25" in check.detail
    assert "extra left out" in check.detail
    assert "ann@" not in check.detail


def test_a_model_that_answers_here_is_not_another_services(root: Path) -> None:
    journal = Project.open(root).journal("loans")
    journal.append(action="promote", version="v3", actor="t", host="t", at=datetime.now(UTC), expect=0)
    one = made(root)
    one.put(event())
    deadline = time.monotonic() + 10
    while not one.counts.problem and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 'version="v3"' in one.counts.problem
    one.close()
    ours = made(root, version="v3")
    ours.put(event())
    ours.close()
    assert logged(root)["mw.version"].to_list() == ["v3"]
    assert journal.live() == "v3"


def test_the_child_of_a_fork_writes_its_own(root: Path) -> None:
    code = """
import os, sys, time, middlewatch as mw
@mw.watch("loans", project=sys.argv[1])
def predict(row): return row["amount"] / 100
predict({"amount": 1.0, "shop": "a"})
child = os.fork()
for _ in range(3): predict({"amount": 2.0 if child else 3.0, "shop": "a"})
if child: os.waitpid(child, 0)
else:
    predict.recorder.close()
    os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False,
                          env={**os.environ})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(logged(root)["amount"].to_list()) == [1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0]


def test_the_host_imports_neither_polars_nor_numpy(root: Path) -> None:
    code = """
import sys, middlewatch as mw
@mw.watch("loans", project=sys.argv[1])
def predict(amount, shop): return amount / 100
assert predict(12.5, shop="north") == 0.125
mw.log({"amount": 1.0, "shop": "x"}, 0.5, project=sys.argv[1])
assert predict.recorder.flush()
print(sorted({"polars", "numpy", "lightgbm", "uvicorn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert sorted(logged(root)["mw.score"].to_list()) == [0.125, 0.5]


# --------------------------------------------------------------------------- the decorator, and log


def test_a_function_answers_and_raises_as_before(root: Path) -> None:
    @mw.watch(project=root, score="p")
    def predict(row: dict[str, Any], scale: float = 100) -> dict[str, float]:
        """Its own words."""
        if row["amount"] < 0:
            raise ValueError("no")
        return {"p": row.pop("amount") / scale}

    @mw.watch(project=root)
    async def later(rows: list[dict[str, Any]]) -> list[float]:
        return [one["amount"] / 100 for one in rows]

    assert predict.__doc__ == "Its own words."
    assert predict(dict(ROW)) == {"p": 0.125}
    with pytest.raises(ValueError, match="no"):
        predict({"amount": -1})
    assert asyncio.run(later([ROW, {**ROW, "amount": 1}])) == [0.125, 0.01]
    for one in (predict, later):
        recorder_of(one).close()
    assert logged(root)["amount"].to_list() == [12.5, 12.5, 1.0]  # as it was before the function changed it


def test_log_takes_rows_and_frames_and_never_raises(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert mw.log(ROW, 0.5, project=root, time=at).ok
    assert mw.log([ROW, ROW], [0.1, 0.2], project=root, time=at + timedelta(hours=1)).rows == 2
    for one in calls._recorders.values():
        one.close()
    assert logged(root)["mw.time"].to_list() == [at, at + timedelta(hours=1), at + timedelta(hours=1)]
    frame = pl.DataFrame({"amount": [1.0, 2.0], "shop": ["a", "b"], "when": [at, at], "order": ["x", "y"]})
    batch = mw.log(frame.to_pandas(), pl.Series([0.3, 0.4]).to_numpy(), project=root, time="when", version="night")
    assert batch == calls.Logged(2)
    assert mw.log(frame, [0.3, 0.4], project=root, time="when", version="night").rows == 0  # the same batch again
    assert logged(root)["mw.version"].unique().sort().to_list() == ["ext-1", "ext-night"]
    for table, scores, said in (
        (frame, [0.3], "2 rows and 1 scores"),
        (frame.drop("shop"), [0.3, 0.4], "lacks 1 of loans's inputs"),
        (3, 4, "not a table"),
        (frame, [0.3, 4.0], "is no probability"),
    ):
        done = mw.log(table, scores, project=root)
        assert not done.ok
        assert said in done.problem
    assert "middlewatch did not log" in caplog.text
    assert not mw.log(ROW, 0.5, project=root, time=datetime(2026, 11, 20)).ok


def test_what_was_recorded_is_judged_and_brought_into_the_store(root: Path) -> None:
    at = datetime.now(UTC) - timedelta(days=3)
    for hour in range(0, 48, 2):
        mw.log([{"amount": float(n), "shop": "a"} for n in range(40)], [n / 50 for n in range(40)], project=root,
               time=at.replace(hour=0) + timedelta(hours=hour))  # fmt: skip
    for one in calls._recorders.values():
        one.close()
    judged = library.open(root).monitor()
    assert len(judged.windows) == 2
    assert not list((root / ".middlewatch" / "spool" / "loans").glob("log@*"))
    assert library.open(root).status().live == {**(library.open(root).status().live or {}), "version": "ext-1"}


# --------------------------------------------------------------------------- shapes


def test_paths_go_through_objects_and_over_lists() -> None:
    assert dig({"a": {"b": [{"c": 1}, {"c": 2}]}}, "a.b.c", "it") == [1, 2]
    assert dig(5, "", "it") == 5
    with pytest.raises(Unread, match='it has no "x"; it has a'):
        dig({"a": 1}, "x", "it")
    with pytest.raises(Unread, match="a number"):
        dig({"a": 1}, "a.b", "it")
    shape = Shape(inputs="rows", score="out.p", id="out.id")
    pairs = shape.pairs({"rows": [{"x": 1}, {"x": 2}]}, {"out": [{"p": 0.1, "id": 7}, {"p": 0.2, "id": 8}]})
    assert pairs == [({"x": 1}, 0.1, "7"), ({"x": 2}, 0.2, "8")]
    assert Schema.parse(SCHEMA, where="here").features[0].name == "amount"

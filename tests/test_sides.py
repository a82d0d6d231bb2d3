"""`compare`: the same requests on both sides, real servers and stores; what does no harm is told as harmless."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest

import middlewatch as mw
from middlewatch import predictions
from middlewatch.cli import main
from middlewatch.errors import NotFound, NothingToDo, OutOfReach, UsageError
from middlewatch.schema import Schema
from middlewatch.sides import Comparison
from middlewatch.sides.answers import bodies_of
from serving import make_project, promote, publish, schema_of, serving
from test_why import (
    CALM_DAYS,
    NIGHT,
    TRAINED_DAYS,
    orders,
    trained,  # noqa: F401  # the fixture
)
from test_why_servers import COARSE, night, recorded, send


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> mw.Handle:  # noqa: F811
    shutil.copytree(trained, tmp_path / "shop")
    return mw.open(tmp_path / "shop")


def copied(shop: mw.Handle, name: str = "staging") -> mw.Handle:
    """The project once more, with a store of its own: a staging environment."""
    root = shop.project.root.parent / name
    shutil.copytree(shop.project.root, root)
    return mw.open(root)


def asked(shop: mw.Handle, a: str, b: str) -> Comparison:
    found = shop.compare(a, b)
    json.dumps(found.to_dict(), allow_nan=False)
    lines = found.lines()
    assert len(lines) <= 12
    assert lines[0] == found.headline
    assert lines[-1].startswith("Next:")
    weight = [one.matters for one in found.differences]
    assert weight == sorted(weight, reverse=True)
    return found


def of(found: Comparison, what: str) -> dict[str, Any]:
    return next(one.to_dict() for one in found.differences if one.what == what)


def test_two_channels_answer_the_same_requests_and_the_version_is_what_matters(shop: mw.Handle) -> None:
    shop.promote("v1", channel="staging", force="to look at")
    found = asked(shop, "staging", "live")
    assert found.matters
    answers = of(found, "answers")
    assert answers["matters"]
    assert answers["requests"] == 480
    assert answers["equal"] == found.equal < 480
    assert answers["largest"] > 0
    rows = shop.predictions()
    flips = sum((one >= 0.5) != (other >= 0.5) for one, other in _both(shop, rows))
    assert answers["decisions_flipped"] == flips
    assert (of(found, "version")["a"], of(found, "version")["b"]) == ("v1", "v2")
    # What is inside the versions is told, and does harm only through the answers.
    inside = [one for one in found.differences if one.group == "v2 beside v1"]
    assert inside
    assert not any(one.matters for one in inside)
    assert found.next == "middlewatch versions v1 v2"


def _both(shop: mw.Handle, rows: pl.DataFrame) -> list[tuple[float, float]]:
    from middlewatch.replay import load

    one, other = (load(shop.project, "returns", version).shown(rows) for version in ("v1", "v2"))
    return list(zip(one, other, strict=True))


def test_the_same_model_in_another_store_answers_the_same(shop: mw.Handle) -> None:
    other = copied(shop)
    for place in (f"{other.project.root}#live", f"{other.project.store.root}#v2", str(other.project.root)):
        found = asked(shop, "live", place)
        assert not found.matters
        assert found.requests == found.equal == 480
        assert "answer the same" in found.headline


def test_a_server_with_another_version_is_asked_by_its_url_and_its_log_tells_it_apart(shop: mw.Handle) -> None:
    staging = copied(shop)
    staging.rollback(to="v1")
    with serving(staging.project.root) as (server, _):
        found = asked(shop, "live", server.url)
    assert of(found, "answers")["matters"]
    assert (of(found, "version")["a"], of(found, "version")["b"]) == ("v2", "v1")
    seen = predictions.read(
        staging.project.store,
        staging.project.spool("returns"),
        "returns",
        since=None,
        until=None,
        by="received",
        compared=True,
    )
    sent = seen.filter(pl.col("mw.caller") == predictions.COMPARE)
    assert sent.height == 480
    # No traffic: neither windows nor diagnoses nor outcomes take them for rows of the world.
    assert staging.predictions().filter(pl.col("mw.caller") == predictions.COMPARE).height == sent.height
    scanned = predictions.read(staging.project.store, staging.project.spool("returns"), "returns")
    assert scanned.height == seen.height - sent.height


def test_another_environment_with_equal_answers_is_harmless(shop: mw.Handle) -> None:
    staging = copied(shop)
    rows = night()
    with (
        serving(shop.project.root, env={"TZ": "UTC"}) as (_, client),
        serving(staging.project.root, env={"TZ": "Asia/Tokyo", "LC_ALL": "C"}) as (server, _),
    ):
        recorded(shop, 1)
        send([client], rows)
        found = asked(shop, "live", server.url)
        assert not found.matters
        assert found.requests == found.equal == 500
        zone = of(found, "zone")
        assert (zone["a"], zone["b"], zone["matters"]) == ("UTC", "Asia/Tokyo", False)
        (line,) = [line for line in found.lines() if line.startswith("harmless environment:")]
        assert "zone UTC against Asia/Tokyo" in line
    # The other way round, the same.
    assert not asked(shop, f"{staging.project.root}#live", "live").matters


def test_where_one_version_answers_otherwise_the_environment_matters(shop: mw.Handle) -> None:
    staging = copied(shop)
    with (
        serving(shop.project.root, env={"TZ": "UTC"}) as (_, client),
        serving(staging.project.root, env={"TZ": "Asia/Tokyo"}, before=COARSE) as (server, _),
    ):
        recorded(shop, 1)
        send([client], night())
        found = asked(shop, "live", server.url)
    assert of(found, "answers")["matters"]
    assert 0 < of(found, "answers")["largest"] < 1e-6
    assert of(found, "zone")["matters"]


def test_logged_answers_that_the_version_does_not_give_are_told_for_that_side(shop: mw.Handle) -> None:
    staging = copied(shop)
    with serving(staging.project.root, before=COARSE) as (_, client):
        send([client], night())
        found = asked(shop, "live", f"{staging.project.root}#live")
    replay = of(found, "replay")
    assert replay["matters"]
    assert replay["side"] == f"{staging.project.root}#live"
    assert replay["rows"] > 60
    # The version itself answers alike on both: it is what serves it that differs.
    assert found.requests == found.equal


def test_inputs_that_only_one_side_gets_are_named(shop: mw.Handle) -> None:
    other = copied(shop, "prod")
    rows = orders(TRAINED_DAYS + CALM_DAYS, 5).drop("bad").with_columns((pl.col("amount") * 100).round(2))
    other.score(rows, log=True, caller="shop/1")
    found = asked(shop, "live", f"{other.project.root}#live")
    inputs = of(found, "inputs")
    assert inputs["matters"]
    assert (inputs["column"], inputs["kind"]) == ("amount", "scale")
    # The model is the same: it is not what differs.
    assert found.equal == found.requests


def test_what_callers_send_to_one_side_alone_and_what_one_side_refuses(shop: mw.Handle) -> None:
    staging = copied(shop)
    with serving(staging.project.root) as (_, client):
        send([client], night())
        for row in night()[:30]:
            status, _, _ = client.ask(
                "POST", "/predict", {**row, "amount": str(row["amount"])}, x_middlewatch_caller="cart/2"
            )
            assert status == 422
        found = asked(shop, f"{staging.project.root}#live", "live")
    callers = of(found, "callers")
    assert (callers["column"], callers["caller"], callers["a"], callers["b"]) == ("amount", "cart/2", 30, 0)
    assert callers["came"].startswith("a string")


def test_requests_that_one_version_refuses_matter(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    first = publish(project, "delay")
    schema = schema_of("delay", "binary")
    strict = tuple(replace(one, nulls=0.0) if one.name == "temp" else one for one in schema.columns)
    second = publish(project, "delay", schema=replace(schema, columns=strict))
    promote(project, "delay", first)
    with serving(tmp_path) as (_, client):
        for temp in (None, 1.0, None, 2.0):
            client.predict({"temp": temp, "seats": 100, "night": True, "carrier": "AA"})
        found = asked(mw.open(tmp_path), "live", second)
    refused = of(found, "refused")
    assert (refused["a"], refused["b"], refused["column"], refused["came"]) == (0, 2, "temp", "null")
    assert found.requests == 2


def test_private_columns_are_never_sent(tmp_path: Path) -> None:
    schema = schema_of("m", "binary")
    hidden = tuple(replace(one, private="hash") if one.name == "flight" else one for one in schema.columns)
    rows = pl.DataFrame(
        {
            "temp": [1.0, 2.0], "seats": [5, 6], "night": [True, False], "carrier": ["AA", None],
            "flight": ["secret", "secret"], "mw.raw": [b'{"temp": 1.00, "flight": "secret"}', None],
        }
    )  # fmt: skip
    bodies = bodies_of(rows, replace(schema, columns=hidden))
    assert b"secret" not in b"".join(bodies)
    assert json.loads(bodies[1]) == {"temp": 2.0, "seats": 6, "night": False, "carrier": None}
    # Where nothing is hidden a body is sent as it came, byte for byte.
    assert bodies_of(rows, schema)[0] == b'{"temp": 1.00, "flight": "secret"}'
    assert isinstance(schema, Schema)


def test_a_key_is_taken_from_the_environment_and_the_caller_stays_ours(
    shop: mw.Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = copied(shop)
    listed = f"somebody:{hashlib.sha256(b'open sesame').hexdigest()}"
    monkeypatch.delenv("MIDDLEWATCH_KEY", raising=False)
    with serving(staging.project.root, host="0.0.0.0", env={"MIDDLEWATCH_KEYS": listed}) as (server, _):
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(UsageError, match="asks for an API key") as caught:
            shop.compare("live", url)
        assert "MIDDLEWATCH_KEY" in caught.value.fix
        monkeypatch.setenv("MIDDLEWATCH_KEY", "wrong")
        with pytest.raises(UsageError, match="shown a key"):
            shop.compare("live", url)
        monkeypatch.setenv("MIDDLEWATCH_KEY", "open sesame")
        assert not asked(shop, "live", url).matters
    sent = staging.predictions(since=NIGHT + timedelta(days=60))
    assert set(sent["mw.caller"]) >= {predictions.COMPARE}
    assert "somebody" not in set(sent["mw.caller"])


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("stagin", 'did you mean "staging"'), ("v9", "v"), ("staging", "promote"), ("nowhere#live", "PATH#staging")],
)
def test_an_unknown_side_is_answered_with_the_nearest(shop: mw.Handle, typed: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        shop.compare("live", typed)
    assert hint in caught.value.fix


def test_a_store_that_is_none_stays_none(shop: mw.Handle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="there is no store"):
        shop.compare("live", f"{tmp_path / 'empty'}#live")
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_server_out_of_reach_and_the_same_side_twice(shop: mw.Handle) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        with pytest.raises(OutOfReach, match="does not answer"):
            shop.compare("live", f"http://127.0.0.1:{held.getsockname()[1]}")
    with pytest.raises(NothingToDo):
        shop.compare("live", "v2")
    with pytest.raises(UsageError, match="plain address"):
        shop.compare("live", "http://me:secret@127.0.0.1:1")


def test_the_command_says_it_by_its_exit_code(shop: mw.Handle, capsys: pytest.CaptureFixture[str]) -> None:
    other = copied(shop)
    shop.promote("v1", channel="staging", force="to look at")
    runs = [("staging", "live", 1), ("live", f"{other.project.root}#live", 0), ("live", "v2", 5), ("live", "lvie", 2)]
    for a, b, code in runs:
        assert run(["compare", a, b, "--json", "--project", str(shop.project.root)]) == code
        facts = json.loads(capsys.readouterr().out)
        assert facts["schema"] == 1
        if code in (0, 1):
            assert {"what", "a", "b", "matters"} <= {key for one in facts["differences"] for key in one} or code == 0
            assert any(one["matters"] for one in facts["differences"]) == (code == 1)


def run(arguments: list[str]) -> int:
    """The command line, as its entry point runs it."""
    with patch.object(sys, "argv", ["middlewatch", *arguments]), pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_without_a_logged_request_nothing_is_known(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    for seed in (0, 1):
        publish(project, "delay", seed=seed)
    promote(project, "delay", "v1")
    found = asked(mw.open(tmp_path), "live", "v2")
    assert (found.requests, found.matters) == (0, False)
    assert "not known" in found.headline
    assert any("nothing is logged" in one for one in found.not_seen)

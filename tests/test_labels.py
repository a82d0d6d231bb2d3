"""Outcomes: joined by id or key whatever the order they come in, kept before they are acknowledged, never twice."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch import labels, outcomes, predictions, spool, tables
from middlewatch.cli import main
from middlewatch.errors import NothingToDo, Refused, TableError, UsageError
from middlewatch.labels import Label
from middlewatch.outcomes import Imported, importing
from middlewatch.project import Project
from middlewatch.retention import expire_log
from middlewatch.store import Store
from serving import Client, Server, bodies, make_project, promote, publish, schema_of, serving

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def table(rows: Sequence[tuple[str | None, str | None, str, int | None, int]]) -> pl.DataFrame:
    """(id, key, value, time, received): times in minutes after NOW."""
    at = [None if one[3] is None else NOW + timedelta(minutes=one[3]) for one in rows]
    plain = {
        "id": [one[0] for one in rows],
        "key": [one[1] for one in rows],
        "value": [one[2] for one in rows],
        "time": at,
        "received": [NOW + timedelta(minutes=one[4]) for one in rows],
    }
    return pl.DataFrame(plain, schema=labels.empty(numeric=False).schema)


# --------------------------------------------------------------------------- the join

ROW = st.tuples(
    st.sampled_from(["i1", "i2", "i3", None]),
    st.sampled_from(["k1", "k2", "k9"]),
    st.sampled_from(["a", "b"]),
    st.one_of(st.none(), st.integers(0, 6)),
    st.integers(0, 6),
)
PREDICTIONS = pl.DataFrame(
    {"mw.id": ["i1", "i2", "i3", "i4"], "mw.key": ["k1", "k1", "k2", None], "n": [0, 1, 2, 3]},
    schema={"mw.id": pl.String, "mw.key": pl.String, "n": pl.Int64},
)


def by_hand(rows: Sequence[Any]) -> list[str | None]:
    """The outcome of each prediction, by going through all labels."""
    found = []
    for prediction in PREDICTIONS.iter_rows(named=True):
        mine = [
            (received if time is None else time, received, value)
            for ident, key, value, time, received in rows
            if (ident is not None and ident == prediction["mw.id"])
            or (ident is None and key == prediction["mw.key"])
        ]  # fmt: skip
        found.append(max(mine)[2] if mine else None)
    return found


@given(rows=st.lists(ROW, max_size=12), seed=st.integers(0, 5), cuts=st.sets(st.integers(1, 11), max_size=3))
@settings(max_examples=120, deadline=None)
def test_any_order_and_any_split_of_labels_join_alike(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], seed: int, cuts: set[int]
) -> None:
    # A label is about an id or about a key, never both.
    plain = [(one[0], None if one[0] else one[1], *one[2:]) for one in rows]
    mixed = list(plain)
    random.Random(seed).shuffle(mixed)
    folder = tmp_path_factory.mktemp("labels")
    store = Store.open(str(folder / "store"), base=folder)
    bounds = [0, *sorted(one for one in cuts if one < len(mixed)), len(mixed)]
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        part = table(mixed[start:end])
        labels.put(store, "m", f"part-{number}", part, day=date(2026, 11, 20 + number % 3))
    held = labels.read(store, None, "m", numeric=False, about=PREDICTIONS)
    joined = labels.join(PREDICTIONS, held)
    assert joined.frame["mw.outcome"].to_list() == by_hand(plain)
    assert joined.frame["n"].to_list() == [0, 1, 2, 3]
    known = {("id", one[0]) if one[0] else ("key", one[1]) for one in plain}
    mine = {("id", one) for one in ("i1", "i2", "i3")} | {("key", one) for one in ("k1", "k2")}
    everything = labels.join(PREDICTIONS, table(mixed))
    assert (everything.matched, everything.unmatched) == (len(known & mine), len(known - mine))
    assert everything.matched + everything.unmatched + everything.superseded == len(plain), "none is lost"


# --------------------------------------------------------------------------- segments


def test_labels_of_a_segment_are_read_before_and_after_it_is_converted(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), base=tmp_path)
    folder = tmp_path / "spool"
    inbox = spool.Spool(folder, server="web-aaaaa", stream=labels.STREAM)
    top = labels.head("m", "web-aaaaa", "UTC")
    made = [Label(None, "k1", "1", None, micros(NOW)), Label("i3", None, "0", micros(NOW), micros(NOW) + 1)]
    for one in made:
        inbox.append(top, labels.frame_of(one), received=one.received)
    before = labels.read(store, folder, "m", numeric=False)
    assert before["value"].to_list() == ["1", "0"]
    assert not labels.waiting(folder)
    inbox.close()
    assert labels.waiting(folder)
    [segment] = labels.segments(folder)
    kept = segment.path.read_bytes()
    assert labels.convert(store, folder, "m") == []
    segment.path.write_bytes(kept)  # as if a kill had come between the put and the removal
    assert labels.read(store, folder, "m", numeric=False).equals(before), "counted once"
    assert labels.convert(store, folder, "m") == []
    assert labels.files(store, "m") == ["m/labels/dt=2026-11-22/web-aaaaa-000001.parquet"]
    assert labels.read(store, folder, "m", numeric=False).equals(before)
    assert expire_log(store, "m", date(2026, 11, 23)) == 1
    assert labels.files(store, "m") == []


# --------------------------------------------------------------------------- importing a table


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Ten logged predictions of keys f0 to f4, two of each."""
    made = make_project(tmp_path / "site", {"delay": "binary"})
    frame = pl.DataFrame(
        {
            "carrier": ["AA"] * 10,
            "mw.key": [f"f{one % 5}" for one in range(10)],
            "mw.time": pl.Series([NOW + timedelta(hours=one) for one in range(10)], dtype=MOMENT),
            "mw.score": [one / 10 for one in range(10)],
            "mw.version": ["v1"] * 10,
        }
    )
    predictions.write_batch(made.store, "delay", frame, now=NOW)
    return made


def bring(project: Project, frame: pl.DataFrame, *, minute: int = 0, **columns: Any) -> Imported:
    named = {"value": "y", **(columns or {"key": "flight"})}
    at = NOW + timedelta(days=1, minutes=minute)
    return outcomes.import_labels(project, "delay", tables.from_frame(frame), now=at, **named)


def standing(project: Project) -> list[str | None]:
    log = predictions.read(project.store, project.spool("delay"), "delay").sort("mw.time")
    held = labels.read(project.store, project.spool("delay"), "delay", numeric=False, about=log)
    found: list[str | None] = labels.join(log, held).frame["mw.outcome"].to_list()
    return found


def test_a_table_is_joined_and_counted_and_kept_once(project: Project) -> None:
    frame = pl.DataFrame({"flight": ["f0", "f1", "zz", "f1", "f2"], "y": [1, 0, 1, 1, None]})
    done = bring(project, frame)
    assert done.to_dict() == {
        "rows": 5,
        "empty": 1,
        "duplicates": 1,
        "joined": 2,
        "unmatched": 1,
        "written": 3,
        "predictions": 7,
        "share_labelled": pytest.approx(4 / 7, abs=1e-6),
    }
    assert standing(project) == ["1", "1", None, None, None] * 2
    before = labels.files(project.store, "delay")
    again = bring(project, frame, minute=5)
    assert (again.joined, again.written) == (2, 0)
    assert labels.files(project.store, "delay") == before


def test_the_newest_table_wins_and_an_old_one_again_changes_nothing(project: Project) -> None:
    first = pl.DataFrame({"flight": ["f0", "f1"], "y": [1, 1]})
    bring(project, first)
    correction = bring(project, pl.DataFrame({"flight": ["f0", "f1"], "y": [0, 1]}), minute=1)
    assert correction.written == 1, "what stands already is not kept twice"
    assert standing(project)[:2] == ["0", "1"]
    assert bring(project, first, minute=2).written == 0
    assert standing(project)[:2] == ["0", "1"]
    # By a time of its own an older outcome stays the older one, whenever it comes.
    late = pl.DataFrame({"flight": ["f0"], "y": [1], "at": [NOW - timedelta(days=3)]})
    assert bring(project, late, minute=3, key="flight", time="at").written == 1
    assert standing(project)[:2] == ["0", "1"]


def test_outcomes_by_the_ids_of_answers(project: Project) -> None:
    log = predictions.read(project.store, project.spool("delay"), "delay").sort("mw.time")
    frame = pl.DataFrame({"id": [log["mw.id"][0], log["mw.id"][7]], "y": [True, False]})
    done = bring(project, frame, id="id")
    assert (done.joined, done.written) == (2, 2)
    assert standing(project) == ["1", None, None, None, None, None, None, "0", None, None]


@pytest.mark.parametrize(
    ("frame", "columns", "told"),
    [
        ({"flight": ["f0", "f1"], "y": [1, 7]}, {}, "row 2: '7'"),
        ({"flight": ["f0", "f1"], "y": ["1", "late"]}, {}, "row 2: 'late'"),
        ({"flight": ["f0", None], "y": [1, 0]}, {}, "row 2"),
        ({"flight": ["f0", "f" * 201], "y": [1, 0]}, {}, "row 2"),
        ({"flight": ["f0", "f1"], "y": [1, 0], "at": ["2026-11-22", "soon"]}, {"time": "at"}, "row 2: 'soon'"),
    ],
)
def test_a_wrong_value_is_told_with_its_row_and_nothing_is_kept(
    project: Project, frame: dict[str, Any], columns: dict[str, Any], told: str
) -> None:
    with pytest.raises(Refused) as raised:
        bring(project, pl.DataFrame(frame), key="flight", **columns)
    assert told in str(raised.value)
    assert labels.files(project.store, "delay") == []


def test_what_cannot_be_joined_is_said(project: Project) -> None:
    frame = pl.DataFrame({"flight": ["f0"], "y": [1]})
    with pytest.raises(TableError, match="flihgt"):
        bring(project, frame, key="flihgt")
    with pytest.raises(UsageError, match="by id or by key"):
        bring(project, frame, key="flight", id="flight")
    with pytest.raises(NothingToDo):
        bring(project, frame.clear())
    path = project.schema_path("delay")
    text = path.read_text()
    path.write_text(text.replace("[columns.flight]\n", '[columns.flight]\nprivate = "hash"\n'))
    assert project.schema("delay").column("flight").private == "hash"
    with pytest.raises(UsageError, match="private"):
        bring(project, frame)
    keyless = replace(
        schema_of("delay", "binary"), key=None, time=None, columns=schema_of("delay", "binary").columns[2:]
    )
    path.write_text(keyless.to_toml())
    with pytest.raises(UsageError, match="no key"):
        bring(project, frame)


def test_a_regression_takes_numbers(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "regression"})
    with pytest.raises(NothingToDo):
        bring(project, pl.DataFrame({"flight": [], "y": []}, schema={"flight": pl.String, "y": pl.Float64}))
    with pytest.raises(Refused, match="row 2: 'inf'"):
        bring(project, pl.DataFrame({"flight": ["a", "b"], "y": ["1.5", "inf"]}))
    assert bring(project, pl.DataFrame({"flight": ["a", "b"], "y": ["1.5", "2"]})).written == 2
    held = labels.read(project.store, None, "delay", numeric=True)
    assert held["value"].to_list() == [1.5, 2.0]


def test_an_import_that_died_between_two_writes_is_completed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK", 2)
    frame = pl.DataFrame({"flight": [f"f{one}" for one in range(5)], "y": [1, 0, 1, 0, 1]})
    real, calls = labels.put, []

    def dies(*arguments: Any, **more: Any) -> bool:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(labels, "put", dies)
    with pytest.raises(KeyboardInterrupt):
        bring(project, frame)
    assert standing(project)[:5] == ["1", "0", None, None, None]
    done = bring(project, frame, minute=1)
    assert done.written == 3
    assert standing(project)[:5] == ["1", "0", "1", "0", "1"]
    assert len(labels.files(project.store, "delay")) == 3


def test_the_verb(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    pl.DataFrame({"flight": ["f0", "f1"], "y": [1, 0]}).write_csv(tmp_path / "late.csv")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["middlewatch", *words, "--project", str(project.root)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    words = ("import", str(tmp_path / "late.csv"), "--labels", "--value", "y", "--key", "flight")
    code, out, _ = run(*words)
    assert code == 0
    assert out.startswith("2 rows: 2 belong to logged predictions, 0 to none, 2 labels are new")
    assert "57% of 7 predictions of that time have an outcome now" in out
    code, out, _ = run(*words, "--json")
    assert code == 0
    assert '"joined": 2' in out
    code, _, err = run("import", str(tmp_path / "late.csv"))
    assert code == 2
    assert "which column holds the times" in err
    code, _, err = run(*words[:-1], "flite")
    assert code == 2
    assert 'did you mean "flight"' in err


# --------------------------------------------------------------------------- over HTTP


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    project = make_project(root, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    return root


def test_labels_are_kept_before_the_answer_and_joined(site: Path) -> None:
    project = Project.open(site)
    rows = [{**one, "flight": f"F{at}"} for at, one in enumerate(bodies(6))]
    server = Server(site)
    client = Client(server.url)
    answers = [client.predict(one) for one in rows]
    status, facts, _ = client.ask("POST", "/labels", {"key": "F0", "value": 1})
    assert (status, facts) == (200, {"schema": 1, "model": "delay", "labels": 1})
    several = [
        {"id": answers[1]["id"], "value": "0"},
        {"key": "F2", "value": True, "time": "2026-11-22T08:00:00Z"},
        {"key": "F3", "value": 0.0},
        {"key": "F3", "value": 1.0},
    ]
    status, facts, _ = client.ask("POST", "/models/delay/labels", several)
    assert (status, facts["labels"]) == (200, 4)
    _, metrics, _ = client.ask("GET", "/metrics")
    assert 'middlewatch_labels_total{model="delay"} 5' in metrics["text"]
    client.close()
    server.kill()
    log = predictions.read(project.store, project.spool("delay"), "delay").sort("mw.received", "mw.id")

    def joined() -> dict[str, str | None]:
        held = labels.read(project.store, project.spool("delay"), "delay", numeric=False, about=log)
        frame = labels.join(log, held).frame
        return dict(zip(frame["mw.key"].to_list(), frame["mw.outcome"].to_list(), strict=True))

    # The last of a list is the newest.
    wanted = {"F0": "1", "F1": "0", "F2": "1", "F3": "1", "F4": None, "F5": None}
    assert joined() == wanted
    assert labels.convert(project.store, project.spool("delay"), "delay") == []
    assert joined() == wanted
    assert len(labels.files(project.store, "delay")) == 1


def test_wrong_labels_are_told_one_by_one_and_none_is_kept(site: Path) -> None:
    project = Project.open(site)
    before = labels.read(project.store, project.spool("delay"), "delay", numeric=False).height
    wrong: list[tuple[Any, str, str]] = [
        ({"value": 1}, "id", "or key must be there"),
        ({"id": "x", "key": "y", "value": 1}, "id", "not both"),
        ({"key": "F0"}, "value", "is missing"),
        ({"key": "F0", "value": None}, "value", "is missing"),
        ({"key": "F0", "value": "late"}, "value", "must be a class of y: 0, 1"),
        ({"key": "F0", "value": 0.5}, "value", "must be a class"),
        ({"key": "F0", "value": [1]}, "value", "must be a class"),
        ({"key": "F0", "value": 1, "time": "soon"}, "time", "ISO 8601"),
        ({"key": "F0", "value": 1, "time": 5}, "time", "ISO 8601"),
        ({"key": "F" * 201, "value": 1}, "key", "1 to 200"),
        ({"key": "", "value": 1}, "key", "1 to 200"),
        ({"keys": "F0", "value": 1}, "keys", 'did you mean "key"'),
        ("F0", "", "is not an object"),
    ]
    with serving(site) as (_, client):
        for entry, field, reason in wrong:
            status, facts, _ = client.ask("POST", "/labels", entry)
            assert status == 422, entry
            assert facts["entries"][0]["path"] == (field or "the body")
            assert reason in facts["entries"][0]["reason"]
        listed = [{"key": "F5", "value": 1}, *(entry for entry, _, _ in wrong)]
        status, facts, _ = client.ask("POST", "/labels", listed)
        assert status == 422
        assert [one["path"] for one in facts["entries"]] == [
            f"[{at}].{field}".strip(".") for at, (_, field, _) in enumerate(wrong, start=1)
        ]
        assert facts["error"].startswith("13 of 14 labels are wrong, nothing was kept: [1].id or key must be there")
        assert client.ask("POST", "/labels", b"{")[0] == 400
        assert client.ask("POST", "/labels", b"x" * (1 << 20) + b"xx")[0] == 413
        assert client.ask("GET", "/labels")[0] == 405
        assert client.ask("POST", "/models/other/labels", {"key": "F0", "value": 1})[0] == 404
        assert client.ask("POST", "/labels", [])[1]["labels"] == 0
        _, document, _ = client.ask("GET", "/openapi.json")
        assert {"/labels", "/models/delay/labels"} <= document["paths"].keys()
    assert labels.read(project.store, project.spool("delay"), "delay", numeric=False).height == before


def test_labels_ask_for_the_scope_of_predictions_and_survive_a_loss_of_power(tmp_path: Path) -> None:
    import hashlib

    project = make_project(tmp_path, {"delay": "regression"}, more='\n[serve]\ndurability = "power"\n')
    promote(project, "delay", publish(project, "delay"))
    keys = ",".join(
        f"{name}:{hashlib.sha256(name.encode()).hexdigest()}:{scope}"
        for name, scope in (("writer", "predict"), ("reader", "read"))
    )
    with serving(tmp_path, host="0.0.0.0", env={"MIDDLEWATCH_KEYS": keys}) as (server, _):
        client = Client(server.url.replace("0.0.0.0", "127.0.0.1"))
        entry = {"key": "F0", "value": 2.5}
        assert client.ask("POST", "/labels", entry)[0] == 401
        assert client.ask("POST", "/labels", entry, x_api_key="reader")[0] == 403
        assert client.ask("POST", "/labels", entry, x_api_key="writer")[0] == 200
        assert client.ask("POST", "/labels", {"key": "F0", "value": "2.5"}, x_api_key="writer")[0] == 422
        client.close()
    held = labels.read(project.store, project.spool("delay"), "delay", numeric=True)
    assert held.select("key", "value").rows() == [("F0", 2.5)]


def test_a_class_that_was_added_to_the_schema_counts_without_a_restart(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "multiclass"})
    promote(project, "delay", publish(project, "delay"))
    with serving(tmp_path) as (_, client):
        assert client.ask("POST", "/labels", {"key": "F0", "value": "new"})[0] == 422
        path = project.schema_path("delay")
        path.write_text(schema_of("delay", "multiclass").to_toml().replace('"mid"', '"mid", "new"'))
        assert client.ask("POST", "/labels", {"key": "F0", "value": "new"})[0] == 200

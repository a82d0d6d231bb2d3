"""Logs of a service that is not ours: filed once by event time, refused where they are not clear, watched like ours."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import middlewatch as mw
from middlewatch import library, predictions, tables
from middlewatch.cli import main
from middlewatch.errors import MiddlewatchError, Refused, TableError, UsageError
from middlewatch.ids import received_of
from middlewatch.imports import filing, reading
from middlewatch.imports.answers import answers, follows
from middlewatch.project import Project
from middlewatch.web import pages

START = datetime(2025, 3, 3, tzinfo=UTC)
A_DAY = 150


def log(days: int, *, seed: int = 1, tenfold_from: int | None = None) -> pl.DataFrame:
    """Requests and answers of a service: `temp` moves slowly, the score follows it; later `price` is tenfold."""
    random = np.random.default_rng(seed)
    parts = []
    for day in range(days):
        temp = 50 + 10 * np.sin(day / 9) + random.normal(0, 6, A_DAY)
        price = np.exp(random.normal(3 + 0.05 * np.sin(day), 0.4, A_DAY)).round(2)
        if tenfold_from is not None and day >= tenfold_from:
            price = price * 10
        score = 1 / (1 + np.exp(-(temp - 50) / 8 + (np.log(price) - 3)))
        seconds = np.sort(random.integers(0, 86_390, A_DAY))
        parts.append(
            pl.DataFrame(
                {
                    "ts": [START + timedelta(days=day, seconds=int(one)) for one in seconds],
                    "request": [f"r-{day}-{at}" for at in range(A_DAY)],
                    "temp": temp,
                    "price": price,
                    "shop": random.choice(["north", "south", "west"], A_DAY),
                    "p": score.round(6),
                }
            )
        )
    whole = pl.concat(parts)
    last = pl.Series([START + timedelta(days=one, hours=23, minutes=59) for one in range(days)])
    return pl.concat([whole, whole.head(days).with_columns(ts=last, request=pl.Series([f"e{n}" for n in range(days)]))])


def bring(table: Any, folder: Path, **given: Any) -> Any:
    return library.import_(table, **{"time": "ts", "score": "p", "name": "loans", "project": folder, **given})


def handle(folder: Path) -> library.Handle:
    return library.open(folder)


# --------------------------------------------------------------------------- a stranger's night


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two months, the last two days of which carry a price that is tenfold."""
    folder = tmp_path_factory.mktemp("stranger") / "p"
    history = log(60, tenfold_from=58)
    first = history.filter(pl.col("ts") < START + timedelta(days=57))
    done = bring(first, folder)
    assert done.new == first.height
    assert done.live == "ext-1"
    assert done.windows == 57
    done = bring(history, folder)
    assert (done.known, done.new) == (first.height, history.height - first.height)
    assert done.incidents
    return folder


def test_the_fault_is_found_named_and_said_not_to_be_our_model(told: Path) -> None:
    status = handle(told).status()
    assert status.state in ("look", "failing")
    assert status.live is not None
    assert status.live["version"] == "ext-1"
    found = handle(told).why()
    causes = found.to_dict()["causes"]
    assert causes[0]["columns"] == ["price"]
    assert causes[0]["kind"] == "scale"
    assert causes[0]["since"].startswith("2025-04-30")
    assert any("not our model" in one for one in found.to_dict()["not_seen"])


def test_the_same_table_again_adds_nothing(told: Path) -> None:
    before = handle(told).predictions()
    done = bring(log(60, tenfold_from=58).sample(fraction=1, shuffle=True, seed=3), told)
    assert done.new == 0
    assert done.windows == 0
    assert handle(told).predictions()["mw.id"].to_list() == before["mw.id"].to_list()
    assert (
        not predictions.read(
            handle(told).project.store, None, "loans", since=START, until=START + timedelta(days=1), by="time"
        )["mw.id"]
        .is_duplicated()
        .any()
    )


def test_every_verb_and_page_takes_it(
    told: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["tail", "-n", "1"], ["incidents"], ["versions"], ["doctor"], ["monitor"], ["status", "--json"]):
        monkeypatch.setattr(sys, "argv", ["middlewatch", *words, "--project", str(told)])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code in (None, 0, 1), words
        assert capsys.readouterr().out.strip()
    newest = handle(told).predictions().tail(1)
    story = handle(told).why(newest["mw.id"][0])
    assert {one["column"] for one in story.to_dict()["inputs"]} == {"temp", "price", "shop"}
    app = pages(Project.open(told))
    for path in ("/", "/i/1", "/features", "/versions", "/requests", "/requests.json"):
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any, into: list[dict[str, Any]] = sent) -> None:
            into.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "client": ("127.0.0.1", 1)}

        async def ask(about: dict[str, Any] = scope) -> None:
            await app({**about, "headers": [(b"host", b"127.0.0.1:8000")]}, receive, send)

        asyncio.run(ask())
        assert sent[0]["status"] == 200, path


def test_nothing_of_ours_can_be_rolled_back_to(told: Path) -> None:
    with pytest.raises(MiddlewatchError, match="no version to go back to"):
        handle(told).rollback()


def test_a_day_that_the_log_breaks_off_in_is_not_judged(tmp_path: Path) -> None:
    whole = log(4)
    cut = whole.filter(pl.col("ts") < START + timedelta(days=3, hours=9))
    assert bring(cut, tmp_path / "p").windows == 3
    assert bring(whole, tmp_path / "p").windows == 1


# --------------------------------------------------------------------------- what a stranger types


def test_the_command_says_what_it_did_and_what_to_type_next(tmp_path: Path) -> None:
    log(3).write_csv(tmp_path / "preds.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    words = [sys.executable, "-m", "middlewatch", "import", "preds.csv", "--time", "ts", "--score", "p"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *more], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert facts["schema"] == 1
    assert facts["rows"] == facts["new"] == 453
    assert facts["from"].startswith("2025-03-03T00")
    assert "read as UTC" in facts["notes"][0]
    assert facts["columns"] == {"temp": "number", "price": "number", "shop": "category"}
    assert (facts["joined"], facts["unmatched"], facts["share_labelled"]) == (0, 0, None)
    assert "request" not in facts["columns"]
    again = run()
    assert again.returncode == 0
    assert "read as" not in again.stdout
    assert "0 of 453 rows are new, 453 were there" in again.stdout
    assert (tmp_path / "middlewatch.toml").is_file()
    assert (tmp_path / "preds.schema.toml").is_file()


def clock(hour: int) -> str:
    return f"2025-03-03T{hour:02d}:00:00Z"


WRONG: list[tuple[dict[str, Any], dict[str, Any], type[MiddlewatchError], str]] = [
    ({}, {"time": "tss"}, TableError, 'did you mean "ts"'),
    ({}, {"score": "q"}, TableError, 'no column "q" for --score'),
    ({}, {"id": "p"}, UsageError, "p cannot be two things"),
    ({"ts": [clock(1), clock(2), "soon", clock(3)]}, {}, Refused, "row 3: 'soon'"),
    ({"ts": [clock(1), clock(2), None, clock(3)]}, {}, Refused, '"ts" holds no time'),
    ({"ts": [clock(1), clock(2), "2999-01-01T00:00:00Z", clock(3)]}, {}, Refused, '"ts" is yet to come'),
    ({"p": [0.1, None, 0.2, 0.3]}, {}, Refused, '"p" holds no score'),
    ({"p": [0.1, float("nan"), 0.2, 0.3]}, {}, Refused, '"p" holds no score'),
    ({"p": [1, 2, 3, 5]}, {}, UsageError, "--task multiclass, or --task regression"),
    ({"p": [0.1, 3.5, 0.2, 0.3]}, {"task": "binary"}, Refused, "is no probability"),
    ({"p": ["a", "b", "c", "d"]}, {"task": "regression"}, UsageError, "is no number"),
    ({"p": ["a", "a", "a", "a"]}, {}, UsageError, "which class is the other"),
    ({"n": ["a", "a", "b", "c"]}, {"id": "n"}, Refused, "is the id of another row"),
    ({"n": ["a", None, "b", "c"]}, {"id": "n"}, Refused, "is no id"),
    ({"v": ["1", "", "2", "2"]}, {"version": "v"}, Refused, "names no version"),
    ({"v": ["a b", "a-b", "2", "2"]}, {"version": "v"}, UsageError, "would both be ext-a-b"),
    ({}, {"task": "ranking"}, UsageError, "there is no task"),
    ({}, {"name": "../x"}, UsageError, "cannot be the name of a model"),
    ({}, {"zone": "Mars"}, UsageError, "no time zone"),
    ({}, {"score": ["p", "x"]}, UsageError, "of two classes one probability says all"),
    ({"q": [0.5] * 4, "r": [0.9] * 4}, {"score": ["p", "q", "r"]}, Refused, "do not add up to 1"),
    ({"o": ["x", "x", "x", "x"]}, {"label": "o"}, TableError, "there is nothing to tell apart|in every row"),
]


@pytest.mark.parametrize(("cells", "given", "error", "said"), WRONG)
def test_wrong_input_is_refused_and_nothing_is_written(
    tmp_path: Path, cells: dict[str, Any], given: dict[str, Any], error: type[MiddlewatchError], said: str
) -> None:
    plain = {"ts": [clock(1), clock(2), clock(3), clock(4)], "x": [1.5, 2.5, 3.5, 4.5], "p": [0.1, 0.2, 0.4, 0.9]}
    with pytest.raises(error) as caught:
        bring(pl.DataFrame({**plain, **cells}, strict=False), tmp_path / "p", **given)
    assert re.search(said, str(caught.value)), str(caught.value)
    assert not (tmp_path / "p").exists()


def test_a_model_that_is_there_is_described_by_its_schema(tmp_path: Path) -> None:
    table = log(2)
    bring(table, tmp_path / "p")
    for given, said in (
        ({"task": "regression"}, "--task regression: loans has binary"),
        ({"time": "request"}, "--time request: loans has ts"),
        ({"label": "shop"}, "--label shop: loans has outcome"),
        ({"answers": ["--role temp=ignored"]}, "--role temp=ignored: it is feature there"),
        ({"answers": ["--private shop=drop"]}, "--private shop=drop: it is not there"),
        ({"zone": "Europe/Vienna"}, "reads times in UTC"),
    ):
        with pytest.raises(UsageError, match=said):
            bring(table, tmp_path / "p", **given)
    with pytest.raises(Refused, match="lacks 1 of loans's inputs: temp"):
        bring(table.drop("temp"), tmp_path / "p")
    with pytest.raises(Refused, match="lacks 1 of loans") as renamed:
        bring(table.rename({"temp": "temperature"}), tmp_path / "p")
    assert renamed.value.why == "it has temperature, which loans.schema.toml does not know"
    # The log with other cells but the same times and scores would count every request twice.
    with pytest.raises(Refused, match="have the time and score of rows that are filed"):
        bring(table.with_columns(more=pl.lit(1)), tmp_path / "p")
    other = bring(table.with_columns(p=pl.col("p") * 100), tmp_path / "p", name="prices")
    assert other.task == "regression"
    with pytest.raises(UsageError, match="whose log is it"):
        bring(table, tmp_path / "p", name=None)


# --------------------------------------------------------------------------- ids


def test_rows_that_are_all_the_same_are_each_one_request(tmp_path: Path) -> None:
    one = pl.DataFrame({"ts": [clock(1)] * 5 + [clock(2)], "x": [1.0] * 6, "p": [0.5] * 6})
    assert bring(one, tmp_path / "p").new == 6
    assert bring(one, tmp_path / "p").new == 0
    assert bring(pl.concat([one, one.head(1)]), tmp_path / "p").new == 1


def test_given_ids_tell_rows_apart_and_a_log_is_not_rewritten(tmp_path: Path) -> None:
    table = log(1)
    bring(table, tmp_path / "p", id="request")
    twice = pl.concat([table, table.head(3)])
    done = bring(twice, tmp_path / "p", id="request")
    assert (done.new, done.known, done.repeated) == (0, table.height, 3)
    ids = handle(tmp_path / "p").predictions()["mw.id"]
    assert set(ids) == set(table["request"])
    with pytest.raises(Refused, match="filed with another time or score"):
        bring(table.with_columns(p=pl.col("p") / 2), tmp_path / "p", id="request")
    story = handle(tmp_path / "p").why("r-0-7")
    assert story.to_dict()["score"] == pytest.approx(table["p"][7])


def test_two_imports_at_once_file_a_table_once(tmp_path: Path) -> None:
    first, whole = log(2), log(4)
    bring(first.head(5), tmp_path / "p")
    together = threading.Barrier(2)
    told: list[int] = []

    def run(table: pl.DataFrame) -> None:
        together.wait()
        told.append(bring(table, tmp_path / "p").new)

    threads = [threading.Thread(target=run, args=(one,)) for one in (first, whole)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(told) == whole.unique().height - 5
    ids = handle(tmp_path / "p").predictions()["mw.id"]
    assert (len(ids), ids.n_unique()) == (whole.height, whole.height)


def test_two_machines_that_bring_the_same_rows_at_once_write_them_once(tmp_path: Path) -> None:
    """Neither sees the other's lock: what they write has the same name."""
    bring(log(1), tmp_path / "p")
    project = handle(tmp_path / "p").project
    rows = handle(tmp_path / "p").predictions().with_columns(pl.col("mw.id") + "x")
    for seconds in (0, 1):
        filing.file(project, "loans", rows, now=START + timedelta(days=9, seconds=seconds))
    assert handle(tmp_path / "p").predictions().height == 2 * rows.height


def test_of_a_long_log_only_the_dates_of_the_table_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = log(4)
    for day in range(4):
        bring(table.filter(pl.col("ts").dt.day() == START.day + day), tmp_path / "p")
    opened: list[str] = []
    plain = predictions.file_rows

    def noted(store: Any, one: predictions.LogFile) -> pl.LazyFrame:
        opened.append(one.key)
        return plain(store, one)

    monkeypatch.setattr(predictions, "file_rows", noted)
    project, rows = handle(tmp_path / "p").project, handle(tmp_path / "p").predictions()
    second = rows.filter(pl.col("mw.time").dt.day() == START.day + 1)
    opened.clear()
    assert filing.fresh(project, "loans", second, given=False).height == 0
    assert len(opened) == 1


def test_own_ids_sort_by_event_time_and_differ(tmp_path: Path) -> None:
    times = pl.Series("t", [START + timedelta(seconds=one // 3) for one in range(9_000)])
    content = reading.contents(pl.DataFrame({"a": [one % 2 for one in range(9_000)]}), ["a"])
    ids = reading.own_ids(times, content)
    assert ids.n_unique() == 9_000
    assert ids.str.len_chars().unique().to_list() == [20]
    assert received_of(ids[8_999]) == times[8_999]
    # A null is not the word for it, and a cell cannot reach into the next one.
    odd = pl.DataFrame({"a": ["x", None, "", "null"], "b": ["", "", "x", ""]})
    assert reading.contents(odd, ["a", "b"]).n_unique() == 4


# --------------------------------------------------------------------------- answers


def test_times_count_from_1970_in_any_unit() -> None:
    seconds = int(START.timestamp())
    for factor in (1, 1_000, 1_000_000, 1_000_000_000):
        for cells in (pl.Series("t", [seconds * factor]), pl.Series("t", [str(seconds * factor)])):
            assert reading.moments(cells, "t", zone="UTC", now=START + timedelta(days=1)).to_list() == [START]


def test_what_was_answered_is_read_from_its_values() -> None:
    def read(score: list[Any], **given: Any) -> Any:
        table = pl.DataFrame({"p": score})
        return answers(table, [("", "p")], **{"task": None, **given})

    assert (read(["0.5", "0.25"]).task, read([12.5, 3.0]).task) == ("binary", "regression")
    classes = read(["yes", "no", "no"])
    assert (classes.task, classes.classes, classes.sure) == ("binary", ("no", "yes"), False)
    assert classes.predicted.tolist() == [1, 0, 0]
    many = read(["c", "a", "b"])
    assert many.classes == ("a", "b", "c")
    assert many.predicted[0].tolist() == [0, 0, 1]
    assert read([3, 1, 2], task="multiclass").classes == ("1", "2", "3")
    table = pl.DataFrame({"p_a": [0.2, 0.1], "p_b": [0.3, 0.1], "p_c": [0.5, 0.8]})
    each = answers(table, [("a", "p_a"), ("b", "p_b"), ("c", "p_c")], task=None)
    assert each.classes == ("a", "b", "c")
    assert each.predicted[1].tolist() == [0.1, 0.1, 0.8]
    turned = answers(table, [("a", "p_a"), ("b", "p_b"), ("c", "p_c")], task=None, classes=("c", "b", "a"))
    assert turned.predicted[1].tolist() == [0.8, 0.1, 0.1]


def test_a_column_that_repeats_the_answer_is_no_input(tmp_path: Path) -> None:
    table = log(2).with_columns(decided=(pl.col("p") > 0.4).cast(pl.Int64), again=pl.col("p"), kept=pl.col("temp") > 50)
    found = answers(table, [("", "p")], task=None)
    assert follows(table, "decided", found) == "a threshold on the score gives it"
    assert follows(table, "again", found) == "it equals the score"
    assert follows(table, "kept", found) == follows(table, "shop", found) == ""
    flat = answers(table.with_columns(p=pl.lit(0.5)), [("", "p")], task=None)
    assert follows(table, "kept", flat) == ""  # a score that never moves is followed by nothing
    many = pl.DataFrame({"a": [0.5, 0.1, 0.2], "b": [0.5, 0.8, 0.3], "c": [0.0, 0.1, 0.5], "best": ["b", "b", "c"]})
    each = answers(many, [("", "a"), ("", "b"), ("", "c")], task=None)
    assert follows(many, "best", each) == "it is the likeliest class"
    assert follows(many.with_columns(best=pl.Series(["c", "b", "c"])), "best", each) == ""
    done = bring(table, tmp_path / "p")
    assert set(done.inputs) == {"temp", "price", "shop", "kept"}
    assert {one.column for one in done.doubts} >= {"decided", "again"}
    used = bring(table, tmp_path / "q", answers=["--role decided=feature", "--private shop=drop"])
    assert "decided" in used.inputs
    assert "shop" not in handle(tmp_path / "q").predictions().columns


# --------------------------------------------------------------------------- outcomes, versions


def test_outcomes_in_the_table_and_later_ones(tmp_path: Path) -> None:
    table = log(3).with_columns(paid=pl.when(pl.col("ts") < START + timedelta(days=2)).then(pl.col("p") > 0.5))
    done = bring(table, tmp_path / "p", label="paid", key="request")
    assert done.labels is not None
    assert done.to_dict()["share_labelled"] == pytest.approx(1.0)
    assert done.labels.empty == table["paid"].null_count()
    schema = handle(tmp_path / "p").project.schema("loans")
    assert (schema.target, schema.classes, schema.key) == ("paid", ("false", "true"), "request")
    later = table.select("request", paid=pl.col("p") > 0.5)
    joined = handle(tmp_path / "p").import_labels(later, value="paid", key="request")
    assert joined.joined == table.height
    assert joined.share_labelled == 1.0
    assert bring(table.with_columns(paid=pl.col("p") > 0.5), tmp_path / "p", label="paid", key="request").new == 0


def test_the_same_line_every_day_and_one_that_says_less(tmp_path: Path) -> None:
    """A timer types the same options each day; a person may leave out what the schema says by now."""
    table = log(2).with_columns(paid=pl.col("p") > 0.5, note=pl.lit("x"), decided=(pl.col("p") > 0.4).cast(pl.Int64))
    line = {"label": "paid", "key": "request", "answers": ["--role note=ignored", "--private shop=drop"], "zone": "UTC"}
    assert bring(table, tmp_path / "p", **line).new == table.height
    assert bring(table, tmp_path / "p", **line).new == 0
    assert bring(table, tmp_path / "p").new == 0


def test_outcomes_that_nobody_spoke_of_before_join_by_key(tmp_path: Path) -> None:
    table = log(2)
    bring(table, tmp_path / "p", key="request")
    words = table.select("request", came=pl.when(pl.col("p") > 0.5).then(pl.lit("yes")).otherwise(pl.lit("no")))
    done = handle(tmp_path / "p").import_labels(words, value="came", key="request")
    assert done.share_labelled == 1.0
    assert done.unmatched == 0


def test_versions_of_the_service_are_told_in_the_journal_and_judged(tmp_path: Path) -> None:
    table = log(8).with_columns(
        v=pl.when(pl.col("ts") < START + timedelta(days=4)).then(pl.lit("2025.1")).otherwise(pl.lit("team/2")),
        who=pl.lit("billing-api/4.2"),
    )
    done = bring(table, tmp_path / "p", version="v", caller="who")
    assert done.versions == ["ext-2025.1", "ext-team-2"]
    assert done.live == "ext-team-2"
    assert done.windows == 8
    entries = handle(tmp_path / "p").project.journal("loans").entries()
    assert [(one.action, one.version, one.at[:10]) for one in entries] == [
        ("external", "ext-2025.1", "2025-03-03"),
        ("external", "ext-team-2", "2025-03-07"),
    ]
    assert handle(tmp_path / "p").predictions()["mw.caller"].unique().to_list() == ["billing-api/4.2"]
    with pytest.raises(Refused, match="it answers elsewhere"):
        handle(tmp_path / "p").rollback()
    # Older rows that come later change nothing of what is live.
    old = table.head(50).with_columns(ts=pl.col("ts") - timedelta(days=9), v=pl.lit("2024"))
    assert bring(old, tmp_path / "p", version="v", caller="who").live in ("ext-2024", "ext-team-2")


def test_a_frame_of_pandas_and_a_log_without_inputs(tmp_path: Path) -> None:
    done = mw.import_(log(2).select("ts", "p").to_pandas(), time="ts", score="p", name="m", project=tmp_path / "p")
    assert done.inputs == {}
    assert "predictions are watched alone" in done.notes[0]
    assert done.windows == 2
    assert tables.from_frame(log(1)).columns[0] == "ts"


def test_a_word_that_import_does_not_take_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    rows = pl.DataFrame({"at": ["2026-03-01T00:00:00Z"], "p": [0.5], "x": [1.0]})

    with pytest.raises(UsageError, match='takes no "versoin"'):
        mw.import_(rows, project=tmp_path, time="at", score="p", versoin="7")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="needs score="):
        mw.import_(rows, project=tmp_path, time="at")  # type: ignore[call-arg]

    assert not list(tmp_path.iterdir())


def test_cells_of_another_kind_are_told(tmp_path: Path) -> None:
    bring(log(2), tmp_path / "p")
    later = log(3).tail(48)
    said = bring(later.with_columns(temp=pl.col("temp").cast(pl.String)), tmp_path / "p").notes
    assert any(one.startswith("temp came as text, was number") for one in said)
    later = log(4).tail(24)
    said = bring(later.with_columns(temp=pl.format("{} °C", "temp")), tmp_path / "p").notes
    assert any("cells are no number, as" in one and one.endswith("filed as missing") for one in said)


# --------------------------------------------------------------------------- turned away


def test_why_tells_of_a_table_that_was_turned_away_until_its_rows_come(tmp_path: Path) -> None:
    whole = log(12)
    night = START + timedelta(days=11)
    bring(whole.filter(pl.col("ts") < night), tmp_path, id="request")
    last = whole.filter(pl.col("ts") >= night)
    for table in (last.drop("temp"), last.rename({"temp": "temperature"}), last.rename({"temp": "temperature"})):
        with pytest.raises(Refused, match="lacks 1 of loans"):
            bring(table, tmp_path, id="request")

    (cause,) = handle(tmp_path).why().to_dict()["causes"]

    assert (cause["kind"], cause["form"], cause["columns"]) == ("columns", "renamed", ["temp"])
    assert cause["effect"]["rows"] == last.height, "each row once, with what was said of it last"
    assert cause["since"][:10] == night.date().isoformat()
    assert "temperature" in cause["detail"]

    bring(last, tmp_path, id="request")
    assert not handle(tmp_path).refused().height
    assert not handle(tmp_path).why().to_dict()["causes"]


def test_rows_that_are_filed_are_not_turned_away_a_second_time(tmp_path: Path) -> None:
    bring(log(3), tmp_path, id="request")
    with pytest.raises(Refused):
        bring(log(4).drop("price"), tmp_path, id="request")
    refused = handle(tmp_path).refused()
    assert refused["mw.time"].min() >= START + timedelta(days=3)  # type: ignore[operator]
    assert set(refused["field"]) == {"price"}
    assert set(refused["came"]) == {"nothing"}

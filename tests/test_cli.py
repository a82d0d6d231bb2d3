"""The command line as scripts see it: exit codes, JSON keys, errors that say what to type."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from middlewatch.cli import main
from middlewatch.cli.output import spark

START = datetime(2026, 1, 1, tzinfo=UTC)


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        assert found["schema"] == 1
        return found


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["middlewatch", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return Said(int(left.value.code or 0), said.out, said.err)

    return call


def loans(days: int = 90, *, first: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(first)
    rows = days * 40
    income = np.round(random.lognormal(7.5, 0.4, rows), 2)
    return pl.DataFrame(
        {
            "asked": [START + timedelta(days=first, minutes=36 * row) for row in range(rows)],
            "income": income,
            "term": random.integers(6, 60, rows),
            "region": random.choice(["north", "south"], rows),
            "repaid": (random.random(rows) < 1 / (1 + np.exp(-(income - 1800) / 600))).astype(int),
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with v1 trained and live, and ten days of traffic logged."""
    folder = tmp_path_factory.mktemp("loans")
    loans().write_parquet(folder / "loans.parquet")
    loans(10, first=90).drop("repaid").write_parquet(folder / "new.parquet")
    import middlewatch as mw
    from middlewatch import library

    library.init(str(folder / "loans.parquet"), target="repaid", time="asked", folder=folder, name="loan")
    project = mw.open(folder)
    project.train()
    project.promote("v1")
    project.score(folder / "new.parquet", log=True)
    return folder


def test_init_says_what_it_wrote_and_never_overwrites(run: Run, tmp_path: Path) -> None:
    loans(5).write_csv(tmp_path / "loans.csv")
    words = ("init", str(tmp_path / "loans.csv"), "--target", "repaid", "--time", "asked", "--dir", str(tmp_path / "p"))
    said = run(*words, "--json")
    assert said.code == 0
    assert {"files", "columns", "doubts"} <= said.facts.keys()
    assert (tmp_path / "p" / "repaid.schema.toml").exists()
    before = (tmp_path / "p" / "middlewatch.toml").read_bytes()
    again = run(*words)
    assert again.code == 2
    assert "never overwrites" in again.err
    assert (tmp_path / "p" / "middlewatch.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("init", "{dir}/lone.csv", "--target", "repaid"), "loans.csv"),
        (("init", "{dir}/loans.csv", "--target", "repayed"), 'did you mean "repaid"'),
        (("init", "{dir}/empty.csv", "--target", "repaid"), "empty"),
        (("init", "{dir}/twice.csv", "--target", "a"), "a"),
        (("init", "{dir}/constant.csv", "--target", "y"), "y"),
        (("init", "{dir}/nothing.csv", "--target", "y"), "y"),
        (("undo",), 'did you mean "rollback"'),
        (("trian",), 'did you mean "train"'),
        (("promote", "v1", "--raeson", "x"), "--reason"),
        (("status", "--project", "{dir}"), "middlewatch init"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(run: Run, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    loans(5).write_csv(tmp_path / "loans.csv")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    (tmp_path / "constant.csv").write_text("x,y\n" + "1,1\n" * 60)
    (tmp_path / "nothing.csv").write_text("x,y\n" + "1,\n" * 60)
    known = {path.name for path in tmp_path.iterdir()}
    said = run(*(word.format(dir=tmp_path) for word in words))
    assert said.code == 2, said
    assert told in said.err
    assert "Traceback" not in said.err
    assert {path.name for path in tmp_path.iterdir()} == known, "nothing half-written"


def test_an_error_is_json_where_json_is_asked_for(run: Run, tmp_path: Path) -> None:
    said = run("status", "--project", str(tmp_path), "--json")
    assert said.code == 2
    assert {"error", "fix", "code"} <= said.facts.keys()


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("monitor", "--until", "2026-04-11"), {"windows", "incidents"}),
        (("check", "{dir}/loans.parquet"), {"ok", "rows", "seconds", "findings", "columns"}),
        (("status",), {"state", "live", "requests", "score", "quality", "incidents", "why_confirmed"}),
        (("versions",), {"live", "models", "data", "journal"}),
        (("versions", "v1"), {"version", "metrics", "data"}),
        (("doctor",), {"checks"}),
        (("note", "a deploy"), {"at"}),
        (("why", "--since", "2026-04-06"), {"found", "causes", "ruled_out", "not_seen", "checked", "next", "seconds"}),
        (("incidents",), {"incidents"}),
        (("score", "{dir}/new.parquet", "--out", "{dir}/out.csv"), {"rows", "version", "seconds", "logged"}),
    ],
)
def test_json_has_the_documented_keys(run: Run, trained: Path, words: tuple[str, ...], keys: set[str]) -> None:
    said = run(*(word.format(dir=trained) for word in words), "--project", str(trained), "--json")
    assert said.code == 0, said
    assert keys <= said.facts.keys()


def test_text_begins_with_the_answer_and_ends_with_what_is_next(run: Run, trained: Path) -> None:
    for words in (("status",), ("check", str(trained / "loans.parquet")), ("monitor",)):
        lines = run(*words, "--project", str(trained)).out.splitlines()
        assert lines[0].strip()
        assert lines[-1].startswith("Next:   middlewatch ")
        assert "\x1b" not in "".join(lines)


def test_tail_gives_a_json_line_a_row(run: Run, trained: Path) -> None:
    said = run("tail", "-n", "3", "--where", "region = 'north'", "--project", str(trained), "--json")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert len(rows) == 3
    wanted = {"id", "time", "received", "version", "score", "inputs", "caller", "latency_us"}
    assert all(wanted <= row.keys() and row["inputs"]["region"] == "north" for row in rows)
    first = json.loads(said.out.splitlines()[0])
    assert all(first[one].endswith("Z") and first[one][10] == "T" for one in ("time", "received"))


def test_a_failed_check_is_exit_1_and_names_the_row(run: Run, trained: Path, tmp_path: Path) -> None:
    wrong = loans(3).with_columns(pl.when(pl.int_range(pl.len()) == 7).then(-5.0).otherwise("income").alias("income"))
    wrong.write_parquet(tmp_path / "wrong.parquet")
    said = run("check", str(tmp_path / "wrong.parquet"), "--project", str(trained), "--json")
    assert said.code == 1
    found = next(one for one in said.facts["findings"] if one["column"] == "income")
    assert (found["rows_failed"], found["examples"][0]["row"]) == (1, 7)


def test_nothing_to_do_is_exit_5(run: Run, trained: Path) -> None:
    assert run("promote", "v1", "--project", str(trained)).code == 5
    assert run("rollback", "--yes", "--project", str(trained)).code == 5
    assert run("unfreeze", "--project", str(trained)).code == 5


def test_a_version_that_is_not_there_is_exit_2(run: Run, trained: Path) -> None:
    said = run("promote", "v12", "--project", str(trained))
    assert said.code == 2
    assert "v1" in said.err


def test_an_even_column_is_drawn_with_even_bars() -> None:
    """Bars of counts stand on zero: the noise of an even column does not look like a valley."""
    assert set(spark([5000.0, 5001.0, 4999.0], low=0.0)) <= {"▇", "█"}
    assert spark([0.0, 1.0, 4.0], low=0.0) == "▁▃█"


def test_marks_are_refused_where_training_could_not_find_them_and_can_be_taken_back(run: Run, trained: Path) -> None:
    from datetime import UTC, datetime

    import middlewatch as mw

    kept = mw.open(trained).project.incidents("loan")
    n = str(kept.open(key="k", at=datetime.now(UTC), actor="me", facts={"since": "2025-01-01T00:00:00Z",
                      "until": "2025-01-02T00:00:00Z", "title": "t"}).n)  # fmt: skip
    where = ("--project", str(trained))
    said = run("incidents", n, "mark-bad", "--where", "\"mw.caller\" = 'app'", *where)
    assert (said.code, kept.get(int(n)).bad) == (2, ())
    assert run("incidents", n, "mark-bad", *where).code == 0
    assert len(kept.get(int(n)).bad) == 1
    assert run("incidents", n, "unmark-bad", *where).code == 0
    assert kept.get(int(n)).bad == ()
    said = run("incidents", n, "mark-bad", "--since", "2025-01-02", "--until", "2025-01-01", *where)
    assert (said.code, kept.get(int(n)).bad) == (2, ())


def test_an_incident_is_answered_as_one_types(run: Run, trained: Path) -> None:
    from datetime import UTC, datetime, timedelta

    import middlewatch as mw

    kept = mw.open(trained).project.incidents("loan")
    n = str(kept.open(key="answered", at=datetime.now(UTC), actor="me", facts={"since": "2025-01-01T00:00:00Z",
                      "until": "2025-01-02T00:00:00Z", "title": "income moved"}).n)  # fmt: skip

    def act(*words: str) -> Said:
        return run("incidents", n, *words, "--project", str(trained))

    assert "is acknowledged: income moved" in act("ack").out
    assert "is silenced until" in act("silence", "--until", "24h").out
    left = datetime.fromisoformat(kept.get(int(n)).silent_until) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    over = act("silence", "--until", "2025-01-01")
    assert (over.code, "is over already" in over.err) == (2, True)
    wrong = act("ack", "--cause", "a storm")
    assert (wrong.code, "ack takes no --cause" in wrong.err) == (2, True)
    closed = act("resolve", "--cause", "the feed sent euros", "--confirmed")
    assert "cause: the feed sent euros; `why` was right" in closed.out
    assert f"incidents {n} reopen" in closed.out
    late = act("ack")
    assert (late.code, "is resolved: it cannot be acknowledged" in late.err) == (2, True)
    assert "is open: income moved" in act("reopen").out
    assert act("reopen").code == 2
    assert "silence" in act("silense").err
    assert act("resolve", "--cause", "a test").code == 0

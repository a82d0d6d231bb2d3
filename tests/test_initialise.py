"""Starting a project: what is asked, what is written, what a person's answers change."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import middlewatch as mw
from middlewatch import library
from middlewatch.errors import NotFound, UsageError
from middlewatch.infer import Doubt
from middlewatch.schema import Schema

ROWS = 2_000


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table with a spike, a code, mail addresses and a column that gives the outcome away."""
    chance = np.random.default_rng(0)
    late = chance.integers(0, 2, ROWS)
    frame = pl.DataFrame(
        {
            "temp": np.where(np.arange(ROWS) % 40 == 0, -200.0, np.round(chance.normal(20, 5, ROWS), 1)),
            "store_code": chance.integers(1, 12, ROWS),
            "mail": [f"person{one}@example.com" for one in chance.integers(0, 30, ROWS)],
            "delay": late * 30 + chance.integers(0, 10, ROWS),
            "late": late,
        }
    )
    frame.write_csv(tmp_path / "t.csv")
    return tmp_path / "t.csv"


def schema(folder: Path) -> Schema:
    return Schema.parse((folder / "late.schema.toml").read_text(), where="late.schema.toml")


def test_plots_are_written_and_doubts_stand_where_they_are_met(table: Path, tmp_path: Path) -> None:
    started = library.init(str(table), target="late", folder=tmp_path / "p")
    assert "late.html" in started.files
    assert "temp" in (tmp_path / "p" / "late.html").read_text()
    text = (tmp_path / "p" / "late.schema.toml").read_text()
    lines = text.splitlines()
    for doubt in started.doubts:
        at = next(number for number, line in enumerate(lines) if line == f"[columns.{doubt.column}]")
        above = "\n".join(lines[max(0, at - 5) : at])
        assert f"# doubt: {doubt.question} taken as {doubt.guess}" in above
    asked = {one.column: one.other for one in started.doubts}
    assert asked["delay"] == "--role delay=feature"
    assert asked["temp"] == "--missing temp=-200"
    assert asked["store_code"] == "--kind store_code=category"
    assert asked["mail"] == "--private mail=drop"


def test_answers_given_beforehand_are_not_asked_again(table: Path, tmp_path: Path) -> None:
    answers = [
        "--role delay=feature",
        "--missing temp=-200",
        "--kind store_code=category",
        "--private mail=hash",
    ]
    started = library.init(str(table), target="late", folder=tmp_path / "p", answers=answers)
    made = schema(tmp_path / "p")
    assert made.column("delay").role == "feature"
    assert made.column("temp").missing == ("-200",)
    assert made.column("temp").min is not None
    assert made.column("temp").min > -100  # type: ignore[operator]
    assert made.column("store_code").kind == "category"
    assert made.column("mail").private == "hash"
    assert not {"delay", "temp", "store_code", "mail"} & {one.column for one in started.doubts}
    assert mw.check(str(table), made).ok


def test_wrong_answers_say_what_to_type(table: Path, tmp_path: Path) -> None:
    for answer, said in (("--role delay", "--role COLUMN=one of feature"), ("--kind temp=numbr", "one of number")):
        with pytest.raises(UsageError) as error:
            library.init(str(table), target="late", folder=tmp_path / "p", answers=[answer])
        assert said in str(error.value)
    with pytest.raises(NotFound, match='no column "tmp"'):
        library.init(str(table), target="late", folder=tmp_path / "p", answers=["--missing tmp=-200"])
    assert not (tmp_path / "p").exists()


def test_three_are_asked_and_a_no_takes_the_other_answer(table: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def ask(doubt: Doubt) -> bool:
        seen.append(doubt.column)
        return doubt.column != "temp"

    started = library.init(str(table), target="late", folder=tmp_path / "p", ask=ask)
    assert seen == ["delay", "temp", "mail"]  # the most doubtful first
    made = schema(tmp_path / "p")
    assert made.column("temp").missing == ("-200",)
    assert made.column("delay").role == "ignored"
    # What was answered is no doubt any more.
    assert {one.column for one in started.doubts} == {"store_code"}


def test_on_a_terminal_enter_takes_the_guess(table: Path, tmp_path: Path) -> None:
    """The real command on a real terminal; in a pipe nothing is asked."""
    command = [sys.executable, "-m", "middlewatch", "init", str(table), "--target", "late", "--dir"]
    quiet = subprocess.run([*command, str(tmp_path / "q")], capture_output=True, text=True, check=True, timeout=60)
    assert "right?" not in quiet.stderr + quiet.stdout
    main, side = pty.openpty()
    process = subprocess.Popen([*command, str(tmp_path / "p")], stdin=side, stdout=side, stderr=side, close_fds=True)
    os.close(side)
    os.write(main, b"\nn\n\n")  # a guess, a no, a guess
    said = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # the terminal is gone with its process
            break
        if not part:
            break
        said += part
    assert process.wait(timeout=60) == 0
    assert said.count(b"right?") == 3
    assert schema(tmp_path / "p").column("temp").missing == ("-200",)

"""`why` of an incident of a model that is not ours: the onset before the alarm, and columns without a name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

import middlewatch as mw
from middlewatch.times import iso
from middlewatch.why import Diagnosis

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 50
ROWS = 150


def log(days: int) -> pl.DataFrame:
    """Requests of some days, evenly over each: an amount of whole numbers, a share, a score that follows both."""
    random = np.random.default_rng(5)
    rows = days * ROWS
    amount = np.round(random.lognormal(8, 0.4, rows))
    share = random.beta(2, 5, rows)
    return pl.DataFrame(
        {
            "at": [FIRST + timedelta(days=k // ROWS, minutes=(k % ROWS) * 1440 / ROWS) for k in range(rows)],
            "id": [f"r{k}" for k in range(rows)],
            "amount": amount,
            "share": share,
            "p": np.round(1 / (1 + np.exp(4 - amount / 1500 + share)), 4),
        }
    )


def watched(folder: Path, rows: pl.DataFrame) -> mw.Handle:
    done = mw.import_(rows, project=folder, time="at", score="p", id="id", name="loans")
    assert done.rows == rows.height
    return mw.open(folder)


def test_an_onset_is_followed_into_the_day_before_the_alarm(tmp_path: Path) -> None:
    rows = log(DAYS + 2)
    began = FIRST + timedelta(days=DAYS, hours=18)
    rows = rows.with_columns(
        pl.when(pl.col("at") >= began).then(pl.col("share") * 100).otherwise("share").alias("share")
    )
    project = watched(tmp_path, rows)
    (incident,) = (one for one in project.incidents() if "share" in one.columns)

    answer = project.why(incident.n)

    assert isinstance(answer, Diagnosis)
    (cause, *_) = answer.causes

    assert (cause.kind, cause.columns) == ("scale", ("share",))
    assert cause.since is not None
    assert abs(cause.since - began) < timedelta(hours=1)
    assert not cause.from_start


def test_a_column_that_alarmed_without_a_name_is_named_as_possible_drift(tmp_path: Path) -> None:
    rows = log(DAYS + 1)
    random = np.random.default_rng(6)
    bent = pl.Series(random.choice([0.1, 0.5], rows.height) + random.normal(0, 0.04, rows.height))
    began = FIRST + timedelta(days=DAYS)
    rows = rows.with_columns(pl.when(pl.col("at") >= began).then(bent).otherwise("share").alias("share"))
    project = watched(tmp_path, rows)

    answer = project.why()

    assert isinstance(answer, Diagnosis)
    (cause,) = answer.causes
    assert (cause.kind, cause.columns, cause.confidence) == ("drift", ("share",), "possible")
    assert "in no way with a name" in cause.detail
    assert "no cause" not in answer.headline


def test_a_past_day_loses_the_rows_that_were_marked_bad_and_not_the_others(tmp_path: Path) -> None:
    rows = log(DAYS + 1).with_columns(pl.Series("who", ["app" if k % 5 else "probe" for k in range(ROWS * (DAYS + 1))]))
    broken = (
        (pl.col("who") == "probe")
        & (pl.col("at") >= FIRST + timedelta(days=20))
        & (pl.col("at") < FIRST + timedelta(days=DAYS))
    )
    rows = rows.with_columns(pl.when(broken).then(pl.col("share") * 100).otherwise("share").alias("share"))
    mw.import_(rows, project=tmp_path, time="at", score="p", id="id", caller="who", name="loans")
    project = mw.open(tmp_path)
    night, began = FIRST + timedelta(days=DAYS), FIRST + timedelta(days=20)
    records = project.project.incidents("loans")
    one = records.open(key="share", at=night, actor="me", facts={"since": iso(began), "until": iso(night)})
    records.add(one.n, "resolve", at=night, actor="me")

    def ask(where: str) -> Diagnosis:
        marked = {"since": iso(began), "until": iso(night), "where": where}
        records.add(one.n, "mark_bad", at=night, actor="me", **marked)
        answer = project.why(since=night, until=night + timedelta(days=1))
        assert isinstance(answer, Diagnosis)
        return answer

    answer = ask("\"mw.caller\" = 'probe'")
    assert answer.checked["past_days"] == 28
    assert not any("left out" in one for one in answer.not_seen)
    assert answer.checked["shapes"]["share"] < 1.3, "beside the rows that are left"

    answer = ask("")
    assert any("30 past days were left out" in one for one in answer.not_seen)
    assert answer.checked["past_days"] == 20

"""A project for a model that is served elsewhere: what its log shows, written as files that a person can review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from middlewatch import infer
from middlewatch.initialise import lay_down
from middlewatch.tables import Raw

from .answers import Answers, follows

if TYPE_CHECKING:
    from middlewatch.infer import Settled

WEEKLY = 100
"""Rows a day, in the middle, under which a day says too little and weeks are judged."""
OUTCOME = "outcome"


def describe(
    table: pl.DataFrame,
    found: Answers,
    *,
    name: str,
    source: str,
    textual: bool,
    own: Sequence[str],
    time: str,
    key: str | None,
    label: str | None,
    target: str | None,
    zone: str,
    settled: Settled,
) -> infer.Inferred:
    """The schema of the log: `own` columns (scores, id, caller, version) are none of its inputs.

    A column that is the answer in other words is no input either, and a doubt says so.
    """
    inputs = [one for one in table.columns if one not in own and one not in (time, key, label)]
    echoes = {one: why for one in inputs if (why := follows(table, one, found))}
    said = {column: dict(facts) for column, facts in settled.items()}
    for one in echoes:
        said.setdefault(one, {}).setdefault("role", ["ignored"])
    kept = [one for one in table.columns if one not in own or one in (key, label)]
    made = infer.logged(
        Raw(table.select(kept).lazy(), textual, [], source),
        name=name,
        target=label or target or OUTCOME,
        task=found.task,
        classes=found.classes,
        time=time,
        key=key,
        zone=zone,
        settled=said,
    )
    fresh = [
        infer.Doubt(one, "an input?", "the answer in other words, ignored", why, f"--role {one}=feature")
        for one, why in echoes.items()
        if "role" not in settled.get(one, {})
    ]
    return replace(made, doubts=(*fresh, *made.doubts))


def begin(folder: Path, made: infer.Inferred, times: pl.Series, *, zone: str, fresh: bool) -> list[str]:
    """Write the files of the model; returns their names. `fresh` where there is no project yet."""
    schema = made.schema
    block = {"source": None, "target": schema.target, "task": schema.task, "time": schema.time, "key": schema.key}
    if not fresh:
        return lay_down(folder, schema, made.doubts, block)
    a_day = times.dt.convert_time_zone(zone).dt.date().value_counts()["count"].median()
    few = isinstance(a_day, int | float) and a_day < WEEKLY
    return lay_down(folder, schema, made.doubts, block, zone=zone, window="week" if few else None)

"""What is drawn of a table beyond its profile: columns over time, against the target, what goes together.

From a sample of rows (those with the lowest hash of their number), so that memory does not grow with the table;
a table of fewer rows is drawn from all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from .associations import associations
from .findings import Finding
from .profiles import Profile
from .profiles.drawing import described
from .schema import Column, Schema

SAMPLE: Final = 20_000
"""Rows that are drawn from: 500 in each of 40 stretches of time."""
TIED: Final = 5_000
"""Rows that associations are reckoned from: their cost grows with pairs, and an error of 0.014 is about a pixel."""
STRETCHES: Final = 40
PARTS: Final = 10
FEW: Final = 5
"""Rows under which a mean or a median says more of chance."""
PAIRS: Final = 15
TEXT: Final = 24


def facts_of(
    profile: Profile,
    schema: Schema,
    *,
    findings: Sequence[Finding] = (),
    ok: bool | None = None,
    reference: Profile | None = None,
) -> dict[str, Any]:
    """All that `plots.page` draws, plain JSON. Private columns are described without values."""
    sample = profile.sample
    known = [one for one in schema.columns if one.name in profile.columns]
    pictured = _Pictured(sample, schema, known) if sample is not None and sample.height else None
    columns = []
    for one in known:
        old = reference.columns.get(one.name) if reference is not None else None
        facts = described(profile.columns[one.name], old, hidden=one.private is not None)
        facts |= {"name": one.name, "role": one.role, "unit": one.unit}
        if pictured is not None and one.private is None:
            facts |= pictured.of(one)
        columns.append(facts)
    return {
        "ok": ok,
        "rows": profile.rows,
        "findings": [one.to_dict() for one in findings],
        "columns": columns,
        "sampled": sample.height if sample is not None else 0,
        "associations": pictured.pairs() if pictured is not None else [],
    }


class _Pictured:
    """One sample, looked at column by column."""

    def __init__(self, sample: pl.DataFrame, schema: Schema, known: Sequence[Column]) -> None:
        self.schema = schema
        self.known = known
        time = schema.time if schema.time in sample.columns else None
        self.sample = sample if time is None else sample.sort(time, nulls_last=True)
        self.stretch = _stretches(self.sample, time) if time else None
        self.ends = _ends(self.sample[time]) if time else ("", "")
        self.target = _target(self.sample, schema)

    def of(self, one: Column) -> dict[str, Any]:
        """`time` and `target` of a column, where they can be drawn."""
        found: dict[str, Any] = {}
        if one.kind not in ("text", "time"):
            if self.stretch is not None:
                found["time"] = _over_time(self.sample[one.name], one.kind, self.stretch, self.ends)
            if self.target is not None and one.name != self.schema.target:
                found["target"] = _by_target(self.sample[one.name], one.kind, *self.target)
        return {name: facts for name, facts in found.items() if facts}

    def pairs(self) -> list[dict[str, Any]]:
        """The strongest associations."""
        tied = {one.name: one.kind for one in self.known if one.private is None and one.kind not in ("text", "time")}
        rows = self.sample.sample(min(TIED, self.sample.height), seed=0)
        found = associations(rows, tied)
        pairs = [
            (float(found.strength[i, j]), found.names[j], found.names[i])
            for i in range(len(found.names))
            for j in range(i)
            if not math.isnan(found.strength[i, j]) and found.strength[i, j] >= 0.05
        ]
        ranked = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:PAIRS]
        return [{"a": a, "b": b, "strength": round(strength, 4)} for strength, a, b in ranked]


def _stretches(sample: pl.DataFrame, time: str) -> pl.Series | None:
    """Which of up to 40 equal stretches of time each row is in; None where all have one time."""
    values = sample[time].to_physical().cast(pl.Float64)
    low, high = values.min(), values.max()
    if low is None or high is None or low == high:
        return None
    return ((values - low) / (high - low) * STRETCHES).floor().clip(0, STRETCHES - 1).cast(pl.Int32)  # type: ignore[operator]


def _ends(times: pl.Series) -> tuple[str, str]:
    low, high = times.min(), times.max()
    if not isinstance(low, datetime) or not isinstance(high, datetime):
        return "", ""
    form = "%Y-%m-%d" if (high - low).days >= 2 else "%Y-%m-%d %H:%M"
    return low.strftime(form), high.strftime(form)


def _over_time(values: pl.Series, kind: str, stretch: pl.Series, ends: tuple[str, str]) -> dict[str, Any]:
    """Median and 5 to 95 % of numbers, or the share of the most frequent value, and the share missing."""
    frame = pl.DataFrame({"at": stretch, "value": values}).drop_nulls("at")
    value, called = pl.col("value"), ""
    if kind in ("number", "whole"):
        finite = pl.when(value.cast(pl.Float64).is_finite()).then(value.cast(pl.Float64))
        ask = {"middle": finite.median(), "low": finite.quantile(0.05), "high": finite.quantile(0.95)}
    else:
        top = frame["value"].drop_nulls().mode()
        if not len(top):
            return {}
        called = str(top.sort()[0])
        ask = {"middle": (value == top.sort()[0]).cast(pl.Float64).mean()}
    grouped = frame.group_by("at").agg(
        value.count().alias("n"),
        value.is_null().mean().alias("missing"),
        *(one.alias(name) for name, one in ask.items()),
    )
    every = pl.DataFrame({"at": pl.int_range(STRETCHES, eager=True, dtype=pl.Int32)}).join(grouped, on="at", how="left")
    every = every.sort("at")
    enough = every["n"].fill_null(0) >= FEW
    facts: dict[str, Any] = {
        name: [_short(one) if held else None for one, held in zip(every[name].to_list(), enough, strict=True)]
        for name in ask
    }
    missing = [round(one or 0.0, 4) for one in every["missing"].to_list()]
    return {**facts, "missing": missing, "from": ends[0], "to": ends[1], "of": called[:TEXT]}


def _target(sample: pl.DataFrame, schema: Schema) -> tuple[pl.Series, str, bool] | None:
    """The outcome of each row as a number, what its mean is called, and whether that is a number (not a share)."""
    if not schema.target or schema.target not in sample.columns or schema.column(schema.target).private:
        return None
    values = sample[schema.target]
    if schema.task == "regression":
        return values.cast(pl.Float64), f"mean {schema.target}", True
    if values.dtype == pl.Boolean:
        return values.cast(pl.Float64), f"share of {schema.target}", False
    texts = values.cast(pl.String)
    which = schema.classes[1] if schema.task == "binary" else texts.drop_nulls().mode().sort().to_list()[0]
    if not texts.drop_nulls().is_in([which]).any() and values.dtype.is_float():
        return values.cast(pl.Float64), f"mean {schema.target}", True
    return (texts == which).cast(pl.Float64), f"share of {schema.target} = {which}", False


def _by_target(values: pl.Series, kind: str, target: pl.Series, called: str, number: bool) -> dict[str, Any]:
    """Mean of the target in tenths of a number, or in the most frequent categories, by the order of their mean."""
    frame = pl.DataFrame({"value": values, "target": target}).drop_nulls()
    if kind in ("number", "whole"):
        frame = frame.with_columns(pl.col("value").cast(pl.Float64)).filter(pl.col("value").is_finite())
        if frame.height < PARTS * FEW:
            return {}
        rank = (pl.col("value").rank("min") - 1) * PARTS // frame.height
        grouped = frame.group_by(rank.alias("at")).agg(
            pl.len().alias("rows"), pl.col("target").mean(), pl.col("value").min().alias("low"), pl.col("value").max()
        )
        grouped = grouped.sort("at")
        ends = [f"{one:.4g}" for one in (grouped["low"].to_list()[0], grouped["value"].to_list()[-1])]
    else:
        grouped = frame.group_by("value").agg(pl.len().alias("rows"), pl.col("target").mean())
        grouped = grouped.sort("rows", descending=True).head(12).filter(pl.col("rows") >= FEW).sort("target")
        if grouped.height < 2:
            return {}
        ends = [str(one)[:TEXT] for one in (grouped["value"].to_list()[0], grouped["value"].to_list()[-1])]
    means = [_short(one) for one in grouped["target"].to_list()]
    return {
        "of": called,
        "mean": means,
        "rows": grouped["rows"].to_list(),
        "from": ends[0],
        "to": ends[1],
        "number": number,
    }


def _short(value: float | None) -> float | None:
    """Four digits: more are under a pixel."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")

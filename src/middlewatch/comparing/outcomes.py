"""The target of a table: outcomes that changed their meaning or stay away, and inputs that suddenly know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from ..associations import associations
from ..fingerprints import Case, Cause, Effect, History, search
from ..schema import Schema
from ..targets import target_of
from .pieces import Piece

Floats = np.typing.NDArray[np.float64]
KNOWS: Final = 0.7
"""Strength of association with the target from which an input tells nearly all of it."""
KNEW: Final = 0.5
"""What it may have been in the strongest past window for that to be new."""
SAME: Final = 0.99
"""Strength from which the input is the outcome."""


def changed(piece: Piece, windows: Sequence[pl.DataFrame], schema: Schema) -> list[Cause]:
    """Causes in the target itself: other units or names, nulls where outcomes stay away."""
    target = schema.target
    if not target or target not in piece.rows.columns:
        return []
    kind = "number" if schema.task == "regression" else "category"

    def plain(frame: pl.DataFrame) -> pl.DataFrame:
        return frame if kind == "number" else frame.with_columns(pl.col(target).cast(pl.String))

    history = History([plain(one) for one in windows], {target: kind})
    found = search(Case(plain(piece.rows), history, whole=piece.whole))
    return [
        replace(
            one, kind="labels", form="late" if one.kind == "nulls" else "changed", facts={**one.facts, "as": one.kind}
        )
        for one in found.causes
        if target in one.columns
    ]


def rate(
    piece: Piece,
    windows: Sequence[pl.DataFrame],
    schema: Schema,
) -> Cause | None:
    """The mean outcome, less the model's `mw.score` of the same rows (where they have one), beyond every past window.

    Inputs that changed take their outcomes with them; what is left is the outcomes' own change. Only outcomes of two
    classes and values; it is never more than possible, as the world may have changed as well.
    """
    if schema.task == "multiclass" or schema.target not in piece.rows.columns:
        return None
    scored = "mw.score" in piece.rows.columns

    def gap(frame: pl.DataFrame) -> tuple[float, float, float, int]:
        outcome = target_of(frame, schema)
        known = np.isfinite(outcome)
        if known.sum() < limits.MIN_ROWS:
            return float("nan"), 0.0, 0.0, 0
        thought = frame["mw.score"].to_numpy()[known] if scored else np.zeros(int(known.sum()))
        rest = outcome[known] - thought
        return float(rest.mean()), float(rest.std()), float(outcome[known].mean()), int(known.sum())

    past = [one for one in map(gap, windows) if one[3]]
    now, spread, mean, rows = gap(piece.rows)
    if len(past) < limits.MIN_PAST or not rows:
        return None
    usual = np.array([one[0] for one in past])
    middle = float(np.median(usual))
    worst = float(np.abs(usual - middle).max())
    floor = limits.RATE_FLOOR if schema.task == "binary" else 0.05 * float(np.mean([one[1] for one in past]))
    beyond = abs(now - middle) - limits.SURE * 2 * spread / np.sqrt(rows)
    if beyond <= limits.BEYOND * worst + floor:
        return None
    were = float(np.mean([one[2] for one in past]))
    than = " than their inputs lead to expect" if scored else ""
    word = "more" if now > middle else "fewer"
    said = (
        f"{schema.target}: {word} outcomes are {schema.classes[1]}{than}: {100 * mean:.1f} %, were {100 * were:.1f} %"
        if schema.task == "binary"
        else f"{schema.target} is {'higher' if now > middle else 'lower'}{than}: mean {mean:.4g}, was {were:.4g}"
    )
    everyone = np.ones(piece.rows.height, bool)
    return Cause(
        kind="labels",
        form="changed",
        columns=(schema.target,),
        detail=said,
        confidence="possible",
        affected=everyone,
        since=piece.since,
        from_start=True,
        effect=Effect(rows),
        fix=f"ask whether {schema.target} still means the same; if the world changed, train on the new rows alone",
        strength=abs(now - middle) / max(worst, 1e-12),
        proof=f"beyond all {len(past)} blocks of the reference",
    )


def leaks(piece: Piece, windows: Sequence[pl.DataFrame], schema: Schema, kinds: Mapping[str, str]) -> list[Cause]:
    """Inputs that tell the outcome now and never did: what is written down after the outcome has slipped in."""
    if not schema.target or schema.target not in piece.rows.columns:
        return []
    found = []
    # What slipped in may have done so in the middle of the piece.
    late = _strengths(piece.rows[piece.rows.height // 2 :], kinds, schema)
    now = {name: one for name, one in late.items() if one >= KNOWS}
    halves = [one[one.height // 2 :] for one in windows] if now else []
    past = [_strengths(one, {name: kinds[name] for name in now}, schema) for one in halves]
    for name, strength in now.items():
        worst = max((one.get(name, 0.0) for one in past), default=1.0)
        if worst > KNEW:
            continue
        found.append(
            Cause(
                kind="relation",
                form="leakage",
                columns=(name,),
                detail=f"{name} tells {schema.target} now: association {strength:.2f}, at most {worst:.2f} before",
                confidence="certain" if strength >= SAME else "likely",
                affected=np.ones(piece.rows.height, bool),
                since=piece.since,
                from_start=True,
                effect=Effect(piece.rows.height),
                fix=f'role = "ignored" for {name}, or take it as it was known when the prediction was asked for',
                strength=strength / max(worst, 0.01),
                proof="it is the outcome under another name" if strength >= SAME else "beyond every past block",
            )
        )
    return found


def _strengths(frame: pl.DataFrame, kinds: Mapping[str, str], schema: Schema) -> dict[str, float]:
    target = schema.target
    wanted = {name: kind for name, kind in kinds.items() if name in frame.columns and kind not in ("text", "time")}
    if schema.task == "regression":
        wanted[target] = "number"
    else:
        wanted[target] = "category"
        frame = frame.with_columns(pl.col(target).cast(pl.String))
    found = associations(frame, wanted)
    row = found.strength[found.names.index(target)]
    pairs = zip(found.names, row, strict=True)
    return {name: float(one) for name, one in pairs if name != target and np.isfinite(one)}

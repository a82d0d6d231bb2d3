"""The order of work: contract, then piece by piece the fingerprints, each clean piece becoming history of the next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import polars as pl

import middlewatch.comparing.contract as contract
import middlewatch.comparing.outcomes as outcomes

from ..fingerprints import Case, Cause, History, search, thresholds
from ..fingerprints.cause import ORDER
from ..fingerprints.effect import Effect
from ..schema import Schema
from .pieces import MOST_ROWS, WINDOWS, Parts, Piece, blocks, evenly, parts

Floats = np.typing.NDArray[np.float64]


class Scorer(Protocol):
    """A model that says what a fault would do (`replay.Replayer` is one): `scores` as fingerprints.Score, `shown` one
    number a row, `threshold` where it decides a binary question.
    """

    @property
    def threshold(self) -> float | None: ...

    def scores(self, rows: pl.DataFrame) -> Floats: ...

    def shown(self, rows: pl.DataFrame) -> Floats: ...


@dataclass(frozen=True)
class Compared:
    """`causes` in order of certainty; `harmless`: changes that are not certain and do not move the model's answers.

    Of the table's `rows`, `same` are in the reference too and `fresh` were looked at, from `since` to `until`.
    `corrected` of a cause has `mw.at` too: the row's number in `typed`.
    """

    causes: tuple[Cause, ...]
    harmless: tuple[Cause, ...]
    rows: int
    same: int
    fresh: int
    windows: int
    columns: tuple[str, ...]
    since: datetime | None = None
    until: datetime | None = None
    not_seen: tuple[str, ...] = ()
    typed: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False)

    @property
    def enough(self) -> bool:
        """Whether the reference is long enough to say what is usual."""
        return self.windows >= thresholds.MIN_PAST


def compare(
    raw: pl.DataFrame,
    reference: pl.DataFrame | None,
    schema: Schema,
    *,
    zone: str = "UTC",
    scorer: Scorer | None = None,
    only: Collection[str] | None = None,
) -> Compared:
    """What is wrong in a raw table, against a reference table that was right (typed or raw), or the schema alone.

    Rows that the reference holds too are known and left out. The rest is looked at in up to 4 pieces in order of time
    (else of rows), against 28 blocks of the reference and the clean pieces before; at least 16 blocks of 30 rows.
    `only` looks at these columns alone, and then at every row at once.
    """
    schema = _widened(schema, raw, zone)
    then = schema.typed(reference, zone=zone) if reference is not None else None
    whole = _history(then.frame, schema) if then is not None and then.frame.height else None
    causes = contract.missing(raw, schema, whole)
    names = {str(one.facts["now"]): one.columns[0] for one in causes if one.form == "renamed"}
    typed = schema.typed(raw.rename(names) if names else raw, zone=zone)
    unread = contract.unreadable(
        raw.rename(names) if names else raw, typed.unparsed, then.unparsed if then is not None else {}, schema
    )
    causes += unread
    kept = [one.name for one in schema.columns if one.role != "ignored" and one.name in typed.frame.columns]
    if then is None:
        return Compared(tuple(causes), (), raw.height, 0, raw.height, 0, tuple(kept))
    most = MOST_ROWS if only is None else raw.height
    cut = parts(
        typed.frame.select(kept),
        then.frame.select([one for one in then.frame.columns if one in kept]),
        schema,
        most=most,
    )
    kinds: dict[str, str] = {
        one.name: one.kind for one in schema.features if one.name in kept and one.name in then.frame.columns
    }
    if only is not None:
        kinds = {name: kind for name, kind in kinds.items() if name in only}
    found, harmless, not_seen = _walk(cut, schema, kinds, scorer)
    # A cell that is no number is null to us, which its own cause says already; and what does not move today's model
    # would be learnt by the next one all the same.
    blank = {one.columns[0] for one in unread}
    found = [one for one in found if not (one.kind == "nulls" and set(one.columns) <= blank)]
    causes += [*found, *(one for one in harmless if one.confidence == "certain")]
    harmless = [one for one in harmless if one.confidence != "certain"]
    causes.sort(key=lambda one: ORDER[one.confidence])
    times = [one for piece in cut.pieces for one in _ends(piece)]
    return Compared(
        tuple(causes),
        tuple(harmless),
        raw.height,
        cut.same,
        cut.fresh,
        len(cut.windows),
        tuple(kinds),
        min(times, default=None),
        max(times, default=None),
        tuple(not_seen),
        typed.frame,
    )


def _widened(schema: Schema, raw: pl.DataFrame, zone: str) -> Schema:
    """Whole numbers that came with fractions are read as numbers: another unit makes them so."""
    wide = []
    for column in schema.columns:
        if column.kind == "whole" and column.name in raw.columns:
            numbers = replace(schema, columns=(replace(column, kind="number"),))
            bad = [
                one.typed(raw.select(column.name), zone=zone).unparsed[column.name].sum()
                for one in (replace(schema, columns=(column,)), numbers)
            ]
            if bad[0] > 2 * bad[1] and bad[0] > contract.UNREADABLE * raw.height:
                wide.append(column.name)
    if not wide:
        return schema
    return replace(
        schema, columns=tuple(replace(one, kind="number") if one.name in wide else one for one in schema.columns)
    )


def _history(then: pl.DataFrame, schema: Schema) -> History:
    kinds = {one.name: one.kind for one in schema.columns if one.name in then.columns}
    count = max(min(WINDOWS, then.height // thresholds.MIN_ROWS), 1)
    return History([evenly(one, 500) for one in blocks(then, count)], kinds)


def _ends(piece: Piece) -> list[datetime]:
    if "mw.time" not in piece.rows.columns:
        return []
    return [one for one in (piece.rows["mw.time"].min(), piece.rows["mw.time"].max()) if isinstance(one, datetime)]


def _walk(
    cut: Parts, schema: Schema, kinds: dict[str, str], scorer: Scorer | None
) -> tuple[list[Cause], list[Cause], list[str]]:
    """Piece by piece; the same cause of several pieces is one."""

    def scored(frame: pl.DataFrame) -> pl.DataFrame:
        return frame if scorer is None else frame.with_columns(pl.Series("mw.score", scorer.shown(frame)))

    windows = [scored(one) for one in cut.windows]
    causes: list[Cause] = []
    harmless: list[Cause] = []
    not_seen: list[str] = []
    if len(windows) < thresholds.MIN_PAST:
        return causes, harmless, not_seen
    for piece in cut.pieces:
        rows = scored(piece.rows)
        case = Case(
            rows,
            History(windows, kinds),
            scorer.scores if scorer else None,
            scorer.threshold if scorer else None,
            whole=piece.whole and all(one.height < 2_000 for one in windows),
        )
        looked = search(case)
        mine = outcomes.leaks(piece, windows, schema, kinds)
        # What tells the outcome looks odd in other ways too.
        leaking = {one.columns[0] for one in mine}
        mine += [one for one in looked.causes if not _by_the_way(one, leaking)]
        mine += _of_outcomes(piece, windows, schema, mine)
        named = {column for one in [*mine, *looked.harmless] for column in one.columns}
        mine += [
            _unlike(column, far, piece)
            for column, far in looked.rest.items()
            if column not in named and far > thresholds.DRIFT_BEYOND
        ]
        _gather(causes, [_of_table(one, piece) for one in mine])
        _gather(harmless, [_of_table(one, piece) for one in looked.harmless])
        not_seen = not_seen or list(looked.not_seen)
        if not mine and not looked.harmless and not piece.restated:
            windows = [*windows[1:], rows]
    return causes, harmless, not_seen


def _unlike(column: str, far: float, piece: Piece) -> Cause:
    """A column beyond every block of the reference in no way with a name."""
    return Cause(
        kind="drift",
        form="drift",
        columns=(column,),
        detail=f"{column} is unlike every block of the reference, in no way with a name",
        confidence="possible",
        affected=np.ones(piece.rows.height, bool),
        since=piece.since,
        from_start=True,
        effect=Effect(piece.rows.height),
        strength=far,
        fix=f"look at {column} over time",
        proof=f"{far:.1f} x the distance of the worst block",
    )


def _by_the_way(cause: Cause, leaking: set[str]) -> bool:
    """Whether a cause is but another sight of columns that hold the outcome now, or has no name."""
    return cause.kind == "drift" or bool(leaking & set(cause.columns)) or (bool(leaking) and cause.form == "duplicates")


def _of_outcomes(piece: Piece, windows: Sequence[pl.DataFrame], schema: Schema, found: Sequence[Cause]) -> list[Cause]:
    if not schema.target or any(schema.target not in one.columns for one in [piece.rows, *windows]):
        return []
    mine = outcomes.changed(piece, windows, schema)
    if mine or found:
        return mine
    moved = outcomes.rate(piece, windows, schema)
    return [moved] if moved is not None else []


def _of_table(cause: Cause, piece: Piece) -> Cause:
    """A cause of a piece as one of the table: its rows counted in full."""
    effect = cause.effect
    flips = effect.decisions_changed
    scaled = replace(
        effect,
        rows=round(effect.rows * piece.weight),
        decisions_changed=None if flips is None else round(flips * piece.weight),
    )
    last = piece.rows["mw.time"].max() if "mw.time" in piece.rows.columns else None
    facts = {**cause.facts, "pieces": 1, "restated": piece.restated, "until": last}
    corrected = cause.corrected
    if corrected is not None:
        corrected = corrected.with_columns(pl.Series("mw.at", piece.rows["mw.at"].gather(corrected["mw.row"])))
    return replace(cause, effect=scaled, facts=facts, corrected=corrected, from_start=cause.from_start)


def _gather(kept: list[Cause], found: Sequence[Cause]) -> None:
    """Add causes; one that was met before grows: rows add up, the surer word counts, the earlier onset stays."""
    for one in found:
        for k, other in enumerate(kept):
            if (one.kind, one.form, one.columns) == (other.kind, other.form, other.columns):
                kept[k] = _both(other, one)
                break
        else:
            kept.append(one)


def _both(a: Cause, b: Cause) -> Cause:
    surer = a if ORDER[a.confidence] <= ORDER[b.confidence] else b
    rows = a.effect.rows + b.effect.rows
    flips = [one.effect.decisions_changed for one in (a, b)]

    def mean(first: float | None, second: float | None) -> float | None:
        if first is None or second is None:
            return None
        return (first * a.effect.rows + second * b.effect.rows) / max(rows, 1)

    effect = Effect(
        rows,
        mean(a.effect.share_of_shift, b.effect.share_of_shift),
        None if None in flips else sum(one for one in flips if one is not None),
        mean(a.effect.score_before, b.effect.score_before),
        mean(a.effect.score_after, b.effect.score_after),
        a.effect.matters or b.effect.matters,
    )
    facts: dict[str, Any] = {**surer.facts, "pieces": a.facts["pieces"] + 1, "until": b.facts["until"]}
    facts["restated"] = a.facts["restated"] or b.facts["restated"]
    corrected = [one.corrected for one in (a, b) if one.corrected is not None]
    return replace(
        surer,
        since=a.since,
        from_start=a.from_start,
        effect=effect,
        facts=facts,
        examples=a.examples or b.examples,
        slice=a.slice if a.slice == b.slice else None,
        corrected=pl.concat(corrected, how="vertical_relaxed") if corrected else None,
    )

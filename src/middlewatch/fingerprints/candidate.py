"""What a fingerprint proposes, before it is tested: a change, the rows it affects, and how to undo it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from .case import Case
from .history import Floats, Mask
from .places import Place


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A change of one kind.

    `words` completes "COLUMN ..." (`is in °C, was °F`); `affected` marks the rows meant; `strength` is how many
    times its statistic exceeds the worst past window; `holds` tests it on a part of the rows; `undo` gives the
    case without it; `exact` says that undoing gives the true values back (else other values stand in);
    `crisp` that usual rows practically never look like this; `rivals` are other explanations that fit as well.
    """

    kind: str
    form: str
    columns: tuple[str, ...]
    words: str
    affected: Mask
    place: Place
    strength: float
    undo: Callable[[Case], Case]
    holds: Callable[[Mask], bool]
    exact: bool = False
    crisp: bool = False
    fix: str = ""
    proof: str = ""
    rivals: tuple[str, ...] = ()
    facts: dict[str, object] = field(default_factory=dict)


def rate_holds(hits: Mask, share: float, base: float) -> Callable[[Mask], bool]:
    """A part holds where hits are more frequent than in the worst past window and not far under the whole."""

    def holds(part: Mask) -> bool:
        rate = float(hits[part].mean()) if part.any() else 0.0
        return rate > base and rate >= 0.4 * share

    return holds


def put_draws(columns: tuple[str, ...], affected: Mask, among: Sequence[str] = ()) -> Callable[[Case], Case]:
    """Undo by other values: those of past rows of the same hour; `among`: only rows with these values."""

    def undo(case: Case) -> Case:
        return case.with_now(case.drawn(columns, affected, among))

    return undo


def put_numbers(column: str, affected: Mask, back: Floats) -> Callable[[Case], Case]:
    """Undo by the true numbers of the affected rows; whole numbers become numbers, which score alike."""

    def undo(case: Case) -> Case:
        undone = np.where(affected, back, case.numbers(column))
        return case.with_now(case.now.with_columns(pl.Series(column, undone).fill_nan(None)))

    return undo


def put_words(column: str, affected: Mask, mapping: dict[str, str]) -> Callable[[Case], Case]:
    """Undo by giving values their old names, in the affected rows."""

    def undo(case: Case) -> Case:
        value = pl.col(column).cast(pl.String)
        changed = pl.when(pl.lit(pl.Series(affected))).then(value.replace(mapping)).otherwise(value)
        kind = case.now.schema[column]
        changed = changed == "true" if kind == pl.Boolean else changed.cast(kind)
        return case.with_now(case.now.with_columns(changed.alias(column)))

    return undo


def percent(share: float) -> str:
    """`34 %`, `0.5 %`: a share in words."""
    return f"{100 * share:.0f} %" if share >= 0.095 or share == 0 else f"{100 * share:.1f} %"


def plain(value: float) -> str:
    """A number as people write it: -999, 0.45, 1.61."""
    return f"{value:.6g}"

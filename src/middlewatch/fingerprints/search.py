"""The search: every fingerprint proposes, own history and the undo test dispose, and what is explained is undone
before the next look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

import middlewatch.fingerprints.categories as categories
import middlewatch.fingerprints.drift as drift
import middlewatch.fingerprints.fill as fill
import middlewatch.fingerprints.garbled as garbled
import middlewatch.fingerprints.nulls as nulls
import middlewatch.fingerprints.precision as precision
import middlewatch.fingerprints.relation as relation
import middlewatch.fingerprints.rows as rows
import middlewatch.fingerprints.scale as scale
import middlewatch.fingerprints.swap as swap
import middlewatch.fingerprints.thresholds as limits
import middlewatch.fingerprints.times as times

from .candidate import Candidate
from .case import Case
from .cause import ORDER, Cause, Confidence
from .effect import effect_of, shift
from .history import Mask
from .places import in_parts

Idea = Callable[[Case], Iterator[Candidate]]
IDEAS: tuple[Idea, ...] = (
    swap.fingerprints,
    categories.fingerprints,
    garbled.fingerprints,
    scale.fingerprints,
    precision.rounded,
    times.fingerprints,
    precision.clipped,
    fill.fingerprints,
    nulls.fingerprints,
    rows.fingerprints,
    relation.fingerprints,
)
"""In order of certainty: of two explanations of the same rows the earlier one wins."""
_TOGETHER = frozenset({"nulls", "fill", "time"})
"""Kinds that hit several columns of one feed at once."""


@dataclass(frozen=True)
class Search:
    """`causes` in order of certainty; `harmless`: changes without effect on predictions; `shapes`: distance of
    each column to its history, in units of its worst past window; `moved`: the same for the predictions."""

    causes: tuple[Cause, ...]
    harmless: tuple[Cause, ...]
    shapes: dict[str, float]
    moved: float
    not_seen: tuple[str, ...]
    rest: dict[str, float] = field(default_factory=dict)


def search(case: Case) -> Search:
    """All causes of what is unusual in `case.now`. Needs thresholds.MIN_PAST past windows (else finds nothing)."""
    usable = sum(one.height >= limits.MIN_ROWS for one in case.history.windows)
    if usable < limits.MIN_PAST or case.rows < limits.MIN_ROWS:
        return Search((), (), {}, 0.0, ())
    numbered = case.with_now(case.now.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("mw.row")))
    current = numbered
    causes: list[Cause] = []
    harmless: list[Cause] = []
    done: set[tuple[str, ...]] = set()
    for _ in range(2 * limits.ROUNDS):
        tested = [
            one
            for one in _tested(current, numbered)
            if (one[0].kind, *one[0].columns) not in done and not _left_over(one[0], [*causes, *harmless])
        ]
        if not tested or len(causes) >= limits.ROUNDS:
            break
        # What does not matter is undone all the same: it explains what would look like more.
        cause, candidate = min(tested, key=lambda one: ORDER[one[0].confidence])
        done.add((cause.kind, *cause.columns))
        (causes if cause.effect.matters else harmless).append(cause)
        current = candidate.undo(current)
        if not (candidate.exact and cause.undo_proved):
            current = replace(current, stand_ins=current.stand_ins | set(candidate.columns))
        if current.rows < limits.MIN_ROWS or len(current.history.windows) < limits.MIN_PAST:
            break
    if not causes:
        causes += _drift(numbered)
    causes.sort(key=lambda one: ORDER[one.confidence])
    columns = [c for c in case.kinds if c in case.now.columns and case.kinds[c] not in ("text", "time")]
    shapes = {column: numbered.shape(column) for column in columns}
    rest = {column: current.shape(column) for column in columns}
    return Search(tuple(causes), tuple(harmless), shapes, _moved(numbered), tuple(_not_seen(numbered, columns)), rest)


def _left_over(cause: Cause, before: Sequence[Cause]) -> bool:
    """A second cause in the same cells: what an inverse that is not quite the right one has left."""
    return any(
        set(one.columns) & set(cause.columns) and (one.affected & cause.affected).sum() >= 0.5 * cause.affected.sum()
        for one in before
    )


def _moved(case: Case) -> float:
    """Distance of the predictions to their past, in units of the worst past window."""
    worst = case.history.worst_score_shift
    return shift(case) / worst if worst else 0.0


def _tested(case: Case, whole: Case) -> list[tuple[Cause, Candidate]]:
    found = []
    for idea in IDEAS:
        for candidate in _joined(list(idea(case)), case):
            cause = _test(case, whole, candidate)
            if cause is not None:
                found.append((cause, candidate))
    return [one for k, one in enumerate(found) if not any(_explains(other[1], one[1]) for other in found[:k])]


def _explains(earlier: Candidate, later: Candidate) -> bool:
    """Rounding explains repeats, a unit explains values out of range: the earlier idea wins on a shared column
    where it covers most of the rows."""
    if not set(earlier.columns) & set(later.columns) or len(earlier.affected) != len(later.affected):
        return False
    return bool((earlier.affected & later.affected).sum() >= 0.75 * later.affected.sum())


def _joined(candidates: Sequence[Candidate], case: Case) -> list[Candidate]:
    """One candidate where several columns changed in the same way in the same rows."""
    kept: list[Candidate] = []
    for one in candidates:
        for k, other in enumerate(kept):
            if (
                one.form == other.form
                and one.kind in _TOGETHER
                and one.kind == other.kind
                and one.columns[0] not in other.columns
                and _overlap(one.affected, other.affected) >= limits.JOINED
            ):
                kept[k] = _both(other, one)
                break
        else:
            kept.append(one)
    return kept


def _overlap(a: Mask, b: Mask) -> float:
    either = int((a | b).sum())
    return float((a & b).sum()) / either if either else 0.0


def _both(a: Candidate, b: Candidate) -> Candidate:
    return replace(
        a,
        columns=a.columns + b.columns,
        undo=lambda case: b.undo(a.undo(case)),
        holds=lambda part: a.holds(part) and b.holds(part),
        crisp=a.crisp and b.crisp,
        facts={**a.facts, "also": [*a.facts.get("also", []), f"{b.columns[0]} {b.words}"]},  # type: ignore[misc]
    )


def _test(case: Case, whole: Case, candidate: Candidate) -> Cause | None:
    """The candidate as a cause with its confidence, or None where a test fails."""
    if (
        not candidate.affected.any()
        or candidate.strength < limits.BEYOND
        or not in_parts(candidate.place, candidate.holds)
    ):
        return None
    after = candidate.undo(case)
    if after.rows < limits.MIN_ROWS:
        return None
    inside = max((after.shape(c) for c in candidate.columns if case.kinds.get(c) not in ("text", "time")), default=0.0)
    was = max((case.shape(c) for c in candidate.columns if case.kinds.get(c) not in ("text", "time")), default=0.0)
    enough = limits.BEYOND
    if candidate.exact:  # what its own values prove may have had an unusual day besides
        enough = limits.STANDS if candidate.crisp else limits.INSIDE
    if candidate.columns and candidate.kind != "rows" and inside > enough and inside > 0.5 * was:
        return None  # what is left of the column is as odd as it was: something else happened to it
    # A shape of 1 is that of the worst past window: what stays within it is no rest of a fault.
    rest = max(inside - 1.0, 0.0) / (was - 1.0) if candidate.exact and was > 1.0 else 0.0
    effect = effect_of(case, after, candidate.affected, other_rows=candidate.kind == "rows")
    back = inside <= limits.INSIDE and effect.back
    proved = back and candidate.crisp and (candidate.exact or candidate.strength >= 3.0) and not candidate.rivals
    confidence: Confidence = "certain" if proved else "likely"
    origin = np.zeros(whole.rows, bool)
    origin[case.now["mw.row"].to_numpy()[candidate.affected]] = True
    since, from_start = _since(whole, origin)
    return Cause(
        kind=candidate.kind,
        form=candidate.form,
        columns=candidate.columns,
        detail=_detail(candidate),
        confidence=confidence,
        affected=origin,
        since=since,
        from_start=from_start,
        slice=_slice(case, candidate),
        effect=effect,
        fix=candidate.fix,
        undo_proved=bool(proved),
        strength=float(candidate.strength),
        examples=_examples(case, after, candidate),
        proof=candidate.proof + (f"; {100 * rest:.0f} % of its shift is not explained" if rest >= 0.005 else ""),
        rivals=candidate.rivals,
        facts=candidate.facts | ({"unexplained": round(rest, 3)} if candidate.exact else {}),
        corrected=_corrected(case, after, candidate),
    )


def _corrected(case: Case, after: Case, candidate: Candidate) -> pl.DataFrame:
    """The affected rows, and their columns as they should be where not only other values stand in."""
    known = candidate.exact and after.rows == case.rows
    source = after.now if known else case.now
    return source.select("mw.row", *(candidate.columns if known else ())).filter(pl.Series(candidate.affected))


def _detail(candidate: Candidate) -> str:
    name = (
        " and ".join(candidate.columns)
        if len(candidate.columns) <= 2
        else f"{candidate.columns[0]} and {len(candidate.columns) - 1} more columns"
    )
    if candidate.form == "swapped":
        name = candidate.columns[0]
    return f"{name} {candidate.words}".strip()


def _since(whole: Case, affected: Mask) -> tuple[Any, bool]:
    rows = np.flatnonzero(affected)
    if not len(rows):
        return None, False
    first = int(rows[0])
    since = whole.now["mw.time"][first] if "mw.time" in whole.now.columns else None
    # Affected rows are seldom the very first ones: expect one after 1/share rows.
    share = len(rows) / (whole.rows - first)
    return since, first * share < 3.0


def _slice(case: Case, candidate: Candidate) -> tuple[str, str] | None:
    """The group with precision and recall of at least 0.9 for the affected rows, since onset."""
    since = np.arange(case.rows) >= candidate.place.onset
    affected = candidate.affected & since
    if affected.sum() >= limits.SLICE * since.sum():
        return None
    if candidate.place.slice is not None:
        rows = case.slices[candidate.place.slice] & since
        if affected[rows].mean() >= limits.SLICE * 0.5 and (affected & rows).sum() >= limits.SLICE * affected.sum():
            return candidate.place.slice
    for named, mask in case.slices.items():
        if named[0] in candidate.columns:
            continue
        rows = mask & since
        both = int((rows & affected).sum())
        if both >= limits.SLICE * max(int(rows.sum()), 1) and both >= limits.SLICE * affected.sum():
            return named
    return None


def _examples(case: Case, after: Case, candidate: Candidate) -> tuple[dict[str, Any], ...]:
    if not candidate.columns or after.rows != case.rows:
        return ()
    shown = []
    for row in np.flatnonzero(candidate.affected)[:5]:
        example: dict[str, Any] = {}
        if "mw.id" in case.now.columns:
            example["id"] = case.now["mw.id"][int(row)]
        example["came"] = {c: case.now[c][int(row)] for c in candidate.columns}
        if candidate.exact:
            example["undone"] = {c: after.now[c][int(row)] for c in candidate.columns}
        shown.append(example)
    return tuple(shown)


def _drift(case: Case) -> list[Cause]:
    """What is said where no kind fits: the column to look at, never more than possible."""
    candidate = drift.unnamed(case, _moved(case))
    if candidate is None:
        return []
    after = candidate.undo(case)
    since, from_start = _since(case, candidate.affected)
    return [
        Cause(
            kind=candidate.kind,
            form=candidate.form,
            columns=candidate.columns,
            detail=_detail(candidate),
            confidence="possible",
            affected=candidate.affected,
            since=since,
            from_start=from_start,
            slice=_slice(case, candidate),
            effect=replace(effect_of(case, after, candidate.affected), matters=True),
            fix=candidate.fix,
            strength=float(candidate.strength),
            proof=candidate.proof,
        )
    ]


def _not_seen(case: Case, columns: Sequence[str]) -> Iterator[str]:
    """What would have been missed: nothing is ruled out without the power to see it."""
    worst = {column: float(case.past(column).nulls.max(initial=0.0)) for column in columns}
    least = {column: limits.BEYOND * share + limits.RATE_FLOOR for column, share in worst.items()}
    weak = sorted((column for column in columns if least[column] > 0.03), key=lambda one: -least[one])
    if weak:
        said = [f"{100 * least[one]:.0f} % of {one} (past days had up to {100 * worst[one]:.0f} %)" for one in weak[:3]]
        more = f" and of {len(weak) - 3} more columns" if len(weak) > 3 else ""
        yield f"nulls in under {', '.join(said)}{more}"

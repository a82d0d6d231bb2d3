"""A column that no longer goes with its best partner: rows joined wrongly, values shuffled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, put_draws
from .case import NUMBERS, Case, History
from .history import Floats, Ints, Mask
from .places import locate, span

_WIDTH = 32


def association(a: Ints, b: Ints) -> float:
    """Cramér's V of two code columns, corrected for chance; 0 where one is constant."""
    table = np.bincount(a * _WIDTH + b, minlength=_WIDTH * _WIDTH).reshape(_WIDTH, _WIDTH).astype(float)
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    n, (r, c) = table.sum(), table.shape
    if n < limits.MIN_ROWS or r < 2 or c < 2:
        return 0.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / n
    phi = float(((table - expected) ** 2 / expected).sum() / n)
    phi = max(phi - (r - 1) * (c - 1) / (n - 1), 0.0)
    return float(np.sqrt(phi / min(r - 1, c - 1)))


def fingerprints(case: Case) -> Iterator[Candidate]:
    # A column whose own distribution changed is another fingerprint's business.
    columns = [
        c for c in case.columns(NUMBERS | {"category"}) if case.shape(c) <= limits.BEYOND and c not in case.stand_ins
    ]
    half = np.arange(case.rows) >= case.rows // 2
    coded = {c: case.coded(c) for c in columns}
    broken: dict[str, list[tuple[float, str, float, float]]] = {}
    intact: dict[str, int] = dict.fromkeys(columns, 0)
    for k, a in enumerate(columns):
        for b in columns[k + 1 :]:
            whole, late = case.history.kept(("relation", a, b), partial(_relations, case.history, a, b))
            if not whole:
                continue
            ours, others = coded[a], coded[b]
            told = [_fall(association(ours, others), whole), _fall(association(ours[half], others[half]), late)]
            fall, now, least = max(told)
            if fall > limits.RELATION_FALLS and now * limits.BEYOND < least:
                for one, other in ((a, b), (b, a)):
                    broken.setdefault(one, []).append((least - now, other, now, least))
            else:
                intact[a] += 1
                intact[b] += 1
    if not broken:
        return
    # The culprit has lost most of its relations; its partners have kept their others.
    column = max(
        broken, key=lambda c: (len(broken[c]) / (len(broken[c]) + intact[c]), sum(one[0] for one in broken[c]))
    )
    _, partner, now, usual = max(broken[column])
    yield from _candidate(case, column, partner, now, usual)


def _relations(history: History, a: str, b: str) -> tuple[list[float], list[float]]:
    """The association of two columns in each past window, and in its second half; nothing where it is weak."""
    window = history.pooled["mw.window"].to_numpy()
    mine, theirs = history.codes(a), history.codes(b)
    sample = window % max(len(history.windows) // 4, 1) == 0
    if association(mine[sample], theirs[sample]) < limits.RELATION:
        return [], []
    bounds = list(pairwise(np.searchsorted(window, np.arange(len(history.windows) + 1))))
    whole = [association(mine[low:high], theirs[low:high]) for low, high in bounds]
    if min(whole) < limits.RELATION:
        return [], []
    return whole, [
        association(mine[(low + high) // 2 : high], theirs[(low + high) // 2 : high]) for low, high in bounds
    ]


def _fall(now: float, before: Sequence[float]) -> tuple[float, float, float]:
    """How far the association fell, in units of its deepest fall from the usual in the past; now; the least before."""
    usual, least = float(np.median(before)), min(before)
    return (usual - now) / max(usual - least, 0.05), now, least


def _candidate(case: Case, column: str, partner: str, now: float, usual: float) -> Iterator[Candidate]:
    mine, theirs = case.history.codes(column), case.history.codes(partner)
    joint = np.bincount(mine * _WIDTH + theirs, minlength=_WIDTH * _WIDTH).reshape(_WIDTH, _WIDTH) + 0.05
    joint = joint / joint.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    logs: Floats = np.log(apart / joint)
    evidence = logs[case.coded(column), case.coded(partner)]
    place = locate(case, evidence, exclude={column, partner})
    if place is None or place.rows < span(case):
        return
    cut = np.clip(evidence, -limits.CLIP, limits.CLIP)

    def holds(part: Mask) -> bool:
        return bool(part.any()) and float(cut[part].mean()) > 0

    affected = place.mask & ~case.missing(column)
    yield Candidate(
        kind="relation",
        form="relation",
        columns=(column,),
        words=f"no longer goes with {partner}: association {now:.2f}, never under {usual:.2f} before",
        affected=affected,
        place=place,
        strength=usual / max(now, 0.01),
        undo=put_draws((column,), affected),
        holds=holds,
        fix=f"check how {column} is joined to its row",
        proof=f"{column} alone looks as always; its rows do not fit",
        facts={"partner": partner},
    )

"""A column that no longer goes with its best partner: rows joined wrongly, values shuffled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import thresholds as limits
from .candidate import Candidate, put_draws
from .case import NUMBERS, Case
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
    columns = [c for c in case.columns(NUMBERS | {"category"}) if c in case.history.pooled.columns]
    window = case.history.pooled["mw.window"].to_numpy()
    sample = window % max(len(case.history.windows) // 4, 1) == 0
    broken: dict[str, tuple[str, float, float]] = {}
    for column in columns:
        if case.shape(column) > limits.BEYOND:
            continue  # its own distribution changed: another fingerprint's business
        mine = case.history.codes(column)
        rough = {o: association(mine[sample], case.history.codes(o)[sample]) for o in columns if o != column}
        for partner in sorted(rough, key=lambda name: -rough[name])[:2]:
            if rough[partner] < limits.RELATION:
                continue
            theirs = case.history.codes(partner)
            usual = min(association(mine[window == w], theirs[window == w]) for w in range(len(case.history.windows)))
            if usual < limits.RELATION:
                continue
            half = np.arange(case.rows) >= case.rows // 2
            ours, other = case.history.coded(case.now, column), case.history.coded(case.now, partner)
            now = min(association(ours, other), association(ours[half], other[half]))
            if now * limits.BEYOND < 0.8 * usual:
                broken.setdefault(column, (partner, now, usual))
    for column, (partner, now, usual) in broken.items():
        # The culprit is the column that lost most partners: skip one whose partner lost another as well.
        if broken.get(partner, ("", 0, 0))[0] == column or sum(p == column for p, _, _ in broken.values()) >= 1 or len(broken) == 1:
            yield from _candidate(case, column, partner, now, usual)


def _candidate(case: Case, column: str, partner: str, now: float, usual: float) -> Iterator[Candidate]:
    mine, theirs = case.history.codes(column), case.history.codes(partner)
    joint = np.bincount(mine * _WIDTH + theirs, minlength=_WIDTH * _WIDTH).reshape(_WIDTH, _WIDTH) + 0.05
    joint = joint / joint.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    logs: Floats = np.log(apart / joint)
    evidence = logs[case.history.coded(case.now, column), case.history.coded(case.now, partner)]
    place = locate(case, evidence, exclude={column, partner})
    if place is None or place.rows < span(case):
        return
    cut = np.clip(evidence, -limits.CLIP, limits.CLIP)

    def holds(part: Mask) -> bool:
        return bool(part.any()) and float(cut[part].mean()) > 0

    affected = place.mask & ~case.missing(column)
    yield Candidate(
        kind="relation", form="relation", columns=(column,),
        words=f"no longer goes with {partner}: association {now:.2f}, never under {usual:.2f} before", affected=affected, place=place,
        strength=0.8 * usual / max(now, 0.01), undo=put_draws((column,), affected), holds=holds,
        fix=f"check how {column} is joined to its row", proof=f"{column} alone looks as always; its rows do not fit",
        facts={"partner": partner},
    )  # fmt: skip

"""Where and since when: the part of the window that a fingerprint's own evidence points to.

Evidence is one log likelihood ratio a row ("affected" against "as always"). The part is the suffix of a slice
(all rows, one caller, one version, one category value) that maximises its sum: a likelihood-ratio scan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .case import Case
from .history import Floats, Mask, worst_stretch


@dataclass(frozen=True)
class Place:
    """`mask`: the rows meant; `onset`: index of the first of them; `slice`: (column, value) or None for all rows."""

    mask: Mask
    onset: int
    slice: tuple[str, str] | None
    gain: float

    @property
    def rows(self) -> int:
        return int(self.mask.sum())


def locate(case: Case, evidence: Floats, *, exclude: Collection[str] = (), slices: bool = True) -> Place | None:
    """The suffix of a slice with the most evidence, None where no part speaks for the change.

    `exclude`: columns whose values may not name the slice (the changed column itself).
    """
    cut = np.clip(np.nan_to_num(evidence), -limits.CLIP, limits.CLIP)
    best = _suffix(cut, np.ones(case.rows, bool), None)
    if not slices or not case.slices:
        return best
    masks = case.slice_masks
    gains = np.cumsum((masks * cut)[:, ::-1], axis=1).max(axis=1)
    for k in np.argsort(-gains, kind="stable"):
        enough = limits.SLICE_GAIN + (best.gain if best is not None else 0.0)
        if gains[k] <= enough:
            break
        named = case.slice_names[k]
        if named[0] in exclude:
            continue
        other = _suffix(cut, masks[k], named)
        if other is not None and _named(cut, other, masks[k]):
            best = other
    return best


def _suffix(evidence: Floats, rows: Mask, named: tuple[str, str] | None) -> Place | None:
    sums = np.cumsum((evidence * rows)[::-1])[::-1]
    start = int(np.argmax(sums))
    gain = float(sums[start])
    mask = rows.copy()
    mask[:start] = False
    # A few rows of everyday noise before the first affected one are no reason to date the onset earlier.
    sure = np.flatnonzero(mask & (evidence > 0))
    if gain <= 0 or not len(sure):
        return None
    mask[: sure[0]] = False
    return Place(mask, int(sure[0]), named, gain)


def _named(evidence: Floats, slice_: Place, rows: Mask) -> bool:
    """Recall: outside the slice nothing much speaks for the change, at whatever rate such rows are usual."""
    elsewhere = _suffix(evidence, ~rows, None)
    return elsewhere is None or elsewhere.gain <= (1 - limits.SLICE) * slice_.gain + limits.CLIP


def bernoulli(hits: Mask, share: float, base: float) -> Floats:
    """Evidence of a yes/no indicator that is true in `share` of affected rows and in `base` of usual ones."""
    share, base = float(np.clip(share, 0.002, 0.998)), float(np.clip(base, 0.001, 0.9))
    if share <= base:
        return np.zeros(len(hits))
    for_it, against = float(np.log(share / base)), float(np.log((1 - share) / (1 - base)))
    return np.where(hits, for_it, against).astype(np.float64)


def locate_hits(
    case: Case, hits: Mask, past_hits: Sequence[Mask], *, exclude: Collection[str] = ()
) -> tuple[Place, float, float] | None:
    """Place, share of hits there, and the worst share of any stretch of as many rows in a past window.

    None where the share does not beat own history (thresholds.BEYOND and RATE_FLOOR), or where it rests on
    too few or too closely packed rows.
    """
    if int(hits.sum()) < limits.RATE_ROWS:
        return None
    found = _beyond(case, hits, past_hits, exclude, slices=True)
    if found is None:
        found = _beyond(case, hits, past_hits, exclude, slices=False)
    return found


def _beyond(
    case: Case, hits: Mask, past_hits: Sequence[Mask], exclude: Collection[str], *, slices: bool
) -> tuple[Place, float, float] | None:
    base = max((float(one.mean()) for one in past_hits if len(one)), default=0.0)
    share = max(float(hits.mean()), 1.05 * base + limits.RATE_FLOOR)
    place = locate(case, bernoulli(hits, share, base), exclude=exclude, slices=slices)
    for _ in range(2):  # the share inside the part sharpens the scan, which sharpens the part
        if place is not None:
            share = float(hits[place.mask].mean())
            place = locate(case, bernoulli(hits, share, base), exclude=exclude, slices=slices)
    if place is None or int(hits[place.mask].sum()) < limits.RATE_ROWS or place.rows < span(case):
        return None
    share = float(hits[place.mask].mean())
    base = worst_stretch(past_hits, place.rows, case.rows)
    if place.slice is not None:
        # Carriers, countries and callers differ by nature: a slice is judged by its own past where it has one.
        rows = int(case.slices[place.slice].sum())
        base = max(base, worst_stretch(_of_slice(case, past_hits, place.slice), place.rows, rows))
    sure = share - limits.SURE * float(np.sqrt(share * (1 - share) / place.rows))
    return (place, share, base) if sure > limits.BEYOND * base + limits.RATE_FLOOR / 2 else None


def _of_slice(case: Case, past_hits: Sequence[Mask], named: tuple[str, str]) -> list[Mask]:
    masks = case.history.slice(*named)
    parts = [hits[mask] for mask, hits in zip(masks, past_hits, strict=False) if len(hits) == len(mask)]
    return [one for one in parts if len(one) >= limits.RATE_ROWS]


def span(case: Case) -> int:
    """Rows that a change must cover in a window of this size."""
    return min(limits.SPAN_ROWS, max(case.rows // 8, limits.RATE_ROWS))


def in_parts(place: Place, holds: Callable[[Mask], bool]) -> bool:
    """True where the change holds in both halves since onset and in 3 of 4 blocks: not one burst."""
    rows = np.flatnonzero(place.mask)
    size = len(place.mask)

    def part(indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Mask:
        mask = np.zeros(size, bool)
        mask[indices] = True
        return mask

    halves = [holds(part(one)) for one in np.array_split(rows, 2)]
    blocks = [holds(part(one)) for one in np.array_split(rows, 4)]
    return all(halves) and sum(blocks) >= 3

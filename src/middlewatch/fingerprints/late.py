"""Rows that came long after they happened: a queue that stood, a batch of yesterday, a caller's clock that is wrong.

The idea: the log holds of every row when it happened and when it was received. How far the two lie apart usually,
own history says; rows that lie further apart than nearly all past rows came late, and a scan finds whose they are and
since when. A clock or zone that is wrong delays every row by one amount, a queue or a batch does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from .case import Case, History
from .history import Floats, Mask
from .places import Place, locate_hits

NEEDED = frozenset({"mw.time", "mw.received"})
ZONES = 26 * 3600.0
"""Seconds between the two zones that are farthest apart, UTC-12 and UTC+14."""


@dataclass(frozen=True)
class Late:
    """`affected` rows of the case came late, `share` of those in `place`, where no past stretch had more than `base`.

    `typical` and `longest` are their delays in seconds, `usual` is what 99 % of past rows stayed under. `off`: by how
    many seconds the clock of their sender is behind, where all came late by one amount; None where they did not.
    """

    affected: Mask
    place: Place
    share: float
    base: float
    typical: float
    longest: float
    usual: float
    off: float | None

    @property
    def zone(self) -> bool:
        """Whether the clock is off by whole quarters of an hour, as zones are, and by no more than they are."""
        return self.off is not None and self.off % limits.LATE == 0.0 and self.off <= ZONES


def late(case: Case) -> Late | None:
    """The rows that came later after their time than nearly all past rows; None where none did, or the past is short.

    Rows that nobody sent to a server (imported, scored together) may not be in the case, now or in the past.
    """
    past = [one for one in case.history.windows if one.height >= limits.MIN_ROWS and set(one.columns) >= NEEDED]
    if len(past) < limits.MIN_PAST or not set(case.now.columns) >= NEEDED or case.rows < limits.MIN_ROWS:
        return None
    case = replace(case, history=History(past, case.kinds))
    now, before = delays(case.now), [delays(one) for one in past]
    known = np.concatenate(before)
    known = known[np.isfinite(known)]
    if len(known) < limits.MIN_ROWS:
        return None
    # One row in a hundred is everyday dirt, in how late it comes as well.
    usual = float(np.quantile(known, 1.0 - limits.RATE_FLOOR))
    limit = max(limits.BEYOND * usual, usual + limits.LATE)
    found = locate_hits(case, now > limit, [one > limit for one in before])
    if found is None:
        return None
    place, share, base = found
    affected = (now > limit) & place.mask
    theirs = now[affected]
    return Late(affected, place, share, base, float(np.median(theirs)), float(theirs.max()), usual, _off(theirs, known))


def delays(frame: pl.DataFrame) -> Floats:
    """Seconds from when each row happened to when it was received, NaN where either is not known."""
    micros = (pl.col("mw.received") - pl.col("mw.time")).dt.total_microseconds().cast(pl.Float64).fill_null(np.nan)
    values: Floats = frame.select(micros).to_series().to_numpy() / 1e6
    return values


def _off(theirs: Floats, past: Floats) -> float | None:
    """Seconds that a clock is behind where all delays are as spread as ever and only moved; None where they are not."""
    spread = float(np.subtract(*np.quantile(theirs, [0.95, 0.05])))
    usual = float(np.subtract(*np.quantile(past, [0.95, 0.05])))
    # Where delays are spread over half a quarter of an hour they are near to some whole quarter anyway.
    if spread > min(max(limits.CLOCK, limits.BEYOND * usual), limits.LATE / 2):
        return None
    off = float(np.median(theirs) - np.median(past))
    whole = round(off / limits.LATE) * limits.LATE
    return whole if abs(off - whole) <= limits.CLOCK else off

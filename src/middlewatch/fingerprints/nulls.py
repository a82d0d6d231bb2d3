"""More nulls than in any stretch of as many rows in any past window."""

from __future__ import annotations

from collections.abc import Iterator

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, percent, put_draws, rate_holds
from .case import NUMBERS, WORDS, Case
from .places import locate_hits


def fingerprints(case: Case) -> Iterator[Candidate]:
    for column in case.columns(NUMBERS | WORDS | {"time"}):
        hits = case.missing(column)
        before = case.history.missing(column)
        found = locate_hits(case, hits, before, exclude={column})
        if found is None:
            continue
        place, share, base = found
        affected = hits & place.mask
        words = f"is null in {percent(share)} of rows, at most {percent(base)} before"
        yield Candidate(
            kind="nulls",
            form="nulls",
            columns=(column,),
            words=words,
            affected=affected,
            place=place,
            strength=share / (base + limits.RATE_FLOOR),
            undo=put_draws((column,), affected),
            holds=rate_holds(hits, share, base),
            crisp=base < 0.2 * share,
            fix=f"ask who supplies {column}",
            proof=f"at most {percent(base)} of as many rows were null before",
        )

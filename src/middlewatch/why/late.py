"""Rows of a span that were received long after they happened, beside the delays of past days, in words."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..fingerprints import Case, Cause, History
from ..fingerprints.candidate import percent
from ..fingerprints.effect import Effect
from ..fingerprints.late import Late, late
from ..predictions import FILED
from .rows import Span

TRAINING = "training"


def look(span: Span) -> Cause | None:
    """Late rows as a cause that explains no prediction, None where no row came later than ever.

    Rows that were imported or scored together came when somebody ran that, and say nothing; nor do days of them.
    """
    sent = _sent(span.rows)
    kinds = {name: kind for name, kind in span.kinds.items() if name in span.rows.columns}
    past = [one.filter(pl.Series(_sent(one))) for one in span.past]
    found = late(Case(span.rows.filter(pl.Series(sent)), History(past, kinds)))
    if found is None:
        return None
    affected = np.zeros(span.rows.height, bool)
    affected[np.flatnonzero(sent)[found.affected]] = True
    touched = span.rows.filter(pl.Series(affected))
    rows = round(int(affected.sum()) * span.total / span.rows.height)
    return Cause(
        kind="rows",
        form="late",
        columns=(),
        detail=f"{percent(float(affected.mean()))} of rows {_words(found)}",
        confidence="certain",
        affected=affected,
        since=touched["mw.time"][0],
        from_start=found.place.onset == 0,
        slice=found.place.slice,
        effect=Effect(rows, matters=False),
        strength=found.typical / max(found.usual, 1.0),
        fix=_fix(found),
        proof=f"{len(past)} past days: 99 % of rows came within {duration(found.usual)}",
        facts={
            "rows": rows,
            "seconds": round(found.typical, 3),
            "seconds_most": round(found.longest, 3),
            "seconds_usual": round(found.usual, 3),
            "clock_off_seconds": None if found.off is None else round(found.off, 3),
        },
    )


def _sent(frame: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Rows that somebody sent to a server: only those were received as they came."""
    if not {"mw.server", "mw.caller"} <= set(frame.columns):
        return np.zeros(frame.height, bool)
    server = pl.col("mw.server")
    filed = pl.any_horizontal(*(server.str.starts_with(one) for one in FILED))
    sent = server.is_not_null() & ~filed & (pl.col("mw.caller").fill_null("") != TRAINING)
    return frame.select(sent.fill_null(value=False)).to_series().to_numpy()


def _words(found: Late) -> str:
    usual = f"usually within {duration(found.usual)}"
    if found.off is None:
        return f"came {duration(found.typical)} after they happened, up to {duration(found.longest)}; {usual}"
    what = "clock or zone" if found.zone else "clock"
    return f"came {duration(found.off)} late, all by the same, as from a {what} that is behind; {usual}"


def _fix(found: Late) -> str:
    if found.off is None:
        return "find out what held these rows back: a queue that stood, or a batch of older rows"
    what = "time zone or clock" if found.zone else "clock"
    return f"the sender's {what} is {duration(found.off)} behind: set it right"


def duration(seconds: float) -> str:
    """`0.2 s`, `12 min`, `3.5 h`, `2 days`: a time in words; never under a tenth of a second."""
    for size, unit in ((172_800.0, "days"), (5_400.0, "h"), (90.0, "min")):
        if seconds >= size:
            return f"{seconds / {'days': 86_400.0, 'h': 3_600.0, 'min': 60.0}[unit]:.3g} {unit}"
    return f"{max(seconds, 0.1):.2g} s"

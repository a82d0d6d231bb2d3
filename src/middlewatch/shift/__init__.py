"""Has something moved, more than it ever moves by itself? Profiles in, numbers out.

Days differ from one another far more than sampling says (32 times, on flights), so no p-value and no fixed
threshold is right. Each signal of each column (a *channel*) is held against its own worst of the last 90
windows, and one line over all channels is learnt from how high the highest used to come.

    Facts      what the channels read of one column of one window, cut from a stored ColumnProfile
    Cut        the bins of a column: quantiles, heavy atoms, top categories; made anew every 28 windows
    channels   shape, level, null, novelty, whole, alike, ...: one number each, about 1 where nothing changed
    score      log(value / its worst of the last 90 windows)
    M, P       the highest score now; the highest that holds for two windows
    Watch      the fold over windows in order: `look` judges one, `step` learns it

Pure: no disk, no clock, no chance. The same windows in the same order give the same verdicts.
"""

from __future__ import annotations

from .channels import (
    LABEL,
    MIN_ROWS,
    PREDICTION,
    SAMPLE,
    SCORE,
    Cut,
    Facts,
    alarm_line,
    cut,
    facts_of,
    facts_of_column,
    rate,
    shape,
)
from .length import DAY, HOUR, LENGTHS, WEEK, Length
from .reading import Reading, Verdict
from .watch import FIRM, HISTORY, LEARN, MIN_REFERENCE, RECUT, REFERENCE, ROWS, Watch
from .words import moved_by

__all__ = [
    "DAY",
    "FIRM",
    "HISTORY",
    "HOUR",
    "LABEL",
    "LEARN",
    "LENGTHS",
    "MIN_REFERENCE",
    "MIN_ROWS",
    "PREDICTION",
    "RECUT",
    "REFERENCE",
    "ROWS",
    "SAMPLE",
    "SCORE",
    "WEEK",
    "Cut",
    "Facts",
    "Length",
    "Reading",
    "Verdict",
    "Watch",
    "alarm_line",
    "cut",
    "facts_of",
    "facts_of_column",
    "moved_by",
    "rate",
    "shape",
]

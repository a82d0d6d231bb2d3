"""Every number a fingerprint compares with, in one place, each with its reason.

None was fitted to a data set: each follows from an idea, and `bench/faults` measures what they give on
data that they were not written for.
"""

from __future__ import annotations

from typing import Final

# -- history ---------------------------------------------------------------------------------------------
MIN_PAST: Final = 16
"""Windows of own history that a statement about "usual" needs; under it only facts are told."""
MIN_ROWS: Final = 30
"""Rows, or non-null values, below which a distribution has no shape to speak of."""
BEYOND: Final = 1.3
"""A statistic must beat this multiple of its worst past window: natural days differ by far more than chance,
so only own history is a yardstick, and the maximum of some weeks is itself exceeded by a little now and then."""
INSIDE: Final = 1.15
"""After the inverse, a distance up to this multiple of the worst past window counts as back inside history."""
SHAPE_FLOOR: Final = 0.01
"""Smallest noise-corrected squared Hellinger distance that can matter (a 10 % change of the mass of a
fifth of the rows): history of a constant column has a worst distance of 0, and 0 times 1.3 is 0."""

RATIO_FLOOR: Final = 0.03
"""Smallest |log factor| between typical sizes that is worth a word: 3 %."""

# -- indicators (is this row affected?) ------------------------------------------------------------------
RATE_FLOOR: Final = 0.01
"""Added to the worst past rate before it must be beaten: one row in a hundred is everyday dirt."""
SURE: Final = 1.64
"""Standard errors by which a share must be beyond, so that a small window's luck is not taken for a change."""
RATE_ROWS: Final = 8
"""Fewer affected rows than this are an anecdote."""
SPAN_ROWS: Final = 60
"""Rows since onset that the affected part must cover, so that one burst at the end of a window (an hour of
bad weather, one batch) is not a change."""
PRESENT: Final = 0.98
"""Share of the rows since onset from which "all of them" is said."""
JOINED: Final = 0.9
"""Overlap (Jaccard) of affected rows from which two columns have one cause."""
SLICE: Final = 0.9
"""Precision and recall from which a slice is named."""
SLICE_GAIN: Final = 6.0
"""Log likelihood (nats) that a slice must add over "all rows since onset": some hundred slices are tried."""
CLIP: Final = 3.0
"""Log likelihood ratio of one row is cut here: one odd value must not date an onset."""

# -- value lattice ---------------------------------------------------------------------------------------
LATTICE_NOVELTY: Final = 0.2
"""A column whose own past windows bring more than this share of values never seen elsewhere has no lattice."""
LATTICE_MATCH: Final = 0.9
"""Share of the usual match rate that values must reach after the right inverse."""
LATTICE_DISTINCT: Final = 6
"""Distinct values that must agree: one or two stray values always fit some map."""
LATTICE_CONTROL: Final = 0.5
"""Where slightly wrong factors match this share of values too, the lattice is too dense to prove anything."""

# -- kinds -----------------------------------------------------------------------------------------------
LOST_EXPECTED: Final = 12
"""Rows of a value that even its rarest past window leads to expect, before its absence says anything
(a Poisson count of 12 is zero once in 160,000 windows)."""
VOLUME: Final = 1.25
"""Traffic within this factor of the usual is no news, however even it was (the monitor's line, too)."""
SAME_WEEKDAY: Final = 3
"""Days of one weekday from which a weekday is held against its own kind; with fewer, against all days."""
LATE: Final = 900.0
"""Seconds beyond what is usual from which a row came late: windows are made of hours and rows are counted by quarters
of an hour, so less puts few rows where they do not belong. Zones differ by whole quarters."""
CLOCK: Final = 60.0
"""Seconds within which delays are the same: a clock that is set wrong is wrong by one amount, and nobody sets one to
less than the minute, while a queue that stood or a batch delays its first rows longer than its last."""
NEW_SHARE: Final = 0.025
"""A category never seen before is a cause from this share of rows on; under it, it is everyday life."""
STANDS: Final = 2.0
"""A constant must last this many times the longest run of one value in the past, and a default be kept up by this
many times the share: half a day of fog, a calm night are records too, and no faults."""
RUNS: Final = 0.1
"""How much more often than by chance a row repeats the value before it, from which a column comes in runs."""
FREQUENT: Final = 0.25
"""A value with more than this share of the past is no burst but how the column is."""
SPIKE_SHARE: Final = 0.02
"""Share of rows that one value must gain before it is a spike."""
FAR: Final = 0.05
"""How far outside everything seen (as a share of its range) is more than a record."""
OUT: Final = 0.15
"""How far outside everything seen nearly all values must lie, where that alone is to prove another unit."""
VERY_FAR: Final = 0.5
"""Half a range outside everything seen: where nature makes records often, it does not make such ones. A repeated
value out there is a sentinel; the well-known ones (-1, 999, ...) need only be out of range."""
GRID: Final = 0.995
"""Share of values on a coarser grid from which they are called rounded."""
RATIO_APART: Final = 1.02
"""Two factors closer than this are the same explanation."""
EVEN: Final = 0.15
"""How much a factor may differ over the quantiles of a column (as a share of its log) and be called one factor."""
STALE: Final = 3.0
"""How many times fewer distinct values than in the poorest past window is called stale."""
RELATION: Final = 0.25
"""A partner must explain this much of a column (Cramér's V in its weakest past window) to be one it can lose."""
RELATION_FALLS: Final = 3.0
"""It must fall this many times as far as it ever did: associations with the hour or the weather wander widely."""
GAIN: Final = 0.25
"""Mean log likelihood (nats a row) by which an exchange of meaning must beat "as always"."""

COMPANY: Final = 0.1
"""Information (nats a row) that the other columns must hold about a value before its rows can be said to lack it."""

# -- effect ----------------------------------------------------------------------------------------------
EFFECT_SD: Final = 0.05
"""Mean change of the score of an affected row, in standard deviations of past scores, from which it matters."""
FLIPS: Final = 0.002
"""Or this share of all decisions changed."""
DRIFT_BEYOND: Final = 1.5
"""Without a kind the shift of predictions has to speak for itself: farther than any past window by this factor."""
DRIFT_FAR: Final = 2.0
"""Without a kind, and without a shift of all predictions, a column has to be this many times as far from its past as
its worst past window: 1 of 240 clean windows of six data sets had such a column, by shape alone."""
CALENDAR: Final = 0.8
"""Share of rows in which a column follows the calendar by one distance: what remains is the zone and the night."""
DRIFT_REMOVES: Final = 0.3
"""Share of a shift of predictions that one column must remove to be named without a known kind."""
RELEASE_REMOVES: Final = 0.5
"""Share of a shift that replay on the other version must take back for a release to be the cause."""
ROUNDS: Final = 3
"""Faults looked for, one after the undoing of the other."""

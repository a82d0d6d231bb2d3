"""Clean days and planted faults, judged by the monitor's own method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from drift.faults import Change
from drift.streams import HISTORY, Stream
from middlewatch import shift
from middlewatch.shift import Watch

Planted = tuple[str, str, str, Change]


def clean_year(
    stream: Stream, budget: float, keep: set[int] | None = None
) -> tuple[list[shift.Verdict], dict[int, Watch]]:
    """Verdicts of the live days, and the Watch as it stood before the days in `keep`."""
    watch, verdicts, held = Watch(budget=budget), [], {}
    for place, (day, facts) in enumerate(zip(stream.days, stream.windows, strict=True)):
        if keep and place in keep:
            held[place] = watch.copy()
        if place >= HISTORY:
            verdicts.append(watch.look(day, facts))
        watch.step(day, facts)
    return verdicts, held


def episodes(verdicts: list[shift.Verdict]) -> int:
    """Alarms on days on end, or one clean day apart, are one."""
    alarmed = [place for place, one in enumerate(verdicts) if one.alarm]
    return sum(1 for place, before in zip(alarmed, [-9, *alarmed], strict=False) if place - before > 2)


def detection(stream: Stream, held: Mapping[int, Watch], wanted: Sequence[Planted]) -> pl.DataFrame:
    """One row per fault and onset: the day (1 to 3) of the first alarm, or null; and whether the model's P alone."""
    rows = []
    for number, (group, name, column, change) in enumerate(wanted):
        for onset, before in held.items():
            watch, seen = before.copy(), None
            for day in range(3):
                chance = np.random.default_rng([number, onset, day])
                facts = stream.faulty(onset + day, change, chance)
                if watch.look(stream.days[onset + day], facts).alarm:
                    seen = day + 1
                    break
                watch.step(stream.days[onset + day], facts)
            rows.append({"group": group, "fault": name, "column": column, "onset": onset, "day": seen})
    return pl.DataFrame(rows, schema_overrides={"day": pl.Int64})

"""Clean days and planted faults, judged by the monitor's own method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from drift.faults import ROWS, Fault
from drift.streams import HISTORY, Stream
from middlewatch import shift
from middlewatch.shift import Watch

FOUND = {"stream": pl.String, "group": pl.String, "fault": pl.String, "column": pl.String, "kind": pl.String}
Held = Mapping[int, Watch]


def clean_year(stream: Stream, budget: float, keep: Iterable[int] = ()) -> tuple[list[shift.Verdict], dict[int, Watch]]:
    """Verdicts of the live days, and the Watch as it stood before the days in `keep`."""
    watch, verdicts, held, kept = Watch(budget=budget), [], {}, set(keep)
    for place, (day, facts) in enumerate(zip(stream.days, stream.windows, strict=True)):
        if place in kept:
            held[place] = watch.copy()
        if place >= HISTORY:
            verdicts.append(watch.look(day, facts))
        watch.step(day, facts)
    return verdicts, held


def after_incident(stream: Stream, budget: float, onsets: Iterable[int], fault: Fault, *, ago: int, days: int) -> Held:
    """The Watch before each onset where `ago` days earlier a fault stayed for `days` days and nobody marked it bad."""
    held = {}
    for onset in onsets:
        first = onset - ago
        spoilt = {
            place: stream.faulty(place, fault, np.random.default_rng(place)) for place in range(first, first + days)
        }
        watch = Watch(budget=budget)
        for place in range(onset):
            watch.step(stream.days[place], spoilt.get(place, stream.windows[place]))
        held[onset] = watch
    return held


def episodes(verdicts: Sequence[shift.Verdict]) -> int:
    """Alarms on days on end, or one clean day apart, are one."""
    return apart([place for place, one in enumerate(verdicts) if one.alarm])


def apart(alarmed: Sequence[int]) -> int:
    """How many episodes the places of alarmed days make."""
    return sum(1 for place, before in zip(alarmed, [-9, *alarmed], strict=False) if place - before > 2)


def detection(stream: Stream, held: Held, wanted: Sequence[Fault]) -> pl.DataFrame:
    """One row per fault and onset: the day (1 to 3) of the first alarm, or null. A fault that leaves its first day as
    it was (a constant of a column that was constant) is none and has no row.
    """
    rows = []
    for number, fault in enumerate(wanted):
        for onset, before in held.items():
            if stream.unchanged(onset, fault, np.random.default_rng([number, onset, 0])):
                continue
            watch, seen = before.copy(), None
            for day in range(3):
                facts = stream.faulty(onset + day, fault, np.random.default_rng([number, onset, day]))
                if watch.look(stream.days[onset + day], facts).alarm:
                    seen = day + 1
                    break
                watch.step(stream.days[onset + day], facts)
            rows.append((stream.name, *fault[:3], kind_of(stream, fault), onset, seen))
    return pl.DataFrame(rows, schema={**FOUND, "onset": pl.Int64, "day": pl.Int64}, orient="row")


def kind_of(stream: Stream, fault: Fault) -> str:
    """In the words of the tables."""
    if fault.column == ROWS:
        return "rows"
    if fault.column == shift.SCORE:
        return "prediction"
    kind = stream.kinds[fault.column]
    return {"number": "continuous", "whole": "whole"}.get(kind, "category")


def independent(stream: Stream, rows: int, windows: int, budget: float) -> tuple[int, int]:
    """Alarmed windows, and judged ones, where every window is drawn anew from all rows of the stream."""
    table, chance = pl.concat(stream.frames), np.random.default_rng(rows)
    watch, alarmed = Watch(budget=budget), 0
    for place in range(HISTORY + windows):
        day = stream.days[0] + timedelta(days=place)
        drawn = np.sort(chance.integers(0, table.height, rows))
        facts = stream.window(table[drawn].sort("hour", maintain_order=True))
        if place >= HISTORY:
            alarmed += watch.look(day, facts).alarm
        watch.step(day, facts)
    return alarmed, windows

"""How long a window is, and what follows from it: how many windows are the reference, the past, a month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

Name = Literal["hour", "day", "week"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """A window's length by name; the rest are numbers of windows.

    A window is held against `reference` others at its place in a cycle of `cycle` windows: hours of a day differ, so an
    hour is held against the same hour of days before. Its worst of `history` windows, at any place, counts. After
    `recut` windows the bins are made anew. From `learn` on there is an alarm line, from `firm` on it is no guess.
    Windows no more than `apart` from each other are one episode, and so many clean ones close an incident. `days` is
    the length in calendar days.
    """

    name: Name
    days: float
    reference: int
    history: int = 90
    recut: int = 28
    learn: int = 14
    firm: int = 60
    apart: int = 2
    cycle: int = 1

    def alarms(self, a_month: float, windows: int) -> float:
        """How many of so many windows may alarm at `a_month` alarms in 30 days."""
        return a_month * windows * self.days / 30

    def period(self, start: date) -> int:
        """The number of the period, by the calendar, after which bins are made anew."""
        return int(start.toordinal() // (self.recut * self.days))

    @property
    def reach(self) -> int:
        """Windows before one that can still matter to it: its reference, `history` values, each of which was held
        against as many before it, and the bins cut from those before them. Of hours no more than are kept.
        """
        if self.cycle > 1:
            return self.reference * self.cycle + self.history
        return DAY.reference + 2 * self.history + self.recut + self.history

    def place(self, start: date) -> int:
        """The window's place in its cycle: the clock hour, 0 for longer ones."""
        return start.hour if self.cycle > 1 and isinstance(start, datetime) else 0


HOUR: Final = Length(
    name="hour",
    days=1 / 24,
    reference=28,
    history=60 * 24,
    recut=28 * 24,
    learn=14 * 24,
    firm=60 * 24,
    apart=6,
    cycle=24,
)
DAY: Final = Length(name="day", days=1, reference=28)
WEEK: Final = Length(name="week", days=7, reference=8)
LENGTHS: Final[Mapping[str, Length]] = {one.name: one for one in (HOUR, DAY, WEEK)}

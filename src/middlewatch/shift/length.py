"""How long a window is, and what follows from it: how many windows are the reference, the past, a month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

Name = Literal["day", "week"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """A window's length by name; the rest are numbers of windows.

    `reference` is what a window is held against, `history` whose worst counts, after `recut` the bins are made anew;
    from `learn` on there is an alarm line, from `firm` on it is no guess. `days` is the length in calendar days.
    """

    name: Name
    days: float
    reference: int
    history: int = 90
    recut: int = 28
    learn: int = 14
    firm: int = 60

    def alarms(self, a_month: float, windows: int) -> float:
        """How many of so many windows may alarm at `a_month` alarms in 30 days."""
        return a_month * windows * self.days / 30

    def period(self, start: date) -> int:
        """The number of the period, by the calendar, after which bins are made anew."""
        return int(start.toordinal() // (self.recut * self.days))


DAY: Final = Length(name="day", days=1, reference=28)
WEEK: Final = Length(name="week", days=7, reference=8)
LENGTHS: Final[Mapping[str, Length]] = {one.name: one for one in (DAY, WEEK)}

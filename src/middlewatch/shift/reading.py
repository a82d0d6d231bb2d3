"""What is said of one window: a channel's value, how high it stands against its own past, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .channels import FLOOR_RATE, rate

Key = tuple[str, str]
"""A column, or a name in brackets for what is none, and a channel."""
State = Literal["learning", "provisional", "judged"]

# A value of 0 has no logarithm.
LEAST = 1e-6
# Rounded to four digits it is still above 0.
LEAST_HEIGHT = 1e-4
UNUSUAL_VOLUME = 2.0


def above(height: float | None, line: float | None) -> bool:
    """Whether a line is passed; nothing passes one that is not known yet."""
    return height is not None and line is not None and height > line


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One channel of one window.

    `value` now, the `worst` of the last 90 windows, `score` = log(value / worst), `lasting` the lower
    score of this window and the last, both against the windows before the two. `now` and `usual` are what the
    channel is about, where that is one number: a share (nulls, novel values, ...), a mean, an association, else None.
    """

    column: str
    channel: str
    value: float
    worst: float
    score: float
    lasting: float
    now: float | None = None
    usual: float | None = None

    @property
    def height(self) -> float:
        """The higher of the two scores: what the alarm lines compare."""
        return max(self.score, self.lasting)

    @staticmethod
    def over(
        column: str, channel: str, value: float, line: float, now: float | None = None, usual: float | None = None
    ) -> Reading:
        """Of what has a line of its own instead of past windows, and is at it or beyond: its height is
        log(value / line).

        At its line it counts as well: its height is never 0.
        """
        height = max(math.log(value / line), LEAST_HEIGHT)
        return Reading(
            column=column, channel=channel, value=value, worst=line, score=height, lasting=height, now=now, usual=usual
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, rounded to what can be read."""
        plain: dict[str, Any] = {
            "column": self.column,
            "channel": self.channel,
            "score": round(self.height, 4),
            "value": round(self.value, 4),
            "worst": round(self.worst, 4),
        }
        if self.now is not None and self.usual is not None:
            plain |= {"now": round(self.now, 6), "usual": round(self.usual, 6)}
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one window looks like against its past; `readings` with the highest first.

    `m` and `p` are the highest score and the highest lasting score, `m_line` and `p_line` what they must
    pass; None where there is too little history for one. `history` counts the windows before.
    """

    start: date
    rows: int
    state: State
    alarm: bool
    history: int
    m: float | None
    p: float | None
    m_line: float | None
    p_line: float | None
    readings: tuple[Reading, ...]
    values: Mapping[Key, float]
    usual_rows: float | None

    @property
    def provisional(self) -> bool:
        """True where there are under 60 windows of history, so that the line is a guess."""
        return self.state != "judged"

    @property
    def moved(self) -> tuple[Reading, ...]:
        """Channels beyond everything seen in the last 90 windows, highest first."""
        return tuple(one for one in self.readings if one.height > 0)

    def passes(self, reading: Reading) -> bool:
        """Whether this channel alone is beyond an alarm line."""
        return above(reading.score, self.m_line) or above(reading.lasting, self.p_line)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the window, alarm or not."""
        if not self.usual_rows or 1 / UNUSUAL_VOLUME <= self.rows / self.usual_rows <= UNUSUAL_VOLUME:
            return ()
        return (f"{self.rows} rows, usually {self.usual_rows:.0f} on this weekday",)


@dataclass(frozen=True, slots=True)
class Signal:
    """A channel's value, what it may reach by sampling alone, and the shares behind it where it is about
    one.
    """

    value: float
    floor: float
    now: float | None = None
    usual: float | None = None

    @staticmethod
    def of(now: float, usual: float, n: int, *, rising: bool = False, floor: float = FLOOR_RATE) -> Signal:
        """About a share of `n` rows; `rising` where only more than usual counts."""
        return Signal(rate(max(now, usual) if rising else now, usual, n), floor, now, usual)

    @property
    def side(self) -> int:
        """-1 below what is usual, 1 above, 0 for a distance."""
        if self.now is None or self.usual is None:
            return 0
        return (self.now > self.usual) - (self.now < self.usual)


@dataclass(frozen=True, slots=True)
class Heights:
    """Channels that have a past: `worst` of it, `score` and `lasting` as in Reading, in the order of `keys`."""

    keys: Sequence[Key] = ()
    worst: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    score: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    lasting: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def highest(self, *, without: Container[Key]) -> tuple[float, float]:
        """M and P of the channels that are not in `without`; as low as can be where none is left."""
        left = [at for at, key in enumerate(self.keys) if key not in without]
        if not left:
            return math.log(LEAST), math.log(LEAST)
        return float(self.score[left].max()), float(self.lasting[left].max())

    def over(self, most: float) -> dict[Key, float]:
        """The values of channels whose score is above `most`, as they would be just there."""
        return {
            key: float(self.worst[at] * math.exp(most)) for at, key in enumerate(self.keys) if self.score[at] > most
        }

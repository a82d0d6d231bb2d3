"""What is usual at an hour, from what blocks of rows reached in it on the stored days. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from middlewatch.shift import alarm_line

__all__ = ["BEYOND", "Usual", "limit"]

BEYOND = 1.3

Hour = Mapping[str, Any]


def limit(floor: float, worst: float) -> float:
    """What a share must reach: the floor, and 1.3 times its own worst, or half way from there to all rows."""
    return max(floor, min(BEYOND * worst, (1 + worst) / 2))


@dataclass(frozen=True, slots=True)
class Usual:
    """By day what the blocks of an hour and its neighbours reached; days without are left out."""

    of_days: tuple[tuple[Hour, ...], ...]

    @property
    def days(self) -> int:
        return len(self.of_days)

    def _hours(self) -> Iterator[Hour]:
        for day in self.of_days:
            yield from day

    def worst(self, of: str, name: str) -> float:
        """The largest share that a block of these hours had."""
        return max((float(one[of].get(name, 0.0)) for one in self._hours()), default=0.0)

    def most_same(self, name: str, days: int) -> float | None:
        """The largest share of rows that repeated the one before; None where under so many days tell: the first ones
        that were stored do not.
        """
        held = [[one["same"][name] for one in day if name in one.get("same", ())] for day in self.of_days]
        told = [max(one) for one in held if one]
        return float(max(told)) if len(told) >= days else None

    def decided(self, name: str, k: float) -> tuple[float, float]:
        """The usual share of a decision, and how far from it a share must be (see `_swing`)."""
        triples = [[one["decided"][name] for one in day if name in one["decided"]] for day in self.of_days]
        return _swing(triples, k)

    def middle(self, k: float) -> tuple[float, float, float]:
        """Usual median, how far from it one must be, and the usual distance of the quartiles."""
        held = [one for one in self._hours() if "middle" in one]
        centre, far = _swing([[one["middle"] for one in day if "middle" in one] for day in self.of_days], k)
        return centre, far, float(np.median([one["width"] for one in held])) if held else float("nan")

    def mean(self) -> float | None:
        """Usual mean of the scores."""
        held = [float(one["mean"]) for one in self._hours() if "mean" in one]
        return sum(held) / len(held) if held else None

    def least_spread(self) -> float:
        return min((float(one["spread"]) for one in self._hours() if "spread" in one), default=0.0)

    def most_alike(self) -> float:
        return max((float(one["mode"]) for one in self._hours() if "mode" in one), default=0.0)


def _swing(days: Sequence[Sequence[Sequence[float]]], k: float) -> tuple[float, float]:
    """The middle of [least, middle, largest] triples, and how far from it a value must be: beyond the worst day by a
    third, and so far as days have been seen to go `k` times in as many days (see `shift.alarm_line`).
    """
    held = [day for day in days if day]
    if not held:
        return float("nan"), float("inf")
    centre = float(np.median([one[1] for day in held for one in day]))
    far = [max(max(abs(one[0] - centre), abs(one[2] - centre)) for one in day) for day in held]
    return centre, max(BEYOND * max(far), alarm_line(far, k) if len(far) > 1 else 0.0)

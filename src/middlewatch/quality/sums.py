"""A loss summed over rows, so that hours, days and weeks add up without their rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# 95 % of a normal distribution lies within so many standard errors.
Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Sum:
    """`n` rows with an outcome, the `total` of their loss and of its `squares`."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Mean loss; NaN without rows."""
        return self.total / self.n if self.n else math.nan

    @property
    def variance(self) -> float:
        """Of one row's loss, with n - 1; 0 under two rows."""
        if self.n < 2:
            return 0.0
        return max(self.squares - self.total * self.total / self.n, 0.0) / (self.n - 1)

    @property
    def error(self) -> float:
        """Standard error of the mean; 0 without rows."""
        return math.sqrt(self.variance / self.n) if self.n else 0.0

    def plain(self) -> list[float]:
        """As JSON: [n, total, squares]."""
        return [self.n, self.total, self.squares]

    @staticmethod
    def read(plain: Sequence[float]) -> Sum:
        return Sum(int(plain[0]), float(plain[1]), float(plain[2]))


def pooled(sums: Iterable[Sum]) -> Sum:
    """All of them together."""
    n, total, squares = 0, 0.0, 0.0
    for one in sums:
        n, total, squares = n + one.n, total + one.total, squares + one.squares
    return Sum(n, total, squares)


def merged(parts: Iterable[Mapping[str, Sum]]) -> dict[str, Sum]:
    """Sums by name, added up."""
    found: dict[str, Sum] = {}
    for part in parts:
        for name, one in part.items():
            found[name] = found.get(name, Sum()) + one
    return found

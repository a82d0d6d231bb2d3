"""A line of numbers as a line of text: for terminals and messages."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SPARKS", "spark"]

SPARKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], *, low: float | None = None) -> str:
    """A line of bars, one a value, from `low` (the smallest) to the largest."""
    if not values:
        return ""
    low, high = min(values) if low is None else low, max(values)
    step = (high - low) or 1.0
    return "".join(SPARKS[min(7, int(8 * (value - low) / step))] for value in values)

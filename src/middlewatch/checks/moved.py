"""How far one distribution is from another, in words."""

from __future__ import annotations

import math

import numpy as np

from middlewatch.profiles import ColumnProfile

from .words import limit, percent


def moved(now: ColumnProfile, then: ColumnProfile) -> tuple[float, str] | None:
    """Distance of two distributions less what chance makes of it, and what moved, in words."""
    if now.kind in ("category", "boolean"):
        ours, theirs = now.counts(), then.counts()
        names = ours.keys() | theirs.keys()
        gaps = {name: ours.get(name, 0) / now.n - theirs.get(name, 0) / then.n for name in names}
        if not gaps:
            return None
        noise = 0.5 * math.sqrt(len(names) / now.n + len(names) / then.n)
        most = max(sorted(gaps), key=lambda name: abs(gaps[name]))
        shares = f"{percent(theirs.get(most, 0) / then.n)} to {percent(ours.get(most, 0) / now.n)}"
        return sum(abs(gap) for gap in gaps.values()) / 2 - noise, f'"{most[:40]}" went from {shares} of rows'
    if now.kind not in ("number", "whole"):
        return None
    grid = np.unique(np.concatenate([one.quantile(np.linspace(0.01, 0.99, 99)) for one in (now, then)]))
    distance = float(np.max(np.abs(now.cdf(grid) - then.cdf(grid))))
    noise = 1.36 * math.sqrt(1 / now.n + 1 / then.n)
    medians = f"the median went from {limit(then.quantile(0.5))} to {limit(now.quantile(0.5))}"
    return distance - noise, f"{medians}, the mean from {limit(then.mean)} to {limit(now.mean)}"

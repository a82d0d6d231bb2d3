"""Signals beside the channels of columns: refused requests, a release against its gate, answers of another model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import polars as pl

from middlewatch import shift
from middlewatch.journal import Entry
from middlewatch.replay import Disagreement, Replayer, disagreement
from middlewatch.shift import Reading

from .past import Past
from .units import Unit

RELEASE = "(release)"
# A release against its gate that changes this share of decisions, or puts rows in an order that agrees no more than
# this with the one before, is another model: two trainings on neighbouring months of flights correlated to 0.96.
RELEASE_DECISIONS = 0.1
RELEASE_ORDER = 0.9
REFUSED = "(requests)"
REFUSED_SHARE = 0.01
REFUSED_ROWS = 5
BEYOND = 1.3
# A version gives the same answer to the same inputs for ever: that it does not is no matter of chance, and a few rows
# prove it. A single one may be a line of a log that was mended by hand.
REPLAYED_SHARE = 0.01
REPLAYED_ROWS = 5


def refused(unit: Unit, shares: Sequence[float]) -> Reading | None:
    """Requests that were refused, where they are 1 % or more and beyond their own past, else None."""
    share, worst = unit.refused_share, max(shares, default=0.0)
    limit = max(BEYOND * worst, REFUSED_SHARE)
    if unit.refused < REFUSED_ROWS or share < limit:
        return None
    return Reading.over(REFUSED, "refused", share, limit, share, median(shares) if shares else 0.0)


def released(unit: Unit, forced: Mapping[str, Entry], past: Past) -> Reading | None:
    """A version that was released against its gate and answers unlike the one before it, else None.

    What passed its gate was compared there; what was rolled back to has been live already.
    """
    entry = forced.get(unit.version or "")
    if entry is None or not unit.rows:
        return None
    now, before = (past.replayers.get(one) for one in (entry.version, entry.previous))
    sample = unit.sample
    if now is None or before is None or sample.height < shift.MIN_ROWS:
        return None
    return unlike(disagreement(now, before, sample))


def released_against_gate(entries: Iterable[Entry]) -> dict[str, Entry]:
    """By version the entry that made it live, where that was against its gate and something was live before."""
    last = {one.version: one for one in entries if one.channel == "live" and one.action in ("promote", "rollback")}
    return {version: one for version, one in last.items() if one.facts.get("forced") and one.previous}


def release_key(entry: Entry) -> str:
    """What an incident about a release is known by: watcher or monitor, whoever sees it first opens the one."""
    return f"fast release {entry.n}"


def unlike(seen: Disagreement) -> Reading | None:
    """Two versions that answer the same rows as different models would, else None."""
    value = max(seen.decisions / RELEASE_DECISIONS, (1 - seen.order) / (1 - RELEASE_ORDER))
    return Reading.over(RELEASE, "release", value, 1.0, seen.decisions, 0.0) if value > 1 else None


def answered(replayer: Replayer | None, rows: pl.DataFrame) -> Reading | None:
    """Logged answers that the version which gave them does not give to their inputs, where they are 1 % or more, else
    None: another model, other code behind it or a broken machine answers in its name.
    """
    if replayer is None:
        return None
    own = rows.filter(pl.col("mw.version") == replayer.version.version)
    wrong = replayer.answers_otherwise(own) if own.height else None
    if wrong is None or wrong.sum() < REPLAYED_ROWS or wrong.mean() < REPLAYED_SHARE:
        return None
    return Reading.over(shift.SCORE, "replay", float(wrong.mean()), REPLAYED_SHARE, float(wrong.mean()), 0.0)

"""Tests that fail on the very same rows: one cause, said once."""

from __future__ import annotations

from collections.abc import Sequence

from middlewatch import tables
from middlewatch.findings import Finding
from middlewatch.profiles import Profile

from .plan import Plan

MOST = 64
"""Tests looked at: more that fail the same number of rows are told apart by no reader."""

Groups = tuple[tuple[tuple[str, ...], int], ...]


def together(raw: tables.Raw, tested: Plan, profile: Profile, findings: Sequence[Finding]) -> Groups:
    """Groups of failed tests that the very same rows break, each with the number of those rows; the largest first.

    Only tests that as many rows break can be such a group, so a table is hardly ever read again.
    """
    failed = {f"{one.check}:{one.column}" for one in findings}
    counted: dict[int, list[str]] = {}
    for name, rows in ((name, one.rows) for name, one in profile.failed.items() if name in failed):
        counted.setdefault(rows, []).append(name)
    wanted = {name for names in counted.values() if len(names) > 1 for name in names[:MOST]}
    if not wanted:
        return ()
    tests = [one for one in tested.predicates if one.name in wanted]
    tested = tested.again()
    prints: dict[str, int] = dict.fromkeys(wanted, 0)
    for batch in tables.batches(raw.frame):
        ready = tested.ready(batch)
        broken = ready.lazy().select(one.expr.fill_null(False).alias(one.name) for one in tests).collect()
        for name in broken.columns:
            # The same rows in all batches give the same chain of hashes; other rows do not.
            prints[name] = hash((prints[name], broken[name].to_numpy().tobytes()))
    groups: dict[int, list[str]] = {}
    for name in profile.failed:
        if name in wanted:
            groups.setdefault(prints[name], []).append(name)
    found = [(tuple(names), profile.failed[names[0]].rows) for names in groups.values() if len(names) > 1]
    return tuple(sorted(found, key=lambda one: -one[1]))

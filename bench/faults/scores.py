"""Counts of outcomes as tables for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import sqrt

import numpy as np

from faults.windows import Outcome

BASELINES = ("JS", "JS own history", "TreeSHAP", "Evidently")


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not total:
        return 0.0, 1.0
    z, p = 1.96, hits / total
    middle, half = p + z * z / (2 * total), z * sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max((middle - half) / (1 + z * z / total), 0.0), min((middle + half) / (1 + z * z / total), 1.0)


def _of(hits: Sequence[bool]) -> str:
    if not hits:
        return "-"
    low, high = wilson(sum(hits), len(hits))
    return f"{100 * sum(hits) / len(hits):.0f} % of {len(hits)} ({100 * low:.1f}-{100 * high:.1f})"


def summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Everything in one column of lines: name, value."""
    faults = [o for o in outcomes if o.idea not in ("clean", "harmless")]
    real = [o for o in faults if o.matters and o.idea != "drifted"]
    drift = [o for o in faults if o.idea == "drifted" and o.matters]
    yield f"faults with an effect       {len(real)}"
    yield f"a cause was named           {_of([o.got != 'nothing' for o in real])}"
    yield f"right column first          {_of([o.column for o in real])}"
    yield f"right kind first            {_of([o.kind in ('right', 'form') for o in real])}"
    yield f"right kind and form first   {_of([o.kind == 'right' for o in real])}"
    yield f"honest drift                {_of([o.kind == 'drift' for o in real])}"
    yield f"wrong kind or column        {_of([o.kind == 'wrong' for o in real])}"
    for name in BASELINES:
        judged = [o for o in real if name in o.firsts]
        if judged:
            ours = _of([o.column for o in judged])
            yield f"{name:28}{_of([o.firsts[name] for o in judged])}; ours on the same {ours}"
    for word in ("certain", "likely", "possible"):
        yield f"{word + ' was right':28}{_of([o.kind in ('right', 'form') for o in real if o.confidence == word])}"
    yield f"undo proved                 {_of([o.proved for o in real])}"
    yield f"slice right                 {_of([bool(o.slice) for o in real if o.slice is not None])}"
    for every, word in ((True, "each row shows it"), (False, "some rows show it")):
        errors = [o.error for o in real if o.error is not None and o.every == every]
        if errors:
            within = _of([one <= 10 for one in errors])
            yield f"onset, {word:21}median {np.median(errors):.0f} rows off, within 10: {within}"
    yield f"two at once, both found     {_of([bool(o.all_found) for o in real if o.all_found is not None])}"
    yield f"a further, false cause      {_of([o.more > 0 for o in real])}"
    yield f"no effect: nobody else named {_of([not o.blamed for o in faults if not o.matters])}"
    yield f"real drift: no other kind   {_of([o.kind in ('right', 'none') for o in drift])}"
    for idea, word in (("clean", "clean windows silent"), ("harmless", "harmless changes silent")):
        quiet = [o for o in outcomes if o.idea == idea]
        drifts = sum(o.more > 0 for o in quiet)
        yield f"{word:28}{_of([not o.blamed for o in quiet])}; `drift` named in {drifts}"
    if real:
        yield f"CPU seconds a case          {np.median([o.seconds for o in real]):.2f}"


def by(outcomes: Sequence[Outcome], key: str) -> Iterator[str]:
    """Column, kind and form right, wrong, by data set or idea."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        if one.matters and one.idea not in ("clean", "harmless"):
            groups[str(getattr(one, key))].append(one)
    yield f"{key:18}{'n':>5}{'column':>8}{'kind':>8}{'form':>8}{'drift':>8}{'wrong':>8}{'none':>8}"
    for name, ones in groups.items():
        counted = Counter(o.kind for o in ones)
        n = len(ones)
        shares = [sum(o.column for o in ones), counted["right"] + counted["form"]]
        shares += [counted[word] for word in ("right", "drift", "wrong", "none")]
        yield f"{name:18}{n:5}" + "".join(f"{100 * s / n:7.0f}%" for s in shares)


def confusion(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Which family was played and which one was named first, as a Markdown table."""
    counted: Counter[tuple[str, str]] = Counter()
    for one in outcomes:
        if one.matters and one.idea not in ("clean", "harmless"):
            counted[one.expected.split("/")[0], one.got.split("/")[0]] += 1
    played = sorted({k for k, _ in counted})
    named = sorted({k for _, k in counted})
    yield "| played | " + " | ".join(named) + " |"
    yield "|---" * (len(named) + 1) + "|"
    for row in played:
        yield f"| {row} | " + " | ".join(str(counted[row, k] or "") for k in named) + " |"

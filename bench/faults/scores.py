"""Counts of outcomes as tables for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import sqrt

import numpy as np

from faults.windows import Outcome

BASELINES = ("JS", "JS own history", "TreeSHAP", "Evidently")
QUIET = ("clean", "harmless")
NAMED = ("right", "form")


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


def played(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Faults with an effect on predictions; a real drift is none."""
    return [o for o in outcomes if o.matters and o.idea not in (*QUIET, "drifted")]


def summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Everything in one column of lines: name, value."""
    faults = [o for o in outcomes if o.idea not in QUIET]
    real = played(outcomes)
    drift = [o for o in faults if o.idea == "drifted" and o.matters]
    lines: list[tuple[str, str]] = [("faults with an effect", f"{len(real)}")]
    if real:
        lines += _first(real)
    for word in ("certain", "likely", "possible"):
        lines.append((f"{word} was right, of faults", _of([o.kind in NAMED for o in real if o.confidence == word])))
    judged = [*real, *(o for o in outcomes if o.idea in QUIET and o.got != "nothing")]
    for word in ("certain", "likely", "possible"):
        lines.append((f"{word} was right, of all", _of([o.kind in NAMED for o in judged if o.confidence == word])))
    if real:
        lines += _further(real)
    lines.append(("no effect: nobody else named", _of([not o.blamed for o in faults if not o.matters])))
    lines.append(("real drift: no other kind", _of([o.kind in ("right", "none") for o in drift])))
    for idea, word in (("clean", "clean windows silent"), ("harmless", "harmless changes silent")):
        quiet = [o for o in outcomes if o.idea == idea]
        lines.append((word, f"{_of([not o.blamed for o in quiet])}; `drift` named in {sum(o.more > 0 for o in quiet)}"))
    holidays = [o for o in outcomes if o.idea == "clean" and o.onset == "holiday"]
    if holidays:
        lines.append(("of them with a holiday", _of([not o.blamed for o in holidays])))
    seconds = [o.seconds for o in outcomes if o.seconds]
    if seconds:
        lines.append(("CPU seconds a search", f"median {np.median(seconds):.2f}, most {max(seconds):.2f}"))
    yield from (f"{name:34}{value}" for name, value in lines)


def _first(real: Sequence[Outcome]) -> Iterator[tuple[str, str]]:
    """The first cause: its column, kind and form; and what a ranking of columns would have said."""
    yield "a cause was named", _of([o.got != "nothing" for o in real])
    yield "right column first", _of([o.column for o in real])
    yield "right kind first", _of([o.kind in NAMED for o in real])
    yield "right kind and form first", _of([o.kind == "right" for o in real])
    yield "honest drift", _of([o.kind == "drift" for o in real])
    yield "wrong kind or column", _of([o.kind == "wrong" for o in real])
    for name in BASELINES:
        judged = [o for o in real if name in o.firsts]
        if judged:
            yield name, f"{_of([o.firsts[name] for o in judged])}; ours on the same {_of([o.column for o in judged])}"


def _further(real: Sequence[Outcome]) -> Iterator[tuple[str, str]]:
    """Fix, slice, onset, a second fault, and who was blamed without reason."""
    yield "undo proved", _of([o.proved for o in real])
    fixed = [o.fixed for o in real if o.fixed is not None]
    yield "its inverse gives the values back", _of([one >= 0.95 for one in fixed])
    yield "slice right", _of([bool(o.slice) for o in real if o.slice is not None])
    for every, word in ((True, "each row shows it"), (False, "some rows show it")):
        errors = [o.error for o in real if o.error is not None and o.every == every]
        if errors:
            within = _of([one <= 10 for one in errors])
            yield f"onset, {word}", f"median {np.median(errors):.0f} rows off, within 10: {within}"
    yield "two at once, both found", _of([bool(o.all_found) for o in real if o.all_found is not None])
    yield "a further, false cause", _of([o.more > 0 for o in real])
    for name in sorted({o.innocent for o in real if o.innocent}):
        yield f"blamed: {name}", _of([o.framed for o in real if o.innocent == name])
    beside = [o for o in real if o.innocent]
    if beside:
        yield "innocent blamed, all", _of([o.framed for o in beside])


def by(outcomes: Sequence[Outcome], word: str, key: Callable[[Outcome], object]) -> Iterator[str]:
    """Column, kind and form right, wrong, by data set or idea, as a Markdown table."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        if one.matters and one.idea not in QUIET:
            groups[str(key(one))].append(one)
    yield f"| {word} | n | column | kind | form | `drift` | wrong | nothing |"
    yield "|---" * 8 + "|"
    for name, ones in sorted(groups.items()):
        counted = Counter(o.kind for o in ones)
        shares = [sum(o.column for o in ones), counted["right"] + counted["form"]]
        shares += [counted[one] for one in ("right", "drift", "wrong", "none")]
        yield f"| {name} | {len(ones)} | " + " | ".join(f"{100 * s / len(ones):.0f} %" for s in shares) + " |"


def confusion(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Which family was played and which one was named first, as a Markdown table."""
    counted: Counter[tuple[str, str]] = Counter()
    for one in outcomes:
        if one.matters and one.idea not in QUIET:
            counted[one.family, one.got.split("/")[0]] += 1
    rows = sorted({k for k, _ in counted})
    named = sorted({k for _, k in counted})
    yield "| played | " + " | ".join(named) + " |"
    yield "|---" * (len(named) + 1) + "|"
    for row in rows:
        yield f"| {row} | " + " | ".join(str(counted[row, k] or "") for k in named) + " |"


def missed(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Every wrong answer: what was played, what was said."""
    for one in outcomes:
        at = f"{one.data} {one.rows} {one.onset} {one.name}"
        if one.idea in QUIET:
            if one.blamed or one.more:
                yield f"{'FALSE' if one.blamed else 'DRIFT'} {one.idea} {at}: {one.said}"
        elif one.matters and one.idea == "drifted":
            if one.kind not in ("right", "none"):
                yield f"DRIFT {at}: {one.said}"
        elif one.matters and one.kind != "right":
            yield f"{one.kind.upper()} {at} ({one.expected}): {one.said}"
        elif one.matters and (one.more or one.slice is False or one.all_found is False):
            yield f"BESIDE {at} ({one.expected}): {one.said}"
        elif not one.matters and one.blamed:
            yield f"NO EFFECT {at}: {one.said}"
        if one.framed:
            yield f"INNOCENT {one.innocent} {at}: {one.said}"
        if one.error is not None and one.error > 10:
            yield f"ONSET {one.error} rows off {at}: {one.said}"

"""The order of work: the same requests on both sides, their logs, what callers send, versions, environments."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from .. import comparing, data, environment
from ..differences import Difference, between, of_manifests, of_schemas
from ..errors import MiddlewatchError, NothingToDo
from ..fingerprints import Cause, thresholds
from .answers import Answered, answers, bodies_of, hidden
from .side import Side, side_of
from .told import Comparison, Told

if TYPE_CHECKING:
    from ..project import Project

REPLAYED: Final = 500
"""Requests that are answered by both sides: as many as a rollback's rehearsal takes."""
SAME: Final = 1e-9
"""Relative difference under which an answer is the same but for its last bits, as another build of a library gives."""
DISTRIBUTED: Final = 20_000
"""Newest rows of a side whose distributions are compared."""
REFUSED: Final = 0.01
"""Share of requests refused beyond the other side's that is no stray client."""


def compare(project: Project, name: str, a: str, b: str) -> Comparison:
    """What differs between two sides, the weightiest first, with what it does to the answers.

    A side is a channel (`live`, `staging`, `shadow`), a version, a store (`URL#staging`, `path#live`) or a server's
    URL, to which the requests are posted. Raises NotFound for what is none, OutOfReach, UsageError; NothingToDo where
    both are the same version of one log.
    """
    begun = time.perf_counter()
    one = side_of(project, name, a)
    try:
        other = side_of(project, name, b)
    except BaseException:
        _close(one)
        raise
    try:
        found = _compared(project, one, other)
    finally:
        _close(one)
        _close(other)
    return replace(found, seconds=time.perf_counter() - begun)


def _close(side: Side) -> None:
    if side.asked is not None:
        side.asked.close()


def _compared(project: Project, a: Side, b: Side) -> Comparison:
    if a.same_log(b) and a.version == b.version:
        raise NothingToDo(
            f"{a.name} and {b.name} are the same: {a.version} of one store",
            fix="name a server by its URL to compare where it runs: middlewatch compare live http://host:8000",
        )
    not_seen: list[str] = []
    own = tuple(side.rows(most=REPLAYED, own=True) for side in (a, b))
    replay, requests, equal, largest = _replayed(project, a, b, not_seen)
    faults = [_unfaithful(side, rows) for side, rows in zip((a, b), own, strict=True)]
    told = [*replay, *_distributions(a, b, not_seen), *_callers(a, b, own), *(one for one in faults if one is not None)]
    # A version or an environment that differs does harm only through answers.
    apart = largest > SAME
    told += _versions(a, b, apart=apart)
    blamed = any(faults) or (apart and a.version == b.version)
    told += _environments(a, b, own, blamed=blamed, not_seen=not_seen)
    told.sort(key=lambda one: (not one.matters, -one.size))
    matters = any(one.matters for one in told)
    return Comparison(
        a=a.called,
        b=b.called,
        differences=tuple(told),
        requests=requests,
        equal=equal,
        not_seen=tuple(not_seen),
        next=_next(a, b, told, requests=requests, matters=matters),
    )


# ------------------------------------------------------------------ the same requests


def _replayed(project: Project, a: Side, b: Side, not_seen: list[str]) -> tuple[list[Told], int, int, float]:
    """What both sides answer to the same requests: differences, how many both answered, equal ones, the largest gap."""
    source, rows = _requests(project, a, b)
    schemas = [side.loaded.version.schema for side in (a, b) if side.loaded is not None]
    read = [(side, hidden(side.loaded.version.schema, side.loaded.version.encoding.names))
            for side in (a, b) if side.loaded is not None]  # fmt: skip
    blind = next(
        (f"{side.called} reads {', '.join(names)}: private, not kept as it came" for side, names in read if names), ""
    )
    trouble = a.problem or b.problem or blind
    if not rows.height or trouble:
        not_seen.append(f"answers to the same requests: {trouble or 'nothing is logged that could be replayed'}")
        return [], 0, 0, 0.0
    schema = schemas[0] if schemas else project.schema(a.model)
    bodies = bodies_of(rows, schema)
    ours, theirs = (_answers(side, bodies) for side in (a, b))
    both = [k for k in range(len(bodies)) if ours[k].score is not None and theirs[k].score is not None]
    found = [*_refusals(a, b, ours, theirs)]
    if not both:
        return found, 0, 0, 0.0
    x = np.array([ours[k].score for k in both], float)
    y = np.array([theirs[k].score for k in both], float)
    gap = np.abs(x - y)
    equal = int((x == y).sum())
    relative = float((gap / np.maximum(np.abs(x), 1e-6)).max())
    flips = _flips(a, b, [ours[k] for k in both], [theirs[k] for k in both], x, y)
    if equal == len(both) and not flips:
        return found, len(both), equal, 0.0
    said = (
        f"answers: {equal:,} of {len(both):,} requests of {source} equal to the bit, largest difference {gap.max():.3g}"
    )
    said += "" if flips is None else f", {flips:,} decisions flip"
    facts = {"requests": len(both), "equal": equal, "largest": float(gap.max()), "decisions_flipped": flips}
    matters = relative > SAME or bool(flips)
    size = max(1 - equal / len(both), (flips or 0) / len(both))
    mean = (float(x.mean()), float(y.mean()))
    found.append(Told(what="answers", a=mean[0], b=mean[1], matters=matters, words=said, size=1 + size, facts=facts))
    return found, len(both), equal, relative if not flips else max(relative, 1.0)


def _requests(project: Project, a: Side, b: Side) -> tuple[str, pl.DataFrame]:
    """The newest logged requests: those of A, else of A's log, else of B, else of the project's live version."""
    for side, own in ((a, True), (b, True), (a, False), (b, False)):
        rows = side.rows(most=REPLAYED, own=own)
        if rows.height:
            return (side.called if own else f"the log of {side.name}"), rows
    live = Side("live", a.model, "", project.zone, project.store, project.spool(a.model))
    return "the project's log", live.rows(most=REPLAYED, own=False)


def _answers(side: Side, bodies: Sequence[bytes]) -> list[Answered]:
    if side.asked is not None:
        return side.asked.answers(side.model, bodies)
    assert side.loaded is not None
    return answers(side.loaded, bodies, zone=side.zone)


def _refusals(a: Side, b: Side, ours: Sequence[Answered], theirs: Sequence[Answered]) -> list[Told]:
    """Requests that one side answers and the other refuses, by field."""
    found = []
    for side, mine, others in ((a, ours, theirs), (b, theirs, ours)):
        refused = [
            one for one, other in zip(mine, others, strict=True) if one.score is None and other.score is not None
        ]
        counted: dict[tuple[str, str], int] = {}
        for one in refused:
            counted[one.field, one.came] = counted.get((one.field, one.came), 0) + 1
        for (column, came), rows in sorted(counted.items(), key=lambda one: -one[1])[:3]:
            said = f"{side.called} refuses {rows:,} of {len(mine):,} requests: {column or 'the body'} came as {came}"
            found.append(
                Told(
                    what="refused",
                    a=rows if side is a else 0,
                    b=rows if side is b else 0,
                    matters=True,
                    words=said,
                    size=2 + rows / len(mine),
                    facts={"column": column or None, "came": came},
                )
            )
    return found


def _flips(
    a: Side, b: Side, ours: Sequence[Answered], theirs: Sequence[Answered], x: np.ndarray, y: np.ndarray
) -> int | None:
    """Decisions that differ, each at its own threshold (a server's at the other's); None where they are values."""
    known = [side.loaded.version for side in (a, b) if side.loaded is not None]
    if any(one.label is not None for one in ours):
        return sum(one.label != other.label for one, other in zip(ours, theirs, strict=True))
    if not known or known[0].task != "binary":
        return None
    at_a, at_b = ((side.loaded.version if side.loaded is not None else known[0]).threshold for side in (a, b))
    return int(((x >= at_a) != (y >= at_b)).sum())


# ------------------------------------------------------------------ their logs


def _unfaithful(side: Side, rows: pl.DataFrame) -> Told | None:
    """Logged answers that are not what the version gives again for the same inputs."""
    if side.loaded is None or not rows.height:
        return None
    if hidden(side.loaded.version.schema, side.loaded.version.encoding.names):
        return None
    logged = rows["mw.score"].fill_null(float("nan")).to_numpy()
    again = side.loaded.shown(rows)
    wrong = int((np.abs(again - logged) > SAME * np.maximum(np.abs(logged), 1e-6)).sum())
    if not wrong:
        return None
    said = (
        f"{side.called} logged {wrong:,} of {rows.height:,} answers that {side.version} does not give for these inputs"
    )
    facts = {"side": side.name, "rows": wrong}
    return Told(what="replay", a=None, b=None, matters=True, words=said, size=2 + wrong / rows.height, facts=facts)


def _distributions(a: Side, b: Side, not_seen: list[str]) -> list[Told]:
    """What is wrong in the newest rows of B beside those of A, by name, with its effect on B's answers."""
    logs = [side.rows(most=DISTRIBUTED, own=True) for side in (a, b)]
    least = thresholds.MIN_PAST * thresholds.MIN_ROWS
    schema = next((side.loaded.version.schema for side in (a, b) if side.loaded is not None), None)
    short = [f"{side.called} has {one.height:,}" for side, one in zip((a, b), logs, strict=True) if one.height < least]
    if schema is None or short:
        not_seen.append(f"distributions of inputs: {least:,} rows a side are needed, {', '.join(short) or 'no schema'}")
        return []
    # Of the contract only what a request holds: outcomes and keys are no part of what a side is sent.
    kept = tuple(
        one for one in schema.columns if one.role == "feature" and all(one.name in log.columns for log in logs)
    )
    plain = replace(schema, columns=kept, target="", time=None, key=None, keys=(), rules=())
    names = [one.name for one in kept]
    then, now = (log.sort("mw.time", "mw.id").select(names) for log in logs)
    found = comparing.compare(now, then, plain, zone=str(a.zone), scorer=b.loaded or a.loaded)
    return [_distribution(a, b, one, matters=True) for one in found.causes] + [
        _distribution(a, b, one, matters=False) for one in found.harmless
    ]


def _distribution(a: Side, b: Side, cause: Cause, *, matters: bool) -> Told:
    matters = matters and cause.effect.matters and cause.confidence != "possible"
    effect = cause.effect.decisions_changed
    said = f"inputs: {cause.detail} on {b.called}, beside {a.called}"
    said += f"; {effect:,} decisions change by it" if effect and matters else ""
    size = len(cause.affected) and float(np.mean(cause.affected))
    facts = {"column": cause.column, "kind": cause.kind, "form": cause.form, "confidence": cause.confidence}
    return Told(what="inputs", a=None, b=cause.detail, matters=matters, words=said, size=float(size), facts=facts)


def _callers(a: Side, b: Side, own: Sequence[pl.DataFrame]) -> list[Told]:
    """What callers send to one side that is refused there, and not (as often) to the other."""
    counted = [_refused(side, rows) for side, rows in zip((a, b), own, strict=True)]
    found = []
    for key in dict.fromkeys([*counted[0], *counted[1]]):
        shares = [one.get(key, (0, 0.0)) for one in counted]
        gap = abs(shares[0][1] - shares[1][1])
        at = int(shares[1][1] > shares[0][1])
        if gap < REFUSED or shares[at][0] < thresholds.RATE_ROWS:
            continue
        column, came, caller = key
        side = (a, b)[at]
        said = (
            f"callers: {caller or 'somebody'} sends {column or 'a body'} as {came} to {side.called}: {shares[at][0]:,}"
        )
        facts = {"column": column, "came": came, "caller": caller}
        found.append(
            Told(
                what="callers",
                a=shares[0][0],
                b=shares[1][0],
                matters=True,
                words=f"{said} refused",
                size=1 + gap,
                facts=facts,
            )
        )
    return found


def _refused(side: Side, rows: pl.DataFrame) -> dict[tuple[str, str, str], tuple[int, float]]:
    """Refused requests since the first of some rows by (field, what came, caller): their number and their share."""
    refused = side.refused()
    if rows.height:
        refused = refused.filter(pl.col("mw.received") >= rows["mw.received"][0])
    asked = rows.height + refused.height
    grouped = refused.group_by("field", "came", "mw.caller").len()
    return {(str(f or ""), str(c or ""), str(w or "")): (n, n / asked) for f, c, w, n in grouped.iter_rows()}


# ------------------------------------------------------------------ what they are


def _versions(a: Side, b: Side, *, apart: bool) -> list[Told]:
    """The versions, and what they were made of; what is inside them does harm only through the answers."""
    if a.loaded is None or b.loaded is None:
        if a.version == b.version:
            return []
        return [Told(what="version", a=a.version, b=b.version, matters=apart, words=_version(a, b), size=1.0)]
    ours, theirs = a.loaded.version, b.loaded.version
    if ours.manifest.get("files") == theirs.manifest.get("files"):
        return []
    inside: list[Difference] = []
    if ours.manifest.get("metrics") is not None and theirs.manifest.get("metrics") is not None:
        inside += of_manifests(ours.manifest, theirs.manifest)
    inside += of_schemas(ours.schema, theirs.schema)
    inside += _data(a, b)
    found = [Told(what="version", a=a.version, b=b.version, matters=apart, words=_version(a, b), size=1.0)]
    if ours.task == "binary" and ours.threshold != theirs.threshold:
        words = f"threshold: {ours.threshold:g} in {a.name}, {theirs.threshold:g} in {b.name}"
        found.append(Told(what="threshold", a=ours.threshold, b=theirs.threshold, matters=apart, words=words, size=0.9))
        inside = [one for one in inside if not one.words.startswith("threshold ")]
    for one in inside:
        about = one.words.partition(":")[0] if one.what == "model" and ":" in one.words else one.what
        facts = {"column": one.column, **one.evidence}
        found.append(
            Told(
                what=about,
                a=one.evidence.get("was"),
                b=one.evidence.get("is"),
                matters=False,
                words=one.words,
                size=one.size / 2,
                group=f"{b.version} beside {a.version}",
                facts=facts,
            )
        )
    return found


def _version(a: Side, b: Side) -> str:
    return f"version: {a.version} in {a.name}, {b.version} in {b.name}"


def _data(a: Side, b: Side) -> list[Difference]:
    """What the data versions differ in; nothing where one of their profiles is gone."""
    versions = [str(side.manifest.get("data") or "") for side in (a, b)]
    if (a.same_log(b) and versions[0] == versions[1]) or not all(versions) or a.store is None or b.store is None:
        return []
    try:
        return list(between(*(data.profile(s.store, s.model, v) for s, v in zip((a, b), versions, strict=True))))  # type: ignore[arg-type]
    except MiddlewatchError:
        return []


def _environments(a: Side, b: Side, own: Sequence[pl.DataFrame], *, blamed: bool, not_seen: list[str]) -> list[Told]:
    """What the servers run on; it does harm only where one and the same version answers otherwise."""
    held: list[Mapping[str, Any]] = [side.runs_on(rows) for side, rows in zip((a, b), own, strict=True)]
    unknown = [side.called for side, one in zip((a, b), held, strict=True) if not one]
    if unknown:
        not_seen.append(f"the environment of {' and '.join(unknown)}: no server that answered left a record")
        return []
    return [
        Told(
            what=what,
            a=one,
            b=other,
            matters=blamed,
            words=f"{what} {_short(one)} against {_short(other)}",
            size=0.1,
            group="environment",
        )
        for what, one, other in environment.between(*held)
    ]


def _short(value: Any) -> str:
    text = "none" if value in (None, "") else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _next(a: Side, b: Side, told: Sequence[Told], *, requests: int, matters: bool) -> str:
    if not matters:
        return "middlewatch status" if requests else "send both sides some requests, or middlewatch score --log"
    first = next(one for one in told if one.matters)
    if first.what == "replay":
        return "middlewatch doctor on the serving machine: its libraries or its model file differ"
    if first.what in ("refused", "callers"):
        return f"tell who sends {first.facts.get('column') or 'it'}; middlewatch tail --refused shows them"
    if first.what == "inputs":
        return f"middlewatch why   (on the side of {b.name})"
    if a.version != b.version or any(one.what == "version" for one in told):
        same = f"middlewatch versions {a.version} {b.version}" if a.same_log(b) else ""
        return same or "make the same version live on both, then compare again"
    return "middlewatch doctor on both machines: the same version answers otherwise"

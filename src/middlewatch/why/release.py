"""Was it the model? Logged rows on the versions that answered them and on the one that stood before.

Trees answer the same row the same way for ever: a replay is proof. A release that was meant (newer, through its
gate) is told, not blamed, unless predictions left their history and the version before takes that back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from .. import model
from ..errors import MiddlewatchError
from ..fingerprints import Cause, Effect, thresholds
from ..fingerprints.history import wasserstein
from ..replay import Replayer, load
from .rows import Span

if TYPE_CHECKING:
    from ..journal import Entry
    from ..project import Project

SAME = 1e-9
"""Relative difference under which a replayed score is the logged one; trees agree to the bit."""
MIXED = 0.02
"""Share of rows answered by the older version after the newer began, from which servers disagree."""


@dataclass(frozen=True)
class Releases:
    """Causes found, and what was learnt on the way: lines for "not" and for the time line."""

    causes: tuple[Cause, ...]
    ruled_out: tuple[str, ...]
    told: tuple[str, ...]


def releases(project: Project, name: str, span: Span) -> Releases:
    """Causes of kind `release` and `environment` in a span, proved by replay."""
    if span.replayer is None or not span.rows.height:
        return Releases((), (), ())
    held = {span.version: span.replayer}
    for version in span.rows["mw.version"].drop_nulls().unique().sort().to_list():
        _load(project, name, version, held)
    differ = _differ(span, held)
    if differ is not None:
        return Releases((differ,), (), ())
    same = f"the model ({span.version} answers the logged rows the same again)"
    served = [str(one) for one in span.rows["mw.version"].drop_nulls().unique(maintain_order=True)]
    before = _live_before(project, name, served) or span.past_version
    if (
        not before
        or set(served) == {span.past_version}
        or set(served) <= {before}
        or not _load(project, name, before, held)
    ):
        return Releases((), (same, f"a release ({span.version} answered before as well)"), ())
    causes, told = [], []
    for version in served:
        if version == before:
            continue
        found, said = _of(project, name, span, held[version], held[before])
        causes += found
        told += said
    return Releases(tuple(causes), () if causes else (same,), tuple(told))


def _load(project: Project, name: str, version: str, held: dict[str, Replayer]) -> bool:
    if version not in held and model.ours(version):
        try:
            held[version] = load(project, name, version)
        except MiddlewatchError:
            return False  # a version that is gone cannot be replayed: it stays unproved
    return version in held


def _live_before(project: Project, name: str, served: list[str]) -> str:
    """What was live before the newest version that answered; "" where the journal does not say."""
    entry = _entry(project, name, served[-1]) if served else None
    return entry.previous if entry is not None else ""


def _differ(span: Span, held: dict[str, Replayer]) -> Cause | None:
    """Logged answers that the very version which gave them does not give again."""
    wrong = np.zeros(span.rows.height, bool)
    logged = span.rows["mw.score"].fill_null(float("nan")).to_numpy()
    again = logged.copy()
    for version, replayer in held.items():
        mine = (span.rows["mw.version"] == version).fill_null(False).to_numpy()
        if mine.any():
            again[mine] = replayer.shown(span.rows.filter(pl.Series(mine)))
    wrong = np.abs(again - logged) > SAME * np.maximum(np.abs(logged), 1e-6)
    if wrong.sum() < max(0.001 * span.rows.height, 1):
        return None
    first = int(np.argmax(wrong))
    return Cause(
        kind="environment",
        form="answers_differ",
        columns=(),
        detail=f"{int(wrong.sum()):,} logged answers are not what their version gives for the same inputs",
        confidence="certain",
        affected=wrong,
        since=span.rows["mw.time"][first],
        effect=Effect(int(wrong.sum()), None, None, float(logged[wrong].mean()), float(again[wrong].mean())),
        fix="middlewatch doctor on the serving machine: its libraries or its model file differ",
        proof="replayed",
    )


def _of(project: Project, name: str, span: Span, now: Replayer, before: Replayer) -> tuple[list[Cause], list[str]]:
    version, older = now.version.version, before.version.version
    mask = (span.rows["mw.version"] == version).fill_null(False).to_numpy()
    rows = span.rows.filter(pl.Series(mask))
    if rows.height < thresholds.RATE_ROWS:
        return [], []
    came, then = now.shown(rows), before.shown(rows)
    flips = None if now.version.task == "regression" else int((now.decisions(rows) != before.decisions(rows)).sum())
    share = _taken_back(span, mask, then)
    entry = _entry(project, name, version)
    first = span.rows["mw.time"][int(np.argmax(mask))]
    start = int(np.argmax(mask))
    mixed = float((~mask[start:]).mean())
    step = wasserstein(came, then)
    matters = step > thresholds.EFFECT_SD * float(then.std()) or (flips or 0) > thresholds.FLIPS * rows.height
    form = _form(entry, version, older, mixed)
    said = f"{version} in place of {older}" + (f", {entry.at[:16]}" if entry else "")
    if not matters:
        return [], [f"{said}: answers practically the same"]
    if form == "new_version" and (share or 0.0) < thresholds.RELEASE_REMOVES:
        return [], [f"{said}: a planned release" + (f", takes part in {share:.0%} of the shift" if share else "")]
    words = {
        "mixed_versions": f"{version} and {older} answer side by side: {100 * mixed:.0f} % of rows still by {older}",
        "wrong_version": f"{version} answers, an older version than {older}"
        if _number(version) < _number(older)
        else f"{version} answers, which the journal never made live",
        "new_version": f"{version} answers since its release; {older} takes the shift back",
    }[form]
    cause = Cause(
        kind="release",
        form=form,
        columns=(),
        detail=words,
        confidence="likely" if form == "new_version" else "certain",
        affected=mask,
        since=first,
        from_start=start == 0,
        event=_event(entry),
        effect=Effect(rows.height, share, flips, float(came.mean()), float(then.mean())),
        fix="middlewatch rollback --dry-run",
        undo_proved=True,
        proof=f"replayed on {older}, {flips:,} of {rows.height:,} decisions differ"
        if flips is not None
        else f"replayed on {older}",
        facts={"version": version, "before": older},
    )
    return [cause], []


def _number(version: str) -> int:
    return int(version[1:]) if version[1:].isdigit() else 0


def _form(entry: Entry | None, version: str, older: str, mixed: float) -> str:
    if entry is not None and entry.action == "rollback":
        return "new_version"
    if mixed > MIXED and mixed < 1 - MIXED:
        return "mixed_versions"
    if entry is None or _number(version) < _number(older):
        return "wrong_version"
    return "new_version"


def _entry(project: Project, name: str, version: str) -> Entry | None:
    """The newest journal entry that made a version live."""
    made = [
        one
        for one in project.journal(name).entries()
        if one.channel == "live" and one.version == version and one.action in ("promote", "rollback", "external")
    ]
    return made[-1] if made else None


def _event(entry: Entry | None) -> str:
    if entry is None:
        return ""
    reason = f' ("{entry.reason}")' if entry.reason else ""
    return f"{entry.action} of {entry.version} by {entry.actor or 'somebody'} at {entry.at[:16]}Z{reason}"


def _taken_back(span: Span, mask: np.ndarray, then: np.ndarray) -> float | None:
    """Share of the shift of all predictions that the other version's answers take back; None without a shift."""
    past = [frame["mw.score"].drop_nulls().to_numpy() for frame in span.past_answered]
    if len(past) < 2:
        return None
    pooled = np.concatenate(past)
    usual = [wasserstein(one, pooled) for one in past]
    logged = span.rows["mw.score"].to_numpy()
    instead = logged.copy()
    instead[mask] = then
    was, left = wasserstein(logged, pooled), wasserstein(instead, pooled)
    if was <= max(usual):
        return None
    middle = float(np.median(usual))
    return float(np.clip((was - left) / (was - middle), 0.0, 1.0))

"""Was it the model? Logged rows on the versions that answered them and on the one that stood before.

Trees answer the same row the same way for ever: a replay is proof. A release that was meant (newer, through its
gate) is told, not blamed, unless predictions left their history and the version before takes that back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .. import model
from ..errors import MiddlewatchError
from ..fingerprints import Cause, Effect, thresholds
from ..fingerprints.history import Mask, wasserstein
from ..replay import REPLAYED_ROWS, SAME, Replayer, load
from .rows import Span
from .servers import Servers, apart, servers_of

if TYPE_CHECKING:
    from ..journal import Entry
    from ..project import Project

SHOWN = 4
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
    known = servers_of(project, name, span)
    differ = _differ(span, held, known)
    if differ is not None:
        return Releases((differ,), (), tuple(known.told(_blamed(differ, known), replayed=True)))
    # Only what was replayed can be said to answer the same.
    beside = known.told((), replayed=set(span.rows["mw.version"].drop_nulls().unique()) <= set(held))
    same = f"the model ({span.version} answers the logged rows the same again)"
    served = [str(one) for one in span.rows["mw.version"].drop_nulls().unique(maintain_order=True)]
    before = _live_before(project, name, served) or span.past_version
    if (
        not before
        or set(served) == {span.past_version}
        or set(served) <= {before}
        or not _load(project, name, before, held)
    ):
        return Releases((), (same, f"a release ({span.version} answered before as well)"), tuple(beside))
    causes, told = _against(project, name, span, served, before, held, known)
    if not causes and (undone := _undone_by(project, name, served)):
        # The newest release undid an older one that answered here as well: that one is looked at, too.
        causes, other = _against(project, name, span, served, undone, held, known)
        told = other if causes else told
    return Releases(tuple(causes), () if causes else (same,), (*told, *beside))


def _against(
    project: Project,
    name: str,
    span: Span,
    served: list[str],
    before: str,
    held: dict[str, Replayer],
    known: Servers,
) -> tuple[list[Cause], list[str]]:
    causes, told = list[Cause](), list[str]()
    for version in served:
        if version != before and version in held and not _came_before(project, name, span, version, before):
            found, said = _of(project, name, span, held[version], held[before], known)
            causes += found
            told += said
    return causes, told


def _came_before(project: Project, name: str, span: Span, version: str, before: str) -> bool:
    """Whether a version only answered until `before` followed it, as one release follows another."""
    entry = _entry(project, name, version)
    if entry is None or _number(version) < _number(entry.previous):
        return False  # it was a step back itself
    answered = span.rows["mw.version"]
    firsts = (answered == before).arg_true()
    return bool(len(firsts)) and int((answered == version).arg_true()[-1]) < int(firsts[0])


def _undone_by(project: Project, name: str, served: list[str]) -> str:
    """The version that a rollback brought back while another answered in the same rows; "" where none did."""
    entry = _entry(project, name, served[-1])
    return entry.version if entry is not None and entry.action == "rollback" and entry.previous in served else ""


def _blamed(cause: Cause, known: Servers) -> list[str]:
    """Servers that a cause is about: the one it names, else all."""
    return [cause.slice[1]] if cause.slice is not None else list(known.records)


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


def _differ(span: Span, held: dict[str, Replayer], known: Servers) -> Cause | None:
    """Logged answers that the very version which gave them does not give again."""
    wrong = np.zeros(span.rows.height, bool)
    logged = span.rows["mw.score"].fill_null(float("nan")).to_numpy()
    again, same = logged.copy(), np.full(logged.shape, SAME)
    for version, replayer in held.items():
        mine = (span.rows["mw.version"] == version).fill_null(False).to_numpy()
        if mine.any():
            same[mine] = max(SAME, float(replayer.version.manifest.get("tolerance", 0.0)))
            again[mine] = replayer.shown(span.rows.filter(pl.Series(mine)))
    wrong = np.abs(again - logged) > same * np.maximum(np.abs(logged), 1e-6)
    if wrong.sum() < max(0.001 * span.rows.height, 1):
        return None
    made = _made_otherwise(span, held, wrong)
    first = int(np.argmax(wrong))
    slice_ = known.slice(span.rows, wrong)
    servers = [slice_[1]] if slice_ else list(known.records)
    differing = known.differs(servers[0]) if servers else []
    said = f"{int(wrong.sum()):,} logged answers are not what their version gives for the same inputs"
    return Cause(
        kind="preprocessing" if made else "environment",
        form="features_differ" if made else "answers_differ",
        columns=(),
        detail=f"{said}: features() gave other values of {', '.join(list(made)[:SHOWN])}" if made else said,
        confidence="certain",
        affected=wrong,
        since=span.rows["mw.time"][first],
        slice=slice_,
        event=f"it runs with {apart(differing)}" if differing else "",
        effect=Effect(int(wrong.sum()), None, None, float(logged[wrong].mean()), float(again[wrong].mean())),
        fix="look at what features() reads where it served: clock, zone, files, services, libraries"
        if made
        else "middlewatch doctor on the serving machine: its libraries or its model file differ",
        proof="replayed",
        facts={
            "environment": {one: {"here": here, "else": there} for one, there, here in differing},
            "features": {one: {"served": then, "now": now} for one, (then, now) in made.items()},
        },
    )


def _made_otherwise(span: Span, held: dict[str, Replayer], wrong: Mask) -> dict[str, tuple[Any, Any]]:
    """What the project's `features` gave otherwise than now in most of the wrong rows, each with one such pair."""
    rows = span.rows.filter(pl.Series(wrong)).head(REPLAYED_ROWS)
    version = str(rows["mw.version"][0])
    rows = rows.filter(pl.col("mw.version") == version)
    try:
        apart = held[version].features_apart(rows) if version in held else None
    except Exception:  # noqa: BLE001 - the project's own code: that it fails here is no answer to this
        apart = None
    if not apart or sum(bool(one) for one in apart) * 2 < len(apart):
        return {}
    return {name: pair for one in reversed(apart) for name, pair in one.items()}


def _of(
    project: Project, name: str, span: Span, now: Replayer, before: Replayer, known: Servers
) -> tuple[list[Cause], list[str]]:
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
    # What an older version answers after the last of these rows is a rollback, no disagreement.
    last = int(np.flatnonzero(mask)[-1])
    mixed = float((~mask[start : last + 1]).mean())
    step = wasserstein(came, then)
    matters = step > thresholds.EFFECT_SD * float(then.std()) or (flips or 0) > thresholds.FLIPS * rows.height
    form = _form(entry, version, older, mixed)
    moved = _by_threshold(now, before, came, then) if form == "new_version" and matters else 0
    if moved > thresholds.FLIPS * rows.height and moved >= thresholds.RELEASE_REMOVES * (flips or 0):
        form = "threshold"
    # Where servers disagree, one has yet to follow: that is not undone.
    undone = form != "mixed_versions" and project.journal(name).state().live.get("live") == older
    said = f"{version} in place of {older}" + (f", {entry.at[:16]}" if entry else "")
    if not matters:
        return [], [f"{said}: answers practically the same"]
    if form == "new_version" and (share or 0.0) < thresholds.RELEASE_REMOVES:
        source = "" if now.version.data == before.version.data else f", learnt from {now.version.data}"
        return [], [
            f"{said}: a planned release{source}" + (f", takes part in {share:.0%} of the shift" if share else "")
        ]
    words = _words(form, now, before, mixed, undone=undone)
    proofs = {
        "threshold": f"replayed, {moved:,} of {rows.height:,} decisions differ by the threshold alone",
    }
    # Rows that the older version still answers: the servers that did not follow.
    behind = known.slice(span.rows[start:], ~mask[start:]) if form == "mixed_versions" else None
    if behind is not None:
        words += f", all of them by server {behind[1]}"
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
        fix=f"nothing to undo: {older} is live again" if undone else "middlewatch rollback --dry-run",
        undo_proved=True,
        proof=proofs.get(form)
        or (
            f"replayed on {older}, {flips:,} of {rows.height:,} decisions differ"
            if flips is not None
            else f"replayed on {older}"
        ),
        facts={"version": version, "before": older, "undone": undone, **({"server": behind[1]} if behind else {})},
    )
    return [cause], []


def _words(form: str, now: Replayer, before: Replayer, mixed: float, *, undone: bool) -> str:
    version, older = now.version.version, before.version.version
    if form == "mixed_versions":
        return f"{version} and {older} answer side by side: {100 * mixed:.0f} % of rows still by {older}"
    if form == "wrong_version":
        if _number(version) < _number(older):
            return f"{version} answers, an older version than {older}"
        return f"{version} answers, which the journal never made live"
    if form == "threshold":
        return (
            f"{version} says yes from a score of {now.version.threshold:g}, {older} from {before.version.threshold:g}"
        )
    answers = "answered until it was undone" if undone else "answers since its release"
    return f"{version} {answers}; {older} takes the shift back"


def _by_threshold(now: Replayer, before: Replayer, came: np.ndarray, then: np.ndarray) -> int:
    """Decisions that differ between the two thresholds where the scores are held; 0 where other scores did more."""
    ours, theirs = now.version.threshold, before.version.threshold
    if now.version.task != "binary" or ours == theirs:
        return 0
    alone = int(((came >= ours) != (came >= theirs)).sum())
    scores = int(((came >= theirs) != (then >= theirs)).sum())
    return alone if alone > scores else 0


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

"""What outcomes say of a window: how many are missing, whether they changed, and what a loss of quality is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from .. import labels
from ..fingerprints import Cause, Effect, thresholds
from ..quality.losses import LEADING, of_rows
from ..targets import target_of
from .rows import Span, newest_event

if TYPE_CHECKING:
    from ..project import Project
    from ..schema import Schema

Floats = np.typing.NDArray[np.float64]
Mask = np.typing.NDArray[np.bool_]
PLACES: Final = 10
"""Parts of the scores' range (equal shares of past rows) in which the usual loss is taken: rows that land where the
model was always worse are the inputs' share of a loss."""
LATE: Final = 0.5
"""Share of the poorest past day's outcomes, at the same age, under which outcomes stay away: half of them is no delay
that days bring."""
NAMES: Final = {"log_loss": "log loss", "absolute_error": "mean absolute error"}


@dataclass(frozen=True)
class Outcomes:
    """`causes` of kind `labels`; `told` in words; `facts` for `checked`. Empty where no outcome was ever known."""

    causes: tuple[Cause, ...] = ()
    told: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def look(project: Project, name: str, span: Span, schema: Schema, *, blamed: bool) -> Outcomes:
    """Outcomes of the span's rows, against those of served past days. `blamed`: another cause explains the scores, so
    that outcomes which no longer follow them are no surprise."""
    served = [one for one in span.past_answered if one["mw.version"].null_count() < one.height]
    if not span.rows.height or not schema.target:
        return Outcomes()
    refs = [one.select("mw.id", "mw.key", "mw.time", "mw.score") for one in (span.rows, *served)]
    every = pl.concat(refs)
    held = labels.read(project.store, project.spool(name), name, numeric=schema.task == "regression", about=every)
    if not held.height:
        return Outcomes()
    joined = _timed(labels.join(every, held).frame, held)
    ends = np.cumsum([one.height for one in refs])
    now, past = joined[: ends[0]], [joined[a:b] for a, b in pairwise(ends)]
    # How old the window's last row is by the log's own clock: what is replayed or imported lives in its own time.
    newest = newest_event(project, name, span.until)
    last = span.rows["mw.time"].max()
    age = max((newest or span.until) - (last if isinstance(last, datetime) else span.until), timedelta())
    came = [(frame, _came(one, age)) for frame, one in zip(served, past, strict=True)]
    late, told, facts = _missing(schema, span, now["mw.outcome"].is_not_null().to_numpy(), came)
    if schema.task == "multiclass":
        return Outcomes(late, told, facts)
    parts = [_known(one, schema) for one in (now, *past)]
    threshold = span.replayer.version.threshold if span.replayer else 0.5
    changed = () if blamed or late else _changed(schema, span, parts[0], parts[1:], threshold)
    split = _split(schema, parts[0], parts[1:], threshold)
    if split:
        told = (*told, split["words"])
        facts = {**facts, **{key: value for key, value in split.items() if key != "words"}}
    return Outcomes((*late, *changed), told, facts)


def _timed(joined: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Each row with `mw.at`, the moment its outcome was first known."""
    at = held.select("id", "key", pl.coalesce("time", "received").alias("at"))
    by_id = at.drop_nulls("id").group_by("id").agg(pl.col("at").min()).rename({"id": "mw.id"})
    by_key = at.drop_nulls("key").group_by("key").agg(pl.col("at").min().alias("at_key")).rename({"key": "mw.key"})
    found = joined.join(by_id, on="mw.id", how="left", maintain_order="left").join(
        by_key, on="mw.key", how="left", maintain_order="left"
    )
    return found.with_columns(pl.min_horizontal("at", "at_key").alias("mw.at")).drop("at", "at_key")


def _came(day: pl.DataFrame, age: timedelta) -> Mask:
    """Which rows of a past day had their outcome when the day was as old as the window is now."""
    end = day["mw.time"].max()
    if not isinstance(end, datetime):
        return np.zeros(day.height, bool)
    known = day.select(pl.col("mw.outcome").is_not_null() & (pl.col("mw.at") <= end + age)).to_series()
    return known.fill_null(False).to_numpy()


def _missing(
    schema: Schema, span: Span, there: Mask, past: Sequence[tuple[pl.DataFrame, Mask]]
) -> tuple[tuple[Cause, ...], tuple[str, ...], dict[str, Any]]:
    """How many outcomes have come, beside past days when they were as old as this window is; of all rows, or of a
    caller or category whose outcomes alone stay away."""
    share = float(there.mean())
    shares = [float(one.mean()) for _, one in past if one.any()]
    missing = round((1 - share) * span.total)
    usual = f", {100 * float(np.median(shares)):.0f} % usually by now" if shares else ""
    told = f"outcomes of {100 * share:.0f} % of the rows have come{usual}; {missing:,} are missing"
    facts: dict[str, Any] = {"labelled_share": share, "labels_missing": missing, "days_with_labels": len(shares)}
    found = None
    for group in (None, *_groups(span.rows)):
        mine = _members(span.rows, group)
        poorest = _poorest(group, past)
        if poorest is None or float(there[mine].mean()) >= LATE * poorest:
            continue
        # Of all rows, unless one group holds nearly all that are missing.
        if found is None or (mine & ~there).sum() >= thresholds.SLICE * found[1].sum():
            found = (group, mine & ~there, float(there[mine].mean()), poorest)
    if found is None:
        return (), (told,), facts
    named, without, now, poorest = found
    first = int(np.argmax(without))
    which = f" of {named[0].removeprefix('mw.')} {named[1]}" if named else ""
    rows = round(int(without.sum()) * span.total / span.rows.height)
    cause = Cause(
        kind="labels",
        form="late",
        columns=(schema.target,),
        detail=f"outcomes{which} stay away: {100 * now:.0f} % of the rows have one, by this age never under "
        f"{100 * poorest:.0f} %",
        confidence="likely",
        affected=without,
        since=span.rows["mw.time"][first],
        from_start=first == 0,
        slice=named,
        effect=Effect(rows),
        fix="ask who supplies the outcomes; how good these predictions are is not known until they come",
        proof=f"less than half of the poorest of {len(shares)} past days",
    )
    return (cause,), (told,), facts


def _groups(rows: pl.DataFrame) -> list[tuple[str, str]]:
    """Callers and category values with enough rows to speak of, the most frequent first."""
    found: list[tuple[int, tuple[str, str]]] = []
    for column in rows.columns:
        if rows.schema[column] != pl.String or (column.startswith("mw.") and column != "mw.caller"):
            continue
        for value, count in rows[column].drop_nulls().value_counts(sort=True).head(12).iter_rows():
            if thresholds.MIN_ROWS <= count < rows.height:
                found.append((count, (column, str(value))))
    return [one for _, one in sorted(found, key=lambda one: -one[0])]


def _members(rows: pl.DataFrame, group: tuple[str, str] | None) -> Mask:
    if group is None or group[0] not in rows.columns:
        return np.full(rows.height, group is None)
    return (rows[group[0]] == group[1]).fill_null(False).to_numpy()


def _poorest(group: tuple[str, str] | None, past: Sequence[tuple[pl.DataFrame, Mask]]) -> float | None:
    """The least share of outcomes that a past day had of a group; None where too few days can tell."""
    shares = []
    for rows, came in past:
        mine = _members(rows, group)
        if mine.sum() >= thresholds.RATE_ROWS and came.any():
            shares.append(float(came[mine].mean()))
    return min(shares) if len(shares) >= thresholds.MIN_PAST else None


def _known(frame: pl.DataFrame, schema: Schema) -> tuple[Floats, Floats]:
    """Outcomes and scores of the rows that have both; (n,) each."""
    outcome = target_of(frame.select(pl.col("mw.outcome").alias(schema.target)), schema)
    score = frame["mw.score"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    kept = np.isfinite(outcome) & np.isfinite(score)
    return outcome[kept], score[kept]


def _changed(
    schema: Schema, span: Span, now: tuple[Floats, Floats], past: Sequence[tuple[Floats, Floats]], threshold: float
) -> tuple[Cause, ...]:
    """Outcomes that are further from what the scores lead to expect than on any past day."""
    enough = [one for one in past if one[0].size >= thresholds.MIN_ROWS]
    if len(enough) < thresholds.MIN_PAST or now[0].size < thresholds.MIN_ROWS:
        return ()
    said, strength = _shifted(schema, now, enough) or _looser(schema, now, enough, threshold) or ("", 0.0)
    if not said:
        return ()
    return (
        Cause(
            kind="labels",
            form="changed",
            columns=(schema.target,),
            detail=said,
            confidence="possible",
            affected=np.ones(span.rows.height, bool),
            since=span.since,
            from_start=True,
            effect=Effect(int(now[0].size)),
            fix=f"ask whether {schema.target} still means the same; if the world changed,  middlewatch retrain",
            strength=strength,
            proof=f"beyond all {len(enough)} past days with outcomes, and the inputs are as always",
        ),
    )


def _shifted(
    schema: Schema, now: tuple[Floats, Floats], past: Sequence[tuple[Floats, Floats]]
) -> tuple[str, float] | None:
    """More or fewer of the outcomes than the scores expect, in words, and how far beyond the worst past day."""
    gaps = np.array([float((outcome - score).mean()) for outcome, score in past])
    gap, middle = float((now[0] - now[1]).mean()), float(np.median(gaps))
    worst = float(np.abs(gaps - middle).max())
    sure = thresholds.SURE * 2 * float((now[0] - now[1]).std()) / np.sqrt(now[0].size)
    floor = (
        thresholds.RATE_FLOOR if schema.task == "binary" else 0.05 * float(np.concatenate([o for o, _ in past]).std())
    )
    if abs(gap - middle) - sure <= thresholds.BEYOND * worst + floor:
        return None
    mean, expected = float(now[0].mean()), float(now[1].mean()) + middle
    said = (
        f"{schema.target} is {schema.classes[1]} in {100 * mean:.0f} % of the outcomes, "
        f"the scores expect {100 * expected:.0f} %"
        if schema.task == "binary"
        else f"{schema.target} is {mean:.4g} on average, the scores expect {expected:.4g}"
    )
    return said, abs(gap - middle) / max(worst, 1e-12)


def _looser(
    schema: Schema, now: tuple[Floats, Floats], past: Sequence[tuple[Floats, Floats]], threshold: float
) -> tuple[str, float] | None:
    """As many of each outcome as ever, but not those that the scores say: outcomes turned round, or joined to other
    rows. The loss of such scores grew more than on any past day."""
    losses = _Losses(schema, past, threshold)
    measured, expected, error = losses.of(now)
    days = [losses.of(one) for one in past]
    worst = max(0.0, *(a - b for a, b, _ in days))
    grown = measured - expected
    if grown - 2 * thresholds.SURE * error <= thresholds.BEYOND * worst + thresholds.EFFECT_SD * losses.spread:
        return None
    name = NAMES[LEADING[schema.task]]
    said = f"{schema.target} does not follow the scores: {name} {measured:.3g}, {expected:.3g} with such scores before"
    return said, grown / max(worst, 1e-12)


class _Losses:
    """Usual losses by the place of a score among past ones (PLACES equal parts)."""

    def __init__(self, schema: Schema, past: Sequence[tuple[Floats, Floats]], threshold: float) -> None:
        self._task, self._threshold = schema.task, threshold
        outcomes, scores = (np.concatenate(one) for one in zip(*past, strict=True))
        usual = self._loss((outcomes, scores))
        self._edges = np.unique(np.quantile(scores, np.linspace(0, 1, PLACES + 1)[1:-1]))
        place = np.searchsorted(self._edges, scores)
        every = range(len(self._edges) + 1)
        self._means = np.array([usual[place == k].mean() if (place == k).any() else usual.mean() for k in every])
        self.usual, self.spread = float(usual.mean()), float(usual.std())

    def _loss(self, rows: tuple[Floats, Floats]) -> Floats:
        return np.asarray(of_rows(self._task, rows[0], rows[1], self._threshold)[LEADING[self._task]])

    def of(self, rows: tuple[Floats, Floats]) -> tuple[float, float, float]:
        """Mean loss, what rows of such scores had before, and the standard error of the mean."""
        loss = self._loss(rows)
        expected = float(self._means[np.searchsorted(self._edges, rows[1])].mean())
        return float(loss.mean()), expected, float(loss.std() / np.sqrt(loss.size))


def _split(
    schema: Schema, now: tuple[Floats, Floats], past: Sequence[tuple[Floats, Floats]], threshold: float
) -> dict[str, Any] | None:
    """The change of the mean loss in two: rows that land where the model was always worse (inputs), and outcomes that
    no longer follow the scores (concept). After Cai, Namkoong and Yadlowsky 2023, by score instead of by input."""
    if now[0].size < thresholds.MIN_ROWS or sum(one[0].size for one in past) < 10 * thresholds.MIN_ROWS:
        return None
    losses = _Losses(schema, past, threshold)
    was, (measured, expected, error) = losses.usual, losses.of(now)
    moved = f"{NAMES[LEADING[schema.task]]} {was:.3g} -> {measured:.3g} on {now[0].size:,} outcomes"
    more = "less" if measured > expected else "more"
    parts = (
        f"{expected - was:+.3g} from rows that are {'harder' if expected > was else 'easier'} for the model, "
        f"{measured - expected:+.3g} from outcomes that follow the scores {more} closely"
    )
    if measured < was - 2 * error:
        said = f"{moved}: better than usual"
    elif measured <= was + 2 * error:
        said = f"{moved}, within chance"
    else:
        said = f"{moved}: {parts}"
    return {
        "words": said,
        "loss": measured,
        "loss_usual": was,
        "loss_from_inputs": expected - was,
        "loss_from_concept": measured - expected,
        "loss_error": error,
    }

"""The story of one prediction: its inputs beside their usual range, what drove its score, another version's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from .. import ids, model, predictions
from ..errors import MiddlewatchError, NotFound, UsageError
from ..fingerprints.case import NUMBERS
from ..replay import Replayer, load
from .report import plain

if TYPE_CHECKING:
    from ..project import Project

Answer = TypeVar("Answer")

REFERENCE_DAYS = 14
REFERENCE_ROWS = 200
"""Past rows whose values stand in for each input in turn."""
SHOWN = 12
ID_LENGTH = 20
LEAST_PREFIX = 7
"""Letters from which the beginning of an id is taken for one: a second of the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One prediction. `inputs` in order of what they did to the score: column, value, usual, unusual, moved (the
    score less its mean with usual values of the column), contribution (what the trees say it adds to the raw score).
    `features`: feature, served, now: where the project's `features` gives another value than when it was served."""

    found: bool
    id: str
    version: str
    score: float
    inputs: tuple[dict[str, Any], ...]
    time: str
    caller: str
    replayed: float | None
    features: tuple[dict[str, Any], ...] = ()
    on: str | None
    on_score: float | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        facts: dict[str, Any] = plain(
            {
                "found": self.found,
                "id": self.id,
                "time": self.time,
                "version": self.version,
                "caller": self.caller,
                "score": self.score,
                "replayed": self.replayed,
                "features": list(self.features),
                "inputs": list(self.inputs),
                "on": self.on,
                "on_score": self.on_score,
                "notes": list(self.notes),
                "causes": [],
                "ruled_out": [],
                "not_seen": [],
                "checked": {},
                "next": self._next(),
            }
        )
        return facts

    def lines(self) -> list[str]:
        said = [
            f"{self.id}: score {self.score:.4g} by {self.version} at {self.time[:19]}Z from {self.caller or 'unknown'}"
        ]
        if self.replayed is not None and self.replayed != self.score:
            said.append(f"WARN    {self.version} answers {self.replayed:.6g} to the same inputs now")
        said += [
            f"WARN    preprocessing: features() gave {one['feature']} = {one['served']} then, {one['now']} now"
            for one in self.features[:SHOWN]
        ]
        width = max((len(one["column"]) for one in self.inputs), default=0)
        if any(one["moved"] is not None for one in self.inputs):
            said.append(f"  {'input':{width}}  {'value':>12}  {'moved by':>8}  against its usual values")
        for one in self.inputs[:SHOWN]:
            moved = f"{one['moved']:+.3f}" if one["moved"] is not None else ""
            value = "null" if one["value"] is None else one["value"]
            mark = "  UNUSUAL" if one["unusual"] else ""
            said.append(f"  {one['column']:{width}}  {value!s:>12}  {moved:>8}  usual {one['usual']}{mark}")
        if self.on is not None and self.on_score is not None:
            said.append(f"{self.on} would have answered {self.on_score:.4g}")
        said += list(self.notes)
        return [*said, f"Next:   {self._next()}"]

    def _next(self) -> str:
        return (
            "middlewatch why"
            if any(one["unusual"] for one in self.inputs)
            else f"middlewatch versions {self.version}"
            if model.ours(self.version)
            else "middlewatch status"
        )


def explain_row(project: Project, name: str, ident: str, *, on: str | None = None) -> Explained:
    """The story of the prediction with this id; `on` another version's answer (default: the one live before).

    Raises NotFound, UsageError for what is no id.
    """
    rows = _found(project, name, ident)
    if not rows.height:
        raise NotFound(f"there is no prediction {ident}", where=name, fix="middlewatch tail shows some")
    version = str(rows["mw.version"][0])
    notes: list[str] = []
    mine = _loaded(project, name, version, notes)
    schema = mine.version.schema if mine is not None else project.schema(name)
    kinds = {one.name: one.kind for one in schema.features if one.name in rows.columns}
    reference = _reference(project, name, kinds)
    replayed = _asked(mine, lambda one: float(one.shown(rows)[0]), notes)
    moved = _asked(mine, lambda one: _moved(one, rows, reference, list(kinds)), notes) or {}
    added = _contributions(mine, rows) if mine is not None else {}
    inputs = [
        {
            "column": c,
            "value": rows[c][0],
            "moved": moved.get(c),
            "contribution": added.get(c),
            **_usual(reference, c, kind, rows[c][0]),
        }
        for c, kind in kinds.items()
    ]
    inputs.sort(key=lambda one: -abs(one["moved"] or 0.0))
    other = on or project.journal(name).previous()
    theirs = _loaded(project, name, other, notes) if other and other != version else None
    return Explained(
        found=False,
        id=str(rows["mw.id"][0]),
        version=version,
        score=float(rows["mw.score"][0]),
        inputs=tuple(inputs),
        time=rows["mw.time"][0].isoformat(),
        caller=str(rows["mw.caller"][0] or ""),
        replayed=replayed,
        features=tuple(_asked(mine, lambda one: _features(one, rows), notes) or ()),
        on=other if theirs is not None else None,
        on_score=_asked(theirs, lambda one: float(one.shown(rows)[0]), notes),
        notes=tuple(notes),
    )


def _found(project: Project, name: str, ident: str) -> pl.DataFrame:
    """The row of an id or of its unique beginning, looked for where ours says it is; that of another service's id may
    be anywhere. Raises UsageError where several begin so."""
    store, spool = project.store, project.spool(name)
    live = project.journal(name).live()
    begins = pl.col("mw.id").str.starts_with(ident)
    try:
        # An id is as good as a moment: where it is cut short, the moment is a stretch of time.
        full = len(ident) >= ID_LENGTH
        first, last = (ids.received_of(ident[:ID_LENGTH].ljust(ID_LENGTH, one)) for one in "0z")
        if len(ident) < LEAST_PREFIX:
            raise UsageError(f'"{ident}" is too short for the beginning of an id', fix="middlewatch tail shows some")
    except UsageError:
        if live is None or model.ours(live):
            raise
        return predictions.scan(store, spool, name, compared=True).filter(pl.col("mw.id") == ident).collect()
    since, until = first - timedelta(seconds=1), last + timedelta(seconds=1)
    rows = predictions.read(store, spool, name, since=since, until=until, by="received", compared=True).filter(begins)
    if rows.height > 1 and not full:
        some = ", ".join(rows["mw.id"].head(4))
        raise UsageError(f"{rows.height:,} predictions begin with {ident}", fix=f"type more of it: {some}")
    if not rows.height and live is not None and not model.ours(live):
        return predictions.scan(store, spool, name, compared=True).filter(pl.col("mw.id") == ident).collect()
    return rows


def _loaded(project: Project, name: str, version: str, notes: list[str]) -> Replayer | None:
    if not model.ours(version):
        notes.append(f"{version} is not our model: it is not replayed")
        return None
    try:
        return load(project, name, version)
    except NotFound:
        raise
    except MiddlewatchError as error:
        notes.append(f"{version} cannot be replayed: {error.what}")
        return None


def _asked(version: Replayer | None, question: Callable[[Replayer], Answer], notes: list[str]) -> Answer | None:
    """What a version says to a question; None, with one note, where its own code raises."""
    if version is None:
        return None
    try:
        return question(version)
    except Exception as error:  # noqa: BLE001 - the project's own code
        said = (
            f"{error.what}: {error.why}" if isinstance(error, MiddlewatchError) else f"{type(error).__name__}: {error}"
        )
        note = f"{version.version.version} cannot answer here: {said}"
        if note not in notes:
            notes.append(note)
        return None


def _features(mine: Replayer, row: pl.DataFrame) -> list[dict[str, Any]]:
    found = mine.features_apart(row) or [{}]
    return [{"feature": name, "served": then, "now": now} for name, (then, now) in found[0].items()]


def _reference(project: Project, name: str, kinds: Mapping[str, str]) -> pl.DataFrame:
    windows = project.windows(name)
    frames = [day.sample for day in windows.read(windows.days()[-REFERENCE_DAYS:])]
    kept = [one.select(list(kinds)) for one in frames if one.height and set(kinds) <= set(one.columns)]
    return pl.concat(kept, how="vertical_relaxed") if kept else pl.DataFrame()


def _moved(mine: Replayer, row: pl.DataFrame, reference: pl.DataFrame, columns: list[str]) -> dict[str, float]:
    """For each input: the score, less its mean where the input has usual values. One batch for all."""
    if not reference.height:
        return {}
    drawn = reference.sample(min(REFERENCE_ROWS, reference.height), seed=0)
    base = row.select(columns)
    repeated = base[[0] * drawn.height]
    batch = pl.concat([repeated.with_columns(drawn[c].cast(base.schema[c])) for c in columns], how="vertical")
    scores = mine.shown(batch).reshape(len(columns), drawn.height).mean(axis=1)
    score = float(mine.shown(base)[0])
    return {c: score - float(mean) for c, mean in zip(columns, scores, strict=True)}


def _contributions(mine: Replayer, row: pl.DataFrame) -> dict[str, float]:
    """What the trees say each input adds to the raw score (log odds, or the value); of several classes the likeliest.

    Empty where the model is no LightGBM.
    """
    ask = getattr(mine.predictor, "contributions", None)
    if ask is None:
        return {}
    found = ask(mine.version.encoding.encode(row))[0]
    if found.ndim == 2:
        found = found[int(np.argmax(mine.scores(row)[0]))]
    return {name: float(one) for name, one in zip(mine.version.encoding.names, found[:-1], strict=True)}


def _usual(reference: pl.DataFrame, column: str, kind: str, value: Any) -> dict[str, Any]:
    if not reference.height:
        return {"usual": "unknown", "unusual": False}
    past = reference[column]
    if value is None:
        share = past.null_count() / len(past)
        return {"usual": f"null in {100 * share:.1f} % of rows", "unusual": share < 0.01}
    if kind in NUMBERS:
        known = past.drop_nulls().cast(pl.Float64).to_numpy()
        if not len(known):
            return {"usual": "always null", "unusual": True}
        low, high = (float(q) for q in np.quantile(known, [0.05, 0.95]))
        outside = float(value) < float(known.min()) or float(value) > float(known.max())
        return {"usual": f"{low:.4g} to {high:.4g}", "unusual": outside}
    share = int((past.cast(pl.String) == str(value)).sum()) / len(past)
    return {"usual": f"this value in {100 * share:.1f} % of rows", "unusual": share == 0.0}

"""What windows looked like, with the predictions of any one version."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from middlewatch import model as models
from middlewatch import shift
from middlewatch.observations import predicted_columns
from middlewatch.profiles import ColumnSpec, Profile, ProfileSpec, merge, profile
from middlewatch.replay import Replayer, Replayers
from middlewatch.shift import LABEL, SCORE, Facts

from .units import Unit

if TYPE_CHECKING:
    from middlewatch.project import Project
    from middlewatch.windows import WindowDay


class Past:
    """What windows looked like, with the predictions of any one version."""

    def __init__(self, project: Project, name: str) -> None:
        self.project = project
        self.name = name
        self.windows = project.windows(name)
        self._inputs: dict[date, tuple[dict[str, Facts], Profile]] = {}
        self._hours: tuple[date | None, Mapping[int, Profile]] = (None, {})
        self._scored: dict[str, AbstractSet[date]] = {}
        self.replayers = Replayers(project, name)

    def logged(self, unit: Unit) -> dict[str, Facts]:
        """The window as it was answered."""
        inputs, whole = self._read(unit)
        return inputs | _predicted(whole)

    def under(self, unit: Unit, version: str) -> dict[str, Facts]:
        """The window with the predictions that `version` gave, or would have given."""
        inputs, whole = self._read(unit)
        return inputs | _predicted(self._predictions(unit, whole, version))

    def mean(self, unit: Unit, version: str) -> float | None:
        """Mean prediction of `version`."""
        column = self._predictions(unit, self._read(unit)[1], version).columns.get(SCORE)
        return float(column.mean) if column is not None and column.n else None

    def answered(self, unit: Unit) -> float | None:
        """Mean prediction as it was answered."""
        column = self._read(unit)[1].columns.get(SCORE)
        return float(column.mean) if column is not None and column.n else None

    def _read(self, unit: Unit) -> tuple[dict[str, Facts], Profile]:
        held = self._inputs.get(unit.start)
        if held is None:
            whole = merge([one.profile for one in unit.days]) if unit.hour is None else self._hour(unit)
            held = (shift.facts_of(whole, without=shift.PREDICTION, beside=unit.beside), whole)
            self._inputs[unit.start] = held
        return held

    def _hour(self, unit: Unit) -> Profile:
        """The profile of an hour; a day is decoded once for all of its hours."""
        [day] = unit.days
        if self._hours[0] != day.day:
            self._hours = (day.day, day.hours)
        return self._hours[1].get(unit.hour or 0) or merge([])

    def _predictions(self, unit: Unit, whole: Profile, version: str) -> Profile:
        if not models.ours(version):
            return whole  # nobody can ask it again: what was answered then is what is known
        if unit.logged and set(unit.versions) == {version}:
            return whole
        if unit.hour is None:
            return merge([found for one in unit.days if (found := self._scores(one, version)) is not None])
        # Training hours hold predictions of a model that had not seen them; a later one's are not kept by the hour.
        return whole if not unit.logged else self._replayed_hour(unit, version)

    def _replayed_hour(self, unit: Unit, version: str) -> Profile:
        """The hour's part of its day's sample, as another version answers it."""
        replayer = self.replayers.get(version)
        return (_replayed(replayer, unit.sample) if replayer is not None else None) or merge([])

    def _scores(self, day: WindowDay, version: str) -> Profile | None:
        """One day's predictions of `version`: kept ones, else its sample scored again and kept."""
        if set(day.versions) == {version}:
            return day.profile
        if version not in self._scored:
            self._scored[version] = self.windows.days_scored(version)
        if day.day in self._scored[version]:
            kept = self.windows.scores(day.day, version)
            return kept.profile if kept is not None else None
        replayer = self.replayers.get(version)
        made = _replayed(replayer, day.sample) if replayer is not None else None
        if made is not None:
            self.windows.put_scores(day.day, version, made, basis="replayed", durable=False)
        return made


def _replayed(replayer: Replayer, sample: pl.DataFrame) -> Profile | None:
    """Predictions of the sampled rows; None where they lack an input of the version."""
    version = replayer.version
    if not sample.height or not set(version.encoding.names) <= set(sample.columns):
        return None
    scores = replayer.scores(sample)
    columns = predicted_columns(scores, version.classes)[: scores.ndim]
    specs = [ColumnSpec(SCORE, "number"), ColumnSpec(LABEL, "category", known=version.classes)]
    return profile(pl.DataFrame(columns), ProfileSpec(tuple(specs[: scores.ndim])))


def _predicted(whole: Profile) -> dict[str, Facts]:
    return {name: shift.facts_of_column(column) for name, column in whole.columns.items() if name in shift.PREDICTION}

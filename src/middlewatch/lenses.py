"""How the rows of each version are looked at in blocks: what its training knew, and how it decides."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from . import data, model
from .blocks import Lens
from .errors import MiddlewatchError

if TYPE_CHECKING:
    from .project import Project
    from .schema import Schema

__all__ = ["lenses", "training_lens"]


def lenses(project: Project, name: str) -> Callable[[str | None], Lens | None]:
    """The lens of any version of a model (None: training rows), read once each; None for a version that is gone."""

    @cache
    def lens(version: str | None) -> Lens | None:
        schema = project.schema(name)
        if version is None:
            return training_lens(schema, project.settings(name).threshold)
        if not model.ours(version):
            return _foreign(schema, project.settings(name).threshold)
        try:
            return _own(project, model.load(project.store, name, version))
        except MiddlewatchError:
            return None

    return lens


def training_lens(schema: Schema, threshold: float) -> Lens:
    """For rows that were learnt from: all their values are known."""
    return Lens(
        columns=tuple(one.name for one in schema.features),
        threshold=threshold if schema.task == "binary" else None,
        classes=tuple(schema.classes) if schema.task == "multiclass" else (),
    )


def _foreign(schema: Schema, threshold: float) -> Lens:
    """Of another service's model no training is known: what the reviewed schema says is."""
    return Lens(
        columns=tuple(one.name for one in schema.features),
        texts={one.name: frozenset(one.categories) for one in schema.features if one.categories and not one.private},
        threshold=threshold if schema.task == "binary" else None,
        classes=tuple(schema.classes) if schema.task == "multiclass" else (),
    )


def _own(project: Project, version: model.ModelVersion) -> Lens:
    open_ = {one.name for one in version.schema.features if one.private is None}
    return Lens(
        columns=tuple(one.name for one in version.schema.features),
        texts={
            one.name: frozenset(one.values)
            for one in version.encoding.columns
            if one.kind == "category" and one.values and one.name in open_
        },
        ranges={name: span for name, span in _ranges(project, version).items() if name in open_},
        threshold=version.threshold if version.task == "binary" else None,
        classes=version.classes if version.task == "multiclass" else (),
    )


def _ranges(project: Project, version: model.ModelVersion) -> dict[str, tuple[float, float]]:
    """Least and largest number of each input in the rows that a version learnt from; empty where those are gone."""
    try:
        columns = data.profile(project.store, version.model, version.data).columns
    except MiddlewatchError:
        return {}
    return {
        name: (float(one.min), float(one.max))
        for name, one in columns.items()
        if one.kind in ("number", "whole") and one.min is not None and one.max is not None
    }

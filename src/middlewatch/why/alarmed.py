"""An incident whose own column has no cause with a name: what alarmed is said, as drift, never more than possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..fingerprints import Cause, Search
from ..fingerprints.effect import Effect
from ..shift import moved_by
from .rows import Span

MOST = 2
"""Columns that are named: a change of the world moves many, and the first ones say where to look."""


def unnamed(span: Span, looked: Search) -> list[Cause]:
    """What is said of an incident about inputs when nothing else was found.

    First what was found without an effect on predictions, where it is of a column that alarmed: it explains the
    alarm. Else the columns that alarmed, most unusual first, each with the number that did.
    """
    if span.incident is None or not span.rows.height:
        return []
    tops = [one for one in span.incident.top if str(one.get("column")) in span.kinds]
    columns = {str(one["column"]) for one in tops}
    explained = [one for one in looked.harmless if columns & set(one.columns)]
    if explained:
        return explained
    found: dict[str, Cause] = {}
    for top in tops:
        column = str(top["column"])
        if column not in found and len(found) < MOST:
            found[column] = _drift(span, column, top)
    return list(found.values())


def _drift(span: Span, column: str, top: Mapping[str, Any]) -> Cause:
    height = float(top.get("score") or 0.0)
    said = moved_by(str(top.get("channel")), top.get("now"), top.get("usual"), height)
    since = span.rows["mw.time"][0] if "mw.time" in span.rows.columns else None
    return Cause(
        kind="drift",
        form="drift",
        columns=(column,),
        detail=f"{column} changed, in no way with a name: {said}",
        confidence="possible",
        affected=np.ones(span.rows.height, bool),
        since=since,
        from_start=True,
        effect=Effect(span.rows.height),
        strength=float(np.exp(height)),
        fix=f"look at {column} over time",
        proof="it is what alarmed",
    )


def without_harmless(looked: Search, named: list[Cause]) -> Search:
    """What was told as a cause is not told again as a change without effect."""
    told = {id(one) for one in named}
    return replace(looked, harmless=tuple(one for one in looked.harmless if id(one) not in told))

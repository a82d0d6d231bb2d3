"""What a table breaks of its contract: columns missing or renamed, cells that are no values. Certain, no statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

import middlewatch.fingerprints.thresholds as limits

from ..fingerprints import Cause, Effect, History
from ..schema import Column, Schema

UNREADABLE: Final = 0.01
"""Share of cells that must fail to parse beyond what fails in the reference: one in a hundred is everyday dirt."""
NAMES: Final = {"number": "numbers", "whole": "whole numbers", "boolean": "true or false", "time": "times"}


def missing(now: pl.DataFrame, schema: Schema, history: History | None) -> list[Cause]:
    """Columns of the contract that the raw table `now` lacks, with the name they have now where one can tell."""
    gone = [one for one in schema.columns if one.role != "ignored" and one.name not in now.columns]
    extra = [name for name in now.columns if name not in schema.names]
    found = []
    for column in gone:
        likely = [name for name in extra if _alike(column, now[name], history)]
        words, form, fix = f"{column.name} is missing", "missing", f"ask who supplies {column.name}"
        if likely:
            words, form = f'{column.name} is now called "{likely[0]}"', "renamed"
            fix = f'rename "{likely[0]}" to "{column.name}"'
        found.append(
            Cause(
                kind="columns",
                form=form,
                columns=(column.name,),
                detail=words,
                confidence="certain" if form == "missing" or len(likely) == 1 else "likely",
                affected=np.ones(now.height, bool),
                effect=Effect(now.height),
                fix=fix,
                proof="the header says so" if form == "missing" else "its values are spread as they were",
                rivals=tuple(f'"{one}"' for one in likely[1:]),
                facts={"now": likely[0]} if likely else {},
            )
        )
    return found


def _alike(column: Column, values: pl.Series, history: History | None) -> bool:
    if _plain(column.name) == _plain(values.name):
        return True
    if history is None or column.name not in history.kinds:
        return False
    if column.kind in ("number", "whole"):
        cast = values.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
        known = cast[np.isfinite(cast)]
        past = history.number(column.name)
        # A few flags look alike in any table.
        if len(known) < limits.MIN_ROWS or len(np.unique(past.pooled)) < limits.LATTICE_DISTINCT:
            return False
        return past.shape(known) / past.worst_shape <= limits.INSIDE
    words = values.cast(pl.String, strict=False).drop_nulls().to_list()
    kept = history.words(column.name)
    if len(words) < limits.MIN_ROWS or not kept.names:
        return False
    return len(kept.names) > 1 and kept.shape(words) / kept.worst_shape <= limits.INSIDE


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def unreadable(
    raw: pl.DataFrame, failed: Mapping[str, pl.Series], then: Mapping[str, pl.Series], schema: Schema
) -> list[Cause]:
    """Columns in which more cells are no value of their kind than in the reference (`then`)."""
    found = []
    for name, mask in failed.items():
        rows = int(mask.sum())
        share = rows / max(raw.height, 1)
        before = then[name].mean() if name in then and len(then[name]) else 0.0
        usual = float(before) if isinstance(before, int | float) else 0.0
        if rows < limits.RATE_ROWS or share <= limits.BEYOND * usual + UNREADABLE:
            continue
        kind = NAMES.get(schema.column(name).kind, schema.column(name).kind)
        texts = raw[name].filter(mask).cast(pl.String).head(5).to_list()
        comma = schema.column(name).kind == "number" and _commas(texts)
        said = "are written with a decimal comma" if comma else f"are no {kind}"
        found.append(
            Cause(
                kind="type",
                form="other",
                columns=(name,),
                detail=f"{100 * share:.0f} % of the cells of {name} {said}, such as {', '.join(map(repr, texts[:3]))}",
                confidence="certain",
                affected=mask.to_numpy(),
                effect=Effect(rows),
                fix=f'decimal = "," in the schema of {name}' if comma else f"supply {name} as {kind}",
                proof=f"{100 * usual:.1f} % of the reference's",
                examples=tuple({"came": {name: one}} for one in texts),
            )
        )
    return found


def _commas(texts: Sequence[str | None]) -> bool:
    plain = [one for one in texts if one]
    return bool(plain) and all(one.count(",") == 1 and one.replace(",", "").strip("+- ").isdigit() for one in plain)

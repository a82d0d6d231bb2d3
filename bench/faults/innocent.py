"""Changes that are nobody's fault: those that must stay silent, and those that fall together with a fault.

A release, a feed's new version or a caller's deploy at the moment of a fault is the first thing people blame. Each
tape carries one that has nothing to do with its fault, and a cause that points at it is scored as a fault of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from faults.catalogue import Fault
from faults.plays import Array, Play, both, linear, renamed_caller, thinned, where
from faults.streams import CALLERS, Stream
from middlewatch.fingerprints import Cause


@dataclass(frozen=True)
class Innocent:
    """`columns` and `slices` that a cause must not name because of it."""

    name: str
    play: Play
    columns: tuple[str, ...] = ()
    slices: tuple[tuple[str, str], ...] = ()

    def blamed(self, causes: tuple[Cause, ...]) -> bool:
        """Whether a cause points here."""
        return any(set(one.columns) & set(self.columns) or one.slice in self.slices for one in causes)


NAMES = ("a caller's deploy", "a release", "a feed's new version", "all three")


def beside(name: str, stream: Stream, fault: Fault, rng: np.random.Generator) -> Innocent:
    """An innocent change of this name beside a fault."""
    if name == "all three":
        parts = [beside(one, stream, fault, rng) for one in NAMES[:3]]
        return Innocent(
            name,
            both(*(one.play for one in parts)),
            tuple(c for one in parts for c in one.columns),
            tuple(s for one in parts for s in one.slices),
        )
    if name == "a release":
        return Innocent(name, _released, (), (("mw.version", "v1"), ("mw.version", "v2")))
    if name == "a caller's deploy":
        guilty = fault.slice[1] if fault.slice is not None else ""
        caller = next(one for one in CALLERS if one not in (guilty, "billing-api/4.2"))
        new = ("mw.caller", f"{caller}/7.1")
        # A feed that stands still by the caller is another one for each of them: its name is no blame.
        slices = () if fault.kinds[0] == "time/stale" and not stream.feeds else (new,)
        return Innocent(name, renamed_caller(caller, new[1]), (), slices)
    others = [c for c in stream.kinds if c not in fault.columns and stream.kinds[c] in ("number", "category")]
    if not others:
        return Innocent(name, lambda rows, *_: rows)
    column = str(rng.choice(others))
    if stream.kinds[column] == "category":
        return Innocent(name, where(column, pl.lit("zz rare"), share=0.006), (column,))
    return Innocent(name, where(column, pl.col(column).cast(pl.Float32).cast(pl.Float64)), (column,))


def _released(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
    """Another version answers, and answers the same."""
    return rows.with_columns(
        pl.when(pl.lit(pl.Series(mask))).then(pl.lit("v2")).otherwise("mw.version").alias("mw.version")
    )


def harmless(stream: Stream, rng: np.random.Generator) -> Iterator[tuple[str, Play]]:
    """Changes that must stay silent: no prediction to speak of changes, or it is how things are."""
    numbers = [c for c in stream.columns("number", "whole") if stream.rows[c].n_unique() > 10]
    words = stream.columns("category", least=0.03)
    if numbers:
        number = str(rng.choice(numbers))
        sd = float(stream.rows[number].cast(pl.Float64).std() or 0.0)  # type: ignore[arg-type]
        yield f"{number} as float32", where(number, pl.col(number).cast(pl.Float32).cast(pl.Float64))
        yield f"{number} as a decimal", lambda rows, *_: rows.with_columns(pl.col(number).cast(pl.Float64))
        if max(share for _, share in stream.top(number)) < 0.05:  # else it would be a change of one frequent value
            yield f"{number} 0.5 % of a sd higher", linear(number, 1.0, 0.005 * sd)
        yield f"{number} null in 0.4 %", where(number, pl.lit(None), share=0.004)
    if words:
        word = str(rng.choice(words))
        yield f"a rare new {word}", where(word, pl.lit("zz rare"), share=0.008)
    idle = [c for c, weight in stream.weights.items() if weight < 0.01 and stream.kinds[c] in ("number", "whole")]
    if idle:
        yield f"{idle[0]} x1000, without weight", linear(idle[0], 1000.0)
        yield f"{idle[0]} null, without weight", where(idle[0], pl.lit(None))
    yield "columns in another order", lambda rows, *_: rows.select(reversed(rows.columns))
    yield "half the traffic", thinned(0.5)
    yield "a release that answers the same", _released
    yield (
        "a caller leaves",
        lambda rows, mask, _: rows.filter(pl.Series(~mask | (rows["mw.caller"] != CALLERS[2]).to_numpy())),
    )
    yield "a new version of a caller", renamed_caller(CALLERS[1], "billing-api/4.3")

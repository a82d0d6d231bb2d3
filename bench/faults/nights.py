"""Faults that rows alone cannot show: what clients send, which version answers where, which outcomes come.

They are played through a server and the command line (`real`), as is a choice of the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from faults import plays
from faults.catalogue import FAULTS, Fault
from faults.plays import Array
from faults.streams import CALLERS, Stream

ONE = CALLERS[1]
Body = dict[str, Any]

STUCK = """
from middlewatch.serve.live import Live
follow = Live.follow
Live.follow = lambda self: None if self.scorers else follow(self)
"""
"""A second server that loads what is live as it starts and never looks again."""
COARSE = """
import struct
from middlewatch.serve import scorer
made = scorer.Scorer.__init__
def init(self, *given, **named):
    made(self, *given, **named)
    row = self._row
    self._row = lambda inputs: struct.unpack("f", struct.pack("f", row(inputs)))[0]
scorer.Scorer.__init__ = init
"""
"""A second server that answers as a library of another build would: in 32 bits."""
OLD, LIVE, PLANNED, STRICT, POOR = "v1", "v2", "v3", "v4", "v5"
"""Versions of the base: of the first days; live; the same data again; another threshold; of the first days again."""


@dataclass(frozen=True)
class Night:
    """`send`: what a client makes of a row since onset; `release`: the version made live at the onset; `second`: what
    is run before a second server, which gets every other request; `outcomes`: those that come of the day's rows.
    `quiet`: nothing should be named."""

    idea: str
    fault: Fault
    strength: int = 1
    send: Callable[[Body, str], Body] | None = None
    release: str = ""
    second: str = ""
    outcomes: Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame] | None = None
    quiet: bool = False


def _as_is(rows: pl.DataFrame, mask: Array, rng: np.random.Generator) -> pl.DataFrame:
    return rows


def _sent(idea: str, column: str, kind: str, change: Callable[[Body], Body], caller: str | None) -> Night:
    """A change of the request itself, by all callers or one."""
    part = ("mw.caller", caller) if caller else None
    fault = Fault(f"{idea}: {column} {caller or ''}", _as_is, (column,), (kind,), part, every=caller is None)
    return Night(idea, fault, send=lambda body, who: change(body) if caller in (None, who) else body)


def requests(stream: Stream, rng: np.random.Generator) -> Iterator[Night]:
    """Types and names that changed on the way: what is refused says it."""
    for caller in (None, ONE):
        numbers = stream.columns("number", "whole")
        column = str(rng.choice(numbers))
        yield _sent("number_as_text", column, "type/number_as_text", lambda b, c=column: {**b, c: str(b[c])}, caller)  # type: ignore[misc]
        column = str(rng.choice(numbers))
        yield _sent(
            "decimal_comma",
            column,
            "type",
            lambda b, c=column: {**b, c: f"{b[c]},5"},  # type: ignore[misc]
            caller,
        )
        column = str(rng.choice(list(stream.kinds)))
        yield _sent(
            "missing",
            column,
            "columns/missing",
            lambda b, c=column: {k: v for k, v in b.items() if k != c},  # type: ignore[misc]
            caller,
        )
        column = str(rng.choice(list(stream.kinds)))
        yield _sent(
            "field_renamed",
            column,
            "columns/renamed",
            lambda b, c=column: {c.upper() + "_" if k == c else k: v for k, v in b.items()},  # type: ignore[misc]
            caller,
        )
        flags = stream.columns("boolean", least=0.0)
        if flags:
            yield _sent(
                "bool_as_text",
                flags[0],
                "type/bool_as_text",
                lambda b, c=flags[0]: {**b, c: "yes" if b[c] else "no"},  # type: ignore[misc]
                caller,
            )


def versions() -> Iterator[Night]:
    """Another version, threshold or machine answers; none of the inputs changed."""
    yield Night("wrong_version", Fault("an older version", _as_is, (), ("release/wrong_version",)), release=OLD)
    mixed = Fault("one of two servers keeps the old version", _as_is, (), ("release/mixed_versions",), every=False)
    yield Night("mixed_versions", mixed, release=POOR, second=STUCK)
    yield Night("threshold", Fault("another threshold", _as_is, (), ("release/threshold",)), release=STRICT)
    coarse = Fault("one of two servers answers in 32 bits", _as_is, (), ("environment",), every=False)
    yield Night("environment", coarse, second=COARSE)


def outcomes(stream: Stream) -> Iterator[Night]:
    """Outcomes that stay away, or mean something else."""
    target = stream.target

    def none(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        return rows.head(rows.height // 20)

    yield Night("labels_late", Fault("no outcomes come", _as_is, (target,), ("labels/late",)), outcomes=none)
    words = stream.columns("category", least=0.0)
    if words:
        column = words[0]
        value, _ = stream.top(column)[0]

        def without(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
            return rows.filter((pl.col(column) != value).fill_null(True))

        fault = Fault(f"no outcomes of {column} {value}", _as_is, (target,), ("labels/late",), (column, value))
        yield Night("labels_late", fault, outcomes=without)
    for share in (0.5, 1.0):

        def turned(rows: pl.DataFrame, rng: np.random.Generator, share: float = share) -> pl.DataFrame:
            hit = pl.lit(pl.Series(rng.random(rows.height) < share))
            return rows.with_columns(pl.when(hit).then(1 - pl.col(target)).otherwise(pl.col(target)).alias(target))

        fault = Fault(f"outcomes turned in {share:.0%}", _as_is, (target,), ("labels/changed",))
        yield Night("labels_changed", fault, 1 + int(share), outcomes=turned)


def traffic() -> Iterator[Night]:
    """Fewer rows than ever, and more."""
    for at, share in enumerate((0.3, 0.1)):
        fault = Fault(f"{share:.0%} of the rows arrive", plays.thinned(share), (), ("rows/volume",))
        yield Night("volume", fault, 1 + at)
    late = Fault("no rows arrive from the onset on", plays.thinned(0.0), (), ("rows/late", "rows/volume"))
    yield Night("rows_late", late)


def calm(stream: Stream) -> Iterator[Night]:
    """Days on which nothing is wrong, with all that is innocent."""
    nothing = Fault("nothing", _as_is, (), ("nothing",))
    yield Night("clean", nothing, quiet=True)
    yield Night("harmless", Fault("a planned release", _as_is, (), ("nothing",)), release=PLANNED, quiet=True)
    yield Night("harmless", Fault("a second server", _as_is, (), ("nothing",)), second="pass", quiet=True)
    yield Night("harmless", Fault("half the traffic", plays.thinned(0.6), (), ("nothing",)), quiet=True)
    shuffled = Fault("fields in another order", _as_is, (), ("nothing",))
    yield Night("harmless", shuffled, send=lambda body, _: dict(reversed(body.items())), quiet=True)
    whole = stream.columns("whole", least=0.0)
    if whole:
        column = whole[0]
        fault = Fault(f"{column} as 5.0 for 5", _as_is, (column,), ("nothing",))
        yield Night("harmless", fault, send=lambda b, _: {**b, column: b[column] and float(b[column])}, quiet=True)


IDEAS = (
    "unit", "unit_of_a_caller", "temperature", "scaled_twice", "sign", "constant", "default", "sentinel",
    "nulls_filled", "nulls", "nulls_of_a_caller", "rounded", "clipped", "zone", "stale", "shuffled", "spelling",
    "renamed", "recoded", "permuted", "merged", "fresh", "swapped", "words_swapped", "segment_lost", "duplicates",
    "two_at_once",
)  # fmt: skip
"""Of the catalogue: one or two of every kind."""


def rows(stream: Stream, ideas: list[str], seed: int) -> Iterator[Night]:
    """Faults of the catalogue, each in one strength."""
    for idea in ideas:
        at = list(FAULTS).index(idea)
        strength = 1 + (at + seed) % 2
        fault = FAULTS[idea](stream, np.random.default_rng([seed, at]), strength)
        if fault is None:
            continue
        if any(stream.kinds[c] == "whole" for c in fault.columns):
            # Decimals in a column of whole numbers are refused: that is what the schema is for, and the answer.
            fault = replace(fault, kinds=(*fault.kinds, "type/other"))
        yield Night(idea, fault, strength)


def nights(stream: Stream, seed: int, only: list[str], *, labels: bool) -> Iterator[Night]:
    """Everything that is played on a data set, or what goes by one of the names in `only`."""
    rng = np.random.default_rng([seed, 4])
    yield from rows(stream, [one for one in only or IDEAS if one in FAULTS], seed)
    others = [*requests(stream, rng), *versions(), *traffic(), *calm(stream), *(outcomes(stream) if labels else ())]
    yield from (one for one in others if not only or one.idea in only)

"""What is done to a day's rows: the 64 faults of the first measurement on flights, and faults by kind of column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]

ROWS = "(rows)"


class Fault(NamedTuple):
    """A family, a name, the column it is planted in, and what it does to a day's rows."""

    family: str
    name: str
    column: str
    change: Change


WHOLE = ("sched_hour", "distance", "plane_year", "seats")


def _column(name: str, change: Callable[[pl.Expr], pl.Expr]) -> Change:
    return lambda frame, _: frame.with_columns(change(pl.col(name)).cast(frame.schema[name]).alias(name))


def _part(name: str, share: float, value: Any) -> Change:
    def plant(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        hit = pl.Series(chance.random(frame.height) < share)
        changed = pl.when(hit).then(pl.lit(value)).otherwise(pl.col(name)).cast(frame.schema[name])
        return frame.with_columns(changed.alias(name))

    return plant


def _swap(a: str, b: str) -> Change:
    return lambda frame, _: frame.with_columns(
        pl.col(b).cast(frame.schema[a]).alias(a), pl.col(a).cast(frame.schema[b]).alias(b)
    )


def _duplicate(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    kept = chance.permutation(frame.height)[: int(frame.height * 0.7)]
    rows = np.sort(np.concatenate([kept, chance.choice(kept, frame.height - kept.size)]))
    return frame[rows]


def _thinned(share: float) -> Change:
    return lambda frame, chance: frame.filter(pl.Series(chance.random(frame.height) < share))


def _doubled(frame: pl.DataFrame, _: np.random.Generator) -> pl.DataFrame:
    return frame[np.repeat(np.arange(frame.height), 2)]


def _population(share: float, which: pl.Expr) -> Change:
    """A share of the rows is replaced by rows of one kind, drawn from the day itself."""

    def plant(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        other = np.flatnonzero(frame.select(which.fill_null(False)).to_series().to_numpy())
        rows = np.arange(frame.height)
        hit = chance.random(frame.height) < share
        rows[hit] = chance.choice(other, int(hit.sum()))
        return frame[rows]

    return plant


def _shuffle(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
    return frame.with_columns(frame["distance"][chance.permutation(frame.height)].alias("distance"))


def _whole(column: pl.Expr) -> pl.Expr:
    return column.round().cast(pl.Int64)


def _moved(by: float, whole: bool) -> Callable[[pl.Expr], pl.Expr]:
    return (lambda column: _whole(column + by)) if whole else (lambda column: column + by)


_COMMUTERS = (pl.col("carrier") == "EV") & (pl.col("origin") == "EWR")


def of_flights(spread: Mapping[str, float]) -> list[Fault]:
    """The 64 faults of the design's measurement, as far as they were described."""
    found = [
        Fault("unit", "miles to km", "distance", _column("distance", lambda c: _whole(c * 1.609344))),
        Fault("unit", "F to C", "temp", _column("temp", lambda c: (c - 32) / 1.8)),
        Fault("unit", "mph to m/s", "wind_speed", _column("wind_speed", lambda c: c * 0.44704)),
        Fault("unit", "percent to share", "humid", _column("humid", lambda c: c / 100)),
        Fault("unit", "x1.1", "distance", _column("distance", lambda c: _whole(c * 1.1))),
        Fault("unit", "miles to km", "visib", _column("visib", lambda c: c * 1.609344)),
        Fault("unit", "inches to mm", "precip", _column("precip", lambda c: c * 25.4)),
        Fault("constant", "constant", "seats", _column("seats", lambda c: pl.lit(150))),
        Fault("constant", "constant", "temp", _column("temp", lambda c: pl.lit(60.0))),
        Fault("constant", "constant", "visib", _column("visib", lambda c: pl.lit(10.0))),
        Fault("constant", "-999 in 5 %", "plane_year", _part("plane_year", 0.05, -999)),
        Fault("constant", "stale, first value kept", "humid", _column("humid", lambda c: c.first())),
        Fault("category", "rename UA", "carrier", _column("carrier", lambda c: c.replace("UA", "United"))),
        Fault("category", "merge AA into US", "carrier", _column("carrier", lambda c: c.replace("AA", "US"))),
        Fault("category", "lower case", "origin", _column("origin", lambda c: c.str.to_lowercase())),
        Fault("category", "rename ATL", "dest", _column("dest", lambda c: c.replace("ATL", "ATX"))),
        Fault("swap", "swap", "temp", _swap("temp", "humid")),
        Fault("swap", "swap", "origin", _swap("origin", "dest")),
        Fault("swap", "swap", "seats", _swap("seats", "plane_year")),
        Fault("swap", "hour in UTC", "sched_hour", _column("sched_hour", lambda c: (c + 4) % 24)),
        Fault("swap", "hour one off", "sched_hour", _column("sched_hour", lambda c: (c + 1) % 24)),
        Fault("swap", "sign", "temp", _column("temp", lambda c: -c)),
        Fault("truncate", "at most 1000", "distance", _column("distance", lambda c: c.clip(upper_bound=1000))),
        Fault("truncate", "at most 60", "temp", _column("temp", lambda c: c.clip(upper_bound=60))),
        Fault("round", "to whole", "temp", _column("temp", lambda c: c.round())),
        Fault("round", "to whole", "humid", _column("humid", lambda c: c.round())),
        Fault("round", "to whole", "wind_speed", _column("wind_speed", lambda c: c.round())),
        Fault("round", "to tens", "distance", _column("distance", lambda c: (c / 10).round() * 10)),
        Fault("rows", "duplicates 30 %", ROWS, _duplicate),
        Fault("rows", "other population 10 %", ROWS, _population(0.1, _COMMUTERS)),
        Fault("rows", "other population 30 %", ROWS, _population(0.3, _COMMUTERS)),
        Fault("shuffle", "shuffled", "distance", _shuffle),
    ]
    found += [
        Fault("nulls", f"nulls {share:.0%}", name, _part(name, share, None))
        for name in ("plane_year", "temp", "distance", "carrier")
        for share in (0.05, 0.2, 0.5)
    ]
    found += [
        Fault("shift", f"shift {size:g} sd", name, _column(name, _moved(size * spread[name], name in WHOLE)))
        for name in ("distance", "plane_year", "seats", "temp", "humid")
        for size in (0.1, 0.25, 0.5, 1.0)
    ]
    return found


def lost(name: str, levels: Sequence[str]) -> list[Fault]:
    """Faults outside the design's 64: all rows of one category are gone, of a frequent one and of a rare one."""
    return [
        Fault("segment lost", word, name, _kept(pl.col(name) != level))
        for word, level in (("the second", levels[1]), ("the middle one", levels[len(levels) // 2]))
    ]


def _kept(which: pl.Expr) -> Change:
    return lambda frame, _: frame.filter(which.fill_null(True))


def beyond() -> list[Fault]:
    """Faults outside the design's 64: how many rows there are."""
    return [
        Fault("volume", "every second row lost", ROWS, _thinned(0.5)),
        Fault("volume", "every fourth row lost", ROWS, _thinned(0.75)),
        Fault("volume", "every row twice", ROWS, _doubled),
    ]


# --------------------------------------------------------------------------- by the kind of a column, for any stream


@dataclass(frozen=True)
class Column:
    """What planting a fault in a column needs to know: its kind, and of its usual values spread, middle, heights."""

    name: str
    kind: str
    spread: float = 0.0
    middle: float = 0.0
    high: float = 0.0
    levels: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.kind == "whole"


def column_of(name: str, kind: str, values: pl.Series) -> Column:
    """Measured on the usual values of a column; `levels` the most frequent first."""
    if kind == "category":
        counted = values.drop_nulls().value_counts(sort=True)
        return Column(name, kind, levels=tuple(counted[name].to_list()))
    numbers = values.cast(pl.Float64).drop_nulls()
    spread, middle, high = numbers.std(), numbers.median(), numbers.quantile(0.8)
    return Column(name, kind, float(spread or 0.0), float(middle or 0.0), float(high or 0.0))  # type: ignore[arg-type]


def generic(columns: Sequence[Column], score: str) -> list[Fault]:
    """Faults planted by the kind of column alone, in every column and in the prediction, and in the rows."""
    found = [one for column in columns for one in (*_nulls(column), _shuffled(column))]
    found += [one for column in columns if column.kind in ("number", "whole") for one in _of_number(column)]
    found += [one for column in columns if column.kind == "category" for one in _of_category(column)]
    found += [
        Fault("unit", "the other way", one.name, _column(one.name, lambda c: ~c))
        for one in columns
        if one.kind == "boolean"
    ]
    for kinds in (("number", "whole"), ("category",)):
        alike = [one.name for one in columns if one.kind in kinds]
        found += [Fault("swap", f"with {b}", a, _swap(a, b)) for a, b in zip(alike[::2], alike[1::2], strict=False)]
    return found + _of_prediction(score) + _of_rows(columns)


def _nulls(column: Column) -> list[Fault]:
    found = [Fault("nulls", f"{share:.0%}", column.name, _part(column.name, share, None)) for share in (0.05, 0.2, 0.5)]
    return [*found, Fault("nulls", "a quarter on end", column.name, _burst(column.name, 0.25))]


def _of_number(column: Column) -> list[Fault]:
    name, whole = column.name, column.whole
    step = 10.0 ** math.floor(math.log10(max(column.spread, 1e-9) / 4))
    step = max(step, 10.0) if whole else step
    sentinel = "constant"
    found = [
        Fault("unit", "x1.609", name, _column(name, lambda c: _as(c * 1.609344, whole))),
        Fault("unit", "x0.01", name, _column(name, lambda c: _as(c * 0.01, whole))),
        Fault("unit", "sign", name, _column(name, lambda c: -c)),
        Fault(sentinel, "-999 in 5 %", name, _part(name, 0.05, -999)),
        Fault(sentinel, "the median in 20 %", name, _part(name, 0.2, column.middle)),
        Fault(sentinel, "the median", name, _part(name, 1.1, column.middle)),
        Fault(sentinel, "stale, first value kept", name, _column(name, lambda c: c.drop_nulls().first())),
        Fault(
            "truncate", "at most the usual 0.8 quantile", name, _column(name, lambda c: c.clip(upper_bound=column.high))
        ),
        Fault("round", f"to {step:g}", name, _column(name, lambda c: (c / step).round() * step)),
    ]
    return found + [
        Fault("shift", f"{size:g} sd", name, _column(name, _moved(size * column.spread, whole)))
        for size in (0.25, 0.5, 1.0)
    ]


def _of_category(column: Column) -> list[Fault]:
    name, levels = column.name, column.levels
    rare = levels[len(levels) // 2]
    return [
        Fault("category", "first renamed", name, _column(name, lambda c: c.replace(levels[0], levels[0] + "_"))),
        Fault("category", "middle one renamed", name, _column(name, lambda c: c.replace(rare, rare + "_"))),
        Fault("category", "second into first", name, _column(name, lambda c: c.replace(levels[1], levels[0]))),
        Fault("category", "other in 5 %", name, _part(name, 0.05, "other")),
        Fault("constant", "the most frequent", name, _part(name, 1.1, levels[0])),
        *lost(name, levels),
    ]


def _of_prediction(score: str) -> list[Fault]:
    odds = (pl.col(score) / (1 - pl.col(score))).log()

    def moved(by: float) -> Change:
        return lambda frame, _: frame.with_columns((1 / (1 + (-(odds + by)).exp())).alias(score))

    return [
        Fault("constant", "the mean", score, _column(score, lambda c: c.mean())),
        Fault("nulls", "5 %", score, _part(score, 0.05, None)),
        Fault("unit", "percent", score, _column(score, lambda c: c * 100)),
        Fault("swap", "the other class", score, _column(score, lambda c: 1 - c)),
        Fault("round", "to 0.05", score, _column(score, lambda c: (c * 20).round() / 20)),
        *(Fault("shift", f"{by:g} of log odds", score, moved(by)) for by in (0.1, 0.25, 0.5)),
    ]


def _of_rows(columns: Sequence[Column]) -> list[Fault]:
    by = next(one for one in columns if one.kind == "category")
    other = pl.col(by.name) == by.levels[1]
    return [
        Fault("rows", "duplicates 30 %", ROWS, _duplicate),
        Fault("rows", "10 % sent twice", ROWS, _again(0.1)),
        Fault("rows", "other population 10 %", ROWS, _population(0.1, other)),
        Fault("rows", "other population 30 %", ROWS, _population(0.3, other)),
        *beyond(),
    ]


def _as(column: pl.Expr, whole: bool) -> pl.Expr:
    return _whole(column) if whole else column


def _shuffled(column: Column) -> Fault:
    def plant(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        return frame.with_columns(frame[column.name][chance.permutation(frame.height)].alias(column.name))

    return Fault("shuffle", "shuffled", column.name, plant)


def _burst(name: str, share: float) -> Change:
    """All rows of a stretch of the day."""

    def plant(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        size = int(frame.height * share)
        first = int(chance.integers(0, frame.height - size + 1))
        hit = pl.int_range(frame.height).is_between(first, first + size - 1)
        return frame.with_columns(pl.when(hit).then(None).otherwise(pl.col(name)).alias(name))

    return plant


def _again(share: float) -> Change:
    """A share of the rows comes a second time, at once: a client that tries again."""

    def plant(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        twice = np.where(chance.random(frame.height) < share, 2, 1)
        return frame[np.repeat(np.arange(frame.height), twice)]

    return plant

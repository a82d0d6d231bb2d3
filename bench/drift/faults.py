"""What is done to a day's rows: the 64 faults of the first measurement on flights, and faults of the row count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]

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
    return pl.concat([frame, frame]).sort("departs", maintain_order=True)


def _population(share: float) -> Change:
    """A share of the rows is replaced by flights of one carrier from one airport, drawn from the day itself."""

    def plant(frame: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        other = np.flatnonzero(((frame["carrier"] == "EV") & (frame["origin"] == "EWR")).to_numpy())
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


def of_flights(spread: Mapping[str, float]) -> list[tuple[str, str, str, Change]]:
    """(group, name, column, change): the 64 faults of the design's measurement, as far as they were described."""
    found: list[tuple[str, str, str, Change]] = [
        ("unit", "miles to km", "distance", _column("distance", lambda c: _whole(c * 1.609344))),
        ("unit", "F to C", "temp", _column("temp", lambda c: (c - 32) / 1.8)),
        ("unit", "mph to m/s", "wind_speed", _column("wind_speed", lambda c: c * 0.44704)),
        ("unit", "percent to share", "humid", _column("humid", lambda c: c / 100)),
        ("unit", "x1.1", "distance", _column("distance", lambda c: _whole(c * 1.1))),
        ("unit", "miles to km", "visib", _column("visib", lambda c: c * 1.609344)),
        ("unit", "inches to mm", "precip", _column("precip", lambda c: c * 25.4)),
        ("constant", "constant", "seats", _column("seats", lambda c: pl.lit(150))),
        ("constant", "constant", "temp", _column("temp", lambda c: pl.lit(60.0))),
        ("constant", "constant", "visib", _column("visib", lambda c: pl.lit(10.0))),
        ("constant", "-999 in 5 %", "plane_year", _part("plane_year", 0.05, -999)),
        ("constant", "stale, first value kept", "humid", _column("humid", lambda c: c.first())),
        ("category", "rename UA", "carrier", _column("carrier", lambda c: c.replace("UA", "United"))),
        ("category", "merge AA into US", "carrier", _column("carrier", lambda c: c.replace("AA", "US"))),
        ("category", "lower case", "origin", _column("origin", lambda c: c.str.to_lowercase())),
        ("category", "rename ATL", "dest", _column("dest", lambda c: c.replace("ATL", "ATX"))),
        ("swap", "swap", "temp", _swap("temp", "humid")),
        ("swap", "swap", "origin", _swap("origin", "dest")),
        ("swap", "swap", "seats", _swap("seats", "plane_year")),
        ("swap", "hour in UTC", "sched_hour", _column("sched_hour", lambda c: (c + 4) % 24)),
        ("swap", "hour one off", "sched_hour", _column("sched_hour", lambda c: (c + 1) % 24)),
        ("swap", "sign", "temp", _column("temp", lambda c: -c)),
        ("truncate", "at most 1000", "distance", _column("distance", lambda c: c.clip(upper_bound=1000))),
        ("truncate", "at most 60", "temp", _column("temp", lambda c: c.clip(upper_bound=60))),
        ("round", "to whole", "temp", _column("temp", lambda c: c.round())),
        ("round", "to whole", "humid", _column("humid", lambda c: c.round())),
        ("round", "to whole", "wind_speed", _column("wind_speed", lambda c: c.round())),
        ("round", "to tens", "distance", _column("distance", lambda c: (c / 10).round() * 10)),
        ("rows", "duplicates 30 %", "(rows)", _duplicate),
        ("rows", "other population 10 %", "(rows)", _population(0.1)),
        ("rows", "other population 30 %", "(rows)", _population(0.3)),
        ("shuffle", "shuffled", "distance", _shuffle),
    ]
    found += [
        ("nulls", f"nulls {share:.0%}", name, _part(name, share, None))
        for name in ("plane_year", "temp", "distance", "carrier")
        for share in (0.05, 0.2, 0.5)
    ]
    found += [
        ("shift", f"shift {size:g} sd", name, _column(name, _moved(size * spread[name], name in WHOLE)))
        for name in ("distance", "plane_year", "seats", "temp", "humid")
        for size in (0.1, 0.25, 0.5, 1.0)
    ]
    return found


def beyond() -> list[tuple[str, str, str, Change]]:
    """Faults outside the design's 64: how many rows there are."""
    return [
        ("volume", "every second row lost", "(rows)", _thinned(0.5)),
        ("volume", "every fourth row lost", "(rows)", _thinned(0.75)),
        ("volume", "every row twice", "(rows)", _doubled),
    ]

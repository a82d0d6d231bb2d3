"""Faults by their idea: which columns they can hit, three strengths, and the right answer.

Nothing here names a column: each idea draws one of those it applies to, so that every data set gets all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from faults import plays
from faults.plays import Play, linear, mapped, where
from faults.streams import CALLERS, Stream

ONE = CALLERS[1]


@dataclass(frozen=True)
class Fault:
    """`columns`: any of them first is right (none: no column is); `kinds`: accepted "kind/form" beginnings, the
    first one is what the fault is called; `also`: columns of further faults, each of which must be named too."""

    name: str
    play: Play
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    slice: tuple[str, str] | None = None
    also: tuple[str, ...] = ()
    every: bool = True
    """Whether each row since onset shows it."""


Draw = Callable[[Stream, np.random.Generator, int], Fault | None]
"""A fault of strength 0 (weak), 1 or 2 (strong) on a data set, or None where the data set has no column for it."""


def _pick(rng: np.random.Generator, columns: list[str]) -> str | None:
    return str(rng.choice(columns)) if columns else None


def _numbers(stream: Stream) -> list[str]:
    return [c for c in stream.columns("number", "whole") if stream.rows[c].n_unique() > 10]


def _step(size: float) -> float:
    """The nearest of 1, 2, 5, 10, ... below a size."""
    power = 10.0 ** np.floor(np.log10(size))
    return float(power * max(d for d in (1, 2, 5) if d * power <= size * 1.0001))


# -- numbers ---------------------------------------------------------------------------------------------

WEAK, MIDDLE, STRONG = (
    (1.150779, 1 / 1.150779),
    (1.609344, 0.45359237, 3.28084, 1 / 2.54, 1.852),
    (100, 1000, 60, 1 / 12),
)


def _unit(
    stream: Stream,
    rng: np.random.Generator,
    strength: int,
    *,
    rounded: bool,
    share: float,
    caller: str | None,
    name: str,
) -> Fault | None:
    column = _pick(rng, _numbers(stream))
    if column is None:
        return None
    slope = float(rng.choice((WEAK, MIDDLE, STRONG)[strength]))
    digits = None
    if rounded:
        digits = max(stream.digits(column) + (1 if slope < 0.5 else 0), 0)
    play = linear(column, slope, 0.0, digits, share=share, caller=caller)
    part = ("mw.caller", caller) if caller else None
    every = share == 1 and caller is None
    return Fault(f"{name} {column} x{slope:.4g}", play, (column,), ("scale/unit",), part, every=every)


def unit(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    return _unit(stream, rng, strength, rounded=False, share=1.0, caller=None, name="unit")


def unit_rounded(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    return _unit(stream, rng, strength, rounded=True, share=1.0, caller=None, name="unit, rounded:")


def unit_of_a_caller(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    return _unit(stream, rng, strength, rounded=False, share=1.0, caller=ONE, name="unit of a caller:")


def unit_in_part(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    share = (0.15, 0.3, 0.6)[strength]
    return _unit(stream, rng, 1, rounded=False, share=share, caller=None, name=f"unit in {share:.0%}:")


def temperature(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    if not stream.temps:
        return None
    column, unit = stream.temps[int(rng.integers(len(stream.temps)))]
    to_other = (1 / 1.8, -32 / 1.8) if unit == "F" else (1.8, 32.0)
    to_kelvin = (1 / 1.8, 273.15 - 32 / 1.8) if unit == "F" else (1.0, 273.15)
    slope, offset = to_kelvin if strength == 2 else to_other
    play = linear(column, slope, offset, 1 if strength == 0 else None)
    return Fault(
        f"temperature {column} {unit} to {('other, 1 digit', 'other', 'K')[strength]}", play, (column,), ("scale/unit",)
    )


def ratio(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, [c for c in _numbers(stream) if stream.kinds[c] == "number"])
    if column is None:
        return None
    slope = (1.07, 1.23, 0.67)[strength]
    return Fault(
        f"ratio {column} x{slope}", linear(column, slope, 0, stream.digits(column)), (column,), ("scale/free", "scale/")
    )


def scaled_twice(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _numbers(stream))
    if column is None:
        return None
    values = stream.rows[column].drop_nulls().cast(pl.Float64).to_numpy()
    low, high = np.quantile(values, 0.25), np.quantile(values, 0.75)
    a, b, word = (
        (float(values.min()), float(np.ptp(values)), "0 to 1"),
        (float(values.mean()), float(values.std()), "mean and sd"),
        (float(np.median(values)), float(high - low), "median and quartiles"),
    )[strength]
    if b <= 0 or (abs(a) < 0.1 * b and 0.5 < b < 2):
        return None
    return Fault(f"scaled twice ({word}) {column}", linear(column, 1 / b, -a / b), (column,), ("scale/already_scaled",))


def sign(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, [c for c in _numbers(stream) if stream.quantile(c, 0.02) > 0 or stream.quantile(c, 0.98) < 0])
    if column is None:
        return None
    share, caller = ((0.3, None), (1.0, ONE), (1.0, None))[strength]
    part = ("mw.caller", caller) if caller else None
    play = linear(column, -1, share=share, caller=caller)
    return Fault(
        f"sign {column} {share:.0%} {caller or ''}", play, (column,), ("scale/sign",), part, every=strength == 2
    )


def constant(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _numbers(stream))
    if column is None:
        return None
    value = (stream.quantile(column, 0.5), stream.quantile(column, 0.9), 0.0)[strength]
    return Fault(
        f"constant {column} {value:g}", where(column, pl.lit(value)), (column,), ("fill/constant", "time/stale")
    )


def default(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _numbers(stream))
    if column is None:
        return None
    share = (0.15, 0.35, 0.7)[strength]
    value = round(stream.quantile(column, 0.7), stream.digits(column)) if rng.random() < 0.5 else 0.0
    return Fault(
        f"default {column} {value:g} in {share:.0%}",
        where(column, pl.lit(value), share=share),
        (column,),
        ("fill/default", "fill/"),
        every=False,
    )


def sentinel(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, [c for c in _numbers(stream) if stream.quantile(c, 0) >= 0])
    if column is None:
        return None
    share, value = (0.04, 0.1, 0.3)[strength], float(rng.choice((-1, -999, 99999, -9999)))
    return Fault(
        f"sentinel {column} {value:g} in {share:.0%}",
        where(column, pl.lit(value), share=share),
        (column,),
        ("fill/sentinel",),
        every=False,
    )


def nulls_filled(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, [c for c in _numbers(stream) if stream.rows[c].null_count() > 0.04 * stream.rows.height])
    if column is None:
        return None
    values = stream.rows[column].drop_nulls().cast(pl.Float64).to_numpy()
    value = (float(np.median(values)), float(values.mean()), 0.0)[strength]
    play = where(column, pl.col(column).cast(pl.Float64).fill_null(value))
    return Fault(
        f"nulls of {column} are {value:g}", play, (column,), ("fill/nulls_filled", "fill/sentinel"), every=False
    )


def nulls(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, stream.columns("number", "whole", "category", "boolean"))
    if column is None:
        return None
    share = (0.12, 0.4, 1.0)[strength]
    return Fault(
        f"nulls {column} {share:.0%}",
        where(column, pl.lit(None), share=share),
        (column,),
        ("nulls",),
        every=strength == 2,
    )


def nulls_of_a_caller(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column, caller = _pick(rng, stream.columns("number", "whole", "category")), CALLERS[2 - strength]
    if column is None:
        return None
    play = where(column, pl.lit(None), caller=caller)
    return Fault(f"nulls {column} of {caller}", play, (column,), ("nulls",), ("mw.caller", caller), every=False)


def rounded(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    return _coarse(stream, rng, strength, "rounded")


def truncated(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    return _coarse(stream, rng, strength, "truncated")


def _coarse(stream: Stream, rng: np.random.Generator, strength: int, form: str) -> Fault | None:
    fit = []
    for column in _numbers(stream):
        spread = stream.quantile(column, 0.9) - stream.quantile(column, 0.1)
        step = _step(spread * (0.1, 0.25, 0.5)[strength]) if spread > 0 else 0.0
        if step >= 3 * 10.0 ** -stream.digits(column):
            fit.append((column, step))
    if not fit:
        return None
    column, step = fit[int(rng.integers(len(fit)))]
    scaled = pl.col(column).cast(pl.Float64) / step
    change = (scaled.round() if form == "rounded" else scaled.floor()) * step
    # A cut-off moves the middle and is told apart by that, where the step is large enough.
    kinds = (f"precision/{form}", "precision/rounded") if form == "truncated" else ("precision/rounded",)
    return Fault(f"{form} {column} by {step:g}", where(column, change), (column,), kinds)


def clipped(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _numbers(stream))
    if column is None:
        return None
    at = (0.93, 0.85, 0.65)[strength]
    limit, low = stream.quantile(column, at), stream.quantile(column, 1 - at)
    if rng.random() < 0.5 or stream.quantile(column, 0.02) == low:
        change = pl.col(column).clip(upper_bound=limit)
    else:
        change = pl.col(column).clip(lower_bound=low)
    return Fault(f"clipped {column} at {at}", where(column, change), (column,), ("precision/clipped",), every=False)


def zone(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, list(stream.hours))
    if column is None:
        return None
    by = (1, -5, 8)[strength]
    return Fault(f"zone {column} {by:+d}", where(column, (pl.col(column) + by) % 24), (column,), ("time/zone",))


def stale(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    if stream.feeds:
        columns, by = stream.feeds[0]
        columns = columns if strength == 2 else columns[:3] if strength == 1 else columns[:1]
    else:
        column = _pick(rng, _numbers(stream))
        if column is None:
            return None
        columns, by = (column,), "mw.caller"
    return Fault(f"stale {', '.join(columns)}", plays.frozen(columns, by), columns, ("time/stale", "fill/constant"))


def shuffled(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column, partner = _related(stream, rng)
    if column is None:
        return None
    share = (0.5, 0.75, 1.0)[strength]
    return Fault(f"shuffled {column} {share:.0%}", plays.shuffled(column, share), (column, partner), ("relation",))


def lagged(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column, partner = _related(stream, rng)
    if column is None:
        return None
    by = (1, 7, 60)[strength]
    return Fault(f"lagged {column} by {by}", plays.lagged(column, by), (column, partner), ("time/shifted", "relation"))


def _related(stream: Stream, rng: np.random.Generator) -> tuple[str | None, str]:
    """A number column that goes with another one (rank correlation of 0.5), and that other one."""
    numbers = _numbers(stream)
    some = stream.rows.tail(4000)  # within a few days: seasons relate everything
    ranks = {c: some[c].cast(pl.Float64).fill_null(0.0).rank().to_numpy() for c in numbers}
    pairs = [(a, b) for a in numbers for b in numbers if a != b and abs(np.corrcoef(ranks[a], ranks[b])[0, 1]) > 0.5]
    return pairs[int(rng.integers(len(pairs)))] if pairs else (None, "")


def drifted(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    """A real change of the world: no kind fits, `drift` or silence is right."""
    column = _pick(rng, _numbers(stream))
    if column is None:
        return None
    by = (0.3, 0.6, 1.0)[strength] * float(stream.rows[column].cast(pl.Float64).std() or 0.0)  # type: ignore[arg-type]
    return Fault(f"drift {column} by {by:.3g}", plays.noisy(column, by, stream.digits(column)), (column,), ("drift",))


# -- words -----------------------------------------------------------------------------------------------


def _words(stream: Stream, least: int = 2) -> list[str]:
    return [c for c in stream.columns("category", least=0.03) if stream.rows[c].n_unique() >= least]


def spelling(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, [c for c in _words(stream) if stream.rows[c].str.contains("[A-Za-z]").any()])
    if column is None:
        return None
    text = pl.col(column)
    change = (text.str.to_lowercase() + " ", text + "  ", pl.lit(" ") + text.str.to_uppercase() + " ")[strength]
    share, caller = ((1.0, ONE), (0.3, None), (1.0, None))[strength]
    part = ("mw.caller", caller) if caller else None
    play = where(column, change, share=share, caller=caller)
    return Fault(
        f"spelling {column} {strength}", play, (column,), ("categories/case_or_space",), part, every=strength == 2
    )


def renamed(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _words(stream))
    if column is None:
        return None
    usable = [name for name, share in stream.top(column) if share >= (0.05, 0.12, 0.25)[strength]]
    if not usable:
        return None
    name = usable[-1]
    play = mapped(column, {name: f"the {name[::-1]} kind"})
    return Fault(f"renamed {column} {name}", play, (column,), ("categories/renamed", "categories/recoded"), every=False)


def recoded(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _words(stream, 3))
    if column is None:
        return None
    names = [name for name, _ in stream.top(column)]
    codes = rng.permutation(len(names)) + 100
    caller = ONE if strength == 0 else None
    play = mapped(column, dict(zip(names, (f"c{c}" for c in codes), strict=True)), caller=caller)
    part = ("mw.caller", caller) if caller else None
    return Fault(
        f"recoded {column} {caller or ''}",
        play,
        (column,),
        ("categories/recoded", "categories/renamed"),
        part,
        every=strength > 0,
    )


def permuted(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _words(stream))
    if column is None:
        return None
    top = [name for name, share in stream.top(column) if share > 0.02]
    names = top[: (2, 3, 8)[strength]]
    if len(names) < 2:
        return None
    play = mapped(column, dict(zip(names, [*names[1:], names[0]], strict=True)))
    return Fault(f"permuted {column} {len(names)}", play, (column,), ("categories/permuted",), every=False)


def merged(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _words(stream, 4))
    if column is None:
        return None
    rare = stream.top(column)[(3, 2, 1)[strength] :]
    if len(rare) < 2 or sum(share for _, share in rare) < 0.08:
        return None
    play = mapped(column, {name: "OTHER" for name, _ in rare})
    return Fault(f"merged {column} {len(rare)}", play, (column,), ("categories/merged",), every=False)


def fresh(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _words(stream))
    if column is None:
        return None
    share = (0.06, 0.15, 0.4)[strength]
    return Fault(
        f"new value of {column} in {share:.0%}",
        where(column, pl.lit("zz new"), share=share),
        (column,),
        ("categories/new",),
        every=False,
    )


def word_constant(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, _words(stream))
    if column is None:
        return None
    value = stream.top(column)[min(2 - strength, len(stream.top(column)) - 1)][0]
    share = (0.5, 1.0, 1.0)[strength]
    kinds = ("fill/constant", "time/stale") if share == 1 else ("fill/default",)
    return Fault(f"{column} is {value} in {share:.0%}", where(column, pl.lit(value), share=share), (column,), kinds)


def flipped(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    column = _pick(rng, stream.columns("boolean", least=0.02))
    if column is None:
        return None
    share, caller = ((1.0, ONE), (0.4, None), (1.0, None))[strength]
    part = ("mw.caller", caller) if caller else None
    play = where(column, ~pl.col(column), share=share, caller=caller)
    return Fault(f"flipped {column} {share:.0%} {caller or ''}", play, (column,), ("categories/permuted",), part)


# -- pairs and rows --------------------------------------------------------------------------------------


def swapped(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    return _swapped(_numbers(stream), rng, strength)


def words_swapped(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    return _swapped(_words(stream), rng, strength)


def _swapped(columns: Sequence[str], rng: np.random.Generator, strength: int) -> Fault | None:
    pairs = [(a, b) for a in columns for b in columns if a < b]
    if not pairs:
        return None
    a, b = pairs[int(rng.integers(len(pairs)))]
    caller = ONE if strength == 0 else None
    part = ("mw.caller", caller) if caller else None
    return Fault(
        f"swapped {a}, {b} {caller or ''}",
        plays.swapped(a, b, caller=caller),
        (a, b),
        ("columns/swapped",),
        part,
        every=strength > 0,
    )


def segment_lost(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    options = [
        (c, name)
        for c in _words(stream)
        for name, share in stream.top(c)
        if (0.08, 0.2, 0.35)[strength] <= share <= (0.2, 0.35, 0.6)[strength]
    ]
    if not options:
        return None
    column, value = options[int(rng.integers(len(options)))]
    return Fault(f"lost {column} {value}", plays.lost(column, value), (column,), ("rows/segment_lost",))


def segment_grown(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    options = [(c, name) for c in _words(stream) for name, share in stream.top(c) if 0.03 <= share <= 0.25]
    if not options:
        return None
    column, value = options[int(rng.integers(len(options)))]
    share = (0.2, 0.4, 0.7)[strength]
    others = stream.rows.filter(pl.col(column) == value)
    if others.height < 3000:
        return None
    play = plays.grown(others, share)
    return Fault(f"grown {column} {value} by {share:.0%}", play, (column,), ("rows/segment_new",), every=False)


def duplicates(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    share = (0.15, 0.3, 0.8)[strength]
    return Fault(f"duplicates {share:.0%}", plays.doubled(share), (), ("rows/duplicates",), every=False)


def two_at_once(stream: Stream, rng: np.random.Generator, strength: int) -> Fault | None:
    numbers = _numbers(stream)
    if len(numbers) < 2:
        return None
    a, b = (str(one) for one in rng.choice(numbers, 2, replace=False))
    second = (where(b, pl.lit(None), share=0.3), where(b, pl.lit(-999.0), share=0.2), linear(b, 100.0))[strength]
    kinds = ("scale/unit", ("nulls", "fill/sentinel", "scale/unit")[strength])
    return Fault(
        f"two: {a} x1.609 and {b} {strength}",
        plays.both(linear(a, 1.609344), second),
        (a, b),
        kinds,
        also=(a, b),
        every=False,
    )


FAULTS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        unit,
        unit_rounded,
        unit_of_a_caller,
        unit_in_part,
        temperature,
        ratio,
        scaled_twice,
        sign,
        constant,
        default,
        sentinel,
        nulls_filled,
        nulls,
        nulls_of_a_caller,
        rounded,
        truncated,
        clipped,
        zone,
        stale,
        shuffled,
        lagged,
        spelling,
        renamed,
        recoded,
        permuted,
        merged,
        fresh,
        word_constant,
        flipped,
        swapped,
        words_swapped,
        segment_lost,
        segment_grown,
        duplicates,
        two_at_once,
        drifted,
    )
}

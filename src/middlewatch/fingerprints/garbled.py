"""Numbers written one way and read another: their logarithms, integers that overflowed, a lost point or comma.

The idea: such a change can be played over the past. If the window looks like the past so changed, in every quantile
and as closely as past windows do among each other, and unlike the past as it was, that is what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import middlewatch.fingerprints.thresholds as limits

from .candidate import Candidate, put_draws, put_numbers
from .case import NUMBERS, WORDS, Case
from .history import Floats, Mask, NumberPast, edges_of
from .places import Place, locate, span

Change = Callable[[Floats], Floats]


@dataclass(frozen=True)
class _Garble:
    """`forward` is what was done to values, `back` undoes it where that can be; `fits` says for which pasts it is
    worth a try; `fix` is the inverse in words, of a column {0}."""

    kind: str
    form: str
    words: str
    forward: Change
    back: Change | None
    fits: Callable[[NumberPast], bool]
    fix: str


def _positive(past: NumberPast) -> bool:
    return past.low >= 0 and past.high > past.low


def _wrapped(bits: int, signed: bool) -> _Garble:
    size = float(2**bits)
    low = -size / 2 if signed else 0.0
    top = low + size - 1
    name = f"{'' if signed else 'unsigned '}{bits}-bit integers"

    def fits(past: NumberPast) -> bool:
        return past.low >= 0 and top < past.high < size * (1.0 if signed else 2.0)

    return _Garble(
        "scale",
        "overflow",
        f"has passed through {name}: what is over {top:.0f} wraps round",
        lambda values: (values - low) % size + low,
        (lambda values: np.where(values < 0, values + size, values)) if signed else None,
        fits,
        f"send {{0}} wider than {name}" + (f"; {{0}} + {size:.0f} where it is negative undoes it" if signed else ""),
    )


def _point_lost(values: Floats) -> Floats:
    """12.5 as 125 and 12.25 as 1225: the digits, without the point."""
    result = values.copy()
    for at in np.flatnonzero(np.isfinite(values)):
        text = f"{values[at]:.6f}".rstrip("0").rstrip(".")
        result[at] = float(text.replace(".", ""))
    return result


def _has_decimals(past: NumberPast) -> bool:
    return bool((past.pooled != np.round(past.pooled)).mean() > 0.5 and past.lattice is not None)


def _transformed(name: str, forward: Change, back: Change, fix: str, fits: Callable[[NumberPast], bool]) -> _Garble:
    return _Garble("scale", "transformed", f"is given as {name}", forward, back, fits, f"{{0}} = {fix}  (undoes it)")


_KINDS = (
    _transformed("log(1 + x)", np.log1p, np.expm1, "exp({0}) - 1", _positive),
    _transformed("its natural logarithm", np.log, np.exp, "exp({0})", lambda past: past.low > 0),
    _transformed("its decimal logarithm", np.log10, lambda x: 10.0**x, "10 ** {0}", lambda past: past.low > 0),
    _transformed("log10(1 + x)", lambda x: np.log10(1 + x), lambda x: 10.0**x - 1, "10 ** {0} - 1", _positive),
    _transformed("its square root", np.sqrt, np.square, "{0} ** 2", _positive),
    _transformed("its square", np.square, np.sqrt, "sqrt({0})", _positive),
    _wrapped(8, True),
    _wrapped(8, False),
    _wrapped(16, True),
    _wrapped(16, False),
    _Garble(
        "precision",
        "truncated",
        "is cut off at the comma of its thousands (1,234 came as 1)",
        lambda values: np.where(values >= 1000, np.floor(values / 1000), values),
        None,
        lambda past: past.low >= 0 and float((past.pooled >= 1000).mean()) > limits.RATE_FLOOR,
        "find out who writes {0} with commas for thousands",
    ),
    _Garble(
        "scale",
        "point_lost",
        "has lost its decimal point (12.5 came as 125)",
        _point_lost,
        None,
        _has_decimals,
        "find out who writes {0} with a decimal comma",
    ),
)


def fingerprints(case: Case) -> Iterator[Candidate]:
    for column in case.columns(NUMBERS):
        past = case.history.number(column)
        if len(past.pooled) < limits.MIN_ROWS or past.low == past.high or case.unusual(column) <= limits.BEYOND:
            continue
        found = [one for kind in _KINDS if kind.fits(past) and (one := _tried(case, column, past, kind)) is not None]
        if found:
            yield max(found, key=lambda one: one.place.gain)


def _tried(case: Case, column: str, past: NumberPast, kind: _Garble) -> Candidate | None:
    values = case.numbers(column)
    mapped: NumberPast = case.history.kept(
        ("garbled", column, kind.words), lambda: NumberPast.of([kind.forward(one) for one in past.windows])
    )
    evidence = _evidence(values, past, mapped)
    place = locate(case, evidence, exclude={column, *case.columns(WORDS)})
    if place is None or place.rows < span(case):
        return None
    affected = place.mask & np.isfinite(values)
    came = values[affected]
    if len(came) < limits.MIN_ROWS:
        return None
    left = mapped.shape(came) / mapped.worst_part(len(came))
    apart = past.shape(came) / past.worst_part(len(came))
    if left > limits.INSIDE or apart <= limits.STANDS:
        return None
    proved = _on_lattice(came, past, kind)
    if proved is False or (proved is None and kind.form == "transformed" and _straight(came, past)):
        return None
    return _candidate(case, column, kind, place, affected, evidence, apart, crisp=bool(proved))


def _evidence(values: Floats, past: NumberPast, mapped: NumberPast) -> Floats:
    """Log likelihood ratio a row: drawn from the past so changed against drawn from the past."""
    edges = np.unique(np.concatenate([edges_of(past.pooled, 20), edges_of(mapped.pooled, 20)]))

    def log_mass(sample: Floats) -> Floats:
        counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=len(edges) + 1) + 0.5
        logs: Floats = np.log(counts / counts.sum())
        return logs

    ratio = log_mass(mapped.pooled) - log_mass(past.pooled)
    return np.where(np.isfinite(values), ratio[np.searchsorted(edges, values, side="right")], 0.0)


def _on_lattice(came: Floats, past: NumberPast, kind: _Garble) -> bool | None:
    """Are the values back where values lie, as they were not when they came? None where that says nothing."""
    lattice = past.lattice
    if lattice is None or kind.back is None or float(lattice.holds(came).mean()) > limits.LATTICE_CONTROL:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        back = kind.back(came)
        wrong = kind.back(came * 1.0113)
    if float(lattice.holds(wrong, 1e-6).mean()) > limits.LATTICE_CONTROL:
        return None
    return float(lattice.holds(back, 1e-6 * float(np.abs(back).max())).mean()) >= limits.LATTICE_MATCH * lattice.usual


def _straight(came: Floats, past: NumberPast) -> bool:
    """Do a straight line and its inverse explain the quantiles as well? Then nothing speaks for a curve."""
    at = np.linspace(0.02, 0.98, 25)
    x, y = np.quantile(came, at), np.quantile(past.pooled, at)
    if np.ptp(x) == 0:
        return True
    slope, offset = np.polyfit(x, y, 1)
    return float(np.std(y - slope * x - offset)) < limits.EVEN * float(np.std(y))


def _candidate(
    case: Case,
    column: str,
    kind: _Garble,
    place: Place,
    affected: Mask,
    evidence: Floats,
    apart: float,
    *,
    crisp: bool,
) -> Candidate:
    def holds(part: Mask) -> bool:
        rows = part & affected
        return bool(rows.any()) and float(np.clip(evidence[rows], -limits.CLIP, limits.CLIP).mean()) > 0

    undo = put_draws((column,), affected)
    if kind.back is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            undo = put_numbers(column, affected, np.round(kind.back(case.numbers(column)), 9))
    return Candidate(
        kind=kind.kind,
        form=kind.form,
        columns=(column,),
        words=f"{kind.words}, in {100 * float(affected.mean()):.0f} % of rows",
        affected=affected,
        place=place,
        strength=apart,
        undo=undo,
        holds=holds,
        exact=kind.back is not None,
        crisp=crisp,
        fix=kind.fix.format(column),
        proof=f"past values of {column} look like this once they are so changed",
    )

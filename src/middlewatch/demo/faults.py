"""What can go wrong upstream: each fault changes the requests a client sends, or what is released.

Nothing here is known to the monitor or to `why`; they see only what was logged.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError, nearest

Request = dict[str, Any]
Change = Callable[[Request], Request]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`says` what the demo plants, in words; `change` alters a request; None where the fault is a release."""

    name: str
    says: str
    column: str | None
    change: Change | None
    settings: Mapping[str, Any] = field(default_factory=dict)


def _affine(column: str, factor: float, offset: float) -> Change:
    def change(request: Request) -> Request:
        value = request[column]
        return request if value is None else {**request, column: round(value * factor + offset, 4)}

    return change


def _some(share: float, seed: int, change: Change) -> Change:
    draw = random.Random(seed).random

    def maybe(request: Request) -> Request:
        return change(request) if draw() < share else request

    return maybe


def _put(column: str, value: Any) -> Change:
    return lambda request: {**request, column: value}


def _swap(first: str, second: str) -> Change:
    return lambda request: {**request, first: request[second], second: request[first]}


def _as_text(column: str) -> Change:
    return lambda request: {**request, column: None if request[column] is None else str(request[column])}


def _lower(column: str) -> Change:
    return lambda request: {**request, column: None if request[column] is None else str(request[column]).lower()}


def build(
    name: str, *, numbers: list[str], texts: list[str], column: str | None, factor: float | None, offset: float | None
) -> Fault:
    """The fault of a name, on another column or with another factor where given.

    `numbers` and `texts` are the columns a request has. Raises UsageError for a name or column that is not there.
    """
    if column is not None and column not in (*numbers, *texts):
        raise UsageError(f'a flight has no column "{column}"', fix=nearest(column, (*numbers, *texts)))
    given = {"column": column, "factor": factor, "offset": offset}
    settings = {key: value for key, value in given.items() if value is not None}
    makers: dict[str, Callable[[], Fault]] = {
        "celsius": lambda: _fault(
            name, "temp", f"{column or 'temp'} arrives in degrees Celsius, was Fahrenheit",
            lambda c: _affine(c, 5 / 9, -160 / 9), column, settings,
        ),
        "scale": lambda: _fault(
            name, "distance",
            f"{column or 'distance'} arrives multiplied by {factor or 1.609344:g}"
            + (f" and moved by {offset:g}" if offset else ""),
            lambda c: _affine(c, factor or 1.609344, offset or 0.0), column, settings,
        ),
        "nulls": lambda: _fault(
            name, "visib", f"{column or 'visib'} is missing in 60 % of the requests",
            lambda c: _some(0.6, 1, _put(c, None)), column, settings,
        ),
        "sentinel": lambda: _fault(
            name, "wind_speed", f"{column or 'wind_speed'} is -999 in 20 % of the requests",
            lambda c: _some(0.2, 2, _put(c, -999)), column, settings,
        ),
        "constant": lambda: _fault(
            name, "humid", f"{column or 'humid'} is stuck at 50", lambda c: _put(c, 50), column, settings
        ),
        "case": lambda: _fault(
            name, "carrier", f"{column or 'carrier'} arrives in small letters", _lower, column, settings
        ),
        "text": lambda: _fault(
            name, "distance", f"{column or 'distance'} arrives as text instead of a number", _as_text, column, settings
        ),
        "swap": lambda: _fault(
            name, "temp", f"{column or 'temp'} and humid have changed places",
            lambda c: _swap(c, "humid"), column, settings,
        ),
        "release": lambda: Fault(name=name, says="v1, an old model, is released by mistake", column=None, change=None),
    }  # fmt: skip
    if name not in makers:
        raise UsageError(f'there is no fault "{name}"', fix=nearest(name, makers))
    return makers[name]()


NAMES = ("celsius", "scale", "nulls", "sentinel", "constant", "case", "text", "swap", "release")


def _fault(
    name: str, usual: str, says: str, make: Callable[[str], Change], column: str | None, settings: Mapping[str, Any]
) -> Fault:
    chosen = column or usual
    return Fault(name=name, says=says, column=chosen, change=make(chosen), settings=settings)

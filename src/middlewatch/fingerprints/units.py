"""Units that feeds mistake for each other, as data: each pair is tried in both directions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Map:
    """What came is `slope * true + offset`; `name` says it: "is in °C, was °F".

    `form` is the contract's word; `named` is False for a ratio that only the data suggested.
    """

    slope: float
    offset: float
    name: str
    form: str = "unit"
    named: bool = True
    units: tuple[str, str] | None = None

    def forward(self, true: float) -> float:
        return self.slope * true + self.offset


_OFFSET = (
    ("°F", "°C", 1 / 1.8, -32 / 1.8),
    ("°C", "K", 1.0, 273.15),
    ("°F", "K", 1 / 1.8, 273.15 - 32 / 1.8),
)
_RATIO = (
    ("miles", "kilometres", 1.609344),
    ("pounds", "kilograms", 0.45359237),
    ("units", "cents (x100)", 100.0),
    ("units", "thousandths (x1000)", 1000.0),
    ("units", "millionths (x1,000,000)", 1e6),
    ("units", "tenths (x10)", 10.0),
    ("minutes", "seconds (x60)", 60.0),
    ("hours", "seconds", 3600.0),
    ("days", "hours", 24.0),
    ("days", "minutes", 1440.0),
    ("days", "seconds", 86400.0),
    ("weeks", "days", 7.0),
    ("years", "months", 12.0),
    ("knots", "mph", 1.150779),
    ("knots", "km/h", 1.852),
    ("m/s", "mph", 2.236936),
    ("m/s", "km/h", 3.6),
    ("m/s", "knots", 1.943844),
    ("metres", "feet", 3.280840),
    ("inches", "centimetres", 2.54),
    ("inches", "millimetres", 25.4),
    ("inHg", "hPa", 33.8639),
    ("gallons", "litres", 3.785412),
    ("ounces", "grams", 28.349523),
    ("kibi", "units (x1024)", 1024.0),
)


def named_maps() -> tuple[Map, ...]:
    """Every named unit change, in both directions, and a lost sign."""
    maps = []
    for was, now, slope, offset in _OFFSET:
        maps.append(Map(slope, offset, f"is in {now}, was {was}", units=(was, now)))
        maps.append(Map(1 / slope, -offset / slope, f"is in {was}, was {now}", units=(now, was)))
    for was, now, slope in _RATIO:
        maps.append(Map(slope, 0.0, f"is x{slope:.6g}: as {now}, was {was}", units=(was, now)))
        maps.append(Map(1 / slope, 0.0, f"is divided by {slope:.6g}: as {was}, was {now}", units=(now, was)))
    maps.append(Map(-1.0, 0.0, "has its sign turned", form="sign"))
    return tuple(maps)

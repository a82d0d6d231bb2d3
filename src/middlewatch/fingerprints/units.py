"""Units that feeds mistake for each other, as data: each pair is tried in both directions."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Map:
    """What came is `slope * true + offset`; `name` says it: "is in °C, was °F".

    `form` is the contract's word; `named` is False for a ratio that only the data suggested. Where there are `hints`,
    the unit is a rare one: without proof by the values one of them must stand in the column's name, as 1.15 is more
    often a change of price than mph for knots.
    """

    slope: float
    offset: float
    name: str
    form: str = "unit"
    named: bool = True
    units: tuple[str, str] | None = None
    hints: tuple[str, ...] = ()

    def fits(self, column: str) -> bool:
        """Whether a column of this name may well be in such a unit."""
        return not self.hints or any(one in column.lower() for one in self.hints)

    def typed(self) -> tuple[Map, ...]:
        """The same ratio as people type it: 0.621371, 0.6214, 1.609 and 1.61 are all miles for kilometres."""
        if self.offset or not self.named or self.slope < 0:
            return ()
        short = {float(f"{self.slope:.{n}g}") for n in range(3, 7)}
        short |= {1 / float(f"{1 / self.slope:.{n}g}") for n in range(3, 7)}
        return tuple(replace(self, slope=one) for one in sorted(short - {self.slope}))

    def forward(self, true: float) -> float:
        return self.slope * true + self.offset


_OFFSET = (
    ("°F", "°C", 1 / 1.8, -32 / 1.8),
    ("°C", "K", 1.0, 273.15),
    ("°F", "K", 1 / 1.8, 273.15 - 32 / 1.8),
)
_SPEED = ("speed", "wind", "gust", "veloc", "knot", "kmh", "kph", "mph")
_PRESSURE = ("press", "baro", "hpa", "inhg")
_VOLUME = ("vol", "gallon", "litre", "liter", "fuel", "gas", "tank", "capacity")
_MASS = ("mass", "weight", "gram", "ounce")
_BYTES = ("byte", "size", "mem", "disk", "kb", "mb", "gb")
_TIME = ("time", "week", "day", "age", "dur", "delay", "since")
_RATIO: tuple[tuple[str, str, float] | tuple[str, str, float, tuple[str, ...]], ...] = (
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
    ("weeks", "days", 7.0, _TIME),
    ("years", "months", 12.0),
    ("knots", "mph", 1.150779, _SPEED),
    ("knots", "km/h", 1.852, _SPEED),
    ("m/s", "mph", 2.236936, _SPEED),
    ("m/s", "km/h", 3.6, _SPEED),
    ("m/s", "knots", 1.943844, _SPEED),
    ("metres", "feet", 3.280840),
    ("inches", "centimetres", 2.54),
    ("inches", "millimetres", 25.4),
    ("inHg", "hPa", 33.8639, _PRESSURE),
    ("gallons", "litres", 3.785412, _VOLUME),
    ("ounces", "grams", 28.349523, _MASS),
    ("kibi", "units (x1024)", 1024.0, _BYTES),
)


def named_maps() -> tuple[Map, ...]:
    """Every named unit change, in both directions, and a lost sign."""
    maps = []
    for was, now, slope, offset in _OFFSET:
        maps.append(Map(slope, offset, f"is in {now}, was {was}", units=(was, now)))
        maps.append(Map(1 / slope, -offset / slope, f"is in {was}, was {now}", units=(now, was)))
    for was, now, slope, *rare in _RATIO:
        hints = rare[0] if rare else ()
        up, down = f"is x{slope:.6g}: as {now}, was {was}", f"is divided by {slope:.6g}: as {was}, was {now}"
        maps.append(Map(slope, 0.0, up, units=(was, now), hints=hints))
        maps.append(Map(1 / slope, 0.0, down, units=(now, was), hints=hints))
    maps.append(Map(-1.0, 0.0, "has its sign turned", form="sign"))
    return tuple(maps)

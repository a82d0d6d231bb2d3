"""The small pictures of a column, as SVG. Curves lie on a grid of 240 x 80 that is stretched to the width there is;
words stand on the outer picture, so that they stay the same size on a phone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, Final

from middlewatch.charts import label_of, scale

WIDE: Final = 240
HIGH: Final = 80
FOOT: Final = 16
ROW: Final = 28


def histogram(column: Mapping[str, Any]) -> str:
    """Shares by value, filled; the reference's as a dashed line over them."""
    edges, now, then = column["edges"], column["now"], column["then_shares"]
    most = max((*now, *then), default=0.0)
    if not most:
        return ""
    low, high = edges[0], edges[-1]
    if not math.isfinite(high - low):
        return ""  # from end to end of all floats there is no scale
    shapes = [_steps(edges, now, low, high, most, "n")]
    if any(then):
        shapes.append(_steps(edges, then, low, high, most, "t"))
    return _svg(shapes, _values(low, high, column["kind"]), f"{column['name']}: how its values are spread")


def bars(column: Mapping[str, Any]) -> str:
    """The most frequent values with their shares; the reference's as a dashed outline."""
    top, others = column["top"], column["others"]
    rows = [(str(one["value"]) or "(empty)", one["now"], one["then"], one["new"]) for one in top]
    most = max((max(now, then) for _, now, then, _ in rows), default=0.0)
    if others["count"]:
        rows.append((f"{others['count']:,} others", others["now"], others["then"], False))
    if not most:
        return ""
    parts = []
    compared = any(then for _, _, then, _ in rows)
    for at, (label, now, then, new) in enumerate(rows):
        y = at * ROW
        told = percent(now) + (f", was {percent(then)}" if compared else "") + (" (new)" if new else "")
        parts.append(f'<text class="c" x="0" y="{y + 12}">{escape(_short(label, 24))}</text>')
        parts.append(f'<text x="100%" y="{y + 12}" text-anchor="end">{escape(told)}</text>')
        if at == len(top):
            continue  # all others together are no bar beside single values
        parts.append(f'<rect class="n" x="0" y="{y + 16}" width="{_n(100 * now / most)}%" height="7"/>')
        if compared:
            parts.append(f'<rect class="t" x="0" y="{y + 15}" width="{_n(100 * then / most)}%" height="9"/>')
    title = f"{column['name']}: its most frequent values"
    return _outer("".join(parts), ROW * len(rows), title)


def over_time(column: Mapping[str, Any]) -> str:
    """Median and the band of 90 % of the values, or the share of the most frequent value; and the share missing."""
    time = column["time"]
    middle, low, high, missing = time["middle"], time.get("low"), time.get("high"), time["missing"]
    known = [one for one in (*middle, *(low or ()), *(high or ())) if one is not None]
    count = len(middle)
    if count < 2 or not known:
        return ""
    bottom, top = min(known), max(known)
    if not math.isfinite(1.2 * (top - bottom)):
        return ""
    if bottom == top:
        bottom, top = bottom - (abs(bottom) * 0.1 or 1.0), top + (abs(top) * 0.1 or 1.0)
    shapes = []
    if low and high:
        for run in _runs(low, high):
            there = [_point(at, high[at], count, bottom, top) for at in run]
            back = [_point(at, low[at], count, bottom, top) for at in reversed(run)]
            shapes.append(f'<path class="b" d="M{"L".join([*there, *back])}Z"/>')
    lines = (run for run in _runs(middle) if len(run) > 1)
    shapes += [_line("m", [_point(at, middle[at], count, bottom, top) for at in run]) for run in lines]
    if max(missing) > 0:
        shapes.append(_line("x", [_point(at, one, count, 0.0, 1.0) for at, one in enumerate(missing)]))
    words = [(0.0, time["from"], "start"), (1.0, time["to"], "end")]
    return _svg(shapes, words, f"{column['name']} over time")


def by_target(column: Mapping[str, Any]) -> str:
    """The mean of the target by the column's values: a bar each, its words under it."""
    target = column["target"]
    means = [one for one in target["mean"] if one is not None]
    if len(means) < 2:
        return ""
    low, high = min(0.0, *means), max(means)
    if high <= low or not math.isfinite(high - low):
        return ""
    count = len(target["mean"])
    width = WIDE / count
    tops = [None if one is None else _n(HIGH * (1 - (one - low) / (high - low))) for one in target["mean"]]
    steps = [
        f"M{_n(at * width + 1)} {HIGH}V{top}H{_n((at + 1) * width - 1)}V{HIGH}Z"
        for at, top in enumerate(tops)
        if top is not None
    ]
    shapes = [f'<path class="n" d="{"".join(steps)}"/>']
    words = [(0.0, _short(target["from"], 18), "start"), (1.0, _short(target["to"], 18), "end")]
    return _svg(shapes, words, f"{target['of']} by {column['name']}")


def span(values: Sequence[float | None], *, shares: bool) -> str:
    """The lowest and highest of what is drawn, in words."""
    known = [one for one in values if one is not None]
    if not known:
        return ""
    said = percent if shares else number
    return f"{said(min(known))} to {said(max(known))}"


def number(value: Any) -> str:
    """A number in at most four digits; texts as they are."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-" if value is None else str(value)
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.3g}"
    if float(value).is_integer():
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"  # 1956 may be a year
    return f"{value:,.4g}"


def percent(share: float) -> str:
    """A share in percent, two digits."""
    if not share:
        return "0 %"
    return "under 0.1 %" if share < 0.001 else f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.3g} %"


# --- places -----------------------------------------------------------------------------------------------


def _steps(edges: Sequence[float], shares: Sequence[float], low: float, high: float, most: float, kind: str) -> str:
    parts, last = [f"M0 {HIGH}"], None
    for left, share in zip(edges, shares, strict=False):
        x = _n(WIDE * ((left - low) / (high - low)))
        y = _n(HIGH * (1 - share / most))
        if y != last:
            parts.append(f"H{x}V{y}")
            last = y
    parts.append(f"H{WIDE}V{HIGH}")
    return f'<path class="{kind}" d="{"".join(parts)}{"Z" if kind == "n" else ""}"/>'


def _line(kind: str, points: Sequence[str]) -> str:
    return f'<path class="{kind}" d="M{"L".join(points)}"/>'


def _point(at: int, value: float | None, count: int, low: float, high: float) -> str:
    return f"{_n(WIDE * at / (count - 1))} {_n(HIGH * (1 - ((value or 0.0) - low) / (high - low)))}"


def _runs(*series: Sequence[float | None]) -> list[list[int]]:
    """Places without a gap, together."""
    runs: list[list[int]] = [[]]
    for at in range(len(series[0])):
        if any(one[at] is None for one in series):
            runs.append([])
        else:
            runs[-1].append(at)
    return [one for one in runs if one]


def _values(low: float, high: float, kind: str) -> list[tuple[float, str, str]]:
    if kind == "time":
        return []
    marks = [one for one in scale(low, high, about=3) if low <= one <= high]
    if not marks:
        return []
    step = min((b - a for a, b in pairwise(marks)), default=abs(marks[0]) or 1.0)
    found = []
    for one in marks:
        share = (one - low) / (high - low)
        found.append((share, label_of(one, step), "start" if share < 0.1 else "end" if share > 0.9 else "middle"))
    return found


def _svg(shapes: Sequence[str], words: Sequence[tuple[float, str, str]], title: str) -> str:
    grid = f'width="100%" height="{HIGH}" viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none"'
    parts = [
        f"<svg {grid}>{''.join(shapes)}</svg>",
        f'<path class="a" d="M0 {HIGH}H9999"/>',
    ]
    for share, text, anchor in words:
        where = f' text-anchor="{anchor}"' if anchor != "start" else ""
        parts.append(f'<text x="{_n(100 * share)}%" y="{HIGH + 12}"{where}>{escape(text)}</text>')
    return _outer("".join(parts), HIGH + FOOT, title)


def _outer(content: str, height: float, title: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title, quote=True)}" width="100%" height="{_n(height)}">{content}</svg>'
    )


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _n(value: float) -> str:
    """Whole steps of the grid: finer ones are under a pixel on a phone."""
    return str(round(value))

"""Charts as SVG: plain numbers in, a string of markup out. Pure; nothing is read, nothing computed but places.

Every chart fills the width it is given, on a phone or a wide screen, without its words growing or shrinking:
the curves lie in an inner picture that is stretched (`preserveAspectRatio="none"`, strokes that do not scale),
while words and dots sit on the outer one at shares of its width. Colours come from the style sheet of the
page through classes; there is no style in the markup, so that a strict content policy lets it through.

Each has a title and a description for those who do not see it, and what is told by colour is told by line
style or by a word as well. Texts are escaped here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from itertools import pairwise
from typing import Literal

__all__ = ["Day", "Mark", "Span", "band", "bars", "histogram", "lollipop", "sparkline"]

# Width of the stretched inner picture: enough steps that a day of a year is not rounded away.
WIDE = 1000.0
TOP, BOTTOM = 34.0, 24.0
# Labels nearer than this share of the width would overlap on a phone.
NEAR = 0.085
# What a letter of a label takes of the width there.
LETTER = 0.018
ROWS_OF_LABELS = 2
ROWS_OF_SPANS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day of predictions: `low` to `high` is the outer band, `inner_low` to `inner_high` the inner one.

    `x` is the day's ordinal; `past` days are drawn lighter; `note` is what a pointer over the day reads.
    """

    x: int
    low: float
    inner_low: float
    middle: float
    inner_high: float
    high: float
    past: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened at `x` (an ordinal with a fraction): a release, or a note from outside."""

    x: float
    label: str
    kind: Literal["release", "note"] = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch from `since` to `until` (ordinals with fractions): an incident; drawn lighter once it is `over`."""

    since: float
    until: float
    label: str
    over: bool = False


def band(
    days: Sequence[Day],
    *,
    name: str,
    title: str,
    description: str,
    marks: Sequence[Mark] = (),
    spans: Sequence[Span] = (),
    height: float = 260.0,
) -> str:
    """A distribution over time: two bands and a middle line, with marks and spans. `name` makes its ids unique.

    Days that are missing leave a gap. Empty where there are no days.
    """
    if not days:
        return ""
    first, last = days[0].x, days[-1].x + 1
    ticks = scale(min(day.low for day in days), max(day.high for day in days))
    plot = height - TOP - BOTTOM
    box = _Box(first, last, ticks[0], ticks[-1], plot)
    parts = [_grid(box, ticks), _spans(box, spans), _dates(box, first, last, height)]
    shapes = []
    for past, run in _runs(days):
        kind = "past" if past else "live"
        shapes.append(_ribbon(box, run, "low", "high", f"outer {kind}"))
        shapes.append(_ribbon(box, run, "inner_low", "inner_high", f"inner {kind}"))
        shapes.append(_curve(box, [(x, day.middle) for x, day in _spread(run)], f"middle {kind}"))
    hovers = [
        f'<rect class="hover" x="{_n(box.x(day.x))}" y="0" width="{_n(box.x(day.x + 1) - box.x(day.x))}" '
        f'height="{_n(plot)}"><title>{escape(day.note)}</title></rect>'
        for day in days
        if day.note
    ]
    parts.append(_stretched(TOP, plot, [*shapes, *hovers]))
    parts.append(_marks(box, marks))
    parts.append(_span_labels(box, spans))
    return _svg(parts, name=name, title=title, description=description, height=height, kind="plot")


def sparkline(
    values: Sequence[float | None],
    *,
    name: str,
    title: str,
    usual: tuple[float, float] | None = None,
    height: float = 36.0,
) -> str:
    """A small line over the last windows with its usual range behind it and a dot on the newest value."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min((*known, *(usual or ()))), max((*known, *(usual or ())))
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    box = _Box(0.0, float(max(1, len(values) - 1)), low - margin, high + margin, height)
    parts = []
    if usual is not None and usual[1] > usual[0]:
        top = box.y(usual[1])
        parts.append(f'<rect class="usual" x="0" y="{_n(top)}" width="100%" height="{_n(box.y(usual[0]) - top)}"/>')
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((float(at), value))
    parts.append(_stretched(0, height, [_curve(box, run, "middle live") for run in runs if len(run) > 1]))
    newest = max(at for at, value in enumerate(values) if value is not None)
    parts.append(f'<circle class="dot" cx="{_share(box, newest)}" cy="{_n(box.y(values[newest] or 0.0))}" r="3"/>')
    return _svg(parts, name=name, title=title, description="", height=height, kind="spark")


def histogram(
    edges: Sequence[float],
    now: Sequence[float],
    then: Sequence[float],
    *,
    name: str,
    title: str,
    description: str,
    height: float = 132.0,
) -> str:
    """Shares per bin now (filled) over then (a dashed outline), on the same axis of values.

    `edges` has one more number than `now` and `then`, which are shares of their own totals.
    """
    most = max((*now, *then), default=0.0)
    if len(edges) < 2 or most <= 0:
        return ""
    plot = height - 8 - BOTTOM
    box = _Box(edges[0], edges[-1], 0.0, most * 1.04, plot)
    shapes = [_steps(box, edges, now, "now", closed=True), _steps(box, edges, then, "then", closed=False)]
    parts = [f'<line class="axis" x1="0" x2="100%" y1="{_n(8 + plot)}" y2="{_n(8 + plot)}"/>']
    parts.append(_stretched(8, plot, shapes))
    marks = [value for value in scale(edges[0], edges[-1], about=4) if edges[0] <= value <= edges[-1]]
    step = min((b - a for a, b in pairwise(marks)), default=1.0)
    for value in marks:
        share = (value - edges[0]) / (edges[-1] - edges[0])
        parts.append(_text(share, height - 6, label_of(value, step), "tick", anchor=_anchor(share)))
    return _svg(parts, name=name, title=title, description=description, height=height, kind="plot histogram")


def bars(
    labels: Sequence[str],
    now: Sequence[float],
    then: Sequence[float],
    *,
    name: str,
    title: str,
    description: str,
) -> str:
    """Categories: a filled bar for the share now, a dashed outline for the share then, the words above them."""
    most = max((*now, *then), default=0.0)
    if not labels or most <= 0:
        return ""
    row = 34.0
    parts = []
    for at, (label, new, old) in enumerate(zip(labels, now, then, strict=True)):
        top = at * row
        parts.append(_text(0.0, top + 13, _short(label, 28), "category", anchor="start"))
        parts.append(_text(1.0, top + 13, f"{_percent(new)}, was {_percent(old)}", "tick", anchor="end"))
        parts.append(
            f'<rect class="now" x="0" y="{_n(top + 19)}" width="{_n(100 * new / most)}%" height="8"/>'
            f'<rect class="then" x="0" y="{_n(top + 18)}" width="{_n(100 * old / most)}%" height="10"/>'
        )
    return _svg(parts, name=name, title=title, description=description, height=row * len(labels), kind="plot bars")


def lollipop(value: float, most: float, *, limit: float | None = None) -> str:
    """A bar in a table's cell, `value` of `most`, with a tick at `limit`. Decoration: the number stands beside it."""
    share = min(1.0, max(0.0, value / most)) if most > 0 else 0.0
    parts = [f'<rect class="bar" x="0" y="5" width="{_n(100 * share)}%" height="6"/>']
    if limit is not None and 0 < limit <= most:
        at = _n(100 * limit / most)
        parts.append(f'<line class="limit" x1="{at}%" x2="{at}%" y1="1" y2="15"/>')
    return f'<svg class="cell" width="100%" height="16" aria-hidden="true" focusable="false">{"".join(parts)}</svg>'


# --------------------------------------------------------------------------- axes


def scale(low: float, high: float, *, about: int = 4) -> list[float]:
    """Round numbers that enclose [low, high], about as many as asked for."""
    if not (math.isfinite(low) and math.isfinite(high)) or high - low <= 1e-12 * max(1.0, abs(high), abs(low)):
        middle = low if math.isfinite(low) else 0.0
        width = abs(middle) * 0.1 if abs(middle) > 1e-9 else 1.0
        low, high = middle - width, middle + width
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 2.5, 5, 10) if power * one >= rough * 0.999)
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{step * at:.12g}") for at in range(start, stop + 1)]


def label_of(value: float, step: float) -> str:
    """A tick's value with the digits its step needs: 0.25, 1500, 12k. No comma: it may be a year."""
    if value and abs(value) >= 1e6:
        return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")
    if value and abs(value) >= 10_000 and step >= 100:
        return f"{value / 1000:,.10g}k"
    digits = next((d for d in range(7) if abs(step * 10**d - round(step * 10**d)) < 1e-6), 6)
    return f"{value:.{digits}f}".replace("-", "−")


def date_ticks(first: int, last: int) -> list[tuple[int, str, bool]]:
    """Days to name between two ordinals: (ordinal, words, whether a phone has room for it)."""
    start, end = date.fromordinal(first), date.fromordinal(last)
    span = last - first
    if span <= 16:
        step = 1 if span <= 6 else 2 if span <= 10 else 4
        days = [start + timedelta(days=at) for at in range(0, span, step)]
        return [(one.toordinal(), f"{one.day} {one:%b}", at % 2 == 0 or span <= 4) for at, one in enumerate(days)]
    if span <= 75:
        mondays = [start + timedelta(days=at) for at in range(span) if (start + timedelta(days=at)).weekday() == 0]
        thin = max(1, math.ceil(len(mondays) / 4))
        return [(one.toordinal(), f"{one.day} {one:%b}", at % thin == 0) for at, one in enumerate(mondays)]
    months = [date(year, month, 1) for year in range(start.year, end.year + 1) for month in range(1, 13)]
    months = [one for one in months if start <= one < end]
    keep = max(1, math.ceil(len(months) / 12))
    kept = months[::keep]
    thin = max(1, math.ceil(len(kept) / 5))
    return [
        (one.toordinal(), f"{one:%b} {one.year}" if one.month == 1 or keep > 6 else f"{one:%b}", at % thin == 0)
        for at, one in enumerate(kept)
    ]


@dataclass(frozen=True, slots=True)
class _Box:
    """From values to places in the inner picture, WIDE by `height`."""

    left: float
    right: float
    low: float
    high: float
    height: float

    def x(self, value: float) -> float:
        return WIDE * self.share(value)

    def y(self, value: float) -> float:
        return self.height * (self.high - value) / (self.high - self.low)

    def share(self, value: float) -> float:
        return (value - self.left) / (self.right - self.left)


# --------------------------------------------------------------------------- parts


def _grid(box: _Box, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    lines = []
    for value in ticks:
        y = TOP + box.y(value)
        lines.append(f'<line class="grid" x1="0" x2="100%" y1="{_n(y)}" y2="{_n(y)}"/>')
        lines.append(f'<text class="tick" x="-8" y="{_n(y + 4)}" text-anchor="end">{label_of(value, step)}</text>')
    return "".join(lines)


def _dates(box: _Box, first: int, last: int, height: float) -> str:
    parts = []
    for ordinal, words, small in date_ticks(first, last):
        at = (ordinal - first) / (last - first)
        if at > 0.94:
            continue
        small = small and at < 0.86  # a phone's words would run over its edge
        room = "tick" if small else "tick wide"
        bottom = TOP + box.height
        parts.append(
            f'<line class="notch{"" if small else " wide"}" x1="{_n(100 * at)}%" x2="{_n(100 * at)}%" '
            f'y1="{_n(bottom)}" y2="{_n(bottom + 5)}"/>'
        )
        parts.append(_text(at, height - 5, words, room, anchor="start"))
    return "".join(parts)


def _spans(box: _Box, spans: Sequence[Span]) -> str:
    parts = []
    for left, right, span in _clipped(box, spans):
        over = " over" if span.over else ""
        parts.append(
            f'<rect class="span{over}" x="{_n(100 * left)}%" y="{_n(TOP)}" width="{_n(100 * (right - left))}%" '
            f'height="{_n(box.height)}"/>'
            f'<line class="onset{over}" x1="{_n(100 * left)}%" x2="{_n(100 * left)}%" y1="{_n(TOP)}" '
            f'y2="{_n(TOP + box.height)}"/>'
        )
    return "".join(parts)


def _span_labels(box: _Box, spans: Sequence[Span]) -> str:
    """The names of spans, none upon another: each in the first row that is free there, newest first.

    What finds no row goes unnamed; the description of the drawing names every one.
    """
    parts: list[str] = []
    rows: list[list[tuple[float, float]]] = [[] for _ in range(ROWS_OF_SPANS)]
    for left, right, span in sorted(_clipped(box, spans), key=lambda one: -one[0]):
        width = LETTER * (len(span.label) + 1)
        ends = left > 0.5
        edges = (left - width, left) if ends else (right, right + width)
        row = next((at for at, taken in enumerate(rows) if all(edges[1] <= a or edges[0] >= b for a, b in taken)), None)
        if row is None:
            continue
        rows[row].append(edges)
        kind = "span-label over" if span.over else "span-label"
        share, shift = (left, -6) if ends else (right, 6)
        parts.append(
            _text(share, TOP + 14 + 16 * row, span.label, kind, anchor="end" if ends else "start", shift=shift)
        )
    return "".join(reversed(parts))


def _clipped(box: _Box, spans: Sequence[Span]) -> Iterable[tuple[float, float, Span]]:
    for span in spans:
        left, right = max(0.0, box.share(span.since)), min(1.0, box.share(span.until))
        if right > 0 and left < 1 and right > left:
            yield left, right, span


def _marks(box: _Box, marks: Sequence[Mark]) -> str:
    """Releases as lines over the plot, named above it, those too near to be told apart together; notes as dots."""
    inside = sorted((one for one in marks if 0 <= box.share(one.x) <= 1), key=lambda one: one.x)
    parts = []
    for one in inside:
        at, bottom, told = _n(100 * box.share(one.x)), TOP + box.height, f"<title>{escape(one.label)}</title>"
        if one.kind == "release":
            parts.append(
                f'<line class="release" x1="{at}%" x2="{at}%" y1="{_n(TOP - 4)}" y2="{_n(bottom)}">{told}</line>'
            )
        else:
            parts.append(f'<circle class="note" cx="{at}%" cy="{_n(bottom)}" r="4">{told}</circle>')
    taken = [-1.0] * ROWS_OF_LABELS
    for share, label in _together(box, [one for one in inside if one.kind == "release"]):
        row = next((at for at, edge in enumerate(taken) if share - edge >= NEAR), 0)
        taken[row] = share + LETTER * max(0, len(label) - 3)
        parts.append(_text(share, TOP - 9 - 14 * row, label, "release-label", anchor="end" if share > 0.9 else "start"))
    return "".join(parts)


def _together(box: _Box, marks: Sequence[Mark]) -> list[tuple[float, str]]:
    groups: list[tuple[float, list[str]]] = []
    for one in marks:
        share = box.share(one.x)
        if groups and share - groups[-1][0] < NEAR / 3:
            groups[-1][1].append(one.label)
        else:
            groups.append((share, [one.label]))
    return [
        (share, " → ".join(labels if len(labels) < 4 else [labels[0], "…", labels[-1]])) for share, labels in groups
    ]


def _runs(days: Sequence[Day]) -> list[tuple[bool, list[Day]]]:
    """Days without a gap and of one sort together; history runs on into the first live day after it."""
    runs: list[tuple[bool, list[Day]]] = []
    for day in days:
        if runs and day.x - runs[-1][1][-1].x == 1:
            if runs[-1][0] == day.past:
                runs[-1][1].append(day)
                continue
            if runs[-1][0]:
                runs[-1][1].append(day)
        runs.append((day.past, [day]))
    return runs


def _spread(run: Sequence[Day]) -> list[tuple[float, Day]]:
    """Each day at its noon; one alone is drawn as wide as it is."""
    if len(run) == 1:
        return [(run[0].x + 0.1, run[0]), (run[0].x + 0.9, run[0])]
    return [(day.x + 0.5, day) for day in run]


def _ribbon(box: _Box, run: Sequence[Day], low: str, high: str, kind: str) -> str:
    points = [(x, getattr(day, high)) for x, day in _spread(run)]
    points += [(x, getattr(day, low)) for x, day in reversed(_spread(run))]
    return f'<path class="{kind}" d="{_path(box, points)}Z"/>'


def _curve(box: _Box, points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<path class="{kind}" d="{_path(box, points)}" vector-effect="non-scaling-stroke"/>'


def _path(box: _Box, points: Sequence[tuple[float, float]]) -> str:
    places = [f"{_n(box.x(x))} {_n(box.y(y))}" for x, y in points]
    return f"M{places[0]}L{' '.join(places[1:])}" if len(places) > 1 else f"M{places[0]}"


def _steps(box: _Box, edges: Sequence[float], shares: Sequence[float], kind: str, *, closed: bool) -> str:
    points = [(edges[0], 0.0)]
    for (left, right), share in zip(pairwise(edges), shares, strict=True):
        points += [(left, share), (right, share)]
    points.append((edges[-1], 0.0))
    return f'<path class="{kind}" d="{_path(box, points)}{"Z" if closed else ""}" vector-effect="non-scaling-stroke"/>'


def _stretched(y: float, height: float, shapes: Sequence[str]) -> str:
    return (
        f'<svg x="0" y="{_n(y)}" width="100%" height="{_n(height)}" viewBox="0 0 {_n(WIDE)} {_n(height)}" '
        f'preserveAspectRatio="none" overflow="visible">{"".join(shapes)}</svg>'
    )


def _svg(parts: Sequence[str], *, name: str, title: str, description: str, height: float, kind: str) -> str:
    ident = re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "chart"
    told = f'<title id="{ident}-t">{escape(title)}</title>'
    labels = f"{ident}-t"
    if description:
        told += f'<desc id="{ident}-d">{escape(description)}</desc>'
        labels += f" {ident}-d"
    return (
        f'<svg class="{kind}" role="img" aria-labelledby="{labels}" width="100%" height="{_n(height)}" '
        f'xmlns="http://www.w3.org/2000/svg">{told}{"".join(parts)}</svg>'
    )


def _text(share: float, y: float, words: str, kind: str, *, anchor: str, shift: float = 0.0) -> str:
    moved = f' dx="{_n(shift)}"' if shift else ""
    return (
        f'<text class="{kind}" x="{_n(100 * share)}%" y="{_n(y)}"{moved} text-anchor="{anchor}">{escape(words)}</text>'
    )


def _anchor(share: float) -> str:
    return "start" if share < 0.06 else "end" if share > 0.94 else "middle"


def _share(box: _Box, value: float) -> str:
    return f"{_n(100 * box.share(value))}%"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.2g} %"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _n(value: float) -> str:
    """A coordinate: at most two decimals, no trailing zeros, never "-0"."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text

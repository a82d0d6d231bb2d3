"""Charts are well-formed, escaped, inside their box, and say in words what they show."""

from __future__ import annotations

import itertools
import re
from datetime import date
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewatch import charts
from middlewatch.charts import Day, Mark, Span

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert('x')</script>\"&"
START = date(2013, 6, 1).toordinal()


def days(count: int, *, past: int = 0, gap: int | None = None) -> list[Day]:
    return [
        Day(
            x=START + at,
            low=0.1,
            inner_low=0.2,
            middle=0.3 + at / 1000,
            inner_high=0.4,
            high=0.6,
            past=at < past,
            note=f"day {at}",
        )
        for at in range(count)
        if at != gap
    ]


def band(shown: list[Day], marks: list[Mark] | None = None, spans: list[Span] | None = None) -> ET.Element:
    svg = charts.band(shown, name="p", title="T", description="D", marks=marks or [], spans=spans or [])
    return ET.fromstring(svg)


def found(root: ET.Element, kind: str) -> list[ET.Element]:
    return [one for one in root.iter() if kind in one.get("class", "").split()]


def texts(root: ET.Element, kind: str) -> list[str]:
    return [one.text or "" for one in found(root, kind)]


def test_a_band_is_told_to_those_who_do_not_see_it() -> None:
    root = band(days(10))
    assert root.get("role") == "img"
    told = {one.get("id"): one.text for one in root if one.tag in (f"{SVG}title", f"{SVG}desc")}
    assert [told[name] for name in root.get("aria-labelledby", "").split()] == ["T", "D"]


def test_history_is_drawn_apart_and_runs_on_into_the_first_live_day() -> None:
    root = band(days(10, past=4))
    past, live = found(root, "middle")
    assert (past.get("class"), live.get("class")) == ("middle past", "middle live")
    assert past.get("d", "").split()[-2:] == live.get("d", "")[1:].replace("L", " ").split()[:2]


def test_a_missing_day_leaves_a_gap() -> None:
    assert len(found(band(days(10)), "middle")) == 1
    assert len(found(band(days(10, gap=5)), "middle")) == 2


def test_a_day_alone_is_as_wide_as_it_is() -> None:
    (line,) = found(band(days(1)), "middle")
    numbers = [float(one) for one in re.findall(r"-?[\d.]+", line.get("d", ""))]
    assert numbers[2] - numbers[0] > 0


def test_no_days_no_picture() -> None:
    assert charts.band([], name="p", title="T", description="D") == ""


def test_releases_that_are_near_share_a_label_and_those_outside_have_none() -> None:
    marks = [Mark(x=START + at, label=label) for at, label in ((2.0, "v1"), (2.1, "v2"), (60.0, "v3"), (500.0, "v4"))]
    root = band(days(90), marks)
    assert len(found(root, "release")) == 3
    assert texts(root, "release-label") == ["v1 → v2", "v3"]


def test_an_incident_is_cut_at_the_edge_and_named_beside_itself() -> None:
    root = band(days(30), spans=[Span(since=START + 27, until=START + 40, label="incident 3")])
    (box,) = found(root, "span")
    left, width = (float(box.get(name, "").rstrip("%")) for name in ("x", "width"))
    assert left == pytest.approx(90)
    assert left + width == pytest.approx(100)
    (label,) = found(root, "span-label")
    assert (label.text, label.get("text-anchor")) == ("incident 3", "end")
    assert not found(band(days(30), spans=[Span(since=START - 9, until=START - 2, label="old")]), "span")


def test_names_of_incidents_that_are_close_stand_in_rows_of_their_own() -> None:
    spans = [Span(since=START + at, until=START + at + 1, label=f"incident {at}") for at in (2, 20, 21, 23, 28)]
    labels = found(band(days(30), spans=spans), "span-label")
    assert [one.text for one in labels] == [f"incident {at}" for at in (2, 20, 21, 23, 28)]
    edges = []
    for one in labels:
        at, width = float(one.get("x", "").rstrip("%")) / 100, 0.016 * len(one.text or "")
        edges.append((one.get("y"), at - width if one.get("text-anchor") == "end" else at, width))
    for (row, left, width), (other, start, wide) in itertools.combinations(edges, 2):
        assert row != other or left + width <= start or start + wide <= left
    crowd = [Span(since=START + at, until=START + at + 1, label=f"incident {at}") for at in range(29)]
    assert 4 <= len(found(band(days(30), spans=crowd), "span-label")) < 29


def test_words_of_users_are_escaped_everywhere() -> None:
    drawn = [
        charts.band(
            [Day(x=1, low=0, inner_low=0, middle=0, inner_high=0, high=1, note=HOSTILE)],
            name=HOSTILE,
            title=HOSTILE,
            description=HOSTILE,
            marks=[Mark(x=1, label=HOSTILE), Mark(x=1, label=HOSTILE, kind="note")],
            spans=[Span(since=1, until=2, label=HOSTILE)],
        ),
        charts.sparkline([1, 2], name=HOSTILE, title=HOSTILE),
        charts.histogram([0, 1], [1], [1], name=HOSTILE, title=HOSTILE, description=HOSTILE),
        charts.bars([HOSTILE], [1], [1], name=HOSTILE, title=HOSTILE, description=HOSTILE),
    ]
    for svg in drawn:
        root = ET.fromstring(svg)
        assert not [one for one in root.iter() if "script" in one.tag]
        assert HOSTILE in "".join(root.itertext())


def test_nothing_is_styled_in_the_markup() -> None:
    """A strict content policy forbids it."""
    root = band(days(20, past=5), [Mark(x=START + 3, label="v1")], [Span(since=START + 9, until=START + 11, label="i")])
    assert not [one for one in root.iter() if "style" in one.attrib or one.tag == f"{SVG}style"]


def test_a_sparkline_shows_its_usual_range_and_ends_in_a_dot() -> None:
    root = ET.fromstring(charts.sparkline([1.0, 2.0, None, 2.0, 9.0], name="s", title="S", usual=(1.0, 3.0)))
    assert len(found(root, "usual")) == 1
    assert len(found(root, "middle")) == 2
    assert found(root, "dot")[0].get("cx") == "100%"
    assert charts.sparkline([None, None], name="s", title="S") == ""


def test_a_histogram_has_a_filled_now_and_a_dashed_then() -> None:
    svg = charts.histogram([0, 1, 2, 3], [0.2, 0.8, 0], [0.5, 0.3, 0.2], name="h", title="H", description="D")
    root = ET.fromstring(svg)
    now, then = found(root, "now")[0], found(root, "then")[0]
    assert now.get("d", "").endswith("Z")
    assert not then.get("d", "").endswith("Z")
    with pytest.raises(ValueError, match=r"shorter|longer"):
        charts.histogram([0, 1, 2], [1], [1], name="h", title="H", description="D")


def test_bars_say_their_numbers() -> None:
    svg = charts.bars(["EWR", "x" * 90], [0.345, 0.002], [0.1, 0], name="b", title="B", description="D")
    words = texts(ET.fromstring(svg), "tick")
    assert words == ["34 %, was 10 %", "0.2 %, was 0 %"]
    assert all(len(one) <= 28 for one in texts(ET.fromstring(svg), "category"))


finite = st.floats(-1e9, 1e9, allow_nan=False)


@given(
    st.lists(st.tuples(finite, finite, finite, finite, finite).map(sorted), min_size=1, max_size=40),
    st.lists(st.floats(-5, 60), max_size=6),
)
def test_whatever_is_drawn_stays_in_the_box(values: list[list[float]], marks: list[float]) -> None:
    shown = [
        Day(x=START + at, low=one[0], inner_low=one[1], middle=one[2], inner_high=one[3], high=one[4])
        for at, one in enumerate(values)
    ]
    root = band(shown, [Mark(x=START + at, label="v1") for at in marks])
    for path in root.iter(f"{SVG}path"):
        numbers = [float(one) for one in re.findall(r"-?[\d.]+", path.get("d", ""))]
        assert all(-0.01 <= x <= charts.WIDE + 0.01 for x in numbers[::2])
        assert all(-0.01 <= y <= 202.01 for y in numbers[1::2])
    for one in root.iter(f"{SVG}line"):
        assert all(-0.01 <= float(one.get(x, "").rstrip("%")) <= 100.01 for x in ("x1", "x2"))


@given(finite, finite)
def test_a_scale_encloses_its_values_with_few_round_steps(one: float, other: float) -> None:
    low, high = sorted((one, other))
    ticks = charts.scale(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


@given(st.integers(date(1990, 1, 1).toordinal(), date(2040, 1, 1).toordinal()), st.integers(1, 1500))
def test_a_phone_has_room_for_the_dates(first: int, length: int) -> None:
    ticks = charts.date_ticks(first, first + length)
    assert all(first <= at < first + length for at, _, _ in ticks)
    assert sum(small for _, _, small in ticks) <= 5
    assert len(ticks) <= 12


def test_ticks_read_as_people_write_them() -> None:
    assert [charts.label_of(value, 0.2) for value in (0.0, 0.2, -0.4)] == ["0.0", "0.2", "−0.4"]
    assert charts.label_of(0.25, 0.25) == "0.25"
    assert charts.label_of(1500, 500) == "1500"
    assert charts.label_of(20000, 5000) == "20k"
    assert charts.label_of(2e7, 5e6) == "2e7"


def test_the_same_numbers_give_the_same_picture() -> None:
    assert ET.tostring(band(days(30, past=9))) == ET.tostring(band(days(30, past=9)))

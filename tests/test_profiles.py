"""Profiles: the merge law, the answers against exact ones, and what is stored."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch.errors import StoreError, UsageError
from middlewatch.profiles import (
    ColumnProfile,
    ColumnSpec,
    Kind,
    Predicate,
    Profile,
    ProfileSpec,
    bin_keys,
    bin_lower,
    hash_numbers,
    hash_text,
    lowest,
    merge,
    profile,
    profile_groups,
    profile_stream,
)
from middlewatch.profiles.column import EXACT
from middlewatch.profiles.table import FORMAT

SPEC = ProfileSpec(
    columns=(
        ColumnSpec("fare", "number", centre=7.5),
        ColumnSpec("seats", "whole"),
        ColumnSpec("late", "boolean"),
        ColumnSpec("city", "category", known=("Ulm", "Graz", "never")),
        ColumnSpec("note", "text", exact=False),
        ColumnSpec("at", "time"),
        ColumnSpec("weight", "number", exact=False),
    ),
    predicates=(
        Predicate("fare is not negative", "fare", pl.col("fare") < 0, ("city",)),
        Predicate("seats at most 200", "seats", pl.col("seats") > 200),
    ),
    sample=7,
    id="note",
)
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "fare": pl.Float64,
    "seats": pl.Int64,
    "late": pl.Boolean,
    "city": pl.String,
    "note": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "weight": pl.Float64,
}
_MOMENTS = st.datetimes(datetime(1960, 1, 1), datetime(2060, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))
_FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 7.5, math.nan, math.inf, -math.inf, 1e-300, -1e-40, 3e38, -12.34]),
    st.floats(-1e6, 1e6),
)
ROWS = st.lists(
    st.tuples(
        st.none() | _FLOATS,
        st.none() | st.integers(-(2**60), 2**60) | st.integers(0, 300),
        st.none() | st.booleans(),
        st.none() | st.sampled_from(["Ulm", "Graz", "Wien", "", "ä" * 40]) | st.text(max_size=3),
        st.text(max_size=12),
        st.none() | _MOMENTS,
        st.none() | st.floats(allow_nan=True, allow_infinity=True, width=64),
    ),
    max_size=40,
)


def table(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def counters(column: ColumnProfile, *, neighbours: bool = True) -> dict[str, Any]:
    """Everything that the merge law promises bit for bit, as plain values."""
    names = ("kind", "n", "nulls", "nans", "infinities", "zeros", "wholes", "min", "max", "known", "centre")
    facts: dict[str, Any] = {name: getattr(column, name) for name in names}
    if neighbours:
        facts |= {"pairs": column.pairs, "repeats": column.repeats}
    for name in ("bins", "values"):
        found = getattr(column, name)
        facts[name] = None if found is None else [one.tolist() if isinstance(one, np.ndarray) else one for one in found]
    for name in ("registers", "buckets", "known_counts", "hours", "weekdays"):
        array = getattr(column, name)
        facts[name] = None if array is None else array.tolist()
    facts["categories"] = None if column.categories is None else dict(sorted(column.categories.items()))
    return facts


def assert_same(one: Profile, other: Profile, *, neighbours: bool = True) -> None:
    assert one.rows == other.rows
    assert one.columns.keys() == other.columns.keys()
    assert one.failed == other.failed
    if one.sample is None or other.sample is None:
        assert one.sample is other.sample
    else:
        assert repr(one.sample.rows()) == repr(other.sample.rows())
    for name, column in one.columns.items():
        same = other.columns[name]
        assert counters(column, neighbours=neighbours) == counters(same, neighbours=neighbours), name
        if column.bins is not None and column.n and math.isfinite(column.m2):
            reach = max(abs(float(column.min or 0) - column.centre), abs(float(column.max or 0) - column.centre))
            assert abs(column.offset - same.offset) <= 1e-12 * reach
            # Halved before the square: reach itself may be as large as floats go.
            assert abs(column.m2 - same.m2) / 4 <= 1e-12 * column.n * min(reach / 2, 1e154) ** 2


# --- the merge law ---------------------------------------------------------------------------------------


@given(rows=ROWS, cuts=st.lists(st.integers(0, 40), max_size=5))
@settings(max_examples=120, deadline=None)
def test_any_split_adds_up_to_the_whole(rows: list[tuple[Any, ...]], cuts: list[int]) -> None:
    whole = table(rows)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [profile(whole[start:end], SPEC, first_row=start) for start, end in pairwise(edges)]
    assert_same(merge(parts), profile(whole, SPEC), neighbours=False)


@given(rows=st.tuples(ROWS, ROWS, ROWS))
@settings(max_examples=60, deadline=None)
def test_order_and_brackets_do_not_matter(rows: tuple[list[tuple[Any, ...]], ...]) -> None:
    starts = np.cumsum([0, *(len(part) for part in rows)]).tolist()
    a, b, c = (profile(table(part), SPEC, first_row=start) for part, start in zip(rows, starts, strict=False))
    assert_same((a + b) + c, a + (b + c))
    assert_same(a + b, b + a)
    assert_same(merge([c, a, b]), a + b + c)


@given(rows=ROWS, hours=st.lists(st.integers(0, 3), min_size=40, max_size=40))
@settings(max_examples=60, deadline=None)
def test_groups_are_the_profiles_of_their_rows(rows: list[tuple[Any, ...]], hours: list[int]) -> None:
    whole = table(rows).with_columns(pl.Series("hour", hours[: len(rows)], dtype=pl.Int64))
    spec = ProfileSpec(SPEC.columns, (), SPEC.sample, SPEC.id)
    groups = profile_groups(whole, "hour", spec)
    assert list(groups) == sorted(set(hours[: len(rows)]))
    for hour, found in groups.items():
        assert_same(found, profile(whole.filter(pl.col("hour") == hour), spec))


@pytest.mark.parametrize("large", [1, 10**9], ids=["group by group", "all at once"])
def test_groups_of_many_values_give_up_exactness_alone(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("middlewatch.profiles.table.LARGE", large)
    crowded = EXACT + 1
    frame = pl.DataFrame(
        {
            "day": ["a"] * crowded + ["b"] * 3 + [None],
            "x": [float(i) for i in range(crowded)] + [1.0, 2.0, 2.0, 9.0],
            "c": [f"c{i}" for i in range(crowded)] + ["u", "v", "v", "w"],
        }
    )
    spec = ProfileSpec((ColumnSpec("x", "number"), ColumnSpec("c", "category", known=("c7", "v"))))
    groups = profile_groups(frame, pl.col("day"), spec)
    assert list(groups) == ["a", "b"]
    assert not groups["a"].columns["x"].exact
    assert groups["b"].columns["x"].top(1) == [(2.0, 2)]
    for day, found in groups.items():
        assert_same(found, profile(frame.filter(pl.col("day") == day), spec))
        small = found.to_bytes(small=True)
        assert len(small) < len(found.to_bytes()) or found.rows < 10
        assert_same(Profile.from_bytes(small), found)
    both = groups["a"] + groups["b"]
    assert both.columns["c"].counts() == {"c7": 1, "v": 2}
    assert_same(both, profile(frame.head(crowded + 3), spec), neighbours=False)


@pytest.mark.parametrize("size", [1, 1000, 20_000, 131_072])
def test_a_stream_of_crowded_columns_is_the_whole(size: int) -> None:
    rng = np.random.default_rng(3)
    n = 40_000
    frame = pl.DataFrame(
        {
            "x": rng.normal(size=n),
            "few": rng.integers(0, 50, n) / 4,
            "id": [f"id-{i}" for i in range(n)],
            "at": pl.Series(rng.integers(0, 10**15, n)).cast(pl.Datetime("us", "UTC")),
        }
    )
    spec = ProfileSpec(
        (
            ColumnSpec("x", "number"),
            ColumnSpec("few", "number"),
            ColumnSpec("id", "category", known=("id-5", "no")),
            ColumnSpec("at", "time"),
        ),
        (Predicate("x", "x", pl.col("x") > 2.5),),
        sample=50,
        id="id",
    )
    frame = frame if size > 1 else frame.head(300)
    whole = profile(frame, spec)
    batches = [frame[start : start + size] for start in range(0, frame.height, size)]
    assert_same(profile_stream(batches, spec), whole, neighbours=False)
    assert_same(
        merge([profile(one, spec, first_row=i * size) for i, one in enumerate(batches)]), whole, neighbours=False
    )
    if size > 1:
        assert whole.columns["at"].bins is not None
        assert whole.columns["at"].bins.width == 768  # 32 years of hours do not fit


def test_profiles_of_another_centre_or_kind_are_refused() -> None:
    frame = pl.DataFrame({"x": [1.0]})
    near = profile(frame, ProfileSpec((ColumnSpec("x", "number", centre=1.0),)))
    far = profile(frame, ProfileSpec((ColumnSpec("x", "number", centre=2.0),)))
    whole = profile(frame, ProfileSpec((ColumnSpec("x", "whole", centre=1.0),)))
    with pytest.raises(UsageError, match='"x" cannot be added') as caught:
        near + far
    assert "rebuild" in caught.value.fix
    with pytest.raises(UsageError):
        near + whole


def test_versions_with_other_columns_add_up_by_name() -> None:
    old = profile(pl.DataFrame({"a": [1.0, 2.0]}), ProfileSpec((ColumnSpec("a", "number"),)))
    new = profile(
        pl.DataFrame({"a": [3.0], "b": ["x"]}),
        ProfileSpec((ColumnSpec("a", "number"), ColumnSpec("b", "category"), ColumnSpec("gone", "number"))),
    )
    both = old + new
    assert both.rows == 3
    assert both.columns["a"].rows == 3
    assert both.columns["b"].rows == 1
    assert "gone" not in both.columns


# --- bins ------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=30))
def test_keys_sort_as_values_do(values: list[float]) -> None:
    ordered = np.sort(np.array(values))
    assert np.all(np.diff(bin_keys(ordered).astype(int)) >= 0)


@given(st.integers(0x8000 - 0x7F7F, 0x8000 + 0x7F7F))
def test_a_bin_holds_its_lower_bound(key: int) -> None:
    lower = bin_lower(np.array([key]))
    assert bin_keys(lower).tolist() == [key]
    assert bin_keys(np.nextafter(lower.astype(np.float32), np.float32(-np.inf))).tolist() == [key - 1]


def test_zero_has_one_bin_and_infinities_the_outermost() -> None:
    assert bin_keys([0.0, -0.0]).tolist() == [0x8000, 0x8000]
    low, least, most, high = bin_keys([-np.inf, -1e300, 1e300, np.inf]).tolist()
    assert low == least < 0x8000 < most == high
    assert np.isfinite(bin_lower([low, high])).all()


def test_nan_null_and_infinity_are_counted_apart() -> None:
    frame = pl.DataFrame({"x": [None, math.nan, math.inf, -math.inf, -0.0, 0.0, 2.5, 2.5, None]})
    column = profile(frame, ProfileSpec((ColumnSpec("x", "number"),))).columns["x"]
    assert (column.n, column.nulls, column.nans, column.infinities) == (4, 2, 1, 2)
    assert (column.zeros, column.wholes, column.pairs, column.repeats) == (2, 2, 3, 2)
    assert (column.min, column.max, column.distinct(), column.mean) == (0.0, 2.5, 2, 1.25)
    assert math.copysign(1.0, column.min or 0.0) == 1.0
    assert column.top(2) == [(0.0, 2), (2.5, 2)]


def test_whole_numbers_keep_every_digit() -> None:
    big = 2**60 + 1
    column = profile(pl.DataFrame({"x": [big, big + 1, None]}), ProfileSpec((ColumnSpec("x", "whole"),))).columns["x"]
    assert (column.min, column.max, column.distinct()) == (big, big + 1, 2)
    again = Profile.from_bytes(Profile(rows=3, columns={"x": column}).to_bytes()).columns["x"]
    assert again.top(5) == [(big, 1), (big + 1, 1)]


@pytest.mark.parametrize("kind", ["number", "whole", "boolean", "category", "text", "time"])
@pytest.mark.parametrize("rows", [0, 1, 700])
def test_nothing_but_nulls_has_an_answer(kind: Kind, rows: int) -> None:
    dtypes: dict[str, Any] = {
        "number": pl.Float64,
        "whole": pl.Int64,
        "boolean": pl.Boolean,
        "time": pl.Datetime("us", "UTC"),
    }
    frame = pl.DataFrame({"x": pl.Series([None] * rows, dtype=dtypes.get(kind, pl.String))})
    column = profile(frame, ProfileSpec((ColumnSpec("x", kind),))).columns["x"]
    assert (column.n, column.nulls, column.distinct(), column.lowest, column.top()) == (0, rows, 0, None, [])
    assert math.isnan(column.mean)
    assert math.isnan(column.std)
    assert math.isnan(column.quantile(0.5))
    assert (column + column).nulls == 2 * rows
    if column.bins is not None:
        assert column.regroup(np.array([0, 10])).tolist() == [0, 0, 0]
    assert Profile.from_bytes(Profile(columns={"x": column}).to_bytes()).columns["x"].nulls == rows


# --- answers against exact ones --------------------------------------------------------------------------

_N = 120_000


def _grid() -> dict[str, tuple[float, Callable[[np.random.Generator], np.ndarray[Any, Any]]]]:
    return {
        "normal": (0.0, lambda rng: rng.normal(size=_N)),
        "lognormal": (0.0, lambda rng: rng.lognormal(0, 2, _N)),
        "whole": (50.0, lambda rng: rng.poisson(50, _N).astype(float)),
        "offset": (1000.0, lambda rng: rng.normal(1000, 1, _N)),
        "ties": (0.0, lambda rng: np.where(rng.random(_N) < 0.6, 10.0, rng.normal(3, 4, _N))),
        "mixture": (0.0, lambda rng: np.where(rng.random(_N) < 0.3, rng.normal(-5, 0.1, _N), rng.normal(8, 3, _N))),
    }


@pytest.mark.parametrize("name", list(_grid()))
def test_distances_from_bins_are_those_of_the_values(name: str) -> None:
    centre, draw = _grid()[name]
    spec = ProfileSpec((ColumnSpec("x", "number", centre=centre),))
    a = draw(np.random.default_rng(1))
    b = draw(np.random.default_rng(2))
    b = b + 1 if name == "whole" else centre + (b - centre) * 1.01 + 0.05
    one, other = (profile(pl.DataFrame({"x": x}), spec).columns["x"] for x in (a, b))
    assert abs(_ks(one, other) - _exact_ks(a, b)) < 1e-3
    exact = float(np.abs(np.sort(a) - np.sort(b)).mean())
    assert abs(_wasserstein(one, other) - exact) < 0.01 * exact
    edges = np.unique(np.quantile(a, np.arange(1, 10) / 10))
    exact_psi = _psi(*(np.histogram(x, np.concatenate([[-np.inf], edges, [np.inf]]))[0] for x in (a, b)))
    snapped = one.edges()[0][np.searchsorted(one.edges()[0], edges, side="right") - 1]
    honest = _psi(*(np.histogram(x, np.concatenate([[-np.inf], snapped, [np.inf]]))[0] for x in (a, b)))
    found = _psi(one.regroup(edges), other.regroup(edges))
    assert abs(found - (exact_psi if name != "ties" else honest)) < 1e-3


@pytest.mark.parametrize("name", list(_grid()))
def test_quantile_cdf_mean_std(name: str) -> None:
    centre, draw = _grid()[name]
    x = draw(np.random.default_rng(5))
    column = profile(pl.DataFrame({"x": x}), ProfileSpec((ColumnSpec("x", "number", centre=centre),))).columns["x"]
    assert column.mean == pytest.approx(x.mean(), rel=1e-12)
    assert column.std == pytest.approx(x.std(ddof=1), rel=1e-12)
    for q in (0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0):
        assert column.quantile(q) == pytest.approx(np.quantile(x, q, method="inverted_cdf"), rel=0.01, abs=0.01)
    asked = np.quantile(x, [0.05, 0.3, 0.5, 0.77, 0.99])
    asked[asked == 10.0] += 0.0625  # past ten thousand values a tie is spread over its bin
    assert column.cdf(asked) == pytest.approx([np.mean(x <= one) for one in asked], abs=1e-3)
    assert (column.cdf(x.min() - 1), column.cdf(x.max())) == (0.0, 1.0)
    assert column.distinct() == pytest.approx(np.unique(x).size, rel=0.06)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.floats(0, 1))
def test_few_values_have_exact_quantiles(values: list[int], q: float) -> None:
    x = np.array(values, dtype=float) / 4
    column = profile(pl.DataFrame({"x": x}), ProfileSpec((ColumnSpec("x", "number"),))).columns["x"]
    at = math.ceil(q * len(values) * (1 - 1e-12))
    assert column.quantile(q) == np.sort(x)[max(at, 1) - 1]
    assert column.cdf(x[0]) == np.mean(x <= x[0])


def test_a_value_on_an_edge_is_in_the_group_that_starts_there() -> None:
    frame = pl.DataFrame({"x": [-2.0, -1.0, 0.0, 0.0, 1.0, 2.0, 1000.1]})
    column = profile(frame, ProfileSpec((ColumnSpec("x", "number"),))).columns["x"]
    assert column.regroup([-1.0, 0.0, 1.0, 1000.1]).tolist() == [1, 1, 2, 2, 1]
    assert column.regroup(np.array([np.inf])).tolist() == [7, 0]


def test_times_have_hours_days_and_linear_bins() -> None:
    start = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)  # a Monday
    frame = pl.DataFrame({"at": [start + timedelta(hours=h) for h in (0, 1, 1, 24, 170)]})
    column = profile(frame, ProfileSpec((ColumnSpec("at", "time"),))).columns["at"]
    assert column.hours is not None
    assert column.weekdays is not None
    assert column.hours.tolist() == [2, 2, 1] + [0] * 21
    assert column.weekdays.tolist() == [4, 1, 0, 0, 0, 0, 0]
    assert column.lowest == start
    assert column.highest == start + timedelta(hours=170)
    assert column.bins is not None
    assert column.bins.counts.tolist() == [1, 2, 1, 1]
    day = np.array([(start + timedelta(days=1)).timestamp() * 1e6])
    assert column.regroup(day).tolist() == [3, 2]
    assert column.top(1) == [(start + timedelta(hours=1), 2)]
    before = profile(
        pl.DataFrame({"at": [datetime(1969, 12, 31, 23, tzinfo=UTC)]}), ProfileSpec((ColumnSpec("at", "time"),))
    )
    assert before.columns["at"].hours is not None
    assert before.columns["at"].weekdays is not None
    assert (before.columns["at"].hours[23], before.columns["at"].weekdays[2]) == (1, 1)


def test_categories_past_the_cap_keep_known_ones_and_buckets() -> None:
    names = [f"shop-{i}" for i in range(EXACT + 500)] + ["Ulm"] * 5
    spec = ProfileSpec((ColumnSpec("c", "category", known=("Ulm", "Graz")),))
    column = profile(pl.DataFrame({"c": names}), spec).columns["c"]
    assert column.categories is None
    assert column.counts() == {"Ulm": 5, "Graz": 0}
    assert column.top(3) == [("Ulm", 5)]
    assert column.distinct() == pytest.approx(EXACT + 501, rel=0.06)
    assert column.buckets is not None
    assert column.buckets.sum() == len(names)
    assert column.buckets.min() > 0


def test_long_texts_are_never_kept() -> None:
    for rows in (2, 2000):
        frame = pl.DataFrame({"c": ["x" * 300] * rows})
        column = profile(frame, ProfileSpec((ColumnSpec("c", "text"),))).columns["c"]
        assert (column.categories, column.distinct()) == (None, 1)
        assert b"xxxx" not in zlib.decompress(Profile(columns={"c": column}).to_bytes()[4:])


def test_private_columns_keep_no_value() -> None:
    spec = ProfileSpec((ColumnSpec("name", "category", exact=False),))
    data = profile(pl.DataFrame({"name": ["Ada Lovelace"]}), spec).to_bytes()
    assert b"Lovelace" not in zlib.decompress(data[4:])


# --- row tests and samples -------------------------------------------------------------------------------


def test_failures_have_their_first_rows_and_what_they_show() -> None:
    frame = pl.DataFrame({"x": [1.0, -1.0, None, math.nan] + [-2.0] * 9, "who": [f"w{i}" for i in range(13)]})
    spec = ProfileSpec(
        (ColumnSpec("x", "number"),),
        (
            Predicate("positive", "x", pl.col("x") <= 0, ("who",)),
            Predicate("there", "x", pl.col("x").is_null()),
            Predicate("never", "x", pl.lit(False)),
            Predicate("about another table", "gone", pl.col("gone") > 0),
        ),
    )
    found = profile(frame, spec, first_row=100).failed
    assert found["positive"].rows == 10
    assert found["positive"].examples[0] == {"row": 101, "value": -1.0, "shows": {"who": "w1"}}
    assert [one["row"] for one in found["positive"].examples] == [101, 104, 105, 106, 107]
    assert found["there"].rows == 1
    assert found["never"].rows == 0
    assert "about another table" not in found


def test_a_sample_is_the_same_rows_in_any_order() -> None:
    frame = pl.DataFrame({"id": [f"p{i}" for i in range(500)], "x": range(500)})
    wanted = lowest(frame, "id", 20)
    assert wanted.height == 20
    assert lowest(frame.sample(fraction=1.0, shuffle=True, seed=1), "id", 20).rows() == wanted.rows()
    spec = ProfileSpec((ColumnSpec("x", "whole"),), sample=20, id="id")
    parts = [profile(frame[start : start + 70], spec) for start in range(0, 500, 70)]
    sample = merge(reversed(parts)).sample
    assert sample is not None
    assert sample.rows() == wanted.rows()


# --- what is stored --------------------------------------------------------------------------------------


@given(rows=ROWS)
@settings(max_examples=60, deadline=None)
def test_bytes_come_back_bit_for_bit(rows: list[tuple[Any, ...]]) -> None:
    found = profile(table(rows), SPEC)
    again = Profile.from_bytes(found.to_bytes())
    assert_same(again, found)
    for name, column in found.columns.items():
        assert (again.columns[name].offset, again.columns[name].m2) == (column.offset, column.m2) or math.isnan(
            column.m2
        )
    unsampled = profile(table(rows), ProfileSpec(SPEC.columns, SPEC.predicates))
    assert Profile.from_bytes(unsampled.to_bytes()).to_bytes() == unsampled.to_bytes()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30, unique=True))
def test_any_float_is_stored_exactly(values: list[float]) -> None:
    spec = ProfileSpec((ColumnSpec("x", "number"),))
    column = profile(pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)}), spec).columns["x"]
    again = Profile.from_bytes(Profile(columns={"x": column}).to_bytes()).columns["x"]
    assert counters(again) == counters(column)


def test_a_newer_format_and_torn_bytes_are_refused_with_words() -> None:
    data = profile(pl.DataFrame({"x": [1.0]}), ProfileSpec((ColumnSpec("x", "number"),))).to_bytes()
    with pytest.raises(StoreError, match="newer Middlewatch") as caught:
        Profile.from_bytes(data[:3] + bytes([FORMAT + 1]) + data[4:])
    assert "pip install" in caught.value.fix
    for torn in (b"", b"PAR1", data[:-4], data[:4] + zlib.compress(msgspec.msgpack.encode([1]))):
        with pytest.raises(StoreError):
            Profile.from_bytes(torn)


def test_the_hash_never_changes() -> None:
    """Stored profiles depend on these numbers: a failing test here means a new format, not new numbers."""
    texts = pl.Series(["", "a", "München", "12345678", "123456789", "x" * 100])
    assert [f"{one:016x}" for one in hash_text(texts).tolist()] == HASHES
    assert [f"{one:016x}" for one in hash_numbers(np.array([0, 1, -1])).tolist()] == WHOLE_HASHES
    assert hash_text(texts[4:]).tolist() == hash_text(texts).tolist()[4:]
    assert hash_numbers(np.array([-0.0])).tolist() == hash_numbers(np.array([0.0])).tolist()


HASHES = [
    "e220a8397b1dcdaf",
    "5e025f9ade9eaf3e",
    "bb3b930b94b94c73",
    "83dbec76b33f9ca3",
    "7cf46f00f45fa22a",
    "4a5a4eb781588a2b",
]
WHOLE_HASHES = ["e220a8397b1dcdaf", "910a2dec89025cc1", "e4d971771b652c20"]


# --- exact answers for the comparisons -------------------------------------------------------------------


def _on_one_axis(one: ColumnProfile, other: ColumnProfile) -> tuple[Any, Any, Any]:
    assert one.bins is not None
    assert other.bins is not None
    keys = np.union1d(one.bins.keys, other.bins.keys)
    shares = []
    for column in (one, other):
        assert column.bins is not None
        share = np.zeros(keys.size)
        share[np.searchsorted(keys, column.bins.keys)] = column.bins.counts / column.n
        shares.append(share)
    return keys, shares[0], shares[1]


def _ks(one: ColumnProfile, other: ColumnProfile) -> float:
    _, p, q = _on_one_axis(one, other)
    return float(np.abs(np.cumsum(p) - np.cumsum(q)).max())


def _wasserstein(one: ColumnProfile, other: ColumnProfile) -> float:
    points = np.sort(np.concatenate([one.points(), other.points()]))
    below = [
        np.concatenate([[0], np.cumsum(column.bins.counts)])[
            np.searchsorted(column.points(), points[:-1], side="right")
        ]
        / column.n
        for column in (one, other)
        if column.bins is not None
    ]
    return float(np.dot(np.abs(below[0] - below[1]), np.diff(points)))


def _exact_ks(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    both = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), both, side="right") / x.size for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _psi(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    p, q = (np.maximum(x / x.sum(), 1e-6) for x in (a, b))
    return float(np.sum((p - q) * np.log(p / q)))

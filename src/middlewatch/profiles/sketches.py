"""The arithmetic under a profile: 16-bit bins, a hash that never changes, distinct counts, packed arrays.

Everything here is a pure function of numpy arrays (and of polars text columns for the hash). What is stored
depends on it for years, so a change of any constant below is a new format of `Profile.to_bytes`.

Bins. A number x is binned by the top 16 bits of float32(x - centre), read as a sign and a magnitude and
turned into one whole number that sorts as the values do:

    float32 bits      0xC0000000 (-2.0)   0x80000000 (-0.0)   0x00000000 (0.0)   0x40000000 (2.0)
    signed magnitude        -0x40000000                   0                  0         0x40000000
    key = (that >> 16) + 0x8000  0x4000              0x8000             0x8000             0xC000

Each bin is half open, [lower, upper), 1/128 of its magnitude wide, so that one grid serves fares in cents and
distances in metres, no edges have to be known before the data is read, and counts merge by addition. The next
eight bits say where in its bin a value lies, in 1/256 of the bin; their sum over a bin's values gives the bin's
mean, and is a whole number too, so that it is the same in any order of adding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint16]
Hashes = npt.NDArray[np.uint64]
Registers = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64] | npt.NDArray[np.float64]

BINS: Final = 65536
ZERO_KEY: Final = 0x8000
BUCKETS: Final = 1024
REGISTERS: Final = 4096
"""HyperLogLog registers: 1.04 / sqrt(4096) = 1.6 % standard error, 4 KB before compression."""

_LARGEST: Final = float(np.finfo(np.float32).max)
_SORT_BELOW: Final = 16384
"""Below this many values sorting their keys beats filling 65,536 counters."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


# --- bins ------------------------------------------------------------------------------------------------


def bin_keys(offsets: npt.ArrayLike) -> Keys:
    """The bin of each offset (value - centre, finite or infinite, never NaN); keys sort as the values do."""
    return (_fine_keys(np.asarray(offsets, dtype=np.float64)) >> np.int32(8)).astype(np.uint16)


def _fine_keys(offsets: Floats) -> npt.NDArray[np.int32]:
    """Key and place in the bin as one number, key * 256 + place, which sorts as the values do."""
    with np.errstate(over="ignore"):  # beyond float32: the outermost bins
        fine = offsets.astype(np.float32).view(np.int32)
    if np.signbit(offsets).any():
        # Sign and magnitude become one signed number, and -0.0 becomes 0.
        fine = np.where(fine < 0, np.int32(-(2**31)) - fine, fine)
    return (fine >> np.int32(8)) + np.int32(ZERO_KEY << 8)


def bin_sorted(offsets: Floats, counts: Ints) -> tuple[Keys, Ints, Ints]:
    """Occupied bins in order, the values in each, and the sum of their places in it.

    `offsets` are sorted, and each stands for so many values.
    """
    fine = _fine_keys(offsets)
    return _bin_sorted(fine, counts, change_points(fine >> np.int32(8)))


class BinCounter:
    """Bins of values that come unsorted and in blocks: the same counters as `bin_sorted`."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, dtype=np.int64)
        self._places = np.zeros(BINS, dtype=np.int64)
        self._open = np.zeros(BINS, dtype=np.int64)
        self._rows = 0

    def add(self, offsets: Floats) -> None:
        """Count a block, of 2^23 values at most."""
        fine = _fine_keys(offsets).astype(np.intp)
        if self._rows + fine.size > 2**23:
            self._close()
        # One addition for both counters: the count above bit 32, the places (under 2^31 by then) below.
        np.add.at(self._open, fine >> 8, (fine & 255) | (1 << 32))
        self._rows += fine.size

    def total(self) -> tuple[Keys, Ints, Ints]:
        """Occupied bins in order, the values in each, and the sum of their places in it."""
        self._close()
        occupied = np.flatnonzero(self._counts)
        return occupied.astype(np.uint16), self._counts[occupied], self._places[occupied]

    def _close(self) -> None:
        self._counts += self._open >> 32
        self._places += self._open & (2**32 - 1)
        self._open[:] = 0
        self._rows = 0


def bin_groups(offsets: Floats, counts: Ints, group: Ints) -> tuple[Ints, Keys, Ints, Ints]:
    """`bin_sorted` of many groups at once: the group of each bin, then as there.

    `offsets` are sorted by `group` and inside a group.
    """
    fine = _fine_keys(offsets)
    keys = fine >> np.int32(8)
    starts = np.union1d(change_points(keys), change_points(group))
    return group[starts], *_bin_sorted(fine, counts, starts)


def _bin_sorted(fine: npt.NDArray[np.int32], counts: Ints, starts: Ints) -> tuple[Keys, Ints, Ints]:
    keys = (fine[starts] >> np.int32(8)).astype(np.uint16)
    if not starts.size:
        return keys, counts, counts
    places = (fine & np.int32(255)) * counts
    return keys, np.add.reduceat(counts, starts), np.add.reduceat(places, starts)


def bin_lower(keys: npt.ArrayLike) -> Floats:
    """The lower bound of each bin as an offset from the centre; the upper is `bin_lower(key + 1)`."""
    magnitude = (np.asarray(keys, dtype=np.int64) - ZERO_KEY) << 16
    lower = np.abs(magnitude).astype(np.uint32).view(np.float32).astype(np.float64)
    lower = np.nan_to_num(lower, nan=_LARGEST, posinf=_LARGEST)
    signed: Floats = np.where(magnitude < 0, -lower, lower)
    return signed


def count_sorted(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Ints]:
    """The distinct values of a sorted array, and how often each occurs."""
    starts = change_points(values)
    return values[starts], np.diff(starts, append=values.size)


def change_points(values: npt.NDArray[Any]) -> Ints:
    """Positions of a sorted array where a new value starts, the first included."""
    if values.size == 0:
        return np.zeros(0, dtype=np.int64)
    changed = np.empty(values.size, dtype=np.bool_)
    changed[0] = True
    np.not_equal(values[1:], values[:-1], out=changed[1:])
    return np.flatnonzero(changed)


def add_counts(parts: Sequence[tuple[npt.NDArray[Any], ...]]) -> tuple[npt.NDArray[Any], ...]:
    """Sparse counters added up: each part is (places, counts, more counts ...), places distinct and sorted.

    Returns the same: every place that any part has, and the sums there.
    """
    filled = [part for part in parts if part[0].size] or parts[:1]
    first = filled[0][0]
    if all(part[0] is first or np.array_equal(part[0], first) for part in filled[1:]):
        # A small lattice, seen again: nothing moves.
        return first, *(sum(column[1:], start=column[0]) for column in list(zip(*filled, strict=True))[1:])
    if first.dtype == np.uint16 and len(filled) <= 4:
        return _add_few_keys(filled)
    places = np.concatenate([part[0] for part in filled])
    totals = [np.concatenate(column) for column in list(zip(*filled, strict=True))[1:]]
    if first.dtype == np.uint16 and places.size >= _SORT_BELOW:
        occupied = np.flatnonzero(np.bincount(places, minlength=BINS))
        sums = (np.bincount(places, weights=total, minlength=BINS)[occupied] for total in totals)
        return occupied.astype(np.uint16), *(one.astype(np.int64) for one in sums)
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    starts = change_points(ordered)
    return ordered[starts], *(np.add.reduceat(total[order], starts) for total in totals)


def _add_few_keys(parts: Sequence[tuple[npt.NDArray[Any], ...]]) -> tuple[npt.NDArray[Any], ...]:
    """`add_counts` for the 65,536 bins and a handful of parts: a table of places instead of a sort."""
    seen = np.zeros(BINS, dtype=np.bool_)
    for keys, *_ in parts:
        seen[keys] = True
    found = np.flatnonzero(seen)
    place = np.empty(BINS, dtype=np.intp)
    place[found] = np.arange(found.size)
    totals = [np.zeros(found.size, dtype=np.int64) for _ in parts[0][1:]]
    for keys, *counts in parts:
        at = place[keys]
        for total, one in zip(totals, counts, strict=True):
            total[at] += one
    return found.astype(np.uint16), *totals


# --- a hash that never changes ---------------------------------------------------------------------------


def mix(words: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014): every bit depends on every bit."""
    mixed = words + _GOLDEN
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


def hash_numbers(values: Numbers) -> Hashes:
    """A stable 64-bit hash of whole numbers or floats (no NaN; -0.0 counts as 0.0)."""
    if values.dtype == np.float64:
        return mix(np.ascontiguousarray(values + 0.0).view(np.uint64))
    return mix(np.ascontiguousarray(values).view(np.uint64))


def hash_text(values: pl.Series) -> Hashes:
    """A stable 64-bit hash of the UTF-8 bytes of each text (no nulls), the same on every machine.

    The bytes of all texts are laid out once and mixed eight at a time, all rows together.
    """
    if values.len() == 0:
        return np.zeros(0, dtype=np.uint64)
    lengths = values.str.len_bytes().to_numpy().astype(np.int64)
    data = values.str.join("")[0].encode() + bytes(8)
    words = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    offsets = np.cumsum(lengths) - lengths
    hashes = mix(lengths.astype(np.uint64))
    longest, shortest = int(lengths.max()), int(lengths.min())
    for start in range(0, longest, 8):
        if start + 8 <= shortest:
            hashes = mix(hashes ^ words[offsets + start])
            continue
        rows = np.flatnonzero(lengths > start)
        left = np.minimum(lengths[rows] - start, 8).astype(np.uint64)
        word = words[offsets[rows] + start] & (np.uint64(2**64 - 1) >> (np.uint64(64) - left * np.uint64(8)))
        hashes[rows] = mix(hashes[rows] ^ word)
    return hashes


def buckets_of(hashes: Hashes) -> npt.NDArray[np.intp]:
    """One of 1,024 buckets for each hash: its lowest ten bits, which the registers below do not use."""
    return (hashes & np.uint64(BUCKETS - 1)).astype(np.intp)


# --- distinct counts -------------------------------------------------------------------------------------


def hll_add(registers: Registers, hashes: Hashes) -> None:
    """Note hashes in HyperLogLog registers, in place (Flajolet et al. 2007).

    The first 12 bits choose a register; it keeps the longest run of leading zeros of the other 52, plus one.
    """
    index = (hashes >> np.uint64(52)).astype(np.intp)
    rest = (hashes & np.uint64(2**52 - 1)).astype(np.int64).astype(np.float64)
    exponent = rest.view(np.int64) >> 52  # 1023 + floor(log2(rest)); 0 where the rest is 0
    rank = np.minimum(1023 + 52 - exponent, 53).astype(np.uint8)
    np.maximum.at(registers, index, rank)


def hll_count(registers: Registers) -> int:
    """Distinct hashes noted, by the estimator of Ertl (2017, arXiv:1702.01284), which needs no bias tables."""
    longest = 64 - 12
    histogram = np.bincount(registers, minlength=longest + 2).astype(np.float64)
    size = float(registers.size)
    if histogram[0] == size:
        return 0
    total = size * _tau(1.0 - histogram[longest + 1] / size)
    for rank in range(longest, 0, -1):
        total = 0.5 * (total + histogram[rank])
    total += size * _sigma(histogram[0] / size)
    return round(size * size / (2.0 * math.log(2.0) * total))


def _sigma(x: float) -> float:
    total, weight, last = x, 1.0, math.nan
    while total != last:
        x *= x
        last = total
        total += x * weight
        weight += weight
    return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    total, weight, last = 1.0 - x, 1.0, math.nan
    while total != last:
        x = math.sqrt(x)
        last = total
        weight *= 0.5
        total -= (1.0 - x) ** 2 * weight
    return total / 3.0


# --- packed arrays ---------------------------------------------------------------------------------------


def pack_counts(counts: npt.NDArray[Any]) -> list[Any]:
    """Non-negative whole numbers in as few bytes each as the largest needs."""
    dtype = np.min_scalar_type(int(counts.max())) if counts.size else np.dtype(np.uint8)
    return [dtype.itemsize, counts.astype(f"<u{dtype.itemsize}").tobytes()]


def unpack_counts(packed: list[Any]) -> Ints:
    """The array that `pack_counts` packed, as int64."""
    return np.frombuffer(packed[1], dtype=f"<u{packed[0]}").astype(np.int64)


def pack_sorted(values: npt.NDArray[Any]) -> list[Any]:
    """A strictly rising array of int64 or float64: the first value and the steps, in units of their divisor.

    Floats that are decimals of up to six places are packed as whole numbers; any other float as its 8 bytes.
    """
    places = 0
    if values.dtype == np.float64:
        found = _decimal_places(values)
        if found is None:
            return ["f", np.asarray(values, dtype="<f8").tobytes()]
        places, values = found, np.rint(values * 10.0**found)
    whole = values.astype(np.int64)
    # Differences are taken modulo 2^64, so that the span of int64 itself fits.
    steps = np.diff(whole.view(np.uint64))
    unit = int(np.gcd.reduce(steps)) if steps.size else 1
    first = [int(one) for one in whole[:1]]
    return ["i", places, first, unit, *pack_counts(steps // np.uint64(unit))]


def unpack_sorted(packed: list[Any], dtype: type[np.int64] | type[np.float64]) -> npt.NDArray[Any]:
    """The array that `pack_sorted` packed, bit for bit."""
    if packed[0] == "f":
        return np.frombuffer(packed[1], dtype="<f8").astype(np.float64)
    _, places, first, unit, width, data = packed
    steps = np.frombuffer(data, dtype=f"<u{width}").astype(np.uint64) * np.uint64(unit)
    whole = np.concatenate([np.array(first, dtype=np.int64).view(np.uint64), steps]).cumsum(dtype=np.uint64)
    numbers = whole.view(np.int64)
    if dtype is np.int64:
        return numbers
    decimals: Floats = numbers.astype(np.float64) / 10.0**places
    return decimals


def _decimal_places(values: Floats) -> int | None:
    """How many decimal places say every value exactly (0 to 6), or None."""
    largest = float(np.abs(values).max()) if values.size else 0.0
    if largest > 2.0**53:
        return None
    # Past 1e9 a value times a million leaves the whole numbers that a float holds exactly.
    places = range(7) if largest <= 1e9 else range(1)
    for place in places:
        if np.array_equal(np.rint(values * 10.0**place) / 10.0**place, values):
            return place
    return None

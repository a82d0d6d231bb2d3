"""The summary of a table: `profile(batch, spec)` is a pure function, and profiles add up."""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
import polars as pl

from middlewatch.errors import StoreError, UsageError

from .column import ColumnProfile, Kind, PackedColumn, merge_columns, pack_column, unpack_column
from .drawing import described
from .measure import DTYPES, measure
from .sketches import Hashes, Ints, hash_numbers, hash_text

if TYPE_CHECKING:
    from middlewatch.schema import Schema

FORMAT: Final = 2
"""Of `Profile.to_bytes`. A reader refuses a newer one and reads every older one."""
EXAMPLES: Final = 5
_MAGIC: Final = b"MWP"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """How one column is profiled.

    `centre` is where the bins are finest (numbers); `known` are categories counted exactly however many there are;
    `exact` False keeps no values, only counters and hashes (private columns).
    """

    name: str
    kind: Kind
    centre: float = 0.0
    known: tuple[str, ...] = ()
    exact: bool = True


class Look(Protocol):
    """What `Predicate.clear` may ask of a column; a ColumnProfile answers it."""

    @property
    def n(self) -> int: ...
    @property
    def nulls(self) -> int: ...
    @property
    def nans(self) -> int: ...
    @property
    def infinities(self) -> int: ...
    @property
    def lowest(self) -> Any: ...
    @property
    def highest(self) -> Any: ...
    @property
    def categories(self) -> Mapping[str, int] | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Predicate:
    """A row test: `expr` is a polars expression that is true where a row breaks it (null: it does not).

    `shows` are more columns to keep with each example row. `clear` looks at the batch's profile of the column `of`
    and says whether no row can break it, which saves looking at the rows.
    """

    name: str
    column: str
    expr: pl.Expr
    shows: tuple[str, ...] = ()
    of: str = ""
    clear: Callable[[Look], bool] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ProfileSpec:
    """What is profiled: columns, row tests, and a sample of the `sample` rows whose `id` has the lowest hash.

    Without `id` the row number is hashed, so that a sample needs a right `first_row`.
    """

    columns: tuple[ColumnSpec, ...]
    predicates: tuple[Predicate, ...] = ()
    sample: int = 0
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Rows that break a predicate, and the first of them: `{"row", "value", "shows": {column: value}}`."""

    rows: int
    examples: tuple[Mapping[str, Any], ...] = ()


class Sample(NamedTuple):
    """The rows with the lowest hashes, in the order of their hashes."""

    hashes: Hashes
    rows: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Profile:
    """What is known of a table. `profile(a) + profile(b)` is the profile of a and b together.

    Integer counters, min, max, bins, exact values, samples and examples are the same in any order and any split;
    mean and M2 to 1e-12; `pairs` and `repeats` count inside each batch. A predicate whose columns the table does not
    have is not in `failed`; a column of the spec that the table does not have is not in `columns`.
    """

    rows: int = 0
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    failed: dict[str, Failed] = field(default_factory=dict)
    sampled: Sample | None = None
    sample_size: int = 0

    @property
    def sample(self) -> pl.DataFrame | None:
        """The sampled rows (the batch's own columns), or None where none were asked for."""
        return self.sampled.rows if self.sampled is not None else None

    def __add__(self, other: Profile) -> Profile:
        return merge([self, other])

    def __repr__(self) -> str:
        return f"<Profile of {self.rows:,} rows and {len(self.columns)} columns>"

    def _repr_html_(self) -> str:
        from middlewatch import plots

        columns = [{**described(one, None), "name": name} for name, one in self.columns.items()]
        facts = {"rows": self.rows, "columns": columns}
        return plots.fragment(facts, title="Profile")

    def to_bytes(self, *, small: bool = False) -> bytes:
        """The stored form: a magic, the format's version, and zlib over msgpack.

        `small` packs by LZMA: two thirds of the bytes for ten times the time, for what is kept for ever.
        The same content gives the same bytes, but for a sample: Arrow may lay out the same rows in several ways.
        """
        packed = _Packed(
            rows=self.rows,
            columns={name: pack_column(column) for name, column in self.columns.items()},
            failed={name: (one.rows, [dict(row) for row in one.examples]) for name, one in self.failed.items()},
            size=self.sample_size,
        )
        if self.sampled is not None:
            file = io.BytesIO()
            self.sampled.rows.write_ipc(file, compression="zstd")
            packed.sample = (self.sampled.hashes.tobytes(), file.getvalue())
        data = _ENCODER.encode(packed)
        if small:
            return _MAGIC + bytes([2]) + lzma.compress(data)
        return _MAGIC + bytes([1]) + zlib.compress(data, 6)

    @staticmethod
    def from_bytes(data: bytes) -> Profile:
        """Read `to_bytes`. Raises StoreError where it is torn, no profile, or of a newer format."""
        if data[:3] != _MAGIC or len(data) < 4:
            raise StoreError("these bytes are not a profile", why="they do not start with its mark")
        if data[3] > FORMAT:
            raise StoreError(
                f"this profile was written by a newer Middlewatch (format {data[3]}; this one reads up to {FORMAT})",
                fix="pip install -U middlewatch",
            )
        try:
            plain = lzma.decompress(data[4:]) if data[3] == 2 else zlib.decompress(data[4:])
            packed = _DECODER.decode(plain)
        except (zlib.error, lzma.LZMAError, msgspec.DecodeError) as error:
            raise StoreError("this profile cannot be read", why=str(error)) from error
        sampled = None
        if packed.sample is not None:
            hashes, rows = packed.sample
            sampled = Sample(np.frombuffer(hashes, dtype="<u8").astype(np.uint64), pl.read_ipc(io.BytesIO(rows)))
        return Profile(
            rows=packed.rows,
            columns={name: unpack_column(column) for name, column in packed.columns.items()},
            failed={name: Failed(rows, tuple(examples)) for name, (rows, examples) in packed.failed.items()},
            sampled=sampled,
            sample_size=packed.size,
        )


class _Packed(msgspec.Struct, omit_defaults=True):
    rows: int
    columns: dict[str, PackedColumn]
    failed: dict[str, tuple[int, list[dict[str, Any]]]] = {}
    size: int = 0
    sample: tuple[bytes, bytes] | None = None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Packed)


# --- from a schema ---------------------------------------------------------------------------------------


def spec_of(
    schema: Schema,
    *,
    roles: Sequence[str] | None = None,
    score: bool = False,
    label: bool = False,
    predicates: Sequence[Predicate] = (),
    sample: int = 0,
    id: str | None = None,
) -> ProfileSpec:
    """The spec of a schema's columns (only those in `roles`, default all), and of `mw.score` and `mw.label`.

    Private columns keep no values; those with `private = "drop"` are left out.
    """
    columns = [
        ColumnSpec(
            name=column.name,
            kind=column.kind,
            centre=column.centre if column.kind in ("number", "whole") else 0.0,
            known=tuple(column.categories or ()),
            exact=column.private is None,
        )
        for column in schema.columns
        if column.private != "drop" and (roles is None or column.role in roles)
    ]
    if score:
        columns.append(ColumnSpec("mw.score", "number"))
    if label:
        columns.append(ColumnSpec("mw.label", "category", known=tuple(schema.classes or ())))
    return ProfileSpec(tuple(columns), tuple(predicates), sample, id)


# --- measuring -------------------------------------------------------------------------------------------


def profile(batch: pl.DataFrame, spec: ProfileSpec, *, first_row: int = 0) -> Profile:
    """The profile of one typed batch; `first_row` is the row number of its first row in the whole table."""
    return _profiles(batch, spec, np.zeros(1, np.int64), np.arange(first_row, first_row + batch.height))[0]


def counted(batch: pl.DataFrame, predicates: Sequence[Predicate], *, first_row: int = 0) -> Profile:
    """The rows and broken predicates of one typed batch, and nothing of its columns: `profile` without its cost."""
    looks = {name: [_Look(batch[name])] for name in {one.of for one in predicates} if name in batch.columns}
    rows = np.arange(first_row, first_row + batch.height)
    failed = _failures(batch, predicates, np.zeros(1, np.int64), rows, looks)
    return Profile(rows=batch.height, failed={name: parts[0] for name, parts in failed.items()})


class _Look:
    """As much of a column as `Predicate.clear` asks for, found when it asks."""

    def __init__(self, values: pl.Series) -> None:
        self.values = values
        self.nulls = values.null_count()
        self.n = values.len() - self.nulls

    @property
    def nans(self) -> int:
        return int((~self.values.is_finite()).sum()) if self.values.dtype.is_float() else 0

    @property
    def infinities(self) -> int:
        return 0  # counted with NaN: who asks wants to know whether there are any

    @property
    def lowest(self) -> Any:
        return self.values.min()

    @property
    def highest(self) -> Any:
        return self.values.max()

    @cached_property
    def categories(self) -> Mapping[str, int]:
        return dict.fromkeys(self.values.drop_nulls().unique().to_list(), 0)


def profile_stream(batches: Iterable[pl.DataFrame], spec: ProfileSpec, *, columns: bool = True) -> Profile:
    """The profile of a table that comes in batches; memory does not grow with rows.

    Without `columns` only its rows and broken predicates, at a fraction of the cost.
    """
    held: list[Profile] = []
    row = 0
    for batch in batches:
        if columns:
            held.append(profile(batch, _without_exact(spec, held), first_row=row))
        else:
            held.append(counted(batch, spec.predicates, first_row=row))
        row += batch.height
        if len(held) >= 16:
            held = [merge(held)]
    return merge(held, spec)


# Rows a group from which on one sort a group is cheaper than one of all rows by (group, value); measured.
LARGE = 1000


def profile_groups(frame: pl.DataFrame, by: str | pl.Expr | pl.Series, spec: ProfileSpec) -> dict[Hashable, Profile]:
    """One profile for each value of `by`, in the order of the values: thousands of small ones at once.

    Rows keep their order inside a group; rows where `by` is null are left out; example rows carry the row number in
    `frame`. Each equals `profile` of that group's rows.
    """
    if frame.height == 0:
        return {}
    keys = frame.select(pl.col(by) if isinstance(by, str) else by).to_series()
    numbered = pl.DataFrame({"key": keys, "row": np.arange(frame.height)}).drop_nulls("key")
    if numbered.height == 0:
        return {}
    ordered = numbered.sort("key", maintain_order=True)
    rows = ordered["row"].to_numpy()
    lengths = ordered["key"].rle_id().to_numpy()
    starts = np.flatnonzero(np.diff(lengths, prepend=-1))
    names = ordered["key"].gather(starts).to_list()
    grouped = frame if np.array_equal(rows, np.arange(frame.height)) else frame[rows]
    if rows.size >= LARGE * starts.size and not spec.predicates and not spec.sample:
        parts = pairwise([*starts.tolist(), rows.size])
        profiles = [profile(grouped.slice(start, end - start), spec) for start, end in parts]
    else:
        profiles = _profiles(grouped, spec, starts, rows)
    return dict(zip(names, profiles, strict=True))


def _profiles(batch: pl.DataFrame, spec: ProfileSpec, starts: Ints, rows: Ints) -> list[Profile]:
    """A profile for each group of rows of `batch`; `rows` are the numbers its rows are called by."""
    measured = {
        one.name: measure(batch[one.name], one.kind, starts, centre=one.centre, known=one.known, exact=one.exact)
        for one in spec.columns
        if one.name in batch.columns
    }
    failed = _failures(batch, spec.predicates, starts, rows, measured)
    ends = np.append(starts[1:], batch.height)
    hashes = _hashes(batch, spec, rows) if spec.sample else None
    answer: list[Profile] = []
    for index, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        sampled = None
        if hashes is not None:
            sampled = _lowest(Sample(hashes[start:end], batch[start:end]), spec.sample)
        answer.append(
            Profile(
                rows=end - start,
                columns={name: parts[index] for name, parts in measured.items()},
                failed={name: parts[index] for name, parts in failed.items()},
                sampled=sampled,
                sample_size=spec.sample,
            )
        )
    return answer


def _failures(
    batch: pl.DataFrame,
    predicates: Sequence[Predicate],
    starts: Ints,
    rows: Ints,
    measured: Mapping[str, Sequence[Look]],
) -> dict[str, list[Failed]]:
    """What breaks each predicate, all that the profiles do not settle evaluated in one pass of polars."""
    there = set(batch.columns)
    asked = [one for one in predicates if there.issuperset(one.expr.meta.root_names())]
    none = [Failed(0)] * starts.size
    answer: dict[str, list[Failed]] = {one.name: none for one in asked}
    asked = [
        one
        for one in asked
        if one.clear is None or one.of not in measured or not all(one.clear(part) for part in measured[one.of])
    ]
    if not asked:
        return answer
    broken = batch.lazy().select(one.expr.fill_null(False).alias(one.name) for one in asked).collect()
    for one in asked:
        flags = broken[one.name]
        if flags.len() != batch.height:  # an expression that is one value for all rows
            flags = flags.new_from_index(0, batch.height) if flags.len() else flags
        at = flags.arg_true().to_numpy()
        bounds = np.searchsorted(at, np.append(starts, batch.height)).tolist()
        answer[one.name] = [
            Failed(end - start, tuple(_example(batch, one, int(i), int(rows[i])) for i in at[start:end][:EXAMPLES]))
            for start, end in pairwise(bounds)
        ]
    return answer


def _example(batch: pl.DataFrame, predicate: Predicate, index: int, row: int) -> dict[str, Any]:
    example: dict[str, Any] = {"row": row}
    if predicate.column in batch.columns:
        example["value"] = batch[predicate.column][index]
    shown = {name: batch[name][index] for name in predicate.shows if name in batch.columns}
    return example | ({"shows": shown} if shown else {})


def _without_exact(spec: ProfileSpec, held: Sequence[Profile]) -> ProfileSpec:
    """The spec for the next batch: a column that has given up exact values need not look for them again."""
    last = held[-1].columns if held else {}
    given_up = {name for name, column in last.items() if not column.exact}
    if not given_up:
        return spec
    columns = tuple(replace(one, exact=False) if one.name in given_up else one for one in spec.columns)
    return replace(spec, columns=columns)


# --- samples ---------------------------------------------------------------------------------------------


def hash_ids(ids: pl.Series) -> Hashes:
    """The stable hash of each id (text or whole numbers; nulls hash as nothing)."""
    if ids.dtype.is_integer():
        return hash_numbers(ids.cast(pl.Int64).fill_null(0).to_numpy())
    return hash_text(ids.cast(pl.String).fill_null(""))


def lowest(frame: pl.DataFrame, id: str, size: int) -> pl.DataFrame:
    """The `size` rows whose `id` has the lowest stable hash: the same rows however the frame was put together."""
    return _lowest(Sample(hash_ids(frame[id]), frame), size).rows


def _hashes(batch: pl.DataFrame, spec: ProfileSpec, rows: Ints) -> Hashes:
    return hash_numbers(rows.astype(np.int64)) if spec.id is None else hash_ids(batch[spec.id])


def _lowest(sample: Sample, size: int) -> Sample:
    hashes = sample.hashes
    if hashes.size > 4 * size:
        # Cut first, ties at the cut included, then sort what is left.
        near = np.flatnonzero(hashes <= np.partition(hashes, size - 1)[size - 1])
        sample = Sample(hashes[near], sample.rows[near])
        hashes = sample.hashes
    order = np.argsort(hashes, kind="stable")
    if np.any(hashes[order][1:] == hashes[order][:-1]):
        # Rows of the same id, in any order of arrival: their own content decides.
        content = [repr(row) for row in sample.rows.iter_rows()]
        order = np.array(sorted(range(hashes.size), key=lambda i: (int(hashes[i]), content[i])), dtype=np.intp)
    order = order[:size]
    return Sample(hashes[order], sample.rows[order])


# --- adding up -------------------------------------------------------------------------------------------


def merge(profiles: Iterable[Profile], spec: ProfileSpec | None = None) -> Profile:
    """The profile of all rows together: faster than adding two by two. None at all: an empty profile (of `spec`).

    Raises UsageError where a column's kind or centre differs between parts.
    """
    parts = list(profiles)
    if not parts:
        if spec is None:
            return Profile()
        dtypes: dict[str, Any] = {one.name: DTYPES[one.kind] for one in spec.columns}
        return profile(pl.DataFrame(schema=dtypes), replace(spec, predicates=(), sample=0))
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns = {
        name: merge_columns([part.columns[name] for part in parts if name in part.columns], name=name) for name in names
    }
    return Profile(
        rows=sum(part.rows for part in parts),
        columns=columns,
        failed=_merge_failed(parts),
        sampled=_merge_samples(parts),
        sample_size=max(part.sample_size for part in parts),
    )


def _merge_failed(parts: Sequence[Profile]) -> dict[str, Failed]:
    names = dict.fromkeys(name for part in parts for name in part.failed)
    answer: dict[str, Failed] = {}
    for name in names:
        held = [part.failed[name] for part in parts if name in part.failed]
        examples = [row for one in held for row in one.examples]
        examples.sort(key=lambda row: (row["row"], repr(sorted(row.items()))))
        answer[name] = Failed(sum(one.rows for one in held), tuple(examples[:EXAMPLES]))
    return answer


def _merge_samples(parts: Sequence[Profile]) -> Sample | None:
    held = [part.sampled for part in parts if part.sampled is not None]
    if not held:
        return None
    sizes = {part.sample_size for part in parts if part.sampled is not None}
    if len(sizes) > 1:
        raise UsageError(
            "profiles with samples of different sizes cannot be added",
            why=f"they hold up to {', '.join(str(size) for size in sorted(sizes))} rows",
        )
    rows = pl.concat([one.rows for one in held], how="diagonal_relaxed")
    return _lowest(Sample(np.concatenate([one.hashes for one in held]), rows), sizes.pop())

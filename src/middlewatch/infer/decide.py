"""From what was counted to a schema: kinds, roles, limits, and the doubts a person should settle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import polars as pl

import middlewatch.infer.kinds as kinds
import middlewatch.infer.limits as limits
import middlewatch.infer.target as target
from middlewatch import tables
from middlewatch.errors import NotFound, TableError, UsageError, nearest
from middlewatch.schema import Column, Kind, Limit, Role, Schema, Task

from .facts import Facts, gather
from .kinds import Reading
from .personal import looks_like

MOST_CATEGORIES: Final = 1000
_FEW_TEXTS: Final = 50
_ALWAYS: Final = 0.999
_DAY_FIRST: Final = re.compile(r"[0-9]{1,2}[./-][0-9]{1,2}[./-](?:[0-9]{2}|[0-9]{4})(?:[ T].*)?")
_ID_NAME: Final = re.compile(r"(^|[_\W])(id|key|uuid|guid)$|[a-z]I[dD]$", re.IGNORECASE)
_CODE_NAME: Final = re.compile(
    r"(^|[_\W])(code|zip|zipcode|postcode|type|class|category|region|store|sku)([_\W]|$)", re.I
)
_EPOCH_SECONDS: Final = (1e9, 2.2e9)
_UNKNOWN: Final = 95
"""The weight of a doubt about rows without an outcome: of a log most outcomes may be still to come."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A question for a person: about which column, what was guessed, why it is doubtful.

    `other` is the other answer as an option of `init`, such as `--role code=ignored`; "" where there is no single one.
    """

    column: str
    question: str
    guess: str
    why: str
    other: str = ""


Settled = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Inferred:
    """The schema, and the doubts about it, the most doubtful first."""

    schema: Schema
    doubts: tuple[Doubt, ...]


def infer(
    raw: tables.Raw,
    *,
    name: str,
    target: str,
    time: str | None = None,
    key: str | None = None,
    task: str | None = None,
    zone: str = "UTC",
    settled: Settled | None = None,
) -> Inferred:
    """The schema of a model that predicts `target`. Times without a zone are read in `zone`.

    `settled` are answers of a person: by column its `kind`, `role`, `private`, texts that are `missing`, or a `value`.
    Raises TableError for an empty table, reserved names, a constant or all-null target; NotFound for a column that
    is not there; UsageError for a target that does not fit the task, or a time that is none.
    """
    if task not in (None, "binary", "multiclass", "regression"):
        raise UsageError(f'there is no task "{task}"', fix="binary, multiclass or regression")
    _present(raw.columns, {"target": target, "time": time, "key": key})
    for column in settled or {}:
        if column not in raw.columns:
            raise NotFound(f'the table has no column "{column}"', fix=nearest(column, raw.columns))
    look = _Look(raw, zone, time, key, settled or {})
    wanted: Task | None = task  # type: ignore[assignment]  # checked above
    return look.model(name, target, wanted)


def describe(raw: tables.Raw, *, name: str = "table", zone: str = "UTC") -> Inferred:
    """The schema of a table that has no target, and what is odd about it: what `check` says of a lone file."""
    _present(raw.columns, {})
    look = _Look(raw, zone, None, None, {})
    schema = look.table(name)
    return Inferred(schema, tuple(doubt for _, doubt in sorted(look.doubts, key=_order)))


def logged(
    raw: tables.Raw,
    *,
    name: str,
    target: str,
    task: Task,
    classes: tuple[str, ...] = (),
    time: str,
    key: str | None = None,
    zone: str = "UTC",
    settled: Settled | None = None,
) -> Inferred:
    """The schema of what a model elsewhere was asked: of the columns all but time, key and target are its inputs.

    `target` holds the outcomes where it is a column, else it is what the schema will call them. `task` is told by the
    answers, and so are the `classes`, but for a probability alone. Raises as `infer` does; a table without inputs is
    fine: its predictions can still be watched.
    """
    _present(raw.columns, {"time": time, "key": key})
    for column in settled or {}:
        if column not in raw.columns:
            raise NotFound(f'the table has no column "{column}"', fix=nearest(column, raw.columns))
    look = _Look(raw, zone, time, key, settled or {})
    return look.logged(name, target, task, classes)


def _present(columns: list[str], wanted: Mapping[str, str | None]) -> None:
    for role, column in wanted.items():
        if column is not None and column not in columns:
            raise NotFound(f'the table has no column "{column}" for --{role}', fix=nearest(column, columns))
    asked = [one for one in wanted.values() if one is not None]
    twice = next((one for one in asked if asked.count(one) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} cannot be two of target, time and key", fix="name a column for one of them only")
    reserved = [one for one in columns if one.startswith("mw.")]
    if reserved:
        raise TableError(
            f'the column "{reserved[0]}" has a reserved name',
            why='names that begin with "mw." belong to the prediction log',
            fix="rename it",
        )


class _Look:
    """One table being looked at."""

    def __init__(self, raw: tables.Raw, zone: str, time: str | None, key: str | None, settled: Settled) -> None:
        self.zone = zone
        self.settled = settled
        self.time = time
        self.key = key
        self.doubts: list[tuple[int, Doubt]] = []
        counted = kinds.count(tables.batches(raw.frame), raw.frame.collect_schema())
        if not any(one.rows for one in counted.values()):
            raise TableError(f"{raw.source} has no rows", why="limits come from data", fix="give a table with rows")
        self.readings = {column: kinds.read(one, textual=raw.textual) for column, one in counted.items()}
        first = tuple(self._first(column, one) for column, one in self.readings.items())
        self.facts, self.sample = gather(tables.batches(raw.frame), Schema(name="first look", columns=first), zone)
        self.columns = {one.name: self._column(one, self.readings[one.name]) for one in first}
        for column in self.columns:
            for doubt in self.readings[column].doubts:
                self._doubt(column, *doubt)
            called, twice, number = column.rpartition("__")
            if twice and number.isdigit() and called in self.columns and raw.textual:
                why = f"the header names {called} twice"
                self._doubt(column, 88, "two columns of one name?", f"another column, {column}", why)

    def _first(self, name: str, reading: Reading) -> Column:
        """How a column is read at first: by its cells, or as a person said."""
        said = self.settled.get(name, {})
        kind: Kind = said["kind"][-1] if "kind" in said else reading.kind  # type: ignore[assignment]  # checked by init
        missing = [one for one in (*reading.missing, *said.get("missing", ())) if one not in said.get("value", ())]
        return Column(name=name, kind=kind, decimal=reading.decimal, missing=tuple(dict.fromkeys(missing)))

    def table(self, name: str) -> Schema:
        columns = (self._limited(replace(one, role="ignored")) for one in self.columns.values())
        return Schema(name=name, columns=tuple(columns))

    def model(self, name: str, outcome: str, task: Task | None) -> Inferred:
        kind, chosen, classes, doubts = target.settle(self.columns[outcome], self.facts[outcome], task)
        known = classes if kind == "category" else None
        self.columns[outcome] = replace(self.columns[outcome], role="target", kind=kind, categories=known, unseen=0.0)
        for doubt in doubts:
            self._doubt(outcome, *doubt)
        self._time_and_key()
        for column in list(self.columns.values()):
            if column.role == "feature":
                said = self.settled.get(column.name, {}).get("role")
                role: Role = said[-1] if said else self._role(column, outcome, chosen)  # type: ignore[assignment]
                self.columns[column.name] = replace(column, role=role)
        columns = tuple(self._limited(one) for one in self.columns.values())
        schema = Schema(
            name=name,
            target=outcome,
            task=chosen,
            time=self.time,
            key=self.key,
            columns=columns,
            classes=classes,
        )
        if not schema.features:
            raise TableError(
                "no column is left to predict from",
                why="; ".join(f"{doubt.column}: {doubt.guess}" for _, doubt in sorted(self.doubts, key=_order))[:300],
                fix="give a table with columns that are known before the outcome",
            )
        return Inferred(schema, tuple(doubt for _, doubt in sorted(self.doubts, key=_order)))

    def logged(self, name: str, outcome: str, task: Task, classes: tuple[str, ...]) -> Inferred:
        classes = self._outcome(outcome, task, classes)
        asked_for_key = self.key is not None
        self._time_and_key()
        if not asked_for_key and self.key is not None:
            self.doubts = [(weight, one) for weight, one in self.doubts if one.column != self.key]
            self._doubt(self.key, 65, "an input?", "no, an id: ignored", f"--key {self.key} joins outcomes by it")
            self.columns[self.key], self.key = replace(self.columns[self.key], role="ignored", unique=False), None
        for column in list(self.columns.values()):
            if column.role == "feature":
                said = self.settled.get(column.name, {}).get("role")
                role: Role = said[-1] if said else self._use(column)  # type: ignore[assignment]
                self.columns[column.name] = replace(column, role=role)
        there = [one for one in self.columns.values() if one.name in self.facts]
        absent = [one for one in self.columns.values() if one.name not in self.facts]
        schema = Schema(
            name=name,
            target=outcome,
            task=task,
            time=self.time,
            key=self.key,
            columns=(*(self._limited(one) for one in there), *absent),
            classes=classes,
        )
        return Inferred(schema, tuple(doubt for _, doubt in sorted(self.doubts, key=_order)))

    def _outcome(self, name: str, task: Task, classes: tuple[str, ...]) -> tuple[str, ...]:
        """Settle the target's column, which may not be there yet; the classes."""
        column = self.columns.get(name)
        if column is None:
            classes = classes or (("0", "1") if task == "binary" else ())
            whole = all(one.isdecimal() for one in classes)
            kind: Kind = "number" if task == "regression" else "whole" if whole else "category"
            self.columns[name] = Column(name=name, kind=kind, role="target", nulls=1.0)
            return classes
        if task == "multiclass" or classes:
            kind, texts = column.kind, {target.class_text(one, column.kind) for one in self.facts[name].values()}
            strange = sorted(texts - set(classes))
            if strange:
                raise TableError(
                    f"{name} holds {', '.join(strange[:5])}, which the answers never name",
                    why=f"they name {', '.join(classes[:12])}",
                    fix="--score CLASS=COL says which column belongs to which class",
                )
        else:
            kind, _, classes, doubts = target.settle(column, self.facts[name], task)
            for doubt in doubts:
                if doubt[0] != _UNKNOWN:
                    self._doubt(name, *doubt)
        known = classes if kind == "category" else None
        self.columns[name] = replace(column, role="target", kind=kind, categories=known, unseen=0.0)
        return classes

    def _doubt(self, column: str, weight: int, question: str, guess: str, why: str, other: str = "") -> None:
        self.doubts.append((weight, Doubt(column, question, guess, why, other)))

    def _column(self, column: Column, reading: Reading) -> Column:
        """Category or free text, marks for missing among numbers, and what is of no use at all."""
        facts = self.facts[column.name]
        if reading.unfit or not facts.present:
            if not reading.unfit:
                self._doubt(column.name, 20, "of use?", "ignored", f"it is missing in all {facts.rows:,} rows")
            return replace(column, kind="text", role="ignored")
        said = self.settled.get(column.name, {})
        if column.kind == "category" and self._is_text(facts) and "kind" not in said:
            column = replace(column, kind="text", role="ignored")
        if "private" in said:
            column = replace(column, private=said["private"][-1])  # type: ignore[arg-type]  # checked by init
        elif column.kind in ("category", "text") and (like := looks_like(self.sample[column.name])):
            other = f"--private {column.name}=drop"
            self._doubt(
                column.name, 75, f"personal? it holds {like}", "not private: logged", "most of it looks so", other
            )
        if column.kind in ("number", "whole", "time"):
            column = self._without_mark(column, facts)
        if column.kind == "category" and (spelt := self._spellings(facts)):
            self._doubt(column.name, 58, "one value or several?", "several", spelt)
        return column

    @staticmethod
    def _spellings(facts: Facts) -> str:
        """Values that differ in case or spaces only, or that are dates in an order nobody can tell."""
        texts = facts.values()
        dates = [one for one in texts if _DAY_FIRST.fullmatch(one.strip())]
        if dates and len(dates) >= kinds.DOMINANT * len(texts):
            return f"they look like dates, {dates[0]}: the order of day and month is not guessed, write ISO 8601"
        folded: dict[str, list[str]] = {}
        for one in texts:
            folded.setdefault(one.strip().lower(), []).append(one)
        alike = [some for some in folded.values() if len(some) > 1]
        more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
        return f"{', '.join(repr(one) for one in alike[0][:3])}{more} differ in case or spaces only" if alike else ""

    @staticmethod
    def _is_text(facts: Facts) -> bool:
        return facts.distinct > MOST_CATEGORIES or (
            facts.distinct > _FEW_TEXTS and (facts.unique or 3 * facts.distinct > facts.present)
        )

    def _without_mark(self, column: Column, facts: Facts) -> Column:
        """A spike apart from the rest: well-known marks become missing, others are asked about."""
        found = limits.spike(facts)
        if found is None:
            return column
        value, times, known = found
        share = f"{times:,} of {facts.rows:,} cells, far from all others"
        if isinstance(value, datetime):
            self._doubt(column.name, 80, f"is {value:%Y-%m-%d} a time or a mark for missing?", "a time", share)
            return column
        shown = f"{value:g}" if abs(value) < 1e6 else str(value)
        if shown in self.settled.get(column.name, {}).get("value", ()):
            return column
        guess = "missing" if known else "a value"
        other = f"--{'value' if known else 'missing'} {column.name}={shown}"
        self._doubt(column.name, 80, f"is {shown} a value or a mark for missing?", guess, share, other)
        if not known:
            return column
        facts.nulls += times
        for end in (facts.low, facts.high):
            if end.first == value:
                end.first, end.times = end.second, 1
        if facts.counts is not None:
            facts.counts = facts.counts.filter(pl.col("value") != value)
        values = self.sample[column.name]
        self.sample = self.sample.with_columns(pl.Series(column.name, values).set(values == value, None))
        return replace(column, missing=(*column.missing, shown))

    def _time_and_key(self) -> None:
        if self.time is not None:
            column = self.columns[self.time]
            if column.kind != "time":
                raise UsageError(
                    f"{self.time} holds no times that can be read ({column.kind})",
                    why="times are ISO 8601 (2013-07-01T12:00:00Z); the order of day and month is not guessed",
                    fix="write that column in ISO 8601",
                )
            self.columns[self.time] = replace(column, role="time")
        else:
            for column in self.columns.values():
                if column.kind == "time" and column.role != "target":
                    guess = f"no time column; --time {column.name} sets it"
                    self._doubt(column.name, 70, "is it when the row happened?", guess, "it holds times")
                elif self._epoch(column):
                    why = "its numbers look like seconds since 1970; they are not read as times"
                    self._doubt(column.name, 70, "is it a time?", "a number", why)
        if self.key is None:
            candidates = [
                one.name
                for one in self.columns.values()
                if one.role != "target" and _ID_NAME.search(one.name) and one.kind in ("text", "category", "whole")
            ]
            unique = [one for one in candidates if not self.facts[one].nulls and self.facts[one].unique]
            if len(unique) == 1:
                self.key = unique[0]
                self._doubt(self.key, 65, "is it the key that outcomes come back with?", "the key", "no value repeats")
        if self.key is not None:
            unique_key = self.facts[self.key].unique
            if not unique_key:
                self._doubt(self.key, 92, "can a key repeat?", "yes: not tested", "some of its values occur twice")
            column = self.columns[self.key]
            kind = "text" if column.kind == "category" else column.kind
            self.columns[self.key] = replace(column, kind=kind, role="key", unique=unique_key)

    def _epoch(self, column: Column) -> bool:
        low, high = self.facts[column.name].low.first, self.facts[column.name].high.first
        named = re.search(r"time|date|stamp|(^|_)(ts|at)$", column.name.lower()) is not None
        return column.kind == "whole" and named and _EPOCH_SECONDS[0] <= low <= high <= _EPOCH_SECONDS[1]

    def _role(self, column: Column, outcome: str, task: Task) -> Role:
        """Whether the model should see a column, with a doubt where the answer is no guess to make in silence."""
        name = column.name
        leak = column.kind != "time" and target.knows(name, outcome, self.facts[name], self.sample, task)
        if leak:
            self._doubt(name, 100, "known before the outcome?", "a leak, ignored", leak, f"--role {name}=feature")
            return "ignored"
        return self._use(column)

    def _use(self, column: Column) -> Role:
        """Whether a column that is no leak is of use to a model."""
        name, facts = column.name, self.facts[column.name]
        if column.kind == "time":
            return "ignored"
        if facts.distinct == 1:
            value = facts.values()[0]
            if not facts.nulls:
                used = f"--role {name}=feature"
                self._doubt(name, 20, "of use?", "ignored", f"it is {value!r} in every row", used)
                return "ignored"
            unused = f"--role {name}=ignored"
            self._doubt(name, 30, "of use?", "a feature", f"it is {value!r} or missing", unused)
        if column.kind == "whole" and self._is_id(name, facts):
            why = "its numbers only tell rows apart"
            self._doubt(name, 45, "an id or an amount?", "an id, ignored", why, f"--role {name}=feature")
            return "ignored"
        if column.kind == "whole" and facts.distinct <= _FEW_TEXTS and _CODE_NAME.search(name):
            why = f"it has {facts.distinct} different whole numbers"
            if "kind" not in self.settled.get(name, {}):
                other = f"--kind {name}=category"
                self._doubt(name, 60, "amounts or codes?", 'amounts; kind = "category" for codes', why, other)
        value, times = facts.top()
        if facts.distinct > 1 and facts.present >= limits.MANY and times >= _ALWAYS * facts.present:
            why = f"it is {value!r} in {times:,} of {facts.rows:,} rows"
            self._doubt(name, 10, "of use?", "a feature", why, f"--role {name}=ignored")
        return "feature"

    def _is_id(self, name: str, facts: Facts) -> bool:
        if _ID_NAME.search(name) and facts.distinct > max(_FEW_TEXTS, facts.present / 10):
            return True
        if facts.present < 100 or not facts.unique:
            return False
        dense = facts.high.first - facts.low.first < 2 * facts.present
        return bool(dense or _ID_NAME.search(name))

    def _limited(self, column: Column) -> Column:
        """The column with its guessed limits."""
        facts = self.facts[column.name]
        guessed = {"kind", "nulls"}
        low: Limit | None = None
        high: Limit | None = None
        categories, unseen = column.categories, column.unseen
        allowed = 0.0 if column.role in ("time", "key") and not facts.nulls else limits.nulls(facts.rows, facts.nulls)
        centre = 0.0
        if column.kind in ("number", "whole") and column.role != "key" and facts.low.first is not None:
            sample = self.sample[column.name].drop_nulls()
            sample = sample.filter(sample.is_finite())
            centre = limits.centre(sample)
            low, high = limits.span(float(facts.low.first), float(facts.high.first), sample, rows=facts.present)
            if column.kind == "whole":
                low, high = limits.wholes(low, high, int(facts.low.first), int(facts.high.first))
            if column.role == "target" and column.kind == "whole" and facts.distinct <= target.FEW:
                low, high = int(facts.low.first), int(facts.high.first)
            guessed |= {"min", "max"}
        if column.kind == "category" and categories is None:
            categories = tuple(facts.values())
            unseen = limits.unseen(facts)
            guessed |= {"unseen", "categories"}
        guessed |= {"missing"} if column.missing else set()
        guessed |= {"role"} if column.role == "ignored" else set()
        return replace(
            column,
            nulls=allowed,
            min=low,
            max=high,
            categories=categories,
            unseen=unseen,
            centre=centre,
            guessed=frozenset(guessed),
        )


def _order(weighed: tuple[int, Doubt]) -> tuple[int, str]:
    return -weighed[0], weighed[1].column

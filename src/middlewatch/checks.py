"""Data tests: a table against its schema, in the one pass that also makes its profile.

    raw batches --Schema.typed--> values and masks --profile--> counters of broken rows --findings--> Findings

A test is a row predicate counted in the profile, or a question to the profile itself. A failed test is a value.
Where too many cells of a column do not parse, its other tests are "unknown": their answer would mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any, Final

import numpy as np
import polars as pl
import polars.exceptions as plx

from . import profiles, tables
from .cells import DTYPES, column, is_text
from .errors import ConfigError, nearest
from .findings import Finding, Severity, passed
from .profiles import ColumnProfile, Failed, Predicate, Profile
from .schema import Column, Rule, Schema
from .times import iso

UNKNOWN_FROM: Final = 0.05
"""Share of cells that do not parse from which on a column's other tests are unknown."""
SHIFTED: Final = 0.1
"""Distance from the reference (0 to 1, sampling noise apart) from which on a column is named as shifted."""
QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

_MASK: Final = "mw.unparsed."
_RAW: Final = "mw.raw."
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the tests of a table found, and its profile. `columns` is plain JSON; `ok` is False where one failed."""

    ok: bool
    rows: int
    seconds: float
    findings: tuple[Finding, ...]
    profile: Profile
    columns: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """The public form of `check --json`."""
        return {
            "ok": self.ok,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "findings": [one.to_dict() for one in self.findings],
            "columns": {name: dict(facts) for name, facts in self.columns.items()},
        }


def check(
    raw: tables.Raw,
    schema: Schema,
    *,
    zone: str = "UTC",
    reference: Profile | None = None,
    now: datetime | None = None,
) -> Report:
    """Test a table against its schema, reading it once; with `reference`, name what has shifted from it.

    Times without a zone are read in `zone`; times after `now` are noted. A bad table is a Report, not an
    exception; raises TableError where it cannot be read, ConfigError where a rule of the schema is no SQL.
    """
    start = perf_counter()
    tested = predicates(schema, now=now)
    spec = profiles.spec_of(schema, predicates=tested)
    keys = {one.name: _Repeats() for one in schema.columns if one.unique and one.name in raw.columns}
    profile = profiles.profile_stream(_batches(raw, schema, zone, keys), spec)
    with tables.reading(raw.source):
        dtypes = dict(raw.frame.collect_schema())
    repeated = {name: one.found(raw.frame, schema, name, zone) for name, one in keys.items()}
    found = findings(profile, schema, dtypes=dtypes, textual=raw.textual, repeated=repeated, reference=reference)
    return Report(
        ok=passed(found),
        rows=profile.rows,
        seconds=perf_counter() - start,
        findings=found,
        profile=profile,
        columns={name: _facts(one) for name, one in profile.columns.items() if name in dtypes},
    )


def bad_rows(raw: pl.DataFrame, schema: Schema, *, zone: str = "UTC", first_row: int = 0) -> pl.DataFrame:
    """The rows of a raw batch that break a test that fails (not warnings), for quarantine.

    The raw columns as they came, `mw.row` (the 0-based row in the table, the batch beginning at `first_row`) and
    `mw.reasons`, a list of test and column such as "range: temp".
    """
    typed = _marked(raw, schema, zone)
    allowed = {one.name: one.severity for one in schema.columns}
    rules = {f"rule:{one.name}": one.severity for one in schema.rules}
    reasons = []
    for test in predicates(schema):
        severity = rules.get(test.name) or allowed[test.name.partition(":")[2]]
        if (
            severity == "fail"
            and set(test.expr.meta.root_names()) <= set(typed.columns)
            and not _tolerated(test, schema)
        ):
            kind, _, name = test.name.partition(":")
            reasons.append(pl.when(test.expr.fill_null(False)).then(pl.lit(f"{kind}: {name}")))
    listed = pl.concat_list(reasons).list.drop_nulls() if reasons else pl.lit([], dtype=pl.List(pl.String))
    why = typed.select(listed.alias("mw.reasons")).to_series()
    if why.len() != raw.height:
        why = pl.Series("mw.reasons", [[]] * raw.height, dtype=pl.List(pl.String))
    return raw.with_row_index("mw.row", offset=first_row).with_columns(why).filter(pl.col("mw.reasons").list.len() > 0)


def _tolerated(test: Predicate, schema: Schema) -> bool:
    """True where the schema lets a share of rows break the test: such a row alone is not bad."""
    kind, _, name = test.name.partition(":")
    if kind == "rule":
        return any(one.name == name and one.share > 0 for one in schema.rules)
    facts = schema.column(name)
    return (kind == "nulls" and facts.nulls > 0) or (kind == "categories" and facts.unseen > 0)


# --- the tests of rows -----------------------------------------------------------------------------------


def predicates(schema: Schema, *, now: datetime | None = None) -> tuple[Predicate, ...]:
    """What a row of a typed batch must not do, as `test:column`. Ignored columns have no tests.

    Raises ConfigError where a rule is no SQL, uses a column that is not there, or is no yes or no.
    """
    found: list[Predicate] = []
    for one in schema.columns:
        if one.role == "ignored":
            continue
        value, mask = column(one.name), pl.col(_MASK + one.name)
        shown = "" if one.private else one.name
        found.append(Predicate(f"type:{one.name}", "" if one.private else _RAW + one.name, mask))
        found.append(Predicate(f"nulls:{one.name}", shown, value.is_null() & ~mask))
        if one.kind == "number":
            found.append(Predicate(f"finite:{one.name}", shown, ~value.is_finite()))
        outside = _outside(one, value)
        if outside is not None:
            found.append(Predicate(f"range:{one.name}", shown, outside))
        if one.categories is not None:
            found.append(Predicate(f"categories:{one.name}", shown, ~value.is_in(list(one.categories))))
        if one.role == "time" and now is not None:
            found.append(Predicate(f"future:{one.name}", shown, value > now))
    return (*found, *(_rule(one, schema) for one in schema.rules))


def _outside(one: Column, value: pl.Expr) -> pl.Expr | None:
    """Below min or above max. NaN is neither (in polars it is above all numbers), infinity has a test of its own."""
    sides = []
    if one.min is not None:
        sides.append(value < one.min)
    if one.max is not None:
        sides.append(value > one.max)
    if not sides:
        return None
    broken = pl.any_horizontal(sides)
    return broken & value.is_finite() if one.kind == "number" else broken


def _rule(rule: Rule, schema: Schema) -> Predicate:
    where = f'rule "{rule.name}" of {schema.name}'
    fix = 'sql states what must hold for a row, such as  arrives > departs  or  "two words" < 5'
    try:
        holds = pl.sql_expr(rule.sql)
        empty = pl.DataFrame(schema={one.name: DTYPES[one.kind] for one in schema.columns})
        answer = empty.select(holds.alias("answer")).to_series().dtype
    except plx.ColumnNotFoundError as error:
        name = str(error).split("\n")[0].split('"')[1] if '"' in str(error) else str(error).split("\n")[0]
        raise ConfigError(f"a rule uses a column that is not there: {name}", where=where, fix=fix) from error
    except plx.PolarsError as error:
        why = str(error).split("\n")[0][:200]
        raise ConfigError("a rule cannot be read as SQL", where=where, why=why, fix=fix) from error
    if answer != pl.Boolean:
        raise ConfigError("a rule is neither true nor false", where=where, why=f"it gives {answer}", fix=fix)
    roots = tuple(dict.fromkeys(holds.meta.root_names()))
    open_ = tuple(name for name in roots if not schema.column(name).private)
    return Predicate(f"rule:{rule.name}", open_[0] if open_ else "", ~holds, open_[1:])


def _batches(raw: tables.Raw, schema: Schema, zone: str, keys: Mapping[str, _Repeats]) -> Iterator[pl.DataFrame]:
    for batch in tables.batches(raw.frame):
        typed = _marked(batch, schema, zone)
        for name, one in keys.items():
            one.add(typed[name])
        yield typed


def _marked(raw: pl.DataFrame, schema: Schema, zone: str) -> pl.DataFrame:
    """A typed batch with the mask of each column's unparsed cells, and those cells' raw values where there are any."""
    frame, unparsed = schema.typed(raw, zone=zone)
    masks = [mask.alias(_MASK + name) for name, mask in unparsed.items()]
    shown = [
        raw[name].alias(_RAW + name) if is_text(raw[name].dtype) or raw[name].dtype.is_numeric() else _texts(raw[name])
        for name, mask in unparsed.items()
        if mask.any()
    ]
    return frame.with_columns(*masks, *shown)


def _texts(values: pl.Series) -> pl.Series:
    return pl.Series(_RAW + values.name, [None if one is None else str(one)[:80] for one in values], dtype=pl.String)


class _Repeats:
    """Whether a key repeats: 8 bytes a row, and a second look only at rows whose hashes meet."""

    def __init__(self) -> None:
        self.hashes: list[pl.Series] = []

    def add(self, values: pl.Series) -> None:
        self.hashes.append(pl.select(pl.when(values.is_not_null()).then(values.hash())).to_series())

    def found(self, frame: pl.LazyFrame, schema: Schema, name: str, zone: str) -> Failed:
        """Rows whose value an earlier row has, and the first of them."""
        if not self.hashes:
            return Failed(0)
        hashes = pl.concat(self.hashes)
        met = hashes.is_duplicated() & hashes.is_not_null()
        if not met.any():
            return Failed(0)
        rows = met.arg_true().alias("row")
        held = frame.select(column(name)).with_row_index("mw.row").filter(pl.col("mw.row").is_in(rows.implode()))
        raw = held.collect()
        values = schema.typed(raw.select(column(name)), zone=zone).frame.to_series()
        later = ~values.is_first_distinct()
        shown = raw["mw.row"].filter(later).head(profiles.table.EXAMPLES).to_list()
        hidden = schema.column(name).private is not None
        examples = [
            {"row": row} if hidden else {"row": row, "value": value}
            for row, value in zip(shown, values.filter(later).head(len(shown)).to_list(), strict=True)
        ]
        return Failed(int(later.sum()), tuple(examples))


# --- what was found --------------------------------------------------------------------------------------


def findings(
    profile: Profile,
    schema: Schema,
    *,
    dtypes: Mapping[str, pl.DataType],
    textual: bool,
    repeated: Mapping[str, Failed] | None = None,
    reference: Profile | None = None,
) -> tuple[Finding, ...]:
    """Every failed test, failures first. `dtypes` are the raw table's columns, `repeated` the rows of unique ones."""
    judge = _Judge(profile, schema, textual)
    judge.table(dtypes)
    for one in schema.columns:
        if one.name in dtypes and one.role != "ignored" and profile.rows:
            judge.column(one, dtypes[one.name], (repeated or {}).get(one.name))
        elif one.name in dtypes and not schema.target and profile.rows:
            judge.unknown_column(one)
    for rule in schema.rules:
        judge.rule(rule)
    if reference is not None:
        judge.shift(reference)
    order = ("fail", "warn", "note")
    return tuple(sorted(judge.found, key=lambda one: (order.index(one.severity), one.status == "unknown")))


class _Judge:
    """One profile before one schema."""

    def __init__(self, profile: Profile, schema: Schema, textual: bool) -> None:
        self.profile = profile
        self.schema = schema
        self.textual = textual
        self.file = f"{schema.name}.schema.toml"
        self.found: list[Finding] = []

    def table(self, dtypes: Mapping[str, pl.DataType]) -> None:
        """Rows at all, and which columns there are."""
        if not self.profile.rows:
            self.found.append(
                Finding(check="rows", message="the table has no rows", fix="look why the source is empty")
            )
        missing = [one for one in self.schema.columns if one.name not in dtypes]
        extra = [name for name in dtypes if name not in self.schema.names]
        for one in missing:
            severity: Severity = "note" if one.role == "ignored" else one.severity
            renamed = _renamed(one.name, extra)
            said = f"column {one.name} is not there" + (f'; is it "{renamed}" now?' if renamed else "")
            fix = (
                f"give {one.name} back its name" if renamed else f"bring {one.name} back, or take it out of {self.file}"
            )
            self.found.append(
                Finding(
                    check="missing",
                    column=one.name,
                    message=said,
                    severity=severity,
                    rows_failed=self.profile.rows,
                    share_failed=1.0 if self.profile.rows else 0.0,
                    fix=fix,
                    evidence={"renamed": renamed} if renamed else {},
                )
            )
        for name in extra:
            said = f"column {name} is not in the schema; nothing reads it"
            fix = f"add [columns.{name}] to {self.file} if it is needed"
            self.found.append(Finding(check="extra", column=name, message=said, severity="note", fix=fix))

    def column(self, one: Column, dtype: pl.DataType, repeated: Failed | None) -> None:
        unparsed = self._failed(f"type:{one.name}")
        if unparsed.rows:
            self._unparsed(one, unparsed)
        elif is_text(dtype) and not self.textual and one.kind in ("number", "whole", "boolean"):
            said = f"{one.name} came as text; every cell of it reads as {_a(one.kind)}"
            fix = "store it as a number: a request with text in its place is refused"
            self.found.append(Finding(check="type", column=one.name, message=said, severity="warn", fix=fix))
        if unparsed.rows > UNKNOWN_FROM * self.profile.rows:
            said = f"{one.name}: missing values, range and categories cannot be judged while its cells do not parse"
            self.found.append(
                Finding(check="unknown", column=one.name, message=said, severity="note", status="unknown")
            )
            return
        self._nulls(one)
        self._values(one)
        if repeated is not None and repeated.rows:
            self._add(
                one,
                "unique",
                repeated,
                f"repeats a value in {self._of(repeated.rows)} rows",
                f"take out the repeats, or unique = false under {self._table(one)}",
            )

    def unknown_column(self, one: Column) -> None:
        """What is odd in any table, where no schema says what the column should be: warnings, never failures."""
        held = self.profile.columns.get(one.name)
        if held is None:
            return
        odd = (held.nans or 0) + (held.infinities or 0)
        if odd:
            self._warn(one, "finite", f"is NaN or infinite in {self._of(odd)} rows", odd)
        elif not held.n:
            self._warn(one, "nulls", "is missing in every row", self.profile.rows)
        elif self.profile.rows > 1 and not held.nulls and held.distinct() == 1:
            self._warn(one, "constant", "has the same value in every row", self.profile.rows)

    def _warn(self, one: Column, check: str, said: str, rows: int) -> None:
        self.found.append(
            Finding(
                check=check,
                column=one.name,
                message=f"{one.name} {said}",
                severity="warn",
                rows_failed=rows,
                share_failed=rows / self.profile.rows,
                fix="ask where the column comes from, or leave it out",
            )
        )

    def _unparsed(self, one: Column, failed: Failed) -> None:
        texts = list(dict.fromkeys(str(row["value"]) for row in failed.examples if "value" in row))[:_SHOWN]
        shown = ", ".join(f'"{text[:40]}"' for text in texts)
        said = f"holds {self._of(failed.rows)} cells that are no {_noun(one.kind)}" + (f": {shown}" if shown else "")
        listed = ", ".join(f'"{text}"' for text in texts) or '"..."'
        fix = f"mend the cells, or missing = [{listed}] under {self._table(one)} if that means missing"
        self._add(one, "type", failed, said, fix)

    def _nulls(self, one: Column) -> None:
        failed = self._failed(f"nulls:{one.name}")
        if not self._beyond(failed.rows, one.nulls):
            return
        every = failed.rows == self.profile.rows
        said = "is missing in every row" if every else f"is missing in {self._of(failed.rows)} rows"
        said += f", {_percent(one.nulls)} may be" if one.nulls else ", none may be"
        self._add(one, "nulls", failed, said, self._allow(one, "nulls", failed.rows))

    def _values(self, one: Column) -> None:
        finite = self._failed(f"finite:{one.name}")
        if finite.rows:
            said = f"is NaN or infinite in {self._of(finite.rows)} rows"
            fix = f'mend the sum that made them, or missing = ["nan"] under {self._table(one)}'
            self._add(one, "finite", finite, said, fix)
        outside = self._failed(f"range:{one.name}")
        if outside.rows:
            low = "" if one.min is None else _limit(one.min)
            high = "" if one.max is None else _limit(one.max)
            said = f"is outside [{low}, {high}] in {self._of(outside.rows)} rows{self._reach(one)}"
            fix = f"look at the unit and the source, or widen min and max under {self._table(one)}"
            self._add(one, "range", outside, said, fix)
        unseen = self._failed(f"categories:{one.name}")
        if unseen.rows:
            self._unseen(one, unseen)
        future = self._failed(f"future:{one.name}")
        if future.rows:
            said = f"is in the future in {self._of(future.rows)} rows"
            self._add(one, "future", future, said, "look at the zone and the clock of the source", severity="note")

    def _unseen(self, one: Column, failed: Failed) -> None:
        known = one.categories or ()
        held = self.profile.columns.get(one.name)
        counts = held.counts() if held is not None and held.categories is not None and not one.private else {}
        new = sorted(((n, value) for value, n in counts.items() if value not in known), reverse=True)
        names = [value for _, value in new] or [str(row["value"]) for row in failed.examples if "value" in row]
        said = f"holds unknown values in {self._of(failed.rows)} rows"
        if names:
            said += ": " + ", ".join(f'"{value[:40]}"' for value in names[:_SHOWN])
            said += f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            folded = {value.strip().lower() for value in known}
            if all(value.strip().lower() in folded for value in names):
                said += "; they differ from known ones in case or spaces only"
        fix = f"mend the source, or add them to categories under {self._table(one)}"
        beyond = self._beyond(failed.rows, one.unseen)
        said += f"; {_percent(one.unseen)} may be" if one.unseen else ""
        self._add(one, "categories", failed, said, fix, severity=one.severity if beyond else "note")

    def rule(self, rule: Rule) -> None:
        name = f"rule:{rule.name}"
        if name not in self.profile.failed:
            if self.profile.rows:
                said = f'rule "{rule.name}" cannot be judged: a column it needs is not there'
                self.found.append(Finding(check="rule", message=said, severity="note", status="unknown"))
            return
        failed = self.profile.failed[name]
        if self._beyond(failed.rows, rule.share):
            said = f'rule "{rule.name}" ({rule.sql}) does not hold in {self._of(failed.rows)} rows'
            said += f", {_percent(rule.share)} may break it" if rule.share else ""
            self.found.append(
                Finding(
                    check="rule",
                    message=said,
                    severity=rule.severity,
                    rows_failed=failed.rows,
                    share_failed=failed.rows / self.profile.rows,
                    examples=tuple(_shown(row) for row in failed.examples),
                    fix=f'mend the rows, or change rule "{rule.name}" in {self.file}',
                )
            )

    def shift(self, reference: Profile) -> None:
        """Columns whose distribution has moved from the reference's."""
        for one in self.schema.columns:
            now, then = self.profile.columns.get(one.name), reference.columns.get(one.name)
            if now is None or then is None or one.role not in ("feature", "target") or not now.n or not then.n:
                continue
            moved = _moved(now, then)
            if moved is None or moved[0] < SHIFTED:
                continue
            said = f"{one.name} has shifted from the reference: {moved[1]}"
            self.found.append(
                Finding(
                    check="shift",
                    column=one.name,
                    message=said,
                    severity="warn",
                    fix="look whether the source or the world has changed",
                    evidence={"distance": round(moved[0], 4)},
                )
            )

    # --- words and counts ---

    def _add(
        self, one: Column, test: str, failed: Failed, said: str, fix: str, *, severity: Severity | None = None
    ) -> None:
        self.found.append(
            Finding(
                check=test,
                column=one.name,
                message=f"{one.name} {said}",
                severity=severity or one.severity,
                rows_failed=failed.rows,
                share_failed=failed.rows / self.profile.rows,
                examples=tuple(_shown(row) for row in failed.examples),
                fix=fix,
            )
        )

    def _failed(self, name: str) -> Failed:
        return self.profile.failed.get(name, Failed(0))

    def _beyond(self, rows: int, share: float) -> bool:
        """More rows than the share allows; where a share is allowed at all, one row is."""
        return rows > max(share * self.profile.rows, 1 if share else 0)

    def _of(self, rows: int) -> str:
        return f"{rows:,} of {self.profile.rows:,} ({_percent(rows / self.profile.rows)})"

    def _table(self, one: Column) -> str:
        return f"[columns.{one.name}] of {self.file}"

    def _allow(self, one: Column, key: str, rows: int) -> str:
        share = math.ceil(rows / self.profile.rows * 1000) / 1000
        return f"mend the source, or {key} = {share:g} under {self._table(one)}"

    def _reach(self, one: Column) -> str:
        held = self.profile.columns.get(one.name)
        if held is None or held.lowest is None or held.highest is None or one.private:
            return ""
        return f"; it reaches from {_limit(held.lowest)} to {_limit(held.highest)}"


def _renamed(name: str, extra: Sequence[str]) -> str | None:
    near = nearest(name, extra) if extra else ""
    return near.removeprefix('did you mean "').removesuffix('"?') if near.startswith("did you mean") else None


def _moved(now: ColumnProfile, then: ColumnProfile) -> tuple[float, str] | None:
    """Distance of two distributions less what chance makes of it, and what moved, in words."""
    if now.kind in ("category", "boolean"):
        ours, theirs = now.counts(), then.counts()
        names = ours.keys() | theirs.keys()
        gaps = {name: ours.get(name, 0) / now.n - theirs.get(name, 0) / then.n for name in names}
        if not gaps:
            return None
        noise = 0.5 * math.sqrt(len(names) / now.n + len(names) / then.n)
        most = max(sorted(gaps), key=lambda name: abs(gaps[name]))
        shares = f"{_percent(theirs.get(most, 0) / then.n)} to {_percent(ours.get(most, 0) / now.n)}"
        return sum(abs(gap) for gap in gaps.values()) / 2 - noise, f'"{most[:40]}" went from {shares} of rows'
    if now.kind not in ("number", "whole"):
        return None
    grid = np.unique(np.concatenate([one.quantile(np.linspace(0.01, 0.99, 99)) for one in (now, then)]))
    distance = float(np.max(np.abs(now.cdf(grid) - then.cdf(grid))))
    noise = 1.36 * math.sqrt(1 / now.n + 1 / then.n)
    medians = f"the median went from {_limit(then.quantile(0.5))} to {_limit(now.quantile(0.5))}"
    return distance - noise, f"{medians}, the mean from {_limit(then.mean)} to {_limit(now.mean)}"


def _facts(one: ColumnProfile) -> dict[str, Any]:
    """One column for `check --json`; numbers that do not exist are null."""
    ordered = one.bins is not None and one.kind != "time"
    return {
        "kind": one.kind,
        "rows": one.rows,
        "nulls": one.nulls,
        "nans": one.nans,
        "infinities": one.infinities,
        "distinct": one.distinct(),
        "min": _plain(one.lowest),
        "max": _plain(one.highest),
        "mean": _plain(one.mean) if ordered else None,
        "std": _plain(one.std) if ordered else None,
        "quantiles": {f"{q:g}": _plain(one.quantile(q)) for q in QUANTILES} if ordered and one.n else {},
        "top": [{"value": _plain(value), "rows": rows} for value, rows in one.top(10)],
    }


def _shown(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example row as plain JSON; NaN and infinities by their names."""
    shown = {key: _shown(value) if isinstance(value, Mapping) else _plain(value) for key, value in example.items()}
    for key, value in example.items():
        if isinstance(value, float) and not math.isfinite(value):
            shown[key] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return shown


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _percent(share: float) -> str:
    if 0 < share < 0.0001:
        return "under 0.01 %"
    return f"{share * 100:.4g} %" if share >= 0.01 else f"{share * 100:.2g} %"


def _limit(value: Any) -> str:
    return iso(value) if isinstance(value, datetime) else f"{value:.6g}" if isinstance(value, float) else str(value)


def _noun(kind: str) -> str:
    return {"whole": "whole number", "boolean": "yes or no", "time": "time (ISO 8601)"}.get(kind, kind)


def _a(kind: str) -> str:
    return {"boolean": "yes or no", "whole": "a whole number"}.get(kind, f"a {kind}")

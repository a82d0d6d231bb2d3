"""From counters to Findings: one profile before one schema."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import polars as pl

import middlewatch.checks.days as days
from middlewatch.cells import is_text
from middlewatch.errors import nearest
from middlewatch.findings import Finding, Severity
from middlewatch.profiles import Failed, Profile
from middlewatch.schema import Column, Rule, Schema

from .facts import shown
from .moved import moved
from .plan import Once, Plan
from .rules import RowRule
from .words import a_kind, limit, noun, percent

UNKNOWN_FROM: Final = 0.05
"""Share of cells that do not parse from which on a column's other tests are unknown."""
SHIFTED: Final = 0.1
"""Distance from the reference (0 to 1, sampling noise apart) from which on a column is named as shifted."""
MANY: Final = 100
"""Rows from which on a column of one value is no chance."""
_SHOWN: Final = 3


def findings(
    profile: Profile,
    tested: Plan,
    *,
    dtypes: Mapping[str, pl.DataType],
    textual: bool,
    repeated: Mapping[str, Failed],
    reference: Profile | None = None,
    now: datetime | None = None,
) -> tuple[Finding, ...]:
    """Every failed test, failures first. `dtypes` are the raw table's columns, `repeated` the rows that repeat."""
    schema = tested.schema
    judge = _Judge(profile, schema, textual)
    judge.table(dtypes)
    for one in schema.columns:
        if one.name in dtypes and one.role != "ignored" and profile.rows:
            judge.column(one, dtypes[one.name])
        elif one.name in dtypes and profile.rows and (one.pattern or one.references or one.constant):
            judge.declared(one)
        elif one.name in dtypes and not schema.target and profile.rows:
            judge.unknown_column(one)
    for once in tested.once:
        judge.once(once, repeated[once.test])
    for rule in tested.every_rule:
        judge.rule(rule, tested.unjudged.get(rule.name))
    judge.found += days.findings(profile, schema, zone=tested.zone, now=now, reference=reference)
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
            ) + self._ask(one)
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

    def column(self, one: Column, dtype: pl.DataType) -> None:
        unparsed = self._failed(f"type:{one.name}")
        if unparsed.rows:
            self._unparsed(one, unparsed)
        elif is_text(dtype) and not self.textual and one.kind in ("number", "whole", "boolean"):
            said = f"{one.name} came as text; every cell of it reads as {a_kind(one.kind)}"
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
        self.declared(one)

    def declared(self, one: Column) -> None:
        """What a person wrote of a column, whatever its role."""
        unlike = self._failed(f"pattern:{one.name}")
        if unlike.rows:
            said = f"does not match {one.pattern} in {self._of(unlike.rows)} rows"
            self._add(one, "pattern", unlike, said, f"mend the source, or pattern under {self._table(one)}")
        stray = self._failed(f"references:{one.name}")
        if self._beyond(stray.rows, one.unseen):
            said = f"holds values that {one.references} does not in {self._of(stray.rows)} rows"
            said += f", {percent(one.unseen)} may be" if one.unseen else ""
            self._add(one, "references", stray, said, f"bring {one.references} up to date, or mend the source")
        self._constant(one)

    def once(self, once: Once, repeated: Failed) -> None:
        """Values that must occur once."""
        if not repeated.rows:
            return
        single = self.schema.column(once.columns[0]) if len(once.columns) == 1 else None
        said = f"repeats a value in {self._of(repeated.rows)} rows"
        if single is not None and once.test.startswith("unique:"):
            fix = f"take out the repeats, or unique = false under {self._table(single)}"
            self._add(single, "unique", repeated, said, fix)
            return
        self.found.append(
            Finding(
                check="key",
                message=f"{' and '.join(once.columns)} together {said.replace('repeats', 'repeat', 1)}",
                severity=once.severity,
                rows_failed=repeated.rows,
                share_failed=repeated.rows / self.profile.rows,
                examples=tuple(shown(row) for row in repeated.examples),
                fix=f"take out the repeats, or take that [[keys]] out of {self.file}",
                evidence={"columns": list(once.columns)},
            )
        )

    def _constant(self, one: Column) -> None:
        held = self.profile.columns.get(one.name)
        if held is None or not held.n:
            return
        distinct = held.distinct()
        if one.constant and distinct > 1:
            top = ", ".join(f'"{value}"' for value, _ in held.top(_SHOWN)) if not one.private else ""
            said = f"must hold one value and holds {distinct:,}" + (f": {top}" if top else "")
            fix = f"look where the others come from, or constant = false under {self._table(one)}"
            self._add(one, "constant", Failed(held.n), said, fix)
        known_constant = one.constant or (one.categories is not None and len(one.categories) == 1)
        if one.role == "feature" and distinct == 1 and not held.nulls and held.n >= MANY and not known_constant:
            said = f"has the same value in all {self.profile.rows:,} rows"
            fix = f"look whether its source is stuck, or constant = true under {self._table(one)}"
            self._add(one, "constant", Failed(held.n), said, fix, severity="warn")

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
        said = f"holds {self._of(failed.rows)} cells that are no {noun(one.kind)}" + (f": {shown}" if shown else "")
        listed = ", ".join(f'"{text}"' for text in texts) or '"..."'
        again = next((row["row"] for row in failed.examples if str(row.get("value")).strip() == one.name.strip()), None)
        if again is not None:
            said += f"; the header line stands in the data again, first in row {again}"
        fix = f"mend the cells, or missing = [{listed}] under {self._table(one)} if that means missing"
        self._add(one, "type", failed, said, fix)

    def _nulls(self, one: Column) -> None:
        failed = self._failed(f"nulls:{one.name}")
        if not self._beyond(failed.rows, one.nulls):
            return
        every = failed.rows == self.profile.rows
        said = "is missing in every row" if every else f"is missing in {self._of(failed.rows)} rows"
        said += f", {percent(one.nulls)} may be" if one.nulls else ", none may be"
        self._add(one, "nulls", failed, said, self._allow(one, "nulls", failed.rows))

    def _values(self, one: Column) -> None:
        finite = self._failed(f"finite:{one.name}")
        if finite.rows:
            said = f"is NaN or infinite in {self._of(finite.rows)} rows"
            fix = f'mend the sum that made them, or missing = ["nan"] under {self._table(one)}'
            self._add(one, "finite", finite, said, fix)
        outside = self._failed(f"range:{one.name}")
        if outside.rows:
            low = "" if one.min is None else limit(one.min)
            high = "" if one.max is None else limit(one.max)
            said = f"is outside [{low}, {high}] in {self._of(outside.rows)} rows{self._reach(one)}"
            fix = f"look at the unit and the source, or widen min and max under {self._table(one)}"
            self._add(one, "range", outside, said, fix)
        unusual = self._failed(f"expected:{one.name}")
        if unusual.rows and one.expected:
            low, high = (limit(side) for side in one.expected)
            said = f"is outside its usual range [{low}, {high}] in {self._of(unusual.rows)} rows{self._reach(one)}"
            fix = f"look at the source, or widen expected under {self._table(one)}"
            severity: Severity = "note" if one.severity == "note" else "warn"
            self._add(one, "expected", unusual, said, fix, severity=severity)
        unseen = self._failed(f"categories:{one.name}")
        if unseen.rows:
            self._unseen(one, unseen)
        future = self._failed(f"future:{one.name}")
        if future.rows:
            said = f"is in the future in {self._of(future.rows)} rows"
            self._add(one, "future", future, said, "look at the zone and the clock of the source", severity="note")
        back = self._failed(f"order:{one.name}")
        if back.rows:
            said = f"goes backwards in {self._of(back.rows)} rows"
            fix = f"sort the table by {one.name}, or ordered = false under [table] of {self.file}"
            self._add(one, "order", back, said, fix, severity=self.schema.table.severity)

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
        said += f"; {percent(one.unseen)} may be" if one.unseen else ""
        self._add(one, "categories", failed, said, fix, severity=one.severity if beyond else "note")

    def rule(self, rule: Rule | RowRule, unjudged: str | None) -> None:
        """One rule of the schema, or an own one."""
        name = f"rule:{rule.name}"
        if name not in self.profile.failed or unjudged is not None:
            if self.profile.rows:
                why = unjudged or "a column it needs is not there"
                said = f'rule "{rule.name}" cannot be judged: {why}'
                # An own rule that fails to run guards nothing: that must not pass in silence.
                severity: Severity = rule.severity if unjudged is not None else "note"
                self.found.append(Finding(check="rule", message=said, severity=severity, status="unknown"))
            return
        failed = self.profile.failed[name]
        if self._beyond(failed.rows, rule.share):
            about = rule.sql if isinstance(rule, Rule) else rule.where
            said = f'rule "{rule.name}" ({about}) does not hold in {self._of(failed.rows)} rows'
            said += f", {percent(rule.share)} may break it" if rule.share else ""
            self.found.append(
                Finding(
                    check="rule",
                    message=said,
                    severity=rule.severity,
                    rows_failed=failed.rows,
                    share_failed=failed.rows / self.profile.rows,
                    examples=tuple(shown(row) for row in failed.examples),
                    fix=f'mend the rows, or change rule "{rule.name}" in '
                    + (self.file if isinstance(rule, Rule) else rule.where.partition(":")[0]),
                )
            )

    def shift(self, reference: Profile) -> None:
        """Columns whose distribution has moved from the reference's."""
        for one in self.schema.columns:
            now, then = self.profile.columns.get(one.name), reference.columns.get(one.name)
            if now is None or then is None or one.role not in ("feature", "target") or not now.n or not then.n:
                continue
            gap = moved(now, then)
            if gap is None or gap[0] < SHIFTED:
                continue
            said = f"{one.name} has shifted from the reference: {gap[1]}"
            self.found.append(
                Finding(
                    check="shift",
                    column=one.name,
                    message=said,
                    severity="warn",
                    fix="look whether the source or the world has changed",
                    evidence={"distance": round(gap[0], 4)},
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
                examples=tuple(shown(row) for row in failed.examples),
                fix=fix + self._ask(one),
            )
        )

    @staticmethod
    def _ask(one: Column) -> str:
        """Whom to call, where the schema says."""
        who = f"ask {one.owner}" if one.owner else ""
        place = f"it comes from {one.source}" if one.source else ""
        said = ", ".join(part for part in (who, place) if part)
        return f"; {said}" if said else ""

    def _failed(self, name: str) -> Failed:
        return self.profile.failed.get(name, Failed(0))

    def _beyond(self, rows: int, share: float) -> bool:
        """More rows than the share allows; where a share is allowed at all, one row is."""
        return rows > max(share * self.profile.rows, 1 if share else 0)

    def _of(self, rows: int) -> str:
        return f"{rows:,} of {self.profile.rows:,} ({percent(rows / self.profile.rows)})"

    def _table(self, one: Column) -> str:
        return f"[columns.{one.name}] of {self.file}"

    def _allow(self, one: Column, key: str, rows: int) -> str:
        share = math.ceil(rows / self.profile.rows * 1000) / 1000
        return f"mend the source, or {key} = {share:g} under {self._table(one)}"

    def _reach(self, one: Column) -> str:
        held = self.profile.columns.get(one.name)
        if held is None or held.lowest is None or held.highest is None or one.private:
            return ""
        return f"; it reaches from {limit(held.lowest)} to {limit(held.highest)}"


def _renamed(name: str, extra: Sequence[str]) -> str | None:
    near = nearest(name, extra) if extra else ""
    return near.removeprefix('did you mean "').removesuffix('"?') if near.startswith("did you mean") else None

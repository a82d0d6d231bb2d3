"""One pass over a table: its tests and its profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from middlewatch import plots, profiles, tables
from middlewatch.findings import Finding, passed
from middlewatch.pictures import facts_of
from middlewatch.profiles import Profile
from middlewatch.schema import Schema, Table

from .facts import facts
from .judge import findings
from .plan import Plan, plan
from .repeats import Repeats
from .rules import RowRule
from .swift import clean
from .together import Groups, together


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Report:
    """What the tests of a table found, and its profile. `columns` is plain JSON; `ok` is False where one failed.

    `together` are groups of tests that the very same rows break, with the number of those rows.
    `repeated` holds by test (`unique:id`, `key:flight + day`) the numbers of rows that repeat an earlier one.
    """

    ok: bool
    rows: int
    seconds: float
    findings: tuple[Finding, ...]
    profile: Profile
    columns: Mapping[str, Mapping[str, Any]]
    repeated: Mapping[str, pl.Series] = field(default_factory=dict, repr=False)
    together: Groups = ()
    schema: Schema = field(repr=False)
    reference: Profile | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        word = "ok" if self.ok else "FAIL"
        failed = sum(1 for one in self.findings if one.severity == "fail")
        warned = sum(1 for one in self.findings if one.severity == "warn")
        return f"<{word}: {self.rows:,} rows, {failed} data tests failed, {warned} warned>"

    def _repr_html_(self) -> str:
        return plots.fragment(self.facts(), title="Data tests")

    def facts(self) -> dict[str, Any]:
        """All that is drawn of it (see `plots`), plain JSON."""
        return facts_of(self.profile, self.schema, findings=self.findings, ok=self.ok, reference=self.reference)

    def save(self, path: str | Path, *, title: str = "Data tests") -> None:
        """Write a page of it with plots; an old one is replaced."""
        Path(path).write_text(plots.page(self.facts(), title=title), encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """The public form of `check --json`."""
        return {
            "ok": self.ok,
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "findings": [one.to_dict() for one in self.findings],
            "together": [{"tests": list(tests), "rows": rows} for tests, rows in self.together],
            "columns": {name: dict(facts) for name, facts in self.columns.items()},
        }


def check(
    raw: tables.Raw,
    schema: Schema,
    *,
    zone: str = "UTC",
    reference: Profile | None = None,
    now: datetime | None = None,
    rules: Sequence[RowRule] = (),
    base: Path | None = None,
    sample: int = 0,
    profile: bool = True,
) -> Report:
    """Test a table against its schema, reading it once; with `reference`, name what has shifted from it.

    Times without a zone are read in `zone`; `now` is what the newest event's age is measured from. `rules` are own
    Python functions; tables that columns reference are relative to `base`; `sample` rows are kept in the profile for
    pictures. Without `profile` only the tests are made, at a third of the cost, unless one of them needs it.

    A bad table is a Report, not an exception;
    raises TableError where it cannot be read, ConfigError where a rule of the schema is none.
    """
    start = perf_counter()
    profile = profile or reference is not None or schema.table != Table() or any(one.constant for one in schema.columns)
    tested = plan(schema, raw.columns, zone=zone, now=now, rules=rules, base=base)
    spec = profiles.spec_of(schema, predicates=tested.predicates, sample=sample)
    repeats = {one.test: Repeats(one.columns) for one in tested.once}
    with tables.reading(raw.source):
        dtypes = dict(raw.frame.collect_schema())
    whole = None if profile or repeats else clean(raw, tested, dtypes)
    if whole is None:
        whole = profiles.profile_stream(_batches(raw, tested, repeats), spec, columns=profile)
    repeated = {test: one.found(raw.frame, schema, zone) for test, one in repeats.items()}
    found = findings(
        whole,
        tested,
        dtypes=dtypes,
        textual=raw.textual,
        repeated={test: failed for test, (failed, _) in repeated.items()},
        reference=reference,
        now=now,
    )
    return Report(
        ok=passed(found),
        rows=whole.rows,
        seconds=perf_counter() - start,
        findings=found,
        profile=whole,
        columns={name: facts(one) for name, one in whole.columns.items() if name in dtypes},
        repeated={test: rows for test, (_, rows) in repeated.items()},
        together=together(raw, tested, whole, found),
        schema=schema,
        reference=reference,
    )


def _batches(raw: tables.Raw, tested: Plan, repeats: Mapping[str, Repeats]) -> Iterator[pl.DataFrame]:
    for batch in tables.batches(raw.frame):
        ready = tested.ready(batch)
        for one in repeats.values():
            one.add(ready)
        yield ready

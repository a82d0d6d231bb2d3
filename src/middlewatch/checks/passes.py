"""One pass over a table: its tests and its profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any

import polars as pl

from middlewatch import profiles, tables
from middlewatch.findings import Finding, passed
from middlewatch.profiles import Profile
from middlewatch.schema import Schema

from .facts import facts
from .judge import findings
from .marked import marked
from .repeats import Repeats
from .tests import predicates


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
    keys = {one.name: Repeats() for one in schema.columns if one.unique and one.name in raw.columns}
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
        columns={name: facts(one) for name, one in profile.columns.items() if name in dtypes},
    )


def _batches(raw: tables.Raw, schema: Schema, zone: str, keys: Mapping[str, Repeats]) -> Iterator[pl.DataFrame]:
    for batch in tables.batches(raw.frame):
        typed = marked(batch, schema, zone)
        for name, one in keys.items():
            one.add(typed[name])
        yield typed

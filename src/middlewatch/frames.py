"""What can be asked of a table with no project: `mw.check`, `mw.split`, `mw.profile`; and how callers give tables and
times.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import NotFound
from .times import parse_time, zone_of

if TYPE_CHECKING:
    from .checks import Report, RowRule
    from .infer import Doubt
    from .inspection import Inspection
    from .profiles import Profile
    from .tables import Raw

__all__ = ["check", "inspection", "moment_of", "profile", "raw_of", "split"]


def raw_of(table: Any) -> Raw:
    """A table as it was given: a path or URL (relative to where one stands), or a frame. Raises TableError."""
    from . import tables

    return tables.scan(table, base=Path.cwd()) if isinstance(table, str | Path) else tables.from_frame(table)


def moment_of(text: str | datetime, zone: tzinfo, *, now: datetime) -> datetime:
    """A time as people write it (`2h`, ISO, `yesterday 18:00`) or as Python has it, in UTC; `zone` where it names none.

    Raises UsageError.
    """
    if isinstance(text, datetime):
        return (text if text.tzinfo else text.replace(tzinfo=zone)).astimezone(UTC)
    return parse_time(text, now=now, zone=zone)


def inspection(
    table: Any,
    schema: Any = None,
    *,
    rules: Sequence[RowRule] = (),
    against: Any = None,
    zone: str = "UTC",
    until: datetime | str | None = None,
) -> tuple[Inspection, Profile | None]:
    """A frame or file before a Schema, a schema file or none; and the profile of what it is compared with."""
    from . import infer
    from .inspection import Inspection, reference
    from .schema import Schema

    raw = raw_of(table)
    base = path = None
    if isinstance(schema, str | Path):
        path = Path(schema)
        if not path.is_file():
            raise NotFound(f"there is no schema file {schema}", where=str(path.resolve()))
        schema, base = Schema.parse(path.read_text(encoding="utf-8"), where=str(schema)), path.resolve().parent
    odd: tuple[Doubt, ...] = ()
    if schema is None:
        described = infer.describe(raw, zone=zone)
        schema, odd = described.schema, described.doubts
    now = datetime.now(UTC)
    if until is not None:
        now = moment_of(until, zone_of(zone), now=now)
    held = Inspection(
        raw=raw, schema=schema, rules=tuple(rules), odd=odd, zone=zone, base=base, now=now, schema_path=path
    )
    if against is None or isinstance(against, str):
        return held, None if against is None else reference(None, "", against, held)
    other = Inspection(raw=raw_of(against), schema=schema, zone=zone, base=base)
    return held, other.report().profile


def check(
    table: Any, schema: Any = None, *, rules: Sequence[RowRule] = (), against: Any = None, zone: str = "UTC"
) -> Report:
    """Data tests of a frame (pandas, polars, pyarrow) or a file, against a Schema or a schema file; `rules` are own
    ones (`mw.rule`), `against` is a frame or file whose distributions are the usual.

    Without a schema only what is wrong in any table is found. No project is needed.
    """
    held, reference = inspection(table, schema, rules=rules, against=against, zone=zone)
    return held.report(reference, pictures=True)


def split(table: Any, schema: Any, *, rules: Sequence[RowRule] = (), zone: str = "UTC") -> tuple[Any, Any]:
    """The good rows and the bad ones of a frame or file: pandas, polars or pyarrow as it was given, else polars.

    Bad rows have `mw.row` and `mw.reasons`, a list such as `["range: temp"]`; every row is in one of the two.
    """
    import polars as pl

    from . import checks, tables

    held, _ = inspection(table, schema, rules=rules, zone=zone)
    report = held.report()
    parts = list(checks.split(held.raw, held.plan(), report.repeated))
    good, bad = (pl.concat([one[at] for one in parts]) for at in (0, 1)) if parts else checks.no_rows(held.raw)
    return tables.like(good, table), tables.like(bad, table)


def profile(table: Any, *, zone: str = "UTC") -> Profile:
    """The profile of a frame or a file, with no project: counts, quantiles, histograms of every column."""
    return check(table, zone=zone).profile

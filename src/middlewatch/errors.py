"""Every error a user can meet, in one tree.

    MiddlewatchError            exit 3   500   our bug, or the root to catch
    ├── UsageError              exit 2   400   something typed or configured is wrong
    │   ├── ConfigError         exit 2   500   middlewatch.toml or a schema file
    │   ├── TableError          exit 2   400   a table cannot be read as one
    │   └── NotFound            exit 2   404   a version, incident, column, model that is not there
    ├── Refused                 exit 1   409   the thing looked at is bad, or a gate said no
    │   ├── RequestRefused      exit 1   422   one request breaks the model's schema
    │   └── journal.Contested   exit 1   409   somebody else wrote the next entry first
    ├── OutOfReach              exit 4   503   a store or server does not answer, a disk is full
    │   └── StoreError          exit 4   503   the store answers wrongly (refuses create-only, is torn)
    └── NothingToDo             exit 5   404   no data yet, nothing new

An error carries evidence: what happened, where, why, and what to type now. The command line prints
these four; the server turns them into a status and a body; nobody parses the message.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class MiddlewatchError(Exception):
    """Root of the tree.

    `what` happened (a sentence), `where` (file and line, column and rows, key), `why`, and `fix`: what to
    type or change now.
    """

    exit_code: ClassVar[int] = 3
    status: ClassVar[int] = 500

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"  where: {self.where}")
        if self.why:
            parts.append(f"  why:   {self.why}")
        if self.fix:
            parts.append(f"  fix:   {self.fix}")
        return "\n".join(parts)

    def to_dict(self) -> dict[str, str]:
        """The same facts for `--json` and for HTTP bodies; empty ones left out."""
        facts = {"error": self.what, "where": self.where, "why": self.why, "fix": self.fix}
        return {name: text for name, text in facts.items() if text}


class UsageError(MiddlewatchError):
    exit_code = 2
    status = 400


class ConfigError(UsageError):
    status = 500


class TableError(UsageError):
    pass


class NotFound(UsageError):
    status = 404


class Refused(MiddlewatchError):
    exit_code = 1
    status = 409


class RequestRefused(Refused):
    """One request that breaks the schema: `field` names the culprit, `came` and `expected` are types or limits.

    Never holds the caller's other data, so that an answer or a log line cannot leak it.
    """

    status = 422

    def __init__(self, what: str, *, field: str = "", came: str = "", expected: str = "", fix: str = "") -> None:
        super().__init__(what, where=field, fix=fix)
        self.field = field
        self.came = came
        self.expected = expected

    def to_dict(self) -> dict[str, str]:
        facts = {"error": self.what, "field": self.field, "came": self.came, "expected": self.expected, "fix": self.fix}
        return {name: text for name, text in facts.items() if text}


class OutOfReach(MiddlewatchError):
    exit_code = 4
    status = 503


class StoreError(OutOfReach):
    pass


class NothingToDo(MiddlewatchError):
    exit_code = 5
    status = 404


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean "temp"?`, or the known names when none is near, for the end of a sentence."""
    names = [str(one) for one in known]
    folded: dict[str, str] = {}
    for one in names:
        folded.setdefault(one.lower(), one)
    close = get_close_matches(str(name).lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return f'did you mean "{folded[close[0]]}"?'
    if not names:
        return "there are none yet"
    shown = ", ".join(names[:12])
    return f"there are: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")

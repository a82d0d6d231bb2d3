"""How every verb answers: an Answer with facts for `--json`, lines for people, and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..errors import MiddlewatchError
from ..sparks import spark
from ..times import iso

__all__ = ["Answer", "as_line", "paint", "progress", "show", "show_error", "spark", "table"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`facts` is the JSON object; `lines` the same for people, the answer first, `Next:` last."""

    facts: Mapping[str, Any]
    lines: Sequence[str] = ()
    code: int = 0
    # Lines printed one JSON object each (tail) instead of `facts`.
    stream: Sequence[Mapping[str, Any]] | None = field(default=None)


def show(answer: Answer, *, as_json: bool) -> int:
    """Print an answer to stdout and return its exit code."""
    if answer.stream is not None and as_json:
        for one in answer.stream:
            print(as_line(one))
    elif as_json:
        print(json.dumps({"schema": 1, **answer.facts}, default=_plain, allow_nan=False))
    else:
        for line in answer.lines:
            print(paint(line))
    return answer.code


def as_line(row: Mapping[str, Any]) -> str:
    """One row of a stream as a JSON line."""
    return json.dumps(row, default=_plain)


def _plain(value: Any) -> str:
    """Moments as everywhere, 2026-11-22T02:00:00Z; whatever else JSON does not know as its text."""
    return iso(value) if isinstance(value, datetime) and value.tzinfo is not None else str(value)


def show_error(error: MiddlewatchError, *, as_json: bool) -> int:
    """Print what, where, why and what to type to stderr (as JSON to stdout with `--json`)."""
    if as_json:
        print(json.dumps({"schema": 1, **error.to_dict(), "code": error.exit_code}))
    else:
        print(paint(f"FAIL {error}", sys.stderr), file=sys.stderr)
    return error.exit_code


def progress(line: str) -> None:
    """Narration, to stderr, only where somebody watches."""
    if sys.stderr.isatty():
        print(f"  {line} ...", file=sys.stderr)


_STYLES = (
    ("FAIL", "31;1"),
    ("WARN", "33;1"),
    ("CAUSE", "31;1"),
    ("Failing", "31;1"),
    ("Look", "33;1"),
    ("Healthy", "32;1"),
    ("ok ", "32"),
    ("Next:", "36"),
)


def paint(line: str, stream: Any = None) -> str:
    """Colour the state word a line begins with, on a terminal only; the word itself always stays."""
    out = stream or sys.stdout
    wanted = bool(os.environ.get("FORCE_COLOR")) or (out.isatty() and not os.environ.get("NO_COLOR"))
    if wanted:
        for word, code in _STYLES:
            if line.startswith(word):
                return f"\x1b[{code}m{word}\x1b[0m{line[len(word) :]}"
    return line


def table(rows: Sequence[Sequence[Any]], *, head: Sequence[str] = (), indent: str = "") -> list[str]:
    """Rows in columns, numbers to the right."""
    cells = [[_cell(one) for one in row] for row in ([head] if head else []) + list(rows)]
    if not cells:
        return []
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    right = [all(_numeric(row[at]) for row in rows) for at in range(len(cells[0]))]
    return [
        (
            indent + "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _numeric(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))

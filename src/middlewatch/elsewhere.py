"""Models that are served elsewhere: what their versions are called here, and what those who watch them leave behind."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from .errors import UsageError
from .journal import Journal, until_uncontested
from .times import iso

__all__ = ["declare", "external", "watchers"]

_NO_WORD = re.compile(r"[^A-Za-z0-9_.+-]+")
_LONGEST = 60


def external(text: str) -> str:
    """The name of a version that is not ours, `ext-...`. Raises UsageError for a text without letters and digits."""
    word = _NO_WORD.sub("-", text.strip()).strip("-")[:_LONGEST]
    if not word:
        raise UsageError(f'"{text}" cannot be a version', fix="a word such as 3 or 2026-11-22")
    return f"ext-{word}"


def declare(journal: Journal, version: str, *, at: datetime, now: datetime, actor: str, reason: str) -> None:
    """Enter a version that answers elsewhere from `at` on as what is live, unless it is."""

    def decide() -> None:
        head = journal.head()
        if journal.live() == version:
            return
        journal.append(
            action="external",
            version=version,
            actor=actor,
            host=socket.gethostname(),
            at=at,
            reason=reason,
            facts={"entered": iso(now)},
            expect=head.n if head else 0,
        )

    until_uncontested(decide)


def watchers(folder: Path) -> list[dict[str, Any]]:
    """What the recorders of this machine left beside a model's spool: counts and the last row, newest first."""
    found = []
    for path in folder.glob("watched@*.json"):
        with suppress(OSError, ValueError):
            facts = json.loads(path.read_text())
            if isinstance(facts, dict) and "at" in facts:
                found.append(facts)
    return sorted(found, key=lambda one: str(one["at"]), reverse=True)

"""The access log: one JSON line a request on stderr, where `[serve] access_log` asks for it.

Lines wait for the next half second: the predictions are safe in their own log, and a line is not worth a write.
Bodies, keys, and addresses are in none of them.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TextIO

__all__ = ["AccessLog"]

_MOST = 20_000


class AccessLog:
    """Takes lines from the event loop, writes them from another thread by `flush`. Off: does nothing."""

    def __init__(self, *, is_on: bool, out: TextIO | None = None) -> None:
        self.is_on = is_on
        self._out = out or sys.stderr
        self._lines: list[str] = []
        self._dropped = 0

    def add(
        self, method: str, path: str, status: int, seconds: float, *, ident: str = "", caller: str = "",
        model: str = "", version: str = "",
    ) -> None:  # fmt: skip
        """One answered request; `path` without its query."""
        if not self.is_on:
            return
        if len(self._lines) >= _MOST:
            self._dropped += 1
            return
        facts = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "method": method,
            "path": path[:200],
            "status": status,
            "latency_us": round(seconds * 1e6, 1),
            "id": ident,
            "caller": caller,
            "model": model,
            "version": version,
        }
        self._lines.append(json.dumps({name: value for name, value in facts.items() if value != ""}))

    def flush(self) -> None:
        """Write what has come; how many lines had to be left out, too."""
        lines, self._lines = self._lines, []
        if self._dropped:
            lines.append(json.dumps({"access_log_lines_dropped": self._dropped}))
            self._dropped = 0
        if lines:
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()

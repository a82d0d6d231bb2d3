"""The child process that tells and delivers: `python -m middlewatch.alerts.child FOLDER`, started by the server.

It does what there is to do and ends. A receiver that hangs, or a library of many megabytes, is so never inside the
process that answers requests.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from middlewatch.errors import MiddlewatchError
from middlewatch.project import Project

from .work import is_set, tick

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """One round; 0 where nothing failed."""
    try:
        project = Project.open(Path(arguments[0]), search=False)
        if not is_set(project):
            return 0
        done = tick(project, clock=lambda: datetime.now(UTC)).delivered
    except MiddlewatchError as error:
        print(f"middlewatch: alerts: {error}", file=sys.stderr)
        return 1
    if done.problem:
        print(f"middlewatch: alerts: {done.problem}", file=sys.stderr)
    return 1 if done.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

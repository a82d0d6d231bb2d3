"""The child process that watches beside a server: `python -m middlewatch.fast.child FOLDER`, until stdin ends.

One looks per host and project; another waits for the lock, holding next to nothing. It ends with its server, however
that ends, and is killed without loss: all it knows is in the store.
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["main"]

LOOK = 5.0
WAIT = 10.0
# After a failure (the store is out of reach) ever more seldom.
SLOWEST = 300.0


def main(arguments: list[str]) -> int:
    """Look every few seconds; 0 once the server is gone."""
    root = Path(arguments[0])
    folder = root / ".middlewatch" / "spool"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "watch.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if _ended(WAIT):
                    return 0
        return _watch(root)


def _ended(seconds: float) -> bool:
    """Wait, but no longer than the server lives."""
    return bool(select.select([0], [], [], seconds)[0]) and not os.read(0, 1)


def _watch(root: Path) -> int:
    from middlewatch.errors import MiddlewatchError
    from middlewatch.fast import Watch
    from middlewatch.project import Project

    pause, watch = LOOK, None
    while True:
        started = time.monotonic()
        try:
            if watch is None:
                watch = Watch(Project.open(root, search=False), started=datetime.now(UTC))
            watch.look(datetime.now(UTC))
            pause = LOOK
        except MiddlewatchError as error:
            pause = min(pause * 2, SLOWEST)
            print(f"middlewatch: fast: {error}", file=sys.stderr, flush=True)
        # A look that takes long, on a machine that is busy, comes more seldom: at most a tenth of a core.
        if _ended(max(pause, 9 * (time.monotonic() - started))):
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The child process that brings closed log segments into the store: `python -m middlewatch.serve.convert FOLDER`.

A process of its own, since turning segments into Parquet takes polars (65 MB) and the interpreter's lock, which
the server's answers need. It does what there is to do and ends; the server starts it again when there is more.
One runs per host and project: others find the lock taken and leave.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

from .. import labels, predictions
from ..errors import MiddlewatchError
from ..project import Project
from .metrics import Metrics
from .shadow import shadow_of

__all__ = ["Converter", "main"]

_EVERY = 5.0
_SLOWEST = 600.0


class Converter:
    """Starts the child where there is something to convert; `tick` is called now and then, by one thread."""

    def __init__(self, project: Project, metrics: Metrics) -> None:
        self._project = project
        self._metrics = metrics
        self._child: subprocess.Popen[bytes] | None = None
        self._next = 0.0
        self._pause = _EVERY

    def tick(self) -> None:
        """Look for closed segments every few seconds; after a failure, ever more seldom."""
        if self._child is not None:
            if self._child.poll() is None:
                return
            self._pause = _EVERY if self._child.returncode == 0 else min(self._pause * 2, _SLOWEST)
            if self._child.returncode:
                self._metrics.add("middlewatch_conversion_failures_total")
            self._child, self._next = None, time.monotonic() + self._pause
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._pause
            if self._waiting():
                self._child = self._start()

    def finish(self, *, timeout: float) -> None:
        """Bring what is closed into the store before the server ends: its disk may not come back."""
        if self._child is None and self._waiting():
            self._child = self._start()
        if self._child is not None:
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                self._child.terminate()  # killed anywhere, it is simply run again
                self._child.wait()
            self._child = None

    def _waiting(self) -> bool:
        folders = [self._project.spool(name) for name in self._project.config.models]
        return any(predictions.waiting(one) or labels.waiting(one) for one in folders)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "middlewatch.serve.convert", str(self._project.root)]
        # A session of its own: Ctrl-C on the terminal is for the server, which waits for this child.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)


def main(arguments: list[str]) -> int:
    """Convert what waits in the project's spool; 0 where all went well."""
    problems: list[str] = []
    try:
        project = Project.open(Path(arguments[0]), search=False)
        folder = project.root / ".middlewatch" / "spool"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "convert.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            for name in project.config.models:
                problems += _convert(project, name)
                problems += labels.convert(project.store, project.spool(name), name)
    except MiddlewatchError as error:
        problems.append(str(error))
    for one in problems:
        print(f"middlewatch: log: {one}", file=sys.stderr)
    return 1 if problems else 0


def _convert(project: Project, name: str) -> list[str]:
    problems, beside = [], None
    if predictions.waiting(project.spool(name)):
        try:
            beside = shadow_of(project, name)
        except MiddlewatchError as error:
            problems.append(f"the shadow does not load: {error}")
    found = predictions.convert(project.store, project.spool(name), name, beside=beside)
    return problems + list(found.problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

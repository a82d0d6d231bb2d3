"""One of several answering processes: `python -m middlewatch.serve.worker`, started by the supervisor in `run`.

Its orders come as one JSON line on stdin, which stays open as long as the supervisor lives; once it answers, it
prints the live versions as one line.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from ..config import secret
from ..errors import MiddlewatchError
from ..project import Project
from .app import App
from .keys import Keys
from .live import Live
from .metrics import Metrics
from .run import answer_on, live_of, stop_signals

__all__ = ["main"]


def main() -> None:
    """Answer until SIGTERM, or until the supervisor is gone."""
    orders = json.loads(sys.stdin.readline())
    project = Project.open(Path(orders["project"]), search=False)
    keys = Keys.parse(secret(project.config.serve.keys) or "", where=project.config.serve.keys)
    live: Live = live_of(project, Metrics(Path(orders["metrics"])))
    app = App(live, keys=keys, is_open=orders["is_open"], pages=_pages(orders, project))
    listening = socket.socket(fileno=orders["fd"])
    with stop_signals() as stop:
        threading.Thread(target=_end_with_supervisor, name="middlewatch-parent", daemon=True).start()
        live.start()
        try:
            answer_on(app, listening, lambda: print(json.dumps(live.versions()), flush=True), stop)
        finally:
            app.close()
            live.stop()
            listening.close()


def _pages(orders: dict[str, Any], project: Project) -> Any:
    if not orders["pages"]:
        return None
    module, _, name = orders["pages"].partition(":")
    return getattr(importlib.import_module(module), name)(project, secret=bytes.fromhex(orders["forms"]))


def _end_with_supervisor() -> None:
    """stdin ends when the supervisor does, however it does."""
    os.read(0, 1)  # not sys.stdin.read(): its lock, held by this thread, would stop the interpreter from ending
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    try:
        main()
    except MiddlewatchError as failed:
        print(f"middlewatch: {failed}", file=sys.stderr)
        sys.exit(failed.exit_code)

"""What is thrown away, and when: the log past its days. Everything else is kept or has its own rule beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

    from .store import Store

STREAMS = ("log", "refused", "labels", "shadow")


def expire_log(store: Store, model: str, before: date) -> int:
    """Delete predictions, refusals and labels received on days before `before`. Returns the files deleted."""
    gone = 0
    for stream in STREAMS:
        for folder in store.folders(f"{model}/{stream}"):
            if folder.startswith("dt=") and folder[3:] < before.isoformat():
                for key in store.list(f"{model}/{stream}/{folder}/"):
                    store.delete(key)
                    gone += 1
    return gone

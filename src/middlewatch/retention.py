"""What is thrown away, and when: the log past its days, and what trainings pile up beyond the newest of them.

Everything else is kept or has its own rule beside it (`windows` for hours and samples).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    from .store import Store

STREAMS = ("log", "refused", "labels", "shadow", "servers")
# Versions whose past predictions are kept: trained once a month they reach back as far as the monitor looks.
SCORED = 12
_SCORES = re.compile(r"scores-v(\d+)-\d+\.bin")


def expire_log(store: Store, model: str, before: date) -> int:
    """Delete predictions, refusals, labels and servers' records of days before `before`. Returns the files deleted."""
    gone = 0
    for stream in STREAMS:
        for folder in store.folders(f"{model}/{stream}"):
            if folder.startswith("dt=") and folder[3:] < before.isoformat():
                for key in store.list(f"{model}/{stream}/{folder}/"):
                    store.delete(key)
                    gone += 1
    return gone


def expire_data(store: Store, model: str, *, kept: int, needed: Collection[str]) -> list[str]:
    """Delete the rows of data versions but those of the newest `kept` and of `needed` ("d7"); returns their names.

    Their manifests and profiles stay: what a version was trained on is still said, and compared with.
    """
    gone = []
    for folder in store.folders(f"{model}/data")[:-kept]:
        name = f"d{int(folder[1:])}"
        parts = [key for key in store.list(f"{model}/data/{folder}/") if key.rpartition("/")[2].startswith("part-")]
        if parts and name not in needed:
            gone.append(name)
            for key in parts:
                store.delete(key)
    return gone


def expire_scores(store: Store, model: str, *, needed: Collection[str]) -> int:
    """Delete past predictions under versions but the newest 12 and `needed` ("v7"). Returns the files deleted.

    They are derived: should an older version be released again, the kept samples are scored by it anew.
    """
    found: dict[int, list[str]] = {}
    for key in store.list(f"{model}/windows/"):
        if match := _SCORES.fullmatch(key.rpartition("/")[2]):
            found.setdefault(int(match[1]), []).append(key)
    stale = set(sorted(found)[:-SCORED]) - {int(one[1:]) for one in needed}
    keys = [key for version in stale for key in found[version]]
    for key in keys:
        store.delete(key)
    return len(keys)

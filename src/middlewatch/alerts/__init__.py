"""Alerts leave the house: who is told what, once, through which channel, and what became of it.

    incidents --changes--> messages --outbox--> routes
                             claims in the store: one machine tells

`work.after_monitor` runs behind each run of the monitor, `work.tick` in the server's child, `trial` for `doctor`.
"""

from __future__ import annotations

from .signing import HEADER, sign, verify
from .trial import trial
from .work import Alerted, after_monitor, is_set, tick

__all__ = ["HEADER", "Alerted", "after_monitor", "is_set", "sign", "tick", "trial", "verify"]

"""Why did it change: one screen with cause, column and slice, since when, effect on predictions, what to do.

Facts first (refused requests, releases, replays), then fingerprints against own history; see `fingerprints`.
"""

from __future__ import annotations

from .diagnose import diagnose
from .report import Diagnosis
from .row import Explained, explain_row
from .table import diagnose_alone, diagnose_table

__all__ = ["Diagnosis", "Explained", "diagnose", "diagnose_alone", "diagnose_table", "explain_row"]

"""Logs of a service that is not ours: its requests and answers, filed as predictions of a version `ext-...`.

    answers    score columns as predictions: a probability, a number, classes
    reading    a table as a log: times, ids, callers, versions; what cannot be is refused with its rows
    starting   a project for a model that is served elsewhere
    filing     rows that are not there yet, and what is live
    batch      a frame that a nightly job has scored

From there on monitor, why and the pages know no difference, but that nothing can be replayed.
"""

from __future__ import annotations

from .batch import log_batch
from .filing import horizon
from .work import Asked, ImportedLog, bring

__all__ = ["Asked", "ImportedLog", "bring", "horizon", "log_batch"]

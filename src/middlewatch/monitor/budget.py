"""How many alarms a month each model of a store may spend."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from middlewatch.journal import Journal

if TYPE_CHECKING:
    from middlewatch.project import Project
    from middlewatch.store import Store

# The month that the budget is promised for.
IDLE = timedelta(days=30)


def budget_of(project: Project) -> float:
    """Alarms a month of one model: the setting's, shared among the models of the store that are live."""
    return project.config.monitor.alarms_per_month / max(live_models(project.store), 1)


def live_models(store: Store) -> int:
    """How many models of a store share its alarm budget: those with a live version and traffic.

    One whose newest window is more than 30 days older than the store's newest raises no alarms and needs no share,
    though nobody ever took it down. One that still learns has its share already: its first alarms must not make the
    others' lines jump.
    """
    newest: list[date] = []
    for name in store.folders(""):
        if not name.startswith("_") and store.list(f"{name}/journal/") and Journal(store, name).live() is not None:
            days = store.folders(f"{name}/windows/")
            newest += [date.fromisoformat(days[-1])] if days else []
    return sum(1 for one in newest if max(newest) - one <= IDLE)

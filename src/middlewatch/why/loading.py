"""What a server told of a version that does not load: its incident holds the answer, nothing is looked for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ..fingerprints import Cause, Effect
from ..incidents import SERVER
from .report import Diagnosis

if TYPE_CHECKING:
    from ..incidents import Incident
    from ..project import Project

__all__ = ["told_by_server"]


def told_by_server(project: Project, incident: Incident | None) -> Diagnosis | None:
    """The diagnosis that stands in an incident about a server; None for any other incident."""
    if incident is None or SERVER not in incident.columns or not incident.why:
        return None
    kept = incident.why
    return Diagnosis(
        found=True,
        headline=f"Incident {incident.n}: {kept['headline']}",
        causes=tuple(_cause(one) for one in kept["causes"]),
        rollback=str(kept.get("rollback") or ""),
        next=str(kept.get("next") or ""),
        reproduce=f"middlewatch why {incident.n}",
        zone=project.zone,
    )


def _cause(kept: dict[str, Any]) -> Cause:
    return Cause(
        kind=kept["kind"],
        form=kept["form"],
        columns=(),
        detail=kept["detail"],
        confidence=kept["confidence"],
        affected=np.ones(0, bool),
        since=datetime.fromisoformat(kept["since"]),
        effect=Effect(0),
        fix=kept["fix"],
        proof=kept["proof"],
        facts=kept["facts"],
    )

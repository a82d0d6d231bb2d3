"""Requests: the newest logged predictions, or refusals, with their inputs; filters stand in the address.

Imports polars, inside: only this page pays for it. Reads the newest part of the log that holds enough rows.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..project import Project
from .http import Request, Response
from .rendering import render

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 50
# The log is searched further back only while too few rows were found.
BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=30), None)
_HIDDEN = ("mw.raw", "mw.features")
_REFUSED = ("field", "came", "expected", "error", "status")


def facts(project: Project, request: Request, now: datetime) -> dict[str, Any]:
    """At most 50 rows, newest first: `{id, time, received, version, score, caller, latency_us, inputs}` each."""
    name = project.model(request.query.get("model"))
    refused = request.query.get("refused") == "1"
    asked = {key: request.query.get(key, "")[:64] for key in ("version", "caller")}
    rows = _newest(project, name, refused, asked, now)
    return {
        "model": name,
        "refused": refused,
        **asked,
        "rows": [_row(one) for one in rows],
        "most": MOST,
    }


def page(project: Project, request: Request, now: datetime) -> Response:
    found = facts(project, request, now)
    versions = sorted({one.version for one in project.journal(found["model"]).entries() if one.version}, key=_number)
    return render(
        "requests.html",
        request,
        title=f"Requests: {found['model']}",
        zone=project.zone,
        found=found,
        versions=versions,
    )


def _newest(
    project: Project, name: str, refused: bool, asked: Mapping[str, str], now: datetime
) -> list[dict[str, Any]]:
    import polars as pl

    from .. import predictions

    rows: list[dict[str, Any]] = []
    for back in BACK:
        frame = predictions.scan(
            project.store,
            project.spool(name),
            name,
            since=now - back if back is not None else None,
            by="received",
            stream="refused" if refused else "log",
            compared=True,
        )
        for key, value in asked.items():
            if value:
                frame = frame.filter(pl.col(f"mw.{key}") == value)
        newest = frame.drop(*_HIDDEN, strict=False).sort("mw.received", "mw.id", descending=True).head(MOST)
        rows = newest.collect().to_dicts()
        if len(rows) == MOST:
            break
    return rows


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    own = {name[3:]: _plain(value) for name, value in row.items() if name.startswith("mw.") and name not in _HIDDEN}
    rest = {name: _plain(value) for name, value in row.items() if not name.startswith("mw.")}
    said = {name: rest.pop(name) for name in _REFUSED if "error" in row and name in rest}
    return {**own, **said, "inputs": rest}


def _plain(value: Any) -> Any:
    """As JSON can hold it: times as ISO, what is no number as a word."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def _number(version: str) -> tuple[int, str]:
    digits = "".join(one for one in version if one.isdigit())
    return (-int(digits or 0), version)

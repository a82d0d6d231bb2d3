"""Versions: what serves, since when, what was before; every model and data version; the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import middlewatch.web.words as words

from ..library import Handle
from ..project import Project
from .http import Request, Response
from .rendering import render

SHOWN = 20


def facts(project: Project, request: Request) -> dict[str, Any]:
    """What `versions --json` says, and since when the live one is live."""
    name = project.model(request.query.get("model"))
    found = Handle(project, name).versions()
    state = project.journal(name).state()
    return {
        "model": name,
        "live": found["live"],
        "since": state.since.get("live"),
        "previous": found["previous"],
        "frozen": state.frozen,
        "models": found["models"],
        "data": found["data"],
        "journal": [one.to_dict() for one in found["journal"]],
    }


def page(project: Project, request: Request) -> Response:
    found = facts(project, request)
    return render(
        "versions.html",
        request,
        title=f"Versions: {found['model']}",
        zone=project.zone,
        found=found,
        models=[_model(one, found) for one in reversed(found["models"][-SHOWN:])],
        data=list(reversed(found["data"][-SHOWN:])),
        journal=[_entry(one) for one in reversed(found["journal"][-SHOWN:])],
        more=len(found["models"]) > SHOWN or len(found["journal"]) > SHOWN,
    )


def _model(manifest: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    version = manifest["version"]
    metrics = [
        {"name": name.replace("_", " "), **{key: one.get(key) for key in ("value", "low", "high")}}
        for name, one in (manifest.get("metrics") or {}).items()
    ]
    gate = [
        {"check": str(one["check"]).replace("_", " "), "ok": bool(one["ok"]), "detail": str(one.get("detail", ""))}
        for one in manifest.get("gate") or ()
    ]
    return {
        "version": version,
        "role": "live" if version == found["live"] else "before" if version == found["previous"] else "",
        "data": manifest.get("data"),
        "rows": manifest.get("rows"),
        "holdout_rows": manifest.get("holdout_rows"),
        "created": manifest.get("created"),
        "actor": manifest.get("actor"),
        "metrics": metrics,
        "gate": gate,
        "ok": all(one["ok"] for one in gate),
        "forced": manifest.get("forced"),
        "inputs": list(manifest.get("inputs") or ()),
        "latency_us": manifest.get("latency_us"),
        "size_bytes": manifest.get("size_bytes"),
        "notes": [str(one) for one in manifest.get("notes") or ()],
    }


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    channel = entry["channel"]
    return {
        **entry,
        "said": f"{words.ACTIONS.get(entry['action'], entry['action'])} {entry['version']}".strip(),
        "channel": "" if channel == "live" else channel,
        "forced": bool(entry["facts"].get("forced")),
    }

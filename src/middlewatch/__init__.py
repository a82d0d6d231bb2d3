"""Middlewatch: production machine learning for whoever is paged at 2am.

`import middlewatch as mw` loads nothing heavy; each name below is imported when it is first used (`__init__.pyi`
tells type checkers what they are).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import MiddlewatchError
from .findings import Finding

__version__ = "0.1.0"
__all__ = [
    "Finding",
    "Handle",
    "Middleware",
    "MiddlewatchError",
    "Profile",
    "Schema",
    "WSGIMiddleware",
    "check",
    "import_",
    "log",
    "open",
    "profile",
    "rule",
    "split",
    "watch",
]

_HOMES = {
    "Handle": "library",
    "Middleware": "recording",
    "WSGIMiddleware": "recording",
    "log": "recording",
    "watch": "recording",
    "Profile": "profiles",
    "Schema": "schema",
    "check": "frames",
    "import_": "library",
    "open": "library",
    "profile": "frames",
    "rule": "checks",
    "split": "frames",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)

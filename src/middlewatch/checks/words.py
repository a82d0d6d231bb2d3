"""Numbers and kinds in words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from middlewatch.times import iso


def percent(share: float) -> str:
    if 0 < share < 0.0001:
        return "under 0.01 %"
    return f"{share * 100:.4g} %" if share >= 0.01 else f"{share * 100:.2g} %"


def limit(value: Any) -> str:
    return iso(value) if isinstance(value, datetime) else f"{value:.6g}" if isinstance(value, float) else str(value)


def noun(kind: str) -> str:
    return {"whole": "whole number", "boolean": "yes or no", "time": "time (ISO 8601)"}.get(kind, kind)


def a_kind(kind: str) -> str:
    return {"boolean": "yes or no", "whole": "a whole number"}.get(kind, f"a {kind}")

"""What this process runs on: Python, libraries, locale, zone, CPU, threads; and where two such environments differ.

Plain JSON facts, without secrets: a server leaves them with the log, a model version with its manifest.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import locale
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

__all__ = ["between", "here", "software"]

DECISIVE: Final = ("lightgbm", "numpy", "polars", "middlewatch")
"""Packages that decide a prediction; the rest are told where they are installed."""
OTHERS: Final = ("scikit-learn", "xgboost", "pandas", "skops")
_SERVING: Final = ("uvicorn", "msgspec")
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")


def software() -> dict[str, Any]:
    """What a replay elsewhere would need to know: Python, platform, and the packages that decide a prediction."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": _versions(DECISIVE) | _versions(OTHERS),
    }


def here() -> dict[str, Any]:
    """`software`, and what may change how text and times are read or numbers are added: locale, zone, CPU, threads."""
    facts = software()
    facts["packages"] |= _versions(_SERVING)
    return {
        **facts,
        "zone": os.environ.get("TZ") or "/".join(dict.fromkeys(time.tzname)),
        "locale": os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "",
        "encoding": locale.getpreferredencoding(False).lower(),
        "cpu": _cpu("model name") or platform.processor(),
        "cpu_flags": hashlib.sha256(" ".join(sorted(_cpu("flags").split())).encode()).hexdigest()[:12],
        "cpus": _cpus(),
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
    }


def between(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What two environments differ in, as (name, value of a, value of b); what only one of them tells is left out."""
    found: list[tuple[str, Any, Any]] = []
    for name in [one for one in a if one in b]:
        one, other = a[name], b[name]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            keys = [*one, *(key for key in other if key not in one)]
            found += [(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)]
        elif one != other:
            found.append((name, one, other))
    return found


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for one in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[one] = importlib.metadata.version(one)
    return found


def _cpus() -> int:
    # What the process may use, which in a container is less than what the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu(name: str) -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""

"""middlewatch.toml as frozen values.

Settings are data: each is declared once, in `settings`, with its kind, default, unit and help. Reading, error
messages, overrides from the environment, the file that `init` writes and the reference page come from there.

A value comes from, in this order: a flag, `MIDDLEWATCH_<SECTION>_<NAME>` in the environment, the file, the
default. `Config.origins` says which it was. Secrets are never in the file: it names the variable of the
environment that holds one, as "env:NAME".
"""

from __future__ import annotations

from .reading import check_name, find_project, load, secret
from .settings import FILE, Alerts, Config, Gate, ModelConfig, Monitor, Retrain, Serve, StoreConfig
from .writing import add_model, reference, template

__all__ = [
    "FILE",
    "Alerts",
    "Config",
    "Gate",
    "ModelConfig",
    "Monitor",
    "Retrain",
    "Serve",
    "StoreConfig",
    "add_model",
    "check_name",
    "find_project",
    "load",
    "reference",
    "secret",
    "template",
]

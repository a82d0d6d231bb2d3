"""A project: the folder with middlewatch.toml, its models and their store, opened once and handed to every job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from .config import Config, ModelConfig, find_project, load
from .errors import NotFound, UsageError, nearest
from .incidents import Incidents
from .journal import Journal
from .schema import Schema
from .store import Store
from .times import zone_of
from .windows import Windows

if TYPE_CHECKING:
    from .checks import RowRule


@dataclass(frozen=True, slots=True)
class Project:
    """`root` is the project folder, `store` holds everything that happened."""

    root: Path
    config: Config
    store: Store

    @staticmethod
    def open(folder: str | Path | None = None, *, search: bool = True) -> Project:
        """The project in `folder` (default: here), or in the nearest folder upward unless `search` is off.

        Raises ConfigError for a faulty middlewatch.toml, NotFound where there is none, OutOfReach for the store.
        """
        start = Path(folder or ".").resolve()
        root = find_project(start) if search else start
        config = load(root)
        store = Store.open(config.store.url, base=root)
        store.probe()
        return Project(root, config, store)

    @property
    def zone(self) -> tzinfo:
        """The zone in which naive times are read and days are cut."""
        return zone_of(self.config.monitor.zone)

    def model(self, name: str | None = None) -> str:
        """The named model, or the only one. Raises NotFound or, where several could be meant, UsageError."""
        names = list(self.config.models)
        if name is not None:
            if name not in self.config.models:
                raise NotFound(f'this project has no model "{name}"', where=str(self.root), fix=nearest(name, names))
            return name
        if len(names) != 1:
            raise UsageError(
                "this project has several models" if names else "this project has no model yet",
                where=str(self.root),
                fix=f"say which: --model {' or --model '.join(names)}"
                if names
                else "middlewatch init data.parquet --target COLUMN",
            )
        return names[0]

    def settings(self, model: str) -> ModelConfig:
        """The `[models.NAME]` block."""
        return self.config.models[self.model(model)]

    def schema_path(self, model: str) -> Path:
        """Where the reviewed schema of a model lies."""
        return self.root / f"{model}.schema.toml"

    def schema(self, model: str) -> Schema:
        """The reviewed schema. Raises NotFound, ConfigError."""
        path = self.schema_path(model)
        if not path.is_file():
            raise NotFound(
                f"{path.name} is missing",
                where=str(self.root),
                fix=f"middlewatch init {self.settings(model).source} --target {self.settings(model).target}",
            )
        return Schema.parse(path.read_text(encoding="utf-8"), where=path.name)

    def rules(self, model: str) -> tuple[RowRule, ...]:
        """The model's own data tests, from the file that its setting `rules` names. Raises ConfigError."""
        named = self.settings(model).rules
        if named is None:
            return ()
        from .checks import load  # polars, which opening a project must not cost

        return load(self.root / named)

    def journal(self, model: str) -> Journal:
        return Journal(self.store, model)

    def windows(self, model: str) -> Windows:
        return Windows(self.store, model)

    def incidents(self, model: str) -> Incidents:
        return Incidents(self.store, model)

    def spool(self, model: str) -> Path:
        """Where this machine's servers write what is not yet in the store; local even where the store is a bucket."""
        return self.root / ".middlewatch" / "spool" / model

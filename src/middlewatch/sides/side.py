"""What a side is: a channel or version of the project, of another store, or a server, found by what was typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from .. import model, predictions, servers
from ..config import FILE
from ..errors import MiddlewatchError, NotFound, nearest
from ..journal import Journal
from ..project import Project
from ..replay import Replayer
from ..store import Store
from .asked import Asked

if TYPE_CHECKING:
    from ..model import ModelVersion

CHANNELS = ("live", "staging", "shadow")
LATELY = timedelta(days=7)
_VERSION = re.compile(r"v\d+")


@dataclass(frozen=True)
class Side:
    """`name` as it was typed, `version` what answers there. `store` and `spool` hold its log (None for a server);
    `loaded` is the version, ready to answer, or `problem` says why it is not."""

    name: str
    model: str
    version: str
    zone: tzinfo
    store: Store | None = None
    spool: Path | None = None
    loaded: Replayer | None = None
    problem: str = ""
    asked: Asked | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """`staging (v4)`."""
        return self.name if self.name == self.version else f"{self.name} ({self.version})"

    @property
    def manifest(self) -> Mapping[str, Any]:
        return self.loaded.version.manifest if self.loaded is not None else {}

    def same_log(self, other: Side) -> bool:
        return self.store is not None and other.store is not None and self.store.url == other.store.url

    def rows(self, *, most: int, own: bool) -> pl.DataFrame:
        """The newest `most` rows of its log by received time, oldest first; `own`: only those of its version."""
        if self.store is None:
            return predictions.empty()
        version = pl.col("mw.version") == self.version
        seen = self._scan(["mw.id", "mw.received", "mw.version"])
        seen = seen.filter(version) if own else seen
        newest = seen.sort("mw.received", "mw.id").tail(most).collect()
        if not newest.height:
            return newest
        ids = newest["mw.id"].implode()
        whole = predictions.scan(
            self.store, self.spool, self.model, since=newest["mw.received"][0], until=None, by="received"
        )
        return whole.filter(pl.col("mw.id").is_in(ids)).collect().sort("mw.received", "mw.id")

    def _scan(self, columns: list[str]) -> pl.LazyFrame:
        assert self.store is not None
        return predictions.scan(self.store, self.spool, self.model, by="received", columns=columns)

    def refused(self) -> pl.DataFrame:
        """Refused requests of its version in the 7 days before its newest."""
        if self.store is None:
            return predictions.empty("refused")
        found = predictions.read_refused(self.store, self.spool, self.model)
        found = found.filter(pl.col("mw.version") == self.version)
        newest = found["mw.received"].max()
        lately = newest - LATELY if isinstance(newest, datetime) else None
        return found if lately is None else found.filter(pl.col("mw.received") >= lately)

    def runs_on(self, rows: pl.DataFrame) -> Mapping[str, Any]:
        """The environment of the server that answered its newest rows; empty where none is known."""
        if self.environment or self.store is None or not rows.height:
            return self.environment
        names = {str(one) for one in rows["mw.server"].drop_nulls().unique()}
        first = rows["mw.received"].min()
        since = first.date() if isinstance(first, datetime) else None
        records = servers.read(self.store, self.model, since=since, names=names)
        return records[-1].environment if records else {}


def side_of(project: Project, name: str, text: str) -> Side:
    """The side that was typed. Raises NotFound with the nearest for what is none, OutOfReach, UsageError."""
    if re.match(r"https?://", text):
        return _server(project, name, text)
    journal = project.journal(name)
    if text in CHANNELS or text in journal.state().live or _VERSION.fullmatch(text) or text.startswith("ext-"):
        return _held(text, text, project.store, project.spool(name), name, project.zone)
    place, mark, wanted = text.partition("#")
    path = Path(place).expanduser()
    if "://" in place or mark or path.is_dir():
        return _elsewhere(project, name, text, place, wanted or "live")
    known = [*CHANNELS, *model.shelf(project.store, name).names()]
    raise NotFound(
        f'"{text}" is no side to compare',
        why="a side is a channel, a version, a store (PATH#staging), or a server (http://host:8000)",
        fix=nearest(text, known),
    )


def _server(project: Project, name: str, url: str) -> Side:
    asked = Asked(url)
    try:
        version = asked.version_of(name)
        facts = asked.environment()
    except BaseException:
        asked.close()
        raise
    settings = facts.get("models", {}).get(name, {}).get("settings", {}) if facts else {}
    environment = {**facts["environment"], "settings": settings} if facts else {}
    return Side(url, name, version, project.zone, asked=asked, environment=environment)


def _elsewhere(project: Project, name: str, text: str, place: str, wanted: str) -> Side:
    """A side of another store, or of the store of another project's folder. Nothing is created there."""
    folder = Path(place).expanduser()
    if "://" not in place and (folder / FILE).is_file():
        other = Project.open(folder, search=False)
        if name in other.config.models:
            return _held(text, wanted, other.store, other.spool(name), name, other.zone)
        raise NotFound(f'{folder} has no model "{name}"', fix=nearest(name, other.config.models))
    if "://" not in place and not folder.is_dir():
        raise NotFound(f"there is no store at {place}", where=str(folder.resolve()), fix="PATH#staging, or URL#staging")
    store = Store.open(place, base=Path.cwd())
    if store.find("_store.json") is None:
        raise NotFound(f"there is no store at {place}", where=store.url, fix="PATH#staging, or URL#staging")
    store.probe()  # one of a newer layout is not misread
    if name not in store.folders(""):
        held = [one for one in store.folders("") if not one.startswith("_")]
        raise NotFound(f'that store has no model "{name}"', where=store.url, fix=nearest(name, held))
    return _held(text, wanted, store, None, name, project.zone)


def _held(text: str, wanted: str, store: Store, spool: Path | None, name: str, zone: tzinfo) -> Side:
    """A channel or version of a store."""
    state = Journal(store, name).state()
    version = state.live.get(wanted, "")
    if not version:
        if not _VERSION.fullmatch(wanted) and not wanted.startswith("ext-"):
            known = [*state.live, *model.shelf(store, name).names()]
            if wanted in CHANNELS:
                raise NotFound(
                    f"nothing is in {wanted}", where=store.url, fix=f"middlewatch promote v2 --channel {wanted}"
                )
            raise NotFound(f'there is no "{wanted}"', where=store.url, fix=nearest(wanted, known))
        version = wanted
    if not model.ours(version):
        why = f"{version} is another service's model: it cannot be asked again"
        return Side(text, name, version, zone, store, spool, problem=why)
    found: ModelVersion = model.load(store, name, version)
    try:
        loaded = Replayer(found, model.predictor(store, found))
    except MiddlewatchError as error:
        return Side(text, name, version, zone, store, spool, problem=f"{version} does not load: {error.what}")
    return Side(text, name, version, zone, store, spool, loaded)

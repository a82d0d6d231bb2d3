"""Which version answers: the journal is followed by one thread, and a swap is one reference.

Every half second each model's next journal entry is asked for: one cheap read. When what is live has changed,
the new version is built whole (files checked against their hashes, trees loaded, golden rows scored), then its
scorer takes the old one's place; requests under way finish on the scorer they began with. A version that
does not load leaves the old one serving; /readyz, the metrics and an incident say so (see `loading`).
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from .. import model as models
from ..config import secret
from ..errors import MiddlewatchError, OutOfReach, Refused, StoreError
from ..project import Project
from ..spool import Spool
from ..times import iso
from .labels import Inbox
from .loading import Loading
from .metrics import Metrics
from .roll import Roll
from .scorer import Ids, Journalist, Scorer

__all__ = ["Live", "Standing"]

POLL = 0.5
_RETRY = 5.0
PRIVATE_KEY = "env:MIDDLEWATCH_PRIVATE_KEY"


def _clock() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Standing:
    """How one model stands: entry `n` of its journal is followed; `error` says why `wanted` does not answer.

    `is_told` once the incident about that is in the store, `incident` its number.
    """

    n: int = 0
    wanted: str | None = None
    since: str = ""
    error: MiddlewatchError | None = None
    retry_at: float = 0.0
    is_told: bool = True
    incident: int | None = None


class Live:
    """The scorers of a project's live versions, kept up to date until `stop`."""

    def __init__(self, project: Project, *, metrics: Metrics, token: str, host: str) -> None:
        self.project = project
        self.metrics = metrics
        self.scorers: dict[str, Scorer] = {}  # replaced whole, never changed: readers need no lock
        self.standings = {name: Standing() for name in project.config.models}
        self.store_problem = ""
        self.chores: list[Callable[[], None]] = []
        self._journals = {name: project.journal(name) for name in project.config.models}
        self._zone = project.zone
        self._secret = (secret(PRIVATE_KEY) or "").encode() or None
        durable = project.config.serve.durability == "power"
        server = f"{host}-{token}"
        self.ids = ids = Ids(token)
        self.roll = Roll(project, server=server)
        self._loading = Loading(project, host=host)
        self.journalists = {
            name: Journalist(
                Spool(project.spool(name), server=server, durable=durable),
                Spool(project.spool(name), server=server, stream="refused"),
                ids,
            )
            for name in project.config.models
        }
        self.inbox = Inbox(project, server=server, durable=durable)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Load what is live, then follow the journals in a thread."""
        self.follow()
        self._thread = threading.Thread(target=self._run, name="middlewatch-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following and close the log's segments. Call it when no request is under way any more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        for one in self.journalists.values():
            one.close()
        self.inbox.close()
        self.metrics.keep()

    def versions(self) -> dict[str, str]:
        """What answers now, by model."""
        return {name: scorer.version for name, scorer in self.scorers.items()}

    def follow(self) -> None:
        """One round: look at every journal, load what has become live."""
        problem = ""
        for name, standing in self.standings.items():
            try:
                self._follow(name, standing)
            except OutOfReach as error:
                problem = str(error)
        self.store_problem = problem
        self.metrics.put("middlewatch_store_reachable", 0 if problem else 1)

    def _run(self) -> None:
        while not self._stopped.wait(POLL):
            try:
                self._round(_clock())
            except Exception:  # noqa: BLE001 - without this thread no release would be seen any more
                traceback.print_exc()

    def _round(self, now: datetime) -> None:
        self.follow()
        self.tell(now)
        for name, one in self.journalists.items():
            one.tick(int(now.timestamp() * 1_000_000))
            self.metrics.put("middlewatch_log_bytes_total", one.log.bytes, model=name)
            self.metrics.put("middlewatch_refused_kept_total", one.kept, model=name)
        self.inbox.tick(int(now.timestamp() * 1_000_000))
        self.roll.tick(self.versions(), now)
        for chore in self.chores:
            chore()
        self.metrics.keep()

    def _follow(self, name: str, standing: Standing) -> None:
        journal = self._journals[name]
        now = _clock().timestamp()
        again = standing.error is not None and now >= standing.retry_at
        if standing.n and journal.next_exists(standing.n) is None and not again:
            return
        state = journal.state()
        serving = self.scorers.get(name)
        standing.n = state.n
        standing.wanted = state.live.get("live")
        standing.since = state.since.get("live", "")
        standing.error, standing.is_told, standing.incident = None, False, None
        if standing.wanted is None:
            self._swap(name, None)
        elif serving is None or serving.version != standing.wanted:
            try:
                self._swap(name, self._build(name, standing.wanted))
            except MiddlewatchError as error:
                if isinstance(error, OutOfReach) and not isinstance(error, StoreError):
                    standing.error, standing.retry_at, standing.is_told = error, now + _RETRY, True
                    raise
                self._failed(name, standing, error)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a version, the one that serves stays
                traceback.print_exc()
                self._failed(name, standing, MiddlewatchError(f"{type(error).__name__}: {error}"))

    def _failed(self, name: str, standing: Standing, error: MiddlewatchError) -> None:
        standing.error, standing.retry_at = error, float("inf")
        self.metrics.add("middlewatch_load_failures_total", model=name)
        print(f"middlewatch: {name} {standing.wanted} does not load:\n{error}", file=sys.stderr, flush=True)

    def tell(self, now: datetime) -> None:
        """Open or close the incidents about what does not load here; what the store does not take is told later."""
        for name, standing in self.standings.items():
            if standing.is_told:
                continue
            with suppress(MiddlewatchError):  # the store is out of reach: /readyz says so
                self._tell(name, standing, now)
                standing.is_told = True

    def _tell(self, name: str, standing: Standing, now: datetime) -> None:
        if standing.error is None:
            self._loading.mended(name, standing.since, now=now)
        elif standing.wanted is not None:
            serving = self.scorers.get(name)
            standing.incident = self._loading.failed(
                name, standing.wanted, standing.since, error=standing.error, now=now,
                serving=serving.version if serving is not None else None,
            )  # fmt: skip

    def _build(self, name: str, version: str) -> Scorer:
        if not models.ours(version):
            raise Refused(
                f"{version} is another service's model and cannot answer here",
                where=name,
                fix=f"middlewatch train --model {name}, then middlewatch promote v1 --model {name}",
            )
        loaded = models.load(self.project.store, name, version)
        return Scorer(
            loaded,
            models.predictor(self.project.store, loaded),
            self.journalists[name],
            zone=self._zone,
            zone_name=self.project.config.monitor.zone,
            secret=self._secret,
        )

    def _swap(self, name: str, scorer: Scorer | None) -> None:
        others = {other: one for other, one in self.scorers.items() if other != name}
        self.scorers = others if scorer is None else {**others, name: scorer}
        self.metrics.clear("middlewatch_model_info")
        for other, one in self.scorers.items():
            self.metrics.put("middlewatch_model_info", 1, model=other, version=one.version)

    def environment(self) -> dict[str, object]:
        """What /environment says: what this process runs on, and by model what answers with which settings."""
        known = {name: self.roll.facts(name) for name in self.standings}
        answering = self.versions()
        models = {
            name: {"version": answering.get(name), "settings": one.pop("settings")} for name, one in known.items()
        }
        return {"server": self.roll.server, "models": models, "environment": next(iter(known.values()), {})}

    def readiness(self) -> dict[str, object]:
        """What /readyz says: ready where a model answers and its log can be written; else what stands in the way."""
        listed = {}
        answering = 0
        for name, standing in self.standings.items():
            scorer = self.scorers.get(name)
            facts: dict[str, object] = {"version": scorer.version if scorer else None}
            trouble = scorer.journalist.log.trouble() if scorer else ""
            answering += scorer is not None and not trouble
            if trouble:
                facts |= {
                    "problem": f"the log cannot be written: {trouble}",
                    "fix": "free disk space or mend its rights",
                }
            elif standing.wanted is None:
                facts["problem"] = f"no version of {name} is live"
                facts["fix"] = self._how_to_begin(name)
            elif standing.error is not None:
                facts |= {"wanted": standing.wanted, "problem": str(standing.error)}
                if standing.error.fix:
                    facts["fix"] = standing.error.fix
                if standing.incident is not None:
                    facts["incident"] = standing.incident
            else:
                facts["since"] = standing.since
            listed[name] = facts
        facts_of_store = {"url": self.project.store.url, "ok": not self.store_problem}
        if self.store_problem:
            facts_of_store["problem"] = self.store_problem
        return {
            "ready": answering > 0,
            "models": listed,
            "store": facts_of_store,
            "pid": os.getpid(),
            "at": iso(_clock()),
        }

    def _how_to_begin(self, name: str) -> str:
        option = f" --model {name}" if len(self.standings) > 1 else ""
        return f"middlewatch train{option}, then middlewatch promote v1{option}"

    def unanswered(self, name: str) -> MiddlewatchError:
        """Why a model of this project does not answer."""
        standing = self.standings[name]
        if standing.wanted is None:
            return OutOfReach(f"no version of {name} is live", fix=self._how_to_begin(name))
        why = standing.error.what if standing.error is not None else ""
        return OutOfReach(f"{standing.wanted} of {name} does not load", why=why, fix="see /readyz")

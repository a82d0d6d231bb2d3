"""The settings themselves: every one is declared here, once, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from .kinds import READERS, Setting

FILE = "middlewatch.toml"


def _setting(
    kind: str,
    default: Any,
    help: str,
    *,
    example: Any = None,
    unit: str = "",
    choices: tuple[str, ...] = (),
    least: float | None = None,
    most: float | None = None,
    later: bool = False,
) -> Any:
    known = Setting(
        kind=kind,
        help=f"{help} (nothing acts on it yet)" if later else help,
        default=default,
        example=default if example is None else example,
        unit=unit,
        choices=choices,
        least=least,
        most=most,
        later=later,
    )
    value = None if default is None else READERS[kind](default, known)
    return field(default=value, metadata={"setting": known})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """`[models.NAME.gate]`"""

    metric: str | None = _setting(
        "choice",
        None,
        "what decides; left out: auc, log_loss or rmse, by the task",
        example="auc",
        choices=("auc", "log_loss", "brier", "accuracy", "rmse", "mae", "r2"),
    )
    drop_at_most: float = _setting(
        "number", 0.002, "how much worse than the live version may pass; of rmse and mae a share of it", least=0
    )
    latency_us: float | None = _setting(
        "number", None, "the slowest score of one row that passes; left out: 1000, and no limit for your own code",
        example=1000, unit="µs", least=1,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """`[models.NAME.retrain]`"""

    schedule: str | None = _setting(
        "cron line", None, "when; left out: never by itself", example="0 4 * * 1", later=True
    )
    promote: str = _setting("choice", "ask", "whether what passed the gate waits for a person", choices=("ask", "auto"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """`[models.NAME]`. A model without `source` is served elsewhere and watched through `import`."""

    name: str
    source: str | None = _setting("text", None, "a file, folder or glob, or one in a bucket", example="data.parquet")
    target: str | None = _setting("text", None, "the column to predict", example="late")
    task: str | None = _setting(
        "choice",
        None,
        "left out: by the target's kind",
        example="binary",
        choices=("binary", "multiclass", "regression"),
    )
    time: str | None = _setting("text", None, "the column with the time of each row", example="time_hour")
    key: str | None = _setting("text", None, "the column with your own id of each row", example="flight_id")
    rules: str | None = _setting("text", None, "your own data tests, Python functions on rows", example="rules.py")
    train: str | None = _setting(
        "text", None, "your own code: features, train, score; every one optional", example="train.py"
    )
    files: tuple[str, ...] = _setting(
        "list of texts", [], "lookups and modules that it reads: copied and pinned with the version"
    )
    frame: str = _setting("choice", "polars", "what your own code gets tables as", choices=("polars", "pandas"))
    serializer: str = _setting(
        "choice", "skops", "how your own model is kept; pickle runs what is in the file", choices=("skops", "pickle")
    )
    threshold: float = _setting("number", 0.5, "binary: a score from here on is a yes", least=0, most=1)
    runbook: str | None = _setting(
        "web address", None, "what to do at 2am, linked in alerts", example="https://wiki.example.com/delay"
    )
    gate: Gate = field(default_factory=Gate, metadata={"group": Gate, "help": "what a new version must pass"})
    retrain: Retrain = field(default_factory=Retrain, metadata={"group": Retrain, "help": "when to train again"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """`[monitor]`"""

    alarms_per_month: float = _setting(
        "number", 2, "false alarms that you accept, over all models of the store", unit="per month", least=0.01
    )
    zone: str = _setting("time zone", "UTC", "where days begin, and the zone of times that name none")
    window: str = _setting(
        "choice",
        "day",
        "what is judged at once; week where there are under 100 rows a day, hour where there are over 30 an hour",
        choices=("hour", "day", "week"),
    )
    grace: timedelta = _setting("duration", "1h", "wait for late rows before judging")  # noqa: RUF009 immutable
    fast: bool = _setting("true or false", True, "tell within minutes what breaks at once; the day's judgement stays")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """`[alerts]`"""

    to: tuple[str, ...] = _setting(
        "list of addresses",
        ["env:MIDDLEWATCH_SLACK"],
        "where messages go; a variable that is not set is left out",
    )
    page_to: tuple[str, ...] = _setting("list of addresses", [], "where pages go as well: what may wake somebody")
    repeat: timedelta = _setting("duration", "4h", "an open page that nobody answers is sent again after this")  # noqa: RUF009 immutable
    digest: str = _setting(
        "time of day", "08:00", "when the daily summary goes out, in the zone of [monitor]; or never"
    )
    quiet: str = _setting("hours", "never", "hours in which all but pages waits, such as 22:00-07:00")
    heartbeat: str = _setting(
        "address",
        "env:MIDDLEWATCH_HEARTBEAT",
        "called after each run of the monitor, by whoever watches for silence",
    )
    secret: str = _setting(
        "secret", "env:MIDDLEWATCH_WEBHOOK_SECRET", "the variable that holds what webhooks are signed with"
    )
    url: str = _setting("web address", "", "where the pages can be reached, for links in messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """`[serve]`"""

    host: str = _setting("text", "127.0.0.1", "the address to listen on; keys are required on any but this machine's")
    port: int = _setting("whole number", 8000, "the port to listen on; 0: any free one", least=0, most=65535)
    workers: int = _setting("whole number", 1, "processes that answer, one per core is enough", least=1, most=256)
    durability: str = _setting(
        "choice",
        "process",
        "an answered prediction survives a kill of the process, or also a loss of power",
        choices=("process", "power"),
    )
    keys: str = _setting("secret", "env:MIDDLEWATCH_KEYS", "the variable that holds the API keys")
    access_log: str = _setting(
        "choice", "off", "a JSON line a request on stderr, without bodies", choices=("off", "json")
    )
    root_path: str = _setting(
        "path prefix", "", "where a proxy shows API and pages, such as /delay, whether or not it takes that off"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """`[store]`"""

    url: str = _setting("text", ".middlewatch", "a folder, or s3://bucket/prefix, gs://..., az://...; may be shared")
    keep_log_days: int = _setting("whole number", 90, "how long logged predictions are kept", unit="days", least=1)
    keep_data: int = _setting(
        "whole number",
        12,
        "newest snapshots whose rows are kept, beside those of versions live or just before",
        least=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of middlewatch.toml, read from `path`.

    `origins` maps a dotted name such as "monitor.zone" to where its value came from: "flag --zone",
    "env MIDDLEWATCH_MONITOR_ZONE", "middlewatch.toml:12" or "default".
    """

    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    monitor: Monitor = field(default_factory=Monitor)
    alerts: Alerts = field(default_factory=Alerts)
    serve: Serve = field(default_factory=Serve)
    store: StoreConfig = field(default_factory=StoreConfig)
    path: Path = Path(FILE)
    origins: Mapping[str, str] = field(default_factory=dict)

    def idle(self) -> list[str]:
        """Dotted names of settings that somebody set and that nothing acts on yet."""
        kinds = {"models": ModelConfig, "retrain": Retrain, "gate": Gate, **SECTIONS}
        found = []
        for dotted, origin in self.origins.items():
            parts = dotted.split(".")
            kind = kinds.get(parts[-2]) or ModelConfig
            if origin != "default" and settings_of(kind)[parts[-1]].later:
                found.append(dotted)
        return found


SECTIONS: Final[Mapping[str, type]] = {"monitor": Monitor, "alerts": Alerts, "serve": Serve, "store": StoreConfig}


def settings_of(kind: type) -> dict[str, Setting]:
    """The settings of a section's class, by name, in the order of the file."""
    return {one.name: one.metadata["setting"] for one in fields(kind) if "setting" in one.metadata}


def groups_of(kind: type) -> dict[str, Field[Any]]:
    """The tables inside a section's table, by name."""
    return {one.name: one for one in fields(kind) if "group" in one.metadata}

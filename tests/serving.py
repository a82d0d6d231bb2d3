"""Projects with trained models, and servers on them, for the tests of serving."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from middlewatch import model
from middlewatch.encoding import Encoding
from middlewatch.predictors import load
from middlewatch.project import Project
from middlewatch.schema import Column, Schema

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
SRC = str(Path(__file__).parents[1] / "src")
CLASSES = ("high", "low", "mid")


def schema_of(name: str, task: Any) -> Schema:
    return Schema(
        name=name,
        target="y",
        task=task,
        time="departs",
        key="flight",
        classes=CLASSES if task == "multiclass" else ("0", "1") if task == "binary" else (),
        columns=(
            Column(name="departs", kind="time", role="time"),
            Column(name="flight", kind="category", role="key"),
            Column(name="temp", kind="number", nulls=0.2, min=-30, max=40),
            Column(name="seats", kind="whole", min=0, max=500),
            Column(name="night", kind="boolean"),
            Column(name="carrier", kind="category", nulls=0.2, categories=("AA", "B6", "UA")),
            Column(name="y", kind="category" if task == "multiclass" else "number", role="target"),
        ),
    )


@cache
def table(seed: int = 0, rows: int = 600) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    temp = [
        None if hole else float(value)
        for value, hole in zip(rng.normal(10, 8, rows), rng.random(rows) < 0.1, strict=True)
    ]
    carrier = [
        None if hole else str(one)
        for one, hole in zip(rng.choice(["AA", "B6", "UA"], rows), rng.random(rows) < 0.1, strict=True)
    ]
    return pl.DataFrame(
        {"temp": temp, "seats": rng.integers(50, 400, rows), "night": rng.random(rows) < 0.4, "carrier": carrier}
    )


@cache
def trained(task: str, seed: int) -> tuple[bytes, Encoding]:
    import lightgbm

    frame = table()
    encoding = Encoding.of(schema_of("m", task), frame)
    matrix = encoding.encode(frame)
    rng = np.random.default_rng(seed)
    signal = np.nan_to_num(matrix[:, 0]) / 8 + matrix[:, 1] / 100 + matrix[:, 2] + rng.normal(size=len(matrix)) / 2
    y = {"binary": signal > 3, "regression": signal, "multiclass": np.digitize(signal, [2, 4])}[task]
    params = {
        "objective": task, "verbosity": -1, "seed": seed, "deterministic": True, "force_col_wise": True,
        "num_threads": 1, "min_data_in_leaf": 10, **({"num_class": 3} if task == "multiclass" else {}),
    }  # fmt: skip
    data = lightgbm.Dataset(matrix, label=np.asarray(y, dtype=float), categorical_feature=[3])
    return lightgbm.train(params, data, 15).model_to_string().encode(), encoding


def make_project(root: Path, models: dict[str, str], *, more: str = "") -> Project:
    """A project whose models (name -> task) have no version yet."""
    root.mkdir(parents=True, exist_ok=True)
    blocks = [
        f'[models.{name}]\nsource = "none.csv"\ntarget = "y"\ntask = "{task}"\ntime = "departs"\nkey = "flight"\n'
        for name, task in models.items()
    ]
    (root / "middlewatch.toml").write_text("\n".join(blocks) + more)
    for name, task in models.items():
        (root / f"{name}.schema.toml").write_text(schema_of(name, task).to_toml())
    return Project.open(root)


def publish(project: Project, name: str, *, seed: int = 0, schema: Schema | None = None, spoil: bool = False) -> str:
    """A new version of a model; `spoil` stores golden rows that it does not answer."""
    task = str(project.settings(name).task)
    text, encoding = trained(task, seed)
    outputs = 3 if task == "multiclass" else 1
    predictor = load("lightgbm", text, features=len(encoding.names), outputs=outputs)
    rows = [list(row) for row in table().head(5).rows()]
    scores = predictor.rows([encoding.encode_row(row) for row in rows])
    if spoil:
        scores = [0.5 for _ in rows]
    return model.publish(
        project.store,
        name,
        files={
            "model.txt": text,
            "schema.toml": (schema or schema_of(name, task)).to_toml().encode(),
            "encoding.json": json.dumps(encoding.to_dict()).encode(),
            "golden.json": json.dumps({"rows": rows, "scores": scores}).encode(),
        },
        manifest={
            "task": task, "kind": "lightgbm", "data": "d1", "threshold": 0.5,
            "classes": list(CLASSES) if task == "multiclass" else [],
        },
        now=NOW,
        actor="test",
    )  # fmt: skip


def promote(project: Project, name: str, version: str) -> None:
    journal = project.journal(name)
    journal.append(action="promote", version=version, actor="test", host="test", at=NOW, expect=journal.state().n)


def expected(task: str, seed: int, rows: list[dict[str, Any]]) -> list[Any]:
    """The package's own answers."""
    text, encoding = trained(task, seed)
    predictor = load("lightgbm", text, features=4, outputs=3 if task == "multiclass" else 1)
    return list(predictor.rows([encoding.encode_row(row) for row in rows]))


def bodies(count: int) -> list[dict[str, Any]]:
    return table(seed=7, rows=count).to_dicts()


class Client:
    """One kept connection."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON (or {"text": ...}), headers."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        self._connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        response = self._connection.getresponse()
        raw = response.read()
        named = {name.lower(): value for name, value in response.getheaders()}
        if named.get("content-type") == "application/json" and raw:
            return response.status, json.loads(raw), named
        return response.status, {"text": raw.decode()}, named

    def predict(self, body: Any, path: str = "/predict", **headers: str) -> dict[str, Any]:
        status, facts, _ = self.ask("POST", path, body, **headers)
        if status != 200:
            raise RuntimeError(f"{status}: {facts}")
        return facts

    def close(self) -> None:
        self._connection.close()


class Server:
    """A server process; `url` once it is ready."""

    def __init__(self, root: Path, *, env: dict[str, str] | None = None, before: str = "", **options: Any) -> None:
        arguments = {"host": "127.0.0.1", "port": 0, **options}
        code = f"""
import json
{before}
from middlewatch.project import Project
from middlewatch.serve.run import serve
def announce(facts): print(json.dumps(facts), flush=True)
serve(Project.open({str(root)!r}), announce=announce, **{arguments!r})
"""
        with (root / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": SRC, **(env or {})},
            )
        self._log = root / "serve.log"
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            self.process.wait()
            raise RuntimeError(self.log())
        self.facts = json.loads(line)
        self.url: str = self.facts["url"]

    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(timeout=30)
        if self.process.stdout:
            self.process.stdout.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@contextmanager
def serving(root: Path, **options: Any) -> Iterator[tuple[Server, Client]]:
    """A server for the length of a test; killed at the end unless the test has stopped it, which takes longer."""
    server = Server(root, **options)
    client = Client(server.url)
    try:
        yield server, client
    finally:
        client.close()
        if server.process.poll() is None:
            server.kill()


def wait_until(true: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)

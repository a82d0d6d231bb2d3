"""What one answered request costs: CPU of the serving process, latency, memory, and CPU to the first answer.

    python bench/serve.py [--requests 6000] [--runs 3] [--peers DIR]

Over loopback and one kept connection, a JSON object of 12 named values; LightGBM, binary, 200 trees of 31 leaves.
Every answer's status and score are checked: an error is a fast answer, too. Contenders take turns in one run, so that
a busy machine is as busy for all of them; trust CPU and ratios before milliseconds.

    middlewatch      validation, prediction, the log record written before the answer
    the same, power  with durability = "power": the record is forced to disk before the answer
    raw ASGI hello   uvicorn, uvloop, httptools, a constant answer: the floor of this stack
    FastAPI          pydantic and the same predictor, no log

`--peers DIR` adds servers that live in environments of their own, DIR/NAME/bin/python (see `servers`): mlflow, bentoml,
mlserver, vetiver, and fastapi. They keep nothing of what they are asked. A slow one is asked fewer times.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import servers
from middlewatch import model
from middlewatch.encoding import Encoding
from middlewatch.predictors import load
from middlewatch.project import Project
from middlewatch.schema import Column, Kind, Schema

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
NUMBERS = ("temp", "humid", "wind_speed", "precip", "visib", "distance")
WHOLES = ("sched_hour", "plane_year", "seats")
CATEGORIES = ("carrier", "origin", "dest")

OURS = """
import json, sys
from middlewatch.project import Project
from middlewatch.serve.run import serve
serve(Project.open(sys.argv[1]), host="127.0.0.1", port=0, announce=lambda facts: print(facts["url"], flush=True))
"""

UVICORN = """
import socket, sys, uvicorn
class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
def run(app):
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_config=None, lifespan="off")
    Server(config).run(sockets=[listening])
"""

HELLO = (
    UVICORN
    + """
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json"), (b"content-length", b"12")]})
    await send({"type": "http.response.body", "body": b'{"score": 1}'})
run(app)
"""
)

FASTAPI = (
    UVICORN
    + """
from pathlib import Path
from fastapi import FastAPI
from pydantic import create_model
from middlewatch import model
from middlewatch.project import Project
project = Project.open(sys.argv[1])
version = model.load(project.store, "delay", "v1")
predictor = model.predictor(project.store, version)
kinds = {"number": float | None, "whole": int | None, "category": str | None}
Body = create_model("Body", **{one.name: (kinds[one.kind], ...) for one in version.encoding.columns})
app = FastAPI()
@app.post("/predict")
async def predict(body: Body):
    score = predictor.row(version.encoding.encode_row(body.model_dump()))
    return {"score": score, "model": "delay", "version": "v1"}
run(app)
"""
)


def schema() -> Schema:
    kinds: dict[str, Kind] = {
        **dict.fromkeys(NUMBERS, "number"),
        **dict.fromkeys(WHOLES, "whole"),
        **dict.fromkeys(CATEGORIES, "category"),
    }
    columns = [Column(name=name, kind=kind, nulls=0.5) for name, kind in kinds.items()]
    target = Column(name="late", kind="whole", role="target")
    return Schema(name="delay", target="late", task="binary", columns=(*columns, target), classes=("0", "1"))


def rows(count: int, seed: int) -> pl.DataFrame:
    """Rows of 12 inputs, a tenth of the numbers missing."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: np.round(rng.normal(20, 9, count), 2) for name in NUMBERS}
    columns |= {name: rng.integers(0, 300, count) for name in WHOLES}
    columns |= {name: rng.choice([f"{name[:2].upper()}{code}" for code in range(20)], count) for name in CATEGORIES}
    frame = pl.DataFrame(columns)
    return frame.with_columns(
        pl.when(pl.Series(rng.random(count) > 0.1)).then(pl.col(name)).alias(name) for name in NUMBERS
    )


def prepare(folder: Path, *, durability: str) -> Project:
    """A project with one live version: 200 trees of 31 leaves."""
    import lightgbm

    folder.mkdir()
    (folder / "middlewatch.toml").write_text(
        '[models.delay]\nsource = "none.parquet"\ntarget = "late"\ntask = "binary"\n'
        f'\n[serve]\ndurability = "{durability}"\n'
    )
    (folder / "delay.schema.toml").write_text(schema().to_toml())
    project = Project.open(folder)
    frame = rows(8_000, seed=0)
    encoding = Encoding.of(schema(), frame)
    matrix = encoding.encode(frame)
    target = np.nan_to_num(matrix[:, 0]) + matrix[:, 6] / 30 + np.random.default_rng(1).normal(0, 5, len(matrix)) > 25
    options = {"objective": "binary", "verbosity": -1, "num_leaves": 31, "num_threads": 1, "seed": 0}
    data = lightgbm.Dataset(matrix, label=target.astype(float), categorical_feature=list(encoding.categorical))
    text = lightgbm.train(options, data, 200).model_to_string().encode()
    predictor = load("lightgbm", text, features=12, outputs=1)
    golden = [list(row) for row in frame.head(5).rows()]
    version = model.publish(
        project.store,
        "delay",
        files={
            "model.txt": text,
            "schema.toml": schema().to_toml().encode(),
            "encoding.json": json.dumps(encoding.to_dict()).encode(),
            "golden.json": json.dumps(
                {"rows": golden, "scores": predictor.rows([encoding.encode_row(row) for row in golden])}
            ).encode(),
        },
        manifest={"task": "binary", "kind": "lightgbm", "data": "d1", "threshold": 0.5, "classes": []},
        now=NOW,
        actor="bench",
    )
    project.journal("delay").append(action="promote", version=version, actor="bench", host="bench", at=NOW, expect=0)
    return project


@dataclass
class Contender:
    """One server and what was measured on it: CPU us a request by run, latencies in us of all runs."""

    name: str
    code: str
    folder: Path
    python: str = sys.executable
    score: Callable[[Any], float] | None = lambda facts: facts["score"]
    requests: Sequence[bytes] = ()
    places: Sequence[int] = ()  # of the rows that the requests hold; all of them where empty
    count: float = 1.0  # share of the requests
    wanted: int = 0  # the port of a server that cannot say which it took
    process: subprocess.Popen[str] | None = None
    port: int = 0
    start_seconds: float = 0.0
    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start it, and wait until it has answered its first request rightly."""
        arguments = [self.python, "-c", self.code, str(self.folder), *([str(self.wanted)] if self.wanted else [])]
        out = None if self.wanted else subprocess.PIPE
        quiet = (self.folder / "peer.log").open("ab") if self.wanted else None
        self.process = subprocess.Popen(
            arguments,
            stdout=quiet or out,
            stderr=quiet,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if quiet:
            quiet.close()
        if self.process.stdout:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit(f"{self.name} did not start")
            self.port = int(line.strip().rpartition(":")[2])
        else:
            self.port = self.wanted
        deadline = time.monotonic() + 120
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"{self.name} did not answer: see {self.folder / 'peer.log'}")
            time.sleep(0.2)
        self.start_seconds = self.cpu_seconds()

    def _answers(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port))) as connection:
                return ask(connection, self.requests[0])[0] == 200
        except (OSError, Closed):
            return False

    def processes(self) -> list[int]:
        """The process that answers; of a peer, which may answer from another, all that it has started."""
        if self.process is None:
            return []
        if not self.wanted:
            return [self.process.pid]
        found, parents = [self.process.pid], {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu_seconds(self) -> float:
        """CPU of its processes so far; not by /proc/PID/stat, whose clock ticks at 10 ms."""
        total = 0
        for pid in self.processes():
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    total += int(task.read_text().split()[0])
        return total / 1e9

    def memory(self) -> float:
        """Resident memory of its processes in MB."""
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in self.processes()]
        return sum(int(text.split("VmRSS:")[1].split()[0]) for text in texts) / 1024

    def stop(self) -> None:
        if self.process is not None:
            for pid in reversed(self.processes()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            self.process.wait(timeout=40)
            if self.process.stdout:
                self.process.stdout.close()


class Closed(Exception):
    """The server closed the connection."""


def ask(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    """Send one request, wait for its whole answer."""
    connection.sendall(request)
    data = b""
    while True:
        part = connection.recv(65536)
        if not part:
            raise Closed
        data += part
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            head = head.lower()
            if b"content-length:" in head:
                if len(body) >= int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]):
                    return int(head[9:12]), body
            elif body.endswith(b"0\r\n\r\n"):  # in chunks
                parts = body.split(b"\r\n")
                return int(head[9:12]), b"".join(parts[1::2])


def measure(one: Contender, scores: Sequence[float], count: int) -> None:
    """One run: `count` requests over one connection, each answer checked."""
    count = max(50, int(count * one.count))
    with closing(socket.create_connection(("127.0.0.1", one.port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count // 10):
            ask(connection, one.requests[number % len(one.requests)])
        before = one.cpu_seconds()
        for number in range(count):
            turn = number % len(one.requests)
            place = one.places[turn] if one.places else turn
            started = time.perf_counter_ns()
            status, body = ask(connection, one.requests[turn])
            one.latencies.append((time.perf_counter_ns() - started) / 1000)
            if status != 200 or (one.score is not None and one.score(json.loads(body)) != scores[place]):
                raise SystemExit(f"{one.name} answered {status}: {body[:300]!r}, not {scores[place]!r}")
        one.cpu.append((one.cpu_seconds() - before) / count * 1e6)


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=6_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="a folder of environments: NAME/bin/python")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        project = prepare(Path(folder) / "process", durability="process")
        prepare(Path(folder) / "power", durability="power")
        version = model.load(project.store, "delay", "v1")
        predictor = model.predictor(project.store, version)
        asked = rows(500, seed=9).to_dicts()
        matrix = version.encoding.encode(pl.DataFrame(asked, schema=_types()))
        scores = [float(one) for one in predictor.batch(matrix)]
        requests = [servers.request("/predict", row) for row in asked]
        contenders = [
            Contender("middlewatch", OURS, project.root, requests=requests),
            Contender("the same, power", OURS, Path(folder) / "power", requests=requests),
            Contender("raw ASGI hello", HELLO, project.root, requests=requests, score=None),
        ]
        contenders += peers(options.peers, Path(folder), project, matrix, requests, say) if options.peers else []
        run(contenders, scores, options.requests, options.runs)
        report(contenders, say, size=len(json.dumps(asked[0])))


def peers(
    environments: Path, folder: Path, project: Project, matrix: Any, requests: Sequence[bytes], say: Callable[..., None]
) -> list[Contender]:
    """The other servers that are installed, with the same trees."""
    found = []
    version = model.load(project.store, "delay", "v1")
    for place, (name, peer) in enumerate(servers.PEERS.items()):
        python = environments / name / "bin" / "python"
        if not python.exists():
            say(f"{name} is not installed: left out")
            continue
        own = folder / name
        own.mkdir()
        (own / "model.txt").write_bytes(model.shelf(project.store, "delay").file("v1", "model.txt"))
        names = list(version.encoding.names)
        (own / "names.json").write_text(json.dumps(names))
        # vetiver's check of a body takes no missing numbers.
        places = [at for at, row in enumerate(matrix) if name != "vetiver" or not np.isnan(row).any()]
        bodies = [peer.body(servers.encoded(names, matrix[at].tolist())) for at in places]
        given = [servers.request(peer.path, body) for body in bodies]
        found.append(
            Contender(
                name, peer.script, own, python=str(python), score=peer.score, requests=given, places=places,
                count=0.05, wanted=18_700 + 10 * place,
            )
        )  # fmt: skip
    python = environments / "fastapi" / "bin" / "python"
    if python.exists():
        found.append(Contender("FastAPI", FASTAPI, project.root, python=str(python), requests=requests))
    else:
        say("FastAPI is not installed: left out")
    return found


def run(contenders: Sequence[Contender], scores: Sequence[float], count: int, runs: int) -> None:
    try:
        for one in contenders:
            one.start()
        for _ in range(runs):
            for one in contenders:
                measure(one, scores, count)
        for one in contenders:
            one.latencies.sort()
    finally:
        memory = {one.name: one.memory() for one in contenders if one.process and one.process.poll() is None}
        for one in contenders:
            one.stop()
        MEMORY.update(memory)


MEMORY: dict[str, float] = {}


def report(contenders: Sequence[Contender], say: Callable[[str], None], *, size: int) -> None:
    floor = statistics.median(next(one for one in contenders if one.name == "raw ASGI hello").cpu)
    say(f"a body of {size} bytes; every answer was 200 with the score of the batch, to the bit")
    say(f"{'':18}{'CPU us/request':>16}{'x hello':>9}{'p50 us':>9}{'p99 us':>9}{'start CPU s':>13}{'MB':>7}")
    for one in contenders:
        cpu = statistics.median(one.cpu)
        p50, p99 = (one.latencies[int(len(one.latencies) * share)] for share in (0.5, 0.99))
        say(
            f"{one.name:18}{cpu:16.1f}{cpu / floor:9.2f}{p50:9.0f}{p99:9.0f}"
            f"{one.start_seconds:13.2f}{MEMORY.get(one.name, 0):7.1f}"
        )


def _types() -> dict[str, Any]:
    return {
        **dict.fromkeys(NUMBERS, pl.Float64),
        **dict.fromkeys(WHOLES, pl.Int64),
        **dict.fromkeys(CATEGORIES, pl.String),
    }


if __name__ == "__main__":
    main()

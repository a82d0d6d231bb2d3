"""What may happen to a server at night, shortened; the long runs and their counts are in docs/benchmarks.md.

FAULTS=full python -m pytest tests/test_faults.py -s      the long runs
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from middlewatch import predictions
from middlewatch.project import Project
from serving import Client, Server, bodies, expected, make_project, promote, publish, serving, wait_until

FULL = os.environ.get("FAULTS") == "full"
ROWS = bodies(30)
PIECES = [b"null", b"NaN", b"1.5", b"1e999", b'"', b"{", b"}", b"[", b",", b":", b"\xff", b"\x00", b"true", b"-",
          b'"\\ud800"', b"9" * 30, b'"temp"', b'"seats":', b"\\", b"[" * 600]  # fmt: skip
HEADERS = [
    b"content-length: -1",
    b"content-length: 5",
    b"content-length: 99999999999999999999",
    b"transfer-encoding: chunked",
    b"transfer-encoding: gzip",
    b"expect: 100-continue",
    b"connection: close",
    b"connection: upgrade",
    b"upgrade: websocket",
    b"host:",
    b": nothing",
    b"x y: z",
    b"x-api-key: \xff\xfe",
    b"authorization: Basic !!",
    b"authorization: Bearer " + b"x" * 500,
    b"content-type: text/csv",
    b"content-type: \x01",
    b"content-encoding: gzip",
    b"x-middlewatch-caller: " + b"\xc3\x28" * 40,
    b"user-agent: \t",
    b"x" * 300,
    b"cookie: " + b"c" * 3000,
]
PATHS = [b"/predict", b"/models/delay/predict", b"/invocations", b"/v2/models/delay/infer", b"/labels", b"/events",
         b"/predict?x=%00", b"/%2e%2e/predict", b"//predict", b"*", b"/models/%ff/predict", b"/metrics", b"/docs",
         b"http://elsewhere/predict", b"/v2/models/delay/versions/v1/infer"]  # fmt: skip


def ready(root: Path) -> Project:
    project = make_project(root, {"delay": "binary"})
    promote(project, "delay", publish(project, "delay"))
    return project


def spoilt(rng: random.Random) -> bytes:
    """A request that was good, with some of its bytes, headers, path or method changed."""
    body = bytearray(json.dumps(rng.choice(ROWS)).encode())
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(3):
            case 0:
                del body[at : at + rng.randint(1, 12)]
            case 1:
                body[at:at] = rng.choice(PIECES)
            case _:
                body[at : at + 1] = bytes([rng.randrange(256)])
    method = rng.choice([b"POST"] * 8 + [b"GET", b"PUT", b"HEAD", b"OPTIONS", b"BREW"])
    path = rng.choice([b"/predict"] * 5 + PATHS)
    version = rng.choice([b"HTTP/1.1"] * 20 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"x"])
    lines = [b"%b %b %b" % (method, path, version), b"host: x"]
    if rng.random() < 0.9:
        lines.append(b"content-length: %d" % len(body))
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        lines.insert(rng.randrange(1, len(lines) + 1), rng.choice(HEADERS))
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(body)


def connected(url: str) -> socket.socket:
    address = urlsplit(url)
    made = socket.create_connection((address.hostname or "", address.port or 0))
    made.settimeout(0.3)
    return made


def statuses(connection: socket.socket) -> list[int]:
    """Codes of what came back until nothing more did."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
            if b"\r\n\r\n" in data and not data.endswith(b"100 Continue\r\n\r\n"):
                head, _, rest = data.partition(b"\r\n\r\n")
                sized = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                if sized and len(rest) >= int(sized):
                    break
    except (TimeoutError, ConnectionError):
        pass
    return [int(one[:3]) for one in data.split(b"HTTP/1.1 ")[1:] if one[:3].isdigit()]


def test_fuzzed_requests_never_break_the_server(tmp_path: Path) -> None:
    """Bodies, headers, paths and methods at random: no 5xx but a 503 that was meant, no crash, nothing logged that was
    not answered with a 200."""
    project = ready(tmp_path)
    rng = random.Random(int(os.environ.get("FAULTS_SEED", "7")))
    count = 100_000 if FULL else 1_500
    seen: dict[int, int] = {}
    with serving(tmp_path) as (server, client):
        pid = server.process.pid
        for _ in range(count):
            with connected(server.url) as connection:
                connection.sendall(spoilt(rng))
                connection.shutdown(socket.SHUT_WR)
                for status in statuses(connection):
                    seen[status] = seen.get(status, 0) + 1
        assert client.predict(ROWS[0])["version"] == "v1"
        assert (server.process.poll(), server.process.pid) == (None, pid)
        assert [status for status in seen if status >= 500] == [], seen
        text = client.ask("GET", "/metrics")[1]["text"]
        counted = sum(
            float(line.split()[-1]) for line in text.splitlines() if line.startswith("middlewatch_predictions_total")
        )
        assert "Traceback" not in server.log()
    logged = predictions.read(project.store, project.spool("delay"), "delay")
    assert logged.height == counted
    assert logged["seats"].null_count() == 0
    print(f"{count} requests: {dict(sorted(seen.items()))}; {logged.height} logged")


def test_the_store_goes_away_and_comes_back_while_serving(tmp_path: Path) -> None:
    project = ready(tmp_path)
    with serving(tmp_path) as (server, client):
        first = client.predict(ROWS[0])
        shutil.move(tmp_path / ".middlewatch", tmp_path / "away")
        wait_until(lambda: client.ask("GET", "/readyz")[1]["store"]["ok"] is False, 10)
        time.sleep(0.6)  # the open segment moved away with its folder; within half a second that is noticed
        status, facts, _ = client.ask("POST", "/predict", ROWS[1])
        assert (status, facts.get("version")) == (200, "v1"), "a model in memory answers without its store"
        assert client.ask("GET", "/readyz")[0] == 200
        shutil.copytree(tmp_path / "away", tmp_path / ".middlewatch", dirs_exist_ok=True)
        wait_until(lambda: client.ask("GET", "/readyz")[1]["store"]["ok"] is True, 10)
        last = client.predict(ROWS[2])
        assert server.stop() == 0
    logged = predictions.read(project.store, project.spool("delay"), "delay")
    assert {first["id"], facts["id"], last["id"]} <= set(logged["mw.id"])


def test_clients_that_leave_cost_nothing(tmp_path: Path) -> None:
    """Gone before the answer, in the middle of a body, with an answer never read."""
    ready(tmp_path)
    body = json.dumps(ROWS[0]).encode()
    whole = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with serving(tmp_path) as (server, client):
        for number in range(5_000 if FULL else 300):
            with connected(server.url) as connection:
                connection.sendall(whole[: 20 + number % len(whole)] if number % 3 else whole * 5)
                if number % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        assert client.predict(ROWS[0])["version"] == "v1"
        wait_until(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) < 60)
        assert "Traceback" not in server.log()


def test_four_workers_follow_releases_and_mix_nothing(tmp_path: Path) -> None:
    """Promote and roll back under load: every answer whole and of one version, all workers within seconds."""
    project = ready(tmp_path)
    publish(project, "delay", seed=1)
    right = {"v1": expected("binary", 0, ROWS), "v2": expected("binary", 1, ROWS)}
    wanted_answers = 10_000 if FULL else 600
    faults: list[Any] = []
    answered = [0, 0]
    stop = threading.Event()

    def load(number: int) -> None:
        mine, at = Client(server.url), 0
        while not stop.is_set():
            at = (at + 1) % len(ROWS)
            status, facts, _ = mine.ask("POST", "/predict", ROWS[at])
            if status != 200 or facts["score"] != right[facts["version"]][at]:
                faults.append((status, facts))
            answered[number] += 1
            if at % 10 == 0:  # another worker's turn
                mine.close()
                mine = Client(server.url)
        mine.close()

    slowest = 0.0
    with serving(tmp_path, workers=4 if FULL else 2) as (server, _):
        threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
        for one in threads:
            one.start()
        try:
            turn = 0
            while sum(answered) < wanted_answers or turn < 4:
                turn += 1
                version = "v2" if turn % 2 else "v1"
                promote(project, "delay", version)
                asked = time.monotonic()
                wait_until(lambda version=version: _all_answer(server, version), 20)
                slowest = max(slowest, time.monotonic() - asked)
        finally:
            stop.set()
            for one in threads:
                one.join()
    assert faults == []
    print(f"{sum(answered)} answers, {turn} releases, none mixed; seen by all within {slowest:.2f} s")


def _all_answer(server: Server, version: str) -> bool:
    """True where a dozen new connections, which the workers share, all meet the version."""
    for _ in range(12):
        client = Client(server.url)
        try:
            if client.predict(ROWS[0])["version"] != version:
                return False
        finally:
            client.close()
    return True

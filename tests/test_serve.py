from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from middlewatch import notes, predictions
from middlewatch.errors import ConfigError, UsageError
from middlewatch.project import Project
from middlewatch.schema import Column, Schema
from middlewatch.serve import run
from middlewatch.serve.keys import Keys, is_loopback, presented
from middlewatch.serve.metrics import Metrics
from serving import (
    SRC,
    Server,
    bodies,
    expected,
    make_project,
    promote,
    publish,
    schema_of,
    serving,
    wait_until,
)


def ready(root: Path, models: dict[str, str], **kinds: Any) -> Project:
    project = make_project(root, models, **kinds)
    for name in models:
        promote(project, name, publish(project, name))
    return project


def logged(project: Project, name: str = "delay", **kinds: Any) -> Any:
    return predictions.read(project.store, project.spool(name), name, **kinds)


def test_every_task_answers_as_the_model_does_and_is_logged(tmp_path: Path) -> None:
    """Three models in one project: single and listed requests, scores to the bit in answer and log."""
    tasks = {"yes": "binary", "much": "regression", "which": "multiclass"}
    project = ready(tmp_path, tasks)
    rows = bodies(40)
    with serving(tmp_path) as (server, client):
        assert server.facts["models"] == dict.fromkeys(tasks, "v1")
        for name, task in tasks.items():
            path = f"/models/{name}/predict"
            answers = [client.predict(row, path) for row in rows[:20]]
            answers += client.predict(rows[20:], path)["predictions"]
            wanted = expected(task, 0, rows)
            assert {answer["version"] for answer in answers} == {"v1"}
            assert {answer["model"] for answer in answers} == {name}
            assert len({answer["id"] for answer in answers}) == 40
            if task == "multiclass":
                assert [list(answer["probabilities"].values()) for answer in answers] == wanted
                assert all(answer["probabilities"][answer["label"]] == answer["score"] for answer in answers)
                assert all(answer["score"] == max(one) for answer, one in zip(answers, wanted, strict=True))
            else:
                assert [answer["score"] for answer in answers] == wanted
            frame = logged(project, name)
            assert frame["mw.id"].to_list() == [answer["id"] for answer in answers]
            assert frame["mw.score"].to_list() == [answer["score"] for answer in answers]
            assert frame["temp"].to_list() == [row["temp"] for row in rows]
            assert json.loads(frame["mw.raw"][0]) == rows[0]
        status, facts, _ = client.ask("POST", "/predict", rows[0])
        assert status == 404
        assert "/models/yes/predict" in facts["fix"]
        assert client.ask("POST", "/models/yess/predict", rows[0])[1]["fix"] == 'did you mean "yes"?'
        assert client.predict([], "/models/yes/predict") == {"predictions": []}
        assert server.stop() == 0
    for name in tasks:
        assert logged(project, name).height == 40
        assert not list(project.spool(name).glob("log@*")), "the server's end leaves the log in the store"


def test_times_keys_and_callers_are_logged(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"}, more='\n[monitor]\nzone = "America/New_York"\n')
    row = bodies(1)[0]
    with serving(tmp_path) as (_, client):
        client.predict(
            {**row, "departs": "2013-07-01T10:00:00", "flight": "UA1"}, x_middlewatch_caller="billing-api/4.2"
        )
        client.predict({**row, "departs": "2013-07-01T10:00:00Z"}, user_agent="curl/8.1 (linux; more)")
        client.predict(row, x_middlewatch_caller="\xfc" * 200)
        frame = logged(project, by="received")
    assert [str(one) for one in frame["mw.time"][:2]] == ["2013-07-01 14:00:00+00:00", "2013-07-01 10:00:00+00:00"]
    assert frame["mw.time"][2] == frame["mw.received"][2]
    assert frame["mw.key"].to_list() == ["UA1", None, None]
    assert frame["mw.caller"].to_list() == ["billing-api/4.2", "curl/8.1", "\ufffd" * 64]
    assert frame["flight"].to_list() == ["UA1", None, None]


def test_faulty_requests_are_answered_in_words_and_kept_as_evidence(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    row = bodies(1)[0]
    with serving(tmp_path) as (_, client):
        status, facts, headers = client.ask(
            "POST", "/predict", {**row, "seats": "12", "departs": "2013-07-01T10:00:00Z"}
        )
        assert (status, facts["field"], facts["came"]) == (422, "seats", "a string that holds a number")
        assert facts["id"] == headers["x-request-id"]
        status, facts, _ = client.ask("POST", "/predict", [row, {**row, "night": None}, row])
        assert (status, facts["index"], facts["field"]) == (422, "1", "night")
        assert client.ask("POST", "/predict", b"{broken")[0] == 400
        assert client.ask("POST", "/predict", b"[{broken")[0] == 400
        assert client.ask("POST", "/predict", b"")[0] == 400
        assert client.ask("POST", "/predict", json.dumps({**row, "temp": float("nan")}).encode())[0] == 400
        assert client.ask("POST", "/predict", {**row, "sets": 1})[1]["error"].endswith('did you mean "seats"?')
        assert "GET /docs" in client.ask("POST", "/predict", b"hello")[1]["fix"]
        status, facts, headers = client.ask("GET", "/predict")
        assert (status, headers["allow"]) == (405, "POST")
        assert facts["fix"] == "curl URL/predict -d '{...}': GET /docs shows one to copy"
        assert client.ask("POST", "/models/delay", row)[1]["fix"] == 'did you mean "/models/delay/predict"?'
        status, facts, _ = client.ask("GET", "/prdict")
        assert (status, facts["fix"]) == (404, 'did you mean "/predict"?')
        assert client.ask("POST", "/predict", row, content_encoding="gzip")[0] == 415
        assert client.ask("POST", "/predict", row, content_type="text/plain")[0] == 200
        assert client.ask("POST", "/predict", row, x_big="x" * 40_000)[0] == 431
        assert client.predict(row)["version"] == "v1", "the connection goes on"
        refused = predictions.read_refused(project.store, project.spool("delay"), "delay")
        assert refused["field"].to_list()[:2] == ["seats", "night"]
        assert str(refused["mw.time"][0]) == "2013-07-01 10:00:00+00:00"
        assert json.loads(refused["mw.raw"][1])["night"] is None
        assert logged(project).height == 2
        for _ in range(100):
            client.ask("POST", "/predict", {**row, "seats": "12"})
        text = client.ask("GET", "/metrics")[1]["text"]
        assert re.search(r'middlewatch_refused_total\{model="delay"\} 108\b', text)
        kept = predictions.read_refused(project.store, project.spool("delay"), "delay")
        assert kept.height == 108, "each is noted"
        whole = sum(raw != b"" for raw in kept["mw.raw"])
        times = kept["mw.received"].to_list()
        seconds = (times[-1] - times[0]).total_seconds()
        assert refused.height < whole <= 20 * (seconds + 2), "a bounded number with its body"


def test_large_bodies(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    rows = bodies(2)
    with serving(tmp_path) as (server, client):
        before = _memory(server)
        for _ in range(3):
            status, facts, _ = client.ask("POST", "/predict", b"[" + b" " * (20 << 20) + b"]")
            assert status == 413
            assert "score TABLE" in facts["fix"]
        assert client.predict(rows[0])["version"] == "v1", "the same connection goes on"
        assert _memory(server) - before < 8 << 20
        address = server.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1]))) as raw:
            raw.settimeout(10)
            raw.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            with pytest.raises(ConnectionError):  # noqa: PT012 - the server closes at some point
                for _ in range(5000):
                    raw.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        with socket.create_connection((address[0], int(address[1]))) as raw:
            raw.settimeout(10)
            body = json.dumps(rows[1]).encode()
            for part in (
                b"POST /predict HTTP/1.1\r\nho",
                b"st: x\r\ncontent-length: %d\r\n\r\n" % len(body),
                body[:9],
                body[9:],
            ):
                raw.sendall(part)
                time.sleep(0.02)
            assert b"200 OK" in raw.recv(4096)
        many = client.predict(rows * 2000)["predictions"]
        assert len(many) == 4000
        assert [one["score"] for one in many[:2]] == expected("binary", 0, rows)
    assert logged(project).height == 4002


def _memory(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


def test_slow_clients_are_given_up(tmp_path: Path) -> None:
    ready(tmp_path, {"delay": "binary"})
    quick = "from middlewatch.serve import protocol; protocol.REQUEST_SECONDS = 0.5"
    with serving(tmp_path, before=quick) as (server, client):
        address = server.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1]))) as raw:
            raw.settimeout(10)
            raw.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            time.sleep(0.3)
            raw.sendall(b" ")
            answer = b"".join(iter(lambda: raw.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.1 408")
        with socket.create_connection((address[0], int(address[1]))) as raw:
            raw.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        for begun, answered in ((b"", b""), (b"POST /predict HT", b"HTTP/1.1 408"),
                                (b"PUT /predict HTTP/1.1\r\ncontent-length: 9\r\n\r\n", b"HTTP/1.1 405"),
                                (b"POST /labels HTTP/1.1\r\ncontent-length: 9\r\n\r\n{", b"HTTP/1.1 408")):  # fmt: skip
            with socket.create_connection((address[0], int(address[1]))) as raw:
                raw.settimeout(10)
                raw.sendall(begun)
                answer = _until_closed(raw)
                assert answer.startswith(answered)
                assert answer.count(b"HTTP/1.1") == bool(answered)
        assert client.predict(bodies(1)[0])["version"] == "v1"
        text = client.ask("GET", "/metrics")[1]["text"]
        assert 'version="",code="408"} 3' in text
        assert "Traceback" not in server.log()


def _until_closed(raw: socket.socket) -> bytes:
    return b"".join(iter(lambda: raw.recv(4096), b""))


def test_fuzzed_bodies_never_break_the_server(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    rng = random.Random(3)
    good = [json.dumps(row).encode() for row in bodies(20)]
    pieces = [b"null", b"NaN", b"1.5", b"1e999", b'"', b"{", b"}", b"[", b",", b":", b"\xff", b"\x00", b"true", b"-",
              b'"\\ud800"', b"9" * 30, b'"temp"', b'"seats":', b"\\"]  # fmt: skip
    accepted = 0
    with serving(tmp_path) as (_, client):
        for _ in range(3000):
            body = bytearray(rng.choice(good))
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(body) + 1)
                match rng.randrange(3):
                    case 0:
                        del body[at : at + rng.randint(1, 12)]
                    case 1:
                        body[at:at] = rng.choice(pieces)
                    case _:
                        body[at : at + 1] = bytes([rng.randrange(256)])
            status, facts, _ = client.ask("POST", "/predict", bytes(body))
            assert status in (200, 400, 422), (status, bytes(body), facts)
            accepted += status == 200
            if status != 200:
                assert facts["error"]
                assert facts["fix"]
        assert accepted < 1500
        text = client.ask("GET", "/metrics")[1]["text"]
        assert f'middlewatch_predictions_total{{model="delay",version="v1"}} {accepted}\n' in text
        frame = logged(project)
        assert frame.height == accepted
        assert frame["seats"].null_count() == 0


def test_a_release_is_followed_within_a_second_and_no_answer_is_mixed(tmp_path: Path) -> None:
    """Two versions swap under load from two clients: every answer is whole and of one version."""
    project = ready(tmp_path, {"delay": "binary"})
    second = publish(project, "delay", seed=1)
    rows = bodies(30)
    right = {"v1": expected("binary", 0, rows), "v2": expected("binary", 1, rows)}
    assert all(one != two for one, two in zip(right["v1"], right["v2"], strict=True))
    seen: list[list[str]] = [[], []]
    faults: list[Any] = []
    stop = threading.Event()

    def load(number: int) -> None:
        from serving import Client

        mine = Client(server.url)
        at = 0
        while not stop.is_set():
            at = (at + 1) % 30
            status, facts, _ = mine.ask("POST", "/predict", rows[at])
            if status != 200 or facts["score"] != right[facts["version"]][at]:
                faults.append((status, facts))
            else:
                seen[number].append(facts["version"])
        mine.close()

    with serving(tmp_path) as (server, client):
        threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
        for one in threads:
            one.start()
        try:
            for wanted in (second, "v1", second, "v1"):
                promote(project, "delay", wanted)
                asked = time.monotonic()
                wait_until(lambda wanted=wanted: client.predict(rows[0])["version"] == wanted)
                assert time.monotonic() - asked < 1.5
                # On a busy machine a client may not have asked since: each must have met every release.
                wait_until(lambda wanted=wanted: all(one and one[-1] == wanted for one in seen))
        finally:
            stop.set()
            for one in threads:
                one.join()
        assert faults == []
        changes = [sum(a != b for a, b in itertools.pairwise(one)) for one in seen]
        assert changes == [4, 4]
    frame = logged(project)
    by_version = {version: frame.filter(frame["mw.version"] == version) for version in ("v1", "v2")}
    for version, part in by_version.items():
        assert set(part["mw.score"]) <= set(right[version])


def test_before_anything_is_live_the_server_says_what_to_type(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    version = publish(project, "delay")
    row = bodies(1)[0]
    with serving(tmp_path) as (server, client):
        assert server.facts["models"] == {}
        status, facts, _ = client.ask("GET", "/readyz")
        assert status == 503
        assert "middlewatch promote v1" in facts["models"]["delay"]["fix"]
        status, facts, headers = client.ask("POST", "/predict", row)
        assert (status, headers["retry-after"]) == (503, "1")
        assert "middlewatch promote v1" in facts["fix"]
        assert client.ask("GET", "/livez")[0] == 200
        assert client.ask("GET", "/docs")[0] == 200
        promote(project, "delay", version)
        wait_until(lambda: client.ask("GET", "/readyz")[0] == 200)
        assert client.predict(row)["version"] == version


def test_private_columns_never_reach_the_disk(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"delay": "binary"})
    base = schema_of("delay", "binary")
    private = (Column(name="email", kind="category", role="ignored", private="hash"),
               Column(name="phone", kind="text", role="ignored", private="drop"))  # fmt: skip
    schema = Schema(
        name=base.name, target=base.target, task=base.task, time=base.time, key=base.key, classes=base.classes,
        columns=(*base.columns, *private),
    )  # fmt: skip
    promote(project, "delay", publish(project, "delay", schema=schema))
    row = {**bodies(1)[0], "email": "ann@example.org", "phone": "+43 660 1234567"}
    with serving(tmp_path) as (_, client):
        status, facts, _ = client.ask("GET", "/readyz")
        assert (status, "MIDDLEWATCH_PRIVATE_KEY" in facts["models"]["delay"]["problem"]) == (503, True)
    with serving(tmp_path, env={"MIDDLEWATCH_PRIVATE_KEY": "a long random text"}) as (_, client):
        client.predict(row)
        client.ask("POST", "/predict", {**row, "seats": "1"})
        client.ask("POST", "/predict", json.dumps(row).encode()[:-1])
        frame = logged(project)
        assert frame["email"][0].startswith("hmac-")
        assert "phone" not in frame.columns
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"ann@example.org" not in everything
    assert b"1234567" not in everything


def test_keys_are_needed_beyond_this_machine(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    with pytest.raises(ConfigError, match="no API key"):
        run.serve(project, host="0.0.0.0", port=0)
    keys = {"ann": "predict+read", "bob": "read", "eve": "predict+read+admin"}
    text = ",".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}:{scopes}" for name, scopes in keys.items())
    row = bodies(1)[0]
    with serving(tmp_path, env={"MIDDLEWATCH_KEYS": text}, host="0.0.0.0") as (_, client):
        assert client.ask("POST", "/predict", row)[0] == 401
        assert client.ask("POST", "/predict", row, authorization="Bearer nobody")[0] == 401
        assert client.ask("POST", "/predict", row, authorization="Bearer bob")[0] == 403
        assert client.ask("POST", "/predict", row, authorization="Bearer ann")[0] == 200
        assert client.ask("POST", "/predict", row, x_api_key="ann")[0] == 200
        login = base64.b64encode(b"me:bob").decode()
        assert client.ask("GET", "/metrics", authorization=f"Basic {login}")[0] == 200
        assert client.ask("GET", "/metrics")[0] == 401
        assert client.ask("GET", "/readyz")[0] == 200
        assert client.ask("POST", "/events", {"text": "x"}, x_api_key="ann")[0] == 403
        assert client.ask("POST", "/events", {"text": "deployed"}, x_api_key="eve")[0] == 201
        assert set(logged(project)["mw.caller"]) == {"ann"}
    with serving(tmp_path, host="0.0.0.0", no_auth=True) as (_, client):
        assert client.ask("POST", "/predict", row)[0] == 200


def test_events_are_notes_on_the_time_line(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    with serving(tmp_path) as (_, client):
        status, facts, _ = client.ask(
            "POST", "/events", {"text": "weather feed v3", "source": "ops", "at": "2013-07-01T10:00:00Z"}
        )
        assert (status, facts["at"]) == (201, "2013-07-01T10:00:00Z")
        for wrong in (
            b"",
            b"[]",
            b"{}",
            b'{"text": 3}',
            b'{"text": ""}',
            b'{"text": "x", "at": "soon"}',
            b'{"text": "x", "at": 3}',
        ):
            assert client.ask("POST", "/events", wrong)[0] == 400
    assert [note.text for note in notes.all(project.store)] == ["weather feed v3"]


def test_a_full_disk_is_a_503_and_never_a_silent_gap(tmp_path: Path) -> None:
    """A limit on file sizes stands for the disk: what is answered is logged, the rest is told to come again."""
    project = ready(tmp_path, {"delay": "binary"})
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"
    answered = []
    with serving(tmp_path, before=limit) as (_, client):
        statuses = []
        for row in bodies(200):
            status, facts, _ = client.ask("POST", "/predict", row)
            statuses.append(status)
            if status == 200:
                answered.append(facts["id"])
            else:
                assert "free disk space" in facts["fix"]
        assert set(statuses) == {200, 503}
        assert 'middlewatch_log_failures_total{model="delay"}' in client.ask("GET", "/metrics")[1]["text"]
        assert logged(project)["mw.id"].to_list() == answered


def test_a_folder_that_takes_no_file_is_a_503_until_it_does(tmp_path: Path) -> None:
    """A file stands where the log's folder was: rights would not stop who runs as root."""
    project = ready(tmp_path, {"delay": "binary"})
    row, spool = bodies(1)[0], project.spool("delay")
    with serving(tmp_path) as (_, client):
        first = client.predict(row)
        spool.rename(tmp_path / "kept")
        spool.write_text("in the way")
        wait_until(lambda: client.ask("POST", "/predict", row)[0] == 503)
        status, facts, headers = client.ask("POST", "/predict", row)
        assert (status, facts["error"]) == (503, "the prediction log cannot be written")
        assert facts["where"] == str(spool)
        assert headers["retry-after"] == "1"
        status, facts, _ = client.ask("GET", "/readyz")
        assert (status, facts["ready"]) == (503, False)
        assert "cannot be written" in facts["models"]["delay"]["problem"]
        spool.unlink()
        wait_until(lambda: client.ask("GET", "/readyz")[0] == 200)
        last = client.predict(row)
        kept = [one for part in ("kept", spool) for one in predictions.live(tmp_path / part)]
    assert {first["id"], last["id"]} <= {ident for _, frame in kept for ident in frame["mw.id"]}


def test_durability_power(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"}, more='\n[serve]\ndurability = "power"\n')
    rows = bodies(50)
    with serving(tmp_path) as (_, client):
        assert [client.predict(row)["score"] for row in rows] == expected("binary", 0, rows)
    assert logged(project).height == 50


def test_documents_need_nothing_from_outside(tmp_path: Path) -> None:
    ready(tmp_path, {"delay": "binary"})
    with serving(tmp_path) as (_, client):
        status, facts, _ = client.ask("GET", "/openapi.json")
        assert status == 200
        body = facts["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"][0]
        assert body["required"] == ["temp", "seats", "night", "carrier"]
        assert body["properties"]["temp"]["type"] == ["number", "null"]
        assert client.predict(body["example"])["model"] == "delay"
        page = client.ask("GET", "/docs")[1]["text"]
        assert "carrier" in page
        assert not re.search(r"(src|href)=[\"']?https?:", page)
        assert client.ask("HEAD", "/docs")[1]["text"] == ""


def test_several_workers_count_together_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    import os
    import signal

    project = ready(tmp_path, {"delay": "binary"})
    rows = bodies(10)
    with serving(tmp_path, workers=2) as (server, client):
        from serving import Client

        for row in rows * 3:
            one = Client(server.url)
            one.predict(row)
            one.close()
        wait_until(lambda: _counted(client) == 30)
        found = subprocess.run(
            ["pgrep", "-P", str(server.process.pid), "-f", "serve.worker"], capture_output=True, text=True
        )
        workers = [int(line) for line in found.stdout.split()]
        assert len(workers) == 2
        client.close()
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: "another starts" in server.log())
        answers = []
        for row in rows:
            one = Client(server.url)
            answers.append(one.predict(row)["score"])
            one.close()
        assert answers == expected("binary", 0, rows)
        assert server.stop() == 0
        for pid in workers:
            assert not Path(f"/proc/{pid}").exists()
    assert logged(project).height == 40


def _counted(client: Any) -> float:
    text = client.ask("GET", "/metrics")[1]["text"]
    match = re.search(r'middlewatch_predictions_total\{model="delay",version="v1"\} (\S+)', text)
    return float(match[1]) if match else 0


def test_pages_get_what_is_not_the_apis(tmp_path: Path) -> None:
    ready(tmp_path, {"delay": "binary"})
    before = "import sys; sys.path.insert(0, " + repr(str(Path(__file__).parent)) + "); import test_serve"
    for workers in (1, 2):
        with serving(tmp_path, before=before, workers=workers, env={"PYTHONPATH": f"{SRC}:{Path(__file__).parent}"},
                     pages=_Named("test_serve.hello_pages")) as (server, client):  # fmt: skip
            assert client.ask("GET", "/")[1]["text"] == "page / 32"
            assert client.ask("GET", "/readyz")[0] == 200
            assert client.ask("POST", "/models/none/predict", b"{}")[1]["error"] == 'there is no model "none" here'
            status, facts, _ = client.ask("POST", "/predictions", b"{}")
            assert status == 404
            assert "/predict" in facts["fix"]
            form = {"content_type": "application/x-www-form-urlencoded"}
            assert client.ask("POST", "/predictions", b"{}", accept="*/*", **form)[0] == 404, "as curl -d sends it"
            assert client.ask("POST", "/i/1", b"act=ack", accept="text/html,*/*;q=0.8", **form)[1]["text"][:4] == "page"
            assert server.stop() == 0


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def hello_pages(project: Project, *, secret: bytes) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        text = f"page {scope['path']} {len(secret)}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
        await send({"type": "http.response.body", "body": text})

    return app


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    project = ready(tmp_path, {"delay": "binary"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="cannot listen"):
            run.serve(project, host="127.0.0.1", port=taken.getsockname()[1])


def test_the_serving_path_is_light(tmp_path: Path) -> None:
    """Neither polars nor numpy nor lightgbm; under 60 MB and a second of CPU to the first answer."""
    project = ready(tmp_path, {"delay": "binary"})
    code = (
        "import sys, resource\nfrom middlewatch.project import Project\nfrom middlewatch.serve import run, convert\n"
        "from middlewatch.serve.live import Live\n"
        f"app, live = run.make_app(Project.open({str(tmp_path)!r}))\nlive.start()\n"
        f"answer = live.scorers['delay'].answer({json.dumps(bodies(1)[0]).encode()!r}, caller='x', received=1)\n"
        "print(len(answer.body) > 50)\nlive.stop()\nused = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(sorted({'polars', 'numpy', 'lightgbm', 'pandas', 'scipy', 'jinja2'} & set(sys.modules)))\n"
        "high = int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "print(high / 1024 < 60, used.ru_utime + used.ru_stime < 1.5, high / 1024, used.ru_utime + used.ru_stime)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": SRC}, check=False
    )
    answered, imported, light = done.stdout.split("\n")[:3]
    assert (answered, imported, light[:9]) == ("True", "[]", "True True"), light + done.stderr
    assert project.journal("delay").live() == "v1"


def test_keys_are_read_from_hashes_only() -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    keys = Keys.parse(f"{digest}, ann:{digest.upper()}:admin", where="env")
    assert keys.find("wrong") is None
    found = keys.find("secret")
    assert found is not None
    assert (found.name, found.scopes) == ("ann", frozenset({"admin"}))
    for wrong in ("plaintext-key", f"a:b:c:{digest}", f"ann:{digest}:everything", f"ann:{digest[:-1]}"):
        with pytest.raises(ConfigError) as caught:
            Keys.parse(wrong, where="env")
        assert "plaintext-key" not in str(caught.value)
    assert not Keys.parse("", where="env")
    assert presented(b"Basic !!!", b"") == ""
    assert presented(b"Digest x", b"") == ""
    assert [is_loopback(one) for one in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")] == [True] * 5
    assert not any(is_loopback(one) for one in ("0.0.0.0", "::", "10.0.0.1", "example.org"))


def test_metrics_are_summed_and_escaped(tmp_path: Path) -> None:
    one, two = Metrics(tmp_path), Metrics(tmp_path)
    one.add("middlewatch_predictions_total", 3, model='a"b\\c\n', version="v1")
    two.add("middlewatch_predictions_total", 4, model='a"b\\c\n', version="v1")
    for seconds in (0.00005, 0.00006, 9.0):
        two.request("/predict", "m", "v1", 200, seconds)
    two.keep()
    (own,) = tmp_path.glob("*.json")
    own.rename(tmp_path / "1.json")
    text = one.text()
    assert 'middlewatch_predictions_total{model="a\\"b\\\\c\\n",version="v1"} 7\n' in text
    assert 'middlewatch_requests_total{route="/predict",model="m",version="v1",code="200"} 3\n' in text
    assert '_bucket{route="/predict",model="m",le="5e-05"} 1\n' in text
    assert '_bucket{route="/predict",model="m",le="5.0"} 2\n' in text
    assert '_bucket{route="/predict",model="m",le="+Inf"} 3\n' in text
    assert '_count{route="/predict",model="m"} 3\n' in text
    (tmp_path / "2.json").write_text("{torn")
    assert one.text() == text
    from prometheus_client.parser import text_string_to_metric_families

    assert len(list(text_string_to_metric_families(text))) > 5

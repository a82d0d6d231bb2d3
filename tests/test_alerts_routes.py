"""Each way out, tried against something real; the digest, the dead man's switch, and a night from end to end."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import middlewatch as mw
from middlewatch import alerts, monitor, predictions, runs
from middlewatch.alerts import calling, routes, tick
from middlewatch.alerts.masking import masked
from middlewatch.alerts.work import after_monitor
from middlewatch.cli import main
from middlewatch.doctor import doctor
from middlewatch.outbox import Outbox
from middlewatch.project import Project
from middlewatch.status import status
from receiving import NOW, Clock, Receiver, http_receiver, make_site, open_incident, smtp_receiver
from serving import Server
from test_monitor import SCHEMA as TRAFFIC
from test_monitor import Site, moment, rows

SECRET = "a long random text that both sides know"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with http_receiver() as receiver:
        monkeypatch.setenv("HOOK", f"webhook+{receiver.url}/hooks/t0ps3cr3t")
        monkeypatch.setenv("MIDDLEWATCH_WEBHOOK_SECRET", SECRET)
        yield receiver


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kept_in(folder: Path) -> str:
    return "\n".join(one.read_text(errors="replace") for one in (folder / ".middlewatch").rglob("*") if one.is_file())


def last_try(root: Path) -> Any:
    return Outbox(root).all()[-1].tries[0][-1]


# -- the webhook


def test_a_redirect_is_not_followed(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    with http_receiver() as elsewhere:
        project = make_site(tmp_path)
        hook.answers, hook.location = [307], f"{elsewhere.url}/stolen"
        [check] = alerts.trial(project, clock=clock)
        assert elsewhere.got == []
    assert (check.outcome, len(hook.got)) == ("fail", 1)
    assert "redirects are not followed" in check.detail
    assert "leads to" in check.fix


@contextmanager
def dripping() -> Iterator[str]:
    """A server that answers for ever, a byte at a time."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def answer() -> None:
        taken, _ = listening.accept()
        with taken:
            try:
                taken.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not stopped.wait(0.05):
                    taken.sendall(b"x")
            except OSError:
                return

    thread = threading.Thread(target=answer)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    stopped.set()
    thread.join()
    listening.close()


def test_a_slow_answer_is_cut_off() -> None:
    with dripping() as url:
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            calling.call(url, method="POST", headers={}, body=b"{}", limit=0.4)
        assert time.monotonic() - begun < 3


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http:///x", "https://user:password@127.0.0.1/x"])
def test_what_is_no_address_is_not_called(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        calling.call(url, method="GET", headers={})


def test_without_a_secret_nothing_unsigned_is_sent(
    tmp_path: Path, hook: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIDDLEWATCH_WEBHOOK_SECRET")
    [check] = alerts.trial(make_site(tmp_path), clock=clock)
    assert check.outcome == "fail"
    assert "MIDDLEWATCH_WEBHOOK_SECRET" in check.fix
    assert hook.got == []


def test_the_receiver_of_the_docs_tells_ours_from_others(tmp_path: Path, hook: Receiver) -> None:
    page = (Path(__file__).parents[1] / "docs" / "alerts.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/alerts.md", "exec"), names)
    ours = names["ours"]
    alerts.trial(make_site(tmp_path), clock=lambda: datetime.now(UTC))
    [got] = hook.got
    header = got.headers["Middlewatch-Signature"]
    assert ours(got.body, header, SECRET)
    assert not ours(got.body + b"x", header, SECRET)
    assert not ours(got.body, header, "another")
    both = alerts.sign(b"body", "old,new", now=datetime.now(UTC))
    assert ours(b"body", both, "old")
    assert ours(b"body", both, "new")
    assert not ours(b"body", alerts.sign(b"body", "new", now=datetime.now(UTC) - timedelta(minutes=6)), "new")
    for wrong in ("", "t=1", "v1=ab", "t=x,v1=ab", "t=²,v1=ab", f"t={time.time():.0f},v1=é", "nonsense"):
        assert not ours(b"body", wrong, "new")


# -- a command


def script(folder: Path, code: str) -> str:
    path = folder / "tell.py"
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{code}\n")
    path.chmod(0o755)
    return f"command:{path}"


def test_a_command_gets_the_json(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "facts = json.load(sys.stdin)\nopen(sys.argv[1], 'a').write(facts['kind'] + ' ' + facts['dedup_key'] + '\\n')"
    )
    monkeypatch.setenv("COMMAND", f"{script(tmp_path, code)} told.txt")
    project = make_site(tmp_path, alerts='to = ["env:COMMAND"]')
    tick(project, clock=clock)
    clock.forward(minutes=1)
    open_incident(project, clock())
    tick(project, clock=clock)
    [line] = (tmp_path / "told.txt").read_text().splitlines()
    assert re.fullmatch(r"opened [0-9a-f]{8}/delay/1", line)
    assert (last_try(tmp_path).ok, last_try(tmp_path).status) == (True, "0")


def test_what_a_failing_command_says_is_kept_without_its_secret(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMAND", script(tmp_path, "sys.exit('bad token ' + sys.argv[1])") + " s3cr3t-token-9")
    project = make_site(tmp_path, alerts='to = ["env:COMMAND"]')
    [check] = alerts.trial(project, clock=clock)
    assert (check.outcome, check.detail) == ("fail", "it ended with 1: bad token ***")
    assert "s3cr3t" not in kept_in(tmp_path)


def test_a_command_that_hangs_is_ended_with_its_children(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "COMMAND_LIMIT", 1.0)
    code = "import subprocess\nsubprocess.run(['sleep', '60'])"
    monkeypatch.setenv("COMMAND", script(tmp_path, code))
    begun = time.monotonic()
    [check] = alerts.trial(make_site(tmp_path, alerts='to = ["env:COMMAND"]'), clock=clock)
    assert time.monotonic() - begun < 10
    assert "still running" in check.detail


def test_a_command_that_is_not_there(tmp_path: Path, clock: Clock) -> None:
    project = make_site(tmp_path, alerts='to = ["command:/nowhere/tell.sh --now"]')
    [check] = alerts.trial(project, clock=clock)
    assert check.name == "alerts to command:/nowhere/tell.sh --now"
    assert "cannot be run" in check.detail
    assert "chmod" in check.fix


# -- mail, through apprise


# aiosmtpd asks asyncio for what Python is going to drop.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mail_arrives_and_a_refusal_is_tried_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with smtp_receiver() as box:
        address = f"mailto://127.0.0.1:{box.port}?to=ops@example.com&from=watch@example.com"
        monkeypatch.setenv("MAIL", address)
        project = make_site(tmp_path, alerts='to = ["env:MAIL"]')
        tick(project, clock=clock)
        clock.forward(minutes=1)
        open_incident(project, clock())
        box.refusals = ["451 come back later"]
        tick(project, clock=clock)
        assert box.mails == []
        assert not last_try(tmp_path).ok
        assert "ops@example.com" not in kept_in(tmp_path)
        clock.forward(seconds=3)
        tick(project, clock=clock)
        tick(project, clock=clock)
        [mail] = box.mails
    assert mail["To"] == "ops@example.com"
    assert str(mail["Subject"]).startswith("PAGE delay incident 1: mean prediction 0.21 -> 0.34, distance")
    text = b"".join(part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()).decode()  # type: ignore[misc]
    assert "mean prediction 0.21 -> 0.34" in text
    assert "http" not in text, "nothing that a reader's program would fetch"


@pytest.mark.parametrize("address", ["slack://nonsense-t0ken", "wahtever://x-t0ken"])
def test_an_address_nobody_knows(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("WRONG", address)
    [check] = alerts.trial(make_site(tmp_path, alerts='to = ["env:WRONG"]'), clock=clock)
    assert check.outcome == "fail"
    assert "t0ken" not in f"{check.detail} {check.fix} {kept_in(tmp_path)}"


def test_an_address_is_masked_whatever_shape_it_is_said_in() -> None:
    address = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlaz%2BkcOX"
    said = "403 for TIiajkdnlaz+kcOX at https://proxy:pass@10.0.0.1/x via A1BRTD4JD\nsecond line"
    assert masked(said, [address]) == "403 for *** at *** via *** second line"
    assert len(masked("x" * 5000, [])) == 300


# -- doctor --alerts


def test_doctor_tries_every_route_for_real(
    tmp_path: Path, hook: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEAD", "webhook+http://127.0.0.1:9/t0ps3cr3t")
    project = make_site(tmp_path, alerts='to = ["env:HOOK", "env:DEAD"]\npage_to = ["env:NOT_SET"]')
    monkeypatch.setattr(sys, "argv", ["middlewatch", "doctor", "--alerts", "--json", "--project", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    said = capsys.readouterr().out
    found = {one["name"]: one for one in json.loads(said)["checks"] if one["name"].startswith("alerts to")}
    assert [one["outcome"] for one in found.values()] == ["ok", "fail", "warn"]
    assert "export NOT_SET" in found["alerts to env:NOT_SET"]["fix"]
    [got] = hook.got
    assert got.facts["kind"] == "test"
    assert got.facts["title"].startswith("TEST")
    assert "t0ps3cr3t" not in said + kept_in(tmp_path)
    assert Outbox(project.root).waiting() == [], "a trial is not tried again"


def test_a_trial_goes_out_while_others_wait(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = make_site(tmp_path)
    tick(project, clock=clock)
    clock.forward(minutes=1)
    hook.answers = [503]
    open_incident(project, clock())
    tick(project, clock=clock)
    [check] = alerts.trial(project, clock=clock)
    assert check.outcome == "ok"


# -- the dead man's switch


def test_the_switch_is_called_when_every_model_was_judged(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_receiver() as receiver:
        monkeypatch.setenv("MIDDLEWATCH_HEARTBEAT", f"{receiver.url}/beat/t0ps3cr3t")
        project = make_site(tmp_path, alerts="to = []", more='[models.churn]\ntarget = "late"\ntask = "binary"\n')
        after_monitor(project, {"delay": 1}, started=clock(), clock=clock)
        assert receiver.got == [], "churn was not judged"
        clock.forward(minutes=1)
        after_monitor(project, {"churn": 0}, started=clock(), clock=clock)
        assert [(one.method, one.path) for one in receiver.got] == [("GET", "/beat/t0ps3cr3t")]
        clock.forward(days=1)
        after_monitor(project, {"delay": 1}, started=clock(), clock=clock)
        assert len(receiver.got) == 1
        monkeypatch.setattr("middlewatch.alerts.heartbeat.PAUSE", 0.01)
        receiver.answers = [500] * 3
        after_monitor(project, {"churn": 1}, started=clock(), clock=clock)
        assert len(receiver.got) == 4
        shown = status(project, "delay", clock=clock()).to_dict()["alerts"]["heartbeat"]
        assert shown.startswith("HTTP 500")
        receiver.answers = []
        clock.forward(hours=1)
        after_monitor(project, {"churn": 1}, started=clock(), clock=clock)
        assert len(receiver.got) == 5
    assert status(project, "delay", clock=clock()).to_dict()["alerts"]["heartbeat"] == ""
    assert "t0ps3cr3t" not in kept_in(tmp_path)


def test_a_monitor_that_stopped_is_no_good_news(tmp_path: Path) -> None:
    (tmp_path / "middlewatch.toml").write_text(
        '[models.delay]\ntask = "regression"\n[monitor]\nalarms_per_month = 0.01\n'
    )
    (tmp_path / "delay.schema.toml").write_text(TRAFFIC.to_toml())
    project = Project.open(tmp_path)
    project.journal("delay").append(action="promote", version="ext-1", actor="ann", host="here", at=moment(0), expect=0)
    site = Site(project)
    site.log(*(rows(day) for day in range(60)))
    now = moment(60) + timedelta(hours=2)
    runs.mark(project.store, "delay", now=now)
    monitor.judge(project, "delay", now=now)
    fine = status(project, "delay", clock=now + timedelta(hours=20))
    assert (fine.state, fine.monitor["late"]) == ("healthy", False)
    late = status(project, "delay", clock=now + timedelta(hours=40))
    assert (late.state, late.monitor["late"], late.monitor["hours"]) == ("look", True, 40.0)
    assert "has not run" in late.sentence
    runs.mark(project.store, "delay", now=now + timedelta(hours=40))
    assert len(project.store.list("delay/monitor/")) == 1
    assert not status(project, "delay", clock=now + timedelta(hours=40)).monitor["late"]


# -- the digest


def test_a_digest_a_day_at_its_hour(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = make_site(tmp_path, more='\n[monitor]\nzone = "Europe/Vienna"\n')
    config = (tmp_path / "middlewatch.toml").read_text().replace('digest = "never"', 'digest = "08:00"')
    (tmp_path / "middlewatch.toml").write_text(config)
    project = Project.open(tmp_path)
    tick(project, clock=clock)  # 02:00 UTC, 03:00 in Vienna
    open_incident(project, clock(), severity="ticket", columns=["carrier"])
    sent = []
    for _ in range(4 * 24 * 2):
        before = len(hook.got)
        tick(project, clock=clock)
        sent += [(clock.now, one.facts["kind"]) for one in hook.got[before:]]
        clock.forward(minutes=15)
    digests = [at for at, kind in sent if kind == "digest"]
    assert digests == [NOW.replace(hour=7), NOW.replace(hour=7) + timedelta(days=1)]
    [first, _] = [one for one in hook.got if one.facts["kind"] == "digest"]
    text = first.facts["text"]
    assert text.startswith("DIGEST Sun 22 Nov: 0 requests, 0 alarms, 1 incident open")
    assert "open ticket 1 (open): distance distribution" in text
    [facts] = first.facts["models"]
    assert facts["guessed"] == {"limits": 0, "columns": 0, "of": 4}


# -- a night, from end to end, through the library and a server


def traffic(tmp_path: Path) -> Project:
    (tmp_path / "middlewatch.toml").write_text(
        '[models.delay]\ntask = "regression"\n\n[monitor]\nalarms_per_month = 0.5\n\n'
        '[alerts]\nto = ["env:HOOK"]\ndigest = "never"\n'
    )
    (tmp_path / "delay.schema.toml").write_text(TRAFFIC.to_toml())
    project = Project.open(tmp_path)
    project.journal("delay").append(action="promote", version="ext-1", actor="ann", host="here", at=moment(0), expect=0)
    return project


def log(project: Project, *frames: pl.DataFrame) -> None:
    now = datetime.now(UTC)
    predictions.write_batch(project.store, "delay", pl.concat(frames), now=now, token=f"{now:%H%M%S%f}")


def test_a_new_model_learns_alarms_and_says_why(tmp_path: Path, hook: Receiver) -> None:
    project = traffic(tmp_path)
    handle = mw.open(tmp_path)
    log(project, *(rows(day) for day in range(10)))
    handle.monitor(until=moment(10))
    assert hook.titles() == ["LEARNING delay is new here: 10 windows seen, no alarm line yet"]
    log(project, *(rows(day) for day in range(10, 70)))
    handle.monitor(until=moment(70))
    assert hook.kinds()[1] == "learnt"
    before = len(hook.got)
    log(project, rows(70, scale=1.609344))
    judged = handle.monitor(until=moment(71))
    [told] = hook.got[before:]
    facts = told.facts
    assert (facts["kind"], facts["severity"]) == ("opened", "page")
    lines = {line.split(" ", 1)[0]: line for line in facts["text"].splitlines()[1:]}
    assert re.search(r"mean prediction 0\.\d+ -> 1\.\d+", lines["EFFECT"])
    assert "1.609" in lines["CAUSE"] or "km" in lines["CAUSE"], lines["CAUSE"]
    assert facts["cause"]["column"] == "distance"
    assert re.match(r"SCORE +[▁▂▃▄▅▆▇█]{28} ", lines["SCORE"])
    assert lines["SCORE"].split()[1].endswith("█")
    assert any(note.startswith("told: PAGE delay incident") for note in judged.notes)
    handle.monitor(until=moment(71))
    assert len(hook.got) == before + 1


def test_a_server_tells_what_a_person_did(tmp_path: Path, hook: Receiver) -> None:
    project = make_site(tmp_path)
    tick(project, clock=lambda: datetime.now(UTC))
    one = open_incident(project, datetime.now(UTC))
    server = Server(tmp_path)
    try:
        hook.wait(1)
        project.incidents("delay").add(one.n, "ack", at=datetime.now(UTC), actor="ann")
        hook.wait(2)
    finally:
        assert server.stop() == 0
    assert hook.kinds() == ["opened", "acknowledged"]
    assert hook.titles()[1].startswith("ACK delay incident 1 acknowledged: ")


def test_doctor_says_who_is_told(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    [check] = [one for one in doctor(make_site(tmp_path), now=clock()).checks if one.name == "alerts"]
    assert (check.outcome, check.detail) == ("ok", "1 of 1 routes are set; 0 messages wait")
    other = make_site(tmp_path / "other", alerts='to = ["env:NOT_SET"]')
    [check] = [one for one in doctor(other, now=clock()).checks if one.name == "alerts"]
    assert check.outcome == "warn"
    assert "nobody is told" in check.detail
    assert "NOT_SET" in check.detail

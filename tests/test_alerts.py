"""Alerts against real receivers: each change is told once, survives kill -9 anywhere, and never shows a secret."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from middlewatch import alerts, outbox, runs
from middlewatch.alerts import signing, tick
from middlewatch.alerts.work import after_monitor
from middlewatch.doctor import doctor
from middlewatch.outbox import BACKOFF, Outbox
from middlewatch.project import Project
from middlewatch.status import status
from receiving import NOW, Clock, Receiver, http_receiver, make_site, open_incident

SECRET = "a long random text that both sides know"
SRC = str(Path(__file__).parents[1] / "src")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with http_receiver() as receiver:
        monkeypatch.setenv("HOOK", f"webhook+{receiver.url}/hooks/t0ps3cr3t")
        monkeypatch.setenv("MIDDLEWATCH_WEBHOOK_SECRET", SECRET)
        yield receiver


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begun(project: Project, clock: Clock) -> Project:
    """Alerts have been set up for a minute."""
    tick(project, clock=clock)
    clock.forward(minutes=1)
    return project


def everything_in(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


# -- one message a change


def test_an_incident_is_told_once_and_signed(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path, alerts='to = ["env:HOOK"]\nurl = "https://ml.example.com"',
                              more='runbook = "https://wiki.example.com/delay"'), clock)  # fmt: skip
    open_incident(project, clock())
    assert len(tick(project, clock=clock).queued) == 1
    assert tick(project, clock=clock).queued == []
    [got] = hook.got
    facts = got.facts
    assert (facts["schema"], facts["kind"], facts["severity"], facts["model"]) == (1, "opened", "page", "delay")
    assert re.fullmatch(r"[0-9a-f]{8}/delay/1", facts["dedup_key"])
    assert got.headers["Middlewatch-Dedup-Key"] == facts["dedup_key"]
    assert facts["incident"]["title"].startswith("distance distribution 3.1 x")
    lines = facts["text"].splitlines()
    assert lines[0] == facts["title"]
    assert lines[0].startswith("PAGE delay incident 1: mean prediction 0.21 -> 0.34, distance")
    assert len(lines[0]) <= 110
    assert "EFFECT   mean prediction 0.21 -> 0.34" in lines
    assert "LINK     https://ml.example.com/i/1" in lines
    assert "RUNBOOK  https://wiki.example.com/delay" in lines
    assert lines[-1] == "Next:    middlewatch why 1"
    header = got.headers[signing.HEADER]
    assert alerts.verify(got.body, header, SECRET, now=clock())
    assert not alerts.verify(got.body, header, "another secret", now=clock())
    assert not alerts.verify(got.body + b" ", header, SECRET, now=clock())
    assert not alerts.verify(got.body, header, SECRET, now=clock() + timedelta(seconds=301))
    assert not alerts.verify(got.body, header.replace("v1=", "v0="), SECRET, now=clock())
    assert not alerts.verify(got.body, "t=x,v1=y", SECRET, now=clock())
    assert not alerts.verify(got.body, header, "", now=clock())


def test_a_secret_is_changed_without_a_gap() -> None:
    header = alerts.sign(b"body", "old, new", now=NOW)
    assert alerts.verify(b"body", header, "old", now=NOW)
    assert alerts.verify(b"body", header, "new", now=NOW)
    assert not alerts.verify(b"body", header, "older", now=NOW)
    with pytest.raises(ValueError):
        alerts.sign(b"body", " , ", now=NOW)


def test_each_change_is_one_message_under_one_key(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    kept = project.incidents("delay")
    open_incident(project, clock())
    tick(project, clock=clock)
    steps: list[tuple[str, dict[str, Any], str]] = [
        ("update", {"windows": 2, "peak": 1.2}, ""),
        ("update", {"windows": 3, "peak": 2.0, "paged": 2.0}, "worse"),
        ("ack", {}, "acknowledged"),
        ("mark_bad", {"since": "2026-11-21T00:00:00Z", "until": "2026-11-22T00:00:00Z"}, ""),
        ("silence", {"until": ""}, "silenced"),
        ("update", {"windows": 9, "peak": 5.0, "paged": 5.0}, ""),
        ("resolve", {"cause": "the feed sent miles"}, "resolved"),
        ("update", {"windows": 10}, ""),
    ]
    for kind, facts, told in steps:
        clock.forward(minutes=11)
        before = len(hook.got)
        kept.add(1, kind, at=clock(), actor="ann", **facts)
        tick(project, clock=clock)
        tick(project, clock=clock)
        assert hook.kinds()[before:] == ([told] if told else [])
    assert len({one.facts["dedup_key"] for one in hook.got}) == 1
    assert len({one.facts["id"] for one in hook.got}) == len(hook.got) == 5
    assert hook.titles()[-1].startswith("OK delay incident 1 resolved: ")
    assert "BY       ann: the feed sent miles" in hook.got[-1].facts["text"]


def test_what_was_before_alerts_were_set_is_not_told(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = make_site(tmp_path)
    open_incident(project, clock() - timedelta(days=3), key="old")
    project.incidents("delay").add(1, "resolve", at=clock() - timedelta(days=2), actor="monitor")
    open_incident(project, clock() - timedelta(days=1), key="standing", columns=["carrier"])
    begun(project, clock)
    assert hook.got == []
    project.incidents("delay").add(2, "resolve", at=clock(), actor="monitor", reason="2 clean windows")
    tick(project, clock=clock)
    assert hook.kinds() == ["resolved"]


def test_opened_and_closed_before_anybody_was_told_is_no_message(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    open_incident(project, clock())
    project.incidents("delay").add(1, "resolve", at=clock(), actor="monitor")
    tick(project, clock=clock)
    assert hook.got == []
    [done] = [key for key in project.store.list("_alerts/told/") if key.endswith("/done.json")]
    assert "before anybody was told" in json.loads(project.store.get(done))["why"]


def test_without_a_route_nothing_is_written(tmp_path: Path, clock: Clock) -> None:
    project = make_site(tmp_path)
    assert not alerts.is_set(project)
    open_incident(project, clock())
    after_monitor(project, {"delay": 1}, started=clock(), clock=clock)
    assert project.store.list("_alerts/") == []
    assert not outbox.folder_of(tmp_path).exists()
    assert runs.last(project.store, "delay") == clock()


# -- who is told, and when


def test_an_open_page_is_repeated_ever_more_seldom_until_answered(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    open_incident(project, clock())
    told = []
    for hour in range(60):
        before = len(hook.got)
        tick(project, clock=clock)
        told += [hour] * (len(hook.got) - before)
        clock.forward(hours=1)
    assert told == [0, 4, 12, 28, 52]
    assert hook.kinds() == ["opened"] + ["repeat"] * 4
    project.incidents("delay").add(1, "ack", at=clock(), actor="ann")
    tick(project, clock=clock)
    clock.forward(days=3)
    tick(project, clock=clock)
    assert hook.kinds()[5:] == ["acknowledged"]


def test_silence_ends(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    open_incident(project, clock())
    tick(project, clock=clock)
    until = clock() + timedelta(hours=30)
    project.incidents("delay").add(1, "silence", at=clock(), actor="ann", until=until.isoformat())
    for _ in range(29):
        tick(project, clock=clock)
        clock.forward(hours=1)
    assert hook.kinds() == ["opened", "silenced"]
    clock.forward(hours=2)
    tick(project, clock=clock)
    assert hook.kinds()[2:] == ["repeat"]


def test_flapping_does_not_send_again(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    for turn in range(12):  # an hour of trouble that comes and goes every five minutes
        one = open_incident(project, clock(), key=str(turn))
        tick(project, clock=clock)
        clock.forward(minutes=3)
        project.incidents("delay").add(one.n, "resolve", at=clock(), actor="monitor", reason="clean")
        tick(project, clock=clock)
        clock.forward(minutes=2)
    assert hook.kinds() == ["opened", "resolved"]
    open_incident(project, clock(), key="stays")
    tick(project, clock=clock)
    assert len(hook.got) == 2
    clock.forward(hours=4)
    tick(project, clock=clock)
    assert hook.kinds()[2:] == ["opened"], "it lasts: that is news"


def test_what_comes_back_after_a_person_closed_it_is_news(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    open_incident(project, clock())
    tick(project, clock=clock)
    project.incidents("delay").add(1, "resolve", at=clock(), actor="ann", cause="fixed")
    clock.forward(minutes=5)
    tick(project, clock=clock)
    open_incident(project, clock(), key="again")
    tick(project, clock=clock)
    assert hook.kinds() == ["opened", "resolved", "opened"]


def test_a_storm_is_one_message(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    for n in range(7):
        open_incident(project, clock(), key=str(n), columns=[f"c{n}"], severity="page" if n == 3 else "ticket")
    tick(project, clock=clock)
    [one] = hook.got
    assert one.facts["kind"] == "storm"
    assert one.facts["severity"] == "page"
    assert one.facts["title"].startswith("PAGE 7 incidents changed within 10 minutes: delay 4, delay 1")
    assert len(one.facts["incidents"]) == 7
    clock.forward(minutes=4)
    for n in range(7, 10):
        open_incident(project, clock(), key=str(n), columns=[f"c{n}"])
    assert tick(project, clock=clock).held == 3
    clock.forward(minutes=7)
    tick(project, clock=clock)
    assert hook.kinds() == ["storm", "opened", "opened", "opened"]


def test_incidents_one_by_one_become_a_storm_too(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    for n in range(8):
        open_incident(project, clock(), key=str(n), columns=[f"c{n}"])
        tick(project, clock=clock)
        clock.forward(minutes=1)
    assert hook.kinds() == ["opened"] * 5 + ["storm"]
    clock.forward(minutes=10)
    tick(project, clock=clock)
    assert len(hook.got) == 8, "what was held back comes; nothing is lost"


def test_five_incidents_are_no_storm(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    for n in range(5):
        open_incident(project, clock(), key=str(n), columns=[f"c{n}"])
    tick(project, clock=clock)
    assert hook.kinds() == ["opened"] * 5


def test_pages_go_to_the_pager_and_tickets_wait_for_morning(
    tmp_path: Path, hook: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER", f"webhook+{hook.url}/pager")
    project = make_site(tmp_path, alerts='to = ["env:HOOK"]\npage_to = ["env:PAGER"]\nquiet = "22:00-07:00"')
    begun(project, clock)
    open_incident(project, clock(), key="inputs", severity="ticket", columns=["carrier"])
    open_incident(project, clock(), key="predictions")
    tick(project, clock=clock)
    assert sorted(one.path for one in hook.got) == ["/hooks/t0ps3cr3t", "/pager"]
    assert {one.facts["incident"]["n"] for one in hook.got} == {2}
    clock.now = NOW.replace(hour=7)
    project.incidents("delay").add(2, "ack", at=clock(), actor="ann")
    tick(project, clock=clock)
    late = [(one.path, one.facts["incident"]["n"]) for one in hook.got[2:]]
    assert sorted(late) == [("/hooks/t0ps3cr3t", 1), ("/hooks/t0ps3cr3t", 2), ("/pager", 2)]


def test_a_cause_found_later_is_told_and_private_columns_stay_private(
    tmp_path: Path, hook: Receiver, clock: Clock
) -> None:
    project = begun(make_site(tmp_path), clock)
    open_incident(project, clock())
    tick(project, clock=clock)
    cause = {
        "kind": "categories", "form": "new", "column": "badge", "columns": ["badge"], "confidence": "certain",
        "detail": 'badge holds "E-5521 Jones" in 30 % of rows', "slice": {"badge": "E-5521 Jones"},
        "examples": [{"row": 4, "badge": "E-5521 Jones"}], "fix": "ask E-5521 Jones",
        "effect": {"rows": 280, "share_of_shift": 0.88, "decisions_changed": 31},
    }  # fmt: skip
    known = {**cause, "column": "distance", "columns": ["distance"], "detail": "distance is in km", "slice": None}
    clock.forward(minutes=1)
    why = {"causes": [cause], "rollback": "would not help: v6 reads the same badge"}
    project.incidents("delay").add(1, "update", at=clock(), actor="why", why=why)
    tick(project, clock=clock)
    assert hook.kinds() == ["opened", "cause"]
    assert b"Jones" not in hook.got[1].body
    text = hook.got[1].facts["text"]
    assert "badge: categories.new" in text
    assert "31 decisions changed in 280 rows" in text
    assert "ROLLBACK would not help" in text
    clock.forward(minutes=1)
    project.incidents("delay").add(1, "update", at=clock(), actor="why", why={**why, "causes": [known]})
    tick(project, clock=clock)
    assert hook.titles()[2] == "PAGE delay incident 1: cause found: distance is in km"
    assert b"Jones" not in hook.got[2].body, "examples are rows"
    assert hook.got[2].facts["cause"]["confidence"] == "certain"


# -- the queue


def test_failures_are_tried_again_each_try_recorded(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    hook.answers = [503, 429, 500]
    open_incident(project, clock())
    for pause in BACKOFF[:3]:
        tick(project, clock=clock)
        came = len(hook.got)
        clock.forward(seconds=pause - 0.5)
        tick(project, clock=clock)
        assert len(hook.got) == came, "too early"
        clock.forward(seconds=1)
    tick(project, clock=clock)
    tick(project, clock=clock)
    assert len(hook.got) == 4
    assert len({one.facts["id"] for one in hook.got}) == 1
    assert len({one.headers[signing.HEADER] for one in hook.got}) == 4, "signed anew, so that it is fresh"
    [queued] = Outbox(tmp_path).all()
    assert [one.status for one in queued.tries[0]] == ["503", "429", "500", "200"]
    assert [one.ok for one in queued.tries[0]] == [False, False, False, True]
    assert queued.ended
    assert outbox.counts(tmp_path).waiting == 0


def test_what_was_given_up_is_kept_counted_and_shown(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    project = begun(make_site(tmp_path), clock)
    hook.answers = [404] * 100
    open_incident(project, clock(), severity="ticket")
    for pause in [0, *BACKOFF, 86_400]:
        clock.forward(seconds=pause)
        tick(project, clock=clock)
    assert len(hook.got) == len(BACKOFF) + 1
    counted = outbox.counts(tmp_path)
    assert (counted.waiting, counted.given_up) == (0, 1)
    shown = status(project, "delay", clock=clock()).to_dict()["alerts"]
    assert shown["given_up"] == 1
    assert shown["problem"].startswith("env:HOOK: HTTP 404")
    [check] = [one for one in doctor(project, now=clock()).checks if one.name == "alerts"]
    assert check.outcome == "warn"
    assert "1 were given up" in check.detail
    assert "doctor --alerts" in check.fix
    assert "t0ps3cr3t" not in everything_in(tmp_path) + json.dumps(shown) + check.detail
    clock.forward(days=31)
    tick(project, clock=clock)
    assert outbox.counts(tmp_path).given_up == 0


def test_a_route_that_is_down_holds_up_no_other_and_nothing_overtakes(
    tmp_path: Path, hook: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEAD", "webhook+http://127.0.0.1:9/x")
    project = begun(make_site(tmp_path, alerts='to = ["env:DEAD", "env:HOOK", "env:UNSET"]'), clock)
    open_incident(project, clock())
    tick(project, clock=clock)
    clock.forward(seconds=1)
    project.incidents("delay").add(1, "ack", at=clock(), actor="ann")
    tick(project, clock=clock)
    assert hook.kinds() == ["opened", "acknowledged"]
    first, second = Outbox(tmp_path).waiting()
    assert first.message.routes == ["env:DEAD", "env:HOOK"], "a variable that is not set is left out"
    assert [one.error for one in first.tries[0]] == [
        "nobody listens there; is the receiver running, and is the port right?"
    ]
    assert 0 not in second.tries
    monkeypatch.setenv("DEAD", f"webhook+{hook.url}/was-dead")
    clock.forward(seconds=5)
    tick(project, clock=clock)
    assert [one.facts["kind"] for one in hook.got if one.path == "/was-dead"] == ["opened", "acknowledged"]


def child(project: Path, before: str = "") -> subprocess.Popen[str]:
    """The server's delivering child, as the server starts it; `before` runs in it first."""
    code = f"import sys\n{before}\nfrom middlewatch.alerts.child import main\nsys.exit(main([{str(project)!r}]))"
    environment = {**os.environ, "PYTHONPATH": SRC}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def test_a_kill_between_send_and_record_sends_again_under_the_same_key(tmp_path: Path, hook: Receiver) -> None:
    project = make_site(tmp_path)
    assert ended(child(tmp_path)) == 0
    open_incident(project, datetime.now(UTC))
    victim = child(tmp_path)
    hook.before = lambda got: os.kill(victim.pid, signal.SIGKILL)
    assert ended(victim) == -signal.SIGKILL
    hook.before = None
    assert Outbox(tmp_path).waiting()[0].tries == {}
    assert ended(child(tmp_path)) == 0
    assert ended(child(tmp_path)) == 0
    first, second = hook.got
    assert first.facts == second.facts
    assert first.facts["dedup_key"].endswith("/delay/1")
    assert first.headers["Middlewatch-Delivery"] == second.headers["Middlewatch-Delivery"]


KILLED = """
import os, signal
writes, put = [0], os.link
def link(*args, **more):
    writes[0] += 1
    if writes[0] == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(*args, **more)
os.link = link
"""


@pytest.mark.parametrize("incidents", [1, 6])
def test_a_kill_at_any_write_loses_nothing(tmp_path: Path, hook: Receiver, incidents: int) -> None:
    """Every write of a queue and of a store is one link: the child dies at its first, at its second, and so on."""
    at, finished = 0, False
    while not finished:
        at += 1
        hook.got.clear()
        root = tmp_path / str(at)
        project = make_site(root)
        tick(project, clock=lambda: datetime.now(UTC) - timedelta(minutes=1))
        for n in range(incidents):
            open_incident(project, datetime.now(UTC), key=str(n), columns=[f"c{n}"])
        finished = ended(child(root, KILLED.format(at=at))) == 0
        tick(project, clock=lambda: datetime.now(UTC))
        tick(project, clock=lambda: datetime.now(UTC) + timedelta(seconds=30))
        assert len({one.facts["id"] for one in hook.got}) == 1
        assert 1 <= len(hook.got) <= 2, "once, or twice where it was killed right behind the send"
        assert Outbox(root).waiting() == []
        told = project.store.list("_alerts/told/delay/")
        assert sum(key.endswith("done.json") for key in told) == incidents
    assert at > 5


def test_two_machines_tell_once_and_a_lost_one_is_replaced(tmp_path: Path, hook: Receiver, clock: Clock) -> None:
    shared = str(tmp_path / "store")
    one, two = make_site(tmp_path / "a", store=shared), make_site(tmp_path / "b", store=shared)
    begun(one, clock)
    hook.answers = [500]
    open_incident(one, clock())
    tick(one, clock=clock)
    tick(two, clock=clock)
    assert len(hook.got) == 1, "the first has it, though it has not got through yet"
    clock.forward(minutes=61)
    tick(two, clock=clock)
    assert len(hook.got) == 2, "the first was never heard of again"
    assert hook.got[0].facts["dedup_key"] == hook.got[1].facts["dedup_key"]
    clock.forward(hours=3)
    tick(two, clock=clock)
    assert len(hook.got) == 2


def test_a_full_queue_takes_no_more_and_loses_nothing(
    tmp_path: Path, hook: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = begun(make_site(tmp_path), clock)
    monkeypatch.setattr(outbox, "MOST", 2)
    hook.answers = [500]
    for n in range(2):
        open_incident(project, clock(), key=str(n), columns=[f"c{n}"])
        tick(project, clock=clock)
    open_incident(project, clock(), key="third", columns=["c3"])
    tick(project, clock=clock)
    assert len(Outbox(tmp_path).waiting()) == 2
    clock.forward(hours=1)
    tick(project, clock=clock)
    tick(project, clock=clock)
    assert {one.facts["incident"]["n"] for one in hook.got} == {1, 2, 3}

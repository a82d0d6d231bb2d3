"""Incidents: events in, one state out; opened once however many try; nothing is edited."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from middlewatch.errors import NotFound, UsageError
from middlewatch.incidents import Incident, Incidents, fold
from middlewatch.store import Store
from middlewatch.times import iso

NOW = datetime(2013, 7, 9, 2, 0, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "title": "distance moved",
    "since": "2013-07-08T04:00:00Z",
    "until": "2013-07-09T04:00:00Z",
    "severity": "page",
    "columns": ["distance", "mw.score"],
    "channels": ["shape"],
    "top": [{"column": "distance", "channel": "shape", "score": 1.7}],
    "peak": 1.7,
    "before": 0.21,
    "after": 0.34,
    "rows": 930,
    "windows": 1,
}


@pytest.fixture
def incidents(tmp_path: Path) -> Incidents:
    store = Store.open("store", base=tmp_path)
    store.probe()
    return Incidents(store, "delay")


def opened(incidents: Incidents, key: str = "2013-07-08") -> Incident:
    return incidents.open(key=key, at=NOW, actor="monitor", facts=FACTS)


def test_opening_twice_under_one_key_is_one_incident(incidents: Incidents) -> None:
    first = opened(incidents)
    assert (first.n, first.state, first.active, first.columns) == (1, "open", True, ("distance", "mw.score"))
    assert opened(incidents) == first
    assert opened(incidents, key="2013-08-01").n == 2
    assert [one.n for one in incidents.all()] == [1, 2]


def test_many_who_open_at_once_agree(incidents: Incidents) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(opened(incidents).n)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [1] * 8
    assert len(incidents.all()) == 1


def test_a_life_from_open_to_resolved(incidents: Incidents) -> None:
    opened(incidents)
    later = NOW + timedelta(hours=3)
    assert incidents.add(1, "ack", at=later, actor="ann").state == "acknowledged"
    updated = incidents.add(1, "update", at=later, actor="monitor", peak=2.5, rows=1900)
    assert (updated.state, updated.peak, updated.rows) == ("acknowledged", 2.5, 1900)
    silent = incidents.add(1, "silence", at=later, actor="ann", until="2013-07-20T00:00:00Z")
    assert (silent.state, silent.silent_until) == ("silenced", "2013-07-20T00:00:00Z")
    done = incidents.add(1, "resolve", at=later, actor="ann", cause="came in km", confirmed=True)
    assert (done.state, done.active, done.cause, done.confirmed) == ("resolved", False, "came in km", True)
    assert [one.kind for one in done.events] == ["open", "ack", "update", "silence", "resolve"]
    assert incidents.active() == []
    # What comes after the end changes no state: a late acknowledgement does not open it again.
    assert incidents.add(1, "ack", at=later, actor="bob").state == "resolved"


def test_the_cause_may_be_told_after_it_closed_by_itself(incidents: Incidents) -> None:
    opened(incidents)
    incidents.add(1, "resolve", at=NOW, actor="monitor")
    assert incidents.get(1).cause == ""
    told = incidents.add(1, "resolve", at=NOW, actor="ann", cause="a storm", confirmed=False)
    assert (told.cause, told.confirmed) == ("a storm", False)


def test_marks_are_kept_until_taken_back(incidents: Incidents) -> None:
    opened(incidents)
    span = {"since": "2013-07-08T04:00:00Z", "until": "2013-07-09T04:00:00Z"}
    incidents.add(1, "mark_bad", at=NOW, actor="ann", **span, where="carrier = 'UA'")
    incidents.add(1, "mark_bad", at=NOW, actor="ann", **span)
    assert [(iso(one.since), one.where, one.incident) for one in incidents.marks()] == [
        ("2013-07-08T04:00:00Z", "carrier = 'UA'", 1),
        ("2013-07-08T04:00:00Z", "", 1),
    ]
    incidents.add(1, "unmark_bad", at=NOW, actor="ann")
    assert incidents.marks() == []


def test_what_cannot_be_done_says_why(incidents: Incidents) -> None:
    opened(incidents)
    with pytest.raises(NotFound, match="no incident 7"):
        incidents.get(7)
    with pytest.raises(NotFound):
        incidents.add(7, "ack", at=NOW, actor="ann")
    with pytest.raises(UsageError, match="aknowledge"):
        incidents.add(1, "aknowledge", at=NOW, actor="ann")
    with pytest.raises(UsageError, match="since and until"):
        incidents.add(1, "mark_bad", at=NOW, actor="ann", since="2013-07-08T04:00:00Z")


def test_what_was_closed_too_soon_is_opened_again(incidents: Incidents) -> None:
    opened(incidents)
    incidents.add(1, "resolve", at=NOW, actor="ann", cause="a storm", confirmed=True)
    again = incidents.add(1, "reopen", at=NOW, actor="bob")
    assert (again.state, again.active, again.cause, again.confirmed, again.clean) == ("open", True, "", None, 0)
    assert incidents.add(1, "reopen", at=NOW, actor="bob").state == "open"


# What each act makes of each state; what is not here leaves it as it is.
AFTER = {
    **{(state, "ack"): "acknowledged" for state in ("open", "silenced", "acknowledged")},
    **{(state, "silence"): "silenced" for state in ("open", "silenced", "acknowledged")},
    **{(state, "resolve"): "resolved" for state in ("open", "silenced", "acknowledged")},
    ("resolved", "reopen"): "open",
}
ACTS = st.sampled_from(["ack", "silence", "resolve", "reopen", "update", "mark_bad", "unmark_bad"])
SPAN = {"since": "2013-07-08T04:00:00Z", "until": "2013-07-09T04:00:00Z"}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), ACTS), max_size=12))
def test_two_writers_agree_on_a_state_that_follows_from_the_acts(acts: list[tuple[bool, str]]) -> None:
    """Whoever writes, both read the same; the state is that of a machine of four states; nothing is lost."""
    with tempfile.TemporaryDirectory() as folder:
        stores = [Store.open("store", base=Path(folder)) for _ in range(2)]
        stores[0].probe()
        ann, bob = (Incidents(store, "delay") for store in stores)
        opened(ann)
        state, marks = "open", 0
        for at, (first, act) in enumerate(acts):
            facts: dict[str, Any] = SPAN if act == "mark_bad" else {"peak": float(at)} if act == "update" else {}
            seen = (ann if first else bob).add(1, act, at=NOW + timedelta(minutes=at), actor="x", **facts)
            state = AFTER.get((state, act), state)
            marks = marks + 1 if act == "mark_bad" else 0 if act == "unmark_bad" else marks
            assert (seen.state, len(seen.bad)) == (state, marks)
        assert ann.get(1) == bob.get(1)
        assert [one.kind for one in bob.get(1).events] == ["open", *(act for _, act in acts)]
        assert fold(1, "delay", bob.get(1).events) == ann.get(1)


def test_writers_at_the_same_moment_lose_nothing(incidents: Incidents) -> None:
    opened(incidents)
    acts = ["ack", "resolve", "reopen", "silence"] * 6
    threads = [
        threading.Thread(target=incidents.add, args=(1, act), kwargs={"at": NOW, "actor": str(n)})
        for n, act in enumerate(acts)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = incidents.get(1)
    assert sorted(one.kind for one in found.events) == sorted(["open", *acts])
    assert {one.actor for one in found.events} == {"monitor", *(str(n) for n in range(24))}
    assert found == Incidents(incidents.store, "delay").get(1)


def test_it_goes_through_json_whole(incidents: Incidents) -> None:
    opened(incidents)
    incidents.add(1, "mark_bad", at=NOW, actor="ann", since="2013-07-08", until="2013-07-09")
    plain = json.loads(json.dumps(incidents.get(1).to_dict()))
    assert plain["top"] == FACTS["top"]
    assert plain["bad"][0]["incident"] == 1
    assert plain["events"][0]["kind"] == "open"


def test_reading_incidents_and_windows_loads_nothing_heavy() -> None:
    code = (
        "import sys, middlewatch.incidents, middlewatch.windows;"
        "print([one for one in ('polars', 'numpy', 'lightgbm') if one in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": "src"})
    assert shown.stdout.strip() == "[]"

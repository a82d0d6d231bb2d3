"""The journal: one winner per number, what is live as a state machine, and edits that show."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from middlewatch.errors import NotFound, OutOfReach, StoreError, UsageError
from middlewatch.journal import Contested, Entry, Journal
from middlewatch.store import Store

AT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
WHO: dict[str, Any] = {"actor": "ada", "host": "box", "at": AT}


@pytest.fixture(params=["folder", "memory://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open(request.param, base=tmp_path)


@pytest.fixture
def journal(store: Store) -> Journal:
    return Journal(store, "delay")


def do(journal: Journal, action: str, version: str = "", **more: Any) -> Entry:
    """Append one entry to whatever is there."""
    head = journal.head()
    return journal.append(action=action, version=version, expect=head.n if head else 0, **{**WHO, **more})


# -- entries


def test_an_empty_journal(journal: Journal) -> None:
    assert journal.entries() == []
    assert journal.head() is None
    assert journal.next_exists(0) is None
    assert (journal.live(), journal.previous()) == (None, None)
    assert not journal.state().frozen
    assert journal.verify() == []


def test_an_entry_comes_back_as_it_was_written(journal: Journal, store: Store) -> None:
    gate = [{"check": "auc", "ok": True, "champion": None, "challenger": 0.81}]
    first = do(
        journal, "promote", "v1", reason="ä", gate=gate, manifest="ab", data="d1", git="c0ffee", facts={"k": [1]}
    )
    second = do(journal, "promote", "v2")
    assert (first.n, first.at, first.previous, first.prev_sha256) == (1, "2026-11-22T02:00:00Z", "", "")
    assert (second.n, second.previous, len(second.prev_sha256)) == (2, "v1", 64)
    assert Journal(store, "delay").entries() == [first, second]
    assert first.gate == tuple(gate)
    assert json.loads(store.get("delay/journal/00000000000000000001.json"))["schema"] == 1


def test_polling_reads_one_object(journal: Journal, store: Store) -> None:
    server = Journal(store, "delay")
    assert server.next_exists(0) is None
    entry = do(journal, "promote", "v1")
    assert server.next_exists(0) == entry
    assert server.next_exists(1) is None
    assert server.state().live == {"live": "v1"}
    assert Journal(store, "delay").next_exists(0) == entry


class Counting(Store):
    """A store that counts what is asked of the one beneath."""

    def __init__(self, beneath: Store) -> None:
        self.beneath, self.url, self.root = beneath, beneath.url, beneath.root
        self.asked: list[str] = []

    def put_new(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        self.asked.append("put")
        return self.beneath.put_new(key, data, durable=durable)

    def find(self, key: str) -> bytes | None:
        self.asked.append("find")
        return self.beneath.find(key)

    def list(self, prefix: str, *, after: str | None = None) -> Any:
        self.asked.append("list")
        return self.beneath.list(prefix, after=after)

    def folders(self, prefix: str) -> Any:
        raise NotImplementedError

    def exists(self, key: str) -> bool:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError

    def size(self, prefix: str) -> int:
        raise NotImplementedError


def test_what_was_read_once_is_not_read_again(journal: Journal, store: Store) -> None:
    for n in range(20):
        do(journal, "promote", f"v{n}")
    counting = Counting(store)
    reader = Journal(counting, "delay")
    assert reader.live() == "v19"
    assert counting.asked.count("list") == (0 if store.root else 1)
    counting.asked.clear()
    reader.entries()
    reader.next_exists(20)
    reader.next_exists(3)
    assert counting.asked == ["find", "find"]
    counting.asked.clear()
    reader.append(action="note", version="", expect=20, **WHO)
    assert counting.asked == ["find", "put"]


def test_words_that_are_none(journal: Journal) -> None:
    with pytest.raises(UsageError, match="no action") as caught:
        do(journal, "rolback", "v1")
    assert 'did you mean "rollback"' in caught.value.fix
    with pytest.raises(UsageError, match="version"):
        do(journal, "promote", "")
    with pytest.raises(UsageError, match="channel"):
        do(journal, "promote", "v1", channel="../live")
    with pytest.raises(ValueError, match="Out of range"):
        do(journal, "note", facts={"score": float("nan")})
    assert journal.entries() == []


# -- races


def test_the_second_to_decide_on_the_same_head_is_told(store: Store) -> None:
    one, other = Journal(store, "delay"), Journal(store, "delay")
    do(one, "promote", "v1")
    assert other.live() == "v1"
    do(one, "promote", "v2")
    for expect in (1, 0):
        with pytest.raises(Contested) as caught:
            other.append(action="rollback", version="v1", expect=expect, **WHO)
        assert caught.value.n == expect + 1
    assert caught.value.entry.actor == "ada"
    assert other.live() == "v2"
    assert other.append(action="rollback", version="v1", expect=2, **WHO).previous == "v2"


def test_a_head_that_is_no_longer_there(journal: Journal) -> None:
    do(journal, "promote", "v1")
    with pytest.raises(StoreError, match="ends at entry 1, and entry 5"):
        journal.append(action="promote", version="v2", expect=5, **WHO)


def _append_many(root: str, worker: int, wins: int) -> list[int]:
    journal = Journal(Store.open(root, base=Path("/")), "delay")
    won: list[int] = []
    while len(won) < wins:
        head = journal.head()
        try:
            expect = head.n if head else 0
            entry = journal.append(
                action="promote", version=f"v{worker}", actor=str(worker), host="box", at=AT, expect=expect
            )
        except Contested:
            continue
        won.append(entry.n)
    return won


def test_eight_processes_race_and_each_number_has_one_winner(tmp_path: Path) -> None:
    store, wins = Store.open("folder", base=tmp_path), 12
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("spawn")) as pool:
        won = [one.result() for one in [pool.submit(_append_many, store.url, w, wins) for w in range(8)]]
    assert sorted(n for one in won for n in one) == list(range(1, 8 * wins + 1))
    journal = Journal(store, "delay")
    assert journal.verify() == []
    writers = {entry.n: int(entry.actor) for entry in journal.entries()}
    assert writers == {n: worker for worker, one in enumerate(won) for n in one}


def test_threads_share_a_journal(journal: Journal) -> None:
    refused: list[int] = []

    def add() -> None:
        for expect in range(25):
            try:
                journal.append(action="note", version="", expect=expect, **WHO)
            except Contested as error:
                refused.append(error.n)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(journal.entries()) == 25
    assert len(refused) == 75
    assert journal.verify() == []


class Losing(Counting):
    """A store whose put fails after, or before, it has written; `instead` runs in place of the write."""

    def __init__(self, beneath: Store, *, writes: bool, instead: Callable[[], object] = lambda: None) -> None:
        super().__init__(beneath)
        self.writes, self.instead = writes, instead

    def put_new(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        self.instead()
        if self.writes:
            self.beneath.put_new(key, data)
        raise OutOfReach("no answer")


def test_a_write_whose_answer_was_lost_is_recognised(store: Store) -> None:
    entry = Journal(Losing(store, writes=True), "delay").append(action="promote", version="v1", expect=0, **WHO)
    assert Journal(store, "delay").entries() == [entry]


def test_a_write_that_did_not_arrive_is_said(store: Store) -> None:
    with pytest.raises(OutOfReach, match="no answer"):
        Journal(Losing(store, writes=False), "delay").append(action="promote", version="v1", expect=0, **WHO)
    assert Journal(store, "delay").entries() == []


def test_a_lost_write_that_somebody_else_won_is_theirs(store: Store) -> None:
    rival = Journal(store, "delay")
    losing = Losing(store, writes=False, instead=lambda: do(rival, "promote", "v9", actor="eve"))
    with pytest.raises(Contested, match="entry 1") as caught:
        Journal(losing, "delay").append(action="promote", version="v1", expect=0, **WHO)
    assert caught.value.entry.actor == "eve"


# -- what is live


def walk(journal: Journal, *steps: str) -> list[str]:
    """Run steps such as "v1" (promote), "<" (rollback to previous), "<v1" (rollback to v1); what was live."""
    seen: list[str] = []
    for step in steps:
        if step.startswith("<"):
            target = step[1:] or journal.previous()
            assert target is not None, f"nowhere to go back to after {seen}"
            do(journal, "rollback", target)
        else:
            do(journal, "promote", step)
        seen.append(journal.live() or "-")
    return seen


@pytest.mark.parametrize(
    ("steps", "live", "previous"),
    [
        ("v1", "v1", None),
        ("v1 v2 v3 <", "v1 v2 v3 v2", "v1"),
        ("v1 v2 v3 < <", "v1 v2 v3 v2 v1", None),
        ("v1 v2 v3 < v4 < <", "v1 v2 v3 v2 v4 v2 v1", None),
        ("v1 v2 v1 < <", "v1 v2 v1 v2 v1", None),
        ("v1 v2 v2 <", "v1 v2 v2 v1", None),
        ("v1 v2 < v2 <", "v1 v2 v1 v2 v1", None),
        ("v1 v2 v3 <v1", "v1 v2 v3 v1", None),
        ("v1 v2 v3 < <v3 <", "v1 v2 v3 v2 v3 v1", None),
        ("v5 v7 v6 <", "v5 v7 v6 v7", "v5"),
        ("v2 <v1", "v2 v1", None),
    ],
)
def test_rolling_back_walks_the_trail(journal: Journal, steps: str, live: str, previous: str | None) -> None:
    assert walk(journal, *steps.split()) == live.split()
    assert journal.previous() == previous


def test_channels_do_not_touch_each_other(journal: Journal) -> None:
    do(journal, "promote", "v1")
    do(journal, "promote", "v2", channel="staging")
    do(journal, "shadow", "v3", channel="shadow")
    do(journal, "promote", "v4", channel="staging")
    do(journal, "rollback", "v2", channel="staging")
    assert journal.state().live == {"live": "v1", "staging": "v2", "shadow": "v3"}
    assert journal.previous() is None
    assert not journal.state().frozen, "a rollback of staging binds nobody"


def test_a_version_served_elsewhere_is_live_too(journal: Journal) -> None:
    do(journal, "external", "ext-4.2")
    do(journal, "promote", "v1")
    assert journal.previous() == "ext-4.2"


def test_a_retired_version_is_no_place_to_go_back_to(journal: Journal) -> None:
    walk(journal, "v1", "v2", "v1", "v3")
    do(journal, "retire", "v1")
    assert (journal.live(), journal.previous()) == ("v3", "v2")
    do(journal, "retire", "v3")
    assert (journal.live(), journal.previous()) == (None, "v2")
    assert "live" not in journal.state().since
    do(journal, "rollback", "v2")
    assert (journal.live(), journal.previous()) == ("v2", None)


def test_a_rollback_freezes_and_people_may_still_promote(journal: Journal) -> None:
    walk(journal, "v1", "v2")
    assert not journal.state().frozen
    walk(journal, "<")
    assert journal.state().frozen
    walk(journal, "v3")
    assert (journal.live(), journal.state().frozen) == ("v3", True)
    do(journal, "unfreeze")
    assert not journal.state().frozen
    do(journal, "freeze")
    assert journal.state().frozen


def test_since_is_when_what_is_live_became_so(journal: Journal) -> None:
    later = AT + timedelta(hours=1)
    do(journal, "promote", "v1")
    for action in ("promote", "note", "freeze"):
        do(journal, action, "v1", at=later)
    assert journal.state().since == {"live": "2026-11-22T02:00:00Z"}
    do(journal, "promote", "v2", at=later)
    assert journal.state().since == {"live": "2026-11-22T03:00:00Z"}


@dataclass(frozen=True)
class Stay:
    """One stay of a version in the live channel; `before` is the stay it would be rolled back to."""

    version: str
    before: Stay | None


class Releases(RuleBasedStateMachine):
    """Promote, roll back, freeze in any order, against a linked list of stays."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.open("memory://", base=Path())
        self.journal = Journal(self.store, "delay")
        self.stay: Stay | None = None
        self.frozen = False
        self.left: set[str] = set()  # rolled back from and not promoted since

    @rule(version=st.sampled_from(["v1", "v2", "v3", "v4"]))
    def promote(self, version: str) -> None:
        do(self.journal, "promote", version)
        self.left.discard(version)
        if self.stay is None or self.stay.version != version:
            self.stay = Stay(version, self.stay)

    @precondition(lambda self: self.stay is not None and self.stay.before is not None)
    @rule()
    def rollback(self) -> None:
        assert self.stay is not None
        assert self.stay.before is not None
        target = self.journal.previous()
        assert target == self.stay.before.version
        do(self.journal, "rollback", target)
        self.left.add(self.stay.version)
        self.stay, self.frozen = self.stay.before, True
        self.left.discard(self.stay.version)

    @rule(action=st.sampled_from(["freeze", "unfreeze"]))
    def freeze(self, action: str) -> None:
        do(self.journal, action)
        self.frozen = action == "freeze"

    @rule(action=st.sampled_from(["note", "shadow", "promote", "rollback"]))
    def something_else(self, action: str) -> None:
        do(self.journal, action, "v9", channel="staging")

    @rule()
    def read_anew(self) -> None:
        self.journal = Journal(self.store, "delay")

    @invariant()
    def the_journal_agrees(self) -> None:
        state = self.journal.state()
        assert state.live.get("live") == (self.stay.version if self.stay else None)
        before = self.stay.before if self.stay else None
        assert state.previous() == (before.version if before else None)
        assert state.previous() is None or state.previous() != state.live["live"]
        assert state.frozen == self.frozen
        assert state.n == len(self.journal.entries())

    def teardown(self) -> None:
        assert self.journal.verify() == []
        fold = Journal(self.store, "delay").state()
        assert fold == self.journal.state()


Releases.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestReleases = Releases.TestCase


# -- edits


def _edit(store: Store, n: int, change: Callable[[bytes], bytes] | None) -> None:
    key = f"delay/journal/{n:020d}.json"
    data = store.get(key)
    store.delete(key)
    if change is not None:
        store.put_new(key, change(data))


@pytest.mark.parametrize(
    ("n", "change", "checks"),
    [
        (2, lambda data: data.replace(b"v2", b"v7"), ["journal_chain"]),
        (2, lambda data: data + b" ", ["journal_chain"]),
        (2, lambda data: data[:-20], ["journal_entry", "journal_chain"]),
        (2, lambda data: data.replace(b'"n": 2', b'"n": 1'), ["journal_entry", "journal_chain"]),
        (2, lambda data: b"[]", ["journal_entry", "journal_chain"]),
        (2, None, ["journal_gap"]),
        (1, None, ["journal_gap"]),
    ],
)
def test_an_edited_journal_is_noticed(
    journal: Journal, store: Store, n: int, change: Callable[[bytes], bytes] | None, checks: list[str]
) -> None:
    walk(journal, "v1", "v2", "v3", "v4")
    assert journal.verify() == []
    _edit(store, n, change)
    found = journal.verify()
    assert [one.check for one in found] == checks
    assert all(one.severity == "fail" and one.fix for one in found)


def test_the_chain_is_of_one_journal(journal: Journal, store: Store) -> None:
    """An entry that was valid in another journal is not valid here."""
    other = Journal(store, "other")
    for one in (journal, other):
        walk(one, "v1", "v2", "v3")
    theirs = store.get("other/journal/00000000000000000002.json")
    _edit(store, 2, lambda _: theirs)
    assert [(one.check, one.evidence["n"]) for one in journal.verify()] == [("journal_chain", 2), ("journal_chain", 3)]


def test_a_foreign_file_is_a_warning(journal: Journal, store: Store) -> None:
    walk(journal, "v1")
    store.put_new("delay/journal/README.txt", b"hello")
    assert [(one.check, one.severity) for one in journal.verify()] == [("journal_entry", "warn")]
    assert journal.live() == "v1"


def test_an_entry_that_cannot_be_read_is_an_error_with_a_way_out(journal: Journal, store: Store) -> None:
    walk(journal, "v1", "v2")
    _edit(store, 2, lambda data: data[:40])
    with pytest.raises(StoreError, match="cannot be read") as caught:
        Journal(store, "delay").live()
    assert "00002.json" in caught.value.where
    assert caught.value.fix
    assert not isinstance(caught.value, NotFound)


def test_a_newer_writer(journal: Journal, store: Store) -> None:
    """More keys are fine; another meaning is not."""
    walk(journal, "v1")
    _edit(store, 1, lambda data: json.dumps({**json.loads(data), "mood": "fine"}).encode())
    assert Journal(store, "delay").live() == "v1"
    _edit(store, 1, lambda data: json.dumps({**json.loads(data), "schema": 2}).encode())
    with pytest.raises(StoreError, match="newer Middlewatch") as caught:
        Journal(store, "delay").live()
    assert "upgrade" in caught.value.fix

"""Notes: events outside us, in the order of the time that they speak of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from middlewatch import notes
from middlewatch.errors import StoreError, UsageError
from middlewatch.store import Store

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


@pytest.fixture(params=["folder", "memory://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open(request.param, base=tmp_path)


def test_a_note_comes_back(store: Store) -> None:
    at = datetime(2026, 11, 21, 18, 30, tzinfo=timezone(timedelta(hours=1)))
    note = notes.add(store, "  feed moved to Celsius ", source="weather", at=at, now=NOW, actor="ada")
    assert notes.all(store) == [note]
    assert (note.text, note.at, note.noted) == ("feed moved to Celsius", "2026-11-21T17:30:00Z", "2026-11-22T02:00:00Z")
    assert note.to_dict()["source"] == "weather"


def test_a_stretch_of_time_has_its_first_moment_and_not_its_last(store: Store) -> None:
    moments = [NOW + timedelta(hours=12 * n, microseconds=n) for n in range(-3, 4)]
    for at in reversed(moments):
        notes.add(store, str(moments.index(at)), at=at, now=NOW)
    assert [one.text for one in notes.all(store)] == list("0123456")
    for first in range(7):
        for last in range(first, 7):
            got = [one.text for one in notes.all(store, since=moments[first], until=moments[last])]
            assert got == [str(n) for n in range(first, last)], (first, last)
    assert [one.text for one in notes.all(store, since=moments[5])] == ["5", "6"]
    assert [one.text for one in notes.all(store, until=moments[2])] == ["0", "1"]


def test_two_notes_of_one_moment(store: Store) -> None:
    for text in ("one", "two"):
        notes.add(store, text, at=NOW, now=NOW)
    assert sorted(one.text for one in notes.all(store, since=NOW)) == ["one", "two"]
    assert notes.all(store, until=NOW) == []


@pytest.mark.parametrize("text", ["", "  \n", "x" * 4001])
def test_a_note_says_something(store: Store, text: str) -> None:
    with pytest.raises(UsageError, match="1 to 4000 characters"):
        notes.add(store, text, at=NOW, now=NOW)
    assert notes.all(store) == []


def test_an_edited_note(store: Store) -> None:
    store.put_new("_notes/2026-11-22/T020000.000000Z-0.json", b"{}")
    with pytest.raises(StoreError, match="cannot be read") as caught:
        notes.all(store)
    assert "2026-11-22" in caught.value.where

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from middlewatch.errors import NotFound, StoreError
from middlewatch.store import Store
from middlewatch.versions import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(Store.open("store", base=tmp_path), "delay/models", "v")


def test_a_version_is_there_once_its_manifest_is(shelf: Shelf) -> None:
    version = shelf.claim({})
    line = shelf.put(version, "model.txt", b"trees")
    assert shelf.names() == []
    with pytest.raises(NotFound):
        shelf.manifest(version)
    shelf.seal(version, {"files": [line]})
    assert shelf.names() == ["v1"]
    assert shelf.file("v1", "model.txt") == b"trees"
    assert shelf.manifest("V01")["version"] == "v1"


def test_an_abandoned_number_is_never_used_again(shelf: Shelf) -> None:
    assert shelf.claim({}) == "v1"
    assert shelf.claim({}) == "v2"
    shelf.seal("v2", {"files": []})
    assert shelf.names() == ["v2"]
    assert shelf.claim({}) == "v3"


def test_nothing_is_written_twice(shelf: Shelf) -> None:
    version = shelf.claim({})
    shelf.put(version, "a", b"1")
    with pytest.raises(StoreError):
        shelf.put(version, "a", b"2")
    shelf.seal(version, {"files": []})
    with pytest.raises(StoreError):
        shelf.seal(version, {"files": []})


def test_a_changed_file_is_noticed(shelf: Shelf, tmp_path: Path) -> None:
    version = shelf.claim({})
    shelf.seal(version, {"files": [shelf.put(version, "model.txt", b"trees")]})
    next((tmp_path / "store").rglob("model.txt")).write_bytes(b"other")
    with pytest.raises(StoreError, match="not what was stored"):
        shelf.file(version, "model.txt")


@pytest.mark.parametrize("name", ["d1", "v", "1", "../v1", "v1/../v2", ""])
def test_a_name_that_is_none_is_refused(shelf: Shelf, name: str) -> None:
    ask: Callable[[str], object] = shelf.manifest
    with pytest.raises(NotFound):
        ask(name)


def test_numbers_pass_four_digits(shelf: Shelf) -> None:
    assert shelf.path("v12345") == "delay/models/v12345"

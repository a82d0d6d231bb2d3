"""The store: one winner per name, nothing torn, and errors that say what to do."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from middlewatch.errors import ConfigError, NotFound, OutOfReach, StoreError, UsageError
from middlewatch.journal import Journal
from middlewatch.store import LAYOUT, Store


@pytest.fixture(params=["folder", "memory://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open(request.param, base=tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return Store.open("folder", base=tmp_path)


# -- what a store does, on a folder and through obstore alike


def test_an_object_is_written_once(store: Store) -> None:
    assert store.put_new("delay/data/d0001/claim.json", b"first")
    assert not store.put_new("delay/data/d0001/claim.json", b"second")
    assert store.get("delay/data/d0001/claim.json") == b"first"
    assert store.exists("delay/data/d0001/claim.json")


def test_what_is_not_there(store: Store) -> None:
    assert store.find("a/b") is None
    assert not store.exists("a/b")
    assert store.list("a") == store.folders("a") == []
    assert store.size("a") == 0
    with pytest.raises(NotFound, match="no a/b"):
        store.get("a/b")
    with pytest.raises(NotFound):
        store.get_many(["a/b", "a/c"])


def test_listing_is_by_whole_parts_and_sorted(store: Store) -> None:
    keys = [
        "a/x/2",
        "a/x/10",
        "a/y",
        "ab/z",
        "log/dt=2026-11-22/s-1.parquet",
        "slots/2026-11-22T02:00Z/attempt-0001.json",
    ]
    for key in keys:
        assert store.put_new(key, key.encode(), durable=False)
    assert store.list("") == sorted(keys)
    assert store.list("a") == store.list("a/") == ["a/x/10", "a/x/2", "a/y"]
    assert store.list("a/y") == []
    assert store.folders("") == ["a", "ab", "log", "slots"]
    assert store.folders("a") == ["x"]
    assert store.size("a") == len("a/x/2a/x/10a/y")
    assert store.get_many(["a/y", "a/x/2"]) == [b"a/y", b"a/x/2"]


def test_listing_after_a_key_agrees_with_cutting_the_full_list(store: Store) -> None:
    """Whatever the cut: between folders, inside one, on a name that is a prefix of another."""
    draw = random.Random(7)
    keys = {
        "/".join(draw.choice(["a", "a-b", "a.b", "aa", "b"]) for _ in range(draw.randint(1, 3))) + ".x"
        for _ in range(60)
    }
    for key in keys:
        store.put_new(key, b"", durable=False)
    for cut in [*sorted(keys), "a", "a/", "a-b/a", "a.", "zz"]:
        assert store.list("", after=cut) == [key for key in sorted(keys) if key > cut], cut


def test_deleting_leaves_no_empty_folders_and_may_be_repeated(store: Store) -> None:
    store.put_new("log/dt=1/a", b"1")
    store.put_new("log/dt=2/a", b"1")
    store.delete("log/dt=1/a")
    store.delete("log/dt=1/a")
    assert store.folders("log") == ["dt=2"]
    store.delete("log/dt=2/a")
    assert store.folders("") == []
    assert store.put_new("log/dt=1/a", b"2")
    if store.root:
        assert sorted(one.name for one in (store.root / "log").iterdir()) == ["dt=1"]


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a/.tmp", "a b", "ä", "a\n", "-a", "a" * 201]
)
def test_keys_that_cannot_be(store: Store, key: str) -> None:
    for call in (store.get, store.exists, store.delete, lambda one: store.put_new(one, b"")):
        with pytest.raises(UsageError, match="cannot be a name"):
            call(key)


def test_probe_describes_the_store_once(store: Store) -> None:
    store.probe()
    store.probe()
    assert json.loads(store.get("_store.json")) == {"layout": LAYOUT, "create_only": True}
    store.mark()
    assert store.list("") == ["_store.json"]


@pytest.mark.parametrize(
    ("marker", "said"),
    [(b'{"layout": 99}', "layout 99"), (b"torn", "cannot be read"), (b"[]", "cannot be read")],
)
def test_a_newer_or_foreign_layout_is_refused(store: Store, marker: bytes, said: str) -> None:
    store.put_new("_store.json", marker)
    with pytest.raises(StoreError, match=said) as caught:
        store.probe()
    assert caught.value.fix


def test_an_older_layout_is_marked_when_it_is_first_written_anew(store: Store) -> None:
    store.put_new("_store.json", b'{"layout": 1, "create_only": true}')
    store.probe()
    assert store.list("") == ["_store.json"]  # who only reads changes nothing
    store.mark()
    store.mark()
    assert store.list("_layouts") == [f"_layouts/{one:04d}.json" for one in range(2, LAYOUT + 1)]
    store.probe()
    store.put_new(f"_layouts/{LAYOUT + 1:04d}.json", b"{}")
    with pytest.raises(StoreError, match=f"layout {LAYOUT + 1}, this Middlewatch knows up to {LAYOUT}") as caught:
        store.probe()
    assert caught.value.fix == "pip install --upgrade middlewatch"


# -- races and kills


def _claim(root: str, worker: int, names: int) -> list[int]:
    store = Store.open(root, base=Path("/"))
    draw = random.Random(worker // 2)  # pairs of workers in the same order, for more collisions
    order = draw.sample(range(names), names)
    return [
        n
        for n in order
        if store.put_new(f"m/models/v{n:04d}/claim.json", f"{worker}".encode() * 1000, durable=n % 10 == 0)
    ]


def test_eight_processes_race_and_each_name_has_one_winner(folder: Store) -> None:
    names = 300
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("spawn")) as pool:
        won = [one.result() for one in [pool.submit(_claim, folder.url, worker, names) for worker in range(8)]]
    assert sorted(n for one in won for n in one) == list(range(names))
    for worker, numbers in enumerate(won):
        for n in numbers:
            assert folder.get(f"m/models/v{n:04d}/claim.json") == f"{worker}".encode() * 1000
    assert folder.root is not None
    assert list((folder.root / ".tmp").iterdir()) == []


def test_threads_race_on_a_bucket(tmp_path: Path) -> None:
    store = Store.open("memory://", base=tmp_path)
    won: list[int] = []
    threads = [
        threading.Thread(target=lambda: won.extend(n for n in range(100) if store.put_new(f"n/{n}", b"")))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(won) == list(range(100))


_WRITER = """
import hashlib, os, sys
from pathlib import Path
from middlewatch.journal import Journal
from middlewatch.store import Store
store, run = Store.open(sys.argv[1], base=Path("/")), sys.argv[2]
print("ready", flush=True)
n = 0
while True:
    body = os.urandom(1 + (n * 700_001) % 3_000_000)
    key = f"run{run}/part{n % 3}/o{n}"
    store.put_new(key, hashlib.sha256(body).digest() + body, durable=n % 2 == 0)
    print(key, flush=True)
    n += 1
"""


def test_kill_in_mid_put_leaves_whole_objects_or_none(folder: Store) -> None:
    """Every object seen after a kill -9 is whole, and none is missing whose put had returned."""
    draw = random.Random(1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    kept = left = 0
    for run in range(15):
        command = [sys.executable, "-c", _WRITER, folder.url, str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0.0, 0.06))
            writer.send_signal(signal.SIGKILL)
            returned = writer.stdout.read().splitlines()
        keys = folder.list(f"run{run}")
        for key in keys:
            data = folder.get(key)
            assert data[:32] == hashlib.sha256(data[32:]).digest(), key
        assert set(returned) <= set(keys)
        assert len(keys) <= len(returned) + 1
        kept += len(keys)
    assert folder.root is not None
    left = len(list((folder.root / ".tmp").iterdir()))
    assert kept > 0
    assert left > 0, "no kill hit a put: the test proves nothing"


def test_what_a_kill_left_is_swept_after_a_day(folder: Store, tmp_path: Path) -> None:
    folder.put_new("a", b"1")
    assert folder.root is not None
    old, new = folder.root / ".tmp/old", folder.root / ".tmp/new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    again = Store.open("folder", base=tmp_path)
    assert (old.exists(), new.exists()) == (False, True)
    assert again.list("") == ["a"]


# -- durability: what is on disk when the put returns


def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_return(
    folder: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put_new("first", b"")  # makes the root
    done: list[str] = []
    force, link = os.fsync, os.link

    def noting_fsync(handle: int) -> None:
        done.append(os.path.relpath(os.readlink(f"/proc/self/fd/{handle}"), folder.url).split("/")[0])
        force(handle)

    def noting_link(source: str, target: str) -> None:
        link(source, target)
        done.append("link")

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "link", noting_link)
    assert folder.put_new("m/journal/1", b"entry")
    assert done == [".tmp", "link", "m", "m", "."]
    done.clear()
    assert folder.put_new("m/journal/2", b"entry", durable=False)
    assert done == ["link"]


# -- when it cannot be done


def test_opening_creates_nothing(tmp_path: Path) -> None:
    Store.open("folder", base=tmp_path).list("")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_a_store(tmp_path: Path) -> None:
    with pytest.raises(OutOfReach, match="does not exist") as caught:
        Store.open("mnt/disk/store", base=tmp_path)
    assert "mkdir -p" in caught.value.fix
    (tmp_path / "file").write_text("")
    with pytest.raises(OutOfReach, match="a file, not a folder"):
        Store.open("file", base=tmp_path)


def test_a_folder_that_vanishes_is_out_of_reach_and_not_empty(folder: Store, tmp_path: Path) -> None:
    folder.probe()
    (tmp_path / "folder").rename(tmp_path / "elsewhere")
    for miss in (lambda: folder.find("a"), lambda: folder.exists("a"), lambda: folder.list("a")):
        with pytest.raises(OutOfReach, match="the store is gone"):
            miss()
    (tmp_path / "elsewhere").rename(tmp_path / "folder")
    assert folder.find("a") is None


def test_the_folder_above_is_never_made(folder: Store, tmp_path: Path) -> None:
    tmp_path.rename(tmp_path.with_name("moved"))
    with pytest.raises(OutOfReach, match="cannot write a"):
        folder.put_new("a", b"1")
    assert not tmp_path.exists()
    tmp_path.with_name("moved").rename(tmp_path)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "may not"),
        (errno.EROFS, "read-only"),
        (errno.EIO, ""),
    ],
)
def test_a_disk_that_refuses(folder: Store, monkeypatch: pytest.MonkeyPatch, code: int, why: str) -> None:
    def refuse(handle: int, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    folder.put_new("before", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(OutOfReach, match="cannot write a/b") as caught:
            folder.put_new("a/b", b"1")
    assert why in caught.value.why
    assert folder.list("") == ["before"]
    assert folder.root is not None
    assert list((folder.root / ".tmp").iterdir()) == []


def test_a_write_cut_short_by_the_system_leaves_nothing(folder: Store) -> None:
    """A real refusal in the middle of the bytes, by the limit on file sizes."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(OutOfReach, match="cannot write big"):
            folder.put_new("big", b"x" * 300_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert folder.list("") == []
    assert folder.put_new("big", b"x" * 300_000)


def test_a_folder_without_permission(folder: Store, tmp_path: Path) -> None:
    folder.put_new("a/b", b"1")
    me = os.geteuid()
    (tmp_path / "folder").chmod(0)
    if me == 0:
        os.seteuid(65534)  # nobody: root may do everything
    try:
        for call in (folder.find, folder.exists, folder.list, lambda key: folder.put_new(key, b"")):
            with pytest.raises(OutOfReach) as caught:
                call("a")
            assert "read and write access" in caught.value.fix
    finally:
        os.seteuid(me)
        (tmp_path / "folder").chmod(0o700)
    assert folder.list("") == ["a/b"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3n://bucket/prefix", 'did you mean "s3"'),
        ("s3://key:secret@bucket/prefix", "credentials"),
        ("az://account/container?sig=abc", "credentials"),
        ("file://elsewhere/store", "another machine"),
    ],
)
def test_urls_that_are_refused(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Store.open(url, base=tmp_path)
    assert "secret" not in str(caught.value)


def test_file_urls_and_absolute_folders(tmp_path: Path) -> None:
    Store.open(f"file://{tmp_path}/a%20b", base=Path("/")).put_new("k", b"1")
    assert Store.open(str(tmp_path / "a b"), base=Path("/nowhere")).get("k") == b"1"


def test_a_local_store_imports_no_obstore(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from middlewatch import config, journal, notes, store; "
        f"s = store.Store.open('s', base=Path({str(tmp_path)!r})); s.probe(); notes.all(s); "
        "journal.Journal(s, 'm').state(); "
        "print([one for one in ('obstore', 'polars', 'numpy', 'tomlkit') if one in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"


# -- a bucket that answers over HTTP as S3 does


class _S3(http.server.BaseHTTPRequestHandler):
    """PUT, GET, HEAD and DeleteObjects of S3, with the ways in which real ones go wrong."""

    objects: dict[str, bytes]
    ignores_header = False
    conflicts = 0  # so many first puts answer 409, as when another writer is under way
    deaf = 0  # so many first puts are done and answered 500

    def _answer(self, code: int, body: bytes = b"") -> None:
        self.send_response(code)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Sun, 22 Nov 2026 02:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = type(self)
        if kind.conflicts:
            kind.conflicts -= 1
            self._answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
        elif self.headers.get("If-None-Match") == "*" and self.path in self.objects and not self.ignores_header:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        else:
            self.objects[self.path] = body
            kind.deaf, code = max(0, kind.deaf - 1), 500 if kind.deaf else 200
            self._answer(code)

    def do_GET(self) -> None:
        if self.path in self.objects:
            self._answer(200, self.objects[self.path])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_HEAD = do_GET

    def do_POST(self) -> None:  # DeleteObjects
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        for key in re.findall("<Key>(.*?)</Key>", asked):
            self.objects.pop(f"/bucket/{key}", None)
        self._answer(200, b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>')

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_S3]]:
    kind = type("_OneS3", (_S3,), {"objects": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        yield kind
        server.shutdown()


def test_s3_create_only(s3: type[_S3], tmp_path: Path) -> None:
    store = Store.open("s3://bucket/some/prefix", base=tmp_path)
    store.probe()
    assert store.put_new("a", b"1")
    assert not store.put_new("a", b"2")
    assert (store.get("a"), store.find("b"), store.exists("b")) == (b"1", None, False)
    assert sorted(s3.objects) == ["/bucket/some/prefix/_store.json", "/bucket/some/prefix/a"]


def test_s3_that_ignores_the_header_is_refused(s3: type[_S3], tmp_path: Path) -> None:
    s3.ignores_header = True
    store = Store.open("s3://bucket/p", base=tmp_path)
    with pytest.raises(StoreError, match="does not honour create-only"):
        store.probe()
    with pytest.raises(StoreError, match="does not honour create-only"):
        store.probe()  # a failed probe leaves nothing that says otherwise


def test_s3_conflict_is_try_again(s3: type[_S3], tmp_path: Path) -> None:
    s3.conflicts = 2
    assert Store.open("s3://bucket/p", base=tmp_path).put_new("a", b"1")
    assert s3.objects["/bucket/p/a"] == b"1"


def test_s3_a_write_whose_answer_was_lost_is_recognised(s3: type[_S3], tmp_path: Path) -> None:
    """The repeated put meets its own object and hears that the name is taken: the id tells whose it is."""
    s3.deaf = 1
    journal = Journal(Store.open("s3://bucket/p", base=tmp_path), "m")
    at = datetime(2026, 11, 22, tzinfo=UTC)
    entry = journal.append(action="note", version="", actor="a", host="h", at=at, expect=0)
    assert s3.deaf == 0
    assert json.loads(s3.objects["/bucket/p/m/journal/00000000000000000001.json"])["id"] == entry.id


def test_s3_a_large_object_is_one_create_only_put(s3: type[_S3], tmp_path: Path) -> None:
    """obstore would upload more than 5 MB in parts, which overwrites."""
    store = Store.open("s3://bucket/p", base=tmp_path)
    assert store.put_new("big", b"a" * 6_000_000)
    assert not store.put_new("big", b"b" * 6_000_000)
    assert store.get("big") == b"a" * 6_000_000


def test_s3_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    with pytest.raises(OutOfReach, match="cannot read a") as caught:
        Store.open("s3://bucket/p", base=tmp_path).find("a")
    assert "hidden" not in str(caught.value)
    assert "network" in caught.value.fix

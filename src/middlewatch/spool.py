"""The local end of the log: records that are safe against kill -9 once `append` has returned.

A **segment** is one file that one process writes: frames of `[length u32][crc32 u32][payload]`, little endian.
The first frame is the `Head`, which makes the file readable by itself; each other is one record, msgpack. A
segment holds one model version and one day (UTC) of received times. Its life:

    .new-...                            created, locked
    <stream>@<server>@<number>.open     being written; its writer holds flock(2), so a dead writer can be told
    <stream>@<server>@<number>.done     closed by size, age, day or release; never written again
    (gone)                              its rows are in the store (predictions.convert)

A record is appended by ONE write(2) before the caller is answered: a kill leaves whole records, and at most
one torn tail that nobody was told about. A write that fails or comes out short is undone and reported.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import threading
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from .errors import OutOfReach, StoreError

__all__ = [
    "Head",
    "Name",
    "NewerSegment",
    "Segment",
    "Spool",
    "adopt",
    "framed",
    "read_new",
    "read_segment",
    "segments",
    "total_bytes",
]

FORMAT = 1
_FRAME = struct.Struct("<II")
_DAY = 86_400_000_000  # microseconds
_LARGEST = 64 << 20
_FILE = re.compile(r"([a-z]+)@([a-z0-9-]+)@(\d+)\.(open|done)")
_ENCODER = msgspec.msgpack.Encoder()


class NewerSegment(StoreError):
    """A newer Middlewatch wrote this segment: it is left for that one to read."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader must know of a segment: `columns` are (name, kind, private or "") of the bodies' values."""

    model: str
    version: str
    server: str
    zone: str
    columns: tuple[tuple[str, str, str], ...]
    stream: str = "log"
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Name:
    """A segment's file: `path`, and the parts of its name. `ident` names its rows for ever."""

    path: Path
    stream: str
    server: str
    number: int
    open: bool

    @property
    def ident(self) -> str:
        return f"{self.server}-{self.number:06d}"


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as read: payloads of its whole records, `torn` bytes after the last, `damaged` frames within."""

    head: Head
    payloads: list[bytes]
    torn: int
    damaged: int


def framed(payload: bytes | bytearray) -> bytes:
    """One frame around a payload."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


class Spool:
    """One process's end of one stream of one model. Safe to share between threads.

    `server` names the process (host and boot, `a-z0-9-`) and must never come again. A segment is closed at
    `max_bytes` or `max_age` seconds after its first record. `durable` is for callers who `sync` before they
    answer: then a segment is forced to disk when it is closed, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        server: str,
        stream: str = "log",
        max_bytes: int = 32 << 20,
        max_age: float = 900,
        durable: bool = False,
    ) -> None:
        self.folder = folder
        self.server = server
        self.stream = stream
        self.bytes = 0
        self.records = 0
        self._durable = durable
        self._max_bytes = max_bytes
        self._max_age = int(max_age * 1_000_000)
        self._lock = threading.Lock()
        self._fd = -1
        self._path = Path()
        self._number = 0
        self._size = 0
        self._opened = 0
        self._day = -1
        self._head: Head | None = None
        self._lost: OSError | None = None
        self._refused = ""

    def append(self, head: Head, frames: bytes | bytearray, *, received: int, records: int = 1) -> None:
        """Write whole frames (see `framed`), all or none. `received` is now, in microseconds since 1970.

        Once this returns, they survive a kill of the process. Raises OutOfReach where they could not be written:
        then none of them is in the log.
        """
        with self._lock:
            if (
                head is not self._head
                or received // _DAY != self._day
                or self._size > self._max_bytes
                or received - self._opened > self._max_age
            ):
                self._rotate(head, received)
            if self._size == 0:
                frames = framed(_ENCODER.encode(head)) + frames
            try:
                written = os.write(self._fd, frames)
            except OSError as error:
                raise self._failed(error) from error
            if written != len(frames):
                self._undo()
                raise self._failed(None)
            self._refused = ""
            self._size += written
            self.bytes += written
            self.records += records

    def tick(self, now: int) -> None:
        """Close a segment that is old enough although nothing came; `now` in microseconds. Call it now and then."""
        with self._lock:
            if self._fd < 0:
                return
            if self._gone() or now - self._opened > self._max_age or now // _DAY != self._day:
                self._close()

    def _gone(self) -> bool:
        """True where somebody removed or moved the folder under us: what we write is not where readers look."""
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except OSError:  # it is not there, or cannot be looked at
            return True

    def sync(self) -> None:
        """Force what was appended to disk: then it survives a loss of power, too. Never call it on an event loop."""
        with self._lock:
            if self._lost is not None:
                # Which records the disk lost cannot be told: none is confirmed until the process starts anew.
                raise self._failed(self._lost)
            if self._fd < 0:
                return  # closed since, and forced then
            fd = os.dup(self._fd)
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise self._failed(error) from error
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the open segment; another append would begin a new one."""
        with self._lock:
            self._close()

    def _rotate(self, head: Head, received: int) -> None:
        self._close()
        self._number += 1
        name = f"{self.stream}@{self.server}@{self._number:06d}.open"
        hidden = self.folder / f".new-{name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Locked before it has its name: whoever finds an unlocked segment knows that its writer is gone.
            fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.rename(hidden, self.folder / name)
                if self._durable:
                    _force(self.folder)
            except OSError:
                os.close(fd)
                raise
        except OSError as error:
            raise self._failed(error) from error
        self._fd, self._path, self._size = fd, self.folder / name, 0
        self._opened, self._day, self._head = received, received // _DAY, head

    def _close(self) -> None:
        if self._fd < 0:
            return
        if self._durable:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self._lost = error
        with suppress(OSError):  # the folder may be gone: the lock's end tells the same
            if self._size:
                os.rename(self._path, self._path.with_suffix(".done"))
            else:
                os.unlink(self._path)
        os.close(self._fd)
        self._fd, self._head = -1, None

    def _undo(self) -> None:
        """Take back a half-written record, or give up the segment: it then ends with a torn tail."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._close()

    def trouble(self) -> str:
        """Why nothing could be written the last time, if it still cannot; "" where all is well.

        After a failure a small file is tried, so that a probe sees the mending although no request comes.
        """
        if not self._refused:
            return ""
        tried = self.folder / f"{self.stream}@{self.server}.try"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tried.write_bytes(b"x" * 4096)
            tried.unlink()
        except OSError as error:
            return error.strerror or self._refused
        self._refused = ""
        return ""

    def _failed(self, error: OSError | None) -> OutOfReach:
        why = error.strerror if error and error.strerror else "the disk took only a part of a record"
        self._refused = why
        return OutOfReach(
            "the prediction log cannot be written",
            where=str(self.folder),
            why=why,
            fix="free disk space or mend its rights: nothing is answered that is not logged",
        )


def _force(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def segments(folder: Path, stream: str = "log") -> list[Name]:
    """Segments of a stream that lie in a spool folder, by writer and number; none where there is no folder."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            match = _FILE.fullmatch(entry.name)
            if match and match[1] == stream:
                found.append(Name(Path(entry.path), match[1], match[2], int(match[3]), match[4] == "open"))
    return sorted(found, key=lambda one: (one.server, one.number))


def adopt(name: Name) -> Name | None:
    """A closed segment as it is; an open one whose writer is gone, closed in its name; None while it is written."""
    if not name.open:
        return name
    try:
        fd = os.open(name.path, os.O_RDONLY)
    except FileNotFoundError:
        return None  # closed by its writer since it was listed
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        closed = name.path.with_suffix(".done")
        os.rename(name.path, closed)
    except (BlockingIOError, FileNotFoundError):
        return None
    finally:
        os.close(fd)
    return Name(closed, name.stream, name.server, name.number, open=False)


def read_segment(name: Name) -> Segment | None:
    """Every whole record of a segment; None where it is gone or holds no head yet.

    Raises NewerSegment, and StoreError where the head is damaged.
    """
    data = b""
    for path in (name.path, name.path.with_suffix(".done")):
        with suppress(FileNotFoundError):
            data = path.read_bytes()
            break
    payloads, torn, damaged = _unframed(data)
    if not payloads:
        return None
    return Segment(_head(payloads[0], name.path), payloads[1:], torn, damaged)


def read_new(name: Name, at: int, head: Head | None = None) -> tuple[Head | None, list[bytes], int]:
    """Whole records of a segment from byte `at` on: its head (as given, or read where `at` is 0), their payloads, and
    the byte to go on from. Nothing where it is gone. Raises as `read_segment`.
    """
    data = b""
    for path in (name.path, name.path.with_suffix(".done")):
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(at)
            data = file.read()
            break
    payloads, torn, _ = _unframed(data)
    if payloads and head is None:
        head, payloads = _head(payloads[0], name.path), payloads[1:]
    return head, payloads, at + len(data) - torn


def _head(payload: bytes, path: Path) -> Head:
    try:
        facts: Any = msgspec.msgpack.decode(payload)
        if facts["format"] > FORMAT:
            raise NewerSegment(
                f"a newer Middlewatch wrote this log segment (format {facts['format']})",
                where=str(path),
                fix="pip install --upgrade middlewatch",
            )
        return msgspec.convert(facts, Head)
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise StoreError("the head of a log segment cannot be read", where=str(path), why=str(error)) from error


def _unframed(data: bytes) -> tuple[list[bytes], int, int]:
    """Whole payloads, bytes of the torn tail, frames whose content is damaged though the next ones are whole."""
    payloads: list[bytes] = []
    at, end, damaged = 0, len(data), 0
    pending = 0  # damaged frames since the last whole one: only a whole one after them shows where frames begin
    whole_until = 0
    while at + _FRAME.size <= end:
        length, crc = _FRAME.unpack_from(data, at)
        stop = at + _FRAME.size + length
        if not 0 < length <= _LARGEST or stop > end:
            break
        payload = data[at + _FRAME.size : stop]
        at = stop
        if zlib.crc32(payload) != crc:
            pending += 1
            continue
        payloads.append(payload)
        damaged, pending, whole_until = damaged + pending, 0, at
    return payloads, end - whole_until, damaged


def total_bytes(names: Iterable[Name]) -> int:
    """Bytes that segments take on disk."""
    total = 0
    for name in names:
        with suppress(FileNotFoundError):
            total += name.path.stat().st_size
    return total

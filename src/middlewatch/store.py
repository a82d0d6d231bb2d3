"""One folder or one bucket in which every object is written once and never changed.

The single primitive is the **create-only put**: of any number of writers of one name exactly one wins, on
a local folder by `link(2)`, on a bucket by `If-None-Match: *`. Nothing is ever overwritten, so a reader can
cache what it has read, and a kill at any moment leaves either the whole object or none.

A local put, in order: the bytes go to a new file under `<root>/.tmp`, are forced to disk, the file is linked
to its final name, the temporary name is removed, and the folders up to the root are forced to disk. The name
appears in one step and only over finished bytes; what a kill leaves under `.tmp` is swept a day later.

Keys look like `delay/models/v0042/manifest.json`: parts of `A-Z a-z 0-9 _ . = : + @ -` that begin with
neither a dot nor a hyphen. A file with any other name in the folder is not ours and is not seen.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError, NotFound, OutOfReach, StoreError, UsageError, nearest

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["LAYOUT", "Store"]

LAYOUT = 2
"""The layout this version writes. Older ones are read for ever, newer ones are refused.

1   as it began
2   a day's Profile in a window is packed smaller (its format 2)
"""

_MARKER = "_store.json"
_LAYOUTS = "_layouts"
_TEMP = ".tmp"
_STALE_SECONDS = 86_400
_KEY = re.compile(r"(?:[A-Za-z0-9_=:+@][A-Za-z0-9_.=:+@-]{0,199}/)*[A-Za-z0-9_=:+@][A-Za-z0-9_.=:+@-]{0,199}")
_PART = re.compile(r"[A-Za-z0-9_=:+@][A-Za-z0-9_.=:+@-]{0,199}")
_SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "memory", "file")

Names = list[str]  # inside the classes `list` is a method
Blobs = list[bytes]


class Store(ABC):
    """A place for objects. `url` names it without secrets; `root` is its folder, None for a bucket.

    Every method raises OutOfReach when the place does not answer, is full or may not be written, and
    UsageError for a key it cannot hold. Safe to share between threads.
    """

    url: str
    root: Path | None
    # The newest layout that the store is known to be marked with; a store that was not probed is new.
    _laid_out = LAYOUT

    @staticmethod
    def open(url: str, *, base: Path) -> Store:
        """The store at `url`: a folder (relative to `base`), `file://`, `s3://`, `gs://`, `az://`, `memory://`.

        Creates nothing. Each `memory://` is a new, empty store, for tests. Raises ConfigError for a URL of no
        known kind and OutOfReach for a folder that cannot be one.
        """
        scheme, colon, rest = url.partition("://")
        if not colon:
            return _Folder(base / Path(url).expanduser())
        if scheme == "file":
            from urllib.parse import unquote, urlsplit

            parts = urlsplit(url)
            if parts.netloc not in ("", "localhost"):
                raise ConfigError(f'"{url}" names another machine', fix="write file:///path/to/the/store")
            return _Folder(Path(unquote(parts.path)))
        if scheme not in _SCHEMES:
            raise ConfigError(f'"{scheme}://" is no kind of store: {nearest(scheme, _SCHEMES)}', where="[store] url")
        if "@" in rest.partition("/")[0] or "?" in rest:
            # az://container@account is written az://account/container; anything else before @ is a secret.
            raise ConfigError(
                "the store's URL holds credentials or options",
                where="[store] url",
                fix="leave them out: they are read from the environment (AWS_..., GOOGLE_..., AZURE_...)",
            )
        return _Bucket(url)

    def probe(self) -> None:
        """Make sure that this is a store which we can use; on first use, try that create-only holds.

        Raises StoreError where a second put of one name succeeds, or where a newer Middlewatch laid it out.
        """
        found = self.find(_MARKER)
        if found is None:
            self._try_create_only()
            marker = {"layout": LAYOUT, "create_only": True}
            self.put_new(_MARKER, json.dumps(marker).encode() + b"\n")
            found = self.get(_MARKER)
        try:
            layout = json.loads(found)["layout"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                "the store's own description cannot be read",
                where=f"{self.url}/{_MARKER}",
                why="it is not what Middlewatch writes",
                fix="point [store] url at a folder of its own, or restore that file from a backup",
            ) from error
        if isinstance(layout, int) and layout <= LAYOUT and self.exists(_layout_key(LAYOUT + 1)):
            layout = LAYOUT + 1
        if not isinstance(layout, int) or layout > LAYOUT:
            raise StoreError(
                f"the store has layout {layout}, this Middlewatch knows up to {LAYOUT}",
                where=self.url,
                why="a newer Middlewatch has written here",
                fix="pip install --upgrade middlewatch",
            )
        self._laid_out = layout

    def mark(self) -> None:
        """Say that this layout is written from now on; before the first object that an older version cannot read.

        What is there stays as it is: `_store.json` names the layout that a store began with, `_layouts/0002.json` and
        so on each one it was taken to since. An older Middlewatch that looks there stops instead of misreading.
        """
        for layout in range(self._laid_out + 1, LAYOUT + 1):
            self.put_new(_layout_key(layout), json.dumps({"layout": layout}).encode() + b"\n")
        self._laid_out = LAYOUT

    def _try_create_only(self) -> None:
        key = f"_probe/{os.urandom(8).hex()}"
        self.put_new(key, b"first")
        second = self.put_new(key, b"second")
        kept = self.find(key)
        with suppress(OutOfReach):  # a store may rightly forbid deleting: then these few bytes stay
            self.delete(key)
        if second or kept != b"first":
            raise StoreError(
                "the store does not honour create-only writes",
                where=self.url,
                why="two writers of one name would both believe that they had won",
                fix="use a folder, or a bucket that supports If-None-Match: * (S3, GCS, Azure, MinIO)",
            )

    @abstractmethod
    def put_new(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """Write an object whose name is free; False, and nothing changed, where the name is taken.

        On a local folder True means that the object survives a power failure, unless `durable` is False
        (which saves about a millisecond; a kill of the process is survived in any case).
        """

    def get(self, key: str) -> bytes:
        """The bytes of an object. Raises NotFound where there is none."""
        data = self.find(key)
        if data is None:
            raise NotFound(f"there is no {key} in the store", where=self.url)
        return data

    def get_many(self, keys: Sequence[str]) -> Blobs:
        """The bytes of several objects, in the order of `keys`. Raises NotFound where one is missing."""
        return [self.get(key) for key in keys]

    @abstractmethod
    def find(self, key: str) -> bytes | None:
        """The bytes of an object, None where there is none: one read."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is an object of this name, without reading it."""

    @abstractmethod
    def list(self, prefix: str, *, after: str | None = None) -> Names:
        """Keys of all objects below the folder `prefix` ("" is everything), sorted, those after key `after`.

        Costs a walk of the folder or one request per 1,000 objects: not for hot paths.
        """

    @abstractmethod
    def folders(self, prefix: str) -> Names:
        """Names, sorted, of the folders one level below `prefix` that hold an object."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object, for retention only. One that is already gone is fine."""

    @abstractmethod
    def size(self, prefix: str) -> int:
        """Bytes of all objects below the folder `prefix`."""


def _layout_key(layout: int) -> str:
    return f"{_LAYOUTS}/{layout:04d}.json"


def _checked(key: str) -> str:
    if _KEY.fullmatch(key) is None or len(key) > 900:
        raise UsageError(
            f'"{key[:80]}" cannot be a name in the store',
            fix="use letters, digits and _ . = : + @ -, at most 200 between slashes, not first . or -",
        )
    return key


def _checked_prefix(prefix: str) -> str:
    folder = prefix.rstrip("/")
    return _checked(folder) if folder else ""


class _Folder(Store):
    """A local folder, written by standard calls alone: opening it imports nothing."""

    root: Path

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))
        self.url = str(self.root)
        self._path = f"{self.root}/"
        self._seen = False  # whether the marker was there once: a later miss may be a lost mount
        if self.root.exists() and not self.root.is_dir():
            raise OutOfReach("the store's place is a file, not a folder", where=self.url, fix="change [store] url")
        if not self.root.parent.is_dir():
            raise OutOfReach(
                "the folder that should hold the store does not exist",
                where=str(self.root.parent),
                why="it was never made, or its disk is not mounted",
                fix=f"mount it, or: mkdir -p {self.root.parent}",
            )
        self._sweep()

    def probe(self) -> None:
        super().probe()
        self._seen = True

    def put_new(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        target = self._path + _checked(key)
        with self._reach(f"write {key}"):
            if os.path.lexists(target):
                return False
            temp = self._write_temp(data, durable)
            try:
                won = self._link(temp, target)
            finally:
                os.unlink(temp)
            if durable:
                self._settle(os.path.dirname(target))
        return won

    def find(self, key: str) -> bytes | None:
        path = self._path + _checked(key)
        with self._reach(f"read {key}"):
            try:
                with open(path, "rb", buffering=0) as file:
                    return file.readall()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._still_there()
                return None

    def exists(self, key: str) -> bool:
        path = self._path + _checked(key)
        with self._reach(f"look for {key}"):
            try:
                return stat.S_ISREG(os.stat(path).st_mode)
            except (FileNotFoundError, NotADirectoryError):
                self._still_there()
                return False

    def list(self, prefix: str, *, after: str | None = None) -> Names:
        folder = _checked_prefix(prefix)
        with self._reach(f"list {folder or 'everything'}"):
            keys = [key for key, _ in self._walk(folder, after or "")]
        if not keys:
            self._still_there()
        return sorted(keys)

    def folders(self, prefix: str) -> Names:
        folder = _checked_prefix(prefix)
        with self._reach(f"list {folder or 'everything'}"):
            below = [entry.name for entry in self._entries(folder) if entry.is_dir()]
            lead = f"{folder}/" if folder else ""
            return sorted(name for name in below if next(self._walk(lead + name, ""), None) is not None)

    def delete(self, key: str) -> None:
        path = self._path + _checked(key)
        with self._reach(f"delete {key}"):
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                return
        folder = os.path.dirname(path)
        while len(folder) >= len(self._path):  # emptied folders go too, never the root
            try:
                os.rmdir(folder)
            except OSError:
                return
            folder = os.path.dirname(folder)

    def size(self, prefix: str) -> int:
        folder = _checked_prefix(prefix)
        with self._reach(f"measure {folder or 'everything'}"):
            return sum(_size(entry) for _, entry in self._walk(folder, ""))

    def _write_temp(self, data: bytes, durable: bool) -> str:
        """A finished file under a name that nobody lists; gone again where writing fails."""
        temp = f"{self._path}{_TEMP}/{os.urandom(12).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            file = os.open(temp, flags, 0o666)
        except FileNotFoundError:
            self._make_root()
            file = os.open(temp, flags, 0o666)
        try:
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
                if durable:
                    os.fsync(file)
            finally:
                os.close(file)
        except BaseException:
            os.unlink(temp)
            raise
        return temp

    def _link(self, temp: str, target: str) -> bool:
        for _ in range(20):
            try:
                os.link(temp, target)
                return True
            except FileExistsError:
                # A network disk may repeat a link whose answer was lost: two names mean that it is ours.
                return os.stat(temp).st_nlink == 2
            except FileNotFoundError:
                # No folder yet, or a delete elsewhere has just removed the emptied one.
                os.makedirs(os.path.dirname(target), exist_ok=True)
        raise OutOfReach("the store's folders vanish while they are written", where=target)

    def _make_root(self) -> None:
        """The root, never its parents: they would be made under a mount point whose disk is missing."""
        for path in (self.url, self._path + _TEMP):
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            _force_folder(os.path.dirname(path))

    def _settle(self, folder: str) -> None:
        """Force the new name to disk, with the folders above it: another writer may just have made them."""
        while len(folder) >= len(self.url):
            _force_folder(folder)
            folder = os.path.dirname(folder)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._path + folder) as entries:
                yield from (entry for entry in entries if _PART.fullmatch(entry.name))
        except (FileNotFoundError, NotADirectoryError):
            return

    def _walk(self, folder: str, after: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """(key, entry) of every object below a folder with key > after, in no order."""
        lead = f"{folder}/" if folder else ""
        for entry in self._entries(folder):
            key = lead + entry.name
            if entry.is_dir():
                # Every key in there begins with "key/": skip the whole folder where all of them sort before.
                if f"{key}/" > after or after.startswith(f"{key}/"):
                    yield from self._walk(key, after)
            elif key > after:
                yield key, entry

    def _still_there(self) -> None:
        """A miss counts only while the store is in its place: an unmounted disk looks like an empty one."""
        if self._seen and not os.path.exists(self._path + _MARKER):
            raise OutOfReach(
                "the store is gone",
                where=self.url,
                why=f"{_MARKER} was there before and is not now: deleted, or the disk was unmounted",
                fix="mount it again, or restore it from a backup",
            )

    def _sweep(self) -> None:
        """Remove what kills have left under .tmp more than a day ago."""
        limit = time.time() - _STALE_SECONDS
        try:
            with os.scandir(self._path + _TEMP) as entries:
                for entry in entries:
                    if entry.stat(follow_symlinks=False).st_mtime < limit:
                        os.unlink(entry.path)
        except OSError:
            return  # none yet, not ours to delete, or somebody else was quicker: none of it matters here

    @contextmanager
    def _reach(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why, fix = _EXPLAINED.get(error.errno or 0, (error.strerror or str(error), ""))
            raise OutOfReach(f"cannot {doing}", where=self.url, why=why, fix=fix) from error


_FULL = (
    "the disk is full",
    "free some space (mw doctor shows what takes it), or lower [store] keep_log_days",
)
_DENIED = ("this user may not do that there", "give the user that runs Middlewatch read and write access")
_NO_LINK = (
    "the file system has no hard links, or the store spans two of them",
    "keep the store on one local disk",
)
_EXPLAINED = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("the disk quota is used up", _FULL[1]),
    errno.EACCES: _DENIED,
    errno.EROFS: ("the disk is mounted read-only", "mount it read-write, or choose another [store] url"),
    errno.EPERM: _NO_LINK,
    errno.EXDEV: _NO_LINK,
    errno.EOPNOTSUPP: _NO_LINK,
    errno.ENOENT: ("the folder does not exist", "mount its disk, or make the folder above it"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "keep other files out of the store"),
    errno.ESTALE: ("the network disk has lost track of it", "mount it again"),
}


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0  # deleted since it was listed


def _force_folder(folder: str) -> None:
    handle = os.open(folder or "/", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise  # the two mean that this file system cannot: the link itself is all there is
    finally:
        os.close(handle)


class _Bucket(Store):
    """A bucket through obstore, which is imported here and not before: a folder needs none of it."""

    root: None

    def __init__(self, url: str) -> None:
        from obstore.exceptions import BaseError
        from obstore.store import MemoryStore, from_url

        self.root = None
        self.url = url.rstrip("/")
        if url.startswith("memory:"):
            self._bucket: ObjectStore = MemoryStore()
            return
        # Plain http is for a MinIO on the own network; our options would hide the variable that allows it.
        plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1")
        try:
            self._bucket = from_url(
                url,
                client_options={"connect_timeout": "5s", "timeout": "300s", "allow_http": plain},
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=60)},
            )
        except (BaseError, ValueError) as error:
            raise ConfigError(
                "the store's URL cannot be used",
                where="[store] url",
                why=_first_line(error),
                fix="write s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix",
            ) from error

    def put_new(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        _checked(key)
        for attempt in range(6):
            with self._reach(f"write {key}"):
                try:
                    # One request: a multipart upload would not be create-only.
                    obstore.put(self._bucket, key, data, mode="create", use_multipart=False)
                    return True
                except (AlreadyExistsError, PreconditionError):
                    pass
            # 412 is "taken". 409 is "somebody is writing it now", who may still fail: look, and try again.
            if self.exists(key):
                return False
            time.sleep(0.05 * 2**attempt)
        raise OutOfReach(f"cannot write {key}", where=self.url, why="the store keeps answering 409, try again later")

    def find(self, key: str) -> bytes | None:
        import obstore

        _checked(key)
        with self._reach(f"read {key}"):
            try:
                return bytes(obstore.get(self._bucket, key).bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def get_many(self, keys: Sequence[str]) -> Blobs:
        if len(keys) < 2:
            return super().get_many(keys)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=16) as pool:  # waits for the network, not for the processor
            return list(pool.map(self.get, keys))

    def exists(self, key: str) -> bool:
        import obstore

        _checked(key)
        with self._reach(f"look for {key}"):
            try:
                obstore.head(self._bucket, key)
            except FileNotFoundError:
                return False
            return True

    def list(self, prefix: str, *, after: str | None = None) -> Names:
        return sorted(key for key, _ in self._listed(prefix, after) if key > (after or ""))

    def folders(self, prefix: str) -> Names:
        import obstore

        folder = _checked_prefix(prefix)
        with self._reach(f"list {folder or 'everything'}"):
            found = obstore.list_with_delimiter(self._bucket, folder or None)
        names = (path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"])
        return sorted(name for name in names if _PART.fullmatch(name))

    def delete(self, key: str) -> None:
        import obstore

        _checked(key)
        with self._reach(f"delete {key}"):
            try:
                obstore.delete(self._bucket, key)
            except FileNotFoundError:
                return

    def size(self, prefix: str) -> int:
        return sum(size for _, size in self._listed(prefix, None))

    def _listed(self, prefix: str, after: str | None) -> Iterator[tuple[str, int]]:
        import obstore

        folder = _checked_prefix(prefix)
        with self._reach(f"list {folder or 'everything'}"):
            metas = obstore.list(self._bucket, folder or None, offset=after).collect()
        lead = f"{folder}/" if folder else ""
        for meta in metas:
            if meta["path"].startswith(lead) and _KEY.fullmatch(meta["path"]):
                yield meta["path"], meta["size"]

    @contextmanager
    def _reach(self, doing: str) -> Iterator[None]:
        from obstore.exceptions import (
            BaseError,
            NotSupportedError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            fix = "check the credentials in the environment and the bucket's policy (get, put, list, delete)"
            raise OutOfReach(f"cannot {doing}", where=self.url, why=_first_line(error), fix=fix) from error
        except NotSupportedError as error:
            raise StoreError(f"cannot {doing}", where=self.url, why=_first_line(error)) from error
        except FileNotFoundError as error:
            fix = "create the bucket, or correct [store] url"
            raise OutOfReach(f"cannot {doing}", where=self.url, why="there is no such bucket", fix=fix) from error
        except (BaseError, OSError) as error:
            fix = "check the network, [store] url and the credentials in the environment"
            raise OutOfReach(f"cannot {doing}", where=self.url, why=_first_line(error), fix=fix) from error


def _first_line(error: BaseException) -> str:
    """The first line of an error of obstore: what follows is the Rust value, for its authors."""
    return str(error).partition("\n")[0]

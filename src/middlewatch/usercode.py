"""A project's own code: `train.py` and the files beside it, pinned with the version that they made.

    load() -> table                       features(table) -> table
    train(table, target, seed) -> model   score(model, table, target) -> dict

Every one is optional, and nothing of ours is imported. `load` runs where it lies. The others run from a copy of
the pinned files, in training as in serving, so that a lookup that was forgotten in `files` is missed at training
time and not at 2am. `features` sees no target, keeps rows and their order, and looks at one row at a time.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from .errors import ConfigError, NotFound, UsageError, nearest

__all__ = ["NAMES", "PINNED", "UserCode", "call_at"]

NAMES = ("load", "features", "train", "score")
LARGEST = 64 << 20
PINNED = "middlewatch-code-"
"""How the folder's name begins from which pinned code runs."""


@dataclass(frozen=True, slots=True)
class UserCode:
    """Files by their path below the project, `entry` the one with the functions."""

    entry: str
    files: Mapping[str, bytes]

    @staticmethod
    def of(root: Path, entry: str, more: Sequence[str], *, where: str) -> UserCode:
        """What lies in the project now. Raises ConfigError for what is missing, too large or outside of it."""
        found: dict[str, bytes] = {}
        for name in (entry, *more):
            path = (root / name).resolve()
            if not path.is_relative_to(root.resolve()):
                raise ConfigError(f"{name} lies outside of the project", where=where, fix="copy it into the project")
            if not path.is_file():
                raise ConfigError(f"there is no file {name}", where=where, fix="paths are relative to middlewatch.toml")
            if path.stat().st_size > LARGEST:
                raise ConfigError(f"{name} is larger than {LARGEST >> 20} MB", where=where, fix="pin a smaller lookup")
            found[PurePosixPath(path.relative_to(root.resolve())).as_posix()] = path.read_bytes()
        return UserCode(next(iter(found)), found)

    @property
    def sha256(self) -> str:
        """Of names and contents."""
        total = hashlib.sha256(self.entry.encode())
        for name in sorted(self.files):
            total.update(f"\n{name} {hashlib.sha256(self.files[name]).hexdigest()}".encode())
        return total.hexdigest()

    def function(self, name: str) -> Callable[..., Any] | None:
        """One of NAMES as the pinned code has it, None where it has none. Raises UsageError where it does not load."""
        return _function(self.module(), name, self.entry)

    def module(self) -> ModuleType:
        """The pinned code, loaded once a process under a name of its own, so that versions do not meet."""
        return _loaded(self.entry, tuple(sorted(self.files.items())), self.sha256)


def call_at(root: Path, reference: str) -> Any:
    """Call the function that `train.py:load` names, where it lies. Raises ConfigError, NotFound, UsageError."""
    entry, _, name = reference.partition(":")
    path = root / entry
    if not path.is_file():
        raise NotFound(f"there is no file {entry}", where=str(root), fix='source = "train.py:load"')
    module = _imported(f"middlewatch_source_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}", path, root)
    wanted = _function(module, name or "load", entry)
    if wanted is None:
        names = [one for one in vars(module) if callable(getattr(module, one)) and not one.startswith("_")]
        raise NotFound(f'{entry} has no function "{name or "load"}"', fix=nearest(name, names))
    try:
        return wanted()
    except Exception as error:
        raise _failed(entry, name or "load", error) from error


def _failed(entry: str, name: str, error: Exception) -> UsageError:
    return UsageError(
        f"{name}() of {entry} fails", why=f"{type(error).__name__}: {error}", fix="--debug shows the traceback"
    )


def _function(module: ModuleType, name: str, entry: str) -> Callable[..., Any] | None:
    found = getattr(module, name, None)
    if found is not None and not callable(found):
        raise UsageError(f"{name} in {entry} is not a function", fix=f"def {name}(...): ...")
    return found


@cache
def _loaded(entry: str, files: tuple[tuple[str, bytes], ...], sha256: str) -> ModuleType:
    folder = Path(tempfile.mkdtemp(prefix=PINNED))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, data in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return _imported(f"middlewatch_code_{sha256[:16]}", folder / entry, folder)


def _imported(name: str, path: Path, folder: Path) -> ModuleType:
    """Run a file as a module; modules beside it can be imported by it, and are no one else's afterwards."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path.name} is not a Python file", fix="name it train.py")
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    sys.modules[name] = module  # by its name, models that hold its classes are loaded again
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(
            f"{path.name} cannot be loaded",
            why=f"{type(error).__name__}: {error}",
            fix='modules and lookups that it needs: files = ["..."] beside train',
        ) from error
    finally:
        sys.path.remove(str(path.parent))
        for other in set(sys.modules) - before - {name}:
            if str(getattr(sys.modules[other], "__file__", "") or "").startswith(str(folder)):
                del sys.modules[other]
    return module

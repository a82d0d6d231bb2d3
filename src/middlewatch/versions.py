"""Numbered things in the store: a name is claimed first, its manifest is written last.

    <folder>/v0042/claim.json      create-only: whoever writes it owns the number; gaps are allowed
    <folder>/v0042/...             files
    <folder>/v0042/manifest.json   no manifest, no version

So a kill between any two writes leaves at most a number nobody will use, never half a version.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import NotFound, StoreError, nearest
from .store import Store

_NAME = re.compile(r"([a-z])0*(\d+)")


@dataclass(frozen=True, slots=True)
class Shelf:
    """One kind of numbered thing of one model: `Shelf(store, "delay/models", "v")` holds v1, v2, ..."""

    store: Store
    folder: str
    letter: str

    def path(self, version: str) -> str:
        """`v42` -> `delay/models/v0042`. Raises NotFound for a name that is not of this shelf."""
        match = _NAME.fullmatch(version.strip().lower())
        if match is None or match[1] != self.letter:
            raise NotFound(
                f'"{version}" is not a version name',
                fix=f"write it like {self.letter}7; middlewatch versions lists them",
            )
        return f"{self.folder}/{self.letter}{int(match[2]):04d}"

    def claim(self, about: Mapping[str, Any]) -> str:
        """Take the next number; racing claimants each get their own."""
        taken = self.store.folders(self.folder)
        number = max((int(name[1:]) for name in taken if _NAME.fullmatch(name)), default=0) + 1
        body = json.dumps(dict(about)).encode()
        while not self.store.put_new(f"{self.folder}/{self.letter}{number:04d}/claim.json", body):
            number += 1
        return f"{self.letter}{number}"

    def put(self, version: str, name: str, data: bytes) -> dict[str, Any]:
        """Write one file of a claimed version; its line for the manifest: name, sha256, size."""
        if not self.store.put_new(f"{self.path(version)}/{name}", data):
            raise StoreError(
                f"{version} already holds {name}", where=self.path(version), why="versions are written once"
            )
        return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}

    def seal(self, version: str, manifest: Mapping[str, Any]) -> None:
        """Make the version visible: from here on it exists, whole."""
        body = json.dumps({"schema": 1, "version": version, **manifest}, indent=1, allow_nan=False).encode()
        if not self.store.put_new(f"{self.path(version)}/manifest.json", body):
            raise StoreError(f"{version} is already sealed", where=self.path(version), why="versions are written once")

    def names(self) -> list[str]:
        """Sealed versions, oldest first."""
        numbers = sorted(int(name[1:]) for name in self.store.folders(self.folder) if _NAME.fullmatch(name))
        return [
            f"{self.letter}{number}"
            for number in numbers
            if self.store.exists(f"{self.folder}/{self.letter}{number:04d}/manifest.json")
        ]

    def manifest(self, version: str) -> dict[str, Any]:
        """The manifest of a sealed version. Raises NotFound, naming the nearest."""
        body = self.store.find(f"{self.path(version)}/manifest.json")
        if body is None:
            raise NotFound(f"there is no {version} in {self.folder}", fix=nearest(version, self.names()))
        facts: dict[str, Any] = json.loads(body)
        return facts

    def sha256(self, version: str) -> str:
        """Hash of the manifest, and through the hashes in it of all the version is."""
        return hashlib.sha256(self.store.get(f"{self.path(version)}/manifest.json")).hexdigest()

    def file(self, version: str, name: str) -> bytes:
        """One file of a version, checked against the manifest's sha256. Raises StoreError where they differ."""
        listed = {one["name"]: one for one in self.manifest(version)["files"]}
        if name not in listed:
            raise NotFound(f"{version} holds no {name}", fix=nearest(name, listed))
        data = self.store.get(f"{self.path(version)}/{name}")
        if hashlib.sha256(data).hexdigest() != listed[name]["sha256"]:
            raise StoreError(
                f"{name} of {version} is not what was stored",
                where=self.path(version),
                why="its sha256 differs from the manifest",
                fix="restore the store from a backup; another version can be promoted meanwhile",
            )
        return data

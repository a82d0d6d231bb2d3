"""API keys: who may ask, kept as hashes.

The variable that `[serve] keys` names holds them, separated by commas: `SHA256`, `NAME:SHA256` or
`NAME:SHA256:SCOPES`, where SCOPES is `predict+read+admin` or some of them (default: predict+read). A caller
shows its key as `Authorization: Bearer KEY`, as `X-API-Key: KEY`, or as the password of a browser's login.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from ipaddress import ip_address

from ..errors import ConfigError, nearest

__all__ = ["SCOPES", "Key", "Keys", "is_loopback", "presented"]

SCOPES = ("predict", "read", "admin")
_DEFAULT = frozenset({"predict", "read"})
_HASH = re.compile(r"[0-9a-f]{64}")
MAKE_ONE = (
    'python -c "import hashlib, secrets; key = secrets.token_urlsafe(32); '
    "print('key ', key); print('hash', hashlib.sha256(key.encode()).hexdigest())\""
)


@dataclass(frozen=True, slots=True)
class Key:
    """Who holds a key and what it opens; `name` is the caller in the log, "" where none was given."""

    name: str
    sha256: bytes
    scopes: frozenset[str]


class Keys:
    """The keys of a server."""

    def __init__(self, keys: tuple[Key, ...] = ()) -> None:
        self._keys = keys

    def __bool__(self) -> bool:
        return bool(self._keys)

    @staticmethod
    def parse(text: str, *, where: str) -> Keys:
        """Read the variable's text. Raises ConfigError, which never shows what stands there."""
        found = []
        for number, part in enumerate(one.strip() for one in text.split(",") if one.strip()):
            fields = part.split(":")
            name, digest, scopes = "", fields[0], ""
            if len(fields) > 1:
                name, digest = fields[0], fields[1]
            if len(fields) == 3:
                scopes = fields[2]
            if len(fields) > 3 or _HASH.fullmatch(digest.lower()) is None:
                raise ConfigError(
                    f"key {number + 1} is not written as NAME:SHA256 or NAME:SHA256:SCOPES",
                    where=where,
                    why="only the SHA-256 of a key is kept, 64 hexadecimal digits",
                    fix=f"make a key and its hash: {MAKE_ONE}",
                )
            opened = frozenset(scopes.split("+")) if scopes else _DEFAULT
            for unknown in opened - set(SCOPES):
                raise ConfigError(
                    f'key {number + 1} has an unknown scope "{unknown}"', where=where, fix=nearest(unknown, SCOPES)
                )
            found.append(Key(name[:64], bytes.fromhex(digest), opened))
        return Keys(tuple(found))

    def find(self, key: str) -> Key | None:
        """The entry of a key that was shown."""
        digest = hashlib.sha256(key.encode()).digest()
        match = None
        for one in self._keys:  # all of them, so that the time taken does not tell which
            if hmac.compare_digest(one.sha256, digest):
                match = one
        return match


def presented(authorization: bytes, api_key: bytes) -> str:
    """The key that the headers show, "" where there is none."""
    if api_key:
        return api_key.decode("latin-1").strip()
    scheme, _, value = authorization.decode("latin-1").strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def is_loopback(host: str) -> bool:
    """True for the names and addresses that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

"""Signed bodies: a receiver of our webhook can tell that a message is ours, whole and fresh.

    Middlewatch-Signature: t=1764000000,v1=<hex>

`v1` is HMAC-SHA256, keyed with the shared secret, over the decimal timestamp, a dot and the body's bytes. Two
secrets with a comma between them give two `v1`, so that a secret is changed without a gap. Nothing here is our own
invention: RFC 2104 with the timestamp inside what is signed, so that a message cannot be sent again later.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

__all__ = ["HEADER", "TOLERANCE", "sign", "verify"]

HEADER = "Middlewatch-Signature"
TOLERANCE = 300
"""Seconds that a message may be old, or a clock be wrong."""


def sign(body: bytes, secret: str, *, now: datetime) -> str:
    """The header's value for a body. Raises ValueError without a secret."""
    keys = [one.strip() for one in secret.split(",") if one.strip()]
    if not keys:
        raise ValueError("there is no secret to sign with")
    moment = str(int(now.timestamp()))
    return ",".join([f"t={moment}", *(f"v1={_mac(body, key, moment)}" for key in keys)])


def verify(body: bytes, header: str, secret: str, *, now: datetime | None = None, tolerance: int = TOLERANCE) -> bool:
    """Whether a body came from who knows `secret`, at most `tolerance` seconds ago. Never raises for what came in."""
    parts = [one.partition("=") for one in header.split(",")]
    moments = [value for name, _, value in parts if name.strip() == "t"]
    given = [value for name, _, value in parts if name.strip() == "v1"]
    if len(moments) != 1 or not moments[0].isascii() or not moments[0].isdigit() or len(moments[0]) > 12:
        return False
    if abs((now or datetime.now(UTC)).timestamp() - int(moments[0])) > tolerance:
        return False
    keys = [one.strip() for one in secret.split(",") if one.strip()]
    # All of them are compared: how long it takes must not tell which one was near.
    matches = [
        hmac.compare_digest(_mac(body, key, moments[0]).encode(), one.encode()) for key in keys for one in given[:8]
    ]
    return any(matches)


def _mac(body: bytes, key: str, moment: str) -> str:
    return hmac.new(key.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()

"""Nothing that we print, keep or send may hold an address with its token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

LONGEST = 300
# Shorter parts of an address are words such as "hook" or "v1", which an answer may well hold by itself.
_SHORTEST = 6
_MASK = "***"


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` on one line of at most 300 characters, without any of `secrets` or of their parts.

    Parts are what stands between the punctuation of an address, as written and unquoted: a token in a path, a user,
    a password. The host goes too: it may be the secret (a tunnel's name), and the route's own name says enough.
    """
    parts: set[str] = set()
    for secret in secrets:
        for form in (secret, unquote(secret)):
            whole = form.strip()
            parts |= {whole} if whole else set()
            parts |= {one for one in re.split(r"[/:@?&=#,;\s]+", whole) if len(one) >= _SHORTEST}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, _MASK)
    # What looks like an address though it is none of ours: a redirect's target, a proxy with its password.
    text = re.sub(r"[a-z][a-z0-9+.-]*://\S+", _MASK, text, flags=re.IGNORECASE)
    return " ".join(text.split())[:LONGEST]

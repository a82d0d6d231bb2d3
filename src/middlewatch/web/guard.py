"""Who may press a button: the person at this machine (or an admin key), on a page that we served, and on purpose.

Four things are asked of a POST, each against another way in: that the request comes from here (a stranger on the
network), that it was meant for a name of this machine (a foreign name that resolves to it), that the browser says it
came from our own page (a foreign page with a form), and that the form carries what our confirm page wrote into it.
"""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..errors import Refused
from .http import Request


class Forbidden(Refused):
    """The act was not allowed; nothing was done."""

    status = 403


_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def token(secret: bytes, *parts: object) -> str:
    """What a confirm page writes into its form: proves which act, on what, was shown."""
    text = "\n".join(str(one) for one in parts)
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def check_sender(request: Request) -> None:
    """Raises Forbidden unless the sender may act."""
    if "admin" in request.scopes:
        _check_origin(request)
        return
    if not _is_loopback(request.client) or any(name in request.headers for name in _FORWARDED):
        raise Forbidden(
            "buttons work from this server's own machine only",
            where=request.client or "unknown address",
            why="nobody else has shown a key with the admin scope",
            fix="use the command shown beside the button, or a tunnel: ssh -L 8000:localhost:8000 HOST",
        )
    if not _is_local_name(request.headers.get("host", "")):
        raise Forbidden(
            "this address is not a name of this machine",
            where=request.headers.get("host", ""),
            fix="open the page as http://localhost or http://127.0.0.1",
        )
    _check_origin(request)


def check_token(request: Request, expected: str) -> None:
    """Raises Forbidden unless the form is the one that our confirm page showed."""
    if not hmac.compare_digest(request.form.get("token", "").encode(), expected.encode()):
        raise Forbidden(
            "this form is out of date, nothing was done",
            why="the server was started again, or things changed after the form was shown",
            fix="go back, load the page again, and look before you press",
        )


def _check_origin(request: Request) -> None:
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    ours = urlsplit(origin).netloc == request.headers.get("host") if origin is not None else None
    if ours is False or site not in (None, "same-origin") or (ours is None and site is None):
        raise Forbidden(
            "this did not come from a page of this server",
            where=origin or site or "the browser does not say where from",
            fix="open the page itself and press the button there",
        )


def _is_loopback(address: str) -> bool:
    try:
        read = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(read, "ipv4_mapped", None)
    return bool((mapped or read).is_loopback)


def _is_local_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)

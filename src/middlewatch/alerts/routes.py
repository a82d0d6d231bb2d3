"""Where messages go, and the sending of one to one place.

env:NAME                      the variable holds one of those below
webhook+https://host/path     our own JSON, signed (see `signing`)
command:/path/to/program arg  JSON on its standard input; exit status 0 is "taken"
mailto:ops@example.com        mail through this machine's own mail server
anything else                 an address of apprise: Slack, Teams, PagerDuty, mail with a password, 100 more
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import shlex
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import msgspec

from middlewatch.config import secret
from middlewatch.outbox import Message

from .calling import call
from .masking import masked
from .signing import HEADER, sign

__all__ = ["Route", "Sent", "resolve", "send"]

COMMAND_LIMIT = 30.0
INSTALL = "pip install 'middlewatch[alerts]'"


@dataclass(frozen=True, slots=True)
class Route:
    """`name` is what the setting says; `address` what it stands for, never shown; "" where its variable is not set."""

    name: str
    address: str = field(repr=False)

    @property
    def scheme(self) -> str:
        return self.address.partition(":")[0].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of one try. `status` is an HTTP status or exit code, `error` why it was not taken, without any
    secret, `fix` what to do about it.
    """

    ok: bool
    status: str = ""
    error: str = ""
    fix: str = ""
    seconds: float = 0.0


def resolve(names: Iterable[str], *, env: Mapping[str, str] | None = None) -> list[Route]:
    """The routes of these settings, each once, in their order; with an empty address where a variable is not set."""
    return [Route(name, secret(name, env=env) or "") for name in dict.fromkeys(names)]


def send(route: Route, message: Message, *, signing: str, now: datetime, root: Path) -> Sent:
    """Send a message to one place, in at most half a minute. `signing` is the webhook's secret, `root` where a
    command runs. What goes wrong is an answer, not an error.
    """
    begun = time.perf_counter()
    if route.scheme == "command":
        sent = _run(route, message, root)
    elif route.scheme in ("webhook+http", "webhook+https"):
        sent = _post(route, route.address.removeprefix("webhook+"), message, signing, now)
    elif route.scheme in ("http", "https") and not _apprise_knows(route.address):
        sent = _post(route, route.address, message, signing, now)
    else:
        sent = _notify(route, message)
    return replace(sent, seconds=round(time.perf_counter() - begun, 3))


# ---------------------------------------------------------------------- our own webhook


def payload(message: Message) -> bytes:
    """The JSON that a webhook and a command get; documented in docs/alerts.md."""
    facts = {
        "schema": 1,
        "id": message.id,
        "kind": message.kind,
        "severity": message.severity,
        "at": message.at,
        "dedup_key": message.dedup_key,
        "title": message.title,
        "text": message.text,
        **message.facts,
    }
    return msgspec.json.encode(facts)


def _post(route: Route, url: str, message: Message, signing: str, now: datetime) -> Sent:
    if not signing:
        return Sent(
            ok=False,
            error="there is no secret to sign with",
            fix="set MIDDLEWATCH_WEBHOOK_SECRET to a long random text, and give the receiver the same",
        )
    body = payload(message)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "middlewatch",
        "Middlewatch-Delivery": message.id,
        "Middlewatch-Dedup-Key": message.dedup_key,
        HEADER: sign(body, signing, now=now),
    }
    try:
        status = call(url, method="POST", headers=headers, body=body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return unreachable(error, [route.address, url, signing])
    return answered(status)


def answered(status: int) -> Sent:
    """What an HTTP status says of a message."""
    if 200 <= status < 300:
        return Sent(ok=True, status=str(status))
    reason = http.client.responses.get(status, "")
    fix = "see the receiver's own log"
    if 300 <= status < 400:
        reason, fix = f"{reason}: redirects are not followed", "give the address that it leads to"
    elif status in (401, 403, 404, 410):
        fix = "the address or its token is wrong or no longer valid: make a new one there"
    elif status == 429:
        fix = "it takes no more for now; it is tried again later"
    return Sent(ok=False, status=str(status), error=f"HTTP {status} {reason}".strip(), fix=fix)


def unreachable(error: Exception, secrets: list[str]) -> Sent:
    """Why a place could not be reached, in plain words where we know them."""
    known: tuple[tuple[type[Exception], str, str], ...] = (
        (ssl.SSLCertVerificationError, "its certificate cannot be trusted", "mend the certificate, or its host name"),
        (socket.gaierror, "the name of its host is not known here", "is the address right, and is there a network?"),
        (ConnectionRefusedError, "nobody listens there", "is the receiver running, and is the port right?"),
        (TimeoutError, "it did not answer in time", "is the receiver up, and does a firewall let us through?"),
    )
    for kind, words, fix in known:
        if isinstance(error, kind):
            return Sent(ok=False, error=words, fix=fix)
    said = masked(str(error), secrets)
    return Sent(ok=False, error=f"{type(error).__name__}: {said}" if said else type(error).__name__)


# ---------------------------------------------------------------------- a command


def _run(route: Route, message: Message, root: Path) -> Sent:
    """Run a program, no shell between; its whole process group ends with its time."""
    try:
        words = shlex.split(route.address.partition(":")[2])
        if not words:
            raise ValueError("there is no program")
        child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=root,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = masked(getattr(error, "strerror", None) or str(error), [])
        return Sent(ok=False, error=f"the command cannot be run: {why}", fix="give a whole path, and chmod +x the file")
    try:
        _, said = child.communicate(payload(message), timeout=COMMAND_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return Sent(
            ok=False,
            error=f"it was still running after {COMMAND_LIMIT:g} s and was ended",
            fix="let it hand the message on and return",
        )
    except OSError as error:  # it ended without reading
        child.wait()
        return Sent(ok=False, error=masked(str(error), [route.address]))
    if child.returncode == 0:
        return Sent(ok=True, status="0")
    last = masked(said[-2_000:].decode("utf-8", "replace"), [route.address])[-200:]
    return Sent(
        ok=False,
        status=str(child.returncode),
        error=f"it ended with {child.returncode}" + (f": {last}" if last else ""),
        fix="run it by hand with the JSON of docs/alerts.md on its standard input",
    )


# ---------------------------------------------------------------------- apprise


def _apprise_knows(address: str) -> bool:
    """Whether a plain https address belongs to a service that apprise speaks with."""
    if importlib.util.find_spec("apprise") is None:
        return False
    from .apprised import knows

    return knows(address)


def _notify(route: Route, message: Message) -> Sent:
    if importlib.util.find_spec("apprise") is None:
        return Sent(
            ok=False,
            error="this kind of address needs the package apprise",
            fix=f"{INSTALL}, or use webhook+https://... or command:...",
        )
    from .apprised import notify

    ok, said = notify(route.address, message)
    if ok:
        return Sent(ok=True)
    fix = "compare the address with https://appriseit.com/services, and see the service's own log"
    return Sent(ok=False, error=masked(said, [route.address]) or "it was not taken", fix=fix)

"""Through apprise: one address, one message, what it says where it fails. Imported only when it is needed (36 MB)."""

from __future__ import annotations

import logging
import socket
import warnings
from urllib.parse import quote

import apprise

from middlewatch.outbox import Message

__all__ = ["knows", "notify"]

# Seconds to connect and to wait for an answer, where the address itself says nothing.
_TIMEOUTS = "cto=10&rto=15"
_KINDS = {"page": apprise.NotifyType.FAILURE, "ticket": apprise.NotifyType.WARNING}
# Resolved is good news, and a digest no news, whatever the incident's severity.
_CALM = {"resolved": apprise.NotifyType.SUCCESS, "learnt": apprise.NotifyType.SUCCESS}


def _asset() -> apprise.AppriseAsset:
    """Our name, nothing kept on disk, and no picture that a receiver would fetch from somewhere else."""
    return apprise.AppriseAsset(
        app_id="Middlewatch",
        app_desc="Middlewatch",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )


def _full(address: str) -> str:
    """The address as apprise wants it: plain mail goes to this machine's mail server, and nothing waits for ever."""
    if address.startswith("mailto:") and not address.startswith("mailto://"):
        to = quote(address.removeprefix("mailto:"), safe="@")
        address = f"mailto://localhost?to={to}&from=middlewatch@{quote(socket.gethostname())}"
    if "rto=" in address:
        return address
    return f"{address}{'&' if '?' in address else '?'}{_TIMEOUTS}"


def knows(address: str) -> bool:
    """Whether a plain http(s) address is one of a service of its own, such as a Slack webhook."""
    return apprise.Apprise.instantiate(address, asset=_asset(), suppress_exceptions=True) is not None


def notify(address: str, message: Message) -> tuple[bool, str]:
    """Send; True, or False with what apprise logged about it (which may hold parts of the address)."""
    with warnings.catch_warnings(), apprise.LogCapture(level=logging.WARNING) as log:  # type: ignore[no-untyped-call]
        warnings.simplefilter("ignore")  # of its libraries, about their own ways
        service = apprise.Apprise(asset=_asset())
        if not service.add(_full(address)):
            return False, "apprise does not know this kind of address"
        kind = _CALM.get(message.kind) or _KINDS.get(message.severity, apprise.NotifyType.INFO)
        taken = service.notify(
            title=message.title,
            body=message.body or message.title,
            notify_type=kind,
            body_format=apprise.NotifyFormat.TEXT,
        )
        return bool(taken), " ".join(str(log.getvalue()).splitlines()[-3:])

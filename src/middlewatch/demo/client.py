"""A backend that calls the endpoint: one request a flight, over one kept connection."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

CALLER = "booking/3.1"


@dataclass(slots=True)
class Replayed:
    """What came back: rows answered, requests refused, and the versions that answered."""

    answered: int = 0
    refused: int = 0
    versions: set[str] = field(default_factory=set)


def replay(url: str, model: str, requests: Iterable[dict[str, Any]]) -> Replayed:
    """Send each request by itself and wait for its answer. Raises OSError where the server goes away."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=30)
    done = Replayed()
    headers = {"content-type": "application/json", "x-middlewatch-caller": CALLER}
    path = f"/models/{model}/predict"
    try:
        for request in requests:
            connection.request("POST", path, json.dumps(request), headers)
            response = connection.getresponse()
            body = response.read()
            if response.status == 200:
                done.answered += 1
                done.versions.add(json.loads(body)["version"])
            elif response.status == 422:
                done.refused += 1
            else:
                raise OSError(f"the server answered {response.status}: {body[:300]!r}")
    finally:
        connection.close()
    return done

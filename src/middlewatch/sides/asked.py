"""A running server asked by its URL: what it is, and what it answers to requests that somebody else sent before.

Only what a person typed is asked, only predictions are posted, and each is marked as ours (`predictions.COMPARE`), so
that the server's log, monitor and diagnoses tell it from traffic. The key comes from MIDDLEWATCH_KEY.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from ..config import secret
from ..errors import NotFound, OutOfReach, UsageError, nearest
from ..predictions import COMPARE
from .answers import Answered

KEY: Final = "env:MIDDLEWATCH_KEY"
SECONDS: Final = 10.0
LARGEST: Final = 4 << 20
"""Bytes of one answer that are read: what is longer is no answer of ours."""


class Asked:
    """One kept connection to a server. Raises OutOfReach where it does not answer, UsageError where it needs a key."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url} has no such port", why=str(error), fix="http://host:8000") from error
        if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(
                "a server is named by its plain address", where=parts.hostname or url[:80], fix="http://host:8000"
            )
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._prefix = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(parts.hostname, port, timeout=SECONDS, context=context)
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, port, timeout=SECONDS)
        self._headers = {"x-middlewatch-caller": COMPARE, "user-agent": COMPARE}
        key = secret(KEY)
        if key:
            self._headers["x-api-key"] = key

    def close(self) -> None:
        self._connection.close()

    def version_of(self, model: str) -> str:
        """The version that answers for a model. Raises NotFound where it serves others only."""
        status, facts = self._ask("GET", "/readyz")
        models = facts.get("models")
        if not isinstance(models, Mapping):
            raise UsageError(
                "this is no server of Middlewatch",
                where=self.url,
                why=f"/readyz said {status}",
                fix="middlewatch serve",
            )
        if model not in models:
            raise NotFound(f'{self.url} has no model "{model}"', fix=nearest(model, models))
        version = models[model].get("version")
        if not version:
            raise OutOfReach(f"no version of {model} answers there", where=self.url, fix="see its /readyz")
        return str(version)

    def environment(self) -> Mapping[str, Any]:
        """What it runs on, as `GET /environment` says; empty where it says nothing."""
        status, facts = self._ask("GET", "/environment")
        return facts if status == 200 and isinstance(facts.get("environment"), Mapping) else {}

    def answers(self, model: str, bodies: Sequence[bytes]) -> list[Answered]:
        """What it answers to each body, one by one, in order."""
        return [self._answer(model, one) for one in bodies]

    def _answer(self, model: str, body: bytes) -> Answered:
        status, facts = self._ask("POST", f"/models/{model}/predict", body)
        if status in (400, 422):
            return Answered(
                None, None, str(facts.get("field") or ""), str(facts.get("came") or facts.get("error") or "")
            )
        score = facts.get("score")
        if status != 200 or not isinstance(score, int | float):
            raise OutOfReach(
                f"the server answered {status} in place of a prediction",
                where=self.url,
                why=str(facts.get("error") or "")[:200],
                fix="see its /readyz",
            )
        label = facts.get("label")
        return Answered(float(score), None if label is None else str(label), "", "")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        headers = {**self._headers, **({"content-type": "application/json"} if body is not None else {})}
        try:
            try:
                status, data = self._once(method, path, body, headers)
            except (http.client.RemoteDisconnected, http.client.CannotSendRequest, BrokenPipeError):
                self._connection.close()  # an idle connection that the server had closed
                status, data = self._once(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise OutOfReach(
                "the server does not answer", where=self.url, why=str(error) or type(error).__name__,
                fix="is it running, and is this its address?",
            ) from error  # fmt: skip
        if status in (401, 403):
            shown = "x-api-key" in self._headers
            raise UsageError(
                "the server was shown a key that does not open this" if shown else "the server asks for an API key",
                where=self.url,
                fix=f"set {KEY.removeprefix('env:')} to a key with the scopes predict and read",
            )
        facts: Any = {}
        with suppress(ValueError):
            facts = json.loads(data)
        return status, facts if isinstance(facts, dict) else {}

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        self._connection.request(method, f"{self._prefix}{path}", body, headers)
        response = self._connection.getresponse()
        data = response.read(LARGEST)
        if response.read(1):
            self._connection.close()
        return response.status, data

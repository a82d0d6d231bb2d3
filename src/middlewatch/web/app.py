"""Paths to pages: one ASGI callable for what the predict API does not own.

Pages are made in a worker thread, so that a prediction never waits behind one.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import middlewatch.web.acts as acts
import middlewatch.web.features as features
import middlewatch.web.home as home
import middlewatch.web.incident as incident
import middlewatch.web.requests as requests
import middlewatch.web.versions as versions

from ..errors import MiddlewatchError, NotFound, UsageError
from ..project import Project
from .http import Request, Response, as_json, see
from .rendering import STATIC, fingerprint, render, static

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Clock = Callable[[], datetime]

LARGEST_FORM = 8_192
_INCIDENT = re.compile(r"/i/([1-9]\d{0,8})(\.json)?")
_ACT = re.compile(r"(?:/i/([1-9]\d{0,8})|/versions)/([a-z-]{1,20})")
_OF_ONE = ("/versions", "/features", "/requests")
_FORM = "application/x-www-form-urlencoded"


def _clock() -> datetime:
    return datetime.now(UTC)


def pages(project: Project, *, clock: Clock = _clock, secret: bytes | None = None) -> App:
    """The pages of a project as an ASGI callable for `http` scopes.

    Several processes that answer for one address must be given the same `secret`: a form that one of them shows
    may be sent to another. A server that checks API keys puts the scopes of the caller's key into
    `scope["middlewatch.scopes"]`; "admin" may press buttons from elsewhere than this machine. `scope["path"]` is taken
    as it is, and links begin with `scope["root_path"]`.
    """
    site = Site(project, clock, secret or secrets.token_bytes(32))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise UsageError(f"pages answer HTTP, not {scope['type']}")
        body = await _body(receive) if scope["method"] == "POST" else b""
        answer = await asyncio.to_thread(site.answer, _request(scope, body), too_large=body is None)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.lines()})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    return app


async def _body(receive: Receive) -> bytes | None:
    """The whole body, None for one that is larger than any of our forms."""
    body, more = b"", True
    while more and len(body) <= LARGEST_FORM:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and bool(message.get("more_body"))
    return body if len(body) <= LARGEST_FORM else None


def _request(scope: Scope, body: bytes | None) -> Request:
    headers = _named(scope["headers"])
    is_form = headers.get("content-type", "").partition(";")[0].strip() == _FORM
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=_fields(scope.get("query_string") or b""),
        headers=headers,
        form=_fields(body) if body and is_form else {},
        client=str(client[0]) if client else "",
        scopes=frozenset(scope.get("middlewatch.scopes") or ()),
        root=str(scope.get("root_path") or ""),
    )


def _named(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _fields(data: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(data.decode("utf-8", "replace"), max_num_fields=None))


class Site:
    """Answers requests; holds nothing but the project, the clock and the secret of its forms."""

    def __init__(self, project: Project, clock: Clock, secret: bytes) -> None:
        self.project = project
        self.clock = clock
        self.secret = secret

    def answer(self, request: Request, *, too_large: bool = False) -> Response:
        """Any request; errors of ours become pages (or JSON) with what, where, why and what to do."""
        try:
            if too_large:
                raise UsageError("the form is too large", fix="send what the page's own form holds")
            return self._answer(request)
        except MiddlewatchError as error:
            # curl and clients take anything and name no page; a browser does.
            asks = request.headers.get("accept", "text/html")
            if request.path.endswith(".json") or "text/html" not in asks:
                return as_json({**error.to_dict(), "code": error.exit_code}, status=error.status)
            return render(
                "error.html", request, title=error.what, zone=self.project.zone, status=error.status, error=error
            )

    def _answer(self, request: Request) -> Response:
        if request.path.startswith("/static/"):
            return _static(request)
        if act := _ACT.fullmatch(request.path):
            number = int(act[1]) if act[1] else None
            if request.method == "POST":
                return acts.perform(self.project, request, self.secret, act[2], number, self.clock())
            _only(request, "GET", "HEAD", "POST")
            return acts.confirm(self.project, request, self.secret, act[2], number)
        _only(request, "GET", "HEAD")
        return self._page(request)

    def _page(self, request: Request) -> Response:
        project, path = self.project, request.path
        if match := _INCIDENT.fullmatch(path):
            number = int(match[1])
            if match[2]:
                return as_json(incident.facts(project, request, number, self.clock()))
            return incident.page(project, request, number, self.clock())
        if path in _OF_ONE and "model" not in request.query and len(project.config.models) != 1:
            return see(f"{request.root}/")  # which lists the models
        match path:
            case "/":
                return home.page(project, request, self.clock())
            case "/home.json":
                return as_json(home.facts(project, request, self.clock()))
            case "/versions":
                return versions.page(project, request)
            case "/versions.json":
                return as_json(versions.facts(project, request))
            case "/features":
                return features.page(project, request)
            case "/features.json":
                return as_json(features.facts(project, request))
            case "/requests":
                return requests.page(project, request, self.clock())
            case "/requests.json":
                return as_json(requests.facts(project, request, self.clock()))
        raise NotFound("there is no such page", where=path, fix="/ has the answer, and links to the others")


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise _NotAllowed(f"{request.method} does nothing here", where=request.path, fix=f"use {methods[0]}")


class _NotAllowed(UsageError):
    status = 405


def _static(request: Request) -> Response:
    name = request.path.removeprefix("/static/")
    if name not in STATIC:
        raise NotFound("there is no such file", where=request.path)
    _only(request, "GET", "HEAD")
    kept = request.query.get("v") == fingerprint(name)
    return Response(
        body=static(name),
        kind=STATIC[name],
        headers={"cache-control": "public, max-age=31536000, immutable" if kept else "no-cache"},
    )

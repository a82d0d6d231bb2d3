"""Templates: every value is escaped unless it is markup that our own charts made."""

from __future__ import annotations

import hashlib
from datetime import tzinfo
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import middlewatch.web.words as words

from .http import Request, Response

if TYPE_CHECKING:
    from jinja2 import Environment

STATIC = {"middlewatch.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


@cache
def static(name: str) -> bytes:
    """A file of STATIC."""
    return files(__package__).joinpath("static", name).read_bytes()


@cache
def fingerprint(name: str) -> str:
    """Stands in the address of a static file, so that it may be kept for ever."""
    return hashlib.sha256(static(name)).hexdigest()[:12]


@cache
def _templates() -> Environment:
    # Imported with the first page and not with the server: most workers never draw one.
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files(__package__).joinpath("templates")
    made = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        one.__name__: one
        for one in (
            words.number,
            words.percent,
            words.times,
            words.when,
            words.day,
            words.channel,
            words.column,
            words.plural,
            words.headline,
            words.sentence,
            words.lasting,
        )
    }
    made.globals |= {"ACTIONS": words.ACTIONS, "EVENTS": words.EVENTS, "fingerprint": fingerprint}
    return made


def drawn(svg: str) -> Any:
    """Markup of charts.py, which has escaped its texts already."""
    from markupsafe import Markup

    return Markup(svg)


def render(template: str, request: Request, *, title: str, zone: tzinfo, status: int = 200, **values: Any) -> Response:
    """A page. `title` is what the tab shows before the product's name."""
    html = _templates().get_template(template).render(request=request, title=title, zone=zone, **values)
    return Response(status=status, body=html.encode())

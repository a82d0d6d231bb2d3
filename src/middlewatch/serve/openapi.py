"""The interface of what is live: as an OpenAPI document, and as one page that needs nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..requests import Field
    from .scorer import Scorer

__all__ = ["document", "page"]

_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": "number"},
    "whole": {"type": "integer", "format": "int64"},
    "boolean": {"type": "boolean"},
    "category": {"type": "string"},
    "text": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
}
_EXAMPLES: dict[str, Any] = {
    "number": 0.5,
    "whole": 1,
    "boolean": True,
    "category": "text",
    "text": "text",
    "time": "2026-11-22T02:00:00Z",
}
_ERROR = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("error", "field", "came", "expected", "why", "fix", "id")},
    "required": ["error"],
}


def document(scorers: Mapping[str, Scorer], routes: Sequence[str]) -> dict[str, Any]:
    """OpenAPI 3.1 of the predict routes, with the fields of the versions that answer now."""
    paths: dict[str, Any] = {}
    for route, scorer in _routes(scorers, routes):
        body = _body(scorer.body_type.fields)
        paths[route] = {
            "post": {
                "summary": f"Predict with {scorer.model} {scorer.version}",
                "operationId": f"predict{'_' + scorer.model if route != '/predict' else ''}",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"oneOf": [body, {"type": "array", "items": body}]}}},
                },
                "responses": {
                    "200": _json("The prediction, logged before this answer; for a list, predictions", _answer()),
                    "400": _json("Not JSON", _ERROR),
                    "413": _json("A body of more than 1 MB", _ERROR),
                    "422": _json("A field is missing, unknown or of the wrong type; nothing was predicted", _ERROR),
                    "503": _json("No version is live, or the log cannot be written", _ERROR),
                },
            }
        }
        paths[f"{route.removesuffix('predict')}labels"] = {"post": _labels(scorer)}
    for route, words in (("/livez", "The process runs"), ("/readyz", "A model answers"), ("/metrics", "Counts")):
        paths[route] = {"get": {"summary": words, "responses": {"200": {"description": words}}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Middlewatch",
            "version": ", ".join(f"{one.model} {one.version}" for one in scorers.values()),
        },
        "paths": paths,
    }


def _labels(scorer: Scorer) -> dict[str, Any]:
    """The route that takes outcomes of a model's predictions."""
    one = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "of one prediction, as its answer carried it"},
            "key": {"type": ["string", "number"], "description": "your own id: every prediction sent with it"},
            "value": {"type": ["string", "number", "boolean"], "description": "the class, or a number"},
            "time": {"type": ["string", "null"], "format": "date-time", "description": "of the outcome; newest wins"},
        },
        "required": ["value"],
        "additionalProperties": False,
    }
    entry = {"type": "object", "properties": {"path": {"type": "string"}, "reason": {"type": "string"}}}
    entries = {"type": "object", "properties": {"entries": {"type": "array", "items": entry}}}
    wrong = {"allOf": [_ERROR, entries]}
    kept = {"type": "object", "properties": {"model": {"type": "string"}, "labels": {"type": "integer"}}}
    return {
        "summary": f"Outcomes of {scorer.model}'s predictions, by id or key",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": [one, {"type": "array", "items": one}]}}},
        },
        "responses": {
            "200": _json("Kept before this answer", kept),
            "400": _json("Not JSON", _ERROR),
            "413": _json("A body of more than 1 MB", _ERROR),
            "422": _json("Some entries are wrong, each with its path and reason; none was kept", wrong),
            "503": _json("The labels cannot be written", _ERROR),
        },
    }


def _routes(scorers: Mapping[str, Scorer], routes: Sequence[str]) -> list[tuple[str, Scorer]]:
    found = []
    for route in routes:
        name = next(iter(scorers), "") if route == "/predict" else route.split("/")[2]
        if name in scorers:
            found.append((route, scorers[name]))
    return found


def _body(fields: Sequence[Field]) -> dict[str, Any]:
    properties = {}
    for field in fields:
        kind = dict(_TYPES[field.kind])
        if field.nulls:
            kind["type"] = [kind["type"], "null"]
        properties[field.name] = kind
    return {
        "type": "object",
        "properties": properties,
        "required": [field.name for field in fields if field.needed],
        "additionalProperties": False,
        "example": _example(fields),
    }


def _example(fields: Sequence[Field]) -> dict[str, Any]:
    return {field.name: _EXAMPLES[field.kind] for field in fields if field.needed}


def _answer() -> dict[str, Any]:
    words = {name: {"type": "string"} for name in ("model", "version", "id", "label")}
    return {
        "type": "object",
        "properties": {
            "score": {"type": "number"},
            **words,
            "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
            "predictions": {"type": "array", "items": {"type": "object"}},
        },
    }


def _json(words: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
    "body{color:#222;background:#fff}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}"
    "pre{background:#f3f3f3;padding:1rem;overflow-x:auto}code{font-size:.95em}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}pre{background:#262626}}"
)


def page(scorers: Mapping[str, Scorer], routes: Sequence[str]) -> str:
    """How to ask each model, for a person: its fields, and a command to copy."""
    parts = []
    for route, scorer in _routes(scorers, routes):
        fields = scorer.body_type.fields
        rows = "".join(
            f"<tr><td><code>{escape(one.name)}</code></td><td>{escape(one.kind)}{' or null' if one.nulls else ''}</td>"
            f"<td>{'needed' if one.needed else 'logged only'}</td></tr>"
            for one in fields
        )
        example = json.dumps(_example(fields), ensure_ascii=False).replace("'", "'\\''")
        parts.append(
            f"<h2><code>POST {escape(route)}</code></h2><p>{escape(scorer.model)} {escape(scorer.version)}. "
            f"An object, or a list of objects.</p><table><tr><th>field</th><th>kind</th><th></th></tr>{rows}</table>"
            f"<pre>curl -X POST \"$URL{escape(route)}\" -d '{escape(example)}'</pre>"
        )
    nothing = "<p>No model is live yet: see <a href=/readyz>/readyz</a>.</p>"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Middlewatch: how to ask</title><style>{_STYLE}</style><h1>How to ask</h1>"
        f"{''.join(parts) or nothing}<p>Also: <a href=/openapi.json>/openapi.json</a>, "
        "<a href=/metrics>/metrics</a>, <a href=/readyz>/readyz</a>, <a href=/livez>/livez</a>.</p></html>"
    )

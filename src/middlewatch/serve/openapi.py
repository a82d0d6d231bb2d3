"""The interface of what is live: as an OpenAPI document, and as one page that needs nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..schema import Column
    from .scorer import Scorer

__all__ = ["document", "page"]

_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": "number"},
    "whole": {"type": "integer", "format": "int64"},
    "boolean": {"enum": [True, False, 0, 1]},
    "category": {"type": "string"},
    "text": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
}
_ERROR = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("error", "field", "came", "expected", "why", "fix", "id")},
    "required": ["error"],
}


def document(
    scorers: Mapping[str, Scorer], *, single: bool, root: str = "", keys: bool = False, version: str = "0"
) -> dict[str, Any]:
    """OpenAPI 3.1 of all routes, with the fields of the versions that answer now.

    `single`: the project has one model, which answers without its name, too; `root` is the prefix that a proxy
    shows; `keys`: API keys are asked for.
    """
    paths: dict[str, Any] = {}
    for prefix, scorer in _places(scorers, single=single):
        paths[f"{prefix}/predict"] = {"post": _predict(scorer, prefix)}
        paths[f"{prefix}/labels"] = {"post": _labels(scorer, prefix)}
        paths[f"{prefix}/invocations"] = {"post": _invocations(scorer, prefix)}
    for name, scorer in scorers.items():
        paths[f"/v2/models/{name}/infer"] = {"post": _infer(scorer)}
        paths[f"/v2/models/{name}"] = {"get": _look("Inputs and outputs, for Open Inference Protocol clients")}
        paths[f"/v2/models/{name}/ready"] = {"get": _look("This model answers")}
    for route, words in _LOOKS.items():
        paths[route] = {"get": _look(words)}
    paths["/events"] = {"post": _events()}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Middlewatch", "version": version},
        "servers": [{"url": root or "/"}],
        "paths": paths,
    }
    if keys:
        found["components"] = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
        found["security"] = [{"key": []}]
    return found


_LOOKS = {
    "/livez": "The process runs",
    "/readyz": "A model answers and its log can be written; else 503 and what stands in the way",
    "/metrics": "Counts, as Prometheus reads them",
    "/environment": "What this server runs on: Python, libraries, locale, zone, CPU; what answers, with which settings",
    "/ping": "As /readyz, for MLflow's clients",
    "/health": "As /readyz, for MLflow's clients",
    "/version": "The version of Middlewatch",
    "/v2": "The server, for Open Inference Protocol clients",
    "/v2/health/live": "The process runs",
    "/v2/health/ready": "A model answers",
}


def _look(words: str) -> dict[str, Any]:
    return {"summary": words, "responses": {"200": {"description": words}, "default": _json("An error", _ERROR)}}


def _post(summary: str, operation: str, body: Mapping[str, Any], responses: Mapping[str, Any]) -> dict[str, Any]:
    """An operation that takes JSON; `body` is its media type object."""
    return {
        "summary": summary,
        "operationId": operation,
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            **responses,
            "400": _json("Not JSON", _ERROR),
            "413": _json("A body of more than 1 MB", _ERROR),
            "503": _json("No version is live, or what came cannot be kept", _ERROR),
            "default": _json("Another error", _ERROR),
        },
    }


def _operation(verb: str, prefix: str) -> str:
    return verb + (f"_{prefix.rpartition('/')[2]}" if prefix else "")


def _predict(scorer: Scorer, prefix: str) -> dict[str, Any]:
    one = _object(scorer)
    return _post(
        f"Predict with {scorer.model} {scorer.version}",
        _operation("predict", prefix),
        {"schema": {"oneOf": [one, {"type": "array", "items": one}]}, "example": one["example"]},
        {
            "200": _json("The prediction, logged before this answer; for a list, predictions", _answer()),
            "422": _json("A field is missing, unknown or of the wrong type; nothing was predicted", _ERROR),
            "500": _json("The model failed on a row that the schema takes; nothing was predicted", _ERROR),
        },
    )


def _invocations(scorer: Scorer, prefix: str) -> dict[str, Any]:
    one = _object(scorer)
    table = {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}},
            "data": {"type": "array", "items": {"type": "array"}},
        },
        "required": ["columns", "data"],
    }
    forms = {
        "dataframe_split": table,
        "dataframe_records": {"type": "array", "items": one},
        "instances": {"type": "array"},
        "inputs": {"type": ["array", "object"]},
    }
    wanted = [{"type": "object", "properties": {name: form}, "required": [name]} for name, form in forms.items()]
    example = {"dataframe_split": {"columns": list(one["example"]), "data": [list(one["example"].values())]}}
    answer = {"type": "object", "properties": {"predictions": {"type": "array"}}, "required": ["predictions"]}
    found = _post(
        f"As MLflow's scoring server, with {scorer.model} {scorer.version}",
        _operation("invocations", prefix),
        {"schema": {"oneOf": wanted}, "example": example},
        {"200": _json("A prediction for each row", answer), "422": _json("A row breaks the model's schema", _ERROR)},
    )
    found["requestBody"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    return found


def _infer(scorer: Scorer) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype", "data"],
    }
    body = {"type": "object", "properties": {"inputs": {"type": "array", "items": tensor}}, "required": ["inputs"]}
    words = {"model_name": {"type": "string"}, "model_version": {"type": "string"}, "id": {"type": "string"}}
    answer = {
        "type": "object",
        "properties": {**words, "outputs": {"type": "array", "items": tensor}},
        "required": ["model_name", "model_version", "outputs"],
    }
    return _post(
        f"As the Open Inference Protocol has it, with {scorer.model} {scorer.version}",
        f"infer_{scorer.model}",
        {"schema": body},
        {"200": _json("Tensors of one row a row", answer), "422": _json("A row breaks the model's schema", _ERROR)},
    )


def _events() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    facts = {"text": text, "source": {"type": "string"}, "at": {"type": ["string", "null"], "format": "date-time"}}
    body = {"type": "object", "properties": facts, "required": ["text"]}
    kept = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
    return _post(
        "Something happened outside of the models: a note on the time line",
        "event",
        {"schema": body, "example": {"text": "weather feed v3", "source": "ops"}},
        {"201": _json("Kept", kept)},
    )


def _labels(scorer: Scorer, prefix: str) -> dict[str, Any]:
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
    return _post(
        f"Outcomes of {scorer.model}'s predictions, by id or key",
        _operation("labels", prefix),
        {"schema": {"oneOf": [one, {"type": "array", "items": one}]}},
        {
            "200": _json("Kept before this answer", kept),
            "422": _json("Some entries are wrong, each with its path and reason; none was kept", wrong),
        },
    )


def _places(scorers: Mapping[str, Scorer], *, single: bool) -> list[tuple[str, Scorer]]:
    """Each model's prefixes."""
    found = [("", scorer) for scorer in scorers.values() if single]
    return found + [(f"/models/{name}", scorer) for name, scorer in scorers.items()]


def _object(scorer: Scorer) -> dict[str, Any]:
    """One row as JSON schema, with an example."""
    properties = {}
    for field in scorer.body_type.fields:
        kind = dict(_TYPES[field.kind])
        if field.nulls and "enum" in kind:
            kind["enum"] = [*kind["enum"], None]
        elif field.nulls:
            kind["type"] = [kind["type"], "null"]
        properties[field.name] = kind
    return {
        "type": "object",
        "properties": properties,
        "required": [field.name for field in scorer.body_type.fields if field.needed],
        "additionalProperties": False,
        "example": example(scorer),
    }


def example(scorer: Scorer) -> dict[str, Any]:
    """A row that could be, made up from the reviewed limits: no row of anybody's data."""
    columns = {one.name: one for one in scorer.schema.columns}
    return {field.name: _made_up(columns[field.name]) for field in scorer.body_type.fields if field.needed}


def _made_up(column: Column) -> Any:
    low, high = column.min, column.max
    if column.kind in ("number", "whole"):
        known = [float(one) for one in (low, high) if isinstance(one, int | float) and column.private is None]
        middle = sum(known) / len(known) if known else 1.0
        return int(middle) if column.kind == "whole" else float(f"{middle:.3g}")
    if column.kind == "boolean":
        return True
    if column.kind == "time":
        return "2026-11-22T02:00:00Z"
    return column.categories[0] if column.categories and column.private is None else "text"


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


def page(scorers: Mapping[str, Scorer], *, single: bool, root: str = "", keys: bool = False) -> str:
    """How to ask each model, for a person: its fields, and a command to copy."""
    parts = []
    header = " -H 'Authorization: Bearer KEY'" if keys else ""
    for prefix, scorer in _places(scorers, single=single):
        if single and prefix:
            continue  # the short routes say it all
        columns = {one.name: one for one in scorer.schema.columns}
        rows = "".join(
            f"<tr><td><code>{escape(one.name)}</code></td><td>{escape(one.kind)}{' or null' if one.nulls else ''}</td>"
            f"<td>{escape(columns[one.name].unit or '')}</td>"
            f"<td>{'needed' if one.needed else 'logged, does not reach the model'}</td></tr>"
            for one in scorer.body_type.fields
        )
        route = escape(f"{root}{prefix}")
        row = escape(json.dumps(example(scorer), ensure_ascii=False).replace("'", "'\\''"))
        parts.append(
            f"<h2>{escape(scorer.model)} {escape(scorer.version)}</h2>"
            f"<p><code>POST {route}/predict</code> takes an object, or a list of objects; every row is logged before "
            f"its answer.</p><pre>curl \"$URL{route}/predict\"{header} -d '{row}'</pre>"
            f"<table><tr><th>field</th><th>kind</th><th>unit</th><th></th></tr>{rows}</table>"
            f"<p>Outcomes that come later: <code>POST {route}/labels</code>. As MLflow's server: <code>POST "
            f"{route}/invocations</code>. Open Inference Protocol: <code>{escape(root)}/v2</code>.</p>"
        )
    nothing = "<p>No model is live yet: see <a href=readyz>/readyz</a>.</p>"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Middlewatch: how to ask</title><style>{_STYLE}</style><h1>How to ask</h1>"
        f"{''.join(parts) or nothing}<p>Also: <a href=openapi.json>/openapi.json</a>, "
        "<a href=metrics>/metrics</a>, <a href=readyz>/readyz</a>, <a href=livez>/livez</a>.</p></html>"
    )

"""The Open Inference Protocol, version 2 (also KServe's and Triton's), over JSON: `/v2/...`.

Inputs are one tensor for each column, of n values ([n] or [n, 1]), or one tensor [n, k] of the model's k inputs in
their order. Names are checked; rows go the way of every other request. Outputs are `score`, and for a multiclass
model `label` and `probabilities`, all of n rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import NotFound, UsageError
from .scorer import Answer, Scorer

if TYPE_CHECKING:
    from ..records import Record

__all__ = ["answer", "error", "metadata", "server"]

ROUTE = "/v2/models/{name}/infer"
_HELP = 'send {"inputs": [{"name": "column", "shape": [1, 1], "datatype": "FP64", "data": [0.5]}]}'
_TYPES = {"number": "FP64", "whole": "INT64", "boolean": "BOOL", "category": "BYTES", "text": "BYTES", "time": "BYTES"}
_encode = msgspec.json.encode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw


class _Wanted(msgspec.Struct):
    name: str


class _Body(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    outputs: list[_Wanted] | None = None


_decode = msgspec.json.Decoder(_Body).decode


def server(version: str) -> dict[str, Any]:
    """What `GET /v2` says."""
    return {"name": "middlewatch", "version": version, "extensions": []}


def metadata(scorer: Scorer, version: str | None) -> dict[str, Any]:
    """What `GET /v2/models/NAME` says. Raises NotFound for a version that is not the one that answers."""
    _check_version(scorer, version)
    fields = scorer.body_type.fields
    outputs = [{"name": "score", "datatype": "FP64", "shape": [-1, 1]}]
    if scorer.classes:
        outputs += [
            {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(scorer.classes)]},
        ]
    return {
        "name": scorer.model,
        "versions": [scorer.version],
        "platform": "middlewatch",
        "inputs": [{"name": one.name, "datatype": _TYPES[one.kind], "shape": [-1, 1]} for one in fields if one.needed],
        "outputs": outputs,
    }


def answer(scorer: Scorer, body: bytes, kind: str, *, caller: str, received: int, version: str | None = None) -> Answer:
    """Predict for the rows of the tensors; all of them or none. `kind` is not looked at: the body is JSON.

    Raises UsageError for tensors that do not fit together, NotFound for another version, and as `Scorer.score`.
    """
    _check_version(scorer, version)
    try:
        asked = _decode(body)
        rows = _rows(asked, scorer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise UsageError("the body is no inference request", why=str(wrong)[:300], fix=_HELP) from None
    wanted = None if asked.outputs is None else {one.name for one in asked.outputs}
    records = scorer.score(rows, caller=caller, received=received)
    ident = records[0].id if records else ""
    facts = {
        "model_name": scorer.model,
        "model_version": scorer.version,
        "id": asked.id or ident,
        "outputs": [one for one in _outputs(records, scorer) if wanted is None or one["name"] in wanted],
        "parameters": {"ids": [one.id for one in records]},
    }
    return Answer(_encode(facts), ident, len(records))


def error(code: int, facts: dict[str, Any]) -> dict[str, Any]:
    """An error as the protocol has it: one text. Ours stay beside it."""
    return {**facts, "error": f"{facts['error']}; {facts['fix']}" if facts.get("fix") else facts["error"]}


def _check_version(scorer: Scorer, version: str | None) -> None:
    if version is not None and version != scorer.version:
        raise NotFound(
            f"{version[:20]} of {scorer.model} does not answer here", fix=f"{scorer.version} does; or name no version"
        )


def _rows(asked: _Body, scorer: Scorer) -> list[bytes]:
    names = [one.name for one in scorer.body_type.fields if one.needed]
    tensors = [(one, _flat(one)) for one in asked.inputs]
    if not tensors:
        raise UsageError("there are no inputs", fix=_HELP)
    first, values = tensors[0]
    if len(tensors) == 1 and len(first.shape) == 2 and first.shape[1] == len(names) and first.name not in names:
        width = len(names)
        return [_encode(dict(zip(names, values[at : at + width], strict=True))) for at in range(0, len(values), width)]
    count = first.shape[0] if first.shape else 0
    for one, _ in tensors:
        if one.shape not in ([count], [count, 1]):
            raise UsageError(
                f'"{one.name[:64]}" has shape {one.shape[:4]}, not [{count}, 1]',
                fix=f"send one tensor for each column, or one [n, {len(names)}] of the inputs in their order",
            )
    if len({one.name for one, _ in tensors}) < len(tensors):
        raise UsageError("an input's name comes twice", fix=_HELP)
    return [_encode({one.name: values[at] for one, values in tensors}) for at in range(count)]


def _flat(tensor: _Tensor) -> list[msgspec.Raw]:
    """The values of a tensor in row-major order, whether they came flat or nested."""
    if any(size < 0 for size in tensor.shape):
        raise UsageError(f'"{tensor.name[:64]}" has a negative size', fix=_HELP)
    values = _list(tensor.data)
    for _ in tensor.shape[1:]:
        if values and bytes(values[0]).lstrip()[:1] == b"[":
            values = [value for row in values for value in _list(row)]
    if len(values) != math.prod(tensor.shape):
        raise UsageError(
            f'"{tensor.name[:64]}" has {len(values)} values and the shape {tensor.shape[:4]}', fix="send all of them"
        )
    return values


def _outputs(records: list[Record], scorer: Scorer) -> list[dict[str, Any]]:
    count = len(records)
    found: list[dict[str, Any]] = [
        {"name": "score", "shape": [count, 1], "datatype": "FP64", "data": [one.score for one in records]}
    ]
    if scorer.classes:
        flat = [value for one in records for value in one.scores or ()]
        shape = [count, len(scorer.classes)]
        found.append(
            {"name": "label", "shape": [count, 1], "datatype": "BYTES", "data": [one.label for one in records]}
        )
        found.append({"name": "probabilities", "shape": shape, "datatype": "FP64", "data": flat})
    return found

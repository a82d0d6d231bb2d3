"""Clients written for other servers: MLflow's /invocations, and the Open Inference Protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from middlewatch import predictions
from middlewatch.project import Project
from serving import CLASSES, Client, bodies, expected, make_project, promote, publish, serving

ROWS = bodies(6)
NAMES = list(ROWS[0])
VALUES = [list(row.values()) for row in ROWS]
MODELS = {"delay": "binary", "much": "regression", "which": "multiclass"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("clients"), MODELS)
    for name in MODELS:
        promote(made, name, publish(made, name))
    return made


@pytest.fixture(scope="module")
def client(project: Project) -> Iterator[Client]:
    with serving(project.root) as (_, client):
        yield client


def documented() -> list[tuple[Any, str]]:
    """A table in every form that MLflow documents for tables, and its content type."""
    columns = {name: [row[name] for row in ROWS] for name in NAMES}
    frame = pd.DataFrame(ROWS)[NAMES]
    return [
        ({"dataframe_split": {"columns": NAMES, "data": VALUES}}, "application/json"),
        ({"dataframe_split": {"index": [0, 1, 2, 3, 4, 5], "columns": NAMES, "data": VALUES}}, "application/json"),
        ({"dataframe_split": json.loads(frame.to_json(orient="split"))}, "application/json; charset=utf-8"),
        ({"dataframe_records": ROWS}, "application/json"),
        ({"instances": ROWS, "signature_name": "serving_default"}, "application/json"),
        ({"instances": VALUES}, "application/json"),
        ({"inputs": columns}, "application/json"),
        ({"inputs": VALUES, "params": None}, "application/json"),
        (
            json.dumps(
                {
                    "dataframe_split": {
                        "columns": NAMES,
                        "data": [[math.nan if one is None else one for one in row] for row in VALUES],
                    }
                }
            ).encode(),
            "application/json",
        ),
        (frame.to_csv(index=False).encode(), "text/csv"),
    ]


@pytest.mark.parametrize("model", MODELS)
def test_mlflow_forms_give_what_predict_gives(client: Client, project: Project, model: str) -> None:
    right = expected(MODELS[model], 0, ROWS)
    before = predictions.read(project.store, project.spool(model), model).height
    for body, kind in documented():
        status, facts, headers = client.ask("POST", f"/models/{model}/invocations", body, content_type=kind)
        assert (status, facts) == (200, {"predictions": right}), kind
        assert headers["x-request-id"]
    logged = predictions.read(project.store, project.spool(model), model)
    assert logged.height == before + 6 * len(documented()), "every row is kept"
    assert [json.loads(raw) for raw in logged["mw.raw"][before : before + 6]] == ROWS


def test_mlflow_errors_are_in_its_words(client: Client) -> None:
    wrong = [
        ({}, "exactly one of"),
        ({"instances": [], "inputs": []}, "exactly one of"),
        ([], "cannot be read"),
        (b"{torn", "cannot be read"),
        ({"dataframe_split": {"columns": NAMES, "data": [[1]]}}, "row 0 has 1 values"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "comes twice"),
        ({"dataframe_split": {"columns": [1], "data": []}}, "cannot be read"),
        ({"inputs": {"temp": [1], "seats": [1, 2]}}, "not of one length"),
        ({"inputs": 3}, "cannot be read"),
        (b'{"inputs": [[NaN, Infinity, 1, 1]]}', "Infinity"),
        (b'{"inputs": [[NaN', "cannot be read"),
        ({"instances": ROWS, "params": {"threshold": 0.3}}, "takes no params"),
    ]
    for body, words in wrong:
        status, facts, _ = client.ask("POST", "/models/delay/invocations", body, content_type="application/json")
        assert (status, facts["error_code"]) == (400, "BAD_REQUEST")
        assert words in facts["message"]
    broken = {"dataframe_records": [ROWS[0], {**ROWS[1], "seats": "many"}]}
    status, facts, _ = client.ask("POST", "/models/delay/invocations", broken)
    assert (status, facts["field"], facts["index"], facts["error_code"]) == (422, "seats", "1", "BAD_REQUEST")
    assert (
        client.ask("POST", "/models/delay/invocations", b"x", content_type="application/vnd.apache.parquet")[0] == 400
    )
    for text in (b"", b"temp,seats\n1\n", b"temp,seats\n1,2,3\n", b'temp\n"torn', b"\xff"):
        assert client.ask("POST", "/models/delay/invocations", text, content_type="text/csv")[0] in (400, 422)
    status, facts, _ = client.ask("POST", "/invocations", {"instances": ROWS})
    assert (status, "/models/delay/invocations" in facts["fix"]) == (404, True)
    assert client.ask("GET", "/models/delay/invocations")[0] == 405


def test_mlflow_probes(client: Client) -> None:
    assert client.ask("GET", "/ping")[:2] == (200, {"text": "\n"})
    assert client.ask("GET", "/health")[0] == 200
    assert client.ask("GET", "/version")[1]["text"].count(".") >= 1


def tensors(rows: list[dict[str, Any]], *, nested: bool = False) -> list[dict[str, Any]]:
    kinds = {"temp": "FP64", "seats": "INT64", "night": "BOOL", "carrier": "BYTES"}
    return [
        {
            "name": name,
            "shape": [len(rows), 1] if nested else [len(rows)],
            "datatype": kinds[name],
            "data": [[row[name]] for row in rows] if nested else [row[name] for row in rows],
        }
        for name in NAMES
    ]


def test_the_inference_protocol(client: Client) -> None:
    right = expected("binary", 0, ROWS)
    asked: list[dict[str, Any]] = [
        {"inputs": tensors(ROWS)},
        {"inputs": tensors(ROWS, nested=True), "parameters": {"content_type": "pd"}},
        {"inputs": [{"name": "input-0", "shape": [6, 4], "datatype": "FP64", "data": VALUES}]},
        {"inputs": [{"name": "x", "shape": [6, 4], "datatype": "FP64", "data": [v for row in VALUES for v in row]}]},
    ]
    for path in ("/v2/models/delay/infer", "/v2/models/delay/versions/v1/infer"):
        for body in asked:
            status, facts, _ = client.ask("POST", path, {"id": "mine", **body})
            assert (status, facts["id"], facts["model_name"], facts["model_version"]) == (200, "mine", "delay", "v1")
            score = {"name": "score", "shape": [6, 1], "datatype": "FP64", "data": right}
            assert facts["outputs"] == [score]
            assert len(set(facts["parameters"]["ids"])) == 6
    status, facts, _ = client.ask("POST", "/v2/models/which/infer", asked[0])
    assert [one["name"] for one in facts["outputs"]] == ["score", "label", "probabilities"]
    assert facts["outputs"][2]["data"] == [value for row in expected("multiclass", 0, ROWS) for value in row]
    assert set(facts["outputs"][1]["data"]) <= set(CLASSES)
    status, facts, _ = client.ask("POST", "/v2/models/which/infer", {**asked[0], "outputs": [{"name": "label"}]})
    assert [one["name"] for one in facts["outputs"]] == ["label"]


def test_the_inference_protocol_refuses_in_words(client: Client) -> None:
    one = tensors(ROWS)
    wrong: list[tuple[Any, int, str]] = [
        ({}, 400, "inputs"),
        ({"inputs": []}, 400, "no inputs"),
        ({"inputs": one[:3]}, 422, "carrier"),
        ({"inputs": [{**one[0], "name": "tmp"}, *one[1:]]}, 422, "temp"),
        ({"inputs": [{**one[0], "shape": [5]}, *one[1:]]}, 400, "6 values"),
        ({"inputs": [{**one[0], "shape": [-6]}, *one[1:]]}, 400, "negative"),
        ({"inputs": [{**one[0], "shape": []}, *one[1:]]}, 400, "values"),
        ({"inputs": [{**one[0], "data": ["x"] * 6}, *one[1:]]}, 422, "temp"),
        ({"inputs": [one[0], one[0]]}, 400, "twice"),
        ({"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP64", "data": [1] * 6}]}, 400, "[2, 1]"),
    ]
    for body, code, words in wrong:
        status, facts, _ = client.ask("POST", "/v2/models/delay/infer", body)
        assert (status, words in facts["error"]) == (code, True), (body, facts)
    assert client.ask("POST", "/v2/models/delay/versions/v9/infer", {"inputs": one})[0] == 404
    status, facts, _ = client.ask("POST", "/v2/models/dely/infer", {"inputs": one})
    assert (status, 'did you mean "delay"' in facts["error"]) == (404, True)


def test_the_inference_protocol_describes_itself(client: Client) -> None:
    assert client.ask("GET", "/v2")[1]["name"] == "middlewatch"
    assert client.ask("GET", "/v2/health/live")[1] == {"live": True}
    assert client.ask("GET", "/v2/health/ready")[1] == {"ready": True}
    assert client.ask("GET", "/v2/models/delay/ready")[1] == {"name": "delay", "ready": True}
    for path in ("/v2/models/which", "/v2/models/which/versions/v1"):
        facts = client.ask("GET", path)[1]
        assert facts["versions"] == ["v1"]
        assert [(one["name"], one["datatype"]) for one in facts["inputs"]] == [
            ("temp", "FP64"), ("seats", "INT64"), ("night", "BOOL"), ("carrier", "BYTES"),
        ]  # fmt: skip
        assert facts["outputs"][2]["shape"] == [-1, 3]
    assert client.ask("GET", "/v2/models/which/versions/v2")[0] == 404
    assert client.ask("GET", "/v2/models/none")[0] == 404
    assert client.ask("POST", "/v2/models/which")[0] == 405


def test_behind_a_proxy_and_in_the_access_log(tmp_path: Path) -> None:
    project = make_project(
        tmp_path, {"delay": "binary"}, more='\n[serve]\nroot_path = "/ml/delay"\naccess_log = "json"\n'
    )
    promote(project, "delay", publish(project, "delay"))
    with serving(tmp_path) as (server, client):
        for prefix in ("", "/ml/delay"):
            assert client.predict(ROWS[0], f"{prefix}/predict")["version"] == "v1"
            assert client.ask("POST", f"{prefix}/invocations?a=b", {"instances": ROWS})[0] == 200
            assert client.ask("GET", f"{prefix}/readyz")[0] == 200
            facts = client.ask("GET", f"{prefix}/openapi.json")[1]
            assert facts["servers"] == [{"url": "/ml/delay"}]
            assert "$URL/ml/delay/predict" in client.ask("GET", f"{prefix}/docs")[1]["text"]
        assert client.ask("GET", "/ml/delayed")[0] == 404
        ident = client.ask("POST", "/predict", {"seats": 3}, x_middlewatch_caller="me")[2]["x-request-id"]
        server.stop()
        lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert [(one["path"], one["status"]) for one in lines[:2]] == [("/predict", 200), ("/invocations", 200)]
    assert lines[0]["version"] == "v1"
    assert (lines[-1]["id"], lines[-1]["status"], lines[-1]["caller"]) == (ident, 422, "me")
    assert len(lines) == 12
    assert str(ROWS[0]["seats"]) not in server.log()

"""The same trees behind other servers, each in an environment of its own, the way its documentation serves a model.

They get the twelve inputs as numbers, categories already encoded; none of them keeps what it was asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, float | None]

# Each script has `folder` (with model.txt, names.json) and `port`.
_START = """
import json, os, sys
from pathlib import Path
folder, port = Path(sys.argv[1]), int(sys.argv[2])
names = json.loads((folder / "names.json").read_text())
"""

MLFLOW = (
    _START
    + """
import lightgbm, mlflow, numpy as np, pandas as pd
os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
path = folder / "mlflow-model"
if not path.exists():
    example = pd.DataFrame([[0.5] * len(names)], columns=names)
    signature = mlflow.models.infer_signature(example, np.array([0.5]))
    mlflow.lightgbm.save_model(lightgbm.Booster(model_file=str(folder / "model.txt")), str(path), signature=signature)
from mlflow.pyfunc import scoring_server
import uvicorn
app = scoring_server.init(scoring_server.load_model_with_mlflow_config(str(path)))
uvicorn.run(app, port=port, log_level="error")
"""
)
VETIVER = (
    _START
    + """
import lightgbm, numpy as np, pandas as pd, uvicorn, vetiver
from sklearn.base import BaseEstimator
class Trees(BaseEstimator):
    def fit(self, x, y=None):
        return self
    def predict(self, x):
        return booster.predict(np.asarray(x, dtype=float), num_threads=1)
booster = lightgbm.Booster(model_file=str(folder / "model.txt"))
prototype = pd.DataFrame([[0.5] * len(names)], columns=names)
model = vetiver.VetiverModel(Trees(), model_name="delay", prototype_data=prototype)
uvicorn.run(vetiver.VetiverAPI(model, check_prototype=True).app, port=port, log_level="error")
"""
)
BENTOML = (
    _START
    + """
import subprocess
(folder / "service.py").write_text(f'''
import bentoml, lightgbm, numpy as np
@bentoml.service(workers=1)
class Delay:
    def __init__(self) -> None:
        self.booster = lightgbm.Booster(model_file={str(folder / "model.txt")!r})
    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.booster.predict(rows, num_threads=1)
''')
os.chdir(folder)
os.environ.update(BENTOML_HOME=str(folder / "bentoml"), BENTOML_DO_NOT_TRACK="true")
os.execv(sys.executable, [sys.executable, "-m", "bentoml", "serve", "service:Delay", "--port", str(port), "-q"])
"""
)
MLSERVER = (
    _START
    + """
(folder / "settings.json").write_text(json.dumps({
    "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "parallel_workers": 0, "debug": False,
}))
(folder / "model-settings.json").write_text(json.dumps({
    "name": "delay", "implementation": "mlserver_lightgbm.LightGBMModel",
    "parameters": {"uri": str(folder / "model.txt"), "version": "v1"},
}))
os.chdir(folder)
os.execv(sys.executable, [sys.executable, "-c", "from mlserver.cli import main; main()", "start", "."])
"""
)


@dataclass(frozen=True)
class Peer:
    """How a peer is started and asked: `path` is posted to, `body` is a row as it takes it, `score` reads an answer."""

    script: str
    path: str
    body: Callable[[Row], Any]
    score: Callable[[Any], float]


def _values(row: Row) -> list[float | None]:
    return list(row.values())


PEERS: dict[str, Peer] = {
    "mlflow": Peer(
        MLFLOW,
        "/invocations",
        lambda row: {"dataframe_split": {"columns": list(row), "data": [_values(row)]}},
        lambda facts: float(facts["predictions"][0]),
    ),
    "bentoml": Peer(BENTOML, "/predict", lambda row: {"rows": [_values(row)]}, lambda facts: float(facts[0])),
    "mlserver": Peer(
        MLSERVER,
        "/v2/models/delay/infer",
        lambda row: {
            "inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP64", "data": _values(row)}],
        },
        lambda facts: float(facts["outputs"][0]["data"][0]),
    ),
    "vetiver": Peer(VETIVER, "/predict", lambda row: [dict(row)], lambda facts: float(facts["predict"][0])),
}


def request(path: str, body: Any) -> bytes:
    """One HTTP request of JSON over a kept connection."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
    return head.encode() + b"\r\n\r\n" + data


def encoded(names: Sequence[str], values: Sequence[float]) -> Row:
    """A row of numbers by name; a missing one is null."""
    return {name: None if value != value else value for name, value in zip(names, values, strict=True)}

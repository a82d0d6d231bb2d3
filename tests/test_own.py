"""Models of the project's own code: learnt, kept without pickle, served, replayed; each library with its own way."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import middlewatch as mw
from middlewatch import library, model, predictions
from middlewatch.errors import ConfigError, NotFound, Refused, UsageError
from middlewatch.own import shown
from middlewatch.usercode import UserCode
from serving import serving
from test_train import measured

ROWS = measured(600)

PIPELINE = """
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import {model}
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

def train(table, target, seed):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("n", numbers, ["length", "width"]),
                                 ("c", OneHotEncoder(handle_unknown="ignore"), ["colour"])])
    return make_pipeline(columns, {model}({more})).fit(table, target)
"""
XGB = """
import xgboost
def features(table):
    import polars as pl
    return table.with_columns(pl.col("colour") == "red")
def train(table, target, seed):
    data = xgboost.DMatrix(table.to_numpy(), label=target)
    return xgboost.train({"objective": "binary:logistic", "seed": seed, "nthread": 1}, data, 5)
"""
XGB_SKLEARN = """
import xgboost
def features(table):
    import polars as pl
    return table.with_columns(pl.col("colour") == "red")
def train(table, target, seed):
    codes = (target == "yes").astype(int)
    return xgboost.XGBClassifier(n_estimators=5, random_state=seed, n_jobs=1).fit(table.to_numpy(), codes)
"""
FUNCTION = """
import csv
from pathlib import Path
from helping import half
with (Path(__file__).parent / "lookup.csv").open() as lines:
    WEIGHTS = {row["colour"]: float(row["weight"]) for row in csv.DictReader(lines)}
def features(table):
    import polars as pl
    return table.with_columns(pl.col("colour").replace_strict(WEIGHTS, default=0.0, return_dtype=pl.Float64))
def answer(table):
    return (table["length"] * half(table["colour"]) / 20).fill_null(0).clip(0, 1)
def train(table, target, seed):
    return answer
"""
FEATURES = """
def features(table):
    import polars as pl
    return table.select(area=pl.col("length") * pl.col("width"), long=pl.col("length") > 5, colour="colour")
def score(model, table, target):
    return {"mean": model.predict(table).mean(), "rows": len(target)}
"""


def start(folder: Path, target: str, code: str, *, more: str = "", files: dict[str, str] | None = None) -> mw.Handle:
    others = [one for one in ("kind", "weight", "rare") if one != target]
    ROWS.drop(others).write_parquet(folder / "flowers.parquet")
    library.init(str(folder / "flowers.parquet"), target=target, time="seen", folder=folder)
    (folder / "train.py").write_text(code)
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    path = folder / "middlewatch.toml"
    path.write_text(path.read_text().replace("\ntarget =", f'\ntrain = "train.py"\n{more}\ntarget =', 1))
    return mw.open(folder)


def test_the_command_line_trains_what_imports_scikit_learn_and_pandas(tmp_path: Path) -> None:
    project = start(tmp_path, "rare", PIPELINE.format(model="LogisticRegression", more=""), more='frame = "pandas"')
    command = [sys.executable, "-m", "middlewatch", "train", "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("v1 from d1")
    project.promote("v1", force="a try")
    # The default model after it is held against it.
    path = tmp_path / "middlewatch.toml"
    path.write_text(path.read_text().replace('train = "train.py"\nframe = "pandas"\n', ""))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "not_worse" in done.stdout


CASES: list[tuple[str, str, str, str, dict[str, str]]] = [
    ("rare", PIPELINE.format(model="LogisticRegression", more=""), 'frame = "pandas"', "skops", {}),
    ("kind", PIPELINE.format(model="LogisticRegression", more=""), 'frame = "polars"', "skops", {}),
    ("weight", PIPELINE.format(model="Ridge", more=""), 'frame = "pandas"', "skops", {}),
    ("rare", XGB.replace("label=target", 'label=(target == "yes").astype(int)'), "", "xgboost", {}),
    ("rare", XGB_SKLEARN, "", "skops", {}),
    ("rare", FUNCTION, 'files = ["lookup.csv", "helping.py"]', "function",
     {"lookup.csv": "colour,weight\nred,2\nblue,1\n", "helping.py": "def half(x):\n    return x / 2\n"}),
    ("rare", FEATURES, "", "trees", {}),
    ("kind", FEATURES.replace("predict(table).mean()", "predict(table)[:, 0].mean()"), 'frame = "polars"', "trees", {}),
]  # fmt: skip


@pytest.mark.parametrize(("target", "code", "more", "kept", "files"), CASES, ids=lambda one: str(one)[:12].strip())
def test_own_models_go_the_whole_way(
    tmp_path: Path, target: str, code: str, more: str, kept: str, files: dict[str, str]
) -> None:
    project = start(tmp_path, target, code, more=more, files=files)
    trained = project.train()
    version = model.load(project.project.store, project.model, "v1")
    assert (version.kind, version.manifest["own"]["format"]) == ("own", kept)
    names = {one["name"] for one in version.manifest["files"]}
    assert names >= {"model.bin", "code/train.py", "golden.json", *(f"code/{name}" for name in files)}
    if "def score" in code:
        assert any("score(): rows 120" in note for note in trained.notes)
    project.promote("v1", reason="a try")
    asked = [{name: row[name] for name in version.encoding.names} for row in ROWS.head(12).to_dicts()]
    asked[3]["colour"] = "never seen"
    scored = project.score(ROWS.drop(target))
    # The folder's code may change or go: the version holds its own.
    (tmp_path / "train.py").write_text("raise RuntimeError")
    with serving(tmp_path) as (server, client):
        singles = [client.predict(row) for row in asked]
        listed = client.predict(asked)["predictions"]
        assert client.ask("POST", "/predict", {**asked[0], "length": "5"})[0] == 422
        assert server.stop() == 0
    assert [one["score"] for one in listed] == pytest.approx([one["score"] for one in singles], rel=1e-6)
    whole = [one for at, one in enumerate(singles) if at != 3]
    batch = [one for at, one in enumerate(scored.frame["mw.score"].head(12)) if at != 3]
    assert [one["score"] for one in whole] == pytest.approx(batch, rel=1e-6)
    logged = predictions.read(project.project.store, project.project.spool(project.model), project.model)
    assert json.loads(logged["mw.raw"][0]) == asked[0]
    assert [one["score"] for one in singles] == logged.sort("mw.id")["mw.score"].head(12).to_list()


FAILS = """
def half(value):
    return 5 / (value["length"][0] + 1)
def features(table):
    if len(table) == 1:
        half(table)
    return table.with_columns(long=1 / table["length"])
"""


@pytest.mark.parametrize("private", [False, True])
def test_requests_that_the_model_fails_on_are_kept_as_evidence(tmp_path: Path, private: bool) -> None:
    project = start(tmp_path, "rare", FAILS)
    if private:
        path = tmp_path / f"{project.model}.schema.toml"
        path.write_text(path.read_text().replace("[columns.colour]", '[columns.colour]\nprivate = "drop"', 1))
        project = mw.open(tmp_path)
    project.train()
    project.promote("v1", force="a try")
    version = model.load(project.project.store, project.model, "v1")
    good = {name: ROWS[name][0] for name in version.encoding.names}
    with serving(tmp_path) as (server, client):
        client.predict(good)
        # A null is none of the values that it was tried with: None + 1 fails.
        status, facts, headers = client.ask("POST", "/predict", {**good, "length": None})
        assert status == 500
        assert facts["error"] == "v1 of rare failed on this request"
        assert facts["why"] == "TypeError in features() (train.py, line 3)"
        assert facts["id"] == headers["x-request-id"]
        assert client.ask("POST", "/predict", [good, {**good, "length": None}])[0] == 500
        assert client.ask("POST", "/invocations", {"dataframe_records": [{**good, "length": None}]})[0] == 500
        assert client.ask("POST", "/predict", {**good, "length": "5"})[0] == 422
        assert "unsupported operand" in server.log(), "the traceback is for whoever runs the server"
        assert server.stop() == 0
    kept = project.refused()
    assert kept["status"].to_list() == [500, 500, 500, 422]
    assert kept["came"].to_list()[0] == "TypeError in features() (train.py, line 3)"
    assert ("unsupported operand" in kept["error"][0]) is not private, "its words may hold the row"
    assert kept["mw.id"][0] == facts["id"]
    assert (b"colour" in kept["mw.raw"][0]) is not private
    assert predictions.read(project.project.store, project.project.spool("rare"), "rare").height == 1
    command = [sys.executable, "-m", "middlewatch", "tail", "--refused", "--project", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert ["failed: v1" in one for one in said] == [True, True, True, False]


MOVING = """
from pathlib import Path
def features(table):
    import polars as pl
    more = float(Path({path!r}).read_text())
    return table.select(area=pl.col("length") * pl.col("width") + more, long=pl.col("length") > 5, colour="colour")
"""


def test_what_features_gave_is_kept_so_that_a_difference_has_a_name(tmp_path: Path) -> None:
    """A file that is not pinned changes while it serves: the same inputs no longer mean the same to the model."""
    read = tmp_path / "outside.txt"
    read.write_text("0")
    project = start(tmp_path, "rare", MOVING.format(path=str(read)))
    project.train()
    project.promote("v1", force="a try")
    version = model.load(project.project.store, project.model, "v1")
    asked = [{name: row[name] for name in version.encoding.names} for row in ROWS.head(60).to_dicts()]
    with serving(tmp_path) as (server, client):
        first = client.predict(asked[0])
        read.write_text("-40")
        later = [client.predict(row) for row in asked]
        read.write_text("0")
        assert server.stop() == 0
    logged = project.predictions().sort("mw.id")
    kept = [json.loads(one) for one in logged["mw.features"]]
    area = asked[0]["length"] * asked[0]["width"]
    assert kept[0] == {"area": pytest.approx(area), "long": asked[0]["length"] > 5, "colour": asked[0]["colour"]}
    assert kept[1]["area"] == pytest.approx(area - 40)
    assert project.why(first["id"]).to_dict()["features"] == []
    [one] = project.why(later[0]["id"]).to_dict()["features"]
    assert (one["feature"], one["now"]) == ("area", pytest.approx(one["served"] + 40))
    found = project.why(since="1h").to_dict()["causes"][0]
    assert (found["kind"], found["form"], found["confidence"]) == ("preprocessing", "features_differ", "certain")
    assert "features() gave other values of area" in found["detail"]
    command = [sys.executable, "-m", "middlewatch", "tail", "-n", "1", "--json", "--project", str(tmp_path)]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(line)["features"]["colour"] == asked[-1]["colour"]


def test_one_prediction_is_told_although_features_fails_by_now(tmp_path: Path) -> None:
    """What `features` read outside of the project is gone: why says so in words, beside the inputs as they came."""
    read = tmp_path / "outside.txt"
    read.write_text("0")
    project = start(tmp_path, "rare", MOVING.format(path=str(read)))
    project.train()
    project.promote("v1", force="a try")
    project.score(ROWS.head(40).drop("kind", "weight", "rare"), log=True)
    read.unlink()
    told = project.why(str(project.predictions()["mw.id"][0]))
    facts = told.to_dict()
    assert (facts["replayed"], facts["features"]) == (None, [])
    assert {one["column"] for one in facts["inputs"]} >= {"length", "width", "colour"}
    [note] = facts["notes"]
    assert note.startswith("v1 cannot be replayed: v1 cannot answer: its own code raises")
    assert "FileNotFoundError" in note
    assert note in told.lines()


def test_features_as_json_are_bounded_and_of_any_table() -> None:
    import pandas as pd

    frame = pl.DataFrame({"a": [1.5, None], "b": [True, False], "c": ["x", "é"], "d": [date(2026, 1, 2), None]})
    assert shown(frame, 0) == b'{"a":1.5,"b":true,"c":"x","d":"2026-01-02"}'
    assert shown(frame, 1) == '{"a":null,"b":false,"c":"é","d":null}'.encode()
    assert shown(pd.DataFrame({"a": [1, 2], 7: [float("nan"), 2.0]}), 0) == b'{"a":1,"7":null}'
    assert shown(np.array([[1.0, float("inf")]])) == b'{"0":1.0,"1":null}'
    assert shown(object()) is None
    wide = shown(pl.DataFrame({f"column {at}": [at / 3] for at in range(2000)}))
    assert wide is not None
    assert 15_000 < len(wide) <= 16 << 10
    assert len(json.loads(wide)) < 2000


def test_features_of_private_inputs_are_not_kept(tmp_path: Path) -> None:
    project = start(tmp_path, "rare", FEATURES)
    path = tmp_path / f"{project.model}.schema.toml"
    path.write_text(path.read_text().replace("[columns.colour]", '[columns.colour]\nprivate = "drop"', 1))
    project = mw.open(tmp_path)
    project.train()
    project.promote("v1", force="a try")
    with serving(tmp_path) as (server, client):
        client.predict({"length": 5.1, "width": 3.2, "colour": "blue"})
        assert server.stop() == 0
    assert "mw.features" not in project.predictions().columns


WRONG: list[tuple[str, type[Exception], str]] = [
    ("def train(table, target, seed): return 3", UsageError, "no model"),
    ("def train(table, target, seed): return lambda t: t", UsageError, "not one of the file's own"),
    ("def train(table, target, seed): raise KeyError('x')", UsageError, "KeyError"),
    ("def features(table): return table.head(3)\n", Refused, "made 3 rows"),
    ("import nonsense_module", UsageError, "nonsense_module"),
    ("train = 3", UsageError, "not a function"),
    ("def answer(t): return t['length'] * 9\ndef train(a, b, c): return answer", Refused, "run from"),
    ("def answer(t): return (t['length'] * 0).fill_null(0) + t['length'].rank() / len(t)\n"
     "def train(a, b, c): return answer", Refused, "among others"),
    ("def answer(t): return ['purple'] * len(t)\ndef train(a, b, c): return answer", Refused, "purple"),
    ("def answer(t): return [0.5]\ndef train(a, b, c): return answer", Refused, "numbers for"),
    ("class Mine:\n    def __init__(self): self.f = lambda x: x\n    def predict(self, t): return t['length'] * 0\n"
     "def train(a, b, c): return Mine()", UsageError, "without pickle"),
    ("def features(table): return table.select(x=table['colour'].str.split('e'))", UsageError, "List"),
    ("def score(model, table, target): return {'a': 'b'}\ndef features(t): return t", UsageError, r"score\(\)"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "error", "words"), WRONG)
def test_what_is_wrong_is_said_when_training(tmp_path: Path, code: str, error: type[Exception], words: str) -> None:
    project = start(tmp_path, "rare", code)
    with pytest.raises(error, match=words):
        project.train()
    assert model.versions(project.project.store, project.model) == []


def test_pickle_only_where_it_is_asked_for(tmp_path: Path) -> None:
    code = (
        "class Mine:\n    def __init__(self, at): self.at = at\n"
        "    def predict_proba(self, t):\n        import numpy as np\n"
        "        p = (t['length'].fill_null(0) > self.at).cast(float).to_numpy() * 0.8 + 0.1\n"
        "        return np.stack([1 - p, p], axis=1)\n"
        "def train(table, target, seed): return Mine(6)\n"
    )
    project = start(tmp_path, "rare", code, more='serializer = "pickle"')
    project.train()
    version = model.load(project.project.store, project.model, "v1")
    assert version.manifest["own"]["format"] == "pickle"
    loaded: Any = model.predictor(project.project.store, version)
    assert loaded.rows([[7.0, 1.0, "red"], [None, 1.0, None]]) == [0.9, 0.1]


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    project = start(tmp_path, "rare", FEATURES)
    project.train()
    version = model.load(project.project.store, project.model, "v1")
    kept = next((tmp_path / ".middlewatch").rglob("code/train.py"))
    kept.chmod(0o644)
    kept.write_text(FEATURES.replace("> 5", "> 4"))
    with pytest.raises(mw.MiddlewatchError, match="not what was stored"):
        model.predictor(project.project.store, version)


def test_data_from_a_function(tmp_path: Path) -> None:
    code = (
        "import polars as pl\nfrom pathlib import Path\n"
        "def load():\n    return pl.read_parquet(Path(__file__).parent / 'flowers.parquet')\n"
    )
    project = start(tmp_path, "rare", code)
    path = tmp_path / "middlewatch.toml"
    lines = [
        'source = "train.py:load"' if line.startswith("source") else line for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines))
    project = mw.open(tmp_path)
    trained = project.train()
    assert trained.rows == 480
    assert model.load(project.project.store, project.model, "v1").kind == "lightgbm"
    path.write_text(path.read_text().replace("train.py:load", "train.py:lod"))
    with pytest.raises(NotFound, match='no function "lod"'):
        mw.open(tmp_path).train()


def test_code_is_taken_from_the_project_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out.py").write_text("")
    (tmp_path / "in" / "train.py").write_text("x = 1")
    for entry, more in (("../out.py", ()), ("none.py", ()), ("train.py", ("../out.py",))):
        with pytest.raises(ConfigError):
            UserCode.of(tmp_path / "in", entry, more, where="here")
    code = UserCode.of(tmp_path / "in", "train.py", (), where="here")
    assert code.function("features") is None
    other = UserCode("train.py", {"train.py": b"x = 2"})
    assert (code.module().x, other.module().x) == (1, 2)
    assert code.module() is UserCode("train.py", {"train.py": b"x = 1"}).module()


def test_frames_are_the_same_for_one_row_and_many() -> None:
    import polars as pl

    from middlewatch.own import in_kind

    table = pl.DataFrame(
        {"a": [1.5, None], "b": [1, None], "c": [True, None], "d": ["x", None]},
        schema={"a": pl.Float64, "b": pl.Int64, "c": pl.Boolean, "d": pl.String},
    )
    whole, first, second = (in_kind(one, "pandas") for one in (table, table[:1], table[1:]))
    assert list(whole.dtypes) == list(first.dtypes) == list(second.dtypes)
    assert np.isnan(second["b"][0])
    assert second["d"][0] is None

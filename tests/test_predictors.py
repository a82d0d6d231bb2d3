from __future__ import annotations

import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from middlewatch.errors import NotFound, Refused, UsageError
from middlewatch.predictors import load, trees_sha256

FEATURES = 5


@cache
def trained(task: str, *, threads: int = 1, seed: int = 0) -> Any:
    """A small LightGBM model with missing values and a categorical column; (booster, matrix)."""
    import lightgbm

    rng = np.random.default_rng(seed)
    table = rng.normal(size=(600, FEATURES))
    table[:, 4] = rng.integers(0, 9, size=600)
    table[rng.random(table.shape) < 0.1] = np.nan
    signal = np.nan_to_num(table[:, 0]) + np.nan_to_num(table[:, 4]) % 3
    target = {"binary": signal > 1, "regression": signal, "multiclass": np.digitize(signal, [0.5, 1.5])}[task]
    params = {
        "objective": task, "verbosity": -1, "seed": 1, "deterministic": True, "force_col_wise": True,
        "num_threads": threads, "min_data_in_leaf": 5, **({"num_class": 3} if task == "multiclass" else {}),
    }  # fmt: skip
    data = lightgbm.Dataset(table, label=np.asarray(target, dtype=float), categorical_feature=[4])
    return lightgbm.train(params, data, 20), table


def outputs(task: str) -> int:
    return 3 if task == "multiclass" else 1


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_row_rows_batch_and_the_package_agree_to_the_bit(task: str) -> None:
    booster, table = trained(task)
    table = np.vstack([table, [[np.nan] * FEATURES, [1e300, -1e300, np.inf, -np.inf, 99], [0, -0.0, 1e-320, 5, -3]]])
    ours = load("lightgbm", booster.model_to_string().encode(), features=FEATURES, outputs=outputs(task))
    expected = booster.predict(table, num_threads=1)
    rows = table.tolist()
    assert np.array_equal(ours.batch(table), expected)
    assert np.array_equal(ours.batch(table, threads=2), expected)
    assert np.array_equal(np.asarray(ours.rows(rows)), expected)
    assert np.array_equal(np.asarray([ours.row(row) for row in rows]), expected)


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_contributions_add_up_to_the_raw_score(task: str) -> None:
    booster, table = trained(task)
    load_ = load("lightgbm", booster.model_to_string().encode(), features=FEATURES, outputs=outputs(task))
    found = load_.contributions(table[:20])  # type: ignore[attr-defined]  # only trees have them
    raw = booster.predict(table[:20], raw_score=True)
    assert found.shape == ((20, 3, FEATURES + 1) if task == "multiclass" else (20, FEATURES + 1))
    assert np.allclose(found.sum(axis=-1), raw)


def test_threads_do_not_mix_their_rows() -> None:
    booster, table = trained("multiclass")
    ours = load("lightgbm", booster.model_to_string().encode(), features=FEATURES, outputs=3)
    expected = booster.predict(table).tolist()
    wrong: list[int] = []

    def work(start: int) -> None:
        for turn in range(4000):
            at = (start * 131 + turn) % len(table)
            if ours.row(table[at].tolist()) != expected[at]:
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_empty_tables() -> None:
    for task, shape in (("binary", (0,)), ("multiclass", (0, 3))):
        ours = load("lightgbm", trained(task)[0].model_to_string().encode(), features=FEATURES, outputs=outputs(task))
        assert ours.batch(np.empty((0, FEATURES))).shape == shape
        assert ours.rows([]) == []


def test_a_row_of_another_width_is_refused() -> None:
    ours = load("lightgbm", trained("binary")[0].model_to_string().encode(), features=FEATURES, outputs=1)
    for width in (0, FEATURES - 1, FEATURES + 1):
        with pytest.raises(ValueError):
            ours.row([0.0] * width)
        with pytest.raises(ValueError):
            ours.rows([[0.0] * width])
        with pytest.raises(ValueError):
            ours.batch(np.zeros((2, width)))


def test_what_does_not_load_says_why(tmp_path: Path) -> None:
    text = trained("binary")[0].model_to_string().encode()
    for broken in (b"", b"tree", text[: len(text) // 2], b"\x00" * 100):
        with pytest.raises(Refused):
            load("lightgbm", broken, features=FEATURES, outputs=1)
    with pytest.raises(Refused, match="5 features, its manifest says 6"):
        load("lightgbm", text, features=6, outputs=1)
    with pytest.raises(Refused, match="1 outputs, its manifest says 3"):
        load("lightgbm", text, features=FEATURES, outputs=3)
    with pytest.raises(UsageError, match="lightgmb"):
        load("lightgmb", text, features=FEATURES, outputs=1)
    with pytest.raises(NotFound):
        load("lightgbm", tmp_path / "model.txt", features=FEATURES, outputs=1)
    (tmp_path / "model.txt").write_bytes(text)
    load("lightgbm", tmp_path / "model.txt", features=FEATURES, outputs=1)


def test_the_hash_is_of_the_trees_alone() -> None:
    one = trained("binary", threads=1)[0].model_to_string()
    two = trained("binary", threads=2)[0].model_to_string()
    other = trained("binary", seed=1)[0].model_to_string()
    assert one != two
    assert trees_sha256(one) == trees_sha256(two) == trees_sha256(two.encode())
    assert trees_sha256(one) != trees_sha256(other)
    with pytest.raises(Refused):
        trees_sha256("no model")


def test_serving_imports_neither_numpy_nor_lightgbm(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text(trained("regression")[0].model_to_string())
    code = (
        "import sys; from pathlib import Path; from middlewatch.predictors import load\n"
        f"model = load('lightgbm', Path({str(path)!r}), features={FEATURES}, outputs=1)\n"
        f"print(model.row([0.5] * {FEATURES}) == model.rows([[0.5] * {FEATURES}])[0])\n"
        "print(sorted({'numpy', 'lightgbm', 'scipy', 'polars', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["True", "[]"]

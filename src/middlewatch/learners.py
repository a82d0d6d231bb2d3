"""What learns: the default model, LightGBM, the same trees on every run and every number of threads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .predictors import Predictor, load, trees_sha256

Floats = NDArray[np.float64]
THREADS = os.cpu_count() or 1
FOLD_ROWS = 20_000

_OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}


def parameters(task: str, rows: int, classes: int, seed: int) -> dict[str, Any]:
    """LightGBM's parameters for a task: 150 trees of 31 leaves, fewer and smaller ones for few rows.

    `deterministic` with `force_col_wise` gives the same trees at any number of threads.
    """
    settings: dict[str, Any] = {
        "objective": _OBJECTIVES[task],
        "num_iterations": 150 if rows >= 5_000 else 100,
        "learning_rate": 0.08,
        "num_leaves": 31 if rows >= 5_000 else 15,
        "min_data_in_leaf": int(np.clip(rows // 500, 5, 100)),
        "feature_fraction": 0.9,
        "bagging_fraction": 0.9,
        "bagging_freq": 1,
        "max_bin": 255,
        "cat_smooth": 20.0,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }
    if task == "multiclass":
        settings["num_class"] = classes
        settings["num_iterations"] = max(30, settings["num_iterations"] // max(1, classes // 2))
    return settings


def grow(
    matrix: Floats, target: Floats, *, names: Sequence[str], categorical: Sequence[int], settings: Mapping[str, Any]
) -> bytes:
    """The model as LightGBM's text, from an encoded (rows, columns) matrix."""
    # Late: the package pulls in scikit-learn and pandas where they are installed.
    import lightgbm

    data = lightgbm.Dataset(
        matrix,
        target,
        feature_name=[f"f{number}" for number in range(len(names))],  # any column name is allowed, LightGBM's are not
        categorical_feature=list(categorical),
        params={"verbosity": -1, "max_bin": settings["max_bin"], "min_data_in_bin": 3},
        free_raw_data=True,
    )
    # Threads wait for each other by spinning: where the machine is busy with other work, one is faster than all.
    idle = os.getloadavg()[0] < THREADS - 0.5
    trained = lightgbm.train({**settings, "num_threads": THREADS if idle else 1}, data)
    return str(trained.model_to_string()).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a learner made: `kind` and `files` as a version keeps them, `tolerance` for scoring it again (relative)."""

    predictor: Predictor
    kind: str
    files: Mapping[str, bytes]
    settings: Mapping[str, Any]
    tolerance: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(len(one) for one in self.files.values())


class Learner(Protocol):
    """Anything that makes a model of encoded rows: a matrix, or a frame where the encoding is `Plain`."""

    def fit(self, rows: Any, target: Floats, *, seed: int) -> Fitted:
        """Learn from rows and their targets (see `targets.target_of`)."""
        ...

    def lighter(self, rows: int) -> Learner:
        """A quicker one as for this many rows: for how scores spread, not for how good the model is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """The default model on an encoded matrix."""

    task: str
    classes: int
    names: tuple[str, ...]
    categorical: tuple[int, ...]
    share: float = 1.0  # of the steps; the fewer, the larger
    rows: int | None = None  # that the parameters are for, where they are not those learnt from

    def fit(self, rows: Floats, target: Floats, *, seed: int) -> Fitted:
        settings = parameters(self.task, self.rows or rows.shape[0], self.classes, seed)
        settings["num_iterations"] = max(1, int(settings["num_iterations"] * self.share))
        settings["learning_rate"] /= self.share
        text = grow(rows, target, names=self.names, categorical=self.categorical, settings=settings)
        outputs = self.classes if self.task == "multiclass" else 1
        return Fitted(
            predictor=predictor(text, len(self.names), outputs),
            kind="lightgbm",
            files={"model.txt": text},
            settings=settings,
            facts={"trees_sha256": trees_sha256(text)},
        )

    def lighter(self, rows: int) -> Trees:
        return replace(self, share=self.share / 2, rows=rows)


def out_of_fold(learner: Learner, rows: Any, target: Floats, *, outputs: int, seed: int, folds: int = 3) -> Floats:
    """Scores of each row by a model that has not seen it: (rows,) or (rows, outputs).

    Folds are contiguous, so that on rows in time order a day is scored by one model that saw none of that day. A
    fold's model learns from at most FOLD_ROWS rows, by a lighter learner: how scores spread is wanted, not the last
    digit of each.
    """
    count = len(rows)
    lighter = learner.lighter(count)
    scores = np.empty((count, outputs) if outputs > 1 else count)
    bounds = np.linspace(0, count, folds + 1).astype(int)
    for start, end in itertools.pairwise(bounds):
        rest = np.r_[0:start, end:count]
        if rest.size > FOLD_ROWS:
            rest = np.sort(np.random.default_rng(seed).choice(rest, FOLD_ROWS, replace=False))
        fitted = lighter.fit(rows[rest], target[rest], seed=seed)
        scores[start:end] = fitted.predictor.batch(rows[start:end], threads=THREADS)
    return scores


def predictor(text: bytes, features: int, outputs: int) -> Predictor:
    """The grown model as the server will run it."""
    return load("lightgbm", text, features=features, outputs=outputs)

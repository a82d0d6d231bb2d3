"""Models of a project's own code, as a version holds them: learnt, kept, loaded, asked.

`features` runs on the model's inputs, then the model on what it gives; both on the frame kind they were trained
on. polars frames have Float64, Int64, Boolean and String. In pandas frames numbers, whole numbers and booleans are
float64 with NaN where missing, texts are objects with None: the same for one row as for a million.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from . import estimators, learners, tables
from .encoding import EncodedColumn, Encoding, plain_dtype
from .errors import MiddlewatchError, Refused, UsageError
from .estimators import Saved
from .predictors import OWN
from .usercode import UserCode

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from .schema import Schema

    Floats = NDArray[np.float64]

__all__ = ["OwnLearner", "OwnPredictor", "load", "shown"]

_MODEL = "model.bin"
_CODE = "code/"
# A model that answers in float32 is the same to this many digits, any other to float64's rounding.
_FLOAT32 = 1e-6
_FLOAT64 = 1e-12
_TRIED = 20
LARGEST = 16 << 10
"""Bytes of a row's features that are kept with its prediction."""


class OwnPredictor:
    """`features`, then the model: rows of values in, scores out. Safe to share as far as the user's code is."""

    def __init__(
        self,
        columns: Sequence[EncodedColumn],
        *,
        frame: str,
        prepare: Callable[[Any], Any] | None,
        score: Callable[[Any], Floats],
        outputs: int,
        model: Any = None,
    ) -> None:
        self.features = len(columns)
        self.outputs = outputs
        self.model = model  # the user's own object, None where it is the default model
        self._schema = {one.name: plain_dtype(one.kind) for one in columns}
        self._frame = frame
        self._prepare = prepare
        self.score = score

    def row(self, values: Sequence[Any]) -> float | list[float]:
        answer: float | list[float] = self.rows([values])[0]
        return answer

    @property
    def has_features(self) -> bool:
        """Whether the model sees what the project's `features` makes of the inputs."""
        return self._prepare is not None

    def row_shown(self, values: Sequence[Any]) -> tuple[float | list[float], bytes | None]:
        """As `row`, and what the model saw of it (see `shown`)."""
        seen = self.prepared(self._table([values]))
        return self.score(seen).tolist()[0], shown(seen)

    def rows(self, table: Sequence[Sequence[Any]]) -> Any:
        return self.batch(self._table(table)).tolist()

    def _table(self, table: Sequence[Sequence[Any]]) -> pl.DataFrame:
        import polars as pl

        if any(len(values) != self.features for values in table):
            raise ValueError(f"a row does not have the model's {self.features} values")
        columns = list(zip(*table, strict=True)) if table else [()] * len(self._schema)
        named = [
            pl.Series(name, values, dtype=dtype)
            for (name, dtype), values in zip(self._schema.items(), columns, strict=True)
        ]
        return pl.DataFrame(named)

    def batch(self, table: Any, *, threads: int = 1) -> Floats:
        """Score a frame of the inputs; `threads` is the user's code's own business."""
        return self.score(self.prepared(table))

    def prepared(self, table: pl.DataFrame) -> Any:
        """What the model sees of the inputs."""
        given = in_kind(table, self._frame)
        if self._prepare is None:
            return given
        seen = self._prepare(given)
        if len(seen) != table.height:
            raise Refused(
                f"features() made {len(seen)} rows of {table.height}",
                fix="it keeps rows and their order: filter rows in load()",
            )
        return seen


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLearner:
    """Learns by the project's `train`, or grows the default model on what its `features` gives."""

    code: UserCode
    schema: Schema
    encoding: Encoding
    frame: str
    serializer: str
    trees: learners.Trees | None = None  # how the default model grows, where it is not the usual way

    def fit(self, rows: pl.DataFrame, target: Floats, *, seed: int) -> learners.Fitted:
        """Raises UsageError where the code fails or its model cannot be kept, Refused where its scores cannot be."""
        task = self.schema.task
        outputs = len(self.schema.classes) if task == "multiclass" else 1
        prepare = self.code.function("features")
        before = OwnPredictor(
            self.encoding.columns, frame=self.frame, prepare=prepare, score=lambda seen: seen, outputs=outputs
        )
        seen = _guarded(f"features() of {self.code.entry}", lambda: before.prepared(rows))
        wanted = self.code.function("train")
        facts: dict[str, Any] = {"frame": self.frame, "code_sha256": self.code.sha256, "entry": self.code.entry}
        if wanted is None:
            return self._trees(seen, target, seed, facts)
        given = self.target(target)
        made = _guarded(f"train() of {self.code.entry}", lambda: wanted(seen, given, seed))
        saved = estimators.save(made, module=self.code.module(), serializer=self.serializer)
        facts |= {"format": saved.format, "trusted": list(saved.trusted), "type": f"{type(made).__name__}"}
        files = {_MODEL: saved.data, **_code_files(self.code)}
        return self._fitted(files, facts, rows, settings={"seed": seed})

    def lighter(self, rows: int) -> OwnLearner:
        """The default model grows in half the steps; how long `train` takes is its own business."""
        count = len(self.schema.classes)
        usual = learners.Trees(task=self.schema.task, classes=count, names=(), categorical=())
        return replace(self, trees=(self.trees or usual).lighter(rows))

    def _trees(self, seen: Any, target: Floats, seed: int, facts: dict[str, Any]) -> learners.Fitted:
        """The default model on the columns that `features` made."""
        frame = tables.from_frame(seen).collect()
        inner = Encoding([_column(frame[name]) for name in frame.columns])
        usual = self.trees or learners.Trees(
            task=self.schema.task, classes=len(self.schema.classes), names=(), categorical=()
        )
        trees = replace(usual, names=inner.names, categorical=inner.categorical)
        grown = trees.fit(inner.encode(frame), target, seed=seed)
        facts |= {"format": "trees", "trusted": [], "type": "LightGBM", "inner": inner.to_dict()}
        files = {_MODEL: grown.files["model.txt"], **_code_files(self.code)}
        return self._fitted(files, facts, None, settings=grown.settings)

    def _fitted(
        self, files: Mapping[str, bytes], facts: dict[str, Any], rows: pl.DataFrame | None, *, settings: Any
    ) -> learners.Fitted:
        """Loaded again from what is kept: what is measured is what will serve."""
        loaded = load(files.__getitem__, list(files), facts, self.encoding, self.schema.task, self.schema.classes)
        tolerance = _FLOAT64
        if rows is not None and rows.height:
            first = loaded.batch(rows[:_TRIED])
            tolerance = _FLOAT32 if (first == first.astype("float32")).all() else _FLOAT64
        return learners.Fitted(
            predictor=loaded, kind=OWN, files=files, settings=settings, tolerance=tolerance, facts={"own": facts}
        )

    def target(self, target: Floats) -> Any:
        """As `train` gets it: values, 0 and 1, or the names of the classes; a numpy array."""
        import numpy as np

        if self.schema.task == "regression":
            return target
        if tuple(self.schema.classes) == ("0", "1") or tuple(self.schema.classes) == ("false", "true"):
            return target.astype(np.int64)
        return np.array(self.schema.classes, dtype=object)[target.astype(np.int64)]


def load(
    file: Callable[[str], bytes],
    names: Sequence[str],
    facts: Mapping[str, Any],
    encoding: Encoding,
    task: str,
    classes: Sequence[str],
) -> OwnPredictor:
    """A kept model: `file` gives one of its files, `names` are all of them, `facts` what the manifest says of it."""
    code = UserCode(facts["entry"], {name[len(_CODE) :]: file(name) for name in names if name.startswith(_CODE)})
    outputs = len(classes) if task == "multiclass" else 1
    model: Any = None
    if facts["format"] == "trees":
        inner = Encoding.from_dict(facts["inner"])
        trees = learners.predictor(file(_MODEL), len(inner.names), outputs)

        def score(seen: Any) -> Floats:
            numbers: Any = inner.encode(tables.from_frame(seen).collect())
            return trees.batch(numbers)

    else:
        model = estimators.restore(Saved(facts["format"], file(_MODEL), tuple(facts["trusted"])), module=code.module())

        def score(seen: Any) -> Floats:
            return estimators.scores(model, seen, task=task, classes=classes)

    return OwnPredictor(
        encoding.columns,
        frame=facts["frame"],
        prepare=code.function("features"),
        score=score,
        outputs=outputs,
        model=model,
    )


def shown(seen: Any, row: int = 0) -> bytes | None:
    """One row of what `features` gave, as a JSON object by name: of a frame, or of a matrix by its columns' numbers.

    NaN and infinite are null; where it is more than LARGEST bytes, the first columns that fit. None for other things.
    """
    if hasattr(seen, "iloc"):
        cells = {str(name): seen[name].iloc[row] for name in seen.columns}
    elif hasattr(seen, "row") and hasattr(seen, "columns"):
        cells = dict(zip(seen.columns, seen.row(row), strict=True))
    elif getattr(seen, "ndim", 0) == 2 and hasattr(seen, "tolist"):
        cells = {str(at): value for at, value in enumerate(seen[row].tolist())}
    else:
        return None
    kept: list[bytes] = []
    size = 2
    for name, value in cells.items():
        cell = b"%b:%b" % (_json(name), _json(value))
        size += len(cell) + 1
        if size > LARGEST:
            break
        kept.append(cell)
    return b"{%b}" % b",".join(kept)


def _json(value: Any) -> bytes:
    """A cell as JSON: numbers, booleans and texts as they are, all else in words."""
    if hasattr(value, "item"):
        value = value.item()
    plain = value if isinstance(value, str | int | float | bool | None) else str(value)
    return msgspec.json.encode(plain)


def in_kind(table: pl.DataFrame, kind: str) -> Any:
    """A polars frame of plain dtypes as the kind of frame that the project's code works on."""
    if kind == "polars":
        return table
    import pandas as pd
    import polars as pl

    columns = {
        one.name: pd.Series(one.to_list(), dtype=object)
        if one.dtype == pl.String
        else pd.Series(one.cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype="float64")
        for one in table.get_columns()
    }
    return pd.DataFrame(columns)


def _code_files(code: UserCode) -> dict[str, bytes]:
    return {f"{_CODE}{name}": data for name, data in code.files.items()}


def _column(values: pl.Series) -> EncodedColumn:
    """How the default model reads a column that `features` made."""
    dtype = values.dtype
    if dtype.is_float():
        return EncodedColumn(values.name, "number")
    if dtype.is_integer():
        return EncodedColumn(values.name, "whole")
    if str(dtype) == "Boolean":
        return EncodedColumn(values.name, "boolean")
    if str(dtype).startswith(("String", "Categorical", "Enum")):
        known = tuple(sorted(str(one) for one in values.drop_nulls().unique().to_list()))
        return EncodedColumn(values.name, "category", known)
    raise UsageError(
        f'features() made a column "{values.name}" of {dtype}', fix="numbers, booleans and texts can be learnt from"
    )


def _guarded(what: str, act: Callable[[], Any]) -> Any:
    """Run the user's code; its errors are the user's, in our words."""
    try:
        return act()
    except MiddlewatchError:
        raise
    except Exception as error:
        raise UsageError(
            f"{what} fails", why=f"{type(error).__name__}: {error}", fix="--debug shows the traceback"
        ) from error

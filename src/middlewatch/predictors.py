"""A trained model as a function of numbers: one row at a time while serving, whole matrices in batch.

LightGBM is called through its C library, found without importing the `lightgbm` package (which pulls in scipy
and more): a server that starts in a second and answers a row in some 15 us. The answers of `row`, `rows` and
`batch` are the same to the bit.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import struct
import sys
import threading
import weakref
from array import array
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .errors import NotFound, Refused, UsageError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OWN", "Predictor", "load", "trees_sha256"]

OWN = "own"
"""The kind of a model that code of the project's own made (see `own`)."""
_NORMAL = 0  # C_API_PREDICT_NORMAL: probabilities and values, not raw scores
_CONTRIBUTIONS = 3  # C_API_PREDICT_CONTRIB
_FLOAT64 = 1  # C_API_DTYPE_FLOAT64
_QUIET = "num_threads={threads} verbosity=-1"


class Predictor(Protocol):
    """A loaded model with `features` inputs and `outputs` numbers per answer. Safe to share between threads."""

    features: int
    outputs: int

    def row(self, values: Sequence[float]) -> float | list[float]:
        """Score one row: a float where `outputs` is 1, else one float per output. ValueError for another width."""
        ...

    def rows(self, table: Sequence[Sequence[float]]) -> list[float] | list[list[float]]:
        """Score some rows without numpy; as `row` of each."""
        ...

    def batch(self, table: Any, *, threads: int = 1) -> NDArray[np.float64]:
        """Score what the encoding made of n rows (the default model: a matrix (n, features)).

        Shape (n,) where `outputs` is 1, else (n, outputs).
        """
        ...


def load(kind: str, payload: bytes | Path, *, features: int, outputs: int) -> Predictor:
    """A model of `kind` ("lightgbm") from its file's bytes or path.

    Raises UsageError for an unknown kind, Refused for a model that does not load or does not have this many
    features and outputs, NotFound where the library or the file is missing.
    """
    if kind != "lightgbm":
        raise UsageError(f'there is no kind of model "{kind}"', fix=nearest(kind, ["lightgbm"]))
    if isinstance(payload, Path):
        try:
            payload = payload.read_bytes()
        except FileNotFoundError as error:
            raise NotFound("the model file is missing", where=str(payload)) from error
    return _LightGBM(payload, features=features, outputs=outputs)


def trees_sha256(text: str | bytes) -> str:
    """The identity of a LightGBM model: a hash of its header and trees.

    The blocks after the trees hold parameters such as the number of threads and paths: they differ between two
    trainings that made the same model, and are left out.
    """
    if isinstance(text, str):
        text = text.encode()
    trees, end, _ = text.partition(b"\nend of trees")
    if not end:
        raise Refused("this is not a LightGBM model", why='its text has no line "end of trees"')
    return hashlib.sha256(trees).hexdigest()


@cache
def _library(*, release_gil: bool) -> ctypes.CDLL:
    """LightGBM's shared library. Long calls release the interpreter lock; a row (some us) keeps it: cheaper."""
    found = importlib.util.find_spec("lightgbm")
    if found is None or found.origin is None:
        raise NotFound("LightGBM is not installed", fix="pip install lightgbm")
    suffix = {"win32": "dll", "darwin": "dylib"}.get(sys.platform, "so")
    folder = Path(found.origin).parent
    names = [f"lib_lightgbm.{suffix}", "lib_lightgbm.so", "lib_lightgbm.dll"]
    for path in (folder / sub / name for sub in ("lib", "bin", ".") for name in names):
        if path.is_file():
            library = ctypes.CDLL(str(path)) if release_gil else ctypes.PyDLL(str(path))
            library.LGBM_GetLastError.restype = ctypes.c_char_p
            return library
    raise NotFound(
        "LightGBM's shared library is missing", where=str(folder), fix="pip install --force-reinstall lightgbm"
    )


class _LightGBM:
    def __init__(self, payload: bytes, *, features: int, outputs: int) -> None:
        self.features = features
        self.outputs = outputs
        self._long = _library(release_gil=True)
        self._short = _library(release_gil=False)
        self._local = threading.local()
        self._handle = ctypes.c_void_p()
        if not payload.startswith(b"tree\n") or b"\nend of trees" not in payload:
            # The library reads past the end of a text that was cut short: never show it one.
            raise Refused(
                "this is not a whole LightGBM model", why="its text does not run from the header to the trees' end"
            )
        iterations = ctypes.c_int()
        self._check(
            self._long.LGBM_BoosterLoadModelFromString(
                ctypes.c_char_p(payload), ctypes.byref(iterations), ctypes.byref(self._handle)
            )
        )
        # Freed once nothing refers to this model: a swap never frees what a request still uses.
        self._configs: list[ctypes.c_void_p] = []
        weakref.finalize(self, _free, self._long, self._handle, self._configs).atexit = False
        self._check_shape()

    def _check(self, code: int) -> None:
        if code != 0:
            said = self._long.LGBM_GetLastError().decode(errors="replace")
            raise Refused("LightGBM refuses the model", why=said, fix="middlewatch versions lists the others")

    def _check_shape(self) -> None:
        for wanted, ask, word in (
            (self.features, self._long.LGBM_BoosterGetNumFeature, "features"),
            (self.outputs, self._long.LGBM_BoosterGetNumClasses, "outputs"),
        ):
            came = ctypes.c_int()
            self._check(ask(self._handle, ctypes.byref(came)))
            if came.value != wanted:
                raise Refused(f"the model has {came.value} {word}, its manifest says {wanted}")

    def _fast(self) -> tuple[Any, ...]:
        """This thread's prepared call: how values get into the input buffer, that, the call, the output buffer."""
        config = ctypes.c_void_p()
        self._check(
            self._long.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle, _NORMAL, 0, -1, _FLOAT64, ctypes.c_int32(self.features),
                ctypes.c_char_p(_QUIET.format(threads=1).encode()), ctypes.byref(config),
            )
        )  # fmt: skip
        self._configs.append(config)
        inputs = (ctypes.c_double * self.features)()
        output = (ctypes.c_double * self.outputs)()
        length = ctypes.c_int64()
        arguments = (config, ctypes.byref(inputs), ctypes.byref(length), ctypes.byref(output))
        call = self._short.LGBM_BoosterPredictForMatSingleRowFast
        self._local.fast = fast = (struct.Struct(f"{self.features}d").pack_into, inputs, call, arguments, output)
        return fast

    def row(self, values: Sequence[float]) -> float | list[float]:
        try:
            pack, inputs, call, arguments, output = self._local.fast
        except AttributeError:
            pack, inputs, call, arguments, output = self._fast()
        try:
            pack(inputs, 0, *values)
        except struct.error as error:
            raise ValueError(f"a row has {len(values)} values, the model {self.features} features") from error
        if call(*arguments) != 0:
            self._check(-1)
        answer: float | list[float] = output[0] if self.outputs == 1 else output[:]
        return answer

    def rows(self, table: Sequence[Sequence[float]]) -> list[float] | list[list[float]]:
        flat = array("d")
        for values in table:
            if len(values) != self.features:
                raise ValueError(f"a row has {len(values)} values, the model {self.features} features")
            flat.extend(values)
        result = array("d", bytes(8 * len(table) * self.outputs))
        if table:
            self._matrix(flat.buffer_info()[0], result.buffer_info()[0], len(table), threads=1)
        if self.outputs == 1:
            return result.tolist()
        return [result[at : at + self.outputs].tolist() for at in range(0, len(result), self.outputs)]

    def batch(self, table: NDArray[np.float64], *, threads: int = 1) -> NDArray[np.float64]:
        import numpy as np

        table = np.ascontiguousarray(table, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != self.features:
            raise ValueError(f"the matrix has shape {table.shape}, the model {self.features} features")
        result = np.empty((len(table), self.outputs))
        if len(table):
            self._matrix(table.ctypes.data, result.ctypes.data, len(table), threads=threads)
        return result[:, 0] if self.outputs == 1 else result

    def contributions(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each feature adds to a row's raw score (log odds, or the value), and last what all rows start from.

        Shape (n, features + 1), or (n, outputs, features + 1); the sum over a row is its raw score. Shapley values of
        the trees (Lundberg, Erion and Lee 2018), as LightGBM gives them.
        """
        import numpy as np

        table = np.ascontiguousarray(table, dtype=np.float64)
        result = np.empty((len(table), self.outputs, self.features + 1))
        if len(table):
            self._matrix(table.ctypes.data, result.ctypes.data, len(table), threads=1, wanted=_CONTRIBUTIONS)
        return result[:, 0] if self.outputs == 1 else result

    def _matrix(self, inputs: int, output: int, rows: int, *, threads: int, wanted: int = _NORMAL) -> None:
        """Score `rows` row-major rows at one address into another."""
        length = ctypes.c_int64()
        self._check(
            self._long.LGBM_BoosterPredictForMat(
                self._handle, ctypes.c_void_p(inputs), _FLOAT64, ctypes.c_int32(rows), ctypes.c_int32(self.features),
                1, wanted, 0, -1, ctypes.c_char_p(_QUIET.format(threads=threads).encode()),
                ctypes.byref(length), ctypes.c_void_p(output),
            )
        )  # fmt: skip
        each = self.outputs * (self.features + 1 if wanted == _CONTRIBUTIONS else 1)
        if length.value != rows * each:
            raise Refused(f"LightGBM gave {length.value} numbers for {rows} rows of {each}")


def _free(library: ctypes.CDLL, handle: ctypes.c_void_p, configs: list[ctypes.c_void_p]) -> None:
    for config in configs:
        library.LGBM_FastConfigFree(config)
    library.LGBM_BoosterFree(handle)

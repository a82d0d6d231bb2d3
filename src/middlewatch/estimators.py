"""Models that are not ours: written to bytes and read back without running what is in them, and asked for scores.

lightgbm.Booster, xgboost.Booster    their own formats
scikit-learn and what follows it     skops: no code runs on loading but that of types listed when it was saved
a function of train.py               its name
anything else                        pickle, only where the project asks for it: serializer = "pickle"
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from .errors import NotFound, Refused, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Saved", "restore", "save", "scores"]

_OWN_WAY = 'serializer = "pickle" under [models.NAME] allows pickle: loading then runs whatever is in the file'


@dataclass(frozen=True, slots=True)
class Saved:
    """A model as bytes: `format` says how to read them, `trusted` which types may be made while reading."""

    format: str
    data: bytes
    trusted: tuple[str, ...] = ()


def save(model: Any, *, module: ModuleType, serializer: str) -> Saved:
    """Write a model that `train` of `module` returned. Raises UsageError where that cannot be done safely."""
    if serializer == "pickle":
        return Saved("pickle", pickle.dumps(model))
    home = type(model).__module__.partition(".")[0]
    if isinstance(model, FunctionType):
        return _by_name(model, module)
    if home == "lightgbm" and hasattr(model, "model_to_string"):
        return Saved("lightgbm", str(model.model_to_string()).encode())
    if home == "xgboost" and hasattr(model, "save_raw"):
        return Saved("xgboost", bytes(model.save_raw("ubj")))
    if not callable(getattr(model, "predict", None)) and not callable(model):
        raise UsageError(
            f"train() returned a {type(model).__name__}, which is no model",
            fix="return something with predict or predict_proba, or a function",
        )
    return _with_skops(model)


def _by_name(function: FunctionType, module: ModuleType) -> Saved:
    if getattr(module, function.__name__, None) is not function:
        raise UsageError(
            "the function that train() returned is not one of the file's own", fix="def it outside of train()"
        )
    return Saved("function", function.__name__.encode())


def _with_skops(model: Any) -> Saved:
    skops = _skops()
    try:
        data = skops.dumps(model)
        trusted = tuple(sorted(skops.get_untrusted_types(data=data)))
        skops.loads(data, trusted=list(trusted))
    except Exception as error:
        raise UsageError(
            f"a {type(model).__name__} cannot be kept without pickle", why=f"{type(error).__name__}: {error}",
            fix=_OWN_WAY,
        ) from error  # fmt: skip
    return Saved("skops", data, trusted)


def restore(saved: Saved, *, module: ModuleType) -> Any:
    """The model again. Raises Refused where it cannot be read, NotFound where its library is missing."""
    try:
        if saved.format == "lightgbm":
            import lightgbm

            return lightgbm.Booster(model_str=saved.data.decode())
        if saved.format == "xgboost":
            import xgboost

            booster = xgboost.Booster()
            booster.load_model(bytearray(saved.data))
            return booster
        if saved.format == "function":
            return getattr(module, saved.data.decode())
        if saved.format == "skops":
            return _skops().loads(saved.data, trusted=list(saved.trusted))
        if saved.format == "pickle":
            return pickle.loads(saved.data)  # noqa: S301 - the project asked for it by name when it was trained
    except ImportError as error:
        raise NotFound(f"{error.name} is not installed", fix=f"pip install {error.name}") from error
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, NotFound):
            raise
        raise Refused(
            "the model cannot be read", why=f"{type(error).__name__}: {error}",
            fix="middlewatch versions shows the environment it was made in",
        ) from error  # fmt: skip
    raise Refused(f'a newer Middlewatch wrote this model (format "{saved.format}")', fix="pip install -U middlewatch")


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise NotFound(
            "skops is not installed, which keeps scikit-learn's models", fix="pip install 'middlewatch[sklearn]'"
        ) from error
    return skops.io


def scores(model: Any, table: Any, *, task: str, classes: Sequence[str]) -> NDArray[np.float64]:
    """Scores of the rows of a polars or pandas frame: P(last class) for binary (n,), all classes for multiclass
    (n, classes), values for regression (n,).

    Raises Refused where the model gives something else.
    """
    import numpy as np

    home = type(model).__module__.partition(".")[0]
    probabilities = getattr(model, "predict_proba", None)
    if home == "xgboost" and hasattr(model, "save_raw"):
        import xgboost

        raw = np.asarray(model.predict(xgboost.DMatrix(_matrix(table))))
    elif home == "lightgbm" and hasattr(model, "model_to_string"):
        raw = np.asarray(model.predict(_matrix(table), num_threads=1))
    elif task != "regression" and callable(probabilities):
        raw = np.asarray(probabilities(table))
        raw = _ordered(raw, getattr(model, "classes_", None), classes)
    else:
        raw = np.asarray(_predict_of(model)(table))
        if task != "regression" and raw.ndim == 1 and (raw.dtype.kind in "OUS" or _are_labels(raw, task)):
            raw = _from_labels(raw, classes)
    return _shaped(raw, len(table), task, classes)


def _predict_of(model: Any) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = getattr(model, "predict", None) or model
    return found


def _matrix(table: Any) -> Any:
    return table.to_numpy()


def _are_labels(raw: NDArray[Any], task: str) -> bool:
    """Classes rather than probabilities: true and false, or for several classes anything of one number a row."""
    return raw.dtype.kind == "b" or task == "multiclass"


def _texts(values: Any) -> list[str]:
    """Class names as the schema writes them."""
    found = []
    for one in values.tolist() if hasattr(values, "tolist") else values:
        if isinstance(one, bool):
            found.append("true" if one else "false")
        elif isinstance(one, float) and one.is_integer():
            found.append(str(int(one)))
        else:
            found.append(str(one))
    return found


def _ordered(raw: NDArray[Any], own: Any, classes: Sequence[str]) -> NDArray[Any]:
    """Columns in the order of the schema's classes; 0 for a class that the model never saw."""
    import numpy as np

    if own is None or raw.ndim != 2:
        return raw
    names = _texts(own)
    if names == [str(at) for at in range(len(classes))]:
        return raw  # codes: a library that takes no names was given the places of the classes
    places = {_plain(name): at for at, name in enumerate(names)}
    if not set(places) <= {_plain(one) for one in classes}:
        raise Refused(
            f"the model's classes are {', '.join(names[:8])}, the schema's {', '.join(classes[:8])}",
            fix="train on the target as it is given",
        )
    found = np.zeros((raw.shape[0], len(classes)), dtype=raw.dtype)
    for at, name in enumerate(classes):
        if _plain(name) in places:
            found[:, at] = raw[:, places[_plain(name)]]
    return found


def _plain(name: str) -> str:
    """One spelling of a class: "1.0" and "1" are the same."""
    return name.removesuffix(".0")


def _from_labels(raw: NDArray[Any], classes: Sequence[str]) -> NDArray[np.float64]:
    import numpy as np

    places = {_plain(name): at for at, name in enumerate(classes)}
    names = [_plain(one) for one in _texts(raw)]
    unknown = sorted({one for one in names if one not in places})
    if unknown:
        raise Refused(f'the model predicts "{unknown[0]}", which is no class of the target', fix=", ".join(classes[:8]))
    found = np.zeros((len(names), len(classes)))
    found[np.arange(len(names)), [places[one] for one in names]] = 1.0
    return found


def _shaped(raw: NDArray[Any], rows: int, task: str, classes: Sequence[str]) -> NDArray[np.float64]:
    import numpy as np

    if task == "multiclass":
        if raw.shape != (rows, len(classes)):
            raise Refused(f"the model gave {raw.shape} numbers for {rows} rows of {len(classes)} classes")
        return raw.astype(np.float64)
    if raw.ndim == 2 and raw.shape[1] == 2 and task == "binary":
        raw = raw[:, 1]
    if raw.size != rows:
        raise Refused(f"the model gave {raw.shape} numbers for {rows} rows")
    raw = raw.reshape(rows).astype(np.float64)
    if task == "binary" and raw.size and (np.nanmin(raw) < 0 or np.nanmax(raw) > 1):
        raise Refused(
            f"the model's scores run from {np.nanmin(raw):.4g} to {np.nanmax(raw):.4g}",
            why="a binary model gives the probability of its second class",
            fix="return a model with predict_proba",
        )
    return raw

"""Model versions: the model, the encoding it was trained with, what made it, and rows that prove it still answers so.

models/v0042/  model.txt  schema.toml  encoding.json  golden.json  env.txt  manifest.json
               model.bin  code/train.py ...   in place of model.txt, where the project's own code made the model
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .encoding import Encoding
from .errors import MiddlewatchError, Refused
from .predictors import OWN, Predictor
from .predictors import load as load_predictor
from .schema import Schema
from .store import Store
from .versions import Shelf

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One trained model, as it is served: `classes` in the order of its outputs, `threshold` for binary decisions."""

    version: str
    model: str
    manifest: Mapping[str, Any]
    schema: Schema
    encoding: Encoding

    @property
    def task(self) -> str:
        return str(self.manifest["task"])

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def data(self) -> str:
        return str(self.manifest["data"])

    @property
    def threshold(self) -> float:
        return float(self.manifest["threshold"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.manifest["classes"])

    @property
    def outputs(self) -> int:
        """Numbers a prediction has: one, or one for each class of a multiclass model."""
        return len(self.classes) if self.task == "multiclass" else 1


def shelf(store: Store, model: str) -> Shelf:
    """Where the versions of a model stand."""
    return Shelf(store, f"{model}/models", "v")


def publish(
    store: Store, model: str, *, files: Mapping[str, bytes], manifest: Mapping[str, Any], now: datetime, actor: str
) -> str:
    """Store a model version: claim the number, then the files, then the manifest. Returns its name, `v7`."""
    from .times import iso

    place = shelf(store, model)
    version = place.claim({"at": iso(now), "actor": actor})
    listed = [place.put(version, name, data) for name, data in files.items()]
    place.seal(version, {"model": model, "created": iso(now), "actor": actor, **manifest, "files": listed})
    return version


def versions(store: Store, model: str) -> list[dict[str, Any]]:
    """Manifests of all versions, oldest first."""
    place = shelf(store, model)
    return [place.manifest(name) for name in place.names()]


def learnt_from(store: Store, model: str) -> list[str]:
    """Data versions that a model was made from without a known fault, in order of the models; some may be gone."""
    return [str(one["data"]) for one in versions(store, model) if not one.get("data_faults")]


def load(store: Store, model: str, version: str) -> ModelVersion:
    """A version by name, without its trees (`predictor` loads those). Raises NotFound, StoreError."""
    place = shelf(store, model)
    manifest = place.manifest(version)
    name = str(manifest["version"])
    return ModelVersion(
        version=name,
        model=model,
        manifest=manifest,
        schema=Schema.parse(place.file(name, "schema.toml").decode(), where=f"schema.toml of {name}"),
        encoding=Encoding.from_dict(json.loads(place.file(name, "encoding.json"))),
    )


def predictor(store: Store, version: ModelVersion) -> Predictor:
    """The model, loaded and proved on its golden rows. Raises Refused where it answers them differently."""
    place = shelf(store, version.model)
    loaded: Predictor
    if version.kind == OWN:
        from . import own  # late: code of the user's own brings polars and more

        names = [str(one["name"]) for one in version.manifest["files"]]
        loaded = own.load(
            lambda name: place.file(version.version, name),
            names, version.manifest["own"], version.encoding, version.task, version.schema.classes,
        )  # fmt: skip
    else:
        text = place.file(version.version, "model.txt")
        loaded = load_predictor(version.kind, text, features=len(version.encoding.names), outputs=version.outputs)
    verify(version, loaded, json.loads(place.file(version.version, "golden.json")))
    return loaded


def verify(version: ModelVersion, loaded: Predictor, golden: Mapping[str, Any]) -> None:
    """Score the golden rows through the same encoding a request takes; they must come back as recorded.

    The default model's to the bit; others to the relative tolerance that their numbers have, 1e-12 or 1e-6.
    """
    tolerance = float(version.manifest.get("tolerance", 0.0))
    for number, (row, expected) in enumerate(zip(golden["rows"], golden["scores"], strict=True)):
        try:
            score = loaded.row(version.encoding.encode_row(row))
        except MiddlewatchError:
            raise
        except Exception as error:  # code of the project's own
            raise Refused(
                f"{version.version} cannot answer: its own code raises {type(error).__name__}: {error}",
                where=f"golden row {number}",
                why="what that code reads is gone or differs here: files, services, libraries",
                fix='files that it needs: files = ["..."] beside train, then train again',
            ) from error
        if not agree([score], [expected], tolerance):
            raise Refused(
                f"{version.version} does not answer as it did when it was trained",
                where=f"golden row {number}: {score!r}, was {expected!r}",
                why="the model file, the library or the machine differs",
                fix=f"middlewatch versions {version.version} shows the environment it was made in",
            )


def agree(ones: Sequence[Any], others: Sequence[Any], tolerance: float) -> bool:
    """True where two lists of scores are the same to a relative tolerance; not for what is no number."""
    pairs = [
        pair
        for one, other in zip(ones, others, strict=True)
        for pair in zip(_numbers(one), _numbers(other), strict=True)
    ]
    return all(abs(one - other) <= tolerance * max(1.0, abs(other)) for one, other in pairs)


def _numbers(score: float | Sequence[float]) -> Sequence[float]:
    return (score,) if isinstance(score, int | float) else score


def ours(version: str) -> bool:
    """False for the version of a foreign service whose log was imported (`ext-...`): it cannot be replayed."""
    return not version.startswith("ext-")

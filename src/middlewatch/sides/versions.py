"""What two versions of a project differ in, in words: `versions V W` asks, of two models or two data versions."""

from __future__ import annotations

from .. import data, model
from ..differences import Difference, between, of_manifests, of_schemas
from ..errors import UsageError
from ..store import Store


def of_versions(store: Store, name: str, then: str, now: str) -> tuple[Difference, ...]:
    """Two data versions (`d6`, `d7`) or two model versions (`v6`, `v7`), the weightiest difference first.

    Of models: their worth and what they were made of, then their schemas, then their data. Raises NotFound,
    UsageError for one of each kind.
    """
    kinds = {one[:1] for one in (then, now)}
    if kinds == {"d"}:
        return between(*(data.profile(store, name, one) for one in (then, now)))
    if kinds != {"v"}:
        raise UsageError(f"{then} and {now} are not of a kind", fix="two data versions, d6 d7, or two models, v6 v7")
    old, new = (model.load(store, name, one) for one in (then, now))
    found = [*of_manifests(old.manifest, new.manifest), *of_schemas(old.schema, new.schema)]
    sources = [str(one.manifest["data"]) for one in (old, new)]
    if len({*sources}) > 1:
        found += between(*(data.profile(store, name, one) for one in sources))
    return tuple(found)

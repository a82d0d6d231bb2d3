"""What stands beside a window's profile: what no merged profile of its hours can tell. Pure.

Nulls that are spread over the hours, which columns go together, how many rows are alike in every column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from .profiles import Profile

__all__ = ["ROWS", "beside", "by_column", "repeats_of"]

ROWS = "mw.rows"
FEW = 10


def beside(
    hours: Iterable[Profile], sample: pl.DataFrame | None, repeats: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """What stands beside the profile of a window, in its stored form (`by_column` reads it).

    `scattered`: by column the share missing in the middle one of the hours of at least 10 rows, which a burst does
    not move. `names`, `strength`: associations of all pairs of columns (see `associations`; the lower triangle row by
    row, as float16) among the `rows` of the sample. `repeats`: of all rows, see `repeats_of`.
    """
    import numpy as np

    from .associations import associations

    shares: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for hour in hours:
        for name, column in hour.columns.items():
            kinds[name] = column.kind
            if column.rows >= FEW:
                shares.setdefault(name, []).append(column.nulls / column.rows)
    facts: dict[str, Any] = {"scattered": {name: round(median(some), 6) for name, some in shares.items()}}
    if repeats:
        facts["repeats"] = dict(repeats)
    if sample is None or not sample.height:
        return facts
    tied = {name: kind for name, kind in kinds.items() if name in sample.columns and not name.startswith("mw.")}
    found = associations(sample, tied)
    triangle = found.strength[np.tril_indices(len(found.names), -1)]
    return facts | {"names": found.names, "strength": triangle.astype("<f2").tobytes(), "rows": found.rows}


def repeats_of(frame: pl.DataFrame, columns: Sequence[str]) -> dict[str, float]:
    """Of all `rows` how many an earlier one equals in all of `columns` (`repeated`), and of all pairs and all triples
    of rows the shares that are equal. Empty where there is nothing to compare.

    By hashes of 64 bits: a million rows hold a pair that is taken for equal and is not once in 40 million times.
    """
    import numpy as np

    n = frame.height
    if not columns or not n:
        return {}
    hashes = np.sort(frame.select(columns).hash_rows().to_numpy())
    firsts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
    counts = np.diff(np.append(firsts, n)).astype(np.float64)
    counts = counts[counts > 1]
    twos = counts * (counts - 1)
    return {
        "rows": n,
        "repeated": n - firsts.size,
        "pairs": float(twos.sum()) / max(n * (n - 1.0), 1.0),
        "triples": float((twos * (counts - 2)).sum()) / max(n * (n - 1.0) * (n - 2.0), 1.0),
    }


def by_column(stored: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`beside` by column: `scattered`, and `ties` with other columns among the `sampled` rows.

    `mw.rows` stands for the rows as a whole: how many are `repeated`, and what shares of pairs and triples are `same`.
    Windows that were stored when those were counted in a sample have none.
    """
    import numpy as np

    found: dict[str, dict[str, Any]] = {name: {"scattered": share} for name, share in stored["scattered"].items()}
    names = stored.get("names", ())
    strength = np.full((len(names), len(names)), np.nan)
    if names:
        strength[np.tril_indices(len(names), -1)] = np.frombuffer(stored["strength"], dtype="<f2")
    both = np.fmax(strength, strength.T).tolist()
    for name, row in zip(names, both, strict=True):
        ties = {other: one for other, one in zip(names, row, strict=True) if one == one}
        found.setdefault(name, {}).update(ties=ties, sampled=stored["rows"])
    if repeats := stored.get("repeats"):
        found[ROWS] = {"repeated": int(repeats["repeated"]), "same": (repeats["pairs"], repeats["triples"])}
    return found

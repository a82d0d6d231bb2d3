"""What differs between two tables, in plain words, the weightiest first. From their profiles alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from .checks.moved import moved
from .checks.words import limit, percent
from .profiles import ColumnProfile, Profile
from .schema import Column, Schema

ALIKE: Final = 0.05
"""Distance of two distributions (0 to 1, beyond chance) under which a column may be another under a new name."""
NOTED: Final = 0.005
"""A share of missing cells that changes by less is nothing to act on, however sure it is."""
SURE: Final = 3.0
"""Standard errors beyond which a difference of shares is no chance: one in 370 by luck, over some dozen columns."""
SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`what` differs (rows, added, removed, renamed, kind, missing, range, new, gone, shift) in which column.

    `size` from 0 to 1 is the share of rows it is about: 1 for a whole column.
    """

    what: str
    column: str | None
    words: str
    size: float
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The public JSON form."""
        size = round(self.size, 6)
        return {"what": self.what, "column": self.column, "words": self.words, "size": size, **dict(self.evidence)}


def between(then: Profile, now: Profile) -> tuple[Difference, ...]:
    """What is different in `now` from `then`, the weightiest first; nothing for two profiles of the same rows."""
    found: list[Difference] = []
    added = [name for name in now.columns if name not in then.columns]
    removed = [name for name in then.columns if name not in now.columns]
    for name in list(removed):
        other = next((one for one in added if _same(then.columns[name], now.columns[one])), None)
        if other is not None:
            added.remove(other)
            removed.remove(name)
            said = f"{name} is called {other} now: its values are spread alike"
            found.append(Difference(what="renamed", column=other, words=said, size=1.0, evidence={"was": name}))
    found += [Difference(what="removed", column=name, words=f"{name} is gone", size=1.0) for name in removed]
    found += [Difference(what="added", column=name, words=f"{name} is new", size=1.0) for name in added]
    for name, new in now.columns.items():
        if name in then.columns:
            found += _column(name, then.columns[name], new)
    if now.rows != then.rows:
        ratio = now.rows / then.rows if then.rows else math.inf
        said = f"{now.rows:,} rows, were {then.rows:,}"
        size = 1.0 - min(ratio, 1.0 / ratio) if ratio else 1.0
        # Growth is what tables do: said last, unless a half is missing.
        found.append(Difference(what="rows", column=None, words=said, size=size if ratio < 0.5 else size / 1e3))
    return tuple(sorted(found, key=lambda one: (-one.size, one.column or "", one.what)))


def _same(then: ColumnProfile, now: ColumnProfile) -> bool:
    """Two columns that may be one: of a kind, with enough values to tell, spread alike."""
    if then.kind != now.kind or min(then.n, now.n) < 100 or min(then.distinct(), now.distinct()) < 3:
        return False
    if then.kind in ("text", "time"):
        return False
    gap = moved(now, then)
    return gap is not None and gap[0] < ALIKE


def _column(name: str, then: ColumnProfile, now: ColumnProfile) -> list[Difference]:
    if then.kind != now.kind:
        said = f"{name} holds {_kinds(now.kind)}, held {_kinds(then.kind)}"
        return [Difference(what="kind", column=name, words=said, size=1.0, evidence={"was": then.kind, "is": now.kind})]
    found = _missing(name, then, now)
    if not then.n or not now.n:
        return found
    if now.kind == "category":
        found += _categories(name, then, now)
    elif now.bins is not None and now.kind != "boolean":
        found += _range(name, then, now)
    gap = moved(now, then)
    if gap is not None and gap[0] > 0:
        said = f"{name} has shifted: {gap[1]}"
        found.append(Difference(what="shift", column=name, words=said, size=min(gap[0], 1.0)))
    return found


def _missing(name: str, then: ColumnProfile, now: ColumnProfile) -> list[Difference]:
    if not then.rows or not now.rows:
        return []
    was, is_now = ((one.nulls + one.nans) / one.rows for one in (then, now))
    pooled = (then.nulls + then.nans + now.nulls + now.nans) / (then.rows + now.rows)
    error = math.sqrt(pooled * (1 - pooled) * (1 / then.rows + 1 / now.rows))
    size = abs(is_now - was)
    if size < max(NOTED, SURE * error):
        return []
    said = f"{name} is missing in {percent(is_now)} of rows, was {percent(was) if was else 'in none'}"
    return [Difference(what="missing", column=name, words=said, size=size, evidence={"was": was, "is": is_now})]


def _range(name: str, then: ColumnProfile, now: ColumnProfile) -> list[Difference]:
    """Values outside all that the other one holds."""
    if then.lowest is None or now.lowest is None or then.highest is None or now.highest is None:
        return []
    if now.kind == "time":
        if (then.lowest, then.highest) == (now.lowest, now.highest):
            return []
        said = f"{name} goes from {limit(now.lowest)} to {limit(now.highest)}, went from {limit(then.lowest)} to "
        return [Difference(what="range", column=name, words=said + limit(then.highest), size=0.0)]
    beyond = _outside(now, then)
    if not beyond:
        return []  # a range that is not filled any more is a shift
    said = f"{name} reaches from {limit(now.lowest)} to {limit(now.highest)}, was {limit(then.lowest)} to "
    said += f"{limit(then.highest)}; {percent(beyond)} of rows are outside that"
    return [Difference(what="range", column=name, words=said, size=beyond)]


def _outside(one: ColumnProfile, other: ColumnProfile) -> float:
    """Share of one's values below the least or above the largest of the other."""
    low, high = float(other.min or 0), float(other.max or 0)
    if one.min is None or one.max is None or (one.min >= low and one.max <= high):
        return 0.0
    above = 1.0 - float(one.cdf(high)) if one.max > high else 0.0
    below = float(one.cdf(math.nextafter(low, -math.inf))) if one.min < low else 0.0
    return max(above + below, 1.0 / one.n)


def _categories(name: str, then: ColumnProfile, now: ColumnProfile) -> list[Difference]:
    if then.categories is None or now.categories is None:
        return []
    new = {one: rows for one, rows in now.categories.items() if one not in then.categories}
    gone = {one: rows for one, rows in then.categories.items() if one not in now.categories}
    found = []
    folded = {one.strip().lower() for one in gone}
    if new and gone and all(one.strip().lower() in folded for one in new):
        share = sum(new.values()) / now.n
        said = f"{name} is written otherwise: {_named(new)}; they differ from known ones in case or spaces only"
        return [Difference(what="new", column=name, words=said, size=share, evidence={"values": sorted(new)[:20]})]
    if new:
        share = sum(new.values()) / now.n
        said = (
            f"{name} holds {len(new)} new value{'s' if len(new) > 1 else ''} in {percent(share)} of rows: {_named(new)}"
        )
        found.append(Difference(what="new", column=name, words=said, size=share, evidence={"values": sorted(new)[:20]}))
    # What one row in a thousand held may be missing from a shorter table by chance.
    expected = {one: rows * now.n / then.n for one, rows in gone.items() if rows * now.n / then.n >= SURE**2}
    if expected:
        share = sum(gone[one] for one in expected) / then.n
        said = f"{name} lacks {_named({one: gone[one] for one in expected})}, {percent(share)} of rows then"
        values = sorted(expected)[:20]
        found.append(Difference(what="gone", column=name, words=said, size=share, evidence={"values": values}))
    return found


def _named(values: Mapping[str, int]) -> str:
    ranked = sorted(values, key=lambda one: (-values[one], one))
    more = f" and {len(ranked) - SHOWN} more" if len(ranked) > SHOWN else ""
    return ", ".join(f'"{one[:40]}"' for one in ranked[:SHOWN]) + more


def _kinds(kind: str) -> str:
    names = {"number": "numbers", "whole": "whole numbers", "boolean": "yes or no", "category": "categories"}
    return names.get(kind, f"{kind}s")


# --- schemas and model versions ---------------------------------------------------------------------------


def of_schemas(then: Schema, now: Schema) -> list[Difference]:
    """Columns and limits that differ, key by key; none where the contract is the same."""
    new = [one for one in now.names if one not in then.names]
    gone = [one for one in then.names if one not in now.names]
    found = [Difference(what="schema", column=one, words=f"the schema has {one}, had not", size=1.0) for one in new]
    found += [Difference(what="schema", column=one, words=f"the schema had {one}, has not", size=1.0) for one in gone]
    for name in [one for one in now.names if one in then.names]:
        old, held = then.column(name), now.column(name)
        keys = [one.name for one in fields(Column) if one.name != "guessed"]
        changed = [one for one in keys if getattr(old, one) != getattr(held, one)]
        if changed:
            said = ", ".join(f"{one} {_short(getattr(old, one))} -> {_short(getattr(held, one))}" for one in changed)
            found.append(Difference(what="schema", column=name, words=f"schema of {name}: {said}", size=0.0))
    return found


def of_manifests(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What two model versions were made of: inputs, settings, environment, code, threshold; and their worth."""
    found: list[tuple[str, Any, Any]] = []
    for metric in now["metrics"]:
        if metric in then["metrics"] and then["metrics"][metric]["value"] != now["metrics"][metric]["value"]:
            said = f"{metric} {then['metrics'][metric]['value']:.4f} -> {now['metrics'][metric]['value']:.4f}"
            said += f" on {then['holdout_rows']:,} and {now['holdout_rows']:,} later rows"
            found.append((said, then["metrics"][metric]["value"], now["metrics"][metric]["value"]))
    if then["inputs"] != now["inputs"]:
        gone = [one for one in then["inputs"] if one not in now["inputs"]]
        new = [one for one in now["inputs"] if one not in then["inputs"]]
        parts = [f"without {', '.join(gone)}"] if gone else []
        parts += [f"with {', '.join(new)}"] if new else []
        found.append(("inputs: " + (", ".join(parts) or "in another order"), then["inputs"], now["inputs"]))
    for about in ("settings", "environment"):
        old, new_ = then.get(about) or {}, now.get(about) or {}
        found += [
            (f"{about}: {key} {_short(old.get(key))} -> {_short(new_.get(key))}", old.get(key), new_.get(key))
            for key in sorted({*old, *new_})
            if old.get(key) != new_.get(key)
        ]
    found += [
        (f"{key.replace('_', ' ')} {_short(then.get(key))} -> {_short(now.get(key))}", then.get(key), now.get(key))
        for key in ("threshold", "seed", "code", "trained_until", "forced")
        if then.get(key) != now.get(key)
    ]
    if then.get("trees_sha256") == now.get("trees_sha256"):
        found.append(("the trees are the same, to the byte", None, None))
    return [
        Difference(what="model", column=None, words=words, size=0.0, evidence={"was": was, "is": is_now})
        for words, was, is_now in found
    ]


def _short(value: Any) -> str:
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."

"""From a schema to the file that people review."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from .columns import Column, Key, Rule, Table

_HEADER: Final = """\
# What the data of "{name}" must look like. Review it: limits named in `guessed` were set from the data
# that `init` saw, with room for a normal next month. Change what you know better, then take its name out of `guessed`.
#   kind        number, whole, boolean, category, text, time
#   role        feature (default), target, time, key, ignored
#   nulls       share of rows that may be missing       unseen   share of rows with a value not in `categories`
#   min, max    hard limits                             missing  texts that mean missing, besides blank
#   expected    [low, high]: outside it is a warning    pattern  regular expression that a whole value must match
#   severity    fail (default), warn, note              private  "drop" or "hash": keep values out of logs
# A rule states what must hold:  [[rules]] name = "..." sql = "arrives > departs" share = 0.0
# docs/schema.md has every key: freshness, rows per day, compound keys, values known in another table, owners.
"""
TOML_NAMES: Final = {"source": "from"}
_WIDTH: Final = 100


def written(
    model: Mapping[str, Any], columns: Iterable[Column], rules: Iterable[Rule], *, table: Table, keys: Iterable[Key]
) -> Iterable[str]:
    """The lines of a schema file."""
    yield _HEADER.format(name=_comment(model["name"]))
    yield "[model]"
    for key, value in model.items():
        if value or key == "task":
            yield f"{key} = {toml(value)}"
    if table != Table():
        yield ""
        yield "[table]"
        yield from _changed(table, Table())
    for one in keys:
        yield ""
        yield "[[keys]]"
        yield from _changed(one, Key(columns=()))
    for column in columns:
        yield ""
        yield f"[columns.{toml_key(column.name)}]"
        yield f"kind = {toml(column.kind)}"
        yield from _changed(column, _DEFAULTS, but=("name", "kind"))
    for rule in rules:
        yield ""
        yield "[[rules]]"
        yield f"name = {toml(rule.name)}"
        yield f"sql = {toml(rule.sql)}"
        if rule.severity != "fail":
            yield f"severity = {toml(rule.severity)}"
        if rule.share:
            yield f"share = {toml(rule.share)}"


def _changed(value: Column | Table | Key, default: Column | Table | Key, *, but: tuple[str, ...] = ()) -> Iterable[str]:
    """A line for each field that is not at its default."""
    for one in fields(value):
        held = getattr(value, one.name)
        if one.name in but or held == getattr(default, one.name):
            continue
        if isinstance(held, frozenset):
            held = tuple(TOML_NAMES.get(name, name) for name in sorted(held))
        yield f"{TOML_NAMES.get(one.name, one.name)} = {toml(held)}"


_DEFAULTS: Final = Column(name="", kind="text")


def _comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def toml_key(name: str) -> str:
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else toml(name)


def toml(value: Any) -> str:
    """A TOML literal. JSON's strings are TOML's basic strings, but for DEL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        parts = [toml(one) for one in value]
        short = "[" + ", ".join(parts) + "]"
        return short if len(short) <= _WIDTH else _wrapped(parts)
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"no TOML form for {type(value).__name__}")


def _wrapped(parts: Iterable[str]) -> str:
    lines = [""]
    for part in parts:
        if len(lines[-1]) + len(part) > _WIDTH and lines[-1]:
            lines.append("")
        lines[-1] += f" {part}," if lines[-1] else f"    {part},"
    return "[\n" + "\n".join(lines) + "\n]"

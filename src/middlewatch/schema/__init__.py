"""What the data must look like: columns, kinds, limits, rules. Read from `<name>.schema.toml`, edited by people.

A Schema is a value: it holds no table and imports none. `typed` is the one door between raw columns (text from a
CSV, any dtype from Parquet or pandas) and the canonical dtypes that everything else works on.
"""

from __future__ import annotations

from .columns import Column, Key, Kind, Limit, Private, Role, Rule, Table, Task
from .table import Schema, Typed

__all__ = ["Column", "Key", "Kind", "Limit", "Private", "Role", "Rule", "Schema", "Table", "Task", "Typed"]

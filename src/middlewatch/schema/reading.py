"""From a schema file to values, each wrong line named."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import Any, Final, get_args

from middlewatch.errors import ConfigError, UsageError, nearest
from middlewatch.findings import Severity
from middlewatch.times import parse_duration

from .columns import Column, Key, Kind, Limit, Private, Role, Rule, Table, Task
from .writing import TOML_NAMES, toml


def read(text: str, where: str) -> dict[str, Any]:
    """The fields of a Schema. Raises ConfigError that names the line, the wrong key or value, and the nearest."""
    return _Reader(text, where).schema()


_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "kind": get_args(Kind),
    "role": get_args(Role),
    "private": get_args(Private),
    "severity": get_args(Severity),
    "task": get_args(Task),
    "decimal": (".", ","),
}
_SHARES: Final = ("nulls", "unseen", "share", "volume")
_TEXTS: Final = ("name", "target", "time", "key", "unit", "owner", "from", "sql", "references")
_LISTS: Final = ("categories", "missing", "guessed", "classes", "columns")
_YES_OR_NO: Final = ("unique", "constant", "ordered")
_COLUMN_KEYS: Final = tuple(TOML_NAMES.get(one.name, one.name) for one in fields(Column) if one.name != "name")
MODEL_KEYS: Final = ("name", "target", "task", "time", "key", "classes")
_RULE_KEYS: Final = ("name", "sql", "severity", "share")
_TABLE_KEYS: Final = tuple(one.name for one in fields(Table))
_KEY_KEYS: Final = tuple(one.name for one in fields(Key))
_GUESSABLE: Final = (
    "kind",
    "role",
    "nulls",
    "min",
    "max",
    "categories",
    "unseen",
    "unique",
    "missing",
    "decimal",
    "centre",
)


class _Reader:
    """One schema file. `path` in its methods is where a value stands: `("columns", "temp", "min")`."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where

    def schema(self) -> dict[str, Any]:
        try:
            tree = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                f"{self.where} is not valid TOML", where=self.where, why=str(error), fix="mend that line"
            ) from error
        self._known(tree, ("model", "table", "keys", "columns", "rules"), ())
        model = self._table(tree.get("model", {}), ("model",))
        self._known(model, MODEL_KEYS, ("model",))
        facts = {key: self._value(("model", key), value) for key, value in model.items()}
        if not facts.get("name"):
            raise self._wrong(("model",), "the model has no name", 'add name = "..." under [model]')
        columns = tuple(
            self._column(name, self._table(table, ("columns", name)), facts)
            for name, table in self._table(tree.get("columns", {}), ("columns",)).items()
        )
        names = [one.name for one in columns]
        for role in ("target", "time", "key"):
            if facts.get(role) and facts[role] not in names:
                said = f'{role} = "{facts[role]}" is none of the columns'
                raise self._wrong(("model", role), said, nearest(facts[role], names))
        parts = {
            "columns": columns,
            "rules": self._rules(tree.get("rules", [])),
            "table": self._whole_table(self._table(tree.get("table", {}), ("table",)), facts),
            "keys": self._keys(tree.get("keys", []), names),
        }
        return self._whole({**parts, **facts})

    def _whole(self, facts: dict[str, Any]) -> dict[str, Any]:
        """What no single value shows."""
        task, count = facts.get("task", "regression"), len(facts.get("classes", ()))
        expected = {"binary": "two", "multiclass": "two or more", "regression": "no"}[task]
        right = {"binary": count == 2, "multiclass": count >= 2, "regression": count == 0}[task]
        if facts.get("target") and not right:
            said = f"a {task} model has {expected} classes, this one {count}"
            raise self._wrong(("model", "classes"), said, 'classes = ["negative", "positive"], as text')
        if len(set(facts.get("classes", ()))) != count:
            raise self._wrong(("model", "classes"), "a class is named twice", "name each once")
        return facts

    def _column(self, name: str, table: Mapping[str, Any], model: Mapping[str, Any]) -> Column:
        path = ("columns", name)
        self._known(table, _COLUMN_KEYS, path)
        if "kind" not in table:
            raise self._wrong(path, f'column "{name}" has no kind', f"kind = one of {', '.join(get_args(Kind))}")
        facts = {key: self._value((*path, key), value) for key, value in table.items()}
        facts["source"] = facts.pop("from", "")
        facts["guessed"] = self._guessed(path, facts.get("guessed", ()))
        if facts.get("categories") is not None and len(set(facts["categories"])) != len(facts["categories"]):
            raise self._wrong((*path, "categories"), f'a category of "{name}" is named twice', "name each once")
        column = Column(name=name, **facts)
        called = [role for role in ("target", "time", "key") if model.get(role) == name]
        if "role" not in table and called:
            column = replace(column, role=called[0])  # type: ignore[arg-type]  # one of the three roles above
        if (called or column.role in ("target", "time", "key")) and column.role not in called:
            fix = f"let [model] and the column's role say the same of {name}"
            raise self._wrong((*path, "role"), f'role "{column.role}" of "{name}" is not what [model] says', fix)
        return self._fitting(path, column)

    def _fitting(self, path: tuple[str, ...], column: Column) -> Column:
        """Limits that make no sense for the kind."""
        for name in ("min", "max"):
            limit = getattr(column, name)
            good = {"time": datetime, "number": int | float, "whole": int | float}.get(column.kind)
            if limit is not None and (good is None or not isinstance(limit, good)):
                fix = "a time like 2013-01-01T00:00:00Z" if column.kind == "time" else "numbers and times have limits"
                raise self._wrong((*path, name), f"{name} = {toml(limit)} is no limit of a {column.kind} column", fix)
        if column.min is not None and column.max is not None and column.min > column.max:  # type: ignore[operator]
            raise self._wrong((*path, "min"), f'min is above max in "{column.name}"', "swap them")
        low = column.expected[0] if column.expected else None
        good = {"time": datetime, "number": int | float, "whole": int | float}.get(column.kind)
        if low is not None and (good is None or not isinstance(low, good)):
            fix = "a time like 2013-01-01T00:00:00Z" if column.kind == "time" else "numbers and times have limits"
            raise self._wrong((*path, "expected"), f"a {column.kind} column has no such range", fix)
        for name in ("pattern", "references"):
            if getattr(column, name) and column.kind not in ("category", "text", "whole"):
                raise self._wrong((*path, name), f"a {column.kind} column has no {name}", 'kind = "category" or "text"')
        if column.pattern and column.kind == "whole":
            raise self._wrong((*path, "pattern"), "a whole column has no pattern", 'kind = "category" or "text"')
        if column.references and not all(column.references.rpartition("#")[::2]):
            said = f'references = "{column.references}" names no column'
            raise self._wrong((*path, "references"), said, 'references = "airports.csv#faa": TABLE#COLUMN')
        if column.categories is not None and column.kind not in ("category", "text"):
            fix = 'kind = "category", or take categories out'
            raise self._wrong((*path, "categories"), f"a {column.kind} column has no categories", fix)
        if column.kind in ("text", "time") and column.role == "feature":
            fix = (
                'role = "ignored"; or kind = "category"'
                if column.kind == "text"
                else 'role = "ignored"; give the model its hour or weekday'
            )
            raise self._wrong((*path, "kind"), f'a {column.kind} column ("{column.name}") cannot be a feature', fix)
        if (column.role == "time") != (column.kind == "time") and column.role in ("time", "target"):
            raise self._wrong((*path, "kind"), f"a {column.kind} column cannot be the {column.role}", "change one")
        return column

    def _rules(self, tables: Any) -> tuple[Rule, ...]:
        if not isinstance(tables, list):
            raise self._wrong(("rules",), "rules are a list of tables", "write [[rules]] before each rule")
        rules: list[Rule] = []
        for table in tables:
            self._known(self._table(table, ("rules",)), _RULE_KEYS, ("rules",))
            facts = {key: self._value(("rules", key), value) for key, value in table.items()}
            if not facts.get("name") or not facts.get("sql"):
                raise self._wrong(("rules",), "a rule needs a name and sql", 'name = "...", sql = "a < b"')
            if any(one.name == facts["name"] for one in rules):
                raise self._wrong(("rules",), f'two rules are called "{facts["name"]}"', "rename one")
            rules.append(Rule(**facts))
        return tuple(rules)

    def _whole_table(self, table: Mapping[str, Any], model: Mapping[str, Any]) -> Table:
        self._known(table, _TABLE_KEYS, ("table",))
        if set(table) - {"severity"} and not model.get("time"):
            said = "a table without a time column has no days, no newest event and no order"
            raise self._wrong(("table",), said, 'time = "..." under [model], or take [table] out')
        return Table(**{key: self._value(("table", key), value) for key, value in table.items()})

    def _keys(self, tables: Any, names: Sequence[str]) -> tuple[Key, ...]:
        if not isinstance(tables, list):
            raise self._wrong(("keys",), "keys are a list of tables", "write [[keys]] before each key")
        keys: list[Key] = []
        for table in tables:
            self._known(self._table(table, ("keys",)), _KEY_KEYS, ("keys",))
            facts = {key: self._value(("keys", key), value) for key, value in table.items()}
            if not facts.get("columns"):
                raise self._wrong(("keys",), "a key needs columns", 'columns = ["flight", "day"]')
            unknown = next((one for one in facts["columns"] if one not in names), None)
            if unknown is not None:
                raise self._wrong(("keys", "columns"), f'"{unknown}" is none of the columns', nearest(unknown, names))
            if len(set(facts["columns"])) != len(facts["columns"]) or any(
                set(facts["columns"]) == set(one.columns) for one in keys
            ):
                raise self._wrong(
                    ("keys", "columns"), "a key names a column twice, or is there twice", "name each once"
                )
            keys.append(Key(**facts))
        return tuple(keys)

    def _guessed(self, path: tuple[str, ...], names: Iterable[str]) -> frozenset[str]:
        for name in names:
            if name not in _GUESSABLE:
                raise self._wrong((*path, "guessed"), f'"{name}" is nothing to guess', nearest(name, _GUESSABLE))
        return frozenset(names)

    def _value(self, path: tuple[str, ...], value: Any) -> Any:
        """The value under this key in its Python type, or a ConfigError."""
        key = path[-1]
        said = f"{key} = {_shown(value)}"
        if key in _WORDS:
            if value not in _WORDS[key]:
                known = ", ".join(_WORDS[key])
                raise self._wrong(path, f"{said} is none of {known}", nearest(str(value), _WORDS[key]))
        elif key in _SHARES:
            if not _number(value) or not 0 <= value <= 1:
                raise self._wrong(path, f"{said} is no share", "a number from 0 to 1, such as 0.05")
            return float(value)
        elif key in _TEXTS:
            if not isinstance(value, str):
                raise self._wrong(path, f"{said} is no text", f'{key} = "..."')
        elif key in _LISTS:
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise self._wrong(path, f"{said} is no list of texts", f'{key} = ["...", "..."], numbers in quotes too')
            return tuple(value)
        elif key in ("min", "max"):
            return self._limit(path, value)
        elif key == "centre":
            if not _number(value):
                raise self._wrong(path, f"{said} is no number", "centre = 0.0")
            return float(value)
        elif key in _YES_OR_NO and not isinstance(value, bool):
            raise self._wrong(path, f"{said} is neither true nor false", f"{key} = true")
        elif key == "expected":
            return self._pair(path, value, self._limit)
        elif key == "rows_per_day":
            return self._pair(path, value, self._count)
        elif key == "pattern":
            self._pattern(path, value)
        elif key == "freshness":
            self._duration(path, value)
        return value

    def _pair(self, path: tuple[str, ...], value: Any, read: Callable[[tuple[str, ...], Any], Any]) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != 2:
            raise self._wrong(path, f"{path[-1]} = {_shown(value)} is no pair", f"{path[-1]} = [lowest, highest]")
        low, high = (read(path, one) for one in value)
        if isinstance(low, datetime) != isinstance(high, datetime) or low > high:
            raise self._wrong(path, f"{path[-1]} = {_shown(value)} does not rise", f"{path[-1]} = [lowest, highest]")
        return low, high

    def _count(self, path: tuple[str, ...], value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(path, f"{_shown(value)} is no number of rows", f"{path[-1]} = [800, 1200]")
        return value

    def _pattern(self, path: tuple[str, ...], value: Any) -> None:
        if not isinstance(value, str):
            raise self._wrong(path, f"pattern = {_shown(value)} is no text", "pattern = '[A-Z]{3}'")
        try:
            re.compile(value)
        except re.error as error:
            said = f"pattern = {_shown(value)} is no regular expression: {error}"
            raise self._wrong(path, said, "pattern = '[A-Z]{3}', in single quotes so that backslashes stay") from error

    def _duration(self, path: tuple[str, ...], value: Any) -> None:
        try:
            parse_duration(value if isinstance(value, str) else _shown(value))
        except UsageError as error:
            raise self._wrong(path, f"{path[-1]} = {_shown(value)} is no length of time", error.fix) from error

    def _limit(self, path: tuple[str, ...], value: Any) -> Limit:
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        if not _number(value):
            raise self._wrong(path, f"{path[-1]} = {_shown(value)} is no limit", "a number, or a time without quotes")
        number: float | int = value
        return number

    def _table(self, value: Any, path: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(path, f"{'.'.join(path)} is no table", f"write [{'.'.join(path)}] on a line of its own")
        return value

    def _known(self, table: Mapping[str, Any], known: tuple[str, ...], path: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                raise self._wrong((*path, key), f'unknown key "{key}"', nearest(key, known))

    def _wrong(self, path: tuple[str, ...], what: str, fix: str) -> ConfigError:
        line = _line_of(self.text, path)
        return ConfigError(what, where=f"{self.where}:{line}" if line else self.where, fix=fix)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _line_of(text: str, path: tuple[str, ...]) -> int | None:
    """The 1-based line where a key is set, or its table begins; None where it cannot be told."""
    table: int | None = None
    here: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("["):
            here = _header(bare) or here
            if here[: len(path)] == path:
                return number
            if here == path[:-1]:
                table = number
        elif "=" in bare and not bare.startswith("#"):
            key = bare.partition("=")[0].strip().strip("\"'")
            if (*here, key) == path:
                return number
    return table


def _header(line: str) -> tuple[str, ...] | None:
    """The path of a `[table]` or `[[table]]` line; None where it is a value of a longer list."""
    try:
        node: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    path: list[str] = []
    while isinstance(node, dict | list) and node:
        if isinstance(node, list):
            node = node[0]
            continue
        name, node = next(iter(node.items()))
        path.append(name)
    return tuple(path)

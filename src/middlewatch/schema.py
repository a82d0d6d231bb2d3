"""What the data must look like: columns, kinds, limits, rules. Read from `<name>.schema.toml`, edited by people.

A Schema is a value: it holds no table and imports none. `typed` is the one door between raw columns (text from a
CSV, any dtype from Parquet or pandas) and the canonical dtypes that everything else works on.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from .errors import ConfigError, NotFound, nearest
from .findings import Severity

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["number", "whole", "boolean", "category", "text", "time"]
Role = Literal["feature", "target", "time", "key", "ignored"]
Task = Literal["binary", "multiclass", "regression"]
Private = Literal["drop", "hash"]
Limit = float | int | datetime
"""A hard limit: of numbers a number, of times a moment in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column's contract.

    `nulls` and `unseen` are the shares (0 to 1) of rows that may be missing, or outside `categories`; `min` and
    `max` are hard limits, themselves allowed; None is no limit. `missing` are texts that mean missing besides blank.
    `guessed` names the limits that nobody has reviewed yet.
    """

    name: str
    kind: Kind
    role: Role = "feature"
    nulls: float = 0.0
    min: Limit | None = None
    max: Limit | None = None
    categories: tuple[str, ...] | None = None
    unseen: float = 0.0
    unique: bool = False
    unit: str = ""
    owner: str = ""
    source: str = ""
    private: Private | None = None
    severity: Severity = "fail"
    centre: float = 0.0
    decimal: str = "."
    missing: tuple[str, ...] = ()
    guessed: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition between columns, in polars SQL, that every row must meet; null counts as met, as in SQL CHECK.

    `share` of the rows (0 to 1) may break it.
    """

    name: str
    sql: str
    severity: Severity = "fail"
    share: float = 0.0


class Typed(NamedTuple):
    """A batch in canonical dtypes, and for each column a Boolean mask of the cells that did not parse (null there)."""

    frame: pl.DataFrame
    unparsed: dict[str, pl.Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The contract of one model's table.

    `target` is "" where outcomes are not known. `classes` are the target's values as text: (negative, positive) of
    a binary task, in code order of a multiclass one, empty for regression.
    """

    name: str
    target: str = ""
    task: Task = "regression"
    time: str | None = None
    key: str | None = None
    columns: tuple[Column, ...] = ()
    rules: tuple[Rule, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that the model sees, in order."""
        return tuple(one for one in self.columns if one.role == "feature")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.columns)

    def column(self, name: str) -> Column:
        """The column of this name. Raises NotFound with the nearest."""
        for one in self.columns:
            if one.name == name:
                return one
        raise NotFound(f'no column "{name}" in the schema of {self.name}', fix=nearest(name, self.names))

    def typed(self, raw: pl.DataFrame, *, zone: str = "UTC") -> Typed:
        """The schema's columns that `raw` has, in the schema's order and canonical dtypes; others are left out.

        Rows keep their number and order. Blank cells and the column's `missing` texts are null; a cell that is no
        value of its kind is null and marked in `unparsed`. Times without a zone are read in `zone`.
        """
        import polars as pl

        from .cells import cast

        values: list[pl.Expr] = []
        masks: list[pl.Expr] = []
        for one in self.columns:
            if one.name in raw.columns:
                dtype = raw.schema[one.name]
                how = {"decimal": one.decimal, "zone": zone}
                value, unparsed = cast(one.name, dtype, one.kind, missing=one.missing, **how)
                values.append(value)
                masks.append(unparsed)
        names = [one.meta.output_name() for one in values]
        marked = [one.alias(f"mw.unparsed.{index}") for index, one in enumerate(masks)]
        read = raw.lazy().select(*values, *marked).collect().get_columns()
        parsed, failed = read[: len(names)], read[len(names) :]
        return Typed(pl.DataFrame(parsed), dict(zip(names, failed, strict=True)))

    @staticmethod
    def parse(text: str, *, where: str) -> Schema:
        """Read a schema file. Raises ConfigError that names the line, the wrong key or value, and the nearest."""
        return _Reader(text, where).schema()

    def to_toml(self) -> str:
        """The file a person reviews; `parse` gives back an equal Schema."""
        return "\n".join(_written(self)) + "\n"


# --- writing ---------------------------------------------------------------------------------------------

_HEADER: Final = """\
# What the data of "{name}" must look like. Review it: limits named in `guessed` were set from the data
# that `init` saw, with room for a normal next month. Change what you know better, then take its name out of `guessed`.
#   kind        number, whole, boolean, category, text, time
#   role        feature (default), target, time, key, ignored
#   nulls       share of rows that may be missing       unseen   share of rows with a value not in `categories`
#   min, max    hard limits                             missing  texts that mean missing, besides blank
#   severity    fail (default), warn, note              private  "drop" or "hash": keep values out of logs
# A rule states what must hold:  [[rules]] name = "..." sql = "arrives > departs" share = 0.0
"""
_TOML_NAMES: Final = {"source": "from"}
_WIDTH: Final = 100


def _written(schema: Schema) -> Iterable[str]:
    yield _HEADER.format(name=_comment(schema.name))
    yield "[model]"
    for key in ("name", "target", "task", "time", "key", "classes"):
        value = getattr(schema, key)
        if value or key == "task":
            yield f"{key} = {_toml(value)}"
    for column in schema.columns:
        yield ""
        yield f"[columns.{_toml_key(column.name)}]"
        yield f"kind = {_toml(column.kind)}"
        for one in fields(Column):
            value = getattr(column, one.name)
            if one.name in ("name", "kind") or value == _default(one.name):
                continue
            if isinstance(value, frozenset):
                value = tuple(_TOML_NAMES.get(name, name) for name in sorted(value))
            yield f"{_TOML_NAMES.get(one.name, one.name)} = {_toml(value)}"
    for rule in schema.rules:
        yield ""
        yield "[[rules]]"
        yield f"name = {_toml(rule.name)}"
        yield f"sql = {_toml(rule.sql)}"
        if rule.severity != "fail":
            yield f"severity = {_toml(rule.severity)}"
        if rule.share:
            yield f"share = {_toml(rule.share)}"


def _default(name: str) -> Any:
    return getattr(_DEFAULTS, name)


_DEFAULTS: Final = Column(name="", kind="text")


def _comment(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _toml_key(name: str) -> str:
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else _toml(name)


def _toml(value: Any) -> str:
    """A TOML literal. JSON's strings are TOML's basic strings, but for DEL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        parts = [_toml(one) for one in value]
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


# --- reading ---------------------------------------------------------------------------------------------

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "kind": get_args(Kind),
    "role": get_args(Role),
    "private": get_args(Private),
    "severity": get_args(Severity),
    "task": get_args(Task),
    "decimal": (".", ","),
}
_SHARES: Final = ("nulls", "unseen", "share")
_TEXTS: Final = ("name", "target", "time", "key", "unit", "owner", "from", "sql")
_LISTS: Final = ("categories", "missing", "guessed", "classes")
_COLUMN_KEYS: Final = tuple(_TOML_NAMES.get(one.name, one.name) for one in fields(Column) if one.name != "name")
_MODEL_KEYS: Final = ("name", "target", "task", "time", "key", "classes")
_RULE_KEYS: Final = ("name", "sql", "severity", "share")
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

    def schema(self) -> Schema:
        try:
            tree = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(
                f"{self.where} is not valid TOML", where=self.where, why=str(error), fix="mend that line"
            ) from error
        self._known(tree, ("model", "columns", "rules"), ())
        model = self._table(tree.get("model", {}), ("model",))
        self._known(model, _MODEL_KEYS, ("model",))
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
        return self._whole(Schema(columns=columns, rules=self._rules(tree.get("rules", [])), **facts))

    def _whole(self, schema: Schema) -> Schema:
        """What no single value shows."""
        expected = {"binary": "two", "multiclass": "two or more", "regression": "no"}[schema.task]
        count = len(schema.classes)
        right = {"binary": count == 2, "multiclass": count >= 2, "regression": count == 0}[schema.task]
        if schema.target and not right:
            said = f"a {schema.task} model has {expected} classes, this one {count}"
            raise self._wrong(("model", "classes"), said, 'classes = ["negative", "positive"], as text')
        if len(set(schema.classes)) != count:
            raise self._wrong(("model", "classes"), "a class is named twice", "name each once")
        return schema

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
                raise self._wrong((*path, name), f"{name} = {_toml(limit)} is no limit of a {column.kind} column", fix)
        if column.min is not None and column.max is not None and column.min > column.max:  # type: ignore[operator]
            raise self._wrong((*path, "min"), f'min is above max in "{column.name}"', "swap them")
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
        elif key == "unique" and not isinstance(value, bool):
            raise self._wrong(path, f"{said} is neither true nor false", "unique = true")
        return value

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

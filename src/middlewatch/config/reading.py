"""From the text of middlewatch.toml, the environment and flags to a Config, or to an error with its line."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, NotFound, nearest
from .kinds import READERS, Setting, Wrong, to_toml
from .settings import FILE, SECTIONS, Config, ModelConfig, groups_of, settings_of

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def find_project(start: Path) -> Path:
    """The nearest folder from `start` upward that holds middlewatch.toml. Raises NotFound where none does."""
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return folder
    raise NotFound(
        f"there is no {FILE} here or in any folder above",
        where=str(here),
        fix="middlewatch init data.parquet --target COLUMN, or name the project: --project DIR",
    )


def load(folder: Path, *, env: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> Config:
    """The configuration of the project in `folder`, with overrides from `env` (default: the environment).

    `flags` are values from the command line by dotted name, as in {"serve.port": 8017}. Raises NotFound
    without a file and ConfigError, with the line, for anything in it that cannot be.
    """
    path = folder / FILE
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        fix = "middlewatch init data.parquet --target COLUMN"
        raise NotFound(f"there is no {FILE}", where=str(folder), fix=fix) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{FILE} is not UTF-8 text", where=str(path), fix="save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{FILE} cannot be read", where=str(path), why=error.strerror or "") from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else str(path)
        fix = 'text needs quotes, a section is [monitor], a setting is zone = "UTC"'
        raise ConfigError(f"{FILE} is not valid TOML", where=where, why=str(error), fix=fix) from error
    return _Reading(path, text, os.environ if env is None else env, flags or {}).config(raw)


def check_name(name: str, *, where: str = "") -> None:
    """Raise ConfigError for a text that cannot be the name of a model: it is part of keys, paths and URLs."""
    if _NAME.fullmatch(name) is None:
        fix = "use letters, digits, - and _, a letter first, at most 64"
        raise ConfigError(f'"{name}" cannot be the name of a model', where=where, fix=fix)


class _Reading:
    """One reading of one file: finds lines, applies overrides, notes where each value came from."""

    def __init__(self, path: Path, text: str, env: Mapping[str, str], flags: Mapping[str, Any]) -> None:
        self.path, self.env, self.flags = path, env, flags
        self.lines = _lines(text)
        # What the file names as a secret is no override, whatever it is called.
        self.secrets = set(re.findall(r"env:([A-Za-z_][A-Za-z0-9_]*)", text))
        self.origins: dict[str, str] = {}

    def config(self, raw: Mapping[str, Any]) -> Config:
        for name in raw:
            if name != "models" and name not in SECTIONS:
                raise self.error(f'there is no section "{name}"', (name,), fix=nearest(name, ["models", *SECTIONS]))
        self.check_env()
        for name in self.flags:
            section, _, key = name.partition(".")
            if section not in SECTIONS or key not in settings_of(SECTIONS[section]):
                raise ConfigError(f'there is no setting "{name}"', where="a flag")
        tables = self.is_table(raw.get("models", {}), ("models",))
        models = {name: self.model(name, table) for name, table in tables.items()}
        sections = {name: self.table(kind, raw.get(name, {}), (name,)) for name, kind in SECTIONS.items()}
        return Config(models=models, path=self.path, origins=self.origins, **sections)

    def model(self, name: str, raw: Any) -> ModelConfig:
        path = ("models", name)
        check_name(name, where=f"{self.path}:{self.line(path)}")
        model: ModelConfig = self.table(ModelConfig, raw, path, name=name)
        if model.source is not None and model.target is None:
            raise self.error(
                f"[models.{name}] has a source and no target", path, fix='say which column to predict: target = "late"'
            )
        return model

    def table(self, kind: type, raw: Any, path: tuple[str, ...], **given: Any) -> Any:
        """The dataclass `kind` from a TOML table."""
        known, groups = settings_of(kind), groups_of(kind)
        table = self.is_table(raw, path)
        for name in table:
            if name not in known and name not in groups:
                label = f'[{".".join(path)}] has no setting "{name}"'
                raise self.error(label, (*path, name), fix=nearest(name, [*known, *groups]))
        values: dict[str, Any] = dict(given)
        for name, one in known.items():
            dotted = ".".join((*path, name))
            variable = variable_of(*path, name) if path[0] in SECTIONS else ""
            if dotted in self.flags:
                origin = f"flag --{name.replace('_', '-')}"
                values[name] = self.value(one, self.flags[dotted], dotted, origin, origin)
            elif variable and variable in self.env:
                origin = f"env {variable}"
                values[name] = self.value(one, _from_env(one, self.env[variable]), dotted, origin, origin)
            elif name in table:
                line = self.line((*path, name))
                values[name] = self.value(one, table[name], dotted, f"{FILE}:{line}", f"{self.path}:{line}")
            else:
                self.origins[dotted] = "default"
        for name, group in groups.items():
            values[name] = self.table(group.metadata["group"], table.get(name, {}), (*path, name))
        return kind(**values)

    def value(self, known: Setting, raw: Any, dotted: str, origin: str, where: str) -> Any:
        self.origins[dotted] = origin
        try:
            return READERS[known.kind](raw, known)
        except Wrong as wrong:
            came = wrong.shown or to_toml(raw)
            section, _, name = dotted.rpartition(".")
            fix = wrong.fix or f"for example {name} = {to_toml(known.example)}"
            what = f"[{section}] {name} must be {wrong.expected}, and is {came}"
            raise ConfigError(what, where=where, why=known.help, fix=fix) from wrong

    def check_env(self) -> None:
        """A variable that looks like an override and is none would be ignored without a word."""
        for variable in self.env:
            for section, kind in SECTIONS.items():
                lead = variable_of(section, "")
                known = [variable_of(section, name) for name in settings_of(kind)]
                if variable.startswith(lead) and variable not in known and variable not in self.secrets:
                    raise ConfigError(
                        f'the environment has "{variable}", which is no setting',
                        where=f"env {variable}",
                        fix=nearest(variable, known),
                    )

    def is_table(self, raw: Any, path: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(raw, dict):
            label = ".".join(path)
            raise self.error(
                f"[{label}] must be a table, and is {to_toml(raw)}", path, fix=f"write [{label}] on a line"
            )
        return raw

    def line(self, path: tuple[str, ...]) -> int:
        """The line of a setting, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def error(self, what: str, path: tuple[str, ...], *, fix: str) -> ConfigError:
        return ConfigError(what, where=f"{self.path}:{self.line(path)}", fix=fix)


def secret(reference: str, *, env: Mapping[str, str] | None = None) -> str | None:
    """What "env:NAME" stands for, None where that variable is not set or empty. Other texts are themselves."""
    if not reference.startswith("env:"):
        return reference
    return (os.environ if env is None else env).get(reference.removeprefix("env:")) or None


def variable_of(*path: str) -> str:
    """The variable of the environment that overrides a setting: MIDDLEWATCH_STORE_URL."""
    return "_".join(("middlewatch", *path)).upper()


def _from_env(known: Setting, text: str) -> Any:
    """The text of a variable as TOML would have it: a list is cut at commas."""
    if known.kind.startswith("list"):
        return [one.strip() for one in text.split(",") if one.strip()]
    if known.kind in ("number", "whole number"):
        try:
            return int(text)
        except ValueError:
            try:
                return float(text)
            except ValueError:
                return text
    return text


HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_ASSIGNED = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of every section and setting, by path. tomllib has read the text: it is known to be valid."""
    found: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    inside = ""  # the quotes of a text over several lines
    for number, line in enumerate(text.split("\n"), start=1):
        if not inside:
            if header := HEADER.match(line):
                section = path_of(header[1])
                found.setdefault(section, number)
            elif assigned := _ASSIGNED.match(line):
                found.setdefault((*section, *path_of(assigned[1])), number)
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2 and inside in ("", quotes):
                inside = "" if inside else quotes
    return found


def path_of(dotted: str) -> tuple[str, ...]:
    """A dotted name of TOML as its parts, without quotes."""
    return tuple(part.strip("\"' ") for part in re.findall(_PART, dotted))

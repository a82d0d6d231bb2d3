"""Changes to a schema file that keep what people wrote in it: comments, order, layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError

from middlewatch.errors import ConfigError

from .columns import Column, Table
from .writing import toml, toml_key, written


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to a column's block.

    `set` writes `value` under `key` (None takes the key out), `confirm` only takes `key` out of `guessed` (both do),
    `rename` calls the column `value`, `remove` takes its block out, `add` puts in the block of the Column `value`.
    """

    column: str
    act: Literal["set", "confirm", "rename", "remove", "add"]
    key: str = ""
    value: Any = None

    @property
    def words(self) -> str:
        """The change as it reads in the file."""
        place = f"[columns.{self.column}]"
        if self.act == "set" and self.value is None:
            return f"{place} {self.key} taken out"
        if self.act == "set":
            return f"{place} {self.key} = {_short(toml(self.value))}"
        if self.act == "confirm":
            return f"{place} {self.key} confirmed"
        if self.act == "rename":
            return f"{place} is [columns.{self.value}] now"
        return f"{place} taken out" if self.act == "remove" else f'{place} added, role = "{self.value.role}"'


def edited(text: str, edits: Sequence[Edit], *, where: str) -> str:
    """The text of a schema file with the edits made. Raises ConfigError where it is not TOML or lacks a block."""
    try:
        file = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"{where} is not valid TOML", where=where, why=str(error), fix="mend that line") from error
    columns = file.get("columns")
    for edit in edits:
        if edit.act == "add":
            text_of_block = "\n".join(_block(edit.value))
            file = tomlkit.parse(tomlkit.dumps(file).rstrip("\n") + "\n" + text_of_block + "\n")
            columns = file["columns"]
            continue
        if columns is None or edit.column not in columns:
            raise ConfigError(f"{where} has no [columns.{edit.column}]", where=where)
        if edit.act in ("remove", "rename"):
            file = tomlkit.parse(_moved(tomlkit.dumps(file), edit, where))
            columns = file["columns"]
        else:
            _set(columns[edit.column], edit)
    return tomlkit.dumps(file)


def _set(block: Any, edit: Edit) -> None:
    if edit.act == "set" and edit.value is None:
        block.pop(edit.key, None)
    elif edit.act == "set":
        held = block.get(edit.key)
        if isinstance(held, list) and isinstance(edit.value, tuple) and edit.value[: len(held)] == tuple(held):
            for one in edit.value[len(held) :]:
                held.append(one)  # beside the others, so that comments between them stay
        else:
            block[edit.key] = list(edit.value) if isinstance(edit.value, tuple) else edit.value
    guessed = block.get("guessed")
    if guessed is not None and edit.key in guessed:
        guessed.remove(edit.key)
        if not guessed:
            block.remove("guessed")


_HEADER: Final = re.compile(r"\[{1,2}[^\[\]]+\]{1,2}\s*(#.*)?")


def _moved(text: str, edit: Edit, where: str) -> str:
    """The text without a column's block, or with its header renamed: line by line, so that each comment stays with
    the block that it stands above.
    """
    lines = text.split("\n")
    old = f"[columns.{toml_key(edit.column)}]"
    at = next((number for number, line in enumerate(lines) if line.startswith(old)), None)
    if at is None:
        fix = f"write its header as {old}, or edit it by hand"
        raise ConfigError(f"{where} has [columns.{edit.column}] in another way of writing", where=where, fix=fix)
    if edit.act == "remove":
        following = (number for number in range(at + 1, len(lines)) if _HEADER.fullmatch(lines[number]))
        end = next(following, len(lines))
        return "\n".join(lines[: _above(lines, at)] + lines[_above(lines, end) if end < len(lines) else end :])
    lines[at] = f"[columns.{toml_key(edit.value)}]" + lines[at].removeprefix(old)
    file = tomlkit.parse("\n".join(lines))
    for role in ("target", "time", "key"):
        if file.get("model", {}).get(role) == edit.column:
            file["model"][role] = edit.value
    return tomlkit.dumps(file)


def _above(lines: Sequence[str], at: int) -> int:
    """Where the comments begin that stand right above a line."""
    while at and lines[at - 1].startswith("#"):
        at -= 1
    return at


def _block(column: Column) -> list[str]:
    lines = list(written({"name": "x", "task": "regression"}, [column], (), table=Table(), keys=()))
    start = next(at for at, line in enumerate(lines) if line.startswith("[columns."))
    return ["", *lines[start:]]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 90 else text[:87] + "..."

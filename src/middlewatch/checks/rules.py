"""Own rules: Python functions that say of each row whether it is right.

    import middlewatch as mw

    @mw.rule(columns=["start", "end"])
    def ends_after_it_starts(table):
        return table["end"] >= table["start"]

They stand in a file that `rules = "rules.py"` of a model names, or are given to `mw.check(table, rules=[...])`.
"""

from __future__ import annotations

import inspect
import runpy
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from middlewatch.errors import ConfigError, UsageError, nearest
from middlewatch.findings import Severity

BROKEN: Final = "mw.rule."


@dataclass(frozen=True, slots=True, eq=False)
class RowRule:
    """`function` takes a typed polars DataFrame of some rows and gives a Boolean for each, as a Series or expression.

    Null counts as met. `share` of the rows (0 to 1) may break it; `where` is file and line.
    """

    name: str
    function: Callable[[pl.DataFrame], Any]
    columns: tuple[str, ...]
    severity: Severity = "fail"
    share: float = 0.0
    where: str = ""

    def __call__(self, table: Any) -> Any:
        """The function itself, for its own tests."""
        return self.function(table)


def rule(
    *, columns: Sequence[str], name: str | None = None, severity: Severity = "fail", share: float = 0.0
) -> Callable[[Callable[[pl.DataFrame], Any]], RowRule]:
    """Make a function on rows a data test; `columns` are those it reads, shown with each row that breaks it.

    It sees some rows at a time, in order, never all: a rule is about one row. Raises UsageError for a wrong severity
    or share.
    """
    if severity not in ("fail", "warn", "note"):
        raise UsageError(f'there is no severity "{severity}"', fix=nearest(severity, ("fail", "warn", "note")))
    if not 0 <= share <= 1:
        raise UsageError(f"share = {share} is no share", fix="a number from 0 to 1, such as 0.01")
    if isinstance(columns, str) or not columns:
        raise UsageError("a rule names the columns that it reads", fix='@mw.rule(columns=["start", "end"])')

    def made(function: Callable[[pl.DataFrame], Any]) -> RowRule:
        code = inspect.unwrap(function).__code__
        where = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
        return RowRule(name or function.__name__, function, tuple(columns), severity, share, where)

    return made


def load(path: Path) -> tuple[RowRule, ...]:
    """The rules that a file holds, in its order. Raises ConfigError where it cannot be run or two share a name."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path.name}", where=str(path), fix='rules = "rules.py" names own rules')
    try:
        found = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:  # the user's own code, whatever it raises
        raise ConfigError(f"{path.name} cannot be run", where=_place(error, path), why=_said(error)) from error
    rules = tuple({id(one): one for one in found.values() if isinstance(one, RowRule)}.values())
    names = [one.name for one in rules]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise ConfigError(f'two rules are called "{twice}"', where=str(path), fix="rename one")
    return rules


def broken(rule: RowRule, table: pl.DataFrame) -> pl.Series | str:
    """Which rows break a rule; or in words why that cannot be told: its function fails, or gives something else."""
    missing = [one for one in rule.columns if one not in table.columns]
    if missing:
        return f"a column it reads is not there: {missing[0]}"
    try:
        answer = rule.function(table.select(rule.columns))
        if isinstance(answer, pl.Expr):
            answer = table.select(answer.alias(rule.name)).to_series()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the user's own code, whatever it raises
        return f"{_place(error, Path(rule.where))}: {_said(error)}"
    if not isinstance(answer, pl.Series) or answer.dtype != pl.Boolean or answer.len() != table.height:
        kind = f"{answer.len()} of {answer.dtype}" if isinstance(answer, pl.Series) else type(answer).__name__
        return f"{rule.where}: it gives {kind}, not a Boolean for each of {table.height} rows"
    return ~answer.fill_null(True)


def _place(error: BaseException, path: Path) -> str:
    """File and line of the user's code where it failed."""
    if isinstance(error, SyntaxError):
        return f"{path.name}:{error.lineno}"
    name = path.name.partition(":")[0]
    lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).name == name]
    return f"{name}:{lines[-1]}" if lines else str(path)


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]

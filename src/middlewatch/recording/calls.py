"""From Python: a decorator around a function that predicts, and one call for rows that were scored."""

from __future__ import annotations

import functools
import inspect
import logging
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from ..errors import MiddlewatchError
from ..project import Project
from .reading import plain
from .recorder import Event, Recorder
from .shape import Shape

__all__ = ["Logged", "log", "watch"]

Function = TypeVar("Function", bound=Callable[..., Any])
_log = logging.getLogger("middlewatch")
_ROW = 2_000
"""Bytes that a row of Python values is taken for in the bound of the queue."""


def watch(
    model: str | None = None,
    *,
    project: str | Path | None = None,
    score: str = "",
    id: str = "",
    version: str = "1",
) -> Callable[[Function], Function]:
    """Record what a function is asked and answers: `@mw.watch("loans")` above `def predict(features): ...`.

    The first argument is the row (a mapping), some rows (a list, or a frame), or the arguments by name are the row.
    `score` is a dotted path into what it returns ("" is all of it). The function, coroutine or not, answers and raises
    as before; nothing is waited for.
    """
    recorder = Recorder(project=project, model=model, version=version, shape=Shape(score=score, id=id))

    def wrap(function: Function) -> Function:
        names = _parameters(function)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: Any, **kwargs: Any) -> Any:
                started, asked = clock.time_ns(), _asked(names, args, kwargs)
                answer = await function(*args, **kwargs)
                _put(recorder, started, asked, answer)
                return answer

            return cast(Function, _with_recorder(later, recorder))

        @functools.wraps(function)
        def now(*args: Any, **kwargs: Any) -> Any:
            started, asked = clock.time_ns(), _asked(names, args, kwargs)
            answer = function(*args, **kwargs)
            _put(recorder, started, asked, answer)
            return answer

        return cast(Function, _with_recorder(now, recorder))

    return wrap


def _with_recorder(function: Any, recorder: Recorder) -> Any:
    function.recorder = recorder  # `recorder.counts`, `recorder.flush()`
    return function


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _asked(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The row or rows of a call, copied: the function may change what it is given."""
    first = args[0] if args else None
    if names[:1] in (["self"], ["cls"]) and args:
        names, args = names[1:], args[1:]
        first = args[0] if args else None
    if first is None and len(kwargs) == 1:
        first = next(iter(kwargs.values()))
    if isinstance(first, Mapping):
        return dict(first)
    if isinstance(first, list):
        return [dict(one) if isinstance(one, Mapping) else one for one in first]
    if hasattr(first, "columns"):
        return first
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _put(recorder: Recorder, started: int, asked: Any, answer: Any) -> None:
    count = len(asked) if isinstance(asked, list) else 1
    spent = (clock.time_ns() - started) / 1000
    try:
        recorder.put(Event(started // 1000, "", asked, answer, spent, _ROW * count))
    except Exception as error:  # noqa: BLE001 - the function has answered
        recorder.unread(f"{type(error).__name__}: {error}")


# ------------------------------------------------------------------ rows that were scored


@dataclass(frozen=True, slots=True)
class Logged:
    """What became of a call of `log`: `rows` written, or queued; `problem` says what stood in the way."""

    rows: int
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


_recorders: dict[tuple[str, str | None, str], Recorder] = {}


def log(
    table: Any,
    scores: Any,
    *,
    model: str | None = None,
    time: str | datetime | None = None,
    project: str | Path | None = None,
    version: str = "1",
    id: str | None = None,
    caller: str = "",
) -> Logged:
    """Log rows that a service of yours has scored. Never raises: what went wrong is in the result, and in `logging`.

    A mapping, or a list of them, with a score or a list: queued, as middleware does; `time` is a moment (default: the
    row's own, else now). A frame (pandas, polars, pyarrow) with a column of scores: a nightly batch, written before
    this returns; `time` and `id` are columns. `version` is your word for the model, or `v7` where it is one of ours.
    """
    try:
        if isinstance(table, Mapping | list):
            return _queued(table, scores, model, time, project, version, caller)
        return _batch(table, scores, model, time, project, version, id, caller)
    except MiddlewatchError as error:
        problem = error.what + (f"; {error.fix}" if error.fix else "")
    except Exception as error:  # noqa: BLE001 - the host's job goes on
        problem = f"{type(error).__name__}: {error}"
    _log.warning("middlewatch did not log: %s", problem)
    return Logged(0, problem)


def _queued(table: Any, scores: Any, model: str | None, time: Any, project: Any, version: str, caller: str) -> Logged:
    key = (str(project or ""), model, version)
    recorder = _recorders.get(key)
    if recorder is None:
        recorder = _recorders.setdefault(
            key, Recorder(project=project, model=model, version=version, shape=Shape(score=""))
        )
    moment = datetime.fromisoformat(time) if isinstance(time, str) else time
    if moment is not None and moment.tzinfo is None:
        return Logged(0, "the time names no zone: datetime.now(UTC)")
    dropped = recorder.counts.dropped
    asked = dict(table) if isinstance(table, Mapping) else [dict(one) for one in table]
    micros = None if moment is None else int(moment.astimezone(UTC).timestamp() * 1_000_000)
    count = 1 if isinstance(asked, dict) else len(asked)
    recorder.put(Event(clock.time_ns() // 1000, caller, asked, plain(scores), 0.0, _ROW * count, micros))
    if recorder.counts.dropped > dropped:
        return Logged(0, "the queue is full")
    return Logged(count)


def _batch(
    table: Any,
    scores: Any,
    model: str | None,
    time: Any,
    project: Any,
    version: str,
    id: str | None,
    caller: str,
) -> Logged:
    from ..imports import log_batch

    opened = Project.open(project, search=project is None)
    if isinstance(time, datetime):
        time = time.isoformat()
    rows = log_batch(
        opened,
        opened.model(model),
        table,
        scores,
        time=time,
        id=id,
        version=version,
        caller=caller,
        now=datetime.now(UTC),
    )
    return Logged(rows)

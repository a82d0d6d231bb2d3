"""The frame of every verb: common options, the project opened when first needed, errors turned into exit codes."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from ..errors import UsageError, nearest
from ..model import ours, shelf
from ..predictors import OWN
from .output import Answer, show

if TYPE_CHECKING:
    from ..library import Handle

START = "Start"
LIVE = "Live"
OPERATE = "Operate"
# In the order of a project's life; all others follow as they are declared.
FIRST = ("init", "check", "train", "serve", "demo")
SYNONYMS = {
    "deploy": "promote",
    "release": "promote",
    "undo": "rollback",
    "revert": "rollback",
    "logs": "tail",
    "log": "tail",
    "explain": "why",
    "diagnose": "why",
    "predict": "score",
    "test": "check",
    "validate": "check",
    "run": "serve",
    "start": "serve",
    "new": "init",
    "models": "versions",
    "list": "versions",
    "registry": "versions",
    "drift": "monitor",
    "alerts": "incidents",
    "health": "doctor",
}


class Verbs(TyperGroup):
    """The verbs, in order of use; a wrong one is answered with the nearest, synonyms included."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for group in (START, LIVE, OPERATE):
            rows = [
                (one.name, (one.help or "").partition("\n")[0].partition(". ")[0].rstrip("."))
                for one in (self.commands[name] for name in self.list_commands(ctx))
                if one.rich_help_panel == group and not one.hidden  # type: ignore[attr-defined]
            ]
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and name not in self.commands and not name.startswith("-"):
            meant = SYNONYMS.get(name.lower())
            hint = f'did you mean "{meant}"?' if meant else nearest(name, self.commands)
            raise UsageError(f'there is no verb "{name}"', fix=f"{hint}  middlewatch --help lists them")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Verbs,
    name="middlewatch",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="At 2am, Middlewatch tells you what broke your model, since when, which decisions it changed, "
    "and whether rolling back helps.",
    epilog="Everything stays on this machine and in your own store: no telemetry, no outside request. "
    "Exit codes: 0 fine, 1 what was looked at is bad, 2 usage, 3 our bug, 4 out of reach, 5 nothing to look at.",
)

ProjectOption = Annotated[
    str | None, typer.Option("--project", metavar="DIR", help="Project folder; default: the nearest upward.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Which model, where the project has several.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@dataclass(slots=True)
class Call:
    """What every verb gets: where, which model, and the library opened there when first asked for."""

    project: str | None
    model: str | None
    as_json: bool

    def handle(self) -> Handle:
        from ..library import open as open_project

        return open_project(self.project or os.environ.get("MIDDLEWATCH_PROJECT"), model=self.model)


def verb(group: str, *, name: str | None = None) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Make a function `(call, own options) -> Answer` a verb: adds the common options, prints, sets the exit code."""

    def wrap(function: Callable[..., Answer]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        own = [one for one in inspect.signature(function).parameters.values() if one.name != "call"]
        common = {"project": ProjectOption, "model": ModelOption, "json": JsonOption, "debug": DebugOption}
        defaults = {"project": None, "model": None, "json": False, "debug": False}

        @functools.wraps(function)
        def run(**given: Any) -> None:
            call = Call(given.pop("project"), given.pop("model"), given.pop("json"))
            given.pop("debug")
            raise typer.Exit(show(function(call, **given), as_json=call.as_json))

        parameters = [one.replace(annotation=hints[one.name]) for one in own]
        parameters += [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=defaults[key], annotation=kind)
            for key, kind in common.items()
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        app.command(name or function.__name__.rstrip("_").replace("_", "-"), rich_help_panel=group)(run)
        return run

    return wrap


def spare_imports(handle: Handle) -> None:
    """For a verb that trains: LightGBM imports scikit-learn and pandas where they are, seconds that it never needs.

    Only for a process of our own that ends with its verb, and only where nobody's own code runs in it, which may need
    them: there they are as good as not installed.
    """
    settings = handle.project.settings(handle.model)
    if settings.train or settings.rules or ".py:" in (settings.source or "") or settings.frame == "pandas":
        return
    live = handle.project.journal(handle.model).live()
    if live is not None and ours(live) and shelf(handle.project.store, handle.model).manifest(live)["kind"] == OWN:
        return  # it is asked for the comparison
    for name in ("sklearn", "pandas"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]

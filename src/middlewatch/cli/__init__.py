"""The command line: parses, calls one function of the library, prints. Nothing is computed here."""

from __future__ import annotations

import sys

import typer

from ..errors import MiddlewatchError, UsageError
from . import check, imports, incidents, live, operate, start
from .output import show_error
from .run import app

__all__ = ["app", "check", "imports", "incidents", "live", "main", "operate", "start"]


def main() -> None:
    """Entry point of `middlewatch` and `mw`."""
    arguments = sys.argv[1:]
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        code = app(standalone_mode=False, prog_name="middlewatch")
    except MiddlewatchError as error:
        if debug:
            raise
        code = show_error(error, as_json=as_json)
    except typer.Abort:
        print("stopped; nothing was left half-written", file=sys.stderr)
        code = 130
    except KeyboardInterrupt:
        print("\nstopped; nothing was left half-written", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader went away (`| head`): the rest has nobody to go to.
        sys.stderr.close()
        code = 0
    except Exception as error:
        if debug:
            raise
        code = _unexpected(error, as_json)
    sys.exit(code or 0)


def _unexpected(error: Exception, as_json: bool) -> int:
    # Typer's own usage errors carry an exit code and print themselves well.
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        text = str(error.format_message())
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "middlewatch"
        return show_error(UsageError(text, fix=f"{path} --help"), as_json=as_json)
    bug = MiddlewatchError(
        f"this is our bug: {type(error).__name__}: {error}",
        fix="run it again with --debug and send us the traceback",
    )
    return show_error(bug, as_json=as_json)

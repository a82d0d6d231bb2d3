"""Kinds of settings: each reads what TOML has and gives the value, or says what it should have been."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from ..errors import UsageError, nearest
from ..times import parse_duration, zone_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known of one setting. `default` and `example` are as in TOML; None: the setting may be left out.

    `later` is a setting that is read and checked, and that nothing acts on yet: `doctor` says so where it is set.
    """

    kind: str
    help: str
    default: Any
    example: Any
    unit: str
    choices: tuple[str, ...]
    least: float | None
    most: float | None
    later: bool = False


class Wrong(Exception):
    """A value that cannot be. `shown` replaces it in the message where it may be a secret."""

    def __init__(self, expected: str, *, fix: str = "", shown: str | None = None) -> None:
        super().__init__(expected)
        self.expected, self.fix, self.shown = expected, fix, shown


def _text(value: Any, known: Setting) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Wrong("text in quotes")
    return value


def _prefix(value: Any, known: Setting) -> str:
    if value != "" and not (isinstance(value, str) and re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value)):
        raise Wrong('the beginning of a path, such as "/delay"')
    return str(value)


def _choice(value: Any, known: Setting) -> str:
    if value not in known.choices:
        fix = nearest(str(value), known.choices)
        raise Wrong("one of " + ", ".join(f'"{one}"' for one in known.choices), fix=fix if "?" in fix else "")
    return str(value)


def _number(value: Any, known: Setting) -> float:
    return float(_limited(value, known, int | float, "a number"))


def _whole(value: Any, known: Setting) -> int:
    return int(_limited(value, known, int, "a whole number"))


def _limited(value: Any, known: Setting, kind: Any, words: str) -> Any:
    expected = words + limits(known)
    if isinstance(value, bool) or not isinstance(value, kind):
        raise Wrong(expected, fix="write it without quotes" if isinstance(value, str) else "")
    low, high = known.least, known.most
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        raise Wrong(expected)
    return value


def limits(known: Setting) -> str:
    """The limits of a setting as the end of "a number": " from 0 to 1", or nothing."""
    if known.least is not None and known.most is not None:
        return f" from {known.least:g} to {known.most:g}"
    return "" if known.least is None else f" of at least {known.least:g}"


def _switch(value: Any, known: Setting) -> bool:
    if not isinstance(value, bool):
        raise Wrong("true or false", fix="write it without quotes" if isinstance(value, str) else "")
    return value


def _duration(value: Any, known: Setting) -> timedelta:
    try:
        return parse_duration(_text(value, known))
    except UsageError as error:
        raise Wrong("a length of time", fix=error.fix) from error


def _zone(value: Any, known: Setting) -> str:
    try:
        zone_of(_text(value, known))
    except UsageError as error:
        raise Wrong("the name of a time zone", fix=error.fix) from error
    return str(value)


def _cron(value: Any, known: Setting) -> str:
    if len(_text(value, known).split()) != 5:
        raise Wrong("five fields of a cron line", fix='"0 4 * * 1" is every Monday at 04:00')
    return str(value)


def _texts(value: Any, known: Setting) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise Wrong('a list of texts, such as ["one", "two"]')
    return tuple(value)


_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
_HIDDEN = "a literal value (not shown here)"


def _secret(value: Any, known: Setting) -> str:
    if not isinstance(value, str) or _REFERENCE.fullmatch(value) is None:
        fix = 'put the secret into the environment and name the variable: "env:MIDDLEWATCH_KEYS"'
        raise Wrong('a reference "env:NAME", since secrets are not kept in files', fix=fix, shown=_HIDDEN)
    return value


def _routes(value: Any, known: Setting) -> tuple[str, ...]:
    """Where alerts go: references, and addresses that hold no token. What may be a secret is not echoed."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise Wrong('a list, such as ["env:MIDDLEWATCH_SLACK"]', shown=_HIDDEN)
    for one in value:
        if _REFERENCE.fullmatch(one) is None and not _harmless(one):
            raise Wrong(
                'references "env:NAME", since an address like this holds a secret',
                fix='put the address into the environment and name the variable: "env:MIDDLEWATCH_SLACK"',
                shown=f"{one.partition(':')[0]}:... (not shown here)" if ":" in one else _HIDDEN,
            )
    return tuple(value)


def _address(value: Any, known: Setting) -> str:
    """One address, under the same rule as a list of them; "" is none."""
    if value == "":
        return ""
    if not isinstance(value, str):
        raise Wrong('an address or a reference "env:NAME"', shown=_HIDDEN)
    return _routes([value], known)[0]


_OPEN_ROUTE = re.compile(r"mailto:[^\s:/?@]+@[A-Za-z0-9.-]+|syslog://[A-Za-z0-9.-]*")
_COMMAND = re.compile(r"command:[\w./-]+( -{0,2}[a-z_/.-]{1,40})*", re.ASCII)


def _harmless(address: str) -> bool:
    """True only for forms without a place for a token: plain mail, syslog, a program with plain words behind it, and
    a short path on http(s).
    """
    if _OPEN_ROUTE.fullmatch(address) or _COMMAND.fullmatch(address):
        return True
    from urllib.parse import urlsplit  # seldom needed, and it costs every start

    parts = urlsplit(address.removeprefix("webhook+"))
    if parts.scheme not in ("http", "https", "json", "jsons") or "@" in parts.netloc or parts.query or parts.fragment:
        return False
    # Tokens in paths are long, or mix digits and letters: /services/T0/B1/Xyz, /hook/4f9a.
    return all(re.fullmatch(r"[a-z_-]{0,15}|v\d", part) for part in parts.path.split("/"))


_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")


def _hour(value: Any, known: Setting) -> str:
    if value != "never" and (not isinstance(value, str) or _CLOCK.fullmatch(value) is None):
        raise Wrong('a time of day such as "08:00", or "never"')
    return str(value)


def _hours(value: Any, known: Setting) -> str:
    parts = value.split("-") if isinstance(value, str) else []
    if value != "never" and (len(parts) != 2 or any(_CLOCK.fullmatch(one) is None for one in parts)):
        raise Wrong('hours of the day such as "22:00-07:00", or "never"')
    return str(value)


def _web(value: Any, known: Setting) -> str:
    """Where the pages can be reached; it stands in every message, so it is no place for a secret."""
    if value != "" and (not isinstance(value, str) or re.fullmatch(r"https?://[^\s@?#]+", value) is None):
        raise Wrong('an address such as "https://ml.example.com"', shown=_HIDDEN)
    return str(value).rstrip("/")


READERS: Final[Mapping[str, Callable[[Any, Setting], Any]]] = {
    "text": _text,
    "choice": _choice,
    "path prefix": _prefix,
    "number": _number,
    "whole number": _whole,
    "true or false": _switch,
    "duration": _duration,
    "time zone": _zone,
    "cron line": _cron,
    "list of texts": _texts,
    "secret": _secret,
    "list of addresses": _routes,
    "address": _address,
    "web address": _web,
    "time of day": _hour,
    "hours": _hours,
}


def to_toml(value: Any) -> str:
    """A value as TOML writes it, for files and messages."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # A JSON text is a TOML text, but for one character.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return "[" + ", ".join(to_toml(one) for one in value) + "]"
        case dict():
            return "{ " + ", ".join(f"{name} = {to_toml(one)}" for name, one in value.items()) + " }"
    return str(value)

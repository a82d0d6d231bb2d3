"""From the declared settings to text: a new middlewatch.toml, one more model in it, the reference page."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from ..errors import ConfigError
from .kinds import Setting, limits, to_toml
from .reading import HEADER, check_name, path_of, variable_of
from .settings import FILE, SECTIONS, ModelConfig, groups_of, settings_of


def template(
    name: str,
    *,
    source: str | None,
    target: str | None,
    task: str | None,
    time: str | None = None,
    key: str | None = None,
    zone: str | None = None,
    window: str | None = None,
) -> str:
    """The text of a new middlewatch.toml: one model, and every other setting as a comment with its default."""
    given = {"source": source, "target": target, "task": task, "time": time, "key": key}
    blocks = [
        "# What Middlewatch watches, and how. Lines behind # are the defaults.\n",
        _block("models." + name, ModelConfig, given),
    ]
    for section, kind in SECTIONS.items():
        blocks.append(_block(section, kind, {"zone": zone, "window": window} if section == "monitor" else {}))
    return "\n".join(blocks)


def add_model(
    text: str,
    name: str,
    *,
    source: str | None,
    target: str | None,
    task: str | None,
    time: str | None = None,
    key: str | None = None,
) -> str:
    """The text of middlewatch.toml with one more model behind the others; all else, comments too, as it was.

    Raises ConfigError for a name that is taken or cannot be.
    """
    check_name(name)
    text = text.removeprefix("\ufeff")
    if name in tomllib.loads(text).get("models", {}):
        raise ConfigError(f"there is a model {name} already", where=FILE, fix="choose another: --name NAME")
    given = {"source": source, "target": target, "task": task, "time": time, "key": key}
    block = _block("models." + name, ModelConfig, given)
    lines = text.split("\n")
    headers = [at for at, line in enumerate(lines) if HEADER.match(line)]
    others = [at for at in headers if path_of(lines[at].split("#")[0])[:1] != ("models",)]
    last = max((at for at in headers if at not in others), default=-1)
    place = next((at for at in others if at > last), len(lines))
    while place > 0 and place < len(lines) and lines[place - 1].lstrip().startswith("#"):
        place -= 1  # a comment right above a section belongs to it
    before, after = "\n".join(lines[:place]).rstrip("\n"), "\n".join(lines[place:])
    whole = "\n\n".join(part for part in (before, block.rstrip("\n"), after) if part) + "\n"
    try:
        tomllib.loads(whole)
    except tomllib.TOMLDecodeError as error:
        fix = f"write each model as a section, [models.NAME]; the new one is\n{block}"
        raise ConfigError("the models are written in a way that cannot be added to", where=FILE, fix=fix) from error
    return whole


def _block(section: str, kind: type, given: Mapping[str, str | None]) -> str:
    lines = [f"[{section}]"]
    for name, known in settings_of(kind).items():
        value = given.get(name)
        shown = f"{name} = {to_toml(known.example if value is None else value)}"
        lines.append(_commented(shown if value is not None else f"# {shown}", known))
    for name, group in groups_of(kind).items():
        inner = ", ".join(
            f"{one} = {to_toml(known.example)}" for one, known in settings_of(group.metadata["group"]).items()
        )
        lines.append(f"# {name} = {{ {inner} }}")
    return "\n".join(lines) + "\n"


def _commented(line: str, known: Setting) -> str:
    words = known.help
    if known.choices and known.help.startswith("left out"):
        words = ", ".join(known.choices)
    return f"{line:<34} # {words}"


def reference() -> str:
    """The page of all settings, in Markdown."""
    parts = [
        "Every value comes from, in this order: a flag, the environment, `middlewatch.toml`, the default. "
        "`middlewatch doctor` says which it was.",
        _section("models.NAME", ModelConfig),
        *(
            _section(name, kind, variable=variable_of(name, next(iter(settings_of(kind)))))
            for name, kind in SECTIONS.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, kind: type, *, variable: str = "", about: str = "") -> str:
    rows = ["| setting | kind | default | what it is |", "|---|---|---|---|"]
    for name, known in settings_of(kind).items():
        kinds = known.kind + limits(known) + (f", {known.unit}" if known.unit else "")
        if known.choices:
            kinds = " or ".join(f"`{one}`" for one in known.choices)
        default = "" if known.default is None else f"`{to_toml(known.default)}`"
        rows.append(f"| `{name}` | {kinds} | {default} | {known.help} |")
    if variable:
        rows.append(f"\nIn the environment: `{variable}` and so on; lists are cut at commas.")
    parts = [f"### `[{title}]`", *([f"{about[0].upper()}{about[1:]}."] if about else []), "\n".join(rows)]
    for name, group in groups_of(kind).items():
        parts.append(_section(f"{title}.{name}", group.metadata["group"], about=group.metadata["help"]))
    return "\n\n".join(parts)

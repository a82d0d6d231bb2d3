"""The docs say what the code does: generated pages are current, commands in them exist, snippets run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from middlewatch import config
from middlewatch.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


def commands_in(text: str) -> list[list[str]]:
    """Command lines of code blocks, comments cut off."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("middlewatch ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_one_with_these_options(page: Path) -> None:
    for words in commands_in(page.read_text(encoding="utf-8")):
        if words[0].startswith("-"):
            continue
        assert words[0] in COMMANDS, words
        known = {option for one in COMMANDS[words[0]].params for option in [*one.opts, *one.secondary_opts]}
        assert {word for word in words if word.startswith("--") and word != "--help"} <= known, words


def test_the_settings_page_is_current() -> None:
    """By: python -c "from middlewatch import config; print(config.reference(), end='')" > docs/settings.md"""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == config.reference()


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_verb_has_a_sentence(name: str) -> None:
    assert (COMMANDS[name].help or "").strip()


def test_the_readme_shows_the_two_commands_first() -> None:
    first = re.findall(r"```[a-z]*\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_schema_page_has_every_key_and_its_example_is_a_schema() -> None:
    from dataclasses import fields

    from middlewatch import checks, tables
    from middlewatch.schema import Column, Key, Rule, Schema, Table

    page = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    example = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)[0]
    schema = Schema.parse(example, where="docs/schema.md")
    keys = {line.partition("=")[0].strip() for line in example.splitlines() if "=" in line}
    wanted = {one.name for kind in (Column, Key, Rule, Table) for one in fields(kind)} - {"name", "source"} | {"from"}
    assert wanted <= keys
    import polars as pl

    empty = pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in schema.names})
    with pytest.raises(Exception, match=r"airports\.csv"):
        checks.check(tables.from_frame(empty), schema)

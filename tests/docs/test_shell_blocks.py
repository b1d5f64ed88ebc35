"""Every ``fluxtrapolation ...`` in README and documentation is one that the real command line takes."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from doc_pages import PAGES, ROOT, Block, blocks, command_lines, named, prose

from fluxtrapolation.cli.main import app

SHELL = [
    (block, words)
    for page in PAGES
    for block in blocks(page)
    if block.language in ("bash", "sh", "console", "shell")
    for words in command_lines(block)
]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The extension that writes the reference of the command line."""
    place = ROOT / "docs" / "_ext" / "cli_reference.py"
    spec = importlib.util.spec_from_file_location("cli_reference_under_test", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """Typer's command of a command line, and the words after its name."""
    command, rest = typer.main.get_command(app), list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def spellings(command: Any) -> set[str]:
    return {text for one in command.params for text in (*one.opts, *one.secondary_opts) if text.startswith("-")}


def test_there_are_command_lines() -> None:
    assert len(SHELL) > 25
    shown = {tuple(words[:2]) if words[0] in ("data", "scenario") else (words[0],) for _, words in SHELL}
    assert {("train",), ("evaluate",), ("table",), ("report",), ("data", "import"), ("scenario", "design")} <= shown


@pytest.mark.parametrize(("block", "words"), SHELL, ids=lambda one: " ".join(one[:2]) if isinstance(one, list) else "")
def test_command_line_parses(block: Block, words: list[str]) -> None:
    """Its command, every option, every choice, and all that is required: all but what the words point to."""
    where = f"{named(block.page)}, line {block.line}: fluxtrapolation {' '.join(words)}"
    command, rest = find_command(words)
    if words == ["--version"]:
        return
    assert not hasattr(command, "commands"), f"{where}: no such command"
    try:
        command.make_context("fluxtrapolation", rest)
    except typer.BadParameter.__mro__[1] as error:  # typer's usage errors
        pytest.fail(f"{where}: {error}")


def test_a_wrong_line_would_be_found() -> None:
    """The test above can fail."""
    for line in ("train --stroe x", "data import x", "evaluate a.csv --out s.csv --protocol papper", "table --target"):
        command, rest = find_command(line.split())
        with pytest.raises(typer.BadParameter.__mro__[1]):
            command.make_context("fluxtrapolation", rest)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_running_text_exist(page: Path) -> None:
    for text in re.findall(r"`(?:[\w=$(]*)?fluxtrapolation ([a-z][^`]*)`", prose(page)):
        command, rest = find_command(shlex.split(text.replace("(", " ").replace(")", " ")))
        assert not hasattr(command, "commands"), f"{named(page)}: no command 'fluxtrapolation {text}'"
        unknown = {word for word in rest if word.startswith("--")} - spellings(command) - {"--help"}
        assert not unknown, f"{named(page)}: 'fluxtrapolation {text}' has no {unknown}"


def test_reference_names_every_command_and_option(reference: ModuleType) -> None:
    found = {one.words: one for one in reference.commands()}
    known: dict[tuple[str, ...], Any] = {}
    todo: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(app))]
    while todo:
        words, command = todo.pop()
        if hasattr(command, "commands"):
            todo += [((*words, name), one) for name, one in command.commands.items()]
        else:
            known[words] = command
    assert set(found) == set(known)
    for words, command in known.items():
        assert found[words].options == spellings(command) | {"--help", "-h"}, words
        page = "\n".join(reference.markdown(found[words]))
        assert all(option in page for option in spellings(command) - {"--help", "-h"})
        assert all(one.help for one in found[words].parameters), f"{words}: an option without help"

"""The reference of the command line, written by the command line itself, so that it cannot drift.

``commands()`` walks the typer application by the signatures of its functions; the directive ``cli-reference`` makes a
section of every command.
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = {Path: "PATH", int: "N", float: "NUMBER", str: "TEXT"}


@dataclass(frozen=True)
class Parameter:
    """An argument or option as the reader sees it."""

    spelling: str
    value: str
    help: str
    default: str
    required: bool
    several: bool

    @property
    def is_option(self) -> bool:
        return self.spelling.startswith("-")

    @property
    def label(self) -> str:
        """Such as ``--sites A,B``, ``--model TEXT...`` (may be given more than once) or ``FILES...``."""
        text = f"{self.spelling} {self.value}".rstrip() if self.is_option else self.spelling
        return text + "..." * self.several


@dataclass(frozen=True)
class Command:
    """One command: its words after ``fluxtrapolation`` and its function."""

    words: tuple[str, ...]
    function: Callable[..., None]

    @property
    def name(self) -> str:
        return " ".join(("fluxtrapolation", *self.words))

    @property
    def help(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def parameters(self) -> list[Parameter]:
        hints = typing.get_type_hints(self.function, include_extras=True)
        signature = inspect.signature(self.function).parameters
        return [_parameter(name, hints[name], one.default) for name, one in signature.items()]

    @property
    def options(self) -> set[str]:
        """Every option it takes."""
        return {one.spelling for one in self.parameters if one.is_option} | {"--help", "-h"}

    @property
    def usage(self) -> str:
        return " ".join([self.name, *(one.label for one in self.parameters if one.required), "[OPTIONS]"])


def commands(app: Any = None, words: tuple[str, ...] = ()) -> Iterator[Command]:
    """Every command of the program: the groups first, each in its order."""
    if app is None:
        from fluxtrapolation.cli.main import app
    for group in app.registered_groups:
        yield from commands(group.typer_instance, (*words, group.name))
    for one in app.registered_commands:
        yield Command((*words, one.name or one.callback.__name__.replace("_", "-")), one.callback)


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    kind, info = typing.get_args(hint)[:2]
    required = default is inspect.Parameter.empty
    if isinstance(kind, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    several = typing.get_origin(kind) is list
    if several:
        kind = typing.get_args(kind)[0]
    # In an Annotated hint typer keeps the first spelling where a default would stand.
    given = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str) and one.startswith("-")]
    spelling = given[0] if given else name.rstrip("_").upper()
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        value = "|".join(one.value for one in kind)
    elif kind is bool:
        value = ""
    else:
        value = info.metavar or KINDS[kind]
    shown = "" if required or default is None or default is False else str(getattr(default, "value", default))
    return Parameter(spelling, value, info.help or "", shown, required, several)


def markdown(command: Command) -> list[str]:
    """Lines of MyST: heading, usage, help, table of arguments and options."""
    lines = [f"## {' '.join(command.words)}", "", "```text", command.usage, "```", ""]
    lines += [*_plain(command.help).splitlines(), ""]
    lines += ["| | | default |", "|---|---|---|"]
    for one in command.parameters:
        cells = (f"`{one.label}`", _plain(one.help) + " **Required.**" * one.required, _plain(one.default))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*lines, ""]


def _plain(text: str) -> str:
    """Text whose underscores and stars are themselves."""
    return text.replace("_", "\\_").replace("*", "\\*")


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the directive."""
    from docutils import nodes
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    class CliReference(Directive):
        """Sections for all commands."""

        def run(self) -> list[nodes.Node]:
            lines = [line for command in commands() for line in markdown(command)]
            holder = nodes.section()
            self.state.nested_parse(StringList(lines, "cli-reference"), self.content_offset, holder, match_titles=1)
            return list(holder.children)

    app.add_directive("cli-reference", CliReference)
    return {"version": "1", "parallel_read_safe": True}

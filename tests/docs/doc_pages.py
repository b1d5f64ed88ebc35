"""The written pages: their code blocks, command lines and links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            "index",
            "getting-started",
            "towers",
            "doors-fluxnet",
            "doors-benchmark-csv",
            "doors-fetch",
            "doors-satellite",
            "doors-provenance",
            "scenarios",
            "models",
            "training",
            "bring-your-own-model",
            "evaluation",
            "certainty",
            "own-predictions",
            "report",
            "shift",
            "shift-applicability",
            "shift-autocorrelation",
            "shift-px",
            "shift-pyx",
            "cli",
            "python",
            "benchmarks",
        )
    ),
)
"""Pages whose Python runs from beginning to end."""
PAGES = (*GUIDES, *sorted(set(ROOT.glob("docs/**/*.md")) - set(GUIDES) - set(ROOT.glob("docs/_build/**/*"))))
"""All pages, results and descriptions of others included."""

_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A fenced block and the line of the page on which its content begins."""

    page: Path
    line: int
    language: str
    body: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 2, found["language"].strip(), found["body"])
        for found in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def command_lines(block: Block) -> list[list[str]]:
    """Words after ``fluxtrapolation`` of every such line of a shell block; continued lines are joined."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", block.body).splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words and Path(words[0]).name == "fluxtrapolation":
            found.append(words[1:])
    return found


def named(page: Path) -> str:
    """The page relative to the project, for test ids and messages."""
    return page.relative_to(ROOT).as_posix()

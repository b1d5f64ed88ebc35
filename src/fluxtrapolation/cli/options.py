"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Protocol(StrEnum):
    paper = "paper"
    measured = "measured"


JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
ProtocolOption = Annotated[
    Protocol, typer.Option("--protocol", help="paper: every row, as published. measured: qc_mask == 1 only.")
]

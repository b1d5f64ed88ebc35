"""Options that hold several things: ``A,B``, or ``@FILE`` with one a line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fluxtrapolation.errors import DataError

SitesOption = Annotated[
    str | None, typer.Option("--sites", metavar="A,B|@FILE", help="Only these towers; @FILE: one id a line.")
]


def site_list(text: str | None) -> list[str] | None:
    """Site ids between commas, or of a file after ``@`` (``#`` begins a remark); None is all of them.

    Raises
    ------
    DataError
        If none is named, or the file cannot be read.
    """
    if text is None:
        return None
    if text.startswith("@"):
        from fluxtrapolation.data.reading import reading

        path = Path(text[1:])
        with reading(path):
            content = path.read_bytes()
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise DataError(f"{path} is no text in UTF-8. Save it so, one site id a line.") from None
        text = ",".join(line.partition("#")[0] for line in lines)
    names = words(text)
    if not names:
        raise DataError("--sites names no tower. Write ids as DE-Tha,AU-Tum or @FILE, or leave --sites out for all.")
    return names


def words(text: str) -> list[str]:
    """The words between commas, without repeats."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))

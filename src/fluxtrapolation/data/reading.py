"""Reading files that may not be there or may not be read: plain errors, plain text, and the name that was meant."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from fluxtrapolation.errors import DataError


def plain_text(text: str) -> str:
    """``text`` in one line, without what moves the cursor, changes colours or turns the direction of writing.

    Facts and names out of other people's files reach the terminal, the manifest and bibliographies.
    """
    return " ".join("".join(one if one.isprintable() else " " if one.isspace() else "" for one in text).split())


def near_name(path: Path) -> str:
    """Return ``" Did you mean 'x'?"`` for a very similar name in the same folder, else an empty string."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = get_close_matches(path.name, names, n=1, cutoff=0.85)
    return f" Did you mean '{close[0]}'?" if close else ""


def is_pipe(path: Path) -> bool:
    """Whether a path is there but neither file nor folder: a pipe, socket or device, which may never come to an end.

    Raises
    ------
    OSError
        If it is not there.
    """
    mode = path.stat().st_mode
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def need_file(path: Path) -> None:
    """Refuse a pipe, socket or device before it is opened; with :func:`reading` where it may not be there.

    Raises
    ------
    DataError
        If it is one.
    OSError
        If it is not there.
    """
    if is_pipe(path):
        raise DataError(f"{path} is no file but a pipe or device. Give a file.")


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn the operating system's refusals to read ``path`` into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}). It must be a file that you may read."
        ) from None

"""How commands speak: messages and progress on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fluxtrapolation.errors import FluxtrapolationWarning


class ReaderGone(Exception):  # noqa: N818 (no error: nobody is left to tell)
    """The reader of standard output has left, for example ``| head``."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise ReaderGone


err = _Console(stderr=True, highlight=False)
# Into a file or pipe a table keeps its full width; only a terminal wraps it.
out = _Console(highlight=False, width=None if sys.stdout is not None and sys.stdout.isatty() else 200)


def say(message: str) -> None:
    """A message for the person, on standard error."""
    err.print(message, markup=False, soft_wrap=True)


def emit_json(value: Any) -> None:
    """The machine's answer: one JSON document on standard output and nothing else."""
    _write(json.dumps(value, indent=1, default=str, allow_nan=False))


def emit_path(path: Path | str) -> None:
    """A path a command wrote: plain, alone on the last line, never wrapped."""
    _write(str(path))


def _write(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table on standard output; numbers to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], int | float) for row in rows if row[i] is not None)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    out.print(table, markup=False)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Show the package's warnings as one line each, once; leave other warnings to Python."""
    seen: set[str] = set()
    default = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, FluxtrapolationWarning):
            text = str(message)
            if text not in seen:
                seen.add(text)
                say(f"note: {text}")
        else:
            default(message, category, *rest, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", FluxtrapolationWarning)
        warnings.showwarning = show
        yield


class SiteProgress:
    """Progress over sites, for importers and the simulator: call it with (site, done, total).

    A bar in a terminal; elsewhere (a log, a pipe) a plain line every ten seconds.
    """

    def __init__(self, what: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._what = what
        self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        )
        self._task = self._bar.add_task(what, total=None)

    def __call__(self, site: str, done: int, total: int) -> None:
        if err.is_terminal:
            self._bar.update(self._task, description=f"{self._what} {site}", completed=done, total=total)
        elif time.monotonic() - self._told > 10:
            self._told = time.monotonic()
            say(f"{self._what}: {done} of {total}")

    def __enter__(self) -> SiteProgress:
        if err.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._bar.stop()

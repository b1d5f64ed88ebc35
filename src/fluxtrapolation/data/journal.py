"""The journal of an import: what was done since the manifest was last written, a line a tower.

To write the manifest whole after every tower takes time that grows with the square of their number. A line of the
journal takes the same time always. The journal says which manifest it belongs to, so that one that a killed writer left
beside a later manifest counts for nothing.
"""

from __future__ import annotations

import json
import os
from io import FileIO
from pathlib import Path
from typing import Any, Final

from fluxtrapolation.data.reading import reading

JOURNAL_NAME: Final = "manifest.journal"
_MANIFEST: Final = "manifest_sha256"


class Journal:
    """The journal of one manifest, for its only writer.

    Parameters
    ----------
    folder : Path
        Of the store. An older journal there is replaced by the first line.
    manifest_sha256 : str
        Checksum of the manifest that the lines add to.
    """

    def __init__(self, folder: Path, manifest_sha256: str) -> None:
        self._path = folder / JOURNAL_NAME
        self._belongs_to = manifest_sha256
        self._handle: FileIO | None = None

    def append(self, change: dict[str, Any], *, sync: bool = True) -> None:
        """Add a line. No kill undoes it; with ``sync`` it is on the disk itself, and no power failure does either.

        Raises
        ------
        OSError
            If it cannot be written; what was begun of it counts for nothing.
        """
        handle = self._handle or self._begin()
        _write(handle, change)
        if sync:
            os.fsync(handle.fileno())

    def _begin(self) -> FileIO:
        handle = FileIO(self._path, "wb")
        try:
            _write(handle, {_MANIFEST: self._belongs_to})
        except OSError:
            handle.close()
            raise
        self._handle = handle
        return handle

    @property
    def begun(self) -> bool:
        """Whether it has a line."""
        return self._handle is not None

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def remove(self) -> None:
        """Take the file away: the manifest says it all."""
        self.close()
        self._path.unlink(missing_ok=True)


def _line(value: dict[str, Any]) -> bytes:
    """A line, begun with a line's end: apart from the torn one that a full disk may have left before it."""
    return f"\n{json.dumps(value)}\n".encode()


def _write(handle: FileIO, value: dict[str, Any]) -> None:
    left = memoryview(_line(value))
    while left:
        left = left[handle.write(left) or 0 :]


def read_journal(folder: Path) -> tuple[str | None, list[dict[str, Any]]]:
    """The manifest that a store's journal belongs to, by its checksum, and its lines; None and no line without one.

    What is no whole line, such as the last one of a killed writer, is passed over.

    Raises
    ------
    DataError
        If it is there and cannot be read.
    """
    path = folder / JOURNAL_NAME
    with reading(path):
        if not path.is_file():
            return None, []
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:  # the import has just ended
            return None, []
    values: list[Any] = []
    for line in text.split("\n"):
        if line:
            try:
                values.append(json.loads(line))
            except ValueError:
                continue
    lines = [value for value in values if isinstance(value, dict)]
    if not lines or not isinstance(lines[0].get(_MANIFEST), str):
        return None, []
    return lines[0][_MANIFEST], lines[1:]

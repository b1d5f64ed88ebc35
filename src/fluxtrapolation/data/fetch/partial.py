"""A download under way: ``NAME.part`` beside ``NAME.part.json``, which says which version of which address it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fluxtrapolation.data.fetch.files import PART


@dataclass(frozen=True, slots=True)
class Version:
    """Which bytes an address gives: to be sure that the rest of a file belongs to its beginning.

    ``total`` is the size of the whole file in bytes, None where the server does not say; ``resumable`` is False where
    what lies on disk is not what the server counts (an encoded answer).
    """

    url: str
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None
    resumable: bool = True

    @property
    def validator(self) -> str | None:
        """What ``If-Range`` may hold: a strong ETag, else the date (RFC 9110, 13.1.5)."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class Partial:
    """The partial file of one download.

    Its note is written before its first byte, so a partial file never stands beside the note of another version.

    Attributes
    ----------
    path : Path
    noted : bool
        Whether a note was written or looked for.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}{PART}"
        self._note = folder / f"{name}{PART}.json"
        self.noted = False

    def size(self) -> int:
        """Bytes that are there; 0 if there is no partial file."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def version(self) -> Version | None:
        """What the note says, None if there is none or it cannot be read."""
        self.noted = True
        try:
            return Version(**json.loads(self._note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def begin(self, version: Version) -> None:
        """Start anew, with the note of this version."""
        self.path.unlink(missing_ok=True)
        self.noted = True
        # Torn by a kill it cannot be read, and the download starts anew: no need for a temporary name.
        self._note.write_bytes(json.dumps(asdict(version)).encode())

    def drop(self) -> None:
        """Remove the partial file and its note."""
        self.path.unlink(missing_ok=True)
        self._forget()

    def move(self, target: Path) -> None:
        """Give the partial file its final place, and remove the note."""
        self.path.replace(target)
        self._forget()

    def _forget(self) -> None:
        if self.noted:
            self._note.unlink(missing_ok=True)
        self.noted = False

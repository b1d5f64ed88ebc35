"""``fetch.lock.json``: the hash of every file that was ever accepted, so that a later change cannot go unseen."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fluxtrapolation.data.fetch.names import check_file_name, check_sha256
from fluxtrapolation.data.reading import reading
from fluxtrapolation.errors import DataError, did_you_mean
from fluxtrapolation.files import write_bytes_atomic

LOCK_FILE: Final = "fetch.lock.json"
LOCK_FORMAT: Final[Literal["fluxtrapolation-fetch-lock"]] = "fluxtrapolation-fetch-lock"


class Pin(BaseModel):
    """What is known of one accepted file.

    ``origin`` says whose word the hash is: ``published`` (the registry gave it) or ``learned`` (of the first download).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    sha256: Annotated[str, AfterValidator(check_sha256)]
    size: int = Field(ge=0)
    origin: Literal["published", "learned"]
    url: str
    retrieved: datetime
    etag: str | None = None
    last_modified: str | None = None
    licence: str | None = None


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal["fluxtrapolation-fetch-lock"]
    version: Literal[1]
    files: dict[Annotated[str, AfterValidator(check_file_name)], Pin]


class LockFile:
    """The pins of a folder of downloads; safe to use from several threads.

    A pin is on disk as soon as :meth:`pin` returns: as a line of the journal ``NAME.new`` at first. :meth:`save` writes
    the lock file itself, whole or not at all. A journal that a killed run left is taken over by the next one.

    Parameters
    ----------
    path : Path
        Read if it is there, made by :meth:`save` if not.

    Raises
    ------
    DataError
        If it is there and cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal = path.with_name(f"{path.name}.new")
        self._lock = Lock()
        self._handle: FileIO | None = None
        self._pins = _read(path)
        late = _read_journal(self._journal)
        self._changed = bool(late)
        self._pins |= late
        self._by_content = {pin.sha256: name for name, pin in self._pins.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._pins

    def get(self, name: str) -> Pin | None:
        """The pin of a file, None if it was never accepted."""
        return self._pins.get(name)

    def claim(self, name: str, sha256: str) -> str | None:
        """Another file with this very content; None if there is none, and the content is then this file's."""
        with self._lock:
            other = self._by_content.setdefault(sha256, name)
        return None if other == name else other

    def pin(self, name: str, pin: Pin) -> None:
        """Enter a file."""
        with self._lock:
            if self._handle is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._handle = FileIO(self._journal, "ab")
            self._handle.write(f"\n{_line(name, pin)}\n".encode())  # apart from a torn line before it
            self._pins[name] = pin
            self._by_content[pin.sha256] = name
            self._changed = True

    def save(self) -> None:
        """Write the lock file, if anything is new: one line a file, sorted, so that two versions compare easily."""
        with self._lock:
            if self._changed:
                rows = ",\n".join(f"  {_line(name, pin)}" for name, pin in sorted(self._pins.items()))
                text = f'{{\n "format": "{LOCK_FORMAT}",\n "version": 1,\n "files": {{\n{rows}\n }}\n}}\n'
                write_bytes_atomic(self.path, text.encode())
                self._changed = False
            if self._handle is not None:
                self._handle.close()
                self._handle = None
            self._journal.unlink(missing_ok=True)


def _line(name: str, pin: Pin) -> str:
    return f"{json.dumps(name)}: {json.dumps(pin.model_dump(mode='json', exclude_none=True))}"


def _read(path: Path) -> dict[str, Pin]:
    with reading(path):
        if not path.exists():
            return {}
        content = path.read_bytes()
    fix = "Restore it from a copy; without it the hashes of earlier downloads are not known."
    try:
        body: Any = json.loads(content)
        return dict(_Content.model_validate(body).files)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        known = {**_Content.model_fields, **Pin.model_fields}
        near = did_you_mean(str(first["loc"][-1]), known) if first["type"] == "extra_forbidden" else ""
        raise DataError(f"{path} is no lock file of 'data fetch': {where}: {first['msg']}.{near} {fix}") from None
    except ValueError as error:
        raise DataError(f"{path} is damaged: it is not JSON ({error}). {fix}") from None


def _read_journal(path: Path) -> dict[str, Pin]:
    """Pins of a run that was killed; its last line may be torn."""
    with reading(path):
        if not path.exists():
            return {}
        lines = path.read_text("utf-8", "replace").splitlines()
    pins: dict[str, Pin] = {}
    for line in lines:
        with suppress(ValueError):
            pins |= _Content(format=LOCK_FORMAT, version=1, files=json.loads(f"{{{line}}}")).files
    return pins

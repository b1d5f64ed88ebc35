"""Small file habits: temporary name then rename, plain errors for a full disk, hashes of files."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fluxtrapolation.errors import DataError

MANIFEST_NAME: Final = "manifest.json"
STORE_FORMAT: Final = "fluxtrapolation-store"
_HEAD_BYTES: Final = 4096
"""Where in a manifest its format stands: it is the first entry."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it into place on success, remove it on failure.

    Raises
    ------
    DataError
        When the disk is full or the place cannot be written; nothing half-written stays behind.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):  # where the parent is a file, even this fails
            temporary.unlink(missing_ok=True)
        known = as_os_error(error)
        if known is None:
            raise
        raise plain_error(known, path) from error


def as_os_error(error: BaseException) -> OSError | None:
    """The operating system's error behind an exception, or None.

    Table libraries written in Rust raise errors of their own, with the system's number in the text: ``(os error 28)``.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def plain_error(error: OSError, path: Path) -> DataError:
    """The error of a path that could not be written, in words and with the fix."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"The disk is full: {path} could not be written. What was finished is kept; free some space and run "
            "the same command again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DataError(f"{path} cannot be written ({error.strerror}). Choose a folder you may write to.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return DataError(
            f"{path} cannot be written ({error.strerror}): a file or folder is in the way. Choose another."
        )
    return DataError(f"{path} cannot be written ({error.strerror}). Choose another place.")


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` under a temporary name, then rename."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_store(folder: Path) -> bool:
    """Whether a folder has the manifest of a store, by its first lines alone."""
    try:
        with (folder / MANIFEST_NAME).open("rb") as handle:
            return STORE_FORMAT.encode() in handle.read(_HEAD_BYTES)
    except OSError:
        return False


def need_outside_stores(path: Path, given: Path | None = None) -> None:
    """Refuse to write into a store: the folder is the store's alone, and what else lies there is lost or in the way.

    Parameters
    ----------
    path : Path
        What is to be written, file or folder; links are followed.
    given : Path, optional
        How the person wrote it, for the message.

    Raises
    ------
    DataError
        If it is a store, or lies in one.
    """
    place = path.resolve()
    for folder in (place, *place.parents):
        if is_store(folder):
            word = "is a store" if folder == place and given is None else f"lies in the store {folder}"
            raise DataError(f"{given or path} {word}; only its importer writes there. Choose another --out beside it.")

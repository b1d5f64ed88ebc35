"""Small file habits: temporary name then rename, plain errors for a full disk, hashes of files."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fluxtrapolation.errors import DataError


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
    except OSError as error:
        with suppress(OSError):  # where the parent is a file, even this fails
            temporary.unlink(missing_ok=True)
        raise _plain(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _plain(error: OSError, path: Path) -> Exception:
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
    return error


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` under a temporary name, then rename."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

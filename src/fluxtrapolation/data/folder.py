"""The folder of a store as a place to write: made, locked against a second writer, exchanged for a new one."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Final

from fluxtrapolation.data.journal import JOURNAL_NAME
from fluxtrapolation.data.manifest import MANIFEST_NAME, SITE_TABLE_NAME
from fluxtrapolation.data.reading import reading
from fluxtrapolation.errors import DataError
from fluxtrapolation.files import atomic_path, plain_error

if sys.platform != "win32":
    import fcntl

SITES_FOLDER: Final = "sites"
LOCK_NAME: Final = ".lock"
PIECE_BYTES: Final = 4 << 20
"""Bytes copied at once."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to make, rename or remove ``path`` into a DataError."""
    try:
        yield
    except OSError as error:
        raise plain_error(error, path) from error


class FileLock:
    """A lock on a file made for it, which the system releases when the process ends.

    Where the system or the file system knows no such locks, nothing is locked.

    Parameters
    ----------
    path : Path
        Made by :meth:`acquire`, removed by :meth:`release`.
    busy : str
        What to say where another process has it.
    """

    def __init__(self, path: Path, busy: str) -> None:
        self._path = path
        self._busy = busy
        self._handle: BinaryIO | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        DataError
            If another process has it.
        OSError
            If the file cannot be made.
        """
        if sys.platform == "win32":
            return
        while True:
            handle = self._path.open("ab")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                raise DataError(self._busy) from None
            except OSError:
                handle.close()
                return
            if _same_file(self._path, handle):
                self._handle = handle
                return
            handle.close()  # its last owner removed the file in between

    def release(self) -> None:
        """Remove the lock file and let go; does nothing where nothing is held."""
        if self._handle is None:
            return
        if _same_file(self._path, self._handle):
            with suppress(OSError):
                self._path.unlink()
        self._handle.close()
        self._handle = None


class FolderLock(FileLock):
    """One writer a folder: a lock on its ``.lock`` file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder / LOCK_NAME,
            f"Another import is writing to {folder}. Wait until it has finished, or choose another --out.",
        )


def _same_file(path: Path, handle: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except OSError:
        return False


def copy_file(source: Path, path: Path, *, sha256: str, link: bool = False) -> None:
    """Copy (or link) a file to ``path``, whole or not at all, and only if its content has this sha256.

    Raises
    ------
    DataError
        If ``source`` cannot be read or has another content; with the system's error as its cause, if ``path`` cannot be
        written.
    """
    with reading(source):
        opened = source.open("rb")
    with opened, atomic_path(path) as temporary:
        digest = hashlib.sha256()
        linked = link and _linked(source, temporary)
        with writing(path), nullcontext() if linked else temporary.open("wb") as target:
            while True:
                with reading(source):
                    piece = opened.read(PIECE_BYTES)
                if not piece:
                    break
                digest.update(piece)
                if target is not None:
                    target.write(piece)
        if digest.hexdigest() != sha256:
            raise DataError(changed_file(source))


def changed_file(path: Path) -> str:
    """What to say of a site file that is not what its manifest says."""
    return (
        f"{path} has changed since it was written: its sha256 is not the manifest's. Import the site again, or restore "
        f"the file from a copy ('fluxtrapolation data verify {path.parent.parent}' checks them all)."
    )


def _linked(source: Path, path: Path) -> bool:
    """Whether ``path`` could be made a second name of ``source``: same disk, and a file system that can."""
    try:
        path.unlink(missing_ok=True)
        path.hardlink_to(source.resolve())
    except OSError:
        return False
    return True


def is_ours(path: Path) -> bool:
    """Whether an entry of a store folder is one that a writer makes."""
    if path.name == SITES_FOLDER:
        return path.is_dir() and all(p.suffix in (".parquet", ".tmp") and p.is_file() for p in path.iterdir())
    temporary = path.name.startswith(".") and path.name.endswith(".tmp")
    return temporary or path.name in (MANIFEST_NAME, JOURNAL_NAME, SITE_TABLE_NAME, LOCK_NAME)


def clear_leftovers(folder: Path) -> None:
    """Empty a folder that has no manifest, but only what a killed writer left there.

    Raises
    ------
    DataError
        If it holds anything else; nothing is removed then.
    """
    entries = [path for path in folder.iterdir() if path.name != LOCK_NAME]
    foreign = [path.name for path in entries if not is_ours(path)]
    if foreign:
        raise DataError(f"{folder} is not empty and not a store (it holds {foreign[0]}). Choose another --out.")
    for path in entries:
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def beside(folder: Path, role: str) -> Path:
    """The hidden folder next to a store that holds its successor (``new``) or predecessor (``old``)."""
    return folder.parent / f".{folder.name}.{role}"


def exchange(folder: Path, new: Path) -> None:
    """Put ``new`` in the place of the store ``folder``; a person's own files in the old folder are carried over.

    Killed in the middle, :func:`settle` repairs it when the next writer comes.
    """
    old = beside(folder, "old")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    settle(folder)


def settle(folder: Path) -> None:
    """Finish, or undo, an exchange that was cut off."""
    old = beside(folder, "old")
    if not old.is_dir():
        return
    if not folder.exists():
        old.rename(folder)
        return
    for path in old.iterdir():
        if not is_ours(path) and not (folder / path.name).exists():
            path.rename(folder / path.name)
    shutil.rmtree(old)

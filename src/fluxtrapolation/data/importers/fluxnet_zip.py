"""Zip archives, read member by member and never unpacked to disk; refused as a whole where they are not harmless."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from fluxtrapolation.data.reading import need_file, plain_text
from fluxtrapolation.errors import DataError, examples

MAX_MEMBER_BYTES: Final = 3 << 30
"""Thirty years of half hours with 267 columns are 0.9 GB; nothing real comes near 3 GB."""
MAX_MEMBERS: Final = 20_000
MAX_RATIO: Final = 300
"""Real files shrink to a fifth or tenth, a file of nothing but -9999 to a 150th, a bomb to a 1,000th."""
MIN_BOMB_BYTES: Final = 1 << 20
ENCRYPTED: Final = 0x1
FETCH: Final = "Fetch the archive again from its hub."


def list_members(path: Path) -> list[zipfile.ZipInfo]:
    """Members of an archive, once all of them are found harmless.

    Raises
    ------
    DataError
        If the file is no zip archive, is empty, or holds a member that is encrypted, a link, an archive itself, named
        outside the archive, far larger than its packed size allows, or there twice under one name.
    """
    with opened(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
    if not members:
        raise DataError(f"{path.name} is an empty archive: it holds no file. {FETCH}")
    if len(members) > MAX_MEMBERS:
        raise DataError(f"{path.name} holds {len(members):,} files; a FLUXNET archive holds a few dozen. {FETCH}")
    problems = [problem for member in members if (problem := _problem(member)) is not None]
    if problems:
        raise DataError(
            f"{path.name} is not read: {len(problems)} of its {len(members)} members "
            f"{'is' if len(problems) == 1 else 'are'} not acceptable: {examples(problems)}. {_fix(problems[0])}"
        )
    twice = [name for name, count in Counter(_path(member) for member in members).items() if count > 1]
    if twice:
        raise DataError(
            f"{path.name} is not read: {len(twice)} of its names {'stands' if len(twice) == 1 else 'stand'} for "
            f"several members: {examples(_short(name) for name in twice)}. Which one is right cannot be told. {FETCH}"
        )
    return members


def _path(member: zipfile.ZipInfo) -> str:
    """Name and folders of a member, with slashes."""
    # zipfile has already turned backslashes of Windows into slashes where it runs on Windows only
    return member.orig_filename.replace("\\", "/")


def _problem(member: zipfile.ZipInfo) -> str | None:
    """Why a member is not acceptable, or None."""
    name = _path(member)
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name:
        return f"{_short(name)} lies outside the archive (path traversal)"
    if stat.S_ISLNK(member.external_attr >> 16):
        return f"{_short(name)} is a symbolic link"
    if member.flag_bits & ENCRYPTED:
        return f"{_short(name)} is encrypted"
    if name.casefold().endswith((".zip", ".gz", ".7z", ".tar", ".tgz", ".rar")):
        return f"{_short(name)} is an archive within the archive"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"{_short(name)} would be {member.file_size / 1e9:,.1f} GB unpacked, a zip bomb"
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > MIN_BOMB_BYTES and ratio > MAX_RATIO:
        return f"{_short(name)} would unpack to {ratio:,.0f} times its size ({member.file_size:,} bytes), a zip bomb"
    return None


def _fix(problem: str) -> str:
    if "within the archive" in problem:
        return "Unpack the outer archive and import the folder."
    if "encrypted" in problem:
        return "Unpack it with its password and import the folder."
    return f"Do not unpack it. {FETCH}"


def _short(name: str) -> str:
    name = plain_text(name)
    return name if len(name) <= 80 else f"...{name[-77:]}"


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive, with the errors of a damaged one in plain words."""
    try:
        need_file(path)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path.name} is a damaged or cut-off zip archive ({error}). {FETCH}") from None
    except NotImplementedError as error:
        raise DataError(
            f"{path.name} is packed in a way that cannot be read here ({error}). Unpack it and import the folder."
        ) from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}). It must be a file that you may read."
        ) from None


@contextmanager
def open_member(path: Path, member: str) -> Iterator[IO[bytes]]:
    """A member as a stream of bytes; its checksum is verified when the end is reached."""
    with opened(path) as archive, archive.open(member) as stream:
        yield stream

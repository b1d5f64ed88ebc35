"""What may stand in a registry or a lock file: addresses, file names, hashes."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_KEPT: Final = (".part", ".part.json", ".lock.json", ".lock.json.new")
"""Ends of names that a download uses itself."""


def check_address(text: str) -> str:
    """An http or https address without a login in it.

    Raises
    ------
    ValueError
        If it is something else.
    """
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port is None or parts.port > 0 else None
    except ValueError as error:
        raise ValueError(f"{text!r} is no http or https address ({error})") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"{text!r} is no http or https address")
    if parts.username or parts.password:
        raise ValueError("an address must hold no user name or password: it is written into manifests")
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError(f"{text!r} holds a space or a control character")
    unknown = set(re.findall(r"\{(\w*)\}", text)) - {"site", "name"}
    if unknown:
        raise ValueError(f"{text!r} has the place-holder {{{sorted(unknown)[0]}}}; known are {{site}} and {{name}}")
    return text


def check_file_name(text: str) -> str:
    """A plain file name: no folder, nothing hidden, none of the names that a download keeps for itself.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not _FILE_NAME.fullmatch(text) or text.endswith(_KEPT) or text.lower() == "rejected":
        raise ValueError(f"{text!r} is no plain file name (letters, digits, '-', '_' and '.')")
    return text


def check_sha256(text: str) -> str:
    """A sha256 in lower case, without a prefix ``sha256:``.

    Raises
    ------
    ValueError
        If it is no such hash.
    """
    plain = text.strip().lower().removeprefix("sha256:")
    if not _HASH.fullmatch(plain):
        raise ValueError(f"{text!r} is no sha256 (64 hexadecimal digits)")
    return plain

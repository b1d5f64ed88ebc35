"""What the tests of downloads share: a table that passes for a tower's, and one download of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fetch_server import Web

from fluxtrapolation.data.fetch import FetchFile, FetchResult, Limits, fetch_files

QUICK = Limits(connect_s=2, read_s=0.4, stall_s=0.5, stall_bytes=2_000, retries=3, backoff_s=0.02, backoff_max_s=0.1)


def table(rows: int = 2_000, key: str = "") -> bytes:
    """A table of numbers that passes for a tower's; ``key`` makes it another one."""
    lines = "".join(f"2015-01-01 00:00:00,1,{i}.5,{key or 'x'}\n" for i in range(rows))
    return f"time,qc_mask,GPP,note\n{lines}".encode()


BODY = table()


def ask(web: Web, name: str = "AA-One.csv", **facts: Any) -> FetchFile:
    urls = facts.pop("urls", (f"{web.url}/{name}",))
    return FetchFile(name, urls, site=name.removesuffix(".csv"), **facts)


def one(web: Web, folder: Path, **more: Any) -> FetchResult:
    file = more.pop("file", None) or ask(web)
    (result,) = fetch_files([file], folder, limits=more.pop("limits", QUICK), **more)
    return result


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def left(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def whole(folder: Path, body: bytes = BODY, name: str = "AA-One.csv") -> bool:
    return (folder / name).read_bytes() == body

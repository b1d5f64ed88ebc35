"""What a download is asked for, what it answers, and how patient it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

Check = Callable[[Path, "FetchFile"], str | None]
"""Looks at a downloaded file before it is accepted; returns the reason to reject it, or None."""

Status = Literal["downloaded", "resumed", "held", "failed"]
Cause = Literal["unreachable", "rejected", "changed upstream", "not pinned", "offline", "damaged"]

PART: Final = ".part"


@dataclass(frozen=True, slots=True)
class FetchFile:
    """One file to get.

    Attributes
    ----------
    name : str
        Its name in the folder; a plain file name.
    urls : tuple of str
        Addresses of the same bytes, tried in order.
    size : int, optional
        Bytes, if the publisher says so.
    sha256 : str, optional
        Hash, if the publisher gives one. Without it the hash is learned and pinned in the lock file.
    site, licence, citation : str, optional
        What the file is; kept in the lock file.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    site: str | None = None
    licence: str | None = None
    citation: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a download is.

    Attributes
    ----------
    connect_s : float
        Seconds for a connection, TLS included.
    read_s : float
        Seconds without a single byte after which a connection counts as stalled.
    stall_s, stall_bytes : float, int
        A connection that brings less than ``stall_bytes`` in ``stall_s`` seconds counts as stalled as well.
    retries : int
        Attempts in a row that bring nothing new, after the first one, before an address is given up.
    backoff_s, backoff_max_s : float
        Wait before the second attempt; doubled each time, up to the maximum, with jitter (50 to 100 %).
    retry_after_max_s : float
        Longest wait that a server may ask for with ``Retry-After``.
    most_bytes : int
        Largest file that is taken where the publisher gives no size.
    """

    connect_s: float = 15.0
    read_s: float = 30.0
    stall_s: float = 60.0
    stall_bytes: int = 60_000
    retries: int = 4
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    retry_after_max_s: float = 300.0
    most_bytes: int = 2 << 30


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What became of one file.

    Attributes
    ----------
    file : FetchFile
    status : {'downloaded', 'resumed', 'held', 'failed'}
        ``held``: it was there already and is what the lock file or the publisher says.
    path : Path or None
        The accepted file.
    sha256, size, url, retrieved
        Of the accepted file; ``retrieved`` in UTC.
    cause, reason : str or None
        Why it failed: one word for a table, and in full.
    rejected : Path or None
        Where the last file that was not accepted lies.
    note : str or None
        What should be known although the file was accepted.
    attempts : int
        Requests made.
    received : int
        Bytes that came over the network.
    """

    file: FetchFile
    status: Status
    path: Path | None = None
    sha256: str | None = None
    size: int | None = None
    url: str | None = None
    retrieved: datetime | None = None
    cause: Cause | None = None
    reason: str | None = None
    rejected: Path | None = None
    note: str | None = None
    attempts: int = 0
    received: int = field(default=0)

    @property
    def done(self) -> bool:
        """Whether the file is there."""
        return self.status != "failed"

    def facts(self) -> dict[str, Any]:
        """The result for ``--json``."""
        return {
            "site": self.file.site,
            "name": self.file.name,
            "status": self.status,
            "path": None if self.path is None else str(self.path),
            "url": self.url,
            "size": self.size,
            "sha256": self.sha256,
            "retrieved": None if self.retrieved is None else self.retrieved.isoformat(),
            "cause": self.cause,
            "reason": self.reason,
            "rejected": None if self.rejected is None else str(self.rejected),
            "note": self.note,
            "attempts": self.attempts,
            "received": self.received,
        }

"""From the socket to the partial file: in large pieces, hashed on the way, never waiting for a line that only drips."""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from typing import Final
from urllib.parse import urlsplit

from fluxtrapolation.data.fetch.files import Limits
from fluxtrapolation.data.fetch.partial import Partial, Version
from fluxtrapolation.data.fetch.transport import Answer, Refused

BUFFER: Final = 1 << 22
"""Bytes held by a thread before they are written: most tower files in one piece."""
FLUSH_S: Final = 2.0
"""On a slow line what came is written that often; a kill loses no more."""

_own = threading.local()


@dataclass(frozen=True, slots=True)
class Got:
    """A whole file in its partial place."""

    sha256: str
    size: int
    version: Version


class TooLong(Exception):  # noqa: N818
    """More comes than the file may have."""


class _Sink:
    """Collects in the thread's buffer; hashes and writes when it is full, and at the end.

    The note beside the partial file is written with its first piece: a file that comes in one piece needs none.
    """

    def __init__(self, partial: Partial, version: Version, start: int) -> None:
        if not hasattr(_own, "buffer"):
            _own.buffer = memoryview(bytearray(BUFFER))
        self._buffer: memoryview = _own.buffer
        self._partial = partial
        self._version = version
        self._digest = hashlib.sha256()
        self._target: FileIO | None = None
        self._filled = 0
        self._written = time.monotonic()
        self.size = start
        if start:
            with partial.path.open("rb", buffering=0) as handle:
                while count := handle.readinto(self._buffer):
                    self._digest.update(self._buffer[:count])
            self._target = FileIO(partial.path, "ab")
        elif partial.noted:
            partial.drop()

    def room(self) -> memoryview:
        """Where the next bytes go."""
        if self._filled == BUFFER or (self._filled and time.monotonic() - self._written > FLUSH_S):
            self.flush()
        return self._buffer[self._filled :]

    def took(self, count: int) -> None:
        """So many bytes went there."""
        self._filled += count
        self.size += count

    def put(self, piece: bytes) -> None:
        """Add bytes that are not from the socket itself."""
        rest = memoryview(piece)
        while rest:
            room = self.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.took(count)
            rest = rest[count:]

    def flush(self, *, last: bool = False) -> None:
        """Hash and write what was collected; the disk may take only a part at a time."""
        if self._target is None:
            if not last:
                self._partial.begin(self._version)
            self._target = FileIO(self._partial.path, "wb")
        piece = self._buffer[: self._filled]
        self._digest.update(piece)
        while piece:
            piece = piece[self._target.write(piece) or 0 :]
        self._filled = 0
        self._written = time.monotonic()

    def finish(self) -> Got:
        """All has come."""
        self.flush(last=True)
        self.close()
        return Got(self._digest.hexdigest(), self.size, self._version)

    def close(self) -> None:
        """Let go of the file."""
        if self._target is not None:
            self._target.close()


def receive(
    answer: Answer,
    partial: Partial,
    version: Version,
    start: int,
    *,
    limits: Limits,
    most: int,
    count: Callable[[int], None],
    halt: Callable[[], None],
) -> Got:
    """Write the body of an answer behind the ``start`` bytes that are there.

    Parameters
    ----------
    most : int
        Bytes that the publisher says the file has, or the most that is taken.
    count : callable
        Told of every piece that came.
    halt : callable
        Called between pieces; raises where the run is to end.

    Raises
    ------
    Refused
        If the connection stalls, breaks off or ends too early; what came is written.
    TooLong
        If more comes than ``most``.
    OSError
        If the disk refuses.
    """
    sink = _Sink(partial, version, start)
    try:
        pour = _plain if version.resumable else _unpacked
        pour(answer, sink, _Watch(limits, answer.url, count, halt), most)
        if version.total is not None and sink.size < version.total:
            raise Refused(f"the connection ended after {sink.size:,} of {version.total:,} bytes", again=True)
        return sink.finish()
    except OSError:  # the disk: no use in writing more
        raise
    except BaseException:
        with suppress(OSError):
            sink.flush()
        raise
    finally:
        sink.close()


def _plain(answer: Answer, sink: _Sink, watch: _Watch, most: int) -> None:
    while came := answer.read_into(sink.room()):
        sink.took(came)
        watch.came(came)
        if sink.size > most:  # no need to fill the disk first
            raise TooLong


def _unpacked(answer: Answer, sink: _Sink, watch: _Watch, most: int) -> None:
    """A body that the server compressed although it was not asked to; a little can unpack to very much."""
    unpack = zlib.decompressobj(wbits=31)
    scratch = memoryview(bytearray(1 << 16))
    packed = 0
    while not unpack.eof and (came := answer.read_into(scratch)):
        watch.came(came)
        packed += came
        if packed > most:  # it may unpack to nothing, for ever
            raise TooLong
        piece = bytes(scratch[:came])
        try:
            while piece:
                plain = unpack.decompress(piece, 1 << 20)
                if sink.size + len(plain) > most:
                    raise TooLong
                sink.put(plain)
                piece = unpack.unconsumed_tail
        except zlib.error as error:
            raise Refused(f"what the server sends as gzip is none ({error})", again=True) from None
    if not unpack.eof:
        raise Refused("the connection ended in the middle of a compressed answer", again=True)


class _Watch:
    """Sees to it that enough comes in time, and that the run may be ended."""

    def __init__(self, limits: Limits, url: str, count: Callable[[int], None], halt: Callable[[], None]) -> None:
        self._limits = limits
        self._host = urlsplit(url).hostname
        self._count = count
        self._halt = halt
        self._since = time.monotonic()
        self._came = 0

    def came(self, count: int) -> None:
        self._halt()
        self._count(count)
        self._came += count
        now = time.monotonic()
        if self._came >= self._limits.stall_bytes:
            self._since, self._came = now, 0
        elif now - self._since > self._limits.stall_s:
            raise Refused(f"stalled: {self._came:,} bytes in {now - self._since:.0f} s from {self._host}", again=True)

"""Many files at once, a few at a time; one that fails stops no other."""

from __future__ import annotations

import errno
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import urlsplit

from fluxtrapolation.data.fetch.content import check_content
from fluxtrapolation.data.fetch.download import Download, Place, Stopped
from fluxtrapolation.data.fetch.files import PART, Check, FetchFile, FetchResult, Limits
from fluxtrapolation.data.fetch.lock import LOCK_FILE, LockFile
from fluxtrapolation.data.fetch.names import check_address, check_file_name
from fluxtrapolation.data.fetch.transport import Transport
from fluxtrapolation.data.folder import FileLock, FolderLock
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from fluxtrapolation.files import plain_error

JOBS: Final = 4
MOST_JOBS: Final = 16
"""More connections than that are not polite to one server."""
_TICK_S: Final = 0.5
_PARTING_S: Final = 2.0
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")

Progress = Callable[[str, int, int], None]


def fetch_files(
    files: Sequence[FetchFile],
    folder: str | Path,
    *,
    jobs: int = JOBS,
    lock: str | Path | None = None,
    locked: bool = False,
    offline: bool = False,
    update: bool = False,
    distinct: bool = False,
    limits: Limits | None = None,
    check: Check = check_content,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[FetchResult]:
    """Download files into a folder: verified, resumable, each on its own.

    Parameters
    ----------
    files : sequence of FetchFile
    folder : path
        Made if need be. Holds the accepted files, ``NAME.part`` of those under way, ``rejected/``, and the lock file.
    jobs : int, default 4
        Files at once, 1 to 16.
    lock : path, optional
        Lock file with the hash of every accepted file; ``fetch.lock.json`` in the folder by default.
    locked : bool
        Take only files that the lock file knows.
    offline : bool
        Contact nothing: say what is there and intact, and what is not. No folder is made.
    update : bool
        Fetch again what is there, and pin what the publisher gives now.
    distinct : bool
        Refuse a file that is byte for byte another one.
    limits : Limits, optional
        Timeouts, retries, waits.
    check : callable, optional
        Looks at each file before it is accepted: ``check(path, file)`` returns the reason to reject it, or None.
    seed : int, default 0
        Of the jitter between attempts.
    progress : callable, optional
        Called with (name or amount, done, total), from the calling thread.

    Returns
    -------
    list of FetchResult
        One for each file, in the same order; ``result.done`` says whether it is there, ``result.reason`` why not.

    Raises
    ------
    DataError
        If the request itself is wrong, another download is at work in the folder or with the lock file, or the disk is
        full.
    KeyboardInterrupt
        Passed on after the connections are closed; finished files and partial ones stay.

    Warns
    -----
    FluxtrapolationWarning
        If a hash is to be learned over a connection that is not encrypted.
    """
    _check_request(files, jobs, locked=locked, offline=offline, update=update)
    place = Path(folder)
    pinned = place / LOCK_FILE if lock is None else Path(lock)
    if locked and not (pinned.exists() or pinned.with_name(f"{pinned.name}.new").exists()):
        raise DataError(f"There is no lock file {pinned}, and --locked takes only what stands in one.")
    # Nothing can be in a folder that is not there, and who contacts nothing need not make it.
    with _alone_in(place, make=not offline), _alone_with(pinned, make=not offline):
        _clear(place)
        pins = LockFile(pinned)
        if not offline:
            _tell_untrusted(files, pins)
        patience = limits or Limits()
        run = _Run(progress, len(files))
        shared = Place(
            folder=place,
            lock=pins,
            transport=Transport(connect_s=patience.connect_s, read_s=patience.read_s),
            limits=patience,
            check=check,
            stop=run.stop,
            count=run.count,
            seed=seed,
            locked=locked,
            offline=offline,
            update=update,
            distinct=distinct,
        )
        try:
            return run.all([Download(file, shared) for file in files], jobs)
        finally:
            run.stop.set()
            shared.transport.abort()
            pins.save()


@contextmanager
def _alone_in(folder: Path, *, make: bool) -> Iterator[None]:
    """Make the folder, if it is to be made, and keep others from writing to it."""
    if not make and not _is_there(folder):
        yield
        return
    writer = FolderLock(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer.acquire()
    except OSError as error:
        raise plain_error(error, folder) from error
    try:
        yield
    finally:
        writer.release()


@contextmanager
def _alone_with(pinned: Path, *, make: bool) -> Iterator[None]:
    """Keep others from the lock file: two runs into different folders may share it, and each would lose pins."""
    pinned = pinned.resolve()
    if not make and not _is_there(pinned.parent):
        yield
        return
    keeper = FileLock(
        pinned.with_name(f".{pinned.name}.lock"),
        f"Another download is at work with the lock file {pinned}. Wait until it has finished, or choose another "
        "--lock.",
    )
    # Where nothing can be written no pin can be lost: a lock file on a read-only disk can still be checked against.
    try:
        pinned.parent.mkdir(parents=True, exist_ok=True)
        keeper.acquire()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise plain_error(error, pinned) from error
    try:
        yield
    finally:
        keeper.release()


def _is_there(folder: Path) -> bool:
    """Whether a path is there; one that may not be looked at is, so that what comes next tells why."""
    try:
        folder.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


class _Run:
    """The threads of one call. They are daemons: an interrupted program need not wait for a dead server."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.stop = threading.Event()
        self._progress = progress
        self._total = total
        self._received = 0

    def count(self, size: int) -> None:
        """Bytes that came; for the progress line only, so threads may lose one another's."""
        self._received += size

    def all(self, downloads: Sequence[Download], jobs: int) -> list[FetchResult]:
        """Run them all and return their results in order; the first error that is no single file's ends the run."""
        todo: SimpleQueue[tuple[int, Download]] = SimpleQueue()
        for item in enumerate(downloads):
            todo.put(item)
        finished: SimpleQueue[tuple[int, FetchResult | BaseException]] = SimpleQueue()
        threads = [
            threading.Thread(target=self._work, args=(todo, finished), name=f"fetch-{number}", daemon=True)
            for number in range(min(jobs, len(downloads)))
        ]
        for thread in threads:
            thread.start()
        results: dict[int, FetchResult] = {}
        try:
            while len(results) < len(downloads):
                try:
                    index, outcome = finished.get(timeout=_TICK_S)
                except Empty:
                    self._tell(f"{self._received / 1e6:,.1f} MB", len(results))
                    continue
                if isinstance(outcome, OSError):
                    raise plain_error(outcome, downloads[index].path) from outcome
                if isinstance(outcome, BaseException):
                    raise outcome
                results[index] = outcome
                self._tell(outcome.file.name, len(results))
        except BaseException:
            self.stop.set()
            downloads[0].place.transport.abort()
            for thread in threads:
                thread.join(timeout=_PARTING_S)  # so that what they write is whole; none is waited for any longer
            raise
        return [results[index] for index in range(len(downloads))]

    def _tell(self, what: str, done: int) -> None:
        if self._progress is not None:
            self._progress(what, done, self._total)

    def _work(
        self,
        todo: SimpleQueue[tuple[int, Download]],
        finished: SimpleQueue[tuple[int, FetchResult | BaseException]],
    ) -> None:
        while not self.stop.is_set():
            try:
                index, download = todo.get_nowait()
            except Empty:
                return
            try:
                finished.put((index, download.run()))
            except Stopped:
                return
            except BaseException as error:  # noqa: BLE001 (raised again by the calling thread)
                finished.put((index, error))


def _tell_untrusted(files: Sequence[FetchFile], pins: LockFile) -> None:
    """Warn of files whose hash is about to be learned over a line that anyone may write on."""
    plain = [
        url
        for file in files
        if file.sha256 is None and file.name not in pins
        for url in file.urls
        if url.startswith("http://") and urlsplit(url).hostname not in _THIS_MACHINE
    ]
    if plain:
        warnings.warn(
            f"{len(plain)} addresses are not encrypted (http, not https) and the publisher gives no hash: the files "
            f"could be changed on the way, before their hashes are learned. First: {plain[0]}.",
            FluxtrapolationWarning,
            stacklevel=3,
        )


def _clear(folder: Path) -> None:
    """Remove what a killed run left that is of no use: temporary files, and notes without a partial file."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    for note in folder.glob(f"*{PART}.json"):
        if not note.with_suffix("").exists():
            note.unlink(missing_ok=True)


def _check_request(files: Sequence[FetchFile], jobs: int, *, locked: bool, offline: bool, update: bool) -> None:
    if not 1 <= jobs <= MOST_JOBS:
        raise DataError(f"{jobs} downloads at once: choose 1 to {MOST_JOBS}; more is not polite to a server.")
    if update and (locked or offline):
        raise DataError(
            f"--update asks for what is new, {'--locked' if locked else '--offline'} forbids it. Choose one."
        )
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{twice} is asked for twice. Give every file a name of its own.")
    for file in files:
        try:
            check_file_name(file.name)
            for url in file.urls:
                check_address(url)
        except ValueError as error:
            raise DataError(f"{file.name}: {error}.") from None
        if not file.urls:
            raise DataError(f"{file.name} has no address to fetch it from.")

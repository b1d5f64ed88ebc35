"""One file: its addresses in order, attempts with growing waits, resumption, and the judgement of what came."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Final

from fluxtrapolation.data.fetch.files import Cause, Check, FetchFile, FetchResult, Limits
from fluxtrapolation.data.fetch.lock import LockFile, Pin
from fluxtrapolation.data.fetch.partial import Partial, Version
from fluxtrapolation.data.fetch.receive import Got, TooLong, receive
from fluxtrapolation.data.fetch.transport import Answer, Refused, Status, Transport, whole_number
from fluxtrapolation.data.manifest import utc_now
from fluxtrapolation.files import sha256_of, write_bytes_atomic

REJECTED: Final = "rejected"
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class Stopped(Exception):  # noqa: N818
    """The person, or another file's full disk, has ended the whole run."""


@dataclass(frozen=True, slots=True)
class Place:
    """What all downloads of one run share."""

    folder: Path
    lock: LockFile
    transport: Transport
    limits: Limits
    check: Check
    stop: Event
    count: Callable[[int], None]
    """Told of every piece that came."""
    seed: int = 0
    locked: bool = False
    offline: bool = False
    update: bool = False
    distinct: bool = False


class _Rejection(Exception):  # noqa: N818
    """What came is not accepted; ``keep`` says whether it is put aside, to be looked at."""

    def __init__(self, cause: Cause, reason: str, *, keep: bool = True) -> None:
        super().__init__(reason)
        self.cause: Cause = cause
        self.reason = reason
        self.keep = keep


@dataclass(slots=True)
class Download:
    """Get one file of a run; :meth:`run` is called once."""

    file: FetchFile
    place: Place
    partial: Partial = field(init=False)
    attempts: int = 0
    received: int = 0
    _rejected: Path | None = None
    _cause: Cause = "unreachable"
    _continued: bool = False
    """Whether the present attempt goes on with what an earlier one left."""

    def __post_init__(self) -> None:
        self.partial = Partial(self.place.folder, self.file.name)

    @property
    def path(self) -> Path:
        """Where the accepted file stands."""
        return self.place.folder / self.file.name

    def run(self) -> FetchResult:
        """Get the file, or say why not. Only a full disk and :class:`Stopped` leave here as exceptions."""
        pin = self.place.lock.get(self.file.name)
        if pin is not None and self.file.sha256 not in (None, pin.sha256) and not self.place.update:
            return self._failed(
                "changed upstream",
                f"the publisher's list now says sha256 {self.file.sha256}, pinned on {pin.retrieved:%Y-%m-%d} was "
                f"{pin.sha256}. If the new one is right, take it with --update",
            )
        expected = self.file.sha256 or (None if pin is None else pin.sha256)
        note = None
        if self.path.exists():
            try:
                here = sha256_of(self.path)
            except OSError as error:
                return self._failed("damaged", f"{self.path} cannot be read ({error.strerror}). Move it away")
            if here == expected and not self.place.update:
                return self._held(pin or self._adopted(here))
            note = self._why_again(pin, here, expected)
        if self.place.offline:
            reason = "it is not in the folder" if note is None else note
            return self._failed("offline" if note is None else "damaged", f"{reason}; --offline allows no contact")
        if self.place.locked and pin is None:
            return self._failed(
                "not pinned", f"{self.place.lock.path.name} has no such file, and --locked takes no other"
            )
        # With --update the pin is what is to be replaced; what the publisher says is still held to.
        return self._from_addresses(pin, self.file.sha256 if self.place.update else expected, note)

    def _why_again(self, pin: Pin | None, here: str, expected: str | None) -> str | None:
        if pin is None and here != expected:
            return "a file of that name was there that no download had accepted"
        if pin is not None and here != pin.sha256:
            return f"the file that was there had changed since it was fetched (sha256 {here}, not {expected})"
        return None

    # -- addresses and attempts ------------------------------------------------------------------------------------

    def _from_addresses(self, pin: Pin | None, expected: str | None, note: str | None) -> FetchResult:
        reasons: list[tuple[str, str]] = []
        for url in self.file.urls:
            try:
                got = self._patiently(url, expected)
                if reasons and note is None:
                    note = "; ".join(f"not from {other}: {reason}" for other, reason in reasons)
                    return self._accepted(got, pin, None, note)
                return self._accepted(got, pin, note, note)
            except Refused as error:
                reasons.append((url, error.reason))
            except _Rejection as error:
                reasons.append((url, error.reason))
                self._cause = error.cause
        if len(reasons) == 1:
            return self._failed(self._cause, f"{reasons[0][1]} ({reasons[0][0]})")
        told = "; ".join(f"{reason} ({url})" for url, reason in reasons)
        return self._failed(self._cause, f"none of {len(reasons)} addresses gave it: {told}")

    def _patiently(self, url: str, expected: str | None) -> Got:
        """The file from one address, checked; raises Refused or _Rejection when patience is at an end."""
        limits = self.place.limits
        jitter = random.Random(f"{self.place.seed}:{self.file.name}:{url}")
        idle, clean = 0, False
        for attempt in range(1, 10 * (limits.retries + 1) + 1):
            before = self.partial.size()
            try:
                got = self._attempt(url, expected)
                self._judge(got, expected)
                return got
            except Refused as error:
                self._halt()
                # An attempt that brought something new is no failure: a bad line brings a long file in many pieces.
                idle = 1 if self.partial.size() > before else idle + 1
                if not error.again or idle > limits.retries:
                    raise Refused(_tried(error.reason, attempt), again=False) from None
                self._wait(error, idle, jitter)
            except _Rejection as rejection:
                if not rejection.keep:
                    self.partial.drop()
                    raise
                if self._continued and not clean:  # perhaps only the two halves do not fit
                    clean = True
                    self.partial.drop()
                    continue
                self._put_aside(url, rejection)
                raise
        raise Refused("the connection broke off too often", again=False)

    def _wait(self, error: Refused, idle: int, jitter: random.Random) -> None:
        limits = self.place.limits
        wait = min(limits.backoff_s * 2 ** (idle - 1), limits.backoff_max_s) * jitter.uniform(0.5, 1.0)
        if error.wait_s is not None:
            if error.wait_s > limits.retry_after_max_s:
                raise Refused(f"{error.reason}; it asks to come back in {error.wait_s:,.0f} s", again=False)
            wait = max(wait, error.wait_s)
        if self.place.stop.wait(wait):
            raise Stopped

    def _halt(self) -> None:
        if self.place.stop.is_set():
            raise Stopped

    # -- one attempt -----------------------------------------------------------------------------------------------

    def _attempt(self, url: str, expected: str | None) -> Got:
        self._halt()
        version, start = self._beginning(url, expected)
        self._continued = start > 0
        if version is not None and start == version.total:  # killed between the last byte and the judgement
            return Got(sha256_of(self.partial.path), start, version)
        headers = {} if version is None else {"Range": f"bytes={start}-"}
        if version is not None and version.validator is not None:
            headers["If-Range"] = version.validator
        self.attempts += 1
        try:
            with self.place.transport.get(url, headers) as answer:
                if answer.status == 206 and version is not None:
                    return self._receive(answer, self._fits(answer, version, start), start)
                self._continued = False
                return self._receive(answer, self._first_look(answer, url), 0)
        except Status as error:
            if error.code == 416 and version is not None:
                if error.headers.get("Content-Range", "").strip() == f"bytes */{start}":
                    return Got(sha256_of(self.partial.path), start, version)  # announced too long: this is all of it
                self.partial.drop()
                raise Refused("the server has less than was fetched before; begun anew", again=True) from None
            raise

    def _beginning(self, url: str, expected: str | None) -> tuple[Version | None, int]:
        """What is there of an earlier attempt and can be continued; what cannot is removed."""
        start, version = self.partial.size(), self.partial.version()
        if start == 0:
            return None, 0
        # A known hash finds out two halves that do not fit; without one the address must vouch for its version.
        vouched = version is not None and version.url == url and version.validator is not None
        known = vouched or expected is not None
        if version is None or not known or not version.resumable or (version.total or start) < start:
            self.partial.drop()
            return None, 0
        if version.url != url:  # a mirror: its dates and tags are others
            version = Version(url=url, total=version.total)
        return version, start

    def _fits(self, answer: Answer, version: Version, start: int) -> Version:
        """Whether a partial answer continues what is there; its size and tag must be the same."""
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        etag = answer.headers.get("ETag")
        total = None if found is None or found[3] == "*" else int(found[3])
        other_tag = None not in (etag, version.etag) and etag != version.etag
        encoded = answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
        other_size = (version.total or total) != (total or version.total)
        if found is None or int(found[1]) != start or other_tag or other_size or encoded:
            self.partial.drop()
            raise Refused("the file changed on the server while it was fetched; begun anew", again=True)
        return Version(version.url, version.etag or etag, version.last_modified, version.total or total)

    def _first_look(self, answer: Answer, url: str) -> Version:
        if answer.status != 200:
            raise Refused(f"HTTP {answer.status} to a request for the whole file", again=True)
        encoding = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise Refused(f"the server sends it encoded as '{encoding}', which was not asked for", again=False)
        length = whole_number(answer.headers.get("Content-Length", ""))
        plain = encoding == "identity"
        return Version(
            url=url,
            etag=answer.headers.get("ETag"),
            last_modified=answer.headers.get("Last-Modified"),
            total=length if plain and "Transfer-Encoding" not in answer.headers else None,
            resumable=plain,
        )

    def _receive(self, answer: Answer, version: Version, start: int) -> Got:
        size, most = self.file.size, self.place.limits.most_bytes
        if size is None and version.total is not None and version.total > most:
            raise self._too_large(f"it is announced with {version.total:,} bytes")
        try:
            return receive(
                answer,
                self.partial,
                version,
                start,
                limits=self.place.limits,
                most=most if size is None else size,
                count=self._count,
                halt=self._halt,
            )
        except TooLong:
            if size is None:
                raise self._too_large(f"it has more than {most:,} bytes") from None
            reason = f"it has more bytes than the {size:,} that the publisher says"
            raise _Rejection("rejected", reason) from None

    def _too_large(self, what: str) -> _Rejection:
        reason = (
            f"{what}; no more than {self.place.limits.most_bytes:,} are taken where the publisher gives no size. Is it "
            "the right address? A larger tower file needs its size in the registry"
        )
        return _Rejection("rejected", reason, keep=False)

    def _count(self, size: int) -> None:
        self.received += size
        self.place.count(size)

    # -- the judgement ---------------------------------------------------------------------------------------------

    def _judge(self, got: Got, expected: str | None) -> None:
        """Accept or raise _Rejection. What has the known hash is the file, whatever it looks like."""
        if got.sha256 == expected:
            return
        reason = self.place.check(self.partial.path, self.file)
        if reason is not None:
            raise _Rejection("rejected", reason)
        if self.file.size is not None and got.size != self.file.size:
            raise _Rejection("rejected", f"it has {got.size:,} bytes, the publisher says {self.file.size:,}")
        if self.file.sha256 is not None:
            raise _Rejection("rejected", f"its sha256 is {got.sha256}, the publisher says {self.file.sha256}")
        if expected is not None:
            pin = self.place.lock.get(self.file.name)
            when = "" if pin is None else f" on {pin.retrieved:%Y-%m-%d}"
            raise _Rejection(
                "changed upstream",
                f"the file was changed by its publisher: sha256 {expected} was pinned{when}, now it is {got.sha256}. "
                "If the new one is right, take it with --update",
            )
        twin = self.place.lock.claim(self.file.name, got.sha256) if self.place.distinct else None
        if twin is not None:
            raise _Rejection("rejected", f"it is byte for byte the same as {twin}: one of the two is the wrong file")

    def _put_aside(self, url: str, rejection: _Rejection) -> None:
        """Keep what was not accepted, with the reason beside it."""
        folder = self.place.folder / REJECTED
        folder.mkdir(exist_ok=True)
        self._rejected = folder / self.file.name
        told = f"{rejection.reason}\nfrom {url}\nat {utc_now().isoformat()}\n"
        write_bytes_atomic(folder / f"{self.file.name}.reason.txt", told.encode())
        self.partial.move(self._rejected)

    def _accepted(self, got: Got, pin: Pin | None, old: str | None, note: str | None) -> FetchResult:
        if old is not None:
            self._keep_old(old)
        if pin is not None and pin.sha256 != got.sha256:
            note = f"changed upstream and taken with --update: sha256 was {pin.sha256}, is {got.sha256}"
        new = Pin(
            sha256=got.sha256,
            size=got.size,
            origin="learned" if self.file.sha256 is None else "published",
            url=got.version.url,
            retrieved=utc_now(),
            etag=got.version.etag,
            last_modified=got.version.last_modified,
            licence=self.file.licence,
        )
        # The pin first: killed in between, the whole partial file is found and has the pinned hash.
        self.place.lock.pin(self.file.name, new)
        self.partial.move(self.path)
        return self._result(new, "resumed" if self._continued else "downloaded", note)

    def _keep_old(self, reason: str) -> None:
        """A file that someone changed is replaced, but not lost."""
        if not self.path.exists():
            return
        folder = self.place.folder / REJECTED
        folder.mkdir(exist_ok=True)
        write_bytes_atomic(folder / f"{self.file.name}.reason.txt", f"{reason}\n".encode())
        with suppress(FileNotFoundError):
            self.path.replace(folder / self.file.name)

    # -- results ---------------------------------------------------------------------------------------------------

    def _adopted(self, sha256: str) -> Pin:
        """The pin of a file that was there and has the published hash, however it came."""
        facts = self.path.stat()
        pin = Pin(
            sha256=sha256,
            size=facts.st_size,
            origin="published",
            url=self.file.urls[0],
            retrieved=datetime.fromtimestamp(int(facts.st_mtime), UTC),
            licence=self.file.licence,
        )
        self.place.lock.pin(self.file.name, pin)
        return pin

    def _held(self, pin: Pin) -> FetchResult:
        self.partial.drop()
        return self._result(pin, "held", None)

    def _result(self, pin: Pin, status: str, note: str | None) -> FetchResult:
        return FetchResult(
            self.file,
            status,  # type: ignore[arg-type]
            path=self.path,
            sha256=pin.sha256,
            size=pin.size,
            url=pin.url,
            retrieved=pin.retrieved,
            note=note,
            attempts=self.attempts,
            received=self.received,
        )

    def _failed(self, cause: Cause, reason: str) -> FetchResult:
        return FetchResult(
            self.file,
            "failed",
            cause=cause,
            reason=reason,
            rejected=self._rejected,
            attempts=self.attempts,
            received=self.received,
        )


def _tried(reason: str, attempts: int) -> str:
    return reason if attempts == 1 else f"{reason}; {attempts} attempts"

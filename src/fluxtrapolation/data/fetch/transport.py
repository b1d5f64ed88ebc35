"""One request at a time over HTTP(S): timeouts, proxies, redirects, and what each refusal means.

Only what a download needs, on the standard library. ``urllib.request`` brings proxies from the environment
(``HTTPS_PROXY``, ``NO_PROXY``), tunnels, redirects and TLS verification; here are added a timeout for connecting and
another for reading, a way to break off every open connection at once, and a plain reason for each failure.
"""

from __future__ import annotations

import http.client
import platform
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakSet

from fluxtrapolation import __version__

USER_AGENT: Final = f"fluxtrapolation/{__version__} (Python {platform.python_version()})"
AGAIN: Final = frozenset({408, 421, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524})
"""Answers that may be another one a little later."""


class Refused(Exception):  # noqa: N818 (not the user's error: a reason, collected into the result)
    """An address did not give the file.

    Attributes
    ----------
    reason : str
        In words, without the address.
    again : bool
        Whether another attempt may succeed.
    wait_s : float or None
        What the server asks to wait (``Retry-After``).
    """

    def __init__(self, reason: str, *, again: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.wait_s = wait_s


class Status(Refused):
    """The server answered with a status that is no success."""

    def __init__(self, code: int, phrase: str, headers: Message) -> None:
        self.code = code
        self.headers = headers
        super().__init__(
            f"HTTP {code} {phrase}".strip() + _MEANING.get(code, ""),
            again=code in AGAIN,
            wait_s=retry_after(headers.get("Retry-After")),
        )


_MOST_DIGITS: Final = 18
_DIGITS: Final = re.compile(r"0*([0-9]+)")
_MEANING: Final[Mapping[int, str]] = {
    401: " (asks for a login)",
    403: " (access is not allowed)",
    404: " (there is no such file)",
    407: " (the proxy asks for a login)",
    410: " (the file was withdrawn)",
    429: " (too many requests)",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: status 200 or 206, headers, and the body to read from."""

    status: int
    headers: Message
    url: str
    body: http.client.HTTPResponse

    def read_into(self, target: memoryview) -> int:
        """Put what has arrived into ``target``, waiting only if nothing has; 0 at the end.

        ``HTTPResponse.readinto`` would wait until all of ``target`` is full.
        """
        body = self.body
        try:
            if body.chunked or body.length is None:
                piece = body.read1(len(target))
                target[: len(piece)] = piece
                return len(piece)
            if not body.length:
                return 0
            count = int(body.fp.readinto1(target[: body.length]))
            body.length -= count
            return count
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:  # the last two after abort()
            raise _explain(error, self.url) from None


class Transport:
    """Opens addresses; safe to use from several threads.

    Parameters
    ----------
    connect_s, read_s : float
        Seconds to wait for a connection (TLS included), and for each piece of an answer.
    """

    def __init__(self, *, connect_s: float, read_s: float) -> None:
        self.connect_s = connect_s
        self.read_s = read_s
        self.aborted = False
        self._lock = Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._director = urllib.request.OpenerDirector()
        self._director.addheaders = []
        for handler in (
            urllib.request.ProxyHandler(),
            _Plain(self),
            _Secure(self),
            _Redirects(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
        ):
            self._director.add_handler(handler)

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """Ask for ``url`` and give the answer.

        Raises
        ------
        Refused
            If there is no successful answer; reading it may raise the same.
        """
        wanted = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        try:
            request = urllib.request.Request(url, headers=wanted)
            response = self._director.open(request, timeout=self.connect_s)
        except urllib.error.HTTPError as error:
            with error:
                raise Status(error.code, str(error.reason), error.headers) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _explain(error, url) from None
        if response is None:
            raise Refused("is no http or https address", again=False)
        with response:
            yield Answer(response.status, response.headers, response.geturl(), response)

    def abort(self) -> None:
        """Break off every open connection, so that no thread goes on waiting for one."""
        with self._lock:
            self.aborted = True
            for held in self._sockets:
                with suppress(OSError, ValueError):
                    held.shutdown(socket.SHUT_RDWR)

    def opened(self, held: socket.socket) -> None:
        """Note a connection; from now on each piece has its own time to arrive."""
        held.settimeout(self.read_s)
        with self._lock:
            self._sockets.add(held)


class _PlainConnection(http.client.HTTPConnection):
    transport: Transport

    def connect(self) -> None:
        super().connect()
        self.transport.opened(self.sock)


class _SecureConnection(http.client.HTTPSConnection):
    transport: Transport

    def connect(self) -> None:
        super().connect()
        self.transport.opened(self.sock)


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._kind: Any = type("_Connection", (_PlainConnection,), {"transport": transport})

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, request)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, transport: Transport) -> None:
        self._trust = ssl.create_default_context()
        super().__init__(context=self._trust)
        self._kind: Any = type("_Connection", (_SecureConnection,), {"transport": transport})

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, request, context=self._trust)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from an encrypted address to one that is not."""

    max_redirections = 8

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise Refused(f"is redirected from https to {newurl}, which is not encrypted", again=False)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def whole_number(text: str) -> int | None:
    """The number that a header holds, None if it holds none; more than 18 digits count as the largest of 18.

    Headers are Latin-1, and ``str.isdigit`` takes a superscript for a digit, which ``int`` does not. ``int`` itself
    refuses several thousand digits.
    """
    found = _DIGITS.fullmatch(text.strip())
    if found is None:
        return None
    return int(found[1]) if len(found[1]) <= _MOST_DIGITS else 10**_MOST_DIGITS - 1


def retry_after(text: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number, or a date (RFC 9110, 10.2.3). None if unreadable."""
    if text is None:
        return None
    seconds = whole_number(text)
    if seconds is not None:
        return float(seconds)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _explain(error: Exception, url: str) -> Refused:
    """The reason of a failed connection, in words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    host = urlsplit(url).hostname or url
    match cause:
        case ssl.SSLCertVerificationError():
            return Refused(
                f"the certificate of {host} is not trusted ({cause.verify_message}); check the clock of this machine, "
                "or name your organisation's certificates in SSL_CERT_FILE",
                again=False,
            )
        case TimeoutError():
            return Refused(f"{host} did not answer in time", again=True)
        case socket.gaierror():
            return Refused(f"the name {host} cannot be resolved (no network, or a wrong address)", again=True)
        case ConnectionRefusedError():
            return Refused(f"{host} refused the connection", again=True)
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return Refused(f"{host} broke off the connection", again=True)
        case http.client.IncompleteRead():
            return Refused(f"{host} broke off the connection", again=True)
        case http.client.InvalidURL() | ValueError():
            return Refused(f"is no usable address ({cause})", again=False)
        case http.client.HTTPException():
            return Refused(f"{host} does not speak proper HTTP ({cause!r})", again=True)
        case OSError() if "Tunnel connection failed" in str(cause):
            return Refused(f"the proxy did not let through to {host} ({cause})", again=True)
        case _:
            return Refused(f"{host} cannot be reached ({getattr(cause, 'strerror', None) or cause})", again=True)

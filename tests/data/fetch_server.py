"""A real web server for the tests and the benchmark of downloads: a folder of bytes, and trouble on request.

Alone, for the benchmark: ``python tests/data/fetch_server.py FOLDER`` prints its address and serves until killed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

START = 1_700_000_000.0


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    moment: float

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Web:
    """What is served, and how. ``trouble[path]`` is a list of things that happen to the next requests, in order."""

    content: dict[str, bytes] = field(default_factory=dict)
    trouble: dict[str, list[Callable[[Handler, bytes], None]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    ranges: bool = True
    etags: bool = True
    dates: bool = True
    pause: float = 0.0
    """Seconds between pieces of ordinary answers."""
    piece: int = 1 << 16
    url: str = ""
    busy: int = 0
    most_busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def paths(self) -> list[str]:
        return [one.path for one in self.asked]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        web, path = self.web, self.path.partition("?")[0].lstrip("/")
        asked = Asked(path, {k.lower(): v for k, v in self.headers.items()}, time.monotonic())
        with web.lock:
            web.asked.append(asked)
            web.busy += 1
            web.most_busy = max(web.most_busy, web.busy)
            troubles = web.trouble.get(path, [])
            trouble = troubles.pop(0) if troubles else None
        try:
            body = web.content.get(path)
            if trouble is not None:
                trouble(self, body or b"")
            elif body is None:
                self.refuse(404)
            else:
                self.give(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with web.lock:
                web.busy -= 1

    # -- ordinary answers ------------------------------------------------------------------------------------------

    def etag(self, body: bytes) -> str:
        return f'"{hashlib.md5(body).hexdigest()[:12]}"'

    def headers_of(self, body: bytes) -> dict[str, str]:
        known = {"Content-Type": "text/csv"}
        if self.web.etags:
            known["ETag"] = self.etag(body)
        if self.web.dates:
            known["Last-Modified"] = formatdate(START + len(body), usegmt=True)
        if self.web.ranges:
            known["Accept-Ranges"] = "bytes"
        return known

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def refuse(self, status: int, **headers: str) -> None:
        page = f"<html><title>{status}</title></html>".encode()
        self.begin(status, {"Content-Length": str(len(page)), **{k.replace("_", "-"): v for k, v in headers.items()}})
        self.wfile.write(page)

    def give(self, body: bytes) -> None:
        """The whole file, or the part that is asked for."""
        known = self.headers_of(body)
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if wanted and self.web.ranges and condition in (None, known.get("ETag"), known.get("Last-Modified")):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(body):
                self.begin(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
                return
            span = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.begin(206, {**known, "Content-Range": span, "Content-Length": str(len(body) - start)})
            self.pour(body[start:])
            return
        self.begin(200, {**known, "Content-Length": str(len(body))})
        self.pour(body)

    def pour(self, body: bytes) -> None:
        for start in range(0, len(body), self.web.piece):
            if self.web.pause:
                time.sleep(self.web.pause)
            self.wfile.write(body[start : start + self.web.piece])

    def reset(self) -> None:
        """Break off the connection as a crashing server does: no orderly end."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def handle(self) -> None:
        with suppress(ConnectionError, ValueError, OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(ConnectionError, ValueError, OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        pass


# -- trouble: each makes one answer go wrong -----------------------------------------------------------------------

Trouble = Callable[[Handler, bytes], None]


def status(code: int, **headers: str) -> Trouble:
    """Answer with a status."""
    return lambda handler, _: handler.refuse(code, **headers)


def fine(handler: Handler, body: bytes) -> None:
    """The ordinary answer."""
    handler.give(body)


def page(title: str = "Maintenance") -> Trouble:
    """A web page with status 200."""

    def answer(handler: Handler, body: bytes) -> None:
        text = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>Sorry.</body></html>".encode()
        handler.begin(200, {"Content-Type": "text/html", "Content-Length": str(len(text))})
        handler.wfile.write(text)

    return answer


def reset_after(count: int) -> Trouble:
    """The connection is reset in the middle of the body. What was sent first arrives."""

    def answer(handler: Handler, body: bytes) -> None:
        wanted = handler.headers.get("Range")
        start = int(wanted[6:].partition("-")[0]) if wanted and handler.web.ranges else 0
        known = {**handler.headers_of(body), "Content-Length": str(len(body) - start)}
        if start:
            known["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.begin(206 if start else 200, known)
        handler.wfile.write(body[start : start + count])
        handler.wfile.flush()
        time.sleep(0.15)  # a reset overtakes what still lies in the receiver's buffer
        handler.reset()

    return answer


def cut_after(count: int, *, announce: int | None = None) -> Trouble:
    """Less than announced, and an orderly end."""

    def answer(handler: Handler, body: bytes) -> None:
        size = len(body) if announce is None else announce
        handler.begin(200, {**handler.headers_of(body), "Content-Length": str(size), "Connection": "close"})
        handler.wfile.write(body[:count])
        handler.close_connection = True

    return answer


def until_the_end(count: int | None = None, *, chunked: bool = False) -> Trouble:
    """No length: the end of the connection is the end of the file, or chunks are."""

    def answer(handler: Handler, body: bytes) -> None:
        sent = body if count is None else body[:count]
        known = handler.headers_of(body)
        if not chunked:
            handler.begin(200, {**known, "Connection": "close"})
            handler.wfile.write(sent)
        else:
            handler.begin(200, {**known, "Transfer-Encoding": "chunked"})
            for start in range(0, len(sent), 1000):
                piece = sent[start : start + 1000]
                handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if count is None:
                handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


def stall_after(count: int, seconds: float = 30.0) -> Trouble:
    """Some bytes, then silence on an open connection."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.begin(200, {**handler.headers_of(body), "Content-Length": str(len(body))})
        handler.wfile.write(body[:count])
        handler.wfile.flush()
        _sleep(handler, seconds)

    return answer


def silent(seconds: float = 30.0) -> Trouble:
    """The request is taken, and never answered."""
    return lambda handler, _: _sleep(handler, seconds)


def drip(size: int = 10, pause: float = 0.02, count: int = 10_000) -> Trouble:
    """A few bytes at a time: never silent, never done."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.begin(200, {**handler.headers_of(body), "Content-Length": str(len(body))})
        for start in range(0, min(len(body), size * count), size):
            handler.wfile.write(body[start : start + size])
            handler.wfile.flush()
            time.sleep(pause)
        handler.close_connection = True

    return answer


def _sleep(handler: Handler, seconds: float) -> None:
    """Wait, but not longer than the other side does."""
    handler.connection.settimeout(seconds)
    with suppress(OSError):
        handler.connection.recv(1)
    handler.close_connection = True


def redirect(target: str, code: int = 302) -> Trouble:
    """Sent elsewhere."""
    return lambda handler, _: handler.refuse(code, Location=target)


def gzipped(handler: Handler, body: bytes) -> None:
    """Compressed although it was not asked for."""
    packed = gzip.compress(body)
    known = {**handler.headers_of(body), "Content-Encoding": "gzip", "Content-Length": str(len(packed))}
    handler.begin(200, known)
    handler.pour(packed)


def encoded(name: str) -> Trouble:
    """Said to be in some other encoding."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.begin(200, {"Content-Encoding": name, "Content-Length": str(len(body))})
        handler.wfile.write(body)

    return answer


def instead(other: bytes) -> Trouble:
    """Another content, in good order."""
    return lambda handler, _: handler.give(other)


def nonsense(handler: Handler, body: bytes) -> None:
    """No HTTP at all."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    handler.close_connection = True


# -- running it ----------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(web: Web, *, certificate: tuple[Path, Path] | None = None) -> Iterator[Web]:
    """Serve on a free port of this machine while inside; with a certificate and its key, over TLS."""
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"web": web}))
    web.url = f"http://127.0.0.1:{server.server_port}"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        web.url = web.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Static(BaseHTTPRequestHandler):
    """Files of a folder, straight from the disk cache to the socket: as near to a real server as Python comes."""

    protocol_version = "HTTP/1.1"
    root: Path
    pause: float = 0.0

    def do_GET(self) -> None:
        path = self.root / self.path.lstrip("/")
        try:
            handle = path.open("rb")
        except OSError:
            self.send_error(404)
            return
        with handle, suppress(ConnectionError):
            facts = os.fstat(handle.fileno())
            wanted = self.headers.get("Range")
            start = int(wanted[6:].partition("-")[0]) if wanted else 0
            head = (
                f"HTTP/1.1 {206 if wanted else 200} OK\r\nContent-Length: {facts.st_size - start}\r\n"
                f'ETag: "{facts.st_size:x}-{facts.st_mtime_ns:x}"\r\nAccept-Ranges: bytes\r\n'
            )
            if wanted:
                head += f"Content-Range: bytes {start}-{facts.st_size - 1}/{facts.st_size}\r\n"
            self.wfile.write(f"{head}\r\n".encode())
            self.wfile.flush()
            at = start
            while at < facts.st_size:
                at += os.sendfile(self.connection.fileno(), handle.fileno(), at, 1 << (16 if self.pause else 20))
                if self.pause:
                    time.sleep(self.pause)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    root, pause = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    server = Server(("127.0.0.1", 0), type("Bound", (_Static,), {"root": root, "pause": pause}))
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()

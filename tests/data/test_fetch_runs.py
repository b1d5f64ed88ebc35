"""Whole runs of downloads: many files, offline, full disks, interruptions, proxies, certificates."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from fetch_kit import BODY, QUICK, ask, left, one, table, whole
from fetch_server import (
    Web,
    fine,
    redirect,
    reset_after,
    serving,
    stall_after,
)

from fluxtrapolation.data.fetch import FetchFile, Limits, fetch_files, receive
from fluxtrapolation.data.fetch.lock import LockFile
from fluxtrapolation.data.folder import FolderLock
from fluxtrapolation.errors import DataError, FluxtrapolationWarning

pytestmark = pytest.mark.usefixtures("small_buffer")


def many(web: Web, count: int) -> list[FetchFile]:
    web.content = {f"S{i:03d}.csv": table(50, f"k{i}") for i in range(count)}
    return [ask(web, name) for name in web.content]


def test_results_in_order_and_no_more_connections_than_asked_for(web: Web, tmp_path: Path) -> None:
    files = many(web, 24)
    web.pause = 0.02
    told: list[tuple[str, int, int]] = []
    results = fetch_files(files, tmp_path, jobs=3, limits=QUICK, progress=lambda *now: told.append(now))
    assert [result.file for result in results] == files and all(result.done for result in results)
    # A thread of the server may still count itself when its client has gone on already.
    assert 2 <= web.most_busy <= 6
    assert told[-1][1:] == (24, 24) and [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_bad_requests(web: Web, tmp_path: Path) -> None:
    for files, more, told in (
        ([ask(web), ask(web)], {}, "AA-One.csv is asked for twice"),
        ([FetchFile("../x.csv", (web.url,))], {}, "no plain file name"),
        ([FetchFile("x.csv.part", (web.url,))], {}, "no plain file name"),
        ([FetchFile("x.csv", ("ftp://host/x.csv",))], {}, "no http or https address"),
        ([FetchFile("x.csv", ("https://me:secret@host/x.csv",))], {}, "no user name or password"),
        ([FetchFile("x.csv", ())], {}, "no address"),
        ([ask(web)], {"jobs": 99}, "choose 1 to 16"),
        ([ask(web)], {"update": True, "offline": True}, "--offline forbids it"),
        ([ask(web)], {"update": True, "locked": True}, "--locked forbids it"),
    ):
        with pytest.raises(DataError, match=told):
            fetch_files(files, tmp_path, **more)  # type: ignore[arg-type]
    assert web.asked == []
    assert fetch_files([], tmp_path) == []


def test_one_download_at_a_time_in_a_folder(web: Web, tmp_path: Path) -> None:
    other = FolderLock(tmp_path)
    other.acquire()
    try:
        with pytest.raises(DataError, match="is writing to"):
            one(web, tmp_path)
    finally:
        other.release()


def test_offline_opens_no_socket(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one(web, tmp_path)
    web.content["BB-Two.csv"] = table(10, "b")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, forbidden)
    held, absent = fetch_files([ask(web), ask(web, "BB-Two.csv")], tmp_path, offline=True)
    assert held.status == "held"
    assert absent.cause == "offline" and "not in the folder; --offline allows no contact" in str(absent.reason)
    (tmp_path / "AA-One.csv").write_bytes(b"time,a\n1,2\n")
    (changed,) = fetch_files([ask(web)], tmp_path, offline=True)
    assert changed.cause == "damaged" and "had changed" in str(changed.reason)
    assert (tmp_path / "AA-One.csv").exists()
    # The guard itself works: without --offline the socket is asked for.
    with pytest.raises(AssertionError, match="a socket was opened"):
        fetch_files([ask(web)], tmp_path / "other", limits=Limits(retries=0))


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = many(web, 6)
    real = receive.FileIO

    class Full(real):  # type: ignore[valid-type,misc]
        def write(self, piece: Any) -> int:
            if "S003" in str(self.name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(super().write(piece))

    monkeypatch.setattr(receive, "FileIO", Full)
    with pytest.raises(DataError, match=r"^The disk is full: .*S003\.csv could not be written.*same command again"):
        fetch_files(files, tmp_path, jobs=1, limits=QUICK)
    assert {"S000.csv", "S001.csv", "S002.csv"} <= left(tmp_path)
    assert "S002.csv" in LockFile(tmp_path / "fetch.lock.json")
    monkeypatch.undo()
    assert [result.status for result in fetch_files(files, tmp_path, limits=QUICK)][:3] == ["held"] * 3


def test_short_writes_lose_nothing(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = receive.FileIO

    class Reluctant(real):  # type: ignore[valid-type,misc]
        def write(self, piece: Any) -> int:
            return int(super().write(piece[:1000]))

    monkeypatch.setattr(receive, "FileIO", Reluctant)
    assert one(web, tmp_path).done and whole(tmp_path)


def test_an_interruption_does_not_wait_for_a_dead_server(web: Web, tmp_path: Path) -> None:
    """Ctrl-C while a server is silent: finished files, the lock file and partial files stay."""
    web.content["BB-Two.csv"] = table(10, "b")
    web.trouble["AA-One.csv"] = [stall_after(40_000, 60.0)]

    def interrupt(name: str, done: int, total: int) -> None:
        deadline = time.monotonic() + 5
        while not (tmp_path / "AA-One.csv.part").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_files([ask(web), ask(web, "BB-Two.csv")], tmp_path, limits=Limits(read_s=60), progress=interrupt)
    assert "BB-Two.csv" in LockFile(tmp_path / "fetch.lock.json")
    part = (tmp_path / "AA-One.csv.part").read_bytes()
    assert len(part) >= 1 << 14 and BODY.startswith(part)
    assert [result.status for result in fetch_files([ask(web), ask(web, "BB-Two.csv")], tmp_path)] == [
        "resumed",
        "held",
    ]
    assert whole(tmp_path)


def test_proxy_from_the_environment(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is asked with the whole address; NO_PROXY goes round it."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", web.url)
    file = FetchFile("AA-One.csv", ("http://towers.invalid/AA-One.csv",))
    web.content["http://towers.invalid/AA-One.csv"] = BODY
    with pytest.warns(FluxtrapolationWarning, match=r"1 addresses are not encrypted .*http://towers\.invalid/AA-One"):
        assert one(web, tmp_path, file=file).done
    assert web.paths() == ["http://towers.invalid/AA-One.csv"]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert one(web, tmp_path / "direct").done
    assert web.paths()[-1] == "AA-One.csv"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that only who is told so trusts."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the program openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "made.pem", folder / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=test"
    subject = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run([program, *words.split(), *subject], check=True, capture_output=True)
    return made, key


def test_certificates_are_verified(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Web(content={"AA-One.csv": BODY}), certificate=certificate) as secure, serving(Web()) as plain:
        plain.content["AA-One.csv"] = BODY
        result = one(secure, tmp_path)
        assert result.attempts == 1 and "the certificate of 127.0.0.1 is not trusted" in str(result.reason)
        assert secure.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert one(secure, tmp_path).done and whole(tmp_path)
        secure.trouble["AA-One.csv"] = [redirect(f"{plain.url}/AA-One.csv")]
        sent = one(secure, tmp_path / "redirected")
        assert "redirected from https to http" in str(sent.reason) and plain.asked == []
        secure.trouble["AA-One.csv"] = [reset_after(40_000)]
        assert one(secure, tmp_path / "resumed").status == "resumed" and whole(tmp_path / "resumed")


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    (result,) = fetch_files([FetchFile("a.csv", (f"http://127.0.0.1:{port}/a.csv",))], tmp_path, limits=QUICK)
    assert "127.0.0.1 refused the connection; 4 attempts" in str(result.reason)


def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    (result,) = fetch_files([FetchFile("a.csv", ("https://towers.invalid/a.csv",))], tmp_path, limits=Limits(retries=0))
    assert "towers.invalid cannot be resolved" in str(result.reason) or "proxy" in str(result.reason).lower()


def test_ordinary_answer_helper_is_ordinary(web: Web, tmp_path: Path) -> None:
    web.trouble["AA-One.csv"] = [fine]
    assert one(web, tmp_path).attempts == 1

"""Downloads from servers that mean harm: odd headers, bodies without end, bombs; and two runs with one lock file."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fetch_server import Handler, Trouble, Web, serving, status

from fluxtrapolation.data.fetch import FetchFile, FetchResult, Limits, fetch_files, receive, towers, transport
from fluxtrapolation.data.folder import FolderLock
from fluxtrapolation.errors import DataError

QUICK = Limits(connect_s=2, read_s=2, retries=2, backoff_s=0.01, backoff_max_s=0.02, most_bytes=100_000)
BODY = b"time,qc_mask,GPP\n" + b"2015-01-01 00:00:00,1,2.5\n" * 400


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web(content={"AA-One.csv": BODY, "BB-Two.csv": BODY.replace(b"2.5", b"3.5")})) as running:
        yield running


@pytest.fixture(autouse=True)
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "BUFFER", 1 << 14)
    monkeypatch.setattr(receive, "_own", threading.local())


def both(web: Web, folder: Path, **facts: Any) -> tuple[FetchResult, FetchResult]:
    """The file with the trouble, and another one that must come all the same."""
    files = [FetchFile(f"{site}.csv", (f"{web.url}/{site}.csv",), **facts) for site in ("AA-One", "BB-Two")]
    first, second = fetch_files(files, folder, limits=QUICK)
    assert second.done
    return first, second


def headed(body: bytes = BODY, **headers: str) -> Trouble:
    """An answer with these headers; the end of the connection is the end of the file."""

    def answer(handler: Handler, _: bytes) -> None:
        handler.begin(200, {"Connection": "close", **{name.replace("_", "-"): text for name, text in headers.items()}})
        handler.wfile.write(body)
        handler.close_connection = True

    return answer


def endless(piece: bytes, sent: list[int], *, first: bytes = b"", most: int = 100_000_000, **headers: str) -> Trouble:
    """A chunked body that goes on as long as someone listens (and stops somewhere, for a test that fails)."""

    def answer(handler: Handler, _: bytes) -> None:
        handler.begin(200, {"Transfer-Encoding": "chunked", **{k.replace("_", "-"): v for k, v in headers.items()}})
        for part in (first, *[piece] * (most // len(piece))):
            if part:
                handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                sent[0] += len(part)
        handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


@pytest.mark.parametrize("text", ["²", "-1", "1e3", "٣".encode().decode("latin-1"), "5" * 5000])
def test_an_odd_wait_stops_nothing(web: Web, tmp_path: Path, text: str) -> None:
    web.trouble["AA-One.csv"] = [status(503, Retry_After=text)]
    first, _ = both(web, tmp_path)
    if text.startswith("5"):  # a number, if a long one: nobody waits that long
        assert "asks to come back in 1,000,000,000,000,000,000 s" in str(first.reason)
    else:
        assert first.done and first.attempts == 2


@pytest.mark.parametrize("text", ["²", "-1", "12 apples"])
def test_a_length_that_is_none_is_not_known(web: Web, tmp_path: Path, text: str) -> None:
    web.trouble["AA-One.csv"] = [headed(Content_Length=text)]
    first, _ = both(web, tmp_path)
    assert first.done and (tmp_path / "AA-One.csv").read_bytes() == BODY


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 19, "100001"])
def test_a_length_above_the_limit_is_refused_before_anything_is_written(web: Web, tmp_path: Path, text: str) -> None:
    web.trouble["AA-One.csv"] = [headed(Content_Length=text)]
    first, _ = both(web, tmp_path)
    assert (first.cause, first.received, first.attempts) == ("rejected", 0, 1)
    assert "no more than 100,000 are taken where the publisher gives no size" in str(first.reason)
    assert not list(tmp_path.glob("**/AA-One*"))


@pytest.mark.parametrize("total", ["²", "9" * 5000, "100001"])
def test_an_odd_range_stops_nothing(web: Web, tmp_path: Path, total: str) -> None:
    def part(handler: Handler, body: bytes) -> None:
        start = int(str(handler.headers["Range"])[6:-1])
        span = f"bytes {start}-{len(body) - 1}/{total}"
        handler.begin(206, {"ETag": handler.etag(body), "Content-Range": span, "Content-Length": "0"})

    def half(handler: Handler, body: bytes) -> None:
        handler.begin(200, {"ETag": handler.etag(body), "Transfer-Encoding": "chunked"})
        handler.wfile.write(b"1000\r\n" + body[:4096])
        handler.close_connection = True

    web.trouble["AA-One.csv"] = [half, part]
    first, _ = both(web, tmp_path)
    if total.isascii() and len(total) < 19:
        assert "it is announced with 100,001 bytes" in str(first.reason)
    else:
        assert first.done and (tmp_path / "AA-One.csv").read_bytes() == BODY


def test_numbers_in_headers() -> None:
    assert [transport.whole_number(text) for text in (" 12 ", "0", "0012", "0" * 5000 + "7")] == [12, 0, 12, 7]
    assert [transport.whole_number(text) for text in ("", "-1", "+1", "1_000", "²", "1.5")] == [None] * 6
    assert transport.whole_number("1" * 19) == 10**18 - 1
    assert transport.retry_after("Wed, 21 Oct 2015 07:28:00 +9999999999") is None


def test_a_body_without_end_does_not_fill_the_disk(web: Web, tmp_path: Path) -> None:
    sent = [0]
    web.trouble["AA-One.csv"] = [endless(BODY[17:], sent, first=BODY)]
    first, _ = both(web, tmp_path)
    assert first.cause == "rejected" and first.attempts == 1
    assert "it has more than 100,000 bytes; no more than 100,000 are taken" in str(first.reason)
    assert first.received < 200_000 and sent[0] < 50_000_000
    assert not list(tmp_path.glob("**/AA-One*"))  # nobody wants to look at such a file


@pytest.mark.parametrize("size", [None, 90_000])
def test_a_bomb_is_not_unpacked(web: Web, tmp_path: Path, size: int | None) -> None:
    """20 kB of gzip hold 20 MB of a table."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(BODY + BODY[17:] * 2_000) + packer.flush()
    assert len(bomb) < 90_000
    web.trouble["AA-One.csv"] = [headed(bomb, Content_Encoding="gzip")]
    first, _ = both(web, tmp_path) if size is None else (fetch_sized(web, tmp_path, size), None)
    assert first.cause == "rejected" and "more" in str(first.reason)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 110_000


def test_gzip_that_holds_nothing_for_ever(web: Web, tmp_path: Path) -> None:
    """Empty blocks unpack to no byte at all, so that the size of the file never grows."""
    sent = [0]
    empty = b"\x00\x00\x00\xff\xff" * 1000
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
    web.trouble["AA-One.csv"] = [endless(empty, sent, first=head, Content_Encoding="gzip")]
    first, _ = both(web, tmp_path)
    assert first.cause == "rejected" and first.received < 400_000 and sent[0] < 50_000_000


def test_what_comes_after_the_end_of_gzip_is_not_waited_for(web: Web, tmp_path: Path) -> None:
    sent = [0]
    packer = zlib.compressobj(9, wbits=31)
    whole = packer.compress(BODY) + packer.flush()
    web.trouble["AA-One.csv"] = [endless(b"x" * 5000, sent, first=whole, Content_Encoding="gzip")]
    first, _ = both(web, tmp_path)
    assert first.done and (tmp_path / "AA-One.csv").read_bytes() == BODY
    assert sent[0] < 50_000_000


def fetch_sized(web: Web, folder: Path, size: int) -> FetchResult:
    file = FetchFile("AA-One.csv", (f"{web.url}/AA-One.csv",), size=size)
    (result,) = fetch_files([file], folder, limits=QUICK)
    return result


def test_a_published_size_lifts_the_limit(web: Web, tmp_path: Path) -> None:
    web.content["AA-One.csv"] = large = BODY + BODY[17:] * 10
    assert len(large) > QUICK.most_bytes
    assert "it is announced with" in str(both(web, tmp_path)[0].reason)
    assert fetch_sized(web, tmp_path, len(large)).done


def test_a_registry_without_end(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "MOST_REGISTRY", 5_000)
    web.content["registry.yaml"] = b"name: x\n" + b"# nothing\n" * 1000
    with pytest.raises(DataError, match=r"cannot be had: it is announced with 10,008 bytes; no more than 5,000"):
        towers.plan_fetch(tmp_path, registry=f"{web.url}/registry.yaml")


# -- two runs, one lock file ------------------------------------------------------------------------------------------


def test_two_runs_into_two_folders_do_not_lose_one_anothers_pins(web: Web, tmp_path: Path) -> None:
    """The second one is told to wait while the first is at work; afterwards both pins stand in the shared file."""
    shared = tmp_path / "kept" / "towers.lock.json"
    one, two = (FetchFile(f"{site}.csv", (f"{web.url}/{site}.csv",)) for site in ("AA-One", "BB-Two"))
    refused: list[str] = []

    def meanwhile(handler: Handler, body: bytes) -> None:
        try:
            fetch_files([two], tmp_path / "b", lock=shared, limits=QUICK)
        except DataError as error:
            refused.append(str(error))
        handler.give(body)

    web.trouble["AA-One.csv"] = [meanwhile]
    (first,) = fetch_files([one], tmp_path / "a", lock=shared, limits=QUICK)
    assert first.done
    assert len(refused) == 1 and f"is at work with the lock file {shared}" in refused[0] and "--lock" in refused[0]
    (second,) = fetch_files([two], tmp_path / "b", lock=shared, limits=QUICK)
    assert second.done
    assert sorted(json.loads(shared.read_text())["files"]) == ["AA-One.csv", "BB-Two.csv"]
    assert [path.name for path in shared.parent.iterdir()] == [shared.name]


def test_a_lock_file_where_nothing_can_be_written_still_checks(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fluxtrapolation.data.fetch import pool

    shared = tmp_path / "kept" / "towers.lock.json"
    file = FetchFile("AA-One.csv", (f"{web.url}/AA-One.csv",))
    fetch_files([file], tmp_path / "a", lock=shared, limits=QUICK)

    def read_only(self: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pool.FileLock, "acquire", read_only)
    monkeypatch.setattr(pool.FolderLock, "acquire", FolderLock.release)  # that folder can be written
    (held,) = fetch_files([file], tmp_path / "a", lock=shared, locked=True, offline=True)
    assert held.status == "held"

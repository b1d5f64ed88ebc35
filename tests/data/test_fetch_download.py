"""Downloads against a real web server with every kind of trouble."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fetch_server import (
    Trouble,
    Web,
    cut_after,
    drip,
    encoded,
    fine,
    gzipped,
    instead,
    nonsense,
    page,
    redirect,
    reset_after,
    serving,
    silent,
    stall_after,
    status,
    until_the_end,
)

from fluxtrapolation import __version__
from fluxtrapolation.data.fetch import FetchFile, FetchResult, Limits, fetch_files, receive, transport
from fluxtrapolation.data.fetch.lock import LockFile
from fluxtrapolation.data.folder import FolderLock
from fluxtrapolation.errors import DataError, FluxtrapolationWarning

QUICK = Limits(connect_s=2, read_s=0.4, stall_s=0.5, stall_bytes=2_000, retries=3, backoff_s=0.02, backoff_max_s=0.1)


def table(rows: int = 2_000, key: str = "") -> bytes:
    """A table of numbers that passes for a tower's; ``key`` makes it another one."""
    lines = "".join(f"2015-01-01 00:00:00,1,{i}.5,{key or 'x'}\n" for i in range(rows))
    return f"time,qc_mask,GPP,note\n{lines}".encode()


BODY = table()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web(content={"AA-One.csv": BODY})) as running:
        yield running


@pytest.fixture(autouse=True)
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partial files after 16 kB, so that small files have them."""
    monkeypatch.setattr(receive, "BUFFER", 1 << 14)
    monkeypatch.setattr(receive, "_own", threading.local())


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


def test_a_file_comes_and_is_pinned(web: Web, tmp_path: Path) -> None:
    result = one(web, tmp_path)
    assert (result.status, result.sha256, result.size, result.attempts) == ("downloaded", sha(BODY), len(BODY), 1)
    assert whole(tmp_path)
    assert left(tmp_path) == {"AA-One.csv", "fetch.lock.json"}
    pin = json.loads((tmp_path / "fetch.lock.json").read_text())["files"]["AA-One.csv"]
    assert (pin["sha256"], pin["size"], pin["origin"]) == (sha(BODY), len(BODY), "learned")
    assert pin["url"] == f"{web.url}/AA-One.csv"
    headers = web.asked[0].headers
    assert headers["user-agent"].startswith(f"fluxtrapolation/{__version__} ")
    assert headers["accept-encoding"] == "identity"


def test_what_is_there_is_checked_and_not_fetched_again(web: Web, tmp_path: Path) -> None:
    one(web, tmp_path)
    again = one(web, tmp_path)
    assert (again.status, again.attempts, again.received) == ("held", 0, 0)
    assert again.sha256 == sha(BODY) and again.retrieved is not None
    assert len(web.asked) == 1


REPAIRED: dict[str, tuple[list[Trouble], int, str]] = {
    "500 then 200": ([status(500)], 2, "downloaded"),
    "503 twice": ([status(503), status(503)], 3, "downloaded"),
    "429 with Retry-After": ([status(429, Retry_After="0")], 2, "downloaded"),
    "408": ([status(408)], 2, "downloaded"),
    "reset in mid-body": ([reset_after(30_000)], 2, "resumed"),
    "reset before the first byte": ([reset_after(0)], 2, "downloaded"),
    "reset again and again": ([reset_after(20_000)] * 3, 4, "resumed"),
    "truncated with full length": ([cut_after(30_000)], 2, "resumed"),
    "announced too much": ([cut_after(len(BODY), announce=len(BODY) + 500)], 2, "resumed"),
    "stalls": ([stall_after(30_000)], 2, "resumed"),
    "never answers": ([silent()], 2, "downloaded"),
    "drips": ([drip()], 2, "resumed"),
    "no HTTP": ([nonsense], 2, "downloaded"),
    "redirect": ([redirect("/elsewhere.csv")], 1, "downloaded"),
    "redirect for good": ([redirect("/elsewhere.csv", 308)], 1, "downloaded"),
    "no length": ([until_the_end()], 1, "downloaded"),
    "chunked": ([until_the_end(chunked=True)], 1, "downloaded"),
    "chunks cut off": ([until_the_end(40_000, chunked=True)], 2, "resumed"),
    "gzip that nobody asked for": ([gzipped], 1, "downloaded"),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_trouble_that_passes(web: Web, tmp_path: Path, case: str) -> None:
    """After some attempts the file is there, byte for byte, and nothing else is left."""
    troubles, attempts, ended = REPAIRED[case]
    web.content["elsewhere.csv"] = BODY
    web.trouble["AA-One.csv"] = list(troubles)
    result = one(web, tmp_path)
    assert result.reason is None
    assert whole(tmp_path)
    assert (result.attempts, result.status) == (attempts, ended)
    assert left(tmp_path) == {"AA-One.csv", "fetch.lock.json"}


REFUSED: dict[str, tuple[list[Trouble], str, str, int]] = {
    "404": ([status(404)], "unreachable", r"HTTP 404 .*there is no such file", 1),
    "410": ([status(410)], "unreachable", r"HTTP 410 .*withdrawn", 1),
    "401": ([status(401)], "unreachable", r"HTTP 401 .*asks for a login", 1),
    "403": ([status(403)], "unreachable", r"HTTP 403 .*not allowed", 1),
    "500 for ever": ([status(500)] * 9, "unreachable", r"HTTP 500 .*; 4 attempts", 4),
    "never answers": ([silent()] * 9, "unreachable", r"127\.0\.0\.1 did not answer in time; 4 attempts", 4),
    "stalls at once": ([stall_after(0)] * 9, "unreachable", r"did not answer in time; 4 attempts", 4),
    "asks for an hour": ([status(503, Retry_After="3600")], "unreachable", r"asks to come back in 3,600 s", 1),
    "HTML with status 200": ([page("Log in")] * 2, "rejected", r"web page \(HTML, titled 'Log in'\)", 1),
    "empty": ([instead(b"")], "rejected", r"the file is empty", 1),
    "header only": ([instead(BODY[:22])], "rejected", r"header but no rows", 1),
    "no table": ([instead(b"hello, world\n1,2\n")], "rejected", r"no table with a column time .*hello, world", 1),
    "wrong length, too short": ([cut_after(40_000, announce=40_000)], "rejected", r"ends in the middle of a row", 1),
    "no length, cut off": ([until_the_end(40_000)], "rejected", r"ends in the middle of a row", 1),
    "cut at a line's end less a field": (
        [instead(BODY.rstrip().rpartition(b",")[0] + b"\n")],
        "rejected",
        r"the last has 3 of 4 fields",
        1,
    ),
    "other bytes": (
        [instead(b"time,a\n\xff\xfe1,2\n".replace(b"time", b"t\xefme"))],
        "rejected",
        r"not text in UTF-8",
        1,
    ),
    "brotli": ([encoded("br")], "unreachable", r"encoded as 'br', which was not asked for", 1),
    "broken gzip": ([encoded("gzip")] * 9, "unreachable", r"sends as gzip is none", 4),
    "redirect in a circle": ([redirect("/AA-One.csv")] * 20, "unreachable", r"HTTP 302", 1),
    "redirect to a file": ([redirect("file:///etc/passwd")], "unreachable", r"302", 1),
    "no HTTP": ([nonsense] * 9, "unreachable", r"does not speak proper HTTP", 4),
}


@pytest.mark.parametrize("case", REFUSED)
def test_trouble_that_stays(web: Web, tmp_path: Path, case: str) -> None:
    """One file fails with a reason; the other one comes."""
    troubles, cause, told, attempts = REFUSED[case]
    other = table(50, "other")
    web.content["BB-Two.csv"] = other
    web.trouble["AA-One.csv"] = list(troubles)
    failed, good = fetch_files([ask(web), ask(web, "BB-Two.csv")], tmp_path, limits=QUICK)
    assert good.done and whole(tmp_path, other, "BB-Two.csv")
    assert (failed.status, failed.cause, failed.attempts) == ("failed", cause, attempts)
    assert failed.reason is not None
    assert re.search(told, failed.reason), failed.reason
    assert f"{web.url}/AA-One.csv" in failed.reason
    assert not (tmp_path / "AA-One.csv").exists()
    assert "AA-One.csv" not in json.loads((tmp_path / "fetch.lock.json").read_text())["files"]
    if cause == "rejected":
        assert failed.rejected == tmp_path / "rejected" / "AA-One.csv"
        assert failed.rejected.exists()
        note = (tmp_path / "rejected" / "AA-One.csv.reason.txt").read_text()
        assert re.search(told, note) and f"from {web.url}" in note
    # The next run finds the server well again.
    web.trouble.clear()
    assert one(web, tmp_path).done and whole(tmp_path)


def test_retry_after_is_waited_for(web: Web, tmp_path: Path) -> None:
    web.trouble["AA-One.csv"] = [status(503, Retry_After="1")]
    assert one(web, tmp_path).done
    first, second = (asked.moment for asked in web.asked)
    assert second - first >= 1.0


@pytest.mark.parametrize(("text", "low", "high"), [("7", 7, 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0)])
def test_retry_after_in_both_forms(text: str, low: float, high: float) -> None:
    found = transport.retry_after(text)
    assert found is not None and low <= found <= high
    assert transport.retry_after("soon") is None
    assert transport.retry_after(None) is None


def test_waits_grow_and_repeat_with_the_seed(web: Web, tmp_path: Path) -> None:
    """Jitter is drawn from the seed: the same waits in a second run, others with another seed."""
    waits: list[list[float]] = []
    for number, seed in enumerate((1, 1, 2)):
        seen: list[float] = []

        class Patient(threading.Event):
            def wait(self, timeout: float | None = None, seen: list[float] = seen) -> bool:
                seen.append(timeout or 0.0)
                return False

        from fluxtrapolation.data.fetch import pool

        web.trouble["AA-One.csv"] = [status(500)] * 9
        original = pool.threading.Event
        pool.threading.Event = Patient  # type: ignore[misc]
        try:
            one(web, tmp_path / str(number), seed=seed, limits=Limits(backoff_s=1, backoff_max_s=3, retries=3))
        finally:
            pool.threading.Event = original  # type: ignore[misc]
        waits.append([wait for wait in seen if wait])
    for first, second, third in waits:
        assert 0.5 <= first <= 1 and 1 <= second <= 2 and 1.5 <= third <= 3
    assert waits[0] == waits[1] != waits[2]


# -- resumption -----------------------------------------------------------------------------------------------------


def interrupted(web: Web, folder: Path, count: int = 40_000) -> bytes:
    """A first run that fails after ``count`` bytes, and the bytes it left."""
    web.trouble["AA-One.csv"] = [reset_after(count)]
    result = one(web, folder, limits=Limits(connect_s=2, read_s=1, retries=0))
    assert not result.done
    part = (folder / "AA-One.csv.part").read_bytes()
    assert part == BODY[:count]
    web.asked.clear()
    return part


def test_a_partial_file_is_continued(web: Web, tmp_path: Path) -> None:
    part = interrupted(web, tmp_path)
    result = one(web, tmp_path)
    assert (result.status, result.received) == ("resumed", len(BODY) - len(part))
    assert whole(tmp_path) and left(tmp_path) == {"AA-One.csv", "fetch.lock.json"}
    (asked,) = web.asked
    assert asked.range == f"bytes={len(part)}-"
    assert asked.headers["if-range"] == f'"{hashlib.md5(BODY).hexdigest()[:12]}"'


def test_with_a_date_only(web: Web, tmp_path: Path) -> None:
    web.etags = False
    interrupted(web, tmp_path)
    assert one(web, tmp_path).status == "resumed"
    assert "GMT" in web.asked[0].headers["if-range"]
    assert whole(tmp_path)


def test_without_tag_or_date_it_begins_anew(web: Web, tmp_path: Path) -> None:
    """Nothing says that the rest belongs to the beginning, and no hash would find it out."""
    web.etags = web.dates = False
    interrupted(web, tmp_path)
    assert one(web, tmp_path).status == "downloaded"
    assert web.asked[0].range is None
    assert whole(tmp_path)


def test_a_known_hash_vouches_instead(web: Web, tmp_path: Path) -> None:
    web.etags = web.dates = False
    interrupted(web, tmp_path)
    assert one(web, tmp_path, file=ask(web, sha256=sha(BODY))).status == "resumed"
    assert whole(tmp_path)


def test_server_without_ranges(web: Web, tmp_path: Path) -> None:
    web.ranges = False
    interrupted(web, tmp_path)
    result = one(web, tmp_path)
    assert (result.status, result.received) == ("downloaded", len(BODY))
    assert whole(tmp_path)


def test_changed_between_the_attempts(web: Web, tmp_path: Path) -> None:
    """Another ETag: the old beginning is thrown away, never joined to the new end."""
    interrupted(web, tmp_path)
    web.content["AA-One.csv"] = new = table(key="new")
    assert one(web, tmp_path).done
    assert whole(tmp_path, new)


def test_changed_and_the_server_ignores_if_range(web: Web, tmp_path: Path) -> None:
    """A 206 of another version is seen by its ETag."""
    interrupted(web, tmp_path)
    web.content["AA-One.csv"] = new = table(key="new")

    def careless(handler: Any, body: bytes) -> None:
        del handler.headers["If-Range"]
        handler.give(body)

    web.trouble["AA-One.csv"] = [careless]
    result = one(web, tmp_path)
    assert (result.status, result.attempts) == ("downloaded", 2)
    assert whole(tmp_path, new)


def test_two_halves_that_do_not_fit_are_found_out(web: Web, tmp_path: Path) -> None:
    """The partial file was spoilt on disk: with a known hash the whole is fetched once more."""
    interrupted(web, tmp_path)
    part = tmp_path / "AA-One.csv.part"
    part.write_bytes(b"?" * part.stat().st_size)
    result = one(web, tmp_path, file=ask(web, sha256=sha(BODY)))
    assert (result.status, result.attempts) == ("downloaded", 2)
    assert whole(tmp_path)


@pytest.mark.parametrize("note", [None, b"", b'{"url": "x"', b'{"other": 1}', b"[]"])
def test_a_torn_note_means_a_new_beginning(web: Web, tmp_path: Path, note: bytes | None) -> None:
    interrupted(web, tmp_path)
    path = tmp_path / "AA-One.csv.part.json"
    path.unlink()
    if note is not None:
        path.write_bytes(note)
    assert one(web, tmp_path).status == "downloaded"
    assert whole(tmp_path) and left(tmp_path) == {"AA-One.csv", "fetch.lock.json"}


def test_killed_after_the_last_byte(web: Web, tmp_path: Path) -> None:
    """The partial file is whole: it is judged and accepted without asking again."""
    interrupted(web, tmp_path)
    (tmp_path / "AA-One.csv.part").write_bytes(BODY)
    result = one(web, tmp_path)
    assert result.done and web.asked == [] and whole(tmp_path)


def test_killed_between_pin_and_name(web: Web, tmp_path: Path) -> None:
    one(web, tmp_path)
    (tmp_path / "AA-One.csv").rename(tmp_path / "AA-One.csv.part")
    again = one(web, tmp_path, locked=True)
    assert again.done and whole(tmp_path)


def test_longer_than_the_file_is_now(web: Web, tmp_path: Path) -> None:
    """416: the server has less than the partial file; nothing of it is kept."""
    interrupted(web, tmp_path)
    web.content["AA-One.csv"] = short = table(20)
    web.trouble["AA-One.csv"] = [status(416)]
    assert one(web, tmp_path).done and whole(tmp_path, short)


# -- hashes, mirrors, the lock file -----------------------------------------------------------------------------------


def test_mirrors_are_tried_in_order(web: Web, tmp_path: Path) -> None:
    web.content["second/AA-One.csv"] = BODY
    gone = f"{web.url}/first/AA-One.csv"
    file = ask(web, urls=(gone, f"{web.url}/second/AA-One.csv", f"{web.url}/AA-One.csv"))
    result = one(web, tmp_path, file=file)
    assert result.done and result.url == f"{web.url}/second/AA-One.csv"
    assert web.paths() == ["first/AA-One.csv", "second/AA-One.csv"]
    assert result.note is not None and "404" in result.note and gone in result.note


def test_a_web_page_sends_to_the_next_mirror(web: Web, tmp_path: Path) -> None:
    web.content["second/AA-One.csv"] = BODY
    web.trouble["AA-One.csv"] = [page()]
    file = ask(web, urls=(f"{web.url}/AA-One.csv", f"{web.url}/second/AA-One.csv"))
    assert one(web, tmp_path, file=file).done and whole(tmp_path)
    assert (tmp_path / "rejected" / "AA-One.csv").read_bytes().startswith(b"<!DOCTYPE html>")


def test_when_no_mirror_helps_all_are_named(web: Web, tmp_path: Path) -> None:
    web.trouble["AA-One.csv"] = [page()]
    result = one(web, tmp_path, file=ask(web, urls=(f"{web.url}/no.csv", f"{web.url}/AA-One.csv")))
    assert result.cause == "rejected" and result.reason is not None
    assert result.reason.startswith("none of 2 addresses gave it: HTTP 404")
    assert f"{web.url}/no.csv" in result.reason and "web page" in result.reason


def test_a_mirror_goes_on_where_another_broke_off(web: Web, tmp_path: Path) -> None:
    """Only with a known hash: tags of two servers cannot be compared."""
    web.content["second/AA-One.csv"] = BODY
    urls = (f"{web.url}/AA-One.csv", f"{web.url}/second/AA-One.csv")
    limits = Limits(connect_s=2, read_s=1, retries=0)
    for number, (facts, wanted) in enumerate([({"sha256": sha(BODY)}, f"bytes={40_000}-"), ({}, None)]):
        web.asked.clear()
        web.trouble["AA-One.csv"] = [reset_after(40_000)]
        assert one(web, tmp_path / str(number), file=ask(web, urls=urls, **facts), limits=limits).done
        assert [asked.range for asked in web.asked] == [None, wanted]
        assert whole(tmp_path / str(number))


def test_published_hash_and_size_are_held_to(web: Web, tmp_path: Path) -> None:
    bad = one(web, tmp_path, file=ask(web, sha256="0" * 64))
    assert bad.cause == "rejected" and bad.reason is not None
    assert f"its sha256 is {sha(BODY)}, the publisher says {'0' * 64}" in bad.reason
    short = one(web, tmp_path, file=ask(web, size=len(BODY) + 1))
    assert f"it has {len(BODY):,} bytes, the publisher says {len(BODY) + 1:,}" in str(short.reason)
    long = one(web, tmp_path, file=ask(web, size=20_000))
    assert "more bytes than the 20,000" in str(long.reason)
    good = one(web, tmp_path, file=ask(web, sha256=sha(BODY), size=len(BODY)))
    assert good.done
    assert json.loads((tmp_path / "fetch.lock.json").read_text())["files"]["AA-One.csv"]["origin"] == "published"


def test_what_has_the_published_hash_needs_no_other_check(web: Web, tmp_path: Path) -> None:
    web.content["AA-One.csv"] = odd = BODY.rstrip()  # no end of the last line, as published
    assert one(web, tmp_path).cause == "rejected"
    assert one(web, tmp_path, file=ask(web, sha256=sha(odd))).done


def test_a_file_of_the_published_hash_is_taken_over(web: Web, tmp_path: Path) -> None:
    (tmp_path / "AA-One.csv").write_bytes(BODY)
    result = one(web, tmp_path, file=ask(web, sha256=sha(BODY)))
    assert result.status == "held" and web.asked == []


def test_a_change_upstream_is_an_error_with_both_hashes(web: Web, tmp_path: Path) -> None:
    one(web, tmp_path)
    (tmp_path / "AA-One.csv").unlink()
    web.content["AA-One.csv"] = new = table(key="new")
    result = one(web, tmp_path)
    assert (result.status, result.cause) == ("failed", "changed upstream")
    assert result.reason is not None
    assert sha(BODY) in result.reason and sha(new) in result.reason and "--update" in result.reason
    assert (tmp_path / "rejected" / "AA-One.csv").read_bytes() == new
    assert not (tmp_path / "AA-One.csv").exists()
    taken = one(web, tmp_path, update=True)
    assert taken.done and whole(tmp_path, new)
    assert taken.note is not None and sha(BODY) in taken.note and sha(new) in taken.note
    assert one(web, tmp_path).status == "held"


def test_a_registry_that_changed_its_mind_is_told_before_anything_is_fetched(web: Web, tmp_path: Path) -> None:
    one(web, tmp_path)
    web.asked.clear()
    result = one(web, tmp_path, file=ask(web, sha256="1" * 64))
    assert result.cause == "changed upstream" and web.asked == []
    assert sha(BODY) in str(result.reason) and "1" * 64 in str(result.reason)


def test_update_asks_again(web: Web, tmp_path: Path) -> None:
    one(web, tmp_path)
    same = one(web, tmp_path, update=True)
    assert same.status == "downloaded" and same.note is None and len(web.asked) == 2


def test_locked_takes_only_what_is_pinned(web: Web, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no lock file .*fetch\.lock\.json"):
        one(web, tmp_path, locked=True)
    one(web, tmp_path)
    (tmp_path / "AA-One.csv").unlink()
    web.content["BB-Two.csv"] = table(10, "b")
    pinned, other = fetch_files([ask(web), ask(web, "BB-Two.csv")], tmp_path, limits=QUICK, locked=True)
    assert pinned.done and other.cause == "not pinned"
    assert "--locked takes no other" in str(other.reason)
    assert "BB-Two.csv" not in web.paths()


def test_lock_file_elsewhere(web: Web, tmp_path: Path) -> None:
    lock = tmp_path / "kept" / "towers.lock.json"
    one(web, tmp_path / "a", lock=lock)
    assert left(tmp_path / "kept") == {"towers.lock.json"} and left(tmp_path / "a") == {"AA-One.csv"}
    assert one(web, tmp_path / "b", lock=lock, locked=True).done


def test_a_file_changed_on_disk_is_fetched_again_and_kept_aside(web: Web, tmp_path: Path) -> None:
    one(web, tmp_path)
    (tmp_path / "AA-One.csv").write_bytes(b"time,mine\n1,2\n")
    result = one(web, tmp_path)
    assert result.status == "downloaded" and whole(tmp_path)
    assert "had changed since it was fetched" in str(result.note)
    assert (tmp_path / "rejected" / "AA-One.csv").read_bytes() == b"time,mine\n1,2\n"


def test_a_file_of_unknown_origin_is_not_believed(web: Web, tmp_path: Path) -> None:
    (tmp_path / "AA-One.csv").write_bytes(b"time,mine\n1,2\n")
    result = one(web, tmp_path)
    assert whole(tmp_path) and "no download had accepted" in str(result.note)
    assert (tmp_path / "rejected" / "AA-One.csv").read_bytes() == b"time,mine\n1,2\n"


def test_the_same_file_under_two_names(web: Web, tmp_path: Path) -> None:
    web.content["BB-Two.csv"] = BODY
    results = fetch_files([ask(web), ask(web, "BB-Two.csv")], tmp_path, limits=QUICK, distinct=True)
    assert sorted(result.status for result in results) == ["downloaded", "failed"]
    failed = next(result for result in results if not result.done)
    assert "byte for byte the same as" in str(failed.reason)


def test_the_wrong_tower(web: Web, tmp_path: Path) -> None:
    """By a column that names it, or by its place."""
    rows = b"2015-01-01 00:00:00,%s,47.12,11.32\n" * 3
    for column, value, told in (
        (b"site_id", b"FI-Hyy", "its rows say FI-Hyy"),
        (b"note", b"x", "it says 47.12, 11.32, and DE-Tha stands at 50.9"),
    ):
        web.content["DE-Tha.csv"] = b"time,%s,tower_lat,tower_lon\n" % column + rows % ((value,) * 3)
        result = one(web, tmp_path, file=ask(web, "DE-Tha.csv"))
        assert result.cause == "rejected" and told in str(result.reason)
    web.content["DE-Tha.csv"] = b"time,site,tower_lat,tower_lon\n2015-01-01 00:00:00,Tharandt,50.96,13.57\n"
    assert one(web, tmp_path, file=ask(web, "DE-Tha.csv")).done


def test_other_kinds_of_files(web: Web, tmp_path: Path) -> None:
    """The downloader serves other doors: a ZIP must have its end, anything else must be no web page."""
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", BODY)
    web.content |= {
        "a.zip": buffer.getvalue(),
        "cut.zip": buffer.getvalue()[:-40],
        "b.nc": b"CDF\x01",
        "c.nc": b"<html>",
    }
    names = ("a.zip", "cut.zip", "b.nc", "c.nc")
    good, cut, other, lost = fetch_files([ask(web, name) for name in names], tmp_path, limits=QUICK)
    assert good.done and other.done
    assert "ZIP" in str(cut.reason) and "web page" in str(lost.reason)


# -- the whole run ----------------------------------------------------------------------------------------------------


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

"""Downloads against a real web server with every kind of trouble."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from fetch_kit import BODY, QUICK, ask, left, one, sha, table, whole
from fetch_server import (
    Trouble,
    Web,
    cut_after,
    drip,
    encoded,
    gzipped,
    instead,
    nonsense,
    page,
    redirect,
    reset_after,
    silent,
    stall_after,
    status,
    until_the_end,
)

from fluxtrapolation import __version__
from fluxtrapolation.data.fetch import Limits, fetch_files, transport

pytestmark = pytest.mark.usefixtures("small_buffer")


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

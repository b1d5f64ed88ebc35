"""Downloads that broke off, against a real web server: what is continued, and what begins anew."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from fetch_kit import BODY, ask, left, one, sha, table, whole
from fetch_server import (
    Web,
    reset_after,
    status,
)

from fluxtrapolation.data.fetch import Limits

pytestmark = pytest.mark.usefixtures("small_buffer")


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

"""Hashes, mirrors and the lock file of downloads, against a real web server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fetch_kit import BODY, QUICK, ask, left, one, sha, table, whole
from fetch_server import (
    Web,
    page,
    reset_after,
)

from fluxtrapolation.data.fetch import Limits, fetch_files
from fluxtrapolation.errors import DataError

pytestmark = pytest.mark.usefixtures("small_buffer")


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

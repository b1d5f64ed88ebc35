"""The journal of an import: a line a tower, folded into the manifest at the end and by the next writer."""

from __future__ import annotations

import errno
import json
import shutil
import warnings
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from fluxtrapolation.data import journal, writer
from fluxtrapolation.data.combine import subset_store
from fluxtrapolation.data.manifest import Source, read_manifest, utc_now, write_manifest
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from tiny import tiny_frame, tiny_record, write_tiny_store

SITES = ("DD-Fou", "AA-One", "CC-Thr", "BB-Two")


def opened(path: Path) -> StoreWriter:
    source = Source(name="tiny", kind="table", location="tests", retrieved=utc_now(), package_version="0")
    return StoreWriter(path, targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=source)


def add(made: StoreWriter, sites: Sequence[str]) -> None:
    for site in sites:
        made.add(tiny_record(site), tiny_frame(site, hours=48), notes=[f"a note on {site}, ü"])


def as_killed(made: StoreWriter, path: Path) -> Path:
    """A copy of what a writer has on the disk at this moment; the writer is let go afterwards."""
    shutil.copytree(made.path, path, ignore=shutil.ignore_patterns(".lock"))
    return path


def quiet(path: Path) -> Store:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        return Store(path)


def content(path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Every file but the manifest; and the manifest without its times."""
    files = {p.name: p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != "manifest.json"}
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["created"], manifest["sha256"], manifest["sources"][0]["retrieved"]
    return files, manifest


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    with opened(tmp_path / "whole") as made:
        add(made, SITES)
    return tmp_path / "whole"


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Three of four towers are done."""
    made = opened(tmp_path / "running")
    add(made, SITES[:3])
    copy = as_killed(made, tmp_path / "killed")
    made.close()
    return copy


def finish(path: Path) -> None:
    with opened(path) as made:
        add(made, [site for site in SITES if site not in made.done])


class TestHalfFinished:
    def test_a_reader_sees_every_tower_that_is_done(self, killed: Path) -> None:
        assert json.loads((killed / "manifest.json").read_text())["sites"] == {}
        with pytest.warns(FluxtrapolationWarning, match="was interrupted after 3 sites. Run the same command again"):
            store = Store(killed)
        assert sorted(store.site_ids) == sorted(SITES[:3])
        assert store.read_site("AA-One").height == 48
        assert store.manifest.sites["AA-One"].notes == ("a note on AA-One, ü",)
        assert store.info()["complete"] is False
        assert store.verify() == ["manifest.json: the import was interrupted; run the same command again to finish it"]

    def test_the_next_writer_skips_what_is_done_and_the_end_is_the_same(self, killed: Path, whole: Path) -> None:
        with opened(killed) as made:
            assert made.done == frozenset(SITES[:3])
            assert len(json.loads((killed / "manifest.json").read_text())["sites"]) == 3  # folded in
            assert not (killed / "manifest.journal").exists()
            add(made, SITES[3:])
        assert content(killed) == content(whole)
        assert Store(killed).verify() == []

    @pytest.mark.parametrize("torn", [1, 2, 40, 200])
    def test_a_torn_last_line_costs_one_tower(self, killed: Path, whole: Path, torn: int) -> None:
        path = killed / "manifest.journal"
        text = path.read_bytes()
        path.write_bytes(text[:-torn])
        left = 3 if torn == 1 else 2  # the first byte from behind is only the line's end
        assert len(quiet(killed).site_ids) == left
        finish(killed)
        assert content(killed) == content(whole)

    def test_a_torn_first_line_is_no_journal(self, killed: Path, whole: Path) -> None:
        path = killed / "manifest.journal"
        path.write_bytes(path.read_bytes()[:30])
        assert quiet(killed).site_ids == ()
        finish(killed)
        assert content(killed) == content(whole)

    @pytest.mark.parametrize("damage", ["gone", "short"])
    def test_a_line_without_its_whole_file_counts_for_nothing(self, killed: Path, whole: Path, damage: str) -> None:
        file = killed / "sites" / "AA-One.parquet"
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(b"")  # after a power failure
        assert sorted(quiet(killed).site_ids) == ["CC-Thr", "DD-Fou"]
        finish(killed)
        assert content(killed) == content(whole)

    def test_a_line_of_another_version_is_read_again(self, killed: Path, whole: Path) -> None:
        path = killed / "manifest.journal"
        path.write_text(path.read_text().replace('"CC-Thr": {"record"', '"CC-Thr": {"new": 1, "record"'))
        assert sorted(quiet(killed).site_ids) == ["AA-One", "DD-Fou"]
        finish(killed)
        assert content(killed) == content(whole)

    def test_close_without_finish_leaves_no_journal(self, tmp_path: Path) -> None:
        made = opened(tmp_path / "s")
        add(made, SITES[:2])
        made.close()
        assert not (tmp_path / "s" / "manifest.journal").exists()
        assert len(json.loads((tmp_path / "s" / "manifest.json").read_text())["sites"]) == 2

    def test_failures_are_kept_and_end_when_the_tower_is_read(self, tmp_path: Path) -> None:
        made = opened(tmp_path / "s")
        made.fail("AA-One", "no time")
        made.fail("BB-Two", "no place")
        add(made, ["AA-One"])
        copy = as_killed(made, tmp_path / "copy")
        made.forget_failures()
        later = as_killed(made, tmp_path / "later")
        made.close()
        assert quiet(copy).manifest.failures == {"BB-Two": "no place"}
        assert quiet(later).manifest.failures == {}

    def test_adopted_towers_are_in_it_one_by_one(self, tmp_path: Path, whole: Path) -> None:
        origin, made = Store(whole), opened(tmp_path / "s")
        for site in SITES[:2]:
            made.adopt(origin.manifest.sites[site], origin.file_of(site))
        copy = as_killed(made, tmp_path / "copy")
        made.close()
        assert set(quiet(copy).site_ids) == set(SITES[:2])


class TestFinishedStore:
    def test_a_journal_of_an_earlier_manifest_counts_for_nothing(self, tmp_path: Path, killed: Path) -> None:
        """Killed after the manifest was written, before the journal was taken away."""
        late = (killed / "manifest.journal").read_bytes()
        finish(killed)
        (killed / "manifest.journal").write_bytes(late)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            store = Store(killed)
        assert len(store.site_ids) == 4 and store.manifest.complete
        with opened(killed) as made:
            assert made.complete
        assert not (killed / "manifest.journal").exists()

    def test_adding_makes_it_unfinished_until_it_is_finished_again(self, tmp_path: Path, whole: Path) -> None:
        made = opened(whole)
        assert made.complete
        add(made, ["EE-Fiv"])
        assert not made.complete
        copy = as_killed(made, tmp_path / "copy")
        made.close()
        assert len(quiet(copy).site_ids) == 5 and not quiet(copy).manifest.complete

    def test_a_manifest_changed_by_hand_is_told_still(self, killed: Path) -> None:
        path = killed / "manifest.json"
        path.write_text(path.read_text().replace('"location": "tests"', '"location": "attic"'))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            store = Store(killed)
        assert len(store.site_ids) == 3
        assert "was changed after it was written" in str(told[0].message)
        assert "is not complete" in str(told[1].message)

    def test_opening_a_finished_store_writes_nothing(self, whole: Path) -> None:
        before = (whole / "manifest.json").stat()
        opened(whole).close()
        after = (whole / "manifest.json").stat()
        assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)

    def test_who_writes_a_manifest_ends_the_journal(self, killed: Path) -> None:
        manifest, _ = read_manifest(killed)
        write_manifest(killed, manifest.model_copy(update={"package_version": "1"}))
        assert len(quiet(killed).site_ids) == 3


@pytest.mark.parametrize("sites", [3, 9])
def test_the_manifest_is_written_twice_however_many_towers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sites: int
) -> None:
    written: list[Path] = []
    real = writer.write_manifest

    def counting(folder: Path, *rest: Any) -> str:
        written.append(folder)
        return real(folder, *rest)

    monkeypatch.setattr(writer, "write_manifest", counting)
    store = write_tiny_store(tmp_path / "s", [f"AA-{number:03d}" for number in range(sites)], hours=24)
    assert len(written) == 2
    written.clear()
    subset_store(store, tmp_path / "part")  # takes every file over
    assert len(written) == 2


def test_a_disk_that_is_full_at_the_journal_costs_that_tower_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(tmp_path / "s")
    add(made, SITES[:1])
    real = journal._write

    def full(handle: FileIO, value: dict[str, Any]) -> None:
        handle.write(journal._line(value)[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "_write", full)
    with pytest.raises(DataError, match="disk is full") as told:
        add(made, SITES[1:2])
    assert isinstance(told.value.__cause__, OSError)
    assert made.done == {SITES[0]}
    monkeypatch.setattr(journal, "_write", real)
    add(made, SITES[2:3])
    assert set(quiet(as_killed(made, tmp_path / "copy")).site_ids) == {SITES[0], SITES[2]}
    made.close()


class TestReplacedAndLost:
    def test_killed_while_a_tower_is_replaced(
        self, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The new file stands, its line is not written yet: nobody may take it for what the manifest describes."""
        made = opened(whole)
        real, kept = made._note, tmp_path / "copy"

        def killed(*rest: Any, **named: Any) -> None:
            as_killed(made, kept)
            real(*rest, **named)

        monkeypatch.setattr(made, "_note", killed)
        made.add(tiny_record("AA-One"), tiny_frame("AA-One", hours=24))
        made.close()
        assert set(quiet(kept).site_ids) == set(SITES) - {"AA-One"} and not quiet(kept).manifest.complete
        finish(kept)  # the tower is read again
        assert Store(kept).verify() == []
        assert Store(kept).record("AA-One").hours == 48
        assert quiet(whole).record("AA-One").hours == 24

    def test_a_replacement_that_cannot_be_written_leaves_the_old_tower(
        self, whole: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = opened(whole)

        def full(*_: Any) -> None:
            raise DataError("The disk is full")

        monkeypatch.setattr(writer, "write_bytes_atomic", full)
        with pytest.raises(DataError, match="disk is full"):
            made.add(tiny_record("AA-One"), tiny_frame("AA-One", hours=24))
        monkeypatch.undo()
        made.finish()
        assert Store(whole).verify() == [] and Store(whole).record("AA-One").hours == 48

    @pytest.mark.parametrize("damage", ["gone", "cut"])
    def test_a_lost_file_is_read_again(self, whole: Path, damage: str) -> None:
        identity, file = Store(whole).data_hash, whole / "sites" / "BB-Two.parquet"
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:-1])
        with pytest.warns(
            FluxtrapolationWarning, match=r"has lost the files of 1 of its 4 towers: BB-Two\. Those that"
        ):
            made = opened(whole)
        assert made.done == set(SITES) - {"BB-Two"} and not made.complete
        made.close()
        finish(whole)
        assert Store(whole).verify() == [] and Store(whole).data_hash == identity

"""The store's folder: overwriting, kill windows, two writers, places that cannot be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from fluxtrapolation.data import writer as writing_room
from fluxtrapolation.data.checks import check_site_id
from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, MissingColumnError, SchemaVersionError
from tiny import tiny_frame, tiny_record


def _writer(path: Path, *, version: str = "0", overwrite: bool = False, **options: object) -> StoreWriter:
    source = Source(
        name="t", kind="table", location="here", retrieved=utc_now(), package_version=version, options=options
    )
    columns = {"targets": ["GPP", "NEE"], "covariates": ["TA", "VPD", "SW_IN"]}
    return StoreWriter(path, **columns, source=source, overwrite=overwrite)


def _add(writer: StoreWriter, *sites: str, hours: int = 60) -> StoreWriter:
    for site in sites:
        writer.add(tiny_record(site), tiny_frame(site, hours=hours))
    return writer


def _made(path: Path, *sites: str, **options: object) -> Store:
    return _add(_writer(path, **options), *sites).finish()


class TestOverwrite:
    def test_the_old_store_stands_until_the_new_one_is_finished(self, tmp_path: Path) -> None:
        old = _made(tmp_path / "s", "AA-One")
        (tmp_path / "s" / "notes.txt").write_text("mine")
        writer = _add(_writer(tmp_path / "s", overwrite=True, rule="new"), "BB-Two")
        assert Store(tmp_path / "s").verify() == []
        assert Store(tmp_path / "s").data_hash == old.data_hash
        new = writer.finish()
        assert new.path == tmp_path / "s"
        assert new.site_ids == ("BB-Two",)
        assert new.verify() == []
        assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]
        # what a person laid there is no part of the store and stays
        assert sorted(p.name for p in new.path.iterdir()) == ["manifest.json", "notes.txt", "sites", "sites.parquet"]

    def test_a_failed_one_leaves_the_old_store(self, tmp_path: Path) -> None:
        old = _made(tmp_path / "s", "AA-One")
        _writer(tmp_path / "s", overwrite=True, rule="new").discard()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]
        assert old.verify() == []
        assert _made(tmp_path / "s", "AA-One", "BB-Two").site_ids == ("AA-One", "BB-Two")

    def test_an_interrupted_one_goes_on(self, tmp_path: Path) -> None:
        _made(tmp_path / "s", "AA-One")
        _add(_writer(tmp_path / "s", overwrite=True, rule="new"), "BB-Two").close()
        writer = _writer(tmp_path / "s", overwrite=True, rule="new")
        assert writer.done == {"BB-Two"} and not writer.complete
        writer.close()
        # another overwriting begins afresh
        assert _writer(tmp_path / "s", overwrite=True, rule="third").done == frozenset()

    @pytest.mark.parametrize("step", [1, 2])
    def test_killed_in_the_exchange(self, tmp_path: Path, step: int) -> None:
        _made(tmp_path / "s", "AA-One")
        _add(_writer(tmp_path / "s", overwrite=True, rule="new"), "BB-Two").close()
        (tmp_path / "s").rename(tmp_path / ".s.old")
        if step == 2:
            (tmp_path / ".s.new").rename(tmp_path / "s")
        store = _add(_writer(tmp_path / "s", overwrite=True, rule="new"), "BB-Two").finish()
        assert store.site_ids == ("BB-Two",)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]

    def test_a_damaged_store_can_be_replaced(self, tmp_path: Path) -> None:
        _made(tmp_path / "s", "AA-One")
        (tmp_path / "s" / "manifest.json").write_text("{")
        assert _made(tmp_path / "s", "BB-Two", overwrite=True).site_ids == ("BB-Two",)


class TestKillWindows:
    @pytest.mark.parametrize("left", [".manifest.json.77.tmp", "sites/AA-One.parquet", "sites.parquet", ".lock"])
    def test_our_own_leftovers_are_no_obstacle(self, tmp_path: Path, left: str) -> None:
        (tmp_path / "s" / "sites").mkdir(parents=True)
        (tmp_path / "s" / left).write_bytes(b"half")
        assert _made(tmp_path / "s", "BB-Two").verify() == []

    @pytest.mark.parametrize("other", ["thesis.docx", "sites/thesis.docx"])
    def test_other_files_are(self, tmp_path: Path, other: str) -> None:
        (tmp_path / "s" / "sites").mkdir(parents=True)
        (tmp_path / "s" / other).write_bytes(b"mine")
        with pytest.raises(DataError, match="not empty and not a store"):
            _writer(tmp_path / "s")
        assert (tmp_path / "s" / other).read_bytes() == b"mine"

    def test_an_extended_store_is_unfinished_until_it_is_finished(self, tmp_path: Path) -> None:
        _made(tmp_path / "s", "AA-One")
        writer = _add(_writer(tmp_path / "s"), "BB-Two")
        with pytest.warns(FluxtrapolationWarning, match="not complete"):
            Store(tmp_path / "s")
        assert writer.finish().manifest.complete
        with pytest.raises(DataError, match="is finished"):
            _add(writer, "CC-Thr")


class TestTwoWriters:
    def test_the_second_is_refused_and_the_first_loses_nothing(self, tmp_path: Path) -> None:
        first = _add(_writer(tmp_path / "s"), "AA-One")
        stray = tmp_path / "s" / "sites" / ".BB-Two.parquet.1.tmp"
        stray.write_bytes(b"")
        for overwrite in (False, True):
            with pytest.raises(DataError, match="Another import is writing"):
                _writer(tmp_path / "s", overwrite=overwrite)
        store = _add(first, "BB-Two").finish()
        assert store.verify() == [] and store.site_ids == ("AA-One", "BB-Two")
        assert not stray.exists() and not (tmp_path / "s" / ".lock").exists()
        _writer(tmp_path / "s").close()

    def test_the_system_lets_go_when_a_writer_dies(self, tmp_path: Path) -> None:
        code = f"""
import os, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from pathlib import Path
from test_store_folder import _add, _writer
writer = _add(_writer(Path({str(tmp_path / "s")!r})), "AA-One")
os._exit(0)
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        assert (tmp_path / "s" / ".lock").exists()
        assert _add(_writer(tmp_path / "s"), "BB-Two").finish().site_ids == ("AA-One", "BB-Two")

    def test_a_file_system_without_locks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fcntl = pytest.importorskip("fcntl")

        def unknown(*_: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", unknown)
        assert _made(tmp_path / "s", "AA-One").verify() == []


class TestPlaces:
    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "afile").write_text("x")
        with pytest.raises(DataError, match="cannot be written"):
            _writer(tmp_path / "afile" / "x")

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_read_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool) -> None:
        _made(tmp_path / "s", "AA-One")

        def denied(self: Path, *_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "mkdir", denied)
        with pytest.raises(DataError, match=r"cannot be written .Permission denied"):
            _writer(tmp_path / "s", overwrite=overwrite)

    def test_unreadable_manifest_and_site_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = _made(tmp_path / "s", "AA-One")

        def denied(self: Path, *_: object, **__: object) -> bytes:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", denied)
        assert "sites/AA-One.parquet: cannot be read (Permission denied)" in store.verify()
        monkeypatch.undo()
        monkeypatch.setattr(Path, "read_bytes", denied)
        with pytest.raises(DataError, match=r"manifest\.json cannot be read .Permission denied"):
            Store(tmp_path / "s")

    def test_brackets_and_stars_in_the_path(self, tmp_path: Path) -> None:
        store = _made(tmp_path / "a[b]*?", "AA-One")
        assert store.read_site("AA-One").height == 60
        assert store.scan().collect().height == 60

    def test_no_far_fetched_suggestions(self, tmp_path: Path) -> None:
        (tmp_path / "world").mkdir()
        (tmp_path / "towers").mkdir()
        with pytest.raises(DataError) as caught:
            Store(tmp_path / "word2")
        assert "Did you mean" not in str(caught.value)
        with pytest.raises(DataError, match="Did you mean 'towers'"):
            Store(tmp_path / "tower")


class TestManifest:
    def _changed(self, path: Path, **changes: object) -> Path:
        _made(path, "AA-One")
        body = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps({**body, **changes}))
        return path

    @pytest.mark.parametrize("version", [99, "99", 99.0, "99.5"])
    def test_a_newer_schema_however_it_is_written(self, tmp_path: Path, version: object) -> None:
        with pytest.raises(SchemaVersionError, match="Upgrade"):
            Store(self._changed(tmp_path / "s", schema_version=version))

    @pytest.mark.parametrize("version", ["1", 1.0, "one", None, True, 0])
    def test_a_schema_version_that_is_no_whole_number(self, tmp_path: Path, version: object) -> None:
        with pytest.raises(DataError, match="schema_version is"):
            Store(self._changed(tmp_path / "s", schema_version=version))

    @pytest.mark.parametrize("file", ["../secret.parquet", "/etc/passwd", "sites/../../x", "sites\\x", "C:/x", ""])
    def test_files_outside_the_store(self, tmp_path: Path, file: str) -> None:
        path = tmp_path / "s"
        _made(path, "AA-One")
        body = json.loads((path / "manifest.json").read_text())
        body["sites"]["AA-One"]["file"] = file
        (path / "manifest.json").write_text(json.dumps(body))
        with pytest.raises(DataError, match="no path inside the store"):
            Store(path)

    def test_a_site_id_that_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        _made(path, "AA-One")
        text = (path / "manifest.json").read_text()
        (path / "manifest.json").write_text(text.replace('"site_id": "AA-One"', '"site_id": "../AA"'))
        with pytest.raises(DataError, match=r"manifest\.json is malformed: '../AA' is no usable site id"):
            Store(path)

    def test_manifests_without_hashes_of_source_files_open(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        _made(path, "AA-One")
        body = json.loads((path / "manifest.json").read_text())
        assert body["sites"]["AA-One"].pop("source_sha256") is None
        (path / "manifest.json").write_text(json.dumps(body))
        with pytest.warns(FluxtrapolationWarning, match="own checksum"):
            assert Store(path).site_ids == ("AA-One",)

    def test_another_version_of_the_package_goes_on(self, tmp_path: Path) -> None:
        _made(tmp_path / "s", "AA-One", version="0.1")
        assert _writer(tmp_path / "s", version="0.2").done == {"AA-One"}

    def test_the_option_that_differs_is_named(self, tmp_path: Path) -> None:
        _made(tmp_path / "s", "AA-One", qc="good", gpp="nt")
        with pytest.raises(DataError, match=r"other options: qc is 'good' there and 'measured' now\. Choose"):
            _writer(tmp_path / "s", qc="measured", gpp="nt")


@pytest.mark.parametrize("name", ["", ".x", "a/b", "a b", "ä", "x" * 65, "a\n", "..", "a:b"])
def test_site_ids_that_make_no_file_name(name: str) -> None:
    with pytest.raises(DataError, match="no usable site id"):
        check_site_id(name)
    with pytest.raises(DataError, match="no usable site id"):
        tiny_record(name)


@pytest.mark.parametrize("name", ["DE-Tha", "a", "x" * 64, "US_1.b", "-"])
def test_site_ids_that_do(name: str) -> None:
    assert check_site_id(name) == name


BAD_TABLES = {
    "half a flag": (lambda f: f.with_columns(qc_mask=pl.lit(0.5)), "neither 0 nor 1 .first: 0.5"),
    "a large flag": (lambda f: f.with_columns(qc_mask=pl.lit(256)), "neither 0 nor 1 .first: 256"),
    "no flag": (lambda f: f.with_columns(qc_mask=pl.lit(None, pl.Int8)), "neither 0 nor 1 .first: None"),
    "flags in words": (lambda f: f.with_columns(qc_mask=pl.lit("good")), "qc_mask is of type String"),
    "a zone": (lambda f: f.with_columns(pl.col("time").dt.replace_time_zone("UTC")), "is in the zone UTC"),
    "no time": (lambda f: f.with_columns(time=pl.int_range(pl.len())), "not a date and time"),
    "words": (lambda f: f.with_columns(TA=pl.lit("warm")), "not all columns are numbers .*warm"),
    "lists": (lambda f: f.with_columns(TA=pl.lit([1.0])), "not all columns are numbers"),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_tables_that_a_cast_would_bend(tmp_path: Path, what: str) -> None:
    spoil, message = BAD_TABLES[what]
    with pytest.raises(DataError, match=f"^Site AA-One.*{message}"):
        _writer(tmp_path / "s").add(tiny_record("AA-One"), spoil(tiny_frame("AA-One", hours=60)))


def test_a_nan_covariate_is_told_once(tmp_path: Path) -> None:
    frame = tiny_frame("AA-One", hours=60).with_columns(TA=pl.lit(float("nan")), VPD=pl.lit(float("inf")))
    with pytest.raises(DataError) as caught:
        _add(_writer(tmp_path / "s")).add(tiny_record("AA-One"), frame)
    assert str(caught.value).count("of TA ") + str(caught.value).count("covariate TA") == 1
    assert "60 of 60 values of VPD lie outside" in str(caught.value)


def test_the_unit_of_vpd_is_judged_from_100_hours(tmp_path: Path) -> None:
    frame = tiny_frame("AA-One", hours=120).with_columns(pl.col("VPD") / 10)
    with pytest.raises(DataError, match="kPa"):
        _writer(tmp_path / "s").add(tiny_record("AA-One"), frame)


def test_a_store_without_targets_says_so(tmp_path: Path) -> None:
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    with StoreWriter(tmp_path / "s", targets=[], covariates=["TA"], source=source) as writer:
        writer.add(tiny_record("AA-One"), tiny_frame("AA-One", hours=60))
    with pytest.raises(MissingColumnError, match="no target at all"):
        Store(tmp_path / "s").need_target("GPP")


def test_a_failed_exchange_puts_the_old_store_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _made(tmp_path / "s", "AA-One")
    writer = _add(_writer(tmp_path / "s", overwrite=True, rule="new"), "BB-Two")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == ".s.new":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        writer.finish()
    writer.close()
    monkeypatch.undo()
    assert Store(tmp_path / "s").data_hash == old.data_hash
    assert writing_room.beside(tmp_path / "s", "new").is_dir()

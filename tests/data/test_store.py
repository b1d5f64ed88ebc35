"""The store: atomic, resumable, verifiable, lazily read."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import (
    DataError,
    FluxtrapolationWarning,
    MissingColumnError,
    SchemaVersionError,
    UnitError,
)
from tiny import tiny_frame, tiny_record, write_tiny_store


def _source(**options: object) -> Source:
    return Source(name="test", kind="table", location="here", retrieved=utc_now(), package_version="0", options=options)


def _writer(path: Path, **more: object) -> StoreWriter:
    return StoreWriter(path, targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=_source(), **more)  # type: ignore[arg-type]


def test_round_trip_keeps_every_value(tmp_path: Path) -> None:
    frame = tiny_frame("AA-One")
    with _writer(tmp_path / "s") as writer:
        writer.add(tiny_record("AA-One"), frame)
    store = Store(tmp_path / "s")
    back = store.read_site("AA-One")
    assert back.columns == ["time", "TA", "VPD", "SW_IN", "GPP", "NEE", "qc_mask"]
    assert back["time"].to_list() == frame["time"].to_list()
    for name in ("TA", "VPD", "SW_IN", "GPP", "NEE"):
        assert back[name].dtype == pl.Float32
        assert back[name].equals(frame[name].cast(pl.Float32), null_equal=True)
    assert back["qc_mask"].to_list() == frame["qc_mask"].to_list()


def test_site_table_counts_what_was_written(tiny_store: Store) -> None:
    table = tiny_store.sites
    assert table["site_id"].to_list() == sorted(table["site_id"].to_list())
    for row in table.iter_rows(named=True):
        frame = tiny_store.read_site(row["site_id"])
        assert row["hours"] == frame.height
        assert row["measured_hours"] == int((frame["qc_mask"] == 1).sum())
        assert row["first_hour"] == frame["time"][0]
        assert row["last_hour"] == frame["time"][-1]
    assert pl.read_parquet(tiny_store.path / "sites.parquet").equals(table)


def test_info_has_the_documented_keys(tiny_store: Store) -> None:
    info = tiny_store.info()
    assert {"sites", "resolution", "rows", "measured", "targets", "covariates", "first", "last", "sources"} <= set(info)
    assert info["sites"] == 6
    assert info["rows"] == 6 * 24 * 400
    assert info["targets"] == ["GPP", "NEE"]
    assert info["covariates"] == ["TA", "VPD", "SW_IN"]
    assert info["first"] == "2015-01-01T00:00:00"
    json.dumps(info)


def test_missing_target_lists_what_exists(tiny_store: Store) -> None:
    with pytest.raises(MissingColumnError, match=r"no ET.*GPP, NEE"):
        tiny_store.need_target("ET")
    with pytest.raises(MissingColumnError, match=r"Did you mean 'GPP'"):
        tiny_store.need_target("gpp")
    with pytest.raises(MissingColumnError, match=r"no column EVI.*holds: time, TA"):
        tiny_store.read_site("AA-One", ["EVI"])
    with pytest.raises(DataError, match=r"AA-Onn.*Did you mean 'AA-One'"):
        tiny_store.read_site("AA-Onn")


def test_reading_by_site_column_and_time(tiny_store: Store) -> None:
    start, end = datetime(2015, 3, 1), datetime(2015, 4, 1)
    one = tiny_store.read_site("BB-Two", ["GPP"], start=start, end=end)
    assert one.columns == ["GPP"]
    assert one.height == 31 * 24
    lazy = tiny_store.scan(["AA-One", "BB-Two"], ["time", "GPP"], start=start, end=end)
    assert isinstance(lazy, pl.LazyFrame)
    both = lazy.collect()
    assert both.columns == ["site_id", "time", "GPP"]
    assert both.height == 2 * 31 * 24
    assert both.filter(pl.col("site_id") == "BB-Two")["GPP"].equals(one["GPP"], null_equal=True)


def test_verify_names_the_file_with_a_flipped_byte(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "s", hours=100)
    assert store.verify() == []
    for name in ("sites/CC-Thr.parquet", "sites.parquet"):
        file = store.path / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        problems = Store(store.path).verify()
        assert len(problems) == 1
        assert problems[0].startswith(f"{name}:")
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    manifest = store.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"lat": 10.0', '"lat": 11.0'))
    with pytest.warns(FluxtrapolationWarning, match="does not match its own checksum"):
        assert Store(store.path).verify()[0].startswith("manifest.json:")


def test_verify_finds_missing_truncated_and_stray_files(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "s", hours=100)
    (store.path / "sites/AA-One.parquet").unlink()
    file = store.path / "sites/BB-Two.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    (store.path / "sites/ZZ-Zzz.parquet").write_bytes(b"x")
    text = "\n".join(store.verify())
    assert "sites/AA-One.parquet: missing" in text
    assert "sites/BB-Two.parquet:" in text
    assert "sites/ZZ-Zzz.parquet: not in the manifest" in text


def test_newer_schema_version_is_refused(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "s", hours=100)
    file = store.path / "manifest.json"
    body = json.loads(file.read_text())
    body["schema_version"] = 99
    body["a_future_field"] = 1
    file.write_text(json.dumps(body))
    with pytest.raises(SchemaVersionError, match=r"schema version 99.*Upgrade"):
        Store(store.path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "other"}', '{"format": "fluxtrapolation-store"}'])
def test_damaged_manifest_is_a_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        Store(tmp_path)


def test_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Store(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"is not a store.*data import"):
        Store(tmp_path)


_KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from tiny import tiny_frame, tiny_record
from fluxtrapolation.data.manifest import Source
from fluxtrapolation.data.writer import StoreWriter
from datetime import datetime, UTC
source = Source(name="k", kind="table", location="here", retrieved=datetime.now(UTC), package_version="0")
with StoreWriter(Path({path!r}), targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=source) as writer:
    for i in range(60):
        site = f"KK-{{i:03d}}"
        if site not in writer.done:
            writer.add(tiny_record(site), tiny_frame(site, hours=24 * 200))
        print(site, flush=True)
"""


@pytest.mark.slow
def test_killed_writer_leaves_a_store_that_opens_and_a_rerun_completes_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    code = _KILLED.format(tests=str(Path(__file__).parents[1]), path=str(path))
    for sites_before_kill in (1, 7, 20):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(sites_before_kill):
            process.stdout.readline()
        time.sleep(0.01)  # let it get into the middle of the next site
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.warns(FluxtrapolationWarning, match="not complete"):
            store = Store(path)
        assert len(store.site_ids) >= sites_before_kill
        for site in store.site_ids:
            assert store.read_site(site).height == 24 * 200
        # only the interruption itself and a site written but not yet listed may be reported
        assert all("interrupted" in problem for problem in store.verify())
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    done = Store(path)
    assert len(done.site_ids) == 60
    assert done.verify() == []


def test_full_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = _writer(tmp_path / "s")
    writer.add(tiny_record("AA-One"), tiny_frame("AA-One", hours=100))
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if "BB-Two" in self.name:
            write(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"disk is full.*BB-Two.*run\s+the same command again"):
        writer.add(tiny_record("BB-Two"), tiny_frame("BB-Two", hours=100))
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "s" / "sites").iterdir()] == ["AA-One.parquet"]
    with pytest.warns(FluxtrapolationWarning):
        assert Store(tmp_path / "s").site_ids == ("AA-One",)
    writer.add(tiny_record("BB-Two"), tiny_frame("BB-Two", hours=100))
    assert writer.finish().site_ids == ("AA-One", "BB-Two")


def test_other_source_is_refused_unless_overwritten(tmp_path: Path) -> None:
    with _writer(tmp_path / "s") as writer:
        writer.add(tiny_record("AA-One"), tiny_frame("AA-One", hours=100))
    with pytest.raises(
        DataError, match=r"other options: covariates is 'TA, VPD, SW_IN' there and 'TA' now\..*--overwrite"
    ):
        StoreWriter(tmp_path / "s", targets=["GPP", "NEE"], covariates=["TA"], source=_source())
    again = _writer(tmp_path / "s")
    assert again.done == {"AA-One"}
    assert again.complete
    again.close()
    assert _writer(tmp_path / "s", overwrite=True).done == frozenset()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.docx").write_text("x")
    with pytest.raises(DataError, match="not empty and not a store"):
        _writer(tmp_path / "full")


BAD = {
    "kelvin": (lambda f: f.with_columns(pl.col("TA") + 273.15), UnitError, r"TA looks like kelvin.*Subtract 273.15"),
    "kPa": (lambda f: f.with_columns(pl.col("VPD") / 10), UnitError, r"VPD looks like kPa.*Multiply VPD by 10"),
    "Pa": (lambda f: f.with_columns(pl.col("VPD") * 100), UnitError, r"VPD looks like Pa.*Divide VPD by 100"),
    "duplicate": (
        lambda f: pl.concat([f[:50], f[49:]]),
        DataError,
        r"1 hours appear more than once \(first: 2015-01-03 01:00:00\)",
    ),
    "backwards": (
        lambda f: pl.concat([f[50:], f[:50]]),
        DataError,
        r"time runs backwards at 1 places.*Sort the rows by time",
    ),
    "half hour": (
        lambda f: f.with_columns(pl.col("time").dt.offset_by("30m")),
        DataError,
        r"9,600 of 9,600 times are not full hours \(first: 2015-01-01 00:30:00\)",
    ),
    "NaN": (
        lambda f: f.with_columns(
            pl.when(pl.int_range(pl.len()) == 7).then(float("nan")).otherwise("SW_IN").alias("SW_IN")
        ),
        DataError,
        r"covariate SW_IN is missing in 1 of 9,600 hours \(first: 2015-01-01 07:00:00\)",
    ),
    "impossible": (
        lambda f: f.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(-9999.0).otherwise("GPP").alias("GPP")),
        DataError,
        r"1 of 9,600 values of GPP lie outside -200 to 250.*first: -9999 at 2015-01-01 03:00:00",
    ),
    "flag": (lambda f: f.with_columns(qc_mask=pl.lit(2)), DataError, r"9,600 values of qc_mask are neither 0 nor 1"),
    "empty": (lambda f: f[:0], DataError, r"the table has no rows"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_with_the_fix(tmp_path: Path, what: str) -> None:
    spoil, kind, message = BAD[what]
    writer = _writer(tmp_path / "s")
    with pytest.raises(kind, match=message):
        writer.add(tiny_record("AA-One"), spoil(tiny_frame("AA-One")))
    assert writer.done == frozenset()
    assert not list((tmp_path / "s").glob("sites/*"))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    frame = tiny_frame("AA-One").with_columns(SW_IN=pl.lit(5000.0), GPP=pl.lit(999.0))
    with pytest.raises(DataError) as caught:
        _writer(tmp_path / "s").add(tiny_record("AA-One"), frame)
    assert "SW_IN lie outside" in str(caught.value)
    assert "GPP lie outside" in str(caught.value)


def test_cold_dry_tower_with_small_vpd_passes(tmp_path: Path) -> None:
    """SJ-Blv never exceeds 5.4 hPa, and is right: its saturation pressure is low too."""
    frame = tiny_frame("AA-One").with_columns(
        TA=pl.col("TA") - 22.0,
        VPD=pl.Series(np.clip(np.abs(np.sin(np.arange(9600))) * 2.7, 0.05, 5.4)),
    )
    with _writer(tmp_path / "s") as writer:
        writer.add(tiny_record("AA-One"), frame)
    assert Store(tmp_path / "s").site_ids == ("AA-One",)


def test_sites_need_coordinates_and_a_known_class(tmp_path: Path) -> None:
    writer = _writer(tmp_path / "s")
    with pytest.raises(DataError, match=r"AA-One has no coordinates.*--sites-table"):
        writer.add(tiny_record("AA-One", lat=float("nan")), tiny_frame("AA-One"))
    with pytest.raises(DataError, match=r"unknown IGBP class 'GRS'.*Did you mean 'GRA'"):
        writer.add(tiny_record("AA-One", igbp="GRS"), tiny_frame("AA-One"))
    with pytest.raises(DataError, match="not on the globe"):
        writer.add(tiny_record("AA-One", lat=95.0), tiny_frame("AA-One"))

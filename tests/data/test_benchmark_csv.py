"""Benchmark CSV files in and out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.importers import import_towers
from fluxtrapolation.data.importers.benchmark_csv import estimate_utc_offset, export_benchmark_csv
from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.solar import potential_radiation, solar_covariates
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationError
from tiny import tiny_frame, tiny_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    covariates = ["TA", "VPD", "SW_IN", "SW_IN_POT_hourly"]
    with StoreWriter(tmp_path / "s", targets=["GPP", "NEE", "ET"], covariates=covariates, source=source) as writer:
        for site, igbp, lat, lon in (("DE-Hai", "DBF", 51.08, 10.45), ("AU-Dry", "SAV", -15.26, 132.37)):
            frame = tiny_frame(site, hours=24 * 60, targets=["GPP", "NEE", "ET"])
            sun = solar_covariates(frame["time"].to_numpy(), lat=lat, lon=lon, utc_offset_h=1.0 if lat > 0 else 9.5)
            writer.add(
                tiny_record(site, igbp=igbp, lat=lat, lon=lon).model_copy(
                    update={"utc_offset_h": 1.0 if lat > 0 else 9.5}
                ),
                frame.with_columns(SW_IN_POT_hourly=pl.Series(sun["SW_IN_POT_hourly"])),
            )
    return Store(tmp_path / "s")


def test_round_trip_gives_equal_values_and_facts(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    header = (folder / "DE-Hai.csv").read_text().splitlines()[0].split(",")
    assert header[0] == "time"
    assert {"PFT_DBF", "PFT_SAV", "year", "qc_mask", "tower_lat", "tower_lon"} <= set(header)
    first = (folder / "DE-Hai.csv").read_text().splitlines()[1]
    assert first.startswith("2015-01-01 00:00:00,")
    assert "True" in first and "False" in first
    back = import_towers(folder, tmp_path / "back")
    assert back.targets == store.targets
    assert back.covariates == store.covariates
    for site in store.site_ids:
        assert back.read_site(site).equals(store.read_site(site), null_equal=True)
        for fact in ("lat", "lon", "igbp", "utc_offset_h", "hours", "measured_hours"):
            assert getattr(back.record(site), fact) == getattr(store.record(site), fact), fact
    assert any("estimated from SW_IN_POT_hourly" in note for note in back.info()["notes"]["AU-Dry"])


@pytest.mark.parametrize("offset", [-9.5, -3.0, 0.0, 1.0, 5.75, 9.5, 12.0])
def test_utc_offset_is_recovered(offset: float) -> None:
    time = np.datetime64("2018-01-01", "h") + np.arange(8760)
    utc = time.astype("datetime64[s]") - np.timedelta64(int(offset * 3600), "s")
    radiation = potential_radiation(utc, lat=40.0, lon=offset * 15 + 4.0)
    found, rmse = estimate_utc_offset(time, radiation, lat=40.0, lon=offset * 15 + 4.0)
    assert found == offset
    assert rmse < 1e-6


def _spoil(folder: Path, site: str, change: str) -> None:
    file = folder / f"{site}.csv"
    text = file.read_text()
    lines = text.splitlines()
    match change:
        case "empty":
            file.write_text("")
        case "html":
            file.write_text("<!DOCTYPE html><html><body>404</body></html>")
        case "header only":
            file.write_text(lines[0] + "\n")
        case "no qc":
            file.write_text(text.replace("qc_mask", "quality"))
        case "kelvin":
            frame = pl.read_csv(file).with_columns(pl.col("TA") + 273.15)
            frame.write_csv(file)
        case "duplicate":
            file.write_text("\n".join([*lines[:10], lines[9], *lines[10:]]))
        case "shuffled":
            file.write_text("\n".join([lines[0], *lines[20:], *lines[1:20]]))
        case "text":
            file.write_text("\n".join([lines[0], lines[1].replace(lines[1].split(",")[1], "warm"), *lines[2:]]))
        case "bad time":
            file.write_text(text.replace("2015-01-01 05:00:00", "yesterday"))
        case "two classes":
            file.write_text(text.replace("False", "True"))
        case "unknown class":
            file.write_text(text.replace("PFT_DBF", "PFT_DBX"))
        case "missing covariate":
            pl.read_csv(file).with_columns(
                pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise("VPD").alias("VPD")
            ).write_csv(file)


MESSAGES = {
    "empty": "DE-Hai.csv is empty",
    "html": "is a web page",
    "header only": "no rows",
    "no qc": "no column qc_mask",
    "kelvin": "looks like kelvin",
    "duplicate": "1 hours appear more than once",
    "shuffled": "time runs backwards",
    "text": "values of TA are not numbers .first: 'warm'",
    "bad time": "1 of 1,440 times cannot be read",
    "two classes": "2 IGBP classes are marked",
    "unknown class": "unknown IGBP class 'DBX'",
    "missing covariate": "VPD is missing in 3 of 1,440",
}


@pytest.mark.parametrize("change", MESSAGES)
def test_a_bad_file_is_told_and_does_not_stop_the_others(store: Store, tmp_path: Path, change: str) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    _spoil(folder, "DE-Hai", change)
    made = import_towers(folder, tmp_path / "out")
    assert made.site_ids == ("AU-Dry",)
    assert made.verify() == []
    assert re.search(MESSAGES[change], made.manifest.failures["DE-Hai"]), made.manifest.failures


@pytest.mark.parametrize("change", ["empty", "html", "kelvin"])
def test_if_no_file_can_be_read_nothing_is_left_behind(store: Store, tmp_path: Path, change: str) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv", sites=["DE-Hai"])
    _spoil(folder, "DE-Hai", change)
    with pytest.raises(FluxtrapolationError, match=MESSAGES[change]):
        import_towers(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_repaired_file_is_read_when_the_import_is_run_again(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    good = (folder / "DE-Hai.csv").read_text()
    _spoil(folder, "DE-Hai", "duplicate")
    assert import_towers(folder, tmp_path / "out").site_ids == ("AU-Dry",)
    (folder / "DE-Hai.csv").write_text(good)
    made = import_towers(folder, tmp_path / "out")
    assert made.site_ids == ("AU-Dry", "DE-Hai")
    assert made.manifest.failures == {}


def test_missing_places(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        import_towers(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="neither a Zarr store nor CSV files"):
        import_towers(tmp_path / "bare", tmp_path / "out")
    with pytest.raises(DataError, match=r"holds no \.csv file"):
        import_towers(tmp_path / "bare", tmp_path / "out", format="benchmark-csv")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("TRUE", "FALSE"), ("1.0", "0.0"), ("true", "")])
def test_booleans_in_any_spelling(store: Store, tmp_path: Path, yes: str, no: str) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv", sites=["DE-Hai"])
    file = folder / "DE-Hai.csv"
    file.write_text(file.read_text().replace("True", yes).replace("False", no))
    assert import_towers(folder, tmp_path / "out").record("DE-Hai").igbp == "DBF"

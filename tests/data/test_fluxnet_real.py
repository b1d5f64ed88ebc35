"""The genuine 267-column header filled with the Zarr store's numbers: both doors must give the same hours."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fluxnet_maker import as_csv
from numpy.typing import NDArray

pytest.importorskip("zarr", reason="the zarr extra is not installed")

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.importers import fluxnet_archive
from fluxtrapolation.data.importers.fluxnet2015_zarr import import_fluxnet2015_zarr
from fluxtrapolation.data.importers.fluxnet_archive import import_fluxnet
from fluxtrapolation.data.importers.fluxnet_columns import Options
from fluxtrapolation.data.importers.zarr_source import FluxnetZarr
from fluxtrapolation.data.sites import load_sites
from fluxtrapolation.data.solar import potential_radiation
from fluxtrapolation.data.store import Store

pytestmark = [pytest.mark.real, pytest.mark.slow]

SITES = ("AU-Tum", "AU-Wom", "DE-Hai", "US-Ne1")
"""Half-hourly and hourly, southern and northern."""
STORED = {
    "TA_F": "ta",
    "VPD_F": "vpd",
    "SW_IN_F": "sw_in",
    "NEE_VUT_REF": "nee",
    "NEE_VUT_REF_QC": "nee_qc",
    "GPP_NT_VUT_REF": "gpp_nt",
    "GPP_DT_VUT_REF": "gpp_dt",
}
YEARS = 3


@pytest.fixture(scope="module")
def zarr_store(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    source = shared / "data" / "fluxnet2015_dev.zarr"
    folder = tmp_path_factory.mktemp("zarr")
    yield (
        import_fluxnet2015_zarr(source, folder / "good", sites=SITES, jobs=2),
        import_fluxnet2015_zarr(source, folder / "dt", sites=SITES, qc="measured", gpp="dt", jobs=2),
    )


@pytest.fixture(scope="module")
def archive(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One zip a site, the first years of its record in local standard time, stamped with START and END."""
    genuine = next((shared / "data" / "fluxnet_fullset_hh").glob("*.csv"))
    with genuine.open() as handle:
        header = handle.readline().strip().split(",")
    assert len(header) == 267
    zarr = FluxnetZarr(shared / "data" / "fluxnet2015_dev.zarr")
    folder = tmp_path_factory.mktemp("archives")
    for site in SITES:
        facts = load_sites()[site]
        step = facts.native_step_min
        assert step is not None and facts.utc_offset_store_h is not None and facts.true_utc_offset_h is not None
        time, columns = raw_record(zarr, site, step, facts.utc_offset_store_h)
        utc = time.astype("datetime64[s]") - np.timedelta64(round(facts.true_utc_offset_h * 3600), "s")
        columns["SW_IN_POT"] = potential_radiation(utc, lat=facts.lat, lon=facts.lon, hours=step / 60).round(3)
        first = int(str(time[0].astype("datetime64[Y]")))
        label = f"FLX_{site}_FLUXNET2015_FULLSET_{{}}{first}-{first + YEARS - 1}_1-4"
        with zipfile.ZipFile(
            folder / (label.format("") + ".zip"), "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as packed:
            member = label.format("HR_" if step == 60 else "HH_") + ".csv"
            packed.writestr(member, as_csv(time, columns, header=header, step=step))
    return folder


def raw_record(
    zarr: FluxnetZarr, site: str, step: int, store_offset: float
) -> tuple[NDArray[np.datetime64], dict[str, NDArray[Any]]]:
    """Native records of the first years: START stamps of the local standard clock, and physical values."""
    read = {name: zarr.read(site, stored) for name, stored in STORED.items()}
    values = {name: np.where(p.valid, p.stored * p.scale + p.offset, np.nan) for name, p in read.items()}
    known = np.flatnonzero(np.isfinite(values["TA_F"]))
    steps = np.arange(known[0], known[-1] + 1, step // 30)
    local_end = zarr.axis.first + np.timedelta64(round(store_offset * 60), "m") + steps * np.timedelta64(30, "m")
    start = local_end.astype("datetime64[m]") - np.timedelta64(step, "m")
    assert str(start[0])[5:] == "01-01T00:00"
    keep = start < start[0].astype("datetime64[Y]") + YEARS
    return start[keep], {name: column[steps][keep] for name, column in values.items()}


def assert_equal_hours(made: Store, zarr: Store) -> None:
    """Every column of every hour equal, and the same hours."""
    assert made.site_ids == SITES
    for site in SITES:
        mine = made.read_site(site)
        theirs = zarr.read_site(site)
        theirs = theirs.filter(pl.col("time") < pl.lit(theirs["time"][0]).dt.offset_by(f"{YEARS}y"))
        assert mine.height == theirs.height > 8000 * YEARS, site
        assert mine["qc_mask"].sum() > 1000
        for name in theirs.columns:
            assert mine[name].equals(theirs[name], null_equal=True), (site, name)
        assert made.record(site).utc_offset_h == zarr.record(site).utc_offset_h
        assert made.record(site).native_step_min == zarr.record(site).native_step_min


def test_hours_equal_those_of_the_zarr_store(archive: Path, zarr_store: tuple[Store, Store], tmp_path: Path) -> None:
    good = import_fluxnet(archive, tmp_path / "good", jobs=2)
    assert good.targets == ("GPP", "NEE")  # no value of LE in any file
    assert good.covariates == zarr_store[0].covariates
    assert_equal_hours(good, zarr_store[0])
    strict = import_fluxnet(archive, tmp_path / "dt", options=Options(qc="measured", gpp="dt"), jobs=2)
    assert_equal_hours(strict, zarr_store[1])


def test_the_offset_is_found_from_the_files_own_sun(
    archive: Path, zarr_store: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = {site: replace(load_sites()[site], true_utc_offset_h=None, utc_offset_store_h=None) for site in SITES}
    monkeypatch.setattr(fluxnet_archive, "load_sites", lambda: bare)
    found = import_fluxnet(archive, tmp_path / "found", jobs=2)
    assert_equal_hours(found, zarr_store[0])
    for site in SITES:
        assert any("from the phase of the file's SW_IN_POT" in note for note in found.manifest.sites[site].notes)


def test_the_genuine_excerpt(shared: Path, tmp_path: Path) -> None:
    """Two winter days of CH-Cha: half hours averaged, SW_IN_POT of the real file tells UTC+1."""
    store = import_fluxnet(shared / "data" / "fluxnet_fullset_hh", tmp_path / "cha")
    frame = store.read_site("CH-Cha")
    raw = pl.read_csv(next((shared / "data" / "fluxnet_fullset_hh").glob("*.csv")), null_values=["-9999"])
    assert store.record("CH-Cha").utc_offset_h == 1.0
    assert frame.height == 49 and frame["qc_mask"].sum() == 0
    assert frame["TA"][0] == np.float32((2.139 + 2.126) / 2)
    latent = (raw["LE_F_MDS"][0] + raw["LE_F_MDS"][1]) / 2
    assert frame["ET"][0] == pytest.approx(latent * 3600 / 2.45e6, rel=1e-6)
    notes = " ".join(store.manifest.sites["CH-Cha"].notes)
    assert "promises 2005 to 2020" in notes and "1 of 50 hours left out" in notes


def test_real_daily_files_from_import_to_scores(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six real daily files: import, scenario, lr on GPP and ET, scores of every scale but the hourly."""
    monkeypatch.chdir(tmp_path)
    for words in (
        f"data import {shared / 'data' / 'fluxnet_subset_dd'} --out towers",
        "scenario design --store towers --rule random --n-test 2 --n-validation 1 --out six.yaml",
        "train --store towers --scenario six.yaml --target GPP --model lr --out runs",
        "evaluate runs/six_GPP_lr/predictions-mean.parquet --out gpp.parquet",
        "train --store towers --scenario six.yaml --target ET --model lr --out runs",
        "evaluate runs/six_ET_lr/predictions-mean.parquet --out et.parquet --protocol measured",
    ):
        assert run(words.split()) == 0, capsys.readouterr().err
    store = Store("towers")
    assert (store.resolution, store.hours, len(store.site_ids)) == ("daily", 22_281, 6)
    assert store.targets == ("GPP", "NEE", "ET") and "SW_IN_POT_hourly" not in store.covariates
    raw = pl.read_csv(
        next((shared / "data" / "fluxnet_subset_dd").glob("*DE-Hai*")), null_values=["-9999"], infer_schema_length=None
    )
    hai = store.read_site("DE-Hai")
    assert np.allclose(hai["ET"], raw["LE_F_MDS"] * 3600 / 2.45e6, atol=1e-7)
    assert np.allclose(hai["GPP"], raw["GPP_NT_VUT_REF"] / (12.011e-6 * 86400), rtol=1e-6)
    assert 200 < (hai["ET"].mean() or 0.0) * 24 * 365.25 < 500  # mm a year, of a beech forest
    good = (raw["NEE_VUT_REF_QC"] >= 0.5) & (raw["LE_F_MDS_QC"] >= 0.5)
    assert (hai["qc_mask"] == 1).equals(good)
    # the sun computed for each day is that of the file, whose solar constant is higher
    ratio = (hai["SW_IN_POT_daily_mean"] / raw["SW_IN_POT"]).to_numpy()
    assert ratio.min() > 0.96 and ratio.max() < 1.02 and abs(np.median(ratio) - 0.99) < 0.003
    scores = pl.read_parquet("gpp.parquet")
    scales = set(scores["scale"])
    assert scales == {"daily", "weekly", "monthly", "seasonal", "anom", "iav", "site-mean"}
    daily = scores.filter(pl.col("scale") == "daily")
    assert daily["n_samples"].to_list() == [store.record(site).hours for site in daily["site_id"]]
    assert (scores.filter(pl.col("scale") == "daily")["rmse"] < 6).all()
    # a beech forest is within reach of a linear model trained on three towers, dry US-Cop is not
    et = pl.read_parquet("et.parquet").filter(pl.col("scale") == "daily", pl.col("site_id") == "DE-Hai")
    assert et["nse"].item() > 0.6


def test_three_doors_give_the_same_store(
    archive: Path, zarr_store: tuple[Store, Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FLUXNET archives, the Zarr, and benchmark CSV files of the same numbers: no value differs."""
    made = import_fluxnet(archive, tmp_path / "fluxnet", sites=SITES)
    assert_equal_hours(made, zarr_store[0])
    assert run(["data", "export", str(made.path), "--format", "benchmark-csv", "--out", str(tmp_path / "csv")]) == 0
    assert run(["data", "import", str(tmp_path / "csv"), "--out", str(tmp_path / "again")]) == 0
    again = Store(tmp_path / "again")
    assert again.site_ids == made.site_ids
    for site in SITES:
        hours = made.read_site(site)
        assert again.read_site(site, hours.columns).equals(hours), site
    capsys.readouterr()
    assert run(["data", "diff", str(made.path), str(again.path), "--json"]) in (0, 1)
    told = json.loads(capsys.readouterr().out)
    assert all(change["values"] is None for change in told["sites"]), told

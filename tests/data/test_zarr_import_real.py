"""The importer on the real 120 towers, against the raw FLUXNET2015 daily files and the site table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("zarr", reason="the zarr extra is not installed")

from fluxtrapolation.data.importers import fluxnet2015_zarr as importer
from fluxtrapolation.data.importers.fluxnet2015_zarr import import_fluxnet2015_zarr
from fluxtrapolation.data.importers.zarr_facts import edge_offset
from fluxtrapolation.data.importers.zarr_source import FluxnetZarr
from fluxtrapolation.data.sites import load_sites
from fluxtrapolation.data.store import Store

pytestmark = [pytest.mark.real, pytest.mark.slow]

CARBON = 12.011e-6 * 86400  # umol m-2 s-1 to g C m-2 d-1
HOURLY = {"AU-Tum", "BR-Sa1", "SJ-Blv", "US-Cop", "US-Ne1", "US-Ne2", "US-Ne3", "US-PFa", "US-UMB"}


@pytest.fixture(scope="module")
def source(shared: Path) -> Path:
    path = shared / "data" / "fluxnet2015_dev.zarr"
    if not path.is_dir():
        pytest.skip(f"outside data are absent: no {path}")
    return path


@pytest.fixture(scope="module")
def store(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return import_fluxnet2015_zarr(source, tmp_path_factory.mktemp("real") / "towers", jobs=2)


@pytest.fixture(scope="module")
def inferred(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same with every time column struck from the site table, as for 84 towers of the public store."""
    pytest.importorskip("tzfpy", reason="the timezones extra is not installed")
    bare = {
        site: replace(facts, native_step_min=None, utc_offset_store_h=None, true_utc_offset_h=None, time_flag=None)
        for site, facts in load_sites().items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importer, "load_sites", lambda: bare)
        return import_fluxnet2015_zarr(source, tmp_path_factory.mktemp("inferred") / "towers", jobs=2)


def daily_files(shared: Path) -> list[tuple[str, pl.DataFrame]]:
    files = []
    for path in sorted((shared / "data" / "fluxnet_subset_dd").glob("*.csv")):
        frame = pl.read_csv(path, null_values=["-9999"], infer_schema_length=None)
        day = pl.col("TIMESTAMP").cast(pl.String).str.to_date("%Y%m%d").alias("day")
        files.append((path.name[4:10], frame.with_columns(day)))
    return files


def rms(errors: pl.Series) -> float:
    return float(np.sqrt((errors.to_numpy() ** 2).mean()))


def test_totals(store: Store) -> None:
    assert len(store.site_ids) == 120
    assert store.manifest.failures == {}
    assert store.hours == 7_433_688
    totals = store.scan().select(pl.col("NEE").count(), pl.col("GPP").count().alias("gpp")).collect().row(0)
    # valid NEE hours exactly as counted by the data's own description
    assert totals == (7_205_784, 7_161_984)
    assert store.measured_hours == 5_674_295


def test_measured_rule(source: Path, store: Store, tmp_path: Path) -> None:
    measured = import_fluxnet2015_zarr(source, tmp_path / "m", qc="measured", jobs=2)
    # The description counts 2,375,090 hours whose native NEE is all measured. qc_mask asks for GPP as well, which
    # 6,298 of them lack (whole site-years without partitioning).
    assert measured.measured_hours == 2_368_792 == 2_375_090 - 6_298
    for site in ("DE-Tha", "US-Ne1"):
        strict, good = (s.read_site(site, ["qc_mask"])["qc_mask"] for s in (measured, store))
        assert ((strict == 1) & (good == 0)).sum() == 0
        assert 0 < (strict == 1).sum() < (good == 1).sum()


def test_daily_means_agree_with_the_raw_files(shared: Path, store: Store) -> None:
    """The producer's packing is all that is left: worst rms 3e-4 degC, 1e-3 W m-2, 3e-4 hPa."""
    files = daily_files(shared)
    assert len(files) == 6
    for site, raw in files:
        hourly = store.read_site(site)
        daily = hourly.group_by(pl.col("time").dt.date().alias("day")).agg(
            pl.len().alias("hours"), *[pl.col(n).mean() for n in ("TA", "SW_IN", "VPD")]
        )
        both = raw.join(daily, on="day")
        # every day of the raw file, and no other: the year is that of the local start
        assert both.height == raw.height == daily.height, site
        assert (both["hours"] == 24).all()
        assert rms(both["TA_F"] - both["TA"]) < 4e-4, site
        assert rms(both["SW_IN_F"] - both["SW_IN"]) < 1.4e-3, site
        assert rms(both["VPD_F"] - both["VPD"]) < 4e-4, site


def test_daily_carbon_agrees_where_the_products_share_a_threshold(shared: Path, store: Store) -> None:
    """Half-hourly and daily NEE use their own u* reference; at AU-Fog it is the same one."""
    raw = dict(daily_files(shared))["AU-Fog"]
    daily = (
        store.read_site("AU-Fog")
        .group_by(pl.col("time").dt.date().alias("day"))
        .agg(pl.col("GPP", "NEE").mean() * CARBON)
    )
    both = raw.join(daily, on="day")
    assert rms(both["NEE_VUT_REF"] - both["NEE"]) < 3e-4
    assert rms(both["GPP_NT_VUT_REF"] - both["GPP"]) < 3e-4


def test_hourly_towers_keep_their_own_records(source: Path, store: Store) -> None:
    """Every value of an hourly tower is one stored record, not a mean of two."""
    assert {site for site in store.site_ids if store.record(site).native_step_min == 60} == HOURLY
    zarr = FluxnetZarr(source)
    for site in sorted(HOURLY):
        stored = zarr.read(site, "ta")
        records = np.unique((stored.stored[stored.valid] * stored.scale + stored.offset).astype(np.float32))
        assert np.isin(store.read_site(site, ["TA"])["TA"].to_numpy(), records).all(), site


def test_records_cover_whole_local_years(store: Store) -> None:
    for site in store.site_ids:
        record = store.record(site)
        assert (record.first_hour.month, record.first_hour.day, record.first_hour.hour) == (1, 1, 0), site
        assert (record.last_hour.month, record.last_hour.day, record.last_hour.hour) == (12, 31, 23), site


def test_radiation_is_dark_at_night_by_the_true_sun(store: Store) -> None:
    """With the right offset less than 2 % of the light falls into hours in which the sun does not shine."""
    for site in store.site_ids:
        frame = store.read_site(site, ["SW_IN", "SW_IN_POT_hourly"])
        dark = frame.filter(pl.col("SW_IN_POT_hourly") == 0)["SW_IN"].sum()
        assert dark < 0.02 * frame["SW_IN"].sum(), site


def test_flags_of_the_table_become_notes(store: Store) -> None:
    assert any("phase_varies_between_years" in note for note in store.manifest.sites["CH-Dav"].notes)
    assert any("+10 h after the site table" in note for note in store.manifest.sites["AU-Tum"].notes)
    assert any("22 min late" in note for note in store.manifest.sites["CA-SF2"].notes)


def test_all_clocks_are_recovered_without_the_table(store: Store, inferred: Store) -> None:
    """120 of 120 native steps, store offsets and true offsets; the towers are then the same to the byte."""
    facts = load_sites()
    assert inferred.site_ids == store.site_ids
    steps = [s for s in store.site_ids if inferred.record(s).native_step_min != facts[s].native_step_min]
    offsets = [s for s in store.site_ids if inferred.record(s).utc_offset_h != facts[s].true_utc_offset_h]
    zones = [
        s
        for s in store.site_ids
        if f"store offset {facts[s].utc_offset_store_h:+g} h: inferred from the zone"
        not in inferred.manifest.sites[s].notes[1]
    ]
    assert (steps, offsets, zones) == ([], [], [])
    for site in store.site_ids:
        assert inferred.manifest.sites[site].sha256 == store.manifest.sites[site].sha256
        assert len(inferred.manifest.sites[site].notes) >= 3


def test_edges_of_the_record_alone_give_the_store_offset(source: Path) -> None:
    zarr = FluxnetZarr(source)
    facts = load_sites()
    for site in zarr.sites:
        valid = np.flatnonzero(zarr.read(site, "ta").valid)
        span = (int(valid[0]), int(valid[-1]))
        step = facts[site].native_step_min
        assert step is not None
        assert edge_offset(zarr.axis, span, step) == facts[site].utc_offset_store_h, site

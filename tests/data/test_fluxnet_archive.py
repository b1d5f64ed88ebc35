"""The FLUXNET door on made archives: which file, which facts, which values. Needs nothing from outside."""

from __future__ import annotations

import json
import threading
import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fluxnet_maker import DD, HH, as_csv, as_daily_csv, bif, daily_means, weather, write, write_zip

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.importers import detect_format, fluxnet_archive, fluxnet_csv, import_towers
from fluxtrapolation.data.importers.fluxnet_archive import import_fluxnet
from fluxtrapolation.data.importers.fluxnet_columns import GRAMS_PER_DAY, Options
from fluxtrapolation.data.importers.fluxnet_csv import DataFile
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, FluxtrapolationWarning

TIME, COLUMNS = weather()
TEXT = as_csv(TIME, COLUMNS)
FACTS = {"LOCATION_LAT": 50.9626, "LOCATION_LONG": 13.5651, "IGBP": "ENF", "UTC_OFFSET": 1, "SITE_NAME": "Tharandt"}
ARCHIVE = "FLX_DE-Tha_FLUXNET2015_FULLSET_2010-2010_1-4.zip"


def notes(store: Store, site: str = "DE-Tha") -> str:
    return "\n".join(store.manifest.sites[site].notes)


def hourly(column: str) -> np.ndarray:
    return COLUMNS[column].reshape(-1, 2).mean(axis=1)


def other(site: str, **changes: object) -> str:
    """The name of the standard file for another site or version."""
    name = HH.replace("DE-Tha", site)
    for old, new in changes.items():
        name = name.replace(old.strip("_"), str(new))
    return name


# ---- values


def test_half_hours_become_hours(tmp_path: Path) -> None:
    store = import_fluxnet(write(tmp_path / "in", {HH: TEXT}), tmp_path / "out")
    frame = store.read_site("DE-Tha")
    assert store.targets == ("GPP", "NEE", "ET") and store.resolution == "hourly"
    assert frame.height == 8760 and frame["time"][0] == datetime(2010, 1, 1)
    for name, column in {"TA": "TA_F", "VPD": "VPD_F", "SW_IN": "SW_IN_F", "NEE": "NEE_VUT_REF"}.items():
        assert np.array_equal(frame[name].to_numpy(), hourly(column).astype(np.float32)), name
    assert np.allclose(frame["ET"], hourly("LE_F_MDS") * 3600 / 2.45e6, rtol=1e-6)
    assert np.array_equal(frame["GPP"].to_numpy(), hourly("GPP_NT_VUT_REF").astype(np.float32))
    good = ((COLUMNS["NEE_VUT_REF_QC"] <= 1) & (COLUMNS["LE_F_MDS_QC"] <= 1)).reshape(-1, 2).all(axis=1)
    assert np.array_equal(frame["qc_mask"].to_numpy() == 1, good)
    assert store.record("DE-Tha").native_step_min == 30 and store.record("DE-Tha").source == "FLUXNET2015"
    options = store.manifest.sources[0].options
    assert options["et_variable"] == "LE_F_MDS" and "flags of at most 1" in options["qc_rule"]


def test_options_change_what_they_say(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {HH: TEXT})
    chosen = Options(qc="measured", gpp="dt", et="corr", latent_heat="temperature")
    frame = import_fluxnet(source, tmp_path / "out", options=chosen).read_site("DE-Tha")
    assert np.array_equal(frame["GPP"].to_numpy(), hourly("GPP_DT_VUT_REF").astype(np.float32))
    joules = (2.501 - 0.002361 * COLUMNS["TA_F"]) * 1e6
    expected = (COLUMNS["LE_CORR"] * 3600 / joules).reshape(-1, 2).mean(axis=1)
    assert np.allclose(frame["ET"], expected, rtol=1e-6)
    strict = ((COLUMNS["NEE_VUT_REF_QC"] == 0) & (COLUMNS["LE_F_MDS_QC"] == 0)).reshape(-1, 2).all(axis=1)
    assert np.array_equal(frame["qc_mask"].to_numpy() == 1, strict)
    without = import_fluxnet(source, tmp_path / "no", options=Options(et="none"))
    assert without.targets == ("GPP", "NEE")
    good = (COLUMNS["NEE_VUT_REF_QC"] <= 1).reshape(-1, 2).all(axis=1)
    assert np.array_equal(without.read_site("DE-Tha")["qc_mask"].to_numpy() == 1, good)


@pytest.mark.parametrize("mark", ["-9999", "-9999.0", "-9999.99", "-6999", "", "NaN", "NA", " -9999 "])
def test_everything_that_means_missing(tmp_path: Path, mark: str) -> None:
    lines = TEXT.splitlines()
    at = lines[0].split(",").index("NEE_VUT_REF")
    for row in (100, 200):  # one half hour of two different hours
        cells = lines[row].split(",")
        cells[at] = mark
        lines[row] = ",".join(cells)
    store = import_fluxnet(write(tmp_path / "in", {HH: "\n".join(lines)}), tmp_path / "out")
    frame = store.read_site("DE-Tha")
    assert np.flatnonzero(frame["NEE"].is_null().to_numpy()).tolist() == [49, 99]
    assert frame["qc_mask"][49] == 0 and frame["NEE"].is_nan().sum() == 0


def test_hourly_files_are_taken_as_they_are(tmp_path: Path) -> None:
    time, columns = weather(step=60)
    name = other("DE-Tha", HH="HR")
    store = import_fluxnet(write(tmp_path / "in", {name: as_csv(time, columns, step=60)}), tmp_path / "out")
    assert store.record("DE-Tha").native_step_min == 60
    assert np.array_equal(store.read_site("DE-Tha")["TA"].to_numpy(), columns["TA_F"].astype(np.float32))
    # FLUXMET files are named HH whatever their step is
    again = import_fluxnet(write(tmp_path / "hh", {HH: as_csv(time, columns, step=60)}), tmp_path / "out2")
    assert again.read_site("DE-Tha").equals(store.read_site("DE-Tha"))


def test_zip_folder_and_single_file_give_the_same_store(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {f"unpacked/{HH}": TEXT})
    packed = write_zip(tmp_path / "zips" / ARCHIVE, {HH: TEXT, "README.txt": "see the web", f"x/{DD}": "TIMESTAMP\n"})
    stores = [
        import_towers(source, tmp_path / f"out{number}")
        for number, source in enumerate((folder, packed, packed.parent, folder / "unpacked" / HH))
    ]
    assert len({store.manifest.sites["DE-Tha"].sha256 for store in stores}) == 1
    assert sorted(path.name for path in packed.parent.iterdir()) == [ARCHIVE]  # nothing was unpacked
    assert {detect_format(str(path)) for path in (folder, packed, packed.parent)} == {"fluxnet"}


def test_values_do_not_depend_on_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in", {HH: TEXT})
    whole = import_fluxnet(source, tmp_path / "a")
    monkeypatch.setattr("fluxtrapolation.data.importers.fluxnet_csv.BLOCK_BYTES", 10_007)
    monkeypatch.setattr("fluxtrapolation.data.importers.fluxnet_csv.MAX_LINE_BYTES", 1_000)
    assert import_fluxnet(source, tmp_path / "b").data_hash == whole.data_hash


# ---- which file


def test_the_newest_version_is_read_and_said(tmp_path: Path) -> None:
    warm = {**COLUMNS, "TA_F": COLUMNS["TA_F"] + 1}
    files = {HH: TEXT, HH.replace("1-4", "2-4"): as_csv(TIME, warm), HH.replace("FULLSET", "SUBSET"): TEXT}
    with pytest.warns(FluxtrapolationWarning, match=r"1 site has several files; the newest was read: DE-Tha \(.*2-4"):
        store = import_fluxnet(write(tmp_path / "in", files), tmp_path / "out")
    assert store.read_site("DE-Tha")["TA"][0] == np.float32(warm["TA_F"][:2].mean())
    assert "3 files of this site" in notes(store) and "1-4.csv" in notes(store)


@pytest.mark.filterwarnings("ignore:[0-9]+ towers hold the same values")  # one file serves for all
def test_hours_before_days_unless_asked(tmp_path: Path) -> None:
    daily = as_daily_csv(*daily_means(TIME, COLUMNS))
    source = write(tmp_path / "in", {HH: TEXT, DD: daily, DD.replace("DE-Tha", "DE-Hai"): daily})
    with pytest.warns(FluxtrapolationWarning, match="1 of 2 towers could not be imported"):
        store = import_fluxnet(source, tmp_path / "hours")
    assert store.resolution == "hourly" and "--resolution daily" in store.manifest.failures["DE-Hai"]
    days = import_towers(source, tmp_path / "days", resolution="daily")
    assert days.resolution == "daily" and days.site_ids == ("DE-Hai", "DE-Tha")


def test_only_some_sites(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {HH: TEXT, other("DE-Hai"): TEXT})
    assert import_fluxnet(source, tmp_path / "out", sites=["DE-Hai"]).site_ids == ("DE-Hai",)
    with pytest.raises(DataError, match=r"1 of the 1 sites asked for are not in .*: DE-Thaa\. Did you mean 'DE-Tha'"):
        import_fluxnet(source, tmp_path / "none", sites=["DE-Thaa"])


# ---- facts


def test_bif_facts_win_over_the_packaged_table(tmp_path: Path) -> None:
    table = bif("DE-Tha", **{**FACTS, "IGBP": "MF", "MAT": 8.2, "DOI": "https://doi.org/10.18140/FLX/1440152"})
    packed = write_zip(tmp_path / ARCHIVE, {HH: TEXT, "FLX_DE-Tha_FLUXNET2015_BIF_2010-2010_1-4.csv": table})
    store = import_fluxnet(packed, tmp_path / "out")
    record = store.record("DE-Tha")
    assert (record.lat, record.igbp, record.utc_offset_h, record.mat_c) == (50.9626, "MF", 1.0, 8.2)
    assert store.manifest.sites["DE-Tha"].doi == "10.18140/FLX/1440152"
    assert "IGBP class MF after FLX_DE-Tha" in notes(store) and "utc_offset_h 1 after FLX_DE-Tha" in notes(store)


def test_a_site_that_only_its_bif_knows_and_the_latest_place(tmp_path: Path) -> None:
    rows = [
        ("1", "GRP_LOCATION", "LOCATION_LAT", "51.5"),
        ("1", "GRP_LOCATION", "LOCATION_LONG", "13.0"),
        ("1", "GRP_LOCATION", "LOCATION_DATE_START", "20190101"),
        ("2", "GRP_LOCATION", "LOCATION_LAT", "50.96"),
        ("2", "GRP_LOCATION", "LOCATION_LONG", "13.57"),
        ("2", "GRP_LOCATION", "LOCATION_DATE_START", "20200101"),
        ("3", "GRP_IGBP", "IGBP", "CRO"),
    ]
    network = bif("DE-Zzz", rows)
    files = {other("DE-Zzz"): TEXT, "FLX_AA-Flx_BIF_ALL_20200501.csv": network}
    store = import_fluxnet(write(tmp_path / "in", files), tmp_path / "out")
    record = store.record("DE-Zzz")
    assert (record.lat, record.lon, record.igbp, record.utc_offset_h) == (50.96, 13.57, "CRO", 1.0)
    assert "found from the phase of the file's SW_IN_POT" in notes(store, "DE-Zzz")


@pytest.mark.parametrize("offset", [-8.0, -3.5, 0.0, 5.5, 9.5, 12.0])
def test_the_offset_is_found_at_any_longitude(tmp_path: Path, offset: float) -> None:
    lon = (offset - 0.3) * 15
    time, columns = weather(lat=-35.0, lon=lon, offset=offset)
    table = bif("ZZ-Aaa", LOCATION_LAT=-35.0, LOCATION_LONG=lon, IGBP="GRA")
    files = {other("ZZ-Aaa"): as_csv(time, columns), "EUF_ZZ-Aaa_FLUXNET_BIF_2010-2010_v1.3_r1.csv": table}
    store = import_fluxnet(write(tmp_path / "in", files), tmp_path / "out")
    assert store.record("ZZ-Aaa").utc_offset_h == offset
    columns.pop("SW_IN_POT")
    if offset == round(offset):  # measured radiation tells whole hours only
        files[other("ZZ-Aaa")] = as_csv(time, columns)
        store = import_fluxnet(write(tmp_path / "in2", files), tmp_path / "out2")
        assert store.record("ZZ-Aaa").utc_offset_h == offset
        assert "found from the phase of measured SW_IN" in notes(store, "ZZ-Aaa")


def test_the_users_table_wins(tmp_path: Path) -> None:
    table = tmp_path / "sites.csv"
    table.write_text("site_id,lat,lon,igbp,true_utc_offset_h\nDE-Tha,50.9,13.5,WET,1\n")
    files = {HH: TEXT, "FLX_DE-Tha_FLUXNET2015_BIF_2010-2010_1-4.csv": bif("DE-Tha", **FACTS)}
    store = import_fluxnet(write(tmp_path / "in", files), tmp_path / "out", sites_table=table)
    record = store.record("DE-Tha")
    assert (record.lat, record.igbp) == (50.9, "WET") and "utc_offset_h 1 after --sites-table" in notes(store)


def test_a_table_beside_a_single_file_is_seen(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {other("DE-Zzz"): TEXT, "FLX_DE-Zzz_BIF_2020.csv": bif("DE-Zzz", **FACTS)})
    store = import_fluxnet(folder / other("DE-Zzz"), tmp_path / "out")
    assert store.record("DE-Zzz").name == "Tharandt"


def test_a_site_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"Site ZZ-Zzz: its coordinates and its IGBP class are not known.*--sites-table"
    ):
        import_fluxnet(write(tmp_path / "in", {other("ZZ-Zzz"): TEXT}), tmp_path / "out")


# ---- towers without ET, resuming, one bad site


def test_towers_without_et(tmp_path: Path) -> None:
    dry = {name: values for name, values in COLUMNS.items() if not name.startswith("LE")}
    source = write(tmp_path / "in", {HH: TEXT, other("DE-Hai"): as_csv(TIME, dry)})
    with pytest.warns(FluxtrapolationWarning, match="1 of 2 towers have no ET: DE-Hai.*--et none"):
        store = import_fluxnet(source, tmp_path / "out")
    frame = store.read_site("DE-Hai")
    assert frame["ET"].null_count() == frame.height and frame["qc_mask"].sum() > 3000
    assert "ET has no value" in notes(store, "DE-Hai")
    alone = import_fluxnet(source, tmp_path / "alone", sites=["DE-Hai"])
    assert alone.targets == ("GPP", "NEE")


@pytest.mark.filterwarnings("ignore:[0-9]+ towers hold the same values")  # one file serves for all
def test_a_tower_with_et_comes_to_a_store_without(tmp_path: Path) -> None:
    dry = {name: values for name, values in COLUMNS.items() if not name.startswith("LE")}
    source = write(tmp_path / "in", {other("DE-Hai"): as_csv(TIME, dry)})
    import_fluxnet(source, tmp_path / "out")
    write(source, {HH: TEXT})
    with pytest.raises(
        DataError, match=r"holds 1 sites without ET, and now some towers have LE\. Use --et none .*--overw"
    ):
        import_fluxnet(source, tmp_path / "out")
    with pytest.warns(FluxtrapolationWarning, match="1 tower was already"):
        added = import_fluxnet(source, tmp_path / "out", options=Options(et="none"))
    assert added.site_ids == ("DE-Hai", "DE-Tha") and added.targets == ("GPP", "NEE")
    with pytest.warns(FluxtrapolationWarning, match="1 of 2 towers have no ET"):
        assert import_fluxnet(source, tmp_path / "out", overwrite=True).targets == ("GPP", "NEE", "ET")


@pytest.mark.filterwarnings("ignore:[0-9]+ towers hold the same values")  # one file serves for all
def test_et_is_looked_for_in_several_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all LE is missing, every file is read to its end: not one after another."""
    empty = as_csv(TIME, {**COLUMNS, "LE_F_MDS": np.full(TIME.size, np.nan)})
    source = write(tmp_path / "in", {HH: empty, other("DE-Hai"): empty})
    both = threading.Barrier(2, timeout=10)
    original = fluxnet_archive.holds_value

    def together(*args, **named):  # type: ignore[no-untyped-def]
        both.wait()
        return original(*args, **named)

    monkeypatch.setattr(fluxnet_archive, "holds_value", together)
    assert import_fluxnet(source, tmp_path / "out", jobs=2).targets == ("GPP", "NEE")


def test_the_search_for_et_ends_when_another_file_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxtrapolation.data.importers.fluxnet_csv.BLOCK_BYTES", 10_007)
    monkeypatch.setattr("fluxtrapolation.data.importers.fluxnet_csv.MAX_LINE_BYTES", 1_000)
    empty = as_csv(TIME, {**COLUMNS, "LE_F_MDS": np.full(TIME.size, np.nan)})
    file = DataFile(write(tmp_path / "in", {HH: empty}) / HH)
    read: list[int] = []
    original = fluxnet_csv.without_sentinels

    def counted(values):  # type: ignore[no-untyped-def]
        read.append(len(values))
        return original(values)

    monkeypatch.setattr(fluxnet_csv, "without_sentinels", counted)
    stop = threading.Event()
    stop.set()
    assert not fluxnet_csv.holds_value(file, "LE_F_MDS", stop=stop) and len(read) == 1
    assert not fluxnet_csv.holds_value(file, "LE_F_MDS") and len(read) > 10


@pytest.mark.filterwarnings("ignore:[0-9]+ towers hold the same values")  # one file serves for all
def test_an_import_goes_on_and_reads_changed_files_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in", {HH: TEXT, other("DE-Hai"): TEXT})
    read: list[str] = []
    original = fluxnet_archive.read_tower

    def counted(choice, *args, **named):  # type: ignore[no-untyped-def]
        read.append(choice.site)
        if len(read) == 2:
            raise KeyboardInterrupt
        return original(choice, *args, **named)

    monkeypatch.setattr(fluxnet_archive, "read_tower", counted)
    with pytest.raises(KeyboardInterrupt):
        import_fluxnet(source, tmp_path / "out", jobs=1)
    with pytest.warns(FluxtrapolationWarning, match="1 tower was already in the store"):
        store = import_fluxnet(source, tmp_path / "out", jobs=1)
    assert read == ["DE-Hai", "DE-Tha", "DE-Tha"] and store.manifest.complete
    with pytest.warns(FluxtrapolationWarning, match="2 towers were already in the store"):
        assert import_fluxnet(source, tmp_path / "out").data_hash == store.data_hash
    write(source, {HH: as_csv(TIME, {**COLUMNS, "TA_F": COLUMNS["TA_F"] + 1})})
    with pytest.warns(FluxtrapolationWarning, match="1 tower was"):
        again = import_fluxnet(source, tmp_path / "out")
    assert again.data_hash != store.data_hash and read[3:] == ["DE-Tha"]


def test_one_bad_site_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {HH: TEXT, other("DE-Hai"): TEXT[:-40], ARCHIVE.replace("DE-Tha", "DE-Gri"): b"PK no zip"}
    source = write(tmp_path / "in", files)
    code = run(["data", "import", str(source), "--out", str(tmp_path / "out"), "--jobs", "2", "--json"])
    told = capsys.readouterr()
    assert code == 2 and json.loads(told.out)["sites"] == 1
    assert "error: Site DE-Gri: FLX_DE-Gri" in told.err and "damaged or cut-off zip archive" in told.err
    assert "error: Site DE-Hai: " in told.err and "ends in the middle of it" in told.err
    assert "2 of 3 towers could not be read; the store holds 1." in told.err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Store(tmp_path / "out").verify() == []


# ---- daily files


def test_daily_files_in_the_units_of_the_schema(tmp_path: Path) -> None:
    days, columns = daily_means(TIME, COLUMNS)
    source = write(tmp_path / "in", {DD: as_daily_csv(days, columns)})
    store = import_fluxnet(source, tmp_path / "out")
    frame = store.read_site("DE-Tha")
    hours = import_fluxnet(write(tmp_path / "hh", {HH: TEXT}), tmp_path / "hours").read_site("DE-Tha")
    means = hours.group_by(pl.col("time").dt.truncate("1d"), maintain_order=True).agg(pl.col(pl.Float32).mean())
    assert store.resolution == "daily" and frame.height == 365
    assert store.covariates == ("TA", "VPD", "SW_IN", "SW_IN_POT_daily_mean", "dSW_IN_POT_DAY")
    for name in (*store.covariates, *store.targets):
        assert np.allclose(frame[name], means[name], rtol=2e-5, atol=1e-5), name
    good = (columns["NEE_VUT_REF_QC"] >= 0.5) & (columns["LE_F_MDS_QC"] >= 0.5)
    assert np.array_equal(frame["qc_mask"].to_numpy() == 1, good)
    assert store.manifest.sources[0].options["qc_fraction"] == 0.5
    assert frame["NEE"][0] == np.float32(columns["NEE_VUT_REF"][0] / GRAMS_PER_DAY)
    strict = import_fluxnet(source, tmp_path / "strict", options=Options(qc_fraction=0.9))
    assert 0 < strict.measured_hours < store.measured_hours


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"qc": "measured"}, "share of measured and well-filled half hours together"),
        ({"qc_fraction": 1.5}, "a share from 0 to 1"),
        ({"et": "le"}, r"et='le' is unknown\. Choose mds or corr or none"),
    ],
)
def test_options_without_meaning(tmp_path: Path, options: dict[str, object], message: str) -> None:
    source = write(tmp_path / "in", {DD: as_daily_csv(*daily_means(TIME, COLUMNS))})
    with pytest.raises(DataError, match=message):
        import_towers(source, tmp_path / "out", **options)  # type: ignore[arg-type]


def test_options_of_this_door_are_refused_at_others(tmp_path: Path) -> None:
    write(tmp_path / "csv", {"DE-Tha.csv": "time,qc_mask\n"})
    with pytest.raises(DataError, match="--et, --latent-heat, --resolution and --qc-fraction are for FLUXNET archives"):
        import_towers(tmp_path / "csv", tmp_path / "out", et="corr")

"""Benchmark CSV files in and out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.importers import import_towers
from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv
from fluxtrapolation.data.importers.csv_tower import estimate_utc_offset
from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.solar import potential_radiation, solar_covariates
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationError, FluxtrapolationWarning
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
        case "cut in a row":
            file.write_text(text[: len(text) - 40])
        case "semicolons":
            file.write_text(text.replace(",", ";"))
        case "page after a mark":
            file.write_bytes(b"\xef\xbb\xbf\r\n<html></html>")
        case "-9999":
            frame = pl.read_csv(file)
            frame.with_columns(
                pl.when(pl.int_range(pl.len()) == 5).then(-9999).otherwise("GPP").alias("GPP")
            ).write_csv(file)
        case "moving tower":
            frame = pl.read_csv(file)
            frame.with_columns(
                tower_lat=pl.when(pl.int_range(pl.len()) > 9).then(9.0).otherwise("tower_lat")
            ).write_csv(file)
        case "a folder":
            file.unlink()
            file.mkdir()
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
    "cut in a row": "the file ends in the middle of a row",
    "semicolons": "separates its fields by ';'",
    "page after a mark": "is a web page",
    "-9999": "leave the field empty",
    "moving tower": "tower_lat changes within the file .51.08, then 9",
    "a folder": r"DE-Hai\.csv cannot be read .Is a directory",
}


@pytest.mark.parametrize("change", MESSAGES)
def test_a_bad_file_is_told_and_does_not_stop_the_others(store: Store, tmp_path: Path, change: str) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    _spoil(folder, "DE-Hai", change)
    with pytest.warns(FluxtrapolationWarning, match="1 of 2 towers could not be imported: Site DE-Hai"):
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
    with pytest.warns(FluxtrapolationWarning, match="could not be imported"):
        assert import_towers(folder, tmp_path / "out").site_ids == ("AU-Dry",)
    (folder / "DE-Hai.csv").write_text(good)
    with pytest.warns(FluxtrapolationWarning, match="1 tower was already in the store and not read again"):
        made = import_towers(folder, tmp_path / "out")
    assert made.site_ids == ("AU-Dry", "DE-Hai")
    assert made.manifest.failures == {}


@pytest.mark.parametrize("damage", ["gone", "spoilt"])
def test_a_damaged_store_and_towers_alike(store: Store, tmp_path: Path, damage: str) -> None:
    """The same import again restores a lost file; what it compares at the end never spoils it."""
    folder = export_benchmark_csv(store, tmp_path / "csv")
    (folder / "XX-Cop.csv").write_bytes((folder / "DE-Hai.csv").read_bytes())
    alike = "2 towers hold the same values under different names: DE-Hai = XX-Cop"
    with pytest.warns(FluxtrapolationWarning, match=alike):
        import_towers(folder, tmp_path / "out")
    file = tmp_path / "out" / "sites" / "XX-Cop.parquet"
    size = file.stat().st_size
    file.unlink()
    if damage == "spoilt":
        file.write_bytes(bytes(size))
    with pytest.warns(FluxtrapolationWarning) as caught:
        made = import_towers(folder, tmp_path / "out")
    told = "\n".join(str(one.message) for one in caught)
    if damage == "gone":
        assert "has lost the files of 1 of its 3 towers: XX-Cop" in told and alike in told
        assert "2 towers were already in the store" in told and made.verify() == []
    else:
        assert "3 towers were already in the store" in told and alike not in told
        assert made.verify() == ["sites/XX-Cop.parquet: sha256 differs from the manifest (the content has changed)"]


def test_a_failure_is_told_only_by_the_import_that_met_it(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    _spoil(folder, "DE-Hai", "duplicate")
    with pytest.warns(FluxtrapolationWarning):
        assert list(import_towers(folder, tmp_path / "out").manifest.failures) == ["DE-Hai"]
    (folder / "DE-Hai.csv").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        assert import_towers(folder, tmp_path / "out").manifest.failures == {}


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


def test_a_changed_file_is_read_again(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    before = import_towers(folder, tmp_path / "out")
    file = folder / "DE-Hai.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-24]))
    with pytest.warns(FluxtrapolationWarning, match="1 tower was already in the store"):
        after = import_towers(folder, tmp_path / "out")
    assert after.record("DE-Hai").hours == before.record("DE-Hai").hours - 24
    file.write_text("<html>")
    with pytest.warns(FluxtrapolationWarning) as caught:
        kept = import_towers(folder, tmp_path / "out")
    assert any("could not be imported" in str(w.message) for w in caught)
    assert kept.record("DE-Hai").hours == after.record("DE-Hai").hours
    assert "keeps what was read from it earlier" in kept.manifest.failures["DE-Hai"]


def test_sources_licence_and_clock_survive_the_round_trip(store: Store, tmp_path: Path) -> None:
    source = store.manifest.sources[0].model_copy(
        update={"name": "Net", "licence": "CC-BY-4.0", "citation": "A et al. (2020)", "doi": "10.1/x"}
    )
    with StoreWriter(tmp_path / "l", targets=["GPP"], covariates=["TA", "VPD"], source=source) as writer:
        record = tiny_record("XX-Odd").model_copy(
            update={"name": "Odd", "licence": "CC0", "utc_offset_h": 5.75, "native_step_min": 30, "source": "Net"}
        )
        writer.add(record, tiny_frame("XX-Odd", hours=60))
    first = export_benchmark_csv(Store(tmp_path / "l"), tmp_path / "csv")
    back = import_towers(first, tmp_path / "back")
    assert back.record("XX-Odd") == Store(tmp_path / "l").record("XX-Odd")
    (origin,) = back.manifest.sources
    assert (origin.name, origin.licence, origin.citation, origin.doi) == (
        "Net",
        "CC-BY-4.0",
        "A et al. (2020)",
        "10.1/x",
    )
    # a second export into the same folder keeps what the first one said
    export_benchmark_csv(store, first)
    told = json.loads((first / "SOURCES.json").read_text())
    assert [one["name"] for one in told["sources"]] == ["Net", "t"]
    assert set(told["sites"]) == {"XX-Odd", "DE-Hai", "AU-Dry"}


def test_an_offset_that_disagrees_with_the_sun_is_noted(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    told = json.loads((folder / "SOURCES.json").read_text())
    told["sites"]["DE-Hai"]["utc_offset_h"] = 2.0
    (folder / "SOURCES.json").write_text(json.dumps(told))
    made = import_towers(folder, tmp_path / "out")
    assert made.record("DE-Hai").utc_offset_h == 2.0
    assert any("but 1 is estimated from SW_IN_POT_hourly" in note for note in made.info()["notes"]["DE-Hai"])
    (folder / "SOURCES.json").write_text("{}")
    with pytest.raises(DataError, match=r"SOURCES\.json is not what"):
        import_towers(folder, tmp_path / "other")


def test_without_the_sidecar_the_source_is_not_stated(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    (folder / "SOURCES.json").unlink()
    made = import_towers(folder, tmp_path / "out")
    (origin,) = made.manifest.sources
    assert origin.name == made.record("DE-Hai").source == "benchmark CSV files, source not stated"
    assert origin.licence is None and str(origin.citation).startswith("Source not stated")
    assert made.record("DE-Hai").utc_offset_h == 1.0


def test_columns_of_some_files_only_are_told(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    file = folder / "DE-Hai.csv"
    pl.read_csv(file).with_columns(EVI=pl.lit(0.5)).write_csv(file)
    with pytest.warns(FluxtrapolationWarning, match=r"left out: EVI \(in 1 of 2 files\)"):
        made = import_towers(folder, tmp_path / "out")
    assert "EVI" not in made.covariates
    notes = made.info()["notes"]
    assert "EVI left out: only 1 of 2 files have it" in notes["DE-Hai"]
    assert not any("EVI" in note for note in notes["AU-Dry"])


def test_the_users_table_wins_over_the_file_and_the_packaged_one_does_not(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    table = tmp_path / "sites.csv"
    table.write_text("site_id,lat,lon,igbp\nDE-Hai,51.5,10.45,MF\n")
    made = import_towers(folder, tmp_path / "out", sites_table=table)
    record = made.record("DE-Hai")
    assert (record.lat, record.lon, record.igbp) == (51.5, 10.45, "MF")
    assert any("51.5 (file: 51.08), MF (file: DBF)" in note for note in made.info()["notes"]["DE-Hai"])
    assert made.record("AU-Dry").lat == -15.26  # as the file says; the packaged table differs
    _spoil(folder, "DE-Hai", "two classes")
    spoiled = import_towers(folder, tmp_path / "two", sites_table=table)
    assert spoiled.record("DE-Hai").igbp == "MF"


def test_a_file_without_its_place_gets_a_note(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv", sites=["DE-Hai"])
    file = folder / "DE-Hai.csv"
    pl.read_csv(file).drop("tower_lat", "tower_lon").write_csv(file)
    made = import_towers(folder, tmp_path / "out")
    assert made.record("DE-Hai").lat == pytest.approx(51.08, abs=0.01)
    assert any("coordinates taken from the packaged site table" in note for note in made.info()["notes"]["DE-Hai"])


def test_a_clock_hours_off_the_sun_is_warned_of(store: Store, tmp_path: Path) -> None:
    frame = tiny_frame("DE-Hai", hours=24 * 200, targets=["GPP"])
    stated, measured = (
        pl.Series(solar_covariates(frame["time"].to_numpy(), lat=51.08, lon=10.45, utc_offset_h=h)["SW_IN_POT_hourly"])
        for h in (1.0, 5.0)
    )
    record = tiny_record("DE-Hai", lat=51.08, lon=10.45)
    covariates = ["TA", "VPD", "SW_IN", "SW_IN_POT_hourly"]
    with StoreWriter(
        tmp_path / "o", targets=["GPP"], covariates=covariates, source=store.manifest.sources[0]
    ) as writer:
        writer.add(record, frame.with_columns(SW_IN_POT_hourly=stated, SW_IN=measured * 0.7))
    folder = export_benchmark_csv(Store(tmp_path / "o"), tmp_path / "csv")
    with pytest.warns(FluxtrapolationWarning, match=r"more than 60 min .* DE-Hai \(2\d\d min late\)"):
        import_towers(folder, tmp_path / "out")


@pytest.mark.parametrize("change", ["\n\n{}", "{}\n\n  \n", "\ufeff\n{}"])
def test_empty_lines_around_the_table_do_no_harm(store: Store, tmp_path: Path, change: str) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv", sites=["DE-Hai"])
    file = folder / "DE-Hai.csv"
    file.write_text(change.format(file.read_text()))
    assert import_towers(folder, tmp_path / "out").read_site("DE-Hai").equals(store.read_site("DE-Hai"))


def test_file_names_that_are_no_site_id(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    (folder / "DE-Hai.csv").rename(folder / "my tower.csv")
    with pytest.warns(FluxtrapolationWarning, match="'my tower' is no usable site id"):
        assert import_towers(folder, tmp_path / "out").site_ids == ("AU-Dry",)


def test_brackets_and_stars_in_paths(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "c[s]*v")
    assert import_towers(folder, tmp_path / "o[u]t?").site_ids == store.site_ids


def test_an_unreadable_file_is_that_towers_failure(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    real = Path.open

    def denied(self: Path, *words: Any, **more: Any) -> Any:
        if self.name == "DE-Hai.csv":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *words, **more)

    monkeypatch.setattr(Path, "open", denied)
    with pytest.warns(FluxtrapolationWarning, match=r"DE-Hai\.csv cannot be read \(Permission denied\)"):
        assert import_towers(folder, tmp_path / "out").site_ids == ("AU-Dry",)


def test_no_sites_and_unknown_sites(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="UNKNOWN"):
        export_benchmark_csv(store, tmp_path / "csv", sites=["DE-Hai", "UNKNOWN"])
    assert not (tmp_path / "csv").exists()
    with pytest.raises(DataError, match="No site was asked for"):
        export_benchmark_csv(store, tmp_path / "csv", sites=[])
    folder = export_benchmark_csv(store, tmp_path / "csv")
    with pytest.raises(DataError, match="No site was asked for"):
        import_towers(folder, tmp_path / "out", sites=[])


@pytest.mark.parametrize("words", [["import", "csv", "--out", "out"], ["export", "s", "--out", "csv2"]])
@pytest.mark.parametrize("sites", ["", ",", " , "])
def test_the_command_line_refuses_an_empty_list(
    store: Store, tmp_path: Path, words: list[str], sites: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fluxtrapolation.cli.main import run

    export_benchmark_csv(store, tmp_path / "csv")
    monkeypatch.chdir(tmp_path)
    assert run(["data", *words, "--sites", sites]) == 2
    assert not (tmp_path / words[-1]).exists()


def test_the_command_line_tells_each_failure_once(store: Store, tmp_path: Path) -> None:
    folder = export_benchmark_csv(store, tmp_path / "csv")
    (folder / "DE-Hai.csv").write_text("<html>")
    command = [sys.executable, "-m", "fluxtrapolation.cli.main", "data", "import", "csv", "--out", "out"]
    for already in (False, True):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert done.stderr.count("DE-Hai") == 2  # the site, and the name of its file, in one line
        assert ("1 tower was already in the store" in done.stderr) is already

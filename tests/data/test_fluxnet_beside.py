"""FLUXNET folders as people have them: files passed over, names in other capitals, one file under two names."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fluxnet_maker import DD, HH, as_csv, bif, weather, write, write_zip

from fluxtrapolation.data.cite import cite_store, render
from fluxtrapolation.data.importers import detect_format, import_towers
from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv, import_benchmark_csv
from fluxtrapolation.data.importers.fluxnet_archive import import_fluxnet
from fluxtrapolation.data.importers.fluxnet_inventory import take_stock
from fluxtrapolation.errors import DataError, FluxtrapolationWarning

TIME, COLUMNS = weather(days=60)
TEXT = as_csv(TIME, COLUMNS)
HAI = HH.replace("DE-Tha", "DE-Hai")
ARCHIVE = "FLX_DE-Tha_FLUXNET2015_FULLSET_2010-2010_1-4.zip"
FACTS = {"LOCATION_LAT": 50.96, "LOCATION_LONG": 13.57, "IGBP": "ENF", "UTC_OFFSET": 1}


def said_of(source: Path, out: Path) -> list[str]:
    """What an import warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FluxtrapolationWarning)
        import_fluxnet(source, out)
    return [str(one.message) for one in caught if issubclass(one.category, FluxtrapolationWarning)]


# ---- passed over


def test_what_is_passed_over_is_told_once(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in",
        {
            HH: TEXT,
            HAI + ".gz": gzip.compress(TEXT.encode()),
            "more.tar.gz": b"packed",
            "sites.csv": "site,lat\n",
            "FI-Hyy.csv": "time,TA\n",
            "policy.pdf": b"%PDF",
            "half.zip.crdownload": b"PK",
            ".DS_Store": b"",
            "a/b/c/d/e/f/g/FLX_FI-Hyy_FLUXNET2015_FULLSET_HH_2010-2010_1-4.csv": TEXT,
            HH.replace("DE-Tha", "SE-Nor").replace("_HH_", "_MM_"): TEXT,
            HH.replace("_HH_", "_MM_"): TEXT,  # usual beside the half hours: no word
        },
    )
    write_zip(source / "photos.zip", {"mast.jpg": b"x"})
    (tmp_path / "elsewhere").mkdir()
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    (said,) = said_of(source, tmp_path / "out")
    assert said.startswith(f"8 files and 2 folders of {source} are passed over: packed otherwise than as zip: 2 (")
    for part in (
        f"{HAI}.gz, more.tar.gz)",
        "unfinished downloads: 1 (half.zip.crdownload)",
        "benchmark CSV files: 1 (FI-Hyy.csv)",
        "tables of other names: 1 (sites.csv)",
        "archives without any FLUXNET file: 1 (photos.zip)",
        "daily one: 1 (FLX_SE-Nor_FLUXNET2015_FULLSET_MM_2010-2010_1-4.csv)",
        "of other kinds: 1 (policy.pdf)",
        "links to folders: 1 (linked)",
        "folders too far below: 1 (g)",
        "Unpack the packed ones (gunzip NAME.csv.gz, tar -xf NAME.tar.gz).",
        "--format benchmark-csv",
    ):
        assert part in said, part
    assert "DS_Store" not in said and HH.replace("_HH_", "_MM_") not in said


def test_nothing_passed_over_nothing_said(tmp_path: Path) -> None:
    names = {HH: TEXT, HH.replace("_HH_", "_YY_"): TEXT, HH.replace("FULLSET", "ERAI"): TEXT}
    assert said_of(write(tmp_path / "in", names), tmp_path / "out") == []


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in", {HH: TEXT, f"closed/{HAI}": TEXT})
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (said,) = said_of(source, tmp_path / "out")
    assert "1 folder of " in said and "folders that may not be read: 1 (closed)" in said


def test_only_packed_files(tmp_path: Path) -> None:
    """As hubs and colleagues send them: nothing to read, and the message says what to do."""
    source = write(tmp_path / "in", {HH + ".gz": gzip.compress(TEXT.encode())})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(HH))
    write(source, {"all.tar.gz": buffer.getvalue()})
    unpack = r"all\.tar\.gz.* are packed otherwise than as zip: unpack it first \(gunzip NAME\.csv\.gz, tar -xf"
    for read in (take_stock, detect_format):
        with pytest.raises(DataError, match=unpack):
            read(str(source))
    with pytest.raises(DataError, match=r"1-4\.csv\.gz is packed otherwise than as zip: unpack it first"):
        import_towers(source / (HH + ".gz"), tmp_path / "out")


# ---- the same name twice in one archive


@pytest.mark.parametrize("second", [HH, HH.replace("FLX_", "data\\FLX_")])
def test_members_of_one_name(tmp_path: Path, second: str) -> None:
    first = second.replace("\\", "/")
    path = tmp_path / ARCHIVE
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(first, TEXT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # zipfile's own: Duplicate name
            archive.writestr(second, TEXT.replace("1", "2"))
    with pytest.raises(DataError, match=rf"1 of its names stands for several members: {first}\. Which one is right"):
        import_fluxnet(path, tmp_path / "out")


def test_one_name_in_two_folders_of_an_archive_is_no_clash(tmp_path: Path) -> None:
    path = write_zip(tmp_path / ARCHIVE, {f"a/{HH}": TEXT, f"a/{DD}": "", "a/README.txt": "a", "b/README.txt": "b"})
    assert import_fluxnet(path, tmp_path / "out").site_ids == ("DE-Tha",)


# ---- control characters


def test_control_characters_of_a_bif_table_reach_nobody(tmp_path: Path) -> None:
    facts = {**FACTS, "SITE_NAME": "Thar\x1b[31mandt\x07 \u202eForest", "DOI": "10.18140/FLX/\x1b]0;x\x07144015"}
    store = import_fluxnet(write(tmp_path / "in", {HH: TEXT, BIF: bif("DE-\x1bTha", **facts)}), tmp_path / "out")
    assert store.record("DE-Tha").name == "Thar[31mandt Forest"
    assert store.manifest.sites["DE-Tha"].doi == "10.18140/FLX/]0;x144015"
    notes = store.manifest.sites["DE-Tha"].notes
    assert f"{BIF}: SITE_NAME holds control characters, left out here" in notes
    assert f"{BIF}: DOI holds control characters, left out here" in notes
    for text in (render(cite_store(store)), *notes):
        assert text.replace("\n", "").isprintable()


def test_line_breaks_of_a_bif_table_become_blanks(tmp_path: Path) -> None:
    table = bif("DE-Tha", **FACTS, SITE_NAME='"Tharandt\n Forest"')
    store = import_fluxnet(write(tmp_path / "in", {HH: TEXT, BIF: table}), tmp_path / "out")
    assert store.record("DE-Tha").name == "Tharandt Forest"
    assert not any("control characters" in note for note in store.manifest.sites["DE-Tha"].notes)


def test_file_names_with_control_characters_are_no_names(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {HH: TEXT, HAI.replace("1-4", "1\x1b[31m-4"): TEXT})
    (said,) = said_of(source, tmp_path / "out")
    assert "tables of other names: 1 (FLX_DE-Hai_FLUXNET2015_FULLSET_HH_2010-2010_1[31m-4.csv)" in said


# ---- capitals

BIF = "FLX_DE-Tha_FLUXNET2015_BIF_2010-2010_1-4.csv"


@pytest.mark.parametrize("change", [str.lower, str.upper])
@pytest.mark.parametrize("packed", [False, True])
def test_names_in_other_capitals_are_the_same_site(tmp_path: Path, change: Any, packed: bool) -> None:
    files = {change(HH): TEXT, BIF: bif("DE-Tha", **FACTS)}
    place = tmp_path / "in"
    source = write_zip(place / change(ARCHIVE), files).parent if packed else write(place, files)
    store = import_fluxnet(source, tmp_path / "out")
    assert store.site_ids == ("DE-Tha",) and store.record("DE-Tha").utc_offset_h == 1.0
    assert f"read from {change(HH)}" in store.manifest.sites["DE-Tha"].notes
    assert import_fluxnet(source, tmp_path / "asked", sites=["DE-Tha"]).site_ids == ("DE-Tha",)


def test_a_new_site_is_spelt_as_its_own_table_spells_it(tmp_path: Path) -> None:
    files = {
        HH.lower().replace("de-tha", "zz-abc"): TEXT,
        BIF.lower().replace("de-tha", "zz-abc"): bif("ZZ-Abc", **FACTS),
    }
    assert import_fluxnet(write(tmp_path / "in", files), tmp_path / "out").site_ids == ("ZZ-Abc",)


def test_the_users_table_spells_a_new_site(tmp_path: Path) -> None:
    table = write(tmp_path, {"sites.csv": "site_id,lat,lon,igbp\nZZ-Abc,50.96,13.57,ENF\n"}) / "sites.csv"
    source = write(tmp_path / "in", {HH.lower().replace("de-tha", "zz-abc"): TEXT})
    assert import_fluxnet(source, tmp_path / "out", sites_table=table).site_ids == ("ZZ-Abc",)


def test_versions_in_different_capitals_are_one_site(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {HH.lower(): TEXT, HH.replace("1-4", "1-3"): TEXT})
    with pytest.warns(FluxtrapolationWarning, match=r"1 site has several files; .*DE-Tha \(flx_de-tha"):
        store = import_fluxnet(source, tmp_path / "out")
    assert store.site_ids == ("DE-Tha",)


def test_a_site_whose_id_has_small_letters(tmp_path: Path) -> None:
    """CZ-wet is written so."""
    stock = take_stock(write(tmp_path / "in", {HH.replace("DE-Tha", "CZ-wet"): TEXT}), {"CZ-wet", "DE-Tha"})
    assert list(stock.files) == ["CZ-wet"]


# ---- one file under two names


def test_the_same_values_under_two_names(tmp_path: Path) -> None:
    """Copied or misnamed: the archives differ in every byte, the towers in none."""
    source = write(tmp_path / "in", {HH: TEXT})
    write_zip(source / ARCHIVE.replace("DE-Tha", "DE-Hai"), {HAI: TEXT.replace("\n", "\r\n")})
    write(source, {HH.replace("DE-Tha", "DE-Obe"): as_csv(*weather(days=60, seed=2))})
    (said,) = said_of(source, tmp_path / "out")
    assert said.startswith("2 towers hold the same values under different names: DE-Hai = DE-Tha. Were files copied")
    (again, held) = sorted(said_of(source, tmp_path / "out"))
    assert again == said and "3 towers were already in the store" in held

    folder = tmp_path / "csv"
    with pytest.warns(FluxtrapolationWarning, match="2 towers hold the same values under different names: DE-Hai = "):
        import_benchmark_csv(export_benchmark_csv(import_fluxnet_quietly(source, tmp_path), folder), tmp_path / "back")


def import_fluxnet_quietly(source: Path, place: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        return import_fluxnet(source, place / "quiet")


def test_one_value_apart_is_another_tower(tmp_path: Path) -> None:
    apart = {**COLUMNS, "NEE_VUT_REF": COLUMNS["NEE_VUT_REF"] + np.where(np.arange(TIME.size) == 1500, 0.5, 0.0)}
    source = write(tmp_path / "in", {HH: TEXT, HAI: as_csv(TIME, apart)})
    assert said_of(source, tmp_path / "out") == []


def test_what_fetch_keeps_beside_its_files(tmp_path: Path) -> None:
    """A rejected file is never read, not even as the only one of its tower; lock file and notes are no matter."""
    source = write(
        tmp_path / "in",
        {
            HH: TEXT,
            "fetch.lock.json": "{}",
            f"{HAI}.part": TEXT[:99],
            f"{HAI}.part.json": "{}",
            f"rejected/{HAI}": TEXT,
            f"rejected/{HAI}.reason.txt": "its sha256 is not the publisher's\n",
        },
    )
    assert set(take_stock(source).files) == {"DE-Tha"}
    (said,) = said_of(source, tmp_path / "out")
    assert said == (
        f"2 files of {source} are passed over: rejected by 'data fetch': 1 ({HAI}); unfinished downloads: 1 "
        f"({HAI}.part). Why files were rejected stands in NAME.reason.txt beside them. Finish the downloads."
    )
    with pytest.raises(DataError, match="holds no half-hourly"):
        take_stock(source / "rejected")

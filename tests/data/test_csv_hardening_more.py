"""Benchmark CSV files: harmless differences, places and the sun, everything at once, there and back."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from csv_damage import DAYS, OTHERS, cells, lines, make_towers, raw, scaled, swap, table

from fluxtrapolation.data.importers import import_towers
from fluxtrapolation.data.importers.benchmark_csv import check_benchmark_csv, export_benchmark_csv
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_towers(tmp_path_factory.mktemp("hard"))


@pytest.fixture
def folder(towers: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "csv"
    copy.mkdir()
    for path in towers.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "SOURCES.json").unlink()
    return copy


def test_undamaged_files_have_no_errors(folder: Path) -> None:
    assert check_benchmark_csv(folder).filter(pl.col("level") == "error").height == 0


@pytest.mark.parametrize("name", ["CRLF", "BOM", "both", "quotes", "no last line break", "blank lines", "spaces"])
def test_harmless_differences_change_nothing(folder: Path, tmp_path: Path, name: str) -> None:
    want = import_towers(folder, tmp_path / "want")
    path = folder / "DE-Hai.csv"
    content = path.read_bytes()
    match name:
        case "CRLF":
            content = content.replace(b"\n", b"\r\n")
        case "BOM":
            content = b"\xef\xbb\xbf" + content
        case "both":
            content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
        case "quotes":
            content = b'"' + content.rstrip(b"\n").replace(b",", b'","').replace(b"\n", b'"\n"') + b'"\n'
        case "no last line break":
            content = content.rstrip(b"\n")
        case "blank lines":
            rows = content.splitlines(keepends=True)
            content = b"".join([*rows[:9], b"\n", *rows[9:], b"\n \n"])
        case "spaces":
            content = content.replace(b",", b", ")
    path.write_bytes(content)
    made = import_towers(folder, tmp_path / "made")
    for site in want.site_ids:
        assert made.read_site(site).equals(want.read_site(site), null_equal=True)
        assert made.record(site) == want.record(site)
    assert made.data_hash == want.data_hash


def test_a_file_cut_inside_its_last_value_is_noted(folder: Path, tmp_path: Path) -> None:
    """The rest of a number is a number: nothing else can tell that 12.3456 became 1."""
    path = folder / "DE-Hai.csv"
    frame = pl.read_csv(path)
    order = [name for name in frame.columns if name != "TA"]
    frame.with_columns(pl.lit(12.3456).alias("TA")).select(*order, "TA").write_csv(path)
    told = "line break"
    assert not check_benchmark_csv(folder).filter(pl.col("what").str.contains(told)).height
    path.write_bytes(path.read_bytes().removesuffix(b"2.3456\n"))
    (row,) = check_benchmark_csv(folder).filter(pl.col("what").str.contains(told)).to_dicts()
    assert (row["site_id"], row["level"], row["count"]) == ("DE-Hai", "note", 1)
    assert row["example"].endswith(",1'")
    made = import_towers(folder, tmp_path / "out")
    assert made.read_site("DE-Hai")["TA"][-1] == 1.0
    assert any(told in note for note in made.manifest.sites["DE-Hai"].notes)


def test_the_sign_of_the_latitude_is_found_by_the_sun(folder: Path, tmp_path: Path) -> None:
    """A tower that the packaged table does not know: only the sun can tell."""
    (folder / "DE-Hai.csv").rename(folder / "XX-New.csv")
    scaled("tower_lat", -1.0)(folder / "XX-New.csv")
    with pytest.warns(FluxtrapolationWarning):
        made = import_towers(folder, tmp_path / "out")
    assert re.search(
        r"does not follow the sun at latitude -51\.0792, longitude 10\.4522 \(rmse \d+ W m-2 .*"
        r"With latitude 51\.0792 it fits: the sign of tower_lat is wrong",
        made.manifest.failures["XX-New"],
    )


def test_swapped_coordinates_are_found_by_the_sun(folder: Path, tmp_path: Path) -> None:
    (folder / "DE-Hai.csv").rename(folder / "XX-New.csv")
    swap("tower_lat", "tower_lon")(folder / "XX-New.csv")
    with pytest.warns(FluxtrapolationWarning):
        made = import_towers(folder, tmp_path / "out")
    assert "tower_lat and tower_lon are swapped" in made.manifest.failures["XX-New"]


def test_without_potential_radiation_the_season_tells_the_hemisphere(folder: Path, tmp_path: Path) -> None:
    for path in sorted(folder.glob("*.csv")):
        table(lambda frame: frame.drop("SW_IN_POT_hourly"))(path)
    (folder / "DE-Hai.csv").rename(folder / "XX-New.csv")
    scaled("tower_lat", -1.0)(folder / "XX-New.csv")
    with pytest.warns(FluxtrapolationWarning):
        made = import_towers(folder, tmp_path / "out")
    assert "seasons of the other hemisphere" in made.manifest.failures["XX-New"]


def test_the_users_table_settles_a_place(folder: Path, tmp_path: Path) -> None:
    scaled("tower_lat", -1.0)(folder / "DE-Hai.csv")
    given = tmp_path / "sites.csv"
    given.write_text("site_id,lat,lon,igbp\nDE-Hai,51.0792,10.4522,DBF\n")
    made = import_towers(folder, tmp_path / "out", sites_table=given)
    assert made.record("DE-Hai").lat == 51.0792


def test_everything_wrong_with_a_file_is_told_at_once(folder: Path, tmp_path: Path) -> None:
    path = folder / "DE-Hai.csv"
    scaled("VPD", 0.1)(path)
    scaled("EVI", 10000.0)(path)
    cells(9, "GPP", "-9999")(path)
    lines(lambda c: [*c[:40], c[39], *c[40:]])(path)
    raw(b"")(folder / "US-Ha1.csv")
    rows = check_benchmark_csv(folder)
    told = rows.filter(pl.col("site_id") == "DE-Hai")["what"].to_list()
    assert len(told) == 4
    for words in ("VPD looks like kPa", "values of EVI lie outside", "values of GPP lie outside", "more than once"):
        assert any(words in what for what in told), told
    counts = dict(zip(told, rows.filter(pl.col("site_id") == "DE-Hai")["count"], strict=True))
    assert sorted(count for count in counts.values() if count) == [1, 1, 9601]
    assert rows.filter(pl.col("site_id") == "US-Ha1")["what"].to_list() == ["US-Ha1.csv is empty"]


def test_every_column_that_is_no_number_is_told(folder: Path) -> None:
    for name in ("TA", "VPD", "qc_mask"):
        cells(9, name, "x")(folder / "DE-Hai.csv")
    cells(30, "time", "noon")(folder / "DE-Hai.csv")
    told = check_benchmark_csv(folder)["what"].to_list()
    assert len(told) == 4


def test_a_file_that_changes_while_it_is_read(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grown between the first look at its size and the end of reading, as by a download that is still running."""
    from fluxtrapolation.data.importers import csv_header

    real = csv_header._state
    seen: list[Path] = []

    def growing(path: Path) -> tuple[int, int, int]:
        seen.append(path)
        if path.name == "DE-Hai.csv" and seen.count(path) == 3:
            with path.open("ab") as handle:
                handle.write(b"2016-02-05 00:00:00,1")
        return real(path)

    monkeypatch.setattr(csv_header, "_state", growing)
    with pytest.warns(FluxtrapolationWarning):
        made = import_towers(folder, tmp_path / "out")
    assert re.search(r"changed while it was read \([\d,]+ bytes before", made.manifest.failures["DE-Hai"])


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(folder: Path, tmp_path: Path) -> None:
    (folder / "DE-Hai.csv").chmod(0)
    with pytest.warns(FluxtrapolationWarning):
        made = import_towers(folder, tmp_path / "out")
    assert "cannot be read (Permission denied). It must be a file that you may read" in made.manifest.failures["DE-Hai"]


def test_a_folder_that_is_a_link_in_a_circle(tmp_path: Path) -> None:
    from fluxtrapolation.errors import DataError

    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(DataError, match=r"in a circle"):
        import_towers(tmp_path / "a", tmp_path / "out", format="benchmark-csv")


@pytest.mark.parametrize("spelling", ["yes/no", "TRUE/FALSE", "T/F", "Y/N", "1.0/0.0", "true/"])
def test_booleans_in_any_spelling_for_classes_and_flags(folder: Path, tmp_path: Path, spelling: str) -> None:
    want = import_towers(folder, tmp_path / "want")
    yes, no = spelling.split("/")
    path = folder / "DE-Hai.csv"
    frame = pl.read_csv(path, infer_schema=False)
    flag = pl.when(pl.col("qc_mask") == "1").then(pl.lit(yes)).otherwise(pl.lit(no or "false"))
    pft = pl.when(pl.col("PFT_DBF").str.to_lowercase() == "true").then(pl.lit(yes)).otherwise(pl.lit(no))
    frame.with_columns(qc_mask=flag, PFT_DBF=pft, PFT_SNO=pl.lit(no)).write_csv(path)
    made = import_towers(folder, tmp_path / "made")
    assert made.read_site("DE-Hai").equals(want.read_site("DE-Hai"), null_equal=True)
    assert made.record("DE-Hai").igbp == "DBF"


def test_no_class_at_all_asks_for_the_sites_table(folder: Path, tmp_path: Path) -> None:
    table(lambda frame: frame.drop("PFT_DBF"))(folder / "DE-Hai.csv")
    assert import_towers(folder, tmp_path / "one").record("DE-Hai").igbp == "DBF"  # as the packaged table says
    (folder / "DE-Hai.csv").rename(folder / "XX-New.csv")
    with pytest.warns(FluxtrapolationWarning):
        made = import_towers(folder, tmp_path / "two")
    assert "IGBP class is not known" in made.manifest.failures["XX-New"]
    assert "--sites-table" in made.manifest.failures["XX-New"]


def test_extra_columns_and_packed_files_are_kept_out_with_a_notice(folder: Path, tmp_path: Path) -> None:
    path = folder / "DE-Hai.csv"
    content = path.read_bytes().splitlines()
    content = [content[0] + b",Tair_K,comment", *(row + b",280," + "Höhe".encode("latin-1") for row in content[1:])]
    path.write_bytes(b"\n".join(content) + b"\n")
    for packed in ("FR-Pue.csv.gz", "all.tar", "all.tgz", "FI-Hyy.csv.download"):
        (folder / packed).write_bytes(b"\x1f\x8b")
    (folder / "README.md").write_text("what these are\n")
    (folder / "._DE-Hai.csv").write_bytes(b"\0\0\0")
    with pytest.warns(FluxtrapolationWarning) as caught:
        made = import_towers(folder, tmp_path / "out")
    told = [str(one.message) for one in caught]
    assert any(
        "2 columns are no part of the benchmark and are left out: Tair_K (in 1), comment (in 1)" in t for t in told
    )
    not_read = "FI-Hyy.csv.download, FR-Pue.csv.gz, all.tar and 1 more. Unpack what is packed, save workbooks as CSV, "
    assert any(f"4 files of {folder} are not read: {not_read}" in t for t in told)
    assert made.site_ids == ("DE-Hai", *OTHERS)


def test_missing_hours_are_a_note(folder: Path, tmp_path: Path) -> None:
    lines(lambda c: [*c[:100], *c[130:]])(folder / "DE-Hai.csv")
    made = import_towers(folder, tmp_path / "out")
    notes = made.info()["notes"]["DE-Hai"]
    assert any("30 hours are missing in 1 gaps (first: after 2015-01-05 02:00:00)" in note for note in notes)
    assert made.record("DE-Hai").hours == 24 * DAYS - 30


def test_export_of_what_was_imported_is_byte_identical(folder: Path, tmp_path: Path) -> None:
    first = export_benchmark_csv(import_towers(folder, tmp_path / "one"), tmp_path / "a", jobs=2)
    second = export_benchmark_csv(import_towers(first, tmp_path / "two"), tmp_path / "b", jobs=1)
    for path in first.glob("*.csv"):
        assert path.read_bytes() == (second / path.name).read_bytes()
    assert Store(tmp_path / "one").data_hash != ""
    for site in ("DE-Hai", *OTHERS):
        left, right = (Store(tmp_path / name).read_site(site) for name in ("one", "two"))
        for name in left.columns:
            one, two = left[name], right[name]
            if one.dtype == pl.Float32:
                assert np.array_equal(
                    one.to_numpy().view(np.uint32)[one.is_not_null().to_numpy()],
                    two.to_numpy().view(np.uint32)[two.is_not_null().to_numpy()],
                )
            assert one.is_null().equals(two.is_null())


def test_pandas_reads_the_export_as_the_reference_loader_would(folder: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    store = import_towers(folder, tmp_path / "one")
    out = export_benchmark_csv(store, tmp_path / "a")
    frame = pandas.read_csv(out / "DE-Hai.csv")
    time = pandas.to_datetime(frame["time"], format="%Y-%m-%d %H:%M:%S")
    assert time.is_monotonic_increasing and (time.dt.year == frame["year"]).all()
    assert frame["PFT_DBF"].dtype == bool and set(frame["qc_mask"]) == {0, 1}
    held = store.read_site("DE-Hai")
    for name in (*store.covariates, *store.targets):
        assert np.array_equal(frame[name].to_numpy(np.float32), held[name].to_numpy(), equal_nan=True), name

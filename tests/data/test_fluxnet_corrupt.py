"""What goes wrong with FLUXNET files, and what is said of it: each corruption with its message."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fluxnet_maker import DD, HH, as_csv, as_daily_csv, bif, daily_means, weather, write, write_zip

from fluxtrapolation.data.importers import fluxnet_csv
from fluxtrapolation.data.importers.fluxnet_archive import import_fluxnet
from fluxtrapolation.data.importers.fluxnet_columns import Options
from fluxtrapolation.errors import DataError

TIME, COLUMNS = weather()
TEXT = as_csv(TIME, COLUMNS)
LINES = TEXT.splitlines()
ARCHIVE = "FLX_DE-Tha_FLUXNET2015_FULLSET_2010-2010_1-4.zip"
BIF = "FLX_DE-Tha_FLUXNET2015_BIF_2010-2010_1-4.csv"


def lines(change: Callable[[list[str]], object]) -> str:
    """The good file with its lines changed in place."""
    copy = list(LINES)
    change(copy)
    return "\n".join(copy) + "\n"


def columns(**changes: np.ndarray) -> str:
    return as_csv(TIME, {**COLUMNS, **changes})


def header(old: str, new: str) -> str:
    return TEXT.replace(LINES[0], ",".join(new if n == old else old if n == new else n for n in LINES[0].split(",")), 1)


def summer_time() -> str:
    """The clock of a machine that goes to summer time: an hour missing in March, one twice in October."""

    def change(rows: list[str]) -> None:
        at = {row[:12]: i for i, row in enumerate(rows)}
        spring, autumn = at["201003280200"], at["201010310200"]
        rows[autumn:autumn] = rows[autumn : autumn + 2]
        del rows[spring : spring + 2]

    return lines(change)


def swapped_stamps() -> str:
    return lines(lambda rows: rows.__setitem__(slice(1, None), [f"{r[13:25]},{r[:12]}{r[25:]}" for r in rows[1:]]))


FILES: list[tuple[str, str | bytes, str]] = [
    ("truncated line", TEXT[:-40],
     r"line 17,521 has \d+ of 18 fields, the file or a download ends in the middle of it"),
    ("short line inside", lines(lambda r: r.__setitem__(50, r[50][:60])), r"line 51 has \d+ of 18 fields\. Fetch"),
    ("long line inside", lines(lambda r: r.__setitem__(50, r[50] + ",1")), "line 51 has 19 of 18 fields"),
    ("a short and a long line", lines(lambda r: r.__setitem__(slice(50, 52), [r[50].rpartition(",")[0], r[51] + ",1"])),
     "line 51 has 17 of 18 fields"),
    ("empty line inside", lines(lambda r: r.insert(50, "")), "line 51 is empty"),
    ("decimal commas", TEXT.replace(",", ";").replace(".", ","),
     "separates its fields by ';'.*decimal commas included"),
    ("quoted decimal commas", lines(lambda r: r.__setitem__(3, r[3].replace(r[3].split(",")[2], '"2,5"', 1))),
     r"line 4 holds a comma between quotation marks \(decimal commas\?\)"),
    ("text for a number", lines(lambda r: r.__setitem__(3, r[3].replace(r[3].split(",")[2], "warm", 1))),
     r"1 values of TA_F in .* lines are not numbers \(first: 'warm' in line 4\)"),
    ("a block of NUL bytes", TEXT[:3000] + "\0" * 4000 + TEXT[3000:],
     r"not numbers \(first: '.{0,90}'\.\.\. of 4,0\d\d characters in line .*NUL bytes stand where"),
    ("NUL bytes for the number", lines(lambda r: r.__setitem__(3, r[3].replace(r[3].split(",")[2], "\0" * 3, 1))),
     r"\(first: '\\x00\\x00\\x00' in line 4\)\. NUL bytes stand where a disk or a download lost a part of the file"),
    ("spreadsheet stamps", lines(lambda r: r.__setitem__(3, r[3].replace("201001010100", "2.01001E+11", 1))),
     r"values of TIMESTAMP_START in .* \(first: '2.01001E\+11' in line 4\).*A spreadsheet has rounded it"),
    ("utf-16", TEXT.encode("utf-16"), "is not in UTF-8 but in UTF-16.*Save it as CSV UTF-8"),
    ("utf-16 without mark", TEXT.encode("utf-16-le"), "is not in UTF-8 but in UTF-16"),
    ("empty", "", "is empty. Fetch the file again"),
    ("only a header", LINES[0] + "\n", "has a header but no rows"),
    ("web page", "<!DOCTYPE html><html>404</html>", r"is a web page \(HTML\), not a table"),
    ("huge header", "A" * 3_000_000, "its first line has more than 1 MB"),
    ("many columns", ",".join(["X"] * 6000) + "\n", "has 6,000 columns; a FLUXNET file has some 270"),
    ("column missing", TEXT.replace("NEE_VUT_REF,", "NEE_VUT_REFF,", 1),
     "lacks 1 of the columns needed: NEE_VUT_REF.*Did you mean 'NEE_VUT_REFF'"),
    ("column twice", TEXT.replace("P_F,", "TA_F,", 1), "has the column TA_F 2 times"),
    ("daily rows under an hourly name", as_daily_csv(*daily_means(TIME, COLUMNS)),
     "TIMESTAMP_START.*Is it a daily file under the name of an hourly one"),
    ("half hour twice", lines(lambda r: r.insert(100, r[100])),
     r"1 half hours appear more than once \(first: 2010-01-03 01:30\)"),
    ("summer time", summer_time(),
     r"2 half hours appear more than once \(first: 2010-10-31 02:00\)\. One hour of a day repeats, and an hour "
     r"is missing after 2010-03-28 01:30: this looks like summer time"),
    ("summer time, cleaned", lines(lambda r: [r.__delitem__(slice(a, a + 2)) for a in (11861, 4133)]),
     r"2 single hours are missing, always in the night of a Sunday in spring or autumn \(first: after 2010-03-28 "
     r"01:30\): this looks like summer time with the repeated hours removed"),
    ("backwards", lines(lambda r: r.__setitem__(slice(100, 102), [r[101], r[100]])),
     r"time runs backwards at 1 places \(first: 2010-01-03 02:00 is followed by 2010-01-03 01:30 in line 102\)"),
    ("no date", lines(lambda r: r.__setitem__(60, r[60].replace("20100102", "20100232"))),
     r"1 of 17,520 values of TIMESTAMP_START are no times \(first: 201002320530 in line 61\)"),
    ("quarter hours", lines(lambda r: r.__setitem__(slice(1, None), [r[1].replace("201001010000", "201001010015", 1)])),
     "do not last 30 or 60 minutes"),
    ("START and END swapped", swapped_stamps(), "TIMESTAMP_START and TIMESTAMP_END stand in each other's column"),
    ("TA and VPD swapped", header("TA_F", "VPD_F"),
     "VPD is more than saturation at TA in .* TA and VPD stand in each other's column"),
    ("NEE and GPP swapped", header("NEE_VUT_REF", "GPP_NT_VUT_REF"), "NEE and GPP stand in each other's column"),
    ("NEP for NEE", columns(NEE_VUT_REF=-COLUMNS["NEE_VUT_REF"]), "NEE rises with GPP .*its sign is turned.*NEP"),
    ("infinite NEE", columns(NEE_VUT_REF=np.where(np.arange(TIME.size) == 7, np.inf, COLUMNS["NEE_VUT_REF"])),
     "1 of [0-9,]+ values of NEE_VUT_REF are infinite, the first in line 9"),
    ("TA in kelvin", columns(TA_F=COLUMNS["TA_F"] + 273.15), "TA looks like kelvin.*Subtract 273.15"),
    ("VPD in kPa", columns(VPD_F=COLUMNS["VPD_F"] / 10), "VPD looks like kPa.*Multiply VPD by 10"),
    ("VPD in Pa", columns(VPD_F=np.minimum(COLUMNS["VPD_F"] * 100, 9000)), "VPD looks like Pa.*Divide VPD by 100"),
    ("NEE in mmol", columns(NEE_VUT_REF=COLUMNS["NEE_VUT_REF"] / 1000),
     "NEE is far too small.*Is it in mmol m-2 s-1.* multiply it by 1000"),
    ("GPP in mmol", columns(GPP_NT_VUT_REF=COLUMNS["GPP_NT_VUT_REF"] / 1000), "GPP is far too small.*mmol m-2 s-1"),
    ("NEE in nmol", columns(NEE_VUT_REF=COLUMNS["NEE_VUT_REF"] * 1000), "NEE lie outside -250 to 250 umol"),
    ("LE in kW", columns(LE_F_MDS=COLUMNS["LE_F_MDS"] / 1000), "LE is far too small for W m-2.*kW m-2"),
    ("SW_IN in kW", columns(SW_IN_F=COLUMNS["SW_IN_F"] / 1000), "SW_IN is far too small for W m-2"),
    ("flags in percent", columns(NEE_VUT_REF_QC=COLUMNS["NEE_VUT_REF_QC"] * 33.3),
     "values of NEE_VUT_REF_QC are not a flag of 0, 1, 2 or 3"),
    ("no weather", columns(SW_IN_F=np.full(TIME.size, np.nan)), "radiation all three: only missing values in SW_IN_F"),
    ("no temperature", columns(TA_F=np.full(TIME.size, np.nan)),
     "all three: only missing values in TA_F. Fetch the tower's FULLSET archive, where gaps of the weather are filled"),
    ("nothing but missing values", as_csv(TIME, {}),
     r"only missing ones\. Fetch the tower's archive again, or leave the tower out"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_corrupt_files(tmp_path: Path, content: str | bytes, message: str) -> None:
    source = write(tmp_path / "in", {HH: content})
    with pytest.raises(DataError, match=f"(?s)Site DE-Tha.*{message}"):
        import_fluxnet(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


HARMLESS: list[tuple[str, str | bytes]] = [
    ("byte order mark", b"\xef\xbb\xbf" + TEXT.encode()),
    ("CRLF", TEXT.replace("\n", "\r\n")),
    ("CRLF and blanks at the end", TEXT.replace("\n", "\r\n") + "\r\n\r\n"),
    ("no newline at the end", TEXT.rstrip("\n")),
    ("blanks around numbers", lines(lambda r: r.__setitem__(5, r[5].replace(",", " , ")))),
    ("columns in another order", as_csv(TIME, COLUMNS, header=LINES[0].split(",")[::-1])),
    ("quoted header in small letters", f'"{LINES[0].lower()}"\n'.replace(",", '","') + "\n".join(LINES[1:])),
]  # fmt: skip


@pytest.mark.parametrize("content", [case[1] for case in HARMLESS], ids=[case[0] for case in HARMLESS])
def test_harmless_differences(tmp_path: Path, content: str | bytes) -> None:
    store = import_fluxnet(write(tmp_path / "in", {HH: content}), tmp_path / "out")
    good = import_fluxnet(write(tmp_path / "good", {HH: TEXT}), tmp_path / "out2")
    assert store.manifest.sites["DE-Tha"].sha256 == good.manifest.sites["DE-Tha"].sha256


def test_missing_half_hours_are_noted(tmp_path: Path) -> None:
    def change(rows: list[str]) -> None:
        del rows[101:104]

    store = import_fluxnet(write(tmp_path / "in", {HH: lines(change)}), tmp_path / "out")
    said = "\n".join(store.manifest.sites["DE-Tha"].notes)
    assert "3 half hours are not in the file (first: 2010-01-03 02:00)" in said
    assert "2 of 8760 hours left out" in said and store.hours == 8758


def test_a_file_that_ends_early_is_noted(tmp_path: Path) -> None:
    store = import_fluxnet(write(tmp_path / "in", {HH: "\n".join(LINES[:9001])}), tmp_path / "out")
    assert "promises 2010 to 2010, its rows go from 2010-01-01 00:00" in "\n".join(store.manifest.sites["DE-Tha"].notes)


def test_far_more_rows_than_time_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small archive can unpack to very many rows: it ends before they fill the memory."""
    blocks: list[int] = []
    original = fluxnet_csv._Reader.parse

    def counted(self: fluxnet_csv._Reader, block: bytes, *, first_line: int) -> pl.DataFrame:
        frame = original(self, block, first_line=first_line)
        blocks.append(frame.height)
        return frame

    assert fluxnet_csv.MAX_ROWS > 200 * 366 * 48
    monkeypatch.setattr(fluxnet_csv._Reader, "parse", counted)
    monkeypatch.setattr(fluxnet_csv, "MAX_ROWS", 5_000)
    monkeypatch.setattr(fluxnet_csv, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(fluxnet_csv, "MAX_LINE_BYTES", 1_000)
    source = write(tmp_path / "in", {HH: TEXT})
    with pytest.raises(DataError, match=r"has more than 5,000 rows; two centuries of half hours have fewer"):
        import_fluxnet(source, tmp_path / "out", options=Options(et="none"))
    assert sum(blocks) < 8_000 < TIME.size


def test_daily_flags_in_percent(tmp_path: Path) -> None:
    days, table = daily_means(TIME, COLUMNS)
    table["NEE_VUT_REF_QC"] = table["NEE_VUT_REF_QC"] * 100
    with pytest.raises(DataError, match=r"values of NEE_VUT_REF_QC are not a share from 0 to 1.*in percent"):
        import_fluxnet(write(tmp_path / "in", {DD: as_daily_csv(days, table)}), tmp_path / "out")


def test_a_day_twice(tmp_path: Path) -> None:
    text = as_daily_csv(*daily_means(TIME, COLUMNS)).splitlines()
    text.insert(10, text[10])
    with pytest.raises(DataError, match=r"1 days appear more than once \(first: 2010-01-10 00:00\)"):
        import_fluxnet(write(tmp_path / "in", {DD: "\n".join(text)}), tmp_path / "out")


# ---- facts that cannot be

PLACE: list[tuple[str, str, str]] = [
    ("site of another name", bif("DE-Hai", LOCATION_LAT=51.0, LOCATION_LONG=10.4, IGBP="DBF"),
     "the site id of its metadata does not match: .*BIF.* is about DE-Hai"),
    ("latitude of the other hemisphere", bif("DE-Tha", LOCATION_LAT=-50.96, LOCATION_LONG=13.57, UTC_OFFSET=1),
     "LOCATION_LAT -50.96, the packaged site table 50.96.*: one has the wrong sign"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "message"), [case[1:] for case in PLACE], ids=[case[0] for case in PLACE])
def test_metadata_that_cannot_be(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"Site DE-Tha: .*{message}"):
        import_fluxnet(write(tmp_path / "in", {HH: TEXT, BIF: table}), tmp_path / "out")


@pytest.mark.parametrize("potential", [True, False], ids=["SW_IN_POT", "SW_IN"])
@pytest.mark.parametrize(("lat", "lon", "turned"), [(-50.96, 13.57, "latitude"), (50.96, -113.57, "longitude")])
def test_the_sun_tells_the_wrong_hemisphere(
    tmp_path: Path, lat: float, lon: float, turned: str, potential: bool
) -> None:
    """A site that no other table knows: only the file's own radiation can tell."""
    time, table = weather(lat=50.96, lon=abs(lon), offset=8.0 if abs(lon) > 100 else 1.0)
    if not potential:
        table.pop("SW_IN_POT")
    facts = bif("ZZ-Aaa", LOCATION_LAT=lat, LOCATION_LONG=lon, IGBP="ENF", UTC_OFFSET=8 if abs(lon) > 100 else 1)
    name = HH.replace("DE-Tha", "ZZ-Aaa")
    source = write(tmp_path / "in", {name: as_csv(time, table), BIF.replace("DE-Tha", "ZZ-Aaa"): facts})
    with pytest.raises(DataError, match=f"its coordinates do not fit the sun: .*with the sign of the {turned} turned"):
        import_fluxnet(source, tmp_path / "out")


def test_values_of_a_bif_that_cannot_be_are_not_used(tmp_path: Path) -> None:
    table = bif("DE-Tha", LOCATION_LAT=95, LOCATION_LONG=13.57, IGBP="FOREST", UTC_OFFSET="CET")
    store = import_fluxnet(write(tmp_path / "in", {HH: TEXT, BIF: table}), tmp_path / "out")
    said = "\n".join(store.manifest.sites["DE-Tha"].notes)
    for text in ("LOCATION_LAT is '95'", "IGBP is 'FOREST'", "UTC_OFFSET is 'CET'"):
        assert text in said
    assert store.record("DE-Tha").igbp == "ENF"


# ---- archives


def encrypted(path: Path) -> None:
    write_zip(path, {HH: TEXT})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = content.find(mark) + at
        content[where : where + 2] = struct.pack("<H", 1)
    path.write_bytes(content)


def linked(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo(HH)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")


def wrong_checksum(path: Path) -> None:
    """A byte of the packed member flipped."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(HH, TEXT)
    content = bytearray(path.read_bytes())
    at = len(content) // 2
    content[at] = ord("7") if content[at] != ord("7") else ord("8")
    path.write_bytes(content)


def huge(path: Path) -> None:
    """A member that says it has 5 GB."""
    write_zip(path, {HH: TEXT})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        where = content.find(mark) + at
        content[where : where + 4] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(content)


def cut(path: Path) -> None:
    write_zip(path, {HH: TEXT})
    path.write_bytes(path.read_bytes()[:-200])


ARCHIVES: list[tuple[str, Callable[[Path], object], str]] = [
    ("bomb by ratio", lambda p: write_zip(p, {HH: bytes(30_000_000)}),
     r"would unpack to 1,0\d\d times its size .* a zip bomb"),
    ("bomb by size", huge, "would be 4.3 GB unpacked, a zip bomb"),
    ("path traversal", lambda p: write_zip(p, {HH: TEXT, "../../evil.csv": "x"}),
     r"\.\./\.\./evil\.csv lies outside"),
    ("absolute path", lambda p: write_zip(p, {HH: TEXT, "/etc/cron.d/x": "x"}), r"/etc/cron\.d/x lies outside"),
    ("windows path", lambda p: write_zip(p, {HH: TEXT, "..\\evil.csv": "x"}), "evil.csv lies outside"),
    ("symlink", linked, "is a symbolic link"),
    ("encrypted", encrypted, "is encrypted.*Unpack it with its password"),
    ("nested", lambda p: write_zip(p, {"inner.zip": b"PK"}),
     "is an archive within the archive. Unpack the outer archive"),
    ("empty", lambda p: write_zip(p, {}), "is an empty archive: it holds no file"),
    ("cut off", cut, "is a damaged or cut-off zip archive"),
    ("no zip", lambda p: p.write_bytes(b"<html>"), "is a damaged or cut-off zip archive"),
    ("wrong checksum", wrong_checksum, "(damaged or cut-off zip archive|are not numbers|fields|no times|not last)"),
    ("another site", lambda p: write_zip(p, {HH.replace("DE-Tha", "DE-Hai"): TEXT}),
     "is named after DE-Tha and holds files of DE-Hai"),
    ("no file of fluxes", lambda p: write_zip(p, {"FLX_DE-Tha_FLUXNET2015_ERAI_HH_1989-2014_1-4.csv": TEXT}),
     "holds no half-hourly, hourly or daily file of fluxes"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in ARCHIVES], ids=[case[0] for case in ARCHIVES])
def test_corrupt_archives(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    source = tmp_path / "in"
    source.mkdir()
    make(source / ARCHIVE)
    with pytest.raises(DataError, match=message):
        import_fluxnet(source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_real_file_of_nothing_but_missing_values_is_no_bomb(tmp_path: Path) -> None:
    """267 columns of -9999 shrink to a 160th."""
    wide = [*LINES[0].split(","), *(f"TS_F_MDS_{n}" for n in range(249))]
    text = as_csv(TIME, {"TA_F": np.zeros(TIME.size)}, header=wide)
    packed = write_zip(tmp_path / ARCHIVE, {HH: text})
    assert len(text) / packed.stat().st_size > 100
    with pytest.raises(DataError, match="only missing values in VPD_F, SW_IN_F"):
        import_fluxnet(packed, tmp_path / "out")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in", {HH: TEXT})
    (source / HH).chmod(0)
    if os.access(source / HH, os.R_OK):  # root may read everything: the refusal is played
        original = Path.open

        def refusing(self: Path, *args: object, **named: object) -> object:
            if self.name == HH:
                raise PermissionError(13, "Permission denied")
            return original(self, *args, **named)  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", refusing)
    with pytest.raises(DataError, match=r"Site DE-Tha: .* cannot be read \(Permission denied\)\. It must be a file"):
        import_fluxnet(source, tmp_path / "out")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist\. Check the path"):
        import_fluxnet(tmp_path / "towers", tmp_path / "out")
    write(tmp_path / "in", {"DE-Tha.csv": TEXT})
    with pytest.raises(
        DataError, match=r"holds no .* FLUXNET file \(1 files were looked at\)\. Names are as FLX_AU-Ade"
    ):
        import_fluxnet(tmp_path / "in", tmp_path / "out")

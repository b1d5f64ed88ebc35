"""Benchmark CSV files for tests, and many ways to damage them, each with the words a field scientist gets to read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl

from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv
from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.solar import solar_covariates
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from tiny import tiny_frame, tiny_record

DAYS = 400
OTHERS = ("US-Ha1", "US-MMS")
COVARIATES = ["TA", "VPD", "SW_IN", "SW_IN_POT_hourly", "LST_Day", "LST_Night", "EVI"]


def make_towers(place: Path) -> Path:
    """Two towers as benchmark files, with a sun that fits their places."""
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    with StoreWriter(place / "s", targets=["GPP", "NEE", "ET"], covariates=COVARIATES, source=source) as writer:
        for site, igbp, lat, lon, offset in (
            ("DE-Hai", "DBF", 51.0792, 10.4522, 1.0),
            ("US-Ha1", "DBF", 42.5378, -72.1715, -5.0),
            ("US-MMS", "DBF", 39.3232, -86.4131, -5.0),
        ):
            frame = tiny_frame(site, hours=24 * DAYS, targets=["GPP", "NEE", "ET"], measured=0.9)
            sun = solar_covariates(frame["time"].to_numpy(), lat=lat, lon=lon, utc_offset_h=offset)
            potential = pl.Series(sun["SW_IN_POT_hourly"])
            writer.add(
                tiny_record(site, igbp=igbp, lat=lat, lon=lon).model_copy(update={"utc_offset_h": offset}),
                frame.with_columns(
                    SW_IN_POT_hourly=potential,
                    SW_IN=potential * 0.6,
                    LST_Day=pl.col("TA") + 4,
                    LST_Night=pl.col("TA") - 4,
                    EVI=pl.lit(0.4),
                ),
            )
    return export_benchmark_csv(Store(place / "s"), place / "csv")


Change = Callable[[Path], None]


def text(change: Callable[[str], str]) -> Change:
    return lambda path: (path.write_text(change(path.read_text())), None)[1]


def lines(change: Callable[[list[str]], list[str]]) -> Change:
    return text(lambda content: "\n".join(change(content.splitlines())) + "\n")


def table(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Change:
    def apply(path: Path) -> None:
        frame = pl.read_csv(path, schema_overrides={"time": pl.Datetime("us")})
        change(frame).write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")

    return apply


def cells(row: int, name: str, value: str) -> Change:
    def apply(content: list[str]) -> list[str]:
        at = content[0].split(",").index(name)
        fields = content[row].split(",")
        fields[at] = value
        return [*content[:row], ",".join(fields), *content[row + 1 :]]

    return lines(apply)


def swap(one: str, two: str) -> Change:
    return lines(
        lambda content: [
            ",".join({one: two, two: one}.get(name, name) for name in content[0].split(",")),
            *content[1:],
        ]
    )


def raw(content: bytes) -> Change:
    return lambda path: (path.write_bytes(content), None)[1]


def times(name: pl.Expr) -> Change:
    return table(lambda frame: frame.with_columns(time=name))


def summer_time(frame: pl.DataFrame) -> pl.DataFrame:
    """Wall-clock time of Berlin: an hour missing in March, one twice in October."""
    utc = pl.col("time").dt.offset_by("-1h").dt.replace_time_zone("UTC")
    return frame.with_columns(time=utc.dt.convert_time_zone("Europe/Berlin").dt.replace_time_zone(None))


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.csv")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def other_case(path: Path) -> None:
    (path.parent / "de-hai.csv").write_bytes(path.read_bytes())


def scaled(name: str, factor: float, offset: float = 0.0) -> Change:
    return table(lambda frame: frame.with_columns(pl.col(name) * factor + offset))


DAMAGE: dict[str, tuple[Change, str]] = {
    "truncated in a row": (
        text(lambda c: c[:-40]),
        r"the file ends in the middle of a row \(the last has \d+ of \d+ fields\)\. Fetch it again",
    ),
    "truncated in its last number": (text(lambda c: c[:-4]), r"tower_lon changes within the file"),
    "empty": (raw(b""), r"DE-Hai\.csv is empty\. Fetch it again"),
    "only spaces": (raw(b"\n \n\n"), r"DE-Hai\.csv is empty"),
    "header only": (lines(lambda c: c[:1]), r"has a header but no rows"),
    "no header": (lines(lambda c: c[1:]), r"has no header: its first line is a row of numbers"),
    "web page": (raw(b"<!DOCTYPE html><html>404</html>"), r"is a web page \(HTML\)"),
    "UTF-16": (lambda p: raw(p.read_text().encode("utf-16"))(p), r"UTF-16 .*Save it as 'CSV UTF-8'"),
    "UTF-16 without mark": (lambda p: raw(p.read_text().encode("utf-16-le"))(p), r"is text in UTF-16"),
    "Latin-1 header": (
        lambda p: raw(p.read_bytes().replace(b"time,", "Höhe,time,".encode("latin-1"), 1))(p),
        r"not text in UTF-8 \(Latin-1, perhaps\) \(byte 1 of its header",
    ),
    "workbook": (raw(b"PK\x03\x04" + b"x" * 100), r"ZIP archive or Excel workbook"),
    "gzip": (raw(b"\x1f\x8b\x08" + b"x" * 100), r"is compressed \(gzip\)\. Unpack it"),
    "huge header": (raw(b"time,qc_mask," + b"x" * 200_000), r"first line of more than 65,536 characters"),
    "NUL bytes": (
        lambda p: raw(p.read_bytes()[:200_000] + b"\0" * 512 + p.read_bytes()[200_512:])(p),
        r"512 NUL bytes stand in it, as after an interrupted copy \(first: line [\d,]+, byte 200,000\)",
    ),
    "old Macintosh": (lambda p: raw(p.read_bytes().replace(b"\n", b"\r"))(p), r"CR only|first line of more than"),
    "semicolons": (text(lambda c: c.replace(",", ";")), r"separates its fields by ';'\. Save it with commas"),
    "tabs": (text(lambda c: c.replace(",", "\t")), r"separates its fields by tabs"),
    "decimal commas": (
        lines(lambda c: [c[0], *(",".join(f.replace(".", ",") for f in row.split(",")) for row in c[1:])]),
        r"9,600 of 9,600 rows have more fields .*Write 12\.5, not 12,5",
    ),
    "decimal comma in quotes": (
        cells(7, "TA", '"4,5"'),
        r"1 values of TA are not numbers \(first: '4,5' at 2015-01-01 06:00:00\)\. Write a decimal point",
    ),
    "short rows": (
        lines(lambda c: [*c[:50], ",".join(c[50].split(",")[:-3]), *c[51:]]),
        r"1 of 9,600 rows have fewer fields than the header \(first: line 51 has \d+ of \d+",
    ),
    "word for a number": (cells(9, "VPD", "low"), r"1 values of VPD are not numbers \(first: 'low' at 2015"),
    "column missing": (lines(lambda c: [c[0].replace("TA,", "TX,"), *c[1:]]), r"column TA is missing"),
    "column twice": (
        lines(lambda c: [c[0].replace("VPD", "TA_F"), *c[1:]]),
        r"column TA twice \(as TA and TA_F",
    ),
    "no qc_mask": (lines(lambda c: [c[0].replace("qc_mask", "qc_msk"), *c[1:]]), r"no column qc_mask"),
    "flag of 2": (cells(9, "qc_mask", "2"), r"1 values of qc_mask are neither 0 nor 1"),
    "TA and SW_IN swapped": (swap("TA", "SW_IN"), r"values of TA lie outside -90 to 60 degC"),
    "NEP for NEE": (scaled("NEE", -1.0), r"NEE rises with GPP: its sign is turned, as of NEP.*correlation [01]\.\d\d"),
    "GPP and NEE swapped": (swap("GPP", "NEE"), r"GPP and NEE look swapped.*mean by day: GPP -"),
    "SW_IN and potential swapped": (swap("SW_IN", "SW_IN_POT_hourly"), r"SW_IN is 1\.7 times potential radiation"),
    "LST as integers": (scaled("EVI", 10000.0), r"values of EVI lie outside .*divide it by 10000"),
    "SW_IN in kW": (scaled("SW_IN", 1e-3), r"SW_IN is too small for W m-2 .*multiply it by 1000"),
    "GPP in mmol": (scaled("GPP", 1e-3), r"GPP is too small for umol m-2 s-1 .*multiply it by 1000"),
    "GPP in nmol": (scaled("GPP", 1e3), r"GPP looks like nmol m-2 s-1: divide it by 1000"),
    "ET in kg m-2 s-1": (scaled("ET", 1 / 3600), r"ET is too small for mm h-1 .*multiply it by 3600"),
    "ET as latent heat": (scaled("ET", 2.45e6 / 3600), r"looks like latent heat in W m-2"),
    "VPD in kPa": (scaled("VPD", 0.1), r"VPD looks like kPa .*Multiply VPD by 10"),
    "VPD in Pa": (scaled("VPD", 100.0), r"VPD looks like Pa .*Divide VPD by 100"),
    "TA in kelvin": (scaled("TA", 1.0, 273.15), r"TA looks like kelvin .*Subtract 273\.15"),
    "-9999": (cells(9, "GPP", "-9999"), r"-9999 marks missing values in FLUXNET: leave the field empty"),
    "missing covariate": (cells(9, "EVI", "NA"), r"covariate EVI is missing in 1 of 9,600 hours"),
    "infinite": (cells(9, "EVI", "inf"), r"1 of 9,600 values of EVI lie outside .*first: inf"),
    "hour twice": (lines(lambda c: [*c[:40], c[39], *c[40:]]), r"1 hours appear more than once \(first: 2015-01-02 14"),
    "rows shuffled": (lines(lambda c: [c[0], *c[200:], *c[1:200]]), r"time runs backwards at 1 places"),
    "half hours": (times(pl.col("time") + pl.duration(minutes=30)), r"9,600 of 9,600 times are not full hours"),
    "summer time": (table(summer_time), r"looks like wall-clock time with summer time \(DST\)"),
    "summer time, cleaned": (
        table(
            lambda f: (
                pl.concat([summer_time(f), summer_time(f).tail(1)])
                .unique("time")
                .sort("time")
                .vstack(
                    summer_time(f.with_columns(pl.col("time").dt.offset_by("1y")))
                    .unique("time")
                    .sort("time")
                    .tail(8000)
                )
                .unique("time")
                .sort("time")
            )
        ),
        r"looks like wall-clock time with summer time",
    ),
    "mixed time formats": (
        cells(30, "time", "02/01/2015 05:00"),
        r"1 of 9,600 times cannot be read: formats are mixed .*first: '02/01/2015 05:00'.*as 2018-06-01 13:00:00",
    ),
    "time zone in the stamps": (
        lines(lambda c: [c[0], *(row.replace(":00:00,", ":00:00+01:00,", 1) for row in c[1:])]),
        r"9,600 of 9,600 times carry a time zone .*local standard time",
    ),
    "date that is none": (cells(30, "time", "2015-02-30 05:00:00"), r"1 of 9,600 times cannot be read"),
    "year 0201": (lines(lambda c: [c[0], *("0201" + row[4:] for row in c[1:])]), r"outside the years 1950 to 2100"),
    "site of another name": (
        lines(lambda c: [f"site_id,{c[0]}", *(f"DE-Tha,{row}" for row in c[1:])]),
        r"the file's name says DE-Hai, its column site_id says DE-Tha",
    ),
    "file of another tower": (
        lambda p: raw((p.parent / "US-Ha1.csv").read_bytes())(p),
        r"6,\d\d\d km from DE-Hai \(51\.\d+, 10\.\d+\); US-\w+ stands there",
    ),
    "latitude of the other hemisphere": (scaled("tower_lat", -1.0), r"km from DE-Hai.*The sign of tower_lat is wrong"),
    "longitude of the other hemisphere": (scaled("tower_lon", -1.0), r"km from DE-Hai.*The sign of tower_lon is wrong"),
    "swapped coordinates": (swap("tower_lat", "tower_lon"), r"km from DE-Hai.*Latitude and longitude are swapped"),
    "tower that moves": (cells(60, "tower_lat", "9.0"), r"tower_lat changes within the file \(51\.0792, then 9"),
    "a link in a circle": (loop, r"is a link that leads in a circle"),
    "a link to nothing": (dangling, r"is a link that leads to nothing"),
    "a folder": (directory, r"cannot be read \(Is a directory\)"),
    "a pipe": (pipe, r"is no file but a pipe"),
    "two files differing in case": (
        other_case,
        r"differ only in upper and lower case \(DE-Hai\.csv, de-hai\.csv\)\. Keep the right one",
    ),
}

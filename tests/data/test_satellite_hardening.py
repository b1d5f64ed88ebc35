"""Satellite files that lie, mixed products, a base store that changed, tables larger than one wants in memory."""

from __future__ import annotations

import datetime as dt
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.satellite import join_covariates, tidy
from fluxtrapolation.data.satellite.composites import DATE, SCHEMA, period_days
from fluxtrapolation.data.satellite.tidy import open_tidy
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from tiny import write_tiny_store

SITES = ("AA-One", "BB-Two", "CC-Thr")
DAYS = 60


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return write_tiny_store(tmp_path / "store", SITES, hours=24 * DAYS)


def composites_of(path: Path, step: int, count: int, *, first: str = "2014-11-17", **more: Any) -> Path:
    """EVI of the three towers every ``step`` days."""
    start = dt.date.fromisoformat(first)
    rows = [(site, start + dt.timedelta(step * i), "EVI", 0.01 * i) for site in SITES for i in range(count)]
    table = pl.DataFrame(rows, schema=["site", "date", "variable", "value"], orient="row")
    table.with_columns(**{name: pl.lit(value) for name, value in more.items()}).write_csv(path)
    return path


# A base store that changed ------------------------------------------------------------------------------------------


def test_a_join_of_another_base_is_refused_and_of_the_same_is_told(store: Store, tmp_path: Path) -> None:
    """The values of the first store are among those of the second: what was joined to others is never handed out."""
    files = [composites_of(tmp_path / "t.csv", 16, 8, days=16)]
    made = join_covariates(store, files, tmp_path / "out").store
    assert made.manifest.sources[-1].options["data_hash"] == store.data_hash
    with pytest.warns(FluxtrapolationWarning, match=r"^3 towers were already in the store and not read again"):
        assert join_covariates(store, files, tmp_path / "out").store.data_hash == made.data_hash

    old = store.manifest
    frames = {site: store.read_site(site).with_columns(pl.col("TA") + 5) for site in SITES}
    with StoreWriter(
        store.path, targets=old.targets, covariates=old.covariates, source=old.sources[0], overwrite=True
    ) as writer:
        for site, frame in frames.items():
            writer.add(old.sites[site].record, frame)
    with pytest.raises(DataError, match=r"made with other options: data_hash is .* there and .* now"):
        join_covariates(store.path, files, tmp_path / "out")
    again = join_covariates(store.path, files, tmp_path / "out", overwrite=True).store
    assert again.read_site("AA-One")["TA"].equals(frames["AA-One"]["TA"])


# NetCDF files that lie ----------------------------------------------------------------------------------------------


def write_daily(path: Path, site: str) -> Any:
    """A good file of daily EVI, still open."""
    h5netcdf = pytest.importorskip("h5netcdf")
    out = h5netcdf.File(path, "w")
    out.attrs["site_ID"] = site
    out.dimensions = {"time": 100, "wide": 1 << 27}
    days = (np.datetime64("2014-12-20", "D") - np.datetime64("1970-01-01", "D")).astype(int) + np.arange(100.0)
    out.create_variable("time", ("time",), float, data=days).attrs["units"] = "days since 1970-01-01"
    out.create_variable("EVI", ("time",), float, data=0.2 + np.arange(100) / 1000)
    return out


def no_such_date(out: Any) -> None:
    out.variables["time"].attrs["units"] = "days since 2000-13-45"


def no_such_hour(out: Any) -> None:
    out.variables["time"].attrs["units"] = "days since 2000-01-01 25:00"


def scale_in_words(out: Any) -> None:
    out.variables["EVI"].attrs["scale_factor"] = "abc"


def fill_in_words(out: Any) -> None:
    out.variables["EVI"].attrs["_FillValue"] = "none"


def a_time_of_fill(out: Any) -> None:
    out.variables["time"][3] = 9.969209968386869e36


def a_time_after_all_calendars(out: Any) -> None:
    out.variables["time"][3] = 4e6


def more_than_memory(out: Any) -> None:
    out.create_variable("NIRv", ("time", "wide"), float, chunks=(1, 1024))


def words_for_values(out: Any) -> None:
    out.create_variable("NIRv", ("time",), "S4")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (no_such_date, r"time is counted in 'days since 2000-13-45', which is no date"),
        (no_such_hour, r"which is no date \(hour must be in"),
        (scale_in_words, r"EVI: its attribute scale_factor is 'abc', which is no number"),
        (fill_in_words, r"EVI: its attribute _FillValue is 'none', which is no number"),
        (a_time_of_fill, r"1 of 100 times are missing or out of the calendar"),
        (a_time_after_all_calendars, r"1 of 100 times are missing or out of the calendar"),
        (more_than_memory, r"NIRv: it has the shape \(100, 134217728\) where 100 days are expected"),
        (words_for_values, r"NIRv: its values are no numbers \(type \|S4\)"),
    ],
)
def test_a_bad_netcdf_file_never_stops_the_good_ones(
    store: Store, tmp_path: Path, spoil: Callable[[Any], None], reason: str
) -> None:
    place = tmp_path / "eo"
    place.mkdir()
    for site in SITES:
        out = write_daily(place / f"{site}.nc", site)
        if site == "BB-Two":
            spoil(out)
        out.close()
    with pytest.warns(FluxtrapolationWarning, match=f"towers lack .*{reason}"):
        made = join_covariates(store, [place], tmp_path / "new", covariates=["EVI"])
    assert made.report["joined"].to_list() == [True, False, True]
    assert made.store.read_site("BB-Two")["EVI"].null_count() == 24 * DAYS


def test_a_time_axis_larger_than_memory_and_odd_attributes(store: Store, tmp_path: Path) -> None:
    h5netcdf = pytest.importorskip("h5netcdf")
    with h5netcdf.File(tmp_path / "long.nc", "w") as out:
        out.attrs["site_ID"] = "AA-One"
        out.dimensions = {"time": 1 << 33}
        time = out.create_variable("time", ("time",), float, chunks=(1024,))
        time.attrs["units"] = "days since 1970-01-01"
        out.create_variable("EVI", ("time",), float, chunks=(1024,))
    assert (tmp_path / "long.nc").stat().st_size < 100_000
    good = write_daily(tmp_path / "good.nc", "BB-Two")
    good.attrs["license"] = np.array([1, 2])
    good.variables["EVI"].attrs["units"] = np.array([1, 1])
    good.close()
    with pytest.warns(FluxtrapolationWarning, match=r"AA-One: long\.nc, time: 8,589,934,592 times are declared"):
        made = join_covariates(store, [tmp_path / "long.nc", tmp_path / "good.nc"], tmp_path / "new")
    assert made.report["joined"].to_list() == [False, True, False]


def test_values_stored_in_one_huge_piece(store: Store, tmp_path: Path) -> None:
    h5netcdf = pytest.importorskip("h5netcdf")
    good = write_daily(tmp_path / "good.nc", "BB-Two")
    good.close()
    with h5netcdf.File(tmp_path / "piece.nc", "w") as out:
        out.attrs["site_ID"] = "AA-One"
        out.dimensions = {"time": None}
        time = out.create_variable("time", ("time",), float, chunks=(1024,))
        time.attrs["units"] = "days since 1970-01-01"
        out.create_variable("EVI", ("time",), float, chunks=(1 << 28,))
        out.resize_dimension("time", 100)
    with pytest.warns(FluxtrapolationWarning, match=r"EVI: it is stored in pieces of \(268435456,\) values"):
        made = join_covariates(store, [tmp_path / "piece.nc", tmp_path / "good.nc"], tmp_path / "new")
    assert made.report["joined"].to_list() == [False, True, False]


# Periods that were guessed ------------------------------------------------------------------------------------------


def test_mixed_products_are_told_and_a_stated_period_never_looks_ahead(store: Store, tmp_path: Path) -> None:
    """Terra and Aqua, 16 days each and shifted by 8, look like composites of 8 days."""
    mixed = composites_of(tmp_path / "mixed.csv", 8, 16)
    with pytest.warns(
        FluxtrapolationWarning, match=r"^EVI: periods of 8 days were guessed .* 3 towers \(first: AA-One\)"
    ):
        guessed = join_covariates(store, [mixed], tmp_path / "guessed").store
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stated = join_covariates(store, [mixed], tmp_path / "stated", period=16).store
        join_covariates(store, [composites_of(tmp_path / "d.csv", 8, 16, days=16)], tmp_path / "column")
    # The fourth composite begins on 11 December and ends on 26 December; the seventh begins on 4 January.
    began = dt.datetime(2015, 1, 4)
    for made, wait in ((guessed, 8), (stated, 16)):
        frame = made.read_site("AA-One", ["time", "EVI"])
        seen = frame.filter(pl.col("EVI") == np.float32(0.06))["time"]
        assert seen[0] - began == dt.timedelta(days=wait)


def test_one_date_does_not_tell_a_period(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one date \(2015-01-01\) does not tell .*--period DAYS"):
        period_days(pl.Series([dt.date(2015, 1, 1)]), where="x")
    assert period_days(pl.Series(DATE, [], SCHEMA[DATE]), where="x") == 1
    one = composites_of(tmp_path / "one.csv", 16, 1, first="2014-12-31")
    with pytest.raises(DataError, match=r"one\.csv, site AA-One, EVI: one date"):
        join_covariates(store, [one], tmp_path / "new")
    made = join_covariates(store, [one], tmp_path / "new", period=1, max_gap=100.0)
    assert made.report["joined"].all()


# Tables larger than one wants in memory -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_tidy_table_is_read_in_pieces(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "_PIECE", 1 << 16)
    monkeypatch.setattr(tidy, "_PIECE_ROWS", 1 << 11)
    path = tmp_path / f"t[1]{suffix}"
    days = pl.date_range(dt.date(2000, 1, 1), dt.date(2020, 1, 1), "1d", eager=True)
    one = pl.DataFrame({"date": days, "value": np.linspace(0.1, 0.9, len(days))})
    frame = pl.concat(
        one.with_columns(Site=pl.lit(f" {site} "), variable=pl.lit(name), unit=pl.lit("1"))
        for site in SITES
        for name in ("EVI", "NIRv", "noise")
    )
    frame.write_csv(path, include_bom=True) if suffix == ".csv" else frame.write_parquet(
        path, compression="uncompressed"
    )
    open_tidy(path, period=None)  # what is imported on first use is no part of the measure
    tracemalloc.start()
    try:
        opened = open_tidy(path, period=None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 4
    assert (opened.sites, opened.covariates, opened.unused) == (tuple(sorted(SITES)), ("EVI", "NIRv"), ("noise",))
    held = opened.read("BB-Two")
    assert sorted(held) == ["EVI", "NIRv"] and opened.read("ZZ-Top") == {}
    for composites in held.values():
        assert composites.schema == SCHEMA and composites.select("date", "value").equals(one)


@pytest.mark.parametrize("order", [["site", "date"], ["date", "site"], ["value"]])
def test_pieces_are_the_whole_table_whatever_its_order(
    tmp_path: Path, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a site that lie apart, quoted line ends, no end of the last line: cut anywhere, nothing changes."""
    days = pl.date_range(dt.date(2015, 1, 1), dt.date(2015, 2, 9), "1d", eager=True)
    draw = np.random.default_rng(5)
    frame = pl.concat(
        pl.DataFrame({"date": days, "value": draw.uniform(0, 1, len(days))}).with_columns(
            site=pl.lit(site), variable=pl.lit(name), unit=pl.lit(unit), days=pl.lit(8)
        )
        for site in SITES
        for name, unit in (("EVI", "1"), ("LST_Day", "degC"), ("other", None))
    ).with_columns(
        remark=pl.lit('a "quoted"\nline'), value=pl.when(pl.col("date") == days[3]).then(None).otherwise("value")
    )
    path = tmp_path / "t.csv"
    path.write_bytes(frame.sort(order, maintain_order=True).write_csv().rstrip("\n").encode())
    found = []
    for piece in (1 << 22, 1000, 7):
        monkeypatch.setattr(tidy, "_PIECE", piece)
        opened = open_tidy(path, period=None)
        assert opened.unused == ("other",) and opened.period_stated
        found.append({site: opened.read(site) for site in SITES})
    for site in SITES:
        assert found[0][site]["EVI"].height == len(days) - 1
        for other in found[1:]:
            assert sorted(other[site]) == ["EVI", "LST_Day"]
            assert all(other[site][name].equals(found[0][site][name]) for name in other[site])


def test_a_bad_row_in_a_later_piece_is_counted_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidy, "_PIECE", 1000)
    path = tmp_path / "t.csv"
    path.write_text("site,date,variable,value\n" + "A,2015-01-01,EVI,0.1\n" * 5000 + "A,x,EVI,1\nA,y,EVI,1\n")
    with pytest.raises(DataError, match=r"2 of 5,002 rows have no usable date \(first: 'x' in row 5002\)"):
        open_tidy(path, period=None)


def test_the_temporary_file_of_a_table_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left in the folder for temporary files; where that folder cannot be used the message names it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with pytest.raises(DataError, match="tmp cannot be written"):
        open_tidy(composites_of(tmp_path / "t.csv", 16, 8), period=16)
    (tmp_path / "tmp").mkdir()
    opened = open_tidy(composites_of(tmp_path / "t.csv", 16, 8), period=16)
    assert opened.read("AA-One")["EVI"].height == 8
    del opened
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"is empty"),
        (" \n\n", r"is empty"),
        ("\ufeff<html>", r"web page"),
        ("site,date,variable,value\n", r"a header but no rows"),
        ("site,date,variable,value\nA,2015-01-01,EVI,1,2,3\n", r"is not a regular table"),
        (
            "site,date,variable,value\n" + "A,2015-01-01,EVI,0.1\n" * 5000 + "A,,EVI,1\n",
            r"1 of 5,001 .*None in row 5002",
        ),
        ("site,date,variable,value,days\nA,2015-01-01,EVI,1,x\n", r"no usable days \(first: 'x' in row 2\)"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        open_tidy(path, period=None)


def test_a_quotation_mark_that_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line's end after it lies between quotes: neither time nor memory may run away."""
    monkeypatch.setattr(tidy, "_PIECE", 1 << 16)
    monkeypatch.setattr(tidy, "_LONGEST_ROW", 1 << 20)
    rows = "DE-Hai,2018-01-01,EVI,0.3\n" * 60_000
    (tmp_path / "t.csv").write_text(f'site,date,variable,value\n{rows}DE-Hai,2018-01-17,"EVI,0.3\n{rows}')
    with pytest.raises(DataError, match=r"row that begins in line 60002 does not end within 1 MB, .* quotation mark"):
        tidy.open_tidy(tmp_path / "t.csv", period=16)


def test_quotation_marks_are_counted_once() -> None:
    class Counted(bytes):
        looked_at = 0

        def count(self, sub: Any, start: Any = 0, end: Any = None) -> int:
            Counted.looked_at += (len(self) if end is None else end) - start
            return super().count(sub, start, len(self) if end is None else end)

    text = Counted(b'a,"b\n' + b"c,d\n" * 5_000)
    assert tidy._end_of_rows(text) == 0
    assert Counted.looked_at <= 2 * len(text)
    assert tidy._end_of_rows(b'a,b\nc,"d\ne"\nf,"g\nh') == 12

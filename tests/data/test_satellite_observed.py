"""Only what was observed: the gap-fill flags of FluxnetEO; and files of one name in several folders."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.satellite import join_covariates
from fluxtrapolation.data.satellite.files import short_names
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from fluxtrapolation.files import sha256_of
from tiny import tiny_frame, tiny_record, write_tiny_store

SITES = ("AA-One", "BB-Two", "CC-Thr")
DAYS = 60
INDEX_FLAGS = "0: original value, good quality; 1: filled: moving window median; 4: filled: interpolation"
LST_FLAGS = "0: original value; 2: filled: linear scaling of the MSC against the actual timeseries"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return write_tiny_store(tmp_path / "store", SITES, hours=24 * DAYS)


def flagged(path: Path, site: str, filled: range, *, flag: str | None = INDEX_FLAGS, lst: str = LST_FLAGS) -> Path:
    """Daily EVI and LST whose values in ``filled`` are the product's, with flags as FluxnetEO names them."""
    h5netcdf = pytest.importorskip("h5netcdf")
    origin = (np.datetime64("2014-12-20", "D") - np.datetime64("1970-01-01", "D")).astype(int)
    marks = np.isin(np.arange(100), list(filled)) * 2.0
    with h5netcdf.File(path, "w") as out:
        out.attrs["site_ID"] = site
        out.dimensions = {"time": 100}
        time = out.create_variable("time", ("time",), float, data=origin + np.arange(100.0))
        time.attrs["units"] = "days since 1970-01-01"
        out.create_variable("EVI", ("time",), float, data=0.2 + np.arange(100) / 1000)
        out.create_variable("LST_TERRA_Day", ("time",), float, data=290.0 + np.arange(100) / 10)
        if flag is not None:
            out.create_variable("EVI_gapfilltype", ("time",), float, data=marks).attrs["description"] = flag
        out.create_variable("LST_gapfilltype_TERRA_Day", ("time",), float, data=marks).attrs["description"] = lst
    return path


def test_filled_values_are_left_out(store: Store, tmp_path: Path) -> None:
    place = tmp_path / "eo"
    place.mkdir()
    for site, filled in zip(SITES, (range(30, 34), range(100), range(0)), strict=True):
        flagged(place / f"{site}.nc", site, filled)
    plain = join_covariates(store, [place], tmp_path / "plain")
    assert plain.report["joined"].all() and "only_observed" not in plain.store.manifest.sources[-1].options
    with pytest.warns(FluxtrapolationWarning, match=r"without a single value .*EVI \(BB-Two\)"):
        made = join_covariates(store, [place], tmp_path / "seen", only_observed=True)
    assert made.report["joined"].to_list() == [True, True, False, False, True, True]
    assert made.report["composites"].to_list() == [96, 96, 0, 0, 100, 100]
    assert made.store.manifest.sources[-1].options["only_observed"] is True
    # File day 29 is 18 January: it is known from the 19th, and carried on until day 34 is known, on the 24th.
    frame = made.store.read_site("AA-One", ["time", "EVI"])
    days = frame.group_by(pl.col("time").dt.date().alias("day"), maintain_order=True).agg(pl.col("EVI").first())
    values = dict(days.iter_rows())
    for day in range(19, 24):
        assert values[date(2015, 1, day)] == pytest.approx(0.229, abs=1e-6)
    assert values[date(2015, 1, 24)] == pytest.approx(0.234, abs=1e-6)
    same = plain.store.read_site("CC-Thr")
    assert made.store.read_site("CC-Thr").equals(same)


@pytest.mark.parametrize(
    ("flag", "lst", "message"),
    [
        (None, LST_FLAGS, r"has no variable EVI_gapfilltype, so it does not tell which values of EVI are observed"),
        ("0: filled", LST_FLAGS, r"EVI_gapfilltype, does not say that 0 is an original value"),
        (INDEX_FLAGS, "", r"LST_gapfilltype_TERRA_Day, does not say that 0 is an original value"),
    ],
)
def test_flags_that_are_not_there_or_not_explained(
    store: Store, tmp_path: Path, flag: str | None, lst: str, message: str
) -> None:
    one = flagged(tmp_path / "one.nc", "AA-One", range(3), flag=flag, lst=lst)
    two = flagged(tmp_path / "two.nc", "BB-Two", range(3))
    with pytest.warns(FluxtrapolationWarning) as caught:
        made = join_covariates(store, [one, two], tmp_path / "new", only_observed=True)
    assert any(re.search(message, str(one.message)) for one in caught)
    assert made.report.filter("joined")["site_id"].unique().to_list() == ["BB-Two"]


def test_a_table_has_no_flags(store: Store, tmp_path: Path) -> None:
    rows = [("AA-One", "2015-01-01", "EVI", 0.1)]
    path = tmp_path / "t.csv"
    pl.DataFrame(rows, schema=["site", "date", "variable", "value"], orient="row").write_csv(path)
    with pytest.raises(DataError, match=r"t\.csv is a table, which has no gap-fill flags"):
        join_covariates(store, [path], tmp_path / "new", only_observed=True)


@pytest.mark.real
def test_the_genuine_fluxneteo_file_has_few_observed_values(shared: Path, tmp_path: Path) -> None:
    """What its own flags count: 183 days and 1017 nights of 7671."""
    pytest.importorskip("h5netcdf")
    source = shared / "data" / "modis" / "FluxnetEO_CG-Tch.modis.average_cutout.nc"
    plain = write_tiny_store(tmp_path / "x", ("AA-One",), hours=48).manifest.sources[0]
    with StoreWriter(tmp_path / "s", targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=plain) as writer:
        writer.add(tiny_record("CG-Tch", lat=-4.2892, lon=11.6564), tiny_frame("CG-Tch", first="2006-07-01", hours=480))
    options: dict[str, Any] = {"covariates": ["LST_Day", "LST_Night"], "max_gap": 1000.0}
    made = join_covariates(tmp_path / "s", [source], tmp_path / "new", only_observed=True, **options)
    assert made.report["composites"].to_list() == [183, 1017]
    filled = join_covariates(tmp_path / "s", [source], tmp_path / "filled", **options)
    assert filled.report["composites"].to_list() == [7671, 7671]


# Files of one name --------------------------------------------------------------------------------------------------


def test_files_of_one_name_are_both_recorded(store: Store, tmp_path: Path) -> None:
    paths = []
    for folder, name, value in (("evi", "EVI", 0.3), ("nirv", "NIRv", 0.1), ("nirv/more", "LST_Day", 20.0)):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "2015.csv")
        days = pl.date_range(pl.date(2014, 12, 20), pl.date(2015, 3, 10), eager=True)
        pl.concat(
            pl.DataFrame({"date": days}).with_columns(site=pl.lit(s), variable=pl.lit(name), value=pl.lit(value))
            for s in SITES
        ).write_csv(paths[-1])
    made = join_covariates(store, paths, tmp_path / "new")
    assert made.store.manifest.sources[-1].options["files"] == {
        "evi/2015.csv": sha256_of(paths[0]),
        "nirv/2015.csv": sha256_of(paths[1]),
        "more/2015.csv": sha256_of(paths[2]),
    }
    # A change of the first file alone is seen: the store is another one.
    paths[0].write_text(paths[0].read_text().replace("0.3", "0.4"))
    with pytest.raises(DataError, match="made with other options: files"):
        join_covariates(store, paths, tmp_path / "new")
    for path in paths[:2]:
        path.write_text("<html>")
    with pytest.warns(FluxtrapolationWarning, match="2 of 3 files could not be read"):
        join_covariates(store, paths, tmp_path / "other")


def test_short_names() -> None:
    def names(*texts: str) -> list[str]:
        return list(short_names(Path(text) for text in texts).values())

    assert names("/a/x.nc", "/b/y.nc") == ["x.nc", "y.nc"]
    assert names("/a/x.nc", "/b/x.nc", "/b/y.nc") == ["a/x.nc", "b/x.nc", "y.nc"]
    assert names("/a/s/x.nc", "/b/s/x.nc", "/c/x.nc") == ["a/s/x.nc", "b/s/x.nc", "c/x.nc"]
    assert names() == []

"""Satellite files joined to a store, from Python and from the command line; two genuine files among them."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.satellite import join_covariates
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from fluxtrapolation.files import sha256_of
from tiny import tiny_frame, tiny_record, write_tiny_store

SITES = ("AA-One", "BB-Two", "CC-Thr")
DAYS = 60


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return write_tiny_store(tmp_path / "store", SITES, hours=24 * DAYS)


def tidy(
    path: Path, rows: list[tuple[Any, ...]], columns: tuple[str, ...] = ("site", "date", "variable", "value")
) -> Path:
    frame = pl.DataFrame(rows, schema=list(columns), orient="row")
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    return path


def daily(
    site: str, variable: str, value: float, *, first: int = -2, days: int = DAYS + 4, skip: range = range(0)
) -> list[Any]:
    start = dt.date(2015, 1, 1)
    return [(site, start + dt.timedelta(d), variable, value + d / 1000) for d in range(first, days) if d not in skip]


def write_netcdf(
    path: Path, site: str, variables: dict[str, tuple[np.ndarray, str]], first: str = "2014-12-20"
) -> Path:
    h5netcdf = pytest.importorskip("h5netcdf")
    days = len(next(iter(variables.values()))[0])
    origin = (np.datetime64(first, "D") - np.datetime64("1970-01-01", "D")).astype(int)
    with h5netcdf.File(path, "w") as out:
        out.attrs["site_ID"] = site
        out.attrs["reference"] = "Walther et al."
        out.dimensions = {"time": days}
        time = out.create_variable("time", ("time",), float, data=origin + np.arange(days, dtype=float))
        time.attrs["units"] = "days since 1970-01-01"
        time.attrs["calendar"] = "proleptic_gregorian"
        for name, (values, unit) in variables.items():
            variable = out.create_variable(name, ("time",), float, data=values)
            variable.attrs["unit"] = np.bytes_(unit.encode())
    return path


def test_netcdf_as_of_fluxneteo(store: Store, tmp_path: Path) -> None:
    days = np.arange(100.0)
    place = tmp_path / "eo"
    place.mkdir()
    for i, site in enumerate(SITES):
        write_netcdf(
            place / f"{site}.nc",
            site,
            {
                "EVI": (0.2 + days / 1000 + i / 10, "[-]"),
                "LST_TERRA_Day": (290.0 + days / 10, "K"),
                "LST_TERRA_Night": (280.0 + days / 10, "K"),
                "NDWI_SWIR2": (np.full(100, np.nan), "[-]"),
                "LST_N_TERRA_Day": (days, ""),
                "NDWI": (days, "[-]"),
            },
        )
    with pytest.warns(FluxtrapolationWarning) as caught:
        made = join_covariates(store, [place], tmp_path / "new")
    told = [str(one.message) for one in caught]
    assert any(
        "Variables without a single value are taken as absent: NDWI_SWIR2 (AA-One, BB-Two, CC-Thr)" in t for t in told
    )
    assert made.store.covariates == ("TA", "VPD", "SW_IN", "LST_Day", "LST_Night", "EVI")
    frame = made.store.read_site("BB-Two")
    # causal: the hours of 1 January know the value of 31 December, day 11 of the file
    day = frame.filter(pl.col("time").dt.date() == dt.date(2015, 1, 1))
    assert day["EVI"].unique().to_list() == [np.float32(0.2 + 11 / 1000 + 0.1)]
    assert day["LST_Day"].unique().to_list() == [np.float32(290.0 + 11 / 10 - 273.15)]
    assert frame.select(pl.col(made.store.covariates).null_count()).sum_horizontal().item() == 0
    assert made.store.verify() == []
    origin, source = made.store.manifest.sources
    assert origin == store.manifest.sources[0]
    assert source.citation == "Walther et al." and source.options["files"]["AA-One.nc"] == sha256_of(
        place / "AA-One.nc"
    )
    assert store.read_site("BB-Two").equals(frame.select(store.read_site("BB-Two").columns))
    assert store.data_hash == Store(store.path).data_hash


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_tidy_table_and_a_gap(store: Store, tmp_path: Path, suffix: str) -> None:
    rows = daily("AA-One", "EVI", 0.3) + daily("BB-Two", "EVI", 0.4, skip=range(20, 31))
    path = tidy(tmp_path / f"t{suffix}", rows)
    with pytest.warns(FluxtrapolationWarning, match=r"2 of 3 towers lack EVI \(first: BB-Two: 47 of 1,440 hours"):
        made = join_covariates(store, [path], tmp_path / "new", max_gap=10.0)
    assert made.report["joined"].to_list() == [True, False, False]
    lost = made.lacking.to_dicts()
    # Day 19 is known from day 20 on; ten days later, at midnight, for the last time. Day 31 is known from day 32 on.
    assert lost[0]["missing_hours"] == 2 * 24 - 1
    assert lost[0]["longest_gap_days"] == 12.0
    assert lost[1]["reason"] == "no file has this site"
    for site, empty in (("AA-One", 0), ("BB-Two", 24 * DAYS), ("CC-Thr", 24 * DAYS)):
        assert made.store.read_site(site, ["EVI"])["EVI"].null_count() == empty, site
    notes = made.store.info()["notes"]
    assert any("EVI is absent" in note and "no value within 10 days" in note for note in notes["BB-Two"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        longer = join_covariates(store, [path], tmp_path / "longer", max_gap=12.0)
    assert longer.report["joined"].to_list() == [True, True, False]


@pytest.mark.parametrize(
    ("rule", "sites", "names"),
    [
        ("drop-sites", ("AA-One",), ("LST_Day", "EVI")),
        ("drop-covariates", SITES, ("LST_Day",)),
    ],
)
def test_what_becomes_of_towers_that_lack_something(
    store: Store, tmp_path: Path, rule: Any, sites: tuple[str, ...], names: tuple[str, ...]
) -> None:
    rows = [row for site in SITES for row in daily(site, "LST_TERRA_Day", 285.0)] + daily("AA-One", "EVI", 0.3)
    with pytest.warns(FluxtrapolationWarning, match="2 of 3 towers lack EVI"):
        made = join_covariates(store, [tidy(tmp_path / "t.csv", rows)], tmp_path / "new", lacking=rule)
    assert made.store.site_ids == sites
    assert made.store.covariates == ("TA", "VPD", "SW_IN", *names)
    for site in sites:
        assert made.store.read_site(site).select(pl.col(names).null_count()).sum_horizontal().item() == 0


def test_sixteen_days_linear(store: Store, tmp_path: Path) -> None:
    start = dt.date(2014, 12, 3)
    rows = [(s, start + dt.timedelta(16 * i), "EVI", 0.1 * i) for s in SITES for i in range(8)]
    made = join_covariates(store, [tidy(tmp_path / "t.csv", rows)], tmp_path / "new", interpolate="linear", period=16)
    frame = made.store.read_site("AA-One", ["time", "EVI"])
    for i in range(2, 5):
        centre = dt.datetime.combine(start + dt.timedelta(16 * i + 8), dt.time())
        assert frame.filter(pl.col("time") == centre)["EVI"].item() == np.float32(0.1 * i)
        half = centre + dt.timedelta(days=8)
        assert frame.filter(pl.col("time") == half)["EVI"].item() == pytest.approx(0.1 * i + 0.05, abs=1e-6)


def test_files_that_contradict_or_are_none(store: Store, tmp_path: Path) -> None:
    one = tidy(tmp_path / "one.csv", [row for s in SITES for row in daily(s, "EVI", 0.3)])
    two = tidy(tmp_path / "two.csv", daily("AA-One", "EVI", 0.4))
    (tmp_path / "page.nc").write_text("<html>")
    with pytest.warns(FluxtrapolationWarning) as caught:
        made = join_covariates(store, [one, two, tmp_path / "page.nc"], tmp_path / "new")
    assert made.report["joined"].to_list() == [False, True, True]
    assert "EVI stands in 2 files (one.csv, two.csv)" in made.report["reason"][0]
    assert any("1 of 3 files could not be read" in str(w.message) and "no NetCDF-4" in str(w.message) for w in caught)


def bad(rows: list[Any], columns: tuple[str, ...] = ("site", "date", "variable", "value")) -> tuple[Any, Any]:
    return rows, columns


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([("A", "2015-01-01", "EVI")], ("site", "date", "variable"), r"has no column value"),
        (
            [("AA-One", "01.02.2015", "EVI", "0.1")],
            None,
            r"1 of 1 rows have no usable date \(first: '01.02.2015' in row 2",
        ),
        ([("AA-One", "2015-01-01", "EVI", "0,1")], None, r"1 of 1 rows have no usable value \(first: '0,1'"),
        ([("AA-One", "2015-01-01", "NDVI", "0.1")], None, r"none of the covariates .*they have NDVI"),
        (
            [("AA-One", "2015-01-01", "EVI", "x"), ("AA-One", "2015-01-02", "EVI", "")],
            None,
            r"no usable value \(first: 'x'",
        ),
    ],
)
def test_bad_tables(
    store: Store, tmp_path: Path, rows: list[Any], columns: tuple[str, ...] | None, message: str
) -> None:
    path = tidy(tmp_path / "t.csv", rows, columns or ("site", "date", "variable", "value"))
    with pytest.raises(DataError, match=message):
        join_covariates(store, [path], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_options_that_are_wrong(store: Store, tmp_path: Path) -> None:
    path = tidy(tmp_path / "t.csv", [row for s in SITES for row in daily(s, "EVI", 0.3)])
    new = tmp_path / "new"
    for words, message in (
        ({"out": store.path}, "is the store itself"),
        ({"interpolate": "cubic"}, "--interpolate 'cubic' is none of causal, linear, period"),
        ({"max_gap": 0.0}, "--max-gap is 0 days"),
        ({"covariates": ["TA"]}, "'TA' is no satellite covariate"),
        ({"covariates": ["NIRv"]}, "none of the covariates NIRv"),
        ({"files": [tmp_path / "t2.csv"]}, r"There is no file .*t2\.csv\. Did you mean 't\.csv'"),
        ({"files": []}, "No satellite file was given"),
    ):
        given = {"files": [path], "out": new, **words}
        with pytest.raises(DataError, match=message):
            join_covariates(store, given.pop("files"), given.pop("out"), **given)
        assert not new.exists()
    joined = join_covariates(store, [path], new).store
    with pytest.raises(DataError, match=r"holds EVI already\. Say --replace"):
        join_covariates(joined, [path], tmp_path / "again")
    again = join_covariates(joined, [path], tmp_path / "again", replace=True, interpolate="period").store
    assert again.covariates == joined.covariates and again.data_hash != joined.data_hash


def test_nothing_to_join_leaves_nothing(store: Store, tmp_path: Path) -> None:
    path = tidy(tmp_path / "t.csv", daily("ZZ-Top", "EVI", 0.3))
    with pytest.raises(
        DataError, match=r"speak of none of the 3 towers .*AA-One.*, but of ZZ-Top.*site ids must be"
    ) as told:
        join_covariates(store, [path], tmp_path / "new")
    assert "max-gap" not in str(told.value)
    assert not (tmp_path / "new").exists()
    path = tidy(tmp_path / "t.csv", daily("AA-One", "EVI", 0.3, skip=range(1, 59)))
    with pytest.raises(DataError, match=r"joined at any tower .*AA-One, EVI: .*within 2 days.*A longer --max-gap"):
        join_covariates(store, [path], tmp_path / "new", max_gap=2)
    assert not (tmp_path / "new").exists()


def test_a_split_of_complete_towers_works_and_an_empty_covariate_is_told(tmp_path: Path) -> None:
    """What the next room makes of a tower that lacks a covariate: it says so, and can do without the covariate."""
    from fluxtrapolation.scenarios.design import DesignOptions, design
    from fluxtrapolation.scenarios.split import make_split

    plain = write_tiny_store(tmp_path / "s", hours=24 * DAYS)
    rows = [row for site in plain.site_ids[:5] for row in daily(site, "EVI", 0.3)]
    path = tidy(tmp_path / "t.csv", rows)
    with pytest.warns(FluxtrapolationWarning, match="1 of 6 towers lack EVI"):
        kept = join_covariates(plain, [path], tmp_path / "kept").store
    with pytest.warns(FluxtrapolationWarning, match="1 of 6 towers lack EVI"):
        dropped = join_covariates(plain, [path], tmp_path / "dropped", lacking="drop-sites").store
    options = DesignOptions(n_test=2, n_validation=1)
    split = make_split(dropped, design(dropped, "random", name="r", options=options), target="GPP")
    assert "EVI" in split.feature_names and np.isfinite(split.train.X).all()
    scenario = design(kept, "random", name="r", options=options)
    with pytest.raises(
        DataError,
        match=r"1 of the 6 towers of the scenario lack a covariate: EVI at 1 \(for example FF-Six, in 1,440 of 1,440 h",
    ) as told:
        make_split(kept, scenario, target="GPP")
    assert "--lacking drop-sites" in str(told.value) and "features=" in str(told.value)
    fix = f"data subset {kept.path} --columns TA,VPD,SW_IN,GPP,NEE --out NEW"
    assert f"'fluxtrapolation {fix}'" in str(told.value)
    assert run(fix.replace("NEW", str(tmp_path / "without")).split()) == 0  # what it advises works
    assert (
        make_split(tmp_path / "without", scenario, target="GPP").feature_names
        == make_split(plain, scenario, target="GPP").feature_names
    )
    without = [name for name in kept.features if name != "EVI"]
    assert make_split(kept, scenario, target="GPP", features=without).feature_names == tuple(without)


def test_the_command_line_tells_a_table(store: Store, tmp_path: Path) -> None:
    tidy(tmp_path / "t.csv", daily("AA-One", "EVI", 0.3) + daily("BB-Two", "EVI", 0.4, skip=range(3, 59)))
    base = [sys.executable, "-m", "fluxtrapolation.cli.main", "data", "covariates", "store", "--from", "t.csv"]
    done = subprocess.run([*base, "--out", "new"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "new"
    assert "BB-Two" in done.stdout and "have no value within 32 days" in done.stdout
    assert "note: 2 of 3 towers lack EVI" in done.stderr
    done = subprocess.run(
        [*base, "--out", "other", "--json", "--lacking", "drop-sites"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    answer = json.loads(done.stdout)
    assert answer["sites"] == 1 and [row["joined"] for row in answer["report"]] == [True, False, False]
    done = subprocess.run([*base, "--out", "store"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "is the store itself" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.real
def test_the_genuine_fluxneteo_file(shared: Path, tmp_path: Path) -> None:
    """LST in kelvin, EVI, NIRv and NDWI without a single value."""
    h5netcdf = pytest.importorskip("h5netcdf")
    source = shared / "data" / "modis" / "FluxnetEO_CG-Tch.modis.average_cutout.nc"
    record = tiny_record("CG-Tch", lat=-4.2892, lon=11.6564)
    plain = write_tiny_store(tmp_path / "x", ("AA-One",), hours=48).manifest.sources[0]
    with StoreWriter(tmp_path / "s", targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=plain) as writer:
        writer.add(record, tiny_frame("CG-Tch", first="2006-07-01", hours=24 * 365))
    with pytest.warns(
        FluxtrapolationWarning, match=r"without a single value are taken as absent: EVI \(CG-Tch\), NIRv"
    ):
        made = join_covariates(tmp_path / "s", [source], tmp_path / "new", interpolate="period")
    assert made.store.covariates == ("TA", "VPD", "SW_IN", "LST_Day", "LST_Night")
    frame = made.store.read_site("CG-Tch", ["time", "LST_Day", "LST_Night"])
    with h5netcdf.File(source, "r") as held:
        days = np.asarray(held.variables["time"][...]).astype(int)
        for name, variable in (("LST_Day", "LST_TERRA_Day"), ("LST_Night", "LST_TERRA_Night")):
            values = np.asarray(held.variables[variable][...]) - 273.15
            want = dict(zip(days.tolist(), values.astype(np.float32).tolist(), strict=True))
            day = frame["time"].dt.date().cast(pl.Int32).to_list()
            assert frame[name].to_list() == [want[d] for d in day]
    assert 15 < frame["LST_Night"].mean() < frame["LST_Day"].mean() < 45  # type: ignore[operator]
    assert made.report.filter(~pl.col("joined"))["reason"].unique().to_list() == ["every value in the file is missing"]
    assert "Walther" in (made.store.manifest.sources[-1].citation or "")


def mod13_as_tidy(path: Path) -> pl.DataFrame:
    """The recipe of docs/doors-satellite.md: NASA's integers times 10000 to a tidy table."""
    raw = pl.read_csv(path, null_values=["NA", ""])
    red, short = pl.col("sur_refl_b02") / 10000, pl.col("sur_refl_b07") / 10000
    wide = raw.select(
        "site",
        "date",
        EVI=pl.col("EVI") / 10000,
        NIRv=pl.col("NDVI") / 10000 * red,
        NDWI_SWIR2=(red - short) / (red + short),
    )
    return wide.unpivot(index=["site", "date"]).with_columns(days=pl.lit(16))


@pytest.mark.real
def test_the_genuine_mod13_table(shared: Path, tmp_path: Path) -> None:
    table = mod13_as_tidy(shared / "data" / "modis" / "phenofit_MOD13A1_10sites_2000-2018.csv")
    assert table.filter(pl.col("site") == "AT-Neu", pl.col("date") == "2000-02-18", pl.col("variable") == "EVI")[
        "value"
    ].item() == pytest.approx(0.2029)
    table.write_csv(tmp_path / "mod13.csv")
    plain = write_tiny_store(tmp_path / "x", ("AA-One",), hours=48).manifest.sources[0]
    with StoreWriter(tmp_path / "s", targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=plain) as writer:
        for site, first in (("AT-Neu", "2005-01-01"), ("AU-How", "2008-03-01"), ("CZ-wet", "2000-01-01")):
            writer.add(tiny_record(site), tiny_frame(site, first=first, hours=24 * 400))
    with pytest.warns(FluxtrapolationWarning) as caught:
        made = join_covariates(
            tmp_path / "s", [tmp_path / "mod13.csv"], tmp_path / "new", name="MOD13A1", licence="none"
        )
    told = " ".join(str(w.message) for w in caught)
    assert "7 sites of the files are not in the store" in told
    assert made.store.covariates == ("TA", "VPD", "SW_IN", "EVI", "NIRv", "NDWI_SWIR2")
    joined = made.report.filter("joined")["site_id"].unique().sort().to_list()
    assert joined == ["AT-Neu", "AU-How"]
    # CZ-wet begins in January 2000, before MODIS: it lacks them, and the table says from when
    assert "first: 2000-01-01 00:00:00" in made.lacking["reason"][0]
    frame = made.store.read_site("AT-Neu", ["time", "EVI"])
    value = table.filter(pl.col("site") == "AT-Neu", pl.col("date") == "2005-06-10", pl.col("variable") == "EVI")[
        "value"
    ]
    at = frame.filter(pl.col("time") == dt.datetime(2005, 6, 26))["EVI"].item()
    assert at == np.float32(value.item())

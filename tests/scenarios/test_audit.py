"""The audit: what was put into towers on purpose is found, and nothing is found in clean ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.manifest import SiteRecord, Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, ScenarioError
from fluxtrapolation.scenarios import DesignOptions, Scenario, audit, design
from fluxtrapolation.scenarios.neighbours import Place, closest_pair, distance_km
from tiny import tiny_frame, tiny_record

SITES = ("AA", "BB", "CC", "DD", "EE", "FF")


def frames(hours: int = 24 * 400) -> dict[str, pl.DataFrame]:
    """Towers whose days differ by weather of their own, as those of ``tiny_frame`` do not."""
    made = {}
    for site in SITES:
        frame = tiny_frame(site, hours=hours)
        generator = np.random.default_rng(int.from_bytes(site.encode(), "big") + 1)
        bright = np.repeat(generator.uniform(0.3, 1.7, hours // 24), 24)
        made[site] = frame.with_columns((pl.col("GPP", "NEE", "SW_IN") * bright).cast(pl.Float32))
    return made


def write(
    path: Path, tables: Mapping[str, pl.DataFrame], places: Mapping[str, tuple[float, float]] | None = None
) -> Store:
    """A store; towers stand far apart unless placed."""
    source = Source(name="made", kind="table", location="tests", retrieved=utc_now(), package_version="0")
    with StoreWriter(path, targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=source) as writer:
        for i, (site, frame) in enumerate(tables.items()):
            lat, lon = (places or {}).get(site, (10.0 * i, 40.0))
            record: SiteRecord = tiny_record(site, lat=lat, lon=lon)
            writer.add(record, frame)
    return Store(path)


def held_out(test: tuple[str, ...] = ("AA",), validation: tuple[str, ...] = ("BB",)) -> Scenario:
    return Scenario(name="x", kind="sites", domain="site", rule="r", source="s", test=test, validation=validation)


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ((52.5200, 13.4050), (48.8566, 2.3522), 878),  # Berlin, Paris
        ((40.7128, -74.0060), (51.5074, -0.1278), 5570),  # New York, London
        ((-33.8688, 151.2093), (-36.8485, 174.7633), 2156),  # Sydney, Auckland
        ((35.6762, 139.6503), (37.7749, -122.4194), 8270),  # Tokyo, San Francisco: over the date line
        ((90.0, 0.0), (-90.0, 77.0), 20015),  # pole to pole
        ((10.0, 20.0), (10.0, 20.0), 0),
    ],
)
def test_distances_between_known_cities(one: tuple[float, float], other: tuple[float, float], km: float) -> None:
    assert float(distance_km(*one, *other)) == pytest.approx(km, rel=0.003, abs=0.01)
    assert float(distance_km(*other, *one)) == pytest.approx(float(distance_km(*one, *other)))


def test_closest_pair() -> None:
    def place(site: str, lat: float) -> Place:
        return Place(site, lat, 0.0, None, "GRA")

    found = closest_pair([place("a", 0), place("b", 5)], [place("c", 9), place("d", 6)])
    assert found is not None and found[:2] == ("b", "d")
    assert found[2] == pytest.approx(111.195, abs=0.01)
    assert closest_pair([], [place("c", 9)]) is None


def test_clean_towers_give_nothing(tmp_path: Path) -> None:
    store = write(tmp_path / "s", frames())
    found = audit(store, held_out())
    assert found.findings == [] and found.near.height == 0 and found.days.height == 0 and found.series.height == 0
    assert found.to_dict()["ok"] is True
    by_years = DesignOptions(train_years="2015", validation_years="2016", test_years="2017:")
    tables = {site: frame for site, frame in frames(24 * 1000).items() if site < "D"}
    long = write(tmp_path / "t", tables)
    later = audit(long, design(long, "years", name="later", options=by_years))
    assert later.findings == []
    assert "every part holds the same towers" in later.record["not_looked_at"][0]


def test_a_tower_held_twice_is_found_far_away_and_noisy(tmp_path: Path) -> None:
    """Another id, other coordinates, other noise on every value: no day is the same, yet the series is."""
    tables = frames()
    noise = np.random.default_rng(3).normal(0, 0.02, tables["AA"].height)
    tables["FF"] = tables["AA"].with_columns((pl.col("GPP", "NEE", "TA") * 1.01 + noise).cast(pl.Float32))
    found = audit(write(tmp_path / "s", tables), held_out())
    kinds = {(finding.kind, frozenset(finding.sites)) for finding in found.grave}
    assert kinds == {("duplicate", frozenset({"AA", "FF"}))}
    assert found.days.filter(pl.col("column").is_in(["GPP", "NEE"])).height == 0
    assert found.series["distance_km"].min() > 1000  # type: ignore[operator]


def test_an_exact_copy_moved_by_days_is_found(tmp_path: Path) -> None:
    tables = frames()
    moved = tables["AA"].with_columns(pl.col("time") + pl.duration(days=200))
    tables["CC"] = moved
    found = audit(write(tmp_path / "s", tables), held_out())
    days = found.days.filter(pl.col("column") == "GPP")
    assert days["site_a"].to_list() == ["AA"] and days["site_b"].to_list() == ["CC"]
    assert days["same_date"].to_list() == [False]
    whole = tables["AA"].group_by_dynamic("time", every="1d").agg(pl.col("GPP").is_null().any().alias("lost"))
    assert days["days"][0] == pytest.approx(int((~whole["lost"]).sum()), abs=3)
    assert {finding.kind for finding in found.grave} == {"copied-flux-days"}


def test_gap_filling_from_a_neighbour_is_found(tmp_path: Path) -> None:
    """A month of GPP at the test tower is that of a train tower 5 km away; TA of a quarter of the year too."""
    tables = frames()
    month = (pl.col("time") >= pl.datetime(2015, 6, 1)) & (pl.col("time") < pl.datetime(2015, 7, 1))
    quarter = (pl.col("time") >= pl.datetime(2015, 1, 1)) & (pl.col("time") < pl.datetime(2015, 4, 1))
    near = tables["DD"]
    tables["AA"] = tables["AA"].with_columns(
        pl.when(month).then(near["GPP"]).otherwise(pl.col("GPP")).alias("GPP"),
        pl.when(quarter).then(near["TA"]).otherwise(pl.col("TA")).alias("TA"),
    )
    store = write(tmp_path / "s", tables, {"AA": (50.0, 10.0), "DD": (50.045, 10.0)})
    found = audit(store, held_out())
    assert found.near.row(0)[:5] == ("AA", "test", "DD", "train", pytest.approx(5.0, abs=0.01))
    rows = {row["column"]: row for row in found.series.iter_rows(named=True)}
    assert rows["GPP"]["identical_hours"] >= 24 * 28 and rows["GPP"]["identical"] > rows["GPP"]["by_chance"] + 0.05
    assert rows["NEE"]["identical"] < 0.001
    assert {finding.kind for finding in found.grave} == {"copied-flux", "copied-flux-days"}
    assert [finding.text.split()[0] for finding in found.findings if finding.kind == "shared-weather"] == ["TA"]
    # both in one part: nothing of it is leakage
    apart = audit(store, held_out(("BB",), ("CC",)))
    assert apart.findings == []


def test_rounded_values_are_no_copies(tmp_path: Path) -> None:
    tables = {site: frame.with_columns(pl.col("GPP", "NEE", "TA").round(0)) for site, frame in frames().items()}
    found = audit(write(tmp_path / "s", tables, {"AA": (50.0, 10.0), "DD": (50.1, 10.0)}), held_out())
    shares = found.series.filter(pl.col("column") == "NEE")
    assert shares["identical"][0] > 0.05  # by rounding alone
    assert [finding.kind for finding in found.findings] == ["near"]


def test_years_copied_within_a_tower_are_found(tmp_path: Path) -> None:
    tables = {site: frame for site, frame in frames(24 * 1000).items() if site < "D"}
    frame = tables["BB"]
    year = frame.filter(pl.col("time").dt.year() == 2015)["NEE"]
    late = frame["time"].dt.year() == 2017
    count = int(late.sum())
    values = frame["NEE"].to_numpy().copy()
    values[late.to_numpy()] = year.to_numpy()[:count]
    tables["BB"] = frame.with_columns(NEE=pl.Series(values))
    store = write(tmp_path / "s", tables)
    options = DesignOptions(train_years="2015", validation_years="2016", test_years="2017:")
    found = audit(store, design(store, "years", name="later", options=options))
    assert {finding.kind for finding in found.grave} == {"copied-flux-days"}
    row = found.days.row(0, named=True)
    assert (row["site_a"], row["part_a"], row["part_b"], row["column"]) == ("BB", "test", "train", "NEE")
    assert row["days"] > 200 and row["example_b"][:4] == "2015"


def test_two_ids_at_one_place_are_grave(tmp_path: Path) -> None:
    store = write(tmp_path / "s", frames(24 * 40), {"AA": (50.0, 10.0), "DD": (50.001, 10.0), "EE": (50.1, 10.0)})
    found = audit(store, held_out(), km=20.0)
    assert [(finding.kind, finding.sites) for finding in found.findings] == [
        ("same-place", ("AA", "DD")),
        ("near", ("AA", "EE")),
    ]
    counts = found.reach.filter((pl.col("part") == "test") & (pl.col("other") == "train"))
    assert dict(zip(counts["km"], counts["with_neighbour"], strict=True)) == {1: 1, 5: 1, 10: 1, 20: 1, 50: 1}


def test_published_scenarios_by_packaged_coordinates(capfd: pytest.CaptureFixture[str]) -> None:
    found = audit(None, "spatial")
    assert found.record["towers"] == {"train": 127, "validation": 20, "test": 40}
    near = found.reach.filter((pl.col("part") == "test") & (pl.col("other") == "train"))
    assert near["with_neighbour"].to_list() == [0, 1, 8, 15]
    redraw = audit(None, "spatial-redraw").reach.filter((pl.col("part") == "test") & (pl.col("other") == "train"))
    assert redraw["with_neighbour"].to_list() == [1, 10, 13, 17]
    warm = audit(None, "temperature").reach.filter((pl.col("part") == "test") & (pl.col("other") == "train"))
    assert warm["with_neighbour"].to_list() == [0, 0, 0, 0]
    assert run(["scenario", "audit", "temporal", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["ok"] is True and len(told["record"]["not_looked_at"]) == 2


def test_bad_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"positive km, not -5"):
        audit(None, "spatial", km=-5.0)
    mine = held_out(("QQ-Qqq",), ("DE-Tha",))
    with pytest.raises(DataError, match=r"lacks 1 of 1 towers: QQ-Qqq.*--store"):
        audit(None, mine)


def test_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tables = frames(24 * 60)
    clean = write(tmp_path / "clean", tables)
    tables["FF"] = tables["AA"]
    copied = write(tmp_path / "copied", tables)
    file = str(held_out().write(tmp_path / "x.yaml"))
    assert run(["scenario", "audit", file, "--store", str(clean.path)]) == 0
    assert "0 grave findings" in capfd.readouterr().err
    out = tmp_path / "audit.json"
    assert run(["scenario", "audit", file, "--store", str(copied.path), "--out", str(out)]) == 1
    shown = capfd.readouterr()
    assert "GRAVE" in shown.err and shown.out.splitlines()[-1] == str(out)
    told = json.loads(out.read_text())
    assert set(told) == {"scenario", "ok", "findings", "near", "reach", "series", "days", "record"}
    assert told["ok"] is False and {one["kind"] for one in told["findings"] if one["grave"]} >= {"duplicate"}
    assert run(["scenario", "audit", "spatail"]) == 2
    assert "Did you mean 'spatial'" in capfd.readouterr().err

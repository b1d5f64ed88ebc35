"""Rules of design: what each holds out, on climates made for the purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.sites import load_sites
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import ScenarioError
from fluxtrapolation.scenarios import DesignOptions, Scenario, design, design_draws, rule_names
from fluxtrapolation.scenarios.design_climate import k_means
from fluxtrapolation.scenarios.design_options import nearest_groups
from fluxtrapolation.scenarios.design_regions import continent_of
from fluxtrapolation.scenarios.neighbours import distance_matrix, places_of, too_near
from tiny import tiny_frame, tiny_record

CLASSES = ("GRA", "ENF", "DBF", "CRO")
SPOTS = ((50.0, 10.0), (52.0, 13.0), (40.0, -100.0), (-25.0, 135.0), (36.0, 138.0), (-10.0, -60.0))
"""Germany twice, the United States, Australia, Japan, Brazil."""


def write_world(path: Path, n: int = 18, *, rain: bool = True) -> Store:
    """Towers ``T00`` to ``T17``: each 2 degC warmer than the one before, rain the other way round; 400 days."""
    source = Source(name="made", kind="table", location="tests", retrieved=utc_now(), package_version="0")
    with StoreWriter(path, targets=["GPP"], covariates=["TA", "VPD", "SW_IN"], source=source) as writer:
        for i in range(n):
            site = f"T{i:02d}"
            frame = tiny_frame(site, hours=24 * 400, targets=["GPP"])
            lat, lon = SPOTS[i % 6]
            record = tiny_record(site, igbp=CLASSES[i % 4], lat=lat + 0.02 * (i // 6), lon=lon)
            wet = None if not rain or i == 3 else 2000.0 - 100.0 * i
            writer.add(record.model_copy(update={"map_mm": wet}), frame.with_columns(frame["TA"] + 2.0 * i - 12.0))
    return Store(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_world(tmp_path_factory.mktemp("climates") / "store")


def names(numbers: range) -> tuple[str, ...]:
    return tuple(f"T{i:02d}" for i in numbers)


def test_rules_are_named() -> None:
    assert set(rule_names()) == {
        *("years", "random", "temperature", "aridity", "latitude", "biome", "continent", "cluster")
    }


@pytest.mark.parametrize(
    ("extreme", "test", "next_"),
    [
        (None, names(range(14, 18)), names(range(11, 14))),
        ("cold", names(range(4)), names(range(4, 7))),
        ("low", names(range(4)), names(range(4, 7))),
    ],
)
def test_temperature_by_either_end(
    world: Store, extreme: str | None, test: tuple[str, ...], next_: tuple[str, ...]
) -> None:
    options = DesignOptions(4, 3, validation="same-rule", extreme=extreme)
    made = design(world, "temperature", name="t", options=options)
    assert made.test == test
    assert made.validation == next_
    assert made.made_from["validation"] == "same-rule"
    drawn = design(world, "temperature", name="t", options=DesignOptions(4, 3, extreme=extreme))
    assert drawn.test == test and drawn.validation != next_


def test_aridity_lists_towers_without_an_index_and_keeps_them_in_train(world: Store) -> None:
    made = design(world, "aridity", name="dry", options=DesignOptions(4, 3))
    assert made.test == names(range(14, 18))  # least rain, warmest
    left = made.made_from["left_in_train"]
    assert left["without_map"] == ["T03"]
    # mean TA is about -1.5 degC for T00 and 2 degC more for each after it: none is below -5 degC
    assert "too_cold_for_index" not in left
    assert "T03" in (made.train or ()) or "T03" in made.validation
    wet = design(world, "aridity", name="wet", options=DesignOptions(3, 3, extreme="wet"))
    mean = {s: world.read_site(s, ["TA"])["TA"].cast(pl.Float64).mean() for s in world.site_ids}
    index = {s: world.record(s).map_mm / (mean[s] + 10) for s in world.site_ids if s != "T03"}  # type: ignore[operator]
    assert set(wet.test) == set(sorted(index, key=lambda s: -index[s])[:3])


def test_aridity_needs_rain(tmp_path: Path) -> None:
    store = write_world(tmp_path / "s", 6, rain=False)
    with pytest.raises(ScenarioError, match=r"None of the store's 6 towers.*map_mm.*--sites-table"):
        design(store, "aridity", name="dry", options=DesignOptions(2, 1))


def test_latitude_takes_the_most_poleward(world: Store) -> None:
    made = design(world, "latitude", name="far", options=DesignOptions(3, 2))
    assert {abs(world.record(site).lat) // 1 for site in made.test} == {52.0}
    low = design(world, "latitude", name="near", options=DesignOptions(3, 2, extreme="equatorward"))
    assert {abs(world.record(site).lat) // 1 for site in low.test} <= {9.0, 10.0}


def test_biome_holds_out_whole_classes(world: Store) -> None:
    made = design(world, "biome", name="b", options=DesignOptions(classes=("cro", "GRA"), n_validation=3))
    assert {world.record(site).igbp for site in made.test} == {"CRO", "GRA"}
    kept = {world.record(site).igbp for site in (*made.validation, *(made.train or ()))}
    assert kept == {"ENF", "DBF"}
    other = design(world, "biome", name="b", options=DesignOptions(5, 4, seed=3, validation="same-rule"))
    parts = [{world.record(site).igbp for site in part} for part in (other.train or (), other.validation, other.test)]
    assert all(not parts[i] & parts[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert other.made_from["held_out"] == sorted(parts[2]) and len(other.test) in (4, 5)


def test_continents_by_coordinates(world: Store) -> None:
    made = design(world, "continent", name="c", options=DesignOptions(continents=("South America",), n_validation=3))
    assert made.test == ("T05", "T11", "T17")
    options = DesignOptions(continents=("europ",), n_validation=3)
    with pytest.raises(ScenarioError, match=r"no continent 'europ'.*Did you mean 'europe'"):
        design(world, "continent", name="c", options=options)
    with pytest.raises(ScenarioError, match=r"No tower of the store.*continent africa.*europe \(6\)"):
        design(world, "continent", name="c", options=DesignOptions(continents=("africa",), n_validation=3))


def test_every_packaged_tower_lies_on_the_continent_of_its_country() -> None:
    codes = {
        "north-america": "US CA MX CR PA GL PR",
        "south-america": "BR AR PE CL CO GF",
        "europe": "DE IT ES FI FR CH SE UK CZ DK BE AT IE NL NO EE GR SJ",
        "asia": "CN JP KR ID MN MY IL TH HK KH PH",
        "africa": "ZA KE BJ BW SN CD CG GH ML SD ZM",
        "oceania": "AU NZ VU",
    }
    expected = {code: name for name, listed in codes.items() for code in listed.split()}
    hawaii = {"US-SuM", "US-SuS", "US-SuW", "US-xPU"}
    wrong = [
        site
        for site, facts in load_sites().items()
        if site[:2] != "RU"
        and continent_of(facts.lat, facts.lon) != ("oceania" if site in hawaii else expected[site[:2]])
    ]
    assert wrong == []
    assert continent_of(56.46, 32.92) == "europe" and continent_of(62.26, 129.6) == "asia"  # Fyodorovskoye, Yakutsk
    assert continent_of(-75.0, 0.0) == "antarctica" and continent_of(35.0, -45.0) is None


def test_clusters_are_found_and_held_out_whole(tmp_path: Path) -> None:
    source = Source(name="made", kind="table", location="tests", retrieved=utc_now(), package_version="0")
    with StoreWriter(tmp_path / "s", targets=["GPP"], covariates=["TA"], source=source) as writer:
        for i in range(15):  # three climates, five towers each: T00, T03, ... are alike
            frame = tiny_frame(f"T{i:02d}", hours=24 * 400, targets=["GPP"]).select("time", "TA", "GPP", "qc_mask")
            ta = (frame["TA"] - 10.0) * (0.5 + 0.5 * (i % 3)) + 10.0 * (i % 3)
            writer.add(tiny_record(f"T{i:02d}"), frame.with_columns(ta.alias("TA")))
    store = Store(tmp_path / "s")
    found = set()
    for seed in range(6):
        options = DesignOptions(5, 3, seed=seed, clusters=3, validation="same-rule")
        made = design(store, "cluster", name="k", options=options)
        kinds = [{int(site[1:]) % 3 for site in part} for part in (made.test, made.validation, made.train or ())]
        assert all(len(one) == 1 for one in kinds) and len(set.union(*kinds)) == 3
        # the validation is the climate next to that of the test: the middle one lies between
        assert kinds[1] == {1} or kinds[0] == {1}
        assert [len(part) for part in (made.test, made.validation, made.train or ())] == [5, 5, 5]
        assert made == design(store, "cluster", name="k", options=options)
        found |= kinds[0]
    assert len(found) > 1
    with pytest.raises(ScenarioError, match=r"--clusters 30 is more than the 15 towers"):
        design(store, "cluster", name="k", options=DesignOptions(5, 3, clusters=30))


def test_k_means_finds_separate_clumps_whatever_the_seed() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(c, 0.1, (20, 2)) for c in (0.0, 5.0, 10.0)])
    for seed in range(5):
        labels, centres = k_means(values, 3, seed=seed)
        assert labels.tolist() == [0] * 20 + [1] * 20 + [2] * 20
        np.testing.assert_allclose(centres, [[0, 0], [5, 5], [10, 10]], atol=0.1)
    labels, _ = k_means(np.zeros((4, 2)), 3, seed=0)
    assert len(labels) == 4


def test_records_shorter_than_a_year_have_no_climate(tmp_path: Path) -> None:
    source = Source(name="made", kind="table", location="tests", retrieved=utc_now(), package_version="0")
    with StoreWriter(tmp_path / "s", targets=["GPP"], covariates=["TA"], source=source) as writer:
        for i in range(6):
            site = f"S{i}"
            frame = tiny_frame(site, hours=24 * (400 if i < 2 else 100), targets=["GPP"])
            writer.add(tiny_record(site), frame.select("time", "TA", "GPP", "qc_mask"))
    with pytest.raises(ScenarioError, match=r"Only 2 of the 6 towers have TA in all twelve months"):
        design(Store(tmp_path / "s"), "cluster", name="k", options=DesignOptions(2, 1))


def test_towers_too_near_are_left_out_of_train(world: Store) -> None:
    made = design(world, "random", name="r", options=DesignOptions(4, 3, seed=2, min_distance=100.0))
    held = places_of(world, [*made.test, *made.validation])
    assert distance_matrix(places_of(world, made.train or ()), held).min() >= 100.0
    plain = design(world, "random", name="r", options=DesignOptions(4, 3, seed=2))
    lost = set(plain.train or ()) - set(made.train or ())
    assert lost and len(made.made_from["excluded"]) == len(lost)
    assert made.test == plain.test and made.validation == plain.validation
    assert made.made_from["sizes"]["train"]["towers"] == len(made.train or ())
    near = made.made_from["closest"]
    assert near["km"] == pytest.approx(distance_matrix(places_of(world, made.train or ()), held[:4]).min(), abs=1e-3)


def test_a_distance_that_empties_train_is_refused(world: Store) -> None:
    with pytest.raises(ScenarioError, match=r"nearer than 20000 km.*takes all 11 train towers away"):
        design(world, "random", name="r", options=DesignOptions(4, 3, min_distance=20_000.0))


def test_neighbours_are_near_and_alike(tmp_path: Path) -> None:
    """Of two towers 10 km from the test, the one with its weather is left out, the other is kept."""
    source = Source(name="made", kind="table", location="tests", retrieved=utc_now(), package_version="0")
    base = tiny_frame("XX", targets=["GPP"])
    generator = np.random.default_rng(4)
    weather = generator.normal(0, 2, base.height)

    def like(noise: float) -> pl.DataFrame:
        other = generator.normal(0, noise, base.height)
        changed = pl.Series("TA", base["TA"].to_numpy() + weather + other - 5.0)
        return base.with_columns(changed).select("time", "TA", "GPP", "qc_mask")

    with StoreWriter(tmp_path / "s", targets=["GPP"], covariates=["TA"], source=source) as writer:
        writer.add(tiny_record("AA", lat=50.0), like(0.1))
        writer.add(tiny_record("BB", lat=50.09), like(0.1))
        writer.add(tiny_record("CC", lat=50.09), like(5.0))
        writer.add(tiny_record("DD", lat=60.0), like(0.1))
        writer.add(tiny_record("EE", lat=-30.0), like(5.0))
    store = Store(tmp_path / "s")
    found = too_near(store, ["BB", "CC", "DD"], ["AA", "EE"], min_distance=None, neighbours=True)
    assert [one.site_id for one in found] == ["BB"]
    assert found[0].words().startswith("BB: 10.0 km from AA (weather correlates 1.00)")
    by_distance = too_near(store, ["BB", "CC", "DD"], ["AA", "EE"], min_distance=10.5, neighbours=False)
    assert [one.site_id for one in by_distance] == ["BB", "CC"]
    made = design(store, "latitude", name="r", options=DesignOptions(1, 1, exclude_neighbours=True))
    assert made.test == ("DD",) and made.made_from["neighbours"] == {"km": 50.0, "correlation": 0.8}


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        ("random", DesignOptions(4, 3, extreme="cold"), "--extreme is for the rule temperature or aridity or latitude"),
        ("latitude", DesignOptions(4, 3, extreme="polward"), r"poleward or equatorward.*Did you mean 'poleward'"),
        ("biome", DesignOptions(4, 3, classes=("GRS",)), r"no IGBP class 'GRS'.*Did you mean 'GRA'"),
        ("biome", DesignOptions(classes=CLASSES, n_validation=3), r"are 0 towers, too few for 3 of validation"),
        ("random", DesignOptions(4, 3, min_distance=-1.0), "--min-distance must be a positive number"),
        ("years", DesignOptions(train_years=":2014", min_distance=5.0), "same towers in every part"),
        ("cluster", DesignOptions(4, 3, clusters=2), "--clusters must be at least 3"),
        ("random", DesignOptions(4, 3, validation="same"), r"'random' or by 'same-rule'.*Did you mean"),  # type: ignore[arg-type]
        ("aridity", DesignOptions(17, 1, validation="same-rule"), "leave none of the store's 18"),
        ("aridity", DesignOptions(15, 2, validation="same-rule"), None),
        ("aridity", DesignOptions(14, 3, validation="same-rule", extreme="wet"), None),
        ("aridity", DesignOptions(16, 1, validation="random"), None),
    ],
)
def test_bad_options_are_named(world: Store, rule: str, options: DesignOptions, message: str | None) -> None:
    if message is None:
        assert design(world, rule, name="x", options=options).test
        return
    with pytest.raises(ScenarioError, match=message):
        design(world, rule, name="x", options=options)


def test_draws_differ_and_are_pinned(world: Store) -> None:
    made = design_draws(world, "random", name="d", draws=4, options=DesignOptions(4, 3, seed=5))
    assert [one.name for one in made] == ["d-1", "d-2", "d-3", "d-4"]
    assert [one.made_from["seed"] for one in made] == [5, 6, 7, 8]
    assert made[2].test == design(world, "random", name="x", options=DesignOptions(4, 3, seed=7)).test
    with pytest.raises(ScenarioError, match=r"d-1 and d-2 hold the same towers.*'temperature' is not drawn"):
        design_draws(world, "temperature", name="d", draws=2, options=DesignOptions(4, 3, validation="same-rule"))


def test_groups_come_as_near_as_they_can() -> None:
    sizes = {"a": 5, "b": 9, "c": 2, "d": 30}
    assert nearest_groups(sizes, ["a", "b", "c", "d"], 12, keep=1) == ["a", "b"]
    assert nearest_groups(sizes, ["d", "c", "b", "a"], 12, keep=1) == ["c", "b"]
    assert nearest_groups({"a": 30, "b": 40}, ["a", "b"], 5, keep=1) == ["a"]
    assert nearest_groups({"a": 30}, ["a"], 5, keep=1) == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_parts_are_disjoint_and_of_the_size_asked_for(world: Store, data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(["random", "temperature", "aridity", "latitude", "cluster", "biome", "continent"]))
    km = data.draw(st.sampled_from([None, 1.0, 3.0]))
    options = DesignOptions(
        n_test=data.draw(st.integers(1, 6)),
        n_validation=data.draw(st.integers(1, 4)),
        seed=data.draw(st.integers(0, 50)),
        validation=data.draw(st.sampled_from(["random", "same-rule"])),
        min_distance=km,
    )
    try:
        made = design(world, rule, name="x", options=options)
    except ScenarioError as error:
        assert "takes all" in str(error) or "No group is left" in str(error)
        return
    check(world, made, km)
    assert made == design(world, rule, name="x", options=options)
    if rule not in ("cluster", "biome", "continent"):
        assert (len(made.test), len(made.validation)) == (options.n_test, options.n_validation)


def check(store: Store, made: Scenario, km: float | None) -> None:
    parts = [set(part) for part in (made.train or (), made.validation, made.test)]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts))
    held = places_of(store, [*made.validation, *made.test])
    if km is None:
        assert set.union(*parts) == set(store.site_ids)
    else:
        assert distance_matrix(places_of(store, made.train or ()), held).min() >= km

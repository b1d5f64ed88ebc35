"""Scenarios: pinned files, published facts, designs by rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import FluxtrapolationWarning, ScenarioError
from fluxtrapolation.scenarios import DesignOptions, Scenario, Years, design, load_scenario, scenario_names
from tiny import tiny_frame, tiny_record, write_tiny_store


def test_published_scenarios_have_the_published_sizes() -> None:
    assert scenario_names() == ("temporal", "spatial", "temperature", "spatial-redraw")
    temporal = load_scenario("temporal")
    assert len(temporal.sites) == 131
    assert temporal.domain == "site-year"
    assert temporal.years is not None
    assert (str(temporal.years.train), str(temporal.years.validation), str(temporal.years.test)) == (
        ":2017",
        "2018",
        "2019:",
    )
    for name in ("spatial", "temperature", "spatial-redraw"):
        scenario = load_scenario(name)
        assert (len(scenario.test), len(scenario.validation), scenario.train) == (40, 20, None)
        assert scenario.domain == "site"
    redraw = load_scenario("spatial-redraw")
    assert redraw.validation == load_scenario("spatial").validation


@pytest.mark.real
def test_published_memberships_equal_the_facts(shared: Path) -> None:
    facts = json.loads((shared / "spec" / "scenarios.json").read_text())
    assert set(facts) == set(scenario_names())
    for name, fact in facts.items():
        scenario = load_scenario(name)
        assert scenario.published_id == fact["reference_id"]
        for part in ("sites", "test", "validation"):
            assert sorted(fact.get(part, [])) == list(getattr(scenario, part))


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("time-split", "temporal"),
        ("spatial-easy40", "spatial"),
        ("TA40", "temperature"),
        ("spatial-easy40-v2", "spatial-redraw"),
    ],
)
def test_published_ids_are_aliases(alias: str, name: str) -> None:
    assert load_scenario(alias).name == name


def test_a_miss_suggests_the_nearest_name() -> None:
    with pytest.raises(ScenarioError, match=r"'temprature'.*Did you mean 'temperature'.*Known: temporal"):
        load_scenario("temprature")
    with pytest.raises(ScenarioError, match=r"no scenario file nowhere\.yaml"):
        load_scenario("nowhere.yaml")


def test_file_round_trip_and_tampering(tmp_path: Path) -> None:
    scenario = load_scenario("temperature").model_copy(update={"name": "mine"})
    path = scenario.write(tmp_path / "mine.yaml")
    assert load_scenario(path) == scenario
    body = yaml.safe_load(path.read_text())
    assert body["sha256"] == scenario.sha256
    path.write_text(path.read_text().replace("AU-Dry", "AU-Wet"))
    with pytest.raises(ScenarioError, match="does not match its sha256"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "towers"}, "kind"),
        ({"tests": ["x"]}, r"tests.*Did you mean 'test'"),
        ({"test": []}, "needs 'validation' and 'test'"),
        ({"validation": ["AU-Dry"]}, "AU-Dry is listed in validation and again in test"),
        ({"years": {"train": {}, "validation": {}, "test": {}}}, "years"),
        ({"version": 99}, "newer than this package"),
    ],
)
def test_malformed_files_name_the_field(tmp_path: Path, change: dict[str, object], message: str) -> None:
    body = yaml.safe_load(load_scenario("temperature").to_yaml()) | change
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(body))
    with pytest.raises(ScenarioError, match=message):
        load_scenario(path)


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "just text"])
def test_not_a_scenario_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=r"YAML|not a scenario file"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("2008", 2008, 2008), (":2007", None, 2007), ("2009:", 2009, None), ("2009:2012", 2009, 2012)],
)
def test_years_are_read(text: str, first: int | None, last: int | None) -> None:
    years = Years.parse(text)
    assert (years.first, years.last) == (first, last)
    assert str(years) == text


@pytest.mark.parametrize("text", ["", "x", "2009-2012", "2012:2009", "2009:x"])
def test_years_that_cannot_be_read(text: str) -> None:
    if text == "":
        with pytest.raises(ScenarioError):
            Years.parse(text)
        return
    with pytest.raises(ScenarioError, match="Cannot read the years"):
        Years.parse(text)


def test_absent_sites_are_told_and_refused_under_strict(tiny_store: Store) -> None:
    scenario = load_scenario("spatial")
    held = ["DE-Hai", "CH-Cha", "DE-Tha", "AA-One"]
    with pytest.warns(
        FluxtrapolationWarning, match=r"lacks 57 of 60 listed sites \(38 of 40 test, 19 of 20 validation"
    ):
        membership = scenario.apply(held)
    assert membership.train == ("AA-One",)
    assert membership.test == ("CH-Cha", "DE-Hai")
    with pytest.raises(ScenarioError, match=r"lacks 57 of 60.*drop --strict"):
        scenario.apply(held, strict=True)
    with (
        pytest.warns(FluxtrapolationWarning),
        pytest.raises(ScenarioError, match=r"no validation sites in this store.*scenario design"),
    ):
        scenario.apply(["DE-Hai", "AA-One"])


def test_random_design_is_seeded_disjoint_and_pinned(tiny_store: Store, tmp_path: Path) -> None:
    options = DesignOptions(n_test=2, n_validation=1, seed=3)
    one = design(tiny_store, "random", name="r3", options=options)
    assert one == design(tiny_store, "random", name="r3", options=options)
    assert len(one.test) == 2 and len(one.validation) == 1 and one.train is not None and len(one.train) == 3
    assert set(one.test) | set(one.validation) | set(one.train) == set(tiny_store.site_ids)
    assert one.made_from["store_hash"] == tiny_store.data_hash
    assert one.made_from["seed"] == 3
    draws = {design(tiny_store, "random", name="r", options=DesignOptions(2, 1, seed)).test for seed in range(8)}
    assert len(draws) > 1
    assert load_scenario(one.write(tmp_path / "r3.yaml")) == one


def test_temperature_design_takes_the_warmest(tmp_path: Path) -> None:
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    with StoreWriter(
        tmp_path / "s", targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=source
    ) as writer:
        for i, site in enumerate(("AA-One", "BB-Two", "CC-Thr", "DD-Fou", "EE-Fiv")):
            frame = tiny_frame(site, hours=24 * 40)
            shifted = frame.with_columns(frame["TA"] + (7 * i) % 5 * 3.0)
            unmeasured = shifted.with_columns(qc_mask=0) if site == "CC-Thr" else shifted
            writer.add(tiny_record(site), unmeasured)
    store = Store(tmp_path / "s")
    scenario = design(store, "temperature", name="warm", options=DesignOptions(n_test=2, n_validation=1))
    mean = {site: float(np.mean(store.read_site(site, ["TA"])["TA"].to_numpy())) for site in store.site_ids}
    warmest = sorted((s for s in store.site_ids if s != "CC-Thr"), key=lambda s: -mean[s])[:2]
    assert scenario.test == tuple(sorted(warmest))
    # a tower without a measured hour is never held out, though it is the warmest
    assert max(mean, key=lambda s: mean[s]) == "CC-Thr"
    assert "CC-Thr" in (scenario.train or ())
    assert scenario.made_from["never_held_out"] == ["CC-Thr"]


def test_years_design(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "s", first="2006-06-01", hours=24 * 1000)
    options = DesignOptions(train_years=":2007", validation_years="2008", test_years="2009:")
    scenario = design(store, "years", name="later", options=options)
    assert scenario.kind == "years"
    assert scenario.domain == "site-year"
    assert scenario.sites == store.site_ids
    with pytest.raises(ScenarioError, match="--train-years :2008 and --validation-years 2008 overlap"):
        design(
            store,
            "years",
            name="x",
            options=DesignOptions(train_years=":2008", validation_years="2008", test_years="2009:"),
        )
    with pytest.raises(ScenarioError, match="needs --validation-years, --test-years"):
        design(store, "years", name="x", options=DesignOptions(train_years=":2008"))
    with pytest.raises(ScenarioError, match=r"No tower.*2006 to 2009"):
        design(
            store,
            "years",
            name="x",
            options=DesignOptions(train_years=":1990", validation_years="1991", test_years="1992:"),
        )


def test_designs_that_leave_nothing_to_train_are_refused(tiny_store: Store) -> None:
    with pytest.raises(ScenarioError, match=r"4 test and 2 validation towers leave none of the store's 6"):
        design(tiny_store, "random", name="x", options=DesignOptions(n_test=4, n_validation=2))
    with pytest.raises(ScenarioError, match="at least 1"):
        design(tiny_store, "random", name="x", options=DesignOptions(n_test=0, n_validation=2))
    with pytest.raises(ScenarioError, match=r"no rule 'temprature'.*Did you mean 'temperature'"):
        design(tiny_store, "temprature", name="x")


def test_design_refuses_names_seeds_and_years_that_cannot_be(tiny_store: Store) -> None:
    for name in ("my draw", "r\u00e4ume", ""):
        with pytest.raises(ScenarioError, match="cannot be the name"):
            design(tiny_store, "random", name=name, options=DesignOptions(1, 1))
    with pytest.raises(ScenarioError, match="must not be negative"):
        design(tiny_store, "random", name="x", options=DesignOptions(1, 1, seed=-1))
    options = DesignOptions(train_years="2015", validation_years="2016", test_years="2020:")
    with pytest.raises(ScenarioError, match=r"None of the 6 towers.*--test-years 2020:"):
        design(tiny_store, "years", name="x", options=options)
    for text in (":", "2010000", "12"):
        with pytest.raises(ScenarioError, match="Cannot read the years"):
            Years.parse(text)


def test_names_are_safe_for_files() -> None:
    for bad in ("", "../x", "a b", ".hidden"):
        with pytest.raises(ValueError, match="name"):
            Scenario.model_validate(load_scenario("spatial").model_dump() | {"name": bad})

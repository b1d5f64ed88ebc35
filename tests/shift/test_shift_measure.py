"""The whole report on shift, and the difficulty card: what they hold, what they refuse, and what they cannot tell."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, ModelError, ScenarioError
from fluxtrapolation.scenarios import Scenario, Split
from fluxtrapolation.shift import card, measure_inputs
from fluxtrapolation.shift.distance_distributions import Domain
from fluxtrapolation.shift.measure import OWN_MODEL, Judged, MeasureOptions, ShiftReport, measure, own_model
from shift_px_worlds import px_split

QUICK = MeasureOptions(repeats=1, permutations=5, max_rows=None, reference_rows=200, jobs=1)


def wrong_by(split: Split, amount: float, name: str = "told") -> Judged:
    """As a run gives it: predictions, no model."""
    noise = np.random.default_rng(3).normal(size=len(split.test)) * amount
    return Judged(name, np.nan_to_num(split.test.y + noise))


def as_json(found: ShiftReport) -> dict[str, Any]:
    """What a strict reader of the JSON gets; fails on NaN, infinity, and whatever is no JSON."""
    told: dict[str, Any] = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    return told


def unexplained(found: ShiftReport, table: str, value: str, reason: str) -> int:
    frame = found.tables[table]
    return frame.filter(pl.col(value).is_null() & pl.col(reason).is_null()).height


@pytest.fixture(scope="module")
def world() -> Split:
    return px_split(towers=(12, 10), rows=48, trait=1.0, shift=1.0)


@pytest.fixture(scope="module")
def report(world: Split) -> ShiftReport:
    steps: list[tuple[str, int, int]] = []
    found = measure(
        world,
        models=[wrong_by(world, 0.3), wrong_by(world, 1.0, "worse")],
        options=QUICK,
        tell=lambda *step: steps.append(step),
    )
    assert [done for _, done, _ in steps] == list(range(steps[0][2]))
    assert [name for name, _, _ in steps] == list(found.record["seconds"])
    return found


def test_predictions_of_runs_without_models_are_judged(report: ShiftReport, world: Split) -> None:
    told = as_json(report)
    assert told["record"]["models"] == ["told", "worse"] and told["record"]["own_model"] is False
    assert told["record"]["reasons"] == {} and report.reasons == {}
    assert report.applicability is not None and report.applicability.record["weights_from"] == "equal"
    assert told["applicability"]["threshold"] > 0 and told["distances"]["summary"]
    assert set(told["decomposition"]) == {"told", "worse"}
    by_row = told["decomposition"]["worse"]["overall"]["row"]
    assert by_row["mse"] == pytest.approx(1.0, rel=0.2) and by_row["n"] == len(world.test)
    assert report.tables["error_curve"]["model"].unique().sort().to_list() == ["told", "worse"]
    assert report.tables["sites"].select("site_id", "part").rows() == [(s, "test") for s in world.test.sites]
    assert set(report.autocorrelation.effective["series"]) == {"GPP", "GPP anomaly", "residual"}
    for table, value in (("summary", "value"), ("conditional", "rmse_increase"), ("nearest_summary", "w")):
        assert unexplained(report, table, value, "reason") == 0, table


def test_without_models_boosted_trees_are_fitted_and_the_seed_decides(world: Split) -> None:
    one, again = own_model(world, seed=4, rows=300), own_model(world, seed=4, rows=300)
    other = own_model(world, seed=5, rows=300)
    assert one.name == OWN_MODEL and np.array_equal(one.y_pred, again.y_pred)
    assert not np.array_equal(one.y_pred, other.y_pred)
    few = px_split(towers=(4, 4), rows=30)
    found = measure(few, options=QUICK)
    assert found.record["own_model"] is True and found.record["models"] == [OWN_MODEL]
    assert found.applicability is not None and found.applicability.importances.source == "permutation"
    assert found.applicability.importances.weights["TA"] > 0.9  # the target is TA


def test_the_protocol_holds_for_every_error(world: Split) -> None:
    """Predictions wrong at gap-filled hours only: under 'measured' no measure of error may see them."""
    filled = world.test.qc != 1
    told = Judged("m", np.where(filled, world.test.y + 50, world.test.y + 1))
    found = measure(world, models=[told], options=replace(QUICK, protocol="measured"))
    assert found.parts["m"].overall["mse"].to_list() == pytest.approx([1, 1], rel=1e-4)
    assert found.parts["m"].n == int((~filled).sum())
    assert found.tables["tower_errors"]["rmse"].max() == pytest.approx(1, rel=1e-4)


def test_one_train_tower_leaves_the_rest_standing() -> None:
    split = px_split(towers=(1, 6), rows=60, trait=0.5)
    found = measure(split, models=[wrong_by(split, 0.3)], options=QUICK)
    told = as_json(found)
    assert found.applicability is None and found.distances is None
    assert set(found.reasons) == {"applicability", "distances"}
    assert told["applicability"] == {"reason": found.reasons["applicability"]}
    assert told["distances"] == {"reason": found.reasons["distances"]}
    assert "one tower only" in found.reasons["applicability"]
    assert found.tables["summary"].rows(named=True)[0]["reason"] == found.reasons["applicability"]
    assert found.tables["nearest_summary"]["reason"].to_list() == [found.reasons["distances"]]
    assert found.tables["sites"]["site_id"].to_list() == list(split.test.sites)
    assert found.tables["error_curve"].is_empty() and "rmse" in found.tables["tower_errors"].columns
    # The rest is told, or says why not.
    assert told["covariate"]["by_row"]["auc"] is not None
    assert told["covariate"]["by_site"]["auc"] is None and "at least 4" in told["covariate"]["by_site"]["reason"]
    assert told["decomposition"]["told"]["overall"]["row"]["mse"] > 0
    assert unexplained(found, "conditional", "rmse_increase", "reason") == 0
    assert unexplained(found, "effective", "n_effective", "reason") == 0


@pytest.mark.parametrize("towers", [(8, 1), (2, 2)])
def test_few_towers_give_reasons_not_holes(towers: tuple[int, int]) -> None:
    split = px_split(towers=towers, rows=60, trait=0.5)
    found = measure(split, models=[wrong_by(split, 0.3)], options=QUICK)
    told = as_json(found)
    assert found.reasons == {} and told["applicability"]["outside_share"] >= 0
    assert told["covariate"]["by_site"]["reason"] is not None
    summary = {row["measure"]: row for row in told["applicability"]["summary"]}
    assert "towers with observations" in summary["spearman"]["reason"]
    for table, value, reason in (
        ("summary", "value", "reason"),
        ("conditional", "rmse_increase", "reason"),
        ("importance", "auc_drop", "reason"),
        ("distances", "p_value", "note"),
        ("effective", "n_effective", "reason"),
    ):
        assert unexplained(found, table, value, reason) == 0, table


def test_constant_covariates_are_named_and_only_all_of_them_are_refused() -> None:
    split = px_split(towers=(6, 6), rows=40, constant=("VPD", "SW_IN"))
    found = measure(split, models=[wrong_by(split, 0.3)], options=QUICK)
    told = as_json(found)
    assert told["covariate"]["record"]["constant_covariates"] == ["VPD", "SW_IN"]
    assert any("VPD is constant in train" in note for note in told["applicability"]["record"]["notes"])
    still = px_split(towers=(6, 6), rows=40, constant=("TA", "VPD", "SW_IN", "PFT_ENF", "PFT_GRA"))
    with pytest.raises(DataError, match="Not one of the 4 covariates varies"):
        measure(still, models=[wrong_by(still, 0.3)], options=QUICK)


def test_covariates_constant_in_train_alone_leave_the_rest_standing() -> None:
    split = px_split(towers=(6, 6), rows=40)
    split.train.X[:] = [1, 1, 1, 1, 0]
    found = measure(split, models=[wrong_by(split, 0.3)], options=QUICK)
    told = as_json(found)
    assert "varies in the train rows" in found.reasons["applicability"] and "distances" in found.reasons
    assert told["covariate"]["by_row"]["auc"] > 0.9


def test_a_model_that_looks_at_no_covariate_gets_equal_weights_and_a_note(world: Split) -> None:
    class Flat:
        def predict(self, X: np.ndarray) -> np.ndarray:
            return np.zeros(len(X))

    found = measure(world, models=[Judged("flat", np.zeros(len(world.test)), Flat())], options=QUICK)
    assert found.reasons == {} and found.applicability is not None
    assert found.applicability.importances.source == "equal"
    assert any("flat gives no weights: All 4 importances" in note for note in found.applicability.record["notes"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"models": ["a", "b", "a"]}, "1 names stand for more than one model: a"),
        ({"short": True}, r"predictions of a have shape \(3,\); the test part has 480 rows"),
        ({"hole": 7}, "1 predictions of a are missing or infinite, first in row 7"),
        ({"options": {"reference_rows": 1}}, "reference_rows must be at least 2, not 1"),
        ({"options": {"jobs": 0}}, "jobs must be a number of threads"),
        ({"domain": Domain(np.zeros((4, 2)))}, r"shape \(4, 2\); it needs at least one row and the 5 columns"),
        ({"domain": Domain(np.zeros((0, 5)))}, r"shape \(0, 5\); it needs at least one row"),
        ({"domain": Domain(np.full((4, 5), np.nan))}, "4 of 4 rows of the prediction domain"),
        ({"domain": Domain(lat=[1.0])}, "only one of lat and lon"),
        ({"domain": Domain(lat=[1.0], lon=[1.0, 2.0])}, r"lat of shape \(1,\) and lon of shape \(2,\)"),
        ({"domain": Domain(lat=[91.0], lon=[0.0])}, r"no place on earth, first \(91, 0\)"),
    ],
)
def test_bad_usage_is_told_before_the_work(
    world: Split, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], told: str
) -> None:
    def work(*_: Any, **__: Any) -> None:
        pytest.fail("the work began")

    # The function stands before its module in the package.
    monkeypatch.setattr(sys.modules["fluxtrapolation.shift.measure"], "covariate", work)
    y_pred = np.zeros(3 if "short" in change else len(world.test))
    if "hole" in change:
        y_pred[change["hole"]] = np.nan
    models = [Judged(name, y_pred) for name in change.get("models", ["a"])]
    with pytest.raises(DataError, match=told):
        measure(world, models=models, options=replace(QUICK, **change.get("options", {})), domain=change.get("domain"))


def test_a_test_without_target_is_refused_before_the_work(world: Split) -> None:
    bare = replace(world, test=replace(world.test, y=np.full_like(world.test.y, np.nan)))
    with pytest.raises(ScenarioError, match="not one of the 480 test rows has GPP under protocol paper"):
        measure_inputs.refuse(bare, (), QUICK, None, None)
    filled = replace(world, test=replace(world.test, qc=np.zeros_like(world.test.qc)))
    measure_inputs.refuse(filled, (), QUICK, None, None)
    with pytest.raises(ScenarioError, match="under protocol measured"):
        measure_inputs.refuse(filled, (), replace(QUICK, protocol="measured"), None, None)


class Towers:
    """As much of a store as the card asks for."""

    targets = ("GPP", "NEE")


def card_of(monkeypatch: pytest.MonkeyPatch, splits: dict[str, Split | Exception]) -> dict[str, Any]:
    def make(store: Store, scenario: Scenario, *, target: str, parts: Any) -> Split:
        made = splits[target]
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr(card, "make_split", make)
    monkeypatch.setattr(Store, "of", staticmethod(lambda store: store))
    store: Any = Towers()
    some = next((one for one in splits.values() if isinstance(one, Split)), None)
    scenario: Any = None if some is None else some.scenario
    found: dict[str, Any] = json.loads(json.dumps(card.difficulty(store, scenario, repeats=1), allow_nan=False))
    return found


def test_the_card_tells_by_target(world: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    made = card_of(monkeypatch, {"GPP": world, "NEE": replace(world, target="NEE")})
    assert 0 <= made["covariate_auc_by_site"] <= 1 and made["energy_distance"] > 0
    assert set(made["conditional_by_site"]) == {"GPP", "NEE"}
    for target, value in made["conditional_by_site"].items():
        assert (value is None) == (f"conditional_by_site.{target}" in made.get("reasons", {}))
    assert made["seed"] == 0 and made["repeats"] == 1


def test_a_target_without_rows_is_a_reason_on_the_card(world: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = ScenarioError("the test part has no row")
    made = card_of(monkeypatch, {"GPP": empty, "NEE": world})
    assert made["reasons"]["conditional_by_site.GPP"] == "the test part has no row"
    assert made["conditional_by_site"]["GPP"] is None and made["covariate_auc_by_row"] is not None
    with pytest.raises(ScenarioError, match="the test part has no row"):
        card_of(monkeypatch, {"GPP": empty, "NEE": empty})


def test_a_card_of_constant_covariates_has_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    still = px_split(towers=(6, 6), rows=20, constant=("TA", "VPD", "SW_IN", "PFT_ENF", "PFT_GRA"))
    made = card_of(monkeypatch, {"GPP": still, "NEE": still})
    for name in card.OF_COVARIATES:
        assert made[name] is None and "covariates varies" in made["reasons"][name]


def test_scikit_learn_absent_is_no_reason_but_an_error(world: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ModelError, match="need scikit-learn"):
        measure(world, models=[wrong_by(world, 0.3)], options=QUICK)


@pytest.mark.slow
def test_the_page_says_why_it_cannot_tell(tmp_path: Path) -> None:
    from fluxtrapolation.cli.shift import write_shift

    split = px_split(towers=(1, 6), rows=60, trait=0.5)
    found = measure(split, models=[wrong_by(split, 0.3)], options=QUICK)
    page = write_shift(found, tmp_path / "out", split=split, command="fluxtrapolation shift")
    text = page.read_text("utf-8")
    assert text.count("one tower only") >= 2 and "Give a trained model (--run)" not in text
    told = json.loads((tmp_path / "out" / "shift.json").read_text(), parse_constant=pytest.fail)
    assert told["applicability"] == {"reason": found.reasons["applicability"]}
    assert pl.read_csv(tmp_path / "out" / "tables" / "summary.csv")["reason"].null_count() == 0

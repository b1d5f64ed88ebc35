"""Weights of the covariates from each kind of model."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_shift_applicability import NAMES, part

import fluxtrapolation as ft
from fluxtrapolation.errors import DataError, ModelError
from fluxtrapolation.shift.importances import feature_weights

COVARIATES = ("TA", "VPD", "SW_IN", "PFT")


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any]:
    """y hangs on TA most, on the class half as much (sd 1.2 against 0.6 sqrt(2/3) 2), on nothing else."""
    made = []
    for name, seed in (("train", 1), ("validation", 2)):
        one = part(name, np.zeros(6), hours=500, seed=seed)  # type: ignore[arg-type]
        level = one.X[:, 3:] @ np.array([0.0, 0.6, 1.2], dtype=np.float32)
        noise = 0.1 * np.random.default_rng(seed + 5).normal(size=len(one))
        object.__setattr__(one, "y", (1.2 * one.X[:, 0] + level + noise).astype(np.float32))
        made.append(one)
    return made[0], made[1]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("xgb", "total gain of the booster"),
        ("lightgbm", "total gain of the booster"),
        ("lr", "standardised coefficients"),
        ("ridge", "standardised coefficients"),
        ("xgb-conservative", "total gain of the booster"),  # all of these columns are among its own
    ],
)
def test_registered_models_say_what_counts(name: str, source: str, world: tuple[Any, Any]) -> None:
    train, validation = world
    if name == "lightgbm":
        pytest.importorskip("lightgbm")
    model = ft.model(name)
    model.fit(train.X, train.y, eval_set=validation, feature_names=NAMES, seed=0)
    found = feature_weights(model, train, validation)
    assert found.source == source
    assert list(found.weights) == list(COVARIATES)
    assert sum(found.weights.values()) == pytest.approx(1)
    assert found.weights["TA"] > found.weights["PFT"] > 5 * max(found.weights["VPD"], found.weights["SW_IN"])


def test_standardised_coefficients_are_standard_deviations_of_what_each_covariate_adds(world: tuple[Any, Any]) -> None:
    train, validation = world
    model = ft.model("lr").fit(train.X, train.y, feature_names=NAMES)
    found = feature_weights(model, train, validation).weights
    adds = {"TA": train.X[:, :1], "PFT": train.X[:, 3:]}
    slopes = {"TA": model.coef_[:1], "PFT": model.coef_[3:]}  # type: ignore[attr-defined]
    truth = {name: float((adds[name] @ slopes[name]).std()) for name in adds}
    assert found["PFT"] / found["TA"] == pytest.approx(truth["PFT"] / truth["TA"], rel=1e-4)


def test_estimators_of_scikit_learn(world: tuple[Any, Any]) -> None:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, validation = world
    forest = RandomForestRegressor(10, random_state=0).fit(train.X, train.y)
    assert feature_weights(forest, train, validation).source == "feature_importances_"
    # A pipeline's coefficients are of other columns than X's.
    piped = make_pipeline(StandardScaler(), LinearRegression()).fit(train.X, train.y)
    found = feature_weights(piped, train, validation)
    assert found.source == "permutation"
    assert found.weights["TA"] > found.weights["PFT"] > 20 * found.weights["VPD"]


class Odd:
    """Predicts well; without importances."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        return 1.2 * X[:, 0] + X[:, 3:] @ np.array([0.0, 0.6, 1.2])


class OnSome(Odd):
    """A booster grown on two of the columns: its gains cannot be laid on all of them."""

    booster_ = SimpleNamespace(get_score=dict, num_features=lambda: 2)


class Still(Odd):
    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))


def test_by_permutation_the_rise_is_twice_the_variance_of_what_is_shuffled(world: tuple[Any, Any]) -> None:
    train, validation = world
    found = feature_weights(Odd(), train, validation).weights
    level = train.X[:, 3:] @ np.array([0.0, 0.6, 1.2])
    assert found["PFT"] / found["TA"] == pytest.approx(level.var() / (1.44 * validation.X[:, 0].var()), rel=0.1)
    assert found["VPD"] == 0
    assert feature_weights(Odd(), train, validation).weights == found  # seeded
    assert feature_weights(OnSome(), train, validation).source == "permutation"
    alone = feature_weights(Odd(), train, None)
    assert any("no validation rows" in note for note in alone.notes)


def test_negative_importances_count_as_zero_and_say_so(world: tuple[Any, Any]) -> None:
    class Told:
        feature_importances_ = np.array([2.0, -1.0, 0.0, 1.0, 0.5, 0.5])

    found = feature_weights(Told(), *world)
    assert found.weights == {"TA": 0.5, "VPD": 0.0, "SW_IN": 0.0, "PFT": 0.5}
    assert found.notes == ("importance of VPD was negative and counts as 0",)


def test_what_gives_no_weights_is_told(world: tuple[Any, Any]) -> None:
    with pytest.raises(ModelError, match=r"All 4 importances of the model are 0 \(permutation\)"):
        feature_weights(Still(), *world)
    with pytest.raises(ModelError, match="neither importances nor predict"):
        feature_weights(object(), *world)
    with pytest.raises(DataError, match="no covariate 'PFT_ENF'"):
        feature_weights(None, *world, weights={"PFT_ENF": 1.0})
    with pytest.raises(DataError, match="3 covariates have no weight: VPD, SW_IN, PFT"):
        feature_weights(None, *world, weights={"TA": 1.0})
    with pytest.raises(DataError, match="not negative and not all 0"):
        feature_weights(None, *world, weights=dict.fromkeys(COVARIATES, 0.0))
    with pytest.raises(DataError, match="give 'model', 'equal'"):
        feature_weights(None, *world, weights="gain")  # type: ignore[arg-type]
    assert feature_weights(None, *world, weights="equal").weights == dict.fromkeys(COVARIATES, 0.25)
    given = feature_weights(None, *world, weights={"TA": 3, "VPD": 1, "SW_IN": 0, "PFT": 0})
    assert given.source == "given" and given.weights["TA"] == 0.75


def test_importances_that_are_no_numbers_count_as_zero_and_say_so(world: tuple[Any, Any]) -> None:
    class Told:
        feature_importances_ = np.array([1.0, np.nan, 0.0, 1.0, 0.0, 0.0])

    found = feature_weights(Told(), *world)
    assert found.weights == {"TA": 0.5, "VPD": 0.0, "SW_IN": 0.0, "PFT": 0.5}
    assert found.notes == ("importance of VPD was missing or infinite and counts as 0",)


def test_a_validation_without_the_target_is_replaced_by_train(world: tuple[Any, Any]) -> None:
    train, validation = world
    bare = replace(validation, y=np.full_like(validation.y, np.nan))
    found = feature_weights(Odd(), train, bare)
    assert found.weights == feature_weights(Odd(), train, None).weights
    assert any("no validation rows with the target" in note for note in found.notes)

"""The front door: thin, lazy, three lines to a score."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import fluxtrapolation as ft
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.scenarios import DesignOptions, design

HEAVY = ("torch", "sklearn", "xgboost", "matplotlib", "xarray", "scipy", "pandas", "optuna", "zarr")


def _loaded(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(' '.join(m for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = _loaded("import fluxtrapolation")
    assert loaded.isdisjoint({*HEAVY, "numpy", "polars", "pydantic", "typer"})


@pytest.mark.parametrize(
    "statement",
    [
        "import fluxtrapolation as ft; ft.evaluate",
        "import fluxtrapolation.evaluation",
        "import fluxtrapolation.cli.main",
        "import fluxtrapolation as ft; ft.split; ft.scenario('temperature')",
    ],
)
def test_scoring_and_splitting_load_no_model_library(statement: str) -> None:
    assert _loaded(statement).isdisjoint(HEAVY)


def test_all_names_are_there() -> None:
    assert 6 <= len(ft.__all__) <= 10
    for name in ft.__all__:
        assert getattr(ft, name) is not None
    assert set(ft.__all__) <= set(dir(ft))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        ft.nonsense


def test_three_lines_give_a_score(tiny_store: Store) -> None:
    warm = design(tiny_store, "temperature", name="warm", options=DesignOptions(n_test=2, n_validation=1))
    split = ft.split(tiny_store.path, warm, target="GPP")
    model = ft.model("xgb", n_jobs=1).fit(split.train.X, split.train.y, eval_set=split.validation, seed=0)
    predicted = model.predict(split.test.X)
    scores = ft.evaluate(split.test, predicted)
    hourly = scores.frame.filter(scores.frame["scale"] == "hourly")
    assert hourly["domain"].to_list() == list(warm.test)
    for site, rmse in zip(hourly["domain"], hourly["rmse"], strict=True):
        rows = (split.test.site == site) & np.isfinite(split.test.y)
        error = predicted[rows].astype(float) - split.test.y[rows]
        assert rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-9)
    assert "hourly" in repr(scores)
    measured = ft.evaluate(split.test, predicted, protocol="measured")
    assert measured.protocol == "measured"
    with pytest.raises(EvaluationError, match="Give the predictions too"):
        ft.evaluate(split.test)
    with pytest.raises(EvaluationError, match="own column y_pred"):
        ft.evaluate(split.test.to_frame(predicted), predicted)


def test_models_fit_with_domains(tiny_store: Store) -> None:
    scenario = design(tiny_store, "random", name="r", options=DesignOptions(n_test=2, n_validation=1))
    split = ft.split(tiny_store, scenario, target="NEE")
    ft.model("lr").fit(
        split.train.X, split.train.y, domains=split.train.domain, feature_names=split.feature_names
    ).predict(split.test.X)

"""Every registered model goes through a run: search, record, predictions of the same test rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from fluxtrapolation.data.store import Store
from fluxtrapolation.models import registry
from fluxtrapolation.runs import CellResult, RunFolder, TrainOptions, predict_run, train
from fluxtrapolation.scenarios import DesignOptions, Scenario, design

pytestmark = pytest.mark.slow

NAMES = tuple(registry())


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))


@pytest.mark.parametrize("name", NAMES)
def test_trained_recorded_and_predicted(name: str, tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    options = TrainOptions(profile="quick", n_configurations=1, max_rows=1500, jobs=1, time_limit=2.0)
    results: list[CellResult] = train(
        tiny_store, scenarios=[scenario], targets=["GPP"], models=["constant", name], out=tmp_path, options=options
    )
    assert [result.error for result in results] == [None] * len(results)
    folder = RunFolder(results[-1].path)
    [trial] = folder.trials().values()
    assert trial.train_rows == 1500
    assert set(trial.validation_rmse) == set(scenario.validation)
    one, other = (pl.read_parquet(result.path / "predictions-mean.parquet") for result in (results[0], results[-1]))
    assert other.drop("y_pred").equals(one.drop("y_pred"), null_equal=True)
    again = pl.read_parquet(predict_run(folder, store=tiny_store, out=tmp_path / "p.parquet"))
    assert again.equals(other, null_equal=True)

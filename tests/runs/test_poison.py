"""Tuned honestly: the search never sees a test row, nor anything made of one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from toy_models import SMOOTHED

from fluxtrapolation.data.store import Store
from fluxtrapolation.models import registry
from fluxtrapolation.runs import RunFolder, TrainOptions, train
from fluxtrapolation.scenarios import DesignOptions, Scenario, design
from tiny import write_tiny_store

MODELS = ("lr", "xgb", "smoothed-line")
FACTS = ("params", "validation_rmse", "strategies", "train_rows", "status")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry(), SMOOTHED.name, SMOOTHED)


def search(store: Store, scenario: Scenario, out: Path, profile: str = "quick") -> dict[str, RunFolder]:
    """Train all models; the run folders by model."""
    options = TrainOptions(profile=profile, n_configurations=3, max_rows=3000, jobs=1)
    results = train(store, scenarios=[scenario], targets=["GPP"], models=MODELS, out=out, options=options)
    return {result.model: RunFolder(result.path) for result in results}


def trials(folder: RunFolder) -> list[dict[str, Any]]:
    return [{name: getattr(trial, name) for name in FACTS} for _, trial in sorted(folder.trials().items())]


def site_file(store: Store, site: str) -> Path:
    [file] = (store.path / "sites").glob(f"{site}*.parquet")
    return file


@pytest.mark.parametrize("profile", ["quick", "tpe"])
def test_the_search_of_a_scenario_of_towers_ends_without_the_files_of_its_test_towers(
    tmp_path: Path, profile: str
) -> None:
    """No reader of any kind can have opened them: they are not there."""
    store = write_tiny_store(tmp_path / "store")
    scenario = design(store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))
    honest = {model: trials(folder) for model, folder in search(store, scenario, tmp_path / "a", profile).items()}
    away = tmp_path / "away"
    away.mkdir()
    for site in scenario.test:
        shutil.move(site_file(store, site), away / f"{site}.parquet")

    poisoned = search(Store(store.path), scenario, tmp_path / "b", profile)
    for model, folder in poisoned.items():
        assert trials(folder) == honest[model], model
        assert len(trials(folder)) == (1 if model == "lr" else 3)
        state = folder.state()
        # the search has ended; only what comes after it needs the towers
        assert state.status == "failed"
        assert any(site in str(state.error) for site in scenario.test)
        assert not list(folder.path.glob("predictions-*"))

    for site in scenario.test:
        shutil.move(away / f"{site}.parquet", store.path / "sites" / f"{site}.parquet")
    before = {model: [file.read_bytes() for file in trial_files(folder)] for model, folder in poisoned.items()}
    for model, folder in search(Store(store.path), scenario, tmp_path / "b", profile).items():
        assert folder.state().status == "complete"
        assert [file.read_bytes() for file in trial_files(folder)] == before[model]
        one, other = (pl.read_parquet(tmp_path / x / folder.name / "predictions-max.parquet") for x in ("a", "b"))
        assert one.equals(other, null_equal=True)


def trial_files(folder: RunFolder) -> list[Path]:
    return sorted((folder.path / "trials").glob("*.json"))


def garbage(frame: pl.DataFrame, rows: pl.Expr, value: float) -> pl.DataFrame:
    """Every number of some rows replaced, in covariates and targets."""
    numbers = [name for name in frame.columns if name not in ("time", "qc_mask")]
    return frame.with_columns(pl.when(rows).then(pl.lit(value)).otherwise(pl.col(n)).alias(n) for n in numbers)


@pytest.mark.parametrize("value", [np.nan, 1e30])
def test_garbage_in_the_test_years_changes_no_trial(tmp_path: Path, value: float) -> None:
    store = write_tiny_store(tmp_path / "store", hours=24 * 900)
    options = DesignOptions(train_years="2015", validation_years="2016", test_years="2017:")
    later = design(store, "years", name="later", options=options)
    honest = {model: trials(folder) for model, folder in search(store, later, tmp_path / "a").items()}
    poison(store, lambda frame: garbage(frame, pl.col("time").dt.year() >= 2017, value))
    for model, folder in search(Store(store.path), later, tmp_path / "b").items():
        assert trials(folder) == honest[model], model


def test_the_test_years_would_be_noticed(tmp_path: Path) -> None:
    """The test above can fail: the same garbage in a train year changes or breaks every trial."""
    store = write_tiny_store(tmp_path / "store", hours=24 * 900)
    options = DesignOptions(train_years="2015", validation_years="2016", test_years="2017:")
    later = design(store, "years", name="later", options=options)
    honest = {model: trials(folder) for model, folder in search(store, later, tmp_path / "a").items()}
    poison(store, lambda frame: garbage(frame, pl.col("time").dt.year() == 2015, 3.0))
    for model, folder in search(Store(store.path), later, tmp_path / "b").items():
        assert trials(folder) != honest[model], model


def poison(store: Store, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change the files behind the store's back: its manifest, and so its hash, stay."""
    for site in store.site_ids:
        file = site_file(store, site)
        held = pl.read_parquet(file)
        changed = change(held)
        assert not changed.equals(held)
        changed.select(pl.col(name).cast(held.schema[name]) for name in held.columns).write_parquet(file)

"""Models that read windows: trained, judged and predicted on the same rows as all others."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toy_models import SMOOTHED, SmoothedLine

from fluxtrapolation.data.store import Store
from fluxtrapolation.models import registry
from fluxtrapolation.runs import CellResult, TrainOptions, predict_run, train
from fluxtrapolation.runs.folder import RunFolder
from fluxtrapolation.scenarios import DesignOptions, Part, Scenario, design, make_split
from tiny import write_tiny_store


@pytest.fixture(scope="module")
def scenarios(tiny_store: Store) -> list[Scenario]:
    return [design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))]


@pytest.fixture(scope="module")
def runs(tiny_store: Store, scenarios: list[Scenario], tmp_path_factory: pytest.TempPathFactory) -> list[CellResult]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry(), SMOOTHED.name, SMOOTHED)
        return train(
            tiny_store,
            scenarios=scenarios,
            targets=["GPP"],
            models=["lr", SMOOTHED.name, "constant"],
            out=tmp_path_factory.mktemp("runs"),
            options=TrainOptions(profile="quick", max_rows=2000, jobs=1),
        )


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry(), SMOOTHED.name, SMOOTHED)


def test_results_come_in_the_order_asked_for(runs: list[CellResult]) -> None:
    assert [result.model for result in runs] == ["lr", "smoothed-line", "constant"]
    assert [result.error for result in runs] == [None, None, None]


def test_every_test_hour_once_in_the_order_of_the_other_models(runs: list[CellResult]) -> None:
    rows, windows = (pl.read_parquet(runs[i].path / "predictions-mean.parquet") for i in (0, 1))
    assert windows.drop("y_pred").equals(rows.drop("y_pred"), null_equal=True)
    assert windows["y_pred"].is_finite().all()
    assert not windows["y_pred"].equals(rows["y_pred"])


def test_the_rows_are_counted_alike(runs: list[CellResult]) -> None:
    one, other = (RunFolder(runs[i].path).state().rows for i in (0, 1))
    assert one is not None
    assert one == other
    assert one.train == 2000
    trials = RunFolder(runs[1].path).trials()
    assert {trial.train_rows for trial in trials.values()} == {2000}
    assert trials[0].report == {"windows": trials[0].report["windows"], "validation": True}
    assert "a toy" in RunFolder(runs[1].path).state().notes


def test_validation_is_on_the_rows_of_the_other_models(
    runs: list[CellResult], tiny_store: Store, scenarios: list[Scenario]
) -> None:
    """The recorded RMSE, by hand from the saved model and the validation part that models of rows get."""
    folder = RunFolder(runs[1].path)
    number = folder.state().selection["mean"]
    model = SmoothedLine.load(folder.model_folder(number))
    hours = make_split(tiny_store, scenarios[0], target="GPP", sequences=True).validation
    rows = make_split(tiny_store, scenarios[0], target="GPP").validation
    assert hours.mask is not None
    predicted = model.predict(hours)[hours.mask]
    np.testing.assert_array_equal(hours.time[hours.mask], rows.time)
    for site, stated in folder.trials()[number].validation_rmse.items():
        here = rows.site == site
        assert stated == pytest.approx(float(np.sqrt(np.mean((predicted[here] - rows.y[here]) ** 2.0))), rel=1e-6)


@pytest.mark.parametrize("part", ["test", "validation", "train"])
def test_predict_gives_the_rows_of_the_other_models(
    runs: list[CellResult], tiny_store: Store, tmp_path: Path, part: str
) -> None:
    paths = [
        predict_run(runs[i].path, store=tiny_store, out=tmp_path / f"{i}.parquet", part=part, selection="max")
        for i in (0, 1)
    ]
    rows, windows = map(pl.read_parquet, paths)
    assert windows.drop("y_pred").equals(rows.drop("y_pred"), null_equal=True)
    assert windows["y_pred"].is_finite().all()
    if part == "test":
        assert windows.equals(pl.read_parquet(runs[1].path / "predictions-max.parquet"), null_equal=True)


def test_arrays_of_a_group_are_read_once_and_freed_before_the_next(
    tiny_store: Store, scenarios: list[Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, tuple[str, ...], int]] = []
    made = make_split

    def spy(*arguments: object, **more: object) -> object:
        gc.collect()
        alive = sum(isinstance(one, Part) and len(one) > 0 for one in gc.get_objects())
        seen.append((bool(more["sequences"]), tuple(more["parts"]), alive))  # type: ignore[arg-type]
        return made(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules[train.__module__], "make_split", spy)
    gc.collect()
    before = sum(isinstance(one, Part) and len(one) > 0 for one in gc.get_objects())
    options = TrainOptions(profile="quick", max_rows=2000, jobs=1)
    models = ["lr", SMOOTHED.name, "constant"]
    train(tiny_store, scenarios=scenarios, targets=["GPP"], models=models, out=tmp_path, options=options)
    assert seen == [
        (False, ("train", "validation"), before),
        (False, ("test",), before),
        (True, ("train", "validation"), before),
        (True, ("test",), before),
    ]


def test_site_years_and_a_part_within_a_record(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store", hours=24 * 900)
    later = design(
        store,
        "years",
        name="later",
        options=DesignOptions(train_years="2015", validation_years="2016", test_years="2017:"),
    )
    options = TrainOptions(profile="quick", max_rows=3000, jobs=1)
    one, other = train(
        store, scenarios=[later], targets=["NEE"], models=["lr", SMOOTHED.name], out=tmp_path / "runs", options=options
    )
    assert (one.error, other.error) == (None, None)
    a, b = (pl.read_parquet(result.path / "predictions-mean.parquet") for result in (one, other))
    assert b.drop("y_pred").equals(a.drop("y_pred"), null_equal=True)
    assert set(RunFolder(one.path).trials()[0].validation_rmse) == set(
        RunFolder(other.path).trials()[0].validation_rmse
    )

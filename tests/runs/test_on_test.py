"""What a run says of a test part: in the order of its rows, of this scenario and store alone, and never in part."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import RunError
from fluxtrapolation.runs import TrainOptions, make_ensemble, train
from fluxtrapolation.runs.on_test import run_on_test
from fluxtrapolation.scenarios import DesignOptions, Scenario, Split, design, make_split

OPTIONS = TrainOptions(profile="quick", max_rows=500, jobs=1, n_configurations=1)


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))


@pytest.fixture(scope="module")
def split(tiny_store: Store, scenario: Scenario) -> Split:
    return make_split(tiny_store, scenario, target="GPP")


@pytest.fixture(scope="module")
def runs(tiny_store: Store, scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    train(tiny_store, scenarios=[scenario], targets=["GPP"], models=["lr", "ridge"], out=out, options=OPTIONS)
    return out


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(runs / "draw_GPP_lr", tmp_path / "draw_GPP_lr"))


def respell(run: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    state = json.loads((run / "run.json").read_text())
    edit(state)
    (run / "run.json").write_text(json.dumps(state))


def rewrite(run: Path, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = run / "predictions-mean.parquet"
    edit(pl.read_parquet(path)).write_parquet(path)


def test_predictions_are_those_of_the_model_in_the_order_of_the_rows(runs: Path, split: Split) -> None:
    found = run_on_test(runs / "draw_GPP_lr", split)
    assert (found.name, found.note) == ("lr", None) and found.model is not None
    assert found.y_pred.shape == (len(split.test),)
    np.testing.assert_allclose(found.y_pred, found.model.predict(split.test.X), rtol=1e-4, atol=1e-4)


def test_a_shuffled_file_is_put_in_order(run: Path, split: Split) -> None:
    before = run_on_test(run, split).y_pred
    rewrite(run, lambda frame: frame.sample(fraction=1.0, shuffle=True, seed=1))
    np.testing.assert_array_equal(run_on_test(run, split).y_pred, before)
    rewrite(run, lambda frame: frame.with_columns(pl.col("time").cast(pl.Datetime("ns"))))
    np.testing.assert_array_equal(run_on_test(run, split).y_pred, before)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda frame: frame.tail(-3), "lacks predictions for 3 of"),
        (lambda frame: frame.with_columns(pl.lit(float("nan")).alias("y_pred")), "lacks predictions for"),
        (lambda frame: pl.concat([frame, frame.head(2)]), "has 2 rows twice"),
        (lambda frame: frame.drop("y_pred"), "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(run: Path, split: Split, edit: Any, told: str) -> None:
    rewrite(run, edit)
    with pytest.raises(RunError, match=f"predictions-mean.parquet {told}.*--overwrite"):
        run_on_test(run, split)


def test_a_file_that_is_gone_or_damaged_is_refused(run: Path, split: Split) -> None:
    path = run / "predictions-mean.parquet"
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(RunError, match=r"predictions-mean\.parquet cannot be read"):
        run_on_test(run, split)
    path.unlink()
    with pytest.raises(RunError, match=r"predictions-mean\.parquet is missing"):
        run_on_test(run, split)


def test_a_run_of_something_else_is_refused(runs: Path, run: Path, tiny_store: Store, split: Split) -> None:
    nee = make_split(tiny_store, split.scenario, target="NEE")
    with pytest.raises(RunError, match="of another target: GPP, not NEE"):
        run_on_test(run, nee)
    other = design(tiny_store, "random", name="again", options=DesignOptions(n_test=1, n_validation=2, seed=5))
    with pytest.raises(RunError, match=r"of another scenario: draw \(.*\), not again \("):
        run_on_test(run, make_split(tiny_store, other, target="GPP"))
    respell(run, lambda state: state["config"].update(store_hash="0" * 64))
    with pytest.raises(
        RunError, match=r"of another store: .*store as it was then \(content 0{12}\), not the one given"
    ):
        run_on_test(run, split)


@pytest.mark.parametrize("status", ["running", "failed"])
def test_an_unfinished_run_is_refused(run: Path, split: Split, status: str) -> None:
    respell(run, lambda state: state.update(status=status))
    with pytest.raises(RunError, match=f"is {status}, not complete. Run 'fluxtrapolation train' again"):
        run_on_test(run, split)


def test_no_run_and_no_selection(run: Path, split: Split, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        run_on_test(tmp_path, split)
    with pytest.raises(RunError, match=r"no selection 'maen'\. Did you mean"):
        run_on_test(run, split, selection="maen")


def test_an_ensemble_has_predictions_and_no_model(runs: Path, split: Split) -> None:
    members = [runs / "draw_GPP_lr", runs / "draw_GPP_ridge"]
    found = run_on_test(make_ensemble(members, out=runs), split)
    assert found.model is None and found.note == "an ensemble has no importances of its own"
    mean = np.mean([run_on_test(one, split).y_pred for one in members], axis=0)
    np.testing.assert_allclose(found.y_pred, mean, rtol=1e-5, atol=1e-5)


def test_models_that_cannot_be_asked_say_why(run: Path, split: Split, tmp_path: Path) -> None:
    respell(run, lambda state: state["config"].update(model="lstm"))
    found = run_on_test(run, split)
    assert (found.name, found.model, found.note) == ("lstm", None, "it reads sequences")
    mark = tmp_path / "it-ran"
    (tmp_path / "his.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    source = f"{tmp_path / 'his.py'}:His"
    respell(run, lambda state: state["config"].update(model="his", model_source=source, model_sha256="0" * 64))
    found = run_on_test(run, split)
    assert found.model is None and "its code is not run here" in str(found.note)
    assert not mark.exists()


def test_a_model_of_other_covariates_is_not_asked(run: Path, split: Split) -> None:
    respell(run, lambda state: state["config"].update(feature_names=state["config"]["feature_names"][:-1]))
    found = run_on_test(run, split)
    assert found.model is None and found.note == "it was trained on other covariates"

"""Ensembles of runs: averaged row by row, and taken by every command like any other run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toy_models import SMOOTHED

from fluxtrapolation.cli.main import run as command
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ModelError, RunError
from fluxtrapolation.evaluation import Predictions
from fluxtrapolation.files import sha256_of
from fluxtrapolation.models import registry
from fluxtrapolation.runs import RunFolder, TrainOptions, make_ensemble, predict_run, train
from fluxtrapolation.runs.gather import gather
from fluxtrapolation.scenarios import DesignOptions, Scenario, design
from tiny import write_tiny_store

SELECTIONS = ("mean", "max", "discrepancy")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry(), SMOOTHED.name, SMOOTHED)


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))


@pytest.fixture(scope="module")
def trained(tiny_store: Store, scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "runs"
    options = TrainOptions(profile="quick", n_configurations=4, max_rows=2000, jobs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry(), SMOOTHED.name, SMOOTHED)
        models = ["xgb", "lr", SMOOTHED.name]
        train(tiny_store, scenarios=[scenario], targets=["GPP", "NEE"], models=models, out=out, options=options)
    return out


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """The trained runs in a place of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def members(runs: Path, target: str = "GPP") -> list[Path]:
    return [runs / f"draw_{target}_{model}" for model in ("xgb", "lr", SMOOTHED.name)]


def test_the_mean_of_the_members_row_by_row(runs: Path) -> None:
    path = make_ensemble(members(runs), out=runs)
    assert path == runs / "draw_GPP_ensemble"
    folder = RunFolder(path)
    for selection in SELECTIONS:
        frames = [pl.read_parquet(RunFolder(run).predictions_file(selection)) for run in members(runs)]
        made = Predictions.read(folder.predictions_file(selection))
        expected = np.mean([frame["y_pred"].to_numpy().astype(float) for frame in frames], axis=0)
        np.testing.assert_allclose(made.frame["y_pred"].to_numpy(), expected, rtol=1e-6)
        assert made.frame.drop("y_pred").equals(frames[0].drop("y_pred"), null_equal=True)
        who = made.identity
        assert who is not None
        assert (who.model, who.selection, who.max_rows, who.profile) == ("ensemble", selection, 2000, "quick")
    state = folder.state()
    assert [member.path for member in state.members] == [f"../{run.name}" for run in members(runs)]
    for member, run in zip(state.members, members(runs), strict=True):
        assert member.config_hash == RunFolder(run).state().config_hash
        assert member.predictions["max"] == sha256_of(run / "predictions-max.parquet")
        assert member.weights["mean"] == pytest.approx(1 / 3)
    assert state.config.members is not None and len(state.config.members) == 3
    assert any("smoothed-line: a toy" in note for note in state.notes)


def test_weights_by_validation_error(runs: Path) -> None:
    folder = RunFolder(make_ensemble(members(runs)[:2], out=runs, weights="inverse-mse", name="weighted"))
    for selection in SELECTIONS:
        rmse = []
        for run in members(runs)[:2]:
            chosen = RunFolder(run).state().selection[selection]
            rmse.append(np.mean(list(RunFolder(run).trials()[chosen].validation_rmse.values())))
        expected = np.asarray(rmse) ** -2.0 / np.sum(np.asarray(rmse) ** -2.0)
        held = [member.weights[selection] for member in folder.state().members]
        np.testing.assert_allclose(held, expected)
        frames = [pl.read_parquet(RunFolder(run).predictions_file(selection)) for run in members(runs)[:2]]
        mean = sum(w * frame["y_pred"].to_numpy().astype(float) for w, frame in zip(expected, frames, strict=True))
        made = pl.read_parquet(folder.predictions_file(selection))["y_pred"].to_numpy()
        np.testing.assert_allclose(made, mean, rtol=1e-6)


def test_predict_gives_what_it_averaged_and_works_elsewhere(runs: Path, tiny_store: Store, tmp_path: Path) -> None:
    path = make_ensemble(members(runs), out=runs)
    for selection in SELECTIONS:
        again = predict_run(path, store=tiny_store, out=tmp_path / "p.parquet", selection=selection)
        one, other = pl.read_parquet(again), pl.read_parquet(path / f"predictions-{selection}.parquet")
        assert one.drop("y_pred").equals(other.drop("y_pred"), null_equal=True)
        np.testing.assert_allclose(one["y_pred"], other["y_pred"], rtol=1e-6, atol=1e-6)
    moved = tmp_path / "moved"
    runs.rename(moved)  # members are found beside the ensemble
    place = predict_run(moved / path.name, store=tiny_store, out=tmp_path / "v.parquet", part="validation")
    assert pl.read_parquet(place).height > 0


def test_an_ensemble_of_an_ensemble(runs: Path, tiny_store: Store, tmp_path: Path) -> None:
    inner = make_ensemble(members(runs)[:2], out=runs, name="inner")
    outer = make_ensemble([inner, members(runs)[2]], out=runs, name="outer")
    again = predict_run(outer, store=tiny_store, out=tmp_path / "p.parquet")
    np.testing.assert_allclose(
        pl.read_parquet(again)["y_pred"],
        pl.read_parquet(outer / "predictions-mean.parquet")["y_pred"],
        rtol=1e-6,
        atol=1e-6,
    )
    with pytest.raises(RunError, match=r"Weights by validation RMSE are not possible: .*draw_GPP_inner has none"):
        make_ensemble([inner, members(runs)[2]], out=runs, name="x", weights="inverse-mse")


def test_made_again_it_stays_and_other_members_are_another_run(runs: Path) -> None:
    path = make_ensemble(members(runs), out=runs)
    before = {file: file.stat().st_mtime_ns for file in path.iterdir() if file.suffix == ".parquet"}
    assert make_ensemble(members(runs), out=runs) == path
    assert {file: file.stat().st_mtime_ns for file in before} == before
    with pytest.raises(RunError, match=r"another configuration.*--overwrite"):
        make_ensemble(members(runs)[:2], out=runs)
    make_ensemble(members(runs)[:2], out=runs, overwrite=True)
    assert len(RunFolder(path).state().members) == 2
    assert not (path / ".lock").exists()


def test_members_that_predict_otherwise_now_are_averaged_anew(runs: Path, tiny_store: Store, tmp_path: Path) -> None:
    path = make_ensemble(members(runs)[:2], out=runs)
    before = Predictions.read(path / "predictions-max.parquet").frame["y_pred"].to_numpy()
    file = members(runs)[0] / "predictions-max.parquet"
    held = Predictions.read(file)
    # the same configuration; under a time limit it may give other numbers
    Predictions(held.frame.with_columns(pl.col("y_pred") + 2), held.identity).write(file)
    with pytest.raises(RunError, match=r"no longer the run that was averaged.*--overwrite"):
        predict_run(path, store=tiny_store, out=tmp_path / "p.parquet")
    make_ensemble(members(runs)[:2], out=runs)
    after = Predictions.read(path / "predictions-max.parquet").frame["y_pred"].to_numpy()
    np.testing.assert_allclose(after, before + 1, atol=1e-5)
    predict_run(path, store=tiny_store, out=tmp_path / "p.parquet")


def test_what_does_not_belong_together_is_listed(runs: Path, scenario: Scenario, tmp_path: Path) -> None:
    other = write_tiny_store(tmp_path / "other", hours=24 * 380)
    options = TrainOptions(profile="quick", max_rows=2000, jobs=1)
    [foreign] = train(other, scenarios=[scenario], targets=["NEE"], models=["lr"], out=tmp_path / "o", options=options)
    with pytest.raises(RunError) as told:
        make_ensemble([members(runs)[0], foreign.path], out=runs)
    assert "target: GPP in" in str(told.value) and "NEE in" in str(told.value)
    assert "store_hash: " in str(told.value)
    assert "scenario" not in str(told.value).split("differ in")[1]
    one = members(runs)[0]
    cases = [
        ([one], "two members or more"),
        ([one, one], "more than once"),
        ([one, runs / "nowhere"], "is not a run"),
    ]
    for given, says in cases:
        with pytest.raises(RunError, match=says):
            make_ensemble(given, out=runs)
    with pytest.raises(RunError, match="Did you mean 'equal'"):
        make_ensemble(members(runs), out=runs, weights="equl")
    with pytest.raises(ModelError, match="is named 'a/b'"):
        make_ensemble(members(runs), out=runs, name="a/b")
    with pytest.raises(RunError, match="itself among the runs"):
        make_ensemble(members(runs)[:2], out=runs, name="lr")
    folder = RunFolder(one)
    folder.write_state(folder.state().model_copy(update={"status": "failed"}))
    with pytest.raises(RunError, match="is failed, not complete"):
        make_ensemble(members(runs), out=runs)


def test_other_test_rows_are_refused(runs: Path) -> None:
    file = members(runs)[1] / "predictions-max.parquet"
    held = Predictions.read(file)
    Predictions(held.frame.head(100), held.identity).write(file)
    with pytest.raises(RunError, match=r"draw_GPP_lr predicts other test rows \(100\) than"):
        make_ensemble(members(runs), out=runs)


def test_a_member_that_is_gone_or_another_run_is_told(
    runs: Path, tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    path = make_ensemble(members(runs)[:2], out=runs)
    options = TrainOptions(profile="quick", max_rows=1000, jobs=1, overwrite=True)
    train(tiny_store, scenarios=[scenario], targets=["GPP"], models=["lr"], out=runs, options=options)
    with pytest.raises(RunError, match="no longer the run that was averaged"):
        predict_run(path, store=tiny_store, out=tmp_path / "p.parquet")
    shutil.rmtree(members(runs)[0])
    with pytest.raises(RunError, match="which is gone"):
        predict_run(path, store=tiny_store, out=tmp_path / "p.parquet")


def test_members_that_differ_in_budget_are_averaged_and_told(
    runs: Path, tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    options = TrainOptions(profile="paper", jobs=1, seed=3)
    [big] = train(
        tiny_store, scenarios=[scenario], targets=["GPP"], models=["ridge"], out=tmp_path / "b", options=options
    )
    state = RunFolder(make_ensemble([members(runs)[0], big.path], out=runs)).state()
    assert (state.config.max_rows, state.config.profile) == (2000, "mixed")
    assert "the members differ in max_rows: draw_GPP_xgb 2000, draw_GPP_ridge None" in state.notes
    assert state.rows is not None and state.rows.train == 2000


def test_the_other_commands_take_it(
    runs: Path, tiny_store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["ensemble", *map(str, members(runs)[:2]), "--out", str(runs), "--json"]
    assert command(words) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["path"] == str(runs / "draw_GPP_ensemble") and len(told["members"]) == 2
    scores = str(tmp_path / "scores.parquet")
    assert command(["evaluate", str(runs), "--out", scores]) == 0
    assert "ensemble" in pl.read_parquet(scores)["model"].to_list()
    assert command(["rank", scores, "--target", "GPP", "--draws", "100", "--json"]) == 0
    assert '"ensemble"' in capfd.readouterr().out
    out = str(tmp_path / "p.parquet")
    assert command(["predict", str(runs / "draw_GPP_ensemble"), "--store", str(tiny_store.path), "--out", out]) == 0
    assert command(["report", str(runs), "--out", str(tmp_path / "report")]) == 0
    found = gather([runs], selections=("mean", "max"))
    assert any(text.startswith("fluxtrapolation ensemble ") for text in found.meta["commands"])
    assert found.runs.filter(pl.col("model") == "ensemble")["reason"].to_list() == [None, None]
    capfd.readouterr()
    assert command(["ensemble", str(runs / "draw_GPP_lr"), str(runs / "draw_NEE_lr"), "--out", str(runs)]) == 2
    assert "They differ in" in capfd.readouterr().err

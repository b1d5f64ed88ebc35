"""Runs: search, selection, resume, honesty, predictions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning, MissingColumnError, ModelError, RunError, ScenarioError
from fluxtrapolation.evaluation import Predictions
from fluxtrapolation.models import model_spec
from fluxtrapolation.models.boosted import XGBoost
from fluxtrapolation.runs import TrainOptions, find_runs, predict_run, train
from fluxtrapolation.runs.folder import RunFolder, Trial
from fluxtrapolation.runs.gather import gather
from fluxtrapolation.runs.trial import best_trials, domain_rmse, strategies
from fluxtrapolation.scenarios import DesignOptions, Scenario, Years, design, make_split
from tiny import write_tiny_store


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))


def _train(store: Store, scenario: Scenario, out: Path, model: str = "xgb", **options: object):  # type: ignore[no-untyped-def]
    settings = TrainOptions(**({"profile": "quick", "max_rows": 2000, "n_configurations": 3, "jobs": 1} | options))  # type: ignore[arg-type]
    return train(store, scenarios=[scenario], targets=["GPP"], models=[model], out=out, options=settings)


@pytest.fixture(scope="module")
def finished(tiny_store: Store, scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("runs")
    [result] = _train(tiny_store, scenario, out)
    assert result.status == "complete"
    assert result.path == out / "draw_GPP_xgb"
    return RunFolder(result.path)


def test_run_folder_says_everything(finished: RunFolder, tiny_store: Store, scenario: Scenario) -> None:
    state = finished.state()
    assert state.status == "complete"
    assert state.config.store_hash == tiny_store.data_hash
    assert state.config.scenario_hash == scenario.sha256
    assert state.config.max_rows == 2000
    assert state.rows is not None
    assert state.rows.train == 2000 < state.rows.train_available
    assert {"search", "predict", "write"} == set(state.seconds)
    assert {"python", "numpy", "polars", "fluxtrapolation"} <= set(state.environment)
    trials = finished.trials()
    assert sorted(trials) == [0, 1, 2]
    for trial in trials.values():
        assert trial.train_rows == 2000
        rmse = np.asarray(list(trial.validation_rmse.values()))
        assert set(trial.validation_rmse) == set(scenario.validation)
        assert trial.strategies == pytest.approx(
            {"mean": rmse.mean(), "max": rmse.max(), "discrepancy": rmse.max() - rmse.min()}
        )
    assert state.selection == best_trials(trials)
    kept = {int(folder.name) for folder in (finished.path / "models").iterdir()}
    assert kept == set(state.selection.values())


def test_validation_rmse_is_that_of_the_saved_model(finished: RunFolder, tiny_store: Store, scenario: Scenario) -> None:
    number = finished.state().selection["mean"]
    model = model_spec("xgb").load_class().load(finished.model_folder(number))
    part = make_split(tiny_store, scenario, target="GPP").validation
    for site, stated in finished.trials()[number].validation_rmse.items():
        rows = part.site == site
        error = model.predict(part.X[rows]).astype(np.float64) - part.y[rows]
        assert stated == pytest.approx(float(np.sqrt(np.mean(error**2))), rel=1e-9)


def test_predictions_carry_identity_and_every_test_row(
    finished: RunFolder, tiny_store: Store, scenario: Scenario
) -> None:
    test = make_split(tiny_store, scenario, target="GPP").test
    for strategy in ("mean", "max", "discrepancy"):
        predictions = Predictions.read(finished.predictions_file(strategy))
        who = predictions.identity
        assert who is not None
        assert (who.scenario, who.target, who.model, who.selection) == ("draw", "GPP", "xgb", strategy)
        assert (who.profile, who.max_rows, who.seed, who.domain_kind) == ("quick", 2000, 0, "site")
        assert who.config == finished.trials()[finished.state().selection[strategy]].params
        frame = predictions.frame
        assert frame.height == len(test)
        assert frame["site_id"].cast(pl.String).to_list() == test.site.tolist()
        np.testing.assert_array_equal(frame["y_true"].to_numpy(), test.y)
        assert frame["y_pred"].is_finite().all()


def test_domain_rmse_and_strategies_by_hand() -> None:
    y, p = np.asarray([1.0, 2.0, 3.0, 4.0]), np.asarray([1.0, 4.0, 3.0, 1.0])
    rmse = domain_rmse(y, p, np.asarray([0, 0, 1, 1], dtype=np.int32), 2)
    np.testing.assert_allclose(rmse, [np.sqrt(2.0), np.sqrt(4.5)])
    assert strategies(np.asarray([1.0, 4.0])) == {"mean": 2.5, "max": 4.0, "discrepancy": 3.0}


def test_each_strategy_takes_its_own_best() -> None:
    def trial(number: int, *values: float) -> Trial:
        return Trial(
            number=number,
            params={},
            status="ok",
            fit_seconds=0,
            train_rows=1,
            strategies=dict(zip(("mean", "max", "discrepancy"), values, strict=True)),
        )

    failed = Trial(number=3, params={}, status="failed", error="x", fit_seconds=0, train_rows=1)
    trials = {0: trial(0, 1, 5, 3), 1: trial(1, 2, 4, 2), 2: trial(2, 3, 4, 1), 3: failed}
    assert best_trials(trials) == {"mean": 0, "max": 1, "discrepancy": 2}
    with pytest.raises(RunError, match=r"The configuration failed: x"):
        best_trials({3: failed})


def test_no_test_row_is_read_before_the_search_has_ended(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    original = Store.read_site

    def spy(self: Store, site: str, *arguments: object, **more: object) -> pl.DataFrame:
        seen.append((site, len(list((tmp_path / "draw_GPP_xgb" / "trials").glob("*.json")))))
        return original(self, site, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "read_site", spy)
    _train(tiny_store, scenario, tmp_path)
    early = {site for site, trials in seen if trials < 3}
    late = {site for site, trials in seen if trials == 3}
    assert early == set(scenario.validation) | set(scenario.train or ())
    assert late == set(scenario.test)


def test_same_seed_same_predictions(finished: RunFolder, tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    [again] = _train(tiny_store, scenario, tmp_path)
    one = pl.read_parquet(finished.predictions_file("mean"))
    two = pl.read_parquet(again.path / "predictions-mean.parquet")
    assert one.equals(two)


def test_an_interrupted_search_goes_on(
    finished: RunFolder, tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []
    fit = XGBoost._fit

    def dying(self: XGBoost, *arguments: object, **more: object) -> None:
        if len(fits) == 2:
            raise KeyboardInterrupt
        fits.append(1)
        fit(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(XGBoost, "_fit", dying)
    with pytest.raises(KeyboardInterrupt):
        _train(tiny_store, scenario, tmp_path)
    folder = RunFolder(tmp_path / "draw_GPP_xgb")
    assert folder.state().status == "running"
    assert sorted(folder.trials()) == [0, 1]
    with pytest.raises(RunError, match="None of the 1 runs is complete"):
        gather([tmp_path])
    monkeypatch.setattr(XGBoost, "_fit", lambda self, *a, **k: (fits.append(2), fit(self, *a, **k))[1])
    [result] = _train(tiny_store, scenario, tmp_path)
    assert result.status == "complete"
    assert fits == [1, 1, 2]  # only the lost trial was fitted again
    a, b = (pl.read_parquet(f.predictions_file("max")) for f in (finished, folder))
    assert a.equals(b)
    [third] = _train(tiny_store, scenario, tmp_path)
    assert third.status == "already complete"
    assert fits == [1, 1, 2]


def test_a_best_trial_whose_model_is_gone_is_fitted_again(
    tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    [result] = _train(tiny_store, scenario, tmp_path)
    folder = RunFolder(result.path)
    before = pl.read_parquet(folder.predictions_file("mean"))
    folder.write_state(folder.state().model_copy(update={"status": "running"}))
    shutil.rmtree(folder.path / "models")
    [again] = _train(tiny_store, scenario, tmp_path)
    assert again.status == "complete"
    assert pl.read_parquet(folder.predictions_file("mean")).equals(before)


def test_a_failing_configuration_is_recorded_and_the_search_goes_on(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = XGBoost._fit
    calls: list[int] = []

    def failing(self: XGBoost, *arguments: object, **more: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError("too big")
        fit(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(XGBoost, "_fit", failing)
    [result] = _train(tiny_store, scenario, tmp_path)
    folder = RunFolder(result.path)
    assert folder.trials()[0].error == "MemoryError: too big"
    assert "configuration 1 failed: MemoryError: too big" in folder.state().notes
    assert 0 not in folder.state().selection.values()
    [again] = _train(tiny_store, scenario, tmp_path)
    assert (again.status, again.failed_configurations) == ("already complete", 1)


def test_a_full_disk_is_no_failed_configuration(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = XGBoost._save

    def full(self: XGBoost, folder: Path) -> None:
        raise ValueError("Local I/O failure: No space left on device (os error 28)")

    monkeypatch.setattr(XGBoost, "_save", full)
    [result] = _train(tiny_store, scenario, tmp_path)
    assert result.status == "failed"
    assert "disk is full" in str(result.error)
    folder = RunFolder(result.path)
    assert folder.trials() == {}
    assert not list((folder.path / "models").glob("*"))
    monkeypatch.setattr(XGBoost, "_save", save)
    [again] = _train(tiny_store, scenario, tmp_path)
    assert again.status == "complete"
    assert folder.state().error is None


def test_failed_configurations_of_an_unfinished_run_are_tried_again(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = XGBoost._fit

    def failing(self: XGBoost, *arguments: object, **more: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(XGBoost, "_fit", failing)
    assert _train(tiny_store, scenario, tmp_path)[0].status == "failed"
    monkeypatch.setattr(XGBoost, "_fit", fit)
    [result] = _train(tiny_store, scenario, tmp_path)
    assert result.status == "complete"
    assert {trial.status for trial in RunFolder(result.path).trials().values()} == {"ok"}


def test_a_complete_run_whose_files_are_gone_is_made_whole_again(
    tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    [result] = _train(tiny_store, scenario, tmp_path)
    folder = RunFolder(result.path)
    before = pl.read_parquet(folder.predictions_file("max"))
    folder.predictions_file("max").unlink()
    [again] = _train(tiny_store, scenario, tmp_path)
    assert again.status == "complete"
    assert pl.read_parquet(folder.predictions_file("max")).equals(before)
    assert _train(tiny_store, scenario, tmp_path)[0].status == "already complete"


def test_a_scenario_without_rows_fails_by_itself_and_leaves_no_folder(
    tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    options = DesignOptions(train_years="2015", validation_years="2016", test_years="2016")
    with pytest.raises(ScenarioError, match="overlap"):
        design(tiny_store, "years", name="x", options=options)
    years = design(
        write_tiny_store(tmp_path / "long", tiny_store.site_ids, hours=24 * 900),
        "years",
        name="later",
        options=DesignOptions(train_years="2015", validation_years="2016", test_years="2017:"),
    )
    none = years.model_copy(
        update={"years": years.years.model_copy(update={"validation": Years.parse("2030")})}  # type: ignore[union-attr]
    )
    results = train(
        tiny_store,
        scenarios=[none, scenario],
        targets=["GPP"],
        models=["lr"],
        out=tmp_path / "runs",
        options=TrainOptions(profile="quick", jobs=1),
    )
    assert [result.status for result in results] == ["failed", "complete"]
    assert "no validation rows" in str(results[0].error)
    assert not results[0].path.exists()


def test_leftovers_of_a_start_are_no_obstacle(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    folder = tmp_path / "draw_GPP_lr"
    (folder / "trials").mkdir(parents=True)
    (folder / ".run.json.1.tmp").write_text("{")
    [result] = _train(tiny_store, scenario, tmp_path, "lr")
    assert result.status == "complete"


def test_damaged_trials_and_models_are_told(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    [result] = _train(tiny_store, scenario, tmp_path)
    folder = RunFolder(result.path)
    number = folder.state().selection["mean"]
    booster = folder.model_folder(number) / "booster.ubj"
    booster.write_bytes(booster.read_bytes()[:50])
    with pytest.raises(ModelError, match="is damaged"):
        predict_run(folder, store=tiny_store, out=tmp_path / "p.parquet")
    with pytest.raises(RunError, match=r"must end in \.parquet"):
        predict_run(folder, store=tiny_store, out=tmp_path / "p.csv")
    (folder.path / "trials" / "001.json").write_text("{")
    with pytest.raises(RunError, match=r"001\.json is damaged"):
        folder.trials()


def test_a_store_with_only_the_test_towers_can_be_predicted(
    finished: RunFolder, scenario: Scenario, tmp_path: Path
) -> None:
    other = write_tiny_store(tmp_path / "other", scenario.test, hours=24 * 30)
    with pytest.warns(FluxtrapolationWarning):
        path = predict_run(finished, store=other, out=tmp_path / "o.parquet")
    assert set(pl.read_parquet(path)["site_id"].cast(pl.String).unique()) == set(scenario.test)


def test_if_every_configuration_fails_the_cell_fails_and_the_others_go_on(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: XGBoost, *arguments: object, **more: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(XGBoost, "_fit", failing)
    results = train(
        tiny_store,
        scenarios=[scenario],
        targets=["GPP", "NEE"],
        models=["xgb", "lr"],
        out=tmp_path,
        options=TrainOptions(profile="quick", jobs=1),
    )
    assert [(r.target, r.model, r.status) for r in results] == [
        ("GPP", "xgb", "failed"),
        ("GPP", "lr", "complete"),
        ("NEE", "xgb", "failed"),
        ("NEE", "lr", "complete"),
    ]
    assert "All 2 configurations failed; the first: ValueError: no" in str(results[0].error)
    assert [result.failed_configurations for result in results] == [2, 0, 2, 0]
    found = gather([tmp_path])
    assert set(found.scores.frame["model"]) == {"lr"}
    reasons = found.runs.filter(pl.col("model") == "xgb")["reason"].to_list()
    assert len(reasons) == 2 and all("ValueError: no" in reason for reason in reasons)


def test_other_configuration_in_the_same_folder_is_refused(
    tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    _train(tiny_store, scenario, tmp_path, "lr")
    with pytest.raises(RunError, match=r"another configuration \(max_rows 2000 there, 1000 now\).*--overwrite"):
        _train(tiny_store, scenario, tmp_path, "lr", max_rows=1000)
    [result] = _train(tiny_store, scenario, tmp_path, "lr", max_rows=1000, overwrite=True)
    assert RunFolder(result.path).state().config.max_rows == 1000
    other = tmp_path / "elsewhere" / "draw_GPP_lr"
    other.mkdir(parents=True)
    (other / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="in the way"):
        _train(tiny_store, scenario, tmp_path / "elsewhere", "lr")


def test_bad_names_stop_before_anything_is_trained(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    cases = [
        ({"models": ["xgbb"]}, ModelError, "Did you mean 'xgb'"),
        ({"targets": ["ET"]}, MissingColumnError, "has no ET"),
        ({"scenarios": ["tempral"]}, ScenarioError, "Did you mean 'temporal'"),
        ({"options": TrainOptions(profile="fast")}, RunError, "no profile 'fast'"),
        ({"options": TrainOptions(seed=-1)}, RunError, "must not be negative"),
        ({"options": TrainOptions(seed=2**32)}, RunError, "must fit 32 bits"),
        ({"options": TrainOptions(time_limit=0)}, RunError, "positive number of seconds"),
        ({"options": TrainOptions(time_limit=float("nan"))}, RunError, "positive number of seconds"),
        ({"scenarios": [scenario, scenario]}, RunError, "given 2 times"),
    ]
    for change, kind, message in cases:
        given = {"scenarios": [scenario], "targets": ["GPP"], "models": ["lr"], "out": tmp_path / "r"} | change
        with pytest.raises(kind, match=message):
            train(tiny_store, **given)  # type: ignore[arg-type]
    assert not (tmp_path / "r").exists()


def test_predict_again_on_the_same_and_on_another_store(
    finished: RunFolder, tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    path = predict_run(finished, store=tiny_store, out=tmp_path / "p.parquet")
    assert pl.read_parquet(path).equals(pl.read_parquet(finished.predictions_file("mean")))
    validation = predict_run(finished, store=tiny_store, out=tmp_path / "v.parquet", part="validation", selection="max")
    assert set(pl.read_parquet(validation)["site_id"].cast(pl.String).unique()) == set(scenario.validation)
    # another store without some classes still gives the model's own columns
    other = write_tiny_store(tmp_path / "other", scenario.listed_sites, hours=24 * 30)
    again = Predictions.read(predict_run(finished, store=other, out=tmp_path / "o.parquet"))
    assert again.identity is not None and again.identity.store_hash == other.data_hash
    with pytest.raises(RunError, match=r"no selection 'best'"):
        predict_run(finished, store=tiny_store, out=tmp_path / "x.parquet", selection="best")
    with pytest.raises(RunError, match="not a run"):
        predict_run(tmp_path, store=tiny_store, out=tmp_path / "x.parquet")


def test_gather_shows_every_selection_of_every_cell(finished: RunFolder, scenario: Scenario) -> None:
    lr_too = gather([finished.path], selections=("max",))
    assert set(lr_too.scores.frame["selection"]) == {"max"}
    mean = gather([finished.path])
    assert set(mean.scores.frame["selection"]) == {"mean"}
    every = gather([finished.path.parent], selections=("mean", "max", "discrepancy"))
    assert set(every.scores.frame["selection"]) == {"mean", "max", "discrepancy"}
    assert every.runs.height == 3
    roles = dict(zip(every.split_sites["site_id"], every.split_sites["role"], strict=True))
    assert {site for site, role in roles.items() if role == "test"} == set(scenario.test)
    assert every.seasonal["doy"].max() == 366 or every.seasonal["doy"].max() == 365
    assert any(command.startswith("fluxtrapolation train") for command in every.meta["commands"])


def test_find_runs(finished: RunFolder, tmp_path: Path) -> None:
    assert [run.path for run in find_runs(finished.path)] == [finished.path]
    assert [run.path for run in find_runs(finished.path.parent)] == [finished.path]
    with pytest.raises(RunError, match="does not exist"):
        find_runs(tmp_path / "nowhere")
    with pytest.raises(RunError, match="holds no runs"):
        find_runs(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"status": "complete"}))
    with pytest.raises(RunError, match=r"run\.json is malformed"):
        find_runs(tmp_path)[0].state()

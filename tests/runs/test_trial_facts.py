"""What a trial and a run record: memory, reports, notes, and where a model of one's own came from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ModelError, RunError
from fluxtrapolation.evaluation import Predictions, evaluate
from fluxtrapolation.models.boosted import XGBoost
from fluxtrapolation.runs import RunConfig, RunFolder, TrainOptions, find_runs, make_ensemble, predict_run, train
from fluxtrapolation.runs.folder import RunState
from fluxtrapolation.runs.gather import _meta, gather
from fluxtrapolation.runs.memory import PeakMemory
from fluxtrapolation.scenarios import DesignOptions, Scenario, design

MODEL = '''
import json
import numpy as np
from fluxtrapolation.models import FluxModel

class Shifted(FluxModel):
    """The mean of train plus a shift."""

    name = "shifted"

    def __init__(self, shift: float = {shift}) -> None:
        self.shift = shift

    def _fit(self, X, y, **_):
        self.mean_ = float(y.mean()) + self.shift
        self.notes_ = ("shifted on purpose",)
        self.report_ = {{"mean": np.float32(self.mean_), "history": np.arange(3), "lost": float("nan")}}

    def _predict(self, X):
        return np.full(len(X), self.mean_)

    def _save(self, folder):
        (folder / "mean.json").write_text(json.dumps(self.mean_))

    def _load(self, folder):
        self.mean_ = json.loads((folder / "mean.json").read_text())
'''


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))


def trained(store: Store, scenario: Scenario, out: Path, model: str, **options: Any) -> Any:
    settings = TrainOptions(**({"profile": "quick", "max_rows": 2000, "jobs": 1} | options))
    [result] = train(store, scenarios=[scenario], targets=["GPP"], models=[model], out=out, options=settings)
    return result


def config(**changes: Any) -> RunConfig:
    base = {
        "scenario": "draw",
        "scenario_hash": "a",
        "domain_kind": "site",
        "target": "GPP",
        "model": "xgb",
        "profile": "paper",
        "n_configurations": 10,
        "max_rows": None,
        "seed": 0,
        "store_hash": "b",
        "resolution": "hourly",
        "feature_names": ("TA",),
        "package_version": "1",
    }
    return RunConfig(**(base | changes))


def test_entries_that_came_later_leave_old_hashes_as_they_are() -> None:
    """The hash of a run made before they came."""
    assert config().sha256 == "61c540a8c8f171d4a6b65b82b73ce5af5bc03c279d5bad2bfc2835b7aa97df16"
    for name, value in (("model_source", "a.b"), ("max_time", 60.0), ("members", ("x",)), ("weights", "equal")):
        assert config(**{name: value}).sha256 != config().sha256, name
    known = config(model_source="/here/m.py:M", model_sha256="1")
    assert known.sha256 == config(model_source="/there/m.py:M", model_sha256="1").sha256
    assert known.sha256 != config(model_source="/here/m.py:M", model_sha256="2").sha256


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the peak of a process anew")
def test_peak_memory_is_that_of_the_work_alone() -> None:
    block = np.ones(40_000_000)  # 320 MB
    high = PeakMemory()
    before = high.megabytes()
    if before is None:
        pytest.skip("this system does not let a process reset its peak")
    assert before > 320
    del block
    low = PeakMemory()
    after = low.megabytes()
    assert after is not None and after < before - 250
    more = np.ones(20_000_000)
    assert low.megabytes() > after + 120  # type: ignore[operator]
    del more


def test_where_the_peak_cannot_be_reset_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fluxtrapolation.runs.memory._CLEAR", tmp_path / "no" / "such")
    assert PeakMemory().megabytes() is None


def test_a_trial_records_memory_report_and_notes(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = XGBoost._fit

    def telling(self: XGBoost, *arguments: Any, **more: Any) -> None:
        fit(self, *arguments, **more)
        self.report_ = {"trees": np.int64(self.trees_), "by_round": np.arange(2), "gap": float("nan")}
        self.notes_ = ("no NDWI in this store",)

    monkeypatch.setattr(XGBoost, "_fit", telling)
    folder = RunFolder(trained(tiny_store, scenario, tmp_path, "xgb").path)
    for trial in folder.trials().values():
        assert trial.report["trees"] > 0 and trial.report["by_round"] == [0, 1]
        assert trial.notes == ("no NDWI in this store",)
        assert trial.train_sites == 2
        if PeakMemory().megabytes() is not None:
            assert trial.peak_memory_mb is not None and trial.peak_memory_mb > 20
    assert folder.state().notes.count("no NDWI in this store") == 1


def test_a_model_that_cannot_be_saved_is_a_failed_configuration(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(self: XGBoost, folder: Path) -> None:
        raise TypeError("not serializable")

    monkeypatch.setattr(XGBoost, "_save", bad)
    result = trained(tiny_store, scenario, tmp_path, "xgb")
    assert "All 2 configurations failed; the first: TypeError: not serializable" in result.error


def test_the_row_limit_stands_in_every_row_of_scores(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    result = trained(tiny_store, scenario, tmp_path, "lr", max_rows=1234)
    assert set(evaluate(Predictions.read(result.path / "predictions-mean.parquet")).frame["max_rows"]) == {1234}


def test_a_model_from_a_file_is_found_again(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MODEL.format(shift=0.5))
    text = f"{file}:Shifted"
    result = trained(tiny_store, scenario, tmp_path / "runs", text)
    assert result.error is None
    folder = RunFolder(result.path)
    held = folder.state().config
    assert held.model == "shifted" and held.model_sha256 is not None
    assert str(held.model_source).startswith(str(file))
    assert folder.state().notes == ("shifted on purpose",)
    assert folder.trials()[0].report["history"] == [0, 1, 2]
    again = predict_run(folder, store=tiny_store, out=tmp_path / "p.parquet", trust_model=True)
    assert again.is_file()
    assert trained(tiny_store, scenario, tmp_path / "runs", text).status == "already complete"

    file.write_text(MODEL.format(shift=0.75))
    with pytest.raises(RunError, match=r"the file of the model, .*mine\.py:Shifted, has changed since.*--overwrite"):
        trained(tiny_store, scenario, tmp_path / "runs", text)
    with pytest.raises(ModelError, match="that file has changed since the run"):
        predict_run(folder, store=tiny_store, out=tmp_path / "p.parquet", trust_model=True)

    file.unlink()
    with pytest.raises(ModelError, match=r"mine\.py"):
        predict_run(folder, store=tiny_store, out=tmp_path / "p.parquet", trust_model=True)


def test_rows_that_the_model_left_out_are_told_everywhere(
    tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    """A model with a limit of its own, as maxrm has, under a profile without one."""
    runs = tmp_path / "runs"
    path = trained(tiny_store, scenario, runs, f"{thrifty(tmp_path)}:Thrifty", profile="paper", max_rows=None).path
    folder = RunFolder(path)
    trial, state = folder.trials()[0], folder.state()
    assert state.rows is not None and trial.rows_given == state.rows.train_available > 500
    assert (trial.train_rows, state.rows.train, state.config.max_rows) == (500, 500, None)
    assert Predictions.read(folder.predictions_file("mean")).identity.max_rows == 500
    again = predict_run(folder, store=tiny_store, out=tmp_path / "p.parquet", trust_model=True)
    assert Predictions.read(again).identity.max_rows == 500
    whole = trained(tiny_store, scenario, runs, "lr", profile="paper", max_rows=None).path
    found = gather([runs])
    assert dict(found.scores.frame.select("model", "max_rows").unique().iter_rows()) == {"lr": None, "thrifty": 500}
    shown = {row["model"]: (row["train_rows"], row["max_rows"]) for row in found.runs.iter_rows(named=True)}
    assert shown == {"lr": (state.rows.train_available, None), "thrifty": (500, 500)}
    state = RunFolder(make_ensemble([path, whole], out=runs)).state()
    assert state.config.max_rows == 500
    assert "the members differ in max_rows: draw_GPP_thrifty 500, draw_GPP_lr None" in state.notes


def test_a_lower_limit_of_the_run_is_the_one_that_counts(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    text = f"{thrifty(tmp_path)}:Thrifty"
    folder = RunFolder(trained(tiny_store, scenario, tmp_path / "runs", text, max_rows=300).path)
    trial = folder.trials()[0]
    assert (trial.train_rows, trial.rows_given) == (300, None)
    assert Predictions.read(folder.predictions_file("mean")).identity.max_rows == 300


def thrifty(place: Path) -> Path:
    """The file of a model that takes 500 rows."""
    file = place / "thrifty.py"
    text = MODEL.format(shift=0.0).replace("Shifted", "Thrifty").replace('"shifted"', '"thrifty"')
    file.write_text(text.replace('"history"', '"rows": min(len(y), 500), "history"'))
    return file


def test_fits_that_a_time_limit_ended_are_told(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = XGBoost._fit
    calls: list[int] = []

    def cut(self: XGBoost, *arguments: Any, **more: Any) -> None:
        fit(self, *arguments, **more)
        calls.append(1)
        self.report_ = {**self.report_, "stopped": "time_limit" if len(calls) == 2 else "early_stopping"}

    monkeypatch.setattr(XGBoost, "_fit", cut)
    folder = RunFolder(trained(tiny_store, scenario, tmp_path, "xgb", n_configurations=3, time_limit=100.0).path)
    assert "a time limit ended the fit of 1 of 3 configurations: 2" in folder.state().notes


def test_commands_say_where_each_run_lies(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    for seed in (0, 1):
        trained(tiny_store, scenario, tmp_path / f"seed-{seed}", "constant", seed=seed)
    places = [tmp_path / "seed-0" / "draw_GPP_constant", tmp_path / "seed-1"]
    commands = gather(places[:1], store=tiny_store.path).meta["commands"]
    assert commands[0].endswith(f"--out {tmp_path / 'seed-0'}")
    commands = gather([tmp_path / "seed-1"]).meta["commands"] + _commands(places)
    assert commands[0].endswith(f"--seed 1 --out {tmp_path / 'seed-1'}")
    assert commands[-1] == f"fluxtrapolation report {places[0]} {places[1]} --out report/"


def test_commands_repeat_a_search_of_one_configuration(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    for model in ("lr", "ridge"):
        trained(tiny_store, scenario, tmp_path, model, n_configurations=1)
    lr, ridge, _ = gather([tmp_path]).meta["commands"]
    assert "--model ridge --profile quick --configurations 1 --max-rows 2000" in ridge
    assert "--model lr --profile quick --max-rows 2000" in lr


def _commands(places: list[Path]) -> list[str]:
    states = [(folder, folder.state()) for place in places for folder in find_runs(place)]
    return list(_meta(states, places)["commands"])


def test_a_moved_file_is_the_same_model(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MODEL.format(shift=0.5))
    result = trained(tiny_store, scenario, tmp_path / "runs", f"{file}:Shifted")
    folder = RunFolder(result.path)
    moved = tmp_path / "elsewhere.py"
    file.rename(moved)
    folder.predictions_file("max").unlink()
    assert trained(tiny_store, scenario, tmp_path / "runs", f"{moved}:Shifted").status == "complete"
    assert "elsewhere.py" in str(folder.state().config.model_source)


def test_a_run_json_of_before_is_read(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    folder = RunFolder(trained(tiny_store, scenario, tmp_path, "lr").path)
    held = json.loads((folder.path / "run.json").read_text())
    for name in ("model_source", "model_sha256", "max_time", "members", "weights"):
        del held["config"][name]
    del held["members"]
    assert RunState.model_validate_json(json.dumps(held)) == folder.state()

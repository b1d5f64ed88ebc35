"""The budget of a search, and configurations proposed from what was tried."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import RunError
from fluxtrapolation.models import model_spec, registry
from fluxtrapolation.models.linear import Ridge
from fluxtrapolation.runs import PROFILES, RunFolder, TrainOptions, Trial, train
from fluxtrapolation.runs.proposals import Proposal, RandomProposals, TpeProposals
from fluxtrapolation.runs.search import Search
from fluxtrapolation.scenarios import DesignOptions, Scenario, design

pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))


def trained(store: Store, scenario: Scenario, out: Path, model: str = "ridge", **options: Any) -> Any:
    settings = TrainOptions(**({"profile": "quick", "max_rows": 2000, "jobs": 1} | options))
    [result] = train(store, scenarios=[scenario], targets=["GPP"], models=[model], out=out, options=settings)
    return result


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[float | None]:
    """Make ridge take its time; the time limits it was given."""
    limits: list[float | None] = []
    fit = Ridge._fit

    def waiting(self: Ridge, *arguments: Any, **more: Any) -> None:
        limits.append(more["time_limit"])
        time.sleep(seconds)
        fit(self, *arguments, **more)

    monkeypatch.setattr(Ridge, "_fit", waiting)
    return limits


def test_no_trial_starts_when_time_is_up(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = slow(monkeypatch, 0.5)
    options = {"n_configurations": 50, "max_time": 1.2}
    result = trained(tiny_store, scenario, tmp_path, **options)
    assert result.status == "complete"
    folder = RunFolder(result.path)
    n = len(folder.trials())
    assert 1 <= n <= 3
    # every fit must end within what is left
    assert all(limit is not None and 0 < limit <= 1.2 for limit in limits)
    assert limits == sorted(limits, reverse=True)  # type: ignore[type-var]
    state = folder.state()
    assert state.config.max_time == 1.2
    assert f"time was up after {n} of 50 configurations (--max-time 1.2 s)" in state.notes
    assert trained(tiny_store, scenario, tmp_path, **options).status == "already complete"
    with pytest.raises(RunError, match=r"max_time 1\.2 there, None now"):
        trained(tiny_store, scenario, tmp_path, n_configurations=50)


def test_the_smaller_limit_counts(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = slow(monkeypatch, 0.0)
    trained(tiny_store, scenario, tmp_path, time_limit=5.0, max_time=1000.0)
    assert limits == [5.0, 5.0]
    trained(tiny_store, scenario, tmp_path / "none")
    assert limits[2:] == [None, None]


def test_time_spent_before_an_interruption_counts(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"n_configurations": 5, "max_time": 100.0}
    folder = RunFolder(trained(tiny_store, scenario, tmp_path, **options).path)
    kept = sorted(set(folder.state().selection.values()))
    for number in set(range(5)) - set(kept):
        (folder.path / "trials" / f"{number:03d}.json").unlink()
    folder.write_trial(folder.trials()[kept[0]].model_copy(update={"fit_seconds": 99.0}))
    folder.write_state(folder.state().model_copy(update={"status": "running"}))
    limits = slow(monkeypatch, 1.0)
    trained(tiny_store, scenario, tmp_path, **options)
    assert limits[0] is not None and limits[0] <= 1.0
    assert len(limits) == 1
    assert len(folder.trials()) == len(kept) + 1 < 5


def test_a_chosen_model_that_is_gone_is_fitted_again_even_when_time_is_up(
    tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    import shutil

    options = {"n_configurations": 3, "max_time": 0.5}
    folder = RunFolder(trained(tiny_store, scenario, tmp_path, **options).path)
    before = pl.read_parquet(folder.predictions_file("mean"))
    folder.write_trial(folder.trials()[0].model_copy(update={"fit_seconds": 99.0}))
    shutil.rmtree(folder.path / "models")
    assert trained(tiny_store, scenario, tmp_path, **options).status == "complete"
    assert pl.read_parquet(folder.predictions_file("mean")).equals(before)


def judged(number: int, value: float) -> Trial:
    """A trial that is as good in every strategy."""
    strategies = dict.fromkeys(("mean", "max", "discrepancy"), value)
    return toy_trial(number, Proposal({}), value).model_copy(update={"strategies": strategies})


def test_a_repeated_trial_that_came_out_worse_brings_back_the_one_that_is_best_now(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    config = {"profile": "quick", "n_configurations": 2, "seed": 0, "max_rows": None, "time_limit": None}
    search_config: Any = SimpleNamespace(**config, max_time=None)
    for number, value in enumerate((1.0, 2.0)):
        folder.write_trial(judged(number, value))
    search = Search(folder, model_spec("ridge"), search_config, jobs=1)

    def fitted(value: float) -> int:
        task = search.next_task()
        assert task is not None
        folder.model_folder(task.number).mkdir(parents=True)
        (folder.model_folder(task.number) / "model.json").write_text("{}")
        search.record(judged(task.number, value))
        return task.number

    assert fitted(3.0) == 0  # the best, whose model is gone; a time limit made it worse
    assert not search.is_done
    assert fitted(2.0) == 1
    assert search.is_done and search.next_task() is None
    assert search.best()["mean"] == 1
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["001"]


def test_a_model_that_is_gone_is_fitted_again_before_time_is_found_to_be_up(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    config = {"profile": "quick", "n_configurations": 3, "seed": 0, "max_rows": None, "time_limit": None}
    search_config: Any = SimpleNamespace(**config, max_time=1.0)
    for number, value in ((0, 2.0), (2, 1.0)):  # as on a cluster: 1 was under way
        folder.write_trial(judged(number, value).model_copy(update={"fit_seconds": 100.0}))
    search = Search(folder, model_spec("ridge"), search_config, jobs=1)
    task = search.next_task()
    assert task is not None and task.number == 2


def test_search_seconds_count_the_trials_before_an_interruption(
    tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    folder = RunFolder(trained(tiny_store, scenario, tmp_path, n_configurations=2).path)
    folder.write_trial(folder.trials()[0].model_copy(update={"fit_seconds": 1000.0}))
    folder.predictions_file("mean").unlink()
    assert trained(tiny_store, scenario, tmp_path, n_configurations=2).seconds > 1000
    assert folder.state().seconds["search"] > 1000


def test_profile_tpe() -> None:
    assert (PROFILES["tpe"].n_configurations, PROFILES["tpe"].max_rows) == (20, None)


def test_tpe_goes_on_as_if_it_had_not_been_interrupted(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"profile": "tpe", "n_configurations": 16}
    whole = RunFolder(trained(tiny_store, scenario, tmp_path / "whole", **options).path)
    fits: list[int] = []
    fit = Ridge._fit

    def dying(self: Ridge, *arguments: Any, **more: Any) -> None:
        if len(fits) in (3, 13):
            fits.append(0)
            raise KeyboardInterrupt
        fits.append(1)
        fit(self, *arguments, **more)

    monkeypatch.setattr(Ridge, "_fit", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trained(tiny_store, scenario, tmp_path / "cut", **options)
    cut = RunFolder(trained(tiny_store, scenario, tmp_path / "cut", **options).path)
    assert sum(fits) == 16
    facts = ("params", "asked", "validation_rmse")
    for number, trial in whole.trials().items():
        other = cut.trials()[number]
        assert [getattr(trial, name) for name in facts] == [getattr(other, name) for name in facts]
    assert cut.state().selection == whole.state().selection
    # not the random draw: after the ten of the start it looks where it was good
    assert len({trial.params["alpha"] for trial in whole.trials().values()}) == 16


def toy_trial(number: int, proposal: Proposal, value: float | None) -> Trial:
    return Trial(
        number=number,
        params=proposal.params,
        asked=proposal.asked,
        status="failed" if value is None else "ok",
        fit_seconds=0,
        train_rows=1,
        strategies={} if value is None else {"mean": value, "max": value, "discrepancy": 0.0},
    )


def nested(trial: Any) -> dict[str, Any]:
    """A space with choices that JSON turns into lists, and a range that depends on another draw."""
    depth = trial.suggest_int("depth", 2, 6)
    return {
        "hidden": trial.suggest_categorical("hidden", [(128, 64), (256, 128)]),
        "depth": depth,
        "leaves": trial.suggest_int("leaves", 2, 2**depth),
        "rate": trial.suggest_float("rate", 1e-3, 1.0, log=True),
    }


def searched(proposals: Any, n: int, score: Any) -> list[dict[str, Any]]:
    trials: dict[int, Trial] = {}
    for number in range(n):
        proposal = proposals.propose(number, trials, {})
        trial = toy_trial(number, proposal, score(number, proposal.params))
        trials[number] = Trial.model_validate_json(trial.model_dump_json())  # as from disk
    return [trial.params for trial in trials.values()]


def test_tpe_finds_more_than_chance_does() -> None:
    """The mean over seeds of the best of 40, on a bowl in the logarithm of one parameter."""
    spec = replace(model_spec("ridge"), space=nested)

    def score(_: int, params: dict[str, Any]) -> float:
        return abs(np.log10(params["rate"]) + 2.0) + (params["hidden"][0] == 128) + abs(params["leaves"] - 9) / 8

    best: dict[type, list[float]] = {RandomProposals: [], TpeProposals: []}
    for kind, found in best.items():
        for seed in range(8):
            found.append(min(score(0, one) for one in searched(kind(spec, 40, seed=seed), 40, score)))
    assert np.mean(best[TpeProposals]) < 0.7 * np.mean(best[RandomProposals])


def test_tpe_learns_nothing_from_failed_trials_and_goes_on() -> None:
    spec = replace(model_spec("ridge"), space=nested)
    drawn = searched(TpeProposals(spec, 25, seed=1), 25, lambda n, _: None if n % 2 else float(n))
    assert len(drawn) == 25
    assert drawn == searched(TpeProposals(spec, 25, seed=1), 25, lambda n, _: None if n % 2 else float(n))


def test_several_at_once_are_not_proposed_twice() -> None:
    spec = replace(model_spec("ridge"), space=nested)
    proposals = TpeProposals(spec, 40, seed=3)
    trials = {n: toy_trial(n, proposals.propose(n, {}, {}), float(n)) for n in range(12)}
    running: dict[int, Proposal] = {}
    for number in range(12, 20):
        running[number] = proposals.propose(number, trials, running)
    assert len({str(one.params) for one in running.values()}) == 8
    alone = [proposals.propose(number, trials, {}) for number in range(12, 20)]
    assert [one.params for one in alone[1:]] != [one.params for one in list(running.values())[1:]]


def test_a_failed_trial_of_an_unfinished_run_is_tried_again_as_it_was() -> None:
    spec = replace(model_spec("ridge"), space=nested)
    proposals = TpeProposals(spec, 5, seed=3)
    first = proposals.propose(0, {}, {})
    failed = Trial.model_validate_json(toy_trial(0, first, None).model_dump_json())
    again = proposals.propose(0, {0: failed}, {})
    assert again.params == first.params


def test_a_model_without_hyper_parameters_is_tried_once(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    result = trained(tiny_store, scenario, tmp_path, "lr", profile="tpe")
    assert len(RunFolder(result.path).trials()) == 1


def test_every_registered_space_can_be_proposed_from_records() -> None:
    """Each space twelve times over, by TPE from trials that went through JSON."""
    for name, spec in registry().items():
        if spec.space is not None:
            drawn = searched(TpeProposals(spec, 12, seed=0), 12, lambda n, _: float(n))
            assert len(drawn) == 12, name

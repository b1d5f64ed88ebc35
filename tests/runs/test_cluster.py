"""Trials on a Dask cluster: the same results, whoever fits; a worker that dies costs its trial at most."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import RunError
from fluxtrapolation.runs import CellResult, ClusterOptions, RunFolder, TrainOptions, Trial, train
from fluxtrapolation.runs.worker import Place
from fluxtrapolation.scenarios import DesignOptions, Scenario, design
from tiny import write_tiny_store

pytestmark = pytest.mark.slow

LOCAL = ClusterOptions("local", 2)
MODELS = ("xgb", "lr", "ridge")


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))


def trained(store: Store, scenario: Scenario, out: Path, cluster: Any, **more: Any) -> list[CellResult]:
    given = {"models": MODELS, "targets": ["GPP", "NEE"], "listener": None} | more
    names = set(TrainOptions.__dataclass_fields__)
    settings = {"profile": "quick", "n_configurations": 3, "max_rows": 2000, "jobs": 1}
    options = TrainOptions(**(settings | {name: given.pop(name) for name in list(given) if name in names}))
    return train(store, scenarios=[scenario], out=out, options=options, cluster=cluster, **given)


@pytest.fixture(scope="module")
def serial(tiny_store: Store, scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> list[CellResult]:
    return trained(tiny_store, scenario, tmp_path_factory.mktemp("serial"), None)


class Heard:
    """A listener that takes notes."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.searches: list[tuple[str, int, int]] = []
        self.trials: list[tuple[str, int]] = []
        self.ended: list[tuple[str, str]] = []

    def cell_started(self, name: str, done: int, total: int) -> None:
        self.started.append(name)

    def search_started(self, name: str, trials: Any, total: int) -> None:
        self.searches.append((name, len(trials), total))

    def trial_ended(self, name: str, trial: Trial, total: int) -> None:
        self.trials.append((name, trial.number))

    def cell_ended(self, result: CellResult) -> None:
        self.ended.append((result.path.name, result.status))


def same(one: RunFolder, other: RunFolder) -> None:
    """The same trials, choice, rows, notes and predictions."""
    a, b = one.state(), other.state()
    assert (a.config, a.selection, a.rows, a.notes, a.status) == (b.config, b.selection, b.rows, b.notes, b.status)
    assert sorted(one.trials()) == sorted(other.trials())
    for number, trial in one.trials().items():
        like = other.trials()[number]
        for name in ("params", "validation_rmse", "strategies", "train_rows", "train_sites", "status", "report"):
            assert getattr(trial, name) == getattr(like, name), (one.name, number, name)
    for selection in a.selection:
        left, right = (pl.read_parquet(run.predictions_file(selection)) for run in (one, other))
        assert left.equals(right, null_equal=True)
    models = [sorted(path.name for path in (run.path / "models").iterdir()) for run in (one, other)]
    assert models[0] == models[1] == sorted({f"{n:03d}" for n in a.selection.values()})


def test_local_gives_what_a_serial_run_gives(
    serial: list[CellResult], tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    heard = Heard()
    results = trained(tiny_store, scenario, tmp_path, LOCAL, listener=heard)
    assert [(r.target, r.model, r.status) for r in results] == [(r.target, r.model, r.status) for r in serial]
    for one, other in zip(serial, results, strict=True):
        same(RunFolder(one.path), RunFolder(other.path))
    assert sorted(heard.started) == sorted(r.path.name for r in results)
    assert len(heard.trials) == 14 and len(set(heard.trials)) == 14
    assert {total for _, _, total in heard.searches} == {1, 3}
    assert not list(tmp_path.rglob(".*"))  # no lock, token or temporary file stays

    # again: nothing to do; then one that has lost its predictions, with nothing left to search
    assert {r.status for r in trained(tiny_store, scenario, tmp_path, LOCAL)} == {"already complete"}
    lost = RunFolder(results[0].path)
    lost.predictions_file("max").unlink()
    again = trained(tiny_store, scenario, tmp_path, LOCAL, targets=["GPP"], models=["xgb"])
    assert [r.status for r in again] == ["complete"]
    same(RunFolder(serial[0].path), lost)


def test_a_search_begun_here_goes_on_there_and_the_other_way_round(
    serial: list[CellResult], tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    for name, first, then in (("a", None, LOCAL), ("b", LOCAL, None)):
        [result] = trained(tiny_store, scenario, tmp_path / name, first, targets=["GPP"], models=["xgb"])
        folder = RunFolder(result.path)
        (folder.path / "trials" / "002.json").unlink()
        folder.write_state(folder.state().model_copy(update={"status": "running"}))
        trained(tiny_store, scenario, tmp_path / name, then, targets=["GPP"], models=["xgb"])
        same(RunFolder(serial[0].path), folder)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler that somebody else runs."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0
    ) as cluster:
        yield cluster.scheduler_address


def test_a_scheduler_that_runs(
    serial: list[CellResult], tiny_store: Store, scenario: Scenario, tmp_path: Path, scheduler: str
) -> None:
    results = trained(tiny_store, scenario, tmp_path, ClusterOptions(scheduler), targets=["NEE"])
    for one, other in zip(serial[3:], results, strict=True):
        same(RunFolder(one.path), RunFolder(other.path))


def test_models_of_windows_and_models_from_files(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    """A worker finds the file by its path, and reads the hours that such a model wants."""
    text = f"{Path(__file__).parent / 'toy_models.py'}:SMOOTHED"
    given = {"models": ["lr", text], "targets": ["GPP"]}
    one = trained(tiny_store, scenario, tmp_path / "serial", None, **given)
    other = trained(tiny_store, scenario, tmp_path / "cluster", LOCAL, **given)
    for a, b in zip(one, other, strict=True):
        same(RunFolder(a.path), RunFolder(b.path))


def test_no_test_row_is_read_before_a_search_has_ended(scenario: Scenario, tmp_path: Path) -> None:
    """The files of the test towers are away: every search ends all the same."""
    store = write_tiny_store(tmp_path / "store")
    for site in scenario.test:
        for file in (store.path / "sites").glob(f"{site}*"):
            file.unlink()
    results = trained(store, scenario, tmp_path / "runs", LOCAL, targets=["GPP"], models=["lr", "ridge"])
    assert [r.status for r in results] == ["failed", "failed"]
    assert all(any(site in str(r.error) for site in scenario.test) for r in results)
    assert [len(RunFolder(r.path).trials()) for r in results] == [1, 3]
    assert {trial.status for r in results for trial in RunFolder(r.path).trials().values()} == {"ok"}


def test_what_goes_over_the_wire_is_small(tiny_store: Store, scenario: Scenario) -> None:
    """Paths and parameters, never arrays."""
    import pickle

    from fluxtrapolation.models import model_spec
    from fluxtrapolation.runs.cells import Cell

    cell = Cell(tiny_store, scenario, "GPP", model_spec("xgb"), Path("runs"), TrainOptions())
    place = Place(str(tiny_store.path), "runs/x", cell.config, False, False, 1)
    assert len(pickle.dumps(place)) < 5000


def test_workers_that_do_not_see_the_files_are_found_out(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker looks for a file that this process has not made.
    def untouched(self: Path) -> None:
        pass

    monkeypatch.setattr(Path, "touch", untouched)
    with pytest.raises(RunError, match=rf"The worker tcp://.* does not see .*{tmp_path.name}.*shared file system"):
        trained(tiny_store, scenario, tmp_path / "runs", ClusterOptions(scheduler), targets=["GPP"])
    assert not list((tmp_path / "runs").glob("*/run.json"))


def test_a_store_that_differs_there_fails_the_run(scenario: Scenario, tmp_path: Path, scheduler: str) -> None:
    opened = write_tiny_store(tmp_path / "store")
    assert opened.data_hash
    shutil.rmtree(opened.path)
    write_tiny_store(tmp_path / "store", hours=24 * 380)
    [result] = trained(opened, scenario, tmp_path / "r", ClusterOptions(scheduler), targets=["GPP"], models=["lr"])
    assert "finds another store" in str(result.error)


def test_nobody_answers(tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxtrapolation.runs.cluster._ANSWER_S", 1)
    with pytest.raises(RunError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        trained(tiny_store, scenario, tmp_path, ClusterOptions("tcp://127.0.0.1:9"))


def test_too_few_workers(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxtrapolation.runs.cluster._WAIT_FOR_WORKERS_S", 0.5)
    with pytest.raises(RunError, match=r"has 2 workers after .* 5 are wanted. Start some: dask worker tcp://"):
        trained(tiny_store, scenario, tmp_path, ClusterOptions(scheduler, 5))


def test_no_cluster_of_that_name() -> None:
    with pytest.raises(RunError, match="--cluster pbs is no cluster"):
        ClusterOptions("pbs")


def test_slurm_without_its_library(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    pytest.importorskip
    try:
        import dask_jobqueue  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(RunError, match="needs dask-jobqueue"):
            trained(tiny_store, scenario, tmp_path, ClusterOptions("slurm"))
    else:
        pytest.skip("dask-jobqueue is installed")


DYING = '''
import os
import signal
from pathlib import Path
from fluxtrapolation.models.linear import Ridge
from fluxtrapolation.models import ModelSpec

class Dying(Ridge):
    """Ridge that is killed in the middle of its second configuration, so many times."""

    name = "dying"

    def _fit(self, X, y, **more):
        place = Path({place!r})
        marks = sorted(place.glob("mark-*"))
        if {low} < self.alpha < {high} and len(marks) < {times}:
            (place / f"mark-{{len(marks)}}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super()._fit(X, y, **more)

SPEC = ModelSpec(
    name="dying",
    summary="dies",
    factory=lambda: Dying,
    source="tests",
    space=lambda trial: {{"alpha": trial.suggest_float("alpha", 1e-3, 1e2, log=True)}},
)
'''


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
@pytest.mark.parametrize(("times", "fate"), [(1, "ok"), (99, "failed")])
def test_a_worker_that_dies_costs_its_trial_alone(
    serial: list[CellResult], tiny_store: Store, scenario: Scenario, tmp_path: Path, times: int, fate: str
) -> None:
    """A plug-in, in its own process, so that the workers find it too."""
    ridge = RunFolder(serial[2].path)
    alpha = ridge.trials()[1].params["alpha"]
    plug_in, marks = tmp_path / "site", tmp_path / "marks"
    marks.mkdir()
    (plug_in / "dying-1.0.dist-info").mkdir(parents=True)
    code = DYING.format(place=str(marks), low=alpha * 0.999, high=alpha * 1.001, times=times)
    (plug_in / "dying_model.py").write_text(code)
    (plug_in / "dying-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: dying\nVersion: 1.0\n")
    entry = "[fluxtrapolation.models]\ndying = dying_model:SPEC\n"
    (plug_in / "dying-1.0.dist-info" / "entry_points.txt").write_text(entry)
    scenario.write(tmp_path / "draw.yaml")
    words = [
        *("train", "--store", tiny_store.path, "--scenario", tmp_path / "draw.yaml", "--target", "GPP"),
        *("--model", "dying", "--profile", "quick", "--configurations", 3, "--max-rows", 2000, "--jobs", 1),
        *("--cluster", "local", "--workers", 2, "--out", tmp_path / "runs", "--json"),
    ]
    path = os.pathsep.join([str(plug_in), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "fluxtrapolation.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    folder = RunFolder(tmp_path / "runs" / "draw_GPP_dying")
    trials = folder.trials()
    assert [trials[n].status for n in range(3)] == ["ok", fate, "ok"]
    assert not list(folder.path.rglob(".*"))
    assert len(list(marks.iterdir())) == min(times, 2)  # tried, and tried once more
    expected = ridge.trials()
    for number, trial in trials.items():
        assert trial.params == expected[number].params
        if trial.status == "ok":
            assert trial.validation_rmse == expected[number].validation_rmse
    [run] = json.loads(done.stdout)["runs"]
    assert run["status"] == "complete" and run["failed_configurations"] == (fate == "failed")
    if fate == "failed":
        assert "the worker died each time it was tried" in str(trials[1].error)
        assert any("configuration 2 failed: the worker died" in note for note in folder.state().notes)
        assert "configuration 2: the worker died each time" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
@pytest.mark.parametrize(("how", "whom"), [(signal.SIGINT, "one"), (signal.SIGINT, "group"), (signal.SIGKILL, "one")])
def test_stopped_in_the_middle_it_leaves_no_worker_and_goes_on(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, how: signal.Signals, whom: str
) -> None:
    import psutil

    scenario.write(tmp_path / "draw.yaml")
    words = [
        *("train", "--store", tiny_store.path, "--scenario", tmp_path / "draw.yaml", "--target", "GPP"),
        *("--model", "xgb", "--profile", "quick", "--configurations", 300, "--max-rows", 15_000, "--jobs", 1),
        *("--cluster", "local", "--workers", 2, "--max-time", 600, "--out", tmp_path / "runs"),
    ]
    folder = RunFolder(tmp_path / "runs" / "draw_GPP_xgb")
    process = subprocess.Popen(
        [sys.executable, "-m", "fluxtrapolation.cli.main", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    family: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 120
        while len(list((folder.path / "trials").glob("*.json"))) < 4:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        if whom == "group":
            os.killpg(process.pid, how)  # as Ctrl-C in a terminal: the workers get it too
        else:
            process.send_signal(how)
        told = process.communicate(timeout=60)[1]
        assert psutil.wait_procs(family, timeout=60)[1] == []
    finally:
        for one in [process, *family]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    n = len(folder.trials())
    assert 4 <= n < 300
    assert folder.state().status == "running"
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted; what is finished is kept" in told and "Traceback" not in told
        assert not (folder.path / ".lock").exists()
    # on with it, here: what was finished is not repeated
    before = {file: file.read_bytes() for file in (folder.path / "trials").glob("[0-9]*.json")}
    state = folder.state()
    few = state.config.model_copy(update={"n_configurations": n + 1})
    folder.write_state(state.model_copy(update={"config": few, "config_hash": few.sha256}))
    more = {"targets": ["GPP"], "models": ["xgb"], "n_configurations": n + 1, "max_rows": 15_000, "max_time": 600.0}
    [result] = trained(tiny_store, scenario, tmp_path / "runs", None, **more)
    assert result.status == "complete"
    for file, content in before.items():
        assert file.read_bytes() == content
    assert not list(folder.path.rglob("*.tmp"))


def test_what_cannot_be_read_fails_its_runs_and_no_more(tmp_path: Path, scenario: Scenario) -> None:
    """A train tower whose file is gone: every run that needs it says so."""
    store = write_tiny_store(tmp_path / "store")
    gone = scenario.validation[0]
    for file in (store.path / "sites").glob(f"{gone}*"):
        file.unlink()
    results = trained(store, scenario, tmp_path / "runs", LOCAL, targets=["GPP"], models=["lr", "ridge"])
    assert [r.status for r in results] == ["failed", "failed"]
    assert all(gone in str(r.error) for r in results)
    assert not list(tmp_path.rglob(".lock"))


def test_time_is_up_for_all_workers(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    more = {"targets": ["GPP"], "models": ["ridge"], "n_configurations": 2000, "max_time": 1.0}
    [result] = trained(tiny_store, scenario, tmp_path, LOCAL, **more)
    assert result.status == "complete"
    assert 1 <= len(RunFolder(result.path).trials()) < 2000
    assert any("time was up" in note for note in RunFolder(result.path).state().notes)


def test_tpe_side_by_side(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    more = {"targets": ["GPP"], "models": ["ridge"], "profile": "tpe", "n_configurations": 14}
    [result] = trained(tiny_store, scenario, tmp_path, LOCAL, **more)
    trials = RunFolder(result.path).trials()
    assert sorted(trials) == list(range(14))
    assert len({trial.params["alpha"] for trial in trials.values()}) == 14

"""Training that is killed goes on; and nobody else works on its run meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from fluxtrapolation.data.store import Store
from fluxtrapolation.runs import RunFolder
from fluxtrapolation.scenarios import DesignOptions, Scenario, design

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9, and no such lock")

N = 6


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))


def command(store: Store, scenario: Scenario, place: Path, profile: str = "quick") -> list[str]:
    file = place / "draw.yaml"
    if not file.exists():
        scenario.write(file)
    words = [
        *("train", "--store", store.path, "--scenario", file, "--target", "GPP", "--model", "xgb"),
        *("--profile", profile, "--configurations", N, "--max-rows", 20_000, "--jobs", 1, "--out", place / "runs"),
    ]
    return [sys.executable, "-m", "fluxtrapolation.cli.main", *map(str, words)]


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_after(words: list[str], folder: Path, trials: int, seconds: float) -> bool:
    """Start training; kill -9 it some time after so many trials are on record. False if it ended before."""
    process = start(words)
    try:
        deadline = time.monotonic() + 120
        while len(list((folder / "trials").glob("*.json"))) < trials and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(seconds)
        if process.poll() is not None:
            return False
        os.kill(process.pid, signal.SIGKILL)
        return True
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["quick", "tpe"])
def test_kill_9_at_any_time_loses_at_most_the_running_trial(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, profile: str
) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole, cut = (command(tiny_store, scenario, tmp_path / name, profile) for name in ("whole", "cut"))
    done = subprocess.run(whole, capture_output=True, text=True, check=True)
    assert "complete" in done.stderr
    folder = tmp_path / "cut" / "runs" / "draw_GPP_xgb"
    kills = 0
    records: dict[str, bytes] = {}
    for trials, seconds in ((0, 0.5), (1, 0.0), (2, 0.05), (3, 0.15), (5, 0.02)):
        kills += kill_after(cut, folder, trials, seconds)
        for name, content in records.items():
            assert (folder / "trials" / name).read_bytes() == content, "a finished trial was repeated"
        records = {file.name: file.read_bytes() for file in (folder / "trials").glob("[0-9]*.json")}
    assert kills >= 3
    again = subprocess.run(cut, capture_output=True, text=True, check=True)
    assert "draw_GPP_xgb: complete" in again.stderr
    for name, content in records.items():
        assert (folder / "trials" / name).read_bytes() == content
    one, other = RunFolder(tmp_path / "whole" / "runs" / "draw_GPP_xgb"), RunFolder(folder)
    for number, trial in one.trials().items():
        assert (trial.params, trial.validation_rmse) == (
            other.trials()[number].params,
            other.trials()[number].validation_rmse,
        )
    for selection in ("mean", "max", "discrepancy"):
        a, b = (pl.read_parquet(run.predictions_file(selection)) for run in (one, other))
        assert a.equals(b, null_equal=True)
    left = [path.name for path in folder.rglob("*.tmp")] + [path.name for path in folder.glob(".lock")]
    assert left == []


@pytest.mark.slow
def test_the_second_of_two_processes_is_refused_and_told_why(
    tiny_store: Store, scenario: Scenario, tmp_path: Path
) -> None:
    words = command(tiny_store, scenario, tmp_path)
    folder = tmp_path / "runs" / "draw_GPP_xgb"
    first = start(words)
    try:
        deadline = time.monotonic() + 120
        while not list((folder / "trials").glob("*.json")):
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGSTOP)  # it stays in the middle
        before = {path: path.read_bytes() for path in folder.rglob("*.json")}
        second = subprocess.run([*words, "--json"], capture_output=True, text=True)
        assert second.returncode == 2
        assert "error: Another process is working on the run" in second.stderr and str(folder) in second.stderr
        assert second.stdout == ""
        overwrite = subprocess.run([*words, "--overwrite"], capture_output=True, text=True)
        assert overwrite.returncode == 2 and "Another process" in overwrite.stderr
        assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before
        os.kill(first.pid, signal.SIGKILL)  # nobody takes the lock file away
    finally:
        first.kill()
        first.communicate()
    assert (folder / ".lock").is_file()
    third = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(third.stdout)["runs"][0]["status"] == "complete"
    assert not (folder / ".lock").exists()


def test_a_run_taken_between_the_check_and_the_start_fails_alone(
    tiny_store: Store, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fluxtrapolation.runs import TrainOptions, train

    def unchecked(self: RunFolder) -> None:
        pass

    monkeypatch.setattr(RunFolder, "refuse_if_busy", unchecked)
    taken = RunFolder(tmp_path / "draw_GPP_lr")
    with taken.locked():
        results = train(
            tiny_store,
            scenarios=[scenario],
            targets=["GPP"],
            models=["lr", "constant"],
            out=tmp_path,
            options=TrainOptions(profile="quick", max_rows=1000, jobs=1),
        )
        assert sorted(path.name for path in taken.path.iterdir()) == [".lock"]
    assert [result.status for result in results] == ["failed", "complete"]
    assert "Another process" in str(results[0].error)


def test_half_written_files_of_a_killed_process_go(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    from fluxtrapolation.runs import TrainOptions, train

    folder = RunFolder(tmp_path / "draw_GPP_lr")
    (folder.path / "models" / ".000.123.tmp" / "deep").mkdir(parents=True)
    (folder.path / "models" / ".000.123.tmp" / "deep" / "model.json").write_text("{")
    (folder.path / ".predictions-mean.parquet.123.tmp").write_text("{")
    options = TrainOptions(profile="quick", max_rows=1000, jobs=1)
    train(tiny_store, scenarios=[scenario], targets=["GPP"], models=["lr"], out=tmp_path, options=options)
    assert folder.state().status == "complete"
    assert [str(path) for path in folder.path.rglob("*.tmp")] == []


def test_overwriting_keeps_the_lock(tiny_store: Store, scenario: Scenario, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        (folder.path / "models" / "000").mkdir(parents=True)
        (folder.path / "run.json").write_text("{}")
        folder._empty()
        assert [path.name for path in folder.path.iterdir()] == [".lock"]
    assert list(folder.path.iterdir()) == []

"""What training tells on the way: lines in a log, bars that stay in place on a terminal, failures at the end."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from fluxtrapolation.cli import training
from fluxtrapolation.cli.console import _Console
from fluxtrapolation.cli.main import run as command
from fluxtrapolation.cli.training import TrainProgress, duration, tell_failures
from fluxtrapolation.data.store import Store
from fluxtrapolation.models.linear import Ridge
from fluxtrapolation.runs import CellResult, RunFolder, Trial
from fluxtrapolation.scenarios import DesignOptions, design


@pytest.fixture
def words(tiny_store: Store, tmp_path: Path) -> list[str]:
    file = tmp_path / "draw.yaml"
    design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2)).write(file)
    return [
        *("train", "--store", str(tiny_store.path), "--scenario", str(file), "--target", "GPP", "--max-rows", "2000"),
        *("--profile", "quick", "--configurations", "3", "--jobs", "1", "--out", str(tmp_path / "runs")),
    ]


def trial(number: int, value: float | None = 1.0, *, rows: int = 1000, seconds: float = 2.0) -> Trial:
    return Trial(
        number=number,
        params={},
        status="ok" if value is not None else "failed",
        error=None if value is not None else "ValueError: no",
        fit_seconds=seconds,
        train_rows=rows,
        strategies={} if value is None else {"mean": value, "max": value + 1, "discrepancy": 1.0},
    )


def test_lines_in_a_log(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert command([*words, "--model", "ridge,lr"]) == 0
    told = capfd.readouterr().err.splitlines()
    assert told[0] == "[1/2] draw_GPP_ridge"
    for number in (1, 2, 3):
        assert re.match(
            rf"  configuration {number}/3: validation RMSE mean [\d.]+, max [\d.]+, discrepancy [\d.e-]+; "
            r"2,000 rows in [\d.]+ s \([\d,]+ rows/s\)" + (r"; about \d+ s left" if number < 3 else r"$"),
            told[number],
        )
    assert told[4] == "[2/2] draw_GPP_lr"
    best = min(float(line.split("RMSE mean ")[1].split(",")[0]) for line in told[1:4])
    ended = next(line for line in told if line.startswith("  draw_GPP_ridge: complete in "))
    assert f"best validation RMSE mean {best:.4g}, " in ended


def test_what_is_on_record_is_told(words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command([*words, "--model", "ridge"]) == 0
    folder = RunFolder(tmp_path / "runs" / "draw_GPP_ridge")
    number = next(n for n in range(3) if n not in folder.state().selection.values())
    (folder.path / "trials" / f"{number:03d}.json").unlink()
    folder.write_state(folder.state().model_copy(update={"status": "running"}))
    capfd.readouterr()
    assert command([*words, "--model", "ridge"]) == 0
    told = capfd.readouterr().err
    assert "  2 of 3 configurations are on record already\n" in told
    assert told.count("validation RMSE mean") == 2  # the one trial, and the best at the end


def test_failures_at_the_end(
    words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, calls = Ridge._fit, []

    def failing(self: Ridge, *arguments: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("too big")
        fit(self, *arguments, **more)

    monkeypatch.setattr(Ridge, "_fit", failing)
    assert command([*words, "--model", "ridge"]) == 0
    told = capfd.readouterr().err
    assert "  configuration 2/3 failed: MemoryError: too big\n" in told
    assert told.endswith(
        "1 configuration failed in runs that went on:\n  draw_GPP_ridge, configuration 2: MemoryError: too big\n"
    )


def test_runs_that_failed_are_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    results = [
        CellResult("s", "GPP", "a", Path("runs/s_GPP_a"), "failed", 1.0, "The configuration failed"),
        CellResult("s", "GPP", "b", Path("runs/s_GPP_b"), "complete", 1.0),
    ]
    tell_failures(results, [("s_GPP_a", trial(0, None)), ("s_GPP_b", trial(1, None))])
    assert capfd.readouterr().err.splitlines() == [
        "1 of 2 runs failed:",
        "  s_GPP_a: The configuration failed",
        "1 configuration failed in runs that went on:",
        "  s_GPP_b, configuration 2: ValueError: no",
    ]
    tell_failures([results[1]], [])
    assert capfd.readouterr().err == ""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal 160 columns wide that keeps all that was written to it."""
    written = io.StringIO()
    console = _Console(file=written, force_terminal=True, width=160, highlight=False)
    monkeypatch.setattr(training, "err", console)
    return written


def test_bars_on_a_terminal(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "say", lambda text: None)  # noqa: ARG005
    with TrainProgress() as progress:
        progress.cell_started("draw_GPP_xgb", 0, 2)
        progress.search_started("draw_GPP_xgb", [trial(0, 3.0)], 4)
        progress.trial_ended("draw_GPP_xgb", trial(1, 2.5), 4)
        progress._bars.refresh()
        progress.trial_ended("draw_GPP_xgb", trial(2, None), 4)
        progress._bars.refresh()
        progress.cell_ended(CellResult("draw", "GPP", "xgb", Path("draw_GPP_xgb"), "complete", 3.0))
        progress._bars.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert re.search(r"draw_GPP_xgb .*2/4 best mean 2\.5, max 3\.5, discrepancy 1; 500 rows/s; about 1 s left", shown)
    assert re.search(r"draw_GPP_xgb .*3/4 best mean 2\.5", shown)
    assert re.search(r"runs .*1/2 about \d+ s left", shown)


def test_a_search_that_time_cut_short_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    progress = TrainProgress()
    for name, ended in (("a", 1), ("b", 2)):
        progress.cell_started(name, 0, 2)
        progress.search_started(name, [], 2)
        for number in range(ended):
            progress.trial_ended(name, trial(number), 2)
        progress.cell_ended(CellResult("draw", "GPP", name, Path(name), "complete", 3.0))
    told = [line for line in capfd.readouterr().err.splitlines() if ": complete in" in line]
    assert told[0].endswith("discrepancy 1; time was up after 1 of 2 configurations")
    assert told[1].endswith("discrepancy 1")


def test_no_bars_in_a_log(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert command([*words, "--model", "ridge"]) == 0
    told = capfd.readouterr().err
    assert "\x1b" not in told and "━" not in told


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (119, "119 s"), (600, "10 min"), (36_000, "10.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--workers", "2"], "--workers goes with --cluster"),
        (["--cluster", "pbs"], "--cluster pbs is no cluster. Say local, slurm, or the address"),
        (["--max-time", "0"], "time for a search must be a positive number of seconds"),
        (["--profile", "slow"], "Invalid value for '--profile'"),
    ],
)
def test_bad_options(words: list[str], capfd: pytest.CaptureFixture[str], more: list[str], says: str) -> None:
    assert command([*words, "--model", "lr", *more]) == 2
    assert says in capfd.readouterr().err


def test_json_has_nothing_beside_it(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    import json

    assert command([*words, "--model", "lr", "--max-time", "60", "--json"]) == 0
    [run] = json.loads(capfd.readouterr().out)["runs"]
    assert (run["status"], run["failed_configurations"]) == ("complete", 0)

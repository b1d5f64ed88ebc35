"""What ``train`` and ``sweep`` share: options of execution, live progress, the table of failures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import err, say

if TYPE_CHECKING:
    from fluxtrapolation.runs import CellResult, ClusterOptions, Trial

JobsOption = Annotated[
    int, typer.Option("--jobs", min=0, help="Threads of a fit; 0 means all cores (of a cluster: cores / workers).")
]
ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", help="Try configurations side by side through Dask: local, tcp://HOST:PORT or slurm."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Workers of the cluster, each with one configuration at a time.")
]


def chosen_cluster(address: str | None, workers: int | None) -> ClusterOptions | None:
    """The cluster asked for, if any."""
    from fluxtrapolation.errors import RunError
    from fluxtrapolation.runs import ClusterOptions

    if address is None:
        if workers is not None:
            raise RunError("--workers goes with --cluster, such as --cluster local --workers 4.")
        return None
    return ClusterOptions(address, workers)


def tell_failures(results: Sequence[CellResult], trials: Sequence[tuple[str, Trial]]) -> None:
    """On standard error: runs that failed with their reasons, and the configurations that failed in others."""
    failed = [result for result in results if result.error]
    if failed:
        say(f"{len(failed)} of {len(results)} runs failed:")
        for result in failed:
            say(f"  {result.label}: {result.error}")
    lost = {result.label for result in failed}
    others = [(name, trial) for name, trial in trials if name not in lost]
    if others:
        count = "1 configuration" if len(others) == 1 else f"{len(others)} configurations"
        say(f"{count} failed in runs that went on:")
        for name, trial in others:
            say(f"  {name}, configuration {trial.number + 1}: {trial.error}")


class _Cell:
    """What is known of a run under way."""

    def __init__(self, kept: Sequence[Trial], total: int) -> None:
        self.done, self.total = len(kept), total
        self.best: dict[str, float] = {}
        self.tried = 0
        self._begin = time.monotonic()
        for trial in kept:
            self.judge(trial)

    def left(self) -> float:
        """Seconds for the configurations that are left, by the clock: several may be under way at once."""
        return (time.monotonic() - self._begin) / max(self.tried, 1) * (self.total - self.done)

    def judge(self, trial: Trial) -> None:
        for name, value in trial.strategies.items():
            self.best[name] = min(value, self.best.get(name, value))


class TrainProgress:
    """Tells how training goes on: a line per configuration and run; on a terminal also two bars that stay in place.

    The bars count runs and configurations and show the best validation RMSE by strategy, train rows per second and the
    time left, reckoned from what the configurations so far took.
    """

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.failed: list[tuple[str, Trial]] = []
        self._begin = time.monotonic()
        self._cells: dict[str, _Cell] = {}
        self._runs = (0, 0)
        self._named = ""
        self._fresh = 0  # runs that were not complete before
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            console=err,
            transient=True,
        )
        self._runs_bar = self._bars.add_task("runs", total=None, facts="")
        self._trials_bar: Any = None

    def __enter__(self) -> TrainProgress:
        if err.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._bars.stop()

    def cell_started(self, name: str, done: int, total: int) -> None:
        self._runs = (done, total)
        self._named = name  # the lines that follow are of this run, unless they say otherwise
        left = self._left_of_runs()
        say(f"[{done + 1}/{total}] {name}" + (f", about {duration(left)} left" if left is not None else ""))
        self._show_runs()

    def search_started(self, name: str, trials: Sequence[Trial], total: int) -> None:
        cell = self._cells[name] = _Cell(trials, total)
        if trials:
            say(f"  {len(trials)} of {total} configurations are on record already")
        if err.is_terminal:
            self._show_trials(name, cell, None)

    def trial_ended(self, name: str, trial: Trial, total: int) -> None:
        cell = self._cells.setdefault(name, _Cell((), total))
        cell.done += 1
        cell.tried += 1
        cell.judge(trial)
        which = f"  {name + ': ' if name != self._named else ''}configuration {trial.number + 1}/{total}"
        if trial.status == "failed":
            self.failed.append((name, trial))
            say(f"{which} failed: {trial.error}")
        else:
            scores = ", ".join(f"{key} {value:.4g}" for key, value in trial.strategies.items())
            say(
                f"{which}: validation RMSE {scores}; {trial.train_rows:,} rows in {trial.fit_seconds:.1f} s "
                f"({_speed(trial)})" + (f"; about {duration(cell.left())} left" if cell.done < cell.total else "")
            )
        if err.is_terminal:
            self._show_trials(name, cell, trial)

    def cell_ended(self, result: CellResult) -> None:
        name = result.label
        cell = self._cells.pop(name, None)
        self._runs = (self._runs[0] + 1, self._runs[1])
        self._fresh += cell is not None
        best = (
            f"; best validation RMSE {', '.join(f'{key} {value:.4g}' for key, value in cell.best.items())}"
            if cell is not None and cell.best and result.error is None
            else ""
        )
        # Only time cuts a search short that otherwise went well.
        short = cell is not None and result.error is None and cell.done < cell.total
        cut = f"; time was up after {cell.done} of {cell.total} configurations" if cell is not None and short else ""
        say(f"  {name}: {result.status}" + (f" in {result.seconds:.1f} s" if result.seconds else "") + best + cut)
        self._show_runs()

    def _left_of_runs(self) -> float | None:
        done, total = self._runs
        return (time.monotonic() - self._begin) / self._fresh * (total - done) if self._fresh else None

    def _show_runs(self) -> None:
        if not err.is_terminal:
            return
        done, total = self._runs
        left = self._left_of_runs()
        facts = f"about {duration(left)} left" if left is not None else ""
        self._bars.update(self._runs_bar, completed=done, total=max(total, done), facts=facts)

    def _show_trials(self, name: str, cell: _Cell, trial: Trial | None) -> None:
        if self._trials_bar is None:
            self._trials_bar = self._bars.add_task(name, total=cell.total, facts="")
        facts = [f"best {', '.join(f'{key} {value:.4g}' for key, value in cell.best.items())}"] if cell.best else []
        if trial is not None and trial.status == "ok":
            facts.append(_speed(trial))
        if cell.tried and cell.done < cell.total:
            facts.append(f"about {duration(cell.left())} left")
        self._bars.update(
            self._trials_bar, description=name, completed=cell.done, total=cell.total, facts="; ".join(facts)
        )


def _speed(trial: Trial) -> str:
    return f"{trial.train_rows / max(trial.fit_seconds, 1e-9):,.0f} rows/s"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""The search of one run: what is tried next, what is on record, which models are kept, and when time is up."""

from __future__ import annotations

import shutil
import time

from fluxtrapolation.models import ModelSpec
from fluxtrapolation.runs.folder import RunConfig, RunFolder, Trial
from fluxtrapolation.runs.proposals import Proposal, profile_of, proposals
from fluxtrapolation.runs.trial import TrialTask, best_trials


class Search:
    """Tries every configuration that has no record yet; keeps the models that are best so far.

    Whoever runs the trials asks for the next with :meth:`next_task` and hands back what came of it with
    :meth:`record`; several may be under way at once. Each trial is a record on disk the moment it ends, after its
    model; so a killed search loses only what was running.

    Parameters
    ----------
    folder : RunFolder
    spec : ModelSpec
    config : RunConfig
    jobs : int
        Threads of a fit; 0 means all.
    at_once : int
        How many trials run at a time: by it the time spent before an interruption is divided.
    """

    def __init__(self, folder: RunFolder, spec: ModelSpec, config: RunConfig, *, jobs: int, at_once: int = 1) -> None:
        self._folder, self._config, self._jobs = folder, config, jobs
        self._proposals = proposals(profile_of(config.profile), spec, config.n_configurations, seed=config.seed)
        self.trials = folder.trials()
        self._todo = [n for n in range(len(self._proposals)) if n not in self.trials or not self._usable(n)]
        self.kept = [trial for number, trial in self.trials.items() if number not in self._todo]
        self._running: dict[int, Proposal] = {}
        self._spent = sum(trial.seconds for trial in self.kept) / at_once
        self._begin: float | None = None
        self.out_of_time = False

    @property
    def total(self) -> int:
        return len(self._proposals)

    @property
    def is_done(self) -> bool:
        return not self._running and (not self._todo or self.out_of_time)

    def next_task(self) -> TrialTask | None:
        """The next trial, from now on counted as running; None if there is none (for lack of time, or at all)."""
        if not self._todo:
            return None
        left = self._time_left()
        if self._todo[0] in self.trials and self.trials[self._todo[0]].status == "ok":
            left = None  # a chosen model that is gone: without it there is no result
        if left is not None and left <= 0:
            self.out_of_time = True
            return None
        number = self._todo.pop(0)
        proposal = self._proposals.propose(number, self.trials, self._running)
        self._running[number] = proposal
        limits = [limit for limit in (self._config.time_limit, left) if limit is not None]
        return TrialTask(
            number=number,
            proposal=proposal,
            seed=self._config.seed,
            max_rows=self._config.max_rows,
            jobs=self._jobs,
            time_limit=min(limits, default=None),
        )

    def record(self, trial: Trial) -> None:
        """Write down a trial that has ended, and remove models that no strategy would choose any more."""
        self._running.pop(trial.number, None)
        self.trials[trial.number] = trial
        self._folder.write_trial(trial)
        self._drop_beaten()

    def best(self) -> dict[str, int]:
        """Number of the best trial by strategy; see :func:`best_trials`."""
        return best_trials(self.trials)

    def notes(self) -> list[str]:
        """What a reader of the run must know of its search."""
        tried = [trial for _, trial in sorted(self.trials.items())]
        notes = [f"configuration {trial.number} failed: {trial.error}" for trial in tried if trial.status == "failed"]
        if self.out_of_time:
            notes.append(
                f"time was up after {len(tried)} of {self.total} configurations "
                f"(--max-time {self._config.max_time:g} s)"
            )
        return notes

    def _time_left(self) -> float | None:
        """Seconds of the budget that are left; trials finished before an interruption count with their own seconds."""
        if self._config.max_time is None:
            return None
        if self._begin is None:
            self._begin = time.monotonic()
        return self._config.max_time - self._spent - (time.monotonic() - self._begin)

    def _usable(self, number: int) -> bool:
        """A finished trial need not be repeated, unless it failed or is a best one whose model is gone."""
        if self.trials[number].status == "failed":
            return False
        if number not in best_trials(self.trials).values():
            return True
        return (self._folder.model_folder(number) / "model.json").is_file()

    def _drop_beaten(self) -> None:
        if not any(trial.status == "ok" for trial in self.trials.values()):
            return
        chosen = set(best_trials(self.trials).values())
        for number in self.trials:
            if number not in chosen:
                shutil.rmtree(self._folder.model_folder(number), ignore_errors=True)

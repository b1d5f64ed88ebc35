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
        todo = [n for n in range(len(self._proposals)) if n not in self.trials or not self._usable(n)]
        # First the chosen models that are gone: they are repeated even when time is up.
        self._todo = sorted(todo, key=lambda n: (n not in self.trials, n))
        self.kept = [trial for number, trial in self.trials.items() if number not in self._todo]
        self._running: dict[int, Proposal] = {}
        self._spent = sum(trial.seconds for trial in self.kept) / at_once
        self._begin: float | None = None
        self.out_of_time = False

    @property
    def total(self) -> int:
        return len(self._proposals)

    @property
    def spent(self) -> float:
        """Seconds that the trials took which were on record at the start; those of an interrupted one are lost."""
        return self._spent

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
        chosen = set(best_trials(self.trials).values()) if self._any_good() else set()
        gone = [number for number in sorted(chosen) if not self._has_model(number)]
        if gone:
            # A repeated trial came out worse (a time limit), and the one that is best now was dropped long ago.
            self._todo = [*(number for number in gone if number not in {*self._todo, *self._running}), *self._todo]
        else:
            self._drop(set(self.trials) - chosen)

    def best(self) -> dict[str, int]:
        """Number of the best trial by strategy; see :func:`best_trials`."""
        return best_trials(self.trials)

    def notes(self) -> list[str]:
        """What a reader of the run must know of its search."""
        tried = [trial for _, trial in sorted(self.trials.items())]
        # Counted from 1, as on the way.
        notes = [f"configuration {one.number + 1} failed: {one.error}" for one in tried if one.status == "failed"]
        cut = [str(trial.number + 1) for trial in tried if trial.report.get("stopped") == "time_limit"]
        if cut:
            notes.append(f"a time limit ended the fit of {len(cut)} of {len(tried)} configurations: {', '.join(cut)}")
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
        return self._has_model(number)

    def _any_good(self) -> bool:
        return any(trial.status == "ok" for trial in self.trials.values())

    def _has_model(self, number: int) -> bool:
        return (self._folder.model_folder(number) / "model.json").is_file()

    def _drop(self, beaten: set[int]) -> None:
        for number in beaten:
            shutil.rmtree(self._folder.model_folder(number), ignore_errors=True)

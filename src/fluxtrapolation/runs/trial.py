"""One trial: a configuration is fitted on train rows and judged on the validation domains. No test row comes here."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError, RunError
from fluxtrapolation.files import as_os_error, plain_error
from fluxtrapolation.models import FluxModel, ModelSpec, SequenceModel
from fluxtrapolation.runs.folder import RunFolder, Trial
from fluxtrapolation.runs.memory import PeakMemory
from fluxtrapolation.runs.proposals import Proposal
from fluxtrapolation.scenarios import Part, Split
from fluxtrapolation.scenarios.part import compact
from fluxtrapolation.scenarios.windows import Windows
from fluxtrapolation.schema import SELECTIONS


@dataclass(frozen=True)
class TrialTask:
    """What one trial needs to know beside its rows."""

    number: int
    proposal: Proposal
    seed: int
    max_rows: int | None
    jobs: int
    time_limit: float | None


@dataclass(frozen=True)
class SearchFacts:
    """What the run folder says of the rows that a search saw."""

    train_available: int
    train_sites: int
    validation: int
    validation_domains: int
    notes: tuple[str, ...]


class SearchRows:
    """Train and validation rows of a scenario and target, shared by the trials of several models.

    The same rows for every model: in a split made for sequences, which holds all hours, those marked by ``mask``.
    """

    def __init__(self, split: Split, *, limits: Iterable[tuple[int | None, int]] | None = None) -> None:
        """Take a split's rows.

        Parameters
        ----------
        split : Split
        limits : iterable of (max_rows, seed), optional
            The only row limits that will be asked for: where all are real limits, the other train rows are let go.
        """
        self.train, self.validation = split.train, split.validation
        self._limited: dict[tuple[int, int], Part] = {}
        scored = self.validation.mask
        self._scored = scored
        codes = self.validation.domain_codes
        self.codes, self.domains = compact(codes if scored is None else codes[scored], self.validation.domains)
        self.y = self.validation.y if scored is None else self.validation.y[scored]
        counted = self.train.site_codes if self.train.mask is None else self.train.site_codes[self.train.mask]
        self.facts = SearchFacts(
            train_available=len(counted),
            train_sites=len(np.unique(counted)),
            validation=len(self.y),
            validation_domains=len(self.domains),
            notes=tuple(split_notes(split)),
        )
        wanted = list(limits) if limits is not None else [(None, 0)]
        if self.train.mask is None and all(max_rows is not None for max_rows, _ in wanted):
            self._limited = {(n, seed): self.train.subsample(n, seed=seed) for n, seed in wanted if n is not None}
            self.train = next(iter(self._limited.values()))

    def limited(self, max_rows: int | None, seed: int) -> Part:
        """The train rows of models that read rows, at most so many; the last draw is kept."""
        if max_rows is None:
            return self.train
        if (max_rows, seed) not in self._limited:
            self._limited = {(max_rows, seed): self.train.subsample(max_rows, seed=seed)}
        return self._limited[max_rows, seed]

    def judge(self, predicted: NDArray[Any]) -> dict[str, float]:
        """RMSE of each validation domain from predictions for every row of the validation part.

        Raises
        ------
        RunError
            If a domain's RMSE is not finite.
        """
        counted = predicted if self._scored is None else predicted[self._scored]
        rmse = domain_rmse(self.y, counted, self.codes, len(self.domains))
        if not np.isfinite(rmse).all():
            raise RunError(f"{int((~np.isfinite(rmse)).sum())} of {len(rmse)} validation domains have no finite RMSE")
        return dict(zip(self.domains, rmse.tolist(), strict=True))


def split_notes(split: Split) -> list[str]:
    """What the scenario lists and the store cannot give."""
    notes = [f"the store lacks {len(split.absent)} listed sites: {', '.join(split.absent)}"] if split.absent else []
    return notes + [
        f"{len(sites)} {part} towers have no usable hours: {', '.join(sites)}"
        for part, sites in split.without_rows.items()
        if sites
    ]


def domain_rmse(y: NDArray[Any], predicted: NDArray[Any], codes: NDArray[np.int32], n_domains: int) -> NDArray[Any]:
    """RMSE of each domain, shape (domains,), from one pass over the rows in float64."""
    error = predicted.astype(np.float64) - y
    square = np.bincount(codes, weights=error * error, minlength=n_domains)
    return np.asarray(np.sqrt(square / np.bincount(codes, minlength=n_domains)))


def strategies(rmse: NDArray[Any]) -> dict[str, float]:
    """The three validation summaries of BENCHMARK, section 3; lower is better in each."""
    return {"mean": float(rmse.mean()), "max": float(rmse.max()), "discrepancy": float(rmse.max() - rmse.min())}


def best_trials(trials: Mapping[int, Trial]) -> dict[str, int]:
    """The best trial of each strategy; the earliest of equals.

    Raises
    ------
    RunError
        If every configuration failed.
    """
    good = [trial for _, trial in sorted(trials.items()) if trial.status == "ok"]
    if not good:
        first = next(iter(trials.values())).error if trials else "none was tried"
        told = f"All {len(trials)} configurations failed; the first" if len(trials) > 1 else "The configuration failed"
        raise RunError(f"{told}: {first}")
    return {name: min(good, key=lambda trial: trial.strategies[name]).number for name in SELECTIONS}


def run_trial(folder: RunFolder, spec: ModelSpec, task: TrialTask, rows: SearchRows) -> Trial:
    """Fit and judge one configuration and keep its model; a failure of the model is a failed trial, not an error.

    Raises
    ------
    DataError
        If the model cannot be written, such as on a full disk: no fault of the configuration.
    """
    memory = PeakMemory()
    begin = time.perf_counter()
    drawn = task.proposal
    about: dict[str, Any] = {
        "number": task.number,
        "params": drawn.params,
        "asked": drawn.asked,
    }
    n_rows = 0
    try:
        model = spec.build(**drawn.params)
        if task.jobs and "n_jobs" in model.get_params():
            model.set_params(n_jobs=task.jobs)
        if isinstance(model, SequenceModel):
            windows = _windows(model, task, rows)
            n_rows, n_sites = int(windows.scored_rows().sum()), len(np.unique(windows.part.site_codes[windows.start]))
            model.fit(
                windows,
                eval_set=rows.validation if spec.needs.validation else None,
                seed=task.seed,
                time_limit=task.time_limit,
            )
        else:
            train = rows.limited(task.max_rows, task.seed)
            n_rows, n_sites = len(train), len(train.sites)
            _fit_rows(model, spec, task, train, rows.validation)
        fitted = time.perf_counter()
        given: Any = rows.validation if isinstance(model, SequenceModel) else rows.validation.X
        rmse = rows.judge(model.predict(given))
        ended = time.perf_counter()
        model.report_ = _plain(model.report_)
    except Exception as error:  # noqa: BLE001 (a failing configuration is recorded and told; the search goes on)
        return _failed(about, error, time.perf_counter() - begin, n_rows, memory)
    try:
        keep_model(model, folder, task.number)
    except DataError:
        raise  # a disk that cannot take the model is no fault of the configuration
    except Exception as error:  # noqa: BLE001 (a model of somebody else's may not know how to be saved)
        return _failed(about, error, time.perf_counter() - begin, n_rows, memory)
    used = _rows_used(model.report_, n_rows)
    return Trial(
        **about,
        status="ok",
        fit_seconds=fitted - begin,
        predict_seconds=ended - fitted,
        train_rows=used,
        rows_given=n_rows if used < n_rows else None,
        train_sites=n_sites,
        peak_memory_mb=memory.megabytes(),
        report=model.report_,
        notes=tuple(model.notes_),
        validation_rmse=rmse,
        strategies=strategies(np.asarray(list(rmse.values()))),
    )


def _rows_used(report: Mapping[str, Any], given: int) -> int:
    """The rows that the model took of those it was given, by its own report; all, where it does not say."""
    said = report.get("rows")
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 < said < given else given


def _failed(about: Mapping[str, Any], error: Exception, seconds: float, rows: int, memory: PeakMemory) -> Trial:
    return Trial(
        **about,
        status="failed",
        error=f"{type(error).__name__}: {error}",
        fit_seconds=seconds,
        train_rows=rows,
        peak_memory_mb=memory.megabytes(),
    )


def _windows(model: SequenceModel, task: TrialTask, rows: SearchRows) -> Windows:
    windows = model.windows(rows.train)
    if task.max_rows is None or len(windows) == 0:
        return windows  # without windows the model itself says why
    return windows.subsample(task.max_rows, seed=task.seed)


def _fit_rows(model: FluxModel, spec: ModelSpec, task: TrialTask, train: Part, validation: Part) -> None:
    model.fit(
        train.X,
        train.y,
        domains=train.domain_codes if spec.needs.domains else None,
        eval_set=validation if spec.needs.validation else None,
        feature_names=train.feature_names,
        seed=task.seed,
        time_limit=task.time_limit,
    )


def _plain(report: Mapping[str, Any]) -> dict[str, Any]:
    """A model's report as JSON holds it: numbers of numpy become Python's, what is no JSON becomes text."""

    def plain(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)

    found: dict[str, Any] = json.loads(json.dumps(dict(report), default=plain))
    return found


def keep_model(model: FluxModel, folder: RunFolder, number: int) -> None:
    """Save a model into the run folder, whole or not at all."""
    final = folder.model_folder(number)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        model.save(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    except Exception as error:
        shutil.rmtree(temporary, ignore_errors=True)
        known = as_os_error(error)
        if known is None:
            raise
        raise plain_error(known, final) from error

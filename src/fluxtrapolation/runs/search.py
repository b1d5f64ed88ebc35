"""Random search of configurations and selection by validation domains."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError, RunError
from fluxtrapolation.files import as_os_error, plain_error
from fluxtrapolation.models import FluxModel, ModelSpec
from fluxtrapolation.runs.folder import RunFolder, Trial
from fluxtrapolation.scenarios import Part
from fluxtrapolation.schema import SELECTIONS

TrialReport = Callable[[Trial, int], None]


@dataclass(frozen=True)
class Profile:
    """How much is tried: configurations and, for quick looks, a limit on train rows."""

    name: str
    n_configurations: int
    max_rows: int | None


PROFILES = {
    # Ten configurations on all rows: the published protocol (BENCHMARK, section 3).
    "paper": Profile("paper", 10, None),
    "quick": Profile("quick", 2, 300_000),
}


def configurations(spec: ModelSpec, n: int, *, seed: int) -> list[dict[str, Any]]:
    """Draw ``n`` configurations from a model's search space; one, empty, for a model without hyper-parameters.

    The draw is optuna's RandomSampler with the given seed, so the first k of n do not depend on n.
    """
    if spec.space is None:
        return [{}]
    try:
        import optuna
    except ModuleNotFoundError:
        raise ModelError(
            f"Searching configurations of {spec.name} needs optuna: pip install 'fluxtrapolation[models]'."
        ) from None

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [spec.space(study.ask()) for _ in range(n)]


def domain_rmse(y: NDArray[Any], predicted: NDArray[Any], codes: NDArray[np.int32], n_domains: int) -> NDArray[Any]:
    """RMSE of each domain, shape (domains,), from one pass over the rows in float64."""
    error = predicted.astype(np.float64) - y
    square = np.bincount(codes, weights=error * error, minlength=n_domains)
    return np.asarray(np.sqrt(square / np.bincount(codes, minlength=n_domains)))


def strategies(rmse: NDArray[Any]) -> dict[str, float]:
    """The three validation summaries of BENCHMARK, section 3; lower is better in each."""
    return {"mean": float(rmse.mean()), "max": float(rmse.max()), "discrepancy": float(rmse.max() - rmse.min())}


def best_trials(trials: dict[int, Trial]) -> dict[str, int]:
    """The best trial of each strategy; the earliest of equals.

    Raises
    ------
    RunError
        If every configuration failed.
    """
    good = [trial for _, trial in sorted(trials.items()) if trial.status == "ok"]
    if not good:
        first = next(iter(trials.values())).error if trials else "none was tried"
        raise RunError(f"All {len(trials)} configurations failed; the first: {first}")
    return {name: min(good, key=lambda trial: trial.strategies[name]).number for name in SELECTIONS}


def search(
    folder: RunFolder,
    spec: ModelSpec,
    *,
    train: Part,
    validation: Part,
    n_configurations: int,
    seed: int,
    n_jobs: int = 0,
    time_limit: float | None = None,
    report: TrialReport | None = None,
) -> dict[str, int]:
    """Try every configuration that has no record yet; keep the models that are best so far.

    Each trial is a record on disk the moment it ends, after its model; so a killed search loses the running trial only.
    The test part is never seen here.

    Returns
    -------
    dict
        Number of the best trial by strategy.
    """
    drawn = configurations(spec, n_configurations, seed=seed)
    trials = folder.trials()
    for number, params in enumerate(drawn):
        kept = trials.get(number)
        if kept is not None and _usable(folder, trials, number):
            continue
        trials[number] = _try(
            folder,
            spec,
            number,
            params,
            train=train,
            validation=validation,
            seed=seed,
            n_jobs=n_jobs,
            time_limit=time_limit,
        )
        folder.write_trial(trials[number])
        _drop_beaten(folder, trials)
        if report is not None:
            report(trials[number], len(drawn))
    return best_trials(trials)


def _usable(folder: RunFolder, trials: dict[int, Trial], number: int) -> bool:
    """A finished trial need not be repeated, unless it failed or is a best one whose model is gone."""
    if trials[number].status == "failed":
        return False
    if number not in best_trials(trials).values():
        return True
    return (folder.model_folder(number) / "model.json").is_file()


def _try(
    folder: RunFolder,
    spec: ModelSpec,
    number: int,
    params: dict[str, Any],
    *,
    train: Part,
    validation: Part,
    seed: int,
    n_jobs: int,
    time_limit: float | None,
) -> Trial:
    begin = time.perf_counter()
    try:
        model = spec.build(**params)
        if n_jobs and "n_jobs" in model.get_params():
            model.set_params(n_jobs=n_jobs)
        model.fit(
            train.X,
            train.y,
            domains=train.domain_codes if spec.needs.domains else None,
            eval_set=validation if spec.needs.validation else None,
            feature_names=train.feature_names,
            seed=seed,
            time_limit=time_limit,
        )
        fitted = time.perf_counter()
        rmse = domain_rmse(validation.y, model.predict(validation.X), validation.domain_codes, len(validation.domains))
        ended = time.perf_counter()
        if not np.isfinite(rmse).all():
            raise RunError(f"{int((~np.isfinite(rmse)).sum())} of {len(rmse)} validation domains have no finite RMSE")
    except Exception as error:  # noqa: BLE001 (a failing configuration is recorded and told; the search goes on)
        return Trial(
            number=number,
            params=params,
            status="failed",
            error=f"{type(error).__name__}: {error}",
            fit_seconds=time.perf_counter() - begin,
            train_rows=len(train),
        )
    # Outside the try: a disk that cannot take the model is no fault of the configuration.
    _keep(model, folder, number)
    return Trial(
        number=number,
        params=params,
        status="ok",
        fit_seconds=fitted - begin,
        predict_seconds=ended - fitted,
        train_rows=len(train),
        report=model.report_,
        notes=model.notes_,
        validation_rmse=dict(zip(validation.domains, rmse.tolist(), strict=True)),
        strategies=strategies(rmse),
    )


def _keep(model: FluxModel, folder: RunFolder, number: int) -> None:
    final = folder.model_folder(number)
    temporary = final.with_name(f".{final.name}.tmp")
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


def _drop_beaten(folder: RunFolder, trials: dict[int, Trial]) -> None:
    """Remove models that no strategy would choose any more."""
    if not any(trial.status == "ok" for trial in trials.values()):
        return
    chosen = set(best_trials(trials).values())
    for number in trials:
        if number not in chosen:
            shutil.rmtree(folder.model_folder(number), ignore_errors=True)

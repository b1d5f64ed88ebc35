"""Ensembles: a run folder whose predictions are the weighted mean of those of finished runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation import __version__
from fluxtrapolation.errors import RunError, did_you_mean, examples
from fluxtrapolation.evaluation.predictions import Predictions
from fluxtrapolation.files import sha256_of
from fluxtrapolation.models.registry import check_name
from fluxtrapolation.runs.finish import identity_of
from fluxtrapolation.runs.folder import Member, Rows, RunConfig, RunFolder, RunState, Trial, environment, row_limit
from fluxtrapolation.scenarios import Part, load_scenario
from fluxtrapolation.schema import SELECTIONS, SITE, TIME, Y_PRED

Weights = Literal["equal", "inverse-mse"]
WEIGHTS: Final = get_args(Weights)
_SAME: Final = ("scenario", "scenario_hash", "target", "store_hash", "domain_kind", "resolution")
"""In what the configurations of all members must agree."""
PredictMember = Callable[[RunFolder, RunState], tuple[Part, NDArray[np.float32]]]


@dataclass(frozen=True)
class _Taken:
    """A member with what is on disk of it."""

    folder: RunFolder
    state: RunState
    trials: dict[int, Trial]

    def chosen(self, selection: str) -> Trial:
        return self.trials[self.state.selection[selection]]

    @property
    def max_rows(self) -> int | None:
        """The lowest limit on its train rows, its model's own included."""
        limits = [row_limit(self.state.config, self.chosen(name)) for name in SELECTIONS]
        return min((limit for limit in limits if limit is not None), default=None)


def make_ensemble(
    runs: Sequence[str | Path],
    *,
    out: str | Path,
    name: str = "ensemble",
    weights: str = "equal",
    overwrite: bool = False,
) -> Path:
    """Average finished runs of one scenario, target and store, selection by selection.

    Parameters
    ----------
    runs : sequence of path
        Run folders, two or more; ensembles too.
    out : path
        Folder of run folders; the ensemble's is ``out/{scenario}_{target}_{name}``.
    name : str
        What the ensemble is called in tables.
    weights : {'equal', 'inverse-mse'}
        Equal, or proportional to ``1 / RMSE^2`` with the mean validation RMSE of each member's chosen configuration.
    overwrite : bool
        Replace another ensemble of that name.

    Returns
    -------
    Path
        The run folder, as ``train`` makes them: ``report``, ``evaluate`` and ``predict`` take it like any other.

    Raises
    ------
    RunError
        If the runs do not belong together, with a list of all that differs.
    """
    if weights not in WEIGHTS:
        raise RunError(
            f"There are no weights {weights!r}.{did_you_mean(weights, WEIGHTS)} Known: {', '.join(WEIGHTS)}."
        )
    check_name(name, "The ensemble")
    taken = [_take(RunFolder(run)) for run in runs]
    _check_members(taken, weights)
    first = taken[0].state.config
    folder = RunFolder(Path(out) / f"{first.scenario}_{first.target}_{name}")
    if any(one.folder.path.resolve() == folder.path.resolve() for one in taken):
        raise RunError(f"{folder.path} is itself among the runs to average. Choose another --name.")
    shares = {selection: _shares(taken, selection, weights) for selection in SELECTIONS}
    config = _config(taken, name, weights)
    folder.check(config, overwrite=overwrite)
    with folder.locked():
        state = folder.open(config, store=taken[0].state.store, overwrite=overwrite)
        if not _is_whole(folder, state, taken):
            _write(folder, state, taken, shares)
    return folder.path


def average_members(
    folder: RunFolder, state: RunState, selection: str, predict: PredictMember
) -> tuple[Part, NDArray[np.float32]]:
    """Predict with each member of an ensemble and average.

    Raises
    ------
    RunError
        If a member is not where it was, or is another run now.
    """
    total: NDArray[np.float64] | None = None
    part: Part | None = None
    for member in state.members:
        place = RunFolder(Path(os.path.normpath(folder.path / member.path)))
        if not place.exists():
            raise RunError(
                f"The ensemble {folder.path} averages {place.path}, which is gone. Keep the members' folders beside it."
            )
        found = place.state()
        if found.config_hash != member.config_hash or found.status != "complete" or not _is_averaged(member, place):
            raise RunError(
                f"The member {place.path} of {folder.path} is no longer the run that was averaged. "
                "Make the ensemble again with --overwrite."
            )
        part, predicted = predict(place, found)
        term = member.weights[selection] * predicted.astype(np.float64)
        total = term if total is None else total + term
    if total is None or part is None:
        raise RunError(f"The run {folder.path} has no members.")
    return part, total.astype(np.float32)


def _take(folder: RunFolder) -> _Taken:
    state = folder.state()
    if state.status != "complete":
        raise RunError(f"The run {folder.path} is {state.status}, not complete. Run 'fluxtrapolation train' again.")
    return _Taken(folder, state, folder.trials())


def _check_members(taken: Sequence[_Taken], weights: str) -> None:
    if len(taken) < 2:
        raise RunError(f"An ensemble has two members or more; {len(taken)} given.")
    places = [one.folder.path.resolve() for one in taken]
    twice = {str(place) for place in places if places.count(place) > 1}
    if twice:
        raise RunError(f"The run {examples(sorted(twice))} is given more than once.")
    wrong = []
    for what in _SAME:
        values: dict[str, list[str]] = {}
        for one in taken:
            values.setdefault(str(getattr(one.state.config, what))[:12], []).append(str(one.folder.path))
        if len(values) > 1:
            wrong.append(f"{what}: " + "; ".join(f"{value} in {examples(paths)}" for value, paths in values.items()))
    if wrong:
        raise RunError("These runs cannot be averaged. They differ in\n  " + "\n  ".join(wrong))
    if weights == "equal":
        return
    lacking = [str(one.folder.path) for one in taken if any(not one.chosen(s).validation_rmse for s in SELECTIONS)]
    if lacking:
        raise RunError(
            f"Weights by validation RMSE are not possible: {examples(lacking)} has none (an ensemble). Use equal ones."
        )
    if len({tuple(sorted(one.chosen("mean").validation_rmse)) for one in taken}) > 1:
        raise RunError(
            "Weights by validation RMSE are not possible: the runs were validated on different domains. Use equal ones."
        )


def _shares(taken: Sequence[_Taken], selection: str, weights: str) -> list[float]:
    if weights == "equal":
        return [1.0 / len(taken)] * len(taken)
    tiny = float(np.finfo(np.float32).tiny)
    precision = np.asarray([1.0 / max(one.chosen(selection).strategies["mean"] ** 2, tiny) for one in taken], float)
    return [float(value) for value in precision / precision.sum()]


def _config(taken: Sequence[_Taken], name: str, weights: str) -> RunConfig:
    """The members' configuration where they agree; where not, what limits the comparison most."""
    configs = [one.state.config for one in taken]
    first = configs[0]
    limits = [one.max_rows for one in taken if one.max_rows is not None]
    profiles = {config.profile for config in configs}
    return RunConfig(
        scenario=first.scenario,
        scenario_hash=first.scenario_hash,
        domain_kind=first.domain_kind,
        target=first.target,
        model=name,
        profile=first.profile if len(profiles) == 1 else "mixed",
        n_configurations=max(config.n_configurations for config in configs),
        max_rows=min(limits, default=None),
        seed=min(config.seed for config in configs),
        store_hash=first.store_hash,
        resolution=first.resolution,
        feature_names=first.feature_names,
        package_version=__version__,
        members=tuple(one.state.config_hash for one in taken),
        weights=weights,
    )


def _is_whole(folder: RunFolder, state: RunState, taken: Sequence[_Taken]) -> bool:
    """Whether the ensemble is there, and averages what its members predict now."""
    if state.status != "complete" or not all(folder.predictions_file(name).is_file() for name in SELECTIONS):
        return False
    return all(_is_averaged(member, one.folder) for member, one in zip(state.members, taken, strict=True))


def _is_averaged(member: Member, folder: RunFolder) -> bool:
    """Whether the predictions of a member are those that were averaged: a time limit may give others next time."""
    files = {name: folder.predictions_file(name) for name in SELECTIONS}
    return all(file.is_file() and sha256_of(file) == member.predictions[name] for name, file in files.items())


def _write(folder: RunFolder, state: RunState, taken: Sequence[_Taken], shares: dict[str, list[float]]) -> None:
    begin = time.perf_counter()
    paths = [os.path.relpath(one.folder.path.resolve(), folder.path.resolve()) for one in taken]
    hashes: list[dict[str, str]] = [{} for _ in taken]
    for number, selection in enumerate(SELECTIONS):
        params = {"members": dict(zip(paths, shares[selection], strict=True))}
        for one, held in zip(taken, hashes, strict=True):
            held[selection] = sha256_of(one.folder.predictions_file(selection))
        frame = _average(taken, selection, shares[selection])
        chosen = [one.chosen(selection) for one in taken]
        trial = Trial(
            number=number,
            params=params,
            status="ok",
            fit_seconds=sum(trial.fit_seconds for trial in chosen),
            predict_seconds=sum(trial.predict_seconds for trial in chosen),
            train_rows=min(trial.train_rows for trial in chosen),
        )
        Predictions(frame, identity_of(state.config, selection, trial)).write(folder.predictions_file(selection))
        folder.write_trial(trial)
    scenario = load_scenario(taken[0].folder.path / taken[0].state.scenario_file)
    scenario.write(folder.path / "scenario.yaml")
    rows = [one.state.rows for one in taken if one.state.rows is not None]
    members = tuple(
        Member(
            path=path,
            model=one.state.config.model,
            config_hash=one.state.config_hash,
            weights={selection: shares[selection][i] for selection in SELECTIONS},
            predictions=hashes[i],
        )
        for i, (path, one) in enumerate(zip(paths, taken, strict=True))
    )
    folder.write_state(
        state.model_copy(
            update={
                "status": "complete",
                "error": None,
                "rows": _least(rows),
                "selection": {selection: number for number, selection in enumerate(SELECTIONS)},
                "seconds": {"average": time.perf_counter() - begin},
                "notes": tuple(_notes(taken)),
                "members": members,
                "environment": environment(),
            }
        )
    )


def _average(taken: Sequence[_Taken], selection: str, shares: Sequence[float]) -> pl.DataFrame:
    """The members' predictions averaged in float64, on the rows of the first.

    Raises
    ------
    RunError
        If a member predicts other rows.
    """
    frame = Predictions.read(taken[0].folder.predictions_file(selection)).frame
    total = np.zeros(frame.height)
    for one, share in zip(taken, shares, strict=True):
        other = Predictions.read(one.folder.predictions_file(selection)).frame
        same = other.height == frame.height and all(
            (other[name].cast(pl.String) if name == SITE else other[name]).equals(
                frame[name].cast(pl.String) if name == SITE else frame[name]
            )
            for name in (SITE, TIME)
        )
        if not same:
            raise RunError(
                f"{one.folder.path} predicts other test rows ({other.height:,}) than {taken[0].folder.path} "
                f"({frame.height:,}). Train both on the same store and scenario."
            )
        total += share * other[Y_PRED].to_numpy().astype(np.float64)
    return frame.with_columns(pl.Series(Y_PRED, total.astype(np.float32)))


def _least(rows: Sequence[Rows]) -> Rows | None:
    """The members' rows; of the train rows the fewest."""
    if not rows:
        return None
    return min(rows, key=lambda one: one.train)


def _notes(taken: Sequence[_Taken]) -> list[str]:
    """What differs among the members, and what each of them has to say."""
    notes = []
    for what in ("profile", "max_rows", "seed", "time_limit", "max_time", "package_version"):
        values = [one.max_rows if what == "max_rows" else getattr(one.state.config, what) for one in taken]
        if len(set(values)) > 1:
            listed = ", ".join(f"{one.folder.name} {value}" for one, value in zip(taken, values, strict=True))
            notes.append(f"the members differ in {what}: {listed}")
    notes += [f"{one.folder.name}: {note}" for one in taken for note in one.state.notes]
    return list(dict.fromkeys(notes))

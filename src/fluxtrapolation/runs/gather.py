"""Everything a report needs, from run folders: scores, towers, seasonal cycles, costs, failures."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationError, FluxtrapolationWarning, RunError
from fluxtrapolation.evaluation import Predictions, Scores, evaluate
from fluxtrapolation.evaluation.aggregate import aggregate
from fluxtrapolation.runs.folder import RunFolder, RunState, find_runs, row_limit
from fluxtrapolation.runs.predict import seasonal_cycle
from fluxtrapolation.scenarios import load_scenario, scenario_names, site_roles
from fluxtrapolation.schema import SELECTIONS

Progress = Callable[[str, int, int], None]
_UNFINISHED: Final = "the run has not ended: it is under way, or was interrupted (the same command then goes on)"


@dataclass(frozen=True)
class Gathered:
    """Tables for the report; see :func:`fluxtrapolation.plots.report.write_report`."""

    scores: Scores
    split_sites: pl.DataFrame
    seasonal: pl.DataFrame
    site_means: pl.DataFrame
    runs: pl.DataFrame
    meta: dict[str, Any]


def gather(
    places: Sequence[str | Path],
    *,
    selections: Sequence[str] = ("mean",),
    protocol: Literal["paper", "measured"] = "paper",
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> Gathered:
    """Evaluate the predictions of every run found and collect what the report shows.

    Parameters
    ----------
    places : sequence of path
        Run folders, or folders of them.
    selections : sequence of str
        Which of mean, max and discrepancy. A model with one configuration is shown under mean alone.
    protocol : {'paper', 'measured'}
    store : path, optional
        Store the runs were trained on; defaults to the path each run recorded.

    Raises
    ------
    RunError
        If there are no complete runs.
    """
    folders = [folder for place in places for folder in find_runs(place)]
    states = [(folder, folder.state()) for folder in folders]
    complete = [(folder, state) for folder, state in states if state.status == "complete"]
    todo = [(folder, state, name) for folder, state in complete for name in _shown(state, selections)]
    if not todo:
        raise RunError(f"None of the {len(folders)} runs is complete. Run 'fluxtrapolation train' again.")
    scores, cycles, means = [], [], []
    for done, (folder, state, selection) in enumerate(todo, start=1):
        predictions = Predictions.read(folder.predictions_file(selection))
        part = evaluate(predictions, protocol=protocol)
        for run in part.meta["runs"]:
            run["where"] = str(folder.predictions_file(selection))  # in run folders all files have the same name
        scores.append(part)
        names = {name: getattr(state.config, name) for name in ("target", "scenario", "model")}
        labels = [pl.lit(value).alias(name) for name, value in {**names, "selection": selection}.items()]
        site = pl.col("site_id").cast(pl.String)
        cycles.append(seasonal_cycle(predictions.frame).select(*labels, site, *("doy", "observed", "predicted", "n")))
        site_mean = aggregate(predictions, "site-mean", protocol=protocol)
        means.append(site_mean.select(*labels, site, pl.col("year").cast(pl.Int32), "y_true", "y_pred"))
        if progress is not None:
            progress(folder.name, done, len(todo))
    return Gathered(
        scores=Scores.concat(scores),
        split_sites=_towers(states, store),
        seasonal=pl.concat(cycles),
        site_means=pl.concat(means),
        runs=_costs(states, selections),
        meta=_meta(states, places),
    )


def _shown(state: RunState, selections: Sequence[str]) -> list[str]:
    if state.config.n_configurations == 1:
        return ["mean"]  # all three chose the same
    return [name for name in SELECTIONS if name in selections]


def _towers(states: Sequence[tuple[RunFolder, RunState]], store: str | Path | None) -> pl.DataFrame:
    """The role of every tower in every scenario, from the store the runs recorded."""
    found: dict[str, pl.DataFrame] = {}
    for folder, state in states:
        name = state.config.scenario
        if name in found:
            continue
        try:
            with warnings.catch_warnings():
                # The absent towers were told when the runs were made, and stand in their notes.
                warnings.simplefilter("ignore", FluxtrapolationWarning)
                held = Store(store or state.store)
                if held.data_hash != state.config.store_hash:
                    raise RunError(f"the store {held.path} is not the one the runs were trained on.")
                roles = site_roles(held, load_scenario(folder.path / state.scenario_file))
        except FluxtrapolationError as error:
            warnings.warn(
                f"No map of '{name}': {error} Name the store with --store.", FluxtrapolationWarning, stacklevel=2
            )
            continue
        found[name] = roles.filter(pl.col("role") != "unused").select(pl.lit(name).alias("scenario"), pl.all())
    empty = {"scenario": pl.String, "site_id": pl.String, "lat": pl.Float64, "lon": pl.Float64}
    schema = {**empty, "igbp": pl.String, "role": pl.String}
    return pl.concat([frame.select(list(schema)) for frame in found.values()]) if found else pl.DataFrame(schema=schema)


def _costs(states: Sequence[tuple[RunFolder, RunState]], selections: Sequence[str]) -> pl.DataFrame:
    """One row per run and selection: rows, seconds, configuration, or why it failed."""
    rows = []
    for folder, state in states:
        config = state.config
        trials = folder.trials()
        for selection in _shown(state, selections):
            number = state.selection.get(selection)
            chosen = trials.get(number) if number is not None else None
            params = chosen.params if chosen is not None else {}
            peaks = [trial.peak_memory_mb for trial in trials.values() if trial.peak_memory_mb is not None]
            reason = state.error or (_UNFINISHED if state.status != "complete" else None)
            rows.append(
                {
                    "target": config.target,
                    "scenario": config.scenario,
                    "model": config.model,
                    "selection": selection,
                    "profile": config.profile,
                    "train_rows": chosen.train_rows if chosen is not None else None,
                    "validation_rows": state.rows.validation if state.rows else None,
                    "test_rows": state.rows.test if state.rows else None,
                    "max_rows": row_limit(config, chosen),
                    "seconds": sum(state.seconds.values()) if state.seconds else None,
                    "fit_seconds": round(chosen.fit_seconds, 2) if chosen is not None else None,
                    "peak_memory_mb": max(peaks, default=None),
                    "failed_configurations": sum(trial.status == "failed" for trial in trials.values()) or None,
                    "config": json.dumps(params) if params else None,
                    "reason": reason,
                }
            )
    return pl.DataFrame(
        rows,
        schema_overrides={
            "max_rows": pl.Int64,
            "seconds": pl.Float64,
            "fit_seconds": pl.Float64,
            "peak_memory_mb": pl.Float64,
        }
        | {"failed_configurations": pl.Int64, "config": pl.String, "reason": pl.String},
        infer_schema_length=None,
    )


def _shown_path(path: str) -> str:
    """A path as one would type it here: relative where it lies below the present folder."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _command(folder: RunFolder, state: RunState) -> str:
    """The command that makes a run again, in the folder where it lies."""
    config = state.config
    place = _shown_path(str(folder.path.parent))
    if state.members:
        members = " ".join(_shown_path(os.path.normpath(folder.path / one.path)) for one in state.members)
        words = [
            f"fluxtrapolation ensemble {members}",
            f"--name {config.model}" if config.model != "ensemble" else "",
            f"--weights {config.weights}" if config.weights != "equal" else "",
            f"--out {place}",
        ]
        return " ".join(word for word in words if word)
    named = config.scenario in scenario_names()
    # One configuration is all there is of a model without hyper-parameters; of another it is a choice to repeat.
    searched = config.n_configurations > 1 or any(trial.params for trial in folder.trials().values())
    words = [
        f"fluxtrapolation train --store {_shown_path(state.store)}",
        f"--scenario {config.scenario if named else folder.path / state.scenario_file}",
        f"--target {config.target} --model {config.model_source or config.model} --profile {config.profile}",
        f"--configurations {config.n_configurations}" if searched else "",
        f"--max-rows {config.max_rows}" if config.max_rows is not None else "",
        f"--time-limit {config.time_limit:g}" if config.time_limit is not None else "",
        f"--max-time {config.max_time:g}" if config.max_time is not None else "",
        f"--seed {config.seed} --out {place}",
    ]
    return " ".join(word for word in words if word)


def _meta(states: Sequence[tuple[RunFolder, RunState]], places: Sequence[str | Path]) -> dict[str, Any]:
    from fluxtrapolation.data.manifest import utc_now

    first = states[0][1]
    commands = [_command(folder, state) for folder, state in states]
    # What a scenario lacks in the store is the same for all its runs: told once.
    notes = {
        f"{state.config.scenario if note.startswith('the store lacks') else folder.name}: {note}"
        for folder, state in states
        for note in state.notes
    }
    return {
        "created": f"{utc_now():%Y-%m-%d %H:%M} UTC",
        "commands": [*dict.fromkeys(commands), f"fluxtrapolation report {' '.join(map(str, places))} --out report/"],
        "versions": dict(first.environment) | {"fluxtrapolation": __version__},
        "hashes": {f"store {_shown_path(state.store)}": state.config.store_hash for _, state in states}
        | {f"scenario {state.config.scenario}": state.config.scenario_hash for _, state in states},
        "notes": sorted(notes),
    }

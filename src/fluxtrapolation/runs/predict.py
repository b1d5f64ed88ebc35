"""Applying a finished run to a store."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning, RunError, did_you_mean, examples
from fluxtrapolation.runs.cells import load_model, names_code, spec_of_run
from fluxtrapolation.runs.ensemble import average_members
from fluxtrapolation.runs.finish import counted, predict_rows, write_predictions
from fluxtrapolation.runs.folder import RunFolder, RunState
from fluxtrapolation.scenarios import Part, load_scenario, make_split
from fluxtrapolation.scenarios.scenario import PART_NAMES, PartName
from fluxtrapolation.schema import SELECTIONS, pft_column


def predict_run(
    run: RunFolder | str | Path,
    *,
    store: Store | str | Path,
    out: str | Path,
    selection: str = "mean",
    part: str = "test",
    trust_model: bool = False,
) -> Path:
    """Predict a part of the run's scenario on a store with the run's chosen model.

    Parameters
    ----------
    run : RunFolder or path
        A complete run.
    store : Store or path
        May be another store than the one trained on; it must hold the run's covariates and target.
    out : path
        Parquet file of predictions, with identity.
    selection : {'mean', 'max', 'discrepancy'}
    part : {'test', 'validation', 'train'}
    trust_model : bool
        Run the code of a model that is not registered: ``run.json`` names its file or package, and a run folder may
        come from anybody. A file is run only if it still has the run's sha256.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    RunError
        If the run is not complete, the selection or part is unknown, or the model is not registered and not trusted.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    state = folder.state()
    if selection not in SELECTIONS:
        raise RunError(f"There is no selection {selection!r}.{did_you_mean(selection, SELECTIONS)}")
    if part not in PART_NAMES:
        raise RunError(f"There is no part {part!r}.{did_you_mean(part, PART_NAMES)} Known: {', '.join(PART_NAMES)}.")
    if state.status != "complete":
        raise RunError(f"The run {folder.path} is {state.status}, not complete. Run 'fluxtrapolation train' again.")
    if Path(out).suffix.lower() not in (".parquet", ".pq"):
        raise RunError(f"Predictions are written as Parquet: --out {out} must end in .parquet.")
    opened = Store.of(store)
    _tell_unseen_classes(opened, state)
    name: PartName = next(n for n in PART_NAMES if n == part)
    rows, predicted = _predict_part(folder, state, opened, selection, name, trust_model)
    return write_predictions(
        Path(out),
        rows,
        predicted,
        config=state.config.model_copy(update={"store_hash": opened.data_hash}),
        selection=selection,
        trial=folder.trials()[state.selection[selection]],
    )


def _tell_unseen_classes(store: Store, state: RunState) -> None:
    known = {name for name in state.config.feature_names if name.startswith("PFT_")}
    unseen = [name for name in store.igbp_classes if pft_column(name) not in known]
    if unseen:
        warnings.warn(
            f"The store has {len(unseen)} IGBP classes the model never saw: {examples(unseen)}. "
            "Their one-hot columns are all zero.",
            FluxtrapolationWarning,
            stacklevel=3,
        )


def _predict_part(
    folder: RunFolder, state: RunState, store: Store, selection: str, part: PartName, trusted: bool
) -> tuple[Part, NDArray[np.float32]]:
    """Predict the rows of a part: the same rows, in the same order, for every model."""
    if state.members:
        return average_members(
            folder, state, selection, lambda one, of_one: _predict_part(one, of_one, store, selection, part, trusted)
        )
    config = state.config
    if names_code(config) and not trusted:
        raise RunError(
            f"The model {config.model} of the run {folder.path} is not a registered one. To predict with it is to run "
            f"the code of {config.model_source}. If you trust that, and this run, say --trust-model "
            "(in Python trust_model=True)."
        )
    split = make_split(
        store,
        load_scenario(folder.path / state.scenario_file),
        target=config.target,
        sequences=spec_of_run(config).needs.sequences,
        parts=(part,),
        features=config.feature_names,
    )
    whole: Part = getattr(split, part)
    return counted(whole, predict_rows(load_model(folder, state.selection[selection], config), whole))


def seasonal_cycle(predictions: pl.DataFrame) -> pl.DataFrame:
    """Mean observed and predicted value of each site and day of year: site_id, doy, observed, predicted, n.

    Hours with a missing observation are left out on both sides.
    """
    present = predictions.filter(pl.col("y_true").is_not_null() & pl.col("y_true").is_finite())
    return (
        present.group_by("site_id", pl.col("time").dt.ordinal_day().alias("doy"))
        .agg(
            pl.col("y_true").cast(pl.Float64).mean().alias("observed"),
            pl.col("y_pred").cast(pl.Float64).mean().alias("predicted"),
            pl.len().alias("n"),
        )
        .sort("site_id", "doy")
    )

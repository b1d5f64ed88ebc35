"""Applying a finished run to a store."""

from __future__ import annotations

import warnings
from pathlib import Path

import polars as pl

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning, RunError, did_you_mean, examples
from fluxtrapolation.runs.folder import RunFolder
from fluxtrapolation.runs.train import load_model, write_predictions
from fluxtrapolation.scenarios import load_scenario, make_split
from fluxtrapolation.scenarios.scenario import PART_NAMES, PartName
from fluxtrapolation.schema import SELECTIONS, pft_column


def predict_run(
    run: RunFolder | str | Path,
    *,
    store: Store | str | Path,
    out: str | Path,
    selection: str = "mean",
    part: str = "test",
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

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    RunError
        If the run is not complete, or the selection or part is unknown.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    state = folder.state()
    if selection not in SELECTIONS:
        raise RunError(f"There is no selection {selection!r}.{did_you_mean(selection, SELECTIONS)}")
    if part not in PART_NAMES:
        raise RunError(f"There is no part {part!r}.{did_you_mean(part, PART_NAMES)} Known: {', '.join(PART_NAMES)}.")
    if state.status != "complete":
        raise RunError(f"The run {folder.path} is {state.status}, not complete. Run 'fluxtrapolation train' again.")
    opened = Store.of(store)
    config = state.config
    number = state.selection[selection]
    known = {name for name in config.feature_names if name.startswith("PFT_")}
    unseen = [name for name in opened.igbp_classes if pft_column(name) not in known]
    if unseen:
        warnings.warn(
            f"The store has {len(unseen)} IGBP classes the model never saw: {examples(unseen)}. "
            "Their one-hot columns are all zero.",
            FluxtrapolationWarning,
            stacklevel=2,
        )
    name: PartName = next(n for n in PART_NAMES if n == part)
    if Path(out).suffix.lower() not in (".parquet", ".pq"):
        raise RunError(f"Predictions are written as Parquet: --out {out} must end in .parquet.")
    split = make_split(
        opened,
        load_scenario(folder.path / state.scenario_file),
        target=config.target,
        parts=(name,),
        features=config.feature_names,
    )
    rows = getattr(split, name)
    predicted = load_model(folder, number).predict(rows.X)
    return write_predictions(
        Path(out),
        rows,
        predicted,
        config=config.model_copy(update={"store_hash": opened.data_hash}),
        selection=selection,
        params=folder.trials()[number].params,
    )


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

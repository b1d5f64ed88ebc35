"""A finished run's predictions for the test rows of a split, and its model where that reads rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.errors import RunError, did_you_mean
from fluxtrapolation.models import FluxModel
from fluxtrapolation.runs.cells import load_model, names_code, spec_of_run
from fluxtrapolation.runs.folder import RunFolder
from fluxtrapolation.scenarios import Part, Split
from fluxtrapolation.schema import SELECTIONS, SITE, TIME


@dataclass(frozen=True, eq=False)
class RunOnTest:
    """What a run says of a test part.

    Attributes
    ----------
    name : str
        The model's.
    y_pred : ndarray of float64, shape (test rows,)
        In the order of the rows of ``split.test``, unit of the target.
    model : FluxModel or None
        None where the model reads sequences or averages others, or is not a registered one (its code is not run).
    note : str or None
        Why there is no model.
    """

    name: str
    y_pred: NDArray[np.float64]
    model: FluxModel | None
    note: str | None = None


def run_on_test(run: RunFolder | str | Path, split: Split, *, selection: str = "mean") -> RunOnTest:
    """Read what a complete run predicted for the test part of a split.

    Parameters
    ----------
    run : RunFolder or path
    split : Split
        Of the run's scenario, target and store, and with its features.
    selection : {'mean', 'max', 'discrepancy'}

    Raises
    ------
    RunError
        If the run is not complete, is of another scenario, target or store, or its file of predictions is missing,
        damaged or not of these rows.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    state = folder.state()
    config = state.config
    if selection not in SELECTIONS:
        raise RunError(f"There is no selection {selection!r}.{did_you_mean(selection, SELECTIONS)}")
    if state.status != "complete":
        raise RunError(f"The run {folder.path} is {state.status}, not complete. Run 'fluxtrapolation train' again.")
    for what, same, told, asked in (
        ("target", config.target == split.target, config.target, split.target),
        (
            "scenario",
            config.scenario_hash == split.scenario.sha256,
            f"{config.scenario} ({config.scenario_hash[:12]})",
            f"{split.scenario.name} ({split.scenario.sha256[:12]})",
        ),
        (
            "store",
            config.store_hash == split.store_hash,
            f"{state.store} as it was then (content {config.store_hash[:12]})",
            f"the one given (content {split.store_hash[:12]})",
        ),
    ):
        if not same:
            raise RunError(
                f"The run {folder.path} is of another {what}: {told}, not {asked}. Give a run of the same scenario, "
                "target and store, or train one."
            )
    y_pred = _aligned(folder.predictions_file(selection), split.test)
    model, note = None, None
    if state.members:
        note = "an ensemble has no importances of its own"
    elif names_code(config):
        note = "its model is not a registered one, and its code is not run here"
    elif spec_of_run(config).needs.sequences:
        note = "it reads sequences"
    elif tuple(config.feature_names) != tuple(split.feature_names):
        note = "it was trained on other covariates"
    else:
        model = load_model(folder, state.selection[selection], config)
    return RunOnTest(config.model, y_pred, model, note)


def _aligned(path: Path, test: Part) -> NDArray[np.float64]:
    """``y_pred`` of a file of predictions in the order of the rows of a part."""
    try:
        frame = pl.read_parquet(path, columns=[SITE, TIME, "y_pred"])
    except (OSError, pl.exceptions.PolarsError) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({str(error).splitlines()[0]})"
        raise RunError(f"{path} {why}. Run 'fluxtrapolation train' with --overwrite.") from None
    wanted = test.to_frame().select(pl.col(SITE).cast(pl.String), TIME)
    given = frame.select(
        pl.col(SITE).cast(pl.String), pl.col(TIME).cast(wanted.schema[TIME]), pl.col("y_pred").cast(pl.Float64)
    )
    twice = given.height - given.select(SITE, TIME).n_unique()
    if twice:
        raise RunError(f"{path} has {twice:,} rows twice. Run 'fluxtrapolation train' with --overwrite.")
    if not given.select(SITE, TIME).equals(wanted):
        given = wanted.join(given, on=[SITE, TIME], how="left", maintain_order="left")
    y_pred = given["y_pred"].fill_null(float("nan")).to_numpy()
    lost = int((~np.isfinite(y_pred)).sum())
    if lost:
        raise RunError(
            f"{path} lacks predictions for {lost:,} of {len(y_pred):,} test rows. Run 'fluxtrapolation train' with "
            "--overwrite."
        )
    return y_pred

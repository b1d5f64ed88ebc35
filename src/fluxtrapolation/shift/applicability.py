"""Where a model extrapolates, and whether its errors are larger there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import DataError, ModelError, ScenarioError, examples
from fluxtrapolation.scenarios import Part, Split
from fluxtrapolation.schema import SITE
from fluxtrapolation.shift.applicability_places import Coordinates, places
from fluxtrapolation.shift.dissimilarity import REFERENCE_ROWS, Dissimilarity, Folds, dissimilarity
from fluxtrapolation.shift.error_curve import (
    CURVE,
    SUMMARY,
    TOWERS,
    Errors,
    curve,
    summarise,
    tower_curve,
    tower_errors,
)
from fluxtrapolation.shift.importances import Importances, Weights, feature_weights
from fluxtrapolation.shift.sampling import Protocol

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

BINS: Final = 10
DRAWS: Final = 999


@dataclass(frozen=True, eq=False)
class Applicability:
    """Dissimilarity of every test row from the train, and the model's errors along it.

    Attributes
    ----------
    threshold : float
        Rows with an index above it lie outside the area of applicability.
    index : ndarray of float64, shape (test rows,)
        Dissimilarity index of every row of ``split.test``, with or without an observation.
    sites : pl.DataFrame
        site_id, lat, lon (null without coordinates), n, index_median, index_q90, outside_share (of the tower's rows),
        rmse (of the first model; null without predictions or observations). One row for each test tower.
    error_curve : pl.DataFrame
        model, low, high (limits of the bin), index (its median), rmse, rmse_low, rmse_high (90 % over towers),
        rmse_clock (what tower, month and hour of day alone would give), n, n_sites: bins of equal numbers of rows.
        Empty without predictions.
    tower_curve : pl.DataFrame
        The same columns for bins of equal numbers of towers: median RMSE, and the smallest and largest.
    tower_errors : pl.DataFrame
        model, site_id, n, rmse, n_inside, rmse_inside, n_outside, rmse_outside, and both at the same months and hours
        (rmse_same_clock, rmse_outside_same_clock).
    summary : pl.DataFrame
        model, measure, value, low, high, p_value, unit, n, reason; see
        :func:`fluxtrapolation.shift.error_curve.summarise`.
    importances : Importances
    dissimilarity : Dissimilarity
        Gives the index of other rows, such as a grid's.
    record : dict
        How all this was made, for JSON.
    """

    threshold: float
    index: Float64
    sites: pl.DataFrame
    error_curve: pl.DataFrame
    tower_curve: pl.DataFrame
    tower_errors: pl.DataFrame
    summary: pl.DataFrame
    importances: Importances
    dissimilarity: Dissimilarity
    record: dict[str, Any]

    @property
    def outside(self) -> Bools:
        """Whether each test row lies outside the area of applicability."""
        return np.asarray(self.index > self.threshold)

    @property
    def outside_share(self) -> float:
        """Share of all test rows outside the area of applicability."""
        return float(self.outside.mean())

    def to_dict(self) -> dict[str, Any]:
        """For JSON; without the row-wise index."""
        return {
            "threshold": self.threshold,
            "outside_share": self.outside_share,
            "towers_mostly_outside": int((self.sites["outside_share"] > 0.5).sum()),
            "index_quantiles": {
                name: float(np.quantile(self.index, share)) for name, share in (("q50", 0.5), ("q90", 0.9), ("max", 1))
            },
            "importances": self.importances.to_dict(),
            "sites": self.sites.to_dicts(),
            "error_curve": self.error_curve.to_dicts(),
            "tower_curve": self.tower_curve.to_dicts(),
            "summary": self.summary.to_dicts(),
            "record": self.record,
        }


def applicability(
    model: Any,
    split: Split,
    *,
    reference_rows: int = REFERENCE_ROWS,
    weights: Weights = "model",
    predictions: ArrayLike | Mapping[str, ArrayLike] | None = None,
    folds: Folds = "site",
    protocol: Protocol = "paper",
    coordinates: Coordinates | None = None,
    bins: int = BINS,
    draws: int = DRAWS,
    seed: int = 0,
    jobs: int = 2,
) -> Applicability:
    """The area of applicability of a model on the test rows of a split, and its errors inside and outside.

    Parameters
    ----------
    model : object or None
        Fitted, with ``predict(X)``. None is enough with ``weights`` other than 'model'.
    split : Split
        Not one made for sequences.
    reference_rows : int
        Train rows that stand for the train.
    weights : {'model', 'equal'} or mapping
        How much each covariate counts in a distance; see :func:`fluxtrapolation.shift.importances.feature_weights`.
    predictions : array_like of shape (test rows,), or mapping of model to such, optional
        What the errors are taken of; else ``model.predict(split.test.X)``. Several models share the one index.
    folds : {'site', 'domain'} or int
        What the threshold leaves out; see :func:`fluxtrapolation.shift.dissimilarity.dissimilarity`.
    protocol : {'paper', 'measured'}
        Errors on every test row with an observation, or on those with ``qc == 1``. The index is of every row.
    coordinates : table, mapping or Store, optional
        For lat and lon in ``sites``.
    bins, draws : int
        Bins of the curves; permutations and draws of towers.
    seed : int
        Of the reference rows, the pairs, the permutation of covariates and of towers.
    jobs : int
        Threads of the nearest-neighbour search.

    Raises
    ------
    ScenarioError
        If a part is empty, or train has one tower only.
    DataError
        If the predictions do not fit the test rows, covariates are missing, or none varies.
    ModelError
        If the model gives no weights or cannot predict.

    Notes
    -----
    Meyer and Pebesma (2021), doi:10.1111/2041-210X.13650. Here folds are towers; the train is a sample of its rows; and
    the one-hot columns of the plant functional type are one covariate (see :class:`FeatureSpace`).
    """
    train, test = split.train, split.test
    _refuse(split, protocol, bins, draws)
    where = places(coordinates, test.sites)
    told = _told(predictions, model, test)
    importances = _weights(model, split, weights, seed)
    made = dissimilarity(train, importances.weights, reference_rows=reference_rows, folds=folds, seed=seed, jobs=jobs)
    index = made.index(test.X)
    outside = index > made.threshold
    scored = np.isfinite(test.y) & ((test.qc == 1) if protocol == "measured" else True)
    sites = _by_site(test, index, outside, where)
    curves, towers, by_tower, summary = [], [], [], []
    for name, predicted in told.items():
        rows = np.flatnonzero(scored)
        squared = np.square(test.y[rows].astype(np.float64) - predicted[rows])
        errors = Errors(
            name, squared, index[rows], test.site_codes[rows], test.sites, outside[rows], _clock(test.time[rows])
        )
        one = tower_errors(errors)
        joined = one.join(sites.select(SITE, "index_median"), on=SITE)
        curves.append(curve(errors, bins=bins, draws=draws, seed=seed))
        towers.append(tower_curve(joined, name, bins=bins))
        by_tower.append(one)
        summary.append(summarise(name, joined, draws=draws, seed=seed))
    rmse = by_tower[0].select(SITE, "rmse") if by_tower else sites.select(SITE, pl.lit(None, pl.Float64).alias("rmse"))
    return Applicability(
        threshold=made.threshold,
        index=index,
        sites=sites.join(rmse, on=SITE, how="left", maintain_order="left"),
        error_curve=pl.concat(curves) if curves else pl.DataFrame(schema=CURVE),
        tower_curve=pl.concat(towers) if towers else pl.DataFrame(schema=CURVE),
        tower_errors=pl.concat(by_tower) if by_tower else pl.DataFrame(schema=TOWERS),
        summary=pl.concat(summary) if summary else pl.DataFrame(schema=SUMMARY),
        importances=importances,
        dissimilarity=made,
        record=_record(split, made, importances, protocol, scored, list(told), draws),
    )


def _refuse(split: Split, protocol: str, bins: int, draws: int) -> None:
    if split.train.mask is not None:
        raise DataError(
            "This split was made for sequences. Make one without sequences=True: its test rows are the same, so "
            "predictions of a sequence model fit it (predictions=, weights='equal')."
        )
    if protocol not in ("paper", "measured"):
        raise DataError(f"There is no protocol {protocol!r}. Known: paper, measured.")
    if bins < 1 or draws < 1:
        raise DataError(f"bins ({bins}) and draws ({draws}) must be at least 1.")
    for part in (split.train, split.test):
        if len(part) == 0:
            raise ScenarioError(
                f"Scenario '{split.scenario.name}': the {part.name} part has no row, so there is no distance between "
                "train and test. Choose another scenario."
            )


def _told(
    predictions: ArrayLike | Mapping[str, ArrayLike] | None, model: Any, test: Part
) -> dict[str, NDArray[np.float64]]:
    """Predictions for the test rows by model."""
    label = str(getattr(model, "name", "") or type(model).__name__) if model is not None else "model"
    if predictions is None:
        if model is None:
            return {}
        predictions = {label: model.predict(test.X)}
    given = predictions if isinstance(predictions, Mapping) else {label: predictions}
    found = {}
    for name, values in given.items():
        array = np.asarray(values, dtype=np.float64)
        if array.shape != (len(test),):
            raise DataError(
                f"The predictions of {name} have shape {array.shape}; the test part has {len(test):,} rows. Give one "
                "prediction per row of split.test, in its order."
            )
        lost = ~np.isfinite(array)
        if lost.any():
            raise DataError(
                f"{int(lost.sum()):,} predictions of {name} are missing or infinite, first in row "
                f"{int(lost.argmax()):,}."
            )
        found[name] = array
    return found


def _weights(model: Any, split: Split, weights: Weights, seed: int) -> Importances:
    try:
        return feature_weights(model, split.train, split.validation, weights=weights, seed=seed)
    except ModelError as error:
        if weights != "model" or "weights=" in str(error):
            raise
        raise ModelError(f"{error} The weights of the covariates need it; or give weights='equal'.") from None


def _by_site(test: Part, index: Float64, outside: Bools, where: Mapping[str, tuple[float, float]]) -> pl.DataFrame:
    order = np.argsort(test.site_codes, kind="stable")
    counts = np.bincount(test.site_codes, minlength=len(test.sites))
    groups: Sequence[Float64] = np.split(index[order], np.cumsum(counts)[:-1])
    far = np.bincount(test.site_codes, outside, minlength=len(test.sites))
    return pl.DataFrame(
        {
            SITE: list(test.sites),
            "lat": [where[site][0] if where else None for site in test.sites],
            "lon": [where[site][1] if where else None for site in test.sites],
            "n": counts,
            "index_median": [float(np.median(group)) for group in groups],
            "index_q90": [float(np.quantile(group, 0.9)) for group in groups],
            "outside_share": far / counts,
        },
        schema_overrides={"lat": pl.Float64, "lon": pl.Float64, "n": pl.Int64},
    )


def _clock(time: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """``24 month + hour of day`` of each row, from 0."""
    month = time.astype("datetime64[M]").astype(np.int64) % 12
    return np.asarray(month * 24 + time.astype("datetime64[h]").astype(np.int64) % 24)


def _record(
    split: Split,
    made: Dissimilarity,
    importances: Importances,
    protocol: str,
    scored: Bools,
    models: Sequence[str],
    draws: int,
) -> dict[str, Any]:
    notes = list(importances.notes)
    seen = sorted(set(split.train.sites) & set(split.test.sites))
    if seen and made.record["folds"] == "each tower left out":
        notes.append(
            f"{len(seen)} of {len(split.test.sites)} test towers stand in train too (in other years), while the "
            "threshold compares each train tower with the others: nearly all is inside. folds='domain' leaves out "
            "tower-years instead"
        )
    for name, rows in made.space.changed(split.test.X, split.train.X).items():
        notes.append(
            f"{name} is constant in train and was left out of the distances; {rows:,} test rows have another value"
        )
    unseen = _unseen(split, made)
    if unseen:
        notes.append(
            f"no reference row has the plant functional type {examples(unseen)}; those rows are one class gap from all"
        )
    return {
        "scenario": split.scenario.name,
        "target": split.target,
        "models": list(models),
        "protocol": protocol,
        "test_rows": len(split.test),
        "test_towers": len(split.test.sites),
        "scored_rows": int(scored.sum()),
        "draws": draws,
        "weights_from": importances.source,
        "notes": notes,
    } | made.record


def _unseen(split: Split, made: Dissimilarity) -> list[str]:
    """Plant functional types of test rows that no reference row has."""
    space = made.space
    return [
        space.feature_names[column]
        for column in space.pft.tolist()
        if (split.test.X[:, column] != 0).any() and not (made.reference.X[:, column] != 0).any()
    ]

"""The dissimilarity index of Meyer and Pebesma (2021, doi:10.1111/2041-210X.13650): how far a row lies from the train.

    DI(row) = distance to the nearest train row / mean distance between train rows

Covariates are standardised by mean and standard deviation of the train rows and multiplied by their weight in the
model. The threshold beyond which a row lies outside the area of applicability is the upper whisker of the train rows'
own indices, each taken to the nearest train row of *another fold*, here another tower: ``Q75 + 1.5 (Q75 - Q25)``,
quantiles by linear interpolation, and never more than the largest of them (as in the authors' R package CAST).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError, ScenarioError, examples
from fluxtrapolation.scenarios import Part
from fluxtrapolation.shift.covariate_pool import PFT, covariate_groups
from fluxtrapolation.shift.nearest import NearestRows, Points, mean_distance, nearest_outside

Float64 = NDArray[np.float64]
Folds = Literal["site", "domain"] | int

REFERENCE_ROWS: Final = 50_000
"""Train rows that stand for the train unless told otherwise; every tower keeps its share."""
_BLOCK: Final = 1 << 18


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Where distances between rows of covariates are taken.

    A numeric covariate x becomes ``weight (x - mean) / sd`` with the train's mean and standard deviation. The one-hot
    columns of the plant functional type are one covariate: two rows of different classes stand ``gap = weight
    sqrt(2 / (1 - sum p_k^2))`` apart, p_k the shares of the classes in train. So the block has total variance 1 in
    train before weighting, like every other covariate, and a rare class is no farther than a common one (standardised
    column by column, a class of 0.1 % of the rows would lie 32 standard deviations away).

    Attributes
    ----------
    feature_names : tuple of str
        Columns of ``X``.
    weights : dict
        Weight of each covariate that counts; they sum to 1 over all covariates given.
    columns : ndarray of int64
        Numeric columns that count.
    centre, factor : ndarray of float64
        Mean, and weight over standard deviation, of those.
    pft : ndarray of int64
        One-hot columns, if the plant functional type counts.
    gap : float
    constant : tuple of str
        Covariates that do not vary in train, so that no distance can be told; left out.
    """

    feature_names: tuple[str, ...]
    weights: dict[str, float]
    columns: NDArray[np.int64]
    centre: Float64
    factor: Float64
    pft: NDArray[np.int64]
    gap: float
    constant: tuple[str, ...]

    @classmethod
    def of(cls, X: NDArray[Any], feature_names: Sequence[str], weights: Mapping[str, float]) -> FeatureSpace:
        """The space of some train rows.

        Parameters
        ----------
        X : ndarray, shape (n, features)
        feature_names : sequence of str
        weights : mapping
            A weight, not negative, for every covariate (``PFT`` for the one-hot columns together).

        Raises
        ------
        DataError
            If no covariate with a weight above 0 varies, or a value is missing.
        """
        mean = X.mean(axis=0, dtype=np.float64)
        if not np.isfinite(mean).all():
            bad = [feature_names[i] for i in np.flatnonzero(~np.isfinite(mean)).tolist()]
            raise DataError(f"{len(bad)} covariates of train have missing or infinite values: {examples(bad)}.")
        varies = X.max(axis=0) > X.min(axis=0)
        total = sum(weights.values())
        kept: dict[str, float] = {}
        columns: list[int] = []
        constant: list[str] = []
        pft: tuple[int, ...] = ()
        for covariate in covariate_groups(feature_names):
            weight = weights[covariate.name] / total
            if weight == 0:
                continue
            if not varies[list(covariate.columns)].any():
                constant.append(covariate.name)
                continue
            kept[covariate.name] = weight
            if covariate.name == PFT:
                pft = covariate.columns
            else:
                columns.append(covariate.columns[0])
        if not kept:
            raise DataError(
                f"No covariate with a weight above 0 varies in the train rows ({examples(constant)} are constant), so "
                "there is no distance between rows. Give other weights or a scenario whose train varies."
            )
        at = np.array(columns, dtype=np.int64)
        spread = _spread(X, at, mean)
        numeric = np.array([kept[feature_names[i]] for i in columns])
        gap = 0.0
        if pft:
            shares = mean[list(pft)]
            if shares.min() < 0 or shares.sum() > 1 + 1e-6:
                raise DataError(
                    f"{feature_names[pft[0]]} and its like hold other values than 0 and 1, or rows of several classes. "
                    "The plant functional type must come as one-hot columns, unscaled."
                )
            rest = max(1.0 - shares.sum(), 0.0)  # rows of a class without a column
            gap = kept[PFT] * float(np.sqrt(2.0 / (1.0 - np.square(shares).sum() - rest**2)))
        one_hot = np.array(pft, dtype=np.int64)
        return cls(tuple(feature_names), kept, at, mean[at], numeric / spread, one_hot, gap, tuple(constant))

    def place(self, X: NDArray[Any]) -> Points:
        """Rows in this space.

        Parameters
        ----------
        X : ndarray, shape (n, features)
            Columns as in ``feature_names``.
        """
        if X.ndim != 2 or X.shape[1] != len(self.feature_names):
            raise DataError(
                f"The rows have shape {X.shape}; this space has {len(self.feature_names)} columns: "
                f"{examples(self.feature_names, 6)}. Give the columns of train, in their order."
            )
        values = (X[:, self.columns].astype(np.float64) - self.centre) * self.factor
        return Points(values, self._classes(X), self.gap)

    def _classes(self, X: NDArray[Any]) -> NDArray[np.int64]:
        """0 for a class without a column, else the place of its column, from 1."""
        classes = np.zeros(len(X), dtype=np.int64)
        marks = np.zeros(len(X), dtype=np.int64)
        for place, column in enumerate(self.pft.tolist(), start=1):
            here = X[:, column] != 0
            if (X[here, column] != 1).any():
                raise DataError(
                    f"{self.feature_names[column]} holds other values than 0 and 1. The plant functional type must "
                    "come as one-hot columns, unscaled."
                )
            classes[here] = place
            marks += here
        if (marks > 1).any():
            raise DataError(
                f"{int((marks > 1).sum()):,} rows belong to several plant functional types, first row "
                f"{int((marks > 1).argmax()):,}. Give one class for each row."
            )
        return classes

    def changed(self, X: NDArray[Any], train: NDArray[Any]) -> dict[str, int]:
        """Rows of X in which a covariate that is constant in train has another value, by covariate."""
        found = {}
        for covariate in covariate_groups(self.feature_names):
            if covariate.name in self.constant:
                at = list(covariate.columns)
                found[covariate.name] = int((X[:, at] != train[0, at]).any(axis=1).sum())
        return found


def _spread(X: NDArray[Any], columns: NDArray[np.int64], mean: Float64) -> Float64:
    """Standard deviations (ddof 1), two passes, in blocks: no float64 copy of X."""
    squares = np.zeros(len(columns))
    for a in range(0, len(X), _BLOCK):
        squares += np.square(X[a : a + _BLOCK, columns] - mean[columns]).sum(axis=0)
    return np.sqrt(squares / max(len(X) - 1, 1))


@dataclass(frozen=True, eq=False)
class Dissimilarity:
    """The index, ready for any row of covariates; from :func:`dissimilarity`.

    Attributes
    ----------
    space : FeatureSpace
    threshold : float
        A row whose index is above it lies outside the area of applicability.
    mean_distance : float
        Of pairs of reference rows; index 1 is one such distance.
    train_index : ndarray of float64, shape (reference rows,)
        Index of each reference row to the nearest one of another fold.
    reference : Part
        The train rows that stand for the train.
    record : dict
        How it was made, for JSON.
    """

    space: FeatureSpace
    threshold: float
    mean_distance: float
    train_index: Float64
    reference: Part
    record: dict[str, Any]
    search: NearestRows

    def index(self, X: NDArray[Any]) -> Float64:
        """Dissimilarity index of rows, float64 of shape (n,); 0 where a reference row is equal, no upper limit."""
        found = np.empty(len(X))
        for a in range(0, len(X), _BLOCK):
            found[a : a + _BLOCK] = self.search.query(self.space.place(X[a : a + _BLOCK]))[0]
        return found / self.mean_distance


def dissimilarity(
    train: Part,
    weights: Mapping[str, float],
    *,
    reference_rows: int = REFERENCE_ROWS,
    folds: Folds = "site",
    seed: int = 0,
    jobs: int = 1,
) -> Dissimilarity:
    """Make the index from train rows.

    Parameters
    ----------
    train : Part
        Mean and standard deviation are of all its rows.
    weights : mapping
        A weight for every covariate, not negative; see :func:`fluxtrapolation.shift.importances.feature_weights`.
    reference_rows : int
        Train rows that others are compared with; every tower keeps its share. With fewer rows all distances grow, the
        threshold's and the test's alike.
    folds : {'site', 'domain'} or int
        What the threshold leaves out: each tower (default), each domain (a tower-year in a scenario by years, whose
        test towers the train has seen), or k groups of towers.
    seed : int
    jobs : int
        Threads.

    Raises
    ------
    ScenarioError
        If train has fewer folds than two.
    DataError
        If covariates are missing, or none varies, or all reference rows are equal.
    """
    if reference_rows < 2:
        raise DataError(f"reference_rows must be at least 2, not {reference_rows}.")
    space = FeatureSpace.of(train.X, train.feature_names, weights)
    reference = train.subsample(reference_rows, seed=seed)
    points = space.place(reference.X)
    groups, told = _groups(reference, folds, seed)
    mean, error, pairs = mean_distance(points, seed=seed)
    if mean == 0:
        raise DataError("All reference rows are equal in the covariates that count, so there is no distance.")
    own = nearest_outside(points, groups, jobs=jobs)[0] / mean
    record = {
        "reference_rows": len(reference),
        "train_rows": len(train),
        "train_towers": len(reference.sites),
        "folds": told,
        "seed": seed,
        "mean_distance": mean,
        "mean_distance_error": error,
        "pairs": pairs,
        "weights": dict(space.weights),
        "constant": list(space.constant),
        "pft_gap": space.gap,
    }
    return Dissimilarity(space, whisker(own), mean, own, reference, record, NearestRows(points, jobs=jobs))


def whisker(values: Float64) -> float:
    """``Q75 + 1.5 (Q75 - Q25)``, at most the largest value."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(min(high + 1.5 * (high - low), values.max()))


def _groups(reference: Part, folds: Folds, seed: int) -> tuple[NDArray[np.int32], str]:
    """Fold of each reference row, and what to call the folds."""
    if folds == "domain":
        codes, names, told = reference.domain_codes, reference.domains, f"each {reference.domain_kind} left out"
    elif folds == "site":
        codes, names, told = reference.site_codes, reference.sites, "each tower left out"
    elif isinstance(folds, int) and not isinstance(folds, bool) and folds >= 2:
        order = np.random.default_rng(seed).permutation(len(reference.sites))
        fold = np.empty(len(order), dtype=np.int32)
        fold[order] = np.arange(len(order)) % folds
        codes, names, told = fold[reference.site_codes], reference.sites, f"{folds} groups of towers"
        if folds > len(names):
            raise ScenarioError(f"There are {len(names)} train towers; {folds} folds of towers need as many or more.")
    else:
        raise DataError(f"folds is {folds!r}; give 'site', 'domain' or a number of groups of towers, at least 2.")
    if len(names) < 2:
        raise ScenarioError(
            f"The reference rows are of one {'tower' if folds != 'domain' else reference.domain_kind} only "
            f"({examples(names)}), so the threshold cannot be cross-validated. Choose a scenario with more train "
            "towers, or raise reference_rows."
        )
    return codes, told

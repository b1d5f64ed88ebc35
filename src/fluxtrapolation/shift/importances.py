"""Weights of the covariates: what the model itself says counts, or what it loses when a covariate is shuffled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError, ModelError, did_you_mean, examples
from fluxtrapolation.scenarios import Part
from fluxtrapolation.shift.covariate_pool import PFT, Covariate, covariate_groups, seeded

Float64 = NDArray[np.float64]
Weights = Literal["model", "equal"] | Mapping[str, float]

SAMPLE: Final = 20_000
"""Validation rows on which covariates are shuffled."""
REPEATS: Final = 3


@dataclass(frozen=True)
class Importances:
    """Weights of the covariates and where they come from.

    Attributes
    ----------
    weights : dict
        By covariate, ``PFT`` for the one-hot columns together; not negative, sum 1.
    source : str
        What was read: 'total gain of the booster', 'feature_importances_', 'standardised coefficients',
        'permutation', 'equal', or 'given'.
    notes : tuple of str
        What a reader must know, such as covariates whose importance was negative and counts as 0.
    """

    weights: dict[str, float]
    source: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"weights": dict(self.weights), "source": self.source, "notes": list(self.notes)}


def feature_weights(
    model: Any,
    train: Part,
    validation: Part | None,
    *,
    weights: Weights = "model",
    seed: int = 0,
) -> Importances:
    """Weights of the covariates for distances.

    ``model`` takes, in this order: the total gain of a fitted booster (XGBoost, LightGBM; summed over a covariate's
    splits); ``feature_importances_``; ``|coef_|`` times the standard deviation of the column in train. One-hot columns
    count together: gains and importances are added, coefficients give the standard deviation of the whole block's
    contribution. Where the model has none of these on the columns of ``X`` (forests whose leaves were chosen anew,
    networks, pipelines, ensembles, a booster on some columns), the loss by permutation is taken: the rise of the mean
    squared error on at most 20,000 validation rows when the covariate is shuffled, the one-hot columns together.

    Parameters
    ----------
    model : object
        Fitted, with ``predict``; needed only for ``weights='model'``.
    train : Part
    validation : Part or None
        For the permutation; train rows are taken, saying so, where there is none.
    weights : {'model', 'equal'} or mapping
        Or a weight for every covariate (``PFT`` for the classes).
    seed : int

    Raises
    ------
    DataError
        If given weights lack a covariate, name another, are negative, or all are 0.
    ModelError
        If the model has no importances and cannot predict, or all its importances are 0.
    """
    groups = covariate_groups(train.feature_names)
    if isinstance(weights, Mapping):
        return Importances(_given(weights, groups), "given")
    if weights == "equal":
        return Importances({group.name: 1.0 / len(groups) for group in groups}, "equal")
    if weights != "model":
        raise DataError(f"weights is {weights!r}; give 'model', 'equal', or a weight for every covariate.")
    if model is None:
        raise ModelError("Weights by the model need a model. Give one, fitted, or weights='equal'.")
    raw, source, notes = _of_model(model, train, validation, groups, seed)
    values = np.array([raw[group.name] for group in groups])
    negative = [group.name for group, value in zip(groups, values, strict=True) if value < 0]
    if negative:
        notes.append(f"importance of {examples(negative, 5)} was negative and counts as 0")
    unknown = [group.name for group, value in zip(groups, values, strict=True) if not np.isfinite(value)]
    if unknown:
        notes.append(f"importance of {examples(unknown, 5)} was missing or infinite and counts as 0")
    values = np.where(np.isfinite(values), np.maximum(values, 0.0), 0.0)
    if values.sum() == 0:
        raise ModelError(
            f"All {len(groups)} importances of the model are 0 ({source}): it does not look at the covariates, so no "
            "row is nearer than another to it. Give weights='equal' or a weight for every covariate."
        )
    return Importances(
        {group.name: float(value) for group, value in zip(groups, values / values.sum(), strict=True)},
        source,
        tuple(notes),
    )


def _given(weights: Mapping[str, float], groups: Sequence[Covariate]) -> dict[str, float]:
    names = [group.name for group in groups]
    for name in weights:
        if name not in names:
            raise DataError(f"There is no covariate {name!r}.{did_you_mean(name, names)} Known: {', '.join(names)}.")
    lacking = [name for name in names if name not in weights]
    if lacking:
        raise DataError(f"{len(lacking)} covariates have no weight: {examples(lacking)}. Give 0 to leave one out.")
    values = np.array([float(weights[name]) for name in names])
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() == 0:
        raise DataError(f"Weights must be finite, not negative and not all 0: {dict(weights)}.")
    return dict(zip(names, (values / values.sum()).tolist(), strict=True))


def _of_model(
    model: Any, train: Part, validation: Part | None, groups: Sequence[Covariate], seed: int
) -> tuple[dict[str, float], str, list[str]]:
    width = len(train.feature_names)
    # A wrapped estimator keeps the fitted one inside; what it says counts only if it is told column by column of X.
    inner = getattr(model, "fitted_", model)
    gain = _total_gain(getattr(inner, "booster_", None), width)
    if gain is not None:
        return _added(gain, groups), "total gain of the booster", []
    told = None if hasattr(inner, "steps") else _vector(getattr(inner, "feature_importances_", None), width)
    if told is not None:
        return _added(told, groups), "feature_importances_", []
    slopes = None if hasattr(inner, "steps") else _vector(getattr(inner, "coef_", None), width)
    if slopes is not None:
        return _standardised(slopes, train, groups), "standardised coefficients", []
    return _by_permutation(model, train, validation, groups, seed)


def _vector(values: Any, width: int) -> Float64 | None:
    """Values as one number for each column of X; None if they are not that."""
    if values is None:
        return None
    found = np.asarray(values, dtype=np.float64).ravel()
    return found if found.shape == (width,) else None


def _total_gain(booster: Any, width: int) -> Float64 | None:
    """Gain summed over the splits of each column; None without a booster grown on all columns."""
    if booster is None:
        return None
    if hasattr(booster, "get_score"):  # XGBoost
        if booster.num_features() != width:
            return None
        score = booster.get_score(importance_type="total_gain")
        names = booster.feature_names or [f"f{i}" for i in range(width)]
        return np.array([float(score.get(name, 0.0)) for name in names])
    if hasattr(booster, "feature_importance"):  # LightGBM
        return _vector(booster.feature_importance(importance_type="gain"), width)
    return _vector(getattr(booster, "feature_importances_", None), width)  # CatBoost


def _added(values: Float64, groups: Sequence[Covariate]) -> dict[str, float]:
    return {group.name: float(values[list(group.columns)].sum()) for group in groups}


def _standardised(slopes: Float64, train: Part, groups: Sequence[Covariate]) -> dict[str, float]:
    """Standard deviation, over train, of what each covariate adds to the prediction."""
    found = {}
    for group in groups:
        at = list(group.columns)
        if group.name == PFT:
            shares = train.X[:, at].mean(axis=0, dtype=np.float64)
            mean = float(shares @ slopes[at])
            # Rows of a class without a column contribute 0.
            square = float(shares @ np.square(slopes[at]))
            found[group.name] = float(np.sqrt(max(square - mean**2, 0.0)))
        else:
            found[group.name] = float(abs(slopes[at[0]]) * train.X[:, at[0]].std(dtype=np.float64))
    return found


def _by_permutation(
    model: Any, train: Part, validation: Part | None, groups: Sequence[Covariate], seed: int
) -> tuple[dict[str, float], str, list[str]]:
    rows, notes = validation, []
    if rows is None or not np.isfinite(rows.y).any():
        rows = train
        notes.append("covariates were shuffled on train rows: the split has no validation rows with the target")
    there = np.isfinite(rows.y)
    rows = (rows if there.all() else rows.take(there)).subsample(SAMPLE, seed=seed)
    X, y = rows.X.copy(), rows.y.astype(np.float64)

    def error() -> float:
        return float(np.mean(np.square(y - _predict(model, X))))

    base = error()
    rng = seeded(seed, 71)
    found = {}
    for group in groups:
        at = list(group.columns)
        kept = X[:, at].copy()
        rises = []
        for _ in range(REPEATS):
            X[:, at] = kept[rng.permutation(len(X))]
            rises.append(error() - base)
        X[:, at] = kept
        found[group.name] = float(np.mean(rises))
    return found, "permutation", notes


def _predict(model: Any, X: NDArray[Any]) -> Float64:
    predict = getattr(model, "predict", None)
    if predict is None:
        raise ModelError(
            f"{type(model).__name__} has neither importances nor predict. Give a fitted model, or weights='equal'."
        )
    predicted = np.asarray(predict(X), dtype=np.float64)
    if predicted.shape != (len(X),):
        raise ModelError(
            f"{type(model).__name__}: predict gave an array of shape {predicted.shape} for {len(X):,} rows."
        )
    return predicted

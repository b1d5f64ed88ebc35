"""Linear models: ordinary least squares and ridge, from one pass of float64 moments.

Both need only the means and the centred cross products of [X, y]. Forming them in blocks costs one float64 block
of memory instead of a float64 copy of X, and is exact enough because columns are centred and scaled before the
normal equations are solved.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.registry import ModelSpec, Needs

if TYPE_CHECKING:
    import optuna

Floats = NDArray[np.float64]
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Moments:
    """Means and centred cross products of the columns of X and of y, in float64."""

    n: int
    mean_x: Floats
    mean_y: float
    xx: Floats
    xy: Floats


def moments(X: NDArray[np.float32], y: NDArray[np.float32]) -> Moments:
    """Two passes over the rows in blocks: means first, then centred products (no cancellation)."""
    mean_x = X.mean(axis=0, dtype=np.float64)
    mean_y = float(y.mean(dtype=np.float64))
    width = X.shape[1]
    xx, xy = np.zeros((width, width)), np.zeros(width)
    for begin in range(0, len(X), _BLOCK):
        rows = X[begin : begin + _BLOCK] - mean_x
        xx += rows.T @ rows
        xy += rows.T @ (y[begin : begin + _BLOCK] - mean_y)
    return Moments(len(X), mean_x, mean_y, xx, xy)


class _Linear(FluxModel):
    coef_: Floats
    intercept_: float

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        out = np.empty(len(X), dtype=np.float32)
        for begin in range(0, len(X), _BLOCK):
            out[begin : begin + _BLOCK] = X[begin : begin + _BLOCK] @ self.coef_ + self.intercept_
        return out

    def _save(self, folder: Path) -> None:
        body = {"coef": self.coef_.tolist(), "intercept": self.intercept_}
        (folder / "linear.json").write_text(json.dumps(body))

    def _load(self, folder: Path) -> None:
        body = json.loads((folder / "linear.json").read_text())
        self.coef_, self.intercept_ = np.asarray(body["coef"], dtype=np.float64), float(body["intercept"])


class LinearRegression(_Linear):
    """Ordinary least squares with intercept; the smallest coefficients (in the units of X) where columns are collinear.

    One-hot plant functional types sum to one, so with an intercept they are always collinear. For classes seen in
    training the solution does not matter; for an unseen class it does: the smallest coefficients give it the mean of
    the seen ones, as LAPACK's gelsd (scikit-learn's LinearRegression) does.
    """

    name = "lr"

    def _fit(self, X: NDArray[np.float32], y: NDArray[np.float32], **_: Any) -> None:
        m = moments(X, y)
        spread = np.sqrt(np.diag(m.xx))
        scale = np.where(spread > 0, spread, 1.0)
        # Scaled to a unit diagonal, so that one relative cut-off finds the null space of all columns.
        values, vectors = np.linalg.eigh(m.xx / np.outer(scale, scale))
        keep = values > values[-1] * len(values) * np.finfo(np.float32).eps * 1e-3
        projected = vectors[:, keep].T @ (m.xy / scale)
        coef = (vectors[:, keep] @ (projected / values[keep])) / scale
        null = np.linalg.qr(vectors[:, ~keep] / scale[:, None]).Q
        self.coef_ = coef - null @ (null.T @ coef)
        self.intercept_ = float(m.mean_y - m.mean_x @ self.coef_)


class Ridge(_Linear):
    """Ridge regression on robustly scaled columns.

    Minimises ``sum (y - Xs w - b)^2 + alpha |w|^2``, where ``Xs`` is X scaled by median and interquartile range of the
    train rows (a constant range counts as 1), and ``b`` is not penalised.

    Parameters
    ----------
    alpha : float, default 1.0
        Strength of the penalty, at least 0.
    """

    name = "ridge"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def _fit(self, X: NDArray[np.float32], y: NDArray[np.float32], **_: Any) -> None:
        m = moments(X, y)
        low, high = np.empty(X.shape[1]), np.empty(X.shape[1])
        for column in range(X.shape[1]):
            low[column], high[column] = np.quantile(X[:, column], [0.25, 0.75])
        # Centring by the median changes only the intercept; the range changes the penalty.
        scale = np.where(high > low, high - low, 1.0)
        gram = m.xx / np.outer(scale, scale) + self.alpha * np.eye(len(scale))
        self.coef_ = np.linalg.lstsq(gram, m.xy / scale, rcond=None)[0] / scale
        self.intercept_ = float(m.mean_y - m.mean_x @ self.coef_)


def _ridge_space(trial: optuna.Trial) -> dict[str, Any]:
    return {"alpha": trial.suggest_float("alpha", 1e-3, 1e2, log=True)}


SPECS = (
    ModelSpec(
        name="lr",
        summary="ordinary least squares",
        factory=lambda: LinearRegression,
        source="baseline of the skill score",
    ),
    ModelSpec(
        name="ridge",
        summary="ridge regression on robustly scaled covariates",
        factory=lambda: Ridge,
        source="Hoerl and Kennard (1970), doi:10.1080/00401706.1970.10488634",
        space=_ridge_space,
        space_text="alpha: log-uniform 1e-3..1e2",
        needs=Needs(extra="models"),
    ),
)

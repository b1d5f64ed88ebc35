"""Linear models: ordinary least squares and ridge from one pass of float64 moments, Huber regression from a few.

The first two need only the means and the centred cross products of [X, y]. Forming them in blocks costs one float64
block of memory instead of a float64 copy of X, and is exact enough because columns are centred and scaled before the
normal equations are solved. Huber regression reads the rows in the same blocks, once for each step of Newton's method.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError
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
        if not self.alpha >= 0:
            raise ModelError(f"ridge needs alpha >= 0, not {self.alpha:g}.")
        m = moments(X, y)
        # Centring by the median would change only the intercept; the range changes the penalty.
        scale = _robust_scale(X)[1]
        gram = m.xx / np.outer(scale, scale) + self.alpha * np.eye(len(scale))
        self.coef_ = np.linalg.lstsq(gram, m.xy / scale, rcond=None)[0] / scale
        self.intercept_ = float(m.mean_y - m.mean_x @ self.coef_)


class RobustLinear(_Linear):
    """Huber regression on robustly scaled columns.

    Minimises over coefficients w, intercept b and scale s > 0 (Huber 1964; the scale as in Owen 2006)

        ``sum_i [s + H((y_i - x_i w - b) / s) s] + alpha |w|^2``,  ``H(z) = z^2 if |z| <= epsilon else 2 epsilon |z| -
        epsilon^2``,

    where x is X scaled by median and interquartile range of the train rows. It is scikit-learn's HuberRegressor. The
    function is convex in (w, b, s) together and is minimised by Newton's method with backtracking, so that a fit costs
    a few passes over the rows in float64 blocks, and no copy of them.

    Parameters
    ----------
    alpha : float, default 1e-3
        Strength of the penalty, at least 0.
    epsilon : float, default 1.35
        Errors beyond ``epsilon`` times the scale count linearly; above 1.
    max_iter : int
        Most steps.
    """

    name = "robust-lr"

    def __init__(self, alpha: float = 1e-3, epsilon: float = 1.35, max_iter: int = 100) -> None:
        self.alpha = alpha
        self.epsilon = epsilon
        self.max_iter = max_iter

    def _fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        *,
        time_limit: float | None,
        **_: Any,
    ) -> None:
        if not self.epsilon > 1 or not self.alpha >= 0:
            raise ModelError(f"robust-lr needs epsilon > 1 and alpha >= 0, not {self.epsilon:g} and {self.alpha:g}.")
        end = float("inf") if time_limit is None else time.monotonic() + time_limit
        centre, scale = _robust_scale(X)
        huber = _Huber(X, y, centre, scale, self.alpha, self.epsilon)
        point, exact = huber.start()
        stopped, steps = "converged", 0
        if not exact:
            point, stopped, steps = _newton(huber, point, self.max_iter, end)
        self.coef_ = point[:-2] / scale
        self.intercept_ = float(point[-2] - centre @ self.coef_)
        self.report_ = {
            "steps": steps,
            "stopped": stopped,
            "scale": float(point[-1]),
            "linear_share": huber.outliers / len(y),
        }
        if stopped != "converged":
            self.notes_ = (f"robust-lr has not converged (stopped by {stopped} after {steps} steps)",)


class _Huber:
    """The objective of Huber regression with gradient and second derivatives at (w, b, s), in blocks of rows."""

    def __init__(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        centre: Floats,
        scale: Floats,
        alpha: float,
        epsilon: float,
    ) -> None:
        self.X, self.y, self.centre, self.scale = X, y, centre, scale
        self.alpha, self.epsilon = alpha, epsilon
        self.outliers = 0

    def start(self) -> tuple[Floats, bool]:
        """Ridge regression and the root mean square of its errors; and whether that is 0 but for rounding.

        Where y is exactly linear in X (or constant) the scale is 0, where the function is not defined, and least
        squares is the answer.
        """
        m = moments(self.X, self.y)
        xx, xy = m.xx / np.outer(self.scale, self.scale), m.xy / self.scale
        w = np.linalg.lstsq(xx + self.alpha * np.eye(len(xy)), xy, rcond=None)[0]
        b = m.mean_y - ((m.mean_x - self.centre) / self.scale) @ w
        yy = sum(float(np.square(block - m.mean_y).sum()) for block in _blocks(self.y))
        square = max(yy - 2 * xy @ w + w @ xx @ w, 0.0)
        return np.array([*w, b, np.sqrt(square / m.n)]), bool(square <= 1e-12 * yy)

    def __call__(self, point: Floats) -> tuple[float, Floats, Floats]:
        """Value, gradient and second derivatives."""
        width = len(self.scale)
        p, s = point[:-1], point[-1]
        value, inside, slope = 0.0, np.zeros((width + 1, width + 1)), np.zeros(width + 1)
        inside_error, inside_square, self.outliers = np.zeros(width + 1), 0.0, 0
        for begin in range(0, len(self.y), _BLOCK):
            A = np.ones((len(self.y[begin : begin + _BLOCK]), width + 1))
            np.divide(self.X[begin : begin + _BLOCK] - self.centre, self.scale, out=A[:, :-1])
            error = self.y[begin : begin + _BLOCK] - A @ p
            far = np.abs(error) > self.epsilon * s
            value += 2 * self.epsilon * float(np.abs(error[far]).sum())
            slope += np.sign(error[far]) @ A[far]
            self.outliers += int(far.sum())
            near = np.where(far, 0.0, error)
            inside_error += near @ A
            inside_square += float(near @ near)
            A[far] = 0.0
            inside += A.T @ A
        n, far_rows, penalised = len(self.y), self.outliers, np.append(np.ones(width), 0.0)
        value += n * s + inside_square / s - s * self.epsilon**2 * far_rows + self.alpha * float(p[:-1] @ p[:-1])
        gradient = np.append(
            -2 / s * inside_error - 2 * self.epsilon * slope + 2 * self.alpha * penalised * p,
            n - inside_square / s**2 - far_rows * self.epsilon**2,
        )
        second = np.empty((width + 2, width + 2))
        second[:-1, :-1] = 2 / s * inside + 2 * self.alpha * np.diag(penalised)
        second[:-1, -1] = second[-1, :-1] = 2 / s**2 * inside_error
        second[-1, -1] = 2 / s**3 * inside_square
        return value, gradient, second


def _newton(huber: _Huber, point: Floats, max_iter: int, end: float) -> tuple[Floats, str, int]:
    """Minimise; gives the last point, why it stopped, and the number of steps."""
    value, gradient, second = huber(point)
    for step in range(max_iter):
        if time.monotonic() >= end:
            return point, "time_limit", step
        # Collinear columns leave directions without curvature: least squares takes the shortest step.
        direction = -np.linalg.lstsq(second, gradient, rcond=None)[0]
        decrease = -float(gradient @ direction)
        if decrease <= 1e-10 * abs(value):
            return point, "converged", step
        length = 1.0 if direction[-1] >= 0 else min(1.0, 0.9 * point[-1] / -direction[-1])  # the scale stays positive
        while True:
            trial = point + length * direction
            new_value, new_gradient, new_second = huber(trial)
            if new_value <= value - 1e-4 * length * decrease:
                break
            length /= 2
            if length < 1e-10:
                return point, "no_decrease", step
        point, value, gradient, second = trial, new_value, new_gradient, new_second
    return point, "max_iter", max_iter


def _robust_scale(X: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Median and interquartile range of each column, shape (features,) each; a range of 0 counts as 1."""
    low, middle, high = (np.empty(X.shape[1]) for _ in range(3))
    for column in range(X.shape[1]):
        low[column], middle[column], high[column] = np.quantile(X[:, column], [0.25, 0.5, 0.75])
    return middle, np.where(high > low, high - low, 1.0)


def _blocks(values: NDArray[np.float32]) -> Iterator[Floats]:
    for begin in range(0, len(values), _BLOCK):
        yield values[begin : begin + _BLOCK].astype(np.float64)


def _robust_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "alpha": trial.suggest_float("alpha", 1e-3, 1e2, log=True),
        "epsilon": trial.suggest_float("epsilon", 1.1, 2.0),
    }


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
        needs=Needs(extra="models", scaling=True),
    ),
    ModelSpec(
        name="robust-lr",
        summary="Huber regression on robustly scaled covariates",
        factory=lambda: RobustLinear,
        source="Huber (1964), doi:10.1214/aoms/1177703732",
        space=_robust_space,
        space_text="alpha: log-uniform 1e-3..1e2; epsilon: 1.1..2",
        needs=Needs(extra="models", scaling=True),
    ),
)

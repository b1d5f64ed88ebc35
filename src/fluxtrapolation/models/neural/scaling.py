"""Scaling of covariates and target, fitted on the train rows only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
STOPPING_ROWS: Final = 250_000
"""Validation rows, at most, that decide when training stops; more change the choice hardly and cost an epoch's time."""
_MOST = 1_000_000  # rows whose quartiles are taken; more change nothing that matters


@dataclass(frozen=True)
class Scaling:
    """Robust scaling of covariates, and standardisation of the target.

    ``x_scaled = (x - median) / IQR`` by column (an IQR of 0, as in one-hot columns, counts as 1), and
    ``y_scaled = (y - mean) / standard deviation``. A target of unit variance makes learning rates and penalty weights
    mean the same for GPP, NEE and ET.

    Attributes
    ----------
    centre, spread : ndarray of float32, shape (features,)
    target_centre, target_spread : float
    """

    centre: Float32
    spread: Float32
    target_centre: float
    target_spread: float

    @classmethod
    def fit(cls, X: Float32, y: Float32) -> Self:
        """Take the medians and ranges of the rows; of every k-th where there are more than a million.

        Parameters
        ----------
        X : ndarray of float32, shape (n, features)
        y : ndarray of float32, shape (n,)
        """
        return cls.of(X, float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64)))

    @classmethod
    def of(cls, X: Float32, mean: float, deviation: float) -> Self:
        step = thinning(len(X), _MOST)
        quartiles = np.empty((3, X.shape[1]))
        for column in range(X.shape[1]):
            quartiles[:, column] = np.quantile(X[::step, column], [0.25, 0.5, 0.75])
        spread = quartiles[2] - quartiles[0]
        return cls(
            centre=quartiles[1].astype(np.float32),
            spread=np.where(spread > 0, spread, 1.0).astype(np.float32),
            target_centre=mean,
            target_spread=deviation if deviation > 0 else 1.0,
        )

    def covariates(self, X: Float32) -> Float32:
        """Scaled covariates, a new array of float32."""
        out: Float32 = np.subtract(X, self.centre, dtype=np.float32)
        out /= self.spread
        return out

    def target(self, y: Float32) -> Float32:
        """Scaled target, a new array of float32."""
        out: Float32 = np.subtract(y, np.float32(self.target_centre), dtype=np.float32)
        out /= np.float32(self.target_spread)
        return out

    def restore(self, scaled: Float32) -> Float32:
        """Scaled predictions back in the target's unit."""
        return np.asarray(scaled * np.float32(self.target_spread) + np.float32(self.target_centre))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays, to be saved with the weights."""
        return {
            "scaling.centre": self.centre,
            "scaling.spread": self.spread,
            "scaling.target": np.array([self.target_centre, self.target_spread], dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        centre, spread = (float(value) for value in arrays["scaling.target"])
        return cls(arrays["scaling.centre"], arrays["scaling.spread"], centre, spread)


def thinning(n: int, most: int) -> int:
    """Step with which at most ``most`` of ``n`` rows in the order of time are taken.

    It has no factor in common with 24: every 12th hour, say, would be noons and midnights only.
    """
    step = max(1, -(-n // most))
    while step > 1 and math.gcd(step, 24) > 1:
        step += 1
    return step

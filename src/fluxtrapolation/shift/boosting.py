"""The gradient-boosted trees that measure shift: one setting for all of them, the published one."""

from __future__ import annotations

import os
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

ITERATIONS: Final = 100
DEPTH: Final = 6
SETTINGS: Final = {"max_iter": ITERATIONS, "max_depth": DEPTH}
"""Published settings (BENCHMARK, section 5): 100 iterations, depth 6. All else is scikit-learn's default, except that
training never stops early."""


class Classifier(Protocol):
    """What the measures need of a domain classifier."""

    def fit(self, X: Float32, y: NDArray[Any], sample_weight: Float64 | None = None) -> Any: ...
    def predict_proba(self, X: Float32) -> Float64: ...


class Regressor(Protocol):
    """What the measures need of a regressor."""

    def fit(self, X: Float32, y: NDArray[Any], sample_weight: Float64 | None = None) -> Any: ...
    def predict(self, X: Float32) -> Float64: ...


def domain_classifier(*, seed: int, iterations: int = ITERATIONS, depth: int = DEPTH) -> Classifier:
    """Histogram gradient boosting (scikit-learn) that tells test rows (1) from train rows (0), unfitted.

    Raises
    ------
    ModelError
        If scikit-learn is not installed.
    """
    ensemble = _sklearn_ensemble()
    made: Classifier = ensemble.HistGradientBoostingClassifier(
        max_iter=iterations, max_depth=depth, early_stopping=False, random_state=seed
    )
    return made


def shift_regressor(*, seed: int, iterations: int = ITERATIONS, depth: int = DEPTH) -> Regressor:
    """Histogram gradient boosting (scikit-learn) of a flux on the covariates, unfitted; squared error."""
    ensemble = _sklearn_ensemble()
    made: Regressor = ensemble.HistGradientBoostingRegressor(
        max_iter=iterations, max_depth=depth, early_stopping=False, random_state=seed
    )
    return made


def _sklearn_ensemble() -> Any:
    # Threads that spin while they wait make a fit many times slower where other work shares the cores. The setting is
    # read when the first library with OpenMP is loaded, and counts only if the user made none.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import sklearn.ensemble
    except ImportError as error:
        raise ModelError(
            f"The measures of shift need scikit-learn ({error}). Install it: pip install 'fluxtrapolation[models]'"
        ) from None
    return sklearn.ensemble

"""The published metrics, each a function of the additive statistics.

A metric of your own takes five lines::

    from fluxtrapolation.evaluation import metric

    @metric("mean_square_ratio", unit="1", best=0.0, needs=("variance_true",))
    def mean_square_ratio(m):
        return m.sum_e2 / m.m2_true

and one that needs the pairs themselves as well::

    @metric("largest_error", unit="target", best=0.0, takes="pairs")
    def largest_error(pairs):
        return pairs.quantile(pairs.sorted_size, 1.0)

T is observed (``y_true``), P predicted (``y_pred``), over the pairs of one (scale, domain) with both finite.
"""

from __future__ import annotations

import numpy as np

from fluxtrapolation.evaluation import opt_in as opt_in  # registers the metrics that are computed when asked for
from fluxtrapolation.evaluation.registry import _REGISTRY as _REGISTRY
from fluxtrapolation.evaluation.registry import (
    NEEDS,
    PUBLISHED,
    UNDEFINED,
    Metric,
    choose_metrics,
    compute,
    get_metric,
    metric,
    metric_names,
)
from fluxtrapolation.evaluation.statistics import Floats, Moments

__all__ = [
    "NEEDS",
    "PUBLISHED",
    "UNDEFINED",
    "Metric",
    "choose_metrics",
    "compute",
    "get_metric",
    "metric",
    "metric_names",
]


@metric("mse", unit="target^2", best=0.0)
def mse(m: Moments) -> Floats:
    """Mean squared error, mean of (P - T)^2. Range 0 to infinity, best 0. Unit: that of the target, squared."""
    return m.sum_e2 / m.n


@metric("rmse", unit="target", best=0.0)
def rmse(m: Moments) -> Floats:
    """Root mean squared error, sqrt(mse). Range 0 to infinity, best 0. Unit of the target."""
    return np.sqrt(m.sum_e2 / m.n)


@metric("mae", unit="target", best=0.0)
def mae(m: Moments) -> Floats:
    """Mean absolute error, mean of |P - T|. Range 0 to infinity, best 0. Unit of the target."""
    return m.sum_abs_e / m.n


@metric("nse", unit="1", best=1.0, higher_is_better=True, needs=("variance_true",))
def nse(m: Moments) -> Floats:
    """Nash-Sutcliffe efficiency, 1 - sum (T - P)^2 / sum (T - mean T)^2. Range minus infinity to 1, best 1.

    Null (``zero_variance``) where T does not vary. Nash and Sutcliffe (1970), doi:10.1016/0022-1694(70)90255-6.
    """
    return 1.0 - m.sum_e2 / m.m2_true


@metric("r2_score", unit="1", best=1.0, higher_is_better=True, needs=("variance_true", "variance_pred"))
def r2_score(m: Moments) -> Floats:
    """Squared Pearson correlation of T and P (the published meaning of the name). Range 0 to 1, best 1.

    Null (``zero_variance``) where T or P does not vary, hence also with fewer than two pairs.
    """
    return np.minimum((m.c_true_pred / np.sqrt(m.m2_true) / np.sqrt(m.m2_pred)) ** 2, 1.0)


@metric("bias", unit="target", best=0.0, two_sided=True)
def bias(m: Moments) -> Floats:
    """Mean of T - P: observed minus predicted, the published sign. Positive: the model predicts too little.

    Any value, best 0. Unit of the target.
    """
    return m.sum_e / m.n


@metric("relative_mae", unit="1", best=0.0, needs=("mean_true",))
def relative_mae(m: Moments) -> Floats:
    """Mean of |P - T| divided by the mean of T; it has the sign of mean T. Best 0.

    Null (``zero_mean``) where the mean of T is 0.
    """
    return m.sum_abs_e / m.n / m.mean_observed()


@metric("relative_bias", unit="1", best=0.0, needs=("mean_true",), two_sided=True)
def relative_bias(m: Moments) -> Floats:
    """Mean of T - P divided by the mean of T. Any value, best 0. Null (``zero_mean``) where the mean of T is 0."""
    return m.sum_e / m.n / m.mean_observed()

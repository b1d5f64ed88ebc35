"""Metrics that are computed only when asked for: ``evaluate(..., metrics=["rmse", "kge"])``, ``--metrics all``.

T is observed (``y_true``), P predicted (``y_pred``), over the pairs of one (scale, domain) with both finite. At anom
and iav the mean of T is zero by construction, so that ``mean_ratio`` and ``kge`` are null there.
"""

from __future__ import annotations

import numpy as np

from fluxtrapolation.evaluation.pairs import Pairs
from fluxtrapolation.evaluation.registry import metric
from fluxtrapolation.evaluation.statistics import Floats, Moments


@metric("centred_rmse", unit="target", best=0.0, needs=("two_pairs",))
def centred_rmse(m: Moments) -> Floats:
    """Centred root mean squared error (unbiased RMSE): sqrt(mean ((P - T) - mean (P - T))^2) = sqrt(mse - bias^2).

    Unit of the target, range 0 to infinity, best 0: what is left of the RMSE when the bias is taken off. Null
    (``single_pair``) with one pair, of which nothing would be left. Taylor (2001), doi:10.1029/2000JD900719; Entekhabi
    et al. (2010), doi:10.1175/2010JHM1223.1.
    """
    return np.sqrt(m.m2_error / m.n)


@metric("correlation", unit="1", best=1.0, higher_is_better=True, needs=("variance_true", "variance_pred"))
def correlation(m: Moments) -> Floats:
    """Pearson correlation of T and P; r of the Kling-Gupta efficiency. Range -1 to 1, best 1.

    Its square is ``r2_score``, which hides the sign. Null (``zero_variance``) where T or P does not vary.
    """
    return np.clip(m.c_true_pred / np.sqrt(m.m2_true) / np.sqrt(m.m2_pred), -1.0, 1.0)


@metric("variability_ratio", unit="1", best=1.0, needs=("variance_true",), two_sided=True)
def variability_ratio(m: Moments) -> Floats:
    """Standard deviation of P divided by that of T; alpha of the Kling-Gupta efficiency. Range 0 to infinity, best 1.

    Below 1 the prediction varies too little. Null (``zero_variance``) where T does not vary.
    """
    return np.sqrt(m.m2_pred) / np.sqrt(m.m2_true)


@metric("variance_ratio", unit="1", best=1.0, needs=("variance_true",), two_sided=True)
def variance_ratio(m: Moments) -> Floats:
    """Variance of P divided by the variance of T. Range 0 to infinity, best 1.

    Below 1 the prediction varies too little. Null (``zero_variance``) where T does not vary.
    """
    return m.m2_pred / m.m2_true


@metric("mean_ratio", unit="1", best=1.0, needs=("mean_true",), two_sided=True)
def mean_ratio(m: Moments) -> Floats:
    """Mean of P divided by the mean of T; beta of the Kling-Gupta efficiency. Any value, best 1.

    Null (``zero_mean``) where the mean of T is 0.
    """
    return (m.mean_pred + m.shift_pred) / m.mean_observed()


@metric("kge", unit="1", best=1.0, higher_is_better=True, needs=("variance_true", "variance_pred", "mean_true"))
def kge(m: Moments) -> Floats:
    """Kling-Gupta efficiency, 1 - sqrt((r - 1)^2 + (alpha - 1)^2 + (beta - 1)^2). Range minus infinity to 1, best 1.

    r is ``correlation``, alpha ``variability_ratio``, beta ``mean_ratio``. The mean of T as prediction would give
    1 - sqrt(2) = -0.41 (Knoben et al. 2019, doi:10.5194/hess-23-4323-2019). Null (``zero_variance``) where T or P does
    not vary, (``zero_mean``) where the mean of T is 0. Gupta et al. (2009), doi:10.1016/j.jhydrol.2009.08.003.
    """
    away = (correlation(m) - 1.0) ** 2 + (variability_ratio(m) - 1.0) ** 2 + (mean_ratio(m) - 1.0) ** 2
    return 1.0 - np.sqrt(away)


@metric("willmott_d", unit="1", best=1.0, higher_is_better=True, needs=("variance_true",), takes="pairs")
def willmott_d(pairs: Pairs) -> Floats:
    """Index of agreement, 1 - sum (P - T)^2 / sum (|P - mean T| + |T - mean T|)^2. Range 0 to 1, best 1.

    Null (``zero_variance``) where T does not vary: there it would be 0 for every prediction but the perfect one.
    Willmott (1981), doi:10.1080/02723646.1981.10642213.
    """
    from_true, from_pred = pairs.deviations
    return 1.0 - pairs.sum(pairs.error**2) / pairs.sum((np.abs(from_pred) + np.abs(from_true)) ** 2)


def _quantile_error(pairs: Pairs, q: float) -> Floats:
    observed, predicted = pairs.quantile(pairs.sorted_true, q), pairs.quantile(pairs.sorted_pred, q)
    return observed - predicted + (pairs.shift_true - pairs.shift_pred)


@metric("q05_error", unit="target", best=0.0, takes="pairs", two_sided=True)
def q05_error(pairs: Pairs) -> Floats:
    """5 % quantile of T minus 5 % quantile of P: observed minus predicted, the sign of bias. Any value, best 0.

    Unit of the target. Quantiles by linear interpolation (Hyndman and Fan 1996, definition 7,
    doi:10.1080/00031305.1996.10473566). Positive: the low end is predicted too low.
    """
    return _quantile_error(pairs, 0.05)


@metric("q95_error", unit="target", best=0.0, takes="pairs", two_sided=True)
def q95_error(pairs: Pairs) -> Floats:
    """95 % quantile of T minus 95 % quantile of P: observed minus predicted, the sign of bias. Any value, best 0.

    Unit of the target. Quantiles as in ``q05_error``. Positive: the peaks are predicted too low.
    """
    return _quantile_error(pairs, 0.95)


@metric("median_absolute_error", unit="target", best=0.0, takes="pairs")
def median_absolute_error(pairs: Pairs) -> Floats:
    """Median of |P - T|. Unit of the target, range 0 to infinity, best 0. Not moved by a few large errors."""
    return pairs.quantile(pairs.sorted_size, 0.5)


@metric("q90_absolute_error", unit="target", best=0.0, takes="pairs")
def q90_absolute_error(pairs: Pairs) -> Floats:
    """90 % quantile of |P - T|: nine of ten errors are smaller. Unit of the target, range 0 to infinity, best 0.

    Quantiles as in ``q05_error``.
    """
    return pairs.quantile(pairs.sorted_size, 0.9)

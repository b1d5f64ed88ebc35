"""The three special functions that intervals need, in plain Python: the evaluation must run without SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

_TINY = 1e-300
_STEPS = 500
_HALVINGS = 200


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b): the distribution function of Beta(a, b) at x.

    Continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, by the modified method of Lentz;
    error below 1e-12, relative to the larger of the value and 1e-3, for a, b up to 1e3.

    Parameters
    ----------
    x : float
        0 to 1.
    a, b : float
        Positive.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # there the fraction of the other tail converges faster
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + term / c
            c = c if abs(c) > _TINY else _TINY
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return math.exp(log_front) * value / a


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a decreasing function is zero, by halving."""
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@lru_cache(maxsize=4096)
def order_below(n: float, share: float, confidence: float) -> float:
    """The order statistic, a fraction allowed, that lies below the ``share``-quantile with the given probability.

    The r-th of n uniform values is Beta(r, n + 1 - r) distributed, also for a fractional r (Stigler 1977,
    doi:10.1080/01621459.1977.10480611); this is the r with P(Beta(r, n + 1 - r) <= share) = ``confidence``.

    Returns
    -------
    float
        Above 0 and below n + 1. Below 1 or above n there is no such value among n.
    """
    return _root(lambda r: beta_cdf(share, r, n + 1.0 - r) - confidence, 0.0, n + 1.0)


@lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t distribution, for a probability of at least one half."""

    def upper_tail(t: float) -> float:
        return 0.5 * beta_cdf(degrees / (degrees + t * t), degrees / 2.0, 0.5)

    high = 1.0
    while upper_tail(high) > 1.0 - probability:
        high *= 2.0
    return _root(lambda t: upper_tail(t) - (1.0 - probability), 0.0, high)

"""Common support and importance weights from a domain classifier."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Marginal = Literal["train", "test", "shared"]

Side = Literal["train", "test"]

MARGINALS: Final[tuple[Marginal, ...]] = ("train", "test", "shared")
SUPPORT: Final = (0.1, 0.9)
"""Train rows with P(test|x) at or below the first, and test rows at or above the second, are dropped."""
CLIP: Final = 0.99
"""Weights are cut at this quantile of the weights of the side."""
EDGE: Final = 1e-6
"""Probabilities are kept this far from 0 and 1, so that odds are finite."""


def supported(p: Float64, side: Side) -> NDArray[np.bool_]:
    """Rows of one side where the other side is found too (BENCHMARK, section 5)."""
    return p > SUPPORT[0] if side == "train" else p < SUPPORT[1]


def importance(p: Float64, *, side: Side, marginal: Marginal, prior: float | Float64) -> Float64:
    """Weights that move the covariates of one side onto a marginal; mean 1, cut at their 99th percentile.

    With ``p = P(test|x)`` of a classifier fitted on a share ``prior`` of test rows, and densities ``f`` of train and
    ``g`` of test, ``g(x) / f(x) = p / (1 - p) * (1 - prior) / prior``.

    ============ ============================== ==============================
    marginal     weight of a train row          weight of a test row
    ============ ============================== ==============================
    train        1                              (1 - p) / p
    test         p / (1 - p)                    1
    shared       g / (f + g)                    f / (f + g)
    ============ ============================== ==============================

    The shared density is that of DISDE, ``s`` proportional to ``f g / (f + g)`` (Cai, Namkoong and Yadlowsky,
    arXiv:2303.02011); in terms of the classifier ``g / (f + g) = (1 - prior) p / ((1 - prior) p + prior (1 - p))``.
    Constant factors cancel: a weighted mean divides by the sum of the weights.

    Parameters
    ----------
    p : ndarray of float64, shape (n,)
    side : {'train', 'test'}
        Where the rows come from.
    marginal : {'train', 'test', 'shared'}
    prior : float or ndarray of float64, shape (n,)
        Share of test rows among the rows the classifier was fitted on; an array where several classifiers served.
    """
    p = np.clip(p, EDGE, 1 - EDGE)
    if marginal == side:
        return np.ones_like(p)
    if marginal == "shared":
        test_part, train_part = (1 - prior) * p, prior * (1 - p)
        weight = (test_part if side == "train" else train_part) / (test_part + train_part)
    else:
        weight = p / (1 - p) if side == "train" else (1 - p) / p
    if len(weight) == 0:
        return weight
    weight = np.minimum(weight, np.quantile(weight, CLIP))
    return np.asarray(weight / weight.mean())


def effective(weight: Float64) -> float:
    """Kish's effective sample size, ``(sum w)^2 / sum w^2``; 0 where there is no weight."""
    squares = float(np.sum(weight * weight))
    return 0.0 if squares == 0 else float(np.sum(weight)) ** 2 / squares

"""Scores of a domain classifier: AUC, balanced accuracy, and how far its probabilities may be believed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.shift.covariate_pool import Bools, Float64
from fluxtrapolation.shift.permute import p_value

BINS: Final = 10
"""Bins of equal width in a reliability diagram."""


def average_ranks(score: ArrayLike) -> Float64:
    """Ranks from 1, ties sharing their mean rank, shape (n,)."""
    from scipy.stats import rankdata

    ranks: Float64 = rankdata(np.asarray(score))
    return ranks


def auc_of_ranks(ranks: Float64, test: Bools) -> float:
    """Area under the ROC curve from ranks: the chance that a test row scores above a train row, ties half."""
    positive = int(np.count_nonzero(test))
    negative = len(test) - positive
    return float((ranks[test].sum() - positive * (positive + 1) / 2) / (positive * negative))


def rank_auc(score: ArrayLike, test: Bools) -> float:
    """AUC of scores; 0.5 says nothing, 1 tells every row. Both sides must be present."""
    return auc_of_ranks(average_ranks(score), test)


def balanced_accuracy(probability: Float64, test: Bools, *, threshold: float = 0.5) -> float:
    """Mean of the shares of train and of test rows that are told rightly at ``threshold``; 0.5 says nothing."""
    told = probability > threshold
    return float((told[test].mean() + (~told[~test]).mean()) / 2)


def row_p_value(ranks: Float64, test: Bools, draws: int, rng: np.random.Generator) -> float:
    """Permutation p-value of the AUC with rows as units; far too small where rows depend on one another."""
    positive = int(np.count_nonzero(test))
    negative = len(test) - positive
    fewer = min(positive, negative)
    below = np.empty(draws)
    for i in range(draws):
        chosen = ranks[rng.permutation(len(ranks))[:fewer]].sum() - fewer * (fewer + 1) / 2
        below[i] = chosen / (positive * negative)
    # The smaller side is drawn, to save time; the AUC of one side is one minus that of the other.
    return p_value(auc_of_ranks(ranks, test), below if fewer == positive else 1 - below)


def binomial_p_value(probability: Float64, test: Bools) -> float:
    """Chance of so many right answers if each row were told rightly at the no-information rate.

    The rate is the share of the larger side. One-sided; rows as units. Never below 2.2e-308.
    """
    from scipy.stats import binom

    right = int(np.count_nonzero((probability > 0.5) == test))
    rate = max(float(test.mean()), 1 - float(test.mean()))
    return max(float(binom.sf(right - 1, len(test), rate)), sys.float_info.min)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Sums over bins of predicted probability, of one repeat or of many added.

    Attributes
    ----------
    n, predicted, observed : ndarray, shape (bins,)
        Rows, sum of probabilities, and test rows.
    squared : float
        Sum of squared differences between probability and outcome.
    """

    n: NDArray[np.int64]
    predicted: Float64
    observed: Float64
    squared: float

    @classmethod
    def of(cls, probability: Float64, test: Bools, bins: int = BINS) -> Reliability:
        """Bin the predictions by equal widths."""
        code = np.minimum((probability * bins).astype(np.int64), bins - 1)
        return cls(
            np.bincount(code, minlength=bins),
            np.bincount(code, weights=probability, minlength=bins).astype(np.float64),
            np.bincount(code, weights=test, minlength=bins).astype(np.float64),
            float(((probability - test) ** 2).sum()),
        )

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.n + other.n,
            self.predicted + other.predicted,
            self.observed + other.observed,
            self.squared + other.squared,
        )

    @property
    def brier(self) -> float:
        """Mean squared difference between probability and outcome (Brier 1950); 0 is best."""
        return self.squared / int(self.n.sum())

    @property
    def calibration_error(self) -> float:
        """Mean distance between predicted and observed share over bins, weighted by rows (Guo et al. 2017)."""
        return float(np.abs(self.predicted - self.observed).sum() / self.n.sum())

"""The pairs of values themselves, for metrics that no additive statistic gives: quantiles, index of agreement."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fluxtrapolation.evaluation.statistics import Floats, Integers, Shift, run_lengths, run_starts, run_sum


@dataclass(frozen=True)
class Pairs:
    """Pairs (T, P) = (observed, predicted) of K groups, both finite, one group after the other.

    A metric with ``takes="pairs"`` gets one and returns an array of shape (K,). Every group has at least one pair.

    Parameters
    ----------
    starts : ndarray
        Shape (K,), first pair of every group.
    shifted_true, shifted_pred : ndarray
        Shape (n,), T and P less a constant of their group, so that nothing is lost on values such as 1e6 + 1e-2.
    shift_true, shift_pred : ndarray
        Shape (K,), the constants.
    error : ndarray
        Shape (n,), T - P.
    """

    starts: Integers
    shifted_true: Floats
    shifted_pred: Floats
    shift_true: Floats
    shift_pred: Floats
    error: Floats

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def count(self) -> Integers:
        """Pairs of every group, shape (K,)."""
        return run_lengths(self.starts, len(self.error))

    @cached_property
    def true(self) -> Floats:
        """T in the target's unit, shape (n,)."""
        return self.shifted_true + self.each(self.shift_true)

    @cached_property
    def pred(self) -> Floats:
        """P in the target's unit, shape (n,)."""
        return self.shifted_pred + self.each(self.shift_pred)

    @cached_property
    def deviations(self) -> tuple[Floats, Floats]:
        """T - mean T and P - mean T (the mean is that of T in both), each of shape (n,)."""
        centre = self.mean(self.shifted_true)
        from_true = self.shifted_true - self.each(centre)
        left = self.mean(from_true)  # what the rounded mean left over
        from_true = from_true - self.each(left)
        return from_true, from_true - self.error

    @cached_property
    def sorted_true(self) -> Floats:
        """Shifted T, ascending within every group."""
        return self.ascending(self.shifted_true)

    @cached_property
    def sorted_pred(self) -> Floats:
        """Shifted P, ascending within every group."""
        return self.ascending(self.shifted_pred)

    @cached_property
    def sorted_size(self) -> Floats:
        """Sizes of P - T, ascending within every group."""
        return self.ascending(np.abs(self.error))

    def each(self, values: Floats) -> Floats:
        """A value per group, shape (K,), given to each of its pairs, shape (n,)."""
        return np.repeat(values, self.count)

    def sum(self, values: Floats) -> Floats:
        """Sum of every group."""
        return run_sum(values, self.starts)

    def mean(self, values: Floats) -> Floats:
        """Mean of every group."""
        return run_sum(values, self.starts) / self.count

    def ascending(self, values: Floats) -> Floats:
        """The values sorted within every group."""
        out = values.copy()
        for first, last in zip(self.starts, self.starts + self.count, strict=True):
            out[first:last].sort()
        return out

    def quantile(self, ascending: Floats, q: float) -> Floats:
        """Quantile of every group of values that :meth:`ascending` has sorted.

        Linear interpolation between the order statistics around q (n - 1): the definition 7 of Hyndman and Fan (1996,
        doi:10.1080/00031305.1996.10473566), the default of numpy.
        """
        place = q * (self.count - 1)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, self.count - 1)
        low, high = ascending[self.starts + below], ascending[self.starts + above]
        return np.asarray(low + (high - low) * (place - below))


def make_pairs(
    true: Floats, pred: Floats, group: Integers, shift: Shift, error: Floats | None = None
) -> tuple[Pairs, Integers]:
    """Keep the pairs with both values finite.

    Parameters
    ----------
    true, pred : ndarray
        Shape (n,), shifted values, NaN where missing.
    group : ndarray
        Shape (n,), ascending, number of the group of each row.
    shift : Shift
        Of every group number.
    error : ndarray, optional
        Shape (n,), T - P where it is known more exactly than from the shifted values.

    Returns
    -------
    (Pairs, ndarray)
        The pairs, and the numbers of the groups that have one, shape (K,).
    """
    if error is None:
        error = true - pred + (shift.true - shift.pred)[group]
    both = np.isfinite(true) & np.isfinite(pred)
    if not both.all():
        true, pred, group, error = true[both], pred[both], group[both], error[both]
    starts = run_starts(group)
    present = group[starts]
    return Pairs(starts, true, pred, shift.true[present], shift.pred[present], error), present

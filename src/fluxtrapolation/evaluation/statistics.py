"""Additive statistics of pairs of observed and predicted values, from which every metric follows.

Sums are taken over *runs*: stretches of a sorted table that share a key. Second moments are centred, and the values
come with a constant subtracted (``shift``), so that nothing is lost on series such as 1e6 plus noise of 1e-2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

VARIANCE_TOLERANCE = 1e-9
"""A standard deviation at or below this times the largest absolute value is zero up to rounding."""
MEAN_TOLERANCE = 1e-9
"""A mean at or below this times the mean absolute value is zero up to rounding."""
ROUNDING = 1e-12
"""Aggregated values below this times the largest hourly value of the site are rounding, not signal."""


def run_starts(*keys: npt.NDArray[Any]) -> Integers:
    """First row of every run of equal keys. All keys have shape (n,); n may be 0."""
    n = len(keys[0])
    if n == 0:
        return np.zeros(0, np.int64)
    new = np.zeros(n, bool)
    new[0] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def run_lengths(starts: Integers, n: int) -> Integers:
    """Number of rows of every run."""
    return np.diff(starts, append=n)


def run_sum(values: npt.NDArray[Any], starts: Integers) -> Floats:
    """Sum of every run, in float64."""
    if len(starts) == 0:
        return np.zeros(0)
    return np.asarray(np.add.reduceat(values, starts, dtype=np.float64))


def run_max(values: npt.NDArray[Any], starts: Integers) -> Floats:
    """Largest value of every run."""
    if len(starts) == 0:
        return np.zeros(0)
    return np.asarray(np.maximum.reduceat(values, starts), dtype=np.float64)


def run_mean(values: Floats, starts: Integers, *, least: int = 1) -> Floats:
    """Mean of the finite values of every run; NaN where fewer than ``least`` are finite."""
    finite = np.isfinite(values)
    n = run_sum(finite, starts)
    total = run_sum(np.where(finite, values, 0.0), starts)
    mean = np.full(len(starts), np.nan)
    np.divide(total, n, out=mean, where=(n >= least) & (n > 0))
    return mean


@dataclass(frozen=True)
class Moments:
    """Statistics of K groups of pairs (T, P) = (observed, predicted), each an array of shape (K,).

    Parameters
    ----------
    n_samples : ndarray
        Entries of the scale, those without an observation included.
    n_true, n_pred, n : ndarray
        Finite T, finite P, and pairs with both. All that follows is over the pairs.
    shift_true, shift_pred : ndarray
        Constants subtracted from T and P before the moments were taken.
    mean_true, mean_pred : ndarray
        Means of the shifted values.
    m2_true, m2_pred, c_true_pred : ndarray
        Centred sums of squares and products.
    m2_error : ndarray
        Centred sum of squares of E = T - P.
    sum_e, sum_e2, sum_abs_e : ndarray
        Sums of E = T - P, of its square and its absolute value.
    sum_abs_true : ndarray
        Sum of |T|, not shifted.
    max_abs_true, max_abs_pred : ndarray
        Largest |T| and |P|, not shifted.
    floor_true, floor_pred : ndarray
        Size below which a value of this scale is rounding.
    """

    n_samples: Floats
    n_true: Floats
    n_pred: Floats
    n: Floats
    shift_true: Floats
    shift_pred: Floats
    mean_true: Floats
    mean_pred: Floats
    m2_true: Floats
    m2_pred: Floats
    c_true_pred: Floats
    m2_error: Floats
    sum_e: Floats
    sum_e2: Floats
    sum_abs_e: Floats
    sum_abs_true: Floats
    max_abs_true: Floats
    max_abs_pred: Floats
    floor_true: Floats
    floor_pred: Floats

    def __len__(self) -> int:
        return len(self.n)

    def mean_observed(self) -> Floats:
        """Mean of T, the shift put back."""
        return self.mean_true + self.shift_true

    def zero_variance_true(self) -> npt.NDArray[np.bool_]:
        """Where T does not vary: its standard deviation is zero up to rounding."""
        return _flat(self.m2_true, self.n, self.max_abs_true, self.floor_true)

    def zero_variance_pred(self) -> npt.NDArray[np.bool_]:
        """Where P does not vary."""
        return _flat(self.m2_pred, self.n, self.max_abs_pred, self.floor_pred)

    def single_pair(self) -> npt.NDArray[np.bool_]:
        """Where there is one pair only, about which nothing can vary."""
        return np.asarray(self.n < 2)

    def zero_mean_true(self) -> npt.NDArray[np.bool_]:
        """Where the mean of T is zero up to rounding."""
        n = np.maximum(self.n, 1.0)
        limit = np.maximum(MEAN_TOLERANCE * self.sum_abs_true / n, self.floor_true)
        return np.asarray(np.abs(self.mean_observed()) <= limit)

    def take(self, rows: npt.NDArray[Any]) -> Moments:
        """The groups at ``rows``."""
        return Moments(*(getattr(self, one.name)[rows] for one in fields(self)))

    def moved(self, shift: Shift) -> Moments:
        """The same statistics with other constants subtracted, as :func:`merge` needs them within a group."""
        return replace(
            self,
            shift_true=shift.true,
            shift_pred=shift.pred,
            mean_true=self.mean_true + (self.shift_true - shift.true),
            mean_pred=self.mean_pred + (self.shift_pred - shift.pred),
        )

    @staticmethod
    def join(parts: Sequence[Moments]) -> Moments:
        """The groups of several, one after the other."""
        return Moments(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Moments)))


def _flat(m2: Floats, n: Floats, largest: Floats, floor: Floats) -> npt.NDArray[np.bool_]:
    deviation = np.sqrt(m2 / np.maximum(n, 1.0))
    return np.asarray(deviation <= np.maximum(VARIANCE_TOLERANCE * largest, floor))


@dataclass(frozen=True)
class Shift:
    """Constants subtracted from T and P, and the size of rounding, one of each per group (shape (K,))."""

    true: Floats
    pred: Floats
    floor_true: Floats
    floor_pred: Floats

    def take(self, rows: npt.NDArray[Any]) -> Shift:
        """The groups at ``rows``."""
        return Shift(self.true[rows], self.pred[rows], self.floor_true[rows], self.floor_pred[rows])

    def without_constants(self) -> Shift:
        """The same sizes of rounding for values that are anomalies already."""
        return Shift(np.zeros_like(self.true), np.zeros_like(self.pred), self.floor_true, self.floor_pred)


def moments(true: Floats, pred: Floats, starts: Integers, shift: Shift, error: Floats | None = None) -> Moments:
    """Statistics of every run of a sorted table, in two passes (means first, then centred moments).

    Parameters
    ----------
    true, pred : ndarray
        Shape (n,), shifted observed and predicted values; NaN is missing.
    starts : ndarray
        Shape (K,), first row of every run.
    shift : Shift
        Shape (K,), what was subtracted.
    error : ndarray, optional
        Shape (n,), T - P where it is known more exactly than from the shifted values.
    """
    rows = run_lengths(starts, len(true))
    has_true, has_pred = np.isfinite(true), np.isfinite(pred)
    paired = has_true & has_pred
    n_samples = rows.astype(np.float64)
    complete = bool(paired.all())
    n = n_samples if complete else run_sum(paired, starts)
    safe = np.maximum(n, 1.0)

    missing = paired if complete else ~paired
    scratch = np.empty(len(true))

    def kept(values: Floats) -> Floats:
        """The values of pairs, 0 elsewhere; in place where the array is ours."""
        if not complete:
            values[missing] = 0.0
        return values

    def moved(values: Floats, by: Floats) -> Floats:
        """The values plus a constant of their run. (Large arrays are used again: new ones cost more than the sum.)"""
        out = np.repeat(by, rows)
        np.add(values, out, out=out)
        return kept(out)

    def product(one: Floats, other: Floats) -> Floats:
        np.multiply(one, other, out=scratch)
        return run_sum(scratch, starts)

    mean_true = run_sum(true if complete else np.where(paired, true, 0.0), starts) / safe
    mean_pred = run_sum(pred if complete else np.where(paired, pred, 0.0), starts) / safe
    from_true, from_pred = moved(true, -mean_true), moved(pred, -mean_pred)
    left_true, left_pred = run_sum(from_true, starts), run_sum(from_pred, starts)
    e = kept(error.copy() if error is not None else moved(true - pred, shift.true - shift.pred))
    sum_e = run_sum(e, starts)
    from_error = moved(e, -sum_e / safe)
    left_error = run_sum(from_error, starts)
    m2_error = np.maximum(product(from_error, from_error) - left_error**2 / safe, 0.0)
    sum_e2 = product(e, e)
    sum_abs_e = run_sum(np.abs(e, out=e), starts)
    absolute = moved(true, shift.true)
    np.abs(absolute, out=absolute)
    absolute_pred = moved(pred, shift.pred)
    np.abs(absolute_pred, out=absolute_pred)
    return Moments(
        n_samples=n_samples,
        n_true=n if complete else run_sum(has_true, starts),
        n_pred=n if complete else run_sum(has_pred, starts),
        n=n,
        shift_true=shift.true,
        shift_pred=shift.pred,
        mean_true=mean_true + left_true / safe,
        mean_pred=mean_pred + left_pred / safe,
        # What the rounded means left over is taken off again.
        m2_true=np.maximum(product(from_true, from_true) - left_true**2 / safe, 0.0),
        m2_pred=np.maximum(product(from_pred, from_pred) - left_pred**2 / safe, 0.0),
        c_true_pred=product(from_true, from_pred) - left_true * left_pred / safe,
        m2_error=m2_error,
        sum_e=sum_e,
        sum_e2=sum_e2,
        sum_abs_e=sum_abs_e,
        sum_abs_true=run_sum(absolute, starts),
        max_abs_true=run_max(absolute, starts),
        max_abs_pred=run_max(absolute_pred, starts),
        floor_true=shift.floor_true,
        floor_pred=shift.floor_pred,
    )


_SUMS = ("n_samples", "n_true", "n_pred", "n", "sum_e", "sum_e2", "sum_abs_e", "sum_abs_true")
_LARGEST = ("max_abs_true", "max_abs_pred", "floor_true", "floor_pred")


def merge(parts: Sequence[Moments], groups: Sequence[Integers]) -> tuple[Integers, Moments]:
    """Add the statistics of the same group from several pieces of a table.

    Centred moments add by the rule of Chan, Golub and LeVeque (1983, doi:10.1080/00031305.1983.10483115).

    Parameters
    ----------
    parts : sequence of Moments
    groups : sequence of ndarray
        For every part the group of each of its entries, shape (K,). A group has one shift everywhere.

    Returns
    -------
    (ndarray, Moments)
        The groups, ascending, and their statistics.
    """
    key = np.concatenate(groups)
    order = np.argsort(key, kind="stable")
    every = {one.name: np.concatenate([getattr(part, one.name) for part in parts])[order] for one in fields(Moments)}
    key = key[order]
    starts = run_starts(key)
    rows = run_lengths(starts, len(key))
    out = {name: run_sum(every[name], starts) for name in _SUMS}
    out |= {name: run_max(every[name], starts) for name in _LARGEST}
    out |= {name: every[name][starts] for name in ("shift_true", "shift_pred")}
    safe = np.maximum(out["n"], 1.0)
    away = {}
    for side in ("true", "pred"):
        mean = run_sum(every[f"mean_{side}"] * every["n"], starts) / safe
        away[side] = every[f"mean_{side}"] - np.repeat(mean, rows)
        out[f"mean_{side}"] = mean
        out[f"m2_{side}"] = run_sum(every[f"m2_{side}"] + every["n"] * away[side] ** 2, starts)
    out["c_true_pred"] = run_sum(every["c_true_pred"] + every["n"] * away["true"] * away["pred"], starts)
    off = every["sum_e"] / np.maximum(every["n"], 1.0) - np.repeat(out["sum_e"] / safe, rows)
    out["m2_error"] = run_sum(every["m2_error"] + every["n"] * off**2, starts)
    return key[starts], Moments(**out)

"""Additive statistics of pairs of observed and predicted values, from which every metric follows.

Sums are taken over *runs*: stretches of a sorted table that share a key. Second moments are centred, and the values
come with a constant subtracted (``shift``), so that nothing is lost on series such as 1e6 plus noise of 1e-2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
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

    def zero_mean_true(self) -> npt.NDArray[np.bool_]:
        """Where the mean of T is zero up to rounding."""
        n = np.maximum(self.n, 1.0)
        limit = np.maximum(MEAN_TOLERANCE * self.sum_abs_true / n, self.floor_true)
        return np.asarray(np.abs(self.mean_observed()) <= limit)

    def take(self, rows: npt.NDArray[Any]) -> Moments:
        """The groups at ``rows``."""
        return Moments(*(getattr(self, one.name)[rows] for one in fields(self)))


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

    def kept(values: Floats) -> Floats:
        return values if complete else np.where(paired, values, 0.0)

    def each(values: Floats) -> Floats:
        return np.repeat(values, rows)

    mean_true = run_sum(kept(true), starts) / safe
    mean_pred = run_sum(kept(pred), starts) / safe
    from_true, from_pred = kept(true - each(mean_true)), kept(pred - each(mean_pred))
    left_true, left_pred = run_sum(from_true, starts), run_sum(from_pred, starts)
    if error is None:
        error = true - pred + each(shift.true - shift.pred)
    e = kept(error)
    size = np.abs(e)
    absolute = np.abs(kept(true + each(shift.true)))
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
        m2_true=np.maximum(run_sum(from_true**2, starts) - left_true**2 / safe, 0.0),
        m2_pred=np.maximum(run_sum(from_pred**2, starts) - left_pred**2 / safe, 0.0),
        c_true_pred=run_sum(from_true * from_pred, starts) - left_true * left_pred / safe,
        sum_e=run_sum(e, starts),
        sum_e2=run_sum(e**2, starts),
        sum_abs_e=run_sum(size, starts),
        sum_abs_true=run_sum(absolute, starts),
        max_abs_true=run_max(absolute, starts),
        max_abs_pred=run_max(np.abs(kept(pred + each(shift.pred))), starts),
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
    return key[starts], Moments(**out)

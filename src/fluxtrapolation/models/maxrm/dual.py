"""Leaf values that minimise the worst domain's risk of one tree: an interior-point method on the weights of domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fluxtrapolation.models.maxrm.table import Floats, LeafTable

MAX_STEPS = 100
_SHRINK = 10.0  # each barrier aims at a tenth of the gap; 3 and 30 took as long
_LEAST_WEIGHT = 1e-60
_BLOCK = 2048  # leaves multiplied densely at once


@dataclass(frozen=True)
class Solution:
    """Leaf values and how far they can be from the best.

    Attributes
    ----------
    values : ndarray of float64, shape (leaves,)
    weights : ndarray of float64, shape (domains,)
        Weights of the domains, on the simplex, that give ``dual``.
    primal : float
        The worst domain's risk with ``values``.
    dual : float
        No leaf values have a worst risk below this.
    gap : float
        ``primal - dual``, relative as :func:`solve` says.
    steps : int
    converged : bool
    """

    values: Floats
    weights: Floats
    primal: float
    dual: float
    gap: float
    steps: int
    converged: bool


@dataclass(frozen=True)
class _Point:
    """Weights, the leaf values that are best for them, and the risks there."""

    weights: Floats
    values: Floats  # relative to the leaf's centre
    mass: Floats
    slope: Floats  # share times deviation, by cell
    risk: Floats

    @property
    def dual(self) -> float:
        return float(self.weights @ self.risk)

    def barrier(self, height: float) -> float:
        return self.dual + height * float(np.log(self.weights).sum())


def solve(
    table: LeafTable, *, tolerance: float = 1e-4, fallback: Floats | None = None, max_steps: int = MAX_STEPS
) -> Solution:
    """Minimise ``max_d R_d(v)`` over the leaf values ``v``.

    For weights q of the domains on the simplex the best leaf values are weighted means,
    ``v_l = sum_d q_d share_dl mean_dl / sum_d q_d share_dl``, and ``g(q) = sum_d q_d R_d(v(q))`` is a lower bound of
    the worst risk of any leaf values. g is concave, its gradient is ``R(v(q))`` and its Hessian ``-2 B B'`` with
    ``B_dl = share_dl (v_l - mean_dl) / sqrt(sum_e q_e share_el)``. The logarithmic barrier ``g(q) + m sum_d log q_d``
    is climbed by Newton's method (primal-dual scaling, backtracking); at its top the gap is at most m times the number
    of domains, and m is lowered as the gap falls. One step costs the product B B', sparse, and a Cholesky
    factorisation of size domains.

    Parameters
    ----------
    table : LeafTable
    tolerance : float
        Stop at this relative gap: ``primal - dual`` over the larger of ``|dual|`` and 1 % of the weighted mean squared
        error ``sum_d q_d (R_d + baseline_d)``, so that it stays meaningful where a regret is near 0. For the risk
        ``mse`` that is plainly ``(primal - dual) / dual``.
    fallback : ndarray of float64, shape (leaves,), optional
        Values to return if nothing better is found: with the plain tree's values the result is never worse than it.
    max_steps : int

    Returns
    -------
    Solution
        Its gap is honest whether converged or not: ``primal`` and ``dual`` are evaluated, not estimated.
    """
    count = table.n_domains
    point = _point(table, np.full(count, 1.0 / count))
    best, best_values = float(point.risk.max()), point.values
    if fallback is not None and float(table.risk(fallback).max()) < best:
        best, best_values = float(table.risk(fallback).max()), fallback - table.centre
    bound, bound_weights = point.dual, point.weights
    floor = 1e-13 * float(np.abs(point.risk + table.baseline).max())
    height = max(best - bound, floor) / (_SHRINK * count)
    slack = np.maximum(1.1 * float(point.risk.max()) - 0.1 * point.dual - point.risk, height)
    steps = 0
    while not (gap := _relative(table, point, best, bound, floor)) <= tolerance and steps < max_steps:
        found = _step(table, point, slack, height)
        if found is None:
            break
        point, slack = found
        steps += 1
        if float(point.risk.max()) < best:
            best, best_values = float(point.risk.max()), point.values
        if point.dual > bound:
            bound, bound_weights = point.dual, point.weights
        height = min(height, max(best - bound, floor) / (_SHRINK * count))
    return Solution(
        values=table.centre + best_values,
        weights=bound_weights,
        primal=best,
        dual=min(bound, best),
        gap=gap,
        steps=steps,
        converged=gap <= tolerance,
    )


def _relative(table: LeafTable, point: _Point, best: float, bound: float, floor: float) -> float:
    gap = best - bound
    if gap <= floor:  # rounding error
        return 0.0
    squared_error = float(point.weights @ (point.risk + table.baseline))
    return gap / max(abs(bound), 0.01 * squared_error, floor)


def _point(table: LeafTable, weights: Floats) -> _Point:
    by_cell = weights[table.domain] * table.share
    mass = np.bincount(table.leaf, by_cell, table.n_leaves).astype(np.float64, copy=False)
    total = np.bincount(table.leaf, by_cell * table.mean, table.n_leaves)
    # A leaf that holds no domain of the maximum keeps its plain mean.
    values: Floats = np.divide(total, mass, out=np.zeros(table.n_leaves), where=mass > 0)
    deviation = values[table.leaf] - table.mean
    slope = table.share * deviation
    risk = table.offset + np.bincount(table.domain, slope * deviation, table.n_domains)
    return _Point(weights, values, mass, slope, risk)


def _step(table: LeafTable, point: _Point, slack: Floats, height: float) -> tuple[_Point, Floats] | None:
    """One Newton step up the barrier; None where rounding leaves no way up."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    weights = point.weights
    matrix = _curvature(table, point)
    matrix[np.diag_indices_from(matrix)] += slack / weights
    gradient = point.risk + height / weights
    try:
        factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    solved = cho_solve(factor, np.column_stack([gradient, np.ones_like(gradient)]), check_finite=False)
    level = solved[:, 0].sum() / solved[:, 1].sum()  # keeps the sum of the weights
    direction = solved[:, 0] - level * solved[:, 1]
    rise = float((gradient - level) @ direction)
    if not np.isfinite(rise) or rise <= 0:
        return None
    start = point.barrier(height)
    length = _longest(weights, direction)
    for _ in range(40):
        moved = np.maximum(weights + length * direction, _LEAST_WEIGHT)
        new = _point(table, moved / moved.sum())
        if new.barrier(height) >= start + 1e-4 * length * rise - 1e-13 * abs(start):
            break
        length /= 2
    else:
        return None
    change = (height - slack * direction) / weights - slack
    centred = height / new.weights
    return new, np.clip(slack + _longest(slack, change) * change, 1e-3 * centred, 1e3 * centred)


def _longest(values: Floats, change: Floats) -> float:
    """The longest step, at most 1, that keeps positive values positive."""
    falling = change < 0
    return min(1.0, 0.995 * float(np.min(-values[falling] / change[falling]))) if falling.any() else 1.0


def _curvature(table: LeafTable, point: _Point) -> Floats:
    """``2 B B'``, shape (domains, domains): the negative Hessian of the dual function."""
    entries = point.slope / np.sqrt(point.mass)[table.leaf]
    cells = np.diff(table.ends).astype(np.float64)
    # Leaves of many domains multiply faster as dense blocks; a dense multiplication is some 20 times cheaper.
    if table.n_leaves * table.n_domains**2 < 20 * float(cells @ cells):
        return _dense_product(table, entries)
    from scipy.sparse import csr_array

    factor = csr_array((entries, table.domain, table.ends), shape=(table.n_leaves, table.n_domains))
    return np.asarray(2.0 * (factor.T @ factor).toarray())


def _dense_product(table: LeafTable, entries: Floats) -> Floats:
    total = np.zeros((table.n_domains, table.n_domains))
    for first in range(0, table.n_leaves, _BLOCK):
        last = min(first + _BLOCK, table.n_leaves)
        cells = slice(table.ends[first], table.ends[last])
        block = np.zeros((last - first, table.n_domains))
        block[table.leaf[cells] - first, table.domain[cells]] = entries[cells]
        total += block.T @ block
    return 2.0 * total

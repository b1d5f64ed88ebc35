"""Leaf values of all trees together: the forest's worst domain instead of each tree's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.models.maxrm.table import Floats
from fluxtrapolation.models.maxrm.trees import workers

_STAGES = 6


@dataclass(frozen=True)
class JointSolution:
    """Changes of the leaf values of every tree.

    Attributes
    ----------
    changes : list of ndarray of float64
        One array of shape (leaves,) for each tree, to be added to the values given.
    worst : float
        The forest's worst risk with them; never above the one given.
    gap : float
        Of the penalised problem, relative as in :func:`fluxtrapolation.models.maxrm.dual.solve`.
    steps : int
        Evaluations of the risks and their gradient.
    converged : bool
    """

    changes: list[Floats]
    worst: float
    gap: float
    steps: int
    converged: bool


def solve_jointly(
    leaves: Sequence[NDArray[np.int32]],
    predicted: Floats,
    y: Floats,
    domain: NDArray[np.intp],
    baseline: Floats,
    *,
    ridge: float,
    tolerance: float,
    max_steps: int,
    n_jobs: int = 1,
    until: float | None = None,
) -> JointSolution:
    """Minimise the forest's worst risk plus a ridge on how far the trees move from where they are.

    ``max_d [mean over rows of d of (y - F - sum_k c_k(leaf) / K)^2 - baseline_d] + ridge * mean over trees and rows of
    c_k(leaf)^2``. Without the ridge the leaves of a hundred trees can reproduce every train row, and the worst risk
    would fall to nothing and mean nothing. At ``c = 0`` the ridge is 0, so the worst risk never rises.

    The maximum is smoothed, ``t log sum_d exp(r_d / t)``, and minimised by L-BFGS while t is lowered. The weights
    ``q = softmax(r / t)`` give the lower bound: the penalised problem is strongly convex, so its minimum is at least
    ``q'r + ridge - |gradient|^2 / 2`` in coordinates where the ridge is half the squared length.

    Parameters
    ----------
    leaves : sequence of ndarray of int32, shape (rows,)
        Leaf of each row in every tree.
    predicted : ndarray of float64, shape (rows,)
        The forest as it is.
    y, domain : ndarray, shape (rows,)
        Target; domain from 0, or -1 for a row that no domain of the maximum counts.
    baseline : ndarray of float64, shape (domains,)
    ridge : float
        Positive.
    tolerance : float
    max_steps : int
    n_jobs : int
    until : float, optional
        A time.monotonic moment.
    """
    from scipy.optimize import minimize

    with ThreadPoolExecutor(workers(n_jobs)) as pool:
        problem = _Problem(leaves, y - predicted, domain, baseline, ridge, max_steps, until, pool)
        temperature = 0.1 * max(float(np.ptp(problem.start)), 1e-300)
        for _ in range(_STAGES):
            if problem.out_of_steps() or problem.gap() <= tolerance:
                break
            problem.temperature = temperature
            minimize(
                problem,
                problem.best_x,
                jac=True,
                method="L-BFGS-B",
                callback=lambda _: problem.stop_if(tolerance),
                options={"maxiter": max_steps, "ftol": 1e-12, "gtol": 0.0, "maxcor": 8},
            )
            temperature /= 5
    return JointSolution(
        changes=problem.changes(problem.best_x),
        worst=problem.best_worst,
        gap=problem.gap(),
        steps=problem.steps,
        converged=problem.gap() <= tolerance,
    )


class _Problem:
    """The smoothed objective and its gradient; keeps the best point and the highest lower bound it has seen."""

    def __init__(
        self,
        leaves: Sequence[NDArray[np.int32]],
        error: Floats,
        domain: NDArray[np.intp],
        baseline: Floats,
        ridge: float,
        max_steps: int,
        until: float | None,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.leaves, self.error, self.baseline, self.pool = leaves, error, baseline, pool
        self.max_steps, self.until = max_steps, until
        self.counted = domain >= 0
        self.domain = np.where(self.counted, domain, 0)
        self.rows = np.bincount(domain[self.counted], minlength=len(baseline))
        counts = [np.bincount(leaf) for leaf in leaves]
        self.cuts = np.cumsum([len(count) for count in counts])[:-1]
        # In these coordinates the ridge is |x|^2 / 2.
        self.unit = np.sqrt(2.0 * ridge * np.concatenate(counts) / (len(leaves) * len(error)))
        self.temperature, self.steps = 1.0, 0
        self.best_x = np.zeros(len(self.unit))
        self.start = self._risks(error)
        self.best_worst = self.best = float(self.start.max())
        self.bound, self.unit_of_gap = -np.inf, 1e-300

    def changes(self, x: Floats) -> list[Floats]:
        return np.split(x / self.unit, self.cuts)

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        self.steps += 1
        trees = len(self.leaves)
        changes = self.changes(x)
        error = self.error - self._summed(changes) / trees
        risks = self._risks(error)
        ridge = 0.5 * float(x @ x)
        top = float(risks.max())
        powers = np.exp((risks - top) / self.temperature)
        weights = powers / powers.sum()
        pull = np.where(self.counted, (weights / self.rows)[self.domain] * error, 0.0)
        parts = self.pool.map(lambda k: np.bincount(self.leaves[k], pull, len(changes[k])), range(trees))
        gradient = x - (2.0 / trees) * np.concatenate(list(parts)) / self.unit
        if top + ridge < self.best:
            self.best, self.best_worst, self.best_x = top + ridge, top, x.copy()
        bound = float(weights @ risks) + ridge - 0.5 * float(gradient @ gradient)
        if bound > self.bound:
            self.bound = bound
            self.unit_of_gap = max(abs(bound), 0.01 * float(weights @ (risks + self.baseline)), 1e-300)
        return top + self.temperature * float(np.log(powers.sum())) + ridge, gradient

    def _summed(self, changes: list[Floats]) -> Floats:
        """Sum of the trees' changes by row; in fixed groups, so it does not depend on the number of threads."""
        groups = np.array_split(np.arange(len(self.leaves)), min(16, len(self.leaves)))

        def summed(group: NDArray[np.intp]) -> Floats:
            total = np.zeros(len(self.error))
            for k in group:
                total += changes[k][self.leaves[k]]
            return total

        total = np.zeros(len(self.error))
        for part in self.pool.map(summed, groups):
            total += part
        return total

    def _risks(self, error: Floats) -> Floats:
        squared = np.where(self.counted, error * error, 0.0)
        return np.bincount(self.domain, squared, len(self.rows)) / self.rows - self.baseline

    def gap(self) -> float:
        return max(self.best - self.bound, 0.0) / self.unit_of_gap if np.isfinite(self.bound) else np.inf

    def out_of_steps(self) -> bool:
        return self.steps >= self.max_steps or (self.until is not None and time.monotonic() > self.until)

    def stop_if(self, tolerance: float) -> None:
        if self.out_of_steps() or self.gap() <= tolerance:
            raise StopIteration

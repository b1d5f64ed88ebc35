"""Growing: the forest itself in batches, and each domain's own forest for its out-of-bag risk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.models.maxrm.table import Floats
from fluxtrapolation.models.maxrm.trees import in_threads, workers

_ROUND = 10  # own trees per domain between two looks at the clock


@dataclass(frozen=True)
class Growth:
    """What decides how trees grow; the rest is scikit-learn's default."""

    min_samples_leaf: int
    max_features: float
    seed: int
    n_jobs: int

    def forest(self, n_estimators: int, *, seed: int, n_jobs: int, warm_start: bool = False) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(
            n_estimators,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            random_state=seed,
            n_jobs=n_jobs,
            warm_start=warm_start,
        )


def grow_batches(
    growth: Growth, X: NDArray[np.float32], y: Floats, n_estimators: int, *, until: float | None
) -> Iterator[list[Any]]:
    """The trees of ``RandomForestRegressor(n_estimators, random_state=seed)``, batch by batch.

    No batch is begun that would likely end after ``until`` (a time.monotonic moment); the first always is.
    """
    threads = workers(growth.n_jobs)
    batch = 16 * threads if until is None else threads
    forest = growth.forest(0, seed=growth.seed, n_jobs=threads, warm_start=True)
    done = 0
    while done < n_estimators:
        begin = time.monotonic()
        forest.set_params(n_estimators=min(done + batch, n_estimators))
        forest.fit(X, y)
        yield [estimator.tree_ for estimator in forest.estimators_[done:]]
        done = len(forest.estimators_)
        now = time.monotonic()  # after the caller has worked on the batch
        if until is not None and now + (now - begin) > until:
            return


@dataclass(frozen=True)
class OwnRisks:
    """Each domain's own risk: of a forest that has seen this domain only.

    Attributes
    ----------
    risk : ndarray of float64, shape (domains,)
        Out-of-bag mean squared error; NaN for a domain of one row.
    trees : int
        Trees of each own forest.
    of_mean : ndarray of bool, shape (domains,)
        Too few rows to split a tree: the risk is that of the mean of the other rows (leave one out).
    """

    risk: Floats
    trees: int
    of_mean: NDArray[np.bool_]


def own_risks(
    growth: Growth,
    X: NDArray[np.float32],
    y: Floats,
    domain: NDArray[np.intp],
    n_domains: int,
    *,
    n_estimators: int,
    until: float | None,
) -> OwnRisks:
    """Out-of-bag risk of every domain's own forest, with fewer trees (at least 10) where time is short."""
    order = np.argsort(domain, kind="stable")
    ends = np.cumsum(np.bincount(domain, minlength=n_domains))
    rows = [order[first:last] for first, last in zip(np.r_[0, ends[:-1]], ends, strict=True)]
    of_mean = np.array([len(one) < 2 * growth.min_samples_leaf for one in rows])
    risk = np.array([_leave_one_out(y[one]) for one in rows])
    total, votes = np.zeros(len(y)), np.zeros(len(y), dtype=np.int64)
    large = [code for code in range(n_domains) if not of_mean[code]]
    done = 0
    while large and done < n_estimators:
        begin = time.monotonic()
        size = min(_ROUND if until is not None else n_estimators, n_estimators - done)
        jobs = [(growth, X, y, rows[code], size, (growth.seed, 1, code, done)) for code in large]
        for code, (part, counts) in zip(large, in_threads(growth.n_jobs, _out_of_bag, jobs), strict=True):
            total[rows[code]] += part
            votes[rows[code]] += counts
        done += size
        now = time.monotonic()
        if until is not None and now + (now - begin) > until:
            break
    for code in large:
        voted = rows[code][votes[rows[code]] > 0]
        if len(voted):  # else, at hardly any number of trees, the risk of the mean stays
            risk[code] = np.mean((y[voted] - total[voted] / votes[voted]) ** 2)
    return OwnRisks(risk, done, of_mean)


def _leave_one_out(y: Floats) -> float:
    if len(y) < 2:
        return float("nan")
    return float(np.var(y) * (len(y) / (len(y) - 1)) ** 2)


def _out_of_bag(
    growth: Growth, X: NDArray[np.float32], y: Floats, rows: NDArray[np.intp], size: int, entropy: tuple[int, ...]
) -> tuple[Floats, NDArray[np.int64]]:
    """Sum and number of the predictions of those trees that a row was not drawn for."""
    own = np.ascontiguousarray(X[rows])
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    forest = growth.forest(size, seed=seed, n_jobs=1).fit(own, y[rows])
    total, votes = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    for estimator, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        out = np.ones(len(rows), dtype=bool)
        out[drawn] = False
        total[out] += estimator.tree_.predict(own[out])[:, 0]
        votes += out
    return total, votes

"""Exact nearest neighbours among rows of covariates, fast: one k-d tree for each plant functional type.

A class is not a number: two rows of different classes stand a fixed ``gap`` apart, whatever the classes. So the
nearest row is either of the same class, found in that class's own small tree over the numeric covariates, or it is at
least ``gap`` away; only rows whose best is farther than that ask the tree of all classes. That is exact, and some
twenty times faster than a tree over the one-hot columns, which split the rows badly.

Distances never come from ``|a|^2 + |b|^2 - 2ab``, whose cancellation destroys small distances of large values: the tree
subtracts coordinates in float64, and the winner's distance is computed once more on the coordinates as they were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError

Float64 = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK: Final = 1 << 17
_LEAF: Final = 32


@dataclass(frozen=True, eq=False)
class Points:
    """Rows in the space in which distances are taken.

    Attributes
    ----------
    values : ndarray of float64, shape (n, d)
        Coordinates: covariates, standardised and weighted. ``d`` may be 0.
    classes : ndarray of int64, shape (n,)
        Class of each row; not negative.
    gap : float
        Distance between two rows of different classes that agree in ``values``; not negative.
    """

    values: Float64
    classes: Ints
    gap: float = 0.0

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.classes.shape != (len(self.values),):
            raise DataError(
                f"Points need values of shape (rows, covariates) and one class for each row, not {self.values.shape} "
                f"and {self.classes.shape}."
            )

    @classmethod
    def of(cls, values: Any) -> Points:
        """Rows without classes."""
        rows = np.asarray(values, dtype=np.float64)
        return cls(rows, np.zeros(len(rows), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[Any]) -> Points:
        return Points(self.values[rows], self.classes[rows], self.gap)


class NearestRows:
    """Finds the nearest of some reference rows.

    Parameters
    ----------
    reference : Points
        At least one row.
    jobs : int
        Threads; -1 for one on each core.
    """

    def __init__(self, reference: Points, *, jobs: int = 1) -> None:
        if len(reference) == 0:
            raise DataError("There are no reference rows, so no row has a nearest one. Give at least one.")
        refuse_jobs(jobs)
        self.reference, self.jobs = reference, jobs
        self.centre = reference.values.mean(axis=0)
        # Trees cut along principal axes: rows differ most there. A rotation keeps all distances.
        self.rotation = principal_axes(reference.values)
        self._turned = (reference.values - self.centre) @ self.rotation
        self._trees: dict[int, tuple[Any, Ints]] = {}

    def query(self, queries: Points) -> tuple[Float64, Ints]:
        """Distance to the nearest reference row, and that row.

        Parameters
        ----------
        queries : Points
            In the same space; a class that no reference row has is ``gap`` away from all.

        Returns
        -------
        distance : ndarray of float64, shape (n,)
        index : ndarray of int64, shape (n,)
            One of the nearest, where several are equally near.
        """
        self._refuse_other_space(queries)
        distance, index = np.empty(len(queries)), np.empty(len(queries), dtype=np.int64)
        order = np.argsort(queries.classes, kind="stable")
        ends = np.flatnonzero(np.diff(queries.classes[order], append=-1)) + 1
        begin = 0
        for end in ends.tolist():
            for a in range(begin, end, _BLOCK):
                rows = order[a : min(a + _BLOCK, end)]
                distance[rows], index[rows] = self._block(queries.values[rows], int(queries.classes[rows[0]]))
            begin = end
        return distance, index

    def _block(self, values: Float64, label: int) -> tuple[Float64, Ints]:
        """Queries of one class."""
        turned = (values - self.centre) @ self.rotation
        gap = self.reference.gap
        best = np.full(len(values), np.inf)
        index = np.zeros(len(values), dtype=np.int64)
        if label in self._labels and gap > 0:
            tree, of = self._tree(label)
            best, found = tree.query(turned, workers=self.jobs)
            index = of[found]
        far = np.flatnonzero(best > gap)
        if gap == 0 or len(far):
            # The nearest over all classes. Where it is of the same class it is not nearer than what was found there;
            # else its class adds the gap. A row of another class that is nearer still cannot exist.
            tree, of = self._tree(None)
            rows = far if gap > 0 else np.arange(len(values))
            apart, found = tree.query(turned[rows], workers=self.jobs)
            other = np.hypot(apart, gap)
            nearer = other < best[rows]
            index[rows[nearer]] = of[found[nearer]]
        return self._between(values, label, index), index

    def _between(self, values: Float64, label: int, index: Ints) -> Float64:
        """Distances to the winners from the coordinates as given: exactly 0 for equal rows."""
        gaps = self.reference.gap * (self.reference.classes[index] != label)
        apart = values - self.reference.values[index]
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", apart, apart) + gaps**2))

    def _tree(self, label: int | None) -> tuple[Any, Ints]:
        """The tree of one class (or of all rows), made on first use, and the rows it holds."""
        key = -1 if label is None else label
        if key not in self._trees:
            rows = np.arange(len(self.reference)) if label is None else np.flatnonzero(self.reference.classes == label)
            self._trees[key] = _grow(self._turned[rows]), rows
        return self._trees[key]

    @property
    def _labels(self) -> set[int]:
        if not hasattr(self, "_known"):
            self._known = set(np.unique(self.reference.classes).tolist())
        return self._known

    def _refuse_other_space(self, queries: Points) -> None:
        here, there = self.reference, queries
        if here.values.shape[1] != there.values.shape[1] or here.gap != there.gap:
            raise DataError(
                f"The rows lie in another space than the reference: {there.values.shape[1]} covariates and gap "
                f"{there.gap:g}, against {here.values.shape[1]} and {here.gap:g}. Place both by one FeatureSpace."
            )
        bad = ~np.isfinite(queries.values).all(axis=1)
        if bad.any():
            raise DataError(
                f"{int(bad.sum()):,} rows have a missing or infinite covariate, first row {int(bad.argmax()):,}; they "
                "have no nearest neighbour. Drop or fill them."
            )


def nearest_outside(points: Points, groups: NDArray[Any], *, jobs: int = 1) -> tuple[Float64, Ints]:
    """For each row the nearest row of another group, such as of another tower.

    Parameters
    ----------
    points : Points
    groups : ndarray of int, shape (n,)
    jobs : int

    Returns
    -------
    distance : ndarray of float64, shape (n,)
    index : ndarray of int64, shape (n,)

    Raises
    ------
    DataError
        If there is only one group.
    """
    refuse_jobs(jobs)
    if len(groups) == 0 or (groups == groups[0]).all():
        raise DataError(f"All {len(points):,} rows are of one group, so none has a neighbour in another.")
    turned = (points.values - points.values.mean(axis=0)) @ principal_axes(points.values)
    classes = points.classes if points.gap > 0 else np.zeros(len(points), dtype=np.int64)
    best, index = np.full(len(points), np.inf), np.zeros(len(points), dtype=np.int64)
    for label in np.unique(classes).tolist():
        same = np.flatnonzero(classes == label)
        other = np.flatnonzero(classes != label)
        for group in np.unique(groups[same]).tolist():
            own, rest = same[groups[same] == group], same[groups[same] != group]
            if len(rest):
                best[own], found = _grow(turned[rest]).query(turned[own], workers=jobs)
                index[own] = rest[found]
        far = same[best[same] > points.gap]
        if len(far) and len(other):
            _among_others(turned, groups, other, far, best, index, points.gap, jobs)
    apart = points.values - points.values[index]
    gaps = points.gap * (classes != classes[index])
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", apart, apart) + gaps**2)), index


def _among_others(
    turned: Float64,
    groups: NDArray[Any],
    other: Ints,
    far: Ints,
    best: Float64,
    index: Ints,
    gap: float,
    jobs: int,
) -> None:
    """Look among the rows of other classes for those whose best is farther than the gap; in place.

    A tower has one class, so its rows are seldom among the others, and one tree serves all towers of the class.
    """
    mixed = np.isin(groups[far], np.unique(groups[other]))
    tasks = [(far[~mixed], other)] if not mixed.all() else []
    tasks += [
        (far[mixed][groups[far[mixed]] == group], other[groups[other] != group])
        for group in np.unique(groups[far[mixed]]).tolist()
    ]
    for rows, candidates in tasks:
        if len(candidates) == 0:
            continue
        apart, found = _grow(turned[candidates]).query(turned[rows], workers=jobs)
        distance = np.hypot(apart, gap)
        nearer = distance < best[rows]
        best[rows[nearer]] = distance[nearer]
        index[rows[nearer]] = candidates[found[nearer]]


def refuse_jobs(jobs: int) -> None:
    """Refuse numbers of threads that there are not."""
    if jobs == 0 or jobs < -1:
        raise DataError(f"jobs must be a number of threads, or -1 for one on each core, not {jobs}.")


def _grow(points: Float64) -> Any:
    """A k-d tree of rows."""
    from scipy.spatial import cKDTree

    # Median cuts (balanced) take long where many rows are equal; sliding midpoints do not.
    return cKDTree(points, leafsize=_LEAF, balanced_tree=False, compact_nodes=True)


def mean_distance(points: Points, *, pairs: int = 4_000_000, seed: int = 0) -> tuple[float, float, int]:
    """Mean distance over pairs of different rows.

    Parameters
    ----------
    points : Points
        At least two rows.
    pairs : int
        All pairs are taken if there are no more than this; else this many, drawn at random with replacement.
    seed : int

    Returns
    -------
    mean : float
    error : float
        Standard error of the draw; 0 where all pairs were taken.
    taken : int
        Pairs taken.
    """
    n = len(points)
    if n < 2:
        raise DataError(f"A mean distance needs at least two rows, not {n}.")
    everything = n * (n - 1) // 2
    if everything <= pairs:
        first, second = np.triu_indices(n, k=1)
    else:
        rng = np.random.default_rng(seed)
        first = rng.integers(0, n, pairs)
        second = (first + rng.integers(1, n, pairs)) % n
    total = squares = 0.0
    for a in range(0, len(first), _BLOCK):
        one, two = first[a : a + _BLOCK], second[a : a + _BLOCK]
        apart = points.values[one] - points.values[two]
        gaps = points.gap * (points.classes[one] != points.classes[two])
        squared = np.einsum("ij,ij->i", apart, apart) + gaps**2
        total += float(np.sqrt(squared).sum())
        squares += float(squared.sum())
    mean = total / len(first)
    spread = max(squares / len(first) - mean**2, 0.0)
    return mean, 0.0 if everything <= pairs else float(np.sqrt(spread / len(first))), len(first)


def principal_axes(values: Float64) -> Float64:
    """Directions of largest spread first, shape (d, d): a rotation, which keeps all distances.

    Without covariates, shape (0, 1): rows turned by it are all at 0, where a tree can hold them.
    """
    if values.shape[1] == 0:
        return np.zeros((0, 1))
    centred = values - values.mean(axis=0)
    return np.ascontiguousarray(np.linalg.eigh(centred.T @ centred)[1][:, ::-1])

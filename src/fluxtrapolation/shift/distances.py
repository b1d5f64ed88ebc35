"""Distances between train and test that need no classifier, with permutation tests whose unit is a tower.

Covariates are standardised robustly (median and 10-90 % range of train and test together); the plant functional type
counts as one covariate in which two classes stand one apart. Each unit (a tower, or a tower-year) is a sample of its
rows; train and test are mixtures of units, each weighted by its rows. So all that a permutation needs is one matrix of
mean distances between units (energy, MMD), or sorted projections (sliced Wasserstein).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.shift.covariate_pool import PFT, Bools, Float64, Ints, Pool, seeded
from fluxtrapolation.shift.permute import exchange, exchanged, p_value

ROWS: Final = 5_000
"""Rows that the distances look at, the same number from each unit."""
PERMUTATIONS: Final = 999
PROJECTIONS: Final = 50
"""Random directions of the sliced Wasserstein distance."""
RANGE_OF_NORMAL: Final = 2.563
"""10th to 90th percentile of a normal distribution of sd 1, so that robust scales read as standard deviations."""

SCHEMA: Final = {
    "measure": pl.String,
    "value": pl.Float64,
    "exchanged": pl.Float64,
    "p_value": pl.Float64,
    "unit": pl.String,
    "note": pl.String,
}


@dataclass(frozen=True, eq=False)
class Sample:
    """Standardised rows of units.

    Attributes
    ----------
    Z : ndarray, shape (n, dimensions)
        Rows ascending by unit.
    unit : ndarray of int64, shape (n,)
    weight : ndarray, shape (units,)
        Rows of each unit among all rows.
    """

    Z: Float64
    unit: Ints
    weight: Float64

    @property
    def starts(self) -> Ints:
        """First row of each unit."""
        counts = np.bincount(self.unit, minlength=len(self.weight))
        return np.cumsum(counts) - counts


def distance_table(
    pool: Pool,
    *,
    seed: int,
    permutations: int = PERMUTATIONS,
    rows: int | None = ROWS,
    projections: int = PROJECTIONS,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Energy distance, sliced Wasserstein distance and maximum mean discrepancy between train and test.

    Returns
    -------
    table : DataFrame
        ``measure, value, exchanged, p_value, unit, note``; ``exchanged`` is the mean under exchanged labels: with few
        towers it is far from 0 without any shift, so read ``value`` against it.
    record : dict
        Rows, dimensions, scales, bandwidth, permutations.
    """
    rng = seeded(seed, 11)
    sample, scales = standardised_sample(pool, rows, rng)
    seen = _contrasts(pool.unit_test[None], sample.weight)
    able = exchange(pool)
    null = None
    if able.reason is None:
        null = _contrasts(exchanged(pool, permutations, rng), sample.weight)
    bandwidth = median_distance(sample.Z, rng)
    mean_distance, mean_kernel = unit_means(sample, bandwidth)
    directions = random_directions(sample.Z.shape[1], projections, rng)

    def energy(contrast: Float64) -> Float64:
        return _root(-_quadratic(contrast, mean_distance))

    def discrepancy(contrast: Float64) -> Float64:
        return _root(_quadratic(contrast, mean_kernel))

    def sliced(contrast: Float64) -> Float64:
        return sliced_wasserstein(sample, contrast, directions)

    note = able.reason or f"{able.note()}; {permutations} draws; units weighted by their rows"
    told: list[tuple[Any, ...]] = []
    for measure, statistic in (("energy", energy), ("sliced_wasserstein", sliced), ("mmd", discrepancy)):
        value = float(statistic(seen)[0])
        drawn = None if null is None else statistic(null)
        told.append(
            (
                measure,
                value,
                None if drawn is None else float(drawn.mean()),
                None if drawn is None else p_value(value, drawn),
                pool.kind,
                note,
            )
        )
    record = {
        "rows": len(sample.Z),
        "dimensions": sample.Z.shape[1],
        "scales": scales,
        "mmd_bandwidth": bandwidth,
        "projections": projections,
        "permutations": permutations if null is not None else 0,
        "exchange": able.to_dict(),
    }
    return pl.DataFrame(told, schema=SCHEMA, orient="row"), record


def standardised_sample(
    pool: Pool, rows: int | None, rng: np.random.Generator
) -> tuple[Sample, dict[str, dict[str, float]]]:
    """Rows of each unit, standardised by the median and the 10-90 % range of all rows (labels play no part).

    ``rows=None`` takes every row.
    """
    chosen = np.argsort(pool.unit, kind="stable") if rows is None else pool.balanced(rows, least=5, rng=rng)
    columns, scales = [], {}
    for covariate in pool.covariates:
        at = list(covariate.columns)
        if covariate.name == PFT:
            # Two classes differ in two columns; over the root of two they stand one apart.
            columns.append(pool.X[chosen][:, at].astype(np.float64) / np.sqrt(2))
            scales[PFT] = {"median": 0.0, "scale": float(np.sqrt(2))}
            continue
        values = pool.X[:, at[0]].astype(np.float64)
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        # Quartiles would be too near: radiation and its change are 0 half of the time. The sd where even these are 0.
        scale = float(high - low) / RANGE_OF_NORMAL or float(values.std())
        columns.append(((values[chosen] - middle) / scale)[:, None])
        scales[covariate.name] = {"median": float(middle), "scale": scale}
    weight = pool.unit_rows().astype(np.float64)
    return Sample(np.ascontiguousarray(np.hstack(columns)), pool.unit[chosen], weight), scales


def median_distance(Z: Float64, rng: np.random.Generator, rows: int = 1_000) -> float:
    """Median Euclidean distance between pairs of rows, for the width of the kernel (Gretton et al. 2012)."""
    from scipy.spatial.distance import pdist

    few = Z if len(Z) <= rows else Z[rng.choice(len(Z), size=rows, replace=False)]
    distances = pdist(few)
    # More than half of the pairs alike: the mean distance is then the width.
    return float(np.median(distances)) or float(distances.mean()) or 1.0


def unit_means(sample: Sample, bandwidth: float, *, block: int = 512) -> tuple[Float64, Float64]:
    """Mean distance and mean Gaussian kernel between the rows of two units, each of shape (units, units)."""
    from scipy.spatial.distance import cdist

    n, units, starts = len(sample.Z), len(sample.weight), sample.starts
    by_row = [np.empty((n, units)) for _ in range(2)]
    for a in range(0, n, block):
        distance = cdist(sample.Z[a : a + block], sample.Z)
        by_row[0][a : a + block] = np.add.reduceat(distance, starts, axis=1)
        np.square(distance, out=distance)
        distance *= -0.5 / bandwidth**2
        by_row[1][a : a + block] = np.add.reduceat(np.exp(distance, out=distance), starts, axis=1)
    counts = np.bincount(sample.unit, minlength=units).astype(np.float64)
    pairs = counts[:, None] * counts
    mean_distance, mean_kernel = (np.add.reduceat(sums, starts, axis=0) / pairs for sums in by_row)
    return mean_distance, mean_kernel


def random_directions(dimensions: int, number: int, rng: np.random.Generator) -> Float64:
    """Unit vectors uniform on the sphere, shape (number, dimensions); in one dimension just the axis."""
    if dimensions == 1:
        return np.ones((1, 1))
    drawn = rng.normal(size=(number, dimensions))
    scaled: Float64 = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return scaled


def sliced_wasserstein(sample: Sample, contrast: Float64, directions: Float64) -> Float64:
    """Mean over directions of the Wasserstein-1 distance between the projected train and test.

    Parameters
    ----------
    sample : Sample
    contrast : ndarray, shape (draws, units)
        Weight of each unit in test minus that in train.
    directions : ndarray, shape (directions, dimensions)

    Returns
    -------
    ndarray, shape (draws,)
    """
    counts = np.bincount(sample.unit, minlength=contrast.shape[1])
    # Few draws at a time, so that the running sums stay in the processor's cache.
    chunks = [np.ascontiguousarray(part.T) for part in np.array_split(contrast / counts, -(-len(contrast) // 64))]
    total = [np.zeros(part.shape[1]) for part in chunks]
    for direction in directions:
        projected = sample.Z @ direction
        order = np.argsort(projected, kind="stable")
        steps = np.diff(projected[order])
        unit = sample.unit[order[:-1]]
        for part, sums in zip(chunks, total, strict=True):
            # The difference of the two distribution functions between neighbouring points, for each draw.
            apart = np.cumsum(part[unit], axis=0)
            sums += steps @ np.abs(apart, out=apart)
    result: Float64 = np.concatenate(total) / len(directions)
    return result


def _contrasts(labels: Bools, weight: Float64) -> Float64:
    """Weights of the units in test minus those in train, shape (draws, units); each side sums to one."""
    test, train = labels * weight, ~labels * weight
    contrast: Float64 = test / test.sum(axis=1, keepdims=True) - train / train.sum(axis=1, keepdims=True)
    return contrast


def _quadratic(contrast: Float64, matrix: Float64) -> Float64:
    form: Float64 = np.einsum("bu,bu->b", contrast @ matrix, contrast)
    return form


def _root(squared: Float64) -> Float64:
    root: Float64 = np.sqrt(np.maximum(squared, 0.0))
    return root

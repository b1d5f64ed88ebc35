"""Classifier-free distances against scipy and brute force; permutation tests against known truth."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.shift.covariate_pool import Pool, seeded
from fluxtrapolation.shift.distances import (
    Sample,
    _contrasts,
    distance_table,
    random_directions,
    sliced_wasserstein,
    standardised_sample,
    unit_means,
)
from fluxtrapolation.shift.permute import exchange, exchanged, p_value
from fluxtrapolation.shift.sampling import choose_rows
from shift_px_worlds import px_split


def pool_of(**options: Any) -> Pool:
    return Pool.of(choose_rows(px_split(**options)))


def made_sample(rng: np.random.Generator, dimensions: int, units: int = 7) -> Sample:
    """Units of unlike size, each weighted by its rows."""
    counts = rng.integers(1, 9, units)
    unit = np.repeat(np.arange(units), counts)
    return Sample(rng.normal(size=(len(unit), dimensions)), unit, counts.astype(float))


def sides(sample: Sample, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chosen = test[sample.unit]
    return sample.Z[~chosen], sample.Z[chosen]


@pytest.mark.parametrize("seed", range(5))
def test_one_dimension_agrees_with_scipy(seed: int) -> None:
    from scipy.stats import energy_distance, wasserstein_distance

    rng = np.random.default_rng(seed)
    sample = made_sample(rng, 1)
    test = np.array([True, False, True, False, False, True, False])
    x, y = (part[:, 0] for part in sides(sample, test))
    contrast = _contrasts(test[None], sample.weight)
    distance, _ = unit_means(sample, 1.0, block=3)
    squared = float((-(contrast @ distance) * contrast).sum())
    assert np.sqrt(squared) == pytest.approx(energy_distance(x, y), abs=1e-10)
    assert sliced_wasserstein(sample, contrast, random_directions(1, 9, rng))[0] == pytest.approx(
        wasserstein_distance(x, y), abs=1e-10
    )


@pytest.mark.parametrize("seed", range(3))
def test_many_dimensions_agree_with_brute_force(seed: int) -> None:
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(seed)
    sample = made_sample(rng, 4)
    test = np.array([True, False, True, False, False, True, False])
    x, y = sides(sample, test)
    contrast = _contrasts(test[None], sample.weight)
    distance, kernel = unit_means(sample, 1.7, block=5)

    def mean(a: np.ndarray, b: np.ndarray, f: Any) -> float:
        return float(np.mean([f(np.linalg.norm(p - q)) for p, q in itertools.product(a, b)]))

    def apart(r: float) -> float:
        return r

    def gauss(r: float) -> float:
        return float(np.exp(-(r**2) / (2 * 1.7**2)))

    energy = 2 * mean(x, y, apart) - mean(x, x, apart) - mean(y, y, apart)
    mmd = mean(x, x, gauss) + mean(y, y, gauss) - 2 * mean(x, y, gauss)
    assert float((-(contrast @ distance) * contrast).sum()) == pytest.approx(energy, abs=1e-10)
    assert float(((contrast @ kernel) * contrast).sum()) == pytest.approx(mmd, abs=1e-10)
    directions = random_directions(4, 6, rng)
    expected = np.mean([wasserstein_distance(x @ d, y @ d) for d in directions])
    assert sliced_wasserstein(sample, contrast, directions)[0] == pytest.approx(expected, abs=1e-10)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.1, 50), st.floats(-1000, 1000))
def test_standardised_distances_do_not_know_unit_or_origin(seed: int, scale: float, origin: float) -> None:
    pool = pool_of(towers=(5, 5), rows=20, trait=1.0, seed=seed)
    moved = pool_of(towers=(5, 5), rows=20, trait=1.0, seed=seed)
    moved.X[:, 0] = pool.X[:, 0] * scale + origin
    (first, _), (second, _) = (distance_table(p, seed=1, permutations=9, rows=200) for p in (pool, moved))
    np.testing.assert_allclose(first["value"].to_numpy(), second["value"].to_numpy(), rtol=0.02, atol=2e-3)


def test_two_classes_stand_one_apart() -> None:
    pool = pool_of(towers=(6, 6), rows=10, seed=3)
    sample, _ = standardised_sample(pool, None, seeded(0))
    classes = sample.Z[:, 3:]
    forest, grass = classes[classes[:, 0] > 0][0], classes[classes[:, 1] > 0][0]
    assert np.linalg.norm(forest - grass) == pytest.approx(1.0)


def test_an_outlier_hardly_moves_the_scale() -> None:
    pool = pool_of(rows=50)
    before = standardised_sample(pool, None, seeded(0))[1]["TA"]["scale"]
    pool.X[0, 0] = 1e6
    assert standardised_sample(pool, None, seeded(0))[1]["TA"]["scale"] == pytest.approx(before, rel=0.02)


def test_a_shift_is_found_and_none_is_not() -> None:
    shifted, _ = distance_table(pool_of(trait=1.0, shift=3.0, seed=5), seed=0, permutations=599, rows=1500)
    assert (shifted["p_value"].to_numpy() <= 0.002).all()
    assert (shifted["value"] > 1.5 * shifted["exchanged"]).all()
    alike, _ = distance_table(pool_of(trait=1.0, seed=5), seed=0, permutations=599, rows=1500)
    assert (alike["p_value"].to_numpy() > 0.1).all()
    assert (alike["unit"] == "tower").all()


def test_false_positive_rate_with_tower_traits_is_nominal() -> None:
    """300 worlds without shift, towers with strong traits: p <= 0.1 in a tenth of them."""
    hits = np.zeros(3)
    worlds = 300
    for seed in range(worlds):
        pool = pool_of(towers=(8, 6), rows=12, trait=2.0, seed=seed)
        table, _ = distance_table(pool, seed=seed, permutations=59, rows=100, projections=8)
        hits += table["p_value"].to_numpy() <= 0.1
    rates = hits / worlds
    print("false positive rates at 0.1 (energy, sliced Wasserstein, MMD):", rates)  # noqa: T201
    assert (rates > 0.05).all() and (rates < 0.155).all()  # 0.1 +- 3 sd of 300 draws


def test_years_exchange_within_their_tower_only() -> None:
    pool = pool_of(towers=(5, 0), years=(3, 2), unpaired=2, rows=4)
    assert pool.kind == "tower-year" and len(pool.units) == 5 * 5 + 2 * 3
    labels = exchanged(pool, 200, seeded(0))
    per_tower = np.array([np.bincount(pool.unit_tower, weights=row) for row in labels])
    assert (per_tower == [2, 2, 2, 2, 2, 0, 0]).all()
    assert len(np.unique(labels, axis=0)) > 190
    able = exchange(pool)
    assert (able.train, able.test, able.fixed, able.towers) == (15, 10, 6, 5)
    assert 10**able.log10_distinct == pytest.approx(10**5)
    assert "Low power" in able.note() and "100,000 distinct" in able.note()


def test_every_permutation_of_towers_is_as_likely() -> None:
    pool = pool_of(towers=(3, 2), rows=2)
    labels = exchanged(pool, 4000, seeded(1))
    assert (labels.sum(axis=1) == 2).all()
    counts = np.unique(labels, axis=0, return_counts=True)[1]
    assert len(counts) == 10 and counts.min() > 320 and counts.max() < 480


def test_a_shift_of_years_is_found_within_towers() -> None:
    found, _ = distance_table(
        pool_of(towers=(10, 0), years=(3, 3), trait=2.0, shift=1.0, seed=2), seed=0, permutations=199, rows=1500
    )
    assert (found["p_value"].to_numpy() <= 0.01).all()
    none, _ = distance_table(
        pool_of(towers=(10, 0), years=(3, 3), trait=2.0, seed=2), seed=0, permutations=199, rows=1500
    )
    assert (none["p_value"].to_numpy() > 0.05).all()
    assert (found["unit"] == "tower-year").all()


def test_too_few_units_give_a_value_and_a_reason() -> None:
    table, record = distance_table(pool_of(towers=(12, 1)), seed=0)
    assert table["p_value"].null_count() == 3 and table["value"].null_count() == 0
    assert "12 train and 1 test towers" in table["note"][0] and "at least 4" in table["note"][0]
    assert record["permutations"] == 0


def test_no_p_value_is_zero_however_many_permutations_there_are() -> None:
    able = replace(exchange(pool_of(rows=2)), log10_distinct=900.0)
    assert 0 < able.smallest_p < 1e-300 and "more than a million" in able.note()


def test_p_counts_the_observed_and_ties() -> None:
    assert p_value(1.0, [0.0] * 99) == 0.01
    assert p_value(1.0, [1.0] * 99) == 1.0
    assert p_value(1.0, [1.0 - 1e-15] * 9) == 1.0
    assert p_value(0.0, [1.0, -1.0, 0.0]) == 0.75


def test_the_seed_decides() -> None:
    pool = pool_of(rows=80, trait=1.0)
    first, second, other = (distance_table(pool, seed=s, permutations=99, rows=400)[0] for s in (4, 4, 5))
    assert first.equals(second) and not first.equals(other)

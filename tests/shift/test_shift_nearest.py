"""Nearest rows: the same distances as brute force, whatever the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxtrapolation.errors import DataError
from fluxtrapolation.shift.nearest import NearestRows, Points, mean_distance, nearest_outside


def brute(queries: Points, reference: Points, forbidden: np.ndarray | None = None) -> np.ndarray:
    """Distance of every query to the nearest reference row, by all pairs."""
    apart = queries.values[:, None, :] - reference.values[None, :, :]
    gaps = reference.gap * (queries.classes[:, None] != reference.classes[None, :])
    distance = np.sqrt((apart**2).sum(axis=2) + gaps**2)
    if forbidden is not None:
        distance[forbidden] = np.inf
    return distance.min(axis=1)


@st.composite
def rows(draw: st.DrawFn) -> tuple[Points, Points, np.ndarray]:
    """Queries, reference, groups of the reference: few distinct values (ties, duplicates), zero columns, offsets."""
    d = draw(st.integers(0, 4))
    n, m = draw(st.integers(2, 40)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    scale = rng.choice([0.0, 1e-3, 1.0, 1e3], d)
    offset = draw(st.sampled_from([0.0, 1.0, 1e6]))
    coarse = draw(st.booleans())

    def some(count: int) -> np.ndarray:
        raw = rng.normal(size=(count, d))
        return (np.round(raw) if coarse else raw) * scale + offset

    gap = draw(st.sampled_from([0.0, 0.3, 1.0, 50.0]))
    classes = draw(st.integers(1, 4))
    reference = Points(some(n), rng.integers(0, classes, n), gap)
    queries = Points(some(m), rng.integers(0, classes + 1, m), gap)
    groups = rng.integers(0, 4, n)
    groups[:2] = [0, 1]
    return queries, reference, groups


@given(rows())
def test_distances_are_those_of_brute_force(case: tuple[Points, Points, np.ndarray]) -> None:
    queries, reference, _ = case
    distance, index = NearestRows(reference).query(queries)
    expected = brute(queries, reference)
    np.testing.assert_allclose(distance, expected, rtol=1e-9, atol=1e-9)
    # The row that is named lies at that distance.
    np.testing.assert_allclose(
        [brute(queries.take([i]), reference.take([j]))[0] for i, j in enumerate(index)], distance, rtol=1e-12, atol=0
    )


@given(rows())
def test_nearest_of_another_group_is_that_of_brute_force(case: tuple[Points, Points, np.ndarray]) -> None:
    _, points, groups = case
    distance, index = nearest_outside(points, groups)
    assert (groups[index] != groups).all()
    expected = brute(points, points, groups[:, None] == groups[None, :])
    np.testing.assert_allclose(distance, expected, rtol=1e-9, atol=1e-9)


def test_an_equal_row_is_at_distance_zero_exactly_even_far_from_the_origin() -> None:
    """The form |a|^2 + |b|^2 - 2ab would say 64 or more here."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 6)) + 1e9
    points = Points(values, rng.integers(0, 3, 500), 2.0)
    distance, index = NearestRows(points).query(points)
    assert (distance == 0).all()
    assert (values[index] == values).all()
    moved = Points(values + 1e-3, points.classes, 2.0)
    expected = np.linalg.norm(moved.values - values, axis=1)
    assert np.allclose(NearestRows(points).query(moved)[0], expected, rtol=1e-6)


def test_two_threads_give_what_one_gives() -> None:
    rng = np.random.default_rng(1)
    reference = Points(rng.normal(size=(1500, 5)), rng.integers(0, 5, 1500), 0.5)
    queries = Points(rng.normal(size=(300, 5)), rng.integers(0, 6, 300), 0.5)
    one, two = NearestRows(reference, jobs=1).query(queries), NearestRows(reference, jobs=2).query(queries)
    assert np.array_equal(one[0], two[0])
    np.testing.assert_allclose(one[0], brute(queries, reference), rtol=1e-12)


def test_another_class_is_taken_only_where_it_is_nearer() -> None:
    reference = Points(np.array([[0.0], [5.0]]), np.array([0, 1]), 1.0)
    queries = Points(np.array([[5.0], [5.0], [5.0]]), np.array([0, 1, 7]), 1.0)
    distance, index = NearestRows(reference).query(queries)
    assert distance.tolist() == [1.0, 0.0, 1.0]
    assert index.tolist() == [1, 1, 1]


def test_mean_distance_of_all_pairs_and_of_a_draw() -> None:
    rng = np.random.default_rng(2)
    points = Points(rng.normal(size=(400, 3)), rng.integers(0, 2, 400), 1.5)
    i, j = np.triu_indices(400, k=1)
    apart = np.linalg.norm(points.values[i] - points.values[j], axis=1)
    truth = np.hypot(apart, 1.5 * (points.classes[i] != points.classes[j])).mean()
    mean, error, pairs = mean_distance(points)
    assert (round(mean, 10), error, pairs) == (round(truth, 10), 0.0, 400 * 399 // 2)
    drawn = [mean_distance(points, pairs=2000, seed=seed) for seed in range(40)]
    off = np.array([(one[0] - truth) / one[1] for one in drawn])
    assert drawn[0][2] == 2000
    assert np.abs(off.mean()) < 3 / np.sqrt(40)  # unbiased
    assert 0.6 < off.std() < 1.5  # the standard error is what it says


def test_bad_input_is_told() -> None:
    some = Points.of([[0.0], [1.0]])
    with pytest.raises(DataError, match="no reference rows"):
        NearestRows(Points.of(np.empty((0, 2))))
    with pytest.raises(DataError, match="another space"):
        NearestRows(some).query(Points.of([[0.0, 1.0]]))
    with pytest.raises(DataError, match=r"1 rows have a missing or infinite covariate, first row 1"):
        NearestRows(some).query(Points.of([[0.0], [np.nan]]))
    with pytest.raises(DataError, match="of one group"):
        nearest_outside(some, np.array([3, 3]))
    with pytest.raises(DataError, match="at least two rows"):
        mean_distance(Points.of([[1.0]]))
    assert NearestRows(some).query(Points.of(np.empty((0, 1))))[0].shape == (0,)

"""The leaf values of one tree: against a general convex solver, and what their gap promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from fluxtrapolation.models.maxrm import dual
from fluxtrapolation.models.maxrm.dual import solve
from fluxtrapolation.models.maxrm.table import LeafTable, leaf_table


def rows(
    seed: int, *, domains: int, leaves: int, more: int, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leaf, domain and target of rows; every leaf and every domain has one, and most cells are empty."""
    g = np.random.default_rng(seed)
    domain = np.concatenate([np.arange(domains), g.integers(0, domains, leaves + more)])
    leaf = np.concatenate([g.integers(0, leaves, domains + more), np.arange(leaves)])
    y = spread * g.normal(size=domains)[domain] + g.exponential(1, domains)[domain] * g.normal(size=len(domain))
    return leaf, domain, y + g.normal(size=leaves)[leaf]


def table_of(seed: int, *, domains: int, leaves: int, more: int, regret: bool = False) -> LeafTable:
    leaf, domain, y = rows(seed, domains=domains, leaves=leaves, more=more)
    baseline = np.random.default_rng(seed + 1).uniform(0, 2 * y.var(), domains) if regret else None
    return leaf_table(leaf, domain, y, n_leaves=leaves, n_domains=domains, baseline=baseline)


def plainly(leaf: np.ndarray, domain: np.ndarray, y: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean squared error by domain, from the rows."""
    return np.array([np.mean((y[domain == d] - values[leaf[domain == d]]) ** 2) for d in range(domain.max() + 1)])


def by_general_solver(leaf: np.ndarray, domain: np.ndarray, y: np.ndarray, baseline: np.ndarray) -> float:
    """The same minimum by sequential quadratic programming: minimise t so that every risk is at most t."""
    leaves, domains = leaf.max() + 1, domain.max() + 1
    member = [np.flatnonzero(domain == d) for d in range(domains)]

    def room(x: np.ndarray) -> np.ndarray:
        return x[-1] - (plainly(leaf, domain, y, x[:-1]) - baseline)

    def slope(x: np.ndarray) -> np.ndarray:
        out = np.zeros((domains, leaves + 1))
        out[:, -1] = 1
        for d, of in enumerate(member):
            out[d, :-1] = np.bincount(leaf[of], 2 * (y[of] - x[leaf[of]]), leaves) / len(of)
        return out

    start = np.bincount(leaf, y) / np.bincount(leaf)
    start = np.append(start, float((plainly(leaf, domain, y, start) - baseline).max()))
    found = minimize(
        lambda x: x[-1],
        start,
        jac=lambda _: np.append(np.zeros(leaves), 1.0),
        constraints={"type": "ineq", "fun": room, "jac": slope},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    assert found.success
    return float((plainly(leaf, domain, y, found.x[:-1]) - baseline).max())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("regret", [False, True])
def test_finds_what_a_general_solver_finds(seed: int, regret: bool) -> None:
    g = np.random.default_rng(seed)
    leaf, domain, y = rows(seed, domains=int(g.integers(2, 7)), leaves=int(g.integers(1, 9)), more=80)
    count = domain.max() + 1
    baseline = g.uniform(0, 2 * y.var(), count) if regret else np.zeros(count)
    table = leaf_table(leaf, domain, y, n_leaves=leaf.max() + 1, n_domains=count, baseline=baseline)
    found = solve(table, tolerance=1e-6)
    other = by_general_solver(leaf, domain, y, baseline)
    assert found.converged
    assert found.primal == pytest.approx(other, rel=1e-5, abs=1e-5 * y.var())
    assert found.dual <= other + 1e-9 * y.var()


@given(seed=st.integers(0, 10**6), domains=st.integers(1, 25), leaves=st.integers(1, 30), regret=st.booleans())
@settings(max_examples=60, deadline=None)
def test_gap_is_honest_and_weights_are_on_the_simplex(seed: int, domains: int, leaves: int, regret: bool) -> None:
    table = table_of(seed, domains=domains, leaves=leaves, more=150, regret=regret)
    found = solve(table)
    assert found.converged
    assert found.gap <= 1e-4
    squared_error = float(found.weights @ (table.risk(found.values) + table.baseline))
    # relative to the dual value, or to 1 % of the squared error (here of slightly other leaf values) near 0
    assert found.primal - found.dual <= 1.01e-4 * max(abs(found.dual), 0.01 * squared_error) + 1e-12
    if not regret and found.gap > 0:
        assert found.gap == pytest.approx((found.primal - found.dual) / found.dual, rel=1e-6)
    # evaluated, not estimated
    assert float(table.risk(found.values).max()) == pytest.approx(found.primal, rel=1e-9, abs=1e-12)
    assert (found.weights >= 0).all()
    assert found.weights.sum() == pytest.approx(1.0)
    # the dual value is the least weighted risk that any leaf values have
    mass = np.bincount(table.leaf, found.weights[table.domain] * table.share, leaves)
    total = np.bincount(table.leaf, found.weights[table.domain] * table.share * table.mean, leaves)
    best = table.centre + np.divide(total, mass, out=np.zeros(leaves), where=mass > 0)
    assert float(found.weights @ table.risk(best)) == pytest.approx(found.dual, rel=1e-9, abs=1e-9)
    # so no others do better: neither random ones nor a much longer search
    g = np.random.default_rng(seed)
    for scale in (1e-3, 0.1, 1.0):
        other = found.values + scale * g.normal(size=leaves)
        assert float(table.risk(other).max()) >= found.dual - 1e-9
    exact = solve(table, tolerance=1e-7)
    assert found.primal - exact.primal <= found.primal - found.dual + 1e-9


@given(seed=st.integers(0, 10**6), domains=st.integers(1, 12), leaves=st.integers(1, 20), regret=st.booleans())
@settings(max_examples=60, deadline=None)
def test_never_worse_than_the_values_given(seed: int, domains: int, leaves: int, regret: bool) -> None:
    table = table_of(seed, domains=domains, leaves=leaves, more=100, regret=regret)
    given_values = table.centre + 0.3 * np.random.default_rng(seed).normal(size=leaves)
    for fallback in (given_values, table.centre, solve(table, tolerance=1e-7).values):
        found = solve(table, fallback=fallback)
        before, after = float(table.risk(fallback).max()), float(table.risk(found.values).max())
        assert after <= before + 1e-9 * abs(before)


def test_stopped_at_once_the_gap_says_so() -> None:
    table = table_of(3, domains=8, leaves=15, more=200)
    early, exact = solve(table, max_steps=0), solve(table, tolerance=1e-7)
    assert not early.converged
    assert early.steps == 0
    assert early.gap > 1e-2
    assert early.dual <= exact.primal <= early.primal
    assert early.primal - exact.primal <= early.gap * abs(early.dual) * (1 + 1e-9)


@given(seed=st.integers(0, 10**6), shift=st.sampled_from([0.0, 1e4, -1e8]), scale=st.sampled_from([1.0, 1e-5, 1e5]))
@settings(max_examples=30, deadline=None)
def test_table_gives_the_risks_of_the_rows(seed: int, shift: float, scale: float) -> None:
    leaf, domain, y = rows(seed, domains=6, leaves=9, more=60)
    table = leaf_table(leaf, domain, shift + scale * y, n_leaves=9, n_domains=6)
    moves = np.random.default_rng(seed).normal(size=9)
    centre = np.bincount(leaf, y) / np.bincount(leaf)
    # computed without the shift: nothing of the spread is lost beside a large mean but what the rows have lost
    expected = scale**2 * plainly(leaf, domain, y, centre + moves)
    lost = abs(shift) * 1e-15
    np.testing.assert_allclose(
        table.risk(table.centre + scale * moves), expected, rtol=1e-9 + 100 * lost / scale, atol=1e3 * lost**2
    )


def test_equal_domains_give_the_plain_means() -> None:
    """Every domain holds the same rows: no weights can do better than the mean."""
    g = np.random.default_rng(0)
    leaf, y = np.tile(np.arange(5), 20), g.normal(size=100)
    table = leaf_table(np.tile(leaf, 3), np.repeat([0, 1, 2], 100), np.tile(y, 3), n_leaves=5, n_domains=3)
    found = solve(table)
    np.testing.assert_allclose(found.values, np.bincount(leaf, y) / 20, rtol=1e-12, atol=1e-14)
    assert found.gap == 0


def test_a_target_without_spread_is_met() -> None:
    leaf, domain, _ = rows(1, domains=4, leaves=6, more=50)
    found = solve(leaf_table(leaf, domain, np.full(len(leaf), 7.0), n_leaves=6, n_domains=4))
    assert found.converged
    np.testing.assert_allclose(found.values, 7.0)


def test_a_regret_near_zero_still_ends() -> None:
    """With the best mean squared error as baseline the worst regret is 0: the gap is then measured by the error."""
    table = table_of(5, domains=6, leaves=10, more=200)
    best = table.risk(solve(table, tolerance=1e-7).values)
    leaf, domain, y = rows(5, domains=6, leaves=10, more=200)
    regret = leaf_table(leaf, domain, y, n_leaves=10, n_domains=6, baseline=best)
    found = solve(regret)
    assert found.converged
    assert abs(found.primal) < 1e-2 * best.max()
    below = leaf_table(leaf, domain, y, n_leaves=10, n_domains=6, baseline=best + 5.0)
    assert solve(below).primal == pytest.approx(-5.0, abs=1e-2)
    assert solve(below).converged


def test_rows_outside_the_maximum_take_no_part() -> None:
    leaf, domain, y = rows(2, domains=4, leaves=6, more=60)
    beside = np.concatenate([leaf, [2, 2, 2]]), np.concatenate([domain, [-1, -1, -1]]), np.append(y, [99.0, 98.0, 97.0])
    with_rows = solve(leaf_table(*beside, n_leaves=6, n_domains=4))
    without = solve(leaf_table(leaf, domain, y, n_leaves=6, n_domains=4))
    assert with_rows.primal == pytest.approx(without.primal, rel=2e-4)
    assert np.abs(with_rows.values).max() < 50
    # a leaf that only they lie in keeps its plain mean
    alone = solve(
        leaf_table(
            np.append(leaf, [6, 6]), np.append(domain, [-1, -1]), np.append(y, [3.0, 5.0]), n_leaves=7, n_domains=4
        )
    )
    assert alone.values[6] == 4.0


def test_table_stays_sparse_at_400_domains() -> None:
    """100,000 rows in 5,000 leaves and 400 domains: at most a cell a row, where a dense table has two million."""
    g = np.random.default_rng(0)
    leaf = np.concatenate([np.arange(5000), g.integers(0, 5000, 95_000)])
    domain = np.concatenate([np.arange(400), (leaf[400:] // 10 + g.integers(0, 12, 99_600)) % 400])
    table = leaf_table(leaf, domain, g.normal(size=100_000), n_leaves=5000, n_domains=400)
    assert len(table.share) <= 65_000
    held = sum(array.nbytes for array in vars(table).values())
    assert held < 0.2 * 400 * 5000 * 8


def test_dense_and_sparse_curvature_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(4, domains=12, leaves=40, more=900)
    point = dual._point(table, np.full(12, 1 / 12))
    calls: list[Any] = []
    whole = dual._dense_product
    monkeypatch.setattr(dual, "_BLOCK", 7)
    monkeypatch.setattr(dual, "_dense_product", lambda *a: calls.append(1) or whole(*a))
    dense = dual._curvature(table, point)
    assert calls
    few = table_of(4, domains=30, leaves=60, more=30)
    calls.clear()
    sparse_point = dual._point(few, np.full(30, 1 / 30))
    sparse = dual._curvature(few, sparse_point)
    assert not calls
    entries = sparse_point.slope / np.sqrt(sparse_point.mass)[few.leaf]
    np.testing.assert_allclose(sparse, whole(few, entries), atol=1e-12)
    # it is the derivative of the risks by the weights, with the sign turned
    for d in (0, 5):
        step = np.zeros(12)
        step[d] = 1e-6
        ahead, behind = (dual._point(table, point.weights + sign * step).risk for sign in (1, -1))
        np.testing.assert_allclose(-dense[d], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-6)

"""Beta and t distributions without SciPy, against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betainc

from fluxtrapolation.evaluation.certainty.special import beta_cdf, order_below, t_quantile

shape = st.floats(0.01, 1000.0)
inside = st.floats(1e-6, 1 - 1e-6)


@given(inside, shape, shape)
def test_beta_cdf_is_scipys(x: float, a: float, b: float) -> None:
    wanted = float(betainc(a, b, x))
    assume(wanted > 1e-280)
    assert beta_cdf(x, a, b) == pytest.approx(wanted, rel=2e-10, abs=0)


@pytest.mark.parametrize(("a", "b"), [(1e-12, 41.0), (40.5, 0.5), (500.0, 500.0), (1.0, 1.0), (5e3, 5e3), (36.0, 1e-9)])
@pytest.mark.parametrize("x", [0.001, 0.1, 0.49999, 0.5, 0.9, 0.999])
def test_beta_cdf_at_extreme_shapes(x: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(float(betainc(a, b, x)), rel=1e-9, abs=1e-12)


@given(inside, shape, shape)
def test_beta_cdf_is_symmetric_and_a_probability(x: float, a: float, b: float) -> None:
    here, there = beta_cdf(x, a, b), beta_cdf(1 - x, b, a)
    assert 0 <= here <= 1
    assert here + there == pytest.approx(1, abs=1e-9)  # 1 - x is rounded


def test_beta_cdf_outside_and_closed_forms() -> None:
    assert beta_cdf(0.0, 2, 3) == beta_cdf(-1.0, 2, 3) == 0.0
    assert beta_cdf(1.0, 2, 3) == beta_cdf(2.0, 2, 3) == 1.0
    assert beta_cdf(0.3, 1, 1) == pytest.approx(0.3, rel=1e-14)
    assert beta_cdf(0.9, 36, 1) == pytest.approx(0.9**36, rel=1e-13)
    # P(at least r of n below the q-quantile)
    tail = sum(math.comb(12, k) * 0.3**k * 0.7 ** (12 - k) for k in range(5, 13))
    assert beta_cdf(0.3, 5, 8) == pytest.approx(tail, rel=1e-13)


@given(st.lists(inside, min_size=2, max_size=2, unique=True), shape, shape)
def test_beta_cdf_never_falls(pair: list[float], a: float, b: float) -> None:
    low, high = sorted(pair)
    assert beta_cdf(low, a, b) <= beta_cdf(high, a, b) + 1e-12


@given(st.floats(0.501, 0.99999), st.floats(1, 1000))
def test_t_quantile_is_scipys(probability: float, degrees: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(float(stats.t.ppf(probability, degrees)), rel=1e-8)


def test_t_quantile_known_values() -> None:
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-10)
    assert t_quantile(0.975, 9) == pytest.approx(2.2621571627409915, rel=1e-10)
    assert t_quantile(0.5, 7) == pytest.approx(0, abs=1e-7)


@given(st.floats(1, 400), st.floats(0.02, 0.98), st.floats(0.005, 0.995))
def test_order_below_solves_its_equation(n: float, share: float, confidence: float) -> None:
    place = order_below(n, share, confidence)
    assert 0 < place < n + 1
    assert float(stats.beta.cdf(share, place, n + 1 - place)) == pytest.approx(confidence, abs=1e-9)


@given(st.integers(1, 200), st.floats(0.02, 0.98), st.floats(0.01, 0.99))
def test_order_below_mirrors(n: int, share: float, confidence: float) -> None:
    mirrored = n + 1 - order_below(n, 1 - share, 1 - confidence)
    assert order_below(n, share, confidence) == pytest.approx(mirrored, abs=1e-7)


@given(st.integers(2, 150), st.data())
def test_order_below_is_whole_where_the_binomial_says_so(n: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, n))
    share = data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    confidence = float(stats.binom.sf(place - 1, n, share))
    assume(1e-9 < confidence < 1 - 1e-9)
    assert order_below(n, share, confidence) == pytest.approx(place, abs=1e-5)


@given(st.integers(3, 200), st.floats(0.05, 0.95), st.lists(st.floats(0.01, 0.99), min_size=2, max_size=2, unique=True))
def test_order_below_falls_with_confidence_and_rises_with_share(n: int, share: float, pair: list[float]) -> None:
    low, high = sorted(pair)
    assert order_below(n, share, high) <= order_below(n, share, low)
    first, second = sorted((share, low))
    assert order_below(n, first, 0.9) <= order_below(n, second, 0.9) + 1e-12


def test_order_below_of_the_published_sizes() -> None:
    """40 sites: the median lies between the 14th and the 27th value (exact binomial, 96.2 %), so a bit inside."""
    lower, upper = order_below(40, 0.5, 0.975), order_below(40, 0.5, 0.025)
    assert 14 < lower < 15
    assert 26 < upper < 27
    assert lower + upper == pytest.approx(41, abs=1e-9)
    assert np.ceil(order_below(36, 0.9, 0.025)) == 36
    assert order_below(35, 0.9, 0.025) > 35

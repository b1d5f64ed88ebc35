"""First-order recursions against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.data.synthetic.recursion import filter_first_order, red_noise, smooth


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 400), memory=st.floats(0.0, 0.995), start=st.floats(-5, 5), seed=st.integers(0, 9))
def test_blocks_equal_the_plain_loop(n: int, memory: float, start: float, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=n)
    expected, last = [], start
    for value in x:
        last = memory * last + value
        expected.append(last)
    np.testing.assert_allclose(filter_first_order(x, memory, start), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("memory", [0.3, 0.8, 0.97])
def test_red_noise_has_unit_variance_and_the_asked_memory(memory: float) -> None:
    noise = red_noise(np.random.default_rng(3), 200_000, memory)
    assert noise.std() == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(noise[:-1], noise[1:])[0, 1] == pytest.approx(memory, abs=0.01)


def test_smoothing_keeps_a_constant() -> None:
    np.testing.assert_allclose(smooth(np.full(300, 4.0), 10.0), 4.0, rtol=1e-5)

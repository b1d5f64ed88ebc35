"""Linear models against scikit-learn on hard cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.models import model_spec


def _design(seed: int, rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Columns of very different size, a one-hot group (collinear with the intercept) and an all-zero column."""
    g = np.random.default_rng(seed)
    classes = g.integers(0, 4, rows)
    hot = np.eye(5)[classes]  # the fifth class never occurs
    X = np.column_stack(
        [g.normal(15, 8, rows), g.gamma(1, 200, rows), g.normal(0, 0.01, rows), 1000 + g.normal(size=rows), hot]
    )
    y = X[:, 0] * 0.3 - X[:, 1] * 0.01 + X[:, 2] * 40 + hot @ [1.0, -2.0, 3.0, 0.5, 9.0] + g.normal(size=rows)
    return X.astype(np.float32), y.astype(np.float32)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_least_squares_agrees_with_scikit_learn(seed: int) -> None:
    from sklearn.linear_model import LinearRegression

    X, y = _design(seed)
    unseen = X[:50].copy()
    unseen[:, 4:] = [0, 0, 0, 0, 1]  # a class that was never in training
    ours = model_spec("lr").build().fit(X, y)
    theirs = LinearRegression().fit(X.astype(np.float64), y.astype(np.float64))
    for rows in (X, unseen):
        np.testing.assert_allclose(ours.predict(rows), theirs.predict(rows.astype(np.float64)), rtol=3e-6, atol=3e-5)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e2])
def test_ridge_agrees_with_scikit_learn_on_robustly_scaled_columns(alpha: float) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import RobustScaler

    X, y = _design(3)
    ours = model_spec("ridge").build(alpha=alpha).fit(X, y).predict(X)
    pipeline = make_pipeline(RobustScaler(), Ridge(alpha=alpha, solver="svd"))
    theirs = pipeline.fit(X.astype(np.float64), y.astype(np.float64)).predict(X.astype(np.float64))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-4)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from fluxtrapolation.models import linear

    X, y = _design(1)
    whole = model_spec("lr").build().fit(X, y)
    monkeypatch.setattr(linear, "_BLOCK", 97)
    pieces = model_spec("lr").build().fit(X, y)
    np.testing.assert_allclose(pieces.predict(X), whole.predict(X), rtol=1e-6, atol=1e-6)

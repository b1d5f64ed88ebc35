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


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 1.0, 1e2]), st.sampled_from([1.1, 1.35, 2.0]))
def test_huber_is_no_worse_than_scikit_learn(seed: int, alpha: float, epsilon: float) -> None:
    """The same objective at both solutions: ours is not larger, and the predictions agree."""
    from sklearn.linear_model import HuberRegressor

    X, y = _design(seed)
    y[::17] += 50 * np.random.default_rng(seed).standard_t(1.5, len(y[::17])).astype(np.float32)
    median = np.median(X, axis=0)
    low, high = np.quantile(X, [0.25, 0.75], axis=0)
    scaled = (X - median) / np.where(high > low, high - low, 1.0)
    ours = model_spec("robust-lr").build(alpha=alpha, epsilon=epsilon).fit(X, y)
    assert ours.report_["stopped"] == "converged"
    theirs = HuberRegressor(alpha=alpha, epsilon=epsilon, max_iter=5000, tol=1e-8).fit(scaled, y.astype(np.float64))

    def objective(w: np.ndarray, intercept: float, scale: float) -> float:
        z = np.abs(y - scaled @ w - intercept) / scale
        huber = np.where(z <= epsilon, z**2, 2 * epsilon * z - epsilon**2)
        return float((scale + scale * huber).sum() + alpha * w @ w)

    own = ours.coef_ * np.where(high > low, high - low, 1.0)  # type: ignore[attr-defined]
    intercept = ours.intercept_ + median @ ours.coef_  # type: ignore[attr-defined]
    mine = objective(own, float(intercept), ours.report_["scale"])
    assert mine <= objective(theirs.coef_, theirs.intercept_, theirs.scale_) * (1 + 1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(scaled), atol=2e-2, rtol=1e-3)


def test_huber_is_not_moved_by_outliers() -> None:
    g = np.random.default_rng(0)
    X = g.normal(size=(2000, 2)).astype(np.float32)
    y = (X @ [2.0, -1.0] + 0.1 * g.normal(size=2000)).astype(np.float32)
    y[:100] = 500.0
    clean = X @ np.array([2.0, -1.0])
    error = {name: np.abs(model_spec(name).build().fit(X, y).predict(X) - clean).max() for name in ("lr", "robust-lr")}
    assert error["robust-lr"] < 0.2
    assert error["lr"] > 10


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_huber_of_an_exactly_linear_or_constant_target(level: float) -> None:
    X, _ = _design(2)
    constant = np.full(len(X), level, dtype=np.float32)
    model = model_spec("robust-lr").build()
    np.testing.assert_allclose(model.fit(X, constant).predict(X), constant, atol=1e-5)
    linear = (X[:, 0] * 0.5 + X[:, 4]).astype(np.float32)
    np.testing.assert_allclose(model.fit(X, linear).predict(X), linear, atol=2e-2)


def test_huber_blocks_do_not_change_the_result_and_it_tells_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from fluxtrapolation.models import linear

    X, y = _design(1)
    whole = model_spec("robust-lr").build().fit(X, y)
    assert whole.notes_ == ()
    stopped = model_spec("robust-lr").build().fit(X, y, time_limit=1e-9)
    assert stopped.notes_ == ("robust-lr has not converged (stopped by time_limit after 0 steps)",)
    assert "max_iter after 1 steps" in model_spec("robust-lr").build(max_iter=1).fit(X, y).notes_[0]
    monkeypatch.setattr(linear, "_BLOCK", 97)
    pieces = model_spec("robust-lr").build().fit(X, y)
    np.testing.assert_allclose(pieces.predict(X), whole.predict(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("params", [{"epsilon": 1.0}, {"alpha": -1.0}])
def test_huber_refuses_parameters_out_of_range(params: dict[str, float]) -> None:
    from fluxtrapolation.errors import ModelError

    with pytest.raises(ModelError, match="epsilon > 1 and alpha >= 0"):
        model_spec("robust-lr").build(**params).fit(*_design(0))


def test_ridge_refuses_a_negative_penalty() -> None:
    from fluxtrapolation.errors import ModelError

    with pytest.raises(ModelError, match="ridge needs alpha >= 0, not -1"):
        model_spec("ridge").build(alpha=-1.0).fit(*_design(0))


def test_infinities_of_both_signs_are_told_in_one_message_without_a_warning() -> None:
    import warnings

    from fluxtrapolation.errors import ModelError

    X, y = _design(0)
    X[3, 1], X[5, 1] = np.inf, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModelError, match="2 missing or infinite values in column 1, first in row 3"):
            model_spec("lr").build().fit(X, y)

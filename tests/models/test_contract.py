"""One contract for every registered model."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models import FluxModel, ModelSpec, model_spec, registry
from fluxtrapolation.runs import configurations

NAMES = tuple(name for name, spec in registry().items() if not spec.needs.sequences)


def toy_world(rows: int = 3000, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A learnable world: a linear part, a bend and a threshold, in 6 domains."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, 5)).astype(np.float32)
    y = 2 * X[:, 0] - X[:, 1] + np.maximum(X[:, 2], 0) + (X[:, 3] > 0.5) + 0.1 * generator.normal(size=rows)
    return X, y.astype(np.float32), np.repeat(np.arange(6), rows // 6)


@pytest.fixture(params=NAMES)
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return model_spec(request.param)


def fitted(spec: ModelSpec, **more: object) -> FluxModel:
    X, y, domains = toy_world()
    return spec.build().fit(X, y, domains=domains, eval_set=toy_world(600, seed=1)[:2], seed=3, **more)  # type: ignore[arg-type]


def test_shapes_and_finite(spec: ModelSpec) -> None:
    predicted = fitted(spec).predict(toy_world(500, seed=2)[0])
    assert predicted.shape == (500,)
    assert predicted.dtype == np.float32
    assert np.isfinite(predicted).all()


def test_seed_repeats(spec: ModelSpec) -> None:
    X = toy_world(500, seed=2)[0]
    np.testing.assert_array_equal(fitted(spec).predict(X), fitted(spec).predict(X))


def test_save_and_load(spec: ModelSpec, tmp_path: Path) -> None:
    model = fitted(spec, feature_names=list("abcde"))
    X = toy_world(500, seed=2)[0]
    again = spec.load_class().load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.get_params() == model.get_params()
    assert again.feature_names_ == tuple("abcde")
    assert not list((tmp_path / "m").glob("*.pkl"))


def test_refuses_missing_values(spec: ModelSpec) -> None:
    X, y, _ = toy_world()
    holes = X.copy()
    holes[[5, 9], 1] = np.nan
    with pytest.raises(ModelError, match=rf"{spec.name}: X has 2 missing or infinite values in b, first in row 5"):
        spec.build().fit(holes, y, feature_names=list("abcde"))
    with pytest.raises(ModelError, match="X has 2 missing or infinite values in column 1"):
        fitted(spec).predict(holes)
    hole_y = y.copy()
    hole_y[7] = np.inf
    with pytest.raises(ModelError, match="y has 1 missing or infinite values, first in row 7"):
        spec.build().fit(X, hole_y)


def test_refuses_shapes_that_do_not_fit(spec: ModelSpec) -> None:
    X, y, _ = toy_world()
    with pytest.raises(ModelError, match="Give one target per row"):
        spec.build().fit(X, y[:-1])
    with pytest.raises(ModelError, match="fitted on 5 columns; X has 4"):
        fitted(spec).predict(X[:, :4])
    with pytest.raises(ModelError, match="not fitted"):
        spec.build().predict(X)
    with pytest.raises(ModelError, match="no rows"):
        spec.build().fit(X[:0], y[:0])


def test_learns(spec: ModelSpec) -> None:
    X, y, _ = toy_world(1000, seed=5)
    constant = float(np.sqrt(np.mean((toy_world()[1].mean() - y) ** 2)))
    own = float(np.sqrt(np.mean((fitted(spec).predict(X) - y) ** 2)))
    if spec.name == "constant":
        assert own == pytest.approx(constant, rel=1e-5)
    else:
        assert own < 0.6 * constant


def test_time_limit_ends_the_fit(spec: ModelSpec) -> None:
    """With no time at all a model must still come back soon and predict."""
    X, y, _ = toy_world(30_000)
    params = {"n_estimators": 100_000} if "n_estimators" in spec.build().get_params() else {}
    begin = time.monotonic()
    model = spec.build(**params).fit(X, y, time_limit=0.2)
    assert np.isfinite(model.predict(X[:10])).all()
    # generous: an unlimited fit of 100,000 trees takes many minutes
    assert time.monotonic() - begin < 60


def test_search_space_is_seeded_and_builds(spec: ModelSpec) -> None:
    drawn = configurations(spec, 5, seed=1)
    assert len(drawn) == (1 if spec.space is None else 5)
    assert drawn == configurations(spec, 5, seed=1)
    assert drawn[:2] == configurations(spec, 2, seed=1)
    for params in drawn:
        assert spec.build(**params).get_params().items() >= params.items()
    if spec.space is not None:
        assert drawn != configurations(spec, 5, seed=2)


def test_parameters(spec: ModelSpec) -> None:
    model = spec.build()
    assert model.set_params(**model.get_params()) is model
    with pytest.raises(ModelError, match="nonsense"):
        model.set_params(nonsense=1)
    with pytest.raises(ModelError, match="nonsense"):
        spec.build(nonsense=1)


def test_scikit_learn_takes_it(spec: ModelSpec) -> None:
    from sklearn.base import clone, is_regressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import cross_val_score

    model = spec.build()
    assert is_regressor(model)
    assert clone(model).get_params() == model.get_params()
    X, y, _ = toy_world(600)
    for scoring in ("neg_root_mean_squared_error", None):
        assert np.isfinite(cross_val_score(model, X, y, cv=3, scoring=scoring)).all()
    fitted_here = model.fit(X, y)
    assert fitted_here.score(X, y) == pytest.approx(r2_score(y, fitted_here.predict(X)), rel=1e-6, abs=1e-9)


def test_a_miss_suggests_the_nearest_name() -> None:
    with pytest.raises(ModelError, match=r"no model 'xgbb'.*Did you mean 'xgb'.*Known: constant"):
        model_spec("xgbb")

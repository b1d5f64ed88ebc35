"""One contract for every registered model: those that read rows, and those that read windows of hours."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models import FluxModel, ModelSpec, SequenceModel, model_spec, registry
from fluxtrapolation.scenarios import Part
from toy_world import FEATURES, shifted_world, toy_part, toy_world

# Hyper-parameters that make slow models quick enough for a test; every other model is tested with its defaults.
SMALL: dict[str, dict[str, Any]] = {
    "maxrm-mse": {"n_estimators": 30, "n_jobs": 2},
    "maxrm-regret": {"n_estimators": 20, "n_jobs": 2},
    "tabm": {"members": 4, "hidden": "32-32", "max_epochs": 30, "n_jobs": 1},
    "lstm": {
        "length": 96,
        "warmup": 24,
        "stride": 24,
        "hidden": 16,
        "batch_size": 8,
        "learning_rate": 5e-3,
        "max_epochs": 15,
        "n_jobs": 1,
    },
}
# Hyper-parameters that let a fit go on (almost) for ever, where a model has them.
ENDLESS = {"n_estimators": 100_000, "max_epochs": 100_000, "max_iter": 100_000, "patience": 100_000}
# (light, heavy) weight of the penalty, where those below do not show the difference.
WEIGHTS: dict[str, tuple[float, float]] = {"dann": (1e-3, 1.0), "irm": (1e-3, 100.0)}
LIGHT_AND_HEAVY = (1e-3, 10.0)
# The claim is about training, so the last weights are asked, after enough steps for an adversary to learn.
PENALISED = {"batch_size": 128, "max_epochs": 60, "n_jobs": 1}

NAMES = tuple(registry())


@pytest.fixture(params=NAMES)
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return model_spec(request.param)


@pytest.fixture(params=[name for name in NAMES if not registry()[name].needs.sequences])
def row_spec(request: pytest.FixtureRequest) -> ModelSpec:
    return model_spec(request.param)


@pytest.fixture(params=[name for name in NAMES if registry()[name].needs.sequences])
def window_spec(request: pytest.FixtureRequest) -> ModelSpec:
    return model_spec(request.param)


@pytest.fixture(params=[name for name in NAMES if registry()[name].penalty is not None])
def penalised_spec(request: pytest.FixtureRequest) -> ModelSpec:
    return model_spec(request.param)


def build(spec: ModelSpec, **params: Any) -> FluxModel:
    return spec.build(**(SMALL.get(spec.name, {}) | params))


def beside(spec: ModelSpec, domains: np.ndarray) -> dict[str, Any]:
    """What a fit on rows gets beside X and y: names always, domains where the model needs them, as in a run."""
    return {"feature_names": FEATURES} | ({"domains": domains} if spec.needs.domains else {})


def fit(spec: ModelSpec, model: FluxModel, *, seed: int = 3, shifted: bool = False, **more: Any) -> FluxModel:
    """Fit on the toy world, in the form the model reads."""
    if spec.needs.sequences:
        return model.fit(
            toy_part(shifted=shifted),
            eval_set=toy_part("validation", sites=2, seed=1, shifted=shifted),
            seed=seed,
            **more,
        )
    X, y, domains = (shifted_world if shifted else toy_world)()
    held = (shifted_world if shifted else toy_world)(600, seed=1)[:2]
    return model.fit(X, y, **beside(spec, domains), eval_set=held, seed=seed, **more)


@cache
def fitted(name: str) -> FluxModel:
    """The model fitted once; tests that only read share it."""
    spec = model_spec(name)
    return fit(spec, build(spec))


def unseen(spec: ModelSpec, seed: int = 2) -> tuple[Any, np.ndarray]:
    """What ``predict`` reads, and the truth of its rows."""
    if spec.needs.sequences:
        part = toy_part("test", sites=2, days=45, seed=seed)
        return part, part.y
    X, y, _ = toy_world(500, seed=seed)
    return X, y


def test_shapes_and_finite(spec: ModelSpec) -> None:
    rows, y = unseen(spec)
    predicted = fitted(spec.name).predict(rows)
    assert predicted.shape == y.shape
    assert predicted.dtype == np.float32
    assert np.isfinite(predicted).all()
    assert isinstance(fitted(spec.name), SequenceModel) == spec.needs.sequences


def test_seed_repeats(spec: ModelSpec) -> None:
    rows = unseen(spec)[0]
    again = fit(spec, build(spec))
    np.testing.assert_array_equal(again.predict(rows), fitted(spec.name).predict(rows))


def test_a_fit_leaves_its_rows_as_they_were(row_spec: ModelSpec) -> None:
    X, y, domains = toy_world(600)
    copies = X.copy(), y.copy(), domains.copy()
    model = build(row_spec).fit(X, y, **beside(row_spec, domains))
    model.predict(X)
    for now, before in zip((X, y, domains), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_save_and_load(spec: ModelSpec, tmp_path: Path) -> None:
    model, rows = fitted(spec.name), unseen(spec)[0]
    again = spec.load_class().load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
    assert again.get_params() == model.get_params()
    assert again.feature_names_ == FEATURES
    assert again.notes_ == model.notes_
    assert again.report_ == json.loads(json.dumps(model.report_))
    # and a loaded model can be saved again
    third = spec.load_class().load(again.save(tmp_path / "n"))
    np.testing.assert_array_equal(third.predict(rows), model.predict(rows))


def test_saves_no_pickle(spec: ModelSpec, tmp_path: Path) -> None:
    for file in fitted(spec.name).save(tmp_path / "m").rglob("*"):
        assert file.suffix not in (".pkl", ".pickle", ".joblib", ".pt", ".pth")
        # pickles of protocol 2 and later begin so
        assert file.is_dir() or not (file.read_bytes()[:1] == b"\x80" and file.read_bytes()[1:2] in b"\x02\x03\x04\x05")


def test_tells_of_the_fit_in_json(spec: ModelSpec) -> None:
    model = fitted(spec.name)
    assert json.loads(json.dumps(model.report_, allow_nan=False)) is not None
    assert all(isinstance(note, str) and note for note in model.notes_)


def test_refuses_missing_covariates(row_spec: ModelSpec) -> None:
    X, y, domains = toy_world()
    holes = X.copy()
    holes[[5, 9], 1] = np.nan
    more = beside(row_spec, domains)
    told = rf"{row_spec.name}: X has 2 missing or infinite values in VPD, first in row 5"
    with pytest.raises(ModelError, match=told):
        build(row_spec).fit(holes, y, **more)
    with pytest.raises(ModelError, match=told):
        fitted(row_spec.name).predict(holes)
    with pytest.raises(ModelError, match=told):
        build(row_spec).fit(X, y, **more, eval_set=(holes, y))


def test_refuses_a_missing_target(row_spec: ModelSpec) -> None:
    X, y, domains = toy_world()
    y[7] = np.inf
    with pytest.raises(ModelError, match="y has 1 missing or infinite values, first in row 7"):
        build(row_spec).fit(X, y, **beside(row_spec, domains))


def test_refuses_missing_hours_in_windows(window_spec: ModelSpec) -> None:
    spec = window_spec
    part = toy_part()
    part.X[[5, 9], 1] = np.nan
    told = rf"{spec.name}: X has 2 missing or infinite values in VPD, first in row 5"
    with pytest.raises(ModelError, match=told):
        build(spec).fit(part)
    with pytest.raises(ModelError, match=told):
        fitted(spec.name).predict(part)
    with pytest.raises(ModelError, match="windows of consecutive hours"):
        build(spec).fit(part.X, part.y)
    with pytest.raises(ModelError, match="not fitted"):
        build(spec).predict(part)
    other = replace(toy_part(), feature_names=("TA", "VPD", "SW_IN", "NIRv", "PFT_ENF"))
    with pytest.raises(ModelError, match=r"missing EVI; not known NIRv"):
        fitted(spec.name).predict(other)


def test_windows_predict_every_hour_of_any_part(window_spec: ModelSpec) -> None:
    """The same hours give the same predictions, whatever the part is called and whichever of its hours count."""
    model = fitted(window_spec.name)
    train = toy_part(sites=2, days=45, seed=2)
    test = replace(train, name="test", mask=np.ones(len(train), dtype=np.bool_))
    np.testing.assert_array_equal(model.predict(train), model.predict(test))
    # a site's predictions do not depend on the others
    first: Part = test.take(test.site_codes == 0)
    np.testing.assert_allclose(model.predict(first), model.predict(test)[: len(first)], rtol=1e-4, atol=1e-4)


def test_refuses_shapes_that_do_not_fit(row_spec: ModelSpec) -> None:
    X, y, domains = toy_world()
    more = beside(row_spec, domains)
    with pytest.raises(ModelError, match="Give one target per row"):
        build(row_spec).fit(X, y[:-1], **more)
    with pytest.raises(ModelError, match="X has 4 columns, but 5 feature names"):
        build(row_spec).fit(X[:, :4], y, **more)
    with pytest.raises(ModelError, match=r"5 feature names were given|fitted on 5 columns; X has 4"):
        fitted(row_spec.name).predict(X[:, :4])
    with pytest.raises(ModelError, match="not fitted"):
        build(row_spec).predict(X)
    with pytest.raises(ModelError, match="no rows"):
        build(row_spec).fit(X[:0], y[:0], **beside(row_spec, domains[:0]))
    with pytest.raises(ModelError, match="domains 2,999"):
        build(row_spec).fit(X, y, feature_names=FEATURES, domains=domains[:-1])


def test_says_what_it_cannot_do_without(row_spec: ModelSpec) -> None:
    """A model that needs names or domains says so; one that does not need them fits without."""
    X, y, domains = toy_world(600)
    if row_spec.needs.domains:
        with pytest.raises(ModelError, match="domains"):
            build(row_spec).fit(X, y, feature_names=FEATURES)
    if row_spec.needs.feature_names:
        with pytest.raises(ModelError, match="feature_names"):
            build(row_spec).fit(X, y, domains=domains)
    if not row_spec.needs.domains and not row_spec.needs.feature_names:
        assert np.isfinite(build(row_spec).fit(X, y).predict(X)).all()


def test_learns(spec: ModelSpec) -> None:
    rows, y = unseen(spec, seed=5)
    constant = float(np.sqrt(np.nanmean((toy_world()[1].mean() - y) ** 2)))
    own = float(np.sqrt(np.nanmean((fitted(spec.name).predict(rows) - y) ** 2)))
    if spec.name == "constant":
        assert own == pytest.approx(constant, rel=1e-5)
    else:
        assert own < 0.6 * constant


def test_a_constant_target_is_predicted(row_spec: ModelSpec) -> None:
    """Such as the flux of a few winter hours; libraries trip over it."""
    X, _, domains = toy_world(600)
    y = np.full(600, 5.0, dtype=np.float32)
    model = build(row_spec).fit(X, y, **beside(row_spec, domains), eval_set=(X, y))
    np.testing.assert_allclose(model.predict(X), y, atol=1.0)


def test_time_limit_ends_the_fit(spec: ModelSpec) -> None:
    """With hardly any time a model must still come back soon and predict."""
    known = build(spec).get_params()
    model = build(spec, **{name: value for name, value in ENDLESS.items() if name in known})
    begin = time.monotonic()
    if spec.needs.sequences:
        part: Any = toy_part(sites=8, days=120)
        model.fit(part, time_limit=0.2)
    else:
        part, y, domains = toy_world(30_000)
        model.fit(part, y, **beside(spec, domains), time_limit=0.2)
    # generous: without a limit such a fit takes many minutes
    assert time.monotonic() - begin < 60
    assert np.isfinite(model.predict(part)).all()


def test_penalty_falls_when_its_weight_rises(penalised_spec: ModelSpec) -> None:
    spec = penalised_spec
    light, heavy = WEIGHTS.get(spec.name, LIGHT_AND_HEAVY)
    X, y, domains = shifted_world()
    measured = []
    for weight in (light, heavy):
        model = build(spec, **{**PENALISED, str(spec.penalty): weight})
        measured.append(model.fit(X, y, **beside(spec, domains), seed=3).report_["penalty"])
    assert all(np.isfinite(measured))
    assert measured[1] < 0.7 * measured[0]


def test_search_space_is_seeded_and_builds(spec: ModelSpec) -> None:
    from fluxtrapolation.runs import configurations

    drawn = configurations(spec, 5, seed=1)
    assert len(drawn) == (1 if spec.space is None else 5)
    assert drawn == configurations(spec, 5, seed=1)
    assert drawn[:2] == configurations(spec, 2, seed=1)
    for params in drawn:
        assert spec.build(**params).get_params().items() >= params.items()
    if spec.space is not None:
        assert drawn != configurations(spec, 5, seed=2)
        # what was drawn is kept in the trial's record
        assert json.loads(json.dumps(drawn)) == drawn


def test_parameters(spec: ModelSpec) -> None:
    model = build(spec)
    assert model.set_params(**model.get_params()) is model
    with pytest.raises(ModelError, match="nonsense"):
        model.set_params(nonsense=1)
    with pytest.raises(ModelError, match="nonsense"):
        build(spec, nonsense=1)


def test_scikit_learn_takes_it(row_spec: ModelSpec) -> None:
    from sklearn.base import clone, is_regressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import cross_val_score

    model = build(row_spec)
    assert is_regressor(model)
    assert clone(model).get_params() == model.get_params()
    X, y, domains = toy_world(600)
    more = beside(row_spec, domains)
    for scoring in ("neg_root_mean_squared_error", None):
        assert np.isfinite(cross_val_score(model, X, y, cv=3, scoring=scoring, params=more)).all()
    fitted_here = model.fit(X, y, **more)
    assert fitted_here.score(X, y) == pytest.approx(r2_score(y, fitted_here.predict(X)), abs=1e-6)


def test_every_model_says_where_it_comes_from(spec: ModelSpec) -> None:
    assert spec.summary
    assert spec.source
    assert spec.origin is None
    assert (spec.space is None) == (spec.space_text == "-")
    if spec.penalty is not None:
        assert spec.penalty in build(spec).get_params()
        assert spec.needs.domains


def test_a_miss_suggests_the_nearest_name() -> None:
    with pytest.raises(ModelError, match=r"no model 'xgbb'.*Did you mean 'xgb'.*Known: constant"):
        model_spec("xgbb")

"""Boosted trees: which columns and rows count, why a fit stopped, and what a damaged or full disk does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models import model_spec
from fluxtrapolation.runs import configurations
from toy_world import FEATURES, toy_world

TREES = ("xgb", "lightgbm", "catboost")


def test_conservative_reads_its_columns_only() -> None:
    X, y, _ = toy_world(2000)
    names = ("TA", "VPD", "SW_IN", "NIRv", "PFT_ENF")
    model = model_spec("xgb-conservative").build(n_estimators=20).fit(X, y, feature_names=names)
    assert model.report_["columns"] == ["TA", "VPD", "SW_IN", "PFT_ENF"]
    assert model.notes_ == ("xgb-conservative: the store lacks EVI, NDWI_SWIR2; fitted without",)
    changed = X.copy()
    changed[:, 3] = 99.0
    np.testing.assert_array_equal(model.predict(changed), model.predict(X))
    plain = model_spec("xgb").build(n_estimators=20).fit(X[:, [0, 1, 2, 4]], y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X[:, [0, 1, 2, 4]]))


def test_conservative_on_all_its_columns_has_nothing_to_note() -> None:
    X, y, _ = toy_world(600)
    names = ("TA", "VPD", "SW_IN", "EVI", "NDWI_SWIR2", "PFT_ENF", "LST_Day")
    wide = np.column_stack([X, X[:, :2]])
    model = model_spec("xgb-conservative").build(n_estimators=5).fit(wide, y, feature_names=names)
    assert model.notes_ == ()
    assert model.report_["columns"] == list(names[:6])


def test_conservative_without_any_of_its_columns_is_refused() -> None:
    X, y, _ = toy_world(600)
    with pytest.raises(ModelError, match=r"X has none of them. Its columns: a, b, c, d, e"):
        model_spec("xgb-conservative").build().fit(X, y, feature_names=list("abcde"))


def test_balanced_weighs_domains_equally() -> None:
    """Two domains of 1900 and 100 rows that contradict each other: the mean prediction lies halfway, not at 95 %."""
    X = np.zeros((2000, 1), dtype=np.float32)
    y = np.repeat(np.array([0.0, 10.0], dtype=np.float32), [1900, 100])
    domains = np.repeat([7, 3], [1900, 100])
    params: dict[str, Any] = {"n_estimators": 200, "subsample": 1.0}
    balanced = model_spec("xgb-balanced").build(**params).fit(X, y, domains=domains)
    assert balanced.predict(X[:1])[0] == pytest.approx(5.0, abs=0.01)
    assert model_spec("xgb").build(**params).fit(X, y).predict(X[:1])[0] == pytest.approx(0.5, abs=0.01)
    assert balanced.report_["domains"] == 2
    assert balanced.report_["rows_of_domains"] == [100, 1900]


def test_balanced_on_domains_of_equal_size_is_xgb() -> None:
    X, y, domains = toy_world(1200)
    held = toy_world(300, seed=1)[:2]
    balanced = model_spec("xgb-balanced").build().fit(X, y, domains=domains, eval_set=held)
    plain = model_spec("xgb").build().fit(X, y, eval_set=held)
    np.testing.assert_allclose(balanced.predict(X), plain.predict(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TREES)
def test_says_why_it_stopped(name: str) -> None:
    X, y, _ = toy_world(2000)
    held = toy_world(500, seed=1)[:2]
    most = model_spec(name).build(n_estimators=4).fit(X, y, eval_set=held).report_
    assert (most["stopped"], most["trees"], most["best_round"]) == ("n_estimators", 4, 4)
    early = model_spec(name).build(n_estimators=2000, learning_rate=0.5).fit(X, y, eval_set=held)
    assert early.report_["stopped"] == "early_stopping"
    assert early.report_["trees"] == early.report_["best_round"]
    assert early.report_["trees_grown"] == early.report_["best_round"] + 10
    rmse = float(np.sqrt(np.mean((early.predict(held[0]) - held[1]) ** 2)))
    assert early.report_["validation_rmse"] == pytest.approx(rmse, rel=1e-5)


@pytest.mark.parametrize("name", TREES)
def test_out_of_time_keeps_the_best_so_far(name: str) -> None:
    X, y, _ = toy_world(3000)
    held = toy_world(500, seed=1)[:2]
    for eval_set in (held, None):
        model = model_spec(name).build(n_estimators=10**6, early_stopping=10**6, learning_rate=1e-4)
        model.fit(X, y, eval_set=eval_set, time_limit=0.1)
        assert model.report_["stopped"] == "time_limit"
        assert 1 <= model.report_["trees"] < 10**6
        assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("jobs", [1, 2])
def test_lightgbm_repeats_with_the_same_number_of_threads(jobs: int) -> None:
    X, y, _ = toy_world(3000)
    one, two = (model_spec("lightgbm").build(n_jobs=jobs).fit(X, y, seed=4).predict(X) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    other = model_spec("lightgbm").build(n_jobs=jobs).fit(X, y, seed=5).predict(X)
    assert (one != other).any()


def test_lightgbm_samples_by_gradient() -> None:
    X, y, _ = toy_world(3000)
    model: Any = model_spec("lightgbm").build().fit(X, y)
    assert "data_sample_strategy: goss" in model.booster_.model_to_string()


def test_lightgbm_space_has_no_more_leaves_than_the_depth_allows() -> None:
    for params in configurations(model_spec("lightgbm"), 200, seed=0):
        assert params["num_leaves"] <= min(65, 2 ** params["max_depth"] - 1)
        assert params["num_leaves"] >= 15 or params["max_depth"] == 3


@pytest.mark.parametrize(
    ("name", "file"), [("xgb", "booster.ubj"), ("lightgbm", "booster.txt"), ("catboost", "booster.cbm")]
)
def test_a_damaged_model_is_told(name: str, file: str, tmp_path: Path) -> None:
    X, y, _ = toy_world(600)
    model_spec(name).build(n_estimators=5).fit(X, y, feature_names=FEATURES).save(tmp_path / "m")
    saved = tmp_path / "m" / file
    saved.write_bytes(saved.read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged"):
        model_spec(name).load_class().load(tmp_path / "m")
    saved.unlink()
    with pytest.raises(ModelError, match="damaged"):
        model_spec(name).load_class().load(tmp_path / "m")


def test_catboost_tells_a_full_disk_as_the_system_does(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    X, y, _ = toy_world(600)
    model = model_spec("catboost").build(n_estimators=5).fit(X, y)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "booster.cbm").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        model.save(tmp_path / "m")


@pytest.mark.parametrize("name", ["xgb", "xgb-balanced"])
def test_xgboost_keeps_its_number_of_threads_when_loaded(name: str, tmp_path: Path) -> None:
    X, y, domains = toy_world(600)
    model = model_spec(name).build(n_estimators=5, n_jobs=2).fit(X, y, domains=domains)
    again: Any = type(model).load(model.save(tmp_path / "m"))
    assert json.loads(again.booster_.save_config())["learner"]["generic_param"]["nthread"] == "2"


def test_catboost_leaves_nothing_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    X, y, _ = toy_world(600)
    model: Any = model_spec("catboost").build(n_estimators=5).fit(X, y, eval_set=(X, y))
    model_spec("catboost").build(n_estimators=10**6).fit(X, y, time_limit=0.1)
    type(model).load(model.save(tmp_path / "m")).predict(X)
    assert [item.name for item in tmp_path.iterdir()] == ["m"]


def test_catboost_of_a_constant_target_can_be_saved(tmp_path: Path) -> None:
    X, _, _ = toy_world(600)
    y = np.full(600, 2.5, dtype=np.float32)
    model = model_spec("catboost").build().fit(X, y)
    again = type(model).load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), y)
    assert json.loads((tmp_path / "m" / "model.json").read_text())["report"]["stopped"] == "constant target"

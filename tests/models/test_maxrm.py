"""Worst-group forests: what is guaranteed, what is reported, and what is refused."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models.maxrm.grow import Growth, grow_batches, own_risks
from fluxtrapolation.models.maxrm.joint import _Problem, solve_jointly
from fluxtrapolation.models.maxrm.model import MaxRM, MaxRMMse, MaxRMRegret
from fluxtrapolation.models.maxrm.rows import stratified
from fluxtrapolation.models.maxrm.trees import leaf_nodes, leaf_of_rows, load_trees, mean_prediction, save_trees
from toy_world import shifted_world, toy_world

FEW = {"n_estimators": 12, "min_samples_leaf": 5, "n_jobs": 1}


def conflicting(rows: int = 3000, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Five large domains that agree and a small one, without a covariate of its own, that contradicts them."""
    g = np.random.default_rng(seed)
    X = g.normal(size=(rows, 4)).astype(np.float32)
    domain = np.where(np.arange(rows) < 0.05 * rows, 5, np.arange(rows) % 5)
    slope = np.where(domain == 5, -1.0, 2.0)
    y = slope * X[:, 0] + 0.5 * X[:, 1] + 0.2 * g.normal(size=rows)
    return X, y.astype(np.float32), domain


def plain_forest(model: MaxRM, X: np.ndarray, y: np.ndarray, seed: int) -> RandomForestRegressor:
    """The ordinary forest that the model starts from."""
    return RandomForestRegressor(
        model.n_estimators, min_samples_leaf=model.min_samples_leaf, max_features=1.0, random_state=seed
    ).fit(X, y.astype(np.float64))


def by_domain(y: np.ndarray, predicted: np.ndarray, domain: np.ndarray) -> np.ndarray:
    return np.bincount(domain, (y.astype(np.float64) - predicted) ** 2) / np.bincount(domain)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("world", [shifted_world, conflicting])
def test_no_tree_is_worse_than_its_plain_version(world: Any, seed: int) -> None:
    X, y, domain = world(1200, seed=seed)
    model = MaxRMMse(**FEW).fit(X, y, domains=domain, seed=seed)
    plain = plain_forest(model, X, y, seed)
    for ours, theirs in zip(model.trees_, plain.estimators_, strict=True):
        np.testing.assert_array_equal(ours.threshold, theirs.tree_.threshold)
        before = by_domain(y, theirs.tree_.predict(X)[:, 0], domain).max()
        after = by_domain(y, ours.predict(X)[:, 0], domain).max()
        assert after <= before * (1 + 1e-9)
    assert model.report_["converged_share"] == 1
    assert model.report_["gap_max"] <= 1e-4


def test_no_tree_has_more_regret_than_its_plain_version() -> None:
    X, y, domain = shifted_world(1200)
    model = MaxRMRegret(**FEW).fit(X, y, domains=domain, seed=4)
    own = own_risks(Growth(5, 1.0, 4, 1), X, y.astype(np.float64), domain, 6, n_estimators=12, until=None).risk
    plain = plain_forest(model, X, y, 4)
    for ours, theirs in zip(model.trees_, plain.estimators_, strict=True):
        before = (by_domain(y, theirs.tree_.predict(X)[:, 0], domain) - own).max()
        after = (by_domain(y, ours.predict(X)[:, 0], domain) - own).max()
        assert after <= before + 1e-9 * abs(before)
    # what is reported is this regret, of the forest
    told = (by_domain(y, mean_prediction(model.trees_, X, n_jobs=1), domain) - own).max()
    assert model.report_["worst_risk"] == pytest.approx(told, rel=1e-9)
    told = (by_domain(y, plain.predict(X), domain) - own).max()
    assert model.report_["worst_risk_plain"] == pytest.approx(told, rel=1e-9)


def test_the_worst_domain_gains_where_groups_conflict() -> None:
    """On rows never seen: the small domain that contradicts the others, and what they pay for it."""
    X, y, domain = conflicting(6000)
    unseen, truth, of = conflicting(6000, seed=9)
    model = MaxRMMse(n_estimators=40, min_samples_leaf=20, n_jobs=1).fit(X, y, domains=domain, seed=0)
    before = by_domain(truth, plain_forest(model, X, y, 0).predict(unseen), of)
    after = by_domain(truth, model.predict(unseen), of)
    assert int(before.argmax()) == 5
    assert after.max() < 0.6 * before.max()
    assert np.delete(after, 5).mean() > np.delete(before, 5).mean()
    assert model.report_["worst_risk"] < 0.6 * model.report_["worst_risk_plain"]


def test_regret_leaves_a_noisy_domain_alone() -> None:
    """One domain is all noise: squared error chases it and spoils the others, regret does not."""
    X, y, domain = toy_world(3000)
    g = np.random.default_rng(0)
    y = np.where(domain == 0, 8 * g.normal(size=len(y)), y).astype(np.float32)
    unseen, truth, of = toy_world(3000, seed=7)
    calm = of > 0
    params = {"n_estimators": 30, "min_samples_leaf": 10, "n_jobs": 1}
    error = {
        cls.risk: np.mean((truth - cls(**params).fit(X, y, domains=domain, seed=0).predict(unseen))[calm] ** 2)
        for cls in (MaxRMMse, MaxRMRegret)
    }
    assert error["regret"] < 0.7 * error["mse"]


def test_one_domain_is_the_plain_forest() -> None:
    X, y, _ = toy_world(600)
    for cls in (MaxRMMse, MaxRMRegret):
        model = cls(**FEW).fit(X, y, domains=np.full(600, "DE-Hai"), seed=3)
        expected = plain_forest(model, X, y, 3).predict(X).astype(np.float32)
        np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)
        assert any("ordinary forest" in note for note in model.notes_)


def test_without_domains_it_is_refused() -> None:
    X, y, _ = toy_world(600)
    with pytest.raises(ModelError, match=r"maxrm-mse minimises the worst train domain's risk.*fit\(X, y, domains="):
        MaxRMMse().fit(X, y)


def test_result_depends_on_the_seed_only() -> None:
    """Neither the number of threads nor the names of the domains change a bit."""
    X, y, domain = shifted_world(1500)
    names = np.array(["AT-Neu", "CH-Dav", "DE-Hai", "FR-Pue", "IT-Ren", "US-Ha1"])
    for cls in (MaxRMMse, MaxRMRegret):
        params = FEW | {"joint": True, "joint_steps": 20}
        one = cls(**params).fit(X, y, domains=domain, seed=5)
        two = cls(**params | {"n_jobs": 2}).fit(X, y, domains=names[domain], seed=5)
        np.testing.assert_array_equal(one.predict(X), two.predict(X))
        other = cls(**params).fit(X, y, domains=domain, seed=6)
        assert (other.predict(X) != one.predict(X)).any()


def test_batches_are_the_forest_of_one_fit() -> None:
    X, y, _ = toy_world(600)
    growth = Growth(5, 0.7, 11, 1)
    grown = [tree for batch in grow_batches(growth, X, y.astype(np.float64), 20, until=None) for tree in batch]
    forest = RandomForestRegressor(20, min_samples_leaf=5, max_features=0.7, random_state=11).fit(X, y)
    assert len(grown) == 20
    for ours, theirs in zip(grown, forest.estimators_, strict=True):
        np.testing.assert_array_equal(ours.threshold, theirs.tree_.threshold)
        np.testing.assert_array_equal(ours.value, theirs.tree_.value)


def test_own_risk_is_out_of_bag() -> None:
    """It is what scikit-learn's own out-of-bag prediction gives, for a forest of that domain's rows alone."""
    X, y, domain = shifted_world(1200)
    y = y.astype(np.float64)
    own = own_risks(Growth(5, 1.0, 2, 1), X, y, domain, 6, n_estimators=60, until=None)
    assert own.trees == 60
    assert not own.of_mean.any()
    for code in range(6):
        rows = domain == code
        seed = int(np.random.SeedSequence((2, 1, code, 0)).generate_state(1)[0])
        forest = RandomForestRegressor(60, min_samples_leaf=5, random_state=seed, oob_score=True).fit(X[rows], y[rows])
        assert own.risk[code] == pytest.approx(np.mean((y[rows] - forest.oob_prediction_) ** 2), rel=1e-9)
        # in-sample it would be far too small
        assert np.mean((y[rows] - forest.predict(X[rows])) ** 2) < 0.7 * own.risk[code]


def test_small_domains_have_a_rule_and_a_note() -> None:
    """Nine rows cannot split a tree with leaves of 5; a single row has no out-of-bag risk at all."""
    X, y, domain = shifted_world(1200)
    domain[:9], domain[9] = 6, 7
    own = own_risks(Growth(5, 1.0, 2, 1), X, y.astype(np.float64), domain, 8, n_estimators=10, until=None)
    left_out = [np.mean(np.delete(y[:9].astype(np.float64), i)) for i in range(9)]
    assert own.risk[6] == pytest.approx(np.mean((y[:9] - left_out) ** 2), rel=1e-6)
    assert np.isnan(own.risk[7])
    np.testing.assert_array_equal(np.flatnonzero(own.of_mean), [6, 7])
    model = MaxRMRegret(**FEW).fit(X, y, domains=domain, seed=0)
    assert model.report_["domains_with_own_mean"] == 1
    assert model.report_["domains_left_out"] == 1
    assert any("1 train domains have fewer than 10 rows" in note for note in model.notes_)
    assert any("single row" in note for note in model.notes_)
    # the lone row counts in no domain's risk
    own = own_risks(Growth(5, 1.0, 0, 1), X, y.astype(np.float64), domain, 8, n_estimators=12, until=None)
    risks = by_domain(y, mean_prediction(model.trees_, X, n_jobs=1), domain)
    assert model.report_["worst_risk"] == pytest.approx((risks - own.risk)[:7].max(), rel=1e-9)
    with pytest.raises(ModelError, match="has a single row"):
        MaxRMRegret(**FEW).fit(X[:50], y[:50], domains=np.arange(50))


def test_joint_values_lower_the_forest_and_never_raise_it() -> None:
    for seed in range(3):
        X, y, domain = shifted_world(1500, seed=seed)
        for cls in (MaxRMMse, MaxRMRegret):
            by_tree = cls(**FEW).fit(X, y, domains=domain, seed=seed)
            joint = cls(**FEW, joint=True).fit(X, y, domains=domain, seed=seed)
            assert joint.report_["worst_risk_by_tree"] == pytest.approx(by_tree.report_["worst_risk"])
            assert joint.report_["worst_risk"] < by_tree.report_["worst_risk"]
            assert joint.report_["joint_gap"] < 0.01
            # hardly any steps: not much better, but never worse
            stopped = cls(**FEW, joint=True, joint_steps=1).fit(X, y, domains=domain, seed=seed)
            before = by_tree.report_["worst_risk"]
            assert stopped.report_["worst_risk"] <= before + 1e-9 * abs(before)
            assert not stopped.report_["joint_converged"]
            # what is reported is what the saved trees do
            if cls is MaxRMMse:
                told = by_domain(y, mean_prediction(joint.trees_, X, n_jobs=1), domain).max()
                assert joint.report_["worst_risk"] == pytest.approx(told, rel=1e-9)


def test_joint_search_keeps_the_best_point_it_has_seen() -> None:
    g = np.random.default_rng(1)
    leaves = [g.integers(0, 3, 60).astype(np.int32) for _ in range(2)]
    y, domain = g.normal(size=60), np.arange(60) % 3
    with ThreadPoolExecutor(1) as pool:
        problem = _Problem(leaves, y, domain, np.zeros(3), 0.5, 100, None, pool)
        start = problem.best
        small = -1e-3 * problem(np.zeros(6))[1]
        problem(small)
        good = problem.best
        problem(np.full(6, 50.0))
    assert good < start
    assert problem.best == good
    np.testing.assert_array_equal(problem.best_x, small)
    assert problem.bound <= good


def test_joint_gap_is_honest() -> None:
    """A general convex solver finds no better value of the penalised problem than the gap allows, and none worse."""
    from scipy.optimize import minimize

    g = np.random.default_rng(0)
    leaves = [g.integers(0, 3, 60).astype(np.int32) for _ in range(2)]
    y, domain, ridge = 3 * g.normal(size=60), np.arange(60) % 3, 0.5
    y += domain
    baseline = np.array([0.0, 1.0, 2.0])
    found = solve_jointly(
        leaves, np.zeros(60), y, domain, baseline, ridge=ridge, tolerance=1e-5, max_steps=3000, n_jobs=1
    )

    def penalised(x: np.ndarray) -> float:
        moves = [x[:3][leaves[0]], x[3:6][leaves[1]]]
        risks = by_domain(y, (moves[0] + moves[1]) / 2, domain) - baseline
        return float(risks.max() + ridge * np.mean([np.mean(move**2) for move in moves]))

    def room(x: np.ndarray) -> np.ndarray:
        moves = [x[:3][leaves[0]], x[3:6][leaves[1]]]
        penalty = ridge * np.mean([np.mean(move**2) for move in moves])
        return x[-1] - (by_domain(y, (moves[0] + moves[1]) / 2, domain) - baseline) - penalty

    other = minimize(
        lambda x: x[-1],
        np.append(np.zeros(6), penalised(np.zeros(6))),
        constraints={"type": "ineq", "fun": room},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-13},
    )
    ours = penalised(np.concatenate(found.changes))
    assert found.converged
    assert ours == pytest.approx(penalised(other.x), rel=3e-5)


def test_rows_are_limited_by_domain_and_said() -> None:
    X, y, domain = shifted_world(3000)
    model = MaxRMMse(**FEW, max_rows=900).fit(X, y, domains=domain, seed=1)
    assert model.report_["rows"] == 900
    assert model.report_["rows_given"] == 3000
    assert model.report_["max_rows"] == 900
    assert "900 of 3,000 train rows used (max_rows of the model itself)" in model.notes_
    assert MaxRMMse().max_rows == 200_000
    again = MaxRMMse(**FEW, max_rows=900).fit(X, y, domains=domain, seed=1)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    everything = MaxRMMse(**FEW, max_rows=None).fit(X, y, domains=domain, seed=1)
    assert everything.report_["rows"] == 3000
    assert everything.notes_ == ()


def test_stratified_rows() -> None:
    code = np.repeat([0, 1, 2, 3], [6000, 3000, 999, 1])
    np.random.default_rng(0).shuffle(code)
    rows = stratified(code, 1000, seed=0, model="m")
    assert rows is not None
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(np.bincount(code[rows]), [600, 300, 99, 1])
    assert (stratified(code, 1000, seed=1, model="m") != rows).any()
    # more small domains than room for their shares: each keeps a row, and the total holds
    many = np.append(np.zeros(10_000, dtype=int), np.arange(1, 90))
    counts = np.bincount(many[stratified(many, 100, seed=0, model="m")])
    assert counts.sum() == 100
    assert counts.min() == 1
    assert stratified(code, 10_000, seed=0, model="m") is None
    assert stratified(code, None, seed=0, model="m") is None
    with pytest.raises(ModelError, match="90 train domains do not fit into max_rows=50"):
        stratified(many, 50, seed=0, model="m")


def test_time_limit_gives_fewer_trees_and_says_so() -> None:
    X, y, domain = shifted_world(6000)
    for cls in (MaxRMMse, MaxRMRegret):
        model = cls(n_estimators=50_000, n_jobs=1, own_estimators=5000, joint=True)
        model.fit(X, y, domains=domain, time_limit=1.5)
        assert 1 <= model.report_["n_trees"] < 50_000
        assert len(model.trees_) == model.report_["n_trees"]
        assert any("time limit" in note for note in model.notes_)
        assert model.report_["worst_risk"] < np.inf
        if cls is MaxRMRegret:
            assert 10 <= model.report_["own_trees"] < 5000


def test_report_is_complete() -> None:
    X, y, domain = shifted_world(1500)
    report = MaxRMRegret(**FEW, joint=True).fit(X, y, domains=domain).report_
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    wanted = {
        "n_trees",
        "gap_max",
        "gap_median",
        "converged_share",
        "worst_risk_plain",
        "worst_risk",
        "seconds_growing",
        "seconds_leaf_values",
        "seconds_own_forests",
        "seconds_joint",
        "rows",
        "own_risk_median",
    }
    assert wanted <= report.keys()
    assert report["gap_median"] <= report["gap_max"]


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"n_estimators": 0}, "n_estimators must be at least 1"),
        ({"min_samples_leaf": 0}, "min_samples_leaf must be at least 1"),
        ({"joint_ridge": 0.0}, "joint_ridge must be positive"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"max_rows": 0}, "max_rows must be at least 1 or None"),
    ],
)
def test_parameters_that_cannot_work_are_refused(params: dict[str, Any], told: str) -> None:
    X, y, domain = toy_world(60)
    with pytest.raises(ModelError, match=told):
        MaxRMMse(**params).fit(X, y, domains=domain)


def test_saved_trees_are_the_same_trees(tmp_path: Path) -> None:
    X, y, domain = shifted_world(1500)
    model = MaxRMMse(**FEW).fit(X, y, domains=domain)
    save_trees(tmp_path / "t.npz", model.trees_)
    again = load_trees(tmp_path / "t.npz", X.shape[1])
    for ours, theirs in zip(again, model.trees_, strict=True):
        for what in ("children_left", "children_right", "feature", "threshold"):
            np.testing.assert_array_equal(getattr(ours, what), getattr(theirs, what))
        np.testing.assert_array_equal(ours.apply(X), theirs.apply(X))
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    # a tree that is one leaf, too
    stump = DecisionTreeRegressor().fit(X, np.full(len(X), 2.5)).tree_
    save_trees(tmp_path / "s.npz", [stump])
    assert (load_trees(tmp_path / "s.npz", X.shape[1])[0].predict(X) == 2.5).all()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    X, y, domain = shifted_world(600)
    folder = MaxRMMse(**FEW).fit(X, y, domains=domain).save(tmp_path / "m")
    (folder / "trees.npz").write_bytes((folder / "trees.npz").read_bytes()[:500])
    with pytest.raises(ModelError, match="damaged"):
        MaxRMMse.load(folder)
    (folder / "trees.npz").unlink()
    with pytest.raises(ModelError, match="damaged"):
        MaxRMMse.load(folder)


@pytest.mark.parametrize(
    ("array", "value", "told"),
    [
        ("left", 0, "leads out of its tree"),  # round and round, for ever
        ("right", 10**8, "leads out of its tree"),
        ("feature", 77, "column that is not there"),
        ("feature", -3, "column that is not there"),
    ],
)
def test_nodes_that_lead_astray_are_refused(array: str, value: int, told: str, tmp_path: Path) -> None:
    """scikit-learn follows them in compiled code, unchecked."""
    X, y, domain = shifted_world(600)
    folder = MaxRMMse(**FEW).fit(X, y, domains=domain).save(tmp_path / "m")
    with np.load(folder / "trees.npz") as held:
        arrays = dict(held)
    inner = int(np.flatnonzero(arrays["left"] >= 0)[1])
    arrays[array][inner] = value
    np.savez(folder / "trees.npz", **arrays)
    with pytest.raises(ModelError, match=f"damaged.*{told}"):
        MaxRMMse.load(folder)


def test_blocks_do_not_change_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    from fluxtrapolation.models.maxrm import trees

    X, y, domain = shifted_world(1500)
    model = MaxRMMse(**FEW).fit(X, y, domains=domain)
    whole = model.predict(X)
    monkeypatch.setattr(trees, "BLOCK", 97)
    np.testing.assert_array_equal(model.predict(X), whole)
    np.testing.assert_array_equal(model.set_params(n_jobs=3).predict(X), whole)
    assert model.predict(X[:0]).shape == (0,)
    leaf = leaf_of_rows(model.trees_[0], X)
    assert leaf.max() + 1 == len(leaf_nodes(model.trees_[0])) == model.trees_[0].n_leaves

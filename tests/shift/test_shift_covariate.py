"""The domain classifier by row and by site on worlds whose shift is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.errors import DataError, ScenarioError
from fluxtrapolation.scenarios import Split
from fluxtrapolation.shift import covariate_pool
from fluxtrapolation.shift.classifier import Fitted, by_row, by_site, tower_half
from fluxtrapolation.shift.covariate import CovariateShift, covariate
from fluxtrapolation.shift.covariate_pool import Pool, seeded
from fluxtrapolation.shift.covariate_scores import (
    Reliability,
    average_ranks,
    balanced_accuracy,
    binomial_p_value,
    rank_auc,
    row_p_value,
)
from fluxtrapolation.shift.sampling import choose_rows
from shift_px_worlds import px_split

scores = st.lists(st.tuples(st.integers(0, 20).map(lambda v: v / 20), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: len({side for _, side in rows}) == 2
)


def pool_of(**options: Any) -> Pool:
    return Pool.of(choose_rows(px_split(**options)))


def both(pool: Pool, *, seed: int = 0, permutations: int = 39) -> tuple[Fitted, Fitted]:
    row = by_row(pool, repeats=2, permutations=permutations, seed=seed)
    return row, by_site(pool, repeats=4, permutations=permutations, seed=seed, test_rows=600, test_iterations=10)


@given(scores)
def test_scores_agree_with_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

    probability, test = np.array([p for p, _ in rows]), np.array([s for _, s in rows])
    assert rank_auc(probability, test) == pytest.approx(roc_auc_score(test, probability))
    assert balanced_accuracy(probability, test) == pytest.approx(balanced_accuracy_score(test, probability > 0.5))
    assert Reliability.of(probability, test).brier == pytest.approx(brier_score_loss(test, probability))
    assert rank_auc(1 - probability, test) == pytest.approx(1 - rank_auc(probability, test))
    assert rank_auc(np.exp(3 * probability), test) == pytest.approx(rank_auc(probability, test))


def test_reliability_by_hand() -> None:
    sums = Reliability.of(np.array([0.0, 0.05, 0.92, 1.0]), np.array([False, True, True, False]))
    assert sums.n.tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    # |0.05 - 1| + |1.92 - 1| over four rows
    assert sums.calibration_error == pytest.approx((0.95 + 0.92) / 4)
    assert (sums + sums).calibration_error == pytest.approx(sums.calibration_error)
    assert (sums + sums).brier == pytest.approx(sums.brier)


def test_binomial_agrees_with_scipy_and_is_never_zero() -> None:
    from scipy.stats import binomtest

    test = np.arange(100) < 30
    probability = np.where(np.arange(100) < 85, test, ~test).astype(float)
    assert binomial_p_value(probability, test) == pytest.approx(binomtest(85, 100, 0.7, "greater").pvalue)
    many = np.arange(200_000) < 50_000
    assert binomial_p_value(many.astype(float), many) > 0


def test_row_p_values_are_uniform_for_independent_rows_whichever_side_is_smaller() -> None:
    rng = np.random.default_rng(0)
    for share in (0.2, 0.8):
        p = []
        for _ in range(400):
            test = rng.permutation(np.arange(60) < 60 * share)
            # Skewed scores with ties: the null is not symmetric.
            p.append(row_p_value(average_ranks(np.round(rng.exponential(size=60), 1)), test, 19, rng))
        assert 0.06 < np.mean(np.array(p) <= 0.1) < 0.145


def test_tower_traits_fool_the_split_by_row_and_not_the_one_by_site() -> None:
    """No shift, but each tower has its own climate: told by row, because the classifier knows the towers."""
    row, site = both(pool_of(towers=(12, 10), trait=6.0, rows=50, seed=1))
    assert row.shift.auc.mean is not None and site.shift.auc.mean is not None
    print(f"no shift, towers with traits: AUC by row {row.shift.auc.text()}, by site {site.shift.auc.text()}")  # noqa: T201
    print(f"p by row {row.shift.p_value}, binomial {row.shift.binomial_p}, by site {site.shift.p_value}")  # noqa: T201
    assert row.shift.auc.mean > 0.97
    assert row.shift.p_value == pytest.approx(1 / 40) and row.shift.binomial_p is not None
    assert row.shift.binomial_p < 1e-20
    assert abs(site.shift.auc.mean - 0.5) < 0.2
    assert site.shift.p_value is not None and site.shift.p_value > 0.1
    assert "Anti-conservative" in row.shift.p_note and "unit: row" in row.shift.p_note
    assert "unit: tower" in site.shift.p_note and "12 train and 10 test towers" in site.shift.p_note
    # The probabilities of towers never seen are worth nothing, and the calibration says so.
    assert site.shift.calibration_error.mean > 0.2 > row.shift.calibration_error.mean  # type: ignore[operator]


def test_without_shift_or_traits_neither_sees_one() -> None:
    row, site = both(pool_of(rows=80, seed=2))
    assert row.shift.auc.mean == pytest.approx(0.5, abs=0.06)
    assert site.shift.auc.mean == pytest.approx(0.5, abs=0.06)
    assert row.shift.p_value is not None and row.shift.p_value > 0.03
    assert site.shift.p_value is not None and site.shift.p_value > 0.05


def test_a_common_shift_is_seen_by_both_and_carried_by_its_covariate() -> None:
    row, site = both(pool_of(trait=0.5, shift=2.0, rows=60, seed=3))
    assert row.shift.auc.mean is not None and row.shift.auc.mean > 0.8  # at most 0.9: 2 sd apart, towers 0.5
    assert site.shift.auc.mean is not None and site.shift.auc.mean > 0.8
    assert site.shift.p_value is not None and site.shift.p_value <= 0.05
    assert site.importance is not None
    table = site.importance
    assert table["covariate"][0] == "TA" and table["auc_drop"][0] > 0.25
    assert set(table["covariate"]) == {"TA", "VPD", "SW_IN", "PFT"}
    assert table.filter(covariate="SW_IN")["auc_drop"][0] < 0.05


def test_years_of_a_tower_stay_together_and_exchange_within_it() -> None:
    pool = pool_of(towers=(10, 0), years=(3, 3), unpaired=3, trait=6.0, rows=25, seed=4)
    _, site = both(pool)
    assert site.shift.p_value is not None and site.shift.p_value > 0.05
    assert "within 10 towers" in site.shift.p_note and "Low power" in site.shift.p_note
    assert "9 years of towers with one side only" in site.shift.p_note
    _, moved = both(pool_of(towers=(10, 0), years=(3, 3), trait=0.5, shift=1.5, rows=25, seed=4))
    assert moved.shift.p_value is not None and moved.shift.p_value <= 0.05
    assert moved.shift.auc.mean is not None and moved.shift.auc.mean > 0.7


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(4, 9), st.integers(4, 9))
def test_halves_of_towers_hold_both_sides(seed: int, train: int, test: int) -> None:
    pool = pool_of(towers=(train, test), rows=1)
    first = tower_half(pool.unit_tower, pool.unit_test, len(pool.towers), seeded(seed))
    for half in (first, ~first):
        assert set(pool.unit_test[half]) == {True, False}
    assert abs(int(first.sum()) - int((~first).sum())) <= 2


@pytest.mark.slow
def test_false_positive_rate_by_site_is_nominal_where_towers_have_traits() -> None:
    """Worlds without shift: p by site <= 0.1 in a tenth; p by row is small in all of them."""
    worlds, hits, fooled = 40, 0, 0
    for seed in range(worlds):
        pool = pool_of(towers=(6, 5), trait=3.0, rows=12, seed=1000 + seed)
        site = by_site(pool, repeats=1, permutations=19, seed=seed, test_rows=130, test_iterations=3).shift
        assert site.p_value is not None
        hits += site.p_value <= 0.1
        if seed < 10:
            fooled += (by_row(pool, repeats=1, permutations=19, seed=seed).shift.p_value or 1) <= 0.05
    print(f"false positive rate at 0.1: by site {hits / worlds:.3f} of {worlds} worlds; by row {fooled} of 10")  # noqa: T201
    assert hits / worlds <= 0.1 + 3 * np.sqrt(0.09 / worlds)
    assert fooled == 10


@pytest.fixture(scope="module")
def small() -> Split:
    return px_split(towers=(5, 4), rows=30, trait=1.0, shift=1.0, constant=("SW_IN",))


@pytest.fixture(scope="module")
def measured(small: Split) -> CovariateShift:
    return covariate(small, repeats=2, permutations=9, max_rows=250)


def test_the_whole_measure_as_json(measured: CovariateShift) -> None:
    told = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    for side in ("by_row", "by_site"):
        assert 0 <= told[side]["auc"] <= 1 and 0 <= told[side]["balanced_accuracy"] <= 1
        assert told[side]["auc_sd"] >= 0 and 0 < told[side]["p_value"] <= 1 and told[side]["reason"] is None
    assert told["by_row"]["binomial_p"] > 0
    assert told["record"]["constant_covariates"] == ["SW_IN"]
    assert told["record"]["train_rows_used"] + told["record"]["test_rows_used"] == 250
    assert [row["covariate"] for row in told["univariate"]] == ["TA", "VPD", "SW_IN", "PFT"]
    assert "SW_IN" not in measured.importance["covariate"]
    assert measured.distances["measure"].to_list() == ["energy", "sliced_wasserstein", "mmd"]
    held_out = measured.calibration.group_by("split").sum().select("split", "n").rows()
    assert dict(held_out)["row"] == 2 * 126  # the odd row of either side is held out
    assert ((measured.calibration["observed"] >= 0) & (measured.calibration["observed"] <= 1)).all()
    assert measured.calibration["n"].min() > 0  # type: ignore[operator]


def test_the_same_seed_gives_the_same_in_one_process_or_in_two(
    small: Split, measured: CovariateShift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covariate_pool, "PARALLEL_ROWS", 0)
    monkeypatch.setattr(covariate_pool, "cores", lambda: 2)
    again = covariate(small, repeats=2, permutations=9, max_rows=250).to_dict()
    first = measured.to_dict()
    for told in (first, again):
        told["record"] = {k: v for k, v in told["record"].items() if k != "seconds"}
    assert first == again
    assert covariate(small, repeats=2, permutations=9, max_rows=250, seed=1).by_row.auc != measured.by_row.auc


def test_all_rows_of_a_large_store_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight million rows of 26 covariates: 2.5 GB for each process, so fewer processes than cores."""
    monkeypatch.setattr(covariate_pool, "cores", lambda: 8)
    assert covariate_pool.processes_for(10, 8_000_000, 3 * 8_000_000 * 26 * 4) == 3
    assert covariate_pool.processes_for(10, 200_000, 3 * 200_000 * 26 * 4) == 8
    assert covariate_pool.processes_for(2, 200_000, 0) == 2
    assert covariate_pool.processes_for(10, 100_000_000, 3 * 100_000_000 * 26 * 4) == 1
    assert covariate_pool.processes_for(10, 1_000, 0) == 1
    asked: list[int] = []

    def here(_tasks: int, _rows: int, each: int) -> int:
        asked.append(each)
        return 1

    monkeypatch.setattr(covariate_pool, "processes_for", here)
    pool = pool_of(rows=10)
    both(pool, permutations=1)
    assert asked[:2] == [3 * pool.X.nbytes] * 2


def test_the_protocol_decides_about_gap_filled_test_rows(small: Split) -> None:
    told = covariate(small, repeats=1, permutations=1, protocol="measured")
    assert told.record["test_rows"] == int((small.test.qc == 1).sum()) < len(small.test)
    assert told.by_row.auc.sd is None


def test_one_test_tower_is_told_by_row_and_refused_by_site() -> None:
    told = covariate(px_split(towers=(6, 1), rows=40), repeats=1, permutations=9)
    assert told.by_row.auc.mean is not None
    assert told.by_site.auc.mean is None and told.by_site.p_value is None
    assert told.by_site.reason == ("6 towers have train rows and 1 have test rows; at least 4 a side are needed")
    assert told.importance["auc_drop"].null_count() == 4 and told.importance["reason"][0] == told.by_site.reason
    assert set(told.calibration["split"]) == {"row"}
    json.dumps(told.to_dict(), allow_nan=False)


def test_all_constant_covariates_are_refused() -> None:
    split = px_split(constant=("TA", "VPD", "SW_IN", "PFT_ENF", "PFT_GRA"))
    with pytest.raises(DataError, match=r"Not one of the 4 covariates varies \(TA, VPD, SW_IN and 1 more\)"):
        covariate(split, repeats=1)


def test_holes_are_named() -> None:
    split = px_split(rows=10)
    split.test.X[3, 1] = np.nan
    with pytest.raises(DataError, match=r"VPD is NaN or infinite in 1 of 240 rows \(first: row 123"):
        covariate(split, repeats=1)


def test_an_empty_part_is_refused() -> None:
    split = px_split(rows=10)
    with pytest.raises(ScenarioError, match="test part has no row"):
        covariate(replace(split, test=split.test.take(np.zeros(len(split.test), bool))), repeats=1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"repeats": 0}, "repeats must be a whole number of at least 1, not 0"),
        ({"permutations": 0}, "permutations must be"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"protocol": "strict"}, "no protocol 'strict'"),
        ({"max_rows": 1}, "max_rows=1 leaves no row"),
    ],
)
def test_bad_usage_is_told(small: Split, options: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        covariate(small, **options)


def test_importing_the_measure_stays_light() -> None:
    import subprocess
    import sys

    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, fluxtrapolation.shift.covariate; "
            "print(sorted({'sklearn', 'scipy', 'joblib', 'threadpoolctl'} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "[]"

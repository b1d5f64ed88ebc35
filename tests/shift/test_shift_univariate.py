"""Univariate shift against scipy, and histograms that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxtrapolation.shift.covariate_pool import Covariate, Pool
from fluxtrapolation.shift.sampling import choose_rows
from fluxtrapolation.shift.univariate import class_shares, histogram_table, sorted_distances, univariate_table
from shift_px_worlds import px_split

numbers = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=30)


def pool_of(**options: object) -> Pool:
    return Pool.of(choose_rows(px_split(**options)))  # type: ignore[arg-type]


@given(numbers, numbers, st.floats(-100, 100), st.floats(0.1, 10))
def test_ks_and_wasserstein_agree_with_scipy_and_know_shift_and_scale(
    a: list[float], b: list[float], moved: float, scaled: float
) -> None:
    from scipy.stats import wasserstein_distance

    x, y = np.sort(np.array(a)), np.sort(np.array(b))
    ks, w1 = sorted_distances(x, y)
    assert ks == pytest.approx(max(abs((x <= z).mean() - (y <= z).mean()) for z in [*x, *y]), abs=1e-12)
    assert w1 == pytest.approx(wasserstein_distance(x, y), abs=1e-9)
    assert sorted_distances(y, x) == pytest.approx((ks, w1))
    assert sorted_distances(x * scaled, y * scaled)[1] == pytest.approx(w1 * scaled, abs=1e-6)
    assert sorted_distances(x + 1000, x + 1000 + moved)[1] == pytest.approx(abs(moved), abs=1e-6)
    assert sorted_distances(x, x) == (0.0, 0.0)


def test_a_known_shift_of_one_covariate_shows_in_its_row_alone() -> None:
    table = univariate_table(pool_of(rows=800, shift=2.0))
    rows = {row["covariate"]: row for row in table.to_dicts()}
    assert list(rows) == ["TA", "VPD", "SW_IN", "PFT"]
    ta, vpd, pft = rows["TA"], rows["VPD"], rows["PFT"]
    assert ta["unit"] == "degC" and vpd["unit"] == "hPa"
    assert ta["smd"] == pytest.approx(2.0, abs=0.1)
    assert ta["wasserstein"] == pytest.approx(2.0, abs=0.1)
    assert ta["ks"] == pytest.approx(0.683, abs=0.03)  # 2 Phi(1) - 1
    assert ta["outside"] == pytest.approx(0.372, abs=0.04)  # 1 - Phi(2.326 - 2)
    assert abs(vpd["smd"]) < 0.06 and vpd["outside"] == pytest.approx(0.02, abs=0.01)
    assert 0 <= pft["total_variation"] <= 1 and pft["smd"] is None and "total variation" in pft["note"]


def test_class_shares_give_the_total_variation() -> None:
    pool = pool_of(towers=(10, 10))
    forest = pool.X[:, 3] == 1
    expected = abs(forest[pool.test].mean() - forest[~pool.test].mean())
    told = univariate_table(pool).filter(covariate="PFT")["total_variation"][0]
    assert told == pytest.approx(expected)


def test_a_constant_covariate_is_named_not_nan() -> None:
    pool = pool_of(constant=("VPD",))
    row = univariate_table(pool).filter(covariate="VPD").to_dicts()[0]
    assert row["smd"] is None and row["ks"] == 0 and "constant" in row["note"]
    assert pool.constant == ("VPD",)
    assert "VPD" not in histogram_table(pool)["covariate"].to_list()


def test_histograms_hold_nearly_all_rows_on_common_edges() -> None:
    pool = pool_of(rows=500, shift=1.0)
    table = histogram_table(pool)
    for name in ("TA", "VPD", "SW_IN"):
        part = table.filter(covariate=name)
        width = (part["high"] - part["low"]).to_numpy()
        for side in ("train", "test"):
            assert 0.99 < float(part[side].to_numpy() @ width) <= 1 + 1e-9
    pft = table.filter(covariate="PFT")
    assert pft["label"].to_list() == ["ENF", "GRA"]
    assert pft["train"].sum() == pytest.approx(1) and pft["test"].sum() == pytest.approx(1)


def test_rows_of_a_class_without_a_column_are_counted_and_not_lost_to_rounding() -> None:
    """Shares of train that sum to 0.9999...: what is left of one is no class of train."""
    train = np.repeat([[0, 1], [1, 0]], [14, 1], axis=0)
    test = np.array([[0, 0]] * 2 + [[1, 0]] * 8)
    X = np.concatenate([train, test]).astype(np.float32)
    shares = class_shares(X, np.arange(25) >= 15, Covariate("PFT", (0, 1)))
    assert shares[0].tolist() == [1 / 15, 14 / 15, 0.0] and shares[1].tolist() == [0.8, 0.0, 0.2]
    for n in range(2, 60):  # whatever rounding makes of the shares of n rows
        classes = np.eye(7, dtype=np.float32)[np.arange(n) % 7]
        told = class_shares(
            np.vstack([classes, np.zeros((3, 7))]), np.arange(n + 3) >= n, Covariate("PFT", (*range(7),))
        )
        assert told[0][-1] == 0 and told[1][-1] == 1

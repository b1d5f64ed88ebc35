"""The parts of the error add up, and each is what its name says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.errors import DataError
from fluxtrapolation.shift.decompose import compare_parts, decompose
from shift_worlds import World


@pytest.fixture(scope="module")
def part():
    return World(train_towers=6, test_towers=5, rows=50).split(1).test


def _row(parts, weights="row"):
    return parts.overall.filter(weights=weights).row(0, named=True)


def test_a_shift_per_tower_is_all_offset_and_split_into_common_and_between(part):
    shift = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    parts = decompose(part, part.y.astype(np.float64) + shift[part.site_codes])
    told = _row(parts)
    assert told["mse"] == pytest.approx(np.mean(shift**2), rel=1e-6)
    assert told["offset_share"] == pytest.approx(1, abs=1e-6)
    assert told["common"] == pytest.approx(9, rel=1e-6)
    assert told["between"] == pytest.approx(2, rel=1e-6)
    assert told["within_share"] == pytest.approx(0, abs=1e-6)
    assert parts.sites["mean_error"].to_list() == pytest.approx(shift.tolist(), rel=1e-5)


def test_a_wrong_slope_is_all_slope(part):
    y = part.y.astype(np.float64)
    mean = np.array([y[part.site_codes == code].mean() for code in range(len(part.sites))])[part.site_codes]
    parts = decompose(part, mean + 2 * (y - mean))
    assert parts.sites["fitted_slope"].to_list() == pytest.approx([0.5] * 5)
    assert _row(parts)["slope_share"] == pytest.approx(1)


def test_noise_around_the_truth_is_rest(part):
    pred = part.y.astype(np.float64)
    y = (pred + np.random.default_rng(0).normal(0, 1, len(pred))).astype(np.float32)
    told = _row(decompose(replace(part, y=y), pred))
    assert told["rest_share"] > 0.9
    assert told["rest"] == pytest.approx(1, abs=0.3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_the_parts_add_up_to_the_mean_squared_error(seed, level, scale):
    rng = np.random.default_rng(seed)
    part = World(train_towers=2, test_towers=4, rows=30).split(seed % 7).test
    pred = level + scale * rng.normal(size=len(part))
    parts = decompose(part, pred)
    error = pred - part.y.astype(np.float64)
    for weights, whole in (
        ("row", np.mean(error**2)),
        ("site", np.mean([np.mean(error[part.site_codes == code] ** 2) for code in range(4)])),
    ):
        told = _row(parts, weights)
        assert told["mse"] == pytest.approx(whole, rel=1e-9)
        assert told["offset"] + told["slope"] + told["rest"] == pytest.approx(told["mse"], rel=1e-9)
        assert told["common"] + told["between"] == pytest.approx(told["offset"], rel=1e-6)
    assert min(parts.sites[name].min() for name in ("offset", "slope", "rest")) >= 0


def test_missing_targets_are_left_out_and_counted_and_weights_differ(part):
    y = part.y.copy()
    y[:40] = np.nan
    pred = np.where(part.site_codes == 0, 10.0, 0.0) + part.y
    parts = decompose(replace(part, y=y), pred)
    assert (parts.n, parts.missing) == (len(part) - 40, 40)
    assert parts.sites["n"].to_list() == [10, 50, 50, 50, 50]
    assert _row(parts, "site")["mse"] == pytest.approx(100 / 5, rel=1e-5)
    assert _row(parts, "row")["mse"] == pytest.approx(100 * 10 / 210, rel=1e-5)


def test_a_tower_without_any_target_is_not_listed(part):
    y = np.where(part.site_codes == 2, np.nan, part.y).astype(np.float32)
    parts = decompose(replace(part, y=y), np.zeros(len(part)))
    assert parts.sites["site_id"].to_list() == [site for i, site in enumerate(part.sites) if i != 2]


def test_constant_predictions_have_no_slope(part):
    parts = decompose(part, np.full(len(part), np.float32(0.1)))
    assert parts.sites["fitted_slope"].to_list() == [None] * 5
    assert all("do not vary" in note for note in parts.sites["note"])
    assert _row(parts)["slope"] == 0
    json.dumps(parts.to_dict(), allow_nan=False)


def test_exact_predictions_have_no_shares(part):
    told = _row(decompose(part, part.y))
    assert told["mse"] == 0
    assert told["offset_share"] is None


def test_train_and_test_side_by_side(part):
    table = compare_parts(decompose(part, part.y + 1), decompose(part, part.y + 2))
    row = table.filter(weights="row", part="offset").row(0, named=True)
    assert row["ratio"] == pytest.approx(4, rel=1e-5)
    assert set(table["part"]) == {"mse", "offset", "slope", "rest", "common", "between"}


def test_bad_input_is_told(part):
    with pytest.raises(DataError, match="shape"):
        decompose(part, np.zeros(3))
    with pytest.raises(DataError, match="2 of 250 predictions are not finite, at XX-006"):
        decompose(part, np.where(np.arange(len(part)) < 2, np.nan, 0))
    with pytest.raises(DataError, match="Not one"):
        decompose(replace(part, y=np.full(len(part), np.nan, np.float32)), np.zeros(len(part)))

"""Autocorrelation and effective sample size: known truth of AR(1), gaps, brute force, and series that say nothing."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxtrapolation.errors import DataError, MissingColumnError
from fluxtrapolation.shift.autocorrelation import acf, autocorrelation, autocorrelation_of, effective_size
from toy_world import toy_part


def ar1(n: int, phi: float, rng: np.random.Generator) -> np.ndarray:
    """A stationary series whose autocorrelation is phi^k."""
    from scipy.signal import lfilter

    start = rng.normal() / np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], rng.normal(size=n), zi=[phi * start])[0]


def brute(values: np.ndarray, max_lag: int) -> tuple[np.ndarray, np.ndarray]:
    """The formula of the documentation, by a loop over lags."""
    there = np.isfinite(values)
    centred = values - values[there].mean()
    variance = np.mean(centred[there] ** 2)
    rho, pairs = [], []
    for k in range(min(max_lag, len(values) - 1) + 1):
        product = centred[: len(values) - k] * centred[k:]
        kept = product[np.isfinite(product)]
        pairs.append(len(kept))
        rho.append(kept.mean() / variance if len(kept) else np.nan)
    return np.array(rho), np.array(pairs)


@given(st.integers(3, 200), st.integers(0, 250), st.floats(0, 0.8), st.integers(0, 10**6))
def test_the_fourier_form_is_the_formula(n: int, lags: int, lost: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n) * 10.0 ** rng.integers(-6, 6) + rng.normal() * 100
    values[rng.random(n) < lost] = np.nan
    values[:2] = [1.0, 2.0]
    rho, pairs = acf(values, lags)
    expected, counted = brute(values, lags)
    assert np.array_equal(pairs, counted)
    np.testing.assert_allclose(rho, expected, atol=1e-8)


def test_white_noise_is_worth_all_its_values() -> None:
    rng = np.random.default_rng(0)
    shares = [effective_size(*acf(rng.normal(size=4000), 400)).n_effective / 4000 for _ in range(40)]
    assert 0.93 < np.mean(shares) <= 1.0
    assert max(shares) <= 1.0


@pytest.mark.parametrize("phi", [0.5, 0.9, 0.98])
def test_ar1_is_worth_what_theory_says(phi: float) -> None:
    rng = np.random.default_rng(1)
    n = 40_000
    truth = n * (1 - phi) / (1 + phi)
    found = [effective_size(*acf(ar1(n, phi, rng), 4000)).n_effective for _ in range(20)]
    assert np.mean(found) == pytest.approx(truth, rel=0.06)


def test_with_gaps_the_mean_is_as_sure_as_the_effective_size_says() -> None:
    """Variance of the mean over 600 series of which half the hours and a month are missing: the plain form is off."""
    rng = np.random.default_rng(2)
    n, phi = 3000, 0.9
    there = rng.random(n) < 0.5
    there[1000:1720] = False
    means, sizes, plain = [], [], []
    for _ in range(600):
        values = np.where(there, ar1(n, phi, rng), np.nan)
        means.append(np.nanmean(values))
        if len(sizes) < 150:
            found = effective_size(*acf(values, 500))
            sizes.append(found.n_effective)
            plain.append(found.n_effective_plain)
    truth = (1 / (1 - phi**2)) / np.var(means)  # values that the mean is worth
    assert np.median(sizes) == pytest.approx(truth, rel=0.15)
    assert np.median(plain) < 0.75 * truth


def hours(site: str, values: np.ndarray, first: str = "2015-01-05") -> pl.DataFrame:
    """A table of one site from a Monday on."""
    time = np.datetime64(first, "h") + np.arange(len(values))
    return pl.DataFrame({"site_id": [site] * len(values), "time": time.astype("datetime64[us]"), "GPP": values})


def test_days_and_weeks_are_means_of_at_least_half_their_hours() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=24 * 7 * 60)
    values[24:35] = np.nan  # 13 of 24 hours are left: a day
    values[48:61] = np.nan  # 11 are left: none
    found = autocorrelation_of(hours("AA-One", values), ["GPP"])
    sizes = found.effective.filter(pl.col("scale") != "hourly")
    assert sizes["n"].to_list() == [7 * 60 - 1, 60]
    days = np.where(np.isfinite(values), values, np.nan).reshape(-1, 24)
    with np.errstate(invalid="ignore"):
        mean = np.where(np.isfinite(days).sum(axis=1) >= 12, np.nanmean(days, axis=1), np.nan)
    expected = brute(mean, 120)[0]
    daily = found.table.filter(pl.col("scale") == "daily")
    np.testing.assert_allclose(daily["acf"].to_numpy(), expected[daily["lag"].to_numpy()], atol=1e-10)


def test_a_row_that_lacks_is_a_gap_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    values = ar1(3000, 0.8, rng)
    lost = rng.random(3000) < 0.3
    lost[0] = False
    as_nan = hours("AA-One", np.where(lost, np.nan, values))
    as_rows = hours("AA-One", values).filter(~pl.Series(lost)).sample(fraction=1.0, shuffle=True, seed=5)
    one, two = autocorrelation_of(as_nan, ["GPP"]), autocorrelation_of(as_rows, ["GPP"])
    assert one.table.equals(two.table)
    assert one.effective.equals(two.effective)


def test_series_that_say_nothing_have_a_reason() -> None:
    frame = pl.concat(
        [
            hours("AA-One", np.full(5000, 3.0)),
            hours("BB-Two", np.random.default_rng(6).normal(size=100)),
            hours("CC-Thr", np.full(400, np.nan)),
        ]
    )
    found = autocorrelation_of(frame, ["GPP"])
    told = {(row["site_id"], row["scale"]): row for row in found.effective.to_dicts()}
    assert "all values are the same" in told["AA-One", "hourly"]["reason"]
    assert told["BB-Two", "hourly"]["n_effective"] is not None
    assert told["BB-Two", "daily"]["reason"].startswith("4 days with half their hours")
    assert told["CC-Thr", "hourly"]["reason"] == "0 values; at least 30 are needed"
    assert found.effective.filter(pl.col("n_effective").is_null() & pl.col("reason").is_null()).height == 0
    assert found.table["acf"].is_finite().all()
    json.dumps(found.to_dict(), allow_nan=False)


def test_values_without_neighbours_have_an_acf_and_a_reason() -> None:
    """Every second hour is there: no pair at lag 1, so there is no sum over lags, yet the other lags are told."""
    values = np.where(np.arange(4000) % 2 == 0, np.random.default_rng(9).normal(size=4000), np.nan)
    found = autocorrelation_of(hours("AA-One", values), ["GPP"], scales=("hourly",))
    row = found.effective.row(0, named=True)
    assert row["n_effective"] is None and row["reason"].startswith("0 pairs of neighbouring values; at least 10")
    assert found.table["lag"].to_list()[:3] == [0, 2, 4]
    json.dumps(found.to_dict(), allow_nan=False)


def test_means_of_a_constant_that_differ_by_rounding_are_still_constant() -> None:
    values = np.full(24 * 200, float(np.float32(3.3)) - 1.1)
    values[np.random.default_rng(10).random(len(values)) < 0.2] = np.nan  # days of different length
    found = autocorrelation_of(hours("AA-One", values), ["GPP"], scales=("hourly", "daily"))
    assert found.table.is_empty()
    assert all("all values are the same" in reason for reason in found.effective["reason"])


def test_a_trend_is_still_correlated_at_the_end() -> None:
    found = effective_size(*acf(np.repeat([0.0, 1.0], 500), 300))
    assert found.reason is not None and "upper limit" in found.reason


def test_anomaly_takes_out_the_day_and_the_residual_is_what_the_model_leaves() -> None:
    """A daily cycle plus AR(1): the plain ACF shows the cycle, the anomaly and the residual phi^k."""
    rng = np.random.default_rng(7)
    part = toy_part("test", sites=1, days=900)
    hour = part.time.astype("datetime64[h]").astype(int) % 24
    cycle = 10 * np.sin(2 * np.pi * hour / 24)
    object.__setattr__(part, "y", (cycle + ar1(len(hour), 0.7, rng)).astype(np.float32))
    found = autocorrelation(part, cycle, measured=False, scales=("hourly",))
    at = {s: found.table.filter(pl.col("series") == s)["acf"].to_numpy() for s in ("GPP", "GPP anomaly", "residual")}
    assert at["GPP"][12] < -0.8 and at["GPP"][24] > 0.8
    for name in ("GPP anomaly", "residual"):
        assert at[name][1:5] == pytest.approx([0.7, 0.49, 0.343, 0.24], abs=0.06)
        assert abs(at[name][12]) < 0.1
    measured = autocorrelation(part, scales=("hourly",))
    assert measured.effective["n"][0] == int((part.qc == 1).sum())


def test_bad_input_is_told() -> None:
    frame = hours("AA-One", np.arange(100.0))
    with pytest.raises(MissingColumnError, match="lacks NEE"):
        autocorrelation_of(frame, ["NEE"])
    with pytest.raises(DataError, match="no scale 'monthly'"):
        autocorrelation_of(frame, ["GPP"], scales=("monthly",))
    with pytest.raises(DataError, match="AA-One has 100 times twice"):
        autocorrelation_of(pl.concat([frame, frame]), ["GPP"])
    with pytest.raises(DataError, match="one prediction per row"):
        autocorrelation(toy_part("test", sites=1, days=3), np.zeros(5))


def test_daily_rows_have_days_and_weeks() -> None:
    rng = np.random.default_rng(8)
    days = np.datetime64("2015-01-05", "D") + np.arange(400)
    frame = pl.DataFrame({"site_id": ["A"] * 400, "time": days.astype("datetime64[us]"), "GPP": rng.normal(size=400)})
    found = autocorrelation_of(frame, ["GPP"], resolution="daily")
    assert found.effective["scale"].to_list() == ["daily", "weekly"]
    assert found.effective["n"].to_list() == [400, 57]  # and one day, less than half a week

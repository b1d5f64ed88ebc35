"""No digits are lost on series with a large offset, and constants are recognised as constants."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.evaluation import Predictions, evaluate
from fluxtrapolation.evaluation.statistics import Shift, merge, moments, run_starts

START, END = datetime(2019, 1, 1), datetime(2020, 12, 31, 23)


def two_years(true: np.ndarray, pred: np.ndarray) -> Predictions:
    time = pl.datetime_range(START, END, "1h", eager=True)
    return Predictions.from_arrays(site=np.full(len(time), "AA-S1"), time=time, y_true=true, y_pred=pred)


def hours() -> int:
    return len(pl.datetime_range(START, END, "1h", eager=True))


def exact(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


def exact_mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


@pytest.mark.parametrize(("offset_true", "offset_pred"), [(1e6, 1e6), (-1e6, 3e5), (0.0, 1e6)])
def test_hourly_against_rationals(offset_true: float, offset_pred: float) -> None:
    rng = np.random.default_rng(5)
    n = hours()
    true = offset_true + rng.normal(scale=1e-2, size=n)
    pred = offset_pred + (true - offset_true) + rng.normal(scale=1e-2, size=n)
    row = evaluate(two_years(true, pred), scales=["hourly"]).frame.row(0, named=True)
    t, p = exact(true), exact(pred)
    error = [a - b for a, b in zip(t, p, strict=True)]
    mean_t, mean_p = exact_mean(t), exact_mean(p)
    squares = exact_mean([e * e for e in error])
    var_t = exact_mean([(a - mean_t) ** 2 for a in t])
    var_p = exact_mean([(b - mean_p) ** 2 for b in p])
    cov = exact_mean([(a - mean_t) * (b - mean_p) for a, b in zip(t, p, strict=True)])
    assert row["mse"] == pytest.approx(float(squares), rel=1e-13)
    assert row["mae"] == pytest.approx(float(exact_mean([abs(e) for e in error])), rel=1e-13)
    assert row["bias"] == pytest.approx(float(exact_mean(error)), rel=1e-12)
    assert row["nse"] == pytest.approx(float(1 - squares / var_t), rel=1e-12)
    assert row["r2_score"] == pytest.approx(float(cov**2 / (var_t * var_p)), rel=1e-9)
    if offset_true:
        assert row["relative_bias"] == pytest.approx(float(exact_mean(error) / mean_t), rel=1e-12)


def test_iav_and_anomalies_against_rationals() -> None:
    rng = np.random.default_rng(6)
    n = hours()
    true = 1e6 + rng.normal(scale=1e-2, size=n)
    pred = true + rng.normal(scale=1e-2, size=n)
    rows = {row["scale"]: row for row in evaluate(two_years(true, pred)).frame.iter_rows(named=True)}
    # 731 whole days: the yearly mean of daily means is the mean of the year's hours.
    first = 365 * 24
    means = [(exact_mean(exact(part[:first])), exact_mean(exact(part[first:]))) for part in (true, pred)]
    # With two years the anomalies are plus and minus half of the difference.
    half_t, half_p = ((two - one) / 2 for one, two in means)
    assert rows["iav"]["rmse"] == pytest.approx(float(abs(half_t - half_p)), rel=1e-9)
    days_t = [exact_mean(exact(day)) for day in true.reshape(-1, 24)]
    days_p = [exact_mean(exact(day)) for day in pred.reshape(-1, 24)]
    half = [((days_t[i] - days_t[i + 365]) / 2, (days_p[i] - days_p[i + 365]) / 2) for i in range(365)]
    mse = exact_mean([(a - b) ** 2 for a, b in half])
    # The 366th day of the year is there once: no seasonal value, hence no anomaly.
    assert rows["anom"]["mse"] == pytest.approx(float(mse), rel=1e-9)
    assert rows["anom"]["nse"] == pytest.approx(float(1 - mse / exact_mean([a * a for a, _ in half])), rel=1e-9)
    mean_of_years = [exact_mean(list(pair)) for pair in means]
    assert rows["site-mean"]["bias"] == pytest.approx(float(mean_of_years[0] - mean_of_years[1]), rel=1e-8)


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3, 5.0, 1e-8, 1e8 / 3])
def test_constant_observation_has_no_nse(constant: float) -> None:
    n = hours()
    pred = constant + np.random.default_rng(1).normal(size=n)
    frame = evaluate(two_years(np.full(n, constant), pred)).frame
    assert frame["nse"].null_count() == frame["r2_score"].null_count() == frame.height
    assert frame["reason"].str.contains("zero_variance").all()
    assert frame["rmse"].null_count() == 0


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3, 1e8 / 3])
def test_constant_prediction_has_no_correlation(constant: float) -> None:
    n = hours()
    true = 3.0 + np.random.default_rng(1).normal(size=n)
    frame = evaluate(two_years(true, np.full(n, constant))).frame
    assert frame["r2_score"].null_count() == frame.height
    assert frame.filter(pl.col("scale") != "site-mean")["nse"].null_count() == 0


def test_repeated_cycle_has_no_anomalies() -> None:
    """The same days every year: anomalies and iav are rounding, and their relative metrics null, not 1e16."""
    n = hours()
    day = np.arange(n) // 24 % 365
    true = 0.1 * np.sin(day / 58.0) + 1 / 3 + 0.7 * np.sin(np.arange(n) % 24 / 24 * 6.283)
    pred = true + np.random.default_rng(2).normal(size=n)
    frame = evaluate(two_years(true, pred)).frame.filter(pl.col("scale") == "anom")
    assert frame["nse"].item() is None
    assert frame["relative_mae"].item() is None
    assert frame["rmse"].item() > 0.01


@pytest.mark.parametrize("scale", ["anom", "iav"])
def test_relative_metrics_of_anomalies_are_null(scale: str) -> None:
    rng = np.random.default_rng(3)
    true = 5 + rng.normal(size=hours())
    frame = evaluate(two_years(true, true + rng.normal(size=hours())), scales=[scale]).frame
    assert frame.select("relative_mae", "relative_bias").null_count().row(0) == (1, 1)
    assert frame["reason"].to_list() == ["zero_mean"]
    assert abs(frame["bias"].item()) < 1e-12


@pytest.mark.parametrize("pieces", [1, 2, 7, 500])
def test_moments_add(pieces: int) -> None:
    rng = np.random.default_rng(4)
    n = 1000
    true, pred = rng.normal(size=n), rng.normal(size=n) * 3 + 1
    true[rng.random(n) < 0.1] = np.nan
    group = np.sort(rng.integers(0, 5, n))
    starts = run_starts(group)
    zero = np.zeros(5)
    whole = moments(true, pred, starts, Shift(zero, zero, zero, zero))
    parts, groups = [], []
    for rows in np.array_split(rng.permutation(n), pieces):
        rows = np.sort(rows)
        part_starts = run_starts(group[rows])
        here = group[rows][part_starts]
        parts.append(moments(true[rows], pred[rows], part_starts, Shift(zero, zero, zero, zero).take(here)))
        groups.append(here)
    numbers, added = merge(parts, groups)
    assert numbers.tolist() == [0, 1, 2, 3, 4]
    for name in type(whole).__dataclass_fields__:
        np.testing.assert_allclose(getattr(added, name), getattr(whole, name), rtol=1e-12, atol=1e-12, err_msg=name)

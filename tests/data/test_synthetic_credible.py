"""Is the world like the real one? Bands from real towers (docs/synthetic.md), on their simulated twins."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.data.store import Store
from fluxtrapolation.data.synthetic import PlannedSite
from fluxtrapolation.data.synthetic.bands import Band, error_bands, measure_bands, twin_facts
from fluxtrapolation.data.synthetic.measures import (
    baseline_errors,
    climatology,
    correlation_at,
    measure_store,
    series_measures,
    summarise,
)
from fluxtrapolation.data.synthetic.world import world_source, write_planned
from fluxtrapolation.schema import TIME

VARIABLES = ("GPP", "NEE", "ET", "TA", "VPD", "SW_IN")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The 120 real towers of the open edition, at their places, over five years (as benchmarks/synthetic.py does)."""
    planned = [PlannedSite(facts, 2009, 2013) for facts in twin_facts()]
    source = world_source("twins", len(planned), (2009, 2013), 1)
    return write_planned(tmp_path_factory.mktemp("twins") / "w", planned, source=source, jobs=2)


@pytest.fixture(scope="module")
def summary(twins: Store) -> dict[str, dict[str, float]]:
    return summarise(measure_store(twins, VARIABLES))


def test_the_twins_are_the_120_towers_of_the_open_edition() -> None:
    assert len(twin_facts()) == 120


@pytest.mark.slow
@pytest.mark.parametrize("band", measure_bands(), ids=lambda band: f"{band.variable}-{band.measure}")
def test_measures_lie_in_their_bands(band: Band, summary: dict[str, dict[str, float]]) -> None:
    value = summary[band.variable][band.measure]
    assert band.holds(value), f"{band.variable} {band.measure} = {value:.4g}, real {band.real}"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["GPP", "NEE"])
def test_errors_of_lr_and_xgb_are_comparable_with_real_towers(target: str, twins: Store) -> None:
    pytest.importorskip("xgboost")
    found = baseline_errors(twins, target, n_test=20, draws=2, train_rows=100_000)
    values = {"lr": found.lr, "xgb": found.xgb, "own": found.own, "ratio": found.ratio}
    outside = [
        f"{band.measure} = {values[band.measure]:.3f}, real {band.real}"
        for band in error_bands()
        if band.variable == target and not band.holds(values[band.measure])
    ]
    assert outside == []
    # Not having seen a tower must cost: that is the benchmark's question (real: 1.50 for GPP, 1.45 for NEE).
    assert found.shift > 1.15


@pytest.mark.slow
def test_site_means_differ_by_what_no_covariate_tells(twins: Store, summary: dict[str, dict[str, float]]) -> None:
    assert summary["GPP"]["mean"] == pytest.approx(3.17, rel=0.3)
    assert -1.2 < summary["NEE"]["mean"] < 0.0  # towers are sinks, at the median
    assert summary["GPP"]["between_sd"] > 1.0


@pytest.mark.slow
def test_seasons_of_both_hemispheres(twins: Store) -> None:
    peaks = measure_store(twins, ["TA"]).filter(pl.col("measure") == "peak_month")
    lat = {record.site_id: record.lat for record, _ in twins.iter_sites(columns=["TA"])}
    for site, month in peaks.select("site_id", "value").iter_rows():
        if lat[site] > 30:
            assert month in (6, 7, 8), site
        elif lat[site] < -25:
            assert month in (12, 1, 2), site


def _hours(values: np.ndarray) -> pl.DataFrame:
    start = np.datetime64("2010-01-01T00", "us")
    return pl.DataFrame({TIME: start + np.arange(values.size) * np.timedelta64(3600_000_000, "us"), "GPP": values})


def test_measures_take_a_known_series_apart() -> None:
    days = 365 * 4 + 1
    day = np.arange(days)
    yearly = 3.0 * np.cos(2 * np.pi * day / 365.25)
    daily_cycle = 2.0 * np.cos(2 * np.pi * np.arange(24) / 24)
    found = series_measures(_hours((5.0 + yearly[:, None] + daily_cycle).reshape(-1)), "GPP")
    assert found["mean"] == pytest.approx(5.0, abs=0.01)
    assert found["var_hourly"] == pytest.approx(2.0, rel=1e-3)
    assert found["var_seasonal"] == pytest.approx(4.5, rel=1e-2)
    assert found["var_anom"] == pytest.approx(0.0, abs=1e-6)
    assert found["diurnal"] == pytest.approx(4.0, rel=1e-3)
    assert found["seasonal"] == pytest.approx(6.0, rel=1e-2)
    assert found["peak_month"] in (1, 12)
    assert found["acf_24h"] > 0.99


def test_measures_skip_what_is_missing() -> None:
    values = np.random.default_rng(1).normal(size=24 * 500)
    values[24 * 10 + 3] = np.nan
    found = series_measures(_hours(values), "GPP")
    assert np.isfinite(found["var_hourly"])
    assert series_measures(_hours(values[: 24 * 100]), "GPP") == {}


def test_correlation_at_a_lag() -> None:
    wave = np.sin(2 * np.pi * np.arange(24 * 60) / 24)
    assert correlation_at(wave, 24) == pytest.approx(1.0)
    assert correlation_at(wave, 12) == pytest.approx(-1.0)
    assert np.isnan(correlation_at(np.ones(500), 1))


def test_climatology_ignores_gaps() -> None:
    day = np.arange(1000.0)
    wave = np.cos(2 * np.pi * day / 365.25)
    holed = wave.copy()
    holed[100:150] = np.nan
    np.testing.assert_allclose(climatology(day, holed), wave, atol=1e-8)

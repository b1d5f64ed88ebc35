"""Draws of sites: against a loop over the same draws, against SciPy, and what smoothing promises."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.certainty.bootstrap import (
    SiteBootstrap,
    Statistic,
    check_options,
    holm,
    p_value,
    two_sided,
)
from fluxtrapolation.evaluation.certainty.clusters import Cell
from fluxtrapolation.evaluation.summary import get_summary
from made_scores import names, one_cell

SUMMARIES = ("median", "mean", "worst", "q90", "q10", "q97.5", "q0", "q100", "cvar10", "cvar33.3", "cvar100", "cvar0.5")
errors = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1e6))


def ragged(seed: int, sites: int = 12, years: int = 3, rows: int = 1, absent: float = 0.3) -> np.ndarray:
    """Errors of shape (V, S, Y), some domains absent or null, one site without any value."""
    rng = np.random.default_rng(seed)
    values = rng.lognormal(size=(rows, sites, years))
    values[rng.random(values.shape) < absent] = np.nan
    values[:, 3] = np.nan
    return values


# A summary as a function of sorted values


@given(errors, st.sampled_from(SUMMARIES), st.booleans())
def test_statistic_is_the_summary(values: np.ndarray, summary: str, upward: bool) -> None:
    wanted = get_summary(summary, higher_is_better=upward)(values)
    assert Statistic.of(summary, higher_is_better=upward).of_values(values) == pytest.approx(wanted, rel=1e-12)


@given(st.integers(0, 10_000), st.sampled_from(SUMMARIES), st.booleans())
def test_statistic_of_rows_skips_nan_and_transforms_back(seed: int, summary: str, upward: bool) -> None:
    statistic = Statistic.of(summary, higher_is_better=upward)
    rng = np.random.default_rng(seed)
    values = rng.lognormal(size=(5, 9))
    values[rng.random(values.shape) < 0.4] = np.nan
    values[2] = np.nan
    count = np.isfinite(values).sum(axis=1)
    found = statistic.of_sorted(np.sort(values, axis=1), count)
    back = statistic.of_sorted(np.sort(np.log(values), axis=1), count, np.exp)
    summarised = get_summary(summary, higher_is_better=upward)
    wanted = [summarised(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(back, wanted, rtol=1e-12)


@pytest.mark.parametrize("name", ["q101", "cvar0", "medain", "cvar", "q", "", "q5x"])
def test_unknown_summaries_are_refused(name: str) -> None:
    with pytest.raises(EvaluationError, match=r"summary|cvar0"):
        Statistic.of(name)


# Draws


@pytest.mark.parametrize("summary", ["median", "q90", "mean", "cvar10", "worst"])
@pytest.mark.parametrize("seed", [0, 1])
def test_plain_draws_equal_a_loop_over_the_same_sites(summary: str, seed: int) -> None:
    values = ragged(seed, rows=3)
    cell = one_cell(values, runs=3)
    elsewhere = names(8, "Z")  # sites of another cell, drawn as well
    bootstrap = SiteBootstrap([*cell.sites, *elsewhere], draws=200, seed=seed, smooth=False)
    found = bootstrap.of(cell, Statistic.of(summary), positive=True)
    rows = bootstrap.indices(cell.sites)
    summarised = get_summary(summary)
    for draw in range(200):
        drawn = [site for site in rows[draw] if site < len(cell.sites)]
        for run in range(3):
            mine = np.concatenate([values[run, site] for site in drawn]) if drawn else np.empty(0)
            mine = mine[np.isfinite(mine)]
            wanted = summarised(mine) if len(mine) else np.nan
            assert found[run, draw] == pytest.approx(wanted, rel=1e-13, nan_ok=True)


def test_quantile_at_a_whole_place_is_one_of_the_values_exactly() -> None:
    values = np.random.default_rng(0).lognormal(size=(31, 1))
    bootstrap = SiteBootstrap(names(31), draws=300, seed=0, smooth=False)
    found = bootstrap.of(one_cell(values), Statistic.of("median"), positive=True)[0]
    wanted = np.sort(values[bootstrap.indices(names(31)), 0], axis=1)[:, 15]
    np.testing.assert_array_equal(found, wanted)


def test_as_many_sites_are_drawn_as_there_are_and_all_equally_often() -> None:
    rows = SiteBootstrap(names(20), draws=5000, seed=3, smooth=True).indices(names(20))
    assert rows.shape == (5000, 20)
    times = np.bincount(rows.ravel().astype(int), minlength=20)
    assert times.sum() == 100_000
    assert stats.chisquare(times).pvalue > 1e-4


def test_sites_of_two_cells_are_drawn_together() -> None:
    """A tower that two scenarios hold out is drawn for both: paired draws."""
    bootstrap = SiteBootstrap([*names(10), *names(10, "T")], draws=100, seed=0, smooth=False)
    some, every = ["S002", "S005", "T001"], [*names(10), *names(10, "T")]
    few, all_rows = bootstrap.indices(some), bootstrap.indices(every)
    for name in some:
        wanted = (all_rows == every.index(name)).sum(axis=1)
        np.testing.assert_array_equal((few == some.index(name)).sum(axis=1), wanted)
    assert (few == len(some)).any()  # what is absent is marked, not replaced


def test_order_of_the_sites_is_of_no_consequence_and_the_seed_is() -> None:
    cell = one_cell(ragged(5))
    options: dict[str, Any] = {"positive": True}
    drawn = [
        SiteBootstrap(sites, draws=150, seed=seed, smooth=True).of(cell, Statistic.of("median"), **options)
        for sites, seed in ((cell.sites, 1), (cell.sites[::-1], 1), ((*cell.sites, *cell.sites), 1), (cell.sites, 2))
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], drawn[3])


def test_replicates_are_averaged_draw_by_draw() -> None:
    values = ragged(2, rows=3)
    cell = Cell(("GPP", "s", "hourly"), (("a",), ("b",)), np.array([0, 1, 1]), values, tuple(names(12)), np.zeros(3))
    bootstrap = SiteBootstrap(cell.sites, draws=100, seed=0, smooth=True)
    single = bootstrap.of_rows(cell, Statistic.of("median"), positive=True)
    both = bootstrap.of(cell, Statistic.of("median"), positive=True)
    np.testing.assert_allclose(both, [single[0], (single[1] + single[2]) / 2], rtol=1e-15)


def test_equal_rows_move_equally() -> None:
    values = np.repeat(ragged(8), 2, axis=0)
    bootstrap = SiteBootstrap(names(12), draws=100, seed=0, smooth=True)
    first, second = bootstrap.of(one_cell(values, runs=2), Statistic.of("q90"), positive=True)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("summary", ["mean", "median", "q90", "cvar20"])
def test_draws_are_distributed_as_scipys(summary: str) -> None:
    """Kolmogorov-Smirnov distance of two times 3000 draws; and for the mean the percentile ends themselves."""
    values = np.random.default_rng(11).lognormal(size=51)
    statistic = Statistic.of(summary)
    bootstrap = SiteBootstrap(names(51), draws=3000, seed=0, smooth=False)
    ours = bootstrap.of(one_cell(values[:, None]), statistic, positive=True)[0]
    options: dict[str, Any] = {"n_resamples": 3000, "method": "percentile", "rng": 1}
    theirs = stats.bootstrap((values,), statistic.of_values, vectorized=False, **options)
    rounded = [np.round(one, 9) for one in (ours, theirs.bootstrap_distribution)]
    assert stats.ks_2samp(*rounded).statistic < 1.95 * np.sqrt(2 / 3000)
    if summary == "mean":
        ends = [theirs.confidence_interval.low, theirs.confidence_interval.high]
        np.testing.assert_allclose(two_sided(ours, 0.95), ends, atol=0.25 * theirs.standard_error)


# Smoothing


def test_errors_of_zero_stay_zero() -> None:
    values = np.random.default_rng(0).lognormal(size=(20, 1))
    values[:12] = 0.0
    draws = SiteBootstrap(names(20), draws=500, seed=0, smooth=True).of(
        one_cell(values), Statistic.of("median"), positive=True
    )[0]
    rows = SiteBootstrap(names(20), draws=500, seed=0, smooth=True).indices(names(20))
    zeros = (rows < 12).sum(axis=1)
    np.testing.assert_array_equal(draws[zeros >= 11], 0.0)
    assert (draws[zeros <= 9] > 0).all()
    assert np.isfinite(draws).all()


def test_all_zero_errors() -> None:
    draws = SiteBootstrap(names(9), draws=100, seed=0, smooth=True).of(
        one_cell(np.zeros((9, 1))), Statistic.of("mean"), positive=True
    )
    np.testing.assert_array_equal(draws, 0.0)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("summary", ["median", "q90", "mean", "cvar10", "worst"])
def test_constant_errors_are_not_moved(positive: bool, summary: str) -> None:
    values = np.full((15, 2), 0.7)
    draws = SiteBootstrap(names(15), draws=100, seed=0, smooth=True).of(
        one_cell(values), Statistic.of(summary), positive=positive
    )
    np.testing.assert_allclose(draws, 0.7, rtol=1e-14)


def test_smoothed_errors_stay_positive_and_take_new_values() -> None:
    values = np.random.default_rng(1).lognormal(sigma=1.5, size=(21, 1))
    smooth, plain = (
        SiteBootstrap(names(21), draws=400, seed=0, smooth=smooth).of(
            one_cell(values), Statistic.of("median"), positive=True
        )[0]
        for smooth in (True, False)
    )
    assert (smooth > 0).all()
    assert len(np.unique(plain)) <= 21
    assert len(np.unique(smooth)) > 350  # one in 21 is moved by nothing


def test_a_single_site_is_not_moved() -> None:
    draws = SiteBootstrap(names(1), draws=100, seed=0, smooth=True).of(
        one_cell(np.array([[1.0, 3.0]])), Statistic.of("mean"), positive=True
    )
    np.testing.assert_array_equal(draws, 2.0)


@pytest.mark.parametrize("years", [1, 3])
def test_mean_and_spread_are_kept_on_average(years: int) -> None:
    """Smoothing must not widen the population: the mean of log errors and their variance stay."""
    sites = 60
    rng = np.random.default_rng(years)
    log = 1.3 + rng.normal(size=(sites, 1)) + 0.5 * rng.normal(size=(sites, years))
    cell = one_cell(log)
    bootstrap = SiteBootstrap(cell.sites, draws=2000, seed=0, smooth=True)
    # the mean of the moved values of a draw, and the mean of their squares about the true centre
    first = bootstrap.of(cell, Statistic.of("mean"), positive=False)[0]
    assert first.mean() == pytest.approx(log.mean(), abs=4 * first.std() / np.sqrt(2000))
    high = bootstrap.of(cell, Statistic.of("q97.5"), positive=False)[0].mean()
    low = bootstrap.of(cell, Statistic.of("q2.5"), positive=False)[0].mean()
    plain = SiteBootstrap(cell.sites, draws=2000, seed=0, smooth=False)
    wanted = (
        plain.of(cell, Statistic.of("q97.5"), positive=False)[0].mean()
        - plain.of(cell, Statistic.of("q2.5"), positive=False)[0].mean()
    )
    assert high - low == pytest.approx(wanted, rel=0.12)


def test_variance_of_moved_values_is_that_of_the_values() -> None:
    """Exactly, over all sites and all pairs of sites that move them (Silverman and Young 1987)."""
    from fluxtrapolation.evaluation.certainty.bootstrap import _shrunk

    for seed in range(5):
        values = ragged(seed, sites=15, years=4)[0]
        shrunk, moves = _shrunk(values)
        assert moves is not None
        held = np.isfinite(values)
        np.testing.assert_array_equal(np.isfinite(shrunk), held)
        moved = shrunk[held].var() + 2 * moves.var()
        assert moved == pytest.approx(values[held].var(), rel=1e-12)
        assert shrunk[held].mean() == pytest.approx(values[held].mean(), rel=1e-12)
        assert moves.mean() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("sites", [12, 40, 126])
def test_bandwidth(sites: int) -> None:
    """Half of n^(-1/5), seen from how much the values are drawn together to make room for the moves."""
    from fluxtrapolation.evaluation.certainty.bootstrap import _shrunk

    values = np.random.default_rng(0).normal(size=(sites, 1))
    shrunk, _ = _shrunk(values)
    assert np.sqrt(values.var() / shrunk.var() - 1) == pytest.approx(0.5 * sites**-0.2, rel=1e-9)


@settings(max_examples=20)
@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_smoothed_draws_scale_with_the_errors(factor: float, seed: int) -> None:
    values = ragged(seed)
    bootstrap = SiteBootstrap(names(12), draws=100, seed=seed, smooth=True)
    one = bootstrap.of(one_cell(values), Statistic.of("q90"), positive=True)
    other = bootstrap.of(one_cell(values * factor), Statistic.of("q90"), positive=True)
    np.testing.assert_allclose(other, one * factor, rtol=1e-9)


# Interval, p-value, correction


def test_two_sided() -> None:
    draws = np.arange(1001.0)
    assert two_sided(draws, 0.95) == pytest.approx((25.0, 975.0), rel=1e-12)
    assert two_sided(draws, 0.5) == pytest.approx((250.0, 750.0), rel=1e-12)
    draws[:50] = np.nan
    assert np.isfinite(two_sided(draws, 0.95)).all()
    draws[:52] = np.nan
    assert np.isnan(two_sided(draws, 0.95)).all()
    draws[:52] = np.inf  # larger than all others, and no end of an interval
    low, high = two_sided(draws, 0.95)
    assert low == pytest.approx(77, rel=1e-12)
    assert np.isnan(high)


def test_p_value_by_hand() -> None:
    assert p_value(np.ones(999)) == 2 / 1000
    assert p_value(-np.ones(999)) == 2 / 1000
    assert p_value(np.zeros(999)) == 1.0
    assert p_value(np.r_[np.ones(90), -np.ones(9)]) == 2 * 10 / 100
    assert p_value(np.r_[np.ones(90), np.zeros(9)]) == 2 * 10 / 100  # no difference speaks for both sides
    assert p_value(np.r_[np.ones(50), -np.ones(49)]) == 1.0
    assert p_value(np.r_[np.ones(90), -np.ones(9), np.full(40, np.nan)]) == 2 * 10 / 100
    assert np.isnan(p_value(np.full(5, np.nan)))
    assert p_value(np.ones(999), sites=5) == 1 / 16  # what a sign test of five can say
    assert p_value(np.ones(999), sites=40) == 2 / 1000
    assert p_value(np.ones(999), effect=0.1) == 2 / 1000
    assert p_value(np.ones(999), effect=-0.1) == p_value(np.ones(999), effect=0.0) == 1.0
    assert p_value(np.full(999, np.inf), effect=np.inf) == 2 / 1000


@given(hnp.arrays(np.float64, st.integers(1, 200), elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0])))
def test_p_value_is_a_probability_and_symmetric(draws: np.ndarray) -> None:
    p = p_value(draws)
    assert 2 / (len(draws) + 1) <= p <= 1 or p == 1
    assert p == p_value(-draws)
    assert p == p_value(3 * draws)


@given(st.integers(0, 1000), st.sampled_from([0.8, 0.9, 0.95]))
def test_p_value_agrees_with_the_percentile_interval(seed: int, level: float) -> None:
    """Clearly below 1 - level where the interval does not hold 0, clearly above where it does."""
    draws = np.random.default_rng(seed).normal(np.random.default_rng(seed + 1).normal(), 0.6, 999)
    low, high = two_sided(draws, level)
    if low > 0 or high < 0:
        assert p_value(draws) <= 1 - level + 2.1 / 1000
    else:
        assert p_value(draws) > 1 - level - 2.1 / 1000


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.01, 0.02, 0.022, 0.5])), [0.04, 0.06, 0.06, 0.5])
    np.testing.assert_allclose(holm(np.array([0.4, 0.6, np.nan])), [0.8, 0.8, np.nan])
    np.testing.assert_allclose(holm(np.array([0.03])), [0.03])
    assert holm(np.array([])).shape == (0,)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0.0001, 1)))
def test_holm_lies_between_the_raw_and_bonferroni(p: np.ndarray) -> None:
    found = holm(p)
    assert (found >= p).all()
    assert (found <= np.minimum(1, p * len(p)) + 1e-15).all()
    ordered = found[np.argsort(p, kind="stable")]
    assert all(one <= other for one, other in pairwise(ordered))
    # the definition: step down while p_(i) <= alpha / (n - i)
    for alpha in (0.01, 0.05, 0.3):
        rejected = np.zeros(len(p), bool)
        for step, place in enumerate(np.argsort(p, kind="stable")):
            if p[place] * (len(p) - step) > alpha:
                break
            rejected[place] = True
        np.testing.assert_array_equal(found <= alpha, rejected)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, -0.1, float("nan"), True])
def test_impossible_levels_are_refused(level: float) -> None:
    with pytest.raises(EvaluationError, match="level"):
        check_options(level, 1000)


@pytest.mark.parametrize("draws", [0, 99, -5, 150.5, True])
def test_impossible_numbers_of_draws_are_refused(draws: int) -> None:
    with pytest.raises(EvaluationError, match="draws"):
        check_options(0.95, draws)

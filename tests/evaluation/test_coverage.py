"""Do the intervals hold the truth? Simulations of site errors, with the code of benchmarks/coverage.py, fixed seeds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fluxtrapolation.evaluation.certainty.bootstrap import Statistic, holm, p_value, two_sided
from fluxtrapolation.evaluation.certainty.intervals import of_quantile

SIMULATIONS = 2000
"""Standard error of a coverage of 0.95: 0.005."""


@pytest.fixture(scope="module")
def simulated() -> ModuleType:
    """The simulations of benchmarks/coverage.py."""
    file = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("family", ["log-normal 0.5", "log-normal 1.0", "log-t3", "half-normal"])
@pytest.mark.parametrize("sites", [40, 126])
@pytest.mark.parametrize("summary", ["median", "q90"])
def test_order_statistics_cover_as_promised(simulated: ModuleType, family: str, sites: int, summary: str) -> None:
    statistic = Statistic.of(summary)
    truth = simulated.truth_of(family, 0.0, statistic)
    rng = np.random.default_rng([5, sites])
    held = 0
    for _ in range(SIMULATIONS):
        values = simulated.errors_of(rng, family, sites, None, 0.0).ravel()
        found = of_quantile(values, np.arange(sites), statistic.share, 0.95)
        held += found.low <= truth <= found.high
    assert 0.93 <= held / SIMULATIONS <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("within", [0.0, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("summary", ["median", "q90"])
def test_site_years_cover_as_promised(simulated: ModuleType, within: float, summary: str) -> None:
    """340 site-years of 126 sites, from all variance between sites to all of it within them."""
    statistic = Statistic.of(summary)
    truth = simulated.truth_of("log-normal 0.5", within, statistic)
    rng = np.random.default_rng([6, int(10 * within)])
    held = naive = 0
    for _ in range(SIMULATIONS):
        errors = simulated.errors_of(rng, "log-normal 0.5", 126, simulated.YEARS, within)
        site, place = np.nonzero(np.isfinite(errors))
        values = errors[site, place]
        found = of_quantile(values, site, statistic.share, 0.95)
        held += found.low <= truth <= found.high
        alone = of_quantile(values, np.arange(len(values)), statistic.share, 0.95)
        naive += alone.low <= truth <= alone.high
    assert 0.93 <= held / SIMULATIONS <= 0.97
    if within <= 0.2:  # what one gets who takes site-years for independent
        assert naive / SIMULATIONS < 0.88


@pytest.mark.slow
def test_the_published_percentile_interval_is_too_short_for_the_tail(simulated: ModuleType) -> None:
    """The numbers in the docstring of `intervals`: about 0.90 for the 90th percentile of 40 sites."""
    rows = []
    statistic = Statistic.of("q90")
    truth = simulated.truth_of("log-normal 0.5", 0.0, statistic)
    rng = np.random.default_rng(7)
    for number in range(800):
        cell = simulated.one_cell(simulated.errors_of(rng, "log-normal 0.5", 40, None, 0.0))
        drawn = simulated.draw_board([cell], statistic, positive=False, draws=500, seed=number, smooth=False)
        low, high = two_sided(drawn.draws[0, 0], 0.95)
        rows.append(low <= truth <= high)
    assert 0.88 <= np.mean(rows) <= 0.935


@pytest.mark.slow
@pytest.mark.parametrize("summary", ["median", "q90"])
@pytest.mark.parametrize("scenarios", ["spatial", "temporal"])
def test_skill_scores_cover_as_promised(simulated: ModuleType, summary: str, scenarios: str) -> None:
    """The smoothed bootstrap of the skill score over six scales; 400 simulations, standard error 0.011."""
    statistic = Statistic.of(summary)
    rng = np.random.default_rng([8, len(scenarios)])
    held = 0
    for number in range(400):
        cells = simulated.board(rng, "log-normal 0.5", (0.0, 0.3), scenarios)
        skills = simulated.skill_draws(cells, statistic, 400, number, smooth=True)
        low, high = two_sided(skills[1], 0.95)
        held += low <= 1 - np.exp(-0.3) <= high
    assert 0.92 <= held / 400 <= 0.99


@pytest.mark.slow
def test_equal_models_are_rarely_told_apart(simulated: ModuleType) -> None:
    """Five equal models: any of the ten pairs is called different in at most one of twenty rankings."""
    wrong = alone = 0
    rng = np.random.default_rng(9)
    for number in range(400):
        cells = simulated.board(rng, "log-normal 0.5", (0.0,) * 5, "spatial")
        skills = simulated.skill_draws(cells, Statistic.of("median"), 1000, number, smooth=True)
        p = np.asarray([p_value(skills[a] - skills[b]) for a in range(5) for b in range(a + 1, 5)])
        wrong += bool((holm(p) <= 0.05).any())
        alone += bool(p[9] <= 0.05)
    assert wrong / 400 <= 0.075  # 0.05 and two standard errors
    assert 0.01 <= alone / 400 <= 0.075


@pytest.mark.slow
def test_a_real_difference_is_found(simulated: ModuleType) -> None:
    """Power: 30 % smaller errors at 40 sites are seen nearly always, 3 % rarely."""
    rng = np.random.default_rng(10)
    seen = {0.35: 0, 0.03: 0}
    for gain in seen:
        for number in range(100):
            cells = simulated.board(rng, "log-normal 0.5", (0.0, gain), "spatial")
            skills = simulated.skill_draws(cells, Statistic.of("median"), 400, number, smooth=True)
            seen[gain] += p_value(skills[1]) <= 0.05
    assert seen[0.35] >= 80
    assert seen[0.03] <= 40

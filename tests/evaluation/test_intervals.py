"""Intervals over sites: order statistics against the exact binomial, and what must not change them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation import Scores, intervals, summarise
from fluxtrapolation.evaluation.certainty.bootstrap import Statistic
from fluxtrapolation.evaluation.certainty.intervals import _with_error, of_quantile
from made_scores import board, made, names, together


def ends(values: np.ndarray, share: float = 0.5, level: float = 0.95, sites: np.ndarray | None = None) -> np.ndarray:
    found = of_quantile(values, np.arange(len(values)) if sites is None else sites, share, level)
    return np.array([found.low, found.high])


def exact_places(n: int, share: float, level: float) -> tuple[int, int]:
    """Places of the conservative exact interval: P(lower misses) and P(upper misses) at most (1 - level) / 2 each."""
    miss = (1 - level) / 2
    lower = max((r for r in range(1, n + 1) if stats.binom.cdf(r - 1, n, share) <= miss), default=0)
    upper = min((r for r in range(1, n + 1) if stats.binom.sf(r - 1, n, share) <= miss), default=n + 1)
    return lower, upper


made_values = st.integers(0, 100_000).map(np.random.default_rng)
shares = st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


@given(made_values, st.integers(5, 130), shares, st.floats(0.8, 0.99))
def test_ends_lie_within_one_place_of_the_exact_binomial_interval(
    rng: np.random.Generator, n: int, share: float, level: float
) -> None:
    values = rng.lognormal(size=n)
    ordered = np.sort(values)
    low, high = ends(values, share, level)
    lower, upper = exact_places(n, share, level)
    if lower == 0:
        assert np.isnan(low)
    else:
        assert ordered[lower - 1] - 1e-9 <= low <= ordered[min(lower, n - 1)] + 1e-9
    if upper == n + 1:
        assert np.isnan(high)
    else:
        assert ordered[max(upper - 2, 0)] - 1e-9 <= high <= ordered[upper - 1] + 1e-9


@given(made_values, st.integers(6, 120), shares, st.data())
def test_ends_are_the_exact_ones_where_the_place_is_whole(
    rng: np.random.Generator, n: int, share: float, data: st.DataObject
) -> None:
    usual = int(n * share)  # not the outermost: there the last digit decides whether there is an end
    place = data.draw(st.integers(max(2, usual - 8), max(2, min(usual, n - 1))))
    miss = float(stats.binom.cdf(place - 1, n, share))
    assume(0.0001 < miss < 0.45)
    values = rng.lognormal(size=n)
    assert ends(values, share, 1 - 2 * miss)[0] == pytest.approx(np.sort(values)[place - 1], rel=1e-6)


@given(made_values, st.integers(8, 80))
def test_at_whole_places_any_increasing_transformation_goes_through(rng: np.random.Generator, n: int) -> None:
    """Both ends of a median are whole at once; elsewhere interpolation stays in the unit of the values."""
    values = rng.lognormal(size=n)
    place = max(2, n // 4)
    level = 1 - 2 * float(stats.binom.cdf(place - 1, n, 0.5))
    assume(0.01 < level < 0.9999)
    plain = ends(values, 0.5, level)
    ordered = np.sort(values)
    np.testing.assert_allclose(plain, [ordered[place - 1], ordered[n - place]], rtol=1e-6)
    np.testing.assert_allclose(ends(np.log(values), 0.5, level), np.log(plain), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ends(values**3, 0.5, level), plain**3, rtol=1e-6)


@given(made_values, st.integers(2, 60), shares, st.floats(0.1, 50), st.floats(-5, 5))
def test_ends_follow_shift_and_scale_and_mirror(
    rng: np.random.Generator, n: int, share: float, scale: float, shift: float
) -> None:
    values = rng.normal(size=n)
    plain = ends(values, share)
    np.testing.assert_allclose(ends(shift + scale * values, share), shift + scale * plain, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ends(-values, 1 - share), -plain[::-1], atol=1e-7)


@given(made_values, st.integers(5, 120), shares, st.lists(st.floats(0.8, 0.999), min_size=2, max_size=2, unique=True))
def test_a_higher_level_makes_no_shorter_interval(
    rng: np.random.Generator, n: int, share: float, levels: list[float]
) -> None:
    values = rng.lognormal(size=n)
    narrow, wide = (np.nan_to_num(ends(values, share, level), nan=np.inf) for level in sorted(levels))
    lower = [np.nan_to_num(ends(values, share, level)[0], nan=-np.inf) for level in sorted(levels)]
    assert lower[1] <= lower[0]
    assert wide[1] >= narrow[1]


def test_the_bound_that_exists_is_given_also_where_the_quantile_lies_beyond_all_values() -> None:
    """One value, 5th percentile, level 0.5: it lies above the percentile with probability 0.95: an upper end."""
    assert ends(np.array([3.0]), 0.05, 0.5)[1] == 3.0
    assert ends(np.array([3.0]), 0.95, 0.5)[0] == 3.0


@pytest.mark.parametrize(("share", "first"), [(0.5, 6), (0.9, 36), (0.75, 13), (0.95, 72)])
def test_an_upper_end_is_there_from_so_many_sites_on(share: float, first: int) -> None:
    assert share ** (first - 1) > 0.025 >= share**first
    for n in range(1, first + 5):
        values = np.arange(1.0, n + 1)
        assert np.isnan(ends(values, share)[1]) == (n < first)
        assert np.isnan(ends(values, 1 - share)[0]) == (n < first)


def test_notes_say_which_end_lacks() -> None:
    few = of_quantile(np.arange(5.0), np.arange(5), 0.5, 0.95)
    assert few.note == "too few sites for a lower and an upper end"
    assert "upper" in of_quantile(np.arange(30.0), np.arange(30), 0.9, 0.95).note
    assert "lower" not in of_quantile(np.arange(30.0), np.arange(30), 0.9, 0.95).note
    assert of_quantile(np.arange(40.0), np.arange(40), 0.9, 0.95).note == ""
    assert np.isnan(ends(np.arange(50.0), 1.0)).all()
    assert "extreme" in of_quantile(np.arange(50.0), np.arange(50), 1.0, 0.95).note
    assert np.isnan(ends(np.arange(50.0), 0.0)).all()


def test_coverage_of_the_median_and_the_90th_percentile() -> None:
    """A quick one, iid; the simulations with real shapes are in benchmarks. 1500 runs: standard error 0.6 %."""
    rng = np.random.default_rng(0)
    for share, n in ((0.5, 40), (0.9, 40), (0.9, 126)):
        truth = stats.lognorm(1).ppf(share)
        low, high = np.transpose([ends(rng.lognormal(size=n), share) for _ in range(1500)])
        assert 0.93 < ((low <= truth) & (truth <= high)).mean() < 0.97


# Site-years


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_identical_years_of_a_site_give_about_the_interval_of_the_sites(share: float) -> None:
    rng = np.random.default_rng(2)
    for n in (60, 126):
        values = rng.lognormal(size=n)
        alone = ends(values, share)
        years = ends(np.repeat(values, 4), share, sites=np.repeat(np.arange(n), 4))
        naive = ends(np.repeat(values, 4), share)
        place = np.searchsorted(np.sort(values), [alone, years, naive]) / n
        assert np.abs(place[1] - place[0]).max() < 0.04
        assert place[2][1] - place[2][0] < 0.65 * (place[1][1] - place[1][0])


def test_identical_years_of_few_sites() -> None:
    """Below ten sites only sites count: five cannot bound a median, whatever their years; eight can."""
    for n, bounded in ((5, False), (8, True)):
        values = np.arange(1.0, n + 1)
        found = ends(np.repeat(values, 10), 0.5, sites=np.repeat(np.arange(n), 10))
        assert np.isfinite(found).all() == bounded
        assert np.isfinite(ends(values)).all() == bounded


# The table


@pytest.fixture(scope="module")
def scores() -> Scores:
    return board({"lr": 0.0, "xgb": 0.3}, targets=("ET", "GPP"), sites=40)


KEY = ["target", "scenario", "scale", "model", "selection"]


@pytest.mark.parametrize("method", ["recommended", "percentile"])
@pytest.mark.parametrize("summary", ["median", "q90", "cvar10", "mean", "worst"])
def test_values_are_the_summaries(scores: Scores, summary: str, method: str) -> None:
    found = intervals(scores, summary=summary, method=method, draws=200)  # type: ignore[arg-type]
    wanted = summarise(scores, summary=summary)
    assert found.select(KEY).equals(wanted.select(KEY))
    np.testing.assert_allclose(found["value"], wanted["value"], rtol=1e-13)
    assert found["n_domains"].to_list() == wanted["n_domains"].to_list()
    assert found["n_null"].to_list() == wanted["n_null"].to_list()
    assert found["n_sites"].unique().to_list() == [40]
    held = found.drop_nulls(["low", "high"])
    assert (held["low"] <= held["value"]).all()
    assert (held["value"] <= held["high"]).all()
    assert held.height == (0 if method == "recommended" and summary in ("worst", "cvar10") else found.height)


def test_columns_and_their_kinds(scores: Scores) -> None:
    found = intervals(scores)
    assert found.columns == [
        *KEY, "value", "low", "high", "n_domains", "n_sites", "n_null", "n_seeds", "seed_sd", "method", "note"
    ]  # fmt: skip
    assert found.schema["low"] == pl.Float64
    assert found.schema["seed_sd"] == pl.Float64
    assert found.schema["note"] == pl.String
    assert found["method"].unique().to_list() == ["order statistics"]
    assert found["n_seeds"].unique().to_list() == [1]
    assert found["seed_sd"].null_count() == found.height


def test_ends_are_those_of_the_cell(scores: Scores) -> None:
    found = intervals(scores, summary="q90").row(3, named=True)
    part = scores.where(**{name: found[name] for name in KEY}).frame["rmse"].to_numpy()
    np.testing.assert_array_equal([found["low"], found["high"]], ends(part, 0.9))


@settings(max_examples=5)
@given(st.randoms(use_true_random=False), st.sampled_from(["median", "mean", "cvar10"]))
def test_row_order_is_of_no_consequence(random: object, summary: str) -> None:
    frame = board({"a": 0.0, "b": 0.1}, sites=24, seeds={"b": 2}).frame
    order = list(range(frame.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    for method in ("recommended", "percentile"):
        options = {"summary": summary, "method": method, "draws": 100}
        one, other = (intervals(table, **options) for table in (frame, frame[order]))  # type: ignore[arg-type]
        assert one.equals(other)


def test_names_of_sites_are_of_no_consequence_to_order_statistics(scores: Scores) -> None:
    renamed = scores.frame.with_columns(
        (pl.lit("x") + pl.col(name).str.reverse()).alias(name) for name in ("domain", "site_id")
    )
    for summary in ("median", "q90"):
        assert intervals(scores, summary=summary).equals(intervals(renamed, summary=summary))


@pytest.mark.parametrize(("summary", "method"), [("median", "percentile"), ("mean", "recommended")])
def test_other_models_scenarios_and_targets_change_no_interval(scores: Scores, summary: str, method: str) -> None:
    every = intervals(scores, summary=summary, method=method, draws=200)  # type: ignore[arg-type]
    part = scores.where(target="GPP", scenario="temperature", model="xgb")
    alone = intervals(part, summary=summary, method=method, draws=200)  # type: ignore[arg-type]
    assert every.join(alone, on=KEY, how="semi", nulls_equal=True).equals(alone)


def test_the_seed_makes_the_draws(scores: Scores) -> None:
    options = {"method": "percentile", "draws": 200, "summary": "mean"}
    one, same, other = (intervals(scores, seed=seed, **options) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert one.equals(same)
    assert not one.equals(other)
    np.testing.assert_allclose(one["low"], other["low"], rtol=0.15)


def test_the_percentile_interval_is_the_published_one() -> None:
    """Percentiles of the summary under draws of sites, their years together: by a loop of its own."""
    rng = np.random.default_rng(5)
    values = rng.lognormal(size=(30, 1)) * rng.lognormal(0, 0.2, (30, 3))
    table = made(values.ravel(), sites=list(np.repeat(names(30), 3)), years=list(np.tile([2001, 2002, 2003], 30)))
    found = intervals(table, method="percentile", draws=4000).row(0, named=True)
    draws = [np.median(values[rng.integers(0, 30, 30)]) for _ in range(4000)]
    np.testing.assert_allclose(
        [found["low"], found["high"]], np.quantile(draws, [0.025, 0.975]), atol=0.35 * float(np.std(draws))
    )
    assert found["method"] == "percentile bootstrap"
    assert (found["n_domains"], found["n_sites"]) == (90, 30)


def test_the_mean_has_a_bootstrap_t_interval() -> None:
    values = np.random.default_rng(3).normal(10, 1, 60)
    found = intervals(made(values), summary="mean", draws=2000).row(0, named=True)
    t = stats.t.interval(0.95, 59, values.mean(), stats.sem(values))
    np.testing.assert_allclose([found["low"], found["high"]], t, atol=0.08)
    assert found["method"] == "bootstrap-t"


def test_the_interval_of_a_mean_widens_where_years_repeat() -> None:
    values = np.random.default_rng(3).normal(10, 1, 40)
    alone = intervals(made(values), summary="mean").row(0, named=True)
    sites, years = list(np.repeat(names(40), 3)), list(np.tile([2001, 2002, 2003], 40))
    thrice = intervals(made(np.repeat(values, 3), sites=sites, years=years), summary="mean").row(0, named=True)
    np.testing.assert_allclose([thrice["low"], thrice["high"]], [alone["low"], alone["high"]], atol=0.06)


@pytest.mark.parametrize("summary", ["mean", "cvar20"])
def test_standard_errors_have_sites_as_units(summary: str) -> None:
    values = np.random.default_rng(3).lognormal(size=(1, 40, 1))
    statistic = Statistic.of(summary)
    estimate, error = _with_error(values, statistic)
    thrice = np.concatenate([np.repeat(values, 3, axis=2), np.full((1, 5, 3), np.nan)], axis=1)
    of_thrice, its_error = _with_error(thrice, statistic)
    assert estimate[0] == pytest.approx(statistic.of_values(values.ravel()))
    assert of_thrice[0] == pytest.approx(estimate[0])
    assert its_error[0] == pytest.approx(error[0], rel=0.05)
    if summary == "mean":
        assert error[0] == pytest.approx(stats.sem(values.ravel()))
        assert its_error[0] == pytest.approx(error[0], rel=1e-12)


def test_a_mean_of_few_sites_has_none() -> None:
    found = intervals(made(np.arange(1.0, 10.0)), summary="mean").row(0, named=True)
    assert (found["low"], found["high"], found["note"]) == (None, None, "too few sites for an interval")
    constant = intervals(made(np.ones(40)), summary="mean").row(0, named=True)
    assert constant["low"] is None


def test_a_mean_of_nearly_equal_errors_has_no_absurd_end() -> None:
    """One site off, the others equal to six digits: draws without it have almost no standard error."""
    values = np.r_[1 + 1e-6 * np.random.default_rng(0).normal(size=19), 10.0]
    found = intervals(made(values), summary="mean").row(0, named=True)
    assert found["high"] is None or found["high"] < 1000


@pytest.mark.parametrize(
    ("sites", "method"), [(40, "order statistics"), (99, "order statistics"), (100, "bootstrap-t")]
)
def test_the_worst_tenth_has_two_ends_only_where_it_holds_ten_sites(sites: int, method: str) -> None:
    values = np.random.default_rng(1).lognormal(size=sites)
    found = intervals(made(values), summary="cvar10").row(0, named=True)
    assert found["method"] == method
    assert (found["high"] is None) == (method == "order statistics")
    if method == "order statistics":
        assert found["low"] == ends(values, 0.9)[0]
        assert "one side" in found["note"]
    upward = intervals(made(-values, metric="nse"), summary="cvar10", metric="nse").row(0, named=True)
    if method == "order statistics":
        assert (upward["low"], upward["high"]) == (None, pytest.approx(-found["low"], rel=1e-9))
    else:
        assert [upward["low"], upward["high"]] == pytest.approx([-found["high"], -found["low"]], rel=0.2)


def test_nulls_are_counted_and_left_out() -> None:
    values = np.random.default_rng(1).lognormal(size=30)
    table = made(np.r_[values, np.full(6, np.nan)])
    found = intervals(table).row(0, named=True)
    alone = intervals(made(values)).row(0, named=True)
    assert (found["value"], found["low"], found["high"]) == (alone["value"], alone["low"], alone["high"])
    assert (found["n_domains"], found["n_sites"], found["n_null"]) == (30, 30, 6)
    nothing = intervals(made(np.full(4, np.nan))).row(0, named=True)
    assert nothing["value"] is None
    assert nothing["note"] == "no domain has a value"
    assert intervals(made(np.full(4, np.nan)), method="percentile").row(0, named=True)["low"] is None


def test_seeds_are_averaged_and_their_spread_stands_beside() -> None:
    rng = np.random.default_rng(1)
    parts = [made(rng.lognormal(size=40), seed=seed) for seed in (3, 1, 2)]
    found = intervals(together(*parts)).row(0, named=True)
    single = [intervals(part).row(0, named=True) for part in parts]
    for name in ("value", "low", "high"):
        assert found[name] == pytest.approx(np.mean([one[name] for one in single]), rel=1e-13)
    assert found["seed_sd"] == pytest.approx(np.std([one["value"] for one in single], ddof=1), rel=1e-12)
    assert found["n_seeds"] == 3
    apart = intervals(together(*parts), by=["seed"])
    assert apart["seed"].to_list() == [1, 2, 3]
    assert sorted(apart["value"]) == sorted(one["value"] for one in single)


def test_an_end_that_a_later_seed_lacks_has_a_note() -> None:
    rng = np.random.default_rng(1)
    first = made(rng.lognormal(size=40), seed=0)
    later = made(np.r_[rng.lognormal(size=30), np.full(10, np.nan)], seed=1)
    found = intervals(together(first, later), summary="q90").row(0, named=True)
    assert found["high"] is None
    assert found["note"] is not None


def test_bare_tables_and_unnamed_runs() -> None:
    table = made(np.arange(1.0, 41.0), None, target=None, scenario=None, selection=None)
    found = intervals(table).row(0, named=True)
    assert found["value"] == 20.5
    assert found["model"] is None
    assert 14 < found["low"] < 15


def test_what_is_refused(scores: Scores) -> None:
    for options, words in (
        ({"method": "percentil"}, "Did you mean 'percentile'"),
        ({"level": 95}, "level"),
        ({"draws": 10}, "draws"),
        ({"summary": "medain"}, "Did you mean 'median'"),
        ({"metric": "nse"}, "hold no nse"),
        ({"metric": "nope"}, "no metric"),
        ({"by": ["planet"]}, "no column 'planet'"),
        ({"scales": ["yearly"]}, "no scores at the scales"),
    ):
        with pytest.raises(EvaluationError, match=words):
            intervals(scores, **options)  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="more than once"):
        intervals(together(scores.frame, scores.frame))
    mixed = pl.concat([scores.frame.head(5), scores.frame.tail(5).with_columns(pl.lit("measured").alias("protocol"))])
    with pytest.raises(EvaluationError, match="different protocols"):
        intervals(mixed)


@pytest.mark.parametrize("options", [{"seed": -1}, {"by": ["model"]}], ids=["negative seed", "by model"])
def test_odd_options_are_told_in_our_own_words_or_work(scores: Scores, options: dict[str, object]) -> None:
    try:
        found = intervals(scores, method="percentile", draws=100, **options)  # type: ignore[arg-type]
    except EvaluationError:
        return
    assert found.height == 16

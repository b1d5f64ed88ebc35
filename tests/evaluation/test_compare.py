"""Two models on the same sites: mirrored, paired, and in words that agree with the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fluxtrapolation as ft
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation import Comparison, Scores, compare, rank, summarise
from fluxtrapolation.evaluation.certainty.bootstrap import SiteBootstrap, Statistic, holm, p_value
from made_scores import board, made, names, one_cell, together

DRAWS: dict[str, Any] = {"draws": 300}
MIRRORED = {"value_a": "value_b", "difference_low": "difference_high"}


@pytest.fixture(scope="module")
def scores() -> Scores:
    return board({"lr": 0.0, "xgb": 0.3, "twin": 0.3}, targets=("ET", "GPP"), sites=30)


def of(scores: Scores, a: str, b: str, **options: Any) -> Comparison:
    return compare(scores, scores, model_a=a, model_b=b, **{**DRAWS, **options})


@pytest.mark.parametrize("summary", ["median", "q90", "cvar10", "mean"])
def test_values_are_the_summaries(scores: Scores, summary: str) -> None:
    found = of(scores, "xgb", "lr", summary=summary).cells
    key = ["target", "scenario", "scale"]
    wanted = summarise(scores, summary=summary)
    for name, model in (("value_a", "xgb"), ("value_b", "lr")):
        both = found.join(wanted.filter(pl.col("model") == model), on=key, validate="1:1", maintain_order="left")
        assert both.height == 8
        np.testing.assert_allclose(both[name], both["value"], rtol=1e-12)
    np.testing.assert_allclose(found["difference"], found["value_a"] - found["value_b"], rtol=1e-12)
    np.testing.assert_allclose(found["reduction"], 1 - found["value_a"] / found["value_b"], rtol=1e-10)
    assert found["n_domains"].unique().to_list() == found["n_sites"].unique().to_list() == [30]
    assert found["target"].to_list() == ["ET"] * 4 + ["GPP"] * 4
    assert found["scenario"].to_list()[:4] == ["spatial", "spatial", "temperature", "temperature"]


def test_the_overall_row_is_made_of_the_cells(scores: Scores) -> None:
    found = of(scores, "xgb", "lr")
    for row in found.overall.iter_rows(named=True):
        mine = found.cells.filter(pl.col("target") == row["target"])
        ratio = (mine["value_a"] / mine["value_b"]).to_numpy()
        assert row["reduction"] == pytest.approx(1 - np.exp(np.log(ratio).mean()), rel=1e-12)
        assert row["n_cells"] == 4
        assert row["low"] < row["reduction"] < row["high"]
        assert row["difference"] is None
        certain = mine.filter(pl.col("p_holm") <= 0.05)
        assert row["cells_better"] == certain.filter(pl.col("reduction") > 0).height
        assert row["cells_worse"] == certain.filter(pl.col("reduction") < 0).height
        np.testing.assert_allclose(mine["p_holm"], holm(mine["p_value"].to_numpy()))
    assert (found.cells["p_holm"] >= found.cells["p_value"]).all()


def test_wins_are_counted_by_hand() -> None:
    a, b = made([1.0, 2.0, 3.0, 4.0], "a"), made([2.0, 2.0, 1.0, 5.0], "b")
    found = compare(a, b, **DRAWS).cells.row(0, named=True)
    assert found["wins"] == (2 + 0.5) / 4
    assert compare(b, a, **DRAWS).cells["wins"][0] == 1 - found["wins"]


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(["median", "q90", "cvar20", "mean"]))
def test_a_against_b_mirrors_b_against_a(seed: int, summary: str) -> None:
    scores = board({"a": 0.0, "b": 0.05}, sites=17, seed=seed, seeds={"b": 2})
    one, other = of(scores, "a", "b", summary=summary, draws=200), of(scores, "b", "a", summary=summary, draws=200)
    for name in ("p_value", "p_holm", "n_domains", "n_sites"):
        assert one.cells[name].to_list() == other.cells[name].to_list()
    for name, twin in MIRRORED.items():
        sign = -1 if name.startswith("difference") else 1
        np.testing.assert_allclose(one.cells[name], sign * other.cells[twin].to_numpy(), rtol=1e-9, atol=1e-12)
    for name in ("p_a_better", "wins"):
        np.testing.assert_allclose(one.cells[name], 1 - other.cells[name].to_numpy(), atol=1e-12)
    np.testing.assert_allclose(1 - one.cells["reduction"], 1 / (1 - other.cells["reduction"].to_numpy()), rtol=1e-12)
    assert one.overall["p_value"].to_list() == other.overall["p_value"].to_list()
    assert one.overall["cells_better"].to_list() == other.overall["cells_worse"].to_list()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_intervals_of_the_reduction_mirror_too(seed: int) -> None:
    """The docstring says exactly: 1 - reduction of one is one over that of the other, at both ends."""
    scores = board({"a": 0.0, "b": 0.3}, sites=12, seed=seed, noise=0.8)
    one, other = of(scores, "a", "b", draws=100), of(scores, "b", "a", draws=100)
    for here, there in ((one.cells, other.cells), (one.overall, other.overall)):
        np.testing.assert_allclose(1 - here["low"], 1 / (1 - there["high"].to_numpy()), rtol=1e-9)
        np.testing.assert_allclose(1 - here["high"], 1 / (1 - there["low"].to_numpy()), rtol=1e-9)


@pytest.mark.parametrize("summary", ["median", "q90", "cvar10"])
def test_a_model_against_itself(scores: Scores, summary: str) -> None:
    part = scores.where(model="xgb")
    found = compare(part, part, summary=summary, **DRAWS)
    for table in (found.cells, found.overall):
        assert set(table["p_value"]) == {1.0}
        assert set(table["reduction"]) == {0.0}
        assert set(table["low"]) == set(table["high"]) == {0.0}
        assert set(table["p_a_better"]) == {0.5}
    assert set(found.cells["difference"]) == {0.0}
    assert set(found.cells["wins"]) == {0.5}
    assert set(found.cells["p_holm"]) == {1.0}
    assert found.a != found.b
    assert all("do not tell" in verdict for verdict in found.overall["verdict"])
    assert found.overall.select(pl.sum_horizontal("cells_better", "cells_worse")).to_series().sum() == 0


def test_draws_are_paired_by_site() -> None:
    """A model 5 % better at every site is certainly better, though sites differ a hundredfold."""
    values = np.random.default_rng(0).lognormal(sigma=1.5, size=30)
    found = compare(made(0.95 * values, "a"), made(values, "b"), **DRAWS)
    row = found.cells.row(0, named=True)
    assert row["p_value"] == 2 / 301
    np.testing.assert_allclose([row["low"], row["reduction"], row["high"]], 0.05, rtol=1e-9)
    assert row["p_a_better"] == row["wins"] == 1.0
    assert found.overall["verdict"][0].startswith("GPP: a (mean) is better than b (mean)")
    assert found.overall["cells_better"][0] == 1


def test_p_values_are_those_of_the_draws() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=25)
    values = np.exp(np.stack([common + 0.3 * rng.normal(size=25), common + 0.3 * rng.normal(size=25)]))
    found = compare(made(values[0], "a"), made(values[1], "b"), draws=500, seed=3).cells.row(0, named=True)
    bootstrap = SiteBootstrap(names(25), draws=500, seed=3, smooth=True)
    a, b = bootstrap.of(one_cell(values[:, :, None], runs=2), Statistic.of("median"), positive=True)
    assert found["p_value"] == p_value(np.log(b / a))
    assert found["p_a_better"] == (a < b).mean()
    np.testing.assert_allclose(
        [found["difference_low"], found["difference_high"]], np.quantile(a - b, [0.025, 0.975]), rtol=1e-12
    )


# Which cells and domains are compared


def test_cells_that_one_side_lacks_are_left_out_and_named(scores: Scores) -> None:
    part = scores.where(model="xgb").frame.filter(~((pl.col("scenario") == "spatial") & (pl.col("scale") == "weekly")))
    found = compare(part, scores.where(model="lr"), **DRAWS)
    assert found.cells.height == 6
    assert found.overall["n_cells"].to_list() == [3, 3]
    assert all("spatial/weekly only in B" in note for note in found.overall["note"])
    back = compare(scores.where(model="lr"), part, **DRAWS)
    assert all("spatial/weekly only in A" in note for note in back.overall["note"])


def test_domains_that_only_one_has_a_value_for_are_left_out_and_counted() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.lognormal(size=20), rng.lognormal(size=20)
    missing = a.copy()
    missing[:3] = np.nan
    found = compare(made(missing, "a"), made(b, "b"), **DRAWS).cells.row(0, named=True)
    assert found["n_domains"] == found["n_sites"] == 17
    assert found["note"].startswith("3 domains")
    assert found["value_a"] == pytest.approx(np.median(a[3:]))
    assert found["value_b"] == pytest.approx(np.median(b[3:]))


def test_nothing_in_common() -> None:
    with pytest.raises(EvaluationError, match=r"share no .*spatial/hourly.*temporal/hourly"):
        compare(made([1.0, 2.0], "a"), made([1.0, 2.0], "b", scenario="temporal"), **DRAWS)
    with pytest.raises(EvaluationError, match="share no"):
        compare(made([1.0, 2.0], "a"), made([1.0, 2.0], "b", scale="daily"), **DRAWS)
    nothing = compare(made([1.0, np.nan], "a"), made([np.nan, 2.0], "b"), **DRAWS)
    assert nothing.overall["n_cells"][0] == 0
    assert "no cell" in nothing.overall["verdict"][0]
    assert nothing.cells["p_value"][0] is None


def test_other_domains_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"10 only m \(mean\) \(A\) has"):
        compare(made(np.ones(30)), made(np.ones(20)), **DRAWS)
    with pytest.raises(EvaluationError, match="domains"):
        compare(made([1.0, 2.0], "a"), made([1.0, 2.0], "b", sites=["X", "Y"]), **DRAWS)


def test_other_test_sets_and_protocols_are_refused(scores: Scores) -> None:
    a, b = (scores.where(model=model).frame for model in ("xgb", "lr"))
    hashed = [frame.with_columns(pl.lit(text).alias("store_hash")) for frame, text in ((a, "1" * 64), (b, "2" * 64))]
    with pytest.raises(EvaluationError, match="2 different stores"):
        compare(*hashed, **DRAWS)
    with pytest.raises(EvaluationError, match="different protocols"):
        compare(a, b.with_columns(pl.lit("measured").alias("protocol")), **DRAWS)


def test_a_bare_table_without_sites_is_compared_by_its_domains() -> None:
    """One file says the site of every domain, the other does not; the domains are the same."""
    rng = np.random.default_rng(0)
    a, b = rng.lognormal(size=20), rng.lognormal(size=20)
    bare = made(b, "b").with_columns(pl.lit(None, pl.String).alias("site_id"))
    found = compare(made(a, "a"), bare, **DRAWS).cells.row(0, named=True)
    assert found["n_domains"] == 20
    assert found["p_value"] == compare(made(a, "a"), made(b, "b"), **DRAWS).cells["p_value"][0]


def test_site_years_in_the_published_spelling_are_the_same_domains() -> None:
    """``('AU-ASM', 2019)`` of a published table is ``AU-ASM 2019``, as the check of the domains has it."""
    rng = np.random.default_rng(0)
    a, b = rng.lognormal(size=20), rng.lognormal(size=20)
    places, years = ["AU-ASM"] * 10 + ["US-Ha1"] * 10, list(range(2000, 2010)) * 2
    own = made(a, "a", sites=places, years=years)
    label = pl.format("('{}', {})", "site_id", pl.col("domain").str.tail(4))
    published = made(b, "b", sites=places, years=years).with_columns(label.alias("domain"))
    assert compare(own, published, **DRAWS).cells["n_domains"][0] == 20


@pytest.mark.parametrize("sites", [1, 2, 3, 4, 5])
def test_so_few_sites_make_nobody_certainly_better(sites: int) -> None:
    """Equal models differ in one direction at all of n sites with probability 2^(1 - n): above 5 % up to five."""
    values = np.random.default_rng(0).lognormal(size=sites)
    found = compare(made(0.8 * values, "a"), made(values, "b"), **DRAWS)
    assert found.cells["p_value"][0] is None or found.cells["p_value"][0] > 0.05
    assert found.overall["cells_better"][0] == 0
    assert "is better than" not in found.overall["verdict"][0]


def test_cells_of_single_sites_are_not_said_to_be_without_value() -> None:
    """Leave one site out: a scenario per site. No draw holds all sites, so there is no interval; the values are."""
    values = np.random.default_rng(0).lognormal(size=25)
    a, b = (
        pl.concat([made(factor * values[k : k + 1], name, scenario=f"out-{k}", sites=[f"S{k}"]) for k in range(25)])
        for factor, name in ((0.9, "a"), (1.0, "b"))
    )
    found = compare(a, b, **DRAWS)
    assert found.overall["n_cells"][0] == 25
    assert "no cell in which both have a value" not in found.overall["verdict"][0]


# Which runs


def test_a_side_with_several_or_no_runs_is_refused(scores: Scores) -> None:
    with pytest.raises(EvaluationError, match=r"Side A holds several runs.*lr \(mean\).*model_a"):
        compare(scores, scores.where(model="lr"), **DRAWS)
    with pytest.raises(EvaluationError, match=r"Side B holds no such run.*lr \(mean\)"):
        of(scores, "lr", "lstm")
    both = together(scores.frame, scores.frame.with_columns(pl.lit("max").alias("selection")))
    with pytest.raises(EvaluationError, match="several runs"):
        of(both, "lr", "xgb")
    found = of(both, "lr", "xgb", selection="max")
    assert (found.a, found.b) == ("lr (max)", "xgb (max)")


def test_an_empty_side_is_refused_in_whole_words() -> None:
    table = made([1.0, 2.0], "a")
    with pytest.raises(EvaluationError) as caught:
        compare(table, table.head(0), **DRAWS)
    assert "it has ." not in str(caught.value)


def test_paths_and_the_front_door(scores: Scores, tmp_path: Path) -> None:
    files = [scores.where(model=model).write(tmp_path / f"{model}.parquet") for model in ("xgb", "lr")]
    found = ft.compare(*files, **DRAWS)
    assert found.cells.equals(of(scores, "xgb", "lr").cells)
    assert found.overall.equals(ft.compare(str(files[0]), scores.where(model="lr"), **DRAWS).overall)
    assert "better" in repr(found)


def test_unnamed_models() -> None:
    rng = np.random.default_rng(0)
    tables = [
        made(rng.lognormal(size=12), None, target=None, scenario=None, selection=None) for _ in range(2)
    ]  # fmt: skip
    found = compare(*tables, **DRAWS)
    assert (found.a, found.b) == ("unnamed (A)", "unnamed (B)")
    assert found.overall["n_cells"][0] == 1


def test_seeds_are_averaged() -> None:
    rng = np.random.default_rng(4)
    base = rng.lognormal(size=25)
    seeds = [base * np.exp(0.1 * rng.normal(size=25)) for _ in range(3)]
    several = pl.concat([made(values, "a", seed=number) for number, values in enumerate(seeds)])
    row = compare(several, made(base, "b"), **DRAWS).cells.row(0, named=True)
    assert row["value_a"] == pytest.approx(np.mean([np.median(values) for values in seeds]))
    assert row["n_domains"] == 25
    means = np.mean(seeds, axis=0)
    assert row["wins"] == (means < base).mean()


# Metrics that improve upward, and those without direction


def test_nse_upward() -> None:
    rng = np.random.default_rng(1)
    base = 1 - rng.lognormal(-1, 0.5, 30)
    better, worse = made(base + 0.1, "good", metric="nse"), made(base, "bad", metric="nse")
    found = compare(better, worse, metric="nse", **DRAWS)
    row = found.cells.row(0, named=True)
    np.testing.assert_allclose([row["difference"], row["difference_low"], row["difference_high"]], 0.1)
    assert row["reduction"] is None
    assert row["wins"] == row["p_a_better"] == 1.0
    overall = found.overall.row(0, named=True)
    assert overall["difference"] == pytest.approx(0.1)
    assert overall["reduction"] is None
    assert overall["cells_better"] == 1
    assert "good (mean) is better" in overall["verdict"]
    back = compare(worse, better, metric="nse", **DRAWS)
    assert back.overall["cells_worse"][0] == 1
    assert "good (mean) is better" in back.overall["verdict"][0]


def test_nse_worst_tail_is_the_low_one() -> None:
    values = np.r_[np.linspace(0.5, 0.9, 29), -5.0]
    found = compare(
        made(values, "a", metric="nse"), made(values, "b", metric="nse"), metric="nse", summary="cvar10", **DRAWS
    )
    assert found.cells["value_a"][0] == pytest.approx(np.sort(values)[:3].mean(), rel=1e-12)
    assert "87 to 97 %" in found.how["caution"]


def test_worst_sites_compare_nothing() -> None:
    table = made(np.arange(1.0, 11.0))
    with pytest.raises(EvaluationError, match="by their worst site"):
        compare(table, table, summary="worst")
    with pytest.raises(EvaluationError, match="by their worst site"):
        rank(together(table, made(np.arange(1.0, 11.0), "b")), baseline="b", summary="worst")


def test_too_few_sites_have_no_interval() -> None:
    """What makes an interval of five sites is five sites: it would be far too short."""
    a, b = (np.random.default_rng(seed).lognormal(size=5) for seed in (0, 1))
    found = compare(made(a, "a"), made(b, "b"), **DRAWS)
    assert found.cells.select("low", "high", "difference_low", "difference_high").row(0) == (None,) * 4
    assert found.overall.select("low", "high").row(0) == (None, None)
    assert "5 sites tell no difference" in found.overall["note"][0]
    table = rank(together(made(a, "a"), made(b, "b")), baseline="a").table
    assert table.select("low", "high", "p_best").rows() == [(None,) * 3] * 2


def test_cells_without_any_error_are_left_out_and_named() -> None:
    a, b = (np.random.default_rng(seed).lognormal(size=20) for seed in (0, 1))
    first = together(made(a, "a"), made(np.zeros(20), "a", scale="iav"))
    second = together(made(b, "b"), made(np.zeros(20), "b", scale="iav"))
    found = compare(first, second, **DRAWS)
    alone = compare(made(a, "a"), made(b, "b"), **DRAWS)
    assert found.overall["n_cells"][0] == 1
    assert found.overall["reduction"][0] == alone.overall["reduction"][0]
    assert "no ratio where an error is 0 or undefined" in found.overall["note"][0]
    ranking = rank(Scores.concat([first, second]), baseline="b")
    assert ranking.table["skill_score"].null_count() == 0
    assert all("over 1 of 2 cells: the baseline's error is 0 in" in note for note in ranking.table["note"])


@pytest.mark.parametrize("metric", ["bias", "relative_bias"])
def test_bias_has_no_direction(metric: str) -> None:
    table = made(np.arange(1.0, 11.0), metric=metric)
    with pytest.raises(EvaluationError, match=f"{metric} has no better direction"):
        compare(table, table, metric=metric, **DRAWS)


# Words and numbers agree


def bimodal() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Errors of two kinds of sites: the median sits at the edge of one kind."""
    rng = np.random.default_rng(0)
    a = np.r_[np.ones(66), np.full(60, 100.0)] * np.exp(rng.normal(0, 0.02, 126))
    return made(a, "a"), made(1.1 * np.exp(rng.normal(0, 0.02, 126)), "b")


def test_no_verdict_against_the_sign_of_the_difference() -> None:
    """Where the draws and the point estimate point in opposite directions, nobody is certainly better."""
    found = compare(*bimodal(), **DRAWS)
    overall = found.overall.row(0, named=True)
    if overall["p_value"] <= 0.05:
        assert (overall["p_a_better"] > 0.5) == (overall["reduction"] > 0), overall["verdict"]
    assert overall["cells_better"] == 0 or overall["p_a_better"] > 0.5
    assert overall["cells_worse"] == 0 or overall["p_a_better"] < 0.5


def test_a_model_without_error_is_better() -> None:
    values = np.random.default_rng(0).lognormal(size=20)
    found = compare(made(np.zeros(20), "perfect"), made(values, "b"), **DRAWS)
    verdict = found.overall["verdict"][0]
    assert "no cell in which both have a value" not in verdict
    assert found.cells["p_a_better"][0] == 1.0


def test_no_nan_is_spoken() -> None:
    """Errors of 0 at nearly half of the sites: the median is 0 in some draws, and has no ratio there."""
    values = np.random.default_rng(0).lognormal(size=40)
    zeros = values.copy()
    zeros[:19] = 0.0
    verdict = compare(made(zeros, "z"), made(values, "b"), **DRAWS).overall["verdict"][0]
    assert "nan" not in verdict


def test_two_errors_of_zero_are_equal() -> None:
    found = compare(made(np.zeros(20), "a"), made(np.zeros(20), "b"), **DRAWS).cells.row(0, named=True)
    assert (found["reduction"], found["p_value"], found["p_a_better"]) == (0.0, 1.0, 0.5)


def test_options_are_checked(scores: Scores) -> None:
    with pytest.raises(EvaluationError, match="level"):
        of(scores, "lr", "xgb", level=1.5)
    with pytest.raises(EvaluationError, match="draws"):
        of(scores, "lr", "xgb", draws=5)
    with pytest.raises(EvaluationError, match="Did you mean"):
        of(scores, "lr", "xgb", summary="medain")


def test_row_order_of_no_consequence_and_seed_reproducible(scores: Scores) -> None:
    shuffled = Scores(scores.frame.sample(fraction=1, shuffle=True, seed=4))
    one = of(scores, "lr", "xgb", seed=5)
    assert one.cells.equals(of(shuffled, "lr", "xgb", seed=5).cells)
    assert not one.cells.equals(of(scores, "lr", "xgb", seed=6).cells)


@pytest.mark.real
def test_the_published_board(shared: Path) -> None:
    published = Scores.read(shared / "golden" / "leaderboard" / "published")
    found = of(published, "xgb", "lr", draws=500)
    assert found.cells.height == 54
    assert (found.overall["p_value"] < 0.01).all()
    assert (found.overall["cells_worse"] == 0).all()
    wanted = summarise(published.where(model="xgb"))
    np.testing.assert_allclose(found.cells["value_a"], wanted["value"], rtol=1e-12)
    twins = of(published, "lr", "lr-test", draws=200)
    assert (twins.overall["p_value"] == 1).all()
    temporal = found.cells.filter(pl.col("scenario") == "temporal", pl.col("scale") == "hourly")
    assert temporal["n_domains"].to_list() == [340] * 3
    assert temporal["n_sites"].to_list() == [126] * 3

"""Rankings: the skill scores of the board, with intervals, rank intervals and ties that agree with each other."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fluxtrapolation as ft
from fluxtrapolation.errors import EvaluationError, FluxtrapolationWarning
from fluxtrapolation.evaluation import Ranking, Scores, rank, skill, summarise
from fluxtrapolation.evaluation.certainty.bootstrap import holm
from made_scores import board, made, together

GAINS = {"lr": 0.0, "xgb": 0.6, "lstm": 0.55, "constant": -0.8}


@pytest.fixture(scope="module")
def scores() -> Scores:
    return board(GAINS, targets=("ET", "GPP"), sites=30)


@pytest.fixture(scope="module")
def ranking(scores: Scores) -> Ranking:
    return rank(scores)


def agrees(table: pl.DataFrame) -> None:
    """What must hold of every ranking."""
    placed = table.filter(pl.col("rank").is_not_null())
    for _, part in placed.group_by("target"):
        n = part.height
        score = np.round(part["skill_score"].to_numpy(), 12)
        assert part["rank"].to_list() == [int((score > one).sum()) + 1 for one in score]
        assert (part["rank_low"] <= part["rank"]).all()
        assert (part["rank"] <= part["rank_high"]).all()
        assert (part["rank_low"] >= 1).all()
        assert (part["rank_high"] <= n).all()
        assert part["tied_with_best"].to_list() == (part["rank_low"] == 1).to_list()
        assert part["tied_with_best"][int(part["rank"].arg_min() or 0)]
        assert part["p_best"].sum() == pytest.approx(1, abs=1e-9)
    held = placed.drop_nulls("low")
    assert (held["low"] <= held["high"]).all()


@pytest.mark.parametrize("summary", ["median", "q90", "cvar10", "mean"])
def test_skill_scores_are_those_of_skill(scores: Scores, summary: str) -> None:
    found = rank(scores, summary=summary).table
    wanted = skill(scores, summary=summary).overall
    assert found.select("target", "model", "selection").equals(wanted.select("target", "model", "selection"))
    np.testing.assert_allclose(found["skill_score"], wanted["skill_score"], rtol=1e-13, atol=1e-15)
    agrees(found)


def test_the_baseline_has_skill_0_and_no_interval(ranking: Ranking) -> None:
    rows = ranking.table.filter(pl.col("model") == "lr")
    assert rows["skill_score"].to_list() == [0.0, 0.0]
    assert rows["low"].null_count() == rows["high"].null_count() == 2
    others = ranking.table.filter(pl.col("model") != "lr")
    assert others["low"].null_count() == others["high"].null_count() == 0
    assert ((others["low"] < others["skill_score"]) & (others["skill_score"] < others["high"])).all()


def test_the_order_is_found(ranking: Ranking) -> None:
    agrees(ranking.table)
    for _, part in ranking.table.group_by("target"):
        rows = {row["model"]: row for row in part.iter_rows(named=True)}
        assert (rows["constant"]["rank_low"], rows["constant"]["rank_high"]) == (4, 4)
        assert (rows["lr"]["rank_low"], rows["lr"]["rank_high"]) == (3, 3)
        assert rows["xgb"]["tied_with_best"]
        assert not rows["lr"]["tied_with_best"]
        assert rows["constant"]["p_best"] == 0.0


def test_pairs(ranking: Ranking) -> None:
    assert ranking.pairs.height == 2 * 6
    found = ranking.table.select("target", "model", "skill_score")
    both = ranking.pairs.join(found, left_on=["target", "model_a"], right_on=["target", "model"]).join(
        found, left_on=["target", "model_b"], right_on=["target", "model"], suffix="_b"
    )
    np.testing.assert_allclose(both["difference"], both["skill_score"] - both["skill_score_b"], atol=1e-11)
    for _, part in ranking.pairs.group_by("target"):
        np.testing.assert_allclose(part["p_holm"], holm(part["p_value"].to_numpy()))
    assert ((ranking.pairs["low"] > 0) <= (ranking.pairs["p_value"] < 0.06)).all()


def test_rank_intervals_count_certain_pairs(ranking: Ranking) -> None:
    certain = ranking.pairs.filter(pl.col("p_holm") <= 0.05)
    for row in ranking.table.iter_rows(named=True):
        here = certain.filter(pl.col("target") == row["target"])
        better = here.filter(
            ((pl.col("model_b") == row["model"]) & (pl.col("difference") > 0))
            | ((pl.col("model_a") == row["model"]) & (pl.col("difference") < 0))
        ).height
        worse = here.filter((pl.col("model_a") == row["model"]) | (pl.col("model_b") == row["model"])).height - better
        assert (row["rank_low"], row["rank_high"]) == (1 + better, 4 - worse)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000), st.lists(st.sampled_from([-0.3, 0.0, 0.1, 0.4]), min_size=1, max_size=4), st.integers(3, 40)
)
def test_any_ranking_agrees_with_itself(seed: int, gains: list[float], sites: int) -> None:
    every = {"lr": 0.0, **{f"m{number}": gain for number, gain in enumerate(gains)}}
    found = rank(board(every, sites=sites, seed=seed, noise=0.4), draws=1000)
    agrees(found.table)


def test_equal_models_are_tied() -> None:
    values = np.random.default_rng(0).lognormal(size=30)
    found = rank(together(*(made(values, name) for name in ("lr", "a", "b"))))
    assert found.table["rank"].to_list() == [1, 1, 1]
    assert found.table["tied_with_best"].all()
    assert found.table["rank_high"].to_list() == [3, 3, 3]
    np.testing.assert_allclose(found.table["p_best"], 1 / 3)
    assert found.pairs["p_value"].to_list() == [1.0] * 3


def test_a_model_without_a_cell_comes_last_with_a_note(scores: Scores) -> None:
    part = scores.frame.filter(
        ~((pl.col("model") == "xgb") & (pl.col("target") == "ET") & (pl.col("scale") == "weekly"))
    )
    table = rank(part).table
    last = table.filter(pl.col("target") == "ET").row(-1, named=True)
    assert last["model"] == "xgb"
    assert [last[name] for name in ("skill_score", "rank", "rank_low", "rank_high", "tied_with_best", "p_best")] == (
        [None] * 6
    )
    assert "2 of 4 cells missing" in last["note"]
    whole = table.filter(pl.col("target") == "GPP")
    assert whole["note"].null_count() == 4
    assert table.filter(pl.col("target") == "ET")["rank_high"].drop_nulls().max() == 3


def test_one_model_cannot_be_ranked(scores: Scores) -> None:
    with pytest.raises(EvaluationError, match="GPP: ranking needs two models with all cells, there is 1"):
        rank(scores.where(model="lr", target="GPP"))
    with pytest.raises(EvaluationError, match=r"needs two models.*xgb: .*cells missing"):
        part = scores.where(model=["lr", "xgb"], target="GPP").frame
        rank(part.filter((pl.col("model") == "lr") | (pl.col("scale") == "weekly")))


def test_what_is_refused(scores: Scores) -> None:
    for options, words in (
        ({"target": "GGP"}, "Did you mean 'GPP'"),
        ({"baseline": "rl"}, "baseline rl"),
        ({"summary": "medain"}, "Did you mean 'median'"),
        ({"level": 0}, "level"),
        ({"draws": 20}, "draws"),
        ({"scales": ["yearly"]}, "no scores at the scales"),
        ({"metric": "bias"}, "error such as rmse"),
    ):
        with pytest.raises(EvaluationError, match=words):
            rank(scores, **options)
    fewer = scores.frame.filter(~((pl.col("model") == "xgb") & pl.col("domain").str.ends_with("7")))
    with pytest.raises(EvaluationError, match="domains"):
        rank(fewer)


def test_target(scores: Scores, ranking: Ranking) -> None:
    found = rank(scores, target="GPP")
    assert found.table.equals(ranking.table.filter(pl.col("target") == "GPP"))
    assert found.pairs.equals(ranking.pairs.filter(pl.col("target") == "GPP"))


def test_row_order_is_of_no_consequence_and_the_seed_is(scores: Scores, ranking: Ranking) -> None:
    shuffled = Scores(scores.frame.sample(fraction=1, shuffle=True, seed=1))
    assert rank(shuffled).table.equals(ranking.table)
    assert not rank(scores, seed=1).table.equals(ranking.table)


def test_paths_and_the_front_door(scores: Scores, ranking: Ranking, tmp_path: Path) -> None:
    file = scores.write(tmp_path / "scores.parquet")
    assert ft.rank(file).table.equals(ranking.table)
    assert ft.rank(str(file)).how == ranking.how
    assert ranking.how["draws"] == 2000
    assert "Ranking" in repr(ranking)


def test_a_bare_table_without_names() -> None:
    rng = np.random.default_rng(0)
    parts = [
        made(rng.lognormal(size=12), model, target=None, scenario=None, selection=None) for model in ("lr", "m", None)
    ]
    found = rank(together(*parts)).table
    agrees(found)
    assert found.height == 3


def test_the_baselines_skill_is_exactly_0() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = together(made(rng.lognormal(size=9), "lr"), made(rng.lognormal(size=9), "b"))
        assert skill(scores).overall.filter(pl.col("model") == "lr")["skill_score"][0] == 0.0


@pytest.mark.parametrize("sites", [1, 2, 3, 4, 5])
def test_so_few_sites_make_nobody_certainly_better(sites: int) -> None:
    """Equal models differ in one direction at all of n sites with probability 2^(1 - n): above 5 % up to five."""
    values = np.random.default_rng(0).lognormal(size=sites)
    assert rank(together(made(values, "lr"), made(0.8 * values, "a"))).table["tied_with_best"].all()


def test_leaving_one_site_out_gives_null_not_nan() -> None:
    """A scenario per site: no draw holds all sites. Then there is no share of draws in which a model leads."""
    values = np.random.default_rng(0).lognormal(size=25)
    cells = [
        made(factor * values[k : k + 1], name, scenario=f"out-{k}", sites=[f"S{k}"])
        for k in range(25)
        for factor, name in ((0.9, "a"), (1.0, "lr"))
    ]
    found = rank(together(*cells))
    for table in (found.table, found.pairs):
        numbers = table.select(pl.col(pl.Float64))
        assert not numbers.select(pl.any_horizontal(pl.all().is_nan().any())).item()


def test_no_scores_at_all() -> None:
    with pytest.raises(EvaluationError):
        rank(made([1.0]).head(0))


# Seeds


def test_seeds_are_averaged_and_their_spread_stands_beside() -> None:
    scores = board({"lr": 0.0, "xgb": 0.3}, seeds={"xgb": 3}, sites=20)
    found = rank(scores).table.row(0, named=True)
    base = scores.where(model="lr").frame
    single = [
        skill(together(base, scores.where(model="xgb", seed=number).frame)).overall["skill_score"][0]
        for number in range(3)
    ]
    assert found["skill_score"] == pytest.approx(np.mean(single), rel=1e-12)
    assert found["n_seeds"] == 3
    assert found["seed_sd"] == pytest.approx(np.std(single, ddof=1), rel=1e-12)
    assert rank(scores).table.row(1, named=True)["n_seeds"] == 1
    assert rank(scores).table.row(1, named=True)["seed_sd"] is None


def test_a_seed_with_fewer_domains_is_not_passed_over() -> None:
    """A seed scored on half of the sites is no replicate of one scored on all."""
    rng = np.random.default_rng(0)
    a = rng.lognormal(size=20)
    tables = together(made(1.3 * a, "lr"), made(a, "a", seed=0), made(a[:10], "a", seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        with pytest.raises(EvaluationError, match="domains"):
            rank(tables)


# Draws


def test_too_few_draws_are_told() -> None:
    scores = board({"lr": 0.0, **{f"m{number}": 0.1 * number for number in range(8)}}, sites=12)
    with pytest.warns(FluxtrapolationWarning, match="1,000 draws cannot tell any of 9 models apart"):
        rank(scores, draws=1000)
    found = rank(scores)
    assert found.how["draws"] == 3600


def test_the_usual_draws_suffice_at_any_level() -> None:
    """By default nobody has to know how many draws a level needs: they are enough, or a warning says not."""
    values = np.random.default_rng(0).lognormal(size=30)
    scores = together(*(made(values * (1 + number), f"m{number}") for number in range(5)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = rank(scores, baseline="m0", level=0.99).table
    assert caught or table["rank_high"].to_list() == [1, 2, 3, 4, 5]


def test_many_models_are_separated_or_a_warning_says_not() -> None:
    values = np.random.default_rng(0).lognormal(size=8)
    scores = together(*(made(values * (1 + number), f"m{number:02d}") for number in range(34)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = rank(scores, baseline="m00").table
    assert caught or table["rank_high"][0] == 1


# Words and numbers agree


def test_equal_scores_with_unequal_draws() -> None:
    """Two models of the same median, one clearly better elsewhere: whatever is said, it is said of the right one."""
    a, b = np.r_[np.ones(21), np.full(19, 0.1)], np.r_[np.ones(21), np.full(19, 10.0)]
    table = rank(together(made(a, "a"), made(b, "lr"))).table
    agrees(table)


def test_certainty_and_order_point_the_same_way() -> None:
    """Errors of two kinds of sites: the point estimate favours a, nearly all draws the other model."""
    rng = np.random.default_rng(0)
    a = np.r_[np.ones(66), np.full(60, 100.0)] * np.exp(rng.normal(0, 0.02, 126))
    b = 1.1 * np.exp(rng.normal(0, 0.02, 126))
    rows = {row["model"]: row for row in rank(together(made(a, "a"), made(b, "lr"))).table.iter_rows(named=True)}
    for one, other in (("a", "lr"), ("lr", "a")):
        if not rows[other]["tied_with_best"]:
            assert rows[one]["p_best"] > 0.5


def test_skill_scores_lie_in_their_intervals() -> None:
    """Models that are nearly multiples of each other: the interval is short, but it must hold the score it is of."""
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 0.5, 40)
    table = together(
        made(values, "lr"),
        *(made(values * factor * np.exp(0.01 * rng.normal(size=40)), f"x{factor}") for factor in (2, 3, 4, 5)),
    )
    found = rank(table).table.drop_nulls("low")
    assert ((found["low"] <= found["skill_score"]) & (found["skill_score"] <= found["high"])).all()


def test_sites_named_by_one_model_only_are_the_same_sites() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=30)
    b = 1.2 * values * np.exp(0.1 * rng.normal(size=30))
    bare = made(b, "lr").with_columns(pl.lit(None, pl.String).alias("site_id"))
    one, other = rank(together(made(values, "a"), made(b, "lr"))).table, rank(together(made(values, "a"), bare)).table
    columns = ["model", "rank_low", "rank_high", "tied_with_best"]
    assert one.select(columns).equals(other.select(columns))


@pytest.fixture(scope="module")
def published(shared: Path) -> Scores:
    return Scores.read(shared / "golden" / "leaderboard" / "published")


@pytest.fixture(scope="module")
def found_board(published: Scores) -> Ranking:
    return rank(published)


@pytest.mark.real
def test_the_board_agrees_with_itself_and_with_skill(published: Scores, found_board: Ranking) -> None:
    agrees(found_board.table)
    wanted = skill(published).overall
    assert found_board.table["model"].to_list() == wanted["model"].to_list()
    np.testing.assert_allclose(found_board.table["skill_score"], wanted["skill_score"], rtol=1e-13, atol=1e-15)


@pytest.mark.real
def test_the_groups_of_the_board(found_board: Ranking) -> None:
    for (target,), part in found_board.table.group_by("target"):
        rows = {row["model"]: row for row in part.iter_rows(named=True)}
        ends = {model: (row["rank_low"], row["rank_high"]) for model, row in rows.items()}
        assert ends["constant"] == (5, 5), target
        assert ends["lr"] == ends["lr-test"] == (3, 4)
        assert rows["lr"]["rank"] == rows["lr-test"]["rank"] == 3
        assert ends["coral"] == ends["xgb"] == (1, 2)


@pytest.mark.real
def test_the_pivot_is_summarised(published: Scores) -> None:
    wanted = summarise(published, summary="q90")
    assert wanted.height == 3 * 18 * 5
    one = rank(published, target="NEE", summary="q90").table
    agrees(one)
    assert one.filter(pl.col("model") == "constant")["rank"][0] == 5


@pytest.mark.real
def test_names_of_the_boards_towers_do_not_decide(published: Scores, found_board: Ranking) -> None:
    """Other names, other draws: the same verdicts here, and nearly the same ends."""
    renamed = published.frame.with_columns((pl.lit("x") + pl.col(name)).alias(name) for name in ("domain", "site_id"))
    other = rank(renamed).table
    assert other.select("model", "rank_low", "rank_high").equals(
        found_board.table.select("model", "rank_low", "rank_high")
    )
    np.testing.assert_allclose(other["low"].drop_nulls(), found_board.table["low"].drop_nulls(), atol=0.03)

"""Spread between training seeds and between draws of one rule, beside the interval over sites."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation import Scores, intervals, spread
from made_scores import board, made, together

KEY = ["target", "scenario", "scale", "model", "selection"]


@pytest.fixture(scope="module")
def seeds() -> Scores:
    return board({"lr": 0.0, "xgb": 0.3}, seeds={"xgb": 4}, sites=20)


@pytest.fixture(scope="module")
def draws() -> Scores:
    return board({"lr": 0.0, "xgb": 0.3}, scenarios=("spatial", "spatial-redraw", "spatial-draw2", "warm"), sites=20)


def test_between_seeds(seeds: Scores) -> None:
    found = spread(seeds, summary="q90")
    assert found.columns == [
        *KEY, "between", "n", "mean", "sd", "lowest", "highest", "site_low", "site_high"
    ]  # fmt: skip
    apart = intervals(seeds, summary="q90", by=["seed"])
    for row in found.iter_rows(named=True):
        mine = apart.filter(pl.col(name) == row[name] for name in KEY)
        assert row["n"] == mine.height == (4 if row["model"] == "xgb" else 1)
        assert row["between"] == "seed"
        assert row["mean"] == pytest.approx(mine["value"].mean())
        assert (row["lowest"], row["highest"]) == (mine["value"].min(), mine["value"].max())
        assert row["sd"] == (None if row["n"] == 1 else pytest.approx(np.std(mine["value"].to_numpy(), ddof=1)))
        assert row["site_low"] == (None if mine["low"].null_count() else pytest.approx(mine["low"].mean()))


def test_seed_spread_agrees_with_intervals(seeds: Scores) -> None:
    both = spread(seeds).join(intervals(seeds), on=KEY, maintain_order="left")
    assert both.height == 8
    np.testing.assert_allclose(both["mean"], both["value"])
    np.testing.assert_allclose(both["sd"].drop_nulls(), both["seed_sd"].drop_nulls())
    np.testing.assert_allclose(both["site_low"], both["low"])
    np.testing.assert_allclose(both["site_high"], both["high"])


def test_between_draws_by_name(draws: Scores) -> None:
    found = spread(draws, between="draw")
    assert found["scenario"].unique().to_list() == ["spatial"]
    assert found["n"].unique().to_list() == [3]
    values = intervals(draws)
    for row in found.iter_rows(named=True):
        mine = values.filter(
            pl.col("scenario").str.starts_with("spatial"),
            *(pl.col(name) == row[name] for name in KEY if name != "scenario"),
        )["value"].to_numpy()
        assert row["mean"] == pytest.approx(mine.mean())
        assert row["sd"] == pytest.approx(mine.std(ddof=1))
        assert row["between"] == "draw"


def test_between_draws_as_told(draws: Scores) -> None:
    found = spread(draws, between="draw", draws_of={"any": ["warm", "spatial"]})
    assert found["scenario"].unique().to_list() == ["any"]
    assert found["n"].unique().to_list() == [2]


def test_draws_with_seeds_are_averaged_over_the_seeds_first() -> None:
    scores = board({"a": 0.0}, scenarios=("x", "x-redraw"), seeds={"a": 3}, sites=15)
    found = spread(scores, between="draw")
    values = intervals(scores)
    assert found["n"].to_list() == [2, 2]
    wanted = values.filter(pl.col("scale") == "hourly")["value"]
    assert found.filter(pl.col("scale") == "hourly")["mean"][0] == pytest.approx(wanted.mean())


def test_what_is_refused(seeds: Scores, draws: Scores) -> None:
    with pytest.raises(EvaluationError, match="No run is there with two seeds"):
        spread(draws)
    with pytest.raises(EvaluationError, match="No run is there with two draws"):
        spread(seeds, between="draw")
    with pytest.raises(EvaluationError, match="choose 'seed' or 'draw'"):
        spread(seeds, between="year")  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="draws_of names mars"):
        spread(draws, between="draw", draws_of={"any": ["warm", "mars"]})
    with pytest.raises(EvaluationError, match="level"):
        spread(seeds, level=2)


def test_a_seed_without_a_value_is_not_counted() -> None:
    parts = [made([1.0, 2.0, 3.0], seed=0), made([2.0, 3.0, 4.0], seed=1), made([np.nan] * 3, seed=2)]
    row = spread(together(*parts)).row(0, named=True)
    assert row["n"] == 2
    assert row["mean"] == 2.5


def test_unnamed_scenarios_have_no_draws() -> None:
    with pytest.raises(EvaluationError, match="two draws"):
        spread(made([1.0, 2.0], scenario=None), between="draw")

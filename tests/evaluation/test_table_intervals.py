"""Pivots with the ends of their numbers, as tables of four kinds."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.evaluation import Ends, Scores, intervals, pivot, pivot_intervals, rank, render, write_table
from made_scores import board, made, together

CELLS = ["spatial/hourly", "spatial/weekly", "temperature/hourly", "temperature/weekly"]


@pytest.fixture(scope="module")
def scores() -> Scores:
    return board({"lr": 0.0, "xgb": 0.3, "bad": -0.4}, targets=("ET", "GPP"), sites=30)


@pytest.fixture(scope="module")
def wide(scores: Scores) -> pl.DataFrame:
    return pivot(scores, target="GPP")


@pytest.fixture(scope="module")
def ends(scores: Scores, wide: pl.DataFrame) -> Ends:
    return Ends(*pivot_intervals(scores, wide, target="GPP"))


def test_shape_and_order_are_the_pivots(wide: pl.DataFrame, ends: Ends) -> None:
    for table in (ends.low, ends.high):
        assert table.columns == wide.columns == ["model", "selection", "skill_score", *CELLS]
        assert table.select("model", "selection").equals(wide.select("model", "selection"))
        assert all(table.schema[name] == pl.Float64 for name in table.columns[2:])


def test_cells_are_those_of_intervals_and_skill_that_of_rank(scores: Scores, wide: pl.DataFrame, ends: Ends) -> None:
    part = scores.where(target="GPP")
    named = intervals(part)
    for row in named.iter_rows(named=True):
        place = wide["model"].to_list().index(row["model"])
        assert ends.of(f"{row['scenario']}/{row['scale']}", place) == (row["low"], row["high"])
    for row in rank(part).table.iter_rows(named=True):
        place = wide["model"].to_list().index(row["model"])
        assert ends.of("skill_score", place) == (row["low"], row["high"])
    assert ends.of("model", 0) is None


def test_csv_has_two_more_columns_per_number(wide: pl.DataFrame, ends: Ends, tmp_path: Path) -> None:
    file = write_table(wide, tmp_path / "pivot.csv", ends=ends)
    found = pl.read_csv(file)
    wanted = ["model", "selection"]
    for name in ("skill_score", *CELLS):
        wanted += [name, f"{name}_low", f"{name}_high"]
    assert found.columns == wanted
    assert found.select(wide.columns).equals(wide)  # full precision
    assert found["spatial/hourly_high"].to_list() == ends.high["spatial/hourly"].to_list()
    assert (found["spatial/hourly_low"] < found["spatial/hourly"]).all()
    assert found.filter(pl.col("model") == "lr")["skill_score_low"].to_list() == [None]


def test_markdown_and_html(wide: pl.DataFrame, ends: Ends) -> None:
    text = render(wide, "md", ends=ends)
    row = next(line for line in text.splitlines() if line.startswith("| xgb"))
    assert len(re.findall(r"-?\d+\.\d+ \[-?\d+\.\d+, -?\d+\.\d+\]", row)) == 5
    baseline = next(line for line in text.splitlines() if line.startswith("| lr"))
    assert baseline.count("[") == 4  # no interval of the skill score
    html = render(wide, "html", ends=ends)
    assert html.count("[") == 14
    assert render(wide, "md").count("[") == 0


def test_a_missing_end_is_a_dash(tmp_path: Path) -> None:
    """20 sites cannot bound a 90th percentile above."""
    scores = board({"lr": 0.0, "xgb": 0.3}, sites=20)
    table = pivot(scores, summary="q90")
    ends = Ends(*pivot_intervals(scores, table, summary="q90"))
    assert ends.high["spatial/hourly"].null_count() == 2
    assert re.search(r"\d\.\d\d \[\d\.\d+, –\]", render(table, "md", ends=ends))
    tex = render(table, "tex", ends=ends)
    assert re.search(r"\d\.\d\d \[\d\.\d+, --\]", tex)
    assert "–" not in tex
    assert tex.count(r"\\") >= 4
    csv = write_table(table, tmp_path / "t.csv", ends=ends).read_text()
    assert "–" not in csv
    assert ",," in csv


def test_latex_has_as_many_cells_as_columns(wide: pl.DataFrame, ends: Ends) -> None:
    text = render(wide, "tex", ends=ends)
    columns = re.search(r"\\begin{tabular}{([lr]+)}", text)
    assert columns is not None
    rows = [line for line in text.splitlines() if line.startswith(("xgb", "lr", "bad"))]
    assert len(rows) == 3
    for line in rows:
        assert line.count(" & ") + 1 == len(columns[1]) == len(wide.columns)


def test_no_skill_without_baseline(scores: Scores) -> None:
    part = scores.where(target="ET")
    table = pivot(part, baseline=None)
    low, high = pivot_intervals(part, table, baseline=None)
    assert low.columns == high.columns == ["model", "selection", *CELLS]


def test_a_model_that_lacks_a_cell_has_a_note_and_no_end(scores: Scores) -> None:
    part = scores.where(target="GPP").frame
    part = part.filter(
        ~((pl.col("model") == "xgb") & (pl.col("scenario") == "spatial") & (pl.col("scale") == "weekly"))
    )
    table = pivot(part)
    assert "note" in table.columns
    ends = Ends(*pivot_intervals(part, table))
    place = table["model"].to_list().index("xgb")
    assert ends.of("spatial/weekly", place) == (None, None)
    assert ends.of("skill_score", place) == (None, None)
    for kind in ("csv", "md", "tex", "html"):
        assert "cells missing" in render(table, kind, ends=ends)
    assert ends.beside(table).columns[-1] == "note"


def test_one_model_alone_has_intervals_too() -> None:
    scores = board({"lr": 0.0}, sites=12)
    table = pivot(scores)
    low, high = pivot_intervals(scores, table)
    assert low["spatial/hourly"].null_count() == high["spatial/hourly"].null_count() == 0
    assert low["skill_score"].null_count() == 1


def test_a_bare_table_without_names() -> None:
    values = np.random.default_rng(0).lognormal(size=12)
    bare = together(*(made(values, model, target=None, scenario=None, selection=None) for model in ("lr", "m")))
    table = pivot(bare)
    ends = Ends(*pivot_intervals(bare, table))
    assert ends.low["unnamed/hourly"].null_count() == 0
    assert "[" in render(table, "md", ends=ends)


def test_many_models_are_no_reason_to_warn() -> None:
    """Here only the interval of each score is asked for, no verdict on pairs."""
    scores = board({"lr": 0.0, **{f"m{number}": 0.1 * number for number in range(9)}}, sites=12)
    table = pivot(scores)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        low, _ = pivot_intervals(scores, table)
    assert low["skill_score"].null_count() == 1
    assert not caught


@pytest.mark.parametrize("kind", ["csv", "md", "tex", "html"])
def test_a_ranking_is_written_as_a_table(scores: Scores, kind: str, tmp_path: Path) -> None:
    text = write_table(rank(scores).table, tmp_path / f"ranking.{kind}").read_text()
    assert "xgb" in text
    assert "GPP" in text


@pytest.mark.real
def test_the_published_board(shared: Path) -> None:
    published = Scores.read(shared / "golden" / "leaderboard" / "published")
    for summary in ("median", "q90"):
        table = pivot(published, target="ET", summary=summary)
        low, high = pivot_intervals(published, table, target="ET", summary=summary)
        assert low.shape == high.shape == table.shape == (5, 21)
        cells = [name for name in table.columns if "/" in name]
        inside = np.asarray(
            [
                (low[name].fill_null(-np.inf) <= table[name]) & (table[name] <= high[name].fill_null(np.inf))
                for name in cells
            ]
        )
        assert inside.all()
        unbounded = [name for name in cells if high[name].null_count()]
        if summary == "median":
            assert unbounded == []
        else:  # fewer than 36 sites have a mean seasonal cycle
            assert unbounded == [
                f"{scenario}/{scale}" for scenario in ("spatial", "temperature") for scale in ("seasonal", "anom")
            ]

"""The arithmetic of the board from the published per-domain results (outside data, read in place)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.evaluation import Scores, pivot, skill
from fluxtrapolation.schema import PUBLISHED_SCENARIO

pytestmark = pytest.mark.real

TABLES = [(target, summary) for target in ("GPP", "NEE", "ET") for summary in ("median", "q90")]


@pytest.fixture(scope="module")
def board(shared: Path) -> Path:
    return shared / "golden" / "leaderboard"


@pytest.fixture(scope="module")
def scores(board: Path) -> Scores:
    return Scores.read(board / "published")


def test_published_files_are_read_whole(scores: Scores) -> None:
    assert len(scores) == 40_770
    assert scores.protocol == "paper"
    assert set(scores.frame["scenario"]) == {"temporal", "spatial", "temperature"}
    assert set(scores.frame["selection"]) == {"mean"}
    yearly = scores.frame.filter(pl.col("year").is_not_null())
    assert set(yearly["scenario"]) == {"temporal"}
    assert yearly.filter((pl.col("site_id") == "AU-ASM") & (pl.col("year") == 2019))["domain"].unique().to_list() == [
        "AU-ASM 2019"
    ]


@pytest.mark.parametrize(("target", "summary"), TABLES)
def test_pivot(scores: Scores, board: Path, target: str, summary: str) -> None:
    wanted = pl.read_csv(board / f"{target}_{summary}.csv")
    found = pivot(scores, target=target, summary=summary, columns="published")
    assert found.columns == wanted.columns
    both = wanted.join(found, on=["model", "val_strategy"], suffix="_found", validate="1:1")
    assert both.height == wanted.height == found.height
    for name in wanted.columns[2:]:
        np.testing.assert_allclose(both[f"{name}_found"], both[name], rtol=1e-9, atol=1e-15)
    assert found["skill_score"].is_sorted(descending=True)


@pytest.mark.parametrize(("target", "summary"), TABLES)
def test_cell_skill(scores: Scores, board: Path, target: str, summary: str) -> None:
    wanted = pl.read_csv(board / f"{target}_{summary}_cell_skill.csv").unpivot(
        index=["model", "val_strategy"], variable_name="cell", value_name="wanted"
    )
    cells = skill(scores.where(target=target), summary=summary).cells.select(
        "model",
        pl.format("{}/{}", pl.col("scenario").replace(PUBLISHED_SCENARIO), "scale").alias("cell"),
        "skill",
    )
    both = wanted.join(cells, on=["model", "cell"], validate="1:1")
    assert both.height == wanted.height == 5 * 18
    np.testing.assert_allclose(both["skill"], both["wanted"], rtol=1e-9, atol=1e-15)


def test_published_columns_round_trip(scores: Scores, board: Path, tmp_path: Path) -> None:
    for name in ("time-split_NEE_xgb_val_mean.csv", "TA40_ET_lr_val_mean.csv"):
        source = next((board / "published").rglob(name))
        written = Scores.read(source).write(tmp_path / name, columns="published")
        first, second = pl.read_csv(source, infer_schema_length=None), pl.read_csv(written, infer_schema_length=None)
        assert first.columns == second.columns
        assert first.drop("nse").equals(second.drop("nse"))
        np.testing.assert_allclose(second["nse"].drop_nulls(), first["nse"].drop_nulls(), rtol=1e-15)

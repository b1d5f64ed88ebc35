"""Predictions that do not cover the test set they are meant for are refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from fluxtrapolation.errors import EvaluationError, MissingColumnError
from fluxtrapolation.evaluation import Predictions, evaluate


def table(*sites: str, days: int = 3) -> pl.DataFrame:
    time = pl.datetime_range(datetime(2019, 1, 1), datetime(2019, 2, 1), "1h", eager=True)[: days * 24]
    parts = [pl.DataFrame({"site_id": [site] * len(time), "time": time}) for site in sites]
    return pl.concat(parts).with_columns(y_true=pl.lit(1.0), y_pred=pl.lit(2.0))


def test_missing_sites_and_hours_are_told(tmp_path: Path) -> None:
    truth = table("A", "B", "C")
    held = table("A", "B").filter(~((pl.col("site_id") == "B") & (pl.col("time") >= datetime(2019, 1, 3, 20))))
    path = Predictions.from_frame(held).write(tmp_path / "p.parquet")
    with pytest.raises(EvaluationError) as caught:
        evaluate(Predictions.read(path), truth=truth)
    assert str(caught.value) == (
        "p.parquet does not cover the test set: 1 of 3 sites are missing (C); 76 of 216 hours have no prediction "
        "(first: B 2019-01-03 20:00:00). Predict every hour of the test set."
    )
    with pytest.raises(EvaluationError, match=r"set: 4 of 144 hours have no prediction"):
        evaluate(held, truth=table("A", "B"))


def test_whatever_is_complete_is_scored() -> None:
    held = (
        table("A", "B").sample(fraction=1.0, shuffle=True, seed=1).with_columns(pl.col("site_id").cast(pl.Categorical))
    )
    scores = evaluate(held, truth=table("A", "B")).frame
    assert scores.equals(evaluate(held).frame)
    # Hours beyond the test set are no fault; the truth needs no values, and may come in any form.
    keys = table("A").select(pl.col("site_id").alias("SITE"), pl.col("time").dt.to_string("%Y-%m-%dT%H:%M"))
    assert evaluate(held, truth=keys).frame.equals(scores)
    assert evaluate(held, truth=Predictions.from_frame(table("A"))).frame.equals(scores)


class Part:
    """What a part of a split gives."""

    def to_frame(self) -> pl.DataFrame:
        return table("A", "B").select("site_id", "time", "y_true")


def test_a_part_of_a_split_is_a_truth() -> None:
    assert evaluate(table("A", "B"), truth=Part()).frame.height
    with pytest.raises(EvaluationError, match=r"1 of 2 sites are missing \(B\)"):
        evaluate(table("A"), truth=Part())


def test_without_sites_nothing_can_be_compared() -> None:
    with pytest.raises(MissingColumnError, match="no column 'site_id'"):
        evaluate(table("A").rename({"site_id": "env"}), truth=table("A"))
    with pytest.raises(MissingColumnError, match="The truth lacks the column time"):
        evaluate(table("A"), truth=table("A").drop("time"))


def test_the_command_holds_files_to_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fluxtrapolation.cli.main import run

    held, whole = tmp_path / "held.csv", tmp_path / "truth.csv"
    table("A").write_csv(held)
    table("A", "B").select("site_id", "time").write_csv(whole)
    options = ["--target", "GPP", "--out", str(tmp_path / "scores.csv")]
    assert run(["evaluate", str(held), "--truth", str(whole), *options]) == 2
    assert "1 of 2 sites are missing (B); 72 of 144 hours have no prediction" in capsys.readouterr().err.replace(
        "\n", " "
    )
    assert not (tmp_path / "scores.csv").exists()
    assert run(["evaluate", str(held), "--truth", str(held), *options]) == 0
    assert run(["evaluate", str(held), "--truth", str(tmp_path / "none.csv"), *options]) == 2
    assert "none.csv is no file" in capsys.readouterr().err

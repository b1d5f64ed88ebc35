"""``evaluate`` on folders: which predictions are taken, and what is refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from fluxtrapolation.cli.evaluate import Columns, evaluate
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation import Identity, Predictions, Scores


def write(file: Path, **who: object) -> Path:
    frame = pl.DataFrame(
        {"time": pl.datetime_range(datetime(2019, 1, 1), datetime(2019, 1, 9, 23), "1h", eager=True)}
    ).with_columns(pl.lit("DE-Hai").alias("site_id"), pl.lit(1.0).alias("y_true"), pl.lit(2.0).alias("y_pred"))
    names = {"scenario": "draw", "target": "GPP", "model": "lr", "selection": "mean"} | who
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".csv":
        frame.write_csv(file)
        return file
    return Predictions.from_frame(frame, Identity(**names)).write(file)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for model in ("lr", "xgb"):
        for selection in ("discrepancy", "max", "mean"):
            write(tmp_path / "runs" / model / f"predictions-{selection}.parquet", model=model, selection=selection)
    return tmp_path / "runs"


def test_a_folder_gives_all_its_predictions_or_those_of_one_selection(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    evaluate([runs], out=out)
    assert set(Scores.read(out).frame["selection"]) == {"discrepancy", "max", "mean"}
    evaluate([runs], out=out, selection="max")
    found = Scores.read(out)
    assert found.frame.select("model", "selection").unique().sort("model").rows() == [("lr", "max"), ("xgb", "max")]
    assert [run["where"] for run in found.meta["runs"]] == [
        str(runs / model / "predictions-max.parquet") for model in ("lr", "xgb")
    ]


def test_published_columns_take_one_selection(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    with pytest.raises(EvaluationError, match=r"cannot tell apart\. Write one file per selection: --selection mean"):
        evaluate([runs], out=out, columns=Columns.published)
    assert not out.exists()
    evaluate([runs], out=out, columns=Columns.published, selection="mean")
    assert pl.read_csv(out).group_by("model", "scale", "env").len()["len"].max() == 1


def test_a_selection_that_is_not_there(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EvaluationError, match=r"'men'\. Did you mean 'mean'\? It holds discrepancy, max, mean"):
        evaluate([runs], out=tmp_path / "s.parquet", selection="men")
    (runs / "lr" / "predictions-max.parquet").unlink()
    evaluate([runs], out=tmp_path / "s.parquet", selection="max")
    assert "1 run(s) have no predictions of the selection 'max'" in capsys.readouterr().err
    assert set(Scores.read(tmp_path / "s.parquet").frame["model"]) == {"xgb"}


def test_published_predictions_are_chosen_by_name(tmp_path: Path) -> None:
    for selection in ("max", "mean"):
        write(tmp_path / "board" / f"TA40_GPP_lr_val_{selection}_predictions.csv")
    evaluate([tmp_path / "board"], out=tmp_path / "s.parquet", selection="max")
    assert set(Scores.read(tmp_path / "s.parquet").frame["selection"]) == {"max"}


def test_the_selection_still_labels_a_bare_table(runs: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.csv")
    evaluate([runs, mine], out=tmp_path / "s.parquet", selection="max", model="mine", scenario="draw", target="GPP")
    found = Scores.read(tmp_path / "s.parquet").frame
    assert set(found["model"]) == {"lr", "xgb", "mine"} and set(found["selection"]) == {"max"}


def test_a_file_given_twice_is_refused(runs: Path, tmp_path: Path) -> None:
    file = runs / "lr" / "predictions-max.parquet"
    with pytest.raises(EvaluationError, match=r"lr/predictions-max\.parquet is given twice\. Give each file once"):
        evaluate([runs, file], out=tmp_path / "s.parquet")
    link = tmp_path / "link.parquet"
    link.symlink_to(file)
    with pytest.raises(EvaluationError, match=r"link\.parquet is given twice, also as \S*predictions-max\.parquet"):
        evaluate([file, link], out=tmp_path / "s.parquet")


def test_json_keeps_runs_on_different_stores_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path / key / "p.parquet", store_hash=key) for key in ("aa", "bb")]
    evaluate(files, out=tmp_path / "s.parquet", json=True)
    rows = json.loads(capsys.readouterr().out)["median_rmse"]
    assert [row["store_hash"] for row in rows if row["scale"] == "hourly"] == ["aa", "bb"]

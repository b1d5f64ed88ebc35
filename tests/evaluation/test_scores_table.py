"""Scores: files, metadata, mixing; summaries, skill and the rendered tables."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxtrapolation.errors import EvaluationError, MissingColumnError, SchemaVersionError
from fluxtrapolation.evaluation import (
    Identity,
    Predictions,
    Scores,
    Thresholds,
    evaluate,
    get_metric,
    metric,
    metric_names,
    pivot,
    render,
    skill,
    summarise,
    write_table,
)
from fluxtrapolation.evaluation.metrics import _REGISTRY
from fluxtrapolation.evaluation.summary import get_summary


def predictions(
    model: str, *, noise: float, scenario: str = "spatial", target: str = "GPP", **more: object
) -> Predictions:
    rng = np.random.default_rng(7)
    time = pl.datetime_range(datetime(2019, 1, 1), datetime(2020, 12, 31, 23), "1h", eager=True)
    sites = np.repeat(["AA-S1", "AA-S2", "AA-S3"], len(time))
    true = rng.normal(size=len(sites)) + 3
    return Predictions.from_arrays(
        site=sites,
        time=pl.concat([time] * 3),
        y_true=true,
        y_pred=true + noise * rng.normal(size=len(sites)),
        qc_mask=np.ones(len(sites), np.int8),
        identity=Identity(scenario=scenario, target=target, model=model, selection="mean", **more),
    )


@pytest.fixture(scope="module")
def two() -> Scores:
    return Scores.concat(
        evaluate(predictions(model, noise=noise, scenario=scenario))
        for model, noise in (("lr", 1.0), ("xgb", 0.5))
        for scenario in ("temporal", "spatial")
    )


def test_parquet_round_trip(two: Scores, tmp_path: Path) -> None:
    again = Scores.read(two.write(tmp_path / "scores.parquet"))
    assert again.frame.equals(two.frame)
    assert len(again.meta["runs"]) == 4
    assert again.meta["runs"][0]["model"] == "lr"
    assert again.protocol == "paper"


def test_csv_round_trip(two: Scores, tmp_path: Path) -> None:
    again = Scores.read(two.write(tmp_path / "scores.csv"))
    assert again.frame.equals(two.frame)
    assert again.frame.schema == two.frame.schema


def test_published_csv(two: Scores, tmp_path: Path) -> None:
    path = two.where(scenario="temporal", model="lr").write(
        tmp_path / "time-split_GPP_lr_val_mean.csv", columns="published"
    )
    header = path.read_text().splitlines()[0]
    assert header == (
        "target,setting,model,scale,env,n_samples,mse,rmse,mae,nse,r2_score,bias,relative_mae,relative_bias"
    )
    again = Scores.read(path)
    kept = [name for name in two.frame.columns if name != "reason"]
    assert again.frame.select(kept).equals(two.where(scenario="temporal", model="lr").frame.select(kept))


def test_folders_are_searched_for_scores(two: Scores, tmp_path: Path) -> None:
    for model in ("lr", "xgb"):
        two.where(model=model).write(tmp_path / model / "deep" / "scores.parquet")
    predictions("lr", noise=1).write(tmp_path / "lr" / "predictions-mean.parquet")
    (tmp_path / "sites.csv").write_text("site_id,lat\nDE-Hai,51\n")
    again = Scores.read(tmp_path)
    assert again.frame.height == two.frame.height
    with pytest.raises(EvaluationError, match="holds no scores: it lacks"):
        Scores.read(tmp_path / "sites.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="holds no scores: 0 CSV"):
        Scores.read(tmp_path / "empty")
    with pytest.raises(EvaluationError, match="does not exist"):
        Scores.read(tmp_path / "absent")


def test_newer_scores_are_refused(two: Scores, tmp_path: Path) -> None:
    two.frame.write_parquet(tmp_path / "s.parquet", metadata={"fluxtrapolation.scores": '{"version": 9}'})
    with pytest.raises(SchemaVersionError):
        Scores.read(tmp_path / "s.parquet")


def test_protocols_never_mix(tmp_path: Path) -> None:
    paper = evaluate(predictions("lr", noise=1.0))
    measured = evaluate(predictions("lr", noise=1.0), protocol="measured")
    with pytest.raises(EvaluationError, match="different protocols must not share a table: measured, paper"):
        Scores.concat([paper, measured])
    with pytest.raises(EvaluationError, match="different protocols"):
        summarise(pl.concat([paper.frame, measured.frame]))
    paper.write(tmp_path / "a.parquet")
    measured.write(tmp_path / "b.csv")
    with pytest.raises(EvaluationError, match="different protocols"):
        Scores.read(tmp_path)
    other = evaluate(predictions("lr", noise=1.0), protocol="measured", thresholds=Thresholds(days_per_year=100))
    with pytest.raises(EvaluationError, match="different thresholds"):
        Scores.concat([measured, other])
    with pytest.raises(EvaluationError, match="would pass for 'paper'"):
        measured.write(tmp_path / "c.csv", columns="published")


def test_bad_destinations(two: Scores, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"must end in \.parquet or \.csv"):
        two.write(tmp_path / "scores.xlsx")
    with pytest.raises(EvaluationError, match="written as CSV"):
        two.write(tmp_path / "scores.parquet", columns="published")
    with pytest.raises(EvaluationError, match="choose 'own' or 'published'"):
        two.write(tmp_path / "scores.csv", columns="board")
    assert list(tmp_path.iterdir()) == []


def test_where(two: Scores) -> None:
    assert set(two.where(model=["xgb"], scale="hourly").frame["model"]) == {"xgb"}
    assert two.where(seed=None).frame.height == two.frame.height
    with pytest.raises(MissingColumnError, match="no column 'modl'"):
        two.where(modl="lr")


def test_summary_of_domains(two: Scores) -> None:
    table = summarise(two, summary="q90", scales=None)
    assert table["scale"].unique(maintain_order=True).to_list()[:3] == ["hourly", "daily", "weekly"]
    row = table.filter((pl.col("scenario") == "temporal") & (pl.col("scale") == "hourly") & (pl.col("model") == "lr"))
    values = two.where(scenario="temporal", scale="hourly", model="lr").frame["rmse"].to_numpy()
    assert row["value"].item() == pytest.approx(np.quantile(values, 0.9), rel=1e-15)
    assert row["n_domains"].item() == 6
    assert table["scenario"].unique(maintain_order=True).to_list() == ["temporal", "spatial"]


def test_nulls_are_skipped_and_counted(two: Scores) -> None:
    holes = two.frame.with_columns(pl.when(pl.col("site_id") != "AA-S2").then(pl.col("rmse")).alias("rmse"))
    row = summarise(holes).filter((pl.col("scenario") == "spatial") & (pl.col("scale") == "weekly")).row(0, named=True)
    assert (row["n_domains"], row["n_null"]) == (2, 1)
    none = summarise(two.frame.with_columns(pl.lit(None, pl.Float64).alias("rmse")))
    assert none["value"].null_count() == none.height


def test_several_seeds_are_averaged_and_counted() -> None:
    """The mean of their summaries, not a summary of all their domains together."""
    scores = Scores.concat([evaluate(predictions("lr", noise=1.0, seed=seed)) for seed in (1, 2)])
    apart = summarise(scores, by=["seed"])
    assert apart.height == 2 * 6
    both = summarise(scores)
    assert both.height == 6
    assert both["n_seeds"].to_list() == [2] * 6
    for row in both.iter_rows(named=True):
        of_seeds = apart.filter(pl.col("scale") == row["scale"])
        assert row["value"] == pytest.approx(of_seeds["value"].mean(), rel=1e-14)
        assert row["n_domains"] == of_seeds["n_domains"][0]
    assert pivot(scores)["note"].to_list() == ["mean of 2 seeds"]
    assert summarise(scores.where(seed=1))["n_seeds"].to_list() == [1] * 6
    with pytest.raises(EvaluationError, match="Give each file once"):
        summarise(Scores.concat([evaluate(predictions("lr", noise=1.0))] * 2))


@given(values=st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=60), share=st.sampled_from([5, 10, 33, 100]))
def test_tail_mean_is_an_average_of_the_quantile_function(values: list[float], share: int) -> None:
    array = np.array(values)
    found = get_summary(f"cvar{share}")(array)
    # Integrate the worst share of the empirical distribution on a fine grid.
    fine = np.repeat(np.sort(array)[::-1], 100)
    assert found == pytest.approx(fine[: round(share / 100 * len(fine))].mean(), rel=1e-9, abs=1e-9)
    assert get_summary("worst")(array) * (1 + 1e-12) >= found >= array.mean() * (1 - 1e-12)


def test_summary_names() -> None:
    values = np.arange(11.0)
    assert get_summary("median")(values) == 5
    assert get_summary("mean")(values) == 5
    assert get_summary("q90")(values) == 9
    assert get_summary("q97.5")(values) == 9.75
    assert get_summary("worst")(values) == 10
    assert get_summary("worst", higher_is_better=True)(values) == 0
    assert get_summary("cvar10", higher_is_better=True)(values) == pytest.approx(0.1 / 1.1)
    for name in ("q", "q900", "cvar", "medan", "cvar0"):
        with pytest.raises(EvaluationError):
            get_summary(name)


def test_skill(two: Scores) -> None:
    found = skill(two)
    overall = {row["model"]: row for row in found.overall.iter_rows(named=True)}
    assert overall["lr"]["skill_score"] == 0
    assert overall["lr"]["n_cells"] == 12
    mine = found.cells.filter(pl.col("model") == "xgb")["skill"]
    assert overall["xgb"]["skill_score"] == pytest.approx(mine.mean(), rel=1e-14)
    assert found.overall["model"].to_list() == ["xgb", "lr"]
    assert found.overall["note"].null_count() == 2


def test_a_model_that_lacks_a_cell_has_no_score_but_a_note(two: Scores) -> None:
    part = two.frame.filter(
        ~((pl.col("model") == "xgb") & (pl.col("scenario") == "temporal") & (pl.col("scale") == "iav"))
    )
    found = skill(part).overall.row(by_predicate=pl.col("model") == "xgb", named=True)
    assert found["skill_score"] is None
    assert found["note"] == "1 of 12 cells missing: temporal/iav"
    wide = pivot(part)
    assert wide["model"].to_list() == ["lr", "xgb"]
    assert wide["note"].to_list() == [None, "1 of 12 cells missing: temporal/iav"]
    assert wide.row(1, named=True)["temporal/iav"] is None


def test_baseline_must_be_there(two: Scores) -> None:
    with pytest.raises(
        EvaluationError, match=r"baseline ridge \(selection mean\) is not among the scores; there are lr"
    ):
        skill(two, baseline="ridge")
    with pytest.raises(EvaluationError, match="selection max"):
        skill(two, baseline_selection="max")
    with pytest.raises(EvaluationError, match="Skill needs an error"):
        skill(two, metric="nse")


def test_a_bare_baseline_needs_no_selection(two: Scores) -> None:
    bare = two.frame.with_columns(pl.lit(None, pl.String).alias("selection"))
    assert pivot(bare)["skill_score"].null_count() == 0


def test_pivot(two: Scores) -> None:
    wide = pivot(two)
    scales = ("hourly", "weekly", "seasonal", "anom", "iav", "site-mean")
    cells = [f"{scenario}/{scale}" for scenario in ("temporal", "spatial") for scale in scales]
    assert wide.columns == ["model", "selection", "skill_score", *cells]
    assert pivot(two, baseline=None).columns == ["model", "selection", *cells]
    published = pivot(two, columns="published")
    assert published.columns[:4] == ["model", "val_strategy", "skill_score", "time-split/hourly"]
    with pytest.raises(EvaluationError, match="no scores of 'NEE'"):
        pivot(two, target="NEE")
    more = Scores.concat([two, evaluate(predictions("lr", noise=1.0, target="NEE"))])
    with pytest.raises(EvaluationError, match="several targets"):
        pivot(more)
    with pytest.raises(EvaluationError, match="hold no kge"):
        pivot(two, metric="kge")


def test_rendered_tables(two: Scores, tmp_path: Path) -> None:
    wide = pivot(two)
    for ending in ("csv", "md", "tex", "html"):
        text = write_table(wide, tmp_path / f"pivot.{ending}", caption="GPP_median & more").read_text()
        assert "xgb" in text
    read = pl.read_csv(tmp_path / "pivot.csv")
    assert read.columns == wide.columns
    np.testing.assert_array_equal(read["temporal/iav"], wide["temporal/iav"])
    markdown = (tmp_path / "pivot.md").read_text().splitlines()
    assert markdown[0] == "GPP_median & more"
    assert len({line.count("|") for line in markdown[2:]}) == 1
    tex = (tmp_path / "pivot.tex").read_text()
    assert r"\toprule" in tex
    assert r"GPP\_median \& more" in tex
    assert r"\multicolumn{6}{c}{temporal}" in tex
    assert {line.count("&") for line in tex.splitlines() if line.endswith(r"\\") and "multicolumn" not in line} == {14}
    html = (tmp_path / "pivot.html").read_text()
    assert "GPP_median &amp; more" in html
    assert html.count("<tr>") == 4
    with pytest.raises(EvaluationError, match="must end in"):
        write_table(wide, tmp_path / "pivot.doc")
    with pytest.raises(EvaluationError, match="choose from csv, md, tex, html"):
        render(wide, "doc")


def test_colours_fade_to_white() -> None:
    wide = pl.DataFrame({"model": ["a", "b", "c", "d"], "x/hourly": [1.0, 1.1, 1.2, None]})
    html = render(wide, "html")
    assert re.findall(r"background:#(\w+)", html) == ["7EBAB5", "BFDDDA"]
    tex = render(wide, "tex")
    assert re.findall(r"cellcolor\[HTML\]{(\w+)}", tex) == ["7EBAB5", "BFDDDA"]


def test_names_in_html_are_escaped() -> None:
    html = render(pl.DataFrame({"model": ["<script>"], "x/hourly": [1.0]}), "html")
    assert "<script>" not in html


def test_a_metric_of_ones_own() -> None:
    @metric("my_rmse", unit="target", best=0.0)
    def my_rmse(m):
        return ((m.sum_e2 - m.sum_e**2 / m.n) / m.n) ** 0.5

    try:
        assert "my_rmse" in metric_names()
        frame = evaluate(predictions("lr", noise=1.0), metrics=["rmse", "bias", "my_rmse"]).frame
        row = frame.row(0, named=True)
        assert row["my_rmse"] == pytest.approx((row["rmse"] ** 2 - row["bias"] ** 2) ** 0.5, rel=1e-12)
        with pytest.raises(EvaluationError, match="exists already"):
            metric("rmse", unit="target", best=0.0)(my_rmse)
        with pytest.raises(EvaluationError, match="needs 'luck'"):
            metric("lucky", unit="1", best=0.0, needs=["luck"])
        assert get_metric("nse").higher_is_better
    finally:
        _REGISTRY.pop("my_rmse")


def test_an_infinite_metric_is_null_with_a_reason() -> None:
    metric("broken", unit="1", best=0.0)(lambda m: m.n / 0.0)
    try:
        frame = evaluate(predictions("lr", noise=1.0), metrics=["broken"], scales=["hourly"]).frame
        assert frame["broken"].null_count() == 3
        assert frame["reason"].to_list() == ["undefined"] * 3
    finally:
        _REGISTRY.pop("broken")

"""What evaluate refuses, warns of, derives and leaves out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.errors import EvaluationError, FluxtrapolationWarning, MissingColumnError
from fluxtrapolation.evaluation import Identity, Predictions, Thresholds, evaluate


def hourly(sites: tuple[str, ...] = ("AA-S1", "AA-S2"), days: int = 400, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    time = pl.datetime_range(datetime(2019, 1, 1), datetime(2021, 1, 1), "1h", eager=True)[: days * 24]
    parts = []
    for site in sites:
        true = rng.normal(size=len(time)) + 4
        parts.append(
            pl.DataFrame(
                {
                    "site_id": [site] * len(time),
                    "time": time,
                    "y_true": true,
                    "y_pred": true + rng.normal(size=len(time)),
                    "qc_mask": pl.Series(rng.random(len(time)) < 0.8).cast(pl.Int8),
                }
            )
        )
    return pl.concat(parts)


def spoiled(column: str, rows: list[int], value: float | None) -> pl.DataFrame:
    table = hourly().with_row_index()
    return table.with_columns(
        pl.when(pl.col("index").is_in(rows)).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    ).drop("index")


@pytest.mark.parametrize("value", [None, float("nan")])
@pytest.mark.parametrize("protocol", ["paper", "measured"])
def test_missing_predictions(value: float | None, protocol: str) -> None:
    table = spoiled("y_pred", [5, 7, 9600], value)
    with pytest.raises(
        EvaluationError, match=r"3 predictions are missing \(first: site_id AA-S1, time 2019-01-01 05:00:00"
    ):
        evaluate(table, protocol=protocol)
    scores = evaluate(table, protocol=protocol, allow_missing=True)
    kept = table.filter(pl.col("y_pred").is_not_null() & pl.col("y_pred").is_not_nan())
    assert scores.frame.equals(evaluate(kept, protocol=protocol).frame)
    assert scores.meta["runs"][0]["hours_left_out"] == 3


@pytest.mark.parametrize("column", ["y_true", "y_pred"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinite_values(column: str, value: float) -> None:
    with pytest.raises(EvaluationError, match=rf"2 rows hold infinite values \(first: .*{column} -?inf"):
        evaluate(spoiled(column, [5, 9], value), allow_missing=True)


def test_all_faults_are_reported_at_once() -> None:
    table = spoiled("y_pred", [5], float("inf")).with_columns(
        pl.when(pl.col("time") == datetime(2019, 1, 2)).then(None).otherwise(pl.col("site_id")).alias("site_id"),
        pl.when(pl.col("time") == datetime(2019, 1, 3)).then(None).otherwise(pl.col("y_pred")).alias("y_true"),
    )
    table = table.with_columns(
        pl.when(pl.col("time") == datetime(2019, 1, 4)).then(None).otherwise(pl.col("y_pred")).alias("y_pred")
    )
    with pytest.raises(EvaluationError) as caught:
        evaluate(table)
    for part in ("rows hold infinite values", "2 predictions are missing", "2 rows have no site"):
        assert part in str(caught.value)


def test_missing_observations_are_fine() -> None:
    table = spoiled("y_true", list(range(0, 9000, 3)), float("nan"))
    same = spoiled("y_true", list(range(0, 9000, 3)), None)
    assert evaluate(table).frame.equals(evaluate(same).frame)


def test_duplicates_count_and_are_reported() -> None:
    table = hourly(days=40)
    with pytest.warns(
        FluxtrapolationWarning, match=r"2 rows repeat a \(site, time\) pair, 1 pairs in all, such as \(AA-S1"
    ):
        scores = evaluate(pl.concat([table, table[3:4], table[3:4]]))
    row = scores.frame.filter((pl.col("scale") == "hourly") & (pl.col("domain") == "AA-S1"))
    assert row["n_samples"].item() == 40 * 24 + 2


@pytest.mark.parametrize("seed", range(3))
def test_row_order_does_not_matter(seed: int) -> None:
    table = hourly()
    one = evaluate(table).frame
    other = evaluate(table.sample(fraction=1.0, shuffle=True, seed=seed)).frame
    assert one.select("scale", "domain", "n_samples", "reason").equals(
        other.select("scale", "domain", "n_samples", "reason")
    )
    for name in ("rmse", "nse", "r2_score", "mae"):
        np.testing.assert_allclose(one[name].drop_nulls(), other[name].drop_nulls(), rtol=1e-12)


def test_pieces_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = hourly().with_columns(pl.col("site_id").cast(pl.Categorical))
    whole = evaluate(table).frame
    path = Predictions.from_frame(table).write(tmp_path / "p.parquet")
    assert evaluate(Predictions.read(path)).frame.equals(whole)
    batches = Predictions.batches
    monkeypatch.setattr(Predictions, "batches", lambda self, columns: batches(self, columns, rows=777))
    small = evaluate(table).frame
    assert small.select("scale", "domain", "n_samples", "reason").equals(
        whole.select("scale", "domain", "n_samples", "reason")
    )
    np.testing.assert_allclose(small["rmse"].drop_nulls(), whole["rmse"].drop_nulls(), rtol=1e-12)
    np.testing.assert_allclose(small["r2_score"].drop_nulls(), whole["r2_score"].drop_nulls(), rtol=1e-11)


def test_time_by_time_order_is_no_duplicate() -> None:
    table = hourly(days=60)
    assert evaluate(table.sort("time")).frame.equals(evaluate(table).frame)


def test_identity_rules_over_a_domain_column() -> None:
    table = hourly().with_columns(domain=pl.lit("all of it"))
    who = Identity(scenario="spatial", target="GPP", model="lr", selection="mean")
    scores = evaluate(Predictions.from_frame(table, who))
    assert set(scores.frame["domain"]) == {"AA-S1", "AA-S2"}
    with pytest.raises(EvaluationError, match="is not trusted"):
        evaluate(Predictions.from_frame(table, who), domain_column="domain")
    with pytest.raises(EvaluationError, match="where a domain is a site; domain='site-year' contradicts"):
        evaluate(Predictions.from_frame(table, who), domain="site-year")
    with pytest.raises(EvaluationError, match="its model is 'lr'; 'xgb' contradicts"):
        evaluate(Predictions.from_frame(table, who), model="xgb")
    assert evaluate(Predictions.from_frame(table, who), model="lr", scenario="spatial-easy40").frame.height
    with pytest.raises(MissingColumnError, match="no column 'site_id'"):
        evaluate(Predictions.from_frame(table.drop("site_id"), who))


def test_site_years() -> None:
    who = Identity(scenario="temporal", target="GPP", model="lr", selection="mean", profile="quick", max_rows=9, seed=1)
    scores = evaluate(Predictions.from_frame(hourly(days=400), who))
    for scale in ("hourly", "daily", "weekly", "monthly", "site-mean"):
        part = scores.frame.filter(pl.col("scale") == scale)
        assert part["domain"].to_list() == ["AA-S1 2019", "AA-S1 2020", "AA-S2 2019", "AA-S2 2020"]
        assert part["site_id"].to_list() == ["AA-S1", "AA-S1", "AA-S2", "AA-S2"]
        assert part["year"].to_list() == [2019, 2020] * 2
    for scale in ("seasonal", "anom", "iav"):
        assert scores.frame.filter(pl.col("scale") == scale)["domain"].to_list() == ["AA-S1", "AA-S2"]
    row = scores.frame.row(0, named=True)
    assert (row["target"], row["scenario"], row["model"], row["selection"]) == ("GPP", "temporal", "lr", "mean")
    assert (row["profile"], row["max_rows"], row["seed"], row["protocol"]) == ("quick", 9, 1, "paper")
    published = scores.published()
    assert published["env"][0] == "('AA-S1', 2019)"
    assert published["setting"][0] == "time-split"
    assert "spatial" in published["scale"].to_list()
    assert "site-mean" not in published["scale"].to_list()


def test_labels_are_returned_as_they_are() -> None:
    table = hourly(days=40).with_columns(env=pl.format("('{}', 1999)", "site_id"))
    scores = evaluate(table, domain_column="env")
    assert set(scores.frame.filter(pl.col("scale") == "daily")["domain"]) == {"('AA-S1', 1999)", "('AA-S2', 1999)"}
    assert set(scores.frame.filter(pl.col("scale") == "anom")["domain"]) == {"AA-S1", "AA-S2"}
    assert set(scores.published().filter(pl.col("scale") == "daily")["env"]) == {"('AA-S1', 1999)", "('AA-S2', 1999)"}


def test_any_column_can_hold_the_labels() -> None:
    table = hourly(days=40).with_columns(biome=pl.lit("GRA"))
    scores = evaluate(table, domain_column="biome").frame
    day = scores.filter(pl.col("scale") == "daily")
    assert day["domain"].to_list() == ["GRA"]
    assert day["n_samples"].to_list() == [40]
    assert day["site_id"].to_list() == [None]
    assert scores.filter(pl.col("scale") == "anom")["domain"].to_list() == ["AA-S1", "AA-S2"]
    pooled = table.group_by(pl.col("time").dt.date()).agg(pl.col("y_true").mean(), pl.col("y_pred").mean())
    rmse = ((pooled["y_true"] - pooled["y_pred"]) ** 2).mean() ** 0.5
    assert day["rmse"].item() == pytest.approx(rmse, rel=1e-12)
    by_name = evaluate(table, domain_column="site").frame
    assert by_name.equals(evaluate(table.drop("biome")).frame)
    with pytest.raises(MissingColumnError, match=r"no column 'biom'\. Did you mean 'biome'"):
        evaluate(table, domain_column="biom")


def test_labels_within_a_site_day() -> None:
    """Day and night as domains: the multi-year scales still see whole days."""
    night = pl.when(pl.col("time").dt.hour() < 12).then(pl.lit("night")).otherwise(pl.lit("day"))
    table = hourly(days=731).with_columns(part=pl.concat_str("site_id", pl.lit(" "), night))
    scores = evaluate(table, domain_column="part").frame
    whole = evaluate(table.drop("part")).frame
    for scale in ("seasonal", "anom", "iav"):
        one, other = (part.filter(pl.col("scale") == scale).drop("reason") for part in (scores, whole))
        np.testing.assert_allclose(one["rmse"], other["rmse"], rtol=1e-12)
    assert scores.filter(pl.col("scale") == "hourly")["site_id"].to_list() == ["AA-S1", "AA-S1", "AA-S2", "AA-S2"]


def test_without_sites_the_labels_stand_in() -> None:
    table = hourly(days=731)
    labelled = evaluate(table.rename({"site_id": "env"})).frame
    plain = evaluate(table).frame
    assert labelled.drop("site_id").equals(plain.drop("site_id"))
    assert labelled["site_id"].null_count() == labelled.height


@pytest.mark.parametrize("kind", ["site", "year"])
def test_missing_labels_are_filled_where_the_rest_says_how(kind: str) -> None:
    label = pl.col("site_id") if kind == "site" else pl.format("('{}', {})", "site_id", pl.col("time").dt.year())
    table = hourly().with_columns(label.alias("domain"))
    gaps = table.with_columns(pl.when(pl.col("time").dt.day() > 3).then(pl.col("domain")).alias("domain"))
    assert gaps["domain"].null_count() > 0
    assert evaluate(gaps).frame.equals(evaluate(table).frame)


@pytest.mark.parametrize("drop", [(), ("site_id",)])
def test_missing_labels_of_another_kind_are_refused(drop: tuple[str, ...]) -> None:
    table = hourly().with_columns(domain=pl.when(pl.col("time").dt.day() > 3).then(pl.lit("GRA"))).drop(drop)
    with pytest.raises(EvaluationError, match=r"2\d{3} of 19200 labels in the column 'domain' are missing"):
        evaluate(table)


def test_measured_needs_flags() -> None:
    with pytest.raises(MissingColumnError, match="no column 'qc_mask', which the protocol 'measured' needs"):
        evaluate(hourly().drop("qc_mask"), protocol="measured")
    with pytest.raises(EvaluationError, match="19200 rows have a qc_mask other than 0 or 1"):
        evaluate(hourly().with_columns(qc_mask=pl.lit(2, pl.Int8)), protocol="measured")


def test_measured_equals_paper_where_everything_is_measured() -> None:
    table = hourly(days=731).with_columns(qc_mask=pl.lit(1, pl.Int8))
    paper, measured = evaluate(table).frame, evaluate(table, protocol="measured").frame
    same = pl.col("scale").is_in(["hourly", "daily", "weekly", "monthly", "site-mean"])
    np.testing.assert_allclose(
        paper.filter(same)["rmse"].to_numpy(), measured.filter(same)["rmse"].to_numpy(), rtol=1e-12
    )


def test_measured_ignores_what_was_not_measured() -> None:
    table = hourly(days=731)
    wild = table.with_columns(pl.when(pl.col("qc_mask") == 1).then(pl.col("y_pred")).otherwise(1e9).alias("y_pred"))
    one, other = evaluate(table, protocol="measured").frame, evaluate(wild, protocol="measured").frame
    np.testing.assert_allclose(one["rmse"].to_numpy(), other["rmse"].to_numpy(), rtol=1e-9)


def test_one_year_is_no_variability() -> None:
    table = hourly(days=365)
    paper = evaluate(table).frame.filter(pl.col("scale") == "iav")
    assert paper["rmse"].to_list() == [0.0, 0.0]
    assert paper["bias"].to_list() == [0.0, 0.0]
    assert paper["nse"].to_list() == [None, None]
    assert paper["reason"].str.starts_with("single_year").all()
    measured = evaluate(table, protocol="measured").frame
    for scale in ("iav", "seasonal", "anom"):
        part = measured.filter(pl.col("scale") == scale)
        assert part["rmse"].to_list() == [None, None]
        assert part["reason"].to_list() == ["single_year"] * 2
        assert part["n_samples"].to_list() == [0, 0]


def test_reasons() -> None:
    eleven = hourly(("AA-S1",), days=20).filter(pl.col("time").dt.hour() < 11)
    five = hourly(("AA-S2",), days=3)
    blind = hourly(("AA-S3",), days=20).with_columns(y_true=pl.lit(None, pl.Float64))
    reasons = {
        (row["scale"], row["domain"]): row["reason"]
        for row in evaluate(pl.concat([eleven, five, blind])).frame.iter_rows(named=True)
    }
    assert reasons["daily", "AA-S1"] == "too_few_hours"
    assert reasons["weekly", "AA-S2"] == reasons["monthly", "AA-S2"] == "too_few_days"
    assert reasons["iav", "AA-S2"] == "too_few_days"
    assert reasons["anom", "AA-S2"] == reasons["seasonal", "AA-S2"] == "single_year"
    assert reasons["hourly", "AA-S3"] == reasons["monthly", "AA-S3"] == "no_observations"
    for scale in ("seasonal", "iav", "site-mean"):
        assert (scale, "AA-S1") not in reasons
        assert (scale, "AA-S3") not in reasons


def test_thresholds_belong_to_measured() -> None:
    with pytest.raises(EvaluationError, match="'paper' has the published thresholds"):
        evaluate(hourly(days=2), thresholds=Thresholds(hours_per_day=10))
    scores = evaluate(hourly(days=2), protocol="measured", thresholds=Thresholds(hours_per_day=10))
    assert scores.frame["thresholds"].unique().to_list() == ["10h-4d-15d-183d-2y-2y"]
    with pytest.raises(EvaluationError, match="hours_per_day is 0"):
        Thresholds(hours_per_day=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "papr"}, "no protocol 'papr'. Did you mean 'paper'"),
        ({"scales": ["weakly"]}, "no scale 'weakly'. Did you mean 'weekly'"),
        ({"scales": []}, "No scale"),
        ({"metrics": ["rsme"]}, "no metric 'rsme'. Did you mean 'rmse'"),
        ({"domain": "year"}, "must be 'site' or 'site-year'"),
        ({"domain": "site", "domain_column": "env"}, "not both"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate(hourly(days=2), **options)


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no rows"):
        evaluate(hourly(days=2).head(0))


def test_some_scales_and_metrics() -> None:
    scores = evaluate(hourly(days=40), scales=["weekly", "hourly"], metrics=["rmse", "bias"])
    assert scores.frame["scale"].unique(maintain_order=True).to_list() == ["hourly", "weekly"]
    assert scores.metrics == ("rmse", "bias")


def test_bias_is_observed_minus_predicted() -> None:
    table = hourly(days=40).with_columns(y_pred=pl.col("y_true") + 2)
    assert evaluate(table).frame["bias"].drop_nulls().to_numpy()[:2] == pytest.approx([-2, -2])

"""The value pairs of every scale: against the reference's own tables, against the scores, and by hand."""

from __future__ import annotations

import warnings
from datetime import date, datetime
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.errors import EvaluationError, FluxtrapolationWarning
from fluxtrapolation.evaluation import Identity, Predictions, evaluate
from fluxtrapolation.evaluation import stream as stream_module
from fluxtrapolation.evaluation.aggregate import aggregate
from fluxtrapolation.schema import SCALES

COLUMNS = ["domain", "site_id", "year", "step", "y_true", "y_pred"]


def rows(sites: tuple[str, ...] = ("S2", "S1"), days: int = 800, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    time = pl.datetime_range(datetime(2019, 3, 4), datetime(2023, 1, 1), "1h", eager=True)[: days * 24]
    parts = []
    for site in sites:
        true = np.where(rng.random(len(time)) < 0.1, np.nan, rng.normal(size=len(time)) + 4)
        parts.append(
            pl.DataFrame(
                {
                    "site_id": [site] * len(time),
                    "time": time,
                    "y_true": true,
                    "y_pred": rng.normal(size=len(time)) + 4,
                    "qc_mask": pl.Series(rng.random(len(time)) < 0.9).cast(pl.Int8),
                }
            )
        )
    return pl.concat(parts)


@pytest.mark.real
@pytest.mark.parametrize("scale", SCALES[1:])
@pytest.mark.parametrize("case", ["03_gaps_site_env", "09_time_split_single_year"])
def test_against_the_reference(shared: Path, case: str, scale: str) -> None:
    folder = shared / "golden" / "evaluation" / case
    table = Predictions.read(folder / "predictions.parquet")
    found = aggregate(table, scale, domain_column="env")
    wanted = pl.read_parquet(folder / f"agg_{'spatial' if scale == 'site-mean' else scale}.parquet")
    # The reference stamps weeks, months and years in their middle.
    middle = {"weekly": "1w", "monthly": "1mo", "iav": "1y"}
    if scale == "seasonal":
        wanted = wanted.with_columns(step=pl.col("doy").cast(pl.Int16))
    elif scale == "site-mean":
        wanted = wanted.with_columns(step=pl.lit(None, dtype=pl.Date))
    else:
        wanted = wanted.with_columns(step=pl.col("time").dt.truncate(middle.get(scale, "1d")).cast(pl.Date))
    wanted = wanted.sort("env", "step")
    assert found.select("domain", "step").equals(wanted.select(pl.col("env").alias("domain"), "step"))
    for name in ("y_true", "y_pred"):
        value = wanted[name].fill_nan(None)
        assert found[name].is_null().equals(value.is_null())
        np.testing.assert_allclose(found[name].drop_nulls(), value.drop_nulls(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("protocol", ["paper", "measured"])
@pytest.mark.parametrize("domain", ["site", "site-year"])
@pytest.mark.parametrize("scale", SCALES)
def test_the_metrics_are_those_of_the_pairs(scale: str, domain: str, protocol: str) -> None:
    table = rows()
    pairs = aggregate(table, scale, domain=domain, protocol=protocol)
    scores = evaluate(table, domain=domain, protocol=protocol, scales=[scale]).frame
    assert pairs.columns == COLUMNS
    error = pl.col("y_pred") - pl.col("y_true")
    found = pairs.group_by("domain", maintain_order=True).agg(
        pl.col("site_id", "year").first(), n_samples=pl.len().cast(pl.Int64), rmse=(error**2).mean().sqrt()
    )
    scores = scores.filter(pl.col("n_samples") > 0)
    assert found.select("domain", "site_id", "year", "n_samples").equals(
        scores.select("domain", "site_id", "year", "n_samples")
    )
    np.testing.assert_allclose(found["rmse"].drop_nulls(), scores["rmse"].drop_nulls(), rtol=1e-9, atol=1e-13)
    assert pairs.equals(pairs.sort("domain", "step", maintain_order=True))


def test_steps() -> None:
    table = rows(("S1",))
    first = {
        "hourly": datetime(2019, 3, 4),
        "daily": date(2019, 3, 4),
        "weekly": date(2019, 3, 4),
        "monthly": date(2019, 3, 1),
        "seasonal": 1,
        "anom": date(2019, 3, 4),
        "iav": date(2019, 1, 1),
        "site-mean": None,
    }
    kinds = {"hourly": pl.Datetime("us"), "seasonal": pl.Int16}
    for scale, step in first.items():
        column = aggregate(table, scale)["step"]
        assert column[0] == step
        assert column.dtype == kinds.get(scale, pl.Date)
    assert aggregate(table, "seasonal")["step"].max() == 366


def test_values_are_in_the_target_s_unit() -> None:
    """The constant that is taken off for the sums is put back, and leaves no trace in anomalies."""
    table = rows(days=731).with_columns(pl.col("y_true", "y_pred").fill_nan(None) + 1e6)
    assert aggregate(table, "daily")["y_true"].drop_nulls().is_between(1e6, 1e6 + 8).all()
    assert aggregate(table, "site-mean")["y_pred"].is_between(1e6 + 3, 1e6 + 5).all()
    assert (aggregate(table, "anom")["y_true"].drop_nulls().abs() < 5).all()
    day = aggregate(table, "daily").row(0, named=True)
    own = table.filter((pl.col("site_id") == "S1") & (pl.col("time").dt.date() == day["step"]))
    assert day["y_true"] == pytest.approx(own["y_true"].mean(), rel=1e-14)


def test_labels() -> None:
    night = pl.when(pl.col("time").dt.hour() < 12).then(pl.lit("night")).otherwise(pl.lit("day"))
    table = rows(days=60).with_columns(domain=night)
    daily = aggregate(table, "daily")
    assert daily["domain"].unique().sort().to_list() == ["day", "night"]
    assert daily["site_id"].null_count() == daily.height
    assert set(aggregate(table, "anom")["domain"]) == {"S1", "S2"}
    hourly = aggregate(table, "hourly")
    assert hourly.height == table.height
    assert hourly["site_id"].null_count() == hourly.height
    own = table.with_columns(domain=pl.col("site_id") + pl.lit("x"))
    for scale in ("hourly", "daily"):
        assert aggregate(own, scale).select("domain", "site_id").unique().sort("domain").rows() == [
            ("S1x", "S1"),
            ("S2x", "S2"),
        ]
    bare = aggregate(table.drop("domain").rename({"site_id": "env"}), "hourly")
    assert bare["domain"].unique().sort().to_list() == ["S1", "S2"]
    assert bare["site_id"].null_count() == bare.height
    gaps = own.with_columns(domain=pl.when(pl.col("time").dt.day() > 9).then("site_id"))
    assert set(aggregate(gaps, "hourly")["domain"]) == {"S1", "S2"}


@pytest.mark.parametrize("scale", SCALES)
def test_sites_are_finished_one_by_one(scale: str) -> None:
    table = rows(("S3", "S1", "S2", "S0"), days=400)
    batches = Predictions.batches
    whole = aggregate(table, scale)
    with patch.object(Predictions, "batches", lambda self, columns: batches(self, columns, rows=3000)):
        gathered = aggregate(table, scale)
        with patch.object(stream_module, "FINISH_ABOVE", 1):
            assert aggregate(table, scale).equals(gathered)
    assert gathered.select(COLUMNS[:4]).equals(whole.select(COLUMNS[:4]))
    np.testing.assert_allclose(gathered["y_pred"], whole["y_pred"], rtol=1e-12, atol=1e-13)


def test_what_is_refused() -> None:
    table = rows(days=3)
    with pytest.raises(EvaluationError, match="Did you mean 'weekly'"):
        aggregate(table, "weakly")
    with pytest.raises(EvaluationError, match="infinite"):
        aggregate(table.with_columns(y_pred=pl.lit(float("inf"))), "hourly")
    with pytest.raises(EvaluationError, match="no rows"):
        aggregate(table.head(0), "hourly")
    with pytest.raises(EvaluationError, match="no rows"):
        aggregate(table.head(0), "daily")
    who = Identity(scenario="spatial", target="GPP", model="lr", selection="mean", resolution="daily")
    with pytest.raises(EvaluationError, match="no hourly scale"):
        aggregate(Predictions.from_frame(table, who), "hourly")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FluxtrapolationWarning)
        with pytest.raises(FluxtrapolationWarning, match="3 rows repeat"):
            aggregate(pl.concat([table, table.head(3)]), "daily")
